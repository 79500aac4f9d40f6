//! The share consumer that an application polls, and acknowledges with.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::acquired::Then;
use super::config::{AcknowledgementMode, ShareConsumerConfig};
use super::leaders;
use super::ledger::{ACCEPT, REJECT, RELEASE, RENEW};
use super::metrics::ShareConsumerMetrics;
use super::records::{Acquisition, ShareRecords};
use super::state::{ShareContext, Source};
use super::ticket::{AcknowledgementResults, PendingAcknowledgements, Ticket};
use crate::kafka::cluster::Cluster;
use crate::kafka::consumer::fetch::batch_reader::{BatchDecoder, Room};
use crate::kafka::consumer::fetch::memory::ExcessOf;
use crate::kafka::consumer::wait::wait;
use crate::kafka::group::member::{Member, MembershipConfig};
use crate::kafka::model::TopicPattern;
use crate::kafka::model::names::check_topic;
use crate::kafka::runtime::{Excess, after};
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// How often, at least, a waiting poll looks whether something has been going wrong for too long.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// For how many times its lock a record counts as held that nobody acknowledges: the brokers' clocks are not ours.
const KEPT_FOR: u32 = 3;

/// What becomes of a record that is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcknowledgeType {
    /// It was processed: nobody gets it again.
    Accept,
    /// It was not: it is delivered again, to any member, unless it has been delivered as often as the group allows
    /// (`share.delivery.count.limit`, 5 by default).
    Release,
    /// It cannot be processed: nobody gets it again.
    Reject,
    /// It is still being processed: its acquisition lock begins anew, and it has to be acknowledged another time (KIP-1222, Kafka 4.2 and later).
    Renew,
}

impl AcknowledgeType {
    fn kind(self) -> i8 {
        match self {
            Self::Accept => ACCEPT,
            Self::Release => RELEASE,
            Self::Reject => REJECT,
            Self::Renew => RENEW,
        }
    }
}

/// Reads the records of a share group (KIP-932): a queue. Several members read the same partition, each record is locked for the one that
/// acquired it, and acknowledged by itself; what is not acknowledged in time is delivered again, to any of them. There are no offsets to commit,
/// and no order between members.
///
/// In [implicit](AcknowledgementMode::Implicit) mode the next poll, or a commit, accepts what the last poll returned. In
/// [explicit](AcknowledgementMode::Explicit) mode each record is [acknowledged](Self::acknowledge), in any order; unlike Java's client, a poll
/// does not insist that all of the last one are. Acknowledgements go to the brokers with the next poll or commit.
///
/// A share group begins at the end of its topics, unless the group's configuration `share.auto.offset.reset` says otherwise.
///
/// Dropping it ends all of its work at once: what it holds is delivered again, at the latest when the locks time out. See
/// [`close`](Self::close).
///
/// ```no_run
/// # async fn example() -> pat_events::kafka::Result<()> {
/// use pat_events::kafka::{AcknowledgeType, AcknowledgementMode};
/// use pat_events::kafka::{ShareConsumer, ShareConsumerConfig};
/// use std::time::Duration;
///
/// let mut config = ShareConsumerConfig::new("localhost:9092", "mailers");
/// config.acknowledgement_mode = AcknowledgementMode::Explicit;
/// let mut consumer = ShareConsumer::connect(config).await?;
/// consumer.subscribe(&["emails"]).await?;
/// loop {
///     let records = consumer.poll(Duration::from_millis(500)).await?;
///     for record in &records {
///         let done = match record.value {
///             Some(_) => AcknowledgeType::Accept,
///             None => AcknowledgeType::Reject,
///         };
///         consumer.acknowledge(&record, done)?;
///     }
/// }
/// # }
/// ```
pub struct ShareConsumer {
    context: Arc<ShareContext>,
    decoder: BatchDecoder,
    excess: ExcessOf,
}

impl fmt::Debug for ShareConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareConsumer")
            .field("group_id", &self.context.config.group_id)
            .finish_non_exhaustive()
    }
}

impl Drop for ShareConsumer {
    fn drop(&mut self) {
        self.context.stop();
        *self.context.source() = Source::Closed;
    }
}

/// Polls wait for records as long as this lives.
struct Hungry<'a>(&'a ShareContext);

impl<'a> Hungry<'a> {
    fn new(context: &'a ShareContext) -> Self {
        context.work().set_hungry(true, context.config.acquire_mode);
        Self(context)
    }
}

impl Drop for Hungry<'_> {
    fn drop(&mut self) {
        self.0.work().set_hungry(false, self.0.config.acquire_mode);
    }
}

impl ShareConsumer {
    /// Finds the cluster. Fails by the request timeout with an error that names each address and why.
    pub async fn connect(config: ShareConsumerConfig) -> Result<Self> {
        config.validate()?;
        let deadline = Instant::now() + config.client.request_timeout;
        let cluster = Cluster::connect(&config.client, deadline).await?;
        Ok(Self::start(config, cluster))
    }

    /// A share consumer of `cluster`; nothing is sent yet.
    pub(crate) fn start(config: ShareConsumerConfig, cluster: Cluster) -> Self {
        let context = ShareContext::new(config, cluster);
        context.spawn("share leaders", leaders::run(context.clone()));
        Self {
            decoder: context.decoder(),
            excess: ExcessOf::default(),
            context,
        }
    }

    /// Joins the share group to read these topics, by name. Subscribing again replaces the topics; what is held of others is acknowledged all the
    /// same.
    ///
    /// A topic that does not exist holds up no other: it is read once it exists, and [`poll`](Self::poll) returns an error that names it, once. Fails
    /// at once when no topic can have such a name; share groups have no patterns. Waits for nothing.
    pub async fn subscribe(&mut self, topics: &[&str]) -> Result<()> {
        for topic in topics {
            if TopicPattern::is_meant(topic) {
                let message = "share groups subscribe to topics by name: the brokers match no patterns for them";
                return Err(Error::new(ErrorKind::Config, message).topic(*topic));
            }
            check_topic(topic)?;
        }
        let context = &self.context;
        context.check_open()?;
        context.cluster.track(topics.iter().copied());
        let topics: Vec<String> = topics.iter().map(|topic| topic.to_string()).collect();
        let mut source = context.source();
        match &*source {
            Source::Subscribed(member) => member.update(|it| it.resubscribe(topics)),
            Source::Closed => return Err(closed()),
            Source::Nothing => {
                let config = self.membership_config();
                let (cluster, ready) = (context.cluster.clone(), context.ready.clone());
                let member = Member::share(config, cluster, topics, ready);
                context.spawn("share group member", member.clone().run());
                *source = Source::Subscribed(member);
            }
        }
        Ok(())
    }

    fn membership_config(&self) -> MembershipConfig {
        let config = &self.context.config;
        MembershipConfig {
            group_id: config.group_id.clone().unwrap_or_default(),
            instance_id: None,
            rack: config.client_rack.clone(),
            remote_assignor: None,
            session_timeout: Duration::ZERO,
            heartbeat_interval: Duration::ZERO,
            max_poll_interval: config.max_poll_interval,
            request_timeout: config.client.request_timeout,
        }
    }

    /// Returns the next records that this member has acquired, up to `max_poll_records`; waits up to `timeout` for the first one, and returns none
    /// when none comes.
    ///
    /// What was acknowledged before goes to the brokers along with it; in implicit mode all that the last poll returned is accepted first. Brokers
    /// acquire nothing for this member while no poll waits. It is also what keeps the member in its group: call it at least every
    /// `max_poll_interval`.
    ///
    /// # Errors
    /// A batch that cannot be read, or that was acquired and did not come, is an error that names partition and offset, once; its records are
    /// released, and delivered again until the group's limit. What has been failing for `request_timeout` is an error as well, though it is tried on; so is, sooner, what only a person
    /// can change: brokers without share groups ([`ErrorKind::UnsupportedVersion`]), or rights that the client lacks.
    ///
    /// Cancel safe: what a poll that is dropped has acquired is returned by the next one.
    pub async fn poll(&mut self, timeout: Duration) -> Result<ShareRecords> {
        let context = self.context.clone();
        let deadline = after(timeout);
        context.poll_began();
        let look_around = (LOOK_AROUND.min(context.config.max_poll_interval / 2))
            .min(context.config.client.request_timeout / 20);
        let mut granted = None;
        loop {
            let mut ready = pin!(context.ready.notified());
            let mut freed = pin!(context.budget.freed());
            ready.as_mut().enable();
            freed.as_mut().enable();
            let now = Instant::now();
            let collected = self.check_for_errors(now);
            let collected = collected.and_then(|()| self.collect(now, granted.take()));
            let (collected, no_room) = match collected {
                Ok((records, no_room)) => (Ok(records), no_room),
                Err(error) => (Err(error), false),
            };
            if let Ok(records) = &collected {
                context.counters.read(records.count(), records.bytes());
            }
            if !matches!(&collected, Ok(records) if records.is_empty()) {
                // What was acknowledged goes by itself.
                let mut work = context.work();
                work.set_sated();
                work.wake_all();
                drop(work);
                return collected;
            }
            let _hungry = Hungry::new(&context);
            if now >= deadline {
                return collected;
            }
            let woken = async {
                tokio::select! {
                    biased;
                    excess = context.budget.excess(), if no_room => Some(excess),
                    () = ready => None,
                    () = freed, if no_room => None,
                }
            };
            let look_at = deadline.min(now + look_around);
            granted = timeout_at(look_at, woken).await.unwrap_or_default();
        }
    }

    /// What this poll must report instead of records.
    fn check_for_errors(&self, now: Instant) -> Result<()> {
        let context = &self.context;
        context.check_open()?;
        let Some(member) = context.member() else {
            let message = "there is nothing to poll: subscribe to topics first";
            return Err(Error::new(ErrorKind::Config, message));
        };
        member.polled();
        let patience = context.config.client.request_timeout;
        let error = context.work().next_error();
        let error = error.or_else(|| member.with(|it| it.error(now)));
        match error.or_else(|| context.cluster.overdue(patience)) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Reads what was acquired, up to `max_poll_records`, or until the budget is used up. A record is held from here on. Also whether there is
    /// something and no room for any of it; what is `granted` is the right to more.
    fn collect(
        &mut self,
        now: Instant,
        mut granted: Option<Arc<Excess>>,
    ) -> Result<(ShareRecords, bool)> {
        let context = &self.context;
        let most = context.config.max_poll_records;
        let mut records = ShareRecords::default();
        let kept_for = context.lock_timeout().unwrap_or_default();
        let kept_for = kept_for.saturating_mul(KEPT_FOR - 1);
        while records.count() < most {
            let Some(mut reader) = context.work().next_buffered() else {
                break;
            };
            if reader.expires <= now {
                // Others have it by now.
                context.work().read_on(None);
                continue;
            }
            let left = most - records.count();
            let mut read = reader.read(left, usize::MAX, Room::Left, &mut self.decoder);
            if let (Then::NoRoom, true) = (&read.then, records.is_empty()) {
                let Some(excess) = self.excess.take(granted.take(), &context.budget) else {
                    context.work().read_on(Some(reader));
                    return Ok((records, true));
                };
                let room = Room::Alone(&excess);
                read = reader.read(left, usize::MAX, room, &mut self.decoder);
            }
            let partition = reader.partition().clone();
            let mut work = context.work();
            let node = reader.place.0;
            let pause = |times| context.pause(times);
            match (&read.then, &read.records) {
                (Then::Unreadable(_), _) => work.was_read(node, now, Some(pause)),
                (_, Some(_)) => {
                    work.was_read(node, now, None::<fn(u32) -> Duration>);
                    work.accepted(reader.place, true);
                }
                _ => {}
            }
            work.ledger.pass(reader.place, &partition, read.passed);
            if let Some(batch) = read.records {
                for record in batch.records.records().flatten() {
                    let expires = reader.expires + kept_for;
                    work.ledger
                        .hand_out(reader.place, &partition, record.offset, expires);
                }
                records.push(reader.place, reader.acquired.clone(), batch);
            }
            match read.then {
                Then::More => work.read_on(Some(reader)),
                Then::Over => work.read_on(None),
                Then::NoRoom => {
                    work.read_on(Some(reader));
                    break;
                }
                Then::Unreadable(error) => {
                    work.read_on(Some(reader));
                    match records.is_empty() {
                        true => return Err(error),
                        false => work.report(error),
                    }
                    break;
                }
            }
        }
        Ok((records, false))
    }

    /// Decides what becomes of a record, which this member holds: `record` is one of a poll, or its [`Acquisition`]. The brokers hear of it with the
    /// next poll or commit.
    ///
    /// Fails in implicit mode, and with [`ErrorKind::Rebalance`] when the record is not held any more: because it was acknowledged already, or not in
    /// time. What is renewed is held on, and acknowledged again later.
    pub fn acknowledge(&self, record: impl Into<Acquisition>, what: AcknowledgeType) -> Result<()> {
        let context = &self.context;
        context.check_open()?;
        if context.config.acknowledgement_mode == AcknowledgementMode::Implicit {
            let message = "polls accept what the last one returned: set share.acknowledgement.mode to explicit to acknowledge records one by one";
            return Err(Error::new(ErrorKind::Config, message));
        }
        let record = record.into();
        let (place, offset) = (record.place, record.offset());
        let is_held = {
            let mut work = context.work();
            let is_held = work.ledger.acknowledge(place, offset, what.kind());
            if is_held && what == AcknowledgeType::Renew {
                let kept_for = context.lock_timeout().unwrap_or_default();
                let expires = Instant::now() + kept_for.saturating_mul(KEPT_FOR);
                work.ledger.keep(place, offset, expires);
            }
            is_held
        };
        match is_held {
            true => Ok(()),
            false => {
                let TopicPartition { topic, partition } = record.topic_partition();
                let message = "the record is not held: it was acknowledged already, or its acquisition lock has timed out";
                Err(Error::new(ErrorKind::Rebalance, message)
                    .topic_partition(topic.clone(), *partition)
                    .offset(offset, None))
            }
        }
    }

    /// Sends what was acknowledged since the last poll or commit, in implicit mode all that the last poll returned as accepted, and waits for the
    /// results, also of what was under way before: an entry for each partition of which there was something.
    ///
    /// Takes up to the request timeout for each broker, and waits behind a fetch under way ([`fetch_max_wait`](ShareConsumerConfig::fetch_max_wait)).
    /// Fails as a whole only when the consumer is closed or has failed. Cancel safe in that what was sent stays so.
    pub async fn commit_sync(&mut self) -> Result<AcknowledgementResults> {
        self.commit_async()?.await
    }

    /// As [`commit_sync`](Self::commit_sync), without waiting: what it returns resolves to the results.
    pub fn commit_async(&mut self) -> Result<PendingAcknowledgements> {
        self.context.check_open()?;
        Ok(self.context.commit())
    }

    /// For how long records are locked for the member that acquires them, as brokers said last: `None` before the first fetch.
    pub fn acquisition_lock_timeout(&self) -> Option<Duration> {
        self.context.lock_timeout()
    }

    /// Keeps the member in its group as a poll does, where none is due.
    pub(crate) fn keep_place(&self) {
        if let Some(member) = self.context.member() {
            member.polled();
        }
    }

    /// The partitions that the group has assigned to this member, as far as their leaders are known. Others may have the same.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        let work = self.context.work();
        let led = work.leaders.values();
        led.flat_map(|led| led.values().cloned()).collect()
    }

    /// What was done so far, and what is held now. The client's [`metrics`](crate::kafka::ClientConfig::metrics) have it as well.
    pub fn metrics(&self) -> ShareConsumerMetrics {
        let context = &self.context;
        ShareConsumerMetrics {
            bytes_held: context.budget.used(),
            brokers: context.cluster.broker_metrics(),
            ..context.counters.metrics()
        }
    }

    /// Finishes within `timeout`: sends what was acknowledged, releases everything else that this member holds, so that others get it at once, and
    /// leaves the group. In implicit mode, what no poll or commit has followed is released.
    ///
    /// Fails with [`ErrorKind::Timeout`] when the time was not enough, with the first error of what was acknowledged otherwise. Everything else is
    /// done regardless.
    pub async fn close(self, timeout: Duration) -> Result<()> {
        let deadline = after(timeout);
        let released = timeout_at(deadline, self.release()).await;
        let left = timeout_at(deadline, async {
            if let Some(member) = self.context.member() {
                member.close().await;
            }
        });
        let left = left.await;
        let rest = deadline.saturating_duration_since(Instant::now());
        self.context.cluster.finish(rest).await;
        let late = |_| {
            Error::new(
                ErrorKind::Timeout,
                "closing the share consumer took too long",
            )
        };
        let results = released.map_err(late)??;
        left.map_err(late)?;
        results.into_values().collect()
    }

    /// Sends what was decided, and closes every session.
    async fn release(&self) -> Result<AcknowledgementResults> {
        let context = &self.context;
        let pending = {
            let (ticket, pending) = Ticket::new(context.cluster.tasks());
            let mut work = context.work();
            work.buffers.clear();
            work.ledger.let_go();
            work.ledger.flush(Some(&ticket));
            work.is_leaving = true;
            work.leaders.clear();
            work.wake_all();
            drop(work);
            ticket.complete();
            pending
        };
        context.ready.notify_waiters();
        let results = pending.await?;
        loop {
            let mut ready = pin!(context.ready.notified());
            ready.as_mut().enable();
            if context.work().nodes.is_empty() {
                return Ok(results);
            }
            context.cluster.tasks().check()?;
            wait(ready, Some(Instant::now() + LOOK_AROUND)).await;
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the share consumer was closed")
}
