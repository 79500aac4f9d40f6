//! What is measured of clients and of consumers of events.

use std::sync::Arc;
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::kafka::observe::metrics::{PROMETHEUS_CONTENT_TYPE, Snapshot, Value};
use pat_events::kafka::observe::{Metrics, PrometheusServer};
use pat_events::kafka::{
    AcknowledgeType, AcknowledgementMode, Clock, Consumer, ConsumerConfig, ConsumerGroupMetadata,
    ErrorKind, OffsetAndMetadata, OffsetReset, Producer, ProducerConfig, Record, ShareConsumer,
    ShareConsumerConfig, TopicPartition, TransactionalProducer,
};

use crate::conventions::{all, check_attributes};
use crate::http::ask;
use crate::in_memory::InMemory;
use crate::prometheus::{Family, read};
use crate::promtool;
use crate::shop::{self, OrderPlaced, OrderProducer, Shop, until};

/// Two transactions that are committed, one with offsets; one that is aborted, one of a producer that is fenced, and one that is open.
async fn transactions(broker: &Broker, metrics: &Metrics) -> TransactionalProducer {
    const LEDGER: &str = "ledger";
    broker.create_topic(LEDGER, 1).expect("a new topic");
    let connect = || {
        let mut config = ProducerConfig::new(&broker.bootstrap_servers());
        config.client.metrics = metrics.clone();
        config.client.client_id = "billing".to_string();
        TransactionalProducer::connect(config, "billing-1")
    };
    let mut producer = connect().await.expect("connected");
    let transaction = producer.begin().await.expect("begun");
    let sent = transaction.send(Record::new(LEDGER).value(b"committed"));
    sent.await.expect("written");
    transaction.commit().await.expect("committed");
    let transaction = producer.begin().await.expect("begun");
    let offsets = [(TopicPartition::new(LEDGER, 0), OffsetAndMetadata::new(1))];
    let group = ConsumerGroupMetadata::standalone("auditors");
    let sent = transaction.send_offsets(offsets, &group);
    sent.await.expect("the group has them");
    transaction.commit().await.expect("committed");
    let transaction = producer.begin().await.expect("begun");
    let sent = transaction.send(Record::new(LEDGER).value(b"aborted"));
    sent.await.expect("written");
    transaction.abort().await.expect("aborted");
    let transaction = producer.begin().await.expect("begun");
    let sent = transaction.send(Record::new(LEDGER).value(b"fenced"));
    sent.await.expect("written");
    let mut newer = connect().await.expect("connected");
    let error = transaction
        .commit()
        .await
        .expect_err("another one has the id");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    // One that is neither.
    std::mem::forget(newer.begin().await.expect("begun"));
    let of_first = producer.metrics().transactions.expect("transactional");
    assert_eq!((of_first.begun, of_first.fenced), (4, 1), "{of_first:?}");
    newer
}

/// The values of the points of a metric, added up: a histogram by how many there are.
fn total(snapshot: &Snapshot, name: &str) -> f64 {
    let points = snapshot
        .metric(name)
        .into_iter()
        .flat_map(|metric| metric.points());
    let values = points.map(|point| match point.value {
        Value::Count(count) => *count as f64,
        Value::Number(number) => *number,
        Value::Distribution(values) => values.count() as f64,
        other => panic!("{other:?}"),
    });
    values.sum()
}

#[tokio::test]
async fn producers_consumers_handlers_and_brokers_are_measured_together_and_served_to_prometheus() {
    let broker = shop::broker().await;
    let metrics = Metrics::default();
    let producer = shop::producer(&broker, |config| {
        config.kafka.client.metrics = metrics.clone();
        config.kafka.client.client_id = "mailer".to_string();
    });
    let producer = producer.await;
    for number in 0..30 {
        let event = OrderPlaced {
            failures: u32::from(number == 7),
            is_poison: number == 8,
            ..OrderPlaced::new(format!("o-{number}"))
        };
        drop(
            producer
                .enqueue_order_placed(&event)
                .await
                .expect("accepted"),
        );
    }
    producer.flush().await.expect("delivered");
    let consumer = shop::consumer(&broker, |config| {
        config.kafka.client.metrics = metrics.clone();
        config.kafka.client.client_id = "indexer".to_string();
    });
    let handler = Shop::default();
    consumer.start(handler.clone()).await.expect("started");
    handler.attempts(31).await;
    let mut config = ShareConsumerConfig::new(&broker.bootstrap_servers(), "jobs");
    config.client.metrics = metrics.clone();
    let mut share = ShareConsumer::connect(config).await.expect("connected");
    share.subscribe(&["orders"]).await.expect("subscribed");
    // From the end on there is nothing.
    let none = share.poll(Duration::from_millis(10)).await;
    assert!(none.expect("a share group").is_empty());
    until(|| {
        let done = consumer.metrics();
        done.lag == 0 && done.lag_by_partition.len() == 3 && done.dead_lettered == 1
    })
    .await;
    let transactional = transactions(&broker, &metrics).await;
    let snapshot = metrics.snapshot();
    check_attributes(&snapshot);
    for (name, expected) in [
        // The dead letter is one as well, and so is what was written in transactions, whatever became of them.
        ("messaging.client.sent.messages", 34.0),
        ("messaging.client.consumed.messages", 30.0),
        ("messaging.process.duration", 31.0),
        ("pat_events.handler.received", 30.0),
        ("pat_events.handler.handled", 29.0),
        ("pat_events.handler.retries", 1.0),
        ("pat_events.handler.failed", 1.0),
        ("pat_events.handler.dead_letters", 1.0),
        ("pat_events.handler.lag", 0.0),
        ("pat_events.handler.lag.time", 0.0),
        ("pat_events.consumer.lag", 0.0),
        ("pat_events.consumer.lag.time", 0.0),
        ("pat_events.consumer.rebalances", 1.0),
        ("pat_events.consumer.rebalance.duration", 1.0),
        ("pat_events.producer.buffer.used", 0.0),
        ("pat_events.producer.transactions.begun", 5.0),
        ("pat_events.producer.transactions.committed", 2.0),
        ("pat_events.producer.transactions.aborted", 2.0),
        ("pat_events.producer.transactions.unknown", 0.0),
        ("pat_events.producer.transactions.fenced", 1.0),
        ("pat_events.producer.transaction.init.duration", 2.0),
        ("pat_events.producer.transaction.offsets.duration", 1.0),
        ("pat_events.producer.transaction.commit.duration", 2.0),
        ("pat_events.producer.transaction.abort.duration", 2.0),
    ] {
        assert_eq!(total(&snapshot, name), expected, "{name}");
    }
    let measured = snapshot.metrics().map(|metric| metric.description.name);
    let measured: Vec<_> = measured.collect();
    let missing: Vec<_> = all().filter(|it| !measured.contains(&it.name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");

    let server = PrometheusServer::bind("127.0.0.1:0", &metrics);
    let server = server.await.expect("a free port");
    let address = server.local_addr();
    let (status, headers, body) = ask(address, "GET", "/metrics").await;
    assert_eq!(status, 200);
    let content_type = format!("content-type: {PROMETHEUS_CONTENT_TYPE}");
    assert!(headers.contains(&content_type), "{headers}");
    promtool::check_metrics(&body);
    let families = read(&body);
    let names: Vec<_> = families.keys().cloned().collect();
    let mut expected: Vec<_> = all().map(|it| it.prometheus_name()).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    let sent = "messaging_client_sent_messages_total";
    let labels = [
        ("messaging_client_id", "mailer"),
        ("messaging_operation_name", "send"),
    ];
    let sent: f64 = values(&families[sent], &labels).sum();
    assert_eq!(sent, 30.0);
    let requests = "pat_events_broker_request_duration_seconds";
    for (client, api) in [
        ("mailer", "Produce"),
        ("indexer", "Fetch"),
        ("indexer", "JoinGroup"),
    ] {
        let labels = [("messaging_client_id", client), ("pat_events_api", api)];
        let count = format!("{requests}_count");
        let of_api = families[requests].samples.iter();
        let count = of_api.filter(|((name, with), _)| {
            *name == count && labels.iter().all(|(label, value)| with[*label] == *value)
        });
        assert!(
            count.map(|(_, value)| value).sum::<f64>() > 0.0,
            "{client} {api}"
        );
    }
    let (status, headers, _) = ask(address, "POST", "/metrics").await;
    assert!(
        status == 405 && headers.contains("allow: get, head"),
        "{status} {headers}"
    );
    assert_eq!(ask(address, "GET", "/").await.0, 404);

    // What they counted stays, what they held is gone.
    drop(share);
    consumer.close().await.expect("stopped well");
    drop((producer, transactional));
    let gone = || {
        let snapshot = metrics.snapshot();
        snapshot.metric("pat_events.producer.buffer.used").is_none()
            && snapshot.metric("pat_events.handler.lag").is_none()
    };
    until(gone).await;
    let after = metrics.snapshot();
    for (name, expected) in [
        ("messaging.client.sent.messages", 34.0),
        ("messaging.process.duration", 31.0),
        ("pat_events.producer.transactions.committed", 2.0),
    ] {
        assert_eq!(total(&after, name), expected, "{name}");
    }
    drop(server);
    until(|| std::net::TcpStream::connect(address).is_err()).await;
}

#[tokio::test]
async fn what_becomes_of_records_of_a_share_group_is_measured() {
    let broker = Broker::builder().share_groups_from_earliest(true);
    let broker = broker.start_tcp("127.0.0.1:0").await.expect("it starts");
    broker.create_topic("jobs", 1).expect("a new topic");
    let producer = Producer::connect(ProducerConfig::new(&broker.bootstrap_servers()));
    let producer = producer.await.expect("connected");
    for _ in 0..10 {
        let record = Record::new("jobs").value(b"a job");
        producer.send(record).await.expect("sent");
    }
    let metrics = Metrics::default();
    let mut config = ShareConsumerConfig::new(&broker.bootstrap_servers(), "workers");
    config.client.metrics = metrics.clone();
    config.acknowledgement_mode = AcknowledgementMode::Explicit;
    let mut consumer = ShareConsumer::connect(config).await.expect("connected");
    consumer.subscribe(&["jobs"]).await.expect("subscribed");
    let mut seen = 0;
    while seen < 11 {
        let records = consumer.poll(Duration::from_secs(5)).await.expect("polled");
        for record in &records {
            seen += 1;
            let what = match (record.offset, record.delivery_count()) {
                (3, 1) => AcknowledgeType::Release,
                (4, _) => AcknowledgeType::Reject,
                (5, _) => AcknowledgeType::Renew,
                _ => AcknowledgeType::Accept,
            };
            consumer.acknowledge(&record, what).expect("it is held");
        }
        let results = consumer.commit_sync().await.expect("answered");
        assert!(results.values().all(Result::is_ok), "{results:?}");
    }
    let of = consumer.metrics();
    assert_eq!((of.acquired, of.redelivered, of.records), (11, 1, 11));
    assert_eq!((of.accepted, of.released, of.rejected), (8, 1, 1));
    assert_eq!((of.renewed, of.failed_acknowledgements), (1, 0));
    assert!(of.bytes >= 11 * 5, "{of:?}");
    assert!(of.fetch_latency.buckets.iter().sum::<u64>() > 0);
    let snapshot = metrics.snapshot();
    check_attributes(&snapshot);
    for (name, expected) in [
        ("messaging.client.consumed.messages", 11.0),
        ("pat_events.share.acquired", 11.0),
        ("pat_events.share.redelivered", 1.0),
        ("pat_events.share.accepted", 8.0),
        ("pat_events.share.released", 1.0),
        ("pat_events.share.rejected", 1.0),
        ("pat_events.share.renewed", 1.0),
        ("pat_events.share.acknowledge.failures", 0.0),
    ] {
        assert_eq!(total(&snapshot, name), expected, "{name}");
    }
    consumer
        .close(Duration::from_secs(5))
        .await
        .expect("closed");
    assert_eq!(total(&metrics.snapshot(), "pat_events.share.accepted"), 8.0);
}

fn values<'a>(family: &'a Family, labels: &'a [(&str, &str)]) -> impl Iterator<Item = f64> + 'a {
    let samples = family.samples.iter().filter(move |((_, with), _)| {
        let mut labels = labels.iter();
        labels.all(|(label, value)| with.get(*label).is_some_and(|it| it == value))
    });
    samples.map(|(_, value)| *value)
}

#[tokio::test(start_paused = true)]
async fn lag_is_known_in_records_and_in_time() {
    const START: i64 = 1_700_000_000_000;
    let broker = Broker::builder().seed(1).simulated_time_ms(START);
    let broker = broker.start_in_memory().expect("a broker");
    broker.create_topic("t", 1).expect("a topic");
    let clock = Clock::simulated(START);
    let mut config = ProducerConfig::new(&broker.bootstrap_servers());
    config.client.transport = Arc::new(InMemory(broker.clone()));
    config.client.clock = clock;
    let producer = Producer::connect(config.clone()).await.expect("connected");
    // Each a minute after the one before: the last one now.
    for minute in -4..=0 {
        let record = Record::new("t")
            .value(b"x")
            .timestamp_ms(START + minute * 60_000);
        producer.send(record).await.expect("written");
    }
    let mut reading = ConsumerConfig::new("", "g");
    reading.client = config.client.clone();
    reading.client.metrics = Metrics::default();
    reading.auto_offset_reset = OffsetReset::Earliest;
    reading.max_poll_records = 2;
    let metrics = reading.client.metrics.clone();
    let mut consumer = Consumer::connect(reading).await.expect("connected");
    consumer.subscribe(&["t"]).await.expect("a topic");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let records = consumer.poll(Duration::from_secs(1)).await.expect("polled");
        if !records.is_empty() {
            let snapshot = metrics.snapshot();
            let lag = total(&snapshot, "pat_events.consumer.lag");
            let age = total(&snapshot, "pat_events.consumer.lag.time");
            seen.push((lag, age.round()));
        }
    }
    let minutes = |(lag, age): (f64, f64)| (lag, (age / 60.0).round());
    let seen: Vec<_> = seen.into_iter().map(minutes).collect();
    assert_eq!(seen, [(3.0, 3.0), (1.0, 1.0), (0.0, 0.0)]);
}
