//! One partition's part of a response, read on from poll to poll: the records that were acquired of what came, and what was acquired but is no
//! record.
//!
//! A broker sends whole batches, and says which offsets of them are this member's. Those of them that are no record (compacted away, markers of
//! transactions) are gaps, which are acknowledged as such; those in a batch that cannot be read, or that did not come, are released, and told of.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use protocol::messages::share_fetch_response::AcquiredRecords;
use protocol::{ApiKey, Uuid};
use tokio::time::Instant;

use super::ledger::{GAP, Place, RELEASE, Run};
use crate::kafka::consumer::fetch::batch_reader::{BatchDecoder, BatchReader, Room, Step};
use crate::kafka::consumer::fetch::memory::Fetched;
use crate::kafka::consumer::positions::Wanted;
use crate::kafka::consumer::records::Batch;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// Offsets that were acquired, and how often they have been delivered, this time included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acquired {
    pub first: i64,
    pub last: i64,
    pub delivery_count: i16,
}

/// The acquired part of what a response has of one partition.
pub(super) struct AcquiredReader {
    pub place: Place,
    pub acquired: Arc<[Acquired]>,
    /// When the broker gives them to others, if they are not acknowledged.
    pub expires: Instant,
    reader: BatchReader,
}

/// What came of reading on.
pub(super) struct Read {
    /// Records to hand out.
    pub records: Option<Batch>,
    /// What is to be acknowledged without anybody getting it.
    pub passed: Vec<Run>,
    pub then: Then,
}

/// How it goes on.
pub(super) enum Then {
    More,
    /// What is next needs more memory than is left.
    NoRoom,
    Over,
    /// A batch cannot be read, or did not come, and is released; there may be more after it.
    Unreadable(Error),
}

/// What a broker says was acquired, if that can be: in order, none twice.
pub(super) fn acquired_of(wire: &[AcquiredRecords]) -> Option<Arc<[Acquired]>> {
    let mut next = 0;
    let acquired = wire.iter().map(|it| {
        let can_be = it.first_offset >= next && it.last_offset >= it.first_offset;
        next = it.last_offset.checked_add(1)?;
        can_be.then_some(Acquired {
            first: it.first_offset,
            last: it.last_offset,
            delivery_count: it.delivery_count,
        })
    });
    acquired.collect()
}

/// How often the record at `offset` has been delivered.
pub(super) fn delivery_count(acquired: &[Acquired], offset: i64) -> i16 {
    let index = acquired.partition_point(|it| it.last < offset);
    acquired.get(index).map_or(1, |it| it.delivery_count)
}

impl AcquiredReader {
    /// Reads what was `acquired` of `records`; there is something of it.
    pub fn new(
        place: Place,
        partition: TopicPartition,
        acquired: Arc<[Acquired]>,
        records: Bytes,
        expires: Instant,
        memory: Arc<Fetched>,
    ) -> Self {
        let want = Wanted {
            partition,
            topic_id: place.1.0,
            version: 0,
            offset: acquired.first().map_or(0, |it| it.first),
            last_epoch: -1,
            leader_epoch: -1,
        };
        debug_assert_ne!(want.topic_id, Uuid::ZERO);
        Self {
            place,
            acquired,
            expires,
            reader: BatchReader::new(&want, records, false, None, memory),
        }
    }

    pub fn partition(&self) -> &TopicPartition {
        &self.reader.partition
    }

    /// Reads on: up to `most` records of one batch.
    pub fn read(
        &mut self,
        most: usize,
        bytes: usize,
        room: Room<'_>,
        decoder: &mut BatchDecoder,
    ) -> Read {
        let from = self.reader.position.offset;
        let not_acquired = first_gap(&self.acquired, from);
        let step = self.reader.read(most, bytes, not_acquired, room, decoder);
        let (records, error) = match step {
            Ok(Step::Records(batch)) => (Some(batch), None),
            Ok(Step::Skipped) => (None, None),
            Ok(Step::NoRoom) => return Read::nothing(Then::NoRoom),
            Ok(Step::End) => {
                let passed = self.between(from, i64::MAX, RELEASE);
                let then = match passed.first() {
                    None => Then::Over,
                    Some(missing) => {
                        self.reader.position.offset = i64::MAX;
                        Then::Unreadable(not_sent(self.partition(), missing.first))
                    }
                };
                return Read {
                    passed,
                    ..Read::nothing(then)
                };
            }
            Err(error) => {
                let resume = error.resume_offset().unwrap_or(from.saturating_add(1));
                self.reader.position.offset = resume.max(from.saturating_add(1));
                (None, Some(error))
            }
        };
        let to = self.reader.position.offset;
        let passed = match (&records, &error) {
            (_, Some(_)) => self.between(from, to, RELEASE),
            (None, None) => self.between(from, to, GAP),
            (Some(batch), None) => {
                let offsets = batch.records.records().filter_map(Result::ok);
                gaps(
                    &self.acquired,
                    from,
                    to,
                    offsets.map(|record| record.offset),
                )
            }
        };
        let is_over = self.acquired.last().is_none_or(|last| last.last < to);
        #[cfg(planted_defects)]
        if records.is_some() && planted::is_planted(planted::Defect::RestOfFetchIsGap) {
            let rest = self.between(to, i64::MAX, GAP);
            let passed = passed.into_iter().chain(rest).collect();
            return Read {
                records,
                passed,
                then: Then::Over,
            };
        }
        Read {
            records,
            passed,
            then: match error {
                Some(error) => Then::Unreadable(error),
                None if is_over => Then::Over,
                None => Then::More,
            },
        }
    }

    fn between(&self, from: i64, to: i64, kind: i8) -> Vec<Run> {
        let mut runs = gaps(&self.acquired, from, to, std::iter::empty());
        runs.iter_mut().for_each(|run| run.kind = kind);
        runs
    }
}

impl Read {
    fn nothing(then: Then) -> Self {
        Self {
            records: None,
            passed: Vec::new(),
            then,
        }
    }
}

/// The error of records from `offset` on that were acquired, by the broker's words, and that it has not sent.
fn not_sent(partition: &TopicPartition, offset: i64) -> Error {
    let message = "the broker says that records were acquired, and its answer ends before they come: they are released, and delivered again";
    Error::new(ErrorKind::Protocol, message)
        .api(ApiKey::SHARE_FETCH)
        .topic_partition(partition.topic.clone(), partition.partition)
        .offset(offset, None)
}

/// The first offsets from `from` on that were not acquired.
fn first_gap(acquired: &[Acquired], from: i64) -> Option<Range<i64>> {
    let index = acquired.partition_point(|it| it.last < from);
    let mut start = from;
    for it in &acquired[index..] {
        if it.first > start {
            return Some(start..it.first);
        }
        start = it.last.saturating_add(1);
    }
    Some(start..i64::MAX)
}

/// What was acquired from `from` to before `to` and is none of `records`, whose offsets ascend.
fn gaps(
    acquired: &[Acquired],
    from: i64,
    to: i64,
    records: impl IntoIterator<Item = i64>,
) -> Vec<Run> {
    let mut gaps = Vec::new();
    let mut records = records.into_iter().peekable();
    let index = acquired.partition_point(|it| it.last < from);
    for it in acquired[index..].iter().take_while(|it| it.first < to) {
        let (mut start, last) = (it.first.max(from), it.last.min(to.saturating_sub(1)));
        while let Some(offset) = records.next_if(|offset| *offset <= last) {
            if offset > start {
                gaps.push(Run {
                    first: start,
                    last: offset - 1,
                    kind: GAP,
                });
            }
            start = start.max(offset.saturating_add(1));
        }
        if start <= last {
            gaps.push(Run {
                first: start,
                last,
                kind: GAP,
            });
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::kafka::runtime::Budget;

    fn acquired(ranges: &[(i64, i64)]) -> Vec<Acquired> {
        let ranges = ranges.iter().map(|(first, last)| Acquired {
            first: *first,
            last: *last,
            delivery_count: 1,
        });
        ranges.collect()
    }

    /// Ranges of offsets, in order, none twice.
    fn ranges() -> impl Strategy<Value = Vec<(i64, i64)>> {
        prop::collection::vec((0..5i64, 0..5i64), 0..6).prop_map(|steps| {
            let mut next = 0;
            let range = |(skip, len): (i64, i64)| {
                let first = next + skip;
                next = first + len + 1;
                (first, first + len)
            };
            steps.into_iter().map(range).collect()
        })
    }

    proptest! {
        #[test]
        fn gaps_and_records_are_what_was_acquired(
            ranges in ranges(), records in prop::collection::btree_set(0..60i64, 0..30),
            from in 0..40i64, len in 0..40i64,
        ) {
            let (all, to) = (acquired(&ranges), from + len);
            let is_acquired = |offset: &i64| ranges.iter().any(|(first, last)| (first..=last).contains(&offset));
            let inside = records.iter().copied().filter(|it| (from..to).contains(it) && is_acquired(it));
            let found = gaps(&all, from, to, inside.clone());
            let named: Vec<i64> = found.iter().flat_map(|run| run.first..=run.last).collect();
            let expected: Vec<i64> = (from..to).filter(|it| is_acquired(it) && !records.contains(it)).collect();
            prop_assert_eq!(named, expected);
        }

        #[test]
        fn reading_past_each_gap_leaves_what_was_acquired(ranges in ranges()) {
            let all = acquired(&ranges);
            let (mut left, mut at) = (BTreeSet::new(), 0);
            while let Some(gap) = first_gap(&all, at) {
                left.extend(at..gap.start);
                at = gap.end;
                if at == i64::MAX {
                    break;
                }
            }
            let expected: BTreeSet<i64> = ranges.iter().flat_map(|(first, last)| *first..=*last).collect();
            prop_assert_eq!(left, expected);
        }
    }

    #[test]
    fn what_was_acquired_and_did_not_come_is_released_and_told_of() {
        let budget = Budget::new(1 << 20, None);
        let memory = Arc::new(Fetched::in_frame(budget.reserve(0), None));
        let mut reader = AcquiredReader::new(
            (1, (Uuid::from_u128(1), 0)),
            TopicPartition::new("t", 0),
            acquired(&[(3, 5), (7, 7)]).into(),
            Bytes::new(),
            Instant::now(),
            memory,
        );
        let mut decoder = BatchDecoder::new(Arc::default(), budget, 1 << 20, true);
        let mut read = || reader.read(10, usize::MAX, Room::Left, &mut decoder);
        let missing = read();
        let released = missing
            .passed
            .iter()
            .map(|run| (run.first, run.last, run.kind));
        let released: Vec<_> = released.collect();
        assert_eq!(released, [(3, 5, RELEASE), (7, 7, RELEASE)]);
        let Then::Unreadable(error) = missing.then else {
            panic!("nobody is told");
        };
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert_eq!(error.failed_offset(), Some(3));
        let rest = read();
        assert!(matches!(rest.then, Then::Over) && rest.passed.is_empty());
    }

    #[test]
    fn what_cannot_be_acquired_is_refused() {
        let wire = |ranges: &[(i64, i64)]| {
            let ranges = ranges.iter().map(|(first, last)| AcquiredRecords {
                first_offset: *first,
                last_offset: *last,
                delivery_count: 2,
                ..Default::default()
            });
            acquired_of(&ranges.collect::<Vec<_>>())
        };
        let two = wire(&[(0, 4), (7, 7)]).expect("fine");
        assert_eq!((delivery_count(&two, 7), two.len()), (2, 2));
        for wrong in [
            &[(3, 2)][..],
            &[(-1, 2)],
            &[(0, 4), (4, 5)],
            &[(5, 6), (0, 1)],
            &[(0, i64::MAX)],
        ] {
            assert_eq!(wire(wrong), None, "{wrong:?}");
        }
    }
}
