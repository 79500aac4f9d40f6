//! The log of one partition: record batches exactly as they came, and which offsets they have.
//!
//! In: validated batches, a leader epoch. Out: slices of them by offset or by time. A batch's base offset and leader epoch are the
//! only bytes that a broker changes. Where the batches are kept is a [`LogStore`]'s business: by default in memory, where neither appending nor
//! reading copies records.

use std::io;

use protocol::records::RecordBatch;

use super::storage::{LogSlice, LogStore, MemoryStore, NewBatch, ReadRange, StoredBatch};

/// Where a leader epoch's records begin.
#[derive(Clone, Copy, Debug, PartialEq)]
struct EpochStart {
    epoch: i32,
    start_offset: i64,
}

/// One partition's batches, oldest first.
#[derive(Debug)]
pub(crate) struct Log {
    store: Box<dyn LogStore>,
    start_offset: i64,
    end_offset: i64,
    epochs: Vec<EpochStart>,
}

/// In memory.
impl Default for Log {
    fn default() -> Self {
        Self::kept_in(Box::new(MemoryStore::default()))
    }
}

impl Log {
    /// An empty log in a place of its own.
    pub(crate) fn kept_in(store: Box<dyn LogStore>) -> Self {
        Self {
            store,
            start_offset: 0,
            end_offset: 0,
            epochs: Vec::new(),
        }
    }

    /// Takes note of a batch that a log had before its broker ended: the first, and then each.
    pub(crate) fn replay(&mut self, batch: &RecordBatch) {
        self.end_offset = batch.base_offset();
        let epoch = batch.partition_leader_epoch();
        if self.epochs.last().is_none_or(|last| last.epoch != epoch) {
            self.begin_epoch(epoch);
        }
        self.end_offset = batch.last_offset() + 1;
    }

    /// Takes over the place where those batches are; the log goes from `start_offset` to `end_offset`.
    pub(crate) fn restored(
        &mut self,
        store: Box<dyn LogStore>,
        (start_offset, end_offset): (i64, i64),
    ) {
        self.store = store;
        (self.start_offset, self.end_offset) = (start_offset, end_offset);
        self.forget_epochs();
    }

    /// The newest epoch of a record, as far as one was appended.
    pub(crate) fn newest_epoch(&self) -> Option<i32> {
        self.epochs.last().map(|last| last.epoch)
    }

    /// Keeps where the log begins, and in which epoch its leader is, where anything outlives the broker.
    pub(crate) fn note(&mut self, leader_epoch: i32) -> io::Result<()> {
        self.store.note(self.start_offset, leader_epoch)
    }

    /// The topic is deleted.
    pub(crate) fn delete(&mut self) {
        self.store.delete();
    }

    /// The oldest offset that can be read.
    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset that the next record will get.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.store.size_bytes()
    }

    /// All batches, for those who look into a log from outside.
    pub(crate) fn batches(&self) -> io::Result<Vec<StoredBatch>> {
        self.store.batches()
    }

    /// A leader begins an epoch here; epochs without a record leave no trace.
    pub(crate) fn begin_epoch(&mut self, epoch: i32) {
        let start_offset = self.end_offset;
        self.epochs
            .retain(|begun| begun.start_offset < start_offset);
        self.epochs.push(EpochStart {
            epoch,
            start_offset,
        });
    }

    /// Appends a batch and returns the offset of its first record. After an error nothing has changed.
    pub(crate) fn append(&mut self, batch: NewBatch, leader_epoch: i32) -> io::Result<i64> {
        let base_offset = self.end_offset;
        let last_offset = base_offset + i64::from(batch.last_offset_delta);
        self.store.append(StoredBatch {
            base_offset,
            last_offset,
            leader_epoch,
            max_timestamp_ms: batch.max_timestamp_ms,
            bytes: batch.bytes,
        })?;
        self.end_offset = last_offset + 1;
        Ok(base_offset)
    }

    /// Drops the oldest batches until at most `max_bytes` are left; the newest batch always stays.
    pub(crate) fn retain(&mut self, max_bytes: u64) {
        if let Some(start_offset) = self.store.retain(max_bytes) {
            self.start_offset = self.start_offset.max(start_offset);
        }
        self.forget_epochs();
    }

    /// What is appended from now on is kept in files of this size, where it is kept in files.
    pub(crate) fn bound(&mut self, segment_bytes: u64, retention_bytes: u64) {
        self.store.bound(segment_bytes, retention_bytes);
    }

    /// Moves the log's beginning up to `offset`, which it never goes back from, and drops what lies before it.
    pub(crate) fn delete_before(&mut self, offset: i64) {
        self.start_offset = self.start_offset.max(offset);
        self.store.delete_before(self.start_offset);
        self.forget_epochs();
    }

    /// Forgets the leader epochs that ended before the log's beginning.
    fn forget_epochs(&mut self) {
        let start_offset = self.start_offset;
        let passed = self
            .epochs
            .partition_point(|epoch| epoch.start_offset <= start_offset)
            .saturating_sub(1);
        self.epochs.drain(..passed);
    }

    /// Drops every batch that has a record at or beyond `offset`, as a replica does that follows an unclean leader.
    pub(crate) fn truncate(&mut self, offset: i64) -> io::Result<()> {
        if let Some(end_offset) = self.store.truncate(offset)? {
            self.end_offset = end_offset;
        }
        let end_offset = self.end_offset;
        self.epochs.retain(|epoch| epoch.start_offset < end_offset);
        Ok(())
    }

    /// Batches from the one that holds `offset`, as far as they end before `end_offset`, up to `max_bytes`. Like Kafka's, the slice may end within a
    /// batch, but never within its first: when that does not fit, nothing is returned, or with `at_least_one` the whole of it.
    pub(crate) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
        end_offset: i64,
    ) -> LogSlice {
        self.store.read(&ReadRange {
            offset,
            end_offset,
            max_bytes,
            at_least_one,
            whole: false,
        })
    }

    /// Whole batches from the one that holds `offset`, up to `max_bytes`, with `at_least_one` the first of them in any case; with their bounds.
    pub(crate) fn read_whole(&self, offset: i64, max_bytes: usize, at_least_one: bool) -> LogSlice {
        self.store.read(&ReadRange {
            offset,
            end_offset: self.end_offset,
            max_bytes,
            at_least_one,
            whole: true,
        })
    }

    /// The largest timestamp of the batch that begins at `base_offset`.
    pub(crate) fn max_timestamp_at(&self, base_offset: i64) -> io::Result<Option<i64>> {
        self.store.max_timestamp_at(base_offset)
    }

    /// The leader epoch of the record at `offset`, if it is known.
    pub(crate) fn epoch_at(&self, offset: i64) -> Option<i32> {
        let after = self
            .epochs
            .partition_point(|epoch| epoch.start_offset <= offset);
        Some(self.epochs.get(after.checked_sub(1)?)?.epoch)
    }

    /// Where an epoch ended, as far as is known: the largest epoch not beyond it, and the offset after its last record (KIP-101,
    /// KIP-279). None for an epoch that is yet to come.
    pub(crate) fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let after = self.epochs.partition_point(|begun| begun.epoch <= epoch);
        let floor = after.checked_sub(1).and_then(|at| self.epochs.get(at));
        match (floor, self.epochs.get(after)) {
            (Some(found), Some(next)) => Some((found.epoch, next.start_offset)),
            (Some(last), None) => (last.epoch == epoch).then_some((epoch, self.end_offset)),
            (None, first) => Some((epoch, first?.start_offset)),
        }
    }

    /// The first batch that has a record with at least this timestamp.
    pub(crate) fn first_batch_since(&self, timestamp_ms: i64) -> io::Result<Option<StoredBatch>> {
        self.store.first_batch_since(timestamp_ms)
    }

    /// The first batch that has the largest timestamp of the log.
    pub(crate) fn newest_batch(&self) -> io::Result<Option<StoredBatch>> {
        match self.store.max_timestamp_ms()? {
            Some(newest) => self.store.first_batch_since(newest),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;

    fn batch(size: usize, records: i32, max_timestamp_ms: i64) -> NewBatch {
        let mut bytes = vec![7; size];
        bytes[8..12].copy_from_slice(&(size as i32 - 12).to_be_bytes());
        NewBatch {
            bytes: Bytes::from(bytes),
            last_offset_delta: records - 1,
            max_timestamp_ms,
        }
    }

    fn append(log: &mut Log, batch: NewBatch, leader_epoch: i32) -> i64 {
        log.append(batch, leader_epoch).expect("memory takes it")
    }

    fn log_of(sizes: &[usize]) -> Log {
        let mut log = Log::default();
        log.begin_epoch(0);
        for (index, size) in sizes.iter().enumerate() {
            append(&mut log, batch(*size, 10, index as i64), 0);
        }
        log
    }

    #[test]
    fn what_stands_before_an_offset_is_deleted_and_the_beginning_never_goes_back() {
        let mut log = log_of(&[100, 100, 100]);
        log.begin_epoch(1);
        append(&mut log, batch(100, 10, 9), 1);
        log.delete_before(15);
        assert_eq!((log.start_offset(), log.size_bytes()), (15, 300));
        // Readers get the batch that the beginning lies in.
        let first = log.read(15, 1_000, true, log.end_offset());
        assert_eq!(first.to_bytes()[..8], 10i64.to_be_bytes());
        log.delete_before(5);
        assert_eq!(log.start_offset(), 15);
        log.delete_before(30);
        assert_eq!((log.epoch_at(29), log.epoch_at(30)), (None, Some(1)));
        log.delete_before(40);
        assert_eq!((log.start_offset(), log.size_bytes()), (40, 0));
        assert_eq!(append(&mut log, batch(100, 10, 9), 1), 40);
    }

    #[test]
    fn offsets_count_records_and_the_served_head_carries_them() {
        let mut log = log_of(&[100]);
        log.begin_epoch(2);
        assert_eq!(append(&mut log, batch(80, 3, 5), 2), 10);
        assert_eq!(log.end_offset(), 13);
        let bytes = log.read(11, 1000, false, 13).to_bytes();
        assert_eq!(bytes.len(), 80);
        assert_eq!(bytes[..8], 10i64.to_be_bytes());
        assert_eq!(bytes[8..12], 68i32.to_be_bytes());
        assert_eq!(bytes[12..16], 2i32.to_be_bytes());
        assert_eq!(bytes[16..], [7; 64]);
    }

    #[test]
    fn a_slice_may_end_within_a_batch_but_not_within_the_first() {
        let log = log_of(&[100, 100]);
        assert_eq!(log.read(0, 99, false, 20).len, 0);
        assert_eq!(log.read(0, 0, false, 20).len, 0);
        assert_eq!(log.read(0, 10, true, 20).to_bytes().len(), 100);
        for max_bytes in [100, 105, 116, 150, 199, 200, 500] {
            let slice = log.read(0, max_bytes, false, 20);
            assert_eq!(slice.len, max_bytes.min(200));
            assert_eq!(slice.to_bytes().len(), max_bytes.min(200));
        }
    }

    #[test]
    fn large_batches_are_served_by_reference_and_small_ones_copied_together() {
        let log = log_of(&[5000, 50, 60, 5000]);
        let slice = log.read(0, usize::MAX, false, 40);
        let whole = slice.to_bytes();
        let (mut scratch, mut segments) = (BytesMut::new(), Vec::new());
        slice.write(4096, &mut scratch, &mut segments);
        assert_eq!(segments.len(), 4);
        assert!(scratch.is_empty());
        assert_eq!(segments.concat(), whole);
    }

    #[test]
    fn retention_drops_the_oldest_and_moves_the_start() {
        let mut log = log_of(&[100, 100, 100]);
        log.retain(250);
        assert_eq!(
            (log.start_offset(), log.end_offset(), log.size_bytes()),
            (10, 30, 200)
        );
        log.retain(0);
        assert_eq!((log.start_offset(), log.size_bytes()), (20, 100));
        assert_eq!(log.epoch_at(20), Some(0));
    }

    #[test]
    fn epochs_tell_where_they_ended() {
        let mut log = log_of(&[100, 100]);
        log.begin_epoch(2);
        log.begin_epoch(3);
        append(&mut log, batch(100, 5, 0), 3);
        assert_eq!(log.end_of_epoch(0), Some((0, 20)));
        assert_eq!(log.end_of_epoch(2), Some((0, 20)));
        assert_eq!(log.end_of_epoch(3), Some((3, 25)));
        assert_eq!(log.end_of_epoch(4), None);
        assert_eq!(log.epoch_at(19), Some(0));
        assert_eq!(log.epoch_at(20), Some(3));
        log.truncate(22).expect("memory can");
        assert_eq!((log.end_offset(), log.end_of_epoch(0)), (20, Some((0, 20))));
    }

    #[test]
    fn time_finds_the_first_batch_with_such_a_record() {
        let mut log = Log::default();
        for timestamp_ms in [10, 30, 20, 30] {
            append(&mut log, batch(100, 1, timestamp_ms), 0);
        }
        let since = |log: &Log, timestamp_ms| {
            let found = log.first_batch_since(timestamp_ms).expect("memory can");
            found.map(|batch| batch.base_offset)
        };
        assert_eq!(since(&log, 5), Some(0));
        assert_eq!(since(&log, 11), Some(1));
        assert_eq!(since(&log, 31), None);
        log.retain(200);
        assert_eq!(since(&log, 25), Some(3));
        let newest = log.newest_batch().expect("memory can");
        assert_eq!(newest.map(|batch| batch.base_offset), Some(3));
    }
}
