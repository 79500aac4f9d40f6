//! From events to records.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `config` | what a producer of events can be told |
//! | `event_producer` | events in, CloudEvents out |

mod config;
mod event_producer;

pub use config::ProducerConfig;
pub use event_producer::{Attributes, EventProducer};
