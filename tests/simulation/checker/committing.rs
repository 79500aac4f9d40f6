//! What was committed, against what was read or handled before; and where members begin.

use std::collections::{BTreeMap, BTreeSet};

use super::simultaneous::Commits;
use super::{Guarantees, Log, Violation};
use crate::history::{Event, Group, History, Id, Incarnation};

/// A commit covers only what the group has handed out before it, of the topic that has the name.
pub(super) fn commits(history: &History, log: &Log, group: &[u32], found: &mut Vec<Violation>) {
    let mut unread = log.places.clone();
    let mut now: Incarnation = 0;
    let mut asked: BTreeMap<(u32, i32), Incarnation> = BTreeMap::new();
    for event in &history.events {
        match *event {
            Event::Created { incarnation, .. } => now = incarnation,
            Event::Polled {
                reader,
                partition,
                offset,
                id,
            } if group.contains(&reader) => {
                if let Some(incarnation) = log.incarnation_of(partition, offset, id) {
                    unread.remove(&(incarnation, partition, offset));
                }
            }
            Event::Committing {
                reader, partition, ..
            } => {
                asked.insert((reader, partition), now);
            }
            Event::Committed {
                reader,
                partition,
                next,
            } if group.contains(&reader) => {
                // It may have been for the topic that was there when it was asked for.
                let same = asked
                    .get(&(reader, partition))
                    .is_none_or(|incarnation| *incarnation == now);
                let passed = unread
                    .range((now, partition, i64::MIN)..(now, partition, next))
                    .next();
                if same && passed.is_some() {
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

/// What the coordinator has never passes what the group has not read, or handled, of the topic that has the name; it has what it has
/// acknowledged; and where all is well it does not fall.
pub(super) fn stored(
    history: &History,
    log: &Log,
    guarantees: Guarantees,
    found: &mut Vec<Violation>,
) {
    let mut now: Incarnation = 0;
    let mut unfinished =
        BTreeMap::from([Group::Polling, Group::Typed].map(|group| (group, log.places.clone())));
    let mut stored: BTreeMap<(Group, i32), i64> = BTreeMap::new();
    let mut asked: BTreeMap<(u32, i32), Incarnation> = BTreeMap::new();
    let mut commits = Commits::default();
    // The lone reader is in no group.
    let owners: BTreeSet<u32> = history
        .events
        .iter()
        .filter_map(|event| match *event {
            Event::Assigned { reader, .. } => Some(reader),
            _ => None,
        })
        .collect();
    for (index, event) in history.events.iter().enumerate() {
        commits.take(index, event);
        match *event {
            Event::Created { incarnation, .. } => {
                now = incarnation;
                stored.clear();
            }
            Event::Polled {
                reader,
                partition,
                offset,
                id,
            } if owners.contains(&reader) => {
                finish(
                    log,
                    &mut unfinished,
                    Group::Polling,
                    (partition, offset, id),
                );
            }
            Event::Ends {
                partition,
                offset,
                id,
                ..
            }
            | Event::Dead {
                partition,
                offset,
                id,
            }
            | Event::SentToRetry {
                partition,
                offset,
                id,
            } => finish(log, &mut unfinished, Group::Typed, (partition, offset, id)),
            Event::Stored {
                group,
                partition,
                next,
            } => {
                let left = &unfinished[&group];
                let passed = left
                    .range((now, partition, i64::MIN)..(now, partition, next))
                    .next();
                if passed.is_some() {
                    found.push(Violation::StoredUnfinished {
                        group,
                        partition,
                        next,
                    });
                }
                let before = stored.insert((group, partition), next);
                // A group that goes over from the classic protocol takes from its members what was assigned to them last: what a cooperative
                // one is still to give up goes to another at once, as it does in Kafka.
                let rises = guarantees.all_is_well && guarantees.epochs_rise;
                if rises && before.is_some_and(|before| before > next) {
                    found.push(Violation::StoredFell {
                        group,
                        partition,
                        next,
                    });
                }
            }
            Event::Committing {
                reader, partition, ..
            } => {
                asked.insert((reader, partition), now);
            }
            Event::Committed {
                reader,
                partition,
                next,
            } => {
                let same = asked
                    .get(&(reader, partition))
                    .is_none_or(|incarnation| *incarnation == now);
                let has = stored.get(&(Group::Polling, partition)).copied();
                let lacks = has.is_none_or(|has| {
                    has < next && !commits.may_be_overtaken(index, partition, has, guarantees)
                });
                if same && lacks {
                    found.push(Violation::NotStored {
                        reader,
                        partition,
                        next,
                    });
                }
            }
            Event::CommitRefused { reader } => found.push(Violation::CommitRefused { reader }),
            _ => {}
        }
    }
}

fn finish(
    log: &Log,
    unfinished: &mut BTreeMap<Group, BTreeSet<(Incarnation, i32, i64)>>,
    group: Group,
    (partition, offset, id): (i32, i64, Id),
) {
    if let Some(incarnation) = log.incarnation_of(partition, offset, id)
        && let Some(left) = unfinished.get_mut(&group)
    {
        left.remove(&(incarnation, partition, offset));
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
    /// The lowest commit of one who has been followed, where that may count.
    of_followed: Option<i64>,
}

/// Commits never fall, and whoever takes a partition over begins no lower than at what was committed. The log's start never moves here, so
/// nothing else can move a member up or down, but another topic of the name, for which nothing is committed.
///
/// A commit that was begun and not acknowledged may yet reach the coordinator, behind later ones even, until another generation fences it:
/// for a partition that begins with `Owns`, no lower than the lowest commit that may have come last. A member that joins again may find its
/// old generation, so only another owner is proof of a new one.
///
/// A group that goes over from the classic protocol gives partitions to others that a cooperative member is still to give up, as Kafka's does: that one
/// is a member as they are, and what it commits counts, too.
pub(super) fn progress(
    history: &History,
    log: &Log,
    guarantees: Guarantees,
    group: &[u32],
    found: &mut Vec<Violation>,
) {
    let mut now: Incarnation = 0;
    let mut partitions: BTreeMap<i32, Progress> = BTreeMap::new();
    let mut beginning: BTreeMap<(u32, i32), i64> = BTreeMap::new();
    // What the coordinator had when a member started that is told of nothing.
    let mut stored: BTreeMap<i32, i64> = BTreeMap::new();
    let mut from: BTreeMap<(u32, i32), i64> = BTreeMap::new();
    let mut sent: BTreeSet<(i32, i64)> = BTreeSet::new();
    for event in &history.events {
        match *event {
            Event::Created { incarnation, .. } => {
                now = incarnation;
                partitions.clear();
                beginning.clear();
                stored.clear();
                from.clear();
            }
            Event::Stored {
                group: Group::Typed,
                partition,
                next,
            } => {
                stored.insert(partition, next);
            }
            Event::Starts { reader } if group.contains(&reader) => {
                from.extend(
                    stored
                        .iter()
                        .map(|(partition, next)| ((reader, *partition), *next)),
                );
            }
            Event::SentToRetry {
                partition, offset, ..
            } => drop(sent.insert((partition, offset))),
            Event::Begins {
                reader,
                partition,
                offset,
                id,
            } => {
                let low = from
                    .get(&(reader, partition))
                    .is_some_and(|from| offset < *from);
                // What came out of a retry topic was committed when it was written there.
                let was_sent = sent.contains(&(partition, offset));
                if low && !was_sent && log.incarnation_of(partition, offset, id) == Some(now) {
                    found.push(Violation::BeganTooLow {
                        reader,
                        partition,
                        offset,
                    });
                }
            }
            Event::Assigned { reader, partition } if group.contains(&reader) => {
                let known = partitions.entry(partition).or_default();
                for next in (known.open.iter().map(|(next, _)| *next)).chain(known.of_followed) {
                    known.floor = known.floor.min(next);
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
                id,
            } => {
                let floor = beginning.remove(&(reader, partition));
                if floor.is_some_and(|floor| offset < floor)
                    && log.incarnation_of(partition, offset, id) == Some(now)
                {
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
                } else if !guarantees.epochs_rise {
                    let lowest = known.of_followed.map_or(next, |lowest| lowest.min(next));
                    known.of_followed = Some(lowest);
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
