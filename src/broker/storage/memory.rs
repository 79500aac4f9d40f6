//! Batches in memory, exactly as they came: what is written afresh when one is served lies in its first 16 bytes, and the rest is shared with the
//! request it arrived in. Neither appending nor reading copies records.

use std::collections::VecDeque;
use std::io;

use super::log_store::{LogStore, ReadRange, StoredBatch};
use super::slice::{LogSlice, PATCHED_BYTES};

/// One partition's batches, in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    batches: VecDeque<Kept>,
    size_bytes: u64,
}

#[derive(Debug)]
struct Kept {
    batch: StoredBatch,
    /// The largest timestamp from the log's beginning up to here: never falls, so it can be searched.
    highest_timestamp_ms: i64,
}

impl MemoryStore {
    /// The batches from the one on that holds `offset`.
    fn holding(&self, offset: i64) -> impl Iterator<Item = &StoredBatch> {
        let first = self
            .batches
            .partition_point(|kept| kept.batch.last_offset < offset);
        self.batches.range(first..).map(|kept| &kept.batch)
    }

    fn dropped(&mut self, kept: &Kept) {
        self.size_bytes -= kept.batch.bytes.len() as u64;
    }
}

impl LogStore for MemoryStore {
    fn append(&mut self, batch: StoredBatch) -> io::Result<()> {
        let highest = self
            .batches
            .back()
            .map_or(i64::MIN, |last| last.highest_timestamp_ms);
        self.size_bytes += batch.bytes.len() as u64;
        self.batches.push_back(Kept {
            highest_timestamp_ms: highest.max(batch.max_timestamp_ms),
            batch,
        });
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn retain(&mut self, max_bytes: u64) -> Option<i64> {
        let mut start_offset = None;
        while self.size_bytes > max_bytes && self.batches.len() > 1 {
            let dropped = self.batches.pop_front()?;
            self.dropped(&dropped);
            start_offset = Some(dropped.batch.last_offset + 1);
        }
        start_offset
    }

    fn delete_before(&mut self, offset: i64) {
        while let Some(dropped) =
            (self.batches).pop_front_if(|kept| kept.batch.last_offset < offset)
        {
            self.dropped(&dropped);
        }
    }

    fn truncate(&mut self, offset: i64) -> io::Result<Option<i64>> {
        let mut end_offset = None;
        while let Some(dropped) = self
            .batches
            .pop_back_if(|kept| kept.batch.last_offset >= offset)
        {
            self.dropped(&dropped);
            end_offset = Some(dropped.batch.base_offset);
        }
        Ok(end_offset)
    }

    fn read(&self, range: &ReadRange) -> LogSlice {
        let mut slice = LogSlice::default();
        let batches = self.holding(range.offset);
        for batch in batches.take_while(|batch| batch.last_offset < range.end_offset) {
            let size = batch.bytes.len();
            let room = match slice.len {
                0 if range.at_least_one => range.max_bytes.max(size),
                _ => range.max_bytes.saturating_sub(slice.len),
            };
            let length = size.min(room);
            let must_be_whole = slice.len == 0 || range.whole;
            if length == 0 || (must_be_whole && length < size) {
                break;
            }
            let tail = batch.bytes.slice(PATCHED_BYTES..length.max(PATCHED_BYTES));
            slice.push(batch.patched_head(), tail, length, batch.last_offset + 1);
            if range.whole {
                slice.bounds.push((batch.base_offset, batch.last_offset));
            }
            if length < size {
                break;
            }
        }
        slice
    }

    fn max_timestamp_at(&self, base_offset: i64) -> io::Result<Option<i64>> {
        let at = self
            .batches
            .binary_search_by_key(&base_offset, |kept| kept.batch.base_offset);
        let found = at.ok().and_then(|at| self.batches.get(at));
        Ok(found.map(|kept| kept.batch.max_timestamp_ms))
    }

    fn first_batch_since(&self, timestamp_ms: i64) -> io::Result<Option<StoredBatch>> {
        let first = self
            .batches
            .partition_point(|kept| kept.highest_timestamp_ms < timestamp_ms);
        // Batches that retention has dropped still count into the highest timestamp, so this one may be too old itself.
        let mut since = self.batches.range(first..);
        let found = since.find(|kept| kept.batch.max_timestamp_ms >= timestamp_ms);
        Ok(found.map(|kept| kept.batch.clone()))
    }

    fn max_timestamp_ms(&self) -> io::Result<Option<i64>> {
        let timestamps = self.batches.iter().map(|kept| kept.batch.max_timestamp_ms);
        Ok(timestamps.max())
    }

    fn batches(&self) -> io::Result<Vec<StoredBatch>> {
        Ok(self.batches.iter().map(|kept| kept.batch.clone()).collect())
    }
}
