//! Topics that are just being created, and topics that are created anew under an old name.

use pat_events::broker::{Fault, FaultAction};
use pat_events::kafka::{ErrorKind, Record, WriteOutcome};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn a_record_waits_for_a_topic_that_is_created_meanwhile() {
    let broker = cluster(2, |builder| builder.auto_create_topics(false));
    let producer = producer(&broker, |config| config.max_block = ms(10_000)).await;
    let before = Instant::now();
    let creator = broker.clone();
    let create = async move {
        tokio::time::sleep(ms(2_000)).await;
        creator.create_topic("t", 2).unwrap();
    };
    let (sent, ()) = tokio::join!(producer.send(Record::new("t").value(b"v")), create);
    sent.unwrap();
    assert!(before.elapsed() < ms(4_000), "{:?}", before.elapsed());
}

/// The controller has created it; metadata says who leads it; and the leader has not heard of it yet.
#[tokio::test(start_paused = true)]
async fn a_leader_that_does_not_know_its_new_topic_yet_is_asked_again() {
    for idempotence in [true, false] {
        for code in [
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::UNKNOWN_TOPIC_ID,
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ] {
            let broker = cluster(3, |builder| builder);
            broker.create_topic("t", 3).unwrap();
            broker.inject(produce(FaultAction::Answer(code)).times(6));
            let producer = producer(&broker, |config| {
                config.idempotence = Some(idempotence);
                config.batch_bytes = 500;
            })
            .await;
            let deliveries = enqueue_numbers(&producer, 3, 0..300).await;
            deliver_all(&broker, deliveries).await;
            assert_exactly_once_in_order(&broker, 3, 300);
        }
    }
}

/// Metadata of a topic that was just created has partitions without a leader.
#[tokio::test(start_paused = true)]
async fn a_new_topic_without_leaders_yet_is_asked_about_until_it_has_them() {
    let broker = cluster(2, |builder| builder);
    broker.create_topic("t", 2).unwrap();
    let missing = FaultAction::Answer(ErrorCode::LEADER_NOT_AVAILABLE);
    broker.inject(Fault::on(ApiKey::METADATA, missing).after(1).times(4));
    let producer = producer(&broker, |_| {}).await;
    deliver_all(&broker, enqueue_numbers(&producer, 2, 0..20).await).await;
    assert_exactly_once_in_order(&broker, 2, 20);
}

#[tokio::test(start_paused = true)]
async fn producers_that_create_a_topic_by_their_first_records_lose_none_of_them() {
    let broker = cluster(3, |builder| {
        builder.auto_create_topics(true).default_partitions(3)
    });
    let mut sending = tokio::task::JoinSet::new();
    for nth in 0..8u8 {
        let producer = producer(&broker, |config| {
            config.client.allow_auto_create_topics = true;
            config.client.seed = Some(u64::from(nth));
        })
        .await;
        sending.spawn(async move {
            for number in 0..50 {
                let value = [nth, number];
                producer
                    .send(Record::new("made").value(&value))
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
    let mut all: Vec<_> = (0..3)
        .flat_map(|partition| values(&broker, "made", partition))
        .collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 400);
}

/// As Kafka's own producer has it: a record is for a name, and goes to whatever topic has it when it is sent.
#[tokio::test(start_paused = true)]
async fn records_that_wait_while_their_topic_is_recreated_go_to_the_new_one_in_order() {
    for idempotence in [true, false] {
        let broker = one_broker(2);
        let producer = producer(&broker, |config| config.idempotence = Some(idempotence)).await;
        deliver_all(&broker, enqueue_numbers(&producer, 2, 0..100).await).await;
        broker.delete_topic("t");
        // They wait: nobody has a topic of the name.
        let deliveries = enqueue_numbers(&producer, 2, 100..200).await;
        tokio::time::sleep(ms(3_000)).await;
        broker.create_topic("t", 2).unwrap();
        for (offset, delivery) in (0..).zip(deliveries) {
            assert_eq!(delivery.await.unwrap().offset, Some(offset / 2));
        }
        for partition in 0..2 {
            let expected: Vec<u32> = (100..200).filter(|n| n % 2 == partition).collect();
            assert_eq!(numbers(&broker, partition as i32), expected);
        }
    }
}

/// They may be in the log that is gone: to write them into the new one could write them twice, as far as anybody can tell.
#[tokio::test(start_paused = true)]
async fn what_may_be_in_the_deleted_topic_is_reported_as_unknown_and_not_written_to_the_new_one() {
    let broker = one_broker(1);
    let producer = producer(&broker, |_| {}).await;
    deliver_all(&broker, enqueue_numbers(&producer, 1, 0..10).await).await;
    broker.inject(produce(FaultAction::ApplyThenDisconnect));
    let uncertain = enqueue_numbers(&producer, 1, 10..20).await;
    tokio::time::sleep(ms(5)).await;
    broker.delete_topic("t");
    let waiting = enqueue_numbers(&producer, 1, 20..30).await;
    tokio::time::sleep(ms(500)).await;
    broker.create_topic("t", 1).unwrap();
    for delivery in uncertain {
        let error = delivery.await.unwrap_err();
        assert_eq!(error.outcome(), WriteOutcome::Unknown, "{error}");
    }
    deliver_all(&broker, waiting).await;
    assert_eq!(numbers(&broker, 0), (20..30).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn records_of_a_topic_that_stays_deleted_fail_by_their_time_and_say_why() {
    let broker = cluster(1, |builder| builder.auto_create_topics(false));
    broker.create_topic("t", 1).unwrap();
    let producer = producer(&broker, |config| config.delivery_timeout = ms(3_000)).await;
    deliver_all(&broker, enqueue_numbers(&producer, 1, 0..10).await).await;
    broker.delete_topic("t");
    let before = Instant::now();
    for delivery in enqueue_numbers(&producer, 1, 10..20).await {
        let error = delivery.await.unwrap_err();
        assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{error}");
        let text = error.to_string();
        assert!(
            error.kind() == ErrorKind::UnknownTopicOrPartition
                || text.contains("delivery.timeout.ms"),
            "{text}"
        );
    }
    assert!(before.elapsed() < ms(4_000), "{:?}", before.elapsed());
}
