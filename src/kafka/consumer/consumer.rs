//! The consumer that an application polls: subscriptions, handing out records, and leaving.

use std::fmt;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::commit::Commits;
use super::fetch::batch_reader::{BatchDecoder, BatchReader, Room};
use super::hand_out::{ReadOn, read_on};
use super::handle::check_offset;
use super::listener::AnyListener;
use super::metrics::MeasuredConsumer;
use super::positions::resolver;
use super::state::{ConsumerContext, Source};
use super::subscription::{LeftOutTopics, Subscription};
use super::wait::wait;
use super::{
    CommitSource, ConsumerConfig, ConsumerHandle, GroupProtocol, PositionReset, RebalanceListener,
    Records, StartOffset, subscription,
};
use crate::kafka::cluster::{Channel, Cluster, Target, unknown_partition};
use crate::kafka::group::member::{GroupMember, MembershipConfig, Wanted};
use crate::kafka::observe::{ClientEvent, LagWatch};
use crate::kafka::{Error, ErrorKind, Result, TopicPartition, WriteOutcome};

/// How often, at least, a waiting poll looks whether something has been going wrong for too long.
const LOOK_AROUND: Duration = Duration::from_secs(1);

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
/// let mut consumer = Consumer::connect(ConsumerConfig::new("localhost:9092", "mailer")).await?;
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
    decoder: BatchDecoder,
    /// What is being read.
    pub(super) reading: Option<BatchReader>,
    /// Resets that the listener has not wholly been told of.
    pub(super) resets: Vec<PositionReset>,
    /// How many resets the observer was told of.
    resets_observed: u64,
    lag_watch: LagWatch,
    next_auto_commit: Instant,
    /// When a poll last returned an error that the next one returns as well.
    failed_at: Option<Instant>,
    subscription: Subscription,
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
        let deadline = Instant::now() + config.client.request_timeout;
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
            decoder: context.decoders.take(),
            next_auto_commit: Instant::now() + context.config.auto_commit_interval,
            handle: ConsumerHandle {
                commits: Commits::start(&context),
                context,
            },
            listener: None,
            reading: None,
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

    /// Joins the group (`group_id`) to read its share of these topics. Subscribing again replaces the topics.
    ///
    /// One that begins with `^` is a pattern, as in librdkafka: a regular expression for all topics whose names begin as it says; end it
    /// with `$` to match whole names, as Java's client does. What matches is looked up whenever the metadata is refreshed
    /// (`metadata.max.age.ms`): topics come and go, each time with a rebalance. Topics that are the brokers' own are left out, unless
    /// [`exclude_internal_topics`](ConsumerConfig::exclude_internal_topics) is off. A topic that came later is read from its beginning.
    ///
    /// Waits until the brokers have said what they know of the topics. One that does not exist holds up no other: it is read once it exists,
    /// and [`poll`](Self::poll) returns an error that names it, once, with [`ErrorKind::UnknownTopicOrPartition`]; under
    /// [`MissingTopics::Fail`](super::MissingTopics::Fail) such a topic fails this call, by the request timeout. Fails at once when none of the topics can ever be read,
    /// because the client may not or because no topic can have such a name, and when a pattern is no regular expression.
    ///
    /// Cancel safe: dropped before it is ready, it has changed nothing.
    pub async fn subscribe(&mut self, topics: &[&str]) -> Result<()> {
        self.subscribe_to(topics, None, LeftOutTopics::None, None)
            .await
    }

    /// As [`subscribe`](Self::subscribe); `listener` is told when partitions come and go.
    pub async fn subscribe_with(
        &mut self,
        topics: &[&str],
        listener: impl RebalanceListener,
    ) -> Result<()> {
        self.subscribe_without(topics, LeftOutTopics::None, listener)
            .await
    }

    /// As [`subscribe_with`](Self::subscribe_with); no pattern matches what is `left_out`.
    pub(crate) async fn subscribe_without(
        &mut self,
        topics: &[&str],
        left_out: LeftOutTopics,
        listener: impl RebalanceListener,
    ) -> Result<()> {
        self.subscribe_to(topics, None, left_out, Some(Arc::new(listener)))
            .await
    }

    /// Joins the group to read its share of the topics whose whole names match `pattern`, a regular expression in the syntax of RE2J: the
    /// brokers match it, and go on doing so as topics come and go. Needs `group.protocol` `consumer`, or `auto` and brokers that have it; fails
    /// otherwise, by the request timeout. A pattern that is no expression is an error of [`poll`](Self::poll).
    ///
    /// All that matches starts where the group has committed, or as `auto_offset_reset` says, also topics that come later: under `latest`
    /// what was written to them before a member heard of them is passed over.
    ///
    /// Subscribing again replaces the pattern. Cancel safe, as [`subscribe`](Self::subscribe).
    pub async fn subscribe_pattern(&mut self, pattern: &str) -> Result<()> {
        let pattern = Some(pattern.to_string());
        self.subscribe_to(&[], pattern, LeftOutTopics::None, None)
            .await
    }

    /// As [`subscribe_pattern`](Self::subscribe_pattern); `listener` is told when partitions come and go.
    pub async fn subscribe_pattern_with(
        &mut self,
        pattern: &str,
        listener: impl RebalanceListener,
    ) -> Result<()> {
        let (pattern, listener) = (Some(pattern.to_string()), Some(Arc::new(listener) as _));
        self.subscribe_to(&[], pattern, LeftOutTopics::None, listener)
            .await
    }

    async fn subscribe_to(
        &mut self,
        topics: &[&str],
        pattern: Option<String>,
        left_out: LeftOutTopics,
        listener: Option<Arc<dyn AnyListener>>,
    ) -> Result<()> {
        let context = self.context().clone();
        let group_id = context.group_id()?.to_string();
        // Nothing is written by it, whatever the answer was that did not come.
        let subscription = subscription::look_up(&context, topics, left_out)
            .await
            .map_err(|error| error.with_outcome(WriteOutcome::NotWritten))?;
        let protocol = self.protocol().await;
        let protocol = protocol.map_err(|error| error.with_outcome(WriteOutcome::NotWritten))?;
        if pattern.is_some() && protocol == GroupProtocol::Classic {
            return Err(Error::new(
                ErrorKind::Config,
                "only brokers match this kind of pattern, for members of the consumer protocol: set group.protocol to consumer, or subscribe to a name that begins with ^",
            ));
        }
        let topics = subscription.topics();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        context.subscribe_to(&names);
        context.cluster.track(names.iter().copied());
        let mut state = context.state();
        match &state.source {
            Source::Nothing | Source::Left => {
                let membership = self.membership_config(group_id);
                let (cluster, ready) = (context.cluster.clone(), context.ready.clone());
                let group = match protocol {
                    GroupProtocol::Consumer => {
                        let wanted = Wanted { topics, pattern };
                        GroupMember::consumer(membership, cluster, wanted, ready)
                    }
                    _ => {
                        let assignors = context.config.partition_assignment_strategy.assignors();
                        GroupMember::classic(membership, assignors, cluster, topics, ready)
                    }
                };
                context.spawn("group member", group.clone().run());
                state.source = Source::Subscribed(group);
            }
            Source::Subscribed(group) => {
                let wanted = Wanted { topics, pattern };
                group.update(|membership| membership.resubscribe(wanted, Instant::now()))
            }
            Source::Assigned => return Err(in_the_way("partitions are assigned by hand")),
            Source::Closed => return Err(closed()),
        }
        drop(state);
        self.subscription = subscription;
        if listener.is_some() {
            self.listener = listener;
        }
        Ok(())
    }

    /// By which protocol the member is, or will be, one of its group.
    async fn protocol(&self) -> Result<GroupProtocol> {
        let context = self.context();
        match (context.group(), context.config.group_protocol) {
            (Some(GroupMember::Classic(_)), _) => Ok(GroupProtocol::Classic),
            (Some(GroupMember::Consumer(_)), _) => Ok(GroupProtocol::Consumer),
            (None, GroupProtocol::Auto) => {
                // Whoever will coordinate the group knows.
                let coordinator = Target::GroupCoordinator(context.group_id()?);
                let deadline = context.deadline();
                let (cluster, channel) = (&context.cluster, Channel::Coordinator);
                let connection = cluster
                    .connection_to(coordinator, channel, deadline)
                    .await?;
                Ok(match connection.versions().has_consumer_groups() {
                    true => GroupProtocol::Consumer,
                    false => GroupProtocol::Classic,
                })
            }
            (None, protocol) => Ok(protocol),
        }
    }

    /// Subscribes to what the patterns match now.
    fn follow_patterns(&mut self, now: Instant) {
        let context = &self.handle.context;
        let group = match self.subscription.has_patterns() {
            true => context.group(),
            false => None,
        };
        let Some(group) = group else { return };
        let known = context.cluster.metadata();
        let pause = |missed| context.pause(missed);
        let changed = self.subscription.follow(&known, now, pause);
        if self.subscription.ask_due(now) {
            context.cluster.refresh();
        }
        if let Some(changed) = changed {
            let came = || changed.came.iter().map(String::as_str);
            let is_gone = |topic: &str| known.is_gone(topic);
            context.state().subscribed.follow(came(), is_gone);
            context.cluster.track(came());
            context
                .cluster
                .untrack(changed.went.iter().map(String::as_str));
            let topics = self.subscription.topics();
            let wanted = Wanted {
                topics,
                pattern: None,
            };
            group.update(|membership| membership.resubscribe(wanted, now));
        }
    }

    /// Reads exactly these partitions, each from its start, instead of those assigned before. With a group, offsets can be committed, but
    /// the partitions are not shared with anybody.
    ///
    /// Fails when a topic or partition does not exist, by the request timeout. One whose topic is deleted later stays assigned, as in Java's
    /// client: polls say so ([`ErrorKind::UnknownTopicOrPartition`], every request timeout), the brokers are asked for it at most every 30 s,
    /// and if the topic is created again, it is read from its beginning.
    pub async fn assign(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()> {
        self.assign_to(partitions, true).await
    }

    /// As [`assign`](Self::assign), beside those assigned before: they are read on without a pause. One that is assigned already is begun anew.
    pub async fn assign_more(
        &mut self,
        partitions: &[(TopicPartition, StartOffset)],
    ) -> Result<()> {
        self.assign_to(partitions, false).await
    }

    async fn assign_to(
        &mut self,
        partitions: &[(TopicPartition, StartOffset)],
        instead: bool,
    ) -> Result<()> {
        let context = self.context().clone();
        let deadline = context.deadline();
        for (partition, start) in partitions {
            match start {
                StartOffset::Committed => {
                    context.group_id()?;
                }
                StartOffset::Offset(offset) => check_offset(partition, *offset)?,
                _ => {}
            }
            let topic = context.cluster.topic(&partition.topic, deadline).await?;
            let exists = usize::try_from(partition.partition)
                .is_ok_and(|index| index < topic.partitions.len());
            if !exists {
                return Err(unknown_partition(partition));
            }
        }
        let mut state = context.state();
        match &state.source {
            Source::Nothing | Source::Left | Source::Assigned => state.source = Source::Assigned,
            Source::Subscribed(_) => return Err(in_the_way("topics are subscribed to")),
            Source::Closed => return Err(closed()),
        }
        match instead {
            true => state.clear(),
            false => state.remove(&partitions.iter().map(|(partition, _)| partition).collect()),
        }
        for (partition, start) in partitions {
            state.positions.start(partition.clone(), *start);
        }
        drop(state);
        let assigned = partitions.iter();
        context
            .cluster
            .track(assigned.map(|(partition, _)| &*partition.topic));
        context.wake_all();
        Ok(())
    }

    /// Lets go of these partitions, which were assigned by hand; the others are read on without a pause. What polls have returned of them counts
    /// as finished, and is committed where `enable_auto_commit` says so. Those that are not assigned are passed over.
    pub fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let gone = partitions.iter().collect();
        match &self.context().state().source {
            Source::Nothing | Source::Left | Source::Assigned => {}
            Source::Subscribed(_) => return Err(in_the_way("topics are subscribed to")),
            Source::Closed => return Err(closed()),
        }
        if self.context().config.enable_auto_commit {
            // Handed in now: it is of what is held now. One that fails shows with the observer.
            drop(self.handle.commit_positions()?);
        }
        (self.reading).take_if(|reading| partitions.contains(&reading.partition));
        self.context().state().remove(&gone);
        let context = self.context();
        let held = self.assignment();
        let is_read = |topic: &&str| held.iter().any(|it| *it.topic == **topic);
        let topics = partitions.iter().map(|partition| &*partition.topic);
        context
            .cluster
            .untrack(topics.filter(|topic| !is_read(topic)));
        context.wake_all();
        Ok(())
    }

    /// Lets go of all partitions; leaves the group, if in one. What polls have returned counts as finished, and is committed first where
    /// `enable_auto_commit` says so.
    ///
    /// Dropping the future before it is done may leave everything as it was, to be let go of by the next call.
    pub async fn unsubscribe(&mut self) -> Result<()> {
        let committed = self.commit_finished(self.context().deadline()).await;
        self.prepare_to_leave().await;
        self.leave().await;
        committed
    }

    /// Returns the next records, up to `max_poll_records`; waits up to `timeout` for the first one, and returns none when none comes.
    ///
    /// This is also where rebalances happen, and what keeps the member in its group: call it at least every `max_poll_interval`. Calling it
    /// says that everything it returned before is finished, which is what an automatic commit goes by.
    ///
    /// # Errors
    /// A batch that cannot be read ([`ErrorKind::CorruptBatch`]) is an error that names partition and offset, told again every
    /// `retry_backoff_max`: [`seek`](ConsumerHandle::seek) to [`Error::resume_offset`] to go on without it; other partitions go on in the
    /// meantime. So is, where `auto_offset_reset` is `none`, an offset that is out of range or missing, and a topic that was re-created
    /// ([`ErrorKind::TopicRecreated`]). What has been failing for `request_timeout` is an error
    /// as well, though it is tried on. Where [`Error::is_fatal`] says so, the consumer is of no use any more; otherwise poll again.
    ///
    /// Cancel safe: a poll that is dropped has returned nothing, and skips nothing.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Records> {
        self.poll_within(timeout, &AtomicUsize::new(usize::MAX))
            .await
    }

    /// As [`poll`](Self::poll), but returns no more records than it takes to reach `max_bytes` bytes, uncompressed: none if that is 0. What
    /// counts is what it says when there are records; [`ConsumerHandle::wake`] is to be called when it rises.
    pub(crate) async fn poll_within(
        &mut self,
        timeout: Duration,
        max_bytes: &AtomicUsize,
    ) -> Result<Records> {
        let context = self.context().clone();
        let deadline = Instant::now().checked_add(timeout);
        // Each look is a sign of life for the group.
        let look_around = LOOK_AROUND
            .min(context.config.max_poll_interval / 2)
            .min(context.config.client.request_timeout / 20);
        if self.reading.is_none() {
            // Lets the fetchers of a runtime with one thread send their next request before this one's records keep the thread busy.
            tokio::task::yield_now().await;
        }
        loop {
            let mut ready = pin!(context.ready.notified());
            ready.as_mut().enable();
            self.follow_patterns(Instant::now());
            self.take_part_in_rebalance(Instant::now()).await;
            self.tell_of_resets().await;
            let now = Instant::now();
            self.auto_commit(now);
            if let Err(error) = self.check_for_errors(now) {
                self.pause_before(&error, deadline).await;
                return Err(error);
            }
            let records = self.collect(max_bytes.load(Ordering::Relaxed));
            let is_news = !records.is_empty() || records.ends().next().is_some();
            if is_news || deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(records);
            }
            let look_at = now + look_around;
            wait(ready, Some(deadline.map_or(look_at, |at| at.min(look_at)))).await;
            context.counters.waited(now.elapsed());
        }
    }

    /// An error that every poll returns from now on comes with pauses: whoever polls on regardless does not keep a processor busy by it.
    async fn pause_before(&mut self, error: &Error, deadline: Option<Instant>) {
        let lasts = error.is_fatal() || error.kind() == ErrorKind::Config;
        let last = self.failed_at.filter(|_| lasts);
        if let Some(last) = last {
            let until = last + self.context().config.client.retry_backoff;
            sleep_until(deadline.map_or(until, |deadline| deadline.min(until))).await;
        }
        self.failed_at = lasts.then(Instant::now);
    }

    /// Finishes: commits what polls have returned where `enable_auto_commit` says so, waits for commits under way, tells the listener, and
    /// leaves the group, so that its partitions go to others at once. Where nothing else lives on its client, brokers that want to know are told
    /// a last time what was measured.
    ///
    /// Takes up to the request timeout, of which the commit gets half, and the listener what is left of three quarters. The error is that
    /// of the last commit; everything else is done regardless.
    pub async fn close(mut self) -> Result<()> {
        let patience = self.context().config.client.request_timeout;
        let now = Instant::now();
        // None of them takes the time of those after it.
        let committed = self.commit_finished(now + patience / 2).await;
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

    pub(super) fn membership_config(&self, group_id: String) -> MembershipConfig {
        let config = &self.context().config;
        MembershipConfig {
            group_id,
            instance_id: config.group_instance_id.clone(),
            rack: config.client_rack.clone(),
            remote_assignor: config.group_remote_assignor.clone(),
            session_timeout: config.session_timeout,
            heartbeat_interval: config.heartbeat_interval,
            max_poll_interval: config.max_poll_interval,
            request_timeout: config.client.request_timeout,
        }
    }

    pub(super) fn context(&self) -> &Arc<ConsumerContext> {
        &self.handle.context
    }

    /// Tells the observer which positions the client has moved by itself, and where the application falls behind.
    fn tell_observer(&mut self, now: Instant) {
        let context = &self.handle.context;
        let Some(observer) = &context.config.client.observer else {
            return;
        };
        let (resets, all) = context.state().positions.resets_after(self.resets_observed);
        self.resets_observed = all;
        for reset in &resets {
            observer.on_event(&ClientEvent::PositionReset { reset });
        }
        if self.lag_watch.is_due(now) {
            let partitions = self.handle.assignment().into_iter();
            let lags = partitions.filter_map(|partition| {
                let lag = u64::try_from(self.handle.lag(&partition)?).ok()?;
                Some((partition, lag))
            });
            for behind in self.lag_watch.look(now, lags.collect()) {
                observer.on_event(&ClientEvent::FallingBehind {
                    partition: &behind.partition,
                    lag: behind.lag,
                    growth: behind.growth,
                });
            }
        }
    }

    /// Tells the listener which positions the client has moved by itself.
    async fn tell_of_resets(&mut self) {
        self.tell_observer(Instant::now());
        let Some(listener) = &self.listener else {
            return;
        };
        self.resets
            .extend(self.handle.context.state().positions.take_resets());
        if !self.resets.is_empty() {
            listener.reset(&self.handle, &self.resets).await;
            self.resets.clear();
        }
    }

    /// Forgets all partitions, and what was read of them.
    fn forget(&mut self) {
        self.reading = None;
        self.resets.clear();
        self.context().state().clear();
    }

    /// Commits, now and then, what earlier polls returned. Called before anything else is handed out.
    fn auto_commit(&mut self, now: Instant) {
        if !self.context().config.enable_auto_commit || now < self.next_auto_commit {
            return;
        }
        self.next_auto_commit = now + self.context().config.auto_commit_interval;
        // One that fails is made up for by the next.
        drop(self.handle.commit_positions());
    }

    /// Commits everything that polls have returned, if that is to be done automatically, and waits.
    pub(super) async fn commit_finished(&self, deadline: Instant) -> Result<()> {
        if !self.context().config.enable_auto_commit {
            return Ok(());
        }
        let commit = self.handle.commit_positions()?;
        match timeout_at(deadline, commit).await {
            Ok(done) => done,
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                "the automatic commit took too long",
            )),
        }
    }

    /// What this poll must report instead of records.
    fn check_for_errors(&mut self, now: Instant) -> Result<()> {
        let context = self.context();
        context.cluster.tasks().check()?;
        let patience = context.config.client.request_timeout;
        let mut state = context.state();
        let group = match &state.source {
            Source::Nothing | Source::Left => {
                let message =
                    "there is nothing to poll: subscribe to topics or assign partitions first";
                return Err(Error::new(ErrorKind::Config, message));
            }
            Source::Closed => return Err(closed()),
            Source::Assigned => None,
            Source::Subscribed(group) => Some(group.clone()),
        };
        let pause = context.config.client.retry_backoff_max;
        if let Some(error) = state.positions.next_error(now, patience, pause) {
            return Err(error);
        }
        drop(state);
        let failing = group.and_then(|group| group.with(|membership| membership.error(now)));
        match failing.or_else(|| context.cluster.overdue(patience)) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Reads what was fetched, up to `max_poll_records` and until `max_bytes` are reached, or the budget is used up. The position moves with
    /// what is handed out, not before.
    fn collect(&mut self, max_bytes: usize) -> Records {
        let context = self.handle.context.clone();
        let most = context.config.max_poll_records;
        let mut records = Records::default();
        if context.config.commit_source == CommitSource::Acknowledged {
            context.state().release_withheld();
        }
        while records.count() < most && records.bytes() < max_bytes {
            let reading = self.reading.take();
            let Some(reader) = context.state().next_reader(reading) else {
                break;
            };
            let left = (most - records.count(), max_bytes - records.bytes());
            let room = match records.is_empty() {
                true => Room::Alone,
                false => Room::Left,
            };
            match read_on(
                &context,
                reader,
                &mut self.decoder,
                left,
                room,
                &mut records,
            ) {
                ReadOn::More(reader) => self.reading = Some(reader),
                ReadOn::NoRoom(reader) => {
                    self.reading = Some(reader);
                    break;
                }
                ReadOn::Over => {}
            }
        }
        if context.config.enable_partition_eof && max_bytes > 0 {
            records.ended(context.state().positions.take_ends());
        }
        context.counters.read(records.count(), records.bytes());
        records
    }
}

fn in_the_way(what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{what}: unsubscribe first"))
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the consumer was closed")
}
