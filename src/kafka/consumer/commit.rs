//! Commits, one after the other in the order in which they were asked for, so that a later one is never overtaken by the repetition of an
//! earlier one. Each is of partitions that this member holds, and carries the generation that it holds them in: one that the group has
//! moved on from is refused, never applied to what others read since.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use protocol::messages::OffsetCommitRequest;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::core::{Core, Source, State};
use super::handle::{OffsetAndMetadata, to_commit};
use super::offset_fetch::{id_of, is_gone};
use crate::kafka::cluster::{CoordinatorKind, Metadata, Purpose};
use crate::kafka::group::coordinator::Group;
use crate::kafka::group::membership::Identity;
use crate::kafka::tasks::Tasks;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// The most commits that wait for their turn.
const QUEUE: usize = 64;
/// The first version that names topics by id.
const TOPIC_IDS_FROM: i16 = 10;

/// Where commits are handed in.
#[derive(Clone)]
pub(crate) struct Commits(mpsc::Sender<Commit>);

/// One commit.
struct Commit {
    offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    identity: Identity,
    group: Option<Arc<Group>>,
    deadline: Instant,
    done: oneshot::Sender<Result<()>>,
}

/// A commit on its way. Dropping it changes nothing.
#[derive(Debug)]
pub struct PendingCommit {
    answer: oneshot::Receiver<Result<()>>,
    tasks: Tasks,
}

impl PendingCommit {
    fn new(core: &Core, answer: oneshot::Receiver<Result<()>>) -> Self {
        let tasks = core.cluster.tasks().clone();
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

fn not_held(partition: &TopicPartition) -> Error {
    Error::new(
        ErrorKind::Rebalance,
        "this member does not hold the partition: poll, and commit what is assigned now",
    )
    .topic_partition(partition.topic.clone(), partition.partition)
}

impl Commits {
    /// Starts the task that sends commits.
    pub fn start(core: &Arc<Core>) -> Self {
        let (sender, mut queue) = mpsc::channel::<Commit>(QUEUE);
        // The task must not keep the core, and by it the cluster, alive when the consumer is dropped: the core stops its tasks.
        let worker = core.clone();
        core.spawn("commits", async move {
            while let Some(commit) = queue.recv().await {
                let result = commit.send(&worker).await;
                // Whoever asked may not care.
                let _ = commit.done.send(result);
            }
        });
        Self(sender)
    }

    /// Returns once everything handed in before is answered.
    pub async fn settled(&self, core: &Core) {
        let (done, answer) = oneshot::channel();
        let nothing = Commit {
            offsets: BTreeMap::new(),
            identity: Identity::standalone(),
            group: None,
            deadline: core.deadline(),
            done,
        };
        if self.0.send(nothing).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// Commits `offsets` after everything handed in before. The generation is the one of now.
    pub fn submit(
        &self,
        core: &Core,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<PendingCommit> {
        self.hand_in(core, &core.state(), offsets.into_iter().collect())
    }

    /// Commits everything that polls have returned. As [`submit`](Self::submit).
    pub fn submit_positions(&self, core: &Core) -> Result<PendingCommit> {
        let state = core.state();
        let positions = state.positions().into_iter().map(to_commit).collect();
        self.hand_in(core, &state, positions)
    }

    /// Who commits, and that the partitions are theirs, is looked up together: the coordinator knows members and generations, not who
    /// holds what.
    fn hand_in(
        &self,
        core: &Core,
        state: &State,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<PendingCommit> {
        core.cluster.tasks().check()?;
        core.group_id()?;
        let (done, answer) = oneshot::channel();
        if offsets.is_empty() {
            let _ = done.send(Ok(()));
            return Ok(PendingCommit::new(core, answer));
        }
        let (group, identity) = match &state.source {
            Source::Subscribed(group) => {
                let identity = group.with(|membership| membership.identity())?;
                if let Some(foreign) = offsets.keys().find(|name| !state.positions.holds(name)) {
                    return Err(not_held(foreign));
                }
                (Some(group.clone()), identity)
            }
            Source::Nothing | Source::Assigned => (None, Identity::standalone()),
            Source::Left | Source::Closed => return Err(closed()),
        };
        let commit = Commit {
            offsets,
            identity,
            group,
            deadline: core.deadline(),
            done,
        };
        match self.0.try_send(commit) {
            Ok(()) => Ok(PendingCommit::new(core, answer)),
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

impl Commit {
    /// Sends it, again with pauses while that may help. What the coordinator took of it stays taken.
    async fn send(&self, core: &Core) -> Result<()> {
        if self.offsets.is_empty() {
            return Ok(());
        }
        let mut attempts = 0;
        loop {
            let asked = core.cluster.metadata();
            let error = match self.send_once(core, &asked).await {
                Err(error) if error.is_retriable() && error.kind() != ErrorKind::Rebalance => error,
                done => return done,
            };
            if self.is_pointless(core, &error, &asked, attempts).await {
                return Err(error);
            }
            attempts += 1;
            let retry_at = Instant::now() + core.pause(attempts);
            if retry_at >= self.deadline {
                return Err(error);
            }
            sleep_until(retry_at).await;
        }
    }

    /// Whether the topic that `error` is about is gone, or another one has its name now, whose offsets these are not. The commits behind
    /// this one do not wait for it then.
    async fn is_pointless(
        &self,
        core: &Core,
        error: &Error,
        asked: &Metadata,
        attempts: u32,
    ) -> bool {
        let unknown = error.kind() == ErrorKind::UnknownTopicOrPartition;
        let Some(TopicPartition { topic, .. }) = error.partition().filter(|_| unknown) else {
            return false;
        };
        let metadata = core.cluster.refreshed(self.deadline).await;
        metadata.is_ok_and(|metadata| {
            is_gone(&metadata, topic, attempts) || id_of(&metadata, topic) != id_of(asked, topic)
        })
    }

    async fn send_once(&self, core: &Core, metadata: &Metadata) -> Result<()> {
        let current = self
            .group
            .as_ref()
            .map(|group| group.with(|membership| membership.identity()))
            .transpose()?;
        if current.is_some_and(|current| current != self.identity) {
            return Err(Error::new(
                ErrorKind::Rebalance,
                "the group has rebalanced since these offsets were read: poll, and commit what is assigned now",
            ));
        }
        let group_id = core.group_id()?;
        let cluster = &core.cluster;
        let node = cluster
            .coordinator(CoordinatorKind::Group, group_id, self.deadline)
            .await?;
        let answer = async {
            let connection = cluster
                .connection(node, Purpose::Coordinator, self.deadline)
                .await?;
            let newest = connection.version_of::<OffsetCommitRequest>()?;
            let nameless = self
                .offsets
                .keys()
                .any(|partition| id_of(metadata, &partition.topic) == Uuid::ZERO);
            let version = if nameless {
                newest.min(TOPIC_IDS_FROM - 1)
            } else {
                newest
            };
            connection
                .call_at(&self.request(group_id, metadata), version, self.deadline)
                .await
        };
        let response = answer
            .await
            .inspect_err(|_| cluster.coordinator_lost(CoordinatorKind::Group, group_id))?;
        let refused = response.topics.iter().find_map(|topic| {
            let name = if topic.topic_id == Uuid::ZERO {
                None
            } else {
                metadata.topic_by_id(topic.topic_id)
            };
            let name = name.map_or(topic.name.as_str(), |known| &known.name);
            let refused = topic
                .partitions
                .iter()
                .find(|answer| answer.error_code != ErrorCode::NONE)?;
            Some((
                TopicPartition::new(name, refused.partition_index),
                refused.error_code,
            ))
        });
        match refused {
            None => Ok(()),
            Some((partition, code)) => Err(self.refused(core, group_id, partition, code)),
        }
    }

    fn refused(
        &self,
        core: &Core,
        group_id: &str,
        partition: TopicPartition,
        code: ErrorCode,
    ) -> Error {
        if let Some(group) = &self.group {
            group
                .tell(|membership| membership.commit_refused(&self.identity, code, Instant::now()));
        }
        if matches!(
            code,
            ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE
        ) {
            core.cluster
                .coordinator_lost(CoordinatorKind::Group, group_id);
        }
        Error::server(code, None)
            .api(ApiKey::OFFSET_COMMIT)
            .topic_partition(partition.topic, partition.partition)
    }

    fn request(&self, group_id: &str, metadata: &Metadata) -> OffsetCommitRequest {
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for (partition, committed) in &self.offsets {
            let row = OffsetCommitRequestPartition {
                partition_index: partition.partition,
                committed_offset: committed.offset,
                committed_leader_epoch: committed.leader_epoch.unwrap_or(-1),
                committed_metadata: Some(committed.metadata.clone()),
                ..Default::default()
            };
            match topics.last_mut() {
                Some(topic) if *topic.name == *partition.topic => topic.partitions.push(row),
                _ => topics.push(OffsetCommitRequestTopic {
                    name: partition.topic.to_string(),
                    topic_id: id_of(metadata, &partition.topic),
                    partitions: vec![row],
                    ..Default::default()
                }),
            }
        }
        OffsetCommitRequest {
            group_id: group_id.to_string(),
            generation_id_or_member_epoch: self.identity.generation,
            member_id: self.identity.member_id.clone(),
            group_instance_id: self.identity.instance_id.clone(),
            topics,
            ..Default::default()
        }
    }
}
