//! How long things take, and how large they are: histograms that many may write to at once, and what is read from them.

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
    /// All of them together.
    pub sum: Duration,
    /// How many of them took at most so long: between one of [`Latency::BOUNDS`] and the next, and at last those beyond.
    pub buckets: [u64; Self::BOUNDS.len() + 1],
}

impl Latency {
    /// The upper bounds of the [`buckets`](Self::buckets), in seconds: those that OpenTelemetry's messaging conventions recommend, and four
    /// below them, as a broker nearby takes less.
    pub const BOUNDS: [f64; 18] = [
        0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75,
        1.0, 2.5, 5.0, 7.5, 10.0,
    ];
}

/// How large something was, over all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Sizes {
    /// How many there were.
    pub count: u64,
    /// All of them together.
    pub sum: u64,
    /// The largest.
    pub max: u64,
    /// How many of them were at most so large: between one of [`Sizes::BOUNDS`] and the next, and at last those beyond.
    pub buckets: [u64; Self::BOUNDS.len() + 1],
}

impl Sizes {
    /// The upper bounds of the [`buckets`](Self::buckets): the powers of four.
    pub const BOUNDS: [f64; 13] = [
        1.0,
        4.0,
        16.0,
        64.0,
        256.0,
        1_024.0,
        4_096.0,
        16_384.0,
        65_536.0,
        262_144.0,
        1_048_576.0,
        4_194_304.0,
        16_777_216.0,
    ];
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
        let mut buckets = [0; Latency::BOUNDS.len() + 1];
        for (bucket, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let end = end_of(bucket) as f64 / 1e6;
            buckets[Latency::BOUNDS.partition_point(|bound| *bound < end)] += count;
        }
        Latency {
            count,
            sum: Duration::from_micros(sum_us),
            buckets,
            mean: Duration::from_micros(sum_us.checked_div(count).unwrap_or(0)),
            p50: percentile(50),
            p99: percentile(99),
            max: Duration::from_micros(max_us),
        }
    }
}

/// Sizes, sorted into buckets.
#[derive(Debug, Default)]
pub(crate) struct SizeHistogram {
    buckets: [AtomicU64; Sizes::BOUNDS.len() + 1],
    sum: AtomicU64,
    max: AtomicU64,
}

impl SizeHistogram {
    pub fn record(&self, size: u64) {
        // Bounds are powers of four.
        let bits = u64::BITS - size.saturating_sub(1).leading_zeros();
        let bucket = (bits.div_ceil(2) as usize).min(Sizes::BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(size, Relaxed);
        self.max.fetch_max(size, Relaxed);
    }

    pub fn read(&self) -> Sizes {
        let buckets = self.buckets.each_ref().map(|count| count.load(Relaxed));
        Sizes {
            count: buckets.iter().sum(),
            sum: self.sum.load(Relaxed),
            max: self.max.load(Relaxed),
            buckets,
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
        assert_eq!(latency.sum, Duration::from_micros(500_500));
        // Exact to a sixteenth.
        assert!((94..=100).contains(&latency.buckets[0]), "{latency:?}");
        assert_eq!(latency.buckets.iter().sum::<u64>(), 1_000);
        assert_eq!(latency.buckets[4..], [0; 15]);
        assert_eq!(Histogram::default().read(), Latency::default());
        let twice = Histogram::read_all([&histogram, &histogram].into_iter());
        assert_eq!((twice.count, twice.mean), (2_000, latency.mean));
    }

    #[test]
    fn a_size_is_in_the_first_bucket_whose_bound_is_not_below_it() {
        for size in (0..70_000).chain([1 << 24, (1 << 24) + 1, u64::MAX]) {
            let histogram = SizeHistogram::default();
            histogram.record(size);
            let sizes = histogram.read();
            let expected = Sizes::BOUNDS.partition_point(|bound| *bound < size as f64);
            assert_eq!(sizes.buckets[expected], 1, "{size} {sizes:?}");
            assert_eq!((sizes.count, sizes.sum, sizes.max), (1, size, size));
        }
    }
}
