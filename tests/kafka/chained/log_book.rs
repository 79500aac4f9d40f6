//! What members of one group were handed out, and what they committed: the judge of one stage of a chain. Pure. In: each record as a member gets it, each
//! commit that was confirmed, who was dropped, who was told that partitions are lost. Out: a panic, or at the end what was not as promised.

use std::collections::BTreeSet;

/// A member, and how often it has lost its partitions so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reader {
    pub member: usize,
    pub tenure: usize,
}

/// A record, as far as it matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub partition: i32,
    pub offset: i64,
    pub key: u64,
    /// Its place among those of its key.
    pub number: u64,
}

/// What is no fault if one of these was dropped, or has lost its partitions: a member may not have heard yet that it lost them.
#[derive(Debug)]
struct Doubt {
    unless_gone: Option<Reader>,
    unless_lost: Reader,
    what: String,
}

#[derive(Debug, Default)]
struct Log {
    /// The offset after the one that was handed out last, and to whom that was.
    next: i64,
    by: Option<Reader>,
    committed: i64,
    seen: Vec<bool>,
}

#[derive(Debug)]
pub(super) struct LogBook {
    logs: Vec<Log>,
    /// The number that is to come next, of each key.
    keys: Vec<u64>,
    /// How many numbers each key has.
    numbers: Vec<u64>,
    handed_out: u64,
    again: u64,
    whole_keys: usize,
    dropped: BTreeSet<usize>,
    lost: BTreeSet<Reader>,
    doubts: Vec<Doubt>,
}

impl LogBook {
    pub fn new(partitions: usize, keys: u64, records: u64) -> Self {
        let numbers = |key| records / keys + u64::from(key < records % keys);
        Self {
            logs: (0..partitions).map(|_| Log::default()).collect(),
            keys: vec![0; keys as usize],
            numbers: (0..keys).map(numbers).collect(),
            handed_out: 0,
            again: 0,
            whole_keys: 0,
            dropped: BTreeSet::new(),
            lost: BTreeSet::new(),
            doubts: Vec::new(),
        }
    }

    pub fn handed_out_to(&mut self, reader: Reader, place: Place) {
        let log = &mut self.logs[place.partition as usize];
        let index = usize::try_from(place.offset).expect("an offset");
        let doubt = |unless_gone, what: &str| Doubt {
            unless_gone,
            unless_lost: reader,
            what: format!(
                "{what}: {reader:?} got {place:?} after {} to {:?}, committed to {}",
                log.next, log.by, log.committed
            ),
        };
        if log.by.is_some() && place.offset < log.committed {
            let doubt = doubt(None, "committed, and handed out again");
            self.doubts.push(doubt);
        }
        if place.offset != log.next {
            let doubt = doubt(log.by, "not in its turn");
            assert_ne!(log.by, Some(reader), "{}", doubt.what);
            self.doubts.push(doubt);
        }
        (log.next, log.by) = (place.offset + 1, Some(reader));
        if log.seen.len() <= index {
            log.seen.resize(index + 1, false);
        }
        self.handed_out += 1;
        self.again += u64::from(std::mem::replace(&mut log.seen[index], true));
        let expected = &mut self.keys[place.key as usize];
        assert!(
            place.number <= *expected,
            "{place:?} overtook number {expected} of its key"
        );
        if place.number == *expected {
            *expected += 1;
            self.whole_keys += usize::from(*expected == self.numbers[place.key as usize]);
        }
    }

    /// A commit of the offset after this one was confirmed.
    pub fn committed(&mut self, partition: i32, next: i64) {
        let log = &mut self.logs[partition as usize];
        log.committed = log.committed.max(next);
    }

    pub fn dropped(&mut self, member: usize) {
        self.dropped.insert(member);
    }

    pub fn lost(&mut self, reader: Reader) {
        self.lost.insert(reader);
    }

    pub fn is_whole(&self) -> bool {
        self.whole_keys == self.keys.len()
    }

    pub fn handed_out(&self) -> u64 {
        self.handed_out
    }

    /// How many were handed out again, how many members were dropped, and how often one lost its partitions.
    pub fn counts(&self) -> (u64, usize, usize) {
        (self.again, self.dropped.len(), self.lost.len())
    }

    /// The offset after the one handed out last, of each partition.
    pub fn nexts(&self) -> Vec<i64> {
        self.logs.iter().map(|log| log.next).collect()
    }

    /// Whether all was as promised, now that these are the logs' ends.
    pub fn check(&self, ends: &[i64]) -> Result<(), String> {
        for (index, (log, end)) in self.logs.iter().zip(ends).enumerate() {
            let never = log.seen.iter().position(|seen| !seen);
            if let Some(offset) = never {
                return Err(format!("offset {offset} of {index} was never handed out"));
            }
            if log.seen.len() as i64 != *end {
                return Err(format!("{index} ends at {end}, read to {}", log.seen.len()));
            }
        }
        let is_gone =
            |reader: &Reader| self.dropped.contains(&reader.member) || self.lost.contains(reader);
        let stands = |doubt: &&Doubt| {
            !self.lost.contains(&doubt.unless_lost)
                && !doubt.unless_gone.as_ref().is_some_and(is_gone)
        };
        match self.doubts.iter().find(stands) {
            Some(doubt) => Err(doubt.what.clone()),
            None => Ok(()),
        }
    }
}
