//! What producer, consumer, group and admin do on any broker: each case runs on the embedded broker and on Kafka. In: a
//! [`Target`]. Out: a case passes or panics. Topics are named after their case, so that cases share a broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::kafka::{
    Admin, ClientConfig, Consumer, ConsumerConfig, ErrorKind, Header, NewTopic, Producer,
    ProducerConfig, Record, StartOffset, TopicPartition, WriteOutcome,
};

use crate::consumer_protocol::{
    a_group_changes_its_protocol_under_load_and_back, a_static_member_restarts_without_a_rebalance,
    topics_that_match_a_brokers_pattern_are_read_as_they_come_and_go,
};
use crate::fleet::{Fleet, Target};
use crate::patterns::topics_that_match_a_pattern_are_read_as_they_come_and_go;
use crate::rebalance_cost::a_partition_that_stays_is_read_on_while_others_move;
use crate::recreated::a_typed_consumer_loses_nothing_when_its_topic_is_recreated;
use crate::slow_members::slow_handlers_and_listeners_keep_place_and_commit_while_another_member_joins;
use crate::strategies::{
    members_share_by_every_assignment_strategy, members_share_by_the_consumer_protocol,
};

const PARTITIONS: i32 = 3;
const POLL: Duration = Duration::from_millis(500);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    [
        fleet.on_both(
            "records_of_every_codec_come_back_whole",
            records_of_every_codec_come_back_whole,
        ),
        fleet.on_both(
            "a_key_keeps_its_order_at_volume",
            a_key_keeps_its_order_at_volume,
        ),
        fleet.on_both("every_acks_delivers", every_acks_delivers),
        fleet.on_both(
            "a_topic_that_does_not_exist_is_named",
            a_topic_that_does_not_exist_is_named,
        ),
        fleet.on_both(
            "a_record_over_the_limit_fails_alone",
            a_record_over_the_limit_fails_alone,
        ),
        fleet.on_both(
            "records_without_a_key_fail_alone_in_a_compacted_topic",
            records_without_a_key_fail_alone_in_a_compacted_topic,
        ),
        fleet.on_both(
            "two_members_share_a_topic_and_a_leaver_hands_over",
            two_members_share_a_topic_and_a_leaver_hands_over,
        ),
        fleet.on_both(
            "a_new_member_goes_on_where_the_last_one_committed",
            a_new_member_goes_on_where_the_last_one_committed,
        ),
        fleet.on_both(
            "a_seek_goes_there_and_nowhere_else",
            a_seek_goes_there_and_nowhere_else,
        ),
        fleet.on_both(
            "a_paused_partition_is_silent_until_resumed",
            a_paused_partition_is_silent_until_resumed,
        ),
        fleet.on_both(
            "reset_policies_start_where_they_say",
            reset_policies_start_where_they_say,
        ),
        fleet.on_both(
            "topics_are_created_listed_and_deleted",
            topics_are_created_listed_and_deleted,
        ),
        fleet.on_both(
            "topics_that_match_a_pattern_are_read_as_they_come_and_go",
            topics_that_match_a_pattern_are_read_as_they_come_and_go,
        ),
        fleet.on_both(
            "a_typed_consumer_loses_nothing_when_its_topic_is_recreated",
            a_typed_consumer_loses_nothing_when_its_topic_is_recreated,
        ),
        fleet.on_both(
            "members_share_by_every_assignment_strategy",
            members_share_by_every_assignment_strategy,
        ),
        fleet.on_both(
            "members_share_by_the_consumer_protocol",
            members_share_by_the_consumer_protocol,
        ),
        fleet.on_both(
            "a_static_member_restarts_without_a_rebalance",
            a_static_member_restarts_without_a_rebalance,
        ),
        fleet.on_both(
            "topics_that_match_a_brokers_pattern_are_read_as_they_come_and_go",
            topics_that_match_a_brokers_pattern_are_read_as_they_come_and_go,
        ),
        fleet.on_both(
            "a_group_changes_its_protocol_under_load_and_back",
            a_group_changes_its_protocol_under_load_and_back,
        ),
        fleet.on_both(
            "a_partition_that_stays_is_read_on_while_others_move",
            a_partition_that_stays_is_read_on_while_others_move,
        ),
        fleet.on_both(
            "slow_handlers_and_listeners_keep_place_and_commit_while_another_member_joins",
            slow_handlers_and_listeners_keep_place_and_commit_while_another_member_joins,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

async fn records_of_every_codec_come_back_whole(target: Target) {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = target.topic(&format!("codec-{codec}")).await;
        let producer = target.producer(&[("compression.type", codec)]).await;
        let value = |i: usize| "abcdefgh".repeat(i % 300).into_bytes();
        for i in 0..2_000 {
            let (key, value, number) = (format!("k{i}"), value(i), i.to_string());
            let headers = [
                Header::new("number", number.as_bytes()),
                Header::null("null"),
            ];
            let mut record = Record::new(&topic);
            record.key = (i % 5 > 0).then_some(key.as_bytes());
            record.value = (i % 7 > 0).then_some(&value);
            let record = record
                .headers(&headers)
                .partition(0)
                .timestamp_ms(1_700_000_000_000 + i as i64);
            drop(producer.enqueue(record).await.expect("admitted"));
        }
        producer.flush().await.expect("all delivered");
        let mut consumer = target.reader(&topic).await;
        let mut i = 0;
        while i < 2_000 {
            for record in consumer.poll(POLL).await.expect("polled").iter() {
                let (key, value, number) = (format!("k{i}"), value(i), i.to_string());
                assert_eq!(
                    (record.partition, record.offset, record.timestamp_ms),
                    (0, i as i64, 1_700_000_000_000 + i as i64)
                );
                assert_eq!(record.key, (i % 5 > 0).then_some(key.as_bytes()));
                assert_eq!(record.value, (i % 7 > 0).then_some(value.as_slice()));
                let headers: Vec<_> = record
                    .headers
                    .iter()
                    .map(|header| (header.key, header.value))
                    .collect();
                let headers: Vec<_> = headers
                    .iter()
                    .map(|(key, value)| (&**key, *value))
                    .collect();
                assert_eq!(
                    headers,
                    [("number", Some(number.as_bytes())), ("null", None)]
                );
                i += 1;
            }
        }
    }
}

async fn a_key_keeps_its_order_at_volume(target: Target) {
    const RECORDS: u64 = 50_000;
    const KEYS: u64 = 97;
    let topic = target.topic("order").await;
    let producer = target
        .producer(&[("batch.size", "16384"), ("compression.type", "lz4")])
        .await;
    for i in 0..RECORDS {
        let (key, value) = ((i % KEYS).to_be_bytes(), i.to_be_bytes());
        drop(
            producer
                .enqueue(Record::new(&topic).key(&key).value(&value))
                .await
                .expect("admitted"),
        );
    }
    producer.flush().await.expect("all delivered");
    let mut consumer = target.reader(&topic).await;
    let mut next: BTreeMap<u64, u64> = (0..KEYS).map(|key| (key, key)).collect();
    let mut read = 0;
    while read < RECORDS {
        for record in consumer.poll(POLL).await.expect("polled").iter() {
            let number = |bytes: Option<&[u8]>| {
                u64::from_be_bytes(bytes.expect("not null").try_into().expect("eight bytes"))
            };
            let expected = next
                .get_mut(&number(record.key))
                .expect("a key that was written");
            assert_eq!(number(record.value), *expected);
            *expected += KEYS;
            read += 1;
        }
    }
    assert!(
        consumer.poll(POLL).await.expect("polled").is_empty(),
        "nothing comes twice"
    );
}

async fn every_acks_delivers(target: Target) {
    for acks in ["0", "1", "all"] {
        let topic = target.topic(&format!("acks-{acks}")).await;
        let producer = target
            .producer(&[("acks", acks), ("enable.idempotence", "false")])
            .await;
        for i in 0..100 {
            let sent = producer
                .send(Record::new(&topic).partition(1).value(b"v"))
                .await
                .expect("sent");
            assert_eq!(
                (sent.partition, sent.offset),
                (1, (acks != "0").then_some(i))
            );
        }
        let mut consumer = target.reader(&topic).await;
        let mut read = 0;
        while read < 100 {
            read += consumer.poll(POLL).await.expect("polled").count();
        }
        assert_eq!(read, 100);
    }
}

async fn a_topic_that_does_not_exist_is_named(target: Target) {
    let producer = target
        .producer(&[
            ("delivery.timeout.ms", "3000"),
            ("request.timeout.ms", "1000"),
            ("max.block.ms", "3000"),
        ])
        .await;
    let error = producer
        .send(Record::new("no-such-topic").value(b"v"))
        .await
        .expect_err("there is no such topic");
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error}");
    assert!(error.to_string().contains("no-such-topic"), "{error}");
}

async fn a_record_over_the_limit_fails_alone(target: Target) {
    let topic = target.topic("limit").await;
    let producer = target.producer(&[]).await;
    let large = vec![b'x'; 3 << 20];
    let error = producer
        .send(Record::new(&topic).value(&large))
        .await
        .expect_err("over max.request.size");
    assert_eq!(error.kind(), ErrorKind::RecordTooLarge, "{error}");
    producer
        .send(Record::new(&topic).value(b"small"))
        .await
        .expect("the next one is fine");
}

/// KIP-467: Kafka refuses the whole batch, and names them.
async fn records_without_a_key_fail_alone_in_a_compacted_topic(target: Target) {
    let topic = NewTopic::new("keys-only", 1).config("cleanup.policy", "compact");
    target
        .admin()
        .await
        .create_topic(&topic)
        .await
        .expect("created");
    for codec in ["none", "zstd"] {
        let producer = target.producer(&[("compression.type", codec)]).await;
        let mut deliveries = Vec::new();
        for i in 0..2_000u32 {
            let (key, value) = (i.to_be_bytes(), i.to_string());
            let mut record = Record::new("keys-only");
            record.key = (i % 10 != 7).then_some(&key[..]);
            record.value = Some(value.as_bytes());
            deliveries.push(producer.enqueue(record).await.expect("admitted"));
        }
        let mut last = None;
        for (i, delivery) in (0..).zip(deliveries) {
            let fate = delivery.await;
            if i % 10 == 7 {
                let error = fate.expect_err("no key");
                assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{error}");
                assert!(error.to_string().contains("key"), "{error}");
            } else {
                let offset = fate.expect("written").offset;
                assert!(offset > last, "{offset:?} after {last:?}");
                last = offset;
            }
        }
    }
}

async fn two_members_share_a_topic_and_a_leaver_hands_over(target: Target) {
    let topic = target.topic("shared").await;
    let producer = target.producer(&[]).await;
    let mut one = target.member("sharers", &topic).await;
    let mut other = target.member("sharers", &topic).await;
    let share = |consumer: &Consumer| consumer.assignment().len();
    while share(&one) == 0
        || share(&other) == 0
        || share(&one) + share(&other) != PARTITIONS as usize
    {
        let (a, b) = tokio::join!(one.poll(POLL), other.poll(POLL));
        assert!(a.expect("polled").is_empty() && b.expect("polled").is_empty());
    }
    let mut seen = Vec::new();
    send_numbers(&producer, &topic, 0..300).await;
    while seen.len() < 300 {
        let (a, b) = tokio::join!(one.poll(POLL), other.poll(POLL));
        for records in [a.expect("polled"), b.expect("polled")] {
            seen.extend(records.iter().map(|record| number(record.value)));
        }
    }
    one.commit_sync().await.expect("committed");
    other.commit_sync().await.expect("committed");
    other.close().await.expect("left");
    // What comes in before the rebalance is not committed, and would come again after it.
    while share(&one) != PARTITIONS as usize {
        assert!(one.poll(POLL).await.expect("polled").is_empty());
    }
    send_numbers(&producer, &topic, 300..600).await;
    while seen.len() < 600 {
        seen.extend(
            one.poll(POLL)
                .await
                .expect("polled")
                .iter()
                .map(|record| number(record.value)),
        );
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..600).collect::<Vec<_>>(), "each record once");
}

async fn a_new_member_goes_on_where_the_last_one_committed(target: Target) {
    let topic = target.topic("resumed").await;
    let producer = target.producer(&[]).await;
    send_numbers(&producer, &topic, 0..100).await;
    let mut first = target.member("resumers", &topic).await;
    let mut seen = Vec::new();
    while seen.len() < 100 {
        seen.extend(
            first
                .poll(POLL)
                .await
                .expect("polled")
                .iter()
                .map(|record| number(record.value)),
        );
    }
    first.commit_sync().await.expect("committed");
    first.close().await.expect("left");
    send_numbers(&producer, &topic, 100..200).await;
    let mut second = target.member("resumers", &topic).await;
    while seen.len() < 200 {
        seen.extend(
            second
                .poll(POLL)
                .await
                .expect("polled")
                .iter()
                .map(|record| number(record.value)),
        );
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
}

async fn a_seek_goes_there_and_nowhere_else(target: Target) {
    let topic = target.topic("sought").await;
    let producer = target.producer(&[]).await;
    for i in 0..1_000u64 {
        drop(
            producer
                .enqueue(Record::new(&topic).partition(0).value(&i.to_be_bytes()))
                .await
                .expect("admitted"),
        );
    }
    producer.flush().await.expect("delivered");
    let mut consumer = target.reader(&topic).await;
    let partition = TopicPartition::new(topic.as_str(), 0);
    while consumer.poll(POLL).await.expect("polled").is_empty() {}
    for offset in [700, 3, 999] {
        consumer.seek(&partition, offset).expect("assigned");
        let mut first = None;
        while first.is_none() {
            first = consumer
                .poll(POLL)
                .await
                .expect("polled")
                .iter()
                .next()
                .map(|record| (record.offset, number(record.value)));
        }
        assert_eq!(first, Some((offset, offset as u64)));
    }
    let ends = consumer
        .end_offsets(std::slice::from_ref(&partition))
        .await
        .expect("listed");
    assert_eq!(ends.get(&partition), Some(&1_000));
}

async fn a_paused_partition_is_silent_until_resumed(target: Target) {
    let topic = target.topic("paused").await;
    let producer = target.producer(&[]).await;
    let mut consumer = target.reader(&topic).await;
    let paused = [TopicPartition::new(topic.as_str(), 0)];
    consumer.pause(&paused).expect("assigned");
    for partition in [0, 1] {
        producer
            .send(Record::new(&topic).partition(partition).value(b"v"))
            .await
            .expect("sent");
    }
    let mut seen = Vec::new();
    // Two polls more show that nothing of the other comes behind it.
    let mut polls_left = 2;
    while polls_left > 0 {
        polls_left -= usize::from(!seen.is_empty());
        seen.extend(
            consumer
                .poll(POLL)
                .await
                .expect("polled")
                .iter()
                .map(|record| record.partition),
        );
    }
    assert_eq!(seen, [1]);
    consumer.resume(&paused).expect("assigned");
    while seen.len() < 2 {
        seen.extend(
            consumer
                .poll(POLL)
                .await
                .expect("polled")
                .iter()
                .map(|record| record.partition),
        );
    }
    assert_eq!(seen, [1, 0]);
}

async fn reset_policies_start_where_they_say(target: Target) {
    let topic = target.topic("reset").await;
    let producer = target.producer(&[]).await;
    producer
        .send(Record::new(&topic).partition(0).value(b"before"))
        .await
        .expect("sent");
    let partition = TopicPartition::new(topic.as_str(), 0);
    for (reset, expected) in [("earliest", &b"before"[..]), ("latest", b"after")] {
        let mut consumer = target
            .consumer(&[
                ("auto.offset.reset", reset),
                ("group.id", &format!("reset-{reset}")),
            ])
            .await;
        consumer
            .assign(&[(partition.clone(), StartOffset::Committed)])
            .await
            .expect("assigned");
        if reset == "latest" {
            // What is latest is settled once the position is known.
            while consumer.position(&partition).is_none() {
                assert!(consumer.poll(POLL).await.expect("polled").is_empty());
            }
            producer
                .send(Record::new(&topic).partition(0).value(b"after"))
                .await
                .expect("sent");
        }
        let mut first = None;
        while first.is_none() {
            first = consumer
                .poll(POLL)
                .await
                .expect("polled")
                .iter()
                .next()
                .map(|record| record.value.expect("a value").to_vec());
        }
        assert_eq!(first.as_deref(), Some(expected));
    }
    let mut consumer = target
        .consumer(&[("auto.offset.reset", "none"), ("group.id", "reset-none")])
        .await;
    consumer
        .assign(&[(partition, StartOffset::Committed)])
        .await
        .expect("assigned");
    let error = loop {
        match consumer.poll(POLL).await {
            Ok(records) => assert!(records.is_empty(), "there is no offset to start at"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::NoOffset, "{error}");
}

async fn topics_are_created_listed_and_deleted(target: Target) {
    let topic = target.topic("listed").await;
    let admin = target.admin().await;
    let listed = async || {
        admin
            .list_topics()
            .await
            .expect("listed")
            .get(&topic)
            .is_some_and(Result::is_ok)
    };
    assert!(listed().await);
    let again = admin
        .create_topic(&NewTopic::new(&topic, PARTITIONS))
        .await
        .expect_err("it exists");
    assert!(
        again.to_string().contains("TOPIC_ALREADY_EXISTS"),
        "{again}"
    );
    let described = admin
        .describe_topics(&[&topic])
        .await
        .expect("described")
        .remove(&topic)
        .expect("a result")
        .expect("it exists");
    assert!(
        described
            .partitions
            .iter()
            .all(|partition| partition.leader.is_some())
    );
    assert_eq!(described.partitions.len(), PARTITIONS as usize);
    admin
        .delete_topics(&[&topic])
        .await
        .expect("answered")
        .remove(&topic)
        .expect("a result")
        .expect("deleted");
    while listed().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends each number under its own key and waits until all are delivered.
pub(crate) async fn send_numbers(producer: &Producer, topic: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let bytes = number.to_be_bytes();
        drop(
            producer
                .enqueue(Record::new(topic).key(&bytes).value(&bytes))
                .await
                .expect("admitted"),
        );
    }
    producer.flush().await.expect("all delivered");
}

pub(crate) fn number(bytes: Option<&[u8]>) -> u64 {
    u64::from_be_bytes(bytes.expect("not null").try_into().expect("eight bytes"))
}

impl Target {
    /// Creates a topic of three partitions, named after the case, and waits until their leaders answer: with acks=0 nobody would be told
    /// that they do not yet.
    pub(crate) async fn topic(&self, name: &str) -> String {
        let admin = self.admin().await;
        admin
            .create_topic(&NewTopic::new(name, PARTITIONS))
            .await
            .expect("created");
        let partitions: Vec<_> = (0..PARTITIONS)
            .map(|p| TopicPartition::new(name, p))
            .collect();
        let ends = self.consumer(&[]).await.end_offsets(&partitions).await;
        assert_eq!(ends.expect("led").len(), partitions.len());
        name.to_owned()
    }

    pub(crate) async fn admin(&self) -> Admin {
        let config =
            ClientConfig::from_properties([("bootstrap.servers", self.bootstrap.as_str())]);
        Admin::connect(config.expect("good properties"))
            .await
            .expect("connected")
    }

    pub(crate) async fn producer(&self, properties: &[(&str, &str)]) -> Producer {
        let given = [
            ("bootstrap.servers", self.bootstrap.as_str()),
            ("acks", "all"),
            ("enable.idempotence", "true"),
        ];
        let config = ProducerConfig::from_properties(given.iter().chain(properties).copied());
        Producer::connect(config.expect("good properties"))
            .await
            .expect("connected")
    }

    pub(crate) async fn consumer(&self, properties: &[(&str, &str)]) -> Consumer {
        let given = [
            ("bootstrap.servers", self.bootstrap.as_str()),
            ("auto.offset.reset", "earliest"),
        ];
        let config = ConsumerConfig::from_properties(given.iter().chain(properties).copied());
        Consumer::connect(config.expect("good properties"))
            .await
            .expect("connected")
    }

    /// A consumer without a group, at the beginning of every partition.
    async fn reader(&self, topic: &str) -> Consumer {
        let mut consumer = self.consumer(&[]).await;
        let partitions: Vec<_> = (0..PARTITIONS)
            .map(|p| (TopicPartition::new(topic, p), StartOffset::Earliest))
            .collect();
        consumer.assign(&partitions).await.expect("assigned");
        consumer
    }

    async fn member(&self, group: &str, topic: &str) -> Consumer {
        let mut consumer = self.consumer(&[("group.id", group)]).await;
        consumer.subscribe(&[topic]).await.expect("subscribed");
        consumer
    }
}
