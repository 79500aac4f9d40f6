//! Where readers come from, and the task that polls for them: rebalances, commits, errors.

use std::fmt;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::{PartitionReader, Readers};
use crate::kafka::consumer::state::Source;
use crate::kafka::consumer::wait::wait;
use crate::kafka::consumer::{Consumer, ConsumerHandle};
use crate::kafka::runtime::after;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// How long one poll of the task waits at most; each is a sign of life for the group by itself.
const POLL: Duration = Duration::from_secs(3_600);

/// A consumer whose partitions are read one by one, each by a [`PartitionReader`] that may be moved to a task of its own: see
/// [`Consumer::into_partitions`].
///
/// It dereferences to the [`ConsumerHandle`]. Dropping it ends all of its work at once, without leaving the group or committing, and never
/// blocks; readers fail from then on.
pub struct Partitions {
    handle: ConsumerHandle,
    news: Arc<Notify>,
    closing: Option<oneshot::Sender<oneshot::Sender<Result<()>>>>,
}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partitions")
            .field("assignment", &self.assignment())
            .finish_non_exhaustive()
    }
}

impl Deref for Partitions {
    type Target = ConsumerHandle;

    fn deref(&self) -> &ConsumerHandle {
        &self.handle
    }
}

impl Consumer {
    /// Reads each partition by a reader of its own: one for each that is assigned, now and after each rebalance. A reader is slow alone: it holds
    /// up no other. What the consumer subscribed to, or was assigned, stays.
    ///
    /// A task of the consumer polls from now on, so that the member keeps its place in the group however long readers take: `max_poll_interval`
    /// does not see to that any more. When a partition is to go to another member, its reader ends, and has `drain` to be dropped: the
    /// group waits for it, at most three quarters of `max_poll_interval`. Then what is finished is committed where `enable_auto_commit` says
    /// so.
    ///
    /// What a reader has returned counts as finished, for commits without named offsets, once it is asked for more: see
    /// [`PartitionReader::next`].
    ///
    /// The budget (`buffer_bytes`) is shared by all; a quarter of it is kept in equal parts for readers that have less than that. Where it gets
    /// short, what was fetched of partitions that are not read for 100 ms is dropped and fetched again when their readers ask; and readers whose
    /// next batch has no room go on one at a time.
    ///
    /// ```no_run
    /// # async fn example() -> pat_events::kafka::Result<()> {
    /// use pat_events::kafka::{Consumer, ConsumerConfig};
    /// use std::time::Duration;
    ///
    /// let config = ConsumerConfig::new("localhost:9092", "mailer");
    /// let mut consumer = Consumer::connect(config).await?;
    /// consumer.subscribe(&["emails"]).await?;
    /// let mut partitions = consumer.into_partitions(Duration::from_secs(10));
    /// loop {
    ///     let mut reader = partitions.next().await?;
    ///     tokio::spawn(async move {
    ///         while let Some(records) = reader.next().await? {
    ///             for record in &records {
    ///                 println!("{} {:?}", record.offset, record.value);
    ///             }
    ///         }
    ///         Ok::<_, pat_events::kafka::Error>(())
    ///     });
    /// }
    /// # }
    /// ```
    pub fn into_partitions(mut self, drain: Duration) -> Partitions {
        let context = self.context().clone();
        let readers = Readers::new(drain.min(context.config.max_poll_interval * 3 / 4));
        let news = readers.news.clone();
        {
            let mut state = context.state();
            let reading = self.reading.take();
            let held: Vec<TopicPartition> = state.positions.iter().cloned().collect();
            state.readers.insert(readers).offer(&held, Instant::now());
            if let Some(reading) = reading {
                state.put_back(reading);
            }
        }
        let weak = Arc::downgrade(&context);
        context.cluster.tasks().on_failure(move |_| {
            if let Some(context) = weak.upgrade() {
                context.wake_readers();
            }
        });
        let handle = self.handle();
        let (closing, close) = oneshot::channel();
        context.spawn("partitions", drive(self, close));
        Partitions {
            handle,
            news,
            closing: Some(closing),
        }
    }
}

impl ConsumerHandle {
    /// Tells the readers of these partitions that they are over, and waits until they are dropped, or have had their time.
    pub(in crate::kafka::consumer) async fn drain_readers(&self, partitions: &[TopicPartition]) {
        let context = &self.context;
        let (drained, until) = {
            let mut state = context.state();
            let Some(readers) = &mut state.readers else {
                return;
            };
            readers.revoke(partitions);
            (readers.drained.clone(), after(readers.drain))
        };
        loop {
            let mut over = pin!(drained.notified());
            over.as_mut().enable();
            let reads = |readers: &Readers| readers.any_of(partitions);
            let waits = context.state().readers.as_ref().is_some_and(reads);
            if !waits || Instant::now() >= until {
                return;
            }
            wait(over, Some(until)).await;
        }
    }
}

/// Polls, though not for records, until it is told to close.
async fn drive(mut consumer: Consumer, mut close: oneshot::Receiver<oneshot::Sender<Result<()>>>) {
    let nothing = AtomicUsize::new(0);
    loop {
        let polled = tokio::select! {
            biased;
            asked = &mut close => {
                // Whoever dropped the readers' source wants nothing more.
                let Ok(done) = asked else { return };
                let all = consumer.assignment();
                consumer.drain_readers(&all).await;
                let _ = done.send(consumer.close().await);
                return;
            }
            polled = consumer.poll_within(POLL, &nothing) => polled,
        };
        if let Err(error) = polled
            && let Some(readers) = &mut consumer.context().state().readers
        {
            readers.tell(error);
        }
    }
}

impl Partitions {
    /// Waits for a partition that nobody reads, and returns its reader: of one that was assigned, or of one whose reader was dropped.
    ///
    /// # Errors
    /// What [`Consumer::poll`] would say. What is wrong with one partition is an error of its reader, once there is one. Where
    /// [`Error::is_fatal`] says so, no reader comes any more; otherwise ask again.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<PartitionReader> {
        loop {
            let mut news = pin!(self.news.notified());
            news.as_mut().enable();
            {
                let mut state = self.handle.context.state();
                let is_closed = matches!(state.source, Source::Closed);
                let readers = state.readers.as_mut().filter(|_| !is_closed);
                let Some(readers) = readers else {
                    drop(state);
                    return Err(self
                        .handle
                        .context
                        .check_open()
                        .err()
                        .unwrap_or_else(closed));
                };
                if let Some(taken) = readers.take() {
                    return Ok(PartitionReader::new(self.handle.clone(), taken));
                }
                if let Some(error) = readers.take_error() {
                    return Err(error);
                }
            }
            self.handle.context.check_open()?;
            news.await;
        }
    }

    /// A handle for other tasks.
    pub fn handle(&self) -> ConsumerHandle {
        self.handle.clone()
    }

    /// Finishes: readers end, and have the drain time to be dropped; then as [`Consumer::close`].
    ///
    /// Dropping the future does not stop it.
    pub async fn close(mut self) -> Result<()> {
        let (done, closed_with) = oneshot::channel();
        let asked = self.closing.take().map(|closing| closing.send(done));
        if asked.is_none_or(|asked| asked.is_err()) {
            return Err(closed());
        }
        let failure = || self.handle.context.cluster.tasks().failure();
        closed_with
            .await
            .unwrap_or_else(|_| Err(failure().unwrap_or_else(closed)))
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        if self.closing.take().is_some() {
            let context = &self.handle.context;
            context.stop();
            context.state().source = Source::Closed;
            context.wake_readers();
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the consumer was closed")
}
