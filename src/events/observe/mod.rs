//! What an operator sees of typed events.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `catalogue` | every metric, by its name, unit and kind |
//! | `metrics` | what a consumer of events adds to a snapshot of metrics |

pub mod catalogue;
mod metrics;

pub(crate) use metrics::MeasuredEvents;
