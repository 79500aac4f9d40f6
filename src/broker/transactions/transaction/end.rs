//! How a transaction ends: EndTxn by both sets of rules, the coordinator's own aborts, and what comes once the markers are written.
//!
//! By `transaction.version` 2 (KIP-890) each end takes the next epoch. So an epoch that is one behind says that EndTxn comes again, and the
//! current one that another transaction is meant, even if it is empty.

use protocol::ErrorCode;

use super::{
    EXHAUSTED_EPOCH, Moment, NO_EPOCH, NO_PRODUCER_ID, ProducerIdAndEpoch, State, Transaction,
    TransactionPartition, TransactionVersion,
};

impl Transaction {
    /// EndTxn. Returns who the producer is from then on; by the older rules nobody is told.
    pub(crate) fn end(
        &mut self,
        producer: ProducerIdAndEpoch,
        commit: bool,
        version: TransactionVersion,
        new_id: impl FnOnce() -> i64,
        now: Moment,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        if version.bumps_epochs() {
            self.end_with_next_epoch(producer, commit, version, new_id, now)
        } else {
            self.end_in_epoch(producer, commit, now)?;
            Ok(ProducerIdAndEpoch::NONE)
        }
    }

    fn end_in_epoch(
        &mut self,
        producer: ProducerIdAndEpoch,
        commit: bool,
        now: Moment,
    ) -> Result<(), ErrorCode> {
        self.check(producer)?;
        match self.state {
            State::PrepareCommit | State::PrepareAbort => Err(ErrorCode::CONCURRENT_TRANSACTIONS),
            State::Ongoing => {
                self.prepare(commit, TransactionVersion::V0, now);
                Ok(())
            }
            State::CompleteCommit if commit => Ok(()),
            State::CompleteAbort if !commit => Ok(()),
            _ => Err(ErrorCode::INVALID_TXN_STATE),
        }
    }

    fn end_with_next_epoch(
        &mut self,
        producer: ProducerIdAndEpoch,
        commit: bool,
        version: TransactionVersion,
        new_id: impl FnOnce() -> i64,
        now: Moment,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        if self.is_ending() {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        let current = self.producer;
        let again_with_next_id = self.previous_id == producer.id
            && producer.epoch == EXHAUSTED_EPOCH
            && current.epoch == 0;
        let again = again_with_next_id || i32::from(current.epoch) == i32::from(producer.epoch) + 1;
        if producer.id != current.id && !again_with_next_id {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        let is_over = matches!(self.state, State::CompleteCommit | State::CompleteAbort);
        if producer.epoch != current.epoch && !(is_over && again) {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        let is_as_asked = match self.state {
            State::CompleteCommit => commit,
            State::CompleteAbort => !commit,
            _ => false,
        };
        match self.state {
            _ if is_over && again && is_as_asked => return Ok(current),
            _ if is_over && again => return Err(ErrorCode::INVALID_TXN_STATE),
            State::Ongoing => {}
            _ if commit => return Err(ErrorCode::INVALID_TXN_STATE),
            // Nothing is in it: who does not know that may abort it.
            _ => (self.start_ms, self.started) = (now.ms, Some(now.instant)),
        }
        if current.epoch >= EXHAUSTED_EPOCH {
            self.next_id = new_id();
        }
        self.prepare(commit, version, now);
        Ok(self.producer_afterwards())
    }

    /// Aborts the transaction under way, so that its producer is fenced: it took too long, or another one comes.
    pub(crate) fn abort(
        &mut self,
        server: TransactionVersion,
        new_id: impl FnOnce() -> i64,
        now: Moment,
    ) {
        if !server.bumps_epochs() {
            self.producer.epoch = self.producer.epoch.saturating_add(1);
            self.last_epoch = NO_EPOCH;
        } else if self.producer.epoch >= EXHAUSTED_EPOCH {
            self.next_id = new_id();
        }
        self.prepare(false, server, now);
    }

    fn prepare(&mut self, commit: bool, version: TransactionVersion, now: Moment) {
        self.enter(
            match commit {
                true => State::PrepareCommit,
                false => State::PrepareAbort,
            },
            now,
        );
        if version.bumps_epochs() {
            self.last_epoch = self.producer.epoch;
            self.producer.epoch = self.producer.epoch.saturating_add(1);
        }
        self.version = version;
        self.markers_due = now.instant;
    }

    fn producer_afterwards(&self) -> ProducerIdAndEpoch {
        match self.next_id {
            NO_PRODUCER_ID => self.producer,
            id => ProducerIdAndEpoch { id, epoch: 0 },
        }
    }

    /// The marker of a partition is written, or will never be needed.
    pub(crate) fn marked(&mut self, partition: &TransactionPartition) {
        if self.is_ending() {
            self.partitions.remove(partition);
        }
    }

    /// The transaction is over if all markers are written.
    pub(crate) fn complete(&mut self, now: Moment) {
        if !self.is_ending() || !self.partitions.is_empty() {
            return;
        }
        let producer = self.producer_afterwards();
        self.enter(
            match self.state {
                State::PrepareCommit => State::CompleteCommit,
                _ => State::CompleteAbort,
            },
            now,
        );
        self.producer = producer;
        self.next_id = NO_PRODUCER_ID;
        self.delayed.clear();
    }
}
