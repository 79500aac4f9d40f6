//! How long a stop takes, whatever the brokers and the handlers do.

use super::*;

const SHUTDOWN: Duration = Duration::from_secs(2);

/// A consumer that has handled something and not committed it.
async fn with_something_to_commit(broker: &Broker) -> EventConsumer<EmailEvents> {
    let producer = producer(broker).await;
    let seen = Arc::new(Seen::default());
    let consumer = consumer_with(broker, |config| {
        config.shutdown_timeout = SHUTDOWN;
        config.commit = CommitPolicy::periodic(Duration::from_secs(600));
    });
    consumer.start(Handler::of(&seen)).await.expect("started");
    send_numbers(&producer, 10, 0..10).await;
    seen.until(100).await;
    consumer
}

async fn stop_in_time(consumer: &EventConsumer<EmailEvents>) -> ConsumerError {
    let begun = tokio::time::Instant::now();
    let error = timeout(PATIENCE, consumer.stop())
        .await
        .expect("the stop ends")
        .expect_err("nobody took the commit");
    let took = begun.elapsed();
    assert!(took < SHUTDOWN + Duration::from_secs(2), "{took:?}");
    error
}

#[tokio::test]
async fn a_stop_takes_no_longer_than_its_timeout_when_the_brokers_are_gone() {
    let broker = broker().await;
    let consumer = with_something_to_commit(&broker).await;
    broker.shutdown().await;
    sleep(Duration::from_millis(500)).await;
    let error = stop_in_time(&consumer).await;
    let text = error.to_string();
    assert!(text.contains("shutdown.timeout.ms"), "{text}");
    assert!(
        matches!(&error, ConsumerError::Kafka(error) if error.kind() == ErrorKind::Timeout),
        "{text}"
    );
}

#[tokio::test]
async fn a_stop_takes_no_longer_than_its_timeout_when_the_brokers_hang() {
    for hung in [
        &[ApiKey::OFFSET_COMMIT][..],
        &[ApiKey::OFFSET_COMMIT, ApiKey::LEAVE_GROUP],
        &[
            ApiKey::OFFSET_COMMIT,
            ApiKey::LEAVE_GROUP,
            ApiKey::HEARTBEAT,
            ApiKey::FETCH,
            ApiKey::METADATA,
        ],
    ] {
        let broker = broker().await;
        let consumer = with_something_to_commit(&broker).await;
        let hang = FaultAction::Delay(Duration::from_secs(3_600));
        for api in hung {
            broker.inject(Fault::on(*api, hang).always());
        }
        stop_in_time(&consumer).await;
    }
}

#[tokio::test]
async fn a_group_that_cannot_be_left_in_time_is_told_of() {
    let broker = broker().await;
    let consumer = with_something_to_commit(&broker).await;
    let hang = FaultAction::Delay(Duration::from_secs(3_600));
    broker.inject(Fault::on(ApiKey::LEAVE_GROUP, hang).always());
    let error = stop_in_time(&consumer).await;
    assert!(error.to_string().contains("group"), "{error}");
    assert_eq!(committed(&broker), 100, "the commit was made before");
}

#[tokio::test]
async fn a_stuck_handler_leaves_time_to_commit_what_others_finished() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 10, 0..1).await;
    let seen = Arc::new(Seen::default());
    let handler = Handler {
        stuck_key: Some("e-3"),
        ..Handler::of(&seen)
    };
    let consumer = consumer_with(&broker, |config| {
        config.shutdown_timeout = SHUTDOWN;
        config.commit = CommitPolicy::periodic(Duration::from_secs(600));
    });
    consumer.start(handler.clone()).await.expect("started");
    seen.until(9).await;
    let error = stop_in_time(&consumer).await;
    assert!(matches!(error, ConsumerError::Unfinished), "{error}");
    assert_eq!(consumer.metrics().lag, 1);
    let next = consumer_with(&broker, |_| {});
    next.start(Handler::of(&seen)).await.expect("started");
    seen.until(10).await;
    next.stop().await.expect("stopped well");
    seen.assert_once_and_in_order(10, 1);
}

#[tokio::test]
async fn a_hanging_handler_does_not_hang_the_stop() {
    const SHUTDOWN: Duration = Duration::from_secs(5);
    let broker = broker().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 1, 0..3).await;
    let seen = Arc::new(Seen::default());
    let consumer = consumer_with(&broker, |config| config.shutdown_timeout = SHUTDOWN);
    consumer
        .start(Handler {
            work: Duration::from_secs(3_600),
            ..Handler::of(&seen)
        })
        .await
        .expect("started");
    let received = async {
        while consumer.metrics().received < 3 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, received).await.expect("fetched");
    sleep(Duration::from_millis(50)).await;
    let error = timeout(2 * SHUTDOWN, consumer.stop())
        .await
        .expect("the handler is waited for once")
        .expect_err("unfinished");
    assert!(matches!(error, ConsumerError::Unfinished), "{error}");
    // The group was left: nobody has to wait for the session of 45 s to end.
    let next = consumer_with(&broker, |_| {});
    next.start(Handler::of(&seen)).await.expect("started");
    timeout(Duration::from_secs(30), seen.until(3))
        .await
        .expect("the next member begins at once");
    next.stop().await.expect("stopped well");
}
