//! What a broker's responses do: records to be polled, results of acknowledgements, new leaders, and what went wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::messages::share_fetch_response::{NodeEndpoint, PartitionData};
use protocol::messages::{ShareAcknowledgeResponse, ShareFetchResponse};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use super::acquired::{AcquiredReader, acquired_of};
use super::fetcher::Fetched;
use super::ledger::Sent;
use super::session::ShareSession;
use super::state::ShareContext;
use crate::kafka::cluster::{Broker, LeaderHint};
use crate::kafka::consumer::fetch::memory::Fetched as Memory;
use crate::kafka::group::heartbeats::IdPartition;
use crate::kafka::{Address, Error, ErrorKind, Result, TopicPartition, WriteOutcome};

/// A request to `node` came to nothing: nobody knows more of what it acknowledged than the error says.
pub(super) fn failed(context: &ShareContext, node: i32, sent: &[Sent], error: Error) {
    for sent in sent {
        let error = named(error.clone(), &sent.partition);
        context.answered(node, sent, Err(error));
    }
    context.cluster.refresh();
    broker_failed(context, node, error);
}

fn broker_failed(context: &ShareContext, node: i32, error: Error) {
    let error = not_spoken(error);
    let (now, patience) = (Instant::now(), context.config.client.request_timeout);
    let pause = |failures| context.pause(failures);
    let mut work = context.work();
    if error.kind() == ErrorKind::Protocol {
        work.refused((node, None), error.clone(), now, patience);
    }
    work.failed(node, error, now, patience, pause);
    drop(work);
    context.ready.notify_waiters();
}

/// Takes the response to a fetch. Whether anything was acquired.
pub(super) fn take_fetched(
    context: &ShareContext,
    node: i32,
    session: &mut ShareSession,
    fetched: Fetched,
) -> bool {
    let Fetched {
        mut response,
        wanted,
        sent,
        asked_at,
        frames,
        memory,
        mut reservation,
    } = fetched;
    if response.error_code != ErrorCode::NONE {
        session.lost();
        let message = response.error_message.as_deref();
        let error = Error::server(response.error_code, message).api(ApiKey::SHARE_FETCH);
        refused(context, node, &sent, error);
        return false;
    }
    session.fetched();
    let len = records_of(&response).map(Bytes::len).sum::<usize>();
    reservation.adjust(if len == 0 { 0 } else { memory.bytes.max(len) });
    drop(memory);
    let part = records_of(&response).find(|records| !records.is_empty());
    let frame = part.map(|part| (frames, part.clone()));
    let held = Arc::new(Memory::in_frame(reservation, frame));
    let locked_for = context.locks_for(response.acquisition_lock_timeout_ms);
    let mut taker = Taker {
        context,
        node,
        endpoints: std::mem::take(&mut response.node_endpoints),
        hints: Vec::new(),
        failures: Vec::new(),
        // The lock began after the fetch was asked for.
        expires: asked_at + locked_for.unwrap_or(context.config.client.request_timeout),
        memory: held,
    };
    let mut unanswered: BTreeMap<IdPartition, &Sent> = sent.iter().map(|it| (it.id, it)).collect();
    let mut is_fruitful = false;
    for topic in &mut response.responses {
        for data in &mut topic.partitions {
            let id = (topic.topic_id, data.partition_index);
            if let Some(sent) = unanswered.remove(&id) {
                let code = ErrorCode(data.acknowledge_error_code);
                let message = data.acknowledge_error_message.as_deref();
                let result = result_of(code, message, ApiKey::SHARE_FETCH, &sent.partition);
                context.answered(node, sent, result);
            }
            if let Some(partition) = wanted.get(&id) {
                is_fruitful |= taker.take(id, partition, data);
            } else if !data.acquired_records.is_empty() {
                let message = "the broker says that records were acquired of a partition that it was not asked for: they come again once their locks time out";
                let error = Error::new(ErrorKind::Protocol, message).api(ApiKey::SHARE_FETCH);
                let (now, patience) = (Instant::now(), context.config.client.request_timeout);
                context.work().refused((node, None), error, now, patience);
            }
        }
    }
    for sent in unanswered.into_values() {
        let error = left_out(&sent.partition, ApiKey::SHARE_FETCH);
        context.answered(node, sent, Err(error));
    }
    context.cluster.leader_hints(&taker.hints);
    let (now, patience) = (Instant::now(), context.config.client.request_timeout);
    let has_failed = !taker.failures.is_empty();
    let mut work = context.work();
    match has_failed && !is_fruitful {
        true => work.rest(node, now, |failures| context.pause(failures)),
        false => work.succeeded(node),
    }
    for (id, error) in taker.failures {
        work.refused((node, Some(id)), not_spoken(error), now, patience);
    }
    drop(work);
    if has_failed {
        context.cluster.refresh();
        context.ready.notify_waiters();
    }
    is_fruitful
}

fn records_of(response: &ShareFetchResponse) -> impl Iterator<Item = &Bytes> {
    let topics = response.responses.iter();
    let partitions = topics.flat_map(|topic| &topic.partitions);
    partitions.filter_map(|data| data.records.as_ref())
}

/// What all partitions of a response have in common.
struct Taker<'a> {
    context: &'a ShareContext,
    node: i32,
    endpoints: Vec<NodeEndpoint>,
    /// The leaders that the response names (KIP-951).
    hints: Vec<LeaderHint>,
    /// What went wrong with single partitions.
    failures: Vec<(IdPartition, Error)>,
    expires: Instant,
    memory: Arc<Memory>,
}

impl Taker<'_> {
    /// Whether anything was acquired.
    fn take(
        &mut self,
        id: IdPartition,
        partition: &TopicPartition,
        data: &mut PartitionData,
    ) -> bool {
        if data.error_code != ErrorCode::NONE {
            let TopicPartition {
                topic,
                partition: index,
            } = partition;
            let cluster = &self.context.cluster;
            cluster.answered_as_leader(topic, *index, self.node, data.error_code);
            self.hint(partition, data);
            let error = Error::server(data.error_code, data.error_message.as_deref());
            let error = named(error.api(ApiKey::SHARE_FETCH), partition).not_the_end();
            self.failures.push((id, error));
            return false;
        }
        if data.acquired_records.is_empty() {
            let sent = data.records.as_ref();
            if sent.is_some_and(|records| !records.is_empty()) {
                let message = "the broker has sent records, and says that none of them was acquired: they come again once their locks time out";
                let error = Error::new(ErrorKind::Protocol, message).api(ApiKey::SHARE_FETCH);
                self.failures.push((id, named(error, partition)));
                return false;
            }
            self.context.work().accepted((self.node, id), false);
            return false;
        }
        let Some(acquired) = acquired_of(&data.acquired_records) else {
            let message = "the broker says that records were acquired that cannot be: they come again once their locks time out";
            let error = Error::new(ErrorKind::Protocol, message).api(ApiKey::SHARE_FETCH);
            self.failures.push((id, named(error, partition)));
            return false;
        };
        self.context.counters.acquired(&acquired);
        let reader = AcquiredReader::new(
            (self.node, id),
            partition.clone(),
            acquired,
            data.records.take().unwrap_or_default(),
            self.expires,
            self.memory.clone(),
        );
        let mut work = self.context.work();
        // Whether any of it can be read shows later.
        work.accepted((self.node, id), false);
        work.buffers.push_back(reader);
        true
    }

    /// Notes the leader that the response names.
    fn hint(&mut self, partition: &TopicPartition, data: &PartitionData) {
        let leader = data.current_leader.leader_id;
        if leader < 0 {
            return;
        }
        let mut endpoints = self.endpoints.iter();
        let endpoint = endpoints.find(|endpoint| endpoint.node_id == leader);
        let endpoint = endpoint.and_then(|endpoint| {
            let port = u16::try_from(endpoint.port).ok()?;
            Some(Broker {
                id: leader,
                address: Address::new(endpoint.host.as_str(), port),
                rack: endpoint.rack.clone(),
            })
        });
        self.hints.push(LeaderHint {
            partition: partition.clone(),
            leader,
            leader_epoch: data.current_leader.leader_epoch,
            endpoint,
        });
    }
}

/// Takes the response to acknowledgements.
pub(super) fn take_acknowledged(
    context: &ShareContext,
    node: i32,
    session: &mut ShareSession,
    sent: Vec<Sent>,
    response: ShareAcknowledgeResponse,
) {
    if response.error_code != ErrorCode::NONE {
        session.lost();
        let message = response.error_message.as_deref();
        let error = Error::server(response.error_code, message).api(ApiKey::SHARE_ACKNOWLEDGE);
        refused(context, node, &sent, error);
        return;
    }
    session.acknowledged();
    context.locks_for(response.acquisition_lock_timeout_ms);
    let mut unanswered: BTreeMap<IdPartition, &Sent> = sent.iter().map(|it| (it.id, it)).collect();
    for topic in &response.responses {
        for data in &topic.partitions {
            let id = (topic.topic_id, data.partition_index);
            let Some(sent) = unanswered.remove(&id) else {
                continue;
            };
            let TopicPartition { topic, partition } = &sent.partition;
            let cluster = &context.cluster;
            cluster.answered_as_leader(topic, *partition, node, data.error_code);
            let (code, message) = (data.error_code, data.error_message.as_deref());
            let result = result_of(code, message, ApiKey::SHARE_ACKNOWLEDGE, &sent.partition);
            context.answered(node, sent, result);
        }
    }
    for sent in unanswered.into_values() {
        let error = left_out(&sent.partition, ApiKey::SHARE_ACKNOWLEDGE);
        context.answered(node, sent, Err(error));
    }
    context.work().succeeded(node);
}

/// The broker refused a request as a whole: nothing of it was applied.
fn refused(context: &ShareContext, node: i32, sent: &[Sent], error: Error) {
    let error = error.with_outcome(WriteOutcome::NotWritten);
    for sent in sent {
        context.answered(node, sent, Err(named(error.clone(), &sent.partition)));
    }
    // The next fetch begins another session, at once.
    let is_over = matches!(
        error.server_error(),
        Some(ErrorCode::SHARE_SESSION_NOT_FOUND | ErrorCode::INVALID_SHARE_SESSION_EPOCH)
    );
    match is_over && !sent.is_empty() {
        true => context.work().succeeded(node),
        false => broker_failed(context, node, error.not_the_end()),
    }
}

fn result_of(
    code: ErrorCode,
    message: Option<&str>,
    api: ApiKey,
    partition: &TopicPartition,
) -> Result<()> {
    match code {
        ErrorCode::NONE => Ok(()),
        code => Err(named(Error::server(code, message).api(api), partition)),
    }
}

fn left_out(partition: &TopicPartition, api: ApiKey) -> Error {
    let message = "the broker's answer leaves the partition out: its records may have been acknowledged or not";
    let error = Error::new(ErrorKind::Protocol, message).with_outcome(WriteOutcome::Unknown);
    named(error.api(api), partition)
}

fn named(error: Error, partition: &TopicPartition) -> Error {
    error.topic_partition(partition.topic.clone(), partition.partition)
}

/// Names what a broker lacks.
fn not_spoken(error: Error) -> Error {
    match error.kind() {
        ErrorKind::UnsupportedVersion => Error::new(
            ErrorKind::UnsupportedVersion,
            "the broker has no share groups (KIP-932, Kafka 4.2 and later, with the feature share.version = 1)",
        )
        .because(error)
        .tried_on(),
        _ => error,
    }
}
