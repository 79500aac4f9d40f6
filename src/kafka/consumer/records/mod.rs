//! What a poll returns.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `records` | the records of one poll, and those of one partition |
//! | `view` | one record, borrowed |
//! | `headers` | its headers |
//! | `in_memory` | records that were never fetched, for fakes |
//! | `owned` | a record that outlives its poll |
//! | `stream` | streams of them |

mod headers;
mod in_memory;
mod owned;
#[allow(clippy::module_inception)]
mod records;
mod stream;
mod view;

pub use headers::{HeaderView, Headers};
pub use owned::{OwnedHeader, OwnedRecord};
pub(super) use records::Batch;
pub use records::{Iter, PartitionRecords, Records};
pub use stream::{RecordStream, RecordsStream};
pub use view::RecordView;
