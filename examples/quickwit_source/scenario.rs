//! Two sources of one group: the second joins while the first is reading, and the first crashes while both are. Every document is indexed once.

use std::error::Error;
use std::time::Duration;

use pat_events::kafka::{Client, ClientConfig, NewTopic, ProducerConfig, Record};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::source::{self, Metastore};

const PARTITIONS: i32 = 3;
const RECORDS: usize = 12_000;

/// On the cluster at `brokers`, in the group and the topic of this name.
pub async fn run(brokers: &str, name: &str) -> Result<(), Box<dyn Error>> {
    write(brokers, name).await?;
    let metastore = Metastore::default();
    let start = || {
        let (brokers, name) = (brokers.to_string(), name.to_string());
        let source = source::run(brokers, name.clone(), name, metastore.clone());
        tokio::spawn(source)
    };
    let first = start();
    indexed(&metastore, RECORDS / 4, &[&first]).await;
    let second = start();
    indexed(&metastore, RECORDS / 2, &[&first, &second]).await;
    first.abort();
    indexed(&metastore, RECORDS, &[&second]).await;
    second.abort();
    let mut documents = metastore.with(|stored| std::mem::take(&mut stored.documents));
    let count = documents.len();
    documents.sort();
    documents.dedup();
    assert_eq!((documents.len(), count), (RECORDS, RECORDS), "each once");
    println!("{count} documents are indexed, each once");
    Ok(())
}

async fn write(brokers: &str, topic: &str) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(ClientConfig::new(brokers)).await?;
    let topic = NewTopic::new(topic, PARTITIONS);
    client.admin().create_topic(&topic).await?;
    let producer = client.producer(ProducerConfig::default())?;
    for n in 0..RECORDS {
        let document = format!("{{\"id\":{n}}}");
        let record = Record::new(&topic.name).partition(n as i32 % PARTITIONS);
        // Closing waits for what becomes of it.
        let _delivery = producer.enqueue(record.value(document.as_bytes())).await?;
    }
    Ok(producer.close(Duration::from_secs(10)).await?)
}

/// Waits until so many documents are indexed. None of the sources may end meanwhile.
async fn indexed(
    metastore: &Metastore,
    count: usize,
    sources: &[&JoinHandle<pat_events::kafka::Result<()>>],
) {
    while metastore.with(|stored| stored.documents.len()) < count {
        assert!(!sources.iter().any(|source| source.is_finished()));
        sleep(Duration::from_millis(10)).await;
    }
}
