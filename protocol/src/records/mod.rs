//! Record batches: what a log is made of, a Produce request carries and a Fetch response returns.
//!
//! - [`builder`]: [`BatchBuilder`], the open batch that records are encoded straight into.
//! - [`sealed`]: [`SealedBatch`], a batch ready for the wire.
//! - [`header`]: [`BatchHeader`], the 61 bytes in front of a batch of magic 2.
//! - [`batch`]: [`BatchIter`] and [`RecordBatch`], batches as they stand in a frame.
//! - [`decoded`]: [`DecodedBatch`] and [`Records`], a batch whose records can be read.
//! - [`view`]: [`RecordView`], one record, borrowed; [`HeadersView`], its headers.
//! - [`control`]: [`ControlRecord`], the markers that end transactions.
//! - [`legacy`](self): message sets of magic 0 and 1, read into the same types.
//! - [`varint`]: the variable-length integers of records.

pub mod batch;
pub mod builder;
pub mod control;
pub mod decoded;
mod error;
pub mod header;
mod legacy;
pub mod sealed;
#[cfg(test)]
mod tests;
pub mod varint;
pub mod view;

pub use batch::{BatchIter, RecordBatch, assign_offsets, set_log_append_time};
pub use builder::{BatchBuilder, BatchFull};
pub use control::ControlRecord;
pub use decoded::{DecodedBatch, Records};
pub use error::RecordError;
pub use header::{BatchHeader, HEADER_LEN, TimestampType};
pub use sealed::{SealOptions, SealedBatch, reclaim};
pub use view::{HeaderView, HeadersIter, HeadersView, RecordView};
