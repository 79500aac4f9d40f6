//! What of a partition is about producers and their transactions: which batches may be appended, and the markers.

use protocol::ErrorCode;
use protocol::messages::describe_producers_response::ProducerState;

use super::{AppendOptions, Partition};
use crate::broker::batch::{self, ProducedBatch};
use crate::broker::producers::Verdict;
use crate::broker::storage::storage_error;
use crate::broker::transactions::{Guard, Marker, Moment, ProducerIdAndEpoch, TransactionVersion};

/// What a marker has to keep to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MarkerOptions {
    pub(crate) min_in_sync: usize,
    pub(crate) retention_bytes: u64,
    pub(crate) now: Moment,
}

impl Partition {
    /// Begins to verify that a transaction covers the partition, before a batch that begins with `sequence`; nothing where the producer has it open
    /// already. `adds`: the request adds the partition by itself.
    pub(crate) fn begin_verification(
        &mut self,
        node: i32,
        producer: ProducerIdAndEpoch,
        sequence: i32,
        adds: bool,
        now: Moment,
    ) -> Result<Option<Guard>, ErrorCode> {
        self.check_leader(node, -1)?;
        let known = self.producers.epoch(producer.id);
        if known.is_some_and(|known| producer.epoch < known) {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        if self.is_open(producer) {
            return Ok(None);
        }
        let expiration = self.producers.expiration();
        let verifications = &mut self.verifications;
        let guard = verifications.begin(producer, sequence, adds, expiration, now.instant);
        Ok(Some(guard))
    }

    /// Whether the producer has a transaction open here.
    fn is_open(&self, producer: ProducerIdAndEpoch) -> bool {
        self.transactions.open_since(producer.id).is_some()
            && self.producers.epoch(producer.id) == Some(producer.epoch)
    }

    /// Whether a batch may be appended, or where it is in the log already.
    pub(super) fn check_producer(
        &mut self,
        produced: &ProducedBatch,
        options: &AppendOptions,
    ) -> Result<Option<i64>, ErrorCode> {
        let Some(batch) = &produced.sequenced else {
            return Ok(None);
        };
        let id = batch.producer_id;
        if self.producers.expiry_is_due(id, options.now) {
            let transactions = &self.transactions;
            let is_open = |id| transactions.open_since(id).is_some();
            self.producers.expire(is_open, options.now);
        }
        if let Some(base_offset) = self.producers.duplicate(batch) {
            return Ok(Some(base_offset));
        }
        let producer = ProducerIdAndEpoch {
            id,
            epoch: batch.epoch,
        };
        if produced.is_transactional && !self.is_open(producer) {
            let known = self.producers.epoch(id);
            if known.is_some_and(|known| batch.epoch < known) {
                return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
            }
            if !self.verifications.allow(id, options.guard) {
                return Err(ErrorCode::INVALID_TXN_STATE);
            }
        }
        let verdict = self.producers.check(batch);
        let is_new = self.producers.is_new(id);
        let in_order = self.verifications.in_order(id, batch.first, is_new);
        match verdict? {
            Verdict::Duplicate { base_offset } => Ok(Some(base_offset)),
            Verdict::Append if !in_order => Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
            Verdict::Append
                if !produced.is_transactional && self.transactions.open_since(id).is_some() =>
            {
                Err(ErrorCode::INVALID_TXN_STATE)
            }
            Verdict::Append => Ok(None),
        }
    }

    /// Appends the marker that ends a producer's transaction; also one that has none open.
    pub(crate) fn append_marker(
        &mut self,
        node: i32,
        marker: &Marker,
        options: &MarkerOptions,
    ) -> Result<(), ErrorCode> {
        self.check_leader(node, -1)?;
        self.check_in_sync(options.min_in_sync)?;
        let is_open = self.transactions.open_since(marker.producer.id).is_some();
        self.producers.check_marker(marker, is_open)?;
        let Moment { instant, ms } = options.now;
        let batch = marker.batch(ms).ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)?;
        let appended = self.log.append(batch::stored(&batch), self.leader_epoch);
        let offset = appended.map_err(storage_error)?;
        self.producers.marked(marker, offset, ms, instant);
        (self.transactions).end(marker.producer.id, marker.commit, offset);
        self.verifications.end(marker.producer.id);
        self.retain(options.retention_bytes);
        self.wake();
        Ok(())
    }

    /// Aborts the transactions that are open here and in none of a coordinator's: it has never heard of them, so nobody will end them.
    pub(crate) fn abort_forgotten(
        &mut self,
        is_known: impl Fn(i64) -> bool,
        now: Moment,
    ) -> Result<(), ErrorCode> {
        for id in self.transactions.open_producers() {
            let (Some(epoch), false) = (self.producers.epoch(id), is_known(id)) else {
                continue;
            };
            let marker = Marker {
                producer: ProducerIdAndEpoch { id, epoch },
                commit: false,
                coordinator_epoch: self.producers.coordinator_epoch(id),
                version: TransactionVersion::V0,
            };
            let options = MarkerOptions {
                min_in_sync: 0,
                retention_bytes: u64::MAX,
                now,
            };
            if let Some(leader) = self.leader {
                self.append_marker(leader, &marker, &options)?;
            }
        }
        Ok(())
    }

    /// What DescribeProducers says of it.
    pub(crate) fn active_producers(&self) -> Vec<ProducerState> {
        let with_start = |producer: ProducerState| ProducerState {
            current_txn_start_offset: self
                .transactions
                .open_since(producer.producer_id)
                .unwrap_or(-1),
            ..producer
        };
        self.producers.describe().map(with_start).collect()
    }
}
