//! The queue as the application holds it: start it with a handler, wait for it, stop it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::config::QueueConfig;
use super::delivery::{Counters, Shared};
use super::queue_loop::QueueLoop;
use crate::events::cancellation::Cancellation;
use crate::events::consumer::ConsumerError;
use crate::events::consumer::run::Run;
use crate::events::failure::{DeadLetterWriter, FailureHandling};
use crate::events::observe::Spans;
use crate::events::{Dispatch, EventSet, OnFailure};
use crate::kafka::runtime::Mutex;
use crate::kafka::{self, Client};

/// Reads the events of the set `S` as a member of a share group (KIP-932), and hands each to a handler: a queue of jobs. Any number of members work
/// on the same partitions, in no order, not even of one key.
///
/// An event is done with when its handler has finished (accepted). One that fails with something transient is delivered again, to any member, after
/// a pause ([`retry`](crate::events::ConsumerConfig::retry)) and no more than [`max_deliveries`](QueueConfig::max_deliveries) times; what is given
/// up then, or is poison, goes where [`on_failure`](crate::events::ConsumerConfig::on_failure) says: by default to a dead-letter topic, before it is
/// rejected. While a handler is at work the lock of its event is renewed (Kafka 4.2 and later). At least once: a member that dies leaves its events
/// to others.
///
/// The same codecs, failure classes, dead letters, spans and events of the observer as those of an
/// [`EventConsumer`](crate::events::EventConsumer). Dropping it stops it without waiting.
///
/// ```no_run
/// # async fn example(handler: impl pat_events::events::email::EmailEventHandler) -> Result<(), Box<dyn std::error::Error>> {
/// use pat_events::events::email::EmailEvents;
/// use pat_events::events::{EventQueue, QueueConfig};
/// use pat_events::kafka::{Client, ClientConfig};
///
/// let client = Client::lazy(ClientConfig::new("localhost:9092"))?;
/// let config = QueueConfig::new("", "emails", "mailers");
/// let queue = EventQueue::<EmailEvents>::on(&client, config)?;
/// queue.start(handler).await?;
/// queue.wait().await?;
/// # Ok(()) }
/// ```
pub struct EventQueue<S: EventSet> {
    config: QueueConfig,
    codec: Arc<S::Codec>,
    client: Client,
    run: Mutex<Option<Run<Arc<Counters>>>>,
}

/// What a queue has done since its last start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueMetrics {
    /// Events whose handlers have finished.
    pub handled: u64,
    /// Deliveries that failed, after which the event is delivered again.
    pub released: u64,
    /// Events that were given up and skipped.
    pub skipped: u64,
    /// Events that were given up and written to a dead-letter topic.
    pub dead_lettered: u64,
}

impl<S: EventSet> fmt::Debug for EventQueue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventQueue")
            .field("topics", &self.config.events.topics)
            .field("group_id", &self.config.events.group_id)
            .finish_non_exhaustive()
    }
}

impl<S: EventSet> EventQueue<S> {
    /// A queue on `client` that is not started yet.
    ///
    /// What `config` says of the client is replaced by this client's. Fails with [`ErrorKind::Config`](crate::kafka::ErrorKind::Config) when `config` is
    /// incomplete.
    pub fn on(client: &Client, config: QueueConfig) -> kafka::Result<Self>
    where
        S::Codec: Default,
    {
        Self::with_codec_on(client, config, S::Codec::default())
    }

    /// As [`on`](Self::on), with a codec that has to be created by the application.
    pub fn with_codec_on(
        client: &Client,
        mut config: QueueConfig,
        codec: S::Codec,
    ) -> kafka::Result<Self> {
        config.events = config.events.on(client);
        config.validate()?;
        Ok(Self {
            config,
            codec: Arc::new(codec),
            client: client.clone(),
            run: Mutex::new(None),
        })
    }

    /// Joins the share group, and hands events to `handler` from now on, [`concurrency`](crate::events::ConsumerConfig::concurrency) of them at once.
    ///
    /// Returns when the queue runs; how it ends is what [`wait`](Self::wait) and [`stop`](Self::stop) return. Fails when no broker answers, and when
    /// it runs already. After an end it can be started again. Dropping the future before it is ready starts nothing.
    pub async fn start<H>(&self, handler: H) -> Result<(), ConsumerError>
    where
        S: Dispatch<H>,
        H: Send + Sync + 'static,
    {
        if self.is_running() {
            return Err(ConsumerError::Started);
        }
        self.client.found().await?;
        let events = self.config.handling();
        let mut consumer = self.client.share_consumer(self.config.share_config())?;
        let topics: Vec<&str> = events.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).await?;
        let spans = Spans::of_consumer(&events);
        let dead_letters = match events.on_failure {
            OnFailure::DeadLetter => {
                let topic = events.dead_letter_topic.clone();
                Some(DeadLetterWriter::on(&self.client, topic, spans.clone())?)
            }
            _ => None,
        };
        let (policy, client) = (events.failure_policy(), self.client.config());
        let counters = Arc::<Counters>::default();
        let shared = Shared {
            failing: FailureHandling::new(policy, &events.group_id, client),
            spans,
            dead_letters,
            clock: client.clock,
            stopping: Cancellation::default(),
            gone: Cancellation::default(),
            counters: counters.clone(),
        };
        let begun = {
            let mut run = self.run.lock();
            if run.as_ref().is_some_and(Run::is_running) {
                return Err(ConsumerError::Started);
            }
            let (begins, begun) = Run::new(counters);
            *run = Some(begins);
            begun
        };
        let queue = QueueLoop::<S, H> {
            consumer,
            handler: Arc::new(handler),
            codec: self.codec.clone(),
            shared: Arc::new(shared),
            concurrency: events.concurrency,
            shutdown_timeout: events.shutdown_timeout,
        };
        begun.spawn("event queue", |stopped| queue.run(stopped));
        Ok(())
    }

    /// Waits until the queue ends: because it is stopped, or because something fails, which it returns. Ready at once when it was never started.
    /// Cancel safe.
    pub async fn wait(&self) -> Result<(), ConsumerError> {
        let Some(run) = self.run.lock().clone() else {
            return Ok(());
        };
        run.ended().await
    }

    /// Lets the handlers at work finish, begins no others, releases what waits for one, and leaves the group: all of it within the shutdown timeout,
    /// give or take half a second. Returns the failure that ended the queue before, if one did, or what could not be done in that time.
    ///
    /// Cancel safe: the queue stops all the same. Not for a handler to wait for, as this waits for the handler.
    pub async fn stop(&self) -> Result<(), ConsumerError> {
        let Some(run) = self.run.lock().clone() else {
            return Ok(());
        };
        run.stop().await
    }

    /// Whether the queue was started and has not ended.
    pub fn is_running(&self) -> bool {
        self.run.lock().as_ref().is_some_and(Run::is_running)
    }

    /// What was done since the last start.
    pub fn metrics(&self) -> QueueMetrics {
        let run = self.run.lock().clone();
        run.map_or_else(QueueMetrics::default, |run| {
            let counters = &run.view;
            QueueMetrics {
                handled: counters.handled.load(Relaxed),
                released: counters.released.load(Relaxed),
                skipped: counters.skipped.load(Relaxed),
                dead_lettered: counters.dead_lettered.load(Relaxed),
            }
        })
    }
}
