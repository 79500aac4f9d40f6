//! Subscribing by a pattern: topics come and go.

use bytes::Bytes;
use pat_events::broker::Broker;
use pat_events::kafka::{Consumer, ConsumerConfig, ErrorKind, OffsetReset, TopicPartition};
use protocol::compression::Compression;
use protocol::records::SealOptions;
use tokio::time::Instant;

use crate::harness::*;

fn with(topics: &[&str]) -> Broker {
    let broker = cluster(1, |builder| builder);
    for topic in topics {
        broker.create_topic(topic, 1).expect("a new topic");
    }
    broker
}

async fn in_group(broker: &Broker, change: impl FnOnce(&mut ConsumerConfig)) -> Consumer {
    consumer(broker, |config| {
        config.group_id = Some("g".to_string());
        config.client.metadata_max_age = ms(10_000);
        change(config);
    })
    .await
}

fn numbers_of(range: std::ops::Range<u32>) -> Bytes {
    batch(range, Compression::NONE, &SealOptions::default())
}

/// Polls until the topics of the assignment are these; returns how long that took.
async fn assigned_topics(consumer: &mut Consumer, topics: &[&str]) -> std::time::Duration {
    let began = Instant::now();
    loop {
        let held = consumer.assignment();
        let held: Vec<_> = held.iter().map(|partition| &*partition.topic).collect();
        if held == topics {
            return began.elapsed();
        }
        assert!(began.elapsed() < ms(60_000), "{held:?}");
        // A topic that is deleted may be missed by a fetch before the pattern lets go of it.
        let _ = consumer.poll(ms(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn topics_that_match_are_read_as_they_come_and_go() {
    let broker = with(&["orders-1", "other", "orders-2", "named"]);
    let mut consumer = in_group(&broker, |config| {
        config.auto_offset_reset = OffsetReset::Latest;
    })
    .await;
    consumer
        .subscribe(&["named", "^orders-[0-9]+$"])
        .await
        .expect("a pattern");
    assigned_topics(&mut consumer, &["named", "orders-1", "orders-2"]).await;
    let before = consumer.metrics().rebalances;
    broker.create_topic("orders-x", 1).expect("a new topic");
    broker.create_topic("orders-3", 1).expect("a new topic");
    broker.append_unchecked("orders-3", 0, numbers_of(0..5));
    let took = assigned_topics(
        &mut consumer,
        &["named", "orders-1", "orders-2", "orders-3"],
    )
    .await;
    assert!(took <= ms(15_000), "{took:?}");
    // Written after the subscription, so that it is read also under `latest`.
    assert_eq!(read(&mut consumer, 5).await, [0, 1, 2, 3, 4]);
    assert_eq!(consumer.metrics().rebalances, before + 1);
    assert!(broker.delete_topic("orders-1"));
    let took = assigned_topics(&mut consumer, &["named", "orders-2", "orders-3"]).await;
    assert!(took <= ms(25_000), "{took:?}");
    // Nothing is said of it for ever.
    let quiet = Instant::now();
    while quiet.elapsed() < ms(60_000) {
        consumer.poll(ms(1_000)).await.expect("a poll");
    }
    consumer.subscribe(&["other"]).await.expect("a topic");
    assigned_topics(&mut consumer, &["other"]).await;
    broker.create_topic("orders-4", 1).expect("a new topic");
    for _ in 0..30 {
        consumer.poll(ms(1_000)).await.expect("a poll");
    }
    let held = consumer.assignment();
    assert_eq!(
        held,
        [TopicPartition::new("other", 0)],
        "no pattern any more"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pattern_that_matches_nothing_yet_waits_for_what_does() {
    let broker = with(&["a"]);
    let mut consumer = in_group(&broker, |_| {}).await;
    consumer.subscribe(&["^b"]).await.expect("a pattern");
    for _ in 0..20 {
        assert!(consumer.poll(ms(1_000)).await.expect("a poll").is_empty());
    }
    broker.create_topic("b", 1).expect("a new topic");
    broker.append_unchecked("b", 0, numbers_of(0..3));
    assert_eq!(read(&mut consumer, 3).await, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn members_with_the_same_pattern_share_what_comes() {
    let broker = with(&["a-1"]);
    let mut one = in_group(&broker, |_| {}).await;
    let mut other = in_group(&broker, |_| {}).await;
    one.subscribe(&["^a-"]).await.expect("a pattern");
    other.subscribe(&["^a-"]).await.expect("a pattern");
    for topic in ["a-2", "a-3"] {
        broker.create_topic(topic, 2).expect("a new topic");
    }
    let began = Instant::now();
    let sizes = |one: &Consumer, other: &Consumer| {
        let (one, other) = (one.assignment().len(), other.assignment().len());
        (one.min(other), one.max(other))
    };
    while sizes(&one, &other) != (2, 3) {
        one.poll(ms(50)).await.expect("a poll");
        other.poll(ms(50)).await.expect("a poll");
        assert!(began.elapsed() < ms(60_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_pattern_fails_at_once_and_says_where() {
    let broker = with(&["a"]);
    let mut consumer = in_group(&broker, |_| {}).await;
    let error = consumer.subscribe(&["a", "^a(b"]).await.expect_err("bad");
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(
        text.contains("\"^a(b\"") && text.contains("character 3"),
        "{text}"
    );
    let error = consumer.poll(ms(10)).await.expect_err("nothing to poll");
    assert!(error.to_string().contains("subscribe"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn excluded_topics_are_read_by_no_pattern_whenever_they_come() {
    let broker = with(&["mail-a", "mail-secret"]);
    let mut consumer = in_group(&broker, |config| {
        config.exclude_topics = vec!["mail-secret".to_string(), "^mail-.*-dlq$".to_string()];
    })
    .await;
    consumer.subscribe(&["^mail-"]).await.expect("a pattern");
    assigned_topics(&mut consumer, &["mail-a"]).await;
    broker.create_topic("mail-a-dlq", 1).expect("a new topic");
    broker.create_topic("mail-b", 1).expect("a new topic");
    assigned_topics(&mut consumer, &["mail-a", "mail-b"]).await;
}
