//! The members of a group: who joins, who leaves, and who is dropped without leaving; and what each does with its records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pat_events::kafka::consumer::PendingCommit;
use pat_events::kafka::{
    AcknowledgeType, ConsumerHandle, Error, ErrorKind, Producer, RebalanceListener, Record,
    Records, Result, TopicPartition,
};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Link;
use super::log_book::Reader;
use super::stage::{Commits, Stage, place};
use crate::fleet::SESSION;

const MOST: usize = 4;
const POLL: Duration = Duration::from_millis(200);
const CLOSE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy)]
enum Move {
    Join,
    Leave,
    Drop,
}

const MOVES: [Move; 6] = [
    Move::Join,
    Move::Leave,
    Move::Join,
    Move::Drop,
    Move::Join,
    Move::Leave,
];

struct Member {
    number: usize,
    leaves: Arc<AtomicBool>,
    /// A member of a share group ends without a word once it has got something: what it does not acknowledge has to come again.
    drops: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// Lets members come and go until the stage rests, and lets all leave when it ends.
pub(super) async fn come_and_go(stage: Arc<Stage>, seed: u64) {
    let mut draw = seed;
    let mut members: Vec<Member> = Vec::new();
    let mut leaving = Vec::new();
    let mut number = 0;
    let mut join = |members: &mut Vec<Member>| {
        members.push(start(&stage, number));
        number += 1;
    };
    (0..2).for_each(|_| join(&mut members));
    let mut drops_at = Instant::now() + SESSION / 3;
    for next in MOVES.iter().cycle() {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        sleep(Duration::from_millis(300 + (draw >> 33) % 900)).await;
        if let Some(ended) = members.iter().position(|it| it.task.is_finished()) {
            members.swap_remove(ended).task.await.expect("no panic");
            panic!("a member has ended by itself");
        }
        if stage.has_ended() {
            break;
        }
        if stage.rests() {
            continue;
        }
        let one = (draw >> 40) as usize % members.len();
        match next {
            Move::Join if members.len() < MOST => join(&mut members),
            Move::Leave if members.len() > 1 => {
                let member = members.remove(one);
                member.leaves.store(true, Ordering::Relaxed);
                leaving.push(member.task);
            }
            // A group that waits for one that is gone comes no further until its session is over: some of the time is to be without.
            Move::Drop if members.len() > 1 && Instant::now() > drops_at => {
                let member = members.remove(one);
                stage.dropped(member.number);
                member.drops.store(true, Ordering::Relaxed);
                if stage.link != Link::Share {
                    member.task.abort();
                }
                let _ = member.task.await;
                drops_at = Instant::now() + SESSION * 2;
            }
            _ => {}
        }
    }
    for member in members {
        member.leaves.store(true, Ordering::Relaxed);
        leaving.push(member.task);
    }
    for task in leaving {
        task.await.expect("no panic");
    }
}

fn start(stage: &Arc<Stage>, number: usize) -> Member {
    let [leaves, drops] = [(), ()].map(|()| Arc::new(AtomicBool::new(false)));
    let ends = (leaves.clone(), drops.clone());
    let task = match stage.link {
        Link::Share => tokio::spawn(accept(stage.clone(), number, ends)),
        _ => tokio::spawn(pass_on(stage.clone(), number, leaves.clone())),
    };
    Member {
        number,
        leaves,
        drops,
        task,
    }
}

/// What a member is told.
struct Told {
    stage: Arc<Stage>,
    member: usize,
    tenure: Arc<AtomicUsize>,
}

impl RebalanceListener for Told {
    async fn on_assigned(&self, _: &ConsumerHandle, _: &[TopicPartition]) {
        self.stage.assignments.fetch_add(1, Ordering::Relaxed);
    }

    async fn on_revoked(&self, consumer: &ConsumerHandle, _: &[TopicPartition]) {
        if self.stage.commits != Commits::ByItself {
            may_be_refused(consumer.commit_sync().await);
        }
    }

    async fn on_lost(&self, _: &ConsumerHandle, _: &[TopicPartition]) {
        let tenure = self.tenure.fetch_add(1, Ordering::Relaxed);
        let member = self.member;
        self.stage.log().lost(Reader { member, tenure });
    }
}

/// Whoever has lost a partition cannot commit it any more: the book says who was to lose nothing.
fn may_be_refused(committed: Result<()>) -> bool {
    match committed {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::Rebalance => false,
        Err(error) => panic!("a commit failed: {error}"),
    }
}

fn may_pass(stage: &Stage, error: &Error) {
    assert!(error.is_retriable(), "{}: {error}", stage.topic);
    stage.errors.fetch_add(1, Ordering::Relaxed);
}

/// What is to be committed of each partition.
type Offsets = BTreeMap<i32, i64>;

/// Passes records on to the next topic, and commits what was written there.
async fn pass_on(stage: Arc<Stage>, member: usize, leaves: Arc<AtomicBool>) {
    let mut consumer = stage.consumer().await;
    let producer = match stage.next {
        Some(_) => Some(stage.producer().await),
        None => None,
    };
    let tenure = Arc::new(AtomicUsize::new(0));
    let told = Told {
        stage: stage.clone(),
        member,
        tenure: tenure.clone(),
    };
    let subscribed = consumer.subscribe_with(&[&*stage.topic], told).await;
    subscribed.expect("subscribed");
    let mut behind: Option<(PendingCommit, Offsets)> = None;
    let mut is_refused = false;
    // What was refused in the middle of a rebalance is committed after it, before it leaves.
    while !leaves.load(Ordering::Relaxed) || is_refused || behind.is_some() {
        let is_leaving = leaves.load(Ordering::Relaxed);
        let records = match consumer.poll(POLL).await {
            Ok(records) => records,
            Err(error) => {
                may_pass(&stage, &error);
                continue;
            }
        };
        let tenure = tenure.load(Ordering::Relaxed);
        let offsets = handed_out(&stage, Reader { member, tenure }, &records);
        if offsets.is_empty() && !is_refused && !is_leaving {
            continue;
        }
        if let (Some(producer), Some(next)) = (&producer, &stage.next) {
            for record in &records {
                send(producer, next, record.key, record.value).await;
            }
            producer.flush().await.expect("all written");
        }
        drop(records);
        let before = match behind.take() {
            Some((commit, offsets)) => is_committed(&stage, commit.await, offsets),
            None => true,
        };
        is_refused = match stage.commits {
            Commits::ByItself => false,
            Commits::Behind if !is_leaving => match consumer.commit_positions() {
                Ok(commit) => {
                    behind = Some((commit, offsets));
                    !before
                }
                Err(error) => !may_be_refused(Err(error)),
            },
            _ => !is_committed(&stage, consumer.commit_sync().await, offsets),
        };
    }
    may_be_refused(consumer.close().await);
    if let Some(producer) = producer {
        producer.close(CLOSE).await.expect("closed");
    }
}

fn handed_out(stage: &Stage, to: Reader, records: &Records) -> Offsets {
    let mut log = stage.log();
    let places = records.iter().map(|record| place(&record));
    let offsets = places.map(|place| {
        log.handed_out_to(to, place);
        (place.partition, place.offset + 1)
    });
    offsets.collect()
}

async fn send(producer: &Producer, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) {
    let mut record = Record::new(topic);
    (record.key, record.value) = (key, value);
    // The flush tells of failures.
    drop(producer.enqueue(record).await.expect("admitted"));
}

fn is_committed(stage: &Stage, committed: Result<()>, offsets: Offsets) -> bool {
    let is_committed = may_be_refused(committed);
    if is_committed {
        let mut log = stage.log();
        for (partition, next) in offsets {
            log.committed(partition, next);
        }
    }
    is_committed
}

/// Accepts what it gets of a queue, until it leaves, or is to be dropped.
async fn accept(
    stage: Arc<Stage>,
    member: usize,
    (leaves, drops): (Arc<AtomicBool>, Arc<AtomicBool>),
) {
    let mut consumer = stage.share_consumer().await;
    let subscribed = consumer.subscribe(&[&*stage.topic]).await;
    subscribed.expect("subscribed");
    while !leaves.load(Ordering::Relaxed) {
        let records = match consumer.poll(POLL).await {
            Ok(records) => records,
            Err(error) => {
                may_pass(&stage, &error);
                continue;
            }
        };
        let drops = drops.load(Ordering::Relaxed);
        let mut places = BTreeMap::new();
        for record in &records {
            let place = place(&record);
            stage
                .queue()
                .handed_out_to(member, place, record.delivery_count());
            if drops {
                continue;
            }
            match consumer.acknowledge(&record, AcknowledgeType::Accept) {
                Ok(()) => places
                    .entry(place.partition)
                    .or_insert_with(Vec::new)
                    .push(place),
                // Its lock has timed out.
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Rebalance, "{error}");
                    stage.queue().refused(member, error.to_string());
                }
            }
        }
        drop(records);
        if drops {
            return;
        }
        if places.is_empty() {
            continue;
        }
        let results = consumer.commit_sync().await.expect("answered");
        for (partition, result) in results {
            let places = places.remove(&partition.partition).unwrap_or_default();
            match result {
                Ok(()) => stage.queue().accepted(member, places),
                Err(error) => stage.queue().refused(member, error.to_string()),
            }
        }
    }
    consumer.close(CLOSE).await.expect("closed");
}
