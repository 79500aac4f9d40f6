//! Fetching what a test puts into the log, at sizes where responses are written in many pieces.

use bytes::Bytes;
use pat_events::broker::Broker;
use protocol::ErrorCode;
use protocol::compression::{Codec, Compression, Compressor};
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::fetch_response::PartitionData;
use protocol::messages::{FetchRequest, MetadataRequest};
use protocol::records::{BatchBuilder, BatchIter, ControlRecord, SealOptions};

use crate::parity::{outcome, produce_request};
use crate::raw::{Raw, batch, batch_of};

fn broker(builder: pat_events::broker::BrokerBuilder) -> (Broker, Raw) {
    let broker = builder.seed(1).start_in_memory().expect("a broker");
    broker.create_topic("t", 1).expect("a topic");
    let raw = Raw::dial(&broker, 1).expect("a connection");
    (broker, raw)
}

async fn fetch(raw: &mut Raw, fetch_offset: i64, max_bytes: i32) -> PartitionData {
    let partition = FetchPartition {
        fetch_offset,
        partition_max_bytes: max_bytes,
        ..Default::default()
    };
    let topics = vec![FetchTopic {
        topic: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    }];
    let request = FetchRequest {
        max_bytes,
        topics,
        ..Default::default()
    };
    raw.call(12, &request)
        .await
        .expect("an answer")
        .responses
        .remove(0)
        .partitions
        .remove(0)
}

#[tokio::test]
async fn batches_are_served_as_they_came_but_for_offset_and_epoch() {
    let (_broker, mut raw) = broker(Broker::builder());
    let mut sent = Vec::new();
    for (index, codec) in Codec::ALL.into_iter().cycle().take(30).enumerate() {
        // Small ones are copied together, large ones are not: both have to be right, in any order.
        let size = if index % 3 == 0 { 20 } else { 700 * index };
        let records = batch_of(
            &[5, 7, 6],
            size,
            SealOptions::default(),
            Compression::from(codec),
        );
        raw.call(9, &produce_request("t".into(), 0, 1, Some(records.clone())))
            .await
            .expect("an answer");
        sent.push(records);
    }
    let served = fetch(&mut raw, 0, 1 << 20).await.records.expect("records");
    assert_eq!(served.len(), sent.iter().map(Bytes::len).sum::<usize>());
    for ((index, served), sent) in BatchIter::strict(served).enumerate().zip(sent) {
        let served = served.expect("a batch");
        served.verify_crc().expect("intact");
        assert_eq!(served.base_offset(), 3 * index as i64);
        assert_eq!(served.partition_leader_epoch(), 0);
        assert_eq!(served.bytes()[16..], sent[16..]);
    }
}

#[tokio::test]
async fn a_megabyte_goes_in_and_out_over_a_small_pipe() {
    let (_broker, mut raw) = broker(Broker::builder().max_message_bytes(2 << 20));
    let records = batch_of(&[1; 10], 100_000, SealOptions::default(), Compression::NONE);
    let produced = raw
        .call(
            9,
            &produce_request("t".into(), 0, -1, Some(records.clone())),
        )
        .await
        .expect("an answer");
    assert_eq!(outcome(&produced).0, ErrorCode::NONE);
    let served = fetch(&mut raw, 4, 1).await.records.expect("records");
    assert_eq!(served[16..], records[16..]);
}

#[tokio::test]
async fn retention_bounds_each_partition_and_moves_the_start() {
    let (broker, mut raw) = broker(Broker::builder().retention_bytes(1_000));
    for _ in 0..50 {
        raw.call(9, &produce_request("t".into(), 0, -1, Some(batch(3))))
            .await
            .expect("an answer");
    }
    let log = broker.log("t", 0).expect("a log");
    assert!(
        log.size_bytes <= 1_000 && log.end_offset == 150 && log.start_offset > 100,
        "{log:?}"
    );
    assert_eq!(
        fetch(&mut raw, 0, 1000).await.error_code,
        ErrorCode::OFFSET_OUT_OF_RANGE
    );
    let first = fetch(&mut raw, log.start_offset, 1000).await;
    assert_eq!(
        (first.error_code, first.log_start_offset),
        (ErrorCode::NONE, log.start_offset)
    );
}

#[tokio::test]
async fn a_truncated_log_diverges_from_who_read_further() {
    let (broker, mut raw) = broker(Broker::builder());
    for _ in 0..3 {
        raw.call(9, &produce_request("t".into(), 0, -1, Some(batch(10))))
            .await
            .expect("an answer");
    }
    broker.truncate_log("t", 0, 15);
    raw.call(9, &produce_request("t".into(), 0, -1, Some(batch(1))))
        .await
        .expect("an answer");
    let partition = FetchPartition {
        fetch_offset: 30,
        last_fetched_epoch: 0,
        partition_max_bytes: 1000,
        ..Default::default()
    };
    let topics = vec![FetchTopic {
        topic: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    }];
    let request = FetchRequest {
        max_bytes: 1000,
        topics,
        ..Default::default()
    };
    let response = raw.call(12, &request).await.expect("an answer");
    let diverging = &response.responses[0].partitions[0].diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (0, 10));
}

#[tokio::test]
async fn a_corrupt_batch_is_served_to_test_those_who_read_it() {
    let (broker, mut raw) = broker(Broker::builder());
    let mut corrupt = batch(3).to_vec();
    corrupt[70] ^= 1;
    assert_eq!(broker.append_unchecked("t", 0, Bytes::from(corrupt)), 1);
    let served = fetch(&mut raw, 0, 1000).await.records.expect("records");
    let served = BatchIter::strict(served)
        .next()
        .expect("one")
        .expect("a batch");
    assert!(served.verify_crc().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_request_behind_a_long_poll_waits_for_it() {
    let (_broker, mut raw) = broker(Broker::builder());
    let partition = FetchPartition {
        partition_max_bytes: 1000,
        ..Default::default()
    };
    let topics = vec![FetchTopic {
        topic: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    }];
    let request = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1000,
        topics,
        ..Default::default()
    };
    let began = tokio::time::Instant::now();
    raw.send(12, &request).await.expect("sent");
    raw.send(
        12,
        &MetadataRequest {
            allow_auto_topic_creation: true,
            ..Default::default()
        },
    )
    .await
    .expect("sent");
    let first = raw.receive_frame().await.expect("an answer");
    assert_eq!(began.elapsed().as_millis(), 500);
    let second = raw.receive_frame().await.expect("an answer");
    assert_eq!(
        (first[..4].to_vec(), second[..4].to_vec()),
        (vec![0, 0, 0, 1], vec![0, 0, 0, 2])
    );
}

#[tokio::test]
async fn read_committed_stops_at_open_transactions_and_names_aborted_ones() {
    let (broker, mut raw) = broker(Broker::builder());
    let abort = ControlRecord::Abort {
        coordinator_epoch: 0,
    };
    for marker in [None, Some(abort), None] {
        let mut builder = BatchBuilder::new(Vec::new());
        match &marker {
            Some(marker) => builder.append(
                1,
                Some(&marker.key()),
                marker.marker_value().as_ref().map(|v| &v[..]),
                [],
            ),
            None => builder.append(1, None, Some(b"v"), []),
        }
        .expect("room for a record");
        let options = SealOptions {
            producer_id: 7,
            producer_epoch: 0,
            base_sequence: 0,
            transactional: true,
            control: marker.is_some(),
        };
        let sealed = builder.seal(&options, &mut Compressor::new(Compression::NONE));
        broker.append_unchecked("t", 0, sealed.into_bytes());
    }
    let partition = FetchPartition {
        partition_max_bytes: 1000,
        ..Default::default()
    };
    let topics = vec![FetchTopic {
        topic: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    }];
    for (isolation_level, batches, aborted) in [(0, 3, None), (1, 2, Some(vec![(7, 0)]))] {
        let request = FetchRequest {
            isolation_level,
            max_bytes: 1000,
            topics: topics.clone(),
            ..Default::default()
        };
        let response = raw.call(12, &request).await.expect("an answer");
        let answered = &response.responses[0].partitions[0];
        assert_eq!(
            (answered.high_watermark, answered.last_stable_offset),
            (3, 2)
        );
        let records = answered.records.clone().expect("records");
        assert_eq!(BatchIter::strict(records).count(), batches);
        let void = answered.aborted_transactions.as_ref();
        let void = void.map(|void| {
            void.iter()
                .map(|void| (void.producer_id, void.first_offset))
                .collect::<Vec<_>>()
        });
        assert_eq!(void, aborted);
    }
}
