//! A member's part in the classic group protocol.
//!
//! In: responses of the coordinator, polls of the application, the time. Out: what to send next, the duties of polls, and errors. Sends
//! nothing itself. What the requests say is in `membership/requests`, what the responses mean in `membership/responses`.
//!
//! ```text
//!   Unjoined ──> Joining ──(leader: Assigning)──> Syncing ──> AwaitingSync ──> Stable ──rebalance──> Revoking ──duties done──> Unjoined
//! ```
//!
//! Mostly it is eager: everything is revoked before each join. That happens inside a poll, so that the rebalance listener runs where records
//! are returned; until that is done, the member keeps its place by heartbeats and does not rejoin.
//!
//! If all that it offers is cooperative (KIP-429), it owns its partitions on while it joins, and says so. What an assignment leaves out is
//! revoked, and then it rejoins, so that another can have it. Partitions are lost only with the membership.

mod requests;
mod responses;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use super::assignor::{Assignor, GroupTopics, Member};
use crate::kafka::group::duty::{Duties, Duty};
use crate::kafka::group::failure_tracker::FailureTracker;
use crate::kafka::group::group_metadata::{GroupMetadata, NO_GENERATION};
use crate::kafka::group::member::{GroupMembership, MembershipConfig, Wanted, not_now};
use crate::kafka::group::missing_topics::{MissingTopics, TopicStatus};
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Address, Error, Result, TopicId, TopicPartition};

const PROTOCOL_TYPE: &str = "consumer";

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
    /// What it said that it owned when it joined: what is withheld of that is others' once it has joined again.
    claimed: BTreeSet<TopicPartition>,
    /// What it was assigned last, and in which generation: sticky assignors tell the leader.
    last_assignment: (Vec<TopicPartition>, i32),
    /// The topics as they were when this member, as leader, assigned them: a change triggers a rebalance.
    assigned_topics: Option<GroupTopics>,
    /// When it joined again because of what was in the making before it came back.
    looked_back_at: Option<Instant>,
    last_poll: Instant,
    next_heartbeat: Instant,
    /// When the last heartbeat was sent that the coordinator accepted.
    session_start: Instant,
    /// Who was asked last.
    coordinator: Option<(i32, Address)>,
    missing_topics: MissingTopics,
    failures: FailureTracker,
    failure: Option<Error>,
    /// It joins only to commit what it holds still.
    is_leaving: bool,
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
    /// Left for good, fenced by another member of the same instance id, or without a place when it was about to leave.
    Ended,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    Join(JoinGroupRequest),
    /// Learn how many partitions each of these topics has, and where, if any member says where it runs; then call [`Membership::assign`].
    DescribeTopics {
        topics: BTreeSet<String>,
        with_racks: bool,
    },
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
            claimed: BTreeSet::new(),
            last_assignment: (Vec::new(), NO_GENERATION),
            assigned_topics: None,
            looked_back_at: None,
            last_poll: now,
            next_heartbeat: now,
            session_start: now,
            coordinator: None,
            missing_topics: MissingTopics::default(),
            failure: None,
            is_leaving: false,
        }
    }

    /// What to do now. A request that it returns counts as sent.
    pub fn next_action(&mut self, now: Instant) -> Action {
        #[cfg(planted_defects)]
        self.end_session(now);
        match &mut self.state {
            State::Unjoined { .. } if self.is_leaving && self.duties.held().is_empty() => {
                self.state = State::Ended;
                Action::End
            }
            State::Unjoined { join_at } if *join_at <= now => self.join(now),
            State::Unjoined { join_at } => Action::Wait(Some(*join_at)),
            State::Assigning { members, .. } => {
                self.failures.sent(ApiKey::METADATA, now, now);
                let topics = members.iter().flat_map(|it| it.subscription.topics.iter());
                Action::DescribeTopics {
                    topics: topics.cloned().collect(),
                    with_racks: members.iter().any(|it| it.subscription.rack.is_some()),
                }
            }
            State::Syncing { assignments } => {
                let assignments = std::mem::take(assignments);
                self.failures.sent(ApiKey::SYNC_GROUP, now, now);
                // Its answer begins another session, nobody knows how long before it comes.
                self.session_start = now;
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

    /// The group's topics by newer metadata: the leader triggers a rebalance when they differ from those by which it assigned.
    pub fn on_topics(&mut self, newer: impl FnOnce(&GroupTopics) -> GroupTopics, now: Instant) {
        if let (State::Stable, Some(assigned_topics)) = (&self.state, &self.assigned_topics)
            && newer(assigned_topics) != *assigned_topics
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
        let assigned_topics = self.assigned_topics.iter().flat_map(BTreeMap::values);
        let awaits_more = assigned_topics.into_iter().any(|topic| topic.count == 0);
        self.missing_topics
            .update(&self.topics, awaits_more, status, now, pause);
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

    #[cfg(planted_defects)]
    fn end_session(&mut self, now: Instant) {
        let in_session = matches!(self.state, State::Stable | State::Revoking { lost: false });
        if in_session
            && now >= self.session_end()
            && planted::is_planted(planted::Defect::SessionEndsInRebalance)
        {
            self.rebalance(now, true);
        }
    }

    fn is_static(&self) -> bool {
        self.config.instance_id.is_some()
    }

    fn assignor(&self) -> &dyn Assignor {
        &*self.assignors[self.picked]
    }

    /// Rejoins, once the application has given up what it owns.
    fn rebalance(&mut self, now: Instant, lost: bool) {
        if lost {
            self.forget_generation();
        }
        self.assigned_topics = None;
        match lost {
            true => self.duties.lose_all(),
            false if self.is_cooperative() => {
                let topics = &self.topics;
                (self.duties).revoke(|it| !topics.iter().any(|topic| **topic == *it.topic));
            }
            false => self.duties.revoke_all(),
        }
        self.state = match self.duties.is_giving_up() {
            true => State::Revoking { lost },
            false => State::Unjoined { join_at: now },
        };
    }

    /// Whether the application keeps its partitions while the group rebalances: if all that is offered is cooperative.
    fn is_cooperative(&self) -> bool {
        self.assignors.iter().all(|it| it.is_cooperative())
    }

    fn forget_generation(&mut self) {
        self.generation = NO_GENERATION;
        self.assigned_topics = None;
    }

    /// Whether the application has to poll before the member rejoins.
    pub fn is_stale(&self) -> bool {
        matches!(self.state, State::Stale)
    }

    /// Subscribed topics that are not there.
    pub fn missing_topics(&mut self) -> &mut MissingTopics {
        &mut self.missing_topics
    }
}

impl GroupMembership for Membership {
    fn polled(&mut self, now: Instant) -> bool {
        self.last_poll = now;
        let wakes = matches!(self.state, State::Stale) && !self.duties.is_giving_up();
        if wakes {
            self.state = State::Unjoined { join_at: now };
        }
        wakes
    }

    fn begin_duty(&mut self, now: Instant) -> Option<Duty> {
        if now >= self.session_end() {
            self.duties.set_heard(false);
        }
        self.duties.begin()
    }

    fn duty_done(&mut self, duty: &Duty, now: Instant) {
        self.duties.done(duty);
        let waits = matches!(self.state, State::Revoking { .. } | State::Stale);
        if waits && !self.duties.is_giving_up() {
            self.state = State::Unjoined { join_at: now };
        }
    }

    #[cfg(test)]
    fn post_duty(&mut self, duty: Duty) {
        self.duties.post(duty);
    }

    fn has_lost(&self) -> bool {
        matches!(self.duties.first(), Some(Duty::Lost(_)))
    }

    fn will_leave(&mut self) {
        self.is_leaving = true;
    }

    /// As in a rebalance of an eager member, it does not join again before everything is given up.
    fn prepare_to_leave(&mut self) {
        if matches!(self.state, State::Stable) && !self.duties.owned().is_empty() {
            self.duties.revoke_all();
            self.state = State::Revoking { lost: false };
        }
    }

    fn topic_of(&self, _: &TopicPartition) -> Option<TopicId> {
        None
    }

    fn resubscribe(&mut self, wanted: Wanted, now: Instant) {
        if self.topics != wanted.topics {
            self.topics = wanted.topics;
            if matches!(self.state, State::Stable) {
                self.rebalance(now, false);
            }
        }
    }

    fn group_metadata(&self) -> Result<GroupMetadata> {
        match self.state {
            State::Stable | State::Revoking { lost: false } => Ok(GroupMetadata {
                generation: self.generation,
                tenure: self.generation,
                member_id: self.member_id.clone(),
                instance_id: self.config.instance_id.clone(),
            }),
            _ => {
                let has_ended = matches!(self.state, State::Ended);
                let owns = !self.duties.owned().is_empty();
                Err(not_now(self.failure.as_ref(), has_ended, owns))
            }
        }
    }

    fn fetches_as(&self) -> Option<(String, i32)> {
        None
    }

    fn on_commit_error(&mut self, identity: &GroupMetadata, code: ErrorCode, now: Instant) {
        let holds = matches!(self.state, State::Stable | State::Revoking { lost: false });
        let is_ours =
            self.generation == identity.generation && self.member_id == identity.member_id;
        if holds && is_ours {
            self.on_generation_error(code, ApiKey::OFFSET_COMMIT, now);
        }
    }

    fn error(&mut self, now: Instant) -> Option<Error> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        let timeout = self.config.request_timeout;
        self.failures
            .report(now)
            .or_else(|| self.missing_topics.report(now, timeout))
    }
}

#[cfg(test)]
mod tests;
