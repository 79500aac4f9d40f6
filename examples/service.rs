//! A service: orders come in over HTTP and go out as events; a handler books them, with retries and dead letters; `/metrics` and `/health` say how
//! it does; SIGTERM stops it gracefully. The tutorial (`events::tutorial`) tells how it comes to be, and `tests/service` is its first customer.
//!
//! `cargo run --example service --features broker,prometheus,signals -- BROKERS`; without BROKERS it starts a broker of its own.

use std::error::Error;
use std::time::Duration;

use pat_events::events::{
    ConsumerConfig, Context, EventConsumer, EventProducer, HandlerError, ProducerConfig, event_set,
    prost, shutdown_signal, testing,
};
use pat_events::kafka::observe::PrometheusServer;
use pat_events::kafka::{Client, ClientConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, PartialEq, prost::Message)]
struct OrderPlaced {
    #[prost(string, tag = "1")]
    order_id: String,
    #[prost(uint64, tag = "2")]
    cents: u64,
}

event_set! {
    enum OrderEvents, producer OrderProducer, handler OrderHandler {
        OrderPlaced: type = "shop.v1.OrderPlaced", key = order_id;
    }
}

struct Till;

impl OrderHandler for Till {
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
        println!("{} paid {} cents", order.order_id, order.cents);
        Ok(())
    }
}

/// `POST /orders/ID/CENTS`: answered when the event is acknowledged.
async fn serve(mut stream: TcpStream, events: EventProducer) -> std::io::Result<()> {
    let mut head = [0; 1_024];
    let len = stream.read(&mut head).await?;
    let head = String::from_utf8_lossy(&head[..len]);
    let status = match head.split(['/', ' ']).collect::<Vec<_>>()[..] {
        ["POST", "", "orders", id, cents, ..] => {
            let (order_id, cents) = (id.to_string(), cents.parse().unwrap_or(0));
            let order = OrderPlaced { order_id, cents };
            match events.send_order_placed(&order).await {
                Ok(_) => "202 Accepted",
                Err(_) => "503 Service Unavailable",
            }
        }
        _ => "404 Not Found",
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await
}

async fn listen(listener: TcpListener, events: EventProducer) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, events.clone()));
    }
}

/// Takes orders and books them, until `until` is ready; then finishes what is at work.
pub async fn run(
    config: ClientConfig,
    orders: TcpListener,
    until: impl Future,
) -> Result<(), Box<dyn Error>> {
    let client = Client::lazy(config)?;
    let events = EventProducer::on(&client, ProducerConfig::new("", "orders").idempotent())?;
    let config = ConsumerConfig::new("", "orders", "shop");
    let consumer = EventConsumer::<OrderEvents>::on(&client, config.earliest().dead_letters())?;
    let listening = tokio::spawn(listen(orders, events.clone()));
    let until = async {
        until.await;
        listening.abort(); // no order is taken any more
    };
    consumer.run_until(Till, until).await?; // what is at work is finished, and committed
    events.close(Duration::from_secs(10)).await?; // what was accepted is delivered
    client.close(Duration::from_secs(1)).await; // brokers that ask for it know the last metrics
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let own = testing::broker(&["orders", "orders.dlq"]).await;
    let brokers = std::env::args().nth(1).unwrap_or(own.bootstrap_servers());
    let config = ClientConfig::new(&brokers);
    let admin = PrometheusServer::bind("127.0.0.1:9464", &config.metrics).await?;
    println!("GET http://{}/metrics and /health", admin.local_addr());
    let orders = TcpListener::bind("127.0.0.1:8080").await?;
    println!("POST http://{}/orders/ID/CENTS", orders.local_addr()?);
    run(config, orders, shutdown_signal()).await
}
