//! One broker's sender: the task that gathers batches into requests, keeps up to five of them in flight, and tells the partitions what
//! became of each. Decisions are the partitions' (`sequences`) and the node's; here is what awaits.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::compression::{Codec, Compressor, Decompressor};
use protocol::messages::produce_response::{NodeEndpoint, PartitionProduceResponse};
use protocol::messages::{ProduceRequest, ProduceResponse};
use protocol::{ApiKey, ErrorCode};
use tokio::time::{Duration, Instant, sleep_until};

use super::config::Acks;
use super::delivery::Written;
use super::metrics::add;
use super::node::Node;
use super::parcel::Parcel;
use super::queue::{Queue, Shipment, Taken};
use super::request::{self, Answers, Destination};
use super::sequences::Leader;
use super::shared::Shared;
use super::verdict::{self, Promise, Verdict};
use crate::kafka::cluster::{Backoff, Broker, Channel};
use crate::kafka::net::{Address, Connection, Pending, Written as Sent};
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Error, ErrorKind, Random, Result, WriteOutcome};

/// A broker's sender.
pub(super) struct Sender {
    shared: Arc<Shared>,
    node: Arc<Node>,
    connection: Option<Connection>,
    /// Requests in flight, oldest first: a connection answers in order.
    pipeline: VecDeque<Flight>,
    compressor: Compressor,
    decompressor: Decompressor,
    random: Random,
    /// Which partition is looked at first; moves, so that none is favoured.
    first: usize,
    /// Pauses between dials.
    redial: Backoff,
    promise: Promise,
}

/// A request in flight. It owns its batches.
struct Flight {
    answer: Answer,
    cargo: Vec<Cargo>,
    sent: Instant,
}

enum Answer {
    Expected(Pending<ProduceRequest>),
    /// With acks 0: done when written.
    None(Sent<ProduceRequest>),
}

/// A batch of a request.
struct Cargo {
    queue: Arc<Queue>,
    to: Destination,
    leader: Leader,
    shipment: Shipment,
}

/// What there is to send.
struct Survey {
    candidates: Vec<Arc<Queue>>,
    /// When to look again if nothing happens.
    wake_at: Option<Instant>,
}

impl Sender {
    fn new(shared: Arc<Shared>, node: Arc<Node>) -> Self {
        let random = shared.cluster.random(&format!("sender {}", node.id));
        Self {
            compressor: Compressor::new(shared.config.compression),
            decompressor: Decompressor::default(),
            connection: None,
            pipeline: VecDeque::new(),
            first: 0,
            redial: shared.cluster.retry_backoff(),
            promise: Promise {
                waits_for_replicas: shared.config.acks == Acks::All,
                is_idempotent: shared.config.is_idempotent(),
            },
            random,
            shared,
            node,
        }
    }

    /// The name of the task.
    pub fn task(node: i32) -> String {
        format!("sender of broker {node}")
    }

    /// Runs until the producer is stopped, or the sender panics. What is in flight then fails with what ended the producer, fate unknown.
    pub async fn run(shared: Arc<Shared>, node: Arc<Node>) {
        let (tasks, name) = (shared.cluster.tasks().clone(), Self::task(node.id));
        let mut sender = Self::new(shared, node);
        tasks.watched(name, sender.send()).await;
        let end = sender.shared.closed().with_outcome(WriteOutcome::Unknown);
        for flight in std::mem::take(&mut sender.pipeline) {
            sender.fail_all(flight.cargo, &end);
        }
    }

    async fn send(&mut self) {
        while !self.shared.is_stopped() {
            let wake_at = self.fill().await;
            self.node.set_in_flight(self.pipeline.len());
            tokio::select! {
                biased;
                result = answer(self.pipeline.front_mut()) => self.land(result),
                () = self.node.woken() => {}
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
            }
        }
    }

    /// Sends as long as there is room and reason to. Returns when to look again though nothing happens.
    async fn fill(&mut self) -> Option<Instant> {
        loop {
            let usable = self.connection.as_ref().is_some_and(Connection::is_open);
            let full = self.pipeline.len() >= self.shared.config.max_in_flight;
            // What a lost connection carried resolves first: nothing of it may be overtaken.
            if full || (!usable && !self.pipeline.is_empty()) || self.shared.is_stopped() {
                return None;
            }
            if !usable && self.connection.take().is_some() {
                // With acks 0 hanging up is all that a broker can do to say that it no longer leads.
                self.shared.cluster.refresh();
            }
            if let Some(until) = self.muted_until() {
                return Some(until);
            }
            let survey = self.survey(Instant::now());
            if survey.candidates.is_empty() {
                return survey.wake_at;
            }
            if !usable && let Err(moment) = self.connect().await {
                return Some(moment);
            }
            let cargo = self.load(survey.candidates, Instant::now());
            if cargo.is_empty() {
                return survey.wake_at;
            }
            self.dispatch(cargo).await;
        }
    }

    /// Until when the broker wants nothing more (KIP-219). What would be sent meanwhile waits where it costs no attempt and no part of a
    /// request's time, and where more records can join it.
    fn muted_until(&self) -> Option<Instant> {
        let until = self.connection.as_ref()?.throttled_until()?;
        (until > Instant::now()).then_some(until)
    }

    /// Which partitions have something to send, if it is time to send.
    fn survey(&mut self, now: Instant) -> Survey {
        let queues = self.node.queues();
        let (mut candidates, mut wake_at): (Vec<_>, Option<Instant>) = (Vec::new(), None);
        let (mut bytes, mut urgent) = (0, self.shared.is_urgent());
        let start = self.first.checked_rem(queues.len()).unwrap_or(0);
        for queue in queues[start..].iter().chain(&queues[..start]) {
            if queue.waiting() == 0 {
                continue;
            }
            let prospect = queue.prospect(&self.node, now, self.shared.config.linger);
            wake_at = wake_at.into_iter().chain(prospect.wake_at).min();
            if prospect.bytes > 0 {
                bytes += prospect.bytes;
                urgent |= prospect.urgent;
                candidates.push(queue.clone());
            }
        }
        if !(urgent || self.pipeline.is_empty() || self.node.is_enough(bytes)) {
            candidates.clear();
        }
        Survey {
            candidates,
            wake_at,
        }
    }

    /// Connects to the broker; fails with the moment to try again at.
    async fn connect(&mut self) -> Result<(), Instant> {
        let config = &self.shared.config.client;
        let deadline = Instant::now() + config.connect_timeout;
        let connection = self
            .shared
            .cluster
            .connection(self.node.id, Channel::Produce, deadline);
        match connection.await {
            Ok(connection) => {
                self.redial.succeeded();
                self.node.note(None);
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                self.node.note(Some(error.clone()));
                if is_final(&error) {
                    self.shared.refuse(&self.node, &error);
                }
                Err(Instant::now() + self.redial.failed(&mut self.random))
            }
        }
    }

    /// Takes one batch from each candidate, as many as fit into a request.
    fn load(&mut self, candidates: Vec<Arc<Queue>>, now: Instant) -> Vec<Cargo> {
        let mut room = self.shared.config.max_request_bytes;
        let mut cargo = Vec::with_capacity(candidates.len());
        for queue in candidates {
            // The first one always fits: a batch alone is never over the limit for requests.
            let limit = if cargo.is_empty() { usize::MAX } else { room };
            let Some(taken) = self.take(&queue, limit, now) else {
                continue;
            };
            let Taken {
                shipment,
                leader,
                topic_id,
                ..
            } = taken;
            room = room.saturating_sub(shipment.content.uncompressed_len());
            self.first = self.first.wrapping_add(1);
            cargo.push(Cargo {
                to: Destination {
                    topic: queue.topic.clone(),
                    topic_id,
                    partition: queue.partition,
                },
                queue,
                leader,
                shipment,
            });
            if room == 0 {
                break;
            }
        }
        cargo
    }

    /// The partition's next batch. One that was built before a smaller limit was learnt is cut up first.
    fn take(&mut self, queue: &Queue, room: usize, now: Instant) -> Option<Taken> {
        let timeout = self.shared.config.delivery_timeout;
        loop {
            let buffers = &self.shared.buffers;
            let mut taken = queue.take(&self.node, now, room, timeout, buffers)?;
            if !taken.is_too_large {
                return Some(taken);
            }
            let limit = queue.lock().accumulator.batch_bytes();
            let content = &mut taken.shipment.content;
            let Ok(front) = content.split_front(limit, &mut self.decompressor) else {
                return Some(taken);
            };
            self.put_back_split(queue, taken.shipment, front);
        }
    }

    /// Seals the batches and hands the request to the connection.
    async fn dispatch(&mut self, mut cargo: Vec<Cargo>) {
        let Some(connection) = self.connection.clone() else {
            return;
        };
        let mut batches = Vec::with_capacity(cargo.len());
        let mut repeated = 0;
        for item in &mut cargo {
            let stamp = item.shipment.stamp;
            batches.push(item.shipment.content.bytes(stamp, &mut self.compressor));
            repeated += u64::from(item.shipment.attempts > 1);
            if self.shared.config.compression.codec() != Codec::None {
                // Compressing takes long: others get their turn on a runtime with one thread.
                tokio::task::yield_now().await;
            }
        }
        let counters = &self.shared.counters;
        let bytes: usize = batches.iter().map(bytes::Bytes::len).sum();
        add(&counters.bytes_sent, bytes as u64);
        add(&counters.batches_sent, batches.len() as u64);
        add(&counters.retries, repeated);
        add(&counters.requests_sent, 1);
        let timeout = self.shared.config.client.request_timeout;
        let request = request::build(
            self.shared.config.acks,
            timeout,
            cargo.iter().map(|item| &item.to).zip(batches),
        );
        let sent = Instant::now();
        let deadline = sent + timeout;
        let answer =
            version(&connection, &cargo).and_then(|version| match self.shared.config.acks {
                Acks::None => connection
                    .submit_without_response_at(&request, version, deadline)
                    .map(Answer::None),
                _ => connection
                    .submit_at(&request, version, deadline)
                    .map(Answer::Expected),
            });
        drop(request);
        match answer {
            Ok(answer) => self.pipeline.push_back(Flight {
                answer,
                cargo,
                sent,
            }),
            Err(error) => self.fail_all(cargo, &error),
        }
    }

    /// The oldest request in flight was answered, or will not be.
    fn land(&mut self, result: Result<Option<ProduceResponse>>) {
        let Some(flight) = self.pipeline.pop_front() else {
            return;
        };
        let now = Instant::now();
        self.shared
            .counters
            .request_latency
            .record(now - flight.sent);
        match result {
            Ok(Some(response)) => self.settle(flight.cargo, response, now),
            Ok(None) => {
                for item in flight.cargo {
                    self.deliver(item, None, None, now);
                }
            }
            Err(error) => self.fail_all(flight.cargo, &error),
        }
    }

    fn settle(&mut self, cargo: Vec<Cargo>, mut response: ProduceResponse, now: Instant) {
        let endpoints = std::mem::take(&mut response.node_endpoints);
        let mut answers = Answers::new(response);
        for item in cargo {
            let Some(answer) = answers.take(&item.to) else {
                let error = self.explain(Error::new(
                    ErrorKind::Protocol,
                    "the response does not mention the partition",
                ));
                self.fail(item, Verdict::Retry(WriteOutcome::Unknown), error, now);
                continue;
            };
            let cluster = &self.shared.cluster;
            let to = &item.to;
            cluster.answered_as_leader(&to.topic, to.partition, self.node.id, answer.error_code);
            let leader = answer.current_leader.leader_id;
            if leader >= 0 {
                let endpoint = endpoints
                    .iter()
                    .find(|endpoint| endpoint.node_id == leader)
                    .and_then(broker_at);
                let epoch = answer.current_leader.leader_epoch;
                cluster.leader_hint(&to.topic, to.partition, leader, epoch, endpoint);
            }
            self.judge(item, &answer, now);
        }
    }

    /// Does what the broker's answer to a batch asks for.
    fn judge(&mut self, item: Cargo, answer: &PartitionProduceResponse, now: Instant) {
        let code = answer.error_code;
        let verdict = verdict::of_code(code, self.promise);
        if request::asks_for_metadata(code) {
            self.shared.cluster.refresh();
        }
        match verdict {
            Verdict::Written => {
                let known = code == ErrorCode::NONE && answer.base_offset >= 0;
                let base_offset = known.then_some(answer.base_offset);
                let append_time_ms =
                    (answer.log_append_time_ms >= 0).then_some(answer.log_append_time_ms);
                self.deliver(item, base_offset, append_time_ms, now);
            }
            Verdict::TooLarge if item.shipment.count > 1 => {
                let bytes = item.shipment.content.uncompressed_len() / 2;
                self.shared.limit_batches(&item.to.topic, bytes);
                self.split(item, verdict, answer, now);
            }
            Verdict::TooLarge => {
                let advice = "send a smaller one, or raise max.message.bytes of the topic";
                let error = Error::server(code, Some(advice));
                self.fail(item, verdict, self.explain(error), now);
            }
            Verdict::Fail(_) if verdict::blames_records(code) => {
                self.sift(item, verdict, answer, now)
            }
            _ => self.refuse(item, verdict, answer, now),
        }
    }

    /// Some records were refused, and for their sake the batch: they fail, and the others go out without them. Where the broker does not
    /// name them, they are searched for.
    fn sift(
        &mut self,
        mut item: Cargo,
        verdict: Verdict,
        answer: &PartitionProduceResponse,
        now: Instant,
    ) {
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::RefusalOfAll) {
            return self.refuse(item, verdict, answer, now);
        }
        let count = item.shipment.count;
        let refused = request::refused_records(answer, count);
        let (may_renumber, may_search) = {
            let mut state = item.queue.lock();
            let may_renumber = state.lane.may_renumber(&item.shipment);
            (may_renumber, state.lane.may_search(&item.shipment))
        };
        let content = &mut item.shipment.content;
        let parts = if count == 1 || refused.is_empty() || !may_renumber {
            None
        } else if refused.len() == count as usize {
            Some(content.take_out_all(&refused))
        } else {
            content.take_out(&refused, &mut self.decompressor).ok()
        };
        let Some(parts) = parts else {
            return if may_search {
                self.split(item, verdict, answer, now);
            } else {
                self.refuse(item, verdict, answer, now);
            };
        };
        let attempts = item.shipment.attempts;
        let (code, failed) = (answer.error_code, refused.len() as u32);
        let lost = item
            .queue
            .thinned(item.shipment, count - failed, &self.shared.buffers);
        let failed = lost + u64::from(failed);
        add(&self.shared.counters.records_failed, failed);
        for (part, refused) in parts.into_iter().zip(refused) {
            let text = refused.message.or_else(|| answer.error_message.clone());
            let error = self
                .explain(Error::server(code, text.as_deref()))
                .topic_partition(item.to.topic.clone(), item.to.partition)
                .attempt(attempts)
                .with_outcome(WriteOutcome::NotWritten);
            part.resolve(Err(error));
        }
    }

    /// The batch as a whole was refused.
    fn refuse(
        &mut self,
        item: Cargo,
        verdict: Verdict,
        answer: &PartitionProduceResponse,
        now: Instant,
    ) {
        let text = request::explanation(answer);
        let error = Error::server(answer.error_code, text.as_deref());
        self.fail(item, verdict, self.explain(error), now);
    }

    fn deliver(
        &mut self,
        item: Cargo,
        base_offset: Option<i64>,
        append_time_ms: Option<i64>,
        now: Instant,
    ) {
        let (counters, content) = (&self.shared.counters, &item.shipment.content);
        add(&counters.records_delivered, u64::from(item.shipment.count));
        add(&counters.bytes_delivered, content.uncompressed_len() as u64);
        counters.delivery_latency.record(now - content.opened);
        let written = Written {
            base_offset,
            append_time_ms,
        };
        let lost = item
            .queue
            .written(item.shipment, item.leader, written, &self.shared.buffers);
        add(&counters.records_failed, lost);
    }

    /// Cuts the refused batch in two, which take its place.
    fn split(
        &mut self,
        mut item: Cargo,
        verdict: Verdict,
        answer: &PartitionProduceResponse,
        now: Instant,
    ) {
        let content = &mut item.shipment.content;
        let half = content.uncompressed_len() / 2;
        match content.split_front(half, &mut self.decompressor) {
            Ok(front) => self.put_back_split(&item.queue, item.shipment, front),
            Err(_) => self.refuse(item, verdict, answer, now),
        }
    }

    fn put_back_split(&self, queue: &Queue, rest: Shipment, front: Parcel) {
        add(&self.shared.counters.splits, 1);
        let lost = queue.change(&self.shared.buffers, |state| {
            state.lane.split(rest, front.count(), front);
        });
        add(&self.shared.counters.records_failed, lost);
    }

    fn fail_all(&mut self, cargo: Vec<Cargo>, error: &Error) {
        let (verdict, now) = (verdict::of_error(error), Instant::now());
        self.shared.cluster.refresh();
        for item in cargo {
            self.fail(item, verdict, error.clone(), now);
        }
    }

    fn fail(&mut self, item: Cargo, verdict: Verdict, error: Error, now: Instant) {
        let backoff = self.backoff(item.shipment.attempts);
        let lost = item.queue.failed(
            item.shipment,
            verdict,
            error,
            now,
            backoff,
            &self.shared.buffers,
        );
        add(&self.shared.counters.records_failed, lost);
    }

    fn explain(&self, error: Error) -> Error {
        let error = error.api(ApiKey::PRODUCE);
        match &self.connection {
            Some(connection) => {
                let (id, address) = connection.broker();
                error.broker(id, address)
            }
            None => error,
        }
    }

    /// The pause after `attempts` failures in a row (KIP-580).
    fn backoff(&mut self, attempts: u32) -> Duration {
        let config = &self.shared.config.client;
        let doubled = config
            .retry_backoff
            .saturating_mul(1 << attempts.saturating_sub(1).min(16));
        self.random.jittered(doubled.min(config.retry_backoff_max))
    }
}

/// Whether it is of no use to try again: whoever the client says it is, the broker will not have it, or what the client speaks. All else
/// may heal, and what it meant for the records is said when their time is over.
pub(super) fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Authentication
            | ErrorKind::Authorization
            | ErrorKind::UnsupportedVersion
            | ErrorKind::Config
    )
}

/// The version to speak: the newest, unless that knows topics by ids only and metadata came from a broker that has none.
fn version(connection: &Connection, cargo: &[Cargo]) -> Result<i16> {
    const LAST_WITH_NAMES: i16 = 12;
    let newest = connection.version_of::<ProduceRequest>()?;
    let nameless = cargo.iter().any(|item| item.to.topic_id.is_zero());
    Ok(if nameless {
        newest.min(LAST_WITH_NAMES)
    } else {
        newest
    })
}

fn broker_at(endpoint: &NodeEndpoint) -> Option<Broker> {
    Some(Broker {
        id: endpoint.node_id,
        address: Address::new(&*endpoint.host, u16::try_from(endpoint.port).ok()?),
        rack: endpoint.rack.clone(),
    })
}

/// Waits for the answer to `flight`; for ever without one.
async fn answer(flight: Option<&mut Flight>) -> Result<Option<ProduceResponse>> {
    match flight.map(|flight| &mut flight.answer) {
        Some(Answer::Expected(pending)) => pending.await.map(Some),
        Some(Answer::None(sent)) => sent.await.map(|()| None),
        None => std::future::pending().await,
    }
}
