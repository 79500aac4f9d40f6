//! What the member asks of the coordinator.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use protocol::ApiKey;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use tokio::time::Instant;

use super::{Action, Membership, PROTOCOL_TYPE, State};
use crate::kafka::Result;
use crate::kafka::group::classic::consumer_protocol::{self, Subscription};
use crate::kafka::group::classic::response_checks::Wanted;

impl Membership {
    /// What a join offers.
    pub(super) fn offered(&self) -> Wanted<'_> {
        Wanted {
            protocol_type: PROTOCOL_TYPE,
            protocol_names: self.assignors.iter().map(|it| it.name()).collect(),
        }
    }

    /// What a sync must be about.
    pub(super) fn wanted(&self) -> Wanted<'_> {
        Wanted {
            protocol_type: PROTOCOL_TYPE,
            protocol_names: vec![self.assignor().name()],
        }
    }

    pub(super) fn join(&mut self, now: Instant) -> Action {
        let (assigned, generation) = &self.last_assignment;
        let owned = self.duties.held();
        self.claimed.clone_from(&owned);
        let protocols = self.assignors.iter().map(|assignor| {
            let subscription = Subscription {
                topics: self.topics.clone(),
                user_data: assignor.user_data(assigned, *generation),
                owned: owned.iter().cloned().collect(),
                generation: self.generation,
                rack: self.config.rack.clone(),
            };
            Ok(JoinGroupRequestProtocol {
                name: assignor.name().to_string(),
                metadata: consumer_protocol::encode_subscription(subscription)?,
                ..Default::default()
            })
        });
        let protocols = match protocols.collect::<Result<Vec<_>>>() {
            Ok(protocols) => protocols,
            Err(error) => {
                // This fails until other topics are subscribed to.
                let pause = self.config.heartbeat_interval;
                let join_at = self.failures.failed(error, now, |_| pause);
                self.state = State::Unjoined { join_at };
                return Action::Wait(Some(join_at));
            }
        };
        self.failures.sent(ApiKey::JOIN_GROUP, now, now);
        self.joined_topics.clone_from(&self.topics);
        self.state = State::Joining;
        Action::Join(JoinGroupRequest {
            group_id: self.config.group_id.clone(),
            session_timeout_ms: millis(self.config.session_timeout),
            rebalance_timeout_ms: millis(self.config.max_poll_interval),
            member_id: self.member_id.clone(),
            group_instance_id: self.config.instance_id.clone(),
            protocol_type: PROTOCOL_TYPE.to_string(),
            protocols,
            ..Default::default()
        })
    }

    pub(super) fn sync(&mut self, assignments: BTreeMap<String, Bytes>) -> Action {
        self.state = State::AwaitingSync;
        let assignments = assignments
            .into_iter()
            .map(|(member_id, assignment)| SyncGroupRequestAssignment {
                member_id,
                assignment,
                ..Default::default()
            })
            .collect();
        Action::Sync(SyncGroupRequest {
            group_id: self.config.group_id.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.config.instance_id.clone(),
            protocol_type: Some(PROTOCOL_TYPE.to_string()),
            protocol_name: Some(self.assignor().name().to_string()),
            assignments,
            ..Default::default()
        })
    }

    pub(super) fn heartbeat(&mut self, now: Instant) -> Action {
        if now < self.next_heartbeat {
            let poll_limit = self.last_poll + self.config.max_poll_interval;
            return Action::Wait(Some(self.next_heartbeat.min(poll_limit)));
        }
        // A heartbeat is the first to notice that the coordinator has been silent since the one before.
        let silent = self
            .config
            .heartbeat_interval
            .min(self.config.request_timeout / 2);
        let silent_since = now.checked_sub(silent).unwrap_or(now);
        self.failures.sent(ApiKey::HEARTBEAT, silent_since, now);
        self.next_heartbeat = now + self.config.heartbeat_interval;
        Action::Heartbeat(HeartbeatRequest {
            group_id: self.config.group_id.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.config.instance_id.clone(),
            ..Default::default()
        })
    }

    /// By when a heartbeat that is sent now must be answered: within the session, but never before the next one is due.
    pub fn heartbeat_deadline(&self, now: Instant) -> Instant {
        self.session_end()
            .max(now + self.config.heartbeat_interval)
            .min(now + self.config.request_timeout)
    }

    /// Until then the coordinator counts it as a member, though it should hear nothing more of it.
    pub(super) fn session_end(&self) -> Instant {
        self.session_start + self.config.session_timeout
    }

    pub(super) fn leave_request(&self, reason: &str) -> Option<LeaveGroupRequest> {
        if self.member_id.is_empty() || self.config.instance_id.is_some() {
            return None;
        }
        Some(LeaveGroupRequest {
            group_id: self.config.group_id.clone(),
            member_id: self.member_id.clone(),
            members: vec![MemberIdentity {
                member_id: self.member_id.clone(),
                reason: Some(reason.to_string()),
                ..Default::default()
            }],
            ..Default::default()
        })
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
