//! What a consumer has fetched, in its byte budget: what is on its way, what waits to be polled, what was decompressed, and what the
//! application still holds.

use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::kafka::net::FramePool;
use crate::kafka::runtime::{Budget, Excess, Reservation};

/// What is left to fetch into: a quarter of what the consumer may have now is kept for what is fetched to be decompressed to.
pub(crate) fn left_to_fetch(budget: &Budget) -> usize {
    let left = budget.fairly_left();
    left.saturating_sub((budget.used() + left) / 4)
}

/// What there is to fetch into while nothing is in use.
pub(crate) fn most_to_fetch(budget: &Budget) -> usize {
    budget.fair_limit() - budget.fair_limit() / 4
}

/// Records in memory; dropping it returns their bytes to the budget, and their frame to the pool.
#[derive(Debug)]
pub(crate) struct Fetched {
    reservation: Reservation,
    frame: Option<(FramePool, Bytes)>,
    /// By what right it is more than was left.
    _excess: Option<Arc<Excess>>,
}

impl Fetched {
    /// The bytes are those of a frame, which goes back to its pool in the end. The `Bytes` are any part of it; every other part must be dropped
    /// before this is.
    pub fn in_frame(reservation: Reservation, frame: Option<(FramePool, Bytes)>) -> Self {
        Self {
            reservation,
            frame,
            _excess: None,
        }
    }

    /// What was decompressed, into memory of its own; it is more than was left where it has the right to an `excess`.
    pub fn decompressed(reservation: Reservation, excess: Option<Arc<Excess>>) -> Self {
        Self {
            reservation,
            frame: None,
            _excess: excess,
        }
    }

    pub fn bytes(&self) -> usize {
        self.reservation.bytes()
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        if let Some((pool, part)) = self.frame.take() {
            pool.recycle(part);
        }
    }
}

/// The right of one who reads to take more than is left: had as long as anything is that was taken by it.
#[derive(Debug, Default)]
pub(crate) struct ExcessOf(Weak<Excess>);

impl ExcessOf {
    /// The right that was `granted` just now, or is had already, or is free.
    pub fn take(&mut self, granted: Option<Arc<Excess>>, budget: &Budget) -> Option<Arc<Excess>> {
        let had = || self.0.upgrade();
        let excess = granted.or_else(had).or_else(|| budget.try_excess())?;
        self.0 = Arc::downgrade(&excess);
        Some(excess)
    }
}
