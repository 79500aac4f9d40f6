//! Histories of transactions with one thing wrong each.

use crate::checker::transactions::{Promises, TransactionViolation as Found, check};
use crate::history::{Event, History, Id};
use crate::transactions::TransactionEvent as Of;
use crate::transactions::{Ended, LogEntry, Logged, Topic, number_of, offset_of};

const PROMISES: Promises = Promises {
    all_is_well: false,
    timeout_ms: 1_000,
    loops: false,
    copies: true,
    settled: true,
};

/// The first instance at a place, and the next.
const FIRST: u32 = 10_000;
const SECOND: u32 = 10_001;

fn id(writer: u32, transaction: u32, index: u32) -> Id {
    Id {
        producer: writer,
        number: number_of(transaction, index),
    }
}

fn begun(writer: u32, transaction: u32) -> Of {
    Of::Begun {
        writer,
        transaction,
    }
}

fn accepted(id: Id, topic: Topic) -> Of {
    Of::Accepted {
        id,
        topic,
        partition: 0,
        key: 1,
    }
}

fn decides(writer: u32, transaction: u32, commit: bool) -> Of {
    Of::Decides {
        writer,
        transaction,
        commit,
    }
}

fn ended(writer: u32, transaction: u32, how: Ended) -> Of {
    Of::Ended {
        writer,
        transaction,
        how,
    }
}

/// A transaction of two records, one to each topic.
fn written(writer: u32, transaction: u32, how: Option<Ended>) -> Vec<Of> {
    let mut events = vec![
        begun(writer, transaction),
        accepted(id(writer, transaction, 0), Topic::Ledger),
        accepted(id(writer, transaction, 1), Topic::Audit),
        decides(writer, transaction, how != Some(Ended::Aborted)),
    ];
    events.extend(how.map(|how| ended(writer, transaction, how)));
    events
}

fn history(events: impl IntoIterator<Item = Of>) -> History {
    let events: Vec<Event> = events.into_iter().map(Event::InTransactions).collect();
    History {
        times: vec![0; events.len()],
        events,
        log: Vec::new(),
        ..History::default()
    }
}

/// One partition of each topic, entry after entry: of which producer, and what.
#[derive(Default)]
struct Log(Vec<LogEntry>);

impl Log {
    fn add(mut self, topic: Topic, producer: i64, what: Logged) -> Self {
        let there = self.0.iter().filter(|entry| entry.topic == topic);
        let offset = there.count() as i64;
        self.0.push(LogEntry {
            topic,
            partition: 0,
            offset,
            producer,
            what,
        });
        self
    }

    fn record(self, topic: Topic, id: Id) -> Self {
        let transactional = true;
        let producer = i64::from(id.producer);
        self.add(topic, producer, Logged::Record { id, transactional })
    }

    fn marker(self, topic: Topic, writer: u32, commit: bool) -> Self {
        self.add(topic, i64::from(writer), Logged::Marker { commit })
    }

    /// A transaction of two records, and its markers.
    fn written(self, writer: u32, transaction: u32, commit: bool) -> Self {
        self.record(Topic::Ledger, id(writer, transaction, 0))
            .marker(Topic::Ledger, writer, commit)
            .record(Topic::Audit, id(writer, transaction, 1))
            .marker(Topic::Audit, writer, commit)
    }

    /// What a loop made of a record.
    fn output(self, id: Id) -> Self {
        self.record(Topic::Outputs, id)
            .marker(Topic::Outputs, id.producer, true)
            .record(Topic::Copies, id)
            .marker(Topic::Copies, id.producer, true)
    }
}

fn sees(topic: Topic, offset: i64, id: Id) -> Of {
    Of::Sees {
        topic,
        partition: 0,
        offset,
        id,
    }
}

#[test]
fn what_is_whole_passes() {
    let events = [
        written(FIRST, 0, Some(Ended::Committed)),
        written(FIRST, 1, Some(Ended::Aborted)),
        // Nobody knows; here it was committed, and there it was not.
        written(FIRST, 2, Some(Ended::Unknown)),
        written(FIRST, 3, None),
        vec![Of::Connected { writer: SECOND }],
        written(SECOND, 0, Some(Ended::Committed)),
        vec![
            sees(Topic::Ledger, 0, id(FIRST, 0, 0)),
            sees(Topic::Ledger, 4, id(FIRST, 2, 0)),
        ],
    ];
    let log = Log::default()
        .written(FIRST, 0, true)
        .written(FIRST, 1, false)
        .written(FIRST, 2, true)
        .written(FIRST, 3, false)
        .written(SECOND, 0, true)
        .output(id(FIRST, 0, 0))
        .output(id(FIRST, 2, 0))
        .output(id(SECOND, 0, 0));
    let promises = Promises {
        loops: true,
        ..PROMISES
    };
    assert_eq!(check(&history(events.concat()), &log.0, promises), []);
}

#[test]
fn each_violation_is_found() {
    let committed = |transaction| written(FIRST, transaction, Some(Ended::Committed));
    let both = || Log::default().written(FIRST, 0, true);
    let half = || {
        Log::default()
            .record(Topic::Ledger, id(FIRST, 0, 0))
            .marker(Topic::Ledger, FIRST, true)
            .record(Topic::Audit, id(FIRST, 0, 1))
            .marker(Topic::Audit, FIRST, false)
    };
    let torn = Found::Torn {
        writer: FIRST,
        transaction: 0,
    };
    let cases: Vec<(Vec<Of>, Log, Found)> = vec![
        (
            written(FIRST, 0, Some(Ended::Aborted)),
            both(),
            Found::AbortedVisible(id(FIRST, 0, 0)),
        ),
        (
            written(FIRST, 0, Some(Ended::NotCommitted)),
            both(),
            Found::AbortedVisible(id(FIRST, 0, 1)),
        ),
        // Dropped.
        (
            written(FIRST, 0, None)[..3].to_vec(),
            both(),
            Found::AbortedVisible(id(FIRST, 0, 0)),
        ),
        (
            written(FIRST, 0, Some(Ended::Unknown)),
            half(),
            torn.clone(),
        ),
        (written(FIRST, 0, None), half(), torn),
        (
            committed(0),
            half(),
            Found::CommittedMissing(id(FIRST, 0, 1)),
        ),
        (Vec::new(), both(), Found::NeverAccepted(id(FIRST, 0, 0))),
        (
            committed(0),
            both().written(FIRST, 0, true),
            Found::VisibleTwice(id(FIRST, 0, 0)),
        ),
        (
            [
                committed(0),
                vec![Of::Acknowledged {
                    id: id(FIRST, 0, 0),
                    topic: Topic::Ledger,
                    partition: 0,
                    offset: 7,
                }],
            ]
            .concat(),
            both(),
            Found::AcknowledgedElsewhere(id(FIRST, 0, 0)),
        ),
        (
            [committed(0), committed(1)].concat(),
            Log::default()
                .written(FIRST, 1, true)
                .written(FIRST, 0, true),
            Found::OutOfOrder {
                earlier: id(FIRST, 0, 0),
                later: id(FIRST, 1, 0),
            },
        ),
        (
            [committed(0), written(SECOND, 0, Some(Ended::Committed))].concat(),
            Log::default()
                .written(SECOND, 0, true)
                .written(FIRST, 0, true),
            Found::Zombie(id(FIRST, 0, 0)),
        ),
        (
            [vec![Of::Connected { writer: SECOND }], committed(0)].concat(),
            both(),
            Found::Zombie(id(FIRST, 0, 0)),
        ),
        (
            committed(0),
            both().record(Topic::Ledger, id(FIRST, 0, 0)),
            Found::StaysOpen {
                topic: Topic::Ledger,
                partition: 0,
            },
        ),
        (
            committed(0),
            both().output(id(FIRST, 7, 0)),
            Found::OutputOfNothing(id(FIRST, 7, 0)),
        ),
        (committed(0), both(), Found::InputLost(id(FIRST, 0, 0))),
        (
            committed(0),
            both().output(id(FIRST, 0, 0)).output(id(FIRST, 0, 0)),
            Found::InputTwice(id(FIRST, 0, 0)),
        ),
        (
            [committed(0), committed(1)].concat(),
            both()
                .written(FIRST, 1, true)
                .output(id(FIRST, 1, 0))
                .output(id(FIRST, 0, 0)),
            Found::OutputsOutOfOrder {
                earlier: id(FIRST, 0, 0),
                later: id(FIRST, 1, 0),
            },
        ),
        (
            [
                written(FIRST, 0, Some(Ended::Aborted)),
                vec![sees(Topic::Ledger, 0, id(FIRST, 0, 0))],
            ]
            .concat(),
            Log::default().written(FIRST, 0, false),
            Found::SeenHidden {
                topic: Topic::Ledger,
                partition: 0,
                offset: 0,
            },
        ),
        (
            [
                committed(0),
                committed(1),
                vec![sees(Topic::Ledger, 2, id(FIRST, 1, 0))],
            ]
            .concat(),
            both().written(FIRST, 1, true),
            Found::SeenOutOfOrder {
                topic: Topic::Ledger,
                partition: 0,
                offset: 2,
            },
        ),
    ];
    let promises = Promises {
        loops: true,
        ..PROMISES
    };
    for (events, log, expected) in cases {
        let found = check(&history(events), &log.0, promises);
        assert!(
            found.contains(&expected),
            "{expected:?} is not in {found:?}"
        );
    }
}

#[test]
fn offsets_that_are_not_those_of_their_transactions_are_found() {
    let with_offset = |how| {
        let mut events = written(FIRST, 3, Some(how));
        events.push(Of::SendsOffset {
            writer: FIRST,
            transaction: 3,
        });
        events
    };
    let stored = |next| Of::OffsetOfWriters { place: 100, next };
    let here = (FIRST, 3);
    let aborted = with_offset(Ended::Aborted);
    let events = [aborted, vec![stored(offset_of(FIRST, 3))]].concat();
    let log = Log::default().written(FIRST, 3, false);
    let (writer, transaction) = here;
    assert_eq!(
        check(&history(events), &log.0, PROMISES),
        [Found::OffsetOfAborted {
            writer,
            transaction
        }]
    );
    let log = Log::default().written(FIRST, 3, true);
    assert_eq!(
        check(&history(with_offset(Ended::Committed)), &log.0, PROMISES),
        [Found::OffsetMissing {
            writer,
            transaction
        }]
    );
    let mut events = with_offset(Ended::Committed);
    let next = offset_of(FIRST, 3);
    events.extend([stored(next), stored(next - 1), stored(next)]);
    assert_eq!(
        check(&history(events), &log.0, PROMISES),
        [Found::OffsetFell { next: next - 1 }]
    );
}

#[test]
fn where_nothing_is_wrong_only_what_is_late_or_fenced_fails() {
    let promises = Promises {
        all_is_well: true,
        ..PROMISES
    };
    let failed = written(FIRST, 0, Some(Ended::NotCommitted));
    let log = Log::default().written(FIRST, 0, false);
    let mut history = history(failed.clone());
    let found = check(&history, &log.0, promises);
    let for_nothing = Found::FailedForNothing {
        writer: FIRST,
        transaction: 0,
    };
    assert_eq!(found, [for_nothing]);
    *history.times.last_mut().expect("events") = promises.timeout_ms;
    assert_eq!(check(&history, &log.0, promises), []);
    let fenced = [vec![Of::Connects { writer: SECOND }], failed].concat();
    assert_eq!(check(&self::history(fenced), &log.0, promises), []);
    let fails = [Of::LoopFails { member: 20_000 }];
    assert_eq!(
        check(&self::history(fails), &[], promises),
        [Found::LoopFailed { member: 20_000 }]
    );
}
