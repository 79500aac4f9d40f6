//! All assigned partitions: assigning, seeking, pausing, and what is known of each.
//!
//! Every (re)start of a partition gets a new *version of its position*. A response carries the version that it was asked under and is ignored
//! when that has passed, so what was fetched before a seek never comes out after it, and a reset happens once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::time::Instant;

use super::offset_reset::{OffsetReset, PositionReset, ResetCounts, StartOffset};
use super::partition::{Leader, Partition, Place, Position, Watermarks};
use crate::kafka::consumer::IsolationLevel;
use crate::kafka::{TopicId, TopicPartition};

/// How many resets are kept until somebody asks for them.
const RESETS_KEPT: usize = 1_000;

/// The assigned partitions.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    pub(super) partitions: BTreeMap<TopicPartition, Partition>,
    /// What is known of partitions from before they were assigned the last time.
    pub(super) remembered: BTreeMap<TopicPartition, Remembered>,
    /// Those that something may be wrong with.
    pub(super) failing: BTreeSet<TopicPartition>,
    /// Whether the listener has yet to be told of the assignment.
    pub(super) listener_first: bool,
    pub(super) last_version: u64,
    pub(super) last_turn: u64,
    pub(super) policy: OffsetReset,
    pub(super) isolation_level: IsolationLevel,
    /// Resets that nobody was told of yet.
    pub(super) resets: VecDeque<PositionReset>,
    pub(super) reset_counts: ResetCounts,
}

/// What outlives an assignment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    handed_out: Option<TopicId>,
    /// With the topic that they are of. The fetch session goes on where it was: the broker says nothing of what has not changed.
    watermarks: Option<(Option<TopicId>, Watermarks)>,
}

impl Remembered {
    fn of(partition: &Partition) -> Self {
        Self {
            handed_out: partition.handed_out,
            watermarks: partition.watermarks,
        }
    }
}

impl Positions {
    pub fn new(policy: OffsetReset, isolation_level: IsolationLevel) -> Self {
        Self {
            policy,
            isolation_level,
            ..Self::default()
        }
    }

    /// Starts `partition` at `start`, whatever it was before.
    pub fn start(&mut self, partition: TopicPartition, start: StartOffset) {
        let place = match start {
            StartOffset::Committed => Place::Committed,
            StartOffset::Offset(offset) => Place::At(Position {
                offset,
                leader_epoch: None,
            }),
            other => Place::Listed(other.timestamp()),
        };
        let version = self.new_version();
        match self.partitions.get_mut(&partition) {
            Some(known) => {
                (known.by_commits, known.bound_to) = (place == Place::Committed, None);
                known.restart(version, place);
            }
            None => {
                let mut new = Partition::new(version, place);
                if let Some(remembered) = self.remembered.remove(&partition) {
                    new.handed_out = remembered.handed_out;
                    new.watermarks = remembered.watermarks;
                }
                self.partitions.insert(partition, new);
            }
        }
    }

    /// The assignment of `partition` is of this topic alone: while another one has its name, nothing of it is read.
    pub fn bind(&mut self, partition: &TopicPartition, topic_id: TopicId) {
        if let Some(known) = self.partitions.get_mut(partition) {
            known.bound_to = Some(topic_id);
            known.topic_id = Some(topic_id);
        }
    }

    /// Whether `partition` is yet to find its place in a topic that got the name of the one it was read in.
    pub fn is_moving(&self, partition: &TopicPartition) -> bool {
        let known = self.partitions.get(partition);
        known.is_some_and(|known| known.place == Place::Committed && known.reset.is_some())
    }

    /// Ends the assignment of one partition.
    pub fn remove(&mut self, partition: &TopicPartition) {
        self.failing.remove(partition);
        if let Some((name, known)) = self.partitions.remove_entry(partition) {
            self.remembered.insert(name, Remembered::of(&known));
        }
    }

    /// Ends the assignment of all.
    pub fn clear(&mut self) {
        self.failing.clear();
        self.listener_first = false;
        let partitions = std::mem::take(&mut self.partitions).into_iter();
        let remembered = partitions.map(|(name, known)| (name, Remembered::of(&known)));
        self.remembered.extend(remembered);
    }

    /// What was handed out of `partition` last has this timestamp.
    pub fn handed_out_at(&mut self, partition: &TopicPartition, timestamp_ms: i64) {
        if let Some(known) = self.partitions.get_mut(partition) {
            known.handed_out_ms = Some(timestamp_ms);
        }
    }

    /// The timestamp of what was handed out of `partition` last, since the last seek.
    pub fn handed_out_ms(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions.get(partition)?.handed_out_ms
    }

    pub fn iter(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// Whether `partition` is assigned.
    pub fn holds(&self, partition: &TopicPartition) -> bool {
        self.partitions.contains_key(partition)
    }

    /// Moves `partition` to `position`. `false` when it is not assigned.
    pub fn seek(&mut self, partition: &TopicPartition, position: Position) -> bool {
        self.sought(partition);
        self.restart(partition, Place::At(position))
    }

    /// Moves `partition` to where its leader finds `timestamp` (-1 latest, -2 earliest). `false` when it is not assigned.
    pub fn seek_to_timestamp(&mut self, partition: &TopicPartition, timestamp: i64) -> bool {
        self.sought(partition);
        self.restart(partition, Place::Listed(timestamp))
    }

    /// Who seeks means the topic as it is now.
    fn sought(&mut self, partition: &TopicPartition) {
        if let Some(known) = self.partitions.get_mut(partition) {
            known.handed_out = None;
        }
    }

    /// Pauses or resumes. `false` when it is not assigned. Doing it twice changes nothing.
    pub fn set_paused(&mut self, partition: &TopicPartition, paused: bool) -> bool {
        match self.partitions.get_mut(partition) {
            Some(known) => {
                known.paused = paused;
                true
            }
            None => false,
        }
    }

    /// Whether nobody asks for more of `partition`: nothing is fetched of it then. Whether that is a change.
    pub fn set_idle(&mut self, partition: &TopicPartition, idle: bool) -> bool {
        let known = self.partitions.get_mut(partition);
        known.is_some_and(|known| std::mem::replace(&mut known.idle, idle) != idle)
    }

    /// `partition` is on its way to another member: nothing of it is fetched or handed out any more.
    pub fn set_leaving(&mut self, partition: &TopicPartition) {
        if let Some(known) = self.partitions.get_mut(partition) {
            known.leaving = true;
        }
    }

    /// What was handed out from `position` on was given back: it is read again.
    pub fn rewind(&mut self, partition: &TopicPartition, position: Position) {
        self.restart(partition, Place::At(position));
    }

    pub fn paused(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions
            .iter()
            .filter(|(_, known)| known.paused)
            .map(|(name, _)| name)
    }

    /// The next offset to be handed out, once it is known.
    pub fn position(&self, partition: &TopicPartition) -> Option<Position> {
        self.partitions.get(partition)?.position()
    }

    /// Every partition whose position is known, that, and the topic that it is in.
    pub fn all(&self) -> impl Iterator<Item = (&TopicPartition, Position, Option<TopicId>)> {
        self.partitions
            .iter()
            .filter_map(|(name, known)| Some((name, known.position()?, known.topic_id)))
    }

    /// The topic that the position is in, once that is known.
    pub fn topic_id(&self, partition: &TopicPartition) -> Option<TopicId> {
        self.partitions.get(partition)?.topic_id
    }

    /// The topic that an offset is of which the application made itself: that of the records that were handed out last, in this assignment
    /// or an earlier one. Before any were, that of the position.
    pub fn topic_of_records(&self, partition: &TopicPartition) -> Option<TopicId> {
        match self.partitions.get(partition) {
            Some(known) => known.handed_out.or(known.topic_id),
            None => self.remembered.get(partition)?.handed_out,
        }
    }

    pub fn watermarks(&self, partition: &TopicPartition) -> Option<Watermarks> {
        let known = self.partitions.get(partition)?;
        let (topic_id, watermarks) = known.watermarks?;
        (topic_id == known.topic_id || topic_id.is_none()).then_some(watermarks)
    }

    /// What nobody was told of yet.
    pub fn take_resets(&mut self) -> Vec<PositionReset> {
        std::mem::take(&mut self.resets).into()
    }

    pub fn reset_counts(&self) -> ResetCounts {
        self.reset_counts
    }

    /// The resets after the first `seen` ones, as far as they are kept; and how many there were in all.
    pub fn resets_after(&self, seen: u64) -> (Vec<PositionReset>, u64) {
        let (all, kept) = (self.reset_counts.resets, self.resets.len());
        let new = usize::try_from(all.saturating_sub(seen)).unwrap_or(kept);
        let news = self.resets.iter().skip(kept.saturating_sub(new));
        (news.cloned().collect(), all)
    }

    pub(super) fn note_reset(&mut self, reset: PositionReset) {
        self.reset_counts.resets += 1;
        self.reset_counts.passed_over += reset.passed_over.unwrap_or(0);
        if self.resets.len() == RESETS_KEPT {
            self.resets.pop_front();
        }
        self.resets.push_back(reset);
    }

    pub fn leader(&self, partition: &TopicPartition) -> Option<Leader> {
        self.partitions.get(partition)?.leader
    }

    /// Where `partition` is fetched from.
    pub fn node_of(&self, partition: &TopicPartition, now: Instant) -> Option<i32> {
        self.partitions.get(partition)?.node(now)
    }

    pub(super) fn restart(&mut self, partition: &TopicPartition, place: Place) -> bool {
        let version = self.new_version();
        match self.partitions.get_mut(partition) {
            Some(known) => {
                known.restart(version, place);
                true
            }
            None => false,
        }
    }

    pub(super) fn current(
        &mut self,
        partition: &TopicPartition,
        version: u64,
    ) -> Option<&mut Partition> {
        self.partitions
            .get_mut(partition)
            .filter(|known| known.version == version)
    }

    pub(super) fn new_version(&mut self) -> u64 {
        self.last_version += 1;
        self.last_version
    }
}
