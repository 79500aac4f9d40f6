//! A member's part in the consumer group protocol.
//!
//! In: responses of the coordinator, what is known of topics, polls of the application, the time. Out: what to send next, the duties of polls,
//! and errors. Sends nothing itself.
//!
//! ```text
//!   Joining ──epoch──> Member ──fenced──> Fenced ──all given up──> Joining
//! ```
//!
//! The member makes its id itself, and keeps it. Its epoch comes with each response, and commits carry it. A request says what has changed
//! since the last one that was answered; all of it when the member joins, or when it does not know what the coordinator has heard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::time::Instant;

use super::reconciliation::{IdPartition, KnownTopic, Reconciliation};
use crate::kafka::group::duty::{Duties, Duty};
use crate::kafka::group::failure_tracker::FailureTracker;
use crate::kafka::group::group_metadata::GroupMetadata;
use crate::kafka::group::member::{GroupMembership, MembershipConfig, Wanted, not_now};
use crate::kafka::group::missing_topics::{MissingTopics, TopicStatus};
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Address, Error, ErrorKind, Result, TopicId, TopicPartition};

/// The epoch of a request that joins, and the one by which a member leaves: a static one for a while.
const JOIN_EPOCH: i32 = 0;
const LEAVE_EPOCH: i32 = -1;
const STATIC_LEAVE_EPOCH: i32 = -2;
/// Heartbeats before the coordinator has said how often it wants them.
const FIRST_INTERVAL: Duration = Duration::from_secs(5);
/// The least and the longest that is believed of what it says: Kafka's own limit for the longest.
const INTERVALS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(15)];
/// One of so many heartbeats says everything, so that the coordinator does as well: whatever one of the two has misunderstood ends with it.
const ALL_EVERY: u32 = 10;
/// The least time that a coordinator has for a response.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

/// One member.
pub(crate) struct Membership {
    config: MembershipConfig,
    member_id: String,
    wanted: Wanted,
    state: State,
    epoch: i32,
    /// Goes up whenever something is given up: what was read before belongs to an earlier one.
    tenure: i32,
    duties: Duties,
    reconciliation: Reconciliation,
    /// What the coordinator has heard of the member for certain.
    told: Option<Told>,
    /// What the request says that awaits its response.
    telling: Option<Told>,
    interval: Duration,
    next_heartbeat: Instant,
    /// How many heartbeats were answered since one said everything.
    answered: u32,
    /// News wait until then, since the last request failed.
    patient_until: Instant,
    last_poll: Instant,
    coordinator: Option<(i32, Address)>,
    missing_topics: MissingTopics,
    unknown: UnknownTopics,
    failures: FailureTracker,
    failure: Option<Error>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    wanted: Wanted,
    /// What it owns, or is about to: the coordinator gives nobody else what it says so of.
    claimed: BTreeSet<IdPartition>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Not in the group; joins at this time.
    Joining {
        at: Instant,
    },
    Member,
    /// Put out of the group; joins once the application has given up everything.
    Fenced,
    /// Left the group because the application did not poll; joins when it does.
    Stale,
    /// Left for good, or fenced by another member of the same instance id.
    Ended,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    Heartbeat(ConsumerGroupHeartbeatRequest),
    /// Find the topics of these ids.
    FindTopics(Vec<Uuid>),
    /// Nothing, until something changes or until this time.
    Wait(Option<Instant>),
    /// Nothing any more.
    End,
}

/// Topics of the assignment that nobody knows: since when, and when to ask for them.
#[derive(Debug, Default)]
struct UnknownTopics {
    since: Option<Instant>,
    asked: u32,
    ask_at: Option<Instant>,
    reported: Option<Instant>,
}

impl Membership {
    /// A member of this id that wants this.
    pub fn new(config: MembershipConfig, member_id: String, wanted: Wanted, now: Instant) -> Self {
        Self {
            failures: FailureTracker::new(config.request_timeout),
            config,
            member_id,
            wanted,
            state: State::Joining { at: now },
            epoch: JOIN_EPOCH,
            tenure: 0,
            duties: Duties::default(),
            reconciliation: Reconciliation::default(),
            told: None,
            telling: None,
            interval: FIRST_INTERVAL,
            next_heartbeat: now,
            answered: 0,
            patient_until: now,
            last_poll: now,
            coordinator: None,
            missing_topics: MissingTopics::default(),
            unknown: UnknownTopics::default(),
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
        if self.state == State::Member {
            self.reconciliation.advance(&mut self.duties, topic);
        }
        if self.reconciliation.unknown().is_empty() {
            self.unknown = UnknownTopics::default();
        } else if self.unknown.ask_at.is_none() {
            let unknown = &mut self.unknown;
            unknown.since.get_or_insert(now);
            unknown.ask_at = Some(match unknown.asked {
                0 => now,
                asked => now + pause(asked),
            });
        }
        let topics = &self.wanted.topics;
        self.missing_topics
            .update(topics, false, status, now, pause);
    }

    /// What to do now. A request that it returns counts as sent.
    pub fn next_action(&mut self, now: Instant) -> Action {
        match self.state {
            State::Joining { at } if at > now => Action::Wait(Some(at)),
            State::Joining { .. } => self.heartbeat(now),
            State::Member => {
                let news_at = self.has_news().then_some(self.patient_until);
                let due = news_at.into_iter().chain([self.next_heartbeat]).min();
                if due.is_some_and(|due| due <= now) {
                    return self.heartbeat(now);
                }
                let unknown = &mut self.unknown;
                if unknown.ask_at.take_if(|at| *at <= now).is_some() {
                    unknown.asked = unknown.asked.saturating_add(1);
                    // It may have been a bad answer.
                    self.told = None;
                    let ids = self.reconciliation.unknown().iter();
                    return Action::FindTopics(ids.copied().collect());
                }
                let poll_limit = self.last_poll + self.config.max_poll_interval;
                let wakes = due.into_iter().chain(unknown.ask_at).chain([poll_limit]);
                Action::Wait(wakes.min())
            }
            State::Fenced | State::Stale => Action::Wait(None),
            State::Ended => Action::End,
        }
    }

    /// Whether the coordinator has not heard what the member wants or owns.
    fn has_news(&self) -> bool {
        self.told.as_ref() != Some(&self.now_told())
    }

    fn now_told(&self) -> Told {
        Told {
            wanted: self.wanted.clone(),
            claimed: self.reconciliation.claimed(&self.duties),
        }
    }

    fn heartbeat(&mut self, now: Instant) -> Action {
        self.failures
            .sent(ApiKey::CONSUMER_GROUP_HEARTBEAT, now, now);
        let telling = self.now_told();
        let is_known = self.epoch != JOIN_EPOCH && self.answered < ALL_EVERY;
        let told = self.told.as_ref().filter(|_| is_known);
        let all = told.is_none();
        if all {
            self.answered = 0;
        }
        let wants_other = told.is_none_or(|told| told.wanted != telling.wanted);
        let claims_other = told.is_none_or(|told| told.claimed != telling.claimed);
        let mut request = self.request(self.epoch);
        if all {
            request.rack_id.clone_from(&self.config.rack);
            request.rebalance_timeout_ms = millis(self.config.max_poll_interval);
            request
                .server_assignor
                .clone_from(&self.config.remote_assignor);
        }
        if wants_other {
            request.subscribed_topic_names = Some(telling.wanted.topics.clone());
            let before = told.is_some_and(|told| told.wanted.pattern.is_some());
            let none = || before.then(String::new);
            request.subscribed_topic_regex = telling.wanted.pattern.clone().or_else(none);
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
        if self.epoch == JOIN_EPOCH && planted::is_planted(planted::Defect::FencedKeepsPartitions) {
            request.topic_partitions = Some(Vec::new());
        }
        self.telling = Some(telling);
        Action::Heartbeat(request)
    }

    fn request(&self, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: self.config.group_id.clone(),
            member_id: self.member_id.clone(),
            member_epoch,
            instance_id: self.config.instance_id.clone(),
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
        answer: Result<ConsumerGroupHeartbeatResponse>,
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
                match code {
                    // The last: while it was silent, the group went over to the classic protocol, or was deleted.
                    ErrorCode::FENCED_MEMBER_EPOCH
                    | ErrorCode::UNKNOWN_MEMBER_ID
                    | ErrorCode::GROUP_ID_NOT_FOUND => {
                        self.fenced(error, now, pause);
                    }
                    ErrorCode::FENCED_INSTANCE_ID if self.is_static() => self.fail(error),
                    _ => self.failed(error, now, pause),
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
        response: &ConsumerGroupHeartbeatResponse,
        assigned: Option<BTreeSet<IdPartition>>,
        telling: Option<Told>,
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
            // The group has not decided anything yet: it goes on joining, and says so when that lasts.
            let at = self.next_heartbeat;
            self.failures
                .failed(self.named(undecided()), now, |_| at - now);
            if self.state != State::Member {
                self.state = State::Joining { at };
            }
            return;
        }
        self.state = State::Member;
        self.epoch = response.member_epoch;
        self.told = telling;
        self.patient_until = now;
        if let Some(assigned) = assigned {
            self.reconciliation.assign(assigned);
        }
    }

    /// Whether a response can be: what it assigns, if it says.
    fn check(
        &self,
        response: &ConsumerGroupHeartbeatResponse,
    ) -> Result<Option<BTreeSet<IdPartition>>> {
        let wrong = |what: String| {
            let message =
                format!("the coordinator answered with {what}: the member goes on as it was");
            let error = Error::new(ErrorKind::Protocol, message);
            Err(error.api(ApiKey::CONSUMER_GROUP_HEARTBEAT))
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
            let is_joining = self.epoch == JOIN_EPOCH && response.member_epoch != JOIN_EPOCH;
            return match is_joining {
                true => wrong("no assignment to a member that joins".to_string()),
                false => Ok(None),
            };
        };
        let mut assigned = BTreeSet::new();
        for topic in &assignment.topic_partitions {
            let id = topic.topic_id;
            for partition in &topic.partitions {
                let named = || format!("an assignment with partition {partition} of topic {id}");
                if *partition < 0 || id == Uuid::ZERO {
                    return wrong(format!("{}, which cannot be", named()));
                }
                if !assigned.insert((id, *partition)) {
                    return wrong(format!("{}, which is in it twice", named()));
                }
            }
        }
        Ok(Some(assigned))
    }

    /// A heartbeat could not be sent, got no response, or was refused: the next one is sent early, and says everything. As long as nobody
    /// says that others own the partitions, they are kept.
    fn failed(&mut self, error: Error, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.told = None;
        let again_at = self.failures.failed(error, now, pause);
        self.next_heartbeat = again_at;
        self.patient_until = again_at;
        if let State::Joining { at } = &mut self.state {
            *at = again_at;
        }
    }

    /// The group has put this member out: it gives up everything, which others may own already, and joins again under its id: at once, unless
    /// that has just been tried.
    fn fenced(&mut self, error: Error, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        let at = self.failures.failed(error, now, |attempts| match attempts {
            1 => Duration::ZERO,
            _ => pause(attempts - 1),
        });
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::FencedKeepsPartitions) {
            (self.epoch, self.told) = (JOIN_EPOCH, None);
            self.state = State::Joining { at };
            return;
        }
        self.forget_epoch();
        self.next_heartbeat = at;
        self.state = match self.duties.is_giving_up() {
            true => State::Fenced,
            false => State::Joining { at },
        };
    }

    fn forget_epoch(&mut self) {
        self.epoch = JOIN_EPOCH;
        self.told = None;
        self.tenure = self.tenure.wrapping_add(1);
        self.reconciliation.forget();
        self.duties.lose_all();
    }

    fn fail(&mut self, error: Error) {
        self.forget_epoch();
        self.failure = Some(error);
        self.state = State::Ended;
    }

    /// The error for a code that the coordinator responded with.
    fn refusal(&self, code: ErrorCode, message: Option<&str>) -> Error {
        let error = Error::server(code, message).api(ApiKey::CONSUMER_GROUP_HEARTBEAT);
        let error = match code {
            ErrorCode::UNSUPPORTED_VERSION => not_spoken(&error),
            // Nobody else is told so who joins: a group that is not there is created.
            ErrorCode::GROUP_ID_NOT_FOUND if self.epoch == JOIN_EPOCH => stays_classic(&error),
            _ => error,
        };
        match code {
            ErrorCode::FENCED_INSTANCE_ID if self.is_static() => self.named(error),
            // Nothing else ends a member, even where the error is fatal elsewhere.
            _ => self.named(error).not_the_end(),
        }
    }

    /// Names the coordinator in `error`.
    fn named(&self, error: Error) -> Error {
        match &self.coordinator {
            Some((node, address)) => error.broker(*node, address),
            None => error,
        }
    }

    fn is_static(&self) -> bool {
        self.config.instance_id.is_some()
    }

    /// Notes who the coordinator is, for errors to name.
    pub fn set_coordinator(&mut self, node: i32, address: &Address) {
        self.coordinator = Some((node, address.clone()));
    }

    /// Whether the application does not own yet what was assigned, or something else still.
    pub fn is_reconciling(&self) -> bool {
        self.state == State::Member && !self.reconciliation.is_done(&self.duties)
    }

    /// The request to leave because the application has not polled for `max.poll.interval.ms`; once until it polls.
    pub fn leave_if_stale(&mut self, now: Instant) -> Option<ConsumerGroupHeartbeatRequest> {
        let is_late = now.duration_since(self.last_poll) >= self.config.max_poll_interval;
        if self.state != State::Member || !is_late {
            return None;
        }
        let leave = self.leave_request();
        self.state = State::Stale;
        self.forget_epoch();
        leave
    }

    /// The request to leave for good; none where there is nothing to leave.
    pub fn leave(&mut self) -> Option<ConsumerGroupHeartbeatRequest> {
        let leave = self.leave_request();
        self.state = State::Ended;
        self.forget_epoch();
        leave
    }

    /// A static member goes for a while: whoever comes with its instance id within the session gets what it had.
    fn leave_request(&self) -> Option<ConsumerGroupHeartbeatRequest> {
        // One that has sent a request to join may be a member without knowing.
        let may_be_member = self.state == State::Member || self.telling.is_some();
        may_be_member.then(|| {
            self.request(match self.is_static() {
                true => STATIC_LEAVE_EPOCH,
                false => LEAVE_EPOCH,
            })
        })
    }

    /// Whether the application has to poll before the member rejoins.
    pub fn is_stale(&self) -> bool {
        self.state == State::Stale
    }

    /// Subscribed topics that are not there.
    pub fn missing_topics(&mut self) -> &mut MissingTopics {
        &mut self.missing_topics
    }
}

impl GroupMembership for Membership {
    fn polled(&mut self, now: Instant) -> bool {
        self.last_poll = now;
        let wakes = self.state == State::Stale && !self.duties.is_giving_up();
        if wakes {
            self.state = State::Joining { at: now };
        }
        wakes
    }

    fn begin_duty(&mut self) -> Option<Duty> {
        self.duties.begin()
    }

    fn duty_done(&mut self, duty: &Duty, now: Instant) {
        self.duties.done(duty);
        if !matches!(duty, Duty::Assign(_)) {
            self.tenure = self.tenure.wrapping_add(1);
        }
        let waits = matches!(self.state, State::Fenced | State::Stale);
        if waits && !self.duties.is_giving_up() {
            let at = self.next_heartbeat.max(now);
            self.state = State::Joining { at };
        }
    }

    fn has_lost(&self) -> bool {
        matches!(self.duties.first(), Some(Duty::Lost(_)))
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
        match self.state {
            State::Member => Ok(GroupMetadata {
                generation: self.epoch,
                tenure: self.tenure,
                member_id: self.member_id.clone(),
                instance_id: self.config.instance_id.clone(),
            }),
            _ => {
                let has_ended = self.state == State::Ended;
                let owns = !self.duties.owned().is_empty();
                Err(not_now(self.failure.as_ref(), has_ended, owns))
            }
        }
    }

    fn fetches_as(&self) -> Option<(String, i32)> {
        (self.state == State::Member).then(|| (self.member_id.clone(), self.epoch))
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
        if is_about_members && self.state == State::Member && self.epoch == identity.generation {
            self.next_heartbeat = self.patient_until.max(now);
        }
    }

    fn error(&mut self, now: Instant) -> Option<Error> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        let timeout = self.config.request_timeout;
        let failing = self.failures.report(now);
        failing
            .or_else(|| self.missing_topics.report(now, timeout))
            .or_else(|| self.unknown_topics(now))
    }

    #[cfg(test)]
    fn post_duty(&mut self, duty: Duty) {
        self.duties.post(duty);
    }
}

impl Membership {
    /// Topics of the assignment that no broker has named for the request timeout, once in that time.
    fn unknown_topics(&mut self, now: Instant) -> Option<Error> {
        let since = self.unknown.reported.or(self.unknown.since)?;
        let id = self.reconciliation.unknown().first()?;
        if now.duration_since(since) < self.config.request_timeout {
            return None;
        }
        self.unknown.reported = Some(now);
        let message = format!(
            "the group's coordinator has assigned partitions of the topic with id {id}, which no broker has described: they will be read once one does"
        );
        let error = Error::new(ErrorKind::UnknownTopicOrPartition, message);
        Some(self.named(error.api(ApiKey::CONSUMER_GROUP_HEARTBEAT)))
    }
}

/// The error of brokers that do not speak the protocol: it names the setting.
fn not_spoken(error: &Error) -> Error {
    let message = "the broker does not have the consumer group protocol (KIP-848, Kafka 4.0 and later with the feature group.version = 1): set group.protocol to classic, or to auto";
    Error::new(ErrorKind::UnsupportedVersion, message)
        .because(error.clone())
        .api(ApiKey::CONSUMER_GROUP_HEARTBEAT)
        .tried_on()
}

/// The error of a coordinator that takes its time: assignments may be delayed, and put together (KIP-1263).
fn undecided() -> Error {
    let message = "the group's coordinator has not decided yet what the member is to read";
    Error::new(ErrorKind::Rebalance, message).api(ApiKey::CONSUMER_GROUP_HEARTBEAT)
}

/// The error of a group that has members of the classic protocol and does not change over: it names the settings.
fn stays_classic(error: &Error) -> Error {
    let message = "the group has members of the classic protocol, and the brokers do not let it change over (group.consumer.migration.policy): set group.protocol to classic, or wait until it has no members";
    Error::new(ErrorKind::Config, message)
        .because(error.clone())
        .api(ApiKey::CONSUMER_GROUP_HEARTBEAT)
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
