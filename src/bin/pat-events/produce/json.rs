//! A record as a line of JSON, as `consume --json` prints it. In: the line. Out: the record, or what in it is not understood: guessing
//! would write a record that nobody meant, such as a tombstone for a misspelt `value`.

use serde_json::Value;

use crate::Outcome;
use crate::hex::unhex;

/// The record of a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct JsonRecord {
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<OwnedHeader>,
    pub timestamp_ms: Option<i64>,
}

impl JsonRecord {
    /// The record of a line; `write` makes bytes of what it says of `key` and `value`.
    pub fn parse(
        line: &[u8],
        write: impl Fn(&str, &Value) -> Outcome<Option<Vec<u8>>>,
    ) -> Outcome<JsonRecord> {
        let Value::Object(object) = serde_json::from_slice(line)? else {
            return Err(r#"it is no object, such as {"value":"…"}"#.into());
        };
        if !object.contains_key("value") {
            return Err("it has no value: a tombstone has null".into());
        }
        let mut record = JsonRecord::default();
        for (name, part) in &object {
            record
                .set(name, part, &write)
                .map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(record)
    }

    fn set(
        &mut self,
        name: &str,
        part: &Value,
        write: impl Fn(&str, &Value) -> Outcome<Option<Vec<u8>>>,
    ) -> Outcome {
        match name {
            "partition" => self.partition = number(part)?.map(i32::try_from).transpose()?,
            "key" => self.key = write(name, part)?,
            "value" => self.value = write(name, part)?,
            "headers" => self.headers = headers(part)?,
            "timestamp_ms" => self.timestamp_ms = number(part)?,
            // Where it was read. Where it goes is for the command line to say.
            "topic" => drop(text(part)?),
            "offset" => drop(number(part)?),
            _ => {
                return Err("a record has key, value, headers, partition, timestamp_ms, and topic and offset, which are ignored".into());
            }
        }
        Ok(())
    }
}

fn text(value: &Value) -> Outcome<&str> {
    let text = value.as_str();
    text.ok_or_else(|| format!("expected a text, not {value}").into())
}

fn number(value: &Value) -> Outcome<Option<i64>> {
    match value.as_i64() {
        None if !value.is_null() => {
            Err(format!("expected null or a whole number, not {value}").into())
        }
        number => Ok(number),
    }
}

/// A header's name and value.
type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);

fn headers(value: &Value) -> Outcome<Vec<OwnedHeader>> {
    let header = |header: &Value| match header.as_array().map(Vec::as_slice) {
        Some([name, value]) => Ok((
            bytes(name)?.ok_or("a header's name is not null")?,
            bytes(value)?,
        )),
        _ => Err(format!("expected a pair of name and value, not {header}").into()),
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(headers) => headers.iter().map(header).collect(),
        other => Err(format!("expected pairs of name and value, not {other}").into()),
    }
}

/// The reverse of what `consume --json` shows of bytes: null, a text, or `{"hex": "…"}`.
pub fn bytes(value: &Value) -> Outcome<Option<Vec<u8>>> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone().into_bytes())),
        Value::Object(object) if object.len() == 1 && value["hex"].is_string() => {
            let hex = text(&value["hex"])?;
            let bytes = unhex(hex.as_bytes()).ok_or_else(|| format!("{hex:?} is not hex"))?;
            Ok(Some(bytes))
        }
        _ => Err(format!("expected null, a text or {{\"hex\": \"…\"}}, not {value}").into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(line: Value) -> Outcome<JsonRecord> {
        JsonRecord::parse(line.to_string().as_bytes(), |_, part| bytes(part))
    }

    fn error(line: Value) -> String {
        read(line).expect_err("not understood").to_string()
    }

    #[test]
    fn a_record_comes_back_as_it_was_printed() {
        let printed = json!({
            "topic": "t", "partition": 2, "offset": 7, "timestamp_ms": 1_700_000_000_000i64, "key": null,
            "value": {"hex": "ff0A"}, "headers": [["a", "é"], ["a", null], [{"hex": "ff"}, ""]],
        });
        let record = JsonRecord {
            partition: Some(2),
            key: None,
            value: Some(vec![0xff, 0x0a]),
            headers: vec![
                ("a".into(), Some("é".into())),
                ("a".into(), None),
                (vec![0xff], Some(Vec::new())),
            ],
            timestamp_ms: Some(1_700_000_000_000),
        };
        assert_eq!(read(printed).expect("a record"), record);
    }

    #[test]
    fn the_value_alone_is_enough_and_a_tombstone_says_null() {
        let record = read(json!({"value": "v"})).expect("a record");
        let expected = JsonRecord {
            value: Some("v".into()),
            ..JsonRecord::default()
        };
        assert_eq!(record, expected);
        let tombstone = read(json!({"key": "k", "value": null})).expect("a record");
        assert_eq!((tombstone.key, tombstone.value), (Some("k".into()), None));
        assert!(error(json!({"key": "k"})).contains("it has no value"));
        assert!(error(json!({})).contains("it has no value"));
    }

    #[test]
    fn what_is_no_object_is_no_record() {
        for line in [json!("v"), json!(["v"]), json!(7), json!(null)] {
            assert!(error(line).contains("it is no object"));
        }
    }

    #[test]
    fn a_name_that_no_record_has_is_refused() {
        let error = error(json!({"value": null, "vaule": "v"}));
        assert!(error.starts_with("vaule: a record has key, value, "));
    }

    #[test]
    fn a_part_of_the_wrong_type_is_refused_by_its_name() {
        for (name, part) in [
            ("key", json!(7)),
            ("value", json!(true)),
            ("value", json!({"hex": "f"})),
            ("value", json!({"hex": "+f"})),
            ("value", json!({"hex": "é"})),
            ("value", json!({"hex": "ff", "text": "f"})),
            ("value", json!({"hex": 7})),
            ("headers", json!({"a": "b"})),
            ("headers", json!([["a"]])),
            ("headers", json!([["a", "b", "c"]])),
            ("headers", json!([[7, "b"]])),
            ("headers", json!([[null, "b"]])),
            ("headers", json!([[{"hex": "f"}, "b"]])),
            ("partition", json!("2")),
            ("partition", json!(1u64 << 31)),
            ("timestamp_ms", json!(1.5)),
            ("timestamp_ms", json!(u64::MAX)),
            ("topic", json!(7)),
            ("offset", json!("7")),
        ] {
            let mut line = json!({"value": null});
            line[name] = part;
            let error = error(line.clone());
            assert!(error.starts_with(&format!("{name}: ")), "{line}: {error}");
        }
    }
}
