//! What a poll of a share consumer returns: records as views into the bytes that were fetched, with how often each has been delivered; and the
//! name by which a record is acknowledged.

use std::fmt;
use std::ops::Deref;
use std::slice;
use std::sync::Arc;

use super::acquired::{Acquired, delivery_count};
use super::ledger::Place;
use crate::kafka::consumer::records::Batch;
use crate::kafka::consumer::{Iter, Records};
use crate::kafka::{OwnedRecord, RecordView, TopicPartition};

/// The records of one poll of a [`ShareConsumer`](super::ShareConsumer), in order of offset within each run of a partition.
///
/// It owns the memory that its records lie in, which counts against the consumer's budget and is used again once this is dropped: drop it
/// before the next poll where you can. Dropping it acknowledges nothing.
#[derive(Default)]
pub struct ShareRecords {
    runs: Vec<AcquiredRun>,
    count: usize,
}

/// Records that were acquired together.
struct AcquiredRun {
    place: Place,
    acquired: Arc<[Acquired]>,
    records: Records,
}

impl ShareRecords {
    pub(super) fn push(&mut self, place: Place, acquired: Arc<[Acquired]>, batch: Batch) {
        let mut records = Records::default();
        records.push(batch);
        self.count += records.count();
        self.runs.push(AcquiredRun {
            place,
            acquired,
            records,
        });
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many bytes they are, uncompressed.
    pub(super) fn bytes(&self) -> usize {
        self.runs.iter().map(|run| run.records.bytes()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All records.
    pub fn iter(&self) -> ShareIter<'_> {
        ShareIter {
            runs: self.runs.iter(),
            current: None,
        }
    }
}

impl fmt::Debug for ShareRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a ShareRecords {
    type Item = ShareRecord<'a>;
    type IntoIter = ShareIter<'a>;

    fn into_iter(self) -> ShareIter<'a> {
        self.iter()
    }
}

/// Iterates over records.
#[derive(Clone)]
pub struct ShareIter<'a> {
    runs: slice::Iter<'a, AcquiredRun>,
    current: Option<(&'a AcquiredRun, Iter<'a>)>,
}

impl<'a> Iterator for ShareIter<'a> {
    type Item = ShareRecord<'a>;

    fn next(&mut self) -> Option<ShareRecord<'a>> {
        loop {
            if let Some((run, records)) = &mut self.current
                && let Some(record) = records.next()
            {
                return Some(ShareRecord { record, run });
            }
            let run = self.runs.next()?;
            self.current = Some((run, run.records.iter()));
        }
    }
}

impl fmt::Debug for ShareIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShareIter")
    }
}

/// A record that this member has acquired, borrowed from the [`ShareRecords`] it came in. It dereferences to its [`RecordView`].
#[derive(Clone, Copy)]
pub struct ShareRecord<'a> {
    record: RecordView<'a>,
    run: &'a AcquiredRun,
}

impl<'a> Deref for ShareRecord<'a> {
    type Target = RecordView<'a>;

    fn deref(&self) -> &RecordView<'a> {
        &self.record
    }
}

impl ShareRecord<'_> {
    /// How often it has been delivered, to whichever member, this time included: 1 the first time.
    pub fn delivery_count(&self) -> i16 {
        delivery_count(&self.run.acquired, self.offset)
    }

    /// A copy of the record that outlives the [`ShareRecords`], as [`RecordView::to_owned`].
    #[must_use]
    pub fn to_owned(&self) -> OwnedRecord {
        self.record.to_owned()
    }

    /// What it is acknowledged by when the record itself is gone.
    pub fn acquisition(&self) -> Acquisition {
        Acquisition {
            place: self.run.place,
            partition: self.topic_partition().clone(),
            offset: self.offset,
            delivery_count: self.delivery_count(),
        }
    }
}

impl fmt::Debug for ShareRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.record, f)
    }
}

/// That a member holds a record: what it is acknowledged by. It keeps no memory of the record.
#[derive(Clone, PartialEq, Eq)]
pub struct Acquisition {
    pub(super) place: Place,
    partition: TopicPartition,
    offset: i64,
    delivery_count: i16,
}

impl Acquisition {
    /// The record's topic and partition.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The record's offset.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// How often it has been delivered, this time included.
    pub fn delivery_count(&self) -> i16 {
        self.delivery_count
    }
}

impl From<&ShareRecord<'_>> for Acquisition {
    fn from(record: &ShareRecord<'_>) -> Self {
        record.acquisition()
    }
}

impl From<&Acquisition> for Acquisition {
    fn from(acquisition: &Acquisition) -> Self {
        acquisition.clone()
    }
}

impl fmt::Debug for Acquisition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            offset,
            delivery_count,
            ..
        } = self;
        write!(
            f,
            "Acquisition({partition}@{offset}, delivery {delivery_count})"
        )
    }
}
