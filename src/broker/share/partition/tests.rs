use proptest::prelude::*;

use super::*;

const LOCK: Duration = Duration::from_secs(30);
const ACCEPT: &[i8] = &[1];
const BACK: &[i8] = &[RELEASE];
const AGAIN: &[i8] = &[RENEW];

fn limits(records: usize, strictly: bool) -> Limits {
    Limits {
        records,
        strictly,
        locks: 100,
        lock_for: LOCK,
    }
}

fn acquired(first: i64, last: i64, delivery_count: i16) -> Acquired {
    Acquired {
        first,
        last,
        delivery_count,
    }
}

fn run(first: i64, last: i64, types: &[i8]) -> Acknowledged<'_> {
    Acknowledged { first, last, types }
}

/// A view of a log of three batches of five, and what `a` gets of it.
fn view(most: Limits, now: Instant) -> (SharePartition, Vec<Acquired>) {
    let mut view = SharePartition::new(0, 0);
    view.led((0, 15, 0), 5);
    let acquired = view.acquire("a", &[(0, 4), (5, 9), (10, 14)], most, now);
    (view, acquired)
}

#[test]
fn whole_batches_are_acquired_and_under_a_limit_no_record_more() {
    let now = Instant::now();
    let (view, got) = view(limits(6, false), now);
    assert_eq!(got, [acquired(0, 4, 1), acquired(5, 9, 1)]);
    assert_eq!((view.start(), view.next(100)), (0, Found::At(10)));
    let (mut view, got) = self::view(limits(6, true), now);
    assert_eq!(got, [acquired(0, 4, 1), acquired(5, 5, 1)]);
    let rest = view.acquire("b", &[(5, 9)], limits(9, true), now);
    assert_eq!(
        rest,
        [acquired(6, 9, 1)],
        "the rest of the batch is another's"
    );
}

#[test]
fn no_more_is_in_flight_than_may_be() {
    let now = Instant::now();
    let few = Limits {
        locks: 7,
        ..limits(100, false)
    };
    let (mut view, got) = view(few, now);
    assert_eq!(got, [acquired(0, 4, 1), acquired(5, 6, 1)]);
    assert_eq!(view.next(7), Found::Full);
    view.acknowledge("a", &[run(1, 6, ACCEPT)], 5, now)
        .expect("held");
    assert_eq!(view.next(7), Found::Full, "the first is not done with");
    view.acknowledge("a", &[run(0, 0, ACCEPT)], 5, now)
        .expect("held");
    assert_eq!((view.start(), view.next(7)), (7, Found::At(7)));
}

#[test]
fn each_way_to_acknowledge_does_what_it_says() {
    let now = Instant::now();
    let (mut view, _) = view(limits(10, false), now);
    let each = [1, RELEASE, 3, 0, RENEW];
    let until = now + LOCK * 2;
    view.acknowledge("a", &[run(0, 4, &each)], 5, until)
        .expect("held");
    let got = view.acquire("b", &[(0, 4)], limits(9, false), now);
    assert_eq!(got, [acquired(1, 1, 2)]);
    assert!(view.expire(now + LOCK, 5));
    let got = view.acquire("b", &[(0, 4), (5, 9)], limits(20, false), now + LOCK);
    assert_eq!(got, [acquired(1, 1, 3), acquired(5, 9, 2)], "4 was renewed");
    assert_eq!(view.next_deadline(), Some(until));
}

#[test]
fn what_is_not_held_is_refused_and_nothing_of_it_is_applied() {
    let now = Instant::now();
    let (mut view, _) = view(limits(5, false), now);
    let refused = Err(ErrorCode::INVALID_RECORD_STATE);
    for (member, run) in [
        ("b", run(0, 0, ACCEPT)),
        ("a", run(3, 7, ACCEPT)),
        ("a", run(9, 9, ACCEPT)),
        ("a", run(0, i64::MAX, ACCEPT)),
    ] {
        assert_eq!(view.acknowledge(member, &[run], 5, now), refused, "{run:?}");
    }
    let both = [run(0, 1, ACCEPT), run(4, 5, ACCEPT)];
    assert_eq!(view.acknowledge("a", &both, 5, now), refused);
    for wrong in [
        &[run(1, 0, ACCEPT)][..],
        &[run(0, 1, &[1, 1, 1])],
        &[run(0, 1, &[])],
        &[run(0, 1, &[5])],
        &[run(2, 3, ACCEPT), run(3, 4, ACCEPT)],
    ] {
        let answer = view.acknowledge("a", wrong, 5, now);
        assert_eq!(answer, Err(ErrorCode::INVALID_REQUEST), "{wrong:?}");
    }
    assert_eq!(view.start(), 0);
    view.acknowledge("a", &[run(0, 4, ACCEPT)], 5, now)
        .expect("held");
    view.acknowledge("a", &[run(0, 4, ACCEPT)], 5, now)
        .expect("done with, and nobody minds");
}

#[test]
fn a_record_is_delivered_as_often_as_it_may_be() {
    let now = Instant::now();
    let mut view = SharePartition::new(0, 0);
    view.led((0, 1, 0), 5);
    for count in 1..=3 {
        let got = view.acquire("a", &[(0, 0)], limits(9, false), now);
        assert_eq!(got, [acquired(0, 0, count)]);
        match count {
            1 => view
                .acknowledge("a", &[run(0, 0, BACK)], 3, now)
                .expect("held"),
            2 => view.release("a", 3),
            _ => assert!(view.expire(now + LOCK, 3)),
        }
    }
    assert_eq!(view.acquire("a", &[(0, 0)], limits(9, false), now), []);
    assert_eq!(view.start(), 1);
}

#[test]
fn a_new_leader_knows_no_locks_and_a_log_that_moves_takes_records_along() {
    let now = Instant::now();
    let (mut view, _) = view(limits(10, false), now);
    view.led((3, 15, 1), 5);
    assert_eq!((view.start(), view.next(100)), (3, Found::At(3)));
    let held = view.acknowledge("a", &[run(3, 4, AGAIN)], 5, now);
    assert_eq!(held, Err(ErrorCode::INVALID_RECORD_STATE));
    let got = view.acquire("b", &[(0, 4)], limits(9, false), now);
    assert_eq!(got, [acquired(3, 4, 2)]);
    view.led((3, 5, 2), 5);
    assert_eq!(view.next(100), Found::At(3));
    view.acquire("b", &[(3, 4)], limits(9, false), now);
    assert_eq!(view.next(100), Found::At(5), "it was cut off there");
}

#[test]
fn a_look_at_the_log_that_came_late_takes_nothing_away() {
    let now = Instant::now();
    let mut view = SharePartition::new(0, 2);
    view.led((0, 10, 2), 5);
    let got = view.acquire("a", &[(0, 9)], limits(10, false), now);
    assert_eq!(got, [acquired(0, 9, 1)]);
    for late in [(0, 5, 2), (0, 20, 1)] {
        view.led(late, 5);
        assert_eq!(view.acquire("b", &[(0, 9)], limits(10, false), now), []);
        assert_eq!(view.next(100), Found::At(10));
    }
    let accepted = view.acknowledge("a", &[run(0, 9, &[1])], 5, now);
    assert_eq!(accepted, Ok(()));
    view.led((0, 5, 2), 5);
    assert_eq!(view.acquire("b", &[(0, 9)], limits(10, false), now), []);
}

#[derive(Clone, Debug)]
enum Step {
    Acquire(u8, usize, bool),
    Acknowledge(u8, i64, i64, i8),
    Release(u8),
    Wait(u64),
    Lead,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3u8, 1..8usize, any::<bool>()).prop_map(|(member, most, strictly)| Step::Acquire(member, most, strictly)),
        4 => (0..3u8, 0..30i64, 0..4i64, 0..=4i8).prop_map(|(member, at, len, kind)| Step::Acknowledge(member, at, at + len, kind)),
        1 => (0..3u8).prop_map(Step::Release),
        1 => (1..40u64).prop_map(Step::Wait),
        1 => Just(Step::Lead),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// Against a plain list of who holds what: nobody gets what another holds, no record more often than allowed, none that is done with.
    #[test]
    fn a_record_is_one_members_at_a_time_and_delivered_no_more_often_than_allowed(steps in steps()) {
        let batches: Vec<(i64, i64)> = (0..6).map(|it| (it * 5, it * 5 + 4)).collect();
        let (limit, mut now, mut epoch) = (3, Instant::now(), 0);
        let mut view = SharePartition::new(0, 0);
        let mut holders: BTreeMap<i64, u8> = BTreeMap::new();
        let (mut delivered, mut done) = (BTreeMap::<i64, i16>::new(), std::collections::BTreeSet::new());
        for step in steps {
            match step {
                Step::Acquire(member, most, strictly) => {
                    view.led((0, 30, epoch), limit);
                    let before = view.start();
                    let most = Limits { locks: 12, ..limits(most, strictly) };
                    let got = view.acquire(&member.to_string(), &batches, most, now);
                    for run in &got {
                        for offset in run.first..=run.last {
                            prop_assert!(!holders.contains_key(&offset), "{} is held", offset);
                            prop_assert!(!done.contains(&offset), "{} is done with", offset);
                            let count = delivered.entry(offset).or_default();
                            *count += 1;
                            prop_assert_eq!(*count, run.delivery_count);
                            prop_assert!(*count <= limit);
                            prop_assert!(offset - before < 12);
                            holders.insert(offset, member);
                        }
                    }
                    let all: i64 = got.iter().map(|run| run.last - run.first + 1).sum();
                    prop_assert!(!strictly || all <= most.records as i64);
                }
                Step::Acknowledge(member, first, last, kind) => {
                    let start = view.start();
                    let of = |offset: &i64| *offset < start || holders.get(offset) == Some(&member);
                    let holds = (first..=last).all(|offset| of(&offset));
                    let until = now + LOCK;
                    let taken = view.acknowledge(&member.to_string(), &[run(first, last, &[kind])], limit, until);
                    prop_assert_eq!(taken.is_ok(), holds);
                    if taken.is_ok() && kind != RENEW {
                        for offset in first.max(start)..=last {
                            holders.remove(&offset);
                            if kind != RELEASE {
                                done.insert(offset);
                            }
                        }
                    }
                }
                Step::Release(member) => {
                    view.release(&member.to_string(), limit);
                    holders.retain(|_, holder| *holder != member);
                }
                Step::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    view.expire(now, limit);
                    let held = |offset: &i64| view.records.get(offset).is_some_and(|it| it.holder.is_some());
                    holders.retain(|offset, _| held(offset));
                }
                Step::Lead => {
                    epoch += 1;
                    view.led((0, 30, epoch), limit);
                    holders.clear();
                }
            }
        }
    }
}
