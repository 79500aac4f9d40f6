//! Tenants beside each other: whoever floods a topic, the events of the others come through as before.

use std::sync::Arc;

use super::*;
use crate::events::{TenantFilter, TenantLimits, Tenants};
use crate::kafka::runtime::Mutex;

/// How long a handler takes.
const WORK: Duration = Duration::from_millis(2);
/// How many tenants have few events, one each in so much time.
const QUIET: u32 = 9;
const PAUSE: Duration = Duration::from_millis(100);
/// How many events the other one sends in that time, at once.
const FLOOD: u32 = 100;
const ROUNDS: u32 = 100;
const WORKERS: usize = 4;

/// Notes how long each event of a quiet tenant took from when it was sent until it was handled, and how many came in all.
#[derive(Clone)]
struct Notes {
    begun: Instant,
    lags: Arc<Mutex<Vec<Duration>>>,
}

impl DeletionHandler for Notes {
    async fn handle_email_deleted(
        &self,
        context: &Context<'_>,
        event: EmailDeleted,
    ) -> Result<(), HandlerError> {
        sleep(WORK).await;
        let tenant = context.cloud_event()?.tenant_id;
        if tenant != Some("flood") {
            let sent: u64 = event
                .email_id
                .split('/')
                .next()
                .unwrap_or_default()
                .parse()?;
            let sent = self.begun + Duration::from_micros(sent);
            self.lags.lock().push(sent.elapsed());
        }
        Ok(())
    }
}

/// The 99th percentile of the lags of quiet tenants, with or without a flood beside them.
async fn p99(floods: bool, tenants: &Tenants) -> Duration {
    let (_broker, client) = one_broker();
    let notes = Notes {
        begun: Instant::now(),
        lags: Arc::default(),
    };
    let mut config = ConsumerConfig::new("", "t", "g");
    config.brokers.clone_from(&client.bootstrap_servers);
    config.kafka.client = client.clone();
    config.auto_offset_reset = OffsetReset::Earliest;
    config.concurrency = WORKERS;
    config.tenants = tenants.clone();
    let consumer = EventConsumer::<Deletions>::new(config).expect("a good configuration");
    consumer.start(notes.clone()).await.expect("started");
    let mut config = ProducerConfig::new("", "t");
    config.brokers.clone_from(&client.bootstrap_servers);
    config.kafka.client = client;
    let producer = EventProducer::connect(config).await.expect("a producer");
    let send = async |tenant: &str, number: u32| {
        let sent = notes.begun.elapsed().as_micros();
        let event = EmailDeleted {
            email_id: format!("{sent}/{tenant}/{number}"),
            tenant_id: tenant.to_string(),
            ..Default::default()
        };
        drop(producer.enqueue(&event).await.expect("taken"));
    };
    // Until it has its partitions.
    sleep(Duration::from_secs(5)).await;
    for round in 0..ROUNDS {
        let began = Instant::now();
        if floods {
            for number in 0..FLOOD {
                send("flood", number).await;
            }
        }
        for tenant in 0..QUIET {
            sleep(PAUSE / (QUIET + 1)).await;
            send(&format!("quiet-{tenant}"), round).await;
        }
        tokio::time::sleep_until(began + PAUSE).await;
    }
    sleep(Duration::from_secs(5)).await;
    consumer.stop().await.expect("stopped well");
    let metrics = consumer.metrics();
    let all = ROUNDS * (QUIET + if floods { FLOOD } else { 0 });
    assert_eq!(metrics.handled, u64::from(all));
    if floods {
        let busiest = &metrics.tenants[0];
        assert_eq!(busiest.tenant.as_deref(), Some("flood"));
        assert_eq!(busiest.handled, u64::from(ROUNDS * FLOOD));
    }
    let mut lags = std::mem::take(&mut *notes.lags.lock());
    assert_eq!(lags.len(), (ROUNDS * QUIET) as usize);
    lags.sort();
    lags[lags.len() * 99 / 100]
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_sends_a_hundred_times_as_much_does_not_make_the_others_wait() {
    let alone = p99(false, &Tenants::default()).await;
    let beside = p99(true, &Tenants::default()).await;
    assert!(
        beside <= 2 * alone,
        "{beside:?} beside a flood, {alone:?} without"
    );
    // One handler is always there for others.
    let tenants = Tenants::default();
    let limits = TenantLimits {
        concurrency: Some(WORKERS as u32 - 1),
        ..TenantLimits::default()
    };
    tenants.set_default(limits);
    let limited = p99(true, &tenants).await;
    assert!(
        limited <= beside,
        "{limited:?} with a limit, {beside:?} without"
    );
}

#[tokio::test(start_paused = true)]
async fn the_events_of_tenants_that_are_left_out_are_skipped_counted_and_committed() {
    let (broker, client) = one_broker();
    let mut config = ConsumerConfig::new("", "t", "g");
    config.brokers.clone_from(&client.bootstrap_servers);
    config.kafka.client = client.clone();
    config.auto_offset_reset = OffsetReset::Earliest;
    config.tenant_filter = TenantFilter::deny(["other"]);
    config.tenants_named = 1;
    let consumer = EventConsumer::<Deletions>::new(config).expect("a good configuration");
    let (handled, mut events) = mpsc::unbounded_channel();
    consumer.start(Handled(handled)).await.expect("started");
    let mut config = ProducerConfig::new("", "t");
    config.brokers.clone_from(&client.bootstrap_servers);
    config.kafka.client = client;
    let producer = EventProducer::connect(config).await.expect("a producer");
    for (id, tenant) in [
        ("1", "other"),
        ("2", "ours"),
        ("3", "other"),
        ("4", ""),
        ("5", "other"),
    ] {
        let event = EmailDeleted {
            email_id: id.to_string(),
            tenant_id: tenant.to_string(),
            ..Default::default()
        };
        producer.send_email_deleted(&event).await.expect("written");
    }
    let mut seen = [events.recv().await, events.recv().await];
    seen.sort();
    assert_eq!(seen, [Some("2".to_string()), Some("4".to_string())]);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(broker.committed_offset("g", "t", 0), Some(5));
    let metrics = consumer.metrics();
    assert_eq!(
        (metrics.received, metrics.filtered, metrics.handled),
        (5, 3, 2)
    );
    let named: Vec<_> = metrics
        .tenants
        .iter()
        .map(|counts| {
            (
                counts.tenant.as_deref(),
                counts.received,
                counts.skipped,
                counts.handled,
            )
        })
        .collect();
    assert_eq!(named, [(Some("other"), 3, 3, 0), (None, 1, 0, 1)]);
    consumer.stop().await.expect("stopped well");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_handled_at_its_rate_which_may_change_meanwhile() {
    let (_broker, client) = one_broker();
    let tenants = Tenants::default();
    let limit = |per_second| {
        let limits = TenantLimits {
            per_second: Some(per_second),
            ..TenantLimits::default()
        };
        tenants.set("slow", limits);
    };
    limit(10);
    let mut config = ConsumerConfig::new("", "t", "g");
    config.brokers.clone_from(&client.bootstrap_servers);
    config.kafka.client = client.clone();
    config.auto_offset_reset = OffsetReset::Earliest;
    config.tenants = tenants.clone();
    let consumer = EventConsumer::<Deletions>::new(config).expect("a good configuration");
    let (handled, mut events) = mpsc::unbounded_channel();
    let mut config = ProducerConfig::new("", "t");
    config.brokers.clone_from(&client.bootstrap_servers);
    config.kafka.client = client;
    let producer = EventProducer::connect(config).await.expect("a producer");
    for number in 0..300 {
        let event = EmailDeleted {
            email_id: number.to_string(),
            tenant_id: "slow".to_string(),
            ..Default::default()
        };
        producer.send_email_deleted(&event).await.expect("written");
    }
    consumer.start(Handled(handled)).await.expect("started");
    events.recv().await.expect("the first");
    let begun = Instant::now();
    // A second's at once, then ten a second.
    for _ in 1..60 {
        events.recv().await.expect("more");
    }
    let took = begun.elapsed();
    assert!((4_900..5_200).contains(&took.as_millis()), "{took:?}");
    limit(1_000);
    for _ in 60..300 {
        events.recv().await.expect("the rest");
    }
    let took = begun.elapsed() - took;
    assert!(took < Duration::from_secs(2), "{took:?}");
    consumer.stop().await.expect("stopped well");
}
