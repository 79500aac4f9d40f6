//! What each way to consume costs, in CPU time a record, beside plain polls: a reader for each partition, streams, acknowledgements. All in one
//! run, in turns; the broker is this program once more, in a process of its own.
//!
//! ```sh
//! cargo bench --bench ways            # all, in 15 rounds
//! cargo bench --bench ways -- 5 lz4   # in 5 rounds, of records in lz4
//! ```

#[path = "support/broker_process.rs"]
mod broker_process;
#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/log.rs"]
mod log;

use std::pin::Pin;
use std::time::Duration;

use broker_process::{BrokerProcess, serve, serves};
use futures_core::Stream;
use log::{RECORDS_A_BATCH, log};
use pat_events::broker::Broker;
use pat_events::kafka::consumer::{CommitSource, PartitionRecords};
use pat_events::kafka::{Consumer, ConsumerConfig, Records, StartOffset, TopicPartition};
use protocol::compression::Codec;
use tokio::task::JoinSet;

const PARTITIONS: i32 = 6;
const BATCHES: u32 = 100;
const OF_EACH: usize = (BATCHES * RECORDS_A_BATCH) as usize;
const RECORDS: usize = PARTITIONS as usize * OF_EACH;
const ROUNDS: usize = 15;

/// A way to consume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Poll,
    Readers,
    ReadersWithAcks,
    StreamOfBatches,
    StreamOfRecords,
    /// A whole run of records at once.
    AcksByRange,
    /// One by one, in order.
    AcksInOrder,
    /// One by one, the last of a run first.
    AcksBackwards,
}

const WAYS: [Way; 8] = [
    Way::Poll,
    Way::Readers,
    Way::ReadersWithAcks,
    Way::StreamOfBatches,
    Way::StreamOfRecords,
    Way::AcksByRange,
    Way::AcksInOrder,
    Way::AcksBackwards,
];

impl Way {
    fn acknowledges(self) -> bool {
        use Way::*;
        matches!(
            self,
            ReadersWithAcks | AcksByRange | AcksInOrder | AcksBackwards
        )
    }

    /// Reads all and commits it; the bytes of all values.
    async fn read(self, consumer: Consumer) -> usize {
        match self {
            Self::Poll => polls(consumer, |_| ()).await,
            Self::Readers => readers(consumer, |_| ()).await,
            Self::ReadersWithAcks => readers(consumer, by_range).await,
            Self::StreamOfBatches => stream_of_batches(consumer).await,
            Self::StreamOfRecords => stream_of_records(consumer).await,
            Self::AcksByRange => polls(consumer, by_range).await,
            Self::AcksInOrder => polls(consumer, in_order).await,
            Self::AcksBackwards => polls(consumer, backwards).await,
        }
    }
}

fn main() {
    if let Some(codec) = serves() {
        let codec = codec.parse().expect("the name of a codec");
        return serve(Broker::builder(), |broker| fill(broker, codec));
    }
    let arguments = std::env::args().skip(1).filter(|it| !it.starts_with("--"));
    let (mut rounds, mut codec) = (ROUNDS, "none".to_string());
    for argument in arguments {
        match argument.parse() {
            Ok(number) => rounds = number,
            Err(_) => codec = argument,
        }
    }
    let broker = BrokerProcess::start(&codec);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(compare(&broker.address, rounds, &codec));
}

fn fill(broker: &Broker, codec: Codec) {
    broker.create_topic("t", PARTITIONS).expect("a new topic");
    let log = log(codec, BATCHES);
    for partition in 0..PARTITIONS {
        broker.append_unchecked("t", partition, log.clone());
    }
}

async fn compare(broker: &str, rounds: usize, codec: &str) {
    println!(
        "{RECORDS} records of about 300 bytes in {PARTITIONS} partitions, {codec}; {rounds} rounds"
    );
    let mut spent = WAYS.map(|_| Vec::with_capacity(rounds));
    let mut expected = None;
    // The first round warms up.
    for round in 0..=rounds {
        for (way, spent) in WAYS.iter().zip(&mut spent) {
            let consumer = consumer(broker, *way).await;
            let before = used();
            let bytes = way.read(consumer).await;
            let nanos = (used() - before).as_nanos() as f64 / RECORDS as f64;
            assert_eq!(*expected.get_or_insert(bytes), bytes, "{way:?}");
            if round > 0 {
                spent.push(nanos);
            }
        }
    }
    let figures = spent.map(|mut spent| {
        spent.sort_by(f64::total_cmp);
        let least = spent.first().copied().unwrap_or(f64::NAN);
        (spent.get(rounds / 2).copied().unwrap_or(f64::NAN), least)
    });
    let (plain, plain_least) = figures[0];
    println!("CPU, ns a record      median  (least)  beside polls: median (least)");
    for (way, (median, least)) in WAYS.iter().zip(figures) {
        let name = format!("{way:?}");
        let (ratio, of_least) = (median / plain, least / plain_least);
        println!("{name:18} {median:8.1} {least:8.1} {ratio:10.2} {of_least:6.2}");
    }
}

fn used() -> Duration {
    cpu::used().expect("CPU time is measured on Linux only")
}

async fn consumer(broker: &str, way: Way) -> Consumer {
    let mut config = ConsumerConfig::new(broker, "bench");
    if way.acknowledges() {
        config.commit_source = CommitSource::Acknowledged;
    }
    let mut consumer = Consumer::connect(config).await.expect("a consumer");
    let start: Vec<_> = (0..PARTITIONS)
        .map(|partition| (TopicPartition::new("t", partition), StartOffset::Earliest))
        .collect();
    consumer.assign(&start).await.expect("partitions");
    consumer
}

/// What an application does with the records.
fn use_up(records: &Records) -> usize {
    let values = records.iter().map(|it| it.value.map_or(0, <[u8]>::len));
    values.sum()
}

fn by_range(run: &PartitionRecords<'_>) {
    let first = run.iter().next().map_or(0, |record| record.offset);
    assert_eq!(run.acks().done_all(first..run.next_offset()), run.count());
}

fn in_order(run: &PartitionRecords<'_>) {
    let acks = run.acks();
    for record in run {
        assert!(acks.done(record.offset));
    }
}

fn backwards(run: &PartitionRecords<'_>) {
    let acks = run.acks();
    let first = run.iter().next().map_or(0, |record| record.offset);
    for offset in (first..run.next_offset()).rev() {
        assert!(acks.done(offset));
    }
}

async fn polls(mut consumer: Consumer, finish: impl Fn(&PartitionRecords<'_>)) -> usize {
    let (mut count, mut bytes) = (0, 0);
    while count < RECORDS {
        let records = consumer.poll(Duration::from_secs(1)).await;
        let records = records.expect("records");
        bytes += use_up(&records);
        records.partitions().for_each(|run| finish(&run));
        count += records.count();
    }
    consumer.commit_sync().await.expect("committed");
    bytes
}

async fn readers(consumer: Consumer, finish: fn(&PartitionRecords<'_>)) -> usize {
    let mut partitions = consumer.into_partitions(Duration::from_secs(1));
    let mut reading = JoinSet::new();
    for _ in 0..PARTITIONS {
        let mut reader = partitions.next().await.expect("a reader");
        reading.spawn(async move {
            let (mut count, mut bytes) = (0, 0);
            while count < OF_EACH {
                let records = reader.next().await.expect("records").expect("assigned");
                bytes += use_up(&records);
                records.partitions().for_each(|run| finish(&run));
                count += records.count();
            }
            reader.finish();
            bytes
        });
    }
    let bytes = reading.join_all().await.into_iter().sum();
    partitions.commit_sync().await.expect("committed");
    bytes
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

async fn stream_of_batches(consumer: Consumer) -> usize {
    let handle = consumer.handle();
    let mut stream = consumer.into_stream();
    let (mut count, mut bytes) = (0, 0);
    while count < RECORDS {
        let records = next(&mut stream).await.expect("no end").expect("records");
        bytes += use_up(&records);
        count += records.count();
    }
    handle.commit_sync().await.expect("committed");
    bytes
}

async fn stream_of_records(consumer: Consumer) -> usize {
    let handle = consumer.handle();
    let mut stream = consumer.into_stream().records();
    let mut bytes = 0;
    for _ in 0..RECORDS {
        let record = next(&mut stream).await.expect("no end").expect("a record");
        bytes += record.value.map_or(0, |value| value.len());
    }
    handle.commit_sync().await.expect("committed");
    bytes
}
