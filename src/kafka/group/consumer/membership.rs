//! A member's part in the consumer group protocol.
//!
//! In: responses of the coordinator, what is known of topics, polls of the application, the time. Out: what to send next, the duties of polls,
//! and errors. Sends nothing itself. When it heartbeats, and whether an answer can be, `group/heartbeats.rs` says.
//!
//! The member makes its id itself, and keeps it. Its epoch comes with each response, and commits carry it. A request says what has changed
//! since the last one that was answered; all of it when the member joins, or when it does not know what the coordinator has heard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::time::Instant;

use super::reconciliation::{KnownTopic, Reconciliation};
use crate::kafka::group::duty::{Duties, Duty};
use crate::kafka::group::group_metadata::GroupMetadata;
use crate::kafka::group::heartbeats::{self, Heard, Heartbeats, IdPartition, State};
use crate::kafka::group::member::{GroupMembership, MembershipConfig, Wanted, not_now};
use crate::kafka::group::missing_topics::{MissingTopics, TopicStatus};
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Address, Error, ErrorKind, Result, TopicId, TopicPartition};

/// One member.
pub(crate) struct Membership {
    heartbeats: Heartbeats<Told>,
    wanted: Wanted,
    /// Goes up whenever something is given up: what was read before belongs to an earlier one.
    tenure: i32,
    duties: Duties,
    reconciliation: Reconciliation,
    /// It does not join any more.
    is_leaving: bool,
    failure: Option<Error>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    wanted: Wanted,
    /// What it owns, or is about to: the coordinator gives nobody else what it says so of.
    claimed: BTreeSet<IdPartition>,
}

/// What to do next.
pub(crate) type Action = heartbeats::Action<ConsumerGroupHeartbeatRequest>;

impl Membership {
    /// A member of this id that wants this.
    pub fn new(config: MembershipConfig, member_id: String, wanted: Wanted, now: Instant) -> Self {
        let api = ApiKey::CONSUMER_GROUP_HEARTBEAT;
        Self {
            heartbeats: Heartbeats::new(api, explained, config, member_id, now),
            wanted,
            tenure: 0,
            duties: Duties::default(),
            reconciliation: Reconciliation::default(),
            is_leaving: false,
            failure: None,
        }
    }

    /// What is known of topics, by id: the application is assigned what can be, and `pause` says when to ask for what cannot.
    pub fn on_metadata(
        &mut self,
        topic: impl Fn(&Uuid) -> Option<KnownTopic>,
        status: impl Fn(&str) -> TopicStatus,
        now: Instant,
        pause: impl Fn(u32) -> Duration,
    ) {
        let heartbeats = &mut self.heartbeats;
        if heartbeats.state == State::Member {
            self.reconciliation.advance(&mut self.duties, topic);
        }
        let unknown = self.reconciliation.unknown();
        heartbeats.unknown.update(unknown, now, &pause);
        let topics = &self.wanted.topics;
        let missing = &mut heartbeats.missing_topics;
        missing.update(topics, false, status, now, pause);
    }

    /// What to do now. A request that it returns counts as sent.
    pub fn next_action(&mut self, now: Instant) -> Action {
        let joins = matches!(self.heartbeats.state, State::Joining { .. });
        if joins && self.is_leaving {
            self.heartbeats.state = State::Ended;
        }
        let telling = self.now_told();
        let instead = self.heartbeats.instead(&telling, now);
        instead.unwrap_or_else(|| self.heartbeat(telling, now))
    }

    fn now_told(&self) -> Told {
        Told {
            wanted: self.wanted.clone(),
            claimed: self.reconciliation.claimed(&self.duties),
        }
    }

    fn heartbeat(&mut self, telling: Told, now: Instant) -> Action {
        let told = self.heartbeats.say(telling.clone(), now);
        let wants_other = told.as_ref().is_none_or(|it| it.wanted != telling.wanted);
        let claims_other = told.as_ref().is_none_or(|it| it.claimed != telling.claimed);
        let mut request = self.request(self.heartbeats.epoch);
        if told.is_none() {
            let config = &self.heartbeats.config;
            request.rack_id.clone_from(&config.rack);
            request.rebalance_timeout_ms = millis(config.max_poll_interval);
            request.server_assignor.clone_from(&config.remote_assignor);
        }
        if wants_other {
            request.subscribed_topic_names = Some(telling.wanted.topics);
            let before = told.is_some_and(|told| told.wanted.pattern.is_some());
            let none = || before.then(String::new);
            request.subscribed_topic_regex = telling.wanted.pattern.or_else(none);
        }
        if claims_other {
            let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
            for (id, partition) in &telling.claimed {
                topics.entry(*id).or_default().push(*partition);
            }
            let topics = topics
                .into_iter()
                .map(|(topic_id, partitions)| TopicPartitions {
                    topic_id,
                    partitions,
                    ..Default::default()
                });
            request.topic_partitions = Some(topics.collect());
        }
        #[cfg(planted_defects)]
        if request.member_epoch == heartbeats::JOIN_EPOCH
            && planted::is_planted(planted::Defect::FencedKeepsPartitions)
        {
            request.topic_partitions = Some(Vec::new());
        }
        Action::Heartbeat(request)
    }

    fn request(&self, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
        let config = &self.heartbeats.config;
        ConsumerGroupHeartbeatRequest {
            group_id: config.group_id.clone(),
            member_id: self.heartbeats.member_id.clone(),
            member_epoch,
            instance_id: config.instance_id.clone(),
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
        answer: Result<ConsumerGroupHeartbeatResponse>,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let heard = self.heartbeats.hear(answer, now, pause);
        self.duties.set_heard(matches!(heard, Heard::Member(_)));
        match heard {
            Heard::Nothing | Heard::Member(None) => {}
            Heard::Member(Some(assigned)) => self.reconciliation.assign(assigned),
            Heard::PutOut(at) => self.fenced(at),
            Heard::Replaced(error) => {
                self.failure = Some(error);
                self.leave_as(State::Ended);
            }
        }
    }

    /// The group has put this member out: it gives up everything, which others may own already, and joins again under its id.
    fn fenced(&mut self, at: Instant) {
        self.heartbeats.rejoin(at);
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::FencedKeepsPartitions) {
            return;
        }
        self.lose_all();
        if self.duties.is_giving_up() {
            self.heartbeats.state = State::Fenced;
        }
    }

    fn lose_all(&mut self) {
        self.tenure = self.tenure.wrapping_add(1);
        self.reconciliation.forget();
        self.duties.lose_all();
    }

    /// Notes who the coordinator is, for errors to name.
    pub fn set_coordinator(&mut self, node: i32, address: &Address) {
        self.heartbeats.set_coordinator(node, address);
    }

    /// Whether the application does not own yet what was assigned, or something else still.
    pub fn is_reconciling(&self) -> bool {
        self.heartbeats.state == State::Member && !self.reconciliation.is_done(&self.duties)
    }

    /// The request to leave because the application has not polled for `max.poll.interval.ms`; once until it polls.
    pub fn leave_if_stale(&mut self, now: Instant) -> Option<ConsumerGroupHeartbeatRequest> {
        let is_late = self.heartbeats.is_late(now);
        is_late.then(|| self.leave_as(State::Stale)).flatten()
    }

    /// The request to leave for good; none where there is nothing to leave.
    pub fn leave(&mut self) -> Option<ConsumerGroupHeartbeatRequest> {
        self.leave_as(State::Ended)
    }

    fn leave_as(&mut self, state: State) -> Option<ConsumerGroupHeartbeatRequest> {
        let epoch = self.heartbeats.leave(state);
        self.lose_all();
        epoch.map(|epoch| self.request(epoch))
    }

    /// Whether the application has to poll before the member rejoins.
    pub fn is_stale(&self) -> bool {
        self.heartbeats.state == State::Stale
    }

    /// Subscribed topics that are not there.
    pub fn missing_topics(&mut self) -> &mut MissingTopics {
        &mut self.heartbeats.missing_topics
    }
}

impl GroupMembership for Membership {
    fn polled(&mut self, now: Instant) -> bool {
        self.heartbeats.polled(!self.duties.is_giving_up(), now)
    }

    fn begin_duty(&mut self, _: Instant) -> Option<Duty> {
        self.duties.begin()
    }

    fn duty_done(&mut self, duty: &Duty, now: Instant) {
        self.duties.done(duty);
        if !matches!(duty, Duty::Assign(_)) {
            self.tenure = self.tenure.wrapping_add(1);
        }
        let waits = matches!(self.heartbeats.state, State::Fenced | State::Stale);
        if waits && !self.duties.is_giving_up() {
            self.heartbeats.given_up(now);
        }
    }

    fn has_lost(&self) -> bool {
        matches!(self.duties.first(), Some(Duty::Lost(_)))
    }

    fn will_leave(&mut self) {
        self.is_leaving = true;
    }

    /// It keeps its place, and can commit, as long as it owns anything.
    fn prepare_to_leave(&mut self) {}

    fn topic_of(&self, partition: &TopicPartition) -> Option<TopicId> {
        self.reconciliation.topic_of(partition)
    }

    fn resubscribe(&mut self, wanted: Wanted, _: Instant) {
        self.wanted = wanted;
    }

    fn group_metadata(&self) -> Result<GroupMetadata> {
        let heartbeats = &self.heartbeats;
        match heartbeats.state {
            State::Member => Ok(GroupMetadata {
                generation: heartbeats.epoch,
                tenure: self.tenure,
                member_id: heartbeats.member_id.clone(),
                instance_id: heartbeats.config.instance_id.clone(),
            }),
            _ => {
                let has_ended = heartbeats.state == State::Ended;
                let owns = !self.duties.owned().is_empty();
                Err(not_now(self.failure.as_ref(), has_ended, owns))
            }
        }
    }

    fn fetches_as(&self) -> Option<(String, i32)> {
        let heartbeats = &self.heartbeats;
        let is_member = heartbeats.state == State::Member;
        is_member.then(|| (heartbeats.member_id.clone(), heartbeats.epoch))
    }

    /// Says nothing for certain: the next heartbeat does.
    fn on_commit_error(&mut self, identity: &GroupMetadata, code: ErrorCode, now: Instant) {
        let is_about_members = matches!(
            code,
            ErrorCode::UNKNOWN_MEMBER_ID
                | ErrorCode::FENCED_MEMBER_EPOCH
                | ErrorCode::STALE_MEMBER_EPOCH
                | ErrorCode::FENCED_INSTANCE_ID
        );
        let heartbeats = &mut self.heartbeats;
        let is_now = heartbeats.epoch == identity.generation;
        if is_about_members && heartbeats.state == State::Member && is_now {
            heartbeats.soon(now);
        }
    }

    fn error(&mut self, now: Instant) -> Option<Error> {
        let failure = self.failure.clone();
        failure.or_else(|| self.heartbeats.error(now))
    }

    #[cfg(test)]
    fn post_duty(&mut self, duty: Duty) {
        self.duties.post(duty);
    }
}

/// Names the settings that `error` is about.
fn explained(error: Error, joins: bool) -> Error {
    let (kind, message) = match error.kind() {
        ErrorKind::UnsupportedVersion => (ErrorKind::UnsupportedVersion, NOT_SPOKEN),
        // Nobody else is told so who joins: a group that is not there is created.
        _ if joins && error.server_error() == Some(ErrorCode::GROUP_ID_NOT_FOUND) => {
            (ErrorKind::Config, STAYS_CLASSIC)
        }
        _ => return error,
    };
    let named = Error::new(kind, message).because(error);
    named.api(ApiKey::CONSUMER_GROUP_HEARTBEAT).not_the_end()
}

/// Of brokers that do not speak the protocol.
const NOT_SPOKEN: &str = "the broker does not have the consumer group protocol (KIP-848, Kafka 4.0 and later with the feature group.version = 1): set group.protocol to classic, or to auto";

/// Of a group that has members of the classic protocol and does not change over.
const STAYS_CLASSIC: &str = "the group has members of the classic protocol, and the brokers do not let it change over (group.consumer.migration.policy): set group.protocol to classic, or wait until it has no members";

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
