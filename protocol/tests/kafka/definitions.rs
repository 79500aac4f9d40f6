//! The definitions of all messages, `common/message/*.json` in Kafka's `kafka-clients` jar. In: the jar. Out: a
//! [`Definition`] per file.

use std::fs::File;
use std::io::Read;

use pat_kafka_protocol::VersionRange;
use serde_json::Value;
use zip::ZipArchive;

use crate::support::java::{KAFKA_VERSION, folder};

/// A message as Kafka defines it.
pub struct Definition(Value);

/// A field as Kafka defines it.
#[derive(Clone, Copy)]
pub struct Field<'a>(&'a Value);

/// Every definition, by name.
pub fn all() -> Vec<Definition> {
    let jar = folder().join(format!(
        "jars-{KAFKA_VERSION}/kafka-clients-{KAFKA_VERSION}.jar"
    ));
    let mut jar = ZipArchive::new(File::open(&jar).expect("the jar is there"))
        .expect("the jar is a zip file");
    let is_definition =
        |name: &String| name.starts_with("common/message/") && name.ends_with(".json");
    let mut names: Vec<String> = jar
        .file_names()
        .flatten()
        .map(|name| name.into_owned())
        .filter(is_definition)
        .collect();
    names.sort();
    let mut definition = |name: &String| {
        let mut text = String::new();
        jar.by_name(name)
            .expect("listed")
            .read_to_string(&mut text)
            .expect("text");
        Definition(
            serde_json::from_str(&without_comments(&text))
                .unwrap_or_else(|e| panic!("{name}: {e}")),
        )
    };
    names.iter().map(&mut definition).collect()
}

/// Kafka's definitions have comments from `//` to the end of the line, which JSON does not know.
fn without_comments(text: &str) -> String {
    let code = |line: &str| {
        let mut quoted = false;
        let mut last = ' ';
        for (at, c) in line.char_indices() {
            match c {
                '"' if last != '\\' => quoted = !quoted,
                '/' if last == '/' && !quoted => return line[..at - 1].to_owned(),
                _ => {}
            }
            last = c;
        }
        line.to_owned()
    };
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

impl Definition {
    pub fn name(&self) -> &str {
        text(&self.0, "name").expect("a message has a name")
    }

    pub fn kind(&self) -> &str {
        text(&self.0, "type").expect("a message has a type")
    }

    pub fn api_key(&self) -> Option<i64> {
        self.0["apiKey"].as_i64()
    }

    pub fn versions(&self) -> Option<VersionRange> {
        text(&self.0, "validVersions").and_then(range)
    }

    pub fn first_flexible(&self) -> i16 {
        text(&self.0, "flexibleVersions")
            .and_then(range)
            .map_or(i16::MAX, |range| range.min)
    }

    /// Whether brokers take this request from clients.
    pub fn on_client_listeners(&self) -> bool {
        list(&self.0, "listeners").any(|listener| listener == "broker")
    }

    pub fn fields(&self) -> Vec<Field<'_>> {
        fields(&self.0)
    }

    /// The fields of the structure that is the type of this field, which stand in the field or in the message.
    pub fn structure<'a>(&'a self, field: Field<'a>) -> Vec<Field<'a>> {
        let name = field.kind().trim_start_matches("[]");
        let common =
            || list(&self.0, "commonStructs").find(|common| text(common, "name") == Some(name));
        match fields(field.0) {
            inline if inline.is_empty() => common().map(fields).unwrap_or_default(),
            inline => inline,
        }
    }
}

impl Field<'_> {
    pub fn name(&self) -> &str {
        text(self.0, "name").expect("a field has a name")
    }

    pub fn kind(&self) -> &str {
        text(self.0, "type").expect("a field has a type")
    }

    pub fn versions(&self) -> VersionRange {
        text(self.0, "versions")
            .and_then(range)
            .expect("a field has versions")
    }

    pub fn nullable(&self) -> VersionRange {
        text(self.0, "nullableVersions")
            .and_then(range)
            .unwrap_or(VersionRange::NONE)
    }

    pub fn tagged(&self) -> Option<VersionRange> {
        text(self.0, "taggedVersions").and_then(range)
    }

    pub fn tag(&self) -> Option<u64> {
        self.0["tag"].as_u64()
    }

    pub fn ignorable(&self) -> bool {
        matches!(&self.0["ignorable"], Value::Bool(true))
            || text(self.0, "ignorable") == Some("true")
    }

    /// Whether its own flexible versions are those of the message.
    pub fn compact(&self) -> bool {
        self.0["flexibleVersions"].is_null()
    }

    /// The default, with those that go without saying said; numbers in decimal.
    pub fn default(&self) -> String {
        let given = match &self.0["default"] {
            Value::Null => None,
            Value::String(text) => Some(text.to_lowercase()),
            other => Some(other.to_string().to_lowercase()),
        };
        let given = given.map(|text| match text.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16)
                .expect("a hexadecimal number")
                .to_string(),
            None => text,
        });
        given.unwrap_or_else(|| match self.kind() {
            // As Kafka's generator has it.
            "records" if self.nullable() != VersionRange::NONE => "null".to_owned(),
            kind => implied(kind).to_owned(),
        })
    }
}

/// The default that goes without saying.
pub fn implied(kind: &str) -> &'static str {
    match kind {
        "bool" => "false",
        "int8" | "int16" | "uint16" | "int32" | "uint32" | "int64" | "float64" => "0",
        _ => "",
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value[key].as_str()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn fields(value: &Value) -> Vec<Field<'_>> {
    list(value, "fields").map(Field).collect()
}

/// `3`, `3-13`, `3+`; `none` is none.
fn range(text: &str) -> Option<VersionRange> {
    let number = |text: &str| text.trim().parse::<i16>().ok();
    if let Some(from) = text.strip_suffix('+') {
        return Some(VersionRange::new(number(from)?, i16::MAX));
    }
    match text.split_once('-') {
        Some((from, to)) => Some(VersionRange::new(number(from)?, number(to)?)),
        None => number(text).map(|version| VersionRange::new(version, version)),
    }
}
