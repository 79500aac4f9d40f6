//! The same event in Protobuf, Avro and JSON: a set names its codec, and everything else stays as it is. On the embedded broker.
//!
//! `cargo run --example formats --features broker,avro,json`

use std::future::{Ready, ready};
use std::time::Duration;

use pat_events::events::codec::{Avro, Json};
use pat_events::events::email::EmailDeleted;
use pat_events::events::{
    ConsumerConfig, Dispatch, Each, Encode, EventConsumer, EventProducer, EventSet, HandlerError,
    ProducerConfig, each, event_set, testing,
};
use pat_events::kafka::{Client, ClientConfig, OffsetReset, StartOffset, TopicPartition};
use tokio::sync::mpsc;

event_set! { enum Mails, producer SendMails, handler HandleMails { EmailDeleted; } }
event_set! { enum AvroMails, producer SendAvroMails, handler HandleAvroMails, codec Avro { EmailDeleted; } }
event_set! { enum JsonMails, producer SendJsonMails, handler HandleJsonMails, codec Json { EmailDeleted; } }

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
type Handler<S> =
    Each<Box<dyn Fn(S) -> Ready<std::result::Result<(), HandlerError>> + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let broker = testing::broker(&["protobuf", "avro", "json"]).await;
    let client = Client::lazy(ClientConfig::new(&broker.bootstrap_servers()))?;
    there_and_back::<Mails>(&client, "protobuf").await?;
    there_and_back::<AvroMails>(&client, "avro").await?;
    there_and_back::<JsonMails>(&client, "json").await?;
    Ok(())
}

/// Sends an event, shows its record, and reads it again.
async fn there_and_back<S>(client: &Client, topic: &str) -> Result<()>
where
    S: EventSet<Codec: Default> + Dispatch<Handler<S>> + std::fmt::Debug + Send,
    EmailDeleted: Encode<S::Codec>,
{
    let config = ProducerConfig::new("", topic);
    let producer = EventProducer::with_codec_on(client, config, S::Codec::default())?;
    let event = EmailDeleted {
        email_id: "e-1".into(),
        tenant_id: "acme".into(),
        ..Default::default()
    };
    let written = producer.send(&event).await?;

    let mut raw = client.consumer(pat_events::kafka::ConsumerConfig::default())?;
    let partition = TopicPartition::new(topic, written.partition);
    raw.assign(&[(partition, StartOffset::Earliest)]).await?;
    let records = raw.poll(Duration::from_secs(10)).await?;
    let record = records.iter().next().ok_or("no record")?;
    let value = record.value.unwrap_or_default();
    let content_type = record
        .headers
        .iter()
        .find(|header| header.key == "content-type");
    let content_type = content_type
        .and_then(|header| header.value)
        .unwrap_or_default();
    println!(
        "{}: {} bytes, {:?}",
        String::from_utf8_lossy(content_type),
        value.len(),
        String::from_utf8_lossy(value)
    );

    let mut config = ConsumerConfig::new("", topic, "formats");
    config.auto_offset_reset = OffsetReset::Earliest;
    let consumer = EventConsumer::<S>::on(client, config)?;
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler: Handler<S> = each(Box::new(move |event| {
        let _ = tell.send(event);
        ready(Ok(()))
    }) as Box<_>);
    consumer
        .run_until(handler, async { println!("  {:?}", told.recv().await) })
        .await?;
    Ok(())
}
