//! A member at work on three logs, in any order of steps, with crashes between any two of them: whatever happens, each event is handled, and for
//! the first time only when all earlier ones of its key were.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const KEYS: u64 = 3;
/// The origin's and two retry topics'.
const LOGS: usize = 3;

/// A record of a log: its key, its offset in the origin, and in how many retry topics it waited because it failed.
type Logged = (KeyHash, i64, usize);

#[derive(Clone, Copy, Debug)]
enum Step {
    Append(KeyHash),
    /// The next of the key in the log comes to its turn; `true`: its handler fails.
    Work(usize, KeyHash, bool),
    /// The oldest write that is not acknowledged is.
    Acknowledge,
    /// It is acknowledged, and its sender does not hear of it before it ends.
    Commit,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..KEYS).prop_map(Step::Append),
        8 => (0..LOGS, 0..KEYS, prop::bool::weighted(0.4)).prop_map(|(log, key, fails)| Step::Work(log, key, fails)),
        4 => Just(Step::Acknowledge),
        2 => Just(Step::Commit),
        1 => Just(Step::Crash),
    ]
}

/// A write that is under way: from the record of a log, to a log.
struct Sending {
    from: (usize, usize),
    to: usize,
    record: Logged,
}

struct Member {
    logs: [Vec<Logged>; LOGS],
    /// The places of what is finished in each log, and what is committed of it.
    finished: [BTreeSet<usize>; LOGS],
    committed: [BTreeSet<usize>; LOGS],
    book: Book,
    sending: Vec<Sending>,
    handled: BTreeMap<KeyHash, BTreeSet<i64>>,
}

impl Member {
    fn new(limit: usize) -> Self {
        Self {
            logs: Default::default(),
            finished: Default::default(),
            committed: Default::default(),
            book: Book::new(limit),
            sending: Vec::new(),
            handled: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(key) => {
                let offset = self.logs[0].len() as i64;
                self.logs[0].push((key, offset, 0));
            }
            Step::Work(log, key, fails) => drop(self.work(log, key, fails)),
            Step::Acknowledge => self.acknowledge(),
            Step::Commit => self.committed = self.finished.clone(),
            Step::Crash => self.crash(),
        }
    }

    /// Whether anything was done.
    fn work(&mut self, log: usize, key: KeyHash, fails: bool) -> bool {
        let is_next = |(place, record): &(usize, &Logged)| {
            record.0 == key && !self.finished[log].contains(place)
        };
        let next = self.logs[log].iter().enumerate().find(is_next);
        let Some((place, record)) = next.map(|(place, record)| (place, *record)) else {
            return false;
        };
        // Its key waits until it is written.
        if self.sending.iter().any(|it| it.from == (log, place)) {
            return false;
        }
        let (_, offset, stage) = record;
        let mut sent = record;
        let turn = match log {
            0 => self.book.origin_turn(key, offset),
            level => self.book.retry_turn(key, offset, level as u8),
        };
        let to = match turn {
            Turn::Wait => return false,
            Turn::Over => {
                self.finished[log].insert(place);
                return true;
            }
            Turn::Behind(level) => level as usize,
            Turn::Handle if fails && stage + 1 < LOGS && self.book.has_room(key, offset) => {
                sent.2 = stage + 1;
                self.book.send(key, offset, sent.2 as u8);
                sent.2
            }
            // After the last it becomes a dead letter, which is as good here.
            Turn::Handle => {
                self.handle(record);
                self.finished[log].insert(place);
                self.book.finish(key, offset);
                return true;
            }
        };
        let from = (log, place);
        self.logs[to].push(sent);
        self.sending.push(Sending {
            from,
            to,
            record: sent,
        });
        true
    }

    fn handle(&mut self, (key, offset, _): Logged) {
        let handled = self.handled.entry(key).or_default();
        if handled.insert(offset) {
            let of_key = self.logs[0].iter().filter(|record| record.0 == key);
            for (_, earlier, _) in of_key.filter(|record| record.1 < offset) {
                assert!(
                    handled.contains(earlier),
                    "{offset} of {key} overtook {earlier}"
                );
            }
        }
    }

    fn acknowledge(&mut self) {
        if !self.sending.is_empty() {
            let Sending { from, record, to } = self.sending.remove(0);
            assert!(self.logs[to].contains(&record));
            self.finished[from.0].insert(from.1);
            self.book.sent(record.0, record.1);
        }
    }

    /// What was not committed is done again, with what is found in the retry topics.
    fn crash(&mut self) {
        self.sending.clear();
        self.finished = self.committed.clone();
        self.book = Book::new(self.book.limit);
        for level in 1..LOGS {
            for (place, (key, offset, _)) in self.logs[level].iter().enumerate() {
                if !self.finished[level].contains(&place) {
                    assert!(self.book.found(*key, *offset, level as u8), "too many");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn each_event_is_handled_in_the_order_of_its_key_whatever_happens(
        limit in 1usize..20,
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut member = Member::new(limit.max(8));
        for step in steps {
            member.step(step);
        }
        loop {
            while !member.sending.is_empty() {
                member.acknowledge();
            }
            let all = (0..LOGS).flat_map(|log| (0..KEYS).map(move |key| (log, key)));
            let mut worked = false;
            for (log, key) in all {
                worked |= member.work(log, key, false);
            }
            if !worked && member.sending.is_empty() {
                break;
            }
        }
        let handled: usize = member.handled.values().map(BTreeSet::len).sum();
        prop_assert_eq!(handled, member.logs[0].len(), "none is lost");
        prop_assert_eq!(member.book.len(), 0, "nothing is under way any more");
        for (log, finished) in member.logs.iter().zip(&member.finished) {
            prop_assert_eq!(log.len(), finished.len(), "all may be committed");
        }
    }
}

const KEY: KeyHash = 7;

#[test]
fn what_is_behind_an_event_that_is_under_way_is_sent_behind_it() {
    let mut book = Book::new(10);
    assert_eq!(book.origin_turn(KEY, 5), Turn::Handle);
    book.send(KEY, 5, 1);
    assert_eq!(
        book.retry_turn(KEY, 5, 1),
        Turn::Wait,
        "it is not acknowledged"
    );
    assert_eq!(book.origin_turn(KEY, 6), Turn::Behind(1));
    assert!(book.has_ahead(KEY, 6) && !book.has_ahead(KEY, 5) && !book.has_ahead(KEY + 1, 6));
    book.sent(KEY, 5);
    book.sent(KEY, 6);
    assert_eq!(book.origin_turn(KEY + 1, 7), Turn::Handle, "another key");
    assert_eq!(book.retry_turn(KEY, 5, 1), Turn::Handle);
    book.send(KEY, 5, 2);
    book.sent(KEY, 5);
    assert_eq!(
        book.retry_turn(KEY, 6, 1),
        Turn::Behind(2),
        "to where the first is"
    );
    book.sent(KEY, 6);
    assert_eq!(book.retry_turn(KEY, 5, 1), Turn::Over, "a copy");
    assert_eq!(book.retry_turn(KEY, 5, 2), Turn::Handle);
    book.finish(KEY, 5);
    assert_eq!(book.retry_turn(KEY, 6, 2), Turn::Handle);
    book.finish(KEY, 6);
    assert_eq!(
        book.origin_turn(KEY, 8),
        Turn::Handle,
        "nothing is under way"
    );
}

#[test]
fn what_a_restart_repeats_is_not_handled_out_of_turn() {
    let mut book = Book::new(10);
    for (offset, level) in [(5, 1), (5, 2), (8, 1)] {
        assert!(book.found(KEY, offset, level));
    }
    assert_eq!(book.origin_turn(KEY, 5), Turn::Over, "it is under way");
    assert_eq!(
        book.origin_turn(KEY, 6),
        Turn::Over,
        "it was, and is finished"
    );
    assert_eq!(book.retry_turn(KEY, 5, 1), Turn::Over, "it is further");
    assert_eq!(
        book.origin_turn(KEY, 3),
        Turn::Handle,
        "before those under way"
    );
    assert_eq!(book.retry_turn(KEY, 5, 2), Turn::Behind(2), "3 is at work");
    book.sent(KEY, 5);
    book.finish(KEY, 3);
    assert_eq!(book.retry_turn(KEY, 5, 2), Turn::Handle);
}

#[test]
fn a_full_book_takes_no_more_and_finds_no_more_than_twice_as_many() {
    let mut book = Book::new(2);
    book.send(KEY, 1, 1);
    assert_eq!(book.origin_turn(KEY, 2), Turn::Behind(1));
    assert_eq!(book.origin_turn(KEY, 3), Turn::Wait);
    assert!(!book.has_room(KEY + 1, 4));
    assert!(book.has_room(KEY, 1), "it is in it");
    let found = (0..5).map(|offset| book.found(KEY + 2, offset, 1));
    assert_eq!(found.filter(|found| *found).count(), 2);
}

#[test]
fn what_is_of_a_topic_that_is_gone_stands_before_all_of_the_new_one() {
    let mut book = Book::new(10);
    book.send(KEY, 1_000, 1);
    book.sent(KEY, 1_000);
    book.origin_recreated();
    assert_eq!(book.origin_turn(KEY, 0), Turn::Behind(1), "not an old one");
    let old = of_another_topic(1_000);
    assert_eq!(book.retry_turn(KEY, old, 1), Turn::Handle);
}
