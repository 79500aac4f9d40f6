//! Configurations of topics, groups and brokers: which there are, which values they take, and how they are described and altered.
//!
//! In: names and values as clients give them, and what the cluster is set to. Out: what follows, or what Kafka would refuse, with its words.
//!
//! - `values`: which values a configuration takes
//! - `topics`, `groups`, `brokers`: the names, their defaults, and what each is for
//! - `alteration`: values set, removed, added to lists and taken out of them
//! - `description`: values, and where they come from

mod alteration;
mod brokers;
mod description;
mod groups;
mod topics;
mod values;

use std::collections::BTreeMap;

use protocol::ErrorCode;

pub(crate) use alteration::{Alteration, Change};
pub(crate) use brokers::describe as describe_broker;
pub(crate) use groups::{GroupConfig, describe as describe_group, schema as group_schema};
pub(crate) use topics::{
    DEFAULT_MAX_MESSAGE_BYTES, describe as describe_topic, schema as topic_schema,
};
pub(crate) use values::{Values, items};

/// Names and values of one resource that are its own, as clients gave them.
pub(crate) type Own = BTreeMap<String, String>;

/// Why a resource is left as it is: the error, and Kafka's words for it.
pub(crate) type Refusal = (ErrorCode, Option<String>);

/// A configuration that a resource may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    pub(crate) values: Values,
    /// Kafka's default.
    pub(crate) default: &'static str,
    /// The broker's configuration that sets it where the resource has none of its own.
    pub(crate) of_broker: Option<&'static str>,
    /// What it is for.
    pub(crate) about: &'static str,
}

impl Config {
    const fn new(
        name: &'static str,
        values: Values,
        default: &'static str,
        about: &'static str,
    ) -> Self {
        Self {
            name,
            values,
            default,
            of_broker: None,
            about,
        }
    }

    /// One that a broker's configuration sets for all; an empty name is none.
    const fn under(
        name: &'static str,
        values: Values,
        default: &'static str,
        of_broker: &'static str,
        about: &'static str,
    ) -> Self {
        Self {
            of_broker: match of_broker.is_empty() {
                true => None,
                false => Some(of_broker),
            },
            ..Self::new(name, values, default, about)
        }
    }
}

/// The configurations that there are for one sort of resources.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema {
    /// What Kafka calls the sort.
    pub(crate) sort: &'static str,
    pub(crate) configs: &'static [Config],
}

impl Schema {
    pub(crate) fn find(&self, name: &str) -> Option<&'static Config> {
        self.configs.iter().find(|config| config.name == name)
    }

    /// The number that the value of a configuration is, or 0 where it is none; the error is for people.
    pub(crate) fn check(&self, name: &str, value: &str) -> Result<i64, String> {
        let config = self
            .find(name)
            .ok_or_else(|| format!("Unknown {} config name: {name}", self.sort))?;
        let values = config.values;
        values.check(value).map_err(|problem| {
            let refused = values.refused(value);
            let problem = match values {
                Values::Replicas => format!("{name} {problem}"),
                _ => problem,
            };
            format!("Invalid value {refused} for configuration {name}: {problem}")
        })
    }
}
