//! The records to send. In: a payload file, or nothing. Out: keys and values as slices of it, or of generated events.

use std::io::{self, Error, ErrorKind};
use std::ops::Range;
use std::path::Path;

use pat_events::events::codec::Protobuf;
use pat_events::events::{AnyEvent, Encode};

use crate::Outcome;
use crate::demo::workload::Workload;

/// How many events are generated: fewer would repeat within a batch, which flatters codecs.
const GENERATED: u64 = 40_000;

/// A payload file in memory, with the place of each of its records.
#[derive(Debug, Default)]
pub struct Load {
    bytes: Vec<u8>,
    records: Vec<(Range<u32>, Range<u32>)>,
}

impl Load {
    /// Email events as the demo tells them, with their keys.
    pub async fn generated() -> Outcome<Load> {
        let (mut bytes, mut records) = (Vec::new(), Vec::new());
        for event in Workload::new("bench", GENERATED) {
            let start = bytes.len();
            bytes.extend_from_slice(event.key().unwrap_or_default());
            let middle = bytes.len();
            let len = event.prepare(&Protobuf, "bench").await?;
            bytes.resize(middle + len, 0);
            event.write(&Protobuf, &len, &mut bytes[middle..]);
            let [start, middle, end] = [start, middle, bytes.len()].map(|at| at as u32);
            records.push((start..middle, middle..end));
        }
        Ok(Load { bytes, records })
    }

    /// Reads the file whole.
    pub fn read(path: &Path) -> io::Result<Load> {
        Load::parse(std::fs::read(path)?)
    }

    /// Key and value of the record of this number; after the last comes the first again.
    pub fn record(&self, number: u64) -> (&[u8], &[u8]) {
        let (key, value) = &self.records[(number % self.records.len() as u64) as usize];
        let slice = |range: &Range<u32>| &self.bytes[range.start as usize..range.end as usize];
        (slice(key), slice(value))
    }

    fn parse(bytes: Vec<u8>) -> io::Result<Load> {
        let invalid = |at: usize| {
            Error::new(
                ErrorKind::InvalidData,
                format!("no whole record at byte {at}"),
            )
        };
        if bytes.is_empty() || u32::try_from(bytes.len()).is_err() {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "a payload has between one byte and 4 GiB",
            ));
        }
        let length = |at: usize| {
            let field = bytes.get(at..at + 4)?;
            Some(u32::from_le_bytes(field.try_into().ok()?) as usize)
        };
        let mut records = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let (key, value) = length(at).zip(length(at + 4)).ok_or_else(|| invalid(at))?;
            let start = at + 8;
            let (middle, end) = (start + key, start + key + value);
            if end > bytes.len() {
                return Err(invalid(at));
            }
            records.push((start as u32..middle as u32, middle as u32..end as u32));
            at = end;
        }
        Ok(Load { bytes, records })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(records: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, value) in records {
            bytes.extend((key.len() as u32).to_le_bytes());
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend(key.bytes().chain(value.bytes()));
        }
        bytes
    }

    #[test]
    fn after_the_last_record_comes_the_first_again() {
        let load = Load::parse(file(&[("a", "one"), ("b", "two")])).expect("a whole file");
        assert_eq!(load.record(1), (&b"b"[..], &b"two"[..]));
        assert_eq!(load.record(4), (&b"a"[..], &b"one"[..]));
    }

    #[tokio::test]
    async fn generated_records_are_events_with_keys_all_different() {
        let load = Load::generated().await.expect("events");
        assert_eq!(load.records.len() as u64, GENERATED);
        let all: std::collections::BTreeSet<_> = (0..GENERATED).map(|n| load.record(n)).collect();
        assert_eq!(all.len() as u64, GENERATED);
        assert!(
            all.iter()
                .all(|(key, value)| !key.is_empty() && !value.is_empty())
        );
    }

    #[test]
    fn a_cut_file_is_an_error_that_says_where() {
        let mut bytes = file(&[("a", "one"), ("b", "two")]);
        bytes.pop();
        let error = Load::parse(bytes).expect_err("cut");
        assert_eq!(error.to_string(), "no whole record at byte 12");
    }
}
