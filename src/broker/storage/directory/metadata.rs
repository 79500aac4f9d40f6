//! The metadata log: everything that outlives a broker beside the batches of its topics, as keys and values in one file.
//!
//! In: changes of keys, each list of them taken as a whole or not at all. Out: what each key's value is. The file holds record batches, as those of topics do, and
//! is read by the same rules; when most of it is outdated, it is written anew.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use protocol::compression::{Codec, Compression, Compressor, Decompressor};
use protocol::records::{BatchBuilder, RecordBatch, SealOptions, assign_offsets};

use super::files::{FileId, PositionedFile, ReadAt};
use super::flusher::sync_folder;
use super::records::{Change, Key};
use super::scan::{Damage, recover};
use super::store::at;

pub(super) const FILE_NAME: &str = "metadata.log";
const NEW_FILE_NAME: &str = "metadata.log.new";
/// The file is written anew when it is larger than this, and than so many times what it would be then.
const LEAST_BYTES: u64 = 1 << 20;
const OUTDATED_TIMES: u64 = 8;
/// Bytes of keys and values in one batch when it is.
const BATCH_BYTES: usize = 512 * 1024;
/// What a batch and a record add to them, more or less.
const RECORD_OVERHEAD: u64 = 16;
/// Nothing in it is compressed.
const MAX_DECOMPRESSED_BYTES: usize = 1 << 30;

/// Of each key its value.
pub(super) type Values = BTreeMap<Bytes, Bytes>;

#[derive(Debug)]
pub(super) struct MetadataLog {
    folder: PathBuf,
    pub(super) id: FileId,
    pub(super) file: Arc<PositionedFile>,
    len: u64,
    next_offset: i64,
    has_rest: bool,
    values: Values,
    values_bytes: u64,
}

/// What a metadata log holds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Read {
    pub(super) values: Values,
    pub(super) len: u64,
    next_offset: i64,
}

/// Reads a metadata log. What is left of a write that was cut off does not count; other damage is told.
pub(super) fn read<R: ReadAt + ?Sized>(source: &R, len: u64) -> io::Result<Result<Read, Damage>> {
    let mut values = Values::new();
    let mut unreadable = None;
    let recovered = recover(source, len, 0, true, |position, batch| {
        if !apply(&mut values, batch) {
            unreadable.get_or_insert_with(|| Damage {
                position,
                offset: batch.base_offset(),
                reason: "its records are not those of a metadata log".to_owned(),
            });
        }
    })?;
    Ok(match (recovered, unreadable) {
        (Err(damage), _) | (Ok(_), Some(damage)) => Err(damage),
        (Ok(recovered), None) => Ok(Read {
            values,
            len: recovered.len,
            next_offset: recovered.end_offset,
        }),
    })
}

fn apply(values: &mut Values, batch: &RecordBatch) -> bool {
    if !matches!(batch.codec(), Ok(Codec::None)) {
        return false;
    }
    let Ok(records) = batch.decode(&mut Decompressor::new(), MAX_DECOMPRESSED_BYTES) else {
        return false;
    };
    for record in records.records() {
        let Ok(record) = record else { return false };
        let Some(key) = record.key.filter(|key| Key::read(key).is_some()) else {
            return false;
        };
        match record.value {
            Some(value) => {
                let value = Bytes::copy_from_slice(value);
                values.insert(Bytes::copy_from_slice(key), value);
            }
            None => drop(values.remove(key)),
        }
    }
    true
}

impl MetadataLog {
    /// Opens the log in this folder, and begins it where there is none. The error for a log that is damaged is `damaged`'s.
    pub(super) fn open(
        folder: &Path,
        id: FileId,
        damaged: impl FnOnce(&Path, &Damage) -> io::Error,
    ) -> io::Result<Self> {
        // What was not done when the broker was killed was not to be relied on.
        match fs::remove_file(folder.join(NEW_FILE_NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let path = folder.join(FILE_NAME);
        let file = PositionedFile::open(&path, true).map_err(|error| at(&path, error))?;
        let len = file.len()?;
        let read = read(&file, len).map_err(|error| at(&path, error))?;
        let read = read.map_err(|damage| damaged(&path, &damage))?;
        if read.len < len {
            file.set_len(read.len)?;
        }
        file.sync()?;
        sync_folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            id,
            file: Arc::new(file),
            len: read.len,
            next_offset: read.next_offset,
            has_rest: false,
            values_bytes: read
                .values
                .iter()
                .map(|(key, value)| size(key, value))
                .sum(),
            values: read.values,
        })
    }

    pub(super) fn values(&self) -> &Values {
        &self.values
    }

    /// Writes changes, as a whole. After an error it is as if they had never come.
    pub(super) fn write(&mut self, changes: &[Change]) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let batch = batch_of(changes, self.next_offset)?;
        if self.has_rest {
            self.file.set_len(self.len)?;
            self.has_rest = false;
        }
        let written = self.file.write_all_at(&batch, self.len);
        if let Err(error) = written {
            self.has_rest = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len += batch.len() as u64;
        self.next_offset += i64::try_from(changes.len()).map_err(io::Error::other)?;
        for change in changes {
            let key = Bytes::copy_from_slice(&change.key);
            let value = change.value.as_deref().map(Bytes::copy_from_slice);
            self.set(key, value);
        }
        Ok(())
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        let before = match value {
            Some(value) => {
                self.values_bytes += size(&key, &value);
                self.values.insert(key.clone(), value)
            }
            None => self.values.remove(&key),
        };
        if let Some(before) = before {
            self.values_bytes -= size(&key, &before);
        }
    }

    /// Whether most of the file is outdated.
    pub(super) fn is_outdated(&self) -> bool {
        self.len > LEAST_BYTES.max(self.values_bytes.saturating_mul(OUTDATED_TIMES))
    }

    /// Forgets the keys that are not wanted: what the file says of them is not written again.
    pub(super) fn forget(&mut self, is_wanted: impl Fn(&Key) -> bool) {
        self.values
            .retain(|key, _| Key::read(key).is_some_and(|key| is_wanted(&key)));
        let sizes = self.values.iter().map(|(key, value)| size(key, value));
        self.values_bytes = sizes.sum();
    }

    /// Writes the file anew, as it would be had every key been written once. What was written before is on the disk then.
    pub(super) fn rewrite(&mut self) -> io::Result<()> {
        let new_path = self.folder.join(NEW_FILE_NAME);
        let file = PositionedFile::open(&new_path, true)?;
        file.set_len(0)?;
        let (mut len, mut next_offset) = (0, 0);
        let mut records: Vec<(&[u8], Option<&[u8]>)> = Vec::new();
        let mut bytes = 0;
        let mut write = |records: &mut Vec<(&[u8], Option<&[u8]>)>| -> io::Result<()> {
            let batch = batch(records.iter().copied(), next_offset)?;
            file.write_all_at(&batch, len)?;
            len += batch.len() as u64;
            next_offset += i64::try_from(records.len()).map_err(io::Error::other)?;
            records.clear();
            Ok(())
        };
        for (key, value) in &self.values {
            records.push((key, Some(value)));
            bytes += key.len() + value.len();
            if bytes >= BATCH_BYTES {
                write(&mut records)?;
                bytes = 0;
            }
        }
        if !records.is_empty() {
            write(&mut records)?;
        }
        file.sync()?;
        fs::rename(&new_path, self.folder.join(FILE_NAME))?;
        (self.len, self.next_offset) = (len, next_offset);
        self.file = Arc::new(file);
        self.has_rest = false;
        sync_folder(&self.folder)
    }
}

fn size(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64 + RECORD_OVERHEAD
}

/// Changes as they stand in the log.
pub(super) fn batch_of(changes: &[Change], base_offset: i64) -> io::Result<Vec<u8>> {
    let records = changes
        .iter()
        .map(|change| (change.key.as_slice(), change.value.as_deref()));
    batch(records, base_offset)
}

fn batch<'a>(
    records: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    base_offset: i64,
) -> io::Result<Vec<u8>> {
    let mut builder = BatchBuilder::new(Vec::new());
    for (key, value) in records {
        builder
            .append(0, Some(key), value, [])
            .map_err(io::Error::other)?;
    }
    let sealed = builder.seal(
        &SealOptions::default(),
        &mut Compressor::new(Compression::NONE),
    );
    let mut bytes = sealed.into_bytes().to_vec();
    assign_offsets(&mut bytes, base_offset, 0).map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::storage::directory::TestFolder;
    use crate::broker::storage::directory::records::number_to_bytes;

    fn open(folder: &TestFolder) -> MetadataLog {
        let damaged = |_: &Path, damage: &Damage| panic!("{damage:?}");
        MetadataLog::open(folder.path(), 1, damaged).expect("opened")
    }

    fn put(id: &str, number: i64) -> Change {
        let key = Key::Transaction(id.to_owned());
        Change::put(&key, &number_to_bytes(number))
    }

    #[test]
    fn the_newest_values_are_there_again_and_lists_of_changes_are_whole_whereever_the_file_ends() {
        let folder = TestFolder::new();
        let mut log = open(&folder);
        let mut versions = vec![(0, Values::new())];
        for round in 0..6 {
            let gone = Change::remove(&Key::Transaction(format!("b{}", round - 1)));
            let changes = [put("a", round), put(&format!("b{round}"), round), gone];
            log.write(&changes).expect("written");
            versions.push((log.len, log.values.clone()));
        }
        drop(log);
        let bytes = fs::read(folder.path().join(FILE_NAME)).expect("read");
        for cut in 0..=bytes.len() {
            let read = read(&bytes[..cut], cut as u64)
                .expect("no error")
                .expect("no damage");
            let last = versions.iter().rfind(|(len, _)| *len <= cut as u64);
            let (len, values) = last.expect("the first is empty");
            assert_eq!((read.len, &read.values), (*len, values), "cut at {cut}");
        }
        assert_eq!(open(&folder).values, versions[6].1);
    }

    #[test]
    fn a_file_that_is_mostly_outdated_is_written_anew_and_goes_on() {
        let folder = TestFolder::new();
        let mut log = open(&folder);
        let mut round = 0;
        while !log.is_outdated() {
            log.write(&[put("a", round), put("b", -round)])
                .expect("written");
            round += 1;
        }
        let values = log.values.clone();
        log.rewrite().expect("written");
        assert!(log.len < 300 && !log.is_outdated());
        log.write(&[put("c", 1)]).expect("written");
        drop(log);
        let log = open(&folder);
        assert_eq!((log.values.len(), values.len()), (3, 2));
        assert!(
            values
                .iter()
                .all(|(key, value)| log.values.get(key) == Some(value))
        );
    }
}
