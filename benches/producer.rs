//! What a record costs its sender. `enqueue` is the caller's side alone: choosing the partition, encoding into the open batch, the handle.
//! `deliver` is everything, the embedded broker included.
//!
//! Run with `cargo bench --bench producer`.

#[path = "../tests/support/in_memory.rs"]
mod in_memory;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use in_memory::InMemory;
use pat_events::broker::Broker;
use pat_events::kafka::producer::partition_of_key;
use pat_events::kafka::{ClientConfig, Producer, ProducerConfig, Record};
use tokio::runtime::{Builder, Runtime};

const RECORDS: usize = 10_000;

fn main() {
    divan::main();
}

struct Harness {
    runtime: Runtime,
    producer: Producer,
    keys: Vec<String>,
}

impl Harness {
    fn new() -> Harness {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let producer = runtime.block_on(async {
            let broker = Broker::builder()
                .retention_bytes(16 << 20)
                .start_in_memory()
                .expect("a broker");
            broker.create_topic("bench", 6).expect("a topic");
            let mut config = ProducerConfig::default();
            config.client = ClientConfig::new(&broker.bootstrap_servers());
            config.client.transport = std::sync::Arc::new(InMemory(broker.clone()));
            let producer = Producer::connect(config).await.expect("a producer");
            producer
                .send(Record::new("bench"))
                .await
                .expect("a delivery");
            producer
        });
        let keys = (0..RECORDS).map(|n| format!("{n:026}")).collect();
        Harness {
            runtime,
            producer,
            keys,
        }
    }

    fn records<'a>(&'a self, value: &'a [u8]) -> impl Iterator<Item = Record<'a>> {
        self.keys
            .iter()
            .map(move |key| Record::new("bench").key(key.as_bytes()).value(value))
    }
}

#[divan::bench]
fn partition(bencher: Bencher<'_, '_>) {
    let key = b"01234567890123456789012345";
    bencher.bench(|| partition_of_key(black_box(key), 6));
}

#[divan::bench(args = [0, 100, 270, 1_000])]
fn enqueue(bencher: Bencher<'_, '_>, value_len: usize) {
    let harness = Harness::new();
    let value = vec![7; value_len];
    bencher
        .counter(ItemsCount::new(RECORDS))
        .with_inputs(|| harness.runtime.block_on(harness.producer.flush()))
        .bench_local_values(|_flushed| {
            for record in harness.records(&value) {
                drop(black_box(
                    harness.producer.try_enqueue(record).expect("room"),
                ));
            }
        });
}

#[divan::bench(args = [100, 270, 1_000])]
fn deliver(bencher: Bencher<'_, '_>, value_len: usize) {
    let harness = Harness::new();
    let value = vec![7; value_len];
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        harness.runtime.block_on(async {
            for record in harness.records(&value) {
                drop(harness.producer.enqueue(record).await.expect("accepted"));
            }
            harness.producer.flush().await.expect("delivered");
        });
    });
}
