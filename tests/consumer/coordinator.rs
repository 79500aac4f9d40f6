//! Whatever the group's coordinator answers, once, for a while or for ever, or does not answer: it ends in progress once the cluster is
//! well, and until then in an error in time that says which API and why, with pauses between attempts.

use std::sync::Arc;
use std::time::Duration;

use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::{Consumer, Error};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::harness::*;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// 10% more than the request timeout.
const IN_TIME: Duration = Duration::from_millis(5_500);

/// Every code but that of success, and two that nobody knows.
fn every_code() -> impl Iterator<Item = ErrorCode> {
    let known = ErrorCode::all().filter(|code| *code != ErrorCode::NONE);
    known.chain([ErrorCode(-7), ErrorCode(31_999)])
}

/// A member of `g` that has yet to find its coordinator, and its wire.
async fn newcomer(broker: &Broker) -> (Consumer, Wire) {
    let wire = Wire::new(broker);
    let transport = Arc::new(wire.clone());
    let member = member(broker, |config| {
        config.client.transport = transport;
        config.client.request_timeout = REQUEST_TIMEOUT;
        config.heartbeat_interval = ms(1_000);
    })
    .await;
    (member, wire)
}

/// Polls for `time`; returns what was read, and the errors, each with when it came.
async fn polled(consumer: &mut Consumer, time: Duration) -> (Vec<u32>, Vec<(Duration, Error)>) {
    let started = Instant::now();
    let (mut read, mut errors) = (Vec::new(), Vec::new());
    while started.elapsed() < time {
        match consumer.poll(ms(250)).await {
            Ok(records) => read.extend(numbers(&records)),
            Err(error) => errors.push((started.elapsed(), error)),
        }
    }
    (read, errors)
}

/// Whether the members of `broker`'s group make progress: what is written now is read soon.
async fn assert_progress(broker: &Broker, consumer: &mut Consumer, what: &str) {
    let end = broker.log("t", 0).expect("a log").end_offset as u32;
    fill(broker, 0, end..end + 10, 10);
    let started = Instant::now();
    let mut read = Vec::new();
    while !read.contains(&(end + 9)) {
        match consumer.poll(ms(250)).await {
            Ok(records) => read.extend(numbers(&records)),
            Err(error) => assert!(!error.is_fatal(), "{what}: {error}"),
        }
        assert!(
            started.elapsed() < ms(15_000),
            "{what}: no progress, {read:?}"
        );
    }
}

/// Codes by which a heartbeat says that the group has moved on: the member follows, and reads in between.
fn is_about_the_generation(code: ErrorCode) -> bool {
    [
        ErrorCode::REBALANCE_IN_PROGRESS,
        ErrorCode::ILLEGAL_GENERATION,
        ErrorCode::UNKNOWN_MEMBER_ID,
    ]
    .contains(&code)
}

async fn a_code_passes_once_healed_and_is_told_until_then(api: ApiKey) {
    let mut most = 0;
    for code in every_code() {
        for times in [1, 3, u64::MAX] {
            let what = format!("{} answers {code} {times} times", api.name());
            let broker = one_broker(1);
            fill(&broker, 0, 0..10, 10);
            let fault = Fault::on(api, FaultAction::Answer(code)).times(times);
            let (mut consumer, wire) = newcomer(&broker).await;
            broker.inject(fault);
            // Who is not known comes anew, and then the group waits for whom it took for another member.
            let waits = (api, code) == (ApiKey::SYNC_GROUP, ErrorCode::UNKNOWN_MEMBER_ID);
            let time = ms(if waits { 40_000 } else { 8_000 });
            let (_, errors) = polled(&mut consumer, time).await;
            for (_, error) in &errors {
                assert!(!error.is_fatal(), "{what}: {error}");
                let text = error.to_string();
                assert!(text.contains(api.name()), "{what}: {text}");
                assert!(text.contains(&format!("({})", code.0)), "{what}: {text}");
            }
            let requests = wire.requests(api);
            assert!(requests <= 60, "{what}: {requests} requests in 8 s");
            most = most.max(requests);
            if times == 1 {
                assert!(errors.is_empty(), "{what}: {errors:?}");
            }
            if times == u64::MAX && !(api == ApiKey::HEARTBEAT && is_about_the_generation(code)) {
                let (at, _) = errors.first().unwrap_or_else(|| panic!("{what}: silence"));
                assert!(waits || *at <= IN_TIME, "{what}: {at:?}");
                assert!(
                    waits || errors.len() <= 3,
                    "{what}: told {} times",
                    errors.len()
                );
            }
            broker.clear_faults();
            assert_progress(&broker, &mut consumer, &what).await;
        }
    }
    println!("{}: at most {most} requests in 8 s", api.name());
}

#[tokio::test(start_paused = true)]
async fn every_code_of_find_coordinator_passes_once_healed_and_is_told_until_then() {
    a_code_passes_once_healed_and_is_told_until_then(ApiKey::FIND_COORDINATOR).await;
}

#[tokio::test(start_paused = true)]
async fn every_code_of_join_group_passes_once_healed_and_is_told_until_then() {
    a_code_passes_once_healed_and_is_told_until_then(ApiKey::JOIN_GROUP).await;
}

#[tokio::test(start_paused = true)]
async fn every_code_of_sync_group_passes_once_healed_and_is_told_until_then() {
    a_code_passes_once_healed_and_is_told_until_then(ApiKey::SYNC_GROUP).await;
}

#[tokio::test(start_paused = true)]
async fn every_code_of_heartbeat_passes_once_healed_and_is_told_until_then() {
    a_code_passes_once_healed_and_is_told_until_then(ApiKey::HEARTBEAT).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_leaves_in_time_whatever_it_is_answered() {
    let silence = FaultAction::Delay(ms(300_000));
    for action in every_code().map(FaultAction::Answer).chain([
        silence,
        FaultAction::Disconnect,
        FaultAction::ApplyThenDisconnect,
    ]) {
        let broker = one_broker(1);
        let (mut consumer, _) = newcomer(&broker).await;
        assigned(&mut consumer, 1).await;
        broker.inject(Fault::on(ApiKey::LEAVE_GROUP, action).always());
        let started = Instant::now();
        // What it is told changes nothing, but that nothing came.
        let closed = consumer.close().await;
        assert!(
            action == silence || closed.is_ok(),
            "{action:?}: {closed:?}"
        );
        assert!(started.elapsed() <= IN_TIME, "{action:?}");
    }
}

/// A connection that stays open, on which an answer never comes: the request is made again, on another one.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_asked_for_again() {
    for api in [
        ApiKey::FIND_COORDINATOR,
        ApiKey::JOIN_GROUP,
        ApiKey::SYNC_GROUP,
        ApiKey::HEARTBEAT,
    ] {
        let broker = one_broker(1);
        let mut consumer = consumer(&broker, |config| {
            config.group_id = Some("g".to_string());
            config.client.request_timeout = REQUEST_TIMEOUT;
            config.session_timeout = ms(8_000);
            // As long may others take to join.
            config.max_poll_interval = ms(10_000);
        })
        .await;
        let lost = FaultAction::Delay(ms(1_000_000));
        broker.inject(Fault::on(api, lost));
        consumer.subscribe(&["t"]).await.expect("a topic");
        let started = Instant::now();
        let patience = ms(match api {
            ApiKey::JOIN_GROUP => 25_000,
            _ => 12_000,
        });
        while broker.pending_faults() > 0 || consumer.assignment().is_empty() {
            if let Err(error) = consumer.poll(ms(250)).await {
                assert!(error.is_retriable(), "{error}");
            }
            assert!(started.elapsed() < patience, "{api:?}");
        }
        assert_progress(&broker, &mut consumer, api.name()).await;
    }
}

/// Only a join may take as long as the group's members, and only while the coordinator is heard of.
#[tokio::test(start_paused = true)]
async fn a_join_waits_for_other_members_as_long_as_the_coordinator_is_there() {
    let broker = cluster(1, |builder| builder.initial_rebalance_delay(ms(60_000)));
    broker.create_topic("t", 1).expect("a new topic");
    let (mut consumer, wire) = newcomer(&broker).await;
    let (_, errors) = polled(&mut consumer, ms(50_000)).await;
    assert!(errors.is_empty(), "{errors:?}");
    // With the member id, and without.
    assert_eq!(wire.requests(ApiKey::JOIN_GROUP), 2);
    assigned(&mut consumer, 1).await;
}

/// The coordinator moves away under a join that the old one never answers.
#[tokio::test(start_paused = true)]
async fn a_join_at_a_coordinator_that_is_none_any_more_is_given_up() {
    let broker = cluster(2, |builder| builder.default_replication_factor(2));
    broker.create_topic("t", 1).expect("a new topic");
    let old = broker.coordinator("g").expect("a coordinator");
    let (mut consumer, _) = newcomer(&broker).await;
    let lost = FaultAction::Delay(ms(1_000_000));
    broker.inject(Fault::on(ApiKey::JOIN_GROUP, lost).at_node(old).always());
    let started = Instant::now();
    let (_, errors) = polled(&mut consumer, ms(2_000)).await;
    assert!(errors.is_empty(), "{errors:?}");
    broker.move_coordinator("g", 3 - old);
    while consumer.assignment().is_empty() {
        let _ = consumer.poll(ms(250)).await;
        assert!(
            started.elapsed() < ms(10_000),
            "still waits for the old one"
        );
    }
}

/// Java keeps them, too: nobody has said that they are another's.
#[tokio::test(start_paused = true)]
async fn partitions_are_kept_while_the_coordinator_is_silent() {
    let broker = one_broker(1);
    let mut consumer = member(&broker, |_| {}).await;
    assigned(&mut consumer, 1).await;
    // It hears the heartbeats, but is not heard.
    let unheard = FaultAction::Delay(ms(1_000_000));
    broker.inject(Fault::on(ApiKey::HEARTBEAT, unheard).times(5));
    let started = Instant::now();
    while broker.pending_faults() > 0 || started.elapsed() < ms(20_000) {
        if let Err(error) = consumer.poll(ms(250)).await {
            assert!(error.is_retriable(), "{error}");
        }
        assert_eq!(consumer.assignment(), [tp(0)], "{:?}", started.elapsed());
    }
    consumer.commit_sync().await.expect("still a member");
}
