//! Handlers of several events at once: order per key, failures of some of them, what is in no batch, and how large batches are.

use pat_events::events::{
    AnyEvent, Batch, BatchError, BatchHandler, FailureClass, OnUnknown, each_batch,
};

use super::*;

/// Notes what it finished, by key, and how large its batches were. Fails as it is told, by key, number and attempt.
#[derive(Clone)]
struct Table {
    rows: Arc<Mutex<BTreeMap<String, Vec<u32>>>>,
    /// The events of each call, by key and number.
    calls: Arc<Mutex<Vec<Numbered>>>,
    fails: fn(&str, u32, u32) -> Option<HandlerError>,
}

impl Table {
    fn new(fails: fn(&str, u32, u32) -> Option<HandlerError>) -> Self {
        Self {
            rows: Arc::default(),
            calls: Arc::default(),
            fails,
        }
    }

    fn largest(&self) -> usize {
        let calls = self.calls.lock().expect("lock");
        calls.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// How many rows there are.
    fn len(&self) -> usize {
        self.rows.lock().expect("lock").values().map(Vec::len).sum()
    }
}

type Numbered = Vec<(String, u32)>;

fn number_of(event: &EmailEvents) -> (String, u32) {
    let EmailEvents::EmailReceived(event) = event else {
        panic!("{}", event.event_type());
    };
    let number = event.subject.parse().expect("a number");
    (event.email_id.clone(), number)
}

impl BatchHandler<EmailEvents> for Table {
    async fn handle_batch(&self, batch: Batch<'_, EmailEvents>) -> Result<(), BatchError> {
        let events: Vec<_> = batch.iter().map(|(_, event)| number_of(event)).collect();
        self.calls.lock().expect("lock").push(events.clone());
        sleep(Duration::from_millis(2)).await;
        let mut rows = self.rows.lock().expect("lock");
        let (mut failed, mut failed_keys) = (Vec::new(), Vec::new());
        for (place, ((key, number), (context, _))) in events.into_iter().zip(batch).enumerate() {
            match (self.fails)(&key, number, context.attempt()) {
                Some(error) => {
                    failed.push((place, error));
                    failed_keys.push(key);
                }
                // What is behind it comes again.
                None if failed_keys.contains(&key) => {}
                None => rows.entry(key).or_default().push(number),
            }
        }
        BatchError::of(failed)
    }
}

async fn until(consumer: &EventConsumer<EmailEvents>, is_so: impl Fn() -> bool) {
    let reached = async {
        while !is_so() {
            assert!(consumer.is_running(), "{:?}", consumer.wait().await);
            sleep(Duration::from_millis(5)).await;
        }
    };
    (timeout(PATIENCE, reached).await).unwrap_or_else(|_| panic!("{:?}", consumer.metrics()));
}

fn quickly(config: &mut ConsumerConfig) {
    let (first, longest) = (Duration::from_millis(5), Duration::from_millis(50));
    config.retry = RetryPolicy::up_to(5).backoff(first, longest);
}

#[tokio::test]
async fn each_event_of_a_batch_is_finished_or_tried_again_by_itself_in_the_order_of_its_key() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 20, 0..30).await;
    // Some keys fail now and then, and one of them always with the same number.
    let table = Table::new(|key, number, attempt| match (key, number) {
        ("e-3" | "e-4", 0 | 7 | 29) if attempt <= 2 => Some(HandlerError::transient("locked")),
        ("e-5", 11) => Some(HandlerError::poison("no number")),
        _ => None,
    });
    broker.create_topic("emails.dlq", 3).expect("a new topic");
    let consumer = consumer_with(&broker, |config| {
        quickly(config);
        config.on_failure = OnFailure::DeadLetter;
        config.batch.max_events = 64;
        config.batch.linger = Duration::from_millis(20);
    });
    consumer
        .start_batches(table.clone())
        .await
        .expect("started");
    until(&consumer, || {
        table.len() == 20 * 30 - 1 && consumer.metrics().lag == 0
    })
    .await;
    consumer.stop().await.expect("stopped well");
    let metrics = consumer.metrics();
    assert_eq!((metrics.handled, metrics.retried), (599, 2 * 3 * 2));
    assert_eq!((metrics.dead_lettered, metrics.failed), (1, 1));
    for (key, numbers) in table.rows.lock().expect("lock").iter() {
        let expected = (0..30).filter(|number| !(key == "e-5" && *number == 11));
        assert_eq!(*numbers, expected.collect::<Vec<u32>>(), "{key}");
    }
    assert!((2..=64).contains(&table.largest()), "{}", table.largest());
    assert_eq!(committed(&broker), 600);
}

#[tokio::test]
async fn a_batch_that_fails_as_a_whole_is_tried_one_by_one_so_that_the_culprit_is_alone() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    static ROWS: AtomicUsize = AtomicUsize::new(0);
    let broker = broker().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 30, 0..1).await;
    let consumer = consumer_with(&broker, |config| {
        quickly(config);
        config.on_failure = OnFailure::skip(|context, error| {
            assert_eq!(context.key(), Some(&b"e-7"[..]), "{error}");
        });
        config.batch.linger = Duration::from_millis(200);
        config.concurrency = 1;
    });
    let handler = each_batch(|events: Vec<EmailEvents>| async move {
        CALLS.fetch_add(1, Ordering::Relaxed);
        if events.iter().any(|event| event.key() == Some(b"e-7")) {
            return Err(std::io::Error::other("the transaction was rolled back").into());
        }
        ROWS.fetch_add(events.len(), Ordering::Relaxed);
        Ok(())
    });
    consumer.start_batches(handler).await.expect("started");
    until(&consumer, || {
        consumer.metrics().handled == 29 && consumer.metrics().failed == 1
    })
    .await;
    consumer.stop().await.expect("stopped well");
    assert_eq!(ROWS.load(Ordering::Relaxed), 29);
    // At first few with many; then each of those that failed once by itself, and the one that always fails as often as it may.
    let calls = CALLS.load(Ordering::Relaxed);
    assert!((7..=30 + 6 + 3).contains(&calls), "{calls}");
    assert_eq!(committed(&broker), 30);
}

#[tokio::test]
async fn what_cannot_be_read_is_in_no_batch_and_stands_in_its_place_among_those_of_its_key() {
    let broker = broker().await;
    let raw = Producer::connect(pat_events::kafka::ProducerConfig::new(
        &broker.bootstrap_servers(),
    ));
    let raw = raw.await.expect("connected");
    let producer = producer(&broker).await;
    let send = async |number| {
        let event = email("e-1", number);
        producer.send_email_received(&event).await.expect("sent");
    };
    let garbage = Record::new(TOPIC).key(b"e-1").value(b"no event");
    let unknown = [
        Header::new("ce_specversion", b"1.0"),
        Header::new("ce_id", b"1"),
        Header::new("ce_source", b"test"),
        Header::new("ce_type", b"api.events.v9.Unheard"),
    ];
    let unknown = Record::new(TOPIC).key(b"e-1").value(b"").headers(&unknown);
    send(0).await;
    raw.send(garbage).await.expect("sent");
    send(1).await;
    raw.send(unknown).await.expect("sent");
    send(2).await;
    let skipped = Arc::new(AtomicUsize::new(0));
    let counted = skipped.clone();
    let table = Table::new(|_, number, attempt| {
        (number == 0 && attempt == 1).then(|| HandlerError::transient("locked"))
    });
    let consumer = consumer_with(&broker, |config| {
        quickly(config);
        config.on_unknown = OnUnknown::Skip;
        config.batch.linger = Duration::from_millis(100);
        config.on_failure = OnFailure::skip(move |_, error| {
            assert_eq!(error.class(), Some(FailureClass::Poison));
            counted.fetch_add(1, Ordering::Relaxed);
        });
    });
    consumer
        .start_batches(table.clone())
        .await
        .expect("started");
    until(&consumer, || {
        table.len() == 3 && consumer.metrics().lag == 0
    })
    .await;
    consumer.stop().await.expect("stopped well");
    assert_eq!(table.rows.lock().expect("lock")["e-1"], [0, 1, 2]);
    assert_eq!(skipped.load(Ordering::Relaxed), 1);
    let metrics = consumer.metrics();
    assert_eq!((metrics.unknown, metrics.undecodable), (1, 1));
    assert_eq!(committed(&broker), 5);
}

#[tokio::test]
async fn batches_are_as_large_as_they_may_and_wait_no_longer_than_they_may() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 1, 0..100).await;
    let table = Table::new(|_, _, _| None);
    let consumer = consumer_with(&broker, |config| {
        config.batch.max_events = 30;
        // A batch that is full does not wait.
        config.batch.linger = Duration::from_secs(1);
    });
    let begun = std::time::Instant::now();
    consumer
        .start_batches(table.clone())
        .await
        .expect("started");
    until(&consumer, || table.len() == 90).await;
    assert_eq!(table.largest(), 30);
    until(&consumer, || table.len() == 100).await;
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "the last ten had to wait"
    );
    consumer.stop().await.expect("stopped well");

    let table = Table::new(|_, _, _| None);
    let small = consumer_with(&broker, |config| {
        config.group_id = "small".to_string();
        config.batch.max_bytes = 1_000;
    });
    small.start_batches(table.clone()).await.expect("started");
    until(&small, || table.len() == 100).await;
    small.stop().await.expect("stopped well");
    assert!((1..10).contains(&table.largest()), "{}", table.largest());
    assert_eq!(
        table.rows.lock().expect("lock")["e-0"],
        (0..100).collect::<Vec<_>>()
    );
}

/// Deaths are counted: nothing is handled before a commit says that its partition is open.
#[tokio::test]
async fn the_first_events_of_a_partition_are_in_batches_too() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 30, 0..2).await;
    // What is known of how the partition was left does not matter: nothing of it, and that it is closed.
    for round in 1..=2 {
        let table = Table::new(|_, _, _| None);
        let consumer = consumer_with(&broker, |config| {
            config.batch.linger = Duration::from_secs(6);
            config.batch.max_events = 60;
        });
        consumer
            .start_batches(table.clone())
            .await
            .expect("started");
        until(&consumer, || table.len() == 60).await;
        consumer.stop().await.expect("stopped well");
        assert_eq!(table.largest(), 60, "all at once");
        assert_eq!(committed(&broker), 60 * round);
        send_numbers(&producer, 30, 2..4).await;
    }
}

#[tokio::test]
async fn a_batch_that_lingers_or_is_handled_when_the_consumer_stops_is_over_in_time() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 3, 0..1).await;
    let table = Table::new(|_, _, _| None);
    let consumer = consumer_with(&broker, |config| {
        config.batch.linger = Duration::from_secs(600);
    });
    consumer
        .start_batches(table.clone())
        .await
        .expect("started");
    until(&consumer, || consumer.metrics().received == 3).await;
    let stopping = timeout(PATIENCE, consumer.stop()).await;
    stopping.expect("it does not wait").expect("stopped well");
    assert_eq!((table.len(), committed(&broker)), (0, 0));

    let stuck = consumer_with(&broker, |config| {
        config.handler_timeout = Some(Duration::from_millis(50));
        config.retry = RetryPolicy::none();
        config.on_failure = OnFailure::skip(|_, _| {});
    });
    let handler = each_batch(|_: Vec<EmailEvents>| std::future::pending());
    stuck.start_batches(handler).await.expect("started");
    until(&stuck, || stuck.metrics().failed == 3).await;
    stuck.stop().await.expect("stopped well");
    assert_eq!(committed(&broker), 3);
}
