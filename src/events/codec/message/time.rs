//! Timestamps and durations of Protobuf: RFC 3339 and seconds with an `s` in JSON, microseconds in Avro.

use std::fmt::{self, Write};
use std::marker::PhantomData;

use prost_types::{Duration, Timestamp};
use serde::de::{self, Deserializer, Visitor};
use serde::ser::{Error as _, Serializer};

use super::Kind;
use crate::kafka::runtime::calendar::{Rfc3339, civil, date_and_time, days};

/// The first and the last second of JSON's mapping: the years 1 and 9999.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;

/// A point in time.
pub(crate) struct Time;

/// A span of time.
#[allow(dead_code)]
pub(crate) struct Span;

/// For both: what they share is a number of seconds and of nanoseconds.
macro_rules! by_text_or_micros {
    ($Kind:ty, $Type:ty, $expected:literal, $write:ident, $read:ident) => {
        impl Kind<$Type> for $Kind {
            fn serialize<S: Serializer>(value: &$Type, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    let text = $write(value.seconds, value.nanos);
                    let text = text.ok_or_else(|| {
                        S::Error::custom(format_args!("{value:?} is not {}", $expected))
                    })?;
                    return serializer.serialize_str(&text);
                }
                let micros = value.seconds.checked_mul(1_000_000);
                // Downwards, so that it is the same on both sides of 1970.
                let micros =
                    micros.and_then(|it| it.checked_add(i64::from(value.nanos).div_euclid(1_000)));
                match micros {
                    Some(micros) => serializer.serialize_i64(micros),
                    None => Err(S::Error::custom("a time beyond what microseconds count")),
                }
            }

            fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$Type, D::Error> {
                let visitor = Read(PhantomData::<$Type>);
                match deserializer.is_human_readable() {
                    true => deserializer.deserialize_str(visitor),
                    false => deserializer.deserialize_i64(visitor),
                }
            }

            fn is_absent(_: &$Type) -> bool {
                false
            }
        }

        impl Visitor<'_> for Read<$Type> {
            type Value = $Type;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($expected)
            }

            fn visit_i32<E: de::Error>(self, micros: i32) -> Result<$Type, E> {
                self.visit_i64(i64::from(micros))
            }

            fn visit_i64<E: de::Error>(self, micros: i64) -> Result<$Type, E> {
                Ok(<$Type>::from_micros(micros))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<$Type, E> {
                let read = $read(text).map(|(seconds, nanos)| {
                    let mut value = <$Type>::default();
                    (value.seconds, value.nanos) = (seconds, nanos);
                    value
                });
                read.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
    };
}

struct Read<T>(PhantomData<T>);

trait FromMicros {
    fn from_micros(micros: i64) -> Self;
}

impl FromMicros for Timestamp {
    fn from_micros(micros: i64) -> Self {
        Self {
            seconds: micros.div_euclid(1_000_000),
            nanos: micros.rem_euclid(1_000_000) as i32 * 1_000,
        }
    }
}

impl FromMicros for Duration {
    fn from_micros(micros: i64) -> Self {
        // Both of the same sign.
        Self {
            seconds: micros / 1_000_000,
            nanos: (micros % 1_000_000) as i32 * 1_000,
        }
    }
}

by_text_or_micros!(
    Time,
    Timestamp,
    "a time from the year 1 to 9999, in RFC 3339",
    rfc3339,
    from_rfc3339
);
by_text_or_micros!(
    Span,
    Duration,
    "a number of seconds with an s after it",
    seconds,
    from_seconds
);

/// 0, 3, 6 or 9 decimals, as many as it takes.
fn decimals(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        _ if nanos.is_multiple_of(1_000_000) => format!(".{:03}", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => format!(".{:06}", nanos / 1_000),
        _ => format!(".{nanos:09}"),
    }
}

/// 1 to 9 decimals.
fn nanos_of(decimals: &str) -> Option<i32> {
    let is_number =
        (1..=9).contains(&decimals.len()) && decimals.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| format!("{decimals:0<9}").parse().ok())?
}

fn rfc3339(seconds: i64, nanos: i32) -> Option<String> {
    let nanos = u32::try_from(nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)?;
    if !(FIRST..=LAST).contains(&seconds) {
        return None;
    }
    let ((year, month, day), (hour, minute, second)) = date_and_time(seconds);
    let mut text = String::with_capacity(30);
    let _ = write!(
        text,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    );
    text.push_str(&decimals(nanos));
    text.push('Z');
    Some(text)
}

fn from_rfc3339(text: &str) -> Option<(i64, i32)> {
    let read = Rfc3339::read(text)?;
    let (year, month, day) = read.date;
    let is_day = year > 0 && civil(days(year, month, day)) == read.date;
    let ((_, _, second), (_, hours, minutes)) = (read.time, read.offset);
    if !is_day || read.between == b' ' || second > 59 || hours > 23 || minutes > 59 {
        return None;
    }
    let nanos = read.decimals.map_or(Some(0), nanos_of)?;
    let seconds = read.seconds();
    (FIRST..=LAST)
        .contains(&seconds)
        .then_some((seconds, nanos))
}

#[allow(dead_code)]
fn seconds(seconds: i64, nanos: i32) -> Option<String> {
    let is_one_sign = seconds.signum() * i64::from(nanos).signum() >= 0;
    if !is_one_sign || nanos.unsigned_abs() >= 1_000_000_000 {
        return None;
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    Some(format!(
        "{sign}{}{}s",
        seconds.unsigned_abs(),
        decimals(nanos.unsigned_abs())
    ))
}

fn from_seconds(text: &str) -> Option<(i64, i32)> {
    let number = text.strip_suffix('s')?;
    let (sign, number) = match number.strip_prefix('-') {
        Some(number) => (-1, number),
        None => (1, number),
    };
    let (whole, nanos) = match number.split_once('.') {
        Some((whole, decimals)) => (whole, nanos_of(decimals)?),
        None => (number, 0),
    };
    let is_number = !whole.is_empty() && whole.bytes().all(|it| it.is_ascii_digit());
    let whole: i64 = is_number.then(|| whole.parse().ok())??;
    Some((sign * whole, sign as i32 * nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_and_written_in_rfc_3339() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("1969-12-31T23:59:59.999Z", -1, 999_000_000),
            ("0001-01-01T00:00:00Z", FIRST, 0),
            ("9999-12-31T23:59:59.999999999Z", LAST, 999_999_999),
            ("2000-02-29T12:30:15.000001Z", 951_827_415, 1_000),
        ] {
            assert_eq!(rfc3339(seconds, nanos).as_deref(), Some(text));
            assert_eq!(from_rfc3339(text), Some((seconds, nanos)), "{text}");
        }
        assert_eq!(
            from_rfc3339("1970-01-01T01:00:00.5+01:00"),
            Some((0, 500_000_000))
        );
        for wrong in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-02-29T00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.1234567890Z",
            "1970-01-01T00:00:00+1:00",
            "0001-01-01T00:00:00+01:00",
            "19700-01-01T00:00:0",
            "197\u{e9}-01-01T00:00:00Z",
        ] {
            assert_eq!(from_rfc3339(wrong), None, "{wrong}");
        }
        assert_eq!(rfc3339(LAST + 1, 0), None);
        assert_eq!(rfc3339(0, -1), None);
    }

    #[test]
    fn spans_are_seconds_with_an_s() {
        for (text, whole, nanos) in [
            ("0s", 0, 0),
            ("1.500s", 1, 500_000_000),
            ("-0.000000001s", 0, -1),
            ("-3s", -3, 0),
        ] {
            assert_eq!(seconds(whole, nanos).as_deref(), Some(text));
            assert_eq!(from_seconds(text), Some((whole, nanos)));
        }
        for wrong in ["", "s", "1", "1.s", "+1s", "--1s", "1.0000000000s"] {
            assert_eq!(from_seconds(wrong), None, "{wrong}");
        }
        assert_eq!(seconds(1, -1), None);
    }

    proptest! {
        #[test]
        fn every_time_comes_back(seconds in FIRST..=LAST, nanos in 0..1_000_000_000_i32) {
            let text = rfc3339(seconds, nanos).expect("in range");
            prop_assert_eq!(from_rfc3339(&text), Some((seconds, nanos)));
        }
    }
}
