//! What Kafka 4.4 answers, and that the embedded broker answers the same.
//!
//! Each scenario talks to a broker and writes a transcript: error codes, offsets, epochs, what is closed; ids that are random are left out.
//! `kafka-4.4.txt` is the transcript of a real Kafka 4.4 (one node, 6 partitions by default, initial rebalance delay 0, 16 MiB
//! messages). With `PARITY_KAFKA=host:port` the scenarios run against that broker instead and the file is written anew.

mod commits;
mod groups;
mod offsets;
mod producing;
mod sessions;
mod topics;

use std::fmt::{Debug, Write};

use bytes::Bytes;
use pat_events::broker::Broker;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, ListOffsetsRequest, ProduceRequest, ProduceResponse,
};
use protocol::{ErrorCode, Request, Uuid};

use super::raw::Raw;

const GOLDEN: &str = include_str!("kafka-4.4.txt");

pub type Produced = Result<(ErrorCode, i64, i64), std::io::ErrorKind>;

/// A broker under test, and what it has said so far.
pub struct Session {
    target: Target,
    raw: Raw,
    transcript: String,
    /// Distinguishes topics and groups of this run from those of an earlier one.
    run: String,
}

enum Target {
    Embedded(Broker),
    Kafka(String),
}

impl Session {
    async fn new(target: Target) -> Session {
        let raw = connect(&target).await;
        let run = match &target {
            Target::Embedded(_) => String::new(),
            Target::Kafka(_) => format!("-{}", std::process::id()),
        };
        Session {
            target,
            raw,
            transcript: String::new(),
            run,
        }
    }

    pub fn name(&self, name: &str) -> String {
        format!("{name}{}", self.run)
    }

    pub fn say(&mut self, what: &str, answer: impl Debug) {
        writeln!(self.transcript, "{what}: {answer:?}").expect("text");
    }

    /// A further connection.
    pub async fn another(&self) -> Raw {
        connect(&self.target).await
    }

    pub async fn reconnect(&mut self) {
        self.raw = self.another().await;
    }

    /// Creates a topic and waits until it is there; gives its id.
    pub async fn topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Uuid {
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: self.name(name),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        let response: CreateTopicsResponse = self.ask(7, &request).await;
        assert_eq!(
            response.topics[0].error_code,
            ErrorCode::NONE,
            "{response:?}"
        );
        let asked = |partition_index| ListOffsetsPartition {
            partition_index,
            timestamp: -1,
            ..Default::default()
        };
        let topics = vec![ListOffsetsTopic {
            name: self.name(name),
            partitions: (0..partitions).map(asked).collect(),
            ..Default::default()
        }];
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics,
            ..Default::default()
        };
        loop {
            let offsets = self.ask(8, &request).await;
            if offsets.topics[0]
                .partitions
                .iter()
                .all(|partition| partition.error_code == ErrorCode::NONE)
            {
                return response.topics[0].topic_id;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Sends a request that is answered.
    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        match self.raw.call(version, request).await {
            Ok(response) => response,
            Err(error) => panic!(
                "no answer to {} v{version} ({error}) after\n{}",
                R::NAME,
                self.transcript
            ),
        }
    }

    /// Produces to one partition; gives error, base offset and log start offset, or why there is no answer.
    pub async fn produce(
        &mut self,
        version: i16,
        topic: &str,
        partition: i32,
        records: Bytes,
    ) -> Produced {
        let name = self.name(topic);
        let response = self
            .raw
            .call(
                version,
                &produce_request(name, partition, -1, Some(records)),
            )
            .await;
        if response.is_err() {
            self.reconnect().await;
        }
        response
            .map(|response| outcome(&response))
            .map_err(|error| error.kind())
    }

    /// Produces what is taken for sure.
    pub async fn append(&mut self, version: i16, topic: &str, partition: i32, records: Bytes) {
        let produced = self.produce(version, topic, partition, records).await;
        assert_eq!(produced.map(|produced| produced.0), Ok(ErrorCode::NONE));
    }
}

async fn connect(target: &Target) -> Raw {
    match target {
        Target::Embedded(broker) => Raw::dial(broker, 1).expect("a connection"),
        Target::Kafka(address) => Raw::connect(address).await.expect("a connection"),
    }
}

pub fn produce_request(
    name: String,
    index: i32,
    acks: i16,
    records: Option<Bytes>,
) -> ProduceRequest {
    let partition_data = vec![PartitionProduceData {
        index,
        records,
        ..Default::default()
    }];
    let topic_data = vec![TopicProduceData {
        name,
        partition_data,
        ..Default::default()
    }];
    ProduceRequest {
        acks,
        timeout_ms: 5_000,
        topic_data,
        ..Default::default()
    }
}

pub fn outcome(response: &ProduceResponse) -> (ErrorCode, i64, i64) {
    let partition = &response.responses[0].partition_responses[0];
    (
        partition.error_code,
        partition.base_offset,
        partition.log_start_offset,
    )
}

async fn transcript(target: Target) -> String {
    let mut session = Session::new(target).await;
    producing::run(&mut session).await;
    sessions::run(&mut session).await;
    offsets::run(&mut session).await;
    topics::run(&mut session).await;
    groups::run(&mut session).await;
    commits::run(&mut session).await;
    session.transcript
}

#[tokio::test]
async fn the_embedded_broker_answers_as_kafka_does() {
    if let Ok(address) = std::env::var("PARITY_KAFKA") {
        let recorded = transcript(Target::Kafka(address)).await;
        std::fs::write(
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/broker/parity/kafka-4.4.txt"
            ),
            recorded,
        )
        .expect("written");
        return;
    }
    let broker = Broker::builder()
        .seed(1)
        .max_message_bytes(16 << 20)
        .start_in_memory()
        .expect("a broker");
    let ours = transcript(Target::Embedded(broker.clone())).await;
    broker.shutdown().await;
    let differences: Vec<_> = GOLDEN
        .lines()
        .zip(ours.lines())
        .filter(|(kafka, ours)| kafka != ours)
        .collect();
    let shown: Vec<_> = differences
        .iter()
        .map(|(kafka, ours)| format!("kafka {kafka}\n ours {ours}\n"))
        .collect();
    assert!(
        differences.is_empty(),
        "{} lines differ:\n{}",
        differences.len(),
        shown.concat()
    );
    assert_eq!(GOLDEN.lines().count(), ours.lines().count());
}
