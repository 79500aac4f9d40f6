//! Asking the group's coordinator which offsets are committed. In: partitions. Out: those that have one, and those that it refused: one
//! topic that is gone, or may not be read, says nothing about the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use protocol::messages::offset_fetch_response::{
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::time::{Instant, sleep_until};

use super::list_offsets::left_out;
use crate::kafka::cluster::{Channel, Metadata, Target};
use crate::kafka::consumer::OffsetAndMetadata;
use crate::kafka::consumer::state::ConsumerContext;
use crate::kafka::error::may_pass;
use crate::kafka::group::group_metadata::NO_GENERATION;
use crate::kafka::runtime::Retry;
use crate::kafka::{Error, ErrorKind, Result, TopicId, TopicPartition};

/// After how many attempts a topic that does not exist counts as gone.
const GONE_AFTER: u32 = 2;

/// What the coordinator said. Partitions without a committed offset are in neither.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub found: BTreeMap<TopicPartition, OffsetAndMetadata>,
    /// Each with its own error.
    pub refused: BTreeMap<TopicPartition, Error>,
    /// The topics that were asked about, where their ids are known: what is neither found nor refused has no committed offset in these.
    pub topics: BTreeMap<Arc<str>, TopicId>,
    /// The coordinator was asked by these ids; by names it may have taken late what was committed in a topic that is gone.
    pub by_id: bool,
}

/// Asks again and again, with pauses while that may help, until `deadline`. What is wrong with single partitions is waited out until
/// `patience`.
pub(crate) async fn ask(
    context: &ConsumerContext,
    partitions: &[TopicPartition],
    deadline: Instant,
    patience: Instant,
) -> Result<Committed> {
    let mut committed = Committed::default();
    let mut open = partitions.to_vec();
    let cluster = &context.cluster;
    let random = cluster.random("offset fetch");
    let mut retry = Retry::new(cluster.retry_backoff(), random, deadline);
    loop {
        let failed = match ask_once(context, &open, deadline).await {
            Ok(answer) => {
                open.iter()
                    .for_each(|name| drop(committed.refused.remove(name)));
                let until = patience.min(deadline);
                let refused = &answer.refused;
                open = worth_asking_again(context, refused, retry.failures(), until).await;
                committed.found.extend(answer.found);
                committed.refused.extend(answer.refused);
                committed.topics.extend(answer.topics);
                committed.by_id = answer.by_id;
                if open.is_empty() {
                    return Ok(committed);
                }
                None
            }
            Err(error) if may_pass(&error) => Some(error),
            Err(error) => return Err(error),
        };
        let again_at = retry.failed();
        match again_at.filter(|at| failed.is_some() || *at < patience) {
            Some(again_at) => sleep_until(again_at).await,
            None => return failed.map_or(Ok(committed), Err),
        }
    }
}

async fn worth_asking_again(
    context: &ConsumerContext,
    refused: &BTreeMap<TopicPartition, Error>,
    attempts: u32,
    deadline: Instant,
) -> Vec<TopicPartition> {
    let unknown = |error: &Error| error.kind() == ErrorKind::UnknownTopicOrPartition;
    let metadata = match refused.values().any(unknown) {
        true => context.cluster.refreshed(deadline).await.ok(),
        false => None,
    };
    let gone = |partition: &TopicPartition| {
        metadata
            .as_ref()
            .is_some_and(|known| is_gone(known, partition, attempts))
    };
    refused
        .iter()
        .filter(|(name, error)| may_pass(error) && !(unknown(error) && gone(name)))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Whether a partition that the coordinator did not know is gone: by metadata from after that there is no such topic, or the topic has fewer
/// partitions, and not for the first time. Brokers that are behind do not know a new one, or know the topic by another id.
pub(crate) fn is_gone(metadata: &Metadata, partition: &TopicPartition, attempts: u32) -> bool {
    let TopicPartition { topic, partition } = partition;
    let gone = match metadata.topic_errors.get(topic) {
        Some(error) => error.is_unknown(),
        None => metadata.topic(topic).is_some_and(|known| {
            usize::try_from(*partition).map_or(true, |index| index >= known.partitions.len())
        }),
    };
    gone && attempts >= GONE_AFTER
}

/// Asks once. A connection of its own purpose keeps the question from waiting behind a join.
pub(crate) async fn ask_once(
    context: &ConsumerContext,
    partitions: &[TopicPartition],
    deadline: Instant,
) -> Result<Committed> {
    let group = context.group_id()?;
    let (cluster, target) = (&context.cluster, Target::GroupCoordinator(group));
    let metadata = cluster.metadata();
    let by_topic = by_topic(partitions);
    let newest = newest(by_topic.keys().map(|topic| id_of(&metadata, topic)));
    let member = context.group();
    let member = member.and_then(|group| group.with(|membership| membership.fetches_as()));
    let build = |version| {
        Ok(request(
            group,
            member.as_ref(),
            &by_topic,
            &metadata,
            version,
        ))
    };
    let asked = cluster.ask(target, Channel::Shared, newest, deadline, build);
    let answer = asked.await?;
    let read = read(answer.response, answer.version, &metadata, partitions);
    read.inspect_err(|_| cluster.reroute(target))
}

/// The newest version in which offsets of topics of these ids can be asked for and committed: where one is not known, by name.
pub(crate) fn newest(mut ids: impl Iterator<Item = Uuid>) -> i16 {
    match ids.any(|id| id == Uuid::ZERO) {
        true => OffsetFetchRequest::TOPIC_IDS_FROM - 1,
        false => i16::MAX,
    }
}

fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<Arc<str>, Vec<i32>> {
    let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics
            .entry(partition.topic.clone())
            .or_default()
            .push(partition.partition);
    }
    topics
}

/// The id of a topic; zero when it is not known.
pub(crate) fn id_of(metadata: &Metadata, topic: &str) -> Uuid {
    metadata.topic(topic).map_or(Uuid::ZERO, |topic| topic.id)
}

/// `member`: who asks, and its epoch, where the coordinator checks that.
fn request(
    group: &str,
    member: Option<&(String, i32)>,
    by_topic: &BTreeMap<Arc<str>, Vec<i32>>,
    metadata: &Metadata,
    version: i16,
) -> OffsetFetchRequest {
    let mut request = OffsetFetchRequest {
        require_stable: version >= OffsetFetchRequest::STABLE_FROM,
        ..Default::default()
    };
    if version >= OffsetFetchRequest::GROUPS_FROM {
        let topics = by_topic
            .iter()
            .map(|(name, partitions)| OffsetFetchRequestTopics {
                name: name.to_string(),
                topic_id: id_of(metadata, name),
                partition_indexes: partitions.clone(),
                ..Default::default()
            })
            .collect();
        let group_id = group.to_string();
        request.groups = vec![OffsetFetchRequestGroup {
            group_id,
            member_id: member.map(|(member_id, _)| member_id.clone()),
            member_epoch: member.map_or(NO_GENERATION, |(_, epoch)| *epoch),
            topics: Some(topics),
            ..Default::default()
        }];
        return request;
    }
    request.group_id = group.to_string();
    let topics = by_topic
        .iter()
        .map(|(name, partitions)| OffsetFetchRequestTopic {
            name: name.to_string(),
            partition_indexes: partitions.clone(),
            ..Default::default()
        })
        .collect();
    request.topics = Some(topics);
    request
}

/// One partition's part of an answer, in whichever version it came.
pub(crate) struct Row {
    pub partition: TopicPartition,
    pub error: ErrorCode,
    /// An offset below 0: none.
    pub committed: OffsetAndMetadata,
}

/// The row of a partition of `$topic`: the two versions of the answer differ in nothing but the names of their types.
macro_rules! row {
    ($topic:expr, $answer:expr) => {
        Row {
            partition: TopicPartition::new($topic.clone(), $answer.partition_index),
            error: $answer.error_code,
            committed: OffsetAndMetadata {
                offset: $answer.committed_offset,
                leader_epoch: Some($answer.committed_leader_epoch).filter(|epoch| *epoch >= 0),
                metadata: $answer.metadata.unwrap_or_default(),
                topic_id: None,
            },
        }
    };
}

/// Every partition that was asked for has its answer, or an error: one that is left out may well have a committed offset.
fn read(
    response: OffsetFetchResponse,
    version: i16,
    metadata: &Metadata,
    asked: &[TopicPartition],
) -> Result<Committed> {
    let (error, rows) = if version >= OffsetFetchRequest::GROUPS_FROM {
        grouped(response, version, metadata)
    } else {
        plain(response)
    };
    if error != ErrorCode::NONE {
        let refused = Error::server(error, None).api(ApiKey::OFFSET_FETCH);
        return Err(match error {
            // It will be told more by its heartbeat, and asks in its next epoch then.
            ErrorCode::STALE_MEMBER_EPOCH
            | ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::FENCED_MEMBER_EPOCH => refused.tried_on(),
            _ => refused.not_the_end(),
        });
    }
    let mut committed = Committed {
        by_id: version >= OffsetFetchRequest::TOPIC_IDS_FROM,
        topics: asked
            .iter()
            .filter_map(|name| {
                let id = TopicId::known(id_of(metadata, &name.topic))?;
                Some((name.topic.clone(), id))
            })
            .collect(),
        ..Default::default()
    };
    let mut open: BTreeSet<&TopicPartition> = asked.iter().collect();
    for mut row in rows {
        if !open.remove(&row.partition) {
            continue;
        }
        // The oldest version has no other place for what is wrong with the group.
        if is_about_the_group(row.error) {
            return Err(Error::server(row.error, None).api(ApiKey::OFFSET_FETCH));
        }
        if row.error != ErrorCode::NONE {
            let TopicPartition { topic, partition } = row.partition.clone();
            let error = Error::server(row.error, None)
                .api(ApiKey::OFFSET_FETCH)
                .topic_partition(topic, partition);
            committed.refused.insert(row.partition, error);
        } else if row.committed.offset >= 0 {
            row.committed.topic_id = committed.topics.get(&row.partition.topic).copied();
            committed.found.insert(row.partition, row.committed);
        }
    }
    for partition in open {
        let error = left_out(partition).api(ApiKey::OFFSET_FETCH);
        committed.refused.insert(partition.clone(), error);
    }
    Ok(committed)
}

fn grouped(
    response: OffsetFetchResponse,
    version: i16,
    metadata: &Metadata,
) -> (ErrorCode, Vec<Row>) {
    let Some(group) = response.groups.into_iter().next() else {
        return (ErrorCode::UNKNOWN_SERVER_ERROR, Vec::new());
    };
    let names = match version >= OffsetFetchRequest::TOPIC_IDS_FROM {
        true => metadata.names_by_id(),
        false => HashMap::new(),
    };
    (group.error_code, rows_of_group(group.topics, &names))
}

/// The rows of a group's topics, some of which have no name but an id with one in `names`.
pub(crate) fn rows_of_group(
    topics: Vec<OffsetFetchResponseTopics>,
    names: &HashMap<Uuid, &Arc<str>>,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for topic in topics {
        let known = names.get(&topic.topic_id);
        let name = known.map_or_else(|| topic.name.into(), |name| Arc::clone(name));
        let answers = topic.partitions.into_iter();
        rows.extend(answers.map(|answer| row!(name, answer)));
    }
    rows
}

fn plain(response: OffsetFetchResponse) -> (ErrorCode, Vec<Row>) {
    (response.error_code, rows_of_topics(response.topics))
}

/// The rows of topics, from before an answer was of several groups.
pub(crate) fn rows_of_topics(topics: Vec<OffsetFetchResponseTopic>) -> Vec<Row> {
    let mut rows = Vec::new();
    for topic in topics {
        let name: Arc<str> = topic.name.into();
        let answers = topic.partitions.into_iter();
        rows.extend(answers.map(|answer| row!(name, answer)));
    }
    rows
}

fn is_about_the_group(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_COORDINATOR
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::GROUP_AUTHORIZATION_FAILED
    )
}

#[cfg(test)]
mod tests {
    use protocol::messages::offset_fetch_response::{
        OffsetFetchResponsePartition, OffsetFetchResponseTopic,
    };

    use super::*;

    /// An answer about partitions of `t`: offset and error of each.
    fn answer(rows: &[(i32, i64, ErrorCode)]) -> OffsetFetchResponse {
        let partitions = rows.iter().map(|row| OffsetFetchResponsePartition {
            partition_index: row.0,
            committed_offset: row.1,
            error_code: row.2,
            ..Default::default()
        });
        OffsetFetchResponse {
            topics: vec![OffsetFetchResponseTopic {
                name: "t".to_string(),
                partitions: partitions.collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn names(count: i32) -> Vec<TopicPartition> {
        (0..count)
            .map(|partition| TopicPartition::new("t", partition))
            .collect()
    }

    #[test]
    fn what_is_wrong_with_one_partition_takes_nothing_from_the_others() {
        let names = names(3);
        let rows = [
            (0, 5, ErrorCode::NONE),
            (1, -1, ErrorCode::TOPIC_AUTHORIZATION_FAILED),
            (2, -1, ErrorCode::NONE),
        ];
        let committed = read(
            answer(&rows),
            OffsetFetchRequest::STABLE_FROM,
            &Metadata::default(),
            &names,
        )
        .expect("rows");
        assert_eq!(committed.found.keys().collect::<Vec<_>>(), [&names[0]]);
        let (name, error) = committed.refused.first_key_value().expect("an error");
        assert_eq!((name, error.partition()), (&names[1], Some(&names[1])));
        assert_eq!(error.kind(), ErrorKind::Authorization);
        let moved = [(0, -1, ErrorCode::NOT_COORDINATOR)];
        read(
            answer(&moved),
            OffsetFetchRequest::STABLE_FROM,
            &Metadata::default(),
            &names,
        )
        .expect_err("about the group");
    }

    #[test]
    fn a_partition_without_an_answer_is_not_one_without_an_offset() {
        let names = names(3);
        let rows = [(0, 5), (1, -1), (7, 9)].map(|(name, offset)| (name, offset, ErrorCode::NONE));
        let committed = read(
            answer(&rows),
            OffsetFetchRequest::STABLE_FROM,
            &Metadata::default(),
            &names,
        )
        .expect("rows");
        assert_eq!(committed.found.keys().collect::<Vec<_>>(), [&names[0]]);
        let (name, error) = committed.refused.first_key_value().expect("one is missing");
        assert_eq!((name, error.kind()), (&names[2], ErrorKind::Protocol));
    }
}
