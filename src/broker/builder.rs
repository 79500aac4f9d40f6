//! How a cluster is set up before it starts.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use protocol::{ApiKey, VersionRange};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::cluster::{Cluster, Endpoint, Settings};
use super::groups::{GroupSettings, MigrationPolicy};
use super::handle::Broker;
use super::security::{Acl, Acls, Hash, SecuritySettings, TokenValidator};
use super::server::Listener;
#[cfg(feature = "tls-rustls")]
use super::server::{Acceptor, BrokerTls};
use super::share::ShareSettings;
use super::storage::{DataDir, FsyncPolicy};
use super::topic_settings::TopicSettings;
use super::transactions::{TransactionSettings, TransactionVersion};
use super::wall_clock::WallClock;

/// The port that in-memory nodes say they have.
const IN_MEMORY_PORT: u16 = 9092;

/// Settings of a [`Broker`] that is about to start. Names and defaults are Kafka's unless said otherwise.
#[derive(Clone, Debug)]
pub struct BrokerBuilder {
    nodes: usize,
    replication_factor: Option<i16>,
    seed: Option<u64>,
    advertised_host: Option<String>,
    simulated_time_ms: Option<i64>,
    data: Option<PathBuf>,
    fsync: FsyncPolicy,
    #[cfg(feature = "tls-rustls")]
    tls: Option<BrokerTls>,
    settings: Settings,
}

impl Default for BrokerBuilder {
    fn default() -> Self {
        Self {
            nodes: 1,
            replication_factor: None,
            seed: None,
            advertised_host: None,
            simulated_time_ms: None,
            data: None,
            fsync: FsyncPolicy::default(),
            #[cfg(feature = "tls-rustls")]
            tls: None,
            settings: Settings {
                default_partitions: 6,
                default_replication_factor: 1,
                auto_create_topics: true,
                topic: TopicSettings::default(),
                groups: GroupSettings::default(),
                shares: ShareSettings::default(),
                transactions: TransactionSettings::default(),
                fetch_max_bytes: 55 * 1024 * 1024,
                max_request_bytes: 100 * 1024 * 1024,
                offset_metadata_max_bytes: 4096,
                first_producer_epoch: 0,
                versions: BTreeMap::new(),
                producer_byte_rate: None,
                wall_clock: WallClock::System,
                client_telemetry: false,
                security: SecuritySettings::default(),
            },
        }
    }
}

impl BrokerBuilder {
    /// Number of nodes, at least 1; their ids count from 1. Default 1.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes.max(1);
        self
    }

    /// Partitions of topics that are created without a number. Default 6 (Kafka: 1).
    #[must_use]
    pub fn default_partitions(mut self, partitions: i32) -> Self {
        self.settings.default_partitions = partitions.max(1);
        self
    }

    /// Replicas of topics that are created without a number. Default: one on each node, at most 3 (Kafka: 1).
    #[must_use]
    pub fn default_replication_factor(mut self, replicas: i16) -> Self {
        self.replication_factor = Some(replicas.max(1));
        self
    }

    /// Whether asking for an unknown topic creates it. Default true.
    #[must_use]
    pub fn auto_create_topics(mut self, on: bool) -> Self {
        self.settings.auto_create_topics = on;
        self
    }

    /// The most bytes that each partition keeps; the oldest batches go first. Default 256 MiB (Kafka: no bound). This bounds the
    /// broker's memory; with a [data directory](Self::data) its disk, where a quarter of it goes at a time.
    #[must_use]
    pub fn retention_bytes(mut self, bytes: u64) -> Self {
        self.settings.topic.retention_bytes = bytes;
        self
    }

    /// Keeps everything in this directory, which is created where there is none, so that a broker that is started with it later goes on where
    /// this one ends, however that was: topics and their records, committed offsets, what is known of producers and their transactions, users of SCRAM, rules and settings that
    /// clients have changed. Members of groups join again. One process at a time can use it; another is refused.
    ///
    /// Records are read from the files: what the broker holds in memory does not grow with them, but for about 40 bytes for each 100 KiB. Default:
    /// nothing outlives the broker.
    ///
    /// Not for a runtime whose clock is paused: the disk does not wait for it.
    #[must_use]
    pub fn data(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data = Some(directory.into());
        self
    }

    /// When the broker waits for the disk of its [data directory](Self::data). Default [`FsyncPolicy::Always`].
    #[must_use]
    pub fn fsync(mut self, policy: FsyncPolicy) -> Self {
        self.fsync = policy;
        self
    }

    /// The largest batch, as compressed, in bytes (`message.max.bytes`). Default 1 MiB and 12 bytes.
    #[must_use]
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.settings.topic.max_message_bytes = bytes;
        self
    }

    /// The most bytes of records in one Fetch response, whatever was asked for (`fetch.max.bytes`); one batch over it is still returned.
    /// Default 55 MiB.
    #[must_use]
    pub fn fetch_max_bytes(mut self, bytes: usize) -> Self {
        self.settings.fetch_max_bytes = bytes;
        self
    }

    /// In-sync replicas that acks=all needs (`min.insync.replicas`), of a partition that has as many. Default 1.
    #[must_use]
    pub fn min_in_sync_replicas(mut self, replicas: usize) -> Self {
        self.settings.topic.min_in_sync_replicas = replicas.max(1);
        self
    }

    /// The largest request in bytes; a longer one closes the connection (`socket.request.max.bytes`). Default 100 MiB.
    #[must_use]
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_request_bytes = bytes;
        self
    }

    /// How long the first rebalance of an empty group waits for more members (`group.initial.rebalance.delay.ms`). Default 0
    /// (Kafka: 3 s).
    #[must_use]
    pub fn initial_rebalance_delay(mut self, delay: Duration) -> Self {
        self.settings.groups.initial_rebalance_delay = delay;
        self
    }

    /// The shortest session that a group member may ask for (`group.min.session.timeout.ms`). Default 6 s.
    #[must_use]
    pub fn min_session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.groups.min_session_timeout = timeout;
        self
    }

    /// For how long a member of a consumer group (KIP-848) may be silent (`group.consumer.session.timeout.ms`). Default 45 s.
    #[must_use]
    pub fn consumer_group_session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.groups.consumer_session_timeout = timeout;
        self
    }

    /// How often members of consumer groups (KIP-848) are to send heartbeats (`group.consumer.heartbeat.interval.ms`). Default 5 s.
    #[must_use]
    pub fn consumer_group_heartbeat_interval(mut self, interval: Duration) -> Self {
        self.settings.groups.consumer_heartbeat_interval = interval;
        self
    }

    /// For how long a member of a share group (KIP-932) may be silent (`group.share.session.timeout.ms`). Default 45 s.
    #[must_use]
    pub fn share_group_session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.groups.share_session_timeout = timeout;
        self
    }

    /// How often members of share groups are to send heartbeats (`group.share.heartbeat.interval.ms`). Default 5 s.
    #[must_use]
    pub fn share_group_heartbeat_interval(mut self, interval: Duration) -> Self {
        self.settings.groups.share_heartbeat_interval = interval;
        self
    }

    /// For how long a record is locked for the member of a share group that has acquired it (`group.share.record.lock.duration.ms`). Default 30 s.
    /// A group may have its own (`share.record.lock.duration.ms`), which clients set by IncrementalAlterConfigs.
    #[must_use]
    pub fn share_record_lock_duration(mut self, duration: Duration) -> Self {
        self.settings.shares.record_lock_duration = duration;
        self
    }

    /// How often a share group delivers a record at the most (`group.share.delivery.count.limit`). Default 5. A group may have its own
    /// (`share.delivery.count.limit`).
    #[must_use]
    pub fn share_delivery_count_limit(mut self, limit: u8) -> Self {
        self.settings.shares.delivery_count_limit = i16::from(limit.max(1));
        self
    }

    /// Whether share groups begin at the beginning of their topics (`share.auto.offset.reset` = `earliest`), and not at the end of what there is when
    /// a member first fetches. Default no. A group may have its own.
    #[must_use]
    pub fn share_groups_from_earliest(mut self, on: bool) -> Self {
        self.settings.shares.from_earliest = on;
        self
    }

    /// Which groups may change over to the other protocol while they have members (`group.consumer.migration.policy`). Default
    /// [`MigrationPolicy::Bidirectional`].
    #[must_use]
    pub fn consumer_group_migration_policy(mut self, policy: MigrationPolicy) -> Self {
        self.settings.groups.migration_policy = policy;
        self
    }

    /// The level of the feature `transaction.version`, 0 to 2. Default 2: partitions come into transactions with their records, and each transaction
    /// has an epoch of its own (KIP-890). With less, clients take the older flow.
    #[must_use]
    pub fn transaction_version(mut self, level: u8) -> Self {
        let level = i8::try_from(level.min(2)).unwrap_or(2);
        self.settings.transactions.version = TransactionVersion(level);
        self
    }

    /// The longest timeout that transactions may have (`transaction.max.timeout.ms`). Default 15 minutes. A transaction is aborted as soon as its
    /// timeout has passed (Kafka looks every 10 s).
    #[must_use]
    pub fn transaction_max_timeout(mut self, timeout: Duration) -> Self {
        self.settings.transactions.max_timeout = timeout;
        self
    }

    /// For how long a transactional id is remembered that nobody uses (`transactional.id.expiration.ms`). Default 7 days.
    #[must_use]
    pub fn transactional_id_expiration(mut self, time: Duration) -> Self {
        self.settings.transactions.id_expiration = time;
        self
    }

    /// For how long partitions remember a producer that does not write (`producer.id.expiration.ms`). Default 1 day.
    #[must_use]
    pub fn producer_id_expiration(mut self, time: Duration) -> Self {
        self.settings.transactions.producer_id_expiration = time;
        self
    }

    /// Lets others coordinate transactions, which then have no timeout (KIP-939, `transaction.two.phase.commit.enable`), and offers the version of
    /// InitProducerId that says so, which Kafka 4.4 does with `unstable.api.versions.enable`. Default: no.
    #[must_use]
    pub fn two_phase_commit(mut self) -> Self {
        self.settings.transactions.two_phase_commit = true;
        self
    }

    /// How long a coordinator of transactional ids that takes over from another node answers COORDINATOR_LOAD_IN_PROGRESS. Default 0.
    #[must_use]
    pub fn coordinator_load_time(mut self, time: Duration) -> Self {
        self.settings.transactions.load_time = time;
        self
    }

    /// The most bytes of metadata that a commit may have for a partition (`offset.metadata.max.bytes`). Default 4,096.
    #[must_use]
    pub fn offset_metadata_max_bytes(mut self, bytes: usize) -> Self {
        self.settings.offset_metadata_max_bytes = bytes;
        self
    }

    /// The epoch that a new producer id of an idempotent producer comes with; Kafka's is always 0. Near `i16::MAX` it shows what producers do
    /// that have used up their epochs. Default 0.
    #[must_use]
    pub fn first_producer_epoch(mut self, epoch: i16) -> Self {
        self.settings.first_producer_epoch = epoch;
        self
    }

    /// Offers an API in these versions at most, as an older Kafka does.
    #[must_use]
    pub fn api_versions(mut self, api: ApiKey, min: i16, max: i16) -> Self {
        self.settings
            .versions
            .insert(api, Some(VersionRange { min, max }));
        self
    }

    /// Does not offer an API at all.
    #[must_use]
    pub fn without_api(mut self, api: ApiKey) -> Self {
        self.settings.versions.insert(api, None);
        self
    }

    /// Offers to clients to take what they measure (KIP-714), as a Kafka with a plugin for it. Default: no. What is wanted says
    /// [`Broker::want_telemetry`].
    #[must_use]
    pub fn client_telemetry(mut self) -> Self {
        self.settings.client_telemetry = true;
        self
    }

    /// What all of the broker's randomness comes from: ids and placement. Default: different each time.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The host that clients are told to connect to over TCP. Default: the address that is listened on, or loopback when that is all
    /// addresses.
    #[must_use]
    pub fn advertised_host(mut self, host: impl Into<String>) -> Self {
        self.advertised_host = Some(host.into());
        self
    }

    /// What each client id may produce, in bytes a second (`producer_byte_rate`): who has produced more in the last second is told to pause
    /// for as long as it takes to come back to the rate, and nothing is read from its connection meanwhile. Default: no limit. For other
    /// APIs, and for a pause of a given length, there is [`FaultAction::Throttle`](super::FaultAction::Throttle).
    #[must_use]
    pub fn producer_byte_rate(mut self, bytes_per_second: u64) -> Self {
        self.settings.producer_byte_rate = NonZeroU64::new(bytes_per_second.max(1));
        self
    }

    /// The time of day, in milliseconds since 1970, when the broker starts; it then moves with tokio's clock, which tests can pause.
    /// Records are appended at this time, and their timestamps are compared with it. Default: the system's time.
    #[must_use]
    pub fn simulated_time_ms(mut self, epoch_ms: i64) -> Self {
        self.simulated_time_ms = Some(epoch_ms);
        self
    }

    /// Encrypts all connections, those in memory as well. Default: none.
    #[cfg(feature = "tls-rustls")]
    #[must_use]
    pub fn tls(mut self, tls: BrokerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Lets in a user by SASL PLAIN. As soon as there is one for any mechanism, clients have to say who they are before they are served; they
    /// may do it by every mechanism that has a user, or a validator.
    #[must_use]
    pub fn sasl_plain(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        let users = &mut self.settings.security.plain;
        users.insert(user.into(), password.into());
        self
    }

    /// Lets in a user by SASL SCRAM-SHA-256, with 4,096 iterations: see [`sasl_plain`](Self::sasl_plain).
    #[must_use]
    pub fn scram_sha_256(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.scram(Hash::Sha256, user.into(), password.into())
    }

    /// Lets in a user by SASL SCRAM-SHA-512, with 4,096 iterations: see [`sasl_plain`](Self::sasl_plain).
    #[must_use]
    pub fn scram_sha_512(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.scram(Hash::Sha512, user.into(), password.into())
    }

    fn scram(mut self, hash: Hash, user: String, password: String) -> Self {
        let users = &mut self.settings.security.scram;
        users.insert((hash, user), password);
        self
    }

    /// Lets in by SASL OAUTHBEARER whoever has a token for which `validate` returns the user's name and until when it is good; then the
    /// session ends. It is called for each authentication, must not block, and returns nothing for a token that is no good. See
    /// [`sasl_plain`](Self::sasl_plain).
    #[must_use]
    pub fn oauth_bearer(
        mut self,
        validate: impl Fn(&str) -> Option<(String, SystemTime)> + Send + Sync + 'static,
    ) -> Self {
        self.settings.security.bearer = Some(TokenValidator(Arc::new(validate)));
        self
    }

    /// Lets a principal, such as `User:admin`, do everything (`super.users`). As soon as there is a super user, a rule, or a word on everyone,
    /// clients may do only what they are allowed to, and get the errors that Kafka has for the rest.
    #[must_use]
    pub fn super_user(mut self, principal: impl Into<String>) -> Self {
        self.acls().super_users.insert(principal.into());
        self
    }

    /// Adds a rule of who may do what: see [`super_user`](Self::super_user).
    #[must_use]
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acls().rules.insert(acl);
        self
    }

    /// Whether everyone may do everything with resources that no rule is about (`allow.everyone.if.no.acl.found`). Default false: see
    /// [`super_user`](Self::super_user).
    #[must_use]
    pub fn allow_everyone_if_no_acl_found(mut self, on: bool) -> Self {
        self.acls().everyone = on;
        self
    }

    fn acls(&mut self) -> &mut Acls {
        self.settings.security.acls.get_or_insert_default()
    }

    /// How long a client that has said who it is by SASL is believed (`connections.max.reauth.ms`); the connection of one that asks for more
    /// then, without saying it anew, is closed. Default: for good, or as long as its token is.
    #[must_use]
    pub fn max_session(mut self, lifetime: Duration) -> Self {
        self.settings.security.max_reauth = Some(lifetime);
        self
    }

    /// Starts the nodes as TCP listeners: the first on `listen`, the others on the ports after it, or on free ones when its port is 0.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When an address can't be resolved or bound, `InvalidInput` when the certificates for TLS can't be used, and when the data directory can't be
    /// used: `ResourceBusy` while another process does, `InvalidData` when something in it is damaged, and what the system says otherwise.
    pub async fn start_tcp(self, listen: &str) -> io::Result<Broker> {
        let first = tokio::net::lookup_host(listen).await?.next();
        let first = first.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{listen} has no address"))
        })?;
        let mut listeners = Vec::new();
        for (index, node) in (1..).take(self.nodes).enumerate() {
            let port = match first.port() {
                0 => 0,
                port => u16::try_from(index)
                    .ok()
                    .and_then(|index| port.checked_add(index))
                    .ok_or_else(|| {
                        io::Error::new(
                            io::ErrorKind::InvalidInput,
                            "not enough ports after the first one",
                        )
                    })?,
            };
            let listener = tokio::net::TcpListener::bind(SocketAddr::new(first.ip(), port)).await?;
            let address = listener.local_addr()?;
            let host = self.advertised_host.clone();
            let host = host.unwrap_or_else(|| reachable_host(address));
            listeners.push((
                Endpoint {
                    node,
                    host,
                    port: address.port(),
                },
                Listener::Tcp {
                    address,
                    bound: Some(listener),
                },
            ));
        }
        if self.data.is_none() {
            return self.start(listeners);
        }
        // All that has to be read takes its time.
        let runtime = Handle::current();
        let start = move || {
            let _entered = runtime.enter();
            self.start(listeners)
        };
        let started = tokio::task::spawn_blocking(start).await;
        started.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Starts the nodes without a network: [`Broker::dial`] connects to them. Must be called within a tokio runtime. With a data directory it blocks
    /// while what is in there is read.
    ///
    /// # Errors
    /// `InvalidInput` when the certificates for TLS can't be used, and when the data directory can't be used, as for [`start_tcp`](Self::start_tcp).
    pub fn start_in_memory(self) -> io::Result<Broker> {
        let endpoint = |node| Endpoint {
            node,
            host: format!("node-{node}"),
            port: IN_MEMORY_PORT,
        };
        let listeners = (1..)
            .take(self.nodes)
            .map(|node| (endpoint(node), Listener::InMemory))
            .collect();
        self.start(listeners)
    }

    fn start(mut self, listeners: Vec<(Endpoint, Listener)>) -> io::Result<Broker> {
        let nodes = i16::try_from(self.nodes).unwrap_or(i16::MAX);
        self.settings.default_replication_factor = self.replication_factor.unwrap_or(3).min(nodes);
        if let Some(epoch_ms) = self.simulated_time_ms {
            let origin = Instant::now();
            self.settings.wall_clock = WallClock::Simulated { epoch_ms, origin };
        }
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let endpoints = listeners
            .iter()
            .map(|(endpoint, _)| endpoint.clone())
            .collect();
        let cluster = Cluster::new(self.settings, endpoints, seed);
        #[cfg(feature = "tls-rustls")]
        let cluster = cluster.encrypted(self.tls.as_ref().map(Acceptor::new).transpose()?);
        let cluster = match self.data {
            Some(directory) => {
                let mut cluster = cluster;
                let data = DataDir::open(&directory, self.fsync, &cluster.id)?;
                cluster.restore(data, Instant::now())?;
                cluster
            }
            None => cluster,
        };
        Ok(Broker::start(cluster, listeners))
    }
}

/// What clients are told: they can't connect to a wildcard address.
fn reachable_host(address: SocketAddr) -> String {
    match address.ip() {
        ip if !ip.is_unspecified() => ip.to_string(),
        std::net::IpAddr::V4(_) => "127.0.0.1".into(),
        std::net::IpAddr::V6(_) => "::1".into(),
    }
}
