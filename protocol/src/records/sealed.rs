//! A closed batch: header filled in, records compressed, ready for the wire as it stands.

use std::mem;

use bytes::{Bytes, BytesMut};

use super::header::{
    self, BASE_SEQUENCE_AT, BatchHeader, CRC_AT, CRC_FROM, HEADER_LEN, LENGTH_OVERHEAD,
    PRODUCER_EPOCH_AT, PRODUCER_ID_AT,
};
use crate::compression::{Codec, Compressor};

/// What a batch says about its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealOptions {
    /// The idempotent producer's id, `-1` for none.
    pub producer_id: i64,
    /// The idempotent producer's epoch, `-1` for none.
    pub producer_epoch: i16,
    /// Sequence number of the batch's first record, `-1` for none.
    pub base_sequence: i32,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
    /// Whether the batch holds control records. Only brokers write those.
    pub control: bool,
}

impl Default for SealOptions {
    /// A batch without idempotence, outside of transactions.
    fn default() -> SealOptions {
        SealOptions {
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            transactional: false,
            control: false,
        }
    }
}

/// A batch ready for the wire.
#[derive(Clone, Debug)]
pub struct SealedBatch {
    bytes: Bytes,
    count: u32,
    uncompressed_len: usize,
    codec: Codec,
}

impl SealedBatch {
    /// The whole batch; cloning it copies nothing.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole batch, given up: [`reclaim`] makes a buffer of it again.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Number of records.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Number of bytes before compression, header included.
    pub fn uncompressed_len(&self) -> usize {
        self.uncompressed_len
    }

    /// The codec the records are written in.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Gives the batch another producer id, epoch and first sequence number, and the CRC that goes with them.
    ///
    /// Changes the bytes in place unless someone else still holds them: a request in flight keeps what it had.
    pub fn restamp(&mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) {
        let mut batch = match mem::take(&mut self.bytes).try_into_mut() {
            Ok(batch) => batch,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        let mut put = |at: usize, field: &[u8]| {
            batch[at..at + field.len()].copy_from_slice(field);
        };
        put(PRODUCER_ID_AT, &producer_id.to_be_bytes());
        put(PRODUCER_EPOCH_AT, &producer_epoch.to_be_bytes());
        put(BASE_SEQUENCE_AT, &base_sequence.to_be_bytes());
        let crc = crc32c::crc32c(&batch[CRC_FROM..]);
        batch[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        self.bytes = batch.freeze();
    }
}

/// The buffer behind `bytes`, empty, when nobody else holds them: for the next [`BatchBuilder`](super::BatchBuilder).
pub fn reclaim(mut bytes: Bytes) -> Option<Vec<u8>> {
    if !bytes.is_unique() {
        return None;
    }
    // Shortened first, since the conversion moves the content to the front of its memory; a length of 0 would give that up.
    bytes.truncate(1);
    let mut buffer = Vec::from(bytes);
    buffer.clear();
    Some(buffer)
}

/// Makes a batch of `raw`: room for the header, then uncompressed records.
pub(super) fn seal(
    raw: Vec<u8>,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
    options: &SealOptions,
    compressor: &mut Compressor,
) -> SealedBatch {
    let uncompressed_len = raw.len();
    let (mut batch, codec) = compress(raw, compressor);
    let header = BatchHeader {
        base_offset: 0,
        batch_length: (batch.len() - LENGTH_OVERHEAD) as i32,
        partition_leader_epoch: -1,
        magic: 2,
        crc: 0,
        attributes: header::attributes(codec, options.transactional, options.control),
        last_offset_delta: count as i32 - 1,
        base_timestamp,
        max_timestamp,
        producer_id: options.producer_id,
        producer_epoch: options.producer_epoch,
        base_sequence: options.base_sequence,
        record_count: count as i32,
    };
    batch[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    SealedBatch {
        bytes: Bytes::from(batch),
        count,
        uncompressed_len,
        codec,
    }
}

/// The batch with its records compressed, in the compressor's spare buffer, whose place the raw one takes.
fn compress(raw: Vec<u8>, compressor: &mut Compressor) -> (Vec<u8>, Codec) {
    let codec = compressor.compression().codec();
    if codec == Codec::None {
        return (raw, codec);
    }
    let mut out = mem::take(&mut compressor.spare);
    out.clear();
    // Reserved memory costs nothing until it is written to.
    out.reserve(raw.len());
    out.extend_from_slice(&[0; HEADER_LEN]);
    match compressor.compress(&raw[HEADER_LEN..], &mut out) {
        Ok(()) if i32::try_from(out.len()).is_ok() => {
            compressor.spare = raw;
            (out, codec)
        }
        _ => {
            compressor.spare = out;
            (raw, Codec::None)
        }
    }
}
