//! How long things take: a histogram that many may write to at once, and what is read from it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How long something took, over all times it was done. Percentiles are exact to about 6%.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Latency {
    /// How many times.
    pub count: u64,
    /// The mean.
    pub mean: Duration,
    /// Half of them took at most so long.
    pub p50: Duration,
    /// 99 in 100 of them took at most so long.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// Sixteen steps to each power of two of microseconds.
const STEP_BITS: u32 = 4;
const STEPS: usize = (64 - STEP_BITS as usize + 1) << STEP_BITS;

/// Durations, sorted into buckets.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum_us: AtomicU64,
    max_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..STEPS).map(|_| AtomicU64::new(0)).collect(),
            sum_us: AtomicU64::new(0),
            max_us: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    pub fn record(&self, took: Duration) {
        let us = took.as_micros().min(u128::from(u64::MAX)) as u64;
        self.buckets[bucket_of(us)].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
        self.max_us.fetch_max(us, Relaxed);
    }

    pub fn read(&self) -> Latency {
        Self::read_all(std::iter::once(self))
    }

    /// What several histograms say together.
    pub fn read_all<'a>(histograms: impl Iterator<Item = &'a Self>) -> Latency {
        let mut counts = vec![0u64; STEPS];
        let (mut sum_us, mut max_us) = (0u64, 0);
        for histogram in histograms {
            for (count, bucket) in counts.iter_mut().zip(&histogram.buckets) {
                *count += bucket.load(Relaxed);
            }
            sum_us = sum_us.wrapping_add(histogram.sum_us.load(Relaxed));
            max_us = max_us.max(histogram.max_us.load(Relaxed));
        }
        let count: u64 = counts.iter().sum();
        let percentile = |per_cent: u64| {
            let rank = (count * per_cent).div_ceil(100).max(1);
            let mut seen = 0;
            let bucket = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            Duration::from_micros(bucket.map_or(0, |bucket| end_of(bucket).min(max_us)))
        };
        Latency {
            count,
            mean: Duration::from_micros(sum_us.checked_div(count).unwrap_or(0)),
            p50: percentile(50),
            p99: percentile(99),
            max: Duration::from_micros(max_us),
        }
    }
}

fn bucket_of(us: u64) -> usize {
    let power = (u64::BITS - us.leading_zeros()).saturating_sub(STEP_BITS + 1);
    ((power as usize) << STEP_BITS) + (us >> power) as usize
}

/// The largest number of microseconds in a bucket.
fn end_of(bucket: usize) -> u64 {
    let power = (bucket >> STEP_BITS).saturating_sub(1);
    let step = (bucket - (power << STEP_BITS)) as u64;
    ((step + 1) << power).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_has_a_bucket_that_ends_no_more_than_a_sixteenth_above_it() {
        for us in (0..100_000).chain([u64::from(u32::MAX), u64::MAX / 3, u64::MAX]) {
            let bucket = bucket_of(us);
            let end = end_of(bucket);
            assert!(bucket < STEPS && end >= us, "{us} {bucket} {end}");
            assert!(end - us <= us / 16 + 1, "{us} {bucket} {end}");
        }
    }

    #[test]
    fn percentiles_are_about_right() {
        let histogram = Histogram::default();
        for us in 1..=1_000 {
            histogram.record(Duration::from_micros(us));
        }
        let latency = histogram.read();
        assert_eq!(
            (latency.count, latency.max),
            (1_000, Duration::from_micros(1_000))
        );
        assert!(
            (500..=535).contains(&latency.p50.as_micros()),
            "{latency:?}"
        );
        assert!(
            (990..=1_000).contains(&latency.p99.as_micros()),
            "{latency:?}"
        );
        assert_eq!(latency.mean, Duration::from_micros(500));
        assert_eq!(Histogram::default().read(), Latency::default());
        let twice = Histogram::read_all([&histogram, &histogram].into_iter());
        assert_eq!((twice.count, twice.mean), (2_000, latency.mean));
    }
}
