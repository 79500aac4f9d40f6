//! What producers and consumers of typed events promise when their calls are dropped: each event is handled once, in its order, and a consumer
//! that was started or stopped half can be started and stopped.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::events::email::EmailDeleted;
use pat_events::events::{
    ConsumerConfig, Context, EventConsumer, EventProducer, HandlerError, ProducerConfig, event_set,
};
use pat_events::kafka::OffsetReset;
use tokio::time::sleep;

use crate::consumers::{config, one_broker};
use crate::{Cut, at_every_poll};

event_set! { pub enum Deletions, producer DeletionProducer, handler DeletionHandler { EmailDeleted; } }

/// The numbers of the events that were handled.
#[derive(Clone, Default)]
struct Handled(Arc<Mutex<Vec<String>>>);

impl Handled {
    fn numbers(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }

    async fn until(&self, count: usize, cut: Cut) {
        for _ in 0..2_000 {
            if self.numbers().len() >= count {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{cut}: {:?} of {count}", self.numbers());
    }
}

impl DeletionHandler for Handled {
    async fn handle_email_deleted(
        &self,
        _: &Context<'_>,
        event: EmailDeleted,
    ) -> Result<(), HandlerError> {
        sleep(Duration::from_millis(20)).await;
        self.0.lock().expect("no panic").push(event.tenant_id);
        Ok(())
    }
}

/// Of one key, so that they keep their order.
fn event(number: usize) -> EmailDeleted {
    EmailDeleted {
        email_id: "e".to_owned(),
        tenant_id: number.to_string(),
        ..Default::default()
    }
}

fn producing_to(broker: &Broker) -> ProducerConfig {
    let mut producer = ProducerConfig::new("", "t");
    producer.kafka.client = config(broker).client;
    producer.brokers = producer.kafka.client.bootstrap_servers.clone();
    producer.idempotence = true;
    producer
}

async fn producer(broker: &Broker) -> EventProducer {
    EventProducer::connect(producing_to(broker))
        .await
        .expect("the broker answers")
}

fn consumer(broker: &Broker) -> EventConsumer<Deletions> {
    let mut consumer = ConsumerConfig::new("", "t", "g");
    consumer.kafka.client = config(broker).client;
    consumer.brokers = consumer.kafka.client.bootstrap_servers.clone();
    consumer.auto_offset_reset = OffsetReset::Earliest;
    EventConsumer::new(consumer).expect("a good configuration")
}

/// A topic with the events 0 to 9.
async fn filled() -> Broker {
    let broker = one_broker(1);
    let producer = producer(&broker).await;
    for number in 0..10 {
        let delivery = producer.enqueue(&event(number)).await.expect("room");
        delivery.await.expect("written");
    }
    broker
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Hands in event 0 by `call`, which is dropped, and then event 1. `call` returns whether it was done, and whether nobody can say what became of
/// its event.
fn sending(name: &str, call: impl AsyncFn(Cut, &EventProducer) -> (bool, bool) + Copy) {
    at_every_poll(name, |cut| async move {
        let broker = one_broker(1);
        let producer = producer(&broker).await;
        let (done, may_be_either) = call(cut, &producer).await;
        producer.send(&event(1)).await.expect("written");
        let handled = Handled::default();
        let consumer = consumer(&broker);
        consumer.start(handled.clone()).await.expect("started");
        sleep(Duration::from_secs(5)).await;
        consumer.stop().await.expect("stopped");
        let seen = handled.numbers();
        let with_it = seen == numbers(0..2) && (done || may_be_either);
        let without_it = seen == numbers(1..2) && !done;
        assert!(with_it || without_it, "{cut}: {seen:?}");
        done
    });
}

#[test]
fn dropped_calls_of_a_producer_leave_each_event_written_once_or_not_at_all() {
    sending(
        "EventProducer::send",
        async |cut: Cut, producer: &EventProducer| {
            let sent = cut.of(producer.send(&event(0))).await;
            (sent.is_some(), sent.is_none())
        },
    );
    sending(
        "EventProducer::enqueue",
        async |cut: Cut, producer: &EventProducer| {
            let accepted = cut.of(producer.enqueue(&event(0))).await;
            (accepted.is_some(), false)
        },
    );
    at_every_poll("EventProducer::flush", |cut| async move {
        let broker = one_broker(1);
        let producer = producer(&broker).await;
        let delivery = producer.enqueue(&event(0)).await.expect("room");
        let done = cut.of(producer.flush()).await;
        producer.flush().await.expect("flushed");
        delivery.await.expect("written");
        done.is_some()
    });
    at_every_poll("EventProducer::close", |cut| async move {
        let broker = one_broker(1);
        let producer = producer(&broker).await;
        let delivery = producer.enqueue(&event(0)).await.expect("room");
        let done = cut.of(producer.close(Duration::from_secs(10))).await;
        producer
            .close(Duration::from_secs(10))
            .await
            .expect("closed");
        delivery.await.expect("written");
        done.is_some()
    });
    at_every_poll("EventProducer::connect", |cut| async move {
        let broker = one_broker(1);
        let done = cut.of(EventProducer::connect(producing_to(&broker))).await;
        producer(&broker)
            .await
            .send(&event(0))
            .await
            .expect("written");
        done.is_some()
    });
}

#[test]
fn a_dropped_start_leaves_a_consumer_that_runs_or_can_be_started() {
    at_every_poll("EventConsumer::start", |cut| async move {
        let broker = filled().await;
        let handled = Handled::default();
        let consumer = consumer(&broker);
        let done = cut.of(consumer.start(handled.clone())).await;
        if !consumer.is_running() {
            consumer.start(handled.clone()).await.expect("started");
        }
        handled.until(10, cut).await;
        consumer.stop().await.expect("stopped");
        assert_eq!(handled.numbers(), numbers(0..10), "{cut}");
        done.is_some()
    });
}

#[test]
fn a_dropped_wait_ends_nothing() {
    at_every_poll("EventConsumer::wait", |cut| async move {
        let broker = filled().await;
        let handled = Handled::default();
        let consumer = consumer(&broker);
        consumer.start(handled.clone()).await.expect("started");
        let ended = tokio::time::timeout(Duration::from_secs(2), cut.of(consumer.wait())).await;
        assert!(matches!(ended, Ok(None) | Err(_)), "{cut}: {ended:?}");
        handled.until(10, cut).await;
        consumer.stop().await.expect("stopped");
        assert_eq!(handled.numbers(), numbers(0..10), "{cut}");
        // It has no end by itself.
        cut.polls >= 3
    });
}

/// The first consumer is stopped, or closed, in the middle of its work; the next one does the rest.
fn ending(name: &str, end: impl AsyncFn(Cut, EventConsumer<Deletions>) -> bool + Copy) {
    at_every_poll(name, |cut| async move {
        let broker = filled().await;
        let handled = Handled::default();
        let first = consumer(&broker);
        first.start(handled.clone()).await.expect("started");
        handled.until(3, cut).await;
        let done = end(cut, first).await;
        let second = consumer(&broker);
        second.start(handled.clone()).await.expect("started");
        handled.until(10, cut).await;
        sleep(Duration::from_secs(30)).await;
        second.stop().await.expect("stopped");
        assert_eq!(handled.numbers(), numbers(0..10), "{cut}");
        done
    });
}

#[test]
fn a_dropped_stop_or_close_goes_on_by_itself() {
    ending(
        "EventConsumer::stop",
        async |cut: Cut, consumer: EventConsumer<Deletions>| {
            let done = cut.of(consumer.stop()).await.is_some();
            consumer.stop().await.expect("stopped");
            done
        },
    );
    ending(
        "EventConsumer::close",
        async |cut: Cut, consumer: EventConsumer<Deletions>| {
            cut.of(consumer.close()).await.is_some()
        },
    );
}
