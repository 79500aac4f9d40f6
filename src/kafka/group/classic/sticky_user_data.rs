//! What members of Java's sticky assignors tell the leader in their subscription's user data: `sticky`, which partitions they had and in which
//! generation; `cooperative-sticky`, before subscriptions had a field for it, the generation alone.

use std::sync::Arc;

use bytes::Bytes;
use protocol::{DecodeError, Decoder, Encoder};

use crate::kafka::TopicPartition;

/// As Java's `StickyAssignor` writes it (its version 1). Partitions of a topic stand together.
pub(crate) fn encode(partitions: &[TopicPartition], generation: i32) -> Bytes {
    let topics: Vec<&[TopicPartition]> = partitions.chunk_by(|a, b| a.topic == b.topic).collect();
    let mut out = Encoder::new();
    let put_len = |out: &mut Encoder, len: usize| out.put_i32(i32::try_from(len).unwrap_or(0));
    put_len(&mut out, topics.len());
    for partitions in topics {
        let name = partitions[0].topic.as_bytes();
        // No topic's name is longer than 249 bytes.
        out.put_i16(i16::try_from(name.len()).unwrap_or(0));
        out.put_slice(name);
        put_len(&mut out, partitions.len());
        for partition in partitions {
            out.put_i32(partition.partition);
        }
    }
    out.put_i32(generation);
    out.into_bytes()
}

/// The partitions, and the generation, which the first version did not say. `None` if it makes no sense, as Java has it.
pub(crate) fn decode(bytes: Bytes) -> Option<(Vec<TopicPartition>, Option<i32>)> {
    let mut input = Decoder::new(bytes);
    let partitions = decode_partitions(&mut input).ok()?;
    let generation = match input.remaining() {
        0..4 => None,
        _ => input.get_i32().ok(),
    };
    Some((partitions, generation))
}

/// The generation, as members of `cooperative-sticky` said it.
pub(crate) fn decode_generation(bytes: Bytes) -> Option<i32> {
    Decoder::new(bytes).get_i32().ok()
}

fn decode_partitions(input: &mut Decoder) -> Result<Vec<TopicPartition>, DecodeError> {
    let mut partitions = Vec::new();
    // Nothing is allocated by these numbers: each entry takes bytes of its own.
    for _ in 0..input.get_i32()? {
        let len = usize::try_from(input.get_i16()?)
            .map_err(|_| input.malformed("the length of a topic's name"))?;
        let topic: Arc<str> = input.take_str(len)?.into();
        for _ in 0..input.get_i32()? {
            partitions.push(TopicPartition::new(topic.clone(), input.get_i32()?));
        }
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_owned_round_trips() {
        let partitions = [("a", 0), ("a", 2), ("b", 1)]
            .map(|(topic, partition)| TopicPartition::new(topic, partition));
        let bytes = encode(&partitions, 7);
        let expected: &[u8] =
            b"\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x02\0\x01b\0\0\0\x01\0\0\0\x01\0\0\0\x07";
        assert_eq!(&bytes[..], expected);
        assert_eq!(decode(bytes.clone()), Some((partitions.to_vec(), Some(7))));
        let first_version = bytes.slice(..bytes.len() - 4);
        assert_eq!(decode(first_version), Some((partitions.to_vec(), None)));
    }

    #[test]
    fn what_makes_no_sense_counts_as_nothing_and_allocates_nothing() {
        for bytes in [
            &b"\x7f\xff\xff\xff"[..],
            b"\0\0\0\x01\xff\xff",
            b"\0\0\0\x01\0\x01a\x7f\xff\xff\xff",
            b"\0",
        ] {
            assert_eq!(decode(Bytes::from_static(bytes)), None, "{bytes:?}");
        }
        assert_eq!(
            decode_generation(Bytes::from_static(b"\0\0\0\x05")),
            Some(5)
        );
        assert_eq!(decode_generation(Bytes::from_static(b"\0\0")), None);
    }
}
