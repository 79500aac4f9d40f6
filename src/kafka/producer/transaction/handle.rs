//! What an application has: the producer, which begins transactions, and the transaction that is open.

use std::fmt;
use std::sync::Arc;

use tokio::time::{Duration, Instant};

use super::coordinator::Coordinator;
use super::requests::Offsets;
use super::state::Ended;
use super::transactions::Transactions;
use crate::kafka::cluster::Cluster;
use crate::kafka::consumer::{ConsumerGroupMetadata, OffsetAndMetadata};
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::producer::producer_id::ProducerIdAndEpoch;
use crate::kafka::{
    Delivery, Error, ErrorKind, Producer, ProducerConfig, ProducerMetrics, Record, RecordMetadata,
    Result, TopicPartition, WriteOutcome,
};

/// Writes records in transactions: those of one are visible to `read_committed` readers all together, or not at all.
///
/// Of all producers with one transactional id, the one that connected last can write: it fences the others, and what they left open is
/// aborted before it begins. Each producer that is to live at the same time needs an id of its own; one that takes over another's work takes
/// its id.
///
/// There is one transaction at a time, which borrows the producer. On clusters of Kafka 4 (`transaction.version` 2) each has an epoch of its
/// own, and writing to a partition adds it (KIP-890); on others partitions are added by requests of their own.
///
/// ```no_run
/// # async fn example() -> pat_events::kafka::Result<()> {
/// use pat_events::kafka::{ProducerConfig, Record, TransactionalProducer};
///
/// let config = ProducerConfig::new("localhost:9092");
/// let mut producer = TransactionalProducer::connect(config, "billing-1").await?;
/// let transaction = producer.begin().await?;
/// transaction.enqueue(Record::new("invoices").key(b"a").value(b"12.00")).await?;
/// transaction.enqueue(Record::new("ledger").key(b"a").value(b"-12.00")).await?;
/// transaction.commit().await?; // both, or neither
/// # Ok(())
/// # }
/// ```
pub struct TransactionalProducer {
    producer: Producer,
    transactions: Arc<Transactions>,
}

impl fmt::Debug for TransactionalProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionalProducer")
            .field("transactional_id", &self.transactional_id())
            .finish_non_exhaustive()
    }
}

/// What is open is aborted in the background, within the request timeout, as long as the runtime lives.
impl Drop for TransactionalProducer {
    fn drop(&mut self) {
        let patience = self.producer.shared.config.client.request_timeout;
        self.transactions.end_by(Instant::now() + patience);
        self.transactions.ask(|state, now| state.abort(now));
    }
}

impl TransactionalProducer {
    /// Finds the cluster, takes over the transactional id, and waits until what its last producer left open is aborted. `config` may say
    /// anything but fewer acknowledgements than all, or no idempotence; its own transactional id is replaced by this one.
    ///
    /// Fails within `max_block`; with [`ErrorKind::Authorization`] where the principal may not write under the id. Cancel safe: dropped, it
    /// may have fenced the others already.
    pub async fn connect(config: ProducerConfig, id: impl Into<String>) -> Result<Self> {
        let mut config = config;
        config.transactional_id = Some(id.into());
        Self::from_config(config).await
    }

    /// As [`connect`](Self::connect), with the configuration's own `transactional.id`. Fails with [`ErrorKind::Config`] where it has none.
    pub async fn from_config(config: ProducerConfig) -> Result<Self> {
        config.validate()?;
        let deadline = Instant::now() + config.max_block;
        check_id(&config)?;
        let cluster = Cluster::connect(&config.client, deadline).await?;
        let mut producer = Self::start(config, cluster)?;
        producer.initialised(deadline).await?;
        Ok(producer)
    }

    /// A transactional producer of `cluster`; nothing is sent yet.
    pub(crate) fn start(config: ProducerConfig, cluster: Cluster) -> Result<Self> {
        check_id(&config)?;
        let producer = Producer::start(config, cluster);
        let shared = producer.shared.clone();
        let Some(transactions) = shared.transactions.clone() else {
            return Err(no_id());
        };
        let tasks = shared.cluster.tasks().clone();
        let task = Coordinator::new(shared, transactions.clone()).run();
        tasks.spawn("transactions", task);
        Ok(Self {
            producer,
            transactions,
        })
    }

    /// The transactional id.
    pub fn transactional_id(&self) -> &str {
        self.transactions.transactional_id()
    }

    /// Begins a transaction. First finishes what is under way: a commit or an abort that was dropped before it was done, and a transaction
    /// that was dropped without either, which is aborted. The first one of a producer of a [`Client`](crate::kafka::Client) takes over the id.
    ///
    /// Fails with [`ErrorKind::Fenced`] when another producer has taken over the id: this one is of no use any more. Fails with
    /// [`ErrorKind::Timeout`] after `max_block`, with why; the next call goes on waiting. Cancel safe.
    pub async fn begin(&mut self) -> Result<Transaction<'_>> {
        let deadline = Instant::now() + self.producer.shared.config.max_block;
        self.initialised(deadline).await?;
        let number = self.transactions.begin();
        Ok(Transaction {
            producer: self,
            number,
            is_decided: false,
        })
    }

    /// Finishes what is under way, as [`begin`](Self::begin) does first: whether the last transaction was committed. `None` where there was
    /// none. This is how to learn what became of a [`commit`](Transaction::commit) that was dropped, or that failed with a timeout.
    ///
    /// Fails as [`begin`](Self::begin); where nobody can tell any more, the error's [`outcome`](Error::outcome) says so. Cancel safe.
    pub async fn settled(&mut self) -> Result<Option<bool>> {
        let deadline = Instant::now() + self.producer.shared.config.max_block;
        self.initialised(deadline).await?;
        let state = &self.transactions.lock().state;
        match state.ended(state.number()) {
            Some(Ended::Committed) => Ok(Some(true)),
            Some(Ended::Failed(error)) if error.outcome() == WriteOutcome::Unknown => Err(error),
            Some(_) => Ok(Some(false)),
            None => Ok(None),
        }
    }

    /// The transaction that is [prepared](Transaction::prepare) and not decided, if there is one.
    pub fn prepared(&self) -> Option<PreparedTransaction> {
        let prepared = self.transactions.lock().state.prepared();
        prepared?.ok().map(PreparedTransaction::of)
    }

    /// Decides the transaction that is prepared: commits it where the other store has recorded it, which is what `decided` says, and aborts it
    /// otherwise (KIP-939). Returns whether it was committed.
    ///
    /// Fails with [`ErrorKind::Config`] where none is prepared, and as [`Transaction::commit`]. Cancel safe in that it goes on in the
    /// background.
    pub async fn complete(&mut self, decided: Option<&PreparedTransaction>) -> Result<bool> {
        let Some(prepared) = self.prepared() else {
            return Err(Error::new(ErrorKind::Config, "no transaction is prepared"));
        };
        let commit = decided == Some(&prepared);
        let number = self.transactions.lock().state.number();
        let transaction = Transaction {
            producer: self,
            number,
            is_decided: true,
        };
        match commit {
            true => transaction.commit().await?,
            false => transaction.abort().await?,
        }
        Ok(commit)
    }

    /// Waits until a transaction can begin.
    async fn initialised(&mut self, deadline: Instant) -> Result<()> {
        self.producer.shared.cluster.tasks().check()?;
        self.transactions.ask(|state, now| state.want(now));
        let what = "the coordinator of the transactional id did not get the producer ready within max.block.ms";
        (self.transactions)
            .wait_for(what, deadline, |state| state.initialised())
            .await?
    }

    /// Finishes what is under way, aborts what is open, and ends the producer, within `timeout`.
    ///
    /// Fails with [`ErrorKind::Timeout`] where that is not done in time: the coordinator aborts what is left after `transaction.timeout.ms`.
    pub async fn close(self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        self.transactions.end_by(deadline);
        self.transactions.ask(|state, now| state.abort(now));
        let what = "the transaction was not ended in time";
        let ended = (self.transactions)
            .wait_for(what, deadline, |state| (!state.is_ending()).then_some(()))
            .await;
        let left = deadline.saturating_duration_since(Instant::now());
        ended.and(self.producer.close(left).await)
    }

    /// What the producer has done so far, and what it holds now.
    pub fn metrics(&self) -> ProducerMetrics {
        self.producer.metrics()
    }
}

/// A transaction that is written and not decided yet (KIP-939). As text, by `Display` and `FromStr`, it is what Java's `PreparedTxnState` is:
/// `PRODUCER_ID:EPOCH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreparedTransaction(ProducerIdAndEpoch);

impl PreparedTransaction {
    fn of(identity: ProducerIdAndEpoch) -> Self {
        Self(identity)
    }

    /// The producer id that it was written under.
    pub fn producer_id(&self) -> i64 {
        self.0.id
    }

    /// The epoch that it was written under.
    pub fn producer_epoch(&self) -> i16 {
        self.0.epoch
    }
}

impl fmt::Display for PreparedTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.id, self.0.epoch)
    }
}

impl std::str::FromStr for PreparedTransaction {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.trim().split_once(':');
        let read = parts.and_then(|(id, epoch)| Some((id.parse().ok()?, epoch.parse().ok()?)));
        match read {
            Some((id @ 0.., epoch @ 0..)) => Ok(Self(ProducerIdAndEpoch { id, epoch })),
            _ => Err(Error::new(
                ErrorKind::Config,
                "a prepared transaction is written as PRODUCER_ID:EPOCH",
            )),
        }
    }
}

/// A transaction that is open. It borrows its producer: the next one begins when this one is decided.
///
/// Dropped without [`commit`](Self::commit) or [`abort`](Self::abort), it is aborted in the background, before the next one begins.
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<'a> {
    producer: &'a mut TransactionalProducer,
    number: u64,
    is_decided: bool,
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("transactional_id", &self.transactional_id())
            .field("number", &self.number)
            .finish()
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.is_decided {
            self.transactions().ask(|state, now| state.abort(now));
        }
    }
}

impl Transaction<'_> {
    fn transactions(&self) -> &Transactions {
        &self.producer.transactions
    }

    /// The transactional id that it is of.
    pub fn transactional_id(&self) -> &str {
        self.producer.transactional_id()
    }

    /// Writes a record and waits until it is acknowledged: it is in the log then, and hidden until the transaction is committed.
    ///
    /// Fails as [`Producer::send`], and with [`ErrorKind::TransactionAborted`] when something of the transaction failed before: it can only be
    /// aborted. Whatever fails of it makes it such a one.
    pub async fn send(&self, record: Record<'_>) -> Result<RecordMetadata> {
        self.enqueue(record).await?.await
    }

    /// Accepts a record into a batch, as [`Producer::enqueue`], and returns a handle on its outcome, which need not be awaited:
    /// [`commit`](Self::commit) waits for all of them, and fails if one does. Cancel safe: a record is accepted whole, or not at all.
    #[inline]
    pub fn enqueue<'a>(
        &'a self,
        record: Record<'a>,
    ) -> impl Future<Output = Result<Delivery>> + Send + use<'a> {
        self.producer.producer.enqueue(record)
    }

    /// As [`enqueue`](Self::enqueue), with a value that `encode` writes straight into the batch: see [`Producer::enqueue_with`].
    #[inline]
    pub fn enqueue_with<'a>(
        &'a self,
        record: Record<'a>,
        value_len: usize,
        encode: impl FnOnce(&mut [u8]),
    ) -> impl Future<Output = Result<Delivery>> {
        (self.producer.producer).enqueue_with(record, value_len, encode)
    }

    /// As [`enqueue`](Self::enqueue), without waiting: see [`Producer::try_enqueue`].
    pub fn try_enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        self.producer.producer.try_enqueue(record)
    }

    /// Commits offsets of a group as part of the transaction: they count when, and only when, it is committed. `group` says which member
    /// commits, so that one whose partitions went to another commits nothing (KIP-447): see
    /// [`ConsumerHandle::group_metadata`](crate::kafka::ConsumerHandle::group_metadata).
    ///
    /// The consumer should read with `isolation.level` `read_committed` and commit nothing by itself (`enable.auto.commit` off). Waits until
    /// the group's coordinator has the offsets, for `max_block` at most.
    ///
    /// Fails with [`ErrorKind::TransactionAborted`] when the group has given the partitions to another, or refuses them for another reason:
    /// the transaction can only be aborted then. Dropping the future does not take the offsets back: [`commit`](Self::commit) waits for them.
    pub async fn send_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
        group: &ConsumerGroupMetadata,
    ) -> Result<()> {
        let transactions = self.transactions();
        transactions.check()?;
        let offsets = Offsets {
            group: group.clone(),
            offsets: offsets.into_iter().collect(),
        };
        if offsets.offsets.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + self.producer.producer.shared.config.max_block;
        let ticket =
            transactions.ask(|state, now| state.send_offsets(Arc::new(offsets), now, deadline));
        let what = "the offsets were not committed within max.block.ms";
        // The state fails it by then.
        let patience = deadline + self.request_timeout();
        transactions
            .wait_for(what, patience, |state| state.offsets_done(ticket))
            .await?
    }

    /// Commits: waits until every record is written and all offsets are committed, and asks the coordinator to make all of it visible.
    /// `Ok` means that the coordinator said so.
    ///
    /// Fails when anything of it failed, or when the coordinator refuses: the transaction is aborted then, and the error's
    /// [`outcome`](Error::outcome) says that it was not written. Where the coordinator does not answer, it is asked again, by the same
    /// question; after `max_block` (which begins when all records are written) this fails with [`ErrorKind::Timeout`], outcome unknown, and
    /// it is asked on in the background: [`settled`](TransactionalProducer::settled) waits for the answer. Fails with [`ErrorKind::Fenced`]
    /// when another producer has taken over the transactional id.
    ///
    /// Dropping the future does not take the commit back: it goes on in the background, and the next [`begin`](TransactionalProducer::begin)
    /// or [`settled`](TransactionalProducer::settled) waits for it. One that is dropped before it was polled has aborted.
    pub async fn commit(mut self) -> Result<()> {
        self.is_decided = true;
        self.transactions().ask(|state, now| state.commit(now));
        match self.ended().await? {
            Ended::Committed => Ok(()),
            Ended::Failed(error) => Err(error),
            Ended::Aborted => Err(Error::new(
                ErrorKind::TransactionAborted,
                "the transaction was aborted",
            )),
        }
    }

    /// Writes all of the transaction, and leaves it open until it is [decided](TransactionalProducer::complete): the first half of a two-phase
    /// commit (KIP-939), with `transaction.two.phase.commit.enable`. What is returned goes into the other store, in the transaction there
    /// that decides.
    ///
    /// It is this producer that decides. Another process cannot resume what was prepared: Kafka 4.4 refuses `keepPreparedTxn`, by which it
    /// would ask for it; a producer that connects with the id aborts it.
    ///
    /// Fails as [`commit`](Self::commit) where something of it was not written, and with [`ErrorKind::Config`] without
    /// `transaction.two.phase.commit.enable`. Dropping the future leaves the transaction to be aborted or decided as far as it came.
    pub async fn prepare(mut self) -> Result<PreparedTransaction> {
        if !self.transactions().two_phase() {
            return Err(Error::new(
                ErrorKind::Config,
                "a transaction is prepared where transaction.two.phase.commit.enable is on",
            ));
        }
        self.is_decided = true;
        self.transactions().ask(|state, now| state.prepare(now));
        let transactions = self.transactions();
        loop {
            let deadline = Instant::now() + self.producer.producer.shared.config.max_block;
            let what = "the transaction was not prepared within max.block.ms";
            let prepared = transactions.wait_for(what, deadline, |state| state.prepared());
            match prepared.await {
                Err(_) if transactions.lock().state.is_writing() => {}
                prepared => return prepared?.map(PreparedTransaction::of),
            }
        }
    }

    /// Aborts: what was not sent is given up, what was is awaited, and the coordinator hides it for good.
    ///
    /// Fails with [`ErrorKind::Fenced`] when another producer has taken over the transactional id (which has aborted the transaction), and with
    /// [`ErrorKind::Timeout`] after `max_block`; it goes on in the background, as it does when the future is dropped.
    pub async fn abort(mut self) -> Result<()> {
        self.is_decided = true;
        self.transactions().ask(|state, now| state.abort(now));
        match self.ended().await? {
            Ended::Failed(error) => Err(error),
            Ended::Committed | Ended::Aborted => Ok(()),
        }
    }

    /// How it ended.
    async fn ended(&self) -> Result<Ended> {
        let (transactions, number) = (self.transactions(), self.number);
        let max_block = self.producer.producer.shared.config.max_block;
        let what =
            "the coordinator has not ended the transaction within max.block.ms: it is asked on";
        loop {
            let deadline = Instant::now() + max_block;
            let ended = transactions.wait_for(what, deadline, |state| {
                #[cfg(planted_defects)]
                if planted::is_planted(planted::Defect::CommitBeforeAnswer)
                    && state.is_ending()
                    && !state.is_writing()
                {
                    return Some(Ended::Committed);
                }
                state.ended(number)
            });
            match ended.await {
                // The records have a time of their own, after which they fail.
                Err(_) if transactions.lock().state.is_writing() => {}
                Err(error) => return Err(error.with_outcome(WriteOutcome::Unknown)),
                ended => return ended,
            }
        }
    }

    fn request_timeout(&self) -> Duration {
        self.producer.producer.shared.config.client.request_timeout
    }
}

fn check_id(config: &ProducerConfig) -> Result<()> {
    match config.transactional_id.as_deref() {
        None | Some("") => Err(no_id()),
        Some(_) => Ok(()),
    }
}

fn no_id() -> Error {
    Error::new(
        ErrorKind::Config,
        "transactional.id is not set: name whose transactions they are, by an id that no other producer has at the same time",
    )
}
