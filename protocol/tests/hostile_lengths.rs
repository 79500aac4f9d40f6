//! No length is believed. In: every message in every version, with everything in it, and a length of 2^31-1 (or the like)
//! written over each of its bytes in turn; and messages that pack as many elements as they can into their bytes. Out: every
//! length in the tables is refused, and the memory that decoding takes is bounded by the length of the input times
//! [`BYTES_PER_INPUT_BYTE`].

use std::collections::BTreeSet;
use std::mem;

use allocation_counter::measure;
use bytes::Bytes;
use pat_kafka_protocol::Encoder;
use pat_kafka_protocol::messages::codecs;
use pat_kafka_protocol::sample;
use pat_kafka_protocol::schema::{FieldSchema, FieldType, MessageSchema, StructSchema};

/// A value of a byte, an empty string or array, is 24 bytes in memory, and a growing array is there twice while it grows.
const BYTES_PER_INPUT_BYTE: u64 = 128;
/// What errors and the like take, whatever the input.
const BYTES_ALWAYS: u64 = 4096;

/// 2^31-1 as an int32 and as a compact length, 2^32-1 likewise, and the longest string.
const HOSTILE: [&[u8]; 5] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0x7f, 0xff],
];

/// What a decoder expects that refuses a length: of content or an array, of a tagged section, of a field in it.
const LENGTH: &str = "a length within the remaining bytes";
/// And of a string, which the compact form could say to be longer than strings are.
const STRING_LENGTH: &str = "a string of at most 32767 bytes";
const TAGGED_SECTION: &str = "a number of tagged fields within the remaining bytes";
const TAGGED_FIELD: &str = "a tagged field within the remaining bytes";

#[test]
fn a_hostile_length_anywhere_is_refused_and_allocates_no_more_than_the_bound() {
    let (mut inputs, mut fields, mut worst) = (0, 0, 0.0f64);
    for codec in codecs() {
        for version in codec.schema.versions.iter() {
            let sample = sample::full(codec.schema, version, &mut sample::random(0));
            let mut refused = BTreeSet::new();
            for (at, hostile) in
                (0..sample.len()).flat_map(|at| HOSTILE.map(|hostile| (at, hostile)))
            {
                let end = sample.len().min(at + hostile.len());
                let input = Bytes::from([&sample[..at], hostile, &sample[end..]].concat());
                let length = input.len() as u64;
                let mut error = None;
                let allocated = measure(|| error = (codec.recode)(input, version).err()).bytes_max;
                assert!(
                    allocated <= BYTES_ALWAYS + length * BYTES_PER_INPUT_BYTE,
                    "{} v{version} at {at}: {allocated} bytes for {length}",
                    codec.schema.name
                );
                refused.extend(error.map(|error| {
                    let expected = match error.expected() {
                        STRING_LENGTH => LENGTH,
                        expected => expected,
                    };
                    (error.field().to_owned(), expected)
                }));
                inputs += 1;
                worst = worst.max(allocated as f64 / length as f64);
            }
            let lengths = lengths(codec.schema, version);
            let missed: Vec<_> = lengths.difference(&refused).collect();
            assert!(
                missed.is_empty(),
                "{} v{version}: {missed:?}",
                codec.schema.name
            );
            fields += lengths.len();
        }
    }
    println!(
        "{inputs} inputs with a hostile length, over all {fields} lengths of the tables; \
         at most {worst:.0} bytes allocated per byte"
    );
}

/// Every length that this version has by its schema: the path of the field or structure, and what is expected there.
fn lengths(schema: &MessageSchema, version: i16) -> BTreeSet<(String, &'static str)> {
    fn walk(
        structure: &StructSchema,
        path: &str,
        (version, flexible): (i16, bool),
        out: &mut BTreeSet<(String, &'static str)>,
    ) {
        if flexible {
            out.insert((path.to_owned(), TAGGED_SECTION));
        }
        for field in structure.fields {
            if !field.versions.contains(version) {
                continue;
            }
            if field.tag.is_some() {
                out.insert((path.to_owned(), TAGGED_FIELD));
            }
            let dot = if path.is_empty() { "" } else { "." };
            let inner = format!("{path}{dot}{}", field.name());
            if let FieldType::Struct(part) | FieldType::Array(&FieldType::Struct(part)) = field.ty {
                walk(part, &inner, (version, flexible), out);
            }
            use FieldType::{Array, Bytes, Records, String};
            if matches!(field.ty, String | Bytes | Records | Array(_)) {
                out.insert((inner, LENGTH));
            }
        }
    }
    let mut out = BTreeSet::new();
    let flexible = version >= schema.first_flexible;
    walk(schema.body, "", (version, flexible), &mut out);
    out
}

#[test]
fn a_crowd_of_small_elements_allocates_no_more_than_the_bound() {
    let (mut arrays, mut worst, mut whose) = (0, 0.0f64, String::new());
    for codec in codecs() {
        for version in codec.schema.versions.iter() {
            for target in 0.. {
                let mut crowd = Crowd {
                    schema: codec.schema,
                    version,
                    arrays_left: target,
                    out: Encoder::new(),
                };
                crowd.structure(codec.schema.body);
                if crowd.arrays_left >= 0 {
                    break;
                }
                let input = crowd.out.into_bytes();
                let length = input.len() as u64;
                let mut decoded = false;
                let allocated = measure(|| {
                    decoded = (codec.recode)(input, version).is_ok_and(|out| out.is_ok())
                });
                assert!(decoded, "{} v{version}, array {target}", codec.schema.name);
                let ratio = (allocated.bytes_max as f64) / length as f64;
                assert!(
                    allocated.bytes_max <= BYTES_ALWAYS + length * BYTES_PER_INPUT_BYTE,
                    "{} v{version}, array {target}: {ratio} bytes allocated per byte",
                    codec.schema.name
                );
                arrays += 1;
                if ratio > worst {
                    (worst, whose) = (ratio, format!("{} v{version}", codec.schema.name));
                }
            }
        }
    }
    println!("{arrays} crowded arrays; at most {worst:.0} bytes allocated per byte, by {whose}");
}

/// Writes a message of the smallest values, with [`CROWD`] elements in one array and one in the arrays before it.
struct Crowd<'a> {
    schema: &'a MessageSchema,
    version: i16,
    /// Arrays to come before the crowded one; negative after it.
    arrays_left: i32,
    out: Encoder,
}

const CROWD: usize = 5000;

impl Crowd<'_> {
    fn structure(&mut self, schema: &StructSchema) {
        let version = self.version;
        let (tagged, untagged): (Vec<_>, Vec<_>) = schema
            .fields
            .iter()
            .filter(|field| field.versions.contains(version))
            .partition(|field| field.tag.is_some());
        for field in untagged {
            self.field(field);
        }
        if self.flexible() {
            self.tagged(&tagged);
        }
    }

    /// Those of the fields that have an array in them, up to the crowded one.
    fn tagged(&mut self, fields: &[&FieldSchema]) {
        let mut written = Vec::new();
        for field in fields {
            let arrays_left = self.arrays_left;
            if arrays_left >= 0 {
                let before = mem::take(&mut self.out);
                self.field(field);
                let content = mem::replace(&mut self.out, before).into_bytes();
                if self.arrays_left < arrays_left {
                    written.push((field.tag.unwrap_or_default(), content));
                }
            }
        }
        self.out.put_uvarint(written.len() as u32);
        for (tag, content) in written {
            self.out.put_uvarint(tag);
            self.out.put_uvarint(content.len() as u32);
            self.out.put_slice(&content);
        }
    }

    fn field(&mut self, field: &FieldSchema) {
        let nullable = field.nullable.contains(self.version);
        let compact = self.flexible() && field.compact;
        self.value(field.ty, nullable, compact);
    }

    fn flexible(&self) -> bool {
        self.version >= self.schema.first_flexible
    }

    fn value(&mut self, ty: FieldType, nullable: bool, compact: bool) {
        match ty {
            FieldType::Bool | FieldType::Int8 => self.out.put_i8(0),
            FieldType::Int16 | FieldType::Uint16 | FieldType::ErrorCode => self.out.put_i16(0),
            FieldType::Int32 | FieldType::Uint32 => self.out.put_i32(0),
            FieldType::Int64 | FieldType::Float64 => self.out.put_i64(0),
            FieldType::Uuid => self.out.put_slice(&[0; 16]),
            FieldType::String if compact => self.out.put_uvarint(1),
            FieldType::String => self.out.put_i16(0),
            FieldType::Bytes | FieldType::Records => self.length(0, compact),
            FieldType::Struct(_) if nullable && self.arrays_left < 0 => self.out.put_i8(-1),
            FieldType::Struct(schema) => {
                if nullable {
                    self.out.put_i8(1);
                }
                self.structure(schema);
            }
            FieldType::Array(element) => self.array(*element, compact),
        }
    }

    fn array(&mut self, element: FieldType, compact: bool) {
        self.arrays_left -= 1;
        let count = match self.arrays_left {
            -1 => CROWD,
            0.. => 1,
            _ => 0,
        };
        self.length(count, compact);
        (0..count).for_each(|_| self.value(element, false, compact));
    }

    fn length(&mut self, length: usize, compact: bool) {
        if compact {
            self.out.put_uvarint(length as u32 + 1);
        } else {
            self.out.put_i32(length as i32);
        }
    }
}
