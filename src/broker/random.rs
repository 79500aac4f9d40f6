//! The broker's one source of randomness: topic ids, member ids, session ids, placement. Seeded, so a run can be replayed.
//! In: a seed. Out: numbers (SplitMix64) and ids.

use protocol::Uuid;

/// A small seeded generator (SplitMix64): good enough for ids, cheap, and the same on every platform.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A positive number, as fetch session ids are.
    pub(crate) fn positive_i32(&mut self) -> i32 {
        ((self.next_u64() >> 33) as i32).max(1)
    }

    /// A random (version 4) UUID; never one of Kafka's reserved ids, which have the upper half zero.
    pub(crate) fn uuid(&mut self) -> Uuid {
        Uuid::from_random(u128::from(self.next_u64()) << 64 | u128::from(self.next_u64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        assert_eq!(a.uuid(), b.uuid());
        assert_ne!(a.uuid(), Random::new(8).uuid());
    }
}
