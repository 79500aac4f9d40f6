//! What the producer's handles, its senders and its steward share: the topics, the brokers, the memory, the phase of life.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::accumulator::Limits;
use super::buffers::Buffers;
use super::config::ProducerConfig;
use super::delivery::Completion;
use super::metrics::{Counters, ProducerMetrics, add};
use super::node::Node;
use super::partitioner::Sticky;
use super::queue::{Gate, Obstacle, Queue, Route};
use super::sender::Sender;
use super::sequences::{Identity, Leader, Rules};
use super::timestamps::Timestamps;
use super::topics::{Topic, Topics};
use crate::kafka::cluster::{Channel, Cluster, PartitionMetadata, TopicMetadata};
use crate::kafka::{Error, ErrorKind, Random, WriteOutcome};

/// Keyless records change partition after so many bytes at most: small enough that a request has all partitions in it.
const STICKY_BYTES: usize = 64 << 10;
/// A request is worth sending, though others are in flight, from so many bytes on.
const ENOUGH_BYTES: usize = 512 << 10;

#[derive(Debug)]
pub(super) struct Shared {
    pub config: ProducerConfig,
    pub cluster: Cluster,
    pub topics: Topics,
    pub buffers: Buffers,
    pub counters: Counters,
    pub timestamps: Timestamps,
    /// Wakes the steward.
    pub steward: Notify,
    rules: Rules,
    limits: Limits,
    phase: AtomicU8,
    identity: Mutex<Option<Identity>>,
    /// Why there is no new producer id, where one is needed.
    no_identity: Mutex<Option<Error>>,
    random: Mutex<Random>,
    /// Guards changes of routes as well, and the making of queues against changes of phase.
    nodes: Mutex<BTreeMap<i32, Arc<Node>>>,
    born: Instant,
    /// When a task that enqueues last let others run, in microseconds since `born`.
    yielded_us: AtomicU64,
}

/// The phases of life, in order.
const RUNNING: u8 = 0;
const CLOSING: u8 = 1;
const STOPPED: u8 = 2;

impl Shared {
    pub fn new(config: ProducerConfig, cluster: Cluster, identity: Option<Identity>) -> Self {
        let batch_records = config
            .batch_records
            .and_then(|records| u32::try_from(records).ok());
        Self {
            topics: Topics::new(),
            buffers: Buffers::new(
                config.buffer_bytes,
                config.batch_bytes.min(config.max_request_bytes),
            ),
            counters: Counters::default(),
            timestamps: Timestamps::new(config.client.clock),
            steward: Notify::new(),
            rules: config.rules(),
            limits: Limits {
                batch_bytes: config.batch_bytes.min(config.max_request_bytes),
                batch_records: batch_records.unwrap_or(u32::MAX),
            },
            phase: AtomicU8::new(RUNNING),
            identity: Mutex::new(identity),
            no_identity: Mutex::default(),
            random: Mutex::new(cluster.random("producer")),
            nodes: Mutex::default(),
            born: Instant::now(),
            yielded_us: AtomicU64::new(0),
            config,
            cluster,
        }
    }

    /// Whether records are taken in.
    pub fn is_running(&self) -> bool {
        self.phase.load(SeqCst) == RUNNING
    }

    /// Whether nothing is sent any more.
    pub fn is_stopped(&self) -> bool {
        self.phase.load(SeqCst) == STOPPED
    }

    /// Whether the steward may stop everything once nothing is left to do.
    pub fn is_closing(&self) -> bool {
        self.phase.load(SeqCst) >= CLOSING
    }

    /// Takes in no more records, and sends the rest.
    pub fn begin_closing(&self) {
        {
            // A queue made meanwhile would stay open: either it is here already, or it is made closed.
            let _no_new_queues = self.nodes();
            let _ = self
                .phase
                .compare_exchange(RUNNING, CLOSING, SeqCst, SeqCst);
            for queue in self.queues() {
                queue.lock().gate = Gate::Closed;
            }
        }
        self.flush();
        self.steward.notify_one();
    }

    /// Why no more records are taken in.
    pub fn closed(&self) -> Error {
        let failure = self.cluster.tasks().failure();
        failure.unwrap_or_else(|| Error::new(ErrorKind::Closed, "the producer is closed"))
    }

    /// Ends everything: what is not in flight fails with `error`, and what is in flight as "fate unknown".
    pub fn stop(&self, error: &Error) {
        let queues = {
            let _no_new_queues = self.nodes();
            self.phase.store(STOPPED, SeqCst);
            self.queues()
        };
        self.buffers.close();
        for queue in queues {
            let lost = queue.abandon(error, &self.buffers);
            add(&self.counters.records_failed, lost);
        }
        self.steward.notify_one();
        self.wake_senders();
    }

    /// Closes every open batch, so that all are sent soon, and returns those whose fate is not known.
    pub fn flush(&self) -> Vec<Arc<Completion>> {
        self.queues()
            .iter()
            .flat_map(|queue| queue.flush(&self.buffers))
            .collect()
    }

    /// Whether senders should not wait for company.
    pub fn is_urgent(&self) -> bool {
        self.buffers.is_short() || self.is_closing()
    }

    pub fn wake_senders(&self) {
        for node in self.nodes().values() {
            node.wake();
        }
    }

    /// Whether it is time that tasks that enqueue without ever waiting let others run.
    pub fn owes_a_turn(&self) -> bool {
        const LONG_US: u64 = 500;
        let now_us = self.born.elapsed().as_micros() as u64;
        let owes = now_us.saturating_sub(self.yielded_us.load(SeqCst)) >= LONG_US;
        if owes {
            self.yielded_us.store(now_us, SeqCst);
        }
        owes
    }

    pub fn queues(&self) -> Vec<Arc<Queue>> {
        let topics = self.topics.all();
        topics
            .iter()
            .flat_map(|topic| topic.queues().cloned())
            .collect()
    }

    /// The producer id that partitions start with.
    pub fn identity(&self) -> Option<Identity> {
        *lock(&self.identity)
    }

    pub fn set_identity(&self, identity: Identity) {
        *lock(&self.identity) = Some(identity);
        *lock(&self.no_identity) = None;
    }

    /// Why there is no new producer id, where one is needed.
    pub fn lack_of_identity(&self) -> Option<Error> {
        lock(&self.no_identity).clone()
    }

    /// Remembers why there is no new producer id.
    pub fn note_lack_of_identity(&self, error: Error) {
        *lock(&self.no_identity) = Some(error);
    }

    /// Says why the partition's records could not be sent while there was time.
    pub fn overdue(&self, queue: &Queue, obstacle: Obstacle) -> Error {
        let metadata = self.cluster.metadata();
        let of_topic = metadata.topic_errors.get(&queue.topic);
        let text = "the record could not be sent within delivery.timeout.ms";
        let error = Error::new(ErrorKind::Timeout, text);
        let because = |kind, text: &'static str| error.clone().because(Error::new(kind, text));
        let error = match (obstacle, of_topic) {
            (Obstacle::Failed(cause), _) => error.clone().because(cause),
            (_, Some(said)) => said.error(&queue.topic),
            (Obstacle::NoIdentity, None) => match self.lack_of_identity() {
                Some(cause) => error.clone().because(cause),
                None => because(ErrorKind::Timeout, "no broker gave a producer id"),
            },
            (Obstacle::NoLeader, None) => {
                because(ErrorKind::Connect, "no broker leads the partition")
            }
            (Obstacle::Slow(node), None) => {
                let now = Instant::now();
                let throttled = self.cluster.throttled_until(node, Channel::Produce);
                let cause = match throttled.filter(|until| *until > now) {
                    Some(until) => format!(
                        "the broker asked for a pause (throttle_time_ms) that lasts for another {} ms: the client is over its quota",
                        until.duration_since(now).as_millis()
                    ),
                    None => "the broker takes records more slowly than they come".to_owned(),
                };
                let error = error.clone().because(Error::new(ErrorKind::Timeout, cause));
                match metadata.brokers.get(&node) {
                    Some(broker) => error.broker(node, &broker.address),
                    None => error,
                }
            }
        };
        error.with_outcome(WriteOutcome::NotWritten)
    }

    /// What keeps records from being sent, somewhere.
    pub fn trouble(&self) -> Option<Error> {
        self.queues()
            .iter()
            .find_map(|queue| match queue.waits_for() {
                Some(Obstacle::Failed(error)) => Some(error),
                _ => None,
            })
    }

    /// A broker refused a batch of the topic for its size: from now on, none of several records has more than so many bytes.
    pub fn limit_batches(&self, topic: &str, bytes: usize) {
        if let Some(topic) = self.topics.find(topic) {
            let bytes = topic.limit_batches(bytes, Instant::now());
            topic.queues().for_each(|queue| queue.limit_batches(bytes));
        }
    }

    /// Tries again what brokers refused long ago.
    pub fn forget_old_limits(&self, now: Instant) {
        let topics = self.topics.all();
        for topic in topics.iter().filter(|topic| topic.has_old_limit(now)) {
            let bytes = self.limits.batch_bytes;
            topic.forget_limit(bytes);
            topic.queues().for_each(|queue| queue.limit_batches(bytes));
        }
    }

    /// Fails what waits for a producer id that nobody gives.
    pub fn refuse_all(&self, error: &Error) {
        for queue in self.queues() {
            if queue.lock().lane.wants_identity() {
                let lost = queue.refuse(error, &self.buffers);
                add(&self.counters.records_failed, lost);
            }
        }
    }

    /// Fails what waits for a broker that will never take it.
    pub fn refuse(&self, node: &Node, error: &Error) {
        for queue in node.queues().iter() {
            let lost = queue.refuse(error, &self.buffers);
            add(&self.counters.records_failed, lost);
        }
    }

    /// Follows the metadata of every topic that is known.
    pub fn follow_all(self: &Arc<Self>) {
        let metadata = self.cluster.metadata();
        for topic in self.topics.all() {
            // Most of the news are about other topics.
            if let Some(known) = metadata.topic(&topic.name)
                && !topic.follows(known)
            {
                self.follow(known);
            }
        }
    }

    /// Follows metadata: partitions, leaders, the topic's id. Makes the topic known if it is new.
    pub fn follow(self: &Arc<Self>, metadata: &Arc<TopicMetadata>) {
        // One at a time, and never an older view after a newer one: the lock is held from reading to the last change.
        let mut nodes = self.nodes();
        let newest = self.cluster.metadata();
        let metadata = newest.topic(&metadata.name).unwrap_or(metadata);
        let topic = self.topics.find_or_insert(&metadata.name, || {
            let mut random = lock(&self.random);
            let share = self.limits.batch_bytes.min(STICKY_BYTES);
            let sticky = Sticky::new(share, &mut random);
            let batch_bytes = self.limits.batch_bytes;
            Topic::new(
                metadata.name.clone(),
                sticky,
                batch_bytes,
                metadata.partitions.len(),
                |partition| self.new_queue(metadata, partition, batch_bytes),
            )
        });
        topic.resize(metadata.partitions.len(), |partition| {
            self.new_queue(metadata, partition, topic.batch_bytes())
        });
        for (partition, queue) in metadata.partitions.iter().zip(topic.queues()) {
            let lost = queue.change(&self.buffers, |state| {
                if state.topic_id != metadata.id && !metadata.id.is_zero() {
                    if !state.topic_id.is_zero() {
                        state.lane.topic_recreated();
                        // Its settings may be others.
                        topic.forget_limit(self.limits.batch_bytes);
                        state.accumulator.limit(self.limits.batch_bytes);
                    }
                    state.topic_id = metadata.id;
                }
            });
            add(&self.counters.records_failed, lost);
            self.route(&mut nodes, queue, partition);
        }
        topic.followed(metadata);
    }

    fn new_queue(&self, metadata: &TopicMetadata, partition: i32, batch_bytes: usize) -> Queue {
        let limits = Limits {
            batch_bytes,
            ..self.limits
        };
        let queue = Queue::new(
            metadata.name.clone(),
            partition,
            metadata.id,
            limits,
            self.rules,
        );
        if let Some(identity) = self.identity() {
            queue.adopt(identity);
        }
        if !self.is_running() {
            queue.lock().gate = Gate::Closed;
        }
        queue
    }

    fn route(
        self: &Arc<Self>,
        nodes: &mut BTreeMap<i32, Arc<Node>>,
        queue: &Arc<Queue>,
        partition: &PartitionMetadata,
    ) {
        let route = partition.leader.map(|id| {
            let node = nodes.entry(id).or_insert_with(|| self.spawn_sender(id));
            Route {
                node: node.clone(),
                leader: Leader {
                    node: id,
                    epoch: partition.leader_epoch,
                },
            }
        });
        queue.reroute(route);
    }

    fn spawn_sender(self: &Arc<Self>, id: i32) -> Arc<Node> {
        let enough = ENOUGH_BYTES.min(self.config.max_request_bytes);
        let node = Arc::new(Node::new(id, enough));
        let sender = Sender::run(self.clone(), node.clone());
        let tasks = self.cluster.tasks();
        tasks.spawn(Sender::task(id), sender);
        node
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<i32, Arc<Node>>> {
        lock(&self.nodes)
    }

    pub fn metrics(&self) -> ProducerMetrics {
        let queues = self.queues();
        ProducerMetrics {
            records_accepted: queues
                .iter()
                .map(|queue| queue.lock().accumulator.accepted())
                .sum(),
            requests_in_flight: self.nodes().values().map(|node| node.in_flight()).sum(),
            buffer_bytes_used: self.buffers.charged(),
            ..self.counters.read()
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
