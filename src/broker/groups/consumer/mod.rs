//! Consumer groups (KIP-848): the broker assigns the partitions, and leads each member towards what it has decided.
//!
//! - `group`: one group's members and epochs; ConsumerGroupHeartbeat
//! - `member`: one member, and its way from what it has to what it is to have
//! - `assignor`: who is to get what
//! - `classic_members`: members of such a group that speak the classic protocol
//! - `convert`: a classic group becomes a consumer group, and the other way round
//! - `describe`: ConsumerGroupDescribe

mod assignor;
mod classic_members;
mod convert;
mod describe;
mod group;
mod member;
#[cfg(test)]
mod tests;

pub(super) use convert::subscription;
pub(crate) use group::{ConsumerGroup, Refusal, by_topic, check, millis};
pub(crate) use member::{LEAVE_EPOCH, STATIC_LEAVE_EPOCH};
