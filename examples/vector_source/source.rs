//! The source: a reader for each partition hands events on; each event is acknowledged by whoever has delivered it, in any order. A partition that
//! waits for its deliveries holds up no other, and one that goes to another member has time to finish what is under way.

use std::time::Duration;

use pat_events::kafka::consumer::{Acks, CommitSource, PartitionReader};
use pat_events::kafka::{Consumer, ConsumerConfig, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long what is under way of a partition that goes may take to be delivered.
const DRAIN: Duration = Duration::from_secs(5);
/// The most records of a partition that may wait for their acknowledgement.
const WAITING: usize = 500;

/// A record on its way to the sink.
pub struct Event {
    pub message: Vec<u8>,
    offset: i64,
    acks: Acks,
}

impl Event {
    /// It need not be read again.
    pub fn delivered(self) {
        self.acks.done(self.offset);
    }
}

/// Reads `topic` as a member of `group`, until it is told to stop: what is under way then is delivered and committed first.
pub async fn run(
    brokers: String,
    group: String,
    topic: String,
    events: mpsc::Sender<Event>,
    mut stop: oneshot::Receiver<()>,
) -> Result<()> {
    // As Vector gives them to librdkafka.
    let (mut config, notes) = ConsumerConfig::from_librdkafka([
        ("bootstrap.servers", &*brokers),
        ("group.id", &group),
        ("client.id", "vector"),
        ("auto.offset.reset", "smallest"),
        ("session.timeout.ms", "10000"),
        ("fetch.wait.max.ms", "100"),
        ("enable.partition.eof", "false"),
        ("enable.auto.commit", "true"),
        ("auto.commit.interval.ms", "200"),
        ("statistics.interval.ms", "1000"),
    ])?;
    notes.iter().for_each(|note| println!("{note}"));
    config.commit_source = CommitSource::Acknowledged;
    let mut consumer = Consumer::connect(config).await?;
    consumer.subscribe(&[&topic]).await?;
    let mut partitions = consumer.into_partitions(DRAIN);
    let mut reading = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stop => break,
            Some(ended) = reading.join_next() => ended.expect("no panic")?,
            reader = partitions.next() => {
                reading.spawn(hand_on(reader?, events.clone()));
            }
        }
    }
    // Readers end meanwhile, each when what it has handed on is delivered.
    partitions.close().await
}

async fn hand_on(mut reader: PartitionReader, events: mpsc::Sender<Event>) -> Result<()> {
    while let Some(records) = reader.next().await? {
        for run in records.partitions() {
            for record in &run {
                let event = Event {
                    message: record.value.unwrap_or_default().to_vec(),
                    offset: record.offset,
                    acks: run.acks(),
                };
                if events.send(event).await.is_err() {
                    return Ok(());
                }
            }
        }
        delivered(&reader.acks(), WAITING).await;
    }
    delivered(&reader.acks(), 0).await;
    Ok(())
}

/// Waits until no more than so many are under way, or nobody waits for them any more.
async fn delivered(acks: &Acks, most: usize) {
    while acks.unfinished() > most && !acks.is_over() {
        sleep(Duration::from_millis(5)).await;
    }
}
