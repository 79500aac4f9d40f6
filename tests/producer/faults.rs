//! Lost answers, moved leaders, forgotten producers, refused batches: what is acknowledged is in the log once and in order, and what is
//! not says whether it may be.

use std::time::Duration;

use pat_events::broker::{Fault, FaultAction};
use pat_events::kafka::{ErrorKind, Record, WriteOutcome};
use protocol::{ApiKey, ErrorCode};

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn a_lost_answer_neither_doubles_nor_reorders() {
    let broker = one_broker(3);
    let producer = producer(&broker, |config| config.batch_bytes = 2_000).await;
    for skip in 0..20 {
        broker.inject(produce(FaultAction::ApplyThenDisconnect).after(skip * 3));
    }
    let deliveries = enqueue_numbers(&producer, 3, 0..20_000).await;
    deliver_all(&broker, deliveries).await;
    assert_exactly_once_in_order(&broker, 3, 20_000);
    assert!(producer.metrics().retries > 0);
}

#[tokio::test(start_paused = true)]
async fn ambiguous_errors_neither_double_nor_reorder() {
    for code in [
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::KAFKA_STORAGE_ERROR,
    ] {
        for action in [
            FaultAction::ApplyThenAnswer(code),
            FaultAction::Answer(code),
        ] {
            let broker = one_broker(3);
            let producer = producer(&broker, |config| config.batch_bytes = 2_000).await;
            for skip in [2, 5, 6, 9] {
                broker.inject(produce(action).after(skip));
            }
            let deliveries = enqueue_numbers(&producer, 3, 0..5_000).await;
            deliver_all(&broker, deliveries).await;
            assert_exactly_once_in_order(&broker, 3, 5_000);
        }
    }
}

/// KAFKA-14034: UNKNOWN_SERVER_ERROR was taken as "not written", and the records were written twice. With sequences a repetition settles
/// it; without them nobody can tell.
#[tokio::test(start_paused = true)]
async fn an_unknown_server_error_is_settled_by_a_repetition_or_reported_as_unknown() {
    for (idempotence, action) in [true, false].into_iter().flat_map(|idempotence| {
        [
            (
                idempotence,
                FaultAction::ApplyThenAnswer(ErrorCode::UNKNOWN_SERVER_ERROR),
            ),
            (
                idempotence,
                FaultAction::Answer(ErrorCode::UNKNOWN_SERVER_ERROR),
            ),
        ]
    }) {
        let broker = one_broker(1);
        let producer = producer(&broker, |config| config.idempotence = Some(idempotence)).await;
        drop(enqueue_numbers(&producer, 1, 0..1).await);
        producer.flush().await.unwrap();
        broker.inject(produce(action));
        let fate = enqueue_numbers(&producer, 1, 1..2).await.remove(0).await;
        deliver_all(&broker, enqueue_numbers(&producer, 1, 2..100).await).await;
        if idempotence {
            fate.unwrap();
            assert_exactly_once_in_order(&broker, 1, 100);
            continue;
        }
        let error = fate.unwrap_err();
        assert_eq!(error.outcome(), WriteOutcome::Unknown, "{error}");
        let found: Vec<u32> = numbers(&broker, 0)
            .into_iter()
            .filter(|n| *n != 1)
            .collect();
        assert_eq!(found, std::iter::once(0).chain(2..100).collect::<Vec<_>>());
    }
}

/// librdkafka #3584, confluent-kafka-go #830: an out-of-order sequence killed the whole producer.
#[tokio::test(start_paused = true)]
async fn a_broker_that_forgets_the_producer_is_recovered_from() {
    let broker = one_broker(3);
    let producer = producer(&broker, |config| config.batch_bytes = 2_000).await;
    for round in 0..10u32 {
        let deliveries = enqueue_numbers(&producer, 3, round * 1_000..(round + 1) * 1_000).await;
        deliver_all(&broker, deliveries).await;
        if round % 2 == 0 {
            (0..3).for_each(|partition| broker.forget_producers("t", partition));
        } else {
            broker.inject(produce(FaultAction::Answer(ErrorCode::UNKNOWN_PRODUCER_ID)));
        }
    }
    assert_exactly_once_in_order(&broker, 3, 10_000);
}

/// Dekaf #3341: a producer that had come to epoch 32767 looped for ever.
#[tokio::test(start_paused = true)]
async fn a_producer_that_begins_with_its_last_epoch_goes_on_under_a_new_id() {
    let broker = cluster(1, |builder| builder.first_producer_epoch(i16::MAX));
    broker.create_topic("t", 3).unwrap();
    let producer = producer(&broker, |config| config.batch_bytes = 2_000).await;
    for round in 0..10u32 {
        let code = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
        broker.inject(produce(FaultAction::Answer(code)).after(u64::from(round % 4)));
        let deliveries = enqueue_numbers(&producer, 3, round * 1_000..(round + 1) * 1_000).await;
        deliver_all(&broker, deliveries).await;
    }
    assert_exactly_once_in_order(&broker, 3, 10_000);
}

#[tokio::test(start_paused = true)]
async fn sequence_errors_in_the_middle_of_a_pipeline_are_recovered_from() {
    let broker = one_broker(3);
    let producer = producer(&broker, |config| config.batch_bytes = 2_000).await;
    for skip in [3, 8, 9, 20] {
        broker.inject(
            produce(FaultAction::Answer(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)).after(skip),
        );
    }
    let deliveries = enqueue_numbers(&producer, 3, 0..10_000).await;
    deliver_all(&broker, deliveries).await;
    assert_exactly_once_in_order(&broker, 3, 10_000);
}

/// KAFKA-19479: a flush returned before the parts of a split batch were sent.
#[tokio::test(start_paused = true)]
async fn batches_too_large_for_the_broker_are_split_and_flush_covers_the_parts() {
    for idempotence in [true, false] {
        let broker = cluster(1, |builder| builder.max_message_bytes(3_000));
        broker.create_topic("t", 2).unwrap();
        let producer = producer(&broker, |config| config.idempotence = Some(idempotence)).await;
        let deliveries = enqueue_numbers(&producer, 2, 0..5_000).await;
        producer.flush().await.unwrap();
        for (n, delivery) in deliveries.into_iter().enumerate() {
            let written = delivery.outcome().expect("flush waited for it").unwrap();
            assert_eq!(written.offset, Some(n as i64 / 2));
        }
        assert_exactly_once_in_order(&broker, 2, 5_000);
        assert!(producer.metrics().splits > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_record_that_is_too_large_fails_alone() {
    let broker = cluster(1, |builder| builder.max_message_bytes(3_000));
    broker.create_topic("t", 1).unwrap();
    let producer = producer(&broker, |config| config.max_request_bytes = 20_000).await;
    let mut deliveries = enqueue_numbers(&producer, 1, 0..10).await;
    let large = producer
        .enqueue(Record::new("t").value(&[0; 5_000]))
        .await
        .unwrap();
    deliveries.extend(enqueue_numbers(&producer, 1, 10..20).await);
    let error = large.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::RecordTooLarge, WriteOutcome::NotWritten),
        "{error}"
    );
    deliver_all(&broker, deliveries).await;
    assert_exactly_once_in_order(&broker, 1, 20);
    let error = producer
        .enqueue(Record::new("t").value(&[0; 30_000]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RecordTooLarge, "{error}");
}

/// librdkafka 1.9.0 dropped the sequences of a topic that was briefly gone; here they go with the topic id, and with nothing else.
#[tokio::test(start_paused = true)]
async fn a_recreated_topic_is_written_to_from_sequence_zero() {
    let broker = one_broker(2);
    let producer = producer(&broker, |config| config.client.metadata_max_age = ms(1_000)).await;
    deliver_all(&broker, enqueue_numbers(&producer, 2, 0..1_000).await).await;
    broker.delete_topic("t");
    tokio::time::sleep(ms(3_000)).await;
    broker.create_topic("t", 2).unwrap();
    deliver_all(&broker, enqueue_numbers(&producer, 2, 0..1_000).await).await;
    assert_exactly_once_in_order(&broker, 2, 1_000);
    // At once, and with records on their way.
    let mut deliveries = enqueue_numbers(&producer, 2, 1_000..2_000).await;
    broker.delete_topic("t");
    broker.create_topic("t", 2).unwrap();
    deliveries.extend(enqueue_numbers(&producer, 2, 2_000..3_000).await);
    for delivery in deliveries {
        if let Err(error) = delivery.await {
            assert_eq!(error.outcome(), WriteOutcome::Unknown, "{error}");
        }
    }
    for partition in 0..2 {
        assert!(numbers(&broker, partition).is_sorted());
    }
}

/// librdkafka 1.9.0: a topic that was briefly missing from metadata lost its sequences, and the reused ones looked like duplicates.
#[tokio::test(start_paused = true)]
async fn a_topic_briefly_missing_from_metadata_keeps_its_sequences() {
    let broker = one_broker(3);
    let producer = producer(&broker, |config| {
        config.client.metadata_max_age = ms(200);
        config.batch_bytes = 2_000;
    })
    .await;
    let mut end = 0;
    for code in [
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::LEADER_NOT_AVAILABLE,
    ] {
        deliver_all(
            &broker,
            enqueue_numbers(&producer, 3, end..end + 1_000).await,
        )
        .await;
        broker.inject(Fault::on(ApiKey::METADATA, FaultAction::Answer(code)).always());
        broker.inject(produce(FaultAction::ApplyThenAnswer(
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
        )));
        let mut deliveries = enqueue_numbers(&producer, 3, end + 1_000..end + 2_000).await;
        tokio::time::sleep(ms(2_000)).await;
        broker.clear_faults();
        deliveries.extend(enqueue_numbers(&producer, 3, end + 2_000..end + 3_000).await);
        deliver_all(&broker, deliveries).await;
        end += 3_000;
    }
    assert_exactly_once_in_order(&broker, 3, end);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_delivered_in_time_fails_and_says_that_it_was_not_written() {
    let broker = one_broker(1);
    let producer = producer(&broker, |config| config.delivery_timeout = ms(2_000)).await;
    deliver_all(&broker, enqueue_numbers(&producer, 1, 0..1).await).await;
    broker.stop_node(broker.node_ids()[0]).await;
    let before = tokio::time::Instant::now();
    for delivery in enqueue_numbers(&producer, 1, 1..10).await {
        let error = delivery.await.unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (ErrorKind::Timeout, WriteOutcome::NotWritten),
            "{error}"
        );
    }
    assert!(before.elapsed() < ms(3_000), "{:?}", before.elapsed());
    broker.start_node(broker.node_ids()[0]).await.unwrap();
    deliver_all(&broker, enqueue_numbers(&producer, 1, 10..20).await).await;
    assert_eq!(
        numbers(&broker, 0),
        std::iter::once(0).chain(10..20).collect::<Vec<_>>()
    );
}

/// franz-go 1.20.7 #1217: after a timeout of unknown fate the following records were deduplicated away.
#[tokio::test(start_paused = true)]
async fn a_silent_broker_leaves_unknown_outcomes_and_nothing_after_them_is_lost() {
    let broker = one_broker(1);
    let producer = producer(&broker, |config| {
        config.delivery_timeout = ms(2_000);
        config.client.request_timeout = ms(1_000);
    })
    .await;
    deliver_all(&broker, enqueue_numbers(&producer, 1, 0..1).await).await;
    broker.inject(produce(FaultAction::Delay(Duration::from_secs(20))).times(3));
    for delivery in enqueue_numbers(&producer, 1, 1..10).await {
        let error = delivery.await.unwrap_err();
        assert_eq!(error.outcome(), WriteOutcome::Unknown, "{error}");
    }
    broker.clear_faults();
    deliver_all(&broker, enqueue_numbers(&producer, 1, 10..20).await).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let found = numbers(&broker, 0);
    assert!(
        found.is_sorted() && found.ends_with(&(10..20).collect::<Vec<_>>()),
        "{found:?}"
    );
}

/// Dekaf #1696: reordered on a healthy broker, found only at volume.
#[tokio::test(start_paused = true)]
async fn without_idempotence_order_holds_at_volume_though_batches_are_refused() {
    let broker = one_broker(3);
    let producer = producer(&broker, |config| {
        config.idempotence = Some(false);
        config.batch_bytes = 4_000;
    })
    .await;
    for skip in (1..200).step_by(7) {
        broker.inject(produce(FaultAction::Answer(ErrorCode::NOT_ENOUGH_REPLICAS)).after(skip));
    }
    let deliveries = enqueue_numbers(&producer, 3, 0..100_000).await;
    deliver_all(&broker, deliveries).await;
    assert_exactly_once_in_order(&broker, 3, 100_000);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_producer_goes_on_after_the_pause() {
    let broker = one_broker(1);
    let producer = producer(&broker, |_| {}).await;
    broker.inject(produce(FaultAction::Throttle(ms(700))));
    let before = tokio::time::Instant::now();
    deliver_all(&broker, enqueue_numbers(&producer, 1, 0..1).await).await;
    deliver_all(&broker, enqueue_numbers(&producer, 1, 1..100).await).await;
    assert!(
        before.elapsed() >= ms(600) && before.elapsed() < ms(2_000),
        "{:?}",
        before.elapsed()
    );
    assert_exactly_once_in_order(&broker, 1, 100);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_not_sent_for_a_long_throttle_says_so() {
    let broker = one_broker(1);
    let producer = producer(&broker, |config| config.delivery_timeout = ms(40_000)).await;
    broker.inject(produce(FaultAction::Throttle(ms(60_000))));
    deliver_all(&broker, enqueue_numbers(&producer, 1, 0..1).await).await;
    for delivery in enqueue_numbers(&producer, 1, 1..2).await {
        let text = delivery.await.expect_err("not sent in time").to_string();
        assert!(text.contains("throttle_time_ms"), "{text}");
    }
}

/// Written by its name into a topic re-created, of which metadata had not told yet, a batch was the first of the new log; the next one,
/// numbered anew from zero, was taken for its repetition, acknowledged, and lost.
#[tokio::test(start_paused = true)]
async fn what_a_recreated_topic_took_by_its_name_hides_nothing_that_follows() {
    let broker = cluster(1, |builder| builder.api_versions(ApiKey::PRODUCE, 3, 12));
    broker.create_topic("t", 2).unwrap();
    broker.create_topic("other", 1).unwrap();
    let producer = producer(&broker, |_| {}).await;
    deliver_all(&broker, enqueue_numbers(&producer, 2, 1..2).await).await;
    broker.delete_topic("t");
    broker.create_topic("t", 2).unwrap();
    deliver_all(&broker, enqueue_numbers(&producer, 2, 0..1).await).await;
    // The metadata of a new topic comes at once, and with it the other id.
    producer
        .send(Record::new("other").value(b"v"))
        .await
        .unwrap();
    deliver_all(&broker, enqueue_numbers(&producer, 2, 2..3).await).await;
    assert_eq!(numbers(&broker, 0), [0, 2]);
}

/// The parts of a batch that is cut up go out again: without retries, small batches in flight behind it came before them.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_split_stays_before_later_ones_though_nothing_is_retried() {
    let broker = cluster(1, |builder| builder.max_message_bytes(3_000));
    broker.create_topic("t", 1).unwrap();
    let producer = producer(&broker, |config| {
        config.idempotence = Some(false);
        config.retries = 0;
    })
    .await;
    broker.inject(produce(FaultAction::Delay(ms(50))));
    let mut deliveries = enqueue_numbers(&producer, 1, 0..1_000).await;
    for number in 1_000..1_003 {
        tokio::time::sleep(ms(10)).await;
        deliveries.extend(enqueue_numbers(&producer, 1, number..number + 1).await);
    }
    deliver_all(&broker, deliveries).await;
    assert!(producer.metrics().splits > 0);
    assert_exactly_once_in_order(&broker, 1, 1_003);
}

/// A refusal that no repetition can change was asked for again at once, one request after the other.
#[tokio::test(start_paused = true)]
async fn a_producer_id_that_is_refused_is_asked_for_again_with_pauses() {
    let broker = one_broker(1);
    let producer = producer(&broker, |_| {}).await;
    deliver_all(&broker, enqueue_numbers(&producer, 1, 0..1).await).await;
    broker.inject(produce(FaultAction::Answer(
        ErrorCode::INVALID_PRODUCER_EPOCH,
    )));
    let code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
    broker.inject(Fault::on(ApiKey::INIT_PRODUCER_ID, FaultAction::Answer(code)).times(50));
    let error = enqueue_numbers(&producer, 1, 1..2)
        .await
        .remove(0)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Authorization, WriteOutcome::NotWritten),
        "{error}"
    );
    tokio::time::sleep(ms(10_000)).await;
    assert_eq!(broker.pending_faults(), 1, "50 requests in ten seconds");
    broker.clear_faults();
    tokio::time::sleep(ms(2_000)).await;
    deliver_all(&broker, enqueue_numbers(&producer, 1, 2..10).await).await;
    assert_eq!(
        numbers(&broker, 0),
        std::iter::once(0).chain(2..10).collect::<Vec<_>>()
    );
}
