//! A token bucket: how often something may be done. Sans-IO: takes the time, and what has gone well so far, as arguments.

use std::time::Duration;

use tokio::time::Instant;

#[cfg(planted_defects)]
use crate::kafka::planted;

/// For how many seconds tokens are kept.
const BURST_SECONDS: f64 = 10.0;

/// So many tokens a second, and for each hundred successes so many more.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    per_second: f64,
    per_success: f64,
    tokens: f64,
    last: Option<Instant>,
    successes: u64,
    #[cfg(planted_defects)]
    spent: f64,
}

impl TokenBucket {
    pub(crate) fn new(per_second: usize, percent_of_successes: usize) -> Self {
        let per_second = per_second.max(1) as f64;
        Self {
            per_second,
            per_success: percent_of_successes as f64 / 100.0,
            tokens: per_second * BURST_SECONDS,
            last: None,
            successes: 0,
            #[cfg(planted_defects)]
            spent: 0.0,
        }
    }

    /// Takes a token, now that so many `successes` were counted in all. Returns how long to wait for it: none is refused, but they come one
    /// after the other.
    pub(crate) fn take(&mut self, now: Instant, successes: u64) -> Duration {
        let passed = self
            .last
            .map_or(Duration::ZERO, |last| now.duration_since(last));
        let more = successes.saturating_sub(self.successes) as f64 * self.per_success;
        let full = self.per_second * BURST_SECONDS + more;
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second + more).min(full);
        (self.last, self.successes) = (Some(now), successes);
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::BudgetNotRefilled) {
            self.spent += 1.0;
            let is_left = self.spent <= self.per_second * BURST_SECONDS;
            return if is_left {
                Duration::ZERO
            } else {
                Duration::from_secs(1_000_000)
            };
        }
        self.tokens -= 1.0;
        match self.tokens < 0.0 {
            true => Duration::from_secs_f64((-self.tokens / self.per_second).min(1e6)),
            false => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_spread_and_what_goes_well_makes_room() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, 20);
        assert!((0..100).all(|_| bucket.take(start, 0).is_zero()));
        let waits: Vec<_> = (0..20).map(|_| bucket.take(start, 0).as_millis()).collect();
        assert_eq!((waits[0], waits[19]), (100, 2_000), "ten a second");
        // A hundred successes are worth twenty.
        assert_eq!(bucket.take(start, 100).as_millis(), 100);
        let later = start + Duration::from_secs(2);
        assert!(bucket.take(later, 100).is_zero());
        // No more is kept than for ten seconds.
        let late = start + Duration::from_secs(10_000);
        let free = (0..1_000).take_while(|_| bucket.take(late, 100).is_zero());
        assert_eq!(free.count(), 100);
    }
}
