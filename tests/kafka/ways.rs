//! The ways to consume beside polls, on any broker: a reader for each partition, acknowledgements, streams; what is behind by records and by time;
//! what patterns leave out, and resets to a time. And the sources of two examples, while one of them goes and another comes.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_core::Stream;
use libtest_mimic::Trial;
use pat_events::kafka::consumer::{PartitionReader, Partitions};
use pat_events::kafka::{Consumer, Producer, Record, StartOffset, TopicPartition};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};

use crate::fleet::{Fleet, Target};
use crate::patterns::holds;
use crate::suite::{number, send_numbers};

#[path = "../../examples/quickwit_source/mod.rs"]
mod quickwit_source;
#[path = "../../examples/vector_source/mod.rs"]
mod vector_source;

const PARTITIONS: i32 = 3;
const POLL: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(5);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    [
        fleet.on_both(
            "readers_hand_over_in_a_rebalance_and_nothing_is_lost",
            readers_hand_over_in_a_rebalance_and_nothing_is_lost,
        ),
        fleet.on_both(
            "what_was_acknowledged_beyond_a_gap_is_not_repeated_after_a_restart",
            what_was_acknowledged_beyond_a_gap_is_not_repeated_after_a_restart,
        ),
        fleet.on_both(
            "streams_return_each_record_once",
            streams_return_each_record_once,
        ),
        fleet.on_both(
            "what_is_behind_is_known_by_records_and_by_time",
            what_is_behind_is_known_by_records_and_by_time,
        ),
        fleet.on_both(
            "a_pattern_leaves_out_what_is_excluded",
            a_pattern_leaves_out_what_is_excluded,
        ),
        fleet.on_both(
            "resets_to_a_time_and_by_a_duration_start_there",
            resets_to_a_time_and_by_a_duration_start_there,
        ),
        fleet.on_both(
            "the_source_in_vectors_manner_loses_nothing",
            the_source_in_vectors_manner_loses_nothing,
        ),
        fleet.on_both(
            "the_source_in_quickwits_manner_indexes_each_document_once",
            the_source_in_quickwits_manner_indexes_each_document_once,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A member whose readers tell what they have read, until it is told to close.
struct Member {
    close: mpsc::Sender<()>,
    ended: JoinHandle<()>,
}

impl Member {
    async fn join(target: &Target, topic: &str, seen: &mpsc::Sender<u64>) -> Self {
        let properties = [
            ("group.id", topic),
            ("enable.auto.commit", "true"),
            ("auto.commit.interval.ms", "200"),
        ];
        let mut consumer = target.consumer(&properties).await;
        consumer.subscribe(&[topic]).await.expect("subscribed");
        let (close, closed) = mpsc::channel(1);
        let partitions = consumer.into_partitions(DRAIN);
        let ended = tokio::spawn(read_each(partitions, seen.clone(), closed));
        Self { close, ended }
    }

    async fn leave(self) {
        self.close.send(()).await.expect("it reads");
        let ended = timeout(PATIENCE, self.ended).await;
        ended.expect("in time").expect("no panic");
    }
}

async fn read_each(
    mut partitions: Partitions,
    seen: mpsc::Sender<u64>,
    mut closed: mpsc::Receiver<()>,
) {
    let mut reading = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = closed.recv() => break,
            reader = partitions.next() => {
                reading.spawn(read_one(reader.expect("a reader"), seen.clone()));
            }
        }
    }
    partitions.close().await.expect("left");
    reading.join_all().await;
}

async fn read_one(mut reader: PartitionReader, seen: mpsc::Sender<u64>) {
    while let Some(records) = reader.next().await.expect("records") {
        for record in &records {
            seen.send(number(record.value)).await.expect("counted");
        }
    }
}

/// Waits until so many different ones were seen.
async fn saw(seen: &mut mpsc::Receiver<u64>, all: &mut BTreeSet<u64>, count: usize) {
    let came = async {
        while all.len() < count {
            all.insert(seen.recv().await.expect("somebody reads"));
        }
    };
    let waited = timeout(PATIENCE, came).await;
    waited.unwrap_or_else(|_| panic!("{} of {count}", all.len()));
}

async fn readers_hand_over_in_a_rebalance_and_nothing_is_lost(target: Target) {
    const EACH: u64 = 3_000;
    let topic = target.topic("reader-members").await;
    let producer = target.producer(&[]).await;
    let (sender, mut seen) = mpsc::channel(1_000);
    let mut all = BTreeSet::new();
    let first = Member::join(&target, &topic, &sender).await;
    send_numbers(&producer, &topic, 0..EACH).await;
    saw(&mut seen, &mut all, 1_000).await;
    // One joins while the first reads, and the first leaves while both do.
    let second = Member::join(&target, &topic, &sender).await;
    send_numbers(&producer, &topic, EACH..2 * EACH).await;
    saw(&mut seen, &mut all, 1_000 + EACH as usize).await;
    tokio::join!(first.leave(), async {
        send_numbers(&producer, &topic, 2 * EACH..3 * EACH).await;
        saw(&mut seen, &mut all, 3 * EACH as usize).await;
    });
    second.leave().await;
    let ends = ends(&target, &topic).await;
    let consumer = target.consumer(&[("group.id", &topic)]).await;
    let committed = consumer.committed(&of(&topic)).await.expect("known");
    for (partition, end) in ends {
        assert_eq!(committed[&partition].offset, end, "{partition}");
    }
}

async fn what_was_acknowledged_beyond_a_gap_is_not_repeated_after_a_restart(target: Target) {
    const RECORDS: u64 = 9_000;
    let topic = target.topic("acknowledged").await;
    let producer = target.producer(&[]).await;
    send_numbers(&producer, &topic, 0..RECORDS).await;
    let member = async || {
        let properties = [("group.id", &*topic), ("commit.source", "acknowledged")];
        let mut consumer = target.consumer(&properties).await;
        consumer.subscribe(&[&topic]).await.expect("subscribed");
        consumer
    };
    let mut first = member().await;
    let (mut done, mut left) = (BTreeSet::new(), BTreeSet::new());
    while done.len() + left.len() < RECORDS as usize {
        let records = first.poll(POLL).await.expect("polled");
        for run in records.partitions() {
            // Every third is left, the last of each run among those that are not: the others are done with from the end on.
            for record in run.iter().collect::<Vec<_>>().into_iter().rev() {
                let number = number(record.value);
                match number % 3 {
                    0 => left.insert(number),
                    _ => run.acks().done(record.offset) && done.insert(number),
                };
            }
        }
    }
    first.commit_sync().await.expect("committed");
    let committed = first.committed(&of(&topic)).await.expect("known");
    // About a thousand gaps of each partition.
    assert!(committed.values().all(|it| it.metadata.len() > 1_000));
    drop(first);
    let mut second = member().await;
    let mut again = Vec::new();
    while again.len() < left.len() {
        let records = second.poll(POLL).await.expect("polled");
        for run in records.partitions() {
            for record in &run {
                again.push(number(record.value));
                run.acks().done(record.offset);
            }
        }
    }
    again.sort_unstable();
    assert!(again.iter().eq(&left), "each that was left, once");
    assert!(second.poll(POLL).await.expect("polled").is_empty());
    second.commit_sync().await.expect("committed");
    let committed = second.committed(&of(&topic)).await.expect("known");
    for (partition, end) in ends(&target, &topic).await {
        assert_eq!(committed[&partition].offset, end, "{partition}");
    }
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    let next = std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context));
    timeout(PATIENCE, next).await.expect("in time")
}

async fn streams_return_each_record_once(target: Target) {
    const RECORDS: u64 = 6_000;
    let topic = target.topic("streamed").await;
    let producer = target.producer(&[("compression.type", "zstd")]).await;
    send_numbers(&producer, &topic, 0..RECORDS).await;
    let mut batches = reader(&target, &topic).await.into_stream();
    let mut all = Vec::new();
    while all.len() < RECORDS as usize / 2 {
        let records = next(&mut batches).await.expect("no end").expect("records");
        all.extend(records.iter().map(|record| number(record.value)));
    }
    let mut records = batches.records();
    while all.len() < RECORDS as usize {
        let record = next(&mut records).await.expect("no end").expect("a record");
        all.push(number(record.value.as_deref()));
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..RECORDS), "each once");
    // Those of one partition, by its reader.
    let mut partitions = reader(&target, &topic).await.into_partitions(DRAIN);
    let end = ends(&target, &topic).await;
    let mut count = 0;
    for _ in 0..PARTITIONS {
        let reader = partitions.next().await.expect("a reader");
        let end = end.iter().find(|(name, _)| name == reader.partition());
        let (_, end) = end.expect("one of the topic's");
        let mut stream = reader.into_stream().records();
        for offset in 0..*end {
            let record = next(&mut stream).await.expect("no end").expect("a record");
            assert_eq!(record.offset, offset);
            count += 1;
        }
    }
    assert_eq!(count, RECORDS);
}

async fn what_is_behind_is_known_by_records_and_by_time(target: Target) {
    let topic = target.topic("behind").await;
    let producer = target.producer(&[]).await;
    let partition = TopicPartition::new(&*topic, 0);
    let began = now_ms();
    for n in 0..100 {
        // The first half is an hour old.
        let age = if n < 50 { 3_600_000 } else { 0 };
        send_at(&producer, &partition, n, began - age).await;
    }
    let properties = [
        ("group.id", "behind"),
        ("max.poll.records", "10"),
        ("enable.auto.commit", "false"),
    ];
    let mut consumer = target.consumer(&properties).await;
    let all = of(&topic);
    let start: Vec<_> = all
        .iter()
        .map(|name| (name.clone(), StartOffset::Earliest))
        .collect();
    consumer.assign(&start).await.expect("assigned");
    let bounds = consumer.watermarks(&all).await.expect("known");
    let bounds = |name: &TopicPartition| (bounds[name].begin, bounds[name].end);
    assert_eq!((bounds(&partition), bounds(&all[1])), ((0, 100), (0, 0)));
    let times = [(partition.clone(), began)];
    let half = consumer.offsets_for_times(&times).await.expect("known");
    assert_eq!(half[&partition].offset, 50);
    let read = async |consumer: &mut Consumer, count: usize| {
        let mut read = 0;
        while read < count {
            read += consumer.poll(POLL).await.expect("polled").count();
        }
    };
    read(&mut consumer, 20).await;
    assert_eq!(consumer.lag(&partition), Some(80));
    let age = consumer.lag_time(&partition).expect("known");
    assert!(age >= Duration::from_secs(3_600), "{age:?}");
    let lag = consumer.current_lag(&all).await.expect("known");
    assert_eq!((lag[&partition], lag[&all[1]]), (80, 0));
    read(&mut consumer, 40).await;
    assert_eq!(consumer.lag(&partition), Some(40));
    let age = consumer.lag_time(&partition).expect("known");
    assert!(age < Duration::from_secs(1_800), "{age:?}");
    // Paused, it falls behind all the same.
    let paused = std::slice::from_ref(&partition);
    consumer.pause(paused).expect("assigned");
    send_numbers_to(&producer, &partition, 100..110).await;
    let lag = consumer.current_lag(paused).await.expect("known");
    assert_eq!(lag[&partition], 50);
    let waiting = Instant::now();
    while consumer.lag(&partition) != Some(50) {
        assert!(
            waiting.elapsed() < PATIENCE,
            "{:?}",
            consumer.lag(&partition)
        );
        assert!(consumer.poll(POLL).await.expect("polled").is_empty());
    }
    consumer.resume(paused).expect("assigned");
    read(&mut consumer, 50).await;
    assert_eq!(consumer.lag(&partition), Some(0));
    assert_eq!(consumer.lag_time(&partition), Some(Duration::ZERO));
    consumer.commit_sync().await.expect("committed");
    // Of a group that reads nothing just now.
    send_numbers_to(&producer, &partition, 110..117).await;
    let other = target.consumer(&[("group.id", "behind")]).await;
    let lag = other.current_lag(paused).await.expect("known");
    assert_eq!(lag[&partition], 7);
}

async fn a_pattern_leaves_out_what_is_excluded(target: Target) {
    for name in ["kept-1", "kept-2", "kept-secret", "kept-tmp-1"] {
        target.topic(name).await;
    }
    let properties = [
        ("group.id", "leaves-out"),
        ("metadata.max.age.ms", "1000"),
        ("exclude.topics", "kept-secret,^kept-tmp"),
    ];
    let mut consumer = target.consumer(&properties).await;
    let subscribed = consumer.subscribe(&["^kept-"]).await;
    subscribed.expect("a pattern");
    holds(&mut consumer, &["kept-1", "kept-2"]).await;
    target.topic("kept-tmp-2").await;
    target.topic("kept-3").await;
    holds(&mut consumer, &["kept-1", "kept-2", "kept-3"]).await;
    consumer.close().await.expect("closed");
}

async fn resets_to_a_time_and_by_a_duration_start_there(target: Target) {
    let topic = target.topic("reset-by-time").await;
    let producer = target.producer(&[]).await;
    let partition = TopicPartition::new(&*topic, 0);
    let began = now_ms();
    let hour = 3_600_000;
    for n in 0..6 {
        send_at(&producer, &partition, n, began - (5 - n as i64) * hour).await;
    }
    let to = format!("timestamp:{}", began - 3 * hour - 1);
    let after_all = format!("timestamp:{}", began + hour);
    for (reset, expected) in [
        (&*to, 2),
        ("by_duration:PT90M", 4),
        ("by_duration:P1D", 0),
        // There is nothing that young.
        (&*after_all, 6),
    ] {
        let properties = [("auto.offset.reset", reset), ("group.id", reset)];
        let mut consumer = target.consumer(&properties).await;
        let start = [(partition.clone(), StartOffset::Committed)];
        consumer.assign(&start).await.expect("assigned");
        let waiting = Instant::now();
        let mut first = None;
        while consumer.position(&partition).is_none() || (expected < 6 && first.is_none()) {
            assert!(waiting.elapsed() < PATIENCE, "{reset}");
            let records = consumer.poll(POLL).await.expect("polled");
            first = first.or(records.iter().next().map(|record| record.offset));
        }
        match expected {
            6 => assert_eq!(consumer.position(&partition), Some(6), "{reset}"),
            _ => assert_eq!(first, Some(expected), "{reset}"),
        }
    }
}

async fn the_source_in_vectors_manner_loses_nothing(target: Target) {
    let ran = timeout(
        PATIENCE,
        vector_source::scenario::run(&target.bootstrap, "vector"),
    )
    .await;
    ran.expect("in time").expect("all are delivered");
}

async fn the_source_in_quickwits_manner_indexes_each_document_once(target: Target) {
    let run = quickwit_source::scenario::run(&target.bootstrap, "quickwit");
    let ran = timeout(PATIENCE, run).await;
    ran.expect("in time").expect("all are indexed");
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_millis() as i64
}

fn of(topic: &str) -> Vec<TopicPartition> {
    let partitions = 0..PARTITIONS;
    partitions
        .map(|partition| TopicPartition::new(topic, partition))
        .collect()
}

/// A consumer without a group, at the beginning of every partition.
async fn reader(target: &Target, topic: &str) -> Consumer {
    let mut consumer = target.consumer(&[]).await;
    let start: Vec<_> = of(topic)
        .into_iter()
        .map(|name| (name, StartOffset::Earliest))
        .collect();
    consumer.assign(&start).await.expect("assigned");
    consumer
}

async fn ends(target: &Target, topic: &str) -> Vec<(TopicPartition, i64)> {
    let consumer = target.consumer(&[]).await;
    let ends = consumer.end_offsets(&of(topic)).await.expect("known");
    ends.into_iter().collect()
}

async fn send_at(producer: &Producer, to: &TopicPartition, number: u64, timestamp_ms: i64) {
    let record = Record::new(&to.topic).partition(to.partition);
    let value = number.to_be_bytes();
    let sent = producer.send(record.value(&value).timestamp_ms(timestamp_ms));
    sent.await.expect("sent");
}

async fn send_numbers_to(producer: &Producer, to: &TopicPartition, numbers: std::ops::Range<u64>) {
    for number in numbers {
        send_at(producer, to, number, now_ms()).await;
    }
}
