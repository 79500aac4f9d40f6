//! A member's part in the classic group protocol.
//!
//! In: answers of the coordinator, polls of the application, the time. Out: what to send next, and what the application must be told:
//! partitions to let go of, partitions that it got, an error. Sends nothing itself.
//!
//! ```text
//!   Out ──join──> Joining ──(leader: Assigning)──> Syncing ──> Stable ──rebalance──> Releasing ──released──> Out
//! ```
//!
//! The application lets go of its partitions inside a poll, so that its hook runs where its records come out; until it has, the member
//! keeps its place by heartbeats and does not join anew.

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
use super::checks::{self, Wanted};
use super::missing_topics::{MissingTopics, TopicStatus};
use super::protocol as blob;
use super::trouble::Trouble;
use crate::kafka::{Address, Error, ErrorKind, Result, TopicPartition};

/// The generation of those who are in none.
const NO_GENERATION: i32 = -1;
const PROTOCOL_TYPE: &str = "consumer";

/// Who the member is and how patient everybody is.
#[derive(Clone, Debug)]
pub(crate) struct MembershipConfig {
    pub group_id: String,
    pub instance_id: Option<String>,
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub max_poll_interval: Duration,
    /// For how long things may go wrong before the application hears of it.
    pub request_timeout: Duration,
}

/// One member.
pub(crate) struct Membership {
    config: MembershipConfig,
    assignor: Box<dyn Assignor>,
    topics: Vec<String>,
    /// What the last join asked for.
    joined_for: Vec<String>,
    state: State,
    member_id: String,
    generation: i32,
    /// The application holds partitions of this generation.
    owns: bool,
    /// An assignment that the application has not taken yet.
    assigned: Option<Vec<TopicPartition>>,
    /// What the leader shared out: a change of it calls for another round.
    shared_out: Option<PartitionCounts>,
    last_poll: Instant,
    next_heartbeat: Instant,
    /// When the last heartbeat was sent that the coordinator accepted.
    session_from: Instant,
    /// Who was spoken to last.
    coordinator: Option<(i32, Address)>,
    missing_topics: MissingTopics,
    trouble: Trouble,
    failure: Option<Error>,
}

#[derive(Debug)]
enum State {
    /// In no generation; joins at this time.
    Out {
        join_at: Instant,
    },
    Joining,
    /// The leader, about to share out partitions.
    Assigning {
        members: Vec<Member>,
        /// The shares are as they were before it was away: it only learns what was shared out.
        skip: bool,
    },
    Syncing {
        shares: BTreeMap<String, Bytes>,
    },
    /// Waiting for the coordinator's answer to a sync.
    Synced,
    Stable,
    /// Waits for the application to let go. `lost`: somebody else may have its partitions already.
    Releasing {
        lost: bool,
    },
    /// Left the group because the application did not poll; joins when it does.
    Asleep,
    /// Left for good, or put out for good by another member of the same instance id.
    Over,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    Join(JoinGroupRequest),
    /// Learn how many partitions each of these topics has, then [`Membership::share_out`].
    Count(BTreeSet<String>),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    /// Nothing, until something changes or this time comes.
    Wait(Option<Instant>),
    /// Nothing any more.
    End,
}

/// Who commits: what the coordinator checks a commit against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub generation: i32,
    pub member_id: String,
    pub instance_id: Option<String>,
}

impl Identity {
    /// Of a consumer that assigns its partitions itself.
    pub fn standalone() -> Self {
        Self {
            generation: NO_GENERATION,
            member_id: String::new(),
            instance_id: None,
        }
    }
}

impl Membership {
    pub fn new(
        config: MembershipConfig,
        assignor: Box<dyn Assignor>,
        topics: Vec<String>,
        now: Instant,
    ) -> Self {
        Self {
            trouble: Trouble::new(config.request_timeout),
            config,
            assignor,
            topics,
            joined_for: Vec::new(),
            state: State::Out { join_at: now },
            member_id: String::new(),
            generation: NO_GENERATION,
            owns: false,
            assigned: None,
            shared_out: None,
            last_poll: now,
            next_heartbeat: now,
            session_from: now,
            coordinator: None,
            missing_topics: MissingTopics::default(),
            failure: None,
        }
    }

    /// What to do now. A request that it gives counts as sent.
    pub fn next(&mut self, now: Instant) -> Action {
        match &mut self.state {
            State::Out { join_at } if *join_at <= now => self.join(now),
            State::Out { join_at } => Action::Wait(Some(*join_at)),
            State::Assigning { members, .. } => {
                self.trouble.asked(ApiKey::METADATA, now, now);
                Action::Count(
                    members
                        .iter()
                        .flat_map(|member| member.topics.iter().cloned())
                        .collect(),
                )
            }
            State::Syncing { shares } => {
                let shares = std::mem::take(shares);
                self.trouble.asked(ApiKey::SYNC_GROUP, now, now);
                self.sync(shares)
            }
            State::Stable | State::Releasing { lost: false } => self.heartbeat(now),
            State::Releasing { lost: true } | State::Asleep | State::Joining | State::Synced => {
                Action::Wait(None)
            }
            State::Over => Action::End,
        }
    }

    /// The application polled. Whether that woke a sleeping member.
    pub fn polled(&mut self, now: Instant) -> bool {
        self.last_poll = now;
        let wakes = matches!(self.state, State::Asleep) && !self.owns;
        if wakes {
            self.state = State::Out { join_at: now };
        }
        wakes
    }

    /// Whether the application has to poll before the member joins again.
    pub fn is_asleep(&self) -> bool {
        matches!(self.state, State::Asleep)
    }

    /// The request with which to leave because the application has not polled for too long; once per such silence. The id that the member
    /// had is given up with it.
    pub fn leave_if_forgotten(&mut self, now: Instant) -> Option<LeaveGroupRequest> {
        let member = !matches!(self.state, State::Asleep | State::Over | State::Out { .. });
        if !member || now.duration_since(self.last_poll) < self.config.max_poll_interval {
            return None;
        }
        let leave = self.leave_request("the application did not poll within max.poll.interval.ms");
        self.state = State::Asleep;
        self.member_id.clear();
        self.forget_generation();
        leave
    }

    /// Whether the application must let go of its partitions, and whether they are lost already.
    pub fn must_release(&self) -> Option<bool> {
        match self.state {
            State::Releasing { lost } => Some(lost),
            State::Asleep | State::Over if self.owns => Some(true),
            _ => None,
        }
    }

    /// The application has let go.
    pub fn released(&mut self, now: Instant) {
        self.owns = false;
        if matches!(self.state, State::Releasing { .. } | State::Asleep) {
            self.state = State::Out { join_at: now };
        }
    }

    /// The new assignment, once. From here on the application owns it.
    pub fn take_assigned(&mut self) -> Option<Vec<TopicPartition>> {
        let assigned = self.assigned.take()?;
        self.owns = true;
        Some(assigned)
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

    /// The number of partitions of the group's topics, by newer metadata: the leader calls for another round when it differs from what it
    /// shared out.
    pub fn partitions_now(
        &mut self,
        counts: impl FnOnce(&PartitionCounts) -> PartitionCounts,
        now: Instant,
    ) {
        if let (State::Stable, Some(shared_out)) = (&self.state, &self.shared_out)
            && counts(shared_out) != *shared_out
        {
            self.rebalance(now, false);
        }
    }

    /// What newer metadata says of the topics that this member subscribed to.
    pub fn topics_now(
        &mut self,
        status: impl Fn(&str) -> TopicStatus,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let shared_out = self.shared_out.iter().flat_map(BTreeMap::values);
        let awaits_more = shared_out.into_iter().any(|count| *count == 0);
        self.missing_topics
            .update(&self.topics, awaits_more, status, now, pause);
    }

    /// When to look for missing topics again.
    pub fn look_at(&self) -> Option<Instant> {
        self.missing_topics.look_at()
    }

    /// Whether to look for missing topics now.
    pub fn must_look(&mut self, now: Instant) -> bool {
        self.missing_topics.must_look(now)
    }

    /// Who commits, or why nobody can now.
    pub fn identity(&self) -> Result<Identity> {
        match self.state {
            State::Stable | State::Releasing { lost: false } if self.owns => Ok(Identity {
                generation: self.generation,
                member_id: self.member_id.clone(),
                instance_id: self.config.instance_id.clone(),
            }),
            State::Over => Err(self.failure.clone().unwrap_or_else(|| {
                Error::new(
                    ErrorKind::Closed,
                    "the consumer has left its group: nothing can be committed",
                )
            })),
            _ => Err(Error::new(
                ErrorKind::Rebalance,
                "this member has no partitions of the group now, it is joining or was put out: poll, and commit what is assigned then",
            )),
        }
    }

    /// The coordinator refused a commit: what that says about the membership. That of an earlier generation says nothing.
    pub fn commit_refused(&mut self, identity: &Identity, code: ErrorCode, now: Instant) {
        let holds = matches!(self.state, State::Stable | State::Releasing { lost: false });
        let is_ours =
            self.generation == identity.generation && self.member_id == identity.member_id;
        if holds && is_ours {
            self.put_out(code, ApiKey::OFFSET_COMMIT, now);
        }
    }

    /// What the application must hear of: the failure that ended the membership, each time; what has gone wrong for the request timeout, and
    /// topics that are missing, once each.
    pub fn error(&mut self, now: Instant) -> Option<Error> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        let patience = self.config.request_timeout;
        self.trouble
            .report(now)
            .or_else(|| self.missing_topics.report(now, patience))
    }

    /// Notes who is asked, for errors to name.
    pub fn speaks_to(&mut self, node: i32, address: &Address) {
        self.coordinator = Some((node, address.clone()));
    }

    /// The coordinator is there: a join that it has not answered waits for other members.
    pub fn coordinator_alive(&mut self, now: Instant) {
        self.trouble.alive(now);
    }

    /// The request with which to leave for good; none for a static member, which may come back, or where there is nothing to leave.
    pub fn leave(&mut self) -> Option<LeaveGroupRequest> {
        let leave = self.leave_request("the consumer was closed");
        self.state = State::Over;
        self.forget_generation();
        leave
    }

    /// The answer to a join.
    pub fn joined(
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
                self.trouble.answered(now);
                if let Err(error) = self.enter(response, now) {
                    self.try_again(self.named(error), now, pause);
                }
            }
            Ok(response) if response.error_code == ErrorCode::MEMBER_ID_REQUIRED => {
                // The first step of joining, not a failure: unless it comes again.
                let is_step = self.member_id.is_empty() && !response.member_id.is_empty();
                self.member_id = response.member_id;
                if is_step {
                    self.trouble.answered(now);
                    self.state = State::Out { join_at: now };
                } else {
                    self.join_refused(response.error_code, ApiKey::JOIN_GROUP, now, pause);
                }
            }
            Ok(response) => self.join_refused(response.error_code, ApiKey::JOIN_GROUP, now, pause),
            Err(error) => self.try_again(error, now, pause),
        }
    }

    /// The partition counts that [`Action::Count`] asked for, or why they cannot be had.
    pub fn share_out(
        &mut self,
        counts: Result<PartitionCounts>,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let State::Assigning { members, skip } = &self.state else {
            return;
        };
        let shares = counts.and_then(|counts| {
            let shares = match skip {
                true => BTreeMap::new(),
                false => self.assignor.assign(members, &counts),
            };
            let shares: Result<BTreeMap<_, _>> = shares
                .iter()
                .map(|(id, share)| Ok((id.clone(), blob::encode_assignment(share)?)))
                .collect();
            self.shared_out = Some(counts);
            shares
        });
        match shares {
            Ok(shares) => {
                self.trouble.answered(now);
                self.state = State::Syncing { shares };
            }
            Err(error) => self.try_again(error, now, pause),
        }
    }

    /// The partitions that an answer to a sync assigns, if it is one that can be read.
    pub fn assigned_by(response: &SyncGroupResponse) -> Vec<TopicPartition> {
        blob::decode_assignment(response.assignment.clone()).unwrap_or_default()
    }

    /// The answer to a sync. `count_of` knows how many partitions a topic has, if that is known for certain.
    pub fn synced(
        &mut self,
        answer: Result<SyncGroupResponse>,
        count_of: impl Fn(&str) -> Option<usize>,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        if !matches!(self.state, State::Synced) {
            return;
        }
        match answer {
            Ok(response) if response.error_code == ErrorCode::NONE => {
                match self.read_assignment(response, count_of) {
                    Ok(assigned) => self.settle(assigned, now),
                    Err(error) => self.try_again(self.named(error), now, pause),
                }
            }
            Ok(response) => self.join_refused(response.error_code, ApiKey::SYNC_GROUP, now, pause),
            Err(error) => self.try_again(error, now, pause),
        }
    }

    fn read_assignment(
        &self,
        response: SyncGroupResponse,
        count_of: impl Fn(&str) -> Option<usize>,
    ) -> Result<Vec<TopicPartition>> {
        checks::check_sync(&response, &self.wanted())?;
        let assigned = blob::decode_assignment(response.assignment)
            .map_err(|error| error.api(ApiKey::SYNC_GROUP))?;
        checks::check_assignment(&assigned, &self.joined_for, count_of)?;
        Ok(assigned)
    }

    /// The answer to a heartbeat that was sent at `sent`. A rebalance is an answer as good as any: the session goes on from there.
    pub fn heartbeat_answered(
        &mut self,
        code: ErrorCode,
        sent: Instant,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        if !matches!(self.state, State::Stable | State::Releasing { .. }) {
            return;
        }
        match code {
            ErrorCode::NONE => self.heard(sent),
            ErrorCode::REBALANCE_IN_PROGRESS => {
                self.heard(sent);
                self.put_out(code, ApiKey::HEARTBEAT, now);
            }
            code if self.put_out(code, ApiKey::HEARTBEAT, now) => self.trouble.answered(now),
            code => {
                let error = self.refusal(code, ApiKey::HEARTBEAT);
                self.heartbeat_failed(error, now, pause);
            }
        }
    }

    /// The coordinator accepted a heartbeat that was sent at `sent`.
    fn heard(&mut self, sent: Instant) {
        self.session_from = self.session_from.max(sent);
        self.trouble.succeeded();
    }

    /// By when a heartbeat that is sent now must be answered: within the session, but never before the next one is due.
    pub fn heartbeat_deadline(&self, now: Instant) -> Instant {
        let session_end = self.session_from + self.config.session_timeout;
        session_end
            .max(now + self.config.heartbeat_interval)
            .min(now + self.config.request_timeout)
    }

    /// A heartbeat could not be sent, got no answer, or was refused: the next one does not wait for its turn. As long as nobody says that
    /// others have the partitions, they are kept: a coordinator that is silent cannot have given them away (or a commit will tell).
    pub fn heartbeat_failed(
        &mut self,
        error: Error,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let longest = self.config.heartbeat_interval;
        let pause = |attempts| pause(attempts).min(longest);
        self.next_heartbeat = self.trouble.failed(error, now, pause);
    }

    /// Takes the word of the coordinator, in its answer to a heartbeat or a commit, that this member is not in its generation any more.
    /// Whether it was that.
    fn put_out(&mut self, code: ErrorCode, api: ApiKey, now: Instant) -> bool {
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
            // Its coordinator is moving or loading, or it is one bad answer: whoever asked asks again.
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
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.member_id.clear();
                self.step_back(error, now, pause);
            }
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION => {
                self.step_back(error, now, pause);
            }
            _ => self.try_again(error, now, pause),
        }
    }

    /// Joins again at once, since the group has moved on: unless that has just been tried.
    fn step_back(&mut self, error: Error, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.forget_generation();
        let join_at = self.trouble.failed(error, now, |attempts| match attempts {
            1 => Duration::ZERO,
            _ => pause(attempts - 1),
        });
        self.state = State::Out { join_at };
    }

    /// Joins again after a pause, whatever it was: what cannot pass by itself may pass once somebody has seen to it.
    fn try_again(&mut self, error: Error, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.forget_generation();
        let join_at = self.trouble.failed(error, now, pause);
        self.state = State::Out { join_at };
    }

    fn fail(&mut self, error: Error) {
        self.forget_generation();
        self.failure = Some(error);
        self.state = State::Over;
    }

    /// A code that the coordinator answered with.
    fn refusal(&self, code: ErrorCode, api: ApiKey) -> Error {
        let error = self.named(Error::server(code, None).api(api));
        match code {
            ErrorCode::FENCED_INSTANCE_ID if self.is_static() => error,
            // Nothing else ends a member, whatever it means to others.
            _ if error.is_fatal() => error.tried_on(),
            _ => error,
        }
    }

    /// Names the coordinator.
    fn named(&self, error: Error) -> Error {
        match &self.coordinator {
            Some((node, address)) => error.broker(*node, address),
            None => error,
        }
    }

    fn is_static(&self) -> bool {
        self.config.instance_id.is_some()
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            protocol_type: PROTOCOL_TYPE,
            protocol_name: self.assignor.name(),
        }
    }

    /// Another round: once the application has let go of what it holds.
    fn rebalance(&mut self, now: Instant, lost: bool) {
        if lost {
            self.forget_generation();
        }
        self.assigned = None;
        self.shared_out = None;
        self.state = if self.owns {
            State::Releasing { lost }
        } else {
            State::Out { join_at: now }
        };
    }

    fn forget_generation(&mut self) {
        self.generation = NO_GENERATION;
        self.assigned = None;
        self.shared_out = None;
    }

    fn join(&mut self, now: Instant) -> Action {
        let metadata = match blob::encode_subscription(&self.topics) {
            Ok(metadata) => metadata,
            Err(error) => {
                // Until other topics are subscribed to.
                let pause = self.config.heartbeat_interval;
                let join_at = self.trouble.failed(error, now, |_| pause);
                self.state = State::Out { join_at };
                return Action::Wait(Some(join_at));
            }
        };
        self.trouble.asked(ApiKey::JOIN_GROUP, now, now);
        self.joined_for.clone_from(&self.topics);
        self.state = State::Joining;
        Action::Join(JoinGroupRequest {
            group_id: self.config.group_id.clone(),
            session_timeout_ms: millis(self.config.session_timeout),
            rebalance_timeout_ms: millis(self.config.max_poll_interval),
            member_id: self.member_id.clone(),
            group_instance_id: self.config.instance_id.clone(),
            protocol_type: PROTOCOL_TYPE.to_string(),
            protocols: vec![JoinGroupRequestProtocol {
                name: self.assignor.name().to_string(),
                metadata,
                ..Default::default()
            }],
            ..Default::default()
        })
    }

    /// The coordinator let this member in.
    fn enter(&mut self, response: JoinGroupResponse, now: Instant) -> Result<()> {
        checks::check_join(&response, &self.wanted())?;
        self.generation = response.generation_id;
        self.session_from = now;
        self.next_heartbeat = now + self.config.heartbeat_interval;
        self.shared_out = None;
        let leads = response.leader == response.member_id;
        self.member_id = response.member_id;
        if !leads {
            self.state = State::Syncing {
                shares: BTreeMap::new(),
            };
            return Ok(());
        }
        let mut members = Vec::with_capacity(response.members.len());
        for member in response.members {
            members.push(Member {
                topics: blob::decode_subscription(member.metadata)?,
                id: member.member_id,
                instance_id: member.group_instance_id,
            });
        }
        // A static leader that came back (KIP-814) finds the shares as they were: it shares out nothing, but notices what changes.
        self.state = State::Assigning {
            members,
            skip: response.skip_assignment,
        };
        Ok(())
    }

    fn sync(&mut self, shares: BTreeMap<String, Bytes>) -> Action {
        self.state = State::Synced;
        let assignments = shares
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
            protocol_name: Some(self.assignor.name().to_string()),
            assignments,
            ..Default::default()
        })
    }

    fn settle(&mut self, assigned: Vec<TopicPartition>, now: Instant) {
        if self.joined_for != self.topics {
            // The subscription changed while the group was sharing out by the old one.
            self.state = State::Out { join_at: now };
            return;
        }
        self.trouble.succeeded();
        self.session_from = now;
        self.next_heartbeat = now + self.config.heartbeat_interval;
        self.assigned = Some(assigned);
        self.state = State::Stable;
    }

    fn heartbeat(&mut self, now: Instant) -> Action {
        if now < self.next_heartbeat {
            let poll_limit = self.last_poll + self.config.max_poll_interval;
            return Action::Wait(Some(self.next_heartbeat.min(poll_limit)));
        }
        // A heartbeat is the first to notice that the coordinator has gone silent since the one before.
        let silent = self
            .config
            .heartbeat_interval
            .min(self.config.request_timeout / 2);
        let silent_since = now.checked_sub(silent).unwrap_or(now);
        self.trouble.asked(ApiKey::HEARTBEAT, silent_since, now);
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
