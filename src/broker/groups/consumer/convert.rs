//! A classic group becomes a consumer group when a member of that kind joins, and a classic one again when the last of them is gone. What
//! members have stays theirs. Between the two stand the messages in which members of classic groups tell each other what they want and have.

use std::sync::Arc;

use bytes::Bytes;
use protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use protocol::{Decoder, Encoder, ErrorCode, Message};
use tokio::time::Instant;

use super::group::{ConsumerGroup, by_topic};
use super::member::{ClassicSide, Member, Partitions, Subscription};
use crate::broker::groups::GroupSettings;
use crate::broker::groups::classic::{self, ClassicGroup, State};
use crate::broker::topic_index::TopicIndex;

/// What classic groups of consumers are called.
pub(super) const PROTOCOL_TYPE: &str = "consumer";

/// Whether a classic group can become a consumer group.
fn is_of_consumers(group: &ClassicGroup) -> bool {
    group.protocol_type.as_deref() == Some(PROTOCOL_TYPE)
}

impl ConsumerGroup {
    /// The consumer group that a classic one becomes: each member in the epoch that was its generation, with what it has. Members that wait are
    /// told to join again. None where its members are no consumers.
    pub(crate) fn from_classic(
        group: &mut ClassicGroup,
        settings: GroupSettings,
        topics: &Arc<TopicIndex>,
        now: Instant,
    ) -> Option<Self> {
        let mut converted = Self::new(settings);
        converted.topics = topics.clone();
        if group.state == State::Empty {
            return Some(converted);
        }
        if !is_of_consumers(group) {
            return None;
        }
        for (id, member) in &group.members {
            let picked = |(name, _): &&(String, Bytes)| Some(name) == group.protocol.as_ref();
            let offered = member.protocols.iter().find(picked);
            let (_, offered) = offered.or(member.protocols.first())?;
            let subscription = subscription(offered.clone())?;
            let assigned = assigned(member.assignment.clone(), topics)?;
            converted.target.insert(id.clone(), assigned.clone());
            let assigned_in = assigned.iter().map(|it| (*it, group.generation));
            let assigned_in = assigned_in.collect();
            if let Some(instance) = &member.instance_id {
                let instances = &mut converted.static_members;
                instances.insert(instance.clone(), id.clone());
            }
            let member = Member {
                instance_id: member.instance_id.clone(),
                rack: subscription.rack_id,
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout: member.rebalance_timeout,
                subscription: Subscription {
                    topics: subscription.topics.into_iter().collect(),
                    pattern: None,
                },
                epoch: group.generation,
                previous_epoch: group.generation,
                assigned,
                assigned_in,
                session_end: Some(now + member.session_timeout),
                classic: Some(ClassicSide {
                    session_timeout: member.session_timeout,
                    protocols: member.protocols.clone(),
                    join_deadline: None,
                    sync_deadline: None,
                }),
                ..Default::default()
            };
            converted.members.insert(id.clone(), member);
        }
        (converted.epoch, converted.target_epoch) = (group.generation, group.generation);
        for (id, member) in &mut group.members {
            member.answer_waiting(id, ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Some(converted)
    }

    /// The classic group that this one becomes, all of whose members speak that protocol; it rebalances at once.
    pub(crate) fn to_classic(&self, now: Instant) -> ClassicGroup {
        let mut group = ClassicGroup::new(self.settings.clone());
        group.state = State::Stable;
        // Those who are in it may say so until they have joined again.
        group.generation = self.target_epoch;
        group.protocol_type = Some(PROTOCOL_TYPE.to_owned());
        group.static_members.clone_from(&self.static_members);
        for (id, member) in &self.members {
            let Some(side) = &member.classic else {
                continue;
            };
            let held = &member.assigned | &member.pending_revocation;
            group.leader.get_or_insert_with(|| id.clone());
            let member = classic::Member {
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                instance_id: member.instance_id.clone(),
                rebalance_timeout: member.rebalance_timeout,
                session_timeout: side.session_timeout,
                protocols: side.protocols.clone(),
                assignment: assignment(&held, &self.topics, version_of(side)),
                deadline: Some(now + side.session_timeout),
                join: None,
                sync: None,
            };
            group.members.insert(id.clone(), member);
        }
        group.protocol = group.select_protocol();
        group.prepare_rebalance(now);
        group
    }
}

/// What a member of a classic group wants; none when it cannot be read.
pub(in crate::broker::groups) fn subscription(
    bytes: Bytes,
) -> Option<ConsumerProtocolSubscription> {
    decode(bytes)
}

/// What it says that it owns.
pub(super) fn owned(
    subscription: &ConsumerProtocolSubscription,
    topics: &TopicIndex,
) -> Partitions {
    let owned = subscription.owned_partitions.iter();
    let owned = owned.map(|it| (it.topic.as_str(), it.partitions.as_slice()));
    by_id(owned, topics)
}

/// What it was assigned: nothing where it never was.
pub(super) fn assigned(bytes: Bytes, topics: &TopicIndex) -> Option<Partitions> {
    if bytes.is_empty() {
        return Some(Partitions::new());
    }
    let assignment: ConsumerProtocolAssignment = decode(bytes)?;
    let assigned = assignment.assigned_partitions.iter();
    let assigned = assigned.map(|it| (it.topic.as_str(), it.partitions.as_slice()));
    Some(by_id(assigned, topics))
}

/// What it is told that it has, in a version that it knows.
pub(super) fn assignment(partitions: &Partitions, topics: &TopicIndex, version: i16) -> Bytes {
    let named = by_topic(partitions, |id, partitions| (topics.name(&id), partitions));
    let named = named.into_iter().filter_map(|(name, partitions)| {
        Some(AssignedTopic {
            topic: name?.to_owned(),
            partitions,
            ..Default::default()
        })
    });
    let message = ConsumerProtocolAssignment {
        assigned_partitions: named.collect(),
        ..Default::default()
    };
    let mut encoder = Encoder::with_capacity(2 + message.size(version));
    encoder.put_i16(version);
    match message.encode(&mut encoder, version) {
        Ok(()) => encoder.into_bytes(),
        Err(_) => Bytes::new(),
    }
}

/// The version in which a member writes, and can read.
pub(super) fn version_of(side: &ClassicSide) -> i16 {
    let offered = side.protocols.first().map(|(_, offered)| offered.as_ref());
    let version = offered.and_then(|it| it.first_chunk()).copied();
    let newest = ConsumerProtocolAssignment::VERSIONS.max;
    i16::from_be_bytes(version.unwrap_or_default()).clamp(0, newest)
}

fn by_id<'a>(topics: impl Iterator<Item = (&'a str, &'a [i32])>, index: &TopicIndex) -> Partitions {
    let known = topics.filter_map(|(name, partitions)| Some((index.topic(name)?.0, partitions)));
    let flat = known.flat_map(|(id, partitions)| partitions.iter().map(move |it| (id, *it)));
    flat.collect()
}

/// Each begins with its version; a newer one is read as the newest that is known.
fn decode<M: Message>(bytes: Bytes) -> Option<M> {
    let mut decoder = Decoder::new(bytes);
    let version = decoder.get_i16().ok()?;
    M::decode(
        &mut decoder,
        version.clamp(M::VERSIONS.min, M::VERSIONS.max),
    )
    .ok()
}
