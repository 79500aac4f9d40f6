//! Consumers that fall behind. In: the lags of now and then. Out: the partitions whose lag has grown by more than chance since the last look.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::kafka::TopicPartition;

/// How often to look.
const INTERVAL: Duration = Duration::from_secs(60);
/// As many records behind is the daily run.
const NOTICEABLE: u64 = 1_000;

/// What the lags were when they were looked at last.
#[derive(Debug, Default)]
pub(crate) struct LagWatch {
    next: Option<Instant>,
    lags: BTreeMap<TopicPartition, u64>,
}

/// A partition that is read slower than it is written to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    pub partition: TopicPartition,
    pub lag: u64,
    pub growth: u64,
}

impl LagWatch {
    /// Whether to look now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    /// Looks: a partition is behind when its lag is noticeable and a tenth more than at the last look.
    pub fn look(&mut self, now: Instant, lags: BTreeMap<TopicPartition, u64>) -> Vec<Behind> {
        self.next = Some(now + INTERVAL);
        let before = std::mem::replace(&mut self.lags, lags);
        let behind = |(partition, lag): (&TopicPartition, &u64)| {
            let growth = lag.checked_sub(*before.get(partition)?)?;
            (*lag > NOTICEABLE && growth > lag / 11).then(|| Behind {
                partition: partition.clone(),
                lag: *lag,
                growth,
            })
        };
        self.lags.iter().filter_map(behind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lag_that_grows_is_noticed_and_one_that_is_small_or_stays_is_not() {
        let mut watch = LagWatch::default();
        let start = Instant::now();
        let mut look = |minute, lags: [u64; 3]| {
            let now = start + INTERVAL * minute;
            assert!(watch.is_due(now));
            let lags = lags.into_iter().enumerate();
            let lags = lags.map(|(n, lag)| (TopicPartition::new("t", n as i32), lag));
            let behind = watch.look(now, lags.collect());
            assert!(!watch.is_due(now + INTERVAL / 2));
            let behind = behind.into_iter();
            let behind = behind.map(|it| (it.partition.partition, it.lag, it.growth));
            behind.collect::<Vec<_>>()
        };
        // The first look has nothing to compare with.
        assert_eq!(look(0, [5_000, 0, 9_000]), []);
        assert_eq!(look(1, [50_000, 900, 9_100]), [(0, 50_000, 45_000)]);
        assert_eq!(look(2, [49_000, 2_000, 9_200]), [(1, 2_000, 1_100)]);
        assert_eq!(look(3, [0, 0, 0]), []);
    }
}
