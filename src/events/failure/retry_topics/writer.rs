//! Writes records to retry topics: acknowledged by all in-sync replicas, once as far as a producer can see to that, and each in the partition
//! that has the number of its own.

use super::{Chain, ToRetry};
use crate::events::RawRecord;
use crate::events::cancellation::Cancellation;
use crate::events::failure::dead_letter_writer::producer_config;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Client, Header, Producer, Record, Result};

/// Shared by all that write to retry topics for a consumer.
pub(crate) struct RetryWriter {
    producer: Producer,
}

impl RetryWriter {
    pub(crate) fn on(client: &Client) -> Result<Self> {
        let mut config = producer_config();
        // What goes on failing is told in the time in which everything else is.
        let patience = client.config().request_timeout;
        config.delivery_timeout = config.delivery_timeout.min(patience * 2).max(patience);
        config.max_block = config.max_block.min(patience);
        Ok(Self {
            producer: client.producer(config)?,
        })
    }

    /// Writes `record`, of the partition that `chain` is of, and waits until that is acknowledged. `None`: one of `given_up` was raised before it
    /// was accepted for sending. What fails may be written nevertheless; it is written again then.
    pub(crate) async fn write(
        &self,
        chain: &Chain,
        record: RawRecord<'_>,
        to: &ToRetry,
        given_up: [&Cancellation; 2],
    ) -> Option<Result<()>> {
        let topic = &*chain.retry_partition(to.level)?.topic;
        let ours = to.envelope.headers();
        let ours = ours
            .iter()
            .map(|(name, value)| Header::new(name, value.as_bytes()));
        let own = (record.headers.raw()).map(|(name, value)| Header::raw(name, value));
        let headers: Vec<_> = own.chain(ours).collect();
        let mut again = Record::new(topic).headers(&headers);
        again.key = record.key;
        again.value = record.value;
        again.partition = Some(chain.origin.partition);
        let accepted = tokio::select! {
            biased;
            () = Cancellation::either(given_up) => return None,
            accepted = self.producer.enqueue(again) => accepted,
        };
        #[cfg(planted_defects)]
        if accepted.is_ok() && planted::is_planted(planted::Defect::RetryUnacknowledged) {
            return Some(Ok(()));
        }
        Some(match accepted {
            Ok(delivery) => delivery.await.map(drop),
            Err(error) => Err(error),
        })
    }
}
