//! Groups of Kafka Streams (KIP-1071), described: what they read and keep, and who has which tasks. In: ids. Out: a result for each.

use std::collections::BTreeMap;

use protocol::messages::StreamsGroupDescribeRequest;
use protocol::messages::streams_group_describe_response::{
    Assignment, DescribedGroup, KeyValue, Member, Subtopology, TaskIds, TaskOffset, TopicInfo,
};

use super::Admin;
use super::each::{Round, checked};
use super::groups::{GroupState, of_groups};
use crate::kafka::cluster::Answer;
use crate::kafka::{Address, Result};

/// A group of Kafka Streams.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsGroupDescription {
    /// Its id.
    pub id: String,
    /// What it is doing.
    pub state: GroupState,
    /// How often something changed that assignments depend on.
    pub epoch: i32,
    /// The epoch that the assignment is of.
    pub assignment_epoch: i32,
    /// The name of the assignor (brokers from Kafka 4.4 on).
    pub assignor: Option<String>,
    /// The epoch of its topology; `None` before a member has told one.
    pub topology_epoch: Option<i32>,
    /// The parts of its topology that do not depend on each other, as members told them; none while a topic that it needs is missing.
    pub subtopologies: Vec<StreamsSubtopology>,
    /// Its members.
    pub members: Vec<StreamsGroupMember>,
}

/// A part of a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsSubtopology {
    /// Its id in the topology.
    pub id: String,
    /// The topics that it reads.
    pub source_topics: Vec<String>,
    /// The topics by which it hands records on to other parts.
    pub repartition_sink_topics: Vec<String>,
    /// The topics that its state is kept in.
    pub state_changelog_topics: Vec<StreamsTopic>,
    /// The topics by which other parts hand records to it.
    pub repartition_source_topics: Vec<StreamsTopic>,
}

/// A topic that a group of Kafka Streams creates for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it has; 0 where brokers find that.
    pub partitions: i32,
    /// How many replicas it has; 0 for the brokers' default.
    pub replication_factor: i16,
    /// Its configuration.
    pub configs: BTreeMap<String, String>,
}

/// A member of a group of Kafka Streams.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsGroupMember {
    /// The id that it has in the group.
    pub id: String,
    /// Its epoch.
    pub epoch: i32,
    /// The instance id of a static member.
    pub instance_id: Option<String>,
    /// Where it runs, if it said so.
    pub rack: Option<String>,
    /// The client id that it gave.
    pub client_id: String,
    /// Where its connection comes from.
    pub host: String,
    /// The epoch of the topology that it has.
    pub topology_epoch: i32,
    /// The process that it belongs to, which has one state for all its members.
    pub process_id: String,
    /// Where others may ask it for its state (interactive queries).
    pub user_endpoint: Option<Address>,
    /// What it was tagged with.
    pub client_tags: BTreeMap<String, String>,
    /// How far it is with the state of each task, by subtopology and partition.
    pub task_offsets: BTreeMap<(String, i32), i64>,
    /// How far it would have to be, likewise.
    pub task_end_offsets: BTreeMap<(String, i32), i64>,
    /// The tasks that it has.
    pub assignment: StreamsTasks,
    /// The tasks that it is on the way to.
    pub target_assignment: StreamsTasks,
    /// It speaks the classic protocol: the group is changing over.
    pub is_classic: bool,
}

/// Tasks, of each subtopology its partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsTasks {
    /// Those that records are processed by.
    pub active: BTreeMap<String, Vec<i32>>,
    /// Those whose state is kept up to date, in case.
    pub standby: BTreeMap<String, Vec<i32>>,
    /// Those whose state is brought up to date, to become active.
    pub warmup: BTreeMap<String, Vec<i32>>,
}

impl Admin {
    /// Groups of Kafka Streams and their members (KIP-1071): a result for each id. Needs Kafka 4.1 with the feature `streams.version`. Cancel safe:
    /// nothing is changed. The topology as people read it (KIP-1331), which only brokers with a plugin for it keep, is not asked for.
    ///
    /// Errors by group: `GROUP_ID_NOT_FOUND`, also for a group of another kind, and an authorization error where the client may not (`DESCRIBE` on
    /// the group, and on each topic that it uses).
    pub async fn describe_streams_groups(
        &self,
        ids: &[&str],
    ) -> Result<BTreeMap<String, Result<StreamsGroupDescription>>> {
        let build = |round: &mut Round<String>| {
            Ok(StreamsGroupDescribeRequest {
                group_ids: round.items.iter().cloned().collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<StreamsGroupDescribeRequest>, _: &Round<String>| {
            let groups = answer.response.groups.iter();
            groups
                .map(|it| {
                    let message = it.error_message.as_deref();
                    let result = checked(answer, it.error_code, message, || described(it));
                    (it.group_id.clone(), result)
                })
                .collect()
        };
        self.each(of_groups(ids), build, read).await
    }
}

fn described(group: &DescribedGroup) -> StreamsGroupDescription {
    let topology = group.topology.as_ref();
    let parts = topology.and_then(|it| it.subtopologies.as_ref());
    StreamsGroupDescription {
        id: group.group_id.clone(),
        state: GroupState::named(&group.group_state),
        epoch: group.group_epoch,
        assignment_epoch: group.assignment_epoch,
        assignor: group.assignor_name.clone(),
        topology_epoch: topology.map(|it| it.epoch),
        subtopologies: parts.into_iter().flatten().map(subtopology).collect(),
        members: group.members.iter().map(member).collect(),
    }
}

fn subtopology(it: &Subtopology) -> StreamsSubtopology {
    let topic = |it: &TopicInfo| StreamsTopic {
        name: it.name.clone(),
        partitions: it.partitions,
        replication_factor: it.replication_factor,
        configs: pairs(&it.topic_configs),
    };
    StreamsSubtopology {
        id: it.subtopology_id.clone(),
        source_topics: it.source_topics.clone(),
        repartition_sink_topics: it.repartition_sink_topics.clone(),
        state_changelog_topics: it.state_changelog_topics.iter().map(topic).collect(),
        repartition_source_topics: it.repartition_source_topics.iter().map(topic).collect(),
    }
}

fn member(it: &Member) -> StreamsGroupMember {
    let endpoint = it.user_endpoint.as_ref();
    StreamsGroupMember {
        id: it.member_id.clone(),
        epoch: it.member_epoch,
        instance_id: it.instance_id.clone(),
        rack: it.rack_id.clone(),
        client_id: it.client_id.clone(),
        host: it.client_host.clone(),
        topology_epoch: it.topology_epoch,
        process_id: it.process_id.clone(),
        user_endpoint: endpoint.map(|it| Address::new(&*it.host, it.port)),
        client_tags: pairs(&it.client_tags),
        task_offsets: offsets(&it.task_offsets),
        task_end_offsets: offsets(&it.task_end_offsets),
        assignment: tasks(&it.assignment),
        target_assignment: tasks(&it.target_assignment),
        is_classic: it.is_classic,
    }
}

fn tasks(assignment: &Assignment) -> StreamsTasks {
    let by_part = |tasks: &[TaskIds]| {
        let tasks = tasks.iter();
        tasks
            .map(|it| (it.subtopology_id.clone(), it.partitions.clone()))
            .collect()
    };
    StreamsTasks {
        active: by_part(&assignment.active_tasks),
        standby: by_part(&assignment.standby_tasks),
        warmup: by_part(&assignment.warmup_tasks),
    }
}

fn offsets(offsets: &[TaskOffset]) -> BTreeMap<(String, i32), i64> {
    let offsets = offsets.iter();
    offsets
        .map(|it| ((it.subtopology_id.clone(), it.partition), it.offset))
        .collect()
}

fn pairs(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs.map(|it| (it.key.clone(), it.value.clone())).collect()
}
