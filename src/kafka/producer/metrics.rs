//! What the producer counts. Written once a batch or a request, never once a record.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Duration;

/// What a producer has done so far, and what it holds now.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// Records taken in by `send`, `enqueue` and `try_enqueue`.
    pub records_accepted: u64,
    /// Records acknowledged.
    pub records_delivered: u64,
    /// Records that failed for good.
    pub records_failed: u64,
    /// Bytes of acknowledged batches, before compression.
    pub bytes_delivered: u64,
    /// Bytes of batches handed to connections, compressed, repetitions included.
    pub bytes_sent: u64,
    /// Batches handed to connections, repetitions included.
    pub batches_sent: u64,
    /// Produce requests handed to connections.
    pub requests_sent: u64,
    /// Batches sent again.
    pub retries: u64,
    /// Batches cut up because a broker found them too large.
    pub splits: u64,
    /// Produce requests in flight now.
    pub requests_in_flight: usize,
    /// Bytes of the buffer in use now.
    pub buffer_bytes_used: usize,
    /// From handing a request to its connection to its answer.
    pub request_latency: Latency,
    /// From opening a batch, with its first record, to its acknowledgement.
    pub delivery_latency: Latency,
}

/// How long something took, over all times it was done. Percentiles are exact to about 6%.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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

/// The counters behind [`ProducerMetrics`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub records_delivered: AtomicU64,
    pub records_failed: AtomicU64,
    pub bytes_delivered: AtomicU64,
    pub bytes_sent: AtomicU64,
    pub batches_sent: AtomicU64,
    pub requests_sent: AtomicU64,
    pub retries: AtomicU64,
    pub splits: AtomicU64,
    pub request_latency: Histogram,
    pub delivery_latency: Histogram,
}

pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Relaxed);
}

impl Counters {
    /// The counted part of the metrics.
    pub fn read(&self) -> ProducerMetrics {
        ProducerMetrics {
            records_delivered: self.records_delivered.load(Relaxed),
            records_failed: self.records_failed.load(Relaxed),
            bytes_delivered: self.bytes_delivered.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            batches_sent: self.batches_sent.load(Relaxed),
            requests_sent: self.requests_sent.load(Relaxed),
            retries: self.retries.load(Relaxed),
            splits: self.splits.load(Relaxed),
            request_latency: self.request_latency.read(),
            delivery_latency: self.delivery_latency.read(),
            ..ProducerMetrics::default()
        }
    }
}

/// Sixteen steps to each power of two of microseconds.
const STEP_BITS: u32 = 4;
const STEPS: usize = (64 - STEP_BITS as usize + 1) << STEP_BITS;

/// Durations, sorted into buckets.
#[derive(Debug)]
pub(super) struct Histogram {
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
        add(&self.buckets[bucket_of(us)], 1);
        add(&self.sum_us, us);
        self.max_us.fetch_max(us, Relaxed);
    }

    fn read(&self) -> Latency {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|bucket| bucket.load(Relaxed))
            .collect();
        let count: u64 = counts.iter().sum();
        let max_us = self.max_us.load(Relaxed);
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
            mean: Duration::from_micros(self.sum_us.load(Relaxed).checked_div(count).unwrap_or(0)),
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
    }
}
