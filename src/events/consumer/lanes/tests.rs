use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use prost::Message;
use tokio::time::sleep;

use super::*;
use crate::event_set;
use crate::events::consumer::offset_tracker::OffsetTracker;
use crate::events::{Event, EventSet, Undecodable};

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
        lock(&self.seen)
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
    lanes: Lanes,
    handler: Arc<Notes>,
    partition: Arc<Partition>,
    counters: Arc<Counters>,
}

fn setup(lanes: usize, budget_bytes: usize, handler: Notes, on_failure: OnFailure) -> Setup {
    let counters = Arc::new(Counters::new(lanes, Steps::TYPES.len()));
    let handler = Arc::new(handler);
    let name = TopicPartition::new("steps", 0);
    Setup {
        lanes: Lanes::start::<Steps, _>(
            handler.clone(),
            on_failure,
            budget_bytes,
            counters.clone(),
        ),
        handler,
        partition: Arc::new(Partition::new(name, OffsetTracker::default())),
        counters,
    }
}

impl Setup {
    /// Hands out records with these keys, in one go; the first has the offset `from`.
    async fn hand_out(&self, from: i64, keys: impl IntoIterator<Item = u32>) {
        self.hand_out_as(Step::TYPE, from, keys).await;
    }

    async fn hand_out_as(&self, event_type: &str, from: i64, keys: impl IntoIterator<Item = u32>) {
        let headers = [("ce_type", Some(event_type.as_bytes()))];
        let mut loads = self.lanes.loads();
        let records = (from..).zip(keys);
        self.partition.arrive(
            records,
            |(offset, _)| (*offset, None),
            |(offset, key)| {
                let step = Step {
                    of: key.to_string(),
                    number: offset as u32,
                };
                let key = Some(step.of.as_bytes());
                let lane = self.lanes.lane_of(&self.partition, key);
                let value = step.encode_to_vec();
                loads[lane].push(
                    &self.partition,
                    offset,
                    0,
                    key,
                    Some(&value),
                    headers.into_iter(),
                );
            },
        );
        self.lanes.hand_out(loads).await;
    }

    async fn until_handled(&self, count: u64) {
        while self.counters.summary(Steps::TYPES).handled < count {
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn committable(&self) -> Option<i64> {
        self.partition.take_commit().map(|commit| commit.offset)
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_handled_in_order_and_keys_at_once() {
    let handler = Notes {
        work_ms: 10,
        ..Notes::default()
    };
    let setup = setup(8, 1 << 20, handler, OnFailure::Stop);
    for poll in 0..5 {
        setup.hand_out(poll * 40, (0..40).map(|i| i % 20)).await;
    }
    setup.until_handled(200).await;
    assert!(setup.lanes.stop(Duration::from_secs(1)).await.is_ok());
    for (key, numbers) in lock(&setup.handler.seen).iter() {
        assert_eq!(numbers.len(), 10, "{key}");
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
    assert!(setup.handler.most_at_work.load(Ordering::Relaxed) > 4);
}

#[tokio::test(start_paused = true)]
async fn the_budget_bounds_what_waits_and_still_everything_is_handled() {
    let handler = Notes {
        work_ms: 1,
        ..Notes::default()
    };
    let setup = setup(4, 100, handler, OnFailure::Stop);
    for poll in 0..20 {
        setup.hand_out(poll * 10, 0..10).await;
        assert!(setup.lanes.budget.available_permits() < 100);
    }
    setup.until_handled(200).await;
    assert_eq!(setup.committable(), Some(200));
}

#[tokio::test(start_paused = true)]
async fn a_panicking_handler_stops_the_consumer_and_its_record_is_not_committed() {
    let handler = Notes {
        panic_at: Some(2),
        ..Notes::default()
    };
    let setup = setup(1, 1 << 20, handler, OnFailure::Stop);
    setup.hand_out(0, 0..10).await;
    setup.lanes.failed().await;
    let partition = setup.partition.clone();
    let error = setup
        .lanes
        .stop(Duration::from_secs(1))
        .await
        .expect_err("a failure");
    let text = error.to_string();
    assert!(
        text.contains("test.Step at steps-0 offset 2: the handler panicked"),
        "{text}"
    );
    assert!(text.contains("asked for"), "{text}");
    assert_eq!(partition.take_commit().map(|commit| commit.offset), Some(2));
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
    let setup = setup(3, 1 << 20, handler, on_failure);
    setup.hand_out(0, 0..10).await;
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
    let setup = setup(1, 1 << 20, handler, OnFailure::Stop);
    setup.hand_out(0, 0..10).await;
    sleep(Duration::from_millis(75)).await;
    let partition = setup.partition.clone();
    assert!(setup.lanes.stop(Duration::from_secs(1)).await.is_ok());
    assert_eq!(partition.take_commit().map(|commit| commit.offset), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_does_not_hang_the_stop() {
    let handler = Notes {
        work_ms: 1_000_000,
        ..Notes::default()
    };
    let setup = setup(1, 1 << 20, handler, OnFailure::Stop);
    setup.hand_out(0, 0..10).await;
    sleep(Duration::from_millis(5)).await;
    let error = setup
        .lanes
        .stop(Duration::from_secs(1))
        .await
        .expect_err("unfinished");
    assert!(matches!(error, ConsumerError::Unfinished), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_of_the_set_reaches_the_handler_too() {
    let setup = setup(2, 1 << 20, Notes::default(), OnFailure::Stop);
    setup.hand_out_as("test.Other", 0, 0..3).await;
    setup.until_handled(3).await;
    assert_eq!(setup.handler.odd.load(Ordering::Relaxed), 3);
    let metrics = setup.counters.summary(Steps::TYPES);
    assert_eq!((metrics.unknown, metrics.undecodable), (3, 0));
    assert_eq!(setup.committable(), Some(3));
}
