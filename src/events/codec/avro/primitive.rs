//! Numbers and texts: what everything else is made of.

use protocol::records::varint;

use super::AvroError;

/// Appends a zig-zag varint.
pub(super) fn write_long(value: i64, out: &mut Vec<u8>) {
    varint::put(out, value);
}

/// Appends a length, and the bytes.
pub(super) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// What is left to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> Result<u8, AvroError> {
        let byte = self.0.split_off_first().ok_or_else(AvroError::cut_off)?;
        Ok(*byte)
    }

    /// These many bytes, which are there.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], AvroError> {
        self.0.split_off(..len).ok_or_else(AvroError::cut_off)
    }

    pub fn long(&mut self) -> Result<i64, AvroError> {
        varint::take(&mut self.0).ok_or_else(|| match self.0.len() < varint::MAX_LEN {
            true => AvroError::cut_off(),
            false => AvroError::new("a number is longer than 64 bits"),
        })
    }

    pub fn int(&mut self) -> Result<i32, AvroError> {
        let long = self.long()?;
        i32::try_from(long).map_err(|_| AvroError::new(format!("{long} is no int")))
    }

    /// A length and as many bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], AvroError> {
        let len = self.long()?;
        let len = usize::try_from(len).map_err(|_| AvroError::new(format!("a length is {len}")))?;
        self.take(len)
    }

    pub fn text(&mut self) -> Result<&'a str, AvroError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| AvroError::new("a string is no UTF-8"))
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], AvroError> {
        let bytes = self.take(N)?.first_chunk().copied();
        bytes.ok_or_else(AvroError::cut_off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: i64) {
            let mut out = Vec::new();
            write_long(value, &mut out);
            let mut input = Input(&out);
            prop_assert_eq!(input.long().expect("a number"), value);
            prop_assert!(input.0.is_empty());
            for cut in 0..out.len() {
                prop_assert!(Input(&out[..cut]).long().is_err());
            }
        }
    }

    #[test]
    fn what_is_longer_than_64_bits_is_refused() {
        assert!(Input(&[0xff; 11]).long().is_err());
        let mut most = [0xff; 10];
        most[9] = 1;
        assert_eq!(Input(&most).long(), Ok(i64::MIN));
        most[9] = 2;
        assert!(Input(&most).long().is_err());
    }

    #[test]
    fn no_length_is_believed_before_its_bytes_are_there() {
        for length in [1, i64::MAX, -1, i64::MIN] {
            let mut out = Vec::new();
            write_long(length, &mut out);
            assert!(Input(&out).bytes().is_err(), "{length}");
        }
    }
}
