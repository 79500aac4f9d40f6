//! Metrics as a model: what clients count, under names, with units and attributes.
//!
//! [`Metrics::snapshot`] puts them together when somebody looks; nothing of it is
//! written on the way of a record. The [`catalogue`] lists all of them.

// | file | what lives there |
// | --- | --- |
// | `catalogue` | every metric, by its name, unit and kind |
// | `model` | a snapshot of metrics: points with attributes and values |
// | `otel` | metrics as instruments of OpenTelemetry's API (feature `otel`) |
// | `prometheus` | a snapshot as Prometheus' text, and a server of it (feature `prometheus`) |
// | `sources` | what each part of the client adds to a snapshot |

pub mod catalogue;
mod model;
#[cfg(feature = "otel")]
mod otel;
#[cfg(feature = "prometheus")]
mod prometheus;
mod sources;

use std::fmt;
use std::sync::Arc;

pub use catalogue::{Description, MetricKind};
pub use model::{Distribution, Metric, Point, Snapshot, Value};
#[cfg(feature = "otel")]
pub(crate) use otel::export;
#[cfg(feature = "otel")]
pub use otel::export_metrics;
#[cfg(feature = "prometheus")]
pub use prometheus::{PROMETHEUS_CONTENT_TYPE, PrometheusServer};
pub(crate) use sources::{
    OTHER, Recorder, attribute, of_brokers, of_consumer, of_producer, of_share_consumer,
};

use crate::kafka::runtime::Mutex;

/// What clients measure. Each [`ClientConfig`](crate::kafka::ClientConfig) has one; give several configurations clones of the same one to
/// see them together. Everything that is created with a configuration is in it from then on: its connections, producers and consumers.
///
/// What a producer or consumer has counted stays in it when that is gone; what it held (buffers, lag) goes with it.
///
/// ```
/// use pat_events::kafka::ClientConfig;
/// use pat_events::kafka::observe::Metrics;
///
/// let metrics = Metrics::default();
/// let mut config = ClientConfig::new("kafka-1:9092");
/// config.metrics = metrics.clone();
/// // … and later:
/// for metric in metrics.snapshot().metrics() {
///     println!("{} in {}", metric.description.name, metric.description.unit);
/// }
/// ```
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Registered>>);

/// Something that is measured.
pub(crate) trait Source: Send + Sync {
    /// Adds what it has counted and holds. `false`: it is gone, and what it has added was the last.
    fn measure(&self, to: &mut Snapshot) -> bool;

    /// What is wrong with it now, in a sentence.
    fn trouble(&self) -> Option<String> {
        None
    }
}

#[derive(Default)]
struct Registered {
    sources: Vec<Box<dyn Source>>,
    /// What those have counted that are gone.
    retired: Snapshot,
    /// With so many sources it is time to look for those that are gone.
    look_at: usize,
}

impl Metrics {
    /// What was counted so far, and what is held now.
    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().snapshot()
    }

    /// What is wrong now, a sentence each; none: all is well. That a client has no connection to any broker and the last attempt to get one has
    /// failed; that a consumer of events has ended by itself, or takes in nothing because nearly all of its handlers fail
    /// ([`CircuitPolicy`](crate::events::CircuitPolicy)). What a client waits out without an interruption is not among them.
    ///
    /// It says whether work is done, not whether to restart the process: none of these is healed by that, unless a consumer has ended.
    pub fn troubles(&self) -> Vec<String> {
        let registered = self.0.lock();
        let sources = registered.sources.iter();
        sources.filter_map(|source| source.trouble()).collect()
    }

    pub(crate) fn register(&self, source: impl Source + 'static) {
        let mut registered = self.0.lock();
        registered.sources.push(Box::new(source));
        if registered.sources.len() > registered.look_at {
            // A program that creates many, one after the other, and never looks.
            registered.snapshot();
            registered.look_at = 64.max(2 * registered.sources.len());
        }
    }
}

impl Registered {
    fn snapshot(&mut self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let retired = &mut self.retired;
        self.sources.retain(|source| {
            let mut part = Snapshot::default();
            let lives = source.measure(&mut part);
            match lives {
                true => snapshot.merge(part),
                false => retired.retire(part),
            }
            lives
        });
        snapshot.merge(retired.clone());
        snapshot
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
