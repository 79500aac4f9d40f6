//! An Apache Kafka client in pure Rust, with typed events on top.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`events`] | typed events on top of the client |
//! | [`kafka`] | the client: records in, records out |
//! | `broker` | an embedded Kafka, in process (feature `broker`) |

pub mod events;
pub mod kafka;

#[cfg(feature = "broker")]
pub mod broker;

#[cfg(feature = "tls-rustls")]
mod tls_provider;

/// The README's examples, so that they compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
