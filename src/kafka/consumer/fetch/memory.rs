//! The one byte budget of a consumer: what is on its way, what waits to be polled, what was decompressed, and what the application still
//! holds. In: bytes taken and given back. Out: whether there is room, and a wakeup when there is again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::kafka::net::FramePool;

/// How many bytes are in use.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    limit: usize,
    used: AtomicUsize,
    /// Wakes those who wait for memory.
    freed: Notify,
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    /// Resolves when some are freed after it was enabled.
    pub fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Wakes those who wait for memory though none was freed: one fetch may go without.
    pub fn look_again(&self) {
        self.freed.notify_waiters();
    }

    /// What is in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// All there is, used or not.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What is left.
    pub fn left(&self) -> usize {
        self.limit.saturating_sub(self.used())
    }

    /// What is left to fetch into: a quarter is kept for what is fetched to be decompressed to.
    pub fn left_to_fetch(&self) -> usize {
        (self.limit - self.limit / 4).saturating_sub(self.used())
    }

    /// Takes `bytes`, also when they are more than what is left: who takes has looked before, or cannot choose.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Reservation {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Reservation {
            budget: self.clone(),
            bytes,
            frame: None,
        }
    }
}

/// Bytes reserved in the budget; dropping it returns them, and the frame to the pool.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: usize,
    frame: Option<(FramePool, Bytes)>,
}

impl Reservation {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes what is reserved to `bytes`.
    pub fn adjust(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget
                .used
                .fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.budget
                .used
                .fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            self.budget.freed.notify_waiters();
        }
        self.bytes = bytes;
    }

    /// The bytes are those of a frame, which goes back to `pool` in the end. `part` is any part of it; every other part must be dropped
    /// before this reservation is.
    pub fn hold_frame(&mut self, pool: FramePool, part: Bytes) {
        self.frame = Some((pool, part));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some((pool, part)) = self.frame.take() {
            pool.recycle(part);
        }
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_comes_back() {
        let budget = MemoryBudget::new(100);
        let mut reservation = budget.reserve(30);
        assert_eq!((budget.left(), budget.left_to_fetch()), (70, 45));
        reservation.adjust(120);
        assert_eq!(budget.left(), 0);
        reservation.adjust(10);
        assert_eq!(budget.left(), 90);
        drop(reservation);
        assert_eq!(budget.left(), 100);
    }

    #[tokio::test]
    async fn whoever_waits_for_room_hears_of_what_comes_back_early() {
        let budget = MemoryBudget::new(100);
        let mut reservation = budget.reserve(100);
        let mut woken = std::pin::pin!(budget.freed());
        assert!(!woken.as_mut().enable());
        reservation.adjust(0);
        assert!(woken.as_mut().enable());
    }
}
