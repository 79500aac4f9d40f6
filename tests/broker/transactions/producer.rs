//! A transactional producer made of raw messages, by either flow.

use bytes::Bytes;
use pat_events::broker::Broker;
use protocol::ErrorCode;
use protocol::compression::Compression;
use protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use protocol::messages::*;
use protocol::records::{BatchIter, SealOptions};

use crate::parity::produce_request;
use crate::raw::{Raw, batch_of};

/// Versions of the newer flow, and of the older one.
pub const V2_PRODUCE: i16 = 12;
pub const V1_PRODUCE: i16 = 11;

pub struct Producer {
    pub raw: Raw,
    pub transactional_id: String,
    pub id: i64,
    pub epoch: i16,
    sequence: i32,
}

/// Committed and aborted of a partition, as a reader sees them.
#[derive(Debug, PartialEq)]
pub struct Seen {
    pub last_stable_offset: i64,
    pub batches: usize,
    pub aborted: Vec<(i64, i64)>,
}

impl Producer {
    /// Connected, not yet initialised.
    pub fn new(broker: &Broker, node: i32, transactional_id: &str) -> Self {
        Self {
            raw: Raw::dial(broker, node).expect("a connection"),
            transactional_id: transactional_id.to_owned(),
            id: -1,
            epoch: -1,
            sequence: 0,
        }
    }

    pub async fn begun(broker: &Broker, node: i32, transactional_id: &str) -> Self {
        let mut producer = Self::new(broker, node, transactional_id);
        assert_eq!(producer.init().await, ErrorCode::NONE);
        producer
    }

    /// InitProducerId without saying who it was.
    pub async fn init(&mut self) -> ErrorCode {
        self.init_as((-1, -1), 60_000).await
    }

    pub async fn init_as(&mut self, (id, epoch): (i64, i16), timeout_ms: i32) -> ErrorCode {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.transactional_id.clone()),
            transaction_timeout_ms: timeout_ms,
            producer_id: id,
            producer_epoch: epoch,
            ..Default::default()
        };
        let response = self.raw.call(5, &request).await.expect("an answer");
        if response.error_code == ErrorCode::NONE {
            (self.id, self.epoch) = (response.producer_id, response.producer_epoch);
            self.sequence = 0;
        }
        response.error_code
    }

    fn batch(&self, records: usize) -> Bytes {
        let options = SealOptions {
            producer_id: self.id,
            producer_epoch: self.epoch,
            base_sequence: self.sequence,
            transactional: true,
            control: false,
        };
        batch_of(&vec![1_000; records], 10, options, Compression::NONE)
    }

    /// Produces a batch of one record, in the newer flow or the older.
    pub async fn produce(&mut self, version: i16, topic: &str, partition: i32) -> ErrorCode {
        let mut request = produce_request(topic.into(), partition, -1, Some(self.batch(1)));
        request.transactional_id = Some(self.transactional_id.clone());
        let response = self.raw.call(version, &request).await.expect("an answer");
        let error = response.responses[0].partition_responses[0].error_code;
        if error == ErrorCode::NONE {
            self.sequence += 1;
        }
        error
    }

    pub async fn add_partition(&mut self, topic: &str, partition: i32) -> ErrorCode {
        let topic = AddPartitionsToTxnTopic {
            name: topic.into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id.clone(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        let response = self.raw.call(3, &request).await.expect("an answer");
        let result = &response.results_by_topic_v3_and_below[0].results_by_partition[0];
        ErrorCode(result.partition_error_code)
    }

    pub async fn add_offsets(&mut self, group: &str) -> ErrorCode {
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            group_id: group.into(),
            ..Default::default()
        };
        let response = self.raw.call(4, &request).await.expect("an answer");
        response.error_code
    }

    /// Commits an offset of partition 0 of a topic for a group without members.
    pub async fn commit_offset(
        &mut self,
        version: i16,
        group: &str,
        topic: &str,
        offset: i64,
    ) -> ErrorCode {
        let request = TxnOffsetCommitRequest {
            transactional_id: self.transactional_id.clone(),
            group_id: group.into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            topics: vec![offset_of(topic, offset)],
            ..Default::default()
        };
        let response = self.raw.call(version, &request).await.expect("an answer");
        response.topics[0].partitions[0].error_code
    }

    /// EndTxn of version 5, which takes over what it is told, or of version 4.
    pub async fn end(&mut self, version: i16, committed: bool) -> ErrorCode {
        let request = EndTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
            ..Default::default()
        };
        let response = self.raw.call(version, &request).await.expect("an answer");
        if response.error_code == ErrorCode::NONE && version >= 5 {
            let next = (response.producer_id, response.producer_epoch);
            if next != (self.id, self.epoch) {
                self.sequence = 0;
            }
            (self.id, self.epoch) = next;
        }
        response.error_code
    }

    pub async fn state(&mut self) -> (ErrorCode, String) {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![self.transactional_id.clone()],
            ..Default::default()
        };
        let response = self.raw.call(0, &request).await.expect("an answer");
        let state = &response.transaction_states[0];
        (state.error_code, state.transaction_state.clone())
    }

    /// What a read_committed reader gets of a partition.
    pub async fn read(&mut self, topic: &str, partition: i32) -> Seen {
        let partition = FetchPartition {
            partition,
            partition_max_bytes: 100_000,
            ..Default::default()
        };
        let request = FetchRequest {
            isolation_level: 1,
            max_bytes: 100_000,
            topics: vec![FetchTopic {
                topic: topic.into(),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        };
        let response = self.raw.call(12, &request).await.expect("an answer");
        let answered = &response.responses[0].partitions[0];
        assert_eq!(answered.error_code, ErrorCode::NONE);
        let records = answered.records.clone().expect("records");
        let aborted = answered.aborted_transactions.iter().flatten();
        Seen {
            last_stable_offset: answered.last_stable_offset,
            batches: BatchIter::strict(records).count(),
            aborted: aborted
                .map(|it| (it.producer_id, it.first_offset))
                .collect(),
        }
    }

    /// The end of a partition for read_uncommitted and read_committed readers.
    pub async fn ends(&mut self, topic: &str) -> (i64, i64) {
        let mut ends = Vec::new();
        for isolation_level in [0, 1] {
            let asked = ListOffsetsPartition {
                timestamp: -1,
                ..Default::default()
            };
            let request = ListOffsetsRequest {
                replica_id: -1,
                isolation_level,
                topics: vec![ListOffsetsTopic {
                    name: topic.into(),
                    partitions: vec![asked],
                    ..Default::default()
                }],
                ..Default::default()
            };
            let response = self.raw.call(8, &request).await.expect("an answer");
            ends.push(response.topics[0].partitions[0].offset);
        }
        (ends[0], ends[1])
    }

    /// The committed offset of partition 0 for a group.
    pub async fn committed(
        &mut self,
        group: &str,
        topic: &str,
        require_stable: bool,
    ) -> (i64, ErrorCode) {
        let asked = OffsetFetchRequestTopics {
            name: topic.into(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: Some(vec![asked]),
            ..Default::default()
        };
        let request = OffsetFetchRequest {
            groups: vec![group],
            require_stable,
            ..Default::default()
        };
        let response = self.raw.call(9, &request).await.expect("an answer");
        let partition = &response.groups[0].topics[0].partitions[0];
        (partition.committed_offset, partition.error_code)
    }
}

pub fn offset_of(topic: &str, committed_offset: i64) -> TxnOffsetCommitRequestTopic {
    let partition = TxnOffsetCommitRequestPartition {
        committed_offset,
        ..Default::default()
    };
    TxnOffsetCommitRequestTopic {
        name: topic.into(),
        partitions: vec![partition],
        ..Default::default()
    }
}
