//! What a share consumer can be told: by field, by Java-style property, by environment variable.

use std::str::FromStr;
use std::time::Duration;

use crate::kafka::config::values::{
    BYTES, COUNT, FLAG, Kind, MAX_BYTES, MILLIS, POSITIVE_MILLIS, TEXT,
};
use crate::kafka::config::{Configuration, Property, properties, set_by_name};
use crate::kafka::{ClientConfig, Error, ErrorKind, Result};

/// How records are acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcknowledgementMode {
    /// `implicit`: the next poll, or a commit, accepts what the last poll returned.
    #[default]
    Implicit,
    /// `explicit`: each record is acknowledged by the application, in any order. One that is not comes again, to any member, once its
    /// acquisition lock times out.
    Explicit,
}

impl AcknowledgementMode {
    /// What `share.acknowledgement.mode` takes.
    const KIND: Kind<AcknowledgementMode> = Kind::any("implicit or explicit");
}

impl FromStr for AcknowledgementMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "implicit" => Ok(Self::Implicit),
            "explicit" => Ok(Self::Explicit),
            _ => Err(Self::KIND.refusal("share.acknowledgement.mode", text)),
        }
    }
}

/// How many records a fetch acquires (KIP-1206).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcquireMode {
    /// `batch_optimized`: whole batches as they were produced, of all brokers at once. What is acquired beyond
    /// [`max_poll_records`](ShareConsumerConfig::max_poll_records) is handed out by the next polls, its lock running.
    #[default]
    BatchOptimized,
    /// `record_limit`: never more than [`max_poll_records`](ShareConsumerConfig::max_poll_records), of one broker at a time: for records that
    /// take long. Brokers before Kafka 4.2 acquire whole batches all the same.
    RecordLimit,
}

impl AcquireMode {
    /// What `share.acquire.mode` takes.
    const KIND: Kind<AcquireMode> = Kind::any("batch_optimized or record_limit");
}

impl FromStr for AcquireMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "batch_optimized" => Ok(Self::BatchOptimized),
            "record_limit" => Ok(Self::RecordLimit),
            _ => Err(Self::KIND.refusal("share.acquire.mode", text)),
        }
    }
}

/// How a [`ShareConsumer`](super::ShareConsumer) fetches and acknowledges.
///
/// Where a share group starts to read, how often a record is delivered, and for how long it is locked are the brokers' to set, for each group
/// (`share.auto.offset.reset`, which is `latest` by default; `share.delivery.count.limit`; `share.record.lock.duration.ms`).
///
/// Begin with `new` or [by name](Self::from_properties), then set fields; there will be more of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShareConsumerConfig {
    /// Where the cluster is, and what all clients share.
    pub client: ClientConfig,
    /// `group.id`: the share group. Required.
    pub group_id: Option<String>,
    /// `share.acknowledgement.mode`: `implicit` (default) or `explicit`.
    pub acknowledgement_mode: AcknowledgementMode,
    /// `share.acquire.mode`: `batch_optimized` (default) or `record_limit`.
    pub acquire_mode: AcquireMode,
    /// `max.poll.interval.ms`: a member that does not poll for so long leaves its group; what it holds stays its own until the locks time
    /// out. Default 5 min.
    pub max_poll_interval: Duration,
    /// `max.poll.records`: the most records that one poll returns. Default 500.
    pub max_poll_records: usize,
    /// `fetch.min.bytes`: how much a broker waits for before it answers. Default 1.
    pub fetch_min_bytes: usize,
    /// `fetch.max.bytes`: the most that one answer should hold. Default 50 MiB.
    pub fetch_max_bytes: usize,
    /// `fetch.max.wait.ms`: how long a broker waits for `fetch_min_bytes`. Acknowledgements wait behind it. Default 500 ms.
    pub fetch_max_wait: Duration,
    /// `check.crcs`: check the CRC-32C of every batch. Default `true`.
    pub check_crcs: bool,
    /// `client.rack`: where this client runs, for the brokers' assignor. Default none.
    pub client_rack: Option<String>,
    /// `buffer.memory`: the bytes, compressed and decompressed together, that the consumer may hold: on their way, waiting to be polled, and in
    /// [`ShareRecords`](super::ShareRecords) not yet dropped. A poll ends when it is used up, before `max_poll_records`; a batch that needs more
    /// than is left is read alone. Default 32 MiB.
    pub buffer_bytes: usize,
}

impl Default for ShareConsumerConfig {
    fn default() -> Self {
        Self {
            client: ClientConfig::default(),
            group_id: None,
            acknowledgement_mode: AcknowledgementMode::Implicit,
            acquire_mode: AcquireMode::BatchOptimized,
            max_poll_interval: Duration::from_secs(300),
            max_poll_records: 500,
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 << 20,
            fetch_max_wait: Duration::from_millis(500),
            check_crcs: true,
            client_rack: None,
            buffer_bytes: 32 << 20,
        }
    }
}

impl ShareConsumerConfig {
    /// The defaults, with `bootstrap_servers` (`host:port`, commas between several) and a group.
    pub fn new(bootstrap_servers: &str, group_id: &str) -> Self {
        Self {
            client: ClientConfig::new(bootstrap_servers),
            group_id: Some(group_id.to_string()),
            ..Self::default()
        }
    }
}

const MIN_BYTES: Kind<usize> =
    Kind::number::<0, MAX_BYTES>("a number of bytes from 0 to 2147483647");

set_by_name!(ShareConsumerConfig);

impl Configuration for ShareConsumerConfig {
    type Base = ClientConfig;

    const PROPERTIES: &'static [Property<Self>] = properties! {
        "group.id": TEXT => group_id;
        "share.acknowledgement.mode": AcknowledgementMode::KIND => acknowledgement_mode;
        "share.acquire.mode": AcquireMode::KIND => acquire_mode;
        "max.poll.interval.ms": POSITIVE_MILLIS => max_poll_interval;
        "max.poll.records": COUNT => max_poll_records;
        "fetch.min.bytes": MIN_BYTES => fetch_min_bytes;
        "fetch.max.bytes": BYTES => fetch_max_bytes;
        "fetch.max.wait.ms": MILLIS => fetch_max_wait;
        "check.crcs": FLAG => check_crcs;
        "client.rack": TEXT => client_rack;
        "buffer.memory": BYTES => buffer_bytes;
    };

    fn base(&mut self) -> Option<&mut ClientConfig> {
        Some(&mut self.client)
    }

    fn check(&self) -> Result<()> {
        self.client.check_has_brokers()?;
        if self.group_id.as_deref().is_none_or(str::is_empty) {
            let message = "a share consumer needs a group: set group.id";
            return Err(Error::new(ErrorKind::Config, message));
        }
        self.client.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_reach_the_consumer_and_what_is_wrong_is_named() {
        let config = ShareConsumerConfig::from_properties([
            ("bootstrap.servers", "kafka:9092"),
            ("group.id", "queue"),
            ("share.acknowledgement.mode", "explicit"),
            ("share.acquire.mode", "record_limit"),
        ])
        .expect("good properties");
        assert_eq!(config.client.bootstrap_servers, ["kafka:9092"]);
        assert_eq!(config.acknowledgement_mode, AcknowledgementMode::Explicit);
        assert_eq!(config.acquire_mode, AcquireMode::RecordLimit);
        for (name, value, named) in [
            (
                "share.acquire.mode",
                "all",
                "batch_optimized or record_limit",
            ),
            ("share.acknowledgement.mode", "none", "implicit or explicit"),
            ("max.poll.records", "10", "group.id"),
        ] {
            let error = ShareConsumerConfig::from_properties([(name, value)]).expect_err(named);
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
