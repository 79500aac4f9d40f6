//! One received frame in, values out.
//!
//! Every length is checked against the bytes that are really there before anything is allocated or taken. Byte strings
//! are slices of the frame, not copies.

use bytes::Bytes;

use super::error::DecodeError;

/// Reads values off the front of a [`Bytes`].
#[derive(Clone, Debug)]
pub struct Decoder {
    bytes: Bytes,
    position: usize,
}

impl Decoder {
    /// A decoder at the first byte of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes read so far: where in the frame an error happened.
    #[inline]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes not read yet.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Fails unless every byte was read.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            Err(self.malformed("the end of the frame"))
        }
    }

    /// The error that says what was expected here.
    #[cold]
    #[inline(never)]
    pub fn malformed(&self, expected: &'static str) -> DecodeError {
        DecodeError::new(self.position, expected)
    }

    #[inline]
    fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], DecodeError> {
        match self.bytes[self.position..].first_chunk::<N>() {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(self.malformed(expected)),
        }
    }

    /// Reads one byte.
    #[inline]
    pub fn get_i8(&mut self) -> Result<i8, DecodeError> {
        self.array("1 byte").map(i8::from_be_bytes)
    }

    /// Reads two bytes, big-endian.
    #[inline]
    pub fn get_i16(&mut self) -> Result<i16, DecodeError> {
        self.array("2 bytes").map(i16::from_be_bytes)
    }

    /// Reads two bytes, big-endian.
    #[inline]
    pub fn get_u16(&mut self) -> Result<u16, DecodeError> {
        self.array("2 bytes").map(u16::from_be_bytes)
    }

    /// Reads four bytes, big-endian.
    #[inline]
    pub fn get_i32(&mut self) -> Result<i32, DecodeError> {
        self.array("4 bytes").map(i32::from_be_bytes)
    }

    /// Reads four bytes, big-endian.
    #[inline]
    pub fn get_u32(&mut self) -> Result<u32, DecodeError> {
        self.array("4 bytes").map(u32::from_be_bytes)
    }

    /// Reads eight bytes, big-endian.
    #[inline]
    pub fn get_i64(&mut self) -> Result<i64, DecodeError> {
        self.array("8 bytes").map(i64::from_be_bytes)
    }

    /// Reads eight bytes, big-endian IEEE 754.
    #[inline]
    pub fn get_f64(&mut self) -> Result<f64, DecodeError> {
        self.array("8 bytes").map(f64::from_be_bytes)
    }

    /// Reads sixteen bytes.
    #[inline]
    pub fn get_uuid(&mut self) -> Result<super::Uuid, DecodeError> {
        self.array("16 bytes").map(super::Uuid)
    }

    /// Reads an unsigned varint of at most 32 bits.
    #[inline]
    pub fn get_uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array::<1>("a varint")?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("a varint of at most 32 bits"))
    }

    /// Takes the next `length` bytes as a slice of the frame.
    #[inline]
    pub fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(self.malformed("a length within the remaining bytes"));
        }
        let start = self.position;
        self.position += length;
        Ok(self.bytes.slice(start..self.position))
    }

    /// Takes the next `length` bytes as text.
    #[inline]
    pub fn take_str(&mut self, length: usize) -> Result<&str, DecodeError> {
        if length > self.remaining() {
            return Err(self.malformed("a length within the remaining bytes"));
        }
        let start = self.position;
        match std::str::from_utf8(&self.bytes[start..start + length]) {
            Ok(text) => {
                self.position += length;
                Ok(text)
            }
            Err(_) => Err(DecodeError::new(start, "UTF-8")),
        }
    }

    /// Reads the length of a string (2 bytes, or compact), which the compact form could say to be longer than a string can be: `None` is
    /// null.
    #[inline]
    pub fn get_string_length(&mut self, compact: bool) -> Result<Option<usize>, DecodeError> {
        let start = self.position;
        let length = if compact {
            self.get_compact_length()?
        } else {
            i64::from(self.get_i16()?)
        };
        if length > i64::from(i16::MAX) {
            return Err(DecodeError::new(start, "a string of at most 32767 bytes"));
        }
        self.checked_length(length)
    }

    /// Reads the length of a byte string or array (4 bytes, or compact): `None` is null. A length can not exceed the
    /// remaining bytes, since every element takes at least one.
    #[inline]
    pub fn get_length(&mut self, compact: bool) -> Result<Option<usize>, DecodeError> {
        let length = if compact {
            self.get_compact_length()?
        } else {
            i64::from(self.get_i32()?)
        };
        self.checked_length(length)
    }

    /// Compact lengths are written plus one, so that zero is null (KIP-482).
    #[inline]
    fn get_compact_length(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from(self.get_uvarint()?) - 1)
    }

    #[inline]
    fn checked_length(&self, length: i64) -> Result<Option<usize>, DecodeError> {
        match usize::try_from(length) {
            Ok(length) if length <= self.remaining() => Ok(Some(length)),
            Ok(_) => Err(self.malformed("a length within the remaining bytes")),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(self.malformed("a length, or -1 for null")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(bytes: &'static [u8]) -> Decoder {
        Decoder::new(Bytes::from_static(bytes))
    }

    #[test]
    fn a_length_beyond_the_input_is_refused() {
        assert!(over(&[0x7f, 0xff, 0xff, 0xff]).get_length(false).is_err());
        assert!(
            over(&[0xff, 0xff, 0xff, 0xff, 0x07])
                .get_length(true)
                .is_err()
        );
        assert!(over(&[0, 2, b'a']).get_string_length(false).is_err());
    }

    #[test]
    fn only_minus_one_is_null() {
        assert_eq!(
            over(&[0xff, 0xff]).get_string_length(false).ok(),
            Some(None)
        );
        assert_eq!(over(&[0]).get_string_length(true).ok(), Some(None));
        assert!(over(&[0xff, 0xfe]).get_string_length(false).is_err());
    }

    #[test]
    fn a_varint_has_at_most_32_bits() {
        assert_eq!(
            over(&[0xff, 0xff, 0xff, 0xff, 0x0f]).get_uvarint().ok(),
            Some(u32::MAX)
        );
        assert!(over(&[0xff, 0xff, 0xff, 0xff, 0x1f]).get_uvarint().is_err());
        assert!(
            over(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00])
                .get_uvarint()
                .is_err()
        );
    }
}
