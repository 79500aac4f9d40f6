//! Keys and values by schemas of a registry, as JSON. In: bytes with the id of a schema in front, or JSON. Out: the other.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `datum` | what Avro's decoder says, as JSON |
//! | `protobuf` | messages by a `.proto` file of a registry |

mod datum;
mod protobuf;

use std::collections::BTreeMap;

use clap::Args;
use pat_events::events::codec::{
    AvroSchema, RegisteredSchema, RegistryConfig, SchemaKind, SchemaRegistry, SchemaVersion,
};
use serde_json::Value;

use crate::Outcome;
use datum::Datum;
use protobuf::Messages;

/// What stands before the id of a schema.
const MAGIC: u8 = 0;
/// Magic and id.
const HEAD: usize = 5;
/// The most schemas that are kept: records name them, and may name any.
const MOST_SCHEMAS: usize = 10_000;

/// Which registry, and who asks.
#[derive(Args, Clone, Debug, Default)]
pub struct RegistryOptions {
    /// The URL of the registry of schemas; commas between several.
    #[arg(short = 'r', long, env = "SCHEMA_REGISTRY_URL", value_name = "URL")]
    registry: Option<String>,
    /// An option of the registry's client by Java's name: basic.auth.user.info=user:password; may be given several times.
    // Read later: what is wrong would be shown here, and may be a secret.
    #[arg(long = "registry-option", value_name = "NAME=VALUE")]
    registry_options: Vec<String>,
}

/// Reads and writes by the schemas of a registry.
pub struct Registered {
    registry: SchemaRegistry,
    schemas: BTreeMap<u32, Result<Schema, String>>,
}

/// A schema, ready to be read and written by.
enum Schema {
    Avro(Box<AvroSchema>),
    Protobuf(Messages),
    Json,
}

/// What a key or value is written by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteBy {
    Id(u32),
    /// A subject, and its version; the newest where it is left out.
    Subject(String, Option<u32>),
}

/// Reads `id:7`, `orders-value`, `orders-value:3`.
pub fn write_by(text: &str) -> Result<WriteBy, String> {
    let wrong = || format!("{text:?} names no schema: write SUBJECT, SUBJECT:VERSION or id:NUMBER");
    if let Some(id) = text.strip_prefix("id:") {
        return id.parse().map(WriteBy::Id).map_err(|_| wrong());
    }
    match text.rsplit_once(':') {
        _ if text.is_empty() => Err(wrong()),
        Some((subject, version)) if version.bytes().all(|it| it.is_ascii_digit()) => {
            let version = version.parse().map_err(|_| wrong())?;
            Ok(WriteBy::Subject(subject.to_owned(), Some(version)))
        }
        _ => Ok(WriteBy::Subject(text.to_owned(), None)),
    }
}

impl Registered {
    pub fn connect(options: &RegistryOptions) -> Outcome<Registered> {
        let url = options.registry.as_ref().ok_or(
            "where is the registry of schemas? Say -r URL, or SCHEMA_REGISTRY_URL in the environment",
        )?;
        let mut config = RegistryConfig::new(url);
        for option in &options.registry_options {
            let (name, value) = option
                .split_once('=')
                .ok_or("--registry-option needs NAME=VALUE (what was there is not shown: it may be a secret)")?;
            config.set(name, value)?;
        }
        Ok(Registered {
            registry: SchemaRegistry::new(config)?,
            schemas: BTreeMap::new(),
        })
    }

    /// Looks up the schema that these bytes name, unless it is known. Fails when the registry does not answer; that it has no such schema is told
    /// where the bytes are read.
    pub async fn learn(&mut self, bytes: &[u8]) -> Outcome {
        let Some(id) = id_of(bytes) else {
            return Ok(());
        };
        if self.schemas.contains_key(&id) {
            return Ok(());
        }
        if self.schemas.len() >= MOST_SCHEMAS {
            self.schemas.clear();
        }
        let schema = match self.registry.schema_by_id(id).await {
            Ok(schema) => self.ready(&schema).await?,
            Err(error) if error.may_pass() => return Err(error.into()),
            Err(error) => Err(format!("schema {id}: {error}")),
        };
        self.schemas.insert(id, schema);
        Ok(())
    }

    async fn ready(&self, schema: &RegisteredSchema) -> Outcome<Result<Schema, String>> {
        if schema.kind == SchemaKind::Json {
            return Ok(Ok(Schema::Json));
        }
        let others = match self.registry.references(schema).await {
            Ok(others) => others,
            Err(error) if error.may_pass() => return Err(error.into()),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let others = others
            .into_iter()
            .map(|(reference, it)| (reference.name, it.text));
        Ok(match schema.kind {
            SchemaKind::Avro => {
                let mut texts: Vec<String> = Vec::new();
                for (_, text) in others {
                    // Under several names, perhaps.
                    if !texts.contains(&text) {
                        texts.push(text);
                    }
                }
                let schema = AvroSchema::with_references(schema.text.clone(), texts);
                Ok(Schema::Avro(Box::new(schema)))
            }
            SchemaKind::Protobuf => {
                Messages::new(&schema.text, others.collect()).map(Schema::Protobuf)
            }
            _ => Err("it is of a kind that this version does not know".to_owned()),
        })
    }

    /// What bytes say whose schema was [looked up](Self::learn).
    pub fn read(&self, bytes: &[u8]) -> Result<Value, String> {
        let id = id_of(bytes)
            .ok_or("it names no schema: a zero and four bytes with its id come first")?;
        let schema = self
            .schemas
            .get(&id)
            .ok_or("its schema was not looked up")?;
        let data = &bytes[HEAD..];
        match schema.as_ref().map_err(Clone::clone)? {
            Schema::Avro(schema) => {
                let datum: Datum = schema.decode(data).map_err(|error| error.to_string())?;
                Ok(datum.0)
            }
            Schema::Json => serde_json::from_slice(data).map_err(|error| error.to_string()),
            Schema::Protobuf(messages) => messages.read(data),
        }
    }

    /// Looks up what is to be written by. Returns its id.
    pub async fn look_up(&mut self, by: &WriteBy) -> Outcome<u32> {
        let (id, schema) = match by {
            WriteBy::Id(id) => (Some(*id), self.registry.schema_by_id(*id).await?),
            WriteBy::Subject(subject, version) => {
                let version = version.map_or(SchemaVersion::Latest, SchemaVersion::Number);
                let schema = self.registry.version(subject, version).await?;
                (schema.id, schema)
            }
        };
        let id = id.ok_or("the registry does not say which id the schema has")?;
        let ready = self.ready(&schema).await?;
        if let Err(why) = &ready {
            return Err(format!("schema {id}: {why}").into());
        }
        self.schemas.insert(id, ready);
        Ok(id)
    }

    /// The bytes of what JSON says, by a schema that was [looked up](Self::look_up), with its id in front.
    pub fn write(&self, id: u32, json: &[u8]) -> Result<Vec<u8>, String> {
        let value = || -> Result<Value, String> {
            serde_json::from_slice(json).map_err(|error| format!("it is no JSON: {error}"))
        };
        let mut bytes = vec![MAGIC];
        bytes.extend(id.to_be_bytes());
        let schema = self
            .schemas
            .get(&id)
            .ok_or("its schema was not looked up")?;
        match schema.as_ref().map_err(Clone::clone)? {
            Schema::Avro(schema) => {
                bytes.extend(
                    schema
                        .encode_json(json)
                        .map_err(|error| error.to_string())?,
                );
            }
            Schema::Json => bytes.extend(value()?.to_string().into_bytes()),
            Schema::Protobuf(messages) => messages.write(value()?, &mut bytes)?,
        }
        Ok(bytes)
    }
}

/// The id that stands in front.
fn id_of(bytes: &[u8]) -> Option<u32> {
    let (magic, rest) = bytes.split_first()?;
    let id = rest.first_chunk::<4>().filter(|_| *magic == MAGIC)?;
    Some(u32::from_be_bytes(*id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_named_by_its_id_or_by_its_subject() {
        assert_eq!(write_by("id:7"), Ok(WriteBy::Id(7)));
        assert_eq!(
            write_by("a-value"),
            Ok(WriteBy::Subject("a-value".to_owned(), None))
        );
        assert_eq!(
            write_by("a:b:3"),
            Ok(WriteBy::Subject("a:b".to_owned(), Some(3)))
        );
        for wrong in ["", "id:x", "a:99999999999"] {
            assert!(
                write_by(wrong).is_err_and(|error| error.contains("SUBJECT:VERSION")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_id_stands_behind_a_zero() {
        assert_eq!(id_of(&[0, 0, 0, 1, 2, 9]), Some(258));
        for none in [&[][..], &[0, 0, 0, 1], &[1, 0, 0, 1, 2]] {
            assert_eq!(id_of(none), None);
        }
    }
}
