//! Events in, events out, each handled exactly once: what handlers send, dead letters, and the offsets of what was read are one transaction.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use tokio::time::sleep_until;

use super::producer::enqueue;
use crate::events::codec::Format;
use crate::events::failure::{
    DEAD_LETTER_SUFFIX, DeadLetter, FailureHandling, FailurePolicy, Failures, Fate,
};
use crate::events::observe::TransactionSpan;
use crate::events::{
    Context, Encode, EventProducer, EventSet, HandlerError, OnFailure, OnUnknown, OutboxEvent,
    ProducerConfig, RawHeaders, RawRecord, RetryPolicy,
};
use crate::kafka;
use crate::kafka::{
    Client, ExactlyOnceError, ExactlyOnceMetrics, Header, InputRecords, Record, Result,
    TopicPartition, Transaction, Transform, exactly_once_watched,
};

/// What [`exactly_once`] reads and writes, and what becomes of events whose handler fails.
///
/// Begin with [`new`](Self::new), then set fields; there will be more of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExactlyOnceConfig {
    /// What is read, and how much of it goes into a transaction: topics, group, transactional id.
    pub kafka: kafka::ExactlyOnceConfig,
    /// Where events are written, and as whose. Its brokers and its client are those of [`kafka`](Self::kafka).
    pub output: ProducerConfig,
    /// How often a handler is called again for an event, and with which pauses. The transaction is open meanwhile: all of it must fit into
    /// `transaction.timeout.ms` and `max.poll.interval.ms`. Default 3 retries within 10 s, with pauses from 100 ms to 1 s.
    pub retry: RetryPolicy,
    /// What becomes of an event that cannot be handled: a dead letter is part of the transaction. Default stop.
    pub on_failure: OnFailure,
    /// What becomes of an event whose type is not in the set: it is skipped, or a failure. Default skipped.
    pub on_unknown: OnUnknown,
    /// The topic of dead letters. Default that of the event, with `.dlq`.
    pub dead_letter_topic: Option<String>,
}

impl ExactlyOnceConfig {
    /// The defaults, with brokers (`host:port`, commas between several), the topics that are read, the group, the topic that is written to, and
    /// the id of transactions.
    pub fn new(
        brokers: &str,
        topics: &[&str],
        group_id: &str,
        output_topic: &str,
        transactional_id: &str,
    ) -> Self {
        let backoff = (Duration::from_millis(100), Duration::from_secs(1));
        Self {
            kafka: kafka::ExactlyOnceConfig::new(brokers, group_id, topics, transactional_id),
            output: ProducerConfig::new(brokers, output_topic),
            retry: RetryPolicy::up_to(3)
                .backoff(backoff.0, backoff.1)
                .within(Duration::from_secs(10)),
            on_failure: OnFailure::Stop,
            on_unknown: OnUnknown::Skip,
            dead_letter_topic: None,
        }
    }
}

/// What is done with each event of the set `S`.
///
/// ```
/// use pat_events::events::codec::Protobuf;
/// use pat_events::events::email::{EmailDeleted, EmailEvents};
/// use pat_events::events::{Context, EventOutputs, EventTransform, HandlerError};
///
/// struct Deletions;
///
/// impl EventTransform<EmailEvents, Protobuf> for Deletions {
///     async fn transform(
///         &mut self,
///         _: &Context<'_>,
///         event: EmailEvents,
///         outputs: &mut EventOutputs<'_, Protobuf>,
///     ) -> Result<(), HandlerError> {
///         if let EmailEvents::EmailDeleted(event) = event {
///             outputs.send(&event).await?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait EventTransform<S: EventSet, F: Format>: Send {
    /// Handles an event. What it sends to `outputs` is written when it returns `Ok`, and counts with the transaction; what a failed attempt has
    /// sent is forgotten. It may be called again for an event whose transaction came to nothing.
    fn transform(
        &mut self,
        context: &Context<'_>,
        event: S,
        outputs: &mut EventOutputs<'_, F>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// The events that a handler sends.
pub struct EventOutputs<'a, F> {
    encoder: &'a EventProducer<F>,
    span: Option<&'a TransactionSpan>,
    events: Vec<OutboxEvent>,
}

impl<F> fmt::Debug for EventOutputs<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventOutputs")
            .field("events", &self.events.len())
            .finish_non_exhaustive()
    }
}

impl<F: Format> EventOutputs<'_, F> {
    /// Sends an event, as part of the transaction. Fails where it cannot be encoded, as [`EventProducer::encode`].
    pub async fn send<E: Encode<F>>(&mut self, event: &E) -> Result<()> {
        let event = self.encoder.encode_within(self.span, event);
        self.events.push(event.await?);
        Ok(())
    }
}

/// Reads events of the set `S`, hands them to `transform` one by one, in their order, and writes what it sends, until `stop` is ready or
/// something fails for good: each event counts exactly once, for consumers that read what is committed. `codec` encodes what is sent.
///
/// All that [`kafka::exactly_once`] promises holds here: members come and go, and die. A handler that fails is called again as
/// [`retry`](ExactlyOnceConfig::retry) says, in its place; then [`on_failure`](ExactlyOnceConfig::on_failure) decides, and a dead letter is written in
/// the transaction: it is there once, and the event is not handled again.
///
/// # Errors
/// [`ExactlyOnceError::Transform`] with the handler's error where the policy is to stop, and with its class fatal; else as
/// [`kafka::exactly_once`].
pub async fn exactly_once<S, F, T>(
    config: ExactlyOnceConfig,
    codec: F,
    transform: &mut T,
    stop: impl Future<Output = ()>,
) -> Result<ExactlyOnceMetrics, ExactlyOnceError>
where
    S: EventSet + Send,
    S::Codec: Default,
    F: Format,
    T: EventTransform<S, F>,
{
    let client = Client::lazy(config.kafka.client.clone())?;
    let policy = FailurePolicy {
        retry: config.retry,
        on_failure: config.on_failure,
        on_unknown: config.on_unknown,
        ..FailurePolicy::default()
    };
    let group = config.kafka.consumer.group_id.clone().unwrap_or_default();
    let mut each = EachEvent {
        encoder: EventProducer::with_codec_on(&client, config.output, codec)?,
        codec: S::Codec::default(),
        failing: FailureHandling::new(policy, &group, client.config()),
        dead_letter_topic: config.dead_letter_topic,
        handled: 0,
        span: None,
        transform,
        set: PhantomData,
    };
    let ended = |each: &mut EachEvent<'_, S, F, T>, committed| {
        if let Some(span) = each.span.take() {
            span.ended(committed);
        }
    };
    exactly_once_watched(config.kafka, &mut each, stop, ended).await
}

/// Hands the records of a transaction to the handler of their events.
struct EachEvent<'t, S: EventSet, F, T> {
    encoder: EventProducer<F>,
    codec: S::Codec,
    failing: FailureHandling,
    dead_letter_topic: Option<String>,
    handled: u64,
    /// Of the transaction that is open.
    span: Option<TransactionSpan>,
    transform: &'t mut T,
    set: PhantomData<fn() -> S>,
}

impl<S, F, T> Transform for EachEvent<'_, S, F, T>
where
    S: EventSet + Send,
    F: Format,
    T: EventTransform<S, F>,
{
    async fn transform(
        &mut self,
        records: &InputRecords,
        transaction: &Transaction<'_>,
    ) -> Result<(), ExactlyOnceError> {
        self.span = Some(self.encoder.transaction(transaction.transactional_id()));
        for record in records.iter() {
            let raw = RawRecord {
                timestamp_ms: record.timestamp_ms,
                key: record.key,
                value: record.value,
                headers: RawHeaders::of_record(record.headers),
                ..RawRecord::new(record.topic, record.partition, record.offset)
            };
            self.handle(raw, transaction).await?;
        }
        self.span.iter_mut().for_each(TransactionSpan::committing);
        Ok(())
    }
}

impl<S, F, T> EachEvent<'_, S, F, T>
where
    S: EventSet + Send,
    F: Format,
    T: EventTransform<S, F>,
{
    /// Handles a record, again and again as the policy says.
    async fn handle(
        &mut self,
        record: RawRecord<'_>,
        transaction: &Transaction<'_>,
    ) -> Result<(), ExactlyOnceError> {
        let partition = TopicPartition::new(record.topic, record.partition);
        let mut failures = None;
        loop {
            let attempt = failures.as_deref().map_or(1, attempt_after);
            let context = Context::of_attempt(record, attempt);
            let error = match self.call(&context).await {
                Ok(outputs) => {
                    self.handled += 1;
                    for event in &outputs {
                        // What becomes of it is known when the transaction is committed.
                        drop(enqueue(transaction, event).await?);
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            let fate = (self.failing).failed(
                &partition,
                &context,
                &error,
                &mut failures,
                self.handled,
                None,
            );
            match fate {
                Fate::Again(moment) => sleep_until(moment).await,
                Fate::Skipped => return Ok(()),
                Fate::Dead(letter) => return self.bury(record, &letter, transaction).await,
                Fate::Retry(_) | Fate::Stop => {
                    return Err(ExactlyOnceError::new(Stopped {
                        partition,
                        offset: record.offset,
                        error: error.to_string(),
                    }));
                }
            }
        }
    }

    /// Calls the handler, once. What it has sent.
    async fn call(&mut self, context: &Context<'_>) -> Result<Vec<OutboxEvent>, HandlerError> {
        let event = match context.read::<S>(&self.codec).await {
            Ok(Ok((_, event))) => event,
            Ok(Err(_)) if self.failing.policy.on_unknown != OnUnknown::Fail => {
                return Ok(Vec::new());
            }
            Ok(Err(name)) => {
                let text = format!("no event of the set is called {name:?}");
                return Err(HandlerError::poison(text));
            }
            Err(error) => return Err(HandlerError::undecodable(error)),
        };
        let mut outputs = EventOutputs {
            encoder: &self.encoder,
            span: self.span.as_ref(),
            events: Vec::new(),
        };
        self.transform
            .transform(context, event, &mut outputs)
            .await?;
        Ok(outputs.events)
    }

    /// Writes the dead letter, as part of the transaction.
    async fn bury(
        &mut self,
        record: RawRecord<'_>,
        letter: &DeadLetter,
        transaction: &Transaction<'_>,
    ) -> Result<(), ExactlyOnceError> {
        let topic = match &self.dead_letter_topic {
            Some(topic) => topic.clone(),
            None => format!("{}{DEAD_LETTER_SUFFIX}", record.topic),
        };
        let more = letter.headers();
        let own = record.headers.raw();
        let own = own.map(|(name, value)| Header::raw(name, value));
        let more = more
            .iter()
            .map(|(name, value)| Header::new(name, value.as_bytes()));
        let headers: Vec<_> = own.chain(more).collect();
        let mut dead = Record::new(&topic).headers(&headers);
        (dead.key, dead.value) = (record.key, record.value);
        drop(transaction.enqueue(dead).await?);
        Ok(())
    }
}

fn attempt_after(failures: &Failures) -> u32 {
    failures.count.saturating_add(1)
}

/// An event that could not be handled ended the loop.
#[derive(Debug)]
struct Stopped {
    partition: TopicPartition,
    offset: i64,
    error: String,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            offset,
            error,
        } = self;
        write!(f, "{partition} at offset {offset}: {error}")
    }
}

impl std::error::Error for Stopped {}
