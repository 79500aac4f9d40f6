//! ShareAcknowledge: what becomes of records that a member holds (KIP-932, KIP-1222). Fetches acknowledge by the same rules.

use std::collections::BTreeSet;

use protocol::ErrorCode;
use protocol::messages::share_acknowledge_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionData, ShareAcknowledgeResponse,
    ShareAcknowledgeTopicResponse,
};
use protocol::messages::{ShareAcknowledgeRequest, share_acknowledge_request};
use tokio::time::Instant;

use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::AclOperation;
use crate::broker::share::{Acknowledged, FINAL_EPOCH, IdPartition, SessionKey, Shares};

/// Acknowledges that a member is still at work on a record.
const RENEW: i8 = 4;

impl Api for ShareAcknowledgeRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<ShareAcknowledgeResponse> {
        let key = match context.share_member(self.group_id.as_deref(), self.member_id.as_deref()) {
            Ok(key) => key,
            Err(error) => return Reply::Message(self.refusal(context.version, error)),
        };
        let Some(sessions) = context.cluster.share_sessions(context.node) else {
            return Reply::Disconnect;
        };
        let epoch = self.share_session_epoch;
        if let Err(error) = lock(sessions).acknowledge(&key, epoch) {
            return Reply::Message(self.refusal(context.version, error));
        }
        let mut response = ShareAcknowledgeResponse {
            acquisition_lock_timeout_ms: context.lock_timeout_ms(&key.0),
            ..Default::default()
        };
        for topic in &self.topics {
            let partitions = topic.partitions.iter().map(|partition| {
                let index = partition.partition_index;
                let runs = runs_of(&partition.acknowledgement_batches);
                let id = (topic.topic_id, index);
                let answer = context.acknowledge(&key, id, &runs, self.is_renew_ack);
                partition_data(context, &mut response.node_endpoints, id, answer)
            });
            let partitions = partitions.collect();
            response.responses.push(ShareAcknowledgeTopicResponse {
                topic_id: topic.topic_id,
                partitions,
                ..Default::default()
            });
        }
        if epoch == FINAL_EPOCH {
            context.end_session(&key);
        }
        context.cluster.groups_changed.notify_one();
        Reply::Message(response)
    }
}

fn runs_of(batches: &[share_acknowledge_request::AcknowledgementBatch]) -> Vec<Acknowledged<'_>> {
    let runs = batches.iter().map(|batch| Acknowledged {
        first: batch.first_offset,
        last: batch.last_offset,
        types: &batch.acknowledge_types,
    });
    runs.collect()
}

fn partition_data(
    context: &Context<'_>,
    endpoints: &mut Vec<NodeEndpoint>,
    (topic, partition_index): IdPartition,
    answer: Result<(), ErrorCode>,
) -> PartitionData {
    let mut data = PartitionData {
        partition_index,
        error_code: answer.err().unwrap_or(ErrorCode::NONE),
        ..Default::default()
    };
    if data.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER
        && let Some((leader_id, leader_epoch)) = context.leader_of(&topic, partition_index)
    {
        data.current_leader = LeaderIdAndEpoch {
            leader_id,
            leader_epoch,
            ..Default::default()
        };
        let directory = context.cluster.directory();
        if let Some(endpoint) = directory.endpoint(leader_id)
            && !endpoints.iter().any(|known| known.node_id == leader_id)
        {
            endpoints.push(NodeEndpoint {
                node_id: leader_id,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                ..Default::default()
            });
        }
    }
    data
}

impl Context<'_> {
    /// Whose session a request is about, if the client may read as one of the group.
    pub(super) fn share_member(
        &self,
        group: Option<&str>,
        member: Option<&str>,
    ) -> Result<SessionKey, ErrorCode> {
        let (Some(group), Some(member)) = (group, member) else {
            return Err(ErrorCode::INVALID_REQUEST);
        };
        self.check_group(AclOperation::Read, group)?;
        if group.is_empty() || member.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        Ok((group.to_owned(), member.to_owned()))
    }

    /// For how long records of this group are locked.
    pub(super) fn lock_timeout_ms(&self, group: &str) -> i32 {
        let settings = lock(&self.cluster.shares).settings(group);
        i32::try_from(settings.record_lock_duration.as_millis()).unwrap_or(i32::MAX)
    }

    /// Takes what a member acknowledges of one partition: all of it, or nothing.
    pub(super) fn acknowledge(
        &self,
        (group, member): &SessionKey,
        id: IdPartition,
        runs: &[Acknowledged<'_>],
        may_renew: bool,
    ) -> Result<(), ErrorCode> {
        let topic = self.topic("", Some(&id.0), AclOperation::Read)?;
        {
            let partition = topic.partition(id.1);
            let partition = partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
            partition.check_leader(self.node, -1)?;
        }
        let mut kinds = runs.iter().flat_map(|run| run.types);
        if !may_renew && kinds.any(|kind| *kind == RENEW) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        {
            let mut shares = lock(&self.cluster.shares);
            let settings = shares.settings(group);
            let view = shares.known(group, id);
            let view = view.ok_or(ErrorCode::INVALID_RECORD_STATE)?;
            let until = Instant::now() + settings.record_lock_duration;
            let before = view.start();
            view.acknowledge(member, runs, settings.delivery_count_limit, until)?;
            let start = view.start();
            if start != before {
                (self.cluster).keep_with(|| Shares::start_change(group, id, start))?;
            }
        }
        self.cluster.wake_share_fetches(&BTreeSet::from([id]));
        Ok(())
    }

    /// Ends a member's session: what it holds is others'.
    pub(super) fn end_session(&self, key: &SessionKey) {
        let Some(sessions) = self.cluster.share_sessions(self.node) else {
            return;
        };
        let ids = lock(sessions).end(key);
        self.cluster.share_session_ended(self.node, key, ids);
    }

    /// Who leads a partition, and in which epoch.
    pub(super) fn leader_of(&self, topic: &protocol::Uuid, index: i32) -> Option<(i32, i32)> {
        let topic = self.cluster.directory().topic_by_id(topic)?;
        let partition = topic.partition(index)?;
        Some((partition.leader?, partition.leader_epoch))
    }
}
