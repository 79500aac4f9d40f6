//! The markers of transactions that end are written to the partitions' leaders.
//!
//! Kafka's coordinators do that after they have answered EndTxn. Here it is done before: only markers for partitions without a leader, and those
//! that a rule about WriteTxnMarkers holds up, are written later.

use std::collections::BTreeMap;

use protocol::{ApiKey, ErrorCode};

use super::coordinator::Ending;
use super::{Marker, Moment, OFFSETS_TOPIC, TransactionPartition};
use crate::broker::cluster::Cluster;
use crate::broker::faults::FaultAction;
use crate::broker::lock;
use crate::broker::partition::MarkerOptions;

/// What becomes of one leader's markers.
enum Fate {
    Written,
    /// They are, and the coordinator does not hear of it.
    WrittenUnheard,
    Lost,
    Late(std::time::Duration),
}

impl Cluster {
    /// Keeps what transactions have come to, where anything outlives the broker.
    pub(crate) fn keep_transactions(&self) -> Result<(), ErrorCode> {
        if self.data.is_none() {
            return Ok(());
        }
        let mut transactions = lock(&self.transactions);
        let kept = self.keep(&transactions.changes());
        kept.map_err(|_| ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        transactions.kept();
        Ok(())
    }

    /// Whether it is sure that a transaction ends as it was decided, before anybody sees it.
    fn is_decided(&self) -> bool {
        let is_kept = self.keep_transactions().is_ok();
        is_kept && self.data.as_ref().is_none_or(|data| data.settle().is_ok())
    }

    /// Writes all markers that are due, as far as there are leaders to write them to. Blocks where there is a data directory.
    pub(crate) fn write_markers(&self) {
        let now = self.moment();
        let due = lock(&self.transactions).due_markers(now);
        // What cannot be kept now is tried again with the markers.
        if !due.is_empty() && !self.is_decided() {
            return;
        }
        for ending in &due {
            if self
                .directory()
                .coordinator(&ending.transactional_id)
                .is_some()
            {
                self.write_markers_of(ending, now);
            }
        }
        // What is not kept of this is done once more after a restart, and changes nothing then.
        let _ = self.keep_transactions();
        if !due.is_empty() {
            self.groups_changed.notify_one();
        }
    }

    fn write_markers_of(&self, ending: &Ending, now: Moment) {
        let (mut done, mut late) = (Vec::new(), Vec::new());
        let mut by_leader: BTreeMap<i32, Vec<&TransactionPartition>> = BTreeMap::new();
        for partition in &ending.partitions {
            match self.marker_leader(partition) {
                Ok(leader) => by_leader.entry(leader).or_default().push(partition),
                // The topic is gone: nobody will ask for the marker.
                Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => done.push(partition.clone()),
                // There will be a leader some time.
                Err(_) => {}
            }
        }
        for (node, partitions) in by_leader {
            let fate = match ending.delayed.get(&node) {
                Some(until) if *until > now.instant => continue,
                Some(_) => Fate::Written,
                None => self.fate_of_markers(node),
            };
            match fate {
                Fate::Lost => continue,
                Fate::Late(time) => {
                    late.push((node, now.instant + time));
                    continue;
                }
                Fate::Written | Fate::WrittenUnheard => {}
            }
            for partition in partitions {
                let written = self.write_marker(node, partition, &ending.marker, now);
                if matches!(fate, Fate::Written) && is_final(written) {
                    done.push(partition.clone());
                }
            }
        }
        lock(&self.transactions).markers_written(ending, &done, late, now);
    }

    /// By the rules about WriteTxnMarkers.
    fn fate_of_markers(&self, node: i32) -> Fate {
        let faults = lock(&self.faults).matching(ApiKey::WRITE_TXN_MARKERS, node);
        let mut fate = Fate::Written;
        for fault in faults {
            match fault {
                FaultAction::Disconnect | FaultAction::Answer(_) | FaultAction::AnswerNothing => {
                    return Fate::Lost;
                }
                FaultAction::ApplyThenDisconnect
                | FaultAction::ApplyThenAnswer(_)
                | FaultAction::ApplyThenGarble(_) => fate = Fate::WrittenUnheard,
                FaultAction::Delay(time) | FaultAction::Throttle(time) => fate = Fate::Late(time),
            }
        }
        fate
    }

    /// Who is to write a marker: the partition's leader, or the coordinator of the groups whose offsets are in it.
    fn marker_leader(&self, (topic, index): &TransactionPartition) -> Result<i32, ErrorCode> {
        if topic == OFFSETS_TOPIC {
            let controller = self.directory().controller();
            return match controller {
                -1 => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
                node => Ok(node),
            };
        }
        let topic = self.directory().topic(topic);
        let topic = topic.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let partition = topic.partition(*index);
        let partition = partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        partition.leader.ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)
    }

    /// Writes a marker to a partition that this node leads.
    pub(crate) fn write_marker(
        &self,
        node: i32,
        (topic, index): &TransactionPartition,
        marker: &Marker,
        now: Moment,
    ) -> Result<(), ErrorCode> {
        if topic == OFFSETS_TOPIC {
            let mut groups = lock(&self.groups);
            if self.data.is_some() {
                self.keep(&groups.changes_at_end(*index, marker)?)?;
            }
            return groups.end_transaction(*index, marker, now.instant);
        }
        let topic = self.directory().topic(topic);
        let topic = topic.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let partition = topic.partition(*index);
        let mut partition = partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let options = MarkerOptions {
            min_in_sync: topic.settings.min_in_sync_replicas,
            retention_bytes: topic.settings.retention_bytes,
            now,
        };
        partition.append_marker(node, marker, &options)
    }
}

/// Whether a marker does not have to be tried again: it is written, has been before, or the partition is gone.
fn is_final(written: Result<(), ErrorCode>) -> bool {
    use ErrorCode as E;
    match written {
        Ok(()) => true,
        Err(error) => {
            error == E::UNKNOWN_TOPIC_OR_PARTITION
                || error == E::INVALID_PRODUCER_EPOCH
                || error == E::TRANSACTION_COORDINATOR_FENCED
        }
    }
}
