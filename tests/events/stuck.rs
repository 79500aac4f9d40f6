//! What one handler that is stuck does to the others, and what can be seen of it.

use super::*;

#[tokio::test]
async fn a_stuck_handler_holds_up_one_partition_at_most_and_costs_no_place_in_the_group() {
    const KEYS: usize = 40;
    const EACH: u32 = 200;
    let broker = broker().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let consumer = consumer_with(&broker, |config| {
        config.concurrency = 4;
        // Far less than what comes.
        config.queue_bytes = 64 << 10;
        config.max_poll_interval = Duration::from_secs(2);
        config.shutdown_timeout = Duration::from_secs(1);
        config.kafka.heartbeat_interval = Duration::from_millis(200);
    });
    consumer
        .start(Handler {
            stuck_key: Some("stuck"),
            ..Handler::of(&seen)
        })
        .await
        .expect("started");
    let stuck = producer
        .send_email_received(&email("stuck", 0))
        .await
        .expect("sent");
    // Among the others come more of the stuck key.
    for number in 0..EACH {
        send_numbers(&producer, KEYS, number..number + 1).await;
        drop(producer.enqueue(&email("stuck", number + 1)).await);
    }
    producer.flush().await.expect("delivered");
    let total = u64::from(EACH) * (KEYS as u64 + 1) + 1;

    let in_free_partitions = async {
        loop {
            let lag = consumer.metrics().lag_by_partition;
            if lag.len() == 3
                && lag
                    .iter()
                    .all(|(name, lag)| name.partition == stuck.partition || *lag == 0)
            {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, in_free_partitions)
        .await
        .unwrap_or_else(|_| {
            panic!(
                "the other partitions stand still: {:?}",
                consumer.metrics().lag_by_partition
            )
        });
    // Well beyond the longest time between two polls.
    sleep(Duration::from_secs(5)).await;
    let metrics = consumer.metrics();
    assert_eq!(metrics.failed_polls, 0, "{:?}", metrics.last_error);
    assert_eq!(metrics.failed_commits, 0, "{:?}", metrics.last_error);
    let handled = seen.handled.load(Ordering::Relaxed) as u64;
    assert_eq!(metrics.lag, total - handled, "{metrics:?}");
    let oldest = metrics.oldest.expect("one is stuck");
    assert_eq!(
        (oldest.partition.partition, Some(oldest.offset)),
        (stuck.partition, stuck.offset)
    );
    assert!(oldest.age > Duration::from_secs(4), "{oldest:?}");

    // What is written now is seen as well, though the partition is not fetched.
    let before = metrics.lag;
    for number in 0..100 {
        producer
            .send(&email("stuck", 1_000 + number))
            .await
            .expect("sent");
    }
    let grown = async {
        while consumer.metrics().lag < before + 100 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, grown).await.unwrap_or_else(|_| {
        panic!(
            "the lag stays at {} of {}",
            consumer.metrics().lag,
            before + 100
        )
    });

    let error = consumer.stop().await.expect_err("one is unfinished");
    assert!(matches!(error, ConsumerError::Unfinished), "{error}");
    let handled = seen.handled.load(Ordering::Relaxed) as u64;
    assert_eq!(
        consumer.metrics().lag,
        total + 100 - handled,
        "after the stop the lag is what was not finished"
    );
    let by_key = seen.by_key.lock().expect("lock");
    assert!(by_key.values().all(|numbers| numbers.is_sorted()));
}

#[tokio::test]
async fn a_handler_slower_than_the_session_costs_neither_place_nor_commit_in_a_rebalance() {
    const SESSION: Duration = Duration::from_secs(6);
    let broker = broker().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let handler = Handler {
        slow_key: Some(("e-3", SESSION + Duration::from_secs(4))),
        ..Handler::of(&seen)
    };
    let quick = |config: &mut ConsumerConfig| {
        config.session_timeout = SESSION;
        config.kafka.heartbeat_interval = Duration::from_millis(500);
    };
    let first = consumer_with(&broker, quick);
    first.start(handler.clone()).await.expect("started");
    send_numbers(&producer, 10, 0..1).await;
    seen.until(9).await;
    let second = consumer_with(&broker, quick);
    second.start(handler).await.expect("started");
    seen.until(10).await;
    let shared = async {
        while second.metrics().lag_by_partition.is_empty() || committed(&broker) < 10 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, shared)
        .await
        .expect("the second gets its share, after the commit");
    for consumer in [&first, &second] {
        let metrics = consumer.metrics();
        assert_eq!(metrics.failed_commits, 0, "{:?}", metrics.last_error);
        assert_eq!(metrics.failed_polls, 0, "{:?}", metrics.last_error);
    }
    first.stop().await.expect("stopped well");
    second.stop().await.expect("stopped well");
    seen.assert_once_and_in_order(10, 1);
}
