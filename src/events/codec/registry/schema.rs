//! Schemas, as they are asked for and returned.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::kafka::{Error, ErrorKind};

/// What a schema is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SchemaKind {
    /// Avro, which is also what a registry means that does not say.
    #[default]
    Avro,
    /// Protobuf: the text of a `.proto` file.
    Protobuf,
    /// JSON schema.
    Json,
}

impl SchemaKind {
    /// As registries call it: `AVRO`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Protobuf => "PROTOBUF",
            Self::Json => "JSON",
        }
    }
}

impl fmt::Display for SchemaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SchemaKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let kinds = [Self::Avro, Self::Protobuf, Self::Json];
        let mut kinds = kinds.into_iter();
        kinds
            .find(|kind| kind.name().eq_ignore_ascii_case(text))
            .ok_or(())
    }
}

/// A schema that another one names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SchemaReference {
    /// What it is called there: the path of a `.proto` file, the full name of a record, a URL.
    pub name: String,
    /// The subject that it is registered under.
    pub subject: String,
    /// Its version there.
    pub version: u32,
}

impl SchemaReference {
    /// What is called `name`, registered as this version of `subject`.
    pub fn new(name: &str, subject: &str, version: u32) -> Self {
        Self {
            name: name.to_string(),
            subject: subject.to_string(),
            version,
        }
    }
}

/// A schema to be registered, looked up or checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewSchema {
    /// What it is written in.
    pub kind: SchemaKind,
    /// Its text.
    pub text: String,
    /// What it names.
    pub references: Vec<SchemaReference>,
}

impl NewSchema {
    /// A schema that names no other.
    pub fn new(kind: SchemaKind, text: &str) -> Self {
        Self {
            kind,
            text: text.to_string(),
            references: Vec::new(),
        }
    }

    pub(super) fn body(&self) -> Vec<u8> {
        let references = self.references.iter();
        let references = references
            .map(|it| json!({"name": it.name, "subject": it.subject, "version": it.version}));
        let references: Vec<Value> = references.collect();
        let mut body = json!({"schema": self.text, "schemaType": self.kind.name()});
        if !references.is_empty() {
            body["references"] = Value::Array(references);
        }
        body.to_string().into_bytes()
    }
}

/// Which version of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaVersion {
    /// The newest.
    Latest,
    /// This one, from 1.
    Number(u32),
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// The id of a schema that is the same in every registry (Confluent Platform 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guid(pub [u8; 16]);

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let dash = if matches!(place, 4 | 6 | 8 | 10) {
                "-"
            } else {
                ""
            };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Guid {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits: String = text.chars().filter(|it| *it != '-').collect();
        let is_hex = digits.len() == 32 && digits.bytes().all(|it| it.is_ascii_hexdigit());
        match u128::from_str_radix(&digits, 16) {
            Ok(number) if is_hex => Ok(Self(number.to_be_bytes())),
            _ => Err(()),
        }
    }
}

/// A schema as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisteredSchema {
    /// Its id in this registry; `None` when it was asked for by its GUID and the registry does not say.
    pub id: Option<u32>,
    /// Its id in every registry, where this one has them.
    pub guid: Option<Guid>,
    /// The subject that it was found under, where it was asked for by one.
    pub subject: Option<String>,
    /// Its version there.
    pub version: Option<u32>,
    /// What it is written in.
    pub kind: SchemaKind,
    /// Its text; empty in the answer to registering it.
    pub text: String,
    /// What it names.
    pub references: Vec<SchemaReference>,
}

impl RegisteredSchema {
    /// Reads an answer; `None` when it is none of a registry.
    pub(super) fn read(answer: &Value) -> Option<Self> {
        let object = answer.as_object()?;
        let number = |key: &str| -> Option<Option<u32>> {
            match object.get(key) {
                None | Some(Value::Null) => Some(None),
                Some(value) => Some(Some(u32::try_from(value.as_u64()?).ok()?)),
            }
        };
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        let references = object.get("references").and_then(Value::as_array);
        let references = references.into_iter().flatten().map(|it| {
            Some(SchemaReference {
                name: it.get("name")?.as_str()?.to_string(),
                subject: it.get("subject")?.as_str()?.to_string(),
                version: u32::try_from(it.get("version")?.as_u64()?).ok()?,
            })
        });
        Some(Self {
            id: number("id")?,
            guid: text("guid").and_then(|guid| guid.parse().ok()),
            subject: text("subject").map(str::to_string),
            version: number("version")?,
            kind: text("schemaType").map_or(Some(SchemaKind::Avro), |kind| kind.parse().ok())?,
            text: text("schema").unwrap_or_default().to_string(),
            references: references.collect::<Option<_>>()?,
        })
    }
}

/// Whether a schema may become the next version of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compatibility {
    /// Whether it may.
    pub is_compatible: bool,
    /// Why not, in the registry's words.
    pub messages: Vec<String>,
}

pub(super) fn config_error(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}
