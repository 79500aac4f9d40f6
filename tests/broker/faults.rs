//! Failures on purpose, and what a broker that speaks fewer versions answers.

use std::io;
use std::time::Duration;

use pat_events::broker::{Broker, Fault, FaultAction};
use protocol::messages::{ApiVersionsRequest, HeartbeatRequest, MetadataRequest};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::parity::{outcome, produce_request};
use crate::raw::{Raw, batch, sequenced};

fn one_node() -> (Broker, Raw) {
    let broker = Broker::builder()
        .seed(1)
        .start_in_memory()
        .expect("a broker");
    broker.create_topic("t", 1).expect("a topic");
    let raw = Raw::dial(&broker, 1).expect("a connection");
    (broker, raw)
}

fn end_offset(broker: &Broker) -> i64 {
    broker.log("t", 0).expect("a log").end_offset
}

#[tokio::test]
async fn apply_then_disconnect_keeps_what_was_produced_and_answers_nothing() {
    let (broker, mut raw) = one_node();
    broker.inject(Fault::on(ApiKey::PRODUCE, FaultAction::ApplyThenDisconnect));
    let request = produce_request("t".into(), 0, -1, Some(batch(3)));
    let error = raw.call(9, &request).await.expect_err("no answer");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(end_offset(&broker), 3);
    assert_eq!(broker.pending_faults(), 0);
}

#[tokio::test]
async fn disconnect_applies_nothing() {
    let (broker, mut raw) = one_node();
    broker.inject(Fault::on(ApiKey::PRODUCE, FaultAction::Disconnect));
    raw.call(9, &produce_request("t".into(), 0, -1, Some(batch(3))))
        .await
        .expect_err("no answer");
    assert_eq!(end_offset(&broker), 0);
}

#[tokio::test]
async fn an_error_may_be_answered_with_and_without_applying() {
    let (broker, mut raw) = one_node();
    broker.inject(Fault::on(
        ApiKey::PRODUCE,
        FaultAction::Answer(ErrorCode::REQUEST_TIMED_OUT),
    ));
    broker.inject(
        Fault::on(
            ApiKey::PRODUCE,
            FaultAction::ApplyThenAnswer(ErrorCode::UNKNOWN_SERVER_ERROR),
        )
        .after(1),
    );
    let request = produce_request("t".into(), 0, -1, Some(batch(2)));
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push((
            outcome(&raw.call(9, &request).await.expect("an answer")).0,
            end_offset(&broker),
        ));
    }
    let expected = [
        (ErrorCode::REQUEST_TIMED_OUT, 0),
        (ErrorCode::UNKNOWN_SERVER_ERROR, 2),
        (ErrorCode::NONE, 4),
    ];
    assert_eq!(answers, expected);
}

#[tokio::test(start_paused = true)]
async fn delays_hold_answers_back_and_throttling_is_told_and_kept() {
    let (broker, mut raw) = one_node();
    let request = MetadataRequest {
        topics: Some(vec![]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    broker.inject(Fault::on(
        ApiKey::METADATA,
        FaultAction::Delay(Duration::from_secs(3)),
    ));
    let began = Instant::now();
    raw.call(12, &request).await.expect("an answer");
    assert_eq!(began.elapsed().as_secs(), 3);
    broker.inject(Fault::on(
        ApiKey::METADATA,
        FaultAction::Throttle(Duration::from_secs(5)),
    ));
    let began = Instant::now();
    let throttled = raw.call(12, &request).await.expect("an answer");
    assert_eq!(
        (throttled.throttle_time_ms, began.elapsed().as_secs()),
        (5000, 0)
    );
    raw.call(12, &request).await.expect("an answer");
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn who_produces_beyond_its_rate_is_told_to_pause_and_not_read_from() {
    let broker = Broker::builder()
        .producer_byte_rate(1_000)
        .start_in_memory()
        .expect("a broker");
    broker.create_topic("t", 1).expect("a topic");
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let batch = batch(10);
    let request = produce_request("t".into(), 0, -1, Some(batch.clone()));
    let (began, mut throttled) = (Instant::now(), 0);
    for _ in 0..30 {
        let answer = raw.call(9, &request).await.expect("an answer");
        assert_eq!(outcome(&answer).0, ErrorCode::NONE);
        throttled += answer.throttle_time_ms;
    }
    let pauses = began.elapsed();
    let bytes = 29 * batch.len();
    let at_the_rate = Duration::from_millis(bytes as u64).saturating_sub(Duration::from_secs(1));
    assert!(
        pauses.abs_diff(at_the_rate) < Duration::from_millis(100),
        "{pauses:?}, not {at_the_rate:?}"
    );
    // The last pause is told, and not waited for by anybody.
    assert!(u128::from(throttled.unsigned_abs()) >= pauses.as_millis());
}

#[tokio::test]
async fn a_topic_of_the_handle_takes_settings_and_refuses_what_kafka_does() {
    let broker = Broker::builder().start_in_memory().expect("a broker");
    let small = [("max.message.bytes", "100"), ("cleanup.policy", "compact")];
    broker.create_topic_with("t", 1, &small).expect("a topic");
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let request = produce_request("t".into(), 0, -1, Some(batch(10)));
    let answer = raw.call(9, &request).await.expect("an answer");
    assert_eq!(outcome(&answer).0, ErrorCode::MESSAGE_TOO_LARGE);
    let refused = broker.create_topic_with("u", 1, &[("cleanup.policy", "nonsense")]);
    let error = refused.expect_err("no policy").to_string();
    assert!(error.contains("cleanup.policy"), "{error}");
    assert_eq!(broker.topics(), ["t"]);
}

#[tokio::test]
async fn a_truncation_takes_a_producer_back_to_what_is_left_of_it() {
    let (broker, mut raw) = one_node();
    let mut produce = async |sequence| {
        let request = produce_request("t".into(), 0, -1, Some(sequenced(9, 0, sequence, 10)));
        outcome(&raw.call(9, &request).await.expect("an answer")).0
    };
    assert_eq!(produce(0).await, ErrorCode::NONE);
    assert_eq!(produce(10).await, ErrorCode::NONE);
    broker.truncate_log("t", 0, 10);
    assert_eq!(produce(20).await, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(produce(10).await, ErrorCode::NONE);
    assert_eq!(end_offset(&broker), 20);
    // Of a producer of which nothing is left, nothing is known.
    broker.truncate_log("t", 0, 0);
    assert_eq!(produce(20).await, ErrorCode::NONE);
}

#[tokio::test]
async fn an_error_that_the_version_has_no_place_for_closes_the_connection() {
    let (broker, mut raw) = one_node();
    let all = MetadataRequest {
        topics: None,
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let error = ErrorCode::UNKNOWN_SERVER_ERROR;
    broker.inject(Fault::on(ApiKey::METADATA, FaultAction::Answer(error)).times(2));
    let refused = raw.call(13, &all).await.expect("an answer");
    assert_eq!(refused.error_code, error);
    let closed = raw.call(12, &all).await.expect_err("no answer");
    assert_eq!(closed.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn every_connection_can_be_closed() {
    let (broker, mut raw) = one_node();
    let mut other = Raw::dial(&broker, 1).expect("a connection");
    broker.disconnect_all();
    assert!(raw.receive_frame().await.is_err());
    assert!(other.receive_frame().await.is_err());
    assert!(Raw::dial(&broker, 1).is_ok());
}

#[tokio::test]
async fn an_older_broker_offers_less_and_closes_the_connection_on_more() {
    let broker = Broker::builder()
        .api_versions(ApiKey::API_VERSIONS, 0, 2)
        .api_versions(ApiKey::METADATA, 0, 7)
        .without_api(ApiKey::HEARTBEAT)
        .start_in_memory()
        .expect("a broker");
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let refused = {
        raw.send(3, &ApiVersionsRequest::default())
            .await
            .expect("sent");
        raw.receive::<ApiVersionsRequest>(0)
            .await
            .expect("an answer in version 0")
    };
    assert_eq!(refused.error_code, ErrorCode::UNSUPPORTED_VERSION);
    assert_eq!(
        (refused.api_keys.len(), refused.api_keys[0].max_version),
        (1, 2)
    );
    let offered = raw
        .call(2, &ApiVersionsRequest::default())
        .await
        .expect("an answer")
        .api_keys;
    let metadata = offered
        .iter()
        .find(|api| api.api_key == ApiKey::METADATA.0)
        .expect("offered");
    assert_eq!((metadata.min_version, metadata.max_version), (0, 7));
    assert!(!offered.iter().any(|api| api.api_key == ApiKey::HEARTBEAT.0));
    raw.call(4, &HeartbeatRequest::default())
        .await
        .expect_err("closed");
}

#[tokio::test]
async fn the_last_handle_ends_the_nodes() {
    let (broker, mut raw) = one_node();
    drop(broker);
    assert!(raw.receive_frame().await.is_err());
}
