//! Metrics through OpenTelemetry's API and SDK, received over OTLP.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opentelemetry::metrics::MeterProvider;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, number_data_point};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use pat_events::events::observe::export_metrics;
use pat_events::kafka::observe::Metrics;
use pat_events::kafka::observe::metrics::Value;

use crate::conventions::all;
use crate::otlp::Receiver;
use crate::shop::{self, OrderPlaced, OrderProducer, Shop, until};

/// How much a metric comes to, over all its points, and of what form it is.
fn total(metric: &Metric) -> (&'static str, f64) {
    let number = |value: &Option<number_data_point::Value>| match value {
        Some(number_data_point::Value::AsDouble(number)) => *number,
        Some(number_data_point::Value::AsInt(number)) => *number as f64,
        None => panic!("no value"),
    };
    match metric.data.as_ref().expect("data") {
        Data::Sum(sum) => {
            assert!(sum.is_monotonic);
            let values = sum.data_points.iter().map(|point| number(&point.value));
            ("counter", values.sum())
        }
        Data::Gauge(gauge) => {
            let values = gauge.data_points.iter().map(|point| number(&point.value));
            ("gauge", values.sum())
        }
        Data::Histogram(histogram) => {
            let points = histogram.data_points.iter();
            ("histogram", points.map(|point| point.count as f64).sum())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_come_over_otlp_as_they_are_measured_and_none_twice() {
    let broker = shop::broker().await;
    let receiver = Receiver::start().await;
    let reader = PeriodicReader::builder(receiver.metric_exporter());
    let reader = reader.with_interval(Duration::from_secs(3_600)).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let metrics = Metrics::default();
    export_metrics(&metrics, &provider.meter("pat-events"));
    let producer = shop::producer(&broker, |config| {
        config.kafka.client.metrics = metrics.clone()
    });
    let producer = producer.await;
    let consumer = shop::consumer(&broker, |config| {
        config.kafka.client.metrics = metrics.clone()
    });
    let handler = Shop::default();
    consumer.start(handler.clone()).await.expect("started");
    for number in 0..20 {
        let order = OrderPlaced::new(format!("o-{number}"));
        drop(
            producer
                .enqueue_order_placed(&order)
                .await
                .expect("accepted"),
        );
    }
    producer.flush().await.expect("delivered");
    handler.attempts(20).await;
    until(|| consumer.metrics().handled == 20).await;
    consumer.stop().await.expect("stopped well");
    // The second look has nothing new, and says the same.
    for look in 0..2 {
        let flushing = provider.clone();
        let flushed = tokio::task::spawn_blocking(move || flushing.force_flush());
        flushed.await.expect("no panic").expect("flushed");
        let came: BTreeMap<_, _> = receiver
            .take_metrics()
            .into_iter()
            .map(|it| (it.name.clone(), it))
            .collect();
        let measured = metrics.snapshot();
        let names: BTreeSet<_> = measured
            .metrics()
            .map(|metric| metric.description.name)
            .collect();
        for description in all().filter(|it| names.contains(it.name)) {
            let Some(metric) = came.get(description.name) else {
                // A histogram without a value is no news.
                let empty = measured.metric(description.name).expect("measured");
                let is_empty =
                    |value: &Value| matches!(value, Value::Distribution(it) if it.count() == 0);
                assert!(
                    empty.points().all(|point| is_empty(point.value)),
                    "{}",
                    description.name
                );
                continue;
            };
            assert_eq!(metric.unit, description.unit, "{}", description.name);
            let kind = format!("{:?}", description.kind).to_lowercase();
            assert_eq!(total(metric).0, kind, "{}", description.name);
        }
        for (name, expected) in [
            ("messaging.client.sent.messages", 20.0),
            ("messaging.client.consumed.messages", 20.0),
            ("messaging.process.duration", 20.0),
            ("pat_events.handler.handled", 20.0),
        ] {
            assert_eq!(total(&came[name]).1, expected, "{name} at look {look}");
        }
        assert!(came.keys().all(|name| all().any(|it| it.name == *name)));
    }
    let shut = tokio::task::spawn_blocking(move || provider.shutdown());
    shut.await.expect("no panic").expect("shut down");
}
