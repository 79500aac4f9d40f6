//! What makes writes last: one thread for each data directory, which brings to the disk what was written, many appends at once.
//!
//! In: which files were written, and by which policy. Out: up to which write all is on the disk. While one round is under way, the writes of all
//! others gather for the next: the more there are, the more share one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::files::{FileId, PositionedFile};
use crate::broker::lock;

/// Files that may wait to be flushed; whoever writes to more waits for a round.
const MOST_DIRTY: usize = 128;
/// Files that are flushed at the same time: a disk, and the journal of a file system, do several as fast as one.
const AT_ONCE: usize = 8;

/// When a broker with a data directory waits for the disk.
///
/// Whatever the policy, everything is handed to the operating system before it is acknowledged: a broker that is killed loses nothing, by any signal and
/// at any time. The policy is about machines that fail: a loss of power, or an operating system that crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FsyncPolicy {
    /// Nothing is answered before all that the answer rests on is on the disk: neither what was acknowledged with `acks` of 1 or all is lost, nor what a consumer
    /// has seen, nor a committed offset or a topic. Appends of all clients share rounds of `fsync`. The default.
    #[default]
    Always,
    /// Rounds of `fsync` in this interval: a machine that fails loses what was written in the last one.
    Interval(Duration),
    /// The operating system decides, as with Kafka's defaults.
    Never,
}

/// How far the disk has come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Writes that are on the disk.
    flushed: u64,
    failed: bool,
    ended: bool,
}

/// The data directory takes nothing more until the broker is started again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsettled;

#[derive(Debug)]
pub(super) struct Flusher {
    policy: FsyncPolicy,
    state: Mutex<State>,
    /// Tells the thread that there is something to do.
    work: Condvar,
    /// Tells whoever has to wait for room that there may be some.
    room: Condvar,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct State {
    /// Writes so far.
    written: u64,
    dirty: BTreeMap<FileId, Arc<PositionedFile>>,
    folders: BTreeSet<PathBuf>,
    dirty_since: Option<Instant>,
    closing: bool,
    failed: bool,
}

impl Flusher {
    pub(super) fn new(policy: FsyncPolicy) -> Self {
        Self {
            policy,
            state: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            progress: watch::Sender::new(Progress::default()),
        }
    }

    /// Takes note of a write. Waits when many files have to be flushed already.
    pub(super) fn wrote(&self, id: FileId, file: &Arc<PositionedFile>) {
        self.note(|state| {
            state.dirty.insert(id, file.clone());
        });
    }

    /// Takes note of a folder in which a file has come, has gone, or has got another name.
    pub(super) fn changed(&self, folder: &Path) {
        // Elsewhere folders cannot be flushed.
        if cfg!(unix) {
            self.note(|state| {
                state.folders.insert(folder.to_owned());
            });
        }
    }

    fn note(&self, note: impl FnOnce(&mut State)) {
        if self.policy == FsyncPolicy::Never {
            return;
        }
        let mut state = lock(&self.state);
        while state.waiting() >= MOST_DIRTY && !state.failed && !state.closing {
            self.work.notify_one();
            state = wait(&self.room, state);
        }
        let is_first = state.waiting() == 0;
        note(&mut state);
        state.written += 1;
        state.dirty_since.get_or_insert_with(Instant::now);
        if is_first || state.waiting() >= MOST_DIRTY || self.policy == FsyncPolicy::Always {
            self.work.notify_one();
        }
    }

    /// Whether nothing more is taken.
    pub(super) fn is_over(&self) -> bool {
        let state = lock(&self.state);
        state.failed || state.closing
    }

    /// Waits until everything that was written before is on the disk, if that is the policy. Cancel safe.
    pub(super) async fn settled(&self) -> Result<(), Unsettled> {
        if self.policy != FsyncPolicy::Always {
            return Ok(());
        }
        let written = lock(&self.state).written;
        if self.progress.borrow().flushed >= written {
            return Ok(());
        }
        let mut progress = self.progress.subscribe();
        let is_over = |it: &Progress| it.flushed >= written || it.failed || it.ended;
        match progress.wait_for(is_over).await {
            Ok(it) if it.flushed >= written => Ok(()),
            _ => Err(Unsettled),
        }
    }

    /// As [`settled`](Self::settled), for threads that may wait.
    pub(super) fn settle(&self) -> Result<(), Unsettled> {
        if self.policy != FsyncPolicy::Always {
            return Ok(());
        }
        let mut state = lock(&self.state);
        let written = state.written;
        loop {
            if self.progress.borrow().flushed >= written {
                return Ok(());
            }
            if state.failed || self.progress.borrow().ended {
                return Err(Unsettled);
            }
            state = wait(&self.room, state);
        }
    }

    /// Takes nothing more; the thread ends once what was written is on the disk.
    pub(super) fn close(&self) {
        lock(&self.state).closing = true;
        self.work.notify_one();
        self.room.notify_all();
    }

    /// Waits for the end of the thread. Cancel safe.
    pub(super) async fn ended(&self) {
        let mut progress = self.progress.subscribe();
        // The sender is ours, so it is there.
        let _ = progress.wait_for(|it| it.ended).await;
    }

    /// What the thread does: rounds, until it is closed. `failed` hears of a round that failed: what was written is not known to be on the disk then, and
    /// never will be, as operating systems say so but once.
    pub(super) fn run(&self, failed: impl Fn(io::Error)) {
        while let Some(round) = self.next_round() {
            let outcome = round.flush();
            let mut state = lock(&self.state);
            match outcome {
                Ok(()) => self.progress.send_modify(|it| it.flushed = round.written),
                Err(error) => {
                    state.failed = true;
                    self.progress.send_modify(|it| it.failed = true);
                    drop(state);
                    failed(error);
                }
            }
            self.room.notify_all();
        }
    }

    /// Says that the thread is at its end, and what it held is free.
    pub(super) fn end(&self) {
        let _state = lock(&self.state);
        self.progress.send_modify(|it| it.ended = true);
        self.room.notify_all();
    }

    /// What has to be flushed next, once it is time; none at the end.
    fn next_round(&self) -> Option<Round> {
        let mut state = lock(&self.state);
        loop {
            if state.waiting() == 0 || state.failed {
                if state.closing {
                    return None;
                }
                state = wait(&self.work, state);
                continue;
            }
            match self.pause(&state) {
                Some(pause) => {
                    let waited = self.work.wait_timeout(state, pause);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => break,
            }
        }
        state.dirty_since = None;
        Some(Round {
            written: state.written,
            files: std::mem::take(&mut state.dirty).into_values().collect(),
            folders: std::mem::take(&mut state.folders),
        })
    }

    fn pause(&self, state: &State) -> Option<Duration> {
        let FsyncPolicy::Interval(interval) = self.policy else {
            return None;
        };
        if state.closing || state.waiting() >= MOST_DIRTY {
            return None;
        }
        let passed = state.dirty_since.map(|since| since.elapsed());
        interval
            .checked_sub(passed.unwrap_or_default())
            .filter(|left| !left.is_zero())
    }
}

impl State {
    fn waiting(&self) -> usize {
        self.dirty.len() + self.folders.len()
    }
}

struct Round {
    written: u64,
    files: Vec<Arc<PositionedFile>>,
    folders: BTreeSet<PathBuf>,
}

impl Round {
    fn flush(&self) -> io::Result<()> {
        let threads = self.files.len().clamp(1, AT_ONCE);
        let share = self.files.len().div_ceil(threads).max(1);
        let flush = |files: &[Arc<PositionedFile>]| files.iter().try_for_each(|file| file.sync());
        let mut shares = self.files.chunks(share);
        let ours = shares.next().unwrap_or_default();
        std::thread::scope(|scope| {
            let others: Vec<_> = shares
                .map(|share| scope.spawn(move || flush(share)))
                .collect();
            let mut outcome = flush(ours);
            for other in others {
                let panicked = |_| Err(io::Error::other("flushing panicked"));
                outcome = outcome.and(other.join().unwrap_or_else(panicked));
            }
            outcome
        })?;
        self.folders
            .iter()
            .try_for_each(|folder| sync_folder(folder))
    }
}

/// Waits until the names in a folder are on the disk. A folder that is gone has none.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder) {
        Ok(folder) => folder.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition
        .wait(guard)
        .unwrap_or_else(PoisonError::into_inner)
}
