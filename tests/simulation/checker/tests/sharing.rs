//! Histories of a share group.

use super::*;
use crate::history::Decision;

const ONE: u32 = crate::sharing::FIRST_SHARING;
const OTHER: u32 = ONE + 100;
const QUEUE: u32 = crate::sharing::FIRST_QUEUE;

fn guaranteed(is_held_alone: bool) -> Guarantees {
    Guarantees {
        sharing: Some(SharingGuarantees {
            is_held_alone,
            lock_ms: 1_000,
            delivery_limit: 5,
        }),
        ..NOTHING
    }
}

/// What happens to the record at offset 0.
fn acquired(reader: u32, count: u32) -> Event {
    Event::Acquired {
        reader,
        partition: 0,
        offset: 0,
        id: id(0),
        count,
    }
}

fn decides(reader: u32, count: u32, how: Decision) -> Event {
    Event::Decides {
        reader,
        partition: 0,
        offset: 0,
        id: id(0),
        count,
        how,
    }
}

fn settled(reader: u32, count: u32, how: Decision, done: bool) -> Event {
    Event::Settled {
        reader,
        partition: 0,
        offset: 0,
        id: id(0),
        count,
        how,
        done,
    }
}

/// What is found in a history with the record 0 in the log, whose events happen at these times.
fn found(events: &[(u64, Event)], is_held_alone: bool) -> Vec<Violation> {
    let written = written(0, 0).map(|event| (0, event));
    let (times, events) = written.into_iter().chain(events.iter().copied()).unzip();
    let history = History {
        events,
        times,
        log: vec![(0, 0, 0, id(0))],
        ..History::default()
    };
    check(&history, guaranteed(is_held_alone), &[])
}

#[test]
fn what_members_of_a_share_group_may_do_passes() {
    use Decision::*;
    let stops = |reader| Event::Stops { reader };
    let clean: [&[(u64, Event)]; 9] = [
        &[(0, acquired(ONE, 1)), (9, decides(ONE, 1, Accept))],
        // Released, and given to another.
        &[
            (0, acquired(ONE, 1)),
            (9, decides(ONE, 1, Release)),
            (10, acquired(OTHER, 2)),
            (11, decides(OTHER, 2, Reject)),
        ],
        // Its lock timed out.
        &[
            (0, acquired(ONE, 1)),
            (1_001, acquired(OTHER, 2)),
            (1_100, decides(OTHER, 2, Accept)),
            (1_200, settled(OTHER, 2, Accept, true)),
        ],
        // It died with it.
        &[
            (0, acquired(ONE, 1)),
            (5, stops(ONE)),
            (6, acquired(OTHER, 2)),
            (7, decides(OTHER, 2, Accept)),
        ],
        // Decided too late, when the other is done with it, and nobody minds.
        &[
            (0, acquired(ONE, 1)),
            (1_001, acquired(OTHER, 2)),
            (1_002, decides(OTHER, 2, Accept)),
            (1_003, decides(ONE, 1, Accept)),
            (1_004, settled(OTHER, 2, Accept, true)),
            (1_005, settled(ONE, 1, Accept, true)),
        ],
        // Decided too late.
        &[
            (0, acquired(ONE, 1)),
            (900, decides(ONE, 1, Accept)),
            (901, settled(ONE, 1, Accept, false)),
            (902, acquired(OTHER, 2)),
            (903, decides(OTHER, 2, Accept)),
        ],
        // Delivered as often as it may be.
        &[(0, acquired(ONE, 5)), (1, decides(ONE, 5, Release))],
        // A queue is at work for long, and lets go of it.
        &[
            (0, acquired(QUEUE, 1)),
            (9_000, decides(QUEUE, 1, Release)),
            (9_001, acquired(QUEUE + 1, 2)),
            (9_002, decides(QUEUE + 1, 2, Accept)),
        ],
        &[
            (0, acquired(QUEUE, 1)),
            (
                9,
                Event::QueueDead {
                    partition: 0,
                    offset: 0,
                    id: id(0),
                },
            ),
        ],
    ];
    for events in clean {
        assert_eq!(found(events, true), [], "{events:?}");
    }
}

#[test]
fn each_violation_of_a_share_group_is_found() {
    use Decision::*;
    let (partition, offset) = (0, 0);
    let done = |reader, count| {
        [
            (1, decides(reader, count, Accept)),
            (2, settled(reader, count, Accept, true)),
        ]
    };
    let then = |events: &[(u64, Event)], more: &[(u64, Event)]| [events, more].concat();
    let cases: Vec<(Vec<(u64, Event)>, Violation)> = vec![
        (
            then(
                &[(0, acquired(ONE, 1)), (0, acquired(OTHER, 1))],
                &done(ONE, 1),
            ),
            Violation::DeliveredTwice {
                reader: OTHER,
                partition,
                offset,
                count: 1,
            },
        ),
        (
            then(
                &then(&[(0, acquired(ONE, 1))], &done(ONE, 1)),
                &[(3, acquired(OTHER, 2))],
            ),
            Violation::CameAgain { partition, offset },
        ),
        (vec![], Violation::NeverDone { partition, offset }),
        (
            vec![(0, acquired(ONE, 1)), (1, decides(ONE, 1, Release))],
            Violation::NeverDone { partition, offset },
        ),
        (
            vec![(0, acquired(ONE, 4)), (1, decides(ONE, 4, Renew))],
            Violation::NeverDone { partition, offset },
        ),
    ];
    for (events, violation) in cases {
        for is_held_alone in [false, true] {
            let found = found(&events, is_held_alone);
            assert!(found.contains(&violation), "{events:?}: {found:?}");
        }
    }
}

/// These are none where connections end, or members are at work for longer than locks last.
#[test]
fn each_violation_where_locks_hold_is_found() {
    use Decision::*;
    let (partition, offset) = (0, 0);
    let held = |reader| Violation::HeldTwice {
        reader,
        partition,
        offset,
    };
    let cases: Vec<(Vec<(u64, Event)>, Violation)> = vec![
        (
            vec![
                (0, acquired(ONE, 1)),
                (400, acquired(OTHER, 2)),
                (401, decides(OTHER, 2, Accept)),
            ],
            held(OTHER),
        ),
        // Locked anew.
        (
            vec![
                (0, acquired(ONE, 1)),
                (400, decides(ONE, 1, Renew)),
                (401, settled(ONE, 1, Renew, true)),
                (800, acquired(OTHER, 2)),
                (801, decides(OTHER, 2, Accept)),
            ],
            held(OTHER),
        ),
        // A queue locks what it is at work on for as long as that takes.
        (
            vec![
                (0, acquired(QUEUE, 1)),
                (9_000, acquired(ONE, 2)),
                (9_001, decides(ONE, 2, Accept)),
            ],
            held(ONE),
        ),
        (
            vec![
                (0, acquired(ONE, 1)),
                (9, decides(ONE, 1, Accept)),
                (10, acquired(OTHER, 2)),
                (11, decides(OTHER, 2, Accept)),
            ],
            Violation::CameAgain { partition, offset },
        ),
        (
            vec![
                (0, acquired(ONE, 2)),
                (1, decides(ONE, 2, Release)),
                (2, acquired(OTHER, 1)),
                (3, decides(OTHER, 1, Accept)),
            ],
            Violation::CountFell {
                reader: OTHER,
                partition,
                offset,
                count: 1,
            },
        ),
        (
            vec![
                (0, acquired(ONE, 1)),
                (9, decides(ONE, 1, Accept)),
                (10, settled(ONE, 1, Accept, false)),
            ],
            Violation::DecisionRefused {
                reader: ONE,
                partition,
                offset,
            },
        ),
    ];
    for (events, violation) in cases {
        let found_alone = found(&events, true);
        assert!(
            found_alone.contains(&violation),
            "{events:?}: {found_alone:?}"
        );
        assert!(!found(&events, false).contains(&violation), "{events:?}");
    }
}
