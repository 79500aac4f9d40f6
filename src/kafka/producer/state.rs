//! What the producer's handles, its senders and its maintenance share: the topics, the brokers, the memory, the phase of life.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::completion::Completion;
use super::config::ProducerConfig;
use super::memory::MemoryBudget;
use super::metrics::{Counters, ProducerMetrics, add};
use super::partition::accumulator::Limits;
use super::partition::given_up::GivenUp;
use super::partition::queue::{Gate, Obstacle, PartitionQueue, Route};
use super::partition::sequenced::{Leader, Rules};
use super::partitioner::Sticky;
use super::producer_id::ProducerIdAndEpoch;
use super::sender::broker_queue::BrokerQueue;
use super::sender::ready::Enough;
use super::sender::task::Sender;
use super::timestamps::Timestamps;
use super::topic_settings::TopicRules;
use super::topics::{Topic, Topics};
use super::transaction::Transactions;
use super::unsent::UnsentRecords;
use crate::kafka::cluster::{Channel, Cluster, Metadata, PartitionMetadata, TopicMetadata};
use crate::kafka::observe::ClientEvent;
use crate::kafka::runtime::{Budget, Mutex};
use crate::kafka::{Error, ErrorKind, Random, TopicPartition, WriteOutcome};

/// Keyless records change partition after so many bytes at most: small enough that a request has all partitions in it.
const STICKY_BYTES: usize = 64 << 10;
/// A request is worth sending, though others are in flight, from so many bytes on.
const ENOUGH_BYTES: usize = 512 << 10;

#[derive(Debug)]
pub(super) struct ProducerState {
    pub config: ProducerConfig,
    pub cluster: Cluster,
    pub topics: Topics,
    pub memory: MemoryBudget,
    pub counters: Arc<Counters>,
    pub timestamps: Timestamps,
    /// Those of a transactional producer.
    pub transactions: Option<Arc<Transactions>>,
    /// Wakes the maintenance.
    pub maintenance: Notify,
    /// The observer wants to hear of each record.
    pub tells_of_records: bool,
    rules: Rules,
    phase: AtomicU8,
    producer_id: Mutex<Option<ProducerIdAndEpoch>>,
    /// Why there is no new producer id, where one is needed.
    no_producer_id: Mutex<Option<Error>>,
    random: Mutex<Random>,
    /// Guards changes of routes as well, and the making of queues against changes of phase.
    brokers: Mutex<BTreeMap<i32, Arc<BrokerQueue>>>,
    born: Instant,
    /// When a task that enqueues last let others run, in microseconds since `born`.
    yielded_us: AtomicU64,
}

/// The phases of life, in order.
const RUNNING: u8 = 0;
const CLOSING: u8 = 1;
const STOPPED: u8 = 2;

impl ProducerState {
    pub fn new(config: ProducerConfig, cluster: Cluster) -> Self {
        let of_topics = config.topics.values();
        let batch_bytes = of_topics
            .filter_map(|topic| topic.batch_bytes)
            .fold(config.batch_bytes, usize::max);
        let transactions = Transactions::of(&config).map(Arc::new);
        let counters = Counters {
            transactions: transactions.as_ref().map(|it| it.counters()),
            ..Counters::default()
        };
        Self {
            topics: Topics::new(),
            memory: MemoryBudget::within(
                Budget::new(config.buffer_bytes, cluster.producers_budget()),
                batch_bytes.min(config.max_request_bytes),
            ),
            counters: Arc::new(counters),
            timestamps: Timestamps::new(config.client.clock),
            transactions,
            maintenance: Notify::new(),
            tells_of_records: (config.client.observer.as_ref())
                .is_some_and(|observer| observer.wants_records()),
            rules: config.rules(),
            phase: AtomicU8::new(RUNNING),
            producer_id: Mutex::default(),
            no_producer_id: Mutex::default(),
            random: Mutex::new(cluster.random("producer")),
            brokers: Mutex::default(),
            born: Instant::now(),
            yielded_us: AtomicU64::new(0),
            config,
            cluster,
        }
    }

    /// Whether records are accepted.
    pub fn is_running(&self) -> bool {
        self.phase.load(SeqCst) == RUNNING
    }

    /// Whether nothing is sent any more.
    pub fn is_stopped(&self) -> bool {
        self.phase.load(SeqCst) == STOPPED
    }

    /// Whether the maintenance may stop everything once nothing is left to do.
    pub fn is_closing(&self) -> bool {
        self.phase.load(SeqCst) >= CLOSING
    }

    /// Accepts no more records, and sends the rest.
    pub fn begin_closing(&self) {
        {
            // A queue made meanwhile would stay open: either it is here already, or it is made closed.
            let _no_new_queues = self.brokers.lock();
            let _ = self
                .phase
                .compare_exchange(RUNNING, CLOSING, SeqCst, SeqCst);
            for queue in self.queues() {
                queue.lock().gate = Gate::Closed;
            }
        }
        self.flush();
        self.maintenance.notify_one();
    }

    /// Why no more records are accepted.
    pub fn closed(&self) -> Error {
        let failure = self.cluster.tasks().failure();
        failure.unwrap_or_else(|| Error::new(ErrorKind::Closed, "the producer is closed"))
    }

    /// Ends everything: what is not in flight fails with `error`, and what is in flight as "outcome unknown". Returns what that is.
    pub fn stop(&self, error: &Error) -> Vec<UnsentRecords> {
        let queues = {
            let _no_new_queues = self.brokers.lock();
            self.phase.store(STOPPED, SeqCst);
            self.queues()
        };
        self.memory.bytes.close();
        let mut unsent = Vec::new();
        if let Some(transactions) = &self.transactions {
            transactions.stop(error);
        }
        for queue in queues {
            let (given_up, in_flight) = queue.abandon(error, &self.memory);
            self.records_failed(&queue, &given_up);
            let not_written = given_up.not_written();
            let unknown = given_up.records() - not_written + in_flight;
            if not_written + unknown > 0 {
                unsent.push(UnsentRecords {
                    partition: TopicPartition::new(queue.topic.clone(), queue.partition),
                    not_written,
                    unknown,
                });
            }
        }
        self.maintenance.notify_one();
        self.wake_senders();
        unsent
    }

    /// Closes every open batch, so that all are sent soon, and returns those whose outcome is not known.
    pub fn flush(&self) -> Vec<Arc<Completion>> {
        self.queues()
            .iter()
            .flat_map(|queue| queue.flush(&self.memory))
            .collect()
    }

    /// Whether senders should not wait for more records.
    pub fn is_urgent(&self) -> bool {
        self.memory.bytes.is_short() || self.is_closing()
    }

    pub fn wake_senders(&self) {
        for broker in self.brokers.lock().values() {
            broker.wake();
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

    pub fn queues(&self) -> Vec<Arc<PartitionQueue>> {
        let topics = self.topics.all();
        topics
            .iter()
            .flat_map(|topic| topic.queues().cloned())
            .collect()
    }

    /// The producer id that partitions start with.
    pub fn producer_id(&self) -> Option<ProducerIdAndEpoch> {
        *self.producer_id.lock()
    }

    /// Whether partitions write under a producer id that is nobody else's. Those of a transactional producer write under that of its
    /// transactional id.
    pub fn wants_producer_id(&self) -> bool {
        self.config.is_idempotent() && self.transactions.is_none()
    }

    pub fn set_producer_id(&self, producer_id: ProducerIdAndEpoch) {
        *self.producer_id.lock() = Some(producer_id);
        *self.no_producer_id.lock() = None;
    }

    /// Why there is no new producer id, where one is needed.
    pub fn lack_of_producer_id(&self) -> Option<Error> {
        self.no_producer_id.lock().clone()
    }

    /// Remembers why there is no new producer id.
    pub fn note_lack_of_producer_id(&self, error: Error) {
        *self.no_producer_id.lock() = Some(error);
    }

    /// Says why the partition's records could not be sent while there was time.
    pub fn overdue(&self, queue: &PartitionQueue, obstacle: Obstacle) -> Error {
        let metadata = self.cluster.metadata();
        let of_topic = metadata.topic_errors.get(&queue.topic);
        let text = "the record could not be sent within delivery.timeout.ms";
        let error = Error::new(ErrorKind::Timeout, text);
        let because = |kind, text: &'static str| error.clone().because(Error::new(kind, text));
        let error = match (obstacle, of_topic) {
            (Obstacle::Failed(cause), _) => error.clone().because(cause),
            (_, Some(said)) => said.error(&queue.topic),
            (Obstacle::NoProducerId, None) => match self.lack_of_producer_id() {
                Some(cause) => error.clone().because(cause),
                None => because(ErrorKind::Timeout, "no broker returned a producer id"),
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

    /// Counts records that are given up, and tells the observer why.
    pub fn records_failed(&self, queue: &PartitionQueue, given_up: &GivenUp) {
        for (records, error) in given_up.batches() {
            self.failed(queue, records, error);
        }
    }

    /// As [`records_failed`](Self::records_failed), for some records of a batch.
    pub fn failed(&self, queue: &PartitionQueue, records: u64, error: &Error) {
        add(&self.counters.records_failed, records);
        if let Some(observer) = &self.config.client.observer {
            observer.on_event(&ClientEvent::BatchFailed {
                partition: &TopicPartition::new(queue.topic.clone(), queue.partition),
                records: usize::try_from(records).unwrap_or(usize::MAX),
                error,
                outcome: error.outcome(),
            });
        }
    }

    /// What keeps records from being sent, somewhere.
    pub fn obstacle(&self) -> Option<Error> {
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
            let bytes = topic.forget_limit();
            topic.queues().for_each(|queue| queue.limit_batches(bytes));
        }
    }

    /// Fails what waits for a producer id that nobody gives.
    pub fn refuse_all(&self, error: &Error) {
        for queue in self.queues() {
            if queue.lock().sequencer.wants_producer_id() {
                let given_up = queue.refuse(error, &self.memory);
                self.records_failed(&queue, &given_up);
            }
        }
    }

    /// Fails what waits for a broker that will never take it.
    pub fn refuse(&self, broker: &BrokerQueue, error: &Error) {
        for queue in broker.queues() {
            let given_up = queue.refuse(error, &self.memory);
            self.records_failed(&queue, &given_up);
        }
    }

    /// Follows the metadata of each topic in use that is otherwise `now` than `before`; whether there is one.
    pub fn follow_changes(self: &Arc<Self>, before: &Metadata, now: &Metadata) -> bool {
        let mut followed = false;
        for (known, _) in now.topics.changed_since(&before.topics) {
            let topic = self.topics.find(&known.name);
            if topic.is_some_and(|topic| !topic.follows(known)) {
                self.follow(known);
                followed = true;
            }
        }
        followed
    }

    /// Follows metadata: partitions, leaders, the topic's id. Makes the topic known if it is new.
    pub fn follow(self: &Arc<Self>, metadata: &Arc<TopicMetadata>) {
        // One at a time, and never an older view after a newer one: the lock is held from reading to the last change.
        let mut brokers = self.brokers.lock();
        let newest = self.cluster.metadata();
        let metadata = newest.topic(&metadata.name).unwrap_or(metadata);
        let topic = self.topics.find_or_insert(&metadata.name, || {
            let rules = TopicRules::of(&self.config, &metadata.name);
            let mut random = self.random.lock();
            let share = rules.limits.batch_bytes.min(STICKY_BYTES);
            let sticky = Sticky::new(share, &mut random);
            let make = |partition| self.new_queue(metadata, partition, &rules, rules.limits);
            let count = metadata.partitions.len();
            Topic::new(metadata.name.clone(), rules.clone(), sticky, count, make)
        });
        topic.resize(metadata.partitions.len(), |partition| {
            let limits = Limits {
                batch_bytes: topic.batch_bytes(),
                ..topic.rules.limits
            };
            self.new_queue(metadata, partition, &topic.rules, limits)
        });
        for (partition, queue) in metadata.partitions.iter().zip(topic.queues()) {
            let given_up = queue.change(&self.memory, |state| {
                if state.topic_id != metadata.id && !metadata.id.is_zero() {
                    if !state.topic_id.is_zero() {
                        state.sequencer.topic_recreated();
                        if let Some(transactions) = &self.transactions
                            && transactions.is_open(state)
                        {
                            transactions.failures().note(&recreated(&metadata.name));
                        }
                        // Its settings may be others.
                        let bytes = topic.forget_limit();
                        state.accumulator.limit(bytes);
                    }
                    state.topic_id = metadata.id;
                }
            });
            self.records_failed(queue, &given_up);
            self.route(&mut brokers, queue, partition);
        }
        topic.followed(metadata);
        if self.wants_producer_id() && self.producer_id().is_none() {
            // Now there is somebody to get a producer id for.
            self.maintenance.notify_one();
        }
    }

    fn new_queue(
        &self,
        metadata: &TopicMetadata,
        partition: i32,
        rules: &TopicRules,
        limits: Limits,
    ) -> PartitionQueue {
        let queue = PartitionQueue::new(
            metadata.name.clone(),
            partition,
            metadata.id,
            limits,
            rules.partition,
            self.rules,
        );
        if let Some(producer_id) = self.producer_id() {
            queue.adopt(producer_id);
        }
        if let Some(transactions) = &self.transactions {
            let failures = transactions.failures().clone();
            queue.lock().accumulator.note_failures(failures);
        }
        if !self.is_running() {
            queue.lock().gate = Gate::Closed;
        }
        queue
    }

    fn route(
        self: &Arc<Self>,
        brokers: &mut BTreeMap<i32, Arc<BrokerQueue>>,
        queue: &Arc<PartitionQueue>,
        partition: &PartitionMetadata,
    ) {
        let route = partition.leader.map(|id| {
            let broker = brokers.entry(id).or_insert_with(|| self.spawn_sender(id));
            Route {
                broker: broker.clone(),
                leader: Leader {
                    node: id,
                    epoch: partition.leader_epoch,
                },
            }
        });
        queue.reroute(route);
    }

    fn spawn_sender(self: &Arc<Self>, id: i32) -> Arc<BrokerQueue> {
        let enough = Enough {
            least: ENOUGH_BYTES.min(self.config.max_request_bytes),
            most: self.config.buffer_bytes / 16,
        };
        let broker = Arc::new(BrokerQueue::new(id, enough));
        let sender = Sender::run(self.clone(), broker.clone());
        let tasks = self.cluster.tasks();
        tasks.spawn(Sender::task(id), sender);
        broker
    }

    pub fn metrics(&self) -> ProducerMetrics {
        ProducerMetrics {
            brokers: self.cluster.broker_metrics(),
            ..self.own_metrics()
        }
    }

    /// The metrics without what it shares with others.
    pub fn own_metrics(&self) -> ProducerMetrics {
        let queues = self.queues();
        ProducerMetrics {
            records_accepted: queues
                .iter()
                .map(|queue| queue.lock().accumulator.accepted())
                .sum(),
            requests_in_flight: self
                .brokers
                .lock()
                .values()
                .map(|broker| broker.in_flight())
                .sum(),
            buffer_bytes_used: self.memory.charged(),
            ..self.counters.read()
        }
    }
}

/// Why a transaction cannot be committed that has written to a topic that is gone.
fn recreated(topic: &Arc<str>) -> Error {
    let text = "the topic was deleted and re-created in the middle of the transaction";
    Error::new(ErrorKind::TopicRecreated, text)
        .topic(topic.clone())
        .with_outcome(WriteOutcome::NotWritten)
}
