//! How an application tests its events: what it sends, without a broker; its handlers, without a broker; and all of it together, on one that
//! lives as long as the test. In tests each of these is a `#[tokio::test]`.
//!
//! `cargo run --example testing --features broker`

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pat_events::events::email::{EmailDeleted, EmailEventProducer, EmailEvents};
use pat_events::events::testing::{self, Recorder};
use pat_events::events::{
    ConsumerConfig, EventConsumer, EventProducer, FailureClass, HandlerError, ProducerConfig, each,
};
use pat_events::kafka::{Client, ClientConfig, ErrorKind, OffsetReset};

/// The code under test: it takes whatever sends email events.
async fn delete(id: &str, events: &impl EmailEventProducer) -> pat_events::kafka::Result<()> {
    let event = EmailDeleted {
        email_id: id.into(),
        ..Default::default()
    };
    events.send_email_deleted(&event).await.map(drop)
}

/// And its handler.
static DELETED: AtomicU64 = AtomicU64::new(0);

async fn count(event: EmailEvents) -> Result<(), HandlerError> {
    match event {
        EmailEvents::EmailDeleted(event) if event.email_id.is_empty() => {
            Err(HandlerError::poison("deleted what?"))
        }
        EmailEvents::EmailDeleted(_) => {
            DELETED.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn what_is_sent() {
    let events = Recorder::<EmailEvents>::default();
    delete("e-1", &events).await.expect("taken");
    assert!(
        matches!(&events.take()[..], [EmailEvents::EmailDeleted(event)] if event.email_id == "e-1")
    );
    events.fail_with(Some(ErrorKind::Timeout));
    let error = delete("e-2", &events).await.expect_err("nothing takes it");
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

async fn what_a_handler_does() {
    let nameless = testing::handle::<EmailEvents, _>(&each(count), EmailDeleted::default()).await;
    assert_eq!(
        nameless.expect_err("refused").class(),
        Some(FailureClass::Poison)
    );
}

async fn all_of_it() -> Result<(), Box<dyn std::error::Error>> {
    let broker = testing::broker(&["emails"]).await;
    let client = Client::lazy(ClientConfig::new(&broker.bootstrap_servers()))?;
    let producer = EventProducer::on(&client, ProducerConfig::new("", "emails"))?;
    delete("e-1", &producer).await?;
    let mut config = ConsumerConfig::new("", "emails", "counter");
    config.auto_offset_reset = OffsetReset::Earliest;
    let consumer = EventConsumer::<EmailEvents>::on(&client, config)?;
    let counted = async {
        while DELETED.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    consumer.run_until(each(count), counted).await?;
    let partitions = (0..3).filter_map(|it| broker.committed_offset("counter", "emails", it));
    assert_eq!(partitions.sum::<i64>(), 1, "what was handled is committed");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    what_is_sent().await;
    what_a_handler_does().await;
    all_of_it().await?;
    println!("all is well");
    Ok(())
}
