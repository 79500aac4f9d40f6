//! Every error code of Kafka, and one that it does not have, as the answer to Produce and to InitProducerId: once, for a while, for ever.
//!
//! Once or for a while, and then healed: the producer goes on, nothing acknowledged is missing, nothing is doubled or reordered, and what is
//! reported as not written is not there. For ever: an error within the delivery timeout, at a bounded number of requests.

use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::{Delivery, Producer, WriteOutcome};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::harness::*;

/// Far beyond what any version of Kafka has.
const UNHEARD_OF: ErrorCode = ErrorCode(31_999);

/// So many requests are never made in five seconds.
const MANY: u64 = 60;

fn codes() -> impl Iterator<Item = ErrorCode> {
    ErrorCode::all()
        .filter(|code| *code != ErrorCode::NONE)
        .chain([UNHEARD_OF])
}

/// Awaits every delivery, and holds what they say against the log.
async fn check(broker: &Broker, deliveries: Vec<(u32, Delivery)>, context: &str) {
    let mut fates = Vec::new();
    for (number, delivery) in deliveries {
        fates.push((number, delivery.await));
    }
    let log = numbers(broker, 0);
    for pair in log.windows(2) {
        assert!(
            pair[0] < pair[1],
            "{context}: doubled or reordered: {log:?}"
        );
    }
    for (number, fate) in fates {
        let there = log.contains(&number);
        match fate {
            Ok(_) => assert!(there, "{context}: {number} was lost"),
            Err(error) => {
                let denied = error.outcome() == WriteOutcome::NotWritten;
                assert!(!(there && denied), "{context}: {number} is there: {error}");
            }
        }
    }
}

async fn hand_in(producer: &Producer, range: std::ops::Range<u32>) -> Vec<(u32, Delivery)> {
    let deliveries = enqueue_numbers(producer, 1, range.clone()).await;
    range.zip(deliveries).collect()
}

/// What happens at the broker that answers with `code`: nothing is written; or something is all the same, unless the code says that it
/// is not.
fn actions(code: ErrorCode) -> impl Iterator<Item = FaultAction> {
    let is_certain = matches!(
        code,
        ErrorCode::CORRUPT_MESSAGE
            | ErrorCode::MESSAGE_TOO_LARGE
            | ErrorCode::INVALID_TOPIC_EXCEPTION
            | ErrorCode::RECORD_LIST_TOO_LARGE
            | ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::INVALID_REQUIRED_ACKS
            | ErrorCode::TOPIC_AUTHORIZATION_FAILED
            | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
            | ErrorCode::INVALID_TIMESTAMP
            | ErrorCode::UNSUPPORTED_VERSION
            | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT
            | ErrorCode::POLICY_VIOLATION
            | ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
            | ErrorCode::INVALID_PRODUCER_EPOCH
            | ErrorCode::INVALID_PRODUCER_ID_MAPPING
            | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            | ErrorCode::UNKNOWN_PRODUCER_ID
            | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
            | ErrorCode::INVALID_RECORD
            | ErrorCode::THROTTLING_QUOTA_EXCEEDED
            | ErrorCode::PRODUCER_FENCED
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::INCONSISTENT_TOPIC_ID
    );
    let applied = (!is_certain).then_some(FaultAction::ApplyThenAnswer(code));
    // The broker has the batch already.
    let refused = code != ErrorCode::DUPLICATE_SEQUENCE_NUMBER;
    let refused = refused.then_some(FaultAction::Answer(code));
    refused.into_iter().chain(applied)
}

#[tokio::test(start_paused = true)]
async fn produce_goes_on_after_any_code() {
    for code in codes() {
        for action in actions(code) {
            for times in [1, 3] {
                let context = format!("{} {times} times, {action:?}", code.name());
                let broker = one_broker(1);
                let producer = producer(&broker, |config| config.batch_bytes = 1_000).await;
                let mut deliveries = hand_in(&producer, 0..100).await;
                producer.flush().await.unwrap();
                broker.inject(Fault::on(ApiKey::PRODUCE, action).after(1).times(times));
                deliveries.extend(hand_in(&producer, 100..500).await);
                let _ = producer.flush().await;
                assert_eq!(broker.pending_faults(), 0, "{context}");
                deliveries.extend(hand_in(&producer, 500..600).await);
                let before = Instant::now();
                producer
                    .flush()
                    .await
                    .unwrap_or_else(|error| panic!("{context}: {error}"));
                assert!(before.elapsed() < ms(5_000), "{context}");
                check(&broker, deliveries, &context).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn produce_that_is_answered_with_one_code_for_ever_ends_in_time_and_paced() {
    for code in codes() {
        for action in actions(code) {
            let context = format!("{}, {action:?}", code.name());
            let broker = one_broker(1);
            let producer = producer(&broker, |config| {
                config.batch_records = Some(10);
                config.delivery_timeout = ms(5_000);
            })
            .await;
            let mut deliveries = hand_in(&producer, 0..10).await;
            producer.flush().await.unwrap();
            let sent = producer.metrics().requests_sent;
            broker.inject(Fault::on(ApiKey::PRODUCE, action).always());
            let before = Instant::now();
            deliveries.extend(hand_in(&producer, 10..60).await);
            let result = producer.flush().await;
            assert!(
                before.elapsed() < ms(6_500),
                "{context}: {:?}",
                before.elapsed()
            );
            if code != ErrorCode::DUPLICATE_SEQUENCE_NUMBER {
                assert!(result.is_err(), "{context}");
                let requests = producer.metrics().requests_sent - sent;
                // A batch of ten that is cut up takes nineteen.
                assert!(requests <= 150, "{context}: {requests} requests");
            }
            broker.clear_faults();
            deliveries.extend(hand_in(&producer, 100..110).await);
            producer
                .flush()
                .await
                .unwrap_or_else(|error| panic!("{context}: {error}"));
            check(&broker, deliveries, &context).await;
        }
    }
}

fn is_final(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UNSUPPORTED_VERSION
            | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
            | ErrorCode::TOPIC_AUTHORIZATION_FAILED
            | ErrorCode::GROUP_AUTHORIZATION_FAILED
            | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            | ErrorCode::SASL_AUTHENTICATION_FAILED
            | ErrorCode::UNSUPPORTED_SASL_MECHANISM
            | ErrorCode::ILLEGAL_SASL_STATE
    )
}

/// One code that is not called retriable was the end of `connect`.
#[tokio::test(start_paused = true)]
async fn a_producer_connects_after_any_code_that_may_heal() {
    for code in codes() {
        for times in [1, 3] {
            let context = format!("{} {times} times", code.name());
            let broker = one_broker(1);
            let answer = FaultAction::Answer(code);
            broker.inject(Fault::on(ApiKey::INIT_PRODUCER_ID, answer).times(times));
            let connected = Producer::connect(config(&broker)).await;
            assert_eq!(
                connected.is_err(),
                is_final(code),
                "{context}: {connected:?}"
            );
            // And it is no different a second time.
            broker.clear_faults();
            let producer = producer(&broker, |_| {}).await;
            let deliveries = hand_in(&producer, 0..10).await;
            check(&broker, deliveries, &context).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn connecting_with_one_code_for_ever_ends_in_time_and_paced() {
    for code in codes() {
        let broker = one_broker(1);
        let answer = FaultAction::Answer(code);
        broker.inject(Fault::on(ApiKey::INIT_PRODUCER_ID, answer).times(MANY));
        let mut settings = config(&broker);
        settings.max_block = ms(5_000);
        let before = Instant::now();
        let error = Producer::connect(settings).await.unwrap_err();
        assert!(
            before.elapsed() <= ms(5_100),
            "{}: {:?}",
            code.name(),
            before.elapsed()
        );
        assert!(error.to_string().contains("InitProducerId"), "{error}");
        assert_eq!(
            broker.pending_faults(),
            1,
            "{}: {MANY} requests",
            code.name()
        );
    }
}

/// A producer that needs a new id while it runs waits for it, and what waits fails by its own time, with the reason.
#[tokio::test(start_paused = true)]
async fn a_new_producer_id_is_got_after_any_code() {
    for code in codes() {
        for times in [1, 3, MANY] {
            let context = format!("{} {times} times", code.name());
            let broker = one_broker(1);
            let producer = producer(&broker, |config| config.delivery_timeout = ms(5_000)).await;
            let mut deliveries = hand_in(&producer, 0..10).await;
            producer.flush().await.unwrap();
            let disowned = FaultAction::Answer(ErrorCode::INVALID_PRODUCER_EPOCH);
            broker.inject(Fault::on(ApiKey::PRODUCE, disowned));
            let answer = FaultAction::Answer(code);
            broker.inject(Fault::on(ApiKey::INIT_PRODUCER_ID, answer).times(times));
            let before = Instant::now();
            let waiting = hand_in(&producer, 10..20).await;
            let result = producer.flush().await;
            assert!(
                before.elapsed() < ms(6_500),
                "{context}: {:?}",
                before.elapsed()
            );
            if times == MANY {
                assert_eq!(broker.pending_faults(), 1, "{context}: {MANY} requests");
                let text = result.unwrap_err().to_string();
                assert!(text.contains("InitProducerId"), "{context}: {text}");
            } else {
                assert_eq!(result.is_err(), is_final(code), "{context}");
            }
            broker.clear_faults();
            deliveries.extend(waiting);
            tokio::time::sleep(ms(6_000)).await;
            deliveries.extend(hand_in(&producer, 20..30).await);
            producer
                .flush()
                .await
                .unwrap_or_else(|error| panic!("{context}: {error}"));
            check(&broker, deliveries, &context).await;
        }
    }
}
