//! What groups have committed: listed, several groups at once (KIP-709), altered and deleted. In: groups and partitions. Out: a result for each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::ErrorCode;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use protocol::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest};

use super::each::{Ask, Results, Round, Route, checked};
use super::groups::of_groups;
use super::{Admin, about_partition, by_topic};
use crate::kafka::cluster::Answer;
use crate::kafka::consumer::{CommittedRow, rows_of_group, rows_of_topics};
use crate::kafka::{OffsetAndMetadata, Result, TopicPartition};

/// How committed offsets are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListGroupOffsetsOptions {
    /// Whether offsets that an open transaction is about to commit are waited for (KIP-447; brokers from Kafka 2.5 on), until the deadline.
    pub require_stable: bool,
}

impl ListGroupOffsetsOptions {
    /// Offsets that an open transaction is about to commit are waited for.
    pub fn require_stable() -> Self {
        Self {
            require_stable: true,
        }
    }
}

/// What a group has committed, by partition: an error where the client may not see the topic. A partition that it has not committed is
/// left out.
pub type GroupOffsets = BTreeMap<TopicPartition, Result<OffsetAndMetadata>>;

impl Admin {
    /// What groups have committed: a result for each group. `None` asks for all partitions of a group, a list for these alone. A group that
    /// does not exist has committed nothing.
    ///
    /// Errors by group: an authorization error where the client may not (`DESCRIBE` on the group).
    pub async fn list_group_offsets(
        &self,
        groups: &BTreeMap<&str, Option<Vec<TopicPartition>>>,
        options: &ListGroupOffsetsOptions,
    ) -> Result<BTreeMap<String, Result<GroupOffsets>>> {
        let ids: Vec<&str> = groups.keys().copied().collect();
        let topics_of = |id: &String| groups[&**id].as_ref().map(by_topic);
        let build = |round: &mut Round<String>| {
            let require_stable =
                options.require_stable && round.version >= OffsetFetchRequest::STABLE_FROM;
            if round.version >= OffsetFetchRequest::GROUPS_FROM {
                let groups = round.items.iter().map(|id| OffsetFetchRequestGroup {
                    group_id: id.clone(),
                    topics: topics_of(id).map(|topics| {
                        let topics = topics.into_iter();
                        topics
                            .map(|(name, partition_indexes)| OffsetFetchRequestTopics {
                                name,
                                partition_indexes,
                                ..Default::default()
                            })
                            .collect()
                    }),
                    ..Default::default()
                });
                return Ok(OffsetFetchRequest {
                    groups: groups.collect(),
                    require_stable,
                    ..Default::default()
                });
            }
            let id = round.only_first().unwrap_or_default();
            let topics = topics_of(&id).map(|topics| {
                let topics = topics.into_iter();
                topics
                    .map(|(name, partition_indexes)| OffsetFetchRequestTopic {
                        name,
                        partition_indexes,
                        ..Default::default()
                    })
                    .collect()
            });
            Ok(OffsetFetchRequest {
                group_id: id,
                topics,
                require_stable,
                ..Default::default()
            })
        };
        let ask = of_groups(&ids).newest(OffsetFetchRequest::TOPIC_IDS_FROM - 1);
        self.each(ask, build, listed).await
    }

    /// Sets what a group has committed, without being a member: a result for each partition. What topic ids the offsets name is not looked at.
    ///
    /// Errors by partition: `UNKNOWN_MEMBER_ID` while the group has members, `UNKNOWN_TOPIC_OR_PARTITION`, an authorization error where the
    /// client may not (`READ` on group and topic).
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let build = |round: &mut Round<TopicPartition>| {
            let topics = by_topic(&round.items)
                .into_iter()
                .map(|(name, partitions)| {
                    let partitions = partitions.into_iter().map(|partition_index| {
                        let OffsetAndMetadata {
                            offset,
                            leader_epoch,
                            metadata,
                            ..
                        } = &offsets[&TopicPartition::new(&*name, partition_index)];
                        OffsetCommitRequestPartition {
                            partition_index,
                            committed_offset: *offset,
                            committed_leader_epoch: leader_epoch.unwrap_or(-1),
                            committed_metadata: Some(metadata.clone()),
                            ..Default::default()
                        }
                    });
                    OffsetCommitRequestTopic {
                        partitions: partitions.collect(),
                        name,
                        ..Default::default()
                    }
                });
            Ok(OffsetCommitRequest {
                group_id: group.to_string(),
                topics: topics.collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<OffsetCommitRequest>, _: &Round<TopicPartition>| {
            let topics = answer.response.topics.iter();
            topics
                .flat_map(|topic| {
                    topic.partitions.iter().map(|it| {
                        let at = TopicPartition::new(&*topic.name, it.partition_index);
                        (at, checked(answer, it.error_code, None, || ()))
                    })
                })
                .collect()
        };
        let ask = of_partitions(group, offsets.keys().cloned().collect());
        let ask = ask.newest(OffsetCommitRequest::TOPIC_IDS_FROM - 1);
        self.each(ask, build, read).await
    }

    /// Deletes what a group has committed of partitions (KIP-496): a result for each. One of which nothing was committed is no error.
    ///
    /// Errors by partition: `GROUP_SUBSCRIBED_TO_TOPIC` while a member subscribes to the topic, `GROUP_ID_NOT_FOUND`,
    /// `UNKNOWN_TOPIC_OR_PARTITION`, an authorization error where the client may not (`DELETE` on the group, `READ` on the topic). Needs
    /// Kafka 2.4.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let build = |round: &mut Round<TopicPartition>| {
            let topics = by_topic(&round.items)
                .into_iter()
                .map(|(name, partitions)| {
                    let partitions = partitions.into_iter();
                    OffsetDeleteRequestTopic {
                        name,
                        partitions: partitions
                            .map(|partition_index| OffsetDeleteRequestPartition {
                                partition_index,
                                ..Default::default()
                            })
                            .collect(),
                        ..Default::default()
                    }
                });
            Ok(OffsetDeleteRequest {
                group_id: group.to_string(),
                topics: topics.collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<OffsetDeleteRequest>, round: &Round<TopicPartition>| {
            let response = &answer.response;
            if response.error_code != ErrorCode::NONE {
                return round.all_failed(&answer.error(response.error_code, None));
            }
            let topics = response.topics.iter();
            topics
                .flat_map(|topic| {
                    topic.partitions.iter().map(|it| {
                        let at = TopicPartition::new(&*topic.name, it.partition_index);
                        (at, checked(answer, it.error_code, None, || ()))
                    })
                })
                .collect()
        };
        let ask = of_partitions(group, partitions.iter().cloned().collect());
        self.each(ask, build, read).await
    }
}

/// The coordinator of a group, about partitions.
pub(super) fn of_partitions(
    group: &str,
    partitions: BTreeSet<TopicPartition>,
) -> Ask<TopicPartition> {
    let id = group.to_string();
    let route = Route::group(move |_: &TopicPartition| id.clone());
    Ask::new(route, partitions, about_partition)
}

/// What an answer says of each group.
fn listed(
    answer: &Answer<OffsetFetchRequest>,
    round: &Round<String>,
) -> Results<String, GroupOffsets> {
    let read = |rows: Vec<CommittedRow>| -> Result<GroupOffsets> {
        let mut offsets = GroupOffsets::new();
        for CommittedRow {
            partition: at,
            error,
            committed,
        } in rows
        {
            match checked(answer, error, None, || committed) {
                // The group is asked again as a whole.
                Err(failed) if error == ErrorCode::UNSTABLE_OFFSET_COMMIT => return Err(failed),
                Err(failed) => drop(offsets.insert(at.clone(), Err(about_partition(&at, failed)))),
                Ok(offset) if offset.offset >= 0 => drop(offsets.insert(at, Ok(offset))),
                Ok(_) => {}
            }
        }
        Ok(offsets)
    };
    let response = &answer.response;
    if answer.version < OffsetFetchRequest::GROUPS_FROM {
        let rows = || read(rows_of_topics(response.topics.clone()));
        return round.all(checked(answer, response.error_code, None, rows).and_then(|it| it));
    }
    let groups = response.groups.iter();
    groups
        .map(|group| {
            let rows = || read(rows_of_group(group.topics.clone(), &HashMap::new()));
            let offsets = checked(answer, group.error_code, None, rows);
            (group.group_id.clone(), offsets.and_then(|it| it))
        })
        .collect()
}
