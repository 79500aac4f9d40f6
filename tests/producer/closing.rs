//! What a close that runs out of time leaves behind, and that it says so of every record.

use std::collections::BTreeMap;

use pat_events::broker::FaultAction;
use pat_events::kafka::{CloseReport, Delivery, ErrorKind, Producer, WriteOutcome};
use tokio::time::Instant;

use crate::harness::*;

/// What the deliveries say of records without an acknowledgement: by partition, not written and unknown.
async fn told(deliveries: Vec<Delivery>) -> BTreeMap<i32, (u64, u64)> {
    let mut left = BTreeMap::<i32, (u64, u64)>::new();
    for delivery in deliveries {
        let partition = delivery.partition();
        let Err(error) = delivery.await else { continue };
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        let (not_written, unknown) = left.entry(partition).or_default();
        match error.outcome() {
            WriteOutcome::NotWritten => *not_written += 1,
            _ => *unknown += 1,
        }
    }
    left
}

fn reported(report: &CloseReport) -> BTreeMap<i32, (u64, u64)> {
    let parts = report.unsent.iter();
    let parts = parts.map(|left| (left.partition.partition, (left.not_written, left.unknown)));
    parts.collect()
}

/// Closes with a timeout of 500 ms, which is kept.
async fn close(producer: &Producer) -> CloseReport {
    let before = Instant::now();
    let report = producer.close_and_report(ms(500)).await;
    assert!(before.elapsed() <= ms(510), "{:?}", before.elapsed());
    report
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_in_time_leaves_nothing() {
    let broker = one_broker(3);
    let producer = producer(&broker, |config| config.linger = ms(60_000)).await;
    let deliveries = enqueue_numbers(&producer, 3, 0..500).await;
    let report = close(&producer).await;
    assert!(report.is_clean() && report.unsent.is_empty(), "{report:?}");
    deliver_all(&broker, deliveries).await;
    assert!(producer.close_and_report(ms(0)).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn what_no_broker_took_is_returned_as_not_written_by_partition() {
    let broker = one_broker(3);
    let producer = producer(&broker, |_| {}).await;
    deliver_all(&broker, enqueue_numbers(&producer, 3, 0..3).await).await;
    broker.stop_node(broker.node_ids()[0]).await;
    // What was open notices first that its connection is gone.
    tokio::time::sleep(ms(10)).await;
    let deliveries = enqueue_numbers(&producer, 3, 3..10).await;
    let report = close(&producer).await;
    assert!(!report.is_clean());
    assert_eq!((report.not_written(), report.unknown()), (7, 0));
    let expected = [(0, (3, 0)), (1, (2, 0)), (2, (2, 0))].into();
    assert_eq!(reported(&report), expected, "{report:?}");
    assert_eq!(told(deliveries).await, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_returned_as_unknown_and_what_waits_behind_it_as_not_written() {
    let broker = one_broker(1);
    let producer = producer(&broker, |_| {}).await;
    broker.inject(produce(FaultAction::Delay(ms(20_000))));
    let mut deliveries = enqueue_numbers(&producer, 1, 0..4).await;
    tokio::time::sleep(ms(50)).await;
    // Nothing follows until the leader has accepted the first batch.
    deliveries.extend(enqueue_numbers(&producer, 1, 4..10).await);
    let report = close(&producer).await;
    assert_eq!(reported(&report), [(0, (6, 4))].into(), "{report:?}");
    assert_eq!(told(deliveries).await, reported(&report));
    let error = producer.close(ms(10)).await;
    assert!(
        error.is_ok(),
        "nothing is left for a second close: {error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_repetition_and_may_have_been_written_is_returned_as_unknown() {
    let broker = one_broker(1);
    let producer = producer(&broker, |_| {}).await;
    deliver_all(&broker, enqueue_numbers(&producer, 1, 0..1).await).await;
    broker.inject(produce(FaultAction::ApplyThenDisconnect));
    let mut deliveries = enqueue_numbers(&producer, 1, 1..5).await;
    tokio::time::sleep(ms(5)).await;
    broker.stop_node(broker.node_ids()[0]).await;
    deliveries.extend(enqueue_numbers(&producer, 1, 5..7).await);
    let report = close(&producer).await;
    assert_eq!(reported(&report), [(0, (2, 4))].into(), "{report:?}");
    assert_eq!(told(deliveries).await, reported(&report));
    assert_eq!(numbers(&broker, 0), [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_close_says_how_much_is_left_of_which_partitions() {
    let broker = one_broker(2);
    let producer = producer(&broker, |_| {}).await;
    deliver_all(&broker, enqueue_numbers(&producer, 2, 0..2).await).await;
    broker.stop_node(broker.node_ids()[0]).await;
    tokio::time::sleep(ms(10)).await;
    drop(enqueue_numbers(&producer, 2, 2..12).await);
    let error = producer.close(ms(100)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let text = error.to_string();
    let words = "10 not written, 0 unknown (t-0 and 1 others)";
    assert!(text.contains(words), "{text}");
}

/// Each of them ends by its own time, and together they report each record once.
#[tokio::test(start_paused = true)]
async fn several_closes_at_once_all_end() {
    let broker = one_broker(1);
    let producer = producer(&broker, |_| {}).await;
    deliver_all(&broker, enqueue_numbers(&producer, 1, 0..1).await).await;
    broker.stop_node(broker.node_ids()[0]).await;
    tokio::time::sleep(ms(10)).await;
    drop(enqueue_numbers(&producer, 1, 1..6).await);
    let before = Instant::now();
    let (one, other, none) = tokio::join!(
        producer.close_and_report(ms(200)),
        producer.close_and_report(ms(60_000)),
        producer.close_and_report(ms(0)),
    );
    assert!(before.elapsed() <= ms(210), "{:?}", before.elapsed());
    let reports = [one, other, none];
    let left: u64 = reports.iter().map(CloseReport::not_written).sum();
    assert_eq!(left, 5, "{reports:?}");
}
