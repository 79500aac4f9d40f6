//! What a response of the coordinator means for the member, and what its absence does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use super::{Membership, State};
use crate::kafka::group::classic::assignment_note::{AssignmentNote, fingerprint};
use crate::kafka::group::classic::assignor::{GroupTopics, Member};
use crate::kafka::group::classic::consumer_protocol;
use crate::kafka::group::classic::response_checks;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Error, Result, TopicPartition};

impl Membership {
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

    /// As leader, assigns the topics that [`Action::DescribeTopics`] asked for, or takes why they are not known.
    pub fn assign(
        &mut self,
        topics: Result<GroupTopics>,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let State::Assigning { members, skip } = &self.state else {
            return;
        };
        let assignor = &self.assignors[self.picked];
        let assignments = topics.and_then(|topics| {
            let assignments = match skip {
                true => BTreeMap::new(),
                false => assignor.assign(members, &topics),
            };
            // Who is restarted has nothing else to go by.
            let notes: BTreeMap<&String, _> = { members.iter() }
                .filter(|member| member.instance_id.is_some())
                .filter_map(
                    |Member {
                         id, subscription, ..
                     }| {
                        let assigned = assignments.get(id)?;
                        Some((id, AssignmentNote::of(&topics, subscription, assigned)))
                    },
                )
                .collect();
            let assignments: Result<BTreeMap<_, _>> = assignments
                .iter()
                .map(|(id, assignment)| {
                    let note = notes.get(id).map(|note| note.encode());
                    Ok((
                        id.clone(),
                        consumer_protocol::encode_assignment(assignment, note)?,
                    ))
                })
                .collect();
            self.assigned_topics = Some(topics);
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
                let note = self.note_in(&response);
                match self.read_assignment(response, count_of) {
                    Ok(assigned) => {
                        self.become_stable(assigned, now);
                        self.look_back(note, now);
                    }
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

    /// What the leader has noted of a static member's assignment.
    fn note_in(&self, response: &SyncGroupResponse) -> Option<AssignmentNote> {
        let bytes = self.is_static().then(|| response.assignment.clone())?;
        AssignmentNote::decode(&consumer_protocol::assignment_user_data(bytes)?)
    }

    /// One that came back was given the assignment of before without a rebalance: it asks for one if the topics are others by now, which its
    /// leader alone would notice, or if others wait for what it was about to give up.
    fn look_back(&mut self, note: Option<AssignmentNote>, now: Instant) {
        let (State::Stable, Some(note)) = (&self.state, note) else {
            return;
        };
        let topics = self.assigned_topics.as_ref();
        let is_outdated = topics.is_some_and(|topics| fingerprint(topics) != note.topics);
        if !is_outdated && !note.gives_up {
            return;
        }
        // A coordinator that goes on telling the same is not asked again and again.
        let before = self.looked_back_at.replace(now);
        self.rebalance(now, false);
        if let (State::Unjoined { join_at }, Some(before)) = (&mut self.state, before) {
            *join_at = now.max(before + self.config.heartbeat_interval);
        }
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
        self.duties.set_heard(true);
        self.session_start = self.session_start.max(sent);
        self.failures.succeeded();
    }

    /// A heartbeat could not be sent, got no response, or was refused: the next one is sent early. As long as nobody says that others own the
    /// partitions, they are kept: if a silent coordinator has assigned them to others, a commit will tell. No others are taken over meanwhile.
    pub fn heartbeat_failed(
        &mut self,
        error: Error,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let longest = self.config.heartbeat_interval;
        let pause = |attempts| pause(attempts).min(longest);
        self.duties.set_heard(false);
        self.next_heartbeat = self.failures.failed(error, now, pause);
    }

    /// An error of a heartbeat or a commit. Whether it said that this member is not in its generation any more; the membership is changed
    /// accordingly.
    pub(super) fn on_generation_error(
        &mut self,
        code: ErrorCode,
        api: ApiKey,
        now: Instant,
    ) -> bool {
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
                if code != ErrorCode::REBALANCE_IN_PROGRESS && !self.duties.held().is_empty() {
                    // A cooperative member that is none any more: others may own what it has.
                    self.failures.failed(error, now, pause);
                    return self.rebalance(now, true);
                }
                self.rejoin_at_once(error, now, pause);
            }
            _ => self.rejoin_after_pause(error, now, pause),
        }
    }

    /// Rejoins at once, since the group has moved on: unless that has just been tried.
    fn rejoin_at_once(&mut self, error: Error, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.leave_generation();
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
        self.leave_generation();
        self.duties.set_heard(false);
        let join_at = self.failures.failed(error, now, pause);
        self.state = State::Unjoined { join_at };
    }

    /// Forgets the generation, unless the member owns partitions by it still.
    fn leave_generation(&mut self) {
        match self.duties.held().is_empty() {
            true => self.forget_generation(),
            false => self.assigned_topics = None,
        }
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
        self.assigned_topics = None;
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

    fn become_stable(&mut self, assigned: Vec<TopicPartition>, now: Instant) {
        if self.joined_topics != self.topics {
            // The subscription changed while the group was assigning by the old one.
            self.state = State::Unjoined { join_at: now };
            return;
        }
        self.failures.succeeded();
        self.duties.set_heard(true);
        let next_heartbeat = now + self.config.heartbeat_interval;
        self.next_heartbeat = next_heartbeat.min(self.session_end()).max(now);
        self.last_assignment = (assigned.clone(), self.generation);
        let claimed = std::mem::take(&mut self.claimed);
        let named: BTreeSet<&TopicPartition> = assigned.iter().collect();
        let is_withheld = claimed.iter().any(|it| !named.contains(it));
        let gives_up = match self.is_cooperative() {
            true => self.duties.become_owner(assigned),
            false => {
                self.duties.assign(assigned);
                false
            }
        };
        self.state = match gives_up {
            true => State::Revoking { lost: false },
            false => State::Stable,
        };
        if is_withheld && !gives_up {
            // The application had not taken it over yet: there is nothing to wait for.
            self.rebalance(now, false);
        }
    }
}
