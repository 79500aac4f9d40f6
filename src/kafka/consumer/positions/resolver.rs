//! The task that finds out what must be known before a partition can be fetched: its leader, the group's committed offset, the offset of a
//! reset. Also starts a fetcher for each leader.

use std::pin::pin;
use std::sync::Arc;

use protocol::ApiKey;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::list_offsets::{self, Found, Lookup};
use super::offset_fetch;
use super::offset_reset::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, OffsetReset, ResetCause};
use super::partition::{Leader, LeaderStatus, Position};
use super::questions::{Listing, Questions};
use crate::kafka::cluster::{Metadata, no_leader, unknown_partition};
use crate::kafka::consumer::fetch::fetcher;
use crate::kafka::consumer::state::{ConsumerContext, Source};
use crate::kafka::consumer::wait::wait;
use crate::kafka::error::may_pass;
use crate::kafka::{Error, ErrorKind, Result, TopicId, TopicPartition};

/// What the task, and each that asks for it, is called.
pub(crate) const TASK: &str = "offset resolver";

/// Asks until the consumer ends.
pub(crate) async fn run(context: Arc<ConsumerContext>) {
    let mut metadata = context.cluster.watch();
    let mut asking = JoinSet::new();
    loop {
        let mut changed = pin!(context.changed.notified());
        changed.as_mut().enable();
        let known = metadata.borrow_and_update().clone();
        let (moved, questions) = {
            let mut state = context.state();
            state.subscribed.learn(&known);
            let moved = state
                .positions
                .update_leaders(|partition| leader_status(&known, partition));
            (moved, state.positions.questions(Instant::now()))
        };
        if moved || questions.moved {
            // To a node, perhaps, whose fetcher found nothing to fetch there.
            context.changed.notify_waiters();
        }
        let next = questions.next;
        ask(&context, questions, &mut asking);
        for node in context.nodes_without_fetcher() {
            context.spawn(
                format!("fetcher of broker {node}"),
                fetcher::run(context.clone(), node),
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

fn leader_status(metadata: &Metadata, partition: &TopicPartition) -> LeaderStatus {
    let TopicPartition { topic, partition } = partition;
    let said = metadata.topic_errors.get(topic);
    if said.is_some_and(|error| error.is_unknown()) {
        return LeaderStatus::Gone;
    }
    let Some(topic) = metadata.topic(topic) else {
        return LeaderStatus::Unknown;
    };
    let index = usize::try_from(*partition).unwrap_or(usize::MAX);
    match topic.partitions.get(index) {
        Some(known) => LeaderStatus::Led(Leader {
            node: known.leader,
            epoch: known.leader_epoch,
            topic_id: topic.id,
        }),
        None => LeaderStatus::Gone,
    }
}

fn ask(context: &Arc<ConsumerContext>, questions: Questions, asking: &mut JoinSet<()>) {
    if !questions.leaderless.is_empty() {
        let first = questions.leaderless.first().map(|(partition, _)| partition);
        let metadata = context.cluster.metadata();
        let undescribed = first.and_then(|TopicPartition { topic, .. }| {
            let why = metadata.topic_errors.get(topic)?;
            Some(why.error(topic))
        });
        let error = undescribed.unwrap_or_else(|| no_leader(first));
        context.failed(
            questions
                .leaderless
                .iter()
                .map(|(partition, version)| (partition, *version)),
            &error,
        );
    }
    if !questions.gone.is_empty() {
        let now = Instant::now();
        let mut state = context.state();
        for (partition, version) in &questions.gone {
            let error = unknown_partition(partition);
            let pause = |attempts| context.long_pause(attempts);
            state
                .positions
                .failed(partition, *version, now, now, pause, &error);
        }
        drop(state);
        context.cluster.refresh();
        context.changed.notify_waiters();
    }
    if !questions.committed.is_empty() {
        let (tasks, question) = (context.cluster.tasks().clone(), context.clone());
        asking.spawn(async move {
            let asked = ask_committed(question, questions.committed);
            tasks.watched(TASK, asked).await;
        });
    }
    for (node, listings) in questions.listed {
        let (tasks, context) = (context.cluster.tasks().clone(), context.clone());
        asking.spawn(async move {
            tasks
                .watched(TASK, ask_listed(context, node, listings))
                .await;
        });
    }
}

async fn ask_committed(context: Arc<ConsumerContext>, asked: Vec<(TopicPartition, u64)>) {
    let partitions: Vec<_> = asked
        .iter()
        .map(|(partition, _)| partition.clone())
        .collect();
    let asked_at = Instant::now();
    let answer = offset_fetch::ask_once(&context, &partitions, context.deadline()).await;
    match answer {
        Err(error) => {
            if !may_pass(&error) {
                context.report_of_any(&asked, error.clone());
            }
            context.failed_since(
                asked_at,
                asked
                    .iter()
                    .map(|(partition, version)| (partition, *version)),
                &error,
            );
        }
        Ok(mut committed) => {
            for (partition, version) in &asked {
                if let Some(error) = committed.refused.remove(partition) {
                    if !may_pass(&error) {
                        context.report(partition, *version, error.clone());
                    }
                    context.failed([(partition, *version)], &error);
                    continue;
                }
                let found = committed.found.remove(partition).map(|committed| Position {
                    offset: committed.offset,
                    leader_epoch: committed.leader_epoch,
                });
                let topic_id = committed.topics.get(&partition.topic).copied();
                take_committed(&context, partition, *version, topic_id, found);
            }
            context.changed.notify_waiters();
        }
    }
}

fn take_committed(
    context: &ConsumerContext,
    partition: &TopicPartition,
    version: u64,
    topic_id: Option<TopicId>,
    found: Option<Position>,
) {
    let policy = context.config.auto_offset_reset;
    let nowhere = found.is_none() && policy == OffsetReset::None;
    let retry_at = Instant::now() + context.config.client.retry_backoff_max;
    let mut state = context.state();
    let is_new = matches!(state.source, Source::Subscribed(_))
        && state.subscribed.is_new(partition, topic_id);
    let start = policy.timestamp().map(|timestamp| match is_new {
        true => (EARLIEST_TIMESTAMP, ResetCause::NewPartition),
        false => (timestamp, ResetCause::NoCommittedOffset),
    });
    state
        .positions
        .committed(partition, version, topic_id, found, start, retry_at);
    drop(state);
    if nowhere {
        let message =
            "the group has no committed offset, and auto.offset.reset = none: seek to start";
        let error = Error::new(ErrorKind::NoOffset, message)
            .topic_partition(partition.topic.clone(), partition.partition);
        context.report(partition, version, error);
    }
}

async fn ask_listed(context: Arc<ConsumerContext>, node: i32, listings: Vec<Listing>) {
    let mut open = listings;
    // A place in time beyond the last record is the end of the log: a second question.
    for _ in 0..2 {
        open = ask_listed_once(&context, node, open).await;
        if open.is_empty() {
            break;
        }
    }
    context.changed.notify_waiters();
}

/// Returns the listings that must be asked again, by another timestamp.
async fn ask_listed_once(
    context: &ConsumerContext,
    node: i32,
    listings: Vec<Listing>,
) -> Vec<Listing> {
    let lookups: Vec<_> = listings
        .iter()
        .map(|listing| Lookup {
            partition: listing.partition.clone(),
            timestamp: listing.timestamp,
            leader_epoch: listing.leader_epoch,
        })
        .collect();
    let asked_at = Instant::now();
    let answers = match list_offsets::ask(context, node, &lookups, context.deadline()).await {
        Ok(answers) => answers,
        Err(error) => {
            context.failed_since(
                asked_at,
                listings
                    .iter()
                    .map(|listing| (&listing.partition, listing.version)),
                &error,
            );
            return Vec::new();
        }
    };
    let mut again = Vec::new();
    for (listing, (_, answer)) in listings.into_iter().zip(answers) {
        match answer.and_then(|found| place_of(&listing, found)) {
            Ok(Some(position)) => {
                context
                    .state()
                    .positions
                    .listed(&listing.partition, listing.version, position);
            }
            Ok(None) => again.push(Listing {
                timestamp: LATEST_TIMESTAMP,
                ..listing
            }),
            Err(error) => {
                if !may_pass(&error) {
                    context.report(&listing.partition, listing.version, error.clone());
                }
                context.failed([(&listing.partition, listing.version)], &error);
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
        "the broker returned {offset} for the offset at timestamp {}",
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
                version: 1,
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
