//! An embedded Kafka: a cluster in your process that speaks the real protocol.
//!
//! It serves any client of Kafka, over TCP ([`start_tcp`](BrokerBuilder::start_tcp))
//! or in memory, as one node or several: for demos, for fast tests, for simulation,
//! and with [`BrokerBuilder::data`] for a laptop or a pipeline, where it goes on where
//! it ended, however that was. Logs are bounded by
//! [`BrokerBuilder::retention_bytes`]. It is no replacement for a cluster: nodes are
//! replicas of each other only in name, since they share one memory.
//!
//! ```
//! use pat_events::broker::{ApiKey, Broker, ErrorCode, Fault, FaultAction};
//! use pat_events::kafka::{Producer, ProducerConfig, Record};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::builder().nodes(3).start_tcp("127.0.0.1:0").await?;
//! broker.create_topic("orders", 6)?;
//! // The next Produce request is refused once; the producer repeats it.
//! let refusal = FaultAction::Answer(ErrorCode::NOT_ENOUGH_REPLICAS);
//! broker.inject(Fault::on(ApiKey::PRODUCE, refusal));
//!
//! let config = ProducerConfig::new(&broker.bootstrap_servers());
//! let producer = Producer::connect(config).await?;
//! let written = producer.send(Record::new("orders").value(b"{}")).await?;
//! assert_eq!(written.offset, Some(0));
//! assert_eq!(broker.pending_faults(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! With a seed ([`BrokerBuilder::seed`]), a paused clock and connections in memory, a
//! run on one thread is the same each time.

// The house, from the wire inwards:
// - `builder`, `handle`: what users see: `BrokerBuilder`, `Broker`
// - `server/`: listeners and connections, one task each; `api/`: one thin handler for each API
// - `security/`: who clients are, and what they may do
// - `cluster`: what the nodes share, and the story of the locks
// - `topic`, `topic_index`, `topic_settings`, `partition`, `log`, `batch`, `producers`: where records live, and what is checked before they do
// - `configs/`: the configurations of topics, groups and brokers, described and altered
// - `storage/`: where a log's batches are kept: in memory, or in a data directory with everything else that outlives a broker
// - `restore`: what a broker takes back from there; `producer_ids`: those that were given away
// - `transactions/`: who coordinates them, what of them is in partitions, and how they end
// - `groups/`, `fetch_session`: consumer groups and fetch sessions
// - `share/`: what share groups have acquired and acknowledged, and their sessions
// - `telemetry`: what clients tell of what they measure
// - `faults`: failures on purpose; `quota`: what clients may produce; `random`: the seed; `wall_clock`: the time of day
//
// It shares the `protocol` crate with the client, and nothing else: the two must not share a misunderstanding.

mod api;
mod batch;
mod builder;
mod cluster;
mod configs;
mod faults;
mod fetch_session;
mod groups;
mod handle;
mod log;
mod partition;
mod producer_ids;
mod producers;
mod quota;
mod random;
mod restore;
mod security;
mod server;
mod share;
mod storage;
mod telemetry;
mod topic;
mod topic_index;
mod topic_settings;
mod transactions;
mod wall_clock;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use builder::BrokerBuilder;
pub use faults::{Fault, FaultAction, Garbling};
pub use groups::MigrationPolicy;
pub use handle::{Broker, LogSummary};
pub use security::{Acl, AclOperation, AclResource};
#[cfg(feature = "tls-rustls")]
pub use server::BrokerTls;
pub use storage::FsyncPolicy;
pub use telemetry::PushedTelemetry;

// What of the protocol stands in signatures here.
#[doc(inline)]
pub use protocol::{ApiKey, ErrorCode};

/// What reads a data directory's files, for the fuzz targets.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use super::storage::fuzzing::{metadata_log, sample_metadata_log, segment};
}

/// Locks; what a panicking holder left behind is still consistent, as every step is complete in itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
