//! What to say of a name that is not known where it was met. In: the name. Out: where it belongs, and what to take instead.

use super::Role;
use super::table::{Row, TABLE};
use crate::kafka::config::properties::nearest;
use crate::kafka::model::names::quoted;
use crate::kafka::producer::is_of_topic;
use crate::kafka::{ClientConfig, ConsumerConfig, Error, ErrorKind, ProducerConfig};

const KERBEROS: &str = "Kerberos is not there: no well-kept library speaks it without C (SECURITY.md says what there is instead)";
const SECURITY: &str = "TLS and SASL do without it";
const BYTES: &str = "keys and values are bytes here; typed events know how they are written";
const REPORTS: &str =
    "what happens is told to an Observer, and metrics are read whenever they are wanted";

/// Names that only Java has, and what there is instead.
const JAVA: &[(&str, &str)] = &[
    ("key.serializer", BYTES),
    ("value.serializer", BYTES),
    ("key.deserializer", BYTES),
    ("value.deserializer", BYTES),
    ("interceptor.classes", REPORTS),
    ("metric.reporters", REPORTS),
    ("metrics.recording.level", REPORTS),
    ("metrics.num.samples", REPORTS),
    ("metrics.sample.window.ms", REPORTS),
    ("auto.include.jmx.reporter", REPORTS),
    (
        "partitioner.class",
        "a partitioner is chosen by name, with partitioner, or given as a field",
    ),
    (
        "partitioner.ignore.keys",
        "a partitioner is chosen by name, with partitioner, or given as a field",
    ),
    (
        "partitioner.adaptive.partitioning.enable",
        "records without a key always move on to a partition with little waiting",
    ),
    (
        "partitioner.availability.timeout.ms",
        "records without a key avoid partitions without a leader",
    ),
    (
        "default.api.timeout.ms",
        "each call takes at most request.timeout.ms",
    ),
    ("send.buffer.bytes", "the system's own value is used"),
    ("receive.buffer.bytes", "the system's own value is used"),
    ("config.providers", "values are taken as they are"),
];

/// Any row that has a key of this name.
pub(super) fn other_row(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.names.contains(&name))
}

/// Which clients have an option of this name.
fn owner(name: &str) -> Option<Role> {
    let in_client = ClientConfig::property_names().contains(&name);
    let in_producer = ProducerConfig::property_names().contains(&name) || is_of_topic(name);
    let in_consumer = ConsumerConfig::property_names().contains(&name);
    match (in_client, in_producer, in_consumer) {
        (true, ..) | (_, true, true) => Some(Role::Any),
        (_, true, _) => Some(Role::Producer),
        (_, _, true) => Some(Role::Consumer),
        _ => None,
    }
}

/// Whether an option of this name is another client's, for a client that does not know it.
pub(crate) fn is_of_another(name: &str) -> bool {
    owner(name).is_some()
}

fn only_java(name: &str) -> Option<&'static str> {
    let found = JAVA.iter().find(|(java, _)| *java == name);
    let is_security = ["ssl.", "sasl.", "security."]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    let security = is_security.then_some(match name.starts_with("sasl.kerberos.") {
        true => KERBEROS,
        false => SECURITY,
    });
    found.map(|(_, advice)| *advice).or(security)
}

/// What to say of `name` where options are set by our own names, and this one is none of those that can be set.
pub(crate) fn advice(name: &str, is_known: impl Fn(&str) -> bool) -> Option<String> {
    if let Some(role) = owner(name) {
        return Some(format!("it belongs to {role}"));
    }
    if let Some(row) = other_row(name) {
        return Some(match (row.fate.property(), row.fate.reason()) {
            (Some(property), _) if is_known(property) => {
                format!("it is librdkafka's name for {property}")
            }
            (Some(property), _) => {
                let role = row.role;
                format!("it is librdkafka's name for {property}, which belongs to {role}")
            }
            (None, Some(reason)) => format!("librdkafka has it; here {reason}"),
            (None, None) => "librdkafka has it; from_librdkafka says what it becomes".to_string(),
        });
    }
    if is_for_one_topic(name) {
        return Some("a topic has none of its own: one request has batches of many topics".into());
    }
    only_java(name).map(|advice| format!("Java has it; here {advice}"))
}

/// Whether the name asks for a producer's option for a single topic.
fn is_for_one_topic(name: &str) -> bool {
    let options = ProducerConfig::property_names();
    let ends_with = |option: &&str| {
        name.strip_suffix(*option)
            .is_some_and(|rest| rest.ends_with('.'))
    };
    name.starts_with("topic.") && options.iter().any(ends_with)
}

/// Of an option of all clients that can be set to one value only, because that is what happens: the value, and why.
pub(crate) fn in_any_case(name: &str) -> Option<(&'static str, &'static str)> {
    let row = other_row(name).filter(|row| row.role == Role::Any)?;
    Some((row.fate.in_any_case()?, row.fate.reason()?))
}

/// The error for a key that librdkafka does not have.
pub(super) fn unknown(key: &str) -> Error {
    let of_librdkafka = TABLE.iter().find(|row| row.fate.property() == Some(key));
    let names = || TABLE.iter().flat_map(|row| row.names.iter().copied());
    let advice = if let Some(row) = of_librdkafka {
        format!(": it is Java's name for {}", row.names[0])
    } else if let Some(role) = owner(key) {
        format!(": it is an option of {role} here; set it on what from_librdkafka returns")
    } else if let Some(advice) = only_java(key) {
        format!(": Java has it; here {advice}")
    } else {
        match nearest(names(), key) {
            Some(name) => format!("; did you mean {name}?"),
            None => String::new(),
        }
    };
    let message = format!("librdkafka has no key {}{advice}", quoted(key));
    Error::new(ErrorKind::Config, message)
}
