//! The client for applications with threads of their own.

use std::time::{Duration, Instant};

use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::blocking::{Consumer, Producer};
use pat_events::kafka::{
    ApiKey, ConsumerConfig, ErrorKind, OffsetReset, ProducerConfig, Record, TopicPartition,
};

/// A broker on a runtime of its own.
fn broker() -> (tokio::runtime::Runtime, Broker) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let started = runtime.block_on(Broker::builder().start_tcp("127.0.0.1:0"));
    let broker = started.expect("a port");
    broker.create_topic("t", 1).expect("a new topic");
    (runtime, broker)
}

#[test]
fn threads_produce_and_consume_without_a_runtime_of_their_own() {
    let (_runtime, broker) = broker();
    let producer = Producer::connect(ProducerConfig::new(&broker.bootstrap_servers()));
    let producer = producer.expect("connects");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..25u8 {
                    let delivery = producer.enqueue(Record::new("t").value(&[n]));
                    producer.wait(delivery.expect("room")).expect("written");
                }
            });
        }
    });
    producer
        .send(Record::new("t").value(b"x"))
        .expect("written");
    producer.flush().expect("written");
    producer.close(Duration::from_secs(10)).expect("closed");
    let mut config = ConsumerConfig::new(&broker.bootstrap_servers(), "g");
    config.auto_offset_reset = OffsetReset::Earliest;
    let mut consumer = Consumer::connect(config).expect("connects");
    consumer.subscribe(&["t"]).expect("a topic that exists");
    let partition = TopicPartition::new("t", 0);
    let mut count = 0;
    while count < 101 {
        count += consumer
            .poll(Duration::from_secs(10))
            .expect("records")
            .count();
    }
    consumer.commit_sync().expect("committed");
    let found = consumer
        .committed(std::slice::from_ref(&partition))
        .expect("known");
    assert_eq!(found[&partition].offset, 101);
    let bounds = consumer
        .watermarks(std::slice::from_ref(&partition))
        .expect("known");
    assert_eq!(bounds[&partition].end, 101);
    assert_eq!(consumer.position(&partition), Some(101));
    consumer.close().expect("left");
}

#[test]
fn dropping_blocks_nobody_whatever_the_broker_does() {
    let (_runtime, broker) = broker();
    let producer = Producer::connect(ProducerConfig::new(&broker.bootstrap_servers()));
    let producer = producer.expect("connects");
    let config = ConsumerConfig::new(&broker.bootstrap_servers(), "g");
    let mut consumer = Consumer::connect(config).expect("connects");
    consumer.subscribe(&["t"]).expect("a topic that exists");
    consumer
        .poll(Duration::from_millis(200))
        .expect("nothing yet");
    for api in [
        ApiKey::PRODUCE,
        ApiKey::FETCH,
        ApiKey::LEAVE_GROUP,
        ApiKey::HEARTBEAT,
    ] {
        let never = FaultAction::Delay(Duration::from_secs(60));
        broker.inject(Fault::on(api, never).always());
    }
    let delivery = producer
        .enqueue(Record::new("t").value(b"x"))
        .expect("room");
    let begun = Instant::now();
    drop((producer, consumer, delivery));
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn in_an_async_task_a_blocking_call_is_refused() {
    let error = Consumer::connect(ConsumerConfig::new("127.0.0.1:1", "g")).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("async"), "{error}");
}
