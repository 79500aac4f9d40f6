//! What a poll returns: records as views into the bytes that were fetched. Iterating costs neither an allocation nor a reference count per
//! record; [`RecordView::to_owned`] copies one out.

use std::borrow::Cow;
use std::fmt;
use std::slice;
use std::sync::Arc;

use bytes::Bytes;
use protocol::records as wire;

use super::budget::Charge;
use super::handle::OffsetAndMetadata;
use crate::kafka::{TopicId, TopicPartition};

/// The records of one poll, in order of offset within each partition.
///
/// It owns the memory that its records lie in, which counts against the consumer's budget and is used again once this is dropped: drop it
/// before the next poll where you can.
#[derive(Default)]
pub struct Records {
    batches: Vec<Batch>,
    count: usize,
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
    // Last, so that the frame is whole again when it goes back.
    pub _charge: Arc<Charge>,
}

impl Records {
    pub(crate) fn push(&mut self, batch: Batch) {
        self.count += batch.records.remaining();
        self.batches.push(batch);
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        self.count
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

    /// The records, in order of offset.
    pub fn iter(&self) -> Iter<'a> {
        Iter {
            batches: slice::from_ref(self.batch).iter(),
            current: None,
        }
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

    #[inline]
    fn next(&mut self) -> Option<RecordView<'a>> {
        loop {
            if let Some((batch, records)) = &mut self.current
                && let Some(Ok(record)) = records.next()
            {
                return Some(RecordView::new(batch, record));
            }
            let batch = self.batches.next()?;
            self.current = Some((batch, batch.records.records()));
        }
    }
}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Iter")
    }
}

/// A record, borrowed from the [`Records`] it came in.
#[derive(Clone, Copy)]
pub struct RecordView<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since 1970: when it was made, or, if the topic says so, when the broker appended it; -1 for none.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
    /// The epoch of the leader that appended it, to commit along with its offset.
    pub leader_epoch: Option<i32>,
    name: &'a TopicPartition,
}

impl<'a> RecordView<'a> {
    #[inline]
    fn new(batch: &'a Batch, record: wire::RecordView<'a>) -> Self {
        let epoch = batch.records.header().partition_leader_epoch;
        Self {
            topic: &batch.partition.topic,
            partition: batch.partition.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key,
            value: record.value,
            headers: Headers(record.headers),
            leader_epoch: (epoch >= 0).then_some(epoch),
            name: &batch.partition,
        }
    }

    /// Its topic and partition.
    pub fn topic_partition(&self) -> &'a TopicPartition {
        self.name
    }

    /// A copy that outlives the [`Records`], and keeps no more memory than the record needs.
    #[must_use]
    pub fn to_owned(&self) -> OwnedRecord {
        let mut copier = Copier::of(self);
        OwnedRecord {
            topic: self.name.topic.clone(),
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            leader_epoch: self.leader_epoch,
            key: self.key.map(|key| copier.take(key)),
            value: self.value.map(|value| copier.take(value)),
            headers: self
                .headers
                .iter()
                .map(|header| {
                    (
                        header.key.into_owned(),
                        header.value.map(|value| copier.take(value)),
                    )
                })
                .collect(),
        }
    }
}

impl fmt::Debug for RecordView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            offset,
            timestamp_ms,
            key,
            value,
            ..
        } = self;
        let text = |bytes: &Option<&[u8]>| bytes.map(|bytes| bytes.escape_ascii().to_string());
        f.debug_struct("Record")
            .field("at", &format_args!("{name}@{offset}"))
            .field("timestamp_ms", timestamp_ms)
            .field("key", &text(key))
            .field("value", &text(value))
            .field("headers", &self.headers)
            .finish()
    }
}

/// The headers of a record, in order. A key may occur several times.
#[derive(Clone, Copy, Default)]
pub struct Headers<'a>(wire::HeadersView<'a>);

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = HeaderView<'a>> + use<'a> {
        self.0.iter().map(|header| HeaderView {
            key: header.key_text(),
            key_bytes: header.key,
            value: header.value,
        })
    }

    /// The value of the last header with this key, which is the one that counts; `Some(None)` when that is null.
    pub fn get(&self, key: &str) -> Option<Option<&'a [u8]>> {
        self.0.get(key).map(|header| header.value)
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|header| {
                (
                    header.key,
                    header.value.map(|value| value.escape_ascii().to_string()),
                )
            }))
            .finish()
    }
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderView<'a> {
    /// Its key. Borrowed, unless it was no UTF-8 and had to be mended with replacement characters.
    pub key: Cow<'a, str>,
    /// Its key as it was written.
    pub key_bytes: &'a [u8],
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// A record that owns its bytes: key, value and header values share one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since 1970, -1 for none.
    pub timestamp_ms: i64,
    /// The epoch of the leader that appended it.
    pub leader_epoch: Option<i32>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl OwnedRecord {
    /// The value of the last header with this key; `Some(None)` when that is null.
    pub fn header(&self, key: &str) -> Option<Option<&[u8]>> {
        let found = self.headers.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_deref())
    }
}

/// Puts the byte strings of a record into one allocation.
struct Copier {
    rest: Bytes,
}

impl Copier {
    fn of(record: &RecordView<'_>) -> Self {
        let values = record.headers.0.iter().filter_map(|header| header.value);
        let parts = record.key.into_iter().chain(record.value).chain(values);
        Self {
            rest: parts.collect::<Vec<_>>().concat().into(),
        }
    }

    /// The next part, which is a copy of `original`.
    fn take(&mut self, original: &[u8]) -> Bytes {
        self.rest.split_to(original.len())
    }
}
