//! The program's broker with a data directory, killed (SIGKILL) again and again while transactions are open. In: producers that commit and abort, and some
//! that die in the middle. Out: what was reported as committed is there, all of it, once and in order; of what was aborted nothing; what was left open
//! is aborted when its time is over, by the broker that comes after.
//!
//! `KILLED_TRANSACTIONS=100` kills it as often; without it, 5 times.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pat_events::kafka::{
    Consumer, ConsumerConfig, ErrorKind, NewTopic, ProducerConfig, Record, Result, StartOffset,
    TopicPartition, TransactionalProducer, WriteOutcome,
};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::fleet::{Fleet, block_on_for};
use crate::killed_broker::Killed;
use crate::rng::Rng;

const TOPIC: &str = "killed";
const PARTITIONS: i32 = 3;
const WRITERS: u32 = 3;
/// Those that die have numbers from here on.
const FIRST_DYING: u32 = 1_000;
/// `transaction.timeout.ms` of those that die.
const OPEN: Duration = Duration::from_secs(2);
/// Nobody waits longer than this for something to happen.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let kills = std::env::var("KILLED_TRANSACTIONS").ok();
    let kills = kills.map(|it| (it.parse()).expect("KILLED_TRANSACTIONS is a number of kills"));
    let kills: u32 = kills.unwrap_or(5);
    let name = "embedded::a_broker_that_is_killed_with_transactions_open_tears_none";
    vec![fleet.apart(name.to_owned(), move || {
        let takes = Duration::from_secs(u64::from(kills) * 5);
        block_on_for(takes, case(kills));
    })]
}

/// What became of a transaction of so many records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Committed(u32),
    Aborted,
    Unknown(u32),
}

/// Whose transaction, and which one of theirs.
type Transaction = (u32, u32);

#[derive(Default)]
struct Told {
    fates: Mutex<BTreeMap<Transaction, Fate>>,
    ends: AtomicBool,
}

impl Told {
    fn note(&self, transaction: Transaction, fate: Fate) {
        let mut fates = self.fates.lock().expect("no panic");
        fates.insert(transaction, fate);
    }
}

async fn case(kills: u32) {
    let mut killed = Killed::new("killed-transactions", "always");
    let began = Instant::now();
    killed.start_with(&NewTopic::new(TOPIC, PARTITIONS)).await;
    let told = Arc::new(Told::default());
    let rng = Rng::new(began.elapsed().as_nanos() as u64);
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let (address, told) = (killed.address.clone(), told.clone());
        tasks.push(tokio::spawn(write(
            address,
            writer,
            told,
            Rng::new(rng.next()),
        )));
    }
    for kill in 0..kills {
        sleep(rng.millis(50, 500)).await;
        let (address, dying) = (killed.address.clone(), FIRST_DYING + kill);
        let left = spawn_blocking(move || leave_open(&address, dying));
        left.await.expect("it has written");
        told.note((dying, 0), Fate::Aborted);
        sleep(rng.millis(0, 100)).await;
        killed.kill();
        killed.start().await;
    }
    // All that is under way comes to its end.
    told.ends.store(true, Ordering::Relaxed);
    for task in tasks {
        let ended = timeout(PATIENCE, task).await;
        ended.expect("in time").expect("no panic");
    }
    nothing_stays_open(&killed.address).await;
    let before = read(&killed.address).await;
    killed.kill();
    killed.start().await;
    let there = read(&killed.address).await;
    assert_eq!(there, before, "the same once more");
    let fates = std::mem::take(&mut *told.fates.lock().expect("no panic"));
    judge(&fates, &there);
    let count = |is: fn(&Fate) -> bool| fates.values().filter(|it| is(it)).count();
    let committed = count(|it| matches!(it, Fate::Committed(_)));
    let aborted = count(|it| matches!(it, Fate::Aborted));
    let unknown = count(|it| matches!(it, Fate::Unknown(_)));
    println!(
        "{kills} kills: {committed} transactions committed, {aborted} aborted, {unknown} unknown; {} records are seen; {} ms",
        there.len(),
        began.elapsed().as_millis(),
    );
    assert!(
        committed > kills as usize && aborted > kills as usize,
        "hardly anything was written"
    );
}

async fn connect(address: &str, id: &str, timeout: Option<Duration>) -> TransactionalProducer {
    let mut config = ProducerConfig::new(address);
    config.delivery_timeout = PATIENCE;
    config.max_block = PATIENCE;
    config.transaction_timeout = timeout.unwrap_or(PATIENCE);
    let connected = TransactionalProducer::connect(config, id).await;
    connected.expect("connected")
}

/// Writes transactions, one after the other, until it is told to end.
async fn write(address: String, writer: u32, told: Arc<Told>, rng: Rng) {
    let mut producer = connect(&address, &format!("writer-{writer}"), None).await;
    let mut number = 0;
    while !told.ends.load(Ordering::Relaxed) {
        let fate = transact(&mut producer, (writer, number), &rng).await;
        told.note((writer, number), fate.expect("nobody takes over"));
        number += 1;
    }
    producer.close(PATIENCE).await.expect("closed");
}

async fn transact(
    producer: &mut TransactionalProducer,
    (writer, number): Transaction,
    rng: &Rng,
) -> Result<Fate> {
    let transaction = producer.begin().await?;
    let count = rng.between(1, 25) as u32;
    for index in 0..count {
        let value = [writer, number, index].map(u32::to_be_bytes).concat();
        let partition = rng.between(0, PARTITIONS as u64 - 1) as i32;
        let record = Record::new(TOPIC).partition(partition).value(&value);
        if transaction.enqueue(record).await.is_err() {
            // Something of it failed; whatever is said of the abort, it is never committed.
            let _ = transaction.abort().await;
            return Ok(Fate::Aborted);
        }
        if rng.chance(5) {
            sleep(rng.millis(0, 20)).await;
        }
    }
    if rng.chance(30) {
        let _ = transaction.abort().await;
        return Ok(Fate::Aborted);
    }
    match transaction.commit().await {
        Ok(()) => Ok(Fate::Committed(count)),
        Err(error) if error.outcome() == WriteOutcome::NotWritten => Ok(Fate::Aborted),
        Err(_) => loop {
            match producer.settled().await {
                Ok(Some(true)) => break Ok(Fate::Committed(count)),
                Ok(_) => break Ok(Fate::Aborted),
                Err(error) if error.kind() == ErrorKind::Timeout => {}
                Err(_) => break Ok(Fate::Unknown(count)),
            }
        },
    }
}

/// A process that dies in the middle of a transaction: its runtime ends, and nobody says that the transaction is over.
fn leave_open(address: &str, writer: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut producer = connect(address, &format!("dying-{writer}"), Some(OPEN)).await;
        let transaction = producer.begin().await.expect("begun");
        for index in 0..6 {
            let value = [writer, 0, index].map(u32::to_be_bytes).concat();
            let partition = index as i32 % PARTITIONS;
            let record = Record::new(TOPIC).partition(partition).value(&value);
            transaction.send(record).await.expect("written");
        }
    });
}

fn partitions() -> Vec<TopicPartition> {
    (0..PARTITIONS)
        .map(|it| TopicPartition::new(TOPIC, it))
        .collect()
}

async fn reader(address: &str, isolation: &str) -> Consumer {
    let properties = [
        ("bootstrap.servers", address),
        ("isolation.level", isolation),
    ];
    let config = ConsumerConfig::from_properties(properties).expect("good");
    Consumer::connect(config).await.expect("connected")
}

/// Waits until readers of what is committed may read to the end.
async fn nothing_stays_open(address: &str) {
    let committed = reader(address, "read_committed").await;
    let all = reader(address, "read_uncommitted").await;
    let began = Instant::now();
    loop {
        let stable = committed.end_offsets(&partitions()).await.expect("listed");
        let end = all.end_offsets(&partitions()).await.expect("listed");
        if stable == end {
            return;
        }
        assert!(
            began.elapsed() < OPEN + Duration::from_secs(15),
            "a transaction stays open: {stable:?} of {end:?}"
        );
        sleep(Duration::from_millis(50)).await;
    }
}

/// Every record that is committed: where it stands, and what it is.
async fn read(address: &str) -> BTreeMap<(i32, i64), (Transaction, u32)> {
    let mut consumer = reader(address, "read_committed").await;
    let ends = consumer.end_offsets(&partitions()).await.expect("listed");
    let starts = partitions()
        .into_iter()
        .map(|it| (it, StartOffset::Earliest));
    let starts: Vec<_> = starts.collect();
    consumer.assign(&starts).await.expect("assigned");
    let began = Instant::now();
    let mut there = BTreeMap::new();
    while (ends.iter()).any(|(partition, end)| consumer.position(partition) < Some(*end)) {
        assert!(began.elapsed() < PATIENCE, "the end is not reached");
        let records = consumer.poll(Duration::from_millis(500)).await;
        for record in records.expect("read").iter() {
            let value = record.value.expect("a value");
            let number = |at: usize| {
                u32::from_be_bytes(value[at * 4..][..4].try_into().expect("four bytes"))
            };
            let it = ((number(0), number(1)), number(2));
            there.insert((record.partition, record.offset), it);
        }
    }
    there
}

/// All of what was committed is there, once and in order, and nothing else.
fn judge(fates: &BTreeMap<Transaction, Fate>, there: &BTreeMap<(i32, i64), (Transaction, u32)>) {
    let mut seen: BTreeMap<Transaction, Vec<u32>> = BTreeMap::new();
    let mut last: BTreeMap<(i32, u32), (u32, u32)> = BTreeMap::new();
    for ((partition, offset), ((writer, number), index)) in there {
        let at =
            format!("record {index} of {writer}'s transaction {number}, at {partition}-{offset}");
        assert!(fates.contains_key(&(*writer, *number)), "nobody's: {at}");
        if let Some(before) = last.insert((*partition, *writer), (*number, *index)) {
            assert!(before < (*number, *index), "behind {before:?}: {at}");
        }
        seen.entry((*writer, *number)).or_default().push(*index);
    }
    for (transaction, fate) in fates {
        let mut indexes = seen.remove(transaction).unwrap_or_default();
        indexes.sort_unstable();
        let is_whole = |count: u32| indexes.iter().copied().eq(0..count);
        let holds = match *fate {
            Fate::Committed(count) => is_whole(count),
            Fate::Aborted => indexes.is_empty(),
            Fate::Unknown(count) => indexes.is_empty() || is_whole(count),
        };
        assert!(holds, "{transaction:?} is {fate:?}: {indexes:?} are seen");
    }
}
