//! The consumer group protocol (KIP-848): the broker assigns, and members reconcile: what they own becomes, step by step, what they were
//! assigned. One request does it all, ConsumerGroupHeartbeat.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `membership` | the member's state: what to send next, what a response means |
//! | `reconciliation` | the way from what the member owns to what it was assigned |
//! | `task` | the task that sends heartbeats, and finds the names of topics |

pub(crate) mod membership;
mod reconciliation;
mod task;
