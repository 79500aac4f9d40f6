//! Where the batches of a partition are kept.
//!
//! - `log_store`: [`LogStore`], what a log asks of that place, and what goes in and comes out
//! - `slice`: [`LogSlice`], batches as they were read
//! - `memory`: batches exactly as they came, shared with the requests that brought them
//! - `directory/`: batches in files, and everything else of a broker that outlives it

mod directory;
mod log_store;
mod memory;
mod slice;

use std::io;

use protocol::ErrorCode;

pub use directory::FsyncPolicy;
#[cfg(fuzzing)]
pub use directory::fuzzing;
pub(crate) use directory::{
    AclNote, Change, DataDir, DirectoryStore, GroupConfigNote, Key, OffsetNote, PartitionFolder,
    PartitionNote, PendingOffsetNote, ScramNote, TopicNote, TransactionNote, flag_to_bytes,
    number_to_bytes, read_flag, read_number,
};
pub(crate) use log_store::{LogStore, NewBatch, ReadRange, StoredBatch};
pub(crate) use memory::MemoryStore;
pub(crate) use slice::LogSlice;

/// What clients hear when a place where batches are kept fails; it has been said there what has happened.
pub(crate) fn storage_error(_: io::Error) -> ErrorCode {
    ErrorCode::KAFKA_STORAGE_ERROR
}
