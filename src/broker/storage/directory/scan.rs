//! Goes through the batches of a segment, one after the other, and believes nothing that it reads.
//!
//! In: a file, or bytes. Out: batches whose length, checksum and offsets are right, and where the first stands that is not.

use std::io;

use bytes::{Bytes, BytesMut};
use protocol::records::{BatchHeader, HEADER_LEN, RecordBatch};

use super::files::ReadAt;

/// Bytes of a batch that its length field does not count.
const LENGTH_OVERHEAD: u64 = 12;
const MAGIC_AT: usize = 16;
/// Read at once, at the least.
const CHUNK: usize = 1 << 20;
/// Read at once of headers alone.
const HEADERS_CHUNK: usize = 16 * 1024;

/// Bytes that are no batch, and where they stand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Damage {
    pub(crate) position: u64,
    /// The offset that the batch there ought to have.
    pub(crate) offset: i64,
    pub(crate) reason: String,
}

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Recovered {
    /// Bytes of the batches that are whole; what follows them is the rest of a write that was cut off.
    pub(crate) len: u64,
    /// The offset after the last record.
    pub(crate) end_offset: i64,
}

/// Reads all batches of a segment that begins at `base_offset`, each of which `each` is shown with its position. Of the last segment of a log the end may be the
/// rest of a batch that was never wholly written: that is no damage. Whole batches behind something else are one: what stands between was
/// written as a whole before them.
pub(crate) fn recover<R: ReadAt + ?Sized>(
    source: &R,
    len: u64,
    base_offset: i64,
    may_be_torn: bool,
    mut each: impl FnMut(u64, &RecordBatch),
) -> io::Result<Result<Recovered, Damage>> {
    let mut scan = Scan::new(source, len, base_offset);
    loop {
        let position = scan.position;
        match scan.next_batch()? {
            Found::Batch(batch) => each(position, &batch),
            Found::End => return Ok(Ok(scan.recovered())),
            Found::Bad(reason) => {
                let damage = Damage {
                    position,
                    offset: scan.offset,
                    reason,
                };
                let recovered = scan.recovered();
                return Ok(match may_be_torn && !scan.has_batch_beyond()? {
                    true => Ok(recovered),
                    false => Err(damage),
                });
            }
        }
    }
}

enum Found {
    Batch(RecordBatch),
    End,
    Bad(String),
}

struct Scan<'a, R: ?Sized> {
    source: &'a R,
    len: u64,
    position: u64,
    /// The offset that the next record has.
    offset: i64,
    leader_epoch: i32,
    /// What was read from `position` on.
    buffer: Bytes,
}

impl<'a, R: ReadAt + ?Sized> Scan<'a, R> {
    fn new(source: &'a R, len: u64, offset: i64) -> Self {
        Self {
            source,
            len,
            position: 0,
            offset,
            leader_epoch: 0,
            buffer: Bytes::new(),
        }
    }

    fn recovered(&self) -> Recovered {
        Recovered {
            len: self.position,
            end_offset: self.offset,
        }
    }

    fn next_batch(&mut self) -> io::Result<Found> {
        if self.position == self.len {
            return Ok(Found::End);
        }
        if !self.fill(HEADER_LEN)? {
            return Ok(Found::Bad("its header is cut off".to_owned()));
        }
        let Some(header) = self.buffer.first_chunk().map(BatchHeader::read) else {
            return Ok(Found::Bad("its header is cut off".to_owned()));
        };
        let size = match size(&header) {
            Ok(size) => size,
            Err(reason) => return Ok(Found::Bad(reason)),
        };
        if size > self.len - self.position {
            return Ok(Found::Bad(format!(
                "it says that it has {size} bytes, and {} are there",
                self.len - self.position
            )));
        }
        // As many bytes as the file has.
        let size = usize::try_from(size).map_err(io::Error::other)?;
        if !self.fill(size)? {
            return Ok(Found::Bad("it is cut off".to_owned()));
        }
        let batch = match RecordBatch::read(self.buffer.slice(..size)) {
            Ok(batch) => batch,
            Err(error) => return Ok(Found::Bad(error.to_string())),
        };
        if let Some(reason) = problem(&batch, self.offset, self.leader_epoch) {
            return Ok(Found::Bad(reason));
        }
        let _ = self.buffer.split_to(size);
        self.position += size as u64;
        self.offset = batch.last_offset() + 1;
        self.leader_epoch = batch.partition_leader_epoch();
        Ok(Found::Batch(batch))
    }

    /// Sees to it that the buffer holds `wanted` bytes; false where there are not so many.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.buffer.len() < wanted {
            let rest = usize::try_from(self.len - self.position).unwrap_or(usize::MAX);
            let mut buffer = BytesMut::zeroed(wanted.max(CHUNK).min(rest));
            let read = self.source.read_at(&mut buffer, self.position)?;
            buffer.truncate(read);
            self.buffer = buffer.freeze();
        }
        Ok(self.buffer.len() >= wanted)
    }

    /// Whether a whole batch of this log stands somewhere behind the next byte.
    fn has_batch_beyond(&mut self) -> io::Result<bool> {
        let (offset, leader_epoch) = (self.offset, self.leader_epoch);
        while self.position + HEADER_LEN as u64 <= self.len {
            self.position += 1;
            if !self.buffer.is_empty() {
                let _ = self.buffer.split_to(1);
            }
            if !self.fill(HEADER_LEN)? {
                break;
            }
            // Nearly all that is no batch is told by one byte.
            if self.buffer[MAGIC_AT] != 2 {
                continue;
            }
            let Some(header) = self.buffer.first_chunk().map(BatchHeader::read) else {
                break;
            };
            let is_later =
                header.base_offset > offset && header.partition_leader_epoch >= leader_epoch;
            let size = size(&header)
                .ok()
                .filter(|size| *size <= self.len - self.position);
            let (true, Some(size)) = (is_later, size) else {
                continue;
            };
            let size = usize::try_from(size).map_err(io::Error::other)?;
            if self.fill(size)?
                && let Ok(batch) = RecordBatch::read(self.buffer.slice(..size))
                && problem(&batch, batch.base_offset(), leader_epoch).is_none()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// How many bytes a batch says that it has.
fn size(header: &BatchHeader) -> Result<u64, String> {
    if header.magic != 2 {
        return Err(format!("its format is {}, and not 2", header.magic));
    }
    let size = u64::try_from(header.batch_length).ok();
    let size = size.map(|length| length + LENGTH_OVERHEAD);
    size.filter(|size| *size >= HEADER_LEN as u64)
        .ok_or_else(|| format!("its length is {}", header.batch_length))
}

/// What is wrong with a batch of which the next record has `offset`.
fn problem(batch: &RecordBatch, offset: i64, leader_epoch: i32) -> Option<String> {
    let header = batch.header();
    if let Err(error) = batch.verify_crc() {
        return Some(error.to_string());
    }
    if header.base_offset != offset {
        return Some(format!(
            "its offset is {}, and not {offset}",
            header.base_offset
        ));
    }
    let ends = (header.base_offset).checked_add(i64::from(header.last_offset_delta));
    if header.last_offset_delta < 0 || ends.is_none_or(|last| last == i64::MAX) {
        return Some(format!(
            "its last offset is {} further",
            header.last_offset_delta
        ));
    }
    if header.partition_leader_epoch < leader_epoch || header.partition_leader_epoch == i32::MAX {
        return Some(format!(
            "its leader epoch is {}, after {leader_epoch}",
            header.partition_leader_epoch
        ));
    }
    None
}

/// One batch's header, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderAt {
    pub(super) position: u64,
    pub(super) size: u64,
    pub(super) header: BatchHeader,
}

/// Goes through headers alone, of batches that are known to be good.
pub(super) struct Headers<'a, R: ?Sized> {
    source: &'a R,
    position: u64,
    len: u64,
    buffer: Vec<u8>,
    /// Where the buffer begins.
    start: u64,
}

impl<'a, R: ReadAt + ?Sized> Headers<'a, R> {
    /// From `position`, where a batch begins, to `len`, where one ends.
    pub(super) fn new(source: &'a R, position: u64, len: u64) -> Self {
        Self {
            source,
            position,
            len,
            buffer: Vec::new(),
            start: position,
        }
    }

    /// The next header; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<HeaderAt>> {
        if self.position >= self.len {
            return Ok(None);
        }
        let position = self.position;
        let changed = || {
            let text =
                format!("no batch at byte {position}: the file was changed by somebody else");
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        if self.header().is_none() {
            let rest = usize::try_from(self.len - position).unwrap_or(usize::MAX);
            self.buffer.resize(HEADERS_CHUNK.min(rest), 0);
            let read = self.source.read_at(&mut self.buffer, position)?;
            self.buffer.truncate(read);
            self.start = position;
        }
        let header = self.header().ok_or_else(changed)?;
        let size = size(&header).map_err(|_| changed())?;
        if size > self.len - position {
            return Err(changed());
        }
        self.position += size;
        Ok(Some(HeaderAt {
            position,
            size,
            header,
        }))
    }

    fn header(&self) -> Option<BatchHeader> {
        let at = usize::try_from(self.position.checked_sub(self.start)?).ok()?;
        self.buffer.get(at..)?.first_chunk().map(BatchHeader::read)
    }
}

/// Reads all of these bytes.
pub(super) fn read_exactly<R: ReadAt + ?Sized>(
    source: &R,
    position: u64,
    size: usize,
) -> io::Result<Bytes> {
    let mut buffer = BytesMut::zeroed(size);
    match source.read_at(&mut buffer, position)? {
        read if read == size => Ok(buffer.freeze()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
