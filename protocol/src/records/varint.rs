//! The variable-length integers of records: zigzag, then seven bits a byte, least significant first.

/// The most bytes that one takes.
pub const MAX_LEN: usize = 10;

/// Maps small numbers of either sign to small unsigned ones.
#[inline(always)]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline(always)]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Number of bytes that `value` takes.
#[inline(always)]
pub const fn len(value: i64) -> usize {
    // ceil(bits / 7) for 1 to 64 bits, without a division.
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    ((bits * 9 + 64) >> 6) as usize
}

/// Number of bytes that a length takes.
#[inline(always)]
pub const fn len_of_len(len: usize) -> usize {
    self::len(len as i64)
}

/// Appends `value` to `out`.
#[inline(always)]
pub fn put(out: &mut Vec<u8>, value: i64) {
    if short::fits([value]) {
        short::Writer::default().put(value).finish(out);
    } else {
        put_long(out, value);
    }
}

#[inline(never)]
fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut bits = zigzag(value);
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
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

/// Most numbers of a record take one byte or two. Up to eight bytes of them are written and read in a register, without a
/// branch or a bounds check for each.
pub(super) mod short {
    use super::{unzigzag, zigzag};

    /// Whether all of `values` take at most two bytes.
    #[inline(always)]
    pub(in super::super) fn fits<const N: usize>(values: [i64; N]) -> bool {
        values.iter().fold(0, |all, value| all | zigzag(*value)) < 1 << 14
    }

    /// Numbers that [`fits`], after one another: eight bytes at most.
    #[derive(Clone, Copy, Default)]
    pub(in super::super) struct Writer {
        bits: u64,
        len: usize,
    }

    impl Writer {
        /// Number of bytes written.
        #[inline(always)]
        pub(in super::super) fn len(self) -> usize {
            self.len
        }

        /// Adds a number at the end.
        #[inline(always)]
        pub(in super::super) fn put(self, value: i64) -> Writer {
            let (bits, len) = spread(value);
            Writer {
                bits: self.bits | bits << (8 * self.len),
                len: self.len + len,
            }
        }

        /// Adds a number at the front.
        #[inline(always)]
        pub(in super::super) fn prepend(self, value: i64) -> Writer {
            let (bits, len) = spread(value);
            Writer {
                bits: bits | self.bits << (8 * len),
                len: self.len + len,
            }
        }

        /// Appends what was written to `out`.
        #[inline(always)]
        pub(in super::super) fn finish(self, out: &mut Vec<u8>) {
            let len = out.len() + self.len;
            // A store of fixed size, and what is too much of it taken back.
            out.extend_from_slice(&self.bits.to_le_bytes());
            out.truncate(len);
        }
    }

    /// The bytes of a number that fits, the first one lowest, and how many they are.
    #[inline(always)]
    fn spread(value: i64) -> (u64, usize) {
        let bits = zigzag(value);
        let long = u64::from(bits >= 0x80);
        let spread = (bits & 0x7F) | long << 7 | (bits & 0x3F80) << 1;
        (spread, 1 + long as usize)
    }

    /// Takes numbers of at most two bytes off the first eight.
    pub(in super::super) struct Reader {
        bits: u64,
        len: usize,
    }

    impl Reader {
        /// Reads the front of `input`, which must be eight bytes or longer.
        #[inline(always)]
        pub(in super::super) fn new(input: &[u8]) -> Option<Reader> {
            Some(Reader {
                bits: u64::from_le_bytes(*input.first_chunk()?),
                len: 0,
            })
        }

        /// Takes a number; `None` when it is longer than two bytes.
        #[inline(always)]
        pub(in super::super) fn take(&mut self) -> Option<i64> {
            let bits = self.bits;
            if bits & 0x80 == 0 {
                self.skip();
                Some(unzigzag(bits & 0x7F))
            } else if bits & 0x8000 == 0 {
                self.bits >>= 16;
                self.len += 2;
                Some(unzigzag((bits & 0x7F) | (bits >> 1 & 0x3F80)))
            } else {
                None
            }
        }

        /// Passes over a byte.
        #[inline(always)]
        pub(in super::super) fn skip(&mut self) {
            self.bits >>= 8;
            self.len += 1;
        }

        /// Number of bytes taken; `None` when that went beyond the eight, and what was taken is void.
        #[inline(always)]
        pub(in super::super) fn len(&self) -> Option<usize> {
            (self.len <= 8).then_some(self.len)
        }
    }
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
