//! Wall time: the one place that asks the system what time it is. Durations and deadlines come from tokio's clock, never from here.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Where record timestamps come from: the system, or a simulated clock that follows tokio's (which tests can pause).
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Copy, Debug, Default)]
enum Source {
    #[default]
    System,
    Simulated {
        epoch_ms: i64,
        origin: Instant,
    },
}

impl Clock {
    /// The system's wall clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `epoch_ms` (milliseconds since 1970) now, and moves with tokio's clock from here on.
    pub fn simulated(epoch_ms: i64) -> Self {
        Self(Source::Simulated {
            epoch_ms,
            origin: Instant::now(),
        })
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        match self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| {
                    since.as_secs() as i64 * 1_000 + i64::from(since.subsec_millis())
                }),
            Source::Simulated { epoch_ms, origin } => {
                let passed = i64::try_from(origin.elapsed().as_millis()).unwrap_or(i64::MAX);
                epoch_ms.saturating_add(passed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_moves_with_tokios() {
        let clock = Clock::simulated(1_000_000);
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(clock.now_ms(), 1_000_250);
    }
}
