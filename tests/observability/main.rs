//! What is measured and traced, and how it gets to those who look: by the names of OpenTelemetry's conventions, as Prometheus' text and over
//! OTLP. On the embedded broker, through a real client and TCP.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `conventions` | names, units and attributes against the published list (`conventions.txt`) |
//! | `dashboard` | the dashboard and the alerts of `examples/observability` |
//! | `http` | one HTTP request |
//! | `metrics` | what is measured of clients and of consumers of events |
//! | `otel_metrics` | metrics through OpenTelemetry's SDK |
//! | `otlp` | a receiver of OTLP |
//! | `prometheus` | a strict reader of Prometheus' text |
//! | `promtool` | what Prometheus' own checker says, where it is there |
//! | `shop` | the events of these tests, and handlers that fail as they are told |
//! | `telemetry` | what brokers are told that ask (KIP-714) |
//! | `tracing` | traces of events, over a retry and a dead letter |

mod conventions;
mod dashboard;
mod http;
#[path = "../support/in_memory.rs"]
mod in_memory;
mod metrics;
mod otel_metrics;
mod otlp;
mod prometheus;
mod promtool;
mod shop;
mod telemetry;
mod tracing;
