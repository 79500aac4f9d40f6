//! What a response to a fetch does: buffered fetches, new leaders and replicas, resets, and what went wrong with a partition.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::messages::fetch_response::{NodeEndpoint, PartitionData};
use protocol::messages::{FetchRequest, FetchResponse};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::time::Instant;

use super::aborted::AbortedTransactions;
use super::batch_reader::{BatchReader, HeaderScan, scan_headers};
use super::memory::Fetched;
use super::next_fetch::Fetch;
use super::session::FetchSession;
use crate::kafka::cluster::{Broker, LeaderHint};
use crate::kafka::consumer::IsolationLevel;
use crate::kafka::consumer::positions::list_offsets::left_out;
use crate::kafka::consumer::positions::{Diverged, Pace, Position, Positions, Wanted, Watermarks};
use crate::kafka::consumer::state::ConsumerContext;
use crate::kafka::net::{Address, FramePool};
use crate::kafka::runtime::{Budget, Reservation};
use crate::kafka::{Error, ErrorKind, TopicPartition};

/// For how long a replica that the leader named is fetched from before the leader is asked again (KIP-392).
const PREFERRED_REPLICA_FOR: Duration = Duration::from_secs(300);

/// A response, and what is needed to read it.
pub(super) struct Received {
    pub response: FetchResponse,
    pub api_version: i16,
    pub frames: FramePool,
    pub memory: FrameMemory,
}

/// What a long response takes up.
#[derive(Debug, Default)]
pub(crate) struct FrameMemory {
    /// With what is spare in its buffer. 0 where it is short.
    pub bytes: usize,
    /// Reserved from before it is read, where it is more than was asked for.
    _excess: Option<Reservation>,
}

impl FrameMemory {
    /// What is announced to take up `bytes`, where no more than `max_bytes` were asked for.
    pub fn of(bytes: usize, max_bytes: usize, budget: &Arc<Budget>) -> Self {
        let more = bytes.saturating_sub(max_bytes);
        let _excess = (more > 0).then(|| budget.reserve(more));
        Self { bytes, _excess }
    }
}

/// Takes a response to `fetch` apart. Whether anything was fetched; those who read it are to be [told](ConsumerContext::tell_of_fetched).
pub(super) fn take(
    context: &ConsumerContext,
    node: i32,
    fetch: Fetch,
    received: Received,
    session: &mut FetchSession,
) -> bool {
    let Received {
        mut response,
        api_version,
        frames,
        memory,
    } = received;
    let partitions = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions);
    let records = partitions.filter_map(|data| data.records.as_ref());
    let mut reservation = fetch.reservation;
    let len = records.clone().map(Bytes::len).sum();
    reservation.adjust(if len == 0 { 0 } else { memory.bytes.max(len) });
    drop(memory);
    let part = records.clone().find(|records| !records.is_empty());
    let empty = part.is_none();
    let frame = part.map(|part| (frames, part.clone()));
    let handler = ResponseHandler {
        context,
        node,
        endpoints: std::mem::take(&mut response.node_endpoints),
        hints: RefCell::default(),
        reservation: Arc::new(Fetched::in_frame(reservation, frame)),
        empty,
    };
    let mut fetched = false;
    let wanted: HashMap<_, _> = fetch
        .wanted
        .iter()
        .map(|want| (key_of(want, api_version), want))
        .collect();
    for topic in &mut response.responses {
        let name = if api_version < FetchRequest::TOPIC_IDS_FROM {
            TopicKey::Name(&topic.topic)
        } else {
            TopicKey::Id(topic.topic_id)
        };
        for data in &mut topic.partitions {
            if let Some(want) = wanted.get(&(name, data.partition_index)) {
                session.heard_of(&want.partition);
                fetched |= handler.take_partition(want, data);
            }
        }
    }
    context.cluster.leader_hints(&handler.hints.borrow());
    if context.config.enable_partition_eof {
        let mut state = context.state();
        state.positions.answered(&fetch.wanted);
        let answered = fetch.wanted.iter();
        answered.for_each(|want| state.fetched(&want.partition));
    }
    // Of a partition that is new in a session a broker says something, unless it does nothing but throttle.
    let throttled = response.throttle_time_ms > 0;
    let is_left_out = |want: &&Wanted| !throttled && session.is_unanswered(&want.partition);
    for want in fetch.wanted.iter().filter(is_left_out) {
        handler.fail(want, &left_out(&want.partition).api(ApiKey::FETCH));
    }
    fetched
}

/// What all partitions of a response have in common.
struct ResponseHandler<'a> {
    context: &'a ConsumerContext,
    node: i32,
    endpoints: Vec<NodeEndpoint>,
    /// The leaders that the response names (KIP-951).
    hints: RefCell<Vec<LeaderHint>>,
    reservation: Arc<Fetched>,
    /// The whole response has no records.
    empty: bool,
}

impl ResponseHandler<'_> {
    /// Whether there is anything to read.
    fn take_partition(&self, want: &Wanted, data: &mut PartitionData) -> bool {
        match data.error_code {
            ErrorCode::NONE if data.diverging_epoch.end_offset >= 0 => self.diverged(want, data),
            ErrorCode::NONE => return self.take_records(want, data),
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

    fn fail(&self, want: &Wanted, error: &Error) {
        self.context
            .failed([(&want.partition, want.version)], error);
    }

    /// Notes the leader that the response names.
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

    fn take_records(&self, want: &Wanted, data: &mut PartitionData) -> bool {
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
            self.context.wake_all();
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
            None if self.empty && !elsewhere && readable_to > want.offset => {
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
        let reader = BatchReader::new(want, records, cut_off, aborted, self.reservation.clone());
        let mut state = self.context.state();
        let fetched = state
            .positions
            .fetched(want, next, watermarks, Instant::now());
        if fetched {
            state.buffers.push(reader);
            state.fetched(&want.partition);
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
        match self.context.reset_timestamp() {
            Some(timestamp) if decides => {
                return self.paced(&error, |positions, pace| {
                    positions.reset(&want.partition, want.version, timestamp, pace)
                });
            }
            None if decides => {
                // Nothing changes by asking again.
                let message =
                    "the offset is not in the log, and auto.offset.reset = none: seek to go on";
                let error = at_offset(Error::new(ErrorKind::OffsetOutOfRange, message), want);
                return self.context.stopped(&want.partition, want.version, error);
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
        self.context.wake_all();
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
    let topic = if api_version < FetchRequest::TOPIC_IDS_FROM {
        TopicKey::Name(&want.partition.topic)
    } else {
        TopicKey::Id(want.topic_id)
    };
    (topic, want.partition.partition)
}
