//! Groups, from a member's side.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `member` | the handle that polls use, and what the tasks of both protocols share |
//! | `task` | the loop of a member's task, for both |
//! | `classic` | the classic protocol: one member, the leader, assigns the partitions |
//! | `consumer` | the consumer protocol (KIP-848): the broker assigns |
//! | `share` | the share group protocol (KIP-932): the broker assigns, and several members may have the same partition |
//! | `heartbeats` | the heartbeats of both protocols in which the broker assigns |
//! | `find_topics` | the names of topics that a coordinator has named by id |
//! | `duty` | what a group wants of polls: revoke, lost, assign; and what the application owns |
//! | `group_metadata` | who commits: generation, member id, instance id |
//! | `failure_tracker` | what has been failing for how long, and when that is reported |
//! | `missing_topics` | subscribed topics that do not exist (yet) |

pub(crate) mod classic;
pub(crate) mod consumer;
pub(crate) mod duty;
mod failure_tracker;
mod find_topics;
pub(crate) mod group_metadata;
pub(crate) mod heartbeats;
pub(crate) mod member;
pub(crate) mod missing_topics;
pub(crate) mod share;
mod task;
