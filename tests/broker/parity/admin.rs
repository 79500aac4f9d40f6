//! What administrators ask for: partitions added, groups and offsets deleted, leaders elected, the cluster, quotas and directories described.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use protocol::messages::describe_client_quotas_request::ComponentData;
use protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use protocol::messages::{
    AlterClientQuotasRequest, CreatePartitionsRequest, DeleteGroupsRequest,
    DescribeClientQuotasRequest, DescribeClusterRequest, DescribeLogDirsRequest,
    ElectLeadersRequest, ListPartitionReassignmentsRequest, OffsetCommitRequest,
    OffsetDeleteRequest,
};

use super::Session;

pub async fn run(session: &mut Session) {
    session.topic("administered", 2, &[]).await;
    partitions(session).await;
    groups(session).await;
    leaders(session).await;
    cluster(session).await;
    quotas(session).await;
    directories(session).await;
}

async fn partitions(session: &mut Session) {
    let name = session.name("administered");
    let topic = |count, brokers: Option<&[&[i32]]>| CreatePartitionsTopic {
        name: name.clone(),
        count,
        assignments: brokers.map(|all| {
            let one = |brokers: &&[i32]| CreatePartitionsAssignment {
                broker_ids: brokers.to_vec(),
                ..Default::default()
            };
            all.iter().map(one).collect()
        }),
        ..Default::default()
    };
    let missing = CreatePartitionsTopic {
        name: session.name("none"),
        count: 3,
        assignments: None,
        ..Default::default()
    };
    for (what, topics, validate_only) in [
        ("of none", vec![missing], false),
        ("twice", vec![topic(3, None), topic(4, None)], false),
        ("validated", vec![topic(4, None)], true),
        ("as many", vec![topic(2, None)], false),
        ("fewer", vec![topic(1, None)], false),
        ("none at all", vec![topic(0, None)], false),
        ("placed, too few", vec![topic(4, Some(&[&[1]]))], false),
        ("placed nowhere", vec![topic(3, Some(&[&[99]]))], false),
        ("placed", vec![topic(3, Some(&[&[1]]))], false),
        ("more", vec![topic(4, None)], false),
    ] {
        let request = CreatePartitionsRequest {
            topics,
            timeout_ms: 10_000,
            validate_only,
            ..Default::default()
        };
        let answer = session.ask(3, &request).await;
        let codes: Vec<_> = answer.results.iter().map(|it| it.error_code).collect();
        session.say(&format!("partitions added, {what}"), codes);
    }
}

async fn groups(session: &mut Session) {
    let (group, name) = (session.name("administered"), session.name("administered"));
    let delete = |topic: &str, partition_indexes: &[i32]| {
        let partition = |partition_index: &i32| OffsetDeleteRequestPartition {
            partition_index: *partition_index,
            ..Default::default()
        };
        let topic = OffsetDeleteRequestTopic {
            name: topic.to_owned(),
            partitions: partition_indexes.iter().map(partition).collect(),
            ..Default::default()
        };
        OffsetDeleteRequest {
            group_id: group.clone(),
            topics: vec![topic],
            ..Default::default()
        }
    };
    let request = delete(&name, &[0]);
    let answer = session.ask(0, &request).await;
    session.say("offsets deleted of no group", answer.error_code);
    let partition = OffsetCommitRequestPartition {
        committed_offset: 5,
        committed_metadata: Some(String::new()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: name.clone(),
        partitions: vec![partition],
        ..Default::default()
    };
    let commit = OffsetCommitRequest {
        group_id: group.clone(),
        topics: vec![topic],
        ..Default::default()
    };
    let answer = session.ask(9, &commit).await;
    session.say("committed", answer.topics[0].partitions[0].error_code);
    let none = session.name("none");
    for (what, topic, partitions) in [
        ("of no topic", &none, &[0][..]),
        ("some", &name, &[0, 1]),
        ("again", &name, &[0]),
    ] {
        let answer = session.ask(0, &delete(topic, partitions)).await;
        let partitions = answer.topics.iter().flat_map(|it| &it.partitions);
        let codes: Vec<_> = partitions.map(|it| it.error_code).collect();
        session.say(
            &format!("offsets deleted, {what}"),
            (answer.error_code, codes),
        );
    }
    for what in ["there", "gone"] {
        let request = DeleteGroupsRequest {
            groups_names: vec![group.clone()],
            ..Default::default()
        };
        let answer = session.ask(2, &request).await;
        let codes: Vec<_> = answer.results.iter().map(|it| it.error_code).collect();
        session.say(&format!("a group deleted, {what}"), codes);
    }
}

async fn leaders(session: &mut Session) {
    let topics = ["administered", "none"].map(|name| TopicPartitions {
        topic: session.name(name),
        partitions: vec![0, 9],
        ..Default::default()
    });
    for election_type in [0, 1] {
        let request = ElectLeadersRequest {
            election_type,
            topic_partitions: Some(topics.to_vec()),
            ..Default::default()
        };
        let answer = session.ask(2, &request).await;
        let mut results = answer.replica_election_results;
        results.sort_by(|a, b| a.topic.cmp(&b.topic));
        let partitions = results.iter_mut().flat_map(|it| {
            it.partition_result.sort_by_key(|it| it.partition_id);
            &it.partition_result
        });
        let codes: Vec<_> = partitions
            .map(|it| (it.partition_id, it.error_code))
            .collect();
        session.say(
            &format!("election {election_type}"),
            (answer.error_code, codes),
        );
    }
    let request = ElectLeadersRequest {
        topic_partitions: None,
        ..Default::default()
    };
    let answer = session.ask(2, &request).await;
    session.say("election of all", answer.error_code);
    let request = ListPartitionReassignmentsRequest::default();
    let answer = session.ask(0, &request).await;
    session.say("on the move", (answer.error_code, answer.topics.len()));
}

async fn cluster(session: &mut Session) {
    for (version, endpoint_type) in [(0, 1), (1, 1), (2, 1), (2, 2), (2, 3)] {
        let request = DescribeClusterRequest {
            endpoint_type,
            ..Default::default()
        };
        let answer = session.ask(version, &request).await;
        let brokers: Vec<_> = (answer.brokers.iter())
            .map(|it| (it.broker_id, it.rack.clone(), it.is_fenced))
            .collect();
        let said = (answer.error_code, answer.controller_id, brokers);
        let operations = answer.cluster_authorized_operations;
        session.say(
            &format!("cluster of type {endpoint_type} in v{version}"),
            (said, operations),
        );
    }
    let request = DescribeClusterRequest {
        include_cluster_authorized_operations: true,
        ..Default::default()
    };
    let answer = session.ask(2, &request).await;
    let operations = answer.cluster_authorized_operations;
    session.say("what may be done to it", operations);
}

async fn quotas(session: &mut Session) {
    let user = session.name("administered");
    let entity = |sort: &str, name: Option<&str>| EntityData {
        entity_type: sort.to_owned(),
        entity_name: name.map(str::to_owned),
        ..Default::default()
    };
    let op = |key: &str, value, remove| OpData {
        key: key.to_owned(),
        value,
        remove,
        ..Default::default()
    };
    let own = || vec![entity("user", Some(&user))];
    let rate = || vec![op("producer_byte_rate", 1_000.0, false)];
    for (what, entity, ops) in [
        ("of nobody", vec![], rate()),
        ("of what is none", vec![entity("group", Some("g"))], rate()),
        ("of an empty name", vec![entity("user", Some(""))], rate()),
        (
            "of an address and a user",
            vec![entity("user", Some("u")), entity("ip", Some("127.0.0.1"))],
            rate(),
        ),
        (
            "of another name",
            own(),
            vec![op("no_such_rate", 1.0, false)],
        ),
        (
            "of nothing",
            own(),
            vec![op("producer_byte_rate", 0.0, false)],
        ),
        ("as it should be", own(), rate()),
    ] {
        let request = AlterClientQuotasRequest {
            entries: vec![EntryData {
                entity,
                ops,
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = session.ask(1, &request).await;
        let codes: Vec<_> = answer.entries.iter().map(|it| it.error_code).collect();
        session.say(&format!("a quota {what}"), codes);
    }
    let component = |sort: &str, match_type, name: Option<&str>| ComponentData {
        entity_type: sort.to_owned(),
        match_type,
        r#match: name.map(str::to_owned),
        ..Default::default()
    };
    let described = |components| DescribeClientQuotasRequest {
        components,
        ..Default::default()
    };
    let request = described(vec![component("user", 0, Some(&user))]);
    let entries = loop {
        let answer = session.ask(1, &request).await;
        let entries = answer.entries.unwrap_or_default();
        if !entries.is_empty() {
            break entries;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let values: Vec<_> = (entries.iter().flat_map(|it| &it.values))
        .map(|it| (it.key.clone(), it.value))
        .collect();
    session.say("the quota", values);
    for (what, components) in [
        ("of a sort that is none", vec![component("group", 2, None)]),
        ("of a name that is none", vec![component("user", 0, None)]),
        (
            "of a sort twice",
            vec![component("user", 2, None), component("user", 2, None)],
        ),
        (
            "of addresses and users",
            vec![component("user", 2, None), component("ip", 2, None)],
        ),
    ] {
        let answer = session.ask(1, &described(components)).await;
        session.say(&format!("quotas {what}"), answer.error_code);
    }
    let request = AlterClientQuotasRequest {
        entries: vec![EntryData {
            entity: own(),
            ops: vec![op("producer_byte_rate", 0.0, true)],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = session.ask(1, &request).await;
    session.say("a quota removed", answer.entries[0].error_code);
}

async fn directories(session: &mut Session) {
    let topics = ["administered", "none"].map(|name| DescribableLogDirTopic {
        topic: session.name(name),
        partitions: vec![0, 1, 9],
        ..Default::default()
    });
    let request = DescribeLogDirsRequest {
        topics: Some(topics.to_vec()),
        ..Default::default()
    };
    let answer = session.ask(4, &request).await;
    let dirs = answer.results.iter().map(|it| {
        let partitions = it.topics.iter().flat_map(|it| &it.partitions);
        let partitions: BTreeSet<_> = partitions
            .map(|it| (it.partition_index, it.offset_lag, it.is_future_key))
            .collect();
        (it.error_code, partitions)
    });
    let dirs: Vec<_> = dirs.collect();
    session.say("directories", (answer.error_code, dirs));
}
