//! What members of one share group were handed out, and what they accepted: the judge of a stage that is a queue. Pure. In: each record as a member gets
//! it, which acknowledgements were confirmed, who was dropped. Out: a panic, or at the end what was not as promised.

use std::collections::{BTreeMap, BTreeSet};

use super::log_book::Place;

#[derive(Debug)]
struct Delivered {
    /// Who had it last.
    to: usize,
    /// Who accepted it, as its leader has confirmed.
    accepted_by: Option<usize>,
}

#[derive(Debug)]
pub(super) struct QueueBook {
    records: BTreeMap<(i32, i64), Delivered>,
    /// Ids of what was accepted.
    accepted: BTreeSet<(u64, u64)>,
    wanted: u64,
    handed_out: u64,
    again: u64,
    dropped: BTreeSet<usize>,
    /// Acknowledgements that were not taken.
    refused: Vec<(usize, String)>,
    doubts: Vec<(usize, String)>,
}

impl QueueBook {
    pub fn new(records: u64) -> Self {
        Self {
            records: BTreeMap::new(),
            accepted: BTreeSet::new(),
            wanted: records,
            handed_out: 0,
            again: 0,
            dropped: BTreeSet::new(),
            refused: Vec::new(),
            doubts: Vec::new(),
        }
    }

    pub fn handed_out_to(&mut self, member: usize, place: Place, count: i16) {
        self.handed_out += 1;
        let delivered = Delivered {
            to: member,
            accepted_by: None,
        };
        let key = (place.partition, place.offset);
        let Some(before) = self.records.insert(key, delivered) else {
            return;
        };
        self.again += 1;
        let what = format!("{member} got {place:?}, delivered {count} times, after {before:?}");
        assert_eq!(before.accepted_by, None, "accepted: {what}");
        self.doubts.push((before.to, what));
    }

    /// The acceptance of these was confirmed.
    pub fn accepted(&mut self, member: usize, places: impl IntoIterator<Item = Place>) {
        for place in places {
            self.accepted.insert((place.key, place.number));
            if let Some(record) = self.records.get_mut(&(place.partition, place.offset)) {
                // Of what another has got meanwhile the doubt remains.
                if record.to == member {
                    record.accepted_by = Some(member);
                }
            }
        }
    }

    /// Something that this member acknowledged was not taken.
    pub fn refused(&mut self, member: usize, why: String) {
        self.refused.push((member, why));
    }

    pub fn dropped(&mut self, member: usize) {
        self.dropped.insert(member);
    }

    pub fn is_whole(&self) -> bool {
        self.accepted.len() as u64 == self.wanted
    }

    pub fn handed_out(&self) -> u64 {
        self.handed_out
    }

    /// How many were handed out again, how many members were dropped, and how often something was refused.
    pub fn counts(&self) -> (u64, usize, usize) {
        (self.again, self.dropped.len(), self.refused.len())
    }

    /// What was handed out and whose acceptance nobody has confirmed.
    pub fn not_accepted(&self) -> Vec<String> {
        let waits = self
            .records
            .iter()
            .filter(|(_, it)| it.accepted_by.is_none());
        waits.map(|record| format!("{record:?}")).collect()
    }

    /// Whether all was as promised: again came only what a dropped member had, and all that others acknowledged was taken.
    pub fn check(&self) -> Result<(), String> {
        let mut faults = self.refused.iter().chain(&self.doubts);
        match faults.find(|(member, _)| !self.dropped.contains(member)) {
            Some((member, what)) => Err(format!("of {member}: {what}")),
            None => Ok(()),
        }
    }
}
