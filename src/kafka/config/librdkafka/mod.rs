//! librdkafka's configuration, taken as it is.
//!
//! `from_librdkafka` of each configuration takes pairs of its names and values. It
//! returns our configuration, with librdkafka's defaults for what was not given, and
//! a [`KeyNote`] for each key: what it became here, or why nothing.
//!
//! What only tells how well something works is noted and passed over. What would take
//! something away unseen (Kerberos, a file of offsets) is refused.

// | file | what lives there |
// | --- | --- |
// | `advice` | what to say of a name that belongs to another world or role |
// | `convert` | values that mean the same and are written otherwise |
// | `table` | every key of librdkafka, and what it becomes |

mod advice;
mod convert;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use advice::{advice, in_any_case, is_of_another};
use table::{Fate, Row, find};

use super::properties::{is_misplaced_secret, is_secret};
use super::{Configuration, Secret};
use crate::kafka::model::names::quoted;
use crate::kafka::{ClientConfig, ConsumerConfig, Error, ErrorKind, ProducerConfig, Result};

/// Who uses a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Producers.
    Producer,
    /// Consumers.
    Consumer,
    /// Every client.
    Any,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Producer => "producers",
            Role::Consumer => "consumers",
            Role::Any => "all clients",
        })
    }
}

/// What became of one of librdkafka's keys. [`Display`](fmt::Display) says it in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyNote {
    /// The key, as it was given.
    pub key: String,
    /// What it became.
    pub fate: KeyFate,
}

/// What one of librdkafka's keys becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFate {
    /// It sets this option.
    Translated {
        /// The option's name here.
        property: &'static str,
        /// Its value here.
        value: String,
    },
    /// There is nothing to set here.
    Ignored {
        /// Why not.
        reason: &'static str,
    },
    /// It means nothing to this client.
    OtherRole {
        /// To whom it does.
        role: Role,
    },
    /// There is nothing like it here, and the client does without.
    NotSupported {
        /// What happens instead.
        reason: &'static str,
    },
}

impl fmt::Display for KeyFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFate::Translated { property, value } => {
                write!(f, "translated to {property} = {}", quoted(value))
            }
            KeyFate::Ignored { reason } => write!(f, "ignored: {reason}"),
            KeyFate::OtherRole { role } => write!(f, "ignored: it belongs to {role}"),
            KeyFate::NotSupported { reason } => write!(f, "not supported: {reason}"),
        }
    }
}

impl fmt::Display for KeyNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.fate)
    }
}

/// What was given, by the row that it belongs to; where a key and its alias were, the last one counts, as in librdkafka.
struct Given(Vec<(&'static Row, String)>);

impl Given {
    /// The value of the key, or librdkafka's default.
    fn value(&self, row: &'static Row) -> Option<&str> {
        let given = self.0.iter().rfind(|(other, _)| std::ptr::eq(*other, row));
        let default = row.default.filter(|_| !self.leaves_to_brokers(row));
        let default = match self.is_transactional() && row.names.contains(&"enable.idempotence") {
            true => Some("true"),
            false => default,
        };
        given.map(|(_, value)| value.as_str()).or(default)
    }

    /// Whether it is of a transactional producer, which is idempotent by default.
    fn is_transactional(&self) -> bool {
        let is_id = |row: &Row| row.names.contains(&"transactional.id");
        (self.0.iter()).any(|(row, value)| is_id(row) && !value.is_empty())
    }

    /// Whether the brokers decide this in the group protocol that was given.
    fn leaves_to_brokers(&self, row: &Row) -> bool {
        const THEIRS: [&str; 3] = [
            "session.timeout.ms",
            "heartbeat.interval.ms",
            "partition.assignment.strategy",
        ];
        let is_theirs = || row.names.iter().any(|name| THEIRS.contains(name));
        let protocol = self
            .0
            .iter()
            .rfind(|(row, _)| row.names.contains(&"group.protocol"));
        protocol.is_some_and(|(_, value)| value.eq_ignore_ascii_case("consumer")) && is_theirs()
    }

    /// The value of the key called `name`, or librdkafka's default.
    fn named(&self, name: &str, role: Role) -> Option<&str> {
        self.value(find(name, role)?)
    }
}

/// The configuration of a client of `role`, with librdkafka's defaults, changed by `pairs` of its names and values.
///
/// Fails with [`ErrorKind::Config`] for what librdkafka would refuse, and for what cannot be done without.
pub(crate) fn translate<C: Configuration, K: AsRef<str>, V: AsRef<str>>(
    role: Role,
    pairs: impl IntoIterator<Item = (K, V)>,
) -> Result<(C, Vec<KeyNote>)> {
    let mut given = Given(Vec::new());
    let mut keys = Vec::new();
    for (key, value) in pairs {
        let (key, value) = (key.as_ref().trim(), value.as_ref().trim());
        let row = match find(key, role) {
            Some(row) => Ok(row),
            None => Err(advice::other_row(key)
                .ok_or_else(|| advice::unknown(key))?
                .role),
        };
        if let Ok(row) = row {
            given.0.push((row, value.to_string()));
        }
        keys.push((key.to_string(), row, value.to_string()));
    }
    let note = |(key, row, value): (String, Result<&'static Row, Role>, String)| {
        let fate = match row {
            Ok(row) => without_secret::<C>(fate(row, &key, &value, &given)?),
            Err(role) => KeyFate::OtherRole { role },
        };
        Ok(KeyNote { key, fate })
    };
    let notes = keys.into_iter().map(note).collect::<Result<_>>()?;
    let mut config = C::default();
    for row in table::rows(role) {
        let Some(value) = given.value(row) else {
            continue;
        };
        if let KeyFate::Translated { property, value } = fate(row, row.names[0], value, &given)? {
            let set = config.set(property, &value);
            set.map_err(|error| {
                let message = format!("{} of librdkafka: {}", row.names[0], error.message());
                Error::new(ErrorKind::Config, message)
            })?;
        }
    }
    config.validate()?;
    Ok((config, notes))
}

/// `fate`, fit to be shown.
fn without_secret<C: Configuration>(fate: KeyFate) -> KeyFate {
    match fate {
        KeyFate::Translated { property, value }
            if is_secret::<C>(property) || is_misplaced_secret(&value) =>
        {
            let value = Secret::HIDDEN.to_string();
            KeyFate::Translated { property, value }
        }
        fate => fate,
    }
}

/// What every configuration here has.
macro_rules! from_librdkafka {
    ($($config:ident: $role:ident;)*) => {$(
        impl $config {
            /// librdkafka's defaults, changed by `pairs` of its names (or aliases) and values, and a note on each: what it became here.
            ///
            /// Fails with [`ErrorKind::Config`] for a key that librdkafka does not have, a value that it does not take, and for what the
            /// client cannot do and must not leave out unseen, such as Kerberos and transactions. No note shows a secret.
            ///
            #[doc = include_str!("example.md")]
            pub fn from_librdkafka<K: AsRef<str>, V: AsRef<str>>(
                pairs: impl IntoIterator<Item = (K, V)>,
            ) -> Result<(Self, Vec<KeyNote>)> {
                translate(Role::$role, pairs)
            }
        }
    )*};
}

from_librdkafka! {
    ClientConfig: Any;
    ConsumerConfig: Consumer;
    ProducerConfig: Producer;
}

/// What a key becomes with this value.
fn fate(row: &Row, key: &str, value: &str, given: &Given) -> Result<KeyFate> {
    let refuse = |message: String| Err(Error::new(ErrorKind::Config, message));
    if value.is_empty() {
        let reason = "without a value it is as if it were not given";
        return Ok(KeyFate::Ignored { reason });
    }
    match &row.fate {
        Fate::Same(property) => Ok(KeyFate::Translated {
            property,
            value: value.to_string(),
        }),
        Fate::Converted(property, allowed, convert) => match convert(given, value) {
            Some(value) => Ok(KeyFate::Translated { property, value }),
            None => {
                let value = match is_misplaced_secret(value) {
                    true => Secret::HIDDEN.to_string(),
                    false => quoted(value),
                };
                refuse(format!(
                    "{key} = {value} is not allowed: allowed is {allowed}"
                ))
            }
        },
        Fate::Decided(decide) => Ok(decide(given, value)),
        Fate::Ignored(reason) => Ok(KeyFate::Ignored { reason }),
        Fate::NotSupported(harmless, _) | Fate::Refused(harmless, _)
            if harmless.is_some_and(|harmless| value.eq_ignore_ascii_case(harmless)) =>
        {
            let reason = "it is so in any case";
            Ok(KeyFate::Ignored { reason })
        }
        Fate::NotSupported(_, reason) => Ok(KeyFate::NotSupported { reason }),
        Fate::Refused(_, reason) => refuse(format!("{key} cannot be used: {reason}")),
    }
}
