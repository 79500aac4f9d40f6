//! A batch whose records can be read: owned, cheap to clone, with a place to read on from.

use bytes::Bytes;

use super::RecordError;
use super::header::{BatchHeader, TimestampType};
use super::varint::{self, short};
use super::view::{HeadersView, RecordView, take_bytes};

/// Uncompressed records, and where reading them stands.
///
/// Clones share the bytes and read on independently. Records borrow from the batch: neither an allocation nor a reference
/// count for each of them.
#[derive(Clone, Debug)]
pub struct DecodedBatch {
    header: BatchHeader,
    data: Bytes,
    memory: usize,
    cursor: Cursor,
}

impl DecodedBatch {
    /// Records of magic 2 in `data`, as `header` describes them. They hold so many bytes of `memory` of their own.
    pub(super) fn new(header: BatchHeader, data: Bytes, memory: usize) -> DecodedBatch {
        DecodedBatch {
            header,
            data,
            memory,
            cursor: Cursor {
                at: 0,
                remaining: header.record_count as u32,
                least_delta: 0,
            },
        }
    }

    /// The header of the batch. One of magic 0 or 1 has its offsets and number of records filled in.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Number of records not read yet.
    pub fn remaining(&self) -> usize {
        self.cursor.remaining as usize
    }

    /// Whether nothing is left: no record, none that the header promises and the bytes lack, and no bytes that belong to none.
    pub fn is_exhausted(&self) -> bool {
        self.cursor.remaining == 0 && self.cursor.at >= self.data.len()
    }

    /// Number of bytes of uncompressed records, read or not.
    pub fn data_len(&self) -> usize {
        self.data.len()
    }

    /// Number of bytes of memory that they hold, beside the batch that they were decoded from: what the buffer has that they were decompressed
    /// into. 0 where they are in the batch itself.
    pub fn memory_len(&self) -> usize {
        self.memory
    }

    /// Number of bytes of the records not read yet.
    pub fn unread_len(&self) -> usize {
        self.data.len().saturating_sub(self.cursor.at)
    }

    /// The bytes of `part`, which is part of a record of this batch, without a copy: they share the memory of the whole batch.
    ///
    /// # Panics
    /// When `part` is not of this batch.
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.data.slice_ref(part)
    }

    /// Reads the next record; `None` after the last. After an error there is nothing more.
    #[inline(always)]
    pub fn next_record(&mut self) -> Option<Result<RecordView<'_>, RecordError>> {
        self.cursor.next(&self.header, &self.data)
    }

    /// Iterates over the records not read yet, without moving on from them.
    pub fn records(&self) -> Records<'_> {
        Records {
            header: self.header,
            data: &self.data,
            cursor: self.cursor,
        }
    }

    /// Passes over all records before `offset`. A malformed record stops it, to be reported when it is read.
    pub fn skip_to(&mut self, offset: i64) {
        let mut ahead = self.cursor;
        while let Some(Ok(record)) = ahead.next(&self.header, &self.data) {
            if record.offset >= offset {
                return;
            }
            self.cursor = ahead;
        }
    }

    /// Takes the next `count` records, or all there are, into a batch of their own, and goes on after them.
    pub fn split_to(&mut self, count: usize) -> DecodedBatch {
        let mut front = self.clone();
        if count >= self.remaining() {
            self.cursor.finish(&self.data);
            return front;
        }
        front.cursor.remaining = count as u32;
        for _ in 0..count {
            if let Some(Err(_)) = self.cursor.next(&self.header, &self.data) {
                // The front comes to the malformed record, and reports it.
                return front;
            }
        }
        front.data.truncate(self.cursor.at);
        front
    }

    /// The offset after the last record read; before the first, that of the batch.
    pub fn next_offset(&self) -> i64 {
        self.header
            .base_offset
            .saturating_add(self.cursor.least_delta)
    }

    /// Reads the next `count` records, or all there are, and takes them into a batch of their own, in which none is malformed.
    ///
    /// # Errors
    /// When the next record is malformed. Those before a malformed one are taken first.
    pub fn take_checked(&mut self, count: usize) -> Result<DecodedBatch, RecordError> {
        self.take_checked_within(count, usize::MAX)
    }

    /// As [`take_checked`](Self::take_checked), but no more records than it takes to reach `bytes` bytes; one at least.
    ///
    /// # Errors
    /// When the next record is malformed. Those before a malformed one are taken first.
    pub fn take_checked_within(
        &mut self,
        count: usize,
        bytes: usize,
    ) -> Result<DecodedBatch, RecordError> {
        let start = self.cursor;
        // On its own, so that it stays in registers.
        let mut cursor = start;
        let (header, data) = (&self.header, &self.data[..]);
        let mut taken = 0;
        while taken < count && (taken == 0 || cursor.at - start.at < bytes) {
            let mut ahead = cursor;
            match ahead.next(header, data) {
                Some(Ok(_)) => taken += 1,
                Some(Err(_)) if taken > 0 => break,
                Some(Err(error)) => {
                    self.cursor = ahead;
                    return Err(error);
                }
                None => {
                    cursor = ahead;
                    break;
                }
            }
            cursor = ahead;
        }
        self.cursor = cursor;
        let mut front = self.clone();
        front.cursor = Cursor {
            remaining: taken as u32,
            ..start
        };
        front.data.truncate(self.cursor.at);
        Ok(front)
    }

    /// Reads all records not read yet, to report the first that is malformed.
    ///
    /// # Errors
    /// What [`next_record`](Self::next_record) would report.
    pub fn check(&self) -> Result<(), RecordError> {
        self.records().try_for_each(|record| record.map(drop))
    }
}

/// Iterates over the records of a [`DecodedBatch`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    data: &'a [u8],
    cursor: Cursor,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.next(&self.header, self.data)
    }
}

/// Where in the uncompressed records reading stands.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    at: usize,
    remaining: u32,
    /// The least offset delta the next record may have: offsets rise.
    least_delta: i64,
}

impl Cursor {
    #[inline(always)]
    fn next<'a>(
        &mut self,
        header: &BatchHeader,
        data: &'a [u8],
    ) -> Option<Result<RecordView<'a>, RecordError>> {
        let rest = data.get(self.at..)?;
        if self.remaining == 0 {
            return self.end(data).map(Err);
        }
        let Some((record, after)) = read_record(header, rest, self.least_delta) else {
            let error = diagnose(header, data, self.at, self.least_delta);
            self.finish(data);
            return Some(Err(error));
        };
        self.at = data.len() - after.len();
        self.remaining -= 1;
        self.least_delta = record.offset.wrapping_sub(header.base_offset) + 1;
        Some(Ok(record))
    }

    /// After the last record: reports, once, bytes that belong to none.
    #[cold]
    fn end(&mut self, data: &[u8]) -> Option<RecordError> {
        let at = self.at;
        self.finish(data);
        (at < data.len())
            .then(|| RecordError::malformed("batch", at, "no more than its number of records"))
    }

    fn finish(&mut self, data: &[u8]) {
        self.at = data.len();
        self.remaining = 0;
    }
}

/// Reads the record at the start of `rest` and returns it with what follows it. Any fault is `None`, so that the path
/// taken for every record is short; [`diagnose`] finds out which it was.
#[inline(always)]
fn read_record<'a>(
    header: &BatchHeader,
    rest: &'a [u8],
    least_delta: i64,
) -> Option<(RecordView<'a>, &'a [u8])> {
    let front = match read_short_front(rest) {
        Some(front) => front,
        None => read_front(rest)?,
    };
    let Front {
        timestamp_delta,
        offset_delta,
        key,
        mut body,
        after,
    } = front;
    if offset_delta < least_delta || offset_delta > i64::from(header.last_offset_delta) {
        return None;
    }
    let value = take_bytes(&mut body)?;
    let headers = match body {
        [0] => HeadersView::default(),
        _ => read_headers(body)?,
    };
    let timestamp_ms = match header.timestamp_type() {
        TimestampType::CreateTime => header.base_timestamp.wrapping_add(timestamp_delta),
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    let record = RecordView {
        offset: header.base_offset.wrapping_add(offset_delta),
        timestamp_ms,
        key,
        value,
        headers,
    };
    Some((record, after))
}

/// A record up to its key.
struct Front<'a> {
    timestamp_delta: i64,
    offset_delta: i64,
    key: Option<&'a [u8]>,
    /// The rest of the record.
    body: &'a [u8],
    /// What follows the record.
    after: &'a [u8],
}

/// Most records begin with five short numbers. `None` when this one does not, or is malformed.
#[inline(always)]
fn read_short_front(rest: &[u8]) -> Option<Front<'_>> {
    let mut front = short::Reader::new(rest)?;
    let len = usize::try_from(front.take()?).ok()? + front.len()?;
    front.skip(); // attributes
    let timestamp_delta = front.take()?;
    let offset_delta = front.take()?;
    let key_len = front.take()?;
    let (record, after) = rest.split_at_checked(len)?;
    let body = record.get(front.len()?..)?;
    let (key, body) = if key_len == -1 {
        (None, body)
    } else {
        let (key, body) = body.split_at_checked(usize::try_from(key_len).ok()?)?;
        (Some(key), body)
    };
    Some(Front {
        timestamp_delta,
        offset_delta,
        key,
        body,
        after,
    })
}

#[inline(never)]
fn read_front(mut rest: &[u8]) -> Option<Front<'_>> {
    let len = usize::try_from(varint::take(&mut rest)?).ok()?;
    let (record, after) = rest.split_at_checked(len)?;
    // The attributes of a record mean nothing yet.
    let (_, mut body) = record.split_first()?;
    Some(Front {
        timestamp_delta: varint::take(&mut body)?,
        offset_delta: varint::take(&mut body)?,
        key: take_bytes(&mut body)?,
        body,
        after,
    })
}

#[inline(never)]
fn read_headers(mut body: &[u8]) -> Option<HeadersView<'_>> {
    let count = u32::try_from(varint::take(&mut body)?).ok()?;
    HeadersView::check(count, body)
}

/// What is wrong with the record at `data[at..]`, which [`read_record`] refused.
#[cold]
#[inline(never)]
fn diagnose(header: &BatchHeader, data: &[u8], at: usize, least_delta: i64) -> RecordError {
    let mut rest = data.get(at..).unwrap_or_default();
    if rest.is_empty() {
        return RecordError::malformed("batch", at, "as many records as its header says");
    }
    let Some(Ok(len)) = varint::take(&mut rest).map(usize::try_from) else {
        return RecordError::malformed("length of a record", at, "a varint that is not negative");
    };
    let at = data.len() - rest.len();
    let Some((mut body, after)) = rest.split_at_checked(len) else {
        return RecordError::malformed("record", at, "as many bytes as its length says");
    };
    let end = data.len() - after.len();
    let malformed =
        |what, body: &[u8], expected| RecordError::malformed(what, end - body.len(), expected);
    if body.is_empty() {
        return malformed("attributes of a record", body, "a byte");
    }
    body = &body[1..];
    if varint::take(&mut body).is_none() {
        return malformed("timestamp delta", body, "a varint");
    }
    match varint::take(&mut body) {
        None => return malformed("offset delta", body, "a varint"),
        Some(delta) if delta < least_delta || delta > i64::from(header.last_offset_delta) => {
            return malformed("offset delta", body, "more than the last, within the batch");
        }
        Some(_) => {}
    }
    for what in ["key of a record", "value of a record"] {
        if take_bytes(&mut body).is_none() {
            return malformed(what, body, "a length of -1 or more and as many bytes");
        }
    }
    malformed(
        "headers of a record",
        body,
        "their number, then exactly that many to its end",
    )
}
