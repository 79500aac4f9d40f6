//! One partition's part of a fetch response, read on from poll to poll.
//!
//! In: the bytes as they came, and where the application stands. Out: runs of records that were checked to the last byte, or one error that
//! names partition and offset. A batch is checked, and decompressed, when its turn comes; not before.

use std::ops::Range;
use std::sync::Arc;

use protocol::compression::{Codec, CompressionError};
use protocol::records::{BatchIter, DecodedBatch, RecordBatch, RecordError};

use super::aborted::AbortedTransactions;
use super::memory::Fetched;
use crate::kafka::consumer::Acks;
use crate::kafka::consumer::positions::{Position, Wanted};
use crate::kafka::consumer::records::Batch;
use crate::kafka::runtime::{Budget, Decompressors, Excess};
use crate::kafka::{Error, ErrorKind, Result, TopicId, TopicPartition};

/// Reads a partition's part of a response.
pub(crate) struct BatchReader {
    pub partition: TopicPartition,
    /// The topic that it was fetched from.
    pub topic_id: Option<TopicId>,
    /// What it was fetched under.
    pub version: u64,
    /// The next offset to hand out.
    pub position: Position,
    batches: BatchIter,
    /// The next batch, for which there was no room.
    postponed: Option<RecordBatch>,
    /// It needs more than so many bytes.
    needs_more_than: Option<usize>,
    open: Option<Open>,
    /// There are bytes, but not one whole batch.
    cut_off: bool,
    aborted: Option<AbortedTransactions>,
    reservation: Arc<Fetched>,
}

/// A batch that is being read.
struct Open {
    records: DecodedBatch,
    after: Position,
    reservation: Arc<Fetched>,
}

/// What reading on returned.
pub(crate) enum Step {
    /// These records; the position is now after them.
    Records(Batch),
    /// Nothing for the application; the position moved.
    Skipped,
    /// The next batch needs more memory than is left of the budget.
    NoRoom,
    /// There is no more.
    End,
}

/// How much of the budget the next batch may be decompressed to.
#[derive(Clone, Copy)]
pub(crate) enum Room<'a> {
    /// What is left: it can wait for more.
    Left,
    /// As much as one batch may ever have, whatever is left: without this one there is no progress, and nobody else takes more than is left.
    Alone(&'a Arc<Excess>),
}

/// What became of a batch.
enum Opened {
    Open(Open),
    /// There is nothing in it for the application.
    Nothing,
    NoRoom,
}

/// What a reader reads with: whose bytes they are, and how many.
pub(crate) struct BatchDecoder {
    decompressors: Arc<Decompressors>,
    budget: Arc<Budget>,
    /// The most that a batch may be decompressed to.
    max_batch_bytes: usize,
    check_crcs: bool,
    /// What the last compressed batch came to: the best guess at what the next one will.
    last_len: usize,
}

/// What a batch is taken to come to while none is known that came to more.
const FIRST_GUESS: usize = 1 << 20;

/// A response's batches of one partition, by a scan_headers at their headers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderScan {
    Empty,
    /// This is the place after the last whole batch.
    Until(Position),
    /// Something is there, but no whole batch, or nothing like one.
    Unreadable {
        cut_off: bool,
    },
}

/// Looks through the headers in `records` without touching what is in the batches.
pub(crate) fn scan_headers(records: &bytes::Bytes, from: i64) -> HeaderScan {
    if records.is_empty() {
        return HeaderScan::Empty;
    }
    let (mut next, mut broken) = (None, false);
    for batch in BatchIter::new(records.clone()) {
        match batch {
            Ok(batch) => next = Some(after(&batch)),
            Err(_) => broken = true,
        }
    }
    match next {
        Some(next) if next.offset > from => HeaderScan::Until(next),
        // Only batches from before the place that was asked for.
        Some(_) if !broken => HeaderScan::Empty,
        _ => HeaderScan::Unreadable { cut_off: !broken },
    }
}

impl BatchDecoder {
    pub fn new(
        decompressors: Arc<Decompressors>,
        budget: Arc<Budget>,
        max_batch_bytes: usize,
        check_crcs: bool,
    ) -> Self {
        Self {
            decompressors,
            budget,
            max_batch_bytes,
            check_crcs,
            last_len: 0,
        }
    }

    /// What is left for a batch.
    fn left(&self) -> usize {
        self.budget.fairly_left().min(self.max_batch_bytes)
    }

    /// Decompresses `batch` into memory that is reserved before, so that nobody else counts on it meanwhile. `None` where there is not so much.
    fn decompress(
        &mut self,
        batch: &RecordBatch,
        room: Room<'_>,
    ) -> Result<Option<(DecodedBatch, Arc<Fetched>)>, RecordError> {
        let (most, excess) = match room {
            Room::Left => (self.left(), None),
            Room::Alone(excess) => (self.max_batch_bytes, Some(excess.clone())),
        };
        // Most come to no more, and one that does is decompressed again.
        let mut limit = most.min(FIRST_GUESS.max(self.last_len));
        loop {
            let mut reservation = self.budget.reserve(limit);
            let decode = |one: &mut _| batch.decode(one, limit);
            match self.decompressors.with(decode) {
                Err(RecordError::Compression(CompressionError::TooLarge { .. }))
                    if limit < most =>
                {
                    limit = most;
                }
                Err(RecordError::Compression(CompressionError::TooLarge { .. }))
                    if excess.is_none() && most < self.max_batch_bytes =>
                {
                    return Ok(None);
                }
                decoded => {
                    let records = decoded?;
                    reservation.adjust(records.memory_len());
                    self.last_len = records.data_len();
                    let memory = Fetched::decompressed(reservation, excess);
                    return Ok(Some((records, Arc::new(memory))));
                }
            }
        }
    }
}

impl BatchReader {
    /// Reads `records`, which `want` asked for. `aborted` hides what read_committed does not show.
    pub fn new(
        want: &Wanted,
        records: bytes::Bytes,
        cut_off: bool,
        aborted: Option<AbortedTransactions>,
        reservation: Arc<Fetched>,
    ) -> Self {
        Self {
            partition: want.partition.clone(),
            topic_id: TopicId::known(want.topic_id),
            version: want.version,
            position: Position {
                offset: want.offset,
                leader_epoch: None,
            },
            batches: BatchIter::new(records),
            postponed: None,
            needs_more_than: None,
            open: None,
            cut_off,
            aborted,
            reservation,
        }
    }

    /// The bytes that it keeps from being used for something else.
    pub fn held(&self) -> usize {
        self.reservation.bytes()
    }

    /// Reads on: up to `most` records, of one batch, and no more than it takes to reach `bytes`; none of those at the offsets `passed`.
    pub fn read(
        &mut self,
        mut most: usize,
        bytes: usize,
        passed: Option<Range<i64>>,
        room: Room<'_>,
        decoder: &mut BatchDecoder,
    ) -> Result<Step> {
        if self.open.is_none() {
            let batch = match self.postponed.take() {
                Some(batch) => batch,
                None => match self.next_batch()? {
                    Some(batch) => batch,
                    None => return Ok(Step::End),
                },
            };
            let after = after(&batch);
            match self.open_batch(&batch, room, decoder) {
                Ok(Opened::Open(open)) => {
                    self.needs_more_than = None;
                    self.open = Some(open);
                }
                Ok(Opened::Nothing) => {
                    self.pass(after);
                    return Ok(Step::Skipped);
                }
                Ok(Opened::NoRoom) => {
                    self.needs_more_than = Some(decoder.left());
                    self.postponed = Some(batch);
                    return Ok(Step::NoRoom);
                }
                Err(error) => return Err(self.unreadable(after.offset, error)),
            }
        }
        let Some(open) = &mut self.open else {
            return Ok(Step::Skipped);
        };
        if let Some(passed) = passed {
            let next = open.records.records().next();
            let next = next
                .and_then(|record| record.ok())
                .map(|record| record.offset);
            match next.filter(|next| *next < passed.end) {
                Some(next) if next >= passed.start => {
                    open.records.skip_to(passed.end);
                    most = 0;
                }
                // With holes between them, any may be the first that is passed.
                Some(next) => {
                    let left = open.records.remaining();
                    let is_dense = open.after.offset.abs_diff(next) == left as u64;
                    most = match is_dense {
                        true => most.min(passed.start.abs_diff(next) as usize),
                        false => 1,
                    };
                }
                None => {}
            }
        }
        let records = match open.records.take_checked_within(most, bytes) {
            Ok(records) => records,
            Err(error) => {
                let resume = open.after.offset;
                return Err(self.unreadable(resume, error));
            }
        };
        let reservation = open.reservation.clone();
        let mut after = open.after;
        if open.records.is_exhausted() {
            self.open = None;
        } else {
            after.offset = open.records.next_offset();
        }
        self.pass(after);
        if records.remaining() == 0 {
            return Ok(Step::Skipped);
        }
        Ok(Step::Records(Batch {
            partition: self.partition.clone(),
            topic_id: self.topic_id,
            next_offset: after.offset,
            records,
            acks: Acks::default(),
            _reservation: reservation,
        }))
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let beyond = self.position.offset.saturating_add(1);
        let batch = self
            .batches
            .next()
            .transpose()
            .map_err(|error| self.unreadable(beyond, error))?;
        if batch.is_none() && std::mem::take(&mut self.cut_off) {
            let expected = "one whole batch, but the broker's answer ends before it does";
            let error = RecordError::Malformed {
                what: "records",
                at: 0,
                expected,
            };
            return Err(self.unreadable(beyond, error));
        }
        Ok(batch)
    }

    /// Makes a batch readable.
    fn open_batch(
        &mut self,
        batch: &RecordBatch,
        room: Room<'_>,
        decoder: &mut BatchDecoder,
    ) -> Result<Opened, RecordError> {
        if batch.last_offset() < self.position.offset {
            return Ok(Opened::Nothing);
        }
        let borrowed = batch.magic() == 2 && batch.codec()? == Codec::None;
        if let (Room::Left, false) = (room, borrowed) {
            let left = decoder.left();
            let is_known = self.needs_more_than.is_some_and(|known| left <= known);
            if left < decoder.last_len || is_known {
                return Ok(Opened::NoRoom);
            }
        }
        if decoder.check_crcs {
            batch.verify_crc()?;
        }
        let ends_transaction = batch.is_control() && batch.is_transactional();
        let hidden = self.aborted.as_mut().is_some_and(|aborted| {
            aborted.hides(
                batch.producer_id(),
                batch.last_offset(),
                batch.is_transactional(),
                ends_transaction,
            )
        });
        if hidden || batch.is_control() {
            return Ok(Opened::Nothing);
        }
        let (mut records, reservation) = if borrowed {
            let limit = decoder.max_batch_bytes;
            let decode = |one: &mut _| batch.decode(one, limit);
            let records = decoder.decompressors.with(decode)?;
            (records, self.reservation.clone())
        } else {
            match decoder.decompress(batch, room)? {
                Some(decompressed) => decompressed,
                None => return Ok(Opened::NoRoom),
            }
        };
        if records.header().base_offset < self.position.offset {
            records.skip_to(self.position.offset);
        }
        Ok(Opened::Open(Open {
            records,
            after: after(batch),
            reservation,
        }))
    }

    fn pass(&mut self, after: Position) {
        if after.offset > self.position.offset {
            self.position = after;
        }
    }

    fn unreadable(&self, after: i64, error: RecordError) -> Error {
        let at = self.position.offset;
        let resume = after.max(at.saturating_add(1));
        Error::new(
            ErrorKind::CorruptBatch,
            format!("the batch there cannot be read, seek to offset {resume} to go on without it: {error}"),
        )
        .topic_partition(self.partition.topic.clone(), self.partition.partition)
        .offset(at, Some(resume))
    }
}

fn after(batch: &RecordBatch) -> Position {
    let epoch = batch.partition_leader_epoch();
    Position {
        offset: batch.last_offset().saturating_add(1),
        leader_epoch: (epoch >= 0).then_some(epoch),
    }
}

#[cfg(test)]
mod tests;
