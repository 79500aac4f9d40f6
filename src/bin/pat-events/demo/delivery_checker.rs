//! Checks that each event came once, and those of a key in their order. In: what was handled, event by event. Out: counts.
//!
//! An event is known by its key and its position among the key's events: the stage of an email, the revision of a tenant.

use std::collections::HashMap;

/// What came of each key's events.
#[derive(Debug, Default)]
pub struct DeliveryChecker {
    keys: HashMap<Box<str>, Positions>,
    counts: Counts,
}

/// What the checker found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that came for the first time.
    pub distinct: u64,
    /// Events that had come before.
    pub duplicates: u64,
    /// Events that came for the first time, after a later one of the same key.
    pub out_of_order: u64,
}

/// The positions that have come: every one below `next`, and those of `ahead`, which is empty as long as nothing goes wrong.
#[derive(Debug, Default)]
struct Positions {
    next: u64,
    ahead: Vec<u64>,
}

impl DeliveryChecker {
    /// Notes that the event at this position (from 0) among the events of `key` came.
    pub fn note(&mut self, key: &str, position: u64) {
        let positions = match self.keys.get_mut(key) {
            Some(positions) => positions,
            None => self.keys.entry(key.into()).or_default(),
        };
        if position < positions.next || positions.ahead.contains(&position) {
            self.counts.duplicates += 1;
            return;
        }
        self.counts.distinct += 1;
        if positions.ahead.iter().any(|later| *later > position) {
            self.counts.out_of_order += 1;
        }
        positions.ahead.push(position);
        while let Some(at) = positions
            .ahead
            .iter()
            .position(|ahead| *ahead == positions.next)
        {
            positions.ahead.swap_remove(at);
            positions.next += 1;
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(notes: &[(&str, u64)]) -> Counts {
        let mut checker = DeliveryChecker::default();
        notes
            .iter()
            .for_each(|(key, position)| checker.note(key, *position));
        checker.counts()
    }

    #[test]
    fn events_in_order_leave_nothing_behind() {
        let found = counts(&[("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2)]);
        assert_eq!(
            found,
            Counts {
                distinct: 5,
                ..Counts::default()
            }
        );
    }

    #[test]
    fn an_event_that_comes_again_is_a_duplicate_wherever_it_comes() {
        assert_eq!(counts(&[("a", 0), ("a", 1), ("a", 0)]).duplicates, 1);
        assert_eq!(counts(&[("a", 0), ("a", 2), ("a", 2)]).duplicates, 1);
    }

    #[test]
    fn an_event_after_a_later_one_is_out_of_order_once() {
        let found = counts(&[("a", 0), ("a", 2), ("a", 1), ("a", 3)]);
        assert_eq!(
            found,
            Counts {
                distinct: 4,
                duplicates: 0,
                out_of_order: 1
            }
        );
    }
}
