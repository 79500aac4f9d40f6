//! A member that subscribes by a pattern, on any broker: topics that match are read as they come, and let go of as they go.

use std::collections::BTreeSet;
use std::time::Duration;

use pat_events::kafka::Consumer;
use tokio::time::{Instant, timeout};

use crate::fleet::Target;
use crate::suite::send_numbers;

const POLL: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn topics_that_match_a_pattern_are_read_as_they_come_and_go(target: Target) {
    for name in ["pattern-1", "pattern-2", "pattern-x"] {
        target.topic(name).await;
    }
    let producer = target.producer(&[]).await;
    let properties = [
        ("group.id", "patterns"),
        ("auto.offset.reset", "latest"),
        ("metadata.max.age.ms", "1000"),
    ];
    let mut consumer = target.consumer(&properties).await;
    let subscribed = consumer.subscribe(&["^pattern-[0-9]$"]).await;
    subscribed.expect("a pattern");
    holds(&mut consumer, &["pattern-1", "pattern-2"]).await;
    // It is there with its records before the consumer hears of it.
    target.topic("pattern-3").await;
    send_numbers(&producer, "pattern-3", 0..100).await;
    let read = timeout(PATIENCE, read(&mut consumer, "pattern-3", 100)).await;
    read.expect("each record of a topic that came later");
    holds(&mut consumer, &["pattern-1", "pattern-2", "pattern-3"]).await;
    let admin = target.admin().await;
    let deleted = admin.delete_topics(&["pattern-1"]).await.expect("answered");
    deleted["pattern-1"].as_ref().expect("deleted");
    holds(&mut consumer, &["pattern-2", "pattern-3"]).await;
    // What is written before it knows where it stands may be before the end that it begins at.
    stands(&mut consumer).await;
    send_numbers(&producer, "pattern-2", 0..100).await;
    let read = timeout(PATIENCE, self::read(&mut consumer, "pattern-2", 100)).await;
    read.expect("each record of a topic that stays");
    consumer.close().await.expect("closed");
}

/// Polls until the assignment is of these topics.
pub(crate) async fn holds(consumer: &mut Consumer, topics: &[&str]) {
    let began = Instant::now();
    loop {
        let held = consumer.assignment();
        let held: BTreeSet<_> = held.iter().map(|partition| &*partition.topic).collect();
        if held.iter().eq(topics) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{held:?}");
        // A fetch may miss a topic that was deleted before the pattern lets go of it.
        let _ = consumer.poll(POLL).await;
    }
}

/// Polls until the position of each partition is known.
async fn stands(consumer: &mut Consumer) {
    let began = Instant::now();
    while let Some(unknown) = {
        let mut held = consumer.assignment().into_iter();
        held.find(|partition| consumer.handle().position(partition).is_none())
    } {
        assert!(began.elapsed() < PATIENCE, "{unknown} has no position");
        let records = consumer.poll(POLL).await.expect("polled");
        assert_eq!(records.count(), 0, "nothing was written");
    }
}

/// Polls until so many records of the topic were read.
pub(crate) async fn read(consumer: &mut Consumer, topic: &str, count: usize) {
    let mut seen = 0;
    while seen < count {
        let records = consumer.poll(POLL).await.expect("polled");
        seen += records.iter().filter(|it| it.topic == topic).count();
    }
    assert_eq!(seen, count, "each once");
}
