//! Values of any message, as the bytes that [`Message::encode`](crate::Message::encode) would write: random, but valid.
//! For fuzzers' seeds and tests.
//!
//! It walks the [schema](crate::schema), so it shares no code with the tables' encoding and can disagree with it.

use bytes::Bytes;

use crate::Encoder;
use crate::schema::{FieldSchema, FieldType, MessageSchema, StructSchema};
use crate::wire::field::Context;

const LONGEST_ARRAY: u64 = 3;
const LONGEST_STRING: u64 = 12;
const CHARACTERS: [char; 8] = ['a', 'Z', '0', '.', '-', 'ä', '漢', '🦀'];
/// Far above the tags that Kafka uses.
const UNKNOWN_TAG: u64 = 1000;

/// A message of this version, with random numbers from `random`. The same numbers give the same message.
pub fn sample(schema: &MessageSchema, version: i16, random: &mut dyn FnMut() -> u64) -> Bytes {
    write(schema, version, random, false)
}

/// A message of this version with everything in it: one element in every array, nothing null, every tagged field. The
/// rest is random.
pub fn full(schema: &MessageSchema, version: i16, random: &mut dyn FnMut() -> u64) -> Bytes {
    write(schema, version, random, true)
}

fn write(
    schema: &MessageSchema,
    version: i16,
    random: &mut dyn FnMut() -> u64,
    full: bool,
) -> Bytes {
    let context = Context {
        version,
        flexible: version >= schema.first_flexible,
    };
    let mut sampler = Sampler {
        random,
        context,
        full,
    };
    let mut out = Encoder::new();
    sampler.structure(schema.body, &mut out, Values::Random);
    out.into_bytes()
}

/// Random numbers that only depend on the seed (SplitMix64).
pub fn random(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Values {
    Random,
    Default,
}

struct Sampler<'a> {
    random: &'a mut dyn FnMut() -> u64,
    context: Context,
    /// Whether everything is there.
    full: bool,
}

impl Sampler<'_> {
    fn below(&mut self, limit: u64) -> u64 {
        (self.random)() % limit
    }

    fn structure(&mut self, schema: &StructSchema, out: &mut Encoder, values: Values) {
        let version = self.context.version;
        let fields = || {
            schema
                .fields
                .iter()
                .filter(move |field| field.versions.contains(version))
        };
        for field in fields().filter(|field| field.tag.is_none()) {
            self.field(field, out, values);
        }
        if self.context.flexible {
            self.tagged(fields().filter(|field| field.tag.is_some()), out, values);
        }
    }

    /// Some of the tagged fields, none with its default, and now and then one that the tables do not know.
    fn tagged<'s>(
        &mut self,
        fields: impl Iterator<Item = &'s FieldSchema>,
        out: &mut Encoder,
        values: Values,
    ) {
        let mut tagged = Vec::new();
        if values == Values::Random {
            for field in fields {
                let default = self.content(field, Values::Default);
                // So many for a full message that one of them is not the default.
                let tries = if self.full { 100 } else { self.below(2) };
                let content = (0..tries)
                    .map(|_| self.content(field, Values::Random))
                    .find(|content| *content != default);
                tagged.extend(content.map(|content| (field.tag.unwrap_or_default(), content)));
            }
            if !self.full && self.below(8) == 0 {
                tagged.push((
                    (UNKNOWN_TAG + self.below(UNKNOWN_TAG)) as u32,
                    Bytes::from_static(b"unknown"),
                ));
            }
        }
        tagged.sort_by_key(|field| field.0);
        out.put_uvarint(tagged.len() as u32);
        for (tag, content) in tagged {
            out.put_uvarint(tag);
            out.put_uvarint(content.len() as u32);
            out.put_slice(&content);
        }
    }

    fn content(&mut self, field: &FieldSchema, values: Values) -> Bytes {
        let mut out = Encoder::new();
        self.field(field, &mut out, values);
        out.into_bytes()
    }

    fn field(&mut self, field: &FieldSchema, out: &mut Encoder, values: Values) {
        let nullable = field.nullable.contains(self.context.version);
        let compact = self.context.flexible && field.compact;
        let null = match values {
            Values::Random => !self.full && self.below(4) == 0,
            Values::Default => {
                field.default == Some("None") || matches!(field.ty, FieldType::Records)
            }
        };
        if nullable && null {
            return put_null(field.ty, compact, out);
        }
        if nullable && matches!(field.ty, FieldType::Struct(_)) {
            out.put_i8(1);
        }
        match values {
            Values::Random => self.value(field.ty, compact, out),
            Values::Default => self.default_value(field, compact, out),
        }
    }

    fn value(&mut self, ty: FieldType, compact: bool, out: &mut Encoder) {
        match ty {
            FieldType::Bool => out.put_i8(self.below(2) as i8),
            FieldType::Int8 => out.put_i8(self.integer() as i8),
            FieldType::Int16 | FieldType::ErrorCode => out.put_i16(self.integer() as i16),
            FieldType::Uint16 => out.put_u16(self.integer() as u16),
            FieldType::Int32 => out.put_i32(self.integer() as i32),
            FieldType::Uint32 => out.put_u32(self.integer() as u32),
            FieldType::Int64 => out.put_i64(self.integer()),
            FieldType::Float64 => out.put_f64(self.integer() as f64 / 8.0),
            FieldType::Uuid => {
                out.put_i64(self.integer());
                out.put_i64(self.integer());
            }
            FieldType::String => {
                let count = self.below(LONGEST_STRING);
                let text: String = (0..count)
                    .map(|_| CHARACTERS[self.below(8) as usize])
                    .collect();
                put_string_length(text.len(), compact, out);
                out.put_slice(text.as_bytes());
            }
            FieldType::Bytes | FieldType::Records => {
                let count = self.below(LONGEST_STRING);
                let bytes: Vec<u8> = (0..count).map(|_| self.below(256) as u8).collect();
                put_length(bytes.len(), compact, out);
                out.put_slice(&bytes);
            }
            FieldType::Array(element) => {
                let count = if self.full {
                    1
                } else {
                    self.below(LONGEST_ARRAY + 1)
                };
                put_length(count as usize, compact, out);
                (0..count).for_each(|_| self.value(*element, compact, out));
            }
            FieldType::Struct(schema) => self.structure(schema, out, Values::Random),
        }
    }

    /// Corners as often as anything in between.
    fn integer(&mut self) -> i64 {
        match self.below(8) {
            0 => 0,
            1 => -1,
            2 => i64::MAX,
            3 => i64::MIN,
            4 => self.below(100) as i64,
            _ => (self.random)() as i64,
        }
    }

    fn default_value(&mut self, field: &FieldSchema, compact: bool, out: &mut Encoder) {
        let number = match field.default {
            Some("true") => 1,
            Some("i32::MIN") => i64::from(i32::MIN),
            Some("i32::MAX") => i64::from(i32::MAX),
            Some("i64::MAX") => i64::MAX,
            Some(text) => text.replace(' ', "").parse().unwrap_or(0),
            None => 0,
        };
        match field.ty {
            FieldType::Bool | FieldType::Int8 => out.put_i8(number as i8),
            FieldType::Int16 | FieldType::Uint16 | FieldType::ErrorCode => {
                out.put_i16(number as i16)
            }
            FieldType::Int32 | FieldType::Uint32 => out.put_i32(number as i32),
            FieldType::Int64 => out.put_i64(number),
            FieldType::Float64 => out.put_f64(number as f64),
            FieldType::Uuid => out.put_slice(&[0; 16]),
            FieldType::String => put_string_length(0, compact, out),
            FieldType::Bytes | FieldType::Records | FieldType::Array(_) => {
                put_length(0, compact, out)
            }
            FieldType::Struct(schema) => self.structure(schema, out, Values::Default),
        }
    }
}

fn put_string_length(length: usize, compact: bool, out: &mut Encoder) {
    if compact {
        out.put_uvarint(length as u32 + 1)
    } else {
        out.put_i16(length as i16)
    }
}

fn put_length(length: usize, compact: bool, out: &mut Encoder) {
    if compact {
        out.put_uvarint(length as u32 + 1)
    } else {
        out.put_i32(length as i32)
    }
}

fn put_null(ty: FieldType, compact: bool, out: &mut Encoder) {
    match ty {
        FieldType::Struct(_) => out.put_i8(-1),
        _ if compact => out.put_uvarint(0),
        FieldType::String => out.put_i16(-1),
        _ => out.put_i32(-1),
    }
}
