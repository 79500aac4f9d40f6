//! AddOffsetsToTxn: a group's offsets come into a transaction (KIP-98).

use std::collections::BTreeSet;

use protocol::ErrorCode;
use protocol::messages::AddOffsetsToTxnRequest;
use protocol::messages::add_offsets_to_txn_response::AddOffsetsToTxnResponse;

use super::add_partitions_to_txn::before_producer_fenced;
use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::AclOperation;
use crate::broker::transactions::{
    OFFSETS_TOPIC, ProducerIdAndEpoch, TransactionVersion, offsets_partition,
};

/// Before it there was no PRODUCER_FENCED.
const PRODUCER_FENCED_FROM: i16 = 2;

impl Api for AddOffsetsToTxnRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<AddOffsetsToTxnResponse> {
        let error = match add(&self, context) {
            Ok(()) => ErrorCode::NONE,
            Err(error) => before_producer_fenced(error, context.version, PRODUCER_FENCED_FROM),
        };
        context.cluster.groups_changed.notify_one();
        Reply::Message(self.refusal(context.version, error))
    }
}

fn add(request: &AddOffsetsToTxnRequest, context: &Context<'_>) -> Result<(), ErrorCode> {
    let id = &request.transactional_id;
    context.check_transactional_id(AclOperation::Write, id)?;
    context.check_group(AclOperation::Read, &request.group_id)?;
    if !id.is_empty() {
        context.check_coordinator(id)?;
    }
    let producer = ProducerIdAndEpoch {
        id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let partition = offsets_partition(&request.group_id);
    let partitions = BTreeSet::from([(OFFSETS_TOPIC.to_owned(), partition)]);
    let (version, now) = (TransactionVersion::V0, context.cluster.moment());
    lock(&context.cluster.transactions).add(id, producer, &partitions, version, now)?;
    context.cluster.keep_transactions()
}
