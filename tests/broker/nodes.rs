//! Several nodes: leaders that move, nodes that stop and come back, coordinators, metadata.

use std::io;

use pat_events::broker::Broker;
use protocol::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::MetadataResponsePartition;
use protocol::messages::{FetchRequest, FindCoordinatorRequest, HeartbeatRequest, MetadataRequest};

use crate::parity::{outcome, produce_request};
use crate::raw::{Raw, batch};

fn three_nodes() -> Broker {
    let broker = Broker::builder()
        .nodes(3)
        .seed(1)
        .start_in_memory()
        .expect("a broker");
    broker.create_topic("t", 3).expect("a topic");
    broker
}

async fn partitions(raw: &mut Raw) -> Vec<MetadataResponsePartition> {
    let topics = Some(vec![MetadataRequestTopic {
        name: Some("t".into()),
        ..Default::default()
    }]);
    let request = MetadataRequest {
        topics,
        ..Default::default()
    };
    let mut response = raw.call(12, &request).await.expect("an answer");
    response.topics.remove(0).partitions
}

#[tokio::test]
async fn leaders_go_round_the_nodes_and_every_node_tells_the_same() {
    let broker = three_nodes();
    let mut told = Vec::new();
    for node in broker.node_ids() {
        let mut raw = Raw::dial(&broker, node).expect("a connection");
        told.push(partitions(&mut raw).await);
    }
    let leaders: Vec<_> = told[0]
        .iter()
        .map(|partition| partition.leader_id)
        .collect();
    assert_eq!(leaders, [1, 2, 3]);
    assert!(told.iter().all(|other| *other == told[0]));
    assert_eq!(told[0][1].replica_nodes, [2, 3, 1]);
}

#[tokio::test]
async fn a_produce_to_the_wrong_node_names_the_leader_and_where_it_is() {
    let broker = three_nodes();
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let request = produce_request("t".into(), 1, -1, Some(batch(1)));
    let response = raw.call(10, &request).await.expect("an answer");
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(
        (
            partition.current_leader.leader_id,
            partition.current_leader.leader_epoch
        ),
        (2, 0)
    );
    let endpoints: Vec<_> = response
        .node_endpoints
        .iter()
        .map(|node| (node.node_id, node.host.as_str(), node.port))
        .collect();
    assert_eq!(endpoints, [(2, "node-2", 9092)]);
    let older = raw.call(9, &request).await.expect("an answer");
    assert_eq!(
        older.responses[0].partition_responses[0]
            .current_leader
            .leader_id,
        -1
    );
}

#[tokio::test]
async fn a_fetch_that_waits_is_woken_by_a_change_of_leaders_and_told_the_new_one() {
    let broker = three_nodes();
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let partition = FetchPartition {
        partition: 0,
        partition_max_bytes: 1000,
        ..Default::default()
    };
    let id = {
        let topics = Some(vec![MetadataRequestTopic {
            name: Some("t".into()),
            ..Default::default()
        }]);
        let request = MetadataRequest {
            topics,
            ..Default::default()
        };
        raw.call(12, &request).await.expect("an answer").topics[0].topic_id
    };
    let topics = vec![FetchTopic {
        topic_id: id,
        partitions: vec![partition],
        ..Default::default()
    }];
    let request = FetchRequest {
        max_wait_ms: 60_000,
        min_bytes: 1,
        topics,
        ..Default::default()
    };
    raw.send(16, &request).await.expect("sent");
    tokio::task::yield_now().await;
    assert!(broker.move_leader("t", 0, 3));
    let response = raw.receive::<FetchRequest>(16).await.expect("an answer");
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(
        (
            partition.current_leader.leader_id,
            partition.current_leader.leader_epoch
        ),
        (3, 1)
    );
    assert_eq!(response.node_endpoints[0].host, "node-3");
}

#[tokio::test]
async fn a_stopped_node_refuses_connections_and_its_partitions_are_led_by_others() {
    let broker = three_nodes();
    let mut gone = Raw::dial(&broker, 2).expect("a connection");
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    broker.stop_node(2).await;
    assert_eq!(
        Raw::dial(&broker, 2).err().map(|error| error.kind()),
        Some(io::ErrorKind::ConnectionRefused)
    );
    assert!(gone.receive_frame().await.is_err());
    let now = partitions(&mut raw).await;
    assert_eq!((now[1].leader_id, now[1].leader_epoch), (3, 1));
    assert_eq!(
        (
            now[1].isr_nodes.as_slice(),
            now[1].offline_replicas.as_slice()
        ),
        (&[3, 1][..], &[2][..])
    );
    broker.start_node(2).await.expect("started");
    let back = partitions(&mut raw).await;
    assert_eq!(
        (back[1].leader_id, back[1].isr_nodes.as_slice()),
        (3, &[3, 1, 2][..])
    );
    assert!(Raw::dial(&broker, 2).is_ok());
}

#[tokio::test]
async fn a_partition_without_a_running_replica_has_no_leader_until_the_last_one_is_back() {
    let broker = Broker::builder()
        .nodes(2)
        .default_replication_factor(1)
        .seed(1)
        .start_in_memory()
        .expect("a broker");
    broker.create_topic("t", 2).expect("a topic");
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    broker.stop_node(2).await;
    let now = partitions(&mut raw).await;
    assert_eq!(
        (now[1].error_code, now[1].leader_id),
        (ErrorCode::LEADER_NOT_AVAILABLE, -1)
    );
    broker.start_node(2).await.expect("started");
    let back = partitions(&mut raw).await;
    assert_eq!(
        (back[1].error_code, back[1].leader_id, back[1].leader_epoch),
        (ErrorCode::NONE, 2, 2)
    );
}

#[tokio::test]
async fn too_few_in_sync_replicas_refuse_acks_all_only() {
    let broker = Broker::builder()
        .nodes(2)
        .min_in_sync_replicas(2)
        .seed(1)
        .start_in_memory()
        .expect("a broker");
    broker.create_topic("t", 1).expect("a topic");
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    broker.stop_node(2).await;
    for (acks, expected) in [(-1, ErrorCode::NOT_ENOUGH_REPLICAS), (1, ErrorCode::NONE)] {
        let request = produce_request("t".into(), 0, acks, Some(batch(1)));
        assert_eq!(
            outcome(&raw.call(9, &request).await.expect("an answer")).0,
            expected
        );
    }
}

#[tokio::test]
async fn a_group_moves_to_another_coordinator_when_its_node_stops() {
    let broker = three_nodes();
    let before = broker.coordinator("g").expect("a coordinator");
    let other = broker
        .node_ids()
        .into_iter()
        .find(|node| *node != before)
        .expect("another node");
    let mut raw = Raw::dial(&broker, other).expect("a connection");
    let heartbeat = HeartbeatRequest {
        group_id: "g".into(),
        ..Default::default()
    };
    assert_eq!(
        raw.call(4, &heartbeat).await.expect("an answer").error_code,
        ErrorCode::NOT_COORDINATOR
    );
    broker.stop_node(before).await;
    let request = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    let now = raw.call(4, &request).await.expect("an answer").coordinators[0].node_id;
    assert_ne!(now, before);
    broker.move_coordinator("g", other);
    assert_eq!(
        raw.call(4, &heartbeat).await.expect("an answer").error_code,
        ErrorCode::UNKNOWN_MEMBER_ID
    );
}

#[tokio::test]
async fn nodes_over_tcp_come_back_at_the_same_address() {
    let broker = Broker::builder()
        .nodes(2)
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a broker");
    let servers = broker.bootstrap_servers();
    let address = servers.split(',').next().expect("an address");
    let mut raw = Raw::connect(address).await.expect("a connection");
    broker.create_topic("t", 1).expect("a topic");
    let request = produce_request("t".into(), 0, -1, Some(batch(5)));
    raw.call(9, &request).await.expect("an answer");
    broker.stop_node(1).await;
    assert!(raw.receive_frame().await.is_err());
    broker.start_node(1).await.expect("started");
    let mut raw = Raw::connect(address).await.expect("a connection");
    let moved = outcome(&raw.call(9, &request).await.expect("an answer"));
    assert_eq!(moved.0, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert!(broker.move_leader("t", 0, 1));
    let again = outcome(&raw.call(9, &request).await.expect("an answer"));
    assert_eq!(again, (ErrorCode::NONE, 5, 0));
    broker.shutdown().await;
    assert!(Raw::connect(address).await.is_err());
}
