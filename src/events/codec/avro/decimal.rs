//! Amounts of money: numbers with a fixed number of decimals.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::schema;

/// A number with `SCALE` decimals, counted in units of its last one: `Decimal::<2>(1250)` is 12.50. In Avro it is `bytes` of the logical type
/// `decimal` with this scale (and a precision of 38), in JSON a text: `"12.50"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const SCALE: u32>(pub i128);

impl<const SCALE: u32> fmt::Display for Decimal<SCALE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(self.0, SCALE as usize))
    }
}

/// Reads what [`Display`](fmt::Display) writes; fewer decimals will do.
impl<const SCALE: u32> FromStr for Decimal<SCALE> {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        read(text, SCALE as usize).map(Self).ok_or(())
    }
}

impl<const SCALE: u32> Serialize for Decimal<SCALE> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => serializer.serialize_bytes(shortest(&self.0.to_be_bytes())),
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
        let read = units(bytes).map(Decimal);
        read.ok_or_else(|| E::invalid_length(bytes.len(), &"a number of 1 to 16 bytes"))
    }
}

/// The most digits of a decimal that are read as a number; beyond that it is bytes.
const MOST_DIGITS: u64 = 38;

/// How many decimals one of this schema has; `None` where it is none that is read here.
pub(super) fn places((precision, scale): schema::Decimal) -> Option<usize> {
    let is_known = precision <= MOST_DIGITS && scale <= precision;
    is_known.then_some(scale as usize)
}

/// The number that counts `units` of the last of its decimals.
pub(super) fn show(units: i128, places: usize) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    match places {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{part}"),
    }
}

/// The units that a number says; fewer decimals will do.
pub(super) fn read(text: &str, places: usize) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
    if whole.is_empty() || part.len() > places || !is_number(whole) || !is_number(part) {
        return None;
    }
    let units: i128 = format!("{whole}{part:0<places$}").parse().ok()?;
    Some(if digits.len() < text.len() {
        -units
    } else {
        units
    })
}

/// The bytes of the number that a text says, by a schema.
pub(super) fn read_bytes(text: &str, of: schema::Decimal) -> Option<Vec<u8>> {
    let units = read(text, places(of)?)?;
    let is_in_range = units.unsigned_abs() < 10u128.pow(of.0 as u32);
    is_in_range.then(|| shortest(&units.to_be_bytes()).to_vec())
}

/// The two's complement, big-endian, in as few bytes as hold it.
fn shortest(all: &[u8; 16]) -> &[u8] {
    let mut from = 0;
    // A byte that only repeats the sign says nothing.
    while from < 15
        && (all[from] == 0 && all[from + 1] < 0x80 || all[from] == 0xff && all[from + 1] >= 0x80)
    {
        from += 1;
    }
    &all[from..]
}

/// The same number in `size` bytes, where it has fewer.
pub(super) fn extended(bytes: Vec<u8>, size: usize) -> Vec<u8> {
    // A size is a schema's, and may be any.
    if !(bytes.len()..=16).contains(&size) {
        return bytes;
    }
    let sign = bytes
        .first()
        .map_or(0, |first| if *first >= 0x80 { 0xff } else { 0 });
    let mut all = vec![sign; size];
    all[size - bytes.len()..].copy_from_slice(&bytes);
    all
}

/// What [`shortest`] made, and longer: up to 16 bytes.
pub(super) fn units(bytes: &[u8]) -> Option<i128> {
    let first = bytes.first().filter(|_| bytes.len() <= 16)?;
    let mut all = [if *first >= 0x80 { 0xff } else { 0 }; 16];
    all[16 - bytes.len()..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(all))
}
