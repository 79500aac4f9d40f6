//! The classic group protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup. The coordinator forms a generation; its leader assigns.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `membership` | the member's state: what to send next, what a response means |
//! | `task` | the task that talks to the coordinator |
//! | `assignor` | who gets which partition |
//! | `consumer_protocol` | what members exchange: subscriptions and assignments |
//! | `assignment_note` | what a leader leaves with a static member's assignment |
//! | `sticky_user_data` | what members of the sticky assignors add to that |
//! | `response_checks` | whether a response fits its request |

mod assignment_note;
pub(crate) mod assignor;
pub(crate) mod consumer_protocol;
pub(crate) mod membership;
pub(crate) mod response_checks;
pub(crate) mod sticky_user_data;
mod task;
