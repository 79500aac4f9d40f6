//! How a record is accepted: its partition is chosen, memory is reserved for it, and it is encoded into the open batch.

use std::future::{Future, poll_fn};
use std::task::Poll;

use protocol::records::{BatchBuilder, BatchFull, HEADER_LEN};
use tokio::time::Instant;

use super::delivery::Delivery;
use super::partition::accumulator::AppendError;
use super::partition::queue::Gate;
use super::partitioner::Partitioner;
use super::producer::Producer;
use super::topics::Topic;
use crate::kafka::model::check_topic_name;
use crate::kafka::observe::ClientEvent;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::runtime::Reservation;
use crate::kafka::{Error, ErrorKind, Record, Result, TopicPartition, WriteOutcome};

/// Why a record is not accepted, or not yet.
pub(super) enum NotAdmitted {
    /// The senders should run first, there is enough for them to do.
    Yield,
    UnknownTopic,
    UnknownPartition(i32),
    NeedMemory(usize),
    Failed(Error),
}

impl From<Error> for NotAdmitted {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A record, measured.
pub(super) struct Measured {
    /// The most bytes that it takes in a batch.
    pub size: usize,
    /// The partition, once it was chosen.
    partition: Option<i32>,
}

impl Producer {
    /// Accepts a record, waiting for what it needs. A future by hand: it mostly resolves at its first poll, and then the record was never
    /// moved, which an `async fn` does on the way in, and what waits has a place of its own.
    #[inline]
    pub(super) fn accept<'a, W>(
        &'a self,
        record: Record<'a>,
        value_len: usize,
        write: W,
    ) -> impl Future<Output = Result<Delivery>>
    where
        W: FnOnce(&mut BatchBuilder, &Record<'_>, i64) -> Result<u32, BatchFull>,
    {
        let mut write = Some(write);
        let mut waiting = None;
        let mut is_over = false;
        poll_fn(move |cx| {
            let waiting = match &mut waiting {
                Some(waiting) => waiting,
                None => {
                    assert!(!is_over, "polled after it was ready");
                    let mut measured = measure(&record, value_len);
                    let step = match self.check_size(record.topic, measured.size) {
                        Ok(()) => self.step_inlined(&record, &mut measured, None, &mut write),
                        Err(error) => Err(error.into()),
                    };
                    // Nothing is awaited after acceptance: a caller that gives up then would not learn that the record was accepted.
                    let result = match step {
                        Ok(delivery) if !waits_after_acceptance() => Ok(delivery),
                        Err(NotAdmitted::Failed(error)) => Err(error),
                        step => {
                            let wait =
                                self.wait_for_admission(record, measured, step, write.take());
                            return waiting.insert(Box::pin(wait)).as_mut().poll(cx);
                        }
                    };
                    is_over = true;
                    return Poll::Ready(result);
                }
            };
            waiting.as_mut().poll(cx)
        })
    }

    #[cold]
    async fn wait_for_admission<W>(
        &self,
        record: Record<'_>,
        mut measured: Measured,
        mut step: Result<Delivery, NotAdmitted>,
        mut write: Option<W>,
    ) -> Result<Delivery>
    where
        W: FnOnce(&mut BatchBuilder, &Record<'_>, i64) -> Result<u32, BatchFull>,
    {
        let shared = &self.shared;
        let deadline = Instant::now() + shared.config.max_block;
        let mut refreshed = false;
        #[cfg(planted_defects)]
        if step.is_ok() {
            tokio::task::yield_now().await;
        }
        loop {
            let mut reservation = None;
            match step {
                Ok(delivery) => return Ok(delivery),
                Err(NotAdmitted::Failed(error)) => return Err(error),
                Err(NotAdmitted::Yield) => tokio::task::yield_now().await,
                Err(NotAdmitted::UnknownTopic) => {
                    self.wait_for_topic(record.topic, deadline).await?;
                }
                Err(NotAdmitted::UnknownPartition(count)) if refreshed => {
                    return Err(unknown_partition(&record, count));
                }
                Err(NotAdmitted::UnknownPartition(_)) => {
                    refreshed = true;
                    let metadata = shared.cluster.refreshed(deadline).await;
                    let metadata =
                        metadata.map_err(|error| error.with_outcome(WriteOutcome::NotWritten))?;
                    if let Some(topic) = metadata.topic(record.topic) {
                        shared.follow(topic);
                    }
                }
                Err(NotAdmitted::NeedMemory(bytes)) => {
                    reservation = Some(self.wait_for_memory(bytes, deadline).await?);
                }
            }
            step = self.step(&record, &mut measured, reservation.as_mut(), &mut write);
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
        record: &Record<'_>,
        measured: &mut Measured,
        reservation: Option<&mut Reservation>,
        write: &mut Option<W>,
    ) -> Result<Delivery, NotAdmitted>
    where
        W: FnOnce(&mut BatchBuilder, &Record<'_>, i64) -> Result<u32, BatchFull>,
    {
        self.step_inlined(record, measured, reservation, write)
    }

    /// As [`step`](Self::step), in line: to move what it returns from place to place takes as long as a tenth of all that a record costs.
    #[inline(always)]
    fn step_inlined<W>(
        &self,
        record: &Record<'_>,
        measured: &mut Measured,
        reservation: Option<&mut Reservation>,
        write: &mut Option<W>,
    ) -> Result<Delivery, NotAdmitted>
    where
        W: FnOnce(&mut BatchBuilder, &Record<'_>, i64) -> Result<u32, BatchFull>,
    {
        let shared = &*self.shared;
        if let Some(transactions) = &shared.transactions {
            transactions.check()?;
        }
        let Some(topic) = shared.topics.find(record.topic) else {
            return if shared.is_running() {
                Err(NotAdmitted::UnknownTopic)
            } else {
                Err(shared.closed().into())
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
            _ => return Err(self.out_of_range(record, measured, topic, partition)),
        };
        let timestamp_ms = match record.timestamp_ms {
            Some(timestamp_ms @ 0..) => timestamp_ms,
            Some(timestamp_ms) => return Err(negative_timestamp(record, timestamp_ms).into()),
            None => shared.timestamps.now_ms(),
        };
        let mut state = queue.lock();
        if state.gate != Gate::Open {
            return match state.gate.pass() {
                true => Err(NotAdmitted::Yield),
                false => Err(shared.closed().into()),
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
                    .and_then(|write| write(builder, record, timestamp_ms).ok())
            },
        );
        let appended = match appended {
            Ok(appended) => appended,
            Err(AppendError::NeedMemory(bytes)) => return Err(NotAdmitted::NeedMemory(bytes)),
            Err(AppendError::TooLarge) => {
                return Err(too_large(record.topic, measured.size, i32::MAX as usize).into());
            }
        };
        if appended.index == 0 {
            state.remember(&appended.completion);
            if let Some(transactions) = &shared.transactions {
                transactions.enter(queue, &mut state);
            }
        }
        if appended.is_news && (queue.publish(&mut state) || shared.owes_a_turn()) {
            state.gate.slow_down();
        }
        drop(state);
        if shared.tells_of_records {
            self.tell_of_record(record, partition, measured.size, timestamp_ms);
        }
        let delivery = Delivery::new(appended.completion, appended.index, timestamp_ms);
        Ok(delivery)
    }

    #[cold]
    fn tell_of_record(&self, record: &Record<'_>, partition: i32, bytes: usize, timestamp_ms: i64) {
        if let Some(observer) = &self.shared.config.client.observer {
            observer.on_event(&ClientEvent::RecordAccepted {
                partition: &TopicPartition::new(record.topic, partition),
                record,
                bytes,
                timestamp_ms,
            });
        }
    }

    #[inline]
    fn partition(&self, record: &Record<'_>, topic: &Topic, size: usize) -> i32 {
        let count = topic.partition_count();
        match (record.partition, &topic.rules.partitioner, record.key) {
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
        record: &Record<'_>,
        measured: &mut Measured,
        topic: &Topic,
        partition: i32,
    ) -> NotAdmitted {
        let count = topic.partition_count();
        if let Some(partition) = record.partition {
            return if partition < 0 {
                let text =
                    format!("partition {partition} is not allowed: they are numbered from 0");
                invalid(text).into()
            } else {
                NotAdmitted::UnknownPartition(count)
            };
        }
        if let Partitioner::Custom(custom) = &topic.rules.partitioner
            && !(0..count).contains(&partition)
        {
            return invalid(format!(
                "the partitioner {custom:?} chose partition {partition} for a record of topic {:?}, which has {count} partitions: \
                 it must choose one from 0 to {}",
                record.topic,
                count - 1
            ))
            .into();
        }
        if count <= 0 {
            return NotAdmitted::UnknownPartition(count);
        }
        // It was chosen when the topic had other partitions.
        measured.partition = None;
        NotAdmitted::Yield
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
pub(super) fn measure(record: &Record<'_>, value_len: usize) -> Measured {
    let key_len = record.key.map_or(0, <[u8]>::len);
    Measured {
        size: BatchBuilder::record_size(key_len, value_len, headers(record)),
        partition: None,
    }
}

/// Writes the record as it is.
#[inline(always)]
pub(super) fn write_raw(
    builder: &mut BatchBuilder,
    record: &Record<'_>,
    timestamp_ms: i64,
) -> Result<u32, BatchFull> {
    builder.append_raw(timestamp_ms, record.key, record.value, headers(record))
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

/// A planted defect.
fn waits_after_acceptance() -> bool {
    #[cfg(planted_defects)]
    return planted::is_planted(planted::Defect::WaitAfterAcceptance);
    #[cfg(not(planted_defects))]
    false
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
