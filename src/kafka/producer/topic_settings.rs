//! What is otherwise for some topics: the settings, by field and by name, and what they come to for a topic's partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::compression::Compression;

use super::config::ProducerConfig;
use super::partition::accumulator::Limits;
use super::partition::sequenced::PartitionSettings;
use super::partitioner::Partitioner;
use crate::kafka::config::values::{BYTES, COMPRESSION, COUNT, MILLIS, POSITIVE_MILLIS};
use crate::kafka::config::{Configuration, Property, properties, set_property};
use crate::kafka::model::names::is_topic;
use crate::kafka::{Error, ErrorKind, Result};

/// With what the properties of single topics begin.
const PREFIX: &str = "topic.";

/// What is otherwise for a topic than for the others of its producer; `None` is as for these.
///
/// By name, `topic.NAME.linger.ms` and so on; not by environment variables, which cannot be found without knowing the topics. These
/// settings, because each of them concerns one partition at a time, and idempotence none of them. What concerns a request or the connection
/// cannot be a topic's: a request carries batches of many topics, under one `acks`, which idempotence needs to be `all`; and what is in
/// flight, repeated and buffered is counted for all of them. For other `acks` take another producer of the same
/// [`Client`](crate::kafka::Client): it shares connections, metadata and, if you like, memory.
///
/// ```
/// use pat_events::kafka::{Compression, ProducerConfig, TopicSettings};
///
/// let mut config = ProducerConfig::new("localhost:9092");
/// let mut logs = TopicSettings::default();
/// logs.compression = Some(Compression::ZSTD);
/// config.topics.insert("logs".into(), logs);
///
/// // The same by name:
/// config.set("topic.logs.compression.type", "zstd")?;
/// # Ok::<(), pat_events::kafka::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TopicSettings {
    /// `topic.NAME.compression.type`.
    pub compression: Option<Compression>,
    /// `topic.NAME.batch.size`: the most bytes of records in one batch, before compression.
    pub batch_bytes: Option<usize>,
    /// `topic.NAME.batch.records`: the most records in one batch.
    pub batch_records: Option<usize>,
    /// `topic.NAME.linger.ms`: the longest a record waits for more records. A request takes along what waits for the same broker: a topic
    /// with little patience shortens that of the others.
    pub linger: Option<Duration>,
    /// `topic.NAME.delivery.timeout.ms`: how long a record may take.
    pub delivery_timeout: Option<Duration>,
    /// `topic.NAME.partitioner`: which partition a record goes to.
    pub partitioner: Option<Partitioner>,
}

impl Configuration for TopicSettings {
    type Base = Self;

    const PROPERTIES: &'static [Property<Self>] = properties! {
        "compression.type": COMPRESSION => compression;
        "batch.size": BYTES => batch_bytes;
        "batch.records": COUNT => batch_records;
        "linger.ms": MILLIS => linger;
        "delivery.timeout.ms": POSITIVE_MILLIS => delivery_timeout;
        "partitioner": Partitioner::KIND => partitioner;
    };

    fn base(&mut self) -> Option<&mut Self> {
        None
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// The topic and the setting in the name of a property of a single topic.
fn parts(name: &str) -> Option<(&str, &'static Property<TopicSettings>)> {
    let rest = name.strip_prefix(PREFIX)?;
    // The longest setting that the name ends with: topics have dots in their names, too.
    let rows = TopicSettings::PROPERTIES.iter().filter_map(|row| {
        let topic = rest.strip_suffix(row.name)?.strip_suffix('.')?;
        is_topic(topic).then_some((topic, row))
    });
    rows.min_by_key(|(topic, _)| topic.len())
}

/// Whether this is the name of a property of a single topic.
pub(crate) fn is_of_topic(name: &str) -> bool {
    parts(name).is_some()
}

/// Sets the property of a single topic; `None` if `name` is none.
pub(super) fn set(
    topics: &mut BTreeMap<String, TopicSettings>,
    name: &str,
    value: &str,
) -> Option<Result<()>> {
    let (topic, row) = parts(name)?;
    let mut settings = topics.get(topic).cloned().unwrap_or_default();
    let result = set_property(&mut settings, row, name, value);
    if result.is_ok() {
        topics.insert(topic.to_string(), settings);
    }
    Some(result)
}

/// Checks the settings of each topic; the error names topic and setting.
pub(super) fn check(config: &ProducerConfig) -> Result<()> {
    for (topic, settings) in &config.topics {
        let wrong = |text: String| Err(Error::new(ErrorKind::Config, text));
        if !is_topic(topic) {
            return wrong(format!(
                "topics = {topic:?} is not allowed: no topic can have this name"
            ));
        }
        let name = |setting| format!("{PREFIX}{topic}.{setting}");
        for row in TopicSettings::PROPERTIES {
            if let Some(value) = (row.wrong)(settings) {
                let (name, allowed) = (name(row.name), row.allowed);
                return wrong(format!(
                    "{name} = {value} is not allowed: allowed is {allowed}"
                ));
            }
        }
        if let Some(bytes) = settings
            .batch_bytes
            .filter(|bytes| *bytes > config.buffer_bytes)
        {
            return wrong(format!(
                "{} = {bytes} is not allowed: buffer.memory, {} bytes, must hold at least one batch",
                name("batch.size"),
                config.buffer_bytes
            ));
        }
        let linger = settings.linger.unwrap_or(config.linger);
        let timeout = settings.delivery_timeout.unwrap_or(config.delivery_timeout);
        if timeout < linger {
            return wrong(format!(
                "{} = {} is not allowed: it must be at least the topic's linger.ms, {}",
                name("delivery.timeout.ms"),
                timeout.as_millis(),
                linger.as_millis()
            ));
        }
    }
    Ok(())
}

/// What holds for the partitions of one topic.
#[derive(Clone, Debug)]
pub(super) struct TopicRules {
    pub limits: Limits,
    pub partition: PartitionSettings,
    pub partitioner: Partitioner,
}

impl TopicRules {
    /// What holds for the topic called `name`.
    pub fn of(config: &ProducerConfig, name: &str) -> Self {
        static NONE: TopicSettings = TopicSettings {
            compression: None,
            batch_bytes: None,
            batch_records: None,
            linger: None,
            delivery_timeout: None,
            partitioner: None,
        };
        let settings = config.topics.get(name).unwrap_or(&NONE);
        let records = settings.batch_records.or(config.batch_records);
        let records = records.and_then(|records| u32::try_from(records).ok());
        let bytes = settings.batch_bytes.unwrap_or(config.batch_bytes);
        let partitioner = settings.partitioner.as_ref().unwrap_or(&config.partitioner);
        let linger = settings.linger.unwrap_or(config.linger);
        Self {
            limits: Limits {
                batch_bytes: bytes.min(config.max_request_bytes),
                batch_records: records.unwrap_or(u32::MAX),
            },
            partition: PartitionSettings {
                compression: settings.compression.unwrap_or(config.compression),
                linger,
                more_patient: linger.saturating_sub(config.linger),
                less_patient: config.linger.saturating_sub(linger),
                delivery_timeout: settings.delivery_timeout.unwrap_or(config.delivery_timeout),
            },
            partitioner: partitioner.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<ProducerConfig> {
        let servers = [("bootstrap.servers", "localhost:9092")];
        ProducerConfig::from_properties(servers.iter().chain(pairs).copied())
    }

    #[test]
    fn a_topic_has_its_own_settings_and_for_the_rest_those_of_all() {
        let config = config(&[
            ("linger.ms", "20"),
            ("compression.type", "lz4"),
            ("topic.mail.in.v1.linger.ms", "0"),
            ("topic.mail.in.v1.partitioner", "fnv1a"),
            ("topic.logs.batch.size", "9000"),
            ("topic.logs.batch.records", "7"),
            ("topic.logs.compression.type", "zstd:3"),
            ("topic.logs.linger.ms", "1000"),
            ("topic.logs.delivery.timeout.ms", "5000"),
        ])
        .unwrap();
        let logs = TopicRules::of(&config, "logs");
        assert_eq!(
            (logs.limits.batch_bytes, logs.limits.batch_records),
            (9_000, 7)
        );
        assert_eq!(logs.partition.compression.to_string(), "zstd:3");
        assert_eq!(logs.partition.more_patient, Duration::from_millis(980));
        assert_eq!(logs.partition.delivery_timeout, Duration::from_secs(5));
        let mail = TopicRules::of(&config, "mail.in.v1");
        assert!(matches!(mail.partitioner, Partitioner::Fnv1a));
        assert_eq!(mail.partition.less_patient, Duration::from_millis(20));
        assert_eq!(mail.partition.compression.to_string(), "lz4");
        let other = TopicRules::of(&config, "other");
        assert_eq!(other.partition.linger, Duration::from_millis(20));
        assert_eq!(other.limits.batch_bytes, config.batch_bytes);
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_topic() {
        let text = |pairs: &[(&str, &str)]| config(pairs).unwrap_err().to_string();
        assert_eq!(
            text(&[("topic.logs.linger.ms", "soon")]),
            "topic.logs.linger.ms = \"soon\" is not allowed: allowed is a number of milliseconds from 0 to 2147483647"
        );
        let late = text(&[("topic.logs.linger.ms", "200000")]);
        assert!(
            late.starts_with("topic.logs.delivery.timeout.ms = 120000"),
            "{late}"
        );
        let large = text(&[("topic.logs.batch.size", "2000000000")]);
        assert!(
            large.starts_with("topic.logs.batch.size = 2000000000"),
            "{large}"
        );
        // What a topic cannot have of its own.
        let acks = text(&[("topic.logs.acks", "1")]);
        assert!(
            acks.contains("topic.logs.acks") && acks.contains("a topic has none of its own"),
            "{acks}"
        );
    }

    #[test]
    fn a_topic_may_be_called_like_a_setting() {
        assert!(is_of_topic("topic.linger.ms.linger.ms"));
        assert!(is_of_topic("topic.a.partitioner"));
        for name in [
            "topic.linger.ms",
            "topic..linger.ms",
            "topic.a b.linger.ms",
            "linger.ms",
        ] {
            assert!(!is_of_topic(name), "{name}");
        }
    }
}
