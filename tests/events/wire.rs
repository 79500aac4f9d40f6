//! What is on the wire, and how it finds its handler: types, CloudEvents' attributes, what is no event of the set.

use super::*;

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
async fn what_is_not_in_the_set_and_what_is_no_event_reach_the_handler() {
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
    assert_eq!(
        unknown[..2],
        ["the record is no event: it has no ce_type header", "other"]
    );
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
        (6, 1, 5)
    );
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

/// What an observer is told.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl pat_events::kafka::observe::Observer for Told {
    fn on_event(&self, event: &pat_events::kafka::observe::ClientEvent<'_>) {
        if event.kind() == "deprecated_field" {
            self.0.lock().expect("lock").push(event.to_string());
        }
    }
}

#[derive(Clone, PartialEq, pat_events::events::prost::Message)]
#[prost(prost_path = "pat_events::events::prost")]
struct Priced {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(uint64, tag = "2")]
    total: u64,
    #[prost(string, optional, tag = "3")]
    note: Option<String>,
}

fn affordable(event: &Priced) -> Result<(), pat_events::events::codec::CodecError> {
    match event.total <= 100 {
        true => Ok(()),
        false => Err(pat_events::events::codec::CodecError::malformed("too dear")),
    }
}

pat_events::events::event_set! {
    enum Prices, producer SendPrices, handler HandlePrices {
        Priced: type = "test.Priced", key = id, id = id, deprecated = [total, note], check = affordable;
    }
}

#[tokio::test]
async fn the_events_own_id_goes_out_and_what_it_must_not_have_is_told_once_or_refused() {
    let broker = broker().await;
    let brokers = broker.bootstrap_servers();
    let told = Arc::new(Told::default());
    let mut config = ProducerConfig::new(&brokers, "emails");
    config.kafka.client.observer = Some(told.clone());
    let producer = EventProducer::connect(config).await.expect("connected");
    let event = |id: &str, total, note: Option<&str>| Priced {
        id: id.into(),
        total,
        note: note.map(str::to_string),
    };
    let refused = producer.send_priced(&event("dear", 101, None)).await;
    let refused = refused.expect_err("too dear");
    assert_eq!(refused.kind(), ErrorKind::InvalidRecord, "{refused}");
    assert!(refused.to_string().contains("test.Priced"), "{refused}");
    assert!(refused.to_string().contains("too dear"), "{refused}");
    for (id, total, note) in [
        ("a", 0, None),
        ("b", 7, None),
        ("c", 8, Some("")),
        ("d", 9, Some("x")),
    ] {
        let sent = producer.send_priced(&event(id, total, note)).await;
        sent.expect("sent");
    }
    let mut given = Attributes::default();
    given.id = Some("given");
    let sent = producer.enqueue_with(&event("e", 0, None), given).await;
    sent.expect("accepted").await.expect("sent");
    let expected = ["total", "note"].map(|field| format!("test.Priced is sent with {field}"));
    let told = told.0.lock().expect("lock").clone();
    assert_eq!(told.len(), 2, "{told:?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(&expected), "{told}");
    }
    let mut config = ConsumerConfig::new(&brokers, TOPIC, "test");
    config.auto_offset_reset = OffsetReset::Earliest;
    let consumer = EventConsumer::<Prices>::new(config).expect("complete");
    let (ids, mut came) = tokio::sync::mpsc::channel(10);
    consumer.start(Ids(ids)).await.expect("started");
    let mut ids = Vec::new();
    while ids.len() < 5 {
        ids.push(timeout(PATIENCE, came.recv()).await.expect("in time"));
    }
    consumer.stop().await.expect("stopped well");
    ids.sort();
    let expected = ["a", "b", "c", "d", "given"];
    assert_eq!(ids, expected.map(|id| Some(id.to_string())));
}

/// Passes on the ids of what it handles.
struct Ids(tokio::sync::mpsc::Sender<String>);

impl HandlePrices for Ids {
    async fn handle_priced(&self, context: &Context<'_>, _: Priced) -> Result<(), HandlerError> {
        let event = context.cloud_event()?;
        Ok(self
            .0
            .send(event.id.unwrap_or_default().to_string())
            .await?)
    }
}

#[tokio::test]
async fn what_waits_in_an_outbox_is_sent_in_order_and_stays_there_until_it_is_written() {
    let broker = broker().await;
    let producer = producer(&broker).await;
    use pat_events::events::{MemoryOutbox, RelayError};
    let outbox = MemoryOutbox::default();
    for number in 0..30 {
        let event = email(format!("e-{}", number % 3), number / 3);
        outbox.push(producer.encode(&event).await.expect("encoded"));
    }
    let refused = FaultAction::Answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    broker.inject(Fault::on(ApiKey::PRODUCE, refused));
    let refused = producer.relay(&outbox, 7).await.expect_err("refused");
    let RelayError::Send(error) = &refused else {
        panic!("{refused}");
    };
    assert_eq!(error.kind(), ErrorKind::Authorization, "{refused}");
    assert!(outbox.len() >= 28, "{} left", outbox.len());
    let sent = producer.relay(&outbox, 7).await.expect("sent");
    assert!(sent >= 28 && outbox.is_empty(), "{sent}");
    assert_eq!(producer.relay(&outbox, 7).await.expect("nothing"), 0);
    let seen = Arc::new(Seen::default());
    let consumer = consumer(&broker);
    consumer.start(Handler::of(&seen)).await.expect("started");
    seen.until(30).await;
    consumer.stop().await.expect("stopped well");
    seen.assert_once_and_in_order(3, 10);
}
