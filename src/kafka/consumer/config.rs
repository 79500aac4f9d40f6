//! What a consumer can be told: by field, by Java-style property, by environment variable.

use std::str::FromStr;
use std::time::Duration;

use super::{AssignmentStrategies, OffsetReset};
use crate::kafka::config::values::{
    BYTES, COUNT, FLAG, Kind, MAX_BYTES, MILLIS, NAME, POSITIVE_MILLIS, TEXT, TOPICS,
};
use crate::kafka::config::{Configuration, Property, properties, set_by_name};
use crate::kafka::{ClientConfig, Error, ErrorKind, Result};

/// Whether records of transactions that are open or were aborted are handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IsolationLevel {
    /// Every record up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Only records without a transaction and records of committed ones, up to the first transaction that is still open (KIP-98).
    ReadCommitted,
}

impl IsolationLevel {
    /// What `isolation.level` takes.
    const KIND: Kind<IsolationLevel> = Kind::any("read_uncommitted or read_committed");
}

impl FromStr for IsolationLevel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "read_uncommitted" => Ok(Self::ReadUncommitted),
            "read_committed" => Ok(Self::ReadCommitted),
            _ => Err(Self::KIND.refusal("isolation.level", text)),
        }
    }
}

/// By which protocol a consumer is a member of its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupProtocol {
    /// `classic`: one of the members assigns the partitions, by
    /// [`partition_assignment_strategy`](ConsumerConfig::partition_assignment_strategy).
    #[default]
    Classic,
    /// `consumer` (KIP-848, Kafka 4.0 and later): the brokers assign the partitions, and members that keep theirs are not interrupted. Session
    /// and heartbeats are the brokers' to set (`group.consumer.session.timeout.ms`, `group.consumer.heartbeat.interval.ms`).
    Consumer,
    /// `auto` (Java has no such value): `consumer` where the cluster has it when the group is joined, `classic` elsewhere.
    Auto,
}

impl GroupProtocol {
    /// What `group.protocol` takes.
    const KIND: Kind<GroupProtocol> = Kind::any("classic, consumer or auto");
}

impl FromStr for GroupProtocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "classic" => Ok(Self::Classic),
            "consumer" => Ok(Self::Consumer),
            "auto" => Ok(Self::Auto),
            _ => Err(Self::KIND.refusal("group.protocol", text)),
        }
    }
}

/// What becomes of a subscription to a topic that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MissingTopics {
    /// The topic is waited for and read once it exists; a poll returns an error that names it, once.
    #[default]
    Wait,
    /// Subscribing fails, by the request timeout.
    Fail,
}

impl MissingTopics {
    /// What `missing.topics` takes.
    const KIND: Kind<MissingTopics> = Kind::any("wait or fail");
}

impl FromStr for MissingTopics {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "wait" => Ok(Self::Wait),
            "fail" => Ok(Self::Fail),
            _ => Err(Self::KIND.refusal("missing.topics", text)),
        }
    }
}

/// What an automatic commit, `commit_sync` and `commit_positions` commit of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CommitSource {
    /// What polls have returned: who polls again has finished what the last poll returned.
    #[default]
    Polled,
    /// What was [stored](crate::kafka::ConsumerHandle::store), and nothing where nothing was: librdkafka's `enable.auto.offset.store` = `false`.
    Stored,
    /// What was [acknowledged](crate::kafka::consumer::Acks), in any order, up to the first record that was not. Those that were beyond it are
    /// named in the commit's metadata, and not returned again after a restart. So that they always fit into what brokers accept of it by default
    /// (`offset.metadata.max.bytes` = 4,096), no more records of a partition are returned while there are more than 24,400 offsets from the first
    /// that was not acknowledged on, with more than a few hundred records among them that were not: until the gaps close.
    Acknowledged,
}

impl CommitSource {
    /// What `commit.source` takes.
    const KIND: Kind<CommitSource> = Kind::any("polled, stored or acknowledged");
}

impl FromStr for CommitSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "polled" => Ok(Self::Polled),
            "stored" => Ok(Self::Stored),
            "acknowledged" => Ok(Self::Acknowledged),
            _ => Err(Self::KIND.refusal("commit.source", text)),
        }
    }
}

/// How a [`Consumer`](crate::kafka::Consumer) fetches, where it starts, and how it is a member of its group.
///
/// Begin with `new` or [by name](Self::from_properties), then set fields; there will be more of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsumerConfig {
    /// Where the cluster is, and what all clients share.
    pub client: ClientConfig,
    /// `group.id`: the group to share partitions and to commit offsets with. Default none: manual assignment without commits.
    pub group_id: Option<String>,
    /// `group.instance.id`: makes this a static member (KIP-345), whose restart within the session timeout moves no partition. Default
    /// none.
    pub group_instance_id: Option<String>,
    /// `group.protocol`: `classic` (default), `consumer` or `auto`. With `consumer`, `session_timeout`, `heartbeat_interval` and
    /// `partition_assignment_strategy` mean nothing, and must be left as they are.
    pub group_protocol: GroupProtocol,
    /// `group.remote.assignor`: the brokers' assignor that is asked for under the consumer protocol, `uniform` or `range`. Default none: the
    /// brokers choose.
    pub group_remote_assignor: Option<String>,
    /// `missing.topics` (Java has no such option): whether subscribing to a topic that does not exist waits for it (`wait`, the default) or
    /// fails (`fail`).
    pub missing_topics: MissingTopics,
    /// `exclude.topics` (librdkafka's `topic.blacklist`): topics that no pattern matches: names, or patterns that begin with `^`. What is named in a
    /// subscription is read all the same. Default none.
    pub exclude_topics: Vec<String>,
    /// `exclude.internal.topics`: a pattern matches no topic that is the brokers' own, such as `__consumer_offsets`. Default `true`.
    pub exclude_internal_topics: bool,
    /// `auto.offset.reset`: `earliest`, `latest`, `none`, `by_duration:PT1H` (KIP-1106) or `timestamp:1700000000000`. Default `latest`.
    pub auto_offset_reset: OffsetReset,
    /// `enable.auto.commit`: commit, now and then, what earlier polls returned. Default `false` (Java's is `true`).
    pub enable_auto_commit: bool,
    /// `commit.source` (Java has no such option): what is committed where no offsets are named. Default `polled`.
    pub commit_source: CommitSource,
    /// `auto.commit.interval.ms`. Default 5 s.
    pub auto_commit_interval: Duration,
    /// `enable.partition.eof` (librdkafka's): a poll says of which partitions the end was reached: see
    /// [`Records::ends`](crate::kafka::Records::ends). Default `false`.
    pub enable_partition_eof: bool,
    /// `session.timeout.ms`: a member that is silent for so long is dead to the coordinator. Default 10 s.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`: no more than a third of the session timeout. Default 3 s.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: a member that does not poll for so long leaves its group. Default 5 min.
    pub max_poll_interval: Duration,
    /// `max.poll.records`: the most records that one poll returns. Default 500.
    pub max_poll_records: usize,
    /// `fetch.min.bytes`: how much a broker waits for before it answers. Default 1.
    pub fetch_min_bytes: usize,
    /// `fetch.max.bytes`: the most that one answer should hold. Default 50 MiB.
    pub fetch_max_bytes: usize,
    /// `max.partition.fetch.bytes`: the most that one answer should hold of a partition; one batch over it is still answered. Default 1 MiB.
    pub max_partition_fetch_bytes: usize,
    /// `fetch.max.wait.ms`: how long a broker waits for `fetch_min_bytes`. Default 500 ms.
    pub fetch_max_wait: Duration,
    /// `isolation.level`: `read_uncommitted` (default) or `read_committed`.
    pub isolation_level: IsolationLevel,
    /// `check.crcs`: check the CRC-32C of every batch. Default `true`.
    pub check_crcs: bool,
    /// `partition.assignment.strategy`: how the group's leader may assign partitions, the preferred way first. Default `range`, then
    /// `cooperative-sticky`.
    pub partition_assignment_strategy: AssignmentStrategies,
    /// `client.rack`: where this client runs, so that brokers can name a nearer replica to fetch from (KIP-392). Default none.
    pub client_rack: Option<String>,
    /// `buffer.memory`: the bytes, compressed and decompressed together, that the consumer may hold: on their way, waiting to be
    /// polled, and in [`Records`](crate::kafka::Records) not yet dropped. A poll ends when it is used up, before `max_poll_records`; a batch
    /// that needs more than is left, or than all of it, is read alone (one at a time of all consumers of a client that has
    /// [`consumers_buffer_bytes`](crate::kafka::ClientConfig::consumers_buffer_bytes)). One batch may decompress to as much as this or
    /// `receive.message.max.bytes` (128 MiB), whichever is more; decompressing it takes up to five times its size for a moment. Default
    /// 32 MiB.
    pub buffer_bytes: usize,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            client: ClientConfig::default(),
            group_id: None,
            group_instance_id: None,
            group_protocol: GroupProtocol::Classic,
            group_remote_assignor: None,
            missing_topics: MissingTopics::Wait,
            exclude_topics: Vec::new(),
            exclude_internal_topics: true,
            auto_offset_reset: OffsetReset::Latest,
            enable_auto_commit: false,
            commit_source: CommitSource::Polled,
            enable_partition_eof: false,
            auto_commit_interval: Duration::from_secs(5),
            session_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            max_poll_records: 500,
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 << 20,
            max_partition_fetch_bytes: 1 << 20,
            fetch_max_wait: Duration::from_millis(500),
            isolation_level: IsolationLevel::ReadUncommitted,
            check_crcs: true,
            partition_assignment_strategy: AssignmentStrategies::default(),
            client_rack: None,
            buffer_bytes: 32 << 20,
        }
    }
}

impl ConsumerConfig {
    /// The defaults, with `bootstrap_servers` (`host:port`, commas between several) and a group.
    pub fn new(bootstrap_servers: &str, group_id: &str) -> Self {
        Self {
            client: ClientConfig::new(bootstrap_servers),
            group_id: Some(group_id.to_string()),
            ..Self::default()
        }
    }
}

impl ConsumerConfig {
    /// What is set for one protocol does nothing under the other: it is refused, as Java does.
    fn check_protocol(&self) -> Result<()> {
        let default = Self::default();
        let classic = [
            (
                self.session_timeout != default.session_timeout,
                "session.timeout.ms",
            ),
            (
                self.heartbeat_interval != default.heartbeat_interval,
                "heartbeat.interval.ms",
            ),
            (
                self.partition_assignment_strategy != default.partition_assignment_strategy,
                "partition.assignment.strategy",
            ),
        ];
        let set = match self.group_protocol {
            GroupProtocol::Consumer => classic.into_iter().find(|(is_set, _)| *is_set),
            GroupProtocol::Classic => self
                .group_remote_assignor
                .as_ref()
                .map(|_| (true, "group.remote.assignor")),
            GroupProtocol::Auto => None,
        };
        let Some((_, name)) = set else { return Ok(()) };
        let protocol = match self.group_protocol {
            GroupProtocol::Consumer => "consumer, where the brokers decide that",
            _ => "classic, where the members decide that",
        };
        let message = format!("{name} cannot be set with group.protocol = {protocol}");
        Err(Error::new(ErrorKind::Config, message))
    }
}

const MIN_BYTES: Kind<usize> =
    Kind::number::<0, MAX_BYTES>("a number of bytes from 0 to 2147483647");

set_by_name!(ConsumerConfig);

impl Configuration for ConsumerConfig {
    type Base = ClientConfig;

    const PROPERTIES: &'static [Property<Self>] = properties! {
        "group.id": TEXT => group_id;
        "group.instance.id": NAME => group_instance_id;
        "group.protocol": GroupProtocol::KIND => group_protocol;
        "group.remote.assignor": NAME => group_remote_assignor;
        "missing.topics": MissingTopics::KIND => missing_topics;
        "exclude.internal.topics": FLAG => exclude_internal_topics;
        "exclude.topics": TOPICS => exclude_topics;
        "auto.offset.reset": OffsetReset::KIND => auto_offset_reset;
        "enable.auto.commit": FLAG => enable_auto_commit;
        "commit.source": CommitSource::KIND => commit_source;
        "enable.partition.eof": FLAG => enable_partition_eof;
        "auto.commit.interval.ms": POSITIVE_MILLIS => auto_commit_interval;
        "session.timeout.ms": POSITIVE_MILLIS => session_timeout;
        "heartbeat.interval.ms": POSITIVE_MILLIS => heartbeat_interval;
        "max.poll.interval.ms": POSITIVE_MILLIS => max_poll_interval;
        "max.poll.records": COUNT => max_poll_records;
        "fetch.min.bytes": MIN_BYTES => fetch_min_bytes;
        "fetch.max.bytes": BYTES => fetch_max_bytes;
        "max.partition.fetch.bytes": BYTES => max_partition_fetch_bytes;
        "fetch.max.wait.ms": MILLIS => fetch_max_wait;
        "isolation.level": IsolationLevel::KIND => isolation_level;
        "check.crcs": FLAG => check_crcs;
        "partition.assignment.strategy": AssignmentStrategies::KIND => partition_assignment_strategy;
        "client.rack": TEXT => client_rack;
        "buffer.memory": BYTES => buffer_bytes;
    };

    fn base(&mut self) -> Option<&mut ClientConfig> {
        Some(&mut self.client)
    }

    fn check(&self) -> Result<()> {
        self.client.check_has_brokers()?;
        let wrong = |message: String| Err(Error::new(ErrorKind::Config, message));
        let (heartbeat, session) = (self.heartbeat_interval, self.session_timeout);
        if heartbeat >= session {
            return wrong(format!(
                "heartbeat.interval.ms = {} must be below session.timeout.ms = {}; a third of it is usual",
                heartbeat.as_millis(),
                session.as_millis()
            ));
        }
        self.check_protocol()?;
        if self.group_id.is_none() {
            for (set, name) in [
                (self.enable_auto_commit, "enable.auto.commit"),
                (self.group_instance_id.is_some(), "group.instance.id"),
            ] {
                if set {
                    return wrong(format!("{name} needs a group: set group.id"));
                }
            }
        }
        self.client.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let config = ConsumerConfig::default();
        assert_eq!(config.auto_offset_reset, OffsetReset::Latest);
        assert_eq!(config.session_timeout, Duration::from_secs(10));
        assert_eq!(config.heartbeat_interval, Duration::from_secs(3));
        assert_eq!(config.max_poll_interval, Duration::from_secs(300));
        assert_eq!(
            (config.max_poll_records, config.max_partition_fetch_bytes),
            (500, 1 << 20)
        );
        assert_eq!(config.isolation_level, IsolationLevel::ReadUncommitted);
        assert!(!config.enable_auto_commit && config.check_crcs);
    }

    #[test]
    fn properties_reach_the_consumer_and_its_client() {
        let config = ConsumerConfig::from_properties([
            ("bootstrap.servers", "kafka:9092"),
            ("group.id", "mail"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
        ])
        .expect("good properties");
        assert_eq!(config.client.bootstrap_servers, ["kafka:9092"]);
        assert_eq!(config.group_id.as_deref(), Some("mail"));
        assert_eq!(config.auto_offset_reset, OffsetReset::Earliest);
        assert_eq!(config.isolation_level, IsolationLevel::ReadCommitted);
    }

    #[test]
    fn what_cannot_work_together_is_named() {
        let error = ConsumerConfig::from_properties([("heartbeat.interval.ms", "10000")])
            .expect_err("too slow");
        assert!(error.to_string().contains("session.timeout.ms"), "{error}");
        let error = ConsumerConfig::from_properties([("enable.auto.commit", "true")])
            .expect_err("no group");
        assert!(error.to_string().contains("group.id"), "{error}");
        for (protocol, name, value) in [
            ("consumer", "session.timeout.ms", "20000"),
            ("consumer", "heartbeat.interval.ms", "1000"),
            ("consumer", "partition.assignment.strategy", "sticky"),
            ("classic", "group.remote.assignor", "range"),
        ] {
            let with = |protocol| {
                ConsumerConfig::from_properties([("group.protocol", protocol), (name, value)])
            };
            let error = with(protocol)
                .expect_err("of the other protocol")
                .to_string();
            assert!(
                error.contains(name) && error.contains("group.protocol"),
                "{error}"
            );
            with("auto").expect("either");
        }
        let error = ConsumerConfig::from_properties([("auto.offset.reset", "newest")])
            .expect_err("no policy");
        assert!(
            error.to_string().contains("earliest, latest, none,"),
            "{error}"
        );
    }
}
