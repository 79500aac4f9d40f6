//! Every metric of consumers of events, by its name, unit and kind.
//!
//! It is as [the client's](crate::kafka::observe::metrics::catalogue). Points are told apart by
//! `messaging.client.id`, `messaging.consumer.group.name`, `pat_events.event.type` and `pat_events.tenant`: no more of these than
//! [`tenants_named`](crate::events::ConsumerConfig::tenants_named), and `_OTHER` for all others.

use crate::kafka::observe::metrics::catalogue::catalogue;

catalogue! {
    PROCESS_DURATION Histogram "messaging.process.duration" "s" "Calls of handlers"
    HANDLER_RECEIVED Counter "pat_events.handler.received" "{message}" "Messages fetched for handlers"
    HANDLER_HANDLED Counter "pat_events.handler.handled" "{message}" "Messages whose handler has finished its work, by type of event"
    HANDLER_UNKNOWN Counter "pat_events.handler.unknown" "{message}" "Events whose type is not in the set"
    HANDLER_UNDECODABLE Counter "pat_events.handler.undecodable" "{message}" "Messages that are no event, or could not be read"
    HANDLER_FAILED Counter "pat_events.handler.failed" "{message}" "Messages whose handler failed for the last time"
    HANDLER_RETRIES Counter "pat_events.handler.retries" "{call}" "Calls of handlers that failed and are repeated"
    HANDLER_TIMEOUTS Counter "pat_events.handler.timeouts" "{call}" "Calls of handlers that were dropped because they took too long"
    HANDLER_DEAD_LETTERS Counter "pat_events.handler.dead_letters" "{message}" "Dead letters written"
    HANDLER_DEAD_LETTER_FAILURES Counter "pat_events.handler.dead_letter.failures" "{attempt}" "Attempts to write dead letters that failed and are repeated"
    HANDLER_SENT_TO_RETRY Counter "pat_events.handler.retry_topic.sent" "{message}" "Messages that failed and were written to a retry topic"
    HANDLER_SENT_BEHIND Counter "pat_events.handler.retry_topic.behind" "{message}" "Messages written to a retry topic behind another of their key"
    HANDLER_RETRY_TOPIC_FAILURES Counter "pat_events.handler.retry_topic.failures" "{attempt}" "Attempts to write to retry topics that failed and are repeated"
    HANDLER_RETRY_PENDING Gauge "pat_events.handler.retry_topic.pending" "{message}" "Messages that are under way in retry topics"
    HANDLER_CIRCUIT_OPEN Gauge "pat_events.handler.circuit.open" "{consumer}" "Consumers that take nothing in because nearly all handlers fail"
    HANDLER_CIRCUIT_OPENED Counter "pat_events.handler.circuit.opened" "{pause}" "Times that nothing was taken in for a while"
    HANDLER_COMMITS Counter "pat_events.handler.commits" "{commit}" "Commits, and by error.type those that failed"
    HANDLER_POLL_FAILURES Counter "pat_events.handler.poll.failures" "{poll}" "Polls that failed and were repeated"
    TENANT_RECEIVED Counter "pat_events.tenant.received" "{message}" "Messages that came for a tenant, those that were skipped included"
    TENANT_SKIPPED Counter "pat_events.tenant.skipped" "{message}" "Messages of a tenant that the filter left out"
    TENANT_HANDLED Counter "pat_events.tenant.handled" "{message}" "Messages of a tenant whose handler has finished its work"
    TENANT_FAILED Counter "pat_events.tenant.failed" "{message}" "Messages of a tenant whose handler failed for the last time"
    HANDLER_LAG Gauge "pat_events.handler.lag" "{message}" "Messages of a partition that are not handled: in the log, or fetched"
    HANDLER_LAG_TIME Gauge "pat_events.handler.lag.time" "s" "The age of the oldest message of a partition that is fetched and not handled, or else of the last one that was; 0 where there are no others"
    HANDLER_OLDEST Gauge "pat_events.handler.oldest" "s" "How long ago the oldest event in flight was fetched"
}
