//! The heartbeats of a member to which the broker assigns partitions, by the consumer protocol (KIP-848) or in a share group (KIP-932).
//!
//! In: answers of either protocol, polls of the application, the time. Out: when a heartbeat is due and what the coordinator has heard already,
//! whether an answer can be and what it means, and errors. What becomes of an assignment is the membership's to decide.
//!
//! ```text
//!   Joining ──epoch──> Member ──put out──> Fenced ──all given up──> Joining
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::messages::{ConsumerGroupHeartbeatResponse, ShareGroupHeartbeatResponse};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::time::Instant;

use super::failure_tracker::FailureTracker;
use super::member::MembershipConfig;
use super::missing_topics::MissingTopics;
use crate::kafka::runtime::Awaited;
use crate::kafka::{Address, Error, ErrorKind, Result};

/// A partition by its topic's id.
pub(crate) type IdPartition = (Uuid, i32);

/// The epoch of a request that joins, and the one by which a member leaves: a static one for a while.
pub(super) const JOIN_EPOCH: i32 = 0;
pub(super) const LEAVE_EPOCH: i32 = -1;
pub(super) const STATIC_LEAVE_EPOCH: i32 = -2;
/// Heartbeats before the coordinator has said how often it wants them.
const FIRST_INTERVAL: Duration = Duration::from_secs(5);
/// The least and the longest that is believed of what it says: Kafka's own limit for the longest.
const INTERVALS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(15)];
/// One of so many heartbeats says everything, so that the coordinator does as well: whatever one of the two has misunderstood ends with it.
const ALL_EVERY: u32 = 10;
/// The least time that a coordinator has for a response.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

/// The heartbeats of one member. `T` is what a heartbeat says of it.
pub(super) struct Heartbeats<T> {
    api: ApiKey,
    explain: Explain,
    pub config: MembershipConfig,
    /// Which the member makes itself, and keeps.
    pub member_id: String,
    pub state: State,
    pub epoch: i32,
    pub missing_topics: MissingTopics,
    /// Topics of the assignment whose names, or partitions, are to be found.
    pub unknown: Awaited<Uuid>,
    /// What the coordinator has heard of the member for certain.
    told: Option<T>,
    /// What the request says that awaits its response.
    telling: Option<T>,
    interval: Duration,
    next_heartbeat: Instant,
    /// How many heartbeats were answered since one said everything.
    answered: u32,
    /// News wait until then, since the last request failed.
    patient_until: Instant,
    last_poll: Instant,
    coordinator: Option<(i32, Address)>,
    failures: FailureTracker,
}

/// Names the setting that an error is about, of a member that joins or of another.
pub(super) type Explain = fn(error: Error, joins: bool) -> Error;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not in the group; joins at this time.
    Joining {
        at: Instant,
    },
    Member,
    /// Put out of the group; joins once the application has given up everything.
    Fenced,
    /// Left the group because the application did not poll; joins when it does.
    Stale,
    /// Left for good, fenced by another member of the same instance id, or put out when it was about to leave.
    Ended,
}

/// What to do next; `R` is the protocol's heartbeat.
#[derive(Debug, PartialEq)]
pub(crate) enum Action<R> {
    Heartbeat(R),
    /// Find the topics of these ids.
    FindTopics(Vec<Uuid>),
    /// Nothing, until something changes or until this time.
    Wait(Option<Instant>),
    /// Nothing any more.
    End,
}

/// An answer to a heartbeat, whichever protocol's.
pub(super) struct Answer {
    error_code: ErrorCode,
    error_message: Option<String>,
    member_id: Option<String>,
    member_epoch: i32,
    heartbeat_interval_ms: i32,
    /// By topic, where it says.
    assignment: Option<Vec<(Uuid, Vec<i32>)>>,
}

macro_rules! answers {
    ($($response:ty),*) => {$(
        impl From<$response> for Answer {
            fn from(response: $response) -> Self {
                let assignment = response.assignment.map(|assignment| {
                    let topics = assignment.topic_partitions.into_iter();
                    topics.map(|topic| (topic.topic_id, topic.partitions)).collect()
                });
                Self {
                    error_code: response.error_code,
                    error_message: response.error_message,
                    member_id: response.member_id,
                    member_epoch: response.member_epoch,
                    heartbeat_interval_ms: response.heartbeat_interval_ms,
                    assignment,
                }
            }
        }
    )*};
}

answers!(ConsumerGroupHeartbeatResponse, ShareGroupHeartbeatResponse);

/// What an answer means for the membership.
pub(super) enum Heard {
    /// Everything is as before.
    Nothing,
    /// It is a member, and has this, where the answer says.
    Member(Option<BTreeSet<IdPartition>>),
    /// The group has put it out: it may [join again](Heartbeats::rejoin) at this time.
    PutOut(Instant),
    /// Another member has its instance id.
    Replaced(Error),
}

impl<T: Clone + PartialEq> Heartbeats<T> {
    /// Of a member that is to join at once.
    pub fn new(
        api: ApiKey,
        explain: Explain,
        config: MembershipConfig,
        member_id: String,
        now: Instant,
    ) -> Self {
        Self {
            api,
            explain,
            failures: FailureTracker::new(config.request_timeout),
            config,
            member_id,
            state: State::Joining { at: now },
            epoch: JOIN_EPOCH,
            missing_topics: MissingTopics::default(),
            unknown: Awaited::default(),
            told: None,
            telling: None,
            interval: FIRST_INTERVAL,
            next_heartbeat: now,
            answered: 0,
            patient_until: now,
            last_poll: now,
            coordinator: None,
        }
    }

    /// What to do now, where that is not to send a heartbeat that says `telling`.
    pub fn instead<R>(&mut self, telling: &T, now: Instant) -> Option<Action<R>> {
        match self.state {
            State::Joining { at } if at > now => Some(Action::Wait(Some(at))),
            State::Joining { .. } => None,
            State::Member => {
                let has_news = self.told.as_ref() != Some(telling);
                let news_at = has_news.then_some(self.patient_until);
                let due = news_at.map_or(self.next_heartbeat, |at| at.min(self.next_heartbeat));
                if due <= now {
                    return None;
                }
                if let Some(ids) = self.unknown.ask(now) {
                    // It may have been a bad answer.
                    self.told = None;
                    return Some(Action::FindTopics(ids.iter().copied().collect()));
                }
                let poll_limit = self.last_poll + self.config.max_poll_interval;
                let wakes = [due, poll_limit].into_iter().chain(self.unknown.ask_at());
                Some(Action::Wait(wakes.min()))
            }
            State::Fenced | State::Stale => Some(Action::Wait(None)),
            State::Ended => Some(Action::End),
        }
    }

    /// A heartbeat is sent that says `telling`. Returns what the coordinator has heard already; without that, the heartbeat says everything.
    pub fn say(&mut self, telling: T, now: Instant) -> Option<T> {
        self.failures.sent(self.api, now, now);
        let is_known = self.epoch != JOIN_EPOCH && self.answered < ALL_EVERY;
        let told = self.told.clone().filter(|_| is_known);
        if told.is_none() {
            self.answered = 0;
        }
        self.telling = Some(telling);
        told
    }

    /// By when a heartbeat that is sent now must be answered: no coordinator waits before it answers one.
    pub fn deadline(&self, now: Instant) -> Instant {
        now + self
            .interval
            .max(LEAST_PATIENCE)
            .min(self.config.request_timeout)
    }

    /// What became of a heartbeat.
    pub fn hear(
        &mut self,
        answer: Result<impl Into<Answer>>,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) -> Heard {
        let telling = self.telling.take();
        if !matches!(self.state, State::Joining { .. } | State::Member) {
            return Heard::Nothing;
        }
        let error = match answer.map(Into::<Answer>::into) {
            Ok(answer) if answer.error_code == ErrorCode::NONE => match self.check(&answer) {
                Ok(assigned) => return self.accepted(&answer, assigned, telling, now),
                Err(error) => self.named(error),
            },
            Ok(answer) => {
                let code = answer.error_code;
                let error = self.refusal(code, answer.error_message.as_deref());
                match code {
                    ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID => {
                        return self.put_out(error, now, pause);
                    }
                    // While it was silent, the group went over to another protocol, or was deleted. One that joins is refused by a group of another.
                    ErrorCode::GROUP_ID_NOT_FOUND if self.state == State::Member => {
                        return self.put_out(error, now, pause);
                    }
                    ErrorCode::FENCED_INSTANCE_ID if self.is_static() => {
                        return Heard::Replaced(error);
                    }
                    _ => error,
                }
            }
            Err(error) => (self.explain)(error, self.epoch == JOIN_EPOCH),
        };
        self.failed(error, now, pause);
        Heard::Nothing
    }

    fn accepted(
        &mut self,
        answer: &Answer,
        assigned: Option<BTreeSet<IdPartition>>,
        telling: Option<T>,
        now: Instant,
    ) -> Heard {
        match self.state {
            // Only a member that stays one is over its failures.
            State::Member => self.failures.succeeded(),
            _ => self.failures.response_received(now),
        }
        let interval = u64::try_from(answer.heartbeat_interval_ms).unwrap_or_default();
        let [least, longest] = INTERVALS;
        self.interval = Duration::from_millis(interval).clamp(least, longest);
        self.answered += 1;
        self.next_heartbeat = now + self.interval;
        if answer.member_epoch == JOIN_EPOCH {
            // The group has not decided anything yet: it goes on joining, and says so when that lasts.
            let at = self.next_heartbeat;
            let undecided = self.named(self.undecided());
            self.failures.failed(undecided, now, |_| at - now);
            if self.state != State::Member {
                self.state = State::Joining { at };
            }
            return Heard::Nothing;
        }
        self.state = State::Member;
        self.epoch = answer.member_epoch;
        self.told = telling;
        self.patient_until = now;
        Heard::Member(assigned)
    }

    /// Whether an answer can be: what it assigns, if it says.
    fn check(&self, answer: &Answer) -> Result<Option<BTreeSet<IdPartition>>> {
        let wrong = |what: String| {
            let message =
                format!("the coordinator answered with {what}: the member goes on as it was");
            Err(Error::new(ErrorKind::Protocol, message).api(self.api))
        };
        let epoch = answer.member_epoch;
        if epoch < 0 {
            return wrong(format!("the member epoch {epoch}"));
        }
        if answer.heartbeat_interval_ms <= 0 {
            let interval = answer.heartbeat_interval_ms;
            return wrong(format!("heartbeats every {interval} ms"));
        }
        let id = answer.member_id.as_ref();
        if id.is_some_and(|id| *id != self.member_id) {
            return wrong("the id of another member".to_string());
        }
        let Some(assignment) = &answer.assignment else {
            return match self.epoch == JOIN_EPOCH && epoch != JOIN_EPOCH {
                true => wrong("no assignment to a member that joins".to_string()),
                false => Ok(None),
            };
        };
        let mut assigned = BTreeSet::new();
        for (id, partitions) in assignment {
            for partition in partitions {
                let named = || format!("an assignment with partition {partition} of topic {id}");
                if *partition < 0 || *id == Uuid::ZERO {
                    return wrong(format!("{}, which cannot be", named()));
                }
                if !assigned.insert((*id, *partition)) {
                    return wrong(format!("{}, which is in it twice", named()));
                }
            }
        }
        Ok(Some(assigned))
    }

    /// A heartbeat could not be sent, got no response, or was refused: the next one is sent early, and says everything. As long as nobody
    /// says that others own what is assigned, it is kept.
    fn failed(&mut self, error: Error, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.told = None;
        let again_at = self.failures.failed(error, now, pause);
        self.next_heartbeat = again_at;
        self.patient_until = again_at;
        if let State::Joining { at } = &mut self.state {
            *at = again_at;
        }
    }

    /// It joins again at once, unless that has just been tried.
    fn put_out(
        &mut self,
        error: Error,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) -> Heard {
        let at = self.failures.failed(error, now, |attempts| match attempts {
            1 => Duration::ZERO,
            _ => pause(attempts - 1),
        });
        Heard::PutOut(at)
    }

    /// It is in no epoch any more, and joins at this time.
    pub fn rejoin(&mut self, at: Instant) {
        self.forget();
        self.next_heartbeat = at;
        self.state = State::Joining { at };
    }

    /// What it had is given up: it joins when that is due.
    pub fn given_up(&mut self, now: Instant) {
        let at = self.next_heartbeat.max(now);
        self.state = State::Joining { at };
    }

    fn forget(&mut self) {
        self.epoch = JOIN_EPOCH;
        self.told = None;
        self.unknown.forget();
    }

    /// The error for a code that the coordinator responded with.
    fn refusal(&self, code: ErrorCode, message: Option<&str>) -> Error {
        let error = Error::server(code, message).api(self.api);
        let error = self.named((self.explain)(error, self.epoch == JOIN_EPOCH));
        match code {
            ErrorCode::FENCED_INSTANCE_ID if self.is_static() => error,
            // Nothing else ends a member, even where the error is fatal elsewhere.
            _ => error.not_the_end(),
        }
    }

    /// The error of a coordinator that takes its time: assignments may be delayed, and put together (KIP-1263).
    fn undecided(&self) -> Error {
        let message = "the group's coordinator has not decided yet what the member is to read";
        Error::new(ErrorKind::Rebalance, message).api(self.api)
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

    /// The next heartbeat is sent early: something has changed that only an answer says.
    pub fn soon(&mut self, now: Instant) {
        self.next_heartbeat = self.patient_until.max(now);
    }

    /// The application polled. Whether that makes a stale member join, which it does where it `has_nothing` to give up.
    pub fn polled(&mut self, has_nothing: bool, now: Instant) -> bool {
        self.last_poll = now;
        let wakes = self.state == State::Stale && has_nothing;
        if wakes {
            self.state = State::Joining { at: now };
        }
        wakes
    }

    /// Whether a member has to leave because the application has not polled for `max.poll.interval.ms`.
    pub fn is_late(&self, now: Instant) -> bool {
        let idle = now.duration_since(self.last_poll);
        self.state == State::Member && idle >= self.config.max_poll_interval
    }

    /// It is `Stale` or `Ended` from now on. Returns the epoch of the request to leave, where there may be something to leave. A static member
    /// goes for a while: whoever comes with its instance id within the session gets what it had.
    pub fn leave(&mut self, state: State) -> Option<i32> {
        // One that has sent a request to join may be a member without knowing.
        let may_be_member = self.telling.take().is_some() || self.state == State::Member;
        self.state = state;
        self.forget();
        may_be_member.then_some(match self.is_static() {
            true => STATIC_LEAVE_EPOCH,
            false => LEAVE_EPOCH,
        })
    }

    /// What the application must be told: what has been failing for the request timeout, topics that are missing, and what is assigned of topics
    /// that no broker has named for as long; each once in that time.
    pub fn error(&mut self, now: Instant) -> Option<Error> {
        let timeout = self.config.request_timeout;
        let failing = self.failures.report(now);
        let due = failing.or_else(|| self.missing_topics.report(now, timeout));
        due.or_else(|| {
            let id = self.unknown.overdue(now, timeout)?;
            let message = format!(
                "the group's coordinator has assigned partitions of the topic with id {id}, which no broker has described: they will be read once one does"
            );
            let error = Error::new(ErrorKind::UnknownTopicOrPartition, message);
            Some(self.named(error.api(self.api)))
        })
    }
}
