//! The source: each partition is read by itself, from where the checkpoint says; documents become splits, and a split is published together with how
//! far it was read. Positions come from that checkpoint, not from the group's commits, which only show others the progress.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pat_events::kafka::consumer::PartitionReader;
use pat_events::kafka::{Consumer, ConsumerConfig, OffsetAndMetadata, Result, TopicPartition};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Documents to a split.
const SPLIT: usize = 250;
/// How long a split may take to be published when its partition goes.
const DRAIN: Duration = Duration::from_secs(5);

/// What is stored: documents, and the offset to go on from in each partition, changed together.
#[derive(Clone, Default)]
pub struct Metastore(Arc<Mutex<Stored>>);

#[derive(Default)]
pub struct Stored {
    pub documents: Vec<String>,
    pub checkpoint: BTreeMap<TopicPartition, i64>,
}

impl Metastore {
    pub fn with<R>(&self, act: impl FnOnce(&mut Stored) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Refuses what was not read from where the last split of the partition ends: another source has gone on there meanwhile.
    fn publish(&self, partition: &TopicPartition, split: &mut Split) -> bool {
        self.with(|stored| {
            let next = stored.checkpoint.entry(partition.clone()).or_default();
            let goes_on = *next == split.from;
            if goes_on {
                *next = split.next;
                stored.documents.append(&mut split.documents);
            }
            goes_on
        })
    }

    fn next_offset(&self, partition: &TopicPartition) -> i64 {
        let next = self.with(|stored| stored.checkpoint.get(partition).copied());
        next.unwrap_or_default()
    }
}

/// What is to be published together.
struct Split {
    documents: Vec<String>,
    from: i64,
    next: i64,
}

/// Reads `topic` as a member of `group`, until the future is dropped: what is in hand is lost then, and read again by whoever is next.
pub async fn run(
    brokers: String,
    group: String,
    topic: String,
    metastore: Metastore,
) -> Result<()> {
    // As Quickwit gives them to librdkafka.
    let (config, _) = ConsumerConfig::from_librdkafka([
        ("bootstrap.servers", &*brokers),
        ("group.id", &group),
        ("enable.auto.commit", "false"),
        // At the end of a log a split may stay small.
        ("enable.partition.eof", "true"),
        ("auto.offset.reset", "earliest"),
        // How long the partitions of one that crashed are waited for.
        ("session.timeout.ms", "6000"),
    ])?;
    let mut consumer = Consumer::connect(config).await?;
    consumer.subscribe(&[&topic]).await?;
    let mut partitions = consumer.into_partitions(DRAIN);
    let mut reading = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(ended) = reading.join_next() => ended.expect("no panic")?,
            reader = partitions.next() => {
                reading.spawn(index(reader?, metastore.clone()));
            }
        }
    }
}

async fn index(mut reader: PartitionReader, metastore: Metastore) -> Result<()> {
    let partition = reader.partition().clone();
    let from = metastore.next_offset(&partition);
    if reader.handle().seek(&partition, from).is_err() {
        // It went before it was read.
        return Ok(());
    }
    let mut split = Split {
        documents: Vec::new(),
        from,
        next: from,
    };
    while let Some(records) = reader.next().await? {
        let values = records.iter().filter_map(|record| record.value);
        let documents = values.map(|document| String::from_utf8_lossy(document).into_owned());
        split.documents.extend(documents);
        if let Some(next) = records.next_offsets().get(&partition) {
            split.next = next.offset;
        }
        let is_end = records.ends().next().is_some();
        let is_due = split.documents.len() >= SPLIT || is_end;
        if !is_due || split.next == split.from {
            continue;
        }
        // No other partition waits for it.
        sleep(Duration::from_millis(20)).await;
        if !metastore.publish(&partition, &mut split) {
            break;
        }
        split.from = split.next;
        let progress = OffsetAndMetadata::new(split.next);
        // Only a sign for others: one that is refused because the partition goes does not matter.
        drop(
            reader
                .handle()
                .commit_async([(partition.clone(), progress)]),
        );
    }
    Ok(())
}
