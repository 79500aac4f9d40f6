//! The records that one lane gets out of one poll, copied together: so that a fetch's buffers go back at once, whatever the handlers
//! take their time for, and without an allocation per record.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::partition::Partition;
use crate::events::record::{RawHeaders, RawRecord, pack_header};

/// Records for one lane, in the order in which they are to be handled.
#[derive(Debug, Default)]
pub(crate) struct Load {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    partitions: Vec<Arc<Partition>>,
    /// The part of the byte budget that this load takes up; given back when the load is dropped or cleared.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// Where one record's parts stand in the bytes: key, value and headers, one after the other.
#[derive(Clone, Copy, Debug)]
struct Entry {
    partition: usize,
    offset: i64,
    timestamp_ms: i64,
    start: usize,
    key_len: Option<usize>,
    value_len: Option<usize>,
    headers_len: usize,
}

/// A load whose buffer has grown beyond this is not kept for another time.
const KEPT_BYTES: usize = 1 << 20;

impl Load {
    /// Copies a record in. Records of one partition come together.
    pub(crate) fn push<'h>(
        &mut self,
        partition: &Arc<Partition>,
        offset: i64,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (impl AsRef<str>, Option<&'h [u8]>)>,
    ) {
        if !self
            .partitions
            .last()
            .is_some_and(|last| Arc::ptr_eq(last, partition))
        {
            self.partitions.push(partition.clone());
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let headers_start = self.bytes.len();
        headers.for_each(|(name, value)| pack_header(&mut self.bytes, name.as_ref(), value));
        self.entries.push(Entry {
            partition: self.partitions.len() - 1,
            offset,
            timestamp_ms,
            start,
            key_len: key.map(<[u8]>::len),
            value_len: value.map(<[u8]>::len),
            headers_len: self.bytes.len() - headers_start,
        });
    }

    /// The records, each with its partition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<Partition>, RawRecord<'_>)> {
        self.entries.iter().map(|entry| {
            let partition = &self.partitions[entry.partition];
            let (key, rest) = self.bytes[entry.start..].split_at(entry.key_len.unwrap_or_default());
            let (value, rest) = rest.split_at(entry.value_len.unwrap_or_default());
            let record = RawRecord {
                topic: &partition.name.topic,
                partition: partition.name.partition,
                offset: entry.offset,
                timestamp_ms: entry.timestamp_ms,
                key: entry.key_len.map(|_| key),
                value: entry.value_len.map(|_| value),
                headers: RawHeaders::packed(&rest[..entry.headers_len]),
            };
            (partition, record)
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes of keys, values and headers there are.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How much memory the records take up, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    /// Empties the load and gives its part of the budget back. `false`: it has grown too large to be kept.
    pub(crate) fn clear(&mut self) -> bool {
        self.entries.clear();
        self.bytes.clear();
        self.partitions.clear();
        self.permit = None;
        self.bytes.capacity() <= KEPT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::consumer::offset_tracker::OffsetTracker;
    use crate::kafka::TopicPartition;

    #[test]
    fn records_come_out_as_they_went_in() {
        let partition = |number| {
            let name = TopicPartition::new("emails", number);
            Arc::new(Partition::new(name, OffsetTracker::default()))
        };
        let (zero, one) = (partition(0), partition(1));
        let headers = [("a", Some(&b"1"[..])), ("b", None)];
        let mut load = Load::default();
        load.push(
            &zero,
            7,
            70,
            Some(b"k"),
            Some(b"value"),
            headers.into_iter(),
        );
        load.push(
            &zero,
            8,
            80,
            None,
            Some(b""),
            std::iter::empty::<(&str, _)>(),
        );
        load.push(&one, 9, 90, Some(b""), None, headers.into_iter());
        let records: Vec<_> = load
            .iter()
            .map(|(_, record)| {
                let headers: Vec<_> = record.headers.iter().collect();
                (
                    record.partition,
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
                    0,
                    7,
                    70,
                    Some(&b"k"[..]),
                    Some(&b"value"[..]),
                    headers.to_vec()
                ),
                (0, 8, 80, None, Some(&b""[..]), vec![]),
                (1, 9, 90, Some(&b""[..]), None, headers.to_vec()),
            ]
        );
        assert!(load.clear());
        assert!(load.is_empty());
    }
}
