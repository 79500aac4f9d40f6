//! Produce: checks batches and appends them.

mod transactional;

use std::borrow::Cow;
use std::sync::Mutex;

use protocol::messages::ProduceRequest;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    ProduceResponse, TopicProduceResponse,
};
use protocol::{ErrorCode, VersionRange};
use tokio::time::Instant;

use super::{Api, Context, Reply};
use crate::broker::batch::{self, Refusal};
use crate::broker::cluster::Cluster;
use crate::broker::partition::AppendOptions;
use crate::broker::quota::Quota;
use crate::broker::security::AclOperation;
use crate::broker::topic::Topic;
use transactional::{Enlisted, enlist};

impl Api for ProduceRequest {
    // Versions 0 to 2 are offered, for the sake of old librdkafka, and not spoken (KAFKA-18659).
    const OFFERED: VersionRange = VersionRange { min: 0, max: 13 };

    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<ProduceResponse> {
        let acks = self.acks;
        let enlisted = match (-1..=1).contains(&acks) {
            true => enlist(&self, context).await,
            false => Err(ErrorCode::INVALID_REQUIRED_ACKS),
        };
        let enlisted = match enlisted {
            Ok(enlisted) => enlisted,
            Err(_) if acks == 0 => return Reply::Disconnect,
            Err(error) => return Reply::Message(self.refusal(context.version, error)),
        };
        let mut response = ProduceResponse::default();
        for topic in self.topic_data {
            let endpoints = &mut response.node_endpoints;
            let answered = produce_topic(topic, acks, &enlisted, context, endpoints);
            response.responses.push(answered);
        }
        if acks != 0 {
            return Reply::Message(response);
        }
        // Without answers, closing the connection is the only way to say that something failed.
        let mut partitions = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses);
        if partitions.any(|partition| partition.error_code != ErrorCode::NONE) {
            Reply::Disconnect
        } else {
            Reply::Nothing
        }
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> ProduceResponse {
        let refused = |topic: &TopicProduceData| TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partition_responses: topic
                .partition_data
                .iter()
                .map(|data| failed(data.index, error.into()))
                .collect(),
            ..Default::default()
        };
        ProduceResponse {
            responses: self.topic_data.iter().map(refused).collect(),
            ..Default::default()
        }
    }

    fn is_answered(&self) -> bool {
        self.acks != 0
    }

    fn quota<'a>(&self, cluster: &'a Cluster) -> Option<(&'a Mutex<Quota>, usize)> {
        let quota = cluster.produce_quota.as_ref()?;
        let data = self
            .topic_data
            .iter()
            .flat_map(|topic| &topic.partition_data);
        let bytes = data.filter_map(|data| Some(data.records.as_ref()?.len()));
        Some((quota, bytes.sum()))
    }
}

fn produce_topic(
    data: TopicProduceData,
    acks: i16,
    enlisted: &Enlisted,
    context: &Context<'_>,
    endpoints: &mut Vec<NodeEndpoint>,
) -> TopicProduceResponse {
    let by_id = context.version >= ProduceRequest::TOPIC_IDS_FROM;
    let topic = context.topic(
        &data.name,
        by_id.then_some(&data.topic_id),
        AclOperation::Write,
    );
    let mut partition_responses = Vec::with_capacity(data.partition_data.len());
    for partition in data.partition_data {
        let index = partition.index;
        partition_responses.push(match &topic {
            Err(error) => failed(index, (*error).into()),
            Ok(topic) => match append(topic, partition, acks, enlisted, context) {
                Ok(response) => response,
                Err(refusal) if refusal.error == ErrorCode::NOT_LEADER_OR_FOLLOWER => {
                    not_leader(topic, index, context, endpoints)
                }
                Err(refusal) => failed(index, refusal),
            },
        });
    }
    TopicProduceResponse {
        name: data.name,
        topic_id: data.topic_id,
        partition_responses,
        ..Default::default()
    }
}

fn append(
    topic: &Topic,
    data: PartitionProduceData,
    acks: i16,
    enlisted: &Enlisted,
    context: &Context<'_>,
) -> Result<PartitionProduceResponse, Refusal> {
    let guard = enlisted.guard(&topic.name, data.index)?;
    let settings = &topic.settings;
    // The CRC is the expensive part: before the lock.
    let now_ms = context.cluster.settings.wall_clock.now_ms();
    let checked = batch::check(data.records, context.version, settings, now_ms);
    let mut partition = topic
        .partition(data.index)
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    partition.check_leader(context.node, -1)?;
    let log_start_offset = partition.log.start_offset();
    let late = |refusal: Refusal| PartitionProduceResponse {
        log_start_offset,
        ..failed(data.index, refusal)
    };
    let produced = match checked {
        Ok(produced) => produced,
        Err(refusal) if refusal.by_log => return Ok(late(refusal)),
        Err(refusal) => return Err(refusal),
    };
    let min_in_sync = if acks == -1 {
        settings.min_in_sync_replicas
    } else {
        0
    };
    let options = AppendOptions {
        min_in_sync,
        retention_bytes: settings.retention_bytes,
        guard,
        now: Instant::now(),
    };
    let appended = match partition.append(context.node, produced, &options) {
        Err(
            error @ (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
            | ErrorCode::INVALID_PRODUCER_EPOCH
            | ErrorCode::INVALID_TXN_STATE),
        ) => {
            return Ok(late(error.into()));
        }
        appended => appended?,
    };
    Ok(PartitionProduceResponse {
        index: data.index,
        base_offset: appended.base_offset,
        log_start_offset: appended.log_start_offset,
        log_append_time_ms: match settings.log_append_time {
            true => appended.max_timestamp_ms.unwrap_or(-1),
            false => -1,
        },
        ..Default::default()
    })
}

fn failed(index: i32, refusal: Refusal) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: refusal.error,
        base_offset: -1,
        error_message: refusal.message.map(Cow::into_owned),
        record_errors: refusal.records.into_iter().map(blamed).collect(),
        ..Default::default()
    }
}

fn blamed((batch_index, message): (i32, String)) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage {
        batch_index,
        batch_index_error_message: Some(message),
        ..Default::default()
    }
}

fn not_leader(
    topic: &Topic,
    index: i32,
    context: &Context<'_>,
    endpoints: &mut Vec<NodeEndpoint>,
) -> PartitionProduceResponse {
    let response = failed(index, ErrorCode::NOT_LEADER_OR_FOLLOWER.into());
    if context.version < ProduceRequest::LEADER_HINTS_FROM {
        return response;
    }
    let leader = topic
        .partition(index)
        .and_then(|partition| Some((partition.leader?, partition.leader_epoch)));
    let Some((leader_id, leader_epoch)) = leader else {
        return response;
    };
    if let Some(endpoint) = context.cluster.directory().endpoint(leader_id)
        && !endpoints.iter().any(|known| known.node_id == leader_id)
    {
        endpoints.push(NodeEndpoint {
            node_id: leader_id,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            ..Default::default()
        });
    }
    let current_leader = LeaderIdAndEpoch {
        leader_id,
        leader_epoch,
        ..Default::default()
    };
    PartitionProduceResponse {
        current_leader,
        ..response
    }
}
