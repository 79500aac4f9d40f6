//! What transactional producers and `exactly_once` loops promise when their calls are dropped, in both flows: a transaction is committed whole or not at
//! all, one that was not committed stays hidden, and the same handle writes the next one.

use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::events;
use pat_events::events::codec::Protobuf;
use pat_events::events::email::{EmailDeleted, EmailEvents};
use pat_events::events::{Context, EventOutputs, EventProducer, EventTransform, HandlerError};
use pat_events::kafka::{
    ConsumerGroupMetadata, ErrorKind, ExactlyOnceConfig, ExactlyOnceError, InputRecords,
    OffsetAndMetadata, OffsetReset, ProducerConfig, Record, TopicPartition, Transaction,
    TransactionalProducer, Transform, exactly_once,
};
use protocol::compression::Decompressor;
use protocol::records::{BatchIter, ControlRecord};
use tokio::time::sleep;

use crate::copying::copy;
use crate::embedded::cluster;
use crate::producers::config;
use crate::{Cut, at_every_poll};

/// The number of the record whose call, or whose transaction, is dropped.
const CUT: u32 = 99;
const PARTITIONS: i32 = 2;
/// The older flow, and the one with epochs of transactions (KIP-890).
const FLOWS: [u8; 2] = [0, 2];

fn broker(flow: u8) -> Broker {
    let broker = cluster(1, |builder| builder.transaction_version(flow));
    broker.create_topic("t", PARTITIONS).expect("a new topic");
    broker
}

fn at_every_poll_of<F: Future<Output = bool>>(name: &str, scene: impl Fn(Cut, Broker) -> F) {
    for flow in FLOWS {
        at_every_poll(&format!("{name}, flow {flow}"), |cut| {
            let scene = &scene;
            async move { scene(cut, broker(flow)).await }
        });
    }
}

async fn connect(broker: &Broker) -> TransactionalProducer {
    let connected = TransactionalProducer::connect(config(broker), "id").await;
    connected.expect("the broker answers")
}

/// Writes `number` to every partition.
async fn enqueue(transaction: &Transaction<'_>, number: u32) {
    for partition in 0..PARTITIONS {
        let value = number.to_be_bytes();
        let record = Record::new("t").partition(partition).value(&value);
        drop(transaction.enqueue(record).await.expect("room"));
    }
}

/// A producer that has committed 0.
async fn at_work(broker: &Broker) -> TransactionalProducer {
    let mut producer = connect(broker).await;
    let transaction = producer.begin().await.expect("an epoch");
    enqueue(&transaction, 0).await;
    transaction.commit().await.expect("committed");
    producer
}

/// Commits 1 and 2 by the same producer, a transaction for each.
async fn goes_on(producer: &mut TransactionalProducer, cut: Cut) {
    for number in 1..3 {
        let transaction = producer.begin().await;
        let transaction = transaction.unwrap_or_else(|error| panic!("{cut}: {error}"));
        enqueue(&transaction, number).await;
        let committed = transaction.commit().await;
        committed.unwrap_or_else(|error| panic!("{cut}: {error}"));
    }
}

/// What is committed in a partition. Fails where anything is still open.
fn committed<T>(broker: &Broker, topic: &str, partition: i32, read: impl Fn(&[u8]) -> T) -> Vec<T> {
    let (mut open, mut committed) = (Vec::new(), Vec::new());
    let mut decompressor = Decompressor::default();
    let log = broker.log(topic, partition).expect("the partition exists");
    for batch in log.batches.into_iter().flat_map(BatchIter::strict) {
        let batch = batch.expect("a whole batch");
        let decoded = batch
            .decode(&mut decompressor, 1 << 20)
            .expect("readable records");
        for record in decoded.records() {
            let record = record.expect("a record");
            match batch.is_control() {
                true => match ControlRecord::parse(record.key, record.value) {
                    Ok(ControlRecord::Commit { .. }) => committed.append(&mut open),
                    _ => open.clear(),
                },
                false if batch.is_transactional() => {
                    open.push(read(record.value.unwrap_or_default()));
                }
                false => committed.push(read(record.value.unwrap_or_default())),
            }
        }
    }
    assert!(
        open.is_empty(),
        "{topic}-{partition} has records of a transaction that is open"
    );
    committed
}

fn number(value: &[u8]) -> u32 {
    u32::from_be_bytes(value[..4].try_into().expect("four bytes"))
}

/// Holds every partition to these numbers.
fn holds(broker: &Broker, expected: &[u32], cut: Cut) {
    for partition in 0..PARTITIONS {
        let there = committed(broker, "t", partition, number);
        assert_eq!(there, expected, "{cut}, partition {partition}");
    }
}

#[test]
fn after_a_dropped_connect_the_next_one_works() {
    at_every_poll_of("TransactionalProducer::connect", |cut, broker| async move {
        let connected = cut.of(TransactionalProducer::connect(config(&broker), "id"));
        let done = connected.await.is_some();
        let mut producer = at_work(&broker).await;
        goes_on(&mut producer, cut).await;
        holds(&broker, &[0, 1, 2], cut);
        done
    });
}

#[test]
fn a_dropped_begin_leaves_the_transaction_before_aborted() {
    at_every_poll_of("begin", |cut, broker| async move {
        let mut producer = at_work(&broker).await;
        let transaction = producer.begin().await.expect("an epoch");
        enqueue(&transaction, CUT).await;
        drop(transaction);
        let done = cut.of(producer.begin()).await.is_some();
        goes_on(&mut producer, cut).await;
        holds(&broker, &[0, 1, 2], cut);
        done
    });
}

#[test]
fn a_dropped_enqueue_has_accepted_nothing() {
    at_every_poll_of("enqueue in a transaction", |cut, broker| async move {
        let mut producer = connect(&broker).await;
        let transaction = producer.begin().await.expect("an epoch");
        let value = CUT.to_be_bytes();
        let record = Record::new("t").partition(0).value(&value);
        let done = cut.of(transaction.enqueue(record)).await.is_some();
        enqueue(&transaction, 0).await;
        transaction.commit().await.expect("committed");
        goes_on(&mut producer, cut).await;
        let expected: &[u32] = if done { &[CUT, 0, 1, 2] } else { &[0, 1, 2] };
        assert_eq!(committed(&broker, "t", 0, number), expected, "{cut}");
        assert_eq!(committed(&broker, "t", 1, number), [0, 1, 2], "{cut}");
        done
    });
}

#[test]
fn a_dropped_send_is_in_the_transaction_once_or_not_at_all() {
    at_every_poll_of("send in a transaction", |cut, broker| async move {
        let mut producer = connect(&broker).await;
        let transaction = producer.begin().await.expect("an epoch");
        let value = CUT.to_be_bytes();
        let record = Record::new("t").partition(0).value(&value);
        let done = cut.of(transaction.send(record)).await.is_some();
        enqueue(&transaction, 0).await;
        transaction.commit().await.expect("committed");
        goes_on(&mut producer, cut).await;
        let there = committed(&broker, "t", 0, number);
        let is_right = there == [CUT, 0, 1, 2] || !done && there == [0, 1, 2];
        assert!(is_right, "{cut}: {there:?}");
        done
    });
}

/// Commits offset 7 of the group `g` as part of the transaction.
async fn send_offset(transaction: &Transaction<'_>) -> pat_events::kafka::Result<()> {
    let offset = (TopicPartition::new("t", 0), OffsetAndMetadata::new(7));
    let group = ConsumerGroupMetadata::standalone("g");
    transaction.send_offsets([offset], &group).await
}

#[test]
fn offsets_whose_call_is_dropped_are_committed_with_the_transaction() {
    at_every_poll_of("send_offsets", |cut, broker| async move {
        let mut producer = at_work(&broker).await;
        let transaction = producer.begin().await.expect("an epoch");
        let done = cut.of(send_offset(&transaction)).await.is_some();
        assert_eq!(broker.committed_offset("g", "t", 0), None, "{cut}");
        enqueue(&transaction, CUT).await;
        transaction.commit().await.expect("committed");
        let expected = (cut.polls > 0).then_some(7);
        assert_eq!(broker.committed_offset("g", "t", 0), expected, "{cut}");
        goes_on(&mut producer, cut).await;
        holds(&broker, &[0, CUT, 1, 2], cut);
        done
    });
}

#[test]
fn offsets_whose_call_is_dropped_are_aborted_with_the_transaction() {
    at_every_poll_of("send_offsets, aborted", |cut, broker| async move {
        let mut producer = at_work(&broker).await;
        let transaction = producer.begin().await.expect("an epoch");
        enqueue(&transaction, CUT).await;
        let done = cut.of(send_offset(&transaction)).await.is_some();
        drop(transaction);
        goes_on(&mut producer, cut).await;
        assert_eq!(broker.committed_offset("g", "t", 0), None, "{cut}");
        holds(&broker, &[0, 1, 2], cut);
        done
    });
}

#[test]
fn a_dropped_commit_goes_on_and_says_what_became_of_it() {
    at_every_poll_of("commit", |cut, broker| async move {
        let mut producer = at_work(&broker).await;
        let transaction = producer.begin().await.expect("an epoch");
        enqueue(&transaction, CUT).await;
        let done = cut.of(transaction.commit()).await;
        let done = done.map(|committed| committed.expect("committed"));
        let settled = producer.settled().await.expect("the broker answers");
        // One that was never polled has aborted.
        assert_eq!(settled, Some(cut.polls > 0), "{cut}");
        goes_on(&mut producer, cut).await;
        let expected: &[u32] = match settled {
            Some(true) => &[0, CUT, 1, 2],
            _ => &[0, 1, 2],
        };
        holds(&broker, expected, cut);
        done.is_some()
    });
}

#[test]
fn a_begin_after_a_dropped_commit_waits_for_it() {
    at_every_poll_of("commit, then begin", |cut, broker| async move {
        let mut producer = at_work(&broker).await;
        let transaction = producer.begin().await.expect("an epoch");
        enqueue(&transaction, CUT).await;
        let done = cut.of(transaction.commit()).await;
        goes_on(&mut producer, cut).await;
        let expected: &[u32] = match cut.polls {
            0 => &[0, 1, 2],
            _ => &[0, CUT, 1, 2],
        };
        holds(&broker, expected, cut);
        done.is_some()
    });
}

#[test]
fn a_dropped_abort_goes_on() {
    at_every_poll_of("abort", |cut, broker| async move {
        let mut producer = at_work(&broker).await;
        let transaction = producer.begin().await.expect("an epoch");
        enqueue(&transaction, CUT).await;
        let done = cut.of(transaction.abort()).await.is_some();
        goes_on(&mut producer, cut).await;
        holds(&broker, &[0, 1, 2], cut);
        done
    });
}

#[test]
fn a_dropped_settled_is_asked_again() {
    at_every_poll_of("settled", |cut, broker| async move {
        let mut producer = at_work(&broker).await;
        let transaction = producer.begin().await.expect("an epoch");
        enqueue(&transaction, CUT).await;
        let once = Cut {
            polls: 1,
            woken: false,
        };
        assert!(once.of(transaction.commit()).await.is_none(), "{cut}");
        let done = cut.of(producer.settled()).await.is_some();
        let settled = producer.settled().await.expect("the broker answers");
        assert_eq!(settled, Some(true), "{cut}");
        goes_on(&mut producer, cut).await;
        holds(&broker, &[0, CUT, 1, 2], cut);
        done
    });
}

#[test]
fn after_a_dropped_close_the_next_producer_works() {
    at_every_poll_of("TransactionalProducer::close", |cut, broker| async move {
        let mut producer = at_work(&broker).await;
        let transaction = producer.begin().await.expect("an epoch");
        enqueue(&transaction, CUT).await;
        drop(transaction);
        let done = cut.of(producer.close(Duration::from_secs(10))).await;
        let mut next = connect(&broker).await;
        goes_on(&mut next, cut).await;
        holds(&broker, &[0, 1, 2], cut);
        done.is_some()
    });
}

#[test]
fn a_dropped_prepare_leaves_what_can_be_decided() {
    at_every_poll("prepare", |cut| async move {
        let broker = cluster(1, |builder| builder.two_phase_commit());
        broker.create_topic("t", PARTITIONS).expect("a new topic");
        let mut config = config(&broker);
        config.two_phase_commit = true;
        let connected = TransactionalProducer::connect(config, "id").await;
        let mut producer = connected.expect("the broker answers");
        let transaction = producer.begin().await.expect("an epoch");
        enqueue(&transaction, CUT).await;
        let prepared = cut.of(transaction.prepare()).await;
        let done = prepared.map(|prepared| prepared.expect("written"));
        let refused = producer.begin().await.err();
        if let Some(error) = refused {
            assert_eq!(error.kind(), ErrorKind::Config, "{cut}: {error}");
            let prepared = producer.prepared().expect("prepared");
            assert!(done.is_none_or(|done| done == prepared), "{cut}");
            let decided = cut.of(producer.complete(Some(&prepared))).await;
            if let Some(decided) = decided {
                assert!(decided.expect("decided"), "{cut}");
            }
        }
        // What was prepared and not decided can be decided yet.
        if let Some(prepared) = producer.prepared() {
            let decided = producer.complete(Some(&prepared)).await;
            assert!(decided.expect("decided"), "{cut}");
        }
        goes_on(&mut producer, cut).await;
        let expected: &[u32] = match cut.polls {
            0 => &[1, 2],
            _ => &[CUT, 1, 2],
        };
        holds(&broker, expected, cut);
        done.is_some()
    });
}

/// How many records loops read.
const INPUTS: usize = 6;

/// Writes what it reads.
struct Copying;

impl Transform for Copying {
    async fn transform(
        &mut self,
        records: &InputRecords,
        transaction: &Transaction<'_>,
    ) -> Result<(), ExactlyOnceError> {
        for record in records.iter() {
            copy(&record, Record::new("out").partition(0), transaction).await?;
        }
        Ok(())
    }
}

impl EventTransform<EmailEvents, Protobuf> for Copying {
    async fn transform(
        &mut self,
        _: &Context<'_>,
        event: EmailEvents,
        outputs: &mut EventOutputs<'_, Protobuf>,
    ) -> Result<(), HandlerError> {
        outputs.send(&event).await?;
        Ok(())
    }
}

/// A broker with [`INPUTS`] events, and a topic for what becomes of them.
async fn filled(flow: u8) -> Broker {
    let broker = cluster(1, |builder| builder.transaction_version(flow));
    broker.create_topic("t", 1).expect("a new topic");
    broker.create_topic("out", 1).expect("a new topic");
    let mut output = events::ProducerConfig::new("", "t");
    output.kafka.client = config(&broker).client;
    output.brokers = output.kafka.client.bootstrap_servers.clone();
    let producer = EventProducer::connect(output)
        .await
        .expect("the broker answers");
    for number in 0..INPUTS {
        let event = EmailDeleted {
            email_id: number.to_string(),
            ..Default::default()
        };
        producer.send(&event).await.expect("written");
    }
    broker
}

fn loop_config(broker: &Broker) -> ExactlyOnceConfig {
    let client = config(broker).client;
    let servers = client.bootstrap_servers.join(",");
    let mut config = ExactlyOnceConfig::new(&servers, "g", &["t"], "id");
    config.client = client;
    config.consumer.auto_offset_reset = OffsetReset::Earliest;
    config.consumer.session_timeout = Duration::from_secs(6);
    config.producer = ProducerConfig::default();
    config.max_records = INPUTS / 2;
    config
}

/// Returns when all inputs were read for good.
async fn all_is_done(broker: &Broker) {
    while broker.committed_offset("g", "t", 0) != Some(INPUTS as i64) {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a loop that is dropped, and one that does the rest.
fn dropped_loop(name: &str, run: impl AsyncFn(&Broker) + Copy) {
    for flow in FLOWS {
        at_every_poll(&format!("{name}, flow {flow}"), |cut| async move {
            let broker = filled(flow).await;
            let done = cut.of(run(&broker)).await.is_some();
            run(&broker).await;
            let values = |topic: &str| committed(&broker, topic, 0, <[u8]>::to_vec);
            assert_eq!(values("out"), values("t"), "{cut}");
            done
        });
    }
}

#[test]
fn a_loop_that_is_dropped_is_taken_up_by_the_next() {
    dropped_loop("exactly_once", async |broker: &Broker| {
        let mut copying = Copying;
        let stop = all_is_done(broker);
        let run = exactly_once(loop_config(broker), &mut copying, stop);
        run.await.expect("it stops");
    });
}

#[test]
fn a_loop_of_events_that_is_dropped_is_taken_up_by_the_next() {
    dropped_loop("exactly_once of events", async |broker: &Broker| {
        let kafka = loop_config(broker);
        let servers = kafka.client.bootstrap_servers.join(",");
        let mut config = events::ExactlyOnceConfig::new(&servers, &["t"], "g", "out", "id");
        config.kafka = kafka;
        let (mut copying, stop) = (Copying, all_is_done(broker));
        let run = events::exactly_once::<EmailEvents, _, _>(config, Protobuf, &mut copying, stop);
        run.await.expect("it stops");
    });
}
