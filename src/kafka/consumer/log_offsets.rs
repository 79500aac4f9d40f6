//! What the leaders know of their logs: where they begin and end, what stands at a time, and how far behind one is by that.

use std::collections::BTreeMap;

use super::positions::list_offsets;
use super::positions::offset_reset::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP};
use super::{ConsumerHandle, LogBounds, OffsetAndTimestamp};
use crate::kafka::{Result, TopicPartition};

impl ConsumerHandle {
    /// The first offset that each partition's log still has.
    pub async fn beginning_offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        self.offsets_at(partitions, EARLIEST_TIMESTAMP).await
    }

    /// The offset that the next record of each partition gets; for `read_committed`, that of the first record of an open transaction if
    /// there is one.
    pub async fn end_offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        self.offsets_at(partitions, LATEST_TIMESTAMP).await
    }

    /// Both ends of each partition's log, as its leader says now: one question for all partitions of a leader for each end, both at once. Fails by
    /// the request timeout, with an error that names a partition. Cancel safe.
    pub async fn watermarks(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, LogBounds>> {
        let (begin, end) = tokio::join!(
            self.beginning_offsets(partitions),
            self.end_offsets(partitions)
        );
        let mut end = end?;
        let bounds = begin?.into_iter().filter_map(|(partition, begin)| {
            let end = end.remove(&partition)?;
            Some((partition, LogBounds { begin, end }))
        });
        Ok(bounds.collect())
    }

    /// How many offsets are between where each partition is to be read on and the end of its log now (for `read_committed`: of what is
    /// committed), whether anything was fetched or not, and whether it is assigned or not: from the position, where there is one, or from the
    /// group's committed offset. Those without either are not in it. Fails by the request timeout. Cancel safe.
    pub async fn current_lag(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        let ends = self.end_offsets(partitions).await?;
        let positions = || {
            let known = partitions.iter();
            known.filter_map(|name| Some((name.clone(), self.position(name)?)))
        };
        let mut from: BTreeMap<TopicPartition, i64> = positions().collect();
        let is_open = |name: &&TopicPartition| !from.contains_key(*name);
        let open: Vec<_> = partitions.iter().filter(is_open).cloned().collect();
        if !open.is_empty() && self.context.config.group_id.is_some() {
            let committed = self.committed(&open).await?;
            from.extend(
                committed
                    .into_iter()
                    .map(|(name, found)| (name, found.offset)),
            );
        }
        let lags = ends.into_iter().filter_map(|(name, end)| {
            let behind = end.saturating_sub(*from.get(&name)?).max(0);
            Some((name, behind))
        });
        Ok(lags.collect())
    }

    /// The first record of each partition that has this timestamp (milliseconds since 1970) or a later one; partitions without one are not
    /// in it.
    pub async fn offsets_for_times(
        &self,
        times: &[(TopicPartition, i64)],
    ) -> Result<BTreeMap<TopicPartition, OffsetAndTimestamp>> {
        self.context.check_open()?;
        let lookups = times
            .iter()
            .map(|(partition, time)| (partition.clone(), (*time).max(0)))
            .collect();
        let found =
            list_offsets::ask_leaders(&self.context, lookups, self.context.deadline()).await?;
        Ok(found
            .into_iter()
            .filter(|(_, found)| found.offset >= 0)
            .map(|(partition, found)| {
                let leader_epoch = found.leader_epoch;
                (
                    partition,
                    OffsetAndTimestamp {
                        offset: found.offset,
                        timestamp_ms: found.timestamp,
                        leader_epoch,
                    },
                )
            })
            .collect())
    }

    async fn offsets_at(
        &self,
        partitions: &[TopicPartition],
        timestamp: i64,
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        self.context.check_open()?;
        let lookups = partitions
            .iter()
            .map(|partition| (partition.clone(), timestamp))
            .collect();
        let found =
            list_offsets::ask_leaders(&self.context, lookups, self.context.deadline()).await?;
        Ok(found
            .into_iter()
            .map(|(partition, found)| (partition, found.offset))
            .collect())
    }
}
