//! Two sources of one group: the second joins while the first is reading, and the first stops while both are. Nothing is lost.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use pat_events::kafka::{
    Client, ClientConfig, Consumer, ConsumerConfig, NewTopic, ProducerConfig, Record,
    TopicPartition,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::source::{self, Event};

const PARTITIONS: i32 = 3;
const RECORDS: usize = 6_000;
/// What a sink takes at once.
const AT_ONCE: usize = 50;

/// On the cluster at `brokers`, in the group and the topic of this name.
pub async fn run(brokers: &str, name: &str) -> Result<(), Box<dyn Error>> {
    write(brokers, name).await?;
    let (delivered, mut deliveries) = mpsc::channel(100);
    let start = || {
        let (events, queue) = mpsc::channel(100);
        let (stop, stopped) = oneshot::channel();
        let (brokers, name) = (brokers.to_string(), name.to_string());
        let source = source::run(brokers, name.clone(), name, events, stopped);
        tokio::spawn(sink(queue, delivered.clone()));
        (stop, tokio::spawn(source))
    };
    let mut seen = BTreeMap::<String, usize>::new();
    let first = start();
    take(&mut deliveries, &mut seen, RECORDS / 3).await?;
    let second = start();
    take(&mut deliveries, &mut seen, RECORDS * 2 / 3).await?;
    let _ = first.0.send(());
    take(&mut deliveries, &mut seen, RECORDS).await?;
    first.1.await??;
    let _ = second.0.send(());
    second.1.await??;
    let again: usize = seen.values().map(|times| times - 1).sum();
    println!("{RECORDS} records are delivered, {again} of them again");
    assert_eq!(committed(brokers, name).await?, RECORDS as i64);
    Ok(())
}

async fn write(brokers: &str, topic: &str) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(ClientConfig::new(brokers)).await?;
    let topic = NewTopic::new(topic, PARTITIONS);
    client.admin().create_topic(&topic).await?;
    let producer = client.producer(ProducerConfig::default())?;
    for n in 0..RECORDS {
        let message = format!("line {n}");
        let record = Record::new(&topic.name).partition(n as i32 % PARTITIONS);
        // Closing waits for what becomes of it.
        let _delivery = producer.enqueue(record.value(message.as_bytes())).await?;
    }
    Ok(producer.close(Duration::from_secs(10)).await?)
}

/// Takes deliveries until so many different ones have come.
async fn take(
    deliveries: &mut mpsc::Receiver<String>,
    seen: &mut BTreeMap<String, usize>,
    count: usize,
) -> Result<(), Box<dyn Error>> {
    while seen.len() < count {
        let message = deliveries.recv().await.ok_or("both sources ended")?;
        *seen.entry(message).or_default() += 1;
    }
    Ok(())
}

/// Takes several at once, and is done with the last ones first.
async fn sink(mut queue: mpsc::Receiver<Event>, delivered: mpsc::Sender<String>) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while queue.recv_many(&mut batch, AT_ONCE).await > 0 {
        sleep(Duration::from_millis(5)).await;
        for event in batch.drain(..).rev() {
            let message = String::from_utf8_lossy(&event.message).into_owned();
            // Whoever counts them may have seen enough.
            let _ = delivered.send(message).await;
            event.delivered();
        }
    }
}

/// The sum of what the group has committed.
async fn committed(brokers: &str, name: &str) -> Result<i64, Box<dyn Error>> {
    let consumer = Consumer::connect(ConsumerConfig::new(brokers, name)).await?;
    let partitions: Vec<_> = (0..PARTITIONS)
        .map(|partition| TopicPartition::new(name, partition))
        .collect();
    let committed = consumer.committed(&partitions).await?;
    Ok(committed.values().map(|commit| commit.offset).sum())
}
