//! What is left out of a dead letter, read where its record stands, as long as it does.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::events::DeadLetter;
use crate::kafka::{
    Client, Consumer, ConsumerConfig, Error, ErrorKind, OffsetReset, OwnedRecord, Result,
    StartOffset, TopicPartition,
};

/// The longest that one poll waits.
const POLL: Duration = Duration::from_millis(500);

pub(super) struct Origins {
    client: Client,
    consumer: Option<Consumer>,
}

impl Origins {
    pub fn on(client: &Client) -> Self {
        Self {
            client: client.clone(),
            consumer: None,
        }
    }

    /// The record of `letter`; `None` when its topic does not have it any more.
    pub async fn find(&mut self, letter: &DeadLetter) -> Result<Option<OwnedRecord>> {
        let consumer = match &mut self.consumer {
            Some(consumer) => consumer,
            none => none.insert(self.client.consumer(ConsumerConfig {
                group_id: None,
                auto_offset_reset: OffsetReset::Earliest,
                ..ConsumerConfig::default()
            })?),
        };
        let partition = TopicPartition::new(&*letter.topic, letter.partition);
        let has = |offsets: BTreeMap<TopicPartition, i64>| offsets.get(&partition).copied();
        let one = std::slice::from_ref(&partition);
        let begin = has(consumer.beginning_offsets(one).await?).unwrap_or(0);
        let end = has(consumer.end_offsets(one).await?).unwrap_or(0);
        if !(begin..end).contains(&letter.offset) {
            return Ok(None);
        }
        let at = [(partition.clone(), StartOffset::Offset(letter.offset))];
        consumer.assign(&at).await?;
        let give_up = Instant::now() + self.client.config().request_timeout;
        while Instant::now() < give_up {
            let records = consumer.poll(POLL).await?;
            if let Some(record) = records.iter().next() {
                // Another topic may have the name, or what stood there was compacted.
                let is_it =
                    record.offset == letter.offset && record.timestamp_ms == letter.timestamp_ms;
                return Ok(is_it.then(|| record.to_owned()));
            }
            let passed = consumer.position(&partition);
            if passed.is_some_and(|at| at > letter.offset) {
                return Ok(None);
            }
        }
        let message = format!(
            "the record at offset {} was not returned within request.timeout.ms",
            letter.offset
        );
        Err(Error::new(ErrorKind::Timeout, message)
            .topic_partition(partition.topic.clone(), partition.partition))
    }
}
