//! Percentiles of many durations in little memory. In: microseconds. Out: values at most 1.6 % above what was recorded.

/// Each power of two is divided into that many buckets.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.ilog2();

/// Counts of durations by size.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_us: u64,
}

/// Durations from the one up to the other, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    pub from_ms: f64,
    pub to_ms: f64,
    pub count: u64,
}

/// Where the first bar ends, in microseconds.
const FIRST_US: u64 = 100;

impl Histogram {
    pub fn record(&mut self, us: u64) {
        let bucket = bucket(us);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// The duration that this part of the recorded ones does not exceed, in milliseconds; 0 when there are none.
    pub fn percentile_ms(&self, part: f64) -> f64 {
        let rank = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        let at = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        at.map_or(0, |bucket| largest(bucket).min(self.max_us)) as f64 / 1e3
    }

    /// How many durations there are between round numbers (1, 2, 5, 10 …) of milliseconds; those before the first and after the last that have any
    /// are left out.
    pub fn bars(&self) -> Vec<Bar> {
        let mut bars: Vec<Bar> = Vec::new();
        let (mut from_us, mut steps) = (0, [1, 2, 5].into_iter().cycle());
        let mut power = 1;
        for (bucket, count) in self.buckets.iter().enumerate() {
            let us = largest(bucket);
            while bars.is_empty() || us >= from_us {
                let step = steps.next().unwrap_or(1);
                let to_us = FIRST_US * power * step;
                if step == 5 {
                    power *= 10;
                }
                let ms = |us: u64| us as f64 / 1e3;
                bars.push(Bar {
                    from_ms: ms(from_us),
                    to_ms: ms(to_us),
                    count: 0,
                });
                from_us = to_us;
            }
            if let Some(bar) = bars.last_mut() {
                bar.count += count;
            }
        }
        let is_empty = |bar: &Bar| bar.count == 0;
        let first = bars.iter().position(|bar| !is_empty(bar)).unwrap_or(0);
        bars.drain(..first);
        bars
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max_ms(&self) -> f64 {
        self.max_us as f64 / 1e3
    }
}

/// Below 64 one bucket for each value; above, 64 buckets for each power of two.
fn bucket(us: u64) -> usize {
    let shift = us.max(1).ilog2().saturating_sub(STEP_BITS);
    (u64::from(shift) * STEPS + (us >> shift)) as usize
}

/// The largest value of a bucket.
fn largest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    let steps = bucket - shift * STEPS;
    ((steps + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_bucket_that_ends_close_above_it() {
        let values = (0..10_000)
            .chain((0..40).map(|bits| 1 << bits))
            .chain([123_456_789, 987_654_321_000]);
        for us in values {
            let end = largest(bucket(us));
            assert!(end >= us && end - us <= us / STEPS, "{us} ends at {end}");
        }
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut histogram = Histogram::default();
        (1..=1_000).for_each(|ms| histogram.record(ms * 1_000));
        assert!((histogram.percentile_ms(0.5) - 500.0).abs() < 10.0);
        assert!((histogram.percentile_ms(0.99) - 990.0).abs() < 16.0);
        assert_eq!(histogram.percentile_ms(1.0), 1_000.0);
        assert_eq!(Histogram::default().percentile_ms(0.5), 0.0);
    }

    #[test]
    fn bars_go_from_round_number_to_round_number_and_leave_out_what_is_empty() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.bars(), []);
        for us in [250, 300, 450, 4_000, 4_001, 70_000] {
            histogram.record(us);
        }
        let bars = histogram.bars();
        let shown: Vec<_> = bars
            .iter()
            .map(|bar| (bar.from_ms, bar.to_ms, bar.count))
            .collect();
        let expected = [
            (0.2, 0.5, 3),
            (0.5, 1.0, 0),
            (1.0, 2.0, 0),
            (2.0, 5.0, 2),
            (5.0, 10.0, 0),
            (10.0, 20.0, 0),
            (20.0, 50.0, 0),
            (50.0, 100.0, 1),
        ];
        assert_eq!(shown, expected);
        let all: u64 = bars.iter().map(|bar| bar.count).sum();
        assert_eq!(all, histogram.count());
    }
}
