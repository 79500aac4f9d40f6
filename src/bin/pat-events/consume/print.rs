//! Records become output. In: the records of a poll. Out: those that are meant, in their form; and where each partition goes on.

use std::collections::BTreeMap;
use std::io::{self, Write};

use pat_events::kafka::{Consumer, OffsetAndMetadata, RecordView, Records, TopicPartition};
use serde_json::Value;

use super::filter::Filter;
use super::format::{Format, Shown};
use super::serdes::{Reading, Serdes};
use crate::Outcome;
use crate::notes::note;

/// What is printed, and how.
pub struct Printer {
    pub format: Format,
    pub filter: Filter,
    pub serdes: Serdes,
    /// Records before this offset are passed over.
    pub least_offset: i64,
    /// Records of this time (milliseconds since 1970) or later are passed over.
    pub stop_ms: Option<i64>,
    /// Whether what steers terminals is escaped.
    pub is_escaped: bool,
    /// The records that were not what they were said to be.
    pub unreadable: u64,
}

/// What was printed of the records of one poll.
#[derive(Default)]
pub struct Printed {
    pub records: u64,
    /// Whether no record was left for another time.
    pub is_all: bool,
    /// Where each partition goes on after it.
    next: BTreeMap<TopicPartition, OffsetAndMetadata>,
}

impl Printed {
    pub async fn commit(self, consumer: &Consumer) -> pat_events::kafka::Result<()> {
        let offsets: Vec<_> = self.next.into_iter().collect();
        consumer.commit(&offsets).await
    }
}

impl Printer {
    /// Looks up the schemas that the records need. Fails when the registry does not answer.
    pub async fn learn(&mut self, records: &Records) -> Outcome {
        if self.serdes.has_schemas() {
            for record in records.iter() {
                self.serdes.learn(&record).await?;
            }
        }
        Ok(())
    }

    /// Prints at most `most` records, of each partition those before its end.
    pub fn print(
        &mut self,
        records: &Records,
        ends: &BTreeMap<TopicPartition, i64>,
        most: u64,
        out: &mut impl Write,
    ) -> io::Result<Printed> {
        let mut printed = Printed {
            is_all: true,
            ..Printed::default()
        };
        for run in records.partitions() {
            let mut next = None;
            let end = ends.get(run.partition()).copied().unwrap_or(i64::MAX);
            for record in run.iter() {
                if printed.records == most || record.offset >= end {
                    printed.is_all = false;
                    break;
                }
                if self.print_one(&record, out)? {
                    printed.records += 1;
                }
                let mut after = OffsetAndMetadata::new(record.offset + 1);
                after.leader_epoch = record.leader_epoch;
                next = Some(after);
            }
            if let Some(next) = next {
                printed.next.insert(run.partition().clone(), next);
            }
        }
        out.flush()?;
        Ok(printed)
    }

    /// Prints a record, unless it is none of those that are meant.
    fn print_one(&mut self, record: &RecordView<'_>, out: &mut impl Write) -> io::Result<bool> {
        let is_outside = record.offset < self.least_offset
            || self
                .stop_ms
                .is_some_and(|stop_ms| record.timestamp_ms >= stop_ms);
        if is_outside {
            return Ok(false);
        }
        let value = self.serdes.value(record);
        let value = self.told(record, "value", value);
        if !self.filter.admits(record, value.as_ref()) {
            return Ok(false);
        }
        let key = self.serdes.key(record);
        let key = self.told(record, "key", key);
        let shown = Shown {
            record,
            key: key.as_ref(),
            value: value.as_ref(),
            is_escaped: self.is_escaped,
        };
        self.format.write(shown, out)?;
        Ok(true)
    }

    /// What was read; what could not be is told, and shown as its bytes.
    fn told(&mut self, record: &RecordView<'_>, part: &str, read: Reading) -> Option<Value> {
        match read {
            Ok(read) => read,
            Err(why) => {
                self.unreadable += 1;
                let RecordView {
                    topic,
                    partition,
                    offset,
                    ..
                } = record;
                note(format!(
                    "warning: the {part} of {topic}-{partition}@{offset} is shown as it is: {why}"
                ));
                None
            }
        }
    }
}
