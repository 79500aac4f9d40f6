//! Which partitions are read by readers of their own, what each has returned that is not finished, and which of them have to end. Sans-IO, but
//! for whom it wakes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::kafka::consumer::OffsetAndMetadata;
use crate::kafka::{Error, TopicPartition};

/// How long a reader that has something to read may leave it unread, where others need the memory.
pub(in crate::kafka::consumer) const STALLED_AFTER: Duration = Duration::from_millis(100);
/// How many errors are kept until somebody asks.
const ERRORS_KEPT: usize = 100;

/// The readers of a consumer's partitions.
#[derive(Debug)]
pub(crate) struct Readers {
    by_partition: BTreeMap<TopicPartition, Reading>,
    /// To be handed to the application.
    offered: VecDeque<TopicPartition>,
    /// What is wrong, with no partition in particular or with one that nobody reads.
    errors: VecDeque<Error>,
    /// Those of which something was fetched since readers were last woken.
    fetched: Vec<TopicPartition>,
    last_number: u64,
    /// How long a reader may take to finish once its partition is to go.
    pub drain: Duration,
    /// Wakes whoever waits for a reader.
    pub news: Arc<Notify>,
    /// Wakes whoever waits for readers to be over.
    pub drained: Arc<Notify>,
}

/// One partition.
#[derive(Debug)]
struct Reading {
    /// No other reader has it, not even of the same partition.
    number: u64,
    taken: bool,
    wakeup: Arc<Notify>,
    /// The position before what was returned and is not finished.
    unfinished: Option<OffsetAndMetadata>,
    error: Option<Error>,
    revoked: bool,
    /// Since when the application does not ask for more.
    busy_since: Option<Instant>,
}

/// A reader, as the application takes it.
pub(super) struct Taken {
    pub partition: TopicPartition,
    pub number: u64,
    pub wakeup: Arc<Notify>,
}

/// What a reader is to do.
pub(super) enum Standing {
    Read,
    Fail(Error),
    End,
}

/// What a reader leaves behind.
pub(super) enum Left {
    /// The partition goes, or has gone.
    Nothing,
    /// Another is to read on, from before what was not finished.
    Again(Option<OffsetAndMetadata>),
}

impl Readers {
    pub fn new(drain: Duration) -> Self {
        Self {
            by_partition: BTreeMap::new(),
            offered: VecDeque::new(),
            errors: VecDeque::new(),
            fetched: Vec::new(),
            last_number: 0,
            drain,
            news: Arc::default(),
            drained: Arc::default(),
        }
    }

    /// These are there to be read, those that were not before.
    pub fn offer<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
        now: Instant,
    ) {
        for partition in partitions {
            if self.by_partition.contains_key(partition) {
                continue;
            }
            self.last_number += 1;
            let reading = Reading {
                number: self.last_number,
                taken: false,
                wakeup: Arc::default(),
                unfinished: None,
                error: None,
                revoked: false,
                busy_since: Some(now),
            };
            self.by_partition.insert(partition.clone(), reading);
            self.offered.push_back(partition.clone());
        }
        self.news.notify_waiters();
    }

    /// Takes the next that is offered.
    pub(super) fn take(&mut self) -> Option<Taken> {
        while let Some(partition) = self.offered.pop_front() {
            if let Some(reading) = self.by_partition.get_mut(&partition)
                && !std::mem::replace(&mut reading.taken, true)
            {
                return Some(Taken {
                    partition,
                    number: reading.number,
                    wakeup: reading.wakeup.clone(),
                });
            }
        }
        None
    }

    pub fn wake(&self, partition: &TopicPartition) {
        if let Some(reading) = self.by_partition.get(partition) {
            reading.wakeup.notify_one();
        }
    }

    /// Something of the partition was fetched: its reader is [woken](Self::wake_fetched) in a moment.
    pub fn fetched(&mut self, partition: &TopicPartition) {
        self.fetched.push(partition.clone());
    }

    /// Wakes those of whose partitions something was fetched.
    pub fn wake_fetched(&mut self) {
        for partition in std::mem::take(&mut self.fetched) {
            self.wake(&partition);
        }
    }

    pub fn wake_all(&self) {
        let all = self.by_partition.values();
        all.for_each(|reading| reading.wakeup.notify_one());
        self.news.notify_waiters();
    }

    /// Tells the reader of the partition that `error` is about, or whoever asks for the next reader.
    pub fn tell(&mut self, error: Error) {
        let about = error.partition().cloned();
        let reading = about.and_then(|partition| self.by_partition.get_mut(&partition));
        match reading.filter(|reading| reading.taken) {
            Some(reading) => {
                reading.error = Some(error);
                reading.wakeup.notify_one();
            }
            None => {
                if self.errors.len() == ERRORS_KEPT {
                    self.errors.pop_front();
                }
                self.errors.push_back(error);
                self.news.notify_waiters();
            }
        }
    }

    pub(super) fn take_error(&mut self) -> Option<Error> {
        self.errors.pop_front()
    }

    /// These partitions go: their readers are to end.
    pub fn revoke(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            match self.by_partition.get_mut(partition) {
                Some(reading) if reading.taken => {
                    reading.revoked = true;
                    reading.wakeup.notify_one();
                }
                _ => drop(self.by_partition.remove(partition)),
            }
        }
    }

    /// Whether any of these is read still.
    pub fn any_of(&self, partitions: &[TopicPartition]) -> bool {
        let mut partitions = partitions.iter();
        partitions.any(|partition| self.by_partition.contains_key(partition))
    }

    /// The partition is gone.
    pub fn end(&mut self, partition: &TopicPartition) {
        if let Some(reading) = self.by_partition.remove(partition) {
            reading.wakeup.notify_one();
        }
    }

    /// All are gone.
    pub fn clear(&mut self) {
        self.wake_all();
        self.by_partition.clear();
        self.offered.clear();
    }

    fn of(&mut self, partition: &TopicPartition, number: u64) -> Option<&mut Reading> {
        let reading = self.by_partition.get_mut(partition);
        reading.filter(|reading| reading.number == number)
    }

    /// What the reader of this number is to do now.
    pub(super) fn standing(&mut self, partition: &TopicPartition, number: u64) -> Standing {
        match self.of(partition, number) {
            None => Standing::End,
            Some(reading) if reading.revoked => Standing::End,
            Some(reading) => match reading.error.take() {
                Some(error) => Standing::Fail(error),
                None => Standing::Read,
            },
        }
    }

    /// All that the reader has returned is finished.
    pub(super) fn finish(&mut self, partition: &TopicPartition, number: u64) {
        if let Some(reading) = self.of(partition, number) {
            reading.unfinished = None;
        }
    }

    /// The reader waits for something to read, or is busy with it.
    pub(super) fn set_busy(
        &mut self,
        partition: &TopicPartition,
        number: u64,
        busy: Option<Instant>,
    ) {
        if let Some(reading) = self.of(partition, number) {
            reading.busy_since = busy;
        }
    }

    /// What is behind `position` is handed out, and not finished.
    pub fn hand_out(
        &mut self,
        partition: &TopicPartition,
        position: impl FnOnce() -> Option<OffsetAndMetadata>,
    ) {
        if let Some(reading) = self.by_partition.get_mut(partition)
            && reading.unfinished.is_none()
        {
            reading.unfinished = position();
        }
    }

    /// The position before what was returned and is not finished, if anything is.
    pub fn unfinished(&self, partition: &TopicPartition) -> Option<&OffsetAndMetadata> {
        self.by_partition.get(partition)?.unfinished.as_ref()
    }

    /// The application has dropped the reader.
    pub(super) fn dropped(&mut self, partition: &TopicPartition, number: u64) -> Left {
        match self.of(partition, number) {
            None => Left::Nothing,
            Some(reading) if reading.revoked => {
                self.by_partition.remove(partition);
                self.drained.notify_waiters();
                Left::Nothing
            }
            Some(reading) => {
                reading.taken = false;
                let unfinished = reading.unfinished.take();
                self.offered.push_back(partition.clone());
                self.news.notify_waiters();
                Left::Again(unfinished)
            }
        }
    }

    /// The partitions that are left unread for long.
    pub fn stalled(&self, now: Instant) -> impl Iterator<Item = &TopicPartition> {
        let stalls = move |since: Instant| now.saturating_duration_since(since) >= STALLED_AFTER;
        let all = self.by_partition.iter();
        all.filter(move |(_, reading)| reading.busy_since.is_some_and(stalls))
            .map(|(partition, _)| partition)
    }
}
