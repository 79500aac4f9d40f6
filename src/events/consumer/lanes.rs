//! The lanes of one partition: its records, queued by key. A key always goes to the same lane, so what has one key is handled in order,
//! and different keys at once; records without a key keep the order of their partition. Sans-IO.
//!
//! In: loads of records, in the order of the log. Out: lanes to be worked on, and their loads one after the other. Each partition has lanes
//! of its own, many more than there are workers: a handler that is stuck holds up those behind it in its lane, and nobody else.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::load::Load;

/// The least number of lanes of a partition.
const LEAST: usize = 64;

/// All lanes of a partition.
#[derive(Debug)]
pub(crate) struct Lanes {
    count: usize,
    /// Made when the first record comes.
    lanes: OnceLock<Box<[Mutex<Lane>]>>,
}

#[derive(Debug, Default)]
struct Lane {
    loads: VecDeque<Load>,
    /// Whether a worker has it, or is told to take it.
    scheduled: bool,
}

impl Lanes {
    /// Lanes enough for so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            count: workers.next_power_of_two().max(LEAST),
            lanes: OnceLock::new(),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The lane for records with `key`.
    pub(crate) fn lane_of(&self, key: Option<&[u8]>) -> usize {
        // The hasher's keys are fixed: a simulation sends the same records down the same lanes in every run.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish() as usize & (self.count - 1)
    }

    /// Puts `load` at the end of `lane`. `true`: a worker must be told to take the lane.
    pub(crate) fn push(&self, lane: usize, load: Load) -> bool {
        let mut lane = self.lane(lane);
        lane.loads.push_back(load);
        !std::mem::replace(&mut lane.scheduled, true)
    }

    /// The next load of `lane`, for the one worker that has it.
    pub(crate) fn pop(&self, lane: usize) -> Option<Load> {
        self.lane(lane).loads.pop_front()
    }

    /// The worker that has `lane` lets go of it. `true`: there is more in it, and a worker must be told to take it again.
    pub(crate) fn let_go(&self, lane: usize) -> bool {
        let mut lane = self.lane(lane);
        lane.scheduled = !lane.loads.is_empty();
        lane.scheduled
    }

    fn lane(&self, lane: usize) -> MutexGuard<'_, Lane> {
        let lanes = self
            .lanes
            .get_or_init(|| (0..self.count).map(|_| Mutex::default()).collect());
        // Nothing that is done under the lock panics half way.
        lanes[lane].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_given_to_one_worker_at_a_time() {
        let lanes = Lanes::new(100);
        assert_eq!(lanes.count(), 128);
        assert!(lanes.push(5, Load::default()));
        assert!(!lanes.push(5, Load::default()), "told already");
        assert!(lanes.pop(5).is_some());
        assert!(!lanes.push(5, Load::default()), "a worker has it");
        assert!(lanes.pop(5).is_some());
        assert!(!lanes.push(5, Load::default()), "it still has it");
        assert!(lanes.let_go(5), "two are left");
        assert!(lanes.pop(5).is_some());
        assert!(lanes.pop(5).is_some());
        assert!(!lanes.let_go(5));
        assert!(lanes.push(5, Load::default()), "nobody has it");
    }

    #[test]
    fn a_key_keeps_its_lane_and_keys_spread_over_all() {
        let lanes = Lanes::new(1);
        let mut met = vec![0; lanes.count()];
        for key in 0..10_000u32 {
            let key = key.to_be_bytes();
            let lane = lanes.lane_of(Some(&key));
            assert_eq!(lane, lanes.lane_of(Some(&key)));
            met[lane] += 1;
        }
        assert!(met.iter().all(|count| *count > 80), "{met:?}");
        assert_eq!(lanes.lane_of(None), lanes.lane_of(None));
    }
}
