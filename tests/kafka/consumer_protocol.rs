//! Groups of the consumer protocol (KIP-848), on any broker: static members that restart, patterns that the broker matches, and a group that goes
//! over from the classic protocol and back while it is read.

use std::collections::BTreeMap;
use std::time::Duration;

use pat_events::kafka::{Consumer, TopicPartition};
use tokio::time::{Instant, timeout};

use crate::fleet::Target;
use crate::patterns::{holds, read};
use crate::strategies::{self, settle};
use crate::suite::send_numbers;

const POLL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

async fn member(target: &Target, group: &str, more: &[(&str, &str)]) -> Consumer {
    let common = [
        ("group.id", group),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "true"),
        ("auto.commit.interval.ms", "100"),
    ];
    target.consumer(&[&common, more].concat()).await
}

fn sorted(consumer: &Consumer) -> Vec<TopicPartition> {
    let mut assignment = consumer.assignment();
    assignment.sort();
    assignment
}

pub(crate) async fn a_static_member_restarts_without_a_rebalance(target: Target) {
    let topic = target.topic("static-consumers").await;
    let producer = target.producer(&[]).await;
    let partitions = producer.partitions(&topic).await.expect("a topic") as usize;
    let mut seen = BTreeMap::new();
    let mut members = Vec::new();
    for instance in ["a", "b"] {
        let properties = [
            ("group.protocol", "consumer"),
            ("group.instance.id", instance),
        ];
        let mut one = member(&target, &topic, &properties).await;
        one.subscribe(&[&*topic]).await.expect("subscribed");
        members.push(one);
    }
    settle(&mut members, partitions, &mut seen).await;
    send_numbers(&producer, &topic, 0..300).await;
    strategies::read(&mut members, 300, &mut seen).await;
    let before = [sorted(&members[0]), sorted(&members[1])];
    members.remove(0).close().await.expect("left for a while");
    for _ in 0..10 {
        strategies::poll(&mut members, &mut seen).await;
    }
    assert_eq!(
        sorted(&members[0]),
        before[1],
        "nobody gets what the other had"
    );
    let properties = [("group.protocol", "consumer"), ("group.instance.id", "a")];
    let mut back = member(&target, &topic, &properties).await;
    back.subscribe(&[&*topic]).await.expect("subscribed");
    members.insert(0, back);
    settle(&mut members, partitions, &mut seen).await;
    assert_eq!([sorted(&members[0]), sorted(&members[1])], before);
    send_numbers(&producer, &topic, 300..600).await;
    strategies::read(&mut members, 600, &mut seen).await;
    assert!(seen.values().all(|times| *times == 1), "each once");
    for member in members {
        member.close().await.expect("left");
    }
}

pub(crate) async fn topics_that_match_a_brokers_pattern_are_read_as_they_come_and_go(
    target: Target,
) {
    for name in ["matched-1", "matched-2", "matched-x", "not-matched-3"] {
        target.topic(name).await;
    }
    let producer = target.producer(&[]).await;
    let mut consumer = member(&target, "matched", &[("group.protocol", "consumer")]).await;
    let subscribed = consumer.subscribe_pattern("matched-[0-9]").await;
    subscribed.expect("a pattern");
    holds(&mut consumer, &["matched-1", "matched-2"]).await;
    target.topic("matched-3").await;
    send_numbers(&producer, "matched-3", 0..100).await;
    let all = timeout(PATIENCE, read(&mut consumer, "matched-3", 100)).await;
    all.expect("each record of a topic that came later");
    let admin = target.admin().await;
    let deleted = admin.delete_topics(&["matched-1"]).await.expect("answered");
    deleted["matched-1"].as_ref().expect("deleted");
    holds(&mut consumer, &["matched-2", "matched-3"]).await;
    consumer.close().await.expect("closed");
    let mut broken = member(
        &target,
        "matched by nothing",
        &[("group.protocol", "consumer")],
    )
    .await;
    broken
        .subscribe_pattern("a(")
        .await
        .expect("the broker is to say");
    let began = Instant::now();
    let error = loop {
        match broken.poll(POLL).await {
            Ok(_) => assert!(began.elapsed() < PATIENCE, "no error"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("INVALID_REGULAR_EXPRESSION"), "{error}");
    let mut classic = member(&target, "matched by members", &[]).await;
    let error = classic
        .subscribe_pattern("a")
        .await
        .expect_err("nobody matches it");
    assert!(error.to_string().contains("group.protocol"), "{error}");
}

/// Members are replaced one by one, while records come in and all are read: each record once.
pub(crate) async fn a_group_changes_its_protocol_under_load_and_back(target: Target) {
    for strategy in ["range", "cooperative-sticky"] {
        change(&target, strategy).await;
    }
}

async fn change(target: &Target, strategy: &str) {
    let group = format!("changing-{strategy}");
    let topic = target.topic(&group).await;
    let producer = target.producer(&[]).await;
    let partitions = producer.partitions(&topic).await.expect("a topic") as usize;
    let classic = [
        ("heartbeat.interval.ms", "300"),
        ("partition.assignment.strategy", strategy),
    ];
    let consumer = [("group.protocol", "consumer")];
    let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
    let mut members: Vec<Consumer> = Vec::new();
    let mut sent = 0;
    for (step, properties) in [
        &classic[..],
        &classic,
        &consumer,
        &consumer,
        &classic,
        &classic,
    ]
    .into_iter()
    .enumerate()
    {
        let mut new = member(target, &group, properties).await;
        new.subscribe(&[&*topic]).await.expect("subscribed");
        members.push(new);
        settle(&mut members, partitions, &mut seen).await;
        let numbers = sent..sent + 200;
        send_numbers(&producer, &topic, numbers).await;
        sent += 200;
        if step >= 2 {
            strategies::poll(&mut members, &mut seen).await;
            members.remove(0).close().await.expect("left");
            settle(&mut members, partitions, &mut seen).await;
        }
        strategies::read(&mut members, sent, &mut seen).await;
    }
    let repeated: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
    assert!(
        repeated.is_empty(),
        "{strategy}: read more than once: {repeated:?}"
    );
    for member in members {
        member.close().await.expect("left");
    }
}
