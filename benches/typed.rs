//! What a typed event costs its client between the application and the network, in CPU time, with a broker in a process of its own:
//!
//! ```sh
//! pat-events broker --listen 127.0.0.1:19092 &
//! cargo bench --bench typed -- 127.0.0.1:19092
//! ```
//!
//! `traced` is Protobuf with all that an operator turns on: spans of which one in a hundred is sampled, and metrics that are read each second.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "../tests/registry/stand_in.rs"]
#[allow(dead_code)]
mod stand_in;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use pat_events::events::codec::{Avro, Confluent, Protobuf, RegistryConfig, SubjectNameStrategy};
use pat_events::events::email::*;
use pat_events::events::observe::Tracer;
use pat_events::events::prost::Message;
use pat_events::events::prost_types::Timestamp;
use pat_events::events::{
    ConsumerConfig, Context, Dispatch, Encode, EventConsumer, EventProducer, EventSet,
    HandlerError, ProducerConfig, event_set,
};
use pat_events::kafka::observe::PrometheusServer;
use pat_events::kafka::{Client, ClientConfig, NewTopic, OffsetReset};
use stand_in::StandIn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const EVENTS: usize = 1_000_000;
const PARTITIONS: i32 = 6;

event_set! {
    enum Plain, producer SendPlain, handler HandlePlain { EmailReceived; }
}
event_set! {
    enum Registered, producer SendRegistered, handler HandleRegistered, codec Confluent<Protobuf> { EmailReceived; }
}
event_set! {
    enum InAvro, producer SendInAvro, handler HandleInAvro, codec Avro { EmailReceived; }
}

/// Counts, and tells when it has counted enough.
#[derive(Clone, Default)]
struct Counting(Arc<(AtomicUsize, Notify)>);

impl Counting {
    async fn count(&self, event: EmailReceived) -> Result<(), HandlerError> {
        std::hint::black_box(event);
        if self.0.0.fetch_add(1, Ordering::Relaxed) + 1 == EVENTS {
            self.0.1.notify_one();
        }
        Ok(())
    }
}

macro_rules! counts {
    ($($Handler:ident),*) => {
        $(impl $Handler for Counting {
            async fn handle_email_received(&self, _: &Context<'_>, event: EmailReceived) -> Result<(), HandlerError> {
                self.count(event).await
            }
        })*
    };
}

counts!(HandlePlain, HandleRegistered, HandleInAvro);

/// About 270 bytes, on 40,000 keys.
fn event(number: usize) -> EmailReceived {
    let address = |name: &str| EmailAddress {
        address: format!("{name}@example.org"),
        ..Default::default()
    };
    EmailReceived {
        email_id: format!("01a209f2-{number:017}"),
        tenant_id: format!("tenant-{}", number % 100),
        message_id: format!("CAF8Q=yQ0b{number}@mail.example.org"),
        from_address: Some(address("ann")),
        to_addresses: vec![address("bob")],
        subject: format!("Minutes of the meeting on Thursday, {number}"),
        size_bytes: 48_213 + number as u64,
        meta: Some(EventMeta {
            event_id: format!("01a209f2-1dd1-7af4-bfd1-{number:012}"),
            occurred_at: Some(Timestamp {
                seconds: 1_795_463_192,
                nanos: 17_000_000,
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn used() -> Duration {
    cpu::used().expect("CPU time is measured on Linux only")
}

fn told(name: &str, way: &str, before: Duration) {
    let spent = (used() - before).as_secs_f64();
    let (rate, nanos) = (EVENTS as f64 / spent, spent * 1e9 / EVENTS as f64);
    println!("{name:24} {way:4} {rate:12.0} events a CPU-second, {nanos:7.0} ns each");
}

/// Spans that are of no more interest.
#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        std::hint::black_box(batch);
        Ok(())
    }
}

/// One span in a hundred is sampled, by the trace; what belongs to a sampled one always.
fn tracer() -> Tracer {
    let provider = SdkTracerProvider::builder().with_batch_exporter(Nowhere);
    Tracer::new(&provider.build()).ratio_based(0.01)
}

/// Reads the metrics each second, as Prometheus does every ten or so.
async fn read_metrics(server: PrometheusServer) -> std::io::Result<()> {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut stream = TcpStream::connect(server.local_addr()).await?;
        let request = "GET /metrics HTTP/1.1\r\nhost: service\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await?;
        assert!(text.starts_with(b"HTTP/1.1 200"));
    }
}

async fn both_ways<S>(
    brokers: &str,
    name: &str,
    tracer: Option<Tracer>,
    codec: impl Fn() -> S::Codec,
) where
    S: EventSet + Dispatch<Counting>,
    EmailReceived: Encode<S::Codec>,
{
    let topic = format!("typed-{name}-{}", std::process::id()).replace(' ', "-");
    let config = ClientConfig::new(brokers);
    if tracer.is_some() {
        let server = PrometheusServer::bind("127.0.0.1:0", &config.metrics).await;
        tokio::spawn(read_metrics(server.expect("a free port")));
    }
    let client = Client::lazy(config).expect("complete");
    let new = NewTopic::new(&topic, PARTITIONS);
    client.admin().create_topics(&[new]).await.expect("created");
    let events: Vec<EmailReceived> = (0..40_000).map(event).collect();
    let mut config = ProducerConfig::new(brokers, &topic);
    config.tracer = tracer.clone();
    let producer = EventProducer::with_codec_on(&client, config, codec()).expect("complete");
    for event in &events[..6] {
        producer.send(event).await.expect("sent");
    }
    let before = used();
    for (number, event) in events.iter().cycle().take(EVENTS - 6).enumerate() {
        drop(producer.enqueue(event).await.expect("accepted"));
        if number % 1_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    producer.flush().await.expect("delivered");
    told(name, "out", before);
    producer
        .close(Duration::from_secs(10))
        .await
        .expect("closed");

    let mut config = ConsumerConfig::new(brokers, &topic, "typed");
    config.auto_offset_reset = OffsetReset::Earliest;
    config.tracer = tracer;
    let consumer = EventConsumer::<S>::with_codec_on(&client, config, codec()).expect("complete");
    let handler = Counting::default();
    let before = used();
    consumer.start(handler.clone()).await.expect("started");
    handler.0.1.notified().await;
    told(name, "in", before);
    consumer.close().await.expect("closed");
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|it| it != "--bench");
    let Some(brokers) = arguments.next() else {
        return println!("needs the address of a broker: cargo bench --bench typed -- HOST:PORT");
    };
    let only: Vec<String> = arguments.collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|it| it == name);
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        println!("events of {} bytes in Protobuf", event(1).encoded_len());
        if wanted("protobuf") {
            both_ways::<Plain>(&brokers, "protobuf", None, || Protobuf).await;
        }
        if wanted("traced") {
            both_ways::<Plain>(&brokers, "protobuf traced", Some(tracer()), || Protobuf).await;
        }
        if wanted("ids") {
            let registry = StandIn::start().await;
            let mut config = RegistryConfig::new(&registry.url());
            config.auto_register = true;
            config.subject_name_strategy = SubjectNameStrategy::TopicRecord;
            let codec = || Confluent::new(Protobuf, config.clone()).expect("complete");
            both_ways::<Registered>(&brokers, "protobuf with ids", None, codec).await;
        }
        if wanted("avro") {
            both_ways::<InAvro>(&brokers, "avro", None, || Avro).await;
        }
    });
}
