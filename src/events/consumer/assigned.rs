//! The partitions that are ours at the moment, shared between the poll loop, which fills them, and the rebalance listener, which takes them away.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::death_watch::DeathWatch;
use super::deaths::Deaths;
use super::partition::Partition;
use crate::events::failure::Chains;
use crate::kafka::consumer::commit::offset_tracker::OffsetTracker;
use crate::kafka::runtime::Mutex;
use crate::kafka::{TopicId, TopicPartition};

/// Assigned partitions by name, and those of their retry topics. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Assigned {
    partitions: Arc<Mutex<Partitions>>,
    /// What each of them is of.
    pub chains: Chains,
    /// Whose turn it is to be handled alone.
    pub watch: Arc<DeathWatch>,
}

#[derive(Debug, Default)]
struct Partitions {
    ours: BTreeMap<TopicPartition, Arc<Partition>>,
    /// Of topics that are gone, while others have their names: until what is in flight is handled.
    orphaned: Vec<Arc<Partition>>,
}

impl Assigned {
    /// None, of a consumer that gives records up over which so many processes have died; 0: it does not.
    pub(crate) fn new(deaths: u32) -> Self {
        Self {
            partitions: Arc::default(),
            chains: Chains::default(),
            watch: Arc::new(DeathWatch::new(deaths)),
        }
    }

    /// The partition called `name`, if it is known.
    pub(crate) fn find(&self, name: &TopicPartition) -> Option<Arc<Partition>> {
        self.partitions.lock().ours.get(name).cloned()
    }

    /// Takes in `name`, in the topic of this id, to go on from what `tracker` says. What was known of it before no longer counts: no handler
    /// begins for it any more, unless it is of a topic that is gone. Then nobody else will ever handle what is in flight.
    pub(crate) fn put(
        &self,
        name: TopicPartition,
        topic_id: Option<TopicId>,
        tracker: OffsetTracker,
    ) -> Arc<Partition> {
        self.put_after(name, topic_id, tracker, (0, &[]))
    }

    /// As [`put`](Self::put), after a commit of this offset, which says this of [deaths](Deaths::new).
    pub(crate) fn put_after(
        &self,
        name: TopicPartition,
        topic_id: Option<TopicId>,
        tracker: OffsetTracker,
        (committed, note): (i64, &[u64]),
    ) -> Arc<Partition> {
        let chain = self.chains.find(&name);
        if let Some((chain, 0)) = &chain {
            chain.set_topic(topic_id);
        }
        let deaths = Deaths::new(self.watch.limit, committed, note, Instant::now());
        let new = Partition::new(name.clone(), topic_id, tracker);
        let new = new.of_chain(chain).watched(&self.watch, deaths);
        let new = Arc::new(new);
        let mut partitions = self.partitions.lock();
        partitions.orphaned.retain(|old| old.is_busy());
        if let Some(old) = partitions.ours.insert(name, new.clone()) {
            if old.is_of(topic_id) {
                old.release();
            } else {
                old.orphan();
                partitions.orphaned.push(old);
            }
        }
        new
    }

    /// Begins to give `names` up: no handler begins for them any more. They stay here until they are [forgotten](Assigned::forget), so
    /// that what was finished is committed, whoever comes to it.
    pub(crate) fn release(&self, names: &[TopicPartition]) -> Vec<Arc<Partition>> {
        let partitions = self.partitions.lock();
        let ours = names.iter().filter_map(|name| partitions.ours.get(name));
        let orphaned = partitions.orphaned.iter();
        let orphaned = orphaned.filter(|partition| names.contains(&partition.name));
        let released: Vec<_> = ours.chain(orphaned).cloned().collect();
        released.iter().for_each(|partition| partition.release());
        released
    }

    /// Forgets `names`.
    pub(crate) fn forget(&self, names: &[TopicPartition]) {
        let mut partitions = self.partitions.lock();
        names
            .iter()
            .for_each(|name| drop(partitions.ours.remove(name)));
        partitions
            .orphaned
            .retain(|partition| !names.contains(&partition.name));
    }

    /// Those of `names` that are known.
    pub(crate) fn named(&self, names: &[TopicPartition]) -> Vec<Arc<Partition>> {
        let partitions = self.partitions.lock();
        let named = names.iter().filter_map(|name| partitions.ours.get(name));
        named.cloned().collect()
    }

    /// All of them but those of topics that are gone.
    pub(crate) fn ours(&self) -> Vec<Arc<Partition>> {
        self.partitions.lock().ours.values().cloned().collect()
    }

    /// Forgets all of them.
    pub(crate) fn forget_all(&self) {
        *self.partitions.lock() = Partitions::default();
    }

    /// All of them, those of topics that are gone as well.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        let partitions = self.partitions.lock();
        let all = partitions.ours.values().chain(&partitions.orphaned);
        all.cloned().collect()
    }
}
