//! What operators are told of transactions, and every API in every version.

use protocol::ErrorCode;
use protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use protocol::messages::describe_producers_request::TopicRequest;
use protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use protocol::messages::*;

use super::flows::broker;
use super::producer::{Producer, V2_PRODUCE, offset_of};
use crate::raw::Raw;
use crate::versions::ask_in_every_version;

const OK: ErrorCode = ErrorCode::NONE;

async fn list(raw: &mut Raw, request: ListTransactionsRequest) -> Vec<String> {
    let response = raw.call(2, &request).await.expect("an answer");
    assert_eq!(response.error_code, OK);
    let listed = response.transaction_states.into_iter();
    listed.map(|state| state.transactional_id).collect()
}

#[tokio::test(start_paused = true)]
async fn transactions_are_listed_by_state_producer_age_and_pattern() {
    let broker = broker(|it| it);
    let mut a = Producer::begun(&broker, 1, "a-1").await;
    assert_eq!(a.produce(V2_PRODUCE, "t", 0).await, OK);
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    let mut b = Producer::begun(&broker, 1, "b-1").await;
    assert_eq!(b.produce(V2_PRODUCE, "t", 0).await, OK);
    Producer::begun(&broker, 1, "b-2").await;
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let all = ListTransactionsRequest::default;
    assert_eq!(list(&mut raw, all()).await, ["a-1", "b-1", "b-2"]);
    let ongoing = ListTransactionsRequest {
        state_filters: vec!["Ongoing".into()],
        ..all()
    };
    assert_eq!(list(&mut raw, ongoing).await, ["a-1", "b-1"]);
    let of_b = ListTransactionsRequest {
        producer_id_filters: vec![b.id],
        ..all()
    };
    assert_eq!(list(&mut raw, of_b).await, ["b-1"]);
    let long = ListTransactionsRequest {
        duration_filter: 5_000,
        state_filters: vec!["Ongoing".into()],
        ..all()
    };
    assert_eq!(list(&mut raw, long).await, ["a-1"]);
    let named = ListTransactionsRequest {
        transactional_id_pattern: Some("b-.*".into()),
        ..all()
    };
    assert_eq!(list(&mut raw, named).await, ["b-1", "b-2"]);
    let unknown = ListTransactionsRequest {
        state_filters: vec!["Sleeping".into(), "Dead".into()],
        ..all()
    };
    let response = raw.call(2, &unknown).await.expect("an answer");
    assert_eq!(response.unknown_state_filters, ["Sleeping"]);
    assert!(response.transaction_states.is_empty());
    let wrong = ListTransactionsRequest {
        transactional_id_pattern: Some("(".into()),
        ..all()
    };
    let response = raw.call(2, &wrong).await.expect("an answer");
    assert_eq!(response.error_code, ErrorCode::INVALID_REGULAR_EXPRESSION);
}

#[tokio::test]
async fn producers_are_described_and_a_transaction_that_hangs_can_be_ended_by_hand() {
    let broker = broker(|it| it);
    let mut producer = Producer::begun(&broker, 1, "x").await;
    for _ in 0..2 {
        assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    }
    let describe = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: "t".into(),
            partition_indexes: vec![0],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let mut state = async || {
        let response = raw.call(0, &describe).await.expect("an answer");
        let producers = &response.topics[0].partitions[0].active_producers;
        let it = &producers[0];
        assert_eq!((producers.len(), it.producer_id), (1, producer.id));
        (
            it.producer_epoch,
            it.last_sequence,
            it.coordinator_epoch,
            it.current_txn_start_offset,
        )
    };
    assert_eq!(state().await, (0, 1, -1, 0));
    let marker = |epoch| WritableTxnMarker {
        producer_id: producer.id,
        producer_epoch: epoch,
        topics: vec![WritableTxnMarkerTopic {
            name: "t".into(),
            partition_indexes: vec![0, 7],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut admin = Raw::dial(&broker, 1).expect("a connection");
    let request = WriteTxnMarkersRequest {
        markers: vec![marker(0)],
        ..Default::default()
    };
    let response = admin.call(1, &request).await.expect("an answer");
    let errors: Vec<_> = response.markers[0].topics[0]
        .partitions
        .iter()
        .map(|partition| partition.error_code)
        .collect();
    assert_eq!(errors, [OK, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
    assert_eq!(state().await, (0, 1, 0, -1));
    let request = WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            coordinator_epoch: -1,
            ..marker(0)
        }],
        ..Default::default()
    };
    let response = admin.call(1, &request).await.expect("an answer");
    let error = response.markers[0].topics[0].partitions[0].error_code;
    assert_eq!(error, ErrorCode::TRANSACTION_COORDINATOR_FENCED);
    assert_eq!(producer.read("t", 0).await.aborted, [(producer.id, 0)]);
}

#[tokio::test]
async fn transactions_live_and_are_described_in_every_version() {
    let broker = broker(|it| it.two_phase_commit());
    let mut producer = Producer::begun(&broker, 1, "x").await;
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    let id = producer.id;
    let topic = || AddPartitionsToTxnTopic {
        name: "t".into(),
        partitions: vec![0],
        ..Default::default()
    };
    ask_in_every_version(&broker, 0..=6, |version| InitProducerIdRequest {
        transactional_id: Some(format!("init-{version}")),
        transaction_timeout_ms: 1_000,
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=5, |version| match version {
        0..4 => AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: "x".into(),
            v3_and_below_producer_id: id,
            v3_and_below_topics: vec![topic()],
            ..Default::default()
        },
        _ => AddPartitionsToTxnRequest {
            transactions: vec![AddPartitionsToTxnTransaction {
                transactional_id: "x".into(),
                producer_id: id,
                verify_only: version == 5,
                topics: vec![topic()],
                ..Default::default()
            }],
            ..Default::default()
        },
    })
    .await;
    ask_in_every_version(&broker, 0..=4, |_| AddOffsetsToTxnRequest {
        transactional_id: "x".into(),
        producer_id: id,
        group_id: "g".into(),
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=5, |_| TxnOffsetCommitRequest {
        transactional_id: "x".into(),
        producer_id: id,
        group_id: "g".into(),
        topics: vec![offset_of("t", 3)],
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=5, |_| EndTxnRequest {
        transactional_id: "x".into(),
        producer_id: id,
        committed: true,
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 1..=2, |_| WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            topics: vec![WritableTxnMarkerTopic {
                name: "t".into(),
                partition_indexes: vec![0],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=0, |_| DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: "t".into(),
            partition_indexes: vec![0],
            ..Default::default()
        }],
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=0, |_| DescribeTransactionsRequest {
        transactional_ids: vec!["x".into()],
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=2, |_| ListTransactionsRequest::default()).await;
}
