//! An Apache Kafka client in pure Rust, with typed events on top.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`events`] | typed events on top of the client |
//! | [`kafka`] | the client: records in, records out |

pub mod events;
pub mod kafka;
