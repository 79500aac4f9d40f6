//! The order of one partition's batches, and their sequence numbers when the producer is idempotent. No I/O: time comes in as an argument.
//!
//! In: batches to start, and what became of each attempt. Out: which batch may be sent next, and which ones are given up.
//!
//! What holds, whatever the brokers do:
//! - Batches are sent in the order of acceptance; one that must be repeated goes before all later ones, under its old sequence.
//! - After anything but a success, and with a new leader, one batch is in flight until the next success: a broker that knows nothing of
//!   the producer accepts any first sequence.
//! - Producer id, epoch and next sequence belong to the *partition*, since that is where brokers keep them: recovery under a new epoch
//!   starts at sequence 0, waits until nothing of the partition is in flight, and cannot touch another partition.
//! - Only a batch that was certainly not written gets a new sequence. One that may have been is given up as "unknown" by then.
//! - In a transaction there is no recovery: where another epoch would be needed, what is left of it fails, and nothing more is sent
//!   until the partition [enters](PartitionSequencer::enter) another transaction.
//! - Nothing here is forgotten when the topic vanishes from metadata; only a new topic id starts afresh, under a new epoch.

use std::collections::VecDeque;

use tokio::time::{Duration, Instant};

use super::sequenced::{
    BatchSequence, Discipline, Leader, Rules, SendDecision, Sequenced, advance,
};
use crate::kafka::producer::producer_id::ProducerIdAndEpoch;

#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::producer::sender::outcome::ProduceOutcome;
use crate::kafka::{Error, ErrorKind, WriteOutcome};

/// A hole in the sequences: a batch that had one will not be written under it.
#[derive(Clone, Copy, Debug)]
struct Gap {
    order: (u64, u32),
    /// Where numbering can go on, if the broker certainly stands there.
    resume: Option<i32>,
    /// The producer id is of no use any more.
    fenced: bool,
}

/// How many refusals in a row a search for the records that are to blame accepts one batch. Enough to halve the largest batch down to a
/// single record several times over; a batch of which nothing is ever taken ends there.
const SEARCH_REFUSALS: u32 = 64;

/// The batches of one partition between being accepted and being resolved.
#[derive(Debug)]
pub(crate) struct PartitionSequencer<T> {
    rules: Rules,
    producer_id: Option<ProducerIdAndEpoch>,
    /// The producer id that may not be taken again.
    retired_producer_id: Option<i64>,
    next_sequence: i32,
    /// The transaction does not have the partition yet: nothing of it may be sent.
    held: bool,
    next_order: u64,
    in_flight: usize,
    /// The records of the batches in flight.
    in_flight_records: u64,
    /// Where those in flight are.
    node: Option<i32>,
    /// To be sent again, in order.
    retry: VecDeque<Sequenced<T>>,
    /// The leader whose last answer was a success.
    confirmed_leader: Option<Leader>,
    gap: Option<Gap>,
    recreated: bool,
    not_before: Option<Instant>,
    /// Why the last batch that is to be repeated failed; none once one succeeded.
    last_failure: Option<Error>,
    /// The batch in which refused records are searched for, and how many refusals that took since the last success.
    search: (u64, u32),
    given_up: Vec<(Sequenced<T>, Error)>,
}

impl<T> PartitionSequencer<T> {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            producer_id: None,
            retired_producer_id: None,
            next_sequence: 0,
            held: false,
            next_order: 0,
            in_flight: 0,
            in_flight_records: 0,
            node: None,
            retry: VecDeque::new(),
            confirmed_leader: None,
            gap: None,
            recreated: false,
            not_before: None,
            last_failure: None,
            search: (0, 0),
            given_up: Vec::new(),
        }
    }

    /// What may be sent to `leader` now.
    pub fn send_decision(&self, now: Instant, leader: Leader) -> SendDecision {
        match self.not_before {
            _ if self.is_blocked(leader) => SendDecision::Wait,
            Some(moment) if moment > now => SendDecision::Until(moment),
            _ if self.retry.is_empty() => SendDecision::New,
            _ => SendDecision::Retry,
        }
    }

    /// Whether nothing may be sent to `leader` before something of the partition is resolved, or a producer id is here.
    pub fn is_blocked(&self, leader: Leader) -> bool {
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::SilentAfterEpochBump)
            && self
                .producer_id
                .is_some_and(|producer_id| producer_id.epoch > 0)
        {
            return true;
        }
        let behind_gap = self.gap.is_some_and(|gap| {
            let next = self.retry.front().map(|batch| batch.order);
            next.is_none_or(|order| order >= gap.order)
        });
        self.is_elsewhere(leader.node)
            || behind_gap
            || self.recreated
            || self.in_flight >= self.allowance(leader)
            || self.lacks_producer_id()
    }

    /// The moment before which nothing may be sent.
    pub fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Whether something is in flight to another broker than `broker`.
    pub fn is_elsewhere(&self, node: i32) -> bool {
        self.in_flight > 0 && self.node != Some(node)
    }

    fn allowance(&self, leader: Leader) -> usize {
        match self.rules.discipline {
            Discipline::NoRetries => self.rules.max_in_flight,
            #[cfg(planted_defects)]
            Discipline::OneByOne
                if planted::is_planted(planted::Defect::SeveralWithoutSequences) =>
            {
                self.rules.max_in_flight
            }
            Discipline::OneByOne => 1,
            Discipline::Sequences | Discipline::Transactions => {
                match self.confirmed_leader == Some(leader) {
                    true => self.rules.max_in_flight,
                    false => 1,
                }
            }
        }
    }

    /// Whether a producer id is wanted: there is none, or the one there was has used up its epochs.
    pub fn wants_producer_id(&self) -> bool {
        self.rules.discipline == Discipline::Sequences && self.producer_id.is_none()
    }

    /// Whether nothing can be sent for want of a producer id, or of a transaction that has the partition.
    pub fn lacks_producer_id(&self) -> bool {
        match self.rules.discipline {
            Discipline::Sequences => self.producer_id.is_none(),
            Discipline::Transactions => self.held || !self.is_in_epoch(),
            Discipline::OneByOne | Discipline::NoRetries => false,
        }
    }

    /// Whether there is an epoch to write in: none before the first transaction, nor after what would need another epoch to go on.
    pub fn is_in_epoch(&self) -> bool {
        self.producer_id.is_some()
    }

    /// A transaction has its first record for the partition: what is sent from now on is under `producer_id`, and only once the
    /// transaction [has](Self::admitted) the partition where it is `held` until then. Nothing of the partition is in flight.
    pub fn enter(&mut self, producer_id: ProducerIdAndEpoch, held: bool) {
        self.held = held;
        self.not_before = None;
        if self.producer_id != Some(producer_id) {
            // A leader that knows the producer takes no other first sequence of a new epoch than 0.
            let is_known = self.producer_id.is_some_and(|it| it.id == producer_id.id);
            self.confirmed_leader = self.confirmed_leader.filter(|_| is_known);
            self.producer_id = Some(producer_id);
            self.next_sequence = 0;
        }
    }

    /// The transaction has the partition now.
    pub fn admitted(&mut self) {
        self.held = false;
    }

    /// Takes `producer_id` when one is wanted; false when it is the one that is used up.
    pub fn adopt(&mut self, producer_id: ProducerIdAndEpoch) -> bool {
        if !self.wants_producer_id() {
            return true;
        }
        if self.retired_producer_id == Some(producer_id.id) {
            return false;
        }
        self.producer_id = Some(producer_id);
        self.next_sequence = 0;
        true
    }

    /// The next batch to repeat, in flight to `leader` from now on; for [`SendDecision::Retry`].
    pub fn retry(&mut self, leader: Leader) -> Option<Sequenced<T>> {
        let mut batch = self.retry.pop_front()?;
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::SequenceNotRestored) {
            batch.sequence = None;
        }
        self.depart(&mut batch, leader);
        Some(batch)
    }

    /// Makes `content` the next batch, in flight to `leader` from now on; for [`SendDecision::New`].
    pub fn start(
        &mut self,
        leader: Leader,
        count: u32,
        deadline: Instant,
        content: T,
    ) -> Sequenced<T> {
        let mut batch = Sequenced {
            order: (self.next_order, 0),
            count,
            sequence: None,
            maybe_written: false,
            attempts: 0,
            deadline,
            content,
            last_error: None,
        };
        self.next_order += 1;
        self.depart(&mut batch, leader);
        batch
    }

    fn depart(&mut self, batch: &mut Sequenced<T>, leader: Leader) {
        if batch.sequence.is_none()
            && let Some(producer_id) = self.producer_id
        {
            batch.sequence = Some(BatchSequence {
                producer_id,
                base_sequence: self.next_sequence,
            });
            self.next_sequence = advance(self.next_sequence, batch.count);
        }
        batch.attempts += 1;
        self.in_flight += 1;
        self.in_flight_records += u64::from(batch.count);
        self.node = Some(leader.node);
    }

    /// Something is known of a batch of `count` records that was in flight.
    fn arrive(&mut self, count: u32) {
        self.in_flight -= 1;
        self.in_flight_records -= u64::from(count);
    }

    /// An attempt at `leader` succeeded, or turned out to repeat a success.
    pub fn written(&mut self, batch: Sequenced<T>, leader: Leader) -> T {
        self.arrive(batch.count);
        self.last_failure = None;
        self.search.1 = 0;
        if self.gap.is_none() && self.retry.is_empty() {
            self.confirmed_leader = Some(leader);
            self.not_before = None;
        } else if self.gap.is_none() {
            // Something later failed meanwhile: it goes alone, after its backoff.
            self.confirmed_leader = None;
        }
        self.settle();
        batch.content
    }

    /// An attempt failed. What is to be tried again is, after `backoff`; what is not comes out of [`PartitionSequencer::given_up`], and holds up nothing.
    pub fn failed(
        &mut self,
        mut batch: Sequenced<T>,
        outcome: ProduceOutcome,
        error: Error,
        now: Instant,
        backoff: Duration,
    ) {
        self.arrive(batch.count);
        self.confirmed_leader = None;
        let first = self
            .retry
            .front()
            .is_none_or(|next| batch.order < next.order)
            && self.gap.is_none_or(|gap| batch.order < gap.order);
        match outcome {
            ProduceOutcome::OutOfSequence | ProduceOutcome::Fenced if first => {
                self.open_gap(&batch, None, outcome == ProduceOutcome::Fenced);
            }
            ProduceOutcome::Retry(WriteOutcome::Unknown)
            | ProduceOutcome::Fail(WriteOutcome::Unknown) => {
                batch.maybe_written = true;
                #[cfg(planted_defects)]
                if planted::is_planted(planted::Defect::UnknownIsNotWritten) {
                    batch.maybe_written = false;
                }
            }
            _ => {}
        }
        let hopeless = matches!(outcome, ProduceOutcome::Fail(_) | ProduceOutcome::TooLarge);
        if hopeless || now >= batch.deadline || batch.attempts > self.rules.retries {
            #[cfg(planted_defects)]
            if planted::is_planted(planted::Defect::RefusalHoldsUp) {
                self.not_before = Some(now + backoff);
            }
            self.give_up(batch, error);
        } else {
            // What was refused only for following another one waits for its place, and for nothing else.
            let follows = matches!(
                outcome,
                ProduceOutcome::OutOfSequence | ProduceOutcome::Fenced
            ) && !first;
            if !follows {
                self.not_before = Some(now + backoff);
                self.last_failure = Some(error.clone());
            }
            batch.last_error = Some(error);
            self.put_back(batch);
        }
        self.settle();
    }

    /// Whether some records of a batch can go out again under other sequences: not if an attempt may have been written.
    pub fn may_renumber(&self, batch: &Sequenced<T>) -> bool {
        !(batch.maybe_written && batch.sequence.is_some())
    }

    /// Whether a batch that was refused for some of its records, nobody knows which, should be split in search of them: not if that took
    /// many refusals already, and none of it was taken.
    pub fn may_search(&mut self, batch: &Sequenced<T>) -> bool {
        if self.search.0 != batch.order.0 {
            self.search = (batch.order.0, 0);
        }
        self.search.1 += 1;
        batch.count > 1 && self.search.1 <= SEARCH_REFUSALS
    }

    /// An attempt was refused for some of its records, which were taken out; it was certainly not applied. What is left, `count` records,
    /// takes its place under new sequences; if nothing is, the content comes back.
    pub fn records_removed(&mut self, mut batch: Sequenced<T>, count: u32) -> Option<T> {
        self.arrive(batch.count);
        self.confirmed_leader = None;
        if let Some(sequence) = batch.sequence {
            self.open_gap(&batch, Some(sequence.base_sequence), false);
        }
        batch.count = count;
        batch.attempts = 0;
        let nothing = if count > 0 {
            self.put_back(batch);
            None
        } else {
            Some(batch.content)
        };
        self.settle();
        nothing
    }

    /// An attempt was refused for the batch's size, and its first `count` records were cut off as `front`: both parts take its place.
    pub fn split(&mut self, mut rest: Sequenced<T>, count: u32, front: T) {
        self.arrive(rest.count);
        self.confirmed_leader = None;
        let front = Sequenced {
            order: rest.order,
            count,
            sequence: rest.sequence,
            maybe_written: rest.maybe_written,
            attempts: 0,
            deadline: rest.deadline,
            content: front,
            last_error: rest.last_error.clone(),
        };
        rest.order.1 += count;
        rest.count -= count;
        rest.attempts = 0;
        if let Some(sequence) = &mut rest.sequence {
            sequence.base_sequence = advance(sequence.base_sequence, count);
        }
        self.put_back(front);
        self.put_back(rest);
        self.settle();
    }

    /// Gives up what waits for a repetition longer than it may; for want of a producer id, where one is wanted, because of `no_producer_id`.
    pub fn expire(&mut self, now: Instant, no_producer_id: Option<&Error>) {
        let cause = no_producer_id.filter(|_| self.wants_producer_id());
        let late = |batch: &Sequenced<T>| batch.deadline <= now;
        while self.retry.front().is_some_and(late)
            && let Some(batch) = self.retry.pop_front()
        {
            let error = timed_out(cause.or(batch.last_error.as_ref()));
            self.give_up(batch, error);
        }
        self.settle();
    }

    /// Gives up everything that waits for a repetition.
    pub fn abandon(&mut self, error: &Error) {
        while let Some(batch) = self.retry.pop_front() {
            self.give_up(batch, error.clone());
        }
        self.settle();
    }

    /// The topic was deleted and re-created under its name: its log knows nothing of us.
    pub fn topic_recreated(&mut self) {
        self.recreated = true;
        self.settle();
    }

    /// The partition has a new leader: no reason to wait before trying it.
    pub fn leader_changed(&mut self) {
        self.not_before = None;
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::SequenceLostWithLeader) {
            self.next_sequence = 0;
        }
    }

    /// The batches that will not be tried again, with the reason; its outcome is right for each.
    pub fn given_up(&mut self) -> Vec<(Sequenced<T>, Error)> {
        std::mem::take(&mut self.given_up)
    }

    /// How many records are in flight.
    pub fn in_flight_records(&self) -> u64 {
        self.in_flight_records
    }

    /// Why nothing of the partition was taken lately.
    pub fn last_failure(&self) -> Option<&Error> {
        self.last_failure.as_ref()
    }

    /// Whether batches wait for a repetition.
    pub fn has_retries(&self) -> bool {
        !self.retry.is_empty()
    }

    fn put_back(&mut self, batch: Sequenced<T>) {
        let place = self
            .retry
            .partition_point(|other| other.order < batch.order);
        self.retry.insert(place, batch);
    }

    fn give_up(&mut self, batch: Sequenced<T>, error: Error) {
        if let Some(sequence) = batch.sequence {
            let resume = (!batch.maybe_written).then_some(sequence.base_sequence);
            #[cfg(planted_defects)]
            let resume = match planted::is_planted(planted::Defect::MaybeWrittenSequenceReused) {
                true => Some(sequence.base_sequence),
                false => resume,
            };
            self.open_gap(&batch, resume, false);
        }
        let error = match error.outcome() {
            WriteOutcome::NotWritten if batch.maybe_written => {
                error.with_outcome(WriteOutcome::Unknown)
            }
            WriteOutcome::Unknown if !batch.maybe_written => {
                error.with_outcome(WriteOutcome::NotWritten)
            }
            _ => error,
        };
        let error = error.attempt(batch.attempts);
        self.given_up.push((batch, error));
    }

    fn open_gap(&mut self, batch: &Sequenced<T>, resume: Option<i32>, fenced: bool) {
        let gap = Gap {
            order: batch.order,
            resume,
            fenced,
        };
        self.gap = Some(match self.gap {
            None => gap,
            Some(known) => {
                let (first, other) = if known.order <= gap.order {
                    (known, gap)
                } else {
                    (gap, known)
                };
                Gap {
                    order: first.order,
                    resume: first.resume.filter(|_| other.resume.is_some()),
                    fenced: first.fenced || other.fenced,
                }
            }
        });
    }

    /// Closes a gap, once nothing of the partition is in flight and nothing from before the gap is left to repeat.
    fn settle(&mut self) {
        if self.in_flight > 0 {
            return;
        }
        self.node = None;
        if std::mem::take(&mut self.recreated) {
            // The new log may have taken a batch by the topic's name, under the old epoch: nothing may look like that one. And one whose
            // brokers are of different minds about the id may be the old log after all.
            let gap = self.gap.take();
            self.start_over(gap.is_some_and(|gap| gap.fenced));
            return;
        }
        let Some(gap) = self.gap else {
            return;
        };
        if self
            .retry
            .front()
            .is_some_and(|batch| batch.order < gap.order)
        {
            return;
        }
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::OutOfSequenceEnds) && gap.resume.is_none() {
            return;
        }
        self.gap = None;
        match gap.resume {
            Some(sequence) if self.retry.iter().all(|batch| !batch.maybe_written) => {
                self.renumber(sequence);
            }
            _ => {
                #[cfg(planted_defects)]
                if planted::is_planted(planted::Defect::SequenceNotReset) {
                    self.next_epoch(gap.fenced);
                    return self.renumber(self.next_sequence);
                }
                self.start_over(gap.fenced);
            }
        }
    }

    /// Goes on in another epoch. A transaction has only one: what is left of it fails.
    fn start_over(&mut self, fenced: bool) {
        self.next_epoch(fenced);
        self.renumber(0);
    }

    /// Gives every batch a new sequence, from `next`, except those that may have been written under their old one: these are given up.
    fn renumber(&mut self, next: i32) {
        self.confirmed_leader = None;
        self.next_sequence = next;
        for mut batch in std::mem::take(&mut self.retry) {
            if batch.maybe_written && batch.sequence.is_some() {
                let error = outcome_unknown(&batch).attempt(batch.attempts);
                self.given_up.push((batch, error));
            } else if self.rules.discipline == Discipline::Transactions && !self.is_in_epoch() {
                let error = epoch_is_over(&batch).attempt(batch.attempts);
                self.given_up.push((batch, error));
            } else {
                batch.sequence = None;
                self.retry.push_back(batch);
            }
        }
    }

    /// The next epoch fences what may still be under way in the network; after the last one a new producer id is needed.
    fn next_epoch(&mut self, fenced: bool) {
        let Some(producer_id) = self.producer_id else {
            return;
        };
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::EpochNotExhausted) && producer_id.epoch == i16::MAX
        {
            return;
        }
        self.producer_id = match producer_id.epoch.checked_add(1) {
            Some(epoch) if !fenced && self.rules.discipline == Discipline::Sequences => {
                Some(ProducerIdAndEpoch {
                    epoch,
                    ..producer_id
                })
            }
            _ => {
                self.retired_producer_id = Some(producer_id.id);
                None
            }
        };
    }
}

fn timed_out(cause: Option<&Error>) -> Error {
    let error = Error::new(
        ErrorKind::Timeout,
        "the batch was not acknowledged within delivery.timeout.ms",
    );
    match cause {
        Some(cause) => error.because(cause.clone()),
        None => error,
    }
}

fn outcome_unknown<T>(batch: &Sequenced<T>) -> Error {
    let error = Error::new(
        ErrorKind::Timeout,
        "an earlier attempt may have been written, and the broker can no longer tell: \
         the batch is not sent again, since that could write it twice",
    )
    .with_outcome(WriteOutcome::Unknown);
    match &batch.last_error {
        Some(cause) => error.because(cause.clone()),
        None => error,
    }
}

/// Why a batch of a transaction is not sent again though it was certainly not written.
fn epoch_is_over<T>(batch: &Sequenced<T>) -> Error {
    let error = batch.last_error.clone().unwrap_or_else(|| {
        Error::new(
            ErrorKind::TransactionAborted,
            "an earlier batch of the transaction failed: nothing more of it is written, it can only be aborted",
        )
    });
    error.with_outcome(WriteOutcome::NotWritten)
}

#[cfg(test)]
mod tests;
