//! The task that finds out what must be known before a partition can be fetched: its leader, the group's committed offset, the offset of a
//! reset. Also starts a fetcher for each leader.

use std::sync::Arc;

use protocol::ApiKey;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::list_offsets::{self, Found, Lookup};
use super::offset_fetch::{self, Committed};
use super::offset_reset::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, ResetCause};
use super::partition::{Leader, LeaderStatus, Position};
use super::questions::{Listing, Questions};
use crate::kafka::cluster::{Metadata, no_leader, unknown_partition};
use crate::kafka::consumer::OffsetAndMetadata;
use crate::kafka::consumer::commit::commit_metadata::{self, Note};
use crate::kafka::consumer::fetch::fetcher;
use crate::kafka::consumer::state::{ConsumerContext, ConsumerState, Source};
use crate::kafka::consumer::wait::wait;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// What the task, and each that asks for it, is called.
pub(crate) const TASK: &str = "offset resolver";

/// Asks until the consumer ends.
pub(crate) async fn run(context: Arc<ConsumerContext>) {
    let mut metadata = context.cluster.watch();
    let mut asking = JoinSet::new();
    loop {
        let known = metadata.look().clone();
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
            context.wake_all();
        }
        let next = questions.next;
        ask(&context, questions, &mut asking);
        for (node, wakeup) in context.nodes_without_fetcher() {
            context.spawn(
                format!("fetcher of broker {node}"),
                fetcher::run(context.clone(), node, wakeup),
            );
        }
        while asking.try_join_next().is_some() {}
        let news = async {
            tokio::select! {
                biased;
                () = context.resolver.notified() => {}
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
        let pause = |attempts| context.long_pause(attempts);
        for (partition, version) in &questions.gone {
            let error = unknown_partition(partition);
            let failed = [(partition, *version)];
            context.failed_with_pause(Instant::now(), failed, &error, pause);
        }
    }
    if !questions.committed.is_empty() {
        let (tasks, question) = (context.cluster.tasks().clone(), context.clone());
        asking.spawn(async move {
            let asked = ask_committed(question, questions.committed);
            tasks.watched(TASK, asked).await;
        });
    }
    for (node, listings) in questions.ends {
        let (tasks, context) = (context.cluster.tasks().clone(), context.clone());
        asking.spawn(async move {
            tasks.watched(TASK, ask_ends(context, node, listings)).await;
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
            context.failed_since(
                asked_at,
                asked
                    .iter()
                    .map(|(partition, version)| (partition, *version)),
                &error,
            );
        }
        Ok(committed) => {
            for (partition, version) in &asked {
                match committed.refused.get(partition) {
                    Some(error) => context.failed([(partition, *version)], error),
                    None => take_committed(&context, partition, *version, &committed),
                }
            }
            context.wake_all();
        }
    }
}

/// Starts `partition` at what `committed` says of it: at its committed offset, or where the policy says when there is none.
pub(crate) fn take_committed(
    context: &ConsumerContext,
    partition: &TopicPartition,
    version: u64,
    committed: &Committed,
) {
    let topic_id = committed.topics.get(&partition.topic).copied();
    let found = committed.found.get(partition).map(|found| Position {
        offset: found.offset,
        leader_epoch: found.leader_epoch,
    });
    let retry_at = Instant::now() + context.config.client.retry_backoff_max;
    let mut state = context.state();
    let note = found_note(&mut state, committed.found.get(partition));
    // Brokers that know topics by their names alone may have taken it late.
    let of_another = note.topic_id.is_some() && topic_id.is_some() && note.topic_id != topic_id;
    let is_moving = state.positions.is_moving(partition);
    let found = found.filter(|_| !of_another && (committed.by_id || !is_moving));
    let is_new = matches!(state.source, Source::Subscribed(_))
        && state.subscribed.is_new(partition, topic_id);
    let start = match context.reset_timestamp() {
        Some(_) if of_another || is_moving => Ok((EARLIEST_TIMESTAMP, ResetCause::TopicRecreated)),
        Some(_) if is_new => Ok((EARLIEST_TIMESTAMP, ResetCause::NewPartition)),
        Some(timestamp) => Ok((timestamp, ResetCause::NoCommittedOffset)),
        None => Err(Error::new(
            ErrorKind::NoOffset,
            "the group has no committed offset, and auto.offset.reset = none: seek to start",
        )
        .topic_partition(partition.topic.clone(), partition.partition)),
    };
    state
        .positions
        .committed(partition, version, topic_id, found, start, retry_at);
    let is_there = found.is_some() && state.positions.position(partition) == found;
    if is_there
        && let Some(acknowledged) = state.progress.acknowledged()
        && let Some(offset) = committed.found.get(partition)
    {
        acknowledged.resume(partition, topic_id, offset, note.finished);
    }
    drop(state);
    context.ready.notify_waiters();
}

/// What was acknowledged beyond a committed offset, and in which topic.
fn found_note(state: &mut ConsumerState, found: Option<&OffsetAndMetadata>) -> Note {
    let is_read = state.progress.acknowledged().is_some();
    let found = found.filter(|_| is_read);
    found.map_or_else(Note::default, |found| {
        commit_metadata::decode(found.offset, &found.metadata)
    })
}

/// Asks where logs end, for whoever asks how far behind the application is. What is not answered is asked again in a while.
async fn ask_ends(context: Arc<ConsumerContext>, node: i32, listings: Vec<Listing>) {
    let lookups: Vec<_> = listings.iter().map(Lookup::from).collect();
    let Ok(answers) = list_offsets::ask(&context, node, &lookups, context.deadline()).await else {
        return;
    };
    let mut state = context.state();
    for (listing, (_, answer)) in listings.iter().zip(answers) {
        if let Ok(Found {
            offset: end @ 0.., ..
        }) = answer
        {
            let (partition, version) = (&listing.partition, listing.version);
            state.positions.ends_at(partition, version, end);
        }
    }
}

impl From<&Listing> for Lookup {
    fn from(listing: &Listing) -> Self {
        Self {
            partition: listing.partition.clone(),
            timestamp: listing.timestamp,
            leader_epoch: listing.leader_epoch,
        }
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
    context.wake_all();
}

/// Returns the listings that must be asked again, by another timestamp.
async fn ask_listed_once(
    context: &ConsumerContext,
    node: i32,
    listings: Vec<Listing>,
) -> Vec<Listing> {
    let lookups: Vec<_> = listings.iter().map(Lookup::from).collect();
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
