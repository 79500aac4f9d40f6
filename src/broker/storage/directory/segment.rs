//! One file of a log: whole batches, one after the other, and a sparse index of them in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use protocol::records::BatchHeader;

use super::files::{FileId, OpenFiles, PositionedFile};
use super::scan::{HeaderAt, Headers, read_exactly};

/// How far batches may be apart that the index knows: it takes 24 bytes for each of them.
const INDEX_INTERVAL_BYTES: u64 = 64 * 1024;

/// A file of a log. In `path` stands what is written here, up to `len`.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base_offset: i64,
    /// The offset after its last record.
    pub(super) end_offset: i64,
    pub(super) len: u64,
    /// Of its batches; none without any.
    pub(super) max_timestamp_ms: Option<i64>,
    pub(super) file: SegmentFile,
    index: Vec<IndexEntry>,
    /// Whether there may be something beyond `len`, of a write that failed.
    has_rest: bool,
}

/// Which file it is.
#[derive(Clone, Debug)]
pub(super) struct SegmentFile {
    pub(super) id: FileId,
    pub(super) path: Arc<PathBuf>,
}

#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    base_offset: i64,
    position: u64,
    /// The largest timestamp of the batches before this one.
    highest_before_ms: i64,
}

impl SegmentFile {
    pub(super) fn open(&self, files: &OpenFiles) -> io::Result<Arc<PositionedFile>> {
        files.get(self.id, &self.path, false)
    }
}

/// The name of the file that begins with this offset: Kafka's.
pub(super) fn file_name(base_offset: i64) -> String {
    format!("{base_offset:020}.log")
}

/// The offset that a file of this name begins with.
pub(super) fn base_offset(name: &str) -> Option<i64> {
    let digits = name.strip_suffix(".log")?;
    let is_ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then(|| digits.parse().ok())?
}

impl Segment {
    /// One that holds nothing yet.
    pub(super) fn new(folder: &Path, base_offset: i64, files: &OpenFiles) -> Self {
        Self {
            base_offset,
            end_offset: base_offset,
            len: 0,
            max_timestamp_ms: None,
            file: SegmentFile {
                id: files.next_id(),
                path: Arc::new(folder.join(file_name(base_offset))),
            },
            index: Vec::new(),
            has_rest: false,
        }
    }

    /// Writes what is a batch behind the others. After an error it is as if it had never come.
    pub(super) fn append(&mut self, batch: &[u8], file: &PositionedFile) -> io::Result<()> {
        if self.has_rest {
            file.set_len(self.len)?;
            self.has_rest = false;
        }
        file.write_all_at(batch, self.len).inspect_err(|_| {
            self.has_rest = file.set_len(self.len).is_err();
        })
    }

    /// Takes note of a batch that stands behind the others.
    pub(super) fn appended(&mut self, header: &BatchHeader, size: u64) {
        let is_far = |last: &IndexEntry| self.len - last.position >= INDEX_INTERVAL_BYTES;
        if self.index.last().is_none_or(is_far) {
            self.index.push(IndexEntry {
                base_offset: header.base_offset,
                position: self.len,
                highest_before_ms: self.max_timestamp_ms.unwrap_or(i64::MIN),
            });
        }
        self.len += size;
        self.end_offset = header.last_offset() + 1;
        self.max_timestamp_ms = self.max_timestamp_ms.max(Some(header.max_timestamp));
    }

    /// Forgets everything from this batch on.
    pub(super) fn cut(&mut self, cut: &HeaderAt, file: &PositionedFile) -> io::Result<()> {
        file.set_len(cut.position)?;
        let (len, mut kept) = (cut.position, Headers::new(file, 0, cut.position));
        self.index.clear();
        (self.len, self.end_offset, self.max_timestamp_ms) = (0, self.base_offset, None);
        while let Some(it) = kept.next()? {
            self.appended(&it.header, it.size);
        }
        debug_assert_eq!(self.len, len);
        Ok(())
    }

    /// A position that is not behind the batch with this offset, and not far before it.
    pub(super) fn position_before(&self, offset: i64) -> u64 {
        let after = self.index.partition_point(|it| it.base_offset <= offset);
        after.checked_sub(1).map_or(0, |at| self.index[at].position)
    }

    /// The first batch that ends at `offset` or beyond it.
    pub(super) fn find(&self, offset: i64, file: &PositionedFile) -> io::Result<Option<HeaderAt>> {
        let mut headers = Headers::new(file, self.position_before(offset), self.len);
        while let Some(it) = headers.next()? {
            if it.header.last_offset() >= offset {
                return Ok(Some(it));
            }
        }
        Ok(None)
    }

    /// The first batch with a record of at least this timestamp, and at least this offset.
    pub(super) fn find_since(
        &self,
        timestamp_ms: i64,
        offset: i64,
        file: &PositionedFile,
    ) -> io::Result<Option<HeaderAt>> {
        let after = self
            .index
            .partition_point(|it| it.highest_before_ms < timestamp_ms);
        let position = after.checked_sub(1).map_or(0, |at| self.index[at].position);
        let mut headers = Headers::new(file, position, self.len);
        while let Some(it) = headers.next()? {
            if it.header.max_timestamp >= timestamp_ms && it.header.last_offset() >= offset {
                return Ok(Some(it));
            }
        }
        Ok(None)
    }
}

/// The bytes of a batch.
pub(super) fn read_batch(file: &PositionedFile, at: &HeaderAt) -> io::Result<Bytes> {
    let size = usize::try_from(at.size).map_err(io::Error::other)?;
    read_exactly(file, at.position, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_offsets_of_twenty_digits() {
        assert_eq!(file_name(42), "00000000000000000042.log");
        assert_eq!(base_offset(&file_name(i64::MAX)), Some(i64::MAX));
        for other in [
            "42.log",
            "0000000000000000004x.log",
            "00000000000000000042.index",
            "99999999999999999999.log",
        ] {
            assert_eq!(base_offset(other), None);
        }
    }
}
