//! The cluster as the client sees it: who leads what, and a connection to whoever is asked for.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `changes` | what an observer is told when the metadata is news |
//! | `coordinators` | which broker coordinates a group or a transaction |
//! | `fan_out` | one question about many partitions: split by leader, merged by name |
//! | `hedge` | several attempts at one thing, each with a head start over the next |
//! | `leader_doubts` | when to believe an answer with an older leader epoch than what is known |
//! | `metadata` | brokers, topics and leaders as plain data, and how news are merged |
//! | `pool` | the connections, by broker, channel and owner |
//! | `refresh_plan` | when to ask for metadata, for which topics, and whom first |
//! | `refresh` | the task that keeps the metadata fresh, bootstrapping again when all brokers are gone |
//! | `router` | a request to the broker that it is for, and again until it is done |
//! | `telemetry` | what the client measures, told to brokers that ask |
//! | `topic_map` | topics by name, in a map whose copies share what did not change |

mod changes;
mod coordinators;
mod fan_out;
mod hedge;
mod leader_doubts;
mod metadata;
mod pool;
mod refresh;
mod refresh_plan;
mod router;
mod telemetry;
#[cfg(test)]
mod tests;
mod topic_map;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::{ErrorCode, Request};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

pub(crate) use self::coordinators::CoordinatorKind;
use self::coordinators::Coordinators;
pub(crate) use self::fan_out::{Answers, Asked, join_all, no_leader, unknown_partition};
pub(crate) use self::metadata::{
    Broker, LeaderHint, Metadata, PartitionMetadata, TopicError, TopicList, TopicMetadata,
};
pub(crate) use self::pool::Channel;
use self::pool::{ConnectionPool, Place, ProduceLanes};
pub(crate) use self::refresh::ListInterest;
use self::refresh::Refresher;
use self::refresh_plan::{Told, Until};
pub use self::router::Target;
pub(crate) use self::router::{Answer, Judged};
use self::telemetry::Telemetry;
use super::error::may_pass;
use super::model::names::check_topic;
use super::net::{Connection, FramePool};
use super::observe::BrokerMetrics;
pub(crate) use super::runtime::Backoff;
use super::runtime::tasks::Tasks;
use super::{ClientConfig, Error, ErrorKind, Random, Result};
use crate::kafka::runtime::{Budget, Decompressors, Mutex, Watcher};

/// One user's handle on a cluster: a producer's, a consumer's, an admin's. Cheap to clone. What is the user's own ends with its last handle:
/// its tasks, its connections, its interest in topics; what all of them share ends with the last user.
#[derive(Clone, Debug)]
pub(crate) struct Cluster(Arc<User>);

/// What one user has for itself.
#[derive(Debug)]
struct User {
    shared: Arc<Shared>,
    id: u64,
    tasks: Tasks,
    /// Which of the connections for produce requests is its, once it wants one.
    lane: OnceLock<usize>,
    /// The topics that it tracks.
    tracked: Mutex<BTreeSet<String>>,
    /// What it was told of failing refreshes.
    told: Mutex<Told>,
    /// Whether it counts no more among those that live.
    has_left: AtomicBool,
}

/// What all users of a cluster share.
#[derive(Debug)]
struct Shared {
    config: ClientConfig,
    refresher: Arc<Refresher>,
    coordinators: Coordinators,
    lanes: Mutex<ProduceLanes>,
    users: AtomicU64,
    /// What the producers may take together, and the consumers, where that is limited.
    producers_budget: Option<Arc<Budget>>,
    consumers_budget: Option<Arc<Budget>>,
    decompressors: Arc<Decompressors>,
    tasks: Tasks,
    refreshing: AbortHandle,
    telemetry: Telemetry,
    /// How many users there are that are not done.
    living: AtomicUsize,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.tasks.end();
        self.refreshing.abort();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if self.leave() {
            telemetry::last_push(&self.shared);
        }
        self.tasks.end();
        let refresher = &self.shared.refresher;
        refresher.connections().release(self.id);
        refresher.release(&self.tracked.lock());
        if let Some(lane) = self.lane.get() {
            self.shared.lanes.lock().leave(*lane);
        }
    }
}

impl User {
    /// It is done, or gone. Whether it was the last of those that live.
    fn leave(&self) -> bool {
        let is_first = !self.has_left.swap(true, Ordering::AcqRel);
        is_first && self.shared.living.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Cluster {
    /// A cluster that is looked for when something of it is needed first: nothing is sent before that. Must be called in a runtime.
    pub fn lazy(config: &ClientConfig) -> Result<Self> {
        let tasks = Tasks::new()?;
        let connections = ConnectionPool::new(config.clone(), FramePool::default(), tasks.clone());
        let refresher = Arc::new(Refresher::new(config, connections)?);
        let refreshing = tasks.spawn("metadata refresh", refresher.clone().run());
        let budget = |bytes: Option<usize>| bytes.map(|bytes| Budget::new(bytes, None));
        let shared = Arc::new(Shared {
            producers_budget: budget(config.producers_buffer_bytes),
            consumers_budget: budget(config.consumers_buffer_bytes),
            decompressors: Arc::default(),
            config: config.clone(),
            refresher,
            coordinators: Coordinators::default(),
            lanes: Mutex::default(),
            users: AtomicU64::new(0),
            telemetry: Telemetry::new(config),
            living: AtomicUsize::new(0),
            tasks,
            refreshing,
        });
        if config.metrics_push {
            let offered = shared.refresher.connections().telemetry_offered().clone();
            let telling = telemetry::run(Arc::downgrade(&shared), offered);
            shared.tasks.spawn("telemetry", telling);
        }
        Ok(Self::of(&shared))
    }

    /// Finds the cluster: tries every bootstrap address until one answers, again and again with pauses while that may help.
    ///
    /// Fails by `deadline` with an error that lists each address and why; sooner when no address can ever work, such as one that talks HTTP.
    pub async fn connect(config: &ClientConfig, deadline: Instant) -> Result<Self> {
        let cluster = Self::lazy(config)?;
        cluster.found(deadline).await?;
        Ok(cluster)
    }

    /// A handle for another user of the same cluster.
    pub fn for_another(&self) -> Self {
        Self::of(&self.0.shared)
    }

    fn of(shared: &Arc<Shared>) -> Self {
        let tasks = shared.tasks.child();
        let waiting = Arc::downgrade(&shared.refresher);
        tasks.on_failure(move |_| {
            if let Some(refresher) = waiting.upgrade() {
                refresher.wake_all();
            }
        });
        shared.living.fetch_add(1, Ordering::AcqRel);
        Self(Arc::new(User {
            shared: shared.clone(),
            // 0 is everybody.
            id: shared.users.fetch_add(1, Ordering::Relaxed) + 1,
            tasks,
            lane: OnceLock::new(),
            tracked: Mutex::default(),
            told: Mutex::default(),
            has_left: AtomicBool::new(false),
        }))
    }

    /// Waits until the cluster was found, and looks for it if nobody does. Fails as [`Cluster::connect`]. Cancel safe.
    pub async fn found(&self, deadline: Instant) -> Result<()> {
        self.0.tasks.check()?;
        self.refresher().bootstrapped(deadline).await
    }

    fn refresher(&self) -> &Arc<Refresher> {
        &self.0.shared.refresher
    }

    /// The user's number: no other of this cluster has it.
    pub fn user(&self) -> u64 {
        self.0.id
    }

    /// What all producers may take together, where that is limited.
    pub fn producers_budget(&self) -> Option<Arc<Budget>> {
        self.0.shared.producers_budget.clone()
    }

    /// What all consumers may take together, where that is limited.
    pub fn consumers_budget(&self) -> Option<Arc<Budget>> {
        self.0.shared.consumers_budget.clone()
    }

    /// What all consumers decompress with.
    pub fn decompressors(&self) -> Arc<Decompressors> {
        self.0.shared.decompressors.clone()
    }

    /// What went on with each broker that was dialled, by node, for all users.
    pub fn broker_metrics(&self) -> BTreeMap<i32, BrokerMetrics> {
        self.refresher().connections().metrics()
    }

    /// The user's tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// What is known now.
    pub fn metadata(&self) -> Arc<Metadata> {
        self.refresher().metadata()
    }

    /// Changes of what is known.
    pub fn watch(&self) -> Watcher<Arc<Metadata>> {
        self.refresher().watch()
    }

    /// Asks for fresh metadata soon. Many calls become one request; never blocks.
    pub fn refresh(&self) {
        self.refresher().request();
    }

    /// Asks for the topic's metadata soon, if it is of interest; never blocks.
    pub fn refresh_topic(&self, name: &str) {
        self.refresher().request_topic(name);
    }

    /// The metadata of a refresh that started after this call. Cancel safe.
    pub async fn refreshed(&self, deadline: Instant) -> Result<Arc<Metadata>> {
        self.found(deadline).await?;
        self.refresher().refreshed(deadline).await
    }

    /// The topic, of interest from now on until it is idle; waits until it is known, and asks no longer for one that does not come to be.
    ///
    /// A topic that nobody knows is asked for until `deadline`, since it may just have been created; then the error is
    /// [`ErrorKind::UnknownTopicOrPartition`]. A topic that this client may not see, or whose name cannot be, fails at once. Cancel safe.
    pub async fn topic(&self, name: &str, deadline: Instant) -> Result<Arc<TopicMetadata>> {
        check_topic(name)?;
        self.found(deadline).await?;
        let mut waiting = self.refresher().wait_for(name);
        let (mut changes, mut refreshes) = (self.watch(), self.refresher().refreshes());
        loop {
            refreshes.skip();
            self.0.tasks.check()?;
            let metadata = changes.look().clone();
            if let Some(topic) = metadata.topic(name) {
                waiting.came();
                return Ok(topic.clone());
            }
            let error = metadata.topic_errors.get(name).copied();
            if let Some(error) = error {
                let error = error.error(name);
                if !may_pass(&error) {
                    return Err(error);
                }
                self.refresher().request_topic(name);
            }
            // Also a refresh that brought nothing new: it is asked for again.
            let news = async {
                tokio::select! {
                    biased;
                    changed = changes.changed() => changed,
                    refreshed = refreshes.changed() => refreshed,
                }
            };
            if !matches!(timeout_at(deadline, news).await, Ok(Ok(()))) {
                return Err(self.unknown_topic(name, error));
            }
        }
    }

    /// Why a topic did not come by the deadline: what was said of it last, or what kept everything from being asked.
    fn unknown_topic(&self, name: &str, last: Option<TopicError>) -> Error {
        match last {
            Some(error) if error.is_unknown() => Error::new(
                ErrorKind::UnknownTopicOrPartition,
                "the topic does not exist: create it first, or check its name",
            )
            .topic(name),
            Some(error) => error.error(name),
            None => {
                let message = "the topic's metadata did not come in time";
                let error = Error::new(ErrorKind::Timeout, message).topic(name);
                self.refresher().not_in_time(error)
            }
        }
    }

    /// Keeps the metadata of these topics fresh as long as the user lives, and asks for those that are new.
    pub fn track<'a>(&self, topics: impl IntoIterator<Item = &'a str>) {
        let mut tracked = self.0.tracked.lock();
        let new = topics
            .into_iter()
            .filter(|topic| !tracked.contains(*topic) && tracked.insert(topic.to_string()));
        self.refresher().want(new, Until::Released);
    }

    /// Lets go of topics that were tracked: they are forgotten when they are idle.
    pub fn untrack<'a>(&self, topics: impl IntoIterator<Item = &'a str>) {
        let mut tracked = self.0.tracked.lock();
        let topics = topics.into_iter().filter_map(|topic| tracked.take(topic));
        self.refresher().release(&topics.collect());
    }

    /// Keeps the list of all topics fresh ([`Metadata::listed`]) as long as what is returned lives, and asks for it at once.
    pub fn list_topics(&self) -> ListInterest {
        ListInterest::new(self.refresher())
    }

    /// Keeps the metadata of these topics, which are in use now, fresh until they are idle (`metadata.max.idle.ms`), and asks for those that
    /// are new.
    pub fn used<'a>(&self, topics: impl IntoIterator<Item = &'a str>) {
        self.refresher().want(topics, Until::Idle);
    }

    /// What has kept the metadata from being refreshed for `patience`, to be told to whoever waits for anything. Returned once in that time.
    pub fn overdue(&self, patience: Duration) -> Option<Error> {
        let failing = self.refresher().failing();
        self.0
            .told
            .lock()
            .overdue(failing, Instant::now(), patience)
    }

    /// A broker named the leaders of partitions (KIP-951). What of that is news is used at once, all of one response together.
    pub fn leader_hints(&self, hints: &[LeaderHint]) {
        if !hints.is_empty() {
            let news = |known: &Metadata| known.with_leaders(hints);
            self.refresher().learn(news);
        }
    }

    /// What the broker answered for a partition that it was asked for as the leader. Where it says that it does not lead the partition, or not
    /// in the epoch that is known, the next metadata that names an older epoch is believed.
    pub fn answered_as_leader(&self, topic: &str, partition: i32, node: i32, code: ErrorCode) {
        if matches!(
            code,
            ErrorCode::NOT_LEADER_OR_FOLLOWER
                | ErrorCode::FENCED_LEADER_EPOCH
                | ErrorCode::UNKNOWN_LEADER_EPOCH
        ) {
            self.refresher().leader_refused(topic, partition, node);
        }
    }

    /// The connection to the broker on the channel. Dials when there is none, after the pause that earlier failures ask for; a failure asks
    /// for fresh metadata. Cancel safe.
    pub async fn connection(
        &self,
        node: i32,
        channel: Channel,
        deadline: Instant,
    ) -> Result<Connection> {
        self.0.tasks.check()?;
        let known = self.metadata().brokers.get(&node).cloned();
        let broker = match known {
            Some(broker) => broker,
            None => {
                let metadata = self.refreshed(deadline).await?;
                let broker = metadata.brokers.get(&node).cloned();
                broker.ok_or_else(|| gone(node))?
            }
        };
        let connections = self.refresher().connections();
        let place = self.place(node, channel);
        if let Some(connection) = connections.open(place, &broker.address) {
            return Ok(connection);
        }
        let connected = connections.connect(place, &broker.address, deadline).await;
        if connected.is_err() {
            self.refresh();
        }
        connected
    }

    /// Which connection is this user's: long polls and group members have one of their own.
    fn place(&self, node: i32, channel: Channel) -> Place {
        let owner = match channel {
            Channel::Shared => 0,
            Channel::Produce => {
                let lane = || self.0.shared.lanes.lock().join();
                *self.0.lane.get_or_init(lane) as u64
            }
            Channel::Fetch | Channel::Coordinator => self.0.id,
        };
        Place {
            node,
            channel,
            owner,
        }
    }

    /// Until when the broker wants nothing more on the open connection on the channel (KIP-219), as far as it said.
    pub fn throttled_until(&self, node: i32, channel: Channel) -> Option<Instant> {
        let metadata = self.metadata();
        let address = &metadata.brokers.get(&node)?.address;
        let place = self.place(node, channel);
        let connection = self.refresher().connections().open(place, address);
        connection?.throttled_until()
    }

    /// A connection to whichever broker answers, for short questions. Cancel safe.
    pub async fn any_connection(&self, deadline: Instant) -> Result<Connection> {
        self.found(deadline).await?;
        self.refresher().any_connection(deadline).await
    }

    /// A connection to the broker that takes requests for the controller. Cancel safe.
    pub async fn controller(&self, deadline: Instant) -> Result<Connection> {
        self.found(deadline).await?;
        let metadata = self.metadata();
        if metadata.brokers.contains_key(&metadata.controller_id) {
            return self
                .connection(metadata.controller_id, Channel::Shared, deadline)
                .await;
        }
        self.any_connection(deadline).await
    }

    /// Sends one request to the broker and waits for its answer. Cancel safe as [`Connection::call`].
    pub async fn call<R: Request>(
        &self,
        node: i32,
        channel: Channel,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response> {
        let connection = self.connection(node, channel, deadline).await?;
        connection.call(request, deadline).await
    }

    /// The broker that coordinates the group or transaction; asks until one answers. Cancel safe.
    pub async fn coordinator(
        &self,
        kind: CoordinatorKind,
        key: &str,
        deadline: Instant,
    ) -> Result<i32> {
        let coordinators = &self.0.shared.coordinators;
        match coordinators.remembered(kind, key) {
            Some(node) => Ok(node),
            None => coordinators.find(self, kind, key, deadline).await,
        }
    }

    /// Whether `node` still coordinates the group or transaction, by its own word: fails when it does not answer, or names another. Cancel
    /// safe.
    pub async fn is_coordinator(
        &self,
        node: i32,
        kind: CoordinatorKind,
        key: &str,
        deadline: Instant,
    ) -> Result<()> {
        coordinators::confirm(self, node, kind, key, deadline).await
    }

    /// The coordinator is another one now, or gone: the next call looks it up again.
    pub fn coordinator_lost(&self, kind: CoordinatorKind, key: &str) {
        self.0.shared.coordinators.lost(kind, key);
    }

    /// How the client was configured.
    pub fn config(&self) -> &ClientConfig {
        &self.0.shared.config
    }

    /// A generator of random numbers for `purpose`.
    pub fn random(&self, purpose: &str) -> Random {
        self.0.shared.config.random(purpose)
    }

    /// Pauses between the repetitions of a request, as configured.
    pub fn retry_backoff(&self) -> Backoff {
        Backoff::new(
            self.0.shared.config.retry_backoff,
            self.0.shared.config.retry_backoff_max,
        )
    }
}

fn gone(node: i32) -> Error {
    Error::new(
        ErrorKind::Connect,
        format!("broker {node} is not in the cluster now: it may be down or removed"),
    )
}
