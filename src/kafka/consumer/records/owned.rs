//! A record that outlives the poll that returned it: a copy, or what shares the memory that it was read from.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::RecordView;
use crate::kafka::consumer::fetch::memory::Fetched;

/// A record that owns its bytes: in an allocation of their own ([`RecordView::to_owned`]), or in the memory that it was read from
/// ([`RecordView::to_shared`]).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    pub headers: Vec<OwnedHeader>,
    // Last, so that nothing of the frame is in use when that goes back.
    memory: Memory,
}

/// The memory that a record's bytes are part of, if they have none of their own. It says nothing of the record.
#[derive(Clone, Debug, Default)]
struct Memory(#[allow(dead_code)] Option<Arc<Fetched>>);

impl PartialEq for Memory {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Memory {}

/// A header of an [`OwnedRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedHeader {
    /// Its name; where that is no UTF-8, with replacement characters.
    pub key: String,
    /// Its value; `None` is Kafka's null.
    pub value: Option<Bytes>,
    /// Its name as it was written, where that is no UTF-8.
    raw_key: Option<Bytes>,
}

impl OwnedHeader {
    /// Its name as it was written.
    pub fn key_bytes(&self) -> &[u8] {
        self.raw_key.as_deref().unwrap_or(self.key.as_bytes())
    }
}

impl OwnedRecord {
    /// The value of the last header with this key; `Some(None)` when that is null.
    pub fn header(&self, key: &str) -> Option<Option<&[u8]>> {
        let found = self.headers.iter().rev().find(|header| header.key == key);
        found.map(|header| header.value.as_deref())
    }
}

impl RecordView<'_> {
    /// A copy that outlives the [`Records`](super::Records), and keeps no more memory than the record needs.
    #[must_use]
    pub fn to_owned(&self) -> OwnedRecord {
        let mut copier = Copier::of(self);
        self.keep(|part| copier.take(part), Memory::default())
    }

    /// The record without a copy: its bytes are those that were fetched or decompressed. As long as any record of a batch is kept, all of the
    /// batch's memory is, and counts against the consumer's budget: for records that are done with soon. Bytes that are taken out of it outlive
    /// it, but do not count.
    #[must_use]
    pub fn to_shared(&self) -> OwnedRecord {
        let memory = Memory(Some(self.batch.memory().clone()));
        self.keep(|part| self.batch.records.share(part), memory)
    }

    /// In the order of `Copier::of`.
    fn keep(&self, mut bytes: impl FnMut(&[u8]) -> Bytes, memory: Memory) -> OwnedRecord {
        OwnedRecord {
            topic: self.topic_partition().topic.clone(),
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            leader_epoch: self.leader_epoch,
            key: self.key.map(&mut bytes),
            value: self.value.map(&mut bytes),
            headers: self
                .headers
                .iter()
                .map(|header| OwnedHeader {
                    raw_key: match &header.key {
                        Cow::Borrowed(_) => None,
                        Cow::Owned(_) => Some(Bytes::copy_from_slice(header.key_bytes)),
                    },
                    key: header.key.into_owned(),
                    value: header.value.map(&mut bytes),
                })
                .collect(),
            memory,
        }
    }
}

/// Puts the byte strings of a record into one allocation.
struct Copier {
    rest: Bytes,
}

impl Copier {
    fn of(record: &RecordView<'_>) -> Self {
        let values = record.headers.values();
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
