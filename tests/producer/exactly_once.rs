//! `exactly_once` where transactions come to nothing: the loop goes back to where their records begin, or, where nobody can tell what became of one, to
//! the offsets of the group.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::{
    ExactlyOnceConfig, ExactlyOnceError, ExactlyOnceMetrics, InputRecords, OffsetReset, Producer,
    Record, Transaction, Transform, exactly_once,
};
use protocol::{ApiKey, ErrorCode};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::committed::{assert_committed, committed};
use crate::copying::copy;
use crate::harness::*;

const PARTITIONS: i32 = 3;
const RECORDS: u32 = 60;
/// How many records a transaction has, about.
const EACH: usize = 10;
/// Of the paused clock.
const PATIENCE: Duration = Duration::from_secs(300);

/// The records that each call was given: partition and offset.
type Calls = Arc<Mutex<Vec<Vec<(i32, i64)>>>>;

/// Copies what it reads to `t`. Its `nth` call writes to a topic that there is not.
struct Copying {
    calls: Calls,
    astray: Option<usize>,
}

impl Transform for Copying {
    async fn transform(
        &mut self,
        records: &InputRecords,
        transaction: &Transaction<'_>,
    ) -> Result<(), ExactlyOnceError> {
        let nth = {
            let mut calls = self.calls.lock().expect("no holder panics");
            let places = records.iter().map(|it| (it.partition, it.offset));
            calls.push(places.collect());
            calls.len() - 1
        };
        for record in records.iter() {
            let output = Record::new("t").partition(record.partition);
            copy(&record, output, transaction).await?;
        }
        if self.astray == Some(nth) {
            drop(transaction.enqueue(Record::new("nowhere")).await?);
        }
        Ok(())
    }
}

async fn filled(flow: u8) -> Broker {
    let broker = cluster(1, |builder| {
        builder.transaction_version(flow).auto_create_topics(false)
    });
    for topic in ["in", "t"] {
        broker.create_topic(topic, PARTITIONS).expect("a new topic");
    }
    let producer: Producer = producer(&broker, |_| {}).await;
    for number in 0..RECORDS {
        let value = number.to_be_bytes();
        let partition = (number % PARTITIONS as u32) as i32;
        let record = Record::new("in").partition(partition).value(&value);
        drop(producer.enqueue(record).await.expect("accepted"));
    }
    producer.flush().await.expect("written");
    broker
}

/// Runs a loop until everything is copied. What its calls were given.
async fn run(broker: &Broker, astray: Option<usize>) -> (Vec<Vec<(i32, i64)>>, ExactlyOnceMetrics) {
    let mut config = ExactlyOnceConfig::new("", "loop", &["in"], "id");
    config.client = self::config(broker).client;
    config.consumer.auto_offset_reset = OffsetReset::Earliest;
    config.producer.max_block = ms(5_000);
    config.max_records = EACH;
    let calls = Calls::default();
    let mut copying = Copying {
        calls: calls.clone(),
        astray,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        exactly_once(config, &mut copying, stopped).await
    });
    let count = || -> usize { committed(broker, PARTITIONS).iter().map(Vec::len).sum() };
    let copied = timeout(PATIENCE, async {
        loop {
            if count() >= RECORDS as usize || running.is_finished() {
                return;
            }
            sleep(ms(50)).await;
        }
    });
    copied.await.expect("everything is copied in time");
    // What would come twice comes now.
    sleep(ms(2_000)).await;
    drop(stop);
    let metrics = running.await.expect("no panic").expect("it goes on");
    let calls = std::mem::take(&mut *calls.lock().expect("no holder panics"));
    (calls, metrics)
}

/// How often each record was transformed.
fn times(calls: &[Vec<(i32, i64)>]) -> BTreeMap<(i32, i64), u32> {
    let mut times = BTreeMap::new();
    for place in calls.iter().flatten() {
        *times.entry(*place).or_default() += 1;
    }
    times
}

fn assert_copied_once(broker: &Broker, what: &str) {
    let all: Vec<u32> = (0..RECORDS).collect();
    assert_committed(broker, PARTITIONS, &all, what);
    for partition in 0..PARTITIONS {
        let next = broker.committed_offset("loop", "in", partition);
        let end = i64::from(RECORDS) / i64::from(PARTITIONS);
        assert_eq!(next, Some(end), "{what}: partition {partition}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_goes_back_to_where_the_records_of_an_aborted_transaction_begin() {
    let refused = FaultAction::Answer(ErrorCode::INVALID_TXN_STATE);
    let another_member = FaultAction::Answer(ErrorCode::ILLEGAL_GENERATION);
    let out_of_order = FaultAction::Answer(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    // The call that is in vain, and how it is brought to that.
    let ways = [
        ("nothing goes wrong", None, None, vec![]),
        (
            "its offsets are refused",
            Some(1),
            None,
            vec![Fault::on(ApiKey::TXN_OFFSET_COMMIT, another_member).after(1)],
        ),
        (
            "its commit is refused",
            Some(1),
            None,
            vec![Fault::on(ApiKey::END_TXN, refused).after(1)],
        ),
        (
            "its commit is lost, and refused when it is asked for again",
            Some(1),
            None,
            vec![
                Fault::on(ApiKey::END_TXN, FaultAction::Disconnect).after(1),
                Fault::on(ApiKey::END_TXN, refused).after(2),
            ],
        ),
        (
            "a record is refused",
            Some(0),
            None,
            vec![produce(out_of_order)],
        ),
        ("a record has no topic", Some(2), Some(2), vec![]),
    ];
    for (flow, (way, in_vain, astray, faults)) in [1, 2]
        .into_iter()
        .flat_map(|flow| ways.clone().map(|way| (flow, way)))
    {
        let what = format!("flow {flow}, {way}");
        let broker = filled(flow).await;
        faults.into_iter().for_each(|fault| broker.inject(fault));
        let (calls, metrics) = run(&broker, astray).await;
        assert_eq!(broker.pending_faults(), 0, "{what}");
        assert_copied_once(&broker, &what);
        let again = in_vain.map_or(&[][..], |nth: usize| &calls[nth][..]);
        for (place, times) in times(&calls) {
            let expected = if again.contains(&place) { 2 } else { 1 };
            assert_eq!(times, expected, "{what}: {place:?} in {calls:?}");
        }
        assert_eq!(metrics.records, u64::from(RECORDS), "{what}");
        assert_eq!(metrics.aborted, u64::from(in_vain.is_some()), "{what}");
    }
}

/// The transaction is committed, and nobody says so: what counts is where the group's offsets are.
#[tokio::test(start_paused = true)]
async fn a_loop_that_cannot_learn_of_its_commit_goes_on_from_the_offsets_of_the_group() {
    for flow in [1, 2] {
        let what = format!("flow {flow}");
        let broker = filled(flow).await;
        let lost = FaultAction::ApplyThenDisconnect;
        let refused = FaultAction::Answer(ErrorCode::INVALID_TXN_STATE);
        broker.inject(Fault::on(ApiKey::END_TXN, lost).after(1));
        broker.inject(Fault::on(ApiKey::END_TXN, refused).after(2));
        let (calls, metrics) = run(&broker, None).await;
        assert_eq!(broker.pending_faults(), 0, "{what}");
        assert_copied_once(&broker, &what);
        let again: Vec<_> = times(&calls).into_iter().filter(|it| it.1 > 1).collect();
        assert!(again.is_empty(), "{what}: {again:?} in {calls:?}");
        assert_eq!(metrics.records, u64::from(RECORDS), "{what}");
        assert_eq!(metrics.committed, calls.len() as u64, "{what}");
        assert_eq!((metrics.aborted, metrics.unknown), (0, 0), "{what}");
    }
}
