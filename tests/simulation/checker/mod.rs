//! Judges a history by itself alone: it knows nothing of client or broker. Each rule is one function, each has a test that breaks it.
//!
//! - `writing`: what producers were told, against the logs
//! - `reading`: what readers were given, against the logs
//! - `owning`: who had which partition when
//! - `committing`: what was committed, and where members begin
//! - `simultaneous`: which commits for one partition were under way at the same time
//! - `handling`: what handlers of typed consumers did
//! - `sharing`: what the members of a share group were given, and what they decided
//! - `transactions`: what was written in transactions, and made of that by `exactly_once` loops

mod committing;
mod handling;
mod owning;
mod reading;
mod sharing;
mod simultaneous;
#[cfg(test)]
mod tests;
pub mod transactions;
mod writing;

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Event, Group, History, Id, Incarnation};
use crate::plan::Protocols;

/// What a run promises.
#[derive(Clone, Copy, Debug)]
pub struct Guarantees {
    /// Nothing twice, and order kept whatever happens.
    pub idempotent: bool,
    /// Nothing that is good fails, and nothing that a group of one protocol has committed falls back.
    pub all_is_well: bool,
    /// Every event is handled once.
    pub handled_once: bool,
    /// How long a record has before it may be given up for its time.
    pub delivery_ms: u64,
    /// How soon a reader says that no broker answers.
    pub reports_failure_within_ms: u64,
    /// The reader that is in no group goes on by itself in a topic that was created anew.
    pub moves_by_itself: bool,
    /// Nobody gets a partition before whoever had it has given it up, or is gone.
    pub owned_once: bool,
    /// The group's epochs never begin anew: it does not change its protocol.
    pub epochs_rise: bool,
    /// Producers may have to go on under another producer id.
    pub producer_ids_end: bool,
    /// By which protocols its members are in it.
    pub protocols: Protocols,
    /// Where there is a share group.
    pub sharing: Option<SharingGuarantees>,
}

/// What a run promises of its share group.
#[derive(Clone, Copy, Debug)]
pub struct SharingGuarantees {
    /// A record is one member's until it lets go of it, or is gone.
    pub is_held_alone: bool,
    /// For how long a record is its member's, unless that locks it for longer.
    pub lock_ms: u64,
    /// How often a record is delivered at the most.
    pub delivery_limit: u32,
}

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Reported as written there, and it is not there.
    Lost(Id),
    /// Reported as not written, and it is in the log.
    WrittenAfterAll(Id),
    /// Accepted, and never reported.
    NeverReported(Id),
    /// Accepted before a flush that came back without its fate being known.
    FlushedWithout(Id),
    /// In the log, though the producer did not accept it.
    NeverAccepted(Id),
    /// In the log twice.
    Doubled(Id),
    /// In the log behind a record of the same key that was sent later.
    Reordered { earlier: Id, later: Id },
    /// Good, and not reported as written, though nothing was wrong.
    FailedForNothing(Id),
    /// Given up because its time was over, which it was not.
    ExpiredEarly(Id),
    /// A reader went from one offset to a later one past a record that is in the log.
    Skipped {
        reader: u32,
        partition: i32,
        offset: i64,
    },
    /// A reader went back without having been told to.
    WentBack {
        reader: u32,
        partition: i32,
        offset: i64,
    },
    /// A reader was given something that is not what the log has there.
    WrongRecord {
        reader: u32,
        partition: i32,
        offset: i64,
    },
    /// A record came out for a member that does not own its partition.
    NotOwned {
        reader: u32,
        partition: i32,
        offset: i64,
    },
    /// Another had the partition already, or has got it by now in the same epoch.
    OwnedTwice { reader: u32, partition: i32 },
    /// A record came out of a partition that was paused.
    NotSilent {
        reader: u32,
        partition: i32,
        offset: i64,
    },
    /// A reader that does not move by itself went on in another topic.
    MovedByItself {
        reader: u32,
        partition: i32,
        offset: i64,
    },
    /// In the log, and nobody of the group ever got it.
    NeverRead { partition: i32, offset: i64 },
    /// No broker ran, and a reader did not say so.
    Silent { reader: u32 },
    /// A commit passed a record that was not yet handed out.
    CommittedUnread {
        reader: u32,
        partition: i32,
        next: i64,
    },
    /// A commit was acknowledged that is lower than one acknowledged before it was begun.
    CommitFell {
        reader: u32,
        partition: i32,
        next: i64,
    },
    /// A commit was acknowledged that the coordinator does not have.
    NotStored {
        reader: u32,
        partition: i32,
        next: i64,
    },
    /// A member could not commit what it had finished in time.
    CommitRefused { reader: u32 },
    /// The coordinator has a commit that passes what the group has not finished.
    StoredUnfinished {
        group: Group,
        partition: i32,
        next: i64,
    },
    /// The coordinator's commit went back.
    StoredFell {
        group: Group,
        partition: i32,
        next: i64,
    },
    /// A member that took over a partition began with a record from before the group's commit.
    BeganTooLow {
        reader: u32,
        partition: i32,
        offset: i64,
    },
    /// A handler began while one of the same key was at work, or before an earlier record of that key was finished.
    Overtook {
        reader: u32,
        partition: i32,
        offset: i64,
    },
    /// A dead letter of a record that would have been handled.
    DeadForNothing(Id),
    /// Handled again, though it was finished, and nobody died or lost patience.
    HandledTwice { partition: i32, offset: i64 },
    /// One delivery of a record was given to members of a share group twice.
    DeliveredTwice {
        reader: u32,
        partition: i32,
        offset: i64,
        count: u32,
    },
    /// A member was given a record that another one held.
    HeldTwice {
        reader: u32,
        partition: i32,
        offset: i64,
    },
    /// An earlier delivery of a record came behind a later one.
    CountFell {
        reader: u32,
        partition: i32,
        offset: i64,
        count: u32,
    },
    /// A record was delivered again though it was done with.
    CameAgain { partition: i32, offset: i64 },
    /// What a member has decided in time was refused.
    DecisionRefused {
        reader: u32,
        partition: i32,
        offset: i64,
    },
    /// The share group passed a record that nobody has accepted or rejected.
    NeverDone { partition: i32, offset: i64 },
    /// What was written in transactions breaks a rule of theirs.
    InTransactions(transactions::TransactionViolation),
}

/// Every violation of every rule.
pub fn check(history: &History, guarantees: Guarantees, groups: &[Vec<u32>]) -> Vec<Violation> {
    let log = Log::new(history);
    let mut found = Vec::new();
    writing::reports(history, guarantees, &mut found);
    if guarantees.idempotent {
        writing::doubled(history, &mut found);
    }
    writing::order(history, guarantees, &mut found);
    reading::readers(history, &log, guarantees, &mut found);
    reading::failures_reported(history, guarantees, &mut found);
    owning::once(history, guarantees, &mut found);
    committing::stored(history, &log, guarantees, &mut found);
    for group in groups {
        reading::everything_read(history, &log, group, &mut found);
        committing::commits(history, &log, group, &mut found);
        committing::progress(history, &log, guarantees, group, &mut found);
    }
    handling::order(history, &log, &mut found);
    if let Some(guarantees) = guarantees.sharing {
        sharing::deliveries(history, &log, guarantees, &mut found);
    }
    if guarantees.handled_once {
        handling::once(history, &log, &mut found);
    }
    found
}

/// The logs of all incarnations of the topic.
struct Log {
    /// What stands at (partition, offset), incarnation after incarnation.
    slots: BTreeMap<(i32, i64), Vec<(Incarnation, Id)>>,
    /// Where there are records: (incarnation, partition, offset).
    places: BTreeSet<(Incarnation, i32, i64)>,
    last_incarnation: Incarnation,
}

impl Log {
    fn new(history: &History) -> Self {
        let mut slots: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (incarnation, partition, offset, id) in history.log.iter().copied() {
            let slot = slots.entry((partition, offset)).or_default();
            slot.push((incarnation, id));
        }
        let incarnations = history.events.iter().filter_map(|event| match *event {
            Event::Created { incarnation, .. } => Some(incarnation),
            _ => None,
        });
        Self {
            slots,
            places: history
                .log
                .iter()
                .map(|(incarnation, partition, offset, _)| (*incarnation, *partition, *offset))
                .collect(),
            last_incarnation: incarnations.max().unwrap_or_default(),
        }
    }

    /// The incarnation of the topic in which this record stands there.
    fn incarnation_of(&self, partition: i32, offset: i64, id: Id) -> Option<Incarnation> {
        let slot = self.slots.get(&(partition, offset))?;
        let found = slot.iter().find(|(_, there)| *there == id);
        found.map(|(incarnation, _)| *incarnation)
    }

    /// Whether there are records from one offset on to before another.
    fn has(&self, incarnation: Incarnation, partition: i32, from: i64, to: i64) -> bool {
        from < to
            && self
                .places
                .range((incarnation, partition, from)..(incarnation, partition, to))
                .next()
                .is_some()
    }
}

/// The key of every record that was accepted.
fn keys(history: &History) -> BTreeMap<Id, u32> {
    let key = |event: &Event| match *event {
        Event::Accepted { id, key, .. } => Some((id, key)),
        _ => None,
    };
    history.events.iter().filter_map(key).collect()
}
