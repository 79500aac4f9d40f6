//! One broker's sender: the task that gathers batches into requests, keeps up to five of them in flight, and tells the partitions what
//! became of each. Decisions are the partitions' and the broker queue's; here is what awaits.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::compression::{Codec, Compression, Compressor, Decompressor};
use protocol::messages::{ProduceRequest, ProduceResponse};
use tokio::time::{Instant, sleep_until};

use super::broker_queue::BrokerQueue;
use super::outcome::Promise;
use super::request::{self, Destination};
use crate::kafka::cluster::{Backoff, Channel};
use crate::kafka::net::{Connection, Pending, Written as Sent};
use crate::kafka::producer::config::Acks;
use crate::kafka::producer::metrics::add;
use crate::kafka::producer::partition::queue::{NotTaken, PartitionQueue, SequencedBatch, Taken};
use crate::kafka::producer::partition::sequenced::Leader;
use crate::kafka::producer::state::ProducerState;
use crate::kafka::producer::transaction::Transactions;
use crate::kafka::{Error, ErrorKind, Random, Result, WriteOutcome};

/// With so many bytes, others are worth waiting for, if they come at once.
const MUCH_BYTES: usize = 8 << 10;
/// After so many turns without more, no more is coming. The runtime runs those that yielded in turn, but not always in the same order: in
/// one turn of two, the others may not have run yet.
const QUIET_TURNS: u32 = 2;
/// How many batches that do not fit into a request are passed over for smaller ones behind them.
const MOST_WITHOUT_ROOM: usize = 8;

/// A broker's sender.
pub(crate) struct Sender {
    pub(super) shared: Arc<ProducerState>,
    pub(super) broker: Arc<BrokerQueue>,
    pub(super) connection: Option<Connection>,
    /// Requests in flight, oldest first: a connection answers in order.
    pub(super) in_flight: VecDeque<InFlightRequest>,
    /// An empty list for the batches of a request: with many partitions it is a long one.
    pub(super) spare: Vec<RequestBatch>,
    /// One for each compression that topics are written with.
    compressors: Vec<Compressor>,
    pub(super) decompressor: Decompressor,
    pub(super) random: Random,
    /// Pauses between dials.
    redial: Backoff,
    pub(super) promise: Promise,
    /// The number of the transaction that it wrote in last.
    wrote_in: u64,
}

/// A request in flight. It owns its batches.
pub(super) struct InFlightRequest {
    response: PendingResponse,
    pub batches: Vec<RequestBatch>,
    pub sent: Instant,
    /// The first that was written of a transaction.
    pub begins_transaction: bool,
}

enum PendingResponse {
    Expected(Pending<ProduceRequest>),
    /// With acks 0: done when written.
    Written(Sent<ProduceRequest>),
}

/// A batch of a request.
pub(super) struct RequestBatch {
    pub queue: Arc<PartitionQueue>,
    pub to: Destination,
    pub leader: Leader,
    pub batch: SequencedBatch,
}

impl Sender {
    fn new(shared: Arc<ProducerState>, broker: Arc<BrokerQueue>) -> Self {
        let random = shared.cluster.random(&format!("sender {}", broker.id));
        Self {
            compressors: Vec::new(),
            decompressor: Decompressor::default(),
            connection: None,
            in_flight: VecDeque::new(),
            spare: Vec::new(),
            redial: shared.cluster.retry_backoff(),
            promise: Promise {
                waits_for_replicas: shared.config.acks == Acks::All,
                is_idempotent: shared.config.is_idempotent(),
                is_transactional: shared.transactions.is_some(),
            },
            wrote_in: 0,
            random,
            shared,
            broker,
        }
    }

    /// The name of the task.
    pub fn task(node: i32) -> String {
        format!("sender of broker {node}")
    }

    /// Runs until the producer is stopped, or the sender panics. What is in flight then fails with what ended the producer, outcome unknown.
    pub async fn run(shared: Arc<ProducerState>, broker: Arc<BrokerQueue>) {
        let (tasks, name) = (shared.cluster.tasks().clone(), Self::task(broker.id));
        let mut sender = Self::new(shared, broker);
        tasks.watched(name, sender.send()).await;
        let end = sender.shared.closed().with_outcome(WriteOutcome::Unknown);
        for request in std::mem::take(&mut sender.in_flight) {
            sender.fail_all(request.batches, &end);
        }
    }

    async fn send(&mut self) {
        while !self.shared.is_stopped() {
            let wake_at = self.fill().await;
            self.broker.set_in_flight(self.in_flight.len());
            tokio::select! {
                biased;
                result = response(self.in_flight.front_mut()) => self.on_response(result),
                () = self.broker.woken() => {}
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
            }
        }
    }

    /// Sends as long as there is room and reason to. Returns when to look again though nothing happens.
    async fn fill(&mut self) -> Option<Instant> {
        loop {
            let usable = self.connection.as_ref().is_some_and(Connection::is_open);
            let full = self.in_flight.len() >= self.shared.config.max_in_flight;
            // What a lost connection carried resolves first: nothing of it may be overtaken.
            if full || (!usable && !self.in_flight.is_empty()) || self.shared.is_stopped() {
                return None;
            }
            if !usable && self.connection.take().is_some() {
                // With acks 0 hanging up is all that a broker can do to say that it no longer leads.
                self.shared.cluster.refresh();
            }
            if let Some(until) = self.muted_until() {
                return Some(until);
            }
            if let Err(wake_at) = self.is_due(self.shared.is_urgent())
                && !(self.in_flight.is_empty() && self.has_all_that_is_coming().await)
            {
                return wake_at;
            }
            if !usable && let Err(moment) = self.connect().await {
                return Some(moment);
            }
            let batches = self.drain(Instant::now());
            if batches.is_empty() {
                // What seemed to be ready is not any more, and is off the list.
                continue;
            }
            self.dispatch(batches).await;
        }
    }

    fn is_due(&self, hurry: bool) -> Result<(), Option<Instant>> {
        let linger = self.shared.config.linger;
        self.broker.is_due(Instant::now(), linger, hurry)
    }

    /// While nothing is in flight, what waits leaves at once; but where much waits and more comes from one turn to the next, a request
    /// costs less when it has that too. It waits for its linger time at most. False if nothing waits.
    async fn has_all_that_is_coming(&self) -> bool {
        // Nobody sees anything of a transaction before it is committed: to be early is worth nothing there, and a request more costs.
        let much = match self.shared.transactions {
            Some(_) => 1,
            None => MUCH_BYTES,
        };
        let mut filled = self.broker.filled(much);
        let mut quiet_turns = 0;
        while let Some(before) = filled
            && quiet_turns < QUIET_TURNS
            && self.is_due(false).is_err()
        {
            tokio::task::yield_now().await;
            // However little it was: a turn may have been short.
            filled = self.broker.filled(much);
            quiet_turns = if filled > Some(before) {
                0
            } else {
                quiet_turns + 1
            };
        }
        self.is_due(true).is_ok()
    }

    /// Until when the broker wants nothing more (KIP-219), or nothing of a transaction that has just begun. What would be sent meanwhile waits
    /// where it costs no attempt and no part of a request's time, and where more records can join it.
    fn muted_until(&self) -> Option<Instant> {
        let throttled = (self.connection.as_ref()).and_then(Connection::throttled_until);
        let transactions = self.shared.transactions.as_deref();
        let held = transactions.and_then(|it| it.held_until(self.wrote_in));
        let until = throttled.max(held)?;
        (until > Instant::now()).then_some(until)
    }

    /// Connects to the broker; fails with the moment to try again at.
    async fn connect(&mut self) -> Result<(), Instant> {
        let config = &self.shared.config.client;
        let deadline = Instant::now() + config.connect_timeout;
        let connection = self
            .shared
            .cluster
            .connection(self.broker.id, Channel::Produce, deadline);
        match connection.await {
            Ok(connection) => {
                self.redial.succeeded();
                self.broker.note(None);
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                self.broker.note(Some(error.clone()));
                if is_final(&error) {
                    self.shared.refuse(&self.broker, &error);
                }
                Err(Instant::now() + self.redial.failed(&mut self.random))
            }
        }
    }

    /// Takes one batch from each partition that is ready, the longest waiting first, as many as fit into a request.
    fn drain(&mut self, now: Instant) -> Vec<RequestBatch> {
        let mut room = self.shared.config.max_request_bytes;
        let mut batches = std::mem::take(&mut self.spare);
        let mut without_room = Vec::new();
        let round = self.broker.round();
        while room > 0
            && without_room.len() < MOST_WITHOUT_ROOM
            && let Some(queue) = self.broker.pop(round)
        {
            // The first one always fits: a batch alone is never over the limit for requests.
            let limit = if batches.is_empty() { usize::MAX } else { room };
            let Taken {
                batch,
                leader,
                topic_id,
                ..
            } = match self.take(&queue, limit, now) {
                Ok(taken) => taken,
                Err(NotTaken::NoRoom) => {
                    without_room.push(queue);
                    continue;
                }
                Err(NotTaken::NotReady) => continue,
            };
            room = room.saturating_sub(batch.content.uncompressed_len());
            batches.push(RequestBatch {
                to: Destination {
                    topic: queue.topic.clone(),
                    topic_id,
                    partition: queue.partition,
                },
                queue,
                leader,
                batch,
            });
        }
        for queue in without_room {
            queue.publish_again();
        }
        batches
    }

    /// The partition's next batch. One that was built before a smaller limit was learnt is split first.
    fn take(
        &mut self,
        queue: &PartitionQueue,
        room: usize,
        now: Instant,
    ) -> Result<Taken, NotTaken> {
        let timeout = queue.settings.delivery_timeout;
        loop {
            let memory = &self.shared.memory;
            let mut taken = match queue.take(&self.broker, now, room, timeout, memory) {
                Ok(taken) if taken.is_too_large => taken,
                taken => return taken,
            };
            let limit = queue.lock().accumulator.batch_bytes();
            let content = &mut taken.batch.content;
            let Ok(front) = content.split_front(limit, &mut self.decompressor) else {
                return Ok(taken);
            };
            self.put_back_split(queue, taken.batch, front);
        }
    }

    /// Seals the batches and hands the request to the connection.
    async fn dispatch(&mut self, mut batches: Vec<RequestBatch>) {
        let Some(connection) = self.connection.clone() else {
            return;
        };
        let mut records: Vec<bytes::Bytes> = Vec::with_capacity(batches.len());
        let mut repeated = 0;
        for item in &mut batches {
            let sequence = item.batch.sequence;
            let compression = item.queue.settings.compression;
            let compressor = compressor_of(&mut self.compressors, compression);
            let bytes = item.batch.content.bytes(sequence, compressor);
            #[cfg(planted_defects)]
            let bytes = match records.last() {
                Some(others) if item.batch.attempts > 1 && reuses_buffers() => others.clone(),
                _ => bytes,
            };
            records.push(bytes);
            repeated += u64::from(item.batch.attempts > 1);
            if compression.codec() != Codec::None {
                // Compressing takes long: others get their turn on a runtime with one thread.
                tokio::task::yield_now().await;
            }
        }
        let counters = &self.shared.counters;
        let bytes: usize = records.iter().map(bytes::Bytes::len).sum();
        add(&counters.bytes_sent, bytes as u64);
        add(&counters.batches_sent, records.len() as u64);
        add(&counters.retries, repeated);
        add(&counters.requests_sent, 1);
        let timeout = self.shared.config.client.request_timeout;
        let transactions = self.shared.transactions.as_deref();
        let mut request = request::build(
            self.shared.config.acks,
            timeout,
            batches.iter().map(|item| &item.to).zip(records),
        );
        request.transactional_id = transactions.map(|it| it.transactional_id().to_owned());
        let newest = transactions.map_or(i16::MAX, Transactions::newest_produce_version);
        let begins_transaction = transactions.is_some_and(|it| it.writes(&mut self.wrote_in));
        let sent = Instant::now();
        for item in batches.iter().filter(|item| item.batch.attempts <= 1) {
            let waited = sent.saturating_duration_since(item.batch.content.opened);
            counters.queue_latency.record(waited);
        }
        let deadline = sent + timeout;
        let response = version(&connection, &batches, newest).and_then(|version| {
            match self.shared.config.acks {
                Acks::None => connection
                    .submit_without_response_at(&request, version, deadline)
                    .map(PendingResponse::Written),
                _ => connection
                    .submit_at(&request, version, deadline)
                    .map(PendingResponse::Expected),
            }
        });
        drop(request);
        match response {
            Ok(response) => self.in_flight.push_back(InFlightRequest {
                response,
                batches,
                sent,
                begins_transaction,
            }),
            Err(error) => self.fail_all(batches, &error),
        }
    }
}

/// A planted defect.
#[cfg(planted_defects)]
fn reuses_buffers() -> bool {
    use crate::kafka::planted;
    planted::is_planted(planted::Defect::BufferReused)
}

/// Whether it is of no use to try again: whoever the client says it is, the broker will not have it, or what the client speaks. All else
/// may heal, and what it meant for the records is said when their time is over.
pub(crate) fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Authentication
            | ErrorKind::Authorization
            | ErrorKind::UnsupportedVersion
            | ErrorKind::Config
    )
}

/// The compressor for `compression`, made at its first use.
fn compressor_of(all: &mut Vec<Compressor>, compression: Compression) -> &mut Compressor {
    let known = all.iter().position(|one| one.compression() == compression);
    let place = known.unwrap_or_else(|| {
        all.push(Compressor::new(compression));
        all.len() - 1
    });
    &mut all[place]
}

/// The version to speak: `newest` at most, and the newest of both sides, unless that knows topics by ids only and metadata came from a broker that has none.
fn version(connection: &Connection, batches: &[RequestBatch], newest: i16) -> Result<i16> {
    let newest = connection.version_of::<ProduceRequest>()?.min(newest);
    let nameless = batches.iter().any(|item| item.to.topic_id.is_zero());
    Ok(if nameless {
        newest.min(ProduceRequest::TOPIC_IDS_FROM - 1)
    } else {
        newest
    })
}

/// Waits for the response to `request`; for ever without one.
async fn response(request: Option<&mut InFlightRequest>) -> Result<Option<ProduceResponse>> {
    match request.map(|request| &mut request.response) {
        Some(PendingResponse::Expected(pending)) => pending.await.map(Some),
        Some(PendingResponse::Written(sent)) => sent.await.map(|()| None),
        None => std::future::pending().await,
    }
}
