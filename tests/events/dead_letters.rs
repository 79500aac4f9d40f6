//! Records that are given up, and where they are found again.

use super::*;
use pat_events::events::{DeadLetter, FailureClass, LeftOut, OnTooLarge, dead_letter};
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
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
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
                    .map(|header| (header.key_bytes.to_vec(), header.value.map(<[u8]>::to_vec)))
                    .collect();
                let headers_of = record.headers.iter();
                let says = DeadLetter::parse(headers_of.map(|header| (header.key, header.value)));
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
        // No text: nobody holds clients to that.
        Header::raw(b"odd\xff\xfe", Some(b"name")),
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
        .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)))
        .collect();
    let (key, bytes, with, says) = &found[0];
    assert_eq!((key.as_deref(), bytes), (Some(&b"e-1"[..]), &Some(value)));
    assert_eq!(with[..5], sent);
    assert!(
        with[5..]
            .iter()
            .all(|(name, _)| name.starts_with(dead_letter::PREFIX.as_bytes()))
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

/// Finds every email poison; what cannot be decoded is poison by default.
struct Poisoned;

impl InboxHandler for Poisoned {
    async fn handle_email_received(
        &self,
        _: &Context<'_>,
        _: EmailReceived,
    ) -> Result<(), HandlerError> {
        Err(HandlerError::poison("odd"))
    }
}

async fn poisoned(
    broker: &Broker,
    change: impl FnOnce(&mut ConsumerConfig),
) -> EventConsumer<InboxEvents> {
    let mut config = ConsumerConfig::new(&broker.bootstrap_servers(), TOPIC, "test");
    config.auto_offset_reset = OffsetReset::Earliest;
    config.on_failure = OnFailure::DeadLetter;
    change(&mut config);
    let consumer = EventConsumer::new(config).expect("a good configuration");
    consumer.start(Poisoned).await.expect("started");
    consumer
}

/// The topic of dead letters, for such as have a thousand bytes at the most.
fn create_small(broker: &Broker) {
    let small = [("max.message.bytes", "1000")];
    let created = broker.create_topic_with(DEAD, 3, &small);
    created.expect("a new topic");
}

/// Bytes that no codec makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

async fn send_large(broker: &Broker, key: &[u8], value: &[u8], header: &[u8]) {
    let config = pat_events::kafka::ProducerConfig::new(&broker.bootstrap_servers());
    let producer = Producer::connect(config).await.expect("connected");
    let headers = [
        Header::new("ce_type", EmailReceived::TYPE.as_bytes()),
        Header::new("more", header),
    ];
    let record = Record::new(TOPIC).partition(0).key(key).value(value);
    producer.send(record.headers(&headers)).await.expect("sent");
}

#[tokio::test]
async fn a_dead_letter_too_large_for_its_topic_is_written_without_what_its_origin_still_has() {
    let broker = broker().await;
    create_small(&broker);
    let consumer = poisoned(&broker, |_| {}).await;
    let large = noise(3_000);
    // Only its batch is large, until it is compressed.
    send_large(&broker, b"a", &[7; 3_000], b"").await;
    send_large(&broker, b"b", &large, b"kept").await;
    send_large(&broker, b"c", &large, &large).await;
    let mut found = dead_letters(&broker, 3).await;
    consumer.stop().await.expect("stopped well");
    found.sort_by_key(|(.., says)| says.offset);
    let (_, value, ..) = &found[0];
    assert_eq!(value.as_deref(), Some(&[7; 3_000][..]));
    let (key, value, headers, says) = &found[1];
    assert_eq!((key.as_deref(), value), (Some(&b"b"[..]), &None));
    assert_eq!((says.left_out, says.value_bytes), (LeftOut::Value, 3_000));
    assert_eq!((&*says.topic, says.partition, says.offset), (TOPIC, 0, 1));
    assert_eq!(headers[1], (b"more".to_vec(), Some(b"kept".to_vec())));
    let (key, value, headers, says) = &found[2];
    assert_eq!((key.as_deref(), value), (Some(&b"c"[..]), &None));
    assert_eq!(says.left_out, LeftOut::ValueAndHeaders);
    assert!(headers[0].0.starts_with(dead_letter::PREFIX.as_bytes()));
    let metrics = consumer.metrics();
    let counted = (metrics.dead_lettered, metrics.dead_letters_reduced);
    assert_eq!((counted, metrics.dead_letter_failures), ((3, 2), 0));
    assert_eq!(committed(&broker), 3);
}

#[tokio::test]
async fn one_that_is_too_large_stops_the_consumer_where_that_is_said_or_nothing_can_be_left_out() {
    for (on_too_large, key, value) in [
        (OnTooLarge::Stop, b"a".to_vec(), noise(3_000)),
        (OnTooLarge::LeaveOut, noise(3_000), b"small".to_vec()),
    ] {
        let broker = broker().await;
        create_small(&broker);
        let consumer = poisoned(&broker, |config| config.on_too_large = on_too_large).await;
        send_large(&broker, &key, &value, b"").await;
        let ended = timeout(PATIENCE, consumer.wait()).await.expect("an end");
        let error = ended.expect_err("too large");
        assert!(
            matches!(&error, ConsumerError::DeadLetterTooLarge { offset: 0, .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains("emails-0 offset 0") && text.contains("max.message.bytes"),
            "{text}"
        );
        assert_eq!(committed(&broker), 0);
    }
}

#[tokio::test]
async fn a_pattern_that_matches_the_topic_of_its_own_dead_letters_does_not_read_them() {
    let broker = broker().await;
    broker.create_topic(DEAD, 3).expect("a new topic");
    let producer = producer(&broker).await;
    send_numbers(&producer, 3, 7..8).await;
    let consumer = poisoned(&broker, |config| config.topics = vec!["^emails".into()]).await;
    dead_letters(&broker, 3).await;
    // Time enough for a member that has their topic to read them.
    sleep(Duration::from_millis(300)).await;
    let metrics = consumer.metrics();
    assert_eq!((metrics.received, metrics.dead_lettered), (3, 3));
    consumer.stop().await.expect("stopped well");
}

#[test]
fn dead_letters_are_not_written_where_they_are_read() {
    let mut named = ConsumerConfig::new("a:1", "emails,dead", "g");
    named.dead_letter_topic = Some("dead".into());
    let mut by_default = ConsumerConfig::new("a:1", "emails,emails.dlq", "g");
    by_default.on_failure = OnFailure::DeadLetter;
    for (config, topic) in [(named, "dead"), (by_default.clone(), DEAD)] {
        let error = EventConsumer::<EmailEvents>::new(config).expect_err("a circle");
        let text = error.to_string();
        assert!(
            text.contains(&format!("dead.letter.topic = {topic}")),
            "{text}"
        );
    }
    by_default.on_failure = OnFailure::Stop;
    EventConsumer::<EmailEvents>::new(by_default).expect("it writes none");
}

pat_events::events::event_set! {
    enum InboxEvents, producer InboxProducer, handler InboxHandler { EmailReceived; }
}
