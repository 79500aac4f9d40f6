//! Partitions come into transactions when their records do, or are looked for in them (KIP-890).
//!
//! The leader of a partition asks the coordinator before a batch opens a transaction there. Clients of `transaction.version` 2 leave it at that;
//! older ones have added the partition before.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{ApiKey, ErrorCode};

use super::{ProducerIdAndEpoch, TransactionPartition};
use crate::broker::cluster::Cluster;
use crate::broker::faults::FaultAction;
use crate::broker::lock;

/// What a client's request wants, by its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enlistment {
    /// The partition has to be in the transaction; the client does not know TRANSACTION_ABORTABLE.
    VerifyForOld,
    /// It has to be in the transaction.
    Verify,
    /// It is added.
    Add,
}

impl Enlistment {
    /// Of a Produce request.
    pub(crate) fn of_produce(version: i16) -> Self {
        Self::of(version, 11)
    }

    /// Of a TxnOffsetCommit request.
    pub(crate) fn of_offset_commit(version: i16) -> Self {
        Self::of(version, 4)
    }

    /// `last`: the last version of clients that add partitions by themselves.
    fn of(version: i16, last: i16) -> Self {
        match version {
            version if version > last => Self::Add,
            version if version == last => Self::Verify,
            _ => Self::VerifyForOld,
        }
    }

    pub(crate) fn adds(self) -> bool {
        self == Self::Add
    }

    /// The coordinator's error, as clients of this kind know it.
    fn translate(self, error: ErrorCode) -> ErrorCode {
        match error {
            ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
            ErrorCode::TRANSACTION_ABORTABLE if self == Self::VerifyForOld => {
                ErrorCode::INVALID_TXN_STATE
            }
            error => error,
        }
    }
}

impl Cluster {
    /// Asks the coordinator, once: which partitions are refused, and why. Rules about AddPartitionsToTxn hold for this, too.
    pub(crate) async fn enlist(
        &self,
        id: &str,
        producer: ProducerIdAndEpoch,
        partitions: &BTreeSet<TransactionPartition>,
        how: Enlistment,
    ) -> BTreeMap<TransactionPartition, ErrorCode> {
        let all = |error| {
            let refused = partitions
                .iter()
                .map(|it| (it.clone(), how.translate(error)));
            refused.collect::<BTreeMap<_, _>>()
        };
        let coordinator = (self.directory().coordinator(id)).map(|endpoint| endpoint.node);
        let Some(node) = coordinator else {
            return all(ErrorCode::COORDINATOR_NOT_AVAILABLE);
        };
        let mut instead = None;
        let faults = lock(&self.faults).matching(ApiKey::ADD_PARTITIONS_TO_TXN, node);
        for fault in faults {
            match fault {
                FaultAction::Disconnect | FaultAction::AnswerNothing => {
                    return all(ErrorCode::NETWORK_EXCEPTION);
                }
                FaultAction::Answer(error) => return all(error),
                FaultAction::ApplyThenDisconnect | FaultAction::ApplyThenGarble(_) => {
                    instead = Some(ErrorCode::NETWORK_EXCEPTION);
                }
                FaultAction::ApplyThenAnswer(error) => instead = Some(error),
                FaultAction::Delay(time) | FaultAction::Throttle(time) => {
                    tokio::time::sleep(time).await;
                }
            }
        }
        let now = self.moment();
        let mut refused = lock(&self.transactions).enlist(id, producer, partitions, how, now);
        if let Err(error) = self.keep_transactions() {
            return all(error);
        }
        self.groups_changed.notify_one();
        for error in refused.values_mut() {
            *error = how.translate(*error);
        }
        instead.map_or(refused, all)
    }
}
