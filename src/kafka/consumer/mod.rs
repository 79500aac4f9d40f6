//! The consumer: fetches ahead from the partitions' leaders, hands records out as views, keeps positions and commits them.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `consumer` | what an application polls; the part of a rebalance that runs inside a poll |
//! | `handle` | everything else that can be asked of a consumer |
//! | `config` | what a consumer can be told |
//! | `subscription` | what must be known of topics before a member joins for them |
//! | `records` | what a poll returns |
//! | `listener` | what an application is told when its partitions change |
//! | `core` | what the tasks below and polls share |
//! | `fetcher` | the task that fetches from one broker |
//! | `scout` | the task that finds out what must be known before a partition can be fetched |
//! | `commit` | commits, in order |
//! | `list_offsets`, `offset_fetch` | questions to leaders and to the coordinator |
//! | `wait` | for a wakeup or a time |
//!
//! Decisions, without sockets and clocks:
//!
//! | file | what lives there |
//! | --- | --- |
//! | `positions` | where each partition stands: handed out, fetched ahead, asked for |
//! | `cursor` | one partition's part of a response, read on from poll to poll |
//! | `subscribed` | which partitions appeared since the subscription |
//! | `fetch_session` | what changed since the last request (KIP-227) |
//! | `offset_reset` | where to start |
//! | `read_committed` | which batches belong to aborted transactions |
//! | `budget` | the one byte budget |

mod budget;
mod commit;
mod config;
#[allow(clippy::module_inception)]
mod consumer;
mod core;
mod cursor;
mod fetch_session;
mod fetcher;
mod handle;
mod list_offsets;
mod listener;
mod offset_fetch;
mod offset_reset;
mod positions;
mod read_committed;
mod records;
mod scout;
mod subscribed;
mod subscription;
mod wait;

pub use commit::PendingCommit;
pub use config::{ConsumerConfig, IsolationLevel, MissingTopics};
pub use consumer::Consumer;
pub use handle::{ConsumerHandle, OffsetAndMetadata, OffsetAndTimestamp};
pub use listener::RebalanceListener;
pub use offset_reset::{OffsetReset, PositionReset, ResetCause, ResetCounts, StartOffset};
pub use records::{HeaderView, Headers, Iter, OwnedRecord, PartitionRecords, RecordView, Records};
