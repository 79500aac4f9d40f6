//! Records that were never fetched: encoded into a batch and read from it, as those of a broker are. For fakes.

use std::sync::Arc;

use protocol::compression::{Compression, Compressor, Decompressor};
use protocol::records::{BatchBuilder, RecordBatch, RecordError, SealOptions, assign_offsets};

use super::{Batch, Records};
use crate::kafka::consumer::Acks;
use crate::kafka::consumer::fetch::memory::Fetched;
use crate::kafka::consumer::positions::Position;
use crate::kafka::runtime::Budget;
use crate::kafka::{Record, TopicPartition};

/// No batch is larger.
const LIMIT: usize = i32::MAX as usize;

impl Records {
    /// Adds these records of `partition`, which stand at `first_offset` and behind it, one after the other. Their own topics and partitions
    /// are not looked at; a record without a timestamp has none.
    ///
    /// Fails when there are 2 GiB of them.
    pub(crate) fn add_in_memory(
        &mut self,
        partition: &TopicPartition,
        first_offset: i64,
        records: &[Record<'_>],
    ) -> Result<(), RecordError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut builder = BatchBuilder::new(Vec::new());
        for record in records {
            let headers = record.headers.iter();
            let headers = headers.map(|header| (header.key, header.value));
            let timestamp_ms = record.timestamp_ms.unwrap_or(-1);
            builder
                .append_raw(timestamp_ms, record.key, record.value, headers)
                .map_err(|_| RecordError::Malformed {
                    what: "records",
                    at: 0,
                    expected: "less than 2 GiB of them",
                })?;
        }
        let sealed = builder.seal(
            &SealOptions::default(),
            &mut Compressor::new(Compression::NONE),
        );
        let mut bytes = sealed.bytes().to_vec();
        assign_offsets(&mut bytes, first_offset, 0)?;
        let len = bytes.len();
        let batch = RecordBatch::read(bytes.into())?;
        let next_offset = batch.last_offset() + 1;
        let decoded = batch.decode(&mut Decompressor::default(), LIMIT)?;
        decoded.check()?;
        let reservation = Budget::new(LIMIT, None).reserve(len);
        self.push(Batch {
            partition: partition.clone(),
            records: decoded,
            topic_id: None,
            next_offset,
            acks: Acks::default(),
            _reservation: Arc::new(Fetched::in_frame(reservation, None)),
        });
        let position = Position {
            offset: next_offset,
            leader_epoch: Some(0),
        };
        self.moved(partition, position, None);
        Ok(())
    }
}
