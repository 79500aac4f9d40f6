//! The task that finds out what must be known before a partition can be fetched: its leader, the group's committed offset, the offset of a
//! reset. Also starts a fetcher for each leader.

use std::pin::pin;
use std::sync::Arc;

use protocol::ApiKey;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::core::{Core, Source};
use super::list_offsets::{self, Found, Lookup, no_leader, unknown_partition};
use super::offset_fetch;
use super::offset_reset::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, ResetCause};
use super::positions::{Leader, Listing, Position, Questions, Standing};
use super::wait::wait;
use super::{OffsetReset, fetcher};
use crate::kafka::cluster::Metadata;
use crate::kafka::error::may_pass;
use crate::kafka::{Error, ErrorKind, Result, TopicId, TopicPartition};

/// What the task, and each that asks for it, is called.
pub(crate) const TASK: &str = "offset resolver";

/// Asks until the consumer ends.
pub(crate) async fn run(core: Arc<Core>) {
    let mut metadata = core.cluster.watch();
    let mut asking = JoinSet::new();
    loop {
        let mut changed = pin!(core.changed.notified());
        changed.as_mut().enable();
        let known = metadata.borrow_and_update().clone();
        let (moved, questions) = {
            let mut state = core.state();
            state.subscribed.learn(&known);
            let moved = state
                .positions
                .update_leaders(|partition| standing_of(&known, partition));
            (moved, state.positions.questions(Instant::now()))
        };
        if moved || questions.moved {
            // To a node, perhaps, whose fetcher found nothing to fetch there.
            core.changed.notify_waiters();
        }
        let next = questions.next;
        ask(&core, questions, &mut asking);
        for node in core.nodes_without_fetcher() {
            core.spawn(
                format!("fetcher of broker {node}"),
                fetcher::run(core.clone(), node),
            );
        }
        while asking.try_join_next().is_some() {}
        let news = async {
            tokio::select! {
                biased;
                () = changed => {}
                Ok(()) = metadata.changed() => {}
                else => std::future::pending().await,
            }
        };
        wait(news, next).await;
    }
}

fn standing_of(metadata: &Metadata, partition: &TopicPartition) -> Standing {
    let TopicPartition { topic, partition } = partition;
    let said = metadata.topic_errors.get(topic);
    if said.is_some_and(|error| error.is_unknown()) {
        return Standing::Gone;
    }
    let Some(topic) = metadata.topic(topic) else {
        return Standing::Unknown;
    };
    let index = usize::try_from(*partition).unwrap_or(usize::MAX);
    match topic.partitions.get(index) {
        Some(known) => Standing::Led(Leader {
            node: known.leader,
            epoch: known.leader_epoch,
            topic_id: topic.id,
        }),
        None => Standing::Gone,
    }
}

fn ask(core: &Arc<Core>, questions: Questions, asking: &mut JoinSet<()>) {
    if !questions.leaderless.is_empty() {
        let first = questions.leaderless.first().map(|(partition, _)| partition);
        let metadata = core.cluster.metadata();
        let undescribed = first.and_then(|TopicPartition { topic, .. }| {
            let why = metadata.topic_errors.get(topic)?;
            Some(why.error(topic))
        });
        let error = undescribed.unwrap_or_else(|| no_leader(first));
        core.failed(
            questions
                .leaderless
                .iter()
                .map(|(partition, stamp)| (partition, *stamp)),
            &error,
        );
    }
    if !questions.gone.is_empty() {
        let now = Instant::now();
        let mut state = core.state();
        for (partition, stamp) in &questions.gone {
            let error = unknown_partition(partition);
            let pause = |attempts| core.long_pause(attempts);
            state
                .positions
                .failed(partition, *stamp, now, now, pause, &error);
        }
        drop(state);
        core.cluster.refresh();
        core.changed.notify_waiters();
    }
    if !questions.committed.is_empty() {
        let (tasks, question) = (core.cluster.tasks().clone(), core.clone());
        asking.spawn(async move {
            let asked = ask_committed(question, questions.committed);
            tasks.watched(TASK, asked).await;
        });
    }
    for (node, listings) in questions.listed {
        let (tasks, core) = (core.cluster.tasks().clone(), core.clone());
        asking.spawn(async move {
            tasks.watched(TASK, ask_listed(core, node, listings)).await;
        });
    }
}

async fn ask_committed(core: Arc<Core>, asked: Vec<(TopicPartition, u64)>) {
    let partitions: Vec<_> = asked
        .iter()
        .map(|(partition, _)| partition.clone())
        .collect();
    let asked_at = Instant::now();
    let answer = offset_fetch::ask_once(&core, &partitions, core.deadline()).await;
    match answer {
        Err(error) => {
            if !may_pass(&error) {
                core.report_of_any(&asked, error.clone());
            }
            core.failed_since(
                asked_at,
                asked.iter().map(|(partition, stamp)| (partition, *stamp)),
                &error,
            );
        }
        Ok(mut committed) => {
            for (partition, stamp) in &asked {
                if let Some(error) = committed.refused.remove(partition) {
                    if !may_pass(&error) {
                        core.report(partition, *stamp, error.clone());
                    }
                    core.failed([(partition, *stamp)], &error);
                    continue;
                }
                let found = committed.found.remove(partition).map(|committed| Position {
                    offset: committed.offset,
                    leader_epoch: committed.leader_epoch,
                });
                let topic_id = committed.topics.get(&partition.topic).copied();
                take_committed(&core, partition, *stamp, topic_id, found);
            }
            core.changed.notify_waiters();
        }
    }
}

fn take_committed(
    core: &Core,
    partition: &TopicPartition,
    stamp: u64,
    topic_id: Option<TopicId>,
    found: Option<Position>,
) {
    let policy = core.config.auto_offset_reset;
    let nowhere = found.is_none() && policy == OffsetReset::None;
    let retry_at = Instant::now() + core.config.client.retry_backoff_max;
    let mut state = core.state();
    let is_new = matches!(state.source, Source::Subscribed(_))
        && state.subscribed.is_new(partition, topic_id);
    let start = policy.timestamp().map(|timestamp| match is_new {
        true => (EARLIEST_TIMESTAMP, ResetCause::NewPartition),
        false => (timestamp, ResetCause::NoCommittedOffset),
    });
    state
        .positions
        .committed(partition, stamp, topic_id, found, start, retry_at);
    drop(state);
    if nowhere {
        let message =
            "the group has no committed offset, and auto.offset.reset = none: seek to start";
        let error = Error::new(ErrorKind::NoOffset, message)
            .topic_partition(partition.topic.clone(), partition.partition);
        core.report(partition, stamp, error);
    }
}

async fn ask_listed(core: Arc<Core>, node: i32, listings: Vec<Listing>) {
    let mut open = listings;
    // A place in time beyond the last record is the end of the log: a second question.
    for _ in 0..2 {
        open = ask_listed_once(&core, node, open).await;
        if open.is_empty() {
            break;
        }
    }
    core.changed.notify_waiters();
}

/// Gives the listings that must be asked again, by another timestamp.
async fn ask_listed_once(core: &Core, node: i32, listings: Vec<Listing>) -> Vec<Listing> {
    let lookups: Vec<_> = listings
        .iter()
        .map(|listing| Lookup {
            partition: listing.partition.clone(),
            timestamp: listing.timestamp,
            leader_epoch: listing.leader_epoch,
        })
        .collect();
    let asked_at = Instant::now();
    let answers = match list_offsets::ask(core, node, &lookups, core.deadline()).await {
        Ok(answers) => answers,
        Err(error) => {
            core.failed_since(
                asked_at,
                listings
                    .iter()
                    .map(|listing| (&listing.partition, listing.stamp)),
                &error,
            );
            return Vec::new();
        }
    };
    let mut again = Vec::new();
    for (listing, (_, answer)) in listings.into_iter().zip(answers) {
        match answer.and_then(|found| place_of(&listing, found)) {
            Ok(Some(position)) => {
                core.state()
                    .positions
                    .listed(&listing.partition, listing.stamp, position);
            }
            Ok(None) => again.push(Listing {
                timestamp: LATEST_TIMESTAMP,
                ..listing
            }),
            Err(error) => {
                if !may_pass(&error) {
                    core.report(&listing.partition, listing.stamp, error.clone());
                }
                core.failed([(&listing.partition, listing.stamp)], &error);
            }
        }
    }
    again
}

/// The place that an answer names; none where the log has no record of that time or a later one. Every log has a start and an end.
fn place_of(listing: &Listing, found: Found) -> Result<Option<Position>> {
    let Found { offset, .. } = found;
    if offset >= 0 {
        let leader_epoch = None;
        return Ok(Some(Position {
            offset,
            leader_epoch,
        }));
    }
    if listing.timestamp >= 0 {
        return Ok(None);
    }
    let TopicPartition { topic, partition } = listing.partition.clone();
    let message = format!(
        "the broker gave {offset} for the offset at timestamp {}",
        listing.timestamp
    );
    Err(Error::new(ErrorKind::Protocol, message)
        .api(ApiKey::LIST_OFFSETS)
        .topic_partition(topic, partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_without_an_end_is_an_error_and_not_asked_for_over_and_over() {
        let place = |timestamp, offset| {
            let listing = Listing {
                partition: TopicPartition::new("t", 0),
                stamp: 1,
                timestamp,
                leader_epoch: 0,
            };
            let found = Found {
                offset,
                timestamp: -1,
                leader_epoch: None,
            };
            place_of(&listing, found).map(|place| place.map(|place| place.offset))
        };
        assert_eq!(place(LATEST_TIMESTAMP, 7).expect("a place"), Some(7));
        assert_eq!(place(1_000, -1).expect("the end, then"), None);
        for timestamp in [LATEST_TIMESTAMP, EARLIEST_TIMESTAMP] {
            let error = place(timestamp, -1).expect_err("no place at all");
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
    }
}
