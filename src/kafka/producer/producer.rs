//! The producer's handle: admission of records, flush, close. What it promises is in its documentation; how, in the other files.

use std::sync::Arc;

use protocol::records::{BatchBuilder, BatchFull, HEADER_LEN};
use tokio::time::{Duration, Instant};

use super::accumulator::{News, Refused};
use super::buffers::Credit;
use super::config::ProducerConfig;
use super::delivery::{Delivery, RecordMetadata};
use super::metrics::ProducerMetrics;
use super::partitioner::{Partitioner, partition_of_key};
use super::queue::Gate;
use super::shared::Shared;
use super::steward;
use super::topics::Topic;
use crate::kafka::cluster::Cluster;
use crate::kafka::model::check_topic_name;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Configuration, Error, ErrorKind, Record, Result, WriteOutcome};

/// Writes records to Kafka.
///
/// Cheap to clone; clones share connections, batches and memory. Records that one task hands in for one partition are written in that
/// order. A producer that is dropped goes on delivering what it has accepted in the background, as long as its runtime lives; call
/// [`close`](Producer::close) to wait for that.
///
/// ```no_run
/// # async fn example() -> pat_events::kafka::Result<()> {
/// use pat_events::kafka::{Producer, ProducerConfig, Record};
///
/// let producer = Producer::connect(ProducerConfig::new("localhost:9092")).await?;
/// let written = producer.send(Record::new("emails").key(b"id-1").value(b"hello")).await?;
/// println!("partition {}, offset {:?}", written.partition, written.offset);
/// producer.close(std::time::Duration::from_secs(10)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    _last: Arc<Last>,
}

/// Dropped with the last handle.
#[derive(Debug)]
struct Last(Arc<Shared>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.begin_closing();
    }
}

/// What came of an attempt to take in a record.
enum Step {
    Done(Delivery),
    /// Not yet: the senders should run first, there is enough for them to do.
    Yield,
    UnknownTopic,
    UnknownPartition(i32),
    Short(usize),
}

/// A record, measured.
struct Measured<'a> {
    record: &'a Record<'a>,
    /// The most bytes that it takes in a batch.
    size: usize,
    /// The partition, once it was chosen.
    partition: Option<i32>,
}

impl Producer {
    /// Finds the cluster and, for an idempotent producer, gets a producer id.
    ///
    /// Fails within `max_block`, naming what is wrong with the configuration or with each address. Cancel safe.
    pub async fn connect(config: ProducerConfig) -> Result<Producer> {
        config.validate()?;
        let deadline = Instant::now() + config.max_block;
        let cluster = Cluster::connect(&config.client, deadline).await?;
        let identity = if config.is_idempotent() {
            Some(steward::obtain(&cluster, deadline, |_| {}).await?)
        } else {
            None
        };
        let shared = Arc::new(Shared::new(config, cluster, identity));
        let tasks = shared.cluster.tasks();
        let failing = Arc::downgrade(&shared);
        tasks.on_failure(move |failure| {
            if let Some(shared) = failing.upgrade() {
                shared.stop(failure);
            }
        });
        tasks.spawn("producer maintenance", steward::run(shared.clone()));
        Ok(Producer {
            _last: Arc::new(Last(shared.clone())),
            shared,
        })
    }

    /// Writes a record and waits until it is acknowledged, as `acks` asks for.
    ///
    /// The error's [`outcome`](Error::outcome) says whether the record may have been written. Dropping the future leaves open whether the
    /// record was accepted; an accepted one is delivered all the same.
    pub async fn send(&self, record: Record<'_>) -> Result<RecordMetadata> {
        self.enqueue(record).await?.await
    }

    /// Accepts a record into a batch, and returns a handle on its fate. Waits only for admission: for the topic's metadata at its first
    /// record, and for buffer memory; together `max_block` at most.
    ///
    /// Fails with [`ErrorKind::InvalidRecord`], [`ErrorKind::RecordTooLarge`], [`ErrorKind::UnknownTopicOrPartition`],
    /// [`ErrorKind::Timeout`] or [`ErrorKind::Closed`]; the record was not written then. Cancel safe: a record is accepted whole, and then
    /// this returns without waiting, or it is not accepted at all.
    pub async fn enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        let value_len = record.value.map_or(0, <[u8]>::len);
        let write = |builder: &mut BatchBuilder, timestamp_ms: i64| {
            builder.append_raw(timestamp_ms, record.key, record.value, headers(&record))
        };
        self.accept(&record, value_len, write).await
    }

    /// As [`enqueue`](Producer::enqueue), with a value that `encode` writes straight into the batch; the record's own value is ignored.
    ///
    /// `encode` gets exactly `value_len` bytes, all zero, and fills them. It runs under the partition's lock: it should do nothing else.
    pub async fn enqueue_with(
        &self,
        record: Record<'_>,
        value_len: usize,
        encode: impl FnOnce(&mut [u8]),
    ) -> Result<Delivery> {
        let write = |builder: &mut BatchBuilder, timestamp_ms: i64| {
            builder.append_with(
                timestamp_ms,
                record.key,
                value_len,
                headers(&record),
                encode,
            )
        };
        self.accept(&record, value_len, write).await
    }

    /// As [`enqueue`](Producer::enqueue), without waiting: fails with [`ErrorKind::BufferFull`] when there is no room, and with
    /// [`ErrorKind::MetadataPending`] as long as the topic's metadata is not here, which this call asks for; with what the brokers say of
    /// the topic, where that is an error.
    ///
    /// On a runtime with one thread, let the producer's tasks run from time to time.
    pub fn try_enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        let mut measured = measure(&record, record.value.map_or(0, <[u8]>::len));
        self.check_size(&measured)?;
        let mut write = Some(|builder: &mut BatchBuilder, timestamp_ms: i64| {
            builder.append_raw(timestamp_ms, record.key, record.value, headers(&record))
        });
        loop {
            match self.step(&mut measured, None, &mut write)? {
                Step::Done(delivery) => return Ok(delivery),
                Step::Yield => {}
                Step::Short(_) => {
                    let text = "the producer's buffer is full: wait for deliveries, or raise buffer.memory";
                    return Err(Error::new(ErrorKind::BufferFull, text));
                }
                Step::UnknownPartition(count) => return Err(unknown_partition(&record, count)),
                Step::UnknownTopic => self.find_topic(record.topic)?,
            }
        }
    }

    /// Follows a topic whose metadata is here already, or asks for it and says what is known.
    #[cold]
    fn find_topic(&self, name: &str) -> Result<()> {
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
    fn because_of_trouble(&self, error: Error) -> Error {
        match self.shared.trouble() {
            Some(trouble) => error.because(trouble),
            None => error,
        }
    }

    /// Sends everything that was accepted before this call, without waiting for company, and waits until the fate of each record is known,
    /// whatever became of it on the way.
    ///
    /// Fails with the first failure among the records that it waited for. Cancel safe.
    pub async fn flush(&self) -> Result<()> {
        let mut result = Ok(());
        for completion in self.shared.flush() {
            result = result.and(completion.resolved().await);
        }
        self.shared.cluster.tasks().check().and(result)
    }

    /// Accepts no more records, delivers those that were accepted, and ends.
    ///
    /// Fails with the first failure among them; with [`ErrorKind::Timeout`] after `timeout`: then what was not sent fails with
    /// [`ErrorKind::Closed`], not written, and what was in flight with the same, fate unknown. Dropping the future leaves the producer
    /// closing in the background.
    pub async fn close(&self, timeout: Duration) -> Result<()> {
        self.shared.begin_closing();
        let result = tokio::time::timeout(timeout, self.flush()).await;
        let in_time = result.is_ok();
        self.shared.stop(&Error::new(
            ErrorKind::Closed,
            "the producer was closed before the record was sent",
        ));
        if in_time {
            return result.unwrap_or(Ok(()));
        }
        Err(Error::new(
            ErrorKind::Timeout,
            format!(
                "the producer was closed after {timeout:?} with records not delivered: see their deliveries"
            ),
        ))
    }

    /// What the producer has done so far, and what it holds now.
    pub fn metrics(&self) -> ProducerMetrics {
        self.shared.metrics()
    }

    /// Takes in a record, waiting for what it needs.
    async fn accept<W>(&self, record: &Record<'_>, value_len: usize, write: W) -> Result<Delivery>
    where
        W: FnOnce(&mut BatchBuilder, i64) -> Result<u32, BatchFull>,
    {
        let mut measured = measure(record, value_len);
        self.check_size(&measured)?;
        let mut write = Some(write);
        match self.step(&mut measured, None, &mut write)? {
            #[cfg(planted_defects)]
            Step::Done(delivery) if planted::is_planted(planted::Defect::WaitAfterAcceptance) => {
                tokio::task::yield_now().await;
                Ok(delivery)
            }
            // Nothing is awaited from here on: a caller that gives up after it would not learn that the record was accepted.
            Step::Done(delivery) => Ok(delivery),
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
        mut step: Step,
        write: &mut Option<W>,
    ) -> Result<Delivery>
    where
        W: FnOnce(&mut BatchBuilder, i64) -> Result<u32, BatchFull>,
    {
        let shared = &self.shared;
        let deadline = Instant::now() + shared.config.max_block;
        let mut refreshed = false;
        loop {
            let mut credit = None;
            match step {
                Step::Done(delivery) => return Ok(delivery),
                Step::Yield => tokio::task::yield_now().await,
                Step::UnknownTopic => {
                    let name = measured.record.topic;
                    check_topic_name(name)?;
                    let topic = shared.cluster.topic(name, deadline).await;
                    let topic =
                        topic.map_err(|error| error.with_outcome(WriteOutcome::NotWritten))?;
                    shared.follow(&topic);
                }
                Step::UnknownPartition(count) if refreshed => {
                    return Err(unknown_partition(measured.record, count));
                }
                Step::UnknownPartition(_) => {
                    refreshed = true;
                    let metadata = shared.cluster.refreshed(deadline).await;
                    let metadata =
                        metadata.map_err(|error| error.with_outcome(WriteOutcome::NotWritten))?;
                    if let Some(topic) = metadata.topic(measured.record.topic) {
                        shared.follow(topic);
                    }
                }
                Step::Short(bytes) => {
                    // From here on nobody waits for company: what is full must be emptied.
                    shared.wake_senders();
                    let result = shared.buffers.credit(bytes, deadline).await;
                    credit = Some(result.map_err(|error| self.because_of_trouble(error))?);
                }
            }
            step = self.step(measured, credit.as_mut(), write)?;
        }
    }

    /// Takes in a record if that needs no waiting.
    #[inline]
    fn step<W>(
        &self,
        measured: &mut Measured<'_>,
        credit: Option<&mut Credit<'_>>,
        write: &mut Option<W>,
    ) -> Result<Step>
    where
        W: FnOnce(&mut BatchBuilder, i64) -> Result<u32, BatchFull>,
    {
        let shared = &*self.shared;
        let record = measured.record;
        let Some(topic) = shared.topics.find(record.topic) else {
            return if shared.is_running() {
                Ok(Step::UnknownTopic)
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
                true => Ok(Step::Yield),
                false => Err(shared.closed()),
            };
        }
        let appended = state.accumulator.append(
            measured.size,
            &shared.buffers,
            credit,
            Instant::now,
            |builder| {
                write
                    .take()
                    .and_then(|write| write(builder, timestamp_ms).ok())
            },
        );
        let appended = match appended {
            Ok(appended) => appended,
            Err(Refused::Short(bytes)) => return Ok(Step::Short(bytes)),
            Err(Refused::TooLarge) => {
                return Err(too_large(record, measured.size, i32::MAX as usize));
            }
        };
        if appended.index == 0 {
            state.remember(&appended.completion);
        }
        if appended.news != News::None {
            let enough = queue.announce(&state, appended.news).is_some();
            if enough || shared.owes_a_turn() {
                state.gate.slow_down();
            }
        }
        let delivery = Delivery::new(appended.completion, appended.index, timestamp_ms);
        Ok(Step::Done(delivery))
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
            (None, Partitioner::Default, Some(key)) => partition_of_key(key, count),
            (None, Partitioner::Default, None) => {
                topic.sticky.partition(size, count, |partition| {
                    let queue = topic.queue(partition)?;
                    queue.has_leader().then(|| queue.waiting())
                })
            }
        }
    }

    /// What to do about a partition that the topic does not have.
    #[cold]
    fn out_of_range(
        &self,
        measured: &mut Measured<'_>,
        topic: &Topic,
        partition: i32,
    ) -> Result<Step> {
        let (record, count) = (measured.record, topic.partition_count());
        if let Some(partition) = record.partition {
            return if partition < 0 {
                Err(invalid(format!(
                    "partition {partition} is not allowed: they are numbered from 0"
                )))
            } else {
                Ok(Step::UnknownPartition(count))
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
            return Ok(Step::UnknownPartition(count));
        }
        // It was chosen when the topic had other partitions.
        measured.partition = None;
        Ok(Step::Yield)
    }

    fn check_size(&self, measured: &Measured<'_>) -> Result<()> {
        let limit = self.shared.config.max_request_bytes;
        // No batch is less than its header and a record, and the buffer may hold no more than the limit.
        let size = HEADER_LEN + measured.size;
        if size > limit {
            return Err(too_large(measured.record, size, limit));
        }
        Ok(())
    }
}

#[inline]
fn measure<'a>(record: &'a Record<'a>, value_len: usize) -> Measured<'a> {
    let key_len = record.key.map_or(0, <[u8]>::len);
    Measured {
        record,
        size: BatchBuilder::record_size(key_len, value_len, headers(record)),
        partition: None,
    }
}

#[inline]
fn headers<'a>(
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
fn too_large(record: &Record<'_>, size: usize, limit: usize) -> Error {
    Error::new(
        ErrorKind::RecordTooLarge,
        format!(
            "a record for topic {:?} takes about {size} bytes, and max.request.size is {limit}: send a smaller one, or raise it",
            record.topic
        ),
    )
}

#[cold]
fn unknown_partition(record: &Record<'_>, count: i32) -> Error {
    let error = Error::new(
        ErrorKind::UnknownTopicOrPartition,
        format!("the topic has {count} partitions"),
    );
    match record.partition {
        Some(partition) => error.topic_partition(record.topic, partition),
        None => error.topic(record.topic),
    }
}
