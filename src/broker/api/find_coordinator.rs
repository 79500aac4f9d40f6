//! FindCoordinator: which node keeps a group or a transactional id (KIP-699).

use protocol::ErrorCode;
use protocol::messages::FindCoordinatorRequest;
use protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

use super::{Api, Context, Reply};
use crate::broker::security::{AclOperation, ResourceKind};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

impl Api for FindCoordinatorRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<FindCoordinatorResponse> {
        let find = |key: &str| find(key, self.key_type, context);
        if context.version >= Self::SEVERAL_KEYS_FROM {
            let coordinators = self.coordinator_keys.iter().map(|key| find(key)).collect();
            return Reply::Message(FindCoordinatorResponse {
                coordinators,
                ..Default::default()
            });
        }
        Reply::Message(single(find(&self.key)))
    }

    fn refusal(&self, version: i16, error: ErrorCode) -> FindCoordinatorResponse {
        if version >= Self::SEVERAL_KEYS_FROM {
            let coordinators = self
                .coordinator_keys
                .iter()
                .map(|key| failed(key, error))
                .collect();
            return FindCoordinatorResponse {
                coordinators,
                ..Default::default()
            };
        }
        single(failed(&self.key, error))
    }
}

fn find(key: &str, key_type: i8, context: &Context<'_>) -> Coordinator {
    let (kind, refused) = match key_type {
        GROUP => (ResourceKind::Group, ErrorCode::GROUP_AUTHORIZATION_FAILED),
        TRANSACTION => (
            ResourceKind::TransactionalId,
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ),
        _ => return failed(key, ErrorCode::INVALID_REQUEST),
    };
    if !context.allows(AclOperation::Describe, kind, key) {
        return failed(key, refused);
    }
    match context.cluster.directory().coordinator(key) {
        Some(endpoint) => Coordinator {
            key: key.to_owned(),
            node_id: endpoint.node,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            ..Default::default()
        },
        None => failed(key, ErrorCode::COORDINATOR_NOT_AVAILABLE),
    }
}

fn failed(key: &str, error: ErrorCode) -> Coordinator {
    Coordinator {
        key: key.to_owned(),
        node_id: -1,
        port: -1,
        error_code: error,
        ..Default::default()
    }
}

fn single(coordinator: Coordinator) -> FindCoordinatorResponse {
    FindCoordinatorResponse {
        error_code: coordinator.error_code,
        node_id: coordinator.node_id,
        host: coordinator.host,
        port: coordinator.port,
        ..Default::default()
    }
}
