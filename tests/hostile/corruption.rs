//! What a tampering does to one value: of a field, or of what lies in one as bytes (batches, assignments, subscriptions).

use bytes::{Bytes, BytesMut};
use protocol::messages::consumer_protocol_assignment::TopicPartition;
use protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use protocol::records::{BatchHeader, HEADER_LEN};
use protocol::{Decoder, Encoder, Message};

use crate::tampering::{AssignmentCorruption, BatchCorruption, Mutation, SubscriptionCorruption};
use crate::value::{self, Place, Value};

/// Does to a value what `mutate` says; false when it was so already.
pub fn mutate(
    value: &mut Value,
    place: &Place,
    mutate: Mutation,
    version: i16,
    earlier: Option<&Value>,
) -> bool {
    let (lowest, highest) = value::limits(place.field.ty);
    let mutated = match (mutate, &*value) {
        (Mutation::Null, _) => Value::Null,
        (Mutation::Lowest, _) => Value::Integer(lowest),
        (Mutation::MinusOne, _) => Value::Integer(-1),
        (Mutation::Zero, Value::Uuid(_)) => Value::Uuid([0; 16]),
        (Mutation::Zero, _) => Value::Integer(0),
        (Mutation::Highest, _) => Value::Integer(highest),
        (Mutation::Next, Value::Integer(integer)) if highest == 1 => Value::Integer(1 - integer),
        (Mutation::Next, Value::Integer(integer)) => Value::Integer(integer.wrapping_add(1)),
        (Mutation::Earlier, _) => match earlier {
            Some(earlier) => earlier.clone(),
            None => return false,
        },
        (Mutation::Empty, Value::Text(_)) => Value::Text(String::new()),
        (Mutation::Empty, Value::Bytes(_)) => Value::Bytes(Bytes::new()),
        (Mutation::Empty, Value::Array(_)) => Value::Array(Vec::new()),
        (Mutation::Long, Value::Bytes(_)) => Value::Bytes(vec![0x41; 300_000].into()),
        (Mutation::Long, _) => Value::Text("x".repeat(i16::MAX as usize)),
        (Mutation::Other, Value::Uuid(_)) => Value::Uuid([7; 16]),
        (Mutation::Other, _) => Value::Text("another".to_owned()),
        (Mutation::Control, _) => Value::Text("a\r\nERROR forged\x1b[31m\u{202e}".to_owned()),
        (Mutation::Garbled, Value::Bytes(bytes)) if !bytes.is_empty() => {
            let mut bytes = BytesMut::from(&bytes[..]);
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            Value::Bytes(bytes.freeze())
        }
        (Mutation::Half, Value::Bytes(bytes)) => Value::Bytes(bytes.slice(..bytes.len() / 2)),
        (Mutation::Doubled, Value::Array(elements)) => {
            Value::Array([&elements[..], &elements[..]].concat())
        }
        (Mutation::WithoutFirst, Value::Array(elements)) if !elements.is_empty() => {
            Value::Array(elements[1..].to_vec())
        }
        (Mutation::Backwards, Value::Array(elements)) => {
            Value::Array(elements.iter().rev().cloned().collect())
        }
        (Mutation::Made, Value::Array(elements)) => {
            let mut elements = elements.clone();
            elements.push(value::default_element(place.field.ty, version));
            Value::Array(elements)
        }
        (Mutation::Made, Value::Structure(_)) => return true,
        (Mutation::Claimed, content) => {
            Value::Claimed(i32::MAX as u32 - 1, Box::new(content.clone()))
        }
        _ => return false,
    };
    let is_other = mutated != *value;
    *value = mutated;
    is_other
}

/// Where the bytes that a batch's CRC covers start.
const CRC_FROM: usize = 21;

pub fn corrupt_batches(value: &mut Value, tampering: BatchCorruption) -> bool {
    let Value::Bytes(bytes) = &*value else {
        return false;
    };
    let mut bytes = BytesMut::from(&bytes[..]);
    if bytes.len() < HEADER_LEN {
        return false;
    }
    // The first batch is enough; without records it is the only one.
    let header = bytes.first_chunk::<HEADER_LEN>().expect("long enough");
    let mut header = BatchHeader::read(header);
    let end = (12 + header.batch_length as usize).min(bytes.len());
    match tampering {
        BatchCorruption::BaseOffset(offset) => header.base_offset = offset,
        BatchCorruption::Length(length) => header.batch_length = length,
        BatchCorruption::LeaderEpoch(epoch) => header.partition_leader_epoch = epoch,
        BatchCorruption::Magic(magic) => header.magic = magic,
        BatchCorruption::Attributes(attributes) => header.attributes = attributes,
        BatchCorruption::LastOffsetDelta(delta) => header.last_offset_delta = delta,
        BatchCorruption::BaseTimestamp(timestamp) => header.base_timestamp = timestamp,
        BatchCorruption::MaxTimestamp(timestamp) => header.max_timestamp = timestamp,
        BatchCorruption::ProducerId(id) => header.producer_id = id,
        BatchCorruption::BaseSequence(sequence) => header.base_sequence = sequence,
        BatchCorruption::Count(count) => header.record_count = count,
        BatchCorruption::WithoutRecords => {
            header.record_count = 0;
            header.batch_length = (HEADER_LEN - 12) as i32;
            bytes.truncate(HEADER_LEN);
        }
        BatchCorruption::Older => {
            header.base_offset = 0;
            bytes.truncate(end);
        }
        BatchCorruption::Crc => {}
    }
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    let end = end.min(bytes.len());
    header.crc = crc32c::crc32c(&bytes[CRC_FROM..end]);
    if tampering == BatchCorruption::Crc {
        header.crc ^= 1;
    }
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    let mutated = Value::Bytes(bytes.freeze());
    let is_other = mutated != *value;
    *value = mutated;
    is_other
}

pub fn corrupt_assignment(value: &mut Value, tampering: AssignmentCorruption) -> bool {
    let Some((version, mut share)) = blob::<ConsumerProtocolAssignment>(value) else {
        return false;
    };
    let mut tampered_version = version;
    match tampering {
        AssignmentCorruption::OtherTopic => share.assigned_partitions.push(TopicPartition {
            topic: "another".to_owned(),
            partitions: vec![0, 1],
            ..Default::default()
        }),
        AssignmentCorruption::Partition(partition) => {
            let topics = share.assigned_partitions.iter_mut();
            topics.for_each(|topic| topic.partitions.push(partition));
        }
        AssignmentCorruption::PartitionTwice => {
            let topics = share.assigned_partitions.iter_mut();
            topics.for_each(|topic| topic.partitions.extend(topic.partitions.clone()));
        }
        AssignmentCorruption::Nothing => share.assigned_partitions.clear(),
        AssignmentCorruption::Garbled => {
            *value = Value::Bytes(Bytes::from_static(&[0, 1, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]));
            return true;
        }
        AssignmentCorruption::Version(version) => tampered_version = version,
    }
    set_blob(value, tampered_version, version, &share);
    true
}

pub fn corrupt_subscription(value: &mut Value, tampering: SubscriptionCorruption) -> bool {
    let Some((version, mut wish)) = blob::<ConsumerProtocolSubscription>(value) else {
        return false;
    };
    let mut tampered_version = version;
    match tampering {
        SubscriptionCorruption::OtherTopic => wish.topics = vec!["another".to_owned()],
        SubscriptionCorruption::Nothing => wish.topics.clear(),
        SubscriptionCorruption::Garbled => {
            *value = Value::Bytes(Bytes::from_static(&[0, 1, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]));
            return true;
        }
        SubscriptionCorruption::Version(version) => tampered_version = version,
    }
    set_blob(value, tampered_version, version, &wish);
    true
}

/// The message in a byte string that starts with its version.
fn blob<M: Message>(value: &Value) -> Option<(i16, M)> {
    let Value::Bytes(bytes) = value else {
        return None;
    };
    let mut input = Decoder::new(bytes.clone());
    let version = input.get_i16().ok()?;
    Some((version, M::decode(&mut input, version).ok()?))
}

fn set_blob<M: Message>(value: &mut Value, tampered_version: i16, version: i16, message: &M) {
    let mut out = Encoder::new();
    out.put_i16(tampered_version);
    message
        .encode(&mut out, version)
        .expect("a version that was read");
    *value = Value::Bytes(out.into_bytes());
}
