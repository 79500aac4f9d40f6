//! Commits, in order.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `acks` | acknowledgements of one partition, out of order in |
//! | `offset_tracker` | which records are finished, contiguous out |
//! | `commit_metadata` | the text beside a commit that names its topic, and what is finished beyond it |
//! | `progress` | what is committed of each partition: what was polled, stored or acknowledged |
//! | `committer` | the queue of commits, and the task that sends them one after the other |
//! | `by_topic` | offsets by topic, as requests have it, in a transaction or without one |
//! | `request` | one commit: what is sent, and what the coordinator's answers mean |

mod acks;
pub(crate) mod by_topic;
pub(crate) mod commit_metadata;
mod committer;
pub(crate) mod offset_tracker;
mod progress;
mod request;

pub use acks::Acks;
pub(super) use committer::Commits;
pub use committer::PendingCommit;
pub(super) use committer::not_held;
pub(super) use progress::Progress;
pub(super) use request::Notes;
