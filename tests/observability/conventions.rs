//! Names, units and attributes against the list that OpenTelemetry publishes.

use std::collections::{BTreeMap, BTreeSet};

use pat_events::events::observe::catalogue as events;
use pat_events::kafka::Latency;
use pat_events::kafka::observe::metrics::{Description, MetricKind, Snapshot, catalogue as kafka};

const PUBLISHED: &str = include_str!("conventions.txt");

/// The rows of a kind in the list: its words.
fn rows(kind: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let rows = PUBLISHED
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    rows.filter(move |row| row[0] == kind)
}

pub fn all() -> impl Iterator<Item = &'static Description> {
    kafka::ALL.iter().chain(events::ALL).copied()
}

#[test]
fn metrics_of_the_conventions_have_their_kind_and_unit_and_the_others_are_ours() {
    let published: BTreeMap<_, _> = rows("metric")
        .map(|row| (row[1], (row[2], row[3])))
        .collect();
    let mut used = BTreeSet::new();
    for description in all() {
        let kind = match description.kind {
            MetricKind::Counter => "counter",
            MetricKind::Histogram => "histogram",
            _ => "gauge",
        };
        match published.get(description.name) {
            Some(row) => {
                assert_eq!(*row, (kind, description.unit), "{}", description.name);
                used.insert(description.name);
            }
            None => assert!(
                description.name.starts_with("pat_events."),
                "{}",
                description.name
            ),
        }
        let unit = description.unit;
        let is_note = unit.starts_with('{') && unit.ends_with('}');
        assert!(
            is_note || ["s", "By"].contains(&unit),
            "{}: {unit}",
            description.name
        );
    }
    assert_eq!(used, published.into_keys().collect());
}

#[test]
fn names_are_told_apart_by_prometheus_as_well() {
    let mut names = BTreeSet::new();
    for description in all() {
        let name = description.prometheus_name();
        assert!(names.insert(name.clone()), "{name} twice");
    }
}

#[test]
fn durations_have_the_recommended_bounds() {
    let bounds = rows("bounds").next().expect("a row")[1].split(',');
    let bounds: Vec<f64> = bounds
        .map(|bound| bound.parse().expect("a number"))
        .collect();
    assert!(Latency::BOUNDS.ends_with(&bounds));
}

/// The attributes of a span are the conventions', or ours.
pub fn check_span_attributes(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]) {
    for attribute in attributes {
        let is_ours = attribute.key.starts_with("pat_events.");
        let mut known = rows("attribute");
        assert!(
            is_ours || known.any(|row| row[1] == attribute.key),
            "{}",
            attribute.key
        );
    }
}

/// What is in `snapshot` has the attributes that the conventions require, and no others under their names.
pub fn check_attributes(snapshot: &Snapshot) {
    let known: BTreeSet<_> = rows("attribute").map(|row| row[1]).collect();
    for metric in snapshot.metrics() {
        let name = metric.description.name;
        let row = rows("metric").find(|row| row[1] == name);
        let required = row.map_or(Vec::new(), |row| row[4].split(',').collect());
        for point in metric.points() {
            let attributes = point.attributes.iter().map(|(name, _)| *name);
            for attribute in attributes.clone() {
                let is_ours = attribute.starts_with("pat_events.");
                assert!(is_ours || known.contains(attribute), "{name}: {attribute}");
            }
            for attribute in &required {
                assert!(
                    attributes.clone().any(|it| it == *attribute),
                    "{name} without {attribute}"
                );
            }
        }
    }
}
