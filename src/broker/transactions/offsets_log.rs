//! What of the internal topic of groups' offsets, which this broker does not have, transactions need: which partition a group is in, and which
//! producers write to it.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ErrorCode;
use tokio::time::Instant;

use super::{Guard, Marker, ProducerIdAndEpoch, Verifications};

/// Its name.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// Its partitions, as by default in Kafka.
pub(crate) const OFFSETS_PARTITIONS: i32 = 50;
/// Producers that have not written for long are looked for once there are this many.
const PRODUCERS_BEFORE_EXPIRY: usize = 1000;
/// Offsets have no sequences.
const NO_SEQUENCE: i32 = -1;

/// The partition that a group's offsets are in, by Java's hash of its id.
pub(crate) fn offsets_partition(group_id: &str) -> i32 {
    let hash = group_id.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    hash.checked_abs().unwrap_or(0) % OFFSETS_PARTITIONS
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    coordinator_epoch: i32,
    is_open: bool,
    last_append: Instant,
}

#[derive(Debug, Default)]
struct OffsetsPartition {
    producers: BTreeMap<i64, Producer>,
    verifications: Verifications,
}

/// The producers of all partitions.
#[derive(Debug, Default)]
pub(crate) struct OffsetsLog {
    partitions: BTreeMap<i32, OffsetsPartition>,
}

impl OffsetsLog {
    /// Begins to verify that a transaction covers the partition; nothing where it is open already.
    pub(crate) fn begin_verification(
        &mut self,
        index: i32,
        producer: ProducerIdAndEpoch,
        adds: bool,
        expiration: Duration,
        now: Instant,
    ) -> Result<Option<Guard>, ErrorCode> {
        let partition = self.partitions.entry(index).or_default();
        match partition.check(producer)? {
            true => Ok(None),
            false => Ok(Some(partition.verifications.begin(
                producer,
                NO_SEQUENCE,
                adds,
                expiration,
                now,
            ))),
        }
    }

    /// Takes offsets of a transaction in.
    pub(crate) fn append(
        &mut self,
        index: i32,
        producer: ProducerIdAndEpoch,
        guard: Option<Guard>,
        expiration: Duration,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        let partition = self.partitions.entry(index).or_default();
        if !partition.check(producer)? && !partition.verifications.allow(producer.id, guard) {
            return Err(ErrorCode::INVALID_TXN_STATE);
        }
        partition.verifications.end(producer.id);
        if partition.producers.len() >= PRODUCERS_BEFORE_EXPIRY {
            let is_in_use = |it: &Producer| it.is_open || now - it.last_append < expiration;
            partition.producers.retain(|_, it| is_in_use(it));
        }
        let known = partition.producers.get(&producer.id);
        let coordinator_epoch = known.map_or(-1, |known| known.coordinator_epoch);
        let written = Producer {
            epoch: producer.epoch,
            coordinator_epoch,
            is_open: true,
            last_append: now,
        };
        partition.producers.insert(producer.id, written);
        Ok(())
    }

    /// Takes back a transaction that was open when the broker ended.
    pub(crate) fn restore(&mut self, index: i32, producer: ProducerIdAndEpoch, now: Instant) {
        let open = Producer {
            epoch: producer.epoch,
            coordinator_epoch: -1,
            is_open: true,
            last_append: now,
        };
        let partition = self.partitions.entry(index).or_default();
        partition.producers.insert(producer.id, open);
    }

    /// Whether a producer's transaction may be ended so.
    pub(crate) fn check_end(&self, index: i32, marker: &Marker) -> Result<(), ErrorCode> {
        let partition = self.partitions.get(&index);
        let known = partition.and_then(|partition| partition.producers.get(&marker.producer.id));
        marker.check(
            known.map(|known| known.epoch),
            known.map(|known| known.coordinator_epoch),
            known.is_some_and(|known| known.is_open),
        )
    }

    /// Ends a producer's transaction.
    pub(crate) fn end(
        &mut self,
        index: i32,
        marker: &Marker,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        self.check_end(index, marker)?;
        let partition = self.partitions.entry(index).or_default();
        partition.verifications.end(marker.producer.id);
        let ended = Producer {
            epoch: marker.producer.epoch,
            coordinator_epoch: marker.coordinator_epoch,
            is_open: false,
            last_append: now,
        };
        partition.producers.insert(marker.producer.id, ended);
        Ok(())
    }
}

impl OffsetsPartition {
    /// Whether the producer has a transaction open.
    fn check(&self, producer: ProducerIdAndEpoch) -> Result<bool, ErrorCode> {
        match self.producers.get(&producer.id) {
            Some(known) if producer.epoch < known.epoch => Err(ErrorCode::INVALID_PRODUCER_EPOCH),
            Some(known) => Ok(known.is_open && known.epoch == producer.epoch),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_in_the_partitions_that_kafka_has_them_in() {
        // By `Utils.abs("…".hashCode()) % 50` of Java.
        assert_eq!(offsets_partition(""), 0);
        assert_eq!(offsets_partition("a"), 97 % 50);
        assert_eq!(offsets_partition("polygenelubricants"), 0);
    }
}
