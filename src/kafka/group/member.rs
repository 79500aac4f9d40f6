//! A member of a group, shared by its task and by polls, whichever protocol it speaks. In: polls, subscriptions, commits that were refused. Out:
//! duties, who commits, errors. Each protocol has a membership that decides, and a task that sends what it wants.

use std::sync::Arc;
use std::time::Duration;

use protocol::{ErrorCode, Request, Uuid};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::classic::assignor::Assignor;
use super::classic::membership::Membership as ClassicMembership;
use super::consumer::membership::Membership as ConsumerMembership;
use super::duty::Duty;
use super::group_metadata::GroupMetadata;
use super::missing_topics::TopicStatus;
use crate::kafka::cluster::{Channel, Cluster, Metadata, Target};
use crate::kafka::net::Connection;
use crate::kafka::runtime::{Mutex, Watcher};
use crate::kafka::{
    Address, Backoff, Error, ErrorKind, GroupProtocol, Random, Result, TopicId, TopicPartition,
};

/// Who the member is and how patient everybody is.
#[derive(Clone, Debug)]
pub(crate) struct MembershipConfig {
    pub group_id: String,
    pub instance_id: Option<String>,
    /// Where this client runs.
    pub rack: Option<String>,
    /// The broker's assignor that is asked for (consumer protocol).
    pub remote_assignor: Option<String>,
    /// What the coordinator is told (classic protocol); in the other the broker says.
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub max_poll_interval: Duration,
    /// For how long requests may fail before the application is told.
    pub request_timeout: Duration,
}

/// What a member wants to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub topics: Vec<String>,
    /// A regular expression that the broker matches with whole names (consumer protocol).
    pub pattern: Option<String>,
}

/// What polls and commits need of a membership.
pub(crate) trait GroupMembership: Send {
    /// The application polled. Whether that makes a stale member rejoin.
    fn polled(&mut self, now: Instant) -> bool;

    /// What a poll has to do next; the same until it is done. Nothing is taken over at a time when the coordinator may have given it to others.
    fn begin_duty(&mut self, now: Instant) -> Option<Duty>;

    /// A poll has done it.
    fn duty_done(&mut self, duty: &Duty, now: Instant);

    /// Whether what the application owns is lost already.
    fn has_lost(&self) -> bool;

    /// The application finishes its work, to leave then: the member keeps its place, and can commit, but one that loses it from now on takes none
    /// again. By then it may be another's, who came with the same instance id.
    fn will_leave(&mut self);

    /// The application gives up what it owns, to leave: until then the member keeps its place, and can commit, whatever the others do.
    fn prepare_to_leave(&mut self);

    /// The topic that `partition` was assigned of, where assignments name topics by their ids.
    fn topic_of(&self, partition: &TopicPartition) -> Option<TopicId>;

    /// Subscribes to something else.
    fn resubscribe(&mut self, wanted: Wanted, now: Instant);

    /// Who commits, or why this member cannot now.
    fn group_metadata(&self) -> Result<GroupMetadata>;

    /// By which member id and epoch committed offsets are asked for, where the coordinator checks that.
    fn fetches_as(&self) -> Option<(String, i32)>;

    /// The coordinator refused a commit of this member.
    fn on_commit_error(&mut self, identity: &GroupMetadata, code: ErrorCode, now: Instant);

    /// What the application must be told: the failure that ended the membership, each time; what has been failing for the request timeout,
    /// and topics that are missing, once each.
    fn error(&mut self, now: Instant) -> Option<Error>;

    /// Wants of polls what another protocol would.
    #[cfg(test)]
    fn post_duty(&mut self, duty: Duty);
}

/// Why a member cannot commit now.
pub(crate) fn not_now(failure: Option<&Error>, has_ended: bool, owns: bool) -> Error {
    let rebalance = |message| Error::new(ErrorKind::Rebalance, message);
    match (failure, has_ended) {
        (Some(failure), true) => failure.clone(),
        (None, true) => Error::new(
            ErrorKind::Closed,
            "the consumer has left its group: nothing can be committed",
        ),
        _ if owns => rebalance("the group is rebalancing: poll, and commit again"),
        _ => rebalance(
            "this member has no partitions of the group now, it is joining or was removed: poll, and commit what is assigned then",
        ),
    }
}

/// One member of a group. Cheap to clone.
#[derive(Clone)]
pub(crate) enum GroupMember {
    Classic(Arc<Member<ClassicMembership>>),
    Consumer(Arc<Member<ConsumerMembership>>),
}

impl GroupMember {
    /// A member of the classic protocol that wants `topics`, assigned by one of the `assignors`; [`GroupMember::run`] makes it join.
    pub fn classic(
        config: MembershipConfig,
        assignors: Vec<Box<dyn Assignor>>,
        cluster: Cluster,
        topics: Vec<String>,
        ready: Arc<Notify>,
    ) -> Self {
        let membership = ClassicMembership::new(config.clone(), assignors, topics, Instant::now());
        Self::Classic(Member::new(config, membership, cluster, ready))
    }

    /// A member of the consumer protocol.
    pub fn consumer(
        config: MembershipConfig,
        cluster: Cluster,
        wanted: Wanted,
        ready: Arc<Notify>,
    ) -> Self {
        let id = member_id(&cluster);
        let membership = ConsumerMembership::new(config.clone(), id, wanted, Instant::now());
        Self::Consumer(Member::new(config, membership, cluster, ready))
    }

    /// Which protocol it speaks.
    pub fn protocol(&self) -> GroupProtocol {
        match self {
            Self::Classic(_) => GroupProtocol::Classic,
            Self::Consumer(_) => GroupProtocol::Consumer,
        }
    }

    /// Does what the membership wants until it has ended.
    pub async fn run(self) {
        match self {
            Self::Classic(member) => member.run().await,
            Self::Consumer(member) => member.run().await,
        }
    }

    /// Leaves for good.
    pub async fn close(&self) {
        match self {
            Self::Classic(member) => member.close().await,
            Self::Consumer(member) => member.close().await,
        }
    }

    /// Reads or changes the membership.
    pub fn with<R>(&self, act: impl FnOnce(&mut dyn GroupMembership) -> R) -> R {
        match self {
            Self::Classic(member) => member.with(|membership| act(membership)),
            Self::Consumer(member) => member.with(|membership| act(membership)),
        }
    }

    /// Changes the membership in a way that its task must know of: wakes it.
    pub fn update<R>(&self, act: impl FnOnce(&mut dyn GroupMembership) -> R) -> R {
        let result = self.with(act);
        match self {
            Self::Classic(member) => member.changed.notify_one(),
            Self::Consumer(member) => member.changed.notify_one(),
        }
        result
    }

    /// The application polled.
    pub fn polled(&self, now: Instant) {
        if self.with(|membership| membership.polled(now)) {
            self.update(|_| ());
        }
    }

    /// A rebalance is under way, from `now` on if it was not before.
    pub fn rebalance_began(&self, now: Instant) {
        self.rebalancing().lock().get_or_insert(now);
    }

    /// What was assigned is taken over. Returns how long the rebalance took.
    pub fn rebalance_over(&self, now: Instant) -> Option<Duration> {
        let began = self.rebalancing().lock().take()?;
        Some(now.saturating_duration_since(began))
    }

    fn rebalancing(&self) -> &Mutex<Option<Instant>> {
        match self {
            Self::Classic(member) => &member.rebalancing,
            Self::Consumer(member) => &member.rebalancing,
        }
    }
}

/// The id that a member makes itself. Several consumers of one client are several members.
pub(super) fn member_id(cluster: &Cluster) -> String {
    let mut random = cluster.random(&format!("member id {}", cluster.user()));
    let bits = [random.next_u64(), random.next_u64()].map(u128::from);
    Uuid::from_u128(bits[0] << 64 | bits[1]).to_string()
}

/// A member whose membership is `M`.
pub(crate) struct Member<M> {
    pub(super) config: MembershipConfig,
    pub(super) cluster: Cluster,
    membership: Mutex<M>,
    /// Wakes the task.
    pub(super) changed: Notify,
    /// Wakes polls.
    pub(super) ready: Arc<Notify>,
    random: Mutex<Random>,
    /// When the rebalance began that is under way.
    rebalancing: Mutex<Option<Instant>>,
}

impl<M> Member<M> {
    pub(super) fn new(
        config: MembershipConfig,
        membership: M,
        cluster: Cluster,
        ready: Arc<Notify>,
    ) -> Arc<Self> {
        Arc::new(Self {
            random: Mutex::new(cluster.random("group")),
            rebalancing: Mutex::default(),
            membership: Mutex::new(membership),
            config,
            cluster,
            changed: Notify::new(),
            ready,
        })
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut M) -> R) -> R {
        act(&mut self.membership.lock())
    }

    pub(crate) fn update<R>(&self, act: impl FnOnce(&mut M) -> R) -> R {
        let result = self.with(act);
        self.changed.notify_one();
        result
    }

    /// A rebalance is under way, from `now` on if it was not before.
    pub(super) fn rebalance_began(&self, now: Instant) {
        self.rebalancing.lock().get_or_insert(now);
    }

    /// Waits until something changes, or until this time.
    pub(super) async fn wait(&self, metadata: &mut Watcher<Arc<Metadata>>, until: Option<Instant>) {
        let passed = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.changed.notified() => {}
            Ok(()) = metadata.changed() => {}
            () = passed => {}
        }
    }

    /// The connection to the coordinator for what may take long there.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Connection> {
        let connected = self
            .cluster
            .connection_to(self.target(), Channel::Coordinator, deadline);
        connected
            .await
            .inspect_err(|_| self.cluster.reroute(self.target()))
    }

    /// Sends it on `connection`. No response, or none that can be read: the next request goes to whoever coordinates then, and does not wait
    /// behind this one.
    pub(super) async fn call<R: Request>(
        &self,
        connection: &Connection,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response> {
        let answer = connection.call(request, deadline).await;
        answer.inspect_err(|_| self.abandon(connection))
    }

    /// Sends a heartbeat to the coordinator, which is `found` before it answers.
    pub(super) async fn beat<R: Request>(
        &self,
        request: &R,
        deadline: Instant,
        found: impl FnOnce(&mut M, i32, &Address),
    ) -> Result<R::Response> {
        let connection = self.connect(deadline).await?;
        let (node, address) = connection.broker();
        self.with(|membership| found(membership, node, address));
        self.call(&connection, request, deadline).await
    }

    /// Tells the coordinator, behind whatever it was told before; what it answers changes nothing.
    pub(super) async fn tell<R: Request + Clone>(&self, request: R) {
        let build = |_| Ok(request.clone());
        let (target, channel) = (self.target(), Channel::Coordinator);
        let asked = (self.cluster).ask(target, channel, i16::MAX, self.deadline(), build);
        let _ = asked.await;
    }

    pub(super) fn abandon(&self, connection: &Connection) {
        connection.retire();
        self.cluster.reroute(self.target());
    }

    /// By when a request that is sent now must be answered.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.config.request_timeout
    }

    pub(super) fn target(&self) -> Target<'_> {
        Target::GroupCoordinator(&self.config.group_id)
    }

    /// Looks for another coordinator when this one says that it is not.
    pub(super) fn note_error(&self, code: ErrorCode) {
        if matches!(
            code,
            ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE
        ) {
            self.cluster.reroute(self.target());
        }
    }

    pub(super) fn pause(&self, attempts: u32) -> Duration {
        self.pause_up_to(attempts, self.cluster.config().retry_backoff_max)
    }

    pub(super) fn pause_up_to(&self, attempts: u32, longest: Duration) -> Duration {
        let first = self.cluster.config().retry_backoff;
        Backoff::pause(first, longest, attempts, &mut self.random.lock())
    }
}

pub(super) fn count_of(metadata: &Metadata, topic: &str) -> Option<usize> {
    if metadata.is_gone(topic) {
        return None;
    }
    Some(metadata.topic(topic)?.partitions.len())
}

pub(super) fn status_of(metadata: &Metadata, topic: &str) -> TopicStatus {
    if metadata.topic(topic).is_some() {
        return TopicStatus::Known;
    }
    match metadata.topic_errors.get(topic) {
        Some(error) => TopicStatus::Missing(*error),
        None => TopicStatus::Unheard,
    }
}
