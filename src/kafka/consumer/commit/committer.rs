//! Commits, one after the other in the order in which they were asked for, so that a later one is never overtaken by the repetition of an
//! earlier one. Each is of partitions that this member holds, and carries the generation that it holds them in: one that the group has
//! moved on from is refused, never applied to what others read since. And each offset is of one topic id: it is never sent for another
//! topic that has the name now.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot};

use super::request::{Commit, Notes};
use crate::kafka::consumer::OffsetAndMetadata;
use crate::kafka::consumer::positions::offset_fetch::id_of;
use crate::kafka::consumer::state::{ConsumerContext, ConsumerState, Source};
use crate::kafka::group::group_metadata::GroupMetadata;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::runtime::tasks::Tasks;
use crate::kafka::{Error, ErrorKind, Result, TopicId, TopicPartition};

/// The most commits that wait for their turn.
const QUEUE: usize = 64;
/// Where commits are handed in.
#[derive(Clone)]
pub(crate) struct Commits(mpsc::Sender<Commit>);

/// A commit on its way. Dropping it changes nothing.
#[derive(Debug)]
pub struct PendingCommit {
    answer: oneshot::Receiver<Result<()>>,
    tasks: Tasks,
}

impl PendingCommit {
    fn new(context: &ConsumerContext, answer: oneshot::Receiver<Result<()>>) -> Self {
        let tasks = context.cluster.tasks().clone();
        Self { answer, tasks }
    }
}

/// Resolves when the coordinator has answered, or the request timeout has passed.
impl Future for PendingCommit {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let answered = Pin::new(&mut self.answer).poll(context);
        answered
            .map(|done| done.unwrap_or_else(|_| Err(self.tasks.failure().unwrap_or_else(closed))))
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the consumer was unsubscribed or closed")
}

pub(crate) fn not_held(partition: &TopicPartition) -> Error {
    Error::new(
        ErrorKind::Rebalance,
        "this member does not hold the partition: poll, and commit what is assigned now",
    )
    .topic_partition(partition.topic.clone(), partition.partition)
}

impl Commits {
    /// Starts the task that sends commits.
    pub fn start(context: &Arc<ConsumerContext>) -> Self {
        let (sender, mut queue) = mpsc::channel::<Commit>(QUEUE);
        // The task must not keep the context, and by it the cluster, alive when the consumer is dropped: the context stops its tasks.
        let worker = context.clone();
        context.spawn("commits", async move {
            while let Some(mut commit) = queue.recv().await {
                let worker = worker.clone();
                let send = async move {
                    let result = commit.send(&worker).await;
                    if let Err(error) = &result {
                        worker.tell_commit_failed(error, false);
                    }
                    // Whoever asked may not care.
                    let _ = commit.done.send(result);
                };
                #[cfg(planted_defects)]
                if planted::is_planted(planted::Defect::CommitsSideBySide) {
                    tokio::spawn(send);
                    continue;
                }
                send.await;
            }
        });
        Self(sender)
    }

    /// Returns once everything handed in before is answered.
    pub async fn settled(&self, context: &ConsumerContext) {
        let (done, answer) = oneshot::channel();
        let nothing = Commit {
            offsets: BTreeMap::new(),
            notes: Notes::Required,
            refused: None,
            identity: GroupMetadata::standalone(),
            group: None,
            deadline: context.deadline(),
            done,
        };
        if self.0.send(nothing).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// Commits `offsets` after everything handed in before. The generation is the one of now.
    pub fn submit(
        &self,
        context: &ConsumerContext,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
        notes: Notes,
    ) -> Result<PendingCommit> {
        self.submit_beside(context, offsets, notes, &BTreeMap::new())
    }

    /// As [`submit`](Self::submit). What is in `beside` counts as held as long as the partition is that it stands beside.
    pub fn submit_beside(
        &self,
        context: &ConsumerContext,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
        notes: Notes,
        beside: &BTreeMap<TopicPartition, TopicPartition>,
    ) -> Result<PendingCommit> {
        self.hand_in(
            context,
            &context.state(),
            offsets.into_iter().collect(),
            notes,
            beside,
        )
    }

    /// Commits what polls have returned, or what else [`CommitSource`](crate::kafka::consumer::CommitSource) says. As [`submit`](Self::submit).
    pub fn submit_progress(&self, context: &ConsumerContext) -> Result<PendingCommit> {
        let state = context.state();
        // Better to repeat some after a restart than to commit nothing.
        let beside = BTreeMap::new();
        self.hand_in(context, &state, state.to_commit(), Notes::Optional, &beside)
    }

    /// Who commits, that the partitions are theirs, and which topics the offsets are of, is looked up together: the coordinator knows members
    /// and generations, not who holds what.
    fn hand_in(
        &self,
        context: &ConsumerContext,
        state: &ConsumerState,
        mut offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        notes: Notes,
        beside: &BTreeMap<TopicPartition, TopicPartition>,
    ) -> Result<PendingCommit> {
        context.cluster.tasks().check()?;
        context.group_id()?;
        let (done, answer) = oneshot::channel();
        if offsets.is_empty() {
            let _ = done.send(Ok(()));
            return Ok(PendingCommit::new(context, answer));
        }
        let (group, identity) = match &state.source {
            Source::Subscribed(group) => {
                let identity = group.with(|membership| membership.group_metadata())?;
                let holds = |name| state.positions.holds(beside.get(name).unwrap_or(name));
                if let Some(foreign) = offsets.keys().find(|name| !holds(name)) {
                    return Err(not_held(foreign));
                }
                (Some(group.clone()), identity)
            }
            Source::Nothing | Source::Assigned => (None, GroupMetadata::standalone()),
            Source::Left | Source::Closed => return Err(closed()),
        };
        let metadata = context.cluster.metadata();
        for (name, offset) in &mut offsets {
            let of_records = || state.positions.topic_of_records(name);
            let of_now = || TopicId::known(id_of(&metadata, &name.topic));
            offset.topic_id = offset.topic_id.or_else(of_records).or_else(of_now);
        }
        let commit = Commit {
            offsets,
            notes,
            refused: None,
            identity,
            group,
            deadline: context.deadline(),
            done,
        };
        match self.0.try_send(commit) {
            Ok(()) => Ok(PendingCommit::new(context, answer)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Error::new(
                ErrorKind::BufferFull,
                format!(
                    "{QUEUE} commits wait for the coordinator already: commit less often, or wait for each"
                ),
            )),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(closed()),
        }
    }
}
