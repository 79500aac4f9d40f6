//! The memory of batches: a byte budget with fair admission, and buffers that are pooled.
//!
//! What counts against the budget is the memory that buffers hold, not the bytes in them, so that the bound is a true one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::time::{Instant, timeout_at};

use crate::kafka::runtime::{Budget, Mutex, Reservation};
use crate::kafka::{Error, ErrorKind, Result};

/// Buffers have sizes from this on, four to each doubling, and the size of a full batch.
const LEAST_BYTES: usize = 1 << 10;
/// A batch begins with so much, if there is plenty.
const FIRST_BYTES: usize = 16 << 10;

/// The byte budget and the free buffers of one producer.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    pub bytes: Arc<Budget>,
    /// The sizes that buffers have.
    classes: Vec<usize>,
    /// Batches that take records.
    open: AtomicUsize,
    /// Room to spare that open batches were granted.
    spare: AtomicUsize,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    /// By class: a buffer is kept under the largest class that it can hold.
    classes: Vec<Vec<Vec<u8>>>,
    bytes: usize,
}

impl MemoryBudget {
    /// For batches of up to `batch_bytes`, all within the budget `bytes`.
    pub fn within(bytes: Arc<Budget>, batch_bytes: usize) -> Self {
        let steps = (0..).map(|step| (LEAST_BYTES / 4 * (4 + step % 4)) << (step / 4));
        let below = steps.take_while(|class| *class < batch_bytes);
        let classes: Vec<_> = below.chain([batch_bytes]).collect();
        let free = Free {
            classes: vec![Vec::new(); classes.len()],
            bytes: 0,
        };
        Self {
            bytes,
            classes,
            open: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
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

    /// Charges `bytes`, unless that many are not free or others are waiting.
    pub fn try_charge(&self, bytes: usize) -> bool {
        self.bytes.try_charge(bytes)
    }

    /// Waits until `bytes` are free, in the order of asking. Cancel safe: a place in the queue is given up with the future.
    pub async fn reserve(&self, bytes: usize, deadline: Instant) -> Result<Reservation> {
        match timeout_at(deadline, self.bytes.acquire(bytes)).await {
            Ok(Some(reservation)) => Ok(reservation),
            Ok(None) => Err(Error::new(ErrorKind::Closed, "the producer is closed")),
            Err(_elapsed) => Err(self.no_room(bytes)),
        }
    }

    fn no_room(&self, bytes: usize) -> Error {
        let (total, whose, option) = match self.bytes.short_of(bytes) {
            Some(common) => (
                common.limit(),
                " of all producers of the client",
                "producers.buffer.memory",
            ),
            None => (self.bytes.limit(), "", "buffer.memory"),
        };
        let message = format!(
            "no room in the buffer of {total} bytes{whose} within max.block.ms: brokers take records more slowly than they come; \
             raise {option}, or send less"
        );
        Error::new(ErrorKind::Timeout, message).with_outcome(crate::kafka::WriteOutcome::NotWritten)
    }

    /// Bytes charged now.
    pub fn charged(&self) -> usize {
        self.bytes.used()
    }

    /// Releases what was charged.
    pub fn release(&self, bytes: usize) {
        self.bytes.release(bytes);
    }

    /// The memory for a batch that needs `needed` bytes now, and may come to `hoped`; it was granted `spare` bytes of room before.
    ///
    /// Room to spare makes growing cheap, but what all open batches have to spare is less than a tenth of a budget that runs out: each is
    /// granted its share of a sixteenth, by the number of open ones at the time, as long as that lasts, or a thirty-second of its size. While two
    /// thirds of the budget are free, small ones share an eighth: they fill what they have before it runs out.
    pub fn size_for(&self, needed: usize, hoped: usize, spare: usize) -> usize {
        let largest = self.classes.last().copied().unwrap_or_default();
        if needed > largest {
            return needed;
        }
        let limit = self.bytes.limit();
        let has_plenty = needed < FIRST_BYTES && self.bytes.used() < limit / 3;
        let for_all = limit / if has_plenty { 8 } else { 16 };
        let share = for_all / self.open.load(SeqCst).max(1);
        let granted = self.spare.load(SeqCst).saturating_sub(spare);
        let spare = share.min(for_all.saturating_sub(granted)).max(needed / 32);
        let enough = hoped.max(needed).max(FIRST_BYTES);
        let fitting = &self.classes[self.classes.partition_point(|class| *class < needed)..];
        let mut size = None;
        for class in fitting.iter().take_while(|class| **class - needed <= spare) {
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
        let above = self.classes.partition_point(|class| *class <= capacity);
        let Some(class) = above.checked_sub(1) else {
            return;
        };
        let mut free = self.free.lock();
        let is_fitting = capacity - self.classes[class] <= self.classes[class] / 8;
        if is_fitting && free.bytes + capacity <= self.bytes.limit() / 4 {
            free.bytes += capacity;
            free.classes[class].push(buffer);
        }
    }
}

#[cfg(test)]
impl MemoryBudget {
    /// One of `total` bytes that nobody shares.
    pub fn new(total: usize, batch_bytes: usize) -> Self {
        Self::within(Budget::new(total, None), batch_bytes)
    }
}

#[cfg(test)]
mod tests {
    use protocol::records::BatchBuilder;

    use super::*;
    use crate::kafka::producer::partition::accumulator::{Accumulator, Limits};

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
