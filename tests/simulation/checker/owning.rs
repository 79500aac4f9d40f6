//! Who had which partition when.

use std::collections::BTreeMap;

use pat_events::kafka::GroupProtocol;

use super::{Guarantees, Violation};
use crate::history::{Event, History};

/// The members that have been given a partition.
#[derive(Default)]
struct Partition {
    /// Who has it, the epoch in which it was given to them, as far as that is known, and to how many it was given before.
    owners: BTreeMap<u32, (Option<i32>, usize)>,
    /// Everybody who was given it.
    grants: Vec<(u32, i32)>,
}

/// No partition is two members' in one epoch: one that is given to a member is given to another in a later epoch only, which the first does
/// not enter as long as it has the partition. Whoever has lost its place in the group, and does not know, stays in the epoch that it has.
///
/// One of the classic protocol in a group with members of the consumer protocol is not told that it lost its place: Kafka takes it in again
/// with the id that it has, and only the assignment says what is not its own any more.
///
/// Of a topic that was created anew, others have the new partitions while some have the old ones: such histories are not looked at.
pub(super) fn once(history: &History, guarantees: Guarantees, found: &mut Vec<Violation>) {
    let is_created = |event: &Event| matches!(event, Event::Created { .. });
    if history.events.iter().any(is_created) {
        return;
    }
    let mut epochs: BTreeMap<u32, Option<i32>> = BTreeMap::new();
    let mut partitions: BTreeMap<i32, Partition> = BTreeMap::new();
    for event in &history.events {
        match *event {
            Event::InEpoch { reader, epoch } => {
                epochs.insert(reader, epoch);
                let is_told = guarantees.protocols.is_one()
                    || guarantees.protocols.of(reader) != GroupProtocol::Classic;
                let Some(epoch) = epoch.filter(|_| is_told) else {
                    continue;
                };
                for (number, partition) in &partitions {
                    let Some((Some(since), before)) = partition.owners.get(&reader) else {
                        continue;
                    };
                    let is_others = |(other, given): &(u32, i32)| {
                        *other != reader && since < given && *given <= epoch
                    };
                    if partition.grants[*before..].iter().any(is_others) {
                        found.push(Violation::OwnedTwice {
                            reader,
                            partition: *number,
                        });
                    }
                }
            }
            Event::Assigned { reader, partition } => {
                let epoch = epochs.get(&reader).copied().flatten();
                let entry = partitions.entry(partition).or_default();
                let is_in_the_way = |(other, (since, _)): (&u32, &(Option<i32>, usize))| {
                    let not_before = guarantees.epochs_rise
                        && since.zip(epoch).is_some_and(|(since, now)| since >= now);
                    *other != reader && (guarantees.owned_once || not_before)
                };
                if entry.owners.iter().any(is_in_the_way) {
                    found.push(Violation::OwnedTwice { reader, partition });
                }
                let before = entry.grants.len();
                entry.owners.insert(reader, (epoch, before));
                entry.grants.extend(epoch.map(|epoch| (reader, epoch)));
            }
            Event::Released { reader, partition } => {
                if let Some(entry) = partitions.get_mut(&partition) {
                    entry.owners.remove(&reader);
                }
            }
            Event::Stops { reader } => {
                for entry in partitions.values_mut() {
                    entry.owners.remove(&reader);
                }
            }
            _ => {}
        }
    }
}
