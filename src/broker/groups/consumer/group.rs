//! One consumer group: its members, the epochs, and what it decides for each.
//!
//! Whatever changes what members want, or which topics there are, raises the group's epoch; with it comes another target assignment. Each
//! heartbeat takes the member that sent it as far towards its target as it can go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::messages::consumer_group_heartbeat_request::TopicPartitions as OwnedTopic;
use protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

use super::assignor::{self, ASSIGNORS, Subscriber};
use super::member::{LEAVE_EPOCH, Member, Partitions, STATIC_LEAVE_EPOCH, Subscription};
use crate::broker::groups::offsets::CommitterIdentity;
use crate::broker::groups::{Client, GroupSettings, classic};
use crate::broker::topic_index::TopicIndex;

/// Why a request was refused, in words for people where there are any.
pub(crate) type Refusal = (ErrorCode, String);

/// Refuses with this text.
pub(super) fn refused<T>(code: ErrorCode, text: impl Into<String>) -> Result<T, Refusal> {
    Err((code, text.into()))
}

/// A group whose partitions the broker assigns.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    pub(crate) settings: GroupSettings,
    pub(super) epoch: i32,
    pub(super) members: BTreeMap<String, Member>,
    /// Instance id → member id (KIP-345).
    pub(super) static_members: BTreeMap<String, String>,
    /// What each member is to have, as of the target's epoch.
    pub(super) target: BTreeMap<String, Partitions>,
    pub(super) target_epoch: i32,
    /// The assignor by which the target came to be.
    pub(super) assignor: &'static str,
    /// The topics that match each pattern, as of these topics.
    patterns: BTreeMap<String, BTreeSet<String>>,
    pub(super) topics: Arc<TopicIndex>,
    /// The topics that somebody wants and that exist, each with the number of its partitions.
    counts: BTreeMap<Uuid, i32>,
}

impl ConsumerGroup {
    pub(crate) fn new(settings: GroupSettings) -> Self {
        Self {
            settings,
            // As if nothing had been assigned to nobody: the first who wants something gets epoch 2.
            epoch: 1,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            target: BTreeMap::new(),
            target_epoch: 1,
            assignor: ASSIGNORS[0],
            patterns: BTreeMap::new(),
            topics: Arc::default(),
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether all members speak the classic protocol: then the group becomes a classic one.
    pub(crate) fn is_classic(&self) -> bool {
        !self.members.is_empty() && self.members.values().all(|it| it.classic.is_some())
    }

    /// The patterns that have to be matched with `topics` before this heartbeat is heard.
    pub(crate) fn unmatched(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
        topics: &Arc<TopicIndex>,
    ) -> BTreeSet<String> {
        let same = Arc::ptr_eq(topics, &self.topics);
        let old = self
            .members
            .values()
            .filter_map(|it| it.subscription.pattern.clone());
        let old = old.filter(|pattern| !same || !self.patterns.contains_key(pattern));
        let new = request.subscribed_topic_regex.clone();
        let is_known = |it: &String| same && self.patterns.contains_key(it);
        let new = new.filter(|it| !it.is_empty() && !is_known(it));
        old.chain(new).collect()
    }

    /// A heartbeat of a member that stays, joins or joins again. `matched`: what [`unmatched`](Self::unmatched) has named.
    pub(crate) fn heartbeat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        member_id: &str,
        client: Client<'_>,
        topics: &Arc<TopicIndex>,
        matched: BTreeMap<String, BTreeSet<String>>,
        now: Instant,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let owned = request.topic_partitions.as_deref().map(partitions_of);
        let (mut member, replaced) = match &request.instance_id {
            None => (
                self.dynamic_member(request, member_id, owned.as_ref())?,
                None,
            ),
            Some(instance) => self.static_member(request, member_id, instance, owned.as_ref())?,
        };
        let before = member.assigned.clone();
        update(&mut member, request);
        member.client_id = client.id.to_owned();
        member.client_host = client.host.to_owned();
        member.classic = None;
        member.session_end = Some(now + self.settings.consumer_session_timeout);
        self.patterns.extend(matched);
        self.put(member_id, member, replaced, topics);
        let member = self.reconcile(member_id, owned.as_ref(), now)?;
        let is_full = request.member_epoch == 0
            || request.rebalance_timeout_ms != -1
                && request.subscribed_topic_names.is_some()
                && owned.is_some();
        let tells = is_full || before != member.assigned;
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(member_id.to_owned()),
            member_epoch: member.epoch,
            assignment: tells.then(|| Assignment {
                topic_partitions: by_topic(&member.assigned, |topic_id, partitions| {
                    TopicPartitions {
                        topic_id,
                        partitions,
                        ..Default::default()
                    }
                }),
                ..Default::default()
            }),
            heartbeat_interval_ms: millis(self.settings.consumer_heartbeat_interval),
            ..Default::default()
        })
    }

    fn dynamic_member(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
        member_id: &str,
        owned: Option<&Partitions>,
    ) -> Result<Member, Refusal> {
        match self.members.get(member_id) {
            Some(member) => {
                check_epoch(member, request.member_epoch, owned)?;
                Ok(member.clone())
            }
            None if request.member_epoch == 0 => Ok(Member::default()),
            None => unknown(member_id),
        }
    }

    /// The static member of this instance, and whose place it takes.
    fn static_member(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
        member_id: &str,
        instance: &str,
        owned: Option<&Partitions>,
    ) -> Result<(Member, Option<String>), Refusal> {
        let joins = request.member_epoch == 0;
        let (old_id, old) = match self.of_instance(instance) {
            Some(known) => known,
            None if joins => return Ok((Member::default(), None)),
            None => return unknown_instance(instance),
        };
        if old_id == member_id {
            if joins && old.epoch == STATIC_LEAVE_EPOCH {
                return Ok((old.back(), None));
            }
            check_epoch(old, request.member_epoch, owned)?;
            return Ok((old.clone(), None));
        }
        if !joins {
            return fenced_instance(member_id, instance, old_id);
        }
        if old.classic.is_none() && old.epoch != STATIC_LEAVE_EPOCH {
            return refused(
                ErrorCode::UNRELEASED_INSTANCE_ID,
                format!(
                    "Static member {member_id} with instance id {instance} cannot join the group because the instance id is owned by {old_id} member."
                ),
            );
        }
        Ok((old.back(), Some(old_id.to_owned())))
    }

    pub(super) fn of_instance(&self, instance: &str) -> Option<(&str, &Member)> {
        let id = self.static_members.get(instance)?;
        Some((id, self.members.get(id)?))
    }

    /// Takes the member in as it is now, in the place of `replaced`; where that changes what the group wants, or the topics have changed, a new
    /// epoch begins.
    pub(super) fn put(
        &mut self,
        member_id: &str,
        member: Member,
        replaced: Option<String>,
        topics: &Arc<TopicIndex>,
    ) {
        let mut changed = false;
        let old_id = replaced.as_deref().unwrap_or(member_id);
        match self.members.remove(old_id) {
            Some(old) => changed |= old.subscription != member.subscription,
            None => changed = member.subscription != Subscription::default(),
        }
        if let Some(replaced) = &replaced
            && let Some(target) = self.target.remove(replaced)
        {
            self.target.insert(member_id.to_owned(), target);
        }
        if let Some(instance) = &member.instance_id {
            self.static_members
                .insert(instance.clone(), member_id.to_owned());
        }
        self.members.insert(member_id.to_owned(), member);
        self.topics = topics.clone();
        let counts = self.count_topics();
        if changed || counts != self.counts {
            self.counts = counts;
            self.epoch += 1;
        }
        let patterns = || {
            self.members
                .values()
                .filter_map(|it| it.subscription.pattern.as_ref())
        };
        let used: BTreeSet<String> = patterns().cloned().collect();
        self.patterns.retain(|pattern, _| used.contains(pattern));
        if self.epoch > self.target_epoch {
            self.assign();
        }
    }

    /// Whether a member subscribes to a topic.
    pub(crate) fn subscribes(&self, topic: &str) -> bool {
        let matches = |it: &String| {
            let matched = self.patterns.get(it);
            matched.is_some_and(|topics| topics.contains(topic))
        };
        self.members.values().any(|member| {
            let Subscription {
                topics, pattern, ..
            } = &member.subscription;
            topics.contains(topic) || pattern.as_ref().is_some_and(matches)
        })
    }

    /// The topics that a member wants and that exist.
    fn topics_of<'a>(
        &'a self,
        subscription: &'a Subscription,
    ) -> impl Iterator<Item = (Uuid, i32)> + 'a {
        let matched = subscription
            .pattern
            .as_ref()
            .and_then(|it| self.patterns.get(it));
        let names = subscription
            .topics
            .iter()
            .chain(matched.into_iter().flatten());
        names.filter_map(|name| self.topics.topic(name))
    }

    fn count_topics(&self) -> BTreeMap<Uuid, i32> {
        let members = self.members.values();
        members
            .flat_map(|member| self.topics_of(&member.subscription))
            .collect()
    }

    /// Decides anew who is to have what.
    fn assign(&mut self) {
        self.assignor = self.preferred_assignor();
        let subscribers = self.members.iter().map(|(id, member)| Subscriber {
            id,
            instance_id: member.instance_id.as_deref(),
            topics: self
                .topics_of(&member.subscription)
                .map(|(id, _)| id)
                .collect(),
            before: self.target.get(id),
        });
        let subscribers: Vec<_> = subscribers.collect();
        self.target = assignor::assign(self.assignor, &subscribers, &self.counts);
        self.target_epoch = self.epoch;
    }

    /// The one that most members ask for.
    fn preferred_assignor(&self) -> &'static str {
        let votes = |name: &str| {
            let asked = self
                .members
                .values()
                .filter_map(|it| it.assignor.as_deref());
            asked.filter(|it| *it == name).count()
        };
        // The last of equals is taken.
        let names = ASSIGNORS.into_iter().rev();
        names.max_by_key(|name| votes(name)).unwrap_or(ASSIGNORS[0])
    }

    /// Takes the member as far towards its target as it can go.
    pub(super) fn reconcile(
        &mut self,
        member_id: &str,
        owned: Option<&Partitions>,
        now: Instant,
    ) -> Result<&Member, Refusal> {
        let Some(mut member) = self.members.get(member_id).cloned() else {
            return unknown(member_id);
        };
        let nothing = Partitions::new();
        let target = self.target.get(member_id).unwrap_or(&nothing);
        let is_held = |it: &(Uuid, i32)| self.members.values().any(|member| member.holds(it));
        member.reconcile(self.target_epoch, target, is_held, owned, now);
        let entry = self.members.entry(member_id.to_owned());
        Ok(entry.insert_entry(member).into_mut())
    }

    /// A heartbeat with epoch -1 or -2: the member leaves, a static one perhaps only for a while.
    pub(crate) fn leave(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let member_id = &request.member_id;
        match &request.instance_id {
            None if self.members.contains_key(member_id) => {}
            None => return unknown(member_id),
            Some(instance) => match self.of_instance(instance) {
                None => return unknown_instance(instance),
                Some((id, _)) if id != member_id => {
                    return fenced_instance(member_id, instance, id);
                }
                Some(_) => {}
            },
        }
        match self.members.get_mut(member_id) {
            Some(member) if request.member_epoch == STATIC_LEAVE_EPOCH => {
                member.epoch = STATIC_LEAVE_EPOCH;
                member.pending_revocation.clear();
                member.rebalance_deadline = None;
            }
            _ => self.remove(member_id),
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(member_id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        })
    }

    /// Takes a member out; what it had goes to others.
    pub(super) fn remove(&mut self, member_id: &str) {
        let Some(member) = self.members.remove(member_id) else {
            return;
        };
        if let Some(instance) = &member.instance_id {
            self.static_members.remove(instance);
        }
        self.target.remove(member_id);
        self.counts = self.count_topics();
        self.epoch += 1;
        if self.members.is_empty() {
            // There is nothing to decide.
            self.target_epoch = self.epoch;
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.members
            .values()
            .filter_map(Member::next_deadline)
            .min()
    }

    /// Takes out members that were silent for too long, or did not do in time what they had to.
    pub(crate) fn expire(&mut self, now: Instant) {
        let late = |member: &Member| member.next_deadline().is_some_and(|at| at <= now);
        let late = self.members.iter().filter(|(_, member)| late(member));
        for id in late.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.remove(&id);
        }
    }

    /// Another node coordinates the group: everybody has all the time again.
    pub(crate) fn coordinator_moved(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            let session = match &member.classic {
                Some(classic) => classic.session_timeout,
                None => self.settings.consumer_session_timeout,
            };
            member.session_end = Some(now + session);
            if let Some(deadline) = &mut member.rebalance_deadline {
                *deadline = now + member.rebalance_timeout;
            }
        }
    }

    /// Whether this one may commit offsets of these partitions: all of them, or none.
    pub(crate) fn check_commit(
        &self,
        committer: &CommitterIdentity<'_>,
        partitions: &[(Uuid, i32)],
        version: i16,
    ) -> Result<(), ErrorCode> {
        if committer.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        let known = self.members.get(committer.member_id);
        let member = known.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if member.classic.is_none() && version < 9 {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        match member.may_commit(committer.generation, partitions) {
            true => Ok(()),
            false => check_member_epoch(member, committer.generation),
        }
    }

    /// Whether this one may ask for what is committed.
    pub(crate) fn check_fetch(
        &self,
        member_id: Option<&str>,
        member_epoch: i32,
    ) -> Result<(), ErrorCode> {
        let Some(member_id) = member_id.filter(|_| member_epoch >= 0) else {
            return Ok(());
        };
        let known = self.members.get(member_id);
        check_member_epoch(known.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?, member_epoch)
    }
}

impl Member {
    /// The same static member, as it is back under another id.
    pub(super) fn back(&self) -> Self {
        Self {
            epoch: 0,
            previous_epoch: 0,
            ..self.clone()
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let classic = self.classic.as_ref();
        let classic = classic.map(|it| it.join_deadline.into_iter().chain(it.sync_deadline));
        let deadlines = self.session_end.into_iter().chain(self.rebalance_deadline);
        deadlines.chain(classic.into_iter().flatten()).min()
    }
}

/// Takes over what the request says of the member: what it leaves out stays.
fn update(member: &mut Member, request: &ConsumerGroupHeartbeatRequest) {
    let or = |new: &Option<String>, old: &mut Option<String>| {
        if new.is_some() {
            old.clone_from(new);
        }
    };
    or(&request.instance_id, &mut member.instance_id);
    or(&request.rack_id, &mut member.rack);
    or(&request.server_assignor, &mut member.assignor);
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout = classic::millis(request.rebalance_timeout_ms);
    }
    if let Some(topics) = &request.subscribed_topic_names {
        member.subscription.topics = topics.iter().cloned().collect();
    }
    if let Some(pattern) = &request.subscribed_topic_regex {
        member.subscription.pattern = Some(pattern.clone()).filter(|it| !it.is_empty());
    }
}

/// Whether a member may come with this epoch: the one that it has; 0, by which it begins again; or the one before, of which it may not
/// have heard that it is over.
fn check_epoch(member: &Member, epoch: i32, owned: Option<&Partitions>) -> Result<(), Refusal> {
    let is_subset = || owned.is_some_and(|owned| owned.is_subset(&member.assigned));
    let fits = epoch == member.epoch
        || epoch == 0
        || epoch < member.epoch && epoch == member.previous_epoch && is_subset();
    if fits {
        return Ok(());
    }
    let how = if epoch > member.epoch {
        "greater"
    } else {
        "smaller"
    };
    refused(
        ErrorCode::FENCED_MEMBER_EPOCH,
        format!(
            "The consumer group member has a {how} member epoch ({epoch}) than the one known by the group coordinator ({}). The member must abandon all its partitions and rejoin.",
            member.epoch
        ),
    )
}

fn check_member_epoch(member: &Member, epoch: i32) -> Result<(), ErrorCode> {
    match (epoch == member.epoch, member.classic.is_some()) {
        (true, _) => Ok(()),
        (false, true) => Err(ErrorCode::ILLEGAL_GENERATION),
        (false, false) => Err(ErrorCode::STALE_MEMBER_EPOCH),
    }
}

pub(super) fn unknown<T>(member_id: &str) -> Result<T, Refusal> {
    refused(
        ErrorCode::UNKNOWN_MEMBER_ID,
        format!("Member {member_id} is not a member of the group."),
    )
}

fn unknown_instance<T>(instance: &str) -> Result<T, Refusal> {
    refused(
        ErrorCode::UNKNOWN_MEMBER_ID,
        format!("Instance id {instance} is unknown."),
    )
}

fn fenced_instance<T>(member_id: &str, instance: &str, by: &str) -> Result<T, Refusal> {
    refused(
        ErrorCode::FENCED_INSTANCE_ID,
        format!("Static member {member_id} with instance id {instance} was fenced by member {by}."),
    )
}

/// What a request has to be, whatever the group is.
pub(crate) fn check(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let invalid = |text: &str| refused(ErrorCode::INVALID_REQUEST, text);
    let is_empty = |text: &Option<String>| text.as_ref().is_some_and(|it| it.trim().is_empty());
    if request.group_id.trim().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if is_empty(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_empty(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    match request.member_epoch {
        0 => {
            if request.rebalance_timeout_ms == -1 {
                return invalid("RebalanceTimeoutMs must be provided in first request.");
            }
            if request
                .topic_partitions
                .as_ref()
                .is_none_or(|it| !it.is_empty())
            {
                return invalid("TopicPartitions must be empty when (re-)joining.");
            }
            if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none()
            {
                return invalid(
                    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
                );
            }
        }
        LEAVE_EPOCH | 1.. => {}
        STATIC_LEAVE_EPOCH if request.instance_id.is_some() => {}
        STATIC_LEAVE_EPOCH => return invalid("InstanceId can't be null."),
        _ => return invalid("MemberEpoch is invalid."),
    }
    if request.member_epoch != 0 && request.member_id.trim().is_empty() {
        return invalid("MemberId can't be empty.");
    }
    match &request.server_assignor {
        Some(name) if !ASSIGNORS.contains(&name.as_str()) => refused(
            ErrorCode::UNSUPPORTED_ASSIGNOR,
            format!(
                "ServerAssignor {name} is not supported. Supported assignors: {}.",
                ASSIGNORS.join(", ")
            ),
        ),
        _ => Ok(()),
    }
}

fn partitions_of(topics: &[OwnedTopic]) -> Partitions {
    let of = |topic: &OwnedTopic| {
        let id = topic.topic_id;
        topic
            .partitions
            .iter()
            .map(move |it| (id, *it))
            .collect::<Vec<_>>()
    };
    topics.iter().flat_map(of).collect()
}

/// Partitions as messages have them, by topic.
pub(crate) fn by_topic<T>(partitions: &Partitions, topic: impl Fn(Uuid, Vec<i32>) -> T) -> Vec<T> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (id, partition) in partitions {
        topics.entry(*id).or_default().push(*partition);
    }
    topics
        .into_iter()
        .map(|(id, partitions)| topic(id, partitions))
        .collect()
}

/// As messages have it.
pub(crate) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
