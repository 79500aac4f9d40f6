//! Typed events from end to end: through a real client, over TCP, to the embedded broker and back.
#![cfg(feature = "broker")]

mod codec;
#[path = "../support/connections.rs"]
mod connections;
mod errors;
mod memory;
#[path = "../support/process_status.rs"]
mod process_status;
mod recreated;
mod retrying;
mod shared_client;
mod stopping;
mod stuck;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::broker::{ApiKey, Broker, ErrorCode, Fault, FaultAction};
use pat_events::events::email::*;
use pat_events::events::prost::Message;
use pat_events::events::{
    Attributes, CommitPolicy, ConsumerConfig, ConsumerError, Context, Event, EventConsumer,
    EventProducer, HandlerError, OnFailure, ProducerConfig, RawRecord, Undecodable,
};
use pat_events::kafka::{
    Consumer, ErrorKind, Header, OffsetReset, Producer, Record, StartOffset, TopicPartition,
};
use protocol::compression::{Compression, Compressor};
use protocol::records::{BatchBuilder, ControlRecord, SealOptions};
use tokio::time::{sleep, timeout};

const TOPIC: &str = "emails";
/// Long enough for a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

async fn broker() -> Broker {
    let broker = Broker::builder()
        .start_tcp("127.0.0.1:0")
        .await
        .expect("the embedded broker starts");
    broker.create_topic(TOPIC, 3).expect("a new topic");
    broker
}

async fn producer(broker: &Broker) -> EventProducer {
    let mut config = ProducerConfig::new(&broker.bootstrap_servers(), TOPIC);
    config.idempotence = true;
    EventProducer::connect(config)
        .await
        .expect("the broker answers")
}

fn consumer(broker: &Broker) -> EventConsumer<EmailEvents> {
    consumer_with(broker, |_| {})
}

fn consumer_with(
    broker: &Broker,
    change: impl FnOnce(&mut ConsumerConfig),
) -> EventConsumer<EmailEvents> {
    let mut config = ConsumerConfig::new(&broker.bootstrap_servers(), TOPIC, "test");
    config.auto_offset_reset = OffsetReset::Earliest;
    // A machine with much else to do must not cost a member its place: what it had in flight would be handled twice.
    config.session_timeout = Duration::from_secs(45);
    change(&mut config);
    EventConsumer::new(config).expect("a good configuration")
}

/// What all handlers of a test have seen together.
#[derive(Default)]
struct Seen {
    by_key: Mutex<BTreeMap<String, Vec<u32>>>,
    types: Mutex<BTreeMap<String, usize>>,
    handled: AtomicUsize,
    unknown: Mutex<Vec<String>>,
}

impl Seen {
    fn note(&self, context: &Context<'_>) {
        let name = context
            .event_type()
            .ok()
            .flatten()
            .unwrap_or_default()
            .to_string();
        *self.types.lock().expect("lock").entry(name).or_default() += 1;
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    async fn until(&self, count: usize) {
        let reached = async {
            while self.handled.load(Ordering::Relaxed) < count {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap_or_else(|_| {
            panic!(
                "{} of {count} handled",
                self.handled.load(Ordering::Relaxed)
            )
        });
    }

    /// Every key has seen 0, 1, 2 … up to `each`, in this order.
    fn assert_once_and_in_order(&self, keys: usize, each: u32) {
        let by_key = self.by_key.lock().expect("lock");
        assert_eq!(by_key.len(), keys);
        for (key, numbers) in by_key.iter() {
            assert_eq!(*numbers, (0..each).collect::<Vec<_>>(), "{key}");
        }
    }
}

/// Notes what it sees; fails, panics or takes its time as a test asks for.
#[derive(Clone, Default)]
struct Handler {
    seen: Arc<Seen>,
    work: Duration,
    /// Events of this key take so long.
    slow_key: Option<(&'static str, Duration)>,
    /// Events of this key are handled never.
    stuck_key: Option<&'static str>,
    fail_at: Option<u32>,
    broken: Arc<AtomicBool>,
}

impl Handler {
    fn of(seen: &Arc<Seen>) -> Self {
        Self {
            seen: seen.clone(),
            ..Self::default()
        }
    }
}

impl EmailEventHandler for Handler {
    async fn handle_email_received(
        &self,
        context: &Context<'_>,
        event: EmailReceived,
    ) -> Result<(), HandlerError> {
        let number: u32 = event.subject.parse()?;
        if !self.work.is_zero() {
            sleep(self.work).await;
        }
        if let Some((key, work)) = self.slow_key
            && key == event.email_id
        {
            sleep(work).await;
        }
        if self.stuck_key == Some(event.email_id.as_str()) {
            std::future::pending::<()>().await;
        }
        if self.fail_at == Some(number) && self.broken.load(Ordering::Relaxed) {
            return Err(HandlerError::new("no room left"));
        }
        self.seen
            .by_key
            .lock()
            .expect("lock")
            .entry(event.email_id)
            .or_default()
            .push(number);
        self.seen.note(context);
        Ok(())
    }

    async fn handle_email_processed(
        &self,
        context: &Context<'_>,
        _: EmailProcessed,
    ) -> Result<(), HandlerError> {
        self.seen.note(context);
        Ok(())
    }

    async fn handle_email_validated(
        &self,
        context: &Context<'_>,
        _: EmailValidated,
    ) -> Result<(), HandlerError> {
        self.seen.note(context);
        Ok(())
    }

    async fn handle_workflow_triggered(
        &self,
        context: &Context<'_>,
        _: WorkflowTriggered,
    ) -> Result<(), HandlerError> {
        self.seen.note(context);
        Ok(())
    }

    async fn handle_plugin_execution_required(
        &self,
        context: &Context<'_>,
        _: PluginExecutionRequired,
    ) -> Result<(), HandlerError> {
        self.seen.note(context);
        Ok(())
    }

    async fn handle_plugin_execution_completed(
        &self,
        context: &Context<'_>,
        _: PluginExecutionCompleted,
    ) -> Result<(), HandlerError> {
        self.seen.note(context);
        Ok(())
    }

    async fn handle_email_deleted(
        &self,
        _: &Context<'_>,
        event: EmailDeleted,
    ) -> Result<(), HandlerError> {
        panic!("{} was never there", event.email_id);
    }

    async fn handle_tenant_event(
        &self,
        context: &Context<'_>,
        _: TenantEvent,
    ) -> Result<(), HandlerError> {
        self.seen.note(context);
        Ok(())
    }

    async fn handle_unknown(
        &self,
        context: &Context<'_>,
        record: RawRecord<'_>,
    ) -> Result<(), HandlerError> {
        let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
        self.seen.unknown.lock().expect("lock").push(value);
        self.seen.note(context);
        Ok(())
    }

    async fn handle_undecodable(
        &self,
        context: &Context<'_>,
        _: RawRecord<'_>,
        error: Undecodable,
    ) -> Result<(), HandlerError> {
        self.seen
            .unknown
            .lock()
            .expect("lock")
            .push(error.to_string());
        self.seen.note(context);
        Ok(())
    }
}

fn email(id: impl Into<String>, number: u32) -> EmailReceived {
    EmailReceived {
        email_id: id.into(),
        tenant_id: "tenant-1".into(),
        subject: number.to_string(),
        ..Default::default()
    }
}

/// Sends the numbers `0..each` to each of `keys` keys.
async fn send_numbers(producer: &EventProducer, keys: usize, numbers: std::ops::Range<u32>) {
    for number in numbers {
        for key in 0..keys {
            let event = email(format!("e-{key}"), number);
            // The flush below tells of failures.
            drop(
                producer
                    .enqueue_email_received(&event)
                    .await
                    .expect("accepted"),
            );
        }
    }
    producer.flush().await.expect("delivered");
}

#[tokio::test]
async fn all_eight_types_arrive_at_their_handlers() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let told = Arc::new(AtomicUsize::new(0));
    let consumer = consumer_with(&broker, |config| {
        let told = told.clone();
        config.on_failure = OnFailure::skip(move |context, error| {
            assert_eq!(context.event_type(), Ok(Some(EmailDeleted::TYPE)));
            assert!(error.to_string().contains("e-1 was never there"), "{error}");
            told.fetch_add(1, Ordering::Relaxed);
        });
    });
    consumer.start(Handler::of(&seen)).await.expect("started");
    let written = producer
        .send_email_received(&email("e-1", 0))
        .await
        .expect("acknowledged");
    assert_eq!((&*written.topic, written.offset), (TOPIC, Some(0)));
    let (email_id, tenant_id) = ("e-1".to_string(), "t-1".to_string());
    producer
        .send_email_processed(&EmailProcessed {
            email_id: email_id.clone(),
            ..Default::default()
        })
        .await
        .expect("sent");
    producer
        .send_email_validated(&EmailValidated {
            email_id: email_id.clone(),
            ..Default::default()
        })
        .await
        .expect("sent");
    producer
        .send_workflow_triggered(&WorkflowTriggered {
            email_id: email_id.clone(),
            ..Default::default()
        })
        .await
        .expect("sent");
    producer
        .send_plugin_execution_required(&PluginExecutionRequired {
            email_id: email_id.clone(),
            ..Default::default()
        })
        .await
        .expect("sent");
    producer
        .send_plugin_execution_completed(&PluginExecutionCompleted {
            email_id: email_id.clone(),
            ..Default::default()
        })
        .await
        .expect("sent");
    producer
        .send_email_deleted(&EmailDeleted {
            email_id,
            ..Default::default()
        })
        .await
        .expect("sent");
    // The enum of the set can be sent as well.
    producer
        .send(&EmailEvents::from(TenantEvent {
            tenant_id,
            ..Default::default()
        }))
        .await
        .expect("sent");
    seen.until(7).await;
    consumer.stop().await.expect("stopped well");
    let types = seen.types.lock().expect("lock").clone();
    assert_eq!(types.len(), 7, "{types:?}");
    assert_eq!(told.load(Ordering::Relaxed), 1);
    let metrics = consumer.metrics();
    assert_eq!(
        (metrics.received, metrics.handled, metrics.failed),
        (8, 7, 1)
    );
    assert_eq!(metrics.handled_by_type.values().sum::<u64>(), 7);
    assert_eq!(metrics.handler_latency.count, 8);
    let metrics = producer.metrics();
    assert_eq!(
        (
            metrics.records_accepted,
            metrics.records_delivered,
            metrics.records_failed
        ),
        (8, 8, 0)
    );
    let committed: i64 = (0..3)
        .filter_map(|partition| broker.committed_offset("test", TOPIC, partition))
        .sum();
    assert_eq!(committed, 8);
}

#[tokio::test]
async fn an_event_is_a_cloud_event_on_the_wire() {
    let broker = broker().await;
    let mut config = ProducerConfig::new(&broker.bootstrap_servers(), TOPIC);
    config.source = "/mail/inbound".into();
    let producer = EventProducer::connect(config).await.expect("connected");
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [Header::new("ce_partitionkey", b"e-1")];
    let mut attributes = Attributes::default();
    attributes.subject = Some("inbox");
    attributes.traceparent = Some(traceparent);
    attributes.tracestate = Some("vendor=1");
    attributes.headers = &headers;
    attributes.timestamp_ms = Some(1_795_463_192_017);
    let event = email("e-1", 7);
    let written = producer
        .enqueue_with(&event, attributes)
        .await
        .expect("accepted")
        .await
        .expect("delivered");

    let mut config = pat_events::kafka::ConsumerConfig::default();
    config.client.bootstrap_servers = vec![broker.bootstrap_servers()];
    let mut consumer = Consumer::connect(config).await.expect("connected");
    let partition = TopicPartition::new(TOPIC, written.partition);
    consumer
        .assign(&[(partition, StartOffset::Earliest)])
        .await
        .expect("assigned");
    let records = loop {
        let records = consumer.poll(Duration::from_secs(1)).await.expect("polled");
        if !records.is_empty() {
            break records;
        }
    };
    let record = records.iter().next().expect("one record");
    assert_eq!(record.key, Some(&b"e-1"[..]));
    assert_eq!(record.timestamp_ms, 1_795_463_192_017);
    let value = record.value.expect("a value");
    assert_eq!(EmailReceived::decode(value), Ok(event));
    let headers: Vec<(String, String)> = record
        .headers
        .iter()
        .map(|header| {
            (
                header.key.into_owned(),
                String::from_utf8_lossy(header.value.expect("a value")).into_owned(),
            )
        })
        .collect();
    let id = &headers[2].1;
    assert_eq!((id.len(), &id[..15]), (36, "01a209f2-1dd1-7"));
    let expected = [
        ("ce_specversion", "1.0"),
        ("ce_type", "api.events.v1.EmailReceived"),
        ("ce_id", id),
        ("ce_source", "/mail/inbound"),
        ("ce_time", "2026-11-23T19:46:32.017Z"),
        ("content-type", "application/protobuf"),
        ("ce_subject", "inbox"),
        ("ce_tenantid", "tenant-1"),
        ("ce_traceparent", traceparent),
        ("ce_tracestate", "vendor=1"),
        ("ce_partitionkey", "e-1"),
    ];
    assert_eq!(
        headers,
        expected.map(|(name, value)| (name.to_string(), value.to_string()))
    );
}

#[tokio::test]
async fn what_is_no_event_of_the_set_reaches_the_handler() {
    let broker = broker().await;
    let producer = Producer::connect(pat_events::kafka::ProducerConfig::new(
        &broker.bootstrap_servers(),
    ))
    .await
    .expect("connected");
    let received = [Header::new("ce_type", EmailReceived::TYPE.as_bytes())];
    let other = [Header::new("ce_type", b"api.events.v1.EmailSent")];
    let json = [
        received[0],
        Header::new("content-type", b"application/json"),
    ];
    let newer = [received[0], Header::new("ce_specversion", b"2.0")];
    let at = Record::new(TOPIC).partition(0);
    for record in [
        at.value(b"plain"),
        at.value(b"other").headers(&other),
        at.value(b"\xff\xff").headers(&received),
        at.headers(&received),
        at.value(b"{}").headers(&json),
        at.value(b"").headers(&newer),
    ] {
        producer.send(record).await.expect("sent");
    }
    let seen = Arc::new(Seen::default());
    let consumer = consumer(&broker);
    consumer.start(Handler::of(&seen)).await.expect("started");
    seen.until(6).await;
    consumer.stop().await.expect("stopped well");
    let unknown = seen.unknown.lock().expect("lock").clone();
    assert_eq!(unknown[..2], ["plain", "other"]);
    assert!(unknown[2].contains("failed to decode"), "{}", unknown[2]);
    assert_eq!(
        unknown[3..],
        [
            "the value is null",
            "the content-type is not application/protobuf",
            "ce_specversion is not 1.0"
        ]
    );
    let metrics = consumer.metrics();
    assert_eq!(
        (metrics.handled, metrics.unknown, metrics.undecodable),
        (6, 2, 4)
    );
}

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
    let consumer = consumer(&broker);
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
async fn a_rebalance_finishes_and_commits_before_the_partitions_go() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let seen = Arc::new(Seen::default());
    let handler = Handler {
        work: Duration::from_millis(2),
        ..Handler::of(&seen)
    };
    let quick =
        |config: &mut ConsumerConfig| config.kafka.heartbeat_interval = Duration::from_millis(200);
    let first = consumer_with(&broker, quick);
    first.start(handler.clone()).await.expect("started");
    send_numbers(&producer, 30, 0..20).await;
    seen.until(50).await;
    let second = consumer_with(&broker, quick);
    second.start(handler.clone()).await.expect("started");
    send_numbers(&producer, 30, 20..60).await;
    seen.until(900).await;
    first.stop().await.expect("stopped well");
    seen.until(1_800).await;
    second.stop().await.expect("stopped well");
    seen.assert_once_and_in_order(30, 60);
    assert!(second.metrics().handled > 0);
}

#[tokio::test]
async fn a_backlog_of_slow_events_neither_costs_the_place_in_the_group_nor_holds_a_rebalance_up() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    send_numbers(&producer, 30, 0..16).await;
    let seen = Arc::new(Seen::default());
    let handler = Handler {
        work: Duration::from_millis(10),
        ..Handler::of(&seen)
    };
    let full = |config: &mut ConsumerConfig| {
        config.concurrency = 1;
        config.queue_bytes = 1;
        config.max_poll_interval = Duration::from_secs(4);
        config.shutdown_timeout = Duration::from_secs(3);
        config.kafka.heartbeat_interval = Duration::from_millis(100);
    };
    let first = consumer_with(&broker, full);
    first.start(handler.clone()).await.expect("started");
    seen.until(50).await;
    assert_eq!(
        first.metrics().failed_polls,
        0,
        "{:?}",
        first.metrics().last_error
    );
    let second = consumer_with(&broker, full);
    second.start(handler).await.expect("started");
    let shared = async {
        while second.metrics().handled == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, shared)
        .await
        .expect("the second gets its share");
    let handled = seen.handled.load(Ordering::Relaxed);
    assert!(
        handled < 400,
        "only after the first had handled nearly all: {handled}"
    );
    seen.until(480).await;
    first.stop().await.expect("stopped well");
    second.stop().await.expect("stopped well");
    seen.assert_once_and_in_order(30, 16);
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

/// What the group has committed, over all partitions.
fn committed(broker: &Broker) -> i64 {
    (0..3)
        .filter_map(|partition| broker.committed_offset("test", TOPIC, partition))
        .sum()
}

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

#[tokio::test]
async fn a_commit_that_may_not_be_made_ends_the_consumer() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    let consumer = consumer(&broker);
    consumer.start(Handler::default()).await.expect("started");
    broker.inject(
        Fault::on(
            ApiKey::OFFSET_COMMIT,
            FaultAction::Answer(ErrorCode::GROUP_AUTHORIZATION_FAILED),
        )
        .always(),
    );
    send_numbers(&producer, 1, 0..1).await;
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

#[tokio::test]
async fn a_deleted_topic_holds_up_no_other_when_the_group_rebalances() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    broker.create_topic("letters", 1).expect("a new topic");
    let seen = Arc::new(Seen::default());
    let quick =
        |config: &mut ConsumerConfig| config.kafka.heartbeat_interval = Duration::from_millis(200);
    let first = consumer_with(&broker, |config| {
        quick(config);
        config.topics.push("letters".to_string());
    });
    first.start(Handler::of(&seen)).await.expect("started");
    send_numbers(&producer, 30, 0..5).await;
    seen.until(150).await;
    broker.delete_topic("letters");
    let second = consumer_with(&broker, quick);
    second.start(Handler::of(&seen)).await.expect("started");
    let shared = async {
        while second.metrics().lag_by_partition.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, shared)
        .await
        .expect("the second gets its share");
    send_numbers(&producer, 30, 5..10).await;
    seen.until(300).await;
    first.stop().await.expect("stopped well");
    second.stop().await.expect("stopped well");
    seen.assert_once_and_in_order(30, 10);
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

#[tokio::test]
async fn what_is_wrong_is_said_at_once() {
    let broker = broker().await;
    let config = ProducerConfig::new(&broker.bootstrap_servers(), "");
    let error = EventProducer::connect(config).await.expect_err("no topic");
    assert_eq!(error.kind(), ErrorKind::Config);
    let config = ConsumerConfig::new(&broker.bootstrap_servers(), TOPIC, "");
    let error = EventConsumer::<EmailEvents>::new(config).expect_err("no group");
    assert_eq!(error.kind(), ErrorKind::Config);
    let producer = producer(&broker).await;
    let others = [Header::new("ce_type", b"other")];
    let (mut with_type, mut without_id) = (Attributes::default(), Attributes::default());
    with_type.headers = &others;
    without_id.id = Some("");
    for (attributes, named) in [(with_type, "ce_type"), (without_id, "id")] {
        let refused = producer.enqueue_with(&email("e-1", 0), attributes).await;
        let error = refused.expect_err("nobody could read it");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(named), "{error}");
    }

    let consumer = consumer(&broker);
    consumer.stop().await.expect("nothing to stop");
    consumer.start(Handler::default()).await.expect("started");
    let error = consumer
        .start(Handler::default())
        .await
        .expect_err("started already");
    assert!(matches!(error, ConsumerError::Started));
    consumer.stop().await.expect("stopped well");
}
