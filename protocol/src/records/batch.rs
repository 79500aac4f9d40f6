//! Batches as they stand in a Fetch response or a Produce request: split, checked, not yet decompressed.

use bytes::Bytes;

use super::decoded::DecodedBatch;
use super::header::{
    BatchHeader, CRC_AT, CRC_FROM, HEADER_LEN, LEADER_EPOCH_AT, LENGTH_AT, LENGTH_OVERHEAD,
    MAGIC_AT, MAX_TIMESTAMP_AT, PRODUCER_ID_AT, TIMESTAMP_TYPE, TimestampType,
};
use super::{RecordError, legacy};
use crate::compression::{Codec, CompressionError, Decompressor};

/// Splits a sequence of batches, without copying any of it.
///
/// A broker cuts its response off at a number of bytes, often in the middle of a batch: such a last batch ends the iteration
/// silently. After an error the iteration ends, too: what follows cannot be found.
#[derive(Clone, Debug)]
pub struct BatchIter {
    rest: Bytes,
    /// Bytes before `rest`.
    at: usize,
    strict: bool,
}

impl BatchIter {
    /// The batches of a Fetch response, whose last one may be cut off.
    pub fn new(records: Bytes) -> BatchIter {
        BatchIter {
            rest: records,
            at: 0,
            strict: false,
        }
    }

    /// The batches of a Produce request or a log, where a batch that is cut off is an error.
    pub fn strict(records: Bytes) -> BatchIter {
        BatchIter {
            strict: true,
            ..BatchIter::new(records)
        }
    }

    /// Takes the next batch off the front; `None` at the end.
    fn take_batch(&mut self) -> Result<Option<RecordBatch>, RecordError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let Some(prefix) = self.rest.first_chunk::<{ MAGIC_AT + 1 }>() else {
            return self.cut_off();
        };
        let &[.., l0, l1, l2, l3, _, _, _, _, magic] = prefix;
        let length = i32::from_be_bytes([l0, l1, l2, l3]);
        let magic = magic as i8;
        let least = match magic {
            2 => HEADER_LEN - LENGTH_OVERHEAD,
            1 => legacy::MIN_LENGTH_V1,
            0 => legacy::MIN_LENGTH_V0,
            _ => return Err(RecordError::UnknownMagic { magic, at: self.at }),
        };
        let length = match usize::try_from(length) {
            Ok(length) if length >= least => length,
            _ => {
                return Err(RecordError::malformed(
                    "length of a batch",
                    self.at + LENGTH_AT,
                    "at least the length of its header",
                ));
            }
        };
        let size = LENGTH_OVERHEAD + length;
        if size > self.rest.len() {
            return self.cut_off();
        }
        let bytes = self.rest.split_to(size);
        let batch = RecordBatch::parse(bytes, self.at)?;
        self.at += size;
        Ok(Some(batch))
    }

    fn cut_off(&mut self) -> Result<Option<RecordBatch>, RecordError> {
        self.rest.clear();
        if self.strict {
            return Err(RecordError::malformed(
                "batch",
                self.at,
                "all of it, but the bytes end",
            ));
        }
        Ok(None)
    }
}

impl Iterator for BatchIter {
    type Item = Result<RecordBatch, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.take_batch();
        if batch.is_err() {
            self.rest.clear();
        }
        batch.transpose()
    }
}

/// One batch, its header decoded; its records are not.
///
/// Message sets of magic 0 and 1 come as batches as well: one for each message, or for each compressed message with those
/// inside it. What they lack reads as `-1`. Of a compressed one `base_offset` is the offset of the *last* record and
/// `record_count` is `-1` until it has been [decoded](RecordBatch::decode).
#[derive(Clone, Debug)]
pub struct RecordBatch {
    bytes: Bytes,
    header: BatchHeader,
}

impl RecordBatch {
    /// Reads `bytes` as exactly one batch.
    ///
    /// # Errors
    /// When it is none, is cut off, or is followed by something else.
    pub fn read(bytes: Bytes) -> Result<RecordBatch, RecordError> {
        let mut batches = BatchIter::strict(bytes);
        match batches.next() {
            Some(Ok(batch)) if batches.rest.is_empty() => Ok(batch),
            Some(Ok(batch)) => Err(RecordError::malformed(
                "batch",
                batch.bytes.len(),
                "nothing after it",
            )),
            Some(Err(error)) => Err(error),
            None => Err(RecordError::malformed("batch", 0, "at least its header")),
        }
    }

    /// `bytes` are as many as the length field says, and at least a header.
    fn parse(bytes: Bytes, at: usize) -> Result<RecordBatch, RecordError> {
        let header = match bytes.first_chunk() {
            Some(header) if bytes[MAGIC_AT] == 2 => BatchHeader::read(header),
            _ => legacy::header(&bytes, at)?,
        };
        if header.magic == 2 && (header.record_count < 0 || header.last_offset_delta < -1) {
            return Err(RecordError::malformed(
                "header of a batch",
                at,
                "numbers of records and offsets that are not negative",
            ));
        }
        Ok(RecordBatch { bytes, header })
    }

    /// The batch as it stands on the wire.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// All fields of the header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Offset of the first record.
    pub fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    /// Offset of the last record, counting those that compaction removed.
    pub fn last_offset(&self) -> i64 {
        self.header.last_offset()
    }

    /// Epoch of the leader that appended the batch, or `-1`.
    pub fn partition_leader_epoch(&self) -> i32 {
        self.header.partition_leader_epoch
    }

    /// The format: 0, 1 or 2.
    pub fn magic(&self) -> i8 {
        self.header.magic
    }

    /// The attributes, for what has no accessor here.
    pub fn attributes(&self) -> i16 {
        self.header.attributes
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// When the attributes hold the number of no codec.
    pub fn codec(&self) -> Result<Codec, CompressionError> {
        self.header.codec()
    }

    /// What the timestamps are.
    pub fn timestamp_type(&self) -> TimestampType {
        self.header.timestamp_type()
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.header.is_transactional()
    }

    /// Whether the batch holds control records, which are not for applications.
    pub fn is_control(&self) -> bool {
        self.header.is_control()
    }

    /// The idempotent producer's id, or `-1`.
    pub fn producer_id(&self) -> i64 {
        self.header.producer_id
    }

    /// The idempotent producer's epoch, or `-1`.
    pub fn producer_epoch(&self) -> i16 {
        self.header.producer_epoch
    }

    /// Sequence number of the first record, or `-1`.
    pub fn base_sequence(&self) -> i32 {
        self.header.base_sequence
    }

    /// Number of records, or `-1` for a compressed message of magic 0 or 1.
    pub fn record_count(&self) -> i32 {
        self.header.record_count
    }

    /// Timestamp that the records' deltas count from, in milliseconds since 1970.
    pub fn base_timestamp(&self) -> i64 {
        self.header.base_timestamp
    }

    /// The largest timestamp, in milliseconds since 1970, or `-1`.
    pub fn max_timestamp(&self) -> i64 {
        self.header.max_timestamp
    }

    /// Compares the CRC with the content.
    ///
    /// # Errors
    /// [`RecordError::Crc`] when they differ.
    pub fn verify_crc(&self) -> Result<(), RecordError> {
        let actual = match self.header.magic {
            2 => crc32c::crc32c(&self.bytes[CRC_FROM..]),
            _ => legacy::crc(&self.bytes),
        };
        if actual != self.header.crc {
            return Err(RecordError::Crc {
                base_offset: self.header.base_offset,
                expected: self.header.crc,
                actual,
            });
        }
        Ok(())
    }

    /// Makes the records readable: decompresses them, at most `limit` bytes, into memory of the decompressor's pool, or refers to
    /// the batch itself when it is not compressed.
    ///
    /// # Errors
    /// When the codec is unknown, the data corrupt, or more than `limit`. Errors in single records show when they are read.
    pub fn decode(
        &self,
        decompressor: &mut Decompressor,
        limit: usize,
    ) -> Result<DecodedBatch, RecordError> {
        if self.header.magic < 2 {
            return legacy::decode(self, decompressor, limit);
        }
        if !self.header.has_possible_offsets() {
            return Err(impossible_offsets());
        }
        let (data, memory) = match self.codec()? {
            Codec::None => (self.bytes.slice(HEADER_LEN..), 0),
            codec => {
                let mut buffer = decompressor.pool().take();
                let records = &self.bytes[HEADER_LEN..];
                match decompressor.decompress(codec, records, limit, &mut buffer) {
                    Ok(()) => decompressor.pool().share_sized(buffer),
                    Err(error) => {
                        decompressor.pool().give(buffer);
                        return Err(error.into());
                    }
                }
            }
        };
        Ok(DecodedBatch::new(self.header, data, memory))
    }
}

/// The error for a batch whose offsets are below zero, or so large that none comes after them.
#[cold]
pub(super) fn impossible_offsets() -> RecordError {
    let expected = "offsets from 0 on, the last below the largest number there is";
    RecordError::malformed("offsets of a batch", 0, expected)
}

/// Writes the offset of its first record and the leader's epoch into a batch of magic 2, as a broker does when it appends it.
/// The CRC does not cover them.
///
/// # Errors
/// When `batch` is shorter than a header or of another magic.
pub fn assign_offsets(
    batch: &mut [u8],
    base_offset: i64,
    partition_leader_epoch: i32,
) -> Result<(), RecordError> {
    match batch.first_chunk_mut::<HEADER_LEN>() {
        Some(header) if header[MAGIC_AT] == 2 => {
            header[..LENGTH_AT].copy_from_slice(&base_offset.to_be_bytes());
            header[LEADER_EPOCH_AT..MAGIC_AT]
                .copy_from_slice(&partition_leader_epoch.to_be_bytes());
            Ok(())
        }
        _ => Err(RecordError::malformed("batch", 0, "a header of magic 2")),
    }
}

/// Writes the time (milliseconds since 1970) at which a broker appends a batch of magic 2 into it, for all its records, and the CRC
/// that goes with it.
///
/// # Errors
/// When `batch` is shorter than a header or of another magic.
pub fn set_log_append_time(batch: &mut [u8], timestamp_ms: i64) -> Result<(), RecordError> {
    match batch.first_chunk::<HEADER_LEN>() {
        Some(header) if header[MAGIC_AT] == 2 => {
            let attributes = BatchHeader::read(header).attributes | TIMESTAMP_TYPE;
            batch[CRC_FROM..CRC_FROM + 2].copy_from_slice(&attributes.to_be_bytes());
            batch[MAX_TIMESTAMP_AT..PRODUCER_ID_AT].copy_from_slice(&timestamp_ms.to_be_bytes());
            let crc = crc32c::crc32c(&batch[CRC_FROM..]);
            batch[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
            Ok(())
        }
        _ => Err(RecordError::malformed("batch", 0, "a header of magic 2")),
    }
}
