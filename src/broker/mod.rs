//! An embedded Kafka: an in-process cluster of one or several nodes that speaks the real protocol, over TCP or in memory.
//!
//! For demos, for fast tests, and for simulation: with a seed, a paused clock and in-memory connections a run on one thread is
//! the same each time. Logs live in memory and are bounded by [`BrokerBuilder::retention_bytes`]; with [`BrokerBuilder::data`] they live in files,
//! and a broker that is started again goes on where another ended, however that was.
//!
//! The house, from the wire inwards:
//! - `builder`, `handle`: what users see: [`BrokerBuilder`], [`Broker`]
//! - `server/`: listeners and connections, one task each; `api/`: one thin handler for each API
//! - `security/`: who clients are, and what they may do
//! - `cluster`: what the nodes share, and the story of the locks
//! - `topic`, `topic_index`, `topic_settings`, `partition`, `log`, `batch`, `producers`: where records live, and what is checked before they do
//! - `storage/`: where a log's batches are kept: in memory, or in a data directory with everything else that outlives a broker
//! - `restore`: what a broker takes back from there; `producer_ids`: those that were given away
//! - `transactions/`: who coordinates them, what of them is in partitions, and how they end
//! - `groups/`, `fetch_session`: consumer groups and fetch sessions
//! - `share/`: what share groups have acquired and acknowledged, and their sessions
//! - `telemetry`: what clients tell of what they measure
//! - `faults`: failures on purpose; `quota`: what clients may produce; `random`: the seed; `wall_clock`: the time of day
//!
//! It shares the `protocol` crate with the client, and nothing else: the two must not share a misunderstanding.

mod api;
mod batch;
mod builder;
mod cluster;
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
