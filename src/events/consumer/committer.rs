//! Commits what is finished: now and then, and before a partition goes to another member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::assigned::Assigned;
use super::config::ConsumerConfig;
use super::error_policy::{Refusals, retry_backoff};
use super::metrics::{Counters, count};
use super::partition::Partition;
use crate::kafka::consumer::commit::commit_metadata;
use crate::kafka::consumer::commit::offset_tracker::OffsetTracker;
use crate::kafka::consumer::{ConsumerHandle, OffsetAndMetadata};
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// How long a last commit waits for the beginning of a topic that was re-created, and how often it looks.
const FIND_BEGINNING: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Commits what is finished, as often as `config` says. Ends with the first failure that ends the consumer.
pub(super) async fn commit_regularly(
    consumer: &ConsumerHandle,
    assigned: &Assigned,
    counters: &Counters,
    config: &ConsumerConfig,
) -> Error {
    let every = config.commit.interval();
    let (mut backoff, mut random) = retry_backoff(config, "commits");
    let mut refusals = Refusals::new(config);
    let mut next = Instant::now();
    let mut pause = Duration::ZERO;
    let watch = &assigned.watch;
    loop {
        next = next.max(Instant::now() - every) + every.max(pause);
        tokio::select! {
            biased;
            () = sleep_until(next) => {}
            // One that has just failed waits for its pause, whoever wants it.
            () = watch.want(), if pause.is_zero() => next = Instant::now(),
        }
        let wanted = watch.wanted();
        catch_up(consumer, assigned);
        pause = match commit(consumer, &assigned.ours(), counters).await {
            Ok(_) => {
                watch.done(wanted);
                backoff.succeeded();
                refusals.succeeded();
                Duration::ZERO
            }
            // Somebody else has the partitions, or the coordinator is away: the next poll or the next commit sees to it.
            Err(error) if !refusals.ends(&error, Instant::now()) => backoff.failed(&mut random),
            Err(error) => return error,
        };
    }
}

/// Tells the trackers where the client stands. Where nothing came yet, the first position is something to commit; where markers or hidden
/// records were passed, the last one. What a poll has returned is in flight already: it is sorted before anything else runs in this task.
/// Where the topic was re-created, a new tracker begins: under `latest`, what is written there until the next start would be passed over.
pub(super) fn catch_up(consumer: &ConsumerHandle, assigned: &Assigned) {
    for partition in assigned.ours() {
        let Some(position) = consumer.position_to_commit(&partition.name) else {
            continue;
        };
        if partition.is_of(position.topic_id) {
            partition.advance(position.offset);
        } else {
            let tracker = OffsetTracker::default();
            assigned
                .put(partition.name.clone(), position.topic_id, tracker)
                .advance(position.offset);
        }
    }
}

/// Commits what is finished of `names` before they go, all of it, whether it was committed before or not: so it shows whether the topics are
/// still the same. Those that are not are committed where they begin.
pub(super) async fn commit_last(
    consumer: &ConsumerHandle,
    assigned: &Assigned,
    names: &[TopicPartition],
    counters: &Counters,
) -> Result<()> {
    catch_up(consumer, assigned);
    let close = || {
        let partitions = assigned.named(names);
        for partition in &partitions {
            partition.close();
            partition.commit_failed();
        }
        partitions
    };
    let partitions = close();
    let recreated = commit(consumer, &partitions, counters).await?;
    let give_up = Instant::now() + FIND_BEGINNING;
    // Retry partitions begin again by themselves.
    for partition in recreated.iter().filter(|it| it.level() == 0) {
        let is_known = || {
            let position = consumer.position_to_commit(&partition.name);
            position.is_some_and(|now| !partition.is_of(now.topic_id))
        };
        while !is_known() && Instant::now() < give_up {
            sleep(LOOK_AGAIN).await;
        }
    }
    if !recreated.is_empty() {
        catch_up(consumer, assigned);
        commit(consumer, &close(), counters).await?;
    }
    Ok(())
}

/// Commits what is finished of `partitions` and not committed yet. What fails goes into the next commit. Returns those whose topics turned
/// out to be gone, while others have their names.
///
/// If the future is dropped, the commit may have been applied or not; it is repeated then.
pub(super) async fn commit(
    consumer: &ConsumerHandle,
    partitions: &[Arc<Partition>],
    counters: &Counters,
) -> Result<Vec<Arc<Partition>>> {
    let mut recreated = Vec::new();
    let mut uncommitted = Uncommitted::default();
    let mut offsets = Vec::new();
    let mut beside = BTreeMap::new();
    for partition in in_order(partitions) {
        if let Some((commit, deaths)) = partition.take_commit() {
            let offset = OffsetAndMetadata {
                offset: commit.offset,
                leader_epoch: commit.leader_epoch,
                metadata: commit_metadata::encode_with(
                    commit.offset,
                    partition.topic_id(),
                    &commit.finished,
                    &deaths,
                ),
                topic_id: partition.topic_id(),
            };
            if let Some((chain, 1..)) = &partition.chain {
                beside.insert(partition.name.clone(), chain.origin.clone());
            }
            offsets.push((partition.name.clone(), offset));
            uncommitted.0.push(partition.clone());
        }
    }
    if offsets.is_empty() {
        return Ok(recreated);
    }
    // Better to repeat some after a restart than to commit nothing.
    let mut result = consumer
        .commit_without_long_notes(offsets.clone(), &beside)
        .await;
    while let Err(error) = &result
        && error.kind() == ErrorKind::TopicRecreated
        && let Some(of) = offsets
            .iter()
            .position(|(name, _)| Some(name) == error.partition())
    {
        // There is nothing to commit it in any more. Which of the others were taken is not known: once more does no harm.
        offsets.remove(of);
        let gone = uncommitted.0.remove(of);
        gone.orphan();
        recreated.push(gone);
        result = consumer
            .commit_without_long_notes(offsets.clone(), &beside)
            .await;
    }
    match &result {
        Ok(()) => {
            count(&counters.commits, 1);
            let committed = std::mem::take(&mut uncommitted.0);
            committed.iter().for_each(|partition| partition.open());
        }
        Err(error) => counters.failed_to_commit(error.clone()),
    }
    result.map(|()| recreated)
}

/// Looked at in this order, and committed in one request, they say nothing of an event that happened before something that they do not say: an event
/// of an origin is finished after those of its key that were in retry topics, and in a retry topic after it was finished in the one before.
fn in_order(partitions: &[Arc<Partition>]) -> Vec<&Arc<Partition>> {
    let mut ordered: Vec<_> = partitions.iter().collect();
    ordered.sort_by_key(|partition| match partition.level() {
        0 => 0,
        level => u16::MAX - u16::from(level),
    });
    ordered
}

/// Partitions whose commit is under way. Those that are left when this is dropped are committed once more.
#[derive(Default)]
struct Uncommitted(Vec<Arc<Partition>>);

impl Drop for Uncommitted {
    fn drop(&mut self) {
        self.0
            .iter()
            .for_each(|partition| partition.commit_failed());
    }
}
