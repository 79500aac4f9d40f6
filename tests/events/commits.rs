//! What is committed, and from where a consumer goes on: failed commits, `latest`, offsets without events.

use protocol::records::ControlRecord;

use super::*;

#[tokio::test]
async fn commits_that_fail_are_made_again() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let consumer = consumer(&broker);
    consumer.start(Handler::of(&seen)).await.expect("started");
    for (round, action) in [
        FaultAction::Answer(ErrorCode::OFFSET_METADATA_TOO_LARGE),
        FaultAction::Answer(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        FaultAction::ApplyThenDisconnect,
        FaultAction::Disconnect,
    ]
    .into_iter()
    .enumerate()
    {
        broker.inject(Fault::on(ApiKey::OFFSET_COMMIT, action));
        let round = round as u32;
        send_numbers(&producer, 10, round..round + 1).await;
        let all = i64::from(round + 1) * 10;
        let made = async {
            while committed(&broker) < all || broker.pending_faults() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, made)
            .await
            .unwrap_or_else(|_| panic!("{action:?}: {} of {all}", committed(&broker)));
    }
    consumer.stop().await.expect("stopped well");
    seen.assert_once_and_in_order(10, 4);
}

fn refuse_commits(broker: &Broker) {
    broker.inject(
        Fault::on(
            ApiKey::OFFSET_COMMIT,
            FaultAction::Answer(ErrorCode::GROUP_AUTHORIZATION_FAILED),
        )
        .always(),
    );
}

async fn ends_for_want_of_rights(consumer: &EventConsumer<EmailEvents>) {
    let error = timeout(PATIENCE, consumer.wait())
        .await
        .expect("ends by itself")
        .expect_err("no commit");
    assert!(
        matches!(&error, ConsumerError::Kafka(error) if error.kind() == ErrorKind::Authorization),
        "{error}"
    );
}

#[tokio::test]
async fn a_commit_that_may_not_be_made_ends_the_consumer() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let consumer = consumer(&broker);
    consumer.start(Handler::default()).await.expect("started");
    refuse_commits(&broker);
    send_numbers(&producer, 1, 0..1).await;
    ends_for_want_of_rights(&consumer).await;
}

/// A handler that is stuck when that happens does not hide why it ends.
#[tokio::test]
async fn what_ends_a_consumer_is_told_before_what_that_did_to_its_handlers() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let consumer = consumer_with(&broker, |config| {
        config.shutdown_timeout = Duration::from_millis(500);
    });
    let handler = Handler {
        stuck_key: Some("stuck"),
        ..Handler::default()
    };
    consumer.start(handler).await.expect("started");
    let stuck = producer.send_email_received(&email("stuck", 0)).await;
    stuck.expect("written");
    refuse_commits(&broker);
    send_numbers(&producer, 3, 0..1).await;
    ends_for_want_of_rights(&consumer).await;
}

#[tokio::test]
async fn latest_does_not_lose_what_arrives_between_two_starts() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 3, 0..1).await;
    let seen = Arc::new(Seen::default());
    let latest = |config: &mut ConsumerConfig| config.auto_offset_reset = OffsetReset::Latest;
    let first = consumer_with(&broker, latest);
    first.start(Handler::of(&seen)).await.expect("started");
    let committed = async {
        while (0..3).any(|partition| broker.committed_offset("test", TOPIC, partition).is_none()) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, committed)
        .await
        .expect("the first positions are committed");
    first.stop().await.expect("stopped well");
    assert_eq!(seen.handled.load(Ordering::Relaxed), 0);
    send_numbers(&producer, 3, 1..2).await;
    let second = consumer_with(&broker, latest);
    second.start(Handler::of(&seen)).await.expect("started");
    seen.until(3).await;
    second.stop().await.expect("stopped well");
}

#[tokio::test]
async fn latest_does_not_lose_what_arrives_after_a_stop_before_the_first_commit() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let latest = |config: &mut ConsumerConfig| {
        config.auto_offset_reset = OffsetReset::Latest;
        config.commit = CommitPolicy::periodic(Duration::from_secs(600));
    };
    let first = consumer_with(&broker, latest);
    first.start(Handler::of(&seen)).await.expect("started");
    let placed = async {
        while first.metrics().lag_by_partition.len() < 3 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, placed).await.expect("all positions");
    first.stop().await.expect("stopped well");
    send_numbers(&producer, 3, 0..1).await;
    let second = consumer_with(&broker, latest);
    second.start(Handler::of(&seen)).await.expect("started");
    seen.until(3).await;
    second.stop().await.expect("stopped well");
}

#[tokio::test]
async fn commits_pass_what_holds_no_events() {
    let broker = broker().await;
    let consumer = consumer(&broker);
    let mut marker = BatchBuilder::new(Vec::new());
    let commit = ControlRecord::Commit {
        coordinator_epoch: 0,
    };
    let value = commit.marker_value().expect("a marker has one");
    marker
        .append(0, Some(&commit.key()), Some(&value), [])
        .expect("room");
    let options = SealOptions {
        producer_id: 1,
        producer_epoch: 0,
        transactional: true,
        control: true,
        ..SealOptions::default()
    };
    let marker = marker.seal(&options, &mut Compressor::new(Compression::NONE));
    broker.append_unchecked(TOPIC, 0, marker.into_bytes());
    consumer.start(Handler::default()).await.expect("started");
    let passed = async {
        while broker.committed_offset("test", TOPIC, 0) != Some(1) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, passed)
        .await
        .expect("the marker is passed");
    consumer.stop().await.expect("stopped well");
}

#[tokio::test]
async fn committed_offsets_that_cannot_be_had_are_told_until_they_come() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let unstable = FaultAction::Answer(ErrorCode::UNSTABLE_OFFSET_COMMIT);
    broker.inject(Fault::on(ApiKey::OFFSET_FETCH, unstable).always());
    let seen = Arc::new(Seen::default());
    let consumer = consumer_with(&broker, |config| {
        config.kafka.client.request_timeout = Duration::from_secs(1)
    });
    consumer.start(Handler::of(&seen)).await.expect("started");
    send_numbers(&producer, 3, 0..1).await;
    let told = async {
        while consumer.metrics().failed_polls == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, told).await.expect("somebody is told");
    assert!(consumer.metrics().last_error.is_some());
    broker.clear_faults();
    seen.until(3).await;
    consumer.stop().await.expect("stopped well");
}
