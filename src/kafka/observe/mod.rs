//! What an operator sees of a client: events, metrics, log lines.
//!
//! An [`Observer`] in [`ClientConfig::observer`](crate::kafka::ClientConfig) is told
//! what happens: connects and disconnects, leaders that move, rebalances, failures.
//! [`Metrics`] in [`ClientConfig::metrics`](crate::kafka::ClientConfig) are counts
//! and durations, read whenever they are wanted. `Tracing` (feature `tracing`) is an
//! observer that logs, `PrometheusServer` (`prometheus`) and `export_metrics`
//! (`otel`) show metrics to others. See [the guide](crate::guide::observability).

// | file | what lives there |
// | --- | --- |
// | `broker` | what goes on between a client and one broker |
// | `client_event` | what can happen, and how much it should be noticed |
// | `event_text` | the same as lines that a person reads |
// | `lag` | consumers that fall behind |
// | `latency` | how long things take |
// | `metrics` | all of it as metrics, with names and units, for whatever shows them |
// | `observer` | the seam: what happens, and who is told |
// | `telemetry` | what brokers want to know of clients |
// | `tracing` | events as log lines (feature `tracing`) |

mod broker;
mod client_event;
mod event_text;
mod lag;
mod latency;
pub mod metrics;
mod observer;
pub(crate) mod telemetry;
#[cfg(feature = "tracing")]
mod tracing;

pub(crate) use broker::BrokerCounters;
pub use broker::BrokerMetrics;
pub use client_event::{AfterFailure, ClientEvent, Intake, Severity};
pub(crate) use lag::LagWatch;
pub(crate) use latency::{Histogram, SizeHistogram};
pub use latency::{Latency, Sizes};
pub use metrics::Metrics;
#[cfg(feature = "prometheus")]
pub use metrics::PrometheusServer;
#[cfg(feature = "otel")]
pub use metrics::export_metrics;
pub use observer::Observer;
pub(crate) use observer::{Watch, tell};
#[cfg(feature = "tracing")]
pub use tracing::Tracing;
