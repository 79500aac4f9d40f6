//! What a Produce request with transactional batches needs before they are appended: that their partitions are in the transaction (KIP-890).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::ProduceRequest;
use tokio::time::Instant;

use super::Context;
use crate::broker::batch;
use crate::broker::security::AclOperation;
use crate::broker::transactions::{Enlistment, Guard, ProducerIdAndEpoch, TransactionPartition};

/// Kafka's `add.partitions.to.txn.retry.backoff.ms`, and how long that goes on.
const BACKOFF: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_millis(100);

/// What of a request may be appended to transactions.
#[derive(Debug, Default)]
pub(super) struct Enlisted {
    guards: BTreeMap<TransactionPartition, Guard>,
    refused: BTreeMap<TransactionPartition, ErrorCode>,
}

impl Enlisted {
    /// What an append to a partition may rely on.
    pub(super) fn guard(&self, topic: &str, index: i32) -> Result<Option<Guard>, ErrorCode> {
        if self.guards.is_empty() && self.refused.is_empty() {
            return Ok(None);
        }
        let partition = (topic.to_owned(), index);
        match self.refused.get(&partition) {
            Some(error) => Err(*error),
            None => Ok(self.guards.get(&partition).copied()),
        }
    }
}

/// Adds the partitions of a request's transactional batches to their transaction, or looks for them there, by what the client's version wants.
/// Fails where the request is refused as a whole.
pub(super) async fn enlist(
    request: &ProduceRequest,
    context: &Context<'_>,
) -> Result<Enlisted, ErrorCode> {
    let (mut any, mut producer) = (false, None);
    let mut first_sequences = BTreeMap::new();
    for data in &request.topic_data {
        let by_id = context.version >= ProduceRequest::TOPIC_IDS_FROM;
        let mut topic = None;
        for partition in &data.partition_data {
            let Some(batch) = partition.records.as_ref().and_then(batch::transactional) else {
                continue;
            };
            any = true;
            let found = topic.get_or_insert_with(|| {
                let id = by_id.then_some(&data.topic_id);
                context.topic(&data.name, id, AclOperation::Write)
            });
            let Ok(found) = found else { continue };
            if batch.producer_id() < 0 {
                continue;
            }
            let it = ProducerIdAndEpoch {
                id: batch.producer_id(),
                epoch: batch.producer_epoch(),
            };
            if producer.is_some_and(|other| other != it) {
                return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
            }
            producer = Some(it);
            let key = (found.name.clone(), partition.index);
            first_sequences.insert(key, batch.base_sequence());
        }
    }
    if !any {
        return Ok(Enlisted::default());
    }
    let refused = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    let id = request.transactional_id.as_deref().ok_or(refused)?;
    context.check_transactional_id(AclOperation::Write, id)?;
    let Some(producer) = producer else {
        return Ok(Enlisted::default());
    };
    let how = Enlistment::of_produce(context.version);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut enlisted = begin(&first_sequences, producer, how, context);
        let wanted: BTreeSet<_> = enlisted.guards.keys().cloned().collect();
        if !wanted.is_empty() {
            let cluster = context.cluster;
            let refused = cluster.enlist(id, producer, &wanted, how).await;
            enlisted.refused.extend(refused);
        }
        let waits = enlisted
            .refused
            .values()
            .any(|error| *error == ErrorCode::CONCURRENT_TRANSACTIONS);
        if !waits || !how.adds() || Instant::now() >= deadline {
            for error in enlisted.refused.values_mut() {
                *error = translate(*error, how);
            }
            return Ok(enlisted);
        }
        // The markers of the transaction before are still being written.
        tokio::time::sleep(BACKOFF).await;
    }
}

/// Takes a guard of each partition in which the producer has no transaction open.
fn begin(
    first_sequences: &BTreeMap<TransactionPartition, i32>,
    producer: ProducerIdAndEpoch,
    how: Enlistment,
    context: &Context<'_>,
) -> Enlisted {
    let mut enlisted = Enlisted::default();
    let now = context.cluster.moment();
    for (key, sequence) in first_sequences {
        let topic = context.cluster.directory().topic(&key.0);
        let partition = topic.as_ref().and_then(|topic| topic.partition(key.1));
        let begun = match partition {
            Some(mut partition) => {
                partition.begin_verification(context.node, producer, *sequence, how.adds(), now)
            }
            None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        };
        match begun {
            Ok(Some(guard)) => drop(enlisted.guards.insert(key.clone(), guard)),
            Ok(None) => {}
            Err(error) => drop(enlisted.refused.insert(key.clone(), error)),
        }
    }
    enlisted
}

/// What producers get for an error of the coordinator: one that has them try again, where it may pass.
fn translate(error: ErrorCode, how: Enlistment) -> ErrorCode {
    match error {
        ErrorCode::NETWORK_EXCEPTION
        | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        | ErrorCode::COORDINATOR_NOT_AVAILABLE
        | ErrorCode::NOT_COORDINATOR => ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::CONCURRENT_TRANSACTIONS if !how.adds() => ErrorCode::NOT_ENOUGH_REPLICAS,
        error => error,
    }
}
