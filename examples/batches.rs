//! Events handled many at once, as by what writes them to a database in one transaction: one that fails takes no other along, and none of its
//! key overtakes it. On the embedded broker.
//!
//! `cargo run --example batches --features broker`

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::events::email::{EmailDeleted, EmailEventProducer, EmailEvents};
use pat_events::events::{
    AnyEvent, Batch, BatchError, BatchHandler, ConsumerConfig, EventConsumer, EventProducer,
    HandlerError, ProducerConfig, RetryPolicy, testing,
};
use pat_events::kafka::{Client, ClientConfig, OffsetReset};

/// Rows by key, and how many came with each call.
#[derive(Clone, Default)]
struct Database(Arc<Mutex<(Vec<String>, Vec<usize>)>>);

impl BatchHandler<EmailEvents> for Database {
    async fn handle_batch(&self, batch: Batch<'_, EmailEvents>) -> Result<(), BatchError> {
        let (rows, calls) = &mut *self.0.lock().map_err(|_| HandlerError::fatal("a panic"))?;
        calls.push(batch.len());
        let mut failed = Vec::new();
        for (place, (context, event)) in batch.iter().enumerate() {
            let key = String::from_utf8_lossy(event.key().unwrap_or_default()).into_owned();
            match key == "e-7" && context.attempt() < 3 {
                true => failed.push((place, HandlerError::transient("locked by another"))),
                false => rows.push(key),
            }
        }
        BatchError::of(failed)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = testing::broker(&["emails"]).await;
    let client = Client::lazy(ClientConfig::new(&broker.bootstrap_servers()))?;
    let producer = EventProducer::on(&client, ProducerConfig::new("", "emails"))?;
    for number in 0..1_000 {
        let event = EmailDeleted {
            email_id: format!("e-{}", number % 100),
            ..Default::default()
        };
        drop(producer.enqueue_email_deleted(&event).await?);
    }
    producer.flush().await?;

    let mut config = ConsumerConfig::new("", "emails", "database");
    config.auto_offset_reset = OffsetReset::Earliest;
    config.batch.max_events = 200;
    config.batch.linger = Duration::from_millis(20);
    config.retry = RetryPolicy::up_to(5).backoff(Duration::from_millis(10), Duration::from_secs(1));
    let consumer = EventConsumer::<EmailEvents>::on(&client, config)?;
    let database = Database::default();
    consumer.start_batches(database.clone()).await?;
    while consumer.metrics().handled < 1_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    consumer.stop().await?;
    let (rows, calls) = &*database.0.lock().expect("no panic");
    println!(
        "{} rows in {} calls, the largest of {:?}; {} retries",
        rows.len(),
        calls.len(),
        calls.iter().max(),
        consumer.metrics().retried
    );
    Ok(())
}
