//! One bad answer, of any API and with any code, ends no consumer; what will not heal does, and says so.

use super::*;

/// Codes that say little about what was asked, or that one answer does not prove: of the broker's trouble, of another API, of the future.
const ODD: [ErrorCode; 9] = [
    ErrorCode::UNKNOWN_SERVER_ERROR,
    ErrorCode::CORRUPT_MESSAGE,
    ErrorCode::INVALID_REQUEST,
    ErrorCode::INVALID_PRODUCER_EPOCH,
    ErrorCode::KAFKA_STORAGE_ERROR,
    ErrorCode::INVALID_TOPIC_EXCEPTION,
    ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
    ErrorCode::FENCED_INSTANCE_ID,
    ErrorCode(31_999),
];

async fn goes_on_after(api: ApiKey, actions: &[FaultAction]) {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let consumer = consumer_with(&broker, |config| {
        config.kafka.heartbeat_interval = Duration::from_millis(50);
        config.kafka.fetch_max_wait = Duration::from_millis(50);
    });
    for (round, action) in (0..).zip(actions) {
        broker.inject(Fault::on(api, *action));
        if !consumer.is_running() {
            consumer.start(Handler::of(&seen)).await.expect("started");
        }
        send_numbers(&producer, 10, round..round + 1).await;
        let handled = async {
            while seen.handled.load(Ordering::Relaxed) < (round as usize + 1) * 10
                || broker.pending_faults() > 0
            {
                assert!(consumer.is_running(), "{api:?} {action:?}");
                sleep(Duration::from_millis(5)).await;
            }
        };
        let handled = timeout(PATIENCE, handled).await;
        assert!(
            handled.is_ok(),
            "{api:?} {action:?}: {:?}",
            consumer.metrics().last_error
        );
        if !matches!(
            api,
            ApiKey::FETCH | ApiKey::OFFSET_COMMIT | ApiKey::HEARTBEAT
        ) {
            // Asked at the start only.
            consumer.stop().await.expect("stopped well");
        }
    }
    if consumer.is_running() {
        consumer.stop().await.expect("stopped well");
    }
    seen.assert_once_and_in_order(10, actions.len() as u32);
}

#[tokio::test]
async fn no_single_answer_to_a_read_or_a_commit_ends_a_consumer() {
    let actions = ODD.map(FaultAction::Answer);
    for api in [ApiKey::FETCH, ApiKey::OFFSET_COMMIT, ApiKey::OFFSET_FETCH] {
        goes_on_after(api, &actions).await;
    }
    // Nothing is committed before the first start: one each.
    for action in actions {
        goes_on_after(ApiKey::LIST_OFFSETS, &[action]).await;
    }
}

#[tokio::test]
async fn no_single_answer_of_the_groups_coordinator_ends_a_consumer() {
    let actions = ODD.map(FaultAction::Answer);
    for api in [
        ApiKey::FIND_COORDINATOR,
        ApiKey::JOIN_GROUP,
        ApiKey::SYNC_GROUP,
        ApiKey::HEARTBEAT,
    ] {
        goes_on_after(api, &actions).await;
    }
}

#[tokio::test]
async fn an_answer_that_stays_bad_is_told_and_repeated_with_pauses_until_it_heals() {
    for api in [ApiKey::FETCH, ApiKey::OFFSET_COMMIT] {
        let broker = broker().await;
        let producer = producer(&broker).await;
        let seen = Arc::new(Seen::default());
        let consumer = consumer_with(&broker, |config| {
            config.kafka.client.request_timeout = Duration::from_secs(1)
        });
        consumer.start(Handler::of(&seen)).await.expect("started");
        send_numbers(&producer, 3, 0..1).await;
        seen.until(3).await;
        let bad = FaultAction::Answer(ErrorCode::UNKNOWN_SERVER_ERROR);
        broker.inject(Fault::on(api, bad).always());
        send_numbers(&producer, 3, 1..2).await;
        sleep(Duration::from_secs(5)).await;
        let metrics = consumer.metrics();
        let failed = metrics.failed_polls + metrics.failed_commits;
        assert!((2..60).contains(&failed), "{api:?}: {failed} in 5 s");
        let error = metrics.last_error.expect("told").to_string();
        assert!(error.contains("UNKNOWN_SERVER_ERROR"), "{error}");
        broker.clear_faults();
        seen.until(6).await;
        consumer.stop().await.expect("stopped well");
        assert_eq!(committed(&broker), 6);
    }
}

#[tokio::test]
async fn what_is_refused_for_the_request_timeout_ends_the_consumer_and_is_named() {
    for (api, code, name) in [
        (
            ApiKey::FETCH,
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            "TOPIC_AUTHORIZATION_FAILED",
        ),
        (
            ApiKey::OFFSET_COMMIT,
            ErrorCode::GROUP_AUTHORIZATION_FAILED,
            "GROUP_AUTHORIZATION_FAILED",
        ),
    ] {
        let broker = broker().await;
        let producer = producer(&broker).await;
        let consumer = consumer_with(&broker, |config| {
            config.kafka.client.request_timeout = Duration::from_secs(1)
        });
        broker.inject(Fault::on(api, FaultAction::Answer(code)).always());
        let started = tokio::time::Instant::now();
        consumer.start(Handler::default()).await.expect("started");
        send_numbers(&producer, 1, 0..1).await;
        let error = timeout(PATIENCE, consumer.wait())
            .await
            .expect("ends by itself")
            .expect_err("not allowed")
            .to_string();
        assert!(error.contains(name), "{error}");
        assert!(started.elapsed() >= Duration::from_secs(1), "{error}");
        let told = consumer.metrics().last_error.expect("told meanwhile");
        assert!(told.to_string().contains(name), "{told}");
    }
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_ends_the_consumer_after_a_few_attempts() {
    let broker = broker().await;
    let consumer = consumer(&broker);
    let mut batch = BatchBuilder::new(Vec::new());
    batch.append(0, None, Some(b"whole"), []).expect("room");
    let sealed = batch.seal(
        &SealOptions::default(),
        &mut Compressor::new(Compression::NONE),
    );
    let mut bytes = sealed.into_bytes().to_vec();
    *bytes.last_mut().expect("a batch") ^= 1;
    broker.append_unchecked(TOPIC, 0, bytes.into());
    consumer.start(Handler::default()).await.expect("started");
    let error = timeout(PATIENCE, consumer.wait())
        .await
        .expect("ends by itself")
        .expect_err("somebody has to decide");
    assert!(
        matches!(&error, ConsumerError::Kafka(error) if error.kind() == ErrorKind::CorruptBatch),
        "{error}"
    );
    assert_eq!(consumer.metrics().failed_polls, 2, "fetched again twice");
}
