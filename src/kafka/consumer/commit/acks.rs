//! Acknowledgements of one partition, in any order: what an application holds, and what a commit takes from it.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::Notify;

use super::commit_metadata;
use super::offset_tracker::{Arrival, OffsetTracker};
use crate::kafka::TopicId;
use crate::kafka::consumer::OffsetAndMetadata;
use crate::kafka::consumer::records::Batch;
use crate::kafka::runtime::Mutex;

/// So few records in flight are handed out whatever was finished before a restart: it is them that close the gaps.
const NEVER_TOO_MANY: usize = 256;
/// Nothing more is handed out until there is room for so many.
const WORTH_TAKING: usize = 128;
/// How far what is handed out next may reach, holes included.
const SPARSE: u64 = 1 << 20;

/// Acknowledges records of one partition, in any order, where [`commit_source`](crate::kafka::ConsumerConfig::commit_source) is
/// [`CommitSource::Acknowledged`](crate::kafka::consumer::CommitSource::Acknowledged). Cheap to clone; may be used from any task or thread.
///
/// It is of the records that came with it: [`PartitionRecords::acks`](crate::kafka::consumer::PartitionRecords::acks). Once the partition went
/// to another member, or was sought in, it acknowledges nothing any more. Where commits go by something else, it never does.
///
/// ```no_run
/// # async fn example() -> pat_events::kafka::Result<()> {
/// use pat_events::kafka::consumer::CommitSource;
/// use pat_events::kafka::{Consumer, ConsumerConfig};
/// use std::time::Duration;
///
/// let mut config = ConsumerConfig::new("localhost:9092", "mailer");
/// config.commit_source = CommitSource::Acknowledged;
/// config.enable_auto_commit = true;
/// let mut consumer = Consumer::connect(config).await?;
/// consumer.subscribe(&["emails"]).await?;
/// loop {
///     let records = consumer.poll(Duration::from_millis(500)).await?;
///     for part in records.partitions() {
///         for record in &part {
///             let (acks, record) = (part.acks(), record.to_owned());
///             tokio::spawn(async move {
///                 println!("{:?}", record.value);
///                 acks.done(record.offset);
///             });
///         }
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Acks(Option<Arc<Acknowledged>>);

#[derive(Debug)]
struct Acknowledged {
    state: Mutex<State>,
    /// Wakes polls: there may be room again for what is finished beyond a gap.
    ready: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    tracker: OffsetTracker,
    topic_id: Option<TopicId>,
    /// Nothing that is acknowledged is committed any more.
    over: bool,
    /// Polls leave the partition out until less is finished beyond a gap.
    withheld: bool,
}

impl Acks {
    /// Of a partition in the topic of this id, of which `tracker` knows what was finished before.
    pub(super) fn new(
        tracker: OffsetTracker,
        topic_id: Option<TopicId>,
        ready: Arc<Notify>,
    ) -> Self {
        let state = State {
            tracker,
            topic_id,
            over: false,
            withheld: false,
        };
        Self(Some(Arc::new(Acknowledged {
            state: Mutex::new(state),
            ready,
        })))
    }

    /// The record at `offset` is done with: it need not be read again. `false` when it was so before, and when it does not count any more:
    /// the partition was revoked, or sought in.
    pub fn done(&self, offset: i64) -> bool {
        self.act(|tracker| usize::from(tracker.finish(offset))) > 0
    }

    /// As [`done`](Self::done), of all records that came at these offsets: one call for many costs hardly more than for one. Returns how many
    /// there were.
    pub fn done_all(&self, offsets: Range<i64>) -> usize {
        match offsets.is_empty() {
            true => 0,
            false => self.act(|tracker| tracker.finish_all(offsets)),
        }
    }

    /// How many records have come and are not done with.
    pub fn unfinished(&self) -> usize {
        let acknowledged = self.0.as_ref();
        acknowledged.map_or(0, |it| it.state.lock().tracker.in_flight())
    }

    /// Whether nothing that is acknowledged counts any more.
    pub fn is_over(&self) -> bool {
        (self.0.as_ref()).is_none_or(|acknowledged| acknowledged.state.lock().over)
    }

    fn act(&self, finish: impl FnOnce(&mut OffsetTracker) -> usize) -> usize {
        let Some(acknowledged) = &self.0 else {
            return 0;
        };
        let mut state = acknowledged.state.lock();
        if state.over {
            return 0;
        }
        let finished = finish(&mut state.tracker);
        if state.withheld && state.room() >= WORTH_TAKING {
            state.withheld = false;
            drop(state);
            acknowledged.ready.notify_waiters();
        }
        finished
    }

    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> Option<R> {
        (self.0.as_ref()).map(|acknowledged| act(&mut acknowledged.state.lock()))
    }

    /// From now on nothing is acknowledged.
    pub(super) fn end(&self) {
        self.with(|state| state.over = true);
    }

    /// Whether what is read at `offset` of the topic of this id goes on from what is known here.
    pub(super) fn goes_on(&self, topic_id: Option<TopicId>, offset: i64) -> bool {
        let goes_on = self.with(|state| {
            let is_same = match (state.topic_id, topic_id) {
                (Some(one), Some(other)) => one == other,
                _ => true,
            };
            is_same && !state.tracker.is_past(offset)
        });
        goes_on == Some(true)
    }

    /// These records are handed out.
    pub(super) fn arrive(&self, batch: &Batch) {
        let first = batch.records.records().next();
        let Some(Ok(first)) = first else { return };
        let first = first.offset;
        let epoch = batch.records.header().partition_leader_epoch;
        let is_dense = batch.next_offset.abs_diff(first) == batch.records.remaining() as u64;
        let arrival = match is_dense {
            true => Arrival::Dense(first..batch.next_offset),
            false => {
                let records = batch.records.records().map_while(|record| record.ok());
                Arrival::Sparse(records.map(|record| record.offset).collect())
            }
        };
        let epoch = (epoch >= 0).then_some(epoch);
        self.with(|state| (state.tracker).arrive_together(arrival, batch.next_offset, epoch));
    }

    /// All before `position` has come, or was never there.
    pub(super) fn advance(&self, position: i64) {
        self.with(|state| state.tracker.advance(position));
    }

    /// What was finished before a restart of what begins at `offset`: the first stretch of it.
    pub(super) fn finished_from(&self, offset: i64) -> Option<Range<i64>> {
        self.with(|state| state.tracker.finished_from(offset))?
    }

    /// What to commit.
    pub(super) fn commit(&self) -> Option<OffsetAndMetadata> {
        self.with(|state| {
            let commit = state.tracker.commit()?;
            let metadata = match commit.finished.is_empty() {
                true => String::new(),
                false => commit_metadata::encode(commit.offset, state.topic_id, &commit.finished),
            };
            Some(OffsetAndMetadata {
                offset: commit.offset,
                leader_epoch: commit.leader_epoch,
                metadata,
                topic_id: state.topic_id,
            })
        })?
    }

    /// How many records more may be handed out, so that whatever is acknowledged of them fits into a commit's metadata: none until the gaps
    /// close.
    pub(super) fn room(&self) -> usize {
        let room = self.with(|state| {
            let room = state.room();
            state.withheld = room < if state.withheld { WORTH_TAKING } else { 1 };
            if state.withheld { 0 } else { room }
        });
        room.unwrap_or(usize::MAX)
    }
}

impl State {
    fn room(&self) -> usize {
        let tracker = &self.tracker;
        let (span, reach) = (tracker.span(), tracker.reach());
        let by_bits = match reach <= commit_metadata::ALWAYS_FIT {
            true => (commit_metadata::ALWAYS_FIT - span) as usize,
            false => 0,
        };
        let stretches = commit_metadata::stretches_that_fit(reach.saturating_add(SPARSE));
        let by_stretches = stretches.saturating_sub(tracker.most_stretches());
        let few = NEVER_TOO_MANY.saturating_sub(tracker.in_flight());
        by_bits.max(by_stretches).max(few)
    }
}
