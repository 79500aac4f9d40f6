//! What a producer can be told, by field, by Java-style property or by environment variable.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use protocol::compression::Compression;

use super::partition::sequenced::{Discipline, Rules};
use super::partitioner::Partitioner;
use super::topic_settings::{self, TopicSettings};
use crate::kafka::config::values::{
    BYTES, COMPRESSION, COUNT, FLAG, Kind, MILLIS, POSITIVE_MILLIS, TEXT,
};
use crate::kafka::config::{Configuration, Property, properties, set_by_name};
use crate::kafka::net::MAX_REQUESTS;
use crate::kafka::{ClientConfig, Error, ErrorKind, Result};

/// How a producer batches, compresses, sends and repeats.
///
/// Begin with `new` or [by name](Self::from_properties), then set fields; there will be more of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProducerConfig {
    /// What producer, consumer and admin share.
    pub client: ClientConfig,
    /// `acks`: whose acknowledgement makes a record delivered. Default all in-sync replicas.
    pub acks: Acks,
    /// `enable.idempotence`: brokers recognise repeated batches and refuse reordered ones, so that a retry neither doubles nor reorders
    /// records. Needs acks all. Default on with acks all, off with any other: only asked for by name it is refused there.
    ///
    /// What is reported as [unknown](crate::kafka::WriteOutcome::Unknown) may be written late, in its place or not at all: the partition goes on
    /// under its next epoch (KIP-360), and brokers refuse what is behind that. There are 32,767 of these; after the last one the partition goes on under
    /// another producer id, as with Java's producer, and a record whose fate is unknown, held back by the network until then, can come after later ones.
    pub idempotence: Option<bool>,
    /// `compression.type`, such as `zstd` or `zstd:7`. Default none.
    pub compression: Compression,
    /// `batch.size`: the most bytes of records in one batch, before compression; a record that is larger gets a batch of its own. For a
    /// topic whose brokers take less it becomes less when they first refuse a batch; after five minutes without a refusal it is tried again.
    /// Default 512 KiB.
    ///
    /// zstd takes larger tables beyond 128 KiB: about a sixth more time for a hundredth fewer bytes. Where CPU counts for more than round trips,
    /// 128 KiB is best for it.
    pub batch_bytes: usize,
    /// `batch.records`: the most records in one batch. Default no limit but the bytes.
    pub batch_records: Option<usize>,
    /// `linger.ms`: the longest a record waits for more records. A batch leaves sooner when nothing is in flight to its broker, or when there
    /// is enough for a request, which is more with hundreds of partitions: this bounds the wait in between. Default 5 ms.
    pub linger: Duration,
    /// `buffer.memory`: the most memory, in bytes, that batches may take, waiting and in flight; `enqueue` waits when it is used up. Less
    /// than a tenth of it is room to spare in open batches. Default 32 MiB.
    pub buffer_bytes: usize,
    /// `max.in.flight.requests.per.connection`: from 1 to 5 with idempotence, which keeps them in order, else up to 256. Without it,
    /// only one batch of a partition is in flight, since it may have to be repeated or split; with acks 0 neither can be. Default 5.
    pub max_in_flight: usize,
    /// `max.request.size`: the most bytes in one request, and in one record. Default 1 MiB.
    pub max_request_bytes: usize,
    /// `delivery.timeout.ms`: how long a record may take from being accepted; then it fails, never sooner. The records of a batch share the
    /// time of the last one, which is accepted at most `linger`, or a fiftieth of this, after the first. What is in flight when the time is
    /// over is awaited, for at most the request timeout, since its outcome is not known before. Default 2 min.
    pub delivery_timeout: Duration,
    /// `max.block.ms`: how long `send` and `enqueue` may wait for metadata and for buffer memory. Default 1 min.
    pub max_block: Duration,
    /// `retries`: how often a batch is sent again, within the delivery timeout. Default without limit.
    pub retries: u32,
    /// `transactional.id`: by whose transactions records are written; for a [`TransactionalProducer`](crate::kafka::TransactionalProducer), and
    /// refused by any other producer. Of all producers that have it, the one that connected last can write. Default none.
    pub transactional_id: Option<String>,
    /// `transaction.timeout.ms`: after how long the brokers abort a transaction that is still open; they have a limit of their own
    /// (`transaction.max.timeout.ms`, 15 min by default). Default 1 min.
    pub transaction_timeout: Duration,
    /// `transaction.two.phase.commit.enable`: transactions stay open without limit, until somebody decides what becomes of them
    /// (KIP-939). Brokers must allow it, by `transaction.two.phase.commit.enable` and by a right. Default off.
    pub two_phase_commit: bool,
    /// `partitioner`: which partition a record goes to. Default murmur2 of the key; sticky without one.
    pub partitioner: Partitioner,
    /// What is otherwise for some topics, by name: `topic.NAME.compression.type` and so on. Default nothing.
    pub topics: BTreeMap<String, TopicSettings>,
}

/// Whose acknowledgement makes a record delivered: all that a Produce request can ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nobody's: a record counts as delivered when its bytes were written to the connection. No offsets, no retries.
    None,
    /// The leader's alone.
    Leader,
    /// All in-sync replicas'.
    #[default]
    All,
}

impl Acks {
    /// What `acks` takes.
    const KIND: Kind<Acks> = Kind::any("0, 1, -1 or all");

    /// The number in a Produce request.
    pub(super) fn number(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// Reads `0`, `1`, `-1` or `all`.
impl FromStr for Acks {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.trim() {
            "0" | "none" => Ok(Acks::None),
            "1" | "leader" => Ok(Acks::Leader),
            "-1" | "all" => Ok(Acks::All),
            other => Err(Self::KIND.refusal("acks", other)),
        }
    }
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            client: ClientConfig::default(),
            acks: Acks::All,
            idempotence: None,
            compression: Compression::NONE,
            batch_bytes: 512 << 10,
            batch_records: None,
            linger: Duration::from_millis(5),
            buffer_bytes: 32 << 20,
            max_in_flight: 5,
            max_request_bytes: 1 << 20,
            delivery_timeout: Duration::from_secs(120),
            max_block: Duration::from_secs(60),
            retries: u32::MAX,
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
            two_phase_commit: false,
            partitioner: Partitioner::Default,
            topics: BTreeMap::new(),
        }
    }
}

impl ProducerConfig {
    /// The defaults, with `bootstrap_servers` (`host:port`, commas between several).
    pub fn new(bootstrap_servers: &str) -> Self {
        Self {
            client: ClientConfig::new(bootstrap_servers),
            ..Self::default()
        }
    }

    /// Whether brokers recognise what is repeated: as asked for, and else where acks allow it, as Java's producer decides it.
    pub fn is_idempotent(&self) -> bool {
        self.idempotence.unwrap_or(self.acks == Acks::All)
    }

    /// How batches are kept in order.
    pub(super) fn rules(&self) -> Rules {
        let (discipline, retries) = match (self.is_idempotent(), self.acks) {
            _ if self.transactional_id.is_some() => (Discipline::Transactions, self.retries),
            (true, _) => (Discipline::Sequences, self.retries),
            // Without an answer there is nothing to repeat a batch for.
            (false, Acks::None) => (Discipline::NoRetries, 0),
            // Also without retries: what is too large is split, and its parts are sent again.
            (false, _) => (Discipline::OneByOne, self.retries),
        };
        Rules {
            discipline,
            max_in_flight: self.max_in_flight,
            retries,
        }
    }
}

const MEMORY: Kind<usize> =
    Kind::number::<1, { u32::MAX as usize }>("a number of bytes from 1 to 4294967295");
const IN_FLIGHT: Kind<usize> =
    Kind::number::<1, MAX_REQUESTS>("a number from 1 to 256, and at most 5 with idempotence");
const RETRIES: Kind<u32> = Kind::any("a number from 0 to 4294967295");

set_by_name!(ProducerConfig);

impl Configuration for ProducerConfig {
    type Base = ClientConfig;

    const PROPERTIES: &'static [Property<Self>] = properties! {
        "acks": Acks::KIND => acks;
        "enable.idempotence": FLAG => idempotence;
        "compression.type": COMPRESSION => compression;
        "batch.size": BYTES => batch_bytes;
        "batch.records": COUNT => batch_records;
        "linger.ms": MILLIS => linger;
        "buffer.memory": MEMORY => buffer_bytes;
        "max.in.flight.requests.per.connection": IN_FLIGHT => max_in_flight;
        "max.request.size": BYTES => max_request_bytes;
        "delivery.timeout.ms": POSITIVE_MILLIS => delivery_timeout;
        "max.block.ms": POSITIVE_MILLIS => max_block;
        "retries": RETRIES => retries;
        "transactional.id": TEXT => transactional_id;
        "transaction.timeout.ms": POSITIVE_MILLIS => transaction_timeout;
        "transaction.two.phase.commit.enable": FLAG => two_phase_commit;
        "partitioner": Partitioner::KIND => partitioner;
    };

    fn base(&mut self) -> Option<&mut ClientConfig> {
        Some(&mut self.client)
    }

    fn is_alike(name: &str) -> bool {
        topic_settings::is_of_topic(name)
    }

    fn set_alike(&mut self, name: &str, value: &str) -> Option<Result<()>> {
        topic_settings::set(&mut self.topics, name, value)
    }

    fn check(&self) -> Result<()> {
        self.client.check_has_brokers()?;
        self.client.validate()?;
        let wrong = |text: String| Err(Error::new(ErrorKind::Config, text));
        if self.transactional_id.is_some() && !(self.is_idempotent() && self.acks == Acks::All) {
            return wrong(
                "transactional.id needs acks = all and idempotence: set acks to all, and leave enable.idempotence out"
                    .to_owned(),
            );
        }
        if self.two_phase_commit && self.transactional_id.is_none() {
            return wrong(
                "transaction.two.phase.commit.enable needs a transactional.id".to_owned(),
            );
        }
        if self.is_idempotent() && self.acks != Acks::All {
            return wrong(format!(
                "enable.idempotence needs acks = all, but acks is {}: set acks to all, or enable.idempotence to false",
                self.acks.number()
            ));
        }
        if self.is_idempotent() && !(1..=5).contains(&self.max_in_flight) {
            return wrong(format!(
                "max.in.flight.requests.per.connection = {} is not allowed with idempotence: allowed is 1 to 5",
                self.max_in_flight
            ));
        }
        let largest = self.batch_bytes.max(self.max_request_bytes);
        if self.buffer_bytes < largest {
            return wrong(format!(
                "buffer.memory = {} is not allowed: it must hold at least one batch and one request, {largest} bytes",
                self.buffer_bytes
            ));
        }
        if let Some(shared) = self.client.producers_buffer_bytes
            && shared < largest
        {
            return wrong(format!(
                "producers.buffer.memory = {shared} is not allowed: it must hold at least one batch and one request, {largest} bytes"
            ));
        }
        if self.delivery_timeout < self.linger {
            return wrong(format!(
                "delivery.timeout.ms = {} is not allowed: it must be at least linger.ms, {}",
                self.delivery_timeout.as_millis(),
                self.linger.as_millis()
            ));
        }
        topic_settings::check(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_these() {
        let config = ProducerConfig::default();
        assert_eq!(config.acks, Acks::All);
        assert!(config.is_idempotent());
        assert_eq!(config.compression, Compression::NONE);
        assert_eq!(config.batch_bytes, 524_288);
        assert_eq!(config.batch_records, None);
        assert_eq!(config.linger, Duration::from_millis(5));
        assert_eq!(config.buffer_bytes, 33_554_432);
        assert_eq!(config.max_in_flight, 5);
        assert_eq!(config.max_request_bytes, 1_048_576);
        assert_eq!(config.delivery_timeout, Duration::from_secs(120));
        assert_eq!(config.max_block, Duration::from_secs(60));
        assert_eq!(config.retries, u32::MAX);
        assert!(config.validate().is_ok());
    }

    #[test]
    fn properties_set_the_producer_and_the_client_below_it() {
        let config = ProducerConfig::from_properties([
            ("bootstrap.servers", "localhost:9092"),
            ("acks", "all"),
            ("linger.ms", "20"),
            ("compression.type", "zstd:7"),
        ])
        .unwrap();
        assert_eq!(config.client.bootstrap_servers, ["localhost:9092"]);
        assert_eq!(config.linger, Duration::from_millis(20));
        assert_eq!(config.compression.to_string(), "zstd:7");
    }

    #[test]
    fn a_wrong_combination_names_what_to_change() {
        let result =
            ProducerConfig::from_properties([("acks", "1"), ("enable.idempotence", "true")]);
        let text = result.unwrap_err().to_string();
        assert!(text.contains("enable.idempotence"), "{text}");
        let result = ProducerConfig::from_properties([("acks", "2")]);
        let text = result.unwrap_err().to_string();
        assert!(
            text.contains("acks") && text.contains("-1 or all"),
            "{text}"
        );
    }

    /// Java's producer does without idempotence there, unless it was asked for by name.
    #[test]
    fn fewer_acknowledgements_do_without_idempotence_unless_it_was_asked_for() {
        let with = |pairs: &[(&str, &str)]| {
            let servers = [("bootstrap.servers", "localhost:9092")];
            let pairs = servers.iter().chain(pairs).copied();
            ProducerConfig::from_properties(pairs).map(|config| config.is_idempotent())
        };
        assert!(with(&[]).unwrap() && with(&[("acks", "all")]).unwrap());
        for acks in ["0", "1"] {
            assert!(!with(&[("acks", acks)]).unwrap());
            assert!(!with(&[("enable.idempotence", "false"), ("acks", acks)]).unwrap());
            assert!(with(&[("acks", acks), ("enable.idempotence", "true")]).is_err());
        }
    }

    /// A connection takes no more: what comes on top of that was refused, and lost where nothing is repeated.
    #[test]
    fn no_more_requests_are_in_flight_than_a_connection_takes() {
        let with = |number: &str| {
            ProducerConfig::from_properties([
                ("enable.idempotence", "false"),
                ("bootstrap.servers", "localhost:9092"),
                ("max.in.flight.requests.per.connection", number),
            ])
        };
        assert_eq!(with("256").unwrap().max_in_flight, MAX_REQUESTS);
        let text = with("257").unwrap_err().to_string();
        assert!(text.contains("from 1 to 256"), "{text}");
    }

    /// Dekaf #1696: with several in flight and a retry, 2% of the records came out of order.
    #[test]
    fn without_idempotence_one_batch_is_in_flight_as_long_as_it_may_be_sent_again() {
        let mut config = ProducerConfig {
            idempotence: Some(false),
            ..ProducerConfig::default()
        };
        assert_eq!(config.rules().discipline, Discipline::OneByOne);
        // Not repeated, but perhaps split: only where no answer comes is a batch never sent again.
        config.retries = 0;
        assert_eq!(config.rules().discipline, Discipline::OneByOne);
        assert_eq!(config.rules().retries, 0);
        config.acks = Acks::None;
        assert_eq!(config.rules().discipline, Discipline::NoRetries);
    }
}
