//! The share group protocol (KIP-932): the broker assigns partitions, and several members may have the same one.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `membership` | what a member does next, by what the coordinator and the application say |
//! | `task` | the task that talks to the coordinator for it |

pub(crate) mod membership;
mod task;
