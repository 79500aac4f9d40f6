//! Every API in every version that is offered: an answer, an error and a throttle time that the version can carry; and what can't be read.

use std::cell::Cell;
use std::time::Duration;

use pat_events::broker::{Broker, Fault, FaultAction};
use protocol::frame::{decode_body, decode_response_header, encode_request};
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use protocol::messages::*;
use protocol::{ApiKey, Decoder, ErrorCode, Message, Request, Uuid, VersionRange};

use crate::parity::produce_request;
use crate::raw::{Raw, batch};

/// Asks in each version: as it is, refused, and throttled. The answer must show either, unless the version has no throttle time.
pub async fn ask_in_every_version<R: Request>(
    broker: &Broker,
    versions: impl IntoIterator<Item = i16>,
    request: impl Fn(i16) -> R,
) {
    let throttle = R::Response::schema()
        .body
        .fields
        .iter()
        .find(|field| field.name() == "throttle_time_ms")
        .map_or(VersionRange::NONE, |field| field.versions);
    let mut raw = Raw::dial(broker, 1).expect("a connection");
    for version in versions {
        for (fault, shown) in [
            (None, ""),
            (
                Some(FaultAction::Answer(ErrorCode::UNKNOWN_SERVER_ERROR)),
                "UNKNOWN_SERVER_ERROR",
            ),
            (
                Some(FaultAction::Throttle(Duration::from_millis(7))),
                if throttle.contains(version) {
                    "throttle_time_ms: 7"
                } else {
                    ""
                },
            ),
        ] {
            if let Some(action) = fault {
                broker.inject(Fault::on(R::KEY, action));
            }
            let answer = raw.call(version, &request(version)).await;
            // One API has a code where others have an error.
            let told = format!("{answer:?}").replace(
                "partition_error_code: -1",
                "partition_error_code: UNKNOWN_SERVER_ERROR",
            );
            assert!(
                answer.is_ok() && told.contains(shown),
                "{} v{version} with {fault:?}: {answer:?}",
                R::NAME
            );
        }
        let sent = raw
            .send_before(version, &request(version), &[1, 0, 0])
            .await;
        let answer = raw.receive::<R>(version).await;
        assert!(
            sent.is_ok() && answer.is_ok(),
            "{} v{version} with spare bytes: {answer:?}",
            R::NAME
        );
    }
    assert_eq!(broker.pending_faults(), 0);
}

#[tokio::test]
async fn librdkafkas_request_for_all_topics_is_answered_although_bytes_follow_it() {
    let broker = broker();
    broker.create_topic("listed", 1).expect("a topic");
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let frame = b"\x00\x03\x00\x0d\x00\x00\x00\x03\x00\x07rdkafka\x00\x00\x00\x00\x00\x01\x00\x00";
    let length = u8::try_from(frame.len()).expect("a short frame");
    raw.send_bytes(&[&[0, 0, 0, length], &frame[..]].concat())
        .await
        .expect("sent");
    let answer = raw.receive_frame().await.expect("an answer");
    assert!(answer.windows(6).any(|bytes| bytes == b"listed"));
}

fn broker() -> Broker {
    let broker = Broker::builder()
        .seed(1)
        .start_in_memory()
        .expect("a broker");
    broker.create_topic("t", 1).expect("a topic");
    broker
}

async fn topic_id(broker: &Broker) -> Uuid {
    let mut raw = Raw::dial(broker, 1).expect("a connection");
    let topics = Some(vec![MetadataRequestTopic {
        name: Some("t".into()),
        ..Default::default()
    }]);
    let request = MetadataRequest {
        topics,
        ..Default::default()
    };
    raw.call(12, &request).await.expect("an answer").topics[0].topic_id
}

/// The name or the id, as the version has it.
fn named(version: i16, first_id_version: i16, id: Uuid) -> (String, Uuid) {
    if version >= first_id_version {
        (String::new(), id)
    } else {
        ("t".into(), Uuid::ZERO)
    }
}

#[tokio::test]
async fn records_are_written_and_read_in_every_version() {
    let broker = broker();
    let id = topic_id(&broker).await;
    ask_in_every_version(&broker, 3..=13, |version| {
        let mut request = produce_request("t".into(), 0, -1, Some(batch(2)));
        (request.topic_data[0].name, request.topic_data[0].topic_id) = named(version, 13, id);
        request
    })
    .await;
    ask_in_every_version(&broker, 4..=18, |version| {
        let (topic, topic_id) = named(version, 13, id);
        let partitions = vec![FetchPartition {
            partition_max_bytes: 100,
            ..Default::default()
        }];
        FetchRequest {
            topics: vec![FetchTopic {
                topic,
                topic_id,
                partitions,
                ..Default::default()
            }],
            ..Default::default()
        }
    })
    .await;
    for timestamp in [-1, 5] {
        ask_in_every_version(&broker, 1..=11, |_| {
            let partitions = vec![ListOffsetsPartition {
                timestamp,
                ..Default::default()
            }];
            let topics = vec![ListOffsetsTopic {
                name: "t".into(),
                partitions,
                ..Default::default()
            }];
            ListOffsetsRequest {
                replica_id: -1,
                topics,
                ..Default::default()
            }
        })
        .await;
    }
    ask_in_every_version(&broker, 0..=5, |_| InitProducerIdRequest::default()).await;
}

#[tokio::test]
async fn consumer_groups_live_and_are_described_in_every_version() {
    let broker = broker();
    ask_in_every_version(&broker, 0..=1, |version| ConsumerGroupHeartbeatRequest {
        group_id: "consumers".into(),
        member_id: format!("m{version}"),
        rebalance_timeout_ms: 1_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=1, |_| ConsumerGroupDescribeRequest {
        group_ids: vec!["consumers".into()],
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=5, |_| ListGroupsRequest::default()).await;
}

#[tokio::test]
async fn share_groups_live_and_are_read_in_every_version() {
    let broker = broker();
    let topic_id = topic_id(&broker).await;
    ask_in_every_version(&broker, 1..=1, |_| ShareGroupHeartbeatRequest {
        group_id: "sharers".into(),
        member_id: "m".into(),
        subscribed_topic_names: Some(vec!["t".into()]),
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 1..=1, |_| ShareGroupDescribeRequest {
        group_ids: vec!["sharers".into()],
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 1..=2, |_| ShareFetchRequest {
        group_id: Some("sharers".into()),
        member_id: Some("m".into()),
        max_records: 10,
        topics: vec![share_fetch_request::FetchTopic {
            topic_id,
            partitions: vec![share_fetch_request::FetchPartition::default()],
            ..Default::default()
        }],
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 1..=2, |_| ShareAcknowledgeRequest {
        group_id: Some("sharers".into()),
        member_id: Some("m".into()),
        share_session_epoch: 1,
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=1, |_| IncrementalAlterConfigsRequest {
        resources: vec![incremental_alter_configs_request::AlterConfigsResource {
            resource_type: 32,
            resource_name: "sharers".into(),
            ..Default::default()
        }],
        ..Default::default()
    })
    .await;
}

#[tokio::test]
async fn configurations_and_the_quorum_are_served_in_every_version() {
    let broker = broker();
    ask_in_every_version(&broker, 1..=4, |_| DescribeConfigsRequest {
        resources: [(2, "t"), (4, "1"), (32, "g")]
            .map(
                |(resource_type, name)| describe_configs_request::DescribeConfigsResource {
                    resource_type,
                    resource_name: name.into(),
                    ..Default::default()
                },
            )
            .to_vec(),
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=2, |_| AlterConfigsRequest {
        resources: vec![alter_configs_request::AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            ..Default::default()
        }],
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=1, |_| ListConfigResourcesRequest::default()).await;
    ask_in_every_version(&broker, 0..=2, |_| DescribeQuorumRequest {
        topics: vec![describe_quorum_request::TopicData {
            topic_name: "__cluster_metadata".into(),
            partitions: vec![describe_quorum_request::PartitionData::default()],
            ..Default::default()
        }],
        ..Default::default()
    })
    .await;
}

#[tokio::test]
async fn the_cluster_is_described_and_changed_in_every_version() {
    let broker = broker();
    ask_in_every_version(&broker, 0..=5, |_| ApiVersionsRequest {
        client_software_name: "raw".into(),
        client_software_version: "1".into(),
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=13, |_| MetadataRequest {
        topics: Some(
            ["t", "unknown"]
                .map(|name| MetadataRequestTopic {
                    name: Some(name.into()),
                    ..Default::default()
                })
                .to_vec(),
        ),
        allow_auto_topic_creation: true,
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 2..=7, |version| CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: format!("new{version}"),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        }],
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 1..=6, |version| {
        let name = format!("new{}", version + 1);
        let by_state = version >= 6;
        DeleteTopicsRequest {
            topic_names: if by_state { vec![] } else { vec![name.clone()] },
            topics: if by_state {
                vec![DeleteTopicState {
                    name: Some(name),
                    ..Default::default()
                }]
            } else {
                vec![]
            },
            ..Default::default()
        }
    })
    .await;
}

#[tokio::test]
async fn groups_are_served_in_every_version() {
    let broker = broker();
    let id = topic_id(&broker).await;
    ask_in_every_version(&broker, 0..=6, |version| FindCoordinatorRequest {
        key: if version < 4 {
            "g".into()
        } else {
            String::new()
        },
        coordinator_keys: if version < 4 {
            vec![]
        } else {
            vec!["g".into()]
        },
        ..Default::default()
    })
    .await;
    // Whoever joins a group of others waits for them.
    let groups = Cell::new(0);
    let fresh_group = || format!("g{}", groups.replace(groups.get() + 1));
    ask_in_every_version(&broker, 0..=9, |version| JoinGroupRequest {
        group_id: fresh_group(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: if version == 0 { -1 } else { 1 },
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            ..Default::default()
        }],
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=5, |_| SyncGroupRequest {
        group_id: "g0".into(),
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=4, |_| HeartbeatRequest {
        group_id: "g0".into(),
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=5, |version| LeaveGroupRequest {
        group_id: "g0".into(),
        members: if version < 3 {
            vec![]
        } else {
            vec![MemberIdentity::default()]
        },
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 2..=10, |version| {
        let (name, topic_id) = named(version, 10, id);
        let partitions = vec![OffsetCommitRequestPartition {
            committed_offset: 3,
            ..Default::default()
        }];
        let topics = vec![OffsetCommitRequestTopic {
            name,
            topic_id,
            partitions,
            ..Default::default()
        }];
        OffsetCommitRequest {
            group_id: "c".into(),
            topics,
            ..Default::default()
        }
    })
    .await;
    for all in [false, true] {
        ask_in_every_version(&broker, if all { 2..=10 } else { 1..=10 }, |version| {
            let (name, topic_id) = named(version, 10, id);
            let partition_indexes = vec![0, 1];
            if version < 8 {
                let topic = OffsetFetchRequestTopic {
                    name,
                    partition_indexes,
                    ..Default::default()
                };
                return OffsetFetchRequest {
                    group_id: "c".into(),
                    topics: (!all).then(|| vec![topic]),
                    ..Default::default()
                };
            }
            let topic = OffsetFetchRequestTopics {
                name,
                topic_id,
                partition_indexes,
                ..Default::default()
            };
            let topics = (!all).then(|| vec![topic]);
            let groups = vec![OffsetFetchRequestGroup {
                group_id: "c".into(),
                topics,
                ..Default::default()
            }];
            OffsetFetchRequest {
                groups,
                ..Default::default()
            }
        })
        .await;
    }
}

#[tokio::test]
async fn administrators_are_answered_in_every_version() {
    let broker = broker();
    ask_in_every_version(&broker, 0..=3, |version| CreatePartitionsRequest {
        topics: vec![create_partitions_request::CreatePartitionsTopic {
            name: "t".into(),
            count: i32::from(version) + 2,
            assignments: None,
            ..Default::default()
        }],
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=2, |_| DeleteGroupsRequest {
        groups_names: vec!["g".into()],
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=0, |_| OffsetDeleteRequest {
        group_id: "g".into(),
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=2, |_| ElectLeadersRequest {
        topic_partitions: Some(vec![elect_leaders_request::TopicPartitions {
            topic: "t".into(),
            partitions: vec![0],
            ..Default::default()
        }]),
        ..Default::default()
    })
    .await;
    let list = |_| ListPartitionReassignmentsRequest::default();
    ask_in_every_version(&broker, 0..=0, list).await;
    let describe = |_| DescribeClusterRequest::default();
    ask_in_every_version(&broker, 0..=2, describe).await;
    let describe = |_| DescribeLogDirsRequest {
        topics: None,
        ..Default::default()
    };
    ask_in_every_version(&broker, 1..=5, describe).await;
    let describe = |_| DescribeClientQuotasRequest::default();
    ask_in_every_version(&broker, 0..=1, describe).await;
    ask_in_every_version(&broker, 0..=1, |_| AlterClientQuotasRequest {
        entries: vec![alter_client_quotas_request::EntryData::default()],
        ..Default::default()
    })
    .await;
}

#[tokio::test]
async fn a_request_cut_off_anywhere_closes_its_connection_and_harms_no_other() {
    let broker = broker();
    let request = produce_request("t".into(), 0, -1, Some(batch(1)));
    let whole = encode_request(9, 1, Some("raw"), &request)
        .expect("encodable")
        .concat();
    for kept in 4..whole.len() {
        let mut raw = Raw::dial(&broker, 1).expect("a connection");
        let length = u32::try_from(kept - 4).expect("short").to_be_bytes();
        raw.send_bytes(&[&length, &whole[4..kept]].concat())
            .await
            .expect("sent");
        assert!(raw.receive_frame().await.is_err(), "{kept} bytes");
    }
    assert_eq!(broker.log("t", 0).map(|log| log.end_offset), Some(0));
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    assert!(raw.call(9, &request).await.is_ok());
}

#[tokio::test]
async fn numbers_from_the_wire_do_not_size_anything() {
    let broker = broker();
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let topics = vec![CreatableTopic {
        name: "huge".into(),
        num_partitions: i32::MAX,
        replication_factor: 1,
        ..Default::default()
    }];
    let response = raw
        .call(
            7,
            &CreateTopicsRequest {
                topics,
                ..Default::default()
            },
        )
        .await
        .expect("an answer");
    assert_eq!(response.topics[0].error_code, ErrorCode::POLICY_VIOLATION);
    let partitions = vec![FetchPartition {
        partition_max_bytes: -1,
        fetch_offset: i64::MIN,
        ..Default::default()
    }];
    let topics = vec![FetchTopic {
        topic: "t".into(),
        partitions,
        ..Default::default()
    }];
    let request = FetchRequest {
        max_wait_ms: i32::MIN,
        min_bytes: i32::MIN,
        max_bytes: i32::MIN,
        topics,
        ..Default::default()
    };
    let response = raw.call(12, &request).await.expect("an answer");
    assert_eq!(
        response.responses[0].partitions[0].error_code,
        ErrorCode::OFFSET_OUT_OF_RANGE
    );
}

/// librdkafka 2.6 writes three bytes too many into its request for the metadata of all topics. Kafka ignores what follows a message.
#[tokio::test]
async fn bytes_after_the_end_of_a_request_are_ignored() {
    const LIBRDKAFKAS: &[u8] =
        b"\x00\x03\x00\x0d\x00\x00\x00\x03\x00\x07rdkafka\x00\x00\x00\x00\x00\x01\x00\x00";
    let broker = broker();
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let length = (LIBRDKAFKAS.len() as u32).to_be_bytes();
    raw.send_bytes(&[&length, LIBRDKAFKAS].concat())
        .await
        .expect("sent");
    let mut input = Decoder::new(raw.receive_frame().await.expect("an answer"));
    let answered = decode_response_header(&mut input, ApiKey::METADATA, 13).expect("a header");
    assert_eq!(answered, 3);
    let response: MetadataResponse = decode_body(&mut input, 13).expect("metadata");
    assert_eq!(response.topics.len(), 1);
    // The connection is still of use.
    let again = raw.call(13, &MetadataRequest::default()).await;
    again.expect("an answer");
}
