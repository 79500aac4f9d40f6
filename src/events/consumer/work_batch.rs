//! Records of one queue, copied together: so that a fetch's buffers go back at once, whatever the handlers take their time for, and
//! without an allocation per record.

use crate::events::record::{RawHeaders, RawRecord, pack_header};
use crate::kafka::TopicPartition;

/// Records of one partition for one queue, in the order in which they are to be handled.
#[derive(Debug, Default)]
pub(crate) struct WorkBatch {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

/// Where one record's parts stand in the bytes: key, value and headers, one after the other.
#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: i64,
    timestamp_ms: i64,
    start: usize,
    key_len: Option<usize>,
    value_len: Option<usize>,
    headers_len: usize,
}

impl WorkBatch {
    /// Copies a record in.
    pub(crate) fn push<'h>(
        &mut self,
        offset: i64,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (impl AsRef<str>, Option<&'h [u8]>)>,
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let headers_start = self.bytes.len();
        headers.for_each(|(name, value)| pack_header(&mut self.bytes, name.as_ref(), value));
        self.entries.push(Entry {
            offset,
            timestamp_ms,
            start,
            key_len: key.map(<[u8]>::len),
            value_len: value.map(<[u8]>::len),
            headers_len: self.bytes.len() - headers_start,
        });
    }

    /// The records, which are of `partition`.
    pub(crate) fn iter<'a>(
        &'a self,
        partition: &'a TopicPartition,
    ) -> impl Iterator<Item = RawRecord<'a>> {
        self.entries.iter().map(|entry| {
            let (key, rest) = self.bytes[entry.start..].split_at(entry.key_len.unwrap_or_default());
            let (value, rest) = rest.split_at(entry.value_len.unwrap_or_default());
            RawRecord {
                topic: &partition.topic,
                partition: partition.partition,
                offset: entry.offset,
                timestamp_ms: entry.timestamp_ms,
                key: entry.key_len.map(|_| key),
                value: entry.value_len.map(|_| value),
                headers: RawHeaders::packed(&rest[..entry.headers_len]),
            }
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

    /// How much memory it holds on to, filled or not.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Empties it.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in() {
        let headers = [("a", Some(&b"1"[..])), ("b", None)];
        let mut batch = WorkBatch::default();
        batch.push(7, 70, Some(b"k"), Some(b"value"), headers.into_iter());
        batch.push(8, 80, None, Some(b""), std::iter::empty::<(&str, _)>());
        batch.push(9, 90, Some(b""), None, headers.into_iter());
        let name = TopicPartition::new("emails", 3);
        let records: Vec<_> = batch
            .iter(&name)
            .map(|record| {
                assert_eq!((record.topic, record.partition), ("emails", 3));
                let headers: Vec<_> = record.headers.iter().collect();
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
        batch.clear();
        assert!(batch.is_empty());
    }
}
