//! What brokers want to know of clients (KIP-714): which metrics, how often, in which form. The task that asks them and sends it is
//! `cluster::telemetry`.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `otlp` | metrics as OTLP has them |
//! | `standard` | the metrics that every client has, by KIP-714's names |
//! | `state` | when to ask and when to send |

mod otlp;
mod standard;
mod state;

use protocol::compression::{Codec, Compression, Compressor};
use protocol::messages::PushTelemetryRequest;
pub(crate) use state::{Next, State, Subscription};

use super::Metrics;
use super::metrics::{Snapshot, attribute};
use otlp::Window;

/// What a client has told its brokers so far.
pub(crate) struct Told {
    metrics: Metrics,
    client_id: String,
    /// When counting began, in milliseconds since 1970.
    began_ms: i64,
    last: Snapshot,
    last_ms: i64,
}

/// What is to be told now.
pub(crate) struct Telling {
    pub request: PushTelemetryRequest,
    all: Snapshot,
    now_ms: i64,
}

impl Told {
    pub fn new(metrics: Metrics, client_id: String, now_ms: i64) -> Self {
        Self {
            metrics,
            client_id,
            began_ms: now_ms,
            last: Snapshot::default(),
            last_ms: now_ms,
        }
    }

    /// What `subscription` wants now. Where it is more than the broker takes, only the standard metrics.
    pub fn tell(&self, state: &State, subscription: &Subscription, now_ms: i64) -> Telling {
        let all = self.metrics.snapshot();
        let all = all.with(attribute::CLIENT, &self.client_id);
        let news = all.since(&self.last);
        let nanos = |millis: i64| u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000);
        let window = Window {
            start: nanos(match subscription.is_delta {
                true => self.last_ms,
                false => self.began_ms,
            }),
            end: nanos(now_ms),
            is_delta: subscription.is_delta,
        };
        let seconds = now_ms.saturating_sub(self.last_ms) as f64 / 1e3;
        let mut standard = standard::standard(&all, &news, seconds, subscription.is_delta);
        standard.retain(|metric| subscription.wants(metric.name));
        let others = if subscription.is_delta {
            news
        } else {
            all.clone()
        };
        let others = others.only(|name| subscription.wants(name));
        let labels = self.labels(&all);
        let mut metrics = otlp::encode(&labels, &standard, &others, window);
        if metrics.len() > subscription.max_bytes {
            metrics = otlp::encode(&labels, &standard, &Snapshot::default(), window);
        }
        let (codec, metrics) = compressed(subscription.codec, metrics);
        Telling {
            request: PushTelemetryRequest {
                client_instance_id: state.instance,
                subscription_id: subscription.id,
                terminating: false,
                compression_type: codec as i8,
                metrics: metrics.into(),
                ..Default::default()
            },
            all,
            now_ms,
        }
    }

    /// The broker has taken `telling`.
    pub fn told(&mut self, telling: Telling) {
        self.last = telling.all;
        self.last_ms = telling.now_ms;
    }

    /// What is said of the client as a whole: its group, where it has one.
    fn labels(&self, all: &Snapshot) -> Vec<(&'static str, String)> {
        let points = all.metrics().flat_map(|metric| metric.points());
        let groups = points.flat_map(|point| point.attributes);
        let mut groups = groups.filter(|(name, _)| *name == attribute::GROUP);
        let group = groups.next().map(|(_, group)| group.clone());
        match group {
            Some(group) if groups.all(|(_, other)| *other == group) => vec![("group_id", group)],
            _ => Vec::new(),
        }
    }
}

/// What cannot be compressed is sent as it is.
fn compressed(codec: Codec, bytes: Vec<u8>) -> (Codec, Vec<u8>) {
    let mut out = Vec::new();
    match Compressor::new(Compression::from(codec)).compress(&bytes, &mut out) {
        Ok(()) => (codec, out),
        Err(_) => (Codec::None, bytes),
    }
}
