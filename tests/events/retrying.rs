//! Events whose handlers fail and are called again.

use super::*;

#[tokio::test]
async fn an_event_that_waits_for_its_next_attempt_holds_up_its_key_and_is_not_committed() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let broken = Arc::new(AtomicBool::new(true));
    let handler = Handler {
        fail_at: Some(0),
        broken: broken.clone(),
        ..Handler::of(&seen)
    };
    let retrying = |config: &mut ConsumerConfig| {
        let (first, longest) = (Duration::from_millis(10), Duration::from_millis(200));
        config.retry = RetryPolicy::up_to(usize::MAX >> 33).backoff(first, longest);
    };
    // Number 0 of the first key fails; behind it come 1 and 2 of all keys.
    send_numbers(&producer, 1, 0..1).await;
    send_numbers(&producer, 10, 1..3).await;
    let consumer = consumer_with(&broker, retrying);
    consumer.start(handler.clone()).await.expect("started");
    seen.until(18).await;
    sleep(Duration::from_secs(1)).await;
    let metrics = consumer.metrics();
    assert!((5..40).contains(&metrics.retried), "{}", metrics.retried);
    assert_eq!((metrics.handled, metrics.failed, metrics.lag), (18, 0, 3));
    // It is not waited for.
    consumer.stop().await.expect("stopped well");
    assert_eq!(seen.handled.load(Ordering::Relaxed), 18);

    let consumer = consumer_with(&broker, retrying);
    consumer.start(handler).await.expect("started");
    sleep(Duration::from_millis(300)).await;
    broken.store(false, Ordering::Relaxed);
    seen.until(21).await;
    consumer.stop().await.expect("stopped well");
    assert_eq!(
        consumer.metrics().handled,
        3,
        "the others were finished before"
    );
    let by_key = seen.by_key.lock().expect("lock");
    for (key, numbers) in by_key.iter() {
        let first = if key == "e-0" { 0 } else { 1 };
        assert_eq!(*numbers, (first..3).collect::<Vec<u32>>(), "{key}");
    }
}
