//! Events in Avro through a registry of schemas: registered when they are sent first, and found by the id in front of each value when they are
//! read. `registry URL` uses a registry that speaks Confluent's API; without it one that the tests have stands in.
//!
//! `cargo run --example registry --features broker,avro,registry`

#[path = "../tests/registry/stand_in.rs"]
#[allow(dead_code)]
mod stand_in;

use pat_events::events::codec::{Avro, Confluent, RegistryConfig, SubjectNameStrategy};
use pat_events::events::email::EmailDeleted;
use pat_events::events::{
    ConsumerConfig, EventConsumer, EventProducer, ProducerConfig, each, event_set, testing,
};
use pat_events::kafka::{Client, ClientConfig, OffsetReset};
use stand_in::StandIn;
use tokio::sync::mpsc;

event_set! {
    enum Mails, producer SendMails, handler HandleMails, codec Confluent<Avro> { EmailDeleted; }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let own = StandIn::start().await;
    let mut config = RegistryConfig::new(&std::env::args().nth(1).unwrap_or(own.url()));
    // Off unless asked for: in production whoever releases an event registers its schema (`pat-events schema register`).
    config.auto_register = true;
    config.subject_name_strategy = SubjectNameStrategy::TopicRecord;
    let codec = || Confluent::new(Avro, config.clone());

    let broker = testing::broker(&["mails"]).await;
    let client = Client::lazy(ClientConfig::new(&broker.bootstrap_servers()))?;
    let producer =
        EventProducer::with_codec_on(&client, ProducerConfig::new("", "mails"), codec()?)?;
    for id in ["e-1", "e-2", "e-3"] {
        let event = EmailDeleted {
            email_id: id.into(),
            ..Default::default()
        };
        producer.send_email_deleted(&event).await?;
    }
    let mut reading = ConsumerConfig::new("", "mails", "registry");
    reading.auto_offset_reset = OffsetReset::Earliest;
    let consumer = EventConsumer::<Mails>::with_codec_on(&client, reading, codec()?)?;
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = each(move |Mails::EmailDeleted(event): Mails| {
        let _ = tell.send(event.email_id);
        async { Ok(()) }
    });
    let three = async {
        for _ in 0..3 {
            println!("read {:?}", told.recv().await);
        }
    };
    consumer.run_until(handler, three).await?;
    for request in own.requests() {
        println!(
            "the registry was asked: {}",
            request.lines().next().unwrap_or_default()
        );
    }
    Ok(())
}
