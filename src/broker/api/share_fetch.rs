//! ShareFetch: acquires records for a member of a share group, and waits for some; acknowledges earlier ones along with that (KIP-932, KIP-1206,
//! KIP-1222).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::messages::ShareFetchRequest;
use protocol::messages::share_fetch_response::{
    AcquiredRecords, LeaderIdAndEpoch, NodeEndpoint, PartitionData, ShareFetchResponse,
    ShareFetchableTopicResponse,
};
use protocol::{ErrorCode, Uuid};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, timeout_at};

use super::records_placeholder::RecordsPlaceholders;
use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::AclOperation;
use crate::broker::share::{
    Acknowledged, Acquired, FINAL_EPOCH, Found, INITIAL_EPOCH, IdPartition, Limits, SessionKey,
    Shares,
};
use crate::broker::storage::{LogSlice, storage_error};

/// The acquire mode in which no record more than asked for is acquired.
const RECORD_LIMIT: i8 = 1;

impl Api for ShareFetchRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<ShareFetchResponse> {
        let key = match context.share_member(self.group_id.as_deref(), self.member_id.as_deref()) {
            Ok(key) => key,
            Err(error) => return Reply::Message(self.refusal(context.version, error)),
        };
        let wanted = match self.open(&key, context) {
            Ok(wanted) => wanted,
            Err(error) => return Reply::Message(self.refusal(context.version, error)),
        };
        let acknowledged = self.acknowledge(&key, context);
        let mut outcomes = BTreeMap::new();
        match self.share_session_epoch {
            FINAL_EPOCH => context.end_session(&key),
            _ if self.is_renew_ack => {}
            _ => {
                let fetching = Fetching::new(&self, context, &key, wanted);
                outcomes = fetching.until_something().await;
            }
        }
        context.cluster.groups_changed.notify_one();
        let mut filling = Filling {
            context,
            response: ShareFetchResponse {
                acquisition_lock_timeout_ms: context.lock_timeout_ms(&key.0),
                ..Default::default()
            },
            placeholders: RecordsPlaceholders::new(context.cluster.placeholder.clone()),
        };
        let answered: BTreeSet<IdPartition> = acknowledged
            .keys()
            .chain(outcomes.keys())
            .copied()
            .collect();
        for id in answered {
            filling.add(id, acknowledged.get(&id).copied(), outcomes.remove(&id));
        }
        Reply::WithRecords(filling.response, filling.placeholders)
    }
}

trait Opens {
    fn open(
        &self,
        key: &SessionKey,
        context: &Context<'_>,
    ) -> Result<BTreeSet<IdPartition>, ErrorCode>;
    fn acknowledge(
        &self,
        key: &SessionKey,
        context: &Context<'_>,
    ) -> BTreeMap<IdPartition, ErrorCode>;
}

impl Opens for ShareFetchRequest {
    /// Begins the session, or goes on with it. Returns what is to be fetched.
    fn open(
        &self,
        key: &SessionKey,
        context: &Context<'_>,
    ) -> Result<BTreeSet<IdPartition>, ErrorCode> {
        let wants = [
            self.max_wait_ms,
            self.min_bytes,
            self.max_bytes,
            self.max_records,
        ];
        if self.is_renew_ack && wants != [0; 4] {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let partitions = self.topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(move |it| (topic.topic_id, it))
        });
        let mut acknowledging = partitions
            .clone()
            .map(|(_, it)| &it.acknowledgement_batches);
        let acknowledges = acknowledging.any(|batches| !batches.is_empty());
        if self.share_session_epoch == INITIAL_EPOCH && acknowledges {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let sessions = context.cluster.share_sessions(context.node);
        let sessions = sessions.ok_or(ErrorCode::SHARE_SESSION_NOT_FOUND)?;
        if self.share_session_epoch == FINAL_EPOCH {
            lock(sessions).acknowledge(key, FINAL_EPOCH)?;
            return Ok(BTreeSet::new());
        }
        let named = partitions
            .map(|(topic, it)| (topic, it.partition_index))
            .collect();
        let forgotten = self.forgotten_topics_data.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(move |index| (topic.topic_id, *index))
        });
        lock(sessions).fetch(
            key,
            self.share_session_epoch,
            &named,
            &forgotten.collect(),
            context.connection.id,
        )
    }

    /// Takes what is acknowledged along with the fetch.
    fn acknowledge(
        &self,
        key: &SessionKey,
        context: &Context<'_>,
    ) -> BTreeMap<IdPartition, ErrorCode> {
        let mut answers = BTreeMap::new();
        for topic in &self.topics {
            for partition in &topic.partitions {
                let batches = &partition.acknowledgement_batches;
                if batches.is_empty() {
                    continue;
                }
                let runs: Vec<Acknowledged<'_>> = (batches.iter())
                    .map(|batch| Acknowledged {
                        first: batch.first_offset,
                        last: batch.last_offset,
                        types: &batch.acknowledge_types,
                    })
                    .collect();
                let id = (topic.topic_id, partition.partition_index);
                let answer = context.acknowledge(key, id, &runs, self.is_renew_ack);
                answers.insert(id, answer.err().unwrap_or(ErrorCode::NONE));
            }
        }
        answers
    }
}

/// What was acquired of a partition, with the batches that it is in.
struct Got {
    records: LogSlice,
    acquired: Vec<Acquired>,
}

/// One fetch's acquiring.
struct Fetching<'a> {
    context: &'a Context<'a>,
    key: &'a SessionKey,
    wanted: Vec<IdPartition>,
    max_bytes: usize,
    max_records: usize,
    strictly: bool,
    deadline: Instant,
}

impl<'a> Fetching<'a> {
    fn new(
        request: &ShareFetchRequest,
        context: &'a Context<'a>,
        key: &'a SessionKey,
        wanted: BTreeSet<IdPartition>,
    ) -> Self {
        let size = |value: i32| usize::try_from(value).unwrap_or(0);
        let wait = match request.min_bytes {
            1.. => u64::try_from(request.max_wait_ms).unwrap_or(0),
            _ => 0,
        };
        // Each fetch begins with another partition, so that none has to wait for ever.
        let mut wanted: Vec<_> = wanted.into_iter().collect();
        let turn = size(request.share_session_epoch) % wanted.len().max(1);
        wanted.rotate_left(turn);
        Self {
            context,
            key,
            wanted,
            max_bytes: size(request.max_bytes).min(context.cluster.settings.fetch_max_bytes),
            max_records: size(request.max_records),
            strictly: request.share_acquire_mode == RECORD_LIMIT,
            deadline: Instant::now() + Duration::from_millis(wait),
        }
    }

    /// Acquires, again and again until there is something, an error, or no more time.
    async fn until_something(&self) -> BTreeMap<IdPartition, Result<Got, ErrorCode>> {
        let mut waiter = None;
        loop {
            let outcomes = self.acquire_all(waiter.as_ref()).await;
            if !outcomes.is_empty() || self.wanted.is_empty() || Instant::now() >= self.deadline {
                return outcomes;
            }
            match &waiter {
                // Once more, now with the bell hung up, so that nothing is missed in between.
                None => waiter = Some(Arc::new(Notify::new())),
                Some(waiter) => drop(timeout_at(self.deadline, waiter.notified()).await),
            }
        }
    }

    async fn acquire_all(
        &self,
        waiter: Option<&Arc<Notify>>,
    ) -> BTreeMap<IdPartition, Result<Got, ErrorCode>> {
        let (mut room, mut left) = (self.max_bytes, self.max_records);
        let mut outcomes = BTreeMap::new();
        for id in &self.wanted {
            if left == 0 {
                break;
            }
            let acquired = self.acquire(*id, room, left, outcomes.is_empty(), waiter);
            let outcome = acquired.await;
            if let Ok(got) = &outcome {
                let count = |run: &Acquired| usize::try_from(run.last - run.first + 1).unwrap_or(0);
                left = left.saturating_sub(got.acquired.iter().map(count).sum());
                room = room.saturating_sub(got.records.len);
            }
            if !matches!(&outcome, Ok(got) if got.acquired.is_empty()) {
                outcomes.insert(*id, outcome);
            }
        }
        outcomes
    }

    /// What the log has and what the group has done with it are two things, each with its lock: what another member has acquired in between is
    /// not acquired.
    async fn acquire(
        &self,
        id: IdPartition,
        room: usize,
        records: usize,
        at_least_one: bool,
        waiter: Option<&Arc<Notify>>,
    ) -> Result<Got, ErrorCode> {
        let nothing = Got {
            records: LogSlice::default(),
            acquired: Vec::new(),
        };
        let topic = self.context.topic("", Some(&id.0), AclOperation::Read)?;
        let find = || {
            topic
                .partition(id.1)
                .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        };
        let log = {
            let mut partition = find()?;
            partition.check_leader(self.context.node, -1)?;
            if let Some(waiter) = waiter {
                partition.wait(waiter);
            }
            let (start, end) = (partition.log.start_offset(), partition.log.end_offset());
            (start, end, partition.leader_epoch)
        };
        let (group, member) = self.key;
        let found = {
            let cluster = self.context.cluster;
            let mut shares = lock(&cluster.shares);
            let is_new = shares.known(group, id).is_none();
            let (view, settings) = shares.view(group, id, log);
            if is_new {
                // Where a group begins it goes on, whatever the log has by then.
                let start = view.start();
                cluster.keep_with(|| Shares::start_change(group, id, start))?;
            }
            view.next(settings.partition_max_record_locks)
        };
        let Found::At(offset) = found else {
            return Ok(nothing);
        };
        let slice = {
            let partition = find()?;
            partition.check_leader(self.context.node, -1)?;
            partition.log.read_whole(offset, room, at_least_one)
        };
        let slice = slice.loaded().await.map_err(storage_error)?;
        let mut shares = lock(&self.context.cluster.shares);
        let (view, settings) = shares.view(group, id, log);
        let limits = Limits {
            records,
            strictly: self.strictly,
            locks: settings.partition_max_record_locks,
            lock_for: settings.record_lock_duration,
        };
        Ok(Got {
            acquired: view.acquire(member, &slice.bounds, limits, Instant::now()),
            records: slice,
        })
    }
}

/// Puts partitions into a response, in order.
struct Filling<'a> {
    context: &'a Context<'a>,
    response: ShareFetchResponse,
    placeholders: RecordsPlaceholders,
}

impl Filling<'_> {
    fn add(
        &mut self,
        (topic_id, partition_index): IdPartition,
        acknowledged: Option<ErrorCode>,
        outcome: Option<Result<Got, ErrorCode>>,
    ) {
        let mut data = PartitionData {
            partition_index,
            acknowledge_error_code: acknowledged.unwrap_or(ErrorCode::NONE).0,
            records: Some(bytes::Bytes::new()),
            ..Default::default()
        };
        match outcome {
            None => {}
            Some(Ok(got)) => {
                data.records = Some(self.placeholders.place(got.records));
                data.acquired_records = (got.acquired.iter())
                    .map(|run| AcquiredRecords {
                        first_offset: run.first,
                        last_offset: run.last,
                        delivery_count: run.delivery_count,
                        ..Default::default()
                    })
                    .collect();
            }
            Some(Err(error)) => {
                data.error_code = error;
                if error == ErrorCode::NOT_LEADER_OR_FOLLOWER {
                    self.hint(&topic_id, &mut data);
                }
            }
        }
        let responses = &mut self.response.responses;
        match responses
            .last_mut()
            .filter(|last| last.topic_id == topic_id)
        {
            Some(topic) => topic.partitions.push(data),
            None => responses.push(ShareFetchableTopicResponse {
                topic_id,
                partitions: vec![data],
                ..Default::default()
            }),
        }
    }

    fn hint(&mut self, topic: &Uuid, data: &mut PartitionData) {
        let leader = self.context.leader_of(topic, data.partition_index);
        let Some((leader_id, leader_epoch)) = leader else {
            return;
        };
        data.current_leader = LeaderIdAndEpoch {
            leader_id,
            leader_epoch,
            ..Default::default()
        };
        let directory = self.context.cluster.directory();
        let endpoints = &mut self.response.node_endpoints;
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
}
