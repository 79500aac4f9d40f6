//! Topics that are written otherwise than the others of the same producer.

use pat_events::kafka::{Compression, ErrorKind, Partitioner, Producer, Record, TopicSettings};
use protocol::compression::Codec;
use protocol::records::BatchIter;
use tokio::time::Instant;

use pat_events::broker::{Broker, FaultAction};

use crate::harness::*;

fn settings(change: impl FnOnce(&mut TopicSettings)) -> TopicSettings {
    let mut settings = TopicSettings::default();
    change(&mut settings);
    settings
}

/// A broker with the topics `t` and `other`, and a producer that writes `other` otherwise.
async fn two_topics(change: impl FnOnce(&mut TopicSettings)) -> (Broker, Producer) {
    let broker = one_broker(4);
    broker.create_topic("other", 4).unwrap();
    let other = settings(change);
    let producer = producer(&broker, |config| {
        config.topics.insert("other".into(), other);
    })
    .await;
    (broker, producer)
}

/// Codec and number of records of each batch of a partition.
fn batches(broker: &Broker, topic: &str) -> Vec<(Codec, i32)> {
    let log = broker.log(topic, 0).expect("the partition exists");
    let batches = log.batches.into_iter().flat_map(BatchIter::strict);
    let batches = batches.map(|batch| {
        let batch = batch.expect("a whole batch");
        (batch.codec().expect("a codec"), batch.record_count())
    });
    batches.collect()
}

#[tokio::test(start_paused = true)]
async fn each_topic_has_its_own_compression_in_one_request() {
    let (broker, producer) = two_topics(|other| other.compression = Some(Compression::ZSTD)).await;
    for topic in ["t", "other"] {
        let record = Record::new(topic).partition(0).value(&[7; 500]);
        producer.send(record).await.unwrap();
    }
    for round in 0..20 {
        for topic in ["t", "other"] {
            let value = [round; 500];
            drop(
                producer
                    .enqueue(Record::new(topic).partition(0).value(&value))
                    .await
                    .unwrap(),
            );
        }
    }
    producer.flush().await.unwrap();
    for (topic, codec) in [("t", Codec::None), ("other", Codec::Zstd)] {
        let batches = batches(&broker, topic);
        assert!(
            batches.iter().all(|batch| batch.0 == codec),
            "{topic}: {batches:?}"
        );
        assert_eq!(values(&broker, topic, 0).len(), 21);
    }
}

#[tokio::test(start_paused = true)]
async fn each_topic_has_its_own_size_of_batches() {
    let (broker, producer) = two_topics(|other| {
        other.batch_records = Some(3);
        other.batch_bytes = Some(5_000);
    })
    .await;
    for topic in ["t", "other"] {
        for number in 0..30 {
            // The last ones are so large that two of them are too much for a batch.
            let value = vec![number; if number < 15 { 10 } else { 2_600 }];
            drop(
                producer
                    .enqueue(Record::new(topic).partition(0).value(&value))
                    .await
                    .unwrap(),
            );
        }
        producer.flush().await.unwrap();
    }
    let counts = |topic| batches(&broker, topic).into_iter().map(|(_, count)| count);
    assert!(counts("t").max() > Some(3));
    assert_eq!(counts("other").take(5).collect::<Vec<_>>(), [3; 5]);
    assert_eq!(counts("other").skip(5).collect::<Vec<_>>(), [1; 15]);
}

#[tokio::test(start_paused = true)]
async fn each_topic_has_its_own_patience() {
    for (linger, sent_after_100_ms) in [(ms(1_000), 1), (ms(0), 2)] {
        let (broker, producer) = two_topics(|other| other.linger = Some(linger)).await;
        for topic in ["t", "other"] {
            let record = Record::new(topic).partition(0).value(b"first");
            producer.send(record).await.unwrap();
        }
        let before = producer.metrics().requests_sent;
        // What is in flight makes others wait for their linger time.
        broker.inject(produce(FaultAction::Delay(ms(400))));
        let one = producer
            .enqueue(Record::new("t").partition(0).value(b"one"))
            .await
            .unwrap();
        tokio::time::sleep(ms(2)).await;
        let other = Record::new("other").partition(0).value(b"other");
        let other = producer.enqueue(other).await.unwrap();
        tokio::time::sleep(ms(98)).await;
        let sent = producer.metrics().requests_sent - before;
        assert_eq!(sent, sent_after_100_ms, "{linger:?}");
        one.await.unwrap();
        other.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn each_topic_has_its_own_delivery_timeout() {
    let (broker, producer) = two_topics(|other| other.delivery_timeout = Some(ms(1_000))).await;
    for topic in ["t", "other"] {
        producer
            .send(Record::new(topic).partition(0).value(b"v"))
            .await
            .unwrap();
    }
    broker.stop_node(broker.node_ids()[0]).await;
    tokio::time::sleep(ms(10)).await;
    let before = Instant::now();
    let late = producer
        .enqueue(Record::new("t").partition(0).value(b"late"))
        .await
        .unwrap();
    let error = producer
        .send(Record::new("other").partition(0).value(b"v"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let took = before.elapsed();
    assert!(took >= ms(1_000) && took < ms(1_500), "{took:?}");
    assert!(late.outcome().is_none());
    broker.start_node(broker.node_ids()[0]).await.unwrap();
    late.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_topic_has_its_own_partitioner() {
    let (_broker, producer) =
        two_topics(|other| other.partitioner = Some(Partitioner::Fnv1a)).await;
    let mut differ = 0;
    for number in 0..100u32 {
        let key = number.to_be_bytes();
        let mut partitions = Vec::new();
        for topic in ["t", "other"] {
            let delivery = producer
                .enqueue(Record::new(topic).key(&key))
                .await
                .unwrap();
            partitions.push(delivery.partition());
            drop(delivery);
        }
        assert_eq!(
            partitions[0],
            pat_events::kafka::producer::partition_of_key(&key, 4)
        );
        differ += u32::from(partitions[0] != partitions[1]);
    }
    assert!(differ > 50, "{differ}");
}

/// A broker's smaller limit is learnt from the topic's own size on, and forgotten to that.
#[tokio::test(start_paused = true)]
async fn a_topic_with_larger_batches_than_the_others_learns_its_own_limit() {
    let broker = cluster(1, |builder| builder.max_message_bytes(30_000));
    for topic in ["t", "other"] {
        broker.create_topic(topic, 1).unwrap();
    }
    let producer = producer(&broker, |config| {
        config.batch_bytes = 10_000;
        let other = settings(|other| other.batch_bytes = Some(200_000));
        config.topics.insert("other".into(), other);
    })
    .await;
    for topic in ["t", "other"] {
        for number in 0..2_000u32 {
            let value = [number as u8; 100];
            drop(
                producer
                    .enqueue(Record::new(topic).value(&value))
                    .await
                    .unwrap(),
            );
        }
        producer.flush().await.unwrap();
        assert_eq!(values(&broker, topic, 0).len(), 2_000);
        assert_eq!(producer.metrics().splits > 0, topic == "other");
    }
    let splits = producer.metrics().splits;
    for _ in 0..2_000 {
        drop(
            producer
                .enqueue(Record::new("other").value(&[1; 100]))
                .await
                .unwrap(),
        );
    }
    producer.flush().await.unwrap();
    assert_eq!(producer.metrics().splits, splits);
}
