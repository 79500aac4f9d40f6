//! What a record costs that is written in a transaction, in CPU time of this process: everything from `begin` to the coordinator's answer to `commit`, with 100 and
//! with 10,000 records in each. A line of JSON for each, in the form of `benches/comparison`.
//!
//! ```sh
//! cargo bench --bench transactions                                            # an embedded broker, in a process of its own
//! cargo bench --bench transactions -- --broker 127.0.0.1:9092 --topic t       # a topic of 6 partitions that is there
//! ```
//!
//! `--transaction`, `--records`, `--warmup`, `--payload` (a file of records: u32le key length, u32le value length, key, value, repeated; without it keys of 26 and
//! values of 270 bytes), `--compression`, `--linger-ms` and `--batch-bytes` are those of the programs that other clients are measured with.
//!
//! Beside others, in turns, on Kafka 4.4 with one broker on a quiet machine, three rounds, medians of CPU time a record, ours = 1: with 100 records a transaction
//! franz-go 1.22 1.45, confluent-kafka 1.0 1.67, Java 4.4 9.0; with 10,000 franz-go 2.2, confluent-kafka 3.3; Java, whose JIT compiler was still at work, more
//! than ten. With 100 records what follows at once on the end of the last transaction finds the broker still writing its markers, and waits there for 20 ms
//! (`add.partitions.to.txn.retry.backoff.ms`); since the producer learns how long that takes, it writes 467 transactions a second where it wrote 139. The others
//! are ahead in that: franz-go 817, Java 1,093, confluent-kafka 1,294.

#[path = "support/broker_process.rs"]
mod broker_process;
#[path = "support/cpu.rs"]
mod cpu;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker_process::{BrokerProcess, serve, serves};
use pat_events::broker::Broker;
use pat_events::kafka::{ProducerConfig, Record, TransactionalProducer};

const TOPIC: &str = "t";
const PARTITIONS: i32 = 6;
/// The embedded broker keeps so much of each partition.
const KEPT_BYTES: u64 = 64 << 20;
/// How many records a transaction has, and how many are written in all.
const SIZES: [(u64, u64); 2] = [(100, 200_000), (10_000, 1_000_000)];

type Pair = (Vec<u8>, Vec<u8>);

fn main() {
    if serves().is_some() {
        let broker = Broker::builder().retention_bytes(KEPT_BYTES);
        return serve(broker, |broker| {
            broker.create_topic(TOPIC, PARTITIONS).expect("a new topic");
        });
    }
    let flags = flags();
    let number = |name: &str, default: u64| {
        let given = flags.get(name);
        given.map_or(default, |it| {
            it.parse().unwrap_or_else(|_| panic!("--{name}: a number"))
        })
    };
    let embedded = match flags.contains_key("broker") {
        true => None,
        false => Some(BrokerProcess::start(TOPIC)),
    };
    let address = match &embedded {
        Some(broker) => &broker.address,
        None => &flags["broker"],
    };
    let pairs = match flags.get("payload") {
        Some(file) => read(&std::fs::read(file).expect("a file of records")),
        None => made(),
    };
    let sizes = match flags.contains_key("transaction") {
        true => vec![(number("transaction", 1).max(1), 100_000)],
        false => SIZES.to_vec(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for (size, records) in sizes {
        let config = config(address, &flags);
        let run = Run {
            topic: flags.get("topic").map_or(TOPIC, String::as_str).to_owned(),
            pairs: pairs.clone(),
            size,
            records: number("records", records),
            warmup: number("warmup", records / 10),
        };
        // As a task: whatever wakes the future that a runtime is blocked on costs it a system call.
        let line = runtime.block_on(runtime.spawn(run.measure(config)));
        println!("{}", line.expect("no panic"));
    }
}

/// The flags and their values. `--bench` is cargo's.
fn flags() -> BTreeMap<String, String> {
    let mut words = std::env::args().skip(1).filter(|it| it != "--bench");
    let mut flags = BTreeMap::new();
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").expect("a flag");
        let value = words.next().unwrap_or_else(|| panic!("{word} and a value"));
        flags.insert(name.to_owned(), value);
    }
    flags
}

fn config(address: &str, flags: &BTreeMap<String, String>) -> ProducerConfig {
    let given = |name: &str, default: &'static str| {
        let given = flags.get(name).map(String::as_str);
        given.unwrap_or(default).to_owned()
    };
    let properties = [
        ("bootstrap.servers", address.to_owned()),
        ("transactional.id", format!("bench-{}", std::process::id())),
        ("compression.type", given("compression", "none")),
        ("linger.ms", given("linger-ms", "5")),
        ("batch.size", given("batch-bytes", "1000000")),
        ("enable.metrics.push", "false".to_owned()),
    ];
    let properties = properties.iter().map(|(key, value)| (*key, value.as_str()));
    ProducerConfig::from_properties(properties).expect("good properties")
}

fn read(mut bytes: &[u8]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    while let Some((lengths, rest)) = bytes.split_at_checked(8) {
        let length = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("4 bytes")) as usize;
        let (key, rest) = rest.split_at(length(&lengths[..4]));
        let (value, rest) = rest.split_at(length(&lengths[4..]));
        pairs.push((key.to_vec(), value.to_vec()));
        bytes = rest;
    }
    assert!(!pairs.is_empty(), "a file with records");
    pairs
}

fn made() -> Vec<Pair> {
    let pair = |number: u64| {
        let key = format!("{number:026}").into_bytes();
        (key, vec![number as u8; 270])
    };
    (0..40_000).map(pair).collect()
}

/// What is measured.
struct Run {
    topic: String,
    pairs: Vec<Pair>,
    size: u64,
    records: u64,
    warmup: u64,
}

impl Run {
    /// Writes the records, first those that warm up, and says what the others cost.
    async fn measure(self, config: ProducerConfig) -> String {
        let compression = config.compression.codec().to_string();
        let connected = TransactionalProducer::from_config(config).await;
        let mut producer = connected.expect("a producer");
        self.write(&mut producer, self.warmup).await;
        let acknowledged = |producer: &TransactionalProducer| producer.metrics().records_delivered;
        let (began, used_before) = (Instant::now(), used());
        let before = acknowledged(&producer);
        let bytes = self.write(&mut producer, self.records).await;
        let (wall, used) = (began.elapsed().as_secs_f64(), used() - used_before);
        let check = acknowledged(&producer) - before;
        let closed = producer.close(Duration::from_secs(30)).await;
        closed.expect("nothing is left");
        let transactions = self.records.div_ceil(self.size);
        format!(
            r#"{{"client":"pat-events","version":"{}","mode":"transactions","compression":"{compression}","transaction":{},"records":{},"bytes":{bytes},"check":{check},"transactions":{transactions},"wall_s":{wall:.6},"cpu_s":{:.6},"cpu_us_per_record":{:.3},"transactions_per_s":{:.1}}}"#,
            env!("CARGO_PKG_VERSION"),
            self.size,
            self.records,
            used.as_secs_f64(),
            used.as_secs_f64() / self.records as f64 * 1e6,
            transactions as f64 / wall,
        )
    }

    /// The bytes of keys and values.
    async fn write(&self, producer: &mut TransactionalProducer, records: u64) -> usize {
        let (mut pairs, mut left, mut bytes) = (self.pairs.iter().cycle(), records, 0);
        while left > 0 {
            let size = left.min(self.size);
            let transaction = producer.begin().await.expect("begun");
            for (key, value) in pairs.by_ref().take(size as usize) {
                bytes += key.len() + value.len();
                let record = Record::new(&self.topic).key(key).value(value);
                drop(transaction.enqueue(record).await.expect("accepted"));
            }
            transaction.commit().await.expect("committed");
            left -= size;
        }
        bytes
    }
}

fn used() -> Duration {
    cpu::used().expect("CPU time is measured on Linux only")
}
