//! What members of share groups promise when their calls are dropped: what a dropped poll has acquired comes with the next one, what was accepted is
//! accepted once, and what a member leaves behind is delivered to others.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::events::email::EmailDeleted;
use pat_events::events::{
    Context, EventProducer, EventQueue, HandlerError, OnFailure, ProducerConfig, QueueConfig,
    event_set,
};
use pat_events::kafka::consumer::AcknowledgementResults;
use pat_events::kafka::{
    AcknowledgeType, AcknowledgementMode, Client, ClientConfig, ShareConsumer, ShareConsumerConfig,
};
use tokio::time::sleep;

use crate::consumers::{cluster, config, fill, ms};
use crate::{Cut, at_every_poll};

const EACH: u32 = 24;

/// A partition with [`EACH`] records, 4 to a batch.
fn filled() -> Broker {
    let broker = empty();
    fill(&broker, 0, 0..EACH, 4);
    broker
}

fn empty() -> Broker {
    let broker = cluster(1, |builder| builder.share_groups_from_earliest(true));
    broker.create_topic("t", 1).expect("a new topic");
    broker
}

fn sharing(broker: &Broker) -> ShareConsumerConfig {
    let mut sharing = ShareConsumerConfig::new("", "g");
    sharing.client = config(broker).client;
    sharing.client.seed = None;
    sharing.acknowledgement_mode = AcknowledgementMode::Explicit;
    sharing.max_poll_records = 5;
    sharing
}

async fn sharer(broker: &Broker) -> ShareConsumer {
    let connected = ShareConsumer::connect(sharing(broker)).await;
    let mut consumer = connected.expect("a broker");
    consumer.subscribe(&["t"]).await.expect("subscribed");
    consumer
}

/// The offsets that came, each with how often it was delivered.
type Delivered = Vec<(i64, i16)>;

fn each_once(offsets: std::ops::Range<u32>) -> Delivered {
    offsets.map(|offset| (i64::from(offset), 1)).collect()
}

/// Polls until `count` records came in all, and accepts them.
async fn accept(consumer: &mut ShareConsumer, count: usize, delivered: &mut Delivered) {
    for _ in 0..200 {
        if delivered.len() >= count {
            return;
        }
        let records = consumer.poll(ms(1_000)).await.expect("a poll");
        for record in &records {
            let accepted = consumer.acknowledge(&record, AcknowledgeType::Accept);
            accepted.expect("held");
            delivered.push((record.offset, record.delivery_count()));
        }
    }
}

fn assert_taken(results: &AcknowledgementResults, cut: Cut) {
    let refused = results.values().find(|result| result.is_err());
    assert!(refused.is_none(), "{cut}: {refused:?}");
}

fn assert_done(broker: &Broker, cut: Cut) {
    let start = broker.share_start_offset("g", "t", 0);
    assert_eq!(start, Some(i64::from(EACH)), "{cut}");
}

#[test]
fn a_dropped_poll_of_a_share_group_leaves_what_it_acquired_to_the_next() {
    at_every_poll("ShareConsumer::poll", |cut| async move {
        let broker = filled();
        let mut consumer = sharer(&broker).await;
        let mut delivered = Vec::new();
        let mut done = true;
        // Also when something is acquired already.
        for _ in 0..3 {
            match cut.of(consumer.poll(ms(5_000))).await {
                Some(records) => {
                    for record in &records.expect("records") {
                        let accepted = consumer.acknowledge(&record, AcknowledgeType::Accept);
                        accepted.expect("held");
                        delivered.push((record.offset, record.delivery_count()));
                    }
                }
                None => done = false,
            }
            let more = delivered.len() + 1;
            accept(&mut consumer, more, &mut delivered).await;
        }
        accept(&mut consumer, EACH as usize, &mut delivered).await;
        assert_eq!(delivered, each_once(0..EACH), "{cut}");
        assert_taken(&consumer.commit_sync().await.expect("answered"), cut);
        assert_done(&broker, cut);
        done
    });
}

/// Accepts everything, says so by `commit`, which is dropped, and then for good.
fn committing(name: &str, commit: impl AsyncFn(Cut, &mut ShareConsumer) -> bool + Copy) {
    at_every_poll(name, |cut| async move {
        let broker = filled();
        let mut consumer = sharer(&broker).await;
        let mut delivered = Vec::new();
        accept(&mut consumer, EACH as usize, &mut delivered).await;
        let done = commit(cut, &mut consumer).await;
        assert_taken(&consumer.commit_sync().await.expect("answered"), cut);
        assert_done(&broker, cut);
        consumer.close(ms(10_000)).await.expect("closed");
        let mut next = sharer(&broker).await;
        let rest = next.poll(ms(35_000)).await.expect("a poll");
        assert_eq!(rest.count(), 0, "{cut}: all is done with");
        done
    });
}

#[test]
fn a_dropped_commit_of_acknowledgements_is_made_all_the_same_and_once() {
    committing(
        "ShareConsumer::commit_sync",
        async |cut: Cut, consumer: &mut ShareConsumer| {
            cut.of(consumer.commit_sync()).await.is_some()
        },
    );
    committing(
        "ShareConsumer::commit_async",
        async |cut: Cut, consumer: &mut ShareConsumer| {
            let pending = consumer.commit_async().expect("open");
            cut.of(pending).await.is_some()
        },
    );
}

#[test]
fn after_a_dropped_close_of_a_member_others_get_what_it_held() {
    at_every_poll("ShareConsumer::close", |cut| async move {
        let broker = filled();
        let mut first = sharer(&broker).await;
        let mut delivered = Vec::new();
        accept(&mut first, 10, &mut delivered).await;
        assert_taken(&first.commit_sync().await.expect("answered"), cut);
        let held = first.poll(ms(1_000)).await.expect("a poll");
        assert!(!held.is_empty(), "it holds some");
        drop(held);
        let done = cut.of(first.close(ms(10_000))).await;
        if let Some(closed) = &done {
            assert!(closed.is_ok(), "{cut}: {closed:?}");
        }
        let mut second = sharer(&broker).await;
        let mut rest = Vec::new();
        accept(&mut second, EACH as usize - delivered.len(), &mut rest).await;
        assert_taken(&second.commit_sync().await.expect("answered"), cut);
        assert_done(&broker, cut);
        let all: BTreeSet<i64> = delivered.iter().chain(&rest).map(|it| it.0).collect();
        assert_eq!(all.len(), EACH as usize, "{cut}");
        assert_eq!(
            delivered.len() + rest.len(),
            EACH as usize,
            "{cut}: each once"
        );
        done.is_some()
    });
}

#[test]
fn a_dropped_connect_or_subscribe_of_a_member_can_be_made_again() {
    at_every_poll("ShareConsumer::connect", |cut| async move {
        let broker = filled();
        let done = cut.of(ShareConsumer::connect(sharing(&broker))).await;
        let mut delivered = Vec::new();
        let mut consumer = sharer(&broker).await;
        accept(&mut consumer, EACH as usize, &mut delivered).await;
        assert_eq!(delivered, each_once(0..EACH), "{cut}");
        done.is_some()
    });
    at_every_poll("ShareConsumer::subscribe", |cut| async move {
        let broker = filled();
        let mut delivered = Vec::new();
        let connected = ShareConsumer::connect(sharing(&broker)).await;
        let mut consumer = connected.expect("a broker");
        let done = cut.of(consumer.subscribe(&["t"])).await;
        consumer.subscribe(&["t"]).await.expect("subscribed");
        accept(&mut consumer, EACH as usize, &mut delivered).await;
        assert_eq!(delivered, each_once(0..EACH), "{cut}");
        done.is_some()
    });
}

event_set! { pub enum Jobs, producer JobProducer, handler JobHandler { EmailDeleted; } }

/// The numbers of the jobs that were handled.
#[derive(Clone, Default)]
struct Handled(Arc<Mutex<Vec<usize>>>);

impl Handled {
    fn numbers(&self) -> Vec<usize> {
        let mut numbers = self.0.lock().expect("no panic").clone();
        numbers.sort_unstable();
        numbers
    }

    async fn until(&self, count: usize, cut: Cut) {
        for _ in 0..2_000 {
            if self.numbers().len() >= count {
                return;
            }
            sleep(ms(50)).await;
        }
        panic!("{cut}: {:?} of {count}", self.numbers());
    }
}

impl JobHandler for Handled {
    async fn handle_email_deleted(
        &self,
        _: &Context<'_>,
        event: EmailDeleted,
    ) -> Result<(), HandlerError> {
        sleep(ms(20)).await;
        let number = event.tenant_id.parse()?;
        self.0.lock().expect("no panic").push(number);
        Ok(())
    }
}

const JOBS: usize = 10;

async fn with_jobs() -> Broker {
    let broker = empty();
    let mut producer = ProducerConfig::new("", "t");
    producer.kafka.client = config(&broker).client;
    producer.brokers = producer.kafka.client.bootstrap_servers.clone();
    let producer = EventProducer::connect(producer).await.expect("a broker");
    for number in 0..JOBS {
        let job = EmailDeleted {
            email_id: number.to_string(),
            tenant_id: number.to_string(),
            ..Default::default()
        };
        producer.send(&job).await.expect("written");
    }
    broker
}

fn queue(broker: &Broker) -> EventQueue<Jobs> {
    let client: ClientConfig = config(broker).client;
    let client = Client::lazy(client).expect("a client");
    let mut config = QueueConfig::new("", "t", "g");
    config.events.on_failure = OnFailure::Stop;
    config.events.concurrency = 2;
    EventQueue::on(&client, config).expect("a good configuration")
}

#[test]
fn a_dropped_start_or_wait_of_a_queue_leaves_one_that_runs_or_can_be_started() {
    at_every_poll("EventQueue::start", |cut| async move {
        let broker = with_jobs().await;
        let (handled, queue) = (Handled::default(), queue(&broker));
        let done = cut.of(queue.start(handled.clone())).await;
        if !queue.is_running() {
            queue.start(handled.clone()).await.expect("started");
        }
        handled.until(JOBS, cut).await;
        queue.stop().await.expect("stopped");
        assert_eq!(handled.numbers(), (0..JOBS).collect::<Vec<_>>(), "{cut}");
        done.is_some()
    });
    at_every_poll("EventQueue::wait", |cut| async move {
        let broker = with_jobs().await;
        let (handled, queue) = (Handled::default(), queue(&broker));
        queue.start(handled.clone()).await.expect("started");
        let ended = tokio::time::timeout(ms(2_000), cut.of(queue.wait())).await;
        assert!(matches!(ended, Ok(None) | Err(_)), "{cut}: {ended:?}");
        handled.until(JOBS, cut).await;
        queue.stop().await.expect("stopped");
        assert_eq!(handled.numbers(), (0..JOBS).collect::<Vec<_>>(), "{cut}");
        // It has no end by itself.
        cut.polls >= 3
    });
}

#[test]
fn a_dropped_stop_of_a_queue_goes_on_by_itself() {
    at_every_poll("EventQueue::stop", |cut| async move {
        let broker = with_jobs().await;
        let (handled, first) = (Handled::default(), queue(&broker));
        first.start(handled.clone()).await.expect("started");
        handled.until(3, cut).await;
        let done = cut.of(first.stop()).await;
        first.stop().await.expect("stopped");
        let second = queue(&broker);
        second.start(handled.clone()).await.expect("started");
        handled.until(JOBS, cut).await;
        sleep(Duration::from_secs(40)).await;
        second.stop().await.expect("stopped");
        assert_eq!(handled.numbers(), (0..JOBS).collect::<Vec<_>>(), "{cut}");
        assert_eq!(
            broker.share_start_offset("g", "t", 0),
            Some(JOBS as i64),
            "{cut}"
        );
        done.is_some()
    });
}
