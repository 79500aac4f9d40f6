//! What is in a log with transactions, by the markers in it: an account of its own, beside the consumer's.

use std::collections::BTreeMap;

use pat_events::broker::Broker;
use protocol::compression::Decompressor;
use protocol::records::{BatchIter, ControlRecord};

/// A record in the log of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    pub number: u32,
    pub epoch: i16,
    /// How many markers of its producer come before it: those with the same count are of one transaction.
    pub transaction: u32,
    /// Whether a marker that commits it comes behind it. `None`: its transaction is open.
    pub committed: Option<bool>,
}

/// Every record of `t`-`partition`, in the order of the log.
pub fn logged(broker: &Broker, partition: i32) -> Vec<Logged> {
    let log = broker.log("t", partition).expect("the partition exists");
    let mut decompressor = Decompressor::default();
    let mut records: Vec<Logged> = Vec::new();
    let mut markers: BTreeMap<i64, u32> = BTreeMap::new();
    let mut open: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for batch in log.batches.into_iter().flat_map(BatchIter::strict) {
        let batch = batch.expect("a whole batch");
        let producer = batch.producer_id();
        let decoded = batch
            .decode(&mut decompressor, 64 << 20)
            .expect("readable records");
        for record in decoded.records() {
            let record = record.expect("a record");
            if !batch.is_control() {
                let value = record.value.expect("a value");
                let number = u32::from_be_bytes(value[..4].try_into().expect("four bytes"));
                assert!(batch.is_transactional(), "{number}");
                open.entry(producer).or_default().push(records.len());
                records.push(Logged {
                    number,
                    epoch: batch.producer_epoch(),
                    transaction: markers.get(&producer).copied().unwrap_or_default(),
                    committed: None,
                });
                continue;
            }
            let marker = ControlRecord::parse(record.key, record.value).expect("a marker");
            let commits = matches!(marker, ControlRecord::Commit { .. });
            *markers.entry(producer).or_default() += 1;
            for place in open.remove(&producer).unwrap_or_default() {
                records[place].committed = Some(commits);
            }
        }
    }
    records
}

/// The numbers that `read_committed` readers see of `t`'s partitions: each partition's in the order of its log.
pub fn committed(broker: &Broker, partitions: i32) -> Vec<Vec<u32>> {
    let of_partition = |partition| {
        let records = logged(broker, partition).into_iter();
        let committed = records.filter(|it| it.committed == Some(true));
        committed.map(|it| it.number).collect()
    };
    (0..partitions).map(of_partition).collect()
}

/// Asserts that readers see exactly these numbers, which are given in their order, once and in this order.
pub fn assert_committed(broker: &Broker, partitions: i32, expected: &[u32], what: &str) {
    for (partition, found) in (0..).zip(committed(broker, partitions)) {
        let of_partition = |number: &&u32| (**number % partitions as u32) as i32 == partition;
        let expected: Vec<u32> = expected.iter().filter(of_partition).copied().collect();
        assert_eq!(found, expected, "{what}: partition {partition}");
    }
}
