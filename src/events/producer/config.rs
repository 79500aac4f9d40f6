//! The options of a producer of events: by field, by Java-style property, by environment variable.

use std::time::Duration;

use protocol::compression::Compression;

use crate::events::TenantRouting;
use crate::kafka::config::values::{ADDRESSES, COMPRESSION, COUNT, FLAG, MILLIS, NAME, TEXT, list};
use crate::kafka::config::{Configuration, Property, properties, set_by_name};
use crate::kafka::{self, Client, Error, ErrorKind, Result};

/// Where a producer of events writes, and how.
///
/// The named fields go before what [`kafka`](ProducerConfig::kafka) says of the same thing; everything else is taken from there.
///
/// ```
/// use pat_events::events::ProducerConfig;
///
/// let config = ProducerConfig::from_properties([
///     ("bootstrap.servers", "kafka-1:9092,kafka-2:9092"),
///     ("topic", "emails"),
///     ("compression.type", "zstd"),
///     ("acks", "all"),
/// ])?;
/// assert_eq!(config.batch_size, 100);
/// # Ok::<(), pat_events::kafka::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProducerConfig {
    /// `bootstrap.servers`: addresses (`host:port`) to find the cluster by. Needed.
    pub brokers: Vec<String>,
    /// `topic`: the topic to write to. Needed.
    pub topic: String,
    /// `source`: who the events are from (`ce_source`), a URI reference that is not empty. Default `pat-events`.
    pub source: String,
    /// `compression.type`, such as `lz4` or `zstd:7`. Default none.
    pub compression: Compression,
    /// `enable.idempotence`: brokers recognise repeated batches, so that a retry does not double events. Needs acks all. Default off, other
    /// than that of [`kafka::ProducerConfig`]: handlers of events may see an event twice in any case, after a restart, and a producer
    /// without it needs no producer id and no permission for one. [`idempotent`](ProducerConfig::idempotent) turns it on.
    pub idempotence: bool,
    /// `batch.records`: the most events in one batch. Default 100.
    pub batch_size: usize,
    /// `linger.ms`: the longest that an event may wait for its batch to leave. It leaves sooner when the batch is full or its connection
    /// has room. Default 5 s.
    pub flush_timeout: Duration,
    /// Where spans go of what is sent. Default nowhere.
    #[cfg(feature = "otel")]
    pub tracer: Option<crate::events::observe::Tracer>,
    /// Which topic the events of a tenant are written to. Default: all to [`topic`](ProducerConfig::topic).
    pub route: TenantRouting,
    /// Everything else: acks, timeouts, memory, partitioner, and what all clients share.
    pub kafka: kafka::ProducerConfig,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            topic: String::new(),
            source: "pat-events".to_string(),
            compression: Compression::NONE,
            idempotence: false,
            batch_size: 100,
            flush_timeout: Duration::from_secs(5),
            #[cfg(feature = "otel")]
            tracer: None,
            route: TenantRouting::default(),
            kafka: kafka::ProducerConfig::default(),
        }
    }
}

impl ProducerConfig {
    /// The defaults, with `brokers` (`host:port`, commas between several) and `topic`.
    pub fn new(brokers: &str, topic: &str) -> Self {
        Self {
            brokers: list(brokers),
            topic: topic.to_string(),
            ..Self::default()
        }
    }

    /// With [`idempotence`](ProducerConfig::idempotence): a retry doubles and reorders nothing.
    ///
    /// ```
    /// use pat_events::events::ProducerConfig;
    ///
    /// let config = ProducerConfig::new("localhost:9092", "emails").idempotent();
    /// assert!(config.idempotence);
    /// ```
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotence = true;
        self
    }

    /// On this client: what it says of the cluster goes before what is said here.
    pub(super) fn on(mut self, client: &Client) -> Self {
        self.brokers.clone_from(&client.config().bootstrap_servers);
        self.kafka.client = client.config().clone();
        self
    }

    /// The configuration of the client beneath.
    pub(in crate::events) fn client_config(&self) -> kafka::ProducerConfig {
        let mut config = self.kafka.clone();
        config.client.bootstrap_servers.clone_from(&self.brokers);
        config.compression = self.compression;
        config.idempotence = Some(self.idempotence);
        config.batch_records = Some(self.batch_size);
        config.linger = self.flush_timeout;
        config
    }
}

set_by_name!(ProducerConfig);

impl Configuration for ProducerConfig {
    type Base = kafka::ProducerConfig;

    const PROPERTIES: &'static [Property<Self>] = properties! {
        "bootstrap.servers": ADDRESSES => brokers;
        "topic": NAME => topic;
        "source": TEXT => source;
        "compression.type": COMPRESSION => compression;
        "enable.idempotence": FLAG => idempotence;
        "batch.records": COUNT => batch_size;
        "linger.ms": MILLIS => flush_timeout;
    };

    fn base(&mut self) -> Option<&mut Self::Base> {
        Some(&mut self.kafka)
    }

    fn check(&self) -> Result<()> {
        let wrong = |message| Err(Error::new(ErrorKind::Config, message));
        if self.topic.is_empty() {
            return wrong("topic is not set: name the topic to write to");
        }
        if self.source.is_empty() {
            return wrong("source is empty: name who the events are from, such as /mail/inbound");
        }
        let config = self.client_config();
        config.client.bootstrap_addresses()?;
        config.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::compression::Codec;

    #[test]
    fn the_defaults_are_these() {
        let config = ProducerConfig::default();
        assert_eq!(config.batch_size, 100);
        assert_eq!(config.flush_timeout, Duration::from_secs(5));
        assert_eq!(config.compression, Compression::NONE);
        assert!(!config.idempotence);
        assert_eq!(config.source, "pat-events");
        assert!(config.brokers.is_empty());
        assert!(config.topic.is_empty());
    }

    #[test]
    fn the_named_fields_go_before_those_of_the_client() {
        let mut config = ProducerConfig::new("a:1,b:2", "emails");
        config.kafka.idempotence = Some(true);
        config.kafka.linger = Duration::ZERO;
        let config = config.client_config();
        assert_eq!(config.client.bootstrap_servers, ["a:1", "b:2"]);
        assert_eq!(config.batch_records, Some(100));
        assert_eq!(config.linger, Duration::from_secs(5));
        assert!(!config.is_idempotent());
    }

    #[test]
    fn properties_set_events_and_client_alike() {
        let config = ProducerConfig::from_properties([
            ("bootstrap.servers", "a:1"),
            ("topic", "emails"),
            ("compression.type", "gzip"),
            ("enable.idempotence", "TRUE"),
            ("batch.records", "7"),
            ("linger.ms", "250"),
            ("delivery.timeout.ms", "9000"),
            ("client.id", "mailer"),
        ])
        .expect("good properties");
        assert_eq!(config.compression.codec(), Codec::Gzip);
        assert!(config.idempotence);
        assert_eq!(config.batch_size, 7);
        assert_eq!(config.flush_timeout, Duration::from_millis(250));
        assert_eq!(config.kafka.delivery_timeout, Duration::from_secs(9));
        assert_eq!(config.client_config().client.client_id, "mailer");
    }

    #[test]
    fn the_environment_sets_properties() {
        let config = ProducerConfig::from_variables(|name| match name {
            "KAFKA_BOOTSTRAP_SERVERS" => Some("a:1".into()),
            "KAFKA_TOPIC" => Some("emails".into()),
            "KAFKA_BATCH_RECORDS" => Some("3".into()),
            _ => None,
        })
        .expect("good variables");
        assert_eq!((config.batch_size, config.topic.as_str()), (3, "emails"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let error = |pairs: &[(&str, &str)]| {
            ProducerConfig::from_properties(pairs.iter().copied())
                .expect_err("not allowed")
                .to_string()
        };
        assert_eq!(
            error(&[("bootstrap.servers", "a:1")]),
            "topic is not set: name the topic to write to"
        );
        assert!(error(&[("topic", "t")]).starts_with("bootstrap.servers is not set"));
        assert_eq!(
            error(&[("batch.records", "0")]),
            "batch.records = \"0\" is not allowed: allowed is a number from 1 to 2147483647"
        );
        assert!(error(&[("compression.type", "rar")]).contains("allowed is none, gzip"));
        assert!(error(&[("tropic", "t")]).contains("did you mean topic?"));
    }
}
