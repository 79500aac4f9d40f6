//! Options: as fields, by their names as Java has them, from files and the environment.
//!
//! [`ClientConfig`] is what all clients share. It is the field `client` of
//! [`ProducerConfig`](crate::kafka::ProducerConfig),
//! [`ConsumerConfig`](crate::kafka::ConsumerConfig) and their like. Each of them reads
//! pairs (`from_properties`), a file (`from_properties_file`) and the environment
//! (`from_env`: `KAFKA_LINGER_MS` is `linger.ms`). A name that nobody knows is
//! refused, and so is a value that is not allowed, with what is.
//!
//! ```
//! use pat_events::kafka::ProducerConfig;
//!
//! let config = ProducerConfig::from_properties([
//!     ("bootstrap.servers", "kafka-1:9092"),
//!     ("linger.ms", "20"),
//!     ("compression.type", "zstd:3"),
//! ])?;
//! assert_eq!(config.linger.as_millis(), 20);
//! # Ok::<(), pat_events::kafka::Error>(())
//! ```
//!
//! [`librdkafka`] takes that client's names, values and defaults.

// | file | what lives there |
// | --- | --- |
// | `client` | the options that producer, consumer and admin share |
// | `files` | files, read no further than they may be long |
// | `librdkafka` | its names, values and defaults, translated |
// | `properties` | the mechanism: one row per Java-style name; from pairs, files and the environment |
// | `properties_file` | the syntax of Java's `.properties` |
// | `security` | TLS and SASL |
// | `secret` | a text that is shown to nobody |
// | `values` | what properties can be: text to value, and which values are allowed |

mod client;
mod files;
pub mod librdkafka;
#[macro_use]
mod properties;
mod properties_file;
mod secret;
pub(crate) mod security;
pub(crate) mod values;

pub use client::ClientConfig;
pub(crate) use files::read_bounded;
pub(crate) use librdkafka::is_of_another;
pub use properties::variable_name;
pub(crate) use properties::{
    Configuration, Property, is_option, properties, property_names, set_by_name, set_property,
};
pub use properties_file::PropertiesFile;
pub use secret::Secret;
