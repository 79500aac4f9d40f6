//! Which members are near which partitions.

use std::collections::BTreeSet;

use super::{Group, Partition};
use crate::kafka::group::classic::assignor::racks;

/// The racks of members, and whether they matter.
pub(super) struct Near<'a> {
    group: &'a Group<'a>,
    /// Whether any member says where it runs.
    is_known: bool,
    /// Whether it makes a difference.
    pub matters: bool,
}

impl<'a> Near<'a> {
    pub fn new(group: &'a Group<'a>) -> Self {
        let members = group.members.iter();
        let of_members: BTreeSet<&str> = members.filter_map(|member| member.rack()).collect();
        let partitions = group.topics.iter().map(|topic| topic.partitions);
        Self {
            group,
            is_known: !of_members.is_empty(),
            matters: racks::matter(&of_members, partitions),
        }
    }

    fn racks_of(&self, partition: Partition) -> &'a BTreeSet<String> {
        let partitions = self.group.topics[partition.topic].partitions;
        partitions.racks_of(partition.number)
    }

    /// Whether both say where they are, and it is the same place.
    pub fn is_near(&self, member: usize, partition: Partition) -> bool {
        let rack = self.group.members[member].rack();
        self.matters && rack.is_some_and(|rack| self.racks_of(partition).contains(rack))
    }

    /// Whether the member says where it is, and the partition is elsewhere.
    pub fn is_far(&self, member: usize, partition: Partition) -> bool {
        let rack = self.group.members[member].rack();
        self.matters && rack.is_some_and(|rack| !self.racks_of(partition).contains(rack))
    }

    /// Those that few members are near come first.
    pub fn sort(&self, partitions: &mut [Partition]) {
        if self.is_known {
            partitions.sort_by_cached_key(|partition| {
                let racks = self.racks_of(*partition);
                let members = self.group.members.iter();
                let near = members.filter(|it| it.rack().is_some_and(|rack| racks.contains(rack)));
                near.count()
            });
        }
    }

    /// The place of the first of `members` that is near, from `start` on and round.
    pub fn next(&self, partition: Partition, members: &[usize], start: usize) -> Option<usize> {
        let places = (0..members.len()).map(|step| (start + step) % members.len());
        { places }.find(|place| self.is_near(members[*place], partition))
    }
}
