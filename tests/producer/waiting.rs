//! Brokers that are away, or ask for a pause: what waits for them keeps its time, costs no attempts, and says in the end what it waited for.

use std::error::Error as _;

use pat_events::broker::{Fault, FaultAction};
use pat_events::kafka::{Error, ErrorKind, Record, WriteOutcome};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::harness::*;

/// An open batch went on taking records as long as nothing could be sent, and all of them died with the first: some after 2 ms.
#[tokio::test(start_paused = true)]
async fn no_record_dies_before_its_own_time() {
    for (timeout_ms, every_ms) in [(2_000, 30), (10_000, 7), (120_000, 900)] {
        let broker = one_broker(1);
        let producer = producer(&broker, |config| config.delivery_timeout = ms(timeout_ms)).await;
        enqueue_numbers(&producer, 1, 0..1)
            .await
            .remove(0)
            .await
            .unwrap();
        broker.stop_node(broker.node_ids()[0]).await;
        let mut tasks = Vec::new();
        let records = 2 * timeout_ms / every_ms;
        for _ in 0..records {
            let delivery = producer
                .enqueue(Record::new("t").value(b"v"))
                .await
                .unwrap();
            let accepted = Instant::now();
            tasks.push(tokio::spawn(async move {
                let error = delivery.await.unwrap_err();
                assert_eq!(
                    (error.kind(), error.outcome()),
                    (ErrorKind::Timeout, WriteOutcome::NotWritten)
                );
                accepted.elapsed()
            }));
            tokio::time::sleep(ms(every_ms)).await;
        }
        for task in tasks {
            let lived = task.await.unwrap();
            let latest = ms(timeout_ms + timeout_ms / 20 + 600);
            assert!(lived >= ms(timeout_ms) && lived <= latest, "{lived:?}");
        }
        assert_eq!(producer.metrics().buffer_bytes_used, 0);
    }
}

/// Requests that waited for the end of a broker's pause used up their time and their attempts: of 601 records, 111 were lost.
#[tokio::test(start_paused = true)]
async fn a_pause_that_the_broker_asks_for_costs_no_attempt_and_no_record() {
    for idempotence in [true, false] {
        let broker = one_broker(1);
        let producer = producer(&broker, |config| {
            config.idempotence = Some(idempotence);
            config.retries = 2;
            config.client.request_timeout = ms(5_000);
            config.batch_bytes = 16_000;
        })
        .await;
        // As for a quota that is overdrawn tenfold; each pause is longer than a request may take.
        broker.inject(produce(FaultAction::Throttle(ms(12_000))).always());
        let value = [7; 1_000];
        let mut deliveries = Vec::new();
        for _ in 0..300 {
            let record = Record::new("t").value(&value);
            deliveries.push(producer.enqueue(record).await.unwrap());
            tokio::time::sleep(ms(20)).await;
        }
        broker.clear_faults();
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        assert_eq!(values(&broker, "t", 0).len(), 300);
        let metrics = producer.metrics();
        assert_eq!((metrics.retries, metrics.records_failed), (0, 0));
    }
}

/// What was sent before the broker asked for a pause is read after it.
#[tokio::test(start_paused = true)]
async fn requests_in_flight_wait_out_a_pause_that_is_longer_than_their_timeout() {
    let broker = one_broker(1);
    let producer = producer(&broker, |config| {
        config.retries = 0;
        config.client.request_timeout = ms(5_000);
        config.batch_bytes = 1_000;
    })
    .await;
    enqueue_numbers(&producer, 1, 0..1)
        .await
        .remove(0)
        .await
        .unwrap();
    broker.inject(produce(FaultAction::Delay(ms(500))));
    broker.inject(produce(FaultAction::Throttle(ms(40_000))));
    let deliveries = enqueue_numbers(&producer, 1, 1..1_000).await;
    tokio::time::sleep(ms(200)).await;
    assert!(producer.metrics().requests_in_flight > 1);
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_exactly_once_in_order(&broker, 1, 1_000);
    assert_eq!(producer.metrics().retries, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_the_accumulator_while_the_broker_wants_nothing() {
    let broker = one_broker(1);
    let producer = producer(&broker, |_| {}).await;
    broker.inject(produce(FaultAction::Throttle(ms(20_000))));
    enqueue_numbers(&producer, 1, 0..1)
        .await
        .remove(0)
        .await
        .unwrap();
    let sent = producer.metrics().requests_sent;
    let mut deliveries = Vec::new();
    for number in 1..100 {
        deliveries.extend(enqueue_numbers(&producer, 1, number..number + 1).await);
        tokio::time::sleep(ms(100)).await;
        assert_eq!(producer.metrics().requests_sent, sent, "{number}");
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    // They had time to come together.
    assert!(producer.metrics().batches_sent < sent + 20);
    assert_exactly_once_in_order(&broker, 1, 100);
}

/// Every text of the error and of what it came from, the outermost first.
fn chain(error: &Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        texts.push(error.to_string());
        source = error.source();
    }
    texts
}

/// "could not be sent within delivery.timeout.ms" was all.
#[tokio::test(start_paused = true)]
async fn a_record_that_could_not_be_sent_names_the_broker_and_what_failed_there() {
    let broker = cluster(2, |builder| builder);
    broker.create_topic("t", 1).unwrap();
    let producer = producer(&broker, |config| {
        config.delivery_timeout = ms(3_000);
        config.max_block = ms(1_000);
        config.buffer_bytes = 64 << 10;
        config.batch_bytes = 16 << 10;
        config.max_request_bytes = 64 << 10;
    })
    .await;
    enqueue_numbers(&producer, 1, 0..1)
        .await
        .remove(0)
        .await
        .unwrap();
    let says = |error: &Error, what: &[&str]| {
        let chain = chain(error);
        for what in what {
            assert!(
                chain.iter().any(|text| text.contains(what)),
                "{what}: {chain:?}"
            );
        }
    };
    // Refused as long as there was time: the batch that was refused, and those that waited behind it.
    broker.inject(produce(FaultAction::Answer(ErrorCode::NOT_ENOUGH_REPLICAS)).always());
    let mut deliveries = enqueue_numbers(&producer, 1, 1..2).await;
    tokio::time::sleep(ms(100)).await;
    deliveries.extend(enqueue_numbers(&producer, 1, 2..3).await);
    for delivery in deliveries {
        let error = delivery.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        says(&error, &["broker ", "NOT_ENOUGH_REPLICAS", "t-0"]);
    }
    broker.clear_faults();
    enqueue_numbers(&producer, 1, 3..4)
        .await
        .remove(0)
        .await
        .unwrap();
    // Nobody there. The metadata, which another broker has, still names the leader for a while.
    let leader = broker.log("t", 0).unwrap().leader.unwrap();
    let stale = Fault::on(ApiKey::METADATA, FaultAction::Disconnect).always();
    broker.inject(stale);
    broker.stop_node(leader).await;
    let mut errors = Vec::new();
    let value = [0; 1_000];
    loop {
        let record = Record::new("t").partition(0).value(&value);
        match producer.try_enqueue(record) {
            Ok(delivery) => errors.push(delivery),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::BufferFull);
                break;
            }
        }
    }
    tokio::time::sleep(ms(500)).await;
    // So does one that finds no room for it.
    let error = producer
        .enqueue(Record::new("t").partition(0).value(&value))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    says(&error, &[&format!("broker {leader} "), "buffer"]);
    for delivery in errors {
        let error = delivery.await.unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (ErrorKind::Timeout, WriteOutcome::NotWritten)
        );
        says(
            &error,
            &[
                &format!("broker {leader} "),
                "cannot connect",
                "is down",
                "t-0",
            ],
        );
    }
}

/// With the broker's leave the partition has no leader: the metadata says so.
#[tokio::test(start_paused = true)]
async fn a_record_without_a_leader_says_so() {
    let broker = cluster(2, |builder| builder.default_replication_factor(1));
    broker.create_topic("t", 1).unwrap();
    let producer = producer(&broker, |config| config.delivery_timeout = ms(3_000)).await;
    enqueue_numbers(&producer, 1, 0..1)
        .await
        .remove(0)
        .await
        .unwrap();
    let leader = broker.log("t", 0).unwrap().leader.unwrap();
    broker.stop_node(leader).await;
    tokio::time::sleep(ms(1_000)).await;
    for delivery in enqueue_numbers(&producer, 1, 1..3).await {
        let error = delivery.await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no broker leads the partition"), "{text}");
        assert!(text.contains("t-0"), "{text}");
    }
}

/// Producer, broker and caller have a runtime each, and the producer's is shut down.
#[test]
fn with_its_runtime_gone_a_producer_fails_what_waits_and_all_that_comes() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let (brokers, producers, callers) = (runtime(), runtime(), runtime());
    let broker = brokers.block_on(async { one_broker(1) });
    let mut settings = config(&broker);
    settings.linger = ms(60_000);
    let (producer, deliveries) = producers.block_on(async {
        let producer = pat_events::kafka::Producer::connect(settings)
            .await
            .unwrap();
        enqueue_numbers(&producer, 1, 0..1)
            .await
            .remove(0)
            .await
            .unwrap();
        broker.inject(produce(FaultAction::Delay(ms(60_000))).always());
        let mut deliveries = enqueue_numbers(&producer, 1, 1..2).await;
        tokio::time::sleep(ms(50)).await;
        deliveries.extend(enqueue_numbers(&producer, 1, 2..3).await);
        (producer, deliveries)
    });
    let waiting = callers.spawn({
        let producer = producer.clone();
        async move { producer.send(Record::new("nowhere").value(b"v")).await }
    });
    std::thread::sleep(ms(100));
    producers.shutdown_background();
    callers.block_on(async {
        let all = async {
            for (delivery, outcome) in deliveries
                .into_iter()
                .zip([WriteOutcome::Unknown, WriteOutcome::NotWritten])
            {
                assert_eq!(delivery.await.unwrap_err().outcome(), outcome);
            }
            for topic in ["t", "nowhere", "other"] {
                let error = producer
                    .send(Record::new(topic).value(b"v"))
                    .await
                    .unwrap_err();
                assert!(error.is_fatal(), "{error}");
                producer
                    .try_enqueue(Record::new(topic))
                    .map(drop)
                    .unwrap_err();
            }
            assert!(waiting.await.unwrap().is_err());
            assert!(producer.flush().await.is_err());
            let _ = producer.close(ms(1_000)).await;
        };
        tokio::time::timeout(ms(20_000), all)
            .await
            .expect("nothing waits for ever");
    });
}
