//! From records to handlers, and from finished handlers to commits.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `event_consumer` | the consumer as the application holds it: start, wait, stop |
//! | `run` | from one start to the end that follows it: stop, wait |
//! | `poll_loop` | the loop that polls, and the end of a consumer |
//! | `distributor` | a poll's records handed to the scheduler; partitions without room held back |
//! | `rebalance_listener` | partitions that come and go with the group |
//! | `assigned` | the partitions that are ours |
//! | `committer` | commits, now and then and before a partition goes |
//! | `commit_policy` | when finished offsets are committed |
//! | `config` | the options of a consumer of events |
//! | `partition` | one assigned partition: its tracker, its running handlers, whether it is still ours |
//! | `deaths` | how often processes have died over a partition's records: which are handled alone, and which not any more |
//! | `death_watch` | whose turn it is to be handled alone, and commits that are wanted at once |
//! | `retry_reader` | retry topics read beside the group: what is under way, and what is due |
//! | `scheduler` | which record is handled next, by whom, and how much may be in flight |
//! | `queue/` | events as the jobs of a queue: read by a share group, each acknowledged by itself |
//! | `metrics` | what is counted |
//! | `lag` | how far the consumer is behind, while it runs and after its end |
//! | `error_policy` | which errors are got over, with which pauses, and which end the consumer |
//! | `error` | why a consumer ended |

mod assigned;
mod commit_policy;
mod committer;
mod config;
mod death_watch;
mod deaths;
mod distributor;
mod error;
mod error_policy;
mod event_consumer;
mod lag;
mod metrics;
mod partition;
mod poll_loop;
mod queue;
mod rebalance_listener;
mod retry_reader;
mod run;
mod scheduler;

pub use commit_policy::CommitPolicy;
pub use config::ConsumerConfig;
pub use error::ConsumerError;
pub use event_consumer::EventConsumer;
pub(crate) use event_consumer::EventsView;
pub use metrics::{ConsumerMetrics, OldestEvent};
pub use queue::{EventQueue, QueueConfig, QueueMetrics};
