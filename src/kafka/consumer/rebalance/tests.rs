//! The part of a rebalance that runs inside polls, under a membership that revokes a part of an assignment, as cooperative protocols do.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::kafka::consumer::AssignmentStrategies;
use crate::kafka::consumer::state::Source;
use crate::kafka::group::member::GroupMember;
use crate::kafka::runtime::Mutex;
use crate::kafka::runtime::tasks::tests::one_broker;
use crate::kafka::{
    ConsumerConfig, ConsumerHandle, OffsetReset, Producer, ProducerConfig, RebalanceListener,
    Record,
};

fn of(numbers: &[i32]) -> Vec<TopicPartition> {
    let partitions = numbers.iter();
    partitions.map(|it| TopicPartition::new("t", *it)).collect()
}

/// What a listener is told, and of which partitions.
type News = (&'static str, Vec<TopicPartition>);

/// What the listener was told, in order.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<News>>>);

impl Told {
    fn note(&self, what: &'static str, partitions: &[TopicPartition]) {
        self.0.lock().push((what, partitions.to_vec()));
    }

    fn take(&self) -> Vec<News> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// How long it takes to finish what goes.
const FINISHING: Duration = Duration::from_secs(2);

impl RebalanceListener for Told {
    async fn on_revoking(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.note("revoking", partitions);
        tokio::time::sleep(FINISHING).await;
    }

    async fn on_assigned(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.note("assigned", partitions);
    }

    async fn on_revoked(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.note("revoked", partitions);
    }

    async fn on_lost(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.note("lost", partitions);
    }
}

async fn write(producer: &Producer, partition: i32, count: usize) {
    for _ in 0..count {
        let record = Record::new("t").value(b"v").partition(partition);
        producer.send(record).await.expect("written");
    }
}

/// Partition and offset of the next `count` records, and that no more come.
async fn read(consumer: &mut Consumer, count: usize) -> Vec<(i32, i64)> {
    let mut read = Vec::new();
    let mut last = false;
    while !last {
        last = read.len() >= count;
        let records = consumer.poll(Duration::from_secs(1)).await.expect("a poll");
        read.extend(records.iter().map(|it| (it.partition, it.offset)));
    }
    read.sort_unstable();
    read
}

/// A consumer of `t` with its three partitions, which is told; who writes to it; and the group, of which this test says what it wants.
async fn of_a_group(told: &Told) -> (Consumer, Producer, GroupMember) {
    let (broker, client) = one_broker();
    broker.add_partitions("t", 3).expect("more");
    let producer = Producer::connect(ProducerConfig {
        client: client.clone(),
        ..ProducerConfig::default()
    });
    let producer = producer.await.expect("a broker");
    let config = ConsumerConfig {
        client,
        group_id: Some("g".to_string()),
        auto_offset_reset: OffsetReset::Earliest,
        enable_auto_commit: false,
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::connect(config).await.expect("a broker");
    consumer.listener = Some(Arc::new(told.clone()));
    // It never joins, since nobody runs it: what it wants of polls, this test says.
    let context = consumer.context().clone();
    let membership = consumer.membership_config("g".to_string());
    let topics = vec!["t".to_string()];
    let ready = context.ready.clone();
    let assignors = AssignmentStrategies::default().assignors();
    let group = GroupMember::classic(
        membership,
        assignors,
        context.cluster.clone(),
        topics,
        ready,
    );
    context.state().source = Source::Subscribed(group.clone());
    (consumer, producer, group)
}

#[tokio::test(start_paused = true)]
async fn partitions_come_and_go_one_by_one_and_the_others_are_read_on() {
    let told = Told::default();
    let (mut consumer, producer, group) = of_a_group(&told).await;
    let wants = |duty: Duty| group.with(|membership| membership.post_duty(duty));

    for partition in 0..3 {
        write(&producer, partition, 2).await;
    }
    wants(Duty::Assign(of(&[0, 1])));
    let first = read(&mut consumer, 4).await;
    assert_eq!(first, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    assert_eq!(told.take(), [("assigned", of(&[0, 1]))]);

    consumer.pause(&of(&[0])).expect("assigned");
    write(&producer, 0, 1).await;
    write(&producer, 1, 1).await;
    wants(Duty::Revoke(of(&[1])));
    wants(Duty::Assign(of(&[2])));
    assert_eq!(read(&mut consumer, 2).await, [(2, 0), (2, 1)]);
    let news = [
        ("revoking", of(&[1])),
        ("revoked", of(&[1])),
        ("assigned", of(&[2])),
    ];
    assert_eq!(told.take(), news);
    assert_eq!(
        consumer.paused(),
        of(&[0]),
        "a pause is that of its partition"
    );
    consumer.resume(&of(&[0])).expect("assigned");
    assert_eq!(
        read(&mut consumer, 1).await,
        [(0, 2)],
        "from where it stood"
    );

    wants(Duty::Lost(of(&[0])));
    write(&producer, 0, 1).await;
    write(&producer, 2, 1).await;
    assert_eq!(read(&mut consumer, 1).await, [(2, 2)]);
    assert_eq!(told.take(), [("lost", of(&[0]))]);
    assert_eq!(consumer.assignment(), of(&[2]));
}

/// Who polls often reads on what stays; who seldom polls does not keep the group waiting for it.
#[tokio::test(start_paused = true)]
async fn a_poll_waits_for_what_goes_as_long_as_the_application_was_away() {
    let told = Told::default();
    let (mut consumer, producer, group) = of_a_group(&told).await;
    let wants = |duty: Duty| group.with(|membership| membership.post_duty(duty));
    for partition in 0..2 {
        write(&producer, partition, 2).await;
    }
    wants(Duty::Assign(of(&[0, 1])));
    read(&mut consumer, 4).await;
    write(&producer, 0, 1).await;
    write(&producer, 1, 1).await;
    wants(Duty::Revoke(of(&[1])));
    let records = consumer.poll(FINISHING / 2).await.expect("a poll");
    let of_records: Vec<_> = records.iter().map(|it| (it.partition, it.offset)).collect();
    assert_eq!(of_records, [(0, 2)], "at once, and nothing of what goes");
    assert_eq!(consumer.assignment(), of(&[0, 1]));
    let last = told.take().pop();
    assert_eq!(last, Some(("revoking", of(&[1]))), "not told of more yet");

    tokio::time::sleep(FINISHING * 3 / 4).await;
    let began = Instant::now();
    let rest = consumer.poll(Duration::ZERO).await.expect("a poll");
    assert_eq!(rest.count(), 0);
    assert!(began.elapsed() >= FINISHING / 8, "it waited");
    assert_eq!(told.take(), [("revoked", of(&[1]))]);
    assert_eq!(consumer.assignment(), of(&[0]));
}

/// A poll that is dropped leaves what is being finished to the next one.
#[tokio::test(start_paused = true)]
async fn what_goes_is_finished_once_though_polls_are_dropped() {
    let told = Told::default();
    let (mut consumer, _producer, group) = of_a_group(&told).await;
    let wants = |duty: Duty| group.with(|membership| membership.post_duty(duty));
    wants(Duty::Assign(of(&[0, 1])));
    read(&mut consumer, 0).await;
    told.take();
    wants(Duty::Revoke(of(&[1])));
    let step = FINISHING / 4;
    for _ in 0..10 {
        let _ = tokio::time::timeout(step, consumer.poll(FINISHING)).await;
    }
    let news = [("revoking", of(&[1])), ("revoked", of(&[1]))];
    assert_eq!(told.take(), news);
}

/// What is lost meanwhile is not finished.
#[tokio::test(start_paused = true)]
async fn what_is_lost_while_it_is_finished_is_lost() {
    let told = Told::default();
    let (mut consumer, _producer, group) = of_a_group(&told).await;
    let wants = |duty: Duty| group.with(|membership| membership.post_duty(duty));
    wants(Duty::Assign(of(&[0, 1])));
    read(&mut consumer, 0).await;
    told.take();
    wants(Duty::Revoke(of(&[1])));
    consumer.poll(FINISHING / 2).await.expect("a poll");
    group.with(|membership| {
        let revoke = Duty::Revoke(of(&[1]));
        membership.duty_done(&revoke, Instant::now());
        membership.post_duty(Duty::Lost(of(&[0, 1])));
    });
    consumer.poll(FINISHING * 2).await.expect("a poll");
    let news = [("revoking", of(&[1])), ("lost", of(&[0, 1]))];
    assert_eq!(told.take(), news);
    assert!(consumer.assignment().is_empty());
}
