//! Writes dead letters: to a topic of their own, acknowledged by all in-sync replicas, once as far as a producer can see to that.

use std::time::Duration;

use super::DeadLetter;
use super::dead_letter::LeftOut;
use crate::events::RawRecord;
use crate::events::cancellation::Cancellation;
use crate::events::observe::{Last, Spans};
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Client, Compression, Header, Producer, ProducerConfig, Record, Result};

/// What is appended to the name of a topic for that of its dead letters.
pub const DEAD_LETTER_SUFFIX: &str = ".dlq";

/// How long a write is waited for before it is told that it fails, and tried again.
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_BLOCK: Duration = Duration::from_secs(10);
/// No record that could be read is too large to be sent: what its topic takes is for the brokers to say.
const MAX_REQUEST: usize = 256 << 20;

/// For a producer that writes records which came out of a topic: all in-sync replicas have them, and none is there twice.
pub(super) fn producer_config() -> ProducerConfig {
    ProducerConfig {
        linger: Duration::ZERO,
        delivery_timeout: TIMEOUT,
        max_block: MAX_BLOCK,
        max_request_bytes: MAX_REQUEST,
        buffer_bytes: 2 * MAX_REQUEST,
        // A record may have been let into its own topic only because its batch was compressed. Every broker and reader knows this one.
        compression: Compression::GZIP,
        ..ProducerConfig::default()
    }
}

/// Shared by all that write dead letters of a consumer.
pub(crate) struct DeadLetterWriter {
    producer: Producer,
    topic: Option<String>,
    spans: Spans,
}

impl DeadLetterWriter {
    /// Writes to `topic`; to the topic of each record with [`DEAD_LETTER_SUFFIX`] if that is `None`.
    pub(crate) fn on(client: &Client, topic: Option<String>, spans: Spans) -> Result<Self> {
        let producer = client.producer(producer_config())?;
        Ok(Self {
            producer,
            topic,
            spans,
        })
    }

    /// The topic for dead letters of the topic of this name.
    pub(crate) fn topic_of(&self, topic: &str) -> String {
        match &self.topic {
            Some(topic) => topic.clone(),
            None => format!("{topic}{DEAD_LETTER_SUFFIX}"),
        }
    }

    /// Writes `record`, but for what `letter` says is left out, and waits until that is acknowledged. `None`: one of `given_up` was raised before it was accepted for sending. What
    /// fails may be written nevertheless; it is written again then.
    pub(crate) async fn write(
        &self,
        record: RawRecord<'_>,
        letter: &DeadLetter,
        last: Option<&Last>,
        given_up: [&Cancellation; 2],
    ) -> Option<Result<()>> {
        let topic = self.topic_of(record.topic);
        let with_headers = letter.left_out != LeftOut::ValueAndHeaders;
        let more = letter.headers();
        let own = record
            .headers
            .raw()
            .filter(|_| with_headers)
            .map(|(name, value)| Header::raw(name, value));
        let more = more
            .iter()
            .map(|(name, value)| Header::new(name, value.as_bytes()));
        let span = self.spans.dead_letter(&topic, record, last);
        let of_trace = span.iter().flat_map(|span| span.headers());
        let of_trace = of_trace.map(|(name, value)| Header::new(name, value));
        let headers: Vec<_> = own.chain(more).chain(of_trace).collect();
        let mut dead = Record::new(&topic).headers(&headers);
        dead.key = record.key;
        dead.value = record.value.filter(|_| letter.left_out == LeftOut::Nothing);
        let accepted = tokio::select! {
            biased;
            () = Cancellation::either(given_up) => return None,
            accepted = self.producer.enqueue(dead) => accepted,
        };
        #[cfg(planted_defects)]
        if accepted.is_ok() && planted::is_planted(planted::Defect::DeadLetterUnacknowledged) {
            return Some(Ok(()));
        }
        let written = match accepted {
            Ok(delivery) => delivery.await,
            Err(error) => Err(error),
        };
        if let Some(span) = span {
            span.sent(&written);
        }
        Some(written.map(drop))
    }
}
