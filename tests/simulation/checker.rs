//! Judges a history by itself alone: it knows nothing of client or broker. Each rule is one function, each has a test that breaks it.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Event, History, Id, Told};

/// What the producers of a run promised.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// Nothing twice, and order kept whatever happens.
    pub idempotent: bool,
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
    /// A record came out of a partition that was paused.
    NotSilent {
        reader: u32,
        partition: i32,
        offset: i64,
    },
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
    /// A member that took over a partition began with a record from before the group's commit.
    BeganTooLow {
        reader: u32,
        partition: i32,
        offset: i64,
    },
    /// In the log, and nobody of the group ever got it.
    NeverRead { partition: i32, offset: i64 },
}

/// Every violation of every rule.
pub fn check(history: &History, promise: Promise, groups: &[Vec<u32>]) -> Vec<Violation> {
    let mut found = Vec::new();
    reports(history, &mut found);
    if promise.idempotent {
        doubled(history, &mut found);
    }
    order(history, promise, &mut found);
    readers(history, &mut found);
    for group in groups {
        everything_read(history, group, &mut found);
        commits(history, group, &mut found);
        progress(history, group, &mut found);
    }
    found
}

fn reports(history: &History, found: &mut Vec<Violation>) {
    let log: BTreeMap<(i32, i64), Id> = history
        .log
        .iter()
        .map(|(partition, offset, id)| ((*partition, *offset), *id))
        .collect();
    let present: BTreeSet<Id> = history.log.iter().map(|(_, _, id)| *id).collect();
    let (mut accepted, mut open) = (BTreeSet::new(), BTreeSet::new());
    for event in &history.events {
        match *event {
            Event::Accepted { id, .. } => {
                accepted.insert(id);
                open.insert(id);
            }
            Event::Reported { id, told } => {
                open.remove(&id);
                match told {
                    Told::Written { partition, offset }
                        if log.get(&(partition, offset)) != Some(&id) =>
                    {
                        found.push(Violation::Lost(id));
                    }
                    Told::NotWritten if present.contains(&id) => {
                        found.push(Violation::WrittenAfterAll(id));
                    }
                    _ => {}
                }
            }
            Event::Flushed { producer } => {
                let left = open.iter().filter(|id: &&Id| id.producer == producer);
                found.extend(left.copied().map(Violation::FlushedWithout));
            }
            _ => {}
        }
    }
    found.extend(open.into_iter().map(Violation::NeverReported));
    let phantoms = present.difference(&accepted).copied();
    found.extend(phantoms.map(Violation::NeverAccepted));
}

fn doubled(history: &History, found: &mut Vec<Violation>) {
    let mut seen = BTreeSet::new();
    for (_, _, id) in &history.log {
        if !seen.insert(*id) {
            found.push(Violation::Doubled(*id));
        }
    }
}

/// Per producer and key, first appearances in the log follow the order of sending. (Without idempotence a record may appear again later:
/// that is a duplicate, not a reordering, as long as each record's first appearance is in its place. And one whose fate is reported as
/// unknown may come late: what the network held back until then, nothing tells the broker to refuse.)
fn order(history: &History, promise: Promise, found: &mut Vec<Violation>) {
    let unknown: BTreeSet<Id> = history
        .events
        .iter()
        .filter_map(|event| match *event {
            Event::Reported {
                id,
                told: Told::Unknown,
            } if !promise.idempotent => Some(id),
            _ => None,
        })
        .collect();
    let keys: BTreeMap<Id, u32> = history
        .events
        .iter()
        .filter_map(|event| match *event {
            Event::Accepted { id, key } => Some((id, key)),
            _ => None,
        })
        .collect();
    let mut log = history.log.clone();
    log.sort_by_key(|(partition, offset, _)| (*partition, *offset));
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<(u32, u32), Id> = BTreeMap::new();
    for (_, _, id) in log {
        if !seen.insert(id) || unknown.contains(&id) {
            continue;
        }
        let Some(key) = keys.get(&id) else { continue };
        if let Some(earlier) = last.insert((id.producer, *key), id)
            && earlier.number > id.number
        {
            found.push(Violation::Reordered {
                earlier: id,
                later: earlier,
            });
        }
    }
}

/// Each reader, from where it began on a partition or was sent to: forward, past nothing, and what the log has there; nothing while it is
/// paused; members of a group only while they own the partition.
fn readers(history: &History, found: &mut Vec<Violation>) {
    let log: BTreeMap<(i32, i64), Id> = history
        .log
        .iter()
        .map(|(partition, offset, id)| ((*partition, *offset), *id))
        .collect();
    let members: BTreeSet<u32> = history
        .events
        .iter()
        .filter_map(|event| match *event {
            Event::Owns { reader, .. } => Some(reader),
            _ => None,
        })
        .collect();
    let mut at: BTreeMap<(u32, i32), i64> = BTreeMap::new();
    let mut owned: BTreeSet<(u32, i32)> = BTreeSet::new();
    let mut paused: BTreeSet<(u32, i32)> = BTreeSet::new();
    for event in &history.events {
        match *event {
            Event::Owns { reader, partition } => {
                owned.insert((reader, partition));
                at.remove(&(reader, partition));
                // A pause ends with the assignment.
                paused.remove(&(reader, partition));
            }
            Event::Yields { reader, partition } => {
                owned.remove(&(reader, partition));
            }
            Event::Sought {
                reader,
                partition,
                offset,
            } => {
                at.insert((reader, partition), offset - 1);
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
                if members.contains(&reader) && !owned.contains(&(reader, partition)) {
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
                if log.get(&(partition, offset)) != Some(&id) {
                    found.push(Violation::WrongRecord {
                        reader,
                        partition,
                        offset,
                    });
                }
                if let Some(before) = at.insert((reader, partition), offset) {
                    if offset <= before {
                        found.push(Violation::WentBack {
                            reader,
                            partition,
                            offset,
                        });
                    } else if log
                        .range((partition, before + 1)..(partition, offset))
                        .next()
                        .is_some()
                    {
                        found.push(Violation::Skipped {
                            reader,
                            partition,
                            offset,
                        });
                    }
                }
            }
            _ => {}
        }
    }
}

fn everything_read(history: &History, group: &[u32], found: &mut Vec<Violation>) {
    let read: BTreeSet<(i32, i64)> = history
        .events
        .iter()
        .filter_map(|event| match *event {
            Event::Polled {
                reader,
                partition,
                offset,
                ..
            } if group.contains(&reader) => Some((partition, offset)),
            _ => None,
        })
        .collect();
    for (partition, offset, _) in &history.log {
        if !read.contains(&(*partition, *offset)) {
            found.push(Violation::NeverRead {
                partition: *partition,
                offset: *offset,
            });
        }
    }
}

/// A commit covers only what the group has handed out before it.
fn commits(history: &History, group: &[u32], found: &mut Vec<Violation>) {
    let mut read: BTreeSet<(i32, i64)> = BTreeSet::new();
    for event in &history.events {
        match *event {
            Event::Polled {
                reader,
                partition,
                offset,
                ..
            } if group.contains(&reader) => {
                read.insert((partition, offset));
            }
            Event::Committed {
                reader,
                partition,
                next,
            } if group.contains(&reader) => {
                let unread = history.log.iter().any(|(of, offset, _)| {
                    *of == partition && *offset < next && !read.contains(&(partition, *offset))
                });
                if unread {
                    found.push(Violation::CommittedUnread {
                        reader,
                        partition,
                        next,
                    });
                }
            }
            _ => {}
        }
    }
}

/// How far a group has come in a partition, by what its members were told.
#[derive(Default)]
struct Progress {
    /// What is committed at least.
    floor: i64,
    owner: Option<u32>,
    /// The owner's commits that were begun and not acknowledged, each with the floor when it was begun.
    open: Vec<(i64, i64)>,
}

/// Commits never fall, and whoever takes a partition over begins no lower than at what was committed. The log's start never moves here, so
/// nothing else can move a member up or down.
///
/// A commit that was begun and not acknowledged may yet reach the coordinator, behind later ones even, until another generation fences it:
/// for a partition that begins with `Owns`, no lower than the lowest commit that may have come last. A member that joins again may find its
/// old generation, so only another owner is proof of a new one.
fn progress(history: &History, group: &[u32], found: &mut Vec<Violation>) {
    let mut partitions: BTreeMap<i32, Progress> = BTreeMap::new();
    let mut beginning: BTreeMap<(u32, i32), i64> = BTreeMap::new();
    for event in &history.events {
        match *event {
            Event::Owns { reader, partition } if group.contains(&reader) => {
                let known = partitions.entry(partition).or_default();
                for (next, _) in &known.open {
                    known.floor = known.floor.min(*next);
                }
                if known.owner.replace(reader) != Some(reader) {
                    known.open.clear();
                }
                beginning.insert((reader, partition), known.floor);
            }
            Event::Polled {
                reader,
                partition,
                offset,
                ..
            } => {
                let floor = beginning.remove(&(reader, partition));
                if floor.is_some_and(|floor| offset < floor) {
                    found.push(Violation::BeganTooLow {
                        reader,
                        partition,
                        offset,
                    });
                }
            }
            Event::Committing {
                reader,
                partition,
                next,
            } => {
                let known = partitions.entry(partition).or_default();
                if known.owner == Some(reader) {
                    known.open.push((next, known.floor));
                }
            }
            Event::Committed {
                reader,
                partition,
                next,
            } => {
                let known = partitions.entry(partition).or_default();
                // What an earlier owner began counted when it was followed.
                let begun = known.open.iter().rposition(|(begun, _)| *begun == next);
                let Some(begun) = begun.filter(|_| known.owner == Some(reader)) else {
                    continue;
                };
                let (_, floor) = known.open.remove(begun);
                known.floor = known.floor.max(next);
                if next < floor {
                    found.push(Violation::CommitFell {
                        reader,
                        partition,
                        next,
                    });
                }
            }
            _ => {}
        }
    }
}

/// Histories with one thing wrong each: a checker that cannot fail would prove nothing.
#[cfg(test)]
mod tests {
    use super::*;

    const IDEMPOTENT: Promise = Promise { idempotent: true };

    fn id(number: u32) -> Id {
        Id {
            producer: 0,
            number,
        }
    }

    fn sent(number: u32, told: Told) -> [Event; 2] {
        [
            Event::Accepted {
                id: id(number),
                key: 0,
            },
            Event::Reported {
                id: id(number),
                told,
            },
        ]
    }

    fn written(number: u32, offset: i64) -> [Event; 2] {
        sent(
            number,
            Told::Written {
                partition: 0,
                offset,
            },
        )
    }

    fn polled(offset: i64, number: u32) -> Event {
        Event::Polled {
            reader: 7,
            partition: 0,
            offset,
            id: id(number),
        }
    }

    fn sought(offset: i64) -> Event {
        Event::Sought {
            reader: 7,
            partition: 0,
            offset,
        }
    }

    fn history(events: impl IntoIterator<Item = Event>, log: &[(i64, u32)]) -> History {
        History {
            events: events.into_iter().collect(),
            log: log
                .iter()
                .map(|(offset, number)| (0, *offset, id(*number)))
                .collect(),
        }
    }

    #[test]
    fn a_clean_history_passes() {
        let events = [written(0, 0), written(1, 1)].concat();
        let events = events.into_iter().chain([
            polled(0, 0),
            polled(1, 1),
            sought(0),
            polled(0, 0),
            polled(1, 1),
        ]);
        assert_eq!(
            check(&history(events, &[(0, 0), (1, 1)]), IDEMPOTENT, &[vec![7]]),
            []
        );
    }

    #[test]
    fn each_violation_is_found() {
        let log = &[(0, 0), (1, 1)][..];
        let both = || [written(0, 0), written(1, 1)].concat();
        let cases: Vec<(History, Violation)> = vec![
            (history(both(), &log[..1]), Violation::Lost(id(1))),
            (history([], &log[..1]), Violation::NeverAccepted(id(0))),
            (
                history(sent(0, Told::NotWritten), &log[..1]),
                Violation::WrittenAfterAll(id(0)),
            ),
            (
                history([Event::Accepted { id: id(0), key: 0 }], &[]),
                Violation::NeverReported(id(0)),
            ),
            (
                history(written(0, 0), &[(0, 0), (1, 0)]),
                Violation::Doubled(id(0)),
            ),
            (
                history([written(0, 1), written(1, 0)].concat(), &[(0, 1), (1, 0)]),
                Violation::Reordered {
                    earlier: id(0),
                    later: id(1),
                },
            ),
            (
                history(
                    [written(0, 0), written(1, 1), written(2, 2)]
                        .concat()
                        .into_iter()
                        .chain([polled(0, 0), polled(2, 2)]),
                    &[(0, 0), (1, 1), (2, 2)],
                ),
                Violation::Skipped {
                    reader: 7,
                    partition: 0,
                    offset: 2,
                },
            ),
            (
                history(both().into_iter().chain([polled(1, 1), polled(0, 0)]), log),
                Violation::WentBack {
                    reader: 7,
                    partition: 0,
                    offset: 0,
                },
            ),
            (
                history(both().into_iter().chain([polled(0, 1)]), log),
                Violation::WrongRecord {
                    reader: 7,
                    partition: 0,
                    offset: 0,
                },
            ),
            (
                history(
                    both().into_iter().chain([
                        Event::Owns {
                            reader: 7,
                            partition: 0,
                        },
                        Event::Yields {
                            reader: 7,
                            partition: 0,
                        },
                        polled(0, 0),
                    ]),
                    log,
                ),
                Violation::NotOwned {
                    reader: 7,
                    partition: 0,
                    offset: 0,
                },
            ),
            (
                history(
                    both()
                        .into_iter()
                        .chain([polled(0, 0), sought(0), polled(1, 1)]),
                    log,
                ),
                Violation::Skipped {
                    reader: 7,
                    partition: 0,
                    offset: 1,
                },
            ),
            (
                history(
                    both()
                        .into_iter()
                        .chain([polled(1, 1), sought(1), polled(0, 0)]),
                    log,
                ),
                Violation::WentBack {
                    reader: 7,
                    partition: 0,
                    offset: 0,
                },
            ),
            (
                history(
                    both().into_iter().chain([
                        Event::Paused {
                            reader: 7,
                            partition: 0,
                        },
                        polled(0, 0),
                        Event::Resumed {
                            reader: 7,
                            partition: 0,
                        },
                        polled(1, 1),
                    ]),
                    log,
                ),
                Violation::NotSilent {
                    reader: 7,
                    partition: 0,
                    offset: 0,
                },
            ),
        ];
        for (history, expected) in cases {
            let found = check(&history, IDEMPOTENT, &[]);
            assert_eq!(found, [expected], "{history:?}");
        }
        let early = [
            Event::Accepted { id: id(0), key: 0 },
            Event::Flushed { producer: 0 },
        ];
        let late = Event::Reported {
            id: id(0),
            told: Told::Unknown,
        };
        let flushed = history(early.into_iter().chain([late]), &[]);
        assert_eq!(
            check(&flushed, IDEMPOTENT, &[]),
            [Violation::FlushedWithout(id(0))]
        );
        let unread = history(both().into_iter().chain([polled(0, 0)]), log);
        assert_eq!(
            check(&unread, IDEMPOTENT, &[vec![7]]),
            [Violation::NeverRead {
                partition: 0,
                offset: 1
            }]
        );
        let early = [
            polled(0, 0),
            Event::Committed {
                reader: 7,
                partition: 0,
                next: 2,
            },
            polled(1, 1),
        ];
        assert_eq!(
            check(
                &history(both().into_iter().chain(early), log),
                IDEMPOTENT,
                &[vec![7]]
            ),
            [Violation::CommittedUnread {
                reader: 7,
                partition: 0,
                next: 2
            }]
        );
    }

    fn owns(reader: u32) -> Event {
        Event::Owns {
            reader,
            partition: 0,
        }
    }

    fn read(reader: u32, offset: i64) -> Event {
        Event::Polled {
            reader,
            partition: 0,
            offset,
            id: id(offset as u32),
        }
    }

    fn committing(reader: u32, next: i64) -> Event {
        Event::Committing {
            reader,
            partition: 0,
            next,
        }
    }

    fn committed(reader: u32, next: i64) -> Event {
        Event::Committed {
            reader,
            partition: 0,
            next,
        }
    }

    /// What a group of 7 and 8 has to say for itself after `events`, when both records were written and 7 has read both.
    fn judged(events: impl IntoIterator<Item = Event>) -> Vec<Violation> {
        let written = [written(0, 0), written(1, 1)].concat();
        let first = [owns(7), read(7, 0), read(7, 1)];
        let events = written.into_iter().chain(first).chain(events);
        let history = history(events, &[(0, 0), (1, 1)]);
        check(&history, IDEMPOTENT, &[vec![7, 8]])
    }

    #[test]
    fn a_commit_lower_than_an_earlier_one_is_found() {
        let two = [committing(7, 2), committed(7, 2)];
        let one = [committing(7, 1), committed(7, 1)];
        assert_eq!(judged([one, two].concat()), []);
        let fell = Violation::CommitFell {
            reader: 7,
            partition: 0,
            next: 1,
        };
        assert_eq!(judged([two, one].concat()), [fell]);
        let next = [owns(8), committing(8, 1), committed(8, 1)];
        let fell = Violation::CommitFell {
            reader: 8,
            partition: 0,
            next: 1,
        };
        assert_eq!(judged(two.into_iter().chain(next)), [fell]);
    }

    #[test]
    fn a_member_that_begins_before_the_commit_is_found() {
        let two = [committing(7, 2), committed(7, 2)];
        let low = || Violation::BeganTooLow {
            reader: 8,
            partition: 0,
            offset: 1,
        };
        let next = || [owns(8), read(8, 1)];
        assert_eq!(judged(two.into_iter().chain(next())), [low()]);
        // A commit of unknown fate may come to nothing, or may come last.
        assert_eq!(judged([committing(7, 2)].into_iter().chain(next())), []);
        let late = [committing(7, 1)].into_iter().chain(two).chain(next());
        assert_eq!(judged(late), []);
        let again = [committing(7, 1), owns(7)];
        let late = again.into_iter().chain(two).chain(next());
        assert_eq!(judged(late), []);
        // One that was begun in a generation that is over is refused.
        let fenced = two.into_iter().chain([owns(8), committing(7, 1)]);
        assert_eq!(judged(fenced.chain(next())), [low()]);
        let unheard = [committing(7, 2), owns(8), committed(7, 2), read(8, 1)];
        assert_eq!(judged(unheard), []);
    }

    #[test]
    fn a_duplicate_without_idempotence_is_no_reordering() {
        let events = [written(0, 0), written(1, 1)].concat();
        let log = history(events, &[(0, 0), (1, 1), (2, 0), (3, 1)]);
        assert_eq!(check(&log, Promise { idempotent: false }, &[]), []);
    }
}
