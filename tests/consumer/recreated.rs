//! Topics that are deleted and re-created under the same name: an offset of the one is never one of the other.

use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::{
    Consumer, ErrorKind, OffsetAndMetadata, OffsetReset, StartOffset, TopicId, TopicPartition,
};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::harness::*;

/// The versions of OffsetCommit and OffsetFetch that name topics by id, and by name.
const BY_ID_AND_BY_NAME: [i16; 2] = [10, 9];

fn broker_up_to(version: i16, partitions: i32) -> Broker {
    let broker = cluster(1, |builder| {
        builder
            .api_versions(ApiKey::OFFSET_COMMIT, 2, version)
            .api_versions(ApiKey::OFFSET_FETCH, 1, version)
    });
    broker.create_topic("t", partitions).expect("a new topic");
    broker
}

/// A reader of all partitions of `t`, of the group `g` and without a subscription.
async fn group_reader(broker: &Broker, partitions: i32) -> Consumer {
    let mut consumer = consumer(broker, |config| {
        config.group_id = Some("g".to_string());
        config.client.metadata_max_age = ms(500);
    })
    .await;
    let all: Vec<_> = (0..partitions)
        .map(|partition| (tp(partition), StartOffset::Committed))
        .collect();
    consumer.assign(&all).await.expect("partitions that exist");
    consumer
}

/// Deletes and re-creates `t`, and polls until the consumer has noticed.
async fn recreate(broker: &Broker, consumer: &mut Consumer, partitions: i32) {
    let id = |consumer: &Consumer| consumer.position_to_commit(&tp(0))?.topic_id;
    let before = id(consumer).expect("the broker has ids");
    broker.delete_topic("t");
    broker.create_topic("t", partitions).expect("a new topic");
    let started = Instant::now();
    while id(consumer).is_none_or(|now| now == before) {
        // What fails meanwhile is not what this is about.
        let _ = consumer.poll(ms(100)).await;
        assert!(started.elapsed() < ms(20_000), "never noticed");
    }
}

#[tokio::test(start_paused = true)]
async fn an_offset_of_a_deleted_topic_is_not_committed_in_the_one_that_got_its_name() {
    for version in BY_ID_AND_BY_NAME {
        let broker = broker_up_to(version, 1);
        fill(&broker, 0, 0..10, 10);
        let mut consumer = group_reader(&broker, 1).await;
        let records = consumer.poll(ms(5_000)).await.expect("records");
        let run = records.partitions().next().expect("ten records");
        let (own, id) = (run.to_commit(), run.topic_id());
        assert_eq!((own.offset, own.topic_id), (10, id));
        assert_eq!(consumer.position_to_commit(&tp(0)), Some(own.clone()));
        consumer
            .commit(&[(tp(0), own.clone())])
            .await
            .expect("as it is");
        let committed = consumer.committed(&[tp(0)]).await.expect("offsets");
        assert_eq!(committed[&tp(0)], own);
        recreate(&broker, &mut consumer, 1).await;
        // With the id that the records came with, and without: made of the records' offsets by hand.
        for offset in [own, OffsetAndMetadata::new(10)] {
            let error = consumer
                .commit(&[(tp(0), offset)])
                .await
                .expect_err("of the topic that is gone");
            assert_eq!(error.kind(), ErrorKind::TopicRecreated, "{error}");
            assert_eq!(error.partition(), Some(&tp(0)));
            assert!(!error.is_retriable() && !error.is_fatal());
        }
        assert_eq!(broker.committed_offset("g", "t", 0), None, "v{version}");
        // Of the new topic all is read, and committed.
        fill(&broker, 0, 0..15, 5);
        assert_eq!(read(&mut consumer, 15).await.len(), 15);
        consumer
            .commit(&[(tp(0), OffsetAndMetadata::new(15))])
            .await
            .expect("its own");
        assert_eq!(broker.committed_offset("g", "t", 0), Some(15));
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_waits_while_the_topic_is_recreated_is_dropped() {
    for version in BY_ID_AND_BY_NAME {
        let broker = broker_up_to(version, 1);
        broker.create_topic("u", 1).expect("a new topic");
        fill(&broker, 0, 0..10, 10);
        let mut consumer = group_reader(&broker, 1).await;
        assert_eq!(read(&mut consumer, 10).await.len(), 10);
        // The first one holds up those behind it.
        let busy = FaultAction::Answer(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
        broker.inject(Fault::on(ApiKey::OFFSET_COMMIT, busy).times(8));
        let first = consumer.commit_positions().expect("room for a commit");
        let second = consumer.commit_positions().expect("room for a commit");
        recreate(&broker, &mut consumer, 1).await;
        for pending in [first, second] {
            let error = pending.await.expect_err("of the topic that is gone");
            assert_eq!(error.kind(), ErrorKind::TopicRecreated, "{error}");
        }
        assert_eq!(broker.committed_offset("g", "t", 0), None, "v{version}");
        consumer.commit_sync().await.expect("the new position");
        assert_eq!(broker.committed_offset("g", "t", 0), Some(0), "v{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn partitions_that_a_recreated_topic_has_no_more_hold_up_no_others() {
    for version in BY_ID_AND_BY_NAME {
        let broker = broker_up_to(version, 3);
        broker.create_topic("u", 1).expect("a new topic");
        let other = TopicPartition::new("u", 0);
        for partition in 0..3 {
            fill(&broker, partition, 0..10, 10);
        }
        let mut consumer = group_reader(&broker, 3).await;
        assert_eq!(read(&mut consumer, 30).await.len(), 30);
        recreate(&broker, &mut consumer, 1).await;
        let asked = Instant::now();
        let offsets = [(tp(2), 10), (other.clone(), 7)]
            .map(|(partition, offset)| (partition, OffsetAndMetadata::new(offset)));
        consumer
            .commit(&offsets)
            .await
            .expect_err("the partition is gone");
        assert_eq!(broker.committed_offset("g", "u", 0), Some(7));
        match consumer.committed(&[tp(2), other.clone()]).await {
            // Brokers say of a partition that is gone that nothing is committed.
            Ok(committed) => assert_eq!(committed.keys().collect::<Vec<_>>(), [&other]),
            Err(error) => assert_eq!(error.partition(), Some(&tp(2)), "{error}"),
        }
        assert!(asked.elapsed() < ms(5_000), "{:?}", asked.elapsed());
    }
}

/// With `latest`, what was written before the new partitions were noticed was lost.
#[tokio::test(start_paused = true)]
async fn all_of_what_appears_under_a_subscription_is_read_also_with_latest() {
    let broker = broker_up_to(10, 2);
    let mut consumer = member(&broker, |config| {
        config.auto_offset_reset = OffsetReset::Latest;
        config.client.metadata_max_age = ms(5_000);
    })
    .await;
    assigned(&mut consumer, 2).await;
    for _ in 0..20 {
        consumer.poll(ms(100)).await.expect("a poll");
    }
    broker.delete_topic("t");
    broker.create_topic("t", 3).expect("a new topic");
    for partition in 0..3 {
        fill(&broker, partition, 0..8, 4);
    }
    let mut seen = [0; 3];
    let started = Instant::now();
    while seen != [8; 3] {
        if let Ok(records) = consumer.poll(ms(100)).await {
            for record in &records {
                let next = &mut seen[record.partition as usize];
                assert_eq!(record.offset, *next, "{}", record.topic_partition());
                *next += 1;
            }
        }
        assert!(started.elapsed() < ms(60_000), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_a_topic_that_is_recreated_is_an_error_until_the_application_seeks() {
    let broker = broker_up_to(10, 1);
    fill(&broker, 0, 0..10, 10);
    let mut consumer = consumer(&broker, |config| {
        config.auto_offset_reset = OffsetReset::None;
        config.client.metadata_max_age = ms(500);
    })
    .await;
    consumer
        .assign(&[(tp(0), StartOffset::Offset(0))])
        .await
        .expect("assigned");
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
    broker.delete_topic("t");
    broker.create_topic("t", 1).expect("a new topic");
    fill(&broker, 0, 0..20, 10);
    let started = Instant::now();
    let mut told = 0;
    while started.elapsed() < ms(10_000) {
        match consumer.poll(ms(500)).await {
            Ok(records) => assert!(records.is_empty(), "it moved by itself"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TopicRecreated, "{error}");
                assert_eq!(error.failed_offset(), Some(10));
                told += 1;
            }
        }
    }
    assert!((5..=11).contains(&told), "{told} times in 10 s");
    consumer.seek(&tp(0), 0).expect("assigned");
    assert_eq!(read(&mut consumer, 20).await.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_gone_is_not_asked_for_and_holds_up_no_other() {
    let broker = broker_up_to(10, 3);
    for partition in 0..3 {
        fill(&broker, partition, 0..10, 10);
    }
    let mut consumer = group_reader(&broker, 3).await;
    assert_eq!(read(&mut consumer, 30).await.len(), 30);
    recreate(&broker, &mut consumer, 1).await;
    fill(&broker, 0, 0..10, 10);
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
    // The fetches of an idle partition, two in a second, and no others.
    let unseen = FaultAction::Delay(ms(0));
    broker.inject(Fault::on(ApiKey::FETCH, unseen).times(60));
    broker.inject(Fault::on(ApiKey::LIST_OFFSETS, unseen).times(3));
    let started = Instant::now();
    while started.elapsed() < ms(20_000) {
        let _ = consumer.poll(ms(500)).await;
    }
    assert_eq!(broker.pending_faults(), 2, "asked for what is gone");
    let error = loop {
        match consumer.poll(ms(1_000)).await {
            Ok(_) => assert!(started.elapsed() < ms(60_000), "never told"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error}");
    // Once it exists again it is read.
    broker.delete_topic("t");
    broker.create_topic("t", 3).expect("a new topic");
    for partition in 0..3 {
        fill(&broker, partition, 0..10, 10);
    }
    assert_eq!(read(&mut consumer, 30).await.len(), 30);
}

#[test]
fn a_topic_id_is_printed_as_by_kafka_and_never_zero() {
    let id = TopicId::from_bytes([1; 16]).expect("an id");
    assert_eq!(id.to_string(), "AQEBAQEBAQEBAQEBAQEBAQ");
    assert_eq!(id.as_bytes(), &[1; 16]);
    assert_eq!(TopicId::from_bytes([0; 16]), None);
}
