//! The time of day, for timestamps: the system's, or one that follows tokio's clock, which tests can pause. Deadlines never come from here.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Where the time of day comes from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum WallClock {
    #[default]
    System,
    Simulated {
        epoch_ms: i64,
        origin: Instant,
    },
}

impl WallClock {
    /// Milliseconds since 1970.
    pub(crate) fn now_ms(self) -> i64 {
        match self {
            WallClock::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| {
                    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
                }),
            WallClock::Simulated { epoch_ms, origin } => {
                let passed = i64::try_from(origin.elapsed().as_millis()).unwrap_or(i64::MAX);
                epoch_ms.saturating_add(passed)
            }
        }
    }
}
