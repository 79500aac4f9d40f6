//! The sticky assignors: members keep what they have as far as that is fair. As Java's `StickyAssignor` and `CooperativeStickyAssignor`,
//! partition by partition, with racks (KIP-881).
//!
//! | file | what lives there |
//! | --- | --- |
//! | `owned` | who had what: by generation, where two members claim one partition |
//! | `constrained` | all members have subscribed to the same topics: everyone gets as many, give or take one |
//! | `general` | they have not: partitions are moved one by one until nothing gets more balanced |
//! | `movements` | what was moved from whom to whom, so that nothing goes to and fro |
//! | `near` | which members are near which partition |

mod constrained;
mod general;
mod movements;
mod near;
mod owned;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use self::owned::Owned;
use super::{Assignment, Assignor, GroupTopics, Member, java_order};
use crate::kafka::TopicPartition;
use crate::kafka::group::classic::sticky_user_data;

/// `sticky`: all is given up before a rebalance, and members tell the leader in user data what they had.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sticky;

/// `cooperative-sticky`: members keep what they have while they rebalance. What goes from one to another is assigned to nobody at first: its
/// owner gives it up, and the rebalance after that assigns it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CooperativeSticky;

impl Assignor for Sticky {
    fn name(&self) -> &'static str {
        "sticky"
    }

    fn user_data(&self, assigned: &[TopicPartition], generation: i32) -> Option<Bytes> {
        (generation >= 0).then(|| sticky_user_data::encode(assigned, generation))
    }

    fn assign(&self, members: &[Member], topics: &GroupTopics) -> BTreeMap<String, Assignment> {
        let group = Group::new(members, topics);
        let (assigned, _) = group.assign(Owned::by_user_data);
        group.named(assigned)
    }
}

impl Assignor for CooperativeSticky {
    fn name(&self) -> &'static str {
        "cooperative-sticky"
    }

    fn is_cooperative(&self) -> bool {
        true
    }

    fn assign(&self, members: &[Member], topics: &GroupTopics) -> BTreeMap<String, Assignment> {
        let group = Group::new(members, topics);
        let (mut assigned, moving) = group.assign(Owned::by_subscription);
        let moving = moving.unwrap_or_else(|| group.moving(&assigned));
        for (partition, member) in moving {
            assigned[member].retain(|it| *it != partition);
        }
        group.named(assigned)
    }
}

/// A partition: of the topic at this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Partition {
    topic: usize,
    number: i32,
}

/// What each member has, by its index.
type Assigned = Vec<Vec<Partition>>;

/// Partitions that go from one member to another, and to whom.
type Moving = BTreeMap<Partition, usize>;

/// Members and topics by their indices, which are in the order of their names.
struct Group<'a> {
    members: Vec<&'a Member>,
    /// The members in the order in which Java walks a map of them.
    walk: Vec<usize>,
    topics: Vec<Topic<'a>>,
}

struct Topic<'a> {
    name: &'a Arc<str>,
    hash: i32,
    partitions: &'a super::Partitions,
    /// Who has subscribed to it, ascending.
    members: Vec<usize>,
}

impl Topic<'_> {
    /// Whether the member has subscribed to it.
    fn is_wanted_by(&self, member: usize) -> bool {
        self.members.binary_search(&member).is_ok()
    }
}

impl<'a> Group<'a> {
    fn new(members: &'a [Member], topics: &'a GroupTopics) -> Self {
        let walk = java_order::walk(members.iter().map(|member| member.id.as_str()));
        let mut by_id: Vec<(usize, &Member)> = members.iter().enumerate().collect();
        by_id.sort_by_key(|(_, member)| &member.id);
        let mut ranks = vec![0; members.len()];
        for (rank, (index, _)) in by_id.iter().enumerate() {
            ranks[*index] = rank;
        }
        let members: Vec<&Member> = by_id.into_iter().map(|(_, member)| member).collect();
        let topics = topics.iter().filter_map(|(name, partitions)| {
            let wants = |index: &usize| members[*index].wants(name);
            let wanted_by: Vec<usize> = (0..members.len()).filter(wants).collect();
            (partitions.count > 0 && !wanted_by.is_empty()).then(|| Topic {
                name,
                hash: java_order::string_hash(name),
                partitions,
                members: wanted_by,
            })
        });
        Self {
            topics: topics.collect(),
            walk: walk.into_iter().map(|index| ranks[index]).collect(),
            members,
        }
    }

    /// Each member's partitions; and which of them are another's still, where that is known.
    fn assign(&self, owned: impl Fn(&Self) -> Owned) -> (Assigned, Option<Moving>) {
        let owned = owned(self);
        match self.is_of_one_mind() {
            true => {
                let (assigned, moving) = constrained::assign(self, owned);
                (assigned, Some(moving))
            }
            false => (general::assign(self, owned), None),
        }
    }

    /// Whether all have subscribed to the same topics.
    fn is_of_one_mind(&self) -> bool {
        let topics = |index: &usize| -> BTreeSet<&str> {
            let topics = self.members[*index].subscription.topics.iter();
            topics.map(String::as_str).collect()
        };
        let mut walk = self.walk.iter();
        let first = walk.next().map(topics);
        walk.all(|member| Some(topics(member)) == first)
    }

    /// What is new to a member and given up by another.
    fn moving(&self, assigned: &Assigned) -> Moving {
        let (mut added, mut given_up) = (Moving::new(), BTreeSet::new());
        for (member, assigned) in assigned.iter().enumerate() {
            let owned: BTreeSet<Partition> = self.claimed(member).collect();
            let assigned: BTreeSet<Partition> = assigned.iter().copied().collect();
            added.extend(assigned.difference(&owned).map(|new| (*new, member)));
            given_up.extend(owned.difference(&assigned).copied());
        }
        added.retain(|partition, _| given_up.contains(partition));
        added
    }

    /// What the member's subscription says that it owns.
    fn claimed(&self, member: usize) -> impl Iterator<Item = Partition> + '_ {
        let owned = self.members[member].subscription.owned.iter();
        owned.filter_map(|owned| self.find(owned))
    }

    /// The partition, if it exists and anybody wants its topic.
    fn find(&self, partition: &TopicPartition) -> Option<Partition> {
        let by_name = |topic: &Topic<'_>| (**topic.name).cmp(&*partition.topic);
        let topic = self.topics.binary_search_by(by_name).ok()?;
        let number = partition.partition;
        let exists = (0..self.topics[topic].partitions.count).contains(&number);
        exists.then_some(Partition { topic, number })
    }

    /// All partitions of the topic.
    fn partitions_of(&self, topic: usize) -> impl Iterator<Item = Partition> + use<> {
        let count = self.topics[topic].partitions.count;
        (0..count).map(move |number| Partition { topic, number })
    }

    fn named(&self, assigned: Assigned) -> BTreeMap<String, Assignment> {
        let named = |partitions: Vec<Partition>| {
            let mut assignment = Assignment::new();
            for partition in partitions {
                let topic = self.topics[partition.topic].name.clone();
                assignment.entry(topic).or_default().push(partition.number);
            }
            assignment
                .values_mut()
                .for_each(|numbers| numbers.sort_unstable());
            assignment
        };
        let members = self.members.iter().zip(assigned);
        members
            .map(|(member, partitions)| (member.id.clone(), named(partitions)))
            .collect()
    }
}
