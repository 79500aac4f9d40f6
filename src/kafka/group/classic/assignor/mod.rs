//! Who gets which partition: run by the group's leader.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `range` | each topic's partitions in consecutive runs, as Java's `RangeAssignor` |
//! | `round_robin` | all partitions in turn, as Java's `RoundRobinAssignor` |
//! | `sticky` | members keep what they have as far as that is fair, as Java's `StickyAssignor` and `CooperativeStickyAssignor` |
//! | `racks` | whether it matters where members and replicas stand |
//! | `java_order` | the order in which Java walks its hash tables, where an assignment depends on it |

#[cfg(test)]
mod against_java;
mod java_order;
mod racks;
mod range;
mod round_robin;
mod sticky;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::consumer_protocol::Subscription;
use crate::kafka::TopicPartition;

pub(crate) use range::Range;
pub(crate) use round_robin::RoundRobin;
pub(crate) use sticky::{CooperativeSticky, Sticky};

/// A group member, as its leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    pub id: String,
    pub instance_id: Option<String>,
    pub subscription: Subscription,
}

impl Member {
    /// Whether it has subscribed to the topic.
    fn wants(&self, topic: &str) -> bool {
        self.subscription.topics.iter().any(|name| name == topic)
    }

    /// Where it runs, if it says so.
    fn rack(&self) -> Option<&str> {
        let rack = self.subscription.rack.as_deref();
        rack.filter(|rack| !rack.is_empty())
    }
}

/// The partitions of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Partitions {
    /// How many: none where the topic does not exist (yet).
    pub count: i32,
    /// The racks in which each partition has replicas; empty if no member says where it runs.
    pub racks: Vec<BTreeSet<String>>,
}

impl Partitions {
    /// The racks of each partition, known or not.
    fn racks_of_each(&self) -> impl Iterator<Item = &BTreeSet<String>> + Clone {
        (0..self.count).map(|number| self.racks_of(number))
    }

    fn racks_of(&self, number: i32) -> &BTreeSet<String> {
        static NONE: BTreeSet<String> = BTreeSet::new();
        let index = usize::try_from(number).ok();
        let racks = index.and_then(|index| self.racks.get(index));
        racks.unwrap_or(&NONE)
    }
}

impl From<i32> for Partitions {
    fn from(count: i32) -> Self {
        Self {
            count,
            racks: Vec::new(),
        }
    }
}

/// The topics of a group, and their partitions.
pub(crate) type GroupTopics = BTreeMap<Arc<str>, Partitions>;

/// What one member is assigned: by topic, its partitions in ascending order.
pub(crate) type Assignment = BTreeMap<Arc<str>, Vec<i32>>;

/// A way to assign a group's partitions to its members.
pub(crate) trait Assignor: Send + Sync {
    /// The name that members agree on it by.
    fn name(&self) -> &'static str;

    /// Whether members keep their partitions while the group rebalances, and give up only what goes to others (KIP-429).
    fn is_cooperative(&self) -> bool {
        false
    }

    /// What a member adds to its subscription for the leader: by what it was assigned last, and in which generation.
    fn user_data(&self, _assigned: &[TopicPartition], _generation: i32) -> Option<Bytes> {
        None
    }

    /// Each member's assignment, by member id. Every member is in it, if with nothing.
    fn assign(&self, members: &[Member], topics: &GroupTopics) -> BTreeMap<String, Assignment>;
}

/// Static members first, by instance id, then the others by member id.
fn in_order(members: &[Member]) -> Vec<&Member> {
    let mut ordered: Vec<&Member> = members.iter().collect();
    ordered.sort_by_key(|member| {
        (
            member.instance_id.is_none(),
            &member.instance_id,
            &member.id,
        )
    });
    ordered
}

/// An empty assignment for each member.
fn nothing_for(members: &[&Member]) -> BTreeMap<String, Assignment> {
    let ids = members.iter().map(|member| member.id.clone());
    ids.map(|id| (id, Assignment::new())).collect()
}
