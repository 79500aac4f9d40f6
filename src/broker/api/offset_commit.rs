//! OffsetCommit: stores how far a group has come (KIP-98's groups, KIP-345, KIP-516's ids from version 10).

use std::sync::Arc;

use protocol::messages::OffsetCommitRequest;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

use super::{Api, Context, Reply};
use crate::broker::groups::{Committed, CommitterIdentity, Groups, OffsetKey};
use crate::broker::lock;
use crate::broker::security::AclOperation;
use crate::broker::topic::Topic;

impl Api for OffsetCommitRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<OffsetCommitResponse> {
        let checked = context
            .check_group(AclOperation::Read, &self.group_id)
            .and_then(|()| context.check_coordinator(&self.group_id));
        if let Err(error) = checked {
            return Reply::Message(self.refusal(context.version, error));
        }
        let topics: Vec<_> = self
            .topics
            .iter()
            .map(|topic| find_topic(topic, context))
            .collect();
        let committer = CommitterIdentity {
            generation: self.generation_id_or_member_epoch,
            member_id: &self.member_id,
            instance_id: self.group_instance_id.as_deref(),
        };
        let known = self.topics.iter().zip(&topics);
        let known = known.filter_map(|(asked, topic)| Some((asked, topic.as_ref().ok()?.id)));
        let partitions: Vec<(Uuid, i32)> = known
            .flat_map(|(asked, id)| {
                let partitions = asked.partitions.iter();
                partitions.map(move |it| (id, it.partition_index))
            })
            .collect();
        let mut groups = lock(&context.cluster.groups);
        let (version, now) = (context.version, Instant::now());
        let checked = groups.check_commit(&self.group_id, &committer, &partitions, version, now);
        if let Err(error) = checked {
            return Reply::Message(self.refusal(version, error));
        }
        let commit = |(asked, topic): (&OffsetCommitRequestTopic, _)| {
            commit_topic(&self.group_id, asked, topic, &mut groups, context)
        };
        let topics = self.topics.iter().zip(topics).map(commit).collect();
        Reply::Message(OffsetCommitResponse {
            topics,
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> OffsetCommitResponse {
        let refused = |topic: &OffsetCommitRequestTopic| answered(topic, |_| error);
        OffsetCommitResponse {
            topics: self.topics.iter().map(refused).collect(),
            ..Default::default()
        }
    }
}

fn find_topic(
    asked: &OffsetCommitRequestTopic,
    context: &Context<'_>,
) -> Result<Arc<Topic>, ErrorCode> {
    let by_id = context.version >= OffsetCommitRequest::TOPIC_IDS_FROM;
    let id = by_id.then_some(&asked.topic_id);
    context.topic(&asked.name, id, AclOperation::Read)
}

fn commit_topic(
    group_id: &str,
    asked: &OffsetCommitRequestTopic,
    topic: Result<Arc<Topic>, ErrorCode>,
    groups: &mut Groups,
    context: &Context<'_>,
) -> OffsetCommitResponseTopic {
    answered(asked, |partition| {
        let position = (partition.committed_offset, partition.committed_leader_epoch);
        let metadata = partition.committed_metadata.as_ref();
        let to_commit = known(&topic, partition.partition_index).and_then(|topic| {
            to_commit(
                (topic, partition.partition_index),
                position,
                metadata,
                context,
            )
        });
        let (key, committed) = match to_commit {
            Ok(to_commit) => to_commit,
            Err(error) => return error,
        };
        let kept = (context.cluster).keep_with(|| committed.change(group_id, &key));
        if kept.is_err() {
            // As Kafka's coordinators say it: clients look for another then, and try again.
            return ErrorCode::NOT_COORDINATOR;
        }
        groups.commit(group_id, key, committed);
        ErrorCode::NONE
    })
}

/// The topic, if it was found and has this partition.
pub(super) fn known(
    topic: &Result<Arc<Topic>, ErrorCode>,
    index: i32,
) -> Result<&Topic, ErrorCode> {
    let topic = topic.as_ref().map_err(|error| *error)?;
    match usize::try_from(index).is_ok_and(|index| index < topic.partition_count()) {
        true => Ok(topic),
        false => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    }
}

/// An offset with the epoch of its leader, as it is committed for a partition.
pub(super) fn to_commit(
    (topic, partition): (&Topic, i32),
    (offset, leader_epoch): (i64, i32),
    metadata: Option<&String>,
    context: &Context<'_>,
) -> Result<(OffsetKey, Committed), ErrorCode> {
    let metadata = metadata.cloned().unwrap_or_default();
    if metadata.len() > context.cluster.settings.offset_metadata_max_bytes {
        return Err(ErrorCode::OFFSET_METADATA_TOO_LARGE);
    }
    let key = OffsetKey {
        topic: topic.name.clone(),
        partition,
    };
    let committed = Committed {
        topic_id: topic.id,
        offset,
        leader_epoch,
        metadata,
    };
    Ok((key, committed))
}

fn answered(
    topic: &OffsetCommitRequestTopic,
    mut error_of: impl FnMut(&OffsetCommitRequestPartition) -> ErrorCode,
) -> OffsetCommitResponseTopic {
    let mut answer = |partition: &OffsetCommitRequestPartition| OffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: error_of(partition),
        ..Default::default()
    };
    OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(&mut answer).collect(),
        ..Default::default()
    }
}
