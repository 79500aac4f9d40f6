//! The broker goes away and comes back while orders come in, one each second: what the service's log, metrics and health said, second by second.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pat_events::kafka::observe::{ClientEvent, Observer, Severity};
use tokio::time::{Instant, sleep_until};

use super::*;

/// How long the broker is away, unless it is said otherwise.
const AWAY: u64 = 4;
/// How long is looked at before that; and behind it, at the least.
const BEFORE: u64 = 3;
const BEHIND: u64 = 5;
const SECOND: Duration = Duration::from_secs(1);

/// The service's log: a line for each thing that its client tells.
#[derive(Debug, Default)]
struct Log(Mutex<Vec<String>>);

impl Observer for Log {
    fn on_event(&self, event: &ClientEvent<'_>) {
        if event.severity() >= Severity::Info {
            self.0.lock().expect("lock").push(event.to_string());
        }
    }
}

/// What was seen in one second.
struct Row {
    second: u64,
    broker: &'static str,
    health: (u16, String),
    /// Orders sent, and answered, so far.
    orders: (usize, usize),
    handled: f64,
    lag: f64,
    failed_connects: f64,
    log: Vec<String>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            second,
            broker,
            health: (status, text),
            orders: (sent, answered),
            handled,
            lag,
            failed_connects,
            log,
        } = self;
        let text = text.trim_end().replace('\n', "; ");
        write!(
            f,
            "| {second} | {broker} | {status} {text} | {sent} / {answered} | {handled} | {lag} | {failed_connects} |"
        )?;
        match &log[..] {
            [] => f.write_str(" |"),
            [line] => write!(f, " {line} |"),
            [line, more @ ..] => write!(f, " {line} (and {} lines more) |", more.len()),
        }
    }
}

#[tokio::test]
async fn an_outage_of_the_broker_is_told_while_it_lasts_and_loses_nothing() {
    let away = std::env::var("OUTAGE_SECONDS").ok();
    let away = away.map_or(AWAY, |text| text.parse().expect("a number of seconds"));
    let broker = testing::broker(&["orders", "orders.dlq"]).await;
    let node = broker.node_ids()[0];
    let log = Arc::new(Log::default());
    let service = Service::start(&broker, |config| config.observer = Some(log.clone())).await;
    let admin = service.admin.local_addr();
    let answered = Arc::new(AtomicUsize::new(0));
    let (mut orders, mut rows) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    for second in 0..BEFORE + away + BEHIND {
        sleep_until(begun + SECOND * u32::try_from(second).expect("not so long")).await;
        let broker_is = match second {
            _ if second < BEFORE => "there",
            _ if second < BEFORE + away => "away",
            _ => "back",
        };
        if second == BEFORE {
            broker.stop_node(node).await;
        } else if second == BEFORE + away {
            broker.start_node(node).await.expect("its port is free");
        }
        let (address, answered_by) = (service.orders, answered.clone());
        orders.push(tokio::spawn(async move {
            let (status, _) = ask(address, "POST", &format!("/orders/order-{second}/100")).await;
            answered_by.fetch_add(1, Ordering::Relaxed);
            status
        }));
        // What there is to see of this second.
        sleep_until(begun + SECOND * second as u32 + SECOND * 9 / 10).await;
        let connects = service.metrics.snapshot();
        let connects = connects.metric("pat_events.broker.connects").into_iter();
        let failed = connects.flat_map(|metric| metric.points()).filter(|point| {
            let mut attributes = point.attributes.iter();
            attributes.any(|(name, _)| *name == "error.type")
        });
        let failed = failed.map(|point| match point.value {
            Value::Count(count) => *count as f64,
            _ => 0.0,
        });
        rows.push(Row {
            second,
            broker: broker_is,
            health: ask(admin, "GET", "/health").await,
            orders: (orders.len(), answered.load(Ordering::Relaxed)),
            handled: service.total("pat_events.handler.handled").unwrap_or(0.0),
            lag: service.total("pat_events.handler.lag").unwrap_or(0.0),
            failed_connects: failed.sum(),
            log: std::mem::take(&mut *log.0.lock().expect("lock")),
        });
    }
    println!(
        "| s | broker | health | orders sent / answered | handled | lag | failed connects | log |"
    );
    println!("|--:|---|---|--:|--:|--:|--:|---|");
    rows.iter().for_each(|row| println!("{row}"));

    let sent = orders.len();
    for order in orders {
        let status = timeout(PATIENCE, order).await.expect("in time");
        assert_eq!(status.expect("no panic"), 202, "nothing is lost");
    }
    service
        .until("pat_events.handler.handled", sent as f64)
        .await;
    let healthy = async {
        while ask(admin, "GET", "/health").await.0 != 200 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, healthy).await.expect("well again");
    let said = |broker: &str, status: u16| {
        let mut rows = rows.iter().filter(|row| row.broker == broker);
        rows.any(|row| row.health.0 == status)
    };
    assert!(said("there", 200) && !said("there", 503));
    assert!(said("away", 503), "it is told");
    let is_told = |row: &Row| row.broker == "away" && !row.log.is_empty();
    assert!(rows.iter().any(is_told), "in the log, too");
    service.stop().await;
}
