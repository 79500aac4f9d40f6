//! What to fetch from a broker next, what its answers do to a partition, and what of them may be handed out.

use std::time::Duration;

use protocol::Uuid;
use tokio::time::Instant;

use super::failures::Failure;
use super::offset_reset::{OffsetReset, PositionReset, ResetCause};
use super::partition::{Partition, Place, Position, Watermarks};
use super::positions::Positions;
use super::questions::sooner;
use crate::kafka::consumer::IsolationLevel;
use crate::kafka::{Error, TopicPartition};

/// How many fetched, unread responses a partition may have before it has enough: one being read, the next at hand.
const MAX_BUFFERED: u32 = 1;
/// How long its node is left alone then: a partition that is read fast is fetched together with the others, in one request.
const LEFT_ALONE_FOR: Duration = Duration::from_millis(10);

/// What to do when a broker moves a partition again and again.
pub(crate) struct Pace<'a> {
    pub now: Instant,
    pub pause: &'a dyn Fn(u32) -> Duration,
    pub error: &'a Error,
}

/// What is to be done about a log that has another past.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Diverged {
    /// Nothing: what was fetched ahead is fetched again.
    Refetched,
    /// The log lost what was handed out: it was gone back to where it ends.
    Truncated,
    /// The same, and the policy forbids to move.
    Stuck,
}

/// A partition to be fetched, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub partition: TopicPartition,
    pub topic_id: Uuid,
    pub version: u64,
    pub offset: i64,
    /// The leader epoch of the record before it, by which the leader notices that its log has another past (KIP-595).
    pub last_epoch: i32,
    pub leader_epoch: i32,
}

/// What to do about a node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Fetch these, those that waited longest first. Others have enough unread, the last of them for `full_for`.
    Fetch {
        wanted: Vec<Wanted>,
        full_for: Option<Duration>,
    },
    /// Nothing now; look again when something changed, or at this time.
    Wait(Option<Instant>),
    /// No assigned partition is fetched from there any more.
    Retire,
}

impl Positions {
    /// Whether what was fetched under `version` may be handed out now; `None` when it never may. Of a paused partition there may be more than
    /// the buffered fetch at the position: what is behind that one is not judged before its turn.
    pub fn readable(&self, partition: &TopicPartition, version: u64, offset: i64) -> Option<bool> {
        let known = self
            .partitions
            .get(partition)
            .filter(|known| known.version == version)?;
        let position = known.position()?.offset;
        let has_a_turn = position == offset || (known.paused && position < offset);
        has_a_turn.then_some(!known.paused && !known.leaving)
    }

    /// Records up to `to` are handed out. `false` when they must not be, because of a seek or a revocation in the meantime.
    pub fn advance(&mut self, partition: &TopicPartition, version: u64, to: Position) -> bool {
        let Some(known) = self.current(partition, version) else {
            return false;
        };
        match &mut known.place {
            Place::At(position) if position.offset <= to.offset => {
                *position = to;
                known.handed_out = known.topic_id;
                true
            }
            _ => false,
        }
    }

    /// One fetched answer was read to its end, or given up.
    pub fn buffered_read(&mut self, partition: &TopicPartition, version: u64) {
        if let Some(known) = self.current(partition, version) {
            known.buffered = known.buffered.saturating_sub(1);
            known.full_since = known.full_since.filter(|_| known.buffered > MAX_BUFFERED);
        }
    }

    /// A fetched answer is not handed out. One that does not go on where the application stands is a broker's mistake: what lies between
    /// would be missing, so it is fetched again.
    pub fn useless(&mut self, partition: &TopicPartition, version: u64, offset: i64) {
        let Some(known) = self.current(partition, version) else {
            return;
        };
        match known.place {
            Place::At(position) if position.offset != offset => self.refetch(partition),
            _ => self.buffered_read(partition, version),
        }
    }

    /// Forgets everything fetched ahead: the next fetch starts where the application stands.
    pub fn refetch(&mut self, partition: &TopicPartition) {
        let Some(known) = self.partitions.get(partition) else {
            return;
        };
        self.restart(partition, known.place);
    }

    /// What to fetch from `node` next. One partition that has enough unread, because the application is slow to read it, holds up the others
    /// for a moment only.
    pub fn plan(&self, node: i32, now: Instant) -> Plan {
        let mut wanted = Vec::new();
        let (mut any, mut full_since, mut next) = (false, None, None::<Instant>);
        for (name, known) in &self.partitions {
            if known.node(now) != Some(node) {
                continue;
            }
            any = true;
            let Place::At(_) = known.place else { continue };
            if known.paused || known.idle || known.leaving {
                continue;
            }
            if known.buffered > MAX_BUFFERED {
                full_since = full_since.max(known.full_since);
                continue;
            }
            match known.not_before.filter(|at| *at > now) {
                Some(at) => next = sooner(next, at),
                None => wanted.push((known.turn, name, known)),
            }
        }
        if !any {
            return Plan::Retire;
        }
        let full_for = full_since.map(|since| now.saturating_duration_since(since));
        if let Some(since) = full_since.filter(|since| now < *since + LEFT_ALONE_FOR) {
            return Plan::Wait(sooner(next, since + LEFT_ALONE_FOR));
        }
        if wanted.is_empty() {
            return Plan::Wait(next);
        }
        wanted.sort_by_key(|(turn, ..)| *turn);
        let wanted = wanted.into_iter();
        Plan::Fetch {
            wanted: wanted.map(|(_, name, known)| known.wanted(name)).collect(),
            full_for,
        }
    }

    /// An answer to `want` came that told of the log's bounds and brought nothing.
    pub fn saw(&mut self, want: &Wanted, watermarks: Watermarks) {
        if let Some(known) = self.current(&want.partition, want.version) {
            known.watermarks = Some((known.topic_id, watermarks));
        }
    }

    /// A fetch of these was answered: of those that nothing came of, it may be the end.
    pub fn answered(&mut self, wanted: &[Wanted]) {
        for want in wanted {
            if let Some(known) = self.current(&want.partition, want.version)
                && known.fetch_from == want.offset
                && known.failure.is_none()
            {
                known.nothing_at = Some(want.offset);
            }
        }
    }

    /// The partitions that are read to their end, each once for each end.
    pub fn take_ends(&mut self) -> Vec<(TopicPartition, i64)> {
        let isolation_level = self.isolation_level;
        let all = self.partitions.iter_mut();
        all.filter_map(|(name, known)| Some((name.clone(), known.take_end(isolation_level)?)))
            .collect()
    }

    /// The same of one partition.
    pub fn take_end(&mut self, partition: &TopicPartition) -> Option<(TopicPartition, i64)> {
        let known = self.partitions.get_mut(partition)?;
        let end = known.take_end(self.isolation_level)?;
        Some((partition.clone(), end))
    }

    /// An answer to `want` came; `next` is the place after its last whole batch, if it has any. `false` when it must be dropped.
    pub fn fetched(
        &mut self,
        want: &Wanted,
        next: Option<Position>,
        watermarks: Watermarks,
        now: Instant,
    ) -> bool {
        self.saw(want, watermarks);
        self.last_turn += 1;
        let turn = self.last_turn;
        let Some(known) = self.current(&want.partition, want.version) else {
            return false;
        };
        known.failure = None;
        known.not_before = None;
        if known.leaving {
            return false;
        }
        let Some(next) =
            next.filter(|next| next.offset > want.offset && known.fetch_from == want.offset)
        else {
            return false;
        };
        known.moves = 0;
        known.fetch_from = next.offset;
        known.fetch_epoch = next.leader_epoch;
        known.buffered += 1;
        known.full_since = (known.buffered > MAX_BUFFERED).then_some(now);
        known.turn = turn;
        true
    }

    /// The leader's log parted from what was fetched at `end`: what was fetched ahead is fetched again. When even records that were handed out
    /// are gone from the log, the position goes back to `end`, unless the policy forbids to move.
    ///
    /// A log that holds all that was handed out may still lack the epoch of its last record: one without records leaves no trace with some
    /// leaders. Nothing is gone then, and that epoch is not asked about again.
    pub fn diverged(&mut self, want: &Wanted, end: Position, pace: &Pace<'_>) -> Option<Diverged> {
        let known = self.current(&want.partition, want.version)?;
        let (mut position, topic_id) = (known.position()?, known.topic_id);
        if end.offset >= position.offset {
            if want.offset == position.offset {
                position.leader_epoch = None;
            }
            self.move_to(&want.partition, Place::At(position), pace);
            return Some(Diverged::Refetched);
        }
        if self.policy == OffsetReset::None {
            return Some(Diverged::Stuck);
        }
        self.move_to(&want.partition, Place::At(end), pace);
        self.note_reset(PositionReset {
            partition: want.partition.clone(),
            topic_id,
            cause: ResetCause::Truncated,
            policy: self.policy,
            from: Some(position.offset),
            to: end.offset,
            passed_over: Some(0),
        });
        Some(Diverged::Truncated)
    }

    /// Whether the fetch of `want` is the one that decides what is handed out next: nothing fetched before it is still unread.
    pub fn is_next(&self, want: &Wanted) -> bool {
        self.partitions
            .get(&want.partition)
            .is_some_and(|known| known.version == want.version && known.buffered == 0)
    }

    /// The offset is not in the log: starts over by a timestamp (-1 latest, -2 earliest), if nothing else happened to the partition since
    /// `version`.
    pub fn reset(
        &mut self,
        partition: &TopicPartition,
        version: u64,
        timestamp: i64,
        pace: &Pace<'_>,
    ) {
        let Some(known) = self.current(partition, version) else {
            return;
        };
        let from = known.position().map(|position| position.offset);
        self.move_to(partition, Place::Listed(timestamp), pace);
        if let Some(known) = self.partitions.get_mut(partition) {
            known.reset = Some((ResetCause::OutOfRange, from));
        }
    }

    /// A broker's answer moves the partition. The first time at once; again without a record in between, after a pause, and that it is so is
    /// remembered.
    fn move_to(&mut self, partition: &TopicPartition, place: Place, pace: &Pace<'_>) {
        let version = self.new_version();
        let Some(known) = self.partitions.get_mut(partition) else {
            return;
        };
        let (moves, failure) = (known.moves.saturating_add(1), known.failure.take());
        known.restart(version, place);
        known.moves = moves;
        if moves > 1 {
            let failure = failure.unwrap_or_else(|| Failure::new(pace.now, pace.error));
            known.failure = Some(Failure {
                last: pace.now,
                ..failure
            });
            known.not_before = Some(pace.now + (pace.pause)(moves - 1));
            self.failing.insert(partition.clone());
        }
    }

    /// Fetch from `replica` until `until` (KIP-392), or from the leader again.
    pub fn prefer(
        &mut self,
        partition: &TopicPartition,
        version: u64,
        replica: Option<(i32, Instant)>,
    ) {
        if let Some(known) = self.current(partition, version) {
            known.preferred = replica;
        }
    }
}

impl Partition {
    /// The end, when it was reached and nobody was told.
    fn take_end(&mut self, isolation_level: IsolationLevel) -> Option<i64> {
        let (position, (_, watermarks)) = (self.position()?, self.watermarks?);
        let is_end = self.nothing_at == Some(position.offset)
            && self.buffered == 0
            && !self.paused
            && !self.leaving
            && watermarks.end(isolation_level) <= position.offset
            && self.end_told != Some(position.offset);
        if is_end {
            self.end_told = Some(position.offset);
        }
        is_end.then_some(position.offset)
    }

    fn wanted(&self, name: &TopicPartition) -> Wanted {
        let leader = self.leader;
        Wanted {
            partition: name.clone(),
            topic_id: leader.map_or(Uuid::default(), |leader| leader.topic_id),
            version: self.version,
            offset: self.fetch_from,
            last_epoch: self.fetch_epoch.unwrap_or(-1),
            leader_epoch: leader.map_or(-1, |leader| leader.epoch),
        }
    }
}
