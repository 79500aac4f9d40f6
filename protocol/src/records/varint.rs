//! The variable-length integers of records: zigzag, then seven bits a byte, least significant first.

/// The most bytes that one takes.
pub const MAX_LEN: usize = 10;

/// Maps small numbers of either sign to small unsigned ones.
#[inline]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Number of bytes that `value` takes.
#[inline]
pub const fn len(value: i64) -> usize {
    // ceil(bits / 7) for 1 to 64 bits, without a division.
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    ((bits * 9 + 64) >> 6) as usize
}

/// Number of bytes that a length takes.
#[inline]
pub const fn len_of_len(len: usize) -> usize {
    self::len(len as i64)
}

/// Appends `value` to `out`.
#[inline]
pub fn put(out: &mut Vec<u8>, value: i64) {
    let mut bits = zigzag(value);
    if bits < 0x80 {
        out.push(bits as u8);
    } else if bits < 0x4000 {
        out.extend_from_slice(&[bits as u8 | 0x80, (bits >> 7) as u8]);
    } else {
        while bits >= 0x80 {
            out.push(bits as u8 | 0x80);
            bits >>= 7;
        }
        out.push(bits as u8);
    }
}

/// Takes a number off the front of `input`; `None` when it is cut off or longer than 10 bytes.
#[inline(always)]
pub fn take(input: &mut &[u8]) -> Option<i64> {
    match **input {
        [b0, ref rest @ ..] if b0 < 0x80 => {
            *input = rest;
            Some(unzigzag(u64::from(b0)))
        }
        [b0, b1, ref rest @ ..] if b1 < 0x80 => {
            *input = rest;
            Some(unzigzag(u64::from(b0 & 0x7F) | u64::from(b1) << 7))
        }
        _ => take_long(input),
    }
}

#[inline(never)]
fn take_long(input: &mut &[u8]) -> Option<i64> {
    let mut bits = 0u64;
    for (index, byte) in input.iter().take(MAX_LEN).enumerate() {
        bits |= u64::from(byte & 0x7F) << (7 * index);
        if *byte < 0x80 {
            // The tenth byte has room for one bit.
            if index + 1 == MAX_LEN && *byte > 1 {
                return None;
            }
            *input = &input[index + 1..];
            return Some(unzigzag(bits));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_bytes() {
        for (value, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7E]),
            (-64, &[0x7F]),
            (64, &[0x80, 1]),
            (300, &[0xD8, 4]),
            (8192, &[0x80, 0x80, 1]),
            (i64::MAX, &[0xFE, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
            (i64::MIN, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!((&out[..], len(value)), (bytes, bytes.len()), "{value}");
            assert_eq!(take(&mut &out[..]), Some(value));
        }
    }

    #[test]
    fn cut_off_and_overlong_numbers_are_refused() {
        for bytes in [&[][..], &[0x80], &[0x80, 0x80], &[0x80; 11], &[255; 10]] {
            let mut input = bytes;
            assert_eq!(take(&mut input), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn every_number_round_trips_in_the_length_computed(value: i64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(out.len(), len(value));
            out.push(0xAA);
            let mut input = &out[..];
            prop_assert_eq!(take(&mut input), Some(value));
            prop_assert_eq!(input, &[0xAA]);
        }
    }
}
