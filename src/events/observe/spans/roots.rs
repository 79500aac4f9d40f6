//! Traces that begin here: which of them are sampled, decided by their id before a span is built.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use crate::kafka::runtime::{Random, SharedRandom};

/// Draws the ids of traces. Takes no lock.
#[derive(Debug)]
pub(super) struct Roots {
    random: SharedRandom,
    /// Below it an id's lower 63 bits are those of a trace that is sampled, as the SDK's `TraceIdRatioBased` has it.
    bound: u64,
}

impl Roots {
    pub fn new(ratio: f64, random: &mut Random) -> Self {
        Self {
            random: SharedRandom::new(random),
            bound: (ratio.clamp(0.0, 1.0) * (1u64 << 63) as f64) as u64,
        }
    }

    /// What stands for the first span of a trace that is not sampled; `None`: this one is.
    pub fn unsampled(&self) -> Option<SpanContext> {
        let (high, low) = self.random.next();
        if low >> 1 < self.bound {
            return None;
        }
        let trace = TraceId::from(u128::from(high) << 64 | u128::from(low));
        // An id of zeros is none.
        let span = SpanId::from(Random::seeded(high).next_u64() | 1);
        let (flags, state) = (TraceFlags::NOT_SAMPLED, TraceState::NONE);
        Some(SpanContext::new(trace, span, flags, false, state))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn as_many_are_sampled_as_the_ratio_says_and_no_id_comes_twice() {
        let mut random = Random::seeded(1);
        for (ratio, least, most) in [(0.0, 0, 0), (0.01, 700, 1_300), (1.0, 100_000, 100_000)] {
            let roots = Roots::new(ratio, &mut random);
            let drawn: Vec<_> = (0..100_000).filter_map(|_| roots.unsampled()).collect();
            let sampled = 100_000 - drawn.len();
            assert!((least..=most).contains(&sampled), "{sampled} of {ratio}");
            assert!(drawn.iter().all(|it| it.is_valid() && !it.is_sampled()));
            let ids: HashSet<_> = drawn.iter().map(|it| it.trace_id()).collect();
            assert_eq!(ids.len(), drawn.len());
        }
    }
}
