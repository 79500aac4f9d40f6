//! Records that are given up, and where they are found again.

use super::*;
use pat_events::events::{DeadLetter, FailureClass, dead_letter};
use pat_events::kafka::ConsumerConfig as RawConfig;

const DEAD: &str = "emails.dlq";

fn dead_lettering(config: &mut ConsumerConfig) {
    config.on_failure = OnFailure::DeadLetter;
    config.retry =
        RetryPolicy::up_to(2).backoff(Duration::from_millis(1), Duration::from_millis(5));
}

/// What was in a dead letter: key, value, headers, what it says.
type Found = (
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(String, Option<Vec<u8>>)>,
    DeadLetter,
);

/// Waits for `count` dead letters, of all partitions.
async fn dead_letters(broker: &Broker, count: usize) -> Vec<Found> {
    let config = RawConfig::new(&broker.bootstrap_servers(), "");
    let mut config = config;
    config.group_id = None;
    let mut consumer = Consumer::connect(config).await.expect("connected");
    let partitions: Vec<_> = (0..3)
        .map(|partition| (TopicPartition::new(DEAD, partition), StartOffset::Earliest))
        .collect();
    consumer.assign(&partitions).await.expect("assigned");
    let mut found = Vec::new();
    let reading = async {
        while found.len() < count {
            let records = consumer
                .poll(Duration::from_millis(100))
                .await
                .expect("polled");
            for record in records.iter() {
                let headers: Vec<_> = record
                    .headers
                    .iter()
                    .map(|header| (header.key.into_owned(), header.value.map(<[u8]>::to_vec)))
                    .collect();
                let says =
                    DeadLetter::parse(headers.iter().map(|(name, value)| (name, value.as_deref())));
                found.push((
                    record.key.map(<[u8]>::to_vec),
                    record.value.map(<[u8]>::to_vec),
                    headers,
                    says.expect("a dead letter"),
                ));
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("they come");
    found
}

#[tokio::test]
async fn a_dead_letter_is_the_record_untouched_with_its_origin_and_failure_behind() {
    let broker = broker().await;
    broker.create_topic(DEAD, 3).expect("a new topic");
    let producer = Producer::connect(pat_events::kafka::ProducerConfig::new(
        &broker.bootstrap_servers(),
    ))
    .await
    .expect("connected");
    let event = email("e-1", 7);
    let value = event.encode_to_vec();
    let headers = [
        Header::new("ce_type", EmailReceived::TYPE.as_bytes()),
        Header::null("empty"),
        Header::new("twice", b"1"),
        Header::new("twice", b"\xff\0"),
    ];
    let at = Record::new(TOPIC).partition(1).timestamp_ms(1_000);
    for record in [
        at.key(b"e-1").value(&value).headers(&headers),
        at.key(b"e-1").value(b"\xff\xff").headers(&headers),
        at.value(b"plain"),
    ] {
        producer.send(record).await.expect("sent");
    }
    let handler = Handler {
        fail_at: Some(7),
        broken: Arc::new(AtomicBool::new(true)),
        ..Handler::default()
    };
    // Without the methods of the tests' own handler for what cannot be read.
    struct Plain(Handler);
    impl InboxHandler for Plain {
        async fn handle_email_received(
            &self,
            context: &Context<'_>,
            event: EmailReceived,
        ) -> Result<(), HandlerError> {
            self.0.handle_email_received(context, event).await
        }
    }
    let mut config = ConsumerConfig::new(&broker.bootstrap_servers(), TOPIC, "test");
    config.auto_offset_reset = OffsetReset::Earliest;
    dead_lettering(&mut config);
    let consumer = EventConsumer::<InboxEvents>::new(config).expect("a good configuration");
    consumer.start(Plain(handler)).await.expect("started");
    let mut found = dead_letters(&broker, 3).await;
    found.sort_by_key(|(.., says)| says.offset);
    consumer.stop().await.expect("stopped well");
    assert_eq!(committed(&broker), 3);
    let metrics = consumer.metrics();
    assert_eq!(
        (metrics.dead_lettered, metrics.failed, metrics.retried),
        (3, 3, 2)
    );
    let sent: Vec<_> = headers
        .iter()
        .map(|header| {
            let name = String::from_utf8_lossy(header.key).into_owned();
            (name, header.value.map(<[u8]>::to_vec))
        })
        .collect();
    let (key, bytes, with, says) = &found[0];
    assert_eq!((key.as_deref(), bytes), (Some(&b"e-1"[..]), &Some(value)));
    assert_eq!(with[..4], sent);
    assert!(
        with[4..]
            .iter()
            .all(|(name, _)| name.starts_with(dead_letter::PREFIX))
    );
    assert_eq!(
        (&*says.topic, says.partition, says.offset, says.timestamp_ms),
        (TOPIC, 1, 0, 1_000)
    );
    assert_eq!((&*says.group, says.attempts), ("test", 3));
    assert_eq!(
        (says.class, &*says.message),
        (FailureClass::Transient, "no room left")
    );
    assert!(0 < says.first_failure_ms && says.first_failure_ms <= says.last_failure_ms);
    let (_, bytes, _, says) = &found[1];
    assert_eq!(bytes.as_deref(), Some(&b"\xff\xff"[..]));
    assert_eq!((says.class, says.attempts), (FailureClass::Poison, 1));
    assert!(says.error_type.ends_with("Undecodable"), "{says:?}");
    let (key, bytes, _, says) = &found[2];
    assert_eq!((key, bytes.as_deref()), (&None, Some(&b"plain"[..])));
    assert!(says.message.contains("no event"), "{says:?}");
}

#[tokio::test]
async fn while_the_dead_letter_topic_fails_only_the_key_waits_and_nothing_is_lost() {
    let broker = broker().await;
    broker.create_topic(DEAD, 3).expect("a new topic");
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    // Number 0 of the first key fails; behind it come 1 and 2 of all keys.
    send_numbers(&producer, 1, 0..1).await;
    send_numbers(&producer, 10, 1..3).await;
    let refused = FaultAction::Answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    broker.inject(Fault::on(ApiKey::PRODUCE, refused).always());
    let consumer = consumer_with(&broker, dead_lettering);
    let handler = Handler {
        fail_at: Some(0),
        broken: Arc::new(AtomicBool::new(true)),
        ..Handler::of(&seen)
    };
    consumer.start(handler.clone()).await.expect("started");
    seen.until(18).await;
    let failing = async {
        while consumer.metrics().dead_letter_failures < 2 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, failing).await.expect("it is told");
    let metrics = consumer.metrics();
    assert_eq!(
        (metrics.handled, metrics.dead_lettered, metrics.lag),
        (18, 0, 3)
    );
    // It is not waited for; the next one begins with it again.
    consumer.stop().await.expect("stopped well");
    assert_eq!(seen.handled.load(Ordering::Relaxed), 18);
    let consumer = consumer_with(&broker, dead_lettering);
    consumer.start(handler).await.expect("started");
    sleep(Duration::from_millis(300)).await;
    assert_eq!(consumer.metrics().dead_lettered, 0);
    broker.clear_faults();
    let found = dead_letters(&broker, 1).await;
    assert_eq!(found[0].0.as_deref(), Some(&b"e-0"[..]));
    seen.until(20).await;
    consumer.stop().await.expect("stopped well");
    let metrics = consumer.metrics();
    assert_eq!(
        (metrics.dead_lettered, metrics.handled, metrics.lag),
        (1, 2, 0)
    );
    assert_eq!(committed(&broker), 21);
}

#[test]
fn dead_letters_are_not_written_where_they_are_read() {
    let mut config = ConsumerConfig::new("a:1", "emails,dead", "g");
    config.dead_letter_topic = Some("dead".into());
    let error = EventConsumer::<EmailEvents>::new(config).expect_err("a circle");
    assert!(
        error.to_string().contains("dead.letter.topic = dead"),
        "{error}"
    );
}

pat_events::events::event_set! {
    enum InboxEvents, producer InboxProducer, handler InboxHandler { EmailReceived; }
}
