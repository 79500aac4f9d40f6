//! One partition behind one short lock: its accumulator, its sequencer, and the way to its leader. Nothing here waits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, MutexGuard};

use std::collections::VecDeque;

use protocol::Uuid;
use tokio::time::{Duration, Instant};

use super::accumulator::{Accumulator, Limits};
use super::batch::ProducerBatch;
use super::given_up::GivenUp;
use super::sequenced::{Leader, PartitionSettings, Rules, SendDecision, Sequenced};
use super::sequencer::PartitionSequencer;
use crate::kafka::producer::completion::{Completion, Written};
use crate::kafka::producer::memory::MemoryBudget;
use crate::kafka::producer::producer_id::ProducerIdAndEpoch;
use crate::kafka::producer::sender::broker_queue::BrokerQueue;
use crate::kafka::producer::sender::outcome::ProduceOutcome;
use crate::kafka::producer::sender::ready::Readiness;
use crate::kafka::runtime::Mutex;
use crate::kafka::{Error, Result};

/// From so many batches on it is worth looking which of them are resolved.
const MANY_UNRESOLVED: usize = 8;

/// A batch on its way.
pub(crate) type SequencedBatch = Sequenced<ProducerBatch>;

/// One partition of one topic, as its producer sees it.
#[derive(Debug)]
pub(crate) struct PartitionQueue {
    pub topic: Arc<str>,
    pub partition: i32,
    pub settings: PartitionSettings,
    /// Bytes that wait, so that a sender can pass over a partition without locking it.
    waiting: AtomicUsize,
    /// Whether there is a leader to send to.
    led: AtomicBool,
    state: Mutex<State>,
}

/// What the lock guards.
#[derive(Debug)]
pub(crate) struct State {
    pub accumulator: Accumulator,
    pub sequencer: PartitionSequencer<ProducerBatch>,
    pub route: Option<Route>,
    /// The partition's slot at the broker that leads it, and what it said last.
    slot: usize,
    published: Readiness,
    pub topic_id: Uuid,
    pub gate: Gate,
    /// Why nothing is sent any more, or nothing of this transaction: what is still in flight is not put back, since nobody would send it
    /// again.
    ended: Option<Error>,
    /// The number of the last transaction that has records for the partition.
    transaction: u64,
    /// Batches whose outcome may not be known yet, oldest first.
    unresolved: VecDeque<Arc<Completion>>,
}

/// Whether a partition accepts records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// The next record lets the senders run first.
    Yield,
    /// No record is accepted any more.
    Closed,
}

impl Gate {
    /// For one who finds it not open: whether it is open the next time.
    #[cold]
    pub fn pass(&mut self) -> bool {
        if *self == Gate::Yield {
            *self = Gate::Open;
        }
        *self == Gate::Open
    }

    /// Makes the next record let the senders run first.
    pub fn slow_down(&mut self) {
        if *self == Gate::Open {
            *self = Gate::Yield;
        }
    }
}

/// The way to a partition's leader.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub broker: Arc<BrokerQueue>,
    pub leader: Leader,
}

/// Why a partition's next batch was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It has more bytes than there is room for.
    NoRoom,
    /// There is none, or none that may be sent now.
    NotReady,
}

/// A batch to be sent.
#[derive(Debug)]
pub(crate) struct Taken {
    pub batch: SequencedBatch,
    pub leader: Leader,
    pub topic_id: Uuid,
    /// It has more bytes than the broker takes in one batch, as far as is known: to be split first.
    pub is_too_large: bool,
}

/// Why nothing of a partition is sent.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// The partition has no leader.
    NoLeader,
    /// There is no producer id yet.
    NoProducerId,
    /// The connection to the leader, or the last answer, failed.
    Failed(Error),
    /// Nothing failed, but the leader, which is named, takes records more slowly than they come.
    Slow(i32),
}

impl PartitionQueue {
    pub fn new(
        topic: Arc<str>,
        partition: i32,
        topic_id: Uuid,
        limits: Limits,
        settings: PartitionSettings,
        rules: Rules,
    ) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            led: AtomicBool::new(false),
            state: Mutex::new(State {
                accumulator: Accumulator::new(topic.clone(), partition, limits),
                sequencer: PartitionSequencer::new(rules),
                route: None,
                slot: 0,
                published: Readiness::Nothing,
                topic_id,
                gate: Gate::Open,
                ended: None,
                transaction: 0,
                unresolved: VecDeque::new(),
            }),
            topic,
            partition,
            settings,
        }
    }

    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Bytes that wait to be sent, about.
    #[inline]
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Whether the partition has a leader.
    pub fn has_leader(&self) -> bool {
        self.led.load(SeqCst)
    }

    /// Follows metadata to another leader, or to none. To be called by one task at a time.
    pub fn reroute(self: &Arc<Self>, route: Option<Route>) {
        let mut state = self.lock();
        let leader = |route: &Option<Route>| route.as_ref().map(|route| route.leader);
        if leader(&state.route) == leader(&route) {
            return;
        }
        if let Some(old) = &state.route {
            old.broker.leave(state.slot);
        }
        self.led.store(route.is_some(), SeqCst);
        if let Some(new) = &route {
            state.slot = new.broker.join(self.clone());
            new.broker.wake();
        }
        state.route = route;
        state.published = Readiness::Nothing;
        state.sequencer.leader_changed();
        self.publish(&mut state);
    }

    /// Tells the leader's sender, and everyone else, what waits now. To be called after each change; true when the sender has enough to do.
    pub fn publish(&self, state: &mut State) -> bool {
        // A batch to repeat counts as a byte: what matters is that it is not overlooked.
        let waiting = state.accumulator.bytes() + usize::from(state.sequencer.has_retries());
        self.waiting.store(waiting, SeqCst);
        let Some(route) = &state.route else {
            return false;
        };
        let readiness = state.readiness(route.leader, &self.settings);
        if state.published == readiness {
            return false;
        }
        state.published = readiness;
        route.broker.publish(state.slot, readiness)
    }

    /// The next batch for the leader at `broker`, if it has at most `room` bytes. For a partition that was popped from the broker's list:
    /// it says anew what it has, but for one without room, of which [`publish_again`](Self::publish_again) is to be called.
    pub fn take(
        &self,
        broker: &BrokerQueue,
        now: Instant,
        room: usize,
        timeout: Duration,
        memory: &MemoryBudget,
    ) -> Result<Taken, NotTaken> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(leader) = state.leader_at(broker) else {
            return Err(NotTaken::NotReady);
        };
        let batch = match state.sequencer.send_decision(now, leader) {
            SendDecision::Retry => state.sequencer.retry(leader),
            SendDecision::New if state.accumulator.next_bytes() > room => {
                return Err(NotTaken::NoRoom);
            }
            SendDecision::New => state.accumulator.take(now, memory).map(|batch| {
                let (count, deadline) = (batch.builder.count(), batch.closed + timeout);
                state.sequencer.start(leader, count, deadline, batch.into())
            }),
            SendDecision::Wait | SendDecision::Until(_) => None,
        };
        self.republish(state);
        let Some(batch) = batch else {
            return Err(NotTaken::NotReady);
        };
        // What may have been written is sent again as it was.
        let is_too_large = batch.count > 1
            && !batch.maybe_written
            && batch.content.uncompressed_len() > state.accumulator.batch_bytes();
        Ok(Taken {
            batch,
            leader,
            topic_id: state.topic_id,
            is_too_large,
        })
    }

    /// As [`publish`](Self::publish), after the partition was popped from its broker's list.
    pub fn publish_again(&self) {
        self.republish(&mut self.lock());
    }

    fn republish(&self, state: &mut State) {
        state.published = Readiness::Nothing;
        self.publish(state);
    }

    /// An attempt succeeded. Returns the other batches that are given up by that.
    pub fn written(
        &self,
        batch: SequencedBatch,
        leader: Leader,
        written: Written,
        memory: &MemoryBudget,
    ) -> GivenUp {
        let (batch, lost) = self.with(|state| state.sequencer.written(batch, leader));
        batch.release(memory).resolve(Ok(written));
        // At once, as long as the completion is in the processor's cache.
        self.lock().forget_resolved();
        GivenUp::resolve(lost, memory)
    }

    /// An attempt failed. Returns what is given up.
    pub fn failed(
        &self,
        batch: SequencedBatch,
        outcome: ProduceOutcome,
        error: Error,
        now: Instant,
        backoff: Duration,
        memory: &MemoryBudget,
    ) -> GivenUp {
        self.change(memory, |state| {
            state.sequencer.failed(batch, outcome, error, now, backoff);
        })
    }

    /// A batch was refused for some of its records, which were taken out; `count` records are left. Returns the other batches that
    /// are given up by that.
    pub fn records_removed(
        &self,
        batch: SequencedBatch,
        count: u32,
        memory: &MemoryBudget,
    ) -> GivenUp {
        let (nothing, lost) = self.with(|state| state.sequencer.records_removed(batch, count));
        if let Some(batch) = nothing {
            // There is no record left that would hear of it.
            drop(batch.release(memory));
        }
        GivenUp::resolve(lost, memory)
    }

    /// Changes the state, and resolves what is given up by that.
    pub fn change(&self, memory: &MemoryBudget, change: impl FnOnce(&mut State)) -> GivenUp {
        let ((), lost) = self.with(change);
        GivenUp::resolve(lost, memory)
    }

    /// Changes the state, and sees to what follows from that. Returns what `change` does, and what was given up by it.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> (T, Vec<(SequencedBatch, Error)>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let changed = change(state);
        if let Some(error) = &state.ended {
            state.sequencer.abandon(error);
        }
        self.publish(state);
        (changed, state.sequencer.given_up())
    }

    /// Fails what waits for longer than it may. `reason` says why they could not be sent, `no_producer_id` why
    /// there is no producer id. An open batch that has waited for `age` is closed.
    pub fn expire(
        &self,
        now: Instant,
        age: Duration,
        timeout: Duration,
        memory: &MemoryBudget,
        no_producer_id: Option<&Error>,
        reason: impl FnOnce(Obstacle) -> Error,
    ) -> GivenUp {
        let mut fresh = Vec::new();
        let mut obstacle = None;
        let mut given_up = self.change(memory, |state| {
            if let Some(limit) = now.checked_sub(age) {
                state.accumulator.close_old(limit, now, memory);
            }
            state.sequencer.expire(now, no_producer_id);
            if let Some(limit) = now.checked_sub(timeout) {
                fresh = state.accumulator.expire(limit, memory);
            }
            if !fresh.is_empty() {
                obstacle = Some(state.obstacle());
            }
        });
        if let Some(error) = obstacle.map(reason) {
            let fresh = fresh.into_iter().map(ProducerBatch::from);
            given_up.refuse(fresh, memory, &error);
        }
        given_up
    }

    /// Whether records are waiting, and if so, what for.
    pub fn waits_for(&self) -> Option<Obstacle> {
        (self.waiting() > 0).then(|| self.lock().obstacle())
    }

    /// From now on, a batch with more than one record has at most so many bytes.
    pub fn limit_batches(&self, bytes: usize) {
        self.lock().accumulator.limit(bytes);
    }

    /// Fails everything that is not in flight, and accepts and sends no more. Returns also how many records are in flight.
    pub fn abandon(&self, error: &Error, memory: &MemoryBudget) -> (GivenUp, u64) {
        {
            let mut state = self.lock();
            state.gate = Gate::Closed;
            state.ended.get_or_insert_with(|| error.clone());
        }
        let given_up = self.refuse(error, memory);
        (given_up, self.lock().sequencer.in_flight_records())
    }

    /// Fails everything that is not in flight.
    pub fn refuse(&self, error: &Error, memory: &MemoryBudget) -> GivenUp {
        let mut fresh = Vec::new();
        let mut given_up = self.change(memory, |state| {
            state.sequencer.abandon(error);
            let now = Instant::now();
            fresh.extend(std::iter::from_fn(|| state.accumulator.take(now, memory)));
        });
        given_up.refuse(fresh.into_iter().map(ProducerBatch::from), memory, error);
        given_up
    }

    /// Fails everything that is not in flight, and what comes back of that, until another transaction begins here.
    pub fn cancel(&self, error: &Error, memory: &MemoryBudget) -> GivenUp {
        (self.lock().ended).get_or_insert_with(|| error.clone());
        self.refuse(error, memory)
    }

    /// The transaction `number` has the partition now.
    pub fn admitted(&self, number: u64) {
        let mut state = self.lock();
        if state.transaction == number {
            state.sequencer.admitted();
            self.publish(&mut state);
        }
    }

    /// Closes the open batch, so that it is sent soon, and returns the batches whose outcome is to be awaited.
    pub fn flush(&self, memory: &MemoryBudget) -> Vec<Arc<Completion>> {
        let mut state = self.lock();
        state.accumulator.shut(Instant::now(), memory);
        state.forget_resolved();
        self.publish(&mut state);
        state.unresolved.iter().cloned().collect()
    }

    /// Gives the partition a producer id, if it wants one; false if it needs another one than this.
    pub fn adopt(&self, producer_id: ProducerIdAndEpoch) -> bool {
        let mut state = self.lock();
        let adopted = state.sequencer.adopt(producer_id);
        self.publish(&mut state);
        adopted
    }
}

impl State {
    fn leader_at(&self, broker: &BrokerQueue) -> Option<Leader> {
        self.route
            .as_ref()
            .filter(|route| route.broker.id == broker.id)
            .map(|route| route.leader)
    }

    /// What the partition has for `leader`.
    fn readiness(&self, leader: Leader, settings: &PartitionSettings) -> Readiness {
        let (bytes, has_retries) = (self.accumulator.bytes(), self.sequencer.has_retries());
        if (bytes == 0 && !has_retries) || self.sequencer.is_blocked(leader) {
            return Readiness::Nothing;
        }
        match self.sequencer.not_before() {
            Some(moment) => Readiness::NotBefore(moment),
            None if has_retries => Readiness::Ready {
                bytes: 1,
                since: None,
                urgent: true,
            },
            None => Readiness::Ready {
                bytes,
                since: self.accumulator.oldest().map(|since| settings.as_if(since)),
                urgent: self.accumulator.has_closed(),
            },
        }
    }

    fn obstacle(&self) -> Obstacle {
        let Some(route) = &self.route else {
            return Obstacle::NoLeader;
        };
        if let Some(error) = route.broker.unreachable() {
            return Obstacle::Failed(error);
        }
        match self.sequencer.last_failure() {
            Some(error) => Obstacle::Failed(error.clone()),
            None if self.sequencer.lacks_producer_id() => Obstacle::NoProducerId,
            None => Obstacle::Slow(route.broker.id),
        }
    }

    /// Whether the partition is in the transaction `number`.
    pub fn is_in(&self, number: u64) -> bool {
        self.transaction == number
    }

    /// Enters the transaction `number`: see [`PartitionSequencer::enter`].
    pub fn enter(&mut self, number: u64, producer_id: ProducerIdAndEpoch, held: bool) {
        self.transaction = number;
        if self.gate != Gate::Closed {
            self.ended = None;
        }
        self.sequencer.enter(producer_id, held);
    }

    /// Remembers a new batch until its outcome is known.
    pub fn remember(&mut self, completion: &Arc<Completion>) {
        if self.unresolved.len() >= MANY_UNRESOLVED {
            self.forget_resolved();
        }
        self.unresolved.push_back(completion.clone());
    }

    fn forget_resolved(&mut self) {
        while self
            .unresolved
            .front()
            .is_some_and(|oldest| oldest.is_resolved())
        {
            self.unresolved.pop_front();
        }
    }

    /// Whether anything accepted is not resolved yet.
    pub fn is_busy(&mut self) -> bool {
        self.forget_resolved();
        !self.unresolved.is_empty()
    }
}

#[cfg(test)]
mod tests;
