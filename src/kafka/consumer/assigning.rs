//! Partitions that are assigned by hand.

use super::consumer::{closed, in_the_way};
use super::handle::check_offset;
use super::state::Source;
use super::{Consumer, StartOffset};
use crate::kafka::cluster::unknown_partition;
use crate::kafka::{Result, TopicPartition};

impl Consumer {
    /// Reads exactly these partitions, each from its start, instead of those assigned before. With a group, offsets can be committed, but
    /// the partitions are not shared with anybody.
    ///
    /// Fails when a topic or partition does not exist, by the request timeout. One whose topic is deleted later stays assigned, as in Java's
    /// client: polls say so ([`ErrorKind::UnknownTopicOrPartition`](crate::kafka::ErrorKind::UnknownTopicOrPartition), every request timeout), the brokers are asked for it at most every 30 s,
    /// and if the topic is created again, it is read from its beginning.
    pub async fn assign(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()> {
        self.assign_to(partitions, true).await
    }

    /// As [`assign`](Self::assign), beside those assigned before: they are read on without a pause. One that is assigned already is begun anew.
    pub async fn assign_more(
        &mut self,
        partitions: &[(TopicPartition, StartOffset)],
    ) -> Result<()> {
        self.assign_to(partitions, false).await
    }

    async fn assign_to(
        &mut self,
        partitions: &[(TopicPartition, StartOffset)],
        instead: bool,
    ) -> Result<()> {
        let context = self.context().clone();
        let deadline = context.deadline();
        for (partition, start) in partitions {
            match start {
                StartOffset::Committed => {
                    context.group_id()?;
                }
                StartOffset::Offset(offset) => check_offset(partition, *offset)?,
                _ => {}
            }
            let topic = context.cluster.topic(&partition.topic, deadline).await?;
            let exists = usize::try_from(partition.partition)
                .is_ok_and(|index| index < topic.partitions.len());
            if !exists {
                return Err(unknown_partition(partition));
            }
        }
        let mut state = context.state();
        match &state.source {
            Source::Nothing | Source::Left | Source::Assigned => state.source = Source::Assigned,
            Source::Subscribed(_) => return Err(in_the_way("topics are subscribed to")),
            Source::Closed => return Err(closed()),
        }
        match instead {
            true => state.clear(),
            false => state.remove(&partitions.iter().map(|(partition, _)| partition).collect()),
        }
        for (partition, start) in partitions {
            state.positions.start(partition.clone(), *start);
        }
        drop(state);
        let assigned = partitions.iter();
        context
            .cluster
            .track(assigned.map(|(partition, _)| &*partition.topic));
        context.wake_all();
        Ok(())
    }

    /// Lets go of these partitions, which were assigned by hand; the others are read on without a pause. What polls have returned of them counts
    /// as finished, and is committed where `enable_auto_commit` says so. Those that are not assigned are passed over.
    pub fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let gone = partitions.iter().collect();
        match &self.context().state().source {
            Source::Nothing | Source::Left | Source::Assigned => {}
            Source::Subscribed(_) => return Err(in_the_way("topics are subscribed to")),
            Source::Closed => return Err(closed()),
        }
        if self.context().config.enable_auto_commit {
            // Handed in now: it is of what is held now. One that fails shows with the observer.
            drop(self.handle.commit_positions()?);
        }
        (self.reading).take_if(|reading| partitions.contains(&reading.partition));
        self.context().state().remove(&gone);
        let context = self.context();
        let held = self.assignment();
        let is_read = |topic: &&str| held.iter().any(|it| *it.topic == **topic);
        let topics = partitions.iter().map(|partition| &*partition.topic);
        context
            .cluster
            .untrack(topics.filter(|topic| !is_read(topic)));
        context.wake_all();
        Ok(())
    }
}
