//! Producers and consumers for applications without an async runtime.
//!
//! Each runs on a thread of its own, and calls wait for it. They take the same configurations, and return the same records, deliveries and
//! errors.
//!
//! Calls wait as long as the async ones would, no longer than their deadlines. They are for threads that may wait: in a task of an async runtime
//! they fail ([`ErrorKind::Config`]), because they would keep its other tasks waiting; use [`kafka::Producer`](crate::kafka::Producer) and
//! [`kafka::Consumer`](crate::kafka::Consumer) there. Dropping never blocks.
//!
//! ```no_run
//! use pat_events::kafka::blocking::{Consumer, Producer};
//! use pat_events::kafka::{ConsumerConfig, ProducerConfig, Record};
//! use std::time::Duration;
//!
//! # fn main() -> pat_events::kafka::Result<()> {
//! let producer = Producer::connect(ProducerConfig::new("localhost:9092"))?;
//! producer.send(Record::new("emails").value(b"hello"))?;
//!
//! let config = ConsumerConfig::new("localhost:9092", "mailer");
//! let mut consumer = Consumer::connect(config)?;
//! consumer.subscribe(&["emails"])?;
//! for record in &consumer.poll(Duration::from_secs(1))? {
//!     println!("{} {:?}", record.offset, record.value);
//! }
//! consumer.commit_sync()?;
//! consumer.close()
//! # }
//! ```

use std::collections::BTreeMap;
use std::ops::Deref;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::consumer::{LogBounds, OffsetAndTimestamp};
use super::{
    CloseReport, ConsumerConfig, ConsumerHandle, Delivery, Error, ErrorKind, OffsetAndMetadata,
    ProducerConfig, ProducerMetrics, RebalanceListener, Record, RecordMetadata, Records, Result,
    StartOffset, TopicPartition, consumer, producer,
};

/// A runtime on a thread of its own, which ends with this.
#[derive(Debug)]
struct Runtime {
    handle: Handle,
    // Dropping it ends the thread; nobody waits for that.
    _running: oneshot::Sender<()>,
}

impl Runtime {
    fn start() -> Result<Self> {
        let failed = |error: std::io::Error| {
            let message = "a thread for the client cannot be started";
            Error::new(ErrorKind::Config, message).because(error)
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed)?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel::<()>();
        let run = move || {
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("pat-events".to_string());
        thread.spawn(run).map_err(failed)?;
        Ok(Self {
            handle,
            _running: running,
        })
    }

    /// Waits for `call`.
    fn wait<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        if Handle::try_current().is_ok() {
            let message = "a blocking call in an async task would keep others waiting: use the async client there";
            return Err(Error::new(ErrorKind::Config, message));
        }
        self.handle.block_on(call)
    }
}

/// A [`kafka::Consumer`](crate::kafka::Consumer) whose calls block. It dereferences to the [`ConsumerHandle`], whose calls that are not async serve
/// any thread.
#[derive(Debug)]
pub struct Consumer {
    consumer: consumer::Consumer,
    runtime: Runtime,
}

impl Deref for Consumer {
    type Target = ConsumerHandle;

    fn deref(&self) -> &ConsumerHandle {
        &self.consumer
    }
}

impl Consumer {
    /// As [`kafka::Consumer::connect`](crate::kafka::Consumer::connect).
    pub fn connect(config: ConsumerConfig) -> Result<Self> {
        let runtime = Runtime::start()?;
        let consumer = runtime.wait(consumer::Consumer::connect(config))?;
        Ok(Self { consumer, runtime })
    }

    /// As [`kafka::Consumer::subscribe`](crate::kafka::Consumer::subscribe).
    pub fn subscribe(&mut self, topics: &[&str]) -> Result<()> {
        self.runtime.wait(self.consumer.subscribe(topics))
    }

    /// As [`kafka::Consumer::subscribe_with`](crate::kafka::Consumer::subscribe_with).
    pub fn subscribe_with(
        &mut self,
        topics: &[&str],
        listener: impl RebalanceListener,
    ) -> Result<()> {
        let subscribed = self.consumer.subscribe_with(topics, listener);
        self.runtime.wait(subscribed)
    }

    /// As [`kafka::Consumer::assign`](crate::kafka::Consumer::assign).
    pub fn assign(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()> {
        self.runtime.wait(self.consumer.assign(partitions))
    }

    /// As [`kafka::Consumer::unsubscribe`](crate::kafka::Consumer::unsubscribe).
    pub fn unsubscribe(&mut self) -> Result<()> {
        self.runtime.wait(self.consumer.unsubscribe())
    }

    /// As [`kafka::Consumer::poll`](crate::kafka::Consumer::poll).
    pub fn poll(&mut self, timeout: Duration) -> Result<Records> {
        self.runtime.wait(self.consumer.poll(timeout))
    }

    /// As [`ConsumerHandle::commit_sync`].
    pub fn commit_sync(&self) -> Result<()> {
        self.runtime.wait(self.consumer.commit_sync())
    }

    /// As [`ConsumerHandle::commit`].
    pub fn commit(&self, offsets: &[(TopicPartition, OffsetAndMetadata)]) -> Result<()> {
        self.runtime.wait(self.consumer.commit(offsets))
    }

    /// As [`ConsumerHandle::committed`].
    pub fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
        self.runtime.wait(self.consumer.committed(partitions))
    }

    /// As [`ConsumerHandle::watermarks`].
    pub fn watermarks(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, LogBounds>> {
        self.runtime.wait(self.consumer.watermarks(partitions))
    }

    /// As [`ConsumerHandle::current_lag`].
    pub fn current_lag(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        self.runtime.wait(self.consumer.current_lag(partitions))
    }

    /// As [`ConsumerHandle::offsets_for_times`].
    pub fn offsets_for_times(
        &self,
        times: &[(TopicPartition, i64)],
    ) -> Result<BTreeMap<TopicPartition, OffsetAndTimestamp>> {
        self.runtime.wait(self.consumer.offsets_for_times(times))
    }

    /// As [`kafka::Consumer::close`](crate::kafka::Consumer::close).
    pub fn close(self) -> Result<()> {
        self.runtime.wait(self.consumer.close())
    }
}

/// A [`kafka::Producer`](crate::kafka::Producer) whose calls block. Threads may share it.
#[derive(Debug)]
pub struct Producer {
    producer: producer::Producer,
    runtime: Runtime,
}

impl Producer {
    /// As [`kafka::Producer::connect`](crate::kafka::Producer::connect).
    pub fn connect(config: ProducerConfig) -> Result<Self> {
        let runtime = Runtime::start()?;
        let producer = runtime.wait(producer::Producer::connect(config))?;
        Ok(Self { producer, runtime })
    }

    /// As [`kafka::Producer::send`](crate::kafka::Producer::send): waits until the record is written.
    pub fn send(&self, record: Record<'_>) -> Result<RecordMetadata> {
        self.runtime.wait(self.producer.send(record))
    }

    /// As [`kafka::Producer::enqueue`](crate::kafka::Producer::enqueue): waits for room only. What becomes of the record is waited for by
    /// [`wait`](Self::wait), or by [`flush`](Self::flush) for all.
    pub fn enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        self.runtime.wait(self.producer.enqueue(record))
    }

    /// As [`kafka::Producer::try_enqueue`](crate::kafka::Producer::try_enqueue): waits for nothing.
    pub fn try_enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        self.producer.try_enqueue(record)
    }

    /// Waits for what becomes of a record.
    pub fn wait(&self, delivery: Delivery) -> Result<RecordMetadata> {
        self.runtime.wait(delivery)
    }

    /// As [`kafka::Producer::flush`](crate::kafka::Producer::flush).
    pub fn flush(&self) -> Result<()> {
        self.runtime.wait(self.producer.flush())
    }

    /// As [`kafka::Producer::close`](crate::kafka::Producer::close).
    pub fn close(&self, timeout: Duration) -> Result<()> {
        self.runtime.wait(self.producer.close(timeout))
    }

    /// As [`kafka::Producer::close_and_report`](crate::kafka::Producer::close_and_report).
    pub fn close_and_report(&self, timeout: Duration) -> Result<CloseReport> {
        let closing = async { Ok(self.producer.close_and_report(timeout).await) };
        self.runtime.wait(closing)
    }

    /// As [`kafka::Producer::metrics`](crate::kafka::Producer::metrics).
    pub fn metrics(&self) -> ProducerMetrics {
        self.producer.metrics()
    }
}
