//! Any message as JSON for people to read: bytes and a schema in, text out.
//!
//! It walks the [schema](crate::schema) along the bytes, so it needs no code per message. Ids are in Kafka's base64,
//! error codes by name, byte strings in hex, record batches with their records, floats that are not numbers as null. Tagged fields
//! that are not there are left out; unknown ones are under `unknown_tagged_fields`.

mod records;

use std::fmt::Write;

use bytes::Bytes;

use crate::compression::Decompressor;
use crate::schema::{FieldSchema, FieldType, MessageSchema, StructSchema};
use crate::wire::field::Context;
use crate::wire::tags::TagReader;
use crate::{DecodeError, Decoder, ErrorCode, TaggedFields};

/// The message in `bytes`, which it must fill, as indented JSON.
///
/// Takes no more memory than 1,024 bytes for each byte, and 512 KiB for codecs: records that decompress to more than 64 bytes for each
/// byte of their field, or come to more than 256 bytes of JSON for each, are not printed, which the JSON says in their place.
pub fn render(schema: &MessageSchema, version: i16, bytes: Bytes) -> Result<String, DecodeError> {
    let (text, spare) = render_first(schema, version, bytes)?;
    spare.finish().map_err(|error| error.of(schema.name))?;
    Ok(text)
}

/// As [`render`], of a message that may have something after its end: that is returned, too.
pub fn render_first(
    schema: &MessageSchema,
    version: i16,
    bytes: Bytes,
) -> Result<(String, Decoder), DecodeError> {
    let context = Context {
        version,
        flexible: version >= schema.first_flexible,
    };
    let mut printer = Printer {
        input: Decoder::new(bytes),
        out: String::new(),
        indent: 0,
        decompressor: Decompressor::new(),
    };
    printer
        .structure(schema.body, context)
        .map_err(|error| error.of(schema.name))?;
    Ok((printer.out, printer.input))
}

struct Printer {
    input: Decoder,
    out: String,
    indent: usize,
    decompressor: Decompressor,
}

impl Printer {
    fn structure(&mut self, schema: &StructSchema, context: Context) -> Result<(), DecodeError> {
        self.open('{');
        let in_version = |field: &&FieldSchema| field.versions.contains(context.version);
        for field in schema
            .fields
            .iter()
            .filter(in_version)
            .filter(|field| field.tag.is_none())
        {
            self.field(field, context)?;
        }
        if context.flexible {
            self.tagged(schema, context)?;
        }
        self.close('}');
        Ok(())
    }

    fn tagged(&mut self, schema: &StructSchema, context: Context) -> Result<(), DecodeError> {
        let mut unknown = TaggedFields::default();
        let mut tags = TagReader::new(&mut self.input)?;
        while let Some(tag) = tags.next(&mut self.input)? {
            let has_tag = |field: &&FieldSchema| {
                field.tag == Some(tag) && field.versions.contains(context.version)
            };
            match schema.fields.iter().find(has_tag) {
                Some(field) => self.field(field, context)?,
                None => tags.keep(&mut self.input, tag, &mut unknown)?,
            }
        }
        if !unknown.is_empty() {
            self.key("unknown_tagged_fields");
            self.open('{');
            for (tag, bytes) in unknown.iter() {
                self.key(&tag.to_string());
                self.hex(bytes);
            }
            self.close('}');
        }
        Ok(())
    }

    fn field(&mut self, field: &FieldSchema, context: Context) -> Result<(), DecodeError> {
        self.key(field.name());
        let nullable = field.nullable.contains(context.version);
        let context = Context {
            flexible: context.flexible && field.compact,
            ..context
        };
        self.value(field.ty, nullable, context)
            .map_err(|error| error.at(field.ident))
    }

    fn value(
        &mut self,
        ty: FieldType,
        nullable: bool,
        context: Context,
    ) -> Result<(), DecodeError> {
        match ty {
            FieldType::Bool => {
                let value = self.input.get_i8()? != 0;
                self.print(value);
            }
            FieldType::Int8 => self.input.get_i8().map(|value| self.print(value))?,
            FieldType::Int16 => self.input.get_i16().map(|value| self.print(value))?,
            FieldType::Uint16 => self.input.get_u16().map(|value| self.print(value))?,
            FieldType::Int32 => self.input.get_i32().map(|value| self.print(value))?,
            FieldType::Uint32 => self.input.get_u32().map(|value| self.print(value))?,
            FieldType::Int64 => self.input.get_i64().map(|value| self.print(value))?,
            FieldType::Float64 => match self.input.get_f64()? {
                value if value.is_finite() => self.print(value),
                _ => self.print("null"),
            },
            FieldType::ErrorCode => {
                let code = ErrorCode(self.input.get_i16()?);
                self.text(&code.to_string());
            }
            FieldType::Uuid => {
                let id = self.input.get_uuid()?;
                self.text(&id.to_string());
            }
            FieldType::String => {
                let start = self.input.position();
                match self.input.get_string_length(context.flexible)? {
                    Some(length) => {
                        let text = self.input.take_str(length)?.to_owned();
                        self.text(&text);
                    }
                    None => self.null(nullable, start)?,
                }
            }
            FieldType::Bytes | FieldType::Records => {
                let start = self.input.position();
                match self.input.get_length(context.flexible)? {
                    Some(length) => {
                        let bytes = self.input.take(length)?;
                        match ty {
                            FieldType::Records => self.batches(bytes),
                            _ => self.hex(&bytes),
                        }
                    }
                    None => self.null(nullable, start)?,
                }
            }
            FieldType::Array(element) => {
                let start = self.input.position();
                match self.input.get_length(context.flexible)? {
                    Some(length) => self.array(*element, length, context)?,
                    None => self.null(nullable, start)?,
                }
            }
            FieldType::Struct(_) if nullable && self.input.get_i8()? < 0 => self.print("null"),
            FieldType::Struct(schema) => self.structure(schema, context)?,
        }
        Ok(())
    }

    fn array(
        &mut self,
        element: FieldType,
        length: usize,
        context: Context,
    ) -> Result<(), DecodeError> {
        self.open('[');
        for _ in 0..length {
            self.item();
            self.value(element, false, context)?;
        }
        self.close(']');
        Ok(())
    }

    fn null(&mut self, nullable: bool, start: usize) -> Result<(), DecodeError> {
        if !nullable {
            return Err(DecodeError::new(start, "a value that is not null"));
        }
        self.print("null");
        Ok(())
    }

    fn open(&mut self, bracket: char) {
        self.out.push(bracket);
        self.indent += 1;
    }

    fn close(&mut self, bracket: char) {
        self.indent -= 1;
        if !self.out.ends_with(['{', '[']) {
            self.line();
        }
        self.out.push(bracket);
    }

    fn key(&mut self, name: &str) {
        self.item();
        self.text(name);
        self.out.push_str(": ");
    }

    /// Starts the next line of an object or array.
    fn item(&mut self) {
        if !self.out.ends_with(['{', '[']) {
            self.out.push(',');
        }
        self.line();
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", self.indent));
    }

    fn print(&mut self, value: impl std::fmt::Display) {
        write!(self.out, "{value}").expect("a string takes whatever is written");
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.out.extend(['\\', c]),
                '\n' => self.out.push_str("\\n"),
                c if c.is_control() => self.print(format_args!("\\u{:04x}", c as u32)),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn hex(&mut self, bytes: &[u8]) {
        self.out.push('"');
        for byte in bytes {
            self.print(format_args!("{byte:02x}"));
        }
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::decode_all;
    use crate::compression::{Codec, Compressor};
    use crate::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use crate::messages::{
        FindCoordinatorRequest, HeartbeatResponse, MetadataRequest, ProduceRequest,
    };
    use crate::records::{BatchBuilder, HEADER_LEN, SealOptions};
    use crate::{Encoder, Message, Uuid};

    fn rendered<M: Message>(message: &M, version: i16) -> String {
        let mut out = Encoder::new();
        message.encode(&mut out, version).unwrap();
        render(M::schema(), version, out.into_bytes()).unwrap()
    }

    #[test]
    fn a_message_is_readable() {
        let mut request = MetadataRequest {
            topics: None,
            ..Default::default()
        };
        request
            .unknown_tagged_fields
            .insert(9, Bytes::from_static(b"\x01\xff"));
        assert_eq!(
            rendered(&request, 13),
            r#"{
  "topics": null,
  "allow_auto_topic_creation": true,
  "include_topic_authorized_operations": false,
  "unknown_tagged_fields": {
    "9": "01ff"
  }
}"#
        );
        let topic = crate::messages::metadata_request::MetadataRequestTopic {
            topic_id: Uuid::from_u128(1),
            name: Some("a \"b\"".to_owned()),
            ..Default::default()
        };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let text = rendered(&request, 13);
        assert!(
            text.contains(r#""topic_id": "AAAAAAAAAAAAAAAAAAAAAQ""#),
            "{text}"
        );
        assert!(text.contains(r#""name": "a \"b\"""#), "{text}");
    }

    fn produced(records: Bytes) -> String {
        let partition = PartitionProduceData {
            index: 7,
            records: Some(records),
            ..Default::default()
        };
        let topic = TopicProduceData {
            partition_data: vec![partition],
            ..Default::default()
        };
        let request = ProduceRequest {
            topic_data: vec![topic],
            ..Default::default()
        };
        rendered(&request, 13)
    }

    fn batch(codec: Codec, value: &[u8]) -> Vec<u8> {
        let mut batch = BatchBuilder::new(Vec::new());
        let headers = [("trace", Some(&b"\xff\x00"[..])), ("empty", None)];
        batch
            .append(5, Some(b"k\"1"), Some(value), headers)
            .unwrap();
        batch.append(9, None, None, []).unwrap();
        let sealed = batch.seal(&SealOptions::default(), &mut Compressor::new(codec.into()));
        sealed.into_bytes().to_vec()
    }

    #[test]
    fn records_are_readable_in_every_codec() {
        for codec in Codec::ALL {
            let text = produced(batch(codec, b"one event").into());
            for part in [
                &format!(r#""codec": "{codec}""#),
                r#""crc": "right""#,
                r#""offset": 1,"#,
                r#""timestamp_ms": 9,"#,
                r#""key": "k\"1""#,
                r#""value": "one event""#,
                r#""value": null"#,
                r#""hex": "ff00""#,
                r#""empty": null"#,
            ] {
                assert!(text.contains(part), "{part} is not in {text}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_records_is_said_in_their_place() {
        let whole = batch(Codec::Lz4, b"value");
        let mut damaged = whole.clone();
        damaged[HEADER_LEN] ^= 1;
        let text = produced([&whole[..], &damaged, &whole[..20]].concat().into());
        assert!(text.contains(r#""crc": "wrong""#), "{text}");
        assert!(text.contains(r#""malformed": "corrupt lz4 data"#), "{text}");
        assert!(text.contains(r#""bytes_of_a_batch_cut_off": 20"#), "{text}");
        let mut many = BatchBuilder::new(Vec::new());
        for _ in 0..20_000 {
            many.append(0, None, Some(&[0; 20]), []).unwrap();
        }
        let many = many.seal(
            &SealOptions::default(),
            &mut Compressor::new(Codec::Zstd.into()),
        );
        let most = 300 * many.bytes().len();
        let text = produced(many.into_bytes());
        assert!(
            text.contains(r#""records_not_printed": "#) && text.len() < most,
            "{}",
            text.len()
        );
        let bomb = batch(Codec::Zstd, &vec![0; 1 << 20]);
        let text = produced(bomb.into());
        assert!(
            text.contains(r#""malformed": "zstd data decompresses to more than"#),
            "{text}"
        );
    }

    #[test]
    fn what_cannot_be_decoded_cannot_be_rendered() {
        // A compact string of one byte more than strings may have.
        let mut bytes = vec![0x81, 0x80, 0x02];
        bytes.resize(3 + 0x8000, b'k');
        bytes.extend([0, 0]);
        let bytes = Bytes::from(bytes);
        let schema = FindCoordinatorRequest::schema();
        let error = decode_all::<FindCoordinatorRequest>(bytes.clone(), 3).unwrap_err();
        assert_eq!(render(schema, 3, bytes), Err(error));
    }

    #[test]
    fn errors_have_names() {
        let response = HeartbeatResponse {
            error_code: ErrorCode::REBALANCE_IN_PROGRESS,
            ..Default::default()
        };
        assert!(rendered(&response, 4).contains(r#""error_code": "REBALANCE_IN_PROGRESS (27)""#));
    }
}
