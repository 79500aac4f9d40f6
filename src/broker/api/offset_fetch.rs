//! OffsetFetch: how far groups have come (KIP-709's several groups from version 8, KIP-516's ids from version 10).

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::messages::OffsetFetchRequest;
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use super::{Api, Context, Reply};
use crate::broker::groups::{Committed, OffsetKey};
use crate::broker::lock;
use crate::broker::security::AclOperation;

impl Api for OffsetFetchRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<OffsetFetchResponse> {
        let groups = asked_groups(&self, context.version)
            .iter()
            .map(|group| fetch(group, self.require_stable, context))
            .collect();
        Reply::Message(for_version(groups, context.version))
    }

    fn refusal(&self, version: i16, error: ErrorCode) -> OffsetFetchResponse {
        let groups = asked_groups(self, version)
            .iter()
            .map(|group| failed(group, version, error))
            .collect();
        for_version(groups, version)
    }
}

/// Older requests ask for one group, in fields of their own.
fn asked_groups(request: &OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= OffsetFetchRequest::GROUPS_FROM {
        return request.groups.clone();
    }
    let topics = request.topics.as_ref().map(|topics| {
        let topic = |topic: &protocol::messages::offset_fetch_request::OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics {
                name: topic.name.clone(),
                partition_indexes: topic.partition_indexes.clone(),
                ..Default::default()
            }
        };
        topics.iter().map(topic).collect()
    });
    vec![OffsetFetchRequestGroup {
        group_id: request.group_id.clone(),
        topics,
        ..Default::default()
    }]
}

fn for_version(mut groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    if version >= OffsetFetchRequest::GROUPS_FROM {
        return OffsetFetchResponse {
            groups,
            ..Default::default()
        };
    }
    let Some(group) = groups.pop() else {
        return OffsetFetchResponse::default();
    };
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..Default::default()
    };
    let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..Default::default()
    };
    let topics = group.topics.into_iter().map(topic).collect();
    OffsetFetchResponse {
        topics,
        error_code: group.error_code,
        ..Default::default()
    }
}

fn fetch(
    asked: &OffsetFetchRequestGroup,
    require_stable: bool,
    context: &Context<'_>,
) -> OffsetFetchResponseGroup {
    let checked = context
        .check_group(AclOperation::Describe, &asked.group_id)
        .and_then(|()| context.check_coordinator(&asked.group_id))
        .and_then(|()| {
            let groups = lock(&context.cluster.groups);
            let member_id = asked.member_id.as_deref();
            groups.check_fetch(&asked.group_id, member_id, asked.member_epoch)
        });
    if let Err(error) = checked {
        return failed(asked, context.version, error);
    }
    let committed = context.cluster.committed(&asked.group_id);
    let topics = match &asked.topics {
        Some(topics) => topics
            .iter()
            .map(|topic| fetch_topic(topic, &committed, context))
            .collect(),
        None => {
            let mut topics = all_topics(committed);
            topics.retain(|topic| {
                context
                    .check_topic(AclOperation::Describe, &topic.name)
                    .is_ok()
            });
            topics
        }
    };
    let mut response = OffsetFetchResponseGroup {
        group_id: asked.group_id.clone(),
        topics,
        ..Default::default()
    };
    if require_stable {
        hide_unstable(&mut response, context);
    }
    response
}

/// Takes back what the end of a transaction may change (KIP-447).
fn hide_unstable(response: &mut OffsetFetchResponseGroup, context: &Context<'_>) {
    let name = |topic: &OffsetFetchResponseTopics| match topic.name.is_empty() {
        true => {
            let topic = context.cluster.directory().topic_by_id(&topic.topic_id)?;
            Some(topic.name.clone())
        }
        false => Some(topic.name.clone()),
    };
    let names: Vec<_> = response.topics.iter().map(name).collect();
    let groups = lock(&context.cluster.groups);
    for (topic, name) in response.topics.iter_mut().zip(names) {
        let Some(name) = name else { continue };
        for answered in &mut topic.partitions {
            let partition = answered.partition_index;
            let topic = name.clone();
            let is_pending = groups.is_pending(&response.group_id, &OffsetKey { topic, partition });
            if is_pending && answered.error_code == ErrorCode::NONE {
                *answered = nothing(partition, ErrorCode::UNSTABLE_OFFSET_COMMIT);
            }
        }
    }
}

fn fetch_topic(
    asked: &OffsetFetchRequestTopics,
    committed: &BTreeMap<OffsetKey, Committed>,
    context: &Context<'_>,
) -> OffsetFetchResponseTopics {
    let by_id = context.version >= OffsetFetchRequest::TOPIC_IDS_FROM;
    let id = by_id.then_some(&asked.topic_id);
    let name = match context.topic(&asked.name, id, AclOperation::Describe) {
        Ok(topic) => Ok(topic.name.clone()),
        // Nothing is committed for it.
        Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => Ok(asked.name.clone()),
        Err(error) => Err(error),
    };
    let find = |&partition: &i32| {
        let topic = match &name {
            Ok(name) => name.clone(),
            Err(error) => return nothing(partition, *error),
        };
        let found = committed.get(&OffsetKey { topic, partition });
        found.map_or_else(
            || nothing(partition, ErrorCode::NONE),
            |committed| answered(partition, committed),
        )
    };
    OffsetFetchResponseTopics {
        name: asked.name.clone(),
        topic_id: asked.topic_id,
        partitions: asked.partition_indexes.iter().map(find).collect(),
        ..Default::default()
    }
}

fn all_topics(committed: BTreeMap<OffsetKey, Committed>) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (key, committed) in committed {
        let partition = answered(key.partition, &committed);
        match topics.last_mut().filter(|topic| topic.name == key.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(OffsetFetchResponseTopics {
                name: key.topic,
                topic_id: committed.topic_id,
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    topics
}

fn answered(partition_index: i32, committed: &Committed) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: committed.offset,
        committed_leader_epoch: committed.leader_epoch,
        metadata: Some(committed.metadata.clone()),
        ..Default::default()
    }
}

fn nothing(partition_index: i32, error: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        metadata: Some(String::new()),
        error_code: error,
        ..Default::default()
    }
}

/// Where there is no error of the whole request, each partition says it.
fn failed(
    asked: &OffsetFetchRequestGroup,
    version: i16,
    error: ErrorCode,
) -> OffsetFetchResponseGroup {
    let refused = |topic: &OffsetFetchRequestTopics| OffsetFetchResponseTopics {
        name: topic.name.clone(),
        partitions: topic
            .partition_indexes
            .iter()
            .map(|partition| nothing(*partition, error))
            .collect(),
        ..Default::default()
    };
    let topics = match version >= OffsetFetchRequest::ERROR_FROM {
        true => Vec::new(),
        false => asked.topics.iter().flatten().map(refused).collect(),
    };
    OffsetFetchResponseGroup {
        group_id: asked.group_id.clone(),
        topics,
        error_code: error,
        ..Default::default()
    }
}
