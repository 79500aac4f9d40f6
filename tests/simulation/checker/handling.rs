//! What handlers of typed consumers did: one key in order, and nothing again that was done.

use std::collections::{BTreeMap, BTreeSet};

use super::{Log, Violation, keys};
use crate::history::{Event, History, Id, Incarnation};

/// What a key's handlers have done in a partition of one incarnation of the topic.
#[derive(Default)]
struct Key {
    /// At work, by the reader whose they are.
    at_work: BTreeMap<u32, i64>,
    /// Handled, or dead.
    finished: BTreeSet<i64>,
    begun: BTreeSet<i64>,
}

/// A consumer has one handler of a key at work; and one that begins for the first time with a record finds all earlier ones of its key
/// finished, by
/// whomever, or dead.
pub(super) fn order(history: &History, log: &Log, found: &mut Vec<Violation>) {
    let key_of = keys(history);
    let mut keys: BTreeMap<(Incarnation, i32, u32), Key> = BTreeMap::new();
    let place = |partition: i32, offset: i64, id: Id| {
        Some((
            log.incarnation_of(partition, offset, id)?,
            partition,
            *key_of.get(&id)?,
        ))
    };
    for event in &history.events {
        match *event {
            Event::Begins {
                reader,
                partition,
                offset,
                id,
            } => {
                if log.incarnation_of(partition, offset, id).is_none() {
                    found.push(Violation::WrongRecord {
                        reader,
                        partition,
                        offset,
                    });
                }
                let Some(place) = place(partition, offset, id) else {
                    continue;
                };
                let key = keys.entry(place).or_default();
                // One that was given up together with its partition is at work no more: who has the partition then begins again there.
                let both_at_work = key
                    .at_work
                    .get(&reader)
                    .is_some_and(|other| *other < offset && !key.finished.contains(other));
                let first = key.begun.insert(offset);
                let unfinished = key
                    .begun
                    .range(..offset)
                    .any(|earlier| !key.finished.contains(earlier));
                if both_at_work || (first && unfinished) {
                    found.push(Violation::Overtook {
                        reader,
                        partition,
                        offset,
                    });
                }
                key.at_work.insert(reader, offset);
            }
            Event::Ends {
                reader,
                partition,
                offset,
                id,
            }
            | Event::Fails {
                reader,
                partition,
                offset,
                id,
            } => {
                if let Some(key) =
                    place(partition, offset, id).and_then(|place| keys.get_mut(&place))
                {
                    key.at_work.remove(&reader);
                    if let Event::Ends { .. } = event {
                        key.finished.insert(offset);
                    }
                }
            }
            Event::Dead {
                partition,
                offset,
                id,
            } => {
                if let Some(key) =
                    place(partition, offset, id).and_then(|place| keys.get_mut(&place))
                {
                    key.finished.insert(offset);
                }
            }
            _ => {}
        }
    }
}

/// Nothing is begun that was finished.
pub(super) fn once(history: &History, log: &Log, found: &mut Vec<Violation>) {
    let mut finished: BTreeSet<(Option<Incarnation>, i32, i64)> = BTreeSet::new();
    for event in &history.events {
        match *event {
            Event::Begins {
                partition,
                offset,
                id,
                ..
            } if finished.contains(&(
                log.incarnation_of(partition, offset, id),
                partition,
                offset,
            )) =>
            {
                found.push(Violation::HandledTwice { partition, offset });
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
            } => {
                finished.insert((log.incarnation_of(partition, offset, id), partition, offset));
            }
            _ => {}
        }
    }
}
