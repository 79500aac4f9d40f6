//! A snapshot of metrics: each with its points, each of those with its attributes and its value.

use std::collections::BTreeMap;

use super::catalogue::{Description, MetricKind};

/// What tells the points of a metric from each other, by name.
type Attributes = Vec<(&'static str, String)>;

/// The most points of one metric that are kept of what is gone; beyond that they are one, as OpenTelemetry has it.
const MOST_RETIRED: usize = 2_000;
const OVERFLOW: &str = "otel.metric.overflow";

/// Metrics at one moment. Those that nothing was measured of are not in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot(BTreeMap<&'static str, Metric>);

/// One metric, with all its points.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// What it is.
    pub description: &'static Description,
    points: BTreeMap<Attributes, Value>,
}

/// One value of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Point<'a> {
    /// What it is of, by name.
    pub attributes: &'a [(&'static str, String)],
    /// The value.
    pub value: &'a Value,
}

/// The value of a point.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A whole number.
    Count(u64),
    /// Any number.
    Number(f64),
    /// How often what was seen.
    Distribution(Distribution),
}

/// Values, counted by size.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Distribution {
    /// The upper bounds of all buckets but the last, which has none. A value that is equal to a bound is below it.
    pub bounds: &'static [f64],
    /// How many values are in each bucket.
    pub counts: Vec<u64>,
    /// All values together.
    pub sum: f64,
}

impl Distribution {
    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Counts the values of another with the same bounds as well.
    pub(crate) fn add(&mut self, more: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&more.counts) {
            *count = count.saturating_add(*more);
        }
        self.sum += more.sum;
    }
}

impl Metric {
    /// Its points, in the order of their attributes.
    pub fn points(&self) -> impl ExactSizeIterator<Item = Point<'_>> {
        self.points
            .iter()
            .map(|(attributes, value)| Point { attributes, value })
    }
}

impl Snapshot {
    /// The metrics, by name.
    pub fn metrics(&self) -> impl ExactSizeIterator<Item = &Metric> {
        self.0.values()
    }

    /// The metric of this name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.0.get(name)
    }

    /// The points that have this attribute.
    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        let has = |attributes: &Attributes| {
            let mut attributes = attributes.iter();
            attributes.any(|(it, of)| *it == name && of == value)
        };
        let mut with = self.clone();
        with.0.retain(|_, metric| {
            metric.points.retain(|attributes, _| has(attributes));
            !metric.points.is_empty()
        });
        with
    }

    /// The metrics whose names are wanted.
    pub(crate) fn only(mut self, wanted: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|name, _| wanted(name));
        self
    }

    /// What was counted since `earlier`, and what is held now.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut news = self.clone();
        for (name, metric) in &mut news.0 {
            let before = earlier.0.get(name);
            if metric.description.kind == MetricKind::Gauge {
                continue;
            }
            for (attributes, value) in &mut metric.points {
                let before = before.and_then(|before| before.points.get(attributes));
                match (value, before) {
                    (Value::Count(now), Some(Value::Count(before))) => {
                        *now = now.saturating_sub(*before);
                    }
                    (Value::Number(now), Some(Value::Number(before))) => {
                        *now = (*now - before).max(0.0);
                    }
                    (Value::Distribution(now), Some(Value::Distribution(before))) => {
                        for (count, before) in now.counts.iter_mut().zip(&before.counts) {
                            *count = count.saturating_sub(*before);
                        }
                        now.sum = (now.sum - before.sum).max(0.0);
                    }
                    (_, _) => {}
                }
            }
        }
        news
    }

    /// Adds a value: to the point of these attributes if there is one.
    pub(crate) fn add(
        &mut self,
        description: &'static Description,
        attributes: &[(&'static str, &str)],
        value: Value,
    ) {
        let attributes = attributes.iter();
        let attributes = attributes.map(|(name, value)| (*name, value.to_string()));
        let mut attributes: Attributes = attributes.collect();
        attributes.sort_unstable();
        self.put(description, attributes, value);
    }

    pub(super) fn merge(&mut self, other: Self) {
        for metric in other.0.into_values() {
            for (attributes, value) in metric.points {
                self.put(metric.description, attributes, value);
            }
        }
    }

    /// Takes in what something has counted that is gone; what it held is over.
    pub(super) fn retire(&mut self, last: Self) {
        for metric in last.0.into_values() {
            if metric.description.kind == MetricKind::Gauge {
                continue;
            }
            for (attributes, value) in metric.points {
                let known = self.0.get(metric.description.name);
                let is_full = known.is_some_and(|known| {
                    known.points.len() >= MOST_RETIRED && !known.points.contains_key(&attributes)
                });
                let attributes = match is_full {
                    true => vec![(OVERFLOW, "true".to_string())],
                    false => attributes,
                };
                self.put(metric.description, attributes, value);
            }
        }
    }

    fn put(&mut self, description: &'static Description, attributes: Attributes, value: Value) {
        let metric = self.0.entry(description.name).or_insert_with(|| Metric {
            description,
            points: BTreeMap::new(),
        });
        match metric.points.entry(attributes) {
            std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(value)),
            std::collections::btree_map::Entry::Occupied(mut place) => {
                place.get_mut().absorb(description, value)
            }
        }
    }
}

impl Value {
    /// Two of the same attributes: together, or of ages the larger.
    fn absorb(&mut self, description: &Description, other: Self) {
        match (self, other) {
            (Self::Count(sum), Self::Count(more)) => *sum = sum.saturating_add(more),
            (Self::Number(sum), Self::Number(more)) => {
                let is_age = description.kind == MetricKind::Gauge && description.unit == "s";
                *sum = if is_age { sum.max(more) } else { *sum + more };
            }
            (Self::Distribution(sum), Self::Distribution(more)) => {
                sum.add(&more);
            }
            // One description, one form.
            (_, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::{CONSUMER_LAG_TIME, OPERATION_DURATION, SENT_MESSAGES};
    use super::*;

    fn only(snapshot: &Snapshot, name: &str) -> Vec<Value> {
        let points = snapshot.metric(name).into_iter().flat_map(Metric::points);
        points.map(|point| point.value.clone()).collect()
    }

    #[test]
    fn points_of_the_same_attributes_are_one_and_of_ages_the_larger() {
        let mut snapshot = Snapshot::default();
        let distribution = |sum| {
            Value::Distribution(Distribution {
                bounds: &[1.0],
                counts: vec![1, 2],
                sum,
            })
        };
        for (attributes, number) in [
            ([("a", "1"), ("b", "2")], 3),
            ([("b", "2"), ("a", "1")], 4),
            ([("a", "2"), ("b", "2")], 5),
        ] {
            snapshot.add(&SENT_MESSAGES, &attributes, Value::Count(number));
            snapshot.add(&CONSUMER_LAG_TIME, &[], Value::Number(number as f64));
            snapshot.add(&OPERATION_DURATION, &[], distribution(number as f64));
        }
        let sent = only(&snapshot, SENT_MESSAGES.name);
        assert_eq!(sent, [Value::Count(7), Value::Count(5)]);
        let lag = only(&snapshot, CONSUMER_LAG_TIME.name);
        assert_eq!(lag, [Value::Number(5.0)]);
        let expected = Distribution {
            bounds: &[1.0],
            counts: vec![3, 6],
            sum: 12.0,
        };
        assert_eq!(
            only(&snapshot, OPERATION_DURATION.name),
            [Value::Distribution(expected)]
        );
    }

    #[test]
    fn what_came_since_a_moment_is_the_difference_of_what_is_counted() {
        let at = |count: u64, held: f64| {
            let mut snapshot = Snapshot::default();
            let client = [("client", "c")];
            snapshot.add(&SENT_MESSAGES, &client, Value::Count(count));
            snapshot.add(&CONSUMER_LAG_TIME, &client, Value::Number(held));
            let values = Distribution {
                bounds: &[1.0],
                counts: vec![count, 1],
                sum: 2.0 * count as f64,
            };
            snapshot.add(&OPERATION_DURATION, &client, Value::Distribution(values));
            snapshot
        };
        let news = at(7, 1.0).since(&at(3, 5.0));
        assert_eq!(only(&news, SENT_MESSAGES.name), [Value::Count(4)]);
        assert_eq!(only(&news, CONSUMER_LAG_TIME.name), [Value::Number(1.0)]);
        let expected = Distribution {
            bounds: &[1.0],
            counts: vec![4, 0],
            sum: 8.0,
        };
        let expected = [Value::Distribution(expected)];
        assert_eq!(only(&news, OPERATION_DURATION.name), expected);
        let all = at(7, 1.0).since(&Snapshot::default());
        assert_eq!(all, at(7, 1.0));
        assert_eq!(all.with("client", "c"), all);
        assert_eq!(all.with("client", "d"), Snapshot::default());
        let sent = all.only(|name| name == SENT_MESSAGES.name);
        assert_eq!(sent.metrics().len(), 1);
    }

    #[test]
    fn what_is_gone_leaves_what_it_counted_within_bounds() {
        let mut retired = Snapshot::default();
        for number in 0..MOST_RETIRED + 10 {
            let mut last = Snapshot::default();
            let name = number.to_string();
            last.add(&SENT_MESSAGES, &[("client", &name)], Value::Count(1));
            last.add(&CONSUMER_LAG_TIME, &[], Value::Number(1.0));
            retired.retire(last);
        }
        assert_eq!(
            retired.metric(CONSUMER_LAG_TIME.name),
            None,
            "it is held by nobody"
        );
        let sent = only(&retired, SENT_MESSAGES.name);
        assert_eq!(sent.len(), MOST_RETIRED + 1);
        assert!(sent.contains(&Value::Count(10)), "the rest is one");
    }
}
