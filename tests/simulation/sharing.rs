//! The members of a run's share group (KIP-932), where it has one: consumers that are polled and acknowledge now this way, now that, or queues of
//! events with their handlers. One takes the place of the other, in good order or as if the machine had died.

use std::time::Duration;

use pat_events::events::codec::Protobuf;
use pat_events::events::email::EmailEvents;
use pat_events::events::{
    ConsumerError, Context, Dispatch, EventQueue, HandlerError, OnFailure, QueueConfig, RetryPolicy,
};
use pat_events::kafka::consumer::Acquisition;
use pat_events::kafka::{
    AcknowledgeType, AcknowledgementMode, AcquireMode, Client, Error, ShareConsumer,
    ShareConsumerConfig, WriteOutcome,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::consumers::{leaves_at, tolerate};
use crate::harness::{Harness, TOPIC};
use crate::history::{Decision, Event, Id};
use crate::plan::{Fate, Sharing};
use crate::record_format::{Handle, Handler, OwnEvents, RecordFormat};
use crate::rng::Rng;

pub const GROUP: &str = "sharing";
/// Where the dead letters of its queues go.
pub const DEAD_TOPIC: &str = "sharing.dlq";
/// Members that are polled count from here; a hundred for each slot.
pub const FIRST_SHARING: u32 = 6_000;
/// As do queues.
pub const FIRST_QUEUE: u32 = 8_000;

/// How often a queue at work is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Long enough to tell what was decided.
const CLOSE: Duration = Duration::from_secs(10);

/// The members at work.
pub struct Members(Vec<JoinHandle<()>>);

impl Members {
    pub fn start(harness: &Harness, rng: &Rng) -> Self {
        let Some(sharing) = harness.plan.sharing else {
            return Self(Vec::new());
        };
        let slot = |slot| {
            let (harness, rng) = (harness.clone(), rng.fork());
            let (polled, queue) = (FIRST_SHARING + 100 * slot, FIRST_QUEUE + 100 * slot);
            match harness.plan.format {
                _ if !sharing.queues => tokio::spawn(run_slot(harness, sharing, polled, rng)),
                RecordFormat::Email => {
                    tokio::spawn(run_queues::<EmailEvents>(harness, sharing, queue, rng))
                }
                _ => tokio::spawn(run_queues::<OwnEvents>(harness, sharing, queue, rng)),
            }
        };
        Self((0..sharing.members).map(slot).collect())
    }

    /// Whether the group is done with all that the topic has.
    pub fn are_done(&self, harness: &Harness) -> bool {
        let is_done = |partition| {
            let end = harness
                .broker
                .log(TOPIC, partition)
                .map(|log| log.end_offset);
            let start = harness.broker.share_start_offset(GROUP, TOPIC, partition);
            // Of what nobody has ever written to nobody fetches, perhaps.
            start == end || end == Some(0)
        };
        self.0.is_empty() || (0..harness.partitions()).all(is_done)
    }

    pub async fn stop(self) {
        for task in self.0 {
            task.abort();
            // It was told to stop: that is all its result can say.
            let _ = task.await;
        }
    }
}

/// A place in the group that one member after the other takes.
async fn run_slot(harness: Harness, sharing: Sharing, first: u32, rng: Rng) {
    for nth in 0.. {
        let reader = first + nth;
        let until = leaves_at(&harness, nth, &rng)
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(100_000));
        let config = config(&harness, reader, &rng);
        let mut member = Polling {
            is_implicit: config.acknowledgement_mode == AcknowledgementMode::Implicit,
            consumer: connect(config).await,
            harness: &harness,
            sharing,
            reader,
            rng: &rng,
            held: Vec::new(),
            sent: Vec::new(),
            went_along: false,
        };
        let lived = timeout_at(until, member.live()).await;
        harness.recorder.record(Event::Stops { reader });
        if let Ok(Err(error)) = lived {
            return harness
                .failure
                .set(format!("member {reader} of the share group: {error}"));
        }
        if harness.plan.all_is_well() || rng.chance(50) {
            // Whether or not the brokers hear of it.
            let _ = member.consumer.close(CLOSE).await;
        }
    }
}

fn config(harness: &Harness, reader: u32, rng: &Rng) -> ShareConsumerConfig {
    let mut config = ShareConsumerConfig::new("", GROUP);
    config.client = harness.client(reader);
    config.acknowledgement_mode = match rng.chance(40) {
        true => AcknowledgementMode::Implicit,
        false => AcknowledgementMode::Explicit,
    };
    config.acquire_mode = match rng.chance(50) {
        true => AcquireMode::RecordLimit,
        false => AcquireMode::BatchOptimized,
    };
    config.max_poll_records = *rng.pick(&[1, 5, 500]);
    if harness.plan.is_held_alone() && config.acquire_mode == AcquireMode::BatchOptimized {
        // What waits behind other polls is locked for nobody knows how long.
        config.max_poll_records = 500;
    }
    config.max_poll_interval = harness.plan.max_poll_interval;
    config
}

async fn connect(config: ShareConsumerConfig) -> ShareConsumer {
    loop {
        // No broker may be there yet.
        match ShareConsumer::connect(config.clone()).await {
            Ok(consumer) => return consumer,
            Err(_) => sleep(Duration::from_millis(500)).await,
        }
    }
}

/// A record that a member has been given.
#[derive(Clone)]
struct Taken {
    acquisition: Acquisition,
    id: Id,
}

/// A member that is polled.
struct Polling<'a> {
    consumer: ShareConsumer,
    is_implicit: bool,
    harness: &'a Harness,
    sharing: Sharing,
    reader: u32,
    rng: &'a Rng,
    /// What is not decided yet.
    held: Vec<Taken>,
    /// What was decided since the last poll or commit.
    sent: Vec<(Taken, Decision)>,
    /// Whether polls have taken decisions along since the last commit.
    went_along: bool,
}

impl Polling<'_> {
    async fn live(&mut self) -> pat_events::kafka::Result<()> {
        while let Err(error) = self.consumer.subscribe(&[TOPIC]).await {
            tolerate(self.harness, self.reader, error).await?;
        }
        let reader = self.reader;
        self.harness.recorder.record(Event::Starts { reader });
        loop {
            self.poll().await?;
            self.work().await;
            if self.is_implicit {
                if self.rng.chance(30) {
                    self.accept_all();
                    self.commit().await?;
                }
                continue;
            }
            self.decide().await?;
            if self.rng.chance(70) {
                self.commit().await?;
            }
        }
    }

    async fn poll(&mut self) -> pat_events::kafka::Result<()> {
        if self.is_implicit {
            self.accept_all();
        }
        // What was decided goes along; nobody hears what became of it.
        self.went_along |= !self.sent.is_empty();
        self.sent.clear();
        let wait = self.rng.millis(10, 1_000);
        let records = match self.consumer.poll(wait).await {
            Ok(records) => records,
            Err(error) => return tolerate(self.harness, self.reader, error).await,
        };
        for record in &records {
            let value = record.value.and_then(|it| self.harness.plan.format.id(it));
            let taken = Taken {
                acquisition: record.acquisition(),
                id: value.expect("all values hold an id"),
            };
            self.harness.recorder.record(Event::Acquired {
                reader: self.reader,
                partition: record.partition,
                offset: record.offset,
                id: taken.id,
                count: u32::try_from(record.delivery_count()).expect("at least 1"),
            });
            self.held.push(taken);
        }
        Ok(())
    }

    /// Takes its time with what there is.
    async fn work(&self) {
        let Sharing {
            slow_percent, slow, ..
        } = self.sharing;
        if self.held.is_empty() || self.harness.has_healed() {
            return;
        }
        if self.rng.chance(slow_percent) {
            let longest = slow.as_millis() as u64;
            sleep(self.rng.millis(longest / 2, longest)).await;
        } else if self.rng.chance(30) {
            sleep(self.rng.millis(0, 100)).await;
        }
    }

    /// In implicit mode: the next poll or commit accepts what the last one returned.
    fn accept_all(&mut self) {
        for taken in std::mem::take(&mut self.held) {
            self.note(&taken, Decision::Accept);
            self.sent.push((taken, Decision::Accept));
        }
    }

    /// Decides what becomes of each record; of one now and then nothing is said.
    async fn decide(&mut self) -> pat_events::kafka::Result<()> {
        let mut renewed = Vec::new();
        for taken in std::mem::take(&mut self.held) {
            let (decision, what) = match self.rng.between(0, 99) {
                _ if self.harness.has_healed() => (Decision::Accept, AcknowledgeType::Accept),
                0..10 => (Decision::Release, AcknowledgeType::Release),
                10..15 => (Decision::Reject, AcknowledgeType::Reject),
                15..20 => (Decision::Renew, AcknowledgeType::Renew),
                20..23 => continue,
                _ => (Decision::Accept, AcknowledgeType::Accept),
            };
            self.acknowledge(&taken, decision, what);
            if decision == Decision::Renew {
                renewed.push(taken);
            }
        }
        if renewed.is_empty() {
            return Ok(());
        }
        self.commit().await?;
        sleep(self.rng.millis(0, 500)).await;
        for taken in renewed {
            self.acknowledge(&taken, Decision::Accept, AcknowledgeType::Accept);
        }
        Ok(())
    }

    fn acknowledge(&mut self, taken: &Taken, decision: Decision, what: AcknowledgeType) {
        // One that is not held any more comes again.
        if self.consumer.acknowledge(&taken.acquisition, what).is_ok() {
            self.note(taken, decision);
            self.sent.push((taken.clone(), decision));
        }
    }

    fn note(&self, taken: &Taken, how: Decision) {
        self.harness.recorder.record(Event::Decides {
            reader: self.reader,
            partition: taken.acquisition.topic_partition().partition,
            offset: taken.acquisition.offset(),
            id: taken.id,
            count: u32::try_from(taken.acquisition.delivery_count()).expect("at least 1"),
            how,
        });
    }

    /// Tells the brokers what was decided, and notes what became of that.
    async fn commit(&mut self) -> pat_events::kafka::Result<()> {
        let results = match self.consumer.commit_sync().await {
            Ok(results) => results,
            Err(error) => return tolerate(self.harness, self.reader, error).await,
        };
        let went_along = std::mem::take(&mut self.went_along);
        for (taken, how) in self.sent.drain(..) {
            let acquisition = &taken.acquisition;
            let partition = acquisition.topic_partition();
            let done = match results.get(partition) {
                Some(Ok(())) => true,
                // Unless it is about what a poll took along.
                Some(Err(error)) if error.outcome() == WriteOutcome::NotWritten && !went_along => {
                    false
                }
                Some(Err(_)) | None => continue,
            };
            self.harness.recorder.record(Event::Settled {
                reader: self.reader,
                partition: partition.partition,
                offset: acquisition.offset(),
                id: taken.id,
                count: u32::try_from(acquisition.delivery_count()).expect("at least 1"),
                how,
                done,
            });
        }
        Ok(())
    }
}

/// A place in the group that one queue after the other takes.
async fn run_queues<S: Dispatch<Handler<Work>, Codec = Protobuf>>(
    harness: Harness,
    sharing: Sharing,
    first: u32,
    rng: Rng,
) {
    for nth in 0.. {
        let reader = first + nth;
        let until = leaves_at(&harness, nth, &rng);
        let client = Client::lazy(harness.client(reader)).expect("a good configuration");
        let config = queue_config(&harness, &sharing, &rng);
        let queue = EventQueue::<S>::on(&client, config).expect("a good configuration");
        let work = Work {
            harness: harness.clone(),
            sharing,
            reader,
            rng: rng.fork(),
        };
        let lived = work_until(&harness, &queue, work, until).await;
        harness.recorder.record(Event::Stops { reader });
        match lived {
            // What is refused again and again may end it; an application starts it anew.
            Err(ConsumerError::Kafka(error) | ConsumerError::DeadLetterTooLarge { error, .. })
                if is_passing(&harness, &error) =>
            {
                sleep(Duration::from_millis(500)).await;
                continue;
            }
            Err(error) => {
                return harness.failure.set(format!("queue {reader}: {error}"));
            }
            Ok(()) => {}
        }
        if !harness.plan.all_is_well() && rng.chance(50) {
            continue;
        }
        let began = Instant::now();
        // Nobody can say that all is well when it is not.
        let _ = queue.stop().await;
        let (took, may_take) = (began.elapsed(), harness.plan.shutdown_timeout);
        if took > may_take + harness.request_timeout * 2 + Duration::from_secs(5) {
            return harness
                .failure
                .set(format!("queue {reader}: stopping it took {took:?}"));
        }
    }
}

fn is_passing(harness: &Harness, error: &Error) -> bool {
    harness.plan.any_error && !error.is_fatal()
}

fn queue_config(harness: &Harness, sharing: &Sharing, rng: &Rng) -> QueueConfig {
    let mut config = QueueConfig::new("", TOPIC, GROUP);
    config.max_deliveries = u16::from(sharing.delivery_limit);
    let events = &mut config.events;
    events.kafka.max_poll_interval = harness.plan.max_poll_interval;
    events.shutdown_timeout = harness.plan.shutdown_timeout;
    events.concurrency = rng.between(1, 8) as usize;
    events.on_failure = OnFailure::DeadLetter;
    events.dead_letter_topic = Some(DEAD_TOPIC.to_string());
    let (first, longest) = (Duration::from_millis(50), Duration::from_secs(1));
    events.retry = RetryPolicy::up_to(5).backoff(first, longest);
    // Each success makes room for a retry: without that they would wait for ever.
    events.retry.budget_per_second = 1;
    events.retry.budget_percent = 100;
    config
}

/// Works until its time has come. Fails when the queue ends by itself.
async fn work_until<S: Dispatch<Handler<Work>, Codec = Protobuf>>(
    harness: &Harness,
    queue: &EventQueue<S>,
    work: Work,
    until: Option<Instant>,
) -> Result<(), ConsumerError> {
    let is_over = || until.is_some_and(|until| Instant::now() >= until);
    harness.recorder.record(Event::Starts {
        reader: work.reader,
    });
    while !queue.is_running() {
        // No broker may be there yet.
        match queue.start(Handler(work.clone())).await {
            Ok(()) => {}
            Err(ConsumerError::Kafka(error))
                if error.is_retriable() || is_passing(harness, &error) =>
            {
                sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error),
        }
    }
    while !is_over() {
        sleep(LOOK).await;
        if !queue.is_running() {
            return queue.wait().await;
        }
    }
    Ok(())
}

/// What a handler of a queue does.
#[derive(Clone)]
struct Work {
    harness: Harness,
    sharing: Sharing,
    reader: u32,
    rng: Rng,
}

impl Handle for Work {
    async fn handle(&self, context: &Context<'_>) -> Result<(), HandlerError> {
        let (reader, partition, offset) = (self.reader, context.partition(), context.offset());
        let (harness, count) = (&self.harness, context.attempt());
        let value = context.record().value;
        let value = value.and_then(|value| harness.plan.format.id(value));
        let id: Id = value.expect("all values hold an id");
        harness.record_shared();
        harness.recorder.record(Event::Acquired {
            reader,
            partition,
            offset,
            id,
            count,
        });
        let Sharing {
            slow_percent, slow, ..
        } = self.sharing;
        if !harness.has_healed() && self.rng.chance(slow_percent) {
            let longest = slow.as_millis() as u64;
            sleep(self.rng.millis(longest / 2, longest)).await;
        } else if self.rng.chance(30) {
            sleep(self.rng.millis(0, 20)).await;
        }
        let decides = |how| Event::Decides {
            reader,
            partition,
            offset,
            id,
            count,
            how,
        };
        match self.sharing.failing.fate(id) {
            // The queue rejects it when it is in the topic of dead letters.
            Fate::Poison => Err(HandlerError::poison("it will never do")),
            Fate::Transient(failures) if count <= failures => {
                harness.recorder.record(decides(Decision::Release));
                Err(HandlerError::transient("not now"))
            }
            Fate::Good | Fate::Transient(_) => {
                harness.recorder.record(decides(Decision::Accept));
                Ok(())
            }
        }
    }
}
