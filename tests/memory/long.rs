//! Consumers that read for long, over and over again: records that were compressed a hundredfold, and such as no codec makes smaller. By polls,
//! by a reader for each partition of which one stalls, and by ten consumers on the budget of one client of which one stalls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pat_events::broker::Broker;
use pat_events::kafka::consumer::PartitionReader;
use pat_events::kafka::{
    Client, ClientConfig, Consumer, ConsumerConfig, ConsumerHandle, Records, StartOffset,
    TopicPartition,
};
use protocol::compression::{Codec, Compression};
use tokio::task::JoinSet;

use crate::measure::{gib, stays_within};
use crate::{BUDGET, FETCH_MAX_WAIT, batch, broker, noise, reader};

const PARTITIONS: i32 = 12;
const CONSUMERS: usize = 10;
/// How much is read where nothing is said of it.
const SHORT: usize = 200 << 20;
/// Records in a batch, batches in a partition.
const RECORDS: usize = 10;
const BATCHES: usize = 8;

/// 900 kB, and about 9 compressed.
fn hundredfold(codec: Codec) -> Bytes {
    // lz4 begins anew every 64 KiB.
    let part = if codec == Codec::Lz4 { 300 } else { 9_000 };
    let value = noise(part).repeat(90_000 / part);
    let batch = batch(&value, RECORDS, codec.into());
    assert!((7_000..20_000).contains(&batch.len()), "{}", batch.len());
    batch
}

async fn all_of(nodes: usize, batch: Bytes) -> Broker {
    broker(nodes, PARTITIONS, &vec![batch; BATCHES]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_consumer_that_reads_for_long_stays_within_its_budget() {
    for codec in [Codec::Zstd, Codec::Lz4] {
        let broker = all_of(1, hundredfold(codec)).await;
        stays_within(BUDGET, "long", broker.bootstrap_servers()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn readers_of_which_one_stalls_stay_within_the_budget_of_their_consumer() {
    let batches = [
        hundredfold(Codec::Zstd),
        batch(&noise(90_000), RECORDS, Compression::NONE),
    ];
    for batch in batches {
        let broker = all_of(3, batch).await;
        for case in ["stalled reader", "threads: stalled reader"] {
            stays_within(BUDGET, case, broker.bootstrap_servers()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn ten_consumers_of_which_one_stalls_stay_within_the_budget_of_their_client() {
    let batches = [
        hundredfold(Codec::Zstd),
        batch(&noise(90_000), RECORDS, Compression::NONE),
    ];
    for batch in batches {
        let broker = all_of(3, batch).await;
        for case in ["ten consumers", "threads: ten consumers"] {
            stays_within(BUDGET, case, broker.bootstrap_servers()).await;
        }
    }
}

/// In the child.
pub async fn run(case: &str, broker: &str) {
    match case.trim_start_matches("threads: ") {
        "long" => polls(reader(broker, PARTITIONS).await, Read::new()).await,
        "stalled reader" => stalled_reader(broker).await,
        "ten consumers" => ten_consumers(broker).await,
        other => panic!("no case {other}"),
    }
}

/// How many bytes were read by all, and how many are to be.
#[derive(Clone)]
struct Read {
    bytes: Arc<AtomicUsize>,
    all: usize,
}

impl Read {
    fn new() -> Self {
        let all = gib().map_or(SHORT, |gib| (gib as usize) << 30);
        Self {
            bytes: Arc::default(),
            all,
        }
    }

    /// Counts them; how many they are.
    fn count(&self, records: &Records) -> usize {
        let values = records.iter().map(|it| it.value.map_or(0, <[u8]>::len));
        let bytes = values.sum();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        bytes
    }

    fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.all
    }
}

fn again(consumer: &ConsumerHandle, records: &Records) {
    let end = (RECORDS * BATCHES) as i64;
    for run in records.partitions().filter(|run| run.next_offset() == end) {
        consumer.seek(run.partition(), 0).expect("assigned");
    }
}

/// Reads until all is read, each partition over and over again.
async fn polls(mut consumer: Consumer, read: Read) {
    while !read.is_over() {
        let records = consumer.poll(Duration::from_secs(10)).await;
        let records = records.expect("records");
        assert!(!records.is_empty(), "stuck");
        read.count(&records);
        again(&consumer, &records);
    }
}

async fn follow(mut reader: PartitionReader, read: Read) -> usize {
    let handle = reader.handle();
    let mut bytes = 0;
    while !read.is_over() {
        let next = tokio::time::timeout(Duration::from_secs(10), reader.next()).await;
        let records = next.expect("not stuck").expect("records");
        let records = records.expect("assigned");
        bytes += read.count(&records);
        again(&handle, &records);
    }
    bytes
}

async fn stalled_reader(broker: &str) {
    let consumer = reader(broker, PARTITIONS).await;
    let mut partitions = consumer.into_partitions(Duration::from_secs(1));
    let mut stalled = partitions.next().await.expect("a reader");
    let held = stalled.next().await.expect("records").expect("assigned");
    // This one is never asked.
    let _idle = partitions.next().await.expect("a reader");
    let (read, mut reading) = (Read::new(), JoinSet::new());
    for _ in 2..PARTITIONS {
        let reader = partitions.next().await.expect("a reader");
        reading.spawn(follow(reader, read.clone()));
    }
    all_had_something(reading, &read).await;
    // It goes on where it was.
    let next_offset = held.next_offsets()[stalled.partition()].offset;
    again(&stalled.handle(), &held);
    drop(held);
    let next = tokio::time::timeout(Duration::from_secs(10), stalled.next()).await;
    let next = next
        .expect("not stuck")
        .expect("records")
        .expect("assigned");
    let first = next.iter().next().expect("a record").offset;
    assert_eq!(first, next_offset % (RECORDS * BATCHES) as i64);
}

async fn ten_consumers(broker: &str) {
    let mut config = ClientConfig::new(broker);
    config.consumers_buffer_bytes = Some(BUDGET);
    let client = Client::connect(config).await.expect("connects");
    let read = Read::new();
    let consumer = async || {
        let mut config = ConsumerConfig::default();
        config.max_poll_records = 100_000;
        config.fetch_max_wait = FETCH_MAX_WAIT;
        let mut consumer = client.consumer(config).expect("a consumer");
        let all: Vec<_> = (0..PARTITIONS)
            .map(|partition| (TopicPartition::new("t", partition), StartOffset::Earliest))
            .collect();
        consumer.assign(&all).await.expect("partitions that exist");
        consumer
    };
    let mut stalled = consumer().await;
    let held = stalled.poll(Duration::from_secs(10)).await.expect("a poll");
    let mut reading = JoinSet::new();
    for _ in 1..CONSUMERS {
        let (consumer, read) = (consumer().await, read.clone());
        reading.spawn(async move {
            let (mut consumer, mut bytes) = (consumer, 0);
            while !read.is_over() {
                let records = consumer.poll(Duration::from_secs(20)).await;
                let records = records.expect("records");
                assert!(!records.is_empty(), "stuck");
                bytes += read.count(&records);
                again(&consumer, &records);
                drop(records);
                tokio::task::yield_now().await;
            }
            bytes
        });
    }
    all_had_something(reading, &read).await;
    assert!(!held.is_empty());
}

/// Nobody starves: each has at least a fifth of an equal part.
async fn all_had_something(reading: JoinSet<usize>, read: &Read) {
    let each = reading.join_all().await;
    let least = read.all / each.len() / 5;
    assert!(each.iter().all(|bytes| *bytes >= least), "{each:?}");
}
