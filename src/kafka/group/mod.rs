//! Consumer groups, from a member's side: the classic protocol, in which one member, the leader, shares the partitions out.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `assignor` | who gets which partition |
//! | `membership` | the member's state: what to send next, what an answer means |
//! | `checks` | whether an answer fits what was asked |
//! | `trouble` | what has been failing for how long, and when that is told |
//! | `missing_topics` | subscribed topics that do not exist (yet) |
//! | `protocol` | the blobs that members exchange |
//! | `coordinator` | the task that speaks to the group's coordinator |

pub(crate) mod assignor;
mod checks;
pub(crate) mod coordinator;
pub(crate) mod membership;
pub(crate) mod missing_topics;
pub(crate) mod protocol;
mod trouble;
