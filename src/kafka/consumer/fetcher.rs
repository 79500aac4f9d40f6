//! The task that fetches from one broker: the next fetch is on its way while the last one is read. In: what is wanted from that broker.
//! Out: cursors in the queue, or what went wrong with a partition.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use protocol::messages::fetch_response::{NodeEndpoint, PartitionData};
use protocol::messages::{FetchRequest, FetchResponse};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::time::Instant;

use super::budget::Charge;
use super::core::{Core, Fetch, NextFetch, State};
use super::cursor::{Cursor, Glance, glance};
use super::fetch_session::{FetchSession, TOPIC_IDS_FROM};
use super::positions::{Position, Wanted, Watermarks};
use super::read_committed::AbortedTransactions;
use super::wait::wait;
use super::{IsolationLevel, OffsetReset};
use crate::kafka::cluster::{Broker, Purpose};
use crate::kafka::net::{Address, Connection, FramePool};
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// For how long a replica that the leader named is fetched from before the leader is asked again (KIP-392).
const PREFERRED_REPLICA_FOR: Duration = Duration::from_secs(300);

/// Fetches from `node` until nothing is to be fetched from there.
pub(crate) async fn run(core: Arc<Core>, node: i32) {
    let mut session = FetchSession::default();
    loop {
        let mut changed = pin!(core.changed.notified());
        changed.as_mut().enable();
        match core.next_fetch(node) {
            NextFetch::Send(fetch) => fetch_once(&core, node, &mut session, fetch).await,
            NextFetch::Wait(until) => wait(changed, until).await,
            NextFetch::Retire => break,
        }
    }
    end_session(&core, node, session).await;
}

async fn end_session(core: &Core, node: i32, mut session: FetchSession) {
    if let Some(request) = session.close() {
        // A courtesy: the broker forgets sessions by itself.
        let _ = core
            .cluster
            .call(node, Purpose::Fetch, &request, core.deadline())
            .await;
    }
}

async fn fetch_once(core: &Core, node: i32, session: &mut FetchSession, fetch: Fetch) {
    let Fetch {
        wanted,
        max_bytes,
        charge,
    } = fetch;
    let answer = ask(core, node, session, &wanted, max_bytes).await;
    core.fetch_over();
    let error = match answer {
        Ok(mut answer) if answer.response.error_code == ErrorCode::NONE => {
            session.answered(answer.response.session_id);
            return Intake {
                core,
                node,
                wanted: &wanted,
                endpoints: std::mem::take(&mut answer.response.node_endpoints),
            }
            .take(answer, charge);
        }
        Ok(answer) if session.refused(answer.response.error_code) => {
            return core.changed.notify_waiters();
        }
        Ok(answer) => Error::server(answer.response.error_code, None).api(ApiKey::FETCH),
        Err(error) => error,
    };
    session.lost();
    core.failed(
        wanted.iter().map(|want| (&want.partition, want.stamp)),
        &error,
    );
}

/// An answer, and what is needed to read it.
struct Answer {
    response: FetchResponse,
    version: i16,
    frames: FramePool,
}

async fn ask(
    core: &Core,
    node: i32,
    session: &mut FetchSession,
    wanted: &[Wanted],
    max_bytes: usize,
) -> Result<Answer> {
    let config = &core.config;
    let deadline = core.deadline() + config.fetch_max_wait;
    let connection = core
        .cluster
        .connection(node, Purpose::Fetch, deadline)
        .await?;
    let version = fetch_version(&connection, wanted)?;
    let request = FetchRequest {
        max_wait_ms: i32::try_from(config.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: wire_size(config.fetch_min_bytes),
        max_bytes: wire_size(max_bytes),
        isolation_level: i8::from(config.isolation_level == IsolationLevel::ReadCommitted),
        rack_id: config.client_rack.clone().unwrap_or_default(),
        ..session.request(wanted, wire_size(config.max_partition_fetch_bytes), version)
    };
    let response = connection.call_at(&request, version, deadline).await?;
    Ok(Answer {
        response,
        version,
        frames: connection.pool().clone(),
    })
}

/// The newest version, or the newest that names topics by name when some id is not known.
fn fetch_version(connection: &Connection, wanted: &[Wanted]) -> Result<i16> {
    let newest = connection.version_of::<FetchRequest>()?;
    let nameless = wanted.iter().any(|want| want.topic_id == Uuid::ZERO);
    Ok(if nameless {
        newest.min(TOPIC_IDS_FROM - 1)
    } else {
        newest
    })
}

fn wire_size(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// Takes an answer apart.
struct Intake<'a> {
    core: &'a Core,
    node: i32,
    wanted: &'a [Wanted],
    endpoints: Vec<NodeEndpoint>,
}

impl Intake<'_> {
    fn take(&self, answer: Answer, mut charge: Charge) {
        let Answer {
            mut response,
            version,
            frames,
        } = answer;
        let partitions = || {
            response
                .responses
                .iter()
                .flat_map(|topic| &topic.partitions)
        };
        let records = || partitions().filter_map(|data| data.records.as_ref());
        charge.adjust(records().map(Bytes::len).sum());
        if let Some(part) = records().find(|records| !records.is_empty()) {
            charge.hold_frame(frames, part.clone());
        }
        let charge = Arc::new(charge);
        let wanted: HashMap<_, _> = self
            .wanted
            .iter()
            .map(|want| (key_of(want, version), want))
            .collect();
        for topic in &mut response.responses {
            let name = if version < TOPIC_IDS_FROM {
                TopicKey::Name(&topic.topic)
            } else {
                TopicKey::Id(topic.topic_id)
            };
            for data in &mut topic.partitions {
                if let Some(want) = wanted.get(&(name, data.partition_index)) {
                    self.take_partition(want, data, &charge);
                }
            }
        }
        self.core.ready.notify_waiters();
    }

    fn take_partition(&self, want: &Wanted, data: &mut PartitionData, charge: &Arc<Charge>) {
        match data.error_code {
            ErrorCode::NONE if data.diverging_epoch.end_offset >= 0 => self.diverged(want, data),
            ErrorCode::NONE => self.take_records(want, data, charge),
            ErrorCode::OFFSET_OUT_OF_RANGE => self.out_of_range(want),
            code => {
                let error = Error::server(code, None)
                    .api(ApiKey::FETCH)
                    .topic_partition(want.partition.topic.clone(), want.partition.partition)
                    .offset(want.offset, None);
                self.hint(&want.partition, data);
                if !error.is_retriable() || code == ErrorCode::CORRUPT_MESSAGE {
                    self.core.report(&want.partition, want.stamp, error.clone());
                }
                self.core.failed([(&want.partition, want.stamp)], &error);
            }
        }
    }

    /// Uses the leader that the answer names (KIP-951).
    fn hint(&self, partition: &TopicPartition, data: &PartitionData) {
        let (leader, epoch) = (
            data.current_leader.leader_id,
            data.current_leader.leader_epoch,
        );
        if leader < 0 {
            return;
        }
        let endpoint = self
            .endpoints
            .iter()
            .find(|endpoint| endpoint.node_id == leader);
        let broker = endpoint.and_then(|endpoint| {
            let port = u16::try_from(endpoint.port).ok()?;
            Some(Broker {
                id: leader,
                address: Address::new(endpoint.host.as_str(), port),
                rack: endpoint.rack.clone(),
            })
        });
        let cluster = &self.core.cluster;
        cluster.leader_hint(&partition.topic, partition.partition, leader, epoch, broker);
    }

    fn take_records(&self, want: &Wanted, data: &mut PartitionData, charge: &Arc<Charge>) {
        if data.preferred_read_replica >= 0 {
            let replica = (
                data.preferred_read_replica,
                Instant::now() + PREFERRED_REPLICA_FOR,
            );
            self.core
                .state()
                .positions
                .prefer(&want.partition, want.stamp, Some(replica));
        }
        let records = data.records.take().unwrap_or_default();
        let beyond = Position {
            offset: want.offset.saturating_add(1),
            leader_epoch: None,
        };
        let (next, cut_off) = match glance(&records, want.offset) {
            Glance::Empty => (None, false),
            Glance::Until(next) => (Some(next), false),
            Glance::Unreadable { cut_off } => (Some(beyond), cut_off),
        };
        let watermarks = Watermarks {
            log_start: data.log_start_offset,
            high_watermark: data.high_watermark,
            last_stable: data.last_stable_offset,
        };
        let aborted =
            (self.core.config.isolation_level == IsolationLevel::ReadCommitted).then(|| {
                let listed = data.aborted_transactions.take().unwrap_or_default();
                AbortedTransactions::new(
                    listed
                        .into_iter()
                        .map(|aborted| (aborted.producer_id, aborted.first_offset)),
                )
            });
        let cursor = Cursor::new(want, records, cut_off, aborted, charge.clone());
        let mut state = self.core.state();
        if state.positions.fetched(want, next, watermarks) {
            state.queue.push_back(cursor);
        }
    }

    /// The leader's log has another past than what was read (KIP-320): goes back to where it parted, unless the policy forbids to move.
    fn diverged(&self, want: &Wanted, data: &PartitionData) {
        let end = Position {
            offset: data.diverging_epoch.end_offset,
            leader_epoch: Some(data.diverging_epoch.epoch).filter(|epoch| *epoch >= 0),
        };
        let mut state = self.core.state();
        let truncated_to = state.positions.diverged(want, end);
        if let Some(end) = truncated_to
            && self.core.config.auto_offset_reset != OffsetReset::None
        {
            state.positions.seek(&want.partition, end);
        } else if truncated_to.is_some() {
            drop(state);
            let error = truncated(want, end);
            self.core.report(&want.partition, want.stamp, error.clone());
            return self.core.failed([(&want.partition, want.stamp)], &error);
        }
        drop(state);
        self.core.changed.notify_waiters();
    }

    /// The offset is not in the log. What was fetched before it is read first; then the policy decides, once.
    fn out_of_range(&self, want: &Wanted) {
        let error = Error::server(ErrorCode::OFFSET_OUT_OF_RANGE, None)
            .api(ApiKey::FETCH)
            .topic_partition(want.partition.topic.clone(), want.partition.partition)
            .offset(want.offset, None);
        let mut state = self.core.state();
        let leader = state
            .positions
            .leader(&want.partition)
            .and_then(|leader| leader.node);
        if leader != Some(self.node) {
            // A follower may be behind: only the leader knows.
            state.positions.prefer(&want.partition, want.stamp, None);
        } else if state.positions.is_next(want) {
            match self.core.config.auto_offset_reset.timestamp() {
                Some(timestamp) => return self.reset(state, want, timestamp),
                None => {
                    drop(state);
                    let message =
                        "the offset is not in the log, and auto.offset.reset = none: seek to go on";
                    let report = Error::new(ErrorKind::OffsetOutOfRange, message)
                        .topic_partition(want.partition.topic.clone(), want.partition.partition)
                        .offset(want.offset, None);
                    self.core.report(&want.partition, want.stamp, report);
                    return self.core.failed([(&want.partition, want.stamp)], &error);
                }
            }
        }
        drop(state);
        self.core.failed([(&want.partition, want.stamp)], &error);
    }

    fn reset(&self, mut state: MutexGuard<'_, State>, want: &Wanted, timestamp: i64) {
        state
            .positions
            .reset(&want.partition, want.stamp, timestamp);
        drop(state);
        self.core.changed.notify_waiters();
    }
}

fn truncated(want: &Wanted, end: Position) -> Error {
    let message = format!(
        "records that were read are gone: the leader's log ends at offset {}, and auto.offset.reset = none: seek to go on",
        end.offset
    );
    Error::new(ErrorKind::OffsetOutOfRange, message)
        .topic_partition(want.partition.topic.clone(), want.partition.partition)
        .offset(want.offset, None)
}

/// A topic as a response names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum TopicKey<'a> {
    Name(&'a str),
    Id(Uuid),
}

fn key_of(want: &Wanted, version: i16) -> (TopicKey<'_>, i32) {
    let topic = if version < TOPIC_IDS_FROM {
        TopicKey::Name(&want.partition.topic)
    } else {
        TopicKey::Id(want.topic_id)
    };
    (topic, want.partition.partition)
}
