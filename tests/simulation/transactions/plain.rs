//! A producer without transactions that writes to the partitions of the writers: what it writes is visible as soon as every transaction before it
//! has ended.

use std::collections::VecDeque;
use std::time::Duration;

use pat_events::kafka::{Delivery, Producer, ProducerConfig, Record, WriteOutcome};
use tokio::time::sleep;

use super::applications::Shared;
use super::events::{Ended, Topic, TransactionEvent, number_of};
use super::writers::headers;
use crate::history::Id;
use crate::rng::Rng;

/// Writes until everything is healed; each record counts as a transaction of its own.
pub(super) async fn produce(shared: Shared, writer: u32, rng: Rng) -> Result<(), String> {
    let mut config = ProducerConfig::new("");
    config.client = shared.harness.client(writer);
    config.idempotence = Some(true);
    config.delivery_timeout = Duration::from_secs(120);
    let producer = loop {
        // No broker may be there yet.
        match Producer::connect(config.clone()).await {
            Ok(producer) => break producer,
            Err(error) if error.is_fatal() => return Err(error.to_string()),
            Err(_) => sleep(Duration::from_millis(500)).await,
        }
    };
    let mut open: VecDeque<(u32, Delivery)> = VecDeque::new();
    let pause = shared.harness.plan.lasts / 30;
    for transaction in 0..rng.between(5, 30) as u32 {
        let id = Id {
            producer: writer,
            number: number_of(transaction, 0),
        };
        let (topic, key) = (Topic::Ledger, rng.between(0, 9) as u32);
        let partition = key as i32 % topic.partitions();
        let encoded = shared.encode(id, key).await;
        let headers = headers(&encoded);
        let mut record = Record::new(topic.name())
            .partition(partition)
            .headers(&headers);
        (record.key, record.value) = (encoded.key.as_deref(), Some(&encoded.value[..]));
        // What is not accepted is not in the history: it may not be in the log either.
        if let Ok(delivery) = producer.enqueue(record).await {
            shared.note(TransactionEvent::Accepted {
                id,
                topic,
                partition,
                key,
            });
            open.push_back((transaction, delivery));
        }
        while let Some((transaction, outcome)) = (open.front())
            .and_then(|(transaction, delivery)| Some((*transaction, delivery.outcome()?)))
        {
            open.pop_front();
            report(&shared, writer, transaction, &outcome.map(drop));
        }
        if shared.harness.has_healed() {
            break;
        }
        sleep(rng.millis(0, pause.as_millis() as u64 * 2)).await;
    }
    for (transaction, delivery) in open {
        let outcome = delivery.await;
        report(&shared, writer, transaction, &outcome.map(drop));
    }
    // Its result is that of the deliveries.
    let _ = producer.close(Duration::from_secs(60)).await;
    Ok(())
}

fn report(shared: &Shared, writer: u32, transaction: u32, outcome: &pat_events::kafka::Result<()>) {
    let how = match outcome {
        Ok(()) => Ended::Committed,
        Err(error) if error.outcome() == WriteOutcome::NotWritten => Ended::NotCommitted,
        Err(_) => Ended::Unknown,
    };
    shared.note(TransactionEvent::Ended {
        writer,
        transaction,
        how,
    });
}
