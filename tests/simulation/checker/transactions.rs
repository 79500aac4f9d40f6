//! What was written in transactions, against what applications were told, and what `exactly_once` loops made of it. What is visible follows from the logs
//! alone: records without a transaction, and those whose producer's next marker in their partition commits.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Event, History, Id};
use crate::transactions::{
    Ended, FIRST_PLAIN, LogEntry, Logged, Topic, TransactionEvent, offset_of, place_of,
    transaction_of,
};

/// What a run promises of its transactions.
#[derive(Clone, Copy, Debug)]
pub struct Promises {
    /// Nothing fails that is neither too late nor fenced.
    pub all_is_well: bool,
    pub timeout_ms: u64,
    /// There are loops.
    pub loops: bool,
    /// They write everything twice.
    pub copies: bool,
    /// Everything had its time to come to its end.
    pub settled: bool,
}

/// A rule of transactions that did not hold. Writers are instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionViolation {
    /// Visible, though its transaction was not committed.
    AbortedVisible(Id),
    /// Of one transaction some is visible, and some is not.
    Torn { writer: u32, transaction: u32 },
    /// Not visible, though its transaction is reported as committed.
    CommittedMissing(Id),
    /// In the log, though the producer did not accept it.
    NeverAccepted(Id),
    /// Visible twice in its topic.
    VisibleTwice(Id),
    /// Acknowledged at a place where something else stands.
    AcknowledgedElsewhere(Id),
    /// Visible behind a record of the same writer that was written later.
    OutOfOrder { earlier: Id, later: Id },
    /// Visible, and written by an instance after its transactional id was taken over.
    Zombie(Id),
    /// Not committed, though nothing was wrong.
    FailedForNothing { writer: u32, transaction: u32 },
    /// A loop ended by itself, though nothing was wrong.
    LoopFailed { member: u32 },
    /// A producer's transaction that is never ended.
    StaysOpen { topic: Topic, partition: i32 },
    /// A coordinator has the offset of a transaction that was not committed.
    OffsetOfAborted { writer: u32, transaction: u32 },
    /// A coordinator does not have the offset of the last transaction that was committed with one.
    OffsetMissing { writer: u32, transaction: u32 },
    /// The offset of a group went back.
    OffsetFell { next: i64 },
    /// Committed, and no loop has made anything of it.
    InputLost(Id),
    /// A loop has made more of it than it should.
    InputTwice(Id),
    /// Written by a loop for what was never committed.
    OutputOfNothing(Id),
    /// Written by a loop behind what came later under the same key.
    OutputsOutOfOrder { earlier: Id, later: Id },
    /// The reader of what is committed was given what is not.
    SeenHidden {
        topic: Topic,
        partition: i32,
        offset: i64,
    },
    /// It was not given a record that is, or was given one again.
    SeenOutOfOrder {
        topic: Topic,
        partition: i32,
        offset: i64,
    },
}

use TransactionViolation as Found;

/// A record in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    pub topic: Topic,
    pub partition: i32,
    pub offset: i64,
    pub id: Id,
}

/// What readers of what is committed may see, by place.
#[derive(Clone, Debug, Default)]
pub struct Visible {
    pub records: Vec<Placed>,
    /// What was aborted.
    hidden: Vec<Placed>,
    /// Where transactions are open: their producers.
    pub open: Vec<(Topic, i32, i64)>,
}

impl Visible {
    pub fn of(log: &[LogEntry]) -> Self {
        let mut visible = Self::default();
        let mut open: BTreeMap<(Topic, i32, i64), Vec<Placed>> = BTreeMap::new();
        for entry in log {
            let of_producer = (entry.topic, entry.partition, entry.producer);
            match entry.what {
                Logged::Record { id, transactional } => {
                    let record = Placed {
                        topic: entry.topic,
                        partition: entry.partition,
                        offset: entry.offset,
                        id,
                    };
                    match transactional {
                        true => open.entry(of_producer).or_default().push(record),
                        false => visible.records.push(record),
                    }
                }
                Logged::Marker { commit } => {
                    let ended = open.remove(&of_producer).unwrap_or_default();
                    match commit {
                        true => visible.records.extend(ended),
                        false => visible.hidden.extend(ended),
                    }
                }
            }
        }
        for (of_producer, records) in open {
            visible.open.push(of_producer);
            visible.hidden.extend(records);
        }
        visible.records.sort();
        visible
    }
}

/// What is known of one transaction.
#[derive(Clone, Debug, Default)]
struct Transaction {
    begun_ms: Option<u64>,
    records: Vec<(Id, Topic)>,
    has_offset: bool,
    decided: Option<bool>,
    ended: Option<(Ended, u64)>,
}

/// What may be visible of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    All,
    Nothing,
    AllOrNothing,
}

impl Transaction {
    fn fate(&self, writer: u32) -> Fate {
        match (&self.ended, self.decided) {
            (Some((Ended::Committed, _)), _) => Fate::All,
            (Some((Ended::Aborted | Ended::NotCommitted, _)), _) => Fate::Nothing,
            (Some((Ended::Unknown, _)), _) | (None, Some(true)) => Fate::AllOrNothing,
            // Without a transaction nothing is decided.
            (None, None) if writer >= FIRST_PLAIN => Fate::AllOrNothing,
            // It was dropped: its commit was never asked for.
            (None, _) => Fate::Nothing,
        }
    }
}

/// What the history says.
#[derive(Default)]
struct Told {
    /// Writer and transaction.
    transactions: BTreeMap<(u32, u32), Transaction>,
    keys: BTreeMap<Id, u32>,
    /// When each record was accepted: as which event of the history.
    accepted: BTreeMap<Id, usize>,
    /// The same of instances that took over their ids, and when they began to.
    connected: Vec<(u32, usize)>,
    connects: Vec<(u32, u64)>,
    acknowledged: Vec<Placed>,
    seen: Vec<Placed>,
    failed_loops: Vec<u32>,
    offsets_of_writers: BTreeMap<u32, Vec<i64>>,
    offsets_of_loops: BTreeMap<i32, Vec<i64>>,
}

impl Told {
    fn of(history: &History) -> Self {
        let mut told = Self::default();
        let events = history.events.iter().zip(&history.times);
        for (index, (event, at)) in events.enumerate() {
            if let Event::InTransactions(event) = *event {
                told.take(index, event, *at);
            }
        }
        told
    }

    fn take(&mut self, index: usize, event: TransactionEvent, at: u64) {
        match event {
            TransactionEvent::Connects { writer } => self.connects.push((writer, at)),
            TransactionEvent::Connected { writer } => self.connected.push((writer, index)),
            TransactionEvent::Begun {
                writer,
                transaction,
            } => self.entry(writer, transaction).begun_ms = Some(at),
            TransactionEvent::Accepted { id, topic, key, .. } => {
                let (writer, transaction) = transaction_of(id);
                self.entry(writer, transaction).records.push((id, topic));
                self.keys.insert(id, key);
                self.accepted.insert(id, index);
            }
            TransactionEvent::Acknowledged {
                id,
                topic,
                partition,
                offset,
            } => self.acknowledged.push(Placed {
                topic,
                partition,
                offset,
                id,
            }),
            TransactionEvent::SendsOffset {
                writer,
                transaction,
            } => self.entry(writer, transaction).has_offset = true,
            TransactionEvent::Decides {
                writer,
                transaction,
                commit,
            } => self.entry(writer, transaction).decided = Some(commit),
            TransactionEvent::Ended {
                writer,
                transaction,
                how,
            } => self.entry(writer, transaction).ended = Some((how, at)),
            TransactionEvent::LoopFails { member } => self.failed_loops.push(member),
            TransactionEvent::Stops { .. } => {}
            TransactionEvent::Sees {
                topic,
                partition,
                offset,
                id,
            } => self.seen.push(Placed {
                topic,
                partition,
                offset,
                id,
            }),
            TransactionEvent::OffsetOfWriters { place, next } => {
                self.offsets_of_writers.entry(place).or_default().push(next);
            }
            TransactionEvent::OffsetOfLoops { partition, next } => {
                (self.offsets_of_loops.entry(partition).or_default()).push(next);
            }
        }
    }

    fn entry(&mut self, writer: u32, transaction: u32) -> &mut Transaction {
        self.transactions.entry((writer, transaction)).or_default()
    }

    /// Whether somebody else began to take over an instance's id by then.
    fn is_taken_over(&self, writer: u32, by_ms: u64) -> bool {
        self.connects.iter().any(|(other, at)| {
            place_of(*other) == place_of(writer) && *other > writer && *at <= by_ms
        })
    }
}

/// Every violation of every rule of transactions.
pub fn check(history: &History, log: &[LogEntry], promises: Promises) -> Vec<TransactionViolation> {
    let (told, visible) = (Told::of(history), Visible::of(log));
    let mut found = Vec::new();
    whole(&told, &visible, &mut found);
    order(&told, &visible, &mut found);
    offsets(&told, &visible, promises, &mut found);
    if promises.all_is_well {
        nothing_fails(&told, promises, &mut found);
    }
    if promises.settled {
        let open = visible.open.iter();
        found.extend(open.map(|(topic, partition, _)| Found::StaysOpen {
            topic: *topic,
            partition: *partition,
        }));
    }
    if promises.loops {
        outputs(&told, &visible, promises, &mut found);
    }
    seen(&told, &visible, &mut found);
    found
}

fn is_input(record: &&Placed) -> bool {
    Topic::INPUTS.contains(&record.topic)
}

/// Each transaction is visible whole, or not at all, as the application was told.
fn whole(told: &Told, visible: &Visible, found: &mut Vec<Found>) {
    let mut there = BTreeSet::new();
    for record in visible.records.iter().filter(is_input) {
        if !there.insert((record.id, record.topic)) {
            found.push(Found::VisibleTwice(record.id));
        }
    }
    for ((writer, number), transaction) in &told.transactions {
        let (visible, missing): (Vec<_>, Vec<_>) =
            (transaction.records.iter()).partition(|it| there.contains(it));
        match transaction.fate(*writer) {
            Fate::All => found.extend(missing.iter().map(|(id, _)| Found::CommittedMissing(*id))),
            Fate::Nothing => found.extend(visible.iter().map(|(id, _)| Found::AbortedVisible(*id))),
            Fate::AllOrNothing if visible.is_empty() || missing.is_empty() => {}
            Fate::AllOrNothing => found.push(Found::Torn {
                writer: *writer,
                transaction: *number,
            }),
        }
    }
    let all = visible.records.iter().chain(&visible.hidden);
    let unknown = all.filter(|record| is_input(record) && !told.accepted.contains_key(&record.id));
    found.extend(unknown.map(|record| Found::NeverAccepted(record.id)));
    let places: BTreeSet<&Placed> = visible.records.iter().collect();
    let elsewhere = told.acknowledged.iter().filter(|it| !places.contains(it));
    found.extend(elsewhere.map(|record| Found::AcknowledgedElsewhere(record.id)));
}

/// What one place writes to a partition is visible in the order in which it was written: by one instance after the other.
fn order(told: &Told, visible: &Visible, found: &mut Vec<Found>) {
    let mut last: BTreeMap<(Topic, i32, u32), Id> = BTreeMap::new();
    let mut zombies = BTreeSet::new();
    for record in visible.records.iter().filter(is_input) {
        let of_place = (record.topic, record.partition, place_of(record.id.producer));
        if let Some(before) = last.insert(of_place, record.id) {
            if before.producer > record.id.producer {
                zombies.insert(record.id);
            } else if before > record.id {
                found.push(Found::OutOfOrder {
                    earlier: record.id,
                    later: before,
                });
            }
        }
        let accepted = told.accepted.get(&record.id).copied();
        let writer = record.id.producer;
        let is_fenced = told.connected.iter().any(|(other, index)| {
            place_of(*other) == place_of(writer)
                && *other > writer
                && accepted.is_some_and(|accepted| accepted > *index)
        });
        if is_fenced {
            zombies.insert(record.id);
        }
    }
    found.extend(zombies.into_iter().map(Found::Zombie));
}

/// Offsets are committed with their transactions, and not without them.
fn offsets(told: &Told, visible: &Visible, promises: Promises, found: &mut Vec<Found>) {
    let written: BTreeSet<(u32, u32)> = (visible.records.iter().filter(is_input))
        .map(|record| transaction_of(record.id))
        .collect();
    for (place, offsets) in &told.offsets_of_writers {
        let with_offsets = (told.transactions.iter())
            .filter(|((writer, _), it)| place_of(*writer) == *place && it.has_offset);
        for ((writer, number), transaction) in with_offsets.clone() {
            let was_there = offsets.contains(&offset_of(*writer, *number));
            let is_void = match transaction.fate(*writer) {
                Fate::Nothing => true,
                // Who has records is known by them.
                Fate::AllOrNothing => {
                    !transaction.records.is_empty() && !written.contains(&(*writer, *number))
                }
                Fate::All => false,
            };
            if was_there && is_void {
                found.push(Found::OffsetOfAborted {
                    writer: *writer,
                    transaction: *number,
                });
            }
        }
    }
    for place in told.places_with_offsets() {
        let mut committed = told.transactions.iter().filter(|((writer, number), it)| {
            let is_committed = match it.fate(*writer) {
                Fate::All => true,
                Fate::AllOrNothing => written.contains(&(*writer, *number)),
                Fate::Nothing => false,
            };
            place_of(*writer) == place && it.has_offset && is_committed
        });
        let Some(((writer, number), _)) = committed.next_back() else {
            continue;
        };
        let known = told.offsets_of_writers.get(&place);
        let last = known.and_then(|offsets| offsets.last()).copied();
        if promises.settled && last.is_none_or(|last| last < offset_of(*writer, *number)) {
            found.push(Found::OffsetMissing {
                writer: *writer,
                transaction: *number,
            });
        }
    }
    let all = (told.offsets_of_writers.values()).chain(told.offsets_of_loops.values());
    for offsets in all {
        let falls = offsets.windows(2).filter(|two| two[1] < two[0]);
        found.extend(falls.map(|two| Found::OffsetFell { next: two[1] }));
    }
}

impl Told {
    fn places_with_offsets(&self) -> BTreeSet<u32> {
        let with = self.transactions.iter().filter(|(_, it)| it.has_offset);
        with.map(|((writer, _), _)| place_of(*writer)).collect()
    }
}

/// Where nothing is wrong, what is in time and not fenced is committed.
fn nothing_fails(told: &Told, promises: Promises, found: &mut Vec<Found>) {
    for ((writer, number), transaction) in &told.transactions {
        let Some((Ended::NotCommitted | Ended::Unknown, at)) = transaction.ended else {
            continue;
        };
        let took = at - transaction.begun_ms.unwrap_or(at);
        if took < promises.timeout_ms && !told.is_taken_over(*writer, at) {
            found.push(Found::FailedForNothing {
                writer: *writer,
                transaction: *number,
            });
        }
    }
    let failed = told.failed_loops.iter();
    found.extend(failed.map(|member| Found::LoopFailed { member: *member }));
}

/// What loops write: of everything that was committed in the ledger once, under each key in its order.
fn outputs(told: &Told, visible: &Visible, promises: Promises, found: &mut Vec<Found>) {
    let of = |topic: Topic| {
        let records = visible.records.iter();
        records.filter(move |record| record.topic == topic)
    };
    let inputs: BTreeMap<Id, (i32, i64)> = of(Topic::Ledger)
        .map(|record| (record.id, (record.partition, record.offset)))
        .collect();
    let topics = match promises.copies {
        true => &[Topic::Outputs, Topic::Copies][..],
        false => &[Topic::Outputs],
    };
    for topic in topics.iter().copied() {
        let mut made = BTreeSet::new();
        let mut last: BTreeMap<(i32, u32), (i64, Id)> = BTreeMap::new();
        for output in of(topic) {
            let Some((partition, offset)) = inputs.get(&output.id).copied() else {
                found.push(Found::OutputOfNothing(output.id));
                continue;
            };
            if !made.insert(output.id) {
                found.push(Found::InputTwice(output.id));
                continue;
            }
            let Some(key) = told.keys.get(&output.id).copied() else {
                continue;
            };
            if let Some((before, later)) = last.insert((partition, key), (offset, output.id))
                && before > offset
            {
                found.push(Found::OutputsOutOfOrder {
                    earlier: output.id,
                    later,
                });
            }
        }
        if promises.settled {
            let lost = inputs.keys().filter(|id| !made.contains(id));
            found.extend(lost.map(|id| Found::InputLost(*id)));
        }
    }
}

/// The reader of what is committed: forward, past nothing, and nothing else.
fn seen(told: &Told, visible: &Visible, found: &mut Vec<Found>) {
    let places: BTreeMap<(Topic, i32, i64), Id> = (visible.records.iter())
        .map(|it| ((it.topic, it.partition, it.offset), it.id))
        .collect();
    let mut next: BTreeMap<(Topic, i32), i64> = BTreeMap::new();
    for record in &told.seen {
        let Placed {
            topic,
            partition,
            offset,
            id,
        } = *record;
        if places.get(&(topic, partition, offset)) != Some(&id) {
            found.push(Found::SeenHidden {
                topic,
                partition,
                offset,
            });
            continue;
        }
        let from = next.insert((topic, partition), offset + 1).unwrap_or(0);
        let passes = from <= offset
            && (places.range((topic, partition, from)..(topic, partition, offset)))
                .next()
                .is_none();
        if !passes {
            found.push(Found::SeenOutOfOrder {
                topic,
                partition,
                offset,
            });
        }
    }
}
