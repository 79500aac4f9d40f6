//! Coordinators: fencing, timeouts, moves, and markers that come late.

use std::time::Duration;

use pat_events::broker::{Fault, FaultAction};
use protocol::{ApiKey, ErrorCode};

use super::flows::broker;
use super::producer::{Producer, V1_PRODUCE, V2_PRODUCE};

const OK: ErrorCode = ErrorCode::NONE;

#[tokio::test]
async fn who_comes_with_the_same_id_fences_who_was_there_and_aborts_its_transaction() {
    for (level, produce, end, late) in [
        (2, V2_PRODUCE, 5, ErrorCode::INVALID_PRODUCER_EPOCH),
        (1, V1_PRODUCE, 4, ErrorCode::INVALID_PRODUCER_EPOCH),
    ] {
        let broker = broker(|it| it.transaction_version(level));
        let mut old = Producer::begun(&broker, 1, "x").await;
        if level < 2 {
            assert_eq!(old.add_partition("t", 0).await, OK);
        }
        assert_eq!(old.produce(produce, "t", 0).await, OK);
        let mut new = Producer::new(&broker, 1, "x");
        // It is aborted first; whoever asks comes back.
        assert_eq!(new.init().await, ErrorCode::CONCURRENT_TRANSACTIONS);
        assert_eq!(new.init().await, OK);
        assert_eq!((new.id, new.epoch), (old.id, 2));
        assert_eq!(new.read("t", 0).await.aborted, [(old.id, 0)]);
        assert_eq!(old.produce(produce, "t", 0).await, late);
        assert_eq!(old.end(end, true).await, ErrorCode::PRODUCER_FENCED);
        assert_eq!(
            old.init_as((old.id, old.epoch), 1_000).await,
            ErrorCode::PRODUCER_FENCED
        );
        assert_eq!(old.add_partition("t", 0).await, ErrorCode::PRODUCER_FENCED);
        assert_eq!(old.add_offsets("g").await, ErrorCode::PRODUCER_FENCED);
        let fenced = ErrorCode::INVALID_PRODUCER_EPOCH;
        assert_eq!(old.commit_offset(5, "g", "t", 3).await, fenced);
    }
}

#[tokio::test]
async fn a_producer_that_says_who_it_was_goes_on_in_the_next_epoch() {
    let broker = broker(|it| it);
    let mut producer = Producer::begun(&broker, 1, "x").await;
    let first = (producer.id, producer.epoch);
    assert_eq!(producer.init_as(first, 60_000).await, OK);
    assert_eq!((producer.id, producer.epoch), (first.0, 1));
    // It asks again, as it has not heard.
    assert_eq!(producer.init_as(first, 60_000).await, OK);
    assert_eq!(producer.epoch, 1);
    // In the middle of a transaction that is aborted first.
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    let current = (producer.id, producer.epoch);
    let error = producer.init_as(current, 60_000).await;
    assert_eq!(error, ErrorCode::CONCURRENT_TRANSACTIONS);
    assert_eq!(producer.init_as(current, 60_000).await, OK);
    assert_eq!(producer.epoch, 2);
    let fenced = producer.init_as(first, 60_000).await;
    assert_eq!(fenced, ErrorCode::PRODUCER_FENCED);
}

#[tokio::test]
async fn timeouts_are_checked_when_they_are_asked_for() {
    let broker = broker(|it| it.transaction_max_timeout(Duration::from_secs(60)));
    let mut producer = Producer::new(&broker, 1, "x");
    for timeout_ms in [60_001, 0, -1] {
        let error = producer.init_as((-1, -1), timeout_ms).await;
        assert_eq!(error, ErrorCode::INVALID_TRANSACTION_TIMEOUT);
    }
    assert_eq!(producer.init_as((-1, -1), 60_000).await, OK);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_may_go_on() {
    let broker = broker(|it| it);
    let mut producer = Producer::new(&broker, 1, "x");
    assert_eq!(producer.init_as((-1, -1), 5_000).await, OK);
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    tokio::time::sleep(Duration::from_millis(4_999)).await;
    assert_eq!(producer.state().await, (OK, "Ongoing".into()));
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(producer.state().await, (OK, "CompleteAbort".into()));
    let seen = producer.read("t", 0).await;
    assert_eq!(
        (seen.last_stable_offset, seen.aborted),
        (2, vec![(producer.id, 0)])
    );
    let late = producer.produce(V2_PRODUCE, "t", 0).await;
    assert_eq!(late, ErrorCode::INVALID_PRODUCER_EPOCH);
    assert_eq!(producer.end(5, true).await, ErrorCode::INVALID_TXN_STATE);
    assert_eq!(producer.end(5, false).await, OK);
    assert_eq!(producer.epoch, 1);
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
}

#[tokio::test(start_paused = true)]
async fn by_the_older_rules_who_took_too_long_is_fenced() {
    let broker = broker(|it| it.transaction_version(0));
    let mut producer = Producer::new(&broker, 1, "x");
    assert_eq!(producer.init_as((-1, -1), 5_000).await, OK);
    assert_eq!(producer.add_partition("t", 0).await, OK);
    assert_eq!(producer.produce(V1_PRODUCE, "t", 0).await, OK);
    tokio::time::sleep(Duration::from_millis(5_001)).await;
    assert_eq!(producer.state().await, (OK, "CompleteAbort".into()));
    assert_eq!(producer.end(4, false).await, ErrorCode::PRODUCER_FENCED);
    let late = producer.produce(V1_PRODUCE, "t", 0).await;
    assert_eq!(late, ErrorCode::INVALID_PRODUCER_EPOCH);
}

#[tokio::test(start_paused = true)]
async fn while_markers_come_late_others_wait() {
    let broker = broker(|it| it);
    let late = FaultAction::Delay(Duration::from_millis(500));
    broker.inject(Fault::on(ApiKey::WRITE_TXN_MARKERS, late));
    let mut producer = Producer::begun(&broker, 1, "x").await;
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    assert_eq!(producer.end(5, true).await, OK);
    assert_eq!(producer.state().await, (OK, "PrepareCommit".into()));
    assert_eq!(producer.ends("t").await, (1, 0));
    let waits = ErrorCode::CONCURRENT_TRANSACTIONS;
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, waits);
    assert_eq!(producer.end(5, false).await, waits);
    assert_eq!(producer.add_partition("t", 0).await, waits);
    assert_eq!(producer.add_offsets("g").await, waits);
    assert_eq!(producer.commit_offset(5, "g", "t", 1).await, waits);
    assert_eq!(producer.init().await, waits);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(producer.state().await, (OK, "CompleteCommit".into()));
    assert_eq!(producer.ends("t").await, (2, 2));
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    // A broker waits for a while itself, before it says so.
    let late = FaultAction::Delay(Duration::from_millis(70));
    broker.inject(Fault::on(ApiKey::WRITE_TXN_MARKERS, late));
    assert_eq!(producer.end(5, true).await, OK);
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
}

#[tokio::test(start_paused = true)]
async fn markers_that_are_lost_are_written_again_until_the_coordinator_has_heard_of_them() {
    for (action, end) in [
        (FaultAction::Disconnect, 2),
        (FaultAction::Answer(ErrorCode::NOT_ENOUGH_REPLICAS), 2),
        // Those of which nobody hears are written again, which does no harm.
        (FaultAction::ApplyThenDisconnect, 5),
    ] {
        let broker = broker(|it| it);
        broker.inject(Fault::on(ApiKey::WRITE_TXN_MARKERS, action).times(3));
        let mut producer = Producer::begun(&broker, 1, "x").await;
        assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
        assert_eq!(producer.end(5, true).await, OK);
        assert_eq!(producer.state().await, (OK, "PrepareCommit".into()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(producer.state().await, (OK, "CompleteCommit".into()));
        assert_eq!(producer.ends("t").await, (end, end));
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_moves_takes_its_transactions_along() {
    let broker = broker(|it| it.nodes(3).coordinator_load_time(Duration::from_secs(1)));
    let leader = broker
        .log("t", 0)
        .expect("a partition")
        .leader
        .expect("one");
    broker.move_coordinator("x", leader);
    let mut producer = Producer::begun(&broker, leader, "x").await;
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    let other = if leader == 1 { 2 } else { 1 };
    broker.move_coordinator("x", other);
    assert_eq!(producer.end(5, true).await, ErrorCode::NOT_COORDINATOR);
    assert_eq!(
        producer.add_partition("t", 0).await,
        ErrorCode::NOT_COORDINATOR
    );
    assert_eq!(producer.state().await.0, ErrorCode::NOT_COORDINATOR);
    assert_eq!(producer.init().await, ErrorCode::NOT_COORDINATOR);
    let mut moved = Producer::new(&broker, other, "x");
    (moved.id, moved.epoch) = (producer.id, producer.epoch);
    assert_eq!(
        moved.end(5, true).await,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
    );
    // A partition's leader has its producer try again.
    let waits = producer.produce(V2_PRODUCE, "t", 1).await;
    assert!(
        [
            ErrorCode::NOT_ENOUGH_REPLICAS,
            ErrorCode::NOT_LEADER_OR_FOLLOWER
        ]
        .contains(&waits),
        "{waits}"
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(moved.end(5, true).await, OK);
    assert_eq!(producer.ends("t").await, (2, 2));
    // Without its node it is somewhere else.
    broker.stop_node(other).await;
    let third = broker.coordinator("x").expect("one");
    assert_ne!(third, other);
}

#[tokio::test(start_paused = true)]
async fn markers_wait_for_a_leader() {
    let broker = broker(|it| it.nodes(2).default_replication_factor(1));
    let leader = broker
        .log("t", 0)
        .expect("a partition")
        .leader
        .expect("one");
    let other = 3 - leader;
    broker.move_coordinator("x", other);
    let mut producer = Producer::begun(&broker, other, "x").await;
    let mut writer = Producer::new(&broker, leader, "x");
    (writer.id, writer.epoch) = (producer.id, producer.epoch);
    assert_eq!(writer.produce(V2_PRODUCE, "t", 0).await, OK);
    broker.stop_node(leader).await;
    assert_eq!(producer.end(5, true).await, OK);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(producer.state().await, (OK, "PrepareCommit".into()));
    broker.start_node(leader).await.expect("started");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(producer.state().await, (OK, "CompleteCommit".into()));
    assert_eq!(broker.log("t", 0).expect("a partition").end_offset, 2);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_uses_for_long_is_forgotten() {
    let day = Duration::from_secs(24 * 3600);
    let broker = broker(|it| {
        it.transactional_id_expiration(day)
            .producer_id_expiration(day / 2)
    });
    let mut producer = Producer::begun(&broker, 1, "x").await;
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    assert_eq!(producer.end(5, true).await, OK);
    let (id, epoch) = (producer.id, producer.epoch);
    tokio::time::sleep(day - Duration::from_secs(1)).await;
    assert_eq!(producer.state().await, (OK, "CompleteCommit".into()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let gone = ErrorCode::TRANSACTIONAL_ID_NOT_FOUND;
    assert_eq!(producer.state().await.0, gone);
    let unknown = ErrorCode::INVALID_PRODUCER_ID_MAPPING;
    assert_eq!(producer.end(5, false).await, unknown);
    assert_eq!(producer.add_partition("t", 0).await, unknown);
    // Whoever comes with its old id gets a new one.
    assert_eq!(producer.init_as((id, epoch), 60_000).await, OK);
    assert_eq!((producer.id > id, producer.epoch), (true, 0));
}
