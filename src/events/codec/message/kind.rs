//! How a field's value is written: what JSON's mapping has otherwise than serde, and what Avro has.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::STANDARD as ENCODED;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{As, Oneof, ReadAs};

/// How values of type `T` are written and read.
pub(crate) trait Kind<T> {
    fn serialize<S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error>;

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error>;

    /// Whether JSON leaves it out.
    fn is_absent(value: &T) -> bool;
}

/// As serde has it: texts, booleans, messages.
pub(crate) struct Plain;

impl<T: Serialize + DeserializeOwned + Default + PartialEq> Kind<T> for Plain {
    fn serialize<S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        T::deserialize(deserializer)
    }

    fn is_absent(value: &T) -> bool {
        *value == T::default()
    }
}

/// A number without decimals: in JSON a text when it has 64 bits; either is read.
pub(crate) struct Integer;

impl<T> Kind<T> for Integer
where
    T: Serialize + DeserializeOwned + Default + PartialEq + Display + FromStr + TryFrom<i128>,
{
    fn serialize<S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() && size_of::<T>() == 8 {
            true => serializer.collect_str(value),
            false => value.serialize(serializer),
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_any(Number(PhantomData)),
            false => T::deserialize(deserializer),
        }
    }

    fn is_absent(value: &T) -> bool {
        *value == T::default()
    }
}

struct Number<T>(PhantomData<T>);

impl<T: FromStr + TryFrom<i128>> Visitor<'_> for Number<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a number of {} bits, or a text with one",
            size_of::<T>() * 8
        )
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        T::try_from(i128::from(value))
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        T::try_from(i128::from(value))
            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        // 1e3 is a number without decimals as well; beyond 2^53 it would be another one.
        let whole = (value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0)
            .then_some(value as i128);
        let read = whole.and_then(|whole| T::try_from(whole).ok());
        read.ok_or_else(|| E::invalid_value(de::Unexpected::Float(value), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse()
            .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// A number with decimals: what is no number is a text in JSON.
pub(crate) struct Float;

impl<T> Kind<T> for Float
where
    T: Serialize + DeserializeOwned + Default + PartialEq + Copy + Into<f64> + FromF64,
{
    fn serialize<S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        let double: f64 = (*value).into();
        match serializer.is_human_readable() {
            true if double.is_nan() => serializer.serialize_str("NaN"),
            true if double == f64::INFINITY => serializer.serialize_str("Infinity"),
            true if double == f64::NEG_INFINITY => serializer.serialize_str("-Infinity"),
            _ => value.serialize(serializer),
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_any(Double).map(T::from_f64),
            false => T::deserialize(deserializer),
        }
    }

    fn is_absent(value: &T) -> bool {
        *value == T::default()
    }
}

/// A number that a double becomes.
pub(crate) trait FromF64 {
    fn from_f64(value: f64) -> Self;
}

impl FromF64 for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
}

impl FromF64 for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }
}

struct Double;

impl Visitor<'_> for Double {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, NaN, Infinity or -Infinity")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
        let read = match text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok().filter(|value: &f64| value.is_finite()),
        };
        read.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// Bytes: Base64 in JSON, of either alphabet when read, padded or not.
pub(crate) struct Bytes;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

impl Kind<Vec<u8>> for Bytes {
    fn serialize<S: Serializer>(value: &Vec<u8>, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.serialize_str(&ENCODED.encode(value)),
            false => serializer.serialize_bytes(value),
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_str(AnyBytes),
            false => deserializer.deserialize_bytes(AnyBytes),
        }
    }

    fn is_absent(value: &Vec<u8>) -> bool {
        value.is_empty()
    }
}

struct AnyBytes;

impl Visitor<'_> for AnyBytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes, in JSON in Base64")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        let alphabet = if text.contains(['-', '_']) {
            URL_SAFE
        } else {
            STANDARD
        };
        let decoded = GeneralPurpose::new(&alphabet, LENIENT).decode(text);
        decoded
            .map_err(|_| E::invalid_value(de::Unexpected::Other("a text that is no Base64"), &self))
    }
}

/// What `serde_enum!` says of an enum.
pub(crate) trait ProtobufEnum {
    /// The place among the values of the schema, and the name.
    fn name(number: i32) -> Option<(u32, &'static str)>;

    fn number(name: &str) -> Option<i32>;
}

/// An enum's number: its name, or in JSON the number where it has none.
pub(crate) struct Enumerated<E>(PhantomData<E>);

impl<E: ProtobufEnum> Kind<i32> for Enumerated<E> {
    fn serialize<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        match E::name(*value) {
            Some((place, name)) => serializer.serialize_unit_variant("", place, name),
            None if serializer.is_human_readable() => serializer.serialize_i32(*value),
            None => Err(S::Error::custom(format_args!(
                "the value {value} of the enum has no name, and Avro knows names alone"
            ))),
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        deserializer.deserialize_any(Symbol::<E>(PhantomData))
    }

    fn is_absent(value: &i32) -> bool {
        *value == 0
    }
}

struct Symbol<E>(PhantomData<E>);

impl<E: ProtobufEnum> Visitor<'_> for Symbol<E> {
    type Value = i32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an enum's value, or its number")
    }

    fn visit_str<T: de::Error>(self, name: &str) -> Result<i32, T> {
        E::number(name).ok_or_else(|| T::invalid_value(de::Unexpected::Str(name), &self))
    }

    fn visit_i64<T: de::Error>(self, number: i64) -> Result<i32, T> {
        i32::try_from(number).map_err(|_| T::invalid_value(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<T: de::Error>(self, number: u64) -> Result<i32, T> {
        i32::try_from(number).map_err(|_| T::invalid_value(de::Unexpected::Unsigned(number), &self))
    }
}

/// One of several, as Avro has it.
pub(crate) struct Choice;

impl<T: Oneof> Kind<T> for Choice {
    fn serialize<S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        value.write_branch(serializer)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        T::read_branch(deserializer)
    }

    fn is_absent(_: &T) -> bool {
        false
    }
}

/// What may be missing.
pub(crate) struct Opt<K>(PhantomData<K>);

impl<K: Kind<T>, T> Kind<Option<T>> for Opt<K> {
    fn serialize<S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_some(&As::<K, T>(value, PhantomData)),
            None => serializer.serialize_none(),
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        struct Found<K, T>(PhantomData<(K, T)>);

        impl<'de, K: Kind<T>, T> Visitor<'de> for Found<K, T> {
            type Value = Option<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or nothing")
            }

            fn visit_none<E: de::Error>(self) -> Result<Option<T>, E> {
                Ok(None)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Option<T>, E> {
                Ok(None)
            }

            fn visit_some<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Option<T>, D::Error> {
                K::deserialize(deserializer).map(Some)
            }
        }

        deserializer.deserialize_option(Found::<K, T>(PhantomData))
    }

    fn is_absent(value: &Option<T>) -> bool {
        value.is_none()
    }
}

/// Several, in their order.
pub(crate) struct List<K>(PhantomData<K>);

impl<K: Kind<T>, T> Kind<Vec<T>> for List<K> {
    fn serialize<S: Serializer>(value: &Vec<T>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(value.len()))?;
        for item in value {
            list.serialize_element(&As::<K, T>(item, PhantomData))?;
        }
        list.end()
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
        struct Items<K, T>(PhantomData<(K, T)>);

        impl<'de, K: Kind<T>, T> Visitor<'de> for Items<K, T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
                // However many are announced, there is room for a few; the rest must come first.
                let mut items = Vec::with_capacity(list.size_hint().unwrap_or(0).min(32));
                while let Some(item) = list.next_element_seed(ReadAs::<K, T>(PhantomData))? {
                    items.push(item);
                }
                Ok(items)
            }
        }

        deserializer.deserialize_seq(Items::<K, T>(PhantomData))
    }

    fn is_absent(value: &Vec<T>) -> bool {
        value.is_empty()
    }
}

/// Values by a key, which is a text in both encodings.
pub(crate) struct MapOf<K>(PhantomData<K>);

impl<N, K: Kind<T>, T> Kind<BTreeMap<N, T>> for MapOf<K>
where
    N: Ord + Display + FromStr,
{
    fn serialize<S: Serializer>(value: &BTreeMap<N, T>, serializer: S) -> Result<S::Ok, S::Error> {
        struct Name<'a, N>(&'a N);

        impl<N: Display> Serialize for Name<'_, N> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self.0)
            }
        }

        let mut map = serializer.serialize_map(Some(value.len()))?;
        for (name, value) in value {
            map.serialize_entry(&Name(name), &As::<K, T>(value, PhantomData))?;
        }
        map.end()
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<N, T>, D::Error> {
        struct Entries<N, K, T>(PhantomData<(N, K, T)>);

        impl<'de, N: Ord + FromStr, K: Kind<T>, T> Visitor<'de> for Entries<N, K, T> {
            type Value = BTreeMap<N, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BTreeMap<N, T>, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    let wrong = |_| de::Error::invalid_value(de::Unexpected::Str(&name), &self);
                    let key = name.parse().map_err(wrong)?;
                    entries.insert(key, map.next_value_seed(ReadAs::<K, T>(PhantomData))?);
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(Entries::<N, K, T>(PhantomData))
    }

    fn is_absent(value: &BTreeMap<N, T>) -> bool {
        value.is_empty()
    }
}
