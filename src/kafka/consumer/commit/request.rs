//! One commit: what is sent, again where that may help, and what the coordinator's answers mean.

use std::collections::{BTreeMap, BTreeSet};

use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use protocol::{ApiKey, ErrorCode};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::by_topic::{answers, by_topic, id_in};
use crate::kafka::cluster::{Channel, Metadata, Target, unknown_partition};
use crate::kafka::consumer::OffsetAndMetadata;
use crate::kafka::consumer::positions::list_offsets::left_out;
use crate::kafka::consumer::positions::offset_fetch::{id_of, is_gone, newest};
use crate::kafka::consumer::state::ConsumerContext;
use crate::kafka::error::may_pass;
use crate::kafka::group::group_metadata::GroupMetadata;
use crate::kafka::group::member::GroupMember;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::runtime::Retry;
use crate::kafka::{Error, ErrorKind, Result, TopicId, TopicPartition};

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
    pub group: Option<GroupMember>,
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

fn rebalanced() -> Error {
    Error::new(
        ErrorKind::Rebalance,
        "the group has rebalanced since these offsets were read: poll, and commit what is assigned now",
    )
}

/// A refusal that would end the member, as the member sees it `now`: where it is no longer the one who asked, it goes on. A static member that has
/// joined anew has fenced itself under the id before, and what was under way then is of a generation that is over, no more.
fn seen_from_now(
    refusal: Error,
    asked: &GroupMetadata,
    now: Option<Result<GroupMetadata>>,
) -> Error {
    match now.filter(|_| refusal.is_fatal()) {
        Some(Ok(now)) if !now.continues(asked) => rebalanced().because(refusal),
        Some(Err(not_now)) if !not_now.is_fatal() => not_now.because(refusal),
        _ => refusal,
    }
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
        let cluster = &context.cluster;
        let random = cluster.random("commit");
        let mut retry = Retry::new(cluster.retry_backoff(), random, self.deadline);
        loop {
            self.drop_recreated(&cluster.metadata());
            if self.offsets.is_empty() {
                return self.refused.take().map_or(Ok(()), Err);
            }
            let failure = match self.send_once(context).await {
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
                let failures = retry.failures();
                self.drop_gone(context, &failure.unknown, failures).await;
                if self.offsets.is_empty() {
                    continue;
                }
            }
            let Some(again_at) = retry.failed() else {
                return Err(self.refused.take().unwrap_or(failure.error));
            };
            context.tell_commit_failed(&failure.error, true);
            sleep_until(again_at).await;
        }
    }

    fn refuse(&mut self, partition: &TopicPartition, error: Error) {
        self.offsets.remove(partition);
        self.refused.get_or_insert(error);
    }

    /// Drops what is of a topic that another one has the name of now. What is of any topic is of this one from now on.
    fn drop_recreated(&mut self, metadata: &Metadata) {
        self.offsets.retain(|name, offset| {
            #[cfg(planted_defects)]
            if planted::is_planted(planted::Defect::OffsetsOutliveTopic) {
                offset.topic_id = None;
            }
            let Some(now) = TopicId::known(id_of(metadata, &name.topic)) else {
                return true;
            };
            let is_of_now = *offset.topic_id.get_or_insert(now) == now;
            if !is_of_now {
                self.refused.get_or_insert_with(|| recreated(name));
            }
            is_of_now
        });
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
                CommitOutcome::AllRefused => {
                    let group = self.group.as_ref();
                    let now = group.map(|it| it.with(|membership| membership.group_metadata()));
                    return Err(seen_from_now(error(), &self.identity, now));
                }
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
        if let (true, Ok(group)) = (moved, context.group_id()) {
            context.cluster.reroute(Target::GroupCoordinator(group));
        }
    }

    /// Sends what is left of it, once: what the coordinator says of each partition.
    async fn send_once(
        &mut self,
        context: &ConsumerContext,
    ) -> Result<BTreeMap<TopicPartition, ErrorCode>> {
        if let Some(group) = &self.group {
            let current = group.with(|membership| membership.group_metadata())?;
            if !current.continues(&self.identity) {
                return Err(rebalanced());
            }
            // The epoch may be another meanwhile.
            self.identity = current;
        }
        let group = context.group_id()?;
        let asked = context.cluster.ask(
            Target::GroupCoordinator(group),
            Channel::Coordinator,
            newest(self.offsets.values().map(id_in)),
            self.deadline,
            |version| Ok(self.request(group, version)),
        );
        let answer = asked.await?;
        Ok(self.answers(answer.version, answer.response))
    }

    fn request(&self, group: &str, version: i16) -> OffsetCommitRequest {
        let partition =
            |(index, committed): (i32, &OffsetAndMetadata)| OffsetCommitRequestPartition {
                partition_index: index,
                committed_offset: committed.offset,
                committed_leader_epoch: committed.leader_epoch.unwrap_or(-1),
                committed_metadata: Some(committed.metadata.clone()),
                ..Default::default()
            };
        let topics = by_topic(has_ids(version), &self.offsets).into_iter();
        let topics = topics.map(|((topic_id, name), offsets)| OffsetCommitRequestTopic {
            topic_id,
            name,
            partitions: offsets.into_iter().map(partition).collect(),
            ..Default::default()
        });
        #[cfg(planted_defects)]
        let identity = match self.group {
            Some(GroupMember::Consumer(_))
                if planted::is_planted(planted::Defect::CommitsWithoutEpoch) =>
            {
                &GroupMetadata::standalone()
            }
            _ => &self.identity,
        };
        #[cfg(not(planted_defects))]
        let identity = &self.identity;
        OffsetCommitRequest {
            group_id: group.to_string(),
            generation_id_or_member_epoch: identity.generation,
            member_id: identity.member_id.clone(),
            group_instance_id: identity.instance_id.clone(),
            topics: topics.collect(),
            ..Default::default()
        }
    }

    /// What the coordinator said of each partition.
    fn answers(
        &self,
        version: i16,
        response: OffsetCommitResponse,
    ) -> BTreeMap<TopicPartition, ErrorCode> {
        let said = response.topics.iter().flat_map(|topic| {
            let key = || (topic.topic_id, topic.name.clone());
            let rows = topic.partitions.iter();
            rows.map(move |row| (key(), row.partition_index, row.error_code))
        });
        answers(has_ids(version), &self.offsets, said)
    }
}

fn has_ids(version: i16) -> bool {
    version >= OffsetCommitRequest::TOPIC_IDS_FROM
}

#[cfg(test)]
mod tests {
    use protocol::messages::offset_commit_response::{
        OffsetCommitResponsePartition, OffsetCommitResponseTopic,
    };

    use super::*;

    /// A static member joins anew under another id, and the commit that was under way meanwhile is refused to the one before: that is no second member.
    #[test]
    fn a_member_that_has_fenced_itself_by_joining_anew_goes_on() {
        let refusal = || Error::server(ErrorCode::FENCED_INSTANCE_ID, None);
        let member = |id: &str| GroupMetadata {
            member_id: id.to_string(),
            instance_id: Some("x".to_string()),
            ..GroupMetadata::standalone()
        };
        let asked = member("before");
        let joining = Error::new(ErrorKind::Rebalance, "it is joining");
        for now in [Ok(member("anew")), Err(joining)] {
            let error = seen_from_now(refusal(), &asked, Some(now));
            assert_eq!(error.kind(), ErrorKind::Rebalance, "{error}");
        }
        for now in [Some(Ok(asked.clone())), Some(Err(refusal())), None] {
            let error = seen_from_now(refusal(), &asked, now);
            assert!(error.is_fatal(), "{error}");
        }
    }

    /// Nothing is known of the name now: the brokers must not be told that both offsets are of one of the topics.
    #[test]
    fn offsets_of_two_topics_of_one_name_are_committed_each_under_its_own_id() {
        let [old, new] =
            [1, 2].map(|id| TopicId::known(protocol::Uuid([id; 16])).expect("not zero"));
        let partition = |index| TopicPartition::new("t", index);
        let of = |offset, topic_id| OffsetAndMetadata {
            topic_id: Some(topic_id),
            leader_epoch: Some(7),
            ..OffsetAndMetadata::new(offset)
        };
        let offsets = [of(10, new), of(20, old), of(30, new)];
        let commit = Commit {
            offsets: (0..).map(partition).zip(offsets).collect(),
            notes: Notes::Required,
            refused: None,
            identity: GroupMetadata::standalone(),
            group: None,
            deadline: Instant::now(),
            done: oneshot::channel().0,
        };
        let request = commit.request("g", OffsetCommitRequest::TOPIC_IDS_FROM);
        let rows = |topic: &OffsetCommitRequestTopic| {
            let rows = topic.partitions.iter();
            let rows = rows.map(|it| {
                (
                    it.partition_index,
                    it.committed_offset,
                    it.committed_leader_epoch,
                )
            });
            (topic.topic_id, rows.collect::<Vec<_>>())
        };
        let sent: Vec<_> = request.topics.iter().map(rows).collect();
        let expected = [
            (old.uuid(), vec![(1, 20, 7)]),
            (new.uuid(), vec![(0, 10, 7), (2, 30, 7)]),
        ];
        assert_eq!(sent, expected);
        // The new topic's are taken; of the old one nobody knows.
        let answer = |topic_id: TopicId, rows: &[(i32, ErrorCode)]| OffsetCommitResponseTopic {
            topic_id: topic_id.uuid(),
            partitions: rows
                .iter()
                .map(
                    |(partition_index, error_code)| OffsetCommitResponsePartition {
                        partition_index: *partition_index,
                        error_code: *error_code,
                        ..Default::default()
                    },
                )
                .collect(),
            ..Default::default()
        };
        let response = OffsetCommitResponse {
            topics: vec![
                answer(new, &[(0, ErrorCode::NONE), (1, ErrorCode::NONE)]),
                answer(old, &[(1, ErrorCode::UNKNOWN_TOPIC_ID)]),
            ],
            ..Default::default()
        };
        let answers = commit.answers(OffsetCommitRequest::TOPIC_IDS_FROM, response);
        let expected = [
            (partition(0), ErrorCode::NONE),
            (partition(1), ErrorCode::UNKNOWN_TOPIC_ID),
        ];
        assert_eq!(answers, BTreeMap::from(expected), "partition 2 is left out");
        let by_name = commit.request("g", OffsetCommitRequest::TOPIC_IDS_FROM - 1);
        assert_eq!(by_name.topics.len(), 1, "by name there is one topic");
    }

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
                120
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
