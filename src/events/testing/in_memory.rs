//! The client and an embedded broker of one process, without sockets between them.

use std::io;
use std::sync::Arc;

use crate::broker::Broker;
use crate::kafka::net::{BoxFuture, BoxStream};
use crate::kafka::{Address, ClientConfig, Transport};

/// A configuration whose connections lead to `broker`, which was started
/// [in memory](crate::broker::BrokerBuilder::start_in_memory): no port is taken.
///
/// With a paused clock pauses take no time, and a test of timeouts of minutes ends at once.
///
/// ```
/// use pat_events::broker::Broker;
/// use pat_events::events::testing;
/// use pat_events::kafka::{Client, ProducerConfig, Record};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Broker::builder().start_in_memory()?;
/// broker.create_topic("orders", 3)?;
/// let client = Client::lazy(testing::in_memory(&broker))?;
/// let producer = client.producer(ProducerConfig::default())?;
/// producer.send(Record::new("orders").value(b"{}")).await?;
/// # Ok(())
/// # }
/// ```
pub fn in_memory(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new(&broker.bootstrap_servers());
    config.transport = Arc::new(InMemory(broker.clone()));
    config
}

#[derive(Debug)]
struct InMemory(Broker);

impl Transport for InMemory {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let dialled = self.0.dial(address.host(), address.port());
        let stream = dialled.map(|stream| Box::new(stream) as BoxStream);
        Box::pin(std::future::ready(stream))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kafka::{
        Consumer, ConsumerConfig, ErrorKind, OffsetReset, Producer, ProducerConfig, Record,
    };

    #[tokio::test(start_paused = true)]
    async fn what_is_written_in_memory_is_read_and_a_node_that_is_down_costs_no_time() {
        let broker = Broker::builder().start_in_memory().expect("started");
        broker.create_topic("orders", 1).expect("created");
        let config = ProducerConfig {
            client: in_memory(&broker),
            ..ProducerConfig::default()
        };
        let producer = Producer::connect(config).await.expect("connected");
        let record = Record::new("orders").value(b"v");
        producer.send(record).await.expect("written");

        let mut config = ConsumerConfig::new("", "readers");
        config.client = in_memory(&broker);
        config.auto_offset_reset = OffsetReset::Earliest;
        let mut consumer = Consumer::connect(config).await.expect("connected");
        consumer.subscribe(&["orders"]).await.expect("subscribed");
        let polled = consumer.poll(Duration::from_secs(60)).await.expect("read");
        assert_eq!(polled.count(), 1);

        let begun = std::time::Instant::now();
        broker.stop_node(broker.node_ids()[0]).await;
        let error = producer.send(record).await.expect_err("nobody is there");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "two minutes pass"
        );
    }
}
