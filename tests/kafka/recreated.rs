//! A typed consumer whose topic is deleted and re-created under the same name, on any broker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::events::email::EmailDeleted;
use pat_events::events::{
    ConsumerConfig, Context, EventConsumer, EventProducer, HandlerError, ProducerConfig, event_set,
};
use pat_events::kafka::NewTopic;
use tokio::time::{sleep, timeout};

use crate::fleet::Target;

event_set! { pub enum Deletions, producer DeletionProducer, handler DeletionHandler { EmailDeleted; } }

pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often each email was seen deleted.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<BTreeMap<String, u32>>>);

impl DeletionHandler for Seen {
    async fn handle_email_deleted(
        &self,
        _: &Context<'_>,
        event: EmailDeleted,
    ) -> Result<(), HandlerError> {
        let mut seen = self.0.lock().expect("lock");
        *seen.entry(event.email_id).or_default() += 1;
        Ok(())
    }
}

impl Seen {
    pub async fn until(&self, count: usize) {
        let reached = async {
            while self.0.lock().expect("lock").len() < count {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let reached = timeout(PATIENCE, reached).await;
        let handled = self.0.lock().expect("lock").len();
        assert!(reached.is_ok(), "{handled} of {count}");
    }

    pub fn assert_once(&self) {
        let seen = self.0.lock().expect("lock");
        assert!(seen.values().all(|times| *times == 1), "{seen:?}");
    }
}

pub async fn a_typed_consumer_loses_nothing_when_its_topic_is_recreated(target: Target) {
    for (reset, stopped) in [("earliest", true), ("latest", true), ("latest", false)] {
        let topic = target.topic(&format!("recreated-{reset}-{stopped}")).await;
        let seen = Seen::default();
        let start = async || {
            let config = ConsumerConfig::from_properties([
                ("bootstrap.servers", target.bootstrap.as_str()),
                ("topics", &topic),
                ("group.id", &topic),
                ("auto.offset.reset", reset),
                ("session.timeout.ms", "45000"),
                ("metadata.max.age.ms", "1000"),
            ]);
            let config = config.expect("good properties");
            let consumer = EventConsumer::<Deletions>::new(config).expect("good");
            consumer.start(seen.clone()).await.expect("started");
            consumer
        };
        let consumer = start().await;
        let placed = async {
            while consumer.metrics().lag_by_partition.len() < 3 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, placed).await.expect("all positions");
        send(&target, &topic, 0..10).await;
        seen.until(10).await;
        sleep(Duration::from_millis(300)).await;

        let admin = target.admin().await;
        let deleted = admin.delete_topics(&[&topic]).await.expect("answered");
        deleted
            .into_values()
            .for_each(|topic| topic.expect("deleted"));
        let created = async {
            while admin.create_topic(&NewTopic::new(&topic, 3)).await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, created).await.expect("created again");
        let mut consumer = consumer;
        if stopped {
            consumer.stop().await.expect("stopped well");
            send(&target, &topic, 10..25).await;
            consumer = start().await;
        } else {
            send(&target, &topic, 10..25).await;
        }
        seen.until(25).await;
        consumer.stop().await.expect("stopped well");
        seen.assert_once();
    }
}

pub async fn send(target: &Target, topic: &str, emails: std::ops::Range<usize>) {
    let config = ProducerConfig::new(&target.bootstrap, topic).idempotent();
    let producer = EventProducer::connect(config).await.expect("connected");
    for email in emails {
        let email_id = format!("e-{email}");
        let event = EmailDeleted {
            email_id,
            ..Default::default()
        };
        drop(producer.enqueue(&event).await.expect("accepted"));
    }
    producer.flush().await.expect("delivered");
}
