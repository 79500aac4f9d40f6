//! 128-bit ids of topics, directories and clients (KIP-516), written as Kafka's tools do: 22 characters of base64url.

use std::fmt;
use std::str::FromStr;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A 128-bit id. The default is [`Uuid::ZERO`], which Kafka uses for "none".
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// All zeros: no id.
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// The id of these 128 bits.
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits.to_be_bytes())
    }

    /// A version 4 id made of these random bits.
    pub const fn from_random(bits: u128) -> Self {
        Self::from_u128(bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62)
    }

    /// Whether this is [`Uuid::ZERO`].
    pub const fn is_zero(&self) -> bool {
        u128::from_be_bytes(self.0) == 0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        // 22 characters carry 132 bits: the last one has four bits of padding.
        for place in 0..22i32 {
            let shift = 122 - 6 * place;
            let index = if shift >= 0 {
                bits >> shift
            } else {
                bits << -shift
            } & 0x3f;
            write!(f, "{}", ALPHABET[index as usize] as char)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not an id: 22 characters of base64url were expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseUuidError;

impl fmt::Display for ParseUuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an id of 22 base64url characters")
    }
}

impl std::error::Error for ParseUuidError {}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        if text.len() != 22 {
            return Err(ParseUuidError);
        }
        let mut bits = 0u128;
        for (place, byte) in text.bytes().enumerate() {
            let value = ALPHABET
                .iter()
                .position(|c| *c == byte)
                .ok_or(ParseUuidError)? as u128;
            bits = match place {
                21 if value & 0xf != 0 => return Err(ParseUuidError),
                21 => bits << 2 | value >> 4,
                _ => bits << 6 | value,
            };
        }
        Ok(Self::from_u128(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_kafka_prints() {
        assert_eq!(Uuid::from_u128(1).to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn text_is_read_back() {
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let id = Uuid::from_random(bits);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(
            "AAAAAAAAAAAAAAAAAAAAAB".parse::<Uuid>(),
            Err(ParseUuidError)
        );
        assert_eq!("short".parse::<Uuid>(), Err(ParseUuidError));
    }
}
