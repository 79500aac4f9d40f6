//! What a partition remembers of idempotent and transactional producers (KIP-98), by Kafka 4's rules.
//!
//! In: producer id, epoch and sequences of a batch; markers that end transactions. Out: append it, it is a duplicate of an earlier one, or an error.
//! A producer that is not known may begin with any sequence (KIP-360): Kafka no longer answers UNKNOWN_PRODUCER_ID here.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::describe_producers_response::ProducerState;
use protocol::records::RecordBatch;
use tokio::time::Instant;

use super::transactions::Marker;

/// As many batches as a producer may have in flight are remembered to recognise duplicates.
const REMEMBERED_BATCHES: usize = 5;
/// Kafka's default of `producer.id.expiration.ms`.
const EXPIRATION: Duration = Duration::from_secs(24 * 60 * 60);
/// Stands for no epoch of a coordinator.
const NO_COORDINATOR_EPOCH: i32 = -1;
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
    /// Of a batch; none without idempotence.
    pub(crate) fn of(batch: &RecordBatch) -> Option<Self> {
        (batch.producer_id() >= 0).then(|| Self {
            producer_id: batch.producer_id(),
            epoch: batch.producer_epoch(),
            first: batch.base_sequence(),
            last_offset_delta: batch.header().last_offset_delta,
        })
    }

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
    /// Of this epoch; none after a marker that began it.
    batches: VecDeque<Remembered>,
    last_append: Instant,
    /// The largest timestamp of what it wrote last.
    last_timestamp_ms: i64,
    /// Of its last marker.
    coordinator_epoch: i32,
    marker_offset: Option<i64>,
}

#[derive(Debug)]
struct Remembered {
    first: i32,
    last: i32,
    base_offset: i64,
}

/// The producers of one partition.
#[derive(Debug)]
pub(crate) struct Producers {
    producers: BTreeMap<i64, Producer>,
    expiration: Duration,
}

impl Default for Producers {
    fn default() -> Self {
        Self {
            producers: BTreeMap::new(),
            expiration: EXPIRATION,
        }
    }
}

impl Producers {
    /// With this `producer.id.expiration.ms`.
    pub(crate) fn set_expiration(&mut self, expiration: Duration) {
        self.expiration = expiration;
    }

    pub(crate) fn expiration(&self) -> Duration {
        self.expiration
    }

    /// The epoch that a producer has written in last, if it is known.
    pub(crate) fn epoch(&self, producer_id: i64) -> Option<i16> {
        Some(self.producers.get(&producer_id)?.epoch)
    }

    /// The epoch of the coordinator of a producer's last marker; 0 without one.
    pub(crate) fn coordinator_epoch(&self, producer_id: i64) -> i32 {
        let known = self.producers.get(&producer_id);
        known.map_or(0, |known| known.coordinator_epoch.max(0))
    }

    /// Whether no batch of the producer's epoch is known.
    pub(crate) fn is_new(&self, producer_id: i64) -> bool {
        let known = self.producers.get(&producer_id);
        known.is_none_or(|producer| producer.batches.is_empty())
    }

    /// Where a batch is in the log, if it is one of the last of its producer.
    pub(crate) fn duplicate(&self, batch: &Sequenced) -> Option<i64> {
        let producer = self.producers.get(&batch.producer_id)?;
        let same = |known: &&Remembered| known.first == batch.first && known.last == batch.last();
        let known = producer.batches.iter().find(same)?;
        (producer.epoch == batch.epoch).then_some(known.base_offset)
    }

    /// Forgets who has not written for long, but for those who have a transaction open.
    pub(crate) fn expire(&mut self, is_open: impl Fn(i64) -> bool, now: Instant) {
        let expiration = self.expiration;
        self.producers.retain(|id, producer| {
            now.duration_since(producer.last_append) < expiration || is_open(*id)
        });
    }

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
        if let Some(base_offset) = self.duplicate(batch) {
            return Ok(Verdict::Duplicate { base_offset });
        }
        let expected = producer.batches.back();
        match batch.first == expected.map_or(0, |newest| next_sequence(newest.last)) {
            true => Ok(Verdict::Append),
            false => Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
        }
    }

    /// Remembers a batch that was appended at `base_offset`; `timestamp_ms`: its largest timestamp.
    pub(crate) fn appended(
        &mut self,
        batch: &Sequenced,
        base_offset: i64,
        timestamp_ms: i64,
        now: Instant,
    ) {
        let producer = self.written(batch.producer_id, batch.epoch, timestamp_ms, now);
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Remembered {
            first: batch.first,
            last: batch.last(),
            base_offset,
        });
    }

    /// Whether a marker may be appended; `is_open`: it ends a transaction. Errors are Kafka's: INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED.
    pub(crate) fn check_marker(&self, marker: &Marker, is_open: bool) -> Result<(), ErrorCode> {
        let known = self.producers.get(&marker.producer.id);
        marker.check(
            known.map(|known| known.epoch),
            known.map(|known| known.coordinator_epoch),
            is_open,
        )
    }

    /// Remembers a marker that was appended at `offset`.
    pub(crate) fn marked(&mut self, marker: &Marker, offset: i64, timestamp_ms: i64, now: Instant) {
        let producer = self.written(marker.producer.id, marker.producer.epoch, timestamp_ms, now);
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.marker_offset = Some(offset);
    }

    fn written(&mut self, id: i64, epoch: i16, timestamp_ms: i64, now: Instant) -> &mut Producer {
        let producer = self.producers.entry(id).or_insert_with(|| Producer {
            epoch,
            batches: VecDeque::with_capacity(REMEMBERED_BATCHES),
            last_append: now,
            last_timestamp_ms: timestamp_ms,
            coordinator_epoch: NO_COORDINATOR_EPOCH,
            marker_offset: None,
        });
        if producer.epoch != epoch {
            producer.epoch = epoch;
            producer.batches.clear();
        }
        (producer.last_append, producer.last_timestamp_ms) = (now, timestamp_ms);
        producer
    }

    /// Whether it is time to look for those who have not written for long: there are many, or this one is asked for.
    pub(crate) fn expiry_is_due(&self, producer_id: i64, now: Instant) -> bool {
        let known = self.producers.get(&producer_id);
        let expired = |known: &Producer| now.duration_since(known.last_append) >= self.expiration;
        known.is_some_and(expired) || self.producers.len() >= PRODUCERS_BEFORE_EXPIRY
    }

    /// What DescribeProducers says; where each one's open transaction begins is known elsewhere.
    pub(crate) fn describe(&self) -> impl Iterator<Item = ProducerState> {
        self.producers.iter().map(|(id, producer)| ProducerState {
            producer_id: *id,
            producer_epoch: i32::from(producer.epoch),
            last_sequence: producer.batches.back().map_or(-1, |newest| newest.last),
            last_timestamp: producer.last_timestamp_ms,
            coordinator_epoch: producer.coordinator_epoch,
            ..Default::default()
        })
    }

    /// Forgets what is at or past the log's new end: batches, and whoever has none left or a marker there.
    pub(crate) fn truncate(&mut self, end_offset: i64) {
        self.producers.retain(|_, producer| {
            producer
                .batches
                .retain(|batch| batch.base_offset < end_offset);
            match producer.marker_offset {
                Some(offset) => offset < end_offset,
                None => !producer.batches.is_empty(),
            }
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
    use crate::broker::transactions::{ProducerIdAndEpoch, TransactionVersion};

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
        producers.appended(&batch, base_offset, 1_000, Instant::now());
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

    #[test]
    fn producers_expire_unless_they_have_a_transaction_open() {
        let mut producers = Producers::default();
        let now = Instant::now();
        for id in 0..PRODUCERS_BEFORE_EXPIRY as i64 {
            assert!(!producers.expiry_is_due(3, now));
            let batch = Sequenced {
                producer_id: id,
                ..batch(0, 0, 1)
            };
            producers.appended(&batch, 0, 1_000, now);
        }
        assert!(producers.expiry_is_due(3, now));
        producers.expire(|id| id == 3, now + EXPIRATION);
        assert_eq!(producers.producers.keys().collect::<Vec<_>>(), [&3]);
        assert_eq!((producers.epoch(3), producers.epoch(4)), (Some(0), None));
    }

    fn marker(epoch: i16, coordinator_epoch: i32, version: TransactionVersion) -> Marker {
        Marker {
            producer: ProducerIdAndEpoch { id: 9, epoch },
            commit: true,
            coordinator_epoch,
            version,
        }
    }

    #[test]
    fn a_marker_with_a_new_epoch_fences_and_the_next_transaction_begins_at_zero() {
        let mut producers = Producers::default();
        append(&mut producers, batch(0, 0, 5), 0);
        let v2 = TransactionVersion::V2;
        let late = Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        assert_eq!(producers.check_marker(&marker(0, 0, v2), true), late);
        assert_eq!(producers.check_marker(&marker(1, 0, v2), true), Ok(()));
        producers.marked(&marker(1, 0, v2), 5, 2_000, Instant::now());
        // The same once more, and one that comes too late for the next transaction.
        assert_eq!(producers.check_marker(&marker(1, 0, v2), false), Ok(()));
        assert_eq!(producers.check_marker(&marker(1, 0, v2), true), late);
        assert!(producers.is_new(9));
        assert_eq!(
            producers.check(&batch(0, 5, 1)),
            Err(ErrorCode::INVALID_PRODUCER_EPOCH)
        );
        assert_eq!(
            producers.check(&batch(1, 5, 1)),
            Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
        );
        append(&mut producers, batch(1, 0, 1), 6);
    }

    #[test]
    fn a_marker_of_the_older_rules_has_the_epoch_and_sequences_go_on() {
        let mut producers = Producers::default();
        append(&mut producers, batch(0, 0, 5), 0);
        let v0 = TransactionVersion::V0;
        assert_eq!(producers.check_marker(&marker(0, 3, v0), true), Ok(()));
        producers.marked(&marker(0, 3, v0), 5, 2_000, Instant::now());
        assert_eq!(
            producers.check_marker(&marker(0, 2, v0), false),
            Err(ErrorCode::TRANSACTION_COORDINATOR_FENCED)
        );
        append(&mut producers, batch(0, 5, 1), 6);
        let state = producers.describe().next().expect("one");
        assert_eq!((state.coordinator_epoch, state.last_sequence), (3, 5));
        assert_eq!((state.last_timestamp, state.producer_epoch), (1_000, 0));
    }
}
