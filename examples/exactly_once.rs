//! Orders in, invoices out, each order invoiced exactly once: what is read, what is written and the offsets are one transaction. An order that
//! cannot be invoiced is a dead letter, in the same transaction. On the embedded broker.
//!
//! `cargo run --example exactly_once --features broker`

use std::error::Error;
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::events::codec::Protobuf;
use pat_events::events::{
    Context, EventOutputs, EventTransform, ExactlyOnceConfig, HandlerError, OnFailure,
    ProducerConfig, TransactionalEventProducer, event_set, exactly_once, prost,
};
use pat_events::kafka::{
    Consumer, ConsumerConfig, IsolationLevel, OffsetReset, StartOffset, TopicPartition,
};

/// Somebody has ordered something.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(prost_path = "prost")]
pub struct OrderPlaced {
    /// Which order.
    #[prost(string, tag = "1")]
    pub order_id: String,
    /// What it costs.
    #[prost(uint64, tag = "2")]
    pub cents: u64,
}

/// The order has its invoice.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(prost_path = "prost")]
pub struct InvoiceIssued {
    /// Which order.
    #[prost(string, tag = "1")]
    pub order_id: String,
    /// What is to be paid.
    #[prost(uint64, tag = "2")]
    pub cents: u64,
}

event_set! {
    /// What is read.
    pub enum Orders, producer OrderProducer, handler OrderHandler {
        OrderPlaced: type = "shop.v1.OrderPlaced", key = order_id;
    }
}

event_set! {
    /// What is written.
    pub enum Invoices, producer InvoiceProducer, handler InvoiceHandler {
        InvoiceIssued: type = "shop.v1.InvoiceIssued", key = order_id;
    }
}

/// Issues invoices.
struct Billing;

impl EventTransform<Orders, Protobuf> for Billing {
    async fn transform(
        &mut self,
        _: &Context<'_>,
        event: Orders,
        outputs: &mut EventOutputs<'_, Protobuf>,
    ) -> Result<(), HandlerError> {
        let Orders::OrderPlaced(order) = event;
        if order.cents == 0 {
            return Err(HandlerError::poison("an order of nothing"));
        }
        let invoice = InvoiceIssued {
            order_id: order.order_id,
            cents: order.cents,
        };
        outputs.send(&invoice).await?;
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().start_tcp("127.0.0.1:0").await?;
    for topic in ["orders", "invoices", "orders.dlq"] {
        broker.create_topic(topic, 3)?;
    }
    let brokers = broker.bootstrap_servers();

    // A hundred orders, placed together or not at all.
    let config = ProducerConfig::new(&brokers, "orders");
    let mut producer = TransactionalEventProducer::connect(config, "shop-1").await?;
    let transaction = producer.begin().await?;
    for n in 0..100 {
        let order = OrderPlaced {
            order_id: format!("o-{n}"),
            cents: n * 100,
        };
        // The commit fails unless all are written.
        let _delivery = transaction.enqueue(&order).await?;
    }
    transaction.commit().await?;

    // The loop: begin to end in one call, here until the invoices are there.
    let mut config =
        ExactlyOnceConfig::new(&brokers, &["orders"], "billing", "invoices", "billing-1");
    config.kafka.consumer.auto_offset_reset = OffsetReset::Earliest;
    config.on_failure = OnFailure::DeadLetter;
    let mut billing = Billing;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let bill = exactly_once::<Orders, _, _>(config, Protobuf, &mut billing, async {
        let _ = stopped.await;
    });
    let watch = async {
        let invoices = count(&brokers, "invoices", 99).await;
        let dead = count(&brokers, "orders.dlq", 1).await;
        drop(stop);
        (invoices, dead)
    };
    let limit = Duration::from_secs(60);
    let (done, counted) = tokio::time::timeout(limit, async { tokio::join!(bill, watch) }).await?;
    let (invoices, dead) = counted;
    let (invoices, dead) = (invoices?, dead?);
    let done = done?;
    println!(
        "{} orders, transactions {}: {invoices} invoices, {dead} dead letter",
        done.records, done.committed
    );
    assert_eq!((done.records, invoices, dead), (100, 99, 1));
    producer.close(Duration::from_secs(5)).await?;
    Ok(())
}

/// How many records a reader of what is committed finds in the topic, once there are `least`.
async fn count(brokers: &str, topic: &str, least: usize) -> Result<usize, Box<dyn Error>> {
    let mut config = ConsumerConfig::default();
    config.client.bootstrap_servers = vec![brokers.to_owned()];
    config.isolation_level = IsolationLevel::ReadCommitted;
    let mut reader = Consumer::connect(config).await?;
    let starts: Vec<_> = (0..3)
        .map(|partition| (TopicPartition::new(topic, partition), StartOffset::Earliest))
        .collect();
    reader.assign(&starts).await?;
    let mut found = 0;
    while found < least {
        found += reader.poll(Duration::from_millis(200)).await?.count();
    }
    Ok(found + reader.poll(Duration::from_millis(200)).await?.count())
}
