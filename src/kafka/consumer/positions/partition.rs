//! One assigned partition: where the application stands, what was fetched ahead, who leads it. Everything here is one field or one transition;
//! what to ask, to fetch and to report is decided by the files around it.

use protocol::Uuid;
use tokio::time::Instant;

use super::failures::{Failure, Stopped};
use super::offset_reset::{EARLIEST_TIMESTAMP, OffsetReset, ResetCause};
use crate::kafka::consumer::IsolationLevel;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Error, ErrorKind, TopicId, TopicPartition};

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
pub(crate) enum LeaderStatus {
    /// Nothing: what was known stays.
    Unknown,
    /// There is no such topic, or it has fewer partitions.
    Gone,
    Led(Leader),
}

impl From<Option<Leader>> for LeaderStatus {
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

impl Watermarks {
    /// Where what may be read ends: for `read_committed`, at the first transaction that is open.
    pub fn end(&self, isolation_level: IsolationLevel) -> i64 {
        match isolation_level {
            IsolationLevel::ReadCommitted if self.last_stable >= 0 => self.last_stable,
            _ => self.high_watermark,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the group's committed offset, which is yet to be learnt.
    Committed,
    /// At the offset of this timestamp (or -1 latest, -2 earliest), which is yet to be learnt.
    Listed(i64),
    /// Here.
    At(Position),
}

#[derive(Debug)]
pub(super) struct Partition {
    pub version: u64,
    pub place: Place,
    /// It began where the group has committed: so it does in a topic that gets the name.
    pub by_commits: bool,
    /// The only topic that the assignment is of, where it names one.
    pub bound_to: Option<TopicId>,
    /// The topic that `place` is in, once that is known.
    pub topic_id: Option<TopicId>,
    /// The topic of the records that were handed out last; none since a seek.
    pub handed_out: Option<TopicId>,
    /// The timestamp of what was handed out last; none since a seek.
    pub handed_out_ms: Option<i64>,
    pub paused: bool,
    /// Nobody asks for more of it.
    pub idle: bool,
    /// It is on its way to another member.
    pub leaving: bool,
    /// When the leader was asked last where the log ends, while nothing is fetched.
    pub end_asked: Option<Instant>,
    pub leader: Option<Leader>,
    /// A question about `place` is on its way.
    pub asking: bool,
    /// The offset after everything fetched, and the leader epoch of the record before it.
    pub fetch_from: i64,
    pub fetch_epoch: Option<i32>,
    /// Fetched and not yet read to the end.
    pub buffered: u32,
    /// Since when it has had enough unread.
    pub full_since: Option<Instant>,
    /// When it last had its turn in a fetch.
    pub turn: u64,
    pub not_before: Option<Instant>,
    pub failure: Option<Failure>,
    /// Not to be read until the application seeks.
    pub stopped: Option<Stopped>,
    /// By the metadata it does not exist: nobody is asked about it.
    pub gone: bool,
    /// How often the brokers' answers moved it without a record in between.
    pub moves: u32,
    /// What led to the listing that is under way.
    pub reset: Option<(ResetCause, Option<i64>)>,
    pub watermarks: Option<(Option<TopicId>, Watermarks)>,
    /// Where nothing came of a fetch, and where a poll has said that it is the end.
    pub nothing_at: Option<i64>,
    pub end_told: Option<i64>,
    pub preferred: Option<(i32, Instant)>,
}

impl Partition {
    pub fn new(version: u64, place: Place) -> Self {
        let mut new = Self {
            version,
            place,
            by_commits: place == Place::Committed,
            bound_to: None,
            topic_id: None,
            handed_out: None,
            handed_out_ms: None,
            paused: false,
            idle: false,
            leaving: false,
            end_asked: None,
            leader: None,
            asking: false,
            fetch_from: 0,
            fetch_epoch: None,
            buffered: 0,
            full_since: None,
            turn: 0,
            not_before: None,
            failure: None,
            stopped: None,
            gone: false,
            moves: 0,
            reset: None,
            watermarks: None,
            nothing_at: None,
            end_told: None,
            preferred: None,
        };
        new.restart(version, place);
        new
    }

    /// Under a new version nothing is on its way and nothing is fetched ahead. Whether it is paused, and who leads it, stays.
    pub fn restart(&mut self, version: u64, place: Place) {
        self.version = version;
        self.place = place;
        self.handed_out_ms = None;
        self.asking = false;
        self.buffered = 0;
        self.full_since = None;
        self.not_before = None;
        self.failure = None;
        self.stopped = None;
        self.moves = 0;
        self.reset = None;
        (self.nothing_at, self.end_told) = (None, None);
        let position = self.position();
        self.fetch_from = position.map_or(0, |position| position.offset);
        self.fetch_epoch = position.and_then(|position| position.leader_epoch);
    }

    pub fn led_by(
        &mut self,
        name: &TopicPartition,
        leader: Leader,
        version: u64,
        policy: OffsetReset,
    ) {
        let old = self.leader.replace(leader);
        let new_id = TopicId::known(leader.topic_id);
        let old_id = self.topic_id;
        self.topic_id = new_id.or(old_id);
        if old_id.is_some() && old_id != self.topic_id {
            return self.recreated(name, version, policy);
        }
        let Some(old) = old else { return };
        if old.node != leader.node
            && self
                .stopped
                .as_ref()
                .is_some_and(|stopped| stopped.error.kind() == ErrorKind::CorruptBatch)
        {
            // The new leader's copy may be whole.
            self.restart(version, self.place);
        }
        if old.node.is_none() && leader.node.is_some() {
            self.not_before = None;
        }
    }

    /// Whether the assignment is of another topic than the one that has the name: that one may be somebody else's.
    pub fn is_of_another(&self, topic_id: Uuid) -> bool {
        let now = TopicId::known(topic_id);
        self.bound_to.is_some() && now.is_some() && self.bound_to != now
    }

    /// Whether nobody asks where it is to begin: it is on its way to another member, who may be at work already in the topic that has the name now. A
    /// place in it would be committed with all others, and take back what that member has committed.
    pub fn needs_no_place(&self) -> bool {
        self.leaving && (self.place == Place::Committed || self.reset.is_some())
    }

    /// Another topic has the name now: everything in it was written since this one was subscribed to, and somebody else of the group may have
    /// read and committed some of it already.
    fn recreated(&mut self, name: &TopicPartition, version: u64, policy: OffsetReset) {
        if self.place == Place::Committed {
            // Nothing was read yet: it is asked about the other one instead.
            let reset = self.reset;
            self.restart(version, Place::Committed);
            self.reset = reset;
            return;
        }
        let from = self.position().map(|position| position.offset);
        #[cfg(planted_defects)]
        let policy = match planted::is_planted(planted::Defect::MovesByItself) {
            true => OffsetReset::Earliest,
            false => policy,
        };
        let place = match self.by_commits && policy != OffsetReset::None {
            true => Place::Committed,
            false => Place::Listed(EARLIEST_TIMESTAMP),
        };
        self.restart(version, place);
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

    pub fn position(&self) -> Option<Position> {
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

    pub fn leader_node(&self) -> Option<i32> {
        self.leader.and_then(|leader| leader.node)
    }

    /// Where it is fetched from: a replica that the leader named, or the leader.
    pub fn node(&self, now: Instant) -> Option<i32> {
        if self.gone || self.stopped.is_some() {
            return None;
        }
        match self.preferred {
            Some((replica, until)) if until > now => Some(replica),
            _ => self.leader_node(),
        }
    }
}
