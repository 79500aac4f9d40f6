//! The task that finds out what must be known before a partition can be fetched: its leader, the group's committed offset, the offset of a
//! reset, and, after a change of leader, whether the log still has what was read. Also starts a fetcher for each leader.

use std::pin::pin;
use std::sync::Arc;

use protocol::messages::OffsetForLeaderEpochRequest;
use protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use protocol::{ApiKey, ErrorCode};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::core::Core;
use super::list_offsets::{self, Lookup, no_leader};
use super::offset_fetch;
use super::positions::{EpochCheck, Leader, Listing, Position, Questions};
use super::wait::wait;
use super::{OffsetReset, fetcher};
use crate::kafka::cluster::{Metadata, Purpose};
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// The epoch and the end of an epoch that a leader does not know.
const UNDEFINED: i64 = -1;

/// Asks until the consumer ends.
pub(crate) async fn run(core: Arc<Core>) {
    let mut metadata = core.cluster.watch();
    let mut asking = JoinSet::new();
    loop {
        let mut changed = pin!(core.changed.notified());
        changed.as_mut().enable();
        let known = metadata.borrow_and_update().clone();
        let questions = {
            let mut state = core.state();
            state
                .positions
                .update_leaders(|partition| leader_of(&known, partition));
            state.positions.questions(Instant::now())
        };
        let next = questions.next;
        ask(&core, questions, &mut asking);
        for node in core.nodes_without_fetcher() {
            core.spawn(fetcher::run(core.clone(), node));
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

fn leader_of(metadata: &Metadata, partition: &TopicPartition) -> Option<Leader> {
    let topic = metadata.topic(&partition.topic)?;
    let known = topic
        .partitions
        .get(usize::try_from(partition.partition).ok()?)?;
    Some(Leader {
        node: known.leader,
        epoch: known.leader_epoch,
        topic_id: topic.id,
    })
}

fn ask(core: &Arc<Core>, questions: Questions, asking: &mut JoinSet<()>) {
    if !questions.leaderless.is_empty() {
        let error = no_leader(questions.leaderless.first().map(|(partition, _)| partition));
        core.failed(
            questions
                .leaderless
                .iter()
                .map(|(partition, stamp)| (partition, *stamp)),
            &error,
        );
    }
    if !questions.committed.is_empty() {
        asking.spawn(ask_committed(core.clone(), questions.committed));
    }
    for (node, listings) in questions.listed {
        asking.spawn(ask_listed(core.clone(), node, listings));
    }
    for (node, checks) in questions.epochs {
        asking.spawn(ask_epochs(core.clone(), node, checks));
    }
}

async fn ask_committed(core: Arc<Core>, asked: Vec<(TopicPartition, u64)>) {
    let partitions: Vec<_> = asked
        .iter()
        .map(|(partition, _)| partition.clone())
        .collect();
    let answer = offset_fetch::ask_once(&core, &partitions, core.deadline()).await;
    match answer {
        Err(error) => {
            if !error.is_retriable() {
                core.report(error.clone());
            }
            core.failed(
                asked.iter().map(|(partition, stamp)| (partition, *stamp)),
                &error,
            );
        }
        Ok(mut committed) => {
            for (partition, stamp) in &asked {
                let found = committed.remove(partition).map(|committed| Position {
                    offset: committed.offset,
                    leader_epoch: committed.leader_epoch,
                });
                take_committed(&core, partition, *stamp, found);
            }
            core.changed.notify_waiters();
        }
    }
}

fn take_committed(core: &Core, partition: &TopicPartition, stamp: u64, found: Option<Position>) {
    let policy = core.config.auto_offset_reset;
    let nowhere = found.is_none() && policy == OffsetReset::None;
    let retry_at = Instant::now() + core.config.client.retry_backoff_max;
    core.state()
        .positions
        .committed(partition, stamp, found, policy.timestamp(), retry_at);
    if nowhere {
        let message =
            "the group has no committed offset, and auto.offset.reset = none: seek to start";
        let TopicPartition { topic, partition } = partition.clone();
        core.report(Error::new(ErrorKind::NoOffset, message).topic_partition(topic, partition));
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
    let answers = match list_offsets::ask(core, node, &lookups, core.deadline()).await {
        Ok(answers) => answers,
        Err(error) => {
            core.failed(
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
        match answer {
            Ok(found) if found.offset >= 0 => {
                let position = Position {
                    offset: found.offset,
                    leader_epoch: None,
                };
                core.state()
                    .positions
                    .listed(&listing.partition, listing.stamp, position);
            }
            Ok(_) => again.push(Listing {
                timestamp: super::offset_reset::LATEST_TIMESTAMP,
                ..listing
            }),
            Err(error) => {
                if !error.is_retriable() {
                    core.report(error.clone());
                }
                core.failed([(&listing.partition, listing.stamp)], &error);
            }
        }
    }
    again
}

async fn ask_epochs(core: Arc<Core>, node: i32, checks: Vec<EpochCheck>) {
    match ask_ends_of_epochs(&core, node, &checks).await {
        Err(error) if error.kind() == ErrorKind::UnsupportedVersion => {
            for check in &checks {
                core.state().positions.epoch_checked(check, None);
            }
        }
        Err(error) => core.failed(
            checks.iter().map(|check| (&check.partition, check.stamp)),
            &error,
        ),
        Ok(answers) => {
            for (check, answer) in checks.iter().zip(answers) {
                match answer {
                    Ok(end) => take_end_of_epoch(&core, check, end),
                    Err(error) => core.failed([(&check.partition, check.stamp)], &error),
                }
            }
        }
    }
    core.changed.notify_waiters();
}

/// Where the leader's log of each epoch ends; `None` where it does not know the epoch.
async fn ask_ends_of_epochs(
    core: &Core,
    node: i32,
    checks: &[EpochCheck],
) -> Result<Vec<Result<Option<Position>>>> {
    let mut request = OffsetForLeaderEpochRequest {
        replica_id: -1,
        ..Default::default()
    };
    for check in checks {
        request.topics.push(OffsetForLeaderTopic {
            topic: check.partition.topic.to_string(),
            partitions: vec![OffsetForLeaderPartition {
                partition: check.partition.partition,
                current_leader_epoch: check.leader_epoch,
                leader_epoch: check.epoch,
                ..Default::default()
            }],
            ..Default::default()
        });
    }
    let response = core
        .cluster
        .call(node, Purpose::Other, &request, core.deadline())
        .await?;
    let answer_to = |check: &EpochCheck| {
        let TopicPartition { topic, partition } = &check.partition;
        let answers = response
            .topics
            .iter()
            .filter(|answered| *answered.topic == **topic);
        let answer = answers
            .flat_map(|answered| &answered.partitions)
            .find(|answer| answer.partition == *partition);
        let code = answer.map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |answer| answer.error_code);
        match answer {
            Some(answer) if code == ErrorCode::NONE => {
                let known = answer.end_offset != UNDEFINED && answer.leader_epoch >= 0;
                let leader_epoch = Some(answer.leader_epoch);
                Ok(known.then_some(Position {
                    offset: answer.end_offset,
                    leader_epoch,
                }))
            }
            _ => Err(Error::server(code, None)
                .api(ApiKey::OFFSET_FOR_LEADER_EPOCH)
                .topic_partition(topic.clone(), *partition)),
        }
    };
    Ok(checks.iter().map(answer_to).collect())
}

/// Goes back to where the log was truncated to (KIP-320), unless the policy forbids to move.
fn take_end_of_epoch(core: &Core, check: &EpochCheck, end: Option<Position>) {
    let mut state = core.state();
    let Some(truncated_to) = state.positions.epoch_checked(check, end) else {
        return;
    };
    if core.config.auto_offset_reset != OffsetReset::None {
        state.positions.seek(&check.partition, truncated_to);
        return;
    }
    drop(state);
    let TopicPartition { topic, partition } = check.partition.clone();
    let error = Error::new(
        ErrorKind::OffsetOutOfRange,
        format!(
            "records that were read are gone: the new leader's log ends at offset {}, and auto.offset.reset = none; seek to go on",
            truncated_to.offset
        ),
    )
    .topic_partition(topic, partition)
    .offset(truncated_to.offset, None);
    core.report(error.clone());
    core.failed([(&check.partition, check.stamp)], &error);
}
