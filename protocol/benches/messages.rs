//! What encoding and decoding the messages of the hot path costs: produce and fetch, with records of 64 KiB for each of
//! some partitions. Records are never copied, so the figures do not grow with them.

use bytes::Bytes;
use divan::Bencher;
use pat_kafka_protocol::api::decode_all;
use pat_kafka_protocol::frame::encode_request;
use pat_kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use pat_kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use pat_kafka_protocol::messages::{FetchResponse, ProduceRequest};
use pat_kafka_protocol::{Encoder, Message, Uuid};

const RECORDS_BYTES: usize = 64 * 1024;
const PARTITIONS: [i32; 3] = [1, 6, 100];

fn main() {
    divan::main();
}

#[divan::bench(args = PARTITIONS)]
fn encode_produce(bencher: Bencher<'_, '_>, partitions: i32) {
    let records = Bytes::from(vec![1; RECORDS_BYTES]);
    let data = |index| PartitionProduceData {
        index,
        records: Some(records.clone()),
        ..Default::default()
    };
    let topic = TopicProduceData {
        topic_id: Uuid::from_u128(7),
        partition_data: (0..partitions).map(data).collect(),
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    bencher.bench(|| encode_request(13, 1, Some("bench"), &request));
}

#[divan::bench(args = PARTITIONS)]
fn decode_fetch(bencher: Bencher<'_, '_>, partitions: i32) {
    let records = Bytes::from(vec![1; RECORDS_BYTES]);
    let data = |partition_index| PartitionData {
        partition_index,
        records: Some(records.clone()),
        aborted_transactions: None,
        ..Default::default()
    };
    let topic = FetchableTopicResponse {
        topic_id: Uuid::from_u128(7),
        partitions: (0..partitions).map(data).collect(),
        ..Default::default()
    };
    let response = FetchResponse {
        responses: vec![topic],
        ..Default::default()
    };
    let mut out = Encoder::new();
    response.encode(&mut out, 18).expect("a valid response");
    let bytes = out.into_bytes();
    bencher.bench(|| decode_all::<FetchResponse>(bytes.clone(), 18));
}
