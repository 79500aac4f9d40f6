//! The memory of batches: a byte budget with fair admission, and buffers that are pooled.
//!
//! What counts against the budget is the memory that buffers hold, not the bytes in them, so that the bound is a true one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, timeout_at};

use super::client_budget::{Share, SharedReservation};
use crate::kafka::runtime::Mutex;
use crate::kafka::{Error, ErrorKind, Result};

/// The sizes that buffers have, but for the largest: that of a full batch.
const CLASSES: [usize; 11] = [
    1 << 10,
    2 << 10,
    4 << 10,
    8 << 10,
    16 << 10,
    32 << 10,
    64 << 10,
    128 << 10,
    256 << 10,
    512 << 10,
    1 << 20,
];
/// A batch begins with so much, if there is plenty.
const FIRST_BYTES: usize = 16 << 10;

/// The byte budget and the free buffers of one producer.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    budget: Arc<Semaphore>,
    total: usize,
    /// What it shares with the other producers of its client.
    share: Option<Arc<Share>>,
    /// The sizes that buffers have.
    classes: Vec<usize>,
    /// Batches that take records.
    open: AtomicUsize,
    /// Room to spare that open batches were granted.
    spare: AtomicUsize,
    waiting: AtomicUsize,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    /// By class: a buffer is kept under the largest class that it can hold.
    classes: Vec<Vec<Vec<u8>>>,
    bytes: usize,
}

/// Bytes of the budget that were acquired and not yet spent on a buffer; released when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    own: OwnedSemaphorePermit,
    shared: Option<SharedReservation>,
}

impl Reservation {
    /// Spends `bytes` of it; false if there are not so many.
    pub fn spend(&mut self, bytes: usize) -> bool {
        match self.own.split(bytes) {
            Some(spent) => {
                spent.forget();
                if let Some(shared) = &mut self.shared {
                    shared.spend(bytes);
                }
                true
            }
            None => false,
        }
    }
}

impl MemoryBudget {
    /// A budget of `total` bytes for batches of up to `batch_bytes`.
    pub fn new(total: usize, batch_bytes: usize) -> Self {
        let below = CLASSES.into_iter().filter(|class| *class < batch_bytes);
        let classes: Vec<_> = below.chain([batch_bytes]).collect();
        let free = Free {
            classes: vec![Vec::new(); classes.len()],
            bytes: 0,
        };
        Self {
            budget: Arc::new(Semaphore::new(total)),
            total,
            share: None,
            classes,
            open: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            free: Mutex::new(free),
        }
    }

    /// A batch accepts records from now on, and has so much room to spare.
    pub fn opened(&self, spare: usize) {
        self.open.fetch_add(1, SeqCst);
        self.spare.fetch_add(spare, SeqCst);
    }

    /// An open batch that was granted so much room to spare has grown, and was granted as much as it has `now`.
    pub fn grown(&self, before: usize, now: usize) {
        self.spare.fetch_add(now.wrapping_sub(before), SeqCst);
    }

    /// An open batch that was granted so much room to spare accepts no more records.
    pub fn shut(&self, spare: usize) {
        self.open.fetch_sub(1, SeqCst);
        self.spare.fetch_sub(spare, SeqCst);
    }

    /// As it is, within what its client has for all producers as well.
    pub fn within(mut self, share: Option<Arc<Share>>) -> Self {
        self.share = share;
        self
    }

    /// Charges `bytes`, unless that many are not free or others are waiting.
    pub fn try_charge(&self, bytes: usize) -> bool {
        match self.budget.try_acquire_many(clamp(bytes)) {
            Ok(permit) => {
                let has_room = (self.share.as_ref()).is_none_or(|share| share.try_charge(bytes));
                if has_room {
                    permit.forget();
                }
                has_room
            }
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => false,
        }
    }

    /// Waits until `bytes` are free, in the order of asking. Cancel safe: a place in the queue is given up with the future.
    pub async fn reserve(&self, bytes: usize, deadline: Instant) -> Result<Reservation> {
        let _waiting = Waiting::new(&self.waiting);
        let acquire = async {
            let own = self.budget.clone().acquire_many_owned(clamp(bytes));
            let own = own.await.ok()?;
            let shared = match self.share.clone() {
                Some(share) => Some(share.reserve(bytes).await?),
                None => None,
            };
            Some(Reservation { own, shared })
        };
        match timeout_at(deadline, acquire).await {
            Ok(Some(reservation)) => Ok(reservation),
            Ok(None) => Err(Error::new(ErrorKind::Closed, "the producer is closed")),
            Err(_elapsed) => Err(self.no_room(bytes)),
        }
    }

    fn no_room(&self, bytes: usize) -> Error {
        let (total, whose, option) = match &self.share {
            Some(share) if self.budget.available_permits() >= bytes => (
                share.total(),
                " of all producers of the client",
                "producers.buffer.memory",
            ),
            _ => (self.total, "", "buffer.memory"),
        };
        let message = format!(
            "no room in the buffer of {total} bytes{whose} within max.block.ms: brokers take records more slowly than they come; \
             raise {option}, or send less"
        );
        Error::new(ErrorKind::Timeout, message).with_outcome(crate::kafka::WriteOutcome::NotWritten)
    }

    /// Releases what was charged.
    pub fn release(&self, bytes: usize) {
        self.budget.add_permits(bytes);
        if let Some(share) = &self.share {
            share.release(bytes);
        }
    }

    /// Whether so many bytes are not free.
    pub fn lacks(&self, bytes: usize) -> bool {
        self.budget.available_permits() < bytes
            || (self.share.as_ref()).is_some_and(|share| share.lacks(bytes))
    }

    /// Whether someone waits for room: then nothing else should.
    pub fn is_short(&self) -> bool {
        self.waiting.load(SeqCst) > 0 || (self.share.as_ref()).is_some_and(|share| share.is_short())
    }

    /// Wakes everyone who waits for room with "closed".
    pub fn close(&self) {
        self.budget.close();
        if let Some(share) = &self.share {
            share.close();
        }
    }

    /// Bytes charged now.
    pub fn charged(&self) -> usize {
        self.total.saturating_sub(self.budget.available_permits())
    }

    /// The memory for a batch that needs `needed` bytes now, and may come to `hoped`; it was granted `spare` bytes of room before.
    ///
    /// Room to spare makes growing cheap, but what all open batches have to spare is less than a tenth of the budget: each is granted its
    /// share of a sixteenth, by the number of open ones at the time, as long as that lasts, or a thirty-second of its size.
    pub fn size_for(&self, needed: usize, hoped: usize, spare: usize) -> usize {
        let largest = self.classes.last().copied().unwrap_or_default();
        if needed > largest {
            return needed;
        }
        let for_all = self.total / 16;
        let share = for_all / self.open.load(SeqCst).max(1);
        let granted = self.spare.load(SeqCst).saturating_sub(spare);
        let spare = share.min(for_all.saturating_sub(granted)).max(needed / 32);
        let enough = hoped.max(needed).max(FIRST_BYTES);
        let fitting = self.classes.iter().filter(|class| **class >= needed);
        let mut size = None;
        for class in fitting.take_while(|class| **class - needed <= spare) {
            size = Some(*class);
            if *class >= enough {
                break;
            }
        }
        size.unwrap_or((needed + spare).min(largest))
    }

    /// An empty buffer, pooled if there is one that holds `size` bytes or a little more.
    pub fn take(&self, size: usize) -> Vec<u8> {
        self.pooled(size)
            .unwrap_or_else(|| Vec::with_capacity(size))
    }

    /// A pooled buffer that holds `size` bytes or a little more.
    pub fn pooled(&self, size: usize) -> Option<Vec<u8>> {
        let class = self.classes.partition_point(|class| *class < size);
        let slack = *self.classes.get(class)? - size;
        if slack > size / 8 {
            return None;
        }
        let mut free = self.free.lock();
        let buffer = free.classes[class].pop()?;
        free.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps `buffer` for later, if it is of a size that is asked for and there are not too many yet.
    pub fn give(&self, buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        let Some(class) = self.classes.iter().rposition(|class| *class <= capacity) else {
            return;
        };
        let mut free = self.free.lock();
        let is_fitting = capacity - self.classes[class] <= self.classes[class] / 8;
        if is_fitting && free.bytes + capacity <= self.total / 4 {
            free.bytes += capacity;
            free.classes[class].push(buffer);
        }
    }
}

pub(super) fn clamp(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Counts those who wait for room, also when they give up waiting.
pub(super) struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    pub fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use protocol::records::BatchBuilder;
    use tokio::time::Duration;

    use super::*;
    use crate::kafka::producer::partition::accumulator::{Accumulator, Limits};

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn admission_is_in_the_order_of_asking_and_nobody_overtakes() {
        let memory = Arc::new(MemoryBudget::new(100, 50));
        assert!(memory.try_charge(90));
        let (first, second) = (memory.clone(), memory.clone());
        let first = tokio::spawn(async move { first.reserve(60, later()).await.map(drop) });
        tokio::task::yield_now().await;
        let second = tokio::spawn(async move { second.reserve(5, later()).await.map(drop) });
        tokio::task::yield_now().await;
        // Ten are free, but the first in the queue needs more: neither the second nor a newcomer may take them.
        assert!(memory.is_short() && !second.is_finished());
        assert!(!memory.try_charge(5));
        memory.release(90);
        assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
        assert_eq!(memory.charged(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn giving_up_the_wait_gives_up_the_place() {
        let memory = MemoryBudget::new(100, 50);
        assert!(memory.try_charge(100));
        let soon = Instant::now() + Duration::from_millis(10);
        let error = memory.reserve(50, soon).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(!memory.is_short());
        memory.release(100);
        assert!(memory.try_charge(100));
    }

    #[test]
    fn buffers_are_pooled_and_free_ones_are_bounded() {
        let memory = MemoryBudget::new(1 << 20, 64 << 10);
        let (size, address) = {
            let buffer = memory.take(memory.size_for(20_000, 64 << 10, 0));
            let found = (buffer.capacity(), buffer.as_ptr());
            memory.give(buffer);
            found
        };
        assert_eq!(size, 64 << 10);
        let again = memory.take(size);
        assert_eq!(again.as_ptr(), address);
        for _ in 0..100 {
            memory.give(Vec::with_capacity(64 << 10));
        }
        assert!(memory.free.lock().bytes <= 256 << 10);
    }

    /// Nine tenths of the buffer hold records when it is full, however many partitions they are spread over.
    #[test]
    fn a_full_buffer_holds_nine_tenths_of_what_it_says() {
        let (total, batch_bytes) = (32 << 20, 512 << 10);
        for (partitions, record) in [
            (1, 300),
            (1, 20_000),
            (30, 300),
            (30, 20_000),
            (1_000, 300),
            (1_000, 5_000),
            (3_000, 300),
        ] {
            let memory = MemoryBudget::new(total, batch_bytes);
            let limits = Limits {
                batch_bytes,
                batch_records: u32::MAX,
            };
            let mut accumulators: Vec<_> = (0..partitions)
                .map(|partition| Accumulator::new("t".into(), partition, limits))
                .collect();
            let value = vec![7; record];
            let size = BatchBuilder::record_size(0, record, []);
            let mut random = crate::kafka::Random::seeded(7);
            let mut bytes = 0;
            loop {
                let to = random.below(partitions as usize);
                let appended =
                    accumulators[to].append(size, &memory, None, Instant::now, |builder| {
                        builder.append(0, None, Some(&value), []).ok()
                    });
                if appended.is_err() {
                    break;
                }
                bytes += record;
            }
            assert!(
                bytes * 10 >= total * 9,
                "{partitions} partitions, records of {record}: {} % of the buffer",
                bytes * 100 / total
            );
        }
    }
}
