//! A producer as a trait object, so that code under test can be given another one.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::{Delivery, Producer, RecordMetadata};
use crate::kafka::net::BoxFuture;
use crate::kafka::{Record, Result};

/// What sends records: a [`Producer`], or in tests a
/// [`MockProducer`](crate::kafka::testing::MockProducer).
///
/// It can be a trait object. Each call of it allocates its future, which [`Producer`]
/// itself does not: where every record counts, be generic over it instead.
///
/// ```
/// use pat_events::kafka::testing::MockProducer;
/// use pat_events::kafka::{AnyProducer, Record};
/// use std::sync::Arc;
///
/// struct Audit {
///     producer: Arc<dyn AnyProducer>,
/// }
///
/// impl Audit {
///     async fn log(&self, line: &str) -> pat_events::kafka::Result<()> {
///         let record = Record::new("audit").value(line.as_bytes());
///         self.producer.send(record).await.map(drop)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> pat_events::kafka::Result<()> {
/// let producer = MockProducer::default();
/// let audit = Audit { producer: Arc::new(producer.clone()) };
/// audit.log("hello").await?;
/// assert_eq!(producer.records()[0].value.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
pub trait AnyProducer: Debug + Send + Sync {
    /// Accepts a record, and returns a handle on its outcome: see [`Producer::enqueue`].
    fn enqueue<'a>(&'a self, record: Record<'a>) -> BoxFuture<'a, Result<Delivery>>;

    /// The same without waiting: see [`Producer::try_enqueue`].
    fn try_enqueue(&self, record: Record<'_>) -> Result<Delivery>;

    /// Waits until the outcome of everything that was accepted is known: see
    /// [`Producer::flush`].
    fn flush(&self) -> BoxFuture<'_, Result<()>>;

    /// Delivers what was accepted, within `timeout`, and ends: see [`Producer::close`].
    fn close(&self, timeout: Duration) -> BoxFuture<'_, Result<()>>;

    /// Writes a record and waits until it is acknowledged: see [`Producer::send`].
    fn send<'a>(&'a self, record: Record<'a>) -> BoxFuture<'a, Result<RecordMetadata>> {
        Box::pin(async move { self.enqueue(record).await?.await })
    }
}

impl AnyProducer for Producer {
    fn enqueue<'a>(&'a self, record: Record<'a>) -> BoxFuture<'a, Result<Delivery>> {
        Box::pin(Producer::enqueue(self, record))
    }

    fn try_enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        Producer::try_enqueue(self, record)
    }

    fn flush(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(Producer::flush(self))
    }

    fn close(&self, timeout: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(Producer::close(self, timeout))
    }
}

impl<P: AnyProducer + ?Sized> AnyProducer for Arc<P> {
    fn enqueue<'a>(&'a self, record: Record<'a>) -> BoxFuture<'a, Result<Delivery>> {
        (**self).enqueue(record)
    }

    fn try_enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        (**self).try_enqueue(record)
    }

    fn flush(&self) -> BoxFuture<'_, Result<()>> {
        (**self).flush()
    }

    fn close(&self, timeout: Duration) -> BoxFuture<'_, Result<()>> {
        (**self).close(timeout)
    }
}
