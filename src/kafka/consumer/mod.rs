//! Reading records: consumers, their options, and records as they come.
//!
//! [`Consumer`] fetches ahead from the partitions' leaders and returns [`Records`],
//! which are views into the fetched bytes. It is a member of a group
//! ([`subscribe`](Consumer::subscribe)) or reads partitions of your choice
//! ([`assign`](Consumer::assign)). Everything but polling is on its
//! [`ConsumerHandle`], which other tasks may have. Records are taken by polls, as a
//! stream ([`into_stream`](Consumer::into_stream)), or by a reader for each partition
//! ([`into_partitions`](Consumer::into_partitions)); they are committed by position,
//! by hand, or by [`Acks`] in any order. [`ShareConsumer`] reads a topic as a queue.
//! In tests [`MockConsumer`](crate::kafka::testing::MockConsumer) stands in for it.

// | file | what lives there |
// | --- | --- |
// | `consumer` | what an application has: it begins and ends here |
// | `any_consumer` | a consumer as a trait object: this one, or a fake |
// | `joining` | subscribing: how it becomes a member of its group |
// | `assigning` | partitions that are assigned by hand |
// | `polling` | rebalances, errors, automatic commits, and the records that were fetched |
// | `assignment_strategy` | by which assignors it is ready to have partitions assigned |
// | `hand_out` | from what was fetched to what is returned: the position moves, acknowledgements are expected |
// | `rebalance` | the part of a rebalance that runs inside a poll |
// | `handle` | everything else that can be asked of a consumer |
// | `log_offsets` | where logs begin and end, and what stands at a time |
// | `config` | what a consumer can be told |
// | `subscription` | names and patterns that are subscribed to, and what must be known of topics before a member joins for them |
// | `subscribed` | which partitions appeared since the subscription |
// | `listener` | what an application is told when its partitions change |
// | `metrics` | what a consumer counts |
// | `partitions/` | a stream per partition |
// | `records/` | what a poll returns |
// | `state` | what polls and the tasks below share |
// | `lag` | how far behind it is |
// | `failures` | what becomes of what failed |
// | `fetch/` | the task that fetches from one broker, and what becomes of its responses |
// | `positions/` | where each partition stands, and the task that finds out where it starts |
// | `commit/` | commits, in order |
// | `share/` | the share consumer: records of a queue that several members read, acknowledged one by one |
// | `wait` | waiting for a wakeup or a time |

mod any_consumer;
mod assigning;
mod assignment_strategy;
pub(crate) mod commit;
mod config;
#[allow(clippy::module_inception)]
mod consumer;
mod failures;
mod fetch;
mod hand_out;
mod handle;
mod joining;
mod lag;
mod listener;
mod log_offsets;
mod metrics;
mod partitions;
mod polling;
mod positions;
mod rebalance;
mod records;
mod share;
mod state;
mod subscribed;
mod subscription;
mod wait;

pub use any_consumer::AnyConsumer;
pub use assignment_strategy::{AssignmentStrategies, AssignmentStrategy};
pub use commit::{Acks, PendingCommit};
pub use config::{CommitSource, ConsumerConfig, GroupProtocol, IsolationLevel, MissingTopics};
pub use consumer::Consumer;
pub use handle::{
    ConsumerGroupMetadata, ConsumerHandle, LogBounds, OffsetAndMetadata, OffsetAndTimestamp,
};
pub use listener::RebalanceListener;
pub use metrics::ConsumerMetrics;
pub use partitions::{PartitionReader, Partitions};
pub(crate) use positions::offset_fetch::{Row as CommittedRow, rows_of_group, rows_of_topics};
pub use positions::offset_reset::{
    OffsetReset, PositionReset, ResetCause, ResetCounts, StartOffset,
};
pub use records::{
    HeaderView, Headers, Iter, OwnedHeader, OwnedRecord, PartitionRecords, RecordStream,
    RecordView, Records, RecordsStream,
};
pub use share::{
    AcknowledgeType, AcknowledgementMode, AcknowledgementResults, AcquireMode, Acquisition,
    PendingAcknowledgements, ShareConsumer, ShareConsumerConfig, ShareConsumerMetrics, ShareIter,
    ShareRecord, ShareRecords,
};
pub(crate) use subscription::LeftOutTopics;
