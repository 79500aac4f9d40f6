//! The partitions that are ours at the moment, shared between the driver, which fills them, and the group's hook, which takes them away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::offset_tracker::OffsetTracker;
use super::partition::Partition;
use crate::kafka::TopicPartition;

/// Assigned partitions by name. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Assigned {
    partitions: Arc<Mutex<BTreeMap<TopicPartition, Arc<Partition>>>>,
    /// How many workers their lanes are for.
    workers: usize,
}

impl Assigned {
    /// None so far.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            partitions: Arc::default(),
            workers,
        }
    }

    /// The partition called `name`, if it is known.
    pub(crate) fn find(&self, name: &TopicPartition) -> Option<Arc<Partition>> {
        self.lock().get(name).cloned()
    }

    /// Takes in `name`, to go on from what its tracker says. What was known of it before no longer counts.
    pub(crate) fn put(&self, name: TopicPartition, tracker: OffsetTracker) -> Arc<Partition> {
        let partition = Arc::new(Partition::new(name.clone(), tracker, self.workers));
        if let Some(old) = self.lock().insert(name, partition.clone()) {
            old.release();
        }
        partition
    }

    /// Begins to give `names` up: no handler begins for them any more. They stay here until they are [forgotten](Assigned::forget), so
    /// that what was finished is committed, whoever comes to it.
    pub(crate) fn release(&self, names: &[TopicPartition]) -> Vec<Arc<Partition>> {
        let assigned = self.lock();
        let released: Vec<_> = names
            .iter()
            .filter_map(|name| assigned.get(name).cloned())
            .collect();
        released.iter().for_each(|partition| partition.release());
        released
    }

    /// Forgets `names`.
    pub(crate) fn forget(&self, names: &[TopicPartition]) {
        let mut assigned = self.lock();
        names.iter().for_each(|name| drop(assigned.remove(name)));
    }

    /// Forgets all of them.
    pub(crate) fn forget_all(&self) {
        self.lock().clear();
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Arc<Partition>>> {
        // Nothing that is done under the lock panics half way.
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
