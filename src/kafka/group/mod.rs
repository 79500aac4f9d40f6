//! Consumer groups, from a member's side: the classic protocol, in which one member, the leader, shares the partitions out.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `assignor` | who gets which partition |
//! | `membership` | the member's state: what to send next, what an answer means |
//! | `protocol` | the blobs that members exchange |
//! | `coordinator` | the task that speaks to the group's coordinator |

pub(crate) mod assignor;
pub(crate) mod coordinator;
pub(crate) mod membership;
pub(crate) mod protocol;
