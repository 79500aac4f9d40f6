//! What fails is tried again, then waits in retry topics, then is written to the dead-letter topic with its reasons; when what failed is mended, it
//! is replayed. On the embedded broker.
//!
//! `cargo run --example dead_letters --features broker`

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pat_events::events::email::{EmailDeleted, EmailEventProducer, EmailEvents};
use pat_events::events::{
    ConsumerConfig, DeadLetterFilter, DeadLetters, EventConsumer, EventProducer, HandlerError,
    OnFailure, ProducerConfig, ReplayOptions, RetryPolicy, RetryTopics, each, testing,
};
use pat_events::kafka::{Client, ClientConfig, OffsetReset};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = testing::broker(&["emails", "emails.dlq"]).await;
    let client = Client::lazy(ClientConfig::new(&broker.bootstrap_servers()))?;
    let producer = EventProducer::on(&client, ProducerConfig::new("", "emails"))?;
    for id in ["e-1", "e-2", "e-3"] {
        let event = EmailDeleted {
            email_id: id.into(),
            ..Default::default()
        };
        producer.send_email_deleted(&event).await?;
    }

    let mut config = ConsumerConfig::new("", "emails", "indexer");
    config.auto_offset_reset = OffsetReset::Earliest;
    // Afterwards it waits here, without a place in memory; what has its key waits behind it.
    config.retry_topics = RetryTopics::after([100, 500].map(Duration::from_millis));
    let created = config
        .retry_topics
        .create(&client, "emails", "indexer")
        .await?;
    println!("retry topics: {}", created.join(", "));
    // Each pause is about twice as long as the one before, and holds back the key of its event alone.
    config.retry = RetryPolicy::up_to(3).backoff(Duration::from_millis(20), Duration::from_secs(1));
    config.on_failure = OnFailure::DeadLetter;
    let consumer = EventConsumer::<EmailEvents>::on(&client, config)?;
    let index_is_up = Arc::new(AtomicBool::new(false));
    let is_up = index_is_up.clone();
    let handler = each(move |event: EmailEvents| {
        let fails = !is_up.load(Ordering::Relaxed);
        async move {
            match event {
                EmailEvents::EmailDeleted(event) if fails && event.email_id != "e-1" => {
                    Err(HandlerError::transient("the index does not respond"))
                }
                _ => Ok(()),
            }
        }
    });
    consumer.start(handler).await?;
    until(|| consumer.metrics().dead_lettered == 2).await;
    println!(
        "{} handled, {} retries in place, {} times in a retry topic, 2 given up",
        consumer.metrics().handled,
        consumer.metrics().retried,
        consumer.metrics().sent_to_retry
    );

    let letters = DeadLetters::on(&client, "emails.dlq");
    let show = |record: &pat_events::kafka::RecordView<'_>,
                letter: &pat_events::events::DeadLetter| {
        let key = String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned();
        println!(
            "{key}: {} ({}, {} attempts)",
            letter.message, letter.class, letter.attempts
        );
        ControlFlow::Continue(())
    };
    letters.read(&DeadLetterFilter::default(), show).await?;

    index_is_up.store(true, Ordering::Relaxed);
    let replayed = letters.replay(&ReplayOptions::default()).await?;
    println!("{} of {} replayed", replayed.replayed, replayed.selected);
    until(|| consumer.metrics().handled == 3).await;
    let again = letters.replay(&ReplayOptions::default()).await?;
    println!(
        "a second time: {} of {}, as {} were before",
        again.replayed, again.selected, again.before
    );
    consumer.stop().await?;
    Ok(())
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
