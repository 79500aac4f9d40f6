//! How much memory a client takes at most, whatever it is given to read and whoever stops reading: its budget and a constant. Each case runs
//! in a process of its own; `measure` starts it and reads its peak.
//!
//! `MEMORY_GIB=20` makes those that read for long (`long`) read so many GiB each, as they are decompressed.

mod long;
mod measure;
#[path = "../support/process_status.rs"]
mod process_status;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use measure::stays_within;
use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::{
    Consumer, ConsumerConfig, Producer, ProducerConfig, Record, StartOffset, TopicPartition,
};
use protocol::ApiKey;
use protocol::compression::{Codec, Compression, Compressor};
use protocol::records::{BatchBuilder, SealOptions};
use tokio::time::{Instant, sleep, timeout};

/// The default of consumers and producers.
const BUDGET: usize = 32 << 20;
/// Who goes back to the beginning waits as long as the broker holds the fetch that asked for more at the end: the partitions of one broker, all at
/// their ends, would fall behind those of the others.
const FETCH_MAX_WAIT: Duration = Duration::from_millis(5);

/// What a process of its own is started for.
#[test]
fn child() {
    measure::child(async |case, broker| match case {
        "bombs" => read_all(broker, 6, 6 * 11, Duration::ZERO).await,
        "large bombs" => read_all(broker, 6, 6 * 4 * 10, Duration::ZERO).await,
        "ten brokers" => read_all(broker, 40, 40 * 3, Duration::from_millis(30)).await,
        "stalled consumer" => hold(broker).await,
        "stalled broker" => produce(broker).await,
        other => long::run(other, broker).await,
    });
}

/// Four codecs, 6 partitions, 59 MB in all once it is decompressed, 60 KB before with the best of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_consumer_of_compressed_bombs_stays_within_its_budget() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = batch(&vec![0; 900_000], 1, codec.into());
        let broker = broker(1, 6, &vec![bomb; 11]).await;
        stays_within(BUDGET, "bombs", broker.bootstrap_servers()).await;
    }
}

/// Batches that take a third of the budget each.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_consumer_of_large_compressed_bombs_stays_within_its_budget() {
    for codec in [Codec::Lz4, Codec::Zstd] {
        let bomb = batch(&vec![0; 1 << 20], 10, codec.into());
        let broker = broker(1, 6, &vec![bomb; 4]).await;
        stays_within(BUDGET, "large bombs", broker.bootstrap_servers()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_consumer_that_ten_brokers_answer_at_once_stays_within_its_budget() {
    let large = batch(&noise(900_000), 1, Compression::NONE);
    let broker = broker(10, 40, &vec![large; 3]).await;
    stays_within(BUDGET, "ten brokers", broker.bootstrap_servers()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_consumer_whose_application_stalls_stays_within_its_budget() {
    let large = batch(&noise(900_000), 1, Compression::NONE);
    let broker = broker(3, 12, &vec![large; 8]).await;
    stays_within(BUDGET, "stalled consumer", broker.bootstrap_servers()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_producer_whose_broker_stops_reading_stays_within_its_budget() {
    let broker = broker(1, 6, &[]).await;
    let stalled = FaultAction::Delay(Duration::from_secs(60));
    broker.inject(Fault::on(ApiKey::PRODUCE, stalled).always());
    stays_within(BUDGET, "stalled broker", broker.bootstrap_servers()).await;
}

/// A cluster of `nodes` with the topic `t`, whose partitions hold `batches` each.
async fn broker(nodes: usize, partitions: i32, batches: &[Bytes]) -> Broker {
    let builder = Broker::builder().nodes(nodes).seed(7);
    let broker = builder.start_tcp("127.0.0.1:0").await.expect("a port");
    broker.create_topic("t", partitions).expect("a new topic");
    let mut log = BytesMut::new();
    batches
        .iter()
        .for_each(|batch| log.extend_from_slice(batch));
    let log = log.freeze();
    for partition in 0..partitions {
        broker.append_unchecked("t", partition, log.clone());
    }
    broker
}

/// A batch of `count` records of this value.
fn batch(value: &[u8], count: usize, compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(Vec::new());
    for _ in 0..count {
        builder
            .append(1_700_000_000_000, None, Some(value), [])
            .expect("room in the batch");
    }
    let sealed = builder.seal(&SealOptions::default(), &mut Compressor::new(compression));
    sealed.bytes().clone()
}

/// Bytes that no codec makes smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len.div_ceil(8))
        .flat_map(|_| next())
        .take(len)
        .collect()
}

async fn reader(broker: &str, partitions: i32) -> Consumer {
    let mut config = ConsumerConfig::new(broker, "");
    // The budget is to end a poll, not the number of records.
    config.max_poll_records = 100_000;
    config.group_id = None;
    config.fetch_max_wait = FETCH_MAX_WAIT;
    assert_eq!(config.buffer_bytes, BUDGET);
    let mut consumer = Consumer::connect(config).await.expect("connects");
    let all: Vec<_> = (0..partitions)
        .map(|partition| (TopicPartition::new("t", partition), StartOffset::Earliest))
        .collect();
    consumer.assign(&all).await.expect("partitions that exist");
    consumer
}

/// Reads `count` records, with a pause after each poll.
async fn read_all(broker: &str, partitions: i32, count: usize, pause: Duration) {
    let mut consumer = reader(broker, partitions).await;
    let mut seen = 0;
    while seen < count {
        let records = consumer
            .poll(Duration::from_secs(5))
            .await
            .expect("records");
        assert!(!records.is_empty(), "stuck at {seen} of {count}");
        seen += records.count();
        drop(records);
        sleep(pause).await;
    }
    assert_eq!(seen, count);
}

/// Holds what the first polls return, and reads on.
async fn hold(broker: &str) {
    let mut consumer = reader(broker, 12).await;
    let first = consumer
        .poll(Duration::from_secs(5))
        .await
        .expect("records");
    sleep(Duration::from_secs(2)).await;
    let second = consumer
        .poll(Duration::from_secs(5))
        .await
        .expect("records");
    sleep(Duration::from_secs(2)).await;
    assert!(first.count() > 0 && second.count() > 0);
}

/// Hands in as much as is taken for three seconds.
async fn produce(broker: &str) {
    let producer = Producer::connect(ProducerConfig::new(broker))
        .await
        .expect("connects");
    let value = noise(10_000);
    let started = Instant::now();
    let (mut taken, mut refused) = (0, 0);
    while started.elapsed() < Duration::from_secs(3) {
        let handing_in = producer.enqueue(Record::new("t").value(&value));
        match timeout(Duration::from_millis(200), handing_in).await {
            Ok(delivery) => drop(delivery.map(|_| taken += value.len())),
            Err(_) => refused += 1,
        }
    }
    assert!(
        taken > BUDGET / 8 && refused > 0,
        "{taken} bytes were taken"
    );
}
