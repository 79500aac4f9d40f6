//! What a broker checks in a batch that a producer sends, by Kafka's rules and in Kafka's order.
//!
//! In: the records of one partition as they came. Out: the one batch that they are, or the error that Kafka would answer.

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::compression::Codec;
use protocol::records::{BatchIter, RecordBatch};

use super::log::NewBatch;
use super::producers::Sequenced;

/// The first version of Produce that may carry zstd (KIP-110).
const FIRST_ZSTD_VERSION: i16 = 7;
/// Where a batch says which format it has.
const MAGIC_AT: usize = 16;

/// Why a batch is not taken, for one partition of a Produce response.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) error: ErrorCode,
    pub(crate) message: Option<&'static str>,
    /// Whether Kafka finds it only when it appends, and then tells where the log begins.
    pub(crate) by_log: bool,
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Self {
        Self {
            error,
            message: None,
            by_log: false,
        }
    }
}

fn invalid(message: &'static str) -> Refusal {
    Refusal {
        error: ErrorCode::INVALID_RECORD,
        message: Some(message),
        by_log: false,
    }
}

fn rejected(message: &'static str) -> Refusal {
    Refusal {
        by_log: true,
        ..invalid(message)
    }
}

/// A batch that may be appended.
#[derive(Clone, Debug)]
pub(crate) struct ProducedBatch {
    pub(crate) batch: NewBatch,
    /// None without idempotence.
    pub(crate) sequenced: Option<Sequenced>,
}

/// Checks the records of one partition of a Produce request.
pub(crate) fn check(
    records: Option<Bytes>,
    version: i16,
    max_message_bytes: usize,
) -> Result<ProducedBatch, Refusal> {
    let records = records.unwrap_or_default();
    if matches!(records.get(MAGIC_AT), Some(0 | 1)) {
        return Err(invalid("a batch must have magic 2"));
    }
    let mut batches = BatchIter::new(records);
    let batch = match batches.next() {
        Some(Ok(batch)) => batch,
        Some(Err(_)) => return Err(ErrorCode::CORRUPT_MESSAGE.into()),
        None => {
            return Err(invalid(
                "a Produce request must have one batch for each partition",
            ));
        }
    };
    if batches.next().is_some() {
        return Err(invalid(
            "a Produce request must have no more than one batch for each partition",
        ));
    }
    check_batch(&batch, version, max_message_bytes)?;
    let sequenced = (batch.producer_id() >= 0).then(|| Sequenced {
        producer_id: batch.producer_id(),
        epoch: batch.producer_epoch(),
        first: batch.base_sequence(),
        last_offset_delta: batch.header().last_offset_delta,
    });
    Ok(ProducedBatch {
        batch: stored(&batch),
        sequenced,
    })
}

fn check_batch(batch: &RecordBatch, version: i16, max_message_bytes: usize) -> Result<(), Refusal> {
    match batch.codec() {
        Ok(Codec::Zstd) if version < FIRST_ZSTD_VERSION => {
            return Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE.into());
        }
        Ok(_) => {}
        // Kafka has no better name for it.
        Err(_) => {
            return Err(Refusal {
                by_log: true,
                ..ErrorCode::UNKNOWN_SERVER_ERROR.into()
            });
        }
    }
    if batch.is_transactional() {
        // The request names no transactional id: one that does is refused as a whole.
        return Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.into());
    }
    if batch.base_offset() != 0 {
        return Err(rejected("the base offset of a batch must be 0"));
    }
    if batch.bytes().len() > max_message_bytes {
        return Err(ErrorCode::MESSAGE_TOO_LARGE.into());
    }
    if batch.verify_crc().is_err() {
        return Err(ErrorCode::CORRUPT_MESSAGE.into());
    }
    if batch.is_control() {
        return Err(rejected("clients are not allowed to write control records"));
    }
    if batch.record_count() <= 0 || batch.record_count() - 1 != batch.header().last_offset_delta {
        return Err(rejected(
            "the number of records does not fit the last offset",
        ));
    }
    if batch.producer_id() >= 0 && batch.base_sequence() < 0 {
        return Err(rejected("a batch with a producer id must have a sequence"));
    }
    Ok(())
}

/// A batch as the log takes it, unchecked.
pub(crate) fn stored(batch: &RecordBatch) -> NewBatch {
    NewBatch {
        bytes: batch.bytes().clone(),
        last_offset_delta: batch.header().last_offset_delta.max(0),
        max_timestamp_ms: batch.max_timestamp(),
    }
}
