//! What a partition knows of transactions (KIP-98): where read_committed readers have to stop, and what they have to skip.
//!
//! In: batches that open transactions, and markers that end them. Out: the last stable offset, and the aborted transactions in a range.

use std::collections::BTreeMap;

use protocol::compression::Decompressor;
use protocol::records::{ControlRecord, RecordBatch};

/// A marker is a few bytes.
const MAX_MARKER_BYTES: usize = 1024;

/// An aborted transaction: what its producer wrote from `first_offset` to `last_offset`, its marker, is void.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    last_offset: i64,
}

/// The transactions of one partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionTransactions {
    /// Producer → the first offset of its open transaction.
    open: BTreeMap<i64, i64>,
    /// By their markers.
    aborted: Vec<Aborted>,
}

impl PartitionTransactions {
    /// Takes note of a batch whose first record got this offset, whatever it is.
    pub(crate) fn appended(&mut self, batch: &RecordBatch, base_offset: i64) {
        let producer_id = batch.producer_id();
        if !batch.is_transactional() {
            return;
        }
        if !batch.is_control() {
            return self.begin(producer_id, base_offset);
        }
        let aborts = matches!(marker(batch), Some(ControlRecord::Abort { .. }));
        self.end(producer_id, !aborts, base_offset);
    }

    /// A producer has written at this offset in a transaction.
    pub(crate) fn begin(&mut self, producer_id: i64, offset: i64) {
        self.open.entry(producer_id).or_insert(offset);
    }

    /// A producer's marker was written at this offset.
    pub(crate) fn end(&mut self, producer_id: i64, commit: bool, offset: i64) {
        let Some(first_offset) = self.open.remove(&producer_id) else {
            return;
        };
        if !commit {
            self.aborted.push(Aborted {
                producer_id,
                first_offset,
                last_offset: offset,
            });
        }
    }

    /// Who has a transaction open.
    pub(crate) fn open_producers(&self) -> Vec<i64> {
        self.open.keys().copied().collect()
    }

    /// Where a producer's open transaction begins.
    pub(crate) fn open_since(&self, producer_id: i64) -> Option<i64> {
        self.open.get(&producer_id).copied()
    }

    /// The offset up to which every transaction has ended.
    pub(crate) fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        self.open
            .values()
            .copied()
            .min()
            .unwrap_or(high_watermark)
            .min(high_watermark)
    }

    /// The aborted transactions with records from `start` to before `end`.
    pub(crate) fn aborted(&self, start: i64, end: i64) -> Vec<Aborted> {
        let touches =
            |aborted: &&Aborted| aborted.last_offset >= start && aborted.first_offset < end;
        self.aborted.iter().filter(touches).copied().collect()
    }

    /// Forgets what retention has dropped.
    pub(crate) fn retain_from(&mut self, start_offset: i64) {
        if self
            .aborted
            .first()
            .is_some_and(|oldest| oldest.last_offset < start_offset)
        {
            self.aborted
                .retain(|aborted| aborted.last_offset >= start_offset);
        }
    }

    /// Forgets what a truncation has dropped; an end that is gone leaves its transaction open.
    pub(crate) fn truncate(&mut self, end_offset: i64) {
        for aborted in self
            .aborted
            .iter()
            .filter(|aborted| aborted.last_offset >= end_offset)
        {
            self.open.insert(aborted.producer_id, aborted.first_offset);
        }
        self.aborted
            .retain(|aborted| aborted.last_offset < end_offset);
        self.open
            .retain(|_, first_offset| *first_offset < end_offset);
    }
}

fn marker(batch: &RecordBatch) -> Option<ControlRecord> {
    let mut records = batch
        .decode(&mut Decompressor::new(), MAX_MARKER_BYTES)
        .ok()?;
    let record = records.next_record()?.ok()?;
    ControlRecord::parse(record.key, record.value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::compression::{Compression, Compressor};
    use protocol::records::{BatchBuilder, SealOptions};

    fn batch(producer_id: i64, marker: Option<ControlRecord>) -> RecordBatch {
        let mut builder = BatchBuilder::new(Vec::new());
        match &marker {
            Some(marker) => builder.append(
                0,
                Some(&marker.key()),
                marker.marker_value().as_ref().map(|v| &v[..]),
                [],
            ),
            None => builder.append(0, None, Some(b"value"), []),
        }
        .expect("room for a record");
        let options = SealOptions {
            producer_id,
            producer_epoch: 0,
            base_sequence: 0,
            transactional: true,
            control: marker.is_some(),
        };
        let sealed = builder.seal(&options, &mut Compressor::new(Compression::NONE));
        RecordBatch::read(sealed.into_bytes()).expect("a batch")
    }

    const ABORT: Option<ControlRecord> = Some(ControlRecord::Abort {
        coordinator_epoch: 0,
    });
    const COMMIT: Option<ControlRecord> = Some(ControlRecord::Commit {
        coordinator_epoch: 0,
    });

    #[test]
    fn readers_stop_at_the_first_open_transaction_and_skip_the_aborted_ones() {
        let mut transactions = PartitionTransactions::default();
        let mut stable = Vec::new();
        let history = [
            (1, None),
            (2, None),
            (1, None),
            (1, COMMIT),
            (2, ABORT),
            (1, None),
            (1, ABORT),
        ];
        for (offset, (producer_id, marker)) in history.into_iter().enumerate() {
            transactions.appended(&batch(producer_id, marker), offset as i64);
            stable.push(transactions.last_stable_offset(offset as i64 + 1));
        }
        assert_eq!(stable, [0, 0, 0, 1, 5, 5, 7]);
        let aborted = |start, end| {
            let aborted = transactions.aborted(start, end);
            aborted
                .iter()
                .map(|aborted| (aborted.producer_id, aborted.first_offset))
                .collect::<Vec<_>>()
        };
        assert_eq!(aborted(0, 7), [(2, 1), (1, 5)]);
        assert_eq!(aborted(0, 5), [(2, 1)]);
        assert_eq!(aborted(5, 7), [(1, 5)]);
    }

    #[test]
    fn retention_and_truncation_forget() {
        let mut transactions = PartitionTransactions::default();
        for (offset, marker) in [None, ABORT, None, ABORT].into_iter().enumerate() {
            transactions.appended(&batch(1, marker), offset as i64);
        }
        transactions.truncate(3);
        assert_eq!(transactions.last_stable_offset(3), 2);
        transactions.retain_from(2);
        assert!(transactions.aborted(0, 9).is_empty());
    }
}
