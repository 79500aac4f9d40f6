//! How a record is shown. In: a record. Out: bytes: the bare value, a format with kcat's letters, or JSON.

use std::io::{self, Write};

use pat_events::kafka::RecordView;
use serde_json::{Map, Value, json};

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
    Headers,
}

impl Format {
    /// The value on a line of its own, after the key and a delimiter where there is one.
    pub fn lines(key_delimiter: Option<&str>) -> Format {
        let mut pieces = Vec::new();
        if let Some(delimiter) = key_delimiter {
            pieces.extend([Piece::Key, Piece::Text(delimiter.into())]);
        }
        pieces.extend([Piece::Value, Piece::Text(b"\n".to_vec())]);
        Format::Pieces(pieces)
    }

    /// Reads a format: `%t` topic, `%p` partition, `%o` offset, `%T` timestamp, `%k` key, `%K` its length, `%s` value, `%S` its
    /// length, `%h` headers, `%%`; `\n`, `\r`, `\t`, `\\`, `\xHH`. The error says what it cannot read.
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
    pub fn write(&self, record: &RecordView<'_>, out: &mut impl Write) -> io::Result<()> {
        match self {
            Format::Pieces(pieces) => pieces.iter().try_for_each(|piece| piece.write(record, out)),
            Format::Json => writeln!(out, "{}", to_json(record)),
            Format::Typed(schemas) => match schemas.read(record) {
                Ok(event) => writeln!(out, "{event}"),
                Err(why) => {
                    let mut json = to_json(record);
                    json["no_event"] = Value::String(why.to_string());
                    writeln!(out, "{json}")
                }
            },
        }
    }
}

impl Piece {
    fn write(&self, record: &RecordView<'_>, out: &mut impl Write) -> io::Result<()> {
        // As kcat: a length of -1 is null.
        let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        match self {
            Piece::Text(text) => out.write_all(text),
            Piece::Topic => out.write_all(record.topic.as_bytes()),
            Piece::Partition => write!(out, "{}", record.partition),
            Piece::Offset => write!(out, "{}", record.offset),
            Piece::Timestamp => write!(out, "{}", record.timestamp_ms),
            Piece::Key => out.write_all(record.key.unwrap_or_default()),
            Piece::KeyLength => write!(out, "{}", length(record.key)),
            Piece::Value => out.write_all(record.value.unwrap_or_default()),
            Piece::ValueLength => write!(out, "{}", length(record.value)),
            Piece::Headers => {
                for (number, header) in record.headers.iter().enumerate() {
                    let comma = if number > 0 { "," } else { "" };
                    write!(out, "{comma}{}=", header.key)?;
                    out.write_all(header.value.unwrap_or(b"NULL"))?;
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
        Some('h') => Piece::Headers,
        Some(other) => {
            return Err(format!(
                "there is no %{other}: there are %t %p %o %T %k %K %s %S %h %%"
            ));
        }
        None => return Err("it ends in a %; write %% for the sign itself".to_owned()),
    })
}

fn escape(characters: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match characters.next() {
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('t') => Ok(b'\t'),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = characters.take(2).collect();
            u8::from_str_radix(&digits, 16)
                .map_err(|_| format!("\\x{digits} is no byte in hex, such as \\x1f"))
        }
        Some(other) => Err(format!(
            "there is no \\{other}: there are \\n \\r \\t \\\\ \\xHH"
        )),
        None => Err("it ends in a \\; write \\\\ for the sign itself".to_owned()),
    }
}

/// A record with all its parts. Bytes that are no UTF-8 become an object `{"hex": "…"}`.
pub fn to_json(record: &RecordView<'_>) -> Value {
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|header| json!([header.key, bytes_to_json(header.value)]))
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
        Some((bytes, Err(_))) => {
            let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Value::Object(Map::from_iter([("hex".to_owned(), Value::String(hex))]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hex() {
        assert_eq!(bytes_to_json(None), Value::Null);
        assert_eq!(bytes_to_json(Some(b"a")), json!("a"));
        assert_eq!(bytes_to_json(Some(&[0xff, 0])), json!({"hex": "ff00"}));
    }
}
