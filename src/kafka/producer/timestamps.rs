//! Wall time for records, read from the clock once a millisecond rather than once a record: at full speed that is a seventh of the
//! producer's work.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use tokio::sync::Notify;
use tokio::time::{Duration, sleep};

use crate::kafka::Clock;

/// The time is not known, and has to be read.
const UNKNOWN: i64 = i64::MIN;

/// The time of day, exact to about a millisecond as long as the runtime's tasks get their turns.
#[derive(Debug)]
pub(super) struct Timestamps {
    clock: Clock,
    known_ms: AtomicI64,
    read: Notify,
}

impl Timestamps {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            known_ms: AtomicI64::new(UNKNOWN),
            read: Notify::new(),
        }
    }

    /// Milliseconds since 1970.
    #[inline]
    pub fn now_ms(&self) -> i64 {
        match self.known_ms.load(Relaxed) {
            UNKNOWN => self.look(),
            known_ms => known_ms,
        }
    }

    #[cold]
    fn look(&self) -> i64 {
        let now_ms = self.clock.now_ms();
        self.known_ms.store(now_ms, Relaxed);
        self.read.notify_one();
        now_ms
    }

    /// Forgets the time a millisecond after it was read; rests while nobody asks. Never returns.
    pub async fn forget(&self) {
        loop {
            self.read.notified().await;
            sleep(Duration::from_millis(1)).await;
            self.known_ms.store(UNKNOWN, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn a_timestamp_is_never_much_older_than_a_millisecond() {
        let timestamps = Arc::new(Timestamps::new(Clock::simulated(1_000)));
        let forgetting = timestamps.clone();
        let task = tokio::spawn(async move { forgetting.forget().await });
        for _ in 0..100 {
            let before = timestamps.clock.now_ms();
            assert!((before - timestamps.now_ms()) <= 2);
            sleep(Duration::from_millis(3)).await;
        }
        task.abort();
    }
}
