//! What of one origin partition is under way in the retry topics, and whose turn it is. Sans-IO.
//!
//! In: keys, by their hashes, and offsets in the origin partition. Out: whether an event is handled, sent behind others of its key, or over.
//!
//! An event is named by its key and its offset in the origin, and is in the book with the level that has it: 0 while it is handled out of the
//! origin, then the number of the retry topic. A record of a retry topic that the book does not have, or has at another level, is a copy:
//! written twice, by a member that lost the partition meanwhile, or read again because its commit was lost. The event itself is handled from
//! elsewhere, or was.

use std::collections::BTreeMap;

#[cfg(planted_defects)]
use crate::kafka::planted;

/// A key, by its hash: two keys with one hash are one.
pub(crate) type KeyHash = u64;

/// What an event's turn comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is handled.
    Handle,
    /// It is sent to the retry topic of this level, behind others of its key.
    Behind(u8),
    /// It is finished, or is handled from elsewhere.
    Over,
    /// It cannot be said now.
    Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    level: u8,
    /// It is on its way there, and not acknowledged.
    is_sending: bool,
}

/// What is under way. Its size is bounded: beyond `limit` no event begins its way.
#[derive(Debug)]
pub(crate) struct Book {
    under_way: BTreeMap<(KeyHash, i64), Place>,
    limit: usize,
}

impl Book {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            under_way: BTreeMap::new(),
            limit,
        }
    }

    /// How many events are under way.
    pub(crate) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// A record of the retry topic of `level`, found there when the partition was assigned. Of the copies of an event the highest counts: it
    /// was written last. `false`: they are more than a book may hold.
    pub(crate) fn found(&mut self, key: KeyHash, offset: i64, level: u8) -> bool {
        let found = Place {
            level,
            is_sending: false,
        };
        let place = self.under_way.entry((key, offset)).or_insert(found);
        place.level = place.level.max(level);
        // Twice as many: the book of another member may have been larger, and copies of what is finished look as if they were under way.
        self.under_way.len() <= self.limit.saturating_mul(2)
    }

    /// The turn of an event of the origin.
    pub(crate) fn origin_turn(&mut self, key: KeyHash, offset: i64) -> Turn {
        if let Some(place) = self.under_way.get(&(key, offset)) {
            return match place {
                Place { level: 0, .. } => Turn::Handle,
                Place {
                    is_sending: true, ..
                } => Turn::Wait,
                // It was sent before a restart, and is read once more.
                _ => Turn::Over,
            };
        }
        let mut of_key = self.under_way.range((key, i64::MIN)..=(key, i64::MAX));
        let Some(((_, first), _)) = of_key.next() else {
            return Turn::Handle;
        };
        let first = *first;
        let last = of_key.next_back().map(|((_, last), place)| (*last, *place));
        let (last, place) = last.unwrap_or_else(|| (first, self.under_way[&(key, first)]));
        #[cfg(planted_defects)]
        if offset > last && planted::is_planted(planted::Defect::LaterNotSentBehind) {
            return Turn::Handle;
        }
        if offset < first {
            // It was handled before those that are under way, and that was not committed. It is handled before them once more.
            self.put(key, offset, 0, false);
            Turn::Handle
        } else if offset < last {
            // It was under way before `last` was, and is not any more.
            Turn::Over
        } else if self.is_full() {
            Turn::Wait
        } else {
            let level = place.level.max(1);
            self.put(key, offset, level, true);
            Turn::Behind(level)
        }
    }

    /// The turn of a record of the retry topic of `level`.
    pub(crate) fn retry_turn(&mut self, key: KeyHash, offset: i64, level: u8) -> Turn {
        let Some(place) = self.under_way.get(&(key, offset)) else {
            return Turn::Over;
        };
        if place.is_sending {
            return Turn::Wait;
        }
        if place.level != level {
            return Turn::Over;
        }
        match self.first_of(key) {
            Some((first, ahead)) if first < offset => {
                let behind = ahead.level.max(level);
                self.put(key, offset, behind, true);
                Turn::Behind(behind)
            }
            _ => Turn::Handle,
        }
    }

    /// The turn of one that no retry topic takes, because of its size: it waits in memory for those of its key.
    pub(crate) fn waiting_turn(&mut self, key: KeyHash, offset: i64, level: u8) -> Turn {
        let place = self.under_way.get(&(key, offset));
        match self.first_of(key) {
            Some((first, _)) if first < offset => Turn::Wait,
            _ if level == 0 => Turn::Handle,
            _ if place.is_some_and(|place| place.level == level) => Turn::Handle,
            _ => Turn::Over,
        }
    }

    /// Whether something of `key` is under way ahead of this event: it is not handled before that.
    pub(crate) fn has_ahead(&self, key: KeyHash, offset: i64) -> bool {
        let first = self.first_of(key);
        first.is_some_and(|(first, _)| first < offset)
    }

    /// Whether an event of `key` that failed may begin its way.
    pub(crate) fn has_room(&self, key: KeyHash, offset: i64) -> bool {
        !self.is_full() || self.under_way.contains_key(&(key, offset))
    }

    /// An event that failed is on its way to the retry topic of `level`.
    pub(crate) fn send(&mut self, key: KeyHash, offset: i64, level: u8) {
        self.put(key, offset, level, true);
    }

    /// What was on its way is there.
    pub(crate) fn sent(&mut self, key: KeyHash, offset: i64) {
        if let Some(place) = self.under_way.get_mut(&(key, offset)) {
            place.is_sending = false;
        }
    }

    /// What was on its way is not sent: it still is where it was, at `level`.
    pub(crate) fn unsent(&mut self, key: KeyHash, offset: i64, level: u8) {
        match level {
            0 => drop(self.under_way.remove(&(key, offset))),
            _ => self.put(key, offset, level, false),
        }
    }

    /// An event is handled, or given up.
    pub(crate) fn finish(&mut self, key: KeyHash, offset: i64) {
        self.under_way.remove(&(key, offset));
    }

    /// The origin is another topic now: what is under way stands before all that comes out of it.
    pub(crate) fn origin_recreated(&mut self) {
        let before = std::mem::take(&mut self.under_way).into_iter();
        let moved = before.map(|((key, offset), place)| match offset {
            0.. => ((key, of_another_topic(offset)), place),
            _ => ((key, offset), place),
        });
        self.under_way = moved.collect();
    }

    fn is_full(&self) -> bool {
        self.under_way.len() >= self.limit
    }

    fn first_of(&self, key: KeyHash) -> Option<(i64, Place)> {
        let mut of_key = self.under_way.range((key, i64::MIN)..=(key, i64::MAX));
        of_key.next().map(|((_, offset), place)| (*offset, *place))
    }

    fn put(&mut self, key: KeyHash, offset: i64, level: u8, is_sending: bool) {
        let place = Place { level, is_sending };
        self.under_way.insert((key, offset), place);
    }
}

/// The place in order of an offset in a topic that is gone, whose name the origin has now.
pub(crate) fn of_another_topic(offset: i64) -> i64 {
    offset.saturating_sub(1 << 62)
}

#[cfg(test)]
mod tests;
