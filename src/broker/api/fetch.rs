//! Fetch: reads batches, and waits for more of them (KIP-74, KIP-227, KIP-320, KIP-392's fields without its replicas, KIP-951).

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use protocol::messages::FetchRequest;
use protocol::messages::fetch_request::{FetchTopic, ForgottenTopic};
use protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    NodeEndpoint, PartitionData,
};
use protocol::{ErrorCode, Uuid};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, timeout_at};

use super::records_placeholder::RecordsPlaceholders;
use super::{Api, Context, Reply};
use crate::broker::fetch_session::{Answered, Context as Session, PartitionKey, Wanted};
use crate::broker::lock;
use crate::broker::partition::{Read, ReadRequest};
use crate::broker::security::AclOperation;
use crate::broker::storage::storage_error;
use crate::broker::transactions::Aborted;

const READ_COMMITTED: i8 = 1;

impl Api for FetchRequest {
    async fn handle(mut self, context: &Context<'_>) -> Reply<FetchResponse> {
        let uses_topic_ids = context.version >= FetchRequest::TOPIC_IDS_FROM;
        let named = named(std::mem::take(&mut self.topics), uses_topic_ids);
        let forgotten = forgotten(&self.forgotten_topics_data, uses_topic_ids);
        let Some(sessions) = context.cluster.sessions(context.node) else {
            return Reply::Disconnect;
        };
        let now = Instant::now();
        let opened = lock(sessions).open(
            self.session_id,
            self.session_epoch,
            uses_topic_ids,
            named,
            &forgotten,
            now,
        );
        let (session, wanted) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                return Reply::Message(FetchResponse {
                    error_code: error,
                    ..Default::default()
                });
            }
        };
        let outcomes = read_until_enough(&wanted, &Limits::of(&self, context, now), context).await;
        let answers: Vec<_> = outcomes.iter().map(answered).collect();
        let mut sends = vec![true; outcomes.len()];
        let session_id = match session {
            Session::Sessionless => 0,
            Session::New => {
                let partitions = wanted.iter().cloned().zip(answers).collect();
                let mut sessions = lock(sessions);
                sessions.create(
                    partitions,
                    uses_topic_ids,
                    Instant::now(),
                    &mut lock(&context.cluster.random),
                )
            }
            Session::Incremental { session_id } => {
                let mut sessions = lock(sessions);
                for ((sends, wanted), answer) in sends.iter_mut().zip(&wanted).zip(&answers) {
                    *sends = sessions.must_answer(session_id, &wanted.key, answer);
                }
                session_id
            }
        };
        let mut filling = Filling {
            context,
            response: FetchResponse {
                session_id,
                ..Default::default()
            },
            placeholders: RecordsPlaceholders::new(context.cluster.placeholder.clone()),
        };
        for ((wanted, outcome), _) in wanted
            .into_iter()
            .zip(outcomes)
            .zip(sends)
            .filter(|(_, sends)| *sends)
        {
            filling.add(wanted.key, outcome);
        }
        Reply::WithRecords(filling.response, filling.placeholders)
    }

    fn refusal(&self, version: i16, error: ErrorCode) -> FetchResponse {
        // An incremental request may name no partition at all, so the error stands on top, where there is a place for it.
        if version >= 7 {
            return FetchResponse {
                error_code: error,
                ..Default::default()
            };
        }
        let refused = |topic: &FetchTopic| FetchableTopicResponse {
            topic: topic.topic.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| failed(partition.partition, error))
                .collect(),
            ..Default::default()
        };
        FetchResponse {
            responses: self.topics.iter().map(refused).collect(),
            ..Default::default()
        }
    }
}

/// One partition's share of a fetch; an error carries the leader, when it is known.
type Outcome = Result<Read, Failure>;

#[derive(Clone, Copy, Debug)]
struct Failure {
    error: ErrorCode,
    leader: Option<(i32, i32)>,
}

impl From<ErrorCode> for Failure {
    fn from(error: ErrorCode) -> Self {
        Self {
            error,
            leader: None,
        }
    }
}

/// How much a fetch wants, and how long it waits for it.
struct Limits {
    min_bytes: usize,
    max_bytes: usize,
    deadline: Instant,
    read_committed: bool,
}

impl Limits {
    fn of(request: &FetchRequest, context: &Context<'_>, now: Instant) -> Self {
        let size = |value: i32| usize::try_from(value).unwrap_or(0);
        let max_bytes = size(request.max_bytes).min(context.cluster.settings.fetch_max_bytes);
        let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        Self {
            min_bytes: size(request.min_bytes).min(max_bytes),
            max_bytes,
            deadline: now + max_wait,
            read_committed: request.isolation_level == READ_COMMITTED,
        }
    }
}

/// Reads all partitions, again and again until there is enough, an error, or no more time.
async fn read_until_enough(
    wanted: &[Wanted],
    limits: &Limits,
    context: &Context<'_>,
) -> Vec<Outcome> {
    let mut waiter = None;
    loop {
        let outcomes = read_all(wanted, limits, context, waiter.as_ref()).await;
        let bytes: usize = outcomes.iter().flatten().map(|read| read.records.len).sum();
        let has_news = |outcome: &Outcome| {
            outcome
                .as_ref()
                .map_or(true, |read| read.diverging.is_some())
        };
        if wanted.is_empty() || bytes >= limits.min_bytes || outcomes.iter().any(has_news) {
            return outcomes;
        }
        if Instant::now() >= limits.deadline {
            return outcomes;
        }
        match &waiter {
            // Read once more, now with the bell hung up, so that nothing is missed in between.
            None => waiter = Some(Arc::new(Notify::new())),
            // Whether woken or late, what counts is what can be read then.
            Some(waiter) => drop(timeout_at(limits.deadline, waiter.notified()).await),
        }
    }
}

async fn read_all(
    wanted: &[Wanted],
    limits: &Limits,
    context: &Context<'_>,
    waiter: Option<&Arc<Notify>>,
) -> Vec<Outcome> {
    let (mut room, mut nothing_yet) = (limits.max_bytes, true);
    let mut outcomes = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let read = || read_partition(wanted, limits, room, nothing_yet, context, waiter);
        let outcome = loaded(read).await;
        if let Ok(read) = &outcome {
            room = room.saturating_sub(read.records.len);
            nothing_yet &= read.records.len == 0;
        }
        outcomes.push(outcome);
    }
    outcomes
}

/// Reads, with the records that are in files. Where retention, or the end of the topic, was faster, the partition is asked once more, and says so.
async fn loaded(read: impl Fn() -> Outcome) -> Outcome {
    match read()?.loaded().await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let read = read()?.loaded().await;
            read.map_err(|error| storage_error(error).into())
        }
        read => read.map_err(|error| storage_error(error).into()),
    }
}

fn read_partition(
    wanted: &Wanted,
    limits: &Limits,
    room: usize,
    at_least_one: bool,
    context: &Context<'_>,
    waiter: Option<&Arc<Notify>>,
) -> Outcome {
    let by_id = context.version >= FetchRequest::TOPIC_IDS_FROM;
    let key = &wanted.key;
    let topic = context.topic(
        &key.topic,
        by_id.then_some(&key.topic_id),
        AclOperation::Read,
    )?;
    let mut partition = topic
        .partition(wanted.key.partition)
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    if let Some(waiter) = waiter {
        partition.wait(waiter);
    }
    let request = ReadRequest {
        node: context.node,
        fetch_offset: wanted.fetch_offset,
        current_leader_epoch: wanted.current_leader_epoch,
        last_fetched_epoch: wanted.last_fetched_epoch,
        max_bytes: usize::try_from(wanted.max_bytes).unwrap_or(0).min(room),
        at_least_one,
        read_committed: limits.read_committed,
    };
    partition.read(&request).map_err(|error| Failure {
        error,
        leader: partition
            .leader
            .map(|leader| (leader, partition.leader_epoch)),
    })
}

fn answered(outcome: &Outcome) -> Answered {
    match outcome {
        Ok(read) => Answered {
            failed: false,
            records_bytes: read.records.len,
            high_watermark: read.high_watermark,
            log_start_offset: read.log_start_offset,
            diverged: read.diverging.is_some(),
        },
        Err(_) => Answered {
            failed: true,
            records_bytes: 0,
            high_watermark: -1,
            log_start_offset: -1,
            diverged: false,
        },
    }
}

/// Puts partitions into a response, in order.
struct Filling<'a> {
    context: &'a Context<'a>,
    response: FetchResponse,
    placeholders: RecordsPlaceholders,
}

impl Filling<'_> {
    fn add(&mut self, key: PartitionKey, outcome: Outcome) {
        let data = match outcome {
            Ok(read) => self.partition_data(key.partition, read),
            Err(failure) => self.failed_partition(key.partition, failure),
        };
        let responses = &mut self.response.responses;
        match responses
            .last_mut()
            .filter(|last| last.topic == key.topic && last.topic_id == key.topic_id)
        {
            Some(topic) => topic.partitions.push(data),
            None => responses.push(FetchableTopicResponse {
                topic: key.topic,
                topic_id: key.topic_id,
                partitions: vec![data],
                ..Default::default()
            }),
        }
    }

    fn partition_data(&mut self, partition_index: i32, read: Read) -> PartitionData {
        let diverging = read.diverging.map(|(epoch, end_offset)| EpochEndOffset {
            epoch,
            end_offset,
            ..Default::default()
        });
        PartitionData {
            partition_index,
            high_watermark: read.high_watermark,
            last_stable_offset: read.last_stable_offset,
            log_start_offset: read.log_start_offset,
            diverging_epoch: diverging.unwrap_or_default(),
            aborted_transactions: read
                .aborted
                .map(|aborted| aborted.iter().map(aborted_transaction).collect()),
            records: Some(self.placeholders.place(read.records)),
            ..Default::default()
        }
    }

    fn failed_partition(&mut self, partition_index: i32, failure: Failure) -> PartitionData {
        let unknown = matches!(
            failure.error,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID
        );
        let data = PartitionData {
            // Kafka has a list without entries for what is unknown, and none for other errors.
            aborted_transactions: unknown.then(Vec::new),
            ..failed(partition_index, failure.error)
        };
        let moved = matches!(
            failure.error,
            ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH
        );
        let Some((leader_id, leader_epoch)) = failure.leader else {
            return data;
        };
        if !moved || self.context.version < FetchRequest::LEADER_HINTS_FROM {
            return data;
        }
        self.add_endpoint(leader_id);
        PartitionData {
            current_leader: LeaderIdAndEpoch {
                leader_id,
                leader_epoch,
                ..Default::default()
            },
            ..data
        }
    }

    fn add_endpoint(&mut self, node_id: i32) {
        let directory = self.context.cluster.directory();
        let endpoints = &mut self.response.node_endpoints;
        if let Some(endpoint) = directory.endpoint(node_id)
            && !endpoints.iter().any(|known| known.node_id == node_id)
        {
            let (host, port) = (endpoint.host.clone(), i32::from(endpoint.port));
            endpoints.push(NodeEndpoint {
                node_id,
                host,
                port,
                ..Default::default()
            });
        }
    }
}

fn failed(partition_index: i32, error: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index,
        error_code: error,
        high_watermark: -1,
        records: Some(Bytes::new()),
        ..Default::default()
    }
}

fn aborted_transaction(aborted: &Aborted) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: aborted.producer_id,
        first_offset: aborted.first_offset,
        ..Default::default()
    }
}

fn named(topics: Vec<FetchTopic>, by_id: bool) -> Vec<Wanted> {
    let mut named = Vec::new();
    for topic in topics {
        for partition in topic.partitions {
            named.push(Wanted {
                key: partition_key(&topic.topic, topic.topic_id, partition.partition, by_id),
                fetch_offset: partition.fetch_offset,
                max_bytes: partition.partition_max_bytes,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
            });
        }
    }
    named
}

fn forgotten(topics: &[ForgottenTopic], by_id: bool) -> Vec<PartitionKey> {
    let keys = |topic: &ForgottenTopic| {
        let key = |partition: &i32| partition_key(&topic.topic, topic.topic_id, *partition, by_id);
        topic.partitions.iter().map(key).collect::<Vec<_>>()
    };
    topics.iter().flat_map(keys).collect()
}

fn partition_key(topic: &str, topic_id: Uuid, partition: i32, by_id: bool) -> PartitionKey {
    match by_id {
        true => PartitionKey {
            topic: String::new(),
            topic_id,
            partition,
        },
        false => PartitionKey {
            topic: topic.to_owned(),
            topic_id: Uuid::ZERO,
            partition,
        },
    }
}
