//! What reading costs from the broker's answer to the application's loop: 60,000 records of about 300 bytes in 6 partitions, through an
//! in-memory connection to the embedded broker.

#[path = "../tests/support/in_memory.rs"]
mod in_memory;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use divan::Bencher;
use divan::counter::ItemsCount;
use in_memory::InMemory;
use pat_events::broker::Broker;
use pat_events::kafka::{ClientConfig, Consumer, ConsumerConfig, StartOffset, TopicPartition};
use protocol::compression::{Codec, Compressor};
use protocol::records::{BatchBuilder, SealOptions};
use tokio::runtime::Runtime;

const PARTITIONS: i32 = 6;
const BATCHES: u32 = 20;
const RECORDS_A_BATCH: u32 = 500;
const RECORDS: u32 = PARTITIONS as u32 * BATCHES * RECORDS_A_BATCH;

fn main() {
    divan::main();
}

/// Text that compresses about as well as mails do.
fn value(number: u32) -> String {
    let words = [
        "invoice",
        "meeting",
        "tomorrow",
        "unsubscribe",
        "regards",
        "attachment",
        "hello",
    ];
    let mut random = number;
    let mut text = String::new();
    while text.len() < 270 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text += words[random as usize % words.len()];
        text += &format!(" {:x} ", random >> 8);
    }
    text
}

fn log(codec: Codec) -> Bytes {
    let none: [(&str, Option<&[u8]>); 0] = [];
    let mut compressor = Compressor::new(codec.into());
    let mut bytes = BytesMut::new();
    for batch in 0..BATCHES {
        let mut builder = BatchBuilder::new(Vec::new());
        for number in 0..RECORDS_A_BATCH {
            let value = value(batch * RECORDS_A_BATCH + number);
            let appended = builder.append(
                0,
                Some(&value.as_bytes()[..26]),
                Some(value.as_bytes()),
                none,
            );
            appended.expect("room in the batch");
        }
        bytes.extend_from_slice(
            builder
                .seal(&SealOptions::default(), &mut compressor)
                .bytes(),
        );
    }
    bytes.freeze()
}

async fn read_all(config: ConsumerConfig, start: &[(TopicPartition, StartOffset)]) -> usize {
    let mut consumer = Consumer::connect(config).await.expect("a consumer");
    consumer.assign(start).await.expect("partitions");
    let (mut count, mut bytes) = (0, 0);
    while count < RECORDS as usize {
        let records = consumer
            .poll(Duration::from_secs(1))
            .await
            .expect("records");
        count += records.count();
        bytes += records
            .iter()
            .map(|record| record.value.map_or(0, <[u8]>::len))
            .sum::<usize>();
    }
    bytes
}

#[divan::bench(args = [Codec::None, Codec::Lz4, Codec::Zstd], sample_count = 20)]
fn read(bencher: Bencher<'_, '_>, codec: Codec) {
    let runtime: Runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let broker = runtime.block_on(async {
        let broker = Broker::builder().start_in_memory().expect("a broker");
        broker.create_topic("t", PARTITIONS).expect("a new topic");
        broker
    });
    let log = log(codec);
    for partition in 0..PARTITIONS {
        broker.append_unchecked("t", partition, log.clone());
    }
    let start: Vec<_> = (0..PARTITIONS)
        .map(|partition| (TopicPartition::new("t", partition), StartOffset::Earliest))
        .collect();
    let mut config = ConsumerConfig::default();
    config.client = ClientConfig::new(&broker.bootstrap_servers());
    config.client.transport = Arc::new(InMemory(broker.clone()));
    bencher
        .counter(ItemsCount::new(RECORDS))
        .bench_local(|| runtime.block_on(read_all(config.clone(), &start)));
}
