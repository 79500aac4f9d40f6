//! An Apache Kafka client in pure Rust, with typed events on top.
//!
//! [`kafka`] reads and writes records; [`events`] reads and writes messages of
//! types that you declare, with retries, dead letters and order per key;
//! [`broker`] is a Kafka in your process, for demos and tests. Nothing here is C
//! or needs a C compiler, TLS and zstd included.
//!
//! # Quick start
//!
//! ```toml
//! [dependencies]
//! pat-events = { version = "0.1", features = ["broker"] }
//! tokio = { version = "1", features = ["macros", "rt"] }
//! ```
//!
//! This program runs as it is, on an embedded broker. With a Kafka of your own
//! leave the feature `broker` out, and put your address in place of its lines.
//!
//! ```
//! # #[cfg(not(feature = "broker"))]
//! # fn main() {}
//! use pat_events::kafka::{Consumer, ConsumerConfig, OffsetReset};
//! use pat_events::kafka::{Producer, ProducerConfig, Record};
//! use std::time::Duration;
//!
//! # #[cfg(feature = "broker")]
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let broker = pat_events::broker::Broker::builder();
//!     let broker = broker.start_tcp("127.0.0.1:0").await?;
//!     broker.create_topic("greetings", 3)?;
//!     let brokers = broker.bootstrap_servers(); // "localhost:9092"
//!
//!     let producer = Producer::connect(ProducerConfig::new(&brokers)).await?;
//!     let hello = Record::new("greetings").key(b"world").value(b"hello");
//!     let written = producer.send(hello).await?; // acknowledged
//!     println!("offset {:?} of {}", written.offset, written.partition);
//!
//!     let mut config = ConsumerConfig::new(&brokers, "readers");
//!     config.auto_offset_reset = OffsetReset::Earliest;
//!     let mut consumer = Consumer::connect(config).await?;
//!     consumer.subscribe(&["greetings"]).await?;
//!     let mut read = 0;
//!     while read == 0 {
//!         let records = consumer.poll(Duration::from_secs(1)).await?;
//!         for record in &records {
//!             println!("{record:?}");
//!         }
//!         read += records.count();
//!         consumer.commit_sync().await?;
//!     }
//!     consumer.close().await?; // leaves the group
//!     producer.close(Duration::from_secs(10)).await?;
//!     Ok(())
//! }
//! ```
//!
//! The same with typed events is on the page of [`events`]; a service from nothing
//! to its graceful end is the [tutorial](events::tutorial). The [`guide`] explains:
//! what is guaranteed, what to do about each error, how to tune, test, watch and
//! stop, and what things are called for those who come from another client.
//!
//! # What it guarantees
//!
//! - **No record is lost in silence.** What was accepted is written, or its
//!   [`Delivery`](kafka::Delivery) fails with an error whose
//!   [`outcome`](kafka::Error::outcome) is *written*, *not written* or *unknown*.
//! - **Order.** The records that one task hands in for one partition are written in
//!   that order, retries included, with idempotence (the default of
//!   [`kafka::Producer`]) and without.
//! - **At least once, in order of the key.** Consumers of events commit what was
//!   handled, and never beyond what was not. [Exactly once](guide::exactly_once) is
//!   one call: [`exactly_once`](kafka::exactly_once()).
//! - **Bounded memory.** Producers, consumers and queues of events have budgets in
//!   bytes. Nothing is allocated by a number from the wire.
//! - **Every wait ends.** Each call has a deadline; dropping a future or a client
//!   never blocks; what is cancel safe says so.
//! - **A broker that fails is waited out, one that lies is found out.** Leaders that
//!   move, brokers that die and rebalances are no errors as long as they pass in time.
//!
//! # What it does not do (yet)
//!
//! - It runs on [tokio] only. [`kafka::blocking`] is for programs without it.
//! - Kafka Streams, Kafka Connect and streams groups (KIP-1071) are not there.
//! - [`kafka::admin`] lists what can be administered. Anything else can be asked for by
//!   Kafka's own messages: [`Client::request`](kafka::Client::request).
//! - Kerberos, JKS and PKCS#12 stores are not supported, and lists of revoked
//!   certificates are not read: `SECURITY.md` says why, and what to do instead.
//! - The default TLS needs x86_64 with AVX2 and ADX, or aarch64. Elsewhere take
//!   `tls-ring` or `tls-aws-lc-rs`, which need a C compiler.
//! - Before version 1.0 a minor version may change the API. The changelog says how.
//!
//! # Brokers
//!
//! Apache Kafka 2.1 to 4.4, by the versions of the protocol that each broker says it
//! speaks. The test suite runs against Kafka 4.4.0 and against the embedded broker.
//! Older versions of single requests are tested on the embedded broker; no older
//! Kafka, and no other product that speaks Kafka's protocol, has been tried.
//!
//! # Cargo features
//!
//! | feature | default | what it brings |
//! | --- | --- | --- |
//! | `tls` | yes | TLS 1.2 and 1.3 without C |
//! | `oauth-oidc` | yes | tokens for OAUTHBEARER from an OpenID provider |
//! | `msk-iam` | yes | Amazon MSK's IAM |
//! | `tls-ring`, `tls-aws-lc-rs` | | TLS by these, with a C compiler |
//! | `tls-bundled-roots` | | Mozilla's list of whom to trust, in the program |
//! | `broker` | | the embedded broker |
//! | `avro`, `json` | | events in Avro and JSON beside Protobuf |
//! | `registry` | | schemas from a registry that speaks Confluent's API |
//! | `schema` | | what a change of a schema breaks |
//! | `prometheus` | | metrics as Prometheus' text, and a port that serves them |
//! | `otel` | | metrics and spans through OpenTelemetry's API |
//! | `tracing` | | what happens to clients as log lines |
//! | `signals` | | ready when the process is asked to end |
//! | `zstd-c` | | zstd through the C library, with a C compiler |
//!
//! `tls-rustls` and `http` are what some of these have in common, and of no use alone.
//! Minimum Rust: 1.95. A newer one is asked for by a minor version, not by a patch.
//!
//! [tokio]: https://docs.rs/tokio
#![cfg_attr(feature = "broker", doc = "[`broker`]: crate::broker")]
#![cfg_attr(not(feature = "broker"), doc = "[`broker`]: #cargo-features")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// | module | what lives there |
// | --- | --- |
// | `events` | typed events on top of the client |
// | `kafka` | the client: records in, records out |
// | `broker` | an embedded Kafka, in process (feature `broker`) |
// | `guide` | pages to read |
// | `tls_provider` | whose cryptography TLS takes, for client and embedded broker alike |

pub mod events;
pub mod guide;
pub mod kafka;

#[cfg(feature = "broker")]
pub mod broker;

#[cfg(feature = "tls-rustls")]
mod tls_provider;

/// The README's examples, so that they compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
