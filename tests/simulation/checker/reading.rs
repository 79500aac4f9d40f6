//! What readers were given, against what the logs have.

use std::collections::{BTreeMap, BTreeSet};

use super::{Guarantees, Log, Violation};
use crate::consumers::FIRST_TYPED;
use crate::history::{Event, History, Incarnation};
use crate::sharing::FIRST_QUEUE;

/// Where a reader stands in a partition.
#[derive(Clone, Copy)]
enum At {
    /// Behind this record.
    Behind(Incarnation, i64),
    /// Sent to this offset, whatever topic has the name then.
    SentTo(i64),
}

/// Each reader, from where it began on a partition or was sent to: forward, past nothing, and what the log has there; nothing while it is
/// paused; members of a group only while they own the partition. When another topic has the name, from its beginning, or, in a group, behind what
/// others of it have read there.
pub(super) fn readers(
    history: &History,
    log: &Log,
    guarantees: Guarantees,
    found: &mut Vec<Violation>,
) {
    let members: BTreeSet<u32> = history
        .events
        .iter()
        .filter_map(|event| match *event {
            Event::Assigned { reader, .. } => Some(reader),
            _ => None,
        })
        .collect();
    let mut at: BTreeMap<(u32, i32), At> = BTreeMap::new();
    let mut owned: BTreeSet<(u32, i32)> = BTreeSet::new();
    let mut paused: BTreeSet<(u32, i32)> = BTreeSet::new();
    let mut read_by_members: BTreeSet<(Incarnation, i32, i64)> = BTreeSet::new();
    for event in &history.events {
        match *event {
            Event::Assigned { reader, partition } => {
                owned.insert((reader, partition));
                at.remove(&(reader, partition));
                // A pause ends with the assignment.
                paused.remove(&(reader, partition));
            }
            Event::Revoked { reader, partition } => {
                owned.remove(&(reader, partition));
            }
            Event::Seeked {
                reader,
                partition,
                offset,
            } => {
                at.insert((reader, partition), At::SentTo(offset));
            }
            Event::Paused { reader, partition } => {
                paused.insert((reader, partition));
            }
            Event::Resumed { reader, partition } => {
                paused.remove(&(reader, partition));
            }
            Event::Polled {
                reader,
                partition,
                offset,
                id,
            } => {
                let is_member = members.contains(&reader);
                if is_member && !owned.contains(&(reader, partition)) {
                    found.push(Violation::NotOwned {
                        reader,
                        partition,
                        offset,
                    });
                }
                if paused.contains(&(reader, partition)) {
                    found.push(Violation::NotSilent {
                        reader,
                        partition,
                        offset,
                    });
                }
                let Some(incarnation) = log.incarnation_of(partition, offset, id) else {
                    found.push(Violation::WrongRecord {
                        reader,
                        partition,
                        offset,
                    });
                    continue;
                };
                if is_member {
                    read_by_members.insert((incarnation, partition, offset));
                }
                let before = at.insert((reader, partition), At::Behind(incarnation, offset));
                let (back, from) = match before {
                    None => continue,
                    Some(At::SentTo(from)) => (offset < from, from),
                    Some(At::Behind(old, before)) if old == incarnation => {
                        (offset <= before, before + 1)
                    }
                    Some(At::Behind(old, _)) => {
                        if old < incarnation && !is_member && !guarantees.moves_by_itself {
                            found.push(Violation::MovedByItself {
                                reader,
                                partition,
                                offset,
                            });
                        }
                        let all = (incarnation, partition, 0)..(incarnation, partition, offset);
                        let mut unread = log.places.range(all);
                        let unread = match is_member {
                            true => unread.find(|place| !read_by_members.contains(place)),
                            false => unread.next(),
                        };
                        (old > incarnation, unread.map_or(offset, |place| place.2))
                    }
                };
                if back {
                    found.push(Violation::WentBack {
                        reader,
                        partition,
                        offset,
                    });
                } else if log.has(incarnation, partition, from, offset) {
                    found.push(Violation::Skipped {
                        reader,
                        partition,
                        offset,
                    });
                }
            }
            _ => {}
        }
    }
}

/// What is there in the end, somebody of the group has read, or handled, or it is dead.
pub(super) fn everything_read(
    history: &History,
    log: &Log,
    group: &[u32],
    found: &mut Vec<Violation>,
) {
    let read: BTreeSet<(Option<Incarnation>, i32, i64)> = history
        .events
        .iter()
        .filter_map(|event| match *event {
            Event::Polled {
                reader,
                partition,
                offset,
                id,
            }
            | Event::Ends {
                reader,
                partition,
                offset,
                id,
            } if group.contains(&reader) => {
                Some((log.incarnation_of(partition, offset, id), partition, offset))
            }
            // Of the one group that has such.
            Event::Dead {
                partition,
                offset,
                id,
            } if group.iter().any(|reader| *reader >= FIRST_TYPED) => {
                Some((log.incarnation_of(partition, offset, id), partition, offset))
            }
            _ => None,
        })
        .collect();
    for (incarnation, partition, offset) in &log.places {
        if *incarnation == log.last_incarnation
            && !read.contains(&(Some(*incarnation), *partition, *offset))
        {
            found.push(Violation::NeverRead {
                partition: *partition,
                offset: *offset,
            });
        }
    }
}

/// Whoever reads when the last broker goes, and still when one is back, says in time that something is wrong.
pub(super) fn failures_reported(
    history: &History,
    guarantees: Guarantees,
    found: &mut Vec<Violation>,
) {
    let mut running: BTreeSet<u32> = BTreeSet::new();
    let mut silent: Option<(u64, BTreeSet<u32>)> = None;
    for (event, at) in history.events.iter().zip(&history.times) {
        match *event {
            // Whatever a queue's polls fail by, its handlers never hear of.
            Event::Starts { reader } if reader < FIRST_QUEUE => {
                running.insert(reader);
            }
            Event::Stops { reader } => {
                running.remove(&reader);
                if let Some((_, silent)) = &mut silent {
                    silent.remove(&reader);
                }
            }
            Event::Down => silent = Some((*at, running.clone())),
            Event::ReportsFailure { reader } => {
                if let Some((since, silent)) = &mut silent
                    && at - *since <= guarantees.reports_failure_within_ms
                {
                    silent.remove(&reader);
                }
            }
            Event::Up => {
                if let Some((since, silent)) = silent.take()
                    && at - since > guarantees.reports_failure_within_ms
                {
                    found.extend(
                        silent
                            .into_iter()
                            .map(|reader| Violation::Silent { reader }),
                    );
                }
            }
            _ => {}
        }
    }
}
