//! Members of a consumer group that speak the classic protocol: the group's epochs are their generations. They learn from a heartbeat that they
//! are to join again; each join takes them a step towards their target, and the sync after it tells what they have then.

use std::sync::Arc;
use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::join_group_response::JoinGroupResponse;
use protocol::messages::sync_group_response::SyncGroupResponse;
use protocol::messages::{HeartbeatRequest, SyncGroupRequest};
use tokio::time::Instant;

use super::convert::{self, PROTOCOL_TYPE};
use super::group::ConsumerGroup;
use super::member::{ClassicSide, Member, Partitions, State, Subscription};
use crate::broker::groups::classic::{self, Joining};
use crate::broker::random::Random;
use crate::broker::topic_index::TopicIndex;

impl ConsumerGroup {
    pub(crate) fn join(
        &mut self,
        joining: Joining<'_>,
        topics: &Arc<TopicIndex>,
        now: Instant,
        random: &mut Random,
    ) {
        let answer = self.joined(&joining, topics, now, random);
        let refuse = |error| classic::failed(joining.request.member_id.clone(), error);
        let _ = joining.reply.send(answer.unwrap_or_else(refuse));
    }

    fn joined(
        &mut self,
        joining: &Joining<'_>,
        topics: &Arc<TopicIndex>,
        now: Instant,
        random: &mut Random,
    ) -> Result<JoinGroupResponse, ErrorCode> {
        let request = &joining.request;
        let protocols = classic::protocols(request);
        let known_to_all = |name: &String| self.classic_sides().all(|side| knows(side, name));
        if request.protocol_type != PROTOCOL_TYPE
            || !protocols.iter().any(|(name, _)| known_to_all(name))
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        let instance = request.group_instance_id.as_deref();
        let is_new = request.member_id.is_empty();
        let member_id = match is_new {
            true => classic::uuid_text(random),
            false => request.member_id.clone(),
        };
        if is_new && instance.is_none() && joining.version >= 4 {
            return Ok(classic::failed(member_id, ErrorCode::MEMBER_ID_REQUIRED));
        }
        let (mut member, replaced) = match instance.and_then(|it| self.of_instance(it)) {
            Some((id, old)) if is_new => (old.back(), Some(id.to_owned())),
            Some((id, _)) if id != member_id => return Err(ErrorCode::FENCED_INSTANCE_ID),
            None if instance.is_some() && !is_new => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            _ => (
                self.members.get(&member_id).cloned().unwrap_or_default(),
                None,
            ),
        };
        let offered = protocols.first().map(|(_, offered)| offered.clone());
        let subscription = convert::subscription(offered.unwrap_or_default())
            .ok_or(ErrorCode::INCONSISTENT_GROUP_PROTOCOL)?;
        let owned = convert::owned(&subscription, topics);
        let session_timeout = classic::millis(request.session_timeout_ms);
        member.instance_id = request.group_instance_id.clone().or(member.instance_id);
        member.rack = subscription.rack_id.or(member.rack);
        member.client_id = joining.client.id.to_owned();
        member.client_host = joining.client.host.to_owned();
        member.rebalance_timeout = match request.rebalance_timeout_ms {
            -1 => session_timeout,
            timeout_ms => classic::millis(timeout_ms),
        };
        member.subscription = Subscription {
            topics: subscription.topics.into_iter().collect(),
            pattern: None,
        };
        let protocol_name = protocols.first().map(|(name, _)| name.clone());
        member.session_end = Some(now + session_timeout);
        member.classic = Some(ClassicSide {
            session_timeout,
            protocols,
            join_deadline: None,
            sync_deadline: Some(now + member.rebalance_timeout),
        });
        self.put(&member_id, member, replaced, topics);
        let reconciled = self.reconcile(&member_id, Some(&owned), now);
        let epoch = reconciled.map_err(|(error, _)| error)?.epoch;
        // Only the member's own time limits count: those of its joins and syncs.
        if let Some(member) = self.members.get_mut(&member_id) {
            member.rebalance_deadline = None;
        }
        Ok(JoinGroupResponse {
            member_id,
            generation_id: epoch,
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name,
            ..Default::default()
        })
    }

    pub(crate) fn sync(
        &mut self,
        request: &SyncGroupRequest,
        now: Instant,
    ) -> Result<SyncGroupResponse, ErrorCode> {
        let instance = request.group_instance_id.as_deref();
        let (epoch, topics) = (self.epoch, self.topics.clone());
        let id = &request.member_id;
        let (member, side) = self.classic_member(id, instance, request.generation_id)?;
        let differs = |theirs: &Option<String>, ours: Option<&str>| {
            theirs.is_some() && theirs.as_deref() != ours
        };
        let name = side.protocols.first().map(|(name, _)| name.as_str());
        if differs(&request.protocol_type, Some(PROTOCOL_TYPE))
            || differs(&request.protocol_name, name)
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if epoch > member.epoch && member.state != State::UnrevokedPartitions {
            side.join_deadline
                .get_or_insert(now + member.rebalance_timeout);
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        side.sync_deadline = None;
        *member.session_end = Some(now + side.session_timeout);
        let version = convert::version_of(side);
        Ok(SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment: convert::assignment(member.assigned, &topics, version),
            ..Default::default()
        })
    }

    pub(crate) fn classic_heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        let instance = request.group_instance_id.as_deref();
        let (epoch, id) = (self.epoch, &request.member_id);
        let waits = self.waits_for_others(id);
        let (member, side) = self.classic_member(id, instance, request.generation_id)?;
        *member.session_end = Some(now + side.session_timeout);
        let has_to_join = match member.state {
            State::UnrevokedPartitions => true,
            State::UnreleasedPartitions => epoch > member.epoch || !waits,
            State::Stable => epoch > member.epoch,
        };
        if has_to_join {
            side.join_deadline
                .get_or_insert(now + member.rebalance_timeout);
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(())
    }

    /// A member's LeaveGroup; an empty member id stands for whoever has the instance id.
    pub(crate) fn classic_leave(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
    ) -> Result<(), ErrorCode> {
        let id = match instance {
            Some(instance) if member_id.is_empty() => {
                let known = self.of_instance(instance);
                known.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?.0.to_owned()
            }
            _ => self.known(member_id, instance)?,
        };
        if self.members.get(&id).is_some_and(|it| it.classic.is_none()) {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.remove(&id);
        Ok(())
    }

    /// Whether all that it is to get, and does not have yet, is held by others.
    fn waits_for_others(&self, member_id: &str) -> bool {
        let (Some(member), Some(target)) =
            (self.members.get(member_id), self.target.get(member_id))
        else {
            return false;
        };
        let mut missing = target.difference(&member.assigned);
        missing.all(|it| self.members.values().any(|other| other.holds(it)))
    }

    fn classic_sides(&self) -> impl Iterator<Item = &ClassicSide> {
        self.members
            .values()
            .filter_map(|member| member.classic.as_ref())
    }

    fn known(&self, member_id: &str, instance: Option<&str>) -> Result<String, ErrorCode> {
        if let Some(instance) = instance {
            let (current, _) = self
                .of_instance(instance)
                .ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            if current != member_id {
                return Err(ErrorCode::FENCED_INSTANCE_ID);
            }
        }
        match self.members.contains_key(member_id) {
            true => Ok(member_id.to_owned()),
            false => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        }
    }

    /// A member that speaks the classic protocol, and is in this generation; what only such a member has is beside it.
    fn classic_member(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(Standing<'_>, &mut ClassicSide), ErrorCode> {
        let id = self.known(member_id, instance)?;
        let Some(Member {
            epoch,
            state,
            assigned,
            rebalance_timeout,
            session_end,
            classic: Some(side),
            ..
        }) = self.members.get_mut(&id)
        else {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        };
        if *epoch != generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let standing = Standing {
            epoch: *epoch,
            state: *state,
            assigned,
            rebalance_timeout: *rebalance_timeout,
            session_end,
        };
        Ok((standing, side))
    }
}

/// Where a member stands.
struct Standing<'a> {
    epoch: i32,
    state: State,
    assigned: &'a Partitions,
    rebalance_timeout: Duration,
    session_end: &'a mut Option<Instant>,
}

fn knows(side: &ClassicSide, protocol: &str) -> bool {
    side.protocols.iter().any(|(name, _)| name == protocol)
}
