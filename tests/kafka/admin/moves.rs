//! Partitions moved to other brokers, leaders elected, brokers that are down seen and forgotten.

use std::collections::BTreeMap;

use pat_events::kafka::admin::{DescribeClusterOptions, ElectionType, ReassignmentOptions};
use pat_events::kafka::{Admin, ClientConfig, ErrorCode, ErrorKind, NewTopic};
use tokio::task::block_in_place;

use super::{POLL, at, code};
use crate::fleet::Target;
use crate::support::kafka::Kafka;

/// One broker: nothing has anywhere to go.
pub(super) async fn what_need_not_move_is_said(target: Target) {
    let topic = target.topic("admin-moves").await;
    let freely = ReassignmentOptions::default();
    let admin = target.admin().await;
    let moves = BTreeMap::from([
        (at(&topic, 0), Some(vec![1])),
        (at(&topic, 1), Some(vec![99])),
        (at(&topic, 2), None),
        (at("admin-no-such-topic", 0), Some(vec![1])),
    ]);
    let moved = admin.alter_partition_reassignments(&moves, &freely);
    let moved = moved.await.expect("answered");
    assert!(moved[&at(&topic, 0)].is_ok(), "{moved:?}");
    let invalid = ErrorCode::INVALID_REPLICA_ASSIGNMENT;
    assert_eq!(code(&moved[&at(&topic, 1)]), Some(invalid));
    let none = ErrorCode::NO_REASSIGNMENT_IN_PROGRESS;
    assert_eq!(code(&moved[&at(&topic, 2)]), Some(none));
    let unknown = moved[&at("admin-no-such-topic", 0)].as_ref();
    let unknown = unknown.expect_err("unknown");
    assert_eq!(unknown.kind(), ErrorKind::UnknownTopicOrPartition);
    let listed = admin.list_partition_reassignments(None).await;
    assert!(listed.expect("listed").is_empty());

    let partitions = [at(&topic, 0), at(&topic, 99)];
    let elected = admin.elect_leaders(ElectionType::Preferred, Some(&partitions));
    let elected = elected.await.expect("answered");
    let not_needed = ErrorCode::ELECTION_NOT_NEEDED;
    assert_eq!(code(&elected[&at(&topic, 0)]), Some(not_needed));
    let unknown = elected[&at(&topic, 99)].as_ref().expect_err("unknown");
    assert_eq!(unknown.kind(), ErrorKind::UnknownTopicOrPartition);
    let elected = admin.elect_leaders(ElectionType::Preferred, None).await;
    assert!(elected.expect("answered").is_empty());
}

/// Three brokers, of which one dies and comes back.
pub(super) async fn partitions_move_and_leaders_are_elected(kafka: &Kafka) {
    let admin = Admin::connect(ClientConfig::new(&kafka.bootstrap())).await;
    let admin = admin.expect("connected");
    let topic = "admin-moving";
    let placed = NewTopic::with_replicas(topic, vec![vec![1, 3], vec![3, 1], vec![1, 2]]);
    admin.create_topic(&placed).await.expect("created");
    let replicas = async |partition: usize| {
        let described = admin.describe_topics(&[topic]).await.expect("described");
        let described = described[topic].as_ref().expect("described");
        let partition = &described.partitions[partition];
        (partition.replicas.clone(), partition.leader)
    };
    let keep = ReassignmentOptions::keep_replication_factor();
    let freely = ReassignmentOptions::default();
    let more = BTreeMap::from([
        (at(topic, 0), Some(vec![2, 1])),
        (at(topic, 2), Some(vec![1, 2, 3])),
    ]);
    let moved = admin.alter_partition_reassignments(&more, &keep).await;
    let moved = moved.expect("answered");
    assert!(moved[&at(topic, 0)].is_ok(), "{moved:?}");
    let factor = ErrorCode::INVALID_REPLICATION_FACTOR;
    assert_eq!(code(&moved[&at(topic, 2)]), Some(factor), "{moved:?}");
    let first = [at(topic, 0)];
    while replicas(0).await != (vec![2, 1], Some(2)) {
        let elected = admin.elect_leaders(ElectionType::Preferred, Some(&first));
        elected.await.expect("answered");
        tokio::time::sleep(POLL).await;
    }

    block_in_place(|| kafka.kill(3));
    let options = DescribeClusterOptions::default().include_fenced_brokers();
    loop {
        let cluster = admin.describe_cluster_with(&options).await;
        let cluster = cluster.expect("described");
        let fenced: Vec<_> = cluster.brokers.iter().filter(|it| it.is_fenced).collect();
        assert_eq!(cluster.brokers.len(), 3, "{cluster:?}");
        if let [fenced] = &*fenced {
            assert_eq!(fenced.id, 3);
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    // What goes to a broker that is down stays on the way.
    let stuck = BTreeMap::from([(at(topic, 0), Some(vec![3, 2]))]);
    let moved = admin.alter_partition_reassignments(&stuck, &freely);
    let moved = moved.await.expect("answered");
    assert!(moved[&at(topic, 0)].is_ok(), "{moved:?}");
    let asked = [at(topic, 0), at(topic, 1)];
    for asked in [None, Some(&asked[..])] {
        let listed = admin.list_partition_reassignments(asked).await;
        let listed = listed.expect("listed");
        let moving = &listed[&at(topic, 0)];
        assert_eq!(moving.adding_replicas, [3], "{listed:?}");
        assert_eq!(moving.removing_replicas, [1], "{listed:?}");
        assert!(!listed.contains_key(&at(topic, 1)), "{listed:?}");
    }
    let cancel = BTreeMap::from([(at(topic, 0), None), (at(topic, 1), None)]);
    let cancelled = admin.alter_partition_reassignments(&cancel, &freely);
    let cancelled = cancelled.await.expect("answered");
    assert!(cancelled[&at(topic, 0)].is_ok(), "{cancelled:?}");
    let none = ErrorCode::NO_REASSIGNMENT_IN_PROGRESS;
    assert_eq!(code(&cancelled[&at(topic, 1)]), Some(none));

    // Its leader is another one now.
    let second = [at(topic, 1)];
    let elected = admin.elect_leaders(ElectionType::Preferred, Some(&second));
    let elected = elected.await.expect("answered");
    let unavailable = ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE;
    assert_eq!(code(&elected[&at(topic, 1)]), Some(unavailable));
    let elected = admin.elect_leaders(ElectionType::Unclean, Some(&second));
    let elected = elected.await.expect("answered");
    let not_needed = ErrorCode::ELECTION_NOT_NEEDED;
    assert_eq!(code(&elected[&at(topic, 1)]), Some(not_needed));
    // It is forgotten, and registers itself when it comes back.
    admin.unregister_broker(3).await.expect("forgotten");
    let cluster = admin.describe_cluster_with(&options).await;
    println!("after broker 3 was forgotten: {cluster:?}");
    block_in_place(|| kafka.restart(3)).expect("it comes back");
    loop {
        let elected = admin.elect_leaders(ElectionType::Preferred, Some(&second));
        let elected = elected.await.expect("answered");
        match code(&elected[&at(topic, 1)]) {
            None | Some(ErrorCode::ELECTION_NOT_NEEDED) => break,
            Some(code) => assert_eq!(code, unavailable, "{elected:?}"),
        }
        tokio::time::sleep(POLL).await;
    }
    while replicas(1).await != (vec![3, 1], Some(3)) {
        tokio::time::sleep(POLL).await;
    }
}
