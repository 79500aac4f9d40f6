//! Room that is reserved before the record is there.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::{ErrorKind, Producer, Record, WriteOutcome};
use protocol::ApiKey;

use crate::harness::*;

const BUFFER: usize = 64 << 10;

/// A producer whose buffer is small, and whose first record is written.
async fn small(broker: &Broker) -> Producer {
    let producer = producer(broker, |config| {
        config.buffer_bytes = BUFFER;
        config.batch_bytes = 16 << 10;
        config.max_request_bytes = 32 << 10;
    })
    .await;
    let first = Record::new("t").value(&[0; 4]);
    producer.send(first).await.expect("written");
    producer
}

#[tokio::test(start_paused = true)]
async fn permits_are_granted_in_the_order_of_asking_and_their_records_are_accepted_at_once() {
    let broker = one_broker(1);
    let producer = small(&broker).await;
    broker.inject(Fault::on(ApiKey::PRODUCE, FaultAction::Delay(ms(100))).always());
    let mut waiting = Vec::new();
    for number in 1..101_u32 {
        let waits = producer.clone();
        waiting.push(tokio::spawn(async move {
            let permit = waits.reserve("t", 2_000).await.expect("room");
            let mut value = [0; 2_000];
            value[..4].copy_from_slice(&number.to_be_bytes());
            let record = Record::new("t").value(&value);
            drop(permit.enqueue(record).expect("accepted"));
        }));
        tokio::task::yield_now().await;
        assert!(producer.metrics().buffer_bytes_used <= BUFFER);
    }
    for task in waiting {
        task.await.expect("no panic");
    }
    producer.flush().await.expect("delivered");
    assert_eq!(numbers(&broker, 0), (0..101).collect::<Vec<_>>());
    assert_eq!(producer.metrics().buffer_bytes_used, 0);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_dropped_or_given_up_while_waiting_returns_its_room() {
    let broker = one_broker(1);
    let producer = small(&broker).await;
    for polls in 1..6 {
        let mut permits = Vec::new();
        let refused = loop {
            let mut reserving = pin!(producer.reserve("t", 10_000));
            let mut granted = None;
            for _ in 0..polls {
                let polled = poll_fn(|context| Poll::Ready(reserving.as_mut().poll(context)));
                if let Poll::Ready(permit) = polled.await {
                    granted = Some(permit.expect("room"));
                    break;
                }
                tokio::time::sleep(ms(1)).await;
            }
            match granted {
                Some(permit) => permits.push(permit),
                None => break permits.len(),
            }
        };
        assert_eq!(refused, 6, "of {BUFFER} bytes");
        let full = producer.try_enqueue(Record::new("t").value(&[0; 10_000]));
        assert_eq!(full.map(drop).unwrap_err().kind(), ErrorKind::BufferFull);
        drop(permits);
        assert_eq!(producer.metrics().buffer_bytes_used, 0);
    }
    producer
        .send(Record::new("t").value(&[0; 10_000]))
        .await
        .expect("written");
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_for_one_topic_and_no_more_bytes_than_were_asked_for() {
    let broker = one_broker(2);
    let producer = small(&broker).await;
    let cases = [
        (Record::new("other").value(b"v"), ErrorKind::InvalidRecord),
        (Record::new("t").value(&[0; 101]), ErrorKind::RecordTooLarge),
        (
            Record::new("t").key(&[0; 60]).value(&[0; 41]),
            ErrorKind::RecordTooLarge,
        ),
        (Record::new("t").partition(-1), ErrorKind::InvalidRecord),
        (
            Record::new("t").partition(2),
            ErrorKind::UnknownTopicOrPartition,
        ),
    ];
    for (record, kind) in cases {
        let permit = producer.reserve("t", 100).await.expect("room");
        let error = permit.enqueue(record).map(drop).unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (kind, WriteOutcome::NotWritten),
            "{error}"
        );
        assert_eq!(producer.metrics().buffer_bytes_used, 0);
    }
    let permit = producer.reserve("t", 100).await.expect("room");
    let written = permit.enqueue(Record::new("t").key(&[0; 60]).value(&[0; 40]));
    written.expect("accepted").await.expect("written");
    let error = producer.reserve("t", 1 << 20).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RecordTooLarge);
    producer.close(ms(1_000)).await.expect("closed");
    let error = producer.reserve("t", 100).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_partitions_is_known_before_the_first_record() {
    let broker = one_broker(3);
    let producer = producer(&broker, |config| config.max_block = ms(1_000)).await;
    assert_eq!(producer.partitions("t").await.expect("known"), 3);
    let error = producer.partitions("nowhere").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
    let error = producer.partitions("a b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRecord);
}
