//! What the handles of a transactional producer, the way in of records, and the task share: where the transaction stands, the partitions
//! that it writes to, and its first failure.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI16, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, MutexGuard};

use protocol::ErrorCode;
use protocol::messages::ProduceRequest;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, timeout_at};

use super::metrics::TransactionCounters;
use super::state::{Flow, TransactionState};
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::producer::config::ProducerConfig;
use crate::kafka::producer::partition::queue::{PartitionQueue, State as PartitionState};
use crate::kafka::runtime::Mutex;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition, WriteOutcome};

/// The first failure of a transaction.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    any: AtomicBool,
    first: Mutex<Option<Error>>,
}

impl Failures {
    /// Something of the transaction failed.
    pub fn note(&self, error: &Error) {
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::FailureForgotten) {
            return;
        }
        self.first.lock().get_or_insert_with(|| error.clone());
        self.any.store(true, SeqCst);
    }

    /// The first that did.
    pub fn first(&self) -> Option<Error> {
        match self.any.load(SeqCst) {
            true => self.first.lock().clone(),
            false => None,
        }
    }

    fn clear(&self) {
        *self.first.lock() = None;
        self.any.store(false, SeqCst);
    }
}

/// The transactions of one producer, as all that work for it see them.
#[derive(Debug)]
pub(crate) struct Transactions {
    id: Arc<str>,
    /// How long one may be open.
    timeout: Duration,
    /// Whether transactions are decided by somebody else (KIP-939).
    two_phase: bool,
    inner: Mutex<Inner>,
    /// The number of the transaction that is open, to be seen without the lock.
    number: AtomicU64,
    /// The number of the last transaction that something was written in.
    written: AtomicU64,
    newest_produce_version: AtomicI16,
    failures: Arc<Failures>,
    /// Wakes the task.
    wakeup: Notify,
    /// Wakes whoever waits for what the task does.
    changed: Notify,
    /// Until when the producer, which is closing, waits for the end of the transaction.
    patience: Mutex<Option<Instant>>,
}

/// What the lock guards; it is locked after a partition, never before one.
#[derive(Debug)]
pub(super) struct Inner {
    pub state: TransactionState,
    /// The partitions that the transaction writes to.
    pub joined: BTreeMap<TopicPartition, Arc<PartitionQueue>>,
}

impl Transactions {
    /// Those of a producer with this configuration, if it has a transactional id.
    pub fn of(config: &ProducerConfig) -> Option<Self> {
        let id: Arc<str> = config.transactional_id.as_deref()?.into();
        Some(Self {
            timeout: config.transaction_timeout,
            two_phase: config.two_phase_commit,
            inner: Mutex::new(Inner {
                state: TransactionState::new(
                    id.clone(),
                    config.transaction_timeout,
                    Instant::now(),
                ),
                joined: BTreeMap::new(),
            }),
            id,
            number: AtomicU64::new(0),
            written: AtomicU64::new(0),
            newest_produce_version: AtomicI16::new(i16::MAX),
            failures: Arc::default(),
            wakeup: Notify::new(),
            changed: Notify::new(),
            patience: Mutex::default(),
        })
    }

    pub fn transactional_id(&self) -> &str {
        &self.id
    }

    /// Says which transactional id it was that the client may not use, where a broker did not let it.
    pub fn names_id(&self, error: Error) -> Error {
        match error.server_error() {
            Some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED) => {
                error.prefixed(&format!("transactional id {:?}", self.id))
            }
            _ => error,
        }
    }

    /// What is counted of them.
    pub fn counters(&self) -> Arc<TransactionCounters> {
        self.lock().state.counters().clone()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn two_phase(&self) -> bool {
        self.two_phase
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Where failures of batches are noted.
    pub fn failures(&self) -> &Arc<Failures> {
        &self.failures
    }

    /// The newest version of Produce that belongs to how the transaction goes.
    pub fn newest_produce_version(&self) -> i16 {
        self.newest_produce_version.load(SeqCst)
    }

    /// Until when a sender that last wrote in transaction `wrote_in` writes nothing of the one that is open: see `markers`.
    pub fn held_until(&self, wrote_in: u64) -> Option<Instant> {
        match self.number.load(SeqCst) == wrote_in {
            true => None,
            false => self.lock().state.markers().until(),
        }
    }

    /// A sender that last wrote in transaction `wrote_in` writes. Whether that is the first of the transaction that is open.
    pub fn writes(&self, wrote_in: &mut u64) -> bool {
        let number = self.number.load(SeqCst);
        std::mem::replace(wrote_in, number) != number && self.written.swap(number, SeqCst) != number
    }

    /// The first that was written of a transaction, at `sent`, was answered after `took`: refused as too early, or not.
    pub fn wrote_first(&self, sent: Instant, took: Duration, too_early: bool) {
        let state = &mut self.lock().state;
        match too_early {
            true => state.markers().was_too_short(sent),
            false => state.markers().wrote(sent, took),
        }
    }

    /// Fails when the transaction can only be aborted.
    #[inline]
    pub fn check(&self) -> Result<()> {
        match self.failures.any.load(SeqCst) {
            true => Err(self.abort_only()),
            false => Ok(()),
        }
    }

    #[cold]
    fn abort_only(&self) -> Error {
        if let Some(error) = self.lock().state.obstacle() {
            return error;
        }
        let text = "the transaction can only be aborted: a record of it was not written";
        let error = Error::new(ErrorKind::TransactionAborted, text);
        let error = match self.failures.first() {
            Some(cause) => error.because(cause),
            None => error,
        };
        error.with_outcome(WriteOutcome::NotWritten)
    }

    /// Whether the transaction that is open, or was last, writes to the partition.
    pub fn is_open(&self, partition: &PartitionState) -> bool {
        let number = self.number.load(SeqCst);
        number > 0 && partition.is_in(number)
    }

    /// A batch of the partition was begun: it is of the transaction that is open.
    pub fn enter(&self, queue: &Arc<PartitionQueue>, partition: &mut PartitionState) {
        let number = self.number.load(SeqCst);
        if !partition.is_in(number) {
            self.join(queue, partition, number);
        }
    }

    #[cold]
    fn join(&self, queue: &Arc<PartitionQueue>, partition: &mut PartitionState, number: u64) {
        let held = {
            let mut inner = self.lock();
            let name = TopicPartition::new(queue.topic.clone(), queue.partition);
            let held = inner.state.writes_to(name.clone());
            inner.joined.insert(name, queue.clone());
            let Some(identity) = inner.state.identity() else {
                // No transaction is begun without one.
                return;
            };
            drop(inner);
            partition.enter(number, identity, held);
            held
        };
        if held {
            self.wakeup.notify_one();
        }
    }

    /// Begins a transaction.
    pub(super) fn begin(&self) -> u64 {
        self.failures.clear();
        let mut inner = self.lock();
        inner.joined.clear();
        let number = inner.state.begin(Instant::now());
        self.number.store(number, SeqCst);
        let newest = match inner.state.flow() {
            Flow::Explicit => ProduceRequest::ADDS_PARTITIONS_FROM - 1,
            Flow::Implicit => i16::MAX,
        };
        self.newest_produce_version.store(newest, SeqCst);
        number
    }

    /// The partitions that the transaction writes to.
    pub(super) fn joined(&self) -> Vec<Arc<PartitionQueue>> {
        self.lock().joined.values().cloned().collect()
    }

    /// Asks for something of the task.
    pub(super) fn ask<R>(&self, ask: impl FnOnce(&mut TransactionState, Instant) -> R) -> R {
        let result = ask(&mut self.lock().state, Instant::now());
        self.wakeup.notify_one();
        result
    }

    /// What the task did: wakes whoever waits for it.
    pub(super) fn tell(&self, tell: impl FnOnce(&mut TransactionState, Instant)) {
        let failure = {
            let state = &mut self.lock().state;
            tell(state, Instant::now());
            state.failure().cloned()
        };
        if let Some(error) = failure {
            // What is accepted from now on would only be aborted.
            self.failures.note(&error);
        }
        self.changed.notify_waiters();
    }

    /// Wakes whoever waits, to look again.
    pub(super) fn wake(&self) {
        self.wakeup.notify_one();
        self.changed.notify_waiters();
    }

    /// Waits until `look` finds something; fails at `deadline` with why it did not come. Cancel safe.
    pub(super) async fn wait_for<R>(
        &self,
        what: &'static str,
        deadline: Instant,
        mut look: impl FnMut(&mut TransactionState) -> Option<R>,
    ) -> Result<R> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.lock().state) {
                return Ok(found);
            }
            if timeout_at(deadline, changed).await.is_err() {
                let error = Error::new(ErrorKind::Timeout, what);
                let cause = self.lock().state.failing().cloned();
                return Err(match cause {
                    Some(cause) => error.because(cause),
                    None => error,
                });
            }
        }
    }

    /// Waits until the task is asked for something.
    pub(super) async fn asked(&self) {
        self.wakeup.notified().await;
    }

    /// The producer is of no use any more, because of `error`.
    pub fn stop(&self, error: &Error) {
        self.failures.note(error);
        self.lock().state.stop(error);
        self.wake();
    }

    /// Until when the producer, which is closing, waits for the end of the transaction.
    pub(super) fn end_by(&self, deadline: Instant) {
        *self.patience.lock() = Some(deadline);
    }

    /// Whether a transaction is on its way to its end, and may take that long.
    pub fn is_ending(&self, now: Instant) -> bool {
        let in_time = (*self.patience.lock()).is_none_or(|deadline| now < deadline);
        in_time && self.lock().state.is_ending()
    }
}
