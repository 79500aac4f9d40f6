//! A panic in each internal task, in turn, on a broker in memory: whoever calls the client hears of it at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::planted::plant;
use super::*;
use crate::broker::{Broker, Fault, FaultAction};
use crate::kafka::net::{BoxFuture, BoxStream};
use crate::kafka::{
    Address, Admin, ClientConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, Record,
    StartOffset, TopicPartition, Transport,
};

/// Far below every timeout of the client.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(3);

#[derive(Clone, Debug)]
struct InMemory(Broker);

impl Transport for InMemory {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let dialled = self.0.dial(address.host(), address.port());
        Box::pin(async move { dialled.map(|stream| Box::new(stream) as BoxStream) })
    }
}

pub(crate) fn one_broker() -> (Broker, ClientConfig) {
    let broker = Broker::builder()
        .seed(7)
        .start_in_memory()
        .expect("a broker");
    broker.create_topic("t", 1).expect("a new topic");
    let config = ClientConfig {
        transport: Arc::new(InMemory(broker.clone())),
        seed: Some(42),
        // Something makes every task look around now and then.
        metadata_max_age: Duration::from_millis(100),
        ..ClientConfig::new(&broker.bootstrap_servers())
    };
    (broker, config)
}

/// Takes the planted panic back, however the test ends.
pub(crate) struct Planted;

impl Planted {
    pub(crate) fn new(task: &str) -> Self {
        plant(Some(task));
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}

#[track_caller]
pub(crate) fn names(error: &Error, task: &str) {
    assert_eq!(error.kind(), ErrorKind::Internal, "{task}: {error}");
    assert!(error.is_fatal() && !error.is_retriable(), "{task}: {error}");
    let text = error.to_string();
    assert!(
        text.contains(task) && text.contains("a planted panic"),
        "{task}: {text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_any_task_of_a_producer_reaches_whoever_sends_and_flushes() {
    for task in [
        "sender of broker",
        "producer maintenance",
        "connection to",
        "metadata refresh",
    ] {
        let (broker, client) = one_broker();
        let config = ProducerConfig {
            client,
            ..ProducerConfig::default()
        };
        let producer = Producer::connect(config).await.expect("a producer");
        let record = Record::new("t").value(b"one");
        producer.send(record).await.expect("written");
        // One in flight, one that waits behind it.
        broker.inject(Fault::on(
            protocol::ApiKey::PRODUCE,
            FaultAction::Delay(Duration::from_secs(20)),
        ));
        let in_flight = producer.enqueue(record).await.expect("accepted");
        sleep(Duration::from_millis(50)).await;
        let behind = producer.enqueue(record).await.expect("accepted");
        let started = Instant::now();
        let planted = Planted::new(task);
        let outcomes = timeout(AT_ONCE, async { (in_flight.await, behind.await) });
        let (in_flight, behind) = outcomes
            .await
            .unwrap_or_else(|_| panic!("{task}: records wait for ever"));
        names(&in_flight.expect_err("lost"), task);
        names(&behind.expect_err("lost"), task);
        let flushed = timeout(AT_ONCE, producer.flush()).await.expect("an end");
        names(&flushed.expect_err("failed"), task);
        let sent = timeout(AT_ONCE, producer.send(record))
            .await
            .expect("an end");
        names(&sent.expect_err("failed"), task);
        let tried = producer.try_enqueue(record);
        names(&tried.expect_err("failed"), task);
        let elsewhere = Record::new("another topic").value(b"two");
        let sent = timeout(AT_ONCE, producer.send(elsewhere)).await;
        names(&sent.expect("an end").expect_err("failed"), task);
        assert!(started.elapsed() < AT_ONCE, "{task}");
        drop(planted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_any_task_of_a_consumer_reaches_whoever_polls_and_commits() {
    for task in [
        "fetcher of broker",
        "offset resolver",
        "group member",
        "commits",
        "connection to",
        "metadata refresh",
    ] {
        for in_a_group in [true, false] {
            if !in_a_group && task == "group member" {
                continue;
            }
            let (_broker, client) = one_broker();
            let config = ConsumerConfig {
                client,
                group_id: Some("g".to_string()),
                ..ConsumerConfig::default()
            };
            let mut consumer = Consumer::connect(config).await.expect("a consumer");
            let partition = TopicPartition::new("t", 0);
            if in_a_group {
                consumer.subscribe(&["t"]).await.expect("subscribed");
            } else {
                let start = [(partition.clone(), StartOffset::Earliest)];
                consumer.assign(&start).await.expect("assigned");
            }
            for _ in 0..10 {
                consumer
                    .poll(Duration::from_secs(1))
                    .await
                    .expect("no records");
            }
            let started = Instant::now();
            let planted = Planted::new(task);
            // What it does next touches the task.
            let _ = consumer.seek(&partition, 0);
            let _ = consumer.commit_positions();
            let error = timeout(AT_ONCE + AT_ONCE, async {
                loop {
                    if let Err(error) = consumer.poll(Duration::from_secs(600)).await {
                        return error;
                    }
                }
            });
            let error = error
                .await
                .unwrap_or_else(|_| panic!("{task}: polls in vain"));
            names(&error, task);
            let committed = timeout(AT_ONCE, consumer.commit_sync()).await;
            names(&committed.expect("an end").expect_err("failed"), task);
            let ends = timeout(AT_ONCE, consumer.end_offsets(&[partition])).await;
            names(&ends.expect("an end").expect_err("failed"), task);
            assert!(started.elapsed() < AT_ONCE + AT_ONCE, "{task}");
            drop(planted);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_any_task_of_an_admin_reaches_its_caller() {
    for task in ["connection to", "metadata refresh"] {
        let (_broker, client) = one_broker();
        let admin = Admin::connect(client).await.expect("an admin");
        admin.list_topics().await.expect("topics");
        let planted = Planted::new(task);
        let asked = timeout(AT_ONCE, async {
            loop {
                if let Err(error) = admin.describe_cluster().await {
                    return error;
                }
            }
        });
        names(&asked.await.expect("an end"), task);
        let listed = timeout(AT_ONCE, admin.list_topics()).await.expect("an end");
        names(&listed.expect_err("failed"), task);
        drop(planted);
    }
}

/// A runtime that is shut down drops its tasks: a client of another runtime must not wait for them.
#[test]
fn a_client_whose_runtime_is_gone_fails_instead_of_waiting() {
    // The broker lives on.
    let home = tokio::runtime::Runtime::new().expect("a runtime");
    let (_broker, client) = home.block_on(async { one_broker() });
    let gone = tokio::runtime::Runtime::new().expect("a runtime");
    let config = ProducerConfig {
        client,
        ..ProducerConfig::default()
    };
    let producer = gone
        .block_on(Producer::connect(config))
        .expect("a producer");
    gone.shutdown_background();
    let other = tokio::runtime::Runtime::new().expect("a runtime");
    let sent = other.block_on(async {
        let record = Record::new("t").value(b"one");
        timeout(Duration::from_secs(10), producer.send(record)).await
    });
    let error = sent.expect("an end").expect_err("nobody sends it");
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.is_fatal());
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[tokio::test]
async fn what_is_aborted_after_the_end_is_no_failure() {
    let tasks = Tasks::new().expect("a runtime");
    let waiting = tasks.spawn("waiting", std::future::pending());
    tasks.end();
    waiting.abort();
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert!(waiting.is_finished());
    assert!(tasks.failure().is_none());
}
