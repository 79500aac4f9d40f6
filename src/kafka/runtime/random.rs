//! Seeded random numbers (SplitMix64): jitter, sticky partitions, correlation of nothing with anything. Not for secrets.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A small generator of random numbers. The same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The generator that `seed` names.
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator that differs from run to run.
    pub fn from_system() -> Self {
        // RandomState takes its keys from the system's entropy: the only source that the standard library offers.
        Self::seeded(RandomState::new().build_hasher().finish())
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number from 0 up to, not including, `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// A number from 0.0 up to, not including, 1.0.
    pub fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `duration`, more or less by up to 20%, as KIP-580 spreads its backoffs.
    pub fn jittered(&mut self, duration: Duration) -> Duration {
        duration.mul_f64(0.8 + 0.4 * self.fraction())
    }
}

/// Random numbers for many at once, without a lock: a counter, mixed.
#[derive(Debug)]
pub(crate) struct SharedRandom {
    seed: u64,
    drawn: AtomicU64,
}

impl SharedRandom {
    pub fn new(random: &mut Random) -> Self {
        Self {
            seed: random.next_u64(),
            drawn: AtomicU64::new(random.next_u64()),
        }
    }

    /// The next 128 bits, in two halves.
    pub fn next(&self) -> (u64, u64) {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let high = Random::seeded(self.seed.wrapping_add(drawn)).next_u64();
        let low = Random::seeded(self.seed ^ drawn).next_u64();
        (high, low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let mut one = Random::seeded(7);
        let mut two = Random::seeded(7);
        assert!((0..100).all(|_| one.next_u64() == two.next_u64()));
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut random = Random::seeded(1);
        assert_eq!(random.below(0), 0);
        for _ in 0..1_000 {
            assert!(random.below(3) < 3);
            assert!((0.0..1.0).contains(&random.fraction()));
            let jittered = random.jittered(Duration::from_millis(100));
            assert!((80..=120).contains(&jittered.as_millis()));
        }
    }
}
