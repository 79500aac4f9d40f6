//! EndTxn: commits or aborts a transaction (KIP-98); from version 5 on the answer has the producer's next epoch (KIP-890).

use protocol::ErrorCode;
use protocol::messages::EndTxnRequest;
use protocol::messages::end_txn_response::EndTxnResponse;

use super::add_partitions_to_txn::before_producer_fenced;
use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::AclOperation;
use crate::broker::transactions::{ProducerIdAndEpoch, TransactionVersion};

/// From here on clients know that each transaction has an epoch of its own.
const NEXT_EPOCH_FROM: i16 = 5;
/// Before it there was no PRODUCER_FENCED.
const PRODUCER_FENCED_FROM: i16 = 2;

impl Api for EndTxnRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<EndTxnResponse> {
        let ended = end(&self, context);
        context.cluster.write_markers();
        context.cluster.groups_changed.notify_one();
        Reply::Message(match ended {
            Ok(producer) => EndTxnResponse {
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                ..Default::default()
            },
            Err(error) => {
                let error = before_producer_fenced(error, context.version, PRODUCER_FENCED_FROM);
                self.refusal(context.version, error)
            }
        })
    }
}

fn end(request: &EndTxnRequest, context: &Context<'_>) -> Result<ProducerIdAndEpoch, ErrorCode> {
    let id = &request.transactional_id;
    context.check_transactional_id(AclOperation::Write, id)?;
    if !id.is_empty() {
        context.check_coordinator(id)?;
    }
    let producer = ProducerIdAndEpoch {
        id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let version = match context.version >= NEXT_EPOCH_FROM {
        true => TransactionVersion::V2,
        false => TransactionVersion::V0,
    };
    let cluster = context.cluster;
    cluster.ensure_producer_ids()?;
    let (new_id, now) = (|| cluster.next_producer_id(), cluster.moment());
    let committed = request.committed;
    let ended = lock(&cluster.transactions).end(id, producer, committed, version, new_id, now);
    cluster.keep_transactions()?;
    ended
}
