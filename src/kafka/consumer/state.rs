//! What the parts of a consumer share: the state behind one short lock, the byte budget, and who wakes whom.
//!
//! `poll` reads and advances; fetchers and the resolver ask the brokers. They meet here and nowhere else. The lock is held for bookkeeping
//! only: batches are checked and decompressed outside of it. Each wakes whom its news concerns: a buffer that was read wakes the one fetcher
//! that fills it, memory that was freed those that wait for it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};
use std::ops::Range;
use std::sync::{Arc, MutexGuard, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Records;
use super::commit::Progress;
use super::fetch::batch_reader::{BatchReader, Decoders};
use super::fetch::buffer::FetchBuffers;
use super::fetch::memory::{Fetched, left_to_fetch};
use super::handle::{OffsetAndMetadata, to_commit};
use super::metrics::{ConsumerMetrics, Counters};
use super::partitions::Readers;
use super::positions::{Plan, Positions, Wanted};
use super::records::Batch;
use super::subscribed::Subscribed;
use super::{CommitSource, ConsumerConfig};
use crate::kafka::cluster::Cluster;
use crate::kafka::group::member::GroupMember;
use crate::kafka::observe::ClientEvent;
use crate::kafka::runtime::{Budget, Mutex, Reservation};
use crate::kafka::{Backoff, Error, ErrorKind, Random, Result, TopicPartition};

/// How long, at most, between two questions whether a partition that is gone is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

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
    pub decoders: Decoders,
    /// What one partition's reader has decompressed though there was no room for it.
    pub alone: Mutex<Weak<Fetched>>,
    state: Mutex<ConsumerState>,
    random: Mutex<Random>,
    tasks: Mutex<Vec<AbortHandle>>,
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
    fetchers: BTreeMap<i32, Arc<Notify>>,
    fetches_in_flight: usize,
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

/// Why a buffered fetch is not read.
enum NotRead {
    /// Not now: it was set aside.
    Wait,
    /// Not ever.
    Useless,
}

/// A fetch that may be sent now.
pub(crate) struct Fetch {
    pub wanted: Vec<Wanted>,
    pub max_bytes: usize,
    /// How long the broker may wait for something to answer with.
    pub max_wait: Duration,
    /// For how long partitions that it leaves out have had enough unread.
    pub full_for: Option<Duration>,
    pub reservation: Reservation,
}

/// What a fetcher does next.
pub(crate) enum NextFetch {
    Send(Fetch),
    Wait(Option<Instant>),
    WaitForMemory,
    Retire,
}

impl ConsumerContext {
    pub fn new(config: ConsumerConfig, cluster: Cluster) -> Arc<Self> {
        let positions = Positions::new(config.auto_offset_reset, config.isolation_level);
        let ready = Arc::new(Notify::new());
        let progress = Progress::new(config.commit_source, ready.clone());
        let polls = ready.clone();
        cluster.tasks().on_failure(move |_| polls.notify_waiters());
        let budget = Budget::new(config.buffer_bytes, cluster.consumers_budget());
        // As librdkafka bounds it.
        let max_batch_bytes = (config.buffer_bytes).max(config.client.max_frame_bytes);
        Arc::new(Self {
            decoders: Decoders::new(budget.clone(), max_batch_bytes, config.check_crcs),
            alone: Mutex::default(),
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
            tasks: Mutex::default(),
        })
    }

    pub fn state(&self) -> MutexGuard<'_, ConsumerState> {
        self.state.lock()
    }

    /// How many offsets are between the position and the end of the log.
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        let position = self.state().positions.position(partition)?.offset;
        let end = self.fetched_end(partition)?;
        Some(end.saturating_sub(position).max(0))
    }

    /// The end of the log (for `read_committed`: of what is committed), as of the last fetch.
    pub fn fetched_end(&self, partition: &TopicPartition) -> Option<i64> {
        let watermarks = self.state().positions.watermarks(partition)?;
        Some(watermarks.end(self.config.isolation_level))
    }

    /// How old what was handed out last is, where there is more to read.
    pub fn lag_time(&self, partition: &TopicPartition) -> Option<Duration> {
        if self.lag(partition)? == 0 {
            return Some(Duration::ZERO);
        }
        let handed_out_ms = self.state().positions.handed_out_ms(partition)?;
        Some(self.age_of(handed_out_ms))
    }

    /// Where `auto.offset.reset` says to go, as ListOffsets knows the place, if anywhere.
    pub fn reset_timestamp(&self) -> Option<i64> {
        let now_ms = self.config.client.clock.now_ms();
        self.config.auto_offset_reset.timestamp(now_ms)
    }

    /// How long ago the time `timestamp_ms` was; one that is not known was just now.
    pub fn age_of(&self, timestamp_ms: i64) -> Duration {
        let now_ms = self.config.client.clock.now_ms();
        let age_ms = now_ms.saturating_sub(timestamp_ms).max(0);
        Duration::from_millis(if timestamp_ms < 0 { 0 } else { age_ms as u64 })
    }

    /// What the consumer has done so far, without what it shares with others.
    pub fn own_metrics(&self) -> ConsumerMetrics {
        let (assignment, resets): (Vec<_>, _) = {
            let positions = &self.state().positions;
            (
                positions.iter().cloned().collect(),
                positions.reset_counts(),
            )
        };
        let of_each = assignment.iter();
        ConsumerMetrics {
            bytes_held: self.budget.used(),
            resets,
            assigned: assignment.len(),
            lag: (of_each.clone())
                .filter_map(|partition| Some((partition.clone(), self.lag(partition)?)))
                .collect(),
            lag_time: of_each
                .filter_map(|partition| Some((partition.clone(), self.lag_time(partition)?)))
                .collect(),
            ..self.counters.metrics()
        }
    }

    /// The pause before the repetition that follows `attempts` failures (KIP-580).
    pub fn pause(&self, attempts: u32) -> Duration {
        self.pause_up_to(attempts, self.config.client.retry_backoff_max)
    }

    /// The pause before the metadata is asked again about a partition that does not exist, by its `attempts` so far.
    pub fn long_pause(&self, attempts: u32) -> Duration {
        self.pause_up_to(attempts, LONGEST_PAUSE)
    }

    fn pause_up_to(&self, attempts: u32, longest: Duration) -> Duration {
        let first = self.config.client.retry_backoff;
        Backoff::pause(first, longest, attempts, &mut self.random.lock())
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
        Instant::now() + self.config.client.request_timeout
    }

    /// Runs `task` until it ends or the consumer does.
    pub fn spawn(
        &self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let handle = self.cluster.tasks().spawn(name, task);
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(handle);
    }

    /// Ends every task.
    pub fn stop(&self) {
        self.cluster.tasks().end();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.iter().for_each(AbortHandle::abort);
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

    /// Takes the nodes that need a fetcher and have none, and what wakes it; they count as having one.
    pub fn nodes_without_fetcher(&self) -> Vec<(i32, Arc<Notify>)> {
        let mut state = self.state();
        let nodes = state.positions.nodes(Instant::now()).into_iter();
        nodes
            .filter_map(|node| match state.fetchers.entry(node) {
                Entry::Vacant(new) => Some((node, new.insert(Arc::default()).clone())),
                Entry::Occupied(_) => None,
            })
            .collect()
    }

    /// What the fetcher of `node` does next. A fetch reserves memory for all that may come back.
    ///
    /// While partitions that have enough unread are left out, a broker that waited for news of the others would keep them waiting in turn once
    /// they are read: it is to answer at once, until they have been left unread for as long as it may wait. `quiet_until` says that it had
    /// nothing the last time.
    pub fn next_fetch(&self, node: i32, quiet_until: Option<Instant>) -> NextFetch {
        let mut state = self.state();
        let now = Instant::now();
        match state.positions.plan(node, now) {
            Plan::Retire => {
                state.fetchers.remove(&node);
                NextFetch::Retire
            }
            Plan::Wait(until) => NextFetch::Wait(until),
            Plan::Fetch { full_for, .. }
                if full_for.is_some() && quiet_until.is_some_and(|until| until > now) =>
            {
                NextFetch::Wait(quiet_until)
            }
            Plan::Fetch { wanted, full_for } => match self.room_for(&mut state, wanted.len()) {
                Some(max_bytes) => {
                    state.fetches_in_flight += 1;
                    let patience = self.config.fetch_max_wait;
                    NextFetch::Send(Fetch {
                        wanted,
                        max_bytes,
                        max_wait: match full_for {
                            Some(full_for) if full_for < patience => Duration::ZERO,
                            _ => patience,
                        },
                        full_for,
                        reservation: self.budget.reserve(max_bytes),
                    })
                }
                None => NextFetch::WaitForMemory,
            },
        }
    }

    /// How many bytes a fetch of so many partitions may ask for now.
    ///
    /// Half of the budget at most, so that the next fetch has room while this one is read; with more than two brokers so little that those
    /// that have no news, and wait at their brokers for some, leave room for the others. Whatever is in use, one fetch may go when nothing
    /// else is on its way or waiting: memory that the application holds on to slows the consumer down but cannot stop it.
    fn room_for(&self, state: &mut ConsumerState, partitions: usize) -> Option<usize> {
        let each = self.config.max_partition_fetch_bytes;
        let others = state.fetchers.len().saturating_sub(1);
        // A reader that is slow keeps a whole answer for the sake of its part.
        let parts = if state.readers.is_some() { 4 } else { 2 };
        let most = self
            .config
            .fetch_max_bytes
            .min(each.saturating_mul(partitions))
            .min(self.budget.fair_limit() / parts / others.max(1));
        let least = each.min(most);
        if left_to_fetch(&self.budget) < least {
            self.drop_stalled(state);
            self.drop_paused(state);
            let alone = state.buffers.is_empty() && state.fetches_in_flight == 0;
            if left_to_fetch(&self.budget) < least && !alone {
                return None;
            }
        }
        Some(most.min(left_to_fetch(&self.budget).max(least)))
    }

    /// Frees memory for partitions that are read: what was fetched of paused ones is fetched again when they are resumed, if it takes more
    /// than a quarter of the budget, or there is nothing else.
    fn drop_paused(&self, state: &mut ConsumerState) {
        let ConsumerState {
            positions,
            buffers,
            progress,
            ..
        } = state;
        let withheld = progress.acknowledged().map(|acks| acks.withheld());
        let paused: Vec<TopicPartition> = (positions.paused())
            .chain(withheld.into_iter().flatten())
            .cloned()
            .collect();
        let (count, bytes) = buffers.held_by(&paused);
        if count < buffers.len() && bytes <= self.budget.fair_limit() / 4 {
            return;
        }
        for partition in &paused {
            if buffers.forget(partition) {
                positions.refetch(partition);
            }
        }
    }

    /// Frees memory for partitions that are read: what was fetched of those whose readers do not ask for it is fetched again when they do.
    fn drop_stalled(&self, state: &mut ConsumerState) {
        let ConsumerState {
            positions,
            buffers,
            readers,
            ..
        } = state;
        let Some(readers) = readers else { return };
        for partition in readers.stalled(Instant::now()) {
            if buffers.forget(partition) {
                positions.set_idle(partition, true);
                positions.refetch(partition);
            }
        }
    }

    /// What of `partition` was acknowledged before a restart, and is not to be handed out, from `offset` on: the first stretch of it.
    pub fn finished_from(&self, partition: &TopicPartition, offset: i64) -> Option<Range<i64>> {
        if self.config.commit_source != CommitSource::Acknowledged {
            return None;
        }
        let mut state = self.state();
        let acknowledged = state.progress.acknowledged()?;
        acknowledged.finished_from(partition, offset)
    }

    /// A fetch is over.
    pub fn fetch_over(&self) {
        let mut state = self.state();
        state.fetches_in_flight = state.fetches_in_flight.saturating_sub(1);
    }

    /// Something about these partitions failed, all for the same reason: they pause, and the metadata may be to blame.
    pub fn failed<'a>(
        &self,
        partitions: impl IntoIterator<Item = (&'a TopicPartition, u64)>,
        error: &Error,
    ) {
        self.failed_since(Instant::now(), partitions, error);
    }

    /// As [`failed`](Self::failed), of what was asked at `asked`: nothing was heard since.
    pub fn failed_since<'a>(
        &self,
        asked: Instant,
        partitions: impl IntoIterator<Item = (&'a TopicPartition, u64)>,
        error: &Error,
    ) {
        self.failed_with_pause(asked, partitions, error, |attempts| self.pause(attempts));
    }

    /// As [`failed_since`](Self::failed_since), with pauses by the number of attempts.
    pub fn failed_with_pause<'a>(
        &self,
        asked: Instant,
        partitions: impl IntoIterator<Item = (&'a TopicPartition, u64)>,
        error: &Error,
        pause: impl Fn(u32) -> Duration,
    ) {
        let now = Instant::now();
        let mut state = self.state();
        let mut concerned = None::<(&TopicPartition, usize, u32)>;
        for (partition, version) in partitions {
            let failures = state
                .positions
                .failed(partition, version, asked, now, &pause, error);
            let (_, others, most) = concerned.get_or_insert((partition, 0, 0));
            (*others, *most) = (*others + 1, failures.max(*most));
        }
        drop(state);
        if let Some((partition, count, failures @ 1..)) = concerned {
            self.config.client.tell(|| ClientEvent::Retry {
                what: "reading",
                partition: Some(partition),
                others: count - 1,
                error,
                failures,
            });
        }
        self.cluster.refresh();
        self.wake_all();
        // It may be due.
        self.ready.notify_waiters();
    }

    /// Tells the observer that offsets could not be committed.
    pub fn tell_commit_failed(&self, error: &Error, retried: bool) {
        self.config.client.tell(|| ClientEvent::CommitFailed {
            group: self.config.group_id.as_deref().unwrap_or_default(),
            error,
            retried,
        });
    }

    /// Nothing of the partition is read until the application seeks; polls say why.
    pub fn stopped(&self, partition: &TopicPartition, version: u64, error: Error) {
        self.state().positions.stop(partition, version, error);
        self.wake_all();
        self.ready.notify_waiters();
    }
}

impl ConsumerState {
    /// The next buffered fetch that may be read now. `reading` is the one that was read last, if it has more.
    pub fn next_reader(&mut self, mut reading: Option<BatchReader>) -> Option<BatchReader> {
        while let Some(reader) = reading.take().or_else(|| self.buffers.next()) {
            if let Ok(reader) = self.turn_of(reader) {
                return Some(reader);
            }
        }
        None
    }

    /// As [`next_reader`](Self::next_reader), of one partition.
    pub fn next_of(
        &mut self,
        partition: &TopicPartition,
        mut reading: Option<BatchReader>,
    ) -> Option<BatchReader> {
        while let Some(reader) = reading.take().or_else(|| self.buffers.next_of(partition)) {
            match self.turn_of(reader) {
                Ok(reader) => return Some(reader),
                Err(NotRead::Wait) => return None,
                Err(NotRead::Useless) => {}
            }
        }
        None
    }

    fn turn_of(&mut self, reader: BatchReader) -> Result<BatchReader, NotRead> {
        let BatchReader {
            partition,
            version,
            position,
            ..
        } = &reader;
        let readable = (self.positions).readable(partition, *version, position.offset);
        match readable {
            Some(true) if !self.withholds(&reader.partition) => Ok(reader),
            Some(_) => {
                self.buffers.set_aside(reader);
                Err(NotRead::Wait)
            }
            None => {
                self.positions.useless(partition, *version, position.offset);
                self.wake_fetcher(&reader.partition);
                Err(NotRead::Useless)
            }
        }
    }

    /// What of `reader` is not read yet is read the next time.
    pub fn put_back(&mut self, reader: BatchReader) {
        if self.positions.holds(&reader.partition) {
            self.buffers.set_aside(reader);
        }
    }

    /// Whether anything of `partition` is at hand.
    pub fn has_fetched(&self, partition: &TopicPartition) -> bool {
        self.buffers.held_by(std::slice::from_ref(partition)).0 > 0
    }

    /// Reads on where nothing is withheld any more.
    pub fn release_withheld(&mut self) {
        let Some(acknowledged) = self.progress.acknowledged() else {
            return;
        };
        for released in acknowledged.take_released() {
            self.buffers.resume(&released);
            self.wake_reader(&released);
        }
    }

    /// Something came of `partition`, or may be read on.
    pub fn wake_reader(&self, partition: &TopicPartition) {
        if let Some(readers) = &self.readers {
            readers.wake(partition);
        }
    }

    fn withholds(&mut self, partition: &TopicPartition) -> bool {
        let acknowledged = self.progress.acknowledged();
        acknowledged.is_some_and(|acknowledged| acknowledged.withholds(partition))
    }

    /// `reader` was read on: what it has come to since it was at `from`, and the position after it. `false` when nothing of it is to be handed
    /// out, because of a seek or a revocation in the meantime.
    pub fn hand_out(
        &mut self,
        reader: &BatchReader,
        from: i64,
        batch: Option<Batch>,
        records: &mut Records,
    ) -> bool {
        let BatchReader {
            partition,
            version,
            position,
            topic_id,
            ..
        } = reader;
        if let Some(readers) = &mut self.readers {
            let (positions, topic) = (&self.positions, *topic_id);
            readers.hand_out(partition, || {
                Some(to_commit(positions.position(partition)?, topic))
            });
        }
        if !self.positions.advance(partition, *version, *position) {
            return false;
        }
        let acknowledged = self.progress.acknowledged();
        let Some(mut batch) = batch else {
            if let Some(acknowledged) = acknowledged {
                acknowledged.passed(partition, *topic_id, from, position.offset);
            }
            return true;
        };
        if let Some(acknowledged) = acknowledged {
            batch.acks = acknowledged.handed_out(&batch, from);
        }
        let newest = batch.records.header().max_timestamp;
        self.positions.handed_out_at(partition, newest);
        records.push(batch);
        true
    }

    /// A buffered fetch of `partition` was read to its end, or dropped: more may be fetched.
    pub fn wake_fetcher(&self, partition: &TopicPartition) {
        let node = self.positions.node_of(partition, Instant::now());
        if let Some(wakeup) = node.and_then(|node| self.fetchers.get(&node)) {
            wakeup.notify_one();
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
