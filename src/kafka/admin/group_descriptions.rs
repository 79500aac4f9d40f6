//! Groups and their members, described by the protocol of each: classic, consumer (KIP-848), share (KIP-932). In: ids. Out: a result for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::Uuid;
use protocol::messages::consumer_group_describe_response as consumer;
use protocol::messages::describe_groups_response as classic;
use protocol::messages::share_group_describe_response as share;
use protocol::messages::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, ShareGroupDescribeRequest,
};

use super::Admin;
use super::each::{Round, checked};
use super::groups::{GroupKind, GroupState, is_of_another_kind, of_groups};
use crate::kafka::cluster::Answer;
use crate::kafka::group::classic::consumer_protocol::decode_assignment;
use crate::kafka::{Error, Result, TopicPartition};

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMember {
    /// The id that it has in the group.
    pub id: String,
    /// The instance id of a static member.
    pub instance_id: Option<String>,
    /// The client id that it gave.
    pub client_id: String,
    /// Where its connection comes from.
    pub host: String,
    /// Where it runs, if it said so (groups of brokers' protocols).
    pub rack: Option<String>,
    /// Its epoch (groups of brokers' protocols).
    pub epoch: Option<i32>,
    /// The topics that it subscribed to (groups of brokers' protocols).
    pub subscribed_topics: Vec<String>,
    /// The pattern that it subscribed to (consumer groups).
    pub subscribed_pattern: Option<String>,
    /// The partitions that it has.
    pub assignment: Vec<TopicPartition>,
    /// The partitions that it is on the way to (consumer groups).
    pub target_assignment: Option<Vec<TopicPartition>>,
}

/// A group of consumers, classic or of brokers' protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerGroupDescription {
    /// Its id.
    pub id: String,
    /// By which protocol it works.
    pub kind: GroupKind,
    /// What it is doing.
    pub state: GroupState,
    /// How partitions are shared out: the name of the assignor.
    pub assignor: String,
    /// How often something changed that assignments depend on (KIP-848).
    pub epoch: Option<i32>,
    /// The epoch that the assignment is of (KIP-848).
    pub assignment_epoch: Option<i32>,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A classic group, of consumers or of anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassicGroupDescription {
    /// Its id.
    pub id: String,
    /// What its members speak among themselves: `consumer`, `connect` or another.
    pub protocol_type: String,
    /// What they agreed on: of consumers, the name of the assignor.
    pub protocol: String,
    /// What it is doing; [`GroupState::Dead`] for one that does not exist, from brokers before Kafka 4.0.
    pub state: GroupState,
    /// Its members; assignments of consumers alone are read.
    pub members: Vec<GroupMember>,
}

/// A share group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShareGroupDescription {
    /// Its id.
    pub id: String,
    /// What it is doing.
    pub state: GroupState,
    /// The name of the assignor.
    pub assignor: String,
    /// How often something changed that assignments depend on.
    pub epoch: i32,
    /// The epoch that the assignment is of.
    pub assignment_epoch: i32,
    /// Its members.
    pub members: Vec<GroupMember>,
}

impl Admin {
    /// Groups of consumers and their members, whether classic or of brokers' protocol: a result for each id. What is no consumer group of
    /// brokers' protocol is described as a classic one, in a second request.
    ///
    /// Errors by group: `GROUP_ID_NOT_FOUND` (brokers from Kafka 4.0 on; older ones describe one that is [dead](GroupState::Dead)), an
    /// authorization error where the client may not (`DESCRIBE` on the group).
    pub async fn describe_consumer_groups(
        &self,
        ids: &[&str],
    ) -> Result<BTreeMap<String, Result<ConsumerGroupDescription>>> {
        let build = |round: &mut Round<String>| {
            Ok(ConsumerGroupDescribeRequest {
                group_ids: round.items.iter().cloned().collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<ConsumerGroupDescribeRequest>, _: &Round<String>| {
            let groups = answer.response.groups.iter();
            groups
                .map(|it| {
                    let message = it.error_message.as_deref();
                    let result = checked(answer, it.error_code, message, || consumer_group(it));
                    (it.group_id.clone(), result)
                })
                .collect()
        };
        let asked = self.each(of_groups(ids), build, read).await;
        let mut results = match asked {
            Err(error) if is_of_another_kind(&error) => {
                let ids = ids.iter().map(|id| id.to_string());
                ids.map(|id| (id, Err(error.clone()))).collect()
            }
            asked => asked?,
        };
        let others = results.iter().filter_map(|(id, result)| {
            let is_other = result.as_ref().is_err_and(is_of_another_kind);
            is_other.then(|| id.clone())
        });
        let others: Vec<String> = others.collect();
        if !others.is_empty() {
            let others: Vec<&str> = others.iter().map(String::as_str).collect();
            for (id, described) in self.describe_classic_groups(&others).await? {
                results.insert(id, described.map(from_classic));
            }
        }
        Ok(results)
    }

    /// Classic groups and their members: a result for each id. Errors as in
    /// [`describe_consumer_groups`](Self::describe_consumer_groups).
    pub async fn describe_classic_groups(
        &self,
        ids: &[&str],
    ) -> Result<BTreeMap<String, Result<ClassicGroupDescription>>> {
        let build = |round: &mut Round<String>| {
            Ok(DescribeGroupsRequest {
                groups: round.items.iter().cloned().collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DescribeGroupsRequest>, _: &Round<String>| {
            let groups = answer.response.groups.iter();
            groups
                .map(|it| {
                    let message = it.error_message.as_deref();
                    let result = checked(answer, it.error_code, message, || classic_group(it));
                    (it.group_id.clone(), result.and_then(|it| it))
                })
                .collect()
        };
        self.each(of_groups(ids), build, read).await
    }

    /// Share groups and their members (KIP-932): a result for each id. Errors by group: `GROUP_ID_NOT_FOUND`, an authorization error where
    /// the client may not (`DESCRIBE` on the group).
    pub async fn describe_share_groups(
        &self,
        ids: &[&str],
    ) -> Result<BTreeMap<String, Result<ShareGroupDescription>>> {
        let build = |round: &mut Round<String>| {
            Ok(ShareGroupDescribeRequest {
                group_ids: round.items.iter().cloned().collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<ShareGroupDescribeRequest>, _: &Round<String>| {
            let groups = answer.response.groups.iter();
            groups
                .map(|it| {
                    let message = it.error_message.as_deref();
                    let result = checked(answer, it.error_code, message, || share_group(it));
                    (it.group_id.clone(), result)
                })
                .collect()
        };
        self.each(of_groups(ids), build, read).await
    }
}

fn consumer_group(group: &consumer::DescribedGroup) -> ConsumerGroupDescription {
    let members = group.members.iter().map(|it| GroupMember {
        id: it.member_id.clone(),
        instance_id: it.instance_id.clone(),
        client_id: it.client_id.clone(),
        host: it.client_host.clone(),
        rack: it.rack_id.clone(),
        epoch: Some(it.member_epoch),
        subscribed_topics: it.subscribed_topic_names.clone(),
        subscribed_pattern: it.subscribed_topic_regex.clone(),
        assignment: consumer_partitions(&it.assignment),
        target_assignment: Some(consumer_partitions(&it.target_assignment)),
    });
    ConsumerGroupDescription {
        id: group.group_id.clone(),
        kind: GroupKind::Consumer,
        state: GroupState::named(&group.group_state),
        assignor: group.assignor_name.clone(),
        epoch: Some(group.group_epoch),
        assignment_epoch: Some(group.assignment_epoch),
        members: members.collect(),
    }
}

fn consumer_partitions(assignment: &consumer::Assignment) -> Vec<TopicPartition> {
    let topics = assignment.topic_partitions.iter();
    partitions(topics.map(|it| (&it.topic_id, &*it.topic_name, &*it.partitions)))
}

fn share_partitions(assignment: &share::Assignment) -> Vec<TopicPartition> {
    let topics = assignment.topic_partitions.iter();
    partitions(topics.map(|it| (&it.topic_id, &*it.topic_name, &*it.partitions)))
}

/// A topic that is gone has no name any more: its id stands for it.
fn partitions<'a>(
    topics: impl Iterator<Item = (&'a Uuid, &'a str, &'a [i32])>,
) -> Vec<TopicPartition> {
    topics
        .flat_map(|(id, name, partitions)| {
            let name: Arc<str> = match name {
                "" => id.to_string().into(),
                name => name.into(),
            };
            let partitions = partitions.iter();
            partitions.map(move |partition| TopicPartition::new(name.clone(), *partition))
        })
        .collect()
}

/// What it is of consumers, a classic group says as well.
fn from_classic(group: ClassicGroupDescription) -> ConsumerGroupDescription {
    ConsumerGroupDescription {
        id: group.id,
        kind: GroupKind::Classic,
        state: group.state,
        assignor: group.protocol,
        epoch: None,
        assignment_epoch: None,
        members: group.members,
    }
}

fn classic_group(group: &classic::DescribedGroup) -> Result<ClassicGroupDescription> {
    let is_of_consumers = group.protocol_type == "consumer";
    let member = |it: &classic::DescribedGroupMember| {
        // Before the leader has assigned anything there is nothing to read.
        let assignment = match is_of_consumers && !it.member_assignment.is_empty() {
            true => decode_assignment(it.member_assignment.clone())?,
            false => Vec::new(),
        };
        Ok::<_, Error>(GroupMember {
            id: it.member_id.clone(),
            instance_id: it.group_instance_id.clone(),
            client_id: it.client_id.clone(),
            host: it.client_host.clone(),
            assignment,
            ..Default::default()
        })
    };
    Ok(ClassicGroupDescription {
        id: group.group_id.clone(),
        protocol_type: group.protocol_type.clone(),
        protocol: group.protocol_data.clone(),
        state: GroupState::named(&group.group_state),
        members: group.members.iter().map(member).collect::<Result<_>>()?,
    })
}

fn share_group(group: &share::DescribedGroup) -> ShareGroupDescription {
    let members = group.members.iter().map(|it| GroupMember {
        id: it.member_id.clone(),
        client_id: it.client_id.clone(),
        host: it.client_host.clone(),
        rack: it.rack_id.clone(),
        epoch: Some(it.member_epoch),
        subscribed_topics: it.subscribed_topic_names.clone(),
        assignment: share_partitions(&it.assignment),
        ..Default::default()
    });
    ShareGroupDescription {
        id: group.group_id.clone(),
        state: GroupState::named(&group.group_state),
        assignor: group.assignor_name.clone(),
        epoch: group.group_epoch,
        assignment_epoch: group.assignment_epoch,
        members: members.collect(),
    }
}
