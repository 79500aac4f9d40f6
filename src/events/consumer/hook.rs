//! What the group tells the consumer of events: which partitions it gets, and which it has to give up.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::assigned::Assigned;
use super::committing::commit;
use super::config::ConsumerConfig;
use super::healing::{passes, retry_backoff};
use super::metrics::Counters;
use super::offset_tracker::OffsetTracker;
use crate::kafka::TopicPartition;
use crate::kafka::consumer::{ConsumerHandle, RebalanceListener};
use crate::kafka::net::BoxFuture;

/// How long single partitions whose committed offsets cannot be had hold up the others.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps [`Assigned`] as the group has it.
pub(super) struct Hook {
    pub assigned: Assigned,
    pub counters: Arc<Counters>,
    pub config: ConsumerConfig,
}

impl Hook {
    /// How long handlers at work may hold up a rebalance: a good part of the time in which the group expects this member back, so that
    /// slow handlers cost no repetition, and by far not all of it, so that a stuck one costs the member its place even less.
    fn patience(&self) -> Duration {
        let ConsumerConfig {
            shutdown_timeout,
            max_poll_interval,
            ..
        } = self.config;
        shutdown_timeout.max(max_poll_interval / 4)
    }
}

impl RebalanceListener for Hook {
    fn on_assigned<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let (mut backoff, mut random) = retry_backoff(&self.config, "committed offsets");
            let mut committed = loop {
                match consumer.committed_or_refused(partitions, PATIENCE).await {
                    Ok(committed) => break committed,
                    Err(error) if passes(&error) => {
                        // The poll that this is part of does not return meanwhile: nobody else can tell.
                        self.counters.failed_to_poll(error);
                        sleep(backoff.failed(&mut random)).await;
                    }
                    // The client asks the same to find its positions: its next poll fails with this.
                    Err(_) => return,
                }
            };
            for name in partitions {
                if let Some(error) = committed.refused.remove(name) {
                    // The client asks on, and says so when it goes on for long. A tracker comes with the first record.
                    self.counters.failed_to_poll(error);
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
            let _ = timeout(self.patience(), drained).await;
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
