//! How far a consumer of events is behind: what is not finished, fetched or not. While it runs, as of now; after its end, as of then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::assigned::Assigned;
use crate::kafka::TopicPartition;
use crate::kafka::consumer::ConsumerHandle;
use crate::kafka::runtime::Mutex;

/// Where the lag can be read. Clones share it.
#[derive(Clone)]
pub(super) struct LagView(Arc<Mutex<Source>>);

enum Source {
    Running(ConsumerHandle, Assigned),
    /// A handle keeps connections open: none is kept after the end.
    Ended(BTreeMap<TopicPartition, u64>),
}

impl LagView {
    pub(super) fn new(consumer: ConsumerHandle, assigned: Assigned) -> Self {
        Self(Arc::new(Mutex::new(Source::Running(consumer, assigned))))
    }

    /// The lag of each partition; of those that nothing is known of, none.
    pub(super) fn by_partition(&self) -> BTreeMap<TopicPartition, u64> {
        match &*self.0.lock() {
            Source::Running(consumer, assigned) => lag_of(consumer, assigned),
            Source::Ended(lag) => lag.clone(),
        }
    }

    /// The age of what each partition is at; of those that nothing is known of, and after the end, none.
    pub(super) fn times_by_partition(&self) -> BTreeMap<TopicPartition, Duration> {
        match &*self.0.lock() {
            Source::Running(consumer, assigned) => lag_times_of(consumer, assigned),
            Source::Ended(_) => BTreeMap::new(),
        }
    }

    /// From now on the lag is what it is now.
    pub(super) fn end(&self, consumer: &ConsumerHandle, assigned: &Assigned) {
        let lag = lag_of(consumer, assigned);
        *self.0.lock() = Source::Ended(lag);
    }
}

fn lag_times_of(
    consumer: &ConsumerHandle,
    assigned: &Assigned,
) -> BTreeMap<TopicPartition, Duration> {
    let assignment = consumer.assignment().into_iter();
    assignment
        .filter_map(|name| {
            let in_flight = assigned.find(&name);
            let in_flight = in_flight.and_then(|partition| partition.oldest_timestamp());
            let age = match in_flight {
                Some(timestamp_ms) => consumer.age_of(timestamp_ms),
                None => consumer.lag_time(&name)?,
            };
            Some((name, age))
        })
        .collect()
}

fn lag_of(consumer: &ConsumerHandle, assigned: &Assigned) -> BTreeMap<TopicPartition, u64> {
    let assignment = consumer.assignment().into_iter();
    assignment
        .filter_map(|name| {
            let lag = match assigned.find(&name) {
                Some(partition) => {
                    partition.lag(consumer.fetched_end(&name), consumer.position(&name))
                }
                None => u64::try_from(consumer.lag(&name)?).ok(),
            };
            Some((name, lag?))
        })
        .collect()
}
