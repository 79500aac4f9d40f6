//! One tenant sends a hundred times as much as each other: how long the events of the others take, without it, beside it, and beside it with
//! a limit. On the embedded broker, in real time: `tenants ROUNDS`, each of which takes a tenth of a second three times, and 15 unless it says so.
//!
//! `cargo run --release --example tenants --features broker -- 100`

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pat_events::broker::Broker;
use pat_events::events::{
    ConsumerConfig, Context, EventConsumer, EventProducer, HandlerError, ProducerConfig,
    TenantLimits, Tenants, event_set, prost,
};
use pat_events::kafka::OffsetReset;
use tokio::time::{sleep, sleep_until};

/// How long a handler takes, and how many there are.
const WORK: Duration = Duration::from_millis(2);
const WORKERS: usize = 4;
/// How many tenants send one event in this time, and how many events the other one sends, at once.
const PAUSE: Duration = Duration::from_millis(100);
const QUIET: u32 = 9;
const FLOOD: u32 = 100;

/// A mail that was counted.
#[derive(Clone, PartialEq, prost::Message)]
struct MailCounted {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    tenant: String,
    /// In microseconds since the start.
    #[prost(uint64, tag = "3")]
    sent_us: u64,
}

event_set! {
    /// What the tenants send.
    enum Mails, producer MailProducer, handler MailHandler {
        MailCounted: type = "example.MailCounted", key = id, tenant = tenant;
    }
}

struct Lags {
    begun: Instant,
    of_quiet: Arc<Mutex<Vec<Duration>>>,
}

impl MailHandler for Lags {
    async fn handle_mail_counted(
        &self,
        _: &Context<'_>,
        mail: MailCounted,
    ) -> Result<(), HandlerError> {
        sleep(WORK).await;
        if mail.tenant != "flood" {
            let sent = self.begun + Duration::from_micros(mail.sent_us);
            let mut lags = self.of_quiet.lock().expect("no panic");
            lags.push(sent.elapsed());
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenants = Tenants::default();
    let alone = run("without the flood", false, &tenants).await?;
    let beside = run("beside the flood", true, &tenants).await?;
    let mut limits = TenantLimits::default();
    limits.concurrency = Some(WORKERS as u32 - 1);
    tenants.set("flood", limits);
    let limited = run("beside it, limited to all handlers but one", true, &tenants).await?;
    let times = |p99: Duration| p99.as_secs_f64() / alone.as_secs_f64();
    println!(
        "p99 is {:.2} times that without the flood; with the limit {:.2} times",
        times(beside),
        times(limited)
    );
    Ok(())
}

async fn run(
    name: &str,
    floods: bool,
    tenants: &Tenants,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let broker = Broker::builder().start_tcp("127.0.0.1:0").await?;
    broker.create_topic("mails", 3)?;
    let brokers = broker.bootstrap_servers();
    let begun = Instant::now();
    let of_quiet = Arc::new(Mutex::new(Vec::new()));
    let mut config = ConsumerConfig::new(&brokers, "mails", "example");
    config.auto_offset_reset = OffsetReset::Earliest;
    config.concurrency = WORKERS;
    config.tenants = tenants.clone();
    let consumer = EventConsumer::<Mails>::new(config)?;
    let handler = Lags {
        begun,
        of_quiet: of_quiet.clone(),
    };
    consumer.start(handler).await?;
    let producer = EventProducer::connect(ProducerConfig::new(&brokers, "mails")).await?;
    let send = async |tenant: String, number: u32| {
        let mail = MailCounted {
            id: format!("{tenant}/{number}"),
            tenant,
            sent_us: begun.elapsed().as_micros() as u64,
        };
        producer.enqueue(&mail).await.map(drop)
    };
    // Until it has its partitions.
    sleep(Duration::from_secs(1)).await;
    let rounds = std::env::args().nth(1).map_or(Ok(15), |it| it.parse())?;
    for round in 0..rounds {
        let began = tokio::time::Instant::now();
        if floods {
            for number in 0..FLOOD {
                send("flood".to_string(), round * FLOOD + number).await?;
            }
        }
        for tenant in 0..QUIET {
            sleep(PAUSE / (QUIET + 1)).await;
            send(format!("quiet-{tenant}"), round).await?;
        }
        sleep_until(began + PAUSE).await;
    }
    sleep(Duration::from_secs(1)).await;
    consumer.stop().await?;
    let mut lags = std::mem::take(&mut *of_quiet.lock().expect("no panic"));
    lags.sort();
    let at = |percent| lags[lags.len() * percent / 100];
    println!(
        "{name}: {} events of {} tenants, p50 {:?}, p99 {:?}; {} events handled in all",
        lags.len(),
        QUIET,
        at(50),
        at(99),
        consumer.metrics().handled
    );
    Ok(at(99))
}
