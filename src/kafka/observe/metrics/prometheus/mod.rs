//! A snapshot for Prometheus.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `server` | a small HTTP server of it |
//! | `text` | the text that Prometheus reads |

mod server;
mod text;

pub use server::PrometheusServer;

/// The `content-type` of [`Snapshot::to_prometheus`](super::Snapshot::to_prometheus).
pub const PROMETHEUS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
