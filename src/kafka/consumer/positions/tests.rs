//! What holds for positions, whatever happens in between.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use protocol::Uuid;
use tokio::time::Instant;

use super::offset_reset::{
    EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, OffsetReset, ResetCause, StartOffset,
};
use super::partition::{Leader, LeaderStatus};
use super::*;
use crate::kafka::consumer::IsolationLevel;
use crate::kafka::{Error, ErrorKind, TopicId, TopicPartition};

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn at(offset: i64) -> Position {
    Position {
        offset,
        leader_epoch: None,
    }
}

const LEADER: Leader = Leader {
    node: Some(1),
    epoch: 3,
    topic_id: Uuid::ZERO,
};

const WATERMARKS: Watermarks = Watermarks {
    log_start: 0,
    high_watermark: 1_000,
    last_stable: 1_000,
};

/// A broker that moves a partition again and again is asked at once the first time, and every 100 ms then.
fn pace(positions: &mut Positions, act: impl FnOnce(&mut Positions, &Pace<'_>)) {
    let error = Error::new(ErrorKind::OffsetOutOfRange, "moved");
    let pace = Pace {
        now: Instant::now(),
        pause: &|_| Duration::from_millis(100),
        error: &error,
    };
    act(positions, &pace);
}

fn reset(positions: &mut Positions, version: u64) {
    pace(positions, |positions, pace| {
        positions.reset(&tp(0), version, EARLIEST_TIMESTAMP, pace)
    });
}

fn diverged(positions: &mut Positions, want: &Wanted, end: Position) -> Option<Diverged> {
    let mut result = None;
    pace(positions, |positions, pace| {
        result = positions.diverged(want, end, pace)
    });
    result
}

/// Positions of `count` partitions led by node 1, each at offset 0.
fn led(count: i32) -> Positions {
    let mut positions = Positions::default();
    for partition in 0..count {
        positions.start(tp(partition), StartOffset::Offset(0));
    }
    positions.update_leaders(|_| Some(LEADER));
    positions
}

fn wanted(positions: &Positions) -> Vec<Wanted> {
    match positions.plan(1, Instant::now()) {
        Plan::Fetch { wanted, .. } => wanted,
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn an_answer_from_before_a_seek_is_dropped() {
    let mut positions = led(1);
    let asked = wanted(&positions);
    assert!(positions.seek(&tp(0), at(500)));
    assert!(!positions.fetched(&asked[0], Some(at(10)), WATERMARKS, Instant::now()));
    assert_eq!(positions.position(&tp(0)), Some(at(500)));
    assert_eq!(wanted(&positions)[0].offset, 500);
}

/// franz-go 1.20.3: delivered records were fetched again after a replica was checked again.
#[tokio::test]
async fn the_position_only_moves_forward_except_by_seek_or_reset() {
    let mut positions = led(1);
    let asked = wanted(&positions);
    assert!(positions.fetched(&asked[0], Some(at(10)), WATERMARKS, Instant::now()));
    assert!(positions.advance(&tp(0), asked[0].version, at(10)));
    positions.buffered_read(&tp(0), asked[0].version);
    let until = Instant::now() + Duration::from_secs(60);
    positions.prefer(&tp(0), asked[0].version, Some((2, until)));
    positions.update_leaders(|_| Some(Leader { epoch: 9, ..LEADER }));
    assert!(
        !positions.fetched(&asked[0], Some(at(10)), WATERMARKS, Instant::now()),
        "the same answer again"
    );
    assert!(!positions.advance(&tp(0), asked[0].version, at(4)));
    positions.prefer(&tp(0), asked[0].version, None);
    assert_eq!(wanted(&positions)[0].offset, 10);
}

/// franz-go 1.21.4: a reset was applied twice.
#[tokio::test]
async fn a_reset_is_applied_once() {
    let mut positions = led(1);
    let version = wanted(&positions)[0].version;
    reset(&mut positions, version);
    reset(&mut positions, version);
    let questions = positions.questions(Instant::now());
    let listing = &questions.listed[&1][0];
    assert!(
        positions.questions(Instant::now()).listed.is_empty(),
        "asked twice"
    );
    positions.listed(&tp(0), listing.version, at(70));
    assert!(positions.advance(&tp(0), wanted(&positions)[0].version, at(90)));
    positions.listed(&tp(0), listing.version, at(70));
    assert_eq!(positions.position(&tp(0)), Some(at(90)));
}

/// Java KAFKA-16198: metadata that did not know a partition yet dropped it.
#[tokio::test]
async fn metadata_that_lacks_a_partition_takes_nothing_away() {
    let mut positions = Positions::default();
    positions.start(tp(0), StartOffset::Earliest);
    positions.update_leaders(|_| None);
    let questions = positions.questions(Instant::now());
    assert_eq!(questions.leaderless.len(), 1);
    assert_eq!(positions.iter().collect::<Vec<_>>(), [&tp(0)]);
    positions.update_leaders(|_| Some(LEADER));
    assert_eq!(positions.questions(Instant::now()).listed[&1].len(), 1);
    positions.update_leaders(|_| None);
    assert_eq!(positions.nodes(Instant::now()), BTreeSet::from([1]));
}

#[tokio::test]
async fn a_partition_that_has_enough_unread_holds_up_its_node_for_a_moment() {
    let mut positions = led(2);
    let start = Instant::now();
    for end in [10, 20] {
        let asked = wanted(&positions);
        assert_eq!(asked.len(), 2);
        let (busy, idle) = asked
            .iter()
            .partition::<Vec<_>, _>(|want| want.partition == tp(0));
        assert!(positions.fetched(busy[0], Some(at(end)), WATERMARKS, start));
        positions.fetched(idle[0], None, WATERMARKS, start);
    }
    let Plan::Wait(Some(until)) = positions.plan(1, start) else {
        panic!("there is enough unread");
    };
    let Plan::Fetch {
        wanted: other,
        full_for,
    } = positions.plan(1, until)
    else {
        panic!("the other one waits in vain");
    };
    assert_eq!((other.len(), &other[0].partition), (1, &tp(1)));
    assert_eq!(full_for, Some(until - start));
    let version = positions.partitions[&tp(0)].version;
    positions.buffered_read(&tp(0), version);
    assert_eq!(wanted(&positions).len(), 2);
    positions.set_paused(&tp(1), true);
    assert_eq!(wanted(&positions).len(), 1);
}

#[tokio::test]
async fn a_preferred_replica_is_fetched_from_until_its_time_is_over() {
    let mut positions = led(1);
    let (now, version) = (Instant::now(), wanted(&positions)[0].version);
    let until = now + Duration::from_secs(60);
    positions.prefer(&tp(0), version, Some((2, until)));
    assert_eq!(positions.nodes(now), BTreeSet::from([2]));
    let questions = positions.questions(now);
    assert_eq!((questions.next, questions.moved), (Some(until), false));
    assert!(
        positions.questions(until).moved,
        "somebody else is to be woken"
    );
    assert_eq!(positions.nodes(until), BTreeSet::from([1]));
    assert!(!positions.questions(until).moved, "once");
}

#[tokio::test]
async fn what_all_partitions_of_a_request_failed_of_is_told_once_and_what_cannot_pass_at_once() {
    let mut positions = led(3);
    let (now, patience, pause) = (
        Instant::now(),
        Duration::from_secs(30),
        Duration::from_secs(1),
    );
    let asked = wanted(&positions);
    let fail = |positions: &mut Positions, error: &Error, now: Instant| {
        for want in &asked {
            let version = want.version;
            positions.failed(
                &want.partition,
                version,
                now,
                now,
                |_| Duration::ZERO,
                error,
            );
        }
    };
    let refused = Error::new(ErrorKind::Authorization, "not allowed");
    fail(&mut positions, &refused, now);
    assert!(positions.next_error(now, patience, pause).is_some());
    assert!(positions.next_error(now, patience, pause).is_none());
    let gone = Error::new(ErrorKind::Disconnected, "gone");
    fail(&mut positions, &gone, now);
    assert!(positions.next_error(now, patience, pause).is_none());
    let later = now + patience;
    fail(&mut positions, &gone, later);
    assert!(positions.next_error(later, patience, pause).is_some());
    assert!(positions.next_error(later, patience, pause).is_none());
}

#[tokio::test]
async fn the_partition_that_waited_longest_comes_first() {
    let mut positions = led(3);
    let asked = wanted(&positions);
    assert!(positions.fetched(&asked[0], Some(at(10)), WATERMARKS, Instant::now()));
    let order: Vec<i32> = wanted(&positions)
        .iter()
        .map(|want| want.partition.partition)
        .collect();
    assert_eq!(order, [1, 2, 0]);
}

#[tokio::test]
async fn a_truncated_log_takes_back_what_was_fetched_ahead() {
    let mut positions = led(1);
    let asked = wanted(&positions);
    positions.fetched(&asked[0], Some(at(100)), WATERMARKS, Instant::now());
    positions.advance(&tp(0), asked[0].version, at(40));
    let ahead = wanted(&positions);
    assert_eq!(ahead[0].offset, 100);
    assert_eq!(
        diverged(&mut positions, &ahead[0], at(60)),
        Some(Diverged::Refetched)
    );
    assert_eq!(
        wanted(&positions)[0].offset,
        40,
        "nothing that was handed out is gone"
    );
    let again = wanted(&positions);
    assert_eq!(
        diverged(&mut positions, &again[0], at(30)),
        Some(Diverged::Truncated)
    );
    assert_eq!(positions.position(&tp(0)), Some(at(30)));
    let [reset] = &positions.take_resets()[..] else {
        panic!("one reset");
    };
    assert_eq!(
        (reset.cause, reset.from, reset.to, reset.passed_over),
        (ResetCause::Truncated, Some(40), 30, Some(0))
    );
}

#[tokio::test]
async fn what_fails_for_too_long_is_reported_once_in_a_while() {
    let mut positions = led(1);
    let start = Instant::now();
    let asked = wanted(&positions);
    let version = asked[0].version;
    let error = Error::new(ErrorKind::Disconnected, "gone");
    let pause = Duration::from_millis(100);
    for second in 0..70 {
        let now = start + Duration::from_secs(second);
        positions.failed(&tp(0), version, now, now, |_| pause, &error);
        let reported = positions
            .next_error(now, Duration::from_secs(30), Duration::from_secs(1))
            .is_some();
        assert_eq!(reported, second == 30 || second == 60, "second {second}");
    }
    positions.fetched(&asked[0], None, WATERMARKS, Instant::now());
    let later = start + Duration::from_secs(500);
    assert!(
        positions
            .next_error(later, Duration::from_secs(30), Duration::from_secs(1))
            .is_none()
    );
}

#[tokio::test]
async fn silence_and_the_pause_before_the_next_question_count_as_failing() {
    let patience = Duration::from_secs(30);
    let mut positions = led(1);
    let start = Instant::now();
    let version = wanted(&positions)[0].version;
    let error = Error::new(ErrorKind::Timeout, "no answer");
    let pause = Duration::from_secs(10);
    let failed = start + Duration::from_secs(25);
    positions.failed(&tp(0), version, start, failed, |_| pause, &error);
    assert!(
        positions
            .next_error(failed, patience, Duration::from_secs(1))
            .is_none()
    );
    let due = start + patience;
    assert!(
        positions
            .next_error(due, patience, Duration::from_secs(1))
            .is_some()
    );
    // Nothing has been tried since the pause.
    let later = start + Duration::from_secs(500);
    assert!(
        positions
            .next_error(later, patience, Duration::from_secs(1))
            .is_none()
    );
}

/// The leader's epochs without records leave no trace: it may not know the epoch of a record that was read.
#[tokio::test]
async fn an_epoch_that_the_leader_has_none_of_is_not_asked_for_again() {
    let mut positions = Positions::default();
    positions.start(tp(0), StartOffset::Offset(0));
    positions.update_leaders(|_| Some(LEADER));
    let read = Position {
        offset: 10,
        leader_epoch: Some(1),
    };
    positions.seek(&tp(0), read);
    let asked = wanted(&positions);
    assert_eq!((asked[0].offset, asked[0].last_epoch), (10, 1));
    let end = Position {
        offset: 10,
        leader_epoch: Some(0),
    };
    assert_eq!(
        diverged(&mut positions, &asked[0], end),
        Some(Diverged::Refetched)
    );
    let again = wanted(&positions);
    assert_eq!((again[0].offset, again[0].last_epoch), (10, -1));
}

#[tokio::test]
async fn what_failed_once_and_was_not_tried_again_is_not_failing_for_long() {
    let mut positions = led(1);
    let (start, patience) = (Instant::now(), Duration::from_secs(30));
    let version = wanted(&positions)[0].version;
    let error = Error::new(ErrorKind::Disconnected, "gone");
    positions.failed(&tp(0), version, start, start, |_| Duration::ZERO, &error);
    positions.set_paused(&tp(0), true);
    for minutes in 1..5 {
        let now = start + Duration::from_secs(60 * minutes);
        assert!(
            positions
                .next_error(now, patience, Duration::from_secs(1))
                .is_none(),
            "{minutes} min"
        );
    }
    let now = start + Duration::from_secs(300);
    positions.failed(&tp(0), version, now, now, |_| Duration::ZERO, &error);
    assert!(
        positions
            .next_error(now, patience, Duration::from_secs(1))
            .is_some()
    );
}

#[tokio::test]
async fn what_does_not_go_on_where_the_application_stands_is_fetched_again() {
    let mut positions = led(1);
    let asked = wanted(&positions);
    let version = asked[0].version;
    // By its last batch the answer ends at 50, by the records in it at 100.
    assert!(positions.fetched(&asked[0], Some(at(50)), WATERMARKS, Instant::now()));
    let ahead = wanted(&positions);
    assert!(positions.fetched(&ahead[0], Some(at(70)), WATERMARKS, Instant::now()));
    assert!(positions.advance(&tp(0), version, at(100)));
    positions.buffered_read(&tp(0), version);
    assert_eq!(positions.readable(&tp(0), version, 50), None);
    positions.useless(&tp(0), version, 50);
    assert_eq!(wanted(&positions)[0].offset, 100);
}

/// One thing that can happen to a partition.
#[derive(Clone, Debug)]
enum Event {
    Fetch,
    /// The oldest answer comes, with so many records.
    Answer(i64),
    /// The oldest answer is lost.
    Lost,
    /// A poll reads up to so many records.
    Poll(i64),
    Seek(i64),
    Pause(bool),
    OutOfRange,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => Just(Event::Fetch),
        4 => (0i64..50).prop_map(Event::Answer),
        1 => Just(Event::Lost),
        6 => (1i64..40).prop_map(Event::Poll),
        1 => (0i64..500).prop_map(Event::Seek),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => Just(Event::OutOfRange),
    ];
    prop::collection::vec(event, 1..200)
}

proptest! {
    /// librdkafka 2.0/2.1: offsets were skipped around seek, pause or rebalance.
    #[test]
    fn nothing_is_skipped_or_repeated_whatever_happens(events in events()) {
        let mut positions = led(1);
        let mut moved = 0;
        let mut on_their_way: Vec<Wanted> = Vec::new();
        // (version, next, end) of what was fetched.
        let mut queue: Vec<(u64, i64, i64)> = Vec::new();
        let (mut expected, mut paused) = (0, false);
        for event in events {
            match event {
                Event::Fetch => on_their_way.extend(wanted(&positions)),
                Event::Lost if !on_their_way.is_empty() => drop(on_their_way.remove(0)),
                Event::Answer(count) if !on_their_way.is_empty() => {
                    let want = on_their_way.remove(0);
                    let end = want.offset + count;
                    if positions.fetched(&want, Some(at(end)), WATERMARKS, Instant::now()) {
                        queue.push((want.version, want.offset, end));
                    }
                }
                Event::Poll(most) => {
                    while let Some((version, next, end)) = queue.first().copied() {
                        match positions.readable(&tp(0), version, next) {
                            None => {
                                queue.remove(0);
                            }
                            Some(false) => {
                                prop_assert!(paused);
                                break;
                            }
                            Some(true) => {
                                prop_assert!(!paused);
                                prop_assert_eq!(next, expected);
                                expected = end.min(next + most);
                                prop_assert!(positions.advance(&tp(0), version, at(expected)));
                                queue[0].1 = expected;
                                if expected == end {
                                    queue.remove(0);
                                    positions.buffered_read(&tp(0), version);
                                }
                                break;
                            }
                        }
                    }
                }
                Event::Seek(offset) => {
                    positions.seek(&tp(0), at(offset));
                    expected = offset;
                }
                Event::Pause(pause) => {
                    positions.set_paused(&tp(0), pause);
                    paused = pause;
                }
                Event::OutOfRange => {
                    let version = positions.partitions[&tp(0)].version;
                    reset(&mut positions, version);
                    // Later than any pause.
                    moved += 1;
                    let later = Instant::now() + Duration::from_secs(moved);
                    let listing = positions.questions(later).listed[&1][0].clone();
                    positions.listed(&tp(0), listing.version, at(3));
                    expected = 3;
                }
                Event::Lost | Event::Answer(_) => {}
            }
            prop_assert_eq!(positions.position(&tp(0)), Some(at(expected)));
        }
    }
}

#[tokio::test]
async fn a_broker_that_moves_a_partition_again_and_again_is_paced_and_reported() {
    let mut positions = led(1);
    let (start, patience) = (Instant::now(), Duration::from_secs(30));
    let error = Error::new(ErrorKind::OffsetOutOfRange, "moved");
    let mut now = start;
    for round in 0..300 {
        let Plan::Fetch { wanted: asked, .. } = positions.plan(1, now) else {
            panic!("round {round}: nothing to fetch");
        };
        let pace = Pace {
            now,
            pause: &|_| Duration::from_millis(200),
            error: &error,
        };
        positions.reset(&tp(0), asked[0].version, EARLIEST_TIMESTAMP, &pace);
        let questions = positions.questions(now);
        assert_eq!(
            questions.listed.is_empty(),
            round > 0,
            "only the first one moves at once"
        );
        let questions = match questions.next {
            Some(next) => {
                assert_eq!(next, now + Duration::from_millis(200));
                now = next;
                positions.questions(now)
            }
            None => questions,
        };
        positions.listed(&tp(0), questions.listed[&1][0].version, at(7));
    }
    assert!(
        positions
            .next_error(now, patience, Duration::from_secs(1))
            .is_some(),
        "for a minute"
    );
    let counts = positions.reset_counts();
    assert_eq!((counts.resets, counts.passed_over), (300, 7));
}

#[tokio::test]
async fn what_is_gone_by_the_metadata_is_neither_fetched_nor_asked_for_until_it_is_back() {
    let mut positions = led(2);
    let now = Instant::now();
    let gone = |name: &TopicPartition| match name.partition {
        1 => LeaderStatus::Gone,
        _ => LeaderStatus::Led(LEADER),
    };
    positions.update_leaders(gone);
    let asked = wanted(&positions);
    assert_eq!(asked.len(), 1);
    let questions = positions.questions(now);
    assert!(questions.listed.is_empty() && questions.committed.is_empty());
    let [(name, version)] = &questions.gone[..] else {
        panic!("one is gone");
    };
    assert_eq!(name, &tp(1));
    let error = Error::new(ErrorKind::UnknownTopicOrPartition, "gone");
    positions.failed(name, *version, now, now, |_| Duration::from_secs(5), &error);
    assert!(positions.questions(now).gone.is_empty());
    let patience = Duration::from_secs(30);
    assert!(
        positions
            .next_error(now, patience, Duration::from_secs(1))
            .is_none()
    );
    assert!(
        positions
            .next_error(now + patience, patience, Duration::from_secs(1))
            .is_some()
    );
    assert!(positions.update_leaders(|_| Some(LEADER)), "it is back");
    assert_eq!(wanted(&positions).len(), 2);
}

#[tokio::test]
async fn a_topic_that_is_recreated_moves_nothing_where_no_policy_says_so() {
    let of = |bits| {
        move |_: &TopicPartition| {
            Some(Leader {
                topic_id: Uuid::from_u128(bits),
                ..LEADER
            })
        }
    };
    for policy in [
        OffsetReset::Earliest,
        OffsetReset::Latest,
        OffsetReset::None,
    ] {
        let mut positions = Positions::new(policy, IsolationLevel::ReadUncommitted);
        positions.start(tp(0), StartOffset::Offset(7));
        positions.update_leaders(of(1));
        positions.update_leaders(of(2));
        let now = Instant::now();
        let listed = positions.questions(now).listed;
        let stopped = positions.next_error(now, Duration::from_secs(30), Duration::from_secs(1));
        if policy == OffsetReset::None {
            let error = stopped.expect("somebody must decide");
            assert_eq!(error.kind(), ErrorKind::TopicRecreated);
            assert!(listed.is_empty() && wanted(&positions).is_empty());
            assert!(
                positions
                    .next_error(now, Duration::from_secs(30), Duration::from_secs(1))
                    .is_none()
            );
            positions.seek(&tp(0), at(0));
            assert_eq!(wanted(&positions)[0].offset, 0);
        } else {
            assert!(stopped.is_none());
            let listing = &listed[&1][0];
            assert_eq!(listing.timestamp, EARLIEST_TIMESTAMP);
            positions.listed(&tp(0), listing.version, at(0));
            let reset = positions.take_resets().remove(0);
            assert_eq!(
                (reset.cause, reset.from, reset.to, reset.passed_over),
                (ResetCause::TopicRecreated, Some(7), 0, None)
            );
        }
    }
}

/// Who leads partition 0 of the topic of this id.
fn of_topic(bits: u128) -> impl Fn(&TopicPartition) -> Option<Leader> {
    move |_| {
        Some(Leader {
            topic_id: Uuid::from_u128(bits),
            ..LEADER
        })
    }
}

/// The coordinator's answer about the topic of this id: what is committed, or where the policy says to go.
fn answer_committed(positions: &mut Positions, bits: u128, found: Option<Position>) {
    let now = Instant::now();
    let asked = positions.questions(now).committed;
    let [(name, version)] = &asked[..] else {
        panic!("asked for {asked:?}");
    };
    let topic_id = TopicId::known(Uuid::from_u128(bits));
    let latest = Ok((LATEST_TIMESTAMP, ResetCause::NoCommittedOffset));
    positions.committed(name, *version, topic_id, found, latest, now);
}

/// Another member may have read the new topic already, and may have committed: its offset counts, and only without one the beginning does.
#[tokio::test]
async fn in_a_recreated_topic_a_group_goes_on_where_it_has_committed() {
    for found in [Some(at(5)), None] {
        let mut positions = Positions::new(OffsetReset::Latest, IsolationLevel::ReadUncommitted);
        positions.start(tp(0), StartOffset::Committed);
        positions.update_leaders(of_topic(1));
        answer_committed(&mut positions, 1, Some(at(7)));
        assert!(!positions.is_moving(&tp(0)));
        positions.update_leaders(of_topic(2));
        assert!(positions.is_moving(&tp(0)) && positions.position(&tp(0)).is_none());
        // Once more: what was asked meanwhile was about the one in between.
        let stale = positions.questions(Instant::now()).committed.remove(0);
        positions.update_leaders(of_topic(3));
        let latest = Ok((LATEST_TIMESTAMP, ResetCause::NoCommittedOffset));
        let of_two = TopicId::known(Uuid::from_u128(2));
        positions.committed(
            &stale.0,
            stale.1,
            of_two,
            Some(at(9)),
            latest,
            Instant::now(),
        );
        assert!(positions.is_moving(&tp(0)));
        answer_committed(&mut positions, 3, found);
        let to = match found {
            Some(found) => found,
            None => {
                let listing = positions.questions(Instant::now()).listed[&1][0].clone();
                positions.listed(&tp(0), listing.version, at(0));
                at(0)
            }
        };
        assert_eq!(positions.position(&tp(0)), Some(to));
        let reset = positions.take_resets().remove(0);
        let told = (reset.cause, reset.from, reset.to, reset.passed_over);
        assert_eq!(told, (ResetCause::TopicRecreated, Some(7), to.offset, None));
    }
}

/// Whoever gets it may be at work in the new topic already: what this member commits at last must not take back what that one has committed.
#[tokio::test]
async fn a_partition_that_goes_to_another_member_is_given_no_place_in_a_topic_that_gets_its_name() {
    let assigned = || {
        let mut positions = Positions::new(OffsetReset::Earliest, IsolationLevel::ReadUncommitted);
        positions.start(tp(0), StartOffset::Committed);
        positions.update_leaders(of_topic(1));
        positions
    };
    let is_left_alone = |mut positions: Positions| {
        let questions = positions.questions(Instant::now());
        let asked = !questions.committed.is_empty() || !questions.listed.is_empty();
        !asked && positions.all().next().is_none()
    };
    let mut read = assigned();
    answer_committed(&mut read, 1, Some(at(7)));
    read.set_leaving(&tp(0));
    assert_eq!(
        read.position(&tp(0)),
        Some(at(7)),
        "it is committed as it goes"
    );
    read.update_leaders(of_topic(2));
    assert!(is_left_alone(read));
    // Asked for already, or not even begun with.
    let mut asked = assigned();
    answer_committed(&mut asked, 1, Some(at(7)));
    asked.update_leaders(of_topic(2));
    answer_committed(&mut asked, 2, None);
    asked.set_leaving(&tp(0));
    assert!(is_left_alone(asked));
    let mut unread = assigned();
    unread.set_leaving(&tp(0));
    unread.update_leaders(of_topic(2));
    assert!(is_left_alone(unread));
    // The application has said where it is to go.
    let mut sought = assigned();
    sought.set_leaving(&tp(0));
    sought.seek_to_timestamp(&tp(0), EARLIEST_TIMESTAMP);
    assert_eq!(sought.questions(Instant::now()).listed.len(), 1);
}

/// It is asked for what is committed in the topic of now, also where no policy says where else to go.
#[tokio::test]
async fn a_topic_that_is_recreated_before_anything_was_read_is_only_asked_about() {
    for policy in [OffsetReset::Earliest, OffsetReset::None] {
        let mut positions = Positions::new(policy, IsolationLevel::ReadUncommitted);
        positions.start(tp(0), StartOffset::Committed);
        positions.update_leaders(of_topic(1));
        assert_eq!(positions.questions(Instant::now()).committed.len(), 1);
        positions.update_leaders(of_topic(2));
        answer_committed(&mut positions, 2, Some(at(5)));
        assert_eq!(positions.position(&tp(0)), Some(at(5)));
        assert!(positions.take_resets().is_empty());
    }
}

/// The group gives it to whom it wants: this member must neither read nor commit it before it is told to.
#[tokio::test]
async fn a_partition_that_is_assigned_by_topic_id_is_not_read_in_another_topic() {
    let mut positions = Positions::new(OffsetReset::Earliest, IsolationLevel::ReadUncommitted);
    positions.start(tp(0), StartOffset::Committed);
    let first = TopicId::known(Uuid::from_u128(1)).expect("an id");
    positions.bind(&tp(0), first);
    positions.update_leaders(of_topic(1));
    answer_committed(&mut positions, 1, Some(at(7)));
    assert_eq!(wanted(&positions).len(), 1);
    positions.update_leaders(of_topic(2));
    assert!(wanted(&positions).is_empty());
    let questions = positions.questions(Instant::now());
    assert!(questions.committed.is_empty() && questions.listed.is_empty());
    assert_eq!(positions.position(&tp(0)), Some(at(7)));
    assert_eq!(positions.topic_id(&tp(0)), Some(first));
    // Metadata of a broker that was behind.
    positions.update_leaders(of_topic(1));
    assert_eq!(wanted(&positions).len(), 1);
}

#[tokio::test]
async fn the_logs_end_is_known_from_one_assignment_to_the_next() {
    let mut positions = led(1);
    let asked = wanted(&positions);
    positions.fetched(&asked[0], None, WATERMARKS, Instant::now());
    positions.clear();
    positions.start(tp(0), StartOffset::Offset(0));
    positions.update_leaders(|_| Some(LEADER));
    assert_eq!(positions.watermarks(&tp(0)), Some(WATERMARKS));
}
