//! Offsets by topic, as requests that commit them have it, in a transaction or without one.

use std::collections::BTreeMap;

use protocol::{ErrorCode, Uuid};

use crate::kafka::consumer::OffsetAndMetadata;
use crate::kafka::{TopicId, TopicPartition};

/// What a topic is called in requests and responses: its id or its name, and the other empty.
pub(crate) type TopicKey = (Uuid, String);

/// The offsets of one topic go together: those of the topics that had a name one after the other are not of one topic.
pub(crate) fn by_topic(
    by_id: bool,
    offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
) -> BTreeMap<TopicKey, Vec<(i32, &OffsetAndMetadata)>> {
    let mut topics: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (partition, offset) in offsets {
        let topic = topics.entry(key(by_id, partition, offset)).or_default();
        topic.push((partition.partition, offset));
    }
    topics
}

/// What was said of each partition.
pub(crate) fn answers(
    by_id: bool,
    offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    said: impl Iterator<Item = (TopicKey, i32, ErrorCode)>,
) -> BTreeMap<TopicPartition, ErrorCode> {
    let said: BTreeMap<_, _> = said
        .map(|(topic, partition, code)| ((topic, partition), code))
        .collect();
    let answer_to = |(name, offset): (&TopicPartition, &OffsetAndMetadata)| {
        let code = said.get(&(key(by_id, name, offset), name.partition))?;
        Some((name.clone(), *code))
    };
    offsets.iter().filter_map(answer_to).collect()
}

/// The id of the topic that an offset is of; zero when it is not known.
pub(crate) fn id_in(offset: &OffsetAndMetadata) -> Uuid {
    offset.topic_id.map_or(Uuid::ZERO, TopicId::uuid)
}

fn key(by_id: bool, partition: &TopicPartition, offset: &OffsetAndMetadata) -> TopicKey {
    match by_id {
        true => (id_in(offset), String::new()),
        false => (Uuid::ZERO, partition.topic.to_string()),
    }
}
