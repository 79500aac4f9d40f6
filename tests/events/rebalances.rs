//! Partitions that go to another member of the group, with handlers at work.

use std::collections::BTreeSet;

use pat_events::kafka::AssignmentStrategy;
use tokio::sync::watch;

use super::*;

#[tokio::test]
async fn a_rebalance_finishes_and_commits_before_the_partitions_go() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let handler = Handler {
        work: Duration::from_millis(2),
        ..Handler::of(&seen)
    };
    let quick =
        |config: &mut ConsumerConfig| config.kafka.heartbeat_interval = Duration::from_millis(200);
    let first = consumer_with(&broker, quick);
    first.start(handler.clone()).await.expect("started");
    send_numbers(&producer, 30, 0..20).await;
    seen.until(50).await;
    let second = consumer_with(&broker, quick);
    second.start(handler.clone()).await.expect("started");
    send_numbers(&producer, 30, 20..60).await;
    seen.until(900).await;
    first.stop().await.expect("stopped well");
    seen.until(1_800).await;
    second.stop().await.expect("stopped well");
    seen.assert_once_and_in_order(30, 60);
    assert!(second.metrics().handled > 0);
}

#[tokio::test]
async fn a_backlog_of_slow_events_neither_costs_the_place_in_the_group_nor_holds_a_rebalance_up() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 30, 0..16).await;
    let seen = Arc::new(Seen::default());
    let handler = Handler {
        work: Duration::from_millis(10),
        ..Handler::of(&seen)
    };
    let full = |config: &mut ConsumerConfig| {
        config.concurrency = 1;
        config.queue_bytes = 1;
        config.max_poll_interval = Duration::from_secs(4);
        config.shutdown_timeout = Duration::from_secs(3);
        config.kafka.heartbeat_interval = Duration::from_millis(100);
    };
    let first = consumer_with(&broker, full);
    first.start(handler.clone()).await.expect("started");
    seen.until(50).await;
    assert_eq!(
        first.metrics().failed_polls,
        0,
        "{:?}",
        first.metrics().last_error
    );
    let second = consumer_with(&broker, full);
    second.start(handler).await.expect("started");
    let shared = async {
        while second.metrics().handled == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, shared)
        .await
        .expect("the second gets its share");
    let handled = seen.handled.load(Ordering::Relaxed);
    assert!(
        handled < 400,
        "only after the first had handled nearly all: {handled}"
    );
    seen.until(480).await;
    first.stop().await.expect("stopped well");
    second.stop().await.expect("stopped well");
    seen.assert_once_and_in_order(30, 16);
}

#[tokio::test]
async fn a_deleted_topic_holds_up_no_other_when_the_group_rebalances() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    broker.create_topic("letters", 1).expect("a new topic");
    let seen = Arc::new(Seen::default());
    let quick =
        |config: &mut ConsumerConfig| config.kafka.heartbeat_interval = Duration::from_millis(200);
    let first = consumer_with(&broker, |config| {
        quick(config);
        config.topics.push("letters".to_string());
    });
    first.start(Handler::of(&seen)).await.expect("started");
    send_numbers(&producer, 30, 0..5).await;
    seen.until(150).await;
    broker.delete_topic("letters");
    let second = consumer_with(&broker, quick);
    second.start(Handler::of(&seen)).await.expect("started");
    let shared = async {
        while second.metrics().lag_by_partition.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, shared)
        .await
        .expect("the second gets its share");
    send_numbers(&producer, 30, 5..10).await;
    seen.until(300).await;
    first.stop().await.expect("stopped well");
    second.stop().await.expect("stopped well");
    seen.assert_once_and_in_order(30, 10);
}

/// Events named so wait until they are let go.
const HELD: &str = "held";

/// Notes what it sees; holds what is to be held.
#[derive(Clone)]
struct Holding {
    seen: Arc<Seen>,
    /// The partitions with an event that is held.
    held: Arc<Mutex<BTreeSet<i32>>>,
    let_go: watch::Receiver<bool>,
    /// The last number of each partition.
    last: Arc<Mutex<BTreeMap<i32, u32>>>,
}

pat_events::events::event_set! {
    enum Received, producer ReceivedProducer, handler ReceivedHandler { EmailReceived; }
}

impl ReceivedHandler for Holding {
    async fn handle_email_received(
        &self,
        context: &Context<'_>,
        event: EmailReceived,
    ) -> Result<(), HandlerError> {
        let (partition, number) = (context.partition(), event.subject.parse()?);
        if event.email_id.starts_with(HELD) {
            self.held.lock().expect("lock").insert(partition);
            let mut let_go = self.let_go.clone();
            let _ = let_go.wait_for(|let_go| *let_go).await;
        } else {
            self.last.lock().expect("lock").insert(partition, number);
            let mut by_key = self.seen.by_key.lock().expect("lock");
            by_key.entry(event.email_id).or_default().push(number);
        }
        self.seen.note(context);
        Ok(())
    }
}

/// Handlers at work hold up the partition that goes, and no other: they were all waited for before anything was polled again.
#[tokio::test]
async fn a_slow_handler_holds_up_only_the_partition_that_goes() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let (let_go, is_let_go) = watch::channel(false);
    let handler = Holding {
        seen: seen.clone(),
        held: Arc::default(),
        let_go: is_let_go,
        last: Arc::default(),
    };
    let cooperative = || {
        let mut config = ConsumerConfig::new(&broker.bootstrap_servers(), TOPIC, "test");
        config.auto_offset_reset = OffsetReset::Earliest;
        config.session_timeout = Duration::from_secs(45);
        config.concurrency = 32;
        config.kafka.heartbeat_interval = Duration::from_millis(200);
        config.kafka.partition_assignment_strategy = AssignmentStrategy::CooperativeSticky.into();
        EventConsumer::<Received>::new(config).expect("a good configuration")
    };
    let mut sent = 0;
    for number in 0..9 {
        let event = email(format!("{HELD}-{number}"), 0);
        producer.send(&event).await.expect("sent");
    }
    let first = cooperative();
    first.start(handler.clone()).await.expect("started");
    let all_held = async {
        while handler.held.lock().expect("lock").len() < 3 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, all_held)
        .await
        .expect("one of each partition");
    let second = cooperative();
    let other = Arc::new(Seen::default());
    let takes_over = Holding {
        seen: other.clone(),
        last: Arc::default(),
        ..handler.clone()
    };
    second.start(takes_over).await.expect("started");
    // One stands still, and the others go on, for many rounds.
    let others_go_on = async {
        loop {
            send_numbers(&producer, 30, sent..sent + 1).await;
            sent += 1;
            sleep(Duration::from_millis(50)).await;
            let last = handler.last.lock().expect("lock").clone();
            let behind = |by: u32| last.values().filter(|it| **it + by < sent).count();
            if last.len() == 3 && behind(20) == 1 && behind(5) == 1 {
                break;
            }
        }
    };
    timeout(PATIENCE, others_go_on)
        .await
        .expect("two partitions are handled on while one waits");
    assert_eq!(other.handled.load(Ordering::Relaxed), 0, "nothing went yet");
    let_go.send_replace(true);
    let total = 9 + 30 * sent as usize;
    let all_handled = async {
        let handled = |seen: &Seen| seen.handled.load(Ordering::Relaxed);
        while handled(&seen) + handled(&other) < total {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, all_handled).await.expect("all of them");
    first.stop().await.expect("stopped well");
    second.stop().await.expect("stopped well");
    let others = std::mem::take(&mut *other.by_key.lock().expect("lock"));
    for (key, numbers) in others {
        let mut by_key = seen.by_key.lock().expect("lock");
        by_key.entry(key).or_default().extend(numbers);
    }
    seen.assert_once_and_in_order(30, sent);
}
