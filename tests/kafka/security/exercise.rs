//! What clients do with a cluster, on any listener: topics are created, described and deleted, records of every codec written and read by a group
//! that grows and goes on where it was, and events handled once. In: how to connect, and a topic of one's own. Out: it holds, or panics.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use pat_events::events::email::EmailDeleted;
use pat_events::events::{self, EventConsumer, EventProducer};
use pat_events::kafka::{
    Admin, Client, ClientConfig, Consumer, ConsumerConfig, ErrorKind, Header, NewTopic,
    OffsetReset, ProducerConfig, Record, RecordView, TopicPartition,
};

use crate::recreated::{Deletions, Seen};

const PARTITIONS: i32 = 3;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const RECORDS_OF_A_CODEC: usize = 120;
const RECORDS: usize = CODECS.len() * RECORDS_OF_A_CODEC;
const EVENTS: usize = 30;
const POLL: Duration = Duration::from_millis(200);
/// How soon a member hears that another one has joined.
const HEARTBEAT: Duration = Duration::from_millis(250);

/// All of it, on one client.
pub async fn exercise(config: ClientConfig, topic: &str) {
    let client = Client::lazy(config).expect("a client");
    let admin = client.admin();
    topics_are_created_and_described(&admin, topic).await;
    write(&client, topic, 0..RECORDS).await;
    let first = member(&client, topic).await;
    let (first, second) = a_group_grows(&client, topic, first).await;
    a_member_goes_on_where_the_group_was(&client, topic, first, second).await;
    offsets_are_told(&client, topic).await;
    let events = format!("{topic}-events");
    events_are_handled_once(&client, &events).await;
    topics_are_deleted(&admin, &[topic, &events]).await;
}

async fn topics_are_created_and_described(admin: &Admin, topic: &str) {
    let new = NewTopic::new(topic, PARTITIONS).config("retention.ms", "3600000");
    let created = admin.create_topic(&new).await;
    created.unwrap_or_else(|error| panic!("{topic}: {error}"));
    let again = admin.create_topic(&new).await.expect_err("it exists");
    assert!(
        again.to_string().contains("TOPIC_ALREADY_EXISTS"),
        "{again}"
    );
    // Kafka's brokers hear of it a moment after the controller has created it.
    let described = loop {
        let mut described = admin.describe_topics(&[topic]).await.expect("described");
        match described.remove(topic).expect("a result") {
            Ok(described) => break described,
            Err(error) => assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(described.partitions.len(), PARTITIONS as usize);
    assert!(admin.list_topics().await.expect("listed")[topic].is_ok());
    let cluster = admin.describe_cluster().await.expect("described");
    assert_eq!(cluster.brokers.len(), 1);
    let apis = admin.api_versions(cluster.brokers[0].id).await;
    assert!(apis.expect("told").iter().any(|api| api.chosen().is_some()));
}

/// Writes the records of these numbers, each codec's in turn, by an idempotent producer of its own.
async fn write(client: &Client, topic: &str, numbers: Range<usize>) {
    for (index, codec) in CODECS.into_iter().enumerate() {
        let mut config = ProducerConfig::default();
        config.set("compression.type", codec).expect("a codec");
        let producer = client.producer(config).expect("a producer");
        let mut deliveries = Vec::new();
        let own = numbers.clone().filter(|it| it % CODECS.len() == index);
        for number in own {
            let (key, value) = (key(number), value(number));
            let headers = [Header::new("codec", codec.as_bytes()), Header::null("none")];
            let record = Record::new(topic)
                .key(key.as_bytes())
                .headers(&headers)
                .value(value.as_bytes())
                .partition(partition(number));
            deliveries.push((number, producer.enqueue(record).await.expect("accepted")));
        }
        for (number, delivery) in deliveries {
            let written = delivery.await.expect("written");
            assert_eq!(written.partition, partition(number));
            assert!(written.offset.is_some());
        }
        let closed = producer.close(Duration::from_secs(10)).await;
        closed.expect("closed");
    }
}

fn partition(number: usize) -> i32 {
    (number % PARTITIONS as usize) as i32
}

fn key(number: usize) -> String {
    format!("key-{number}")
}

fn value(number: usize) -> String {
    format!("{number}-").repeat(1 + number % 40)
}

/// The number of a record that is as it was written.
fn number(record: &RecordView<'_>) -> usize {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).expect("text").to_owned();
    let key_read = text(record.key.expect("a key"));
    let number = key_read.strip_prefix("key-").expect("a key of ours");
    let number: usize = number.parse().expect("a number");
    assert_eq!(text(record.value.expect("a value")), value(number));
    assert_eq!(record.partition, partition(number));
    let codec = record.headers.get("codec").flatten().expect("a header");
    assert_eq!(text(codec), CODECS[number % CODECS.len()]);
    assert_eq!(record.headers.get("none"), Some(None));
    number
}

async fn member(client: &Client, topic: &str) -> Consumer {
    let mut config = ConsumerConfig::default();
    config.group_id = Some(topic.to_owned());
    config.auto_offset_reset = OffsetReset::Earliest;
    config.heartbeat_interval = HEARTBEAT;
    let mut consumer = client.consumer(config).expect("a consumer");
    consumer.subscribe(&[topic]).await.expect("a topic");
    consumer
}

/// Polls until `seen` has all of `wanted`; each comes once.
async fn read(members: &mut [&mut Consumer], wanted: Range<usize>) {
    let mut seen = BTreeSet::new();
    while seen.len() < wanted.len() {
        for member in &mut *members {
            for record in &member.poll(POLL).await.expect("polled") {
                let number = number(&record);
                assert!(wanted.contains(&number), "{number} was read before");
                assert!(seen.insert(number), "{number} twice");
            }
        }
    }
}

/// One member reads everything and commits it; a second one joins, and what is written then comes to one of them.
async fn a_group_grows(client: &Client, topic: &str, mut first: Consumer) -> (Consumer, Consumer) {
    read(&mut [&mut first], 0..RECORDS).await;
    first.commit_sync().await.expect("committed");
    let mut second = member(client, topic).await;
    let share = |member: &Consumer| member.assignment().len();
    while share(&first) == 0
        || share(&second) == 0
        || share(&first) + share(&second) != PARTITIONS as usize
    {
        let (one, other) = tokio::join!(first.poll(POLL), second.poll(POLL));
        assert!(one.expect("polled").is_empty() && other.expect("polled").is_empty());
    }
    write(client, topic, RECORDS..2 * RECORDS).await;
    read(&mut [&mut first, &mut second], RECORDS..2 * RECORDS).await;
    (first, second)
}

/// Both commit and leave; a third member reads what is written afterwards, and nothing else.
async fn a_member_goes_on_where_the_group_was(
    client: &Client,
    topic: &str,
    first: Consumer,
    second: Consumer,
) {
    for member in [first, second] {
        member.commit_sync().await.expect("committed");
        member.close().await.expect("left");
    }
    write(client, topic, 2 * RECORDS..3 * RECORDS).await;
    let mut third = member(client, topic).await;
    read(&mut [&mut third], 2 * RECORDS..3 * RECORDS).await;
    let partitions: Vec<_> = partitions(topic).collect();
    let committed = third.committed(&partitions).await.expect("committed");
    assert_eq!(committed.len(), PARTITIONS as usize);
    let sum: i64 = committed.values().map(|it| it.offset).sum();
    assert_eq!(sum, 2 * RECORDS as i64);
    third.close().await.expect("left");
}

fn partitions(topic: &str) -> impl Iterator<Item = TopicPartition> {
    (0..PARTITIONS).map(move |partition| TopicPartition::new(topic, partition))
}

async fn offsets_are_told(client: &Client, topic: &str) {
    let consumer = client.consumer(ConsumerConfig::default());
    let consumer = consumer.expect("a consumer");
    let partitions: Vec<_> = partitions(topic).collect();
    let begins = consumer.beginning_offsets(&partitions).await;
    assert!(begins.expect("told").values().all(|it| *it == 0));
    let ends = consumer.end_offsets(&partitions).await.expect("told");
    assert_eq!(ends.values().sum::<i64>(), 3 * RECORDS as i64);
    let times: Vec<_> = partitions.into_iter().map(|it| (it, 0)).collect();
    let first = consumer.offsets_for_times(&times).await.expect("told");
    assert!(first.values().all(|it| it.offset == 0), "{first:?}");
    assert_eq!(first.len(), PARTITIONS as usize);
}

async fn events_are_handled_once(client: &Client, topic: &str) {
    let new = NewTopic::new(topic, PARTITIONS);
    client.admin().create_topic(&new).await.expect("created");
    let config = events::ProducerConfig::new("", topic).idempotent();
    let producer = EventProducer::on(client, config).expect("a producer");
    for number in 0..EVENTS {
        let event = EmailDeleted {
            email_id: format!("e-{number}"),
            ..Default::default()
        };
        drop(producer.enqueue(&event).await.expect("accepted"));
    }
    producer.flush().await.expect("written");
    let mut config = events::ConsumerConfig::new("", topic, topic);
    config.auto_offset_reset = OffsetReset::Earliest;
    let consumer = EventConsumer::<Deletions>::on(client, config).expect("a consumer");
    let seen = Seen::default();
    consumer.start(seen.clone()).await.expect("started");
    seen.until(EVENTS).await;
    consumer.stop().await.expect("stopped");
    seen.assert_once();
    assert_eq!(consumer.metrics().failed_commits, 0);
}

async fn topics_are_deleted(admin: &Admin, topics: &[&str]) {
    let deleted = admin.delete_topics(topics).await.expect("answered");
    for (topic, deleted) in deleted {
        deleted.unwrap_or_else(|error| panic!("{topic}: {error}"));
    }
    let are_there = async || {
        let listed = admin.list_topics().await.expect("listed");
        topics
            .iter()
            .any(|topic| listed.get(*topic).is_some_and(Result::is_ok))
    };
    while are_there().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
