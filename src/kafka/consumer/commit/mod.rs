//! Commits, in order.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `committer` | the queue of commits, and the task that sends them one after the other |
//! | `request` | one commit: what is sent, and what the coordinator's answers mean |

mod committer;
mod request;

pub(super) use committer::Commits;
pub use committer::PendingCommit;
pub(super) use request::Notes;
