//! Dead letters deleted, from the front of each partition. In: up to where. Out: what goes.

use std::collections::BTreeMap;

use super::DeadLetters;
use super::marks::Marks;
use super::reading::Reading;
use crate::kafka::{Result, TopicPartition};

/// Up to where dead letters are deleted: a log loses its oldest records only, never some in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PurgeUpTo {
    /// Up to the first that was not replayed.
    Replayed,
    /// Up to the first that was written at this time, in milliseconds since 1970, or later.
    Before(i64),
    /// All that are there now.
    All,
}

/// What is deleted of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purged {
    /// Where its log began.
    pub from: i64,
    /// Where it begins then.
    pub to: i64,
}

impl DeadLetters {
    /// Deletes dead letters, or with `dry_run` says what would be deleted, by partition; those are left out of which nothing is. Needs the right to
    /// delete (`DELETE` on the topic). A future that is dropped may have deleted all the same.
    pub async fn purge(
        &self,
        up_to: PurgeUpTo,
        dry_run: bool,
    ) -> Result<BTreeMap<TopicPartition, Purged>> {
        let reading = Reading::begin(&self.client, &self.topic, Some(&self.group)).await?;
        let (consumer, ends) = (&reading.consumer, &reading.ends);
        let partitions: Vec<_> = ends.keys().cloned().collect();
        let begins = consumer.beginning_offsets(&partitions).await?;
        let to: BTreeMap<_, _> = match up_to {
            PurgeUpTo::All => ends.clone(),
            PurgeUpTo::Replayed => {
                let marks = Marks::load(consumer, ends.keys()).await?;
                let marks = marks.committed();
                marks
                    .map(|(partition, at)| (partition.clone(), at))
                    .collect()
            }
            PurgeUpTo::Before(time) => {
                let times: Vec<_> = partitions.iter().map(|it| (it.clone(), time)).collect();
                let found = consumer.offsets_for_times(&times).await?;
                // Where none is as young, all are older.
                let to = ends.iter().map(|(partition, end)| {
                    let at = found.get(partition).map_or(*end, |found| found.offset);
                    (partition.clone(), at)
                });
                to.collect()
            }
        };
        let to = to.into_iter().filter_map(|(partition, to)| {
            let from = begins.get(&partition).copied()?;
            (from < to).then_some((partition, Purged { from, to }))
        });
        let mut purged: BTreeMap<_, _> = to.collect();
        if !dry_run {
            let before = purged.iter().map(|(it, purged)| (it.clone(), purged.to));
            let deleted = self
                .client
                .admin()
                .delete_records(&before.collect())
                .await?;
            for (partition, begins) in deleted {
                if let Some(purged) = purged.get_mut(&partition) {
                    purged.to = begins?;
                }
            }
        }
        Ok(purged)
    }
}
