//! The byte budget of what is in flight: what waits for handlers, and what they are at work on. In: bytes acquired and released. Out: how
//! many more a partition may take.
//!
//! A partition takes no more than it leaves to all others. So whatever one of them holds on to, because its handlers are slow or stuck,
//! the others go on: with less, but never with nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many bytes are in flight.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    used: AtomicUsize,
    /// Whether somebody waits for room, and at how many bytes in flight to wake it.
    wanted: AtomicBool,
    wake_at: AtomicUsize,
    room: Notify,
}

/// A partition that had to wait goes on when it may take this part of the budget: less would come in crumbs.
const STEPS: usize = 32;

impl Memory {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.max(1),
            used: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            wake_at: AtomicUsize::new(0),
            room: Notify::new(),
        })
    }

    /// How many bytes a partition may take that has `held` in flight; `None` when it has to wait.
    pub(crate) fn room(&self, held: usize) -> Option<usize> {
        room(self.limit, self.used.load(Ordering::SeqCst), held)
    }

    /// `bytes` more are in flight: who takes has asked for room before, and goes over it by a record at most.
    pub(crate) fn acquire(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::SeqCst);
    }

    /// `bytes` are in flight no more. `emptied`: their partition has nothing in flight any more.
    pub(crate) fn release(&self, bytes: usize, emptied: bool) {
        let used = self.used.fetch_sub(bytes, Ordering::SeqCst) - bytes;
        let enough = emptied || used <= self.wake_at.load(Ordering::SeqCst);
        if enough && self.wanted.swap(false, Ordering::SeqCst) {
            self.room.notify_one();
        }
    }

    /// From now on, enough that comes back wakes [`Memory::more_room`]. To be called before the room is looked at.
    pub(crate) fn want_room(&self) {
        let enough = self.limit / STEPS * 2;
        let used = self.used.load(Ordering::SeqCst);
        self.wake_at
            .store(used.saturating_sub(enough), Ordering::SeqCst);
        self.wanted.store(true, Ordering::SeqCst);
    }

    /// Waits until enough came back since [`Memory::want_room`].
    pub(crate) async fn more_room(&self) {
        self.room.notified().await;
    }
}

fn room(limit: usize, used: usize, held: usize) -> Option<usize> {
    let free = limit.saturating_sub(used);
    let room = free.saturating_sub(held).div_ceil(2);
    // Who has nothing in flight never waits for crumbs to add up: they may not.
    let least = if held == 0 { 0 } else { limit / STEPS };
    (room > least).then_some(room)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_partition_takes_no_more_than_it_leaves() {
        let limit = 1 << 20;
        let mut held = 0;
        while let Some(room) = room(limit, held, held) {
            held += room;
        }
        assert!((limit * 9 / 20..=limit / 2).contains(&held), "{held}");
        // Whatever others hold on to, one with nothing in flight gets something.
        for stuck in 1..12 {
            let mut used = 0;
            for _ in 0..stuck {
                let mut held = 0;
                while let Some(room) = room(limit, used, held) {
                    held += room;
                    used += room;
                }
                assert!(held > 0);
            }
            assert!(used < limit, "{stuck}: {used}");
            assert!(room(limit, used, 0).is_some());
        }
    }

    proptest! {
        /// Partitions poll in any order, each as much as there is room for and one record beyond it, and finish any part of what they have.
        #[test]
        fn what_is_in_flight_never_exceeds_the_budget_by_more_than_one_record(
            limit in 1usize..100_000,
            steps in prop::collection::vec((0usize..8, any::<bool>(), 1usize..500, 0usize..100), 1..300),
        ) {
            let memory = Memory::new(limit);
            let mut held = [0usize; 8];
            for (partition, polls, record, part) in steps {
                if polls {
                    let Some(room) = memory.room(held[partition]) else { continue };
                    // Records are polled until they reach the room.
                    let polled = room.div_ceil(record) * record;
                    memory.acquire(polled);
                    held[partition] += polled;
                    let all: usize = held.iter().sum();
                    prop_assert!(all < limit + record, "{all} of {limit}, records of {record}");
                } else {
                    let finished = held[partition] * part / 100;
                    held[partition] -= finished;
                    memory.release(finished, held[partition] == 0);
                }
            }
        }
    }

    #[test]
    fn the_smallest_budget_takes_one_record_at_a_time() {
        assert_eq!(room(1, 0, 0), Some(1));
        assert_eq!(room(1, 700, 700), None);
        assert_eq!(room(1, 700, 0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken_by_enough_or_by_the_last_of_a_partition() {
        use std::time::Duration;
        use tokio::time::timeout;
        let memory = Memory::new(3_200);
        let woken = async || {
            timeout(Duration::from_secs(1), memory.more_room())
                .await
                .is_ok()
        };
        memory.acquire(3_000);
        memory.want_room();
        memory.release(150, false);
        assert!(!woken().await, "150 of 200");
        memory.release(50, false);
        assert!(woken().await);
        memory.release(1_000, false);
        assert!(!woken().await, "nobody waits");
        memory.want_room();
        memory.release(1, true);
        assert!(woken().await);
    }
}
