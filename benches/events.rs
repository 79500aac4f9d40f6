//! What the typed layer costs per event: encoding one, reading and dispatching one, and all of it between producer and handler on an
//! embedded broker. `cargo bench --bench events`.

#[path = "support/email.rs"]
mod sample;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use divan::Bencher;
use divan::counter::ItemsCount;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use pat_events::broker::Broker;
use pat_events::events::codec::Protobuf;
use pat_events::events::email::*;
use pat_events::events::observe::Tracer;
use pat_events::events::prost::Message;
use pat_events::events::{
    ConsumerConfig, Context, Dispatch, Encode, Event, EventConsumer, EventProducer, HandlerError,
    ProducerConfig, RawHeaders, RawRecord,
};
use pat_events::kafka::OffsetReset;
use sample::email;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

fn main() {
    divan::main();
}

/// Counts, and tells when it has counted enough.
#[derive(Default)]
struct Count {
    left: AtomicUsize,
    done: Notify,
}

#[derive(Clone)]
struct Counting(Arc<Count>);

impl Counting {
    async fn count(&self) -> Result<(), HandlerError> {
        if self.0.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.done.notify_one();
        }
        Ok(())
    }
}

macro_rules! counts {
    ($($handle:ident: $event:ty),+) => {
        impl EmailEventHandler for Counting {
            $(async fn $handle(&self, _: &Context<'_>, event: $event) -> Result<(), HandlerError> {
                divan::black_box(event);
                self.count().await
            })+
        }
    };
}

counts! {
    handle_email_received: EmailReceived, handle_email_processed: EmailProcessed, handle_email_validated: EmailValidated,
    handle_workflow_triggered: WorkflowTriggered, handle_plugin_execution_required: PluginExecutionRequired,
    handle_plugin_execution_completed: PluginExecutionCompleted, handle_email_deleted: EmailDeleted, handle_tenant_event: TenantEvent
}

#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let event = email(1);
    let mut out = vec![0; event.encoded_len()];
    let runtime = Runtime::new().expect("a runtime");
    bencher.counter(ItemsCount::new(100usize)).bench_local(|| {
        runtime.block_on(async {
            for _ in 0..100 {
                let len = Encode::prepare(&event, &Protobuf, "emails").await;
                let len = len.expect("Protobuf takes every message");
                Encode::write(&event, &Protobuf, &len, &mut out[..len]);
            }
        });
    });
}

#[divan::bench]
fn dispatch(bencher: Bencher<'_, '_>) {
    let runtime = Runtime::new().expect("a runtime");
    let event = email(1);
    let value = event.encode_to_vec();
    let headers = [
        ("ce_specversion", Some(&b"1.0"[..])),
        ("ce_type", Some(EmailReceived::TYPE.as_bytes())),
        ("ce_id", Some(b"01a209f2-1dd1-7af4-afd1-771b6e772407")),
        ("ce_source", Some(b"pat-events")),
        ("ce_time", Some(b"2026-11-23T19:46:32.017Z")),
        ("content-type", Some(b"application/protobuf")),
    ];
    let mut record = RawRecord::new("emails", 0, 7);
    record.value = Some(&value);
    record.headers = RawHeaders::new(&headers);
    let handler = Counting(Arc::default());
    bencher.counter(ItemsCount::new(100usize)).bench_local(|| {
        runtime.block_on(async {
            for _ in 0..100 {
                let dispatched = EmailEvents::dispatch(
                    &handler,
                    &Protobuf,
                    &Context::new(divan::black_box(record)),
                )
                .await;
                assert!(dispatched.result.is_ok());
            }
        });
    });
}

/// How many of the traces are recorded.
#[derive(Clone, Copy, Debug)]
enum Traced {
    /// There is no tracer.
    Off,
    Nothing,
    OnePercent,
    All,
}

impl Traced {
    fn tracer(self) -> Option<Tracer> {
        let sampler = match self {
            Self::Off => return None,
            Self::Nothing => Sampler::AlwaysOff,
            Self::OnePercent => Sampler::TraceIdRatioBased(0.01),
            Self::All => Sampler::AlwaysOn,
        };
        let sampler = Sampler::ParentBased(Box::new(sampler));
        let provider = SdkTracerProvider::builder().with_sampler(sampler).build();
        Some(Tracer::new(&provider))
    }
}

/// From the producer through the embedded broker to the handler: all three in this process.
#[divan::bench(sample_count = 3, sample_size = 1, args = [Traced::Off, Traced::Nothing, Traced::OnePercent, Traced::All])]
fn end_to_end(bencher: Bencher<'_, '_>, traced: Traced) {
    const EVENTS: usize = 200_000;
    let runtime = Runtime::new().expect("a runtime");
    let events: Vec<EmailReceived> = (0..1_000).map(email).collect();
    bencher
        .counter(ItemsCount::new(EVENTS))
        .bench_local(|| runtime.block_on(run(&events, EVENTS, traced)));
}

async fn run(events: &[EmailReceived], count: usize, traced: Traced) {
    let broker = Broker::builder()
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a broker");
    broker.create_topic("emails", 6).expect("a new topic");
    let brokers = broker.bootstrap_servers();
    let mut config = ConsumerConfig::new(&brokers, "emails", "bench");
    config.auto_offset_reset = OffsetReset::Earliest;
    config.tracer = traced.tracer();
    let handler = Counting(Arc::default());
    handler.0.left.store(count, Ordering::Relaxed);
    let consumer = EventConsumer::<EmailEvents>::new(config).expect("good");
    consumer.start(handler.clone()).await.expect("started");
    let mut config = ProducerConfig::new(&brokers, "emails");
    config.tracer = traced.tracer();
    let producer = EventProducer::connect(config).await.expect("connected");
    for event in events.iter().cycle().take(count) {
        drop(producer.enqueue(event).await.expect("accepted"));
    }
    producer.flush().await.expect("delivered");
    handler.0.done.notified().await;
    consumer.close().await.expect("stopped well");
    broker.shutdown().await;
}
