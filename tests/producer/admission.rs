//! Which records are taken in, and what a caller that gives up leaves behind.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::producer::Partition;
use pat_events::kafka::{Error, ErrorKind, Partitioner, Producer, Record, WriteOutcome};
use protocol::ApiKey;

use crate::harness::*;

/// Polls `future` so many times, lets others run in between, and drops it.
async fn poll_and_drop<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::time::sleep(ms(1)).await;
    }
    None
}

/// Hands in records by calls that are given up after so many polls; returns the numbers of those that were accepted.
async fn enqueue_and_give_up(
    producer: &Producer,
    topic: &str,
    polls: usize,
    count: u32,
) -> Vec<u32> {
    let mut accepted = Vec::new();
    for number in 0..count {
        let mut value = [0; 2_000];
        value[..4].copy_from_slice(&number.to_be_bytes());
        let record = Record::new(topic).partition(0).value(&value);
        if let Some(delivery) = poll_and_drop(producer.enqueue(record), polls).await {
            drop(delivery.expect("accepted"));
            accepted.push(number);
        }
    }
    accepted
}

fn written(broker: &Broker, topic: &str) -> Vec<u32> {
    values(broker, topic, 0)
        .into_iter()
        .map(|value| u32::from_be_bytes(value[..4].try_into().expect("four bytes")))
        .collect()
}

/// `enqueue` let others run after it had accepted the record: a caller that gave up there had no delivery, and the record was written.
#[tokio::test(start_paused = true)]
async fn a_record_is_written_exactly_if_its_caller_got_a_delivery() {
    for polls in 1..12 {
        let broker = one_broker(1);
        broker.create_topic("new", 1).unwrap();
        broker.create_topic("slow", 1).unwrap();
        let producer = producer(&broker, |config| {
            config.buffer_bytes = 64 << 10;
            config.batch_bytes = 32 << 10;
            config.max_request_bytes = 64 << 10;
        })
        .await;
        drop(enqueue_numbers(&producer, 1, 0..1).await);
        producer.flush().await.unwrap();
        // The metadata is here; then it is not; then there is no room.
        let mut expected = vec![0];
        expected.extend(enqueue_and_give_up(&producer, "t", polls, 100).await);
        let new = enqueue_and_give_up(&producer, "new", polls, 10).await;
        producer.flush().await.unwrap();
        broker.inject(Fault::on(ApiKey::PRODUCE, FaultAction::Delay(ms(100))).times(3));
        let slow = enqueue_and_give_up(&producer, "slow", polls, 100).await;
        producer.flush().await.unwrap();
        assert_eq!(written(&broker, "t"), expected, "{polls} polls");
        assert_eq!(written(&broker, "new"), new, "{polls} polls");
        assert_eq!(written(&broker, "slow"), slow, "{polls} polls");
        assert_eq!(producer.metrics().buffer_bytes_used, 0);
    }
}

/// Given up at each of their polls, the other calls change nothing of what was accepted.
#[tokio::test(start_paused = true)]
async fn calls_that_are_given_up_lose_no_record() {
    for polls in 0..8 {
        let broker = one_broker(2);
        let connecting = Producer::connect(config(&broker));
        drop(poll_and_drop(connecting, polls).await);
        let producer = producer(&broker, |config| config.linger = ms(60_000)).await;
        let deliveries = enqueue_numbers(&producer, 2, 0..100).await;
        broker.inject(Fault::on(ApiKey::PRODUCE, FaultAction::Delay(ms(20))));
        drop(poll_and_drop(producer.flush(), polls).await);
        for delivery in deliveries {
            drop(poll_and_drop(delivery, polls).await);
        }
        drop(poll_and_drop(producer.close(ms(5_000)), polls.max(1)).await);
        producer.flush().await.unwrap();
        assert_exactly_once_in_order(&broker, 2, 100);
    }
}

/// "Not here yet: try again" was all that it ever said, of names that cannot be and of topics that do not exist alike.
#[tokio::test(start_paused = true)]
async fn without_waiting_the_reason_why_a_topic_is_not_here_is_told() {
    let broker = one_broker(1);
    let producer = producer(&broker, |_| {}).await;
    let try_once = |topic: &str| {
        let record = Record::new(topic).value(b"v");
        producer.try_enqueue(record).map(drop)
    };
    let kind = |error: &Error| (error.kind(), error.is_retriable(), error.outcome());
    let not_written = WriteOutcome::NotWritten;
    for topic in ["t", "nowhere"] {
        let error = try_once(topic).unwrap_err();
        assert_eq!(
            kind(&error),
            (ErrorKind::MetadataPending, true, not_written)
        );
        assert!(error.to_string().contains(topic), "{error}");
    }
    tokio::time::sleep(ms(1_000)).await;
    try_once("t").unwrap();
    let error = try_once("nowhere").unwrap_err();
    assert_eq!(
        kind(&error),
        (ErrorKind::UnknownTopicOrPartition, true, not_written),
        "{error}"
    );
    broker.create_topic("nowhere", 1).unwrap();
    let _ = try_once("nowhere");
    tokio::time::sleep(ms(1_000)).await;
    try_once("nowhere").unwrap();
}

#[tokio::test(start_paused = true)]
async fn records_that_no_broker_takes_are_refused_at_once() {
    let broker = one_broker(2);
    let producer = producer(&broker, |_| {}).await;
    drop(enqueue_numbers(&producer, 2, 0..2).await);
    let long = "x".repeat(40_000);
    let records = [
        Record::new("a b"),
        Record::new(""),
        Record::new(".."),
        Record::new(&long),
        Record::new("t").partition(-1),
        Record::new("t").timestamp_ms(-1),
        Record::new("t").timestamp_ms(i64::MIN),
    ];
    let before = tokio::time::Instant::now();
    for record in records {
        for result in [
            producer.try_enqueue(record).map(drop),
            producer.enqueue(record).await.map(drop),
            producer.enqueue_with(record, 1, |_| {}).await.map(drop),
            producer.send(record).await.map(drop),
        ] {
            let error = result.unwrap_err();
            assert_eq!(
                (error.kind(), error.is_retriable(), error.outcome()),
                (ErrorKind::InvalidRecord, false, WriteOutcome::NotWritten),
                "{error}"
            );
        }
    }
    assert_eq!(before.elapsed(), ms(0));
    // Others are not harmed.
    producer
        .send(Record::new("t").timestamp_ms(0))
        .await
        .unwrap();
    producer.flush().await.unwrap();
}

/// Chooses what it was told.
#[derive(Debug)]
struct Stubborn(i32);

impl Partition for Stubborn {
    fn partition(&self, _: &Record<'_>, _: i32) -> i32 {
        self.0
    }
}

/// Each such record took 110 ms and a refresh of the metadata, and failed for partition -1.
#[tokio::test(start_paused = true)]
async fn a_partitioner_that_is_out_of_range_is_named_with_its_number() {
    for chosen in [-1, 2, i32::MAX, i32::MIN] {
        let broker = one_broker(2);
        let producer = producer(&broker, |config| {
            config.partitioner = Partitioner::Custom(Arc::new(Stubborn(chosen)));
        })
        .await;
        drop(enqueue_numbers(&producer, 2, 0..2).await);
        let before = tokio::time::Instant::now();
        let record = Record::new("t").value(b"v");
        for error in [
            producer.send(record).await.unwrap_err(),
            producer.try_enqueue(record).map(drop).unwrap_err(),
        ] {
            assert_eq!(
                (error.kind(), error.is_retriable(), error.outcome()),
                (ErrorKind::InvalidRecord, false, WriteOutcome::NotWritten)
            );
            let text = error.to_string();
            assert!(
                text.contains("Stubborn") && text.contains(&format!("chose partition {chosen} ")),
                "{text}"
            );
        }
        assert_eq!(before.elapsed(), ms(0));
    }
}
