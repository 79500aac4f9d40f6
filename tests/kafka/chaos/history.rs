//! What writers wrote, what became of it as they were told, and what readers saw: the judge. Pure. In: numbers that are handed out, their fates, and each record
//! as it is read. Out: what was lost, doubled, torn, out of order, or seen though it was aborted.

use std::collections::BTreeMap;

/// Who wrote a record, and as which of its own; and what it was written with. As the first bytes of the record's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub writer: u32,
    pub number: u64,
    /// Of the transaction that it was written in; 0 for none.
    pub transaction: u64,
    /// How many records that has.
    pub size: u32,
}

impl Identity {
    /// What is written besides.
    const PADDED: usize = 100;

    pub fn to_value(self) -> [u8; Self::PADDED] {
        let mut value = [b'.'; Self::PADDED];
        value[..4].copy_from_slice(&self.writer.to_be_bytes());
        value[4..12].copy_from_slice(&self.number.to_be_bytes());
        value[12..20].copy_from_slice(&self.transaction.to_be_bytes());
        value[20..24].copy_from_slice(&self.size.to_be_bytes());
        value
    }

    pub fn of(value: &[u8]) -> Self {
        assert_eq!(value.len(), Self::PADDED, "a value of these tests");
        let long = |at: usize| u64::from_be_bytes(value[at..at + 8].try_into().expect("8 bytes"));
        let int = |at: usize| u32::from_be_bytes(value[at..at + 4].try_into().expect("4 bytes"));
        Self {
            writer: int(0),
            number: long(4),
            transaction: long(12),
            size: int(20),
        }
    }
}

/// What became of a record, as its writer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody has said yet.
    Open,
    Written,
    /// It was not written, or it was aborted.
    Absent,
    Unknown,
}

/// What was seen of a topic.
#[derive(Debug, Default)]
struct Seen {
    count: u64,
    /// The offset after the last one of each partition.
    next: BTreeMap<i32, i64>,
    /// By writer and number.
    records: BTreeMap<u32, Vec<bool>>,
    /// The last number of each writer in each partition.
    last: BTreeMap<(u32, i32), u64>,
    /// How many records each transaction has, and how many of them were seen.
    transactions: BTreeMap<u64, (u32, u32)>,
}

/// All that is known.
#[derive(Debug, Default)]
pub struct History {
    writers: BTreeMap<u32, Vec<Fate>>,
    topics: BTreeMap<String, Seen>,
    faults: Vec<String>,
}

/// How much there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // Printed.
pub struct Figures {
    /// Records that writers handed in.
    pub handed_in: u64,
    pub written: u64,
    pub absent: u64,
    pub unknown: u64,
    /// Records that were seen, of all topics.
    pub seen: u64,
    /// Transactions that were seen.
    pub transactions: u64,
}

impl History {
    /// The next number of a writer.
    pub fn hand_in(&mut self, writer: u32) -> u64 {
        let fates = self.writers.entry(writer).or_default();
        fates.push(Fate::Open);
        fates.len() as u64 - 1
    }

    pub fn became(&mut self, writer: u32, number: u64, fate: Fate) {
        let fates = self.writers.entry(writer).or_default();
        fates[number as usize] = fate;
    }

    /// A reader of what is committed has got this record.
    pub fn saw(&mut self, topic: &str, partition: i32, offset: i64, what: Identity) {
        let seen = self.topics.entry(topic.to_owned()).or_default();
        let place = format!("{topic}-{partition} at {offset}: {what:?}");
        let next = seen.next.insert(partition, offset + 1);
        if next.is_some_and(|next| offset < next) {
            self.faults.push(format!("read again: {place}"));
            return;
        }
        seen.count += 1;
        let records = seen.records.entry(what.writer).or_default();
        let index = what.number as usize;
        if records.len() <= index {
            records.resize(index + 1, false);
        }
        if std::mem::replace(&mut records[index], true) {
            self.faults.push(format!("doubled: {place}"));
        }
        let last = seen.last.insert((what.writer, partition), what.number);
        if let Some(last) = last
            && last >= what.number
        {
            self.faults
                .push(format!("out of order: after {last} {place}"));
        }
        if what.transaction > 0 {
            let parts = seen.transactions.entry(what.transaction);
            parts.or_insert((what.size, 0)).1 += 1;
        }
    }

    /// How many records were seen.
    pub fn seen_records(&self) -> u64 {
        self.topics.values().map(|seen| seen.count).sum()
    }

    /// Whether everything that was written was seen, as far as can be told by counts.
    pub fn is_complete(&self, input: &str, outputs: &[&str]) -> bool {
        let count = |topic: &str| self.topics.get(topic).map_or(0, |seen| seen.count);
        let missing = |(writer, number): (u32, u64)| !self.is_seen(input, writer, number);
        outputs.iter().all(|output| count(output) == count(input))
            && !self.all(Fate::Written).any(missing)
    }

    fn is_seen(&self, topic: &str, writer: u32, number: u64) -> bool {
        let seen = self.topics.get(topic);
        let of_writer = seen.and_then(|seen| seen.records.get(&writer));
        of_writer.is_some_and(|it| it.get(number as usize).copied().unwrap_or_default())
    }

    fn all(&self, fate: Fate) -> impl Iterator<Item = (u32, u64)> {
        self.writers.iter().flat_map(move |(writer, fates)| {
            let those = (0..).zip(fates).filter(move |(_, it)| **it == fate);
            those.map(|(number, _)| (*writer, number))
        })
    }

    /// What there was, or the first things that must not be.
    pub fn verdict(&self, input: &str, outputs: &[&str]) -> Result<Figures, Vec<String>> {
        const FIRST: usize = 20;
        let mut faults = self.faults.clone();
        let unsettled = self.all(Fate::Open);
        faults.extend(unsettled.map(|it| format!("nobody said what became of {it:?}")));
        for (writer, number) in self.all(Fate::Written) {
            if !self.is_seen(input, writer, number) {
                faults.push(format!("lost: {number} of writer {writer}"));
            }
        }
        for (writer, number) in self.all(Fate::Absent) {
            if self.is_seen(input, writer, number) {
                faults.push(format!("seen, but not written: {number} of {writer}"));
            }
        }
        for (writer, fates) in &self.writers {
            for number in 0..fates.len() as u64 {
                let is_in = self.is_seen(input, *writer, number);
                for output in outputs {
                    let is_out = self.is_seen(output, *writer, number);
                    match (is_in, is_out) {
                        (true, false) => {
                            faults.push(format!("not copied to {output}: {number} of {writer}"));
                        }
                        (false, true) => {
                            faults.push(format!("out of nothing in {output}: {number} of {writer}"))
                        }
                        _ => {}
                    }
                }
            }
        }
        for (topic, seen) in &self.topics {
            for (transaction, (size, parts)) in &seen.transactions {
                if size != parts {
                    faults.push(format!(
                        "torn: {parts} of {size} records of transaction {transaction} in {topic}"
                    ));
                }
            }
        }
        if !faults.is_empty() {
            let more = faults.len().saturating_sub(FIRST);
            faults.truncate(FIRST);
            faults.push(format!("and {more} more"));
            return Err(faults);
        }
        let count = |fate| self.all(fate).count() as u64;
        let transactions = self.topics.values().map(|it| it.transactions.len() as u64);
        Ok(Figures {
            handed_in: self.writers.values().map(|it| it.len() as u64).sum(),
            written: count(Fate::Written),
            absent: count(Fate::Absent),
            unknown: count(Fate::Unknown),
            seen: self.seen_records(),
            transactions: transactions.sum(),
        })
    }
}

/// What makes another history: topics, offsets and records as they are seen, and fates.
type Change<'a> = &'a dyn Fn(&mut Vec<(&'static str, i64, Identity)>, &mut Vec<Fate>);

/// The judge against histories of which each has one thing that must not be.
pub fn histories_with_a_fault_are_found() {
    let history = |change: Change<'_>| {
        let identity = |number, transaction| Identity {
            writer: 3,
            number,
            transaction,
            size: 2,
        };
        // Four records in two transactions, of which the second was aborted; then two more, whose fate is not known.
        let mut seen: Vec<(&str, i64, Identity)> = vec![
            ("in", 0, identity(0, 7)),
            ("in", 1, identity(1, 7)),
            ("in", 6, identity(4, 9)),
            ("in", 7, identity(5, 9)),
            ("out", 0, identity(0, 20)),
            ("out", 1, identity(1, 20)),
            ("out", 3, identity(4, 21)),
            ("out", 4, identity(5, 21)),
        ];
        let mut fates = vec![
            Fate::Written,
            Fate::Written,
            Fate::Absent,
            Fate::Absent,
            Fate::Unknown,
            Fate::Unknown,
        ];
        change(&mut seen, &mut fates);
        let mut history = History::default();
        for fate in fates {
            let number = history.hand_in(3);
            history.became(3, number, fate);
        }
        for (topic, offset, identity) in seen {
            history.saw(topic, 0, offset, identity);
        }
        history.verdict("in", &["out"])
    };
    let good = history(&|_, _| {}).expect("nothing is wrong");
    assert_eq!(
        good,
        Figures {
            handed_in: 6,
            written: 2,
            absent: 2,
            unknown: 2,
            seen: 8,
            transactions: 4,
        }
    );
    let none_of_the_unknown = history(&|seen, _| seen.retain(|it| it.2.number < 4));
    none_of_the_unknown.expect("nothing is wrong");
    let found = |what: &str, change: Change<'_>| {
        let faults = history(change).expect_err(what);
        assert!(faults.iter().any(|it| it.contains(what)), "{faults:?}");
    };
    found("lost", &|seen, _| seen.retain(|it| it.2.number != 1));
    found("torn", &|seen, _| seen.retain(|it| it.2.number != 4));
    found("torn", &|seen, _| seen[6].2.transaction = 22);
    found("not copied", &|seen, _| seen.truncate(6));
    found("out of nothing", &|seen, _| {
        seen.remove(2);
    });
    found("doubled", &|seen, _| {
        let again = seen[7].2;
        seen.push(("out", 9, again));
    });
    found("out of order", &|seen, _| {
        let (first, second) = (seen[4].2, seen[5].2);
        (seen[4].2, seen[5].2) = (second, first);
    });
    found("read again", &|seen, _| seen[1].1 = 0);
    found("not written", &|_, fates| fates[1] = Fate::Absent);
    found("nobody said", &|_, fates| fates[5] = Fate::Open);
    let identity = Identity {
        writer: 1,
        number: u64::MAX,
        transaction: 1 << 40,
        size: 9,
    };
    assert_eq!(Identity::of(&identity.to_value()), identity);
}
