//! Where retry partitions go on, and where they end.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::events::consumer::assigned::Assigned;
use crate::events::consumer::partition::Partition;
use crate::events::failure::Chain;
use crate::kafka::consumer::commit::commit_metadata;
use crate::kafka::consumer::commit::offset_tracker::OffsetTracker;
use crate::kafka::consumer::{ConsumerHandle, OffsetAndMetadata};
use crate::kafka::{Error, ErrorKind, Result, TopicId, TopicPartition};

/// How long committed offsets that cannot be had are waited for in one attempt.
const PATIENCE: Duration = Duration::from_secs(5);

/// A retry partition.
pub(super) struct Level {
    pub name: TopicPartition,
    pub start: Start,
    /// Whether what was known is of another topic, which had the name before.
    pub is_another: bool,
    /// Up to where it is looked through.
    pub end: i64,
    pub is_looked_through: bool,
    /// When its first record is due, while it is paused for that.
    pub due: Option<Instant>,
}

/// Where a partition goes on.
#[derive(Clone, Debug, Default)]
pub(super) struct Start {
    pub topic_id: Option<TopicId>,
    /// The first offset that is not finished, and what is beyond it.
    pub offset: i64,
    pub leader_epoch: Option<i32>,
    pub finished: Vec<Range<i64>>,
    /// What the commit says of deaths.
    pub deaths: Vec<u64>,
}

impl Start {
    fn of_commit(commit: &OffsetAndMetadata) -> Self {
        let note = commit_metadata::decode(commit.offset, &commit.metadata);
        Self {
            topic_id: note.topic_id,
            offset: commit.offset,
            leader_epoch: commit.leader_epoch,
            finished: note.finished,
            deaths: note.more,
        }
    }

    /// Where `partition` stands, which comes to its end here: what is in flight of it is not finished. `None`: nothing is known, or its topic
    /// is gone.
    pub(super) fn of(partition: &Partition) -> Option<Self> {
        partition.close();
        partition.commit_failed();
        let (commit, deaths) = partition.take_commit()?;
        partition.commit_failed();
        Some(Self {
            topic_id: partition.topic_id(),
            offset: commit.offset,
            leader_epoch: commit.leader_epoch,
            finished: commit.finished,
            deaths,
        })
    }

    /// Takes `name` in, to go on from here.
    pub(super) fn put(self, assigned: &Assigned, name: &TopicPartition) -> Arc<Partition> {
        let tracker = OffsetTracker::resume(self.offset, self.leader_epoch, self.finished);
        let deaths = (self.offset, &self.deaths[..]);
        assigned.put_after(name.clone(), self.topic_id, tracker, deaths)
    }
}

/// Where the retry partitions of `chain` go on, and where they end: what was written by whoever had its origin before is before that. `known` is
/// better than what is committed.
pub(super) async fn find_begin(
    main: &ConsumerHandle,
    retry: &ConsumerHandle,
    chain: &Chain,
    mut known: Vec<Option<Start>>,
) -> Result<Vec<Level>> {
    known.resize(chain.levels.len(), None);
    let found = find_levels(main, retry, &chain.levels, known).await;
    found.map_err(|error| what_waits(chain, error))
}

async fn find_levels(
    main: &ConsumerHandle,
    retry: &ConsumerHandle,
    names: &[TopicPartition],
    known: Vec<Option<Start>>,
) -> Result<Vec<Level>> {
    let mut committed = main.committed_or_refused(names, PATIENCE).await?;
    if let Some((name, error)) = committed.refused.pop_first() {
        return Err(error.topic_partition(name.topic, name.partition));
    }
    let begins = retry.beginning_offsets(names).await?;
    let ends = retry.end_offsets(names).await?;
    let level = |(name, known): (&TopicPartition, Option<Start>)| {
        let topic_id = committed.topics.get(&name.topic).copied();
        let begin = begins.get(name).copied().unwrap_or(0);
        let end = ends.get(name).copied().unwrap_or(begin);
        let found = known.or_else(|| committed.found.get(name).map(Start::of_commit));
        let is_another = found.as_ref().is_some_and(|start| {
            start.topic_id.is_some() && topic_id.is_some() && start.topic_id != topic_id
        });
        // What is known of another topic of the name, or is not in the log any more, says nothing.
        let found = found.filter(|start| !is_another && (begin..=end).contains(&start.offset));
        let start = found.unwrap_or_else(|| Start {
            offset: begin,
            ..Start::default()
        });
        Level {
            name: name.clone(),
            start: Start { topic_id, ..start },
            is_another,
            end,
            is_looked_through: false,
            due: None,
        }
    };
    Ok(names.iter().zip(known).map(level).collect())
}

/// Says of a retry partition that is not there what waits for it.
fn what_waits(chain: &Chain, error: Error) -> Error {
    let name = error.partition().cloned();
    let is_missing = error.kind() == ErrorKind::UnknownTopicOrPartition;
    let Some(name) = name.filter(|_| is_missing) else {
        return error;
    };
    let origin = &chain.origin;
    let message = format!(
        "partition {} of {} is not read until its retry topic {} has a partition of that number: create it, or add partitions to it",
        origin.partition, origin.topic, name.topic
    );
    let waits = Error::new(ErrorKind::UnknownTopicOrPartition, message).because(error);
    waits.topic_partition(name.topic, name.partition)
}
