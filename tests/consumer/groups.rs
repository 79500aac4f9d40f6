//! Membership, rebalances and commits.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use pat_events::broker::{Fault, FaultAction};
use pat_events::kafka::{
    AssignmentStrategy, Consumer, ConsumerConfig, ConsumerHandle, ErrorKind, OffsetAndMetadata,
    RebalanceListener, StartOffset, TopicPartition,
};
use protocol::ApiKey;

use crate::harness::*;

/// What a listener was told, in order.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Change>>>);

/// What happened, and to which partitions.
type Change = (&'static str, Vec<i32>);

impl Told {
    fn note(&self, what: &'static str, partitions: &[TopicPartition]) {
        let partitions = partitions
            .iter()
            .map(|partition| partition.partition)
            .collect();
        self.0.lock().expect("no panic").push((what, partitions));
    }

    fn all(&self) -> Vec<(&'static str, Vec<i32>)> {
        self.0.lock().expect("no panic").clone()
    }
}

impl RebalanceListener for Told {
    async fn on_assigned(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.note("assigned", partitions)
    }

    async fn on_revoked(&self, consumer: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.note("revoked", partitions);
        consumer
            .commit_sync()
            .await
            .expect("a commit inside the hook");
    }

    async fn on_lost(&self, consumer: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.note("lost", partitions);
        let error = consumer
            .commit_sync()
            .await
            .expect_err("not theirs any more");
        assert_eq!(error.kind(), ErrorKind::Rebalance);
    }
}

async fn poll_both(one: &mut Consumer, other: &mut Consumer, rounds: usize) {
    for _ in 0..rounds {
        one.poll(ms(20)).await.expect("a poll");
        other.poll(ms(20)).await.expect("a poll");
    }
}

#[tokio::test(start_paused = true)]
async fn members_share_the_partitions_and_a_leaver_hands_its_share_over() {
    let broker = one_broker(5);
    let mut one = member(&broker, |_| {}).await;
    assigned(&mut one, 5).await;
    let mut other = member(&broker, |_| {}).await;
    poll_both(&mut one, &mut other, 300).await;
    let (ones, others) = (one.assignment(), other.assignment());
    assert_eq!(
        (ones.len() + others.len(), ones.len().abs_diff(others.len())),
        (5, 1)
    );
    assert_eq!(
        ones.into_iter()
            .chain(others)
            .collect::<BTreeSet<_>>()
            .len(),
        5
    );
    other.close().await.expect("leaves");
    assigned(&mut one, 5).await;
}

/// Several clients sent a group's heartbeats behind a long poll of the same broker, which answers one request of a connection after the other.
#[tokio::test(start_paused = true)]
async fn heartbeats_do_not_wait_behind_a_long_poll_of_the_same_broker() {
    let broker = one_broker(2);
    let slow = FaultAction::Delay(ms(20_000));
    broker.inject(Fault::on(ApiKey::FETCH, slow).always());
    let (told, wire) = (Told::default(), Wire::new(&broker));
    let mut member = consumer(&broker, |config| {
        config.client.transport = Arc::new(wire.clone());
        config.group_id = Some("g".to_string());
        config.session_timeout = ms(6_000);
        config.heartbeat_interval = ms(2_000);
    })
    .await;
    let subscribed = member.subscribe_with(&["t"], told.clone()).await;
    subscribed.expect("a topic");
    assigned(&mut member, 2).await;
    let before = wire.requests(ApiKey::HEARTBEAT);
    let end = tokio::time::Instant::now() + ms(60_000);
    while tokio::time::Instant::now() < end {
        // No fetch is answered in time for more than a few of these.
        let _ = member.poll(ms(500)).await;
    }
    let beats = wire.requests(ApiKey::HEARTBEAT) - before;
    assert!(beats >= 25, "{beats} heartbeats in a minute");
    let all = told.all();
    assert!(all.iter().all(|(what, _)| *what == "assigned"), "{all:?}");
}

/// Java KAFKA-20332, KAFKA-14196: records of a partition being revoked were still handed out.
#[tokio::test(start_paused = true)]
async fn nothing_of_a_revoked_partition_comes_out_after_its_hook() {
    let broker = one_broker(2);
    for partition in 0..2 {
        fill(&broker, partition, 0..50_000, 100);
    }
    let told = Told::default();
    let mut one = consumer(&broker, |config| {
        config.group_id = Some("g".to_string());
        config.max_poll_records = 50;
    })
    .await;
    one.subscribe_with(&["t"], told.clone())
        .await
        .expect("a topic");
    let mut other = None;
    let mut next = [0, 0];
    for round in 0..300 {
        let before = told.all().len();
        let records = one.poll(ms(20)).await.expect("a poll");
        let holds: BTreeSet<_> = one.assignment().into_iter().collect();
        if told.all().len() > before {
            next = [0, 0];
            for partition in &holds {
                let committed = one
                    .committed(std::slice::from_ref(partition))
                    .await
                    .expect("offsets");
                next[partition.partition as usize] = committed
                    .get(partition)
                    .map_or(0, |committed| committed.offset);
            }
        }
        for record in &records {
            assert!(
                holds.contains(record.topic_partition()),
                "round {round}: {record:?} is not this member's"
            );
            let next = &mut next[record.partition as usize];
            assert_eq!(
                record.offset, *next,
                "round {round}: from the committed offset on, nothing skipped"
            );
            *next += 1;
        }
        if round == 40 {
            let mut second = member(&broker, |_| {}).await;
            other = Some(tokio::spawn(async move {
                loop {
                    second.poll(ms(50)).await.expect("a poll");
                }
            }));
        }
        tokio::time::sleep(ms(30)).await;
    }
    other.expect("a second member").abort();
    let told = told.all();
    assert_eq!(
        told[..2],
        [("assigned", vec![0, 1]), ("revoked", vec![0, 1])]
    );
    assert_eq!((told[2].0, told[2].1.len(), told.len()), ("assigned", 1, 3));
}

/// Java KAFKA-18641, franz-go #57: an automatic commit covered records that had not been processed.
#[tokio::test(start_paused = true)]
async fn an_automatic_commit_never_passes_what_the_application_has_finished() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..1_000, 10);
    let mut consumer = member(&broker, |config| {
        config.enable_auto_commit = true;
        config.auto_commit_interval = ms(100);
        config.max_poll_records = 10;
    })
    .await;
    let mut finished = 0;
    for _ in 0..80 {
        let records = consumer.poll(ms(500)).await.expect("a poll");
        let in_hand = records.count() as i64;
        // A slow application: several intervals pass while it has these records in hand.
        tokio::time::sleep(ms(250)).await;
        let committed = broker.committed_offset("g", "t", 0).unwrap_or(0);
        assert!(
            committed <= finished,
            "{committed} committed, {finished} finished"
        );
        finished += in_hand;
    }
    assert!(broker.committed_offset("g", "t", 0).unwrap_or(0) >= finished - 20);
    consumer.close().await.expect("closes");
    assert_eq!(
        broker.committed_offset("g", "t", 0),
        Some(finished),
        "close commits what was returned"
    );
}

/// librdkafka #4059, #2933: commits during a rebalance moved offsets backwards, or failed for good.
#[tokio::test(start_paused = true)]
async fn a_commit_of_an_earlier_generation_is_refused_and_the_member_rejoins() {
    let broker = one_broker(2);
    fill(&broker, 0, 0..100, 10);
    let mut one = member(&broker, |config| config.session_timeout = ms(6_000)).await;
    assigned(&mut one, 2).await;
    let mut other = member(&broker, |_| {}).await;
    for _ in 0..200 {
        other.poll(ms(20)).await.expect("a poll");
        one.poll(ms(20)).await.expect("a poll");
    }
    let theirs = other.assignment();
    assert_eq!(theirs.len(), 1);
    let ahead = OffsetAndMetadata::new(50);
    other
        .commit(&[(theirs[0].clone(), ahead)])
        .await
        .expect("its own");
    // The other one is put out of the group while it does not poll.
    let handle = other.handle();
    let started = tokio::time::Instant::now();
    while one.assignment().len() < 2 {
        one.poll(ms(100)).await.expect("a poll");
        if started.elapsed() > ms(400_000) {
            panic!("the silent member was never put out");
        }
    }
    let behind = OffsetAndMetadata::new(10);
    let error = handle
        .commit(&[(theirs[0].clone(), behind)])
        .await
        .expect_err("not its own any more");
    assert_eq!(error.kind(), ErrorKind::Rebalance, "{error}");
    assert_eq!(
        broker.committed_offset("g", "t", theirs[0].partition),
        Some(50),
        "nothing moved back"
    );
    for _ in 0..300 {
        other.poll(ms(20)).await.expect("a poll");
        one.poll(ms(20)).await.expect("a poll");
    }
    assert_eq!((one.assignment().len(), other.assignment().len()), (1, 1));
    let again = other.assignment();
    other
        .commit(&[(again[0].clone(), OffsetAndMetadata::new(60))])
        .await
        .expect("its own again");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_poll_leaves_and_comes_back_with_its_next_poll() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 10);
    let told = Told::default();
    let mut consumer = consumer(&broker, |config| {
        config.group_id = Some("g".to_string());
        config.max_poll_interval = ms(8_000);
    })
    .await;
    consumer
        .subscribe_with(&["t"], told.clone())
        .await
        .expect("a topic");
    assigned(&mut consumer, 1).await;
    tokio::time::sleep(ms(20_000)).await;
    let mut other = member(&broker, |_| {}).await;
    assigned(&mut other, 1).await;
    other.close().await.expect("leaves");
    assigned(&mut consumer, 1).await;
    assert_eq!(
        told.all(),
        [
            ("assigned", vec![0]),
            ("lost", vec![0]),
            ("assigned", vec![0])
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_static_member_that_comes_back_in_time_moves_no_partition() {
    let broker = one_broker(4);
    let fixed = |name: &'static str| {
        move |config: &mut pat_events::kafka::ConsumerConfig| {
            config.group_instance_id = Some(name.to_string());
            config.session_timeout = ms(30_000);
        }
    };
    let mut one = member(&broker, fixed("one")).await;
    let mut other = member(&broker, fixed("other")).await;
    poll_both(&mut one, &mut other, 300).await;
    let (ones, others) = (one.assignment(), other.assignment());
    assert_eq!((ones.len(), others.len()), (2, 2));
    other.close().await.expect("stops");
    let mut back = member(&broker, fixed("other")).await;
    poll_both(&mut one, &mut back, 200).await;
    assert_eq!((one.assignment(), back.assignment()), (ones, others));
}

#[tokio::test(start_paused = true)]
async fn a_second_instance_of_the_same_name_fences_the_first_for_good() {
    let broker = one_broker(2);
    let fixed = |config: &mut pat_events::kafka::ConsumerConfig| {
        config.group_instance_id = Some("x".to_string())
    };
    let mut one = member(&broker, fixed).await;
    assigned(&mut one, 2).await;
    let mut other = member(&broker, fixed).await;
    assigned(&mut other, 2).await;
    let mut fenced = None;
    for _ in 0..200 {
        if let Err(error) = one.poll(ms(50)).await {
            fenced = Some(error);
            break;
        }
    }
    let error = fenced.expect("the first instance hears of it");
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.is_fatal());
    assert_eq!(one.assignment(), [], "what it held is another's");
}

#[tokio::test(start_paused = true)]
async fn commits_go_out_in_the_order_of_the_calls() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..100, 10);
    let mut consumer = member(&broker, |config| config.max_poll_records = 10).await;
    let mut pending = Vec::new();
    for _ in 0..10 {
        consumer.poll(ms(5_000)).await.expect("a poll");
        pending.push(consumer.commit_positions().expect("room for a commit"));
    }
    consumer.commit_sync().await.expect("the last one");
    for commit in pending {
        commit.await.expect("each of them");
    }
    let position = consumer.position(&tp(0));
    assert_eq!(broker.committed_offset("g", "t", 0), position);
    let mut note = OffsetAndMetadata::default();
    note.offset = 7;
    note.leader_epoch = None;
    note.metadata = "note".to_string();
    consumer
        .commit(&[(tp(0), note.clone())])
        .await
        .expect("commits");
    let committed = &consumer.committed(&[tp(0)]).await.expect("offsets")[&tp(0)];
    assert_eq!(
        (committed.offset, &committed.metadata),
        (note.offset, &note.metadata)
    );
    assert!(committed.topic_id.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_group_goes_on_where_it_committed() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..100, 10);
    let mut consumer = member(&broker, |config| config.max_poll_records = 33).await;
    assert_eq!(read(&mut consumer, 33).await.len(), 33);
    consumer.commit_sync().await.expect("commits");
    consumer.close().await.expect("leaves");
    let mut consumer = member(&broker, |_| {}).await;
    let rest: Vec<u32> = (33..100).collect();
    assert_eq!(read(&mut consumer, 67).await, rest);
}

#[tokio::test(start_paused = true)]
async fn subscribing_to_other_topics_replaces_the_partitions() {
    let broker = one_broker(2);
    broker.create_topic("u", 3).expect("a new topic");
    let mut consumer = member(&broker, |_| {}).await;
    assigned(&mut consumer, 2).await;
    consumer.subscribe(&["u"]).await.expect("a topic");
    assigned(&mut consumer, 3).await;
    assert!(
        consumer
            .assignment()
            .iter()
            .all(|partition| &*partition.topic == "u")
    );
    consumer.unsubscribe().await.expect("leaves");
    assert_eq!(consumer.assignment(), []);
    consumer
        .assign(&[(tp(0), pat_events::kafka::StartOffset::Earliest)])
        .await
        .expect("assigned by hand");
}

#[tokio::test(start_paused = true)]
async fn leaving_waits_for_commits_under_way_and_takes_no_more() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..100, 10);
    let mut consumer = member(&broker, |_| {}).await;
    assert_eq!(read(&mut consumer, 100).await.len(), 100);
    let handle = consumer.handle();
    let pending = consumer.commit_positions().expect("room for a commit");
    consumer.unsubscribe().await.expect("leaves");
    pending.await.expect("was sent before leaving");
    assert_eq!(broker.committed_offset("g", "t", 0), Some(100));
    let late = handle.commit(&[(tp(0), OffsetAndMetadata::new(5))]).await;
    assert_eq!(
        late.expect_err("not a member any more").kind(),
        ErrorKind::Closed
    );
    assert_eq!(broker.committed_offset("g", "t", 0), Some(100));
}

/// Kafka checks who commits and in which generation, not whether the partition is that member's.
#[tokio::test(start_paused = true)]
async fn a_partition_that_went_to_another_member_cannot_be_committed_in_the_new_generation() {
    let broker = one_broker(2);
    let mut one = member(&broker, |_| {}).await;
    assigned(&mut one, 2).await;
    let mut other = member(&broker, |_| {}).await;
    poll_both(&mut one, &mut other, 300).await;
    let (ones, others) = (one.assignment(), other.assignment());
    assert_eq!((ones.len(), others.len()), (1, 1));
    let ahead = OffsetAndMetadata::new(500);
    let behind = OffsetAndMetadata::new(50);
    other
        .commit(&[(others[0].clone(), ahead)])
        .await
        .expect("its own");
    let both = [
        (ones[0].clone(), behind.clone()),
        (others[0].clone(), behind.clone()),
    ];
    let error = one.commit(&both).await.expect_err("not its own any more");
    assert_eq!(error.kind(), ErrorKind::Rebalance, "{error}");
    assert_eq!(error.partition(), Some(&others[0]));
    assert_eq!(
        broker.committed_offset("g", "t", others[0].partition),
        Some(500),
        "nothing moved back"
    );
    one.commit(&both[..1]).await.expect("its own");
}

#[tokio::test(start_paused = true)]
async fn the_first_poll_after_a_long_silence_joins_again() {
    let broker = one_broker(1);
    let mut consumer = member(&broker, |config| config.max_poll_interval = ms(8_000)).await;
    tokio::time::sleep(ms(20_000)).await;
    assigned(&mut consumer, 1).await;
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_commits_under_way_of_partitions_assigned_by_hand() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..100, 10);
    let mut consumer = consumer(&broker, |config| config.group_id = Some("g".to_string())).await;
    consumer
        .assign(&[(tp(0), StartOffset::Earliest)])
        .await
        .expect("assigned");
    assert_eq!(read(&mut consumer, 100).await.len(), 100);
    let pending = consumer.commit_positions().expect("room for a commit");
    consumer.close().await.expect("closes");
    pending.await.expect("was sent before closing");
    assert_eq!(broker.committed_offset("g", "t", 0), Some(100));
}

#[tokio::test(start_paused = true)]
async fn a_commit_handed_in_before_the_poll_that_revokes_is_made() {
    let broker = one_broker(2);
    for partition in 0..2 {
        fill(&broker, partition, 0..10_000, 100);
    }
    let mut one = member(&broker, |config| config.max_poll_records = 5).await;
    let mut other = None;
    for round in 0..200 {
        let before = one.assignment().len();
        let pending = (before > 0).then(|| one.commit_positions().expect("room for a commit"));
        one.poll(ms(100)).await.expect("a poll");
        if let Some(pending) = pending {
            pending.await.unwrap_or_else(|error| {
                panic!("round {round}, {before} partitions before the poll: {error}")
            });
        }
        if before == 2 && other.is_none() {
            let mut second = member(&broker, |_| {}).await;
            other = Some(tokio::spawn(async move {
                loop {
                    second.poll(ms(50)).await.expect("a poll");
                }
            }));
        }
        tokio::time::sleep(ms(50)).await;
    }
    other.expect("a second member").abort();
    assert_eq!(one.assignment().len(), 1, "it was revoked in between");
}

/// Notes what it is told and does nothing.
#[derive(Clone, Default)]
struct Quiet(Told);

impl RebalanceListener for Quiet {
    async fn on_revoked(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.0.note("revoked", partitions)
    }

    async fn on_lost(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.0.note("lost", partitions)
    }
}

#[tokio::test(start_paused = true)]
async fn closing_tells_the_listener_and_leaves_though_no_commit_is_answered() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 10);
    let silent = FaultAction::Delay(ms(300_000));
    broker.inject(Fault::on(ApiKey::OFFSET_COMMIT, silent).always());
    let told = Quiet::default();
    let mut one = consumer(&broker, |config| {
        config.group_id = Some("g".to_string());
        config.enable_auto_commit = true;
        config.auto_commit_interval = ms(1_000_000);
        config.session_timeout = ms(300_000);
    })
    .await;
    one.subscribe_with(&["t"], told.clone())
        .await
        .expect("a topic");
    assert_eq!(read(&mut one, 10).await.len(), 10);
    let started = tokio::time::Instant::now();
    let error = one.close().await.expect_err("no answer to the commit");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(started.elapsed() <= ms(30_000));
    assert_eq!(told.0.all(), [("revoked", vec![0])]);
    let mut other = member(&broker, |_| {}).await;
    assigned(&mut other, 1).await;
}

#[tokio::test(start_paused = true)]
async fn closing_after_the_partitions_were_lost_says_that_they_were() {
    let broker = one_broker(1);
    let told = Quiet::default();
    let mut one = consumer(&broker, |config| {
        config.group_id = Some("g".to_string());
        config.max_poll_interval = ms(8_000);
    })
    .await;
    one.subscribe_with(&["t"], told.clone())
        .await
        .expect("a topic");
    assigned(&mut one, 1).await;
    tokio::time::sleep(ms(20_000)).await;
    one.close().await.expect("closes");
    assert_eq!(told.0.all(), [("lost", vec![0])]);
}

#[tokio::test(start_paused = true)]
async fn an_unsubscribe_that_is_dropped_leaves_a_member_that_reads_or_none() {
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 10);
    let slow = FaultAction::Delay(ms(2_000));
    broker.inject(Fault::on(ApiKey::OFFSET_COMMIT, slow));
    let mut consumer = member(&broker, |_| {}).await;
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
    let pending = consumer.commit_positions().expect("room for a commit");
    tokio::time::timeout(ms(500), consumer.unsubscribe())
        .await
        .expect_err("waits for the commit");
    pending.await.expect("is answered in the end");
    fill(&broker, 0, 10..20, 10);
    assert_eq!(read(&mut consumer, 10).await.len(), 10, "still reads");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_poll_keeps_the_place_in_the_group_however_short_the_interval() {
    let broker = cluster(1, |builder| builder.initial_rebalance_delay(ms(1_500)));
    broker.create_topic("t", 1).expect("a new topic");
    let told = Told::default();
    let mut consumer = consumer(&broker, |config| {
        config.group_id = Some("g".to_string());
        config.max_poll_interval = ms(300);
    })
    .await;
    consumer
        .subscribe_with(&["t"], told.clone())
        .await
        .expect("a topic");
    for _ in 0..4 {
        consumer.poll(ms(5_000)).await.expect("a poll");
    }
    assert_eq!(told.all(), [("assigned", vec![0])]);
}

#[tokio::test(start_paused = true)]
async fn the_lag_of_an_idle_partition_outlives_a_rebalance() {
    let broker = one_broker(2);
    for partition in 0..2 {
        fill(&broker, partition, 0..10, 10);
    }
    let mut one = member(&broker, |_| {}).await;
    assert_eq!(read(&mut one, 20).await.len(), 20);
    one.commit_sync().await.expect("commits");
    let mut other = member(&broker, |_| {}).await;
    poll_both(&mut one, &mut other, 300).await;
    for consumer in [&one, &other] {
        let own = consumer.assignment().remove(0);
        assert_eq!(consumer.lag(&own), Some(0), "{own}");
    }
}

/// Java KAFKA-3888 and others: what takes longer than the session must not cost the place in the group while heartbeats go on.
#[tokio::test(start_paused = true)]
async fn a_handler_may_take_its_time_while_another_member_joins() {
    for handler_ms in [0, 3_000, 7_000, 9_900, 10_000, 12_000, 25_000, 60_000] {
        let broker = one_broker(2);
        fill(&broker, 0, 0..10, 10);
        fill(&broker, 1, 0..10, 10);
        let mut one = member(&broker, |_| {}).await;
        let mut read = 0;
        while read < 20 {
            read += one.poll(ms(100)).await.expect("a poll").count();
        }
        let mut other = member(&broker, |_| {}).await;
        let joins = tokio::spawn(async move {
            let mut repeated = 0;
            while other.assignment().is_empty() {
                repeated += other.poll(ms(50)).await.expect("a poll").count();
            }
            repeated += other.poll(ms(2_000)).await.expect("a poll").count();
            (other, repeated)
        });
        tokio::time::sleep(ms(handler_ms)).await;
        one.commit_sync()
            .await
            .unwrap_or_else(|error| panic!("a handler of {handler_ms} ms: {error}"));
        while one.assignment().len() != 1 {
            one.poll(ms(50)).await.expect("a poll");
        }
        let more = one.poll(ms(2_000)).await.expect("a poll").count();
        let (_other, repeated) = joins.await.expect("no panic");
        assert_eq!((more, repeated), (0, 0), "a handler of {handler_ms} ms");
    }
}

/// Lets go slowly, and commits at the end.
struct Slow(std::time::Duration, Told);

impl RebalanceListener for Slow {
    async fn on_revoked(&self, consumer: &ConsumerHandle, partitions: &[TopicPartition]) {
        tokio::time::sleep(self.0).await;
        let committed = consumer.commit_sync().await;
        self.1.note(
            if committed.is_ok() {
                "committed"
            } else {
                "refused"
            },
            partitions,
        );
    }

    async fn on_lost(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.1.note("lost", partitions)
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_may_take_its_time_while_another_member_joins() {
    for hook_ms in [0, 3_000, 7_000, 9_900, 12_000, 25_000, 60_000] {
        let broker = one_broker(2);
        fill(&broker, 0, 0..10, 10);
        fill(&broker, 1, 0..10, 10);
        let told = Told::default();
        let mut one = consumer(&broker, |config| config.group_id = Some("g".to_string())).await;
        one.subscribe_with(&["t"], Slow(ms(hook_ms), told.clone()))
            .await
            .expect("a topic");
        let mut read = 0;
        while read < 20 {
            read += one.poll(ms(100)).await.expect("a poll").count();
        }
        let mut other = member(&broker, |_| {}).await;
        let joins = tokio::spawn(async move {
            let mut repeated = 0;
            while other.assignment().is_empty() {
                repeated += other.poll(ms(50)).await.expect("a poll").count();
            }
            repeated + other.poll(ms(2_000)).await.expect("a poll").count()
        });
        while one.assignment().len() != 1 {
            one.poll(ms(50)).await.expect("a poll");
        }
        let repeated = joins.await.expect("no panic");
        assert_eq!(repeated, 0, "a hook of {hook_ms} ms");
        assert_eq!(told.all(), [("committed", vec![0, 1])], "{hook_ms} ms");
    }
}

/// Asks what is committed.
struct Asks;

impl RebalanceListener for Asks {
    async fn on_assigned(&self, consumer: &ConsumerHandle, partitions: &[TopicPartition]) {
        let committed = consumer.committed(partitions).await.expect("an answer");
        assert_eq!(
            committed.len(),
            1,
            "of one partition something is committed"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_assignment_asks_for_committed_offsets_once_also_when_its_listener_does() {
    let broker = one_broker(2);
    fill(&broker, 0, 0..10, 10);
    fill(&broker, 1, 0..10, 10);
    let mut first = member(&broker, |_| {}).await;
    assert_eq!(read(&mut first, 20).await.len(), 20);
    let offset = OffsetAndMetadata::new(4);
    let commit = first.commit_async([(tp(0), offset)]).expect("room");
    commit.await.expect("committed");
    first.close().await.expect("closed");
    let wire = Wire::new(&broker);
    let mut config = config(&broker);
    config.group_id = Some("g".to_string());
    config.client.transport = Arc::new(wire.clone());
    let mut second = Consumer::connect(config).await.expect("a consumer");
    second.subscribe_with(&["t"], Asks).await.expect("a topic");
    let mut all = read(&mut second, 16).await;
    all.sort_unstable();
    let mut expected: Vec<u32> = (4..10).chain(0..10).collect();
    expected.sort_unstable();
    assert_eq!(all, expected);
    assert_eq!(wire.requests(ApiKey::OFFSET_FETCH), 1);
}

/// Commits what is given up.
struct CommitsRevoked;

impl RebalanceListener for CommitsRevoked {
    async fn on_revoked(&self, consumer: &ConsumerHandle, _: &[TopicPartition]) {
        consumer.commit_sync().await.expect("in time");
    }
}

/// Who had joined a rebalance could not commit, and said so: what it had read of partitions that stayed its own was read again by others.
#[tokio::test(start_paused = true)]
async fn closing_in_the_middle_of_a_rebalance_waits_for_the_generation_in_which_it_can_commit() {
    for by_listener in [false, true] {
        let broker = one_broker(2);
        for partition in 0..2 {
            fill(&broker, partition, 0..100, 100);
        }
        let cooperative = |config: &mut ConsumerConfig| {
            config.partition_assignment_strategy = AssignmentStrategy::CooperativeSticky.into();
            config.enable_auto_commit = !by_listener;
            config.auto_commit_interval = ms(600_000);
        };
        let mut one = member(&broker, cooperative).await;
        if by_listener {
            let told = one.subscribe_with(&["t"], CommitsRevoked);
            told.await.expect("the same subscription");
        }
        let mut read = 0;
        while read < 200 {
            read += one.poll(ms(100)).await.expect("a poll").count();
        }
        broker.inject(Fault::on(ApiKey::JOIN_GROUP, FaultAction::Delay(ms(5_000))).always());
        let joining = tokio::spawn({
            let other = member(&broker, cooperative).await;
            async move {
                let mut other = other;
                other.poll(ms(60_000)).await.map(|records| records.count())
            }
        });
        // The other has got its id after five seconds; this one has joined again by itself then, and its answer is on its way.
        tokio::time::sleep(ms(9_000)).await;
        let error = one.handle().commit_sync().await.expect_err("it has joined");
        assert_eq!(error.kind(), ErrorKind::Rebalance);
        broker.clear_faults();
        one.close().await.expect("committed, and left");
        joining.abort();
        let admin = consumer(&broker, |config| config.group_id = Some("g".to_string())).await;
        let partitions = [tp(0), tp(1)];
        let committed = admin.committed(&partitions).await.expect("offsets");
        let all = |it| {
            committed
                .get(it)
                .is_some_and(|committed| committed.offset == 100)
        };
        assert!(partitions.iter().all(all), "{committed:?}");
    }
}
