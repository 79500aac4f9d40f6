//! A panic in each task behind a consumer of events, in turn: whoever waits for the consumer hears of it at once, and it can be started again.

mod tenants;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::event_set;
use crate::events::email::EmailDeleted;
use crate::events::{Context, EventProducer, HandlerError, ProducerConfig};
use crate::kafka::runtime::tasks::tests::{AT_ONCE, Planted, names, one_broker};
use crate::kafka::{ClientConfig, OffsetReset};

event_set! { enum Deletions, producer DeletionProducer, handler DeletionHandler { EmailDeleted; } }

/// Sends on what it is called for.
#[derive(Clone)]
struct Handled(mpsc::UnboundedSender<String>);

impl DeletionHandler for Handled {
    async fn handle_email_deleted(
        &self,
        _: &Context<'_>,
        event: EmailDeleted,
    ) -> Result<(), HandlerError> {
        sleep(Duration::from_millis(1)).await;
        Ok(self.0.send(event.email_id)?)
    }
}

async fn send(client: &ClientConfig, id: &str) {
    let mut config = ProducerConfig::new("", "t");
    config.brokers.clone_from(&client.bootstrap_servers);
    config.kafka.client = client.clone();
    let producer = EventProducer::connect(config).await.expect("a producer");
    let event = EmailDeleted {
        email_id: id.to_string(),
        ..Default::default()
    };
    producer.send_email_deleted(&event).await.expect("written");
}

fn consumer(client: ClientConfig) -> EventConsumer<Deletions> {
    let mut config = ConsumerConfig::new("", "t", "g");
    config.brokers.clone_from(&client.bootstrap_servers);
    config.kafka.client = client;
    config.auto_offset_reset = OffsetReset::Earliest;
    EventConsumer::new(config).expect("a good configuration")
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_any_task_behind_a_consumer_ends_it_and_is_what_waiting_and_stopping_return() {
    for task in [
        "poll loop",
        "worker",
        "fetcher of broker",
        "offset resolver",
        "group member",
        "commits",
        "connection to",
        "metadata refresh",
    ] {
        let (broker, client) = one_broker();
        let consumer = consumer(client.clone());
        let (handled, mut events) = mpsc::unbounded_channel();
        consumer
            .start(Handled(handled.clone()))
            .await
            .expect("started");
        send(&client, "e-1").await;
        assert_eq!(events.recv().await.as_deref(), Some("e-1"), "{task}");
        // Waits until it has nothing more to do.
        sleep(Duration::from_secs(2)).await;
        let planted = Planted::new(task);
        if ["worker", "commits"].contains(&task) {
            // Without anything to do they are not polled.
            send(&client, "e-2").await;
        }
        if task == "offset resolver" {
            // It looks around when there is a position to find.
            broker.add_partitions("t", 2).expect("one more");
        }
        let begun = Instant::now();
        let ended = timeout(2 * AT_ONCE, consumer.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{task}: nobody hears of it"));
        drop(planted);
        assert!(begun.elapsed() < 2 * AT_ONCE, "{task}");
        for ended in [ended, consumer.stop().await] {
            match ended {
                Err(ConsumerError::Kafka(error)) => names(&error, task),
                other => panic!("{task}: {other:?}"),
            }
        }
        assert!(!consumer.is_running(), "{task}");
        consumer
            .start(Handled(handled))
            .await
            .expect("started again");
        send(&client, "e-2").await;
        // The first may not have been committed.
        while events.recv().await.as_deref() != Some("e-2") {}
        consumer.stop().await.expect("stopped well");
    }
}
