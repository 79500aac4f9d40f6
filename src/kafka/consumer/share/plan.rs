//! What to send to a broker next. In: what is assigned and led there, what polls wait for, what is to be acknowledged. Out: one request, or what
//! to wait for. One request at a time goes to a broker: each carries the session's next epoch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::acquired::AcquiredReader;
use super::config::AcquireMode;
use super::ledger::{Ledger, Place};
use crate::kafka::group::heartbeats::IdPartition;
use crate::kafka::{Error, TopicPartition};

/// The most errors that wait for a poll.
const ERRORS_KEPT: usize = 16;

/// Assigned partitions, with their names.
pub(super) type Partitions = BTreeMap<IdPartition, TopicPartition>;

/// What there is to do, and with whom.
#[derive(Default)]
pub(super) struct Work {
    /// What is assigned, by who leads it.
    pub leaders: BTreeMap<i32, Arc<Partitions>>,
    pub ledger: Ledger,
    /// What was acquired and waits to be polled.
    pub buffers: VecDeque<AcquiredReader>,
    /// The broker of what a poll reads on: neither buffered nor held yet.
    reads: Option<i32>,
    /// A poll waits for records.
    is_hungry: bool,
    /// Everything is let go of.
    pub is_leaving: bool,
    pub nodes: BTreeMap<i32, Node>,
    /// Fetches under way that acquire records.
    pub fetching: usize,
    /// Whom the last fetch went to, where one broker at a time is asked.
    last_node: i32,
    errors: VecDeque<Error>,
    /// What goes wrong again and again, though not always.
    refusals: BTreeMap<About, Refusal>,
}

/// A broker, or one of its partitions.
pub(super) type About = (i32, Option<IdPartition>);

/// What a broker says again and again.
struct Refusal {
    times: u32,
    since: Instant,
    last: Instant,
    /// Whether it is a code, which an answer without one takes back.
    is_code: bool,
}

/// After how many times the patience without another refusal the one before is over.
const OVER_AFTER: u32 = 3;

/// What is known of a broker that a task talks to.
#[derive(Default)]
pub(super) struct Node {
    pub wakeup: Arc<Notify>,
    /// A poll has found nothing since the last fetch began: one more may go, whether the poll still waits or not.
    may_fetch: bool,
    is_fetching: bool,
    failures: u32,
    failing_since: Option<Instant>,
    paused_until: Option<Instant>,
    /// How many batches in a row could not be read.
    unreadable: u32,
}

/// What to do about a broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Fetch; with acknowledgements, if there is a session.
    Fetch,
    /// Acknowledge.
    Acknowledge,
    /// What is to be acknowledged cannot be: the session in which it was acquired is over.
    GiveUp,
    /// Close the session; what is to be acknowledged goes along.
    Close,
    /// Nothing until something changes, or until this time.
    Wait(Option<Instant>),
    /// There is nothing to do with it any more.
    Retire,
}

impl Work {
    /// What to do about `node`, with which there is a session or not.
    pub fn plan(&self, node: i32, is_open: bool, mode: AcquireMode, now: Instant) -> Plan {
        let has_acks = self.ledger.has_to_send(node);
        if self.is_leaving {
            return match (is_open, has_acks) {
                (true, _) => Plan::Close,
                (false, true) => Plan::GiveUp,
                (false, false) => Plan::Retire,
            };
        }
        let paused_until = self.nodes.get(&node).and_then(|node| node.paused_until);
        if let Some(until) = paused_until.filter(|until| *until > now) {
            return Plan::Wait(Some(until));
        }
        let led = self.leaders.get(&node);
        let fetches =
            self.wants(node) && (mode == AcquireMode::BatchOptimized || self.is_turn(node, now));
        let alone = || {
            let fetched = |id: &IdPartition| led.is_some_and(|led| led.contains_key(id));
            self.ledger.goes_alone(node, fetched)
        };
        match (has_acks, is_open) {
            (true, true) if !fetches || alone() => return Plan::Acknowledge,
            (true, false) if !fetches => return Plan::GiveUp,
            _ => {}
        }
        if fetches {
            return Plan::Fetch;
        }
        // What waits to be polled was acquired in the session, and would be others' at its end.
        let holds = self.ledger.has_any(node) || self.is_buffered(node);
        match (led.is_none() && !holds, is_open) {
            (true, true) => Plan::Close,
            (true, false) => Plan::Retire,
            (false, _) => Plan::Wait(None),
        }
    }

    /// Whether polls want what may be had there.
    fn wants(&self, node: i32) -> bool {
        let may_fetch = self.nodes.get(&node).is_some_and(|node| node.may_fetch);
        may_fetch && self.leaders.contains_key(&node) && !self.is_buffered(node)
    }

    /// Whether something that was acquired there waits to be polled.
    fn is_buffered(&self, node: i32) -> bool {
        self.reads == Some(node) || self.buffers.iter().any(|it| it.place.0 == node)
    }

    /// A poll reads on what has waited longest, until [`read_on`](Self::read_on).
    pub fn next_buffered(&mut self) -> Option<AcquiredReader> {
        let reader = self.buffers.pop_front();
        self.reads = reader.as_ref().map(|reader| reader.place.0);
        reader
    }

    /// What a poll has read on is held by now; what is left of it waits.
    pub fn read_on(&mut self, left: Option<AcquiredReader>) {
        let node = self.reads.take();
        if let Some(left) = left {
            self.buffers.push_front(left);
        } else if let Some(node) = node.and_then(|node| self.nodes.get(&node)) {
            // Perhaps nothing is left to do there.
            node.wakeup.notify_one();
        }
    }

    /// Whether it is the broker's turn, where one at a time is asked.
    fn is_turn(&self, node: i32, now: Instant) -> bool {
        let is_paused = |node: &i32| {
            let paused = self.nodes.get(node).and_then(|node| node.paused_until);
            paused.is_some_and(|until| until > now)
        };
        let mut candidates = self
            .leaders
            .keys()
            .filter(|it| self.wants(**it) && !is_paused(it));
        let next = candidates.clone().find(|it| **it > self.last_node);
        self.fetching == 0 && next.or_else(|| candidates.next()) == Some(&node)
    }

    /// A task talks to `node` from now on. Returns what wakes it.
    pub fn begin(&mut self, node: i32) -> Arc<Notify> {
        let new = Node {
            may_fetch: self.is_hungry,
            ..Node::default()
        };
        self.nodes.entry(node).or_insert(new).wakeup.clone()
    }

    /// A poll has found nothing, and waits, or waits no more.
    pub fn set_hungry(&mut self, is_hungry: bool, mode: AcquireMode) {
        self.is_hungry = is_hungry;
        // What is under way may be enough.
        let waits = mode == AcquireMode::RecordLimit && self.fetching > 0;
        if is_hungry && !waits {
            let idle = self.nodes.values_mut().filter(|node| !node.is_fetching);
            idle.for_each(|node| node.may_fetch = true);
            self.wake_all();
        }
    }

    /// A poll returns records: nothing more is acquired before the next one.
    pub fn set_sated(&mut self) {
        self.nodes
            .values_mut()
            .for_each(|node| node.may_fetch = false);
    }

    /// A fetch goes to `node`.
    pub fn fetch_began(&mut self, node: i32, mode: AcquireMode) {
        self.fetching += 1;
        self.last_node = node;
        for (id, other) in &mut self.nodes {
            if *id == node || mode == AcquireMode::RecordLimit {
                other.may_fetch = false;
            }
            other.is_fetching |= *id == node;
        }
    }

    /// A fetch is over, however.
    pub fn fetch_over(&mut self, node: i32) {
        self.fetching = self.fetching.saturating_sub(1);
        if let Some(node) = self.nodes.get_mut(&node) {
            node.is_fetching = false;
        }
    }

    /// The broker answered.
    pub fn succeeded(&mut self, node: i32) {
        if let Some(node) = self.nodes.get_mut(&node) {
            (node.failures, node.failing_since, node.paused_until) = (0, None, None);
        }
    }

    /// The broker did not answer, or with an error: it is left alone for a while, by the number of failures in a row. After `patience` polls
    /// are told, once in that time; at once of what only a person can change.
    pub fn failed(
        &mut self,
        node: i32,
        error: Error,
        now: Instant,
        patience: Duration,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let Some(node) = self.nodes.get_mut(&node) else {
            return;
        };
        node.failures = node.failures.saturating_add(1);
        node.paused_until = Some(now + pause(node.failures));
        let since = *node.failing_since.get_or_insert(now);
        let decided = !crate::kafka::error::may_pass(&error) && node.failures == 2;
        if decided || now.duration_since(since) >= patience {
            node.failing_since = Some(now);
            self.report(error);
        }
    }

    /// What the broker says makes no sense, or is that a partition cannot be read. Others may be read there meanwhile, and where records stay locked for
    /// this member, it says nothing for a while. After `patience` polls are told, once in that time; at once of what only a person can change.
    pub fn refused(&mut self, about: About, error: Error, now: Instant, patience: Duration) {
        let leaders = &self.leaders;
        let is_led = |(node, id): &About| match (leaders.get(node), id) {
            (Some(led), Some(id)) => led.contains_key(id),
            (led, _) => led.is_some(),
        };
        self.refusals.retain(|about, _| is_led(about));
        let new = Refusal {
            times: 0,
            since: now,
            last: now,
            is_code: error.server_error().is_some(),
        };
        let refusal = self.refusals.entry(about).or_insert(new);
        if now.duration_since(refusal.last) >= patience.saturating_mul(OVER_AFTER) {
            (refusal.times, refusal.since) = (0, now);
        }
        refusal.times = refusal.times.saturating_add(1);
        refusal.last = now;
        let decided = !crate::kafka::error::may_pass(&error) && refusal.times == 2;
        if decided || now.duration_since(refusal.since) >= patience {
            refusal.since = now;
            self.report(error);
        }
    }

    /// The broker has nothing to say against a partition; `is_fruitful`: something of it was read.
    pub fn accepted(&mut self, (node, id): Place, is_fruitful: bool) {
        if self.refusals.is_empty() {
            return;
        }
        let of_partition = (node, Some(id));
        let is_over = self.refusals.get(&of_partition);
        if is_over.is_some_and(|refusal| refusal.is_code || is_fruitful) {
            self.refusals.remove(&of_partition);
        }
    }

    /// Leaves a broker alone for a while, by the number of failures in a row.
    pub fn rest(&mut self, node: i32, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.failures = node.failures.saturating_add(1);
            node.paused_until = Some(now + pause(node.failures));
        }
    }

    /// What came from `node` was read, or could not be: then it is left alone for a while, as it is delivered again at once.
    pub fn was_read(&mut self, node: i32, now: Instant, pause: Option<impl Fn(u32) -> Duration>) {
        let Some(node) = self.nodes.get_mut(&node) else {
            return;
        };
        match pause {
            None => node.unreadable = 0,
            Some(pause) => {
                node.unreadable = node.unreadable.saturating_add(1);
                node.paused_until = Some(now + pause(node.unreadable));
            }
        }
    }

    /// A poll is to return this.
    pub fn report(&mut self, error: Error) {
        if self.errors.len() < ERRORS_KEPT {
            self.errors.push_back(error);
        }
    }

    /// What a poll has to return.
    pub fn next_error(&mut self) -> Option<Error> {
        self.errors.pop_front()
    }

    /// Wakes the tasks of all brokers.
    pub fn wake_all(&self) {
        self.nodes
            .values()
            .for_each(|node| node.wakeup.notify_one());
    }

    /// The brokers that a task has to talk to.
    pub fn wanted_nodes(&self) -> BTreeSet<i32> {
        let leaders = self.leaders.keys().copied().filter(|_| !self.is_leaving);
        leaders.chain(self.ledger.nodes()).collect()
    }
}

#[cfg(test)]
mod tests;
