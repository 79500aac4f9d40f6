//! What the parts of a consumer share: the state behind one short lock, the byte budget, and who wakes whom.
//!
//! `poll` reads and advances; fetchers and the resolver ask the brokers. They meet here and nowhere else. The lock is held for bookkeeping
//! only: batches are checked and decompressed outside of it. Each wakes whom its news concerns: a buffer that was read wakes the one fetcher
//! that fills it, memory that was freed those that wait for it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::commit::Progress;
use super::fetch::batch_reader::BatchDecoder;
use super::fetch::buffer::FetchBuffers;
use super::handle::{OffsetAndMetadata, to_commit};
use super::metrics::Counters;
use super::partitions::Readers;
use super::positions::Positions;
use super::subscribed::Subscribed;
use super::{CommitSource, ConsumerConfig};
use crate::kafka::cluster::Cluster;
use crate::kafka::group::member::GroupMember;
use crate::kafka::runtime::tasks::OwnTasks;
use crate::kafka::runtime::{Budget, Mutex, after};
use crate::kafka::{Error, ErrorKind, GroupProtocol, Random, Result, TopicPartition};

/// Everything but the part that only `poll` touches.
pub(crate) struct ConsumerContext {
    pub config: ConsumerConfig,
    pub cluster: Cluster,
    pub budget: Arc<Budget>,
    /// Wakes the offset resolver: there is something to ask.
    pub resolver: Notify,
    /// Wakes `poll`: there are records, an error, or a rebalance to take part in.
    pub ready: Arc<Notify>,
    pub counters: Arc<Counters>,
    state: Mutex<ConsumerState>,
    pub random: Mutex<Random>,
    tasks: OwnTasks,
}

/// What is behind the lock.
#[derive(Default)]
pub(crate) struct ConsumerState {
    pub positions: Positions,
    /// Fetched and not yet read.
    pub buffers: FetchBuffers,
    pub source: Source,
    pub subscribed: Subscribed,
    /// What is committed, where that is not what polls have returned.
    pub progress: Progress,
    /// Who reads the partitions, where each is read by itself.
    pub readers: Option<Readers>,
    /// What wakes the fetcher of each node that has one.
    pub fetchers: BTreeMap<i32, Arc<Notify>>,
    pub fetches_in_flight: usize,
}

/// Where the partitions come from.
#[derive(Clone, Default)]
pub(crate) enum Source {
    #[default]
    Nothing,
    /// By hand.
    Assigned,
    Subscribed(GroupMember),
    /// From nowhere any more: what was read as a member of a group cannot be committed now.
    Left,
    Closed,
}

impl ConsumerContext {
    pub fn new(config: ConsumerConfig, cluster: Cluster) -> Arc<Self> {
        let positions = Positions::new(config.auto_offset_reset, config.isolation_level);
        let ready = Arc::new(Notify::new());
        let progress = Progress::new(config.commit_source, ready.clone());
        let polls = ready.clone();
        cluster.tasks().on_failure(move |_| polls.notify_waiters());
        let budget = Budget::new(config.buffer_bytes, cluster.consumers_budget());
        Arc::new(Self {
            budget,
            random: Mutex::new(config.client.random("consumer")),
            config,
            cluster,
            resolver: Notify::new(),
            ready,
            counters: Arc::default(),
            state: Mutex::new(ConsumerState {
                positions,
                progress,
                ..ConsumerState::default()
            }),
            tasks: OwnTasks::default(),
        })
    }

    pub fn state(&self) -> MutexGuard<'_, ConsumerState> {
        self.state.lock()
    }

    /// What batches are read with whose bytes are part of `budget`.
    pub fn decoder(&self, budget: &Arc<Budget>) -> BatchDecoder {
        let config = &self.config;
        // As librdkafka bounds it.
        let max_batch_bytes = (config.buffer_bytes).max(config.client.max_frame_bytes);
        let decompressors = self.cluster.decompressors();
        BatchDecoder::new(
            decompressors,
            budget.clone(),
            max_batch_bytes,
            config.check_crcs,
        )
    }

    /// Where `auto.offset.reset` says to go, as ListOffsets knows the place, if anywhere.
    pub fn reset_timestamp(&self) -> Option<i64> {
        let now_ms = self.config.client.clock.now_ms();
        self.config.auto_offset_reset.timestamp(now_ms)
    }

    /// By which protocol the consumer is, or will be, a member of its group, and in which generation or member epoch it is one.
    pub fn membership(&self) -> (GroupProtocol, Option<i32>) {
        match self.group() {
            Some(group) => {
                let metadata = group.with(|membership| membership.group_metadata());
                let epoch = metadata.ok().map(|metadata| metadata.generation);
                (group.protocol(), epoch)
            }
            None => (self.config.group_protocol, None),
        }
    }

    /// How long a broker that has nothing to fetch waits before it says so.
    pub fn patience_of_brokers(&self) -> Duration {
        match self.config.fetch_min_bytes {
            0 => Duration::ZERO,
            _ => self.config.fetch_max_wait,
        }
    }

    /// When a request that is sent now must be answered.
    pub fn deadline(&self) -> Instant {
        after(self.config.client.request_timeout)
    }

    /// Runs `task` until it ends or the consumer does.
    pub fn spawn(
        &self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tasks.spawn(self.cluster.tasks(), name, task);
    }

    /// Ends every task.
    pub fn stop(&self) {
        self.tasks.end(self.cluster.tasks());
    }

    /// The group, for what needs one.
    pub fn group(&self) -> Option<GroupMember> {
        match &self.state().source {
            Source::Subscribed(group) => Some(group.clone()),
            _ => None,
        }
    }

    /// Remembers what these topics are now, at the time of the subscription.
    pub fn subscribe_to(&self, topics: &[&str]) {
        let metadata = self.cluster.metadata();
        let mut state = self.state();
        if !matches!(state.source, Source::Subscribed(_)) {
            state.subscribed = Subscribed::default();
        }
        state.subscribed.subscribe(topics.iter().copied());
        state.subscribed.learn(&metadata);
    }

    /// Fails once the consumer is closed, whoever still holds a handle to it, and once one of its tasks has failed.
    pub fn check_open(&self) -> Result<()> {
        self.cluster.tasks().check()?;
        match self.state().source {
            Source::Closed => Err(Error::new(ErrorKind::Closed, "the consumer was closed")),
            _ => Ok(()),
        }
    }

    /// The group's id, for what needs one.
    pub fn group_id(&self) -> Result<&str> {
        self.config.group_id.as_deref().ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "this consumer has no group to keep offsets in: set group.id",
            )
        })
    }

    /// Wakes the offset resolver and all fetchers: positions, leaders or the assignment changed.
    pub fn wake_all(&self) {
        self.resolver.notify_one();
        let state = self.state();
        state
            .fetchers
            .values()
            .for_each(|wakeup| wakeup.notify_one());
    }

    /// Whether partitions are read one by one.
    pub fn has_readers(&self) -> bool {
        self.state().readers.is_some()
    }

    /// Wakes those who read single partitions: they may be over.
    pub fn wake_readers(&self) {
        if let Some(readers) = &self.state().readers {
            readers.wake_all();
        }
    }

    /// Wakes those who read of what responses brought.
    pub fn tell_of_fetched(&self) {
        if let Some(readers) = &mut self.state().readers {
            readers.wake_fetched();
        }
        self.ready.notify_waiters();
    }

    /// Where commits go by what is acknowledged: how many records of `partition` may be handed out from `offset` on, and the first stretch of
    /// those that were acknowledged before a restart, and are not to be.
    pub fn to_hand_out(
        &self,
        partition: &TopicPartition,
        offset: i64,
    ) -> Option<(usize, Option<Range<i64>>)> {
        if self.config.commit_source != CommitSource::Acknowledged {
            return None;
        }
        let mut state = self.state();
        let acknowledged = state.progress.acknowledged()?;
        let finished = acknowledged.finished_from(partition, offset);
        Some((acknowledged.room(partition), finished))
    }
}

impl ConsumerState {
    /// Whether anything of `partition` is at hand.
    pub fn has_fetched(&self, partition: &TopicPartition) -> bool {
        self.buffers.held_by(std::slice::from_ref(partition)).0 > 0
    }

    /// Something came of `partition`: its reader is told [in a moment](ConsumerContext::tell_of_fetched).
    pub fn fetched(&mut self, partition: &TopicPartition) {
        if let Some(readers) = &mut self.readers {
            readers.fetched(partition);
        }
    }

    /// `partition` may be read on.
    pub fn wake_reader(&self, partition: &TopicPartition) {
        if let Some(readers) = &self.readers {
            readers.wake(partition);
        }
    }

    /// A buffered fetch of `partition` was read to its end, or dropped: more may be fetched.
    pub fn wake_fetcher(&self, partition: &TopicPartition) {
        let node = self.positions.node_of(partition, Instant::now());
        if let Some(wakeup) = node.and_then(|node| self.fetchers.get(&node)) {
            wakeup.notify_one();
        }
    }

    /// Nothing more of these comes out, nor is fetched: they are on their way to another member.
    pub fn withhold(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.positions.set_leaving(partition);
            self.buffers.forget(partition);
        }
    }

    /// Forgets these partitions and what was fetched of them.
    pub fn remove(&mut self, gone: &BTreeSet<&TopicPartition>) {
        for partition in gone {
            self.positions.remove(partition);
            self.buffers.forget(partition);
            self.progress.forget(partition, false);
            if let Some(readers) = &mut self.readers {
                readers.end(partition);
            }
        }
        // The listener was told of whatever was assigned before.
        self.positions.listener_first(false);
    }

    /// Forgets all partitions and what was fetched of them.
    pub fn clear(&mut self) {
        self.positions.clear();
        self.buffers.clear();
        self.progress.clear();
        if let Some(readers) = &mut self.readers {
            readers.clear();
        }
    }

    /// What is to be committed of every partition whose position is known.
    pub fn to_commit(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        self.positions
            .all()
            .filter_map(|(partition, position, topic_id)| {
                let readers = self.readers.as_ref();
                let unfinished = readers.and_then(|readers| readers.unfinished(partition));
                let finished = unfinished.cloned();
                let finished = finished.unwrap_or_else(|| to_commit(position, topic_id));
                let offset = self.progress.of(partition, finished)?;
                Some((partition.clone(), offset))
            })
            .collect()
    }
}
