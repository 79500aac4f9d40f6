//! Metrics as OTLP has them: `MetricsData` of opentelemetry.proto.metrics.v1, as much of it as is needed.

use prost::Message;

use crate::kafka::observe::metrics::{MetricKind, Point, Snapshot, Value};

/// Between which moments, in nanoseconds since 1970, and whether what is counted is what came in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub start: u64,
    pub end: u64,
    pub is_delta: bool,
}

/// One metric of the standard ones, whose name is not one of ours.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standard {
    pub name: &'static str,
    pub value: f64,
    pub is_sum: bool,
    pub node: Option<String>,
}

/// Encodes metrics of one client, with what is said of it (`group_id`, …).
pub(super) fn encode(
    labels: &[(&'static str, String)],
    standard: &[Standard],
    others: &Snapshot,
    window: Window,
) -> Vec<u8> {
    let standard = standard.iter().map(|it| it.metric(window));
    let others = others.metrics().map(|metric| {
        let description = metric.description;
        let points = metric.points();
        Metric {
            name: description.name.to_string(),
            unit: description.unit.to_string(),
            data: Some(match description.kind {
                MetricKind::Gauge => Data::Gauge(Gauge {
                    points: points.map(|point| number(point, window)).collect(),
                }),
                MetricKind::Counter => Data::Sum(Sum {
                    points: points.map(|point| number(point, window)).collect(),
                    temporality: window.temporality(),
                    is_monotonic: true,
                }),
                MetricKind::Histogram => Data::Histogram(Histogram {
                    points: points
                        .filter_map(|point| histogram(point, window))
                        .collect(),
                    temporality: window.temporality(),
                }),
            }),
        }
    });
    let data = MetricsData {
        resources: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: labels.iter().map(|(key, value)| text(key, value)).collect(),
            }),
            scopes: vec![ScopeMetrics {
                metrics: standard.chain(others).collect(),
            }],
        }],
    };
    data.encode_to_vec()
}

impl Standard {
    fn metric(&self, window: Window) -> Metric {
        let node = self.node.iter().map(|node| text("node_id", node));
        let points = vec![NumberPoint {
            attributes: node.collect(),
            start: window.start,
            end: window.end,
            value: Some(Number::Double(self.value)),
        }];
        Metric {
            name: self.name.to_string(),
            unit: String::new(),
            data: Some(match self.is_sum {
                true => Data::Sum(Sum {
                    points,
                    temporality: window.temporality(),
                    is_monotonic: true,
                }),
                false => Data::Gauge(Gauge { points }),
            }),
        }
    }
}

impl Window {
    /// By its number: 1 is delta, 2 is cumulative.
    fn temporality(self) -> i32 {
        if self.is_delta { 1 } else { 2 }
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_string(),
        value: Some(AnyValue {
            value: Some(value.to_string()),
        }),
    }
}

fn attributes(point: Point<'_>) -> Vec<KeyValue> {
    let attributes = point.attributes.iter();
    attributes.map(|(key, value)| text(key, value)).collect()
}

fn number(point: Point<'_>, window: Window) -> NumberPoint {
    NumberPoint {
        attributes: attributes(point),
        start: window.start,
        end: window.end,
        value: match point.value {
            Value::Count(count) => Some(Number::Int(i64::try_from(*count).unwrap_or(i64::MAX))),
            Value::Number(number) => Some(Number::Double(*number)),
            Value::Distribution(_) => None,
        },
    }
}

fn histogram(point: Point<'_>, window: Window) -> Option<HistogramPoint> {
    let Value::Distribution(values) = point.value else {
        return None;
    };
    Some(HistogramPoint {
        attributes: attributes(point),
        start: window.start,
        end: window.end,
        count: values.count(),
        sum: Some(values.sum),
        counts: values.counts.clone(),
        bounds: values.bounds.to_vec(),
    })
}

#[derive(Clone, PartialEq, Message)]
struct MetricsData {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeMetrics {
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(oneof = "Data", tags = "5, 7, 9")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Data {
    #[prost(message, tag = "5")]
    Gauge(Gauge),
    #[prost(message, tag = "7")]
    Sum(Sum),
    #[prost(message, tag = "9")]
    Histogram(Histogram),
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(message, repeated, tag = "1")]
    points: Vec<NumberPoint>,
}

#[derive(Clone, PartialEq, Message)]
struct Sum {
    #[prost(message, repeated, tag = "1")]
    points: Vec<NumberPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
    #[prost(bool, tag = "3")]
    is_monotonic: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(message, repeated, tag = "1")]
    points: Vec<HistogramPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
struct NumberPoint {
    #[prost(message, repeated, tag = "7")]
    attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "2")]
    start: u64,
    #[prost(fixed64, tag = "3")]
    end: u64,
    #[prost(oneof = "Number", tags = "4, 6")]
    value: Option<Number>,
}

#[derive(Clone, Copy, PartialEq, prost::Oneof)]
enum Number {
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(sfixed64, tag = "6")]
    Int(i64),
}

#[derive(Clone, PartialEq, Message)]
struct HistogramPoint {
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "2")]
    start: u64,
    #[prost(fixed64, tag = "3")]
    end: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, optional, tag = "5")]
    sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    bounds: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    value: Option<String>,
}
