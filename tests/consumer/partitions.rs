//! A stream per partition: readers that may be anywhere, each slow by itself, ended when its partition goes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::Stream;
use pat_events::broker::Broker;
use pat_events::kafka::consumer::{CommitSource, PartitionReader, Partitions};
use pat_events::kafka::{Compression, Consumer, ConsumerConfig, ErrorKind};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::*;

/// What readers have returned of each partition.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<i32, Vec<u32>>>>);

impl Seen {
    /// Reads on its own until the partition goes.
    fn follow(&self, mut reader: PartitionReader) -> JoinHandle<PartitionReader> {
        let seen = self.clone();
        tokio::spawn(async move {
            while let Some(records) = reader.next().await.expect("records") {
                let mut seen = seen.0.lock().expect("no panic");
                let seen = seen.entry(reader.partition().partition).or_default();
                seen.extend(numbers(&records));
            }
            reader
        })
    }

    fn of(&self, partition: i32) -> Vec<u32> {
        let seen = self.0.lock().expect("no panic");
        seen.get(&partition).cloned().unwrap_or_default()
    }

    async fn has(&self, partition: i32, count: usize) {
        let all = async {
            while self.of(partition).len() < count {
                sleep(ms(5)).await;
            }
        };
        let waited = timeout(Duration::from_secs(20), all).await;
        let count = self.of(partition).len();
        waited.unwrap_or_else(|_| panic!("{count} of partition {partition}"));
    }
}

async fn streams(
    broker: &Broker,
    partitions: i32,
    change: impl FnOnce(&mut ConsumerConfig),
) -> Partitions {
    let consumer = reader(broker, partitions, change).await;
    consumer.into_partitions(ms(1_000))
}

/// The readers of `count` partitions, in order.
async fn readers(partitions: &mut Partitions, count: usize) -> Vec<PartitionReader> {
    let mut readers = Vec::new();
    for _ in 0..count {
        let next = timeout(Duration::from_secs(20), partitions.next()).await;
        readers.push(next.expect("in time").expect("a reader"));
    }
    readers.sort_by_key(|reader| reader.partition().partition);
    readers
}

#[tokio::test(start_paused = true)]
async fn each_partition_is_read_by_itself_whole_and_in_order() {
    let broker = one_broker(4);
    for partition in 0..4 {
        fill_with(&broker, partition, 0..3_000, 100, Compression::LZ4);
    }
    let mut partitions = streams(&broker, 4, |_| {}).await;
    let seen = Seen::default();
    let reading: Vec<_> = readers(&mut partitions, 4)
        .await
        .into_iter()
        .map(|it| seen.follow(it))
        .collect();
    for partition in 0..4 {
        seen.has(partition, 3_000).await;
        assert_eq!(seen.of(partition), (0..3_000).collect::<Vec<_>>());
    }
    let all = async {
        for reading in reading {
            drop(reading.await.expect("no panic"));
        }
    };
    let (closed, ()) = tokio::join!(partitions.close(), all);
    closed.expect("closed");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_slow_holds_up_no_other_however_little_memory_there_is() {
    let broker = one_broker(3);
    for partition in 0..3 {
        fill(&broker, partition, 0..20_000, 100);
    }
    // Less than what is fetched of all three.
    let mut partitions = streams(&broker, 3, |config| {
        config.buffer_bytes = 200_000;
        config.max_partition_fetch_bytes = 20_000;
    })
    .await;
    let mut readers = readers(&mut partitions, 3).await;
    let mut stalled = readers.remove(0);
    let first = stalled.next().await.expect("records").expect("assigned");
    assert!(!first.is_empty());
    // A second one was never even asked.
    let never = readers.remove(0);
    let seen = Seen::default();
    let begun = Instant::now();
    seen.follow(readers.remove(0));
    seen.has(2, 20_000).await;
    assert!(begun.elapsed() < ms(5_000), "{:?}", begun.elapsed());
    assert!(partitions.metrics().bytes_held <= 200_000);
    // It goes on where it was.
    let mut count = first.count();
    drop(first);
    while count < 20_000 {
        let records = timeout(ms(5_000), stalled.next()).await.expect("in time");
        let records = records.expect("records").expect("assigned");
        assert_eq!(numbers(&records)[0], count as u32);
        count += records.count();
    }
    drop(never);
}

#[tokio::test(start_paused = true)]
async fn a_reader_ends_when_its_partition_goes_and_has_the_drain_time_to_finish() {
    let broker = one_broker(2);
    for partition in 0..2 {
        fill(&broker, partition, 0..10, 5);
    }
    let member_with = async |drain: u64| {
        let consumer = member(&broker, |config| config.enable_auto_commit = true).await;
        consumer.into_partitions(ms(drain))
    };
    let mut first = member_with(3_000).await;
    let mut one = readers(&mut first, 2).await;
    for reader in &mut one {
        assert_eq!(
            reader
                .next()
                .await
                .expect("records")
                .expect("assigned")
                .count(),
            10
        );
    }
    // They end when the other joins, and take their time with what they have.
    let finishing = tokio::spawn(async move {
        let mut ended = None;
        for mut reader in one {
            let over = timeout(ms(20_000), reader.next()).await;
            assert!(over.expect("in time").expect("no error").is_none());
            ended.get_or_insert(Instant::now());
            sleep(ms(700)).await;
        }
        ended.expect("both ended")
    });
    let mut second = member_with(3_000).await;
    let mut got = readers(&mut second, 1).await.remove(0);
    let ended = finishing.await.expect("no panic");
    assert!(ended.elapsed() >= ms(1_400), "{:?}", ended.elapsed());
    for partition in 0..2 {
        let committed = broker.committed_offset("g", "t", partition);
        assert_eq!(committed, Some(10), "it was asked for more");
    }
    fill(&broker, got.partition().partition, 10..12, 5);
    let records = got.next().await.expect("records").expect("assigned");
    assert_eq!(numbers(&records), [10, 11]);
}

#[tokio::test(start_paused = true)]
async fn the_group_waits_for_a_reader_no_longer_than_the_drain_time() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 5);
    let consumer = member(&broker, |config| config.enable_auto_commit = true).await;
    let mut first = consumer.into_partitions(ms(2_000));
    let mut stuck = readers(&mut first, 1).await.remove(0);
    stuck.next().await.expect("records").expect("assigned");
    let begun = Instant::now();
    first.close().await.expect("left");
    assert!(
        (ms(1_900)..ms(2_500)).contains(&begun.elapsed()),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        broker.committed_offset("g", "t", 0),
        Some(0),
        "it was not asked for more"
    );
    let ended = stuck.next().await;
    assert!(
        matches!(&ended, Ok(None)) || ended.is_err_and(|error| error.kind() == ErrorKind::Closed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_dropped_gives_its_partition_back_with_what_it_had_not_finished() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..40, 5);
    let mut partitions = streams(&broker, 1, |config| config.max_poll_records = 10).await;
    let mut one = readers(&mut partitions, 1).await.remove(0);
    let first = one.next().await.expect("records").expect("assigned");
    let second = one.next().await.expect("records").expect("assigned");
    assert_eq!((numbers(&first)[0], numbers(&second)[0]), (0, 10));
    drop(one);
    let mut two = readers(&mut partitions, 1).await.remove(0);
    let again = two.next().await.expect("records").expect("assigned");
    assert_eq!(numbers(&again), numbers(&second));
    two.finish();
    drop(two);
    let mut three = readers(&mut partitions, 1).await.remove(0);
    let third = three.next().await.expect("records").expect("assigned");
    assert_eq!(numbers(&third)[0], 20);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_partition_is_told_by_its_reader_and_dropping_ends_all() {
    let broker = one_broker(2);
    fill(&broker, 0, 0..10, 5);
    let mut bad = batch(0..10, Compression::NONE, &Default::default()).to_vec();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    broker.append_unchecked("t", 1, bad.into());
    let mut partitions = streams(&broker, 2, |_| {}).await;
    let mut readers = readers(&mut partitions, 2).await;
    let error = readers[1].next().await.expect_err("it cannot be read");
    assert_eq!(error.kind(), ErrorKind::CorruptBatch);
    let records = readers[0].next().await.expect("records").expect("assigned");
    assert_eq!(records.count(), 10);
    let mut waiting = readers.remove(0);
    let waits = tokio::spawn(async move { waiting.next().await });
    sleep(ms(10)).await;
    drop(partitions);
    let ended = timeout(ms(1_000), waits)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(ended.expect_err("closed").kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn readers_acknowledge_out_of_order_and_hear_of_the_end() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..20, 5);
    let consumer = member(&broker, |config| {
        config.commit_source = CommitSource::Acknowledged;
        config.enable_partition_eof = true;
    })
    .await;
    let mut partitions = consumer.into_partitions(ms(1_000));
    let mut reader = readers(&mut partitions, 1).await.remove(0);
    let (mut count, mut end) = (0, None);
    while end.is_none() {
        let records = reader.next().await.expect("records").expect("assigned");
        count += records.count();
        end = records.ends().next().map(|(_, end)| end);
    }
    assert_eq!((count, end), (20, Some(20)));
    assert_eq!(reader.acks().done_all(10..20), 10);
    assert_eq!(reader.acks().done_all(0..5), 5);
    partitions.commit_sync().await.expect("committed");
    assert_eq!(broker.committed_offset("g", "t", 0), Some(5));
    drop(reader);
    let closing = partitions.close();
    closing.await.expect("left");
    let mut second = member(&broker, |config| {
        config.commit_source = CommitSource::Acknowledged
    })
    .await;
    assert_eq!(read(&mut second, 5).await, [5, 6, 7, 8, 9]);
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

#[tokio::test(start_paused = true)]
async fn streams_return_what_polls_do_and_their_records_share_what_was_fetched() {
    let broker = one_broker(2);
    for (partition, compression) in [Compression::NONE, Compression::ZSTD]
        .into_iter()
        .enumerate()
    {
        fill_with(&broker, partition as i32, 0..50, 10, compression);
    }
    let consumer: Consumer = reader(&broker, 2, |config| config.max_poll_records = 7).await;
    let handle = consumer.handle();
    let mut batches = consumer.into_stream();
    let first = next(&mut batches).await.expect("no end").expect("records");
    let mut all: Vec<(i32, i64)> = (&first)
        .into_iter()
        .map(|it| (it.partition, it.offset))
        .collect();
    let view = first.iter().next().expect("a record");
    assert_eq!(view.to_shared(), view.to_owned());
    drop(first);
    let mut records = batches.records();
    let mut kept = Vec::new();
    while all.len() < 100 {
        let record = next(&mut records).await.expect("no end").expect("a record");
        assert_eq!(
            record.value.as_deref(),
            Some(&(record.offset as u32).to_be_bytes()[..])
        );
        assert_eq!(record.header("h"), Some(Some(&b"1"[..])));
        all.push((record.partition, record.offset));
        kept.push(record);
    }
    all.sort_unstable();
    let expected = (0..2).flat_map(|partition| (0..50).map(move |offset| (partition, offset)));
    assert_eq!(all, expected.collect::<Vec<_>>());
    drop(records);
    assert!(
        handle.metrics().bytes_held > 0,
        "records hold what they share"
    );
    drop(kept);
    sleep(ms(1)).await;
    assert_eq!(handle.metrics().bytes_held, 0);
    let error = handle
        .end_offsets(&[tp(0)])
        .await
        .expect_err("it went with its stream");
    assert_eq!(error.kind(), ErrorKind::Closed);
    let mut partitions = streams(&broker, 1, |_| {}).await;
    let mut stream = readers(&mut partitions, 1).await.remove(0).into_stream();
    assert!(
        next(&mut stream)
            .await
            .expect("no end")
            .expect("records")
            .count()
            > 0
    );
    drop(partitions);
    assert!(next(&mut stream).await.expect("an error").is_err());
}
