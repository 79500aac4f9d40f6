//! What producers were told of their records, against what the logs have.

use std::collections::{BTreeMap, BTreeSet};

use super::{Guarantees, Violation, keys};
use crate::history::{Event, History, Id, Incarnation, ReportedOutcome};

pub(super) fn reports(history: &History, guarantees: Guarantees, found: &mut Vec<Violation>) {
    let places: BTreeSet<(i32, i64, Id)> = history
        .log
        .iter()
        .map(|(_, partition, offset, id)| (*partition, *offset, *id))
        .collect();
    let present: BTreeSet<Id> = history.log.iter().map(|(_, _, _, id)| *id).collect();
    let mut accepted: BTreeMap<Id, (u64, bool)> = BTreeMap::new();
    let mut open = BTreeSet::new();
    for (event, at) in history.events.iter().zip(&history.times) {
        match *event {
            Event::Accepted { id, good, .. } => {
                accepted.insert(id, (*at, good));
                open.insert(id);
            }
            Event::Reported { id, outcome } => {
                open.remove(&id);
                match outcome {
                    ReportedOutcome::Written { partition, offset } => {
                        if !places.contains(&(partition, offset, id)) {
                            found.push(Violation::Lost(id));
                        }
                    }
                    ReportedOutcome::NotWritten | ReportedOutcome::Expired => {
                        if present.contains(&id) {
                            found.push(Violation::WrittenAfterAll(id));
                        }
                    }
                    ReportedOutcome::Unknown => {}
                }
                let Some((since, good)) = accepted.get(&id) else {
                    continue;
                };
                if guarantees.all_is_well
                    && *good
                    && !matches!(outcome, ReportedOutcome::Written { .. })
                {
                    found.push(Violation::FailedForNothing(id));
                }
                if outcome == ReportedOutcome::Expired && at - since < guarantees.delivery_ms {
                    found.push(Violation::ExpiredEarly(id));
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
    let phantoms = present.iter().filter(|id| !accepted.contains_key(id));
    found.extend(phantoms.copied().map(Violation::NeverAccepted));
}

pub(super) fn doubled(history: &History, found: &mut Vec<Violation>) {
    let mut seen = BTreeSet::new();
    for (_, _, _, id) in &history.log {
        if !seen.insert(*id) {
            found.push(Violation::Doubled(*id));
        }
    }
}

/// Per producer and key, first appearances in a partition follow the order of sending. (Without idempotence a record may appear again later:
/// that is a duplicate, not a reordering, as long as each record's first appearance is in its place. And one whose fate is reported as
/// unknown may come late: what the network held back until then, nothing tells the broker to refuse. With idempotence the next epoch does, once
/// something of it is there; but after the last one there is only another producer id, a higher one, of which brokers know nothing: it fences no
/// epoch of the one before.)
pub(super) fn order(history: &History, guarantees: Guarantees, found: &mut Vec<Violation>) {
    let unknown: BTreeSet<Id> = history
        .events
        .iter()
        .filter_map(|event| match *event {
            Event::Reported {
                id,
                outcome: ReportedOutcome::Unknown,
            } => Some(id),
            _ => None,
        })
        .collect();
    let keys = keys(history);
    let mut log = history.log.clone();
    log.sort_by_key(|(incarnation, partition, offset, _)| (*incarnation, *partition, *offset));
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<(Incarnation, i32, u32, u32), Id> = BTreeMap::new();
    // The highest epoch of each producer id.
    let mut epochs: BTreeMap<(Incarnation, i32, i64), i16> = BTreeMap::new();
    for (incarnation, partition, _, id) in log {
        let is_unknown = unknown.contains(&id);
        if !seen.insert(id) || is_unknown && !guarantees.idempotent {
            continue;
        }
        let producer = history.producers.get(&id).copied();
        let is_fenced = producer.is_none_or(|(producer_id, epoch)| {
            let known = epochs.entry((incarnation, partition, producer_id));
            let highest = known.or_insert(epoch);
            *highest = epoch.max(*highest);
            epoch < *highest
        });
        let Some(key) = keys.get(&id) else { continue };
        let place = (incarnation, partition, id.producer, *key);
        let later = last.get(&place).and_then(|id| history.producers.get(id));
        let is_another = later
            .zip(producer)
            .is_some_and(|(later, it)| later.0 > it.0);
        if is_unknown && is_another && !is_fenced && guarantees.producer_ids_end {
            continue;
        }
        if let Some(earlier) = last.insert(place, id)
            && earlier.number > id.number
        {
            found.push(Violation::Reordered {
                earlier: id,
                later: earlier,
            });
        }
    }
}
