//! How long to pause before trying again: exponential, with jitter (KIP-580). A plain struct: randomness is an argument.

use std::time::Duration;

use crate::kafka::Random;

/// The pauses between the attempts of one thing.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses that start at `first` and double up to `longest`, give or take 20%.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest: longest.max(first),
            failures: 0,
        }
    }

    /// The pause after so many failures in a row, for whoever counts them (KIP-580).
    pub fn pause(
        first: Duration,
        longest: Duration,
        failures: u32,
        random: &mut Random,
    ) -> Duration {
        let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(20));
        random.jittered(doubled.min(longest))
    }

    /// Another attempt failed: the pause before the next one.
    pub fn failed(&mut self, random: &mut Random) -> Duration {
        self.failures = self.failures.saturating_add(1);
        Self::pause(self.first, self.longest, self.failures, random)
    }

    /// An attempt succeeded: the next failure is a first one.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How many attempts failed since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_give_or_take_a_fifth() {
        let mut random = Random::seeded(3);
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        for expected in [50, 100, 200, 400, 800, 1_000, 1_000] {
            let pause = backoff.failed(&mut random).as_millis();
            assert!(
                pause >= expected * 8 / 10 && pause <= expected * 12 / 10,
                "{pause}"
            );
        }
        backoff.succeeded();
        assert!(backoff.failed(&mut random).as_millis() <= 60);
    }

    #[test]
    fn it_never_overflows() {
        let mut random = Random::seeded(3);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::MAX / 4);
        for _ in 0..1_000 {
            assert!(backoff.failed(&mut random) <= Duration::MAX / 2);
        }
    }
}
