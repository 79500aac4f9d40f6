//! The metrics that every client has by KIP-714, by its names, out of what is measured here. Times are in milliseconds, as Java has them.
//! Averages and maxima are of what came since the last push; a maximum is the bound of the bucket that it is in.

use std::collections::BTreeMap;

use super::otlp::Standard;
use crate::kafka::observe::metrics::catalogue as of;
use crate::kafka::observe::metrics::{Description, Distribution, Snapshot, Value, attribute};

/// Puts them together from what was measured in all and what came in the last `seconds`.
pub(super) fn standard(
    all: &Snapshot,
    news: &Snapshot,
    seconds: f64,
    is_delta: bool,
) -> Vec<Standard> {
    let mut to = Collected(Vec::new());
    let sums = if is_delta { news } else { all };
    let has = |what: &Description| all.metric(what.name).is_some();
    if has(&of::PRODUCER_BATCHES) {
        let [rate, total, latency_avg, latency_max] = [
            "org.apache.kafka.producer.connection.creation.rate",
            "org.apache.kafka.producer.connection.creation.total",
            "org.apache.kafka.producer.node.request.latency.avg",
            "org.apache.kafka.producer.node.request.latency.max",
        ];
        to.connections(news, sums, seconds, rate, total);
        to.nodes(news, latency_avg, latency_max);
        let throttled = together(news, &of::BROKER_THROTTLE_TIME, &[]);
        to.millis(
            throttled,
            "org.apache.kafka.producer.produce.throttle.time.avg",
            "org.apache.kafka.producer.produce.throttle.time.max",
        );
        let queued = together(news, &of::PRODUCER_QUEUE_DURATION, &[]);
        to.millis(
            queued,
            "org.apache.kafka.producer.record.queue.time.avg",
            "org.apache.kafka.producer.record.queue.time.max",
        );
    }
    if has(&of::CONSUMER_REBALANCES) {
        let [rate, total, latency_avg, latency_max] = [
            "org.apache.kafka.consumer.connection.creation.rate",
            "org.apache.kafka.consumer.connection.creation.total",
            "org.apache.kafka.consumer.node.request.latency.avg",
            "org.apache.kafka.consumer.node.request.latency.max",
        ];
        to.connections(news, sums, seconds, rate, total);
        to.nodes(news, latency_avg, latency_max);
        let polling = total_of(news, &of::CONSUMER_POLL_TIME, |_| true);
        to.gauge(
            "org.apache.kafka.consumer.poll.idle.ratio.avg",
            (polling / seconds.max(1e-9)).min(1.0),
        );
        let commits = [(attribute::API, "OffsetCommit")];
        let commits = together(news, &of::BROKER_REQUEST_DURATION, &commits);
        to.millis(
            commits,
            "org.apache.kafka.consumer.coordinator.commit.latency.avg",
            "org.apache.kafka.consumer.coordinator.commit.latency.max",
        );
        to.gauge(
            "org.apache.kafka.consumer.coordinator.assigned.partitions",
            total_of(all, &of::CONSUMER_ASSIGNED, |_| true),
        );
        to.millis(
            together(news, &of::CONSUMER_REBALANCE_DURATION, &[]),
            "org.apache.kafka.consumer.coordinator.rebalance.latency.avg",
            "org.apache.kafka.consumer.coordinator.rebalance.latency.max",
        );
        let rebalances = together(sums, &of::CONSUMER_REBALANCE_DURATION, &[]);
        to.sum(
            "org.apache.kafka.consumer.coordinator.rebalance.latency.total",
            rebalances.map_or(0.0, |values| values.sum * 1e3),
        );
        let polls = [(attribute::OPERATION, "poll")];
        to.millis(
            together(news, &of::OPERATION_DURATION, &polls),
            "org.apache.kafka.consumer.fetch.manager.fetch.latency.avg",
            "org.apache.kafka.consumer.fetch.manager.fetch.latency.max",
        );
    }
    to.0
}

struct Collected(Vec<Standard>);

impl Collected {
    fn add(&mut self, name: &'static str, value: f64, is_sum: bool, node: Option<&str>) {
        self.0.push(Standard {
            name,
            value,
            is_sum,
            node: node.map(str::to_string),
        });
    }

    fn gauge(&mut self, name: &'static str, value: f64) {
        self.add(name, value, false, None);
    }

    fn sum(&mut self, name: &'static str, value: f64) {
        self.add(name, value, true, None);
    }

    /// Only where there was something, as KIP-714 recommends.
    fn millis(&mut self, values: Option<Distribution>, avg: &'static str, max: &'static str) {
        self.node_millis(None, values, avg, max);
    }

    fn node_millis(
        &mut self,
        node: Option<&str>,
        values: Option<Distribution>,
        avg: &'static str,
        max: &'static str,
    ) {
        let Some(values) = values.filter(|values| values.count() > 0) else {
            return;
        };
        let mean = values.sum / values.count() as f64;
        let last = values.counts.iter().rposition(|count| *count > 0);
        let bound = last.and_then(|bucket| values.bounds.get(bucket)).copied();
        // Beyond the last bound there is no other; and a mean may come near to it.
        let bound = bound.unwrap_or(values.sum).max(mean);
        self.add(avg, mean * 1e3, false, node);
        self.add(max, bound * 1e3, false, node);
    }

    fn connections(
        &mut self,
        news: &Snapshot,
        sums: &Snapshot,
        seconds: f64,
        rate: &'static str,
        total: &'static str,
    ) {
        let made = |snapshot| {
            total_of(snapshot, &of::BROKER_CONNECTS, |attributes| {
                attributes.iter().all(|(name, _)| *name != attribute::ERROR)
            })
        };
        self.gauge(rate, made(news) / seconds.max(1e-9));
        self.sum(total, made(sums));
    }

    fn nodes(&mut self, news: &Snapshot, avg: &'static str, max: &'static str) {
        let mut nodes = BTreeMap::<&str, Distribution>::new();
        for (attributes, value) in points(news, &of::BROKER_REQUEST_DURATION) {
            let node = attributes
                .iter()
                .find(|(name, _)| *name == attribute::BROKER);
            let (Some((_, node)), Value::Distribution(values)) = (node, value) else {
                continue;
            };
            // Addresses that the client began with have no id.
            if node != "-1" {
                let known = nodes.entry(node);
                known
                    .and_modify(|sum| sum.add(values))
                    .or_insert_with(|| values.clone());
            }
        }
        for (node, values) in nodes {
            self.node_millis(Some(node), Some(values), avg, max);
        }
    }
}

type Labels = [(&'static str, String)];

fn points<'a>(
    snapshot: &'a Snapshot,
    what: &Description,
) -> impl Iterator<Item = (&'a Labels, &'a Value)> {
    let points = snapshot.metric(what.name).into_iter();
    let points = points.flat_map(|metric| metric.points());
    points.map(|point| (point.attributes, point.value))
}

/// All values of a metric that have these attributes, together.
fn together(
    snapshot: &Snapshot,
    what: &Description,
    with: &[(&'static str, &str)],
) -> Option<Distribution> {
    let mut sum: Option<Distribution> = None;
    for (attributes, value) in points(snapshot, what) {
        let mut with = with.iter();
        let has = |(name, value): &(&'static str, &str)| {
            let mut attributes = attributes.iter();
            attributes.any(|(it, of)| it == name && of == value)
        };
        if let Value::Distribution(values) = value
            && with.all(has)
        {
            match &mut sum {
                Some(sum) => sum.add(values),
                None => sum = Some(values.clone()),
            }
        }
    }
    sum
}

fn total_of(snapshot: &Snapshot, what: &Description, wanted: impl Fn(&Labels) -> bool) -> f64 {
    let wanted = points(snapshot, what).filter(|(attributes, _)| wanted(attributes));
    wanted
        .map(|(_, value)| match value {
            Value::Count(count) => *count as f64,
            Value::Number(number) => *number,
            Value::Distribution(_) => 0.0,
        })
        .sum()
}
