//! The state that the nodes share: settings, nodes, topics, groups, sessions, faults.
//!
//! Locking: each lock guards one thing, is held for one step that never awaits, and nothing else is locked meanwhile, but for
//! randomness, which is always locked last. The directory says which topics and nodes there are; a partition's own lock says who leads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use protocol::{ApiKey, ErrorCode, Uuid, VersionRange};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::api::ClientQuotas;
use super::configs::{GroupConfig, Own, Refusal};
use super::faults::Faults;
use super::fetch_session::FetchSessions;
use super::groups::{Committed, GroupSettings, Groups, OffsetKey};
use super::lock;
use super::log::Log;
use super::partition::Partition;
use super::producer_ids::ProducerIds;
use super::quota::Quota;
use super::random::Random;
use super::security::{Security, SecuritySettings};
use super::share::{IdPartition, SessionKey, ShareSessions, ShareSettings, Shares};
use super::storage::{Change, DataDir, DirectoryStore, Key, TopicNote, storage_error};
use super::telemetry::Telemetry;
use super::topic::{Topic, name_problem, names_collide};
use super::topic_index::TopicIndex;
use super::topic_settings::TopicSettings;
use super::transactions::{Moment, TransactionCoordinator, TransactionSettings};
use super::wall_clock::WallClock;

/// How long it waits before what could not be kept is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// What the whole cluster is set to.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) default_partitions: i32,
    pub(crate) default_replication_factor: i16,
    pub(crate) auto_create_topics: bool,
    pub(crate) topic: TopicSettings,
    pub(crate) groups: GroupSettings,
    pub(crate) shares: ShareSettings,
    pub(crate) transactions: TransactionSettings,
    /// The most that one Fetch response holds.
    pub(crate) fetch_max_bytes: usize,
    pub(crate) max_request_bytes: usize,
    /// Kafka's `offset.metadata.max.bytes`.
    pub(crate) offset_metadata_max_bytes: usize,
    /// The epoch of a new producer id.
    pub(crate) first_producer_epoch: i16,
    /// APIs that are offered in fewer versions than we could speak, or not at all.
    pub(crate) versions: BTreeMap<ApiKey, Option<VersionRange>>,
    /// Bytes a second that each client id may produce.
    pub(crate) producer_byte_rate: Option<NonZeroU64>,
    pub(crate) wall_clock: WallClock,
    /// Whether clients may tell what they measure.
    pub(crate) client_telemetry: bool,
    pub(crate) security: SecuritySettings,
}

/// Where a node can be reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Endpoint {
    pub(crate) node: i32,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[derive(Debug)]
struct Node {
    endpoint: Endpoint,
    running: bool,
}

/// Which nodes and topics there are.
#[derive(Debug)]
pub(crate) struct Directory {
    nodes: BTreeMap<i32, Node>,
    pub(super) topics: BTreeMap<String, Arc<Topic>>,
    /// Of the topics as they are, once somebody has asked for it.
    index: OnceLock<Arc<TopicIndex>>,
    pub(super) names: BTreeMap<Uuid, String>,
    coordinators: BTreeMap<String, i32>,
    /// Topics created so far: leaders of one begin where those of the last one did not.
    pub(super) created: usize,
    /// How often something of this may have changed: what the offset of the metadata is in Kafka.
    changes: i64,
    /// How often another node has become the controller.
    controller_epoch: i32,
}

/// A topic to be created.
#[derive(Clone, Debug)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    /// The replicas of each partition, the preferred leader first.
    pub(crate) replicas: Vec<Vec<i32>>,
    pub(crate) settings: TopicSettings,
}

/// All that the nodes of one cluster share.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) id: String,
    pub(crate) settings: Settings,
    pub(crate) security: Security,
    /// Where everything is kept that outlives the broker; nothing does without one.
    pub(crate) data: Option<Arc<DataDir>>,
    /// Encrypts connections; none where they are not.
    #[cfg(feature = "tls-rustls")]
    pub(crate) acceptor: Option<super::server::Acceptor>,
    directory: RwLock<Directory>,
    pub(crate) groups: Mutex<Groups>,
    pub(crate) transactions: Mutex<TransactionCoordinator>,
    /// Tells the keeper of the time of groups and transactions that a deadline may have come nearer.
    pub(crate) groups_changed: Notify,
    sessions: BTreeMap<i32, Mutex<FetchSessions>>,
    /// What share groups have acquired and acknowledged.
    pub(crate) shares: Mutex<Shares>,
    share_sessions: BTreeMap<i32, Mutex<ShareSessions>>,
    pub(crate) faults: Mutex<Faults>,
    /// What clients have produced of late, where that is limited.
    pub(crate) produce_quota: Option<Mutex<Quota>>,
    /// What clients are to keep to, as they were told.
    pub(crate) client_quotas: Mutex<ClientQuotas>,
    /// What clients have told of what they measure.
    pub(crate) telemetry: Mutex<Telemetry>,
    pub(crate) random: Mutex<Random>,
    pub(super) producer_ids: Mutex<ProducerIds>,
    next_connection: AtomicU64,
    /// How many there are now.
    open_connections: AtomicUsize,
    /// Stands for records in a response until they are written; never read.
    pub(crate) placeholder: Bytes,
}

impl Cluster {
    pub(crate) fn new(mut settings: Settings, endpoints: Vec<Endpoint>, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let placeholder = settings
            .fetch_max_bytes
            .max(settings.topic.max_message_bytes);
        let sessions = endpoints
            .iter()
            .map(|endpoint| (endpoint.node, Mutex::default()))
            .collect();
        let share_sessions = endpoints
            .iter()
            .map(|endpoint| (endpoint.node, Mutex::default()))
            .collect();
        let nodes = endpoints
            .into_iter()
            .map(|endpoint| {
                (
                    endpoint.node,
                    Node {
                        endpoint,
                        running: true,
                    },
                )
            })
            .collect();
        Self {
            id: random.uuid().to_string(),
            directory: RwLock::new(Directory {
                nodes,
                topics: BTreeMap::new(),
                index: OnceLock::new(),
                names: BTreeMap::new(),
                coordinators: BTreeMap::new(),
                created: 0,
                changes: 1,
                controller_epoch: 1,
            }),
            security: Security::new(std::mem::take(&mut settings.security)),
            data: None,
            #[cfg(feature = "tls-rustls")]
            acceptor: None,
            groups: Mutex::new(Groups::new(settings.groups.clone())),
            transactions: Mutex::new(TransactionCoordinator::new(settings.transactions.clone())),
            groups_changed: Notify::new(),
            sessions,
            shares: Mutex::new(Shares::new(settings.shares.clone())),
            share_sessions,
            faults: Mutex::default(),
            produce_quota: settings
                .producer_byte_rate
                .map(|rate| Mutex::new(Quota::new(rate))),
            client_quotas: Mutex::default(),
            telemetry: Mutex::default(),
            random: Mutex::new(random),
            producer_ids: Mutex::default(),
            next_connection: AtomicU64::new(0),
            open_connections: AtomicUsize::new(0),
            // Zeroed memory that nobody touches costs address space only.
            placeholder: Bytes::from(vec![0; placeholder]),
            settings,
        }
    }

    /// With this on every connection.
    #[cfg(feature = "tls-rustls")]
    pub(crate) fn encrypted(mut self, acceptor: Option<super::server::Acceptor>) -> Self {
        self.acceptor = acceptor;
        self
    }

    pub(crate) fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn directory_mut(&self) -> RwLockWriteGuard<'_, Directory> {
        let directory = self.directory.write();
        let mut directory = directory.unwrap_or_else(PoisonError::into_inner);
        directory.changes = directory.changes.saturating_add(1);
        directory
    }

    pub(crate) fn sessions(&self, node: i32) -> Option<&Mutex<FetchSessions>> {
        self.sessions.get(&node)
    }

    pub(crate) fn share_sessions(&self, node: i32) -> Option<&Mutex<ShareSessions>> {
        self.share_sessions.get(&node)
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// A client is connected, until [`connection_ended`](Self::connection_ended).
    pub(crate) fn connection_began(&self) {
        self.open_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// How many clients' connections are open.
    pub(crate) fn open_connections(&self) -> usize {
        self.open_connections.load(Ordering::Relaxed)
    }

    /// A connection to `node` is gone: with it go the share sessions that began on it, and what was held in them is others'.
    pub(crate) fn connection_ended(&self, node: i32, connection: u64) {
        self.open_connections.fetch_sub(1, Ordering::Relaxed);
        let Some(sessions) = self.share_sessions(node) else {
            return;
        };
        let gone = lock(sessions).disconnected(connection);
        for (key, ids) in gone {
            self.share_session_ended(node, &key, ids);
        }
    }

    /// What a member has held in a session with `node` is others', where that node leads still: another leader knows nothing of the session.
    pub(crate) fn share_session_ended(
        &self,
        node: i32,
        (group, member): &SessionKey,
        mut ids: BTreeSet<IdPartition>,
    ) {
        ids.retain(|(id, index)| {
            let topic = self.directory().topic_by_id(id);
            let partition = topic.as_ref().and_then(|topic| topic.partition(*index));
            partition.is_some_and(|partition| partition.leader == Some(node))
        });
        lock(&self.shares).release(group, member, &ids);
        self.wake_share_fetches(&ids);
    }

    /// There may be something to acquire of these partitions.
    pub(crate) fn wake_share_fetches(&self, ids: &BTreeSet<IdPartition>) {
        for (id, index) in ids {
            let topic = self.directory().topic_by_id(id);
            if let Some(mut partition) = topic.as_ref().and_then(|topic| topic.partition(*index)) {
                partition.wake();
            }
        }
    }

    /// What time it is.
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            instant: Instant::now(),
            ms: self.settings.wall_clock.now_ms(),
        }
    }

    /// A producer id that was never given away. With a data directory [`ensure_producer_ids`](Self::ensure_producer_ids) comes before.
    pub(crate) fn next_producer_id(&self) -> i64 {
        lock(&self.producer_ids).next()
    }

    /// Sees to it that there are producer ids for a request. May block.
    pub(crate) fn ensure_producer_ids(&self) -> Result<(), ErrorCode> {
        lock(&self.producer_ids).ensure(|changes| self.keep(changes))
    }

    /// Aborts transactions that took too long. May block.
    fn expire_transactions(&self) -> Result<(), ErrorCode> {
        // Where epochs are used up it takes a producer id.
        self.ensure_producer_ids()?;
        lock(&self.transactions).expire(|| self.next_producer_id(), self.moment());
        Ok(())
    }

    /// Keeps changes of what outlives the broker, all or none; without a data directory nothing does. May block.
    pub(crate) fn keep(&self, changes: &[Change]) -> Result<(), ErrorCode> {
        match &self.data {
            Some(data) if !changes.is_empty() => data.write(changes).map_err(storage_error),
            _ => Ok(()),
        }
    }

    /// As [`keep`](Self::keep), with one change that is only made where it is kept.
    pub(crate) fn keep_with(&self, change: impl FnOnce() -> Change) -> Result<(), ErrorCode> {
        match self.data {
            Some(_) => self.keep(&[change()]),
            None => Ok(()),
        }
    }

    /// Where the batches of a new topic's partitions go.
    fn new_partitions(
        &self,
        (name, id, settings): (&str, Uuid, &TopicSettings),
        replicas: Vec<Vec<i32>>,
        first: usize,
    ) -> Vec<Partition> {
        let new = |(index, replicas): (i32, Vec<i32>)| {
            let log = match &self.data {
                Some(data) => {
                    let folder = settings.folder(name, id, index);
                    Log::kept_in(Box::new(DirectoryStore::new(data.clone(), &folder)))
                }
                None => Log::default(),
            };
            Partition::new(replicas, log)
        };
        let first = i32::try_from(first).unwrap_or(i32::MAX);
        (first..).zip(replicas).map(new).collect()
    }

    /// Keeps what a topic is, with so many partitions.
    fn keep_topic(
        &self,
        (name, id, settings): (&str, Uuid, &TopicSettings),
        replicas: Vec<Vec<i32>>,
    ) -> Result<(), ErrorCode> {
        if self.data.is_none() {
            return Ok(());
        }
        let note = TopicNote {
            name: name.to_owned(),
            replicas,
            configs: settings.configs.clone(),
        };
        self.keep(&[Change::put(&Key::Topic(id), &note.to_bytes())])
    }

    /// The versions in which an API is offered; none when it is not.
    pub(crate) fn versions(&self, api: ApiKey, spoken: VersionRange) -> Option<VersionRange> {
        // As Kafka without a plugin that takes it.
        let is_telemetry =
            [ApiKey::GET_TELEMETRY_SUBSCRIPTIONS, ApiKey::PUSH_TELEMETRY].contains(&api);
        if is_telemetry && !self.settings.client_telemetry {
            return None;
        }
        let two_phase_commit = self.settings.transactions.two_phase_commit;
        let spoken = match api {
            ApiKey::INIT_PRODUCER_ID if !two_phase_commit => {
                let without = VersionRange { min: 0, max: 5 };
                spoken.intersection(without)?
            }
            _ => spoken,
        };
        match self.settings.versions.get(&api) {
            Some(restricted) => restricted
                .as_ref()
                .and_then(|range| range.intersection(spoken)),
            None => Some(spoken),
        }
    }

    /// Creates a topic; fails when there is one of this name, or one with a name too much like it.
    pub(crate) fn create_topic(&self, new: NewTopic) -> Result<Arc<Topic>, ErrorCode> {
        let id = lock(&self.random).uuid();
        let mut directory = self.directory_mut();
        directory.check_free(&new.name)?;
        let of = (new.name.as_str(), id, &new.settings);
        self.keep_topic(of, new.replicas.clone())?;
        let partitions = self.new_partitions(of, new.replicas, 0);
        let topic = Arc::new(Topic::new(new.name.clone(), id, new.settings, partitions));
        let expiration = self.settings.transactions.producer_id_expiration;
        // Nobody else knows these partitions yet, so locking them here can't meet anyone.
        for mut partition in topic.partitions() {
            partition.producers.set_expiration(expiration);
            for node in directory.nodes.values().filter(|node| !node.running) {
                partition.node_stopped(node.endpoint.node);
            }
        }
        directory.names.insert(id, new.name.clone());
        directory.topics.insert(new.name, topic.clone());
        directory.index.take();
        directory.created += 1;
        Ok(topic)
    }

    /// Adds partitions to a topic until it has `total`; fails unless it has fewer. Requests under way go on with those that there were.
    /// The new ones are kept by these nodes, where they are given.
    pub(crate) fn add_partitions(
        &self,
        name: &str,
        total: i32,
        placed: Option<Vec<Vec<i32>>>,
    ) -> Result<(), ErrorCode> {
        let mut directory = self.directory_mut();
        let topic = directory
            .topic(name)
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let missing = usize::try_from(total)
            .ok()
            .and_then(|total| total.checked_sub(topic.partition_count()))
            .filter(|missing| *missing > 0)
            .ok_or(ErrorCode::INVALID_PARTITIONS)?;
        let replication = self.settings.default_replication_factor;
        let new = placed.unwrap_or_else(|| {
            let placed = directory.place(total, replication).into_iter();
            placed.skip(topic.partition_count()).collect()
        });
        if new.len() != missing {
            // Somebody else has added some meanwhile.
            return Err(ErrorCode::INVALID_PARTITIONS);
        }
        let of = (name, topic.id, &topic.settings);
        if self.data.is_some() {
            let old = topic
                .partitions()
                .map(|partition| partition.replicas.clone());
            self.keep_topic(of, old.chain(new.iter().cloned()).collect())?;
        }
        let grown = topic.grown(self.new_partitions(of, new, topic.partition_count()));
        let expiration = self.settings.transactions.producer_id_expiration;
        for mut partition in grown.partitions().skip(topic.partition_count()) {
            partition.producers.set_expiration(expiration);
        }
        for node in directory.nodes.values().filter(|node| !node.running) {
            // Those that there were know already.
            for mut partition in grown.partitions().skip(topic.partition_count()) {
                partition.node_stopped(node.endpoint.node);
            }
        }
        directory.topics.insert(name.to_owned(), Arc::new(grown));
        directory.index.take();
        Ok(())
    }

    /// Gives a topic the settings that `settle` makes of its own configurations, unless they are only to be checked: what is appended from now on keeps
    /// to them. May block.
    pub(crate) fn alter_topic(
        &self,
        name: &str,
        validate_only: bool,
        settle: impl FnOnce(&Own) -> Result<TopicSettings, Refusal>,
    ) -> Result<(), Refusal> {
        let altered = {
            let mut directory = self.directory_mut();
            let Some(topic) = directory.topic(name) else {
                settle(&Own::new())?;
                return Err(unknown_topic(name));
            };
            let settings = settle(&topic.settings.configs)?;
            if validate_only {
                return Ok(());
            }
            let altered = Arc::new(topic.altered(settings));
            if self.data.is_some() {
                let replicas = topic.partitions();
                let replicas = replicas.map(|partition| partition.replicas.clone());
                let kept = self.keep_topic((name, topic.id, &altered.settings), replicas.collect());
                kept.map_err(|error| (error, None))?;
            }
            directory.topics.insert(name.to_owned(), altered.clone());
            altered
        };
        let TopicSettings {
            segment_bytes,
            retention_bytes,
            ..
        } = altered.settings;
        for mut partition in altered.partitions() {
            partition.bound(segment_bytes as u64, retention_bytes);
        }
        Ok(())
    }

    /// Lets a group have these configurations.
    pub(crate) fn set_group_config(&self, group: &str, config: GroupConfig) {
        let settings = config.group(&self.settings.groups);
        let own = (!config.own().is_empty()).then_some(settings);
        lock(&self.groups).set_settings(group, own);
        lock(&self.shares).set_config(group, config);
    }

    /// Creates a topic with the defaults, as a Metadata request may ask for.
    pub(crate) fn auto_create(&self, name: &str) -> Result<Arc<Topic>, ErrorCode> {
        let (partitions, replication) = (
            self.settings.default_partitions,
            self.settings.default_replication_factor,
        );
        let replicas = self.directory().place(partitions, replication);
        self.create_topic(NewTopic {
            name: name.to_owned(),
            replicas,
            settings: self.settings.topic.clone(),
        })
    }

    /// Deletes a topic and what was committed for it; fails when there is none. May block.
    pub(crate) fn delete_topic(&self, name: &str) -> Result<Arc<Topic>, ErrorCode> {
        let topic = {
            let mut directory = self.directory_mut();
            let topic = directory
                .topic(name)
                .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
            self.forget_topic(&topic)?;
            directory.topics.remove(name);
            directory.names.remove(&topic.id);
            directory.index.take();
            topic
        };
        if let Some(data) = &self.data {
            // Files go when it is sure that nothing will look for them.
            data.settle().map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
        }
        topic
            .partitions()
            .for_each(|mut partition| partition.delete());
        lock(&self.groups).topic_deleted(name);
        lock(&self.transactions).retry_markers(Instant::now());
        self.groups_changed.notify_one();
        lock(&self.shares).topic_deleted(&topic.id);
        Ok(topic)
    }

    fn forget_topic(&self, topic: &Topic) -> Result<(), ErrorCode> {
        let Some(data) = &self.data else {
            return Ok(());
        };
        let id = topic.id;
        self.keep(&[Change::remove(&Key::Topic(id))])?;
        // What else is known of it means nothing at the next start, without the topic.
        data.forget(|key| key.topic_id() != Some(id));
        Ok(())
    }

    /// What a group has committed for the topics that there are.
    pub(crate) fn committed(&self, group_id: &str) -> BTreeMap<OffsetKey, Committed> {
        let committed = lock(&self.groups).offsets(group_id).cloned();
        let mut committed = committed.unwrap_or_default();
        let directory = self.directory();
        committed.retain(|key, committed| {
            let topic = directory.topics.get(&key.topic);
            topic.is_some_and(|topic| topic.id == committed.topic_id)
        });
        committed
    }

    /// A node went down: its partitions are led by others, its coordinators move, its sessions are gone.
    pub(crate) fn node_stopped(&self, id: i32, now: Instant) {
        self.change_node(id, false, now, |partition| partition.node_stopped(id));
        if let Some(sessions) = self.sessions(id) {
            lock(sessions).clear();
        }
        if let Some(sessions) = self.share_sessions(id) {
            lock(sessions).clear();
        }
    }

    /// A node is back.
    pub(crate) fn node_started(&self, id: i32, now: Instant) {
        self.change_node(id, true, now, |partition| partition.node_started(id));
    }

    fn change_node(&self, id: i32, running: bool, now: Instant, change: impl Fn(&mut Partition)) {
        let mut ids = lock(&self.groups).ids();
        ids.append(&mut lock(&self.transactions).ids());
        let mut moved = BTreeSet::new();
        let topics: Vec<_> = {
            let mut directory = self.directory_mut();
            let before: Vec<_> = ids.iter().map(|id| directory.coordinator_id(id)).collect();
            let controller = directory.controller();
            if let Some(node) = directory.nodes.get_mut(&id) {
                node.running = running;
            }
            if directory.controller() != controller {
                directory.controller_epoch = directory.controller_epoch.saturating_add(1);
            }
            for (id, before) in ids.into_iter().zip(before) {
                if directory.coordinator_id(&id) != before {
                    moved.insert(id);
                }
            }
            directory.topics.values().cloned().collect()
        };
        for topic in topics {
            topic
                .partitions()
                .for_each(|mut partition| change(&mut partition));
        }
        lock(&self.groups).coordinator_moved(|id| moved.contains(id), now);
        {
            let mut transactions = lock(&self.transactions);
            transactions.coordinator_moved(|id| moved.contains(id), now);
            transactions.retry_markers(now);
        }
        self.groups_changed.notify_one();
    }

    /// Makes `node` the coordinator of a group or transactional id.
    pub(crate) fn move_coordinator(&self, key: &str, node: i32, now: Instant) {
        self.directory_mut()
            .coordinators
            .insert(key.to_owned(), node);
        lock(&self.groups).coordinator_moved(|id| id == key, now);
        lock(&self.transactions).coordinator_moved(|id| id == key, now);
        self.groups_changed.notify_one();
    }
}

fn unknown_topic(name: &str) -> Refusal {
    let text = format!("The topic '{name}' does not exist.");
    (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some(text))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(data) = &self.data {
            data.close();
        }
    }
}

/// Lets groups, the locks of share groups, and transactions time out for as long as it runs, and writes markers that had to wait.
pub(crate) async fn keep_groups_time(cluster: Arc<Cluster>) {
    loop {
        let next = lock(&cluster.groups).next_deadline();
        let next_lock = lock(&cluster.shares).next_deadline();
        let next_transaction = lock(&cluster.transactions).next_deadline();
        let next = next
            .into_iter()
            .chain(next_lock)
            .chain(next_transaction)
            .min();
        let passed = async {
            match next {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = cluster.groups_changed.notified() => {}
            () = passed => {
                let now = Instant::now();
                lock(&cluster.groups).expire(now);
                let given_back = lock(&cluster.shares).expire(now);
                cluster.wake_share_fetches(&given_back);
                end_transactions(&cluster).await;
            }
        }
    }
}

/// Aborts transactions that took too long, and writes markers, where that holds up nobody.
async fn end_transactions(cluster: &Arc<Cluster>) {
    let end = |cluster: &Cluster| {
        let expired = cluster.expire_transactions();
        cluster.write_markers();
        expired.is_ok()
    };
    let done = match cluster.data.is_none() {
        true => end(cluster),
        false => {
            let cluster = cluster.clone();
            let done = tokio::task::spawn_blocking(move || end(&cluster)).await;
            // One that panics is tried again.
            done.unwrap_or(false)
        }
    };
    if !done {
        tokio::time::sleep(RETRY).await;
    }
}

impl Directory {
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.get(name).cloned()
    }

    pub(crate) fn topic_by_id(&self, id: &Uuid) -> Option<Arc<Topic>> {
        self.topics.get(self.names.get(id)?).cloned()
    }

    /// Which topics there are now. The same one until that changes.
    pub(crate) fn index(&self) -> Arc<TopicIndex> {
        let index = || {
            let topics = self.topics.values().map(|topic| {
                let partitions = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
                (topic.name.clone(), topic.id, partitions)
            });
            Arc::new(TopicIndex::new(topics))
        };
        self.index.get_or_init(index).clone()
    }

    /// All topics, by name.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// The nodes that run, by id.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Endpoint> {
        self.nodes
            .values()
            .filter(|node| node.running)
            .map(|node| &node.endpoint)
    }

    /// All nodes, by id.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.nodes.values().map(|node| &node.endpoint)
    }

    pub(crate) fn is_running(&self, id: i32) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.running)
    }

    pub(crate) fn endpoint(&self, id: i32) -> Option<&Endpoint> {
        self.nodes.get(&id).map(|node| &node.endpoint)
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The node that does what a KRaft controller does: the first that runs.
    pub(crate) fn controller(&self) -> i32 {
        self.running().next().map_or(-1, |endpoint| endpoint.node)
    }

    /// How far the metadata has come: the epoch of the controller, and how often it has changed.
    pub(crate) fn version(&self) -> (i32, i64) {
        (self.controller_epoch, self.changes)
    }

    /// The running node that coordinates a group or transactional id.
    pub(crate) fn coordinator(&self, key: &str) -> Option<&Endpoint> {
        let moved = self
            .coordinators
            .get(key)
            .and_then(|id| self.nodes.get(id))
            .filter(|node| node.running);
        if let Some(node) = moved {
            return Some(&node.endpoint);
        }
        let hash = key.bytes().fold(0usize, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        });
        let home = self
            .nodes
            .values()
            .nth(hash % self.nodes.len().max(1))
            .filter(|node| node.running);
        home.map(|node| &node.endpoint)
            .or_else(|| self.running().next())
    }

    fn coordinator_id(&self, key: &str) -> Option<i32> {
        self.coordinator(key).map(|endpoint| endpoint.node)
    }

    /// Replicas for a new topic: leaders and followers go round the nodes.
    pub(crate) fn place(&self, partitions: i32, replication_factor: i16) -> Vec<Vec<i32>> {
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        let replication_factor = usize::try_from(replication_factor)
            .unwrap_or(1)
            .min(ids.len());
        let replica =
            |partition: usize, index: usize| ids[(self.created + partition + index) % ids.len()];
        let replicas = |partition: usize| {
            (0..replication_factor)
                .map(|index| replica(partition, index))
                .collect()
        };
        (0..usize::try_from(partitions).unwrap_or(0))
            .map(replicas)
            .collect()
    }

    /// Whether a topic of this name may be created.
    pub(crate) fn check_free(&self, name: &str) -> Result<(), ErrorCode> {
        if self.topics.contains_key(name) {
            return Err(ErrorCode::TOPIC_ALREADY_EXISTS);
        }
        let collides =
            name.contains(['.', '_']) && self.topics.keys().any(|other| names_collide(other, name));
        if name_problem(name).is_some() || collides {
            return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
        }
        Ok(())
    }
}
