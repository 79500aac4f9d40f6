//! The consumer of events as the application holds it: start it with a handler, wait for it, stop it.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::assigned::Assigned;
use super::lag::LagView;
use super::metrics::{Counters, OldestEvent};
use super::poll_loop::PollLoop;
use super::rebalance_listener::GroupListener;
use super::retry_reader::RetryReader;
use super::run::Run;
use super::scheduler::{Memory, Worker, Workers, Writers};
use super::{ConsumerConfig, ConsumerError, ConsumerMetrics};
use crate::events::failure::{DeadLetterWriter, FailureHandling, RetryWriter};
use crate::events::observe::{MeasuredEvents, Spans};
use crate::events::{BatchHandler, CircuitState, Dispatch, EventSet, OnFailure, TenantMetrics};
use crate::kafka::Client;
use crate::kafka::runtime::Mutex;

/// Reads the events of the set `S` as a member of a group, and hands each to a handler: one key in order, different keys at once.
///
/// At least once: the offset of an event is committed when its handler has finished, never sooner. Finished events beyond an unfinished
/// one are remembered in the commit, so that a restart repeats only what was not finished. Dropping the consumer stops it without
/// waiting: what was not committed is handled again after the next start.
pub struct EventConsumer<S: EventSet> {
    config: ConsumerConfig,
    codec: Arc<S::Codec>,
    /// What it shares with others; `None` when it has a client to itself.
    client: Option<Client>,
    run: Mutex<Option<Run<EventsView>>>,
}

/// What can be seen of a run.
#[derive(Clone)]
pub(crate) struct EventsView {
    pub counters: Arc<Counters>,
    types: &'static [&'static str],
    tenants_named: usize,
    assigned: Assigned,
    lag: LagView,
    failing: Arc<FailureHandling>,
}

impl<S: EventSet> EventConsumer<S> {
    /// A consumer that is not started yet.
    ///
    /// Fails with [`ErrorKind::Config`](crate::kafka::ErrorKind::Config) when `config` is incomplete.
    pub fn new(config: ConsumerConfig) -> crate::kafka::Result<Self>
    where
        S::Codec: Default,
    {
        Self::with_codec(config, S::Codec::default())
    }

    /// As [`new`](Self::new), with a codec that has to be created by the application.
    pub fn with_codec(config: ConsumerConfig, codec: S::Codec) -> crate::kafka::Result<Self> {
        Self::of(None, config, codec)
    }

    /// A consumer on `client`, whose connections and knowledge of the cluster it shares with all others on it; it is not started yet.
    ///
    /// What `config` says of the client ([`brokers`](ConsumerConfig::brokers), and `client` of [`kafka`](ConsumerConfig::kafka)) is replaced by
    /// this client's. Fails with [`ErrorKind::Config`](crate::kafka::ErrorKind::Config) when `config` is incomplete.
    ///
    /// ```no_run
    /// # fn example() -> pat_events::kafka::Result<()> {
    /// use pat_events::events::email::EmailEvents;
    /// use pat_events::events::{ConsumerConfig, EventConsumer};
    /// use pat_events::kafka::{Client, ClientConfig};
    ///
    /// let client = Client::lazy(ClientConfig::new("kafka-1:9092,kafka-2:9092"))?;
    /// let config = ConsumerConfig::new("", "emails", "indexer");
    /// let indexer = EventConsumer::<EmailEvents>::on(&client, config)?;
    /// # Ok(()) }
    /// ```
    pub fn on(client: &Client, config: ConsumerConfig) -> crate::kafka::Result<Self>
    where
        S::Codec: Default,
    {
        Self::with_codec_on(client, config, S::Codec::default())
    }

    /// As [`on`](Self::on), with a codec that has to be created by the application.
    pub fn with_codec_on(
        client: &Client,
        config: ConsumerConfig,
        codec: S::Codec,
    ) -> crate::kafka::Result<Self> {
        Self::of(Some(client.clone()), config.on(client), codec)
    }

    fn of(
        client: Option<Client>,
        config: ConsumerConfig,
        codec: S::Codec,
    ) -> crate::kafka::Result<Self> {
        config.validate()?;
        Ok(Self {
            config,
            codec: Arc::new(codec),
            client,
            run: Mutex::new(None),
        })
    }

    /// Connects to the cluster, joins the group, and hands events to `handler` from now on.
    ///
    /// Returns when the consumer runs; how it ends is what [`wait`](Self::wait) and [`stop`](Self::stop) return. Fails when no broker
    /// answers, when a [retry topic](crate::events::RetryTopics) is missing, and when the consumer runs already. After an end it can be started again. Dropping the future before it is ready starts nothing.
    pub async fn start<H>(&self, handler: H) -> Result<(), ConsumerError>
    where
        S: Dispatch<H>,
        H: Send + Sync + 'static,
    {
        let worker = Worker::single::<S, H>(Arc::new(handler), self.codec.clone());
        self.start_with(worker).await
    }

    /// As [`start`](Self::start), with a handler of [several events at once](BatchHandler), as many as
    /// [`ConsumerConfig::batch`] says; [`concurrency`](ConsumerConfig::concurrency) calls at once.
    ///
    /// Events whose type is not in the set are skipped (a failure where [`OnUnknown`](crate::events::OnUnknown) says so), and a record that
    /// cannot be read is a failure of its own: neither is in a batch.
    pub async fn start_batches<B>(&self, handler: B) -> Result<(), ConsumerError>
    where
        B: BatchHandler<S>,
    {
        let worker =
            Worker::batches::<S, B>(Arc::new(handler), self.codec.clone(), self.config.batch);
        self.start_with(worker).await
    }

    async fn start_with(&self, worker: Worker) -> Result<(), ConsumerError> {
        if self.is_running() {
            return Err(ConsumerError::Started);
        }
        let config = self.config.clone();
        let client = match &self.client {
            Some(client) => client.clone(),
            None => Client::lazy(config.client_config().client)?,
        };
        client.found().await?;
        config.check_retry_topics(&client).await?;
        let mut consumer = client.consumer(config.client_config())?;
        let spans = Spans::of_consumer(&config);
        let dead_letters = match config.on_failure {
            OnFailure::DeadLetter => {
                let topic = config.dead_letter_topic.clone();
                Some(DeadLetterWriter::on(&client, topic, spans.clone())?)
            }
            _ => None,
        };
        let retries = match config.retry_topics.is_empty() {
            true => None,
            false => Some(RetryWriter::on(&client)?),
        };
        let writers = Writers {
            dead_letters,
            retries,
        };
        let counters = Arc::new(Counters::new(config.concurrency, S::TYPES.len()));
        let assigned = Assigned::new(u32::try_from(config.handler_deaths).unwrap_or(u32::MAX));
        let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
        let listener = GroupListener {
            assigned: assigned.clone(),
            counters: counters.clone(),
            config: config.clone(),
        };
        consumer
            .subscribe_without(&topics, config.left_out(), listener)
            .await?;
        let failing =
            FailureHandling::new(config.failure_policy(), &config.group_id, client.config());
        let failing = Arc::new(failing);
        let retries = match config.retry_topics.is_empty() {
            true => None,
            false => Some(RetryReader::new(
                client.consumer(config.retry_client_config())?,
                consumer.handle(),
                assigned.clone(),
                failing.clone(),
                config.clone(),
                counters.clone(),
            )),
        };
        let lag = LagView::new(consumer.handle(), assigned.clone());
        let begun = {
            let mut run = self.run.lock();
            if run.as_ref().is_some_and(Run::is_running) {
                return Err(ConsumerError::Started);
            }
            let view = EventsView {
                counters: counters.clone(),
                types: S::TYPES,
                tenants_named: config.tenants_named,
                assigned: assigned.clone(),
                lag: lag.clone(),
                failing: failing.clone(),
            };
            client.config().metrics.register(MeasuredEvents {
                client_id: client.config().client_id.clone(),
                group: config.group_id.clone(),
                topic: match &config.topics[..] {
                    [topic] => Some(topic.clone()),
                    _ => None,
                },
                view: view.clone(),
            });
            let (begins, begun) = Run::new(view);
            *run = Some(begins);
            begun
        };
        let memory = Memory::new(config.queue_bytes);
        let workers = Workers::start(
            &worker,
            failing.clone(),
            config.tenants.clone(),
            writers,
            spans,
            counters.clone(),
        );
        let poll_loop = PollLoop {
            consumer,
            workers,
            memory,
            assigned,
            config,
            counters,
            lag,
            retries,
            failing,
        };
        begun.spawn("poll loop", |stopped| async move {
            let counters = poll_loop.counters.clone();
            let ended = poll_loop.run(stopped).await;
            if let Err(error) = &ended {
                counters.ended(error);
            }
            ended
        });
        Ok(())
    }

    /// Waits until the consumer ends: because it is stopped, or because something fails, which it returns. Ready at once when it
    /// was never started. Cancel safe.
    pub async fn wait(&self) -> Result<(), ConsumerError> {
        let Some(run) = self.run.lock().clone() else {
            return Ok(());
        };
        run.ended().await
    }

    /// Lets the handlers at work finish, begins no others, commits, and leaves the group: all of it within the shutdown timeout. Returns
    /// the failure that ended the consumer before, if one did, or what could not be done in that time.
    ///
    /// Cancel safe: the consumer stops all the same. Not for a handler to wait for, as this waits for the handler.
    pub async fn stop(&self) -> Result<(), ConsumerError> {
        let Some(run) = self.run.lock().clone() else {
            return Ok(());
        };
        run.stop().await
    }

    /// [Starts](Self::start) the consumer, and [stops](Self::stop) it when `until` is ready, such as a signal to the process. Returns how it
    /// ended: sooner, when something fails.
    ///
    /// Dropping the future leaves the consumer running.
    pub async fn run_until<H>(&self, handler: H, until: impl Future) -> Result<(), ConsumerError>
    where
        S: Dispatch<H>,
        H: Send + Sync + 'static,
    {
        self.start(handler).await?;
        tokio::select! {
            biased;
            ended = self.wait() => ended,
            _ = until => self.stop().await,
        }
    }

    /// [Stops](Self::stop) the consumer, for good.
    pub async fn close(self) -> Result<(), ConsumerError> {
        self.stop().await
    }

    /// Whether the consumer was started and has not ended.
    pub fn is_running(&self) -> bool {
        self.run.lock().as_ref().is_some_and(Run::is_running)
    }

    /// What happened since the last start, and how far the consumer is behind.
    pub fn metrics(&self) -> ConsumerMetrics {
        let run = self.run.lock().clone();
        run.map_or_else(ConsumerMetrics::default, |run| run.view.metrics())
    }
}

impl EventsView {
    /// What was done for each tenant, as metrics show it: bounded, and growing only.
    pub fn tenants(&self) -> Vec<TenantMetrics> {
        (self.counters.tenants.lock()).steady(self.tenants_named)
    }

    /// Whether events are taken in.
    pub fn circuit(&self) -> CircuitState {
        self.failing.circuit().0
    }

    pub fn metrics(&self) -> ConsumerMetrics {
        let lag_by_partition = self.lag.by_partition();
        let (circuit, circuit_opened) = self.failing.circuit();
        ConsumerMetrics {
            oldest: oldest_of(&self.assigned),
            // The log's ends are what brokers say: however large they are, the sum is a number.
            lag: (lag_by_partition.iter()).fold(0, |sum, (_, lag)| lag.saturating_add(sum)),
            lag_by_partition,
            tenants: (self.counters.tenants.lock()).busiest(self.tenants_named),
            lag_time_by_partition: self.lag.times_by_partition(),
            circuit,
            circuit_opened,
            retry_pending: self.assigned.chains.pending() as u64,
            ..self.counters.summary(self.types)
        }
    }
}

fn oldest_of(assigned: &Assigned) -> Option<OldestEvent> {
    let now = Instant::now();
    let partitions = assigned.all().into_iter();
    let oldest = partitions.filter_map(|partition| {
        let (offset, came) = partition.oldest()?;
        Some(OldestEvent {
            partition: partition.name.clone(),
            offset,
            age: now.saturating_duration_since(came),
        })
    });
    oldest.max_by_key(|event| event.age)
}

impl<S: EventSet> fmt::Debug for EventConsumer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventConsumer")
            .field("topics", &self.config.topics)
            .field("group_id", &self.config.group_id)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "broker"))]
mod tests;
