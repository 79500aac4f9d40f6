//! Where share groups go on (KIP-932): listed, altered, deleted. In: groups and partitions. Out: a result for each.

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::messages::alter_share_group_offsets_request::{
    AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use protocol::messages::delete_share_group_offsets_request::DeleteShareGroupOffsetsRequestTopic;
use protocol::messages::describe_share_group_offsets_request::{
    DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsRequestTopic,
};
use protocol::messages::{
    AlterShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequest,
};

use super::each::{Ask, Round, Route, checked};
use super::group_offsets::of_partitions;
use super::groups::of_groups;
use super::{Admin, about_partition, by_topic};
use crate::kafka::cluster::Answer;
use crate::kafka::{Result, TopicPartition};

/// Where a share group goes on in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShareGroupOffset {
    /// The first offset that is not finished.
    pub start_offset: i64,
    /// The epoch of the leader then.
    pub leader_epoch: Option<i32>,
    /// How many records there are to be handed out (KIP-1226; brokers from Kafka 4.2 on).
    pub lag: Option<i64>,
}

impl Admin {
    /// Where share groups go on: a result for each group, and in it one for each partition. `None` asks for all partitions of a group. A
    /// partition that the group has not begun is left out.
    ///
    /// A group that does not exist has begun none. Errors by group: an authorization error where the client may not (`DESCRIBE` on the group).
    pub async fn list_share_group_offsets(
        &self,
        groups: &BTreeMap<&str, Option<Vec<TopicPartition>>>,
    ) -> Result<BTreeMap<String, Result<BTreeMap<TopicPartition, Result<ShareGroupOffset>>>>> {
        let ids: Vec<&str> = groups.keys().copied().collect();
        let build = |round: &mut Round<String>| {
            let groups = round
                .items
                .iter()
                .map(|id| DescribeShareGroupOffsetsRequestGroup {
                    group_id: id.clone(),
                    topics: groups[&**id].as_ref().map(|partitions| {
                        let topics = by_topic(partitions).into_iter();
                        topics
                            .map(
                                |(topic_name, partitions)| DescribeShareGroupOffsetsRequestTopic {
                                    topic_name,
                                    partitions,
                                    ..Default::default()
                                },
                            )
                            .collect()
                    }),
                    ..Default::default()
                });
            Ok(DescribeShareGroupOffsetsRequest {
                groups: groups.collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DescribeShareGroupOffsetsRequest>, _: &Round<String>| {
            let groups = answer.response.groups.iter();
            groups
                .map(|group| {
                    let message = group.error_message.as_deref();
                    let offsets = checked(answer, group.error_code, message, || {
                        let mut offsets = BTreeMap::new();
                        for topic in &group.topics {
                            for it in &topic.partitions {
                                let at =
                                    TopicPartition::new(&*topic.topic_name, it.partition_index);
                                let message = it.error_message.as_deref();
                                let offset =
                                    checked(answer, it.error_code, message, || ShareGroupOffset {
                                        start_offset: it.start_offset,
                                        leader_epoch: (it.leader_epoch >= 0)
                                            .then_some(it.leader_epoch),
                                        lag: (it.lag >= 0).then_some(it.lag),
                                    });
                                match offset {
                                    Ok(offset) if offset.start_offset < 0 => {}
                                    offset => {
                                        let offset =
                                            offset.map_err(|error| about_partition(&at, error));
                                        offsets.insert(at, offset);
                                    }
                                }
                            }
                        }
                        offsets
                    });
                    (group.group_id.clone(), offsets)
                })
                .collect()
        };
        self.each(of_groups(&ids), build, read).await
    }

    /// Sets where a share group goes on, while it has no members: a result for each partition.
    ///
    /// Errors by partition: `NON_EMPTY_GROUP`, `UNKNOWN_TOPIC_OR_PARTITION`, an authorization error where the client may not (`READ` on
    /// group and topic).
    pub async fn alter_share_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let build = |round: &mut Round<TopicPartition>| {
            let topics = by_topic(&round.items).into_iter();
            let topics = topics.map(|(topic_name, partitions)| {
                let partitions = partitions.into_iter();
                AlterShareGroupOffsetsRequestTopic {
                    partitions: partitions
                        .map(|partition_index| AlterShareGroupOffsetsRequestPartition {
                            partition_index,
                            start_offset: offsets
                                [&TopicPartition::new(&*topic_name, partition_index)],
                            ..Default::default()
                        })
                        .collect(),
                    topic_name,
                    ..Default::default()
                }
            });
            Ok(AlterShareGroupOffsetsRequest {
                group_id: group.to_string(),
                topics: topics.collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<AlterShareGroupOffsetsRequest>,
                    round: &Round<TopicPartition>| {
            let response = &answer.response;
            if response.error_code != ErrorCode::NONE {
                let message = response.error_message.as_deref();
                return round.all_failed(&answer.error(response.error_code, message));
            }
            let topics = response.responses.iter();
            topics
                .flat_map(|topic| {
                    topic.partitions.iter().map(|it| {
                        let at = TopicPartition::new(&*topic.topic_name, it.partition_index);
                        let message = it.error_message.as_deref();
                        (at, checked(answer, it.error_code, message, || ()))
                    })
                })
                .collect()
        };
        let ask = of_partitions(group, offsets.keys().cloned().collect());
        self.each(ask, build, read).await
    }

    /// Forgets where a share group goes on in topics, while it has no members: a result for each topic.
    ///
    /// Errors by topic: `NON_EMPTY_GROUP`, `GROUP_ID_NOT_FOUND`, `UNKNOWN_TOPIC_OR_PARTITION`, an authorization error where the client may
    /// not (`DELETE` on the group, `READ` on the topic).
    pub async fn delete_share_group_offsets(
        &self,
        group: &str,
        topics: &[&str],
    ) -> Result<BTreeMap<String, Result<()>>> {
        let id = group.to_string();
        let topics = topics.iter().map(|topic| topic.to_string()).collect();
        let route = Route::group(move |_: &String| id.clone());
        let ask = Ask::new(route, topics, |topic, error| error.topic(&**topic));
        let build = |round: &mut Round<String>| {
            let topics = round.items.iter();
            Ok(DeleteShareGroupOffsetsRequest {
                group_id: group.to_string(),
                topics: topics
                    .map(|topic| DeleteShareGroupOffsetsRequestTopic {
                        topic_name: topic.clone(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DeleteShareGroupOffsetsRequest>, round: &Round<String>| {
            let response = &answer.response;
            if response.error_code != ErrorCode::NONE {
                let message = response.error_message.as_deref();
                return round.all_failed(&answer.error(response.error_code, message));
            }
            let topics = response.responses.iter();
            topics
                .map(|it| {
                    let message = it.error_message.as_deref();
                    let result = checked(answer, it.error_code, message, || ());
                    (it.topic_name.clone(), result)
                })
                .collect()
        };
        self.each(ask, build, read).await
    }
}
