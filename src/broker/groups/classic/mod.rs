//! Classic groups: the leader among the members assigns the partitions.
//!
//! - `group`: one group's state, members and rebalances
//! - `join`: JoinGroup
//! - `describe`: DescribeGroups
//! - `membership`: SyncGroup, Heartbeat, LeaveGroup, expiry

mod describe;
mod group;
mod join;
mod membership;
#[cfg(test)]
mod tests;

pub(crate) use describe::not_described;
pub(crate) use group::{ClassicGroup, Member, State, millis};
pub(crate) use join::{Joining, failed, protocols, refuse, uuid_text};
pub(crate) use membership::{failed_sync, refuse_sync};
