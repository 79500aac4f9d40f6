//! TxnOffsetCommit: who may commit in a transaction, and what becomes of it when the transaction ends (KIP-98, KIP-447).

use std::time::Duration;

use protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

use super::classic::{ClassicGroup, State};
use super::{Committed, CommitterIdentity, Groups, Kind, OffsetKey};
use crate::broker::storage::Change;
use crate::broker::transactions::{Guard, Marker, ProducerIdAndEpoch, offsets_partition};

/// From this version of OffsetCommit on members of consumer groups may commit; in transactions they always may.
const FOR_ALL_MEMBERS: i16 = 9;

impl Groups {
    /// Begins to verify that a transaction covers the group's offsets; nothing where it is known.
    pub(crate) fn begin_verification(
        &mut self,
        group_id: &str,
        producer: ProducerIdAndEpoch,
        adds: bool,
        expiration: Duration,
        now: Instant,
    ) -> Result<Option<Guard>, ErrorCode> {
        let partition = offsets_partition(group_id);
        let log = &mut self.offsets_log;
        log.begin_verification(partition, producer, adds, expiration, now)
    }

    /// Whether this committer may commit in a transaction; opens a group without members as [`check_commit`](Self::check_commit) does.
    pub(crate) fn check_transactional_commit(
        &mut self,
        group_id: &str,
        committer: &CommitterIdentity<'_>,
        partitions: &[(Uuid, i32)],
    ) -> Result<(), ErrorCode> {
        if !self.groups.contains_key(group_id) && committer.generation >= 0 {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        match &mut Self::opened(&mut self.groups, &self.settings, group_id).kind {
            Kind::Classic(group) => group.check_transactional_commit(committer),
            // Older clients don't say who they are.
            Kind::Consumer(_)
                if committer.generation < 0
                    && committer.member_id.is_empty()
                    && committer.instance_id.is_none() =>
            {
                Ok(())
            }
            Kind::Consumer(group) => {
                let checked = group.check_commit(committer, partitions, FOR_ALL_MEMBERS);
                checked.map_err(|error| match error {
                    ErrorCode::STALE_MEMBER_EPOCH => ErrorCode::ILLEGAL_GENERATION,
                    error => error,
                })
            }
            Kind::Share(_) => Err(ErrorCode::GROUP_ID_NOT_FOUND),
        }
    }

    /// Has offsets wait for the end of a producer's transaction.
    pub(crate) fn commit_in_transaction(
        &mut self,
        group_id: &str,
        producer: ProducerIdAndEpoch,
        guard: Option<Guard>,
        offsets: Vec<(OffsetKey, Committed)>,
        expiration: Duration,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        let partition = offsets_partition(group_id);
        (self.offsets_log).append(partition, producer, guard, expiration, now)?;
        for (key, committed) in offsets {
            self.pending.add(group_id, producer.id, key, committed);
        }
        Ok(())
    }

    /// Whether the end of a transaction may change what a group has committed for a partition.
    pub(crate) fn is_pending(&self, group_id: &str, key: &OffsetKey) -> bool {
        self.pending.is_pending(group_id, key)
    }

    /// What has to be kept before such a marker is taken.
    pub(crate) fn changes_at_end(
        &self,
        partition: i32,
        marker: &Marker,
    ) -> Result<Vec<Change>, ErrorCode> {
        self.offsets_log.check_end(partition, marker)?;
        Ok(self
            .pending
            .changes_at_end(marker.producer.id, partition, marker.commit))
    }

    /// Takes back an offset that waited for the end of a transaction when the broker ended.
    pub(crate) fn restore_pending(
        &mut self,
        group_id: &str,
        producer: ProducerIdAndEpoch,
        key: OffsetKey,
        committed: Committed,
        now: Instant,
    ) {
        Self::opened(&mut self.groups, &self.settings, group_id);
        self.offsets_log
            .restore(offsets_partition(group_id), producer, now);
        self.pending.add(group_id, producer.id, key, committed);
    }

    /// A marker for the groups whose offsets are in this partition.
    pub(crate) fn end_transaction(
        &mut self,
        partition: i32,
        marker: &Marker,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        self.offsets_log.end(partition, marker, now)?;
        let committed = (self.pending).end(marker.producer.id, partition, marker.commit);
        for (group_id, key, committed) in committed {
            if let Some(group) = self.groups.get_mut(&group_id) {
                group.offsets.insert(key, committed);
            }
        }
        Ok(())
    }
}

impl ClassicGroup {
    fn check_transactional_commit(
        &self,
        committer: &CommitterIdentity<'_>,
    ) -> Result<(), ErrorCode> {
        if committer.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        let is_named = !committer.member_id.is_empty() || committer.instance_id.is_some();
        if committer.generation >= 0 || is_named {
            self.check_member(committer.member_id, committer.instance_id)?;
            self.check_generation(committer.generation)?;
        }
        Ok(())
    }
}
