//! The transactional producer of events: as any producer of events, in transactions.

use std::fmt;
use std::time::Duration;

use crate::events::codec::{Format, Protobuf};
use crate::events::observe::TransactionSpan;
use crate::events::producer::{EventProducer, ProducerConfig};
use crate::events::{Encode, OutboxEvent};
use crate::kafka::consumer::ConsumerGroupMetadata;
use crate::kafka::{
    Client, Delivery, Header, OffsetAndMetadata, Record, RecordMetadata, Result, TopicPartition,
    Transaction, TransactionalProducer,
};

/// Sends events in transactions: those of one are visible to consumers that read what is committed all together, or not at all. As
/// [`EventProducer`], on a [`TransactionalProducer`].
///
/// ```no_run
/// # use pat_events::events::email::EmailDeleted;
/// # async fn example(one: EmailDeleted, other: EmailDeleted) -> pat_events::kafka::Result<()> {
/// use pat_events::events::{ProducerConfig, TransactionalEventProducer};
///
/// let config = ProducerConfig::new("localhost:9092", "emails");
/// let mut producer = TransactionalEventProducer::connect(config, "inbox-1").await?;
/// let transaction = producer.begin().await?;
/// transaction.enqueue(&one).await?;
/// transaction.enqueue(&other).await?;
/// transaction.commit().await?; // both, or neither
/// # Ok(())
/// # }
/// ```
pub struct TransactionalEventProducer<F = Protobuf> {
    /// What encodes; it sends nothing itself.
    encoder: EventProducer<F>,
    producer: TransactionalProducer,
}

impl<F> fmt::Debug for TransactionalEventProducer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionalEventProducer")
            .field("transactional_id", &self.producer.transactional_id())
            .finish_non_exhaustive()
    }
}

impl TransactionalEventProducer {
    /// Connects, to send events in Protobuf, and takes over the transactional id: see [`TransactionalProducer::connect`].
    pub async fn connect(config: ProducerConfig, id: impl Into<String>) -> Result<Self> {
        Self::with_codec(config, id, Protobuf).await
    }
}

impl<F: Format> TransactionalEventProducer<F> {
    /// Connects, to send events that `codec` encodes. As [`connect`](TransactionalEventProducer::connect).
    pub async fn with_codec(
        config: ProducerConfig,
        id: impl Into<String>,
        codec: F,
    ) -> Result<Self> {
        config.validate()?;
        let client = Client::connect(config.client_config().client).await?;
        let mut producer = Self::with_codec_on(&client, config, id, codec)?;
        producer.producer.settled().await?;
        Ok(producer)
    }

    /// A transactional producer on `client`, of events that `codec` encodes. Needs no network: its first transaction takes over the id.
    pub fn with_codec_on(
        client: &Client,
        config: ProducerConfig,
        id: impl Into<String>,
        codec: F,
    ) -> Result<Self> {
        let mut writes = config.clone().idempotent().client_config();
        // A transaction is sent when it is committed.
        writes.linger = Duration::from_millis(5);
        let producer = client.transactional_producer(writes, id)?;
        let encoder = EventProducer::with_codec_on(client, config, codec)?;
        Ok(Self { encoder, producer })
    }

    /// Begins a transaction: see [`TransactionalProducer::begin`].
    pub async fn begin(&mut self) -> Result<EventTransaction<'_, F>> {
        let transaction = self.producer.begin().await?;
        Ok(EventTransaction {
            encoder: &self.encoder,
            span: self.encoder.transaction(transaction.transactional_id()),
            transaction,
        })
    }

    /// What became of the last transaction: see [`TransactionalProducer::settled`].
    pub async fn settled(&mut self) -> Result<Option<bool>> {
        self.producer.settled().await
    }

    /// Aborts what is open, and ends the producer, within `timeout`: see [`TransactionalProducer::close`].
    pub async fn close(self, timeout: Duration) -> Result<()> {
        self.producer.close(timeout).await
    }
}

/// A transaction that is open, of events. Dropped without [`commit`](Self::commit) or [`abort`](Self::abort), it is aborted.
#[must_use = "a transaction that is dropped is aborted"]
pub struct EventTransaction<'a, F = Protobuf> {
    encoder: &'a EventProducer<F>,
    span: TransactionSpan,
    transaction: Transaction<'a>,
}

impl<F> fmt::Debug for EventTransaction<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.transaction.fmt(f)
    }
}

impl<F: Format> EventTransaction<'_, F> {
    /// Sends one event and waits until it is acknowledged: see [`Transaction::send`].
    pub async fn send<E: Encode<F>>(&self, event: &E) -> Result<RecordMetadata> {
        self.enqueue(event).await?.await
    }

    /// Accepts one event for sending. Fails as [`EventProducer::enqueue`] where it cannot be encoded, which leaves the transaction as it was, and
    /// as [`Transaction::enqueue`].
    pub async fn enqueue<E: Encode<F>>(&self, event: &E) -> Result<Delivery> {
        let event = (self.encoder).encode_within(Some(&self.span), event);
        let event = event.await?;
        enqueue(&self.transaction, &event).await
    }

    /// The transaction of records, for those that are no events.
    pub fn records(&self) -> &Transaction<'_> {
        // The lifetime within is shortened: nothing that is borrowed of it may outlive this.
        &self.transaction
    }

    /// Commits offsets as part of the transaction: see [`Transaction::send_offsets`].
    pub async fn send_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
        group: &ConsumerGroupMetadata,
    ) -> Result<()> {
        self.transaction.send_offsets(offsets, group).await
    }

    /// Commits: see [`Transaction::commit`].
    pub async fn commit(mut self) -> Result<()> {
        self.span.committing();
        let result = self.transaction.commit().await;
        self.span.decided(&result);
        result
    }

    /// Aborts: see [`Transaction::abort`].
    pub async fn abort(self) -> Result<()> {
        let result = self.transaction.abort().await;
        self.span.decided(&result);
        result
    }
}

/// Accepts an event that is encoded into `transaction`.
pub(super) async fn enqueue(
    transaction: &Transaction<'_>,
    event: &OutboxEvent,
) -> Result<Delivery> {
    let headers = event.headers.iter();
    let headers: Vec<Header<'_>> = headers
        .map(|(name, value)| Header::new(name, value))
        .collect();
    let mut record = Record::new(&event.topic).headers(&headers);
    record.key = event.key.as_deref();
    record.value = Some(&event.value);
    record.timestamp_ms = Some(event.timestamp_ms);
    transaction.enqueue(record).await
}
