//! Positions, seeks, pauses, resets, codecs and lag, while the brokers are well.

use std::sync::Arc;
use std::time::Duration;

use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::{
    Consumer, ErrorKind, IsolationLevel, OffsetAndMetadata, OffsetReset, StartOffset,
    TopicPartition,
};
use protocol::ApiKey;
use protocol::compression::{Codec, Compression};
use protocol::records::SealOptions;
use tokio::time::{Instant, sleep};

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn every_codec_is_read_once_and_in_order() {
    for codec in Codec::ALL {
        let broker = one_broker(2);
        fill_with(&broker, 0, 0..1_000, 300, codec.into());
        fill_with(&broker, 1, 0..1_000, 77, codec.into());
        let mut consumer = reader(&broker, 2, |_| {}).await;
        let mut seen = [0, 0];
        while seen != [1_000, 1_000] {
            let records = consumer.poll(ms(1_000)).await.expect("records");
            assert!(
                !records.is_empty() && records.count() <= 500,
                "{codec:?} at {seen:?}"
            );
            for record in &records {
                let next = &mut seen[record.partition as usize];
                assert_eq!(record.offset, *next, "{codec:?}");
                assert_eq!(record.value, Some(&(*next as u32).to_be_bytes()[..]));
                assert_eq!(
                    (record.key, record.timestamp_ms),
                    (Some(&b"key"[..]), 1_000 + *next)
                );
                assert_eq!(record.headers.get("h"), Some(Some(&b"1"[..])));
                *next += 1;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_owned_record_is_the_view_it_came_from() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..3, 3);
    let mut consumer = reader(&broker, 1, |_| {}).await;
    let records = consumer.poll(ms(1_000)).await.expect("records");
    let owned: Vec<_> = records.iter().map(|record| record.to_owned()).collect();
    assert_eq!(
        records
            .partitions()
            .map(|run| run.next_offset())
            .collect::<Vec<_>>(),
        [3]
    );
    drop(records);
    drop(consumer);
    let second = &owned[1];
    assert_eq!(
        (
            &*second.topic,
            second.partition,
            second.offset,
            second.timestamp_ms
        ),
        ("t", 0, 1, 1_001)
    );
    assert_eq!(
        (second.key.as_deref(), second.value.as_deref()),
        (Some(&b"key"[..]), Some(&[0, 0, 0, 1][..]))
    );
    assert_eq!(second.header("h"), Some(Some(&b"1"[..])));
    assert_eq!(second.header("other"), None);
}

/// librdkafka 2.0/2.1, franz-go: records from before a seek came out after it, and offsets were skipped around it.
#[tokio::test(start_paused = true)]
async fn what_was_fetched_before_a_seek_never_comes_out_after_it() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..5_000, 100);
    let mut consumer = reader(&broker, 1, |config| config.max_poll_records = 70).await;
    let mut expected = 0;
    let mut jump = 7;
    for round in 0..400 {
        for number in read(&mut consumer, 1).await {
            assert_eq!(number, expected, "round {round}");
            expected += 1;
        }
        assert_eq!(consumer.position(&tp(0)), Some(i64::from(expected)));
        if round % 3 == 0 {
            jump = (jump * 31 + 17) % 4_500;
            consumer.seek(&tp(0), i64::from(jump)).expect("assigned");
            expected = jump;
        }
        if expected >= 4_900 {
            consumer.seek(&tp(0), 0).expect("assigned");
            expected = 0;
        }
    }
}

/// librdkafka #4686: resuming a partition that was not paused rewound it.
#[tokio::test(start_paused = true)]
async fn pausing_and_resuming_skips_and_repeats_nothing_however_often() {
    let broker = one_broker(2);
    fill(&broker, 0, 0..3_000, 50);
    fill(&broker, 1, 0..3_000, 50);
    let mut consumer = reader(&broker, 2, |config| config.max_poll_records = 40).await;
    let mut next = [0, 0];
    for round in 0_usize..500 {
        let quiet = (round / 5) % 3;
        for partition in 0..2 {
            let paused = partition as usize == quiet;
            for _ in 0..1 + round % 2 {
                match paused {
                    true => consumer.pause(&[tp(partition)]).expect("assigned"),
                    false => consumer.resume(&[tp(partition)]).expect("assigned"),
                }
            }
        }
        for record in &consumer.poll(ms(20)).await.expect("a poll") {
            assert_ne!(
                record.partition as usize, quiet,
                "a paused partition's record came out"
            );
            assert_eq!(record.offset, next[record.partition as usize]);
            next[record.partition as usize] += 1;
        }
    }
    assert_eq!(next, [3_000, 3_000]);
}

/// franz-go 1.21.4 and #1416: a reset was applied twice, or skipped records that were still there.
#[tokio::test(start_paused = true)]
async fn a_reset_happens_once_to_the_place_that_its_policy_names() {
    for (policy, expected) in [(OffsetReset::Earliest, 900), (OffsetReset::Latest, 1_000)] {
        let broker = one_broker(1);
        fill(&broker, 0, 0..1_000, 100);
        let size = broker.log("t", 0).expect("a log").size_bytes;
        broker.retain_log("t", 0, size / 10);
        assert_eq!(broker.log("t", 0).expect("a log").start_offset, 900);
        let mut consumer = consumer(&broker, |config| config.auto_offset_reset = policy).await;
        consumer
            .assign(&[(tp(0), StartOffset::Offset(5))])
            .await
            .expect("assigned");
        let mut all = numbers(&consumer.poll(ms(2_000)).await.expect("a poll"));
        fill(&broker, 0, 1_000..1_010, 10);
        all.extend(read(&mut consumer, 10).await);
        let expected: Vec<u32> = (expected..1_010).collect();
        assert_eq!(all, expected, "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_an_offset_that_is_gone_is_an_error_until_the_application_seeks() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 10);
    let mut consumer = consumer(&broker, |config| {
        config.auto_offset_reset = OffsetReset::None
    })
    .await;
    consumer
        .assign(&[(tp(0), StartOffset::Offset(99))])
        .await
        .expect("assigned");
    for _ in 0..2 {
        let error = consumer.poll(ms(5_000)).await.expect_err("out of range");
        assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
        assert_eq!(
            (error.partition(), error.failed_offset()),
            (Some(&tp(0)), Some(99))
        );
    }
    consumer.seek(&tp(0), 4).expect("assigned");
    assert_eq!(read(&mut consumer, 6).await, [4, 5, 6, 7, 8, 9]);
}

/// A reader of the first partition from where its group has committed, and from nowhere else.
async fn reader_without_policy(broker: &Broker) -> Consumer {
    let mut consumer = consumer(broker, |config| {
        config.group_id = Some("g".to_string());
        config.auto_offset_reset = OffsetReset::None;
    })
    .await;
    consumer
        .assign(&[(tp(0), StartOffset::Committed)])
        .await
        .expect("assigned");
    consumer
}

#[tokio::test(start_paused = true)]
async fn a_group_without_committed_offset_and_without_policy_is_an_error() {
    let broker = one_broker(1);
    let mut consumer = reader_without_policy(&broker).await;
    let error = consumer
        .poll(ms(5_000))
        .await
        .expect_err("nowhere to start");
    assert_eq!(
        (error.kind(), error.partition()),
        (ErrorKind::NoOffset, Some(&tp(0)))
    );
}

#[tokio::test(start_paused = true)]
async fn offsets_are_found_by_time_and_at_both_ends() {
    let broker = one_broker(2);
    fill(&broker, 0, 0..100, 10);
    let consumer = consumer(&broker, |_| {}).await;
    let both = [tp(0), tp(1)];
    let ends = consumer.end_offsets(&both).await.expect("offsets");
    assert_eq!(ends.into_values().collect::<Vec<_>>(), [100, 0]);
    let starts = consumer.beginning_offsets(&both).await.expect("offsets");
    assert_eq!(starts.into_values().collect::<Vec<_>>(), [0, 0]);
    let found = consumer
        .offsets_for_times(&[(tp(0), 1_042), (tp(1), 0)])
        .await
        .expect("offsets");
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[&tp(0)].offset, found[&tp(0)].timestamp_ms),
        (42, 1_042)
    );
}

#[tokio::test(start_paused = true)]
async fn a_partition_starts_where_it_is_told() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..100, 10);
    for (start, first) in [
        (StartOffset::Earliest, 0),
        (StartOffset::Offset(33), 33),
        (StartOffset::Timestamp(1_050), 50),
        (StartOffset::Timestamp(9_999), 100),
        (StartOffset::Latest, 100),
    ] {
        let mut consumer = consumer(&broker, |_| {}).await;
        consumer.assign(&[(tp(0), start)]).await.expect("assigned");
        let records = consumer.poll(ms(1_000)).await.expect("a poll");
        assert_eq!(
            values(&records).first().map_or(100, |(offset, _)| *offset),
            first,
            "{start:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn lag_is_what_is_left_to_read() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..100, 10);
    let mut consumer = reader(&broker, 1, |config| config.max_poll_records = 30).await;
    assert_eq!(consumer.lag(&tp(0)), None);
    consumer.poll(ms(1_000)).await.expect("records");
    assert_eq!(consumer.lag(&tp(0)), Some(70));
    read(&mut consumer, 70).await;
    assert_eq!(consumer.lag(&tp(0)), Some(0));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_named_within_the_deadline() {
    let broker = one_broker(1);
    let mut consumer = consumer(&broker, |config| {
        config.group_id = Some("g".to_string());
        config.client.request_timeout = Duration::from_secs(3);
    })
    .await;
    let nowhere = TopicPartition::new("nowhere", 0);
    let error = consumer
        .assign(&[(nowhere, StartOffset::Earliest)])
        .await
        .expect_err("no such topic");
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
    assert!(error.to_string().contains("nowhere"), "{error}");
    let error = consumer
        .assign(&[(tp(7), StartOffset::Earliest)])
        .await
        .expect_err("no such partition");
    assert_eq!(
        (error.kind(), error.partition()),
        (ErrorKind::UnknownTopicOrPartition, Some(&tp(7)))
    );
    let error = consumer.poll(ms(10)).await.expect_err("nothing to poll");
    assert_eq!(error.kind(), ErrorKind::Config);
    let error = consumer.seek(&tp(0), 1).expect_err("not assigned");
    assert_eq!(error.partition(), Some(&tp(0)));
}

#[tokio::test(start_paused = true)]
async fn a_topic_re_created_under_the_same_name_is_read_from_its_start() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..100, 10);
    let mut consumer = reader(&broker, 1, |config| {
        config.client.metadata_max_age = ms(500)
    })
    .await;
    assert_eq!(read(&mut consumer, 100).await.len(), 100);
    broker.delete_topic("t");
    consumer.poll(ms(1_000)).await.ok();
    broker.create_topic("t", 1).expect("a new topic");
    fill(&broker, 0, 0..200, 10);
    let all: Vec<u32> = (0..200).collect();
    assert_eq!(read(&mut consumer, 200).await, all);
}

#[tokio::test(start_paused = true)]
async fn a_small_budget_slows_reading_down_and_stops_nothing() {
    let broker = one_broker(3);
    for partition in 0..3 {
        fill(&broker, partition, 0..5_000, 500);
    }
    let mut consumer = reader(&broker, 3, |config| config.buffer_bytes = 20_000).await;
    let mut held = Vec::new();
    let mut count = 0;
    while count < 15_000 {
        let records = consumer.poll(ms(10_000)).await.expect("records");
        assert!(!records.is_empty(), "stuck at {count}");
        count += records.count();
        held.push(records);
    }
    assert_eq!(count, 15_000);
}

#[tokio::test(start_paused = true)]
async fn brokers_without_news_leave_room_to_fetch_from_the_others() {
    let broker = cluster(4, |builder| builder);
    broker.create_topic("t", 80).expect("a new topic");
    let busy: Vec<i32> = (0..80)
        .filter(|partition| broker.log("t", *partition).expect("a log").leader == Some(4))
        .collect();
    assert_eq!(busy.len(), 20);
    for partition in &busy {
        fill(&broker, *partition, 0..10, 10);
    }
    let mut consumer = reader(&broker, 80, |_| {}).await;
    let started = tokio::time::Instant::now();
    assert_eq!(read(&mut consumer, 200).await.len(), 200);
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "after {:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn what_became_of_a_question_is_not_told_once_the_application_has_sought() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 10);
    let slow = FaultAction::Delay(ms(500));
    broker.inject(Fault::on(ApiKey::OFFSET_FETCH, slow));
    let mut consumer = reader_without_policy(&broker).await;
    assert!(consumer.poll(ms(100)).await.expect("a poll").is_empty());
    consumer.seek(&tp(0), 4).expect("assigned");
    assert_eq!(read(&mut consumer, 6).await, [4, 5, 6, 7, 8, 9]);
    for _ in 0..10 {
        consumer
            .poll(ms(100))
            .await
            .expect("it was sought: where the group stands is of no interest");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_without_end_returns_what_comes() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 10);
    let mut consumer = reader(&broker, 1, |_| {}).await;
    let records = consumer.poll(Duration::MAX).await.expect("records");
    assert_eq!(records.count(), 10);
}

#[tokio::test(start_paused = true)]
async fn partitions_and_offsets_that_cannot_be_are_refused() {
    let broker = one_broker(1);
    let mut consumer = consumer(&broker, |_| {}).await;
    let error = consumer
        .assign(&[(tp(-1), StartOffset::Earliest)])
        .await
        .expect_err("no such partition");
    assert_eq!(
        (error.kind(), error.partition()),
        (ErrorKind::UnknownTopicOrPartition, Some(&tp(-1)))
    );
    let error = consumer
        .assign(&[(tp(0), StartOffset::Offset(-5))])
        .await
        .expect_err("no such offset");
    assert_eq!(
        (error.kind(), error.partition()),
        (ErrorKind::Config, Some(&tp(0)))
    );
    assert_eq!(consumer.assignment(), []);
}

#[tokio::test(start_paused = true)]
async fn a_handle_asks_no_broker_once_its_consumer_is_gone() {
    let broker = one_broker(1);
    for close in [true, false] {
        let consumer = consumer(&broker, |config| config.group_id = Some("g".to_string())).await;
        let handle = consumer.handle();
        handle.end_offsets(&[tp(0)]).await.expect("offsets");
        match close {
            true => consumer.close().await.expect("closes"),
            false => drop(consumer),
        }
        let offset = OffsetAndMetadata::new(1);
        for error in [
            handle.committed(&[tp(0)]).await.err(),
            handle.beginning_offsets(&[tp(0)]).await.err(),
            handle.end_offsets(&[tp(0)]).await.err(),
            handle.offsets_for_times(&[(tp(0), 5)]).await.err(),
            handle.commit(&[(tp(0), offset)]).await.err(),
        ] {
            let kind = error.map(|error| error.kind());
            assert_eq!(kind, Some(ErrorKind::Closed), "closed: {close}");
        }
    }
}

/// librdkafka 2.0/2.1: a pause in the middle of a fetched piece lost the piece behind it, and the partition stood still for good.
#[tokio::test(start_paused = true)]
async fn a_pause_in_the_middle_of_what_was_fetched_loses_nothing_of_it() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..20, 10);
    let mut consumer = reader(&broker, 1, |config| config.max_poll_records = 5).await;
    assert_eq!(read(&mut consumer, 5).await, (0..5).collect::<Vec<u32>>());
    // A second piece is fetched while the first is being read.
    fill(&broker, 0, 20..40, 10);
    tokio::time::sleep(ms(2_000)).await;
    consumer.pause(&[tp(0)]).expect("it is assigned");
    assert!(consumer.poll(ms(1_000)).await.expect("polled").is_empty());
    consumer.resume(&[tp(0)]).expect("it is assigned");
    let rest: Vec<u32> = (5..40).collect();
    assert_eq!(read(&mut consumer, 35).await, rest);
}

#[tokio::test(start_paused = true)]
async fn where_no_policy_says_where_to_go_nobody_is_asked_again() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 10);
    for (start, api) in [
        (StartOffset::Offset(99), ApiKey::FETCH),
        (StartOffset::Committed, ApiKey::OFFSET_FETCH),
    ] {
        let wire = Wire::new(&broker);
        let mut config = config(&broker);
        config.group_id = Some("g".to_string());
        config.auto_offset_reset = OffsetReset::None;
        config.client.transport = Arc::new(wire.clone());
        let mut consumer = Consumer::connect(config).await.expect("a consumer");
        consumer.assign(&[(tp(0), start)]).await.expect("assigned");
        let started = Instant::now();
        let mut told = 0;
        while started.elapsed() < ms(20_000) {
            told += usize::from(consumer.poll(ms(500)).await.is_err());
        }
        // One, and one that ends the fetch session.
        assert!(wire.requests(api) <= 2, "{start:?}: {}", wire.requests(api));
        assert!((1..=21).contains(&told), "{start:?}: told {told} times");
        consumer.seek(&tp(0), 4).expect("assigned");
        assert_eq!(read(&mut consumer, 6).await, [4, 5, 6, 7, 8, 9]);
    }
}

#[tokio::test(start_paused = true)]
async fn lag_is_known_without_a_fetch_and_right_for_paused_partitions_and_open_transactions() {
    let broker = one_broker(3);
    for partition in 0..3 {
        fill(&broker, partition, 0..100, 10);
    }
    let open = SealOptions {
        producer_id: 7,
        producer_epoch: 0,
        transactional: true,
        ..Default::default()
    };
    broker.append_unchecked("t", 1, batch(100..110, Compression::NONE, &open));
    let mut consumer = consumer(&broker, |config| {
        config.group_id = Some("g".to_string());
        config.isolation_level = IsolationLevel::ReadCommitted;
        config.max_poll_records = 10;
    })
    .await;
    let all = [tp(0), tp(1), tp(2)];
    let starts = [
        (tp(0), StartOffset::Offset(40)),
        (tp(1), StartOffset::Offset(50)),
    ];
    consumer
        .assign(&starts)
        .await
        .expect("partitions that exist");
    consumer.pause(&[tp(0), tp(1)]).expect("assigned");
    // Nothing was fetched; the third is not assigned, and nothing of it is committed.
    let lag = consumer.current_lag(&all).await.expect("known");
    assert_eq!(lag, [(tp(0), 60), (tp(1), 50)].into());
    let bounds = consumer.watermarks(&all).await.expect("known");
    assert!(
        bounds
            .values()
            .all(|bounds| (bounds.begin, bounds.end) == (0, 100))
    );
    consumer.poll(ms(10)).await.expect("a poll");
    sleep(ms(1)).await;
    assert_eq!(
        consumer.lag(&tp(0)),
        Some(60),
        "asked for while it is paused"
    );
    fill(&broker, 0, 100..130, 10);
    consumer.poll(ms(6_000)).await.expect("a poll");
    assert_eq!(
        (consumer.lag(&tp(0)), consumer.lag(&tp(1))),
        (Some(90), Some(50))
    );
    consumer.resume(&[tp(0)]).expect("assigned");
    let records = consumer.poll(ms(1_000)).await.expect("records");
    assert_eq!(consumer.lag(&tp(0)), Some(90 - records.count() as i64));
    let offset = [(tp(2), OffsetAndMetadata::new(30))];
    consumer.commit(&offset).await.expect("committed");
    assert_eq!(
        consumer.current_lag(&all[2..]).await.expect("known"),
        [(tp(2), 70)].into()
    );
}

#[tokio::test(start_paused = true)]
async fn a_reset_by_duration_or_to_a_time_begins_at_the_first_record_that_is_young_enough() {
    const NOW: i64 = 1_700_000_000_000;
    let broker = one_broker(2);
    // Record n of partition 0 has the time 1,000 + n; the clock says NOW.
    fill(&broker, 0, 0..100, 10);
    for (policy, expected) in [
        (OffsetReset::Timestamp(1_042), Some(42)),
        (OffsetReset::ByDuration(ms(NOW as u64 - 1_077)), Some(77)),
        (OffsetReset::ByDuration(ms(1_000)), None),
        (OffsetReset::Timestamp(0), Some(0)),
    ] {
        let mut reading = reader(&broker, 1, |config| config.auto_offset_reset = policy).await;
        // Out of range: the policy decides.
        reading.seek(&tp(0), 5_000).expect("assigned");
        let first = reading.poll(ms(2_000)).await.expect("records");
        let first = first.iter().next().map(|record| record.offset);
        assert_eq!(first, expected, "{policy:?}");
        assert!(reading.position(&tp(0)).is_some());
        if let OffsetReset::ByDuration(_) = policy {
            // Until a member has joined, all of it is too old.
            continue;
        }
        let mut member = member(&broker, |config| config.auto_offset_reset = policy).await;
        let first = read_first(&mut member).await;
        assert_eq!(first, expected, "without a committed offset, {policy:?}");
        member.close().await.expect("left");
    }
}

async fn read_first(consumer: &mut Consumer) -> Option<i64> {
    let records = consumer.poll(ms(5_000)).await.expect("records");
    records.iter().next().map(|record| record.offset)
}

#[tokio::test(start_paused = true)]
async fn partitions_are_assigned_and_unassigned_one_by_one_without_a_pause_of_the_others() {
    let broker = one_broker(3);
    for partition in 0..3 {
        fill(&broker, partition, 0..60, 10);
    }
    let mut reading = reader(&broker, 1, |config| config.max_poll_records = 5).await;
    assert_eq!(read(&mut reading, 10).await, (0..10).collect::<Vec<_>>());
    let more = [
        (tp(1), StartOffset::Offset(50)),
        (tp(2), StartOffset::Earliest),
    ];
    reading
        .assign_more(&more)
        .await
        .expect("partitions that exist");
    assert_eq!(reading.assignment(), [tp(0), tp(1), tp(2)]);
    assert_eq!(reading.position(&tp(0)), Some(10), "it is read on");
    reading
        .unassign(&[tp(2), TopicPartition::new("x", 9)])
        .expect("assigned by hand");
    let mut all = read(&mut reading, 60).await;
    all.sort_unstable();
    let mut expected: Vec<u32> = (10..60).chain(50..60).collect();
    expected.sort_unstable();
    assert_eq!(all, expected);
    reading
        .assign_more(&[(tp(0), StartOffset::Offset(58))])
        .await
        .expect("begun anew");
    assert_eq!(read(&mut reading, 2).await, [58, 59]);
    reading.unassign(&[tp(0), tp(1)]).expect("assigned by hand");
    assert!(reading.assignment().is_empty());
    assert!(reading.poll(ms(100)).await.expect("nothing").is_empty());
    let missing = [(tp(7), StartOffset::Earliest)];
    assert!(reading.assign_more(&missing).await.is_err());
    let mut member = member(&broker, |_| {}).await;
    assert_eq!(
        member.unassign(&[tp(0)]).expect_err("a member").kind(),
        ErrorKind::Config
    );
}
