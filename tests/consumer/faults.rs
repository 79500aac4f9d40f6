//! Lost answers, throttles, moved leaders and coordinators, truncated logs, brokers that are away: everything ends in progress, or in an
//! error that the application sees.

use std::collections::BTreeSet;
use std::time::Duration;

use pat_events::broker::{Fault, FaultAction};
use pat_events::kafka::{Consumer, ErrorKind, OffsetAndMetadata, StartOffset, TopicPartition};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::harness::*;

/// Java KAFKA-17455: stuck for ever after a throttle.
#[tokio::test(start_paused = true)]
async fn a_throttle_delays_and_never_stops() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..2_000, 10);
    for api in [ApiKey::FETCH, ApiKey::LIST_OFFSETS, ApiKey::METADATA] {
        broker.inject(Fault::on(api, FaultAction::Throttle(ms(1_500))).times(2));
    }
    let mut consumer = reader(&broker, 1, |config| {
        config.max_partition_fetch_bytes = 10_000
    })
    .await;
    let all: Vec<u32> = (0..2_000).collect();
    assert_eq!(read(&mut consumer, 2_000).await, all);
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_or_errors_lose_and_repeat_nothing() {
    for action in [
        FaultAction::Disconnect,
        FaultAction::ApplyThenDisconnect,
        FaultAction::Delay(ms(700)),
        FaultAction::Answer(ErrorCode::UNKNOWN_SERVER_ERROR),
        FaultAction::Answer(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        FaultAction::Answer(ErrorCode::UNKNOWN_LEADER_EPOCH),
        FaultAction::Answer(ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
        FaultAction::Answer(ErrorCode::INVALID_FETCH_SESSION_EPOCH),
        FaultAction::Answer(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ] {
        let broker = one_broker(2);
        for partition in 0..2 {
            fill(&broker, partition, 0..1_000, 10);
        }
        broker.inject(Fault::on(ApiKey::FETCH, action).after(2).times(3));
        broker.inject(Fault::on(ApiKey::LIST_OFFSETS, action).times(2));
        let mut consumer = reader(&broker, 2, |config| {
            config.max_partition_fetch_bytes = 5_000
        })
        .await;
        let mut next = [0, 0];
        while next != [1_000, 1_000] {
            match consumer.poll(ms(20_000)).await {
                Ok(records) => {
                    assert!(!records.is_empty(), "{action:?}: stuck at {next:?}");
                    for record in &records {
                        assert_eq!(record.offset, next[record.partition as usize], "{action:?}");
                        next[record.partition as usize] += 1;
                    }
                }
                Err(error) => assert!(
                    error.is_retriable() || error.server_error().is_some(),
                    "{action:?}: {error}"
                ),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reading_follows_a_leader_that_moves() {
    let broker = cluster(3, |builder| builder.default_replication_factor(3));
    broker.create_topic("t", 1).expect("a new topic");
    let mut consumer = reader(&broker, 1, |_| {}).await;
    for round in 0..12_u32 {
        fill(&broker, 0, round * 100..round * 100 + 100, 10);
        let part: Vec<u32> = (round * 100..round * 100 + 100).collect();
        assert_eq!(read(&mut consumer, 100).await, part, "round {round}");
        broker.move_leader("t", 0, 1 + (round as i32 + 1) % 3);
        if round % 4 == 3 {
            broker.disconnect_all();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_truncated_is_noticed_and_read_from_where_it_ends() {
    let broker = cluster(3, |builder| builder.default_replication_factor(3));
    broker.create_topic("t", 1).expect("a new topic");
    fill(&broker, 0, 0..100, 10);
    let mut consumer = reader(&broker, 1, |config| {
        config.client.metadata_max_age = ms(1_000)
    })
    .await;
    assert_eq!(read(&mut consumer, 100).await.len(), 100);
    broker.truncate_log("t", 0, 60);
    fill(&broker, 0, 60..160, 10);
    let rest: Vec<u32> = (60..160).collect();
    assert_eq!(read(&mut consumer, 100).await, rest);
}

/// rust-rdkafka #638, vector #22006: the consumer stopped for good, silently.
#[tokio::test(start_paused = true)]
async fn a_stall_is_an_error_that_the_application_sees_and_ends_when_the_brokers_are_back() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 10);
    let mut consumer = member(&broker, |config| config.client.request_timeout = ms(5_000)).await;
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
    broker.stop_node(1).await;
    let stopped = Instant::now();
    let error = loop {
        if let Err(error) = consumer.poll(ms(500)).await {
            break error;
        }
        assert!(
            stopped.elapsed() < Duration::from_secs(60),
            "silent for a minute"
        );
    };
    assert!(error.is_retriable(), "{error:?}");
    broker.start_node(1).await.expect("starts again");
    fill(&broker, 0, 10..20, 10);
    let started = Instant::now();
    let mut all = Vec::new();
    while all.len() < 10 {
        if let Ok(records) = consumer.poll(ms(500)).await {
            all.extend(numbers(&records));
        }
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "no progress: {all:?}"
        );
    }
    // Nothing was committed, and the session may have ended in the meantime.
    assert!(
        all == (10..20).collect::<Vec<u32>>() || all.starts_with(&[0]),
        "{all:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_deleted_is_an_error_that_the_application_sees() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 10);
    let mut consumer = reader(&broker, 1, |config| {
        config.client.request_timeout = ms(3_000)
    })
    .await;
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
    broker.delete_topic("t");
    let deleted = Instant::now();
    let error = loop {
        if let Err(error) = consumer.poll(ms(500)).await {
            break error;
        }
        assert!(
            deleted.elapsed() < Duration::from_secs(30),
            "silent for half a minute"
        );
    };
    assert_eq!(error.partition(), Some(&tp(0)), "{error}");
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error}");
}

/// Java KAFKA-16198: metadata that came late thinned an assignment out.
#[tokio::test(start_paused = true)]
async fn an_assignment_waits_for_metadata_and_is_never_thinned_out_by_it() {
    let broker = one_broker(6);
    for partition in 0..6 {
        fill(&broker, partition, 0..10, 10);
    }
    broker.inject(
        Fault::on(ApiKey::METADATA, FaultAction::Delay(ms(800)))
            .after(1)
            .times(3),
    );
    let mut consumer = member(&broker, |_| {}).await;
    assigned(&mut consumer, 6).await;
    for partition in 0..6 {
        consumer
            .seek_to_beginning(&tp(partition))
            .expect("assigned");
    }
    assert_eq!(read(&mut consumer, 60).await.len(), 60);
}

#[tokio::test(start_paused = true)]
async fn joins_syncs_heartbeats_and_commits_survive_errors_of_the_coordinator() {
    for code in [
        ErrorCode::NOT_COORDINATOR,
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::REBALANCE_IN_PROGRESS,
        ErrorCode::UNKNOWN_MEMBER_ID,
        ErrorCode::ILLEGAL_GENERATION,
    ] {
        let broker = one_broker(2);
        for partition in 0..2 {
            fill(&broker, partition, 0..100, 10);
        }
        let answer = FaultAction::Answer(code);
        let transient = code.is_retriable();
        broker.inject(Fault::on(ApiKey::HEARTBEAT, answer).after(1).times(2));
        if transient {
            broker.inject(Fault::on(ApiKey::JOIN_GROUP, answer).times(2));
            broker.inject(Fault::on(ApiKey::SYNC_GROUP, answer).times(1));
            broker.inject(Fault::on(ApiKey::OFFSET_FETCH, answer).times(2));
        }
        let mut consumer = member(&broker, |_| {}).await;
        assigned(&mut consumer, 2).await;
        tokio::time::sleep(ms(7_000)).await;
        assigned(&mut consumer, 2).await;
        for partition in 0..2 {
            consumer.seek(&tp(partition), 0).expect("assigned");
        }
        assert_eq!(read(&mut consumer, 200).await.len(), 200, "{code}");
        consumer
            .commit_sync()
            .await
            .unwrap_or_else(|error| panic!("{code}: {error}"));
        assert_eq!(broker.committed_offset("g", "t", 1), Some(100), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_moves_keeps_the_group() {
    let broker = cluster(3, |builder| builder.default_replication_factor(3));
    broker.create_topic("t", 3).expect("a new topic");
    fill(&broker, 0, 0..100, 10);
    let mut consumer = member(&broker, |_| {}).await;
    assigned(&mut consumer, 3).await;
    for round in 0..6 {
        broker.move_coordinator("g", 1 + round % 3);
        for _ in 0..100 {
            consumer.poll(ms(50)).await.expect("a poll");
        }
        assigned(&mut consumer, 3).await;
        consumer
            .commit_sync()
            .await
            .expect("commits with the new coordinator");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_holds_up_no_other_when_the_group_rebalances() {
    let broker = one_broker(2);
    broker.create_topic("u", 1).expect("a new topic");
    let mut one = member(&broker, |_| {}).await;
    one.subscribe(&["t", "u"]).await.expect("topics that exist");
    assigned(&mut one, 3).await;
    broker.delete_topic("u");
    let mut other = member(&broker, |_| {}).await;
    let (mut seen, started) = (BTreeSet::new(), Instant::now());
    while seen.len() < 40 {
        for consumer in [&mut one, &mut other] {
            match consumer.poll(ms(50)).await {
                Ok(records) => seen.extend(
                    records
                        .iter()
                        .map(|record| (record.topic_partition().clone(), record.offset)),
                ),
                Err(error) => assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition),
            }
        }
        let shared = one.assignment().len() == 1 && other.assignment().len() == 1;
        if shared && broker.log("t", 0).is_some_and(|log| log.end_offset == 0) {
            for partition in 0..2 {
                fill(&broker, partition, 0..20, 10);
            }
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{} read, {:?} held",
            seen.len(),
            one.assignment()
        );
    }
    let gone = TopicPartition::new("u", 0);
    let own = one.assignment().remove(0);
    assert_eq!(&*own.topic, "t", "a topic that is gone is nobody's");
    one.commit(&[(own.clone(), OffsetAndMetadata::new(20))])
        .await
        .expect("its own");
    assert_eq!(broker.committed_offset("g", "t", own.partition), Some(20));
    let asked = Instant::now();
    let error = one
        .committed(&[tp(0), gone.clone()])
        .await
        .expect_err("nobody knows the topic");
    assert_eq!(error.partition(), Some(&gone), "{error}");
    assert!(asked.elapsed() <= Duration::from_secs(30));
}

/// A record's epoch that the leader has none of: an epoch without records leaves no trace with it.
#[tokio::test(start_paused = true)]
async fn a_committed_epoch_that_the_leader_does_not_know_stops_nothing() {
    let broker = cluster(3, |builder| builder.default_replication_factor(3));
    broker.create_topic("t", 1).expect("a new topic");
    fill(&broker, 0, 0..10, 10);
    broker.move_leader("t", 0, 2);
    broker.move_leader("t", 0, 3);
    fill(&broker, 0, 10..20, 10);
    let mut consumer = consumer(&broker, |config| config.group_id = Some("g".to_string())).await;
    let mut committed = OffsetAndMetadata::new(10);
    committed.leader_epoch = Some(1);
    consumer
        .commit(&[(tp(0), committed)])
        .await
        .expect("an offset of a group without members");
    consumer
        .assign(&[(tp(0), StartOffset::Committed)])
        .await
        .expect("assigned");
    // A client that is busy without end keeps the paused clock from moving: polls are counted instead.
    let mut all = Vec::new();
    for _ in 0..2_000 {
        all.extend(numbers(&consumer.poll(ms(0)).await.expect("a poll")));
    }
    assert_eq!(all, (10..20).collect::<Vec<u32>>());
}

#[tokio::test(start_paused = true)]
async fn reading_follows_a_leader_to_a_node_where_nothing_was_to_be_fetched() {
    // From a version on brokers name the new leader with the error; before, the metadata brings it.
    let broker = cluster(3, |builder| {
        builder
            .default_replication_factor(3)
            .api_versions(ApiKey::FETCH, 4, 11)
    });
    broker.create_topic("t", 2).expect("a new topic");
    let leader = |partition| broker.log("t", partition).expect("a log").leader;
    let (first, second) = (leader(0).expect("led"), leader(1).expect("led"));
    fill(&broker, 0, 0..10, 10);
    let mut consumer = reader(&broker, 2, |_| {}).await;
    consumer.pause(&[tp(1)]).expect("assigned");
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
    tokio::time::sleep(ms(2_000)).await;
    broker.stop_node(first).await;
    assert_eq!(leader(0), Some(second), "where the paused partition is");
    fill(&broker, 0, 10..20, 10);
    assert_eq!(
        read(&mut consumer, 10).await,
        (10..20).collect::<Vec<u32>>()
    );
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_that_was_assigned_by_hand_stays_assigned_and_is_read_once_it_is_back() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 10);
    let mut consumer = reader(&broker, 1, |config| {
        config.client.request_timeout = ms(3_000);
    })
    .await;
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
    broker.delete_topic("t");
    let deleted = Instant::now();
    let mut told = 0;
    while deleted.elapsed() < Duration::from_secs(60) {
        if let Err(error) = consumer.poll(ms(500)).await {
            assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error}");
            told += 1;
        }
        assert_eq!(consumer.assignment(), [tp(0)]);
    }
    assert!((1..=20).contains(&told), "told {told} times in a minute");
    broker.create_topic("t", 1).expect("a new topic");
    fill(&broker, 0, 0..20, 10);
    let all: Vec<u32> = (0..20).collect();
    assert_eq!(
        read_in(&mut consumer, 20, Duration::from_secs(60)).await,
        all
    );
}

/// As [`read`], for as long as `time`.
async fn read_in(consumer: &mut Consumer, count: usize, time: Duration) -> Vec<u32> {
    let started = Instant::now();
    let mut all = Vec::new();
    while all.len() < count && started.elapsed() < time {
        if let Ok(records) = consumer.poll(ms(500)).await {
            all.extend(numbers(&records));
        }
    }
    all
}
