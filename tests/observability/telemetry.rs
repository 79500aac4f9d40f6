//! What brokers are told that ask for it (KIP-714): as OTLP, by the KIP's names, in their interval, and a last time at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, MetricsData, number_data_point,
};
use pat_events::broker::{Broker, Fault, FaultAction, PushedTelemetry};
use pat_events::events::prost::Message;
use pat_events::kafka::{
    ApiKey, Client, ClientConfig, Codec, ConsumerConfig, OffsetReset, ProducerConfig, Record,
};
use tokio::time::sleep;

use crate::shop::until;

const INTERVAL: Duration = Duration::from_millis(1_000);
const PREFIX: &str = "org.apache.kafka.";

async fn broker(metrics: &[&str]) -> Broker {
    let builder = Broker::builder().client_telemetry();
    let broker = builder.start_tcp("127.0.0.1:0").await.expect("a broker");
    broker.create_topic("t", 3).expect("a new topic");
    broker.want_telemetry(metrics, INTERVAL);
    broker
}

fn metrics_of(pushed: &PushedTelemetry) -> Vec<Metric> {
    let data = MetricsData::decode(pushed.metrics.clone()).expect("OTLP");
    let scopes = data
        .resource_metrics
        .into_iter()
        .flat_map(|it| it.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).collect()
}

/// The sum of what all pushes say of a metric that is counted.
fn total(pushed: &[PushedTelemetry], name: &str) -> f64 {
    let metrics = pushed.iter().flat_map(metrics_of);
    let of_name = metrics.filter(|metric| metric.name == name);
    let values = of_name.flat_map(|metric| match metric.data {
        Some(Data::Sum(sum)) => {
            assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Delta);
            sum.data_points
        }
        other => panic!("{name}: {other:?}"),
    });
    values
        .map(|point| match point.value {
            Some(number_data_point::Value::AsDouble(number)) => number,
            Some(number_data_point::Value::AsInt(number)) => number as f64,
            None => panic!("{name}: no value"),
        })
        .sum()
}

fn config(broker: &Broker, id: &str) -> ClientConfig {
    let mut config = ClientConfig::new(&broker.bootstrap_servers());
    config.client_id = id.to_string();
    config
}

#[tokio::test]
async fn brokers_are_told_the_standard_metrics_and_ours_and_what_was_counted_up_to_the_end() {
    let broker = broker(&["*"]).await;
    let pause = FaultAction::Throttle(Duration::from_millis(20));
    broker.inject(Fault::on(ApiKey::PRODUCE, pause).times(1));
    let writer = Client::lazy(config(&broker, "writer")).expect("a client");
    let producer = writer
        .producer(ProducerConfig::default())
        .expect("a producer");
    let reader = Client::lazy(config(&broker, "reader")).expect("a client");
    let mut reading = ConsumerConfig::new("", "readers");
    reading.auto_offset_reset = OffsetReset::Earliest;
    let mut consumer = reader.consumer(reading).expect("a consumer");
    consumer.subscribe(&["t"]).await.expect("a topic");
    let (mut sent, mut read) = (0, 0);
    // Until each has pushed twice.
    while !["writer", "reader"].iter().all(|id| {
        let pushed = broker.telemetry();
        pushed.iter().filter(|it| it.client_id == *id).count() >= 2
    }) {
        producer
            .send(Record::new("t").value(b"x"))
            .await
            .expect("written");
        sent += 1;
        read += consumer
            .poll(Duration::from_millis(50))
            .await
            .expect("polled")
            .count();
        consumer.commit_sync().await.expect("committed");
    }
    while read < sent {
        read += consumer
            .poll(Duration::from_millis(50))
            .await
            .expect("polled")
            .count();
    }
    consumer.close().await.expect("closed");
    drop((producer, writer, reader));
    let ended = |id: &str| {
        let pushed = broker.telemetry();
        pushed.iter().any(|it| it.client_id == id && it.terminating)
    };
    until(|| ended("writer") && ended("reader")).await;

    let pushed = broker.telemetry();
    let of = |id: &str| -> Vec<PushedTelemetry> {
        pushed
            .iter()
            .filter(|it| it.client_id == id)
            .cloned()
            .collect()
    };
    for id in ["writer", "reader"] {
        let pushed = of(id);
        let instances: BTreeSet<_> = pushed.iter().map(|it| it.client_instance_id).collect();
        assert_eq!(instances.len(), 1, "{id} is one client");
        assert!(
            pushed.iter().all(|it| it.codec == Codec::Zstd),
            "as the broker likes best"
        );
        let last = pushed.iter().filter(|it| it.terminating).count();
        assert!(last == 1 && pushed[pushed.len() - 1].terminating);
    }
    assert_eq!(
        total(&of("writer"), "messaging.client.sent.messages"),
        sent as f64
    );
    let consumed = total(&of("reader"), "messaging.client.consumed.messages");
    assert_eq!(consumed, sent as f64);
    let mut kinds = BTreeMap::new();
    for metric in pushed.iter().flat_map(metrics_of) {
        let kind = match metric.data {
            Some(Data::Gauge(_)) => "gauge",
            Some(Data::Sum(_)) => "sum",
            Some(Data::Histogram(histogram)) => {
                let temporality = histogram.aggregation_temporality();
                assert_eq!(temporality, AggregationTemporality::Delta);
                "histogram"
            }
            other => panic!("{other:?}"),
        };
        assert!(!metric.name.starts_with(PREFIX) || metric.unit.is_empty());
        kinds.insert(metric.name, kind);
    }
    let standard = include_str!("kip714.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    for line in standard {
        let (name, kind) = line.split_once(' ').expect("name and kind");
        let name = format!("{PREFIX}{name}");
        assert_eq!(
            kinds.get(&name),
            Some(&kind),
            "{name} in {:?}",
            kinds.keys()
        );
    }
    assert_eq!(kinds["pat_events.broker.request.duration"], "histogram");
}

/// Runs `use_and_close` in a runtime that ends at once after it, as a program does, and returns the last that the broker was told of each client.
fn told_at_the_end<F>(use_and_close: impl FnOnce(Client) -> F) -> Vec<PushedTelemetry>
where
    F: Future<Output = ()>,
{
    let multi = || tokio::runtime::Builder::new_multi_thread();
    let beside = multi().worker_threads(1).enable_all().build();
    let beside = beside.expect("a runtime");
    let broker = beside.block_on(broker(&["*"]));
    let program = multi().worker_threads(1).enable_all().build();
    let program = program.expect("a runtime");
    program.block_on(async {
        let client = Client::lazy(config(&broker, "program")).expect("a client");
        use_and_close(client).await;
    });
    program.shutdown_background();
    let pushed = broker.telemetry();
    pushed.into_iter().filter(|it| it.terminating).collect()
}

/// Sends records until the broker has been told of some.
async fn send_until_told(client: &Client) -> pat_events::kafka::Producer {
    let producer = client.producer(ProducerConfig::default());
    let producer = producer.expect("a producer");
    let told = async {
        let pushed = |client: &Client| {
            let brokers = client.broker_metrics();
            let mut asked = brokers.values().flat_map(|it| it.latency_by_api.keys());
            asked.any(|api| *api == "PushTelemetry")
        };
        while !pushed(client) {
            let record = Record::new("t").value(b"x");
            producer.send(record).await.expect("written");
            sleep(Duration::from_millis(20)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(60), told);
    told.await.expect("it is told");
    producer
}

#[test]
fn a_program_that_ends_when_its_clients_are_closed_has_told_the_last_of_them() {
    const LONG: Duration = Duration::from_secs(30);
    // By the client, whatever else lives on it.
    let told = told_at_the_end(|client| async move {
        let producer = send_until_told(&client).await;
        let record = Record::new("t").value(b"the last");
        producer.send(record).await.expect("written");
        client.close(LONG).await;
        client.close(LONG).await;
        drop((producer, client));
    });
    assert_eq!(told.len(), 1);
    assert!(total(&told, "messaging.client.sent.messages") >= 1.0);

    // By the last that is closed, where the client itself was dropped.
    let told = told_at_the_end(|client| async move {
        let producer = send_until_told(&client).await;
        let mut reading = ConsumerConfig::new("", "readers");
        reading.auto_offset_reset = OffsetReset::Earliest;
        let mut consumer = client.consumer(reading).expect("a consumer");
        drop(client);
        consumer.subscribe(&["t"]).await.expect("a topic");
        consumer
            .poll(Duration::from_millis(100))
            .await
            .expect("polled");
        consumer.close().await.expect("closed");
        producer
            .send(Record::new("t").value(b"the last"))
            .await
            .expect("written");
        producer.close(LONG).await.expect("closed");
    });
    assert_eq!(told.len(), 1);
    assert!(
        total(&told, "messaging.client.sent.messages") >= 1.0,
        "the last record is in it"
    );
}

#[tokio::test]
async fn closing_waits_for_no_broker_that_does_not_take_what_it_is_told() {
    let broker = broker(&["*"]).await;
    let client = Client::lazy(config(&broker, "program")).expect("a client");
    let producer = send_until_told(&client).await;
    broker.inject(Fault::on(ApiKey::PUSH_TELEMETRY, FaultAction::Delay(20 * INTERVAL)).times(100));
    let begun = std::time::Instant::now();
    producer
        .close(Duration::from_secs(60))
        .await
        .expect("closed");
    client.close(Duration::from_millis(300)).await;
    let took = begun.elapsed();
    let bounds = Duration::from_millis(250)..Duration::from_secs(3);
    assert!(bounds.contains(&took), "{took:?}");
}

#[tokio::test]
async fn only_what_is_wanted_is_pushed_and_a_broker_that_changes_its_mind_is_heard() {
    let broker = broker(&["org.apache.kafka.producer.connection."]).await;
    let client = Client::connect(config(&broker, "writer"))
        .await
        .expect("connected");
    let producer = client
        .producer(ProducerConfig::default())
        .expect("a producer");
    producer
        .send(Record::new("t").value(b"x"))
        .await
        .expect("written");
    until(|| !broker.telemetry().is_empty()).await;
    let names = |pushed: &PushedTelemetry| -> Vec<String> {
        metrics_of(pushed)
            .into_iter()
            .map(|metric| metric.name)
            .collect()
    };
    assert_eq!(
        names(&broker.telemetry()[0]),
        [
            "org.apache.kafka.producer.connection.creation.rate",
            "org.apache.kafka.producer.connection.creation.total",
        ]
    );
    // The next push is under a subscription that is over, is refused, and the client asks again.
    broker.want_telemetry(&["pat_events.producer.batches"], INTERVAL);
    let changed = || {
        let pushed = broker.telemetry();
        pushed
            .last()
            .is_some_and(|last| names(last) == ["pat_events.producer.batches"])
    };
    until(changed).await;
    let errors = broker.telemetry();
    assert!(errors.iter().all(|it| !it.terminating));
}

#[tokio::test]
async fn nothing_is_pushed_where_it_is_turned_off_or_not_asked_for() {
    let broker = broker(&[]).await;
    let mut off = config(&broker, "off");
    off.metrics_push = false;
    let off = Client::connect(off).await.expect("connected");
    let on = Client::connect(config(&broker, "on"))
        .await
        .expect("connected");
    let asked = |client: &Client| {
        let brokers = client.broker_metrics();
        let mut asked = brokers
            .values()
            .flat_map(|broker| broker.latency_by_api.keys());
        asked.any(|api| *api == "GetTelemetrySubscriptions")
    };
    until(|| asked(&on)).await;
    sleep(2 * INTERVAL).await;
    assert!(!asked(&off));
    assert!(broker.telemetry().is_empty());
    drop((on, off));
    sleep(INTERVAL).await;
    assert!(broker.telemetry().is_empty(), "nor at the end");
}
