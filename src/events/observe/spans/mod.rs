//! Spans of events: sent, handled, handled again, given up; and of transactions. In: what happens to an event. Out: spans by OpenTelemetry's messaging conventions,
//! and the headers through which a trace goes on (W3C Trace Context). Where there is no tracer, a branch.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `otel` | spans through OpenTelemetry's API (feature `otel`) |
//! | `absent` | none, without it |
//! | `roots` | which of the traces that begin here are sampled |
//! | `trace_context` | `traceparent` and `tracestate`, written and read |

#[cfg(not(feature = "otel"))]
mod absent;
#[cfg(feature = "otel")]
mod otel;
#[cfg(feature = "otel")]
mod roots;
#[cfg(feature = "otel")]
mod trace_context;

#[cfg(not(feature = "otel"))]
use absent as spans;
#[cfg(feature = "otel")]
use otel as spans;

#[cfg(feature = "otel")]
pub use otel::Tracer;
pub(crate) use spans::{Last, ProcessSpan, Spans, TransactionSpan};

/// The header by which a trace goes on through a record.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// What tracing systems add to it.
#[cfg(feature = "otel")]
pub(crate) const TRACESTATE: &str = "tracestate";

/// What is known of an event that is sent, besides its topic.
#[cfg_attr(not(feature = "otel"), allow(dead_code))]
pub(crate) struct Sent<'a> {
    pub id: Option<&'a str>,
    pub key: Option<&'a [u8]>,
    pub len: usize,
    /// The trace that the application says it is part of: it is left as it is.
    pub custom: Option<(&'a str, Option<&'a str>)>,
}
