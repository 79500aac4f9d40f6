//! A member's part in the classic group protocol.
//!
//! In: responses of the coordinator, polls of the application, the time. Out: what to send next, the duties of polls, and errors. Sends
//! nothing itself.
//!
//! ```text
//!   Unjoined ──> Joining ──(leader: Assigning)──> Syncing ──> AwaitingSync ──> Stable ──rebalance──> Revoking ──duties done──> Unjoined
//! ```
//!
//! It is eager: everything is revoked before each join. That happens inside a poll, so that the rebalance listener runs where records are
//! returned; until that is done, the member keeps its place by heartbeats and does not rejoin.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use super::assignor::{Assignor, Member, PartitionCounts};
use super::consumer_protocol::{self, Subscription};
use super::response_checks::{self, Wanted};
use crate::kafka::group::duty::{Duties, Duty};
use crate::kafka::group::failure_tracker::FailureTracker;
use crate::kafka::group::group_metadata::{GroupMetadata, NO_GENERATION};
use crate::kafka::group::missing_topics::{MissingTopics, TopicStatus};
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Address, Error, ErrorKind, Result, TopicPartition};

const PROTOCOL_TYPE: &str = "consumer";

/// Who the member is and how patient everybody is.
#[derive(Clone, Debug)]
pub(crate) struct MembershipConfig {
    pub group_id: String,
    pub instance_id: Option<String>,
    /// Where this client runs.
    pub rack: Option<String>,
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub max_poll_interval: Duration,
    /// For how long requests may fail before the application is told.
    pub request_timeout: Duration,
}

/// One member.
pub(crate) struct Membership {
    config: MembershipConfig,
    /// What is offered to the group, the preferred one first.
    assignors: Vec<Box<dyn Assignor>>,
    /// The one that the coordinator picked in this generation.
    picked: usize,
    topics: Vec<String>,
    /// The topics of the last join.
    joined_topics: Vec<String>,
    state: State,
    member_id: String,
    generation: i32,
    duties: Duties,
    /// The partition counts by which this member, as leader, assigned: a change triggers a rebalance.
    assigned_counts: Option<PartitionCounts>,
    last_poll: Instant,
    next_heartbeat: Instant,
    /// When the last heartbeat was sent that the coordinator accepted.
    session_start: Instant,
    /// Who was asked last.
    coordinator: Option<(i32, Address)>,
    missing_topics: MissingTopics,
    failures: FailureTracker,
    failure: Option<Error>,
}

#[derive(Debug)]
enum State {
    /// In no generation; joins at this time.
    Unjoined {
        join_at: Instant,
    },
    Joining,
    /// The leader, about to assign partitions.
    Assigning {
        members: Vec<Member>,
        /// The assignments are as they were before it was away: it only learns what was assigned.
        skip: bool,
    },
    /// About to send a sync.
    Syncing {
        assignments: BTreeMap<String, Bytes>,
    },
    /// Waiting for the coordinator's response to a sync.
    AwaitingSync,
    Stable,
    /// Waits for the application to give up its partitions. `lost`: somebody else may own them already.
    Revoking {
        lost: bool,
    },
    /// Left the group because the application did not poll; joins when it does.
    Stale,
    /// Left for good, or fenced by another member of the same instance id.
    Ended,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    Join(JoinGroupRequest),
    /// Learn how many partitions each of these topics has, then call [`Membership::assign`].
    CountPartitions(BTreeSet<String>),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    /// Nothing, until something changes or until this time.
    Wait(Option<Instant>),
    /// Nothing any more.
    End,
}

impl Membership {
    pub fn new(
        config: MembershipConfig,
        assignors: Vec<Box<dyn Assignor>>,
        topics: Vec<String>,
        now: Instant,
    ) -> Self {
        Self {
            failures: FailureTracker::new(config.request_timeout),
            config,
            assignors,
            picked: 0,
            topics,
            joined_topics: Vec::new(),
            state: State::Unjoined { join_at: now },
            member_id: String::new(),
            generation: NO_GENERATION,
            duties: Duties::default(),
            assigned_counts: None,
            last_poll: now,
            next_heartbeat: now,
            session_start: now,
            coordinator: None,
            missing_topics: MissingTopics::default(),
            failure: None,
        }
    }

    /// What to do now. A request that it returns counts as sent.
    pub fn next_action(&mut self, now: Instant) -> Action {
        #[cfg(planted_defects)]
        self.end_session(now);
        match &mut self.state {
            State::Unjoined { join_at } if *join_at <= now => self.join(now),
            State::Unjoined { join_at } => Action::Wait(Some(*join_at)),
            State::Assigning { members, .. } => {
                self.failures.sent(ApiKey::METADATA, now, now);
                Action::CountPartitions(
                    members
                        .iter()
                        .flat_map(|member| member.subscription.topics.iter().cloned())
                        .collect(),
                )
            }
            State::Syncing { assignments } => {
                let assignments = std::mem::take(assignments);
                self.failures.sent(ApiKey::SYNC_GROUP, now, now);
                self.sync(assignments)
            }
            State::Stable | State::Revoking { lost: false } => self.heartbeat(now),
            State::Revoking { lost: true }
            | State::Stale
            | State::Joining
            | State::AwaitingSync => Action::Wait(None),
            State::Ended => Action::End,
        }
    }

    /// The application polled. Whether that makes a stale member rejoin.
    pub fn polled(&mut self, now: Instant) -> bool {
        self.last_poll = now;
        let wakes = matches!(self.state, State::Stale) && !self.duties.is_giving_up();
        if wakes {
            self.state = State::Unjoined { join_at: now };
        }
        wakes
    }

    /// Whether the application has to poll before the member rejoins.
    pub fn is_stale(&self) -> bool {
        matches!(self.state, State::Stale)
    }

    /// The request to leave because the application has not polled for `max.poll.interval.ms`; once until it polls. The member id is given up
    /// with it.
    pub fn leave_if_stale(&mut self, now: Instant) -> Option<LeaveGroupRequest> {
        let member = !matches!(
            self.state,
            State::Stale | State::Ended | State::Unjoined { .. }
        );
        if !member || now.duration_since(self.last_poll) < self.config.max_poll_interval {
            return None;
        }
        let leave = self.leave_request("the application did not poll within max.poll.interval.ms");
        self.state = State::Stale;
        self.member_id.clear();
        self.forget_generation();
        self.duties.lose_all();
        leave
    }

    /// What a poll has to do next; the same until it is done.
    pub fn begin_duty(&mut self) -> Option<Duty> {
        self.duties.begin()
    }

    /// A poll has done it. Once everything is given up that must be, the member rejoins.
    pub fn duty_done(&mut self, duty: &Duty, now: Instant) {
        self.duties.done(duty);
        let waits = matches!(self.state, State::Revoking { .. } | State::Stale);
        if waits && !self.duties.is_giving_up() {
            self.state = State::Unjoined { join_at: now };
        }
    }

    /// Wants of polls what another protocol would.
    #[cfg(test)]
    pub fn post_duty(&mut self, duty: Duty) {
        self.duties.post(duty);
    }

    /// Whether what the application owns is lost already.
    pub fn has_lost(&self) -> bool {
        matches!(self.duties.first(), Some(Duty::Lost(_)))
    }

    /// Subscribes to other topics.
    pub fn resubscribe(&mut self, topics: Vec<String>, now: Instant) {
        if self.topics != topics {
            self.topics = topics;
            if matches!(self.state, State::Stable) {
                self.rebalance(now, false);
            }
        }
    }

    /// The partition counts of the group's topics, by newer metadata: the leader triggers a rebalance when they differ from those by which
    /// it assigned.
    pub fn on_partition_counts(
        &mut self,
        counts: impl FnOnce(&PartitionCounts) -> PartitionCounts,
        now: Instant,
    ) {
        if let (State::Stable, Some(assigned_counts)) = (&self.state, &self.assigned_counts)
            && counts(assigned_counts) != *assigned_counts
        {
            self.rebalance(now, false);
        }
    }

    /// What newer metadata says of the subscribed topics.
    pub fn on_topic_status(
        &mut self,
        status: impl Fn(&str) -> TopicStatus,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let assigned_counts = self.assigned_counts.iter().flat_map(BTreeMap::values);
        let awaits_more = assigned_counts.into_iter().any(|count| *count == 0);
        self.missing_topics
            .update(&self.topics, awaits_more, status, now, pause);
    }

    /// When to ask for missing topics again.
    pub fn next_refresh(&self) -> Option<Instant> {
        self.missing_topics.next_refresh()
    }

    /// Whether to ask for missing topics now.
    pub fn refresh_due(&mut self, now: Instant) -> bool {
        self.missing_topics.refresh_due(now)
    }

    /// Who commits, or why this member cannot now.
    pub fn group_metadata(&self) -> Result<GroupMetadata> {
        match self.state {
            State::Stable | State::Revoking { lost: false } => Ok(GroupMetadata {
                generation: self.generation,
                member_id: self.member_id.clone(),
                instance_id: self.config.instance_id.clone(),
            }),
            State::Ended => Err(self.failure.clone().unwrap_or_else(|| {
                Error::new(
                    ErrorKind::Closed,
                    "the consumer has left its group: nothing can be committed",
                )
            })),
            _ => Err(Error::new(
                ErrorKind::Rebalance,
                "this member has no partitions of the group now, it is joining or was removed: poll, and commit what is assigned then",
            )),
        }
    }

    /// The coordinator refused a commit. That of an earlier generation says nothing about the membership.
    pub fn on_commit_error(&mut self, identity: &GroupMetadata, code: ErrorCode, now: Instant) {
        let holds = matches!(self.state, State::Stable | State::Revoking { lost: false });
        let is_ours =
            self.generation == identity.generation && self.member_id == identity.member_id;
        if holds && is_ours {
            self.on_generation_error(code, ApiKey::OFFSET_COMMIT, now);
        }
    }

    /// What the application must be told: the failure that ended the membership, each time; what has been failing for the request timeout,
    /// and topics that are missing, once each.
    pub fn error(&mut self, now: Instant) -> Option<Error> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        let timeout = self.config.request_timeout;
        self.failures
            .report(now)
            .or_else(|| self.missing_topics.report(now, timeout))
    }

    /// Notes who the coordinator is, for errors to name.
    pub fn set_coordinator(&mut self, node: i32, address: &Address) {
        self.coordinator = Some((node, address.clone()));
    }

    /// The coordinator responds: a join that it has not answered waits for other members.
    pub fn on_coordinator_alive(&mut self, now: Instant) {
        self.failures.coordinator_alive(now);
    }

    /// The request to leave for good; none for a static member, which may come back, or where there is nothing to leave.
    pub fn leave(&mut self) -> Option<LeaveGroupRequest> {
        let leave = self.leave_request("the consumer was closed");
        self.state = State::Ended;
        self.forget_generation();
        self.duties.lose_all();
        leave
    }

    /// The response to a join.
    pub fn on_join_response(
        &mut self,
        answer: Result<JoinGroupResponse>,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        if !matches!(self.state, State::Joining) {
            return;
        }
        match answer {
            Ok(response) if response.error_code == ErrorCode::NONE => {
                self.failures.response_received(now);
                if let Err(error) = self.enter_generation(response, now) {
                    self.rejoin_after_pause(self.named(error), now, pause);
                }
            }
            Ok(response) if response.error_code == ErrorCode::MEMBER_ID_REQUIRED => {
                // The first step of joining, not a failure: unless it comes again.
                let is_step = self.member_id.is_empty() && !response.member_id.is_empty();
                self.member_id = response.member_id;
                if is_step {
                    self.failures.response_received(now);
                    self.state = State::Unjoined { join_at: now };
                } else {
                    self.join_refused(response.error_code, ApiKey::JOIN_GROUP, now, pause);
                }
            }
            Ok(response) => self.join_refused(response.error_code, ApiKey::JOIN_GROUP, now, pause),
            Err(error) => self.rejoin_after_pause(error, now, pause),
        }
    }

    /// As leader, assigns by the partition counts that [`Action::CountPartitions`] asked for, or takes why they are not known.
    pub fn assign(
        &mut self,
        counts: Result<PartitionCounts>,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let State::Assigning { members, skip } = &self.state else {
            return;
        };
        let assignor = &self.assignors[self.picked];
        let assignments = counts.and_then(|counts| {
            let assignments = match skip {
                true => BTreeMap::new(),
                false => assignor.assign(members, &counts),
            };
            let assignments: Result<BTreeMap<_, _>> = assignments
                .iter()
                .map(|(id, assignment)| {
                    Ok((
                        id.clone(),
                        consumer_protocol::encode_assignment(assignment)?,
                    ))
                })
                .collect();
            self.assigned_counts = Some(counts);
            assignments
        });
        match assignments {
            Ok(assignments) => {
                self.failures.response_received(now);
                self.state = State::Syncing { assignments };
            }
            Err(error) => self.rejoin_after_pause(error, now, pause),
        }
    }

    /// The partitions that a response to a sync assigns, if it can be read.
    pub fn assigned_by(response: &SyncGroupResponse) -> Vec<TopicPartition> {
        consumer_protocol::decode_assignment(response.assignment.clone()).unwrap_or_default()
    }

    /// The response to a sync. `count_of` returns how many partitions a topic has, if that is known for certain.
    pub fn on_sync_response(
        &mut self,
        answer: Result<SyncGroupResponse>,
        count_of: impl Fn(&str) -> Option<usize>,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        if !matches!(self.state, State::AwaitingSync) {
            return;
        }
        match answer {
            Ok(response) if response.error_code == ErrorCode::NONE => {
                match self.read_assignment(response, count_of) {
                    Ok(assigned) => self.become_stable(assigned, now),
                    Err(error) => self.rejoin_after_pause(self.named(error), now, pause),
                }
            }
            Ok(response) => self.join_refused(response.error_code, ApiKey::SYNC_GROUP, now, pause),
            Err(error) => self.rejoin_after_pause(error, now, pause),
        }
    }

    fn read_assignment(
        &self,
        response: SyncGroupResponse,
        count_of: impl Fn(&str) -> Option<usize>,
    ) -> Result<Vec<TopicPartition>> {
        response_checks::check_sync(&response, &self.wanted())?;
        let assigned = consumer_protocol::decode_assignment(response.assignment)
            .map_err(|error| error.api(ApiKey::SYNC_GROUP))?;
        response_checks::check_assignment(&assigned, &self.joined_topics, count_of)?;
        Ok(assigned)
    }

    /// The response to a heartbeat that was sent at `sent`. One that says a rebalance is in progress renews the session like any other.
    pub fn on_heartbeat_response(
        &mut self,
        code: ErrorCode,
        sent: Instant,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        if !matches!(self.state, State::Stable | State::Revoking { .. }) {
            return;
        }
        match code {
            ErrorCode::NONE => self.session_renewed(sent),
            ErrorCode::REBALANCE_IN_PROGRESS => {
                #[cfg(planted_defects)]
                let sent = match planted::is_planted(planted::Defect::SessionEndsInRebalance) {
                    true => self.session_start,
                    false => sent,
                };
                self.session_renewed(sent);
                self.on_generation_error(code, ApiKey::HEARTBEAT, now);
            }
            code if self.on_generation_error(code, ApiKey::HEARTBEAT, now) => {
                self.failures.response_received(now)
            }
            code => {
                let error = self.refusal(code, ApiKey::HEARTBEAT);
                self.heartbeat_failed(error, now, pause);
            }
        }
    }

    /// The coordinator accepted a heartbeat that was sent at `sent`.
    fn session_renewed(&mut self, sent: Instant) {
        self.session_start = self.session_start.max(sent);
        self.failures.succeeded();
    }

    #[cfg(planted_defects)]
    fn end_session(&mut self, now: Instant) {
        let in_session = matches!(self.state, State::Stable | State::Revoking { lost: false });
        if in_session
            && now >= self.session_start + self.config.session_timeout
            && planted::is_planted(planted::Defect::SessionEndsInRebalance)
        {
            self.rebalance(now, true);
        }
    }

    /// By when a heartbeat that is sent now must be answered: within the session, but never before the next one is due.
    pub fn heartbeat_deadline(&self, now: Instant) -> Instant {
        let session_end = self.session_start + self.config.session_timeout;
        session_end
            .max(now + self.config.heartbeat_interval)
            .min(now + self.config.request_timeout)
    }

    /// A heartbeat could not be sent, got no response, or was refused: the next one is sent early. As long as nobody says that others own the
    /// partitions, they are kept: if a silent coordinator has assigned them to others, a commit will tell.
    pub fn heartbeat_failed(
        &mut self,
        error: Error,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let longest = self.config.heartbeat_interval;
        let pause = |attempts| pause(attempts).min(longest);
        self.next_heartbeat = self.failures.failed(error, now, pause);
    }

    /// An error of a heartbeat or a commit. Whether it said that this member is not in its generation any more; the membership is changed
    /// accordingly.
    fn on_generation_error(&mut self, code: ErrorCode, api: ApiKey, now: Instant) -> bool {
        match code {
            ErrorCode::REBALANCE_IN_PROGRESS => {
                if matches!(self.state, State::Stable) {
                    self.rebalance(now, false);
                }
            }
            ErrorCode::ILLEGAL_GENERATION => self.rebalance(now, true),
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.member_id.clear();
                self.rebalance(now, true);
            }
            ErrorCode::FENCED_INSTANCE_ID if self.is_static() => {
                self.fail(self.refusal(code, api));
            }
            // The coordinator is moving or loading, or it is one bad response: whoever asked retries.
            _ => return false,
        }
        true
    }

    /// The coordinator refused a join or a sync.
    fn join_refused(
        &mut self,
        code: ErrorCode,
        api: ApiKey,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let error = self.refusal(code, api);
        match code {
            ErrorCode::FENCED_INSTANCE_ID if self.is_static() => self.fail(error),
            ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::REBALANCE_IN_PROGRESS
            | ErrorCode::ILLEGAL_GENERATION => {
                // A join has just accepted the id that a sync refuses: the next join decides. Given up too early, the id would stay a
                // member until its session ends, and hold up the rebalance for as long.
                if code == ErrorCode::UNKNOWN_MEMBER_ID && api == ApiKey::JOIN_GROUP {
                    self.member_id.clear();
                }
                self.rejoin_at_once(error, now, pause);
            }
            _ => self.rejoin_after_pause(error, now, pause),
        }
    }

    /// Rejoins at once, since the group has moved on: unless that has just been tried.
    fn rejoin_at_once(&mut self, error: Error, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.forget_generation();
        let join_at = self.failures.failed(error, now, |attempts| match attempts {
            1 => Duration::ZERO,
            _ => pause(attempts - 1),
        });
        self.state = State::Unjoined { join_at };
    }

    /// Rejoins after a pause, whatever it was: what does not pass by itself may pass once a person has changed something.
    fn rejoin_after_pause(
        &mut self,
        error: Error,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        self.forget_generation();
        let join_at = self.failures.failed(error, now, pause);
        self.state = State::Unjoined { join_at };
    }

    fn fail(&mut self, error: Error) {
        self.forget_generation();
        self.failure = Some(error);
        self.state = State::Ended;
        self.duties.lose_all();
    }

    /// The error for a code that the coordinator responded with.
    fn refusal(&self, code: ErrorCode, api: ApiKey) -> Error {
        let error = self.named(Error::server(code, None).api(api));
        match code {
            ErrorCode::FENCED_INSTANCE_ID if self.is_static() => error,
            // Nothing else ends a member, even where the error is fatal elsewhere.
            _ if error.is_fatal() => error.tried_on(),
            _ => error,
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

    fn assignor(&self) -> &dyn Assignor {
        &*self.assignors[self.picked]
    }

    /// What a join offers.
    fn offered(&self) -> Wanted<'_> {
        Wanted {
            protocol_type: PROTOCOL_TYPE,
            protocol_names: self.assignors.iter().map(|it| it.name()).collect(),
        }
    }

    /// What a sync must be about.
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            protocol_type: PROTOCOL_TYPE,
            protocol_names: vec![self.assignor().name()],
        }
    }

    /// Rejoins, once the application has given up what it owns.
    fn rebalance(&mut self, now: Instant, lost: bool) {
        if lost {
            self.forget_generation();
        }
        self.assigned_counts = None;
        match lost {
            true => self.duties.lose_all(),
            false => self.duties.revoke_all(),
        }
        self.state = match self.duties.is_giving_up() {
            true => State::Revoking { lost },
            false => State::Unjoined { join_at: now },
        };
    }

    fn forget_generation(&mut self) {
        self.generation = NO_GENERATION;
        self.assigned_counts = None;
    }

    fn join(&mut self, now: Instant) -> Action {
        let subscription = Subscription {
            topics: self.topics.clone(),
            owned: self.duties.owned().iter().cloned().collect(),
            generation: self.generation,
            rack: self.config.rack.clone(),
        };
        let metadata = match consumer_protocol::encode_subscription(subscription) {
            Ok(metadata) => metadata,
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
            protocols: self
                .assignors
                .iter()
                .map(|assignor| JoinGroupRequestProtocol {
                    name: assignor.name().to_string(),
                    metadata: metadata.clone(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        })
    }

    /// The coordinator accepted this member into a generation.
    fn enter_generation(&mut self, response: JoinGroupResponse, now: Instant) -> Result<()> {
        response_checks::check_join(&response, &self.offered())?;
        let picked = response.protocol_name.as_deref();
        let mut assignors = self.assignors.iter();
        self.picked = assignors
            .position(|it| Some(it.name()) == picked)
            .unwrap_or_default();
        self.generation = response.generation_id;
        self.session_start = now;
        self.next_heartbeat = now + self.config.heartbeat_interval;
        self.assigned_counts = None;
        let leads = response.leader == response.member_id;
        self.member_id = response.member_id;
        if !leads {
            self.state = State::Syncing {
                assignments: BTreeMap::new(),
            };
            return Ok(());
        }
        let mut members = Vec::with_capacity(response.members.len());
        for member in response.members {
            members.push(Member {
                subscription: consumer_protocol::decode_subscription(member.metadata)?,
                id: member.member_id,
                instance_id: member.group_instance_id,
            });
        }
        // A static leader that came back (KIP-814) assigns nothing, but watches for changes.
        self.state = State::Assigning {
            members,
            skip: response.skip_assignment,
        };
        Ok(())
    }

    fn sync(&mut self, assignments: BTreeMap<String, Bytes>) -> Action {
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

    fn become_stable(&mut self, assigned: Vec<TopicPartition>, now: Instant) {
        if self.joined_topics != self.topics {
            // The subscription changed while the group was assigning by the old one.
            self.state = State::Unjoined { join_at: now };
            return;
        }
        self.failures.succeeded();
        self.session_start = now;
        self.next_heartbeat = now + self.config.heartbeat_interval;
        self.duties.assign(assigned);
        self.state = State::Stable;
    }

    fn heartbeat(&mut self, now: Instant) -> Action {
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

    fn leave_request(&self, reason: &str) -> Option<LeaveGroupRequest> {
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

#[cfg(test)]
mod tests;
