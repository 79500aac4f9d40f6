//! What Java wrote we read, and what we wrote Java reads with its CRC checks on: every codec, headers, null keys and
//! values. In: the deterministic records of [`expected`], which `tests/java/WriteRecords.java` writes too.
//! Out: both sides' views as lines of text, which must be equal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::kafka::{
    Admin, ClientConfig, Consumer, ConsumerConfig, Header, NewTopic, Producer, ProducerConfig,
    Record, RecordView, StartOffset, TopicPartition,
};

use crate::fleet::{Fleet, block_on};
use crate::support::java::Jdk;
use crate::support::kafka::Kafka;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const RECORDS: usize = 2_000;
const PARTITIONS: usize = 3;
const POLL: Duration = Duration::from_millis(500);
const JAVA_WITHIN: Duration = Duration::from_secs(60);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    vec![
        fleet.on_one("java_reads_what_we_write", |jdk, kafka| {
            block_on(we_write(kafka, "to-java"));
            assert_same(&java_reads(jdk, kafka, "to-java"), &expected("to-java"));
        }),
        fleet.on_one("java_assigns_as_the_assignors_are_held_to", |jdk, _| {
            javas_assignors_say(jdk);
        }),
        fleet.on_one("we_read_what_java_writes", |jdk, kafka| {
            java_writes(jdk, kafka, "from-java");
            block_on(async {
                assert_same(&we_read(kafka, "from-java").await, &expected("from-java"))
            });
        }),
    ]
}

/// What the library's assignors are held to, drawn once and kept, is what Java's assignors say.
fn javas_assignors_say(jdk: &Jdk) {
    let kept = include_str!("../../src/kafka/group/classic/assignor/java_assignments.txt");
    let said = jdk.run("Assignments", &["0", "1000"], JAVA_WITHIN);
    let said = said.expect("Java's assignments");
    let differ = said
        .lines()
        .zip(kept.lines())
        .find(|(said, kept)| said != kept);
    assert_eq!(differ, None);
    assert_eq!(said.lines().count(), kept.lines().count());
}

async fn we_write(kafka: &Kafka, prefix: &str) {
    let servers = kafka.bootstrap();
    let admin = Admin::connect(ClientConfig::new(&servers))
        .await
        .expect("connected");
    for codec in CODECS {
        let topic = format!("{prefix}-{codec}");
        admin
            .create_topic(&NewTopic::new(&topic, PARTITIONS as i32))
            .await
            .expect("created");
        let properties = [
            ("bootstrap.servers", servers.as_str()),
            ("compression.type", codec),
        ];
        let config = ProducerConfig::from_properties(properties).expect("good properties");
        let producer = Producer::connect(config).await.expect("connected");
        for i in 0..RECORDS {
            let Expected {
                key,
                value,
                headers,
                timestamp_ms,
            } = Expected::number(i);
            let headers: Vec<_> = headers
                .iter()
                .map(|(key, value)| Header::raw(key.as_bytes(), value.as_deref()))
                .collect();
            let mut record = Record::new(&topic);
            record.partition = Some((i % PARTITIONS) as i32);
            record.key = key.as_deref();
            record.value = value.as_deref();
            record.headers = &headers;
            record.timestamp_ms = Some(timestamp_ms);
            drop(producer.enqueue(record).await.expect("admitted"));
        }
        producer.flush().await.expect("all delivered");
    }
}

async fn we_read(kafka: &Kafka, prefix: &str) -> Lines {
    let mut consumer = ConsumerConfig::default();
    consumer.client = ClientConfig::new(&kafka.bootstrap());
    let mut consumer = Consumer::connect(consumer).await.expect("connected");
    let topics = CODECS.map(|codec| format!("{prefix}-{codec}"));
    let partitions = topics
        .iter()
        .flat_map(|topic| (0..PARTITIONS).map(|p| TopicPartition::new(topic.as_str(), p as i32)));
    let starts: Vec<_> = partitions
        .map(|partition| (partition, StartOffset::Earliest))
        .collect();
    consumer.assign(&starts).await.expect("assigned");
    let mut lines = Lines::new();
    let mut read = 0;
    while read < RECORDS * CODECS.len() {
        for record in consumer.poll(POLL).await.expect("polled").iter() {
            let RecordView {
                topic,
                partition,
                offset,
                timestamp_ms,
                ..
            } = record;
            let mut line = format!(
                "{topic}\t{partition}\t{offset}\t{timestamp_ms}\t{}\t{}",
                hex(record.key),
                hex(record.value)
            );
            for header in record.headers.iter() {
                line += &format!("\t{}={}", header.key, hex(header.value));
            }
            lines
                .entry(topic_and_partition(&line))
                .or_default()
                .push(line);
            read += 1;
        }
    }
    lines
}

/// Java fills one topic for each codec, `{prefix}-{codec}`.
fn java_writes(jdk: &Jdk, kafka: &Kafka, prefix: &str) {
    let topics = CODECS.map(|codec| format!("{prefix}-{codec}={codec}"));
    let (bootstrap, partitions, records) = (
        kafka.bootstrap(),
        PARTITIONS.to_string(),
        RECORDS.to_string(),
    );
    let mut arguments = vec![bootstrap.as_str(), &partitions, &records];
    arguments.extend(topics.iter().map(String::as_str));
    jdk.run("WriteRecords", &arguments, JAVA_WITHIN)
        .expect("Java writes");
}

fn java_reads(jdk: &Jdk, kafka: &Kafka, prefix: &str) -> Lines {
    let topics = CODECS.map(|codec| format!("{prefix}-{codec}"));
    let bootstrap = kafka.bootstrap();
    let mut arguments = vec![bootstrap.as_str()];
    arguments.extend(topics.iter().map(String::as_str));
    let printed = jdk
        .run("ReadRecords", &arguments, JAVA_WITHIN)
        .expect("Java reads");
    let mut lines = Lines::new();
    for line in printed.lines() {
        lines
            .entry(topic_and_partition(line))
            .or_default()
            .push(line.to_owned());
    }
    lines
}

/// What topics hold: the lines of each partition's records, in order; their form is that of `tests/java/ReadRecords.java`.
type Lines = BTreeMap<String, Vec<String>>;

fn topic_and_partition(line: &str) -> String {
    line.splitn(3, '\t').take(2).collect::<Vec<_>>().join("-")
}

fn expected(prefix: &str) -> Lines {
    let mut lines = Lines::new();
    for codec in CODECS {
        for i in 0..RECORDS {
            let Expected {
                key,
                value,
                headers,
                timestamp_ms,
            } = Expected::number(i);
            let offset = i / PARTITIONS;
            let (key, value) = (hex(key.as_deref()), hex(value.as_deref()));
            let mut line = format!(
                "{prefix}-{codec}\t{}\t{offset}\t{timestamp_ms}\t{key}\t{value}",
                i % PARTITIONS
            );
            for (name, value) in &headers {
                line += &format!("\t{name}={}", hex(value.as_deref()));
            }
            lines
                .entry(topic_and_partition(&line))
                .or_default()
                .push(line);
        }
    }
    lines
}

/// Compares line by line: a failure shows the first difference, not ten thousand lines.
fn assert_same(read: &Lines, expected: &Lines) {
    assert_eq!(
        read.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (partition, lines) in expected {
        let read = &read[partition];
        for (read, line) in read.iter().zip(lines) {
            assert_eq!(read, line);
        }
        assert_eq!(read.len(), lines.len(), "records of {partition}");
    }
}

/// The record of this number: some keys and values are null, some headers empty, null, or there twice.
struct Expected {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(&'static str, Option<Vec<u8>>)>,
    timestamp_ms: i64,
}

impl Expected {
    fn number(i: usize) -> Expected {
        let key = (!i.is_multiple_of(5)).then(|| format!("key-{}", i % 50).into_bytes());
        let value = (!i.is_multiple_of(7))
            .then(|| format!("value-{i}-{}", "abcdefgh".repeat(i % 40)).into_bytes());
        let mut headers = Vec::new();
        if i % 2 == 1 {
            headers.push(("number", Some(i.to_string().into_bytes())));
            headers.push(("number", Some((i + 1).to_string().into_bytes())));
        }
        if i % 3 == 1 {
            headers.push(("empty", Some(Vec::new())));
            headers.push(("null", None));
        }
        Expected {
            key,
            value,
            headers,
            timestamp_ms: 1_700_000_000_000 + i as i64,
        }
    }
}

fn hex(bytes: Option<&[u8]>) -> String {
    match bytes {
        Some(bytes) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
        None => "-".to_owned(),
    }
}
