//! A `records` field as JSON: an array of batches, each with its header and its records.
//!
//! What cannot be read is no error of the message around it: a `malformed` says why, in place of the records or batches that
//! are missing.

use bytes::Bytes;

use super::Printer;
use crate::records::{BatchIter, RecordBatch, RecordError, RecordView, TimestampType};

/// Decompressed bytes for each byte of the field, at most.
const EXPANSION: usize = 64;
/// Bytes of JSON for each byte of the field, at most.
const PRINTED: usize = 256;

impl Printer {
    pub(super) fn batches(&mut self, bytes: Bytes) {
        let mut rest = bytes.len();
        let mut allowed = bytes.len().saturating_mul(EXPANSION);
        let full = self.out.len() + bytes.len().saturating_mul(PRINTED);
        self.open('[');
        for batch in BatchIter::new(bytes) {
            self.item();
            self.open('{');
            match batch {
                Ok(batch) => {
                    rest -= batch.bytes().len();
                    self.header(&batch);
                    self.records(&batch, &mut allowed, full);
                }
                Err(error) => {
                    rest = 0;
                    self.malformed(&error);
                }
            }
            self.close('}');
        }
        if rest > 0 {
            self.item();
            self.open('{');
            self.number("bytes_of_a_batch_cut_off", rest);
            self.close('}');
        }
        self.close(']');
    }

    fn header(&mut self, batch: &RecordBatch) {
        let header = batch.header();
        self.number("base_offset", header.base_offset);
        self.number("last_offset", header.last_offset());
        self.number("bytes", batch.bytes().len());
        self.number("magic", header.magic);
        self.number("leader_epoch", header.partition_leader_epoch);
        self.key("crc");
        match batch.verify_crc() {
            Ok(()) => self.text("right"),
            Err(_) => self.text("wrong"),
        }
        self.key("codec");
        match header.codec() {
            Ok(codec) => self.text(codec.name()),
            Err(error) => self.text(&error.to_string()),
        }
        self.key("timestamp_type");
        self.text(match header.timestamp_type() {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        });
        self.number("max_timestamp_ms", header.max_timestamp);
        self.number("producer_id", header.producer_id);
        self.number("producer_epoch", header.producer_epoch);
        self.number("base_sequence", header.base_sequence);
        self.number("transactional", header.is_transactional());
        self.number("control", header.is_control());
    }

    /// The records of a batch, of which `allowed` bytes may still be decompressed, up to a `full` output.
    fn records(&mut self, batch: &RecordBatch, allowed: &mut usize, full: usize) {
        let decoded = match batch.decode(&mut self.decompressor, *allowed) {
            Ok(decoded) => decoded,
            Err(error) => return self.malformed(&error),
        };
        *allowed = allowed.saturating_sub(decoded.data_len());
        let mut malformed = None;
        let mut not_printed = 0;
        self.key("records");
        self.open('[');
        for record in decoded.records() {
            match record {
                Ok(_) if self.out.len() > full => not_printed += 1,
                Ok(record) => self.record(&record),
                Err(error) => malformed = Some(error),
            }
        }
        self.close(']');
        if not_printed > 0 {
            self.number("records_not_printed", not_printed);
        }
        if let Some(error) = malformed {
            self.malformed(&error);
        }
    }

    fn record(&mut self, record: &RecordView<'_>) {
        self.item();
        self.open('{');
        self.number("offset", record.offset);
        self.number("timestamp_ms", record.timestamp_ms);
        self.key("key");
        self.content(record.key);
        self.key("value");
        self.content(record.value);
        self.key("headers");
        self.open('[');
        for header in record.headers {
            self.item();
            self.open('{');
            self.key(&header.key_text());
            self.content(header.value);
            self.close('}');
        }
        self.close(']');
        self.close('}');
    }

    /// Text as it is, other bytes as `{"hex": …}`.
    fn content(&mut self, bytes: Option<&[u8]>) {
        match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
            None => self.print("null"),
            Some((_, Ok(text))) => self.text(text),
            Some((bytes, Err(_))) => {
                self.open('{');
                self.key("hex");
                self.hex(bytes);
                self.close('}');
            }
        }
    }

    fn number(&mut self, name: &str, value: impl std::fmt::Display) {
        self.key(name);
        self.print(value);
    }

    fn malformed(&mut self, error: &RecordError) {
        self.key("malformed");
        self.text(&error.to_string());
    }
}
