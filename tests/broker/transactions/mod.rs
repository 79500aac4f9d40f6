//! Transactions, in raw messages.
//!
//! - [`producer`]: a producer to do it with
//! - [`flows`]: from the first epoch to what readers see, by both flows
//! - [`coordinators`]: fencing, timeouts, nodes that go away, markers that come late
//! - [`asking`]: what operators are told

mod asking;
mod coordinators;
mod flows;
pub mod producer;
