//! Who gets which partition: run by the group's leader.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `range` | each topic's partitions in consecutive runs, as Java's `RangeAssignor` |

mod range;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::consumer_protocol::Subscription;

pub(crate) use range::Range;

/// A group member, as its leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    pub id: String,
    pub instance_id: Option<String>,
    pub subscription: Subscription,
}

/// How many partitions each topic of the group has: none where the topic does not exist (yet).
pub(crate) type PartitionCounts = BTreeMap<Arc<str>, i32>;

/// What one member is assigned: by topic, its partitions in ascending order.
pub(crate) type Assignment = BTreeMap<Arc<str>, Vec<i32>>;

/// A way to assign a group's partitions to its members.
pub(crate) trait Assignor: Send + Sync {
    /// The name that members agree on it by.
    fn name(&self) -> &'static str;

    /// Each member's assignment, by member id. Every member is in it, if with nothing.
    fn assign(
        &self,
        members: &[Member],
        partitions: &PartitionCounts,
    ) -> BTreeMap<String, Assignment>;
}
