//! When finished offsets are committed.

use std::time::Duration;

/// When the offsets of finished events are committed. Whatever it says, a commit never passes an event whose handler has not finished, and the
/// last ones are committed when the consumer stops, or gives a partition up.
///
/// ```
/// use std::time::Duration;
/// use pat_events::events::{CommitPolicy, ConsumerConfig};
///
/// let mut config = ConsumerConfig::new("localhost:9092", "emails", "indexer");
/// config.commit = CommitPolicy::periodic(Duration::from_secs(1));
/// assert_eq!(config.commit.interval(), Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPolicy {
    /// `enable.auto.commit`
    pub(super) is_periodic: bool,
    /// `auto.commit.interval.ms`
    pub(super) period: Duration,
    /// `commit.interval.ms`
    pub(super) pause: Duration,
}

impl CommitPolicy {
    /// An offset is committed soon after its handler has finished; commits are `pause` apart, at least. As `enable.auto.commit=false` with
    /// `commit.interval.ms`.
    pub const fn prompt(pause: Duration) -> Self {
        Self {
            is_periodic: false,
            period: Duration::from_secs(5),
            pause,
        }
    }

    /// What was finished is committed once in a `period`. As `enable.auto.commit=true` with `auto.commit.interval.ms`.
    pub const fn periodic(period: Duration) -> Self {
        Self {
            is_periodic: true,
            period,
            pause: Duration::from_millis(100),
        }
    }

    /// The time between two commits.
    pub const fn interval(&self) -> Duration {
        match self.is_periodic {
            true => self.period,
            false => self.pause,
        }
    }
}

impl Default for CommitPolicy {
    /// Soon after the handlers, every 100 ms at most.
    fn default() -> Self {
        Self::prompt(Duration::from_millis(100))
    }
}
