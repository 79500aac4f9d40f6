//! SyncGroup, Heartbeat and LeaveGroup: what members do between two rebalances.

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::sync_group_response::SyncGroupResponse;
use protocol::messages::{HeartbeatRequest, SyncGroupRequest};
use tokio::time::Instant;

use super::group::{ClassicGroup, State};
use crate::broker::groups::Reply;

/// Answers a sync with an error.
pub(crate) fn refuse_sync(reply: Reply<SyncGroupResponse>, error: ErrorCode) {
    let _ = reply.send(failed_sync(error));
}

pub(crate) fn failed_sync(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: error,
        ..Default::default()
    }
}

impl ClassicGroup {
    pub(crate) fn sync(
        &mut self,
        request: SyncGroupRequest,
        reply: Reply<SyncGroupResponse>,
        now: Instant,
    ) {
        if let Err(error) = self.check_sync(&request) {
            return refuse_sync(reply, error);
        }
        match self.state {
            State::Empty => return refuse_sync(reply, ErrorCode::UNKNOWN_MEMBER_ID),
            State::PreparingRebalance => {
                return refuse_sync(reply, ErrorCode::REBALANCE_IN_PROGRESS);
            }
            State::CompletingRebalance | State::Stable => {}
        }
        self.synced(&request.member_id);
        if let Some(member) = self.members.get_mut(&request.member_id) {
            member.sync = Some(reply);
            member.deadline = None;
        }
        if self.state == State::CompletingRebalance {
            if self.leader.as_ref() != Some(&request.member_id) {
                return;
            }
            // Until here each has what it had: a group that changes over in between goes by that.
            for member in self.members.values_mut() {
                member.assignment = Bytes::new();
            }
            for assigned in request.assignments {
                if let Some(member) = self.members.get_mut(&assigned.member_id) {
                    member.assignment = assigned.assignment;
                }
            }
            self.state = State::Stable;
        }
        self.finish_syncs(ErrorCode::NONE, now);
    }

    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        self.check_generation(request.generation_id)?;
        let differs =
            |ours: &Option<String>, theirs: &Option<String>| theirs.is_some() && ours != theirs;
        if differs(&self.protocol_type, &request.protocol_type)
            || differs(&self.protocol, &request.protocol_name)
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        Ok(())
    }

    pub(crate) fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        self.check_generation(request.generation_id)?;
        match self.state {
            State::Empty => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            State::PreparingRebalance => {
                self.touch(&request.member_id, now);
                Err(ErrorCode::REBALANCE_IN_PROGRESS)
            }
            State::CompletingRebalance | State::Stable => {
                self.touch(&request.member_id, now);
                Ok(())
            }
        }
    }

    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        if self.pending.remove(member_id).is_some() {
            self.complete_join_if_all_joined(now);
            return Ok(());
        }
        let leaving = match instance_id {
            Some(instance_id) if member_id.is_empty() => self
                .static_members
                .get(instance_id)
                .cloned()
                .ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?,
            _ => member_id.to_owned(),
        };
        self.check_member(&leaving, instance_id)?;
        self.remove(&leaving);
        self.membership_changed(now);
        Ok(())
    }

    /// The member is alive: its session begins anew, unless it waits for us anyway.
    pub(crate) fn touch(&mut self, member_id: &str, now: Instant) {
        if let Some(member) = self.members.get_mut(member_id)
            && member.join.is_none()
            && member.sync.is_none()
        {
            member.deadline = Some(now + member.session_timeout);
        }
    }

    pub(crate) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(current) if current != member_id => return Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UNKNOWN_MEMBER_ID)
        }
    }

    pub(crate) fn check_generation(&self, generation: i32) -> Result<(), ErrorCode> {
        if generation == self.generation {
            Ok(())
        } else {
            Err(ErrorCode::ILLEGAL_GENERATION)
        }
    }
}
