//! Amounts of money: numbers with a fixed number of decimals.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number with `SCALE` decimals, counted in units of its last one: `Decimal::<2>(1250)` is 12.50. In Avro it is `bytes` of the logical type
/// `decimal` with this scale (and a precision of 38), in JSON a text: `"12.50"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const SCALE: u32>(pub i128);

impl<const SCALE: u32> Decimal<SCALE> {
    const UNIT: u128 = 10u128.pow(SCALE);

    /// The two's complement, big-endian, in as few bytes as hold it.
    fn bytes(all: &[u8; 16]) -> &[u8] {
        let mut from = 0;
        // A byte that only repeats the sign says nothing.
        while from < 15
            && (all[from] == 0 && all[from + 1] < 0x80
                || all[from] == 0xff && all[from + 1] >= 0x80)
        {
            from += 1;
        }
        &all[from..]
    }
}

impl<const SCALE: u32> fmt::Display for Decimal<SCALE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, part) = (
            self.0.unsigned_abs() / Self::UNIT,
            self.0.unsigned_abs() % Self::UNIT,
        );
        match SCALE {
            0 => write!(f, "{sign}{whole}"),
            _ => write!(f, "{sign}{whole}.{part:0width$}", width = SCALE as usize),
        }
    }
}

/// Reads what [`Display`](fmt::Display) writes; fewer decimals will do.
impl<const SCALE: u32> FromStr for Decimal<SCALE> {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
        if whole.is_empty() || part.len() > SCALE as usize || !is_number(whole) || !is_number(part)
        {
            return Err(());
        }
        let digits = format!("{whole}{part:0<width$}", width = SCALE as usize);
        let value: i128 = digits.parse().map_err(|_| ())?;
        Ok(Self(if is_negative { -value } else { value }))
    }
}

impl<const SCALE: u32> Serialize for Decimal<SCALE> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => serializer.serialize_bytes(Self::bytes(&self.0.to_be_bytes())),
        }
    }
}

impl<'de, const SCALE: u32> Deserialize<'de> for Decimal<SCALE> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_str(Read::<SCALE>),
            false => deserializer.deserialize_bytes(Read::<SCALE>),
        }
    }
}

struct Read<const SCALE: u32>;

impl<const SCALE: u32> Visitor<'_> for Read<SCALE> {
    type Value = Decimal<SCALE>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number with at most {SCALE} decimals")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let read = text.parse();
        read.map_err(|()| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        let Some(first) = bytes.first().filter(|_| bytes.len() <= 16) else {
            return Err(E::invalid_length(bytes.len(), &"a number of 1 to 16 bytes"));
        };
        let mut all = [if *first >= 0x80 { 0xff } else { 0 }; 16];
        all[16 - bytes.len()..].copy_from_slice(bytes);
        Ok(Decimal(i128::from_be_bytes(all)))
    }
}
