//! One commit: what is sent, again where that may help, and what the coordinator's answers mean.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::kafka::cluster::{Channel, CoordinatorKind, Metadata, unknown_partition};
use crate::kafka::consumer::OffsetAndMetadata;
use crate::kafka::consumer::positions::list_offsets::left_out;
use crate::kafka::consumer::positions::offset_fetch::{id_of, is_gone};
use crate::kafka::consumer::state::ConsumerContext;
use crate::kafka::error::may_pass;
use crate::kafka::group::group_metadata::GroupMetadata;
use crate::kafka::group::member::GroupMember;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Error, ErrorKind, Result, TopicId, TopicPartition};

/// The first version that names topics by id.
const TOPIC_IDS_FROM: i16 = 10;

/// What becomes of an offset whose note (its metadata) is longer than the broker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notes {
    /// It is not committed.
    Required,
    /// It is committed without.
    Optional,
}

/// One commit.
pub(super) struct Commit {
    /// What is still to be committed.
    pub offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    pub notes: Notes,
    /// The first that could not be.
    pub refused: Option<Error>,
    pub identity: GroupMetadata,
    pub group: Option<Arc<GroupMember>>,
    pub deadline: Instant,
    pub done: oneshot::Sender<Result<()>>,
}

/// What the coordinator's answer about one partition means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommitOutcome {
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

fn outcome_of(code: ErrorCode, notes: Notes) -> CommitOutcome {
    match code {
        ErrorCode::NONE => CommitOutcome::Committed,
        ErrorCode::OFFSET_METADATA_TOO_LARGE if notes == Notes::Optional => {
            CommitOutcome::WithoutNote
        }
        ErrorCode::OFFSET_METADATA_TOO_LARGE
        | ErrorCode::INVALID_COMMIT_OFFSET_SIZE
        | ErrorCode::INVALID_TOPIC_EXCEPTION
        | ErrorCode::TOPIC_AUTHORIZATION_FAILED => CommitOutcome::Refused,
        code if may_pass(&Error::server(code, None)) => CommitOutcome::Again,
        _ => CommitOutcome::AllRefused,
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
struct Failure {
    error: Error,
    /// The partitions that the coordinator does not know.
    unknown: Vec<TopicPartition>,
}

impl Commit {
    /// Sends it, again with pauses while that may help. What the coordinator took of it stays taken, and is not sent again.
    pub async fn send(&mut self, context: &ConsumerContext) -> Result<()> {
        let mut attempts = 0;
        loop {
            let metadata = context.cluster.metadata();
            self.drop_recreated(&metadata);
            if self.offsets.is_empty() {
                return self.refused.take().map_or(Ok(()), Err);
            }
            let failure = match self.send_once(context, &metadata).await {
                Ok(answers) => match self.take(context, &answers)? {
                    Some(failure) => failure,
                    None => continue,
                },
                Err(error) if may_pass(&error) => Failure {
                    error,
                    unknown: Vec::new(),
                },
                Err(error) => return Err(error),
            };
            if !failure.unknown.is_empty() {
                self.drop_gone(context, &failure.unknown, attempts).await;
            }
            attempts += 1;
            let retry_at = Instant::now() + context.pause(attempts);
            if retry_at >= self.deadline {
                return Err(self.refused.take().unwrap_or(failure.error));
            }
            if !self.offsets.is_empty() {
                context.tell_commit_failed(&failure.error, true);
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
    async fn drop_gone(
        &mut self,
        context: &ConsumerContext,
        unknown: &[TopicPartition],
        attempts: u32,
    ) {
        let Ok(metadata) = context.cluster.refreshed(self.deadline).await else {
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
        context: &ConsumerContext,
        answers: &BTreeMap<TopicPartition, ErrorCode>,
    ) -> Result<Option<Failure>> {
        let mut failure: Option<Failure> = None;
        for code in answers.values().collect::<BTreeSet<_>>() {
            self.note(context, *code);
        }
        for name in self.offsets.keys().cloned().collect::<Vec<_>>() {
            let code = answers.get(&name).copied();
            let outcome = code.map_or(CommitOutcome::Again, |code| outcome_of(code, self.notes));
            #[cfg(planted_defects)]
            let outcome = match code {
                None if planted::is_planted(planted::Defect::LeftOutIsCommitted) => {
                    CommitOutcome::Committed
                }
                _ => outcome,
            };
            let error = || match code {
                Some(code) => Error::server(code, None)
                    .topic_partition(name.topic.clone(), name.partition)
                    .api(ApiKey::OFFSET_COMMIT),
                None => left_out(&name).api(ApiKey::OFFSET_COMMIT),
            };
            match outcome {
                CommitOutcome::Committed => drop(self.offsets.remove(&name)),
                CommitOutcome::Refused => self.refuse(&name, error()),
                CommitOutcome::AllRefused => return Err(error()),
                CommitOutcome::WithoutNote => match self.offsets.get_mut(&name) {
                    Some(offset) if !offset.metadata.is_empty() => offset.metadata.clear(),
                    _ => self.refuse(&name, error()),
                },
                CommitOutcome::Again => {
                    let error = error();
                    let is_unknown = error.kind() == ErrorKind::UnknownTopicOrPartition;
                    let failure = failure.get_or_insert(Failure {
                        error,
                        unknown: Vec::new(),
                    });
                    failure.unknown.extend(is_unknown.then_some(name));
                }
            }
        }
        Ok(failure)
    }

    /// Tells the group and the cluster what `code` means for them.
    fn note(&self, context: &ConsumerContext, code: ErrorCode) {
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
        if let (true, Ok(group_id)) = (moved, context.group_id()) {
            context
                .cluster
                .coordinator_lost(CoordinatorKind::Group, group_id);
        }
    }

    /// Sends what is left of it, once: what the coordinator says of each partition.
    async fn send_once(
        &self,
        context: &ConsumerContext,
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
        let group_id = context.group_id()?;
        let cluster = &context.cluster;
        let node = cluster
            .coordinator(CoordinatorKind::Group, group_id, self.deadline)
            .await?;
        let request = self.request(group_id, metadata);
        let without_id = request.topics.iter().any(|topic| topic.topic_id.is_zero());
        let answer = async {
            let connection = cluster
                .connection(node, Channel::Coordinator, self.deadline)
                .await?;
            let newest = connection.version_of::<OffsetCommitRequest>()?;
            let version = if without_id {
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
        let of = |outcome: CommitOutcome| {
            ErrorCode::all()
                .filter(|code| outcome_of(*code, Notes::Required) == outcome)
                .map(|code| code.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(CommitOutcome::Committed), [0]);
        assert_eq!(of(CommitOutcome::Refused), [12, 17, 28, 29]);
        assert!(of(CommitOutcome::WithoutNote).is_empty());
        assert_eq!(
            of(CommitOutcome::AllRefused),
            [
                10, 18, 22, 24, 25, 27, 30, 31, 33, 34, 35, 43, 47, 53, 58, 69, 76, 82, 90, 110,
                113
            ]
        );
        assert_eq!(
            outcome_of(ErrorCode(31_999), Notes::Required),
            CommitOutcome::Again
        );
        let too_long = ErrorCode::OFFSET_METADATA_TOO_LARGE;
        assert_eq!(
            outcome_of(too_long, Notes::Optional),
            CommitOutcome::WithoutNote
        );
    }
}
