//! From events to records.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `config` | what a producer of events can be told |

mod config;

pub use config::ProducerConfig;
