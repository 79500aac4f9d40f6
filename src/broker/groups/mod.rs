//! Consumer groups (the classic protocol) and their committed offsets, as Kafka's group coordinator keeps them.
//!
//! [`Groups`] owns every group of the cluster. Requests come in with `now`; a join or a sync that has to wait for others keeps its [`Reply`]
//! until the group is ready, everything else is answered at once. Nothing in here knows tasks or sockets: whoever owns it calls
//! [`Groups::expire`] when [`Groups::next_deadline`] has passed.
//!
//! - `group`: one group's state, members and rebalances
//! - `join`: JoinGroup
//! - `membership`: SyncGroup, Heartbeat, LeaveGroup, expiry
//! - `offsets`: OffsetCommit and OffsetFetch

mod group;
mod join;
mod membership;
mod offsets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::join_group_response::JoinGroupResponse;
use protocol::messages::sync_group_response::SyncGroupResponse;
use protocol::messages::{HeartbeatRequest, JoinGroupRequest, SyncGroupRequest};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::random::Random;
pub(crate) use group::Group;
pub(crate) use offsets::{Committed, CommitterIdentity, OffsetKey};

/// Where an answer goes that may have to wait for other members. Whoever waits may have gone: that is no error.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// How groups behave; names and defaults are Kafka's `group.*` settings, but for the initial delay.
#[derive(Clone, Debug)]
pub(crate) struct GroupSettings {
    /// How long the first rebalance of an empty group waits for more members; Kafka has 3 s, here it is 0.
    pub(crate) initial_rebalance_delay: Duration,
    pub(crate) min_session_timeout: Duration,
    pub(crate) max_session_timeout: Duration,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::ZERO,
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
        }
    }
}

/// All groups, by id.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    settings: GroupSettings,
    groups: BTreeMap<String, Group>,
}

impl Groups {
    pub(crate) fn new(settings: GroupSettings) -> Self {
        Self {
            settings,
            groups: BTreeMap::new(),
        }
    }

    /// JoinGroup; answered once the group has gathered.
    pub(crate) fn join(
        &mut self,
        request: JoinGroupRequest,
        version: i16,
        client_id: &str,
        reply: Reply<JoinGroupResponse>,
        now: Instant,
        random: &mut Random,
    ) {
        if let Err(error) = self.check_join(&request) {
            return join::refuse(reply, request.member_id, error);
        }
        let group = self
            .groups
            .entry(request.group_id.clone())
            .or_insert_with(|| Group::new(self.settings.clone()));
        group.join(
            join::Joining {
                request,
                version,
                client_id,
                reply,
            },
            now,
            random,
        );
    }

    fn check_join(&self, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        let session_timeout = group::millis(request.session_timeout_ms);
        if session_timeout < self.settings.min_session_timeout
            || session_timeout > self.settings.max_session_timeout
        {
            return Err(ErrorCode::INVALID_SESSION_TIMEOUT);
        }
        if !request.member_id.is_empty() && !self.groups.contains_key(&request.group_id) {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        Ok(())
    }

    /// SyncGroup; answered once the leader has sent the assignment.
    pub(crate) fn sync(
        &mut self,
        request: SyncGroupRequest,
        reply: Reply<SyncGroupResponse>,
        now: Instant,
    ) {
        match self.known(&request.group_id) {
            Ok(group) => group.sync(request, reply, now),
            Err(error) => membership::refuse_sync(reply, error),
        }
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(&mut self, request: &HeartbeatRequest, now: Instant) -> ErrorCode {
        match self.known(&request.group_id) {
            Ok(group) => group
                .heartbeat(request, now)
                .err()
                .unwrap_or(ErrorCode::NONE),
            Err(error) => error,
        }
    }

    /// One member's LeaveGroup; an empty member id stands for whoever has the instance id.
    pub(crate) fn leave(
        &mut self,
        group_id: &str,
        member_id: &str,
        instance_id: Option<&str>,
        now: Instant,
    ) -> ErrorCode {
        match self.known(group_id) {
            Ok(group) => group
                .leave(member_id, instance_id, now)
                .err()
                .unwrap_or(ErrorCode::NONE),
            Err(error) => error,
        }
    }

    /// Whether this committer may commit now; opens a group without members for one that manages its partitions itself.
    pub(crate) fn check_commit(
        &mut self,
        group_id: &str,
        committer: &CommitterIdentity<'_>,
        version: i16,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        if !self.groups.contains_key(group_id) {
            if committer.generation >= 0 {
                let since_9 = version >= 9;
                return Err(if since_9 {
                    ErrorCode::GROUP_ID_NOT_FOUND
                } else {
                    ErrorCode::ILLEGAL_GENERATION
                });
            }
            self.groups
                .insert(group_id.to_owned(), Group::new(self.settings.clone()));
        }
        self.known_or_empty_id(group_id)?
            .check_commit(committer, now)
    }

    /// Stores an offset, after [`Groups::check_commit`].
    pub(crate) fn commit(&mut self, group_id: &str, key: OffsetKey, committed: Committed) {
        if let Some(group) = self.groups.get_mut(group_id) {
            group.offsets.insert(key, committed);
        }
    }

    /// A group's offsets; none when it is unknown.
    pub(crate) fn offsets(&self, group_id: &str) -> Option<&BTreeMap<OffsetKey, Committed>> {
        self.groups.get(group_id).map(|group| &group.offsets)
    }

    /// Forgets what was committed for a topic, as Kafka does when it is deleted.
    pub(crate) fn topic_deleted(&mut self, topic: &str) {
        for group in self.groups.values_mut() {
            group.offsets.retain(|key, _| key.topic != topic);
        }
    }

    /// The ids of all groups.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.groups.keys().cloned().collect()
    }

    /// When something happens by itself, if nothing else does before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.groups.values().filter_map(Group::next_deadline).min()
    }

    /// Lets sessions, rebalances and handed-out member ids time out.
    pub(crate) fn expire(&mut self, now: Instant) {
        for group in self.groups.values_mut() {
            group.expire(now);
        }
    }

    /// What a move of the coordinator does: whoever waits hears of it, and every session begins anew.
    pub(crate) fn coordinator_moved(&mut self, moved: impl Fn(&str) -> bool, now: Instant) {
        for (_, group) in self.groups.iter_mut().filter(|(id, _)| moved(id)) {
            group.coordinator_moved(now);
        }
    }

    fn known(&mut self, group_id: &str) -> Result<&mut Group, ErrorCode> {
        if group_id.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        self.known_or_empty_id(group_id)
    }

    fn known_or_empty_id(&mut self, group_id: &str) -> Result<&mut Group, ErrorCode> {
        self.groups
            .get_mut(group_id)
            .ok_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }
}
