//! TxnOffsetCommit: offsets of a group that count once a transaction is committed (KIP-98, KIP-447, KIP-890, KIP-1319's ids from version 6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::messages::TxnOffsetCommitRequest;
use protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

use super::offset_commit::{known, to_commit};
use super::{Api, Context, Reply};
use crate::broker::groups::{Committed, CommitterIdentity, OffsetKey};
use crate::broker::lock;
use crate::broker::security::AclOperation;
use crate::broker::topic::Topic;
use crate::broker::transactions::{
    Enlistment, OFFSETS_TOPIC, ProducerIdAndEpoch, offsets_partition,
};

const TOPIC_IDS_FROM: i16 = 6;
/// Before it clients stumbled over COORDINATOR_LOAD_IN_PROGRESS.
const LOADING_FROM: i16 = 2;

/// What becomes of a partition: its offset, or the error.
type Checked = Result<(OffsetKey, Committed), ErrorCode>;

impl Api for TxnOffsetCommitRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<TxnOffsetCommitResponse> {
        let checked = context
            .check_transactional_id(AclOperation::Write, &self.transactional_id)
            .and_then(|()| context.check_group(AclOperation::Read, &self.group_id));
        if let Err(error) = checked {
            return Reply::Message(self.refusal(context.version, error));
        }
        let topics: Vec<_> = self
            .topics
            .iter()
            .map(|topic| find_topic(topic, context))
            .collect();
        let is_known = |(asked, topic): (&TxnOffsetCommitRequestTopic, &Result<Arc<Topic>, _>)| {
            let partitions = asked.partitions.iter();
            let known = partitions.map(|it| known(topic, it.partition_index).is_ok());
            known.collect::<Vec<_>>()
        };
        let known: Vec<Vec<bool>> = self.topics.iter().zip(&topics).map(is_known).collect();
        let committed = match known.iter().flatten().any(|known| *known) {
            true => commit(&self, &topics, context).await,
            false => Ok(()),
        };
        let of_all = committed
            .err()
            .map(|error| for_version(error, context.version));
        let mut response = TxnOffsetCommitResponse::default();
        for (asked, topic) in self.topics.iter().zip(&topics) {
            response.topics.push(answered(asked, |partition| {
                match (check(topic, partition, context), of_all) {
                    (Err(ErrorCode::OFFSET_METADATA_TOO_LARGE) | Ok(_), Some(error)) => error,
                    (Err(error), _) => error,
                    (Ok(_), None) => ErrorCode::NONE,
                }
            }));
        }
        Reply::Message(response)
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> TxnOffsetCommitResponse {
        let refused = |topic: &TxnOffsetCommitRequestTopic| answered(topic, |_| error);
        TxnOffsetCommitResponse {
            topics: self.topics.iter().map(refused).collect(),
            ..Default::default()
        }
    }
}

fn find_topic(
    asked: &TxnOffsetCommitRequestTopic,
    context: &Context<'_>,
) -> Result<Arc<Topic>, ErrorCode> {
    let id = (context.version >= TOPIC_IDS_FROM).then_some(&asked.topic_id);
    context.topic(&asked.name, id, AclOperation::Read)
}

fn check(
    topic: &Result<Arc<Topic>, ErrorCode>,
    partition: &TxnOffsetCommitRequestPartition,
    context: &Context<'_>,
) -> Checked {
    let topic = known(topic, partition.partition_index)?;
    let position = (partition.committed_offset, partition.committed_leader_epoch);
    let metadata = partition.committed_metadata.as_ref();
    to_commit(
        (topic, partition.partition_index),
        position,
        metadata,
        context,
    )
}

/// Commits what can be; an error is that of all partitions that there are.
async fn commit(
    request: &TxnOffsetCommitRequest,
    topics: &[Result<Arc<Topic>, ErrorCode>],
    context: &Context<'_>,
) -> Result<(), ErrorCode> {
    let group_id = &request.group_id;
    if group_id.is_empty() {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    context.check_coordinator(group_id)?;
    let cluster = context.cluster;
    let producer = ProducerIdAndEpoch {
        id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let how = Enlistment::of_offset_commit(context.version);
    let expiration = cluster.settings.transactions.producer_id_expiration;
    let guard = lock(&cluster.groups).begin_verification(
        group_id,
        producer,
        how.adds(),
        expiration,
        Instant::now(),
    )?;
    if guard.is_some() {
        let partition = (OFFSETS_TOPIC.to_owned(), offsets_partition(group_id));
        let partitions = BTreeSet::from([partition]);
        let id = &request.transactional_id;
        let refused: BTreeMap<_, _> = cluster.enlist(id, producer, &partitions, how).await;
        if let Some(error) = refused.into_values().next() {
            return Err(error);
        }
    }
    let mut offsets = Vec::new();
    let mut ids: Vec<(Uuid, i32)> = Vec::new();
    for (asked, topic) in request.topics.iter().zip(topics) {
        for partition in &asked.partitions {
            if let Ok(topic) = known(topic, partition.partition_index) {
                ids.push((topic.id, partition.partition_index));
            }
            offsets.extend(check(topic, partition, context));
        }
    }
    let committer = CommitterIdentity {
        generation: request.generation_id_or_member_epoch,
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
    };
    let mut groups = lock(&cluster.groups);
    groups.check_transactional_commit(group_id, &committer, &ids)?;
    if offsets.is_empty() {
        return Ok(());
    }
    let changes: Vec<_> = match cluster.data {
        Some(_) => (offsets.iter())
            .map(|(key, committed)| committed.pending_change(group_id, producer, key))
            .collect(),
        None => Vec::new(),
    };
    let now = Instant::now();
    groups.commit_in_transaction(group_id, producer, guard, offsets, expiration, now)?;
    let kept = cluster.keep(&changes);
    kept.map_err(|_| ErrorCode::COORDINATOR_NOT_AVAILABLE)
}

/// An error as clients of this version know it, who are to try again where it may pass.
fn for_version(error: ErrorCode, version: i16) -> ErrorCode {
    match error {
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS | ErrorCode::NETWORK_EXCEPTION => {
            match version < LOADING_FROM {
                true => ErrorCode::COORDINATOR_NOT_AVAILABLE,
                false => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            }
        }
        error => error,
    }
}

fn answered(
    topic: &TxnOffsetCommitRequestTopic,
    error_of: impl Fn(&TxnOffsetCommitRequestPartition) -> ErrorCode,
) -> TxnOffsetCommitResponseTopic {
    let answer = |partition: &TxnOffsetCommitRequestPartition| TxnOffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: error_of(partition),
        ..Default::default()
    };
    TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(answer).collect(),
        ..Default::default()
    }
}
