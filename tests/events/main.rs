//! Typed events from end to end: through a real client, over TCP, to the embedded broker and back. Here: the broker, the clients, and events to
//! send; in `handlers` what handles them; a subject in each of the other files.
#![cfg(feature = "broker")]

mod batches;
mod codec;
mod commits;
#[path = "../support/connections.rs"]
mod connections;
mod dead_letters;
mod deaths;
mod errors;
mod handlers;
mod memory;
mod order;
#[path = "../support/process_status.rs"]
mod process_status;
mod rebalances;
mod recreated;
mod replays;
mod retry_topics;
mod retrying;
mod shared_client;
mod stopping;
mod stuck;
mod wire;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::broker::{ApiKey, Broker, ErrorCode, Fault, FaultAction};
use pat_events::events::email::*;
use pat_events::events::prost::Message;
use pat_events::events::{
    Attributes, CommitPolicy, ConsumerConfig, ConsumerError, Context, Event, EventConsumer,
    EventProducer, HandlerError, OnFailure, ProducerConfig, RawRecord, RetryPolicy, Undecodable,
};
use pat_events::kafka::{
    Consumer, ErrorKind, Header, OffsetReset, Producer, Record, StartOffset, TopicPartition,
};
use protocol::compression::{Compression, Compressor};
use protocol::records::{BatchBuilder, SealOptions};
use tokio::time::{sleep, timeout};

use crate::handlers::{Handler, Seen};

const TOPIC: &str = "emails";
/// Long enough for a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

async fn broker() -> Broker {
    let broker = Broker::builder()
        .start_tcp("127.0.0.1:0")
        .await
        .expect("the embedded broker starts");
    broker.create_topic(TOPIC, 3).expect("a new topic");
    broker
}

async fn producer(broker: &Broker) -> EventProducer {
    let mut config = ProducerConfig::new(&broker.bootstrap_servers(), TOPIC);
    config.idempotence = true;
    EventProducer::connect(config)
        .await
        .expect("the broker answers")
}

fn consumer(broker: &Broker) -> EventConsumer<EmailEvents> {
    consumer_with(broker, |_| {})
}

fn consumer_with(
    broker: &Broker,
    change: impl FnOnce(&mut ConsumerConfig),
) -> EventConsumer<EmailEvents> {
    let mut config = ConsumerConfig::new(&broker.bootstrap_servers(), TOPIC, "test");
    config.auto_offset_reset = OffsetReset::Earliest;
    // A machine with much else to do must not cost a member its place: what it had in flight would be handled twice.
    config.session_timeout = Duration::from_secs(45);
    change(&mut config);
    EventConsumer::new(config).expect("a good configuration")
}

fn email(id: impl Into<String>, number: u32) -> EmailReceived {
    EmailReceived {
        email_id: id.into(),
        tenant_id: "tenant-1".into(),
        subject: number.to_string(),
        ..Default::default()
    }
}

/// Sends the numbers `0..each` to each of `keys` keys.
async fn send_numbers(producer: &EventProducer, keys: usize, numbers: std::ops::Range<u32>) {
    for number in numbers {
        for key in 0..keys {
            let event = email(format!("e-{key}"), number);
            // The flush below tells of failures.
            drop(
                producer
                    .enqueue_email_received(&event)
                    .await
                    .expect("accepted"),
            );
        }
    }
    producer.flush().await.expect("delivered");
}

/// What the group has committed, over all partitions.
fn committed(broker: &Broker) -> i64 {
    (0..3)
        .filter_map(|partition| broker.committed_offset("test", TOPIC, partition))
        .sum()
}
