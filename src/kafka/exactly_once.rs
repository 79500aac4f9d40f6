//! Read, transform, write, each record exactly once: what is written and the offsets of what was read are one transaction.
//!
//! No transaction is open while the consumer polls: records are gathered first, by count, bytes and time, and then transformed, written and
//! committed in one go. So a rebalance never comes in the middle of a transaction: what was gathered of partitions that go is dropped, and
//! read again by whoever gets them. A transaction that comes to nothing is done again, from the records on.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::time::{Duration, Instant, sleep};

use super::consumer::{ConsumerHandle, RebalanceListener};
use super::error::may_pass;
use super::runtime::{Backoff, Mutex};
use super::{
    Client, ClientConfig, Consumer, ConsumerConfig, Error, ErrorKind, IsolationLevel,
    OffsetAndMetadata, ProducerConfig, Random, RecordView, Records, Result, TopicPartition,
    Transaction, TransactionalProducer, WriteOutcome,
};

/// How long a poll waits for the first record, before it looks around.
const IDLE: Duration = Duration::from_millis(500);

/// What [`exactly_once`] reads, how it writes, and how much goes into one transaction.
///
/// Begin with [`new`](Self::new), then set fields; there will be more of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExactlyOnceConfig {
    /// What all of it shares.
    pub client: ClientConfig,
    /// The topics to read, or a pattern (`^orders-`).
    pub topics: Vec<String>,
    /// How it reads: the group, where it begins without offsets. `isolation.level` is `read_committed` and `enable.auto.commit` off,
    /// whatever it says.
    pub consumer: ConsumerConfig,
    /// How it writes.
    pub producer: ProducerConfig,
    /// `transactional.id`: of this instance alone, and the same after a restart, so that what it left open is aborted at once. With another
    /// one each time the group waits for what was left open until `transaction.timeout.ms` has passed.
    pub transactional_id: String,
    /// The most records that are read for one transaction, but for those of its last poll (`max.poll.records`, at most as many). Default 10,000.
    pub max_records: usize,
    /// The most bytes that are read for one transaction, but for one record in excess. Default 1 MiB.
    pub max_bytes: usize,
    /// How long records are gathered for a transaction, from the first one on. Default 100 ms.
    pub max_wait: Duration,
}

impl ExactlyOnceConfig {
    /// The defaults, with `bootstrap_servers` (`host:port`, commas between several), the group and topics that are read, and the id of
    /// transactions.
    pub fn new(
        bootstrap_servers: &str,
        group_id: &str,
        topics: &[&str],
        transactional_id: &str,
    ) -> Self {
        Self {
            client: ClientConfig::new(bootstrap_servers),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            consumer: ConsumerConfig::new(bootstrap_servers, group_id),
            producer: ProducerConfig::new(bootstrap_servers),
            transactional_id: transactional_id.to_owned(),
            max_records: 10_000,
            max_bytes: 1 << 20,
            max_wait: Duration::from_millis(100),
        }
    }
}

/// What is done with the records of a transaction.
///
/// ```
/// use pat_events::kafka::{ExactlyOnceError, InputRecords, Record};
/// use pat_events::kafka::{Transaction, Transform};
///
/// struct Upper;
///
/// impl Transform for Upper {
///     async fn transform(
///         &mut self,
///         records: &InputRecords,
///         transaction: &Transaction<'_>,
///     ) -> Result<(), ExactlyOnceError> {
///         for record in records.iter() {
///             let value = record.value.unwrap_or_default().to_ascii_uppercase();
///             let mut output = Record::new("upper").value(&value);
///             output.key = record.key;
///             transaction.enqueue(output).await?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Transform: Send {
    /// Writes, into `transaction`, what is to be written for `records`. Their offsets are committed with it, and all of it counts when this
    /// returns `Ok` and the transaction is committed. Where that comes to nothing, it is called again, with the same records or others: what it
    /// does elsewhere must bear that.
    ///
    /// It may take no longer than `transaction.timeout.ms` and `max.poll.interval.ms`. An error of its own ends the loop; one of
    /// Kafka's (such as a refused record) aborts the transaction, and what may pass is tried again.
    fn transform(
        &mut self,
        records: &InputRecords,
        transaction: &Transaction<'_>,
    ) -> impl Future<Output = Result<(), ExactlyOnceError>> + Send;
}

/// Why a loop ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExactlyOnceError {
    /// Kafka, or the client, said so.
    Kafka(Error),
    /// The application's [`Transform`] said so.
    Transform(Box<dyn StdError + Send + Sync>),
}

impl ExactlyOnceError {
    /// An error of the application's own.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Transform(error.into())
    }
}

impl fmt::Display for ExactlyOnceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kafka(error) => error.fmt(f),
            Self::Transform(error) => write!(f, "the records could not be transformed: {error}"),
        }
    }
}

impl StdError for ExactlyOnceError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Kafka(error) => error.source(),
            Self::Transform(error) => error.source(),
        }
    }
}

impl From<Error> for ExactlyOnceError {
    fn from(error: Error) -> Self {
        Self::Kafka(error)
    }
}

/// What a loop has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExactlyOnceMetrics {
    /// Transactions that were committed: as the coordinator said, or, where it could not be asked any more, as the offsets of the group say.
    pub committed: u64,
    /// Transactions that came to nothing, and were done again.
    pub aborted: u64,
    /// Transactions of which nobody can tell what became of them: another member has committed more of their partitions since.
    pub unknown: u64,
    /// Records that were read in those that were committed.
    pub records: u64,
    /// How often what was gathered was dropped, because some of its partitions went to another member.
    pub rebalanced: u64,
}

/// The records that are read for one transaction: of each partition in their order.
#[derive(Debug, Default)]
pub struct InputRecords {
    polls: Vec<Records>,
    records: usize,
    bytes: usize,
    /// Where each partition begins.
    starts: BTreeMap<TopicPartition, i64>,
    /// The position of each behind them.
    next: BTreeMap<TopicPartition, OffsetAndMetadata>,
}

impl InputRecords {
    /// The records, those of a partition in their order.
    pub fn iter(&self) -> impl Iterator<Item = RecordView<'_>> {
        self.polls.iter().flat_map(Records::iter)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether the transaction was committed that read these, by the offsets of the group: all of them at once are where it would have left them, or not.
    /// Where others have gone on meanwhile, they may have been before it.
    fn was_committed(
        &self,
        committed: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Option<bool> {
        let mut compared = self.next.iter().map(|(partition, next)| {
            let committed = committed.get(partition).map(|it| it.offset);
            committed.cmp(&Some(next.offset))
        });
        if compared.clone().any(Ordering::is_lt) {
            return Some(false);
        }
        compared.all(Ordering::is_eq).then_some(true)
    }

    fn push(&mut self, records: Records) {
        for of_partition in records.partitions() {
            if let Some(first) = of_partition.iter().next() {
                let name = TopicPartition::new(first.topic, first.partition);
                self.starts.entry(name).or_insert(first.offset);
            }
        }
        self.records += records.count();
        self.bytes += records.bytes();
        self.next.extend(records.next_offsets());
        self.polls.push(records);
    }
}

/// Reads records, has them transformed, and writes what comes of them, until `stop` is ready or something fails for good: each record counts
/// exactly once, for readers that read what is committed.
///
/// The order of each key is kept: records of a partition are transformed in their order, and what is written for one key goes to one
/// partition in the order in which it is handed in. Several instances share the partitions of the group; each needs a transactional id of
/// its own. One that dies is taken over from by the others, and by itself when it is back: what it had not committed is done again.
///
/// When `stop` is ready, what is being transformed is finished and committed, what was gathered is left to the next, and the member leaves
/// its group.
///
/// # Errors
/// [`ExactlyOnceError::Transform`] with the application's error; [`ExactlyOnceError::Kafka`] with what does not pass by itself, such as
/// [`ErrorKind::Fenced`] where another instance has taken the transactional id. Nothing of the transaction that was open counts
/// then. Coordinators that move, brokers that die and rebalances are waited out.
///
/// Dropping the future aborts what is open; the offsets stay where they were.
///
/// ```no_run
/// # use pat_events::kafka::{ExactlyOnceError, InputRecords, Transaction, Transform};
/// # struct Upper;
/// # impl Transform for Upper {
/// #     async fn transform(&mut self, _: &InputRecords, _: &Transaction<'_>) -> Result<(), ExactlyOnceError> { Ok(()) }
/// # }
/// # async fn example() -> Result<(), ExactlyOnceError> {
/// use pat_events::kafka::{ExactlyOnceConfig, exactly_once};
///
/// let brokers = "localhost:9092";
/// let config = ExactlyOnceConfig::new(brokers, "upper", &["lower"], "upper-1");
/// let stop = async { tokio::time::sleep(std::time::Duration::from_secs(3600)).await };
/// let done = exactly_once(config, &mut Upper, stop).await?;
/// println!("{} records in {} transactions", done.records, done.committed);
/// # Ok(())
/// # }
/// ```
pub async fn exactly_once<T: Transform>(
    config: ExactlyOnceConfig,
    transform: &mut T,
    stop: impl Future<Output = ()>,
) -> Result<ExactlyOnceMetrics, ExactlyOnceError> {
    exactly_once_watched(config, transform, stop, |_, _| {}).await
}

/// As [`exactly_once`]. `ended` is told of each transaction whether it was committed; `None` where nobody can tell.
pub(crate) async fn exactly_once_watched<T: Transform>(
    config: ExactlyOnceConfig,
    transform: &mut T,
    stop: impl Future<Output = ()>,
    ended: impl FnMut(&mut T, Option<bool>),
) -> Result<ExactlyOnceMetrics, ExactlyOnceError> {
    let mut run = Run::start(config).await?;
    let result = run.run(transform, stop, ended).await;
    let patience = run.request_timeout;
    let Run {
        consumer,
        producer,
        metrics,
        ..
    } = run;
    // What was committed is committed; the rest heals by itself.
    let left = consumer.close().await;
    let closed = producer.close(patience).await;
    result?;
    left.and(closed)?;
    Ok(metrics)
}

/// The partitions that went to others since the loop looked last.
#[derive(Clone, Default)]
struct Gone(Arc<Mutex<BTreeSet<TopicPartition>>>);

impl RebalanceListener for Gone {
    async fn on_revoked(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.0.lock().extend(partitions.iter().cloned());
    }

    async fn on_lost(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.0.lock().extend(partitions.iter().cloned());
    }
}

/// What became of a transaction.
enum Outcome {
    Committed,
    /// It came to nothing: again, from where its records begin.
    Again(Error),
    /// Nobody knows what became of it: on from where the group's offsets are.
    Unknown,
}

struct Run {
    consumer: Consumer,
    producer: TransactionalProducer,
    gone: Gone,
    max_records: usize,
    max_bytes: usize,
    max_wait: Duration,
    request_timeout: Duration,
    backoff: Backoff,
    random: Random,
    metrics: ExactlyOnceMetrics,
}

impl Run {
    async fn start(config: ExactlyOnceConfig) -> Result<Self> {
        let client = Client::lazy(config.client)?;
        let mut consumer = config.consumer;
        consumer.isolation_level = IsolationLevel::ReadCommitted;
        consumer.enable_auto_commit = false;
        consumer.max_poll_records = consumer.max_poll_records.min(config.max_records.max(1));
        let mut consumer = client.consumer(consumer)?;
        let producer = client.transactional_producer(config.producer, config.transactional_id)?;
        let gone = Gone::default();
        let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
        consumer.subscribe_with(&topics, gone.clone()).await?;
        let settings = client.config();
        Ok(Self {
            consumer,
            producer,
            gone,
            max_records: config.max_records.max(1),
            max_bytes: config.max_bytes.max(1),
            max_wait: config.max_wait,
            request_timeout: settings.request_timeout,
            backoff: Backoff::new(settings.retry_backoff, settings.retry_backoff_max),
            random: settings.random("exactly once"),
            metrics: ExactlyOnceMetrics::default(),
        })
    }

    async fn run<T: Transform>(
        &mut self,
        transform: &mut T,
        stop: impl Future<Output = ()>,
        mut ended: impl FnMut(&mut T, Option<bool>),
    ) -> Result<(), ExactlyOnceError> {
        let mut stop = pin!(stop);
        loop {
            let batch = tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                batch = self.gather() => batch?,
            };
            let was_committed = match self.transact(&batch, transform).await? {
                Outcome::Committed => Some(true),
                Outcome::Again(error) if !passes(&error) => {
                    let is_unknown = error.outcome() == WriteOutcome::Unknown;
                    ended(transform, (!is_unknown).then_some(false));
                    return Err(error.into());
                }
                Outcome::Again(_) => {
                    self.rewind(&batch, &BTreeMap::new());
                    Some(false)
                }
                Outcome::Unknown => {
                    let partitions: Vec<_> = batch.starts.keys().cloned().collect();
                    let committed = self.committed(&partitions).await?;
                    self.rewind(&batch, &committed);
                    batch.was_committed(&committed)
                }
            };
            ended(transform, was_committed);
            match was_committed {
                Some(true) => {
                    self.backoff.succeeded();
                    self.metrics.committed += 1;
                    self.metrics.records += batch.len() as u64;
                    continue;
                }
                Some(false) => self.metrics.aborted += 1,
                None => self.metrics.unknown += 1,
            }
            let pause = self.backoff.failed(&mut self.random);
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                () = sleep(pause) => {}
            }
        }
    }

    /// Gathers the records of a transaction. Cancel safe: what was gathered is read again by whoever holds the partitions then.
    async fn gather(&mut self) -> Result<InputRecords> {
        let mut batch = InputRecords::default();
        let mut until = None;
        loop {
            let now = Instant::now();
            let is_over = until.is_some_and(|until| until <= now);
            if is_over || batch.records >= self.max_records || batch.bytes >= self.max_bytes {
                return Ok(batch);
            }
            let wait = until.map_or(IDLE, |until: Instant| until - now);
            let room = AtomicUsize::new(self.max_bytes - batch.bytes);
            let records = match self.consumer.poll_within(wait, &room).await {
                Ok(records) => records,
                // It is tried on, or told again; and nothing of it concerns what was gathered.
                Err(error) if !error.is_fatal() && passes(&error) => continue,
                Err(error) => return Err(error),
            };
            let gone = std::mem::take(&mut *self.gone.0.lock());
            let was_read = batch.starts.keys().any(|it| gone.contains(it));
            batch.starts.retain(|it, _| !gone.contains(it));
            batch.next.retain(|it, _| !gone.contains(it));
            if !records.is_empty() {
                batch.push(records);
                until.get_or_insert(Instant::now() + self.max_wait);
            }
            if was_read {
                self.metrics.rebalanced += 1;
                self.rewind(&batch, &BTreeMap::new());
                (batch, until) = (InputRecords::default(), None);
            }
        }
    }

    /// Has the records transformed in a transaction, and commits it.
    async fn transact<T: Transform>(
        &mut self,
        batch: &InputRecords,
        transform: &mut T,
    ) -> Result<Outcome, ExactlyOnceError> {
        let transaction = match self.producer.begin().await {
            Ok(transaction) => transaction,
            Err(error) => return Ok(Outcome::Again(error)),
        };
        let written = match transform.transform(batch, &transaction).await {
            Ok(()) => Ok(()),
            Err(ExactlyOnceError::Kafka(error)) => Err(error),
            Err(error) => {
                // What it says is what counts.
                let _ = transaction.abort().await;
                return Err(error);
            }
        };
        let sent = match (written, self.consumer.group_metadata()) {
            (Ok(()), Ok(group)) => transaction.send_offsets(batch.next.clone(), &group).await,
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        let ended = match sent {
            Ok(()) => transaction.commit().await,
            // The abort says whether the producer is of any use.
            Err(error) => Err(transaction.abort().await.err().unwrap_or(error)),
        };
        Ok(match ended {
            Ok(()) => Outcome::Committed,
            Err(error) if error.outcome() == WriteOutcome::Unknown => self.settle(error).await,
            Err(error) => Outcome::Again(error),
        })
    }

    /// Finds out what became of a transaction whose coordinator did not answer.
    async fn settle(&mut self, error: Error) -> Outcome {
        loop {
            return match self.producer.settled().await {
                Ok(Some(true)) => Outcome::Committed,
                Ok(_) => Outcome::Again(error),
                Err(again) if again.kind() == ErrorKind::Timeout => continue,
                Err(error) if error.is_fatal() => Outcome::Again(error),
                Err(_) => Outcome::Unknown,
            };
        }
    }

    /// The group's offsets, once no transaction decides them any more.
    async fn committed(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
        loop {
            match self.consumer.committed(partitions).await {
                Err(error) if passes(&error) => {
                    let pause = self.backoff.failed(&mut self.random);
                    sleep(pause).await;
                }
                committed => return committed,
            }
        }
    }

    /// Goes back to where the records begin, or to where the group's offsets are, in the partitions that were held all the time: those that went
    /// are somebody else's, or begin at the group's offsets by themselves.
    fn rewind(&self, batch: &InputRecords, to: &BTreeMap<TopicPartition, OffsetAndMetadata>) {
        let gone = self.gone.0.lock();
        for (partition, start) in &batch.starts {
            if !gone.contains(partition) {
                let offset = to.get(partition).map_or(*start, |it| it.offset);
                // One that is not assigned any more is none of this member's.
                let _ = self.consumer.seek(partition, offset);
            }
        }
    }
}

/// Whether going on may get over it.
fn passes(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::TransactionAborted | ErrorKind::Rebalance => !is_decided(error),
        _ => may_pass(error) || error.is_retriable(),
    }
}

/// Whether what is refused now is refused the next time, too: a record of the transaction.
fn is_decided(error: &Error) -> bool {
    std::iter::successors(error.beneath(), |cause| cause.beneath()).any(|cause| {
        matches!(
            cause.kind(),
            ErrorKind::RecordTooLarge | ErrorKind::InvalidRecord | ErrorKind::Authorization
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_transaction_is_what_the_offsets_of_its_group_say() {
        let at = |offsets: &[i64]| {
            let names = (0..).map(|number| TopicPartition::new("t", number));
            let offsets = offsets.iter().map(|it| OffsetAndMetadata::new(*it));
            names.zip(offsets).collect()
        };
        let batch = InputRecords {
            next: at(&[10, 20]),
            ..InputRecords::default()
        };
        assert_eq!(batch.was_committed(&at(&[10, 20])), Some(true));
        for before in [&[5, 20][..], &[5, 15], &[10, 15], &[30, 15], &[10], &[]] {
            assert_eq!(batch.was_committed(&at(before)), Some(false), "{before:?}");
        }
        // Whoever went on may have done it again.
        assert_eq!(batch.was_committed(&at(&[11, 20])), None);
    }
}
