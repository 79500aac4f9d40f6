//! A producer that remembers what it is given. In: records. Out: deliveries, with the outcomes that were asked for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{UndecidedDelivery, records, undecided};
use crate::kafka::model::check_topic_name;
use crate::kafka::net::BoxFuture;
use crate::kafka::producer::partition_of_key;
use crate::kafka::runtime::Mutex;
use crate::kafka::{
    AnyProducer, Clock, Delivery, Error, ErrorKind, OwnedRecord, Record, Result, TopicPartition,
};

/// Stands in for a [`Producer`](crate::kafka::Producer) in tests: records are remembered,
/// and count as written at once, each at the next offset of its partition. Clones share
/// what they remember.
///
/// Records with a key go where the default partitioner sends them, others to partition 0.
/// After [`hold`](Self::hold) deliveries wait until a test decides what becomes of them.
#[derive(Clone, Debug)]
pub struct MockProducer {
    partitions: i32,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    records: Vec<OwnedRecord>,
    /// The next offset of each partition.
    next: BTreeMap<TopicPartition, i64>,
    /// What nothing is accepted for.
    refusal: Option<Error>,
    /// What the next accepted records fail with.
    failures: VecDeque<Error>,
    holds: bool,
    held: VecDeque<Held>,
    is_closed: bool,
}

/// An accepted record whose outcome a test decides.
#[derive(Debug)]
struct Held {
    partition: TopicPartition,
    record: OwnedRecord,
    outcome: UndecidedDelivery,
}

impl Default for MockProducer {
    fn default() -> Self {
        Self::new(1)
    }
}

impl MockProducer {
    /// One whose topics have so many partitions each; 1 by default.
    pub fn new(partitions: i32) -> Self {
        Self {
            partitions: partitions.max(1),
            state: Arc::default(),
        }
    }

    /// What was written so far, in the order in which it was.
    pub fn records(&self) -> Vec<OwnedRecord> {
        self.state.lock().records.clone()
    }

    /// What was written so far, which is then forgotten; offsets go on.
    pub fn take(&self) -> Vec<OwnedRecord> {
        std::mem::take(&mut self.state.lock().records)
    }

    /// Accepts nothing from now on, and fails with this error; `None`: accepts again.
    pub fn refuse_with(&self, error: Option<Error>) {
        self.state.lock().refusal = error;
    }

    /// The next record is accepted, and its delivery fails with this error. Called
    /// several times: so do the next ones, in this order.
    pub fn fail_next(&self, error: Error) {
        self.state.lock().failures.push_back(error);
    }

    /// Decides nothing by itself any more: deliveries are pending until
    /// [`complete_next`](Self::complete_next) or
    /// [`fail_next_held`](Self::fail_next_held).
    pub fn hold(&self) {
        self.state.lock().holds = true;
    }

    /// How many deliveries are held.
    pub fn held(&self) -> usize {
        self.state.lock().held.len()
    }

    /// The record that was held first is written. `false` when there is none.
    pub fn complete_next(&self) -> bool {
        let mut state = self.state.lock();
        let Some(held) = state.held.pop_front() else {
            return false;
        };
        state.write(held);
        true
    }

    /// The record that was held first fails. `false` when there is none.
    pub fn fail_next_held(&self, error: Error) -> bool {
        let Some(held) = self.state.lock().held.pop_front() else {
            return false;
        };
        held.outcome.failed(error);
        true
    }

    fn accept(&self, record: Record<'_>) -> Result<Delivery> {
        check_topic_name(record.topic)?;
        let number = match (record.partition, record.key) {
            (Some(number), _) => number,
            (None, Some(key)) => partition_of_key(key, self.partitions),
            (None, None) => 0,
        };
        let partition = TopicPartition::new(record.topic, number);
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(Error::new(ErrorKind::Closed, "the producer was closed"));
        }
        if let Some(error) = &state.refusal {
            return Err(error.clone());
        }
        if !(0..self.partitions).contains(&number) {
            let message = format!("the topics have partitions 0 to {}", self.partitions - 1);
            let error = Error::new(ErrorKind::UnknownTopicOrPartition, message);
            return Err(error.topic_partition(partition.topic, number));
        }
        let (delivery, outcome) = undecided(&partition);
        if let Some(error) = state.failures.pop_front() {
            outcome.failed(error);
            return Ok(delivery);
        }
        let now_ms = || Clock::default().now_ms();
        let timed = record.timestamp_ms(record.timestamp_ms.unwrap_or_else(now_ms));
        let polled = records(&partition, 0, &[timed]);
        let Some(record) = polled.iter().next().map(|view| view.to_owned()) else {
            return Ok(delivery);
        };
        let held = Held {
            partition,
            record,
            outcome,
        };
        match state.holds {
            true => state.held.push_back(held),
            false => state.write(held),
        }
        Ok(delivery)
    }
}

impl State {
    fn write(&mut self, held: Held) {
        let Held {
            partition,
            mut record,
            outcome,
        } = held;
        let next = self.next.entry(partition).or_default();
        record.offset = *next;
        *next += 1;
        outcome.written(record.offset);
        self.records.push(record);
    }
}

impl AnyProducer for MockProducer {
    fn enqueue<'a>(&'a self, record: Record<'a>) -> BoxFuture<'a, Result<Delivery>> {
        Box::pin(std::future::ready(self.accept(record)))
    }

    fn try_enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        self.accept(record)
    }

    /// Ready at once: what is held stays held.
    fn flush(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Accepts nothing any more. What is held fails, outcome unknown.
    fn close(&self, _: Duration) -> BoxFuture<'_, Result<()>> {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.held.clear();
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{WriteOutcome, testing};

    #[tokio::test]
    async fn records_are_remembered_with_offsets_of_their_partitions() {
        let producer = MockProducer::new(3);
        let other = producer.clone();
        let key = b"o-1";
        let expected = partition_of_key(key, 3);
        for offset in 0..2 {
            let record = Record::new("orders").key(key).value(b"v");
            let written = other.send(record).await.expect("written");
            assert_eq!(
                (written.partition, written.offset),
                (expected, Some(offset))
            );
        }
        let third = Record::new("orders").partition(9);
        let error = producer.try_enqueue(third).expect_err("no such partition");
        assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
        let error = producer
            .try_enqueue(Record::new("a b"))
            .expect_err("no topic");
        assert_eq!(error.kind(), ErrorKind::InvalidRecord);
        let records = producer.take();
        assert_eq!(records.len(), 2);
        assert_eq!(
            (records[1].offset, records[1].key.as_deref()),
            (1, Some(&key[..]))
        );
        assert!(records[1].timestamp_ms > 0);
        assert!(producer.records().is_empty());
    }

    #[tokio::test]
    async fn what_is_refused_failed_and_held_is_as_the_test_says() {
        let producer = MockProducer::default();
        let record = Record::new("orders").value(b"v");
        producer.refuse_with(Some(testing::error(ErrorKind::BufferFull, "full")));
        let error = producer.try_enqueue(record).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::BufferFull);
        producer.refuse_with(None);
        producer.fail_next(testing::error(ErrorKind::Timeout, "no answer"));
        let error = producer.send(record).await.expect_err("failed");
        assert_eq!(error.outcome(), WriteOutcome::Unknown);
        producer.hold();
        let first = producer.try_enqueue(record).expect("accepted");
        let second = producer.try_enqueue(record).expect("accepted");
        let third = producer.try_enqueue(record).expect("accepted");
        assert_eq!((producer.held(), first.outcome().is_none()), (3, true));
        assert!(producer.fail_next_held(testing::error(ErrorKind::NoLeader, "none")));
        assert!(producer.complete_next());
        assert!(first.await.is_err());
        assert_eq!(second.await.expect("written").offset, Some(0));
        producer.close(Duration::ZERO).await.expect("closed");
        assert_eq!(third.await.expect_err("gone").kind(), ErrorKind::Closed);
        assert!(!producer.complete_next());
        let error = producer.send(record).await.expect_err("closed");
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(producer.records().len(), 1);
    }
}
