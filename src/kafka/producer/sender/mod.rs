//! One broker, as the producer sees it.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `broker_queue` | which partitions the broker leads, how much waits for it, and when its sender is woken |
//! | `task` | the task that keeps requests in flight |
//! | `response` | what a response means for each batch |
//! | `ready` | which partitions have something to send, and whether it is time to |
//! | `request` | Produce requests and responses |
//! | `outcome` | what a response to a batch says: written, not written, or unknown |

pub(crate) mod broker_queue;
pub(crate) mod outcome;
pub(crate) mod ready;
pub(crate) mod request;
mod response;
pub(crate) mod task;
