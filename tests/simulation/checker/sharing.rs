//! What the members of a share group were given and what they decided: nothing is lost, nothing is two members' at once, and what is done with does
//! not come again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Log, SharingGuarantees, Violation};
use crate::history::{Decision, Event, History, Id, Incarnation};
use crate::sharing::FIRST_QUEUE;

/// Which record, in which of the topics that had the name.
type Place = (Incarnation, i32, i64);

/// Who was given a record last.
struct Holding {
    reader: u32,
    count: u32,
    /// When it was given, or locked for longer.
    since: u64,
    /// What was decided, and whether it was in time.
    decided: Option<(Decision, bool)>,
}

/// What is known of a record.
#[derive(Default)]
struct Record {
    /// The deliveries that somebody was given.
    counts: BTreeSet<u32>,
    last: Option<Holding>,
    /// By which delivery it is done with for certain, and whether it may be by one that nobody knows of.
    done: Option<u32>,
    may_be_done: BTreeSet<u32>,
    is_dead: bool,
}

/// Each delivery is one member's, once. What was accepted or rejected, and confirmed, is not delivered again. Everything is accepted, rejected, dead
/// or was delivered as often as the group allows. And where locks cannot be lost: deliveries come in their order, a record is one member's until it
/// lets go, and what it decides in time counts.
pub(super) fn deliveries(
    history: &History,
    log: &Log,
    guarantees: SharingGuarantees,
    found: &mut Vec<Violation>,
) {
    let mut records: BTreeMap<Place, Record> = BTreeMap::new();
    let mut stopped: BTreeSet<u32> = BTreeSet::new();
    let place = |partition: i32, offset: i64, id: Id| {
        let incarnation = log.incarnation_of(partition, offset, id)?;
        Some((incarnation, partition, offset))
    };
    for (event, at) in history.events.iter().zip(&history.times) {
        match *event {
            Event::Stops { reader } => drop(stopped.insert(reader)),
            Event::Acquired {
                reader,
                partition,
                offset,
                id,
                count,
            } => {
                let Some(place) = place(partition, offset, id) else {
                    found.push(Violation::WrongRecord {
                        reader,
                        partition,
                        offset,
                    });
                    continue;
                };
                let record = records.entry(place).or_default();
                if !record.counts.insert(count) {
                    found.push(Violation::DeliveredTwice {
                        reader,
                        partition,
                        offset,
                        count,
                    });
                }
                if record.done.is_some_and(|done| count > done) {
                    found.push(Violation::CameAgain { partition, offset });
                }
                if guarantees.is_held_alone
                    && let Some(last) = &record.last
                {
                    let is_gone = stopped.contains(&last.reader);
                    let is_in_time = last.reader >= FIRST_QUEUE
                        || at.saturating_sub(last.since) < guarantees.lock_ms / 2;
                    match last.decided {
                        _ if count < last.count => found.push(Violation::CountFell {
                            reader,
                            partition,
                            offset,
                            count,
                        }),
                        None if !is_gone && is_in_time => found.push(Violation::HeldTwice {
                            reader,
                            partition,
                            offset,
                        }),
                        Some((Decision::Accept | Decision::Reject, true)) => {
                            found.push(Violation::CameAgain { partition, offset });
                        }
                        _ => {}
                    }
                }
                record.last = Some(Holding {
                    reader,
                    count,
                    since: *at,
                    decided: None,
                });
            }
            Event::Decides {
                reader,
                partition,
                offset,
                id,
                count,
                how,
            } => {
                let Some(record) =
                    place(partition, offset, id).and_then(|place| records.get_mut(&place))
                else {
                    continue;
                };
                if matches!(how, Decision::Accept | Decision::Reject) {
                    record.may_be_done.insert(count);
                }
                if let Some(last) = &mut record.last
                    && (last.reader, last.count) == (reader, count)
                    && how != Decision::Renew
                {
                    let is_in_time = reader >= FIRST_QUEUE
                        || at.saturating_sub(last.since) < guarantees.lock_ms / 2;
                    last.decided = Some((how, is_in_time && !stopped.contains(&reader)));
                }
            }
            Event::Settled {
                reader,
                partition,
                offset,
                id,
                count,
                how,
                done,
            } => {
                let Some(record) =
                    place(partition, offset, id).and_then(|place| records.get_mut(&place))
                else {
                    continue;
                };
                match (how, done) {
                    (Decision::Accept | Decision::Reject, true) => {
                        // Of what is done with already brokers take anything.
                        record.done = record.done.max(record.counts.last().copied());
                    }
                    (Decision::Accept | Decision::Reject, false) => {
                        if guarantees.is_held_alone {
                            record.may_be_done.remove(&count);
                        }
                        if let Some(last) = &mut record.last
                            && (last.reader, last.count) == (reader, count)
                            && last.decided.is_some_and(|(_, in_time)| in_time)
                            && guarantees.is_held_alone
                        {
                            found.push(Violation::DecisionRefused {
                                reader,
                                partition,
                                offset,
                            });
                        }
                    }
                    (Decision::Renew, true) => {
                        if let Some(last) = &mut record.last
                            && (last.reader, last.count) == (reader, count)
                        {
                            last.since = *at;
                        }
                    }
                    (Decision::Renew, false) | (Decision::Release, _) => {}
                }
            }
            Event::QueueDead {
                partition,
                offset,
                id,
            } => {
                if let Some(place) = place(partition, offset, id) {
                    records.entry(place).or_default().is_dead = true;
                }
            }
            _ => {}
        }
    }
    let nobody = Record::default();
    for place in &log.places {
        let (incarnation, partition, offset) = *place;
        let record = records.get(place).unwrap_or(&nobody);
        let is_done = record.done.is_some()
            || !record.may_be_done.is_empty()
            || record.is_dead
            || record.counts.contains(&guarantees.delivery_limit);
        if incarnation == log.last_incarnation && !is_done {
            found.push(Violation::NeverDone { partition, offset });
        }
    }
}
