//! What the group tells the consumer of events: which partitions it gets, and which it has to give up.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::assigned::Assigned;
use super::committing::{commit, passes};
use super::metrics::Counters;
use super::offset_tracker::OffsetTracker;
use crate::kafka::TopicPartition;
use crate::kafka::consumer::{ConsumerHandle, RebalanceListener};
use crate::kafka::net::BoxFuture;

/// The pause before the committed offsets are asked for again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long single partitions whose committed offsets cannot be had hold up the others.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps [`Assigned`] as the group has it.
pub(super) struct Hook {
    pub assigned: Assigned,
    pub counters: Arc<Counters>,
    /// How long handlers at work may hold up a rebalance.
    pub patience: Duration,
}

impl RebalanceListener for Hook {
    fn on_assigned<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut committed = loop {
                match consumer.committed_or_refused(partitions, PATIENCE).await {
                    Ok(committed) => break committed,
                    Err(error) if passes(&error) => {
                        // The poll that this is part of does not return meanwhile: nobody else can tell.
                        self.counters.poll_failed(error);
                        sleep(PAUSE).await;
                    }
                    // The client asks the same to find its positions: its next poll fails with this.
                    Err(_) => return,
                }
            };
            for name in partitions {
                if let Some(error) = committed.refused.remove(name) {
                    // The client asks on, and says so when it goes on for long. A tracker comes with the first record.
                    self.counters.poll_failed(error);
                    continue;
                }
                let tracker =
                    committed
                        .found
                        .remove(name)
                        .map_or_else(OffsetTracker::default, |commit| {
                            OffsetTracker::resume(
                                commit.offset,
                                commit.leader_epoch,
                                &commit.metadata,
                            )
                        });
                self.assigned.put(name.clone(), tracker);
            }
        })
    }

    fn on_revoked<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let released = self.assigned.release(partitions);
            let drained = async {
                for partition in &released {
                    partition.drained().await;
                }
            };
            // A handler that takes longer is not waited for: its event is handled again by the partition's next reader.
            let _ = timeout(self.patience, drained).await;
            // Also what a commit that is under way holds already: this one is answered before the partitions go.
            released
                .iter()
                .for_each(|partition| partition.commit_failed());
            // What could not be committed is handled again by the next reader; the commit has counted its failure.
            let _ = commit(consumer, &released, &self.counters).await;
            self.assigned.forget(partitions);
        })
    }

    fn on_lost<'a>(
        &'a self,
        _: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.assigned.release(partitions);
            self.assigned.forget(partitions);
        })
    }
}
