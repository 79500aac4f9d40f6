//! Records copied together: so that a fetch's buffers go back at once, whatever the handlers take their time for, and without an allocation
//! per record.
//!
//! A batch takes up memory until its last record is done with. A record that outlasts nearly all others of its batch gets a copy of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use super::memory::Memory;
use super::queues::{KeyId, Work};
use crate::events::cloudevents;
use crate::events::consumer::partition::Partition;
use crate::events::failure::{EventAt, Failures, Retried};
use crate::events::record::{RawHeaders, RawRecord};
use crate::events::tenants::{TenantId, hash_of, tenant_id};
use crate::kafka::consumer::Headers;
use crate::kafka::runtime::Mutex;
use crate::kafka::{TopicId, TopicPartition};

/// A batch that has grown to this is handed out, and the next one begins: as much as one stuck handler may hold on to.
const FULL: usize = 64 << 10;
/// A record goes out of its batch when no more than one in so many of its batch are left.
const LEFT_BEHIND: usize = 8;
/// The most memory that is kept for batches to come.
const SPARE_BYTES: usize = 2 << 20;

/// Records of one partition.
#[derive(Debug)]
pub(crate) struct WorkBatch {
    partition: Arc<Partition>,
    bytes: Vec<u8>,
    /// Where its records stand in the bytes.
    entries: Vec<Entry>,
    memory: Arc<Memory>,
    spare: Arc<Spare>,
}

/// Where one record's parts stand in the bytes: key, value and headers, one after the other.
#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: i64,
    timestamp_ms: i64,
    start: u32,
    key_len: Option<u32>,
    value_len: Option<u32>,
    headers: u32,
    headers_len: u32,
}

/// A record that is to be handled. Small: it goes from hand to hand.
#[derive(Debug)]
pub(crate) struct WorkItem {
    batch: Arc<WorkBatch>,
    /// Which of the batch it is.
    place: u32,
    /// Whether no retry topic takes it: it waits here for those of its key.
    pub is_held: bool,
    /// How often its handler has failed, if it has.
    pub failures: Option<Box<Failures>>,
    /// Where it stood, if it was read from a retry topic.
    retried: Option<Box<Retried>>,
}

/// Buffers, pooled.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    fn take(&self) -> Vec<u8> {
        self.0.lock().pop().unwrap_or_default()
    }

    fn put(&self, mut bytes: Vec<u8>) {
        // Larger ones are of a record that is larger than a batch: rare, and too large to keep.
        if bytes.capacity() <= 2 * FULL {
            bytes.clear();
            let mut spare = self.0.lock();
            if spare.len() < SPARE_BYTES / FULL {
                spare.push(bytes);
            }
        }
    }
}

impl WorkBatch {
    /// Its bytes count as in flight from now on, until it is dropped.
    fn new(
        partition: Arc<Partition>,
        bytes: Vec<u8>,
        entries: Vec<Entry>,
        memory: Arc<Memory>,
        spare: Arc<Spare>,
    ) -> Arc<Self> {
        let batch = Self {
            partition,
            bytes,
            entries,
            memory,
            spare,
        };
        batch.memory.acquire(batch.size());
        batch.partition.hold(batch.size());
        Arc::new(batch)
    }

    /// How much memory the records take up, in bytes.
    fn size(&self) -> usize {
        let each = size_of::<Work<WorkItem>>() + size_of::<Entry>();
        self.bytes.len() + self.entries.len() * each
    }
}

impl Drop for WorkBatch {
    fn drop(&mut self) {
        let size = self.size();
        let left = self.partition.let_go(size);
        self.memory.release(size, left == 0);
        self.spare.put(std::mem::take(&mut self.bytes));
    }
}

impl WorkItem {
    pub(crate) fn partition(&self) -> &Arc<Partition> {
        &self.batch.partition
    }

    fn entry(&self) -> Entry {
        self.batch.entries[self.place as usize]
    }

    /// How many bytes its key, value and headers take up.
    pub(super) fn len(&self) -> usize {
        let Entry {
            key_len,
            value_len,
            headers_len,
            ..
        } = self.entry();
        (key_len.unwrap_or_default() + value_len.unwrap_or_default() + headers_len) as usize
    }

    /// Its offset in its partition, whatever the record says of where it stood.
    pub(crate) fn offset(&self) -> i64 {
        self.entry().offset
    }

    /// In how many retry topics it has waited because it failed.
    pub(crate) fn stage(&self) -> u8 {
        self.retried.as_ref().map_or(0, |retried| retried.stage)
    }

    /// Whether it was read from a retry topic.
    pub(crate) fn is_retried(&self) -> bool {
        self.retried.is_some()
    }

    /// The event, as its chain of retry topics knows it.
    pub(crate) fn event(&self) -> EventAt {
        let key = self.record().key;
        EventAt::new(key, self.topic_id(), self.record().offset)
    }

    /// The partition that the record stood in, whatever it was read from.
    pub(crate) fn origin(&self) -> &TopicPartition {
        match &self.batch.partition.chain {
            Some((chain, _)) => &chain.origin,
            None => &self.batch.partition.name,
        }
    }

    /// The topic that the record stood in, if that is known.
    pub(crate) fn topic_id(&self) -> Option<TopicId> {
        match &self.retried {
            Some(retried) => retried.topic_id,
            None => self.batch.partition.topic_id(),
        }
    }

    /// The record: as it stood in its own topic, where it was read from a retry topic.
    pub(crate) fn record(&self) -> RawRecord<'_> {
        let Entry {
            offset,
            timestamp_ms,
            start,
            key_len,
            value_len,
            headers,
            headers_len,
        } = self.entry();
        let bytes = &self.batch.bytes[start as usize..];
        let (key, rest) = bytes.split_at(key_len.unwrap_or_default() as usize);
        let (value, rest) = rest.split_at(value_len.unwrap_or_default() as usize);
        let name = &self.batch.partition.name;
        let (topic, partition, offset, timestamp_ms) = match &self.retried {
            Some(it) => (&*it.topic, it.partition, it.offset, it.timestamp_ms),
            None => (&*name.topic, name.partition, offset, timestamp_ms),
        };
        RawRecord {
            topic,
            partition,
            offset,
            timestamp_ms,
            key: key_len.map(|_| key),
            value: value_len.map(|_| value),
            headers: RawHeaders::of_record(Headers::of_encoded(
                headers,
                &rest[..headers_len as usize],
            )),
        }
    }

    /// Copies the record out of its batch, if that is kept for hardly anything else.
    pub(crate) fn leave_if_left_behind(&mut self) {
        let batch = &self.batch;
        if Arc::strong_count(batch) * LEFT_BEHIND > batch.entries.len() {
            return;
        }
        let entry = self.entry();
        let bytes = batch.bytes[entry.start as usize..][..self.len()].to_vec();
        self.place = 0;
        self.batch = WorkBatch::new(
            batch.partition.clone(),
            bytes,
            vec![Entry { start: 0, ..entry }],
            batch.memory.clone(),
            batch.spare.clone(),
        );
    }
}

/// Collects the records of one partition until they are enough for a batch.
#[derive(Debug)]
pub(crate) struct WorkBatchBuilder {
    memory: Arc<Memory>,
    spare: Arc<Spare>,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// The key and the tenant of each.
    whose: Vec<(KeyId, TenantId)>,
    /// Of the entries with these places.
    retried: VecDeque<(usize, Option<Box<Failures>>, Box<Retried>)>,
    offsets: Vec<i64>,
}

impl WorkBatchBuilder {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        Self {
            memory,
            spare: Arc::default(),
            bytes: Vec::new(),
            entries: Vec::new(),
            whose: Vec::new(),
            retried: VecDeque::new(),
            offsets: Vec::new(),
        }
    }

    /// What was pushed last was read from a retry topic, and stood elsewhere.
    pub(crate) fn last_was_retried(
        &mut self,
        failures: Option<Box<Failures>>,
        retried: Box<Retried>,
    ) {
        let last = self.entries.len().saturating_sub(1);
        self.retried.push_back((last, failures, retried));
    }

    /// Copies a record of `partition` in. Returns how many bytes its key, value and headers take up.
    pub(crate) fn push(
        &mut self,
        partition: &Partition,
        offset: i64,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Headers<'_>,
    ) -> usize {
        let start = self.bytes.len();
        if self.bytes.capacity() == 0 {
            self.bytes = self.spare.take();
        }
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let (count, encoded) = headers.encoded();
        self.bytes.extend_from_slice(encoded);
        let mut headers = headers.raw();
        let tenant = headers.find(|(name, _)| *name == cloudevents::TENANT_ID.as_bytes());
        let tenant = tenant.and_then(|(_, value)| value);
        // What comes out of a frame is shorter than 2 GiB, and a batch is handed out long before it comes to that.
        let len = |part: &[u8]| part.len() as u32;
        let entry = Entry {
            offset,
            timestamp_ms,
            start: start as u32,
            key_len: key.map(len),
            value_len: value.map(len),
            headers: count,
            headers_len: len(encoded),
        };
        let key = hash_of(&(partition.id, key));
        let tenant = tenant_id(tenant);
        self.entries.push(entry);
        self.whose.push((key, tenant));
        self.offsets.push(offset);
        self.bytes.len() - start
    }

    /// Notes a record that is not to be handled.
    pub(crate) fn pass(&mut self, offset: i64) {
        self.offsets.push(offset);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// The offsets of what was collected, in their order, those included that were passed.
    pub(crate) fn offsets(&self) -> &[i64] {
        &self.offsets
    }

    /// The timestamp of the first that is to be handled; -1 when there is none.
    pub(crate) fn first_ms(&self) -> i64 {
        let first = self.entries.first();
        first.map_or(-1, |entry| entry.timestamp_ms)
    }

    /// Forgets the offsets. Whether there is nothing else.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.offsets.clear();
        self.entries.is_empty()
    }

    /// What was collected, all of it of `partition`.
    pub(crate) fn finish(
        &mut self,
        partition: &Arc<Partition>,
    ) -> impl Iterator<Item = Work<WorkItem>> {
        let bytes = std::mem::take(&mut self.bytes);
        let records = self.entries.len();
        let entries = std::mem::replace(&mut self.entries, Vec::with_capacity(records));
        let (memory, spare) = (self.memory.clone(), self.spare.clone());
        let batch = WorkBatch::new(partition.clone(), bytes, entries, memory, spare);
        let retried = &mut self.retried;
        let whose = self.whose.drain(..).enumerate();
        whose.map(move |(place, (key, tenant))| {
            let before = match retried.front() {
                Some((of, ..)) if *of == place => retried.pop_front(),
                _ => None,
            };
            let (failures, retried) = match before {
                Some((_, failures, retried)) => (failures, Some(retried)),
                None => (None, None),
            };
            Work {
                key,
                tenant,
                item: WorkItem {
                    batch: batch.clone(),
                    // A batch has fewer bytes than there are numbers.
                    place: place as u32,
                    is_held: false,
                    failures,
                    retried,
                },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::record::encoded;
    use crate::kafka::consumer::commit::offset_tracker::OffsetTracker;

    fn partition() -> Arc<Partition> {
        let name = TopicPartition::new("emails", 3);
        Arc::new(Partition::new(name, None, OffsetTracker::default()))
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let partition = partition();
        let headers = [(&b"a"[..], Some(&b"1"[..])), (b"b\xff", None)];
        let mut builder = WorkBatchBuilder::new(Memory::new(1 << 20));
        let (count, bytes) = encoded(headers.into_iter());
        let (some, none) = (Headers::of_encoded(count, &bytes), Headers::default());
        builder.push(&partition, 7, 70, Some(b"k"), Some(b"value"), some);
        builder.push(&partition, 8, 80, None, Some(b""), none);
        builder.push(&partition, 9, 90, Some(b""), None, some);
        let works: Vec<_> = builder.finish(&partition).collect();
        let records: Vec<_> = works
            .iter()
            .map(|work| {
                let record = work.item.record();
                assert_eq!((record.topic, record.partition), ("emails", 3));
                let headers: Vec<_> = record.headers.raw().collect();
                (
                    record.offset,
                    record.timestamp_ms,
                    record.key,
                    record.value,
                    headers,
                )
            })
            .collect();
        assert_eq!(
            records,
            [
                (
                    7,
                    70,
                    Some(&b"k"[..]),
                    Some(&b"value"[..]),
                    headers.to_vec()
                ),
                (8, 80, None, Some(&b""[..]), vec![]),
                (9, 90, Some(&b""[..]), None, headers.to_vec()),
            ]
        );
        assert!(works[0].key != works[1].key && works[1].key != works[2].key);
    }

    #[test]
    fn a_batch_is_held_until_its_last_record_and_one_that_is_left_behind_holds_no_more_than_itself()
    {
        let partition = partition();
        let memory = Memory::new(1 << 20);
        let mut builder = WorkBatchBuilder::new(memory);
        let none = Headers::default();
        for offset in 0..100 {
            builder.push(&partition, offset, 0, Some(b"k"), Some(&[7; 100]), none);
        }
        let mut works: Vec<_> = builder.finish(&partition).collect();
        let all = partition.held();
        assert!(all > 100 * 101);
        works.truncate(50);
        works[0].item.leave_if_left_behind();
        assert_eq!(partition.held(), all, "half of them are left");
        works.truncate(1);
        works[0].item.leave_if_left_behind();
        assert!(partition.held() < 300, "{}", partition.held());
        assert_eq!(works[0].item.record().value, Some(&[7; 100][..]));
        works.clear();
        assert_eq!(partition.held(), 0);
    }
}
