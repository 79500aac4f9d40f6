//! The control batch that ends a transaction in a partition (KIP-98).

use protocol::ErrorCode;
use protocol::compression::{Compression, Compressor, Decompressor};
use protocol::records::{BatchBuilder, ControlRecord, RecordBatch, SealOptions};

use super::{ProducerIdAndEpoch, TransactionVersion};

/// A marker is a few bytes.
const MAX_BYTES: usize = 1024;

/// What a coordinator writes to each partition of a transaction that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// By version 2 the epoch is the one after that of the records.
    pub(crate) producer: ProducerIdAndEpoch,
    pub(crate) commit: bool,
    pub(crate) coordinator_epoch: i32,
    pub(crate) version: TransactionVersion,
}

impl Marker {
    /// Whether it may be written after what is known of the producer: its epoch, and that of the coordinator of its last marker. By version 2 its
    /// epoch is a new one (KIP-1228), unless the same marker comes again after the transaction's end.
    pub(crate) fn check(
        &self,
        epoch: Option<i16>,
        coordinator_epoch: Option<i32>,
        is_open: bool,
    ) -> Result<(), ErrorCode> {
        if self.producer.epoch < 0 {
            // Kafka stumbles over it.
            return Err(ErrorCode::UNKNOWN_SERVER_ERROR);
        }
        let must_be_new = self.version.bumps_epochs() && is_open && self.producer.epoch != i16::MAX;
        let is_late = |known: i16| match must_be_new {
            true => self.producer.epoch <= known,
            false => self.producer.epoch < known,
        };
        if epoch.is_some_and(is_late) {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        match coordinator_epoch.is_some_and(|known| known > self.coordinator_epoch) {
            true => Err(ErrorCode::TRANSACTION_COORDINATOR_FENCED),
            false => Ok(()),
        }
    }

    /// The marker that a batch is, as a log has it; none where it is something else. By which rules it was written is not in it.
    pub(crate) fn of(batch: &RecordBatch) -> Option<Self> {
        if !batch.is_control() || !batch.is_transactional() {
            return None;
        }
        let decoded = batch.decode(&mut Decompressor::new(), MAX_BYTES).ok()?;
        let record = decoded.records().next()?.ok()?;
        let (commit, coordinator_epoch) = match ControlRecord::parse(record.key, record.value) {
            Ok(ControlRecord::Commit { coordinator_epoch }) => (true, coordinator_epoch),
            Ok(ControlRecord::Abort { coordinator_epoch }) => (false, coordinator_epoch),
            _ => return None,
        };
        Some(Self {
            producer: ProducerIdAndEpoch {
                id: batch.producer_id(),
                epoch: batch.producer_epoch(),
            },
            commit,
            coordinator_epoch,
            version: TransactionVersion::V0,
        })
    }

    /// The batch, written at this time.
    pub(crate) fn batch(&self, now_ms: i64) -> Option<RecordBatch> {
        let coordinator_epoch = self.coordinator_epoch;
        let record = match self.commit {
            true => ControlRecord::Commit { coordinator_epoch },
            false => ControlRecord::Abort { coordinator_epoch },
        };
        let (key, value) = (record.key(), record.marker_value());
        let mut builder = BatchBuilder::new(Vec::new());
        let appended = builder.append(now_ms, Some(&key), value.as_ref().map(|it| &it[..]), []);
        appended.ok()?;
        let options = SealOptions {
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            base_sequence: -1,
            transactional: true,
            control: true,
        };
        let sealed = builder.seal(&options, &mut Compressor::new(Compression::NONE));
        RecordBatch::read(sealed.into_bytes()).ok()
    }
}
