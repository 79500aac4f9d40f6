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
use protocol::ErrorCode;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use tokio::time::Instant;

use super::assignor::{Assignor, Member, PartitionCounts};
use super::protocol as blob;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

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
    trouble: Option<Trouble>,
    failure: Option<Error>,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    /// The last failure: what was not tried again is not failing.
    last: Instant,
    attempts: u32,
    error: Error,
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
    /// Left for good, or failed for good.
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
            trouble: None,
            failure: None,
        }
    }

    /// What to do now. A request that it gives counts as sent.
    pub fn next(&mut self, now: Instant) -> Action {
        self.watch_the_clock(now);
        match &mut self.state {
            State::Out { join_at } if *join_at <= now => self.join(),
            State::Out { join_at } => Action::Wait(Some(*join_at)),
            State::Assigning { members, .. } => Action::Count(
                members
                    .iter()
                    .flat_map(|member| member.topics.iter().cloned())
                    .collect(),
            ),
            State::Syncing { shares } => {
                let shares = std::mem::take(shares);
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

    /// The request with which to leave because the application has not polled for too long; once per such silence.
    pub fn leave_if_forgotten(&mut self, now: Instant) -> Option<LeaveGroupRequest> {
        let member = !matches!(self.state, State::Asleep | State::Over | State::Out { .. });
        if !member || now.duration_since(self.last_poll) < self.config.max_poll_interval {
            return None;
        }
        let leave = self.leave_request("the application did not poll within max.poll.interval.ms");
        self.state = State::Asleep;
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

    /// The coordinator refused a commit: what that says about the membership.
    pub fn commit_refused(&mut self, identity: &Identity, code: ErrorCode, now: Instant) {
        if self.generation == identity.generation && self.member_id == identity.member_id {
            self.refused(code, now);
        }
    }

    /// The failure that ended the membership, or the trouble that has lasted for `patience` (given once per such time).
    pub fn error(&mut self, now: Instant, patience: Duration) -> Option<Error> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        let trouble = self
            .trouble
            .as_mut()
            .filter(|trouble| trouble.last.duration_since(trouble.since) >= patience)?;
        trouble.since = now;
        Some(trouble.error.clone())
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
                if let Err(error) = self.enter(response, now) {
                    self.try_again(error, now, pause);
                }
            }
            Ok(response) if response.error_code == ErrorCode::MEMBER_ID_REQUIRED => {
                self.member_id = response.member_id;
                self.state = State::Out { join_at: now };
            }
            Ok(response) => self.join_refused(response.error_code, now, pause),
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
            Ok(shares) => self.state = State::Syncing { shares },
            Err(error) => self.try_again(error, now, pause),
        }
    }

    /// The answer to a sync.
    pub fn synced(
        &mut self,
        answer: Result<SyncGroupResponse>,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        if !matches!(self.state, State::Synced) {
            return;
        }
        match answer {
            Ok(response) if response.error_code == ErrorCode::NONE => {
                match blob::decode_assignment(response.assignment) {
                    Ok(assigned) => self.settle(assigned, now),
                    Err(error) => self.try_again(error, now, pause),
                }
            }
            Ok(response) => self.join_refused(response.error_code, now, pause),
            Err(error) => self.try_again(error, now, pause),
        }
    }

    /// The answer to a heartbeat that was sent at `sent`. What is no answer changes nothing: the session's end will.
    pub fn heartbeat_answered(&mut self, code: ErrorCode, sent: Instant, now: Instant) {
        if code == ErrorCode::NONE {
            self.session_from = self.session_from.max(sent);
            self.trouble = None;
        } else if matches!(self.state, State::Stable | State::Releasing { .. }) {
            self.refused(code, now);
        }
    }

    /// When the session is over unless a heartbeat is accepted.
    pub fn session_end(&self) -> Instant {
        self.session_from + self.config.session_timeout
    }

    /// A heartbeat could not be sent, or got no answer.
    pub fn heartbeat_failed(
        &mut self,
        error: Error,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let pause = pause(self.note(error, now));
        self.next_heartbeat = self.next_heartbeat.min(now + pause);
    }

    /// Ends the session when the coordinator has not heard of this member for too long: by now it has given the partitions to others.
    fn watch_the_clock(&mut self, now: Instant) {
        let in_session = matches!(self.state, State::Stable | State::Releasing { lost: false });
        if in_session && now >= self.session_end() {
            self.rebalance(now, true);
        }
    }

    /// What a code says when the coordinator answers a heartbeat or a commit with it.
    fn refused(&mut self, code: ErrorCode, now: Instant) {
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
            ErrorCode::FENCED_INSTANCE_ID | ErrorCode::GROUP_AUTHORIZATION_FAILED => {
                self.fail(Error::server(code, None))
            }
            // Its coordinator is moving or loading: whoever asked finds it again.
            _ => {}
        }
    }

    /// What a code says when the coordinator answers a join or a sync with it.
    fn join_refused(&mut self, code: ErrorCode, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        match code {
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.member_id.clear();
                // Not the code's own error: the member goes on under a new id, so that polling again makes sense.
                let message = "the coordinator does not know this member any more: it joins anew";
                self.try_again(Error::new(ErrorKind::Rebalance, message), now, pause);
            }
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION => {
                self.forget_generation();
                self.state = State::Out { join_at: now };
            }
            _ => self.try_again(Error::server(code, None), now, pause),
        }
    }

    /// Joins again after a pause, unless the error says that it never will succeed.
    fn try_again(&mut self, error: Error, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        let passes = error.is_retriable()
            || matches!(error.kind(), ErrorKind::Rebalance | ErrorKind::Protocol);
        if !passes {
            return self.fail(error);
        }
        self.forget_generation();
        let pause = pause(self.note(error, now));
        self.state = State::Out {
            join_at: now + pause,
        };
    }

    fn note(&mut self, error: Error, now: Instant) -> u32 {
        let trouble = self.trouble.get_or_insert_with(|| Trouble {
            since: now,
            last: now,
            attempts: 0,
            error: error.clone(),
        });
        trouble.last = now;
        trouble.attempts += 1;
        trouble.error = error;
        trouble.attempts
    }

    fn fail(&mut self, error: Error) {
        self.forget_generation();
        self.failure = Some(error);
        self.state = State::Over;
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

    fn join(&mut self) -> Action {
        let metadata = match blob::encode_subscription(&self.topics) {
            Ok(metadata) => metadata,
            Err(error) => {
                self.fail(error);
                return Action::End;
            }
        };
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
        self.trouble = None;
        self.session_from = now;
        self.next_heartbeat = now + self.config.heartbeat_interval;
        self.assigned = Some(assigned);
        self.state = State::Stable;
    }

    fn heartbeat(&mut self, now: Instant) -> Action {
        if now < self.next_heartbeat {
            let poll_limit = self.last_poll + self.config.max_poll_interval;
            return Action::Wait(Some(
                self.next_heartbeat.min(poll_limit).min(self.session_end()),
            ));
        }
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
