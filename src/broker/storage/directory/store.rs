//! One partition's batches in the files of a folder: [`LogStore`].
//!
//! Each file is a segment, named by the offset that it begins with; the newest is appended to, the oldest go as wholes. Batches stand in them as
//! consumers see them, which is as Kafka's own files have them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, mem};

use protocol::Uuid;
use protocol::records::{BatchHeader, RecordBatch};

use super::DataDir;
use super::files::PositionedFile;
use super::read::{FileRead, Part};
use super::records::{Change, Key, PartitionNote};
use super::scan::{Headers, recover};
use super::segment::{Segment, base_offset, read_batch};
use crate::broker::storage::slice::LogSlice;
use crate::broker::storage::{LogStore, ReadRange, StoredBatch};

/// In each partition's folder: which topic it is of.
const METADATA_NAME: &str = "partition.metadata";
/// Segments are small enough that a topic's bound is kept to within this part of it.
const SEGMENTS_IN_RETENTION: u64 = 4;
const LEAST_SEGMENT_BYTES: u64 = 1 << 20;

/// Which partition it is, and how large its segments may be.
#[derive(Clone, Debug)]
pub(crate) struct PartitionFolder {
    pub(crate) topic: String,
    pub(crate) topic_id: Uuid,
    pub(crate) partition: i32,
    pub(crate) segment_bytes: u64,
    pub(crate) retention_bytes: u64,
}

/// One partition's folder.
#[derive(Debug)]
pub(crate) struct DirectoryStore {
    dir: Arc<DataDir>,
    folder: PathBuf,
    topic_id: Uuid,
    partition: i32,
    /// How long a segment gets before another is begun.
    roll_bytes: u64,
    /// By their offsets; none before the first append.
    segments: Vec<Segment>,
    size_bytes: u64,
    /// Before this nothing is read.
    start_offset: i64,
}

fn roll_bytes(segment_bytes: u64, retention_bytes: u64) -> u64 {
    let by_retention = (retention_bytes / SEGMENTS_IN_RETENTION).max(LEAST_SEGMENT_BYTES);
    segment_bytes.min(by_retention)
}

impl DirectoryStore {
    /// Of a partition that is new, or that nothing was ever appended to: its folder comes with the first append.
    pub(crate) fn new(dir: Arc<DataDir>, of: &PartitionFolder) -> Self {
        Self {
            folder: dir.path.join(folder_name(&of.topic, of.partition)),
            dir,
            topic_id: of.topic_id,
            partition: of.partition,
            roll_bytes: roll_bytes(of.segment_bytes, of.retention_bytes),
            segments: Vec::new(),
            size_bytes: 0,
            start_offset: 0,
        }
    }

    /// Reads what a folder holds: each batch is shown to `each`. What is left of a write that was cut off goes. Returns where the log begins, and
    /// where it ends.
    ///
    /// Fails when a segment is damaged otherwise, or missing: the error says what to do.
    pub(crate) fn recover(
        &mut self,
        start_offset: i64,
        mut each: impl FnMut(&RecordBatch),
    ) -> io::Result<(i64, i64)> {
        let bases = self.segment_bases()?;
        for (index, base_offset) in bases.iter().enumerate() {
            let expected = self.segments.last().map(|last| last.end_offset);
            if let Some(expected) = expected.filter(|expected| expected != base_offset) {
                return Err(self.missing(expected, *base_offset));
            }
            let is_last = index + 1 == bases.len();
            let segment = self.recover_segment(*base_offset, is_last, &mut each)?;
            self.size_bytes += segment.len;
            self.segments.push(segment);
        }
        let first = self
            .segments
            .first()
            .map_or(start_offset, |first| first.base_offset);
        let end = self
            .segments
            .last()
            .map_or(start_offset, |last| last.end_offset);
        // Of a log whose end a failing machine has lost, nothing can begin behind it.
        self.start_offset = start_offset.clamp(first, end);
        Ok((self.start_offset, end))
    }

    fn segment_bases(&self) -> io::Result<Vec<i64>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at(&self.folder, error)),
        };
        let mut bases = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| at(&self.folder, error))?;
            bases.extend(entry.file_name().to_str().and_then(base_offset));
        }
        bases.sort_unstable();
        Ok(bases)
    }

    fn recover_segment(
        &self,
        base_offset: i64,
        is_last: bool,
        each: &mut impl FnMut(&RecordBatch),
    ) -> io::Result<Segment> {
        let mut segment = Segment::new(&self.folder, base_offset, &self.dir.files);
        let path = segment.file.path.clone();
        // Not kept open: most are read once.
        let file = PositionedFile::open(&path, false).map_err(|error| at(&path, error))?;
        let len = file.len().map_err(|error| at(&path, error))?;
        let recovered = recover(&file, len, base_offset, is_last, |_, batch| {
            segment.appended(batch.header(), batch.bytes().len() as u64);
            each(batch);
        });
        let recovered = recovered
            .map_err(|error| at(&path, error))?
            .map_err(|damage| self.dir.damaged(&path, &damage))?;
        if recovered.len < len {
            file.set_len(recovered.len)
                .map_err(|error| at(&path, error))?;
            self.dir.wrote(segment.file.id, &Arc::new(file));
        }
        Ok(segment)
    }

    fn missing(&self, expected: i64, found: i64) -> io::Error {
        let text = format!(
            "{}: the records from offset {expected} to {} are missing: put the file back that begins with {expected}, or delete the files before {found}",
            self.folder.display(),
            found - 1,
        );
        io::Error::new(io::ErrorKind::InvalidData, text)
    }

    /// The file to append to, after a new one was begun where that is due.
    fn file_for(&mut self, batch: &StoredBatch) -> io::Result<Arc<PositionedFile>> {
        let size = batch.bytes.len() as u64;
        let has_room = |last: &&Segment| last.len == 0 || last.len + size <= self.roll_bytes;
        match self.segments.last().filter(has_room) {
            Some(last) => last.file.open(&self.dir.files),
            None => self.begin_segment(batch.base_offset),
        }
    }

    fn begin_segment(&mut self, base_offset: i64) -> io::Result<Arc<PositionedFile>> {
        if self.segments.is_empty() {
            self.create_folder()?;
        }
        let segment = Segment::new(&self.folder, base_offset, &self.dir.files);
        let file = (self.dir.files).get(segment.file.id, &segment.file.path, true)?;
        // There may be one that was never written to.
        file.set_len(0)?;
        self.dir.flusher.changed(&self.folder);
        self.segments.push(segment);
        Ok(file)
    }

    fn create_folder(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(METADATA_NAME);
        fs::write(&path, format!("version: 0\ntopic_id: {}\n", self.topic_id))?;
        let file = Arc::new(PositionedFile::open(&path, false)?);
        self.dir.wrote(self.dir.files.next_id(), &file);
        self.dir.flusher.changed(&self.dir.path);
        Ok(())
    }

    /// Closes a segment's file and deletes it. One that cannot be deleted is left behind: it is found, and goes, another time.
    fn remove(&mut self, segment: &Segment) {
        self.size_bytes -= segment.len;
        self.dir.files.close(segment.file.id);
        match fs::remove_file(&*segment.file.path) {
            Ok(()) => self.dir.flusher.changed(&self.folder),
            Err(error) => self.dir.note_problem(&segment.file.path, &error),
        }
    }

    /// The segments from the one on that has `offset`.
    fn segments_from(&self, offset: i64) -> &[Segment] {
        let first = self
            .segments
            .partition_point(|segment| segment.end_offset <= offset);
        &self.segments[first..]
    }

    fn stored(&self, segment: &Segment, at: &super::scan::HeaderAt) -> io::Result<StoredBatch> {
        let file = segment.file.open(&self.dir.files)?;
        Ok(StoredBatch {
            base_offset: at.header.base_offset,
            last_offset: at.header.last_offset(),
            leader_epoch: at.header.partition_leader_epoch,
            max_timestamp_ms: at.header.max_timestamp,
            bytes: read_batch(&file, at)?,
        })
    }
}

impl LogStore for DirectoryStore {
    fn append(&mut self, batch: StoredBatch) -> io::Result<()> {
        self.dir.check()?;
        let bytes = batch.to_bytes();
        let header = bytes.first_chunk().map(BatchHeader::read);
        let header = header.filter(|header| header.magic == 2).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "only batches of format 2 are kept in files",
            )
        })?;
        let appended = self.file_for(&batch).and_then(|file| {
            let newest = self.segments.last_mut();
            let newest = newest.ok_or_else(|| io::Error::other("no segment"))?;
            newest.append(&bytes, &file)?;
            newest.appended(&header, bytes.len() as u64);
            Ok((newest.file.id, file))
        });
        match appended {
            Ok((id, file)) => {
                self.size_bytes += bytes.len() as u64;
                self.dir.wrote(id, &file);
                Ok(())
            }
            Err(error) => Err(self.dir.refused(&self.folder, error)),
        }
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn retain(&mut self, max_bytes: u64) -> Option<i64> {
        let mut start_offset = None;
        while self.size_bytes > max_bytes && self.segments.len() > 1 {
            let oldest = self.segments.remove(0);
            self.remove(&oldest);
            start_offset = Some(oldest.end_offset);
        }
        self.start_offset = self.start_offset.max(start_offset.unwrap_or(0));
        start_offset
    }

    fn bound(&mut self, segment_bytes: u64, retention_bytes: u64) {
        self.roll_bytes = roll_bytes(segment_bytes, retention_bytes);
    }

    fn delete_before(&mut self, offset: i64) {
        self.start_offset = self.start_offset.max(offset);
        let newest = self.segments.last();
        if let Some(newest) = newest.filter(|it| it.len > 0 && it.end_offset <= offset) {
            // The newest goes as well, once there is another to append to.
            let begun = self.begin_segment(newest.end_offset);
            if let Err(error) = begun {
                self.dir.note_problem(&self.folder, &error);
            }
        }
        while self.segments.len() > 1 && self.segments[0].end_offset <= offset {
            let oldest = self.segments.remove(0);
            self.remove(&oldest);
        }
    }

    fn truncate(&mut self, offset: i64) -> io::Result<Option<i64>> {
        let mut end_offset = None;
        while self.segments.len() > 1
            && let Some(newest) = self.segments.pop_if(|newest| newest.base_offset >= offset)
        {
            self.remove(&newest);
            end_offset = Some(newest.base_offset);
        }
        let Some(newest) = self.segments.last_mut() else {
            return Ok(end_offset);
        };
        let file = newest.file.open(&self.dir.files)?;
        if let Some(cut) = newest.find(offset, &file)? {
            let before = newest.len;
            newest.cut(&cut, &file)?;
            self.size_bytes -= before - newest.len;
            end_offset = Some(newest.end_offset);
            self.dir.wrote(newest.file.id, &file);
        }
        Ok(end_offset)
    }

    fn read(&self, range: &ReadRange) -> LogSlice {
        let mut wanted = range.max_bytes as u64;
        let mut parts = Vec::new();
        for segment in self.segments_from(range.offset) {
            if segment.base_offset >= range.end_offset {
                break;
            }
            let position = segment.position_before(range.offset);
            parts.push(Part {
                file: segment.file.clone(),
                position,
                len: segment.len,
            });
            // What lies before the first batch may be most of the first part: one more is named than is needed, then.
            if parts.len() > 1 {
                wanted = wanted.saturating_sub(segment.len - position);
            }
            if wanted == 0 {
                break;
            }
        }
        match parts.is_empty() {
            true => LogSlice::default(),
            false => LogSlice::unread(FileRead {
                dir: self.dir.clone(),
                range: *range,
                parts,
            }),
        }
    }

    fn max_timestamp_at(&self, base_offset: i64) -> io::Result<Option<i64>> {
        let Some(segment) = self.segments_from(base_offset).first() else {
            return Ok(None);
        };
        let file = segment.file.open(&self.dir.files)?;
        let found = segment.find(base_offset, &file)?;
        let found = found.filter(|it| it.header.base_offset == base_offset);
        Ok(found.map(|it| it.header.max_timestamp))
    }

    fn first_batch_since(&self, timestamp_ms: i64) -> io::Result<Option<StoredBatch>> {
        for segment in &self.segments {
            if segment.max_timestamp_ms < Some(timestamp_ms) {
                continue;
            }
            let file = segment.file.open(&self.dir.files)?;
            if let Some(at) = segment.find_since(timestamp_ms, self.start_offset, &file)? {
                return self.stored(segment, &at).map(Some);
            }
        }
        Ok(None)
    }

    fn max_timestamp_ms(&self) -> io::Result<Option<i64>> {
        let mut newest = None;
        for segment in &self.segments {
            if segment.base_offset >= self.start_offset {
                newest = newest.max(segment.max_timestamp_ms);
                continue;
            }
            // Of this one a part is deleted.
            let file = segment.file.open(&self.dir.files)?;
            let position = segment.position_before(self.start_offset);
            let mut headers = Headers::new(&*file, position, segment.len);
            while let Some(it) = headers.next()? {
                if it.header.last_offset() >= self.start_offset {
                    newest = newest.max(Some(it.header.max_timestamp));
                }
            }
        }
        Ok(newest)
    }

    fn batches(&self) -> io::Result<Vec<StoredBatch>> {
        let mut batches = Vec::new();
        for segment in self.segments_from(self.start_offset) {
            let file = segment.file.open(&self.dir.files)?;
            let position = segment.position_before(self.start_offset);
            let mut headers = Headers::new(&*file, position, segment.len);
            while let Some(it) = headers.next()? {
                if it.header.last_offset() >= self.start_offset {
                    batches.push(self.stored(segment, &it)?);
                }
            }
        }
        Ok(batches)
    }

    fn note(&mut self, start_offset: i64, leader_epoch: i32) -> io::Result<()> {
        let note = PartitionNote {
            start_offset,
            leader_epoch,
        };
        let key = Key::Partition(self.topic_id, self.partition);
        self.dir.write(&[Change::put(&key, &note.to_bytes())])
    }

    fn delete(&mut self) {
        for segment in mem::take(&mut self.segments) {
            self.dir.files.close(segment.file.id);
        }
        self.size_bytes = 0;
        match fs::remove_dir_all(&self.folder) {
            Ok(()) => self.dir.flusher.changed(&self.dir.path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Its topic is known to be deleted: what is left goes at the next start.
            Err(error) => self.dir.note_problem(&self.folder, &error),
        }
    }
}

/// The name of a partition's folder: Kafka's.
pub(super) fn folder_name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// Which topic a folder is of, by the file in it; none where there is no such file.
pub(super) fn topic_id_of(folder: &Path) -> Option<Uuid> {
    let text = fs::read_to_string(folder.join(METADATA_NAME)).ok()?;
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("topic_id: "))?;
    id.trim().parse().ok()
}

/// An error with the path that it is about.
pub(super) fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
