//! A transactional id as a data directory keeps it.

use std::time::Duration;

use super::{Moment, ProducerIdAndEpoch, State, Transaction, TransactionVersion};
use crate::broker::storage::TransactionNote;

impl Transaction {
    /// As it is kept.
    pub(crate) fn note(&self) -> TransactionNote {
        let state = State::ALL.iter().position(|state| *state == self.state);
        TransactionNote {
            producer_id: self.producer.id,
            epoch: self.producer.epoch,
            previous_id: self.previous_id,
            next_id: self.next_id,
            last_epoch: self.last_epoch,
            timeout_ms: self.timeout_ms,
            state: state.and_then(|at| i8::try_from(at).ok()).unwrap_or(0),
            start_ms: self.start_ms,
            version: self.version.0,
            coordinator_epoch: self.coordinator_epoch,
            partitions: self.partitions.iter().cloned().collect(),
        }
    }

    /// As it was kept; another coordinator has it now. None where it means nothing.
    pub(crate) fn of(note: TransactionNote, now: Moment) -> Option<Self> {
        let state = usize::try_from(note.state).ok();
        let state = state.and_then(|at| State::ALL.get(at).copied())?;
        let age = u64::try_from(now.ms.saturating_sub(note.start_ms)).unwrap_or(0);
        let started = now.instant.checked_sub(Duration::from_millis(age));
        let new = Self::new(note.producer_id, note.timeout_ms, now);
        let mut transaction = Self {
            state,
            producer: ProducerIdAndEpoch {
                id: note.producer_id,
                epoch: note.epoch,
            },
            previous_id: note.previous_id,
            next_id: note.next_id,
            last_epoch: note.last_epoch,
            partitions: note.partitions.into_iter().collect(),
            start_ms: note.start_ms,
            started: (note.start_ms >= 0).then(|| started.unwrap_or(now.instant)),
            version: TransactionVersion(note.version),
            coordinator_epoch: note.coordinator_epoch,
            ..new
        };
        transaction.moved(Duration::ZERO, now.instant);
        Some(transaction)
    }
}
