//! A consumer as a trait object, so that code under test can be given another one.

use std::fmt::Debug;
use std::time::Duration;

use super::{Consumer, OffsetAndMetadata, Records};
use crate::kafka::net::BoxFuture;
use crate::kafka::{Result, TopicPartition};

/// What reads records: a [`Consumer`], or in tests a
/// [`MockConsumer`](crate::kafka::testing::MockConsumer).
///
/// It can be a trait object, and has what a loop of polls needs. A poll of it
/// allocates its future, once for all of the poll's records.
///
/// ```
/// use pat_events::kafka::testing::MockConsumer;
/// use pat_events::kafka::{AnyConsumer, Record, Result};
/// use std::time::Duration;
///
/// /// How many bytes there were in one poll, which is committed.
/// async fn measure(consumer: &mut dyn AnyConsumer) -> Result<usize> {
///     let records = consumer.poll(Duration::from_secs(1)).await?;
///     let values = records.iter().filter_map(|record| record.value);
///     let bytes = values.map(<[u8]>::len).sum();
///     consumer.commit_sync().await?;
///     Ok(bytes)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let mut consumer = MockConsumer::default();
/// consumer.push(Record::new("orders").value(b"12345"));
/// consumer.subscribe(&["orders"]).await?;
/// assert_eq!(measure(&mut consumer).await?, 5);
/// # Ok(())
/// # }
/// ```
pub trait AnyConsumer: Debug + Send {
    /// Reads these topics from now on: see [`Consumer::subscribe`].
    fn subscribe<'a>(&'a mut self, topics: &'a [&'a str]) -> BoxFuture<'a, Result<()>>;

    /// The next records: see [`Consumer::poll`].
    fn poll(&mut self, timeout: Duration) -> BoxFuture<'_, Result<Records>>;

    /// Commits what polls have returned: see
    /// [`commit_sync`](crate::kafka::ConsumerHandle::commit_sync).
    fn commit_sync(&self) -> BoxFuture<'_, Result<()>>;

    /// Commits these offsets: see [`commit`](crate::kafka::ConsumerHandle::commit).
    fn commit<'a>(
        &'a self,
        offsets: &'a [(TopicPartition, OffsetAndMetadata)],
    ) -> BoxFuture<'a, Result<()>>;

    /// The partitions that are read now, in order.
    fn assignment(&self) -> Vec<TopicPartition>;

    /// The offset of the next record that a poll returns.
    fn position(&self, partition: &TopicPartition) -> Option<i64>;

    /// Goes on reading at `offset`: see [`seek`](crate::kafka::ConsumerHandle::seek).
    fn seek(&self, partition: &TopicPartition, offset: i64) -> Result<()>;

    /// Returns nothing of these partitions until they are resumed.
    fn pause(&self, partitions: &[TopicPartition]) -> Result<()>;

    /// Goes on where these partitions were paused.
    fn resume(&self, partitions: &[TopicPartition]) -> Result<()>;

    /// Leaves the group and ends: see [`Consumer::close`].
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

impl AnyConsumer for Consumer {
    fn subscribe<'a>(&'a mut self, topics: &'a [&'a str]) -> BoxFuture<'a, Result<()>> {
        Box::pin(Consumer::subscribe(self, topics))
    }

    fn poll(&mut self, timeout: Duration) -> BoxFuture<'_, Result<Records>> {
        Box::pin(Consumer::poll(self, timeout))
    }

    fn commit_sync(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.handle.commit_sync())
    }

    fn commit<'a>(
        &'a self,
        offsets: &'a [(TopicPartition, OffsetAndMetadata)],
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.handle.commit(offsets))
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.handle.assignment()
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.handle.position(partition)
    }

    fn seek(&self, partition: &TopicPartition, offset: i64) -> Result<()> {
        self.handle.seek(partition, offset)
    }

    fn pause(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.handle.pause(partitions)
    }

    fn resume(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.handle.resume(partitions)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin((*self).close())
    }
}
