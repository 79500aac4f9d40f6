//! What keys and values are. In: `key=>q`, `value=avro`. Out: their bytes read as more than bytes.

use std::str::FromStr;

use pat_events::kafka::RecordView;
use prost_reflect::MessageDescriptor;
use serde_json::Value;

use super::pack::Pack;
use crate::Outcome;
use crate::messages::{self, Messages};
use crate::registered::{Registered, RegistryOptions};

/// How something is read.
#[derive(Clone, Debug)]
enum Serde {
    Pack(Pack),
    /// By the schema of a registry that it names itself.
    Registered,
    /// As a message by a file of one's own.
    Message(MessageDescriptor),
}

/// How keys or values are read, or both.
#[derive(Clone, Debug)]
pub struct SerdeOf {
    of_keys: bool,
    of_values: bool,
    serde: Serde,
}

impl FromStr for SerdeOf {
    type Err = String;

    fn from_str(text: &str) -> Result<SerdeOf, String> {
        let (of_keys, of_values, name) = match text.split_once('=') {
            Some(("key", name)) => (true, false, name),
            Some(("value", name)) => (false, true, name),
            Some((other, _)) => {
                return Err(format!(
                    "there is no {other:?} to be read: write key=, value=, or nothing for both"
                ));
            }
            None => (true, true, text),
        };
        let serde = match name {
            "registry" | "avro" | "protobuf" | "json-schema" => Serde::Registered,
            pack => Serde::Pack(pack.parse().map_err(|error| {
                format!("{error}; or registry (avro, protobuf, json-schema) for the schema that it names itself")
            })?),
        };
        Ok(SerdeOf {
            of_keys,
            of_values,
            serde,
        })
    }
}

impl SerdeOf {
    /// Whether keys, and values, are read by the schemas of a registry; `None` where they are unpacked.
    pub fn registered(&self) -> Option<(bool, bool)> {
        let is_registered = matches!(self.serde, Serde::Registered);
        is_registered.then_some((self.of_keys, self.of_values))
    }
}

/// Reads keys and values.
#[derive(Default)]
pub struct Serdes {
    key: Option<Serde>,
    value: Option<Serde>,
    registered: Option<Registered>,
}

/// A key or a value that has been read as more than bytes; `None` where it has not.
pub type Reading = Result<Option<Value>, String>;

impl Serdes {
    /// Fails where schemas are to be read, and nobody says where they are, and where something is said to be two things.
    pub fn new(of: &[SerdeOf], messages: Messages, registry: &RegistryOptions) -> Outcome<Serdes> {
        let mut serdes = Serdes::default();
        let is_twice = of.iter().any(|of| {
            of.of_keys && messages.key.is_some() || of.of_values && messages.value.is_some()
        });
        if is_twice {
            return Err("what is said to be a message has no -s beside it".into());
        }
        serdes.key = messages.key.map(Serde::Message);
        serdes.value = messages.value.map(Serde::Message);
        for of in of {
            if of.of_keys {
                serdes.key = Some(of.serde.clone());
            }
            if of.of_values {
                serdes.value = Some(of.serde.clone());
            }
        }
        let by_schema = [&serdes.key, &serdes.value]
            .into_iter()
            .flatten()
            .any(|it| matches!(it, Serde::Registered));
        if by_schema {
            serdes.registered = Some(Registered::connect(registry)?);
        }
        Ok(serdes)
    }

    /// Whether there is anything to look up before records are read.
    pub fn has_schemas(&self) -> bool {
        self.registered.is_some()
    }

    /// Looks up the schemas of a record that are not known yet. Fails when the registry does not answer.
    pub async fn learn(&mut self, record: &RecordView<'_>) -> Outcome {
        let Some(registered) = &mut self.registered else {
            return Ok(());
        };
        for (serde, bytes) in [(&self.key, record.key), (&self.value, record.value)] {
            if let (Some(Serde::Registered), Some(bytes)) = (serde, bytes) {
                registered.learn(bytes).await?;
            }
        }
        Ok(())
    }

    pub fn key(&self, record: &RecordView<'_>) -> Reading {
        self.read(self.key.as_ref(), record.key)
    }

    pub fn value(&self, record: &RecordView<'_>) -> Reading {
        self.read(self.value.as_ref(), record.value)
    }

    fn read(&self, serde: Option<&Serde>, bytes: Option<&[u8]>) -> Reading {
        let (Some(serde), Some(bytes)) = (serde, bytes) else {
            return Ok(None);
        };
        match serde {
            Serde::Pack(pack) => {
                let mut values = pack.unpack(bytes)?;
                Ok(Some(match values.len() {
                    1 => values.remove(0),
                    _ => Value::Array(values),
                }))
            }
            Serde::Message(message) => messages::read(message.clone(), bytes).map(Some),
            Serde::Registered => match &self.registered {
                Some(registered) => registered.read(bytes).map(Some),
                None => Ok(None),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_the_key_the_value_or_both() {
        let of = |text: &str| text.parse::<SerdeOf>().expect(text);
        assert!(of("key=q").of_keys && !of("key=q").of_values);
        assert!(!of("value=avro").of_keys && of("value=avro").of_values);
        assert!(of("s").of_keys && of("s").of_values);
        let error = |text: &str| text.parse::<SerdeOf>().expect_err(text);
        assert!(error("header=s").contains("write key=, value="));
        assert!(error("value=xml").contains("registry"));
    }
}
