//! Who is to get what of a share group: every partition is somebody's, every member has one as long as its topics have any, and nobody has many
//! more than others.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Uuid;

use crate::broker::share::IdPartition;

/// The name by which Kafka has its own.
pub(super) const NAME: &str = "simple";

/// What each member is to have. `members`: the topics that each wants; `counts`: how many partitions each topic has.
pub(super) fn assign(
    members: &BTreeMap<&String, BTreeSet<Uuid>>,
    counts: &BTreeMap<Uuid, i32>,
) -> BTreeMap<String, BTreeSet<IdPartition>> {
    let mut assigned: BTreeMap<String, BTreeSet<IdPartition>> = BTreeMap::new();
    for member in members.keys() {
        assigned.insert((*member).clone(), BTreeSet::new());
    }
    // Topics that the same members want are dealt out together.
    let mut wanted: BTreeMap<Vec<&String>, Vec<IdPartition>> = BTreeMap::new();
    for (topic, count) in counts {
        let by = members.iter().filter(|(_, topics)| topics.contains(topic));
        let by: Vec<&String> = by.map(|(member, _)| *member).collect();
        let partitions = (0..*count).map(|index| (*topic, index));
        wanted.entry(by).or_default().extend(partitions);
    }
    for (members, partitions) in &wanted {
        if members.is_empty() || partitions.is_empty() {
            continue;
        }
        for turn in 0..members.len().max(partitions.len()) {
            let (member, partition) = (
                members[turn % members.len()],
                partitions[turn % partitions.len()],
            );
            if let Some(of_member) = assigned.get_mut(member) {
                of_member.insert(partition);
            }
        }
    }
    assigned
}
