//! An outbox that lasts: what an order is, and the event that tells of it, are written in one transaction; a relay sends what waits. The
//! program dies between the two, and the next one sends what the first did not. On the embedded broker.
//!
//! `cargo run --example outbox --features broker`
//!
//! The store is redb, a database in one file that is Rust alone: `cargo test` builds every example, and SQLite would have it compile C. The trait
//! asks for no more than a table that is read in order and deleted from. In SQL `waiting` is `SELECT … FROM outbox ORDER BY id LIMIT ?`, and
//! `remove` is `DELETE FROM outbox WHERE id IN (…)`.

use std::path::Path;
use std::time::Duration;

use pat_events::events::email::{EmailDeleted, EmailEvents};
use pat_events::events::{
    ConsumerConfig, EventConsumer, EventProducer, Outbox, OutboxEvent, ProducerConfig, each,
    testing,
};
use pat_events::kafka::{Client, ClientConfig, OffsetReset};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::mpsc;

const DELETED: TableDefinition<'_, &str, ()> = TableDefinition::new("deleted");
/// Topic, key, value, headers, time. The numbers only grow.
const OUTBOX: TableDefinition<'_, u64, Row> = TableDefinition::new("outbox");
type Row = (
    String,
    Option<Vec<u8>>,
    Vec<u8>,
    Vec<(String, Vec<u8>)>,
    i64,
);

struct Store(Database);

impl Store {
    fn open(path: &Path) -> Result<Self, redb::Error> {
        let store = Self(Database::create(path)?);
        let begun = store.0.begin_write()?;
        begun.open_table(DELETED)?;
        begun.open_table(OUTBOX)?;
        begun.commit()?;
        Ok(store)
    }

    /// What the application does, and what it says of that: both or neither.
    fn delete_email(&self, id: &str, event: OutboxEvent) -> Result<(), redb::Error> {
        let begun = self.0.begin_write()?;
        begun.open_table(DELETED)?.insert(id, ())?;
        {
            let mut outbox = begun.open_table(OUTBOX)?;
            let next = outbox.last()?.map_or(0, |(last, _)| last.value() + 1);
            let OutboxEvent {
                topic,
                key,
                value,
                headers,
                timestamp_ms,
                ..
            } = event;
            outbox.insert(next, (topic, key, value, headers, timestamp_ms))?;
        }
        begun.commit()?;
        Ok(())
    }
}

// A real one does this where blocking harms nobody: `tokio::task::spawn_blocking`.
impl Outbox for Store {
    type Id = u64;
    type Error = redb::Error;

    async fn waiting(&self, most: usize) -> Result<Vec<(u64, OutboxEvent)>, redb::Error> {
        let outbox = self.0.begin_read()?.open_table(OUTBOX)?;
        let rows = outbox.iter()?.take(most).map(|row| {
            let (id, row) = row?;
            let (topic, key, value, headers, timestamp_ms) = row.value();
            Ok((
                id.value(),
                OutboxEvent::new(topic, key, value, headers, timestamp_ms),
            ))
        });
        rows.collect()
    }

    async fn remove(&self, sent: &[u64]) -> Result<(), redb::Error> {
        let begun = self.0.begin_write()?;
        {
            let mut outbox = begun.open_table(OUTBOX)?;
            for id in sent {
                outbox.remove(id)?;
            }
        }
        begun.commit()?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::temp_dir().join(format!("outbox-{}.redb", std::process::id()));
    let broker = testing::broker(&["emails"]).await;
    let client = Client::lazy(ClientConfig::new(&broker.bootstrap_servers()))?;
    let producer = EventProducer::on(&client, ProducerConfig::new("", "emails"))?;
    {
        let store = Store::open(&file)?;
        for id in ["e-1", "e-2", "e-1", "e-3"] {
            let event = EmailDeleted {
                email_id: id.into(),
                ..Default::default()
            };
            store.delete_email(id, producer.encode(&event).await?)?;
        }
    } // here the program dies

    let store = Store::open(&file)?;
    // In a service again and again, with a pause; after an error, too.
    println!("{} sent", producer.relay(&store, 100).await?);
    println!("{} wait", store.waiting(1).await?.len());
    std::fs::remove_file(&file)?;

    let mut config = ConsumerConfig::new("", "emails", "outbox");
    config.auto_offset_reset = OffsetReset::Earliest;
    let consumer = EventConsumer::<EmailEvents>::on(&client, config)?;
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = each(move |event: EmailEvents| {
        let _ = tell.send(event);
        async { Ok(()) }
    });
    let four = async {
        for _ in 0..4 {
            let event = tokio::time::timeout(Duration::from_secs(10), told.recv()).await;
            println!("{event:?}");
        }
    };
    consumer.run_until(handler, four).await?;
    Ok(())
}
