//! Events in, CloudEvents out: headers on the stack, the value encoded straight into the open batch.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::ProducerConfig;
use crate::events::cloudevents::{Envelope, Ids, TENANT_ID, TRACEPARENT, TRACESTATE, is_attribute};
use crate::events::codec::{CodecError, Format, Prepared, Protobuf};
use crate::events::observe::{Sent, Spans, TRACEPARENT as PLAIN_TRACEPARENT, TransactionSpan};
use crate::events::outbox::waves;
use crate::events::{Encode, Outbox, OutboxEvent, RelayError, TenantRouting};
use crate::kafka::observe::{ClientEvent, Watch, tell};
use crate::kafka::{
    Client, Clock, CloseReport, Delivery, Error, ErrorKind, Header, Producer, ProducerMetrics,
    Record, RecordMetadata, Result,
};

/// Sends events to a topic, encoded by the codec `F`. Cheap to clone; clones share everything.
///
/// The traits of event sets, such as [`EmailEventProducer`](crate::events::email::EmailEventProducer), add a `send_…` and an
/// `enqueue_…` for each of their events.
pub struct EventProducer<F = Protobuf>(Arc<Inner<F>>);

struct Inner<F> {
    codec: F,
    producer: Producer,
    topic: String,
    route: TenantRouting,
    source: String,
    ids: Ids,
    clock: Clock,
    spans: Spans,
    watch: Watch,
}

/// What may be said of an event beyond what it says itself. [`Attributes::default`] says nothing.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Attributes<'a> {
    /// `ce_id`: for an event that is sent again, the id that it had. Default: [its own](crate::events::Event::id), or else a new UUID of
    /// version 7.
    pub id: Option<&'a str>,
    /// `ce_subject`. Default: what the event says.
    pub subject: Option<&'a str>,
    /// `ce_dataschema`: the URI of the schema. Default: not sent.
    pub data_schema: Option<&'a str>,
    /// `ce_tenantid`: whose event it is. Default: what the event says.
    pub tenant_id: Option<&'a str>,
    /// `ce_traceparent`: the trace that the event is part of, as W3C Trace Context writes it. Default: not sent.
    pub traceparent: Option<&'a str>,
    /// `ce_tracestate`: what tracing systems add to it. Default: not sent.
    pub tracestate: Option<&'a str>,
    /// More headers, as they are: other extensions (`ce_…`) and headers of other kinds. Not those of the attributes themselves.
    pub headers: &'a [Header<'a>],
    /// Milliseconds since 1970, for `ce_time` and for the record. Default: now.
    pub timestamp_ms: Option<i64>,
}

impl<'a> Attributes<'a> {
    /// The trace that the application says the event is part of.
    fn trace(&self) -> Option<(&'a str, Option<&'a str>)> {
        let of_event = (self.traceparent).map(|parent| (parent, self.tracestate));
        of_event.or_else(|| {
            let plain = |header: &&Header<'a>| header.key == PLAIN_TRACEPARENT.as_bytes();
            let parent = self.headers.iter().find(plain)?.value?;
            Some((std::str::from_utf8(parent).ok()?, None))
        })
    }

    fn check(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Config, message));
        if self.id == Some("") {
            return wrong("the id of an event is empty: leave it out for a new one".to_string());
        }
        match self
            .headers
            .iter()
            .find(|header| is_attribute(&String::from_utf8_lossy(header.key)))
        {
            Some(header) => wrong(format!(
                "the header {} is an attribute of every event: leave it out of the headers, or set it by its own field",
                header.key.escape_ascii()
            )),
            None => Ok(()),
        }
    }
}

impl EventProducer {
    /// Connects to the cluster, to send events in Protobuf. Those of a set with a codec of its own are sent by a producer
    /// [with that codec](Self::with_codec).
    ///
    /// Fails with [`ErrorKind::Config`](crate::kafka::ErrorKind::Config) when `config` is incomplete, and with what the client says when
    /// no broker answers.
    pub async fn connect(config: ProducerConfig) -> Result<Self> {
        Self::with_codec(config, Protobuf).await
    }

    /// A producer on `client`, whose connections and knowledge of the cluster it shares with all others on it. Needs no network: the first
    /// event waits for the cluster.
    ///
    /// What `config` says of the client ([`brokers`](ProducerConfig::brokers), and `client` of [`kafka`](ProducerConfig::kafka)) is replaced by
    /// this client's. Fails with [`ErrorKind::Config`] when `config` is incomplete.
    ///
    /// ```no_run
    /// # fn example() -> pat_events::kafka::Result<()> {
    /// use pat_events::events::{EventProducer, ProducerConfig};
    /// use pat_events::kafka::{Client, ClientConfig};
    ///
    /// let client = Client::lazy(ClientConfig::new("kafka-1:9092,kafka-2:9092"))?;
    /// let emails = EventProducer::on(&client, ProducerConfig::new("", "emails"))?;
    /// let orders = EventProducer::on(&client, ProducerConfig::new("", "orders"))?;
    /// # Ok(()) }
    /// ```
    pub fn on(client: &Client, config: ProducerConfig) -> Result<Self> {
        Self::with_codec_on(client, config, Protobuf)
    }
}

impl<F: Format> EventProducer<F> {
    /// Connects to the cluster, to send events that `codec` encodes. Fails as [`connect`](EventProducer::connect) does.
    pub async fn with_codec(config: ProducerConfig, codec: F) -> Result<Self> {
        config.validate()?;
        let producer = Producer::connect(config.client_config()).await?;
        Ok(Self::through(producer, config, codec))
    }

    /// A producer [on](EventProducer::on) `client`, of events that `codec` encodes.
    pub fn with_codec_on(client: &Client, config: ProducerConfig, codec: F) -> Result<Self> {
        let config = config.on(client);
        config.validate()?;
        let producer = client.producer(config.client_config())?;
        Ok(Self::through(producer, config, codec))
    }

    fn through(producer: Producer, config: ProducerConfig, codec: F) -> Self {
        let client = &config.kafka.client;
        // Another producer on the client, with the same seed, needs other ids.
        let purpose = format!("event ids {}", producer.user());
        Self(Arc::new(Inner {
            spans: Spans::of_producer(&config),
            ids: Ids::new(&mut client.random(&purpose)),
            clock: client.clock,
            watch: client.observer.clone(),
            codec,
            producer,
            topic: config.topic,
            route: config.route,
            source: config.source,
        }))
    }

    /// Sends one event and waits until it is acknowledged.
    ///
    /// Dropping the future after its first poll does not take the event back.
    pub async fn send<E: Encode<F>>(&self, event: &E) -> Result<RecordMetadata> {
        self.enqueue(event).await?.await
    }

    /// Accepts one event for sending, waiting only while the buffer is full. Events of one key that are enqueued one after the other keep
    /// their order. Returns a future of the delivery; dropping it changes nothing.
    pub async fn enqueue<E: Encode<F>>(&self, event: &E) -> Result<Delivery> {
        self.enqueue_with(event, Attributes::default()).await
    }

    /// As [`EventProducer::enqueue`], with more to say of the event.
    ///
    /// Fails with [`ErrorKind::Config`] when the id is empty, or when one of the headers is an attribute that the event has anyway: with
    /// two of them nobody could read it. Fails with [`ErrorKind::InvalidRecord`] when the codec cannot encode the event, or
    /// when [`Event::check`](crate::events::Event::check) refuses it, and with
    /// [`ErrorKind::Connect`] when it cannot get what it needs for that, such as a schema.
    pub async fn enqueue_with<E: Encode<F>>(
        &self,
        event: &E,
        attributes: Attributes<'_>,
    ) -> Result<Delivery> {
        attributes.check()?;
        let inner = &*self.0;
        (event.check()).map_err(|error| not_encoded(event.event_type(), error))?;
        event.deprecated_fields(&mut |field| {
            tell(&inner.watch, || ClientEvent::DeprecatedField {
                message: event.event_type(),
                field,
            });
        });
        let tenant = attributes.tenant_id.or_else(|| event.tenant_id());
        let routed = tenant.and_then(|tenant| inner.route.topic(tenant));
        let topic = routed.as_deref().unwrap_or(&inner.topic);
        let prepared = event.prepare(&inner.codec, topic).await;
        let prepared = prepared.map_err(|error| not_encoded(event.event_type(), error))?;
        let timestamp_ms = attributes
            .timestamp_ms
            .unwrap_or_else(|| inner.clock.now_ms());
        let envelope = Envelope::new(&inner.ids, timestamp_ms);
        let key = event.key();
        let id = attributes.id.or_else(|| event.id());
        let span = inner.spans.send(topic, || Sent {
            id: Some(id.unwrap_or(envelope.id())),
            key,
            len: prepared.encoded_len(),
            custom: attributes.trace(),
        });
        let mut headers = [Header::null(""); 14];
        let (required, optional) = headers.split_at_mut(6);
        let values = envelope.headers(
            event.event_type(),
            &inner.source,
            id,
            inner.codec.content_type(),
        );
        for (header, (name, value)) in required.iter_mut().zip(values) {
            *header = Header::new(name, value);
        }
        let mut count = 6;
        let more = [
            ("ce_subject", attributes.subject.or_else(|| event.subject())),
            ("ce_dataschema", attributes.data_schema),
            (TENANT_ID, tenant),
            (TRACEPARENT, attributes.traceparent),
            (TRACESTATE, attributes.tracestate),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                optional[count - 6] = Header::new(name, value.as_bytes());
                count += 1;
            }
        }
        let of_trace = span.iter().flat_map(|span| span.headers());
        for (name, value) in prepared.header().into_iter().chain(of_trace) {
            optional[count - 6] = Header::new(name, value);
            count += 1;
        }
        let extended;
        let headers = match attributes.headers {
            [] => &headers[..count],
            more => {
                extended = [&headers[..count], more].concat();
                &extended[..]
            }
        };
        let record = Record {
            topic,
            partition: None,
            key,
            value: None,
            headers,
            timestamp_ms: Some(timestamp_ms),
        };
        let write = |out: &mut [u8]| event.write(&inner.codec, &prepared, out);
        let accepted = (inner.producer).enqueue_with(record, prepared.encoded_len(), write);
        let accepted = accepted.await;
        if let Some(span) = span {
            span.enqueued(&accepted);
        }
        accepted
    }

    /// Encodes an event without sending it, for an [outbox](crate::events::Outbox); where there is a tracer, what handles it continues the trace
    /// that is current now. Fails as [`enqueue_with`](Self::enqueue_with) does.
    pub async fn encode<E: Encode<F>>(&self, event: &E) -> Result<OutboxEvent> {
        self.encode_within(None, event).await
    }

    /// A transaction has begun, in which events are sent that this encodes.
    pub(in crate::events) fn transaction(&self, id: &str) -> TransactionSpan {
        self.0.spans.transaction(id)
    }

    /// As [`encode`](Self::encode), in a transaction.
    pub(in crate::events) async fn encode_within<E: Encode<F>>(
        &self,
        transaction: Option<&TransactionSpan>,
        event: &E,
    ) -> Result<OutboxEvent> {
        let inner = &*self.0;
        (event.check()).map_err(|error| not_encoded(event.event_type(), error))?;
        let routed = (event.tenant_id()).and_then(|tenant| inner.route.topic(tenant));
        let topic = routed.as_deref().unwrap_or(&inner.topic);
        let prepared = event.prepare(&inner.codec, topic).await;
        let prepared = prepared.map_err(|error| not_encoded(event.event_type(), error))?;
        let timestamp_ms = inner.clock.now_ms();
        let envelope = Envelope::new(&inner.ids, timestamp_ms);
        let span = inner.spans.create(topic, transaction, || Sent {
            id: Some(event.id().unwrap_or(envelope.id())),
            key: event.key(),
            len: prepared.encoded_len(),
            custom: None,
        });
        let (source, content_type) = (&inner.source, inner.codec.content_type());
        let headers = envelope.headers(event.event_type(), source, event.id(), content_type);
        let more = [
            ("ce_subject", event.subject()),
            (TENANT_ID, event.tenant_id()),
        ];
        let more = more
            .iter()
            .filter_map(|(name, it)| Some((*name, it.as_ref()?.as_bytes())));
        let of_trace = span.iter().flat_map(|span| span.headers());
        let headers = headers.into_iter().chain(more);
        let headers = headers.chain(prepared.header()).chain(of_trace);
        let mut value = vec![0; prepared.encoded_len()];
        event.write(&inner.codec, &prepared, &mut value);
        Ok(OutboxEvent::new(
            topic.to_owned(),
            event.key().map(<[u8]>::to_vec),
            value,
            headers
                .map(|(name, value)| (name.to_owned(), value.to_vec()))
                .collect(),
            timestamp_ms,
        ))
    }

    /// Sends what waits in `outbox`, reading `most` events at a time, and removes what is acknowledged, until nothing waits. Returns how many
    /// were sent.
    ///
    /// Events of one key are sent one after the other, those of different keys at once. Fails with what the store says, or with the error of the first
    /// event that was not written, which then waits on: call it again, after a pause. Dropping the future loses nothing: what was under way may be
    /// sent again. One relay at a time: two of the same outbox send everything twice.
    pub async fn relay<O: Outbox>(
        &self,
        outbox: &O,
        most: usize,
    ) -> std::result::Result<usize, RelayError> {
        let failed = |error: O::Error| RelayError::Outbox(error.into());
        let mut count = 0;
        loop {
            let waiting = outbox.waiting(most.max(1)).await.map_err(failed)?;
            if waiting.is_empty() {
                return Ok(count);
            }
            for wave in waves(waiting) {
                let (sent, error) = self.send_wave(&wave).await;
                outbox.remove(&sent).await.map_err(failed)?;
                count += sent.len();
                if let Some(error) = error {
                    return Err(RelayError::Send(error));
                }
            }
        }
    }

    /// Sends events of an outbox at once. Returns those that were written, and the first error.
    async fn send_wave<I: Clone>(&self, wave: &[(I, OutboxEvent)]) -> (Vec<I>, Option<Error>) {
        let (mut under_way, mut error) = (Vec::with_capacity(wave.len()), None);
        for (id, event) in wave {
            let headers = event.headers.iter();
            let headers: Vec<Header<'_>> = headers
                .map(|(name, value)| Header::new(name, value))
                .collect();
            let record = Record {
                topic: &event.topic,
                partition: None,
                key: event.key.as_deref(),
                value: Some(&event.value),
                headers: &headers,
                timestamp_ms: Some(event.timestamp_ms),
            };
            match self.0.producer.enqueue(record).await {
                Ok(delivery) => under_way.push((id, delivery)),
                Err(refused) => {
                    error = Some(refused);
                    break;
                }
            }
        }
        let mut sent = Vec::with_capacity(under_way.len());
        for (id, delivery) in under_way {
            match delivery.await {
                Ok(_) => sent.push(id.clone()),
                Err(lost) => error = error.or(Some(lost)),
            }
        }
        (sent, error)
    }

    /// Waits until every event that was accepted so far is delivered or has failed; fails with the first of those that were on their way
    /// when it was called. What failed before is reported by its [`Delivery`] and by the [`metrics`](Self::metrics).
    pub async fn flush(&self) -> Result<()> {
        self.0.producer.flush().await
    }

    /// Flushes, no longer than `timeout`, and ends the producer for all its clones.
    pub async fn close(&self, timeout: Duration) -> Result<()> {
        self.0.producer.close(timeout).await
    }

    /// As [`close`](Self::close), and returns what was left when the time was over: see
    /// [`kafka::Producer::close_and_report`](crate::kafka::Producer::close_and_report).
    pub async fn close_and_report(&self, timeout: Duration) -> CloseReport {
        self.0.producer.close_and_report(timeout).await
    }

    /// What was sent, delivered and failed so far, in which batches, and how long it took.
    pub fn metrics(&self) -> ProducerMetrics {
        self.0.producer.metrics()
    }
}

fn not_encoded(event_type: &str, error: CodecError) -> Error {
    let kind = match error.may_pass() {
        true => ErrorKind::Connect,
        false => ErrorKind::InvalidRecord,
    };
    Error::new(kind, format!("{event_type} cannot be encoded: {error}"))
}

// Derived, it would ask the codec for it, too.
impl<F> Clone for EventProducer<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> fmt::Debug for EventProducer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventProducer")
            .field("topic", &self.0.topic)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}
