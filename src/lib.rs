//! An Apache Kafka client in pure Rust, with typed events on top.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`kafka`] | the client: records in, records out |

pub mod kafka;
