//! Each key's events are handled once and in order: at volume, across failures, stops, and connections that are cut.

use super::*;

#[tokio::test]
async fn keys_keep_their_order_at_volume() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let consumer = consumer(&broker);
    consumer.start(Handler::of(&seen)).await.expect("started");
    send_numbers(&producer, 50, 0..200).await;
    seen.until(10_000).await;
    consumer.stop().await.expect("stopped well");
    seen.assert_once_and_in_order(50, 200);
    assert_eq!(consumer.metrics().lag, 0);
}

#[tokio::test]
async fn a_failing_handler_stops_the_consumer_and_nothing_is_lost_or_repeated() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 20, 0..10).await;
    let seen = Arc::new(Seen::default());
    let broken = Arc::new(AtomicBool::new(true));
    let handler = Handler {
        fail_at: Some(5),
        broken: broken.clone(),
        ..Handler::of(&seen)
    };
    let consumer = consumer_with(&broker, |config| config.retry = RetryPolicy::none());
    consumer.start(handler.clone()).await.expect("started");
    let error = timeout(PATIENCE, consumer.wait())
        .await
        .expect("ends by itself")
        .expect_err("the handler's failure");
    assert!(
        matches!(&error, ConsumerError::Handler { event_type: Some(name), .. } if name == EmailReceived::TYPE),
        "{error}"
    );
    assert!(error.to_string().contains("no room left"), "{error}");
    assert!(!consumer.is_running());
    broken.store(false, Ordering::Relaxed);
    consumer.start(handler).await.expect("started again");
    seen.until(200).await;
    consumer.stop().await.expect("stopped well");
    seen.assert_once_and_in_order(20, 10);
}

#[tokio::test]
async fn a_stop_in_the_middle_repeats_nothing_after_the_restart() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 40, 0..10).await;
    let seen = Arc::new(Seen::default());
    let handler = Handler {
        work: Duration::from_millis(3),
        ..Handler::of(&seen)
    };
    for stop_at in [30, 90, 150, 210, 400] {
        let consumer = consumer(&broker);
        consumer.start(handler.clone()).await.expect("started");
        seen.until(stop_at).await;
        consumer.close().await.expect("stopped well");
    }
    seen.assert_once_and_in_order(40, 10);
}

#[tokio::test]
async fn cut_connections_hold_nothing_up_for_good() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let consumer = consumer(&broker);
    consumer.start(Handler::of(&seen)).await.expect("started");
    for round in 0..5 {
        send_numbers(&producer, 20, round * 10..(round + 1) * 10).await;
        broker.disconnect_all();
        sleep(Duration::from_millis(20)).await;
    }
    seen.until(1_000).await;
    consumer.stop().await.expect("stopped well");
    seen.assert_once_and_in_order(20, 50);
}
