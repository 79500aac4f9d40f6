//! Typed consumers of a run, and their handlers, which take now little time and now much. In the group one takes the place of the other,
//! in good order or as if the machine had died.

use std::collections::BTreeSet;
use std::time::Duration;

use pat_events::events::codec::Protobuf;
use pat_events::events::email::EmailEvents;
use pat_events::events::{
    Batch, BatchError, BatchHandler, CommitPolicy, ConsumerConfig, ConsumerError, Context,
    Dispatch, EventConsumer, HandlerError, OnFailure, RetryPolicy, RetryTopics,
};
use pat_events::kafka::{GroupProtocol, OffsetReset};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::consumers::{is_fenced_by_the_past, leaves_at};
use crate::harness::{GROUPS, Harness, TOPIC};
use crate::history::{Event, Id};
use crate::plan::{Fate, Scenario};
use crate::record_format::{Handle, Handler, OwnEvents, RecordFormat};
use crate::rng::Rng;

/// How often a consumer at work is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// A place in the group that one typed consumer after the other takes; the first has the number `first`.
pub fn run_slot(harness: Harness, first: u32, rng: Rng) -> JoinHandle<()> {
    match harness.plan.format {
        RecordFormat::Email => tokio::spawn(run_members::<EmailEvents>(harness, first, rng)),
        _ => tokio::spawn(run_members::<OwnEvents>(harness, first, rng)),
    }
}

async fn run_members<S: Dispatch<Handler<Work>, Codec = Protobuf>>(
    harness: Harness,
    first: u32,
    rng: Rng,
) {
    for nth in 0.. {
        let reader = first + nth;
        let until = leaves_at(&harness, nth, &rng);
        let config = config(&harness, reader, &rng);
        let consumer = EventConsumer::<S>::new(config).expect("a good configuration");
        let lived = be_member(&harness, &consumer, reader, until, &rng).await;
        harness.recorder.record(Event::Stops { reader });
        match lived {
            // What is refused again and again may end it; an application starts it anew.
            Err(ConsumerError::Kafka(error) | ConsumerError::DeadLetterTooLarge { error, .. })
                if harness.plan.any_error && !error.is_fatal() =>
            {
                sleep(Duration::from_millis(500)).await;
                continue;
            }
            Err(ConsumerError::Kafka(error)) if is_fenced_by_the_past(&harness, &error) => continue,
            Err(error) => {
                return harness
                    .failure
                    .set(format!("typed consumer {reader}: {error}"));
            }
            Ok(()) => {}
        }
        if !harness.plan.all_is_well() && rng.chance(50) {
            continue;
        }
        let began = Instant::now();
        let stopped = consumer.stop().await;
        let took = began.elapsed();
        let may_take = harness.plan.shutdown_timeout + harness.request_timeout * 2;
        if took > may_take + Duration::from_secs(5) {
            return harness.failure.set(format!(
                "typed consumer {reader}: stopping it took {took:?}"
            ));
        }
        match stopped {
            Err(error) if harness.plan.is_handled_once() => {
                return harness
                    .failure
                    .set(format!("typed consumer {reader}: it stops with {error}"));
            }
            // Nobody can say that all is well when it is not.
            _ => {}
        }
    }
}

fn config(harness: &Harness, reader: u32, rng: &Rng) -> ConsumerConfig {
    let (_, group) = GROUPS[1];
    let plan = &harness.plan;
    let client = harness.client(reader);
    let mut config = ConsumerConfig::new("", TOPIC, group);
    config.brokers = client.bootstrap_servers.clone();
    config.kafka.client = client;
    config.kafka.group_protocol = plan.protocols.of(reader);
    config.kafka.group_instance_id = plan.instance_of(reader);
    // By the consumer protocol the brokers decide these.
    if config.kafka.group_protocol != GroupProtocol::Consumer {
        config.session_timeout = plan.session_timeout;
        config.kafka.heartbeat_interval = plan.session_timeout / 4;
        config.kafka.partition_assignment_strategy = plan.strategies.clone();
    }
    config.kafka.fetch_max_wait = Duration::from_millis(if plan.is_long() { 2_000 } else { 500 });
    config.auto_offset_reset = match plan.latest {
        true => OffsetReset::Latest,
        false => OffsetReset::Earliest,
    };
    config.max_poll_interval = plan.max_poll_interval;
    config.shutdown_timeout = plan.shutdown_timeout;
    let pause = *rng.pick(&[Duration::from_millis(100), Duration::from_secs(1)]);
    config.commit = CommitPolicy::prompt(pause);
    config.concurrency = rng.between(1, 16) as usize;
    if let Some(most) = plan.batched {
        config.batch.max_events = most;
        config.batch.linger = *rng.pick(&[Duration::ZERO, Duration::from_millis(200)]);
    }
    if plan.failing.is_some() {
        config.on_failure = OnFailure::DeadLetter;
        let (first, longest) = (Duration::from_millis(50), Duration::from_secs(2));
        let retries = if plan.retry_delays.is_empty() { 5 } else { 0 };
        config.retry = RetryPolicy::up_to(retries).backoff(first, longest);
        config.retry_topics = RetryTopics::after(plan.retry_delays.clone());
        // Each success makes room for a retry: without that they would wait for ever.
        config.retry.budget_per_second = 1;
        config.retry.budget_percent = 100;
    }
    config
}

/// Works until its time has come. Fails when the consumer ends by itself.
async fn be_member<S: Dispatch<Handler<Work>, Codec = Protobuf>>(
    harness: &Harness,
    consumer: &EventConsumer<S>,
    reader: u32,
    until: Option<Instant>,
    rng: &Rng,
) -> Result<(), ConsumerError> {
    let is_over = || until.is_some_and(|until| Instant::now() >= until);
    harness.record_committed();
    harness.recorder.record(Event::Starts { reader });
    while !consumer.is_running() {
        let work = Work {
            harness: harness.clone(),
            reader,
            rng: rng.fork(),
        };
        // No broker may be there yet.
        let started = match harness.plan.batched {
            None => consumer.start(Handler(work)).await,
            Some(_) => consumer.start_batches(work).await,
        };
        if let Err(error) = started {
            if harness.plan.scenario == Scenario::Outage {
                harness.recorder.record(Event::ReportsFailure { reader });
            }
            if let ConsumerError::Kafka(error) = &error
                && (error.is_retriable() || harness.plan.any_error)
            {
                sleep(Duration::from_millis(500)).await;
                continue;
            }
            return Err(error);
        }
    }
    let mut failed_polls = 0;
    while !is_over() {
        sleep(LOOK).await;
        if !consumer.is_running() {
            return consumer.wait().await;
        }
        let metrics = consumer.metrics();
        if metrics.failed_polls > failed_polls && harness.plan.scenario == Scenario::Outage {
            harness.recorder.record(Event::ReportsFailure { reader });
        }
        failed_polls = metrics.failed_polls;
    }
    Ok(())
}

/// What a handler does.
struct Work {
    harness: Harness,
    reader: u32,
    rng: Rng,
}

impl Handle for Work {
    async fn handle(&self, context: &Context<'_>) -> Result<(), HandlerError> {
        let id = self.begin(context);
        self.take_time().await;
        self.end(context, id)
    }
}

/// One event after the other, with its time taken for all of them.
impl<S: Send + Sync> BatchHandler<S> for Work {
    async fn handle_batch(&self, batch: Batch<'_, S>) -> Result<(), BatchError> {
        self.take_time().await;
        let mut failed: Vec<(usize, HandlerError)> = Vec::new();
        let mut keys: BTreeSet<(i32, &[u8])> = BTreeSet::new();
        for (place, (context, _)) in batch.iter().enumerate() {
            let key = (context.partition(), context.key().unwrap_or_default());
            // What is behind one of its key that failed comes again.
            if keys.contains(&key) {
                continue;
            }
            let id = self.begin(context);
            if let Err(error) = self.end(context, id) {
                keys.insert(key);
                failed.push((place, error));
            }
        }
        BatchError::of(failed)
    }
}

impl Work {
    /// Notes that an event's turn has come.
    fn begin(&self, context: &Context<'_>) -> Id {
        let (reader, partition, offset) = (self.reader, context.partition(), context.offset());
        let format = self.harness.plan.format;
        let value = context.record().value;
        let id: Id = value
            .and_then(|value| format.id(value))
            .expect("all values hold an id");
        self.harness.record_dead();
        self.harness.recorder.record(Event::Begins {
            reader,
            partition,
            offset,
            id,
        });
        id
    }

    /// Takes now little time, and now much.
    async fn take_time(&self) {
        let work = self.harness.plan.work;
        if !self.harness.has_healed() && self.rng.chance(work.slow_percent) {
            let longest = work.slow.as_millis() as u64;
            sleep(self.rng.millis(longest / 2, longest)).await;
        } else if self.rng.chance(30) {
            sleep(self.rng.millis(0, 20)).await;
        }
    }

    /// Notes how it went with an event.
    fn end(&self, context: &Context<'_>, id: Id) -> Result<(), HandlerError> {
        let (reader, partition, offset) = (self.reader, context.partition(), context.offset());
        let fate = (self.harness.plan.failing).map_or(Fate::Good, |failing| failing.fate(id));
        let error = match fate {
            Fate::Poison => Some(HandlerError::poison("it will never do")),
            Fate::Transient(failures) if context.attempt() <= failures => {
                Some(HandlerError::transient("not now"))
            }
            Fate::Good | Fate::Transient(_) => None,
        };
        let Some(error) = error else {
            self.harness.recorder.record(Event::Ends {
                reader,
                partition,
                offset,
                id,
            });
            return Ok(());
        };
        self.harness.recorder.record(Event::Fails {
            reader,
            partition,
            offset,
            id,
        });
        Err(error)
    }
}
