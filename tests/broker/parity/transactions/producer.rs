//! A transactional producer made of raw messages, which says nothing of random ids.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::compression::Compression;
use protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::{
    AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest, FetchRequest,
    InitProducerIdRequest, ListOffsetsRequest,
};
use protocol::records::{BatchIter, SealOptions};

use super::Session;
use crate::parity::produce_request;
use crate::raw::batch_of;

/// The timestamp of each transaction's first record, the second's is a millisecond later: of these days, as a log begins a new segment after years,
/// and older than every marker.
pub fn record_time() -> i64 {
    static TIME: OnceLock<i64> = OnceLock::new();
    *TIME.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = now.expect("after 1970").as_millis();
        i64::try_from(now_ms).expect("a time of these days") - 10_000
    })
}

pub struct Producer {
    pub transactional_id: String,
    pub id: i64,
    pub epoch: i16,
    pub sequence: i32,
}

impl Producer {
    /// One whose id nobody has used.
    pub async fn begun(session: &mut Session, name: &str) -> Self {
        let mut producer = Self {
            transactional_id: session.name(name),
            id: -1,
            epoch: -1,
            sequence: 0,
        };
        let answer = producer.init(session, 4, (-1, -1), 60_000).await;
        assert_eq!(answer.0, ErrorCode::NONE);
        producer
    }

    /// InitProducerId: error, whether the id is the one before, the epoch.
    pub async fn init(
        &mut self,
        session: &mut Session,
        version: i16,
        (producer_id, producer_epoch): (i64, i16),
        transaction_timeout_ms: i32,
    ) -> (ErrorCode, bool, i16) {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.transactional_id.clone()),
            transaction_timeout_ms,
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        let response = session.ask(version, &request).await;
        let is_same = response.producer_id == self.id;
        if response.error_code == ErrorCode::NONE {
            (self.id, self.epoch) = (response.producer_id, response.producer_epoch);
            self.sequence = 0;
        }
        (response.error_code, is_same, response.producer_epoch)
    }

    pub fn batch(&self, transactional: bool) -> Bytes {
        let options = SealOptions {
            producer_id: self.id,
            producer_epoch: self.epoch,
            base_sequence: self.sequence,
            transactional,
            control: false,
        };
        let time = record_time();
        batch_of(&[time, time + 1], 10, options, Compression::NONE)
    }

    /// Produces two records; error, base offset, log start offset.
    pub async fn produce(
        &mut self,
        session: &mut Session,
        version: i16,
        partition: i32,
    ) -> (ErrorCode, i64, i64) {
        let name = session.name("txn");
        let mut request = produce_request(name, partition, -1, Some(self.batch(true)));
        request.transactional_id = Some(self.transactional_id.clone());
        let outcome = crate::parity::outcome(&session.ask(version, &request).await);
        if outcome.0 == ErrorCode::NONE {
            self.sequence += 2;
        }
        outcome
    }

    /// AddPartitionsToTxn of a client, of partitions of the topic and of one that is not there.
    pub async fn add(
        &self,
        session: &mut Session,
        version: i16,
        partitions: &[i32],
        and_unknown: bool,
    ) -> Vec<ErrorCode> {
        let topic = |name: &str| AddPartitionsToTxnTopic {
            name: session.name(name),
            partitions: partitions.to_vec(),
            ..Default::default()
        };
        let mut topics = vec![topic("txn")];
        topics.extend(and_unknown.then(|| topic("nowhere")));
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id.clone(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: topics,
            ..Default::default()
        };
        let response = session.ask(version, &request).await;
        let results = response.results_by_topic_v3_and_below;
        let mut errors: Vec<_> = results
            .iter()
            .flat_map(|topic| {
                let partitions = topic.results_by_partition.iter();
                let code = |it: &_| partition_error(it);
                partitions
                    .map(|it| (topic.name.clone(), it.partition_index, code(it)))
                    .collect::<Vec<_>>()
            })
            .collect();
        errors.sort_unstable_by_key(|(name, index, _)| (name.clone(), *index));
        errors.into_iter().map(|(_, _, error)| error).collect()
    }

    /// EndTxn, and what it came to once that is over: error, whether the id is the one before (-1 counts as such), the epoch, the state.
    pub async fn end(
        &mut self,
        session: &mut Session,
        version: i16,
        committed: bool,
    ) -> (ErrorCode, bool, i16, String) {
        let request = EndTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
            ..Default::default()
        };
        let response = session.ask(version, &request).await;
        let (id, epoch) = (response.producer_id, response.producer_epoch);
        let is_same = id == self.id || id == -1;
        if response.error_code == ErrorCode::NONE && id >= 0 {
            if (id, epoch) != (self.id, self.epoch) {
                self.sequence = 0;
            }
            (self.id, self.epoch) = (id, epoch);
        }
        let state = self.settle(session).await;
        (response.error_code, is_same, epoch, state)
    }

    /// Waits until no marker is missing; the state.
    pub async fn settle(&self, session: &mut Session) -> String {
        loop {
            let request = DescribeTransactionsRequest {
                transactional_ids: vec![self.transactional_id.clone()],
                ..Default::default()
            };
            let response = session.ask(0, &request).await;
            let state = &response.transaction_states[0];
            if !state.transaction_state.starts_with("Prepare") {
                return match state.error_code {
                    ErrorCode::NONE => state.transaction_state.clone(),
                    error => error.to_string(),
                };
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn partition_error(
    result: &protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnPartitionResult,
) -> ErrorCode {
    ErrorCode(result.partition_error_code)
}

/// What readers get of a partition: high watermark, last stable offset, batches, where aborted transactions begin.
pub async fn fetched(
    session: &mut Session,
    partition: i32,
    isolation_level: i8,
) -> (i64, i64, usize, Option<Vec<i64>>) {
    let partition = FetchPartition {
        partition,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let request = FetchRequest {
        isolation_level,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: session.name("txn"),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = session.ask(12, &request).await;
    let answered = &response.responses[0].partitions[0];
    let aborted = answered.aborted_transactions.as_ref();
    let records = answered.records.clone().unwrap_or_default();
    (
        answered.high_watermark,
        answered.last_stable_offset,
        BatchIter::strict(records).count(),
        aborted.map(|aborted| aborted.iter().map(|it| it.first_offset).collect()),
    )
}

/// Where a timestamp is in a partition.
pub async fn listed(
    session: &mut Session,
    partition: i32,
    isolation_level: i8,
    timestamp: i64,
) -> (ErrorCode, i64) {
    let asked = ListOffsetsPartition {
        partition_index: partition,
        timestamp,
        ..Default::default()
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level,
        topics: vec![ListOffsetsTopic {
            name: session.name("txn"),
            partitions: vec![asked],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = session.ask(8, &request).await;
    let partition = &response.topics[0].partitions[0];
    (partition.error_code, partition.offset)
}
