//! The life of consumer groups (KIP-848): joining, epochs, assignments, fencing, static members, commits, members of both protocols.

use bytes::Bytes;
use protocol::messages::consumer_group_describe_response::DescribedGroup;
use protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    ConsumerProtocolSubscription, DescribeGroupsRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, OffsetFetchRequest,
};
use protocol::{Encoder, Message, Uuid};

use super::Session;
use super::commits::commit;
use super::groups::{heartbeat, join, sync};

pub async fn run(session: &mut Session) {
    let topic = session.topic("consumed", 4, &[]).await;
    refusals(session).await;
    two_members(session, topic).await;
    static_members(session, topic).await;
    patterns(session).await;
    both_protocols(session).await;
}

fn beat(group: &str, member_id: &str, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member_id.into(),
        member_epoch,
        ..Default::default()
    }
}

fn joining(group: &str, member_id: &str, topic: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![topic.into()]),
        topic_partitions: Some(Vec::new()),
        ..beat(group, member_id, 0)
    }
}

fn owning(
    topic_id: Uuid,
    partitions: &[i32],
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatRequest {
    let owned = TopicPartitions {
        topic_id,
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(vec![owned]),
        ..request
    }
}

/// What was assigned, if it says.
fn assigned(response: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    let topics = &response.assignment.as_ref()?.topic_partitions;
    let mut partitions: Vec<i32> = topics.iter().flat_map(|it| it.partitions.clone()).collect();
    partitions.sort_unstable();
    Some(partitions)
}

/// Sends it, and says error, epoch and the number of partitions that were assigned: which ones is the coordinator's choice.
async fn send(
    session: &mut Session,
    what: &str,
    request: &ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let response = session.ask(1, request).await;
    let count = assigned(&response).map(|it| it.len());
    session.say(what, (response.error_code, response.member_epoch, count));
    response
}

async fn refusals(session: &mut Session) {
    let (group, topic) = (session.name("refused"), session.name("consumed"));
    let honest = joining(&group, "m", &topic);
    let mut cases = vec![
        ("a heartbeat without a group", joining("", "m", &topic)),
        ("a heartbeat without topics", honest.clone()),
        ("a heartbeat with no topic", honest.clone()),
        ("a heartbeat without a rebalance timeout", honest.clone()),
        ("a heartbeat without partitions", honest.clone()),
        ("a heartbeat with an empty instance id", honest.clone()),
        ("a heartbeat with an empty rack", honest.clone()),
        ("a heartbeat with another assignor", honest.clone()),
        ("a heartbeat with no expression", honest.clone()),
        ("a heartbeat of a stranger", beat(&group, "m", 3)),
        (
            "a heartbeat of epoch -2 without an instance",
            beat(&group, "m", -2),
        ),
        ("a heartbeat of epoch -3", beat(&group, "m", -3)),
        ("a stranger leaves", beat(&group, "m", -1)),
    ];
    cases[1].1.subscribed_topic_names = None;
    cases[2].1.subscribed_topic_names = Some(Vec::new());
    cases[3].1.rebalance_timeout_ms = -1;
    cases[4].1.topic_partitions = None;
    cases[5].1.instance_id = Some(String::new());
    cases[6].1.rack_id = Some(String::new());
    cases[7].1.server_assignor = Some("fair".into());
    cases[8].1.subscribed_topic_regex = Some("a(".into());
    for (what, request) in cases {
        send(session, what, &request).await;
    }
    for generation in [-1, 3] {
        let request = commit(&session.name("no consumers"), generation, "m", None, &topic);
        let response = session.ask(9, &request).await;
        let error = response.topics[0].partitions[0].error_code;
        session.say("a stranger's commit in a group that is not there", error);
    }
}

async fn two_members(session: &mut Session, topic_id: Uuid) {
    let (group, topic) = (session.name("consumers"), session.name("consumed"));
    let first = send(session, "first joins", &joining(&group, "first", &topic)).await;
    let epoch = first.member_epoch;
    let had = assigned(&first).expect("an assignment");
    send(
        session,
        "first sends a heartbeat",
        &beat(&group, "first", epoch),
    )
    .await;
    let owns = owning(topic_id, &had, beat(&group, "first", epoch));
    send(session, "first owns it", &owns).await;
    send(
        session,
        "first of an epoch to come",
        &beat(&group, "first", epoch + 5),
    )
    .await;
    describe(session, &group).await;
    let second = send(session, "second joins", &joining(&group, "second", &topic)).await;
    let told = send(session, "first is told", &beat(&group, "first", epoch)).await;
    describe(session, &group).await;
    let left = assigned(&told).expect("less");
    send(session, "first owns all still", &owns).await;
    send(session, "first says nothing", &beat(&group, "first", epoch)).await;
    send(
        session,
        "second waits",
        &beat(&group, "second", second.member_epoch),
    )
    .await;
    let gave_up = owning(topic_id, &left, beat(&group, "first", epoch));
    let first = send(session, "first has given up", &gave_up).await;
    send(session, "first's answer was lost", &gave_up).await;
    let second = send(
        session,
        "second gets it",
        &beat(&group, "second", second.member_epoch),
    )
    .await;
    describe(session, &group).await;
    // That of an epoch before is taken where the member had the partition then, and has it still (KIP-1251).
    let epochs = [0, 1, -1, -2].map(|it| first.member_epoch + it);
    let epochs = epochs.into_iter().chain([-1]);
    // Which one is the coordinator's choice.
    let partition = left[0];
    for (version, member_epoch) in epochs.flat_map(|it| [(8, it), (9, it)]) {
        let mut request = commit(&group, member_epoch, "first", None, &topic);
        request.topics[0].partitions[0].partition_index = partition;
        let response = session.ask(version, &request).await;
        let said = response.topics[0].partitions[0].error_code;
        let epoch = member_epoch - first.member_epoch;
        session.say(&format!("commit v{version} in epoch {epoch:+}"), said);
    }
    let gone = had.iter().find(|it| !left.contains(it)).expect("fewer");
    for (what, epoch, partitions) in [
        ("one that went, in the epoch before", -1, vec![*gone]),
        ("one that went, in this epoch", 0, vec![*gone]),
        ("both, in the epoch before", -1, vec![partition, *gone]),
    ] {
        let member_epoch = first.member_epoch + epoch;
        let mut request = commit(&group, member_epoch, "first", None, &topic);
        let asked = request.topics[0].partitions.remove(0);
        let of = |partition_index: &i32| OffsetCommitRequestPartition {
            partition_index: *partition_index,
            ..asked.clone()
        };
        request.topics[0].partitions = partitions.iter().map(of).collect();
        let response = session.ask(9, &request).await;
        let said = response.topics[0].partitions.iter();
        let said: Vec<_> = said.map(|it| it.error_code).collect();
        session.say(&format!("commit of {what}"), said);
    }
    for (member_id, member_epoch) in [
        (Some("first"), first.member_epoch),
        (Some("first"), first.member_epoch - 1),
        (Some("first"), first.member_epoch + 1),
        (Some("nobody"), 1),
        (None, -1),
    ] {
        let asked = OffsetFetchRequestGroup {
            group_id: group.clone(),
            member_id: member_id.map(Into::into),
            member_epoch,
            topics: Some(vec![OffsetFetchRequestTopics {
                name: topic.clone(),
                partition_indexes: vec![left[0]],
                ..Default::default()
            }]),
            ..Default::default()
        };
        let request = OffsetFetchRequest {
            groups: vec![asked],
            ..Default::default()
        };
        let response = session.ask(9, &request).await;
        let group = &response.groups[0];
        let offset = group
            .topics
            .first()
            .map(|it| it.partitions[0].committed_offset);
        session.say(
            &format!("fetch of {member_id:?}"),
            (group.error_code, offset),
        );
    }
    send(session, "second leaves", &beat(&group, "second", -1)).await;
    send(
        session,
        "second is gone",
        &beat(&group, "second", second.member_epoch),
    )
    .await;
    let all = send(
        session,
        "first is told",
        &beat(&group, "first", first.member_epoch),
    )
    .await;
    let full = joining(&group, "first", &topic);
    send(session, "first joins again", &full).await;
    send(
        session,
        "first says all",
        &ConsumerGroupHeartbeatRequest {
            member_epoch: all.member_epoch,
            ..owning(topic_id, &assigned(&all).unwrap_or_default(), full)
        },
    )
    .await;
    send(session, "first leaves", &beat(&group, "first", -1)).await;
    describe(session, &group).await;
}

async fn describe(session: &mut Session, group: &str) {
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec![group.into(), session.name("not there")],
        ..Default::default()
    };
    let response = session.ask(1, &request).await;
    let members = |group: &DescribedGroup| {
        let count =
            |topics: &[protocol::messages::consumer_group_describe_response::TopicPartitions]| {
                topics.iter().map(|it| it.partitions.len()).sum::<usize>()
            };
        let members = group.members.iter().map(|it| {
            let (now, then) = (&it.assignment, &it.target_assignment);
            let parts = (count(&now.topic_partitions), count(&then.topic_partitions));
            (
                it.member_epoch,
                it.instance_id.clone(),
                it.member_type,
                it.subscribed_topic_regex.clone(),
                parts,
            )
        });
        let mut members: Vec<_> = members.collect();
        members.sort_unstable();
        members
    };
    // Kafka describes those of one partition of its offsets together: in the order of the names' hashes, which differ from run to run.
    for id in &request.group_ids {
        let described = response.groups.iter().find(|it| it.group_id == *id);
        let described = described.expect("a description of each");
        let what = (
            described.error_code,
            described.group_state.clone(),
            described.assignor_name.clone(),
        );
        let epochs = (described.group_epoch, described.assignment_epoch);
        session.say("described", (what, epochs, members(described)));
    }
    let request = ListGroupsRequest::default();
    let listed = session.ask(5, &request).await.groups;
    let mine = listed.iter().filter(|it| it.group_id == group);
    let mine: Vec<_> = mine
        .map(|it| (&it.protocol_type, &it.group_state, &it.group_type))
        .collect();
    session.say("listed", mine);
    for version in [5, 6] {
        let request = DescribeGroupsRequest {
            groups: vec![group.into(), session.name("not there")],
            ..Default::default()
        };
        let response = session.ask(version, &request).await;
        for id in &request.groups {
            let described = response.groups.iter().find(|it| it.group_id == *id);
            let described = described.expect("a description of each");
            let members = described.members.iter();
            let members = members.map(|it| {
                let says = [&it.member_metadata, &it.member_assignment].map(|it| !it.is_empty());
                (it.group_instance_id.clone(), it.client_host.clone(), says)
            });
            let what = (
                described.error_code,
                &described.group_state,
                &described.protocol_type,
                &described.protocol_data,
            );
            let members: Vec<_> = members.collect();
            session.say(
                &format!("described v{version} as a classic group"),
                (what, members),
            );
        }
    }
}

async fn static_members(session: &mut Session, topic_id: Uuid) {
    let (group, topic) = (session.name("static consumers"), session.name("consumed"));
    let of = |request| ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..request
    };
    let first = send(session, "static joins", &of(joining(&group, "one", &topic))).await;
    send(
        session,
        "another of its instance",
        &of(joining(&group, "two", &topic)),
    )
    .await;
    send(session, "another's heartbeat", &of(beat(&group, "two", 1))).await;
    send(
        session,
        "an unknown instance",
        &ConsumerGroupHeartbeatRequest {
            instance_id: Some("j".into()),
            ..beat(&group, "one", 1)
        },
    )
    .await;
    let owns = owning(
        topic_id,
        &[0, 1, 2, 3],
        of(beat(&group, "one", first.member_epoch)),
    );
    send(session, "static owns", &owns).await;
    send(
        session,
        "static leaves for a while",
        &of(beat(&group, "one", -2)),
    )
    .await;
    describe(session, &group).await;
    send(
        session,
        "static of old",
        &of(beat(&group, "one", first.member_epoch)),
    )
    .await;
    send(
        session,
        "static comes back",
        &of(joining(&group, "two", &topic)),
    )
    .await;
    send(
        session,
        "static of old",
        &of(beat(&group, "one", first.member_epoch)),
    )
    .await;
    send(session, "static leaves", &of(beat(&group, "two", -1))).await;
    send(
        session,
        "static of old leaves",
        &of(beat(&group, "one", -2)),
    )
    .await;
    describe(session, &group).await;
}

async fn patterns(session: &mut Session) {
    let (group, topic) = (session.name("by pattern"), session.name("consumed"));
    let mut request = joining(&group, "m", &topic);
    request.subscribed_topic_names = Some(Vec::new());
    request.subscribed_topic_regex =
        Some(format!("con.*d{}", topic.trim_start_matches("consumed")));
    let mut response = session.ask(1, &request).await;
    // Kafka matches it by and by.
    while assigned(&response).is_none_or(|it| it.is_empty()) {
        assert_eq!(response.error_code, protocol::ErrorCode::NONE);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        response = session
            .ask(1, &beat(&group, "m", response.member_epoch))
            .await;
    }
    session.say("by pattern", assigned(&response));
    request.member_id = "n".into();
    request.subscribed_topic_regex = Some("con".into());
    let response = session.ask(1, &request).await;
    session.say(
        "by a pattern of a part",
        (response.error_code, assigned(&response)),
    );
}

fn classic(group: &str, member_id: &str, topic: &str, version: i16) -> JoinGroupRequest {
    let subscription = ConsumerProtocolSubscription {
        topics: vec![topic.into()],
        ..Default::default()
    };
    let mut encoder = Encoder::with_capacity(64);
    encoder.put_i16(version);
    subscription.encode(&mut encoder, version).expect("encodes");
    let mut request = join(group.into(), member_id, &[("range", "")]);
    request.protocols[0].metadata = encoder.into_bytes();
    request
}

async fn both_protocols(session: &mut Session) {
    let (group, topic) = (session.name("mixed"), session.name("consumed"));
    // Empty: becomes a classic one, and a consumer group again.
    send(session, "consumer joins", &joining(&group, "c", &topic)).await;
    send(session, "consumer leaves", &beat(&group, "c", -1)).await;
    let asked = session.ask(5, &classic(&group, "", &topic, 1)).await;
    let me = asked.member_id.clone();
    let first = session.ask(5, &classic(&group, &me, &topic, 1)).await;
    let said = (first.error_code, first.generation_id, &first.protocol_name);
    session.say("classic joins", said);
    let whole = Bytes::from_static(b"\0\x01\0\0\0\0\xff\xff\xff\xff");
    let mut request = sync(group.clone(), first.generation_id, &me, &[(&me, "")]);
    request.assignments[0].assignment = whole;
    let synced = session.ask(5, &request).await;
    session.say("classic has synced", (synced.error_code, synced.assignment));
    describe(session, &group).await;
    let consumer = send(
        session,
        "consumer joins a live classic group",
        &joining(&group, "c", &topic),
    )
    .await;
    describe(session, &group).await;
    let told = session
        .ask(4, &heartbeat(group.clone(), first.generation_id, &me))
        .await;
    session.say("classic is told", told.error_code);
    let old = session
        .ask(4, &heartbeat(group.clone(), first.generation_id + 9, &me))
        .await;
    session.say("classic of another generation", old.error_code);
    let rejoined = session.ask(5, &classic(&group, &me, &topic, 1)).await;
    let generation = rejoined.generation_id;
    session.say(
        "classic joins again",
        (rejoined.error_code, generation, rejoined.protocol_name),
    );
    let synced = session
        .ask(5, &sync(group.clone(), generation, &me, &[]))
        .await;
    session.say(
        "classic syncs",
        (
            synced.error_code,
            synced.protocol_name,
            synced.assignment.len() > 20,
        ),
    );
    let calm = session
        .ask(4, &heartbeat(group.clone(), generation, &me))
        .await;
    session.say("classic's heartbeat", calm.error_code);
    send(
        session,
        "consumer's heartbeat",
        &beat(&group, "c", consumer.member_epoch),
    )
    .await;
    describe(session, &group).await;
    for (member_epoch, id) in [(generation, &me), (generation + 1, &me)] {
        let response = session
            .ask(8, &commit(&group, member_epoch, id, None, &topic))
            .await;
        let said = response.topics[0].partitions[0].error_code;
        session.say("classic commits", said);
    }
    send(session, "the last consumer leaves", &beat(&group, "c", -1)).await;
    describe(session, &group).await;
    let told = session
        .ask(4, &heartbeat(group.clone(), generation, &me))
        .await;
    session.say("classic is told", told.error_code);
    let leave = LeaveGroupRequest {
        group_id: group.clone(),
        members: vec![MemberIdentity {
            member_id: me,
            ..Default::default()
        }],
        ..Default::default()
    };
    let left = session.ask(3, &leave).await;
    session.say(
        "classic leaves",
        (left.error_code, left.members[0].error_code),
    );
}
