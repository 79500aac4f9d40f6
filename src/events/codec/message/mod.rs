//! Protobuf's messages as serde sees them: in JSON by Protobuf's own mapping, in Avro as records whose fields have the names of the schema.
//! `proto/build.rs` writes a row for each field (`serde_message!`), for each variant of a `oneof` (`serde_oneof!`) and for each value of an enum
//! (`serde_enum!`); what they mean stands here.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `kind` | how a field's value is written: numbers, bytes, enums, lists, maps |
//! | `time` | timestamps and durations |

mod kind;
mod time;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

pub(crate) use kind::{Bytes, Choice, Enumerated, Float, Integer, Kind, List, MapOf, Opt, Plain};
// No field of ours is a duration; `proto/formats.rs` knows what to write when one is.
#[allow(unused_imports)]
pub(crate) use time::Span;
pub(crate) use time::Time;

/// A value, to be written as its kind says.
pub(crate) struct As<'a, K, T>(pub &'a T, pub PhantomData<K>);

impl<K: Kind<T>, T> Serialize for As<'_, K, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        K::serialize(self.0, serializer)
    }
}

/// A value, to be read as its kind says; what is null in JSON is the default.
pub(crate) struct Read<K, T>(pub PhantomData<(K, T)>);

impl<'de, K: Kind<T>, T: Default> DeserializeSeed<'de> for Read<K, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_option(OrDefault(self.0)),
            false => K::deserialize(deserializer),
        }
    }
}

struct OrDefault<K, T>(PhantomData<(K, T)>);

impl<'de, K: Kind<T>, T: Default> Visitor<'de> for OrDefault<K, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E: de::Error>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        K::deserialize(deserializer)
    }
}

/// A value, to be read as its kind says, for types without a default.
pub(crate) struct ReadAs<K, T>(pub PhantomData<(K, T)>);

impl<'de, K: Kind<T>, T> DeserializeSeed<'de> for ReadAs<K, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        K::deserialize(deserializer)
    }
}

/// A key, by the number that the message has for it. What is expected is tried first: fields come in the order of their rows as a rule, and a
/// look through all names, for each of them, would take longer than to read their values.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    /// The names, by their numbers.
    pub rows: &'static [&'static str],
    /// The number that is expected.
    pub next: u16,
    /// Finds the number of any name.
    pub find: fn(&str) -> Option<u16>,
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<u16>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<u16>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<u16>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Option<u16>, E> {
        match self.rows.get(usize::from(self.next)) {
            Some(expected) if *expected == name => Ok(Some(self.next)),
            _ => Ok((self.find)(name)),
        }
    }
}

/// One of several: in JSON a key of the message's own for each variant, in Avro a union of records.
pub(crate) trait Oneof: Sized {
    /// The number of the variant that JSON calls `key`.
    fn variant(key: &str) -> Option<u16>;

    /// Writes the entry of JSON.
    fn write_entry<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;

    /// Reads the value of the variant of this number; `None` for null.
    fn read_entry<'de, A: MapAccess<'de>>(
        variant: u16,
        map: &mut A,
    ) -> Result<Option<Self>, A::Error>;

    /// Writes the branch of a union.
    fn write_branch<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads the branch of a union.
    fn read_branch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Implements serde's traits for a message. The rows: number, field, its name in Avro, its name in JSON, kind; after them those of its
/// `oneof`s: number, field, name, type.
macro_rules! serde_message {
    ($Message:path, $name:literal, $count:literal, {
        $($number:literal $field:ident $avro:literal $json:literal $Kind:ty;)*
    } {
        $($one_number:literal $one:ident $one_name:literal $One:ty;)*
    }) => {
        impl ::serde::Serialize for $Message {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                use $crate::events::codec::message::*;
                if serializer.is_human_readable() {
                    let mut map = serializer.serialize_map(::core::option::Option::None)?;
                    $(if !<$Kind as Kind<_>>::is_absent(&self.$field) {
                        ::serde::ser::SerializeMap::serialize_entry(&mut map, $json, &As::<$Kind, _>(&self.$field, ::core::marker::PhantomData))?;
                    })*
                    $(if let ::core::option::Option::Some(one) = &self.$one {
                        Oneof::write_entry(one, &mut map)?;
                    })*
                    return ::serde::ser::SerializeMap::end(map);
                }
                #[allow(unused_mut)]
                let mut record = serializer.serialize_struct($name, $count)?;
                $(::serde::ser::SerializeStruct::serialize_field(&mut record, $avro, &As::<$Kind, _>(&self.$field, ::core::marker::PhantomData))?;)*
                $(::serde::ser::SerializeStruct::serialize_field(&mut record, $one_name, &As::<Opt<Choice>, _>(&self.$one, ::core::marker::PhantomData))?;)*
                ::serde::ser::SerializeStruct::end(record)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $Message {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> ::core::result::Result<Self, D::Error> {
                use $crate::events::codec::message::*;

                struct Fields {
                    // Only a `oneof` is another thing in JSON.
                    #[allow(dead_code)]
                    is_json: bool,
                }

                impl<'de> ::serde::de::Visitor<'de> for Fields {
                    type Value = $Message;

                    fn expecting(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        f.write_str(::core::concat!("a message ", $name))
                    }

                    #[allow(unused_mut, unreachable_patterns)]
                    fn visit_map<A: ::serde::de::MapAccess<'de>>(self, mut map: A) -> ::core::result::Result<$Message, A::Error> {
                        let mut message = <$Message as ::core::default::Default>::default();
                        let find = |name: &str| match name {
                            $($avro | $json => ::core::option::Option::Some($number),)*
                            $($one_name => ::core::option::Option::Some($one_number),)*
                            _ => {
                                $(if let ::core::option::Option::Some(variant) = <$One as Oneof>::variant(name) {
                                    return ::core::option::Option::Some($one_number + 1 + variant);
                                })*
                                ::core::option::Option::None
                            }
                        };
                        let rows: &[&str] = if self.is_json { &[$($json),*] } else { &[$($avro),*] };
                        let mut next = 0;
                        while let ::core::option::Option::Some(key) = map.next_key_seed(Key { rows, next, find })? {
                            next = key.map_or(next, |number: u16| number + 1);
                            match key {
                                $(::core::option::Option::Some($number) => {
                                    message.$field = map.next_value_seed(Read::<$Kind, _>(::core::marker::PhantomData))?;
                                })*
                                $(::core::option::Option::Some($one_number) if !self.is_json => {
                                    message.$one = map.next_value_seed(ReadAs::<Opt<Choice>, _>(::core::marker::PhantomData))?;
                                })*
                                $(::core::option::Option::Some(variant @ $one_number..) if self.is_json && (1..1_000).contains(&(variant - $one_number)) => {
                                    if let ::core::option::Option::Some(one) = <$One as Oneof>::read_entry(variant - $one_number - 1, &mut map)? {
                                        message.$one = ::core::option::Option::Some(one);
                                    }
                                })*
                                _ => {
                                    map.next_value::<::serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        ::core::result::Result::Ok(message)
                    }
                }

                let is_json = deserializer.is_human_readable();
                deserializer.deserialize_struct($name, &[], Fields { is_json })
            }
        }
    };
}

/// Implements [`Oneof`]. The rows: number, variant, its name in the schema, its name in JSON, the record in Avro, how the record holds it
/// (`is` it, or `has` it as its only field), kind.
macro_rules! serde_oneof {
    ($One:ty, { $($number:literal $Variant:ident $proto:literal $json:literal $record:literal $how:ident $Kind:ty;)* }) => {
        impl $crate::events::codec::message::Oneof for $One {
            #[allow(unreachable_patterns)]
            fn variant(key: &str) -> ::core::option::Option<u16> {
                match key {
                    $($proto | $json => ::core::option::Option::Some($number),)*
                    _ => ::core::option::Option::None,
                }
            }

            fn write_entry<M: ::serde::ser::SerializeMap>(&self, map: &mut M) -> ::core::result::Result<(), M::Error> {
                use $crate::events::codec::message::*;
                match self {
                    $(Self::$Variant(value) => map.serialize_entry($json, &As::<$Kind, _>(value, ::core::marker::PhantomData)),)*
                }
            }

            fn read_entry<'de, A: ::serde::de::MapAccess<'de>>(variant: u16, map: &mut A) -> ::core::result::Result<::core::option::Option<Self>, A::Error> {
                use $crate::events::codec::message::*;
                match variant {
                    $($number => {
                        let value = map.next_value_seed(Read::<Opt<$Kind>, _>(::core::marker::PhantomData))?;
                        ::core::result::Result::Ok(value.map(Self::$Variant))
                    })*
                    _ => {
                        map.next_value::<::serde::de::IgnoredAny>()?;
                        ::core::result::Result::Ok(::core::option::Option::None)
                    }
                }
            }

            fn write_branch<S: ::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                use $crate::events::codec::message::*;
                match self {
                    $(Self::$Variant(value) => {
                        let value = As::<$Kind, _>(value, ::core::marker::PhantomData);
                        let value = serde_oneof!(@write $how $proto $record value);
                        serializer.serialize_newtype_variant("", $number, $record, &value)
                    })*
                }
            }

            fn read_branch<'de, D: ::serde::Deserializer<'de>>(deserializer: D) -> ::core::result::Result<Self, D::Error> {
                use $crate::events::codec::message::*;

                struct Branches;

                impl<'de> ::serde::de::Visitor<'de> for Branches {
                    type Value = $One;

                    fn expecting(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        f.write_str("one of several records")
                    }

                    fn visit_enum<A: ::serde::de::EnumAccess<'de>>(self, one: A) -> ::core::result::Result<$One, A::Error> {
                        let find = |name: &str| match name {
                            $($record => ::core::option::Option::Some($number),)*
                            _ => ::core::option::Option::None,
                        };
                        let (variant, value) = one.variant_seed(Key { rows: &[], next: 0, find })?;
                        match variant {
                            $(::core::option::Option::Some($number) => {
                                let value = serde_oneof!(@read $how $Kind, value);
                                ::core::result::Result::Ok(<$One>::$Variant(value))
                            })*
                            _ => ::core::result::Result::Err(::serde::de::Error::custom("a record that is none of them")),
                        }
                    }
                }

                deserializer.deserialize_enum("", &[$($record),*], Branches)
            }
        }
    };
    (@write is $proto:literal $record:literal $value:ident) => { $value };
    (@write has $proto:literal $record:literal $value:ident) => { Only($record, $proto, $value) };
    (@read is $Kind:ty, $value:ident) => {
        ::serde::de::VariantAccess::newtype_variant_seed($value, ReadAs::<$Kind, _>(::core::marker::PhantomData))?
    };
    (@read has $Kind:ty, $value:ident) => {
        ::serde::de::VariantAccess::newtype_variant_seed($value, OnlyOf::<$Kind, _>(::core::marker::PhantomData))?
    };
}

/// Implements [`ProtobufEnum`](kind::ProtobufEnum). The rows: place in the schema, number, name.
macro_rules! serde_enum {
    ($Enum:ty, { $($place:literal $number:literal $name:literal;)* }) => {
        impl $crate::events::codec::message::ProtobufEnum for $Enum {
            fn name(number: i32) -> ::core::option::Option<(u32, &'static str)> {
                match number {
                    $($number => ::core::option::Option::Some(($place, $name)),)*
                    _ => ::core::option::Option::None,
                }
            }

            fn number(name: &str) -> ::core::option::Option<i32> {
                match name {
                    $($name => ::core::option::Option::Some($number),)*
                    _ => ::core::option::Option::None,
                }
            }
        }
    };
}

pub(crate) use kind::ProtobufEnum;
pub(crate) use {serde_enum, serde_message, serde_oneof};

/// A record with one field.
pub(crate) struct Only<T>(pub &'static str, pub &'static str, pub T);

impl<T: Serialize> Serialize for Only<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct(self.0, 1)?;
        serde::ser::SerializeStruct::serialize_field(&mut record, self.1, &self.2)?;
        serde::ser::SerializeStruct::end(record)
    }
}

/// The one field of a record.
pub(crate) struct OnlyOf<K, T>(pub PhantomData<(K, T)>);

impl<'de, K: Kind<T>, T> DeserializeSeed<'de> for OnlyOf<K, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_struct("", &[], self)
    }
}

impl<'de, K: Kind<T>, T> Visitor<'de> for OnlyOf<K, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record with one field")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut value = None;
        let any = Key {
            rows: &[],
            next: 0,
            find: |_| Some(0),
        };
        while map.next_key_seed(any)?.is_some() {
            value = Some(map.next_value_seed(ReadAs::<K, T>(PhantomData))?);
        }
        value.ok_or_else(|| de::Error::invalid_length(0, &self))
    }
}
