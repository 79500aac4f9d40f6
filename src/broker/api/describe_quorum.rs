//! DescribeQuorum: the nodes have one memory, so all that run know all of the metadata, and the first of them does what a controller does (KIP-595,
//! KIP-836).

use protocol::ErrorCode;
use protocol::messages::describe_quorum_response::{PartitionData, ReplicaState, TopicData};
use protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};

use super::{Api, Context, Reply};
use crate::broker::security::AclOperation;

const METADATA: &str = "__cluster_metadata";

impl Api for DescribeQuorumRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<DescribeQuorumResponse> {
        if !context.allows_cluster(AclOperation::Describe) {
            let error = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            return Reply::Message(self.refusal(context.version, error));
        }
        let is_metadata = self.topics.len() == 1
            && self.topics.iter().all(|topic| {
                let of_it = topic.partitions.iter().map(|it| it.partition_index);
                topic.topic_name == METADATA && of_it.eq([0])
            });
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| match is_metadata {
                true => quorum(context),
                false => PartitionData {
                    partition_index: asked.partition_index,
                    error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    ..Default::default()
                },
            });
            TopicData {
                topic_name: topic.topic_name.clone(),
                partitions: partitions.collect(),
                ..Default::default()
            }
        });
        Reply::Message(DescribeQuorumResponse {
            topics: topics.collect(),
            ..Default::default()
        })
    }
}

fn quorum(context: &Context<'_>) -> PartitionData {
    let now_ms = context.cluster.settings.wall_clock.now_ms();
    let directory = context.cluster.directory();
    let (leader_epoch, high_watermark) = directory.version();
    let voters = directory.endpoints().map(|endpoint| {
        let is_running = directory.is_running(endpoint.node);
        let seen_ms = if is_running { now_ms } else { -1 };
        ReplicaState {
            replica_id: endpoint.node,
            log_end_offset: high_watermark,
            last_fetch_timestamp: seen_ms,
            last_caught_up_timestamp: seen_ms,
            ..Default::default()
        }
    });
    PartitionData {
        leader_id: directory.controller(),
        leader_epoch,
        high_watermark,
        current_voters: voters.collect(),
        ..Default::default()
    }
}
