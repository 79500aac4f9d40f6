//! What producers promise when their calls are dropped: a record without a delivery is not written, one that was sent is written once at
//! most, and those around it are written once, in their order.

use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::kafka::{Delivery, Producer, ProducerConfig, Record};

use crate::producers::{config, numbers, one_broker};
use crate::{Cut, at_every_poll};

/// The number of the record whose call is dropped.
const CUT: u32 = 99;

/// What may be in the log of the record whose call was dropped.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Once,
    Never,
    AtMostOnce,
}

/// Enqueues `number` as value, for partition 0.
async fn enqueue(producer: &Producer, number: u32) -> Delivery {
    let value = number.to_be_bytes();
    let record = Record::new("t").partition(0).value(&value);
    producer.enqueue(record).await.expect("room")
}

/// A producer that has been at work: 0, 1 and 2 are written.
async fn at_work(broker: &Broker, change: impl FnOnce(&mut ProducerConfig)) -> Producer {
    let producer = fresh(broker, change).await;
    for number in 0..3 {
        enqueue(&producer, number).await.await.expect("written");
    }
    producer
}

async fn fresh(broker: &Broker, change: impl FnOnce(&mut ProducerConfig)) -> Producer {
    let mut config = config(broker);
    change(&mut config);
    Producer::connect(config).await.expect("the broker answers")
}

/// Writes 3, 4 and 5 through the same producer, and holds the log to what is expected.
async fn goes_on(broker: &Broker, producer: &Producer, before: u32, expected: Expected, cut: Cut) {
    let mut deliveries = Vec::new();
    for number in before..before + 3 {
        deliveries.push(enqueue(producer, number).await);
    }
    producer.flush().await.expect("flushed");
    for delivery in deliveries {
        delivery.await.expect("written");
    }
    // What might still be on its way has come by then.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let log = numbers(broker, 0);
    let others: Vec<u32> = log.iter().copied().filter(|it| *it != CUT).collect();
    assert_eq!(
        others,
        (0..before + 3).collect::<Vec<_>>(),
        "{cut}: {log:?}"
    );
    let at: Vec<usize> = (0..log.len()).filter(|at| log[*at] == CUT).collect();
    match expected {
        Expected::Once => assert_eq!(at, [before as usize], "{cut}: {log:?}"),
        Expected::Never => assert!(at.is_empty(), "{cut}: {log:?}"),
        Expected::AtMostOnce => {
            assert!(at.is_empty() || at == [before as usize], "{cut}: {log:?}");
        }
    }
}

/// Of what became of the call: a delivery is a promise, and without one nothing was accepted.
async fn accepted(outcome: Option<pat_events::kafka::Result<Delivery>>) -> (bool, Expected) {
    match outcome {
        Some(delivery) => {
            delivery.expect("room").await.expect("written");
            (true, Expected::Once)
        }
        None => (false, Expected::Never),
    }
}

#[test]
fn a_dropped_enqueue_has_accepted_nothing() {
    at_every_poll("enqueue", |cut| async move {
        let broker = one_broker(1);
        let producer = at_work(&broker, |_| {}).await;
        let value = CUT.to_be_bytes();
        let record = Record::new("t").partition(0).value(&value);
        let (done, expected) = accepted(cut.of(producer.enqueue(record)).await).await;
        goes_on(&broker, &producer, 3, expected, cut).await;
        done
    });
}

#[test]
fn a_dropped_enqueue_that_waits_for_metadata_has_accepted_nothing() {
    let polls = at_every_poll("the first enqueue", |cut| async move {
        let broker = one_broker(1);
        let producer = fresh(&broker, |_| {}).await;
        let value = CUT.to_be_bytes();
        let record = Record::new("t").partition(0).value(&value);
        let (done, expected) = accepted(cut.of(producer.enqueue(record)).await).await;
        goes_on(&broker, &producer, 0, expected, cut).await;
        done
    });
    assert!(polls > 1, "it waits for the topic's metadata");
}

#[test]
fn a_dropped_enqueue_that_waits_for_memory_has_accepted_nothing() {
    let polls = at_every_poll("enqueue with a full buffer", |cut| async move {
        let broker = one_broker(1);
        broker.create_topic("padding", 1).expect("a new topic");
        let small = |config: &mut ProducerConfig| {
            config.batch_bytes = 16 << 10;
            config.max_request_bytes = 16 << 10;
            config.buffer_bytes = 48 << 10;
            config.linger = Duration::from_millis(50);
        };
        let producer = at_work(&broker, small).await;
        // More than the buffer holds, so that the last of them waits.
        let padding = vec![0; 12 << 10];
        let record = Record::new("padding").partition(0).value(&padding);
        producer.send(record).await.expect("written");
        let mut waiting = Vec::new();
        while let Ok(delivery) = producer.try_enqueue(record) {
            waiting.push(delivery);
        }
        let mut value = CUT.to_be_bytes().to_vec();
        value.resize(14 << 10, 0);
        let record = Record::new("t").partition(0).value(&value);
        let (done, expected) = accepted(cut.of(producer.enqueue(record)).await).await;
        for delivery in waiting {
            delivery.await.expect("written");
        }
        goes_on(&broker, &producer, 3, expected, cut).await;
        done
    });
    assert!(polls > 1, "it waits for memory");
}

#[test]
fn a_dropped_enqueue_with_has_accepted_nothing() {
    at_every_poll("enqueue_with", |cut| async move {
        let broker = one_broker(1);
        let producer = fresh(&broker, |_| {}).await;
        let record = Record::new("t").partition(0);
        let fill = |value: &mut [u8]| value.copy_from_slice(&CUT.to_be_bytes());
        let call = producer.enqueue_with(record, 4, fill);
        let (done, expected) = accepted(cut.of(call).await).await;
        goes_on(&broker, &producer, 0, expected, cut).await;
        done
    });
}

#[test]
fn a_dropped_send_has_written_once_or_not_at_all() {
    at_every_poll("send", |cut| async move {
        let broker = one_broker(1);
        let producer = fresh(&broker, |_| {}).await;
        let value = CUT.to_be_bytes();
        let sent = cut
            .of(producer.send(Record::new("t").partition(0).value(&value)))
            .await;
        let expected = match &sent {
            Some(written) => {
                written.as_ref().expect("written");
                Expected::Once
            }
            None => Expected::AtMostOnce,
        };
        goes_on(&broker, &producer, 0, expected, cut).await;
        sent.is_some()
    });
}

#[test]
fn a_dropped_delivery_changes_nothing() {
    at_every_poll("a delivery", |cut| async move {
        let broker = one_broker(1);
        let producer = at_work(&broker, |_| {}).await;
        let delivery = enqueue(&producer, CUT).await;
        let done = cut.of(delivery).await;
        goes_on(&broker, &producer, 3, Expected::Once, cut).await;
        done.is_some()
    });
}

#[test]
fn a_dropped_flush_changes_nothing() {
    at_every_poll("flush", |cut| async move {
        let broker = one_broker(1);
        let producer = at_work(&broker, |config| config.linger = Duration::from_secs(1)).await;
        let delivery = enqueue(&producer, CUT).await;
        let done = cut.of(producer.flush()).await;
        goes_on(&broker, &producer, 3, Expected::Once, cut).await;
        delivery.await.expect("written");
        done.is_some()
    });
}

#[test]
fn after_a_dropped_close_every_delivery_says_what_became_of_its_record() {
    at_every_poll("close", |cut| async move {
        let broker = one_broker(1);
        let producer = at_work(&broker, |config| config.linger = Duration::from_secs(1)).await;
        let mut deliveries = Vec::new();
        for number in 3..6 {
            deliveries.push((number, enqueue(&producer, number).await));
        }
        let done = cut.of(producer.close(Duration::from_secs(10))).await;
        let again = producer.close(Duration::from_secs(10)).await;
        assert!(again.is_ok(), "{cut}: {again:?}");
        let mut written = vec![0, 1, 2];
        for (number, delivery) in deliveries {
            match delivery.await {
                Ok(_) => written.push(number),
                Err(error) => panic!("{cut}: {number}: {error}"),
            }
        }
        assert_eq!(numbers(&broker, 0), written, "{cut}");
        done.is_some()
    });
}

#[test]
fn after_a_dropped_connect_the_next_one_works() {
    at_every_poll("Producer::connect", |cut| async move {
        let broker = one_broker(1);
        let connected = cut.of(Producer::connect(config(&broker))).await;
        let producer = fresh(&broker, |_| {}).await;
        goes_on(&broker, &producer, 0, Expected::Never, cut).await;
        connected.is_some()
    });
}
