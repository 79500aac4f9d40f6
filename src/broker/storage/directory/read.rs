//! Reading batches from the files of a log, where that holds up nobody.
//!
//! In: what is wanted, and in which files it is, as a partition knows it under its lock. Out: the batches, read without it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use protocol::records::{BatchHeader, HEADER_LEN};

use super::DataDir;
use super::files::PositionedFile;
use super::scan::{HeaderAt, Headers, read_exactly};
use super::segment::SegmentFile;
use crate::broker::storage::ReadRange;
use crate::broker::storage::slice::{LogSlice, PATCHED_BYTES};

/// A read that is still to be done.
#[derive(Clone, Debug)]
pub(crate) struct FileRead {
    pub(super) dir: Arc<DataDir>,
    pub(super) range: ReadRange,
    pub(super) parts: Vec<Part>,
}

/// Of one segment.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) file: SegmentFile,
    /// Where a batch begins that is not behind what is wanted.
    pub(super) position: u64,
    /// Where the segment's batches end.
    pub(super) len: u64,
}

impl FileRead {
    /// Reads. May block.
    pub(crate) fn load(self) -> io::Result<LogSlice> {
        let mut slice = LogSlice::default();
        for part in &self.parts {
            let file = part.file.open(&self.dir.files)?;
            if !read_part(&mut slice, &file, part, &self.range)? {
                break;
            }
        }
        Ok(slice)
    }
}

/// Adds what is wanted of this segment. Returns whether there may be more in the next.
fn read_part(
    slice: &mut LogSlice,
    file: &PositionedFile,
    part: &Part,
    range: &ReadRange,
) -> io::Result<bool> {
    let mut headers = Headers::new(file, part.position, part.len);
    let first = loop {
        match headers.next()? {
            None => return Ok(true),
            Some(it) if it.header.last_offset() >= range.offset => break it,
            Some(_) => {}
        }
    };
    if first.header.last_offset() >= range.end_offset {
        return Ok(false);
    }
    let is_first = slice.len == 0;
    let room = range.max_bytes.saturating_sub(slice.len);
    // Whatever it says, the file has as much.
    let first_size = usize::try_from(first.size).map_err(io::Error::other)?;
    let must_be_whole = is_first || range.whole;
    let wanted = match is_first && range.at_least_one {
        true => room.max(first_size),
        false => room,
    };
    if wanted == 0 || must_be_whole && first_size > wanted {
        return Ok(false);
    }
    let rest = usize::try_from(part.len - first.position).unwrap_or(usize::MAX);
    let read = read_exactly(file, first.position, wanted.min(rest))?;
    let Taken {
        len,
        end_offset,
        bounds,
        ends,
    } = take(&read, &first, range, is_first);
    if len == 0 {
        return Ok(false);
    }
    let mut head = [0; PATCHED_BYTES];
    let in_head = len.min(PATCHED_BYTES);
    head[..in_head].copy_from_slice(&read[..in_head]);
    slice.push(head, read.slice(in_head..len), len, end_offset);
    slice.bounds.extend(bounds);
    Ok(!ends)
}

struct Taken {
    len: usize,
    end_offset: i64,
    bounds: Vec<(i64, i64)>,
    /// Whether nothing that follows is wanted.
    ends: bool,
}

/// How much of the bytes that were read is wanted.
fn take(read: &Bytes, first: &HeaderAt, range: &ReadRange, is_first: bool) -> Taken {
    let mut taken = Taken {
        len: 0,
        end_offset: 0,
        bounds: Vec::new(),
        ends: false,
    };
    let mut next = Some(first.header);
    while let Some(header) = next {
        let size = usize::try_from(header.batch_length).unwrap_or(0) + 12;
        let left = read.len() - taken.len;
        let is_whole = size <= left;
        if header.last_offset() >= range.end_offset || range.whole && !is_whole {
            taken.ends = true;
            break;
        }
        debug_assert!(is_whole || !is_first || taken.len > 0);
        taken.len += size.min(left);
        taken.end_offset = header.last_offset() + 1;
        if range.whole {
            taken
                .bounds
                .push((header.base_offset, header.last_offset()));
        }
        if !is_whole {
            taken.ends = true;
            break;
        }
        let rest = &read[taken.len..];
        // Of a batch of which not even the header is there, nothing is known.
        next = rest.first_chunk::<HEADER_LEN>().map(BatchHeader::read);
        taken.ends = next.is_none() && !rest.is_empty();
    }
    taken
}
