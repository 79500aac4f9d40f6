//! InitProducerId: ids and epochs for idempotent and transactional producers (KIP-98, KIP-360, KIP-939).

use protocol::messages::InitProducerIdRequest;
use protocol::messages::init_producer_id_response::InitProducerIdResponse;
use protocol::{ErrorCode, VersionRange};

use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::{AclOperation, ResourceKind};
use crate::broker::transactions::{InitRequest, ProducerIdAndEpoch};

/// Before it there was no PRODUCER_FENCED.
const PRODUCER_FENCED_FROM: i16 = 4;

impl Api for InitProducerIdRequest {
    // Version 6 is marked as not yet stable in Kafka 4.4; it is offered on demand.
    const OFFERED: VersionRange = VersionRange { min: 0, max: 6 };

    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<InitProducerIdResponse> {
        let given = init(&self, context);
        if self.transactional_id.is_some() {
            context.cluster.write_markers();
            context.cluster.groups_changed.notify_one();
        }
        Reply::Message(match given {
            Ok(producer) => InitProducerIdResponse {
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                ..Default::default()
            },
            Err(ErrorCode::PRODUCER_FENCED) if context.version < PRODUCER_FENCED_FROM => {
                self.refusal(context.version, ErrorCode::INVALID_PRODUCER_EPOCH)
            }
            Err(error) => self.refusal(context.version, error),
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

fn init(
    request: &InitProducerIdRequest,
    context: &Context<'_>,
) -> Result<ProducerIdAndEpoch, ErrorCode> {
    match request.transactional_id.as_deref() {
        Some(id) => context.check_transactional_id(AclOperation::Write, id)?,
        None if !may_be_idempotent(context) => return Err(ErrorCode::CLUSTER_AUTHORIZATION_FAILED),
        None => {}
    }
    context.cluster.ensure_producer_ids()?;
    let expected = match (request.producer_id, request.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return Err(ErrorCode::INVALID_REQUEST),
        (id, epoch) => Some(ProducerIdAndEpoch { id, epoch }),
    };
    let cluster = context.cluster;
    let Some(id) = request.transactional_id.as_deref() else {
        // Whoever comes back with an id gets a new one: without transactions there is nothing to carry over.
        let id = cluster.next_producer_id();
        let epoch = cluster.settings.first_producer_epoch;
        return Ok(ProducerIdAndEpoch { id, epoch });
    };
    let asked = InitRequest {
        timeout_ms: request.transaction_timeout_ms,
        expected,
        two_phase_commit: request.enable2_pc,
        keep_prepared: request.keep_prepared_txn,
    };
    lock(&cluster.transactions).check_init(id, &asked)?;
    context.check_coordinator(id)?;
    let now = cluster.moment();
    let new_id = || cluster.next_producer_id();
    let given = lock(&cluster.transactions).init(id, &asked, new_id, now);
    cluster.keep_transactions()?;
    given
}

/// Whoever may write to any topic may do so idempotently (KIP-679).
fn may_be_idempotent(context: &Context<'_>) -> bool {
    let security = &context.cluster.security;
    context.allows_cluster(AclOperation::IdempotentWrite)
        || security.allow_some(context.connection, AclOperation::Write, ResourceKind::Topic)
}
