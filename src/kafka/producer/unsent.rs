//! What a producer leaves behind when it is closed before everything is delivered.

use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// What came of closing a producer: see [`Producer::close_and_report`](super::Producer::close_and_report).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CloseReport {
    /// The first failure among the records whose outcome was still open when the producer was closed, and became known in time.
    pub failure: Option<Error>,
    /// What was not delivered when the time was over, by partition; empty when it was enough.
    pub unsent: Vec<UnsentRecords>,
    /// The time was not enough.
    pub(super) is_late: bool,
}

/// Records of a partition that were accepted, and not delivered when their producer was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnsentRecords {
    /// The partition.
    pub partition: TopicPartition,
    /// How many were certainly not written.
    pub not_written: u64,
    /// How many may have been written: they were in flight, or an earlier attempt was never answered.
    pub unknown: u64,
}

impl CloseReport {
    /// How many records were certainly not written, of all partitions.
    pub fn not_written(&self) -> u64 {
        self.unsent.iter().map(|left| left.not_written).sum()
    }

    /// How many records may have been written, of all partitions.
    pub fn unknown(&self) -> u64 {
        self.unsent.iter().map(|left| left.unknown).sum()
    }

    /// Whether every record whose outcome was open was delivered.
    pub fn is_clean(&self) -> bool {
        self.failure.is_none() && self.unsent.is_empty() && !self.is_late
    }

    /// As [`Producer::close`](super::Producer::close) has it.
    pub(super) fn result(self, after: std::time::Duration) -> Result<()> {
        if !self.is_late {
            return self.failure.map_or(Ok(()), Err);
        }
        let first = match &*self.unsent {
            [] => String::new(),
            [only] => format!(" ({})", only.partition),
            [first, others @ ..] => format!(" ({} and {} others)", first.partition, others.len()),
        };
        let error = Error::new(
            ErrorKind::Timeout,
            format!(
                "the producer was closed after {after:?} with records not delivered: {} not written, {} unknown{first}; see their deliveries",
                self.not_written(),
                self.unknown()
            ),
        );
        Err(error)
    }
}
