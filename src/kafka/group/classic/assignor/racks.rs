//! Who stands near which partition (KIP-881): by the racks of members, and of the brokers that hold a partition's replicas.

use std::collections::BTreeSet;

use super::Partitions;

/// Whether it makes a difference who gets what: some rack of a member has replicas, and not every partition has some in the same racks.
pub(super) fn matter<'a>(
    of_members: &BTreeSet<&str>,
    partitions: impl Iterator<Item = &'a Partitions> + Clone,
) -> bool {
    let of_each = partitions.flat_map(Partitions::racks_of_each);
    let all: BTreeSet<&str> = of_each.clone().flatten().map(String::as_str).collect();
    let is_everywhere = |racks: &BTreeSet<String>| racks.len() == all.len();
    !of_members.is_disjoint(&all) && !of_each.into_iter().all(is_everywhere)
}
