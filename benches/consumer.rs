//! What reading costs from the broker's answer to the application's loop: 60,000 records of about 300 bytes in 6 partitions, through an
//! in-memory connection to the embedded broker.

#[path = "../tests/support/in_memory.rs"]
mod in_memory;
#[path = "support/log.rs"]
mod log;

use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use in_memory::InMemory;
use log::{RECORDS_A_BATCH, log};
use pat_events::broker::Broker;
use pat_events::kafka::{ClientConfig, Consumer, ConsumerConfig, StartOffset, TopicPartition};
use protocol::compression::Codec;
use tokio::runtime::Runtime;

const PARTITIONS: i32 = 6;
const BATCHES: u32 = 20;
const RECORDS: u32 = PARTITIONS as u32 * BATCHES * RECORDS_A_BATCH;

fn main() {
    divan::main();
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
    let log = log(codec, BATCHES);
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
