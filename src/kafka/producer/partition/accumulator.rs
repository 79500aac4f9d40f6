//! One partition's records on their way into batches: the open batch that takes them, and closed ones that wait to be sent. No I/O.
//!
//! In: records, one after another. Out: batches, oldest first. An open batch closes when it is full, by bytes or by count, or when
//! whoever sends takes it as it is.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::records::{BatchBuilder, HEADER_LEN};
use tokio::time::Instant;

#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::producer::completion::{Completion, Part};
use crate::kafka::producer::memory::MemoryBudget;
use crate::kafka::producer::transaction::Failures;
use crate::kafka::runtime::Reservation;

/// The sender is told again when an open batch has twice as many bytes, but not for so few, and for so many more in any case.
const FEW_BYTES: usize = 1 << 10;
const MANY_BYTES: usize = 16 << 10;

/// The limits of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub batch_bytes: usize,
    pub batch_records: u32,
}

/// A batch that was never sent.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    pub builder: BatchBuilder,
    pub part: Part,
    /// When its first record came.
    pub opened: Instant,
    /// When it took its last record, at the latest: its delivery timeout runs from here, so that no record dies before its time.
    pub closed: Instant,
    /// Bytes of the budget that its memory counts for.
    pub charged: usize,
    /// How much of that was granted as room to spare.
    pub(super) spare: usize,
}

/// The batches of one partition that have not been sent.
#[derive(Debug)]
pub(crate) struct Accumulator {
    topic: Arc<str>,
    partition: i32,
    limits: Limits,
    open: Option<OpenBatch>,
    closed: VecDeque<OpenBatch>,
    /// Bytes in `closed`.
    closed_bytes: usize,
    /// The bytes of the last batch taken: the next one will be alike.
    usual_bytes: usize,
    /// From how many bytes on in the open batch the sender is told again.
    news_at: usize,
    accepted: u64,
    /// Where failures of batches are noted, if they are of transactions.
    failures: Option<Arc<Failures>>,
}

/// A record that was accepted.
#[derive(Debug)]
pub(crate) struct Appended {
    pub completion: Arc<Completion>,
    pub index: u32,
    /// The sender should know: something waits where nothing did, noticeably more than it knows of, or a full batch.
    pub is_news: bool,
}

/// Why a record was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// This many bytes of the budget are needed first.
    NeedMemory(usize),
    /// It does not fit into any batch.
    TooLarge,
}

impl Accumulator {
    pub fn new(topic: Arc<str>, partition: i32, limits: Limits) -> Self {
        Self {
            topic,
            partition,
            limits,
            open: None,
            closed: VecDeque::new(),
            closed_bytes: 0,
            usual_bytes: 0,
            news_at: 0,
            accepted: 0,
            failures: None,
        }
    }

    /// Notes failures of batches there, from now on: they are of transactions.
    pub fn note_failures(&mut self, failures: Arc<Failures>) {
        self.failures = Some(failures);
    }

    /// Accepts a record of at most `size` bytes, which `write` appends to a batch. Memory is charged to `reservation`, or to the budget.
    ///
    /// `now` is asked only for the first record of a batch.
    #[inline]
    pub fn append(
        &mut self,
        size: usize,
        memory: &MemoryBudget,
        reservation: Option<&mut Reservation>,
        now: impl Fn() -> Instant,
        write: impl FnOnce(&mut BatchBuilder) -> Option<u32>,
    ) -> Result<Appended, AppendError> {
        let fits = self.open.as_ref().is_some_and(|open| {
            open.builder.len() + size <= open.charged && self.has_room(&open.builder, size)
        });
        if !fits {
            self.make_room(size, memory, reservation, &now)?;
        }
        let Some(open) = &mut self.open else {
            return Err(AppendError::TooLarge);
        };
        let index = write(&mut open.builder).ok_or(AppendError::TooLarge)?;
        self.accepted += 1;
        if index == 0 && fits {
            // The batch was created long ago, if its first record did not come to be.
            open.opened = now();
        }
        let len = open.builder.len();
        let is_full = len >= self.limits.batch_bytes || index + 1 >= self.limits.batch_records;
        let is_news = is_full || index == 0 || len >= self.news_at;
        if is_news {
            self.news_at = (2 * len).clamp(FEW_BYTES, len + MANY_BYTES);
        }
        let completion = open.part.completion().clone();
        if is_full {
            self.close(now(), memory);
        }
        Ok(Appended {
            completion,
            index,
            is_news,
        })
    }

    fn has_room(&self, builder: &BatchBuilder, size: usize) -> bool {
        builder.count() < self.limits.batch_records
            && (builder.is_empty() || builder.len() + size <= self.limits.batch_bytes)
    }

    /// Leaves an open batch with memory for `size` more bytes.
    #[cold]
    fn make_room(
        &mut self,
        size: usize,
        memory: &MemoryBudget,
        mut reservation: Option<&mut Reservation>,
        now: impl Fn() -> Instant,
    ) -> Result<(), AppendError> {
        // A reservation is for the record alone: where there is no room to spare, the batch gets none.
        let mut charge = |needed: usize, wanted: usize| {
            let mut spend = |bytes| reservation.as_mut().is_some_and(|all| all.spend(bytes));
            if spend(wanted) || memory.try_charge(wanted) {
                Ok(wanted)
            } else if spend(needed) {
                Ok(needed)
            } else {
                Err(AppendError::NeedMemory(wanted))
            }
        };
        let room = self
            .open
            .as_ref()
            .is_some_and(|open| self.has_room(&open.builder, size));
        if !room {
            self.close(now(), memory);
        }
        if let Some(open) = &mut self.open {
            let needed = open.builder.len() + size;
            // Steps are long, so that little is copied.
            let wanted = memory.size_for(needed, 4 * open.charged, open.spare);
            let before = open.charged;
            open.charged += charge(needed - before, wanted - before)?;
            match memory.pooled(open.charged) {
                Some(larger) => memory.give(open.builder.move_to(larger)),
                None => open.builder.reserve(open.charged - open.builder.len()),
            }
            let spare = open.charged - needed;
            memory.grown(std::mem::replace(&mut open.spare, spare), spare);
            return Ok(());
        }
        let needed = HEADER_LEN + size;
        let usual = self.usual_bytes.min(self.limits.batch_bytes);
        let wanted = if needed > self.limits.batch_bytes / 2 {
            // A second record like this would not fit.
            needed
        } else {
            memory.size_for(needed, usual, 0)
        };
        let charged = charge(needed, wanted)?;
        memory.opened(charged - needed);
        let now = now();
        self.open = Some(OpenBatch {
            builder: BatchBuilder::new(memory.take(charged)),
            part: Part::whole_of(self.topic.clone(), self.partition, self.failures.clone()),
            opened: now,
            closed: now,
            charged,
            spare: charged - needed,
        });
        Ok(())
    }

    /// Closes the open batch, if there is one with records: it waits to be sent, without the memory that it does not need.
    pub fn close(&mut self, now: Instant, memory: &MemoryBudget) {
        self.shut(now, memory);
        if let Some(closed) = self.closed.back_mut()
            && closed.charged - closed.builder.len() > closed.charged / 16
        {
            closed.builder.shrink();
            memory.release(closed.charged - closed.builder.len());
            closed.charged = closed.builder.len();
        }
    }

    /// Closes the open batch if it was opened at `limit` or earlier, though it cannot be sent: what comes later gets a batch of its own.
    pub fn close_old(&mut self, limit: Instant, now: Instant, memory: &MemoryBudget) {
        if self.open.as_ref().is_some_and(|open| open.opened <= limit) {
            self.close(now, memory);
        }
    }

    /// Closes the open batch, if there is one with records: it is about to be sent.
    pub fn shut(&mut self, now: Instant, memory: &MemoryBudget) {
        if let Some(open) = self.take_open(now, memory) {
            self.closed_bytes += open.builder.len();
            self.closed.push_back(open);
        }
    }

    /// The open batch, if there is one with records.
    #[inline]
    fn take_open(&mut self, now: Instant, memory: &MemoryBudget) -> Option<OpenBatch> {
        let mut open = self.open.take_if(|open| !open.builder.is_empty())?;
        memory.shut(open.spare);
        open.closed = now;
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::TimeOfFirstRecord) {
            open.closed = open.opened;
        }
        Some(open)
    }

    /// From now on, a batch with more than one record has at most so many bytes.
    pub fn limit(&mut self, batch_bytes: usize) {
        self.limits.batch_bytes = batch_bytes;
    }

    /// The most bytes in a batch with more than one record.
    pub fn batch_bytes(&self) -> usize {
        self.limits.batch_bytes
    }

    /// The oldest batch: closed, or open as it is.
    pub fn take(&mut self, now: Instant, memory: &MemoryBudget) -> Option<OpenBatch> {
        let batch = match self.closed.pop_front() {
            Some(closed) => {
                self.closed_bytes -= closed.builder.len();
                closed
            }
            None => self.take_open(now, memory)?,
        };
        self.usual_bytes = batch.builder.len();
        Some(batch)
    }

    /// The batches that were closed at `limit` or earlier, which is too long ago for each of their records.
    pub fn expire(&mut self, limit: Instant, memory: &MemoryBudget) -> Vec<OpenBatch> {
        let mut expired = Vec::new();
        while self
            .closed
            .front()
            .is_some_and(|batch| batch.closed <= limit)
        {
            expired.extend(self.take(limit, memory));
        }
        expired
    }

    /// How many bytes the next batch has.
    pub fn next_bytes(&self) -> usize {
        match (self.closed.front(), &self.open) {
            (Some(closed), _) => closed.builder.len(),
            (None, Some(open)) if !open.builder.is_empty() => open.builder.len(),
            _ => 0,
        }
    }

    /// Bytes waiting, closed or not.
    pub fn bytes(&self) -> usize {
        let open = self.open.as_ref().filter(|open| !open.builder.is_empty());
        self.closed_bytes + open.map_or(0, |open| open.builder.len())
    }

    /// When the oldest batch that waits was opened.
    pub fn oldest(&self) -> Option<Instant> {
        let open = self.open.as_ref().filter(|open| !open.builder.is_empty());
        self.closed.front().or(open).map(|batch| batch.opened)
    }

    /// Whether a batch is closed: full, or to be flushed.
    pub fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    /// Records accepted since the beginning.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(batch_bytes: usize, batch_records: u32) -> Limits {
        Limits {
            batch_bytes,
            batch_records,
        }
    }

    fn put(
        accumulator: &mut Accumulator,
        memory: &MemoryBudget,
        bytes: usize,
    ) -> Result<Appended, AppendError> {
        let value = vec![7; bytes];
        let size = BatchBuilder::record_size(0, bytes, []);
        accumulator.append(size, memory, None, Instant::now, |builder| {
            builder.append(0, None, Some(&value), []).ok()
        })
    }

    #[test]
    fn a_batch_closes_by_bytes_and_by_count() {
        let memory = MemoryBudget::new(1 << 20, 64 << 10);
        let mut by_bytes = Accumulator::new("t".into(), 0, limits(1_000, u32::MAX));
        let mut by_count = Accumulator::new("t".into(), 0, limits(1 << 20, 3));
        for _ in 0..9 {
            put(&mut by_bytes, &memory, 300).unwrap();
            put(&mut by_count, &memory, 300).unwrap();
        }
        let counts = |accumulator: &mut Accumulator| {
            std::iter::from_fn(|| accumulator.take(Instant::now(), &memory))
                .map(|batch| {
                    assert!(batch.builder.len() <= 1_000);
                    batch.builder.count()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(&mut by_bytes).iter().sum::<u32>(), 9);
        assert_eq!(counts(&mut by_count), [3, 3, 3]);
    }

    #[test]
    fn the_sender_is_told_of_the_first_record_of_noticeably_more_bytes_and_of_a_full_batch() {
        let memory = MemoryBudget::new(1 << 20, 64 << 10);
        let mut accumulator = Accumulator::new("t".into(), 0, limits(64 << 10, u32::MAX));
        let mut told_at = Vec::new();
        for _ in 0..80 {
            let appended = put(&mut accumulator, &memory, 1_000).unwrap();
            let bytes = accumulator.bytes() as u32;
            told_at.extend(appended.is_news.then_some(bytes));
        }
        let thousands: Vec<_> = told_at.iter().map(|bytes| bytes / 1_000).collect();
        assert_eq!(thousands[..6], [1, 3, 7, 15, 31, 48], "{told_at:?}");
        assert!(accumulator.has_closed());
    }

    #[test]
    fn memory_is_charged_as_a_batch_grows_and_a_record_without_room_leaves_no_trace() {
        let memory = MemoryBudget::new(160 << 10, 64 << 10);
        let mut accumulator = Accumulator::new("t".into(), 0, limits(64 << 10, u32::MAX));
        put(&mut accumulator, &memory, 100).unwrap();
        assert_eq!(memory.charged(), 16 << 10);
        put(&mut accumulator, &memory, 50_000).unwrap();
        // There is little room to spare in so small a budget.
        assert!((50_000..64 << 10).contains(&memory.charged()));
        let before = accumulator.bytes();
        let mut other = Accumulator::new("t".into(), 1, limits(200 << 10, u32::MAX));
        let size = HEADER_LEN + BatchBuilder::record_size(0, 110_000, []);
        assert_eq!(
            put(&mut other, &memory, 110_000).unwrap_err(),
            AppendError::NeedMemory(size)
        );
        assert_eq!((accumulator.bytes(), other.bytes()), (before, 0));
    }

    #[test]
    fn a_record_over_the_batch_limit_gets_a_batch_of_its_own() {
        let memory = MemoryBudget::new(1 << 20, 64 << 10);
        let mut accumulator = Accumulator::new("t".into(), 0, limits(1_000, u32::MAX));
        for bytes in [10, 5_000, 10] {
            put(&mut accumulator, &memory, bytes).unwrap();
        }
        let counts: Vec<u32> = std::iter::from_fn(|| accumulator.take(Instant::now(), &memory))
            .map(|batch| batch.builder.count())
            .collect();
        assert_eq!(counts, [1, 1, 1]);
    }

    /// An encoder that panicked on the first record left an empty batch behind, and what came into it later was as old as that.
    #[test]
    fn a_batch_is_as_old_as_its_first_record() {
        let memory = MemoryBudget::new(1 << 20, 64 << 10);
        let mut accumulator = Accumulator::new("t".into(), 0, limits(64 << 10, u32::MAX));
        let none = accumulator.append(100, &memory, None, Instant::now, |_| None);
        assert!(none.is_err());
        let limit = Instant::now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        put(&mut accumulator, &memory, 100).unwrap();
        assert!(accumulator.oldest().is_some_and(|opened| opened > limit));
    }

    /// A batch with an open end went on taking records as long as it could not be sent, and all of them died with the first.
    #[test]
    fn a_batch_is_closed_by_its_age_and_expires_by_its_last_record() {
        let memory = MemoryBudget::new(1 << 20, 64 << 10);
        let mut accumulator = Accumulator::new("t".into(), 0, limits(64 << 10, u32::MAX));
        let start = Instant::now();
        let later = |ms| start + std::time::Duration::from_millis(ms);
        put(&mut accumulator, &memory, 10).unwrap();
        accumulator.close_old(
            start - std::time::Duration::from_millis(1),
            later(50),
            &memory,
        );
        assert!(!accumulator.has_closed(), "too young");
        accumulator.close_old(later(1_000), later(1_000), &memory);
        assert!(accumulator.has_closed());
        put(&mut accumulator, &memory, 10).unwrap();
        assert!(accumulator.expire(later(999), &memory).is_empty());
        assert_eq!(accumulator.expire(later(1_000), &memory).len(), 1);
        assert!(accumulator.take(later(1_001), &memory).is_some());
    }

    /// Batches of 257 to 512 KiB counted for a whole MiB, so that the budget held less than half of what it says.
    #[test]
    fn the_budget_holds_what_it_says_but_for_a_tenth_or_a_fifth_at_hundreds_of_partitions() {
        const TOTAL: usize = 32 << 20;
        for partitions in [1, 6, 30, 100, 1_000] {
            for bytes in [100, 1_000, 10_000, 100_000, 300_000, 700_000] {
                for skewed in [false, true] {
                    let memory = MemoryBudget::new(TOTAL, 512 << 10);
                    let mut queues: Vec<_> = (0..partitions)
                        .map(|n| Accumulator::new("t".into(), n, limits(512 << 10, u32::MAX)))
                        .collect();
                    let mut random = crate::kafka::Random::seeded(7);
                    loop {
                        // Some get far more than others.
                        let n = random.below(queues.len());
                        let n = if skewed { n * n / queues.len() } else { n };
                        if put(&mut queues[n], &memory, bytes).is_err() {
                            break;
                        }
                    }
                    let held: usize = queues.iter().map(Accumulator::bytes).sum();
                    // One more record does not fit. With hundreds of open batches their room to spare adds up to more.
                    let percent = if partitions <= 30 { 90 } else { 80 };
                    assert!(
                        held + 2 * bytes >= TOTAL / 100 * percent,
                        "{partitions} partitions, {bytes} bytes, skewed {skewed}: {held} of {TOTAL}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_batches_that_are_too_old_expire() {
        let memory = MemoryBudget::new(1 << 20, 64 << 10);
        let mut accumulator = Accumulator::new("t".into(), 0, limits(1_000, 1));
        put(&mut accumulator, &memory, 10).unwrap();
        let limit = Instant::now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        put(&mut accumulator, &memory, 10).unwrap();
        assert_eq!(accumulator.expire(limit, &memory).len(), 1);
        assert!(accumulator.take(limit, &memory).is_some());
    }
}
