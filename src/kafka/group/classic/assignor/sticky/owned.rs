//! Who had what before.

use std::collections::{BTreeMap, BTreeSet};

use super::{Assigned, Group, Partition};
use crate::kafka::group::classic::sticky_user_data;
use crate::kafka::group::group_metadata::NO_GENERATION;

/// What the members had, as far as they still can have it.
#[derive(Debug, Default)]
pub(super) struct Owned {
    /// Each partition with one member at most.
    pub by_member: Assigned,
    /// What two members claim in the same generation: nobody keeps it.
    pub claimed_twice: BTreeSet<Partition>,
    /// Who had a partition in an older generation than the newest, and in which.
    pub before: BTreeMap<Partition, (usize, i32)>,
}

/// What a member says that it has, and since which generation, if it says that.
struct Claim {
    partitions: Vec<Partition>,
    generation: Option<i32>,
}

impl Owned {
    /// By what members of `sticky` say in their user data: they own nothing while they join.
    pub fn by_user_data(group: &Group<'_>) -> Self {
        let claim = |member: usize| {
            let user_data = group.members[member].subscription.user_data.clone();
            let Some(user_data) = user_data.filter(|data| !data.is_empty()) else {
                return Claim {
                    partitions: Vec::new(),
                    generation: None,
                };
            };
            let (partitions, generation) = sticky_user_data::decode(user_data)
                .unwrap_or_else(|| (Vec::new(), Some(NO_GENERATION)));
            Claim {
                partitions: partitions.iter().filter_map(|it| group.find(it)).collect(),
                generation,
            }
        };
        Self::of(group, claim)
    }

    /// By what members of `cooperative-sticky` say in their subscriptions.
    pub fn by_subscription(group: &Group<'_>) -> Self {
        let claim = |member: usize| {
            let subscription = &group.members[member].subscription;
            let generation = match subscription.generation {
                known @ 0.. => Some(known),
                // As members said it before subscriptions had a field for it.
                _ => (subscription.user_data.clone())
                    .map(|data| sticky_user_data::decode_generation(data).unwrap_or(NO_GENERATION)),
            };
            Claim {
                partitions: group.claimed(member).collect(),
                generation,
            }
        };
        Self::of(group, claim)
    }

    fn of(group: &Group<'_>, claim: impl Fn(usize) -> Claim) -> Self {
        let claims: Vec<Claim> = (0..group.members.len()).map(claim).collect();
        let of_claim = |member: usize| claims[member].generation.unwrap_or(NO_GENERATION);
        let mut owned = Self {
            by_member: vec![Vec::new(); claims.len()],
            ..Self::default()
        };
        let mut owners: BTreeMap<Partition, usize> = BTreeMap::new();
        for member in group.walk.iter().copied() {
            for partition in claims[member].partitions.iter().copied() {
                let Some(other) = owners.get(&partition).copied() else {
                    owned.by_member[member].push(partition);
                    owners.insert(partition, member);
                    continue;
                };
                // Java compares with what the other's subscription says, whatever its user data does.
                let others = group.members[other]
                    .subscription
                    .generation
                    .max(NO_GENERATION);
                let ours = of_claim(member);
                if ours >= others {
                    owned.by_member[other].retain(|it| *it != partition);
                    owners.insert(partition, member);
                    if ours > others {
                        owned.by_member[member].push(partition);
                    } else {
                        owned.claimed_twice.insert(partition);
                    }
                }
            }
        }
        let newest = (0..claims.len())
            .map(of_claim)
            .max()
            .unwrap_or(NO_GENERATION);
        for member in group.walk.iter().copied() {
            let generation = of_claim(member);
            if generation >= newest {
                continue;
            }
            for partition in claims[member].partitions.iter().copied() {
                let before = owned
                    .before
                    .entry(partition)
                    .or_insert((member, generation));
                if generation > before.1 {
                    *before = (member, generation);
                }
            }
        }
        owned
    }
}
