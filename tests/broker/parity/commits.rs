//! OffsetCommit and OffsetFetch: who may commit, and what is found.

use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use protocol::messages::{
    DeleteTopicsRequest, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use protocol::{ErrorCode, Uuid};

use super::Session;
use super::groups::{RANGE, V3, join, sync};

pub async fn run(session: &mut Session) {
    commits(session).await;
    fetches(session).await;
    deleted_topics(session).await;
}

pub fn commit(
    group_id: &str,
    generation: i32,
    member_id: &str,
    instance: Option<&str>,
    topic: &str,
) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        committed_offset: 5,
        committed_leader_epoch: 2,
        committed_metadata: Some("note".into()),
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: group_id.into(),
        generation_id_or_member_epoch: generation,
        member_id: member_id.into(),
        group_instance_id: instance.map(Into::into),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn commits(session: &mut Session) {
    let id = session.topic("committed", 2, &[]).await;
    let topic = session.name("committed");
    let group = session.name("committers");
    for version in [2, 8, 9] {
        for (what, generation, member_id) in [
            ("a generation", 3, "nobody"),
            ("a generation and no id", 3, ""),
            ("a member id", -1, "nobody"),
        ] {
            let group = session.name(&format!("new {version} {what}"));
            let answer = session
                .ask(
                    version,
                    &commit(&group, generation, member_id, None, &topic),
                )
                .await;
            session.say(
                &format!("commit v{version} to no group with {what}"),
                answer.topics[0].partitions[0].error_code,
            );
        }
    }
    let mut cases = vec![
        ("by nobody", 8, commit(&group, -1, "", None, &topic)),
        ("without a group id", 8, commit("", -1, "", None, &topic)),
        (
            "to an unknown topic",
            8,
            commit(&group, -1, "", None, "nowhere"),
        ),
        ("with a generation", 8, commit(&group, 4, "", None, &topic)),
        (
            "with an instance",
            8,
            commit(&group, -1, "", Some("i"), &topic),
        ),
    ];
    let mut beyond = commit(&group, -1, "", None, &topic);
    beyond.topics[0].partitions[0].partition_index = 2;
    cases.push(("to an unknown partition", 8, beyond));
    let mut long = commit(&group, -1, "", None, &topic);
    long.topics[0].partitions[0].committed_metadata = Some("x".repeat(4097));
    cases.push(("with long metadata", 8, long.clone()));
    long.topics[0].partitions[0].committed_metadata = None;
    cases.push(("without metadata", 8, long.clone()));
    long.topics[0].partitions[0].committed_offset = -7;
    cases.push(("a negative offset", 8, long));
    let mut by_id = commit(&group, -1, "", None, "");
    by_id.topics[0].topic_id = id;
    cases.push(("by id", 10, by_id.clone()));
    by_id.topics[0].topic_id = Uuid::from_u128(96 << 64);
    cases.push(("by an unknown id", 10, by_id));
    for (what, version, request) in cases {
        let answer = session.ask(version, &request).await;
        session.say(
            &format!("commit {what}"),
            answer.topics[0].partitions[0].error_code,
        );
    }
    let member = session
        .ask(3, &join(group.clone(), "", RANGE))
        .await
        .member_id;
    session
        .ask(3, &sync(group.clone(), 1, &member, &[]).v3())
        .await;
    for (what, generation, member_id) in [
        ("by the member", 1, member.as_str()),
        ("by nobody", -1, ""),
        ("by a stranger", 1, "nobody"),
        ("of an old generation", 0, &member),
        ("by the member without a generation", -1, &member),
        ("of the generation by nobody", 1, ""),
    ] {
        let answer = session
            .ask(8, &commit(&group, generation, member_id, None, &topic))
            .await;
        session.say(
            &format!("commit to a living group {what}"),
            answer.topics[0].partitions[0].error_code,
        );
    }
    let leave = LeaveGroupRequest {
        group_id: group,
        member_id: member,
        ..Default::default()
    };
    session.ask(2, &leave).await;
}

async fn fetches(session: &mut Session) {
    let id = session.topic("fetched", 1, &[]).await;
    let (topic, group) = (session.name("fetched"), session.name("fetchers"));
    session.ask(8, &commit(&group, -1, "", None, &topic)).await;
    for (what, group_id, topics) in [
        (
            "known",
            group.clone(),
            Some(vec![(topic.clone(), vec![0, 1])]),
        ),
        (
            "unknown topic",
            group.clone(),
            Some(vec![("nowhere".to_owned(), vec![0])]),
        ),
        ("no topics", group.clone(), Some(vec![])),
        ("all", group.clone(), None),
        (
            "unknown group",
            session.name("no such group"),
            Some(vec![(topic.clone(), vec![0])]),
        ),
        ("unknown group, all", session.name("no such group"), None),
        (
            "no group",
            String::new(),
            Some(vec![(topic.clone(), vec![0])]),
        ),
    ] {
        for version in [1, 2, 5, 7] {
            if topics.is_none() && version < 2 {
                continue;
            }
            let asked = |(name, partitions): &(String, Vec<i32>)| OffsetFetchRequestTopic {
                name: name.clone(),
                partition_indexes: partitions.clone(),
                ..Default::default()
            };
            let topics = topics
                .as_ref()
                .map(|topics| topics.iter().map(asked).collect());
            let request = OffsetFetchRequest {
                group_id: group_id.clone(),
                topics,
                ..Default::default()
            };
            let response = session.ask(version, &request).await;
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            let partitions: Vec<_> = partitions
                .map(|p| {
                    (
                        p.partition_index,
                        p.committed_offset,
                        p.committed_leader_epoch,
                        p.metadata.clone(),
                        p.error_code,
                    )
                })
                .collect();
            session.say(
                &format!("offsets v{version} {what}"),
                (response.error_code, partitions),
            );
        }
        for version in [8, 9, 10] {
            let asked = |(name, partitions): &(String, Vec<i32>)| OffsetFetchRequestTopics {
                name: name.clone(),
                topic_id: if *name == topic {
                    id
                } else {
                    Uuid::from_u128(95 << 64)
                },
                partition_indexes: partitions.clone(),
                ..Default::default()
            };
            let topics = topics
                .as_ref()
                .map(|topics| topics.iter().map(asked).collect());
            let asked = OffsetFetchRequestGroup {
                group_id: group_id.clone(),
                topics,
                ..Default::default()
            };
            let request = OffsetFetchRequest {
                groups: vec![asked],
                ..Default::default()
            };
            let response = session.ask(version, &request).await;
            let answered = &response.groups[0];
            let partitions = answered.topics.iter().flat_map(|topic| &topic.partitions);
            let partitions: Vec<_> = partitions
                .map(|p| {
                    (
                        p.partition_index,
                        p.committed_offset,
                        p.committed_leader_epoch,
                        p.metadata.clone(),
                        p.error_code,
                    )
                })
                .collect();
            session.say(
                &format!("offsets v{version} {what}"),
                (answered.error_code, partitions),
            );
        }
    }
}

/// What was committed for a topic goes with it, and its id stands for no other.
async fn deleted_topics(session: &mut Session) {
    let id = session.topic("gone", 1, &[]).await;
    let (topic, group) = (session.name("gone"), session.name("of the gone"));
    let mut by_id = commit(&group, -1, "", None, "");
    by_id.topics[0].topic_id = id;
    let committed = session.ask(10, &by_id).await.topics[0].partitions[0].error_code;
    session.say("commit by the id of a topic", committed);
    let found = offsets_of(session, &group, &topic, id).await;
    session.say("it is found", found);
    let doomed = DeleteTopicState {
        name: None,
        topic_id: id,
        ..Default::default()
    };
    let request = DeleteTopicsRequest {
        topics: vec![doomed],
        timeout_ms: 5_000,
        ..Default::default()
    };
    session.ask(6, &request).await;
    // Kafka tells its coordinators a little later.
    let mut found = offsets_of(session, &group, &topic, id).await;
    for _ in 0..100 {
        if found.0.is_empty() && found.1.1 == ErrorCode::UNKNOWN_TOPIC_ID {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        found = offsets_of(session, &group, &topic, id).await;
    }
    session.say("it goes with the topic", found);
    let late = session.ask(10, &by_id).await.topics[0].partitions[0].error_code;
    session.say("commit by the id of a deleted topic", late);
    let new = session.topic("gone", 1, &[]).await;
    session.say("the next topic of the name has another id", id != new);
    let late = session.ask(10, &by_id).await.topics[0].partitions[0].error_code;
    session.say("commit by the id of a topic that was created anew", late);
    for (what, id) in [("the old id", id), ("the new id", new)] {
        let found = offsets_of(session, &group, &topic, id).await;
        session.say(&format!("offsets by {what}"), found);
    }
}

type Found = (i64, ErrorCode);

/// All offsets of a group for topics of this name, and the one of the topic of this id.
async fn offsets_of(
    session: &mut Session,
    group: &str,
    topic: &str,
    topic_id: Uuid,
) -> (Vec<i64>, Found) {
    let request = |version, topics| {
        let asked = OffsetFetchRequestGroup {
            group_id: group.into(),
            topics,
            ..Default::default()
        };
        let groups = vec![asked];
        (
            version,
            OffsetFetchRequest {
                groups,
                ..Default::default()
            },
        )
    };
    let (version, all) = request(9, None);
    let response = session.ask(version, &all).await;
    let named = response.groups[0]
        .topics
        .iter()
        .filter(|found| found.name == topic);
    let all = named
        .flat_map(|topic| &topic.partitions)
        .map(|partition| partition.committed_offset)
        .collect();
    let asked = OffsetFetchRequestTopics {
        topic_id,
        partition_indexes: vec![0],
        ..Default::default()
    };
    let (version, by_id) = request(10, Some(vec![asked]));
    let response = session.ask(version, &by_id).await;
    let partition = &response.groups[0].topics[0].partitions[0];
    (all, (partition.committed_offset, partition.error_code))
}
