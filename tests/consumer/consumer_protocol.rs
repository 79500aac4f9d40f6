//! Members of groups whose partitions the broker assigns (KIP-848).

use std::collections::BTreeSet;

use pat_events::broker::{Broker, Fault, FaultAction, MigrationPolicy};
use pat_events::kafka::{Consumer, ErrorKind, GroupProtocol, TopicPartition};
use protocol::{ApiKey, ErrorCode};

use crate::harness::*;

async fn consumer_of(broker: &Broker, protocol: GroupProtocol) -> Consumer {
    member(broker, |config| {
        config.group_protocol = protocol;
        // Each has an id of its own.
        config.client.seed = None;
    })
    .await
}

fn numbers_of(members: &[Consumer]) -> (usize, BTreeSet<i32>) {
    let all: Vec<TopicPartition> = members.iter().flat_map(|it| it.assignment()).collect();
    (all.len(), all.iter().map(|it| it.partition).collect())
}

#[tokio::test(start_paused = true)]
async fn members_come_and_go_and_each_record_is_read_once() {
    let broker = one_broker(5);
    let (mut members, mut read): (Vec<Consumer>, Vec<u32>) = Default::default();
    let mut written = 0;
    for round in 0..6 {
        match round {
            0..3 => members.push(consumer_of(&broker, GroupProtocol::Consumer).await),
            _ => members.remove(0).close().await.expect("left"),
        }
        if members.is_empty() {
            break;
        }
        for _ in 0..600 {
            for member in &mut members {
                let records = member.poll(ms(20)).await.expect("a poll");
                read.extend(numbers(&records));
                member
                    .commit_sync()
                    .await
                    .expect("committed, also while the group rebalances");
            }
        }
        let (count, distinct) = numbers_of(&members);
        assert_eq!((count, distinct.len()), (5, 5), "in round {round}");
        for partition in 0..5 {
            fill(&broker, partition, written..written + 4, 2);
            written += 4;
        }
        for _ in 0..100 {
            for member in &mut members {
                let records = member.poll(ms(20)).await.expect("a poll");
                read.extend(numbers(&records));
                member.commit_sync().await.expect("committed");
            }
        }
    }
    read.sort_unstable();
    assert!(read.into_iter().eq(0..written), "each once");
}

#[tokio::test(start_paused = true)]
async fn auto_takes_the_protocol_that_there_is() {
    let with = one_broker(2);
    let without = cluster(1, |it| it.without_api(ApiKey::CONSUMER_GROUP_HEARTBEAT));
    without.create_topic("t", 2).expect("a topic");
    for (broker, joins) in [(with, 0), (without, 1)] {
        // It counts what a classic member asks.
        broker.inject(Fault::on(ApiKey::JOIN_GROUP, FaultAction::Delay(ms(1))));
        let mut consumer = consumer_of(&broker, GroupProtocol::Auto).await;
        assigned(&mut consumer, 2).await;
        assert_eq!(broker.pending_faults(), 1 - joins);
        consumer.close().await.expect("left");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_the_protocol_is_an_error_that_names_the_setting_paced_and_not_the_end() {
    let broker = cluster(1, |it| it.without_api(ApiKey::CONSUMER_GROUP_HEARTBEAT));
    broker.create_topic("t", 2).expect("a topic");
    let mut consumer = consumer_of(&broker, GroupProtocol::Consumer).await;
    let mut errors = Vec::new();
    for _ in 0..120 {
        errors.extend(consumer.poll(ms(500)).await.err());
    }
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!((1..4).contains(&errors.len()), "{texts:?}");
    assert!(
        texts[0].contains("group.protocol") && !errors[0].is_fatal(),
        "{texts:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_that_may_not_change_over_is_an_error_that_names_the_settings() {
    let policy = MigrationPolicy::Disabled;
    let broker = cluster(1, |it| it.consumer_group_migration_policy(policy));
    broker.create_topic("t", 2).expect("a topic");
    let mut classic = consumer_of(&broker, GroupProtocol::Classic).await;
    assigned(&mut classic, 2).await;
    let mut other = consumer_of(&broker, GroupProtocol::Consumer).await;
    let mut errors = Vec::new();
    for _ in 0..60 {
        errors.extend(other.poll(ms(500)).await.err());
        classic.poll(ms(1)).await.expect("not disturbed");
    }
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!((1..4).contains(&errors.len()), "{texts:?}");
    for setting in ["group.protocol", "group.consumer.migration.policy"] {
        assert!(texts[0].contains(setting), "{texts:?}");
    }
    assert!(!errors[0].is_fatal() && classic.assignment().len() == 2);
    classic.close().await.expect("left");
    for _ in 0..100 {
        // It may say so once more before it is over.
        let _ = other.poll(ms(100)).await;
    }
    assert_eq!(other.assignment().len(), 2, "a group without members");
    let epoch = other.generation();
    assert!(epoch.is_some() && other.metrics().group_epoch == epoch);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_the_group_puts_out_loses_its_partitions_and_is_back_at_once() {
    for code in [
        ErrorCode::FENCED_MEMBER_EPOCH,
        ErrorCode::UNKNOWN_MEMBER_ID,
        ErrorCode::GROUP_ID_NOT_FOUND,
    ] {
        let broker = one_broker(3);
        let mut consumer = consumer_of(&broker, GroupProtocol::Consumer).await;
        assigned(&mut consumer, 3).await;
        fill(&broker, 0, 0..4, 2);
        assert_eq!(read(&mut consumer, 4).await, [0, 1, 2, 3]);
        consumer.commit_sync().await.expect("committed");
        let rebalances = consumer.metrics().rebalances;
        broker.inject(Fault::on(
            ApiKey::CONSUMER_GROUP_HEARTBEAT,
            FaultAction::Answer(code),
        ));
        for _ in 0..300 {
            consumer.poll(ms(20)).await.expect("a poll");
        }
        assert_eq!(broker.pending_faults(), 0);
        assigned(&mut consumer, 3).await;
        assert_eq!(consumer.metrics().rebalances, rebalances + 1);
        fill(&broker, 1, 4..6, 2);
        assert_eq!(read(&mut consumer, 2).await, [4, 5], "{code:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_epoch_is_a_reason_to_ask_again_not_to_fail() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..4, 2);
    let stale = |api| Fault::on(api, FaultAction::Answer(ErrorCode::STALE_MEMBER_EPOCH));
    broker.inject(stale(ApiKey::OFFSET_FETCH));
    broker.inject(stale(ApiKey::OFFSET_COMMIT));
    let mut consumer = consumer_of(&broker, GroupProtocol::Consumer).await;
    assert_eq!(read(&mut consumer, 4).await, [0, 1, 2, 3]);
    consumer.commit_sync().await.expect("committed in the end");
    assert_eq!(broker.committed_offset("g", "t", 0), Some(4));
    assert_eq!(broker.pending_faults(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_is_matched_by_the_broker_and_only_there() {
    let broker = one_broker(2);
    broker.create_topic("t-2", 1).expect("a topic");
    let mut consumer = consumer(&broker, |config| {
        config.group_id = Some("g".to_string());
        config.group_protocol = GroupProtocol::Consumer;
    })
    .await;
    consumer
        .subscribe_pattern("t(-[0-9])?")
        .await
        .expect("a pattern");
    assigned(&mut consumer, 3).await;
    broker.create_topic("t-3", 4).expect("a topic");
    assigned(&mut consumer, 7).await;
    assert!(broker.delete_topic("t-2"));
    assigned(&mut consumer, 6).await;
    consumer.subscribe(&["t"]).await.expect("names instead");
    assigned(&mut consumer, 2).await;
    let mut classic = member(&broker, |config| {
        config.group_id = Some("other".to_string())
    })
    .await;
    let error = classic
        .subscribe_pattern("t")
        .await
        .expect_err("nobody matches it");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_poll_leaves_the_group_and_comes_back() {
    let broker = one_broker(2);
    let patience = |config: &mut pat_events::kafka::ConsumerConfig| {
        config.group_protocol = GroupProtocol::Consumer;
        config.client.seed = None;
        config.max_poll_interval = ms(20_000);
    };
    let mut idle = member(&broker, patience).await;
    assigned(&mut idle, 2).await;
    let mut other = member(&broker, patience).await;
    for _ in 0..1_000 {
        other.poll(ms(30)).await.expect("a poll");
    }
    assert_eq!(other.assignment().len(), 2, "all is its now");
    for _ in 0..600 {
        idle.poll(ms(20)).await.expect("a poll");
        other.poll(ms(20)).await.expect("a poll");
    }
    assert_eq!(numbers_of(&[idle, other]), (2, BTreeSet::from([0, 1])));
}
