//! What was replayed, for each partition of the dead letters: an offset, committed as the first that was not, and in the commit's metadata what was
//! beyond it. The same form as the commits of a consumer of events.

use std::collections::BTreeMap;

use crate::kafka::consumer::commit::commit_metadata::{self, MAX_LEN};
use crate::kafka::consumer::commit::offset_tracker::OffsetTracker;
use crate::kafka::{
    ConsumerHandle, OffsetAndMetadata, RecordView, Result, TopicId, TopicPartition,
};

/// How many letters of metadata one more mark may take.
const MARK: usize = 16;

pub(super) struct Marks(BTreeMap<TopicPartition, Mark>);

#[derive(Default)]
struct Mark {
    tracker: OffsetTracker,
    topic_id: Option<TopicId>,
    /// As it was committed last.
    committed: i64,
    metadata_len: usize,
}

impl Marks {
    /// As the group of `consumer` has committed them. What was committed in another topic of the same name says nothing about this one.
    pub async fn load(
        consumer: &ConsumerHandle,
        partitions: impl Iterator<Item = &TopicPartition>,
    ) -> Result<Self> {
        let partitions: Vec<_> = partitions.cloned().collect();
        let patience = consumer.request_timeout();
        let mut known = consumer.committed_or_refused(&partitions, patience).await?;
        if let Some(error) = known.refused.into_values().next() {
            return Err(error);
        }
        let marks = partitions.into_iter().map(|partition| {
            let topic_id = known.topics.get(&partition.topic).copied();
            let mark = known.found.remove(&partition).map(|commit| {
                let note = commit_metadata::decode(commit.offset, &commit.metadata);
                (commit, note)
            });
            let is_of_this =
                |of: Option<TopicId>| of.is_none() || topic_id.is_none() || of == topic_id;
            let mark = match mark.filter(|(_, note)| is_of_this(note.topic_id)) {
                Some((commit, note)) => Mark {
                    tracker: OffsetTracker::resume(
                        commit.offset,
                        commit.leader_epoch,
                        note.finished,
                    ),
                    topic_id,
                    committed: commit.offset,
                    metadata_len: commit.metadata.len(),
                },
                None => Mark {
                    topic_id,
                    ..Mark::default()
                },
            };
            (partition, mark)
        });
        Ok(Self(marks.collect()))
    }

    /// The first of each partition that was not replayed, where any was.
    pub fn committed(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        let marks = self.0.iter();
        marks.map(|(partition, mark)| (partition, mark.committed))
    }

    /// A record comes, in the order of its partition. `false`: it was replayed before.
    pub fn arrive(&mut self, record: &RecordView<'_>) -> bool {
        let Some(mark) = self.0.get_mut(record.topic_partition()) else {
            return false;
        };
        record.offset >= mark.committed && mark.tracker.arrive(record.offset, record.leader_epoch)
    }

    /// Whether one more record of a partition can be marked for certain, beside so many `others` that are to be. What is ahead of all that is not
    /// replayed always can: it makes the metadata no longer.
    pub fn has_room(&self, partition: &TopicPartition, offset: i64, others: usize) -> bool {
        let Some(mark) = self.0.get(partition) else {
            return false;
        };
        let is_first = others == 0 && mark.tracker.first_unfinished() == Some(offset);
        is_first || others < MAX_LEN.saturating_sub(mark.metadata_len) / MARK
    }

    /// A record that has come needs no replay any more.
    pub fn finish(&mut self, partition: &TopicPartition, offset: i64) {
        if let Some(mark) = self.0.get_mut(partition) {
            mark.tracker.finish(offset);
        }
    }

    /// All before `position` has come.
    pub fn advance(&mut self, partition: &TopicPartition, position: i64) {
        if let Some(mark) = self.0.get_mut(partition) {
            mark.tracker.advance(position);
        }
    }

    /// Commits what has changed.
    pub async fn commit(&mut self, consumer: &ConsumerHandle) -> Result<()> {
        let mut offsets = Vec::new();
        for (partition, mark) in &mut self.0 {
            let Some(commit) = mark.tracker.take_commit() else {
                continue;
            };
            let metadata = commit_metadata::encode(commit.offset, mark.topic_id, &commit.finished);
            mark.metadata_len = metadata.len();
            let mut offset = OffsetAndMetadata::new(commit.offset);
            offset.leader_epoch = commit.leader_epoch;
            offset.metadata = metadata;
            offset.topic_id = mark.topic_id;
            offsets.push((partition.clone(), offset));
        }
        match offsets.is_empty() {
            true => Ok(()),
            false => consumer.commit(&offsets).await,
        }
    }
}
