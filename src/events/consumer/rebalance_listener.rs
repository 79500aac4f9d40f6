//! What the group tells the consumer of events: which partitions it gets, and which it has to give up.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::assigned::Assigned;
use super::committer::commit_last;
use super::config::ConsumerConfig;
use super::error_policy::{Refusals, retry_backoff};
use super::metrics::Counters;
use super::partition::Partition;
use crate::kafka::consumer::commit::commit_metadata;
use crate::kafka::consumer::commit::offset_tracker::OffsetTracker;
use crate::kafka::consumer::{ConsumerHandle, OffsetAndMetadata, PositionReset, RebalanceListener};
use crate::kafka::observe::{ClientEvent, tell};
use crate::kafka::{Error, ErrorKind, TopicId, TopicPartition};

/// How long single partitions whose committed offsets cannot be had hold up the others.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps [`Assigned`] as the group has it.
pub(super) struct GroupListener {
    pub assigned: Assigned,
    pub counters: Arc<Counters>,
    pub config: ConsumerConfig,
}

impl GroupListener {
    /// Goes on from `commit`, unless it was made in another topic, which had the name before: brokers that know topics by their names alone
    /// may have taken it late, and it says nothing about this one. All of this one is read then.
    fn resume(
        &self,
        consumer: &ConsumerHandle,
        name: &TopicPartition,
        topic_id: Option<TopicId>,
        commit: &OffsetAndMetadata,
    ) -> (OffsetTracker, Vec<u64>) {
        let note = commit_metadata::decode(commit.offset, &commit.metadata);
        if let (Some(then), Some(now)) = (note.topic_id, topic_id)
            && then != now
        {
            let error = Error::new(
                ErrorKind::TopicRecreated,
                "the committed offset is of a topic that was deleted and re-created: this one is read from its beginning",
            );
            let error = error.topic_partition(name.topic.clone(), name.partition);
            self.counters.failed_to_poll(error);
            // It is assigned: nothing else can be wrong.
            let _ = consumer.seek_to_beginning(name);
            return (OffsetTracker::default(), Vec::new());
        }
        let tracker = OffsetTracker::resume(commit.offset, commit.leader_epoch, note.finished);
        (tracker, note.more)
    }

    /// Goes on from what is committed of `partitions`.
    async fn take_over(&self, consumer: &ConsumerHandle, partitions: &[TopicPartition]) {
        for chain in partitions
            .iter()
            .filter_map(|name| self.config.chain_of(name))
        {
            // Until it is known what of it is under way in retry topics. It is assigned: nothing else can be wrong.
            let _ = consumer.pause(std::slice::from_ref(&chain.origin));
            self.assigned.chains.put(chain);
        }
        let (mut backoff, mut random) = retry_backoff(&self.config, "committed offsets");
        let mut refusals = Refusals::new(&self.config);
        let mut committed = loop {
            match consumer.committed_or_refused(partitions, PATIENCE).await {
                Ok(committed) => break committed,
                Err(error) if !refusals.ends(&error, Instant::now()) => {
                    // The poll that this is part of does not return meanwhile: nobody else can tell.
                    self.counters.failed_to_poll(error);
                    sleep(backoff.failed(&mut random)).await;
                }
                // The client asks the same to find its positions: its next poll fails with this.
                Err(_) => return,
            }
        };
        for name in partitions {
            let topic_id = committed.topics.get(&name.topic).copied();
            if let Some((chain, _)) = self.assigned.chains.find(name) {
                chain.set_topic(topic_id);
            }
            if let Some(error) = committed.refused.remove(name) {
                // The client asks on, and says so when it goes on for long. A tracker comes with the first record.
                self.counters.failed_to_poll(error);
                continue;
            }
            let Some(commit) = committed.found.remove(name) else {
                let tracker = OffsetTracker::default();
                self.assigned.put(name.clone(), topic_id, tracker);
                continue;
            };
            let (tracker, deaths) = self.resume(consumer, name, topic_id, &commit);
            let deaths = (commit.offset, &deaths[..]);
            let partition = (self.assigned).put_after(name.clone(), topic_id, tracker, deaths);
            self.open(&partition);
        }
    }

    /// Sees to it that a commit says soon that the partition is open, and tells where its records are handled one at a time.
    fn open(&self, partition: &Partition) {
        if !partition.is_watched() {
            return;
        }
        partition.commit_failed();
        self.assigned.watch.ask();
        if let Some(starts) = partition.suspicious() {
            let (group, partition) = (&self.config.group_id, &partition.name);
            tell(&self.config.kafka.client.observer, || {
                ClientEvent::HandledOneByOne {
                    group,
                    partition,
                    starts,
                }
            });
        }
    }
}

impl RebalanceListener for GroupListener {
    async fn on_assigned(&self, consumer: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.take_over(consumer, partitions).await;
        // Not sooner: what is in retry topics may be of a topic that is gone, which shows when it is known what the origins are.
        self.assigned.chains.begin(partitions);
    }

    async fn on_revoking(&self, consumer: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.assigned.chains.leave(partitions);
        let all = self.assigned.chains.with_retries(partitions);
        let released = self.assigned.release(&all);
        let drained = async {
            for partition in &released {
                partition.drained().await;
            }
        };
        // A handler that takes longer is not waited for: its event is handled again by the partition's next reader.
        let _ = timeout(self.config.patience(), drained).await;
        // Also what a commit that is under way holds already: this one is complete before the partitions go. What could not be committed is
        // handled again by the next reader; the commit has counted its failure.
        let _ = commit_last(consumer, &self.assigned, &all, &self.counters).await;
    }

    async fn on_revoked(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.assigned
            .forget(&self.assigned.chains.with_retries(partitions));
        self.assigned.chains.end(partitions);
    }

    async fn on_reset(&self, _: &ConsumerHandle, resets: &[PositionReset]) {
        resets.iter().for_each(|reset| self.counters.reset(reset))
    }

    async fn on_lost(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        let all = self.assigned.chains.with_retries(partitions);
        self.assigned.release(&all);
        self.assigned.forget(&all);
        self.assigned.chains.end(partitions);
    }
}
