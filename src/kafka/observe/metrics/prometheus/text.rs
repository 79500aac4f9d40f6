//! The text that Prometheus reads, in its format 0.0.4. Names become its own as OpenTelemetry says how: dots are underscores, units and
//! `_total` stand at the end.

use std::fmt::Write;

use crate::kafka::observe::metrics::{Description, Metric, MetricKind, Snapshot, Value};

impl Description {
    /// The name that Prometheus knows the metric by: `messaging_client_sent_messages_total`.
    pub fn prometheus_name(&self) -> String {
        let mut name = underscored(self.name);
        // What stands in braces is a note, not a unit.
        match self.unit {
            "s" => name.push_str("_seconds"),
            "By" => name.push_str("_bytes"),
            _ => {}
        }
        if self.kind == MetricKind::Counter {
            name.push_str("_total");
        }
        name
    }
}

impl Snapshot {
    /// The metrics in Prometheus' text format 0.0.4, for a server of your own; its `content-type` is
    /// [`PROMETHEUS_CONTENT_TYPE`](crate::kafka::observe::metrics::PROMETHEUS_CONTENT_TYPE).
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        for metric in self.metrics() {
            write_metric(&mut text, metric);
        }
        text
    }
}

fn write_metric(text: &mut String, metric: &Metric) {
    let description = metric.description;
    let name = description.prometheus_name();
    let kind = match description.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    };
    let help = description.text.replace('\\', "\\\\").replace('\n', "\\n");
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for point in metric.points() {
        let labels: Vec<_> = (point.attributes.iter())
            .map(|(name, value)| format!("{}=\"{}\"", underscored(name), escaped(value)))
            .collect();
        let labels = labels.join(",");
        let mut line = |suffix: &str, more: &str, value: &dyn std::fmt::Display| {
            let comma = if labels.is_empty() || more.is_empty() {
                ""
            } else {
                ","
            };
            let _ = match labels.is_empty() && more.is_empty() {
                true => writeln!(text, "{name}{suffix} {value}"),
                false => writeln!(text, "{name}{suffix}{{{labels}{comma}{more}}} {value}"),
            };
        };
        match point.value {
            Value::Count(count) => line("", "", count),
            Value::Number(number) => line("", "", number),
            Value::Distribution(values) => {
                let mut below = 0;
                for (bound, count) in values.bounds.iter().zip(&values.counts) {
                    below += count;
                    line("_bucket", &format!("le=\"{bound}\""), &below);
                }
                line("_bucket", "le=\"+Inf\"", &values.count());
                line("_sum", "", &values.sum);
                line("_count", "", &values.count());
            }
        }
    }
}

fn underscored(name: &str) -> String {
    name.replace('.', "_")
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::observe::metrics::Distribution;
    use crate::kafka::observe::metrics::catalogue::{
        CONSUMER_LAG_TIME, OPERATION_DURATION, PRODUCER_BYTES_SENT,
    };

    #[test]
    fn each_kind_of_metric_is_written_as_prometheus_reads_it() {
        let mut snapshot = Snapshot::default();
        snapshot.add(&CONSUMER_LAG_TIME, &[], Value::Number(1.5));
        let labels = [("a.b", "quote \" slash \\ line \n end"), ("c", "")];
        snapshot.add(&PRODUCER_BYTES_SENT, &labels, Value::Count(u64::MAX));
        let values = Distribution {
            bounds: &[0.0001, 1.0, 10.0],
            counts: vec![1, 2, 0, 3],
            sum: 60.25,
        };
        let value = Value::Distribution(values);
        snapshot.add(&OPERATION_DURATION, &[("x", "y")], value);
        let text = snapshot.to_prometheus();
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with("# HELP"))
            .collect();
        assert_eq!(
            lines,
            [
                "# TYPE messaging_client_operation_duration_seconds histogram",
                r#"messaging_client_operation_duration_seconds_bucket{x="y",le="0.0001"} 1"#,
                r#"messaging_client_operation_duration_seconds_bucket{x="y",le="1"} 3"#,
                r#"messaging_client_operation_duration_seconds_bucket{x="y",le="10"} 3"#,
                r#"messaging_client_operation_duration_seconds_bucket{x="y",le="+Inf"} 6"#,
                r#"messaging_client_operation_duration_seconds_sum{x="y"} 60.25"#,
                r#"messaging_client_operation_duration_seconds_count{x="y"} 6"#,
                "# TYPE pat_events_consumer_lag_time_seconds gauge",
                "pat_events_consumer_lag_time_seconds 1.5",
                "# TYPE pat_events_producer_sent_bytes_total counter",
                r#"pat_events_producer_sent_bytes_total{a_b="quote \" slash \\ line \n end",c=""} 18446744073709551615"#,
            ]
        );
    }
}
