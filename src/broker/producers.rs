//! What a partition remembers of idempotent producers (KIP-98), by Kafka 4's rules.
//!
//! In: producer id, epoch and sequences of a batch. Out: append it, it is a duplicate of an earlier one, or an error.
//! A producer that is not known may begin with any sequence (KIP-360): Kafka no longer answers UNKNOWN_PRODUCER_ID here.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use protocol::ErrorCode;
use tokio::time::Instant;

/// As many batches as a producer may have in flight are remembered to recognise duplicates.
const REMEMBERED_BATCHES: usize = 5;
/// Kafka's `producer.id.expiration.ms`.
const EXPIRATION: Duration = Duration::from_secs(24 * 60 * 60);
/// Expired producers are looked for once there are this many.
const PRODUCERS_BEFORE_EXPIRY: usize = 1000;

/// Who wrote a batch, and its place in what they wrote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sequenced {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) first: i32,
    /// Number of records less one; sequences wrap from `i32::MAX` to 0.
    pub(crate) last_offset_delta: i32,
}

impl Sequenced {
    fn last(&self) -> i32 {
        // Sequences are 31 bits wide.
        ((i64::from(self.first) + i64::from(self.last_offset_delta)) & i64::from(i32::MAX)) as i32
    }
}

/// What is to become of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    Append,
    /// Already in the log, from this offset on.
    Duplicate {
        base_offset: i64,
    },
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Remembered>,
    last_append: Instant,
}

#[derive(Debug)]
struct Remembered {
    first: i32,
    last: i32,
    base_offset: i64,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    producers: BTreeMap<i64, Producer>,
}

impl Producers {
    /// Whether a batch may be appended. Errors are Kafka's: INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER.
    pub(crate) fn check(&self, batch: &Sequenced) -> Result<Verdict, ErrorCode> {
        let Some(producer) = self.producers.get(&batch.producer_id) else {
            return Ok(Verdict::Append);
        };
        if batch.epoch < producer.epoch {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        if batch.epoch > producer.epoch {
            return if batch.first == 0 {
                Ok(Verdict::Append)
            } else {
                Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
            };
        }
        let same = |known: &&Remembered| known.first == batch.first && known.last == batch.last();
        if let Some(known) = producer.batches.iter().find(same) {
            return Ok(Verdict::Duplicate {
                base_offset: known.base_offset,
            });
        }
        match producer.batches.back() {
            Some(newest) if batch.first != next_sequence(newest.last) => {
                Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
            }
            _ => Ok(Verdict::Append),
        }
    }

    /// Remembers a batch that was appended at `base_offset`.
    pub(crate) fn appended(&mut self, batch: &Sequenced, base_offset: i64, now: Instant) {
        if self.producers.len() >= PRODUCERS_BEFORE_EXPIRY {
            self.producers
                .retain(|_, producer| now.duration_since(producer.last_append) < EXPIRATION);
        }
        let producer = self
            .producers
            .entry(batch.producer_id)
            .or_insert_with(|| Producer {
                epoch: batch.epoch,
                batches: VecDeque::with_capacity(REMEMBERED_BATCHES),
                last_append: now,
            });
        if producer.epoch != batch.epoch {
            producer.epoch = batch.epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Remembered {
            first: batch.first,
            last: batch.last(),
            base_offset,
        });
        producer.last_append = now;
    }

    /// Forgets the batches at or past the log's new end, and whoever has none left, as Kafka does that rebuilds this from the log.
    pub(crate) fn truncate(&mut self, end_offset: i64) {
        self.producers.retain(|_, producer| {
            producer
                .batches
                .retain(|batch| batch.base_offset < end_offset);
            !producer.batches.is_empty()
        });
    }

    /// Forgets everyone, as when their state expired.
    pub(crate) fn clear(&mut self) {
        self.producers.clear();
    }
}

fn next_sequence(last: i32) -> i32 {
    last.checked_add(1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, first: i32, records: i32) -> Sequenced {
        Sequenced {
            producer_id: 9,
            epoch,
            first,
            last_offset_delta: records - 1,
        }
    }

    fn append(producers: &mut Producers, batch: Sequenced, base_offset: i64) {
        assert_eq!(producers.check(&batch), Ok(Verdict::Append));
        producers.appended(&batch, base_offset, Instant::now());
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere() {
        assert_eq!(
            Producers::default().check(&batch(3, 77, 1)),
            Ok(Verdict::Append)
        );
    }

    #[test]
    fn the_last_five_batches_are_recognised_as_duplicates_and_older_ones_are_out_of_order() {
        let mut producers = Producers::default();
        for index in 0..6 {
            append(
                &mut producers,
                batch(0, index * 10, 10),
                i64::from(index) * 10,
            );
        }
        assert_eq!(
            producers.check(&batch(0, 10, 10)),
            Ok(Verdict::Duplicate { base_offset: 10 })
        );
        assert_eq!(
            producers.check(&batch(0, 50, 10)),
            Ok(Verdict::Duplicate { base_offset: 50 })
        );
        assert_eq!(
            producers.check(&batch(0, 0, 10)),
            Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
        );
        assert_eq!(
            producers.check(&batch(0, 50, 9)),
            Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
        );
        assert_eq!(
            producers.check(&batch(0, 61, 1)),
            Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
        );
        append(&mut producers, batch(0, 60, 1), 60);
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
        let mut producers = Producers::default();
        append(&mut producers, batch(0, 0, 5), 0);
        assert_eq!(
            producers.check(&batch(1, 5, 1)),
            Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
        );
        append(&mut producers, batch(1, 0, 1), 5);
        assert_eq!(
            producers.check(&batch(0, 5, 1)),
            Err(ErrorCode::INVALID_PRODUCER_EPOCH)
        );
        assert_eq!(
            producers.check(&batch(0, 0, 5)),
            Err(ErrorCode::INVALID_PRODUCER_EPOCH)
        );
    }

    #[test]
    fn sequences_wrap_to_zero_within_and_between_batches() {
        let mut producers = Producers::default();
        append(&mut producers, batch(0, i32::MAX - 1, 4), 0);
        append(&mut producers, batch(0, 2, 1), 4);
        let mut exact = Producers::default();
        append(&mut exact, batch(0, i32::MAX, 1), 0);
        append(&mut exact, batch(0, 0, 1), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn producers_expire_once_there_are_many() {
        let mut producers = Producers::default();
        for id in 0..PRODUCERS_BEFORE_EXPIRY as i64 {
            producers.appended(
                &Sequenced {
                    producer_id: id,
                    ..batch(0, 0, 1)
                },
                0,
                Instant::now(),
            );
        }
        tokio::time::advance(EXPIRATION).await;
        producers.appended(&batch(0, 1, 1), 1, Instant::now());
        assert_eq!(producers.producers.len(), 1);
    }
}
