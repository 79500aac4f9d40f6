//! Retry topics: events that failed too often in place wait there, and each key stays in order whatever becomes of its members.

use super::*;
use pat_events::events::{
    Batch, BatchError, BatchHandler, DeadLetterFilter, DeadLetters, ReplayOptions, RetryTopics,
    dead_letter,
};
use pat_events::kafka::observe::{ClientEvent, Observer};
use pat_events::kafka::{Client, ClientConfig};

const DEAD: &str = "emails.dlq";
/// How many attempts there are: one in place, and one in each retry topic.
const ATTEMPTS: u32 = 3;

fn topics() -> RetryTopics {
    RetryTopics::after([100, 400].map(Duration::from_millis))
}

fn retrying(config: &mut ConsumerConfig) {
    config.retry = RetryPolicy::none();
    config.retry.budget_per_second = 100_000;
    config.circuit.failure_percent = 0;
    config.retry_topics = topics();
    config.on_failure = OnFailure::DeadLetter;
    config.kafka.heartbeat_interval = Duration::from_millis(200);
}

async fn client(broker: &Broker) -> Client {
    let config = ClientConfig::new(&broker.bootstrap_servers());
    Client::connect(config).await.expect("connected")
}

async fn with_topics() -> Broker {
    let broker = broker().await;
    broker.create_topic(DEAD, 3).expect("a new topic");
    let client = client(&broker).await;
    let created = topics().create(&client, TOPIC, "test").await;
    let names = ["emails.retry.100ms", "emails.retry.400ms"];
    assert_eq!(created.expect("created"), names);
    broker
}

/// Fails with each event as often as its number says: with every seventh once, and so on; notes what went well, in order.
#[derive(Clone, Default)]
struct Failing {
    seen: Arc<Seen>,
    /// Nothing fails any more.
    is_mended: Arc<AtomicBool>,
    odd: Arc<AtomicUsize>,
    /// How many calls have begun that were not the first.
    again: Arc<AtomicUsize>,
    /// How long a handler takes beyond a moment.
    work: Duration,
}

impl Failing {
    fn of(seen: &Arc<Seen>) -> Self {
        Self {
            seen: seen.clone(),
            ..Self::default()
        }
    }

    fn failures(number: u32) -> u32 {
        match number {
            _ if number % 23 == 5 => ATTEMPTS,
            _ if number % 11 == 3 => 2,
            _ if number.is_multiple_of(7) => 1,
            _ => 0,
        }
    }

    /// Those of `numbers` that become dead letters.
    fn dead(numbers: std::ops::Range<u32>) -> usize {
        numbers.filter(|it| Self::failures(*it) >= ATTEMPTS).count()
    }

    fn try_it(&self, context: &Context<'_>, event: &EmailReceived) -> Result<(), HandlerError> {
        let number: u32 = event.subject.parse()?;
        let is_own = context.topic() == TOPIC
            && (context.record().headers.iter()).all(|(name, _)| !name.starts_with("retry."));
        self.odd.fetch_add(usize::from(!is_own), Ordering::Relaxed);
        if context.attempt() <= Self::failures(number) && !self.is_mended.load(Ordering::Relaxed) {
            return Err(HandlerError::transient("not now"));
        }
        let mut by_key = self.seen.by_key.lock().expect("lock");
        by_key
            .entry(event.email_id.clone())
            .or_default()
            .push(number);
        drop(by_key);
        self.seen.note(context);
        Ok(())
    }
}

pat_events::events::event_set! {
    enum Received, producer ReceivedProducer, handler ReceivedHandler { EmailReceived; }
}

impl ReceivedHandler for Failing {
    async fn handle_email_received(
        &self,
        context: &Context<'_>,
        event: EmailReceived,
    ) -> Result<(), HandlerError> {
        let is_again = usize::from(context.attempt() > 1);
        self.again.fetch_add(is_again, Ordering::Relaxed);
        sleep(Duration::from_millis(1) + self.work).await;
        self.try_it(context, &event)
    }
}

impl BatchHandler<Received> for Failing {
    async fn handle_batch(&self, batch: Batch<'_, Received>) -> Result<(), BatchError> {
        let mut failed = Vec::new();
        let mut behind = Vec::new();
        for (place, (context, event)) in batch.iter().enumerate() {
            let Received::EmailReceived(event) = event;
            if behind.contains(&event.email_id) {
                continue;
            }
            if let Err(error) = self.try_it(context, event) {
                failed.push((place, error));
                behind.push(event.email_id.clone());
            }
        }
        BatchError::of(failed)
    }
}

fn received(broker: &Broker, change: impl FnOnce(&mut ConsumerConfig)) -> EventConsumer<Received> {
    let mut config = ConsumerConfig::new(&broker.bootstrap_servers(), TOPIC, "test");
    config.auto_offset_reset = OffsetReset::Earliest;
    config.session_timeout = Duration::from_secs(45);
    retrying(&mut config);
    change(&mut config);
    EventConsumer::new(config).expect("a good configuration")
}

/// Each key has handled what does not become a dead letter, for the first time in order; `once`: nothing came again.
fn assert_in_order(seen: &Seen, keys: usize, numbers: std::ops::Range<u32>, once: bool) {
    let by_key = seen.by_key.lock().expect("lock");
    assert_eq!(by_key.len(), keys);
    let expected: Vec<u32> = numbers
        .filter(|number| Failing::failures(*number) < ATTEMPTS)
        .collect();
    for (key, handled) in by_key.iter() {
        let mut first = Vec::new();
        for number in handled {
            if !first.contains(number) {
                first.push(*number);
            }
        }
        assert_eq!(first, expected, "{key}: {handled:?}");
        assert!(
            !once || handled.len() == expected.len(),
            "{key}: {handled:?}"
        );
    }
}

/// Waits until nothing is under way, and everything in the topic is handled or dead.
async fn until_finished(broker: &Broker, consumer: &EventConsumer<Received>, events: i64) {
    let finished = async {
        while committed(broker) < events || consumer.metrics().retry_pending > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, finished).await.unwrap_or_else(|_| {
        panic!(
            "{} of {events} committed: {:?}",
            committed(broker),
            consumer.metrics()
        )
    });
}

fn dead_in(broker: &Broker) -> i64 {
    let ends = (0..3).filter_map(|partition| Some(broker.log(DEAD, partition)?.end_offset));
    ends.sum()
}

#[tokio::test]
async fn events_that_fail_again_and_again_keep_the_order_of_their_keys_and_end_as_dead_letters() {
    let broker = with_topics().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let handler = Failing::of(&seen);
    let consumer = received(&broker, |_| {});
    consumer.start(handler.clone()).await.expect("started");
    send_numbers(&producer, 12, 0..50).await;
    let dead = 12 * Failing::dead(0..50);
    seen.until(12 * 50 - dead).await;
    until_finished(&broker, &consumer, 600).await;
    consumer.stop().await.expect("stopped well");
    assert_in_order(&seen, 12, 0..50, true);
    let metrics = consumer.metrics();
    assert_eq!(metrics.dead_lettered as usize, dead);
    assert!(
        metrics.sent_to_retry > 0 && metrics.sent_behind > 0,
        "{metrics:?}"
    );
    assert_eq!(
        (metrics.retried, metrics.lag, metrics.retry_topic_failures),
        (0, 0, 0)
    );
    assert_eq!(
        handler.odd.load(Ordering::Relaxed),
        0,
        "they see the record as it was"
    );

    // What was given up stood in the topic itself, and is replayed into it.
    let client = client(&broker).await;
    let letters = DeadLetters::on(&client, DEAD);
    let all = DeadLetterFilter::default();
    let read = letters.read(&all, |_, letter| {
        assert_eq!((&*letter.topic, letter.attempts), (TOPIC, ATTEMPTS));
        assert!(0 < letter.first_failure_ms && letter.first_failure_ms < letter.last_failure_ms);
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(read.await.expect("read").selected as usize, dead);
    let replayed = letters.replay(&ReplayOptions::default()).await;
    assert_eq!(replayed.expect("sent").replayed as usize, dead);
    handler.is_mended.store(true, Ordering::Relaxed);
    let consumer = received(&broker, |_| {});
    consumer.start(handler).await.expect("started");
    seen.until(600).await;
    consumer.stop().await.expect("stopped well");
}

#[tokio::test]
async fn a_restart_finds_what_is_under_way_before_it_handles_anything() {
    let broker = with_topics().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let handler = Failing::of(&seen);
    send_numbers(&producer, 12, 0..25).await;
    let mut handled = 0;
    for round in 0..4 {
        let consumer = received(&broker, |_| {});
        consumer.start(handler.clone()).await.expect("started");
        handled += 40;
        seen.until(handled).await;
        if round == 2 {
            send_numbers(&producer, 12, 25..50).await;
        }
        consumer.stop().await.expect("stopped well");
    }
    let consumer = received(&broker, |_| {});
    consumer.start(handler).await.expect("started");
    seen.until(12 * (50 - Failing::dead(0..50))).await;
    until_finished(&broker, &consumer, 600).await;
    consumer.stop().await.expect("stopped well");
    assert_in_order(&seen, 12, 0..50, true);
    assert_eq!(dead_in(&broker) as usize, 12 * Failing::dead(0..50));
}

#[tokio::test]
async fn a_member_that_dies_leaves_nothing_that_its_successor_handles_out_of_order() {
    let broker = with_topics().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let handler = Failing::of(&seen);
    send_numbers(&producer, 12, 0..50).await;
    let quick = |config: &mut ConsumerConfig| {
        config.session_timeout = Duration::from_secs(6);
    };
    for handled in [100, 200] {
        let consumer = received(&broker, quick);
        consumer.start(handler.clone()).await.expect("started");
        seen.until(handled).await;
        // It neither commits nor leaves.
        drop(consumer);
    }
    let consumer = received(&broker, quick);
    consumer.start(handler).await.expect("started");
    let each = 50 - Failing::dead(0..50);
    let all = async {
        while !(seen.by_key.lock().expect("lock").values())
            .all(|it| it.iter().collect::<std::collections::BTreeSet<_>>().len() == each)
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("all are handled");
    until_finished(&broker, &consumer, 600).await;
    consumer.stop().await.expect("stopped well");
    assert_in_order(&seen, 12, 0..50, false);
}

#[tokio::test]
async fn partitions_that_go_to_another_member_take_what_is_under_way_along() {
    let broker = with_topics().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let handler = Failing::of(&seen);
    let first = received(&broker, |_| {});
    first.start(handler.clone()).await.expect("started");
    send_numbers(&producer, 12, 0..25).await;
    seen.until(60).await;
    let second = received(&broker, |_| {});
    second.start(handler.clone()).await.expect("started");
    send_numbers(&producer, 12, 25..50).await;
    seen.until(300).await;
    first.stop().await.expect("stopped well");
    seen.until(12 * (50 - Failing::dead(0..50))).await;
    until_finished(&broker, &second, 600).await;
    second.stop().await.expect("stopped well");
    assert_in_order(&seen, 12, 0..50, true);
    assert!(second.metrics().handled > 0);
}

#[tokio::test]
async fn batches_keep_the_order_of_keys_that_are_under_way() {
    let broker = with_topics().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    send_numbers(&producer, 12, 0..50).await;
    let consumer = received(&broker, |config| config.batch.max_events = 20);
    let handler = Failing::of(&seen);
    consumer.start_batches(handler).await.expect("started");
    until_finished(&broker, &consumer, 600).await;
    consumer.stop().await.expect("stopped well");
    assert_in_order(&seen, 12, 0..50, true);
    assert_eq!(dead_in(&broker) as usize, 12 * Failing::dead(0..50));
}

#[tokio::test]
async fn while_a_retry_topic_takes_nothing_only_its_keys_wait_and_nothing_is_lost() {
    let broker = with_topics().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    // Number 0 of the first key fails; behind it come 1 and 2 of all keys.
    send_numbers(&producer, 1, 0..1).await;
    send_numbers(&producer, 10, 1..3).await;
    let refused = FaultAction::Answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    broker.inject(Fault::on(ApiKey::PRODUCE, refused).always());
    let handler = Failing::of(&seen);
    let consumer = received(&broker, |_| {});
    consumer.start(handler.clone()).await.expect("started");
    seen.until(18).await;
    let failing = async {
        while consumer.metrics().retry_topic_failures < 2 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, failing).await.expect("it is told");
    let metrics = consumer.metrics();
    assert_eq!(
        (metrics.handled, metrics.sent_to_retry, metrics.lag),
        (18, 0, 3)
    );
    // It is not waited for; the next one begins with it again.
    consumer.stop().await.expect("stopped well");
    let consumer = received(&broker, |_| {});
    consumer.start(handler).await.expect("started");
    sleep(Duration::from_millis(300)).await;
    broker.clear_faults();
    seen.until(21).await;
    until_finished(&broker, &consumer, 21).await;
    consumer.stop().await.expect("stopped well");
    let by_key = seen.by_key.lock().expect("lock");
    assert_eq!(by_key["e-0"], [0, 1, 2]);
}

#[tokio::test]
async fn a_consumer_does_not_start_without_its_retry_topics() {
    let broker = broker().await;
    let start = async || {
        let consumer = received(&broker, |_| {});
        let error = consumer.start(Failing::default()).await;
        error.expect_err("one is missing").to_string()
    };
    let text = start().await;
    assert!(text.contains("emails.retry.100ms does not exist"), "{text}");
    broker
        .create_topic("emails.retry.100ms", 5)
        .expect("a new topic");
    broker
        .create_topic("emails.retry.400ms", 2)
        .expect("a new topic");
    let text = start().await;
    assert!(
        text.contains("emails.retry.400ms has 2 partitions"),
        "{text}"
    );
    let client = client(&broker).await;
    let created = topics().create(&client, TOPIC, "test").await;
    let text = created.expect_err("it has too few").to_string();
    assert!(
        text.contains("emails.retry.400ms has 2 partitions"),
        "{text}"
    );
    assert!(topics().create(&client, "nothing", "test").await.is_err());
}

#[tokio::test]
async fn groups_that_share_retry_topics_handle_each_its_own() {
    let broker = with_topics().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 6, 0..22).await;
    let groups = ["test", "other"].map(|group| {
        let seen = Arc::new(Seen::default());
        let consumer = received(&broker, |config| config.group_id = group.into());
        (seen, consumer)
    });
    for (seen, consumer) in &groups {
        consumer.start(Failing::of(seen)).await.expect("started");
    }
    for (seen, consumer) in &groups {
        seen.until(6 * (22 - Failing::dead(0..22))).await;
        until_finished(&broker, consumer, 132).await;
    }
    for (seen, consumer) in &groups {
        consumer.stop().await.expect("stopped well");
        assert_in_order(seen, 6, 0..22, true);
        assert_eq!(
            consumer.metrics().dead_lettered as usize,
            6 * Failing::dead(0..22)
        );
    }
}

#[tokio::test]
async fn a_pattern_that_matches_its_own_retry_topics_does_not_read_them() {
    let broker = with_topics().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 3, 0..22).await;
    let seen = Arc::new(Seen::default());
    let consumer = received(&broker, |config| config.topics = vec!["^emails".into()]);
    let handler = Failing::of(&seen);
    consumer.start(handler.clone()).await.expect("started");
    seen.until(3 * (22 - Failing::dead(0..22))).await;
    until_finished(&broker, &consumer, 66).await;
    consumer.stop().await.expect("stopped well");
    assert_in_order(&seen, 3, 0..22, true);
    assert_eq!(consumer.metrics().received, 66);
    assert_eq!(handler.odd.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_too_large_for_a_retry_topic_becomes_a_dead_letter_or_waits_for_its_key() {
    let broker = broker().await;
    broker.create_topic(DEAD, 3).expect("a new topic");
    let small = [("max.message.bytes", "1000")];
    for name in topics().names(TOPIC, "test") {
        broker
            .create_topic_with(&name, 3, &small)
            .expect("a new topic");
    }
    let producer = producer(&broker).await;
    // 0 fails once; what is behind it is large, and 5 fails for good.
    for number in 0..8 {
        let mut event = email("e-0", number);
        if number > 0 {
            let mut state = u64::from(number);
            let noise = std::iter::repeat_with(|| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                char::from(b'a' + (state >> 59) as u8 % 26)
            });
            event.tenant_id = noise.take(4_000).collect();
        }
        producer.send(&event).await.expect("sent");
    }
    let seen = Arc::new(Seen::default());
    let consumer = received(&broker, |_| {});
    consumer.start(Failing::of(&seen)).await.expect("started");
    // 3 fails as well, and is too large: it is given up at its first failure.
    seen.until(5).await;
    until_finished(&broker, &consumer, 8).await;
    consumer.stop().await.expect("stopped well");
    let handled = seen.by_key.lock().expect("lock")["e-0"].clone();
    assert_eq!(handled, [0, 1, 2, 4, 6], "7 fails once, and is too large");
    assert_eq!(dead_in(&broker), 3);
}

#[tokio::test]
async fn a_full_book_lets_events_wait_where_they_are() {
    let broker = with_topics().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    send_numbers(&producer, 12, 0..25).await;
    let consumer = received(&broker, |config| {
        config.retry_topics.max_pending = 2;
        config.retry.backoff_max = Duration::from_millis(20);
    });
    consumer.start(Failing::of(&seen)).await.expect("started");
    let mut most = 0;
    let finished = async {
        while committed(&broker) < 300 || consumer.metrics().retry_pending > 0 {
            most = most.max(consumer.metrics().retry_pending);
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, finished).await.expect("all are handled");
    consumer.stop().await.expect("stopped well");
    // Of each of the three partitions; workers at work may each add one to a book that just was not full.
    assert!((1..=3 * (2 + 16)).contains(&most), "{most}");
    assert!(consumer.metrics().retried > 0, "in place");
    let by_key = seen.by_key.lock().expect("lock");
    for (key, numbers) in by_key.iter() {
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
}

fn recreate(broker: &Broker, topics: &[&str]) {
    for topic in topics {
        assert!(broker.delete_topic(topic));
        broker.create_topic(topic, 3).expect("a new topic");
    }
}

/// As a consumer that hears of new topics soon, and whose observer notes what it is told.
fn attentive(broker: &Broker) -> (EventConsumer<Received>, Arc<Told>) {
    let told = Arc::new(Told::default());
    let consumer = received(broker, |config| {
        config.kafka.client.metadata_max_age = Duration::from_millis(200);
        config.kafka.client.observer = Some(told.clone());
    });
    (consumer, told)
}

/// Notes what is told of retry topics.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl Observer for Told {
    fn on_event(&self, event: &ClientEvent<'_>) {
        if event.kind() == "retry_topic_failed" {
            self.0.lock().expect("lock").push(event.to_string());
        }
    }
}

impl Told {
    fn count(&self, text: &str) -> usize {
        let told = self.0.lock().expect("lock");
        told.iter().filter(|it| it.contains(text)).count()
    }

    async fn until(&self, text: &str) {
        let is_told = async {
            while self.count(text) == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        (timeout(PATIENCE, is_told).await).unwrap_or_else(|_| panic!("{text}: {:?}", self.0));
    }
}

/// Each key has handled what it has in order, and of `numbers`, which are the last, all that does not become a dead letter.
fn assert_whole_from(seen: &Seen, keys: usize, numbers: std::ops::Range<u32>) {
    let by_key = seen.by_key.lock().expect("lock");
    assert_eq!(by_key.len(), keys);
    for (key, handled) in by_key.iter() {
        let mut known = std::collections::BTreeSet::new();
        let first = handled.iter().copied().filter(|it| known.insert(*it));
        let first: Vec<u32> = first.collect();
        assert!(first.is_sorted(), "{key}: {handled:?}");
        let last = first.into_iter().filter(|it| *it >= numbers.start);
        let well = (numbers.clone()).filter(|it| Failing::failures(*it) < ATTEMPTS);
        assert!(last.eq(well), "{key}: {handled:?}");
    }
}

/// Waits until each key has handled what of `numbers` does not become a dead letter. (While a chain begins again, nobody knows what is under way.)
async fn until_handled(seen: &Seen, keys: usize, numbers: std::ops::Range<u32>) {
    let well = (numbers.clone()).filter(|it| Failing::failures(*it) < ATTEMPTS);
    let well: Vec<u32> = well.collect();
    let is_done = || {
        let by_key = seen.by_key.lock().expect("lock");
        let mut each = by_key.values();
        by_key.len() == keys && each.all(|it| well.iter().all(|number| it.contains(number)))
    };
    let done = async {
        while !is_done() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let done = timeout(PATIENCE, done).await;
    done.unwrap_or_else(|_| panic!("{numbers:?}: {:?}", seen.by_key));
}

/// What waited there is gone with it; its keys, and what comes behind, are not.
#[tokio::test]
async fn a_consumer_reads_on_in_a_retry_topic_that_was_recreated() {
    let broker = with_topics().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let handler = Failing::of(&seen);
    let (consumer, told) = attentive(&broker);
    consumer.start(handler.clone()).await.expect("started");
    // Of each of the 12 keys some wait in each of the topics.
    send_numbers(&producer, 12, 0..16).await;
    seen.until(12).await;
    for (topic, numbers) in [
        ("emails.retry.400ms", 16..20),
        ("emails.retry.100ms", 20..24),
    ] {
        recreate(&broker, &[topic]);
        send_numbers(&producer, 12, numbers).await;
        told.until(topic).await;
    }
    send_numbers(&producer, 12, 24..36).await;
    until_finished(&broker, &consumer, 12 * 36).await;
    send_numbers(&producer, 12, 36..60).await;
    until_handled(&seen, 12, 36..60).await;
    until_finished(&broker, &consumer, 12 * 60).await;
    assert!(consumer.is_running(), "{:?}", consumer.metrics().last_error);
    consumer.stop().await.expect("stopped well");
    assert_whole_from(&seen, 12, 36..60);
    assert_eq!(handler.odd.load(Ordering::Relaxed), 0);
    assert!(told.count("what waited in it is gone") >= 2, "{:?}", told.0);
}

/// Both at once, and each again while its chain is beginning again.
#[tokio::test]
async fn retry_topics_that_are_recreated_again_and_again_hold_up_nothing_for_good() {
    let broker = with_topics().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let (consumer, told) = attentive(&broker);
    consumer.start(Failing::of(&seen)).await.expect("started");
    let both = ["emails.retry.100ms", "emails.retry.400ms"];
    let mut sent = 0;
    for round in 0..12 {
        send_numbers(&producer, 12, sent..sent + 4).await;
        sent += 4;
        recreate(
            &broker,
            &both[round % 3 / 2..][..1 + usize::from(round % 3 == 0)],
        );
        sleep(Duration::from_millis(37 * (round as u64 % 5))).await;
    }
    told.until("what waited in it is gone").await;
    until_finished(&broker, &consumer, 12 * i64::from(sent)).await;
    send_numbers(&producer, 12, sent..sent + 40).await;
    until_handled(&seen, 12, sent..sent + 40).await;
    until_finished(&broker, &consumer, 12 * i64::from(sent + 40)).await;
    consumer.stop().await.expect("stopped well");
    assert_whole_from(&seen, 12, sent..sent + 40);
}

#[tokio::test]
async fn what_is_at_work_of_a_retry_topic_that_is_gone_is_finished() {
    let broker = with_topics().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let (consumer, told) = attentive(&broker);
    // The first event of each key fails once.
    send_numbers(&producer, 12, 0..1).await;
    let handler = Failing {
        work: Duration::from_millis(700),
        ..Failing::of(&seen)
    };
    consumer.start(handler.clone()).await.expect("started");
    let at_work = async {
        while handler.again.load(Ordering::Relaxed) < 12 {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, at_work)
        .await
        .expect("all are tried again");
    recreate(&broker, &["emails.retry.100ms"]);
    told.until("emails.retry.100ms").await;
    send_numbers(&producer, 12, 1..3).await;
    until_handled(&seen, 12, 0..3).await;
    until_finished(&broker, &consumer, 12 * 3).await;
    consumer.stop().await.expect("stopped well");
    assert_in_order(&seen, 12, 0..3, true);
}

#[tokio::test]
async fn a_partition_that_is_added_waits_for_its_retry_partitions_and_says_so() {
    let broker = with_topics().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let (consumer, told) = attentive(&broker);
    consumer.start(Failing::of(&seen)).await.expect("started");
    send_numbers(&producer, 1, 1..3).await;
    seen.until(2).await;
    broker.add_partitions(TOPIC, 4).expect("more");
    let to_four = crate::producer(&broker).await;
    for key in 0..20 {
        let event = email(format!("a-{key}"), 1);
        to_four.send(&event).await.expect("sent");
    }
    let added = broker.log(TOPIC, 3).expect("a partition").end_offset;
    assert!(added > 0, "some are in the new partition");
    told.until("partition 3 of emails is not read until its retry topic emails.retry.100ms has a partition of that number")
        .await;
    let error = consumer.metrics().last_error.expect("it is an error");
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error}");
    seen.until(22 - added as usize).await;
    let handled = seen.handled.load(Ordering::Relaxed);
    assert_eq!(handled as i64, 22 - added);
    for topic in ["emails.retry.400ms", "emails.retry.100ms"] {
        broker.add_partitions(topic, 4).expect("more");
    }
    seen.until(22).await;
    consumer.stop().await.expect("stopped well");
}

#[test]
fn retry_topics_are_read_by_nobody_else() {
    let mut config = ConsumerConfig::new("a:1", "emails,emails.retry.400ms", "g");
    config.retry_topics = topics();
    let error = EventConsumer::<EmailEvents>::new(config).expect_err("a circle");
    let text = error.to_string();
    assert!(text.contains("retry.topics: emails.retry.400ms"), "{text}");
    let mut config = ConsumerConfig::new("a:1", "emails", "g");
    config.retry_topics = RetryTopics::after([400, 100].map(Duration::from_millis));
    let error = EventConsumer::<EmailEvents>::new(config).expect_err("they do not grow");
    assert!(error.to_string().starts_with("retry.topics ="), "{error}");
}

#[test]
fn the_headers_are_those_of_dead_letters_and_three_more() {
    assert!(dead_letter::NOT_BEFORE.starts_with("retry."));
    assert!(dead_letter::RETRY_STAGE.starts_with("retry."));
    assert!(dead_letter::ORIGIN_TOPIC_ID.starts_with("retry."));
}
