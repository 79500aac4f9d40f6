//! What a log asks of the place where its batches are kept. In: batches with their offsets, in order. Out: slices of them, by offset or by time.

use std::fmt;
use std::io;

use bytes::{BufMut, Bytes, BytesMut};

use super::slice::{LogSlice, PATCHED_BYTES};

/// What the log needs to know of a batch before it is appended.
#[derive(Clone, Debug)]
pub(crate) struct NewBatch {
    /// The whole batch, header included.
    pub(crate) bytes: Bytes,
    /// Offset of the last record, relative to the first.
    pub(crate) last_offset_delta: i32,
    pub(crate) max_timestamp_ms: i64,
}

/// A batch in a log.
#[derive(Clone, Debug)]
pub(crate) struct StoredBatch {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) max_timestamp_ms: i64,
    /// As it came: the first 16 bytes may be the producer's.
    pub(crate) bytes: Bytes,
}

impl StoredBatch {
    /// Its first bytes as consumers see them. A batch's base offset and leader epoch are the only bytes that a broker changes; both lie in these.
    pub(super) fn patched_head(&self) -> [u8; PATCHED_BYTES] {
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

/// Which batches are read: from the one that holds `offset`, as far as they end before `end_offset`, up to `max_bytes`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadRange {
    pub(crate) offset: i64,
    pub(crate) end_offset: i64,
    pub(crate) max_bytes: usize,
    /// Whether the first batch is read even where it is larger than that.
    pub(crate) at_least_one: bool,
    /// Whether the last one may not be cut off.
    pub(crate) whole: bool,
}

/// The place where the batches of one partition are kept, oldest first. Whoever owns it has the partition's lock; every step is complete in itself.
pub(crate) trait LogStore: fmt::Debug + Send {
    /// Keeps a batch after all others. After an error it is as if it had never come.
    fn append(&mut self, batch: StoredBatch) -> io::Result<()>;

    /// Bytes of all batches.
    fn size_bytes(&self) -> u64;

    /// Drops the oldest until at most `max_bytes` are left, as far as what they are kept in can be dropped; the newest always stays. Returns the offset
    /// after the last one that was dropped, if any was.
    fn retain(&mut self, max_bytes: u64) -> Option<i64>;

    /// Files, where there are any, are to be no larger than this from now on, and small enough for that bound of all of them.
    fn bound(&mut self, _segment_bytes: u64, _retention_bytes: u64) {}

    /// Drops what lies before `offset` as a whole, as far as what it is kept in can be dropped: readers never ask for it again.
    fn delete_before(&mut self, offset: i64);

    /// Drops every batch that has a record at or beyond `offset`. Returns the first offset that was dropped, if any was.
    fn truncate(&mut self, offset: i64) -> io::Result<Option<i64>>;

    /// Reads. Like Kafka's, the slice may end within a batch, but never within its first: where that does not fit, nothing is read, or with
    /// `at_least_one` the whole of it.
    fn read(&self, range: &ReadRange) -> LogSlice;

    /// The largest timestamp of the batch that begins at `base_offset`.
    fn max_timestamp_at(&self, base_offset: i64) -> io::Result<Option<i64>>;

    /// The first batch that has a record with at least this timestamp.
    fn first_batch_since(&self, timestamp_ms: i64) -> io::Result<Option<StoredBatch>>;

    /// The largest timestamp of all batches.
    fn max_timestamp_ms(&self) -> io::Result<Option<i64>>;

    /// All batches, for those who look into a log from outside.
    fn batches(&self) -> io::Result<Vec<StoredBatch>>;

    /// Keeps what the batches do not say, where anything outlives the broker.
    fn note(&mut self, _start_offset: i64, _leader_epoch: i32) -> io::Result<()> {
        Ok(())
    }

    /// The topic is deleted: nothing is read or appended any more.
    fn delete(&mut self) {}
}
