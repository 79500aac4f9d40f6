//! A member's part in the share group protocol.
//!
//! In: responses of the coordinator, what is known of topics, polls of the application, the time. Out: what to send next, what is assigned, and
//! errors. Sends nothing itself. When it heartbeats, and whether an answer can be, `group/heartbeats.rs` says.
//!
//! An assignment is taken over as it comes: no other member waits for what this one gives up, as a partition may be several members' at once.
//! What was acquired of a partition that goes is acknowledged all the same.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::ApiKey;
use protocol::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use tokio::time::Instant;

use crate::kafka::group::heartbeats::{self, Heard, Heartbeats, IdPartition, JOIN_EPOCH, State};
use crate::kafka::group::member::MembershipConfig;
use crate::kafka::group::missing_topics::{MissingTopics, TopicStatus};
use crate::kafka::{Address, Error, ErrorKind, Result};

/// One member.
pub(crate) struct ShareMembership {
    /// A heartbeat says which topics the member wants.
    heartbeats: Heartbeats<Vec<String>>,
    topics: Vec<String>,
    assigned: BTreeSet<IdPartition>,
}

/// What to do next.
pub(crate) type Action = heartbeats::Action<ShareGroupHeartbeatRequest>;

impl ShareMembership {
    /// A member of this id that wants these topics.
    pub fn new(
        config: MembershipConfig,
        member_id: String,
        topics: Vec<String>,
        now: Instant,
    ) -> Self {
        let api = ApiKey::SHARE_GROUP_HEARTBEAT;
        Self {
            heartbeats: Heartbeats::new(api, explained, config, member_id, now),
            topics,
            assigned: BTreeSet::new(),
        }
    }

    /// The member's id, which it makes itself and keeps.
    pub fn member_id(&self) -> &str {
        &self.heartbeats.member_id
    }

    /// What is assigned now.
    pub fn assigned(&self) -> &BTreeSet<IdPartition> {
        &self.assigned
    }

    /// The application polled. Whether that makes a stale member rejoin.
    pub fn polled(&mut self, now: Instant) -> bool {
        self.heartbeats.polled(true, now)
    }

    /// Whether the application has to poll before the member rejoins.
    pub fn is_stale(&self) -> bool {
        self.heartbeats.state == State::Stale
    }

    /// Subscribes to something else.
    pub fn resubscribe(&mut self, topics: Vec<String>) {
        self.topics = topics;
    }

    /// What is known of topics: `is_known` by id, `status` by name. `pause` says when to ask for what is not.
    pub fn on_metadata(
        &mut self,
        is_known: impl Fn(&IdPartition) -> bool,
        status: impl Fn(&str) -> TopicStatus,
        now: Instant,
        pause: impl Fn(u32) -> Duration,
    ) {
        let unknown = self.assigned.iter().filter(|it| !is_known(it));
        let unknown = unknown.map(|(id, _)| *id).collect();
        self.heartbeats.unknown.update(&unknown, now, &pause);
        let missing = &mut self.heartbeats.missing_topics;
        missing.update(&self.topics, false, status, now, pause);
    }

    /// Subscribed topics that are not there.
    pub fn missing_topics(&mut self) -> &mut MissingTopics {
        &mut self.heartbeats.missing_topics
    }

    /// What to do now. A request that it returns counts as sent.
    pub fn next_action(&mut self, now: Instant) -> Action {
        let instead = self.heartbeats.instead(&self.topics, now);
        if let Some(Action::FindTopics(_)) = &instead {
            // Coordinators repeat what they have assigned to whoever begins again, which costs a member nothing.
            self.heartbeats.epoch = JOIN_EPOCH;
        }
        instead.unwrap_or_else(|| self.heartbeat(now))
    }

    fn heartbeat(&mut self, now: Instant) -> Action {
        let told = self.heartbeats.say(self.topics.clone(), now);
        let mut request = self.request(self.heartbeats.epoch);
        if told.is_none() {
            let rack = &self.heartbeats.config.rack;
            request.rack_id.clone_from(rack);
        }
        if told.as_ref() != Some(&self.topics) {
            request.subscribed_topic_names = Some(self.topics.clone());
        }
        Action::Heartbeat(request)
    }

    fn request(&self, member_epoch: i32) -> ShareGroupHeartbeatRequest {
        ShareGroupHeartbeatRequest {
            group_id: self.heartbeats.config.group_id.clone(),
            member_id: self.heartbeats.member_id.clone(),
            member_epoch,
            ..Default::default()
        }
    }

    /// By when a heartbeat that is sent now must be answered.
    pub fn heartbeat_deadline(&self, now: Instant) -> Instant {
        self.heartbeats.deadline(now)
    }

    /// What became of a heartbeat.
    pub fn on_response(
        &mut self,
        answer: Result<ShareGroupHeartbeatResponse>,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        match self.heartbeats.hear(answer, now, pause) {
            Heard::Member(Some(assigned)) => self.assigned = assigned,
            Heard::PutOut(at) => {
                self.assigned.clear();
                self.heartbeats.rejoin(at);
            }
            // No member of a share group has an instance id that another could take.
            Heard::Nothing | Heard::Member(None) | Heard::Replaced(_) => {}
        }
    }

    /// Notes who the coordinator is, for errors to name.
    pub fn set_coordinator(&mut self, node: i32, address: &Address) {
        self.heartbeats.set_coordinator(node, address);
    }

    /// The request to leave because the application has not polled for `max.poll.interval.ms`; once until it polls.
    pub fn leave_if_stale(&mut self, now: Instant) -> Option<ShareGroupHeartbeatRequest> {
        let is_late = self.heartbeats.is_late(now);
        is_late.then(|| self.leave_as(State::Stale)).flatten()
    }

    /// The request to leave for good; none where there is nothing to leave.
    pub fn leave(&mut self) -> Option<ShareGroupHeartbeatRequest> {
        self.leave_as(State::Ended)
    }

    fn leave_as(&mut self, state: State) -> Option<ShareGroupHeartbeatRequest> {
        let epoch = self.heartbeats.leave(state);
        self.assigned.clear();
        epoch.map(|epoch| self.request(epoch))
    }

    /// What the application must be told: what has been failing for the request timeout, and topics that are missing, or assigned though nobody
    /// knows them, once each.
    pub fn error(&mut self, now: Instant) -> Option<Error> {
        self.heartbeats.error(now)
    }
}

/// Names the feature that `error` is about.
fn explained(error: Error, _joins: bool) -> Error {
    if error.kind() != ErrorKind::UnsupportedVersion {
        return error;
    }
    let message = "the broker has no share groups (KIP-932, Kafka 4.2 and later, with the feature share.version = 1): upgrade it or set that feature, or consume with a Consumer";
    let named = Error::new(ErrorKind::UnsupportedVersion, message).because(error);
    named.api(ApiKey::SHARE_GROUP_HEARTBEAT).not_the_end()
}

#[cfg(test)]
mod tests;
