//! Leaders that move, resign or are missing.

use pat_events::broker::FaultAction;
use pat_events::kafka::{Acks, Record};
use protocol::ErrorCode;

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn leaders_move_with_requests_in_flight() {
    let broker = cluster(3, |builder| builder.default_replication_factor(3));
    broker.create_topic("t", 6).unwrap();
    let producer = producer(&broker, |config| config.batch_bytes = 1_000).await;
    broker.inject(produce(FaultAction::Delay(ms(3))).always());
    let mut deliveries = Vec::new();
    for round in 0..40u32 {
        deliveries.extend(enqueue_numbers(&producer, 6, round * 500..(round + 1) * 500).await);
        let partition = (round % 6) as i32;
        let leader = broker.log("t", partition).unwrap().leader.unwrap();
        let ids = broker.node_ids();
        let place = ids.iter().position(|id| *id == leader).unwrap();
        broker.move_leader("t", partition, ids[(place + 1) % ids.len()]);
        tokio::time::sleep(ms(u64::from(round % 7))).await;
    }
    deliver_all(&broker, deliveries).await;
    assert_exactly_once_in_order(&broker, 6, 20_000);
}

#[tokio::test(start_paused = true)]
async fn nodes_stop_and_start_with_requests_in_flight() {
    let broker = cluster(3, |builder| builder.default_replication_factor(3));
    broker.create_topic("t", 6).unwrap();
    let producer = producer(&broker, |config| config.batch_bytes = 1_000).await;
    let mut deliveries = Vec::new();
    for round in 0..12u32 {
        let node = broker.node_ids()[round as usize % 3];
        deliveries.extend(enqueue_numbers(&producer, 6, round * 1_000..round * 1_000 + 500).await);
        broker.stop_node(node).await;
        deliveries
            .extend(enqueue_numbers(&producer, 6, round * 1_000 + 500..(round + 1) * 1_000).await);
        tokio::time::sleep(ms(50)).await;
        broker.start_node(node).await.unwrap();
        tokio::time::sleep(ms(200)).await;
    }
    deliver_all(&broker, deliveries).await;
    assert_exactly_once_in_order(&broker, 6, 12_000);
}

/// Nothing is sent to a partition without a leader, so nothing fails that would make anyone ask again: a short outage lasted until the
/// metadata was old, and the records were given up before that.
#[tokio::test(start_paused = true)]
async fn a_partition_without_a_leader_is_asked_about_until_it_has_one() {
    let broker = cluster(2, |builder| builder.default_replication_factor(1));
    broker.create_topic("t", 1).unwrap();
    let producer = producer(&broker, |_| {}).await;
    deliver_all(&broker, enqueue_numbers(&producer, 1, 0..1).await).await;
    let leader = broker.log("t", 0).unwrap().leader.unwrap();
    broker.stop_node(leader).await;
    let mut deliveries = enqueue_numbers(&producer, 1, 1..10).await;
    tokio::time::sleep(ms(1_000)).await;
    // New topics whose first metadata shows no leader are no different.
    for topic in ["new-1", "new-2"] {
        broker.create_topic(topic, 1).unwrap();
        let record = Record::new(topic).value(b"v");
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    tokio::time::sleep(ms(1_000)).await;
    broker.start_node(leader).await.unwrap();
    let before = tokio::time::Instant::now();
    deliver_all(&broker, deliveries).await;
    assert!(before.elapsed() < ms(5_000), "{:?}", before.elapsed());
    assert_exactly_once_in_order(&broker, 1, 10);
}

/// With acks 0 a broker can say that it no longer leads only by hanging up: everything went to the old leader until the metadata was old.
#[tokio::test(start_paused = true)]
async fn without_acknowledgements_a_leader_that_moved_is_found_once_the_old_one_hangs_up() {
    let broker = cluster(2, |builder| builder.default_replication_factor(2));
    broker.create_topic("t", 1).unwrap();
    let producer = producer(&broker, |config| {
        config.acks = Acks::None;
        config.idempotence = Some(false);
    })
    .await;
    deliver_all(&broker, enqueue_numbers(&producer, 1, 0..1).await).await;
    tokio::time::sleep(ms(10)).await;
    let ids = broker.node_ids();
    let leader = broker.log("t", 0).unwrap().leader.unwrap();
    let other = ids.into_iter().find(|id| *id != leader).unwrap();
    assert!(broker.move_leader("t", 0, other));
    for number in 1..10 {
        let sent = enqueue_numbers(&producer, 1, number..number + 1).await;
        deliver_all(&broker, sent).await;
        tokio::time::sleep(ms(300)).await;
    }
    // The first ones went to the old leader, and nobody says so: that is what acks 0 is.
    assert!(
        numbers(&broker, 0).ends_with(&(4..10).collect::<Vec<_>>()),
        "{:?}",
        numbers(&broker, 0)
    );
}

/// The new leader's sender saw a batch in flight elsewhere and waited for its end, of which nobody told it.
#[tokio::test(start_paused = true)]
async fn the_end_of_what_was_in_flight_to_the_old_leader_wakes_the_sender_of_the_new_one() {
    for action in [
        FaultAction::Delay(ms(500)),
        FaultAction::Answer(ErrorCode::NOT_ENOUGH_REPLICAS),
        FaultAction::Answer(ErrorCode::MESSAGE_TOO_LARGE),
    ] {
        let broker = cluster(2, |builder| builder.default_replication_factor(2));
        broker.create_topic("t", 1).unwrap();
        broker.create_topic("other", 1).unwrap();
        let producer = producer(&broker, |_| {}).await;
        deliver_all(&broker, enqueue_numbers(&producer, 1, 0..1).await).await;
        let leader = broker.log("t", 0).unwrap().leader.unwrap();
        let ids = broker.node_ids();
        let next = ids.into_iter().find(|id| *id != leader).unwrap();
        broker.inject(produce(action).at_node(leader));
        if action != FaultAction::Delay(ms(500)) {
            broker.inject(produce(FaultAction::Delay(ms(500))).at_node(leader));
        }
        let mut deliveries = enqueue_numbers(&producer, 1, 1..3).await;
        tokio::time::sleep(ms(100)).await;
        assert!(broker.move_leader("t", 0, next));
        // The metadata of a new topic comes at once, and with it the news of the move.
        let record = Record::new("other").value(b"v");
        deliveries.push(producer.enqueue(record).await.unwrap());
        deliveries.extend(enqueue_numbers(&producer, 1, 3..5).await);
        let before = tokio::time::Instant::now();
        deliver_all(&broker, deliveries).await;
        assert!(
            before.elapsed() < ms(2_000),
            "{action:?}: {:?}",
            before.elapsed()
        );
        assert_exactly_once_in_order(&broker, 1, 5);
    }
}
