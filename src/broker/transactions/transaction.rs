//! One transactional id: who its producer is, and how far its transaction has come (KIP-98, KIP-360, KIP-890, KIP-939).
//!
//! In: what clients ask for, what time it is, and a producer id where a new one is needed. Out: the producer's id and epoch, or Kafka's error.
//! What is asked for while the markers of a transaction are written is answered with CONCURRENT_TRANSACTIONS.

mod end;
mod note;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::ErrorCode;
use tokio::time::Instant;

/// Stands for no producer id.
pub(crate) const NO_PRODUCER_ID: i64 = -1;
/// Stands for no epoch.
pub(crate) const NO_EPOCH: i16 = -1;
/// From this epoch on a producer gets another id: the one epoch beyond it is for fencing.
const EXHAUSTED_EPOCH: i16 = i16::MAX - 1;
/// The timeout of a transaction that somebody else coordinates: none (KIP-939).
pub(crate) const NO_TIMEOUT_MS: i32 = i32::MAX;

/// A partition in a transaction: topic and number.
pub(crate) type TransactionPartition = (String, i32);

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerIdAndEpoch {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

impl ProducerIdAndEpoch {
    pub(crate) const NONE: Self = Self {
        id: NO_PRODUCER_ID,
        epoch: NO_EPOCH,
    };
}

/// A level of Kafka's feature `transaction.version`: from 2 on each transaction has an epoch of its own (KIP-890).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TransactionVersion(pub(crate) i8);

impl TransactionVersion {
    pub(crate) const V0: Self = Self(0);
    pub(crate) const V2: Self = Self(2);

    pub(crate) fn bumps_epochs(self) -> bool {
        self >= Self::V2
    }
}

/// What time it is, for deadlines and for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    /// Milliseconds since 1970.
    pub(crate) ms: i64,
}

/// How far a transaction has come; names are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

impl State {
    const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether Kafka has a state of this name; it has two more, in which no transaction is ever seen.
    pub(crate) fn is_known(name: &str) -> bool {
        ["Dead", "PrepareEpochFence"].contains(&name)
            || Self::ALL.iter().any(|state| state.name() == name)
    }
}

/// What InitProducerId asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InitProducer {
    pub(crate) timeout_ms: i32,
    /// Who the client was until now (KIP-360).
    pub(crate) expected: Option<ProducerIdAndEpoch>,
}

/// The state of one transactional id.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) state: State,
    /// Its epoch is -1 until the first InitProducerId has succeeded.
    pub(crate) producer: ProducerIdAndEpoch,
    /// The id before the last change of the state.
    previous_id: i64,
    /// The id that the producer has once the markers are written, where its epochs are exhausted.
    next_id: i64,
    /// The epoch before the last, if that was given to the same client.
    last_epoch: i16,
    pub(crate) timeout_ms: i32,
    /// What is in the transaction; once it ends, what has no marker yet.
    pub(crate) partitions: BTreeSet<TransactionPartition>,
    /// When the transaction began; in milliseconds since 1970, or -1.
    pub(crate) start_ms: i64,
    started: Option<Instant>,
    updated: Instant,
    /// By which rules it ends.
    pub(crate) version: TransactionVersion,
    /// How often the coordinator has moved.
    pub(crate) coordinator_epoch: i32,
    /// Until then a coordinator that took over is loading.
    loading_until: Option<Instant>,
    /// When its markers are to be tried next; and again where leaders answer late.
    pub(super) markers_due: Instant,
    pub(super) delayed: BTreeMap<i32, Instant>,
}

impl Transaction {
    pub(crate) fn new(producer_id: i64, timeout_ms: i32, now: Moment) -> Self {
        Self {
            state: State::Empty,
            producer: ProducerIdAndEpoch {
                id: producer_id,
                epoch: NO_EPOCH,
            },
            previous_id: NO_PRODUCER_ID,
            next_id: NO_PRODUCER_ID,
            last_epoch: NO_EPOCH,
            timeout_ms,
            partitions: BTreeSet::new(),
            start_ms: -1,
            started: None,
            updated: now.instant,
            version: TransactionVersion::V0,
            coordinator_epoch: 0,
            loading_until: None,
            markers_due: now.instant,
            delayed: BTreeMap::new(),
        }
    }

    /// Whether the markers of a transaction are being written.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.state, State::PrepareCommit | State::PrepareAbort)
    }

    pub(crate) fn is_loading(&self, now: Instant) -> bool {
        self.loading_until.is_some_and(|until| now < until)
    }

    /// InitProducerId: the next epoch, or another id. A transaction under way is aborted first, and the client told to come back.
    pub(crate) fn init(
        &mut self,
        asked: &InitProducer,
        server: TransactionVersion,
        new_id: impl FnOnce() -> i64,
        now: Moment,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        if self.is_ending() {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        if asked
            .expected
            .is_some_and(|expected| !self.may_be(expected))
        {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        if self.state == State::Ongoing {
            self.abort(server, new_id, now);
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        let expected = asked.expected.map(|expected| expected.epoch);
        let is_current = expected.is_none_or(|epoch| epoch == self.producer.epoch);
        let (producer, last_epoch) = match self.producer.epoch >= EXHAUSTED_EPOCH {
            true if is_current => {
                let producer = ProducerIdAndEpoch {
                    id: new_id(),
                    epoch: 0,
                };
                (producer, expected.unwrap_or(NO_EPOCH))
            }
            // Kafka stumbles over it.
            true => return Err(ErrorCode::UNKNOWN_SERVER_ERROR),
            false => self.next_epoch(expected)?,
        };
        self.enter(State::Empty, now);
        (self.producer, self.last_epoch) = (producer, last_epoch);
        self.timeout_ms = asked.timeout_ms;
        self.partitions.clear();
        (self.start_ms, self.started) = (-1, None);
        Ok(self.producer)
    }

    /// Whether who names this id may still be the producer: it has none yet, it is its id, or the one before, whose epochs were exhausted.
    fn may_be(&self, expected: ProducerIdAndEpoch) -> bool {
        self.producer.epoch == NO_EPOCH
            || expected.id == self.producer.id
            || expected.id == self.previous_id && expected.epoch >= EXHAUSTED_EPOCH
    }

    /// The next epoch and the last; the same once more for who asks again.
    fn next_epoch(&self, expected: Option<i16>) -> Result<(ProducerIdAndEpoch, i16), ErrorCode> {
        let current = self.producer;
        let next = ProducerIdAndEpoch {
            epoch: current.epoch + 1,
            ..current
        };
        match expected {
            None => Ok((next, NO_EPOCH)),
            Some(epoch) if current.epoch == NO_EPOCH || epoch == current.epoch => {
                Ok((next, current.epoch))
            }
            Some(epoch) if epoch == self.last_epoch => Ok((current, self.last_epoch)),
            Some(_) => Err(ErrorCode::PRODUCER_FENCED),
        }
    }

    /// AddPartitionsToTxn: what is added is in the transaction, which begins with it.
    pub(crate) fn add(
        &mut self,
        producer: ProducerIdAndEpoch,
        partitions: &BTreeSet<TransactionPartition>,
        version: TransactionVersion,
        now: Moment,
    ) -> Result<(), ErrorCode> {
        if self.is_ending() {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        self.check(producer)?;
        if self.state == State::Ongoing && self.partitions.is_superset(partitions) {
            return Ok(());
        }
        if self.state != State::Ongoing {
            (self.start_ms, self.started) = (now.ms, Some(now.instant));
        }
        self.enter(State::Ongoing, now);
        self.partitions.extend(partitions.iter().cloned());
        self.version = version;
        Ok(())
    }

    /// Whether this producer has a transaction under way, in which partitions may be looked for.
    pub(crate) fn verify(&self, producer: ProducerIdAndEpoch) -> Result<(), ErrorCode> {
        self.check(producer)?;
        match self.is_ending() {
            true => Err(ErrorCode::CONCURRENT_TRANSACTIONS),
            false => Ok(()),
        }
    }

    fn check(&self, producer: ProducerIdAndEpoch) -> Result<(), ErrorCode> {
        if producer.id != self.producer.id {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        if producer.epoch != self.producer.epoch {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        Ok(())
    }

    /// The coordinator is on another node, which takes this long to load its state; it writes on the markers that are missing.
    pub(crate) fn moved(&mut self, load_time: Duration, now: Instant) {
        self.coordinator_epoch += 1;
        self.loading_until = (!load_time.is_zero()).then(|| now + load_time);
        self.markers_due = self.loading_until.unwrap_or(now);
        self.delayed.clear();
    }

    /// When the transaction under way is aborted.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let started = self
            .started
            .filter(|_| self.state == State::Ongoing && self.timeout_ms != NO_TIMEOUT_MS)?;
        Some(started + Duration::from_millis(u64::try_from(self.timeout_ms).unwrap_or(0)))
    }

    /// When the id is forgotten, if nobody uses it until then.
    pub(crate) fn expiry(&self, expiration: Duration) -> Option<Instant> {
        let idle = self.state != State::Ongoing && !self.is_ending();
        idle.then(|| self.updated + expiration)
    }

    /// Raises the epoch, for tests.
    pub(crate) fn skip_to_epoch(&mut self, epoch: i16) {
        self.producer.epoch = self.producer.epoch.max(epoch);
    }

    fn enter(&mut self, state: State, now: Moment) {
        self.previous_id = self.producer.id;
        self.state = state;
        self.updated = now.instant;
    }
}
