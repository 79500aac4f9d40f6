//! What a consumer has fetched, in its byte budget: what is on its way, what waits to be polled, what was decompressed, and what the
//! application still holds.

use bytes::Bytes;

use crate::kafka::net::FramePool;
use crate::kafka::runtime::{Budget, Reservation};

/// What is left to fetch into: a quarter is kept for what is fetched to be decompressed to, and to the other consumers of the client as much
/// as this one has.
pub(crate) fn left_to_fetch(budget: &Budget) -> usize {
    let limit = budget.limit();
    let left = (limit - limit / 4).saturating_sub(budget.used());
    left.min(budget.fairly_left())
}

/// Records in memory; dropping it returns their bytes to the budget, and their frame to the pool.
#[derive(Debug)]
pub(crate) struct Fetched {
    reservation: Reservation,
    frame: Option<(FramePool, Bytes)>,
}

impl Fetched {
    /// The bytes are those of a frame, which goes back to its pool in the end. The `Bytes` are any part of it; every other part must be dropped
    /// before this is.
    pub fn in_frame(reservation: Reservation, frame: Option<(FramePool, Bytes)>) -> Self {
        Self { reservation, frame }
    }

    pub fn bytes(&self) -> usize {
        self.reservation.bytes()
    }
}

/// What was decompressed, into memory of its own.
impl From<Reservation> for Fetched {
    fn from(reservation: Reservation) -> Self {
        Self::in_frame(reservation, None)
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        if let Some((pool, part)) = self.frame.take() {
            pool.recycle(part);
        }
    }
}
