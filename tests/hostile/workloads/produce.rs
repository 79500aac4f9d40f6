//! A producer under a tampering, and whether the log is as it was told.

use std::collections::BTreeMap;

use pat_events::kafka::{Acks, Delivery, Error, Producer, ProducerConfig, Record, WriteOutcome};
use tokio::time::{Instant, sleep};

use super::{BLOCK, DELIVERY, MORE, PAUSE, RECORDS, connect};
use crate::harness::{Harness, PARTITIONS, REQUEST_TIMEOUT, TOPIC, Violation, partition_of};

/// What became of a number that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Written,
    NotWritten,
    Unknown,
}

/// What a producer has been told.
#[derive(Debug, Default)]
struct Sent {
    fates: BTreeMap<u32, Fate>,
    last_error: Option<Error>,
}

pub(super) async fn produce(harness: &mut Harness, idempotence: bool) {
    let mut config = ProducerConfig::default();
    config.client = harness.client();
    config.acks = if idempotence { Acks::All } else { Acks::Leader };
    config.idempotence = Some(idempotence);
    config.delivery_timeout = DELIVERY;
    config.max_block = BLOCK;
    let mut sent = Sent::default();
    let mut producer = connect(harness, BLOCK, || Producer::connect(config.clone())).await;
    if let Some(producer) = &producer {
        for first in [0, RECORDS / 2] {
            send(harness, producer, first..first + RECORDS / 2, &mut sent).await;
        }
        let all = (0..RECORDS).all(|number| sent.fates.get(&number) == Some(&Fate::Written));
        harness.notes.is_done_under_tampering = all;
    }
    harness.heal();
    let healed_at = Instant::now();
    loop {
        if producer.is_none() {
            producer = connect(harness, BLOCK, || Producer::connect(config.clone())).await;
        }
        if let Some(alive) = &producer {
            sent.last_error = None;
            send(harness, alive, RECORDS..RECORDS + MORE, &mut sent).await;
            match &sent.last_error {
                None => break,
                Some(error) if error.is_fatal() => {
                    harness.violation(Violation::Ended(error.to_string()));
                    producer = None;
                }
                // What failed for good is sent again by the application, which this is.
                Some(_) => {}
            }
        }
        if healed_at.elapsed() > harness.healing() {
            let last = harness.notes.errors.last();
            let why = format!("{:?}", last.map(|noted| noted.error.to_string()));
            harness.violation(Violation::NotHealed(why));
            break;
        }
        sleep(PAUSE).await;
    }
    if let Some(producer) = producer {
        // The failures among the records are known.
        let _ = harness
            .call("flush", DELIVERY + REQUEST_TIMEOUT, producer.flush())
            .await;
        let _ = harness
            .call("close", REQUEST_TIMEOUT, producer.close(REQUEST_TIMEOUT))
            .await;
    }
    check_log(harness, &sent, idempotence);
}

/// Enqueues these numbers and waits for what becomes of them. Those that were written before are not sent again.
async fn send(
    harness: &mut Harness,
    producer: &Producer,
    numbers: std::ops::Range<u32>,
    sent: &mut Sent,
) {
    let mut deliveries: Vec<(u32, Instant, Delivery)> = Vec::new();
    for number in numbers {
        if sent.fates.get(&number) == Some(&Fate::Written) {
            continue;
        }
        let value = number.to_be_bytes();
        let record = Record::new(TOPIC)
            .partition(partition_of(number))
            .value(&value);
        match harness
            .call("enqueue", BLOCK, producer.enqueue(record))
            .await
        {
            Some(Ok(delivery)) => deliveries.push((number, Instant::now(), delivery)),
            Some(Err(error)) => {
                harness.error("enqueue", &error);
                sent.last_error = Some(error);
                break;
            }
            None => break,
        }
    }
    for (number, enqueued_at, delivery) in deliveries {
        // What is in flight at the end is awaited.
        let deadline = enqueued_at + DELIVERY + REQUEST_TIMEOUT;
        let before = sent.fates.get(&number).copied();
        let fate = match harness.call_by("delivery", deadline, delivery).await {
            Some(Ok(_)) => Fate::Written,
            Some(Err(error)) => {
                harness.error("delivery", &error);
                let fate = match error.outcome() {
                    WriteOutcome::NotWritten => Fate::NotWritten,
                    WriteOutcome::Unknown => Fate::Unknown,
                    WriteOutcome::Written => Fate::Written,
                };
                sent.last_error = Some(error);
                fate
            }
            None => Fate::Unknown,
        };
        // A number that may have been written before may now be there twice.
        let fate = match (before, fate) {
            (Some(Fate::Unknown), _) => Fate::Unknown,
            (_, fate) => fate,
        };
        sent.fates.insert(number, fate);
    }
}

fn check_log(harness: &mut Harness, sent: &Sent, idempotence: bool) {
    for partition in 0..PARTITIONS {
        let logged = harness.logged(partition);
        let mut seen: Vec<u32> = Vec::new();
        for number in &logged {
            match seen.contains(number) {
                false => {
                    if seen.last().is_some_and(|last| last > number) {
                        harness.violation(Violation::Reordered(format!("{number} in {logged:?}")));
                    }
                    seen.push(*number);
                }
                // Sent a second time by the application, or by a producer that may.
                true if !idempotence || sent.fates.get(number) == Some(&Fate::Unknown) => {}
                true => {
                    harness.violation(Violation::Doubled(format!("{number} in {logged:?}")));
                }
            }
        }
        for (number, fate) in &sent.fates {
            if partition_of(*number) != partition {
                continue;
            }
            match fate {
                Fate::Written if !seen.contains(number) => {
                    harness.violation(Violation::Lost(format!("{number} is not in {logged:?}")));
                }
                Fate::NotWritten if seen.contains(number) => {
                    let text = format!("{number} was said not to be written, and is in {logged:?}");
                    harness.violation(Violation::Untrue(text));
                }
                _ => {}
            }
        }
    }
}
