//! InitProducerId: ids for idempotent producers (KIP-98, KIP-360).

use protocol::messages::InitProducerIdRequest;
use protocol::messages::init_producer_id_response::InitProducerIdResponse;
use protocol::{ErrorCode, VersionRange};

use super::{Api, Context, Reply};
use crate::broker::security::{AclOperation, ResourceKind};

impl Api for InitProducerIdRequest {
    // Version 6 is marked as not yet stable in Kafka 4.4.
    const OFFERED: VersionRange = VersionRange { min: 0, max: 5 };

    async fn handle(self, context: &Context<'_>) -> Reply<InitProducerIdResponse> {
        let refused = match self.transactional_id.as_deref() {
            Some(id) if !context.allows(AclOperation::Write, ResourceKind::TransactionalId, id) => {
                Some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
            }
            None if !may_be_idempotent(context) => Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED),
            _ => None,
        };
        if let Some(error) = refused {
            return Reply::Message(self.refusal(context.version, error));
        }
        let half_named = (self.producer_id == -1) != (self.producer_epoch == -1);
        let error = match self.transactional_id.as_deref() {
            _ if half_named => ErrorCode::INVALID_REQUEST,
            None => ErrorCode::NONE,
            Some("") => ErrorCode::INVALID_REQUEST,
            // Transactions are not offered, nor are their APIs.
            Some(_) => ErrorCode::UNSUPPORTED_VERSION,
        };
        if error != ErrorCode::NONE {
            return Reply::Message(self.refusal(context.version, error));
        }
        // Whoever comes back with an id gets a new one: without transactions there is nothing to carry over.
        let producer_id = context.cluster.next_producer_id();
        Reply::Message(InitProducerIdResponse {
            producer_id,
            producer_epoch: 0,
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> InitProducerIdResponse {
        InitProducerIdResponse {
            error_code: error,
            producer_epoch: -1,
            ..Default::default()
        }
    }
}

/// Whoever may write to any topic may do so idempotently (KIP-679).
fn may_be_idempotent(context: &Context<'_>) -> bool {
    let security = &context.cluster.security;
    context.allows_cluster(AclOperation::IdempotentWrite)
        || security.allow_some(context.connection, AclOperation::Write, ResourceKind::Topic)
}
