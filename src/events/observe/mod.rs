//! What an operator sees of typed events: metrics by name, and spans.
//!
//! The [`catalogue`] lists the metrics of consumers of events, which are in the
//! [`Metrics`](crate::kafka::Metrics) of their client. With the feature `otel`, a
//! `Tracer` in the configurations of producers and consumers makes spans of events
//! that are sent, handled and given up.

// | file | what lives there |
// | --- | --- |
// | `catalogue` | every metric, by its name, unit and kind |
// | `metrics` | what a consumer of events adds to a snapshot of metrics |
// | `spans` | spans of events that are sent, handled and given up, and of transactions (feature `otel`) |

pub mod catalogue;
mod metrics;
mod spans;

pub(crate) use metrics::MeasuredEvents;
#[cfg(feature = "otel")]
pub use metrics::export_metrics;
#[cfg(feature = "otel")]
pub use spans::Tracer;
pub(crate) use spans::{Last, ProcessSpan, Sent, Spans, TRACEPARENT, TransactionSpan};
