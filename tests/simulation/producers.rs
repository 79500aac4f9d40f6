//! The producers of a run: each sends its records, now slowly, now all at once, and notes what it is told of each. In the end each must get
//! through again.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use pat_events::events::{self, EventProducer};
use pat_events::kafka::{
    Acks, Delivery, Error, ErrorKind, Producer, ProducerConfig, RecordMetadata, Result,
    WriteOutcome,
};
use tokio::time::{Instant, sleep, timeout_at};

use crate::harness::{Harness, MAX_MESSAGE_BYTES, TOPIC};
use crate::history::{Event, Id, ReportedOutcome};
use crate::plan::{Plan, Scenario};
use crate::record_format::{RecordFormat, Writer};
use crate::rng::Rng;

/// How long a producer may take, once everything is healed and all its records are sent, to get one more of each key written.
const RECOVERS_WITHIN: Duration = Duration::from_secs(60);

/// What the producers of a run do; drawn once for all of them.
#[derive(Clone, Debug)]
pub struct Load {
    pub producers: u32,
    pub idempotence: bool,
    records: u32,
    keys: u32,
    batch_bytes: usize,
    in_flight: usize,
    compression: &'static str,
    delivery_timeout: Duration,
    linger: Duration,
    retries: u32,
    retry_backoff: Duration,
    /// Of a hundred records, how many are followed by a pause, and of how long at the most.
    pause_percent: u64,
    pause_ms: u64,
}

impl Load {
    pub fn draw(rng: &Rng, plan: &Plan) -> Self {
        let mut load = Self {
            producers: rng.between(1, 2) as u32,
            idempotence: rng.chance(75),
            records: rng.between(20, 400) as u32,
            keys: rng.between(1, 12) as u32,
            batch_bytes: *rng.pick(&[120, 600, 20_000]),
            in_flight: rng.between(1, 5) as usize,
            compression: *rng.pick(&["none", "none", "lz4", "zstd"]),
            delivery_timeout: Duration::from_secs(*rng.pick(&[5, 40, 120])),
            linger: *rng.pick(&[Duration::from_millis(5), Duration::from_secs(1)]),
            retries: u32::MAX,
            retry_backoff: Duration::from_millis(100),
            pause_percent: *rng.pick(&[1, 10, 60]),
            pause_ms: 500,
        };
        if plan.scenario != Scenario::Chaos {
            // Spread over the time that it lasts.
            load.records = load.records.min(120);
            load.pause_percent = 60;
            load.pause_ms = (plan.lasts.as_millis() as u64 / 60).clamp(50, 2_000);
        }
        if plan.work.slow_percent > 0 {
            load.records = load.records.min(60);
        }
        if !plan.retry_delays.is_empty() {
            // With one key each event waits for all before it.
            load.records = load.records.min(100);
        }
        if plan.all_is_well() {
            // Long enough that nothing fails for it.
            load.delivery_timeout = Duration::from_secs(120);
        }
        if plan.refused_percent > 0 {
            // Nothing that is good has to wait for what is not.
            load.delivery_timeout = Duration::from_secs(10);
            load.retry_backoff = Duration::from_secs(3);
            load.batch_bytes = MAX_MESSAGE_BYTES * 2;
            load.pause_percent = 5;
        }
        if plan.quota.is_some() {
            // A doubt about an answer is settled by a repetition, which the application must have allowed. Where sessions end, there are as many
            // doubts as pauses: what was sent behind a request that brings one is read after it, and a broker that finds the session
            // over by then closes the connection. Nobody can know it when it is sent.
            if !plan.garbled && plan.security.mechanism.is_none() {
                load.retries = 2;
            }
            load.batch_bytes = 20_000;
            load.in_flight = load.in_flight.min(2);
        }
        load.idempotence |= plan.garbled;
        load
    }

    /// Has each producer send so many records at the most.
    pub fn limit(&mut self, records: u32) {
        self.records = self.records.min(records);
    }

    pub fn delivery_timeout(&self, harness: &Harness) -> Duration {
        match harness.plan.all_is_well() {
            true => self.delivery_timeout,
            // What is in flight is awaited for the request timeout.
            false => self
                .delivery_timeout
                .max(harness.request_timeout + self.linger),
        }
    }

    fn config(&self, harness: &Harness, nth: u32) -> ProducerConfig {
        let mut config = ProducerConfig::new("");
        config.client = harness.client(nth);
        config.client.retry_backoff = self.retry_backoff;
        config.client.retry_backoff_max = self.retry_backoff.max(config.client.retry_backoff_max);
        config.acks = Acks::All;
        config.idempotence = Some(self.idempotence);
        config.batch_bytes = self.batch_bytes;
        config.linger = self.linger;
        config.max_in_flight = self.in_flight;
        config.retries = self.retries;
        config.compression = self.compression.parse().expect("a codec");
        config.delivery_timeout = self.delivery_timeout(harness);
        config.max_block = Duration::from_secs(60);
        config
    }
}

/// Sends all records of the `nth` producer and, once everything is healed, one of each key that must be written. Ends when the fate of each
/// is known; fails when what is healed does not let it write.
pub async fn produce(harness: Harness, load: Load, nth: u32, rng: Rng) -> Result<(), String> {
    let writer = connect(load.config(&harness, nth), harness.plan.format).await;
    let mut sending = Sending {
        harness: &harness,
        writer: &writer,
        rng: &rng,
        delivery_timeout: load.delivery_timeout(&harness),
        next: Id {
            producer: nth,
            number: 0,
        },
    };
    let mut open = Open {
        harness: &harness,
        deliveries: VecDeque::new(),
    };
    for _ in 0..load.records {
        let key = rng.between(0, u64::from(load.keys) - 1) as u32;
        // What is not accepted is not in the history: the checker wants it not to be in the log either. Whether the producer ever accepts
        // anything again shows in the end.
        if let Some(Ok(accepted)) = sending.send_some(key).await {
            open.deliveries.push_back(accepted);
        }
        open.report_known();
        if rng.chance(load.pause_percent) {
            sleep(rng.millis(0, load.pause_ms)).await;
        }
        if rng.chance(1) {
            // Its result is that of the deliveries.
            let _ = writer.flush().await;
            open.report_known();
            harness.recorder.record(Event::Flushed { producer: nth });
        }
    }
    harness.is_healed().await;
    let recovered = sending.reach_every_key(load.keys).await;
    open.report_rest().await;
    // As above.
    let _ = writer.close(Duration::from_secs(60)).await;
    recovered.map_err(|error| format!("producer {nth} does not recover: {error}"))
}

async fn connect(config: ProducerConfig, format: RecordFormat) -> Writer {
    loop {
        // No broker may be there yet.
        match connect_once(config.clone(), format).await {
            Ok(writer) => return writer,
            Err(error) if error.is_fatal() => panic!("{error}"),
            Err(_) => sleep(Duration::from_millis(500)).await,
        }
    }
}

async fn connect_once(config: ProducerConfig, format: RecordFormat) -> Result<Writer> {
    if format == RecordFormat::Raw {
        return Ok(Writer::Raw(Producer::connect(config).await?));
    }
    let mut typed = events::ProducerConfig::new("", TOPIC);
    typed.brokers = config.client.bootstrap_servers.clone();
    typed.compression = config.compression;
    typed.idempotence = config.is_idempotent();
    typed.flush_timeout = config.linger;
    typed.kafka = config;
    let writer = EventProducer::connect(typed).await?;
    Ok(match format {
        RecordFormat::Own => Writer::Own(writer),
        _ => Writer::Email(writer),
    })
}

/// A producer at work.
struct Sending<'a> {
    harness: &'a Harness,
    writer: &'a Writer,
    rng: &'a Rng,
    delivery_timeout: Duration,
    next: Id,
}

impl Sending<'_> {
    /// Hands one record to the producer: one that the broker takes, or one that it refuses, by chance; or changes its mind before the
    /// producer has accepted it.
    async fn send_some(&mut self, key: u32) -> Option<Result<(Id, Delivery)>> {
        let plan = &self.harness.plan;
        let good = !self.rng.chance(plan.refused_percent);
        if !self.rng.chance(plan.cancelled_percent) {
            return Some(self.send(key, good).await);
        }
        let polls = self.rng.between(1, 3) as u32;
        poll_then_drop(self.send(key, good), polls).await
    }

    async fn send(&mut self, key: u32, good: bool) -> Result<(Id, Delivery)> {
        let id = self.next;
        self.next.number += 1;
        let keyless = !good && self.harness.plan.compacted;
        let padding = match good || keyless {
            true => self.rng.between(0, 52) as usize,
            false => MAX_MESSAGE_BYTES + 500,
        };
        let record_key = (!keyless).then_some(key);
        let enqueued = self.writer.enqueue(TOPIC, id, record_key, padding);
        let delivery = enqueued.await?;
        self.harness
            .recorder
            .record(Event::Accepted { id, key, good });
        Ok((id, delivery))
    }

    /// A record for a partition that the topic of this name does not have any more waits for it as long as it may, as with Java's producer.
    fn patience(&self) -> Duration {
        match self.harness.plan.scenario {
            Scenario::TopicRecreated => RECOVERS_WITHIN + self.delivery_timeout,
            _ => RECOVERS_WITHIN,
        }
    }

    /// Gets a record of every key written: a producer that only ever reports failures breaks no other rule.
    async fn reach_every_key(&mut self, keys: u32) -> Result<(), String> {
        let deadline = Instant::now() + self.patience();
        for key in 0..keys {
            let mut last = None;
            while let Err(error) = timeout_at(deadline, self.write(key))
                .await
                .map_err(|_| format!("nothing of key {key} is written: {last:?}"))?
            {
                last = Some(error);
                sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    async fn write(&mut self, key: u32) -> Result<()> {
        let (id, delivery) = self.send(key, true).await?;
        let outcome = delivery.await;
        report(self.harness, id, outcome.clone());
        outcome.map(drop)
    }
}

/// Polls a future so often at the most, then drops it.
pub async fn poll_then_drop<T>(future: impl Future<Output = T>, polls: u32) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Records whose fate is not known yet.
struct Open<'a> {
    harness: &'a Harness,
    deliveries: VecDeque<(Id, Delivery)>,
}

impl Open<'_> {
    fn report_known(&mut self) {
        let harness = self.harness;
        self.deliveries
            .retain(|(id, delivery)| match delivery.outcome() {
                Some(outcome) => {
                    report(harness, *id, outcome);
                    false
                }
                None => true,
            });
    }

    async fn report_rest(&mut self) {
        while let Some((id, delivery)) = self.deliveries.pop_front() {
            report(self.harness, id, delivery.await);
        }
    }
}

fn report(harness: &Harness, id: Id, outcome: Result<RecordMetadata, Error>) {
    let outcome = match outcome {
        Ok(RecordMetadata {
            partition,
            offset: Some(offset),
            ..
        }) => ReportedOutcome::Written { partition, offset },
        // A duplicate that the broker no longer knows the offset of.
        Ok(_) => ReportedOutcome::Unknown,
        Err(error) if error.outcome() == WriteOutcome::NotWritten => match error.kind() {
            ErrorKind::Timeout => ReportedOutcome::Expired,
            _ => ReportedOutcome::NotWritten,
        },
        Err(_) => ReportedOutcome::Unknown,
    };
    harness.recorder.record(Event::Reported { id, outcome });
}
