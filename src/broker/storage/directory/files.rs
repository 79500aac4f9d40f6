//! Files that are read and written at positions, of which only so many are open at once.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::broker::lock;

/// How many files are kept open for whoever needs them next: macOS lets a process have 256.
const MOST_OPEN: usize = 128;

/// What is read at positions. A whole segment in memory is one, too.
pub(crate) trait ReadAt {
    /// Fills `buffer` as far as there is something from `position` on; returns how far.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        let rest = self.get(position..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct PositionedFile {
    file: File,
    /// Where a file has but one position, it is moved by one at a time.
    #[cfg(not(unix))]
    turn: Mutex<()>,
}

impl PositionedFile {
    /// Opens a file to read and write, and creates it if that is wanted and it is not there.
    pub(super) fn open(path: &Path, create: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create);
        Ok(Self {
            file: options.open(path)?,
            #[cfg(not(unix))]
            turn: Mutex::new(()),
        })
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Cuts it off, or adds zeros.
    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    /// Waits until all that was written is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[cfg(unix)]
    pub(super) fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, position)
    }

    #[cfg(not(unix))]
    pub(super) fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        use std::io::{Seek, SeekFrom, Write};
        let _turn = lock(&self.turn);
        (&self.file).seek(SeekFrom::Start(position))?;
        (&self.file).write_all(bytes)
    }

    #[cfg(unix)]
    fn read_some(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, position)
    }

    #[cfg(not(unix))]
    fn read_some(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        use std::io::{Read, Seek, SeekFrom};
        let _turn = lock(&self.turn);
        (&self.file).seek(SeekFrom::Start(position))?;
        (&self.file).read(buffer)
    }
}

impl ReadAt for PositionedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_some(&mut buffer[done..], position + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// A file's number, given once.
pub(super) type FileId = u64;

/// The files that are open, by their number.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// With the turn in which each was last asked for.
    files: HashMap<FileId, (Arc<PositionedFile>, u64)>,
    turn: u64,
    last_id: FileId,
}

impl OpenFiles {
    /// A number for another file.
    pub(super) fn next_id(&self) -> FileId {
        let mut inner = lock(&self.inner);
        inner.last_id += 1;
        inner.last_id
    }

    /// The open file of this number; opens the one at `path` where none is open.
    pub(super) fn get(
        &self,
        id: FileId,
        path: &Path,
        create: bool,
    ) -> io::Result<Arc<PositionedFile>> {
        if let Some(file) = lock(&self.inner).used(id) {
            return Ok(file);
        }
        let file = Arc::new(PositionedFile::open(path, create)?);
        lock(&self.inner).opened(id, &file);
        Ok(file)
    }

    /// Closes a file, as soon as nobody uses it any more.
    pub(super) fn close(&self, id: FileId) {
        lock(&self.inner).files.remove(&id);
    }
}

impl Inner {
    fn used(&mut self, id: FileId) -> Option<Arc<PositionedFile>> {
        self.turn += 1;
        let (file, used) = self.files.get_mut(&id)?;
        *used = self.turn;
        Some(file.clone())
    }

    fn opened(&mut self, id: FileId, file: &Arc<PositionedFile>) {
        if self.files.len() >= MOST_OPEN {
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used);
            let oldest = oldest.map(|(id, _)| *id);
            oldest.and_then(|id| self.files.remove(&id));
        }
        self.files.insert(id, (file.clone(), self.turn));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_files_are_open_and_each_can_be_read_again() {
        let folder = crate::broker::storage::directory::TestFolder::new();
        let files = OpenFiles::default();
        let path = |number: u64| folder.path().join(number.to_string());
        let ids: Vec<_> = (0..2 * MOST_OPEN).map(|_| files.next_id()).collect();
        for id in &ids {
            let file = files.get(*id, &path(*id), true).expect("created");
            file.write_all_at(&id.to_be_bytes(), 3).expect("written");
        }
        assert_eq!(lock(&files.inner).files.len(), MOST_OPEN);
        for id in &ids {
            let file = files.get(*id, &path(*id), false).expect("there");
            let mut buffer = [0; 20];
            assert_eq!(file.read_at(&mut buffer, 3).expect("read"), 8);
            assert_eq!(buffer[..8], id.to_be_bytes());
        }
    }
}
