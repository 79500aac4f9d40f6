//! A member's part in the share group protocol.
//!
//! In: responses of the coordinator, what is known of topics, polls of the application, the time. Out: what to send next, what is assigned, and
//! errors. Sends nothing itself.
//!
//! ```text
//!   Joining ──epoch──> Member ──fenced──> Joining
//! ```
//!
//! An assignment is taken over as it comes: no other member waits for what this one gives up, as a partition may be several members' at once.
//! What was acquired of a partition that goes is acknowledged all the same.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::time::Instant;

use super::IdPartition;
use crate::kafka::group::failure_tracker::FailureTracker;
use crate::kafka::group::member::MembershipConfig;
use crate::kafka::group::missing_topics::{MissingTopics, TopicStatus};
use crate::kafka::{Address, Error, ErrorKind, Result};

/// The epoch of a request that joins, and the one by which a member leaves.
const JOIN_EPOCH: i32 = 0;
const LEAVE_EPOCH: i32 = -1;
/// Heartbeats before the coordinator has said how often it wants them.
const FIRST_INTERVAL: Duration = Duration::from_secs(5);
/// The least and the longest that is believed of what it says: Kafka's own limit for the longest.
const INTERVALS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(15)];
/// One of so many heartbeats names all topics, so that a misunderstanding about them ends with it.
const ALL_EVERY: u32 = 10;
/// The least time that a coordinator has for a response.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

/// One member.
pub(crate) struct ShareMembership {
    config: MembershipConfig,
    member_id: String,
    topics: Vec<String>,
    state: State,
    epoch: i32,
    assigned: BTreeSet<IdPartition>,
    /// The topics that the coordinator has heard of for certain.
    told: Option<Vec<String>>,
    /// The topics that the request names that awaits its response.
    telling: Option<Vec<String>>,
    interval: Duration,
    next_heartbeat: Instant,
    /// How many heartbeats were answered since one named all topics.
    answered: u32,
    /// News wait until then, since the last request failed.
    patient_until: Instant,
    last_poll: Instant,
    coordinator: Option<(i32, Address)>,
    missing_topics: MissingTopics,
    /// Topics of the assignment whose names are to be found, and when to ask for them.
    unknown: BTreeSet<Uuid>,
    asked: u32,
    ask_at: Option<Instant>,
    failures: FailureTracker,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Not in the group; joins at this time.
    Joining {
        at: Instant,
    },
    Member,
    /// Left the group because the application did not poll; joins when it does.
    Stale,
    /// Left for good.
    Ended,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    Heartbeat(ShareGroupHeartbeatRequest),
    /// Find the topics of these ids.
    FindTopics(Vec<Uuid>),
    /// Nothing, until something changes or until this time.
    Wait(Option<Instant>),
    /// Nothing any more.
    End,
}

impl ShareMembership {
    /// A member of this id that wants these topics.
    pub fn new(
        config: MembershipConfig,
        member_id: String,
        topics: Vec<String>,
        now: Instant,
    ) -> Self {
        Self {
            failures: FailureTracker::new(config.request_timeout),
            config,
            member_id,
            topics,
            state: State::Joining { at: now },
            epoch: JOIN_EPOCH,
            assigned: BTreeSet::new(),
            told: None,
            telling: None,
            interval: FIRST_INTERVAL,
            next_heartbeat: now,
            answered: 0,
            patient_until: now,
            last_poll: now,
            coordinator: None,
            missing_topics: MissingTopics::default(),
            unknown: BTreeSet::new(),
            asked: 0,
            ask_at: None,
        }
    }

    /// The member's id, which it makes itself and keeps.
    pub fn member_id(&self) -> &str {
        &self.member_id
    }

    /// What is assigned now.
    pub fn assigned(&self) -> &BTreeSet<IdPartition> {
        &self.assigned
    }

    /// The application polled. Whether that makes a stale member rejoin.
    pub fn polled(&mut self, now: Instant) -> bool {
        self.last_poll = now;
        let wakes = self.state == State::Stale;
        if wakes {
            self.state = State::Joining { at: now };
        }
        wakes
    }

    /// Whether the application has to poll before the member rejoins.
    pub fn is_stale(&self) -> bool {
        self.state == State::Stale
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
        self.unknown = unknown.map(|(id, _)| *id).collect();
        if self.unknown.is_empty() {
            (self.asked, self.ask_at) = (0, None);
        } else if self.ask_at.is_none() {
            self.ask_at = Some(match self.asked {
                0 => now,
                asked => now + pause(asked),
            });
        }
        self.missing_topics
            .update(&self.topics, false, status, now, pause);
    }

    /// Subscribed topics that are not there.
    pub fn missing_topics(&mut self) -> &mut MissingTopics {
        &mut self.missing_topics
    }

    /// What to do now. A request that it returns counts as sent.
    pub fn next_action(&mut self, now: Instant) -> Action {
        match self.state {
            State::Joining { at } if at > now => Action::Wait(Some(at)),
            State::Joining { .. } => self.heartbeat(now),
            State::Member => {
                let has_news = self.told.as_ref() != Some(&self.topics);
                let news_at = has_news.then_some(self.patient_until);
                let due = news_at.map_or(self.next_heartbeat, |at| at.min(self.next_heartbeat));
                if due <= now {
                    return self.heartbeat(now);
                }
                if self.ask_at.take_if(|at| *at <= now).is_some() {
                    self.asked = self.asked.saturating_add(1);
                    return Action::FindTopics(self.unknown.iter().copied().collect());
                }
                let poll_limit = self.last_poll + self.config.max_poll_interval;
                let wakes = [due, poll_limit].into_iter().chain(self.ask_at);
                Action::Wait(wakes.min())
            }
            State::Stale => Action::Wait(None),
            State::Ended => Action::End,
        }
    }

    fn heartbeat(&mut self, now: Instant) -> Action {
        self.failures.sent(ApiKey::SHARE_GROUP_HEARTBEAT, now, now);
        let is_known = self.epoch != JOIN_EPOCH && self.answered < ALL_EVERY;
        let told = self.told.as_ref().filter(|_| is_known);
        if told.is_none() {
            self.answered = 0;
        }
        let mut request = self.request(self.epoch);
        if told.is_none() {
            request.rack_id.clone_from(&self.config.rack);
        }
        if told != Some(&self.topics) {
            request.subscribed_topic_names = Some(self.topics.clone());
        }
        self.telling = Some(self.topics.clone());
        Action::Heartbeat(request)
    }

    fn request(&self, member_epoch: i32) -> ShareGroupHeartbeatRequest {
        ShareGroupHeartbeatRequest {
            group_id: self.config.group_id.clone(),
            member_id: self.member_id.clone(),
            member_epoch,
            ..Default::default()
        }
    }

    /// By when a heartbeat that is sent now must be answered: no coordinator waits before it answers one.
    pub fn heartbeat_deadline(&self, now: Instant) -> Instant {
        now + self
            .interval
            .max(LEAST_PATIENCE)
            .min(self.config.request_timeout)
    }

    /// What became of a heartbeat.
    pub fn on_response(
        &mut self,
        answer: Result<ShareGroupHeartbeatResponse>,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let telling = self.telling.take();
        if !matches!(self.state, State::Joining { .. } | State::Member) {
            return;
        }
        match answer {
            Ok(response) if response.error_code == ErrorCode::NONE => match self.check(&response) {
                Ok(assigned) => self.accepted(&response, assigned, telling, now),
                Err(error) => self.failed(self.named(error), now, pause),
            },
            Ok(response) => {
                let code = response.error_code;
                let error = self.refusal(code, response.error_message.as_deref());
                let is_out = match code {
                    ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID => true,
                    // Of a member it says that the group was deleted; of one that joins, that the group is none of this protocol.
                    ErrorCode::GROUP_ID_NOT_FOUND => self.state == State::Member,
                    _ => false,
                };
                match is_out {
                    true => self.fenced(error, now, pause),
                    false => self.failed(error, now, pause),
                }
            }
            Err(error) => {
                let error = match error.kind() {
                    ErrorKind::UnsupportedVersion => not_spoken(&error),
                    _ => error,
                };
                self.failed(error, now, pause);
            }
        }
    }

    fn accepted(
        &mut self,
        response: &ShareGroupHeartbeatResponse,
        assigned: Option<BTreeSet<IdPartition>>,
        telling: Option<Vec<String>>,
        now: Instant,
    ) {
        match self.state {
            // Only a member that stays one is over its failures.
            State::Member => self.failures.succeeded(),
            _ => self.failures.response_received(now),
        }
        let interval = u64::try_from(response.heartbeat_interval_ms).unwrap_or_default();
        let [least, longest] = INTERVALS;
        self.interval = Duration::from_millis(interval).clamp(least, longest);
        self.answered += 1;
        self.next_heartbeat = now + self.interval;
        if response.member_epoch == JOIN_EPOCH {
            // The group has not decided anything yet: it goes on joining.
            if self.state != State::Member {
                self.state = State::Joining {
                    at: self.next_heartbeat,
                };
            }
            return;
        }
        self.state = State::Member;
        self.epoch = response.member_epoch;
        self.told = telling;
        self.patient_until = now;
        if let Some(assigned) = assigned {
            self.assigned = assigned;
        }
    }

    /// Whether a response can be: what it assigns, if it says.
    fn check(
        &self,
        response: &ShareGroupHeartbeatResponse,
    ) -> Result<Option<BTreeSet<IdPartition>>> {
        let wrong = |what: String| {
            let message =
                format!("the coordinator answered with {what}: the member goes on as it was");
            let error = Error::new(ErrorKind::Protocol, message);
            Err(error.api(ApiKey::SHARE_GROUP_HEARTBEAT))
        };
        if response.member_epoch < 0 {
            return wrong(format!("the member epoch {}", response.member_epoch));
        }
        if response.heartbeat_interval_ms <= 0 {
            let interval = response.heartbeat_interval_ms;
            return wrong(format!("heartbeats every {interval} ms"));
        }
        if response
            .member_id
            .as_ref()
            .is_some_and(|id| *id != self.member_id)
        {
            return wrong("the id of another member".to_string());
        }
        let Some(assignment) = &response.assignment else {
            return Ok(None);
        };
        let mut assigned = BTreeSet::new();
        for topic in &assignment.topic_partitions {
            let id = topic.topic_id;
            for partition in &topic.partitions {
                if *partition < 0 || id == Uuid::ZERO || !assigned.insert((id, *partition)) {
                    return wrong(format!(
                        "an assignment with partition {partition} of topic {id}, which cannot be, or is in it twice"
                    ));
                }
            }
        }
        Ok(Some(assigned))
    }

    /// A heartbeat could not be sent, got no response, or was refused: the next one says everything. What is assigned is kept.
    fn failed(&mut self, error: Error, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.told = None;
        let again_at = self.failures.failed(error, now, pause);
        self.next_heartbeat = again_at;
        self.patient_until = again_at;
        if let State::Joining { at } = &mut self.state {
            *at = again_at;
        }
    }

    /// The group has put this member out: it joins again under its id: at once, unless that has just been tried.
    fn fenced(&mut self, error: Error, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        let at = self.failures.failed(error, now, |attempts| match attempts {
            1 => Duration::ZERO,
            _ => pause(attempts - 1),
        });
        self.forget();
        self.next_heartbeat = at;
        self.state = State::Joining { at };
    }

    fn forget(&mut self) {
        self.epoch = JOIN_EPOCH;
        self.told = None;
        self.assigned.clear();
        self.unknown.clear();
        self.ask_at = None;
    }

    /// The error for a code that the coordinator responded with.
    fn refusal(&self, code: ErrorCode, message: Option<&str>) -> Error {
        let error = Error::server(code, message).api(ApiKey::SHARE_GROUP_HEARTBEAT);
        let error = match code {
            ErrorCode::UNSUPPORTED_VERSION => not_spoken(&error),
            _ => error,
        };
        // Nothing ends a member, even where the error is fatal elsewhere.
        self.named(error).not_the_end()
    }

    /// Names the coordinator in `error`.
    fn named(&self, error: Error) -> Error {
        match &self.coordinator {
            Some((node, address)) => error.broker(*node, address),
            None => error,
        }
    }

    /// Notes who the coordinator is, for errors to name.
    pub fn set_coordinator(&mut self, node: i32, address: &Address) {
        self.coordinator = Some((node, address.clone()));
    }

    /// The request to leave because the application has not polled for `max.poll.interval.ms`; once until it polls.
    pub fn leave_if_stale(&mut self, now: Instant) -> Option<ShareGroupHeartbeatRequest> {
        let is_late = now.duration_since(self.last_poll) >= self.config.max_poll_interval;
        if self.state != State::Member || !is_late {
            return None;
        }
        self.state = State::Stale;
        self.forget();
        Some(self.request(LEAVE_EPOCH))
    }

    /// The request to leave for good; none where there is nothing to leave.
    pub fn leave(&mut self) -> Option<ShareGroupHeartbeatRequest> {
        // One that has sent a request to join may be a member without knowing.
        let may_be_member = self.telling.take().is_some() || self.state == State::Member;
        self.state = State::Ended;
        self.forget();
        may_be_member.then(|| self.request(LEAVE_EPOCH))
    }

    /// What the application must be told: what has been failing for the request timeout, and topics that are missing, once each.
    pub fn error(&mut self, now: Instant) -> Option<Error> {
        let timeout = self.config.request_timeout;
        let failing = self.failures.report(now);
        failing.or_else(|| self.missing_topics.report(now, timeout))
    }
}

/// The error of brokers that do not speak the protocol: it names the setting.
fn not_spoken(error: &Error) -> Error {
    let message = "the broker has no share groups (KIP-932, Kafka 4.2 and later, with the feature share.version = 1): upgrade it or set that feature, or consume with a Consumer";
    Error::new(ErrorKind::UnsupportedVersion, message)
        .because(error.clone())
        .api(ApiKey::SHARE_GROUP_HEARTBEAT)
        .tried_on()
}

#[cfg(test)]
mod tests;
