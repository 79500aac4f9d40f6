//! One share group: its members, the epochs, and what it decides for each. A member has what was decided for it with its next heartbeat: nobody has
//! to give anything up before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::messages::share_group_describe_response::{
    Assignment as DescribedAssignment, DescribedGroup, Member as DescribedMember,
    TopicPartitions as DescribedTopic,
};
use protocol::messages::share_group_heartbeat_response::{Assignment, TopicPartitions};
use protocol::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

use super::assignor;
use crate::broker::groups::consumer::{by_topic, millis};
use crate::broker::groups::{Client, GroupSettings, Refusal};
use crate::broker::share::IdPartition;
use crate::broker::topic_index::TopicIndex;

/// The epoch that says that a member leaves.
const LEAVE_EPOCH: i32 = -1;
/// The longest id of a member.
const MAX_MEMBER_ID: usize = 36;

/// A group whose members share partitions.
#[derive(Debug)]
pub(crate) struct ShareGroup {
    pub(crate) settings: GroupSettings,
    epoch: i32,
    members: BTreeMap<String, Member>,
    topics: Arc<TopicIndex>,
    /// The topics that somebody wants and that exist, each with the number of its partitions.
    counts: BTreeMap<Uuid, i32>,
    /// What each member is to have.
    target: BTreeMap<String, BTreeSet<IdPartition>>,
}

#[derive(Debug)]
struct Member {
    rack: Option<String>,
    client_id: String,
    client_host: String,
    topics: BTreeSet<String>,
    epoch: i32,
    previous_epoch: i32,
    assigned: BTreeSet<IdPartition>,
    /// When it is taken for dead.
    session_end: Instant,
}

/// What a request has to be, whatever the group is.
pub(crate) fn check(request: &ShareGroupHeartbeatRequest) -> Result<(), Refusal> {
    let invalid = |text: &str| Err((ErrorCode::INVALID_REQUEST, text.to_owned()));
    if request.group_id.trim().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if request.member_id.trim().is_empty() || request.member_id.len() > MAX_MEMBER_ID {
        return invalid("MemberId can't be empty, or longer than 36 characters.");
    }
    if request
        .rack_id
        .as_ref()
        .is_some_and(|rack| rack.trim().is_empty())
    {
        return invalid("RackId can't be empty.");
    }
    match request.member_epoch {
        0 if request
            .subscribed_topic_names
            .as_ref()
            .is_none_or(Vec::is_empty) =>
        {
            invalid("SubscribedTopicNames must be set in first request.")
        }
        LEAVE_EPOCH | 0.. => Ok(()),
        _ => invalid("MemberEpoch is invalid."),
    }
}

impl ShareGroup {
    pub(crate) fn new(settings: GroupSettings) -> Self {
        Self {
            settings,
            epoch: 1,
            members: BTreeMap::new(),
            topics: Arc::default(),
            counts: BTreeMap::new(),
            target: BTreeMap::new(),
        }
    }

    /// A heartbeat of a member that stays, joins or joins again.
    pub(crate) fn heartbeat(
        &mut self,
        request: &ShareGroupHeartbeatRequest,
        client: Client<'_>,
        topics: &Arc<TopicIndex>,
        now: Instant,
    ) -> Result<ShareGroupHeartbeatResponse, Refusal> {
        let id = &request.member_id;
        if request.member_epoch == LEAVE_EPOCH {
            return self.leave(id);
        }
        match self.members.get(id) {
            Some(member) => check_epoch(member, request.member_epoch)?,
            None if request.member_epoch == 0 => {}
            None => return unknown(id),
        }
        let member = self.members.entry(id.clone()).or_insert_with(|| Member {
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            topics: BTreeSet::new(),
            epoch: 0,
            previous_epoch: 0,
            assigned: BTreeSet::new(),
            session_end: now,
        });
        member.session_end = now + self.settings.share_session_timeout;
        client.id.clone_into(&mut member.client_id);
        client.host.clone_into(&mut member.client_host);
        if request.rack_id.is_some() {
            member.rack.clone_from(&request.rack_id);
        }
        if let Some(names) = &request.subscribed_topic_names {
            member.topics = names.iter().cloned().collect();
        }
        self.topics = topics.clone();
        self.decide();
        let (epoch, target) = (self.epoch, self.target.get(id).cloned().unwrap_or_default());
        let Some(member) = self.members.get_mut(id) else {
            return unknown(id);
        };
        if member.epoch != epoch {
            (member.previous_epoch, member.epoch) = (member.epoch, epoch);
        }
        let changed = member.assigned != target;
        member.assigned = target;
        let is_full = request.member_epoch == 0 || request.subscribed_topic_names.is_some();
        let assignment = (changed || is_full).then(|| Assignment {
            topic_partitions: by_topic(&member.assigned, |topic_id, partitions| TopicPartitions {
                topic_id,
                partitions,
                ..Default::default()
            }),
            ..Default::default()
        });
        Ok(ShareGroupHeartbeatResponse {
            member_id: Some(id.clone()),
            member_epoch: epoch,
            heartbeat_interval_ms: millis(self.settings.share_heartbeat_interval),
            assignment,
            ..Default::default()
        })
    }

    fn leave(&mut self, id: &str) -> Result<ShareGroupHeartbeatResponse, Refusal> {
        if self.members.remove(id).is_none() {
            return unknown(id);
        }
        self.decide();
        Ok(ShareGroupHeartbeatResponse {
            member_id: Some(id.to_owned()),
            member_epoch: LEAVE_EPOCH,
            ..Default::default()
        })
    }

    /// Decides anew who is to have what, in a new epoch, where anything has changed that this goes by.
    fn decide(&mut self) {
        let topics = &self.topics;
        let wanted = |member: &Member| -> BTreeMap<Uuid, i32> {
            member
                .topics
                .iter()
                .filter_map(|name| topics.topic(name))
                .collect()
        };
        let of_each: BTreeMap<&String, BTreeMap<Uuid, i32>> = self
            .members
            .iter()
            .map(|(id, member)| (id, wanted(member)))
            .collect();
        let counts: BTreeMap<Uuid, i32> = of_each
            .values()
            .flatten()
            .map(|(id, count)| (*id, *count))
            .collect();
        let members: BTreeMap<&String, BTreeSet<Uuid>> = of_each
            .iter()
            .map(|(id, topics)| (*id, topics.keys().copied().collect()))
            .collect();
        let target = assignor::assign(&members, &counts);
        if target != self.target || counts != self.counts {
            self.epoch += 1;
            (self.target, self.counts) = (target, counts);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.members.values().map(|member| member.session_end).min()
    }

    /// Takes out members that were silent for too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        let before = self.members.len();
        self.members.retain(|_, member| member.session_end > now);
        if self.members.len() < before {
            self.decide();
        }
    }

    /// Another node coordinates the group: everybody has all the time again.
    pub(crate) fn coordinator_moved(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            member.session_end = now + self.settings.share_session_timeout;
        }
    }

    /// What the group is at.
    pub(crate) fn state(&self) -> &'static str {
        match self.members.is_empty() {
            true => "Empty",
            false => "Stable",
        }
    }

    pub(crate) fn describe(&self, group_id: &str) -> DescribedGroup {
        let members = self.members.iter().map(|(id, member)| DescribedMember {
            member_id: id.clone(),
            rack_id: member.rack.clone(),
            member_epoch: member.epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.topics.iter().cloned().collect(),
            assignment: DescribedAssignment {
                topic_partitions: by_topic(&member.assigned, |topic_id, partitions| {
                    DescribedTopic {
                        topic_id,
                        topic_name: self.topics.name(&topic_id).unwrap_or_default().to_owned(),
                        partitions,
                        ..Default::default()
                    }
                }),
                ..Default::default()
            },
            ..Default::default()
        });
        DescribedGroup {
            group_id: group_id.to_owned(),
            group_state: self.state().to_owned(),
            group_epoch: self.epoch,
            assignment_epoch: self.epoch,
            assignor_name: assignor::NAME.to_owned(),
            members: members.collect(),
            ..Default::default()
        }
    }
}

/// Whether a member may come with this epoch: the one that it has; 0, by which it begins again; or the one before, of which it may not have
/// heard that it is over.
fn check_epoch(member: &Member, epoch: i32) -> Result<(), Refusal> {
    if epoch == 0 || epoch == member.epoch || epoch == member.previous_epoch {
        return Ok(());
    }
    let how = if epoch > member.epoch {
        "greater"
    } else {
        "smaller"
    };
    let known = member.epoch;
    Err((
        ErrorCode::FENCED_MEMBER_EPOCH,
        format!(
            "The share group member has a {how} member epoch ({epoch}) than the one known by the group coordinator ({known}). The member must abandon all its partitions and rejoin."
        ),
    ))
}

fn unknown<T>(member_id: &str) -> Result<T, Refusal> {
    let text = format!("Member {member_id} is not a member of the group.");
    Err((ErrorCode::UNKNOWN_MEMBER_ID, text))
}
