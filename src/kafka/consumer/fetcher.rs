//! The task that fetches from one broker: the next fetch is on its way while the last one is read. In: what is wanted from that broker.
//! Out: cursors in the queue, or what went wrong with a partition.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use protocol::messages::fetch_response::{NodeEndpoint, PartitionData};
use protocol::messages::{FetchRequest, FetchResponse};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::time::{Instant, sleep};

use super::IsolationLevel;
use super::budget::Charge;
use super::core::{Core, Fetch, NextFetch};
use super::cursor::{Cursor, Glance, glance};
use super::fetch_session::{FetchSession, TOPIC_IDS_FROM};
use super::list_offsets::left_out;
use super::positions::{Diverged, Pace, Position, Positions, Wanted, Watermarks};
use super::read_committed::AbortedTransactions;
use super::wait::wait;
use crate::kafka::cluster::{Broker, Channel};
use crate::kafka::error::may_pass;
use crate::kafka::net::{Address, Connection, FramePool};
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// For how long a replica that the leader named is fetched from before the leader is asked again (KIP-392).
const PREFERRED_REPLICA_FOR: Duration = Duration::from_secs(300);

/// Fetches from `node` until nothing is to be fetched from there.
pub(crate) async fn run(core: Arc<Core>, node: i32) {
    let mut session = FetchSession::default();
    let mut fruitless = 0;
    loop {
        let mut changed = pin!(core.changed.notified());
        changed.as_mut().enable();
        match core.next_fetch(node) {
            NextFetch::Send(fetch) => {
                let sent = Instant::now();
                let fetched = fetch_once(&core, node, &mut session, fetch).await;
                // A broker that has nothing waits for some before it says so.
                let waited = sent.elapsed() >= core.patience_of_brokers() / 2;
                fruitless = if fetched || waited { 0 } else { fruitless + 1 };
                if fruitless > 1 {
                    sleep(core.pause(fruitless - 1)).await;
                }
            }
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
            .call(node, Channel::Fetch, &request, core.deadline())
            .await;
    }
}

/// Sends `fetch` and takes the answer. Whether anything was fetched.
async fn fetch_once(core: &Core, node: i32, session: &mut FetchSession, fetch: Fetch) -> bool {
    let Fetch {
        wanted,
        max_bytes,
        charge,
    } = fetch;
    // A broker that has nothing may keep silent for a while.
    let due = Instant::now() + core.config.fetch_max_wait;
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
            .take(answer, charge, session);
        }
        Ok(answer) if session.refused(answer.response.error_code) => {
            core.changed.notify_waiters();
            return false;
        }
        Ok(answer) => Error::server(answer.response.error_code, None).api(ApiKey::FETCH),
        Err(error) => error,
    };
    session.lost();
    core.failed_since(
        due.min(Instant::now()),
        wanted.iter().map(|want| (&want.partition, want.stamp)),
        &error,
    );
    false
}

/// An answer, and what is needed to read it.
struct Answer {
    response: FetchResponse,
    version: i16,
    frames: FramePool,
    surplus: Surplus,
}

/// What is charged for an answer that is longer than was asked for, from before it is read.
type Surplus = Arc<Mutex<Option<Charge>>>;

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
        .connection(node, Channel::Fetch, deadline)
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
    let surplus = Surplus::default();
    let (budget, charged) = (core.budget.clone(), surplus.clone());
    let on_length = move |len: usize| {
        let more = len.saturating_sub(max_bytes);
        if let (1.., Ok(mut charged)) = (more, charged.lock()) {
            *charged = Some(budget.charge(more));
        }
    };
    let response = connection.call_sized(&request, version, deadline, on_length);
    Ok(Answer {
        response: response.await?,
        version,
        frames: connection.pool().clone(),
        surplus,
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
    /// Takes the answer. Whether anything was fetched.
    fn take(&self, answer: Answer, mut charge: Charge, session: &mut FetchSession) -> bool {
        let Answer {
            mut response,
            version,
            frames,
            surplus,
        } = answer;
        let partitions = || {
            response
                .responses
                .iter()
                .flat_map(|topic| &topic.partitions)
        };
        let records = || partitions().filter_map(|data| data.records.as_ref());
        charge.adjust(records().map(Bytes::len).sum());
        drop(surplus);
        if let Some(part) = records().find(|records| !records.is_empty()) {
            charge.hold_frame(frames, part.clone());
        }
        let empty = records().all(|records| records.is_empty());
        let throttled = response.throttle_time_ms > 0;
        let charge = Arc::new(charge);
        let mut fetched = false;
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
                    session.heard_of(&want.partition);
                    fetched |= self.take_partition(want, data, &charge, empty);
                }
            }
        }
        self.core.ready.notify_waiters();
        // Of a partition that is new in a session a broker says something, unless it does nothing but throttle.
        let is_left_out = |want: &&Wanted| !throttled && session.is_unanswered(&want.partition);
        for want in self.wanted.iter().filter(is_left_out) {
            self.fail(want, &left_out(&want.partition).api(ApiKey::FETCH));
        }
        fetched
    }

    /// Whether there is anything to read. `empty` says that the whole answer has no records.
    fn take_partition(
        &self,
        want: &Wanted,
        data: &mut PartitionData,
        charge: &Arc<Charge>,
        empty: bool,
    ) -> bool {
        match data.error_code {
            ErrorCode::NONE if data.diverging_epoch.end_offset >= 0 => self.diverged(want, data),
            ErrorCode::NONE => return self.take_records(want, data, charge, empty),
            ErrorCode::OFFSET_OUT_OF_RANGE => self.out_of_range(want),
            code => {
                let TopicPartition { topic, partition } = &want.partition;
                let cluster = &self.core.cluster;
                cluster.answered_as_leader(topic, *partition, self.node, code);
                self.hint(&want.partition, data);
                self.fail(want, &refused(want, code));
            }
        }
        false
    }

    /// Told at once where asking again cannot help; else when it goes on for long.
    fn fail(&self, want: &Wanted, error: &Error) {
        if !may_pass(error) {
            self.core.report(&want.partition, want.stamp, error.clone());
        }
        self.core.failed([(&want.partition, want.stamp)], error);
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

    fn take_records(
        &self,
        want: &Wanted,
        data: &mut PartitionData,
        charge: &Arc<Charge>,
        empty: bool,
    ) -> bool {
        let elsewhere = data.preferred_read_replica >= 0;
        if elsewhere {
            let replica = (
                data.preferred_read_replica,
                Instant::now() + PREFERRED_REPLICA_FOR,
            );
            self.core
                .state()
                .positions
                .prefer(&want.partition, want.stamp, Some(replica));
            // There may be nobody yet who fetches from it.
            self.core.changed.notify_waiters();
        }
        let readable_to = match self.core.config.isolation_level {
            IsolationLevel::ReadCommitted => data.last_stable_offset,
            IsolationLevel::ReadUncommitted => data.high_watermark,
        };
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
        let useless = match next {
            None if !records.is_empty() => {
                Some("the broker sent only batches from before the offset that was asked for")
            }
            None if empty && !elsewhere && readable_to > want.offset => {
                Some("the broker sent nothing, though its log goes on behind the offset")
            }
            _ => None,
        };
        let watermarks = Watermarks {
            log_start: data.log_start_offset,
            high_watermark: data.high_watermark,
            last_stable: data.last_stable_offset,
        };
        if let Some(what) = useless {
            // What goes on like this is to be told of: the trouble is not over with this answer.
            self.core.state().positions.saw(want, watermarks);
            let error = at_offset(Error::new(ErrorKind::Protocol, what), want);
            self.fail(want, &error);
            return false;
        }
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
        let fetched = state.positions.fetched(want, next, watermarks);
        if fetched {
            state.queue.push_back(cursor);
        }
        fetched
    }

    /// The leader's log has another past than what was read (KIP-320): goes back to where it parted, unless the policy forbids to move.
    fn diverged(&self, want: &Wanted, data: &PartitionData) {
        let end = Position {
            offset: data.diverging_epoch.end_offset,
            leader_epoch: Some(data.diverging_epoch.epoch).filter(|epoch| *epoch >= 0),
        };
        let error = truncated(want, end);
        self.paced(&error, |positions, pace| {
            if positions.diverged(want, end, pace) == Some(Diverged::Stuck) {
                positions.stop(&want.partition, want.stamp, error.clone());
            }
        });
    }

    /// The offset is not in the log. What was fetched before it is read first; then the policy decides, once.
    fn out_of_range(&self, want: &Wanted) {
        let error = refused(want, ErrorCode::OFFSET_OUT_OF_RANGE);
        let mut state = self.core.state();
        let leader = state
            .positions
            .leader(&want.partition)
            .and_then(|leader| leader.node);
        let decides = leader == Some(self.node) && state.positions.is_next(want);
        if leader != Some(self.node) {
            // A follower may be behind: only the leader knows.
            state.positions.prefer(&want.partition, want.stamp, None);
        }
        drop(state);
        match self.core.config.auto_offset_reset.timestamp() {
            Some(timestamp) if decides => {
                return self.paced(&error, |positions, pace| {
                    positions.reset(&want.partition, want.stamp, timestamp, pace)
                });
            }
            None if decides => {
                let message =
                    "the offset is not in the log, and auto.offset.reset = none: seek to go on";
                let report = at_offset(Error::new(ErrorKind::OffsetOutOfRange, message), want);
                self.core.report(&want.partition, want.stamp, report);
            }
            _ => {}
        }
        self.core.failed([(&want.partition, want.stamp)], &error);
    }

    /// Moves a partition because of what a broker says; one that says so again and again is paced.
    fn paced(&self, error: &Error, act: impl FnOnce(&mut Positions, &Pace<'_>)) {
        let pace = Pace {
            now: Instant::now(),
            pause: &|moves| self.core.pause(moves),
            error,
        };
        act(&mut self.core.state().positions, &pace);
        self.core.changed.notify_waiters();
    }
}

/// Says where the fetch was that `error` is about.
fn at_offset(error: Error, want: &Wanted) -> Error {
    error
        .api(ApiKey::FETCH)
        .topic_partition(want.partition.topic.clone(), want.partition.partition)
        .offset(want.offset, None)
}

fn refused(want: &Wanted, code: ErrorCode) -> Error {
    at_offset(Error::server(code, None), want)
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
