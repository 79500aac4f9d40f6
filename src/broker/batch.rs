//! What a broker checks in a batch that a producer sends, by Kafka's rules and in Kafka's order.
//!
//! In: the records of one partition as they came. Out: the one batch that they are, or the error that Kafka would answer.

use std::borrow::Cow;

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::compression::{Codec, Decompressor};
use protocol::messages::ProduceRequest;
use protocol::records::{BatchIter, RecordBatch, set_log_append_time};

use super::producers::Sequenced;
use super::storage::NewBatch;
use super::topic_settings::TopicSettings;

/// Where a batch says which format it has.
const MAGIC_AT: usize = 16;
/// Where it says whether it belongs to a transaction, in two bytes; and the bit of the second.
const ATTRIBUTES_AT: usize = 21;
const TRANSACTIONAL: u8 = 0x10;
/// The most that one batch is decompressed to where its records are checked.
const MAX_DECOMPRESSED_BYTES: usize = 1 << 30;
/// The timestamp of a record that has none.
const NO_TIMESTAMP: i64 = -1;
/// How many refused records the message of all shows.
const SHOWN_ERRORS: usize = 3;

/// Why a batch is not taken, for one partition of a Produce response.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) error: ErrorCode,
    pub(crate) message: Option<Cow<'static, str>>,
    /// The records that are to blame, by their index in the batch, and why (KIP-467).
    pub(crate) records: Vec<(i32, String)>,
    /// Whether Kafka finds it only when it appends, and then tells where the log begins.
    pub(crate) by_log: bool,
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Self {
        Self {
            error,
            message: None,
            records: Vec::new(),
            by_log: false,
        }
    }
}

fn invalid(message: &'static str) -> Refusal {
    Refusal {
        message: Some(message.into()),
        ..ErrorCode::INVALID_RECORD.into()
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
    pub(crate) is_transactional: bool,
}

/// Checks the records of one partition of a Produce request that comes in at `now_ms` (milliseconds since 1970).
pub(crate) fn check(
    records: Option<Bytes>,
    version: i16,
    settings: &TopicSettings,
    now_ms: i64,
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
    check_batch(&batch, version, settings)?;
    check_records(&batch, settings, now_ms)?;
    if batch.bytes().len() > settings.segment_bytes {
        return Err(ErrorCode::RECORD_LIST_TOO_LARGE.into());
    }
    Ok(ProducedBatch {
        batch: match settings.log_append_time {
            true => appended_at(&batch, now_ms),
            false => stored(&batch),
        },
        sequenced: Sequenced::of(&batch),
        is_transactional: batch.is_transactional(),
    })
}

/// The batch of these records that belongs to a transaction, if there is one.
pub(crate) fn transactional(records: &Bytes) -> Option<RecordBatch> {
    // Most do not, and that is quickly seen.
    if records.get(ATTRIBUTES_AT + 1)? & TRANSACTIONAL == 0 || records.get(MAGIC_AT) != Some(&2) {
        return None;
    }
    let first = BatchIter::new(records.clone()).next()?.ok()?;
    first.is_transactional().then_some(first)
}

fn check_batch(batch: &RecordBatch, version: i16, settings: &TopicSettings) -> Result<(), Refusal> {
    match batch.codec() {
        Ok(Codec::Zstd) if version < ProduceRequest::ZSTD_FROM => {
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
    if batch.base_offset() != 0 {
        return Err(rejected("the base offset of a batch must be 0"));
    }
    if batch.bytes().len() > settings.max_message_bytes {
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

/// Checks what a topic asks of each record. Records are only looked at where it asks for something that the header does not settle.
fn check_records(
    batch: &RecordBatch,
    settings: &TopicSettings,
    now_ms: i64,
) -> Result<(), Refusal> {
    let earliest = now_ms.saturating_sub(settings.timestamp_before_max_ms);
    let latest = now_ms.saturating_add(settings.timestamp_after_max_ms);
    let any_time = settings.log_append_time
        || (batch.max_timestamp() <= latest && settings.timestamp_before_max_ms == i64::MAX);
    if any_time && !settings.is_compacted {
        return Ok(());
    }
    let unreadable = |_| rejected("the records cannot be read");
    let decoded = batch
        .decode(&mut Decompressor::new(), MAX_DECOMPRESSED_BYTES)
        .map_err(unreadable)?;
    let (mut records, mut any_by_time) = (Vec::new(), false);
    for (index, record) in (0..).zip(decoded.records()) {
        let record = record.map_err(unreadable)?;
        let time = record.timestamp_ms;
        if settings.is_compacted && record.key.is_none() {
            let message = "Compacted topic cannot accept message without key";
            records.push((index, message.to_owned()));
        } else if !any_time && time != NO_TIMESTAMP && !(earliest..=latest).contains(&time) {
            any_by_time = true;
            records.push((
                index,
                format!(
                    "Timestamp {time} of message with offset {index} is out of range. The timestamp should be within [{earliest}, {latest}]"
                ),
            ));
        }
    }
    if records.is_empty() {
        return Ok(());
    }
    let (error, message) = match any_by_time {
        true => (
            ErrorCode::INVALID_TIMESTAMP,
            "One or more records have been rejected due to invalid timestamp".to_owned(),
        ),
        false => {
            let shown: Vec<_> = records.iter().take(SHOWN_ERRORS).collect();
            let count = records.len();
            (
                ErrorCode::INVALID_RECORD,
                format!(
                    "One or more records have been rejected due to {count} record errors in total, and only showing the first three errors at most: {shown:?}"
                ),
            )
        }
    };
    Err(Refusal {
        error,
        message: Some(message.into()),
        records,
        by_log: true,
    })
}

/// A batch as the log takes it when it is the broker that says when it was written.
fn appended_at(batch: &RecordBatch, now_ms: i64) -> NewBatch {
    let mut bytes = batch.bytes().to_vec();
    // Fails on no batch that has been read.
    let _ = set_log_append_time(&mut bytes, now_ms);
    NewBatch {
        bytes: bytes.into(),
        max_timestamp_ms: now_ms,
        ..stored(batch)
    }
}

/// A batch as the log takes it, unchecked.
pub(crate) fn stored(batch: &RecordBatch) -> NewBatch {
    NewBatch {
        bytes: batch.bytes().clone(),
        last_offset_delta: batch.header().last_offset_delta.max(0),
        max_timestamp_ms: batch.max_timestamp(),
    }
}
