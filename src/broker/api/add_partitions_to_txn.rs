//! AddPartitionsToTxn: partitions come into transactions (KIP-98); from version 4 on a request is a broker's, and may ask whether they are (KIP-890).

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;
use protocol::messages::AddPartitionsToTxnRequest;
use protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult,
};

use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::AclOperation;
use crate::broker::transactions::{
    OFFSETS_PARTITIONS, OFFSETS_TOPIC, ProducerIdAndEpoch, TransactionPartition, TransactionVersion,
};

/// From here on a request is a broker's.
const OF_BROKERS_FROM: i16 = 4;
/// From here on it is one of `transaction.version` 2.
const V2_FROM: i16 = 5;
/// Before it there was no PRODUCER_FENCED.
const PRODUCER_FENCED_FROM: i16 = 2;

/// The error as clients know it that are too old for PRODUCER_FENCED.
pub(super) fn before_producer_fenced(error: ErrorCode, version: i16, from: i16) -> ErrorCode {
    match error {
        ErrorCode::PRODUCER_FENCED if version < from => ErrorCode::INVALID_PRODUCER_EPOCH,
        error => error,
    }
}

impl Api for AddPartitionsToTxnRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<AddPartitionsToTxnResponse> {
        let version = context.version;
        if version < OF_BROKERS_FROM {
            let transaction = transaction_of(&self);
            return Reply::Message(AddPartitionsToTxnResponse {
                results_by_topic_v3_and_below: add(&transaction, context).topic_results,
                ..Default::default()
            });
        }
        if !context.allows_cluster(AclOperation::ClusterAction) {
            let error = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            return Reply::Message(self.refusal(version, error));
        }
        let transactions = self.transactions.iter();
        Reply::Message(AddPartitionsToTxnResponse {
            results_by_transaction: transactions.map(|it| add(it, context)).collect(),
            ..Default::default()
        })
    }

    fn refusal(&self, version: i16, error: ErrorCode) -> AddPartitionsToTxnResponse {
        match version < OF_BROKERS_FROM {
            true => AddPartitionsToTxnResponse {
                results_by_topic_v3_and_below: results(&self.v3_and_below_topics, |_| error),
                ..Default::default()
            },
            false => AddPartitionsToTxnResponse {
                error_code: error,
                ..Default::default()
            },
        }
    }
}

/// What older requests have in fields of their own.
fn transaction_of(request: &AddPartitionsToTxnRequest) -> AddPartitionsToTxnTransaction {
    AddPartitionsToTxnTransaction {
        transactional_id: request.v3_and_below_transactional_id.clone(),
        producer_id: request.v3_and_below_producer_id,
        producer_epoch: request.v3_and_below_producer_epoch,
        verify_only: false,
        topics: request.v3_and_below_topics.clone(),
        ..Default::default()
    }
}

fn add(
    transaction: &AddPartitionsToTxnTransaction,
    context: &Context<'_>,
) -> AddPartitionsToTxnResult {
    let errors = try_add(transaction, context);
    let errors = errors
        .map_err(|error| before_producer_fenced(error, context.version, PRODUCER_FENCED_FROM));
    AddPartitionsToTxnResult {
        transactional_id: transaction.transactional_id.clone(),
        topic_results: results(&transaction.topics, |partition| match &errors {
            Ok(errors) => errors.get(partition).copied().unwrap_or(ErrorCode::NONE),
            Err(error) => *error,
        }),
        ..Default::default()
    }
}

/// What is refused of a transaction: all of it, or the partitions with an error.
fn try_add(
    transaction: &AddPartitionsToTxnTransaction,
    context: &Context<'_>,
) -> Result<BTreeMap<TransactionPartition, ErrorCode>, ErrorCode> {
    let id = &transaction.transactional_id;
    if context.version < OF_BROKERS_FROM {
        context.check_transactional_id(AclOperation::Write, id)?;
    }
    let partitions: BTreeSet<TransactionPartition> = transaction
        .topics
        .iter()
        .flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|partition| (topic.name.clone(), *partition))
        })
        .collect();
    let refused: BTreeMap<_, _> = partitions
        .iter()
        .filter_map(|partition| Some((partition.clone(), check(partition, context).err()?)))
        .collect();
    if !refused.is_empty() {
        let error = |partition: &TransactionPartition| {
            let refused = refused.get(partition).copied();
            refused.unwrap_or(ErrorCode::OPERATION_NOT_ATTEMPTED)
        };
        return Ok(partitions
            .iter()
            .map(|it| (it.clone(), error(it)))
            .collect());
    }
    if !id.is_empty() {
        context.check_coordinator(id)?;
    }
    let producer = ProducerIdAndEpoch {
        id: transaction.producer_id,
        epoch: transaction.producer_epoch,
    };
    let version = match context.version >= V2_FROM {
        true => TransactionVersion::V2,
        false => TransactionVersion::V0,
    };
    let now = context.cluster.moment();
    let mut transactions = lock(&context.cluster.transactions);
    if transaction.verify_only {
        return transactions.verify(id, producer, &partitions, now);
    }
    transactions.add(id, producer, &partitions, version, now)?;
    drop(transactions);
    context.cluster.keep_transactions()?;
    context.cluster.groups_changed.notify_one();
    Ok(BTreeMap::new())
}

/// Whether the client may add a partition, and there is one.
fn check((topic, index): &TransactionPartition, context: &Context<'_>) -> Result<(), ErrorCode> {
    let is_broker = context.version >= OF_BROKERS_FROM;
    if topic == OFFSETS_TOPIC {
        return match is_broker && (0..OFFSETS_PARTITIONS).contains(index) {
            true => Ok(()),
            false if is_broker => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            false => Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
        };
    }
    if !is_broker {
        context.check_topic(AclOperation::Write, topic)?;
    }
    let topic = context.cluster.directory().topic(topic);
    let count = topic.map_or(0, |topic| topic.partition_count());
    match usize::try_from(*index).is_ok_and(|index| index < count) {
        true => Ok(()),
        false => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    }
}

fn results(
    topics: &[AddPartitionsToTxnTopic],
    error_of: impl Fn(&TransactionPartition) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let result = |topic: &AddPartitionsToTxnTopic| {
        let partition = |index: &i32| AddPartitionsToTxnPartitionResult {
            partition_index: *index,
            partition_error_code: error_of(&(topic.name.clone(), *index)).0,
            ..Default::default()
        };
        AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: topic.partitions.iter().map(partition).collect(),
            ..Default::default()
        }
    };
    topics.iter().map(result).collect()
}
