//! Groups of Kafka Streams (KIP-1071), as groups whose members have partitions. In: ids. Out: those that are such groups.

use std::collections::{BTreeMap, BTreeSet};

use pat_events::kafka::admin::{
    GroupKind, GroupMember, StreamsGroupDescription, StreamsGroupMember, StreamsSubtopology,
};
use pat_events::kafka::{Admin, TopicPartition};

use super::lag::Described;
use crate::Outcome;

/// How many partitions each topic has.
type Counts = BTreeMap<String, usize>;

/// Those of these ids that are groups of Kafka Streams. Older brokers know none.
pub async fn described(admin: &Admin, ids: &[&str]) -> Outcome<BTreeMap<String, Described>> {
    let Ok(groups) = admin.describe_streams_groups(ids).await else {
        return Ok(BTreeMap::new());
    };
    let groups: Vec<StreamsGroupDescription> =
        groups.into_values().filter_map(Result::ok).collect();
    let parts = groups.iter().flat_map(|it| &it.subtopologies);
    let topics: BTreeSet<&str> = parts.flat_map(read_by).collect();
    let topics: Vec<&str> = topics.into_iter().collect();
    let topics = admin.describe_topics(&topics).await?;
    let counts: Counts = topics
        .into_iter()
        .filter_map(|(topic, described)| Some((topic, described.ok()?.partitions.len())))
        .collect();
    let groups = groups.into_iter();
    Ok(groups
        .map(|group| (group.id.clone(), as_partitions(group, &counts)))
        .collect())
}

/// The topics that a subtopology reads.
fn read_by(part: &StreamsSubtopology) -> impl Iterator<Item = &str> {
    let between = part.repartition_source_topics.iter().map(|it| &*it.name);
    part.source_topics.iter().map(String::as_str).chain(between)
}

fn as_partitions(group: StreamsGroupDescription, counts: &Counts) -> Described {
    let members = group.members.iter();
    let members = members.map(|it| member(it, &group.subtopologies, counts));
    Described {
        members: members.collect(),
        kind: GroupKind::Streams,
        state: group.state,
        assignor: group.assignor.unwrap_or_default(),
        epoch: Some(group.epoch),
        assignment_epoch: Some(group.assignment_epoch),
    }
}

fn member(
    member: &StreamsGroupMember,
    parts: &[StreamsSubtopology],
    counts: &Counts,
) -> GroupMember {
    let partitions = |active| partitions(active, parts, counts);
    let mut shown = GroupMember::default();
    shown.id = member.id.clone();
    shown.instance_id = member.instance_id.clone();
    shown.client_id = member.client_id.clone();
    shown.host = member.host.clone();
    shown.rack = member.rack.clone();
    shown.epoch = Some(member.epoch);
    shown.assignment = partitions(&member.assignment.active);
    shown.target_assignment = Some(partitions(&member.target_assignment.active));
    shown
}

/// What active tasks read: each its partition of every topic of its subtopology that has so many.
fn partitions(
    active: &BTreeMap<String, Vec<i32>>,
    parts: &[StreamsSubtopology],
    counts: &Counts,
) -> Vec<TopicPartition> {
    let mut found = BTreeSet::new();
    for part in parts {
        for topic in read_by(part) {
            let count = counts.get(topic).copied().unwrap_or(0);
            let tasks = active.get(&part.id).into_iter().flatten().copied();
            let there = tasks.filter(|task| usize::try_from(*task).is_ok_and(|it| it < count));
            found.extend(there.map(|task| TopicPartition::new(topic, task)));
        }
    }
    found.into_iter().collect()
}
