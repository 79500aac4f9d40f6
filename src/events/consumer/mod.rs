//! From records to handlers, and from finished handlers to commits.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `event_consumer` | the consumer as the application holds it: start, wait, stop |
//! | `driver` | the loop that polls, and the end of a consumer |
//! | `intake` | a poll's records sorted into lanes; partitions without room held back |
//! | `memory` | the byte budget of what is in hand, and each partition's part of it |
//! | `hook` | partitions that come and go with the group |
//! | `assigned` | the partitions that are ours |
//! | `committing` | commits, now and then and before a partition goes |
//! | `config` | what a consumer of events can be told |
//! | `offset_tracker` | which records of a partition are finished, and what may be committed |
//! | `commit_metadata` | the text beside a commit that names its topic, and what is finished beyond it |
//! | `partition` | one assigned partition: its tracker, its running handlers, whether it is still ours |
//! | `lanes` | a partition's records, queued by key |
//! | `load` | records of one lane, copied together |
//! | `workers` | the tasks that call the handler: a key in order, keys at once |
//! | `metrics` | what is counted |
//! | `lag` | how far the consumer is behind, while it runs and after its end |
//! | `healing` | which errors are got over, with which pauses, and which end the consumer |
//! | `error` | why a consumer ended, and what it does about a handler that fails |

mod assigned;
mod commit_metadata;
mod committing;
mod config;
mod driver;
mod error;
mod event_consumer;
mod healing;
mod hook;
mod intake;
mod lag;
mod lanes;
mod load;
mod memory;
mod metrics;
mod offset_tracker;
mod partition;
mod workers;

pub use config::ConsumerConfig;
pub use error::{ConsumerError, OnFailure, Tell};
pub use event_consumer::EventConsumer;
pub use metrics::{ConsumerMetrics, OldestEvent};
