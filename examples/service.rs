//! A service: orders come in over HTTP and go out as events; a handler confirms them, with retries and dead letters; what is measured is shown to
//! Prometheus; SIGTERM stops it gracefully. `service BROKERS` runs against a Kafka until then; without an argument it starts a broker, orders
//! three things from itself, and stops. The tutorial (`events::tutorial`) tells how it comes to be.
//!
//! `cargo run --example service --features broker,prometheus,signals`

use std::time::Duration;

use pat_events::events::{
    ConsumerConfig, Context, EventConsumer, EventProducer, HandlerError, OnFailure, ProducerConfig,
    RetryPolicy, event_set, prost, shutdown_signal, testing,
};
use pat_events::kafka::observe::PrometheusServer;
use pat_events::kafka::{Client, ClientConfig, OffsetReset};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, PartialEq, prost::Message)]
struct OrderPlaced {
    #[prost(string, tag = "1")]
    order_id: String,
    #[prost(uint64, tag = "2")]
    cents: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OrderConfirmed {
    #[prost(string, tag = "1")]
    order_id: String,
}

event_set! {
    enum OrderEvents, producer OrderProducer, handler OrderHandler {
        OrderPlaced: type = "shop.v1.OrderPlaced", key = order_id;
        OrderConfirmed: type = "shop.v1.OrderConfirmed", key = order_id;
    }
}

struct Shop(EventProducer);

impl OrderHandler for Shop {
    async fn handle_order_placed(
        &self,
        context: &Context<'_>,
        order: OrderPlaced,
    ) -> Result<(), HandlerError> {
        if order.cents == 0 {
            return Err(HandlerError::poison("nothing is free")); // to the dead letters at once
        }
        if order.order_id == "unlucky" && context.attempt() < 3 {
            return Err(HandlerError::new("the till is stuck")); // tried again, and later orders of this key wait
        }
        let order_id = order.order_id;
        self.0
            .send_order_confirmed(&OrderConfirmed { order_id })
            .await?;
        Ok(())
    }

    async fn handle_order_confirmed(
        &self,
        _: &Context<'_>,
        order: OrderConfirmed,
    ) -> Result<(), HandlerError> {
        println!("confirmed {}", order.order_id);
        Ok(())
    }
}

/// `POST /orders/ID/CENTS`: answered when the event is acknowledged.
async fn serve(mut stream: TcpStream, events: EventProducer) -> std::io::Result<()> {
    let mut head = [0; 1_024];
    let len = stream.read(&mut head).await?;
    let head = String::from_utf8_lossy(&head[..len]);
    let status = match head.split(['/', ' ']).collect::<Vec<_>>()[..] {
        ["POST", "", "orders", id, cents, ..] if cents.parse::<u64>().is_ok() => {
            let (order_id, cents) = (id.to_string(), cents.parse().unwrap_or_default());
            let sent = events
                .send_order_placed(&OrderPlaced { order_id, cents })
                .await;
            if sent.is_ok() {
                "202 Accepted"
            } else {
                "503 Service Unavailable"
            }
        }
        _ => "404 Not Found",
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await
}

async fn listen(listener: TcpListener, events: EventProducer) {
    while let Ok((stream, _)) = listener.accept().await {
        let served = serve(stream, events.clone());
        tokio::spawn(tokio::time::timeout(Duration::from_secs(30), served));
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = std::env::args().nth(1);
    let own = testing::broker(&["orders", "orders.dlq"]).await;
    let is_demo = given.is_none();
    let config = ClientConfig::new(&given.unwrap_or(own.bootstrap_servers()));
    let metrics = PrometheusServer::bind("127.0.0.1:0", &config.metrics).await?;
    let client = Client::lazy(config)?;
    let events = EventProducer::on(&client, ProducerConfig::new("", "orders").idempotent())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!(
        "POST http://{address}/orders/ID/CENTS, GET http://{}/metrics",
        metrics.local_addr()
    );
    tokio::spawn(listen(listener, events.clone()));

    let mut config = ConsumerConfig::new("", "orders", "shop");
    config.auto_offset_reset = OffsetReset::Earliest;
    config.retry = RetryPolicy::up_to(5).backoff(Duration::from_millis(50), Duration::from_secs(5));
    config.on_failure = OnFailure::DeadLetter;
    let consumer = EventConsumer::<OrderEvents>::on(&client, config)?;
    let until = async {
        match is_demo {
            true => order(address, &consumer).await,
            false => shutdown_signal().await,
        }
    };
    consumer.run_until(Shop(events.clone()), until).await?; // what is at work is finished, and committed
    events.close(Duration::from_secs(10)).await?; // what was accepted is delivered
    client.close(Duration::from_secs(1)).await; // brokers that ask for it know the last metrics
    let done = consumer.metrics();
    println!(
        "{} handled, {} dead letters",
        done.handled, done.dead_lettered
    );
    Ok(())
}

/// Orders three things, and waits until they are through.
async fn order(address: std::net::SocketAddr, consumer: &EventConsumer<OrderEvents>) {
    for path in ["book/1500", "unlucky/200", "air/0"] {
        let mut stream = TcpStream::connect(address)
            .await
            .expect("the service listens");
        let request = format!("POST /orders/{path} HTTP/1.1\r\nhost: shop\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        assert!(answer.contains("202"), "{answer}");
    }
    while consumer.metrics().dead_lettered < 1 || consumer.metrics().handled < 4 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
