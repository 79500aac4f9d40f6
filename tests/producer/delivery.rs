//! Acknowledgements, order, admission, flush and close, while the brokers are well.

use std::time::Duration;

use pat_events::kafka::producer::{Partition, partition_of_key};
use pat_events::kafka::{Acks, ErrorKind, Header, Partitioner, Producer, Record, WriteOutcome};
use protocol::ApiKey;
use protocol::compression::Codec;

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn a_sent_record_is_in_the_log_where_the_acknowledgement_says() {
    let broker = one_broker(1);
    let producer = producer(&broker, |_| {}).await;
    for n in 0..3 {
        let headers = [Header::new("h", b"1"), Header::null("h")];
        let record = Record::new("t")
            .key(b"k")
            .value(b"v")
            .headers(&headers)
            .timestamp_ms(5);
        let written = producer.send(record).await.unwrap();
        assert_eq!((&*written.topic, written.partition), ("t", 0));
        assert_eq!((written.offset, written.timestamp_ms), (Some(n), 5));
    }
    assert_eq!(values(&broker, "t", 0), vec![b"v".to_vec(); 3]);
    producer.close(ms(1_000)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_codec_and_every_kind_of_acknowledgement_delivers_in_order() {
    for codec in Codec::ALL {
        for (acks, idempotence) in [
            (Acks::All, true),
            (Acks::All, false),
            (Acks::Leader, false),
            (Acks::None, false),
        ] {
            let broker = one_broker(3);
            let producer = producer(&broker, |config| {
                config.acks = acks;
                config.idempotence = Some(idempotence);
                config.compression = codec.into();
            })
            .await;
            let deliveries = enqueue_numbers(&producer, 3, 0..3_000).await;
            for (n, delivery) in deliveries.into_iter().enumerate() {
                let written = delivery.await.unwrap();
                let offset = (acks != Acks::None).then_some(n as i64 / 3);
                assert_eq!(written.offset, offset);
            }
            // With acks 0 the bytes were written, which is not yet "appended".
            tokio::time::sleep(ms(10)).await;
            assert_exactly_once_in_order(&broker, 3, 3_000);
            producer.close(ms(1_000)).await.unwrap();
        }
    }
}

/// The sender looked once whether more had come, and looked in vain whenever the runtime had run it twice in a row: with many partitions
/// each batch went with a record or two in it, and cost as much as one of ten.
#[tokio::test(start_paused = true)]
async fn who_lets_others_run_now_and_then_fills_the_batches_of_many_partitions() {
    const PARTITIONS: i32 = 200;
    let broker = one_broker(PARTITIONS);
    let producer = producer(&broker, |config| config.linger = ms(1_000)).await;
    let sent = producer.send(Record::new("t").partition(0).value(b"warm"));
    sent.await.unwrap();
    let before = producer.metrics();
    let mut deliveries = Vec::new();
    for turn in 0..20 {
        deliveries
            .extend(enqueue_numbers(&producer, PARTITIONS, turn * 200..turn * 200 + 200).await);
        tokio::task::yield_now().await;
    }
    producer.flush().await.unwrap();
    deliver_all(&broker, deliveries).await;
    let after = producer.metrics();
    let (records, batches) = (
        after.records_delivered - before.records_delivered,
        after.batches_sent - before.batches_sent,
    );
    assert_eq!(records, 4_000);
    // All but what was sent at once, because it came first, goes in batches of nearly 20.
    assert!(batches <= 2 * PARTITIONS as u64, "{batches} batches");
}

#[tokio::test(start_paused = true)]
async fn a_value_can_be_encoded_straight_into_the_batch() {
    let broker = one_broker(1);
    let producer = producer(&broker, |_| {}).await;
    let record = Record::new("t").key(b"k");
    let delivery = producer.enqueue_with(record, 4, |mut value| {
        bytes::BufMut::put_u32(&mut value, 7);
    });
    delivery.await.unwrap().await.unwrap();
    assert_eq!(numbers(&broker, 0), [7]);
}

#[tokio::test(start_paused = true)]
async fn an_encoder_that_panics_leaves_no_trace() {
    let broker = one_broker(1);
    let producer = producer(&broker, |_| {}).await;
    drop(enqueue_numbers(&producer, 1, 0..2).await);
    let other = producer.clone();
    let encoding = tokio::spawn(async move {
        let record = Record::new("t").key(b"k");
        other
            .enqueue_with(record, 1_000, |_| panic!("on purpose"))
            .await
    });
    assert!(encoding.await.is_err());
    drop(enqueue_numbers(&producer, 1, 2..4).await);
    producer.flush().await.unwrap();
    assert_exactly_once_in_order(&broker, 1, 4);
}

#[tokio::test(start_paused = true)]
async fn null_keys_and_values_stay_null_and_keyless_records_reach_every_partition() {
    let broker = one_broker(4);
    let producer = producer(&broker, |config| config.batch_bytes = 1_000).await;
    for _ in 0..400 {
        drop(
            producer
                .enqueue(Record::new("t").value(&[0; 100]))
                .await
                .unwrap(),
        );
    }
    drop(
        producer
            .enqueue(Record::new("t").key(b"gone"))
            .await
            .unwrap(),
    );
    producer.flush().await.unwrap();
    let counts: Vec<usize> = (0..4)
        .map(|partition| values(&broker, "t", partition).len())
        .collect();
    assert_eq!(counts.iter().sum::<usize>(), 401);
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}

/// Sends every record to the partition that its value names.
#[derive(Debug)]
struct ByValue;

impl Partition for ByValue {
    fn partition(&self, record: &Record<'_>, partitions: i32) -> i32 {
        record
            .value
            .map_or(0, |value| i32::from(value[3]) % partitions)
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_can_choose_partitions_and_keys_choose_as_java_does() {
    let broker = one_broker(6);
    let own = producer(&broker, |config| {
        config.partitioner = Partitioner::Custom(std::sync::Arc::new(ByValue));
    })
    .await;
    for n in 0..60u32 {
        let delivery = own
            .enqueue(Record::new("t").key(b"k").value(&n.to_be_bytes()))
            .await
            .unwrap();
        assert_eq!(delivery.partition(), n as i32 % 6);
    }
    let by_key = producer(&broker, |_| {}).await;
    for key in ["a", "bc", "def", "ghij", "01234567890123456789012345"] {
        let delivery = by_key
            .enqueue(Record::new("t").key(key.as_bytes()))
            .await
            .unwrap();
        assert_eq!(delivery.partition(), partition_of_key(key.as_bytes(), 6));
    }
}

#[tokio::test(start_paused = true)]
async fn many_topics_share_requests_and_every_record_lands_in_its_own() {
    let broker = cluster(3, |builder| builder);
    let topics: Vec<String> = (0..40).map(|n| format!("topic-{n}")).collect();
    for topic in &topics {
        broker.create_topic(topic, 3).unwrap();
    }
    let producer = producer(&broker, |_| {}).await;
    for n in 0..4_000usize {
        let topic = &topics[n % topics.len()];
        let record = Record::new(topic)
            .partition(n as i32 % 3)
            .value(topic.as_bytes());
        drop(producer.enqueue(record).await.unwrap());
    }
    producer.flush().await.unwrap();
    for topic in &topics {
        let found: Vec<_> = (0..3)
            .flat_map(|partition| values(&broker, topic, partition))
            .collect();
        assert!(found.len() == 100 && found.iter().all(|value| value == topic.as_bytes()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lone_record_does_not_wait_for_the_linger_time() {
    let broker = one_broker(1);
    let producer = producer(&broker, |config| config.linger = Duration::from_secs(5)).await;
    producer
        .send(Record::new("t").value(b"first"))
        .await
        .unwrap();
    let before = tokio::time::Instant::now();
    producer
        .send(Record::new("t").value(b"second"))
        .await
        .unwrap();
    assert!(before.elapsed() < ms(100), "{:?}", before.elapsed());
}

/// KAFKA-19479 in its plain form: what was accepted before the flush is resolved after it.
#[tokio::test(start_paused = true)]
async fn flush_covers_every_record_accepted_before_it() {
    let broker = one_broker(3);
    let producer = producer(&broker, |config| config.linger = Duration::from_secs(60)).await;
    for round in 1..=5 {
        let deliveries = enqueue_numbers(&producer, 3, 0..1_000).await;
        producer.flush().await.unwrap();
        assert!(
            deliveries
                .iter()
                .all(|delivery| delivery.outcome().is_some())
        );
        let total: usize = (0..3)
            .map(|partition| numbers(&broker, partition).len())
            .sum();
        assert_eq!(total, 1_000 * round);
    }
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_admission_waits_for_room() {
    let broker = one_broker(2);
    let producer = producer(&broker, |config| {
        config.buffer_bytes = 256 << 10;
        config.batch_bytes = 64 << 10;
        config.max_request_bytes = 128 << 10;
    })
    .await;
    let value = [1; 1_000];
    for n in 0..5_000 {
        let record = Record::new("t").partition(n % 2).value(&value);
        drop(producer.enqueue(record).await.unwrap());
        assert!(producer.metrics().buffer_bytes_used <= 256 << 10);
    }
    producer.flush().await.unwrap();
    assert_eq!(producer.metrics().records_delivered, 5_000);
    assert_eq!(producer.metrics().buffer_bytes_used, 0);
}

#[tokio::test(start_paused = true)]
async fn without_room_try_enqueue_fails_and_enqueue_gives_up_in_time_and_leaves_no_trace() {
    let broker = one_broker(1);
    let producer = producer(&broker, |config| {
        config.buffer_bytes = 64 << 10;
        config.batch_bytes = 16 << 10;
        config.max_request_bytes = 64 << 10;
        config.max_block = ms(500);
    })
    .await;
    producer
        .send(Record::new("t").value(b"here"))
        .await
        .unwrap();
    broker.stop_node(broker.node_ids()[0]).await;
    let value = [1; 1_000];
    let mut accepted = 1;
    let full = loop {
        match producer.try_enqueue(Record::new("t").value(&value)) {
            Ok(delivery) => drop(delivery),
            Err(error) => break error,
        }
        accepted += 1;
    };
    assert_eq!(full.kind(), ErrorKind::BufferFull);
    let error = producer
        .enqueue(Record::new("t").value(&value))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Timeout, WriteOutcome::NotWritten)
    );
    // Dropped while it waits: the record is not accepted, and the room it waited for is not lost.
    let waiting =
        tokio::time::timeout(ms(50), producer.enqueue(Record::new("t").value(&value))).await;
    assert!(waiting.is_err());
    broker.start_node(broker.node_ids()[0]).await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(values(&broker, "t", 0).len(), accepted);
    assert_eq!(producer.metrics().buffer_bytes_used, 0);
}

#[tokio::test(start_paused = true)]
async fn close_delivers_what_was_accepted_and_takes_in_no_more() {
    let broker = one_broker(3);
    let producer = producer(&broker, |config| config.linger = Duration::from_secs(60)).await;
    let deliveries = enqueue_numbers(&producer, 3, 0..500).await;
    producer.close(ms(5_000)).await.unwrap();
    for delivery in deliveries {
        assert!(delivery.await.is_ok());
    }
    let error = producer
        .send(Record::new("t").value(b"late"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Closed, WriteOutcome::NotWritten)
    );
    producer.close(ms(5_000)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn close_returns_at_its_timeout_and_no_delivery_waits_for_ever() {
    let broker = one_broker(1);
    let producer = producer(&broker, |_| {}).await;
    producer
        .send(Record::new("t").value(b"here"))
        .await
        .unwrap();
    broker.stop_node(broker.node_ids()[0]).await;
    let deliveries = enqueue_numbers(&producer, 1, 0..10).await;
    let before = tokio::time::Instant::now();
    let error = producer.close(ms(300)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(before.elapsed() < ms(400), "{:?}", before.elapsed());
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap_err().kind(), ErrorKind::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_producer_delivers_in_the_background() {
    let broker = one_broker(3);
    let producer = producer(&broker, |config| config.linger = Duration::from_secs(60)).await;
    let deliveries = enqueue_numbers(&producer, 3, 0..500).await;
    drop(producer);
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_exactly_once_in_order(&broker, 3, 500);
}

#[tokio::test(start_paused = true)]
async fn clones_share_one_producer_and_tasks_keep_their_own_order() {
    let broker = one_broker(1);
    let producer = producer(&broker, |_| {}).await;
    let tasks: Vec<_> = (0..8u32)
        .map(|task| {
            let producer: Producer = producer.clone();
            tokio::spawn(async move {
                for n in 0..200 {
                    let value = (task * 1_000 + n).to_be_bytes();
                    drop(
                        producer
                            .enqueue(Record::new("t").value(&value))
                            .await
                            .unwrap(),
                    );
                    if n % 17 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    producer.flush().await.unwrap();
    let found = numbers(&broker, 0);
    assert_eq!(found.len(), 1_600);
    for task in 0..8 {
        let own: Vec<u32> = found
            .iter()
            .copied()
            .filter(|n| n / 1_000 == task)
            .collect();
        assert!(own.is_sorted() && own.len() == 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_does_not_exist_is_an_error_within_max_block() {
    let broker = one_broker(1);
    let producer = producer(&broker, |config| config.max_block = ms(700)).await;
    let before = tokio::time::Instant::now();
    let error = producer
        .send(Record::new("nowhere").value(b"x"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::UnknownTopicOrPartition, WriteOutcome::NotWritten)
    );
    assert!(
        before.elapsed() <= ms(800) && error.to_string().contains("nowhere"),
        "{error}"
    );
    let error = producer
        .send(Record::new("t").partition(5).value(b"x"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("t-5"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn metrics_count_what_happened() {
    let broker = one_broker(2);
    let producer = producer(&broker, |_| {}).await;
    drop(enqueue_numbers(&producer, 2, 0..1_000).await);
    producer.flush().await.unwrap();
    let metrics = producer.metrics();
    assert_eq!(
        (
            metrics.records_accepted,
            metrics.records_delivered,
            metrics.records_failed
        ),
        (1_000, 1_000, 0)
    );
    assert!(metrics.batches_sent >= 2 && metrics.requests_sent >= 1 && metrics.retries == 0);
    assert!(metrics.bytes_delivered > 4_000 && metrics.bytes_sent == metrics.bytes_delivered);
    assert_eq!(
        (metrics.requests_in_flight, metrics.buffer_bytes_used),
        (0, 0)
    );
    assert_eq!(metrics.request_latency.count, metrics.requests_sent);
}

#[tokio::test(start_paused = true)]
async fn a_record_for_which_no_metadata_comes_was_certainly_not_written() {
    let broker = one_broker(1);
    let producer = producer(&broker, |config| config.max_block = ms(500)).await;
    producer
        .send(Record::new("t").value(b"here"))
        .await
        .unwrap();
    broker.stop_node(broker.node_ids()[0]).await;
    let before = tokio::time::Instant::now();
    for record in [
        Record::new("t").partition(5).value(b"x"),
        Record::new("elsewhere").value(b"x"),
    ] {
        let error = producer.enqueue(record).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (ErrorKind::Timeout, WriteOutcome::NotWritten),
            "{error}"
        );
    }
    assert!(before.elapsed() <= ms(1_100), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn close_may_wait_for_ever() {
    let broker = one_broker(1);
    let producer = producer(&broker, |config| config.linger = Duration::from_secs(60)).await;
    let deliveries = enqueue_numbers(&producer, 1, 0..10).await;
    producer.close(Duration::MAX).await.unwrap();
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.outcome().is_some())
    );
}

/// A record is written with its batch's header: one that fills the buffer to the last bytes without it could never be taken in.
#[tokio::test(start_paused = true)]
async fn a_record_that_fits_the_limit_fits_the_buffer() {
    let broker = one_broker(1);
    let producer = producer(&broker, |config| {
        config.buffer_bytes = 20_000;
        config.batch_bytes = 20_000;
        config.max_request_bytes = 20_000;
        config.max_block = ms(500);
    })
    .await;
    let mut taken = 0;
    for len in 19_850..20_000 {
        let value = vec![0; len];
        match producer.send(Record::new("t").value(&value)).await {
            Ok(_) => taken += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::RecordTooLarge, "{error}"),
        }
    }
    assert!(taken > 0);
}

/// The newest Produce knows topics by their ids only, which metadata from older brokers lacks.
#[tokio::test(start_paused = true)]
async fn topics_without_an_id_are_written_to_by_name_whatever_the_acknowledgement() {
    for acks in [Acks::None, Acks::Leader, Acks::All] {
        let broker = cluster(1, |builder| builder.api_versions(ApiKey::METADATA, 0, 9));
        broker.create_topic("t", 1).unwrap();
        let producer = producer(&broker, |config| {
            config.acks = acks;
            config.idempotence = Some(acks == Acks::All);
        })
        .await;
        drop(enqueue_numbers(&producer, 1, 0..10).await);
        producer.flush().await.unwrap();
        tokio::time::sleep(ms(10)).await;
        assert_exactly_once_in_order(&broker, 1, 10);
    }
}
