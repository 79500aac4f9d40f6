//! Histories with one thing wrong each: a checker that cannot fail would prove nothing.

use pat_events::kafka::GroupProtocol;

use super::*;
use crate::history::ReportedOutcome;

mod committing;
mod sharing;
mod transactions;

const NOTHING: Guarantees = Guarantees {
    idempotent: false,
    all_is_well: false,
    handled_once: false,
    delivery_ms: 1_000,
    reports_failure_within_ms: 1_000,
    moves_by_itself: true,
    owned_once: false,
    epochs_rise: false,
    producer_ids_end: false,
    protocols: Protocols::All(GroupProtocol::Classic),
    sharing: None,
};

const IDEMPOTENT: Guarantees = Guarantees {
    idempotent: true,
    ..NOTHING
};

fn id(number: u32) -> Id {
    Id {
        producer: 0,
        number,
    }
}

fn accepted(number: u32) -> Event {
    Event::Accepted {
        id: id(number),
        key: 0,
        good: true,
    }
}

fn sent(number: u32, outcome: ReportedOutcome) -> [Event; 2] {
    [
        accepted(number),
        Event::Reported {
            id: id(number),
            outcome,
        },
    ]
}

fn written(number: u32, offset: i64) -> [Event; 2] {
    sent(
        number,
        ReportedOutcome::Written {
            partition: 0,
            offset,
        },
    )
}

fn polled(offset: i64, number: u32) -> Event {
    Event::Polled {
        reader: 7,
        partition: 0,
        offset,
        id: id(number),
    }
}

fn sought(offset: i64) -> Event {
    Event::Seeked {
        reader: 7,
        partition: 0,
        offset,
    }
}

fn history(events: impl IntoIterator<Item = Event>, log: &[(i64, u32)]) -> History {
    let events: Vec<Event> = events.into_iter().collect();
    History {
        times: vec![0; events.len()],
        events,
        log: log
            .iter()
            .map(|(offset, number)| (0, 0, *offset, id(*number)))
            .collect(),
        producers: BTreeMap::new(),
    }
}

#[test]
fn a_clean_history_passes() {
    let events = [written(0, 0), written(1, 1)].concat();
    let events = events.into_iter().chain([
        polled(0, 0),
        polled(1, 1),
        sought(0),
        polled(0, 0),
        polled(1, 1),
    ]);
    assert_eq!(
        check(&history(events, &[(0, 0), (1, 1)]), IDEMPOTENT, &[vec![7]]),
        []
    );
}

#[test]
fn each_violation_is_found() {
    let log = &[(0, 0), (1, 1)][..];
    let both = || [written(0, 0), written(1, 1)].concat();
    let cases: Vec<(History, Violation)> = vec![
        (history(both(), &log[..1]), Violation::Lost(id(1))),
        (history([], &log[..1]), Violation::NeverAccepted(id(0))),
        (
            history(sent(0, ReportedOutcome::NotWritten), &log[..1]),
            Violation::WrittenAfterAll(id(0)),
        ),
        (history([accepted(0)], &[]), Violation::NeverReported(id(0))),
        (
            history(written(0, 0), &[(0, 0), (1, 0)]),
            Violation::Doubled(id(0)),
        ),
        (
            history([written(0, 1), written(1, 0)].concat(), &[(0, 1), (1, 0)]),
            Violation::Reordered {
                earlier: id(0),
                later: id(1),
            },
        ),
        (
            history(
                [written(0, 0), written(1, 1), written(2, 2)]
                    .concat()
                    .into_iter()
                    .chain([polled(0, 0), polled(2, 2)]),
                &[(0, 0), (1, 1), (2, 2)],
            ),
            Violation::Skipped {
                reader: 7,
                partition: 0,
                offset: 2,
            },
        ),
        (
            history(both().into_iter().chain([polled(1, 1), polled(0, 0)]), log),
            Violation::WentBack {
                reader: 7,
                partition: 0,
                offset: 0,
            },
        ),
        (
            history(both().into_iter().chain([polled(0, 1)]), log),
            Violation::WrongRecord {
                reader: 7,
                partition: 0,
                offset: 0,
            },
        ),
        (
            history(
                both().into_iter().chain([
                    Event::Assigned {
                        reader: 7,
                        partition: 0,
                    },
                    Event::Revoked {
                        reader: 7,
                        partition: 0,
                    },
                    polled(0, 0),
                ]),
                log,
            ),
            Violation::NotOwned {
                reader: 7,
                partition: 0,
                offset: 0,
            },
        ),
        (
            history(
                both()
                    .into_iter()
                    .chain([polled(0, 0), sought(0), polled(1, 1)]),
                log,
            ),
            Violation::Skipped {
                reader: 7,
                partition: 0,
                offset: 1,
            },
        ),
        (
            history(
                both()
                    .into_iter()
                    .chain([polled(1, 1), sought(1), polled(0, 0)]),
                log,
            ),
            Violation::WentBack {
                reader: 7,
                partition: 0,
                offset: 0,
            },
        ),
        (
            history(
                both().into_iter().chain([
                    Event::Paused {
                        reader: 7,
                        partition: 0,
                    },
                    polled(0, 0),
                    Event::Resumed {
                        reader: 7,
                        partition: 0,
                    },
                    polled(1, 1),
                ]),
                log,
            ),
            Violation::NotSilent {
                reader: 7,
                partition: 0,
                offset: 0,
            },
        ),
    ];
    for (history, expected) in cases {
        let found = check(&history, IDEMPOTENT, &[]);
        assert_eq!(found, [expected], "{history:?}");
    }
    let early = [accepted(0), Event::Flushed { producer: 0 }];
    let late = Event::Reported {
        id: id(0),
        outcome: ReportedOutcome::Unknown,
    };
    let flushed = history(early.into_iter().chain([late]), &[]);
    assert_eq!(
        check(&flushed, IDEMPOTENT, &[]),
        [Violation::FlushedWithout(id(0))]
    );
    let unread = history(both().into_iter().chain([polled(0, 0)]), log);
    assert_eq!(
        check(&unread, IDEMPOTENT, &[vec![7]]),
        [Violation::NeverRead {
            partition: 0,
            offset: 1
        }]
    );
    let early = [
        owns(7),
        polled(0, 0),
        stored(Group::Polling, 2),
        committed(7, 2),
        polled(1, 1),
    ];
    assert_eq!(
        check(
            &history(both().into_iter().chain(early), log),
            IDEMPOTENT,
            &[vec![7]]
        ),
        [
            Violation::StoredUnfinished {
                group: Group::Polling,
                partition: 0,
                next: 2
            },
            Violation::CommittedUnread {
                reader: 7,
                partition: 0,
                next: 2
            }
        ]
    );
}

fn owns(reader: u32) -> Event {
    Event::Assigned {
        reader,
        partition: 0,
    }
}

fn read(reader: u32, offset: i64) -> Event {
    Event::Polled {
        reader,
        partition: 0,
        offset,
        id: id(offset as u32),
    }
}

fn committing(reader: u32, next: i64) -> Event {
    Event::Committing {
        reader,
        partition: 0,
        next,
    }
}

fn stored(group: Group, next: i64) -> Event {
    Event::Stored {
        group,
        partition: 0,
        next,
    }
}

fn committed(reader: u32, next: i64) -> Event {
    Event::Committed {
        reader,
        partition: 0,
        next,
    }
}

/// What a group of 7 and 8 has to say for itself after `events`, when both records were written and 7 has read both, and the coordinator has
/// what it acknowledges.
fn judged(events: impl IntoIterator<Item = Event>) -> Vec<Violation> {
    judged_by(true, events)
}

/// The same of a group whose epochs rise, or do not, since it goes over from one protocol to the other.
fn judged_by(epochs_rise: bool, events: impl IntoIterator<Item = Event>) -> Vec<Violation> {
    let written = [written(0, 0), written(1, 1)].concat();
    let first = [owns(7), read(7, 0), read(7, 1)];
    let mut has = 0;
    let events = events.into_iter().flat_map(|event| {
        if let Event::Committed { next, .. } = event {
            has = next.max(has);
        }
        let stored = matches!(event, Event::Committed { .. }).then(|| stored(Group::Polling, has));
        stored.into_iter().chain([event])
    });
    let events = written.into_iter().chain(first).chain(events);
    let history = history(events, &[(0, 0), (1, 1)]);
    let guarantees = Guarantees {
        epochs_rise,
        ..IDEMPOTENT
    };
    check(&history, guarantees, &[vec![7, 8]])
}

#[test]
fn a_duplicate_without_idempotence_is_no_reordering() {
    let events = [written(0, 0), written(1, 1)].concat();
    let log = history(events, &[(0, 0), (1, 1), (2, 0), (3, 1)]);
    assert_eq!(check(&log, NOTHING, &[]), []);
}

#[test]
fn what_fails_for_nothing_or_before_its_time_is_found() {
    let well = Guarantees {
        all_is_well: true,
        ..NOTHING
    };
    for outcome in [ReportedOutcome::NotWritten, ReportedOutcome::Unknown] {
        let failed = history(sent(0, outcome), &[]);
        assert_eq!(check(&failed, NOTHING, &[]), []);
        assert_eq!(
            check(&failed, well, &[]),
            [Violation::FailedForNothing(id(0))]
        );
    }
    let refused = [
        Event::Accepted {
            id: id(0),
            key: 0,
            good: false,
        },
        Event::Reported {
            id: id(0),
            outcome: ReportedOutcome::NotWritten,
        },
    ];
    assert_eq!(check(&history(refused, &[]), well, &[]), []);
    let mut expired = history(sent(0, ReportedOutcome::Expired), &[]);
    expired.times = vec![500, 1_500];
    assert_eq!(check(&expired, NOTHING, &[]), []);
    expired.times = vec![501, 1_500];
    assert_eq!(
        check(&expired, NOTHING, &[]),
        [Violation::ExpiredEarly(id(0))]
    );
}

#[test]
fn handlers_that_overtake_or_repeat_are_found() {
    let begins = |reader, offset| Event::Begins {
        reader,
        partition: 0,
        offset,
        id: id(offset as u32),
    };
    let ends = |reader, offset| Event::Ends {
        reader,
        partition: 0,
        offset,
        id: id(offset as u32),
    };
    let once = Guarantees {
        handled_once: true,
        ..NOTHING
    };
    let judged = |events: &[Event]| {
        let written = [written(0, 0), written(1, 1)].concat();
        let events = written.into_iter().chain(events.iter().copied());
        check(&history(events, &[(0, 0), (1, 1)]), once, &[vec![1, 2]])
    };
    assert_eq!(
        judged(&[begins(1, 0), ends(1, 0), begins(2, 1), ends(2, 1)]),
        []
    );
    let overtook = Violation::Overtook {
        reader: 1,
        partition: 0,
        offset: 1,
    };
    assert_eq!(
        judged(&[begins(1, 0), begins(1, 1), ends(1, 0), ends(1, 1)]),
        [overtook]
    );
    // Another consumer begins again where the first has not finished.
    assert_eq!(
        judged(&[
            begins(1, 0),
            begins(2, 0),
            ends(2, 0),
            begins(2, 1),
            ends(2, 1)
        ]),
        []
    );
    let twice = Violation::HandledTwice {
        partition: 0,
        offset: 0,
    };
    assert_eq!(
        judged(&[
            begins(1, 0),
            ends(1, 0),
            begins(2, 0),
            ends(2, 0),
            begins(2, 1),
            ends(2, 1)
        ]),
        [twice]
    );
    let low = Violation::BeganTooLow {
        reader: 2,
        partition: 0,
        offset: 0,
    };
    let starts = Event::Starts { reader: 2 };
    let events = [
        begins(1, 0),
        ends(1, 0),
        stored(Group::Typed, 1),
        starts,
        begins(2, 0),
        ends(2, 0),
        begins(2, 1),
        ends(2, 1),
    ];
    let written = [written(0, 0), written(1, 1)].concat();
    let events = history(written.into_iter().chain(events), &[(0, 0), (1, 1)]);
    assert_eq!(check(&events, NOTHING, &[vec![1, 2]]), [low]);
}

/// A member that is told late of a new topic goes on behind what others have read there; whoever is alone begins at its beginning.
#[test]
fn a_new_topic_is_read_from_where_the_group_is() {
    let polled = |reader, offset| Event::Polled {
        reader,
        partition: 0,
        offset,
        id: id(10 + offset as u32),
    };
    let owns = |reader| Event::Assigned {
        reader,
        partition: 0,
    };
    let judged = |before: &[Event], events: &[Event]| {
        let old = Event::Polled {
            reader: 7,
            partition: 0,
            offset: 0,
            id: id(0),
        };
        let created = Event::Created {
            incarnation: 1,
            partitions: 1,
        };
        let events = [before, &[old, created], events].concat();
        let mut history = history(events, &[(0, 0)]);
        (history.log).extend((0..3).map(|offset| (1, 0, offset, id(10 + offset as u32))));
        let mut found = Vec::new();
        reading::readers(&history, &Log::new(&history), NOTHING, &mut found);
        found
    };
    let skipped = || Violation::Skipped {
        reader: 7,
        partition: 0,
        offset: 2,
    };
    let (member, others) = ([owns(7)], [owns(8), polled(8, 0), polled(8, 1)]);
    let then = [polled(7, 2)];
    assert_eq!(judged(&[], &then), [skipped()]);
    assert_eq!(judged(&member, &[&others[..], &then].concat()), []);
    let fewer = [&others[..2], &then].concat();
    assert_eq!(judged(&member, &fewer), [skipped()]);
}

/// What comes late behind what was written under another producer id: only where nobody was told what became of it, and no epoch of its own is there.
#[test]
fn what_no_epoch_can_fence_may_come_late_where_its_fate_is_unknown() {
    let ends = Guarantees {
        producer_ids_end: true,
        ..IDEMPOTENT
    };
    let late = |guarantees, outcome, producers: [(i64, i16); 2]| {
        let mut history = history(
            [sent(0, outcome), written(1, 0)].concat(),
            &[(0, 1), (1, 0)],
        );
        history.producers = (0..).map(id).zip(producers).collect();
        check(&history, guarantees, &[]).len()
    };
    let unknown = ReportedOutcome::Unknown;
    let is_written = ReportedOutcome::Written {
        partition: 0,
        offset: 1,
    };
    let last = (7, i16::MAX);
    assert_eq!(late(ends, unknown, [last, (8, 0)]), 0);
    assert_eq!(late(ends, unknown, [last, last]), 1, "in its order");
    assert_eq!(late(ends, unknown, [last, (6, 0)]), 1, "it is the later id");
    assert_eq!(late(ends, is_written, [last, (8, 0)]), 1);
    assert_eq!(late(IDEMPOTENT, unknown, [last, (8, 0)]), 1, "none ends");
    // Where its own next epoch is there, that fences it.
    let behind = |epoch| {
        let events = [&written(2, 0)[..], &sent(0, unknown), &written(1, 1)].concat();
        let mut history = history(events, &[(2, 0), (1, 1), (0, 2)]);
        let key = |event: &mut Event| match event {
            Event::Accepted { id, key, .. } if id.number == 2 => *key = 1,
            _ => {}
        };
        history.events.iter_mut().for_each(key);
        let producers = [(7, i16::MAX - 1), (8, 0), (7, epoch)];
        history.producers = (0..).map(id).zip(producers).collect();
        check(&history, ends, &[]).len()
    };
    assert_eq!(behind(i16::MAX - 1), 0);
    assert_eq!(behind(i16::MAX), 1, "fenced");
}

#[test]
fn a_reader_that_keeps_silent_or_moves_by_itself_is_found() {
    let starts = Event::Starts { reader: 7 };
    let complains = Event::ReportsFailure { reader: 7 };
    let judged = |events: &[(u64, Event)]| {
        let (times, events) = events.iter().copied().unzip();
        let history = History {
            events,
            times,
            ..History::default()
        };
        check(&history, NOTHING, &[])
    };
    let (down, up) = ((10, Event::Down), (5_000, Event::Up));
    let silent = [Violation::Silent { reader: 7 }];
    assert_eq!(judged(&[(0, starts), down, up]), silent);
    assert_eq!(judged(&[(0, starts), down, (1_010, complains), up]), []);
    assert_eq!(judged(&[(0, starts), down, (1_011, complains), up]), silent);
    assert_eq!(
        judged(&[(0, starts), down, (20, Event::Stops { reader: 7 }), up]),
        []
    );
    assert_eq!(judged(&[(0, starts), down, (900, Event::Up)]), []);

    let created = Event::Created {
        incarnation: 1,
        partitions: 1,
    };
    let again = Event::Polled {
        reader: 7,
        partition: 0,
        offset: 0,
        id: id(1),
    };
    let still = Guarantees {
        moves_by_itself: false,
        ..NOTHING
    };
    let events = [
        &written(0, 0)[..],
        &written(1, 0),
        &[polled(0, 0), created, again],
    ]
    .concat();
    let mut moved = history(events, &[(0, 0)]);
    moved.log.push((1, 0, 0, id(1)));
    let expected = Violation::MovedByItself {
        reader: 7,
        partition: 0,
        offset: 0,
    };
    assert_eq!(check(&moved, still, &[]), [expected]);
    assert_eq!(check(&moved, NOTHING, &[]), []);
    moved.events.insert(6, sought(0));
    moved.times.push(0);
    assert_eq!(check(&moved, still, &[]), []);
}

#[test]
fn a_record_that_fails_holds_up_its_key_and_the_commit_until_it_is_handled_or_dead() {
    let reader = crate::consumers::FIRST_TYPED;
    let event = |offset| (0, offset, id(offset as u32));
    let begins = |offset| {
        let (partition, offset, id) = event(offset);
        Event::Begins {
            reader,
            partition,
            offset,
            id,
        }
    };
    let ends = |offset| {
        let (partition, offset, id) = event(offset);
        Event::Ends {
            reader,
            partition,
            offset,
            id,
        }
    };
    let fails = |offset| {
        let (partition, offset, id) = event(offset);
        Event::Fails {
            reader,
            partition,
            offset,
            id,
        }
    };
    let dead = |offset| {
        let (partition, offset, id) = event(offset);
        Event::Dead {
            partition,
            offset,
            id,
        }
    };
    let stored = |next| Event::Stored {
        group: Group::Typed,
        partition: 0,
        next,
    };
    let judged = |events: &[Event]| {
        let written = [written(0, 0), written(1, 1)].concat();
        let events = written.into_iter().chain(events.iter().copied());
        check(
            &history(events, &[(0, 0), (1, 1)]),
            NOTHING,
            &[vec![reader]],
        )
    };
    let rest = [begins(1), ends(1), stored(2)];
    for over in [&[begins(0), ends(0)][..], &[dead(0)]] {
        let good = [&[begins(0), fails(0), stored(0)], over, &rest].concat();
        assert_eq!(judged(&good), []);
    }
    let overtook = Violation::Overtook {
        reader,
        partition: 0,
        offset: 1,
    };
    let unfinished = Violation::StoredUnfinished {
        group: Group::Typed,
        partition: 0,
        next: 2,
    };
    let never = Violation::NeverRead {
        partition: 0,
        offset: 0,
    };
    let lost = [&[begins(0), fails(0)][..], &rest].concat();
    let mut found = judged(&lost);
    found.sort_by_key(|violation| format!("{violation:?}"));
    assert_eq!(found, [never, overtook.clone(), unfinished]);
    let late = [
        &[begins(0), fails(0), begins(1), ends(1), dead(0)][..],
        &[stored(2)],
    ]
    .concat();
    assert_eq!(judged(&late), [overtook]);
}

#[test]
fn a_partition_of_two_members_is_found() {
    let (one, other, partition) = (7, 8, 0);
    let given = |reader, epoch| {
        let epoch = Some(epoch);
        let assigned = Event::Assigned { reader, partition };
        [Event::InEpoch { reader, epoch }, assigned]
    };
    let released = Event::Released {
        reader: one,
        partition,
    };
    let enters = |epoch| Event::InEpoch {
        reader: one,
        epoch: Some(epoch),
    };
    let well = Guarantees {
        owned_once: true,
        ..NOTHING
    };
    let rising = Guarantees {
        epochs_rise: true,
        ..NOTHING
    };
    let judged = |guarantees, events: &[&[Event]]| {
        let found = check(&history(events.concat(), &[]), guarantees, &[]);
        found.iter().for_each(|it| {
            assert!(matches!(it, Violation::OwnedTwice { .. }), "{it:?}");
        });
        found.len()
    };
    let handed_over = [&given(one, 2)[..], &[released], &given(other, 3)];
    assert_eq!(judged(well, &handed_over), 0);
    assert_eq!(judged(rising, &handed_over), 0);
    // One that does not know that it is none any more has it in its own epoch only.
    let silent = [&given(one, 2)[..], &given(other, 3)].concat();
    assert_eq!(judged(rising, &[&silent]), 0);
    assert_eq!(judged(well, &[&silent]), 1, "where nobody is silent");
    assert_eq!(judged(NOTHING, &[&silent, &[enters(4)]]), 1);
    assert_eq!(judged(NOTHING, &[&silent, &[released, enters(4)]]), 0);
    // One of the classic protocol among others is told by its next assignment only.
    use GroupProtocol::{Classic, Consumer};
    for (first, then, count) in [(Consumer, Classic, 0), (Classic, Consumer, 1)] {
        let changing = Guarantees {
            protocols: Protocols::Changing(first, then),
            ..NOTHING
        };
        assert_eq!(judged(changing, &[&silent, &[enters(4)]]), count);
    }
    let gone = Event::Stops { reader: one };
    assert_eq!(
        judged(well, &[&given(one, 2), &[gone], &given(other, 2)]),
        0
    );
    let same = [&given(one, 3)[..], &given(other, 3)].concat();
    assert_eq!(judged(rising, &[&same]), 1);
    assert_eq!(judged(NOTHING, &[&same]), 0, "the group began anew");
}
