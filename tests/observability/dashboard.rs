//! The dashboard and the alert rules of `examples/observability` speak of metrics and labels that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pat_events::kafka::observe::metrics::{Description, MetricKind};
use serde_json::Value;

use crate::conventions::all;
use crate::promtool;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/observability");
    std::fs::read_to_string(path.join(name)).expect("a file")
}

/// The series that Prometheus has of the metrics, by name.
fn series() -> BTreeMap<String, &'static Description> {
    all()
        .flat_map(|description| {
            let name = description.prometheus_name();
            let suffixes: &[&str] = match description.kind {
                MetricKind::Histogram => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            let names = suffixes.iter().map(move |suffix| format!("{name}{suffix}"));
            names.map(move |name| (name, description))
        })
        .collect()
}

/// The words of an expression that are neither in quotes nor a duration.
fn words(expression: &str) -> BTreeSet<&str> {
    let unquoted = expression.split('"').step_by(2);
    let words =
        unquoted.flat_map(|part| part.split(|it: char| !it.is_ascii_alphanumeric() && it != '_'));
    let is_name = |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
    words.filter(is_name).collect()
}

const LABELS: [&str; 11] = [
    "error_type",
    "le",
    "messaging_client_id",
    "messaging_consumer_group_name",
    "messaging_destination_name",
    "messaging_destination_partition_id",
    "messaging_operation_name",
    "pat_events_api",
    "pat_events_broker_id",
    "pat_events_event_type",
    "pat_events_tenant",
];
const FUNCTIONS: [&str; 8] = [
    "by",
    "deriv",
    "histogram_quantile",
    "increase",
    "label_values",
    "max",
    "rate",
    "sum",
];

/// Checks an expression, and returns the metrics that it speaks of.
fn metrics_in(expression: &str) -> BTreeSet<&'static str> {
    let series = series();
    let mut found = BTreeSet::new();
    for word in words(expression) {
        if let Some(description) = series.get(word) {
            found.insert(description.name);
        } else if !LABELS.contains(&word) && !FUNCTIONS.contains(&word) {
            panic!("{word} in {expression} is no metric, label or function");
        }
    }
    assert!(!found.is_empty(), "{expression} speaks of no metric");
    // A counter is looked at by its rate, a histogram by its quantiles, a gauge as it is.
    for description in found
        .iter()
        .filter_map(|name| all().find(|it| it.name == *name))
    {
        let is_rate = ["rate(", "increase(", "label_values("]
            .iter()
            .any(|it| expression.contains(it));
        assert_eq!(
            is_rate,
            description.kind != MetricKind::Gauge,
            "{expression}"
        );
    }
    found
}

#[test]
fn the_dashboard_shows_metrics_that_there_are_each_panel_in_its_place() {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut shown = BTreeSet::new();
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")));
        let place = &panel["gridPos"];
        let place = |side: &str| place[side].as_u64().expect("a place");
        assert!(place("x") + place("w") <= 24);
        assert!(
            places.insert((place("y"), place("x"))),
            "{}",
            panel["title"]
        );
        let targets = panel["targets"].as_array();
        for target in targets.into_iter().flatten() {
            let expression = target["expr"].as_str().expect("an expression");
            shown.extend(metrics_in(&expression.replace("$__rate_interval", "5")));
        }
    }
    let variables = dashboard["templating"]["list"]
        .as_array()
        .expect("variables");
    let client = variables
        .iter()
        .find(|variable| variable["name"] == "client");
    metrics_in(
        client.expect("a variable")["query"]
            .as_str()
            .expect("a query"),
    );
    // What the issue of an operator's day is.
    for name in [
        "messaging.client.operation.duration",
        "messaging.process.duration",
        "pat_events.broker.request.duration",
        "pat_events.consumer.rebalance.duration",
        "pat_events.handler.dead_letters",
        "pat_events.handler.lag",
        "pat_events.handler.lag.time",
        "pat_events.handler.retries",
        "pat_events.producer.batch.messages",
        "pat_events.producer.transaction.commit.duration",
        "pat_events.producer.transactions.aborted",
    ] {
        assert!(shown.contains(name), "{name} is not shown");
    }
}

#[test]
fn every_alert_has_an_expression_over_metrics_that_there_are_and_says_what_is_wrong() {
    let rules = read("alerts.yml");
    let mut alerts = BTreeSet::new();
    let mut expressions = 0;
    for line in rules.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            assert!(alerts.insert(name.to_string()), "{name} twice");
        } else if let Some(expression) = line.strip_prefix("expr: ") {
            // Without the times in brackets.
            let expression = expression.replace(['[', ']'], " ");
            metrics_in(&expression);
            expressions += 1;
        } else if let Some(summary) = line.strip_prefix("summary: ") {
            let labels = summary.split("$labels.").skip(1);
            for label in labels.map(|rest| rest.split(' ').next().expect("a word")) {
                assert!(LABELS.contains(&label), "{label}");
            }
        }
    }
    assert!(
        alerts.len() >= 10 && expressions == alerts.len(),
        "{alerts:?}"
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/observability/alerts.yml");
    promtool::check_rules(&file.to_string_lossy());
    let summaries = rules.matches("summary:").count();
    let severities = rules.matches("labels: {severity:").count();
    assert_eq!((summaries, severities), (alerts.len(), alerts.len()));
}
