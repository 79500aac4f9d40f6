//! The queues of one partition: its records, queued by key. A key always goes to the same queue, so what has one key is handled in order,
//! and different keys at once; records without a key keep the order of their partition. Sans-IO.
//!
//! In: batches of records, in the order of the log. Out: queues to be worked on, and their batches one after the other. Each partition has queues
//! of its own, many more than there are workers: a handler that is stuck holds up those behind it in its queue, and nobody else.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::work_batch::WorkBatch;

/// The least number of queues of a partition.
const LEAST: usize = 64;

/// All queues of a partition.
#[derive(Debug)]
pub(crate) struct KeyQueues {
    count: usize,
    /// Made when the first record comes.
    queues: OnceLock<Box<[Mutex<KeyQueue>]>>,
}

#[derive(Debug, Default)]
struct KeyQueue {
    batches: VecDeque<WorkBatch>,
    /// Whether a worker has it, or is told to take it.
    scheduled: bool,
}

impl KeyQueues {
    /// Queues enough for so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            count: workers.next_power_of_two().max(LEAST),
            queues: OnceLock::new(),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The queue for records with `key`.
    pub(crate) fn queue_of(&self, key: Option<&[u8]>) -> usize {
        // The hasher's keys are fixed: a simulation sends the same records down the same queues in every run.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish() as usize & (self.count - 1)
    }

    /// Puts `batch` at the end of `queue`. `true`: a worker must be told to take the queue.
    pub(crate) fn push(&self, queue: usize, batch: WorkBatch) -> bool {
        let mut queue = self.queue(queue);
        queue.batches.push_back(batch);
        !std::mem::replace(&mut queue.scheduled, true)
    }

    /// The next batch of `queue`, for the one worker that has it.
    pub(crate) fn pop(&self, queue: usize) -> Option<WorkBatch> {
        self.queue(queue).batches.pop_front()
    }

    /// The worker that has `queue` lets go of it. `true`: there is more in it, and a worker must be told to take it again.
    pub(crate) fn let_go(&self, queue: usize) -> bool {
        let mut queue = self.queue(queue);
        queue.scheduled = !queue.batches.is_empty();
        queue.scheduled
    }

    fn queue(&self, queue: usize) -> MutexGuard<'_, KeyQueue> {
        let queues = self
            .queues
            .get_or_init(|| (0..self.count).map(|_| Mutex::default()).collect());
        // Nothing that is done under the lock panics half way.
        queues[queue].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_given_to_one_worker_at_a_time() {
        let queues = KeyQueues::new(100);
        assert_eq!(queues.count(), 128);
        assert!(queues.push(5, WorkBatch::default()));
        assert!(!queues.push(5, WorkBatch::default()), "told already");
        assert!(queues.pop(5).is_some());
        assert!(!queues.push(5, WorkBatch::default()), "a worker has it");
        assert!(queues.pop(5).is_some());
        assert!(!queues.push(5, WorkBatch::default()), "it still has it");
        assert!(queues.let_go(5), "two are left");
        assert!(queues.pop(5).is_some());
        assert!(queues.pop(5).is_some());
        assert!(!queues.let_go(5));
        assert!(queues.push(5, WorkBatch::default()), "nobody has it");
    }

    #[test]
    fn a_key_keeps_its_lane_and_keys_spread_over_all() {
        let queues = KeyQueues::new(1);
        let mut met = vec![0; queues.count()];
        for key in 0..10_000u32 {
            let key = key.to_be_bytes();
            let queue = queues.queue_of(Some(&key));
            assert_eq!(queue, queues.queue_of(Some(&key)));
            met[queue] += 1;
        }
        assert!(met.iter().all(|count| *count > 80), "{met:?}");
        assert_eq!(queues.queue_of(None), queues.queue_of(None));
    }
}
