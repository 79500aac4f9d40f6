//! What Kafka 4.4 answers, and the embedded broker must answer.
//!
//! Each scenario talks to a broker and writes a transcript: error codes, offsets, epochs, what is closed; ids that are random are left out.
//! `kafka-4.4.txt` is the transcript of a real Kafka 4.4 (one node, 6 partitions by default, initial rebalance delay 0, 16 MiB
//! messages). tests/kafka takes it again from the Kafka that runs there, and writes it anew on demand.

mod admin;
mod commits;
mod configs;
mod consumer_groups;
mod groups;
mod offsets;
mod producing;
mod sessions;
mod topics;
mod transactions;

use std::fmt::{Debug, Write};
use std::time::Duration;

use bytes::Bytes;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, ListOffsetsRequest, ProduceRequest, ProduceResponse,
};
use protocol::{ErrorCode, Request, Uuid};

use super::raw::Raw;

/// Kafka's transcript.
const RECORDED: &str = include_str!("kafka-4.4.txt");

pub type Produced = Result<(ErrorCode, i64, i64), std::io::ErrorKind>;

/// A broker under test, and what it has said so far.
pub struct Session {
    address: String,
    raw: Raw,
    transcript: String,
    /// Distinguishes topics and groups of this run from those of an earlier one.
    run: String,
}

impl Session {
    async fn new(address: String, run: String) -> Session {
        let raw = connect(&address).await;
        Session {
            address,
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
        connect(&self.address).await
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
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends a request that is answered; again while a broker that has just started is loading what it takes to do so.
    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        loop {
            match self.raw.call(version, request).await {
                Ok(response) if !is_loading(&response) => return response,
                Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => panic!(
                    "no answer to {} v{version} ({error}) after\n{}",
                    R::NAME,
                    self.transcript
                ),
            }
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

async fn connect(address: &str) -> Raw {
    Raw::connect(address).await.expect("a connection")
}

fn is_loading(response: &impl Debug) -> bool {
    format!("{response:?}").contains(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS.name())
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

/// Takes the transcript of the broker at this address; `run` ends the names of its topics and groups.
pub async fn transcript(address: String, run: String) -> String {
    let mut session = Session::new(address, run).await;
    producing::run(&mut session).await;
    sessions::run(&mut session).await;
    offsets::run(&mut session).await;
    topics::run(&mut session).await;
    groups::run(&mut session).await;
    commits::run(&mut session).await;
    consumer_groups::run(&mut session).await;
    transactions::run(&mut session).await;
    admin::run(&mut session).await;
    configs::run(&mut session).await;
    session.transcript
}

/// Panics with the lines in which a transcript is not the recorded one.
pub fn assert_as_recorded(transcript: &str) {
    let differences: Vec<_> = RECORDED
        .lines()
        .zip(transcript.lines())
        .filter(|(recorded, now)| recorded != now)
        .map(|(recorded, now)| format!("recorded {recorded}\n     now {now}\n"))
        .collect();
    assert!(
        differences.is_empty(),
        "{} lines differ:\n{}",
        differences.len(),
        differences.concat()
    );
    assert_eq!(RECORDED.lines().count(), transcript.lines().count());
}
