//! What an observer sees of records, where Java has interceptors: each that is accepted, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pat_events::broker::FaultAction;
use pat_events::kafka::{ClientEvent, Observer, Record};
use protocol::ErrorCode;

use crate::harness::*;
use crate::proxy::{Proxy, refusing_records};

/// Counts the records of each partition: accepted, written, failed.
#[derive(Debug, Default)]
struct Seen {
    wants_records: bool,
    counts: Mutex<BTreeMap<i32, [usize; 3]>>,
    offsets: Mutex<Vec<(i32, Option<i64>, usize)>>,
    texts: Mutex<Vec<String>>,
}

impl Observer for Seen {
    fn on_event(&self, event: &ClientEvent<'_>) {
        let (which, records) = match event {
            ClientEvent::RecordAccepted {
                record, partition, ..
            } => {
                assert_eq!(&*partition.topic, record.topic);
                self.texts.lock().unwrap().push(event.to_string());
                (0, 1)
            }
            ClientEvent::BatchWritten {
                records,
                base_offset,
                partition,
                ..
            } => {
                let place = (partition.partition, *base_offset, *records);
                self.offsets.lock().unwrap().push(place);
                (1, *records)
            }
            ClientEvent::BatchFailed { records, .. } => (2, *records),
            _ => return,
        };
        let partition = event.partition().expect("it is about one").partition;
        self.counts.lock().unwrap().entry(partition).or_default()[which] += records;
    }

    fn wants_records(&self) -> bool {
        self.wants_records
    }
}

impl Seen {
    fn new(wants_records: bool) -> Arc<Self> {
        Arc::new(Self {
            wants_records,
            ..Self::default()
        })
    }

    fn count(&self, which: usize) -> usize {
        self.counts
            .lock()
            .unwrap()
            .values()
            .map(|all| all[which])
            .sum()
    }

    /// Every record that was accepted has been told to be written or failed, in its partition.
    fn assert_balanced(&self, accepted: usize) {
        assert_eq!(self.count(0), accepted);
        for (partition, [accepted, written, failed]) in &*self.counts.lock().unwrap() {
            assert_eq!(*accepted, written + failed, "partition {partition}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_record_is_seen_when_it_is_accepted_and_again_with_its_batch() {
    let broker = one_broker(3);
    let seen = Seen::new(true);
    let producer = producer(&broker, |config| {
        config.client.observer = Some(seen.clone())
    })
    .await;
    for skip in [1, 4, 6] {
        broker.inject(produce(FaultAction::ApplyThenDisconnect).after(skip));
    }
    deliver_all(&broker, enqueue_numbers(&producer, 3, 0..3_000).await).await;
    let record = Record::new("t")
        .partition(1)
        .key(b"secret-key")
        .value(b"secret-value");
    producer.send(record).await.unwrap();
    seen.assert_balanced(3_001);
    assert_eq!(seen.count(1), 3_001);
    // Where batches stand: one after the other.
    let mut next = [0; 3];
    for (partition, base_offset, records) in &*seen.offsets.lock().unwrap() {
        let next = &mut next[*partition as usize];
        assert!(base_offset.is_none_or(|offset| offset == *next));
        *next += *records as i64;
    }
    let texts = seen.texts.lock().unwrap();
    let last = texts.last().expect("a text");
    assert!(
        last.contains("accepted for t-1") && !last.contains("secret"),
        "{last}"
    );
}

/// Failures were counted and not told where a batch was not the one that was answered: at the end of a producer, at a refused connection, or
/// where single records were refused.
#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_a_record_is_told() {
    let broker = one_broker(1);
    let seen = Seen::new(true);
    let rule = refusing_records(ErrorCode::INVALID_RECORD, true, |value| {
        value.ends_with(b"wrong")
    });
    let producer = producer(&broker, |config| {
        config.client.transport = Arc::new(Proxy::new(&broker, rule));
        config.client.observer = Some(seen.clone());
        config.delivery_timeout = ms(5_000);
    })
    .await;
    for number in 0..100u32 {
        let mut value = number.to_be_bytes().to_vec();
        if number % 9 == 4 {
            value.extend(b"wrong");
        }
        let record = Record::new("t").partition(0).value(&value);
        drop(producer.enqueue(record).await.unwrap());
    }
    let _ = producer.flush().await;
    assert_eq!((seen.count(1), seen.count(2)), (89, 11));
    // Those that expire, and those that are left when the producer is closed.
    broker.stop_node(broker.node_ids()[0]).await;
    tokio::time::sleep(ms(10)).await;
    drop(enqueue_numbers(&producer, 1, 100..130).await);
    let _ = producer.flush().await;
    assert_eq!(seen.count(2), 41);
    drop(enqueue_numbers(&producer, 1, 130..150).await);
    let report = producer.close_and_report(ms(100)).await;
    assert_eq!(report.not_written(), 20);
    seen.assert_balanced(150);
    let metrics = producer.metrics();
    assert_eq!(
        (metrics.records_failed, metrics.records_delivered),
        (61, 89)
    );
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_does_not_ask_for_records_hears_of_batches_only() {
    let broker = one_broker(3);
    let seen = Seen::new(false);
    let producer = producer(&broker, |config| {
        config.client.observer = Some(seen.clone())
    })
    .await;
    deliver_all(&broker, enqueue_numbers(&producer, 3, 0..300).await).await;
    assert_eq!((seen.count(0), seen.count(1)), (0, 300));
}
