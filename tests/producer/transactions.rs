//! Transactions while brokers lose epochs, answers and coordinators: a transaction is committed whole or not at all, and what is reported of it is what
//! became of it. By both flows: with requests that add partitions, and without (KIP-890).

use std::sync::Arc;
use std::time::Duration;

use pat_events::broker::{Broker, Fault, FaultAction, Garbling};
use pat_events::kafka::{
    Delivery, ErrorKind, ProducerConfig, Record, Result, Transaction, TransactionalProducer,
    WriteOutcome,
};
use protocol::{ApiKey, ErrorCode};
use tokio::time::{Instant, sleep, timeout};

use crate::committed::{assert_committed, logged};
use crate::harness::*;
use crate::proxy::{Asked, Meddling, Proxy, refusing_records};

const PARTITIONS: i32 = 3;
/// What may be on its way to the log after it was reported, such as markers.
const A_WHILE: Duration = Duration::from_secs(2);

/// `transaction.version`: the older flow, and the newer.
const FLOWS: [u8; 2] = [1, 2];

fn broker(nodes: usize, flow: u8) -> Broker {
    let broker = cluster(nodes, |builder| builder.transaction_version(flow));
    broker.create_topic("t", PARTITIONS).expect("a new topic");
    broker
}

async fn transactional(
    broker: &Broker,
    change: impl FnOnce(&mut ProducerConfig),
) -> TransactionalProducer {
    let mut config = config(broker);
    config.batch_bytes = 1_000;
    change(&mut config);
    let connected = TransactionalProducer::connect(config, "id").await;
    connected.expect("a producer connects")
}

/// Hands in the numbers, each for the partition of its remainder, until one is refused.
async fn enqueue(
    transaction: &Transaction<'_>,
    numbers: std::ops::Range<u32>,
) -> Result<Vec<Delivery>> {
    let mut deliveries = Vec::new();
    for number in numbers {
        let value = number.to_be_bytes();
        let record = Record::new("t")
            .partition((number % PARTITIONS as u32) as i32)
            .value(&value);
        deliveries.push(transaction.enqueue(record).await?);
    }
    Ok(deliveries)
}

/// A transaction of these numbers that is committed.
async fn commit(producer: &mut TransactionalProducer, numbers: std::ops::Range<u32>) {
    let transaction = producer.begin().await.expect("begun");
    let accepted = enqueue(&transaction, numbers).await;
    drop(accepted.expect("accepted"));
    transaction.commit().await.expect("committed");
}

fn epochs(broker: &Broker, numbers: std::ops::Range<u32>) -> Vec<i16> {
    let all = (0..PARTITIONS).flat_map(|partition| logged(broker, partition));
    let those = all.filter(|it| numbers.contains(&it.number));
    those.map(|it| it.epoch).collect()
}

/// Nothing of a transaction is seen early: what comes in one go leaves in one request.
#[tokio::test]
async fn the_records_of_a_small_transaction_take_one_request() {
    let broker = broker(1, 2);
    let mut producer = transactional(&broker, |config| config.batch_bytes = 100_000).await;
    commit(&mut producer, 0..60).await;
    let before = producer.metrics().requests_sent;
    for transaction in 1..=50 {
        commit(&mut producer, transaction * 60..(transaction + 1) * 60).await;
    }
    let sent = producer.metrics().requests_sent - before;
    assert!((50..60).contains(&sent), "{sent} requests, 50 transactions");
}

/// A coordinator answers EndTxn before it has written the markers, and a broker that gets something of the next transaction meanwhile looks again after
/// 20 ms (KIP-890).
#[tokio::test(start_paused = true)]
async fn what_came_too_early_comes_a_little_later_in_the_next_transactions() {
    let (markers, backoff) = (Duration::from_millis(3), Duration::from_millis(20));
    let broker = broker(1, 2);
    let mut ended: Option<Instant> = None;
    let proxy = Proxy::new(&broker, move |asked: &Asked| match asked.api {
        ApiKey::END_TXN => {
            ended = Some(Instant::now());
            Meddling::None
        }
        ApiKey::PRODUCE if ended.is_some_and(|ended| ended.elapsed() < markers) => {
            Meddling::Late(backoff)
        }
        _ => Meddling::None,
    });
    let mut producer = transactional(&broker, |config| {
        config.client.transport = Arc::new(proxy);
        config.batch_bytes = 100_000;
    })
    .await;
    for transaction in 0..10 {
        commit(&mut producer, transaction * 60..(transaction + 1) * 60).await;
    }
    let (began, before) = (Instant::now(), producer.metrics().requests_sent);
    for transaction in 10..110 {
        commit(&mut producer, transaction * 60..(transaction + 1) * 60).await;
    }
    let each = began.elapsed() / 100;
    assert!(each >= markers && each < 2 * markers, "{each:?}");
    assert_eq!(producer.metrics().requests_sent - before, 100);
}

/// librdkafka #3575: the epoch was raised in the middle of a transaction, and its commit succeeded without the records before that.
#[tokio::test(start_paused = true)]
async fn an_epoch_that_is_lost_in_a_transaction_aborts_all_of_it() {
    for flow in FLOWS {
        for code in [
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            ErrorCode::UNKNOWN_PRODUCER_ID,
            ErrorCode::INVALID_PRODUCER_EPOCH,
            ErrorCode::INVALID_PRODUCER_ID_MAPPING,
        ] {
            let what = format!("flow {flow}, {code}");
            let broker = broker(1, flow);
            let mut producer = transactional(&broker, |_| {}).await;
            commit(&mut producer, 0..100).await;
            let torn = producer.begin().await.expect("begun");
            for delivery in enqueue(&torn, 100..200).await.expect("accepted") {
                delivery.await.expect("written");
            }
            broker.inject(produce(FaultAction::Answer(code)));
            // Whether the rest is accepted depends on when it is known.
            drop(enqueue(&torn, 200..400).await);
            let error = torn.commit().await.expect_err("a part of it was refused");
            assert_eq!(
                error.kind(),
                ErrorKind::TransactionAborted,
                "{what}: {error}"
            );
            assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{what}: {error}");
            assert!(!error.is_fatal(), "{what}: {error}");
            assert_eq!(broker.pending_faults(), 0, "{what}");
            commit(&mut producer, 400..500).await;
            sleep(A_WHILE).await;
            let seen: Vec<u32> = (0..100).chain(400..500).collect();
            assert_committed(&broker, PARTITIONS, &seen, &what);
            let before = epochs(&broker, 100..400).into_iter().max();
            let after = epochs(&broker, 400..500).into_iter().min();
            assert!(after > before, "{what}: {after:?} after {before:?}");
        }
    }
}

/// franz-go 1.21.4: EndTxn was answered with UNKNOWN_SERVER_ERROR, and the transaction reported as committed.
#[tokio::test(start_paused = true)]
async fn a_commit_is_reported_only_when_the_coordinator_said_so() {
    let unsettled = [
        FaultAction::Answer(ErrorCode::UNKNOWN_SERVER_ERROR),
        FaultAction::ApplyThenAnswer(ErrorCode::UNKNOWN_SERVER_ERROR),
        FaultAction::Answer(ErrorCode::REQUEST_TIMED_OUT),
        FaultAction::ApplyThenAnswer(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        FaultAction::Answer(ErrorCode::CONCURRENT_TRANSACTIONS),
        FaultAction::Disconnect,
        FaultAction::ApplyThenDisconnect,
        FaultAction::ApplyThenGarble(Garbling::Noise),
    ];
    for (flow, action) in FLOWS
        .into_iter()
        .flat_map(|flow| unsettled.map(|action| (flow, action)))
    {
        let what = format!("flow {flow}, {action:?}");
        let broker = broker(1, flow);
        let mut producer = transactional(&broker, |config| {
            config.max_block = ms(10_000);
            config.client.request_timeout = ms(2_000);
        })
        .await;
        // Some answers that settle nothing: it is asked again.
        broker.inject(Fault::on(ApiKey::END_TXN, action).times(3));
        commit(&mut producer, 0..30).await;
        sleep(A_WHILE).await;
        assert_eq!(broker.pending_faults(), 0, "{what}");
        let seen: Vec<u32> = (0..30).collect();
        assert_committed(&broker, PARTITIONS, &seen, &what);
        // None that does: nobody says that it was committed, until somebody knows.
        broker.inject(Fault::on(ApiKey::END_TXN, action).always());
        let transaction = producer.begin().await.expect("begun");
        drop(enqueue(&transaction, 30..60).await.expect("accepted"));
        let error = transaction.commit().await.expect_err("nobody said so");
        assert_eq!(
            (error.kind(), error.outcome()),
            (ErrorKind::Timeout, WriteOutcome::Unknown),
            "{what}: {error}"
        );
        let error = producer.settled().await.expect_err("nobody knows yet");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{what}: {error}");
        broker.clear_faults();
        let is_committed = producer.settled().await;
        assert_eq!(is_committed.expect("settled"), Some(true), "{what}");
        sleep(A_WHILE).await;
        let seen: Vec<u32> = (0..60).collect();
        assert_committed(&broker, PARTITIONS, &seen, &what);
        commit(&mut producer, 60..90).await;
    }
}

/// What a coordinator refuses is not committed, and the producer goes on.
#[tokio::test(start_paused = true)]
async fn a_commit_that_is_refused_is_not_written_and_the_next_one_is() {
    for flow in FLOWS {
        for code in [
            ErrorCode::INVALID_TXN_STATE,
            ErrorCode::TRANSACTION_ABORTABLE,
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ] {
            let what = format!("flow {flow}, {code}");
            let broker = broker(1, flow);
            let mut producer = transactional(&broker, |_| {}).await;
            broker.inject(Fault::on(ApiKey::END_TXN, FaultAction::Answer(code)));
            let transaction = producer.begin().await.expect("begun");
            drop(enqueue(&transaction, 0..30).await.expect("accepted"));
            let error = transaction.commit().await.expect_err("it was refused");
            assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{what}: {error}");
            assert_eq!(producer.settled().await.expect("settled"), Some(false));
            commit(&mut producer, 30..60).await;
            sleep(A_WHILE).await;
            let seen: Vec<u32> = (30..60).collect();
            assert_committed(&broker, PARTITIONS, &seen, &what);
        }
    }
}

/// KIP-588: INVALID_PRODUCER_EPOCH says less than PRODUCER_FENCED. Where the coordinator knows the epoch after all, it costs one transaction; where it does not,
/// the producer.
#[tokio::test(start_paused = true)]
async fn an_epoch_that_is_doubted_and_current_all_the_same_costs_one_transaction() {
    let doubt = FaultAction::Answer(ErrorCode::INVALID_PRODUCER_EPOCH);
    for (flow, commits) in FLOWS.into_iter().flat_map(|it| [(it, true), (it, false)]) {
        for api in [ApiKey::END_TXN, ApiKey::ADD_PARTITIONS_TO_TXN] {
            let what = format!("flow {flow}, {api:?}, commits {commits}");
            let broker = broker(1, flow);
            let mut producer = transactional(&broker, |_| {}).await;
            commit(&mut producer, 0..30).await;
            let transaction = producer.begin().await.expect("begun");
            for delivery in enqueue(&transaction, 30..31).await.expect("accepted") {
                delivery.await.expect("written");
            }
            broker.inject(Fault::on(api, doubt));
            let accepted = enqueue(&transaction, 31..60).await.map(drop);
            match commits {
                true => {
                    let error = transaction.commit().await.expect_err("it was refused");
                    let kind = ErrorKind::TransactionAborted;
                    assert_eq!(error.kind(), kind, "{what}: {error}");
                    assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{what}: {error}");
                    assert!(!error.is_fatal(), "{what}: {error}");
                }
                false => transaction.abort().await.expect("aborted"),
            }
            // What is not known of one that is aborted may not have been asked.
            if commits {
                assert_eq!(broker.pending_faults(), 0, "{what}, {accepted:?}");
            }
            broker.clear_faults();
            commit(&mut producer, 60..90).await;
            sleep(A_WHILE).await;
            let seen: Vec<u32> = (0..30).chain(60..90).collect();
            assert_committed(&broker, PARTITIONS, &seen, &what);
        }
    }
    for flow in FLOWS {
        let broker = broker(1, flow);
        let mut older = transactional(&broker, |_| {}).await;
        let transaction = older.begin().await.expect("begun");
        drop(enqueue(&transaction, 0..30).await.expect("accepted"));
        let mut newer = transactional(&broker, |_| {}).await;
        broker.inject(Fault::on(ApiKey::END_TXN, doubt).times(2));
        let error = transaction.commit().await.expect_err("somebody took over");
        assert_eq!(error.kind(), ErrorKind::Fenced, "flow {flow}: {error}");
        assert_eq!(error.outcome(), WriteOutcome::NotWritten, "flow {flow}");
        broker.clear_faults();
        commit(&mut newer, 30..60).await;
        sleep(A_WHILE).await;
        let seen: Vec<u32> = (30..60).collect();
        assert_committed(&broker, PARTITIONS, &seen, &format!("flow {flow}"));
    }
}

/// Dekaf #3341, where a transactional id has it: Kafka answers UNKNOWN_SERVER_ERROR, for ever, to who names an epoch of a producer id whose last one is given
/// away. The producer ends; whoever connects then has another producer id.
#[tokio::test(start_paused = true)]
async fn a_producer_whose_epochs_are_used_up_ends_and_the_next_one_has_another_id() {
    for flow in FLOWS {
        let what = format!("flow {flow}");
        let broker = broker(1, flow);
        let patient = |config: &mut ProducerConfig| config.max_block = ms(10_000);
        let mut producer = transactional(&broker, patient).await;
        commit(&mut producer, 0..30).await;
        assert!(broker.skip_to_producer_epoch("id", i16::MAX - 1));
        let began = Instant::now();
        let transaction = producer.begin().await.expect("begun");
        drop(enqueue(&transaction, 30..60).await);
        transaction.commit().await.expect_err("its epoch is over");
        let error = loop {
            match producer.begin().await {
                Ok(_) => panic!("{what}: there is no epoch for it"),
                Err(error) if error.is_fatal() => break error,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout, "{what}: {error}"),
            }
        };
        assert_eq!(error.kind(), ErrorKind::Fenced, "{what}: {error}");
        assert!(
            began.elapsed() < ms(90_000),
            "{what}: {:?}",
            began.elapsed()
        );
        let mut next = transactional(&broker, patient).await;
        commit(&mut next, 60..90).await;
        sleep(A_WHILE).await;
        let seen: Vec<u32> = (0..30).chain(60..90).collect();
        assert_committed(&broker, PARTITIONS, &seen, &what);
        assert!(
            epochs(&broker, 60..90).into_iter().all(|it| it == 0),
            "{what}"
        );
    }
}

/// franz-go 1.19: what was produced while a transaction ended and the next one began was doubled. Here it is decided when it is accepted, and each
/// transaction's records stand between two markers.
#[tokio::test(start_paused = true)]
async fn a_record_belongs_to_the_transaction_that_accepted_it_and_to_no_other() {
    const ROUNDS: u32 = 200;
    const EACH: u32 = 45;
    for flow in FLOWS {
        let broker = broker(1, flow);
        let mut producer = transactional(&broker, |_| {}).await;
        for place in 0..40 {
            let lost = FaultAction::ApplyThenDisconnect;
            broker.inject(produce(lost).after(place * 17 + 3));
            broker.inject(Fault::on(ApiKey::END_TXN, lost).after(place * 5 + 1));
            let slow = FaultAction::Delay(ms(20));
            broker.inject(produce(slow).after(place * 13 + 1));
            broker.inject(Fault::on(ApiKey::END_TXN, slow).after(place * 7));
        }
        let (mut seen, mut last) = (Vec::new(), None);
        for round in 0..ROUNDS {
            let transaction = producer.begin().await.expect("begun");
            let numbers = round * EACH..(round + 1) * EACH;
            drop(
                enqueue(&transaction, numbers.clone())
                    .await
                    .expect("accepted"),
            );
            match round % 4 {
                0 => transaction.commit().await.expect("committed"),
                1 => transaction.abort().await.expect("aborted"),
                2 => drop(transaction),
                // Asked for, and dropped: the next one begins while it is under way.
                _ => drop(timeout(ms(round.into()), transaction.commit()).await),
            }
            if matches!(round % 4, 0 | 3) {
                seen.extend(numbers);
            }
            last = Some(round % 4 == 3);
        }
        assert_eq!(producer.settled().await.expect("settled"), last);
        sleep(A_WHILE).await;
        let what = format!("flow {flow}");
        assert_committed(&broker, PARTITIONS, &seen, &what);
        for partition in 0..PARTITIONS {
            let records = logged(&broker, partition);
            for pair in records.windows(2) {
                let [one, next] = pair else { continue };
                let is_same = one.number / EACH == next.number / EACH;
                let are_together = one.transaction == next.transaction;
                assert_eq!(is_same, are_together, "{what}: {one:?} and {next:?}");
            }
        }
    }
}

/// Jepsen on Bufstream 0.1.0 and on Redpanda 21.10.1: a coordinator that failed tore transactions, or lost them.
#[tokio::test(start_paused = true)]
async fn a_coordinator_that_fails_tears_no_transaction() {
    const ROUNDS: u32 = 120;
    const EACH: u32 = 30;
    for flow in FLOWS {
        let broker = broker(3, flow);
        let mut producer = transactional(&broker, |config| {
            config.max_block = ms(1_500);
            config.client.request_timeout = ms(1_000);
        })
        .await;
        let (mut seen, mut unknown, mut stopped) = (Vec::new(), 0, None);
        for round in 0..ROUNDS {
            let coordinator = broker.coordinator("id").expect("somebody");
            let next = coordinator % 3 + 1;
            let end_is = |action| broker.inject(Fault::on(ApiKey::END_TXN, action).times(2));
            match round % 8 {
                1 => broker.move_coordinator("id", next),
                2 => end_is(FaultAction::ApplyThenDisconnect),
                3 => end_is(FaultAction::ApplyThenAnswer(ErrorCode::REQUEST_TIMED_OUT)),
                4 => end_is(FaultAction::Answer(ErrorCode::NOT_COORDINATOR)),
                5 => end_is(FaultAction::Delay(ms(2_500))),
                6 => broker.inject(
                    Fault::on(ApiKey::INIT_PRODUCER_ID, FaultAction::ApplyThenDisconnect).times(2),
                ),
                _ => {}
            }
            let numbers = round * EACH..(round + 1) * EACH;
            let Ok(transaction) = producer.begin().await else {
                continue;
            };
            let accepted = enqueue(&transaction, numbers.clone()).await.map(drop);
            // In the middle of it.
            match round % 8 {
                2 => broker.move_coordinator("id", next),
                5 => broker.disconnect_node(coordinator),
                7 => {
                    broker.stop_node(coordinator).await;
                    stopped = Some(coordinator);
                }
                _ => {}
            }
            let ended = match (accepted, round % 5) {
                (Ok(()), 3) => transaction.abort().await,
                (Ok(()), _) => transaction.commit().await,
                (Err(error), _) => transaction.abort().await.and(Err(error)),
            };
            if let Some(node) = stopped.take() {
                sleep(ms(500)).await;
                broker.start_node(node).await.expect("it comes back");
            }
            unknown += u32::from(ended.is_err());
            // Whatever was said: what became of it is found out before anything else.
            let is_committed = loop {
                match producer.settled().await {
                    Ok(is_committed) => break is_committed == Some(true),
                    Err(error) if error.kind() == ErrorKind::Timeout => {}
                    Err(error) => panic!("flow {flow}, round {round}: {error}"),
                }
            };
            if let Err(error) = &ended
                && error.outcome() == WriteOutcome::NotWritten
            {
                assert!(!is_committed, "flow {flow}, round {round}: {error}");
            }
            if ended.is_ok() {
                assert_eq!(is_committed, round % 5 != 3, "flow {flow}, round {round}");
            }
            if is_committed {
                seen.extend(numbers);
            }
        }
        broker.clear_faults();
        sleep(A_WHILE).await;
        println!("flow {flow}: {} committed, {unknown} failed", seen.len());
        assert!(unknown > 0 && seen.len() > (ROUNDS * EACH / 2) as usize);
        assert_committed(&broker, PARTITIONS, &seen, &format!("flow {flow}"));
    }
}

/// Who asks a coordinator for an epoch has it abort what is under way, whatever its own epoch: a producer that was fenced and asked for another took
/// its successor's transaction with it, and by the older flow the successor as well.
#[tokio::test(start_paused = true)]
async fn a_producer_that_was_taken_over_from_leaves_its_successor_alone() {
    for (flow, epoch) in FLOWS
        .into_iter()
        .flat_map(|flow| [0, 1, 3].map(|it| (flow, it)))
    {
        let broker = broker(1, flow);
        let what = format!("flow {flow}, epoch {epoch} before the last");
        let mut first = transactional(&broker, |_| {}).await;
        commit(&mut first, 0..10).await;
        if epoch > 0 {
            broker.skip_to_producer_epoch("id", i16::MAX - epoch);
        }
        let mut second = transactional(&broker, |_| {}).await;
        let open = second.begin().await.expect("begun");
        for delivery in enqueue(&open, 10..20).await.expect("accepted") {
            delivery.await.expect("written");
        }
        let late = first.begin().await.expect("it does not know yet");
        drop(enqueue(&late, 20..30).await);
        let error = late.commit().await.expect_err("it was taken over from");
        assert_eq!(
            (error.is_fatal(), error.outcome()),
            (true, WriteOutcome::NotWritten),
            "{what}: {error}"
        );
        drop(enqueue(&open, 30..40).await.expect("accepted"));
        open.commit().await.expect(&what);
        commit(&mut second, 40..50).await;
        sleep(A_WHILE).await;
        let seen: Vec<u32> = (0..20).chain(30..50).collect();
        assert_committed(&broker, PARTITIONS, &seen, &what);
    }
}

/// A coordinator whose own write was not confirmed in time says that it is none: what it was asked for may have been done. Who heard nothing after that but
/// that it may not look for a coordinator reported a transaction that was committed as not written.
#[tokio::test(start_paused = true)]
async fn a_commit_of_which_nothing_more_is_heard_is_not_said_to_have_failed() {
    for flow in FLOWS {
        for code in [
            ErrorCode::NOT_COORDINATOR,
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ] {
            let broker = broker(1, flow);
            let what = format!("flow {flow}, {code}");
            let mut producer = transactional(&broker, |_| {}).await;
            let transaction = producer.begin().await.expect("begun");
            drop(enqueue(&transaction, 0..10).await.expect("accepted"));
            broker.inject(Fault::on(
                ApiKey::END_TXN,
                FaultAction::ApplyThenAnswer(code),
            ));
            let refused = FaultAction::Answer(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
            broker.inject(Fault::on(ApiKey::FIND_COORDINATOR, refused).times(2));
            let error = transaction.commit().await.expect_err("nobody said so");
            assert_eq!(error.outcome(), WriteOutcome::Unknown, "{what}: {error}");
            assert_eq!(broker.pending_faults(), 0, "{what}");
            commit(&mut producer, 10..20).await;
            sleep(A_WHILE).await;
            let seen: Vec<u32> = (0..20).collect();
            assert_committed(&broker, PARTITIONS, &seen, &what);
        }
    }
}

/// KIP-467: whoever handed in the record that was refused is told why; nothing of the transaction counts.
#[tokio::test(start_paused = true)]
async fn a_record_that_is_refused_is_named_and_its_transaction_aborted() {
    for flow in FLOWS {
        let broker = broker(1, flow);
        let is_wrong = |value: &[u8]| value.ends_with(&[0, 42]);
        let rule = refusing_records(ErrorCode::INVALID_RECORD, true, is_wrong);
        let proxy = Proxy::new(&broker, rule);
        let mut producer = transactional(&broker, |config| {
            config.client.transport = std::sync::Arc::new(proxy);
            config.max_in_flight = 1;
            config.batch_bytes = 100_000;
        })
        .await;
        let transaction = producer.begin().await.expect("begun");
        let mut deliveries = Vec::new();
        for number in 40u32..50 {
            let value = number.to_be_bytes();
            let record = Record::new("t").partition(0).value(&value);
            deliveries.push(transaction.enqueue(record).await.expect("accepted"));
        }
        let error = transaction.commit().await.expect_err("one was refused");
        assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{error}");
        for (number, delivery) in (40..).zip(deliveries) {
            match delivery.await {
                Err(error) if number == 42 => {
                    let code = error.server_error();
                    assert_eq!(code, Some(ErrorCode::INVALID_RECORD), "{error}");
                    assert!(error.to_string().contains("record 2 is wrong"), "{error}");
                }
                Ok(_) => assert_ne!(number, 42),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TransactionAborted, "{error}");
                }
            }
        }
        let transaction = producer.begin().await.expect("begun");
        let value = 51u32.to_be_bytes();
        let record = Record::new("t").partition(0).value(&value);
        transaction.send(record).await.expect("written");
        transaction.commit().await.expect("committed");
        sleep(A_WHILE).await;
        assert_committed(&broker, PARTITIONS, &[51], &format!("flow {flow}"));
    }
}
