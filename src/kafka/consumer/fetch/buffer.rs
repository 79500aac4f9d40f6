//! What was fetched and not yet read, partition by partition, and whose turn it is: a partition that is read to the end of a response lets the
//! others go first. In: readers as responses come. Out: the next one to read. One that must not be read now is set aside with its partition
//! until that is resumed; nothing of it stands in the way of the others.

use std::collections::{BTreeMap, VecDeque};

use super::batch_reader::BatchReader;
use crate::kafka::TopicPartition;

/// The buffers of all partitions.
#[derive(Default)]
pub(crate) struct FetchBuffers {
    by_partition: BTreeMap<TopicPartition, VecDeque<BatchReader>>,
    /// Partitions to read from, the next first: all that have something but those that are set aside.
    turns: VecDeque<TopicPartition>,
}

impl FetchBuffers {
    /// Something of a partition came.
    pub fn push(&mut self, reader: BatchReader) {
        let name = reader.partition.clone();
        let buffer = self.by_partition.entry(name.clone()).or_default();
        if buffer.is_empty() {
            self.turns.push_back(name);
        }
        buffer.push_back(reader);
    }

    /// Takes what is to be read next.
    pub fn next(&mut self) -> Option<BatchReader> {
        let name = self.turns.pop_front()?;
        let buffer = self.by_partition.get_mut(&name)?;
        let reader = buffer.pop_front();
        match buffer.is_empty() {
            true => drop(self.by_partition.remove(&name)),
            false => self.turns.push_back(name),
        }
        reader
    }

    /// Takes what is to be read next of `partition`.
    pub fn next_of(&mut self, partition: &TopicPartition) -> Option<BatchReader> {
        let buffer = self.by_partition.get_mut(partition)?;
        let reader = buffer.pop_front();
        if buffer.is_empty() {
            self.forget(partition);
        }
        reader
    }

    /// Its partition is paused: nothing of it has a turn until it is [resumed](Self::resume).
    pub fn set_aside(&mut self, reader: BatchReader) {
        self.turns.retain(|name| *name != reader.partition);
        let buffer = self.by_partition.entry(reader.partition.clone());
        buffer.or_default().push_front(reader);
    }

    /// The partition may be read again.
    pub fn resume(&mut self, partition: &TopicPartition) {
        if self.by_partition.contains_key(partition) && !self.turns.contains(partition) {
            self.turns.push_back(partition.clone());
        }
    }

    /// Drops what was fetched of `partition`. Whether there was anything.
    pub fn forget(&mut self, partition: &TopicPartition) -> bool {
        self.turns.retain(|name| name != partition);
        self.by_partition.remove(partition).is_some()
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn is_empty(&self) -> bool {
        self.by_partition.is_empty()
    }

    /// How many partitions have something.
    pub fn len(&self) -> usize {
        self.by_partition.len()
    }

    /// How many of `partitions` have something, and the memory that it keeps, as far as it may be theirs alone.
    pub fn held_by(&self, partitions: &[TopicPartition]) -> (usize, usize) {
        let buffers = partitions
            .iter()
            .filter_map(|name| self.by_partition.get(name));
        buffers.fold((0, 0), |(count, bytes), buffer| {
            let held: usize = buffer.iter().map(BatchReader::held).sum();
            (count + 1, bytes + held)
        })
    }
}
