//! Where reading is to stop. In: the ends of the partitions, as they were when reading began. Out: whether this reader is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pat_events::kafka::{Consumer, ConsumerHandle, RebalanceListener, TopicPartition};

/// The ends of the partitions, of which a member of a group has only its share.
pub struct Ends {
    pub offsets: BTreeMap<TopicPartition, i64>,
    /// For a member of a group.
    share: Option<Share>,
}

impl Ends {
    pub fn new(offsets: BTreeMap<TopicPartition, i64>, share: Option<Share>) -> Ends {
        Ends { offsets, share }
    }

    /// Whether everything that this reader has to read was read.
    pub fn are_reached(&self, consumer: &Consumer) -> bool {
        let is_shared_out = self.share.as_ref().is_none_or(Share::is_known);
        is_shared_out
            && consumer.assignment().iter().all(|partition| {
                // Nothing was in a partition that came later.
                let end = self.offsets.get(partition).copied().unwrap_or(0);
                let position = consumer.position(partition);
                end == 0 || position.is_some_and(|position| position >= end)
            })
    }
}

/// Whether the group has said which partitions are this member's. They may be none, which the assignment alone does not tell apart.
#[derive(Clone, Debug, Default)]
pub struct Share(Arc<AtomicBool>);

impl Share {
    fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set_known(&self, known: bool) {
        self.0.store(known, Ordering::Relaxed);
    }
}

impl RebalanceListener for Share {
    async fn on_assigned(&self, _: &ConsumerHandle, _: &[TopicPartition]) {
        self.set_known(true);
    }

    async fn on_revoked(&self, _: &ConsumerHandle, _: &[TopicPartition]) {
        self.set_known(false);
    }

    async fn on_lost(&self, _: &ConsumerHandle, _: &[TopicPartition]) {
        self.set_known(false);
    }
}
