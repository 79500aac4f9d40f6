//! What is handled next. Sans-IO.
//!
//! In: records by key and tenant, the time, and what became of those that were taken. Out: the records to handle. A key is ready, or a
//! worker has it, or it waits for its next attempt; its records are taken in the order in which they came.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use tokio::time::Instant;

use super::fairness::Turns;
use super::key_queue::{KeyQueue, Slots};

/// A key of one partition, by its hash: two keys with one hash are handled as one.
pub(crate) type KeyId = u64;
/// A tenant, by its hash.
pub(crate) type TenantId = u64;
/// For maps whose keys are hashes.
pub(super) type ByHash = BuildHasherDefault<Hashed>;

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
    /// Keys that wait for their next attempt, the first of them on top.
    delays: BinaryHeap<Reverse<(Instant, KeyId)>>,
}

#[derive(Debug)]
struct Key {
    queue: KeyQueue,
    /// Whether it is ready, and has its place among the turns.
    is_ready: bool,
}

impl<T> Default for Queues<T> {
    fn default() -> Self {
        Self {
            slots: Slots::default(),
            keys: HashMap::default(),
            turns: Turns::default(),
            delays: BinaryHeap::new(),
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
            }
        });
        self.slots.push_back(&mut entry.queue, (tenant, item));
    }

    /// Takes up to `limit` records that may be handled now, those of one key behind each other, and appends them to `out`. Their keys are
    /// taken until they are [finished](Queues::finish), [delayed](Queues::delay) or [given back](Queues::give_back).
    pub(super) fn take(&mut self, now: Instant, limit: usize, out: &mut VecDeque<Work<T>>) {
        while let Some(Reverse((at, key))) = self.delays.peek().copied()
            && at <= now
        {
            self.delays.pop();
            self.finish(key);
        }
        let full = out.len() + limit;
        while out.len() < full
            && let Some(key) = self.turns.pop()
            && let Some(entry) = self.keys.get_mut(&key)
        {
            entry.is_ready = false;
            while out.len() < full
                && let Some((tenant, item)) = self.slots.pop_front(&mut entry.queue)
            {
                out.push_back(Work { key, tenant, item });
            }
        }
    }

    /// Nobody has `key` any more: what it has waits for its turn.
    pub(super) fn finish(&mut self, key: KeyId) {
        let Some(entry) = self.keys.get_mut(&key) else {
            return;
        };
        match self.slots.front(&entry.queue) {
            Some((tenant, _)) if !entry.is_ready => {
                entry.is_ready = true;
                self.turns.push(*tenant, key);
            }
            Some(_) => {}
            None => drop(self.keys.remove(&key)),
        }
    }

    /// Puts what was taken and not begun back in front of its keys, and lets go of these but for `kept`.
    pub(super) fn give_back(&mut self, taken: &mut VecDeque<Work<T>>, kept: Option<KeyId>) {
        while let Some(Work { key, tenant, item }) = taken.pop_back() {
            if let Some(entry) = self.keys.get_mut(&key) {
                self.slots.push_front(&mut entry.queue, (tenant, item));
            }
            let is_last = taken.back().is_none_or(|before| before.key != key);
            if is_last && Some(key) != kept {
                self.finish(key);
            }
        }
    }

    /// Puts a record that was taken back in front of its key, which rests until `until`.
    pub(super) fn delay(&mut self, work: Work<T>, until: Instant) {
        let Work { key, tenant, item } = work;
        if let Some(entry) = self.keys.get_mut(&key) {
            self.slots.push_front(&mut entry.queue, (tenant, item));
            self.delays.push(Reverse((until, key)));
        }
    }

    /// When the next key has rested for long enough.
    pub(super) fn next_delay(&self) -> Option<Instant> {
        self.delays.peek().map(|Reverse((at, _))| *at)
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

/// Passes on what is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests;
