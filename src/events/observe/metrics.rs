//! What a consumer of events adds to a snapshot of metrics.

use std::sync::Arc;

use super::catalogue as of;
use crate::events::consumer::EventsView;
use crate::events::{CircuitState, ConsumerMetrics};
use crate::kafka::observe::metrics::{OTHER, Recorder, Snapshot, Source, attribute};

/// A run of a consumer of events, as it is measured.
pub(crate) struct MeasuredEvents {
    pub client_id: String,
    pub group: String,
    /// The topic, where there is only one.
    pub topic: Option<String>,
    pub view: EventsView,
}

impl Source for MeasuredEvents {
    fn measure(&self, to: &mut Snapshot) -> bool {
        let mut to = Recorder::new(to, &self.client_id, Some(&self.group));
        let metrics = self.view.metrics();
        self.count(&mut to, &metrics);
        for tenant in self.view.tenants() {
            let label = [(attribute::TENANT, tenant.tenant.as_deref().unwrap_or(OTHER))];
            for (what, count) in [
                (&of::TENANT_RECEIVED, tenant.received),
                (&of::TENANT_SKIPPED, tenant.skipped),
                (&of::TENANT_HANDLED, tenant.handled),
                (&of::TENANT_FAILED, tenant.failed),
            ] {
                to.count(what, &label, count);
            }
        }
        for (partition, lag) in &metrics.lag_by_partition {
            let age = metrics.lag_time_by_partition.get(partition).copied();
            let what = [&of::HANDLER_LAG, &of::HANDLER_LAG_TIME];
            to.lag(what, partition, Some(*lag), age);
        }
        // Besides what looks at it, there is who counts.
        Arc::strong_count(&self.view.counters) > 1
    }

    fn trouble(&self) -> Option<String> {
        let trouble = match (self.view.counters.ended_by(), self.view.circuit()) {
            (Some(error), _) => format!("has ended: {error}"),
            (None, CircuitState::Closed) => return None,
            (None, _) => "takes in nothing: nearly all of its handlers fail".to_string(),
        };
        let is_held = Arc::strong_count(&self.view.counters) > 1;
        is_held.then(|| format!("the consumer of group {} {trouble}", self.group))
    }
}

impl MeasuredEvents {
    fn count(&self, to: &mut Recorder<'_>, metrics: &ConsumerMetrics) {
        let mut process = vec![
            (attribute::SYSTEM, "kafka"),
            (attribute::OPERATION, "process"),
        ];
        process.extend(self.topic.as_deref().map(|topic| (attribute::TOPIC, topic)));
        to.latency(&of::PROCESS_DURATION, &process, &metrics.handler_latency);
        for (event_type, handled) in &metrics.handled_by_type {
            let label = [(attribute::EVENT, *event_type)];
            to.count(&of::HANDLER_HANDLED, &label, *handled);
        }
        let failed = [(attribute::ERROR, OTHER)];
        to.count(&of::HANDLER_COMMITS, &failed, metrics.failed_commits);
        let is_open = metrics.circuit != CircuitState::Closed;
        for (what, count) in [
            (&of::HANDLER_RECEIVED, metrics.received),
            (&of::HANDLER_UNKNOWN, metrics.unknown),
            (&of::HANDLER_UNDECODABLE, metrics.undecodable),
            (&of::HANDLER_FAILED, metrics.failed),
            (&of::HANDLER_RETRIES, metrics.retried),
            (&of::HANDLER_TIMEOUTS, metrics.timed_out),
            (&of::HANDLER_DEAD_LETTERS, metrics.dead_lettered),
            (
                &of::HANDLER_DEAD_LETTER_FAILURES,
                metrics.dead_letter_failures,
            ),
            (&of::HANDLER_SENT_TO_RETRY, metrics.sent_to_retry),
            (&of::HANDLER_SENT_BEHIND, metrics.sent_behind),
            (
                &of::HANDLER_RETRY_TOPIC_FAILURES,
                metrics.retry_topic_failures,
            ),
            (&of::HANDLER_RETRY_PENDING, metrics.retry_pending),
            (&of::HANDLER_CIRCUIT_OPEN, u64::from(is_open)),
            (&of::HANDLER_CIRCUIT_OPENED, metrics.circuit_opened),
            (&of::HANDLER_COMMITS, metrics.commits),
            (&of::HANDLER_POLL_FAILURES, metrics.failed_polls),
        ] {
            to.count(what, &[], count);
        }
        let oldest = metrics.oldest.as_ref().map(|oldest| oldest.age);
        to.seconds(&of::HANDLER_OLDEST, &[], oldest.unwrap_or_default());
    }
}

/// Creates an instrument of `meter` for each metric of the client and of consumers of events; they live as long as the meter's provider.
///
/// Histograms are told of values from within the bucket that each of the true values was in: counts are exact, sums nearly.
#[cfg(feature = "otel")]
pub fn export_metrics(
    metrics: &crate::kafka::observe::Metrics,
    meter: &opentelemetry::metrics::Meter,
) {
    use crate::kafka::observe::metrics::{catalogue, export};
    let all = catalogue::ALL.iter().chain(of::ALL).copied();
    export(metrics, meter, all);
}
