//! Java's `ConsumerProtocol`: what consumers exchange through their group as opaque bytes. A member's subscription goes to the leader, its
//! assignment comes back. Each starts with a version of its own, and is read with the newest version that both sides know, as Java does.

use std::sync::Arc;

use bytes::Bytes;
use protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use protocol::messages::consumer_protocol_subscription::TopicPartition as OwnedTopic;
use protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use protocol::{DecodeError, Decoder, EncodeError, Encoder, Message};

use super::assignor::Assignment;
use crate::kafka::group::group_metadata::NO_GENERATION;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// What a member tells the group's leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub topics: Vec<String>,
    /// What its assignor adds for the leader.
    pub user_data: Option<Bytes>,
    /// What it owns while it joins: nothing where all is given up before (version 1 on).
    pub owned: Vec<TopicPartition>,
    /// The last generation that it was in, by which a leader knows who owned a partition last (KIP-792, version 2 on).
    pub generation: i32,
    /// Where it runs (KIP-881, version 3 on).
    pub rack: Option<String>,
}

impl Default for Subscription {
    fn default() -> Self {
        Self {
            topics: Vec::new(),
            user_data: None,
            owned: Vec::new(),
            generation: NO_GENERATION,
            rack: None,
        }
    }
}

/// Encodes what a member tells the leader.
pub(crate) fn encode_subscription(mut subscription: Subscription) -> Result<Bytes> {
    subscription.topics.sort_unstable();
    let mut owned: Vec<OwnedTopic> = Vec::new();
    for TopicPartition { topic, partition } in &subscription.owned {
        match owned.last_mut() {
            Some(last) if *last.topic == **topic => last.partitions.push(*partition),
            _ => owned.push(OwnedTopic {
                topic: topic.to_string(),
                partitions: vec![*partition],
                ..Default::default()
            }),
        }
    }
    let message = ConsumerProtocolSubscription {
        topics: subscription.topics,
        user_data: subscription.user_data,
        owned_partitions: owned,
        generation_id: subscription.generation,
        rack_id: subscription.rack,
        ..Default::default()
    };
    encode(&message).map_err(|error| {
        let message = "the topics subscribed to do not fit into a request: subscribe to fewer, or check their names";
        Error::new(ErrorKind::Config, message).because(error)
    })
}

/// Decodes what a member tells the leader.
pub(crate) fn decode_subscription(bytes: Bytes) -> Result<Subscription> {
    let subscription: ConsumerProtocolSubscription =
        decode(bytes).map_err(|error| unreadable("subscription", error))?;
    let owned = subscription.owned_partitions;
    Ok(Subscription {
        topics: subscription.topics,
        user_data: subscription.user_data,
        owned: named(owned.into_iter().map(|it| (it.topic, it.partitions))),
        generation: subscription.generation_id,
        rack: subscription.rack_id,
    })
}

/// What the leader tells a member.
pub(crate) fn encode_assignment(
    assignment: &Assignment,
    user_data: Option<Bytes>,
) -> Result<Bytes> {
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
        user_data,
        ..Default::default()
    })
    .map_err(|error| unreadable("assignment", error))
}

/// The partitions that a member was assigned.
pub(crate) fn decode_assignment(bytes: Bytes) -> Result<Vec<TopicPartition>> {
    let assignment: ConsumerProtocolAssignment =
        decode(bytes).map_err(|error| unreadable("assignment", error))?;
    let assigned = assignment.assigned_partitions;
    Ok(named(
        assigned.into_iter().map(|it| (it.topic, it.partitions)),
    ))
}

/// What its leader has added to an assignment, if that can be read.
pub(crate) fn assignment_user_data(bytes: Bytes) -> Option<Bytes> {
    decode::<ConsumerProtocolAssignment>(bytes).ok()?.user_data
}

/// The partitions of each topic, one by one.
fn named(topics: impl Iterator<Item = (String, Vec<i32>)>) -> Vec<TopicPartition> {
    topics
        .flat_map(|(topic, partitions)| {
            let topic: Arc<str> = topic.into();
            let of = move |partition| TopicPartition::new(topic.clone(), partition);
            partitions.into_iter().map(of)
        })
        .collect()
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
        let bytes = encode_subscription(of(&["b", "a"])).expect("encodes");
        let expected: &[u8] =
            b"\0\x03\0\0\0\x02\0\x01a\0\x01b\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff";
        assert_eq!(&bytes[..], expected);
        assert_eq!(
            decode_subscription(bytes).expect("decodes"),
            of(&["a", "b"])
        );
    }

    fn of(topics: &[&str]) -> Subscription {
        Subscription {
            topics: topics.iter().map(ToString::to_string).collect(),
            ..Subscription::default()
        }
    }

    /// Fields in the order of Kafka's `ConsumerProtocolSubscription.json`.
    #[test]
    fn owned_partitions_generation_and_rack_are_told() {
        let subscription = Subscription {
            owned: vec![TopicPartition::new("a", 0), TopicPartition::new("a", 2)],
            generation: 7,
            rack: Some("r".to_string()),
            ..of(&["a"])
        };
        let bytes = encode_subscription(subscription.clone()).expect("encodes");
        let expected: &[u8] = b"\0\x03\0\0\0\x01\0\x01a\xff\xff\xff\xff\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x02\0\0\0\x07\0\x01r";
        assert_eq!(&bytes[..], expected);
        assert_eq!(decode_subscription(bytes).expect("decodes"), subscription);
    }

    #[test]
    fn an_assignment_round_trips() {
        let assignment = Assignment::from([("t".into(), vec![0, 2])]);
        let user_data = Some(Bytes::from_static(b"more"));
        let bytes = encode_assignment(&assignment, user_data.clone()).expect("encodes");
        let expected = [TopicPartition::new("t", 0), TopicPartition::new("t", 2)];
        assert_eq!(decode_assignment(bytes.clone()).expect("decodes"), expected);
        assert_eq!(assignment_user_data(bytes), user_data);
        let nothing = encode_assignment(&Assignment::new(), None).expect("encodes");
        assert_eq!(decode_assignment(nothing.clone()).expect("decodes"), []);
        assert_eq!(assignment_user_data(nothing), None);
    }

    #[test]
    fn versions_of_the_past_and_of_the_future_are_read() {
        let old: &[u8] = b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff";
        assert_eq!(
            decode_subscription(Bytes::from_static(old)).expect("version 0"),
            of(&["a"])
        );
        let mut future = encode_subscription(of(&["a"])).expect("encodes").to_vec();
        future[1] = 9;
        future.extend_from_slice(b"what versions to come add");
        assert_eq!(
            decode_subscription(Bytes::from(future)).expect("version 9"),
            of(&["a"])
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
