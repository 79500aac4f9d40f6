//! What clients may produce, as Kafka's `producer_byte_rate` limits it.
//!
//! In: a client id, the bytes of its request, `now`. Out: how long it is to pause. A client may be ahead of its rate by one second's
//! worth; beyond that it pauses until it no longer is. Kafka averages over windows instead: the pauses come out alike over time, not one
//! by one.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

/// How far a client may be ahead of its rate.
const BURST: Duration = Duration::from_secs(1);

/// What each client has used up.
#[derive(Debug)]
pub(crate) struct Quota {
    bytes_per_second: NonZeroU64,
    /// By client id: until when what it has produced would take at its rate.
    paid_until: HashMap<String, Instant>,
}

impl Quota {
    pub(crate) fn new(bytes_per_second: NonZeroU64) -> Self {
        Self {
            bytes_per_second,
            paid_until: HashMap::new(),
        }
    }

    /// Notes a request of this many bytes and returns how long its client is to pause; zero within its rate.
    pub(crate) fn charge(&mut self, client_id: &str, bytes: usize, now: Instant) -> Duration {
        // Who is within the rate again needs no entry: there are as many as were over it lately.
        self.paid_until.retain(|_, until| *until > now);
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_second.get());
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let until = self.paid_until.get(client_id).copied().unwrap_or(now);
        let until = until.checked_add(cost).unwrap_or(until);
        self.paid_until.insert(client_id.to_owned(), until);
        (until - now).saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_produces_faster_pauses_until_it_is_back_at_the_rate() {
        let rate = NonZeroU64::new(10_000).expect("not zero");
        let mut quota = Quota::new(rate);
        let start = Instant::now();
        let mut now = start;
        for _ in 0..100 {
            now += quota.charge("greedy", 5_000, now);
            assert_eq!(quota.charge("modest", 0, now), Duration::ZERO);
        }
        let per_second = 100.0 * 5_000.0 / (now - start + BURST).as_secs_f64();
        assert!((9_900.0..=10_100.0).contains(&per_second), "{per_second}");
        let later = now + Duration::from_secs(60);
        assert_eq!(quota.charge("greedy", 10_000, later), Duration::ZERO);
    }
}
