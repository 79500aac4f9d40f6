//! Commits, one after the other in the order in which they were asked for, so that a later one is never overtaken by the repetition of an
//! earlier one. Each is of partitions that this member holds, and carries the generation that it holds them in: one that the group has
//! moved on from is refused, never applied to what others read since. And each offset is of one topic id: it is never sent for another
//! topic that has the name now.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::core::{Core, Source, State};
use super::handle::OffsetAndMetadata;
use super::list_offsets::{left_out, unknown_partition};
use super::offset_fetch::{id_of, is_gone};
use crate::kafka::cluster::{Channel, CoordinatorKind, Metadata};
use crate::kafka::error::may_pass;
use crate::kafka::group::group_metadata::GroupMetadata;
use crate::kafka::group::member::GroupMember;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::runtime::tasks::Tasks;
use crate::kafka::{Error, ErrorKind, Result, TopicId, TopicPartition};

/// The most commits that wait for their turn.
const QUEUE: usize = 64;
/// The first version that names topics by id.
const TOPIC_IDS_FROM: i16 = 10;

/// Where commits are handed in.
#[derive(Clone)]
pub(crate) struct Commits(mpsc::Sender<Commit>);

/// What becomes of an offset whose note (its metadata) is longer than the broker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notes {
    /// It is not committed.
    Required,
    /// It is committed without.
    Optional,
}

/// One commit.
struct Commit {
    /// What is still to be committed.
    offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    notes: Notes,
    /// The first that could not be.
    refused: Option<Error>,
    identity: GroupMetadata,
    group: Option<Arc<GroupMember>>,
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
            while let Some(mut commit) = queue.recv().await {
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
            notes: Notes::Required,
            refused: None,
            identity: GroupMetadata::standalone(),
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
        notes: Notes,
    ) -> Result<PendingCommit> {
        self.hand_in(core, &core.state(), offsets.into_iter().collect(), notes)
    }

    /// Commits everything that polls have returned. As [`submit`](Self::submit).
    pub fn submit_positions(&self, core: &Core) -> Result<PendingCommit> {
        let state = core.state();
        self.hand_in(core, &state, state.positions(), Notes::Required)
    }

    /// Who commits, that the partitions are theirs, and which topics the offsets are of, is looked up together: the coordinator knows members
    /// and generations, not who holds what.
    fn hand_in(
        &self,
        core: &Core,
        state: &State,
        mut offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        notes: Notes,
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
                let identity = group.with(|membership| membership.group_metadata())?;
                if let Some(foreign) = offsets.keys().find(|name| !state.positions.holds(name)) {
                    return Err(not_held(foreign));
                }
                (Some(group.clone()), identity)
            }
            Source::Nothing | Source::Assigned => (None, GroupMetadata::standalone()),
            Source::Left | Source::Closed => return Err(closed()),
        };
        let metadata = core.cluster.metadata();
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

/// What the coordinator's answer about one partition means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Committed,
    /// Not this time.
    Again,
    /// Without its note.
    WithoutNote,
    /// This one never; it says nothing of the others.
    Refused,
    /// None of this commit: who commits is not, or no longer, the one to do so.
    AllRefused,
}

fn judge(code: ErrorCode, notes: Notes) -> Verdict {
    match code {
        ErrorCode::NONE => Verdict::Committed,
        ErrorCode::OFFSET_METADATA_TOO_LARGE if notes == Notes::Optional => Verdict::WithoutNote,
        ErrorCode::OFFSET_METADATA_TOO_LARGE
        | ErrorCode::INVALID_COMMIT_OFFSET_SIZE
        | ErrorCode::INVALID_TOPIC_EXCEPTION
        | ErrorCode::TOPIC_AUTHORIZATION_FAILED => Verdict::Refused,
        code if may_pass(&Error::server(code, None)) => Verdict::Again,
        _ => Verdict::AllRefused,
    }
}

fn recreated(partition: &TopicPartition) -> Error {
    Error::new(
        ErrorKind::TopicRecreated,
        "the topic was deleted and re-created under the same name: the offset is of the one that is gone, and was not committed",
    )
    .api(ApiKey::OFFSET_COMMIT)
    .topic_partition(partition.topic.clone(), partition.partition)
}

/// What is wrong with an answer that is not the end.
struct Trouble {
    error: Error,
    /// The partitions that the coordinator does not know.
    unknown: Vec<TopicPartition>,
}

impl Commit {
    /// Sends it, again with pauses while that may help. What the coordinator took of it stays taken, and is not sent again.
    async fn send(&mut self, core: &Core) -> Result<()> {
        let mut attempts = 0;
        loop {
            let metadata = core.cluster.metadata();
            self.drop_recreated(&metadata);
            if self.offsets.is_empty() {
                return self.refused.take().map_or(Ok(()), Err);
            }
            let trouble = match self.send_once(core, &metadata).await {
                Ok(answers) => match self.take(core, &answers)? {
                    Some(trouble) => trouble,
                    None => continue,
                },
                Err(error) if may_pass(&error) => Trouble {
                    error,
                    unknown: Vec::new(),
                },
                Err(error) => return Err(error),
            };
            if !trouble.unknown.is_empty() {
                self.drop_gone(core, &trouble.unknown, attempts).await;
            }
            attempts += 1;
            let retry_at = Instant::now() + core.pause(attempts);
            if retry_at >= self.deadline {
                return Err(self.refused.take().unwrap_or(trouble.error));
            }
            if !self.offsets.is_empty() {
                sleep_until(retry_at).await;
            }
        }
    }

    fn refuse(&mut self, partition: &TopicPartition, error: Error) {
        self.offsets.remove(partition);
        self.refused.get_or_insert(error);
    }

    /// Drops what is of a topic that another one has the name of now.
    fn drop_recreated(&mut self, metadata: &Metadata) {
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::OffsetsOutliveTopic) {
            let offsets = self.offsets.values_mut();
            return offsets.for_each(|offset| offset.topic_id = None);
        }
        let is_another = |(name, offset): (&TopicPartition, &OffsetAndMetadata)| {
            let now = TopicId::known(id_of(metadata, &name.topic))?;
            (offset.topic_id? != now).then(|| name.clone())
        };
        let dropped: Vec<_> = self.offsets.iter().filter_map(is_another).collect();
        for name in dropped {
            self.refuse(&name, recreated(&name));
        }
    }

    /// Drops what is of a partition that is gone: what is left, and the commits behind this one, do not wait for it.
    async fn drop_gone(&mut self, core: &Core, unknown: &[TopicPartition], attempts: u32) {
        let Ok(metadata) = core.cluster.refreshed(self.deadline).await else {
            return;
        };
        self.drop_recreated(&metadata);
        for name in unknown {
            if self.offsets.contains_key(name) && is_gone(&metadata, name, attempts) {
                self.refuse(name, unknown_partition(name).api(ApiKey::OFFSET_COMMIT));
            }
        }
    }

    /// Takes the coordinator's answers. What it does not confirm is not committed.
    fn take(
        &mut self,
        core: &Core,
        answers: &BTreeMap<TopicPartition, ErrorCode>,
    ) -> Result<Option<Trouble>> {
        let mut trouble: Option<Trouble> = None;
        for code in answers.values().collect::<BTreeSet<_>>() {
            self.note(core, *code);
        }
        for name in self.offsets.keys().cloned().collect::<Vec<_>>() {
            let code = answers.get(&name).copied();
            let verdict = code.map_or(Verdict::Again, |code| judge(code, self.notes));
            #[cfg(planted_defects)]
            let verdict = match code {
                None if planted::is_planted(planted::Defect::LeftOutIsCommitted) => {
                    Verdict::Committed
                }
                _ => verdict,
            };
            let error = || match code {
                Some(code) => Error::server(code, None)
                    .topic_partition(name.topic.clone(), name.partition)
                    .api(ApiKey::OFFSET_COMMIT),
                None => left_out(&name).api(ApiKey::OFFSET_COMMIT),
            };
            match verdict {
                Verdict::Committed => drop(self.offsets.remove(&name)),
                Verdict::Refused => self.refuse(&name, error()),
                Verdict::AllRefused => return Err(error()),
                Verdict::WithoutNote => match self.offsets.get_mut(&name) {
                    Some(offset) if !offset.metadata.is_empty() => offset.metadata.clear(),
                    _ => self.refuse(&name, error()),
                },
                Verdict::Again => {
                    let error = error();
                    let is_unknown = error.kind() == ErrorKind::UnknownTopicOrPartition;
                    let trouble = trouble.get_or_insert(Trouble {
                        error,
                        unknown: Vec::new(),
                    });
                    trouble.unknown.extend(is_unknown.then_some(name));
                }
            }
        }
        Ok(trouble)
    }

    /// Tells the group and the cluster what `code` means for them.
    fn note(&self, core: &Core, code: ErrorCode) {
        if code == ErrorCode::NONE {
            return;
        }
        if let Some(group) = &self.group {
            group.update(|membership| {
                membership.on_commit_error(&self.identity, code, Instant::now())
            });
        }
        let moved = matches!(
            code,
            ErrorCode::NOT_COORDINATOR
                | ErrorCode::COORDINATOR_NOT_AVAILABLE
                | ErrorCode::REQUEST_TIMED_OUT
        );
        if let (true, Ok(group_id)) = (moved, core.group_id()) {
            core.cluster
                .coordinator_lost(CoordinatorKind::Group, group_id);
        }
    }

    /// Sends what is left of it, once: what the coordinator says of each partition.
    async fn send_once(
        &self,
        core: &Core,
        metadata: &Metadata,
    ) -> Result<BTreeMap<TopicPartition, ErrorCode>> {
        let current = self
            .group
            .as_ref()
            .map(|group| group.with(|membership| membership.group_metadata()))
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
        let request = self.request(group_id, metadata);
        let nameless = request.topics.iter().any(|topic| topic.topic_id.is_zero());
        let answer = async {
            let connection = cluster
                .connection(node, Channel::Coordinator, self.deadline)
                .await?;
            let newest = connection.version_of::<OffsetCommitRequest>()?;
            let version = if nameless {
                newest.min(TOPIC_IDS_FROM - 1)
            } else {
                newest
            };
            let response = connection.call_at(&request, version, self.deadline);
            Ok((version, response.await?))
        };
        let (version, response) = answer
            .await
            .inspect_err(|_| cluster.coordinator_lost(CoordinatorKind::Group, group_id))?;
        Ok(answers(&request, version, response))
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
                    topic_id: committed
                        .topic_id
                        .map_or_else(|| id_of(metadata, &partition.topic), TopicId::uuid),
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

/// What the coordinator answered to `request`, by partition, under the names that the request had for the ids.
fn answers(
    request: &OffsetCommitRequest,
    version: i16,
    response: OffsetCommitResponse,
) -> BTreeMap<TopicPartition, ErrorCode> {
    let name_of = |id: Uuid| {
        let asked = request.topics.iter().find(|topic| topic.topic_id == id)?;
        Some(asked.name.clone())
    };
    let mut answers = BTreeMap::new();
    for topic in response.topics {
        let name = match version {
            TOPIC_IDS_FROM.. => name_of(topic.topic_id),
            _ => Some(topic.name),
        };
        let Some(name) = name else { continue };
        let name: Arc<str> = name.into();
        for answer in topic.partitions {
            let partition = TopicPartition::new(name.clone(), answer.partition_index);
            answers.insert(partition, answer.error_code);
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each code there is, and one that there is not.
    #[test]
    fn a_code_about_one_partition_says_nothing_of_the_others() {
        let of = |verdict: Verdict| {
            ErrorCode::all()
                .filter(|code| judge(*code, Notes::Required) == verdict)
                .map(|code| code.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(Verdict::Committed), [0]);
        assert_eq!(of(Verdict::Refused), [12, 17, 28, 29]);
        assert_eq!(of(Verdict::WithoutNote), []);
        assert_eq!(
            of(Verdict::AllRefused),
            [
                10, 18, 22, 24, 25, 27, 30, 31, 33, 34, 35, 43, 47, 53, 58, 69, 76, 82, 90, 110,
                113
            ]
        );
        assert_eq!(judge(ErrorCode(31_999), Notes::Required), Verdict::Again);
        let too_long = ErrorCode::OFFSET_METADATA_TOO_LARGE;
        assert_eq!(judge(too_long, Notes::Optional), Verdict::WithoutNote);
    }
}
