//! Members whose handlers and rebalance listeners take longer than the session while another member joins, on any broker: they lose neither
//! their place nor their commit, and nothing is read twice.
//!
//! They take 8 and 14 seconds; `SLOW_MEMBERS=40` lets them take so many as well.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::events::email::EmailDeleted;
use pat_events::events::{ConsumerConfig, Context, EventConsumer, HandlerError};
use pat_events::kafka::consumer::{Consumer, ConsumerHandle, RebalanceListener};
use pat_events::kafka::{Result, TopicPartition};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::fleet::Target;
use crate::recreated::{DeletionHandler, Deletions, PATIENCE, Seen, send};
use crate::suite::send_numbers;

const SESSION_MS: &str = "6000";
const POLL: Duration = Duration::from_millis(200);
const RECORDS: u64 = 30;

/// The group that a case is about.
#[derive(Clone)]
struct Group {
    target: Target,
    protocol: &'static str,
}

impl Group {
    /// What makes a member one of this group. In the consumer protocol session and heartbeats are the brokers', as long.
    fn properties<'a>(&self, id: &'a str) -> Vec<(&'a str, &'a str)> {
        let common = [("group.id", id), ("group.protocol", self.protocol)];
        let classic = [
            ("session.timeout.ms", SESSION_MS),
            ("heartbeat.interval.ms", "500"),
        ];
        let classic = classic.into_iter().filter(|_| self.protocol == "classic");
        common.into_iter().chain(classic).collect()
    }
}

/// Longer than the session, and longer than two of them; side by side.
pub async fn slow_handlers_and_listeners_keep_place_and_commit_while_another_member_joins(
    target: Target,
) {
    let mut cases = JoinSet::new();
    let more = std::env::var("SLOW_MEMBERS").ok();
    let more = more.map(|it| it.parse().expect("SLOW_MEMBERS is a number of seconds"));
    for protocol in ["classic", "consumer"] {
        let target = target.clone();
        let group = Group { target, protocol };
        for seconds in [8, 14].into_iter().chain(more) {
            let takes = Duration::from_secs(seconds);
            cases.spawn(a_handler_takes(takes, group.clone()));
            cases.spawn(a_listener_takes(takes, group.clone()));
        }
        let typed = Duration::from_secs(more.unwrap_or(8));
        cases.spawn(a_typed_handler_takes(typed, group));
    }
    while let Some(case) = cases.join_next().await {
        case.expect("no panic");
    }
}

async fn a_handler_takes(time: Duration, group: Group) {
    let topic = filled_topic(&group, &format!("slow-handler-{}", time.as_secs())).await;
    let mut one = member(&group, &topic, None).await;
    read_all(&mut one).await;
    let other = join(&group, &topic);
    sleep(time).await;
    one.commit_sync().await.expect("it has kept its place");
    hands_over_without_repetition(one, other).await;
}

async fn a_listener_takes(time: Duration, group: Group) {
    let topic = filled_topic(&group, &format!("slow-listener-{}", time.as_secs())).await;
    let slow = Slow {
        time,
        outcomes: Arc::default(),
    };
    let outcomes = slow.outcomes.clone();
    let mut one = member(&group, &topic, Some(slow)).await;
    read_all(&mut one).await;
    let other = join(&group, &topic);
    hands_over_without_repetition(one, other).await;
    let outcomes = outcomes.lock().expect("lock");
    assert!(
        matches!(outcomes.as_slice(), [Some(Ok(()))]),
        "{outcomes:?}"
    );
}

/// Finishes slowly what its partitions owe, then commits.
struct Slow {
    time: Duration,
    /// Of each revocation, its commit; `None` for partitions that were lost.
    outcomes: Arc<Mutex<Vec<Option<Result<()>>>>>,
}

impl RebalanceListener for Slow {
    async fn on_revoked(&self, consumer: &ConsumerHandle, _: &[TopicPartition]) {
        sleep(self.time).await;
        let committed = consumer.commit_sync().await;
        self.outcomes.lock().expect("lock").push(Some(committed));
    }

    async fn on_lost(&self, _: &ConsumerHandle, _: &[TopicPartition]) {
        self.outcomes.lock().expect("lock").push(None);
    }
}

async fn filled_topic(group: &Group, name: &str) -> String {
    let (target, name) = (&group.target, format!("{name}-{}", group.protocol));
    let topic = target.topic(&name).await;
    send_numbers(&target.producer(&[]).await, &topic, 0..RECORDS).await;
    topic
}

async fn member(group: &Group, topic: &str, listener: Option<Slow>) -> Consumer {
    let mut properties = group.properties(topic);
    properties.push(("enable.auto.commit", "false"));
    let mut consumer = group.target.consumer(&properties).await;
    let subscribed = match listener {
        Some(listener) => consumer.subscribe_with(&[topic], listener).await,
        None => consumer.subscribe(&[topic]).await,
    };
    subscribed.expect("subscribed");
    consumer
}

async fn read_all(consumer: &mut Consumer) {
    let mut read = 0;
    while read < RECORDS {
        read += consumer.poll(POLL).await.expect("polled").count() as u64;
    }
}

/// Another member, once it has partitions, and how many records it got.
fn join(group: &Group, topic: &str) -> JoinHandle<(Consumer, usize)> {
    let (group, topic) = (group.clone(), topic.to_owned());
    tokio::spawn(async move {
        let mut other = member(&group, &topic, None).await;
        let mut read = 0;
        while other.assignment().is_empty() {
            read += other.poll(POLL).await.expect("polled").count();
        }
        (other, read)
    })
}

async fn hands_over_without_repetition(mut one: Consumer, other: JoinHandle<(Consumer, usize)>) {
    let all = one.assignment().len();
    let mut repeated = 0;
    let shared = async {
        while one.assignment().len() == all {
            repeated += one.poll(POLL).await.expect("polled").count();
        }
    };
    timeout(PATIENCE, shared).await.expect("a rebalance");
    // Its place in the new generation wants polls no more than heartbeats.
    let (mut other, read) = other.await.expect("no panic");
    let (ones, others) = tokio::join!(one.poll(POLL * 5), other.poll(POLL * 5));
    repeated += read + ones.expect("polled").count() + others.expect("polled").count();
    assert_eq!(repeated, 0, "what was committed is not read again");
}

#[derive(Clone)]
struct SlowOnce {
    seen: Seen,
    slow: &'static str,
    time: Duration,
}

impl DeletionHandler for SlowOnce {
    async fn handle_email_deleted(
        &self,
        context: &Context<'_>,
        event: EmailDeleted,
    ) -> std::result::Result<(), HandlerError> {
        if event.email_id == self.slow {
            sleep(self.time).await;
        }
        self.seen.handle_email_deleted(context, event).await
    }
}

async fn a_typed_handler_takes(time: Duration, group: Group) {
    let target = &group.target;
    let topic = format!("slow-typed-handler-{}", group.protocol);
    let topic = target.topic(&topic).await;
    let handler = SlowOnce {
        seen: Seen::default(),
        slow: "e-3",
        time,
    };
    let start = async || {
        let mut properties = group.properties(&topic);
        properties.extend([
            ("bootstrap.servers", target.bootstrap.as_str()),
            ("topics", &*topic),
            ("auto.offset.reset", "earliest"),
        ]);
        let config = ConsumerConfig::from_properties(properties);
        let config = config.expect("good properties");
        let consumer = EventConsumer::<Deletions>::new(config).expect("good");
        consumer.start(handler.clone()).await.expect("started");
        consumer
    };
    send(target, &topic, 0..10).await;
    let first = start().await;
    handler.seen.until(9).await;
    let second = start().await;
    let shared = async {
        while second.metrics().lag_by_partition.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, shared).await.expect("its share");
    send(target, &topic, 10..20).await;
    handler.seen.until(20).await;
    for consumer in [&first, &second] {
        let metrics = consumer.metrics();
        assert_eq!(metrics.failed_commits, 0, "{:?}", metrics.last_error);
    }
    first.stop().await.expect("stopped well");
    second.stop().await.expect("stopped well");
    handler.seen.assert_once();
}
