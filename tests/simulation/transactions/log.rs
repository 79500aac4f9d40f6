//! What the logs have of the topics that transactions are written to.

use pat_events::broker::Broker;
use protocol::compression::Decompressor;
use protocol::records::{BatchIter, ControlRecord, RecordBatch};

use super::events::Topic;
use crate::history::Id;
use crate::record_format::RecordFormat;

/// What stands in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    Record {
        id: Id,
        transactional: bool,
    },
    /// The producer's open transaction ends.
    Marker {
        commit: bool,
    },
}

/// An entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub topic: Topic,
    pub partition: i32,
    pub offset: i64,
    pub producer: i64,
    pub what: Logged,
}

/// All entries of all partitions, each partition in its order.
pub(super) fn read(broker: &Broker, format: RecordFormat) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    for topic in Topic::ALL {
        for partition in 0..topic.partitions() {
            let log = broker.log(topic.name(), partition);
            let batches = log.expect("the topic stays").batches.into_iter();
            for batch in batches.flat_map(BatchIter::new) {
                let batch = batch.expect("the broker checks batches");
                entries.extend(in_batch(&batch, format).into_iter().map(|(offset, what)| {
                    LogEntry {
                        topic,
                        partition,
                        offset,
                        producer: batch.producer_id(),
                        what,
                    }
                }));
            }
        }
    }
    entries
}

fn in_batch(batch: &RecordBatch, format: RecordFormat) -> Vec<(i64, Logged)> {
    let mut decompressor = Decompressor::default();
    let mut records = batch
        .decode(&mut decompressor, 1 << 20)
        .expect("the broker checks batches");
    let mut entries = Vec::new();
    while let Some(record) = records.next_record() {
        let record = record.expect("the broker checks batches");
        let what = match batch.is_control() {
            true => match ControlRecord::parse(record.key, record.value) {
                Ok(ControlRecord::Commit { .. }) => Logged::Marker { commit: true },
                Ok(ControlRecord::Abort { .. }) => Logged::Marker { commit: false },
                other => panic!("no marker: {other:?}"),
            },
            false => Logged::Record {
                id: (record.value.and_then(|value| format.id(value)))
                    .expect("all values hold an id"),
                transactional: batch.is_transactional(),
            },
        };
        entries.push((record.offset, what));
    }
    entries
}
