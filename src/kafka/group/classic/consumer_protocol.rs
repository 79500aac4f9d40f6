//! Java's `ConsumerProtocol`: what consumers exchange through their group as opaque bytes. A member's subscription goes to the leader, its
//! assignment comes back. Each starts with a version of its own, and is read with the newest version that both sides know, as Java does.

use bytes::Bytes;
use protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use protocol::{DecodeError, Decoder, EncodeError, Encoder, Message};

use super::assignor::Assignment;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// What a member that wants `topics` tells the group's leader.
pub(crate) fn encode_subscription(topics: &[String]) -> Result<Bytes> {
    let mut topics = topics.to_vec();
    topics.sort_unstable();
    let subscription = ConsumerProtocolSubscription {
        topics,
        ..Default::default()
    };
    encode(&subscription).map_err(|error| {
        let message = "the topics subscribed to do not fit into a request: subscribe to fewer, or check their names";
        Error::new(ErrorKind::Config, message).because(error)
    })
}

/// The topics of a member's subscription.
pub(crate) fn decode_subscription(bytes: Bytes) -> Result<Vec<String>> {
    let subscription: ConsumerProtocolSubscription =
        decode(bytes).map_err(|error| unreadable("subscription", error))?;
    Ok(subscription.topics)
}

/// What the leader tells a member.
pub(crate) fn encode_assignment(assignment: &Assignment) -> Result<Bytes> {
    let assigned_partitions = assignment
        .iter()
        .map(|(topic, partitions)| AssignedTopic {
            topic: topic.to_string(),
            partitions: partitions.clone(),
            ..Default::default()
        })
        .collect();
    encode(&ConsumerProtocolAssignment {
        assigned_partitions,
        ..Default::default()
    })
    .map_err(|error| unreadable("assignment", error))
}

/// The partitions that a member was assigned.
pub(crate) fn decode_assignment(bytes: Bytes) -> Result<Vec<TopicPartition>> {
    let assignment: ConsumerProtocolAssignment =
        decode(bytes).map_err(|error| unreadable("assignment", error))?;
    let mut partitions = Vec::new();
    for topic in assignment.assigned_partitions {
        let name: std::sync::Arc<str> = topic.topic.into();
        partitions.extend(
            topic
                .partitions
                .into_iter()
                .map(|partition| TopicPartition::new(name.clone(), partition)),
        );
    }
    Ok(partitions)
}

fn encode<M: Message>(message: &M) -> Result<Bytes, EncodeError> {
    let version = M::VERSIONS.max;
    let mut out = Encoder::with_capacity(2 + message.size(version));
    out.put_i16(version);
    message.encode(&mut out, version)?;
    Ok(out.into_bytes())
}

fn decode<M: Message>(bytes: Bytes) -> Result<M, DecodeError> {
    let mut input = Decoder::new(bytes);
    let version = input.get_i16()?;
    M::decode(&mut input, version.clamp(M::VERSIONS.min, M::VERSIONS.max))
}

fn unreadable(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!("a group member's {what} cannot be read or written"),
    )
    .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As kafka-clients 4.4 encodes them: version 3, sorted topics, no user data, no owned partitions, generation -1, no rack.
    #[test]
    fn a_subscription_is_what_java_writes() {
        let bytes = encode_subscription(&["b".to_string(), "a".to_string()]).expect("encodes");
        let expected: &[u8] =
            b"\0\x03\0\0\0\x02\0\x01a\0\x01b\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff";
        assert_eq!(&bytes[..], expected);
        assert_eq!(decode_subscription(bytes).expect("decodes"), ["a", "b"]);
    }

    #[test]
    fn an_assignment_round_trips() {
        let assignment = Assignment::from([("t".into(), vec![0, 2])]);
        let bytes = encode_assignment(&assignment).expect("encodes");
        let expected = [TopicPartition::new("t", 0), TopicPartition::new("t", 2)];
        assert_eq!(decode_assignment(bytes).expect("decodes"), expected);
        let nothing = encode_assignment(&Assignment::new()).expect("encodes");
        assert_eq!(decode_assignment(nothing).expect("decodes"), []);
    }

    #[test]
    fn versions_of_the_past_and_of_the_future_are_read() {
        let old: &[u8] = b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff";
        assert_eq!(
            decode_subscription(Bytes::from_static(old)).expect("version 0"),
            ["a"]
        );
        let mut future = encode_subscription(&["a".to_string()])
            .expect("encodes")
            .to_vec();
        future[1] = 9;
        future.extend_from_slice(b"what versions to come add");
        assert_eq!(
            decode_subscription(Bytes::from(future)).expect("version 9"),
            ["a"]
        );
    }

    #[test]
    fn garbage_is_an_error_that_names_what_it_was() {
        let error = decode_assignment(Bytes::from_static(b"\0\x03\x7f\xff\xff\xff"))
            .expect_err("absurd length");
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.to_string().contains("assignment"), "{error}");
    }
}
