//! One partition behind one short lock: its accumulator, its lane, and the way to its leader. Nothing here waits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::collections::VecDeque;

use protocol::Uuid;
use tokio::time::{Duration, Instant};

use super::accumulator::{Accumulator, Limits, News};
use super::buffers::Buffers;
use super::delivery::{Completion, Part, Written};
use super::node::Node;
use super::parcel::Parcel;
use super::sequences::{Batch, Identity, Lane, Leader, Rules, Turn};
use super::verdict::Verdict;
use crate::kafka::{Error, Result};

/// A batch on its way.
pub(super) type Shipment = Batch<Parcel>;

/// One partition of one topic, as its producer sees it.
#[derive(Debug)]
pub(super) struct Queue {
    pub topic: Arc<str>,
    pub partition: i32,
    /// Bytes that wait, so that a sender can pass over a partition without locking it.
    waiting: AtomicUsize,
    /// Whether there is a leader to send to.
    led: AtomicBool,
    state: Mutex<State>,
}

/// What the lock guards.
#[derive(Debug)]
pub(super) struct State {
    pub accumulator: Accumulator,
    pub lane: Lane<Parcel>,
    pub route: Option<Route>,
    pub topic_id: Uuid,
    pub gate: Gate,
    /// Why nothing is sent any more: what is still in flight is not put back, since nobody would send it again.
    ended: Option<Error>,
    /// Batches whose fate may not be known yet, oldest first.
    unresolved: VecDeque<Arc<Completion>>,
}

/// Whether a partition takes in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// The next record lets the senders run first.
    Yield,
    /// No record is taken in any more.
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
pub(super) struct Route {
    pub node: Arc<Node>,
    pub leader: Leader,
}

/// A batch to be sent.
#[derive(Debug)]
pub(super) struct Taken {
    pub shipment: Shipment,
    pub leader: Leader,
    pub topic_id: Uuid,
    /// It has more bytes than the broker takes in one batch, as far as is known: to be cut up first.
    pub is_too_large: bool,
}

/// Why nothing of a partition is sent.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// The partition has no leader.
    NoLeader,
    /// There is no producer id yet.
    NoIdentity,
    /// The connection to the leader, or the last answer, failed.
    Failed(Error),
    /// Nothing failed, but the leader, which is named, takes records more slowly than they come.
    Slow(i32),
}

/// What could be sent of a partition now.
#[derive(Debug, Default)]
pub(super) struct Prospect {
    /// Bytes that may go; 0 when nothing may.
    pub bytes: usize,
    /// Waited long enough, full, or a repetition.
    pub urgent: bool,
    /// When to look again, though nothing else happens.
    pub wake_at: Option<Instant>,
}

impl Queue {
    pub fn new(
        topic: Arc<str>,
        partition: i32,
        topic_id: Uuid,
        limits: Limits,
        rules: Rules,
    ) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            led: AtomicBool::new(false),
            state: Mutex::new(State {
                accumulator: Accumulator::new(topic.clone(), partition, limits),
                lane: Lane::new(rules),
                route: None,
                topic_id,
                gate: Gate::Open,
                ended: None,
                unresolved: VecDeque::new(),
            }),
            topic,
            partition,
        }
    }

    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let waiting = self.waiting();
        if let Some(old) = &state.route {
            old.node.leave(self);
            old.node.adjust(waiting, 0);
        }
        self.led.store(route.is_some(), SeqCst);
        if let Some(new) = &route {
            new.node.join(self);
            new.node.adjust(0, waiting);
            new.node.wake();
        }
        state.route = route;
        state.lane.leader_changed();
    }

    /// Tells the sender of the leader what was appended, and returns how many bytes wait there, if the sender has enough to do.
    pub fn announce(&self, state: &State, news: News) -> Option<usize> {
        self.count(state);
        let node = &state.route.as_ref()?.node;
        node.announce(news)
    }

    /// Brings the public count of waiting bytes up to date.
    pub fn count(&self, state: &State) {
        // A batch to repeat counts as a byte: what matters is that it is not overlooked.
        let waiting = state.accumulator.bytes() + usize::from(state.lane.has_retries());
        let before = self.waiting.swap(waiting, SeqCst);
        if let Some(route) = &state.route {
            route.node.adjust(before, waiting);
        }
    }

    /// What the sender of `node` could take now.
    pub fn prospect(&self, node: &Node, now: Instant, linger: Duration) -> Prospect {
        let state = self.lock();
        let Some(leader) = state.leader_at(node) else {
            return Prospect::default();
        };
        match state.lane.turn(now, leader) {
            Turn::Wait => Prospect::default(),
            Turn::Until(moment) => Prospect {
                wake_at: Some(moment),
                ..Prospect::default()
            },
            Turn::Repeat => Prospect {
                bytes: 1,
                urgent: true,
                wake_at: None,
            },
            Turn::Fresh => {
                let ripe = state.accumulator.oldest().map(|opened| opened + linger);
                Prospect {
                    bytes: state.accumulator.bytes(),
                    urgent: state.accumulator.has_closed() || ripe.is_some_and(|ripe| ripe <= now),
                    wake_at: ripe,
                }
            }
        }
    }

    /// The next batch for the leader at `node`, if it has at most `room` bytes.
    pub fn take(
        &self,
        node: &Node,
        now: Instant,
        room: usize,
        timeout: Duration,
        buffers: &Buffers,
    ) -> Option<Taken> {
        let mut state = self.lock();
        let leader = state.leader_at(node)?;
        let shipment = match state.lane.turn(now, leader) {
            Turn::Repeat => state.lane.repeat(leader),
            Turn::Fresh if state.accumulator.next_bytes() <= room => {
                let state = &mut *state;
                state.accumulator.take(now, buffers).map(|raw| {
                    let (count, deadline) = (raw.builder.count(), raw.closed + timeout);
                    state.lane.start(leader, count, deadline, raw.into())
                })
            }
            _ => None,
        };
        self.count(&state);
        let shipment = shipment?;
        // What may have been written is sent again as it was.
        let is_too_large = shipment.count > 1
            && !shipment.suspect
            && shipment.content.uncompressed_len() > state.accumulator.batch_bytes();
        Some(Taken {
            shipment,
            leader,
            topic_id: state.topic_id,
            is_too_large,
        })
    }

    /// An attempt succeeded. Returns how many records of other batches failed for good by that.
    pub fn written(
        &self,
        shipment: Shipment,
        leader: Leader,
        written: Written,
        buffers: &Buffers,
    ) -> u64 {
        let (parcel, lost) = self.with(|state| state.lane.written(shipment, leader));
        parcel.release(buffers).resolve(Ok(written));
        drop_lost(lost, buffers)
    }

    /// An attempt failed. Returns how many records failed for good.
    pub fn failed(
        &self,
        shipment: Shipment,
        verdict: Verdict,
        error: Error,
        now: Instant,
        backoff: Duration,
        buffers: &Buffers,
    ) -> u64 {
        self.change(buffers, |state| {
            state.lane.failed(shipment, verdict, error, now, backoff);
        })
    }

    /// A batch was refused for some of its records, which were taken out; `count` records are left. Returns how many records of other
    /// batches failed for good by that.
    pub fn thinned(&self, shipment: Shipment, count: u32, buffers: &Buffers) -> u64 {
        let (nothing, lost) = self.with(|state| state.lane.thinned(shipment, count));
        if let Some(parcel) = nothing {
            // There is no record left that would hear of it.
            drop(parcel.release(buffers));
        }
        drop_lost(lost, buffers)
    }

    /// Changes the state, and resolves what was given up by that; returns the number of records that failed.
    pub fn change(&self, buffers: &Buffers, change: impl FnOnce(&mut State)) -> u64 {
        let ((), lost) = self.with(change);
        drop_lost(lost, buffers)
    }

    /// Changes the state, and sees to what follows from that. Returns what `change` does, and what was given up by it.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> (T, Vec<(Shipment, Error)>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let held_up = state.is_held_up();
        let changed = change(state);
        if let Some(error) = &state.ended {
            state.lane.abandon(error);
        }
        self.count(state);
        if held_up
            && !state.is_held_up()
            && let Some(route) = &state.route
        {
            // It is another sender's task that brought this about.
            route.node.wake();
        }
        (changed, state.lane.given_up())
    }

    /// Fails what waits for longer than it may; returns the number of records. `reason` says why they could not be sent, `no_identity` why
    /// there is no producer id. An open batch that has waited for `age` is closed.
    pub fn expire(
        &self,
        now: Instant,
        age: Duration,
        timeout: Duration,
        buffers: &Buffers,
        no_identity: Option<&Error>,
        reason: impl Fn(Obstacle) -> Error,
    ) -> u64 {
        let mut fresh = Vec::new();
        let mut obstacle = None;
        let lost = self.change(buffers, |state| {
            if let Some(limit) = now.checked_sub(age) {
                state.accumulator.close_old(limit, now, buffers);
            }
            state.lane.expire(now, no_identity);
            if let Some(limit) = now.checked_sub(timeout) {
                fresh = state.accumulator.expire(limit, buffers);
            }
            if !fresh.is_empty() {
                obstacle = Some(state.obstacle());
            }
        });
        let Some(error) = obstacle.map(reason) else {
            return lost;
        };
        lost + self.fail(fresh.into_iter().map(Parcel::from), buffers, &error)
    }

    /// Whether records are waiting, and if so, what for.
    pub fn waits_for(&self) -> Option<Obstacle> {
        (self.waiting() > 0).then(|| self.lock().obstacle())
    }

    /// From now on, a batch with more than one record has at most so many bytes.
    pub fn limit_batches(&self, bytes: usize) {
        self.lock().accumulator.limit(bytes);
    }

    /// Fails everything that is not in flight, and takes in and sends no more; returns the number of records.
    pub fn abandon(&self, error: &Error, buffers: &Buffers) -> u64 {
        {
            let mut state = self.lock();
            state.gate = Gate::Closed;
            state.ended.get_or_insert_with(|| error.clone());
        }
        self.refuse(error, buffers)
    }

    /// Fails everything that is not in flight; returns the number of records.
    pub fn refuse(&self, error: &Error, buffers: &Buffers) -> u64 {
        let mut fresh = Vec::new();
        let lost = self.change(buffers, |state| {
            state.lane.abandon(error);
            let now = Instant::now();
            fresh.extend(std::iter::from_fn(|| state.accumulator.take(now, buffers)));
        });
        lost + self.fail(fresh.into_iter().map(Parcel::from), buffers, error)
    }

    fn fail(&self, parcels: impl Iterator<Item = Parcel>, buffers: &Buffers, error: &Error) -> u64 {
        parcels.fold(0, |failed, parcel| {
            let count = parcel.count();
            let error = error
                .clone()
                .topic_partition(self.topic.clone(), self.partition);
            parcel.release(buffers).resolve(Err(error));
            failed + u64::from(count)
        })
    }

    /// Closes the open batch, so that it is sent soon, and returns the batches whose fate is to be awaited.
    pub fn flush(&self, buffers: &Buffers) -> Vec<Arc<Completion>> {
        let mut state = self.lock();
        state.accumulator.shut(Instant::now(), buffers);
        state.forget_resolved();
        self.announce(&state, News::Full);
        state.unresolved.iter().cloned().collect()
    }

    /// Gives the partition a producer id, if it wants one; false if it needs another one than this.
    pub fn adopt(&self, identity: Identity) -> bool {
        let mut state = self.lock();
        let wanted = state.lane.wants_identity();
        let adopted = state.lane.adopt(identity);
        if wanted
            && adopted
            && let Some(route) = &state.route
        {
            route.node.wake();
        }
        adopted
    }
}

impl State {
    fn leader_at(&self, node: &Node) -> Option<Leader> {
        self.route
            .as_ref()
            .filter(|route| route.node.id == node.id)
            .map(|route| route.leader)
    }

    fn obstacle(&self) -> Obstacle {
        let Some(route) = &self.route else {
            return Obstacle::NoLeader;
        };
        if let Some(error) = route.node.unreachable() {
            return Obstacle::Failed(error);
        }
        match self.lane.last_failure() {
            Some(error) => Obstacle::Failed(error.clone()),
            None if self.lane.wants_identity() => Obstacle::NoIdentity,
            None => Obstacle::Slow(route.node.id),
        }
    }

    /// Whether the leader has to wait for the end of what is in flight to an earlier one.
    fn is_held_up(&self) -> bool {
        let route = self.route.as_ref();
        route.is_some_and(|route| self.lane.is_elsewhere(route.node.id))
    }

    /// Remembers a new batch until its fate is known.
    pub fn remember(&mut self, completion: &Arc<Completion>) {
        self.forget_resolved();
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

fn drop_lost(lost: Vec<(Shipment, Error)>, buffers: &Buffers) -> u64 {
    lost.into_iter().fold(0, |failed, (shipment, error)| {
        let count = u64::from(shipment.count);
        let part: Part = shipment.content.release(buffers);
        let (topic, partition) = (part.completion().topic.clone(), part.completion().partition);
        let result: Result<Written> = Err(error.topic_partition(topic, partition));
        part.resolve(result);
        failed + count
    })
}

#[cfg(test)]
mod tests {
    use protocol::records::BatchBuilder;

    use super::*;
    use crate::kafka::producer::delivery::Delivery;
    use crate::kafka::producer::sequences::Discipline;
    use crate::kafka::{ErrorKind, WriteOutcome};

    const SECOND: Duration = Duration::from_secs(1);

    fn queue() -> Arc<Queue> {
        let limits = Limits {
            batch_bytes: 1_000,
            batch_records: 1,
        };
        let rules = Rules {
            discipline: Discipline::OneByOne,
            max_in_flight: 5,
            retries: u32::MAX,
        };
        Arc::new(Queue::new("t".into(), 0, Uuid::ZERO, limits, rules))
    }

    fn lead(queue: &Arc<Queue>, id: i32) -> Arc<Node> {
        let node = Arc::new(Node::new(id, 1_000));
        let leader = Leader {
            node: id,
            epoch: id,
        };
        queue.reroute(Some(Route {
            node: node.clone(),
            leader,
        }));
        node
    }

    fn put(queue: &Queue, buffers: &Buffers) -> Delivery {
        let write = |builder: &mut BatchBuilder| builder.append(0, None, Some(b"v"), []).ok();
        let mut state = queue.lock();
        let appended = state
            .accumulator
            .append(100, buffers, None, Instant::now, write)
            .expect("there is room");
        queue.count(&state);
        Delivery::new(appended.completion, appended.index, 0)
    }

    /// The answer came between the end of the producer and its sender's hearing of it: the batch was put back to be repeated by nobody.
    #[test]
    fn what_is_in_flight_when_everything_ends_is_not_put_back() {
        let (queue, buffers) = (queue(), Buffers::new(1 << 20, 1_000));
        let node = lead(&queue, 1);
        let deliveries = [put(&queue, &buffers), put(&queue, &buffers)];
        let taken = queue.take(&node, Instant::now(), usize::MAX, SECOND, &buffers);
        let shipment = taken.expect("a batch").shipment;
        let closed = Error::new(ErrorKind::Closed, "the producer is closed");
        assert_eq!(queue.abandon(&closed, &buffers), 1);
        let gone = Error::new(ErrorKind::Disconnected, "gone");
        let verdict = Verdict::Retry(WriteOutcome::Unknown);
        queue.failed(shipment, verdict, gone, Instant::now(), SECOND, &buffers);
        let outcomes = deliveries.map(|delivery| {
            let error = delivery
                .outcome()
                .expect("nobody waits for ever")
                .unwrap_err();
            (error.kind(), error.outcome())
        });
        assert_eq!(
            outcomes,
            [
                (ErrorKind::Closed, WriteOutcome::Unknown),
                (ErrorKind::Closed, WriteOutcome::NotWritten)
            ]
        );
        assert_eq!(buffers.charged(), 0);
    }
}
