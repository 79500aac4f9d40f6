//! A consumer of records in memory. In: what a test pushes. Out: polls, positions, commits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout_at;

use crate::kafka::net::BoxFuture;
use crate::kafka::runtime::{Mutex, after};
use crate::kafka::{
    AnyConsumer, Error, ErrorKind, Header, OffsetAndMetadata, OwnedRecord, Record, Records, Result,
    TopicPartition, testing,
};

/// The most records of one poll, as `max.poll.records` has it.
const MAX_POLL_RECORDS: usize = 500;

/// Stands in for a [`Consumer`](crate::kafka::Consumer) in tests: it reads what
/// [`push`](Self::push) puts into its topics, from the first record on. Clones share
/// topics, positions and commits: a test keeps one, and hands the other to the code.
///
/// All partitions of its topics are its own from the subscription on; nothing is ever
/// rebalanced. What was committed is seen by [`committed`](Self::committed), and changes
/// nothing of what is read.
#[derive(Clone, Debug, Default)]
pub struct MockConsumer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    pushed: Notify,
}

#[derive(Debug, Default)]
struct State {
    logs: BTreeMap<TopicPartition, Vec<OwnedRecord>>,
    topics: BTreeSet<String>,
    positions: BTreeMap<TopicPartition, i64>,
    paused: BTreeSet<TopicPartition>,
    committed: BTreeMap<TopicPartition, OffsetAndMetadata>,
    failures: VecDeque<Error>,
    commit_failures: VecDeque<Error>,
    is_closed: bool,
}

impl MockConsumer {
    /// Puts a record into its topic, into the partition that it names (0 by default), and
    /// returns its offset. Polls that wait return it.
    pub fn push(&self, record: Record<'_>) -> i64 {
        let partition = TopicPartition::new(record.topic, record.partition.unwrap_or(0));
        let mut state = self.0.state.lock();
        let log = state.logs.entry(partition.clone()).or_default();
        let offset = log.len() as i64;
        let polled = testing::records(&partition, offset, &[record]);
        log.extend(polled.iter().map(|view| view.to_owned()));
        drop(state);
        self.0.pushed.notify_waiters();
        offset
    }

    /// The next poll fails with this error. Called several times: so do the next ones, in
    /// this order.
    pub fn fail_next_poll(&self, error: Error) {
        self.0.state.lock().failures.push_back(error);
        self.0.pushed.notify_waiters();
    }

    /// The next commit fails with this error, likewise.
    pub fn fail_next_commit(&self, error: Error) {
        self.0.state.lock().commit_failures.push_back(error);
    }

    /// What was committed of a partition last.
    pub fn committed(&self, partition: &TopicPartition) -> Option<OffsetAndMetadata> {
        self.0.state.lock().committed.get(partition).cloned()
    }

    /// Whether the code has closed it.
    pub fn is_closed(&self) -> bool {
        self.0.state.lock().is_closed
    }
}

impl State {
    fn assignment(&self) -> Vec<TopicPartition> {
        let is_read = |partition: &&TopicPartition| self.topics.contains(&*partition.topic);
        self.logs.keys().filter(is_read).cloned().collect()
    }

    fn check_open(&self) -> Result<()> {
        match self.is_closed {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Closed, "the consumer was closed")),
        }
    }

    fn check_assigned(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.check_open()?;
        let assigned = self.assignment();
        match partitions.iter().find(|one| !assigned.contains(one)) {
            None => Ok(()),
            Some(foreign) => Err(testing::error_at(
                Error::new(
                    ErrorKind::UnknownTopicOrPartition,
                    "the partition is not assigned to this consumer",
                ),
                foreign,
            )),
        }
    }

    /// What a poll returns, if there is anything.
    fn take(&mut self) -> Result<Option<Records>> {
        self.check_open()?;
        if let Some(error) = self.failures.pop_front() {
            return Err(error);
        }
        let mut polled = Records::default();
        for partition in self.assignment() {
            if self.paused.contains(&partition) {
                continue;
            }
            let log = self.logs.get(&partition).map_or(&[][..], Vec::as_slice);
            let from = self.positions.get(&partition).copied().unwrap_or(0);
            let unread = log.get(from as usize..).unwrap_or_default();
            let room = MAX_POLL_RECORDS - polled.count();
            let next = &unread[..unread.len().min(room)];
            if next.is_empty() {
                continue;
            }
            let headers: Vec<Vec<Header<'_>>> = next.iter().map(headers_of).collect();
            let views = next.iter().zip(&headers);
            let views: Vec<_> = views.map(|(one, headers)| view_of(one, headers)).collect();
            let added = polled.add_in_memory(&partition, from, &views);
            added.map_err(|error| {
                Error::new(ErrorKind::CorruptBatch, "the records cannot be read").because(error)
            })?;
            self.positions.insert(partition, from + next.len() as i64);
        }
        Ok((!polled.is_empty()).then_some(polled))
    }

    fn commit(
        &mut self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<()> {
        self.check_open()?;
        if let Some(error) = self.commit_failures.pop_front() {
            return Err(error);
        }
        self.committed.extend(offsets);
        Ok(())
    }
}

fn headers_of(record: &OwnedRecord) -> Vec<Header<'_>> {
    let headers = record.headers.iter();
    headers
        .map(|header| Header::raw(header.key_bytes(), header.value.as_deref()))
        .collect()
}

fn view_of<'a>(record: &'a OwnedRecord, headers: &'a [Header<'a>]) -> Record<'a> {
    let mut view = Record::new(&record.topic).headers(headers);
    view.key = record.key.as_deref();
    view.value = record.value.as_deref();
    view.timestamp_ms = Some(record.timestamp_ms);
    view
}

impl AnyConsumer for MockConsumer {
    /// Patterns are taken for names.
    fn subscribe<'a>(&'a mut self, topics: &'a [&'a str]) -> BoxFuture<'a, Result<()>> {
        let mut state = self.0.state.lock();
        let subscribed = state.check_open();
        if subscribed.is_ok() {
            state.topics = topics.iter().map(|&topic| topic.to_owned()).collect();
        }
        Box::pin(std::future::ready(subscribed))
    }

    fn poll(&mut self, timeout: Duration) -> BoxFuture<'_, Result<Records>> {
        let deadline = after(timeout);
        let shared = &*self.0;
        Box::pin(async move {
            loop {
                let mut pushed = std::pin::pin!(shared.pushed.notified());
                pushed.as_mut().enable();
                if let Some(records) = shared.state.lock().take()? {
                    return Ok(records);
                }
                if timeout_at(deadline, pushed).await.is_err() {
                    return Ok(Records::default());
                }
            }
        })
    }

    fn commit_sync(&self) -> BoxFuture<'_, Result<()>> {
        let mut state = self.0.state.lock();
        let positions = state.positions.clone().into_iter();
        let offsets = positions.map(|(partition, at)| (partition, OffsetAndMetadata::new(at)));
        let committed = state.commit(offsets);
        Box::pin(std::future::ready(committed))
    }

    fn commit<'a>(
        &'a self,
        offsets: &'a [(TopicPartition, OffsetAndMetadata)],
    ) -> BoxFuture<'a, Result<()>> {
        let committed = self.0.state.lock().commit(offsets.iter().cloned());
        Box::pin(std::future::ready(committed))
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.0.state.lock().assignment()
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        let state = self.0.state.lock();
        state.check_assigned(std::slice::from_ref(partition)).ok()?;
        Some(state.positions.get(partition).copied().unwrap_or(0))
    }

    fn seek(&self, partition: &TopicPartition, offset: i64) -> Result<()> {
        let mut state = self.0.state.lock();
        state.check_assigned(std::slice::from_ref(partition))?;
        state.positions.insert(partition.clone(), offset.max(0));
        drop(state);
        self.0.pushed.notify_waiters();
        Ok(())
    }

    fn pause(&self, partitions: &[TopicPartition]) -> Result<()> {
        let mut state = self.0.state.lock();
        state.check_assigned(partitions)?;
        state.paused.extend(partitions.iter().cloned());
        Ok(())
    }

    fn resume(&self, partitions: &[TopicPartition]) -> Result<()> {
        let mut state = self.0.state.lock();
        state.check_assigned(partitions)?;
        state.paused.retain(|paused| !partitions.contains(paused));
        drop(state);
        self.0.pushed.notify_waiters();
        Ok(())
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        self.0.state.lock().is_closed = true;
        self.0.pushed.notify_waiters();
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(10);

    #[tokio::test(start_paused = true)]
    async fn polls_return_what_was_pushed_in_the_order_of_each_partition() {
        let topics = MockConsumer::default();
        let mut consumer = topics.clone();
        let orders = TopicPartition::new("orders", 1);
        let headers = [Header::new("h", b"1")];
        let first = Record::new("orders").partition(1).headers(&headers);
        assert_eq!(topics.push(first.key(b"k").value(b"a")), 0);
        assert_eq!(topics.push(Record::new("others").value(b"b")), 0);
        consumer.subscribe(&["orders"]).await.expect("subscribed");
        assert_eq!(consumer.assignment(), std::slice::from_ref(&orders));
        let records = consumer.poll(SHORT).await.expect("polled");
        let all: Vec<_> = records.iter().collect();
        assert_eq!((all.len(), all[0].value), (1, Some(&b"a"[..])));
        assert_eq!(all[0].headers.get("h"), Some(Some(&b"1"[..])));
        assert_eq!(consumer.position(&orders), Some(1));
        consumer.commit_sync().await.expect("committed");
        assert_eq!(topics.committed(&orders), Some(OffsetAndMetadata::new(1)));
        assert!(consumer.poll(SHORT).await.expect("nothing").is_empty());
        let waits = tokio::spawn(async move { consumer.poll(Duration::from_secs(60)).await });
        tokio::task::yield_now().await;
        topics.push(first.value(b"c"));
        let records = waits.await.expect("not panicked").expect("polled");
        assert_eq!(records.iter().next().map(|record| record.offset), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_seeks_failures_and_the_end_are_as_of_a_consumer() {
        let topics = MockConsumer::default();
        let mut consumer: Box<dyn AnyConsumer> = Box::new(topics.clone());
        let orders = TopicPartition::new("orders", 0);
        for _ in 0..3 {
            topics.push(Record::new("orders").value(b"v"));
        }
        consumer.subscribe(&["orders"]).await.expect("subscribed");
        let all = std::slice::from_ref(&orders);
        consumer.pause(all).expect("paused");
        assert!(consumer.poll(SHORT).await.expect("paused").is_empty());
        consumer.resume(all).expect("resumed");
        consumer.seek(&orders, 1).expect("sought");
        let records = consumer.poll(SHORT).await.expect("polled");
        assert_eq!(records.count(), 2);
        let foreign = TopicPartition::new("others", 0);
        let error = consumer.seek(&foreign, 0).expect_err("not assigned");
        assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
        topics.fail_next_poll(testing::unreadable(&orders, 3, 4));
        let error = consumer.poll(SHORT).await.expect_err("told to");
        assert_eq!(error.resume_offset(), Some(4));
        topics.fail_next_commit(testing::error(ErrorKind::Rebalance, "rebalancing"));
        assert!(consumer.commit_sync().await.is_err());
        assert_eq!(topics.committed(&orders), None);
        let offsets = [(orders.clone(), OffsetAndMetadata::new(2))];
        consumer.commit(&offsets).await.expect("committed");
        assert_eq!(topics.committed(&orders).map(|it| it.offset), Some(2));
        consumer.close().await.expect("closed");
        assert!(topics.is_closed());
        let mut other = topics.clone();
        let error = other.poll(SHORT).await.err().map(|error| error.kind());
        assert_eq!(error, Some(ErrorKind::Closed));
    }
}
