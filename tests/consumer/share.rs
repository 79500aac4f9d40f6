//! Members of share groups (KIP-932): what is acquired is handed out once and acknowledged once, whatever happens to sessions, leaders and batches.

use std::collections::BTreeMap;
use std::time::Duration;

use pat_events::broker::{Broker, BrokerBuilder, Fault, FaultAction};
use pat_events::kafka::{
    AcknowledgeType, AcknowledgementMode, AcquireMode, Clock, ErrorKind, ShareConsumer,
    ShareConsumerConfig, ShareRecords, WriteOutcome,
};
use protocol::compression::Compression;
use protocol::records::SealOptions;
use protocol::{ApiKey, ErrorCode};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::*;
use crate::in_memory::InMemory;

/// For how long the embedded broker locks a record.
const LOCK: Duration = Duration::from_secs(30);

fn sharing(nodes: usize, change: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Broker {
    let broker = cluster(nodes, |builder| {
        change(builder.share_groups_from_earliest(true))
    });
    broker.create_topic("t", 1).expect("a new topic");
    broker
}

async fn sharer(broker: &Broker, change: impl FnOnce(&mut ShareConsumerConfig)) -> ShareConsumer {
    let mut config = ShareConsumerConfig::new(&broker.bootstrap_servers(), "g");
    config.client.transport = std::sync::Arc::new(InMemory(broker.clone()));
    config.client.clock = Clock::simulated(1_700_000_000_000);
    config.acknowledgement_mode = AcknowledgementMode::Explicit;
    change(&mut config);
    let mut consumer = ShareConsumer::connect(config).await.expect("it connects");
    consumer.subscribe(&["t"]).await.expect("subscribed");
    consumer
}

/// Offset and delivery count of each record.
fn delivered(records: &ShareRecords) -> Vec<(i64, i16)> {
    let records = records.iter();
    records.map(|it| (it.offset, it.delivery_count())).collect()
}

/// Polls until `count` records came, or nothing for a while, and acknowledges each in this way.
async fn take(
    consumer: &mut ShareConsumer,
    count: usize,
    what: Option<AcknowledgeType>,
) -> Vec<(i64, i16)> {
    let mut all = Vec::new();
    while all.len() < count {
        let records = consumer.poll(ms(10_000)).await.expect("a poll");
        if records.is_empty() {
            break;
        }
        for record in &records {
            if let Some(what) = what {
                consumer.acknowledge(&record, what).expect("held");
            }
        }
        all.extend(delivered(&records));
    }
    all
}

fn from_to(first: i64, end: i64, count: i16) -> Vec<(i64, i16)> {
    (first..end).map(|offset| (offset, count)).collect()
}

const ACCEPT: Option<AcknowledgeType> = Some(AcknowledgeType::Accept);
const RELEASE: Option<AcknowledgeType> = Some(AcknowledgeType::Release);

#[tokio::test(start_paused = true)]
async fn brokers_without_share_groups_are_an_error_that_names_the_feature() {
    let broker = sharing(1, |it| it.without_api(ApiKey::SHARE_GROUP_HEARTBEAT));
    let mut consumer = sharer(&broker, |_| {}).await;
    let began = Instant::now();
    let error = loop {
        match consumer.poll(ms(100)).await {
            Ok(_) => assert!(began.elapsed() < ms(60_000), "no error"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    assert!(error.to_string().contains("share.version"), "{error}");
    consumer.close(ms(5_000)).await.expect("closed");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused_at_once() {
    let broker = sharing(1, |it| it);
    let mut consumer = sharer(&broker, |_| {}).await;
    for (topic, named) in [("^t", "by name"), ("a b", "name of a topic")] {
        let error = consumer.subscribe(&[topic]).await.expect_err(named);
        assert!(error.to_string().contains(named), "{error}");
    }
    let config = ShareConsumerConfig::new(&broker.bootstrap_servers(), "");
    let error = ShareConsumer::connect(config).await.expect_err("no group");
    assert!(error.to_string().contains("group.id"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn markers_between_records_are_gaps_that_hold_up_nothing() {
    let broker = sharing(1, |it| it);
    let options = SealOptions {
        producer_id: 1,
        producer_epoch: 0,
        transactional: true,
        ..Default::default()
    };
    for bytes in [
        batch(0..3, Compression::NONE, &options),
        marker(1, true),
        batch(4..6, Compression::NONE, &options),
        marker(1, true),
    ] {
        assert_eq!(broker.append_unchecked("t", 0, bytes), 1);
    }
    let mut consumer = sharer(&broker, |_| {}).await;
    let expected = [from_to(0, 3, 1), from_to(4, 6, 1)].concat();
    assert_eq!(take(&mut consumer, 5, ACCEPT).await, expected);
    let results = consumer.commit_sync().await.expect("answered");
    results[&tp(0)].as_ref().expect("taken");
    assert_eq!(
        broker.share_start_offset("g", "t", 0),
        Some(7),
        "all of it is done with"
    );
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_moves_is_followed_and_what_was_held_comes_again() {
    let broker = cluster(2, |builder| builder.share_groups_from_earliest(true));
    broker.create_topic("t", 1).expect("a new topic");
    fill(&broker, 0, 0..10, 5);
    let mut consumer = sharer(&broker, |_| {}).await;
    assert_eq!(take(&mut consumer, 10, None).await, from_to(0, 10, 1));
    let records = consumer.poll(ms(1_000)).await.expect("a poll");
    assert!(records.is_empty(), "they are locked");
    assert!(broker.move_leader("t", 0, 2) && broker.move_leader("t", 0, 1));
    assert!(broker.move_leader("t", 0, 2));
    fill(&broker, 0, 10..15, 5);
    let began = Instant::now();
    let again = take(&mut consumer, 15, ACCEPT).await;
    assert_eq!(again, [from_to(0, 10, 2), from_to(10, 15, 1)].concat());
    assert!(began.elapsed() < LOCK, "the new leader knows no locks");
    consumer.close(ms(5_000)).await.expect("closed");
    assert_eq!(broker.share_start_offset("g", "t", 0), Some(15));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_nobody_leads_is_an_error_and_is_read_once_somebody_does() {
    let broker = cluster(2, |builder| {
        builder
            .share_groups_from_earliest(true)
            .default_replication_factor(1)
    });
    broker.create_topic("t", 1).expect("a new topic");
    fill(&broker, 0, 0..4, 2);
    let leader = broker.log("t", 0).and_then(|log| log.leader);
    let leader = leader.expect("somebody leads it");
    broker.stop_node(leader).await;
    let mut consumer = sharer(&broker, |config| config.client.request_timeout = ms(5_000)).await;
    let began = Instant::now();
    let mut told = 0;
    while began.elapsed() < ms(30_000) {
        match consumer.poll(ms(500)).await {
            Ok(records) => assert!(records.is_empty()),
            Err(error) if error.kind() == ErrorKind::NoLeader => {
                assert!(error.to_string().contains("t-0"), "{error}");
                told += 1;
            }
            Err(error) => assert!(error.is_retriable(), "{error}"),
        }
    }
    assert!((4..=6).contains(&told), "{told} times in 30 s");
    broker.start_node(leader).await.expect("it starts again");
    let began = Instant::now();
    let mut read = Vec::new();
    while read.len() < 4 {
        if let Ok(records) = consumer.poll(ms(500)).await {
            for record in &records {
                let accepted = consumer.acknowledge(&record, AcknowledgeType::Accept);
                accepted.expect("held");
            }
            read.extend(delivered(&records));
        }
        assert!(began.elapsed() < ms(20_000), "it has a leader");
    }
    assert_eq!(read, from_to(0, 4, 1));
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_polled_can_be_acknowledged_when_its_partition_has_gone_to_another() {
    let broker = cluster(2, |builder| builder.share_groups_from_earliest(true));
    broker.create_topic("t", 2).expect("a new topic");
    (0..2).for_each(|partition| fill(&broker, partition, 0..5, 5));
    let mut consumer = sharer(&broker, |config| config.max_poll_records = 1).await;
    let mut came = take(&mut consumer, 2, ACCEPT).await;
    let results = consumer.commit_sync().await.expect("answered");
    assert!(results.values().all(Result::is_ok), "{results:?}");
    let _other = sharer(&broker, |_| {}).await;
    while consumer.assignment().len() == 2 {
        sleep(ms(100)).await;
    }
    // Long enough for whoever would end a session.
    sleep(ms(1_000)).await;
    while came.len() < 10 {
        came.extend(take(&mut consumer, 1, ACCEPT).await);
        let results = consumer.commit_sync().await.expect("answered");
        assert!(results.values().all(Result::is_ok), "{results:?}");
    }
    came.sort_unstable();
    let twice = |it: (i64, i16)| [it, it];
    let each = from_to(0, 5, 1).into_iter().flat_map(twice);
    assert_eq!(came, each.collect::<Vec<_>>());
    consumer.close(ms(5_000)).await.expect("closed");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_over_begins_anew_and_its_acknowledgements_are_reported() {
    for code in [
        ErrorCode::SHARE_SESSION_NOT_FOUND,
        ErrorCode::INVALID_SHARE_SESSION_EPOCH,
        ErrorCode::UNKNOWN_SERVER_ERROR,
    ] {
        let broker = sharing(1, |it| it);
        fill(&broker, 0, 0..4, 2);
        let mut consumer = sharer(&broker, |_| {}).await;
        assert_eq!(take(&mut consumer, 4, ACCEPT).await, from_to(0, 4, 1));
        broker.inject(Fault::on(
            ApiKey::SHARE_ACKNOWLEDGE,
            FaultAction::Answer(code),
        ));
        let results = consumer.commit_sync().await.expect("answered");
        let error = results[&tp(0)].as_ref().expect_err("refused");
        assert_eq!(error.server_error(), Some(code), "{error}");
        assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{error}");
        // What is new comes at once, what was not acknowledged when its lock is over.
        fill(&broker, 0, 4..6, 2);
        let began = Instant::now();
        assert_eq!(take(&mut consumer, 2, ACCEPT).await, from_to(4, 6, 1));
        assert!(began.elapsed() < ms(5_000), "{code}");
        broker.inject(Fault::on(ApiKey::SHARE_FETCH, FaultAction::Answer(code)));
        let mut again = Vec::new();
        while again.len() < 4 {
            assert!(began.elapsed() < LOCK * 2, "only {again:?} came");
            again.extend(take(&mut consumer, 4, ACCEPT).await);
        }
        assert!(began.elapsed() > LOCK / 2, "{code}");
        again.retain(|(offset, _)| *offset < 4);
        assert_eq!(again, from_to(0, 4, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_acquired_on_a_connection_that_broke_comes_again_at_once() {
    let broker = sharing(1, |it| it);
    fill(&broker, 0, 0..10, 5);
    broker.inject(Fault::on(
        ApiKey::SHARE_FETCH,
        FaultAction::ApplyThenDisconnect,
    ));
    let mut consumer = sharer(&broker, |_| {}).await;
    let began = Instant::now();
    assert_eq!(take(&mut consumer, 10, None).await, from_to(0, 10, 2));
    broker.disconnect_all();
    assert_eq!(take(&mut consumer, 10, ACCEPT).await, from_to(0, 10, 3));
    assert!(began.elapsed() < LOCK);
    consumer.close(ms(5_000)).await.expect("closed");
    assert_eq!(broker.share_start_offset("g", "t", 0), Some(10));
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_whose_answer_was_lost_may_have_been_taken() {
    let broker = sharing(1, |it| it);
    fill(&broker, 0, 0..2, 2);
    let mut consumer = sharer(&broker, |_| {}).await;
    assert_eq!(take(&mut consumer, 2, ACCEPT).await.len(), 2);
    let lost = FaultAction::ApplyThenDisconnect;
    broker.inject(Fault::on(ApiKey::SHARE_ACKNOWLEDGE, lost));
    let results = consumer.commit_sync().await.expect("answered");
    let error = results[&tp(0)].as_ref().expect_err("nobody knows");
    assert_eq!(error.outcome(), WriteOutcome::Unknown, "{error}");
    assert_eq!(broker.share_start_offset("g", "t", 0), Some(2), "it was");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_cannot_be_read_is_an_error_each_time_it_comes_and_then_given_up() {
    let broker = sharing(1, |it| it.share_delivery_count_limit(3));
    fill(&broker, 0, 0..2, 2);
    let mut bytes = batch(2..4, Compression::NONE, &SealOptions::default()).to_vec();
    *bytes.last_mut().expect("not empty") ^= 1;
    assert_eq!(broker.append_unchecked("t", 0, bytes.into()), 1);
    fill(&broker, 0, 4..6, 2);
    let mut consumer = sharer(&broker, |_| {}).await;
    let (mut errors, mut read) = (0, Vec::new());
    for _ in 0..20 {
        match consumer.poll(ms(2_000)).await {
            Ok(records) => {
                for record in &records {
                    consumer
                        .acknowledge(&record, AcknowledgeType::Accept)
                        .expect("held");
                }
                read.extend(delivered(&records));
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::CorruptBatch, "{error}");
                assert_eq!(
                    (error.failed_offset(), error.resume_offset()),
                    (Some(2), Some(4))
                );
                errors += 1;
            }
        }
    }
    read.sort_unstable();
    assert_eq!((errors, read), (3, vec![(0, 1), (1, 1), (4, 1), (5, 1)]));
    assert_eq!(broker.share_start_offset("g", "t", 0), Some(6));
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_dropped_loses_and_repeats_nothing() {
    let broker = sharing(1, |it| it);
    let mut consumer = sharer(&broker, |config| config.max_poll_records = 7).await;
    let (mut seen, mut written) = (BTreeMap::<i64, i16>::new(), 0);
    for round in 0..400 {
        if round % 10 == 0 && written < 200 {
            fill(&broker, 0, written..written + 10, 3);
            written += 10;
        }
        let polled = timeout(
            Duration::from_micros(round % 37 * 100),
            consumer.poll(ms(500)),
        )
        .await;
        let Ok(records) = polled else { continue };
        for record in &records.expect("a poll") {
            assert_eq!(seen.insert(record.offset, record.delivery_count()), None);
            consumer
                .acknowledge(&record, AcknowledgeType::Accept)
                .expect("held");
        }
    }
    for (offset, _) in take(&mut consumer, 200 - seen.len(), ACCEPT).await {
        assert_eq!(seen.insert(offset, 1), None);
    }
    assert_eq!(seen, (0..200).map(|offset| (offset, 1)).collect());
    consumer.close(ms(5_000)).await.expect("closed");
    assert_eq!(broker.share_start_offset("g", "t", 0), Some(200));
}

#[tokio::test(start_paused = true)]
async fn records_that_are_kept_hold_up_what_is_fetched_and_no_more_than_the_budget_is_used() {
    let broker = sharing(1, |it| it);
    let value = vec![7; 200 << 10];
    for _ in 0..40 {
        let mut builder = protocol::records::BatchBuilder::new(Vec::new());
        let none: [(&str, Option<&[u8]>); 0] = [];
        builder
            .append(1_000, None, Some(&value), none)
            .expect("room");
        let mut compressor = protocol::compression::Compressor::new(Compression::NONE);
        let sealed = builder.seal(&SealOptions::default(), &mut compressor);
        broker.append_unchecked("t", 0, sealed.bytes().clone());
    }
    let mut consumer = sharer(&broker, |config| config.buffer_bytes = 2 << 20).await;
    let (mut kept, mut read) = (Vec::new(), 0);
    while read < 40 {
        let records = consumer.poll(ms(2_000)).await.expect("a poll");
        for record in &records {
            consumer
                .acknowledge(&record, AcknowledgeType::Accept)
                .expect("held");
        }
        read += records.count();
        match records.is_empty() {
            // Nothing more comes while all of it is kept, but for one fetch.
            true => kept.clear(),
            false => kept.push(records),
        }
        let bytes: usize = kept
            .iter()
            .map(|it: &ShareRecords| it.count() * value.len())
            .sum();
        assert!(bytes <= (2 << 20) + (1 << 20), "{bytes} bytes are kept");
        if bytes > 1 << 20 {
            kept.clear();
        }
    }
    consumer.close(ms(5_000)).await.expect("closed");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_poll_leaves_and_comes_back_with_its_next_poll() {
    let broker = sharing(1, |it| it);
    fill(&broker, 0, 0..2, 2);
    let mut consumer = sharer(&broker, |config| {
        config.max_poll_interval = ms(10_000);
        config.acquire_mode = AcquireMode::RecordLimit;
    })
    .await;
    assert_eq!(take(&mut consumer, 2, RELEASE).await, from_to(0, 2, 1));
    sleep(ms(20_000)).await;
    assert!(consumer.assignment().is_empty(), "it has left");
    assert_eq!(take(&mut consumer, 2, ACCEPT).await, from_to(0, 2, 2));
    consumer.close(ms(5_000)).await.expect("closed");
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_in_time_whatever_the_brokers_do() {
    let broker = sharing(1, |it| it);
    fill(&broker, 0, 0..2, 2);
    let mut consumer = sharer(&broker, |_| {}).await;
    assert_eq!(take(&mut consumer, 2, ACCEPT).await.len(), 2);
    let silent = FaultAction::Delay(ms(600_000));
    broker.inject(Fault::on(ApiKey::SHARE_ACKNOWLEDGE, silent).always());
    broker.inject(Fault::on(ApiKey::SHARE_GROUP_HEARTBEAT, silent).always());
    let began = Instant::now();
    let error = consumer.close(ms(3_000)).await.expect_err("no time");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(began.elapsed() < ms(4_000), "{:?}", began.elapsed());
}
