//! What consumers promise when their calls are dropped: every record comes out once and in its order, and a group reads on from what was
//! committed, no further and no less.

use std::collections::BTreeMap;
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::kafka::consumer::{ConsumerHandle, PartitionReader, Partitions, RebalanceListener};
use pat_events::kafka::{Consumer, OffsetAndMetadata, Records, StartOffset, TopicPartition};

use crate::consumers::{consumer, fill, member, ms, numbers, one_broker, reader, tp};
use crate::{Cut, at_every_poll};

const PARTITIONS: i32 = 2;
const EACH: u32 = 24;

/// Two partitions with [`EACH`] records, 4 to a batch.
fn filled() -> Broker {
    let broker = one_broker(PARTITIONS);
    for partition in 0..PARTITIONS {
        fill(&broker, partition, 0..EACH, 4);
    }
    broker
}

/// What came out of each partition.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read(BTreeMap<i32, Vec<u32>>);

impl Read {
    fn take(&mut self, records: &Records) {
        numbers(records);
        for run in records.partitions() {
            let read = self.0.entry(run.partition().partition).or_default();
            read.extend(run.iter().map(|record| record.offset as u32));
        }
    }

    /// Polls until all is read, and holds it to be everything from `from` on, once and in order.
    async fn rest(mut self, consumer: &mut Consumer, from: u32, cut: Cut) {
        let all = (EACH - from) as usize * PARTITIONS as usize;
        for _ in 0..200 {
            if self.0.values().map(Vec::len).sum::<usize>() >= all {
                break;
            }
            self.take(
                &consumer
                    .poll(ms(1_000))
                    .await
                    .unwrap_or_else(|error| panic!("{cut}: {error}")),
            );
        }
        let everything: Vec<u32> = (from..EACH).collect();
        let expected = (0..PARTITIONS).map(|partition| (partition, everything.clone()));
        assert_eq!(self, Read(expected.collect()), "{cut}");
    }
}

/// A small poll, so that there are many.
fn few(config: &mut pat_events::kafka::ConsumerConfig) {
    config.max_poll_records = 5;
}

#[test]
fn a_dropped_poll_takes_no_record_with_it() {
    at_every_poll("poll", |cut| async move {
        let broker = filled();
        let mut consumer = reader(&broker, PARTITIONS, few).await;
        let mut read = Read::default();
        let mut done = true;
        // Also between polls that are not dropped, when there is something fetched ahead.
        for _ in 0..3 {
            match cut.of(consumer.poll(ms(1_000))).await {
                Some(records) => read.take(&records.expect("records")),
                None => done = false,
            }
            read.take(&consumer.poll(ms(1_000)).await.expect("records"));
        }
        read.rest(&mut consumer, 0, cut).await;
        done
    });
}

/// Takes its time, and notes what it was told.
#[derive(Default)]
struct Slow;

impl RebalanceListener for Slow {
    async fn on_assigned(&self, consumer: &ConsumerHandle, partitions: &[TopicPartition]) {
        let _ = consumer.committed(partitions).await;
        tokio::time::sleep(ms(50)).await;
    }

    async fn on_revoking(&self, consumer: &ConsumerHandle, _: &[TopicPartition]) {
        let _ = consumer.commit_sync().await;
        tokio::time::sleep(ms(50)).await;
    }

    async fn on_revoked(&self, consumer: &ConsumerHandle, _: &[TopicPartition]) {
        tokio::time::sleep(ms(50)).await;
        let _ = consumer.commit_sync().await;
    }
}

async fn listening(broker: &Broker) -> Consumer {
    let mut consumer = consumer(broker, |config| {
        config.group_id = Some("g".to_owned());
        few(config);
    })
    .await;
    consumer
        .subscribe_with(&["t"], Slow)
        .await
        .expect("a topic that exists");
    consumer
}

#[test]
fn a_dropped_poll_in_which_a_member_joins_is_made_good_by_the_next() {
    at_every_poll("poll while joining", |cut| async move {
        let broker = filled();
        let mut consumer = listening(&broker).await;
        let mut read = Read::default();
        let first = cut.of(consumer.poll(ms(5_000))).await;
        let done = first.is_some();
        if let Some(records) = first {
            read.take(&records.expect("records"));
        }
        read.rest(&mut consumer, 0, cut).await;
        done
    });
}

#[test]
fn a_dropped_poll_in_which_partitions_are_revoked_is_made_good_by_the_next() {
    at_every_poll("poll while revoking", |cut| async move {
        let broker = filled();
        let mut first = listening(&broker).await;
        let mut read = Read::default();
        while read.0.values().map(Vec::len).sum::<usize>() < 10 {
            read.take(&first.poll(ms(1_000)).await.expect("records"));
        }
        let mut second = listening(&broker).await;
        // Its joining makes the group revoke the first one's partitions.
        let joining = tokio::spawn(async move {
            let records = second.poll(ms(1_000)).await;
            (second, records)
        });
        tokio::time::sleep(ms(3_100)).await;
        let polled = cut.of(first.poll(ms(1_000))).await;
        let done = polled.is_some();
        if let Some(records) = polled {
            read.take(&records.expect("records"));
        }
        let (mut second, records) = joining.await.expect("no panic");
        read.take(&records.expect("records"));
        for _ in 0..200 {
            if read.0.values().map(Vec::len).sum::<usize>() >= (EACH * PARTITIONS as u32) as usize {
                break;
            }
            let (one, other) = tokio::join!(first.poll(ms(200)), second.poll(ms(200)));
            read.take(&one.expect("records"));
            read.take(&other.expect("records"));
        }
        // What was handed out before was committed when it was revoked: nothing comes twice.
        for (partition, offsets) in &mut read.0 {
            offsets.sort_unstable();
            assert_eq!(
                *offsets,
                (0..EACH).collect::<Vec<_>>(),
                "{cut}: {partition}"
            );
        }
        done
    });
}

#[test]
fn a_dropped_assign_subscribe_or_unsubscribe_can_be_made_again() {
    at_every_poll("assign", |cut| async move {
        let broker = filled();
        let mut consumer = consumer(&broker, few).await;
        let all: Vec<_> = (0..PARTITIONS)
            .map(|it| (tp(it), StartOffset::Earliest))
            .collect();
        let done = cut.of(consumer.assign(&all)).await;
        consumer.assign(&all).await.expect("partitions that exist");
        Read::default().rest(&mut consumer, 0, cut).await;
        done.is_some()
    });
    at_every_poll("subscribe", |cut| async move {
        let broker = filled();
        let mut consumer = consumer(&broker, |config| config.group_id = Some("g".to_owned())).await;
        let done = cut.of(consumer.subscribe(&["t"])).await;
        consumer
            .subscribe(&["t"])
            .await
            .expect("a topic that exists");
        Read::default().rest(&mut consumer, 0, cut).await;
        done.is_some()
    });
    at_every_poll("unsubscribe", |cut| async move {
        let broker = filled();
        let mut consumer = member(&broker, few).await;
        consumer.poll(ms(5_000)).await.expect("records");
        let done = cut.of(consumer.unsubscribe()).await;
        consumer.unsubscribe().await.expect("left");
        consumer
            .subscribe(&["t"])
            .await
            .expect("a topic that exists");
        // Nothing was committed.
        Read::default().rest(&mut consumer, 0, cut).await;
        done.is_some()
    });
}

/// Reads ten records and more, commits in the way of `commit`, which is dropped, and then for good; the next member reads on from there.
fn committing(name: &str, commit: impl AsyncFn(Cut, &Consumer) -> bool + Copy) {
    at_every_poll(name, |cut| async move {
        let broker = filled();
        let mut first = member(&broker, |config| config.max_poll_records = 1_000).await;
        let mut read = Read::default();
        while read.0.len() < PARTITIONS as usize {
            read.take(&first.poll(ms(1_000)).await.expect("records"));
        }
        let done = commit(cut, &first).await;
        first.handle().commit_sync().await.expect("committed");
        first.close().await.expect("left");
        for partition in 0..PARTITIONS {
            let handed_out = read.0[&partition].len() as i64;
            assert_eq!(
                broker.committed_offset("g", "t", partition),
                Some(handed_out),
                "{cut}"
            );
        }
        let mut second = member(&broker, |_| {}).await;
        let all = (EACH * PARTITIONS as u32) as usize;
        for _ in 0..200 {
            if read.0.values().map(Vec::len).sum::<usize>() >= all {
                break;
            }
            read.take(&second.poll(ms(200)).await.expect("records"));
        }
        for offsets in read.0.values() {
            assert_eq!(*offsets, (0..EACH).collect::<Vec<_>>(), "{cut}");
        }
        done
    });
}

#[test]
fn a_dropped_commit_is_made_whole_or_not_at_all_and_holds_up_none_after_it() {
    committing("commit_sync", async |cut: Cut, consumer: &Consumer| {
        cut.of(consumer.handle().commit_sync()).await.is_some()
    });
    committing("commit", async |cut: Cut, consumer: &Consumer| {
        let lower = [
            (tp(0), OffsetAndMetadata::new(1)),
            (tp(1), OffsetAndMetadata::new(1)),
        ];
        cut.of(consumer.handle().commit(&lower)).await.is_some()
    });
    committing("commit_async", async |cut: Cut, consumer: &Consumer| {
        let pending = consumer.handle().commit_positions().expect("room");
        cut.of(pending).await.is_some()
    });
}

/// A question that is dropped, and asked again.
fn asking<T>(
    name: &str,
    ask: impl AsyncFn(&ConsumerHandle) -> pat_events::kafka::Result<T> + Copy,
    right: fn(&T) -> bool,
) {
    at_every_poll(name, |cut| async move {
        let broker = filled();
        let mut consumer = member(&broker, few).await;
        let mut read = Read::default();
        read.take(&consumer.poll(ms(5_000)).await.expect("records"));
        let handle = consumer.handle();
        let done = cut.of(ask(&handle)).await;
        let again = ask(&handle)
            .await
            .unwrap_or_else(|error| panic!("{name}, {cut}: {error}"));
        assert!(right(&again), "{name}, {cut}");
        read.rest(&mut consumer, 0, cut).await;
        done.is_some()
    });
}

#[test]
fn a_dropped_question_can_be_asked_again() {
    asking(
        "committed",
        async |handle: &ConsumerHandle| handle.committed(&[tp(0), tp(1)]).await,
        |found| found.is_empty(),
    );
    asking(
        "beginning_offsets",
        async |handle: &ConsumerHandle| handle.beginning_offsets(&[tp(0), tp(1)]).await,
        |found| found.len() == 2 && found.values().all(|offset| *offset == 0),
    );
    asking(
        "end_offsets",
        async |handle: &ConsumerHandle| handle.end_offsets(&[tp(0), tp(1)]).await,
        |found| found.len() == 2 && found.values().all(|offset| *offset == i64::from(EACH)),
    );
    asking(
        "offsets_for_times",
        async |handle: &ConsumerHandle| handle.offsets_for_times(&[(tp(0), 0)]).await,
        |found| found.len() == 1 && found.values().all(|found| found.offset == 0),
    );
}

/// The reader of the only partition.
async fn only_reader(partitions: &mut Partitions) -> PartitionReader {
    let next = tokio::time::timeout(Duration::from_secs(60), partitions.next()).await;
    next.expect("in time").expect("a reader")
}

/// A consumer of one partition with [`EACH`] records, read by itself.
async fn split(broker: &Broker) -> Partitions {
    let consumer = member(broker, |config| {
        few(config);
        config.enable_auto_commit = true;
    })
    .await;
    consumer.into_partitions(ms(2_000))
}

fn with_one_partition() -> Broker {
    let broker = one_broker(1);
    fill(&broker, 0, 0..EACH, 4);
    broker
}

#[test]
fn a_dropped_wait_for_a_reader_or_its_records_takes_nothing_with_it() {
    at_every_poll("Partitions::next", |cut| async move {
        let broker = with_one_partition();
        let mut partitions = split(&broker).await;
        let (mut reader, done) = match cut.of(partitions.next()).await {
            Some(reader) => (reader.expect("a reader"), true),
            None => (only_reader(&mut partitions).await, false),
        };
        let mut read = Vec::new();
        while read.len() < EACH as usize {
            let records = reader.next().await.expect("records").expect("assigned");
            read.extend(numbers(&records));
        }
        assert_eq!(read, (0..EACH).collect::<Vec<_>>(), "{cut}");
        done
    });
    at_every_poll("PartitionReader::next", |cut| async move {
        let broker = with_one_partition();
        let mut partitions = split(&broker).await;
        let mut reader = only_reader(&mut partitions).await;
        let mut read = Vec::new();
        let cut_off = cut.of(reader.next()).await;
        let done = cut_off.is_some();
        if let Some(records) = cut_off {
            read.extend(numbers(&records.expect("records").expect("assigned")));
        }
        while read.len() < EACH as usize {
            let records = reader.next().await.expect("records").expect("assigned");
            read.extend(numbers(&records));
        }
        assert_eq!(read, (0..EACH).collect::<Vec<_>>(), "{cut}");
        done
    });
}

#[test]
fn a_dropped_close_of_partitions_goes_on_and_commits_what_is_finished() {
    at_every_poll("Partitions::close", |cut| async move {
        let broker = with_one_partition();
        let mut partitions = split(&broker).await;
        let mut reader = only_reader(&mut partitions).await;
        let mut read = Vec::new();
        while read.len() < EACH as usize {
            let records = reader.next().await.expect("records").expect("assigned");
            read.extend(numbers(&records));
        }
        let handle = partitions.handle();
        reader.finish();
        drop(reader);
        let done = cut.of(partitions.close()).await;
        if let Some(closed) = &done {
            assert!(closed.is_ok(), "{cut}: {closed:?}");
        }
        for _ in 0..1_000 {
            if cut.polls == 0 || handle.assignment().is_empty() {
                break;
            }
            tokio::time::sleep(ms(10)).await;
        }
        if cut.polls > 0 {
            let committed = broker.committed_offset("g", "t", 0);
            assert_eq!(committed, Some(i64::from(EACH)), "{cut}");
        }
        drop(handle);
        done.is_some()
    });
}

#[test]
fn after_a_dropped_close_the_group_gets_the_partitions() {
    at_every_poll("close", |cut| async move {
        let broker = filled();
        let mut first = member(&broker, |config| {
            few(config);
            config.session_timeout = Duration::from_secs(6);
            config.heartbeat_interval = Duration::from_secs(1);
        })
        .await;
        first.poll(ms(5_000)).await.expect("records");
        let done = cut.of(first.close()).await;
        let mut second = member(&broker, |_| {}).await;
        // Closing commits nothing by itself.
        Read::default().rest(&mut second, 0, cut).await;
        done.is_some()
    });
}

#[test]
fn after_a_dropped_connect_the_next_one_works() {
    at_every_poll("Consumer::connect", |cut| async move {
        let broker = filled();
        let done = cut
            .of(Consumer::connect(crate::consumers::config(&broker)))
            .await;
        let mut consumer = reader(&broker, PARTITIONS, |_| {}).await;
        Read::default().rest(&mut consumer, 0, cut).await;
        done.is_some()
    });
}
