//! What groups have yet to read. In: groups, and which of them share out records. Out: for each partition where the group goes on, where the log ends, and
//! what is between.

use std::collections::{BTreeMap, BTreeSet};

use pat_events::kafka::admin::{
    ConsumerGroupDescription, GroupKind, GroupMember, GroupState, ListGroupOffsetsOptions,
    OffsetSpec, ShareGroupDescription,
};
use pat_events::kafka::{Admin, Error, ErrorCode, TopicPartition};
use serde_json::{Value, json};

use super::streams;
use crate::Outcome;
use crate::admin::offsets::listed;
use crate::admin::partitions::{place, with};

/// A group, whatever its kind.
#[derive(Debug)]
pub struct Described {
    pub kind: GroupKind,
    pub state: GroupState,
    pub assignor: String,
    pub epoch: Option<i32>,
    pub assignment_epoch: Option<i32>,
    pub members: Vec<GroupMember>,
}

impl From<ConsumerGroupDescription> for Described {
    fn from(group: ConsumerGroupDescription) -> Described {
        Described {
            kind: group.kind,
            state: group.state,
            assignor: group.assignor,
            epoch: group.epoch,
            assignment_epoch: group.assignment_epoch,
            members: group.members,
        }
    }
}

impl From<ShareGroupDescription> for Described {
    fn from(group: ShareGroupDescription) -> Described {
        Described {
            kind: GroupKind::Share,
            state: group.state,
            assignor: group.assignor,
            epoch: Some(group.epoch),
            assignment_epoch: Some(group.assignment_epoch),
            members: group.members,
        }
    }
}

/// Each group of these ids, or why there is none.
pub async fn described(
    admin: &Admin,
    ids: &[&str],
) -> Outcome<BTreeMap<String, Result<Described, Error>>> {
    let mut found: BTreeMap<String, Result<Described, Error>> = BTreeMap::new();
    for (id, group) in admin.describe_consumer_groups(ids).await? {
        found.insert(id, group.map(Described::from));
    }
    // Of what is no group of theirs, older brokers say that it is dead.
    let is_open = |group: &Result<Described, Error>| match group {
        Ok(group) => group.state == GroupState::Dead,
        Err(error) => error.server_error() == Some(ErrorCode::GROUP_ID_NOT_FOUND),
    };
    let open: Vec<&str> = ids
        .iter()
        .copied()
        .filter(|id| found.get(*id).is_some_and(is_open))
        .collect();
    if open.is_empty() {
        return Ok(found);
    }
    let mut others = streams::described(admin, &open).await?;
    // Older brokers know no share groups.
    if let Ok(shares) = admin.describe_share_groups(&open).await {
        let shares = shares.into_iter();
        others.extend(shares.filter_map(|(id, group)| Some((id, group.ok()?.into()))));
    }
    found.extend(others.into_iter().map(|(id, group)| (id, Ok(group))));
    Ok(found)
}

/// A partition of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionLag {
    /// Where the group goes on; `None` where it has committed nothing.
    pub next: Option<i64>,
    pub end: Option<i64>,
    pub lag: Option<i64>,
    pub leader_epoch: Option<i32>,
    pub metadata: String,
    /// Members that have it.
    pub members: Vec<usize>,
}

/// Partitions of a group, and what could not be learnt.
pub type Found = (
    BTreeMap<TopicPartition, PartitionLag>,
    Vec<(TopicPartition, Error)>,
);

/// The partitions that a group has committed or that its members have; with them what could not be learnt.
pub async fn lag(admin: &Admin, id: &str, group: &Described) -> Outcome<Found> {
    let (mut partitions, mut failures) = match group.kind {
        GroupKind::Share => of_share_group(admin, id).await?,
        _ => committed(admin, id).await?,
    };
    for (number, member) in group.members.iter().enumerate() {
        for at in &member.assignment {
            partitions
                .entry(at.clone())
                .or_default()
                .members
                .push(number);
        }
    }
    let open: Vec<TopicPartition> = partitions.keys().cloned().collect();
    for (at, end) in listed(admin, &open, OffsetSpec::Latest, false).await? {
        let Some(partition) = partitions.get_mut(&at) else {
            continue;
        };
        match end {
            Ok(end) => {
                partition.end = end.offset;
                let behind = partition.next.zip(end.offset);
                let behind = behind.map(|(next, end)| end.saturating_sub(next).max(0));
                partition.lag = partition.lag.or(behind);
            }
            Err(error) => failures.push((at, error)),
        }
    }
    Ok((partitions, failures))
}

/// What a group has committed.
pub async fn committed(admin: &Admin, id: &str) -> Outcome<Found> {
    let groups = BTreeMap::from([(id, None)]);
    let options = ListGroupOffsetsOptions::default();
    let offsets = admin.list_group_offsets(&groups, &options).await?;
    found(offsets, |offset| PartitionLag {
        next: Some(offset.offset),
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata,
        ..PartitionLag::default()
    })
}

/// Where a share group goes on.
pub async fn of_share_group(admin: &Admin, id: &str) -> Outcome<Found> {
    let groups = BTreeMap::from([(id, None)]);
    let offsets = admin.list_share_group_offsets(&groups).await?;
    found(offsets, |offset| PartitionLag {
        next: Some(offset.start_offset),
        lag: offset.lag,
        leader_epoch: offset.leader_epoch,
        ..PartitionLag::default()
    })
}

type ByPartition<T> = BTreeMap<TopicPartition, Result<T, Error>>;

/// What brokers said of the offsets of groups, as `lag` makes it of each.
fn found<T>(
    groups: BTreeMap<String, Result<ByPartition<T>, Error>>,
    lag: impl Fn(T) -> PartitionLag,
) -> Outcome<Found> {
    let (mut partitions, mut failures) = Found::default();
    for offsets in groups.into_values() {
        for (at, offset) in offsets? {
            match offset {
                Ok(offset) => drop(partitions.insert(at, lag(offset))),
                Err(error) => failures.push((at, error)),
            }
        }
    }
    Ok((partitions, failures))
}

/// A partition of a group as JSON, with the first member that has it.
pub fn object(id: &str, at: &TopicPartition, partition: &PartitionLag, group: &Described) -> Value {
    let members = partition
        .members
        .iter()
        .map(|number| &group.members[*number]);
    let ids: BTreeSet<&str> = members.clone().map(|member| member.id.as_str()).collect();
    let member = members.clone().next();
    with(
        place(at),
        json!({
            "group": id,
            "offset": partition.next,
            "end": partition.end,
            "lag": partition.lag,
            "leader_epoch": partition.leader_epoch,
            "metadata": partition.metadata,
            "members": ids,
            "host": member.map(|member| member.host.as_str()),
            "client_id": member.map(|member| member.client_id.as_str()),
        }),
    )
}
