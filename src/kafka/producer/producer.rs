//! The producer's handle: connect, enqueue, flush, close. What it promises is in its documentation; how, in the other files.

use std::sync::Arc;

use protocol::records::BatchBuilder;
use tokio::time::{Duration, Instant};

use super::admission::{NotAdmitted, headers, measure, unknown_partition, write_raw};
use super::config::ProducerConfig;
use super::delivery::{Delivery, RecordMetadata};
use super::metrics::{MeasuredProducer, ProducerMetrics};
use super::state::ProducerState;
use super::unsent::CloseReport;
use super::{maintenance, producer_id};
use crate::kafka::cluster::Cluster;
use crate::kafka::{Error, ErrorKind, Record, Result};

/// Writes records to Kafka.
///
/// Cheap to clone; clones share connections, batches and memory. Records that one task hands in for one partition are written in that
/// order.
///
/// A record is for a topic's *name*: where the topic is deleted and created anew while records wait, they go to the new one, in their order,
/// as Kafka's own producer has it. Only what may be in the deleted topic's log already is not sent again: its outcome is reported as unknown.
///
/// A producer that is dropped goes on delivering what it has accepted in the background, as long as its runtime lives; call
/// [`close`](Producer::close) to wait for that.
///
/// ```no_run
/// # async fn example() -> pat_events::kafka::Result<()> {
/// use pat_events::kafka::{Producer, ProducerConfig, Record};
///
/// let producer = Producer::connect(ProducerConfig::new("localhost:9092")).await?;
/// let record = Record::new("emails").key(b"id-1").value(b"hello");
/// let written = producer.send(record).await?;
/// println!("partition {}, offset {:?}", written.partition, written.offset);
/// producer.close(std::time::Duration::from_secs(10)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Producer {
    pub(super) shared: Arc<ProducerState>,
    _last: Arc<Last>,
}

/// Dropped with the last handle.
#[derive(Debug)]
struct Last(Arc<ProducerState>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.begin_closing();
    }
}

impl Producer {
    /// Finds the cluster and, for an idempotent producer, gets a producer id.
    ///
    /// Fails within `max_block`, naming what is wrong with the configuration or with each address. Cancel safe.
    pub async fn connect(config: ProducerConfig) -> Result<Producer> {
        config.validate()?;
        not_transactional(&config)?;
        let deadline = Instant::now() + config.max_block;
        let cluster = Cluster::connect(&config.client, deadline).await?;
        let id_and_epoch = if config.is_idempotent() {
            Some(producer_id::obtain(&cluster, deadline, |_| {}).await?)
        } else {
            None
        };
        let producer = Self::start(config, cluster);
        if let Some(id_and_epoch) = id_and_epoch {
            producer.shared.set_producer_id(id_and_epoch);
        }
        Ok(producer)
    }

    /// Its number among all that share its client.
    pub(crate) fn user(&self) -> u64 {
        self.shared.cluster.user()
    }

    /// A producer of `cluster`; nothing is sent yet. An idempotent one asks for its producer id once it has records.
    pub(crate) fn start(config: ProducerConfig, cluster: Cluster) -> Producer {
        let shared = Arc::new(ProducerState::new(config, cluster));
        let client = &shared.config.client;
        client.metrics.register(MeasuredProducer {
            client_id: client.client_id.clone(),
            state: Arc::downgrade(&shared),
            counters: shared.counters.clone(),
        });
        let tasks = shared.cluster.tasks();
        let failing = Arc::downgrade(&shared);
        tasks.on_failure(move |failure| {
            if let Some(shared) = failing.upgrade() {
                shared.stop(failure);
            }
        });
        tasks.spawn("producer maintenance", maintenance::run(shared.clone()));
        Producer {
            _last: Arc::new(Last(shared.clone())),
            shared,
        }
    }

    /// Writes a record and waits until it is acknowledged, as `acks` asks for.
    ///
    /// The error's [`outcome`](Error::outcome) says whether the record may have been written. Dropping the future leaves open whether the
    /// record was accepted; an accepted one is delivered all the same.
    pub async fn send(&self, record: Record<'_>) -> Result<RecordMetadata> {
        self.enqueue(record).await?.await
    }

    /// Accepts a record into a batch, and returns a handle on its outcome. Waits only for admission: for the topic's metadata at its first
    /// record, and for buffer memory; together `max_block` at most.
    ///
    /// Fails with [`ErrorKind::InvalidRecord`], [`ErrorKind::RecordTooLarge`], [`ErrorKind::UnknownTopicOrPartition`],
    /// [`ErrorKind::Timeout`] or [`ErrorKind::Closed`]; the record was not written then. Cancel safe: a record is accepted whole, and then
    /// this returns without waiting, or it is not accepted at all.
    #[inline]
    pub fn enqueue<'a>(
        &'a self,
        record: Record<'a>,
    ) -> impl Future<Output = Result<Delivery>> + Send + use<'a> {
        self.accept(record, record.value.map_or(0, <[u8]>::len), write_raw)
    }

    /// As [`enqueue`](Producer::enqueue), with a value that `encode` writes straight into the batch; the record's own value is ignored.
    ///
    /// `encode` gets exactly `value_len` bytes, all zero, and fills them. It runs under the partition's lock: it should do nothing else.
    #[inline]
    pub fn enqueue_with<'a>(
        &'a self,
        record: Record<'a>,
        value_len: usize,
        encode: impl FnOnce(&mut [u8]),
    ) -> impl Future<Output = Result<Delivery>> {
        let write = move |builder: &mut BatchBuilder, record: &Record<'_>, timestamp_ms: i64| {
            let headers = headers(record);
            builder.append_with(timestamp_ms, record.key, value_len, headers, encode)
        };
        self.accept(record, value_len, write)
    }

    /// As [`enqueue`](Producer::enqueue), without waiting: fails with [`ErrorKind::BufferFull`] when there is no room, and with
    /// [`ErrorKind::MetadataPending`] as long as the topic's metadata is not here, which this call asks for; with what the brokers say of
    /// the topic, where that is an error.
    ///
    /// On a runtime with one thread, let the producer's tasks run from time to time.
    pub fn try_enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        let mut measured = measure(&record, record.value.map_or(0, <[u8]>::len));
        self.check_size(record.topic, measured.size)?;
        let mut write = Some(write_raw);
        loop {
            match self.step(&record, &mut measured, None, &mut write) {
                Ok(delivery) => return Ok(delivery),
                Err(NotAdmitted::Failed(error)) => return Err(error),
                Err(NotAdmitted::Yield) => {}
                Err(NotAdmitted::NeedMemory(_)) => {
                    let text = "the producer's buffer is full: wait for deliveries, or raise buffer.memory";
                    return Err(Error::new(ErrorKind::BufferFull, text));
                }
                Err(NotAdmitted::UnknownPartition(count)) => {
                    return Err(unknown_partition(&record, count));
                }
                Err(NotAdmitted::UnknownTopic) => self.find_topic(record.topic)?,
            }
        }
    }

    /// Sends everything that was accepted before this call, without waiting for more records, and waits until the outcome of each record is known,
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

    /// Accepts no more records, delivers those that were accepted, and ends. Where nothing else lives on its client, brokers that want to know
    /// are told a last time what was measured, within `timeout` too.
    ///
    /// Fails with the first failure among them; with [`ErrorKind::Timeout`] after `timeout`: then what was not sent fails with
    /// [`ErrorKind::Closed`], not written, and what was in flight with the same, outcome unknown;
    /// [`close_and_report`](Producer::close_and_report) says how much that is of which partitions. Dropping the future leaves the producer
    /// closing in the background.
    pub async fn close(&self, timeout: Duration) -> Result<()> {
        self.close_and_report(timeout).await.result(timeout)
    }

    /// As [`close`](Producer::close), and returns what was left, by partition: how many records were certainly not written when the time was
    /// over, and how many may have been. Which ones, their deliveries say.
    ///
    /// What is in flight when the time is over counts as unknown, though its answer may come in the same moment. Waits for no longer than
    /// `timeout`, also where no broker answers.
    pub async fn close_and_report(&self, timeout: Duration) -> CloseReport {
        let begun = Instant::now();
        self.shared.begin_closing();
        let flushed = tokio::time::timeout(timeout, self.flush()).await;
        let is_late = flushed.is_err();
        let unsent = self.shared.stop(&Error::new(
            ErrorKind::Closed,
            "the producer was closed before the record was sent",
        ));
        if !is_late {
            let left = timeout.saturating_sub(begun.elapsed());
            self.shared.cluster.finish(left).await;
        }
        CloseReport {
            failure: flushed.unwrap_or(Ok(())).err(),
            unsent,
            is_late,
        }
    }

    /// What the producer has done so far, and what it holds now.
    pub fn metrics(&self) -> ProducerMetrics {
        self.shared.metrics()
    }
}

/// Fails for a producer with a transactional id: what it writes would be of no transaction.
pub(crate) fn not_transactional(config: &ProducerConfig) -> Result<()> {
    match config.transactional_id {
        None => Ok(()),
        Some(_) => Err(Error::new(
            ErrorKind::Config,
            "transactional.id is for a TransactionalProducer: another producer would write outside of any transaction",
        )),
    }
}
