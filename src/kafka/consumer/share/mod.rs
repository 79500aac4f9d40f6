//! The share consumer (KIP-932): records of a queue that several members read, acknowledged one by one.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `consumer` | what an application polls and acknowledges with |
//! | `config` | what a share consumer can be told |
//! | `records` | what a poll returns, and who holds it |
//! | `ledger` | which records are held, what was decided of them, and what became of that |
//! | `ticket` | who waits for the results of acknowledgements |
//! | `acquired` | one partition's part of a response, read on from poll to poll, and its gaps |
//! | `session` | what changed since the last request to a broker |
//! | `plan` | what to send to a broker next |
//! | `state` | what polls and the tasks below share |
//! | `leaders` | the task that finds out whom to ask for what is assigned |
//! | `fetcher` | the task that talks to one broker |
//! | `response` | what its responses do |
//! | `metrics` | what is counted |

mod acquired;
mod config;
#[allow(clippy::module_inception)]
mod consumer;
mod fetcher;
mod leaders;
mod ledger;
mod metrics;
mod plan;
mod records;
mod response;
mod session;
mod state;
mod ticket;

pub use config::{AcknowledgementMode, AcquireMode, ShareConsumerConfig};
pub use consumer::{AcknowledgeType, ShareConsumer};
pub use metrics::ShareConsumerMetrics;
pub use records::{Acquisition, ShareIter, ShareRecord, ShareRecords};
pub use ticket::{AcknowledgementResults, PendingAcknowledgements};
