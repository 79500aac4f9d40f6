//! Which batches of a fetched stretch of log belong to aborted transactions (KIP-98).
//!
//! In: the aborted transactions that came with the stretch, in whatever order the broker listed them, and then its batches, in log order.
//! Out: whether to hand a batch out.

use std::collections::BTreeSet;

/// The aborted transactions of one fetched stretch.
#[derive(Debug, Default)]
pub(crate) struct AbortedTransactions {
    /// (first offset, producer id), the last to begin first.
    ahead: Vec<(i64, i64)>,
    /// Producers whose transaction around the current offset was aborted.
    open: BTreeSet<i64>,
}

impl AbortedTransactions {
    /// From pairs of producer id and first offset.
    pub fn new(listed: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut ahead: Vec<_> = listed
            .into_iter()
            .map(|(producer_id, first_offset)| (first_offset, producer_id))
            .collect();
        ahead.sort_unstable_by(|one, other| other.cmp(one));
        Self {
            ahead,
            open: BTreeSet::new(),
        }
    }

    /// The next batch: whether its records were aborted. `ends_transaction` says that it is the marker that ends its producer's
    /// transaction; the aborted one ends there, so that what the producer writes next is judged on its own.
    pub fn hides(
        &mut self,
        producer_id: i64,
        last_offset: i64,
        transactional: bool,
        ends_transaction: bool,
    ) -> bool {
        while let Some((_, producer)) = self.ahead.pop_if(|(first, _)| *first <= last_offset) {
            self.open.insert(producer);
        }
        if ends_transaction {
            self.open.remove(&producer_id);
            return false;
        }
        transactional && self.open.contains(&producer_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of (producer, offset, what), read through the filter.
    fn visible(aborted: &[(i64, i64)], log: &[(i64, i64, What)]) -> Vec<i64> {
        let mut filter = AbortedTransactions::new(aborted.iter().copied());
        log.iter()
            .filter(|(producer, offset, what)| {
                let hidden = filter.hides(
                    *producer,
                    *offset,
                    *what != What::Plain,
                    *what == What::Marker,
                );
                !hidden && *what != What::Marker
            })
            .map(|(_, offset, _)| *offset)
            .collect()
    }

    #[derive(Clone, Copy, PartialEq)]
    enum What {
        Plain,
        Transactional,
        Marker,
    }
    use What::{Marker, Plain, Transactional};

    /// librdkafka 1.7.0: the marker of an aborted transaction without records left its producer hidden for good.
    #[test]
    fn an_empty_aborted_transaction_hides_nothing_that_was_committed_later() {
        let log = [
            (7, 10, Marker),
            (7, 11, Transactional),
            (7, 12, Marker),
            (7, 13, Transactional),
        ];
        assert_eq!(visible(&[(7, 10)], &log), [11, 13]);
    }

    /// franz-go 1.21.4: an aborted list that was not sorted by first offset exposed aborted records.
    #[test]
    fn an_unsorted_list_of_aborted_transactions_exposes_nothing() {
        let log = [
            (1, 0, Transactional),
            (2, 1, Transactional),
            (1, 2, Marker),
            (1, 3, Transactional),
            (2, 4, Marker),
            (1, 5, Marker),
            (1, 6, Transactional),
            (2, 7, Transactional),
        ];
        assert_eq!(visible(&[(1, 3), (2, 1), (1, 0)], &log), [6, 7]);
        assert_eq!(visible(&[(1, 0), (2, 1), (1, 3)], &log), [6, 7]);
    }

    #[test]
    fn what_is_no_part_of_a_transaction_is_always_shown() {
        let log = [
            (7, 0, Transactional),
            (7, 1, Plain),
            (-1, 2, Plain),
            (7, 3, Marker),
        ];
        assert_eq!(visible(&[(7, 0)], &log), [1, 2]);
    }

    #[test]
    fn a_transaction_that_began_before_the_stretch_is_hidden() {
        let log = [
            (7, 100, Transactional),
            (7, 101, Marker),
            (7, 102, Transactional),
        ];
        assert_eq!(visible(&[(7, 3)], &log), [102]);
    }
}
