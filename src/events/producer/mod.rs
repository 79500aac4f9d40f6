//! From events to records.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `config` | the options of a producer of events |
//! | `event_producer` | events in, CloudEvents out |

mod config;
mod event_producer;

pub use config::ProducerConfig;
pub use event_producer::{Attributes, EventProducer};
