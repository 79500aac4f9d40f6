//! ListOffsets: where logs begin and end, and where a time is in them (KIP-79, KIP-734, KIP-405, KIP-1005, KIP-1023).

use protocol::ErrorCode;
use protocol::compression::Decompressor;
use protocol::messages::ListOffsetsRequest;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use protocol::records::RecordBatch;

use super::{Api, Context, Reply};
use crate::broker::partition::Partition;
use crate::broker::security::AclOperation;
use crate::broker::storage::{StoredBatch, storage_error};

const READ_COMMITTED: i8 = 1;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// The most that one batch is decompressed to while a time is looked up in it.
const MAX_DECOMPRESSED_BYTES: usize = 1 << 30;

impl Api for ListOffsetsRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<ListOffsetsResponse> {
        let read_committed = self.isolation_level == READ_COMMITTED;
        let topics = self
            .topics
            .iter()
            .map(|topic| list_topic(topic, read_committed, context))
            .collect();
        Reply::Message(ListOffsetsResponse {
            topics,
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> ListOffsetsResponse {
        let refused = |topic: &ListOffsetsTopic| ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|asked| failed(asked.partition_index, error))
                .collect(),
            ..Default::default()
        };
        ListOffsetsResponse {
            topics: self.topics.iter().map(refused).collect(),
            ..Default::default()
        }
    }
}

fn list_topic(
    asked: &ListOffsetsTopic,
    read_committed: bool,
    context: &Context<'_>,
) -> ListOffsetsTopicResponse {
    let topic = context.topic(&asked.name, None, AclOperation::Describe);
    let list = |asked: &ListOffsetsPartition| {
        let partition = topic.as_ref().map_err(|error| *error).and_then(|topic| {
            let partition = topic.partition(asked.partition_index);
            partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        });
        match partition.and_then(|found| find(&found, asked, read_committed, context)) {
            Ok(Found {
                offset,
                timestamp,
                leader_epoch,
            }) => ListOffsetsPartitionResponse {
                partition_index: asked.partition_index,
                offset,
                timestamp,
                // Older versions have no place for it.
                leader_epoch: if context.version >= 4 {
                    leader_epoch
                } else {
                    -1
                },
                ..Default::default()
            },
            Err(error) => failed(asked.partition_index, error),
        }
    };
    ListOffsetsTopicResponse {
        name: asked.name.clone(),
        partitions: asked.partitions.iter().map(list).collect(),
        ..Default::default()
    }
}

fn failed(partition_index: i32, error: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index,
        error_code: error,
        ..Default::default()
    }
}

struct Found {
    offset: i64,
    timestamp: i64,
    leader_epoch: i32,
}

const NOTHING: Found = Found {
    offset: -1,
    timestamp: -1,
    leader_epoch: -1,
};

fn find(
    partition: &Partition,
    asked: &ListOffsetsPartition,
    read_committed: bool,
    context: &Context<'_>,
) -> Result<Found, ErrorCode> {
    if !is_spoken(asked.timestamp, context.version) {
        return Err(ErrorCode::UNSUPPORTED_VERSION);
    }
    partition.check_leader(context.node, asked.current_leader_epoch)?;
    let log = &partition.log;
    let end = match read_committed {
        true => partition.last_stable_offset(),
        false => log.end_offset(),
    };
    let found = match asked.timestamp {
        LATEST => Found {
            offset: end,
            timestamp: -1,
            leader_epoch: partition.leader_epoch,
        },
        EARLIEST | EARLIEST_LOCAL => {
            let leader_epoch = log.epoch_at(log.start_offset()).unwrap_or(-1);
            Found {
                offset: log.start_offset(),
                timestamp: -1,
                leader_epoch,
            }
        }
        // Nothing is tiered.
        LATEST_TIERED => NOTHING,
        EARLIEST_PENDING_UPLOAD => NOTHING,
        MAX_TIMESTAMP => {
            let newest = log.newest_batch().map_err(storage_error)?;
            newest
                .and_then(|batch| record_since(&batch, batch.max_timestamp_ms, log.start_offset()))
                .filter(|found| found.offset < end)
                .unwrap_or(NOTHING)
        }
        timestamp => {
            let batch = log.first_batch_since(timestamp).map_err(storage_error)?;
            batch
                .and_then(|batch| record_since(&batch, timestamp, log.start_offset()))
                .filter(|found| found.offset < end)
                .unwrap_or(NOTHING)
        }
    };
    Ok(found)
}

/// Whether a request of this version may use one of the special timestamps.
fn is_spoken(timestamp: i64, version: i16) -> bool {
    match timestamp {
        MAX_TIMESTAMP => version >= 7,
        EARLIEST_LOCAL => version >= 8,
        LATEST_TIERED => version >= 9,
        EARLIEST_PENDING_UPLOAD => version >= 11,
        timestamp => timestamp >= EARLIEST,
    }
}

/// The first record of a batch with at least this timestamp.
fn record_since(stored: &StoredBatch, timestamp: i64, start_offset: i64) -> Option<Found> {
    let batch = RecordBatch::read(stored.to_bytes()).ok()?;
    let records = batch
        .decode(&mut Decompressor::new(), MAX_DECOMPRESSED_BYTES)
        .ok()?;
    let fits = |offset: i64, record_timestamp: i64| {
        record_timestamp >= timestamp && offset >= start_offset
    };
    let found = records
        .records()
        .map_while(Result::ok)
        .find(|record| fits(record.offset, record.timestamp_ms))?;
    Some(Found {
        offset: found.offset,
        timestamp: found.timestamp_ms,
        leader_epoch: stored.leader_epoch,
    })
}
