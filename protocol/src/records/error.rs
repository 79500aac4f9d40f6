//! What can be wrong with a batch or a record.

use crate::compression::CompressionError;

/// Why a batch or a record in it could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Bytes that are not what the format says.
    #[error("malformed {what} at byte {at}: expected {expected}")]
    Malformed {
        /// The field, or what it is part of.
        what: &'static str,
        /// Where: counted from the start of the batches given to [`BatchIter`](super::BatchIter) for a batch, from the start of
        /// the uncompressed records for a record.
        at: usize,
        /// What would have been right.
        expected: &'static str,
    },
    /// The checksum of a batch does not match its content.
    #[error(
        "the batch at offset {base_offset} is corrupt: its CRC is {actual:#010x}, its header says {expected:#010x}"
    )]
    Crc {
        /// Offset of the batch's first record.
        base_offset: i64,
        /// What the header says.
        expected: u32,
        /// What the content comes to.
        actual: u32,
    },
    /// A format of batches that this crate does not know.
    #[error("unknown batch format: magic {magic} at byte {at}, expected 0, 1 or 2")]
    UnknownMagic {
        /// The magic number found.
        magic: i8,
        /// Where the batch starts.
        at: usize,
    },
    /// The records could not be decompressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

impl RecordError {
    #[cold]
    pub(super) const fn malformed(what: &'static str, at: usize, expected: &'static str) -> Self {
        RecordError::Malformed { what, at, expected }
    }
}
