//! One chain: three stages, and who sends into the first. In: how each group shares. Out: what there was of it, in a line; or a panic that says what was
//! not as promised, or who is stuck.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pat_events::kafka::{NewTopic, Record};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::stage::Stage;
use super::{Link, Size, members};
use crate::fleet::Target;
use crate::share::queue;

pub(super) const PARTITIONS: i32 = 6;
/// Nobody may be without progress for longer: a session, a rebalance, and a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn run(target: Target, name: &str, links: [Link; 3], size: Size) -> String {
    let began = Instant::now();
    let topics = [1, 2, 3].map(|number| format!("chained-{name}-{number}"));
    for (topic, link) in topics.iter().zip(links) {
        create(&target, topic, link).await;
    }
    let stages: Vec<Arc<Stage>> = (0..3)
        .map(|index| {
            let (topic, next) = (topics[index].clone(), topics.get(index + 1).cloned());
            let stage = Stage::new(target.clone(), topic, next, links[index], index, size);
            Arc::new(stage)
        })
        .collect();
    let sent = Arc::new(AtomicU64::new(0));
    let mut running = JoinSet::new();
    running.spawn(send(target.clone(), topics[0].clone(), size, sent.clone()));
    for (index, stage) in stages.iter().enumerate() {
        let seed = name.len() as u64 * 10 + index as u64;
        running.spawn(members::come_and_go(stage.clone(), seed));
    }
    let (mut last, mut moved) = (0, Instant::now());
    while !stages[2].is_done() {
        while let Some(ended) = running.try_join_next() {
            ended.expect("no panic");
        }
        let handed_out: u64 = stages.iter().map(|stage| stage.handed_out()).sum();
        let progress = handed_out + sent.load(Ordering::Relaxed);
        if progress > last {
            (last, moved) = (progress, Instant::now());
        }
        if moved.elapsed() > PATIENCE {
            panic!("{name} is stuck: {}", said(&stages).await);
        }
        sleep(LOOK).await;
    }
    stages.iter().for_each(|stage| stage.rest());
    // What a dropped member had not committed is still to be passed on, from the first group to the last.
    for stage in &stages {
        let waits = Instant::now();
        while !stage.is_at_rest().await {
            if waits.elapsed() > PATIENCE {
                panic!("{name} does not come to rest: {}", said(&stages).await);
            }
            sleep(LOOK).await;
        }
    }
    stages.iter().for_each(|stage| stage.end());
    while let Some(ended) = running.join_next().await {
        ended.expect("no panic");
    }
    for stage in &stages {
        stage.check().await;
    }
    format!(
        "{name}: {} records on {} keys in {} s; {}",
        size.records,
        size.keys,
        began.elapsed().as_secs(),
        said(&stages).await
    )
}

async fn said(stages: &[Arc<Stage>]) -> String {
    let mut said = Vec::new();
    for stage in stages {
        said.push(stage.said().await);
    }
    said.join("; ")
}

/// The topic, and for a share group that it begins at its beginning.
async fn create(target: &Target, topic: &str, link: Link) {
    if link == Link::Share {
        queue(&target.bootstrap, topic, PARTITIONS, &[]).await;
    } else {
        let new = NewTopic::new(topic, PARTITIONS);
        let admin = target.admin().await;
        admin.create_topic(&new).await.expect("created");
    }
}

/// Sends each key's numbers in order, evenly over the time that it is to last.
async fn send(target: Target, topic: String, size: Size, sent: Arc<AtomicU64>) {
    const PARTS: u32 = 100;
    let producer = target.producer(&[]).await;
    let part = size.records.div_ceil(u64::from(PARTS));
    for id in 0..size.records {
        let (key, number) = ((id % size.keys).to_be_bytes(), id / size.keys);
        let number = number.to_be_bytes();
        let record = Record::new(&topic).key(&key).value(&number);
        drop(producer.enqueue(record).await.expect("admitted"));
        sent.fetch_add(1, Ordering::Relaxed);
        if id % part == part - 1 {
            producer.flush().await.expect("all written");
            sleep(size.lasts / PARTS).await;
        }
    }
    producer.flush().await.expect("all written");
}
