//! What a queue of events can be told.

use crate::events::{ConsumerConfig, OnFailure};
use crate::kafka::{
    AcknowledgementMode, AcquireMode, Error, ErrorKind, Result, ShareConsumerConfig,
};

/// How an [`EventQueue`](super::EventQueue) reads and handles events. Begin with `new`, then set fields; there will be more of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueConfig {
    /// Where events come from (topics by name, no patterns), the share group (`group_id`), and how they are handled, as for a consumer of events:
    /// `concurrency`, `retry` (its pauses; how often is [`max_deliveries`](Self::max_deliveries)), `on_failure`, `dead_letter_topic`, `on_unknown`,
    /// `on_panic`, `classify`, `handler_timeout`, `shutdown_timeout`, and of `kafka` the client, the fetches, `max_poll_interval` and `buffer_bytes`. What
    /// is about offsets, keys, tenants and batches means nothing to a queue. `on_failure` is [`OnFailure::DeadLetter`] by default.
    pub events: ConsumerConfig,
    /// How often an event is delivered, to whichever member, before one that fails with something transient is given up. Default 5. Brokers give
    /// up by themselves, without a dead letter, what was delivered as often as the group's `share.delivery.count.limit` (5 by default) says: no
    /// more than that.
    pub max_deliveries: u16,
}

impl QueueConfig {
    /// The defaults, with brokers (`host:port`, commas between several), topics (commas between several) and the share group.
    pub fn new(brokers: &str, topics: &str, group_id: &str) -> Self {
        let mut events = ConsumerConfig::new(brokers, topics, group_id);
        events.on_failure = OnFailure::DeadLetter;
        Self {
            events,
            max_deliveries: 5,
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        if self.max_deliveries == 0 {
            let message = "max_deliveries must be 1 at the least: an event is delivered once";
            return Err(Error::new(ErrorKind::Config, message));
        }
        self.events.validate()?;
        self.share_config().validate()
    }

    /// The member's.
    pub(super) fn share_config(&self) -> ShareConsumerConfig {
        let kafka = self.events.client_config();
        ShareConsumerConfig {
            client: kafka.client,
            group_id: kafka.group_id,
            acknowledgement_mode: AcknowledgementMode::Explicit,
            // What waits for a handler is locked for this member.
            acquire_mode: AcquireMode::RecordLimit,
            max_poll_records: self.events.concurrency,
            max_poll_interval: kafka.max_poll_interval,
            fetch_min_bytes: kafka.fetch_min_bytes,
            fetch_max_bytes: kafka.fetch_max_bytes,
            fetch_max_wait: kafka.fetch_max_wait,
            check_crcs: kafka.check_crcs,
            client_rack: kafka.client_rack,
            buffer_bytes: kafka.buffer_bytes,
        }
    }

    /// As it is handled by: the policy's retries are deliveries.
    pub(super) fn handling(&self) -> ConsumerConfig {
        let mut events = self.events.clone();
        events.retry.retries = usize::from(self.max_deliveries.saturating_sub(1));
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_the_policys_retries_and_what_cannot_be_is_named() {
        let mut config = QueueConfig::new("kafka:9092", "emails", "mailers");
        config.events.concurrency = 7;
        config.validate().expect("good");
        assert_eq!(config.handling().retry.retries, 4);
        let share = config.share_config();
        assert_eq!(share.max_poll_records, 7);
        assert_eq!(share.acknowledgement_mode, AcknowledgementMode::Explicit);
        assert_eq!(share.group_id.as_deref(), Some("mailers"));
        config.max_deliveries = 0;
        let error = config.validate().expect_err("never delivered");
        assert!(error.to_string().contains("max_deliveries"), "{error}");
        let error = QueueConfig::new("kafka:9092", "emails", "").validate();
        let error = error.expect_err("no group").to_string();
        assert!(error.contains("group"), "{error}");
    }
}
