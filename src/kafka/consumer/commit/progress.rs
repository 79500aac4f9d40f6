//! What a consumer's commits say of each partition: how far polls have come, what the application has stored, or what it has acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::Notify;

use super::acks::Acks;
use super::commit_metadata;
use super::offset_tracker::OffsetTracker;
use crate::kafka::consumer::records::Batch;
use crate::kafka::consumer::{CommitSource, OffsetAndMetadata};
use crate::kafka::{TopicId, TopicPartition};

/// What is to be committed of the partitions that are read, where that is not simply the position.
#[derive(Debug, Default)]
pub(crate) enum Progress {
    /// What polls have returned.
    #[default]
    Polled,
    /// What was stored.
    Stored(BTreeMap<TopicPartition, OffsetAndMetadata>),
    Acknowledged(Acknowledgements),
}

/// What is acknowledged of each partition.
#[derive(Debug)]
pub(crate) struct Acknowledgements {
    by_partition: BTreeMap<TopicPartition, Acks>,
    /// Nothing more of these is handed out until less is finished beyond a gap.
    withheld: BTreeSet<TopicPartition>,
    /// Wakes polls.
    ready: Arc<Notify>,
}

impl Progress {
    pub fn new(source: CommitSource, ready: Arc<Notify>) -> Self {
        match source {
            CommitSource::Polled => Self::Polled,
            CommitSource::Stored => Self::Stored(BTreeMap::new()),
            CommitSource::Acknowledged => Self::Acknowledged(Acknowledgements {
                by_partition: BTreeMap::new(),
                withheld: BTreeSet::new(),
                ready,
            }),
        }
    }

    pub fn acknowledged(&mut self) -> Option<&mut Acknowledgements> {
        match self {
            Self::Acknowledged(acknowledgements) => Some(acknowledgements),
            _ => None,
        }
    }

    /// What to commit of `partition`, whose `position` would be committed otherwise.
    pub fn of(
        &self,
        partition: &TopicPartition,
        position: OffsetAndMetadata,
    ) -> Option<OffsetAndMetadata> {
        match self {
            Self::Polled => Some(position),
            Self::Stored(stored) => stored.get(partition).cloned(),
            Self::Acknowledged(Acknowledgements { by_partition, .. }) => {
                let acknowledged = by_partition.get(partition).and_then(Acks::commit);
                Some(acknowledged.unwrap_or(position))
            }
        }
    }

    /// `partition` is read elsewhere from now on, or by somebody else. What was stored of it counts as long as it is `kept`.
    pub fn forget(&mut self, partition: &TopicPartition, kept: bool) {
        match self {
            Self::Polled => {}
            Self::Stored(stored) if !kept => drop(stored.remove(partition)),
            Self::Stored(_) => {}
            Self::Acknowledged(acknowledgements) => acknowledgements.forget(partition),
        }
    }

    /// All partitions are given up.
    pub fn clear(&mut self) {
        match self {
            Self::Polled => {}
            Self::Stored(stored) => stored.clear(),
            Self::Acknowledged(Acknowledgements {
                by_partition,
                withheld,
                ..
            }) => {
                by_partition.values().for_each(Acks::end);
                by_partition.clear();
                withheld.clear();
            }
        }
    }
}

impl Acknowledgements {
    fn forget(&mut self, partition: &TopicPartition) {
        self.withheld.remove(partition);
        if let Some(acks) = self.by_partition.remove(partition) {
            acks.end();
        }
    }

    /// Goes on from what the group has committed.
    pub fn resume(
        &mut self,
        partition: &TopicPartition,
        topic_id: Option<TopicId>,
        committed: &OffsetAndMetadata,
        finished: Vec<Range<i64>>,
    ) {
        let tracker = OffsetTracker::resume(committed.offset, committed.leader_epoch, finished);
        self.put(partition, topic_id, tracker);
    }

    fn put(
        &mut self,
        partition: &TopicPartition,
        topic_id: Option<TopicId>,
        tracker: OffsetTracker,
    ) -> Acks {
        self.forget(partition);
        let acks = Acks::new(tracker, topic_id, self.ready.clone());
        self.by_partition.insert(partition.clone(), acks.clone());
        acks
    }

    /// What is acknowledged of `partition`, which is read on from `offset` in the topic of this id.
    fn at(&mut self, partition: &TopicPartition, topic_id: Option<TopicId>, offset: i64) -> Acks {
        match self.by_partition.get(partition) {
            Some(acks) if acks.goes_on(topic_id, offset) => acks.clone(),
            _ => {
                let tracker = OffsetTracker::resume(offset, None, Vec::new());
                self.put(partition, topic_id, tracker)
            }
        }
    }

    /// What of `partition` is not to be handed out again, from `offset` on: the first stretch of it.
    pub fn finished_from(&self, partition: &TopicPartition, offset: i64) -> Option<Range<i64>> {
        self.by_partition.get(partition)?.finished_from(offset)
    }

    /// These records, which are read on from `offset`, are handed out: they are acknowledged by what is returned.
    pub fn handed_out(&mut self, batch: &Batch, offset: i64) -> Acks {
        let acks = self.at(&batch.partition, batch.topic_id, offset);
        acks.arrive(batch);
        acks
    }

    /// What lies between `offset` and `position` is not handed out.
    pub fn passed(
        &mut self,
        partition: &TopicPartition,
        topic_id: Option<TopicId>,
        offset: i64,
        position: i64,
    ) {
        self.at(partition, topic_id, offset).advance(position);
    }

    /// What acknowledges records of `partition`, once any were handed out.
    pub fn acks(&self, partition: &TopicPartition) -> Option<Acks> {
        self.by_partition.get(partition).cloned()
    }

    /// Whether `partition` is not to be read on now, because so much is in flight beyond a gap.
    pub fn withholds(&mut self, partition: &TopicPartition) -> bool {
        let withheld = self.room(partition) == 0;
        if withheld {
            self.withheld.insert(partition.clone());
        }
        withheld
    }

    /// How many records of `partition` may be handed out now.
    pub fn room(&self, partition: &TopicPartition) -> usize {
        let acks = self.by_partition.get(partition);
        acks.map_or(commit_metadata::ALWAYS_FIT as usize, Acks::room)
    }

    /// Those that are withheld.
    pub fn withheld(&self) -> impl Iterator<Item = &TopicPartition> {
        self.withheld.iter()
    }

    /// Takes those that may be read on again.
    pub fn take_released(&mut self) -> Vec<TopicPartition> {
        let is_over = |name: &TopicPartition| self.room(name) > 0;
        let released: Vec<_> = self
            .withheld
            .iter()
            .filter(|it| is_over(it))
            .cloned()
            .collect();
        for name in &released {
            self.withheld.remove(name);
        }
        released
    }
}
