//! Produce requests and responses: batches go in, grouped by topic; answers come out, one for each batch, in the order of the batches.

use bytes::Bytes;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use protocol::messages::{ProduceRequest, ProduceResponse};
use protocol::{ErrorCode, Uuid};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::Duration;

use crate::kafka::TopicPartition;
use crate::kafka::net::broker_timeout_ms;
use crate::kafka::producer::config::Acks;
use crate::kafka::producer::partition::batch::RefusedRecord;

/// Which partition a batch is for, by name and by id: the version decides which of them goes to the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub topic: Arc<str>,
    pub topic_id: Uuid,
    pub partition: i32,
}

impl Destination {
    pub fn partition(&self) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), self.partition)
    }
}

/// A request that writes `batches`.
pub(crate) fn build<'a>(
    acks: Acks,
    timeout: Duration,
    batches: impl IntoIterator<Item = (&'a Destination, Bytes)>,
) -> ProduceRequest {
    let mut topics: Vec<TopicProduceData> = Vec::new();
    let mut places = HashMap::new();
    let batches = batches.into_iter();
    let (count, _) = batches.size_hint();
    for (to, records) in batches {
        let data = PartitionProduceData {
            index: to.partition,
            records: Some(records),
            ..PartitionProduceData::default()
        };
        let is_last = topics
            .last()
            .is_some_and(|topic| *topic.name == *to.topic && topic.topic_id == to.topic_id);
        let place = if is_last {
            topics.len() - 1
        } else {
            *places.entry((&*to.topic, to.topic_id)).or_insert_with(|| {
                topics.push(TopicProduceData {
                    name: to.topic.to_string(),
                    topic_id: to.topic_id,
                    // As a rule most of a request is of one topic.
                    partition_data: Vec::with_capacity(if topics.is_empty() { count } else { 0 }),
                    ..TopicProduceData::default()
                });
                topics.len() - 1
            })
        };
        topics[place].partition_data.push(data);
    }
    ProduceRequest {
        acks: acks.number(),
        timeout_ms: broker_timeout_ms(timeout),
        topic_data: topics,
        ..ProduceRequest::default()
    }
}

/// The answers in a response, to be asked for in the order of the request's batches.
pub(crate) struct BatchResponses {
    topics: Vec<TopicProduceResponse>,
    /// Which answers were taken, by topic and place in it.
    taken: Vec<Vec<bool>>,
    /// Where the next answer is expected.
    next: Place,
    /// Where each answer is, by topic and partition, once one was not where it was expected.
    places: Option<HashMap<(TopicKey, i32), Place>>,
}

/// A place in a response: the topic, and the answer among the topic's.
type Place = (usize, usize);

/// A topic as a response has it: its id, or its name where that is zero.
type TopicKey = (Uuid, String);

impl BatchResponses {
    pub fn new(response: ProduceResponse) -> Self {
        let topics = response.responses;
        let taken = topics
            .iter()
            .map(|topic| vec![false; topic.partition_responses.len()])
            .collect();
        Self {
            topics,
            taken,
            next: (0, 0),
            places: None,
        }
    }

    /// The answer for `to`; `None` if the broker gave none, or none but one that was asked for already.
    pub fn take(&mut self, to: &Destination) -> Option<&PartitionProduceResponse> {
        let (topic, place) = match self.is_at(self.next, to) {
            true => self.next,
            false => self.find(to)?,
        };
        let answers = &self.topics[topic].partition_responses;
        self.next = match place + 1 < answers.len() {
            true => (topic, place + 1),
            false => (topic + 1, 0),
        };
        let was_taken = std::mem::replace(&mut self.taken[topic][place], true);
        (!was_taken).then(|| &answers[place])
    }

    fn is_at(&self, (topic, place): Place, to: &Destination) -> bool {
        let Some(topic) = self.topics.get(topic) else {
            return false;
        };
        let Some(answer) = topic.partition_responses.get(place) else {
            return false;
        };
        // The number first: it is what differs, and the name takes longer.
        answer.index == to.partition
            && if topic.topic_id.is_zero() {
                *topic.name == *to.topic
            } else {
                topic.topic_id == to.topic_id
            }
    }

    #[cold]
    fn find(&mut self, to: &Destination) -> Option<Place> {
        let topics = &self.topics;
        let places = self.places.get_or_insert_with(|| {
            let mut places = HashMap::new();
            for (at, topic) in topics.iter().enumerate() {
                let key = match topic.topic_id.is_zero() {
                    true => by_name(&topic.name),
                    false => by_id(topic.topic_id),
                };
                for (place, answer) in topic.partition_responses.iter().enumerate() {
                    places
                        .entry((key.clone(), answer.index))
                        .or_insert((at, place));
                }
            }
            places
        });
        let id = Some(to.topic_id).filter(|id| !id.is_zero());
        let place = id.and_then(|id| places.get(&(by_id(id), to.partition)));
        let place = place.or_else(|| places.get(&(by_name(&to.topic), to.partition)));
        place.copied()
    }
}

fn by_id(id: Uuid) -> TopicKey {
    (id, String::new())
}

fn by_name(name: &str) -> TopicKey {
    (Uuid::ZERO, name.to_owned())
}

/// The broker's words on a refusal: its message, and which records it is about (KIP-467).
pub(crate) fn explanation(answer: &PartitionProduceResponse) -> Option<String> {
    let mut text = answer.error_message.clone().unwrap_or_default();
    for error in answer.record_errors.iter().take(3) {
        if !text.is_empty() {
            text.push_str("; ");
        }
        let reason = error
            .batch_index_error_message
            .as_deref()
            .unwrap_or("refused");
        text.push_str(&format!(
            "record {} of the batch: {reason}",
            error.batch_index
        ));
    }
    (!text.is_empty()).then_some(text)
}

/// The records of a batch of `count` that the broker names in its refusal (KIP-467), in their order, with what it says of each.
pub(crate) fn refused_records(answer: &PartitionProduceResponse, count: u32) -> Vec<RefusedRecord> {
    let mut refused: Vec<_> = answer
        .record_errors
        .iter()
        .filter_map(|error| {
            let place = u32::try_from(error.batch_index).ok()?;
            (place < count).then(|| RefusedRecord {
                place,
                message: error.batch_index_error_message.clone(),
            })
        })
        .collect();
    refused.sort_by_key(|refused| refused.place);
    refused.dedup_by_key(|refused| refused.place);
    refused
}

/// Whether the coordinator was still at the markers of the transaction before.
pub(crate) fn is_too_early(response: &ProduceResponse) -> bool {
    let mut partitions = (response.responses.iter()).flat_map(|topic| &topic.partition_responses);
    partitions.any(|it| it.error_code == ErrorCode::CONCURRENT_TRANSACTIONS)
}

/// Whether metadata is out of date, given this answer.
pub(crate) fn asks_for_metadata(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::INCONSISTENT_TOPIC_ID
            | ErrorCode::KAFKA_STORAGE_ERROR
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::messages::produce_response::BatchIndexAndErrorMessage;

    fn to(topic: &str, id: u128, partition: i32) -> Destination {
        Destination {
            topic: topic.into(),
            topic_id: Uuid::from_u128(id),
            partition,
        }
    }

    fn answer(index: i32) -> PartitionProduceResponse {
        PartitionProduceResponse {
            index,
            ..PartitionProduceResponse::default()
        }
    }

    #[test]
    fn batches_are_grouped_by_topic() {
        let batches = [to("a", 1, 0), to("b", 2, 0), to("a", 1, 3)];
        let request = build(
            Acks::All,
            Duration::from_secs(30),
            batches.iter().map(|to| (to, Bytes::from_static(b"x"))),
        );
        let shape: Vec<_> = request
            .topic_data
            .iter()
            .map(|topic| (&*topic.name, topic.partition_data.len()))
            .collect();
        assert_eq!(shape, [("a", 2), ("b", 1)]);
        assert_eq!((request.acks, request.timeout_ms), (-1, 29_000));
    }

    #[test]
    fn records_that_a_batch_does_not_have_are_not_refused() {
        let errors =
            [3, -1, 0, 4, i32::MAX, 3, i32::MIN].map(|batch_index| BatchIndexAndErrorMessage {
                batch_index,
                batch_index_error_message: Some(batch_index.to_string()),
                ..BatchIndexAndErrorMessage::default()
            });
        let answer = PartitionProduceResponse {
            record_errors: errors.to_vec(),
            ..answer(0)
        };
        let refused = refused_records(&answer, 4);
        let places: Vec<_> = refused.iter().map(|refused| refused.place).collect();
        assert_eq!(places, [0, 3]);
        assert_eq!(refused[1].message.as_deref(), Some("3"));
    }

    #[test]
    fn answers_find_their_batches_by_name_or_id_in_any_order() {
        let response = |by_id: bool| ProduceResponse {
            responses: vec![
                TopicProduceResponse {
                    name: if by_id {
                        String::new()
                    } else {
                        "b".to_string()
                    },
                    topic_id: Uuid::from_u128(if by_id { 2 } else { 0 }),
                    partition_responses: vec![answer(1), answer(0)],
                    ..TopicProduceResponse::default()
                },
                TopicProduceResponse {
                    name: if by_id {
                        String::new()
                    } else {
                        "a".to_string()
                    },
                    topic_id: Uuid::from_u128(if by_id { 1 } else { 0 }),
                    partition_responses: vec![answer(0)],
                    ..TopicProduceResponse::default()
                },
            ],
            ..ProduceResponse::default()
        };
        for by_id in [false, true] {
            let mut answers = BatchResponses::new(response(by_id));
            for to in [to("a", 1, 0), to("b", 2, 0), to("b", 2, 1)] {
                assert_eq!(
                    answers.take(&to).map(|answer| answer.index),
                    Some(to.partition)
                );
            }
            assert!(answers.take(&to("b", 2, 1)).is_none());
            assert!(answers.take(&to("c", 3, 0)).is_none());
        }
    }
}
