//! What a rebalance costs those whom it does not concern: a member goes on reading what stays its own, while another joins and leaves, and a third takes its
//! time to give up what goes. On any broker, by the cooperative strategy and by the consumer protocol.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pat_events::kafka::{
    Consumer, ConsumerHandle, NewTopic, Producer, RebalanceListener, Record, TopicPartition,
};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::fleet::Target;

const PARTITIONS: i32 = 12;
const TIMES: usize = 5;
const POLL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);
/// A record of each partition.
const EVERY: Duration = Duration::from_millis(20);
/// How long the slow member takes to give up partitions. Whoever stood still for the length of a rebalance would stand still for as long.
const HOOK: Duration = Duration::from_secs(3);

pub(crate) async fn a_partition_that_stays_is_read_on_while_others_move(target: Target) {
    let cooperative = [
        ("heartbeat.interval.ms", "300"),
        ("partition.assignment.strategy", "cooperative-sticky"),
    ];
    let consumer = [("group.protocol", "consumer")];
    tokio::join!(
        measure(&target, "cooperative-sticky", &cooperative),
        measure(&target, "consumer", &consumer),
    );
}

/// When a member read what.
#[derive(Default)]
struct Reading {
    /// Of each partition, since it was assigned: the last record, and the longest time without one.
    gaps: BTreeMap<i32, (Instant, Duration)>,
    /// How often some went away.
    revocations: usize,
}

#[derive(Clone, Default)]
struct Told {
    reading: Arc<Mutex<Reading>>,
    takes: Duration,
}

impl RebalanceListener for Told {
    async fn on_revoked(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        sleep(self.takes).await;
        self.gone(partitions);
    }

    async fn on_lost(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.gone(partitions);
    }
}

impl Told {
    fn gone(&self, partitions: &[TopicPartition]) {
        let mut reading = self.reading.lock().expect("no panic");
        reading.revocations += usize::from(!partitions.is_empty());
        for partition in partitions {
            reading.gaps.remove(&partition.partition);
        }
    }
}

struct Member {
    told: Told,
    handle: ConsumerHandle,
    leaves: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Member {
    async fn join(target: &Target, group: &str, by: &[(&str, &str)], takes: Duration) -> Self {
        let common = [("group.id", group), ("auto.offset.reset", "earliest")];
        let mut consumer = target.consumer(&[&common, by].concat()).await;
        let reading = Arc::default();
        let told = Told { reading, takes };
        let subscribed = consumer.subscribe_with(&[group], told.clone()).await;
        subscribed.expect("subscribed");
        let leaves = Arc::new(AtomicBool::new(false));
        let handle = consumer.handle();
        let task = tokio::spawn(read(consumer, told.clone(), leaves.clone()));
        Self {
            told,
            handle,
            leaves,
            task,
        }
    }

    async fn leave(self) {
        self.leaves.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic");
    }

    /// How many partitions have stayed since it was last asked, and the longest time without a record of one.
    fn longest(&self) -> (usize, Duration) {
        let mut reading = self.told.reading.lock().expect("no panic");
        let now = Instant::now();
        let mut longest = Duration::ZERO;
        for (last, gap) in reading.gaps.values_mut() {
            longest = longest.max(*gap).max(now - *last);
            *gap = Duration::ZERO;
        }
        (reading.gaps.len(), longest)
    }

    fn revocations(&self) -> usize {
        self.told.reading.lock().expect("no panic").revocations
    }
}

async fn read(mut consumer: Consumer, told: Told, leaves: Arc<AtomicBool>) {
    while !leaves.load(Ordering::Relaxed) {
        let Ok(records) = consumer.poll(POLL).await else {
            // The topic is new.
            continue;
        };
        let now = Instant::now();
        let mut reading = told.reading.lock().expect("no panic");
        for record in &records {
            let (last, gap) = reading
                .gaps
                .entry(record.partition)
                .or_insert((now, Duration::ZERO));
            *gap = (*gap).max(now - *last);
            *last = now;
        }
    }
    consumer.close().await.expect("left");
}

async fn measure(target: &Target, name: &str, by: &[(&str, &str)]) {
    let group = format!("rebalance-cost-{name}");
    let topic = NewTopic::new(&group, PARTITIONS);
    let admin = target.admin().await;
    admin.create_topic(&topic).await.expect("created");
    let producer = target.producer(&[("linger.ms", "0")]).await;
    let produces = tokio::spawn(produce(producer, group.clone()));
    let stays = Member::join(target, &group, by, Duration::ZERO).await;
    let slow = Member::join(target, &group, by, HOOK).await;
    share(&[(&stays, 6), (&slow, 6)]).await;
    stays.longest();
    sleep(Duration::from_secs(2)).await;
    let (_, quiet) = stays.longest();
    let mut longest = Duration::ZERO;
    let mut least = PARTITIONS as usize;
    for _ in 0..TIMES {
        let other = Member::join(target, &group, by, Duration::ZERO).await;
        share(&[(&stays, 4), (&slow, 4), (&other, 4)]).await;
        other.leave().await;
        share(&[(&stays, 6), (&slow, 6)]).await;
        let (stayed, gap) = stays.longest();
        (least, longest) = (least.min(stayed), longest.max(gap));
    }
    println!(
        "{name}: another joined and left {TIMES} times; {least} of {PARTITIONS} partitions stayed, the longest time without a record {} ms (before {} ms); {} revocations",
        longest.as_millis(),
        quiet.as_millis(),
        stays.revocations()
    );
    assert!(longest < HOOK, "{name}: it stood still for {longest:?}");
    // Once for each that joined, the slow one perhaps among them.
    let revocations = stays.revocations();
    assert!(revocations <= TIMES + 1, "{name}: {revocations}");
    stays.leave().await;
    slow.leave().await;
    produces.abort();
}

/// Waits until each has so many partitions.
async fn share(members: &[(&Member, usize)]) {
    let shares = || members.iter().map(|(it, _)| it.handle.assignment().len());
    let shared = async {
        while !shares().eq(members.iter().map(|(_, wanted)| *wanted)) {
            sleep(POLL / 2).await;
        }
    };
    if timeout(PATIENCE, shared).await.is_err() {
        panic!("shared as {:?}", shares().collect::<Vec<_>>());
    }
}

async fn produce(producer: Producer, topic: String) {
    loop {
        for partition in 0..PARTITIONS {
            let record = Record::new(&topic).partition(partition).value(b"v");
            drop(producer.enqueue(record).await.expect("admitted"));
        }
        sleep(EVERY).await;
    }
}
