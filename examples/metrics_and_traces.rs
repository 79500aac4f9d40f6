//! What a service shows of itself: metrics for Prometheus over HTTP, and the spans of one event, from whoever sends it to whoever handles it
//! at the second attempt. On the embedded broker; spans go to the standard output, where a service has an exporter of OpenTelemetry's.
//!
//! `cargo run --example metrics_and_traces --features broker,otel,prometheus`

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use pat_events::events::email::{EmailDeleted, EmailEventProducer, EmailEvents};
use pat_events::events::observe::Tracer;
use pat_events::events::{
    ConsumerConfig, EventConsumer, EventProducer, HandlerError, ProducerConfig, RetryPolicy, each,
    testing,
};
use pat_events::kafka::observe::PrometheusServer;
use pat_events::kafka::{Client, ClientConfig, OffsetReset};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Debug)]
struct Print;

impl SpanExporter for Print {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        for span in batch {
            let context = &span.span_context;
            println!(
                "span {} of trace {}: {} (parent {}, {:?})",
                context.span_id(),
                context.trace_id(),
                span.name,
                span.parent_span_id,
                span.status
            );
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = testing::broker(&["emails"]).await;
    let config = ClientConfig::new(&broker.bootstrap_servers());
    let prometheus = PrometheusServer::bind("127.0.0.1:0", &config.metrics).await?;
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(Print)
        .build();
    let tracer = Tracer::new(&provider);

    let client = Client::lazy(config)?;
    let mut config = ProducerConfig::new("", "emails");
    config.tracer = Some(tracer.clone());
    let producer = EventProducer::on(&client, config)?;
    let event = EmailDeleted {
        email_id: "e-1".into(),
        tenant_id: "acme".into(),
        ..Default::default()
    };
    producer.send_email_deleted(&event).await?;

    let mut config = ConsumerConfig::new("", "emails", "indexer");
    config.auto_offset_reset = OffsetReset::Earliest;
    config.retry = RetryPolicy::up_to(3).backoff(Duration::from_millis(10), Duration::from_secs(1));
    config.tracer = Some(tracer);
    let consumer = EventConsumer::<EmailEvents>::on(&client, config)?;
    let is_second = AtomicBool::new(false);
    let handler = each(move |_: EmailEvents| {
        let result = match is_second.swap(true, Ordering::Relaxed) {
            true => Ok(()),
            false => Err(HandlerError::transient("the index does not respond")),
        };
        async { result }
    });
    let handled = async {
        while consumer.metrics().handled == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        scrape(&prometheus).await
    };
    let mut text = String::new();
    consumer
        .run_until(handler, async { text = handled.await.unwrap_or_default() })
        .await?;
    let lines = text
        .lines()
        .filter(|line| line.contains("handler") && !line.ends_with(" 0"));
    lines.for_each(|line| println!("{line}"));
    provider.shutdown()?;
    Ok(())
}

/// As Prometheus does.
async fn scrape(server: &PrometheusServer) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server.local_addr()).await?;
    let request = "GET /metrics HTTP/1.1\r\nhost: service\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}
