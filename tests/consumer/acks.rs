//! What commits say where the application says what is finished: acknowledgements in any order, offsets that are stored; and the ends of
//! partitions.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use pat_events::broker::Broker;
use pat_events::kafka::consumer::{Acks, CommitSource, ConsumerHandle, RebalanceListener};
use pat_events::kafka::{
    Consumer, ConsumerConfig, ErrorKind, IsolationLevel, OffsetAndMetadata, TopicPartition,
};
use protocol::compression::Compression;
use protocol::records::SealOptions;

use crate::harness::*;

fn acknowledging(config: &mut ConsumerConfig) {
    config.commit_source = CommitSource::Acknowledged;
    config.max_poll_records = 7;
}

/// Polls until `count` records came: their offsets, each with what acknowledges it. Fewer where nothing more comes for five seconds.
async fn take(consumer: &mut Consumer, count: usize) -> Vec<(i64, Acks)> {
    let mut all = Vec::new();
    while all.len() < count {
        let records = consumer.poll(ms(5_000)).await.expect("a poll");
        if records.is_empty() {
            break;
        }
        for part in records.partitions() {
            all.extend(part.iter().map(|record| (record.offset, part.acks())));
        }
    }
    all
}

fn offsets(taken: &[(i64, Acks)]) -> Vec<i64> {
    taken.iter().map(|(offset, _)| *offset).collect()
}

fn committed(broker: &Broker) -> Option<i64> {
    broker.committed_offset("g", "t", 0)
}

#[tokio::test(start_paused = true)]
async fn a_commit_passes_no_record_that_is_not_acknowledged_and_a_restart_repeats_none_that_is() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..60, 8);
    let mut first = member(&broker, acknowledging).await;
    let taken = take(&mut first, 60).await;
    assert_eq!(offsets(&taken), (0..60).collect::<Vec<_>>());
    first.commit_sync().await.expect("committed");
    assert_eq!(committed(&broker), Some(0), "nothing is acknowledged");
    for (offset, acks) in &taken[..20] {
        assert!(acks.done(*offset) && !acks.done(*offset));
    }
    first.commit_sync().await.expect("committed");
    assert_eq!(committed(&broker), Some(20));
    // Backwards, and not all of them.
    let done: BTreeSet<i64> = (20..60).rev().filter(|it| it % 3 != 0).collect();
    for (offset, acks) in taken.iter().rev().filter(|(it, _)| done.contains(it)) {
        assert!(acks.done(*offset));
    }
    assert_eq!(taken[0].1.unfinished(), 40 - done.len());
    first.commit_sync().await.expect("committed");
    assert_eq!(committed(&broker), Some(21), "20 is done, 21 is not");
    first.close().await.expect("left");

    fill(&broker, 0, 60..70, 8);
    let mut second = member(&broker, acknowledging).await;
    let again = take(&mut second, 70).await;
    let expected: Vec<i64> = (20..70).filter(|it| !done.contains(it)).collect();
    assert_eq!(offsets(&again), expected);
    assert_eq!(again[0].1.done_all(0..65), expected.len() - 5);
    second.commit_sync().await.expect("committed");
    assert_eq!(committed(&broker), Some(65));
    assert_eq!(again[0].1.done_all(65..70), 5);
    second.close().await.expect("left");
    assert_eq!(committed(&broker), Some(65), "closing commits nothing");
}

#[tokio::test(start_paused = true)]
async fn markers_and_what_is_not_shown_hold_no_commit_up() {
    let broker = one_broker(1);
    let transactional = SealOptions {
        producer_id: 7,
        producer_epoch: 0,
        transactional: true,
        ..Default::default()
    };
    for (number, commits) in [true, false, true, false].into_iter().enumerate() {
        let number = 2 * number as u32;
        let records = batch(number..number + 2, Compression::NONE, &transactional);
        broker.append_unchecked("t", 0, records);
        broker.append_unchecked("t", 0, marker(7, commits));
    }
    let mut first = member(&broker, |config| {
        acknowledging(config);
        config.isolation_level = IsolationLevel::ReadCommitted;
    })
    .await;
    let taken = take(&mut first, 99).await;
    // Two records and a marker, in turns committed and aborted.
    assert_eq!(offsets(&taken), [0, 1, 6, 7]);
    for (offset, expected) in [(7, 0), (0, 1), (1, 6), (6, 12)] {
        assert!(taken[0].1.done(offset));
        first.commit_sync().await.expect("committed");
        assert_eq!(committed(&broker), Some(expected), "after {offset}");
    }
}

#[tokio::test(start_paused = true)]
async fn intake_stops_before_what_is_finished_beyond_gaps_outgrows_a_commits_metadata() {
    let broker = one_broker(2);
    fill(&broker, 0, 0..40_000, 100);
    fill(&broker, 1, 0..40_000, 100);
    let mut first = member(&broker, |config| {
        acknowledging(config);
        config.max_poll_records = 100;
    })
    .await;
    let mut taken: [Vec<(i64, Acks)>; 2] = Default::default();
    loop {
        let records = first.poll(ms(5_000)).await.expect("a poll");
        if records.is_empty() {
            break;
        }
        for part in records.partitions() {
            let (partition, acks) = (part.partition().partition, part.acks());
            for record in &part {
                // Of the first partition every second one.
                if partition == 1 || record.offset % 2 == 1 {
                    acks.done(record.offset);
                }
                taken[partition as usize].push((record.offset, acks.clone()));
            }
        }
    }
    assert_eq!(taken[1].len(), 40_000, "the other partition goes on");
    let held = taken[0].len();
    assert_eq!(held, 24_400, "so many bits are in a commit's metadata");
    first.commit_sync().await.expect("committed");
    assert_eq!(committed(&broker), Some(0));
    let committed_note = first.committed(&[tp(0)]).await.expect("known");
    assert!(!committed_note[&tp(0)].metadata.is_empty());
    // Whoever is next gets just what was not done with.
    first.close().await.expect("left");
    let mut second = member(&broker, |config| {
        acknowledging(config);
        config.max_poll_records = 100;
    })
    .await;
    // Once the gaps close, it goes on.
    let again = take(&mut second, held / 2).await;
    let expected: Vec<i64> = (0..held as i64).filter(|it| it % 2 == 0).collect();
    assert_eq!(offsets(&again[..held / 2]), expected[..held / 2]);
    for (offset, acks) in &again {
        acks.done(*offset);
    }
    let rest = take(&mut second, 40_000 - held).await;
    assert_eq!(again.len() + rest.len(), held.div_ceil(2) + 40_000 - held);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_finished_of_what_was_handed_out_fits_into_a_commits_metadata() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..30_000, 1_000);
    let many = |config: &mut ConsumerConfig| {
        acknowledging(config);
        config.max_poll_records = 10_000;
    };
    let mut first = member(&broker, many).await;
    let taken = take(&mut first, 30_000).await;
    assert!(taken.len() < 30_000, "nothing was finished");
    let last = taken.last().expect("some").0;
    let done: BTreeSet<i64> = (0..=last).filter(|it| it % 2 == 1).collect();
    for (offset, acks) in taken.iter().filter(|(it, _)| done.contains(it)) {
        assert!(acks.done(*offset));
    }
    first.commit_sync().await.expect("committed");
    assert_eq!(committed(&broker), Some(0));
    first.close().await.expect("left");
    let mut second = member(&broker, many).await;
    let again = take(&mut second, 30_000).await;
    assert!(again.iter().all(|(offset, _)| !done.contains(offset)));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_was_withheld_is_read_on_once_its_gaps_close() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..30_000, 100);
    let mut consumer = member(&broker, |config| {
        acknowledging(config);
        config.max_poll_records = 100;
    })
    .await;
    let mut taken = Vec::new();
    loop {
        let more = take(&mut consumer, 1).await;
        if more.is_empty() {
            break;
        }
        for (offset, acks) in more.iter().filter(|(offset, _)| offset % 2 == 1) {
            acks.done(*offset);
        }
        taken.extend(more);
    }
    let acks = taken[0].1.clone();
    let gaps = taken.len() as i64;
    assert!(gaps < 30_000, "{gaps} came");
    let closing = tokio::spawn(async move {
        tokio::time::sleep(ms(100)).await;
        acks.done_all(0..gaps);
    });
    let waited = tokio::time::Instant::now();
    let rest = take(&mut consumer, 1).await;
    assert_eq!(rest[0].0, gaps, "where it stopped");
    assert!(
        waited.elapsed() < ms(150),
        "at once: {:?}",
        waited.elapsed()
    );
    closing.await.expect("no panic");
}

/// Acknowledges what it holds, and notes whether that counted.
#[derive(Clone, Default)]
struct Finish(Arc<Mutex<Vec<(i64, Acks)>>>);

impl RebalanceListener for Finish {
    async fn on_revoked(&self, _: &ConsumerHandle, _: &[TopicPartition]) {
        for (offset, acks) in self.0.lock().expect("no panic").iter() {
            assert!(acks.done(*offset), "still held");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_listener_acknowledges_is_committed_before_the_partition_goes_and_later_nothing_is()
{
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 5);
    let finish = Finish::default();
    let mut consumer = consumer(&broker, |config| {
        config.group_id = Some("g".to_string());
        acknowledging(config);
        config.enable_auto_commit = true;
    })
    .await;
    (consumer.subscribe_with(&["t"], finish.clone()).await).expect("a topic that exists");
    let taken = take(&mut consumer, 10).await;
    assert!(taken[0].1.done(taken[0].0));
    *finish.0.lock().expect("no panic") = taken[1..6].to_vec();
    let generation = consumer.generation();
    assert!(generation.is_some());
    broker.create_topic("u", 1).expect("a new topic");
    consumer.subscribe(&["u"]).await.expect("it exists now");
    for _ in 0..200 {
        consumer.poll(ms(20)).await.expect("a poll");
        if consumer.assignment() == [TopicPartition::new("u", 0)] {
            break;
        }
    }
    assert_eq!(committed(&broker), Some(6));
    assert!(consumer.generation() > generation);
    let (offset, acks) = &taken[8];
    assert!(!acks.done(*offset) && acks.is_over());
    assert_eq!(acks.done_all(0..99), 0);
}

#[tokio::test(start_paused = true)]
async fn a_seek_leaves_nothing_to_acknowledge_of_what_came_before_it() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..20, 5);
    let mut consumer = member(&broker, acknowledging).await;
    let before = take(&mut consumer, 20).await;
    consumer.seek(&tp(0), 4).expect("assigned");
    assert!(!before[3].1.done(3) && before[3].1.is_over());
    consumer.commit_sync().await.expect("committed");
    assert_eq!(committed(&broker), Some(4), "where it was sought");
    let after = take(&mut consumer, 16).await;
    assert_eq!(offsets(&after), (4..20).collect::<Vec<_>>());
    assert!(after[0].1.done(4) && consumer.acks(&tp(0)).expect("known").done(5));
    consumer.commit_sync().await.expect("committed");
    assert_eq!(committed(&broker), Some(6));
}

#[tokio::test(start_paused = true)]
async fn where_commits_go_by_polls_nothing_is_acknowledged_or_stored() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 5);
    let mut consumer = member(&broker, |_| {}).await;
    let taken = take(&mut consumer, 10).await;
    assert!(!taken[0].1.done(0) && taken[0].1.is_over());
    assert!(consumer.acks(&tp(0)).is_none());
    let offset = [(tp(0), OffsetAndMetadata::new(3))];
    let error = consumer.store(offset).expect_err("not so configured");
    assert_eq!(error.kind(), ErrorKind::Config);
    consumer.commit_sync().await.expect("committed");
    assert_eq!(committed(&broker), Some(10));
}

#[tokio::test(start_paused = true)]
async fn only_what_was_stored_is_committed() {
    let broker = one_broker(2);
    fill(&broker, 0, 0..20, 5);
    fill(&broker, 1, 0..20, 5);
    let mut consumer = member(&broker, |config| {
        config.commit_source = CommitSource::Stored;
        config.enable_auto_commit = true;
    })
    .await;
    assert_eq!(read(&mut consumer, 40).await.len(), 40);
    consumer.commit_sync().await.expect("nothing to do");
    assert_eq!(committed(&broker), None);
    let store = |offset| consumer.store([(tp(0), OffsetAndMetadata::new(offset))]);
    store(7).expect("held");
    let foreign = [
        (tp(0), OffsetAndMetadata::new(9)),
        (tp(5), OffsetAndMetadata::new(9)),
    ];
    let error = consumer.store(foreign).expect_err("not held");
    assert_eq!(error.kind(), ErrorKind::Rebalance);
    assert!(store(-1).is_err());
    consumer.commit_sync().await.expect("committed");
    assert_eq!(committed(&broker), Some(7));
    consumer
        .store([(tp(0), OffsetAndMetadata::new(12))])
        .expect("held");
    consumer.close().await.expect("left");
    assert_eq!(committed(&broker), Some(12), "closing commits it");
    assert_eq!(broker.committed_offset("g", "t", 1), None);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_partition_is_told_once_each_time_it_is_reached() {
    let broker = one_broker(3);
    fill(&broker, 0, 0..10, 5);
    fill(&broker, 1, 0..3, 5);
    let mut consumer = reader(&broker, 3, |config| config.enable_partition_eof = true).await;
    let mut ends = Vec::new();
    let mut count = 0;
    let mut look = async |consumer: &mut Consumer, ends: &mut Vec<(i32, i64)>| {
        for _ in 0..10 {
            let records = consumer.poll(ms(1_000)).await.expect("a poll");
            count += records.count();
            ends.extend(records.ends().map(|(it, end)| (it.partition, end)));
        }
        ends.sort_unstable();
        count
    };
    assert_eq!(look(&mut consumer, &mut ends).await, 13);
    assert_eq!(ends, [(0, 10), (1, 3), (2, 0)]);
    fill(&broker, 1, 3..5, 5);
    ends.clear();
    assert_eq!(look(&mut consumer, &mut ends).await, 15);
    assert_eq!(ends, [(1, 5)]);
    consumer.seek(&tp(0), 8).expect("assigned");
    ends.clear();
    assert_eq!(look(&mut consumer, &mut ends).await, 17);
    assert_eq!(ends, [(0, 10)]);
}
