//! Which batch may open a transaction in a partition (KIP-890): one whose request has asked the coordinator meanwhile.
//!
//! A request that wants to open a transaction takes a guard before it asks, and shows it when it appends. A marker takes the guard away. So a
//! request that has asked before the end of a transaction can't append after it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::ProducerIdAndEpoch;

/// Old ones are looked for once there are this many.
const VERIFICATIONS_BEFORE_EXPIRY: usize = 1000;

/// Says which verification a batch relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard(u64);

#[derive(Debug)]
struct Verification {
    guard: Guard,
    epoch: i16,
    /// The lowest sequence that was seen: nothing is appended before it.
    lowest_sequence: i32,
    /// Whether the request adds the partition by itself; then the transaction begins with sequence 0.
    adds: bool,
    since: Instant,
}

/// The verifications of one partition.
#[derive(Debug, Default)]
pub(crate) struct Verifications {
    by_producer: BTreeMap<i64, Verification>,
    begun: u64,
}

impl Verifications {
    /// Begins to verify, or goes on with it.
    pub(crate) fn begin(
        &mut self,
        producer: ProducerIdAndEpoch,
        sequence: i32,
        adds: bool,
        expiration: Duration,
        now: Instant,
    ) -> Guard {
        if self.by_producer.len() >= VERIFICATIONS_BEFORE_EXPIRY {
            let is_new = |verification: &Verification| now - verification.since < expiration;
            self.by_producer.retain(|_, it| is_new(it));
        }
        let begun = &mut self.begun;
        let verification = self.by_producer.entry(producer.id).or_insert_with(|| {
            *begun += 1;
            Verification {
                guard: Guard(*begun),
                epoch: producer.epoch,
                lowest_sequence: sequence,
                adds,
                since: now,
            }
        });
        if producer.epoch > verification.epoch {
            (verification.epoch, verification.lowest_sequence) = (producer.epoch, sequence);
        } else if producer.epoch == verification.epoch {
            verification.lowest_sequence = verification.lowest_sequence.min(sequence);
        }
        verification.guard
    }

    /// Whether a batch with this guard may open a transaction.
    pub(crate) fn allow(&self, producer_id: i64, guard: Option<Guard>) -> bool {
        let verification = self.by_producer.get(&producer_id);
        verification.is_some_and(|verification| Some(verification.guard) == guard)
    }

    /// Whether a batch may be the next; `is_first`: nothing of the producer's epoch is known.
    pub(crate) fn in_order(&self, producer_id: i64, sequence: i32, is_first: bool) -> bool {
        self.by_producer.get(&producer_id).is_none_or(|it| {
            !(it.adds && is_first && sequence != 0) && sequence <= it.lowest_sequence
        })
    }

    /// The transaction is open, or over.
    pub(crate) fn end(&mut self, producer_id: i64) {
        self.by_producer.remove(&producer_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCER: ProducerIdAndEpoch = ProducerIdAndEpoch { id: 7, epoch: 1 };
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_guard_holds_until_the_transaction_is_open_or_over() {
        let mut verifications = Verifications::default();
        let now = Instant::now();
        let guard = verifications.begin(PRODUCER, 0, false, HOUR, now);
        assert_eq!(guard, verifications.begin(PRODUCER, 5, false, HOUR, now));
        assert!(verifications.allow(7, Some(guard)));
        assert!(!verifications.allow(7, None) && !verifications.allow(8, Some(guard)));
        verifications.end(7);
        let next = verifications.begin(PRODUCER, 5, false, HOUR, now);
        assert!(!verifications.allow(7, Some(guard)) && verifications.allow(7, Some(next)));
    }

    #[test]
    fn what_comes_first_in_the_transaction_is_appended_first() {
        let mut verifications = Verifications::default();
        let now = Instant::now();
        verifications.begin(PRODUCER, 5, false, HOUR, now);
        verifications.begin(PRODUCER, 3, false, HOUR, now);
        assert!(verifications.in_order(7, 3, true) && !verifications.in_order(7, 5, true));
        let later = ProducerIdAndEpoch {
            epoch: 2,
            ..PRODUCER
        };
        verifications.begin(later, 4, false, HOUR, now);
        assert!(verifications.in_order(7, 4, true));
        verifications.end(7);
        verifications.begin(PRODUCER, 3, true, HOUR, now);
        assert!(!verifications.in_order(7, 3, true) && verifications.in_order(7, 3, false));
    }

    #[test]
    fn verifications_that_came_to_nothing_are_forgotten_once_there_are_many() {
        let mut verifications = Verifications::default();
        let now = Instant::now();
        for id in 0..VERIFICATIONS_BEFORE_EXPIRY as i64 {
            let producer = ProducerIdAndEpoch { id, epoch: 0 };
            verifications.begin(producer, 0, false, HOUR, now);
        }
        let later = now + HOUR;
        let last = ProducerIdAndEpoch {
            id: 10_000,
            epoch: 0,
        };
        verifications.begin(last, 0, false, HOUR, later);
        assert_eq!(verifications.by_producer.len(), 1);
    }
}
