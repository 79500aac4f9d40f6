//! Asking leaders for offsets by time: the start and the end of the log, and the first record of a time. In: partitions with a timestamp
//! (-1 latest, -2 earliest). Out: offset and leader epoch of each, or the error of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::kafka::cluster::{Answers, Asked, Channel};
use crate::kafka::consumer::IsolationLevel;
use crate::kafka::consumer::state::ConsumerContext;
use crate::kafka::net::broker_timeout_ms;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// What to ask about one partition.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    pub partition: TopicPartition,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

/// What a leader answered; an offset of -1 is "there is none".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub offset: i64,
    pub timestamp: i64,
    pub leader_epoch: Option<i32>,
}

/// Asks `node`, once. Every lookup has its answer; an error outside is about all of them.
pub(crate) async fn ask(
    context: &ConsumerContext,
    node: i32,
    lookups: &[Lookup],
    deadline: Instant,
) -> Result<Answers<Found>> {
    let request = request(lookups, context.config.isolation_level, deadline);
    let response = context
        .cluster
        .call(node, Channel::Shared, &request, deadline)
        .await?;
    let answers = lookups.iter().map(|lookup| {
        let answer = answer_to(lookup, &response);
        let code = answer.as_ref().err().and_then(Error::server_error);
        if let Some(code) = code {
            let TopicPartition { topic, partition } = &lookup.partition;
            context
                .cluster
                .answered_as_leader(topic, *partition, node, ErrorCode(code.0));
        }
        (lookup.partition.clone(), answer)
    });
    Ok(answers.collect())
}

/// Asks the leaders of all of them, again and again with pauses while that may help, until `deadline`.
pub(crate) async fn ask_leaders(
    context: &ConsumerContext,
    open: BTreeMap<TopicPartition, i64>,
    deadline: Instant,
) -> Result<BTreeMap<TopicPartition, Found>> {
    let ask = |node, asked: Vec<Asked<i64>>| async move {
        let lookup = |asked: Asked<i64>| Lookup {
            partition: asked.partition,
            timestamp: asked.question,
            leader_epoch: asked.leader_epoch,
        };
        let lookups: Vec<_> = asked.into_iter().map(lookup).collect();
        ask(context, node, &lookups, deadline).await
    };
    context.cluster.fan_out(open, deadline, ask).await
}

fn request(
    lookups: &[Lookup],
    isolation_level: IsolationLevel,
    deadline: Instant,
) -> ListOffsetsRequest {
    let mut topics: BTreeMap<Arc<str>, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for lookup in lookups {
        topics
            .entry(lookup.partition.topic.clone())
            .or_default()
            .push(ListOffsetsPartition {
                partition_index: lookup.partition.partition,
                current_leader_epoch: lookup.leader_epoch,
                timestamp: lookup.timestamp,
                ..Default::default()
            });
    }
    let left = deadline.saturating_duration_since(Instant::now());
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(isolation_level == IsolationLevel::ReadCommitted),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| ListOffsetsTopic {
                name: name.to_string(),
                partitions,
                ..Default::default()
            })
            .collect(),
        timeout_ms: broker_timeout_ms(left),
        ..Default::default()
    }
}

fn answer_to(lookup: &Lookup, response: &ListOffsetsResponse) -> Result<Found> {
    let TopicPartition { topic, partition } = &lookup.partition;
    let answer = response
        .topics
        .iter()
        .filter(|answered| *answered.name == **topic)
        .flat_map(|answered| &answered.partitions)
        .find(|answered| answered.partition_index == *partition);
    match answer {
        Some(ListOffsetsPartitionResponse {
            error_code: ErrorCode::NONE,
            offset,
            timestamp,
            leader_epoch,
            ..
        }) => Ok(Found {
            offset: *offset,
            timestamp: *timestamp,
            leader_epoch: Some(*leader_epoch).filter(|epoch| *epoch >= 0),
        }),
        Some(refused) => Err(Error::server(refused.error_code, None)
            .api(ApiKey::LIST_OFFSETS)
            .topic_partition(topic.clone(), *partition)),
        None => Err(left_out(&lookup.partition).api(ApiKey::LIST_OFFSETS)),
    }
}

/// The error for a partition that was asked about in vain.
pub(crate) fn left_out(partition: &TopicPartition) -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the broker left the partition out of its answer",
    )
    .topic_partition(partition.topic.clone(), partition.partition)
}
