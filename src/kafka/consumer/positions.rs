//! Where each assigned partition stands: what was handed out, what was fetched ahead, what must be asked for first.
//!
//! In: assignments, seeks, pauses, leaders, answers. Out: what to ask the coordinator and the leaders, what to fetch from a node, what is
//! wrong for too long. No clock and no socket: `now` is an argument.
//!
//! Every (re)start of a partition gets a new *stamp*. An answer carries the stamp that it was asked under and is ignored when that has
//! passed, so what was fetched before a seek never comes out after it, and a reset happens once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocol::Uuid;
use tokio::time::Instant;

use super::offset_reset::{
    EARLIEST_TIMESTAMP, OffsetReset, PositionReset, ResetCause, ResetCounts, StartOffset,
};
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Error, ErrorKind, TopicId, TopicPartition};

/// How many fetched, unread answers a partition may have before its node is left alone: one being read, the next at hand.
const PIECES_AHEAD: u32 = 1;
/// How many resets are kept until somebody asks for them.
const RESETS_KEPT: usize = 1_000;

/// The assigned partitions.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    partitions: BTreeMap<TopicPartition, Partition>,
    /// What is known of partitions from before they were assigned the last time.
    remembered: BTreeMap<TopicPartition, Remembered>,
    last_stamp: u64,
    last_turn: u64,
    policy: OffsetReset,
    /// Resets that nobody was told of yet.
    resets: VecDeque<PositionReset>,
    reset_counts: ResetCounts,
}

/// What outlives an assignment.
#[derive(Clone, Copy, Debug)]
struct Remembered {
    handed_out: Option<TopicId>,
    /// With the topic that they are of. The fetch session goes on where it was: the broker says nothing of what has not changed.
    watermarks: Option<(Option<TopicId>, Watermarks)>,
}

/// The next offset to hand out, and the leader epoch of the record before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub offset: i64,
    pub leader_epoch: Option<i32>,
}

/// Who leads a partition, by the newest metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub node: Option<i32>,
    pub epoch: i32,
    pub topic_id: Uuid,
}

/// What the newest metadata says of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing: what was known stays.
    Unknown,
    /// There is no such topic, or it has fewer partitions.
    Gone,
    Led(Leader),
}

impl From<Option<Leader>> for Standing {
    fn from(leader: Option<Leader>) -> Self {
        leader.map_or(Self::Unknown, Self::Led)
    }
}

/// The log's bounds as the last fetch saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermarks {
    pub log_start: i64,
    pub high_watermark: i64,
    pub last_stable: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the group's committed offset, which is yet to be learnt.
    Committed,
    /// At the offset of this timestamp (or -1 latest, -2 earliest), which is yet to be learnt.
    Listed(i64),
    /// Here.
    At(Position),
}

#[derive(Debug)]
struct Partition {
    stamp: u64,
    place: Place,
    /// The topic that `place` is in, once that is known.
    topic_id: Option<TopicId>,
    /// The topic of the records that were handed out last; none since a seek.
    handed_out: Option<TopicId>,
    paused: bool,
    leader: Option<Leader>,
    /// A question about `place` is on its way.
    asking: bool,
    /// The offset after everything fetched, and the leader epoch of the record before it.
    fetch_from: i64,
    fetch_epoch: Option<i32>,
    /// Fetched and not yet read to the end.
    pieces: u32,
    /// When it last had its turn in a fetch.
    turn: u64,
    not_before: Option<Instant>,
    trouble: Option<Trouble>,
    /// Not to be read until the application seeks.
    stopped: Option<Stopped>,
    /// By the metadata it does not exist: nobody is asked about it.
    gone: bool,
    /// How often the brokers' answers moved it without a record in between.
    moves: u32,
    /// What led to the listing that is under way.
    reset: Option<(ResetCause, Option<i64>)>,
    watermarks: Option<(Option<TopicId>, Watermarks)>,
    preferred: Option<(i32, Instant)>,
}

/// Why nothing of a partition is read until the application seeks, and when a poll said so last.
#[derive(Debug)]
struct Stopped {
    error: Error,
    told: Option<Instant>,
}

/// What to do when a broker moves a partition again and again.
pub(crate) struct Pace<'a> {
    pub now: Instant,
    pub pause: &'a dyn Fn(u32) -> Duration,
    pub error: &'a Error,
}

/// What is to be done about a log that has another past.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Diverged {
    /// Nothing: what was fetched ahead is fetched anew.
    Refetched,
    /// The log lost what was handed out: it was gone back to where it ends.
    Truncated,
    /// The same, and the policy forbids to move.
    Stuck,
}

/// What has been failing without a success in between.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    /// The last failure: what is not tried, because it is paused or is somebody else's now, is not failing.
    last: Instant,
    attempts: u32,
    error: Error,
}

/// What to ask before anything can be fetched. Each entry carries the stamp to answer under.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// The group's committed offsets of these.
    pub committed: Vec<(TopicPartition, u64)>,
    /// ListOffsets, by leader.
    pub listed: BTreeMap<i32, Vec<Listing>>,
    /// These have no leader that is known.
    pub leaderless: Vec<(TopicPartition, u64)>,
    /// By the metadata these do not exist: it is to be asked again.
    pub gone: Vec<(TopicPartition, u64)>,
    /// Some are fetched from another node than before.
    pub moved: bool,
    /// When to look again at those that wait out a backoff.
    pub next: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub partition: TopicPartition,
    pub stamp: u64,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

/// A partition to be fetched, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub partition: TopicPartition,
    pub topic_id: Uuid,
    pub stamp: u64,
    pub offset: i64,
    /// The leader epoch of the record before it, by which the leader notices that its log has another past (KIP-595).
    pub last_epoch: i32,
    pub leader_epoch: i32,
}

/// What to do about a node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Fetch these, those that waited longest first.
    Fetch(Vec<Wanted>),
    /// Nothing now; look again when something changed, or at this time.
    Wait(Option<Instant>),
    /// No assigned partition is fetched from there any more.
    Retire,
}

impl Positions {
    pub fn new(policy: OffsetReset) -> Self {
        Self {
            policy,
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
        let stamp = self.new_stamp();
        match self.partitions.get_mut(&partition) {
            Some(known) => known.restart(stamp, place),
            None => {
                let mut new = Partition::new(stamp, place);
                if let Some(remembered) = self.remembered.remove(&partition) {
                    new.handed_out = remembered.handed_out;
                    new.watermarks = remembered.watermarks;
                }
                self.partitions.insert(partition, new);
            }
        }
    }

    pub fn clear(&mut self) {
        let partitions = std::mem::take(&mut self.partitions);
        self.remembered
            .extend(partitions.into_iter().map(|(name, known)| {
                let remembered = Remembered {
                    handed_out: known.handed_out,
                    watermarks: known.watermarks,
                };
                (name, remembered)
            }));
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

    /// Whether nothing has moved `partition` since it got this stamp.
    pub fn is_current(&self, partition: &TopicPartition, stamp: u64) -> bool {
        self.partitions
            .get(partition)
            .is_some_and(|known| known.stamp == stamp)
    }

    /// Whether what was fetched under `stamp` may be handed out now; `None` when it never may. Of a paused partition there may be more than
    /// the piece at the position: what is behind that one is not judged before its turn.
    pub fn readable(&self, partition: &TopicPartition, stamp: u64, offset: i64) -> Option<bool> {
        let known = self
            .partitions
            .get(partition)
            .filter(|known| known.stamp == stamp)?;
        let position = known.position()?.offset;
        let has_a_turn = position == offset || (known.paused && position < offset);
        has_a_turn.then_some(!known.paused)
    }

    /// Records up to `to` are handed out. `false` when they must not be, because of a seek or a revocation in the meantime.
    pub fn advance(&mut self, partition: &TopicPartition, stamp: u64, to: Position) -> bool {
        let Some(known) = self.current(partition, stamp) else {
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
    pub fn piece_read(&mut self, partition: &TopicPartition, stamp: u64) {
        if let Some(known) = self.current(partition, stamp) {
            known.pieces = known.pieces.saturating_sub(1);
        }
    }

    /// A fetched answer is not handed out. One that does not go on where the application stands is a broker's mistake: what lies between
    /// would be missing, so it is fetched anew.
    pub fn useless(&mut self, partition: &TopicPartition, stamp: u64, offset: i64) {
        let Some(known) = self.current(partition, stamp) else {
            return;
        };
        match known.place {
            Place::At(position) if position.offset != offset => self.refetch(partition),
            _ => self.piece_read(partition, stamp),
        }
    }

    /// Forgets everything fetched ahead: the next fetch starts where the application stands.
    pub fn refetch(&mut self, partition: &TopicPartition) {
        let Some(known) = self.partitions.get(partition) else {
            return;
        };
        self.restart(partition, known.place);
    }

    /// Nothing of the partition is read until the application seeks: what was fetched ahead is forgotten, the position stays.
    pub fn stop(&mut self, partition: &TopicPartition, stamp: u64, error: Error) {
        let new_stamp = self.new_stamp();
        if let Some(known) = self.current(partition, stamp) {
            known.restart(new_stamp, known.place);
            known.stopped = Some(Stopped { error, told: None });
        }
    }

    /// The error of a partition that is stopped: at once, and then every `pause`.
    pub fn stopped(&mut self, now: Instant, pause: Duration) -> Option<Error> {
        let stopped = self.partitions.values_mut().find_map(|known| {
            known
                .stopped
                .as_mut()
                .filter(|stopped| stopped.told.is_none_or(|told| told + pause <= now))
        })?;
        stopped.told = Some(now);
        Some(stopped.error.clone())
    }

    /// Takes the leaders of newer metadata. A partition that is not in it keeps the leader it had. Whether any is another than before.
    pub fn update_leaders<S: Into<Standing>>(
        &mut self,
        standing_of: impl Fn(&TopicPartition) -> S,
    ) -> bool {
        let mut last_stamp = self.last_stamp;
        let mut moved = false;
        for (name, known) in &mut self.partitions {
            match standing_of(name).into() {
                Standing::Unknown => {}
                Standing::Gone => known.gone = true,
                Standing::Led(leader) => {
                    let back = std::mem::take(&mut known.gone);
                    if back {
                        (known.not_before, known.trouble) = (None, None);
                    }
                    if back || known.leader != Some(leader) {
                        last_stamp += 1;
                        known.led_by(name, leader, last_stamp, self.policy);
                        moved = true;
                    }
                }
            }
        }
        self.last_stamp = last_stamp;
        moved
    }

    /// What nobody was told of yet.
    pub fn take_resets(&mut self) -> Vec<PositionReset> {
        std::mem::take(&mut self.resets).into()
    }

    pub fn reset_counts(&self) -> ResetCounts {
        self.reset_counts
    }

    fn note_reset(&mut self, reset: PositionReset) {
        self.reset_counts.resets += 1;
        self.reset_counts.passed_over += reset.passed_over.unwrap_or(0);
        if self.resets.len() == RESETS_KEPT {
            self.resets.pop_front();
        }
        self.resets.push_back(reset);
    }

    /// The nodes to fetch from.
    pub fn nodes(&self, now: Instant) -> BTreeSet<i32> {
        self.partitions
            .values()
            .filter_map(|known| known.node(now))
            .collect()
    }

    /// What must be asked now; everything in the answer counts as asked.
    pub fn questions(&mut self, now: Instant) -> Questions {
        let mut out = Questions::default();
        for (name, known) in &mut self.partitions {
            if known.stopped.is_some() {
                continue;
            }
            match known.preferred {
                Some((_, until)) if until > now => out.next = sooner(out.next, until),
                Some(_) => (known.preferred, out.moved) = (None, true),
                None => {}
            }
            if known.gone {
                match known.not_before.filter(|at| *at > now) {
                    Some(at) => out.next = sooner(out.next, at),
                    None => out.gone.push((name.clone(), known.stamp)),
                }
                continue;
            }
            if known.asking
                || (known.leader_node().is_some() && matches!(known.place, Place::At(_)))
            {
                continue;
            }
            if let Some(at) = known.not_before.filter(|at| *at > now) {
                out.next = sooner(out.next, at);
                continue;
            }
            known.ask(name, &mut out);
        }
        out
    }

    /// The coordinator's answer about the topic of this id: the committed position, or none, in which case `policy` says where to start, and
    /// why. Its `None` is "do not": the partition waits for a seek, and the caller reports.
    pub fn committed(
        &mut self,
        partition: &TopicPartition,
        stamp: u64,
        topic_id: Option<TopicId>,
        found: Option<Position>,
        policy: Option<(i64, ResetCause)>,
        retry_at: Instant,
    ) {
        let new_stamp = self.new_stamp();
        let Some(known) = self.current(partition, stamp) else {
            return;
        };
        if known.place != Place::Committed {
            return;
        }
        if topic_id.is_some() && known.topic_id.is_some_and(|own| Some(own) != topic_id) {
            // Asked under newer or older metadata: about another topic of the same name.
            known.asking = false;
            known.not_before = Some(retry_at);
            return;
        }
        known.topic_id = topic_id.or(known.topic_id);
        #[cfg(planted_defects)]
        let found = found.filter(|_| !planted::is_planted(planted::Defect::CommittedOffsetIgnored));
        match (found, policy) {
            (Some(position), _) => known.restart(new_stamp, Place::At(position)),
            (None, Some((timestamp, cause))) => {
                known.restart(new_stamp, Place::Listed(timestamp));
                known.reset = Some((cause, None));
            }
            (None, None) => {
                known.asking = false;
                known.not_before = Some(retry_at);
            }
        }
    }

    /// The leader's answer to a listing.
    pub fn listed(&mut self, partition: &TopicPartition, stamp: u64, found: Position) {
        let (new_stamp, policy) = (self.new_stamp(), self.policy);
        let Some(known) = self.current(partition, stamp) else {
            return;
        };
        if !matches!(known.place, Place::Listed(_)) {
            return;
        }
        let (reset, moves, trouble) = (known.reset, known.moves, known.trouble.take());
        known.restart(new_stamp, Place::At(found));
        // Only a record shows that the answers make sense.
        known.moves = moves;
        known.trouble = trouble.filter(|_| moves > 1);
        let topic_id = known.topic_id;
        if let Some((cause, from)) = reset {
            let passed_over = from
                .filter(|_| cause == ResetCause::OutOfRange)
                .map(|from| u64::try_from(found.offset.saturating_sub(from)).unwrap_or(0));
            self.note_reset(PositionReset {
                partition: partition.clone(),
                topic_id,
                cause,
                policy,
                from,
                to: found.offset,
                passed_over,
            });
        }
    }

    /// A question or a fetch of this partition failed: try again after a pause, the leader if it was another replica, and remember for how
    /// long it has been so: nothing was heard since it was `asked`.
    pub fn failed(
        &mut self,
        partition: &TopicPartition,
        stamp: u64,
        asked: Instant,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
        error: &Error,
    ) {
        let Some(known) = self.current(partition, stamp) else {
            return;
        };
        known.asking = false;
        known.preferred = None;
        let trouble = known
            .trouble
            .get_or_insert_with(|| Trouble::new(asked, error));
        trouble.last = now;
        trouble.attempts += 1;
        trouble.error = error.clone();
        known.not_before = Some(now + pause(trouble.attempts));
    }

    /// The error of a partition that has gone on failing for `patience`; it is given once per such time.
    pub fn overdue(&mut self, now: Instant, patience: Duration) -> Option<Error> {
        let overdue = |known: &mut Partition| {
            let goes_on = known.gone || known.asking;
            let again_at = known.not_before;
            let trouble = known.trouble.as_mut()?;
            // What does not exist is not tried, and goes on failing; so does what is being tried again, or will be after a pause.
            let last = match again_at {
                _ if goes_on => now,
                Some(at) => now.min(at).max(trouble.last),
                None => trouble.last,
            };
            if last.duration_since(trouble.since) < patience {
                return None;
            }
            trouble.since = now;
            Some(trouble.error.clone().not_the_end())
        };
        self.partitions.values_mut().find_map(overdue)
    }

    /// What to fetch from `node` next.
    ///
    /// A node is left alone while one of its partitions has as much unread as it may: a fetch without it could wait at the broker for the
    /// others while the application waits for this one.
    pub fn plan(&self, node: i32, now: Instant) -> Plan {
        let mut wanted = Vec::new();
        let (mut any, mut full, mut next) = (false, false, None::<Instant>);
        for (name, known) in &self.partitions {
            if known.node(now) != Some(node) {
                continue;
            }
            any = true;
            let Place::At(_) = known.place else { continue };
            if known.paused {
                continue;
            }
            if known.pieces > PIECES_AHEAD {
                full = true;
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
        if full || wanted.is_empty() {
            return Plan::Wait(next);
        }
        wanted.sort_by_key(|(turn, ..)| *turn);
        Plan::Fetch(
            wanted
                .into_iter()
                .map(|(_, name, known)| known.wanted(name))
                .collect(),
        )
    }

    /// An answer to `want` came that told of the log's bounds and brought nothing.
    pub fn saw(&mut self, want: &Wanted, watermarks: Watermarks) {
        if let Some(known) = self.current(&want.partition, want.stamp) {
            known.watermarks = Some((known.topic_id, watermarks));
        }
    }

    /// An answer to `want` came; `next` is the place after its last whole batch, if it has any. `false` when it must be dropped.
    pub fn fetched(
        &mut self,
        want: &Wanted,
        next: Option<Position>,
        watermarks: Watermarks,
    ) -> bool {
        self.saw(want, watermarks);
        self.last_turn += 1;
        let turn = self.last_turn;
        let Some(known) = self.current(&want.partition, want.stamp) else {
            return false;
        };
        known.trouble = None;
        known.not_before = None;
        let Some(next) =
            next.filter(|next| next.offset > want.offset && known.fetch_from == want.offset)
        else {
            return false;
        };
        known.moves = 0;
        known.fetch_from = next.offset;
        known.fetch_epoch = next.leader_epoch;
        known.pieces += 1;
        known.turn = turn;
        true
    }

    /// The leader's log parted from what was fetched at `end`: what was fetched ahead is fetched anew. When even records that were handed out
    /// are gone from the log, the position goes back to `end`, unless the policy forbids to move.
    ///
    /// A log that holds all that was handed out may still lack the epoch of its last record: one without records leaves no trace with some
    /// leaders. Nothing is gone then, and that epoch is not asked about again.
    pub fn diverged(&mut self, want: &Wanted, end: Position, pace: &Pace<'_>) -> Option<Diverged> {
        let known = self.current(&want.partition, want.stamp)?;
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
            .is_some_and(|known| known.stamp == want.stamp && known.pieces == 0)
    }

    /// The offset is not in the log: starts over by a timestamp (-1 latest, -2 earliest), if nothing else happened to the partition since
    /// `stamp`.
    pub fn reset(
        &mut self,
        partition: &TopicPartition,
        stamp: u64,
        timestamp: i64,
        pace: &Pace<'_>,
    ) {
        let Some(known) = self.current(partition, stamp) else {
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
        let stamp = self.new_stamp();
        let Some(known) = self.partitions.get_mut(partition) else {
            return;
        };
        let (moves, trouble) = (known.moves.saturating_add(1), known.trouble.take());
        known.restart(stamp, place);
        known.moves = moves;
        if moves > 1 {
            let trouble = trouble.unwrap_or_else(|| Trouble::new(pace.now, pace.error));
            known.trouble = Some(Trouble {
                last: pace.now,
                ..trouble
            });
            known.not_before = Some(pace.now + (pace.pause)(moves - 1));
        }
    }

    /// Fetch from `replica` until `until` (KIP-392), or from the leader again.
    pub fn prefer(
        &mut self,
        partition: &TopicPartition,
        stamp: u64,
        replica: Option<(i32, Instant)>,
    ) {
        if let Some(known) = self.current(partition, stamp) {
            known.preferred = replica;
        }
    }

    pub fn leader(&self, partition: &TopicPartition) -> Option<Leader> {
        self.partitions.get(partition)?.leader
    }

    fn restart(&mut self, partition: &TopicPartition, place: Place) -> bool {
        let stamp = self.new_stamp();
        match self.partitions.get_mut(partition) {
            Some(known) => {
                known.restart(stamp, place);
                true
            }
            None => false,
        }
    }

    fn current(&mut self, partition: &TopicPartition, stamp: u64) -> Option<&mut Partition> {
        self.partitions
            .get_mut(partition)
            .filter(|known| known.stamp == stamp)
    }

    fn new_stamp(&mut self) -> u64 {
        self.last_stamp += 1;
        self.last_stamp
    }
}

impl Trouble {
    fn new(now: Instant, error: &Error) -> Self {
        Self {
            since: now,
            last: now,
            attempts: 0,
            error: error.clone(),
        }
    }
}

impl Partition {
    fn new(stamp: u64, place: Place) -> Self {
        let mut new = Self {
            stamp,
            place,
            topic_id: None,
            handed_out: None,
            paused: false,
            leader: None,
            asking: false,
            fetch_from: 0,
            fetch_epoch: None,
            pieces: 0,
            turn: 0,
            not_before: None,
            trouble: None,
            stopped: None,
            gone: false,
            moves: 0,
            reset: None,
            watermarks: None,
            preferred: None,
        };
        new.restart(stamp, place);
        new
    }

    /// Under a new stamp nothing is on its way and nothing is fetched ahead. Whether it is paused, and who leads it, stays.
    fn restart(&mut self, stamp: u64, place: Place) {
        self.stamp = stamp;
        self.place = place;
        self.asking = false;
        self.pieces = 0;
        self.not_before = None;
        self.trouble = None;
        self.stopped = None;
        self.moves = 0;
        self.reset = None;
        let position = self.position();
        self.fetch_from = position.map_or(0, |position| position.offset);
        self.fetch_epoch = position.and_then(|position| position.leader_epoch);
    }

    fn led_by(&mut self, name: &TopicPartition, leader: Leader, stamp: u64, policy: OffsetReset) {
        let old = self.leader.replace(leader);
        let new_id = TopicId::known(leader.topic_id);
        let old_id = self.topic_id;
        self.topic_id = new_id.or(old_id);
        if old_id.is_some() && old_id != self.topic_id {
            return self.recreated(name, stamp, policy);
        }
        let Some(old) = old else { return };
        if old.node != leader.node
            && self
                .stopped
                .as_ref()
                .is_some_and(|stopped| stopped.error.kind() == ErrorKind::CorruptBatch)
        {
            // The new leader's copy may be whole.
            self.restart(stamp, self.place);
        }
        if old.node.is_none() && leader.node.is_some() {
            self.not_before = None;
        }
    }

    /// Another topic has the name now: everything in it was written since this one was subscribed to.
    fn recreated(&mut self, name: &TopicPartition, stamp: u64, policy: OffsetReset) {
        let from = self.position().map(|position| position.offset);
        self.restart(stamp, Place::Listed(EARLIEST_TIMESTAMP));
        #[cfg(planted_defects)]
        let policy = match planted::is_planted(planted::Defect::MovesByItself) {
            true => OffsetReset::Earliest,
            false => policy,
        };
        if policy != OffsetReset::None {
            self.reset = Some((ResetCause::TopicRecreated, from));
            return;
        }
        let message = "the topic was deleted and re-created, and auto.offset.reset = none: seek to read the new one";
        let error = Error::new(ErrorKind::TopicRecreated, message)
            .topic_partition(name.topic.clone(), name.partition);
        let error = match from {
            Some(from) => error.offset(from, None),
            None => error,
        };
        self.stopped = Some(Stopped { error, told: None });
    }

    fn position(&self) -> Option<Position> {
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::PositionBeforeDelivery) {
            return (self.fetch_from > 0).then_some(Position {
                offset: self.fetch_from,
                leader_epoch: None,
            });
        }
        match self.place {
            Place::At(position) => Some(position),
            Place::Committed | Place::Listed(_) => None,
        }
    }

    fn leader_node(&self) -> Option<i32> {
        self.leader.and_then(|leader| leader.node)
    }

    /// Where it is fetched from: a replica that the leader named, or the leader.
    fn node(&self, now: Instant) -> Option<i32> {
        if self.gone || self.stopped.is_some() {
            return None;
        }
        match self.preferred {
            Some((replica, until)) if until > now => Some(replica),
            _ => self.leader_node(),
        }
    }

    fn ask(&mut self, name: &TopicPartition, out: &mut Questions) {
        let stamp = self.stamp;
        if self.place == Place::Committed {
            self.asking = true;
            out.committed.push((name.clone(), stamp));
            return;
        }
        let Some((node, leader_epoch)) = self
            .leader
            .and_then(|leader| Some((leader.node?, leader.epoch)))
        else {
            out.leaderless.push((name.clone(), stamp));
            return;
        };
        let partition = name.clone();
        match self.place {
            Place::Listed(timestamp) => {
                out.listed.entry(node).or_default().push(Listing {
                    partition,
                    stamp,
                    timestamp,
                    leader_epoch,
                });
            }
            Place::At(_) | Place::Committed => return,
        }
        self.asking = true;
    }

    fn wanted(&self, name: &TopicPartition) -> Wanted {
        let leader = self.leader;
        Wanted {
            partition: name.clone(),
            topic_id: leader.map_or(Uuid::default(), |leader| leader.topic_id),
            stamp: self.stamp,
            offset: self.fetch_from,
            last_epoch: self.fetch_epoch.unwrap_or(-1),
            leader_epoch: leader.map_or(-1, |leader| leader.epoch),
        }
    }
}

fn sooner(one: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(one.map_or(other, |one| one.min(other)))
}

#[cfg(test)]
mod tests;
