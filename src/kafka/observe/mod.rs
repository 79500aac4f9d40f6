//! What an operator sees of a client.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `latency` | how long things take |

mod latency;

pub(crate) use latency::Histogram;
pub use latency::Latency;
