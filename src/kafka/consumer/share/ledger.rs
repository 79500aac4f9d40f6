//! Which records this member holds, what the application decided of each, and what became of that. In: what is handed out, decided, sent and
//! answered. Out: what to send to a broker, and results for whoever waits for them.
//!
//! ```text
//!   held ──acknowledge──> decided ──poll, commit──> to be sent ──request──> under way ──answer──> over
//!     └──────renew──────> decided (and still held)
//! ```
//!
//! A record is its broker's, in whose session it was acquired: where the leader moves, what the last one handed out is acknowledged there.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::ticket::Ticket;
use crate::kafka::group::heartbeats::IdPartition;
use crate::kafka::{Result, TopicPartition};

/// What the protocol calls the ways to acknowledge.
pub(super) const GAP: i8 = 0;
pub(super) const ACCEPT: i8 = 1;
pub(super) const RELEASE: i8 = 2;
pub(super) const REJECT: i8 = 3;
pub(super) const RENEW: i8 = 4;

/// Where records were acquired: the broker, and the partition.
pub(super) type Place = (i32, IdPartition);

/// Offsets from `first` to `last` that are acknowledged in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub first: i64,
    pub last: i64,
    pub kind: i8,
}

/// What is sent of one partition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sent {
    pub id: IdPartition,
    pub partition: TopicPartition,
    /// By offset, none twice.
    pub runs: Vec<Run>,
}

/// All places.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    places: BTreeMap<Place, Entry>,
}

#[derive(Debug)]
struct Entry {
    partition: TopicPartition,
    /// Offsets that the application holds, and when their locks are over for certain.
    held: BTreeMap<i64, Instant>,
    decided: Decisions,
    to_send: Decisions,
    /// Who waits for what is to be sent, and for what is under way.
    waiting: Vec<Ticket>,
    under_way: Option<Vec<Ticket>>,
}

/// How offsets are to be acknowledged: records, and stretches without any.
#[derive(Debug, Default)]
struct Decisions {
    records: BTreeMap<i64, i8>,
    stretches: Vec<Run>,
}

impl Decisions {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.stretches.is_empty()
    }

    /// Takes over later ones.
    fn append(&mut self, later: &mut Self) {
        self.records.append(&mut later.records);
        self.stretches.append(&mut later.stretches);
    }

    fn into_runs(self) -> Vec<Run> {
        let records = self.records.into_iter().map(|(offset, kind)| Run {
            first: offset,
            last: offset,
            kind,
        });
        let mut all: Vec<Run> = records.chain(self.stretches).collect();
        all.sort_unstable_by_key(|run| run.first);
        let mut runs: Vec<Run> = Vec::new();
        for run in all {
            match runs.last_mut() {
                Some(last)
                    if last.kind == run.kind && last.last.checked_add(1) == Some(run.first) =>
                {
                    last.last = run.last;
                }
                // Acquired a second time before the first was acknowledged: a broker takes each offset once.
                Some(last) if last.last >= run.first => {}
                _ => runs.push(run),
            }
        }
        runs
    }
}

impl Ledger {
    fn entry(&mut self, place: Place, partition: &TopicPartition) -> &mut Entry {
        self.places.entry(place).or_insert_with(|| Entry {
            partition: partition.clone(),
            held: BTreeMap::new(),
            decided: Decisions::default(),
            to_send: Decisions::default(),
            waiting: Vec::new(),
            under_way: None,
        })
    }

    /// The application gets this record, whose lock is over by `expires`.
    pub fn hand_out(
        &mut self,
        place: Place,
        partition: &TopicPartition,
        offset: i64,
        expires: Instant,
    ) {
        self.entry(place, partition).held.insert(offset, expires);
    }

    /// What nobody gets: these offsets are acknowledged with what comes next.
    pub fn pass(
        &mut self,
        place: Place,
        partition: &TopicPartition,
        runs: impl IntoIterator<Item = Run>,
    ) {
        let mut runs = runs.into_iter().peekable();
        if runs.peek().is_some() {
            self.entry(place, partition).decided.stretches.extend(runs);
        }
    }

    /// The application acknowledges a record. `false` where it does not hold it.
    pub fn acknowledge(&mut self, place: Place, offset: i64, kind: i8) -> bool {
        let Some(entry) = self.places.get_mut(&place) else {
            return false;
        };
        let is_held = match kind {
            RENEW => entry.held.contains_key(&offset),
            _ => entry.held.remove(&offset).is_some(),
        };
        if is_held {
            entry.decided.records.insert(offset, kind);
        }
        is_held
    }

    /// The lock of a record that is held begins anew: it is over by `expires`.
    pub fn keep(&mut self, place: Place, offset: i64, expires: Instant) {
        let held = self.places.get_mut(&place);
        if let Some(known) = held.and_then(|entry| entry.held.get_mut(&offset)) {
            *known = expires.max(*known);
        }
    }

    /// Acknowledges all that the application holds in the same way.
    pub fn acknowledge_all(&mut self, kind: i8) {
        for entry in self.places.values_mut() {
            let held = std::mem::take(&mut entry.held);
            let held = held.into_keys().map(|offset| (offset, kind));
            entry.decided.records.extend(held);
        }
    }

    /// What was decided is to be sent; `ticket` waits for that, and for what is under way.
    pub fn flush(&mut self, ticket: Option<&Ticket>) {
        for entry in self.places.values_mut() {
            entry.to_send.append(&mut entry.decided);
            let Some(ticket) = ticket else { continue };
            if !entry.to_send.is_empty() {
                ticket.expect();
                entry.waiting.push(ticket.clone());
            }
            if let Some(waiting) = &mut entry.under_way {
                ticket.expect();
                waiting.push(ticket.clone());
            }
        }
    }

    /// Whether there is something to send to the broker.
    pub fn has_to_send(&self, node: i32) -> bool {
        self.of(node).any(|(_, entry)| !entry.to_send.is_empty())
    }

    /// Whether what is to be sent to the broker is of partitions that are not `fetched` from there, or renews locks: then it goes by itself.
    pub fn goes_alone(&self, node: i32, fetched: impl Fn(&IdPartition) -> bool) -> bool {
        self.of(node).any(|((_, id), entry)| {
            let mut kinds = entry.to_send.records.values();
            !entry.to_send.is_empty() && (!fetched(id) || kinds.any(|kind| *kind == RENEW))
        })
    }

    /// Whether anything is held, decided, to be sent, or under way at the broker.
    pub fn has_any(&self, node: i32) -> bool {
        self.of(node).next().is_some()
    }

    /// The brokers of all places.
    pub fn nodes(&self) -> impl Iterator<Item = i32> {
        self.places.keys().map(|(node, _)| *node)
    }

    fn of(&self, node: i32) -> impl Iterator<Item = (&Place, &Entry)> {
        let from = (node, (protocol::Uuid::ZERO, i32::MIN));
        let of_node = self.places.range(from..);
        of_node.take_while(move |((at, _), _)| *at == node)
    }

    /// Takes what is to be sent to the broker: under way from now on, until [`answered`](Self::answered).
    pub fn send(&mut self, node: i32) -> Vec<Sent> {
        let mut sent = Vec::new();
        for ((at, id), entry) in &mut self.places {
            if *at != node || entry.to_send.is_empty() || entry.under_way.is_some() {
                continue;
            }
            entry.under_way = Some(std::mem::take(&mut entry.waiting));
            sent.push(Sent {
                id: *id,
                partition: entry.partition.clone(),
                runs: std::mem::take(&mut entry.to_send).into_runs(),
            });
        }
        sent
    }

    /// What became of what was under way.
    pub fn answered(&mut self, place: Place, result: &Result<()>) {
        if let Some(entry) = self.places.get_mut(&place) {
            let waiting = entry.under_way.take();
            for ticket in waiting.into_iter().flatten() {
                ticket.answered(&entry.partition, result);
            }
        }
        self.drop_if_done(place);
    }

    /// What was to be sent to the broker cannot be. Returns how many partitions that concerns.
    pub fn give_up(&mut self, node: i32, result: &Result<()>) -> usize {
        let places: Vec<Place> = self.of(node).map(|(place, _)| *place).collect();
        let mut count = 0;
        for place in places {
            if let Some(entry) = self.places.get_mut(&place) {
                count += usize::from(!entry.to_send.is_empty());
                entry.to_send = Decisions::default();
                for ticket in std::mem::take(&mut entry.waiting) {
                    ticket.answered(&entry.partition, result);
                }
            }
            self.drop_if_done(place);
        }
        count
    }

    /// The member lets go: what it holds is released by the end of the session, and nothing is renewed.
    pub fn let_go(&mut self) {
        let places: Vec<Place> = self.places.keys().copied().collect();
        for place in places {
            if let Some(entry) = self.places.get_mut(&place) {
                entry.held.clear();
                for decisions in [&mut entry.decided, &mut entry.to_send] {
                    decisions.records.retain(|_, kind| *kind != RENEW);
                }
            }
            self.drop_if_done(place);
        }
    }

    /// Forgets records whose locks are over for certain: nobody acknowledged them in time.
    pub fn expire(&mut self, now: Instant) {
        let places: Vec<Place> = self.places.keys().copied().collect();
        for place in places {
            if let Some(entry) = self.places.get_mut(&place) {
                entry.held.retain(|_, expires| *expires > now);
            }
            self.drop_if_done(place);
        }
    }

    fn drop_if_done(&mut self, place: Place) {
        if let Some(entry) = self.places.get_mut(&place)
            && entry.to_send.is_empty()
        {
            let nothing_left = std::mem::take(&mut entry.waiting);
            let partition = &entry.partition;
            nothing_left
                .iter()
                .for_each(|ticket| ticket.answered(partition, &Ok(())));
        }
        let is_done = self.places.get(&place).is_some_and(|entry| {
            entry.held.is_empty()
                && entry.decided.is_empty()
                && entry.to_send.is_empty()
                && entry.under_way.is_none()
        });
        if is_done {
            self.places.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests;
