//! How far behind a consumer is, and what else is measured of it.

use std::time::Duration;

use super::metrics::ConsumerMetrics;
use super::state::ConsumerContext;
use crate::kafka::TopicPartition;

impl ConsumerContext {
    /// How many offsets are between the position and the end of the log.
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        let position = self.state().positions.position(partition)?.offset;
        let end = self.fetched_end(partition)?;
        Some(end.saturating_sub(position).max(0))
    }

    /// The end of the log (for `read_committed`: of what is committed), as of the last fetch.
    pub fn fetched_end(&self, partition: &TopicPartition) -> Option<i64> {
        let watermarks = self.state().positions.watermarks(partition)?;
        Some(watermarks.end(self.config.isolation_level))
    }

    /// How old what was handed out last is, where there is more to read.
    pub fn lag_time(&self, partition: &TopicPartition) -> Option<Duration> {
        if self.lag(partition)? == 0 {
            return Some(Duration::ZERO);
        }
        let handed_out_ms = self.state().positions.handed_out_ms(partition)?;
        Some(self.age_of(handed_out_ms))
    }

    /// How long ago the time `timestamp_ms` was; one that is not known was just now.
    pub fn age_of(&self, timestamp_ms: i64) -> Duration {
        let now_ms = self.config.client.clock.now_ms();
        let age_ms = now_ms.saturating_sub(timestamp_ms).max(0);
        Duration::from_millis(if timestamp_ms < 0 { 0 } else { age_ms as u64 })
    }

    /// What the consumer has done so far, without what it shares with others.
    pub fn own_metrics(&self) -> ConsumerMetrics {
        let (assignment, resets): (Vec<_>, _) = {
            let positions = &self.state().positions;
            (
                positions.iter().cloned().collect(),
                positions.reset_counts(),
            )
        };
        let of_each = assignment.iter();
        ConsumerMetrics {
            bytes_held: self.budget.used(),
            resets,
            assigned: assignment.len(),
            group_epoch: self.membership().1,
            lag: (of_each.clone())
                .filter_map(|partition| Some((partition.clone(), self.lag(partition)?)))
                .collect(),
            lag_time: of_each
                .filter_map(|partition| Some((partition.clone(), self.lag_time(partition)?)))
                .collect(),
            ..self.counters.metrics()
        }
    }
}
