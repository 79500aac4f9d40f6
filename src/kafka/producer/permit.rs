//! Room for a record, reserved before the record is there.

use protocol::records::{BatchBuilder, HEADER_LEN};
use tokio::time::Instant;

use super::admission::{NotAdmitted, measure, too_large, unknown_partition, write_raw};
use super::delivery::Delivery;
use super::producer::Producer;
use crate::kafka::runtime::Reservation;
use crate::kafka::{Error, ErrorKind, Record, Result, WriteOutcome};

/// Room in a producer's buffer for one record of a topic: see [`Producer::reserve`]. Dropped without a record, it returns its room.
#[derive(Debug)]
#[must_use = "a permit holds room in the producer's buffer until it is used or dropped"]
pub struct Permit {
    producer: Producer,
    topic: String,
    bytes: usize,
    reservation: Reservation,
}

impl Producer {
    /// Waits until `topic` is known and there is room for a record of at most `bytes`: its key, its value, its headers, and ten bytes more
    /// for each header. Then [`Permit::enqueue`] accepts the record without waiting.
    ///
    /// Whoever asks first gets room first, also before those who wait in [`enqueue`](Producer::enqueue) later on. This is what
    /// a `poll_ready` needs. Waits for `max_block` at most, and fails as [`enqueue`](Producer::enqueue) does. Cancel safe: a place among those who wait is
    /// given up with the future.
    pub async fn reserve(&self, topic: &str, bytes: usize) -> Result<Permit> {
        let size = BatchBuilder::record_size(0, bytes, []);
        self.check_size(topic, size)?;
        let deadline = Instant::now() + self.shared.config.max_block;
        self.known_topic(topic, deadline).await?;
        // Should the record begin a batch, that has a header.
        let reservation = self.wait_for_memory(HEADER_LEN + size, deadline).await?;
        Ok(Permit {
            producer: self.clone(),
            topic: topic.to_string(),
            bytes,
            reservation,
        })
    }

    /// The number of partitions of `topic`; waits for its metadata if it is not known yet, for `max_block` at most. Later on the number may
    /// be larger. Fails as [`enqueue`](Producer::enqueue) does. Cancel safe.
    pub async fn partitions(&self, topic: &str) -> Result<i32> {
        let deadline = Instant::now() + self.shared.config.max_block;
        self.known_topic(topic, deadline).await
    }

    /// The topic's number of partitions; follows it once its metadata is here.
    async fn known_topic(&self, name: &str, deadline: Instant) -> Result<i32> {
        let topics = &self.shared.topics;
        loop {
            if !self.shared.is_running() {
                return Err(self.shared.closed());
            }
            if let Some(topic) = topics.find(name) {
                return Ok(topic.partition_count());
            }
            self.wait_for_topic(name, deadline).await?;
        }
    }
}

impl Permit {
    /// The topic that the record may be for.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The most bytes of the record: key, value, headers, and ten more for each header.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Accepts the record, without waiting, and returns a handle on its outcome.
    ///
    /// Fails with [`ErrorKind::InvalidRecord`], also for another topic, with [`ErrorKind::RecordTooLarge`] for more bytes than were reserved,
    /// with [`ErrorKind::UnknownTopicOrPartition`] for a partition that the topic does not have, or with [`ErrorKind::Closed`]; the record
    /// was not written then.
    pub fn enqueue(mut self, record: Record<'_>) -> Result<Delivery> {
        let mut measured = measure(&record, record.value.map_or(0, <[u8]>::len));
        if record.topic != self.topic {
            let text = format!(
                "the record is for topic {:?}, but room was reserved for topic {:?}",
                record.topic, self.topic
            );
            let error = Error::new(ErrorKind::InvalidRecord, text);
            return Err(error.with_outcome(WriteOutcome::NotWritten));
        }
        let reserved = BatchBuilder::record_size(0, self.bytes, []);
        if measured.size > reserved {
            let text = format!(
                "the record takes {} bytes more than the {} that were reserved for it",
                measured.size - reserved,
                self.bytes
            );
            let error = Error::new(ErrorKind::RecordTooLarge, text).topic(record.topic);
            return Err(error.with_outcome(WriteOutcome::NotWritten));
        }
        let mut write = Some(write_raw);
        loop {
            let reservation = Some(&mut self.reservation);
            match (self.producer).step(&record, &mut measured, reservation, &mut write) {
                Ok(delivery) => return Ok(delivery),
                Err(NotAdmitted::Failed(error)) => return Err(error),
                Err(NotAdmitted::Yield) => {}
                Err(NotAdmitted::UnknownPartition(count)) => {
                    return Err(unknown_partition(&record, count));
                }
                // A topic that was known stays so, and the room is there.
                Err(NotAdmitted::UnknownTopic | NotAdmitted::NeedMemory(_)) => {
                    return Err(too_large(record.topic, measured.size, reserved));
                }
            }
        }
    }
}
