//! DeleteRecords: what stands before an offset goes (KIP-107).

use protocol::ErrorCode;
use protocol::messages::DeleteRecordsRequest;
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use super::{Api, Context, Reply};
use crate::broker::security::AclOperation;

/// Stands for the high watermark in a request, and for nothing in a response.
const NONE: i64 = -1;

impl Api for DeleteRecordsRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<DeleteRecordsResponse> {
        Reply::Message(self.answer(|topic, asked| {
            let topic = context.topic(&topic.name, None, AclOperation::Delete)?;
            if !topic.settings.deletes() {
                return Err(ErrorCode::POLICY_VIOLATION);
            }
            let mut partition = topic
                .partition(asked.partition_index)
                .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
            partition.check_leader(context.node, -1)?;
            partition.delete_before(match asked.offset {
                NONE => None,
                offset => Some(offset),
            })
        }))
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> DeleteRecordsResponse {
        self.answer(|_, _| Err(error))
    }
}

/// Where a partition's log begins now, or why nothing was deleted.
trait Answer {
    fn answer(
        &self,
        each: impl Fn(&DeleteRecordsTopic, &DeleteRecordsPartition) -> Result<i64, ErrorCode>,
    ) -> DeleteRecordsResponse;
}

impl Answer for DeleteRecordsRequest {
    fn answer(
        &self,
        each: impl Fn(&DeleteRecordsTopic, &DeleteRecordsPartition) -> Result<i64, ErrorCode>,
    ) -> DeleteRecordsResponse {
        let partition = |topic: &DeleteRecordsTopic, asked: &DeleteRecordsPartition| {
            let deleted = each(topic, asked);
            DeleteRecordsPartitionResult {
                partition_index: asked.partition_index,
                low_watermark: deleted.unwrap_or(NONE),
                error_code: deleted.err().unwrap_or(ErrorCode::NONE),
                ..Default::default()
            }
        };
        let topics = self.topics.iter().map(|topic| DeleteRecordsTopicResult {
            name: topic.name.clone(),
            partitions: (topic.partitions.iter())
                .map(|asked| partition(topic, asked))
                .collect(),
            ..Default::default()
        });
        DeleteRecordsResponse {
            topics: topics.collect(),
            ..Default::default()
        }
    }
}
