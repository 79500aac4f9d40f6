//! How a record is accepted: its partition is chosen, memory is reserved for it, and it is encoded into the open batch.

use protocol::records::{BatchBuilder, BatchFull, HEADER_LEN};
use tokio::time::Instant;

use super::delivery::Delivery;
use super::partition::accumulator::AppendError;
use super::partition::queue::Gate;
use super::partitioner::Partitioner;
use super::producer::Producer;
use super::topics::Topic;
use crate::kafka::model::check_topic_name;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::runtime::Reservation;

use crate::kafka::{Error, ErrorKind, Record, Result, WriteOutcome};

/// What came of an attempt to accept a record.
pub(super) enum Admission {
    Done(Delivery),
    /// Not yet: the senders should run first, there is enough for them to do.
    Yield,
    UnknownTopic,
    UnknownPartition(i32),
    NeedMemory(usize),
}

/// A record, measured.
pub(super) struct Measured<'a> {
    record: &'a Record<'a>,
    /// The most bytes that it takes in a batch.
    pub size: usize,
    /// The partition, once it was chosen.
    partition: Option<i32>,
}

impl Producer {
    /// Accepts a record, waiting for what it needs.
    pub(super) async fn accept<W>(
        &self,
        record: &Record<'_>,
        value_len: usize,
        write: W,
    ) -> Result<Delivery>
    where
        W: FnOnce(&mut BatchBuilder, i64) -> Result<u32, BatchFull>,
    {
        let mut measured = measure(record, value_len);
        self.check_size(record.topic, measured.size)?;
        let mut write = Some(write);
        match self.step_inlined(&mut measured, None, &mut write)? {
            #[cfg(planted_defects)]
            Admission::Done(delivery)
                if planted::is_planted(planted::Defect::WaitAfterAcceptance) =>
            {
                tokio::task::yield_now().await;
                Ok(delivery)
            }
            // Nothing is awaited from here on: a caller that gives up after it would not learn that the record was accepted.
            Admission::Done(delivery) => Ok(delivery),
            step => {
                self.wait_for_admission(&mut measured, step, &mut write)
                    .await
            }
        }
    }

    #[cold]
    async fn wait_for_admission<W>(
        &self,
        measured: &mut Measured<'_>,
        mut step: Admission,
        write: &mut Option<W>,
    ) -> Result<Delivery>
    where
        W: FnOnce(&mut BatchBuilder, i64) -> Result<u32, BatchFull>,
    {
        let shared = &self.shared;
        let deadline = Instant::now() + shared.config.max_block;
        let mut refreshed = false;
        loop {
            let mut reservation = None;
            match step {
                Admission::Done(delivery) => return Ok(delivery),
                Admission::Yield => tokio::task::yield_now().await,
                Admission::UnknownTopic => {
                    self.wait_for_topic(measured.record.topic, deadline).await?;
                }
                Admission::UnknownPartition(count) if refreshed => {
                    return Err(unknown_partition(measured.record, count));
                }
                Admission::UnknownPartition(_) => {
                    refreshed = true;
                    let metadata = shared.cluster.refreshed(deadline).await;
                    let metadata =
                        metadata.map_err(|error| error.with_outcome(WriteOutcome::NotWritten))?;
                    if let Some(topic) = metadata.topic(measured.record.topic) {
                        shared.follow(topic);
                    }
                }
                Admission::NeedMemory(bytes) => {
                    reservation = Some(self.wait_for_memory(bytes, deadline).await?);
                }
            }
            step = self.step(measured, reservation.as_mut(), write)?;
        }
    }

    /// Follows the topic, once its metadata is here.
    pub(super) async fn wait_for_topic(&self, name: &str, deadline: Instant) -> Result<()> {
        check_topic_name(name)?;
        let topic = self.shared.cluster.topic(name, deadline).await;
        let topic = topic.map_err(|error| error.with_outcome(WriteOutcome::NotWritten))?;
        self.shared.follow(&topic);
        Ok(())
    }

    /// Waits for room in the buffer. While anyone does, nothing waits for more records: what is full must be emptied.
    pub(super) async fn wait_for_memory(
        &self,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Reservation> {
        if self.shared.memory.bytes.left() < bytes {
            self.shared.wake_senders();
        }
        let result = self.shared.memory.reserve(bytes, deadline).await;
        result.map_err(|error| self.with_cause(error))
    }

    /// Accepts a record if that needs no waiting.
    #[inline(never)]
    pub(super) fn step<W>(
        &self,
        measured: &mut Measured<'_>,
        reservation: Option<&mut Reservation>,
        write: &mut Option<W>,
    ) -> Result<Admission>
    where
        W: FnOnce(&mut BatchBuilder, i64) -> Result<u32, BatchFull>,
    {
        self.step_inlined(measured, reservation, write)
    }

    /// As [`step`](Self::step), in line: to move what it returns from place to place takes as long as a tenth of all that a record costs.
    #[inline(always)]
    fn step_inlined<W>(
        &self,
        measured: &mut Measured<'_>,
        reservation: Option<&mut Reservation>,
        write: &mut Option<W>,
    ) -> Result<Admission>
    where
        W: FnOnce(&mut BatchBuilder, i64) -> Result<u32, BatchFull>,
    {
        let shared = &*self.shared;
        let record = measured.record;
        let Some(topic) = shared.topics.find(record.topic) else {
            return if shared.is_running() {
                Ok(Admission::UnknownTopic)
            } else {
                Err(shared.closed())
            };
        };
        let partition = match measured.partition {
            Some(partition) => partition,
            None => *measured
                .partition
                .insert(self.partition(record, topic, measured.size)),
        };
        let count = topic.partition_count();
        let queue = match topic.queue(partition) {
            Some(queue) if partition < count => queue,
            _ => return self.out_of_range(measured, topic, partition),
        };
        let timestamp_ms = match record.timestamp_ms {
            Some(timestamp_ms @ 0..) => timestamp_ms,
            Some(timestamp_ms) => return Err(negative_timestamp(record, timestamp_ms)),
            None => shared.timestamps.now_ms(),
        };
        let mut state = queue.lock();
        if state.gate != Gate::Open {
            return match state.gate.pass() {
                true => Ok(Admission::Yield),
                false => Err(shared.closed()),
            };
        }
        let appended = state.accumulator.append(
            measured.size,
            &shared.memory,
            reservation,
            Instant::now,
            |builder| {
                write
                    .take()
                    .and_then(|write| write(builder, timestamp_ms).ok())
            },
        );
        let appended = match appended {
            Ok(appended) => appended,
            Err(AppendError::NeedMemory(bytes)) => return Ok(Admission::NeedMemory(bytes)),
            Err(AppendError::TooLarge) => {
                return Err(too_large(record.topic, measured.size, i32::MAX as usize));
            }
        };
        if appended.index == 0 {
            state.remember(&appended.completion);
        }
        if appended.is_news && (queue.publish(&mut state) || shared.owes_a_turn()) {
            state.gate.slow_down();
        }
        let delivery = Delivery::new(appended.completion, appended.index, timestamp_ms);
        Ok(Admission::Done(delivery))
    }

    #[inline]
    fn partition(&self, record: &Record<'_>, topic: &Topic, size: usize) -> i32 {
        let count = topic.partition_count();
        match (
            record.partition,
            &self.shared.config.partitioner,
            record.key,
        ) {
            (Some(partition), _, _) => partition,
            (None, Partitioner::Custom(custom), _) => custom.partition(record, count),
            (None, by_hash, key) => by_hash.of_key(key, count).unwrap_or_else(|| {
                topic.sticky.partition(size, count, |partition| {
                    let queue = topic.queue(partition)?;
                    queue.has_leader().then(|| queue.waiting())
                })
            }),
        }
    }

    /// What to do about a partition that the topic does not have.
    #[cold]
    fn out_of_range(
        &self,
        measured: &mut Measured<'_>,
        topic: &Topic,
        partition: i32,
    ) -> Result<Admission> {
        let (record, count) = (measured.record, topic.partition_count());
        if let Some(partition) = record.partition {
            return if partition < 0 {
                Err(invalid(format!(
                    "partition {partition} is not allowed: they are numbered from 0"
                )))
            } else {
                Ok(Admission::UnknownPartition(count))
            };
        }
        if let Partitioner::Custom(custom) = &self.shared.config.partitioner
            && !(0..count).contains(&partition)
        {
            return Err(invalid(format!(
                "the partitioner {custom:?} chose partition {partition} for a record of topic {:?}, which has {count} partitions: \
                 it must choose one from 0 to {}",
                record.topic,
                count - 1
            )));
        }
        if count <= 0 {
            return Ok(Admission::UnknownPartition(count));
        }
        // It was chosen when the topic had other partitions.
        measured.partition = None;
        Ok(Admission::Yield)
    }

    pub(super) fn check_size(&self, topic: &str, size: usize) -> Result<()> {
        let limit = self.shared.config.max_request_bytes;
        // No batch is less than its header and a record, and the buffer may hold no more than the limit.
        let size = HEADER_LEN + size;
        if size > limit {
            return Err(too_large(topic, size, limit));
        }
        Ok(())
    }

    /// Follows a topic whose metadata is here already, or asks for it and says what is known.
    #[cold]
    pub(super) fn find_topic(&self, name: &str) -> Result<()> {
        check_topic_name(name)?;
        let metadata = self.shared.cluster.metadata();
        if let Some(topic) = metadata.topic(name) {
            self.shared.follow(topic);
            return Ok(());
        }
        self.shared.cluster.used([name]);
        let error = match metadata.topic_errors.get(name) {
            Some(said) => {
                // It may just have been created.
                self.shared.cluster.refresh_topic(name);
                said.error(name)
            }
            None => Error::new(
                ErrorKind::MetadataPending,
                "the topic's metadata is not here yet: try again",
            ),
        };
        Err(error.topic(name).with_outcome(WriteOutcome::NotWritten))
    }

    /// Names what keeps the buffer from being emptied.
    #[cold]
    fn with_cause(&self, error: Error) -> Error {
        match self.shared.obstacle() {
            Some(obstacle) => error.because(obstacle),
            None => error,
        }
    }
}

#[inline]
pub(super) fn measure<'a>(record: &'a Record<'a>, value_len: usize) -> Measured<'a> {
    let key_len = record.key.map_or(0, <[u8]>::len);
    Measured {
        record,
        size: BatchBuilder::record_size(key_len, value_len, headers(record)),
        partition: None,
    }
}

#[inline]
pub(super) fn headers<'a>(
    record: &Record<'a>,
) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone + use<'a> {
    record
        .headers
        .iter()
        .map(|header| (header.key, header.value))
}

#[cold]
fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRecord, message)
}

/// Kafka's own producer refuses them as well: brokers take -1 for "no timestamp".
#[cold]
fn negative_timestamp(record: &Record<'_>, timestamp_ms: i64) -> Error {
    invalid(format!(
        "the timestamp {timestamp_ms} of a record for topic {:?} is not allowed: it counts milliseconds since 1970, and is not negative",
        record.topic
    ))
}

#[cold]
pub(super) fn too_large(topic: &str, size: usize, limit: usize) -> Error {
    Error::new(
        ErrorKind::RecordTooLarge,
        format!(
            "a record for topic {topic:?} takes about {size} bytes, and max.request.size is {limit}: send a smaller one, or raise it"
        ),
    )
}

#[cold]
pub(super) fn unknown_partition(record: &Record<'_>, count: i32) -> Error {
    let error = Error::new(
        ErrorKind::UnknownTopicOrPartition,
        format!("the topic has {count} partitions"),
    );
    match record.partition {
        Some(partition) => error.topic_partition(record.topic, partition),
        None => error.topic(record.topic),
    }
}
