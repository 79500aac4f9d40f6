//! The events of these tests, and a handler that fails as the event says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::events::{
    ConsumerConfig, Context, EventConsumer, EventProducer, HandlerError, OnFailure, ProducerConfig,
    RetryPolicy, event_set, prost,
};
use pat_events::kafka::OffsetReset;
use tokio::time::{sleep, timeout};

pub const TOPIC: &str = "orders";
pub const GROUP: &str = "shop";
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, PartialEq, prost::Message)]
#[prost(prost_path = "prost")]
pub struct OrderPlaced {
    #[prost(string, tag = "1")]
    pub order_id: String,
    /// As many attempts fail as if it could pass.
    #[prost(uint32, tag = "2")]
    pub failures: u32,
    /// No other succeeds.
    #[prost(bool, tag = "3")]
    pub is_poison: bool,
}

impl OrderPlaced {
    pub fn new(order_id: impl Into<String>) -> Self {
        Self {
            order_id: order_id.into(),
            ..Self::default()
        }
    }
}

event_set! {
    /// The life of an order.
    pub enum OrderEvents, producer OrderProducer, handler OrderHandler {
        OrderPlaced: type = "shop.v1.OrderPlaced", key = order_id;
    }
}

/// Counts the attempts that are over.
#[derive(Clone, Default)]
pub struct Shop(pub Arc<AtomicUsize>);

impl OrderHandler for Shop {
    async fn handle_order_placed(
        &self,
        context: &Context<'_>,
        event: OrderPlaced,
    ) -> Result<(), HandlerError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        if context.attempt() <= event.failures {
            return Err(HandlerError::transient("out of stock"));
        }
        match event.is_poison {
            true => Err(HandlerError::poison("nobody sells that")),
            false => Ok(()),
        }
    }
}

impl Shop {
    /// Waits until so many attempts are over.
    pub async fn attempts(&self, count: usize) {
        until(|| self.0.load(Ordering::Relaxed) >= count).await;
    }
}

/// Waits until something holds.
pub async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it comes to that");
}

pub async fn broker() -> Broker {
    let broker = Broker::builder().start_tcp("127.0.0.1:0");
    let broker = broker.await.expect("the embedded broker starts");
    broker.create_topic(TOPIC, 3).expect("a new topic");
    let dead = format!("{TOPIC}.dlq");
    broker.create_topic(&dead, 3).expect("a new topic");
    broker
}

pub async fn producer(broker: &Broker, change: impl FnOnce(&mut ProducerConfig)) -> EventProducer {
    let mut config = ProducerConfig::new(&broker.bootstrap_servers(), TOPIC);
    change(&mut config);
    EventProducer::connect(config).await.expect("connected")
}

pub fn consumer(
    broker: &Broker,
    change: impl FnOnce(&mut ConsumerConfig),
) -> EventConsumer<OrderEvents> {
    let mut config = ConsumerConfig::new(&broker.bootstrap_servers(), TOPIC, GROUP);
    config.auto_offset_reset = OffsetReset::Earliest;
    config.on_failure = OnFailure::DeadLetter;
    let (first, longest) = (Duration::from_millis(1), Duration::from_millis(5));
    config.retry = RetryPolicy::up_to(3).backoff(first, longest);
    change(&mut config);
    EventConsumer::new(config).expect("a good configuration")
}
