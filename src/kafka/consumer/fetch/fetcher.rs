//! The task that fetches from one broker: the next fetch is on its way while the last one is read. In: what is wanted from that broker.
//! Out: readers in the queue, or what went wrong with a partition.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use protocol::messages::fetch_response::{NodeEndpoint, PartitionData};
use protocol::messages::{FetchRequest, FetchResponse};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::time::{Instant, sleep};

use super::aborted::AbortedTransactions;
use super::batch_reader::{BatchReader, HeaderScan, scan_headers};
use super::memory::Reservation;
use super::session::{FetchSession, TOPIC_IDS_FROM};
use crate::kafka::cluster::{Broker, Channel, LeaderHint};
use crate::kafka::consumer::IsolationLevel;
use crate::kafka::consumer::positions::list_offsets::left_out;
use crate::kafka::consumer::positions::{Diverged, Pace, Position, Positions, Wanted, Watermarks};
use crate::kafka::consumer::state::{ConsumerContext, Fetch, NextFetch};
use crate::kafka::consumer::wait::wait;
use crate::kafka::error::may_pass;
use crate::kafka::net::{Address, Connection, FramePool};
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// For how long a replica that the leader named is fetched from before the leader is asked again (KIP-392).
const PREFERRED_REPLICA_FOR: Duration = Duration::from_secs(300);

/// Fetches from `node` until nothing is to be fetched from there.
pub(crate) async fn run(context: Arc<ConsumerContext>, node: i32) {
    let mut session = FetchSession::default();
    let mut fruitless = 0;
    loop {
        let mut changed = pin!(context.changed.notified());
        changed.as_mut().enable();
        match context.next_fetch(node) {
            NextFetch::Send(fetch) => {
                let sent = Instant::now();
                let fetched = fetch_once(&context, node, &mut session, fetch).await;
                // A broker that has nothing waits for some before it says so.
                let waited = sent.elapsed() >= context.patience_of_brokers() / 2;
                fruitless = if fetched || waited { 0 } else { fruitless + 1 };
                if fruitless > 1 {
                    sleep(context.pause(fruitless - 1)).await;
                }
            }
            NextFetch::Wait(until) => wait(changed, until).await,
            NextFetch::Retire => break,
        }
    }
    end_session(&context, node, session).await;
}

async fn end_session(context: &ConsumerContext, node: i32, mut session: FetchSession) {
    if let Some(request) = session.close() {
        // A courtesy: the broker forgets sessions by itself.
        let _ = context
            .cluster
            .call(node, Channel::Fetch, &request, context.deadline())
            .await;
    }
}

/// Sends `fetch` and takes the answer. Whether anything was fetched.
async fn fetch_once(
    context: &ConsumerContext,
    node: i32,
    session: &mut FetchSession,
    fetch: Fetch,
) -> bool {
    let Fetch {
        wanted,
        max_bytes,
        reservation,
    } = fetch;
    // A broker that has nothing may keep silent for a while.
    let due = Instant::now() + context.config.fetch_max_wait;
    let answer = ask(context, node, session, &wanted, max_bytes).await;
    context.fetch_over();
    let error = match answer {
        Ok(mut answer) if answer.response.error_code == ErrorCode::NONE => {
            session.answered(answer.response.session_id);
            return ResponseHandler {
                context,
                node,
                wanted: &wanted,
                endpoints: std::mem::take(&mut answer.response.node_endpoints),
                hints: RefCell::default(),
            }
            .take(answer, reservation, session);
        }
        Ok(answer) if session.refused(answer.response.error_code) => {
            context.changed.notify_waiters();
            return false;
        }
        Ok(answer) => Error::server(answer.response.error_code, None).api(ApiKey::FETCH),
        Err(error) => error,
    };
    session.lost();
    context.failed_since(
        due.min(Instant::now()),
        wanted.iter().map(|want| (&want.partition, want.version)),
        &error,
    );
    false
}

/// An answer, and what is needed to read it.
struct Answer {
    response: FetchResponse,
    api_version: i16,
    frames: FramePool,
    excess: ExcessReservation,
}

/// What is reserved for a response that is longer than was asked for, from before it is read.
type ExcessReservation = Arc<Mutex<Option<Reservation>>>;

async fn ask(
    context: &ConsumerContext,
    node: i32,
    session: &mut FetchSession,
    wanted: &[Wanted],
    max_bytes: usize,
) -> Result<Answer> {
    let config = &context.config;
    let deadline = context.deadline() + config.fetch_max_wait;
    let connection = context
        .cluster
        .connection(node, Channel::Fetch, deadline)
        .await?;
    let api_version = fetch_version(&connection, wanted)?;
    let request = FetchRequest {
        max_wait_ms: i32::try_from(config.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: wire_size(config.fetch_min_bytes),
        max_bytes: wire_size(max_bytes),
        isolation_level: i8::from(config.isolation_level == IsolationLevel::ReadCommitted),
        rack_id: config.client_rack.clone().unwrap_or_default(),
        ..session.request(
            wanted,
            wire_size(config.max_partition_fetch_bytes),
            api_version,
        )
    };
    let excess = ExcessReservation::default();
    let (budget, reserved) = (context.budget.clone(), excess.clone());
    let on_length = move |len: usize| {
        let more = len.saturating_sub(max_bytes);
        if let (1.., Ok(mut reserved)) = (more, reserved.lock()) {
            *reserved = Some(budget.reserve(more));
        }
    };
    let response = connection.call_sized(&request, api_version, deadline, on_length);
    Ok(Answer {
        response: response.await?,
        api_version,
        frames: connection.pool().clone(),
        excess,
    })
}

/// The newest version, or the newest that names topics by name when some id is not known.
fn fetch_version(connection: &Connection, wanted: &[Wanted]) -> Result<i16> {
    let newest = connection.version_of::<FetchRequest>()?;
    let without_id = wanted.iter().any(|want| want.topic_id == Uuid::ZERO);
    Ok(if without_id {
        newest.min(TOPIC_IDS_FROM - 1)
    } else {
        newest
    })
}

fn wire_size(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// Takes an answer apart.
struct ResponseHandler<'a> {
    context: &'a ConsumerContext,
    node: i32,
    wanted: &'a [Wanted],
    endpoints: Vec<NodeEndpoint>,
    /// The leaders that the answer names (KIP-951).
    hints: RefCell<Vec<LeaderHint>>,
}

impl ResponseHandler<'_> {
    /// Takes the answer. Whether anything was fetched.
    fn take(
        &self,
        answer: Answer,
        mut reservation: Reservation,
        session: &mut FetchSession,
    ) -> bool {
        let Answer {
            mut response,
            api_version,
            frames,
            excess,
        } = answer;
        let partitions = || {
            response
                .responses
                .iter()
                .flat_map(|topic| &topic.partitions)
        };
        let records = || partitions().filter_map(|data| data.records.as_ref());
        reservation.adjust(records().map(Bytes::len).sum());
        drop(excess);
        if let Some(part) = records().find(|records| !records.is_empty()) {
            reservation.hold_frame(frames, part.clone());
        }
        let empty = records().all(|records| records.is_empty());
        let throttled = response.throttle_time_ms > 0;
        let reservation = Arc::new(reservation);
        let mut fetched = false;
        let wanted: HashMap<_, _> = self
            .wanted
            .iter()
            .map(|want| (key_of(want, api_version), want))
            .collect();
        for topic in &mut response.responses {
            let name = if api_version < TOPIC_IDS_FROM {
                TopicKey::Name(&topic.topic)
            } else {
                TopicKey::Id(topic.topic_id)
            };
            for data in &mut topic.partitions {
                if let Some(want) = wanted.get(&(name, data.partition_index)) {
                    session.heard_of(&want.partition);
                    fetched |= self.take_partition(want, data, &reservation, empty);
                }
            }
        }
        self.context.cluster.leader_hints(&self.hints.borrow());
        self.context.ready.notify_waiters();
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
        reservation: &Arc<Reservation>,
        empty: bool,
    ) -> bool {
        match data.error_code {
            ErrorCode::NONE if data.diverging_epoch.end_offset >= 0 => self.diverged(want, data),
            ErrorCode::NONE => return self.take_records(want, data, reservation, empty),
            ErrorCode::OFFSET_OUT_OF_RANGE => self.out_of_range(want),
            code => {
                let TopicPartition { topic, partition } = &want.partition;
                let cluster = &self.context.cluster;
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
            self.context
                .report(&want.partition, want.version, error.clone());
        }
        self.context
            .failed([(&want.partition, want.version)], error);
    }

    /// Notes the leader that the answer names.
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
        self.hints.borrow_mut().push(LeaderHint {
            partition: partition.clone(),
            leader,
            leader_epoch: epoch,
            endpoint: broker,
        });
    }

    fn take_records(
        &self,
        want: &Wanted,
        data: &mut PartitionData,
        reservation: &Arc<Reservation>,
        empty: bool,
    ) -> bool {
        let elsewhere = data.preferred_read_replica >= 0;
        if elsewhere {
            let replica = (
                data.preferred_read_replica,
                Instant::now() + PREFERRED_REPLICA_FOR,
            );
            self.context
                .state()
                .positions
                .prefer(&want.partition, want.version, Some(replica));
            // There may be nobody yet who fetches from it.
            self.context.changed.notify_waiters();
        }
        let readable_to = match self.context.config.isolation_level {
            IsolationLevel::ReadCommitted => data.last_stable_offset,
            IsolationLevel::ReadUncommitted => data.high_watermark,
        };
        let records = data.records.take().unwrap_or_default();
        let beyond = Position {
            offset: want.offset.saturating_add(1),
            leader_epoch: None,
        };
        let (next, cut_off) = match scan_headers(&records, want.offset) {
            HeaderScan::Empty => (None, false),
            HeaderScan::Until(next) => (Some(next), false),
            HeaderScan::Unreadable { cut_off } => (Some(beyond), cut_off),
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
            // What goes on like this is to be told of: the failure is not over with this answer.
            self.context.state().positions.saw(want, watermarks);
            let error = at_offset(Error::new(ErrorKind::Protocol, what), want);
            self.fail(want, &error);
            return false;
        }
        let aborted =
            (self.context.config.isolation_level == IsolationLevel::ReadCommitted).then(|| {
                let listed = data.aborted_transactions.take().unwrap_or_default();
                AbortedTransactions::new(
                    listed
                        .into_iter()
                        .map(|aborted| (aborted.producer_id, aborted.first_offset)),
                )
            });
        let reader = BatchReader::new(want, records, cut_off, aborted, reservation.clone());
        let mut state = self.context.state();
        let fetched = state.positions.fetched(want, next, watermarks);
        if fetched {
            state.queue.push_back(reader);
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
                positions.stop(&want.partition, want.version, error.clone());
            }
        });
    }

    /// The offset is not in the log. What was fetched before it is read first; then the policy decides, once.
    fn out_of_range(&self, want: &Wanted) {
        let error = refused(want, ErrorCode::OFFSET_OUT_OF_RANGE);
        let mut state = self.context.state();
        let leader = state
            .positions
            .leader(&want.partition)
            .and_then(|leader| leader.node);
        let decides = leader == Some(self.node) && state.positions.is_next(want);
        if leader != Some(self.node) {
            // A follower may be behind: only the leader knows.
            state.positions.prefer(&want.partition, want.version, None);
        }
        drop(state);
        match self.context.config.auto_offset_reset.timestamp() {
            Some(timestamp) if decides => {
                return self.paced(&error, |positions, pace| {
                    positions.reset(&want.partition, want.version, timestamp, pace)
                });
            }
            None if decides => {
                let message =
                    "the offset is not in the log, and auto.offset.reset = none: seek to go on";
                let report = at_offset(Error::new(ErrorKind::OffsetOutOfRange, message), want);
                self.context.report(&want.partition, want.version, report);
            }
            _ => {}
        }
        self.context
            .failed([(&want.partition, want.version)], &error);
    }

    /// Moves a partition because of what a broker says; one that says so again and again is paced.
    fn paced(&self, error: &Error, act: impl FnOnce(&mut Positions, &Pace<'_>)) {
        let pace = Pace {
            now: Instant::now(),
            pause: &|moves| self.context.pause(moves),
            error,
        };
        act(&mut self.context.state().positions, &pace);
        self.context.changed.notify_waiters();
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

fn key_of(want: &Wanted, api_version: i16) -> (TopicKey<'_>, i32) {
    let topic = if api_version < TOPIC_IDS_FROM {
        TopicKey::Name(&want.partition.topic)
    } else {
        TopicKey::Id(want.topic_id)
    };
    (topic, want.partition.partition)
}
