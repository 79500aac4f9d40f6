//! Asking the group's coordinator which offsets are committed. In: partitions. Out: those that have one.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::time::{Instant, sleep_until};

use super::core::Core;
use super::handle::OffsetAndMetadata;
use crate::kafka::cluster::{CoordinatorKind, Metadata, Purpose};
use crate::kafka::{Error, Result, TopicPartition};

/// The first version that asks for several groups at once.
const GROUPS_FROM: i16 = 8;
/// The first version that names topics by id.
const TOPIC_IDS_FROM: i16 = 10;
/// The first version that can wait for transactions that are about to commit offsets (KIP-447).
const STABLE_FROM: i16 = 7;

/// Asks again and again, with pauses while that may help, until `deadline`.
pub(crate) async fn ask(
    core: &Core,
    partitions: &[TopicPartition],
    deadline: Instant,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
    let mut attempts = 0;
    loop {
        let error = match ask_once(core, partitions, deadline).await {
            Err(error) if error.is_retriable() => error,
            done => return done,
        };
        attempts += 1;
        let retry_at = Instant::now() + core.pause(attempts);
        if retry_at >= deadline {
            return Err(error);
        }
        sleep_until(retry_at).await;
    }
}

/// Asks once. A connection of its own purpose keeps the question from waiting behind a join.
pub(crate) async fn ask_once(
    core: &Core,
    partitions: &[TopicPartition],
    deadline: Instant,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
    let group = core.group_id()?;
    let cluster = &core.cluster;
    let node = cluster
        .coordinator(CoordinatorKind::Group, group, deadline)
        .await?;
    let metadata = cluster.metadata();
    let by_topic = by_topic(partitions);
    let answer = async {
        let connection = cluster.connection(node, Purpose::Other, deadline).await?;
        let newest = connection.version_of::<OffsetFetchRequest>()?;
        let nameless = by_topic
            .keys()
            .any(|topic| id_of(&metadata, topic) == Uuid::ZERO);
        let version = if nameless {
            newest.min(TOPIC_IDS_FROM - 1)
        } else {
            newest
        };
        let request = request(group, &by_topic, &metadata, version);
        Ok((
            version,
            connection.call_at(&request, version, deadline).await?,
        ))
    };
    let read = answer
        .await
        .and_then(|(version, response)| read(response, version, &metadata));
    read.inspect_err(|_| cluster.coordinator_lost(CoordinatorKind::Group, group))
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
pub(super) fn id_of(metadata: &Metadata, topic: &str) -> Uuid {
    metadata.topic(topic).map_or(Uuid::ZERO, |topic| topic.id)
}

fn request(
    group: &str,
    by_topic: &BTreeMap<Arc<str>, Vec<i32>>,
    metadata: &Metadata,
    version: i16,
) -> OffsetFetchRequest {
    let mut request = OffsetFetchRequest {
        require_stable: version >= STABLE_FROM,
        ..Default::default()
    };
    if version >= GROUPS_FROM {
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
struct Row {
    partition: TopicPartition,
    error: ErrorCode,
    committed: OffsetAndMetadata,
}

fn read(
    response: OffsetFetchResponse,
    version: i16,
    metadata: &Metadata,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
    let (error, rows) = if version >= GROUPS_FROM {
        grouped(response, version, metadata)
    } else {
        plain(response)
    };
    if error != ErrorCode::NONE {
        return Err(Error::server(error, None).api(ApiKey::OFFSET_FETCH));
    }
    let mut committed = BTreeMap::new();
    for row in rows {
        if row.error != ErrorCode::NONE {
            return Err(Error::server(row.error, None)
                .api(ApiKey::OFFSET_FETCH)
                .topic_partition(row.partition.topic, row.partition.partition));
        }
        if row.committed.offset >= 0 {
            committed.insert(row.partition, row.committed);
        }
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
    let mut rows = Vec::new();
    for topic in group.topics {
        let name: Arc<str> = match metadata.topic_by_id(topic.topic_id) {
            Some(known) if version >= TOPIC_IDS_FROM => known.name.clone(),
            _ => topic.name.into(),
        };
        for answer in topic.partitions {
            rows.push(Row {
                partition: TopicPartition::new(name.clone(), answer.partition_index),
                error: answer.error_code,
                committed: committed(
                    answer.committed_offset,
                    answer.committed_leader_epoch,
                    answer.metadata,
                ),
            });
        }
    }
    (group.error_code, rows)
}

fn plain(response: OffsetFetchResponse) -> (ErrorCode, Vec<Row>) {
    let mut rows = Vec::new();
    for topic in response.topics {
        let name: Arc<str> = topic.name.into();
        for answer in topic.partitions {
            rows.push(Row {
                partition: TopicPartition::new(name.clone(), answer.partition_index),
                error: answer.error_code,
                committed: committed(
                    answer.committed_offset,
                    answer.committed_leader_epoch,
                    answer.metadata,
                ),
            });
        }
    }
    (response.error_code, rows)
}

fn committed(offset: i64, leader_epoch: i32, metadata: Option<String>) -> OffsetAndMetadata {
    OffsetAndMetadata {
        offset,
        leader_epoch: Some(leader_epoch).filter(|epoch| *epoch >= 0),
        metadata: metadata.unwrap_or_default(),
    }
}
