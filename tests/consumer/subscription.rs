//! Subscribing to topics that do not exist, or not yet.

use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::kafka::{Consumer, ErrorKind, MissingTopics, WriteOutcome};
use tokio::time::Instant;

use crate::harness::*;

async fn in_group(broker: &Broker, missing_topics: MissingTopics) -> Consumer {
    consumer(broker, |config| {
        config.group_id = Some("g".to_string());
        config.missing_topics = missing_topics;
        config.client.request_timeout = ms(10_000);
    })
    .await
}

/// librdkafka tells of the missing topic and reads the others; Java reads the others.
#[tokio::test(start_paused = true)]
async fn a_missing_topic_is_told_once_holds_up_no_other_and_is_read_once_it_comes() {
    let broker = one_broker(2);
    fill(&broker, 0, 0..10, 10);
    let mut one = in_group(&broker, MissingTopics::Wait).await;
    let started = Instant::now();
    one.subscribe(&["later", "t", "t"])
        .await
        .expect("one of them exists");
    assert!(started.elapsed() <= ms(1_000), "{:?}", started.elapsed());
    assert_eq!(read(&mut one, 10).await.len(), 10);
    let mut told = Vec::new();
    while started.elapsed() < ms(60_000) {
        told.extend(one.poll(ms(500)).await.err());
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].kind(), ErrorKind::UnknownTopicOrPartition);
    assert!(told[0].is_retriable());
    assert!(told[0].to_string().contains("later"), "{}", told[0]);
    broker.create_topic("later", 3).expect("a new topic");
    let created = Instant::now();
    assigned(&mut one, 5).await;
    assert!(created.elapsed() <= ms(8_000), "{:?}", created.elapsed());
}

/// The leader looks for what other members subscribed to as well.
#[tokio::test(start_paused = true)]
async fn a_topic_that_only_another_member_waits_for_is_read_once_it_comes() {
    let broker = one_broker(1);
    let mut leader = in_group(&broker, MissingTopics::Wait).await;
    leader.subscribe(&["t"]).await.expect("exists");
    assigned(&mut leader, 1).await;
    let mut other = in_group(&broker, MissingTopics::Wait).await;
    other.subscribe(&["later"]).await.expect("waits");
    for _ in 0..200 {
        leader.poll(ms(50)).await.expect("a poll");
        let _ = other.poll(ms(50)).await;
    }
    broker.create_topic("later", 1).expect("a new topic");
    let created = Instant::now();
    while other.assignment().is_empty() {
        leader.poll(ms(50)).await.expect("a poll");
        let _ = other.poll(ms(50)).await;
        assert!(created.elapsed() <= ms(15_000), "not picked up");
    }
}

#[tokio::test(start_paused = true)]
async fn who_wants_an_error_for_a_missing_topic_gets_one() {
    let broker = one_broker(1);
    let mut consumer = in_group(&broker, MissingTopics::Fail).await;
    let started = Instant::now();
    let error = consumer
        .subscribe(&["t", "nowhere"])
        .await
        .expect_err("no such topic");
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert!(started.elapsed() <= ms(10_000));
    assert_eq!(error.outcome(), WriteOutcome::NotWritten);
    let error = consumer.poll(ms(10)).await.expect_err("nothing to poll");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_can_never_be_read_fails_at_once() {
    let broker = one_broker(1);
    let mut consumer = in_group(&broker, MissingTopics::Wait).await;
    let started = Instant::now();
    let error = consumer.subscribe(&["a b"]).await.expect_err("no name");
    assert!(error.to_string().contains("\"a b\""), "{error}");
    assert!(started.elapsed() <= ms(1_000), "{:?}", started.elapsed());
    assert_eq!(error.outcome(), WriteOutcome::NotWritten);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_no_broker_answers_fails_by_the_request_timeout() {
    let broker = one_broker(1);
    let mut consumer = in_group(&broker, MissingTopics::Wait).await;
    broker.stop_node(1).await;
    let started = Instant::now();
    let error = consumer.subscribe(&["t"]).await.expect_err("nobody there");
    assert!(started.elapsed() <= Duration::from_secs(11));
    assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{error}");
    assert!(error.to_string().contains("is down"), "{error}");
}

/// A poll that is called regardless of its errors costs no processor: a paused clock that is never let go on would not move at all.
#[tokio::test(start_paused = true)]
async fn an_error_that_lasts_is_no_hot_loop() {
    let broker = one_broker(1);
    let mut consumer = in_group(&broker, MissingTopics::Wait).await;
    let started = Instant::now();
    for _ in 0..50 {
        consumer.poll(ms(500)).await.expect_err("nothing to poll");
    }
    assert!(started.elapsed() >= ms(3_500), "{:?}", started.elapsed());
}
