//! Brokers die in the middle of the work. In: a Kafka of three brokers. Out: every record is there once, where its
//! acknowledgement says, in the order of its key; the consumer reads through it all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::kafka::{
    Admin, ClientConfig, Consumer, ConsumerConfig, NewTopic, Producer, ProducerConfig, Record,
    Records, StartOffset, TopicPartition,
};
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use crate::fleet::{Fleet, block_on};
use crate::support::kafka::Kafka;

const TOPIC: &str = "failover";
const PARTITIONS: i32 = 6;
const RECORDS: u64 = 240_000;
const KEYS: u64 = 500;
/// A burst, then a pause: the stream lasts long enough for brokers to die in it.
const BURST: u64 = 1_000;
const PAUSE: Duration = Duration::from_millis(25);
const POLL: Duration = Duration::from_millis(500);
/// Two restarts, each of which may take a minute, and the reading.
const READ_WITHIN: Duration = Duration::from_secs(240);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    vec![fleet.on_three(
        "killed_leaders_lose_double_and_reorder_nothing",
        |_, kafka| {
            block_on(killed_leaders_lose_double_and_reorder_nothing(kafka));
        },
    )]
}

async fn killed_leaders_lose_double_and_reorder_nothing(kafka: &Kafka) {
    let servers = ("bootstrap.servers", kafka.bootstrap());
    let admin = Admin::connect(ClientConfig::from_properties([servers.clone()]).expect("good"))
        .await
        .expect("connected");
    admin
        .create_topic(&NewTopic::new(TOPIC, PARTITIONS))
        .await
        .expect("created");
    let partitions: Vec<_> = (0..PARTITIONS)
        .map(|p| TopicPartition::new(TOPIC, p))
        .collect();
    let starts: Vec<_> = partitions
        .iter()
        .map(|p| (p.clone(), StartOffset::Earliest))
        .collect();
    let consumer = ConsumerConfig::from_properties([servers.clone()]).expect("good");
    let mut consumer = Consumer::connect(consumer).await.expect("connected");
    consumer.assign(&starts).await.expect("assigned");

    let reader = tokio::spawn(timeout(READ_WITHIN, read_all(consumer)));
    let acknowledged = write_through_kills(kafka, &admin, servers).await;
    let (consumer, read) = reader.await.expect("the reader").expect("all read in time");

    let ends = consumer.end_offsets(&partitions).await.expect("listed");
    assert_eq!(
        ends.values().sum::<i64>(),
        RECORDS as i64,
        "the log holds each record once"
    );
    assert_eq!(read.len(), RECORDS as usize);
    for (number, place) in acknowledged {
        assert_eq!(
            read.get(&number),
            Some(&place),
            "record {number} stands where its acknowledgement said"
        );
    }
}

/// Partition and offset of a record.
type Place = (i32, i64);

/// Writes every record, while the leaders of two partitions are killed and started again, one after the other.
async fn write_through_kills(
    kafka: &Kafka,
    admin: &Admin,
    servers: (&str, String),
) -> Vec<(u64, Place)> {
    let properties = [
        servers,
        ("acks", "all".into()),
        ("enable.idempotence", "true".into()),
        ("compression.type", "lz4".into()),
    ];
    let config = ProducerConfig::from_properties(properties).expect("good properties");
    let producer = Producer::connect(config).await.expect("connected");
    let mut deliveries = Vec::new();
    let mut killed = None;
    for number in 0..RECORDS {
        match number {
            30_000 => killed = Some(kill_leader(kafka, admin, 0).await),
            90_000 | 210_000 => {
                let node = killed.take().expect("one was killed");
                block_in_place(|| kafka.restart(node)).expect("it comes back");
            }
            150_000 => killed = Some(kill_leader(kafka, admin, 1).await),
            _ => {}
        }
        let (key, value) = (
            (number % KEYS).to_be_bytes(),
            [number.to_be_bytes(); 12].concat(),
        );
        deliveries.push(
            producer
                .enqueue(Record::new(TOPIC).key(&key).value(&value))
                .await
                .expect("admitted"),
        );
        if number % BURST == 0 {
            sleep(PAUSE).await;
        }
    }
    producer.flush().await.expect("all delivered");
    let mut acknowledged = Vec::new();
    for (number, delivery) in (0..).zip(deliveries) {
        let metadata = delivery.await.expect("delivered");
        acknowledged.push((
            number,
            (metadata.partition, metadata.offset.expect("acks=all")),
        ));
    }
    acknowledged
}

async fn kill_leader(kafka: &Kafka, admin: &Admin, partition: usize) -> i32 {
    let described = admin
        .describe_topics(&[TOPIC])
        .await
        .expect("described")
        .remove(TOPIC)
        .expect("a result");
    let leader = described.expect("it exists").partitions[partition]
        .leader
        .expect("it has a leader");
    block_in_place(|| kafka.kill(leader));
    leader
}

/// Reads every record, and checks that none comes twice and that each key keeps its order.
async fn read_all(mut consumer: Consumer) -> (Consumer, HashMap<u64, Place>) {
    let mut read = HashMap::new();
    let mut next: HashMap<u64, u64> = (0..KEYS).map(|key| (key, key)).collect();
    while read.len() < RECORDS as usize {
        let records: Records = consumer.poll(POLL).await.expect("polled");
        for record in records.iter() {
            let word = |bytes: Option<&[u8]>| {
                u64::from_be_bytes(*bytes.and_then(<[u8]>::first_chunk).expect("eight bytes"))
            };
            let (key, number) = (word(record.key), word(record.value));
            let place = (record.partition, record.offset);
            let twice = read.insert(number, place);
            assert_eq!(twice, None, "record {number} came again, at {place:?}");
            let expected = next.get_mut(&key).expect("a key that was written");
            assert_eq!(number, *expected, "key {key} keeps its order");
            *expected += KEYS;
        }
    }
    (consumer, read)
}
