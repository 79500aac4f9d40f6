//! Transactions (KIP-98), as Kafka 4.4's coordinators and partitions keep them.
//!
//! The coordinator's side:
//! - `transaction`: one transactional id: who its producer is, and how far its transaction has come. A pure machine
//! - `coordinator`: all transactional ids, and their deadlines
//! - `enlistment`: partitions come into transactions when their records do (KIP-890)
//! - `ending`: the markers of transactions that end are written to the partitions' leaders
//!
//! The partition's side:
//! - `partition`: where read_committed readers have to stop, and what they have to skip
//! - `verification`: which batch may open a transaction
//! - `marker`: the control batch that ends one
//! - `offsets_log`: the same of the internal topic that groups' offsets are in

mod coordinator;
mod ending;
mod enlistment;
mod marker;
mod offsets_log;
mod partition;
mod transaction;
mod verification;

pub(crate) use coordinator::{InitRequest, TransactionCoordinator, TransactionSettings};
pub(crate) use enlistment::Enlistment;
pub(crate) use marker::Marker;
pub(crate) use offsets_log::{OFFSETS_PARTITIONS, OFFSETS_TOPIC, OffsetsLog, offsets_partition};
pub(crate) use partition::{Aborted, PartitionTransactions};
pub(crate) use transaction::{
    InitProducer, Moment, ProducerIdAndEpoch, State, Transaction, TransactionPartition,
    TransactionVersion,
};
pub(crate) use verification::{Guard, Verifications};
