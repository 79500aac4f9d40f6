//! What is handled next. Sans-IO.
//!
//! In: records by key and tenant, the time, and what became of those that were taken. Out: the records to handle. A key is ready, or a
//! worker has it, or it waits for its next attempt; its records are taken in the order in which they came.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use tokio::time::Instant;

use super::fairness::Turns;
use super::key_queue::{KeyQueue, Slots};
use crate::events::tenants::{ByHash, TenantId, Tenants};

/// A key of one partition, by its hash: two keys with one hash are handled as one.
pub(crate) type KeyId = u64;

/// A record, with whose it is.
#[derive(Debug)]
pub(crate) struct Work<T> {
    pub key: KeyId,
    pub tenant: TenantId,
    pub item: T,
}

/// All records that wait, and what is known of their keys.
#[derive(Debug)]
pub(crate) struct Queues<T> {
    slots: Slots<(TenantId, T)>,
    /// The keys that have records, or that a worker has.
    keys: HashMap<KeyId, Key, ByHash>,
    turns: Turns,
    limits_version: u64,
    /// Keys that wait for their next attempt, the first of them on top; of those that wait until the same time the one that has waited for longest, so that
    /// the order does not depend on what they are called.
    delays: BinaryHeap<Reverse<(Instant, u64, KeyId)>>,
    /// How many have waited so far.
    delayed: u64,
}

#[derive(Debug)]
struct Key {
    queue: KeyQueue,
    /// Whether it is ready, and has its place among the turns.
    is_ready: bool,
    /// The tenant whose turn it was taken by, until a worker lets go of it.
    taken_for: Option<TenantId>,
}

impl<T> Default for Queues<T> {
    fn default() -> Self {
        Self {
            slots: Slots::default(),
            keys: HashMap::default(),
            turns: Turns::default(),
            limits_version: 0,
            delays: BinaryHeap::new(),
            delayed: 0,
        }
    }
}

impl<T> Queues<T> {
    /// Puts a record behind all others of its key.
    pub(super) fn push(&mut self, work: Work<T>) {
        let Work { key, tenant, item } = work;
        let entry = self.keys.entry(key).or_insert_with(|| {
            self.turns.push(tenant, key);
            Key {
                queue: KeyQueue::EMPTY,
                is_ready: true,
                taken_for: None,
            }
        });
        self.slots.push_back(&mut entry.queue, (tenant, item));
    }

    /// Takes over the limits of `tenants`, if they have changed.
    pub(super) fn follow(&mut self, tenants: &Tenants, now: Instant) {
        let version = tenants.version();
        if version != self.limits_version {
            self.limits_version = version;
            self.turns.set_limits(tenants.known(), now);
        }
    }

    /// Takes up to `limit` records that may be handled now, those of one key behind each other, and appends them to `out`. Their keys are
    /// taken until they are [finished](Queues::finish), [delayed](Queues::delay) or [given back](Queues::give_back).
    pub(super) fn take(&mut self, now: Instant, limit: usize, out: &mut VecDeque<Work<T>>) {
        while let Some(Reverse((at, _, key))) = self.delays.peek().copied()
            && at <= now
        {
            self.delays.pop();
            self.finish(key);
        }
        let full = out.len() + limit;
        while out.len() < full
            && let Some((whose, key)) = self.turns.pop(now)
            && let Some(entry) = self.keys.get_mut(&key)
        {
            entry.is_ready = false;
            entry.taken_for = self.turns.counts().then_some(whose);
            let before = out.len();
            // What another tenant has of the same key waits for a turn of that one.
            while out.len() < full
                && let Some((tenant, _)) = self.slots.front(&entry.queue)
                && *tenant == whose
                && self.turns.pay(whose, now)
                && let Some((tenant, item)) = self.slots.pop_front(&mut entry.queue)
            {
                out.push_back(Work { key, tenant, item });
            }
            debug_assert!(
                out.len() > before,
                "a key that is ready has a record of its tenant"
            );
            if out.len() == before {
                return self.finish(key);
            }
        }
    }

    /// Nobody has `key` any more: what it has waits for its turn.
    pub(super) fn finish(&mut self, key: KeyId) {
        let Some(entry) = self.keys.get_mut(&key) else {
            return;
        };
        if let Some(tenant) = entry.taken_for.take() {
            self.turns.release(tenant);
        }
        match self.slots.front(&entry.queue) {
            Some((tenant, _)) if !entry.is_ready => {
                entry.is_ready = true;
                self.turns.push(*tenant, key);
            }
            Some(_) => {}
            None => drop(self.keys.remove(&key)),
        }
    }

    /// Puts what was taken back in front of its keys, and lets go of these but for those in `kept`, which are sorted. What is of one key stands
    /// together.
    pub(super) fn give_back(&mut self, taken: &mut VecDeque<Work<T>>, kept: &[KeyId]) {
        while let Some(Work { key, tenant, item }) = taken.pop_back() {
            if let Some(entry) = self.keys.get_mut(&key) {
                self.slots.push_front(&mut entry.queue, (tenant, item));
                self.turns.pay_back(tenant);
            }
            let is_last = taken.back().is_none_or(|before| before.key != key);
            if is_last && kept.binary_search(&key).is_err() {
                self.finish(key);
            }
        }
    }

    /// Puts a record that was taken back in front of its key, which rests until `until`.
    pub(super) fn delay(&mut self, work: Work<T>, until: Instant) {
        let Work { key, tenant, item } = work;
        if let Some(entry) = self.keys.get_mut(&key) {
            self.slots.push_front(&mut entry.queue, (tenant, item));
            if let Some(tenant) = entry.taken_for.take() {
                self.turns.release(tenant);
            }
            self.delays.push(Reverse((until, self.delayed, key)));
            self.delayed += 1;
        }
    }

    /// When the next key has rested for long enough, or the next tenant has waited.
    pub(super) fn next_delay(&self) -> Option<Instant> {
        let rested = self.delays.peek().map(|Reverse((at, ..))| *at);
        rested.into_iter().chain(self.turns.next_wait()).min()
    }

    /// Whether [`next_delay`](Queues::next_delay) is sooner than when somebody looked at it.
    pub(super) fn take_news(&mut self) -> bool {
        self.turns.take_news()
    }

    /// Whether anything can be taken now, rested or not.
    pub(super) fn has_ready(&self) -> bool {
        !self.turns.is_empty()
    }

    /// As [`Slots::look`], at what waits.
    pub(super) fn look(
        &mut self,
        from: usize,
        most: usize,
        mut look: impl FnMut(&mut T),
    ) -> Option<usize> {
        self.slots.look(from, most, |(_, item)| look(item))
    }
}

#[cfg(test)]
mod tests;
