//! JoinGroup: new members, members that come again, and static members that were restarted (KIP-345, KIP-394, KIP-814).

use std::time::Duration;

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::JoinGroupRequest;
use protocol::messages::join_group_response::JoinGroupResponse;
use tokio::time::Instant;

use super::group::{ClassicGroup, Member, State, millis};
use crate::broker::groups::{Client, Reply};
use crate::broker::random::Random;

/// A first join can't heartbeat yet, as it doesn't know its member id: Kafka gives it this long.
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// One JoinGroup request on its way.
pub(crate) struct Joining<'a> {
    pub(crate) request: JoinGroupRequest,
    pub(crate) version: i16,
    pub(crate) client: Client<'a>,
    pub(crate) reply: Reply<JoinGroupResponse>,
}

impl Joining<'_> {
    fn protocols(&self) -> Vec<(String, Bytes)> {
        protocols(&self.request)
    }

    fn refuse(self, error: ErrorCode) {
        refuse(self.reply, self.request.member_id, error);
    }

    fn member(&self) -> Member {
        let session_timeout = millis(self.request.session_timeout_ms);
        let rebalance_timeout = match self.request.rebalance_timeout_ms {
            // Version 0 has no timeout of its own for rebalances.
            -1 => session_timeout,
            timeout_ms => millis(timeout_ms),
        };
        Member {
            client_id: self.client.id.to_owned(),
            client_host: self.client.host.to_owned(),
            instance_id: self.request.group_instance_id.clone(),
            rebalance_timeout,
            session_timeout,
            protocols: self.protocols(),
            assignment: Bytes::new(),
            deadline: None,
            join: None,
            sync: None,
        }
    }
}

/// The assignors that a join offers, each with what it tells the leader.
pub(crate) fn protocols(request: &JoinGroupRequest) -> Vec<(String, Bytes)> {
    let protocols = request.protocols.iter();
    protocols
        .map(|protocol| (protocol.name.clone(), protocol.metadata.clone()))
        .collect()
}

/// Answers a join with an error.
pub(crate) fn refuse(reply: Reply<JoinGroupResponse>, member_id: String, error: ErrorCode) {
    let _ = reply.send(failed(member_id, error));
}

pub(crate) fn failed(member_id: String, error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error,
        member_id,
        protocol_name: Some(String::new()),
        ..Default::default()
    }
}

impl ClassicGroup {
    pub(crate) fn join(&mut self, joining: Joining<'_>, now: Instant, random: &mut Random) {
        if !self.supports(&joining.request.protocol_type, &joining.protocols()) {
            return joining.refuse(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if joining.request.member_id.is_empty() {
            self.join_new(joining, now, random);
        } else {
            self.join_again(joining, now);
        }
    }

    fn join_new(&mut self, joining: Joining<'_>, now: Instant, random: &mut Random) {
        let request = &joining.request;
        let prefix = request
            .group_instance_id
            .as_deref()
            .unwrap_or(joining.client.id);
        let member_id = format!("{prefix}-{}", uuid_text(random));
        let known_static = request
            .group_instance_id
            .as_ref()
            .and_then(|id| self.static_members.get(id))
            .cloned();
        if let Some(old_id) = known_static {
            return self.replace_static(joining, &old_id, member_id, now);
        }
        if joining.version >= 4 && request.group_instance_id.is_none() {
            self.pending
                .insert(member_id.clone(), now + millis(request.session_timeout_ms));
            return refuse(joining.reply, member_id, ErrorCode::MEMBER_ID_REQUIRED);
        }
        self.add(joining, member_id, now);
    }

    fn join_again(&mut self, joining: Joining<'_>, now: Instant) {
        let member_id = joining.request.member_id.clone();
        if joining.request.group_instance_id.is_none() && self.pending.contains_key(&member_id) {
            return self.add(joining, member_id, now);
        }
        if let Err(error) =
            self.check_member(&member_id, joining.request.group_instance_id.as_deref())
        {
            return joining.refuse(error);
        }
        let unchanged = self
            .members
            .get(&member_id)
            .is_some_and(|member| member.protocols == joining.protocols());
        let is_leader = self.leader.as_ref() == Some(&member_id);
        let answer_now = match self.state {
            // It did not get its answer: give it again.
            State::CompletingRebalance => unchanged,
            // A leader asks because it has seen that the assignment has to change.
            State::Stable => unchanged && !is_leader,
            State::PreparingRebalance | State::Empty => false,
        };
        if answer_now {
            self.touch(&member_id, now);
            let _ = joining.reply.send(self.joined(&member_id));
            return;
        }
        let updated = joining.member();
        if let Some(member) = self.members.get_mut(&member_id) {
            member.protocols = updated.protocols;
            member.rebalance_timeout = updated.rebalance_timeout;
            member.session_timeout = updated.session_timeout;
            member.join = Some(joining.reply);
        }
        self.membership_changed(now);
        self.pause_if_waiting(&member_id);
    }

    fn add(&mut self, joining: Joining<'_>, member_id: String, now: Instant) {
        self.note_new_member();
        self.pending.remove(&member_id);
        if self.members.is_empty() {
            self.protocol_type = Some(joining.request.protocol_type.clone());
        }
        let mut member = joining.member();
        if let Some(instance_id) = &member.instance_id {
            self.static_members
                .insert(instance_id.clone(), member_id.clone());
        }
        member.join = Some(joining.reply);
        member.deadline = Some(now + NEW_MEMBER_TIMEOUT);
        self.leader.get_or_insert_with(|| member_id.clone());
        self.members.insert(member_id, member);
        self.membership_changed(now);
    }

    /// A static member was restarted: it takes the place of what it was before, without a rebalance when nothing else changed.
    fn replace_static(&mut self, joining: Joining<'_>, old_id: &str, new_id: String, now: Instant) {
        let Some(old) = self.members.remove(old_id) else {
            return joining.refuse(ErrorCode::UNKNOWN_MEMBER_ID);
        };
        let was_leader = self.leader.as_deref() == Some(old_id);
        let leader_before = self.leader.clone().unwrap_or_default();
        if was_leader {
            self.leader = Some(new_id.clone());
        }
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(new_id.clone());
        }
        let mut member = joining.member();
        member.assignment = old.assignment.clone();
        member.deadline = Some(now + member.session_timeout);
        old.dismiss(old_id, ErrorCode::FENCED_INSTANCE_ID);
        if let Some(instance_id) = &member.instance_id {
            self.static_members
                .insert(instance_id.clone(), new_id.clone());
        }
        self.members.insert(new_id.clone(), member);
        if self.state == State::Stable && self.protocol == self.select_protocol() {
            let skips_assignment = was_leader && joining.version >= 9;
            let _ = joining.reply.send(JoinGroupResponse {
                // Without KIP-814 the restarted leader is told of its old self, so that it doesn't assign.
                leader: if skips_assignment {
                    new_id.clone()
                } else {
                    leader_before
                },
                skip_assignment: skips_assignment,
                members: if skips_assignment {
                    self.listed_members()
                } else {
                    Vec::new()
                },
                ..self.joined(&new_id)
            });
            return;
        }
        if let Some(member) = self.members.get_mut(&new_id) {
            member.join = Some(joining.reply);
        }
        self.membership_changed(now);
        self.pause_if_waiting(&new_id);
    }

    /// While a member waits for others its session can't run out.
    fn pause_if_waiting(&mut self, member_id: &str) {
        if let Some(member) = self
            .members
            .get_mut(member_id)
            .filter(|member| member.join.is_some())
        {
            member.deadline = None;
        }
    }
}

/// A random id as Java writes UUIDs.
pub(crate) fn uuid_text(random: &mut Random) -> String {
    let bits = u128::from_be_bytes(random.uuid().0);
    let part = |shift: u32, digits: u32| (bits >> shift) & ((1 << (4 * digits)) - 1);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        part(96, 8),
        part(80, 4),
        part(64, 4),
        part(48, 4),
        part(0, 12)
    )
}
