//! The log of one partition, in memory: record batches exactly as they came.
//!
//! In: validated batches, a leader epoch. Out: slices of them by offset or by time. A batch's base offset and leader epoch are the
//! only bytes that a broker changes; both lie in its first 16 bytes, so those are written afresh when it is served, and the
//! rest is shared with the request it arrived in: neither appending nor reading copies records.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of a batch that are written afresh when it is served: base offset, length, leader epoch.
const PATCHED_BYTES: usize = 16;

/// What the log needs to know of a batch before it is appended.
#[derive(Clone, Debug)]
pub(crate) struct NewBatch {
    /// The whole batch, header included.
    pub(crate) bytes: Bytes,
    /// Offset of the last record, relative to the first.
    pub(crate) last_offset_delta: i32,
    pub(crate) max_timestamp_ms: i64,
}

/// A batch in the log.
#[derive(Clone, Debug)]
pub(crate) struct StoredBatch {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) max_timestamp_ms: i64,
    /// The largest timestamp from the log's beginning up to here: never falls, so it can be searched.
    highest_timestamp_ms: i64,
    /// As it came: the first 16 bytes are the producer's.
    pub(crate) bytes: Bytes,
}

impl StoredBatch {
    fn patched_head(&self) -> [u8; PATCHED_BYTES] {
        let mut head = [0; PATCHED_BYTES];
        head[..8].copy_from_slice(&self.base_offset.to_be_bytes());
        head[8..12].copy_from_slice(&self.bytes[8..12]);
        head[12..].copy_from_slice(&self.leader_epoch.to_be_bytes());
        head
    }

    /// The batch as a consumer sees it, copied together.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.bytes.len());
        out.put_slice(&self.patched_head());
        out.put_slice(&self.bytes[PATCHED_BYTES..]);
        out.freeze()
    }
}

/// A run of batches as read for a fetch: pieces to be written one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogSlice {
    pub(crate) len: usize,
    /// The offset after the last batch of which there is something.
    pub(crate) end_offset: i64,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
struct Piece {
    head: [u8; PATCHED_BYTES],
    tail: Bytes,
}

impl LogSlice {
    /// Appends all pieces: tails of at least `min_segment` bytes by reference, smaller ones and heads copied.
    pub(crate) fn write(
        self,
        min_segment: usize,
        scratch: &mut BytesMut,
        segments: &mut Vec<Bytes>,
    ) {
        let mut remaining = self.len;
        for piece in self.pieces {
            scratch.put_slice(&piece.head[..remaining.min(PATCHED_BYTES)]);
            remaining = remaining.saturating_sub(PATCHED_BYTES);
            remaining -= piece.tail.len();
            if piece.tail.len() < min_segment {
                scratch.put_slice(&piece.tail);
            } else {
                segments.push(scratch.split().freeze());
                segments.push(piece.tail);
            }
        }
    }

    /// All pieces copied together.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.len);
        self.clone().write(usize::MAX, &mut out, &mut Vec::new());
        out.freeze()
    }
}

/// Where a leader epoch's records begin.
#[derive(Clone, Copy, Debug, PartialEq)]
struct EpochStart {
    epoch: i32,
    start_offset: i64,
}

/// One partition's batches, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Log {
    batches: VecDeque<StoredBatch>,
    start_offset: i64,
    end_offset: i64,
    size_bytes: u64,
    epochs: Vec<EpochStart>,
}

impl Log {
    /// The oldest offset that can be read.
    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset that the next record will get.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(crate) fn batches(&self) -> impl Iterator<Item = &StoredBatch> {
        self.batches.iter()
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

    /// Appends a batch and returns the offset of its first record.
    pub(crate) fn append(&mut self, batch: NewBatch, leader_epoch: i32) -> i64 {
        let base_offset = self.end_offset;
        let last_offset = base_offset + i64::from(batch.last_offset_delta);
        let highest = self
            .batches
            .back()
            .map_or(i64::MIN, |last| last.highest_timestamp_ms);
        self.size_bytes += batch.bytes.len() as u64;
        self.end_offset = last_offset + 1;
        self.batches.push_back(StoredBatch {
            base_offset,
            last_offset,
            leader_epoch,
            max_timestamp_ms: batch.max_timestamp_ms,
            highest_timestamp_ms: highest.max(batch.max_timestamp_ms),
            bytes: batch.bytes,
        });
        base_offset
    }

    /// Drops the oldest batches until at most `max_bytes` are left; the newest batch always stays.
    pub(crate) fn retain(&mut self, max_bytes: u64) {
        while self.size_bytes > max_bytes && self.batches.len() > 1 {
            let Some(dropped) = self.batches.pop_front() else {
                return;
            };
            self.size_bytes -= dropped.bytes.len() as u64;
            self.start_offset = dropped.last_offset + 1;
        }
        self.forget_epochs();
    }

    /// Moves the log's beginning up to `offset`, which it never goes back from, and drops the batches that lie before it.
    pub(crate) fn delete_before(&mut self, offset: i64) {
        self.start_offset = self.start_offset.max(offset);
        while let Some(dropped) =
            (self.batches).pop_front_if(|batch| batch.last_offset < self.start_offset)
        {
            self.size_bytes -= dropped.bytes.len() as u64;
        }
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
    pub(crate) fn truncate(&mut self, offset: i64) {
        while let Some(last) = self
            .batches
            .back()
            .filter(|last| last.last_offset >= offset)
        {
            self.size_bytes -= last.bytes.len() as u64;
            self.end_offset = last.base_offset;
            self.batches.pop_back();
        }
        let end_offset = self.end_offset;
        self.epochs.retain(|epoch| epoch.start_offset < end_offset);
    }

    /// Batches from the one that holds `offset`, up to `max_bytes`. Like Kafka's, the slice may end within a batch, but never within
    /// its first: when that does not fit, nothing is returned, or with `at_least_one` the whole of it.
    pub(crate) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
        end_offset: i64,
    ) -> LogSlice {
        let mut slice = LogSlice::default();
        let first = self
            .batches
            .partition_point(|batch| batch.last_offset < offset);
        for batch in self
            .batches
            .range(first..)
            .take_while(|batch| batch.last_offset < end_offset)
        {
            let room = match slice.len {
                0 if at_least_one => max_bytes.max(batch.bytes.len()),
                _ => max_bytes.saturating_sub(slice.len),
            };
            let length = batch.bytes.len().min(room);
            if length == 0 || (slice.len == 0 && length < batch.bytes.len()) {
                break;
            }
            let tail = batch.bytes.slice(PATCHED_BYTES..length.max(PATCHED_BYTES));
            slice.pieces.push(Piece {
                head: batch.patched_head(),
                tail,
            });
            slice.len += length;
            slice.end_offset = batch.last_offset + 1;
            if length < batch.bytes.len() {
                break;
            }
        }
        slice
    }

    /// Whole batches from the one that holds `offset`, up to `max_bytes`, with `at_least_one` the first of them in any case; and the first and last
    /// offset of each.
    pub(crate) fn read_whole(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> (LogSlice, Vec<(i64, i64)>) {
        let first = self
            .batches
            .partition_point(|batch| batch.last_offset < offset);
        let (mut len, mut bounds) = (0, Vec::new());
        for batch in self.batches.range(first..) {
            let fits = len + batch.bytes.len() <= max_bytes;
            if !(fits || at_least_one && bounds.is_empty()) {
                break;
            }
            len += batch.bytes.len();
            bounds.push((batch.base_offset, batch.last_offset));
        }
        match len {
            0 => (LogSlice::default(), bounds),
            _ => (self.read(offset, len, true, self.end_offset), bounds),
        }
    }

    /// The largest timestamp of the batch that begins at `base_offset`.
    pub(crate) fn max_timestamp_at(&self, base_offset: i64) -> Option<i64> {
        let at = self
            .batches
            .binary_search_by_key(&base_offset, |batch| batch.base_offset);
        Some(self.batches.get(at.ok()?)?.max_timestamp_ms)
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
    pub(crate) fn first_batch_since(&self, timestamp_ms: i64) -> Option<&StoredBatch> {
        let first = self
            .batches
            .partition_point(|batch| batch.highest_timestamp_ms < timestamp_ms);
        // Batches that retention has dropped still count into the highest timestamp, so this one may be too old itself.
        self.batches
            .range(first..)
            .find(|batch| batch.max_timestamp_ms >= timestamp_ms)
    }

    /// The first batch that has the largest timestamp of the log.
    pub(crate) fn newest_batch(&self) -> Option<&StoredBatch> {
        let newest = self
            .batches
            .iter()
            .map(|batch| batch.max_timestamp_ms)
            .max()?;
        self.first_batch_since(newest)
    }
}

#[cfg(test)]
mod tests {
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

    fn log_of(sizes: &[usize]) -> Log {
        let mut log = Log::default();
        log.begin_epoch(0);
        for (index, size) in sizes.iter().enumerate() {
            log.append(batch(*size, 10, index as i64), 0);
        }
        log
    }

    #[test]
    fn what_stands_before_an_offset_is_deleted_and_the_beginning_never_goes_back() {
        let mut log = log_of(&[100, 100, 100]);
        log.begin_epoch(1);
        log.append(batch(100, 10, 9), 1);
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
        assert_eq!(log.append(batch(100, 10, 9), 1), 40);
    }

    #[test]
    fn offsets_count_records_and_the_served_head_carries_them() {
        let mut log = log_of(&[100]);
        log.begin_epoch(2);
        assert_eq!(log.append(batch(80, 3, 5), 2), 10);
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
        log.append(batch(100, 5, 0), 3);
        assert_eq!(log.end_of_epoch(0), Some((0, 20)));
        assert_eq!(log.end_of_epoch(2), Some((0, 20)));
        assert_eq!(log.end_of_epoch(3), Some((3, 25)));
        assert_eq!(log.end_of_epoch(4), None);
        assert_eq!(log.epoch_at(19), Some(0));
        assert_eq!(log.epoch_at(20), Some(3));
        log.truncate(22);
        assert_eq!((log.end_offset(), log.end_of_epoch(0)), (20, Some((0, 20))));
    }

    #[test]
    fn time_finds_the_first_batch_with_such_a_record() {
        let mut log = Log::default();
        for timestamp_ms in [10, 30, 20, 30] {
            log.append(batch(100, 1, timestamp_ms), 0);
        }
        assert_eq!(
            log.first_batch_since(5).map(|batch| batch.base_offset),
            Some(0)
        );
        assert_eq!(
            log.first_batch_since(11).map(|batch| batch.base_offset),
            Some(1)
        );
        assert!(log.first_batch_since(31).is_none());
        log.retain(200);
        assert_eq!(
            log.first_batch_since(25).map(|batch| batch.base_offset),
            Some(3)
        );
        assert_eq!(log.newest_batch().map(|batch| batch.base_offset), Some(3));
    }
}
