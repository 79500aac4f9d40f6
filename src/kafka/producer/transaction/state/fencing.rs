//! Whether the producer is still the one of its transactional id: what refusals say of that, and what it is told that is not.

use protocol::ErrorCode;
use tokio::time::{Duration, Instant};

use super::{Ended, Meaning, Phase, ProducerIdAndEpoch, Refusal, TransactionState};
use crate::kafka::{Error, ErrorKind, WriteOutcome};

impl TransactionState {
    /// Whether the next epoch was refused with UNKNOWN_SERVER_ERROR, and nothing else, for as long as a transaction may take.
    ///
    /// So Kafka answers who asks with an epoch of a producer id whose last one is given away: to another producer, to an abort of its own, or
    /// to this one, which did not hear of it. Asking on comes to nothing; Java's producer ends at the first such answer.
    pub(super) fn note_unexplained(&mut self, error: &Error, now: Instant) -> bool {
        let is_unexplained = error.server_error() == Some(ErrorCode::UNKNOWN_SERVER_ERROR);
        if !is_unexplained || self.identity.is_none() {
            self.unexplained_since = None;
            return false;
        }
        let since = *self.unexplained_since.get_or_insert(now);
        now.saturating_duration_since(since) >= self.timeout
    }

    /// The producer is of no use any more, because of `error`.
    pub(super) fn lost(&mut self, error: Error, now: Instant) {
        // Of the transaction that was to be committed, where one was.
        let unsettled = self.unsettled.take().or_else(|| self.take_cause());
        let outcome = unsettled.map_or(WriteOutcome::NotWritten, |error| error.outcome());
        let error = error.with_outcome(outcome);
        self.failing = None;
        self.phase = Phase::Over(error.clone());
        if error.kind() == ErrorKind::Fenced {
            self.counters.fenced();
        }
        if self.ended.is_none() {
            self.end(Ended::Failed(error), now);
        }
    }

    /// It was asked to abort, since it stumbled over who asks for an epoch: it knows who that is, or the epoch is asked for again.
    pub(super) fn on_ended_instead_of_init(
        &mut self,
        refusal: Refusal,
        now: Instant,
        pause: Duration,
    ) {
        match refusal.meaning {
            Meaning::Again => self.again(refusal.error, now, pause),
            meaning if self.is_fencing(meaning) => {
                self.lost(self.fenced(refusal.error, now), now);
            }
            _ => self.init_stumbles = false,
        }
    }

    /// Whether a refusal says that nobody has the producer id. Its last epochs do not say so: another producer has another id after them, and the
    /// coordinator takes who asks under the id before that for its owner.
    pub(super) fn is_forgotten(&self, meaning: Meaning) -> bool {
        let is_last = |identity: ProducerIdAndEpoch| identity.epoch >= i16::MAX - 1;
        meaning == Meaning::EpochIsOver && !self.identity.is_some_and(is_last)
    }

    /// Whether an abort that is refused like this says that another producer has taken over.
    pub(super) fn is_fencing(&self, meaning: Meaning) -> bool {
        use Meaning::{EpochInDoubt, EpochIsOver, Fenced};
        matches!(meaning, Fenced | EpochInDoubt | EpochIsOver) && !self.is_forgotten(meaning)
    }

    pub(super) fn unexplained(&self, cause: Error) -> Error {
        Error::new(
            ErrorKind::Fenced,
            format!(
                "the coordinator has no epoch for the producer of the transactional id {:?} after the one it has, and has said so for \
                 transaction.timeout.ms = {}: its epochs are used up, by another producer or by aborts; connect anew to take over",
                self.id,
                self.timeout.as_millis()
            ),
        )
        .because(cause)
    }

    pub(super) fn fenced(&self, cause: Error, now: Instant) -> Error {
        let taken = now.saturating_duration_since(self.began);
        let or_late = match self.number > 0 && taken >= self.timeout {
            true => format!(
                ", or its last transaction, begun {taken:?} ago, was aborted after transaction.timeout.ms = {}",
                self.timeout.as_millis()
            ),
            false => String::new(),
        };
        Error::new(
            ErrorKind::Fenced,
            format!(
                "another producer has taken over the transactional id {:?}{or_late}: this one can write no more; give each producer that is to \
                 live at the same time an id of its own, or connect anew to take over",
                self.id
            ),
        )
        .because(cause)
    }
}
