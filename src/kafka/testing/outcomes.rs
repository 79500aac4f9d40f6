//! What the client returns, made by hand: deliveries, and the records of a poll.

use crate::kafka::producer::Undecided;
use crate::kafka::{Delivery, Error, Record, Records, TopicPartition};

/// A delivery of a record that was written to `partition`, at `offset`, without a
/// timestamp.
///
/// ```
/// use pat_events::kafka::TopicPartition;
/// use pat_events::kafka::testing::written;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> pat_events::kafka::Result<()> {
/// let delivery = written(&TopicPartition::new("orders", 0), 7);
/// assert_eq!(delivery.await?.offset, Some(7));
/// # Ok(())
/// # }
/// ```
pub fn written(partition: &TopicPartition, offset: i64) -> Delivery {
    let (delivery, outcome) = undecided(partition);
    outcome.written(offset);
    delivery
}

/// A delivery that failed.
pub fn failed(partition: &TopicPartition, error: Error) -> Delivery {
    let (delivery, outcome) = undecided(partition);
    outcome.failed(error);
    delivery
}

/// A delivery that is pending, and what decides its outcome. Where that is dropped, the
/// delivery fails with [`ErrorKind::Closed`](crate::kafka::ErrorKind::Closed), outcome
/// unknown, as of a producer that has gone.
pub fn undecided(partition: &TopicPartition) -> (Delivery, UndecidedDelivery) {
    let TopicPartition { topic, partition } = partition;
    let (delivery, outcome) = Delivery::in_memory(topic.clone(), *partition, -1);
    (delivery, UndecidedDelivery(outcome))
}

/// Decides the outcome of a delivery: see [`undecided`].
#[derive(Debug)]
#[must_use = "dropped, it lets its delivery fail"]
pub struct UndecidedDelivery(Undecided);

impl UndecidedDelivery {
    /// The record was written at this offset.
    pub fn written(self, offset: i64) {
        self.0.written(offset);
    }

    /// The record failed; whether it may have been written is what
    /// [`Error::outcome`] says.
    pub fn failed(self, error: Error) {
        self.0.failed(error);
    }
}

/// What a poll returns that found these records of `partition`, at `first_offset` and
/// behind it. Their own topics and partitions are not looked at; without a timestamp
/// they have none (-1).
///
/// For tests: it panics when there are 2 GiB of them, or an offset is below 0.
///
/// ```
/// use pat_events::kafka::testing::records;
/// use pat_events::kafka::{Record, TopicPartition};
///
/// let orders = [Record::new("orders").key(b"o-1").value(b"{}")];
/// let polled = records(&TopicPartition::new("orders", 2), 40, &orders);
/// let record = polled.iter().next().expect("one");
/// assert_eq!((record.partition, record.offset), (2, 40));
/// assert_eq!(record.key, Some(&b"o-1"[..]));
/// ```
pub fn records(partition: &TopicPartition, first_offset: i64, records: &[Record<'_>]) -> Records {
    let mut polled = Records::default();
    if let Err(error) = polled.add_in_memory(partition, first_offset, records) {
        panic!("no records of {partition} for a test: {error}");
    }
    polled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{ErrorKind, Header, WriteOutcome, testing};

    #[tokio::test]
    async fn a_delivery_is_what_was_decided_and_unknown_where_nobody_decides() {
        let partition = TopicPartition::new("orders", 3);
        let (delivery, outcome) = undecided(&partition);
        assert!(delivery.outcome().is_none());
        outcome.written(9);
        let metadata = delivery.await.expect("written");
        assert_eq!((metadata.partition, metadata.offset), (3, Some(9)));
        let refused = failed(&partition, testing::error(ErrorKind::RecordTooLarge, "no"));
        let error = refused.await.expect_err("refused");
        assert_eq!(error.outcome(), WriteOutcome::NotWritten);
        let (delivery, outcome) = undecided(&partition);
        drop(outcome);
        let error = delivery.await.expect_err("nobody decided");
        assert_eq!(
            (error.kind(), error.outcome()),
            (ErrorKind::Closed, WriteOutcome::Unknown)
        );
    }

    #[test]
    fn records_are_as_those_of_a_poll() {
        let headers = [Header::new("a", b"1"), Header::null("b")];
        let partition = TopicPartition::new("orders", 1);
        let given = [
            Record::new("elsewhere")
                .key(b"k")
                .value(b"v")
                .headers(&headers)
                .timestamp_ms(1_700_000_000_000),
            Record::new("orders"),
        ];
        let polled = records(&partition, 5, &given);
        assert_eq!(polled.count(), 2);
        let all: Vec<_> = polled.iter().collect();
        assert_eq!((all[0].topic, all[0].partition), ("orders", 1));
        assert_eq!((all[0].offset, all[1].offset), (5, 6));
        assert_eq!(all[0].timestamp_ms, 1_700_000_000_000);
        assert_eq!(
            (all[0].key, all[0].value),
            (Some(&b"k"[..]), Some(&b"v"[..]))
        );
        assert_eq!(all[0].headers.get("a"), Some(Some(&b"1"[..])));
        assert_eq!(all[0].headers.get("b"), Some(None));
        assert_eq!((all[1].key, all[1].value), (None, None));
        assert_eq!(all[1].timestamp_ms, -1);
        assert_eq!(polled.next_offsets()[&partition].offset, 7);
        assert!(records(&partition, 5, &[]).is_empty());
    }
}
