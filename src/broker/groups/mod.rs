//! Groups of consumers and their committed offsets, as Kafka's group coordinator keeps them.
//!
//! [`Groups`] owns every group of the cluster. Requests come in with `now`; a join or a sync that has to wait for others keeps its [`Reply`]
//! until the group is ready, everything else is answered at once. Nothing in here knows tasks or sockets: whoever owns it calls
//! [`Groups::expire`] when [`Groups::next_deadline`] has passed.
//!
//! - `classic/`: groups whose members assign the partitions among themselves
//! - `consumer/`: groups whose partitions the broker assigns (KIP-848); a group may become one of the other kind
//! - `share/`: groups whose members share partitions (KIP-932)
//! - `deletion`: groups deleted, and what they have committed
//! - `settings`: what the broker is set to, and what groups set for themselves
//! - `offsets`: OffsetCommit and OffsetFetch; `transactional`: TxnOffsetCommit; `pending_offsets`: what waits for the end of transactions

mod classic;
mod consumer;
mod deletion;
mod offsets;
mod pending_offsets;
mod settings;
mod share;
mod transactional;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::messages::consumer_group_describe_response::DescribedGroup;
use protocol::messages::describe_groups_response;
use protocol::messages::join_group_response::JoinGroupResponse;
use protocol::messages::list_groups_response::ListedGroup;
use protocol::messages::share_group_describe_response::DescribedGroup as DescribedShareGroup;
use protocol::messages::sync_group_response::SyncGroupResponse;
use protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest,
    JoinGroupRequest, ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse, SyncGroupRequest,
};
use protocol::{ErrorCode, Uuid};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::random::Random;
use super::topic_index::TopicIndex;
use super::transactions::OffsetsLog;
use classic::ClassicGroup;
pub(crate) use consumer::Refusal;
use consumer::{ConsumerGroup, LEAVE_EPOCH, STATIC_LEAVE_EPOCH};
pub(crate) use offsets::{Committed, CommitterIdentity, OffsetKey};
use pending_offsets::PendingOffsets;
pub(crate) use settings::GroupSettings;
pub use settings::MigrationPolicy;
use settings::SettingsByGroup;
use share::ShareGroup;

/// Where an answer goes that may have to wait for other members. Whoever waits may have gone: that is no error.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// Who sends a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    pub(crate) id: &'a str,
    pub(crate) host: &'a str,
}

/// One group of any kind.
#[derive(Debug)]
struct Group {
    kind: Kind,
    offsets: BTreeMap<OffsetKey, Committed>,
}

#[derive(Debug)]
enum Kind {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
    Share(ShareGroup),
}

/// All groups, by id.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    settings: SettingsByGroup,
    groups: BTreeMap<String, Group>,
    /// What was committed in transactions that have not ended.
    pending: PendingOffsets,
    /// Which producers have committed.
    offsets_log: OffsetsLog,
}

impl Groups {
    pub(crate) fn new(settings: GroupSettings) -> Self {
        Self {
            settings: SettingsByGroup::new(settings),
            ..Self::default()
        }
    }

    /// Gives a group settings of its own, or lets it have those of the others again: what is told to members from now on keeps to them.
    pub(crate) fn set_settings(&mut self, group_id: &str, own: Option<GroupSettings>) {
        self.settings.set(group_id, own);
        let settings = self.settings.of(group_id).clone();
        match self.groups.get_mut(group_id).map(|group| &mut group.kind) {
            Some(Kind::Classic(group)) => group.settings = settings,
            Some(Kind::Consumer(group)) => group.settings = settings,
            Some(Kind::Share(group)) => group.settings = settings,
            None => {}
        }
    }

    /// JoinGroup; answered once the group has gathered.
    #[expect(
        clippy::too_many_arguments,
        reason = "all of what the broker knows of a request"
    )]
    pub(crate) fn join(
        &mut self,
        request: JoinGroupRequest,
        version: i16,
        client: Client<'_>,
        reply: Reply<JoinGroupResponse>,
        topics: &Arc<TopicIndex>,
        now: Instant,
        random: &mut Random,
    ) {
        if let Err(error) = self.check_join(&request) {
            return classic::refuse(reply, request.member_id, error);
        }
        let group = Self::opened(&mut self.groups, &self.settings, &request.group_id);
        if matches!(&group.kind, Kind::Consumer(group) if group.is_empty()) {
            group.kind = Kind::Classic(ClassicGroup::new(
                self.settings.of(&request.group_id).clone(),
            ));
        }
        let joining = classic::Joining {
            request,
            version,
            client,
            reply,
        };
        match &mut group.kind {
            Kind::Classic(group) => group.join(joining, now, random),
            Kind::Consumer(group) => group.join(joining, topics, now, random),
            Kind::Share(_) => {
                let error = ErrorCode::INCONSISTENT_GROUP_PROTOCOL;
                classic::refuse(joining.reply, joining.request.member_id, error);
            }
        }
        group.settle(now);
    }

    /// The group of this id, a classic one without members where there was none.
    fn opened<'a>(
        groups: &'a mut BTreeMap<String, Group>,
        settings: &SettingsByGroup,
        group_id: &str,
    ) -> &'a mut Group {
        groups.entry(group_id.to_owned()).or_insert_with(|| Group {
            kind: Kind::Classic(ClassicGroup::new(settings.of(group_id).clone())),
            offsets: BTreeMap::new(),
        })
    }

    fn check_join(&self, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        let session_timeout = classic::millis(request.session_timeout_ms);
        if session_timeout < self.settings.others.min_session_timeout
            || session_timeout > self.settings.others.max_session_timeout
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
        match self.known(&request.group_id).map(|group| &mut group.kind) {
            Ok(Kind::Classic(group)) => group.sync(request, reply, now),
            Ok(Kind::Consumer(group)) => {
                let answer = group.sync(&request, now);
                // Whoever waits may have gone.
                let _ = reply.send(answer.unwrap_or_else(classic::failed_sync));
            }
            Ok(Kind::Share(_)) => classic::refuse_sync(reply, ErrorCode::UNKNOWN_MEMBER_ID),
            Err(error) => classic::refuse_sync(reply, error),
        }
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(&mut self, request: &HeartbeatRequest, now: Instant) -> ErrorCode {
        let known = self.known(&request.group_id);
        let heard = known.and_then(|group| match &mut group.kind {
            Kind::Classic(group) => group.heartbeat(request, now),
            Kind::Consumer(group) => group.classic_heartbeat(request, now),
            Kind::Share(_) => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        });
        heard.err().unwrap_or(ErrorCode::NONE)
    }

    /// One member's LeaveGroup; an empty member id stands for whoever has the instance id.
    pub(crate) fn leave(
        &mut self,
        group_id: &str,
        member_id: &str,
        instance_id: Option<&str>,
        now: Instant,
    ) -> ErrorCode {
        let known = self.known(group_id);
        let left = known.and_then(|group| {
            match &mut group.kind {
                Kind::Classic(group) => group.leave(member_id, instance_id, now)?,
                Kind::Consumer(group) => group.classic_leave(member_id, instance_id)?,
                Kind::Share(_) => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            }
            group.settle(now);
            Ok(())
        });
        left.err().unwrap_or(ErrorCode::NONE)
    }

    /// The patterns that have to be matched with these topics before this heartbeat is heard.
    pub(crate) fn unmatched(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
        topics: &Arc<TopicIndex>,
    ) -> BTreeSet<String> {
        match self.groups.get(&request.group_id).map(|group| &group.kind) {
            Some(Kind::Consumer(group)) => group.unmatched(request, topics),
            _ => request
                .subscribed_topic_regex
                .iter()
                .filter(|it| !it.is_empty())
                .cloned()
                .collect(),
        }
    }

    /// ConsumerGroupHeartbeat. `matched`: the topics of the patterns that [`unmatched`](Self::unmatched) has named.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        client: Client<'_>,
        topics: &Arc<TopicIndex>,
        matched: BTreeMap<String, BTreeSet<String>>,
        now: Instant,
        random: &mut Random,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        consumer::check(request)?;
        let group_id = &request.group_id;
        let missing = || {
            (
                ErrorCode::GROUP_ID_NOT_FOUND,
                format!("Group {group_id} not found."),
            )
        };
        let joins = request.member_epoch == 0;
        let group = match joins {
            true => Self::opened(&mut self.groups, &self.settings, group_id),
            false => self.groups.get_mut(group_id).ok_or_else(missing)?,
        };
        if let Kind::Classic(old) = &mut group.kind {
            let settings = self.settings.of(group_id).clone();
            let is_empty = old.state == classic::State::Empty;
            let may_change = joins && (is_empty || settings.migration_policy.upgrades());
            let converted =
                may_change.then(|| ConsumerGroup::from_classic(old, settings, topics, now));
            let converted = converted.flatten().ok_or_else(|| {
                let text = format!("Group {group_id} is not a consumer group.");
                (ErrorCode::GROUP_ID_NOT_FOUND, text)
            })?;
            group.kind = Kind::Consumer(converted);
        }
        let Kind::Consumer(consumers) = &mut group.kind else {
            let text = format!("Group {group_id} is not a consumer group.");
            return Err((ErrorCode::GROUP_ID_NOT_FOUND, text));
        };
        let answer = match request.member_epoch {
            LEAVE_EPOCH | STATIC_LEAVE_EPOCH => consumers.leave(request),
            _ => {
                let member_id = match request.member_id.as_str() {
                    "" => random.uuid().to_string(),
                    id => id.to_owned(),
                };
                consumers.heartbeat(request, &member_id, client, topics, matched, now)
            }
        };
        group.settle(now);
        answer
    }

    /// ShareGroupHeartbeat.
    pub(crate) fn share_heartbeat(
        &mut self,
        request: &ShareGroupHeartbeatRequest,
        client: Client<'_>,
        topics: &Arc<TopicIndex>,
        now: Instant,
    ) -> Result<ShareGroupHeartbeatResponse, Refusal> {
        share::check(request)?;
        let group_id = &request.group_id;
        let new = || Kind::Share(ShareGroup::new(self.settings.of(group_id).clone()));
        let group = match request.member_epoch {
            0 => self
                .groups
                .entry(group_id.clone())
                .or_insert_with(|| Group {
                    kind: new(),
                    offsets: BTreeMap::new(),
                }),
            _ => self.groups.get_mut(group_id).ok_or_else(|| {
                let text = format!("Group {group_id} not found.");
                (ErrorCode::GROUP_ID_NOT_FOUND, text)
            })?,
        };
        match &mut group.kind {
            Kind::Share(group) => group.heartbeat(request, client, topics, now),
            _ => {
                let text = format!("Group {group_id} is not a share group.");
                Err((ErrorCode::GROUP_ID_NOT_FOUND, text))
            }
        }
    }

    /// ShareGroupDescribe, of one group.
    pub(crate) fn describe_share_group(&self, group_id: &str) -> DescribedShareGroup {
        match self.groups.get(group_id).map(|group| &group.kind) {
            Some(Kind::Share(group)) => group.describe(group_id),
            known => DescribedShareGroup {
                error_code: ErrorCode::GROUP_ID_NOT_FOUND,
                error_message: Some(match known {
                    Some(_) => format!("Group {group_id} is not a share group."),
                    None => format!("Group {group_id} not found."),
                }),
                group_id: group_id.to_owned(),
                ..Default::default()
            },
        }
    }

    /// ConsumerGroupDescribe, of one group.
    pub(crate) fn describe_consumer_group(&self, group_id: &str) -> DescribedGroup {
        match self.groups.get(group_id).map(|group| &group.kind) {
            Some(Kind::Consumer(group)) => group.describe(group_id),
            known => DescribedGroup {
                error_code: ErrorCode::GROUP_ID_NOT_FOUND,
                error_message: Some(match known {
                    Some(_) => format!("Group {group_id} is not a consumer group."),
                    None => format!("Group {group_id} not found."),
                }),
                group_id: group_id.to_owned(),
                ..Default::default()
            },
        }
    }

    /// DescribeGroups, of one group: only classic groups are described by it (from version 6 on with an error for all others, KIP-1043).
    pub(crate) fn describe_classic_group(
        &self,
        group_id: &str,
        version: i16,
    ) -> describe_groups_response::DescribedGroup {
        match self.groups.get(group_id).map(|group| &group.kind) {
            Some(Kind::Classic(group)) => group.describe(group_id),
            known => classic::not_described(group_id, known.is_some(), version),
        }
    }

    /// ListGroups: every group, its type and its state.
    pub(crate) fn list(&self) -> impl Iterator<Item = ListedGroup> {
        self.groups.iter().map(|(id, group)| {
            let (protocol_type, state, kind) = match &group.kind {
                Kind::Classic(group) => {
                    let protocol_type = group.protocol_type.clone().unwrap_or_default();
                    (protocol_type, format!("{:?}", group.state), "classic")
                }
                Kind::Consumer(group) => {
                    ("consumer".to_owned(), group.state().to_owned(), "consumer")
                }
                Kind::Share(group) => ("share".to_owned(), group.state().to_owned(), "share"),
            };
            ListedGroup {
                group_id: id.clone(),
                protocol_type,
                group_state: state,
                group_type: kind.to_owned(),
                ..Default::default()
            }
        })
    }

    /// Whether this committer may commit offsets of these partitions now; opens a group without members for one that manages its partitions
    /// itself.
    pub(crate) fn check_commit(
        &mut self,
        group_id: &str,
        committer: &CommitterIdentity<'_>,
        partitions: &[(Uuid, i32)],
        version: i16,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        if !self.groups.contains_key(group_id) && committer.generation >= 0 {
            let since_9 = version >= 9;
            return Err(if since_9 {
                ErrorCode::GROUP_ID_NOT_FOUND
            } else {
                ErrorCode::ILLEGAL_GENERATION
            });
        }
        match &mut Self::opened(&mut self.groups, &self.settings, group_id).kind {
            Kind::Classic(group) => group.check_commit(committer, now),
            Kind::Consumer(group) => group.check_commit(committer, partitions, version),
            Kind::Share(_) => Err(ErrorCode::GROUP_ID_NOT_FOUND),
        }
    }

    /// Whether this member may ask for what its group has committed.
    pub(crate) fn check_fetch(
        &self,
        group_id: &str,
        member_id: Option<&str>,
        member_epoch: i32,
    ) -> Result<(), ErrorCode> {
        match self.groups.get(group_id).map(|group| &group.kind) {
            Some(Kind::Consumer(group)) => group.check_fetch(member_id, member_epoch),
            _ => Ok(()),
        }
    }

    /// Stores an offset, after [`Groups::check_commit`].
    pub(crate) fn commit(&mut self, group_id: &str, key: OffsetKey, committed: Committed) {
        self.pending.overtaken(group_id, &key);
        if let Some(group) = self.groups.get_mut(group_id) {
            group.offsets.insert(key, committed);
        }
    }

    /// Takes back an offset that a group had committed before its broker ended.
    pub(crate) fn restore(&mut self, group_id: &str, key: OffsetKey, committed: Committed) {
        let group = Self::opened(&mut self.groups, &self.settings, group_id);
        group.offsets.insert(key, committed);
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
        self.pending.topic_deleted(topic);
    }

    /// The ids of all groups.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.groups.keys().cloned().collect()
    }

    /// When something happens by itself, if nothing else does before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deadline = |group: &Group| match &group.kind {
            Kind::Classic(group) => group.next_deadline(),
            Kind::Consumer(group) => group.next_deadline(),
            Kind::Share(group) => group.next_deadline(),
        };
        self.groups.values().filter_map(deadline).min()
    }

    /// Lets sessions, rebalances and handed-out member ids time out.
    pub(crate) fn expire(&mut self, now: Instant) {
        for group in self.groups.values_mut() {
            match &mut group.kind {
                Kind::Classic(group) => group.expire(now),
                Kind::Consumer(group) => group.expire(now),
                Kind::Share(group) => group.expire(now),
            }
            group.settle(now);
        }
    }

    /// What a move of the coordinator does: whoever waits hears of it, and every session begins anew.
    pub(crate) fn coordinator_moved(&mut self, moved: impl Fn(&str) -> bool, now: Instant) {
        for (_, group) in self.groups.iter_mut().filter(|(id, _)| moved(id)) {
            match &mut group.kind {
                Kind::Classic(group) => group.coordinator_moved(now),
                Kind::Consumer(group) => group.coordinator_moved(now),
                Kind::Share(group) => group.coordinator_moved(now),
            }
        }
    }

    fn known(&mut self, group_id: &str) -> Result<&mut Group, ErrorCode> {
        if group_id.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        self.groups
            .get_mut(group_id)
            .ok_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }
}

impl Group {
    /// A consumer group whose last member of that kind is gone becomes a classic group, if it has members of that kind.
    fn settle(&mut self, now: Instant) {
        if let Kind::Consumer(group) = &self.kind
            && group.is_classic()
            && group.settings.migration_policy.downgrades()
        {
            self.kind = Kind::Classic(group.to_classic(now));
        }
    }
}
