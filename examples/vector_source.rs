//! A source in the manner of Vector's: records of a group go to a sink that acknowledges them in any order; committed is what is acknowledged
//! without a gap, and a partition whose sink is slow is paused, alone.
//!
//! `cargo run --example vector_source --features broker` runs it on an embedded broker until everything is acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::kafka::{
    Consumer, ConsumerConfig, OffsetAndMetadata, Producer, ProducerConfig, Record, TopicPartition,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

const TOPIC: &str = "logs";
const PARTITIONS: i32 = 3;
const RECORDS: usize = 3_000;
/// The most records of a partition that may wait for their acknowledgement.
const WAITING: usize = 200;

/// A record on its way to the sink.
struct Event {
    partition: TopicPartition,
    offset: i64,
    message: Vec<u8>,
}

/// What of a partition is acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// The first offset that is not.
    next: i64,
    /// Later ones that are.
    beyond: BTreeSet<i64>,
    waiting: usize,
    /// What was committed last.
    committed: i64,
}

impl Acknowledged {
    fn acknowledge(&mut self, offset: i64) {
        self.waiting -= 1;
        self.beyond.insert(offset);
        while self.beyond.remove(&self.next) {
            self.next += 1;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().start_tcp("127.0.0.1:0").await?;
    broker.create_topic(TOPIC, PARTITIONS)?;
    write(&broker.bootstrap_servers()).await?;
    timeout(Duration::from_secs(60), source(&broker.bootstrap_servers())).await??;
    let committed = (0..PARTITIONS).map(|it| broker.committed_offset("vector", TOPIC, it));
    let committed: i64 = committed.flatten().sum();
    assert_eq!(
        committed, RECORDS as i64,
        "every record is acknowledged and committed"
    );
    println!("{RECORDS} records are acknowledged and committed");
    Ok(())
}

async fn write(brokers: &str) -> Result<(), Box<dyn Error>> {
    let producer = Producer::connect(ProducerConfig::new(brokers)).await?;
    for n in 0..RECORDS {
        let message = format!("line {n}");
        let record = Record::new(TOPIC).partition(n as i32 % PARTITIONS);
        // Closing waits for what becomes of it.
        let _delivery = producer.enqueue(record.value(message.as_bytes())).await?;
    }
    Ok(producer.close(Duration::from_secs(10)).await?)
}

async fn source(brokers: &str) -> Result<(), Box<dyn Error>> {
    // As Vector gives them to librdkafka.
    let (config, notes) = ConsumerConfig::from_librdkafka([
        ("bootstrap.servers", brokers),
        ("group.id", "vector"),
        ("client.id", "vector"),
        ("auto.offset.reset", "smallest"),
        ("session.timeout.ms", "10000"),
        ("fetch.wait.max.ms", "100"),
        ("enable.partition.eof", "false"),
        ("enable.auto.commit", "true"),
        ("enable.auto.offset.store", "false"),
        ("statistics.interval.ms", "1000"),
    ])?;
    notes.iter().for_each(|note| println!("{note}"));
    let mut consumer = Consumer::connect(config).await?;
    consumer.subscribe(&[TOPIC]).await?;

    let (events, queue) = mpsc::channel(100);
    let (finished, mut acknowledgements) = mpsc::unbounded_channel();
    tokio::spawn(sink(queue, finished));
    let mut known = BTreeMap::<TopicPartition, Acknowledged>::new();
    let mut next_commit = Instant::now();
    let mut acknowledged = 0;
    while acknowledged < RECORDS {
        let records = consumer.poll(Duration::from_millis(50)).await?;
        for record in &records {
            let partition = record.topic_partition();
            let state = known
                .entry(partition.clone())
                .or_insert_with(|| Acknowledged {
                    next: record.offset,
                    ..Acknowledged::default()
                });
            state.waiting += 1;
            if state.waiting == WAITING {
                consumer.pause(std::slice::from_ref(partition))?;
            }
            let event = Event {
                partition: partition.clone(),
                offset: record.offset,
                message: record.value.unwrap_or_default().to_vec(),
            };
            events.send(event).await?;
        }
        while let Ok((partition, offset)) = acknowledgements.try_recv() {
            let state = known.get_mut(&partition).ok_or("nobody sent this")?;
            state.acknowledge(offset);
            acknowledged += 1;
            if state.waiting == WAITING / 2 {
                consumer.resume(std::slice::from_ref(&partition))?;
            }
        }
        if Instant::now() >= next_commit {
            commit(&consumer, &mut known).await?;
            next_commit = Instant::now() + Duration::from_millis(200);
        }
    }
    commit(&consumer, &mut known).await?;
    Ok(consumer.close().await?)
}

/// Commits what is acknowledged without a gap.
async fn commit(
    consumer: &Consumer,
    known: &mut BTreeMap<TopicPartition, Acknowledged>,
) -> Result<(), Box<dyn Error>> {
    let news = known
        .iter()
        .filter(|(_, state)| state.next > state.committed);
    let offsets: Vec<_> = news
        .map(|(partition, state)| (partition.clone(), OffsetAndMetadata::new(state.next)))
        .collect();
    if !offsets.is_empty() {
        consumer.commit(&offsets).await?;
    }
    known
        .values_mut()
        .for_each(|state| state.committed = state.next);
    Ok(())
}

/// Takes several at once, and is done with the last ones first.
async fn sink(
    mut queue: mpsc::Receiver<Event>,
    finished: mpsc::UnboundedSender<(TopicPartition, i64)>,
) {
    let mut batch = Vec::with_capacity(50);
    while queue.recv_many(&mut batch, 50).await > 0 {
        sleep(Duration::from_millis(2)).await;
        for event in batch.drain(..).rev() {
            assert!(event.message.starts_with(b"line "));
            // The source may have ended.
            let _ = finished.send((event.partition, event.offset));
        }
    }
}
