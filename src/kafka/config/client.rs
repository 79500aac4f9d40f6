//! The options that producer, consumer and admin share: where the cluster is, how long to wait, what the world is made of.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::security::SecurityConfig;
use super::values::{ADDRESSES, BYTES, FLAG, Kind, MAX_BYTES, MILLIS, POSITIVE_MILLIS, TEXT, list};
use super::{Configuration, Property, properties, set_by_name};
use crate::kafka::net::{Address, TcpTransport, Transport};
use crate::kafka::observe::{ClientEvent, Metrics, Observer, tell};
use crate::kafka::{Clock, Error, ErrorKind, Random, Result};

/// Where the cluster is, how long to wait for it, and what the client's world is made of (network, clock, randomness).
///
/// Begin with `new` or [by name](Self::from_properties), then set fields; there will be more of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// `bootstrap.servers`: addresses (`host:port`) to find the cluster by; any one that answers is enough. Default: none, and one is
    /// needed.
    pub bootstrap_servers: Vec<String>,
    /// `bootstrap.controllers`: addresses (`host:port`) of controllers in place of brokers (KIP-919): for an [`Admin`](crate::kafka::Admin) that
    /// speaks with the quorum itself, also while no broker runs. Needs Kafka 3.7. What is of topics, groups and records needs brokers. Default: none.
    pub bootstrap_controllers: Vec<String>,
    /// `client.id`: the name that brokers see in logs, metrics and quotas. Default `pat-events`.
    pub client_id: String,
    /// `request.timeout.ms`: how long one request may take: queueing, writing and waiting for the answer. Default 30 s.
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`: how long dialling one address may take, handshake included. Default 10 s.
    pub connect_timeout: Duration,
    /// `metadata.max.age.ms`: how old metadata may get before it is refreshed unasked. Default 5 min.
    pub metadata_max_age: Duration,
    /// `metadata.max.idle.ms`: a topic that a producer has not written to for so long is no longer asked for. Default 5 min.
    pub metadata_max_idle: Duration,
    /// `reconnect.backoff.ms`: the pause after a first failed dial of a broker; doubles up to the maximum, give or take 20% (KIP-580).
    /// Default 50 ms.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`: the longest pause between dials. Default 1 s.
    pub reconnect_backoff_max: Duration,
    /// `retry.backoff.ms`: the pause before a first repetition of a failed request; doubles up to the maximum (KIP-580). Default 100 ms.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`: the longest pause between repetitions. Default 1 s.
    pub retry_backoff_max: Duration,
    /// `connections.max.idle.ms`: a connection without traffic for so long is closed. Default 9 min.
    pub connections_max_idle: Duration,
    /// `receive.message.max.bytes`: the longest response that is accepted, in bytes. Default 128 MiB.
    pub max_frame_bytes: usize,
    /// `allow.auto.create.topics`: whether asking for a topic that does not exist may create it, where brokers allow that. Default false,
    /// unlike Java: a misspelt topic is an error.
    pub allow_auto_create_topics: bool,
    /// `enable.metrics.push`: whether brokers that ask for it are told what the client measures (KIP-714). Default true.
    pub metrics_push: bool,
    /// `producers.buffer.memory`: the most memory, in bytes, that the batches of all producers of one [`Client`](crate::kafka::Client) may take
    /// together, each within its own `buffer.memory`. Whoever asks first gets room first; while one waits for room, none of them waits for more
    /// records (`linger`). Default no limit but each one's own.
    pub producers_buffer_bytes: Option<usize>,
    /// `consumers.buffer.memory`: the most memory, in bytes, that what all consumers of one [`Client`](crate::kafka::Client) have fetched and
    /// decompressed may take together, each within its own `buffer_bytes`. A quarter is kept for those who have little of it; what needs more
    /// than is left is read by one consumer at a time, in the order of asking. Default no limit but each one's own.
    ///
    /// What the allocator keeps of memory that was freed comes on top. glibc's keeps much where several threads allocate large buffers: for a
    /// process with a tight limit set `MALLOC_MMAP_THRESHOLD_=262144` in its environment, or take another allocator.
    pub consumers_buffer_bytes: Option<usize>,
    /// `security.protocol`, `ssl.*`, `sasl.*`: how connections are protected, and who the client says it is. Default plaintext, nobody.
    pub security: SecurityConfig,
    /// How the client gets from an address to a byte stream. Default TCP.
    pub transport: Arc<dyn Transport>,
    /// Where record timestamps come from. Default the system.
    pub clock: Clock,
    /// Who is told what happens: connects, disconnects and why, failures and what comes of them. Default nobody; with the feature `tracing` the
    /// log.
    pub observer: Option<Arc<dyn Observer>>,
    /// Where all that is created with this configuration is measured. Default a place of its own.
    pub metrics: Metrics,
    /// What all random decisions follow from, the ids of members of consumer groups among them: clients in one group need seeds of their own.
    /// `None` (the default) draws a new one for each client.
    pub seed: Option<u64>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: Vec::new(),
            bootstrap_controllers: Vec::new(),
            client_id: "pat-events".to_string(),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            metadata_max_age: Duration::from_secs(300),
            metadata_max_idle: Duration::from_secs(300),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            connections_max_idle: Duration::from_secs(540),
            max_frame_bytes: 128 << 20,
            allow_auto_create_topics: false,
            metrics_push: true,
            producers_buffer_bytes: None,
            consumers_buffer_bytes: None,
            security: SecurityConfig::default(),
            transport: Arc::new(TcpTransport),
            clock: Clock::system(),
            observer: default_observer(),
            metrics: Metrics::default(),
            seed: None,
        }
    }
}

impl ClientConfig {
    /// The defaults, with `bootstrap_servers` (`host:port`, commas between several).
    pub fn new(bootstrap_servers: &str) -> Self {
        Self {
            bootstrap_servers: list(bootstrap_servers),
            ..Self::default()
        }
    }

    /// The bootstrap addresses, read: of brokers, or of controllers.
    pub fn bootstrap_addresses(&self) -> Result<Vec<Address>> {
        let addresses = match (&self.bootstrap_servers[..], &self.bootstrap_controllers[..]) {
            ([], []) => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "bootstrap.servers is not set: name at least one broker, such as localhost:9092",
                ));
            }
            (servers, []) => servers,
            ([], controllers) => controllers,
            _ => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "bootstrap.servers and bootstrap.controllers are both set: a client speaks with brokers or with controllers",
                ));
            }
        };
        addresses.iter().map(|text| text.parse()).collect()
    }

    /// Whether the client speaks with controllers, not with brokers.
    pub(crate) fn is_of_controllers(&self) -> bool {
        !self.bootstrap_controllers.is_empty()
    }

    /// Fails for what reads or writes records, where there are none.
    pub(crate) fn check_has_brokers(&self) -> Result<()> {
        match self.is_of_controllers() {
            false => Ok(()),
            true => Err(Error::new(
                ErrorKind::Config,
                "bootstrap.controllers is for admins alone: controllers have no records, set bootstrap.servers",
            )),
        }
    }

    /// Tells the observer, if there is one.
    pub(crate) fn tell<'a>(&self, event: impl FnOnce() -> ClientEvent<'a>) {
        tell(&self.observer, event);
    }

    /// A generator of random numbers for `purpose`: two purposes get different numbers from one seed.
    pub(crate) fn random(&self, purpose: &str) -> Random {
        match self.seed {
            Some(seed) => {
                // DefaultHasher::new() has fixed keys: the same purpose hashes alike in every run.
                let mut hasher = DefaultHasher::new();
                (seed, purpose).hash(&mut hasher);
                Random::seeded(hasher.finish())
            }
            None => Random::from_system(),
        }
    }
}

fn default_observer() -> Option<Arc<dyn Observer>> {
    #[cfg(feature = "tracing")]
    return Some(Arc::new(crate::kafka::observe::Tracing::default()));
    #[cfg(not(feature = "tracing"))]
    None
}

const FRAME_BYTES: Kind<usize> =
    Kind::number::<1_000, MAX_BYTES>("a number of bytes from 1000 to 2147483647");

set_by_name!(ClientConfig);

impl Configuration for ClientConfig {
    type Base = SecurityConfig;

    const PROPERTIES: &'static [Property<Self>] = properties! {
        "bootstrap.servers": ADDRESSES => bootstrap_servers;
        "bootstrap.controllers": ADDRESSES => bootstrap_controllers;
        "client.id": TEXT => client_id;
        "request.timeout.ms": POSITIVE_MILLIS => request_timeout;
        "socket.connection.setup.timeout.ms": POSITIVE_MILLIS => connect_timeout;
        "metadata.max.age.ms": POSITIVE_MILLIS => metadata_max_age;
        "metadata.max.idle.ms": POSITIVE_MILLIS => metadata_max_idle;
        "reconnect.backoff.ms": MILLIS => reconnect_backoff;
        "reconnect.backoff.max.ms": MILLIS => reconnect_backoff_max;
        "retry.backoff.ms": MILLIS => retry_backoff;
        "retry.backoff.max.ms": MILLIS => retry_backoff_max;
        "connections.max.idle.ms": POSITIVE_MILLIS => connections_max_idle;
        "allow.auto.create.topics": FLAG => allow_auto_create_topics;
        "enable.metrics.push": FLAG => metrics_push;
        "receive.message.max.bytes": FRAME_BYTES => max_frame_bytes;
        "producers.buffer.memory": BYTES => producers_buffer_bytes;
        "consumers.buffer.memory": BYTES => consumers_buffer_bytes;
    };

    fn base(&mut self) -> Option<&mut SecurityConfig> {
        Some(&mut self.security)
    }

    fn check(&self) -> Result<()> {
        self.security.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_what_the_documentation_says() {
        let config = ClientConfig::default();
        assert!(config.bootstrap_servers.is_empty());
        assert!(config.bootstrap_controllers.is_empty());
        assert_eq!(config.client_id, "pat-events");
        assert_eq!(config.request_timeout, Duration::from_secs(30));
        assert_eq!(config.connect_timeout, Duration::from_secs(10));
        assert_eq!(config.metadata_max_age, Duration::from_secs(300));
        assert_eq!(config.metadata_max_idle, Duration::from_secs(300));
        assert_eq!(config.reconnect_backoff, Duration::from_millis(50));
        assert_eq!(config.reconnect_backoff_max, Duration::from_secs(1));
        assert_eq!(config.retry_backoff, Duration::from_millis(100));
        assert_eq!(config.retry_backoff_max, Duration::from_secs(1));
        assert_eq!(config.connections_max_idle, Duration::from_secs(540));
        assert_eq!(config.max_frame_bytes, 134_217_728);
        assert!(!config.allow_auto_create_topics);
        assert!(config.metrics_push);
        assert_eq!(config.producers_buffer_bytes, None);
        assert_eq!(config.consumers_buffer_bytes, None);
        assert_eq!(config.seed, None);
    }

    #[test]
    fn a_client_speaks_with_brokers_or_with_controllers() {
        let config = |pairs: &[(&str, &str)]| {
            ClientConfig::from_properties(pairs.iter().copied()).expect("good properties")
        };
        let (servers, controllers) = (
            ("bootstrap.servers", "a:1"),
            ("bootstrap.controllers", "b:2"),
        );
        for (pairs, wanted) in [
            (&[servers][..], Some("a:1")),
            (&[controllers], Some("b:2")),
            (&[servers, controllers], None),
            (&[], None),
        ] {
            let addresses = config(pairs).bootstrap_addresses();
            let addresses = addresses.ok().map(|it| it[0].to_string());
            assert_eq!(addresses.as_deref(), wanted, "{pairs:?}");
        }
        assert!(config(&[servers]).check_has_brokers().is_ok());
        let error = config(&[controllers]).check_has_brokers();
        assert_eq!(error.expect_err("no records").kind(), ErrorKind::Config);
    }

    #[test]
    fn every_property_sets_its_own_field_and_refuses_nonsense() {
        let default = format!("{:?}", ClientConfig::default());
        for row in ClientConfig::PROPERTIES {
            let good = match row.name {
                "bootstrap.servers" | "bootstrap.controllers" => "kafka:9092",
                "client.id" => "mailer",
                "allow.auto.create.topics" => "TRUE",
                "enable.metrics.push" => "false",
                _ => "12345",
            };
            let mut config = ClientConfig::default();
            (row.set)(&mut config, good).expect("an allowed value");
            assert_ne!(format!("{config:?}"), default, "{} sets nothing", row.name);
            let mut config = ClientConfig::default();
            assert!(
                (row.set)(&mut config, " ").is_none(),
                "{} takes nothing",
                row.name
            );
            assert_eq!(format!("{config:?}"), default);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_for_one_purpose_and_others_for_another() {
        let config = ClientConfig {
            seed: Some(1),
            ..ClientConfig::default()
        };
        let first = |purpose| config.random(purpose).next_u64();
        assert_eq!(first("jitter"), first("jitter"));
        assert_ne!(first("jitter"), first("sticky"));
    }
}
