//! Metrics as instruments of OpenTelemetry's API: observed when the application's reader looks, and at no other time.
//!
//! Its API has no histogram that is observed, only one that is told of each value. So what came into a bucket since the last look is told as
//! values from within that bucket, whose mean is the true one: counts are exact, sums nearly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use super::{Description, Distribution, MetricKind, Metrics, Snapshot, Value};
use crate::kafka::runtime::Mutex;

/// The most values of one series that are told in one look; the rest waits for the next.
const MOST_AT_ONCE: u64 = 1_000_000;

/// Creates an instrument of `meter` for each metric of the client; they live as long as the meter's provider. Those of typed events are in
/// [`events::observe::export_metrics`](crate::events::observe::export_metrics), which has these as well.
///
/// ```
/// use opentelemetry::metrics::MeterProvider;
/// use pat_events::kafka::ClientConfig;
/// use pat_events::kafka::observe::export_metrics;
///
/// let config = ClientConfig::new("kafka-1:9092");
/// // Or one of the SDK's, with a reader and an exporter.
/// let provider = opentelemetry::global::meter_provider();
/// export_metrics(&config.metrics, &provider.meter("pat-events"));
/// ```
pub fn export_metrics(metrics: &Metrics, meter: &Meter) {
    export(metrics, meter, super::catalogue::ALL.iter().copied());
}

pub(crate) fn export(
    metrics: &Metrics,
    meter: &Meter,
    catalogue: impl Iterator<Item = &'static Description> + Clone,
) {
    let histograms = catalogue
        .clone()
        .filter(|description| description.kind == MetricKind::Histogram)
        .map(|description| {
            // The bounds of its values, which are known before the first of them.
            let bounds = match description.unit {
                "s" => &crate::kafka::Latency::BOUNDS[..],
                _ => &crate::kafka::Sizes::BOUNDS[..],
            };
            let histogram = meter
                .f64_histogram(description.name)
                .with_unit(description.unit)
                .with_description(description.text)
                .with_boundaries(bounds.to_vec())
                .build();
            (description.name, histogram)
        });
    let view = Arc::new(View {
        metrics: metrics.clone(),
        histograms: histograms.collect(),
        look: Mutex::default(),
    });
    for description in catalogue {
        observe(description, meter, &view);
    }
}

fn observe(description: &'static Description, meter: &Meter, view: &Arc<View>) {
    let Description {
        name, unit, text, ..
    } = *description;
    let view = view.clone();
    macro_rules! instrument {
        ($builder:ident, $value:pat => $number:expr) => {{
            let observed = meter.$builder(name).with_unit(unit).with_description(text);
            let observed = observed.with_callback(move |observer| {
                view.each(description, |attributes, value| {
                    if let $value = value {
                        observer.observe($number, attributes);
                    }
                });
            });
            // The meter's provider holds on to it.
            let _ = observed.build();
        }};
    }
    match (description.kind, unit) {
        (MetricKind::Counter, "s") => {
            instrument!(f64_observable_counter, Value::Number(number) => *number)
        }
        (MetricKind::Counter, _) => {
            instrument!(u64_observable_counter, Value::Count(count) => *count)
        }
        (MetricKind::Gauge, "s") => {
            instrument!(f64_observable_gauge, Value::Number(number) => *number)
        }
        (MetricKind::Gauge, _) => {
            instrument!(u64_observable_gauge, Value::Count(count) => *count)
        }
        // Told with the first of the others.
        (MetricKind::Histogram, _) => {}
    }
}

/// What all instruments of one meter look at.
struct View {
    metrics: Metrics,
    histograms: BTreeMap<&'static str, Histogram<f64>>,
    look: Mutex<Look>,
}

/// A metric's name, and the attributes of one of its points.
type Series = (&'static str, Vec<(&'static str, String)>);

/// One look at the metrics, which serves each instrument once.
#[derive(Default)]
struct Look {
    snapshot: Arc<Snapshot>,
    served: BTreeSet<&'static str>,
    is_fresh: bool,
    /// What histograms were told so far, by name and attributes.
    told: BTreeMap<Series, Distribution>,
}

impl View {
    fn each(&self, description: &Description, mut tell: impl FnMut(&[KeyValue], &Value)) {
        let snapshot = {
            let mut look = self.look.lock();
            if !look.is_fresh || !look.served.insert(description.name) {
                look.snapshot = Arc::new(self.metrics.snapshot());
                look.served = BTreeSet::from([description.name]);
                look.is_fresh = true;
                look.tell_histograms(&self.histograms);
            }
            look.snapshot.clone()
        };
        let points = snapshot.metric(description.name).into_iter();
        for point in points.flat_map(|metric| metric.points()) {
            tell(&key_values(point.attributes), point.value);
        }
    }
}

impl Look {
    fn tell_histograms(&mut self, histograms: &BTreeMap<&'static str, Histogram<f64>>) {
        for (name, histogram) in histograms {
            let points = self.snapshot.metric(name).into_iter();
            for point in points.flat_map(|metric| metric.points()) {
                let Value::Distribution(now) = point.value else {
                    continue;
                };
                let series = (*name, point.attributes.to_vec());
                let told = self.told.entry(series).or_insert_with(|| Distribution {
                    bounds: now.bounds,
                    counts: vec![0; now.counts.len()],
                    sum: 0.0,
                });
                let attributes = key_values(point.attributes);
                for (value, times) in news(told, now, MOST_AT_ONCE) {
                    (0..times).for_each(|_| histogram.record(value, &attributes));
                }
            }
        }
    }
}

/// What came since `told`, no more than `most`, as a value for each bucket and how often to tell it. `told` is what was told then.
fn news(told: &mut Distribution, now: &Distribution, most: u64) -> Vec<(f64, u64)> {
    let grown = told.counts.iter().zip(&now.counts);
    let grown: Vec<u64> = grown.map(|(told, now)| now.saturating_sub(*told)).collect();
    let all: u64 = grown.iter().sum();
    if all == 0 {
        return Vec::new();
    }
    // Of all that came; what waits for the next look is taken for as large.
    let mean = (now.sum - told.sum).max(0.0) / all as f64;
    let bounds_of = |bucket: usize| {
        let below = bucket.checked_sub(1).map_or(0.0, |below| now.bounds[below]);
        (below, now.bounds.get(bucket).copied())
    };
    let middle = |bucket| match bounds_of(bucket) {
        (below, Some(above)) => (below + above) / 2.0,
        (below, None) => below * 1.5,
    };
    let weighted = grown.iter().enumerate();
    let weighted = weighted.map(|(bucket, count)| middle(bucket) * *count as f64);
    let scale = mean * all as f64 / weighted.sum::<f64>();
    let mut left = most;
    let mut news = Vec::new();
    for (bucket, count) in grown
        .into_iter()
        .enumerate()
        .filter(|(_, count)| *count > 0)
    {
        let (below, above) = bounds_of(bucket);
        // A bound belongs to the bucket below it.
        let value = (middle(bucket) * scale).max(below.next_up());
        let value = above.map_or(value, |above| value.min(above));
        let times = count.min(left);
        left -= times;
        told.counts[bucket] += times;
        told.sum += value * times as f64;
        news.push((value, times));
    }
    news
}

fn key_values(attributes: &[(&'static str, String)]) -> Vec<KeyValue> {
    let attributes = attributes.iter();
    attributes
        .map(|(name, value)| KeyValue::new(*name, value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(counts: [u64; 4], sum: f64) -> Distribution {
        Distribution {
            bounds: &[1.0, 2.0, 4.0],
            counts: counts.to_vec(),
            sum,
        }
    }

    #[test]
    fn what_is_told_has_the_counts_and_nearly_the_sum() {
        let mut told = distribution([0; 4], 0.0);
        let now = distribution([10, 5, 0, 2], 10.0 * 0.4 + 5.0 * 1.2 + 2.0 * 5.0);
        let mut counts = [0; 4];
        let mut sum = 0.0;
        for (value, times) in news(&mut told, &now, 1_000) {
            counts[now.bounds.partition_point(|bound| *bound < value)] += times;
            sum += value * times as f64;
        }
        assert_eq!(counts[..], now.counts);
        assert!((sum - now.sum).abs() < now.sum * 0.2, "{sum} {}", now.sum);
        assert_eq!(news(&mut told, &now, 1_000), []);
    }

    #[test]
    fn what_is_too_much_for_one_look_is_told_with_the_next() {
        let mut told = distribution([0; 4], 0.0);
        let now = distribution([10, 0, 7, 0], 26.0);
        let times = |news: Vec<(f64, u64)>| news.iter().map(|(_, times)| *times).sum::<u64>();
        assert_eq!(times(news(&mut told, &now, 12)), 12);
        assert_eq!(times(news(&mut told, &now, 12)), 5);
        assert_eq!(told.counts, now.counts);
        assert_eq!(times(news(&mut told, &now, 12)), 0);
    }
}
