//! What a poll returns: records as views into the bytes that were fetched. Iterating costs neither an allocation nor a reference count per
//! record; [`RecordView::to_owned`] copies one out.

use std::collections::BTreeMap;
use std::fmt;
use std::slice;
use std::sync::Arc;

use protocol::records as wire;

use super::view::RecordView;
use crate::kafka::consumer::fetch::memory::Fetched;
use crate::kafka::consumer::handle::to_commit;
use crate::kafka::consumer::positions::Position;
use crate::kafka::consumer::{Acks, OffsetAndMetadata};
use crate::kafka::{TopicId, TopicPartition};

/// The records of one poll, in order of offset within each partition.
///
/// It owns the memory that its records lie in, which counts against the consumer's budget and is used again once this is dropped: drop it
/// before the next poll where you can.
#[derive(Default)]
pub struct Records {
    batches: Vec<Batch>,
    count: usize,
    /// Uncompressed.
    bytes: usize,
    /// Where each partition goes on, in the order of the batches.
    next: Vec<(TopicPartition, OffsetAndMetadata)>,
    /// Where the end of a partition was reached.
    ends: Vec<(TopicPartition, i64)>,
}

/// A run of records of one partition.
pub(crate) struct Batch {
    pub partition: TopicPartition,
    /// Checked: every record in it can be read.
    pub records: wire::DecodedBatch,
    /// The topic that they were fetched from.
    pub topic_id: Option<TopicId>,
    /// The position after it.
    pub next_offset: i64,
    /// What acknowledges its records.
    pub acks: Acks,
    // Last, so that the frame is whole again when it goes back.
    pub _reservation: Arc<Fetched>,
}

impl Batch {
    /// The memory that its records are in.
    pub fn memory(&self) -> &Arc<Fetched> {
        &self._reservation
    }
}

impl Records {
    pub(crate) fn push(&mut self, batch: Batch) {
        self.count += batch.records.remaining();
        self.bytes += batch.records.unread_len();
        self.batches.push(batch);
    }

    /// How many bytes they are, uncompressed.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// These partitions were read to their end, which is there.
    pub(crate) fn ended(&mut self, ends: Vec<(TopicPartition, i64)>) {
        self.ends = ends;
    }

    /// The position of `partition` is `position` now.
    pub(crate) fn moved(
        &mut self,
        partition: &TopicPartition,
        position: Position,
        topic_id: Option<TopicId>,
    ) {
        let next = to_commit(position, topic_id);
        match self.next.last_mut() {
            Some((last, offset)) if last == partition => *offset = next,
            _ => self.next.push((partition.clone(), next)),
        }
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The position after these records, of each partition that moved: what to commit once all of them are done with. Also that of partitions
    /// of which there was nothing but aborted transactions and markers.
    pub fn next_offsets(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        self.next.iter().cloned().collect()
    }

    /// The partitions that were read to their end with these records, and the offset that is next there; each once until more is read. Only with
    /// [`enable_partition_eof`](crate::kafka::ConsumerConfig::enable_partition_eof), under which a poll may return ends without records.
    pub fn ends(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        self.ends.iter().map(|(partition, end)| (partition, *end))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All records, partition by partition.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            batches: self.batches.iter(),
            current: None,
        }
    }

    pub(super) fn into_batches(self) -> Vec<Batch> {
        self.batches
    }

    /// The records by partition, in runs of consecutive ones; a partition may have several runs, which follow each other.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionRecords<'_>> {
        self.batches.iter().map(|batch| PartitionRecords { batch })
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = RecordView<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// A run of records of one partition.
#[derive(Clone, Copy)]
pub struct PartitionRecords<'a> {
    batch: &'a Batch,
}

impl<'a> PartitionRecords<'a> {
    /// Whose records these are.
    pub fn partition(&self) -> &'a TopicPartition {
        &self.batch.partition
    }

    /// The id of the topic that these records were fetched from; `None` where the brokers have no ids.
    pub fn topic_id(&self) -> Option<TopicId> {
        self.batch.topic_id
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.batch.records.remaining()
    }

    /// The offset to commit once all of them are done with: where the partition goes on.
    pub fn next_offset(&self) -> i64 {
        self.batch.next_offset
    }

    /// [`next_offset`](Self::next_offset) as it is committed: with the leader epoch and the topic id of these records.
    pub fn to_commit(&self) -> OffsetAndMetadata {
        let epoch = self.batch.records.header().partition_leader_epoch;
        OffsetAndMetadata {
            offset: self.batch.next_offset,
            leader_epoch: (epoch >= 0).then_some(epoch),
            metadata: String::new(),
            topic_id: self.batch.topic_id,
        }
    }

    /// What acknowledges these records, in any order, where [`commit_source`](crate::kafka::ConsumerConfig::commit_source) says that commits go by
    /// that.
    pub fn acks(&self) -> Acks {
        self.batch.acks.clone()
    }

    /// The records, in order of offset.
    pub fn iter(&self) -> Iter<'a> {
        Iter {
            batches: slice::from_ref(self.batch).iter(),
            current: None,
        }
    }
}

impl<'a> IntoIterator for &PartitionRecords<'a> {
    type Item = RecordView<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for PartitionRecords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Iterates over records.
#[derive(Clone)]
pub struct Iter<'a> {
    batches: slice::Iter<'a, Batch>,
    current: Option<(&'a Batch, wire::decoded::Records<'a>)>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = RecordView<'a>;

    // What a caller does not look at is not even computed once this is part of its loop.
    #[inline(always)]
    fn next(&mut self) -> Option<RecordView<'a>> {
        loop {
            if let Some((batch, records)) = &mut self.current
                && let Some(Ok(record)) = records.next()
            {
                return Some(RecordView::new(batch, record));
            }
            self.next_batch()?;
        }
    }
}

impl Iter<'_> {
    #[cold]
    #[inline(never)]
    fn next_batch(&mut self) -> Option<()> {
        let batch = self.batches.next()?;
        self.current = Some((batch, batch.records.records()));
        Some(())
    }
}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Iter")
    }
}
