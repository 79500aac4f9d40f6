//! Sessions that end while records are written and read (KIP-368). In: a listener where they end soon. Out: nobody notices.

use std::time::Duration;

use pat_events::kafka::{Client, ConsumerConfig, NewTopic, OffsetReset, ProducerConfig, Record};
use tokio::time::Instant;

use super::listeners::{Listeners, PASSWORD, SESSION, alice, config};

/// For how many seconds sessions are let end; `SESSIONS_SECONDS=600` for a night.
const SESSIONS_SECONDS: u64 = 20;
/// Connections that a producer and a member of a group have open: for short requests, produce, fetch and the coordinator.
const CONNECTIONS: u64 = 4;

pub fn sessions_seconds() -> u64 {
    std::env::var("SESSIONS_SECONDS").map_or(SESSIONS_SECONDS, |it| {
        it.parse().expect("SESSIONS_SECONDS is a number")
    })
}

/// Writes and reads in a group while sessions end. Every connection is followed by one other for each session, and by no more.
pub async fn sessions_end(listeners: Listeners, seconds: u64) {
    let config = config(
        &listeners,
        "OPEN",
        &alice("SASL_PLAINTEXT", "PLAIN", PASSWORD),
    );
    let client = Client::lazy(config).expect("a client");
    let topic = "secured-sessions";
    client
        .admin()
        .create_topic(&NewTopic::new(topic, 1))
        .await
        .expect("created");
    let producer = client
        .producer(ProducerConfig::default())
        .expect("a producer");
    let mut config = ConsumerConfig::default();
    config.group_id = Some(topic.to_owned());
    config.auto_offset_reset = OffsetReset::Earliest;
    let mut consumer = client.consumer(config).expect("a consumer");
    consumer.subscribe(&[topic]).await.expect("a topic");
    let end = Instant::now() + Duration::from_secs(seconds);
    let writing = async {
        let mut number = 0_u64;
        let mut deliveries = Vec::new();
        while Instant::now() < end {
            let value = number.to_be_bytes();
            deliveries.push(
                producer
                    .enqueue(Record::new(topic).value(&value))
                    .await
                    .expect("accepted"),
            );
            number += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for delivery in deliveries {
            delivery.await.expect("written");
        }
        number
    };
    let reading = async {
        let mut next = 0_u64;
        let until = end + Duration::from_secs(2);
        while Instant::now() < until {
            let records = consumer
                .poll(Duration::from_millis(500))
                .await
                .expect("records");
            for record in &records {
                let value = record.value.and_then(|it| it.try_into().ok());
                assert_eq!(
                    value.map(u64::from_be_bytes),
                    Some(next),
                    "in order, each once"
                );
                next += 1;
            }
        }
        next
    };
    let (written, read) = tokio::join!(writing, reading);
    assert_eq!(read, written);
    assert!(written > seconds * 50, "{written}");
    let brokers = client.broker_metrics();
    let connects: u64 = brokers.values().map(|it| it.connects).sum();
    let failed: u64 = brokers.values().map(|it| it.failed_connects).sum();
    println!("{written} records in {seconds} s, {connects} connections");
    // A session is used for 85 to 95 % of its life.
    let (fewest, most) = (
        seconds / SESSION.as_secs(),
        seconds * 100 / (SESSION.as_secs() * 85),
    );
    assert!(
        (fewest * (CONNECTIONS - 1)..=(most + 2) * CONNECTIONS).contains(&connects),
        "{connects} connections in {seconds} s"
    );
    assert_eq!(failed, 0);
    consumer.close().await.expect("closed");
    producer
        .close(Duration::from_secs(10))
        .await
        .expect("closed");
}
