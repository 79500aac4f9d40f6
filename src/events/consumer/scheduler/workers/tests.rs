use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prost::Message;
use tokio::time::sleep;

use super::*;
use crate::event_set;
use crate::events::codec::Protobuf;
use crate::events::consumer::scheduler::Memory;
use crate::events::failure::{FailureClass, FailurePolicy};
use crate::events::record::encoded;
use crate::events::{
    CircuitPolicy, CircuitState, ConsumerConfig, Event, EventSet, OnFailure, OnUnknown, RawRecord,
    RetryPolicy, Undecodable,
};
use crate::kafka::consumer::Headers;
use crate::kafka::consumer::commit::offset_tracker::OffsetTracker;
use crate::kafka::{ClientConfig, TopicPartition};

#[derive(Clone, PartialEq, prost::Message)]
struct Step {
    #[prost(string, tag = "1")]
    of: String,
    #[prost(uint32, tag = "2")]
    number: u32,
}

event_set! {
    enum Steps, producer StepProducer, handler StepHandler {
        Step: type = "test.Step", key = of;
    }
}

/// Notes what it is called for; does what the tests ask for.
#[derive(Default)]
struct Notes {
    seen: Mutex<BTreeMap<String, Vec<u32>>>,
    at_work: AtomicUsize,
    most_at_work: AtomicUsize,
    odd: AtomicUsize,
    work_ms: u64,
    panic_at: Option<u32>,
}

impl StepHandler for Notes {
    async fn handle_step(&self, _: &Context<'_>, event: Step) -> Result<(), HandlerError> {
        let at_work = self.at_work.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_at_work.fetch_max(at_work, Ordering::Relaxed);
        sleep(Duration::from_millis(self.work_ms)).await;
        assert_ne!(Some(event.number), self.panic_at, "asked for");
        self.at_work.fetch_sub(1, Ordering::Relaxed);
        self.seen
            .lock()
            .entry(event.of)
            .or_default()
            .push(event.number);
        Ok(())
    }

    async fn handle_unknown(&self, _: &Context<'_>, _: RawRecord<'_>) -> Result<(), HandlerError> {
        self.odd.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn handle_undecodable(
        &self,
        _: &Context<'_>,
        _: RawRecord<'_>,
        _: Undecodable,
    ) -> Result<(), HandlerError> {
        self.odd.fetch_add(100, Ordering::Relaxed);
        Ok(())
    }
}

struct Setup {
    workers: Workers,
    memory: Arc<Memory>,
    handler: Arc<Notes>,
    partition: Arc<Partition>,
    counters: Arc<Counters>,
}

/// No retries, and then `on_failure`; a panic is poison.
fn policy(on_failure: OnFailure) -> FailurePolicy {
    FailurePolicy {
        retry: RetryPolicy::none(),
        on_failure,
        on_panic: FailureClass::Poison,
        dead_letters_per_second: 1_000,
        circuit: CircuitPolicy {
            failure_percent: 0,
            ..CircuitPolicy::default()
        },
        ..FailurePolicy::default()
    }
}

fn failing(policy: FailurePolicy) -> Arc<FailureHandling> {
    Arc::new(FailureHandling::new(policy, "g", &ClientConfig::default()))
}

fn setup(workers: usize, handler: Notes, on_failure: OnFailure) -> Setup {
    setup_by(workers, handler, policy(on_failure))
}

fn setup_by(workers: usize, handler: Notes, policy: FailurePolicy) -> Setup {
    let counters = Arc::new(Counters::new(workers, Steps::TYPES.len()));
    let handler = Arc::new(handler);
    let memory = Memory::new(1 << 20);
    Setup {
        workers: Workers::start(
            &Worker::single::<Steps, _>(handler.clone(), Arc::new(Protobuf)),
            failing(policy),
            Tenants::default(),
            Writers::default(),
            Spans::of_consumer(&ConsumerConfig::default()),
            counters.clone(),
        ),
        memory,
        handler,
        partition: partition(0),
        counters,
    }
}

fn partition(number: i32) -> Arc<Partition> {
    let name = TopicPartition::new("steps", number);
    Arc::new(Partition::new(name, None, OffsetTracker::default()))
}

impl Setup {
    /// Hands out records with these keys, in one go; the first has the offset `from`.
    fn hand_out(&self, from: i64, keys: impl IntoIterator<Item = u32>) {
        self.hand_out_as(Step::TYPE, &self.partition, from, keys);
    }

    fn hand_out_as(
        &self,
        event_type: &str,
        partition: &Arc<Partition>,
        from: i64,
        keys: impl IntoIterator<Item = u32>,
    ) {
        let headers = [(&b"ce_type"[..], Some(event_type.as_bytes()))];
        let (count, headers) = encoded(headers.into_iter());
        let headers = Headers::of_encoded(count, &headers);
        let mut collected = WorkBatchBuilder::new(self.memory.clone());
        for (offset, key) in (from..).zip(keys) {
            let step = Step {
                of: key.to_string(),
                number: offset as u32,
            };
            let key = Some(step.of.as_bytes());
            let value = step.encode_to_vec();
            collected.push(partition, offset, 0, key, Some(&value), headers);
        }
        let next = from + collected.offsets().len() as i64;
        partition.arrive(collected.offsets(), -1, None, next);
        self.workers.shared().hand_out(partition, &mut collected);
    }

    async fn stop(self) -> Result<(), ConsumerError> {
        self.workers
            .stop(Instant::now() + Duration::from_secs(1))
            .await
    }

    async fn until_handled(&self, count: u64) {
        while self.counters.summary(Steps::TYPES).handled < count {
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn committable(&self) -> Option<i64> {
        self.partition
            .take_commit()
            .map(|(commit, _)| commit.offset)
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_handled_in_order_and_keys_at_once() {
    let handler = Notes {
        work_ms: 10,
        ..Notes::default()
    };
    let setup = setup(8, handler, OnFailure::Stop);
    for poll in 0..5 {
        setup.hand_out(poll * 40, (0..40).map(|i| i % 20));
    }
    setup.until_handled(200).await;
    let handler = setup.handler.clone();
    assert!(setup.stop().await.is_ok());
    for (key, numbers) in handler.seen.lock().iter() {
        assert_eq!(numbers.len(), 10, "{key}");
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
    assert!(handler.most_at_work.load(Ordering::Relaxed) > 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_counted_until_it_is_worked_off() {
    let handler = Notes {
        work_ms: 1,
        ..Notes::default()
    };
    let setup = setup(4, handler, OnFailure::Stop);
    setup.hand_out(0, 0..10);
    let in_flight = setup.partition.held();
    assert!(in_flight > 10 * 20, "{in_flight}");
    assert_eq!(
        setup.memory.room(0),
        Some(((1 << 20) - in_flight).div_ceil(2))
    );
    setup.until_handled(10).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(setup.partition.held(), 0);
    assert_eq!(setup.memory.room(0), Some(1 << 19));
    assert_eq!(setup.committable(), Some(10));
}

/// Never handles events whose key is 0, and all others at once.
struct StuckAtZero(AtomicUsize);

impl StepHandler for StuckAtZero {
    async fn handle_step(&self, _: &Context<'_>, event: Step) -> Result<(), HandlerError> {
        if event.of == "0" {
            std::future::pending::<()>().await;
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Handlers that note when they are called, and fail as `fails` says: of the key and the number of the call.
struct Called<F> {
    calls: Mutex<Vec<(String, u32, Instant)>>,
    fails: F,
}

impl<F: Fn(&str, usize) -> bool + Send + Sync + 'static> StepHandler for Called<F> {
    async fn handle_step(&self, _: &Context<'_>, event: Step) -> Result<(), HandlerError> {
        let mut calls = self.calls.lock();
        let call = calls.iter().filter(|(of, ..)| *of == event.of).count();
        let fails = (self.fails)(&event.of, call);
        calls.push((event.of, event.number, Instant::now()));
        match fails {
            true => Err(HandlerError::new("not yet")),
            false => Ok(()),
        }
    }
}

fn setup_of<H: StepHandler>(workers: usize, handler: Arc<H>, policy: FailurePolicy) -> Setup {
    setup_with(workers, handler, failing(policy))
}

fn setup_with<H: StepHandler>(
    workers: usize,
    handler: Arc<H>,
    failing: Arc<FailureHandling>,
) -> Setup {
    let counters = Arc::new(Counters::new(workers, Steps::TYPES.len()));
    Setup {
        workers: Workers::start(
            &Worker::single::<Steps, _>(handler, Arc::new(Protobuf)),
            failing,
            Tenants::default(),
            Writers::default(),
            Spans::of_consumer(&ConsumerConfig::default()),
            counters.clone(),
        ),
        memory: Memory::new(1 << 20),
        handler: Arc::default(),
        partition: partition(0),
        counters,
    }
}

#[tokio::test(start_paused = true)]
async fn a_stuck_handler_holds_up_its_key_and_nobody_else() {
    const EACH: u32 = 1_000;
    let handler = Arc::new(StuckAtZero(AtomicUsize::new(0)));
    let setup = setup_of(2, handler.clone(), policy(OnFailure::Stop));
    let other = partition(1);
    for (partition, keys) in [(&setup.partition, 0..EACH), (&other, 1..EACH)] {
        setup.hand_out_as(Step::TYPE, partition, 0, keys.clone());
        setup.hand_out_as(Step::TYPE, partition, i64::from(EACH), keys);
    }
    sleep(Duration::from_secs(1)).await;
    let handled = handler.0.load(Ordering::Relaxed);
    assert_eq!(handled, 4 * (EACH as usize - 1));
    assert_eq!(setup.partition.oldest().map(|(offset, _)| offset), Some(0));
    assert_eq!(other.oldest(), None);
    assert_eq!(other.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn records_behind_a_stuck_handler_take_no_more_memory_than_they_need() {
    let handler = Arc::new(StuckAtZero(AtomicUsize::new(0)));
    let setup = setup_of(2, handler.clone(), policy(OnFailure::Stop));
    for batch in 0..10 {
        setup.hand_out(batch * 1_000, 0..1_000);
    }
    let all = setup.partition.held();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(handler.0.load(Ordering::Relaxed), 10 * 999);
    assert_eq!(setup.partition.held(), all, "in each batch one is left");
    setup.workers.shared().leave_batches();
    let held = setup.partition.held();
    assert!(
        held < all / 9,
        "only the batch of the stuck one: {held} of {all}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_is_called_again_after_pauses_and_only_its_key_waits() {
    let ms = Duration::from_millis;
    let handler = Arc::new(Called {
        calls: Mutex::default(),
        fails: |of: &str, call| of == "1" && call < 3,
    });
    let policy = FailurePolicy {
        retry: RetryPolicy::up_to(5).backoff(ms(100), ms(10_000)),
        ..policy(OnFailure::Stop)
    };
    let setup = setup_of(2, handler.clone(), policy);
    let begun = Instant::now();
    setup.hand_out(0, [1, 1, 2, 2]);
    sleep(ms(50)).await;
    assert_eq!(setup.committable(), Some(0), "the first is not finished");
    let metrics = setup.counters.summary(Steps::TYPES);
    assert_eq!((metrics.handled, metrics.retried), (2, 1));
    setup.until_handled(4).await;
    let calls = |key: &str| -> Vec<_> {
        let calls = handler.calls.lock();
        let of_key = calls.iter().filter(|(of, ..)| of == key);
        of_key
            .map(|(_, number, at)| (*number, (*at - begun).as_millis()))
            .collect()
    };
    let of_failing = calls("1");
    let numbers: Vec<_> = of_failing.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [0, 0, 0, 0, 1]);
    for ((_, at), expected) in of_failing.iter().zip([0, 100, 300, 700, 700]) {
        assert!(at.abs_diff(expected) * 5 <= expected + 15, "{of_failing:?}");
    }
    assert_eq!(calls("2"), [(2, 0), (3, 0)]);
    let metrics = setup.counters.summary(Steps::TYPES);
    assert_eq!((metrics.retried, metrics.failed), (3, 0));
    assert_eq!(setup.committable(), Some(4));
}

#[tokio::test(start_paused = true)]
async fn what_fails_too_often_is_what_the_policy_says_next() {
    let ms = Duration::from_millis;
    let handler = Notes {
        panic_at: Some(2),
        ..Notes::default()
    };
    let policy = FailurePolicy {
        retry: RetryPolicy::up_to(2).backoff(ms(10), ms(10)),
        on_panic: FailureClass::Transient,
        ..policy(OnFailure::skip(|_, _| {}))
    };
    let setup = setup_by(3, handler, policy);
    setup.hand_out(0, 0..10);
    setup.until_handled(9).await;
    sleep(ms(100)).await;
    let metrics = setup.counters.summary(Steps::TYPES);
    assert_eq!((metrics.retried, metrics.failed), (2, 1));
    assert_eq!(setup.committable(), Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_panicking_handler_stops_the_consumer_and_its_record_is_not_committed() {
    let handler = Notes {
        panic_at: Some(2),
        ..Notes::default()
    };
    let setup = setup(1, handler, OnFailure::Stop);
    setup.hand_out(0, 0..10);
    setup.workers.shared().failed().await;
    let partition = setup.partition.clone();
    let error = setup.stop().await.expect_err("a failure");
    let text = error.to_string();
    assert!(
        text.contains("test.Step at steps-0 offset 2: the handler panicked"),
        "{text}"
    );
    assert!(text.contains("asked for"), "{text}");
    assert_eq!(
        partition.take_commit().map(|(commit, _)| commit.offset),
        Some(2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_skipped_failure_is_told_counted_and_committed() {
    let told = Arc::new(AtomicUsize::new(0));
    let on_failure = OnFailure::skip({
        let told = told.clone();
        move |context, _| {
            told.fetch_add(context.offset() as usize, Ordering::Relaxed);
        }
    });
    let handler = Notes {
        panic_at: Some(2),
        ..Notes::default()
    };
    let setup = setup(3, handler, on_failure);
    setup.hand_out(0, 0..10);
    setup.until_handled(9).await;
    assert_eq!(told.load(Ordering::Relaxed), 2);
    assert_eq!(setup.counters.summary(Steps::TYPES).failed, 1);
    assert_eq!(setup.committable(), Some(10));
}

#[tokio::test(start_paused = true)]
async fn stopping_finishes_what_has_begun_and_begins_nothing() {
    let handler = Notes {
        work_ms: 50,
        ..Notes::default()
    };
    let setup = setup(1, handler, OnFailure::Stop);
    setup.hand_out(0, [0; 10]);
    sleep(Duration::from_millis(75)).await;
    let partition = setup.partition.clone();
    assert!(setup.stop().await.is_ok());
    assert_eq!(
        partition.take_commit().map(|(commit, _)| commit.offset),
        Some(2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_does_not_hang_the_stop() {
    let handler = Notes {
        work_ms: 1_000_000,
        ..Notes::default()
    };
    let setup = setup(1, handler, OnFailure::Stop);
    setup.hand_out(0, 0..10);
    sleep(Duration::from_millis(5)).await;
    let error = setup.stop().await.expect_err("unfinished");
    assert!(matches!(error, ConsumerError::Unfinished), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_of_the_set_reaches_the_handler_too() {
    let setup = setup(2, Notes::default(), OnFailure::Stop);
    setup.hand_out_as("test.Other", &setup.partition, 0, 0..3);
    setup.until_handled(3).await;
    assert_eq!(setup.handler.odd.load(Ordering::Relaxed), 3);
    let metrics = setup.counters.summary(Steps::TYPES);
    assert_eq!((metrics.unknown, metrics.undecodable), (3, 0));
    assert_eq!(setup.committable(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_event_is_skipped_or_a_failure_where_that_is_said_and_the_handler_is_not_asked()
{
    let by = |on_unknown| FailurePolicy {
        on_unknown,
        ..policy(OnFailure::Stop)
    };
    let skips = setup_by(2, Notes::default(), by(OnUnknown::Skip));
    skips.hand_out_as("test.Other", &skips.partition, 0, 0..3);
    skips.until_handled(3).await;
    assert_eq!(skips.handler.odd.load(Ordering::Relaxed), 0);
    assert_eq!(skips.counters.summary(Steps::TYPES).unknown, 3);
    let fails = setup_by(2, Notes::default(), by(OnUnknown::Fail));
    fails.hand_out_as("test.Other", &fails.partition, 0, 0..1);
    fails.workers.shared().failed().await;
    let error = fails.stop().await.expect_err("a failure").to_string();
    assert!(
        error.contains("no event of the set is called \"test.Other\""),
        "{error}"
    );
}

/// Is poison, fatal, or stuck, as the key says.
struct Odd(AtomicUsize);

impl StepHandler for Odd {
    async fn handle_step(&self, context: &Context<'_>, event: Step) -> Result<(), HandlerError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        match event.of.as_str() {
            "0" => Err(HandlerError::poison("odd")),
            "1" => Err(HandlerError::fatal("gone")),
            "2" => std::future::pending().await,
            "3" => {
                context.cancelled().await;
                Err(HandlerError::new("asked to end"))
            }
            _ => Ok(()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn poison_is_not_retried_and_what_is_fatal_stops_whatever_the_policy() {
    let policy = FailurePolicy {
        retry: RetryPolicy::default(),
        ..policy(OnFailure::skip(|_, _| {}))
    };
    let handler = Arc::new(Odd(AtomicUsize::new(0)));
    let setup = setup_of(2, handler.clone(), policy);
    setup.hand_out(0, [0, 0, 9]);
    setup.until_handled(1).await;
    let metrics = setup.counters.summary(Steps::TYPES);
    assert_eq!((metrics.failed, metrics.retried), (2, 0));
    setup.hand_out(3, [1]);
    setup.workers.shared().failed().await;
    let partition = setup.partition.clone();
    let error = setup.stop().await.expect_err("fatal").to_string();
    assert!(error.contains("offset 3: gone"), "{error}");
    assert_eq!(
        partition.take_commit().map(|(commit, _)| commit.offset),
        Some(3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_dropped_and_retried_and_the_others_go_on() {
    let ms = Duration::from_millis;
    let policy = FailurePolicy {
        retry: RetryPolicy::up_to(2).backoff(ms(10), ms(10)),
        handler_timeout: Some(ms(500)),
        ..policy(OnFailure::skip(|_, error| {
            assert!(error.to_string().contains("handler.timeout.ms = 500"));
        }))
    };
    let handler = Arc::new(Odd(AtomicUsize::new(0)));
    let setup = setup_of(1, handler.clone(), policy);
    let begun = Instant::now();
    setup.hand_out(0, [2, 9, 9]);
    setup.until_handled(2).await;
    while setup.committable() != Some(3) {
        sleep(ms(1)).await;
    }
    let took = begun.elapsed().as_millis();
    assert!((1_516..1_540).contains(&took), "{took}");
    let metrics = setup.counters.summary(Steps::TYPES);
    assert_eq!(
        (metrics.timed_out, metrics.retried, metrics.failed),
        (3, 2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_when_it_is_asked_to_is_no_failure_and_its_record_is_left() {
    let told = Arc::new(AtomicUsize::new(0));
    let skips = {
        let told = told.clone();
        move |_: &Context<'_>, _: &HandlerError| {
            told.fetch_add(1, Ordering::Relaxed);
        }
    };
    let handler = Arc::new(Odd(AtomicUsize::new(0)));
    let setup = setup_of(2, handler.clone(), policy(OnFailure::skip(skips)));
    let other = partition(1);
    setup.hand_out(0, [3]);
    setup.hand_out_as(Step::TYPE, &other, 0, [3]);
    while handler.0.load(Ordering::Relaxed) < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    other.release();
    other.drained().await;
    assert_eq!(other.oldest().map(|(offset, _)| offset), Some(0));
    let partition = setup.partition.clone();
    assert!(setup.stop().await.is_ok());
    assert_eq!(partition.oldest().map(|(offset, _)| offset), Some(0));
    assert_eq!(told.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn when_everything_fails_nothing_is_begun_for_a_while_and_a_few_probes_end_that() {
    let seconds = Duration::from_secs;
    let begun = Instant::now();
    let handler = Arc::new(Called {
        calls: Mutex::default(),
        fails: move |_: &str, _| begun.elapsed() < Duration::from_secs(8),
    });
    let policy = FailurePolicy {
        retry: RetryPolicy::up_to(100).backoff(seconds(1), seconds(1)),
        circuit: CircuitPolicy::default(),
        ..policy(OnFailure::Stop)
    };
    let handling = failing(policy.clone());
    let setup = setup_with(2, handler.clone(), handling.clone());
    setup.hand_out(0, 0..200);
    sleep(seconds(1)).await;
    let called = handler.calls.lock().len();
    assert!((50..60).contains(&called), "{called}");
    assert_eq!(handling.circuit(), (CircuitState::Open, 1));
    sleep(seconds(3)).await;
    assert_eq!(handler.calls.lock().len(), called, "nothing is begun");
    // One of the probes after five seconds fails; those after ten go well.
    sleep(seconds(3)).await;
    assert_eq!(handling.circuit(), (CircuitState::Open, 2));
    assert!(handler.calls.lock().len() < called + 10);
    setup.until_handled(200).await;
    assert!(begun.elapsed() >= seconds(10));
    assert_eq!(handling.circuit(), (CircuitState::Closed, 2));
    assert_eq!(setup.committable(), Some(200));
}
