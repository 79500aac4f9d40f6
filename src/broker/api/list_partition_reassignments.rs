//! ListPartitionReassignments: none, ever, as partitions stay where they are here (KIP-455).

use protocol::ErrorCode;
use protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::{Api, Context, Reply};
use crate::broker::security::AclOperation;

impl Api for ListPartitionReassignmentsRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<ListPartitionReassignmentsResponse> {
        if !context.allows_cluster(AclOperation::Describe) {
            let error = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            return Reply::Message(self.refusal(context.version, error));
        }
        Reply::Message(ListPartitionReassignmentsResponse::default())
    }
}
