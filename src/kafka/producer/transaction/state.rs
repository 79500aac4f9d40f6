//! Where a producer's transactions stand, and what is to be sent next. No I/O, no clock: time comes in as an argument.
//!
//! In: what the application asks for, and what became of each step. Out: the next step, one at a time, and how each transaction ended.
//!
//! What holds, whatever coordinators do:
//! - A transaction counts as committed only when the coordinator said so. What was asked and not answered is asked again, as it was; what
//!   nobody can tell any more is "unknown".
//! - Whatever of it failed makes a transaction one that can only be aborted: it is never committed in part.
//! - After an error that leaves anything open the producer asks for another epoch before it goes on: what may still be under way is fenced.
//! - A producer that another one has taken over from asks for no epoch: a coordinator that is asked for one aborts the transaction under way,
//!   whoever asks, and that is the other one's by then. So it is by its abort that a fenced producer learns whether it was taken over from.
//! - One step is under way at a time; another transaction begins when the last one is over.

mod fencing;

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::ErrorCode;
use tokio::time::{Duration, Instant};

use super::markers::MarkerPause;
use super::metrics::TransactionCounters;
use super::refusal::{Meaning, Refusal};
use super::requests::Offsets;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::producer::producer_id::ProducerIdAndEpoch;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition, WriteOutcome};

/// How transactions go, as brokers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Partitions and offsets are added by requests of their own, and all transactions have one epoch.
    Explicit,
    /// Writing adds them, and each transaction has an epoch of its own (KIP-890).
    Implicit,
}

/// What is to be done next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Nothing, before something is asked for.
    Idle,
    /// Nothing before this moment.
    Until(Instant),
    /// Get a producer id and epoch; the next epoch after this one, if there is one.
    Init(Option<ProducerIdAndEpoch>),
    /// Add these partitions.
    AddPartitions(Vec<TopicPartition>),
    /// Add the offsets of this group.
    AddOffsets(Arc<Offsets>),
    /// Commit these offsets, as part of the transaction.
    CommitOffsets(Arc<Offsets>),
    /// Wait until every record is written.
    Flush,
    /// Give up what was not sent, and wait for what was.
    Quiesce,
    /// End the transaction at the coordinator: commit it, or abort it.
    End(bool),
}

/// How a transaction ended.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    Committed,
    Aborted,
    /// It was not committed, or nobody knows, as the error's outcome says.
    Failed(Error),
}

#[derive(Debug)]
enum Phase {
    /// There is no epoch to write in.
    Uninitialised,
    Ready,
    Open,
    /// Why it can only be aborted.
    AbortOnly(Error),
    /// To be committed once everything of it is written.
    Committing {
        flushed: bool,
    },
    /// Everything of it is written and stays so, until it is decided (KIP-939).
    Preparing {
        flushed: bool,
    },
    Prepared,
    /// To be aborted; the error is for who wanted to commit it.
    Aborting {
        quiesced: bool,
        cause: Option<Error>,
    },
    /// The producer is of no use any more.
    Over(Error),
}

/// Offsets that are to be committed, and how far that is.
#[derive(Debug)]
struct PendingOffsets {
    offsets: Arc<Offsets>,
    added: bool,
    since: Instant,
    deadline: Instant,
}

/// The transactions of one producer.
#[derive(Debug)]
pub(super) struct TransactionState {
    id: Arc<str>,
    timeout: Duration,
    phase: Phase,
    identity: Option<ProducerIdAndEpoch>,
    /// How the transaction that is open goes, and how the next one will.
    flow: Flow,
    next_flow: Flow,
    /// Of the transaction that is open, or was last.
    number: u64,
    began: Instant,
    /// Somebody waits for an epoch.
    wanted: bool,
    /// Why there is none, for who waits.
    refusal: Option<Error>,
    /// What of the transaction the coordinator may know.
    may_be_known: bool,
    /// The coordinator has said that it does not know the producer id: it is of no use but for getting another.
    epoch_is_over: bool,
    /// The coordinator has once refused to end the transaction because of an epoch that it may know all the same.
    epoch_was_doubted: bool,
    /// Not everything that was written under the epoch is known: the next transaction needs another.
    needs_epoch: bool,
    /// The coordinator stumbles when it is asked for another epoch, as Kafka's does after the last one where the one before is not its newest: it is asked
    /// to abort, which it answers.
    init_stumbles: bool,
    /// What was asked last may have been done though it was refused, or not answered.
    end_may_be_done: bool,
    to_add: Vec<TopicPartition>,
    offsets: VecDeque<PendingOffsets>,
    offsets_taken: u64,
    offsets_done: u64,
    not_before: Option<Instant>,
    /// Between the end of the last transaction and what begins this one.
    markers: MarkerPause,
    /// The error of the last step, while it is repeated.
    failing: Option<Error>,
    /// Since when another epoch is refused with UNKNOWN_SERVER_ERROR, and nothing else.
    unexplained_since: Option<Instant>,
    /// How the transaction that the coordinator has not settled ended, as far as this producer knows.
    unsettled: Option<Error>,
    ended: Option<(u64, Ended)>,
    /// Since when there is no epoch though one is needed, and since when the transaction is on its way to this end.
    init_since: Option<Instant>,
    end_since: Option<Instant>,
    counters: Arc<TransactionCounters>,
}

impl TransactionState {
    pub fn new(id: Arc<str>, timeout: Duration, now: Instant) -> Self {
        Self {
            id,
            timeout,
            phase: Phase::Uninitialised,
            identity: None,
            flow: Flow::Explicit,
            next_flow: Flow::Explicit,
            number: 0,
            began: now,
            wanted: false,
            refusal: None,
            may_be_known: false,
            epoch_is_over: false,
            epoch_was_doubted: false,
            needs_epoch: false,
            init_stumbles: false,
            end_may_be_done: false,
            to_add: Vec::new(),
            offsets: VecDeque::new(),
            offsets_taken: 0,
            offsets_done: 0,
            not_before: None,
            markers: MarkerPause::default(),
            failing: None,
            unexplained_since: None,
            unsettled: None,
            ended: None,
            init_since: None,
            end_since: None,
            counters: Arc::default(),
        }
    }

    /// Under which producer id and epoch the transaction writes.
    pub fn identity(&self) -> Option<ProducerIdAndEpoch> {
        self.identity
    }

    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Where it is counted what becomes of transactions.
    pub fn counters(&self) -> &Arc<TransactionCounters> {
        &self.counters
    }

    /// The number of the transaction that is open, or was last.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the coordinator speaks: how the next transaction will go.
    pub fn speaks(&mut self, flow: Flow) {
        self.next_flow = flow;
    }

    /// Somebody waits for an epoch, to begin: what was refused before is tried again.
    pub fn want(&mut self, now: Instant) {
        match self.phase {
            Phase::Uninitialised => {
                self.wanted = true;
                self.refusal = None;
            }
            // The handle of the last one is gone without a word.
            Phase::Open | Phase::AbortOnly(_) => self.abort(now),
            _ => {}
        }
    }

    /// Whether there is an epoch, or why there will be none; `None` while that is not known.
    pub fn initialised(&mut self) -> Option<Result<()>> {
        match &self.phase {
            Phase::Ready => Some(Ok(())),
            Phase::Over(error) => Some(Err(error.clone())),
            Phase::Prepared => Some(Err(Error::new(
                ErrorKind::Config,
                "a prepared transaction is not decided: commit or abort it first",
            ))),
            _ => self.refusal.take().map(Err),
        }
    }

    /// Begins a transaction; there is an epoch.
    pub fn begin(&mut self, now: Instant) -> u64 {
        self.phase = Phase::Open;
        self.flow = self.next_flow;
        self.number += 1;
        self.began = now;
        self.may_be_known = false;
        self.end_may_be_done = false;
        self.epoch_was_doubted = false;
        self.needs_epoch = false;
        self.to_add.clear();
        self.offsets.clear();
        self.offsets_done = self.offsets_taken;
        self.ended = None;
        self.end_since = None;
        self.counters.begun();
        self.number
    }

    /// The transaction writes to this partition from now on. Whether it must be added first.
    pub fn writes_to(&mut self, partition: TopicPartition) -> bool {
        match self.flow {
            Flow::Implicit => {
                self.may_be_known = true;
                false
            }
            Flow::Explicit => {
                self.to_add.push(partition);
                #[cfg(planted_defects)]
                if planted::is_planted(planted::Defect::BatchBeforePartition) {
                    return false;
                }
                true
            }
        }
    }

    /// Between the end of the last transaction and what begins this one.
    pub fn markers(&mut self) -> &mut MarkerPause {
        &mut self.markers
    }

    /// Why nothing is accepted into the transaction: there is none, or it can only be aborted.
    pub fn obstacle(&self) -> Option<Error> {
        match &self.phase {
            Phase::Open => None,
            Phase::AbortOnly(error) | Phase::Over(error) => Some(error.clone()),
            _ => Some(Error::new(ErrorKind::Closed, "the transaction is over")),
        }
    }

    /// Why the transaction that is open can only be aborted, if so.
    pub fn failure(&self) -> Option<&Error> {
        match &self.phase {
            Phase::AbortOnly(error) | Phase::Over(error) => Some(error),
            _ => None,
        }
    }

    /// Something of the transaction failed.
    pub fn failed(&mut self, error: &Error, now: Instant) {
        self.cannot_commit(error.clone(), now);
    }

    /// Offsets to be committed as part of the transaction, by `deadline`. Returns what to ask [`Self::offsets_done`] for.
    pub fn send_offsets(&mut self, offsets: Arc<Offsets>, now: Instant, deadline: Instant) -> u64 {
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::OffsetsLeftOut) {
            self.offsets_taken += 1;
            self.offsets_done = self.offsets_taken;
            return self.offsets_taken;
        }
        self.offsets.push_back(PendingOffsets {
            offsets,
            added: false,
            since: now,
            deadline,
        });
        self.offsets_taken += 1;
        self.offsets_taken
    }

    /// What became of offsets; `None` while that is not known.
    pub fn offsets_done(&self, ticket: u64) -> Option<Result<()>> {
        if self.offsets_done >= ticket {
            return Some(Ok(()));
        }
        self.obstacle().map(Err)
    }

    /// Commits the transaction, once all of it is written.
    pub fn commit(&mut self, now: Instant) {
        match &self.phase {
            Phase::Open | Phase::Prepared => {
                let flushed = matches!(self.phase, Phase::Prepared);
                self.phase = Phase::Committing { flushed };
                self.end_since = Some(now);
            }
            Phase::AbortOnly(error) => {
                let error = error.clone();
                self.turn_back(Some(error), now);
            }
            _ => {}
        }
    }

    /// Writes all of the transaction, and leaves the decision to somebody else.
    pub fn prepare(&mut self, now: Instant) {
        match &self.phase {
            Phase::Open => self.phase = Phase::Preparing { flushed: false },
            Phase::AbortOnly(error) => {
                let error = error.clone();
                self.turn_back(Some(error), now);
            }
            _ => {}
        }
    }

    /// Whether all of it is written, or how it ended instead; `None` while that is not known.
    pub fn prepared(&self) -> Option<Result<ProducerIdAndEpoch>> {
        match (&self.phase, self.identity) {
            (Phase::Prepared, Some(identity)) => Some(Ok(identity)),
            _ => match self.ended(self.number)? {
                Ended::Failed(error) => Some(Err(error)),
                Ended::Committed | Ended::Aborted => None,
            },
        }
    }

    /// Aborts the transaction, if one is open.
    pub fn abort(&mut self, now: Instant) {
        if let Phase::Open | Phase::AbortOnly(_) | Phase::Prepared = self.phase {
            self.turn_back(None, now);
        }
    }

    /// How the transaction ended, once that is known.
    pub fn ended(&self, number: u64) -> Option<Ended> {
        match (&self.ended, &self.phase) {
            (Some((ended, how)), _) if *ended == number => Some(how.clone()),
            (_, Phase::Over(error)) => Some(Ended::Failed(error.clone())),
            _ => None,
        }
    }

    /// Why what is under way is not done yet.
    pub fn failing(&self) -> Option<&Error> {
        self.failing.as_ref()
    }

    /// Whether a transaction is on its way to its end.
    pub fn is_ending(&self) -> bool {
        matches!(
            self.phase,
            Phase::Committing { .. } | Phase::Preparing { .. } | Phase::Aborting { .. }
        )
    }

    /// Whether records of it are still on their way, or given up.
    pub fn is_writing(&self) -> bool {
        matches!(
            self.phase,
            Phase::Committing { flushed: false }
                | Phase::Preparing { flushed: false }
                | Phase::Aborting {
                    quiesced: false,
                    ..
                }
        )
    }

    /// Nothing more is done, because of `error`.
    pub fn stop(&mut self, error: &Error) {
        if !matches!(self.phase, Phase::Over(_)) {
            // An end that was asked for may come to be.
            let outcome = match self.is_ending() && self.end_may_be_done {
                true => WriteOutcome::Unknown,
                false => WriteOutcome::NotWritten,
            };
            self.phase = Phase::Over(error.clone().with_outcome(outcome));
        }
    }

    /// The next step.
    pub fn next(&mut self, now: Instant) -> Step {
        let step = self.wanted_step(now);
        let not_before = match step {
            Step::AddPartitions(_) | Step::AddOffsets(_) | Step::CommitOffsets(_) => {
                self.not_before.max(self.markers.until())
            }
            _ => self.not_before,
        };
        match not_before {
            Some(moment) if moment > now && !matches!(step, Step::Idle) => Step::Until(moment),
            _ => step,
        }
    }

    fn wanted_step(&mut self, now: Instant) -> Step {
        if let Some(front) = self.offsets.front()
            && front.deadline <= now
            && let Phase::Open | Phase::Committing { .. } | Phase::Preparing { .. } = self.phase
        {
            let text = "the offsets could not be committed in time";
            let error = Error::new(ErrorKind::Timeout, text);
            let error = match self.failing.take() {
                Some(cause) => error.because(cause),
                None => error,
            };
            self.cannot_commit(error, now);
        }
        match self.phase {
            Phase::Uninitialised if self.wanted && self.init_stumbles => Step::End(false),
            Phase::Uninitialised if self.wanted => {
                self.init_since.get_or_insert(now);
                Step::Init(self.identity)
            }
            Phase::Open => self.addition().unwrap_or(Step::Idle),
            Phase::Committing { flushed } => self.addition().unwrap_or_else(|| match flushed {
                false => Step::Flush,
                true if self.may_be_known => Step::End(true),
                true => {
                    // There is nothing that a coordinator would know of.
                    self.over(Ended::Committed, now);
                    Step::Idle
                }
            }),
            Phase::Preparing { flushed: false } => self.addition().unwrap_or(Step::Flush),
            Phase::Aborting {
                quiesced: false, ..
            } => Step::Quiesce,
            Phase::Aborting { quiesced: true, .. } => {
                if self.epoch_is_over {
                    // Whoever has forgotten the id has no transaction of it.
                    self.unsettle();
                    self.init_since.get_or_insert(now);
                    Step::Init(self.identity)
                } else if self.may_be_known {
                    Step::End(false)
                } else {
                    self.aborted(now);
                    Step::Idle
                }
            }
            _ => Step::Idle,
        }
    }

    /// What of the transaction the coordinators are to be told before it ends.
    fn addition(&self) -> Option<Step> {
        if !self.to_add.is_empty() {
            return Some(Step::AddPartitions(self.to_add.clone()));
        }
        let front = self.offsets.front()?;
        Some(match (self.flow, front.added) {
            (Flow::Explicit, false) => Step::AddOffsets(front.offsets.clone()),
            _ => Step::CommitOffsets(front.offsets.clone()),
        })
    }

    /// An epoch was asked for.
    pub fn on_init(
        &mut self,
        result: Result<ProducerIdAndEpoch, Refusal>,
        now: Instant,
        pause: Duration,
    ) {
        let refusal = match result {
            Ok(identity) => {
                self.identity = Some(identity);
                self.epoch_is_over = false;
                self.wanted = false;
                self.unexplained_since = None;
                self.succeeded();
                self.phase = Phase::Ready;
                if let Some(since) = self.init_since.take() {
                    let took = now.saturating_duration_since(since);
                    self.counters.initialised(took);
                }
                self.settle(now);
                return;
            }
            Err(refusal) => refusal,
        };
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::FencedGoesOn)
            && matches!(refusal.meaning, Meaning::Fenced | Meaning::EpochIsOver)
        {
            self.identity = None;
            return self.again(refusal.error, now, pause);
        }
        let is_unexplained = self.note_unexplained(&refusal.error, now);
        match refusal.meaning {
            Meaning::Fenced | Meaning::EpochIsOver | Meaning::EpochInDoubt
                if self.identity.is_some() =>
            {
                self.lost(self.fenced(refusal.error, now), now);
            }
            Meaning::Again if is_unexplained => {
                self.lost(self.unexplained(refusal.error), now);
            }
            Meaning::Again
            | Meaning::Abort
            | Meaning::Unexpected
            | Meaning::Fenced
            | Meaning::EpochIsOver
            | Meaning::EpochInDoubt => {
                self.init_stumbles = self.unexplained_since.is_some();
                self.again(refusal.error, now, pause);
            }
            Meaning::NeedsSomebody => {
                self.wanted = false;
                self.succeeded();
                if self.number > 0 && self.ended.is_none() {
                    let unsettled = self.unsettled.take();
                    let error = unsettled.unwrap_or_else(|| refusal.error.clone());
                    self.end(Ended::Failed(error), now);
                }
                self.refusal = Some(refusal.error);
            }
        }
    }

    /// Partitions were asked to be added.
    pub fn on_partitions_added(
        &mut self,
        added: &[TopicPartition],
        result: Result<(), Refusal>,
        now: Instant,
        pause: Duration,
    ) {
        match result {
            Ok(()) => {
                self.added();
                self.to_add.retain(|partition| !added.contains(partition));
                self.succeeded();
            }
            Err(refusal) => {
                self.epoch_is_over |= self.is_forgotten(refusal.meaning);
                self.addition_refused(refusal, now, pause);
            }
        }
    }

    /// A group was asked to be added.
    pub fn on_offsets_added(&mut self, result: Result<(), Refusal>, now: Instant, pause: Duration) {
        match result {
            Ok(()) => {
                self.added();
                if let Some(front) = self.offsets.front_mut() {
                    front.added = true;
                }
                self.succeeded();
            }
            Err(refusal) => {
                self.epoch_is_over |= self.is_forgotten(refusal.meaning);
                self.addition_refused(refusal, now, pause);
            }
        }
    }

    /// Offsets were asked to be committed.
    pub fn on_offsets_committed(
        &mut self,
        result: Result<(), Refusal>,
        now: Instant,
        pause: Duration,
    ) {
        // Where writing adds, some of it may have been added whatever was answered.
        self.may_be_known = true;
        match result {
            Ok(()) => {
                if let Some(done) = self.offsets.pop_front() {
                    let took = now.saturating_duration_since(done.since);
                    self.counters.offsets_sent(took);
                }
                self.offsets_done += 1;
                self.succeeded();
            }
            Err(refusal) => self.addition_refused(refusal, now, pause),
        }
    }

    /// Something was added to the transaction by a request of its own.
    fn added(&mut self) {
        if !self.may_be_known {
            self.markers.was_long_enough();
        }
        self.may_be_known = true;
    }

    fn addition_refused(&mut self, refusal: Refusal, now: Instant, pause: Duration) {
        self.may_be_known |= refusal.maybe_done;
        if refusal.error.server_error() == Some(ErrorCode::CONCURRENT_TRANSACTIONS) {
            self.markers.was_too_short(now);
        }
        match refusal.meaning {
            Meaning::Again => self.again(refusal.error, now, pause),
            _ => {
                // Whatever the coordinator has of it, it is asked to abort that.
                self.may_be_known = true;
                self.cannot_commit(refusal.error, now);
            }
        }
    }

    /// Every record was written, or one was not.
    pub fn on_flushed(&mut self, result: Result<()>, now: Instant) {
        match (result, &mut self.phase) {
            (Ok(()), Phase::Committing { flushed }) => *flushed = true,
            (Ok(()), Phase::Preparing { .. }) => self.phase = Phase::Prepared,
            (Ok(()), _) => {}
            (Err(error), _) => self.failed(&error, now),
        }
    }

    /// Nothing of the transaction is under way any more. Where a partition `needs_epoch`, not everything of it is known.
    pub fn on_quiesced(&mut self, needs_epoch: bool) {
        if let Phase::Aborting { quiesced, .. } = &mut self.phase {
            *quiesced = true;
            #[cfg(planted_defects)]
            if planted::is_planted(planted::Defect::EpochKept) {
                return;
            }
            self.needs_epoch |= needs_epoch;
        }
    }

    /// The transaction was asked to end. What the coordinator said, with the epoch of the next one where it says that.
    pub fn on_ended(
        &mut self,
        commit: bool,
        result: Result<Option<ProducerIdAndEpoch>, Refusal>,
        now: Instant,
        pause: Duration,
    ) {
        let refusal = match result {
            Ok(next) if matches!(self.phase, Phase::Uninitialised) => {
                self.markers.ended(now);
                self.init_stumbles = false;
                self.identity = next.or(self.identity);
                return;
            }
            Ok(next) => {
                self.succeeded();
                self.markers.ended(now);
                // In the implicit flow every transaction has an epoch of its own.
                self.needs_epoch |= self.flow == Flow::Implicit;
                self.needs_epoch &= next.is_none();
                // It is the one behind the last, after which nothing can be fenced: for what the coordinator ends by itself.
                self.needs_epoch |= next.is_some_and(|next| next.epoch == i16::MAX);
                self.identity = next.or(self.identity);
                return match commit {
                    true => self.over(Ended::Committed, now),
                    false => self.aborted(now),
                };
            }
            Err(refusal) => refusal,
        };
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::UnknownEndIsCommitted)
            && commit
            && refusal.maybe_done
        {
            self.succeeded();
            self.needs_epoch = true;
            return self.over(Ended::Committed, now);
        }
        if matches!(self.phase, Phase::Uninitialised) {
            return self.on_ended_instead_of_init(refusal, now, pause);
        }
        let may_be_done = self.end_may_be_done;
        self.end_may_be_done |= refusal.maybe_done;
        let is_doubted = refusal.meaning == Meaning::EpochInDoubt && !self.epoch_was_doubted;
        self.epoch_was_doubted |= is_doubted;
        match (refusal.meaning, commit) {
            (Meaning::Again, _) => self.again(refusal.error, now, pause),
            // By the older rules whoever asks for another epoch in the middle of a transaction fences it, itself included.
            (_, false) if is_doubted => self.again(refusal.error, now, pause),
            (meaning, true) => {
                // It was refused, so that it did not come to be by this request; an earlier one that was not answered may have done it.
                // Where it did not, it is aborted.
                let outcome = match may_be_done {
                    true => WriteOutcome::Unknown,
                    false => WriteOutcome::NotWritten,
                };
                self.succeeded();
                self.epoch_is_over = self.is_forgotten(meaning);
                self.end_since = Some(now);
                self.phase = Phase::Aborting {
                    quiesced: true,
                    cause: Some(not_committed(refusal.error).with_outcome(outcome)),
                };
            }
            (meaning, false) if self.is_fencing(meaning) => {
                #[cfg(planted_defects)]
                if planted::is_planted(planted::Defect::FencedGoesOn) {
                    self.identity = None;
                    self.succeeded();
                    return self.unsettle();
                }
                self.lost(self.fenced(refusal.error, now), now);
            }
            (meaning, false) => {
                self.succeeded();
                if meaning == Meaning::Unexpected
                    && let Phase::Aborting { cause, .. } = &mut self.phase
                {
                    // There is nothing to abort: what was to be committed may have been.
                    *cause = cause
                        .take()
                        .map(|cause| cause.with_outcome(WriteOutcome::Unknown));
                }
                self.unsettle();
            }
        }
    }

    /// The error of the transaction that was to be committed, and is aborted.
    fn take_cause(&mut self) -> Option<Error> {
        match &mut self.phase {
            Phase::Aborting { cause, .. } => cause.take(),
            _ => None,
        }
    }

    /// From an abort to another epoch.
    fn unsettle(&mut self) {
        self.unsettled = self.take_cause();
        self.phase = Phase::Uninitialised;
        self.wanted = true;
    }

    /// The coordinator has settled whatever it had of the transaction.
    fn settle(&mut self, now: Instant) {
        if self.number == 0 || self.ended.is_some() {
            self.unsettled = None;
            return;
        }
        let ended = match self.unsettled.take() {
            Some(error) => Ended::Failed(error.not_the_end()),
            None => Ended::Aborted,
        };
        self.end(ended, now);
    }

    fn aborted(&mut self, now: Instant) {
        let cause = self.take_cause();
        // Whatever was in doubt: what was committed cannot be aborted.
        let cause = cause.map(|cause| cause.with_outcome(WriteOutcome::NotWritten));
        self.over(cause.map_or(Ended::Aborted, Ended::Failed), now);
    }

    fn over(&mut self, ended: Ended, now: Instant) {
        self.end(ended, now);
        self.wanted = self.needs_epoch;
        self.phase = match self.needs_epoch {
            true => Phase::Uninitialised,
            false => Phase::Ready,
        };
    }

    /// How the transaction ended is known.
    fn end(&mut self, how: Ended, now: Instant) {
        if self.number > 0 {
            let since = self.end_since.take();
            let took = since.map(|since| now.saturating_duration_since(since));
            self.counters.ended(&how, took);
        }
        self.ended = Some((self.number, how));
    }

    /// The transaction can only be aborted. It is at once, where it was to be committed.
    fn cannot_commit(&mut self, error: Error, now: Instant) {
        match self.phase {
            Phase::Open => {
                self.succeeded();
                self.phase = Phase::AbortOnly(aborted(&error, "can only be aborted"));
            }
            Phase::Committing { .. } | Phase::Preparing { .. } => {
                self.turn_back(Some(aborted(&error, "was aborted")), now);
            }
            _ => {}
        }
    }

    fn turn_back(&mut self, cause: Option<Error>, now: Instant) {
        self.succeeded();
        self.end_since = Some(now);
        self.to_add.clear();
        self.offsets.clear();
        self.phase = Phase::Aborting {
            quiesced: false,
            cause,
        };
    }

    fn again(&mut self, error: Error, now: Instant, pause: Duration) {
        self.failing = Some(error);
        self.not_before = Some(now + pause);
    }

    fn succeeded(&mut self) {
        self.failing = None;
        self.not_before = None;
    }
}

fn aborted(cause: &Error, what: &str) -> Error {
    Error::new(
        ErrorKind::TransactionAborted,
        format!("the transaction {what}"),
    )
    .because(cause.clone())
    .with_outcome(WriteOutcome::NotWritten)
}

fn not_committed(cause: Error) -> Error {
    let text = "the coordinator has refused to commit the transaction";
    Error::new(ErrorKind::TransactionAborted, text).because(cause)
}

#[cfg(test)]
mod tests;
