//! A broker's data directory: everything of it that outlives its process.
//!
//! ```text
//! DIR/.lock                                    held by the one process that uses it
//! DIR/meta.properties                          what this is, its version, the cluster's id
//! DIR/metadata.log                             topics, offsets, users and the like: keys and values
//! DIR/TOPIC-PARTITION/partition.metadata       the topic's id
//! DIR/TOPIC-PARTITION/00000000000000000000.log record batches, from this offset on
//! ```
//!
//! - `store`: a partition's folder, as a [`LogStore`](super::LogStore); `segment`: one file of it; `read`: reading without the partition's lock
//! - `scan`: what of a file is whole; `metadata`: the metadata log; `records`: what stands in it
//! - `files`: those that are open; `flusher`: what brings them to the disk
//!
//! Whatever fails is said: to the client, as KAFKA_STORAGE_ERROR, and in [`problem`](DataDir::problem). A write that fails leaves nothing behind, and the next
//! is tried as if it were the first: a disk that was full may have room again. A failed `fsync` is the end: what was written before may be lost.

mod files;
mod flusher;
#[cfg(fuzzing)]
pub mod fuzzing;
mod metadata;
mod read;
mod records;
mod scan;
mod segment;
mod store;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use protocol::Uuid;

use crate::broker::lock;
use files::{FileId, OpenFiles, PositionedFile};
use flusher::{Flusher, sync_folder};
use metadata::MetadataLog;
use scan::Damage;
use store::{at, topic_id_of};

pub use flusher::FsyncPolicy;
pub(crate) use flusher::Unsettled;
pub(crate) use read::FileRead;
pub(crate) use records::{
    AclNote, Change, GroupConfigNote, Key, OffsetNote, PartitionNote, PendingOffsetNote, ScramNote,
    TopicNote, TransactionNote, flag_to_bytes, number_to_bytes, read_flag, read_number,
};
pub(crate) use store::{DirectoryStore, PartitionFolder};

const LOCK_NAME: &str = ".lock";
const PROPERTIES_NAME: &str = "meta.properties";
const FORMAT: &str = "pat-events-broker";
const VERSION: u32 = 1;
/// What file systems put into folders of their own.
const NOT_OURS: [&str; 2] = ["lost+found", ".DS_Store"];

/// A data directory in use.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    cluster_id: String,
    files: OpenFiles,
    flusher: Flusher,
    metadata: Mutex<MetadataLog>,
    /// Held until the thread that flushes has ended.
    in_use: Mutex<Option<File>>,
    problem: Mutex<Option<String>>,
    has_problem: AtomicBool,
}

impl DataDir {
    /// Takes a directory into use, and creates it where there is none, for a cluster of this id then. Blocks.
    ///
    /// # Errors
    /// When another process uses it, when it is no data directory, when it is of a newer version, when something in it is damaged, when the rights are missing:
    /// the text says what, and what to do.
    pub(crate) fn open(path: &Path, policy: FsyncPolicy, new_id: &str) -> io::Result<Arc<Self>> {
        fs::create_dir_all(path).map_err(|error| at(path, error))?;
        let path = fs::canonicalize(path).map_err(|error| at(path, error))?;
        check_ours(&path)?;
        let in_use = take_into_use(&path)?;
        let cluster_id = properties(&path, new_id)?;
        let files = OpenFiles::default();
        let metadata = MetadataLog::open(&path, files.next_id(), |path, damage| {
            damaged(path, damage, "or delete the whole directory to begin anew")
        })?;
        let dir = Arc::new(Self {
            path,
            cluster_id,
            files,
            flusher: Flusher::new(policy),
            metadata: Mutex::new(metadata),
            in_use: Mutex::new(Some(in_use)),
            problem: Mutex::new(None),
            has_problem: AtomicBool::new(false),
        });
        let of_thread = dir.clone();
        let thread = std::thread::Builder::new().name("broker-flusher".to_owned());
        thread.spawn(move || of_thread.flush())?;
        Ok(dir)
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.path
    }

    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// What keeps the broker from writing at present; for people.
    pub(crate) fn problem(&self) -> Option<String> {
        lock(&self.problem).clone()
    }

    /// All keys and values. Fails on what cannot be read.
    pub(crate) fn values(&self) -> io::Result<Vec<(Key, Vec<u8>)>> {
        let metadata = lock(&self.metadata);
        let read = |(key, value): (&bytes::Bytes, &bytes::Bytes)| {
            let key = Key::read(key).ok_or_else(|| self.unreadable("a key"))?;
            Ok((key, value.to_vec()))
        };
        metadata.values().iter().map(read).collect()
    }

    /// The error for a value that is not what it ought to be.
    pub(crate) fn unreadable(&self, what: &str) -> io::Error {
        let path = self.path.join(metadata::FILE_NAME);
        let text = format!(
            "{}: {what} cannot be read: was it written by a newer version?",
            path.display()
        );
        io::Error::new(io::ErrorKind::InvalidData, text)
    }

    /// Writes changes of keys, all or none.
    pub(crate) fn write(&self, changes: &[Change]) -> io::Result<()> {
        self.check()?;
        let mut metadata = lock(&self.metadata);
        let written = metadata.write(changes).and_then(|()| {
            match metadata.is_outdated() {
                // Of one that cannot be written anew now, nothing is lost.
                true => metadata.rewrite().or(Ok(())),
                false => Ok(()),
            }
        });
        let (id, file) = (metadata.id, metadata.file.clone());
        drop(metadata);
        match written {
            Ok(()) => {
                self.wrote(id, &file);
                Ok(())
            }
            Err(error) => Err(self.refused(&self.path.join(metadata::FILE_NAME), error)),
        }
    }

    /// Forgets the keys that are not wanted: they are not written again. What comes back at the next start has to be known as unwanted, then.
    pub(crate) fn forget(&self, is_wanted: impl Fn(&Key) -> bool) {
        lock(&self.metadata).forget(is_wanted);
    }

    /// Deletes the folders of topics that there are no more, or that were never known.
    pub(crate) fn clean(&self, is_known: impl Fn(&Uuid) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.path).map_err(|error| at(&self.path, error))? {
            let entry = entry.map_err(|error| at(&self.path, error))?;
            let (folder, name) = (entry.path(), entry.file_name());
            let is_partition = name
                .to_str()
                .and_then(|name| name.rsplit_once('-'))
                .is_some_and(|(_, index)| index.parse::<i32>().is_ok());
            if !is_partition || !folder.is_dir() {
                continue;
            }
            let is_wanted = match topic_id_of(&folder) {
                Some(id) => is_known(&id),
                // Killed when it had just begun, or what somebody else has put here.
                None if is_empty_but_metadata(&folder) => false,
                None => {
                    let text = "it has no readable partition.metadata, and files in it: put that file back, or move the folder away";
                    return Err(at(
                        &folder,
                        io::Error::new(io::ErrorKind::InvalidData, text),
                    ));
                }
            };
            if !is_wanted {
                fs::remove_dir_all(&folder).map_err(|error| at(&folder, error))?;
                self.flusher.changed(&self.path);
            }
        }
        Ok(())
    }

    /// Waits until what was written before is on the disk, if that is the policy. Cancel safe.
    pub(crate) async fn settled(&self) -> Result<(), Unsettled> {
        self.flusher.settled().await
    }

    /// As [`settled`](Self::settled), for threads that may wait.
    pub(crate) fn settle(&self) -> Result<(), Unsettled> {
        self.flusher.settle()
    }

    /// Takes nothing more. What was written is brought to the disk, and the directory is free then.
    pub(crate) fn close(&self) {
        self.flusher.close();
    }

    /// Waits for the end of that. Cancel safe.
    pub(crate) async fn closed(&self) {
        self.flusher.ended().await;
    }

    fn flush(&self) {
        self.flusher.run(|error| {
            let text = format!(
                "{}: what was written could not be brought to the disk ({error}), so nothing more is taken: look after the disk, and start the broker again",
                self.path.display()
            );
            *lock(&self.problem) = Some(text);
        });
        drop(lock(&self.in_use).take());
        self.flusher.end();
    }

    fn check(&self) -> io::Result<()> {
        match self.flusher.is_over() {
            true => Err(io::Error::other("nothing more is taken")),
            false => Ok(()),
        }
    }

    fn wrote(&self, id: FileId, file: &Arc<PositionedFile>) {
        self.flusher.wrote(id, file);
        if self.has_problem.swap(false, Ordering::Relaxed) && self.check().is_ok() {
            *lock(&self.problem) = None;
        }
    }

    /// Takes note of why something was not written.
    fn refused(&self, path: &Path, error: io::Error) -> io::Error {
        self.note_problem(path, &error);
        at(path, error)
    }

    fn note_problem(&self, path: &Path, error: &io::Error) {
        if self.check().is_ok() {
            *lock(&self.problem) = Some(format!("{}: {error}", path.display()));
            self.has_problem.store(true, Ordering::Relaxed);
        }
    }

    fn damaged(&self, path: &Path, damage: &Damage) -> io::Error {
        let cut = format!(
            "or cut it off there (truncate -s {} {}) to go on without that record and all after it",
            damage.position,
            path.display()
        );
        damaged(path, damage, &cut)
    }
}

fn damaged(path: &Path, damage: &Damage, otherwise: &str) -> io::Error {
    let text = format!(
        "{}: the batch at byte {}, of offset {}, is damaged: {}; put the file back from a copy, {otherwise}",
        path.display(),
        damage.position,
        damage.offset,
        damage.reason,
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Fails on a folder in which there is something else.
fn check_ours(path: &Path) -> io::Result<()> {
    if path.join(PROPERTIES_NAME).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(|error| at(path, error))? {
        let name = entry.map_err(|error| at(path, error))?.file_name();
        let may_be = |it: &&str| name == **it;
        // A broker that was killed as it began has left its lock.
        if !NOT_OURS
            .iter()
            .chain(&[LOCK_NAME, "meta.properties.new"])
            .any(may_be)
        {
            let text = format!(
                "{}: this is no data directory of this broker, and not empty ({} is in it): name another",
                path.display(),
                name.display(),
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    }
    Ok(())
}

fn take_into_use(path: &Path) -> io::Result<File> {
    let lock_path = path.join(LOCK_NAME);
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false);
    let file = options
        .open(&lock_path)
        .map_err(|error| at(&lock_path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let text = format!("{}: another broker uses this directory", path.display());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
        }
        Err(TryLockError::Error(error)) => Err(at(&lock_path, error)),
    }
}

/// Reads what the directory is, or writes it down. Returns the cluster's id.
fn properties(path: &Path, new_id: &str) -> io::Result<String> {
    let file = path.join(PROPERTIES_NAME);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = format!("format={FORMAT}\nversion={VERSION}\ncluster.id={new_id}\n");
            let new = path.join("meta.properties.new");
            let written = fs::write(&new, &text)
                .and_then(|()| OpenOptions::new().write(true).open(&new)?.sync_all())
                .and_then(|()| fs::rename(&new, &file))
                .and_then(|()| sync_folder(path));
            written.map_err(|error| at(&file, error))?;
            text
        }
        Err(error) => return Err(at(&file, error)),
    };
    let property = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines
            .clone()
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim())
    };
    let invalid = |text: String| {
        let text = format!("{}: {text}", file.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    if property("format") != Some(FORMAT) {
        let what =
            "this is no data directory of this broker (one of Apache Kafka's, maybe): name another";
        return Err(invalid(what.to_owned()));
    }
    let version = property("version").unwrap_or_default();
    match version.parse::<u32>() {
        Ok(VERSION) => {}
        Ok(newer) if newer > VERSION => {
            return Err(invalid(format!(
                "the directory has version {newer}, and this program reads up to {VERSION}: take the program that wrote it, or a newer one"
            )));
        }
        _ => return Err(invalid(format!("version={version} is no version"))),
    }
    let id = property("cluster.id").filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| invalid("cluster.id is missing".to_owned()))?;
    Ok(id.to_owned())
}

fn is_empty_but_metadata(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == "partition.metadata"))
}

/// A folder for one test, which goes with it.
#[cfg(test)]
pub(crate) struct TestFolder(PathBuf);

#[cfg(test)]
impl TestFolder {
    pub(crate) fn new() -> Self {
        use std::sync::atomic::AtomicU32;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pat-events-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // What a process of the same id has left.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder for temporary files");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
