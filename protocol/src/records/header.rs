//! The header of a batch of magic 2: its fields, where each of them stands, and what the attributes mean.
//!
//! The CRC covers everything from the attributes on; base offset and leader epoch stand before it, so that a broker can
//! fill them in without computing it again.

use crate::compression::{Codec, CompressionError};

/// Bytes before the first record.
pub const HEADER_LEN: usize = 61;
/// Bytes of a batch that its length field does not count: base offset and the length itself.
pub(super) const LENGTH_OVERHEAD: usize = 12;
pub(super) const LENGTH_AT: usize = 8;
pub(super) const LEADER_EPOCH_AT: usize = 12;
pub(super) const MAGIC_AT: usize = 16;
pub(super) const CRC_AT: usize = 17;
/// Where the bytes that the CRC covers start.
pub(super) const CRC_FROM: usize = 21;
pub(super) const MAX_TIMESTAMP_AT: usize = 35;
pub(super) const PRODUCER_ID_AT: usize = 43;
pub(super) const PRODUCER_EPOCH_AT: usize = 51;
pub(super) const BASE_SEQUENCE_AT: usize = 53;

pub(super) const TIMESTAMP_TYPE: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// What the timestamps of a batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The time that the producer gave each record.
    CreateTime,
    /// The time at which the broker appended the batch: the same for all its records.
    LogAppendTime,
}

/// The header of a batch of magic 2 (KIP-98), decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes of the batch after this field.
    pub batch_length: i32,
    /// Epoch of the leader that appended it; `-1` from a producer.
    pub partition_leader_epoch: i32,
    /// The format: 2.
    pub magic: i8,
    /// CRC-32C of everything after it.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control, delete horizon.
    pub attributes: i16,
    /// Offset of the last record less the base offset.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas count from, in milliseconds since 1970.
    pub base_timestamp: i64,
    /// The largest timestamp of the batch, in milliseconds since 1970.
    pub max_timestamp: i64,
    /// The idempotent producer's id, or `-1`.
    pub producer_id: i64,
    /// The idempotent producer's epoch, or `-1`.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or `-1`.
    pub base_sequence: i32,
    /// Number of records.
    pub record_count: i32,
}

impl BatchHeader {
    /// Decodes the fields, judging none of them.
    pub fn read(bytes: &[u8; HEADER_LEN]) -> BatchHeader {
        let mut fields = Fields(bytes);
        BatchHeader {
            base_offset: i64::from_be_bytes(fields.next()),
            batch_length: i32::from_be_bytes(fields.next()),
            partition_leader_epoch: i32::from_be_bytes(fields.next()),
            magic: i8::from_be_bytes(fields.next()),
            crc: u32::from_be_bytes(fields.next()),
            attributes: i16::from_be_bytes(fields.next()),
            last_offset_delta: i32::from_be_bytes(fields.next()),
            base_timestamp: i64::from_be_bytes(fields.next()),
            max_timestamp: i64::from_be_bytes(fields.next()),
            producer_id: i64::from_be_bytes(fields.next()),
            producer_epoch: i16::from_be_bytes(fields.next()),
            base_sequence: i32::from_be_bytes(fields.next()),
            record_count: i32::from_be_bytes(fields.next()),
        }
    }

    /// Encodes the fields as they are, the CRC included.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&self.base_offset.to_be_bytes());
        put(&self.batch_length.to_be_bytes());
        put(&self.partition_leader_epoch.to_be_bytes());
        put(&self.magic.to_be_bytes());
        put(&self.crc.to_be_bytes());
        put(&self.attributes.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.to_be_bytes());
        put(&self.max_timestamp.to_be_bytes());
        put(&self.producer_id.to_be_bytes());
        put(&self.producer_epoch.to_be_bytes());
        put(&self.base_sequence.to_be_bytes());
        put(&self.record_count.to_be_bytes());
        bytes
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// When the attributes hold the number of no codec.
    pub fn codec(&self) -> Result<Codec, CompressionError> {
        Codec::from_attributes(self.attributes)
    }

    /// What the timestamps are.
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & TIMESTAMP_TYPE != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records, which are not for applications.
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether `base_timestamp` is the time at which tombstones may be deleted (KIP-534).
    pub const fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// Offset of the last record; the largest number there is when it would be more.
    pub const fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(self.last_offset_delta as i64)
    }

    /// Whether every offset in the batch, and the one after it, can be.
    pub(super) const fn has_possible_offsets(&self) -> bool {
        self.base_offset >= 0 && self.last_offset_delta >= -1 && self.last_offset() < i64::MAX
    }
}

/// The attributes of a batch to be written.
pub(super) const fn attributes(codec: Codec, transactional: bool, control: bool) -> i16 {
    let mut attributes = codec as i16;
    if transactional {
        attributes |= TRANSACTIONAL;
    }
    if control {
        attributes |= CONTROL;
    }
    attributes
}

/// Takes fields off the front of a header, whose length covers them all.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn next<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_header_round_trips() {
        let bytes: [u8; HEADER_LEN] = std::array::from_fn(|index| index as u8 + 1);
        let header = BatchHeader::read(&bytes);
        assert_eq!(header.to_bytes(), bytes);
        assert_eq!(header.base_offset, 0x0102_0304_0506_0708);
        assert_eq!(header.magic, 17);
        assert_eq!(header.record_count, 0x3A3B_3C3D);
        assert_eq!(
            header.producer_id.to_be_bytes()[0] as usize,
            PRODUCER_ID_AT + 1
        );
    }
}
