//! Share groups (KIP-932): the broker assigns partitions, and several members may have the same one.
//!
//! - `group`: one group's members and epochs; ShareGroupHeartbeat, ShareGroupDescribe
//! - `assignor`: who is to get what

mod assignor;
mod group;
#[cfg(test)]
mod tests;

pub(crate) use group::{ShareGroup, check};
