//! How long things take: a histogram that many may write to at once, and what is read from it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Each power of two is cut into so many buckets: values are told apart to about 12%.
const PER_POWER: u64 = 8;
const BUCKETS: usize = 40 * PER_POWER as usize;

/// Counts of durations, from a microsecond to days, in buckets that grow with the value.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    max_us: AtomicU64,
}

/// What a histogram says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// How many there were.
    pub count: u64,
    /// Half of them were no longer than this.
    pub p50: Duration,
    /// 99 of 100 were no longer than this.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            max_us: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    pub(crate) fn record(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(us)].fetch_add(1, Ordering::Relaxed);
        self.max_us.fetch_max(us, Ordering::Relaxed);
    }

    /// What `histograms` say together.
    pub(crate) fn summary<'a>(histograms: impl Iterator<Item = &'a Self>) -> Latencies {
        let mut counts = [0u64; BUCKETS];
        let mut max_us = 0;
        for histogram in histograms {
            for (count, bucket) in counts.iter_mut().zip(&histogram.buckets) {
                *count += bucket.load(Ordering::Relaxed);
            }
            max_us = max_us.max(histogram.max_us.load(Ordering::Relaxed));
        }
        let count: u64 = counts.iter().sum();
        let percentile = |hundredths: u64| {
            let rank = (count * hundredths).div_ceil(100).max(1);
            let mut seen = 0;
            let bucket = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            Duration::from_micros(bucket.map_or(0, upper_bound_us).min(max_us))
        };
        Latencies {
            count,
            p50: percentile(50),
            p99: percentile(99),
            max: Duration::from_micros(max_us),
        }
    }
}

fn bucket_of(us: u64) -> usize {
    if us < PER_POWER {
        return us as usize;
    }
    let power = u64::from(us.ilog2()) - u64::from(PER_POWER.ilog2());
    let bucket = (power + 1) * PER_POWER + ((us >> power) - PER_POWER);
    (bucket as usize).min(BUCKETS - 1)
}

fn upper_bound_us(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PER_POWER {
        return bucket;
    }
    let power = bucket / PER_POWER - 1;
    ((bucket % PER_POWER + PER_POWER + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_the_bucket_that_is_bounded_by_its_neighbours() {
        for us in (0..5_000).chain((0..38).map(|power| (1 << power) + 3)) {
            let bucket = bucket_of(us);
            assert!(us <= upper_bound_us(bucket), "{us}");
            assert!(bucket == 0 || us > upper_bound_us(bucket - 1), "{us}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_within_an_eighth() {
        let histograms = [Histogram::default(), Histogram::default()];
        for ms in 1..=1_000 {
            histograms[ms as usize % 2].record(Duration::from_millis(ms));
        }
        let latencies = Histogram::summary(histograms.iter());
        assert_eq!(latencies.count, 1_000);
        assert_eq!(latencies.max, Duration::from_secs(1));
        assert!(
            (500..563).contains(&latencies.p50.as_millis()),
            "{latencies:?}"
        );
        assert!(
            (990..=1_000).contains(&latencies.p99.as_millis()),
            "{latencies:?}"
        );
        assert_eq!(Histogram::summary([].into_iter()), Latencies::default());
    }
}
