//! Topics that are deleted and re-created under the same name: nothing of the one is taken for the other. No event of the new one is lost,
//! and only what was not committed is handled again.

use super::*;

/// The newest versions of OffsetCommit and OffsetFetch that a broker knows: those that name topics by id, and by name.
const BY_ID_AND_BY_NAME: [i16; 2] = [10, 9];

async fn broker_up_to(version: i16, partitions: i32) -> Broker {
    let broker = Broker::builder()
        .api_versions(ApiKey::OFFSET_COMMIT, 2, version)
        .api_versions(ApiKey::OFFSET_FETCH, 1, version)
        .start_tcp("127.0.0.1:0")
        .await
        .expect("the embedded broker starts");
    broker.create_topic(TOPIC, partitions).expect("a new topic");
    broker
}

fn recreate(broker: &Broker, partitions: i32) {
    assert!(broker.delete_topic(TOPIC));
    broker.create_topic(TOPIC, partitions).expect("a new topic");
}

/// Sends one event to each of the keys `keys`, under the number 0.
async fn send_keys(broker: &Broker, keys: std::ops::Range<usize>) {
    let producer = producer(broker).await;
    for key in keys {
        drop(producer.enqueue(&email(format!("e-{key}"), 0)).await);
    }
    producer.flush().await.expect("delivered");
    producer.close(PATIENCE).await.expect("closed");
}

fn consumer_of(
    broker: &Broker,
    reset: OffsetReset,
    metadata_max_age: Duration,
    commit_interval: Duration,
) -> EventConsumer<EmailEvents> {
    consumer_with(broker, |config| {
        config.auto_offset_reset = reset;
        config.commit = CommitPolicy::prompt(commit_interval);
        config.kafka.client.metadata_max_age = metadata_max_age;
        config.kafka.heartbeat_interval = Duration::from_millis(100);
    })
}

async fn placed(consumer: &EventConsumer<EmailEvents>, partitions: usize) {
    let placed = async {
        while consumer.metrics().lag_by_partition.len() < partitions {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, placed).await.expect("all positions");
}

const SOON: Duration = Duration::from_millis(300);
const NEVER: Duration = Duration::from_secs(600);
const OFTEN: Duration = Duration::from_millis(50);

/// Handles 10; the topic is re-created, empty; stops; 15 are written; starts again: all 15.
#[tokio::test]
async fn a_stop_after_the_topic_was_recreated_commits_nothing_of_it_in_the_new_one() {
    for version in BY_ID_AND_BY_NAME {
        for reset in [OffsetReset::Earliest, OffsetReset::Latest] {
            // Noticed before the stop, or by the stop alone; committed before the stop, or to be committed by it.
            for (age, interval) in [(SOON, OFTEN), (NEVER, OFTEN), (NEVER, NEVER), (SOON, NEVER)] {
                let case = format!("v{version} {reset:?} {age:?} {interval:?}");
                let broker = broker_up_to(version, 2).await;
                let seen = Arc::new(Seen::default());
                let first = consumer_of(&broker, reset, age, interval);
                first.start(Handler::of(&seen)).await.expect("started");
                placed(&first, 2).await;
                send_keys(&broker, 0..10).await;
                seen.until(10).await;
                sleep(3 * OFTEN).await;
                recreate(&broker, 2);
                sleep(if age == SOON { 4 * SOON } else { OFTEN }).await;
                first
                    .stop()
                    .await
                    .unwrap_or_else(|error| panic!("{case}: {error}"));
                send_keys(&broker, 10..25).await;
                let second = consumer_of(&broker, reset, age, OFTEN);
                second.start(Handler::of(&seen)).await.expect("started");
                let all = async {
                    while seen.handled.load(Ordering::Relaxed) < 25 {
                        sleep(Duration::from_millis(5)).await;
                    }
                };
                let all = timeout(Duration::from_secs(15), all).await;
                let handled = seen.handled.load(Ordering::Relaxed);
                assert!(all.is_ok(), "{case}: {} of 15", handled - 10);
                sleep(2 * OFTEN).await;
                second.stop().await.expect("stopped well");
                seen.assert_once_and_in_order(25, 1);
                let sum: i64 = (0..2)
                    .filter_map(|partition| broker.committed_offset("test", TOPIC, partition))
                    .sum();
                assert_eq!(sum, 15, "{case}");
            }
        }
    }
}

/// Old partitions stand at 5 and 3; the topic is re-created with 3 partitions, and 24 events are written.
#[tokio::test]
async fn a_consumer_that_goes_on_reads_all_of_a_recreated_topic() {
    for version in BY_ID_AND_BY_NAME {
        for reset in [OffsetReset::Earliest, OffsetReset::Latest] {
            for partitions in [1, 2, 3] {
                let case = format!("v{version} {reset:?} {partitions}");
                let broker = broker_up_to(version, 2).await;
                let seen = Arc::new(Seen::default());
                let consumer = consumer_of(&broker, reset, SOON, OFTEN);
                consumer.start(Handler::of(&seen)).await.expect("started");
                placed(&consumer, 2).await;
                send_keys(&broker, 0..8).await;
                seen.until(8).await;
                sleep(2 * OFTEN).await;
                recreate(&broker, partitions);
                send_keys(&broker, 8..32).await;
                let all = async {
                    while seen.handled.load(Ordering::Relaxed) < 32 {
                        sleep(Duration::from_millis(5)).await;
                    }
                };
                let all = timeout(Duration::from_secs(20), all).await;
                let handled = seen.handled.load(Ordering::Relaxed);
                assert!(all.is_ok(), "{case}: {} of 24", handled - 8);
                consumer.stop().await.expect("stopped well");
                seen.assert_once_and_in_order(32, 1);
                let sum: i64 = (0..partitions)
                    .filter_map(|partition| broker.committed_offset("test", TOPIC, partition))
                    .sum();
                assert_eq!(sum, 24, "{case}");
            }
        }
    }
}

/// Handlers of the old topic's events end after the new one was read, and committed.
#[tokio::test]
async fn handlers_that_end_after_the_topic_was_recreated_commit_nothing_in_it() {
    for version in BY_ID_AND_BY_NAME {
        let broker = broker_up_to(version, 1).await;
        let seen = Arc::new(Seen::default());
        let handler = Handler {
            work: Duration::from_secs(2),
            ..Handler::of(&seen)
        };
        let consumer = consumer_of(&broker, OffsetReset::Earliest, SOON, OFTEN);
        consumer.start(handler).await.expect("started");
        placed(&consumer, 1).await;
        send_keys(&broker, 0..10).await;
        sleep(Duration::from_millis(200)).await;
        recreate(&broker, 1);
        send_keys(&broker, 10..13).await;
        // Ten of the old one, at work until now, and three of the new one.
        seen.until(13).await;
        sleep(4 * OFTEN).await;
        assert_eq!(broker.committed_offset("test", TOPIC, 0), Some(3));
        consumer.stop().await.expect("stopped well");
        assert_eq!(broker.committed_offset("test", TOPIC, 0), Some(3));
        seen.assert_once_and_in_order(13, 1);
    }
}

/// What is finished beyond a gap in the old topic is not taken for finished in the new one.
#[tokio::test]
async fn what_was_finished_beyond_a_gap_says_nothing_of_another_topic() {
    for version in BY_ID_AND_BY_NAME {
        let broker = broker_up_to(version, 1).await;
        let seen = Arc::new(Seen::default());
        let handler = Handler {
            stuck_key: Some("e-0"),
            ..Handler::of(&seen)
        };
        let consumer = consumer_with(&broker, |config| {
            config.shutdown_timeout = Duration::from_secs(1);
            config.kafka.client.metadata_max_age = NEVER;
        });
        consumer.start(handler).await.expect("started");
        send_keys(&broker, 0..10).await;
        seen.until(9).await;
        recreate(&broker, 1);
        let error = consumer.stop().await.expect_err("one is stuck");
        assert!(matches!(error, ConsumerError::Unfinished), "{error}");
        send_keys(&broker, 10..20).await;
        let second = consumer_with(&broker, |_| {});
        second.start(Handler::of(&seen)).await.expect("started");
        seen.until(19).await;
        second.stop().await.expect("stopped well");
        assert_eq!(second.metrics().repeated, 0, "v{version}");
        assert_eq!(broker.committed_offset("test", TOPIC, 0), Some(10));
    }
}

/// A partition that waits for room because of a handler that is stuck in the old topic goes on with the new one.
#[tokio::test]
async fn a_handler_stuck_in_a_topic_that_is_gone_does_not_hold_up_the_new_one() {
    let broker = broker_up_to(10, 1).await;
    let seen = Arc::new(Seen::default());
    let handler = Handler {
        stuck_key: Some("stuck"),
        ..Handler::of(&seen)
    };
    let consumer = consumer_with(&broker, |config| {
        config.queue_bytes = 4 << 10;
        config.shutdown_timeout = Duration::from_secs(1);
        config.kafka.client.metadata_max_age = SOON;
    });
    consumer.start(handler).await.expect("started");
    placed(&consumer, 1).await;
    let producer = producer(&broker).await;
    for number in 0..100 {
        producer
            .send(&email("stuck", number))
            .await
            .expect("delivered");
    }
    sleep(Duration::from_secs(1)).await;
    assert!(consumer.metrics().received < 100, "it waits for room");
    recreate(&broker, 1);
    send_keys(&broker, 0..10).await;
    seen.until(10).await;
    let _ = consumer.stop().await;
}

/// With two members, so that the partitions of the new topic are revoked and assigned in between.
#[tokio::test]
async fn a_rebalance_after_the_topic_was_recreated_loses_nothing() {
    for version in BY_ID_AND_BY_NAME {
        let broker = broker_up_to(version, 2).await;
        let seen = Arc::new(Seen::default());
        let first = consumer_of(&broker, OffsetReset::Earliest, NEVER, NEVER);
        first.start(Handler::of(&seen)).await.expect("started");
        placed(&first, 2).await;
        send_keys(&broker, 0..10).await;
        seen.until(10).await;
        recreate(&broker, 2);
        send_keys(&broker, 10..25).await;
        let second = consumer_of(&broker, OffsetReset::Earliest, NEVER, OFTEN);
        second.start(Handler::of(&seen)).await.expect("started");
        seen.until(25).await;
        sleep(2 * OFTEN).await;
        first.stop().await.expect("stopped well");
        second.stop().await.expect("stopped well");
        let by_key = seen.by_key.lock().expect("lock");
        assert_eq!(by_key.len(), 25, "v{version}");
    }
}
