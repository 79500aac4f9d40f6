//! WriteTxnMarkers: what a coordinator, or an operator with a transaction that hangs, writes to end one in partitions (KIP-98, KIP-664, KIP-1228).

use protocol::ErrorCode;
use protocol::messages::WriteTxnMarkersRequest;
use protocol::messages::write_txn_markers_request::WritableTxnMarker;
use protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    WriteTxnMarkersResponse,
};

use super::{Api, Context, Reply};
use crate::broker::security::AclOperation;
use crate::broker::transactions::{
    Marker, OFFSETS_TOPIC, ProducerIdAndEpoch, TransactionPartition, TransactionVersion,
};

impl Api for WriteTxnMarkersRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<WriteTxnMarkersResponse> {
        let is_allowed = context.allows_cluster(AclOperation::Alter)
            || context.allows_cluster(AclOperation::ClusterAction);
        if !is_allowed {
            let error = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            return Reply::Message(self.refusal(context.version, error));
        }
        let write = |marker: &WritableTxnMarker| answered(marker, |to| write(marker, to, context));
        Reply::Message(WriteTxnMarkersResponse {
            markers: self.markers.iter().map(write).collect(),
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> WriteTxnMarkersResponse {
        let refused = |marker: &WritableTxnMarker| answered(marker, |_| error);
        WriteTxnMarkersResponse {
            markers: self.markers.iter().map(refused).collect(),
            ..Default::default()
        }
    }
}

fn write(
    marker: &WritableTxnMarker,
    to: &TransactionPartition,
    context: &Context<'_>,
) -> ErrorCode {
    let is_here = || {
        let topic = context.cluster.directory().topic(&to.0)?;
        let partition = topic.partition(to.1)?;
        Some(partition.replicas.contains(&context.node))
    };
    if to.0 != OFFSETS_TOPIC && is_here() != Some(true) {
        return ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    }
    let marker = Marker {
        producer: ProducerIdAndEpoch {
            id: marker.producer_id,
            epoch: marker.producer_epoch,
        },
        commit: marker.transaction_result,
        coordinator_epoch: marker.coordinator_epoch,
        version: TransactionVersion(marker.transaction_version),
    };
    let now = context.cluster.moment();
    let written = context.cluster.write_marker(context.node, to, &marker, now);
    written.err().unwrap_or(ErrorCode::NONE)
}

fn answered(
    marker: &WritableTxnMarker,
    error_of: impl Fn(&TransactionPartition) -> ErrorCode,
) -> WritableTxnMarkerResult {
    let topics = marker.topics.iter().map(|topic| {
        let partition = |index: &i32| WritableTxnMarkerPartitionResult {
            partition_index: *index,
            error_code: error_of(&(topic.name.clone(), *index)),
            ..Default::default()
        };
        WritableTxnMarkerTopicResult {
            name: topic.name.clone(),
            partitions: topic.partition_indexes.iter().map(partition).collect(),
            ..Default::default()
        }
    });
    WritableTxnMarkerResult {
        producer_id: marker.producer_id,
        topics: topics.collect(),
        ..Default::default()
    }
}
