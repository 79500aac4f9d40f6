//! Commits what is finished: now and then, and before a partition goes to another member.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::assigned::Assigned;
use super::config::ConsumerConfig;
use super::healing::{passes, retry_backoff};
use super::metrics::{Counters, count};
use super::partition::Partition;
use crate::kafka::consumer::{ConsumerHandle, OffsetAndMetadata};
use crate::kafka::{Error, Result};

/// Commits what is finished, as often as `config` says. Ends with the first failure that will not pass.
pub(super) async fn commit_regularly(
    consumer: &ConsumerHandle,
    assigned: &Assigned,
    counters: &Counters,
    config: &ConsumerConfig,
) -> Error {
    let every = config.commit_every();
    let (mut backoff, mut random) = retry_backoff(config, "commits");
    let mut next = Instant::now();
    let mut pause = Duration::ZERO;
    loop {
        next = next.max(Instant::now() - every) + every.max(pause);
        sleep_until(next).await;
        pause = match commit(consumer, &assigned.all(), counters).await {
            Ok(()) => {
                backoff.succeeded();
                Duration::ZERO
            }
            // Somebody else has the partitions, or the coordinator is away: the next poll or the next commit sees to it.
            Err(error) if passes(&error) => backoff.failed(&mut random),
            Err(error) => return error,
        };
    }
}

/// Commits what is finished of `partitions` and not committed yet. What fails goes into the next commit.
///
/// Dropping the future may leave the commit made or not; it is repeated then.
pub(super) async fn commit(
    consumer: &ConsumerHandle,
    partitions: &[Arc<Partition>],
    counters: &Counters,
) -> Result<()> {
    let mut unsettled = Unsettled::default();
    let mut offsets = Vec::new();
    for partition in partitions {
        // Where nothing came yet, the first position is something to commit; where markers or hidden records were passed, the last one. What
        // a poll has returned is in hand already: it is sorted before anything else runs in this task.
        if let Some(position) = consumer.position(&partition.name) {
            partition.advance(position);
        }
        if let Some(commit) = partition.take_commit() {
            let offset = OffsetAndMetadata {
                offset: commit.offset,
                leader_epoch: commit.leader_epoch,
                metadata: commit.metadata(),
                topic_id: None,
            };
            offsets.push((partition.name.clone(), offset));
            unsettled.0.push(partition.clone());
        }
    }
    if offsets.is_empty() {
        return Ok(());
    }
    // Better to repeat some after a restart than to commit nothing.
    let result = consumer.commit_without_long_notes(offsets).await;
    match &result {
        Ok(()) => {
            count(&counters.commits, 1);
            unsettled.0.clear();
        }
        Err(error) => counters.failed_to_commit(error.clone()),
    }
    result
}

/// Partitions whose commit is under way. Those that are left when this is dropped are committed once more.
#[derive(Default)]
struct Unsettled(Vec<Arc<Partition>>);

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.0
            .iter()
            .for_each(|partition| partition.commit_failed());
    }
}
