//! Message sets of magic 0 and 1 (before Kafka 0.11), read only.
//!
//! A message is `offset i64, length i32, crc u32, magic i8, attributes i8, [timestamp i64 from magic 1 on], key, value`, with i32
//! lengths. A compressed message holds a message set as its value. Decoding writes the records anew in the format of
//! magic 2, so that what reads records knows one format only.

use bytes::Bytes;

use super::batch::RecordBatch;
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
        return encode(batch, &[wrapper]);
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
    .and_then(|()| {
        let mut messages = read_set(set.as_slice())?;
        place(&wrapper, batch.timestamp_type(), &mut messages);
        encode(batch, &messages)
    });
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

/// The messages of an uncompressed set, which must be whole.
fn read_set(mut set: &[u8]) -> Result<Vec<Message<'_>>, RecordError> {
    let len = set.len();
    let mut messages = Vec::new();
    while !set.is_empty() {
        let at = len - set.len();
        let message = read_message(&mut set, at)?;
        if message.attributes & CODEC_MASK != 0 {
            return Err(RecordError::malformed(
                "compressed message",
                at,
                "no message inside it to be compressed again",
            ));
        }
        messages.push(message);
    }
    if messages.is_empty() {
        return Err(RecordError::malformed(
            "compressed message",
            0,
            "messages inside it",
        ));
    }
    Ok(messages)
}

/// Gives messages the offsets and timestamps that the message around them says.
fn place(wrapper: &Message<'_>, timestamp_type: TimestampType, messages: &mut [Message<'_>]) {
    if wrapper.magic == 0 {
        return;
    }
    // From magic 1 on offsets inside count from the first, and the outer one is the last (KIP-31).
    let last = messages.last().map_or(0, |message| message.offset);
    let base = wrapper.offset.wrapping_sub(last);
    for message in messages {
        message.offset = message.offset.wrapping_add(base);
        if timestamp_type == TimestampType::LogAppendTime {
            message.timestamp = wrapper.timestamp;
        }
    }
}

/// Writes messages as records of magic 2.
fn encode(batch: &RecordBatch, messages: &[Message<'_>]) -> Result<DecodedBatch, RecordError> {
    let base_offset = messages.first().map_or(0, |message| message.offset);
    let last_offset = messages.last().map_or(0, |message| message.offset);
    let misplaced =
        || RecordError::malformed("offset of a message", 0, "one close above the first");
    let last_offset_delta = last_offset
        .checked_sub(base_offset)
        .and_then(|delta| i32::try_from(delta).ok())
        .filter(|delta| *delta >= 0)
        .ok_or_else(misplaced)?;
    let base_timestamp = batch.base_timestamp();
    let mut max_timestamp = NO_TIMESTAMP;
    let mut records = Vec::new();
    for message in messages {
        let offset_delta = message
            .offset
            .checked_sub(base_offset)
            .ok_or_else(misplaced)?;
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
        max_timestamp = max_timestamp.max(message.timestamp);
    }
    let header = BatchHeader {
        base_offset,
        last_offset_delta,
        max_timestamp,
        record_count: messages.len() as i32,
        ..*batch.header()
    };
    Ok(DecodedBatch::new(header, Bytes::from(records)))
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
