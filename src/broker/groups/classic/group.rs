//! One classic group: its members, its state, and how a rebalance begins and ends.
//!
//! Empty → PreparingRebalance (members are joining) → CompletingRebalance (the leader's assignment is awaited) → Stable, and back to
//! PreparingRebalance whenever membership changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use protocol::messages::sync_group_response::SyncGroupResponse;
use tokio::time::Instant;

use super::membership;
use crate::broker::groups::{GroupSettings, Reply};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) session_timeout: Duration,
    /// Assignors that the member knows, its favourite first, each with what it tells the leader.
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    /// When it is taken for dead; none while it waits for an answer of ours.
    pub(crate) deadline: Option<Instant>,
    pub(crate) join: Option<Reply<JoinGroupResponse>>,
    pub(crate) sync: Option<Reply<SyncGroupResponse>>,
}

/// A group whose members assign the partitions among themselves.
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) settings: GroupSettings,
    pub(crate) state: State,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    /// Instance id → member id (KIP-345).
    pub(crate) static_members: BTreeMap<String, String>,
    /// Member ids that were handed out but have not joined yet, and when they lapse (KIP-394).
    pub(crate) pending: BTreeMap<String, Instant>,
    /// Who has not asked for the assignment of this generation yet, and until when they may.
    pub(crate) pending_sync: BTreeSet<String>,
    sync_deadline: Option<Instant>,
    join_deadline: Option<Instant>,
    /// The rebalance out of Empty, which waits a while for more members.
    initial_delay: Option<InitialDelay>,
}

#[derive(Debug)]
struct InitialDelay {
    remaining: Duration,
    member_added: bool,
}

impl ClassicGroup {
    pub(crate) fn new(settings: GroupSettings) -> Self {
        Self {
            settings,
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            sync_deadline: None,
            join_deadline: None,
            initial_delay: None,
        }
    }

    /// A member is there, or is no longer: begin a rebalance, or end the one under way if all have joined.
    pub(crate) fn membership_changed(&mut self, now: Instant) {
        match self.state {
            State::PreparingRebalance => self.complete_join_if_all_joined(now),
            _ => self.prepare_rebalance(now),
        }
    }

    pub(crate) fn prepare_rebalance(&mut self, now: Instant) {
        if self.state == State::CompletingRebalance {
            self.finish_syncs(ErrorCode::REBALANCE_IN_PROGRESS, now);
        }
        self.pending_sync.clear();
        self.sync_deadline = None;
        let initial = self.state == State::Empty;
        self.state = State::PreparingRebalance;
        let rebalance_timeout = self.rebalance_timeout();
        if initial {
            let delay = self.settings.initial_rebalance_delay;
            let remaining = rebalance_timeout.saturating_sub(delay);
            self.initial_delay = Some(InitialDelay {
                remaining,
                member_added: false,
            });
            self.join_deadline = Some(now + delay);
            if delay.is_zero() {
                self.complete_join(now);
            }
        } else {
            self.join_deadline = Some(now + rebalance_timeout);
            self.complete_join_if_all_joined(now);
        }
    }

    /// A new member during the initial delay prolongs it.
    pub(crate) fn note_new_member(&mut self) {
        if let Some(initial) = &mut self.initial_delay {
            initial.member_added = true;
        }
    }

    pub(crate) fn complete_join_if_all_joined(&mut self, now: Instant) {
        let all_joined =
            self.pending.is_empty() && self.members.values().all(|member| member.join.is_some());
        if self.state == State::PreparingRebalance && self.initial_delay.is_none() && all_joined {
            self.complete_join(now);
        }
    }

    /// The gathering is over: members that did not come are dropped, the others get the new generation.
    fn complete_join(&mut self, now: Instant) {
        self.join_deadline = None;
        self.initial_delay = None;
        let absent = |member: &Member| member.join.is_none() && member.instance_id.is_none();
        let dropped: Vec<_> = self
            .members
            .iter()
            .filter(|(_, m)| absent(m))
            .map(|(id, _)| id.clone())
            .collect();
        for id in dropped {
            self.remove(&id);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members are left, none of which came back yet: wait on for them.
            self.join_deadline = Some(now + self.rebalance_timeout());
            return;
        }
        self.begin_generation(now);
    }

    fn begin_generation(&mut self, now: Instant) {
        self.generation += 1;
        if self.members.is_empty() {
            self.state = State::Empty;
            self.protocol = None;
            return;
        }
        self.state = State::CompletingRebalance;
        self.protocol = self.select_protocol();
        self.pending_sync = self.members.keys().cloned().collect();
        self.sync_deadline = Some(now + self.rebalance_timeout());
        for id in self.pending_sync.clone() {
            let answer = self.joined(&id);
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            member.deadline = Some(now + member.session_timeout);
            if let Some(reply) = member.join.take() {
                let _ = reply.send(answer);
            }
        }
    }

    /// What a member of the current generation is told on joining; the leader also gets the members.
    pub(crate) fn joined(&self, member_id: &str) -> JoinGroupResponse {
        let is_leader = self.leader.as_deref() == Some(member_id);
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: member_id.to_owned(),
            members: if is_leader {
                self.listed_members()
            } else {
                Vec::new()
            },
            ..Default::default()
        }
    }

    pub(crate) fn listed_members(&self) -> Vec<JoinGroupResponseMember> {
        let chosen = |member: &Member| {
            let metadata = member
                .protocols
                .iter()
                .find(|(name, _)| Some(name) == self.protocol.as_ref());
            metadata
                .map(|(_, metadata)| metadata.clone())
                .unwrap_or_default()
        };
        let list = |(id, member): (&String, &Member)| JoinGroupResponseMember {
            member_id: id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: chosen(member),
            ..Default::default()
        };
        self.members.iter().map(list).collect()
    }

    fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &String| {
            self.members
                .get(id)
                .is_some_and(|member| member.join.is_some())
        };
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let first = self
            .members
            .iter()
            .find(|(_, member)| member.join.is_some())
            .map(|(id, _)| id.clone());
        let found = first.is_some();
        if found {
            self.leader = first;
        }
        found
    }

    /// The assignor that all know and most prefer; among equals, the one that the leader puts first.
    pub(crate) fn select_protocol(&self) -> Option<String> {
        let leader = self.members.get(self.leader.as_ref()?)?;
        let known_to_all = |name: &String| self.members.values().all(|member| member.knows(name));
        let candidates: Vec<_> = leader
            .protocols
            .iter()
            .map(|(name, _)| name)
            .filter(|n| known_to_all(n))
            .collect();
        let favourite = |member: &Member| {
            member
                .protocols
                .iter()
                .position(|(name, _)| candidates.contains(&name))
        };
        let mut votes = vec![0usize; candidates.len()];
        for member in self.members.values() {
            let Some(index) = favourite(member) else {
                continue;
            };
            let name = &member.protocols[index].0;
            if let Some(candidate) = candidates.iter().position(|candidate| *candidate == name) {
                votes[candidate] += 1;
            }
        }
        let most = votes.iter().max()?;
        let winner = votes.iter().position(|count| count == most)?;
        Some(candidates[winner].clone())
    }

    /// Whether someone with these assignors could join.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let known_to_all = |name: &String| self.members.values().all(|member| member.knows(name));
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| known_to_all(name))
    }

    /// Takes a member out; whoever waits for it hears that it is unknown.
    pub(crate) fn remove(&mut self, member_id: &str) {
        let Some(member) = self.members.remove(member_id) else {
            return;
        };
        self.pending_sync.remove(member_id);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        member.dismiss(member_id, ErrorCode::UNKNOWN_MEMBER_ID);
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Answers every waiting sync; sessions run again from here.
    pub(crate) fn finish_syncs(&mut self, error: ErrorCode, now: Instant) {
        let (protocol_type, protocol_name) = (self.protocol_type.clone(), self.protocol.clone());
        for member in self.members.values_mut() {
            let Some(reply) = member.sync.take() else {
                continue;
            };
            member.deadline = Some(now + member.session_timeout);
            let _ = reply.send(match error {
                ErrorCode::NONE => SyncGroupResponse {
                    protocol_type: protocol_type.clone(),
                    protocol_name: protocol_name.clone(),
                    assignment: member.assignment.clone(),
                    ..Default::default()
                },
                error => membership::failed_sync(error),
            });
        }
    }

    /// All are in: nobody is late any more.
    pub(crate) fn synced(&mut self, member_id: &str) {
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() {
            self.sync_deadline = None;
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let members = self.members.values().filter_map(|member| member.deadline);
        let pending = self.pending.values().copied();
        members
            .chain(pending)
            .chain(self.sync_deadline)
            .chain(self.join_deadline)
            .min()
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        let late = |member: &Member| member.deadline.is_some_and(|deadline| deadline <= now);
        let dead: Vec<_> = self
            .members
            .iter()
            .filter(|(_, m)| late(m))
            .map(|(id, _)| id.clone())
            .collect();
        let lapsed = self.pending.len();
        self.pending.retain(|_, deadline| *deadline > now);
        for id in &dead {
            self.remove(id);
        }
        if !dead.is_empty() {
            self.membership_changed(now);
        } else if lapsed != self.pending.len() {
            self.complete_join_if_all_joined(now);
        }
        if self.join_deadline.is_some_and(|deadline| deadline <= now) {
            self.join_deadline_passed(now);
        }
        if self.sync_deadline.is_some_and(|deadline| deadline <= now) {
            self.sync_deadline_passed(now);
        }
    }

    fn join_deadline_passed(&mut self, now: Instant) {
        if let Some(initial) = &mut self.initial_delay
            && initial.member_added
            && !initial.remaining.is_zero()
        {
            let delay = self.settings.initial_rebalance_delay.min(initial.remaining);
            initial.remaining -= delay;
            initial.member_added = false;
            self.join_deadline = Some(now + delay);
            return;
        }
        self.complete_join(now);
    }

    /// Members that joined but never asked for their assignment are dropped.
    fn sync_deadline_passed(&mut self, now: Instant) {
        self.sync_deadline = None;
        for id in std::mem::take(&mut self.pending_sync) {
            self.remove(&id);
        }
        self.prepare_rebalance(now);
    }

    pub(crate) fn coordinator_moved(&mut self, now: Instant) {
        for (id, member) in &mut self.members {
            member.answer_waiting(id, ErrorCode::NOT_COORDINATOR);
            member.deadline = Some(now + member.session_timeout);
        }
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members
            .values()
            .map(|member| member.rebalance_timeout)
            .max()
            .unwrap_or_default()
    }
}

impl Member {
    pub(crate) fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// Tells whoever waits for this member that it is not what they think.
    pub(crate) fn dismiss(mut self, member_id: &str, error: ErrorCode) {
        self.answer_waiting(member_id, error);
    }

    pub(crate) fn answer_waiting(&mut self, member_id: &str, error: ErrorCode) {
        if let Some(reply) = self.join.take() {
            super::join::refuse(reply, member_id.to_owned(), error);
        }
        if let Some(reply) = self.sync.take() {
            membership::refuse_sync(reply, error);
        }
    }
}

pub(crate) fn millis(value: i32) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}
