//! What an application has that reads records: it begins here, and leaves its group and ends.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::commit::Commits;
use super::fetch::batch_reader::{BatchDecoder, BatchReader};
use super::fetch::memory::ExcessOf;
use super::listener::AnyListener;
use super::metrics::MeasuredConsumer;
use super::positions::resolver;
use super::rebalance::Leaving;
use super::state::{ConsumerContext, Source};
use super::subscription::Subscription;
use super::{ConsumerConfig, ConsumerHandle, PositionReset};
use crate::kafka::cluster::Cluster;
use crate::kafka::observe::LagWatch;
use crate::kafka::runtime::after;
use crate::kafka::{Error, ErrorKind, Result};

/// Reads records: of partitions that it is assigned, or of the share that it gets of a group's.
///
/// Everything but polling is on its [`ConsumerHandle`], which it dereferences to. Dropping it ends all of its work at once, without leaving
/// the group or committing: see [`Consumer::close`].
///
/// ```no_run
/// # async fn example() -> pat_events::kafka::Result<()> {
/// use pat_events::kafka::{Consumer, ConsumerConfig};
/// use std::time::Duration;
///
/// let config = ConsumerConfig::new("localhost:9092", "mailer");
/// let mut consumer = Consumer::connect(config).await?;
/// consumer.subscribe(&["emails"]).await?;
/// loop {
///     let records = consumer.poll(Duration::from_millis(500)).await?;
///     for record in &records {
///         println!("{} {:?}", record.offset, record.value);
///     }
///     consumer.commit_sync().await?;
/// }
/// # }
/// ```
pub struct Consumer {
    pub(super) handle: ConsumerHandle,
    pub(super) listener: Option<Arc<dyn AnyListener>>,
    pub(super) decoder: BatchDecoder,
    pub(super) excess: ExcessOf,
    /// What is being read.
    pub(super) reading: Option<BatchReader>,
    /// What is on its way to other members.
    pub(super) leaving: Option<Leaving>,
    /// When a poll last ran.
    pub(super) polled_at: Instant,
    /// Resets that the listener has not wholly been told of.
    pub(super) resets: Vec<PositionReset>,
    /// How many resets the observer was told of.
    pub(super) resets_observed: u64,
    pub(super) lag_watch: LagWatch,
    pub(super) next_auto_commit: Instant,
    /// When a poll last returned an error that the next one returns as well.
    pub(super) failed_at: Option<Instant>,
    pub(super) subscription: Subscription,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("assignment", &self.assignment())
            .finish_non_exhaustive()
    }
}

impl Deref for Consumer {
    type Target = ConsumerHandle;

    fn deref(&self) -> &ConsumerHandle {
        &self.handle
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let context = self.context();
        context.stop();
        context.state().source = Source::Closed;
        context.wake_readers();
    }
}

impl Consumer {
    /// Finds the cluster. Fails by the request timeout with an error that names each address and why.
    pub async fn connect(config: ConsumerConfig) -> Result<Self> {
        config.validate()?;
        let deadline = after(config.client.request_timeout);
        let cluster = Cluster::connect(&config.client, deadline).await?;
        Ok(Self::start(config, cluster))
    }

    /// A consumer of `cluster`; nothing is sent yet.
    pub(crate) fn start(config: ConsumerConfig, cluster: Cluster) -> Self {
        let context = ConsumerContext::new(config, cluster);
        let client = &context.config.client;
        client.metrics.register(MeasuredConsumer {
            client_id: client.client_id.clone(),
            group: context.config.group_id.clone(),
            context: Arc::downgrade(&context),
            counters: context.counters.clone(),
        });
        context.spawn(resolver::TASK, resolver::run(context.clone()));
        Self {
            decoder: context.decoder(&context.budget),
            excess: ExcessOf::default(),
            next_auto_commit: after(context.config.auto_commit_interval),
            handle: ConsumerHandle {
                commits: Commits::start(&context),
                context,
            },
            listener: None,
            reading: None,
            leaving: None,
            polled_at: Instant::now(),
            resets: Vec::new(),
            resets_observed: 0,
            lag_watch: LagWatch::default(),
            failed_at: None,
            subscription: Subscription::default(),
        }
    }

    /// A handle for other tasks.
    pub fn handle(&self) -> ConsumerHandle {
        self.handle.clone()
    }

    /// Lets go of all partitions; leaves the group, if in one. What polls have returned counts as finished, and is committed first where
    /// `enable_auto_commit` says so.
    ///
    /// Dropping the future before it is done may leave everything as it was, to be let go of by the next call.
    pub async fn unsubscribe(&mut self) -> Result<()> {
        let deadline = self.context().deadline();
        let committed = self.commit_before_leaving(deadline).await;
        self.prepare_to_leave().await;
        self.leave().await;
        committed
    }

    /// Finishes: commits what polls have returned where `enable_auto_commit` says so, waits for commits under way, tells the listener, and
    /// leaves the group, so that its partitions go to others at once. Where nothing else lives on its client, brokers that want to know are told
    /// a last time what was measured.
    ///
    /// Takes up to the request timeout, of which the commit gets half (in the middle of a rebalance it waits for the next generation, if it has
    /// something to commit, or a listener that may), and the listener what is left of three quarters. The error is that
    /// of the last commit; everything else is done regardless.
    pub async fn close(mut self) -> Result<()> {
        let patience = self.context().config.client.request_timeout;
        let now = Instant::now();
        self.will_close();
        // None of them takes the time of those after it.
        let committed = self.commit_before_leaving(now + patience / 2).await;
        let prepared = timeout_at(now + patience * 3 / 4, self.prepare_to_leave()).await;
        let left = timeout_at(now + patience, self.leave()).await;
        let rest = patience.saturating_sub(now.elapsed());
        self.context().cluster.finish(rest).await;
        committed?;
        prepared.and(left).map_err(|_| {
            Error::new(
                ErrorKind::Timeout,
                "closing the consumer took longer than the request timeout",
            )
        })
    }

    /// What is at work is finished, and nothing else is begun, until this is closed: it stays in its group, but does not come back once it is put out.
    pub(crate) fn will_close(&self) {
        if let Some(group) = self.context().group() {
            group.update(|membership| membership.will_leave());
        }
    }

    /// Lets go of everything, at once; then tells the coordinator.
    async fn leave(&mut self) {
        let context = self.context().clone();
        let group = context.group();
        self.forget();
        self.subscription = Subscription::default();
        context.state().source = Source::Left;
        if let Some(group) = group {
            group.close().await;
        }
    }

    pub(super) fn context(&self) -> &Arc<ConsumerContext> {
        &self.handle.context
    }

    /// Forgets all partitions, and what was read of them.
    fn forget(&mut self) {
        self.reading = None;
        self.leaving = None;
        self.resets.clear();
        self.context().state().clear();
    }
}

impl ConsumerHandle {
    /// Commits everything that polls have returned, if that is to be done automatically, and waits.
    pub(super) async fn commit_finished(&self, deadline: Instant) -> Result<()> {
        if !self.context.config.enable_auto_commit {
            return Ok(());
        }
        let commit = self.commit_positions()?;
        match timeout_at(deadline, commit).await {
            Ok(done) => done,
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                "the automatic commit took too long",
            )),
        }
    }
}

pub(super) fn in_the_way(what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{what}: unsubscribe first"))
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the consumer was closed")
}
