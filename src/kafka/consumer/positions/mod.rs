//! Where each assigned partition stands: what was handed out, what was fetched ahead, what must be asked for first.
//!
//! In: assignments, seeks, pauses, leaders, responses. Out: what to ask the coordinator and the leaders, what to fetch from a node, what has
//! been wrong for too long. No clock and no socket, but for the last three files: `now` is an argument.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `positions` | all assigned partitions: assigning, seeking, pausing |
//! | `partition` | one of them |
//! | `questions` | what must be asked before anything can be fetched, and what the answers do |
//! | `fetching` | what to fetch from a broker, and what its responses do |
//! | `failures` | what goes wrong with a partition, and when a poll says so |
//! | `offset_reset` | where to start |
//! | `resolver` | the task that asks |
//! | `list_offsets`, `offset_fetch` | questions to leaders and to the coordinator |

mod failures;
mod fetching;
pub(super) mod list_offsets;
pub(super) mod offset_fetch;
pub(super) mod offset_reset;
mod partition;
#[allow(clippy::module_inception)]
mod positions;
mod questions;
pub(super) mod resolver;

pub(super) use fetching::{Diverged, Pace, Plan, Wanted};
pub(super) use partition::{Position, Watermarks};
pub(super) use positions::Positions;

#[cfg(test)]
mod tests;
