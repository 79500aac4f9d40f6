//! What became of batches that are not sent any more: their records hear of it here, and whoever counts and tells gets a summary.

use super::batch::ProducerBatch;
use super::queue::SequencedBatch;
use crate::kafka::producer::completion::Part;
use crate::kafka::producer::memory::MemoryBudget;
use crate::kafka::{Error, WriteOutcome};

/// Batches that were given up, each with how many records it had and why. Their records know of it already.
#[must_use = "what is given up is to be counted, and told to the observer"]
#[derive(Debug, Default)]
pub(crate) struct GivenUp(Vec<(u32, Error)>);

impl GivenUp {
    /// Resolves each batch with its error.
    pub fn resolve(batches: Vec<(SequencedBatch, Error)>, memory: &MemoryBudget) -> Self {
        let mut given_up = Self::default();
        for (batch, error) in batches {
            given_up.add(batch.count, batch.content.release(memory), error);
        }
        given_up
    }

    /// Resolves batches that were never sent, all for the same reason.
    pub fn refuse(
        &mut self,
        batches: impl Iterator<Item = ProducerBatch>,
        memory: &MemoryBudget,
        error: &Error,
    ) {
        for batch in batches {
            self.add(batch.count(), batch.release(memory), error.clone());
        }
    }

    fn add(&mut self, count: u32, part: Part, error: Error) {
        let (topic, partition) = (part.completion().topic.clone(), part.completion().partition);
        let error = error.topic_partition(topic, partition);
        self.0.push((count, error.clone()));
        part.resolve(Err(error));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The batches: how many records each had, and why it was given up.
    pub fn batches(&self) -> impl Iterator<Item = (u64, &Error)> {
        self.0
            .iter()
            .map(|(records, error)| (u64::from(*records), error))
    }

    /// How many records there were.
    pub fn records(&self) -> u64 {
        self.batches().map(|(records, _)| records).sum()
    }

    /// How many of them were certainly not written.
    pub fn not_written(&self) -> u64 {
        let not_written = |(_, error): &(u64, &Error)| error.outcome() == WriteOutcome::NotWritten;
        self.batches()
            .filter(not_written)
            .map(|(records, _)| records)
            .sum()
    }
}
