//! How a record is shown. In: a record. Out: bytes: the bare value, a format with kcat's letters, or JSON.

use std::io::{self, Write};

use pat_events::kafka::RecordView;
use serde_json::{Map, Value, json};

use crate::escapes::{Delimiter, escape};
use crate::typed::Schemas;

/// What to print for each record.
#[derive(Clone, Debug)]
pub enum Format {
    /// Pieces one after the other.
    Pieces(Vec<Piece>),
    /// One JSON object a line.
    Json,
    /// One JSON object a line, an event's data by the names of its fields.
    Typed(Schemas),
}

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeyLength,
    Value,
    ValueLength,
    /// The value's length as four bytes, the most significant first.
    BinaryValueLength,
    Headers,
}

/// A record, and what its key and its value say where they have been read as more than bytes.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    pub record: &'a RecordView<'a>,
    pub key: Option<&'a Value>,
    pub value: Option<&'a Value>,
    /// Whether what steers terminals, and what is no text, is escaped.
    pub is_escaped: bool,
}

impl Format {
    /// The value on a line of its own, after the key and a delimiter where there is one; another delimiter ends it where there is one.
    pub fn lines(key_delimiter: Option<&Delimiter>, delimiter: Option<&Delimiter>) -> Format {
        let mut pieces = Vec::new();
        if let Some(Delimiter(delimiter)) = key_delimiter {
            pieces.extend([Piece::Key, Piece::Text(delimiter.clone())]);
        }
        let end = delimiter.map_or(b"\n".to_vec(), |delimiter| delimiter.0.clone());
        pieces.extend([Piece::Value, Piece::Text(end)]);
        Format::Pieces(pieces)
    }

    /// Reads a format: `%t` topic, `%p` partition, `%o` offset, `%T` timestamp, `%k` key, `%K` its length, `%s` value, `%S` its
    /// length, `%R` its length in binary, `%h` headers, `%%`, and [escapes](crate::escapes). The error says what it cannot read.
    pub fn parse(text: &str) -> Result<Format, String> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let piece = match character {
                '%' => letter(characters.next())?,
                '\\' => Piece::Text(vec![escape(&mut characters)?]),
                other => Piece::Text(other.to_string().into_bytes()),
            };
            if let Piece::Text(bytes) = piece {
                plain.extend(bytes);
                continue;
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Format::Pieces(pieces))
    }

    /// Writes one record.
    pub fn write(&self, shown: Shown<'_>, out: &mut impl Write) -> io::Result<()> {
        match self {
            Format::Pieces(pieces) => pieces.iter().try_for_each(|piece| piece.write(shown, out)),
            Format::Json => writeln!(out, "{}", shown.json()),
            Format::Typed(schemas) => match schemas.read(shown.record) {
                Ok(event) => writeln!(out, "{event}"),
                Err(why) => {
                    let mut json = shown.json();
                    json["no_event"] = Value::String(why.to_string());
                    writeln!(out, "{json}")
                }
            },
        }
    }
}

impl Shown<'_> {
    fn json(&self) -> Value {
        let mut json = to_json(self.record);
        for (name, read) in [("key", self.key), ("value", self.value)] {
            if let Some(read) = read {
                json[name] = read.clone();
            }
        }
        json
    }

    /// Bytes, or what they say.
    fn write_part(
        &self,
        read: Option<&Value>,
        bytes: Option<&[u8]>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        match read {
            Some(read) => self.write_bytes(text_of(read).as_bytes(), out),
            None => self.write_bytes(bytes.unwrap_or_default(), out),
        }
    }

    fn write_bytes(&self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        match self.is_escaped {
            true => escape_for_terminal(bytes, out),
            false => out.write_all(bytes),
        }
    }
}

/// A value that was read as more than bytes, for people: the parts of what was unpacked with spaces between.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts)
            if parts
                .iter()
                .all(|part| !part.is_array() && !part.is_object()) =>
        {
            parts.iter().map(text_of).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

/// Text as it is; what steers terminals, and bytes that are no text, as `\xHH`.
fn escape_for_terminal(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' | '\t' => write!(out, "{character}")?,
                control if control.is_control() => {
                    let mut encoded = [0; 4];
                    for byte in control.encode_utf8(&mut encoded).bytes() {
                        write!(out, "\\x{byte:02x}")?;
                    }
                }
                character => write!(out, "{character}")?,
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

impl Piece {
    fn write(&self, shown: Shown<'_>, out: &mut impl Write) -> io::Result<()> {
        let record = shown.record;
        // As kcat: a length of -1 is null.
        let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        match self {
            Piece::Text(text) => out.write_all(text),
            Piece::Topic => out.write_all(record.topic.as_bytes()),
            Piece::Partition => write!(out, "{}", record.partition),
            Piece::Offset => write!(out, "{}", record.offset),
            Piece::Timestamp => write!(out, "{}", record.timestamp_ms),
            Piece::Key => shown.write_part(shown.key, record.key, out),
            Piece::KeyLength => write!(out, "{}", length(record.key)),
            Piece::Value => shown.write_part(shown.value, record.value, out),
            Piece::ValueLength => write!(out, "{}", length(record.value)),
            Piece::BinaryValueLength => out.write_all(&(length(record.value) as i32).to_be_bytes()),
            Piece::Headers => {
                for (number, header) in record.headers.iter().enumerate() {
                    let comma = if number > 0 { "," } else { "" };
                    out.write_all(comma.as_bytes())?;
                    shown.write_bytes(header.key_bytes, out)?;
                    out.write_all(b"=")?;
                    shown.write_bytes(header.value.unwrap_or(b"NULL"), out)?;
                }
                Ok(())
            }
        }
    }
}

fn letter(letter: Option<char>) -> Result<Piece, String> {
    Ok(match letter {
        Some('%') => Piece::Text(b"%".to_vec()),
        Some('t') => Piece::Topic,
        Some('p') => Piece::Partition,
        Some('o') => Piece::Offset,
        Some('T') => Piece::Timestamp,
        Some('k') => Piece::Key,
        Some('K') => Piece::KeyLength,
        Some('s') => Piece::Value,
        Some('S') => Piece::ValueLength,
        Some('R') => Piece::BinaryValueLength,
        Some('h') => Piece::Headers,
        Some(other) => {
            return Err(format!(
                "there is no %{other}: there are %t %p %o %T %k %K %s %S %R %h %%"
            ));
        }
        None => return Err("it ends in a %; write %% for the sign itself".to_owned()),
    })
}

/// A record with all its parts. Bytes that are no UTF-8 become an object `{"hex": "…"}`.
pub fn to_json(record: &RecordView<'_>) -> Value {
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|header| {
            json!([
                bytes_to_json(Some(header.key_bytes)),
                bytes_to_json(header.value)
            ])
        })
        .collect();
    json!({
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": bytes_to_json(record.key),
        "value": bytes_to_json(record.value),
        "headers": headers,
    })
}

pub fn bytes_to_json(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => Value::String(text.to_owned()),
        Some((bytes, Err(_))) => hex_to_json(bytes),
    }
}

/// `{"hex": "ff00"}`.
pub fn hex_to_json(bytes: &[u8]) -> Value {
    let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Value::Object(Map::from_iter([("hex".to_owned(), Value::String(hex))]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::produce::json::{self, JsonRecord};

    #[test]
    fn a_format_has_kcats_letters() {
        let pieces = vec![
            Piece::Partition,
            Piece::Text(b"@".to_vec()),
            Piece::Offset,
            Piece::Text(b"\t%".to_vec()),
            Piece::Value,
            Piece::Text(b"\x1f\n".to_vec()),
        ];
        let format = Format::parse(r"%p@%o\t%%%s\x1f\n");
        assert!(matches!(format, Ok(Format::Pieces(read)) if read == pieces));
    }

    #[test]
    fn a_format_that_cannot_be_read_says_why() {
        let error = |text| Format::parse(text).expect_err("no format");
        assert!(error("%q").contains("there is no %q"));
        assert!(error("50%").contains("write %%"));
        assert!(error(r"\xzz").contains(r"\xzz is no byte"));
    }

    proptest! {
        #[test]
        fn json_reads_back_as_the_bytes_that_were_shown(bytes in prop::option::of(any_bytes())) {
            let line = json!({"value": bytes_to_json(bytes.as_deref())}).to_string();
            let written = |_: &str, part: &Value| json::bytes(part);
            let read = JsonRecord::parse(line.as_bytes(), written).expect("a record");
            prop_assert_eq!(read.value, bytes);
        }
    }

    /// Bytes that are text, and others; short enough that all of few bytes come up.
    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12),
            any::<String>().prop_map(String::into_bytes),
            Just(br#"{"hex": "ff"}"#.to_vec()),
        ]
    }

    #[test]
    fn what_steers_terminals_and_what_is_no_text_is_escaped_there() {
        for (bytes, shown) in [
            (&b"a\tb\n"[..], "a\tb\n"),
            (b"\x1b[31m", "\\x1b[31m"),
            ("\u{e9}\u{9b}".as_bytes(), "\u{e9}\\xc2\\x9b"),
            (b"\xff\0x", "\\xff\\x00x"),
        ] {
            let mut out = Vec::new();
            escape_for_terminal(bytes, &mut out).expect("in memory");
            assert_eq!(String::from_utf8_lossy(&out), shown);
        }
    }

    #[test]
    fn what_was_unpacked_stands_with_spaces_between() {
        assert_eq!(text_of(&json!([1, "a", -2])), "1 a -2");
        assert_eq!(text_of(&json!("a")), "a");
        assert_eq!(text_of(&json!({"a": [1]})), r#"{"a":[1]}"#);
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hex() {
        assert_eq!(bytes_to_json(None), Value::Null);
        assert_eq!(bytes_to_json(Some(b"a")), json!("a"));
        assert_eq!(bytes_to_json(Some(&[0xff, 0])), json!({"hex": "ff00"}));
    }
}
