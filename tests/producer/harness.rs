//! A broker in memory, producers connected to it, and the records in its logs.

use std::time::Duration;

use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::{ClientConfig, Clock, Delivery, Producer, ProducerConfig, Record};
use protocol::ApiKey;
use protocol::compression::Decompressor;
use protocol::records::BatchIter;

pub use crate::embedded::{cluster, one_broker};
use crate::in_memory::InMemory;

/// How a producer reaches `broker`.
pub fn config(broker: &Broker) -> ProducerConfig {
    let mut config = ProducerConfig::default();
    config.client = ClientConfig::new(&broker.bootstrap_servers());
    config.client.transport = std::sync::Arc::new(InMemory(broker.clone()));
    config.client.clock = Clock::simulated(1_700_000_000_000);
    config.client.seed = Some(42);
    config
}

pub async fn producer(broker: &Broker, change: impl FnOnce(&mut ProducerConfig)) -> Producer {
    let mut config = config(broker);
    change(&mut config);
    Producer::connect(config)
        .await
        .expect("a producer connects")
}

/// Enqueues the numbers `range` as values, each for the partition of its remainder.
pub async fn enqueue_numbers(
    producer: &Producer,
    partitions: i32,
    range: std::ops::Range<u32>,
) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for number in range {
        let value = number.to_be_bytes();
        let record = Record::new("t")
            .partition((number % partitions as u32) as i32)
            .value(&value);
        deliveries.push(
            producer
                .enqueue(record)
                .await
                .expect("a record is accepted"),
        );
    }
    deliveries
}

/// Every record's value in the log of `topic`-`partition`.
pub fn values(broker: &Broker, topic: &str, partition: i32) -> Vec<Vec<u8>> {
    let log = broker.log(topic, partition).expect("the partition exists");
    let mut decompressor = Decompressor::default();
    let mut values = Vec::new();
    for bytes in log.batches {
        for batch in BatchIter::strict(bytes) {
            let batch = batch.expect("a whole batch");
            batch.verify_crc().expect("a good checksum");
            let decoded = batch
                .decode(&mut decompressor, 64 << 20)
                .expect("readable records");
            values.extend(
                decoded
                    .records()
                    .map(|record| record.expect("a record").value.unwrap_or_default().to_vec()),
            );
        }
    }
    values
}

/// Every number in the log of `t`-`partition`.
pub fn numbers(broker: &Broker, partition: i32) -> Vec<u32> {
    values(broker, "t", partition)
        .into_iter()
        .map(|value| u32::from_be_bytes(value[..4].try_into().expect("four bytes")))
        .collect()
}

/// Asserts that the logs hold `0..end` once each and in order.
pub fn assert_exactly_once_in_order(broker: &Broker, partitions: i32, end: u32) {
    for partition in 0..partitions {
        let expected: Vec<u32> = (0..end)
            .filter(|n| (n % partitions as u32) as i32 == partition)
            .collect();
        let found = numbers(broker, partition);
        assert!(
            found == expected,
            "partition {partition}: {} of {} records, or out of order",
            found.len(),
            expected.len()
        );
    }
}

pub fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A fault of Produce requests.
pub fn produce(action: FaultAction) -> Fault {
    Fault::on(ApiKey::PRODUCE, action)
}

pub async fn deliver_all(broker: &Broker, deliveries: Vec<Delivery>) {
    for delivery in deliveries {
        delivery
            .await
            .unwrap_or_else(|error| panic!("{error} ({:?})", broker.topics()));
    }
}
