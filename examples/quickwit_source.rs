//! A source in the manner of Quickwit's: what is indexed and how far it was read are stored together, so that a restart reads each record
//! once. Positions come from that checkpoint, not from the group's commits, which only show others the progress; and a partition whose
//! batch is being published is paused, alone.
//!
//! `cargo run --example quickwit_source --features broker` runs it on an embedded broker, with a crash in the middle.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::kafka::{
    Consumer, ConsumerConfig, ConsumerHandle, OffsetAndMetadata, Producer, ProducerConfig,
    RebalanceListener, Record, TopicPartition,
};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const TOPIC: &str = "documents";
const PARTITIONS: i32 = 3;
const RECORDS: usize = 3_000;
/// Documents to a split.
const SPLIT: usize = 250;

/// What is stored: documents, and the offset to go on from in each partition, changed together.
#[derive(Clone, Default)]
struct Metastore(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    documents: Vec<String>,
    checkpoint: BTreeMap<TopicPartition, i64>,
}

impl Metastore {
    fn publish(&self, partition: &TopicPartition, documents: Vec<String>, next: i64) {
        let mut stored = self.0.lock().expect("no panic");
        stored.documents.extend(documents);
        stored.checkpoint.insert(partition.clone(), next);
    }

    fn next_offset(&self, partition: &TopicPartition) -> Option<i64> {
        let stored = self.0.lock().expect("no panic");
        stored.checkpoint.get(partition).copied()
    }

    fn documents(&self) -> usize {
        self.0.lock().expect("no panic").documents.len()
    }
}

/// New partitions are read from where the checkpoint says.
impl RebalanceListener for Metastore {
    async fn on_assigned(&self, consumer: &ConsumerHandle, partitions: &[TopicPartition]) {
        for partition in partitions {
            let done = match self.next_offset(partition) {
                Some(offset) => consumer.seek(partition, offset),
                None => consumer.seek_to_beginning(partition),
            };
            done.expect("it is assigned");
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().start_tcp("127.0.0.1:0").await?;
    broker.create_topic(TOPIC, PARTITIONS)?;
    write(&broker.bootstrap_servers()).await?;
    let brokers = broker.bootstrap_servers();
    let metastore = Metastore::default();
    for until in [RECORDS / 2, RECORDS] {
        let run = source(&brokers, &metastore, until);
        timeout(Duration::from_secs(60), run).await??;
        println!("{} documents are indexed", metastore.documents());
    }
    let mut documents = metastore.0.lock().expect("no panic").documents.clone();
    documents.sort();
    documents.dedup();
    assert_eq!(documents.len(), RECORDS, "every record is indexed once");
    Ok(())
}

async fn write(brokers: &str) -> Result<(), Box<dyn Error>> {
    let producer = Producer::connect(ProducerConfig::new(brokers)).await?;
    for n in 0..RECORDS {
        let document = format!("{{\"id\":{n}}}");
        let record = Record::new(TOPIC).partition(n as i32 % PARTITIONS);
        // Closing waits for what becomes of it.
        let _delivery = producer.enqueue(record.value(document.as_bytes())).await?;
    }
    Ok(producer.close(Duration::from_secs(10)).await?)
}

/// Reads until so many documents are indexed, and then ends as in a crash: what is in hand is lost, and read again by the next one.
async fn source(brokers: &str, metastore: &Metastore, until: usize) -> Result<(), Box<dyn Error>> {
    // As Quickwit gives them to librdkafka.
    let (config, _) = ConsumerConfig::from_librdkafka([
        ("bootstrap.servers", brokers),
        ("group.id", "quickwit-documents"),
        ("enable.auto.commit", "false"),
        ("enable.partition.eof", "false"),
        ("auto.offset.reset", "earliest"),
        // How long the partitions of the one that crashed are waited for.
        ("session.timeout.ms", "6000"),
    ])?;
    let mut consumer = Consumer::connect(config).await?;
    consumer.subscribe_with(&[TOPIC], metastore.clone()).await?;
    let mut pending = BTreeMap::<TopicPartition, Vec<String>>::new();
    let mut publishing = JoinSet::new();
    while metastore.documents() < until {
        let records = consumer.poll(Duration::from_millis(50)).await?;
        for part in records.partitions() {
            let partition = part.partition();
            let split = pending.entry(partition.clone()).or_default();
            split.extend(part.iter().filter_map(|record| {
                let document = record.value?;
                Some(String::from_utf8_lossy(document).into_owned())
            }));
            if split.len() >= SPLIT {
                // Its next split is begun when this one is stored.
                consumer.pause(std::slice::from_ref(partition))?;
                let (partition, next) = (partition.clone(), part.next_offset());
                let (documents, metastore) = (std::mem::take(split), metastore.clone());
                publishing.spawn(async move {
                    sleep(Duration::from_millis(20)).await;
                    metastore.publish(&partition, documents, next);
                    (partition, next)
                });
            }
        }
        // At the end of a log a split may stay small.
        if records.is_empty() {
            let at_end = pending.iter_mut().filter(|(_, split)| !split.is_empty());
            for (partition, split) in at_end {
                if let Some(next) = consumer.position(partition) {
                    metastore.publish(partition, std::mem::take(split), next);
                }
            }
        }
        while let Some(published) = publishing.try_join_next() {
            let (partition, next) = published?;
            consumer.resume(std::slice::from_ref(&partition))?;
            let progress = OffsetAndMetadata::new(next);
            consumer.commit(&[(partition, progress)]).await?;
        }
    }
    Ok(())
}
