//! The consumer: fetches ahead from the partitions' leaders, hands records out as views, keeps positions and commits them.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `config` | what a consumer can be told |
//! | `records` | what a poll returns |
//! | `offset_reset` | where to start |

mod budget;
mod config;
mod offset_reset;
mod records;

pub use config::{ConsumerConfig, IsolationLevel};
pub use offset_reset::{OffsetReset, StartOffset};
pub use records::{HeaderView, Headers, Iter, OwnedRecord, PartitionRecords, RecordView, Records};
