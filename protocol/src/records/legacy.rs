//! Message sets of magic 0 and 1 (before Kafka 0.11), read only.
//!
//! A message is `offset i64, length i32, crc u32, magic i8, attributes i8, [timestamp i64 from magic 1 on], key, value`, with i32
//! lengths. A compressed message holds a message set as its value. Decoding writes the records anew in the format of
//! magic 2, so that what reads records knows one format only.

use bytes::Bytes;

use super::batch::{RecordBatch, impossible_offsets};
use super::builder::{len_of_bytes, put_bytes};
use super::decoded::DecodedBatch;
use super::header::{BatchHeader, LENGTH_OVERHEAD, MAGIC_AT, TimestampType};
use super::{RecordError, varint};
use crate::compression::{
    Buffer, Codec, CompressionError, Decompressor, crc32, lz4_unchecked_header,
};

/// CRC, magic, attributes, and the lengths of key and value.
pub(super) const MIN_LENGTH_V0: usize = 4 + 1 + 1 + 4 + 4;
/// The same and a timestamp.
pub(super) const MIN_LENGTH_V1: usize = MIN_LENGTH_V0 + 8;
const NO_TIMESTAMP: i64 = -1;
const CODEC_MASK: i16 = 0x07;
const TIMESTAMP_TYPE: i16 = 0x08;

/// A message, borrowed.
struct Message<'a> {
    offset: i64,
    magic: i8,
    crc: u32,
    attributes: i16,
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

/// The message as a header of magic 2 would describe it.
pub(super) fn header(bytes: &[u8], at: usize) -> Result<BatchHeader, RecordError> {
    let message = read_message(&mut &bytes[..], at)?;
    let codec = message.attributes & CODEC_MASK;
    let attributes = match message.magic {
        0 => codec,
        _ => message.attributes & (CODEC_MASK | TIMESTAMP_TYPE),
    };
    Ok(BatchHeader {
        base_offset: message.offset,
        batch_length: (bytes.len() - LENGTH_OVERHEAD) as i32,
        partition_leader_epoch: -1,
        magic: message.magic,
        crc: message.crc,
        attributes,
        last_offset_delta: 0,
        base_timestamp: message.timestamp,
        max_timestamp: message.timestamp,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: if codec == 0 { 1 } else { -1 },
    })
}

/// The CRC-32 of a message's content.
pub(super) fn crc(bytes: &[u8]) -> u32 {
    crc32(&bytes[MAGIC_AT..])
}

/// Reads a message or, when it is compressed, those inside it.
pub(super) fn decode(
    batch: &RecordBatch,
    decompressor: &mut Decompressor,
    limit: usize,
) -> Result<DecodedBatch, RecordError> {
    let wrapper = read_message(&mut &batch.bytes()[..], 0)?;
    let codec = batch.codec()?;
    if codec == Codec::None {
        return encode(batch, batch.bytes().len(), std::iter::once(Ok(wrapper)));
    }
    let Some(compressed) = wrapper.value else {
        return Err(RecordError::malformed("compressed message", 0, "a value"));
    };
    let mut set = decompressor.pool().take();
    let decoded = decompress(
        codec,
        wrapper.magic,
        compressed,
        decompressor,
        limit,
        &mut set,
    )
    .map_err(RecordError::from)
    .and_then(|()| encode_set(batch, &wrapper, set.as_slice()));
    decompressor.pool().give(set);
    decoded
}

fn decompress(
    codec: Codec,
    magic: i8,
    data: &[u8],
    decompressor: &mut Decompressor,
    limit: usize,
    out: &mut Buffer,
) -> Result<(), CompressionError> {
    match (codec, magic) {
        (Codec::Lz4, 0) => lz4_unchecked_header(data, limit, out),
        // zstd came with magic 2 (KIP-110).
        (Codec::Zstd, _) => Err(CompressionError::UnknownCodec {
            number: Codec::Zstd as u8,
        }),
        _ => decompressor.decompress(codec, data, limit, out),
    }
}

/// Walks the messages of an uncompressed set, which must be whole and have no compressed ones in it.
#[derive(Clone)]
struct Messages<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (at, len) = (self.at, self.rest.len());
        let message = read_message(&mut self.rest, at).and_then(|message| {
            match message.attributes & CODEC_MASK {
                0 => Ok(message),
                _ => Err(RecordError::malformed(
                    "compressed message",
                    at,
                    "no message inside it to be compressed again",
                )),
            }
        });
        self.at += len - self.rest.len();
        if message.is_err() {
            self.rest = &[];
        }
        Some(message)
    }
}

/// Writes the messages of a set as records of magic 2, with the offsets and timestamps that the message around them says.
fn encode_set(
    batch: &RecordBatch,
    wrapper: &Message<'_>,
    set: &[u8],
) -> Result<DecodedBatch, RecordError> {
    let messages = Messages { rest: set, at: 0 };
    if wrapper.magic == 0 {
        return encode(batch, set.len(), messages);
    }
    // From magic 1 on offsets inside count from the first, and the outer one is the last (KIP-31).
    let last = messages
        .clone()
        .try_fold(0, |_, message| Ok::<_, RecordError>(message?.offset))?;
    let base = wrapper.offset.wrapping_sub(last);
    let appended = batch.timestamp_type() == TimestampType::LogAppendTime;
    let placed = messages.map(|message| {
        let message = message?;
        Ok(Message {
            offset: message.offset.wrapping_add(base),
            timestamp: if appended {
                wrapper.timestamp
            } else {
                message.timestamp
            },
            ..message
        })
    });
    encode(batch, set.len(), placed)
}

/// Writes messages, which are `len` bytes long together, as records of magic 2.
fn encode<'a>(
    batch: &RecordBatch,
    len: usize,
    messages: impl Iterator<Item = Result<Message<'a>, RecordError>>,
) -> Result<DecodedBatch, RecordError> {
    let misplaced =
        || RecordError::malformed("offset of a message", 0, "one close above the first");
    let base_timestamp = batch.base_timestamp();
    let mut base_offset = None;
    let mut last_offset_delta = 0;
    let mut max_timestamp = NO_TIMESTAMP;
    let mut record_count = 0;
    // A record is hardly ever longer than the message that it was.
    let mut records = Vec::with_capacity(len);
    for message in messages {
        let message = message?;
        let base = *base_offset.get_or_insert(message.offset);
        let offset_delta = message.offset.checked_sub(base).ok_or_else(misplaced)?;
        let timestamp_delta = message.timestamp.wrapping_sub(base_timestamp);
        let body_len = 1
            + varint::len(timestamp_delta)
            + varint::len(offset_delta)
            + len_of_bytes(message.key.map(<[u8]>::len))
            + len_of_bytes(message.value.map(<[u8]>::len))
            + 1;
        varint::put(&mut records, body_len as i64);
        records.push(0);
        varint::put(&mut records, timestamp_delta);
        varint::put(&mut records, offset_delta);
        put_bytes(&mut records, message.key);
        put_bytes(&mut records, message.value);
        records.push(0);
        last_offset_delta = offset_delta;
        max_timestamp = max_timestamp.max(message.timestamp);
        record_count += 1;
    }
    let base_offset = base_offset.ok_or(RecordError::malformed(
        "compressed message",
        0,
        "messages inside it",
    ))?;
    let last_offset_delta = i32::try_from(last_offset_delta)
        .ok()
        .filter(|delta| *delta >= 0)
        .ok_or_else(misplaced)?;
    let header = BatchHeader {
        base_offset,
        last_offset_delta,
        max_timestamp,
        record_count,
        ..*batch.header()
    };
    if !header.has_possible_offsets() {
        return Err(impossible_offsets());
    }
    let memory = records.capacity();
    Ok(DecodedBatch::new(header, Bytes::from(records), memory))
}

/// Takes a message off the front of `bytes`; `at` is where it stands, for errors.
fn read_message<'a>(bytes: &mut &'a [u8], at: usize) -> Result<Message<'a>, RecordError> {
    take_message(bytes).ok_or(RecordError::malformed(
        "message of magic 0 or 1",
        at,
        "a header, key and value within its length",
    ))
}

fn take_message<'a>(bytes: &mut &'a [u8]) -> Option<Message<'a>> {
    let offset = i64::from_be_bytes(take(bytes)?);
    let length = usize::try_from(i32::from_be_bytes(take(bytes)?)).ok()?;
    let (mut body, rest) = bytes.split_at_checked(length)?;
    let crc = u32::from_be_bytes(take(&mut body)?);
    let [magic, attributes] = take(&mut body)?;
    let timestamp = match magic {
        0 => NO_TIMESTAMP,
        1 => i64::from_be_bytes(take(&mut body)?),
        _ => return None,
    };
    let key = take_bytes(&mut body)?;
    let value = take_bytes(&mut body)?;
    if !body.is_empty() {
        return None;
    }
    *bytes = rest;
    Some(Message {
        offset,
        magic: magic as i8,
        crc,
        attributes: i16::from(attributes),
        timestamp,
        key,
        value,
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*field)
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let len = i32::from_be_bytes(take(bytes)?);
    if len < 0 {
        return (len == -1).then_some(None);
    }
    let (taken, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(Some(taken))
}
