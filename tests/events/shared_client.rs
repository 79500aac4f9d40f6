//! Producers and consumers of events that share one client.

use std::collections::BTreeSet;

use pat_events::kafka::net::TcpTransport;
use pat_events::kafka::{Client, ClientConfig, ConsumerConfig as RawConsumerConfig};

use super::*;
use crate::connections::Connections;

const PRODUCERS: usize = 20;

#[tokio::test]
async fn producers_and_consumers_of_events_share_the_connections_of_a_client() {
    let broker = broker().await;
    let connections = Connections::through(TcpTransport);
    let mut config = ClientConfig::new(&broker.bootstrap_servers());
    config.transport = Arc::new(connections.clone());
    config.seed = Some(7);
    let client = Client::lazy(config).expect("a client");
    // What these say of the cluster does not count.
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|_| EventProducer::on(&client, ProducerConfig::new("elsewhere:1", TOPIC)))
        .map(|producer| producer.expect("a producer"))
        .collect();
    let mut config = ConsumerConfig::new("elsewhere:1", TOPIC, "test");
    config.auto_offset_reset = OffsetReset::Earliest;
    let consumer = EventConsumer::<EmailEvents>::on(&client, config).expect("a consumer");
    assert_eq!(connections.open(), [], "nothing is needed of it yet");

    for (number, producer) in producers.iter().enumerate() {
        let event = email(format!("e-{number}"), 0);
        producer.send(&event).await.expect("sent");
    }
    let seen = Arc::new(Seen::default());
    consumer.start(Handler::of(&seen)).await.expect("started");
    seen.until(PRODUCERS).await;
    seen.assert_once_and_in_order(PRODUCERS, 1);

    let mut records = client
        .consumer(RawConsumerConfig::default())
        .expect("a consumer");
    let starts: Vec<_> = (0..3)
        .map(|partition| (TopicPartition::new(TOPIC, partition), StartOffset::Earliest))
        .collect();
    records.assign(&starts).await.expect("assigned");
    let mut ids = BTreeSet::new();
    let reading = async {
        let mut count = 0;
        while count < PRODUCERS {
            for record in &records.poll(PATIENCE).await.expect("records") {
                let id = record.headers.get("ce_id").flatten().expect("an id");
                ids.insert(id.to_vec());
                count += 1;
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("all of them");
    assert_eq!(ids.len(), PRODUCERS, "no two events have one id");

    // One for short requests and four for produce requests; one for each fetcher, and one for the member.
    let open = connections.open().len();
    assert!(open <= 8, "{open} connections");
    consumer.stop().await.expect("stopped");
}

#[tokio::test]
async fn an_event_consumer_on_a_client_without_a_cluster_starts_once_it_is_there() {
    let broker = broker().await;
    let address = broker.bootstrap_servers();
    broker.stop_node(1).await;
    let mut config = ClientConfig::new(&address);
    config.request_timeout = Duration::from_millis(300);
    let client = Client::lazy(config).expect("a client");
    let mut config = ConsumerConfig::new("", TOPIC, "test");
    config.auto_offset_reset = OffsetReset::Earliest;
    let consumer = EventConsumer::<EmailEvents>::on(&client, config).expect("a consumer");
    let seen = Arc::new(Seen::default());
    let down = consumer.start(Handler::of(&seen)).await;
    assert!(
        matches!(&down, Err(ConsumerError::Kafka(error)) if error.to_string().contains(&address)),
        "{down:?}"
    );
    assert!(!consumer.is_running());

    broker.start_node(1).await.expect("started");
    let starting = async {
        while consumer.start(Handler::of(&seen)).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, starting).await.expect("an end");
    let producer = EventProducer::on(&client, ProducerConfig::new("", TOPIC));
    let sent = producer.expect("a producer").send(&email("e-0", 0)).await;
    sent.expect("sent");
    seen.until(1).await;
    consumer.stop().await.expect("stopped");
}
