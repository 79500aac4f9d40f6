//! What was moved from whom to whom while an assignment is balanced, so that of two partitions of a topic none goes one way and the other
//! comes back: the one that went is moved back instead.

use std::collections::BTreeMap;

use super::Partition;
use crate::kafka::group::classic::assignor::java_order;

/// From whom, and to whom.
type Route = (usize, usize);

/// Partitions that were moved.
#[derive(Debug, Default)]
pub(super) struct Movements {
    routes: BTreeMap<Partition, Route>,
    by_topic: BTreeMap<usize, BTreeMap<Route, Moved>>,
}

/// Partitions of one topic that went the same way, in the order of Java's `HashSet`.
#[derive(Debug, Default)]
struct Moved {
    partitions: Vec<Partition>,
    /// The most that there ever were: the table does not shrink.
    most: usize,
}

impl Movements {
    /// `partition` goes from `source` to `target`. One that comes back has not been moved.
    pub fn add(&mut self, partition: Partition, source: usize, target: usize) {
        let origin = match self.routes.remove(&partition) {
            Some(route) => {
                self.forget(partition, route);
                route.0
            }
            None => source,
        };
        let came_back = origin == target && origin != source;
        if !came_back {
            let route = (origin, target);
            self.routes.insert(partition, route);
            let of_topic = self.by_topic.entry(partition.topic).or_default();
            let moved = of_topic.entry(route).or_default();
            moved.partitions.push(partition);
            moved.most = moved.most.max(moved.partitions.len());
        }
    }

    /// Which partition to move instead of `partition`, which should go from `source` to `target`: one of its topic that went the other way.
    pub fn instead_of(
        &self,
        partition: Partition,
        source: usize,
        target: usize,
        topic_hash: i32,
    ) -> Partition {
        let origin = (self.routes.get(&partition)).map_or(source, |(origin, _)| *origin);
        let of_topic = self.by_topic.get(&partition.topic);
        let other_way = of_topic.and_then(|of_topic| of_topic.get(&(target, origin)));
        other_way
            .and_then(|moved| moved.first(topic_hash))
            .unwrap_or(partition)
    }

    fn forget(&mut self, partition: Partition, route: Route) {
        let Some(of_topic) = self.by_topic.get_mut(&partition.topic) else {
            return;
        };
        if let Some(moved) = of_topic.get_mut(&route) {
            moved.partitions.retain(|it| *it != partition);
            if moved.partitions.is_empty() {
                of_topic.remove(&route);
            }
        }
    }
}

impl Moved {
    fn first(&self, topic_hash: i32) -> Option<Partition> {
        let buckets = java_order::buckets(self.most);
        let bucket = |it: &Partition| {
            java_order::bucket(java_order::partition_hash(topic_hash, it.number), buckets)
        };
        self.partitions.iter().copied().min_by_key(bucket)
    }
}
