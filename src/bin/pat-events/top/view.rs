//! What follows from what was seen: rates from two moments, lags from one. Pure.

use std::collections::{BTreeMap, VecDeque};

use pat_events::kafka::{Latency, TopicPartition};

use super::sample::Sample;

/// As many moments are remembered for the curve.
const REMEMBERED: usize = 240;
/// As many errors.
const ERRORS: usize = 50;

/// What is shown.
#[derive(Debug, Default)]
pub struct View {
    last: Option<Sample>,
    pub brokers: usize,
    pub leaderless: Vec<TopicPartition>,
    pub topics: Vec<TopicRow>,
    pub groups: Vec<GroupRow>,
    /// Records a second into all topics, the newest at the end.
    pub rates: VecDeque<u64>,
    /// How many of our requests took how long, since the look before: by the bounds of [`Latency`].
    pub latencies: Vec<u64>,
    pub mean_ms: f64,
    /// The newest first, each with how often it came in a row.
    pub errors: VecDeque<(String, u32)>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicRow {
    pub name: String,
    pub partitions: usize,
    pub records: i64,
    /// Records a second; unknown at the first look.
    pub rate: Option<f64>,
}

/// What a group has yet to read of a partition.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRow {
    pub group: String,
    pub partition: TopicPartition,
    pub lag: i64,
    /// Records a second that it has committed.
    pub rate: Option<f64>,
}

impl GroupRow {
    /// In how many seconds it is done at its rate, if it gets on.
    pub fn seconds(&self) -> Option<f64> {
        let rate = self.rate.filter(|rate| *rate > 0.0)?;
        Some(self.lag as f64 / rate)
    }
}

impl View {
    /// Takes in what was seen now.
    pub fn update(&mut self, sample: Sample) {
        let before = self.last.as_ref();
        let seconds = before.map(|before| (sample.at - before.at).as_secs_f64().max(1e-3));
        let rate = |now: i64, before: Option<i64>| {
            let grown = now.checked_sub(before?)?.max(0);
            Some(grown as f64 / seconds?)
        };
        let mut topics = BTreeMap::<&str, TopicRow>::new();
        for (name, end) in &sample.ends {
            let row = topics.entry(&name.topic).or_insert_with(|| TopicRow {
                name: name.topic.to_string(),
                partitions: 0,
                records: 0,
                rate: None,
            });
            row.partitions += 1;
            row.records = row.records.saturating_add(*end);
            // A partition that was not there before begins to count.
            let before = before.and_then(|before| before.ends.get(name)).copied();
            if let Some(more) = rate(*end, before) {
                row.rate = Some(row.rate.unwrap_or(0.0) + more);
            }
        }
        let mut topics: Vec<TopicRow> = topics.into_values().collect();
        topics.sort_by(|one, other| {
            let rates = [one, other].map(|row| row.rate.unwrap_or(0.0));
            rates[1]
                .total_cmp(&rates[0])
                .then_with(|| one.name.cmp(&other.name))
        });
        let mut groups = Vec::new();
        for (group, committed) in &sample.committed {
            for (partition, offset) in committed {
                let Some(end) = sample.ends.get(partition) else {
                    continue;
                };
                let before = before.and_then(|before| before.committed.get(group));
                let before = before.and_then(|before| before.get(partition)).copied();
                groups.push(GroupRow {
                    group: group.clone(),
                    partition: partition.clone(),
                    lag: end.saturating_sub(*offset).max(0),
                    rate: rate(*offset, before),
                });
            }
        }
        // Where it is worst.
        groups.sort_by(|one, other| {
            let names = |row: &GroupRow| (row.group.clone(), row.partition.clone());
            (other.lag.cmp(&one.lag)).then_with(|| names(one).cmp(&names(other)))
        });
        if seconds.is_some() && !sample.ends.is_empty() {
            let all = topics.iter().filter_map(|row| row.rate).sum::<f64>();
            self.rates.push_back(all as u64);
            if self.rates.len() > REMEMBERED {
                self.rates.pop_front();
            }
        }
        let known = before.map_or(Latency::default(), |before| before.latency);
        let now = &sample.latency;
        let grown = now.buckets.iter().zip(known.buckets);
        self.latencies = grown
            .map(|(now, before)| now.saturating_sub(before))
            .collect();
        let count = now.count.saturating_sub(known.count);
        let sum = now.sum.saturating_sub(known.sum).as_secs_f64() * 1e3;
        self.mean_ms = if count == 0 { 0.0 } else { sum / count as f64 };
        for error in &sample.errors {
            match self.errors.front_mut() {
                Some((last, times)) if last == error => *times += 1,
                _ => self.errors.push_front((error.clone(), 1)),
            }
        }
        self.errors.truncate(ERRORS);
        self.leaderless.clone_from(&sample.leaderless);
        // A look that failed takes nothing from what is known.
        if sample.ends.is_empty() && !sample.errors.is_empty() {
            return;
        }
        (self.topics, self.groups) = (topics, groups);
        self.brokers = sample.brokers.len();
        self.last = Some(sample);
    }
}
