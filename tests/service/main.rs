//! The service of the tutorial, `examples/service.rs`, as its customers and its operators see it.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `outage` | what it says second by second while its broker is away |
//! | `http` | requests, as simple as they can be |
//!
//! `OUTAGE_SECONDS=60 cargo test --test service outage -- --nocapture` lets the broker be away for so long, instead of a few seconds, and prints the
//! table.

mod http;
mod outage;
#[path = "../../examples/service.rs"]
#[allow(dead_code)] // its main
mod service;

use std::net::SocketAddr;
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::events::testing;
use pat_events::kafka::ClientConfig;
use pat_events::kafka::observe::metrics::Value;
use pat_events::kafka::observe::{Metrics, PrometheusServer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::http::ask;

/// Long enough for a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service, and where it listens.
struct Service {
    orders: SocketAddr,
    admin: PrometheusServer,
    metrics: Metrics,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), String>>,
}

impl Service {
    async fn start(broker: &Broker, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = ClientConfig::new(&broker.bootstrap_servers());
        change(&mut config);
        let metrics = config.metrics.clone();
        let admin = PrometheusServer::bind("127.0.0.1:0", &metrics);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (stop, stopped) = oneshot::channel();
        let service = Self {
            orders: listener.local_addr().expect("it listens"),
            admin: admin.await.expect("a free port"),
            metrics,
            stop,
            running: tokio::spawn(async move {
                let ended = service::run(config, listener, stopped).await;
                ended.map_err(|error| error.to_string())
            }),
        };
        // Until it is at work, it has no lag.
        service.until("pat_events.handler.lag", 0.0).await;
        service
    }

    async fn order(&self, path: &str) -> u16 {
        ask(self.orders, "POST", &format!("/orders/{path}")).await.0
    }

    /// What a metric comes to, all its points together; `None`: it has none.
    fn total(&self, name: &str) -> Option<f64> {
        let snapshot = self.metrics.snapshot();
        let points = snapshot.metric(name)?.points();
        let values = points.map(|point| match point.value {
            Value::Count(count) => *count as f64,
            Value::Number(number) => *number,
            _ => 0.0,
        });
        Some(values.sum())
    }

    async fn until(&self, name: &str, wanted: f64) {
        let reached = async {
            while self.total(name) != Some(wanted) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let reached = timeout(PATIENCE, reached).await;
        reached.unwrap_or_else(|_| panic!("{name} is {:?}", self.total(name)));
    }

    async fn stop(self) {
        self.stop.send(()).expect("it runs");
        let ended = timeout(PATIENCE, self.running).await.expect("in time");
        assert_eq!(ended.expect("no panic"), Ok(()));
    }
}

#[tokio::test]
async fn orders_are_booked_tried_again_or_dead_letters() {
    let broker = testing::broker(&["orders", "orders.dlq"]).await;
    let service = Service::start(&broker, |_| {}).await;
    assert_eq!(ask(service.orders, "GET", "/").await.0, 404);
    for path in ["book/1500", "unlucky/200", "air/0"] {
        assert_eq!(service.order(path).await, 202, "{path}");
    }
    service.until("pat_events.handler.handled", 2.0).await;
    service.until("pat_events.handler.dead_letters", 1.0).await;
    assert_eq!(service.total("pat_events.handler.retries"), Some(2.0));
    let admin = service.admin.local_addr();
    let (status, text) = ask(admin, "GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("pat_events_handler_dead_letters_total"));
    let (status, text) = ask(admin, "GET", "/health").await;
    assert_eq!((status, &*text), (200, "ok\n"));
    service.stop().await;
    let letters = (0..3).filter_map(|partition| broker.log("orders.dlq", partition));
    assert_eq!(letters.map(|log| log.end_offset).sum::<i64>(), 1);
}
