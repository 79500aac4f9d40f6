//! One assigned partition, as the fetching side and the handling side see it: what is in hand, and whether it is still ours.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::offset_tracker::{Commit, OffsetTracker};
use crate::kafka::TopicPartition;

/// The state of a partition, from its assignment to its release.
#[derive(Debug)]
pub(crate) struct Partition {
    pub name: TopicPartition,
    /// Tells equal keys of different partitions apart.
    pub salt: u64,
    state: Mutex<State>,
    /// Told when the partition is released and its last handler has ended.
    drained: Notify,
}

#[derive(Debug)]
struct State {
    tracker: OffsetTracker,
    /// How many handlers are at work.
    running: usize,
    /// Whether no handler may begin any more.
    released: bool,
    /// Whether handlers at work are not waited for.
    abandoned: bool,
}

impl Partition {
    pub(crate) fn new(name: TopicPartition, tracker: OffsetTracker) -> Self {
        // The hasher's keys are fixed: the same in every run.
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self {
            name,
            salt: hasher.finish(),
            state: Mutex::new(State {
                tracker,
                running: 0,
                released: false,
                abandoned: false,
            }),
            drained: Notify::new(),
        }
    }

    /// As [`OffsetTracker::is_past`].
    pub(crate) fn is_past(&self, offset: i64) -> bool {
        self.lock().tracker.is_past(offset)
    }

    /// As [`OffsetTracker::advance`].
    pub(crate) fn advance(&self, position: i64) {
        self.lock().tracker.advance(position);
    }

    /// Takes in records that follow each other, each with its offset and leader epoch; `keep` is called for those that are to be handled. Answers how many are not.
    pub(crate) fn arrive<R>(
        &self,
        records: impl Iterator<Item = R>,
        place_of: impl Fn(&R) -> (i64, Option<i32>),
        mut keep: impl FnMut(R),
    ) -> u64 {
        let mut state = self.lock();
        let mut finished_before = 0;
        for record in records {
            let (offset, leader_epoch) = place_of(&record);
            if state.tracker.arrive(offset, leader_epoch) {
                keep(record);
            } else {
                finished_before += 1;
            }
        }
        finished_before
    }

    /// A handler is about to begin. `false`: the partition is no longer ours, and it must not.
    pub(crate) fn begin(&self) -> bool {
        let mut state = self.lock();
        if !state.released {
            state.running += 1;
        }
        !state.released
    }

    /// The handler for `offset` has ended; `finished` when the record need not be handled again.
    pub(crate) fn end(&self, offset: i64, finished: bool) {
        let mut state = self.lock();
        state.running -= 1;
        if finished {
            state.tracker.finish(offset);
        }
        if state.released && state.running == 0 {
            self.drained.notify_waiters();
        }
    }

    /// From now on no handler begins.
    pub(crate) fn release(&self) {
        self.lock().released = true;
    }

    /// From now on no handler begins, and those at work have had their time: nobody waits for them any more.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        (state.released, state.abandoned) = (true, true);
        self.drained.notify_waiters();
    }

    /// Waits until no handler is at work any more, after [`Partition::release`].
    pub(crate) async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            if self.is_drained() {
                return;
            }
            drained.await;
        }
    }

    fn is_drained(&self) -> bool {
        let state = self.lock();
        state.running == 0 || state.abandoned
    }

    /// As [`OffsetTracker::take_commit`].
    pub(crate) fn take_commit(&self) -> Option<Commit> {
        self.lock().tracker.take_commit()
    }

    /// As [`OffsetTracker::commit_failed`].
    pub(crate) fn commit_failed(&self) {
        self.lock().tracker.commit_failed();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_released_partition_is_drained_when_its_last_handler_ends() {
        let partition = Partition::new(TopicPartition::new("t", 0), OffsetTracker::default());
        let mut kept = Vec::new();
        let finished = partition.arrive(0..3, |offset| (*offset, None), |offset| kept.push(offset));
        assert_eq!((kept.len(), finished), (3, 0));
        assert!(partition.begin());
        assert!(partition.begin());
        partition.release();
        assert!(!partition.begin(), "no handler begins after the release");
        let ended = async {
            partition.end(0, true);
            partition.end(1, true);
        };
        tokio::join!(partition.drained(), ended);
        assert_eq!(partition.take_commit().map(|commit| commit.offset), Some(2));
    }

    #[tokio::test]
    async fn handlers_of_an_abandoned_partition_are_not_waited_for() {
        let partition = Partition::new(TopicPartition::new("t", 0), OffsetTracker::default());
        partition.arrive(0..1, |offset| (*offset, None), drop);
        assert!(partition.begin());
        tokio::join!(partition.drained(), async { partition.abandon() });
        assert!(!partition.begin());
    }

    #[tokio::test]
    async fn a_failed_record_is_not_passed_by_the_commit() {
        let partition = Partition::new(TopicPartition::new("t", 0), OffsetTracker::default());
        partition.arrive(0..2, |offset| (*offset, None), drop);
        assert!(partition.begin());
        partition.end(0, false);
        assert!(partition.begin());
        partition.end(1, true);
        assert_eq!(partition.take_commit().map(|commit| commit.offset), Some(0));
    }
}
