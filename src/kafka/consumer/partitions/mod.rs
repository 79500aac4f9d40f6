//! A stream per partition: each partition is read by a reader of its own, wherever the application moves it, while a task keeps the member in its
//! group. In: a consumer. Out: a reader for each partition that is assigned, which ends when the partition goes.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `partitions` | where readers come from, and the task that polls |
//! | `reader` | one partition, read |
//! | `readers` | which readers there are, and what each has not finished |

#[allow(clippy::module_inception)]
mod partitions;
mod reader;
mod readers;

pub use partitions::Partitions;
pub use reader::PartitionReader;
pub(super) use readers::{Readers, STALLED_AFTER};
