//! What an operator reads: a producer and two members of a group on a cluster of three brokers, one of which is killed and started again.
//!
//! `cargo run --example operator_view --features broker,tracing`

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::kafka::{ClientConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, Record};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const TOPIC: &str = "orders";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_target(false)
        .with_ansi(false)
        .init();
    let brokers = Broker::builder()
        .nodes(3)
        .default_replication_factor(3)
        .initial_rebalance_delay(Duration::from_millis(100));
    let broker = brokers.start_tcp("127.0.0.1:0").await?;
    broker.create_topic(TOPIC, 6)?;
    let over = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(write(client(&broker), over.clone()));
    let one = member(&broker, over.clone());
    sleep(Duration::from_secs(1)).await;
    let leaves = Arc::new(AtomicBool::new(false));
    let other = member(&broker, leaves.clone());
    sleep(Duration::from_secs(2)).await;

    let node = broker.node_ids()[0];
    eprintln!("--- broker {node} is killed");
    broker.stop_node(node).await;
    sleep(Duration::from_secs(3)).await;
    eprintln!("--- broker {node} is started again");
    broker.start_node(node).await?;
    sleep(Duration::from_secs(3)).await;

    eprintln!("--- a member leaves");
    leaves.store(true, Relaxed);
    let others = other.await??;
    sleep(Duration::from_secs(2)).await;
    over.store(true, Relaxed);
    let written = writing.await??;
    let read = one.await?? + others;
    eprintln!("--- {written} records written, {read} read");
    Ok(())
}

fn client(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new(&broker.bootstrap_servers());
    config.metadata_max_age = Duration::from_secs(2);
    config
}

async fn write(
    client: ClientConfig,
    over: Arc<AtomicBool>,
) -> Result<usize, pat_events::kafka::Error> {
    let mut config = ProducerConfig::default();
    config.client = client;
    let producer = Producer::connect(config).await?;
    let mut written = 0;
    while !over.load(Relaxed) {
        let record = Record::new(TOPIC).partition(written as i32 % 6);
        producer.send(record.value(b"an order")).await?;
        written += 1;
        sleep(Duration::from_millis(5)).await;
    }
    producer.close(Duration::from_secs(10)).await?;
    Ok(written)
}

/// A member of the group, until it is told to leave.
fn member(
    broker: &Broker,
    leaves: Arc<AtomicBool>,
) -> JoinHandle<Result<usize, pat_events::kafka::Error>> {
    let mut config = ConsumerConfig::new("", "billing");
    config.client = client(broker);
    config.enable_auto_commit = true;
    config.auto_commit_interval = Duration::from_millis(500);
    tokio::spawn(async move {
        let mut consumer = Consumer::connect(config).await?;
        consumer.subscribe(&[TOPIC]).await?;
        let mut read = 0;
        while !leaves.load(Relaxed) {
            match consumer.poll(Duration::from_millis(100)).await {
                Ok(records) => read += records.count(),
                Err(error) if error.is_retriable() => {}
                Err(error) => return Err(error),
            }
        }
        consumer.close().await?;
        Ok(read)
    })
}
