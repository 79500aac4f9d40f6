//! Partitions that go to another member of the group, with handlers at work.

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
