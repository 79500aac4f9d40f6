//! The task that talks to the group's coordinator for one member, and the handle through which polls use it. In: the requests that the
//! membership wants sent. Out: the coordinator's responses, handed to the membership.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use protocol::{ErrorCode, Request};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::classic::assignor::{Assignor, GroupTopics, Partitions};
use super::classic::membership::{Action, Membership, MembershipConfig};
use super::classic::response_checks::is_beyond;
use super::missing_topics::TopicStatus;
use crate::kafka::cluster::{Channel, Cluster, CoordinatorKind, Metadata, Target};
use crate::kafka::net::Connection;
use crate::kafka::runtime::Mutex;
use crate::kafka::{Backoff, Error, Random, Result};

/// How much longer than the other members may take to join the response to a join is awaited.
const JOIN_GRACE: Duration = Duration::from_secs(5);
/// The longest pause between two refreshes for topics that do not exist.
const LONGEST_TOPIC_REFRESH_PAUSE: Duration = Duration::from_secs(5);

/// One member of a group, shared by its task and by polls.
pub(crate) struct GroupMember {
    config: MembershipConfig,
    cluster: Cluster,
    membership: Mutex<Membership>,
    /// Wakes the task.
    changed: Notify,
    /// Wakes polls.
    ready: Arc<Notify>,
    random: Mutex<Random>,
    /// When the rebalance began that is under way.
    rebalancing: Mutex<Option<Instant>>,
}

impl GroupMember {
    /// A member that wants `topics`, assigned by one of the `assignors`; [`GroupMember::run`] makes it join.
    pub fn new(
        config: MembershipConfig,
        assignors: Vec<Box<dyn Assignor>>,
        cluster: Cluster,
        topics: Vec<String>,
        ready: Arc<Notify>,
    ) -> Arc<Self> {
        let membership = Membership::new(config.clone(), assignors, topics, Instant::now());
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

    /// Reads or changes the membership.
    pub fn with<R>(&self, act: impl FnOnce(&mut Membership) -> R) -> R {
        act(&mut self.membership.lock())
    }

    /// Changes the membership in a way that its task must know of: wakes it.
    pub fn update<R>(&self, act: impl FnOnce(&mut Membership) -> R) -> R {
        let result = self.with(act);
        self.changed.notify_one();
        result
    }

    /// A rebalance is under way, from `now` on if it was not before.
    pub fn rebalance_began(&self, now: Instant) {
        self.rebalancing.lock().get_or_insert(now);
    }

    /// What was assigned is taken over. Returns how long the rebalance took.
    pub fn rebalance_over(&self, now: Instant) -> Option<Duration> {
        let began = self.rebalancing.lock().take()?;
        Some(now.saturating_duration_since(began))
    }

    /// The application polled.
    pub fn polled(&self, now: Instant) {
        if self.with(|membership| membership.polled(now)) {
            self.changed.notify_one();
        }
    }

    /// Does what the membership wants until it has ended.
    pub async fn run(self: Arc<Self>) {
        let mut metadata = self.cluster.watch();
        loop {
            let known = metadata.borrow_and_update().clone();
            let now = Instant::now();
            let (stale, action, next_refresh) = self.with(|membership| {
                membership.on_topics(
                    |topics| {
                        let with_racks = topics.values().any(|topic| !topic.racks.is_empty());
                        topics_of(&known, topics.keys().map(|topic| &**topic), with_racks)
                    },
                    now,
                );
                membership.on_topic_status(
                    |topic| status_of(&known, topic),
                    now,
                    |refreshes| self.pause_up_to(refreshes, LONGEST_TOPIC_REFRESH_PAUSE),
                );
                if membership.refresh_due(now) {
                    self.cluster.refresh();
                }
                let leave = membership.leave_if_stale(now);
                let action = if leave.is_some() {
                    Action::Wait(Some(now))
                } else {
                    membership.next_action(now)
                };
                (leave, action, membership.next_refresh())
            });
            if let Some(request) = stale {
                self.leave_until_polled(request).await;
            }
            self.ready.notify_waiters();
            match action {
                Action::Join(request) => self.join(request).await,
                Action::DescribeTopics { topics, with_racks } => {
                    self.describe_topics(topics, with_racks).await;
                }
                Action::Sync(request) => self.sync(request).await,
                Action::Heartbeat(request) => self.heartbeat(request).await,
                Action::End => break,
                Action::Wait(until) => {
                    let until = until.into_iter().chain(next_refresh).min();
                    let sleep = pin!(async {
                        match until {
                            Some(until) => sleep_until(until).await,
                            None => std::future::pending().await,
                        }
                    });
                    tokio::select! {
                        biased;
                        () = self.changed.notified() => {}
                        Ok(()) = metadata.changed() => {}
                        () = sleep => {}
                    }
                }
            }
        }
        self.ready.notify_waiters();
    }

    /// Leaves for good. A static member, or one that never joined, just ends.
    pub async fn close(&self) {
        if let Some(request) = self.update(Membership::leave) {
            self.leave(request).await;
        }
    }

    /// Only a join may take as long as the group's other members do; meanwhile the coordinator is asked whether it is still there.
    async fn join(&self, request: JoinGroupRequest) {
        self.rebalance_began(Instant::now());
        let connected = self.deadline();
        let answer = async {
            let connection = self.connect(connected).await?;
            let patience = self.config.max_poll_interval + JOIN_GRACE;
            // What the broker's throttle holds back here waits for nobody else: it fails, and is tried again, like any other request.
            let deadline = match connection.throttled_until() {
                Some(until) if until > connected => connected,
                _ => connected.max(Instant::now() + patience),
            };
            let answer = tokio::select! {
                biased;
                answer = connection.call(&request, deadline) => answer,
                error = self.watch_coordinator(connection.broker().0) => Err(error),
            };
            answer.inspect_err(|_| self.abandon(&connection))
        };
        let answer = answer
            .await
            .inspect(|response| self.note_error(response.error_code));
        self.with(|membership| {
            membership.on_join_response(answer, Instant::now(), |attempts| self.pause(attempts))
        });
    }

    /// Asks the coordinator now and then whether it still is one, on another connection than the one on which a join waits. Returns when it
    /// does not respond, or names another.
    async fn watch_coordinator(&self, node: i32) -> Error {
        let patience = self.config.request_timeout;
        loop {
            sleep(patience / 2).await;
            let deadline = Instant::now() + patience / 4;
            let group = &self.config.group_id;
            let confirmed =
                self.cluster
                    .is_coordinator(node, CoordinatorKind::Group, group, deadline);
            match confirmed.await {
                Ok(()) => self.with(|membership| membership.on_coordinator_alive(Instant::now())),
                Err(error) => return error,
            }
        }
    }

    async fn sync(&self, request: SyncGroupRequest) {
        let answer = self.call(&request, self.deadline()).await;
        let answer = answer.inspect(|response| self.note_error(response.error_code));
        let assigned = answer.as_ref().map(Membership::assigned_by);
        let known = match &assigned {
            Ok(assigned) => {
                let known = self.cluster.metadata();
                match assigned
                    .iter()
                    .any(|partition| is_beyond(partition, |topic| count_of(&known, topic)))
                {
                    // The leader's metadata may be newer.
                    true => self.fresh_metadata().await.ok(),
                    false => Some(known),
                }
            }
            Err(_) => None,
        };
        self.with(|membership| {
            membership.on_sync_response(
                answer,
                |topic| count_of(known.as_ref()?, topic),
                Instant::now(),
                |attempts| self.pause(attempts),
            )
        });
    }

    async fn heartbeat(&self, request: HeartbeatRequest) {
        let sent = Instant::now();
        let deadline = self.with(|membership| membership.heartbeat_deadline(sent));
        let answer = self.call(&request, deadline).await;
        let now = Instant::now();
        let pause = |attempts| self.pause(attempts);
        match answer {
            Ok(response) => {
                self.note_error(response.error_code);
                self.with(|membership| {
                    membership.on_heartbeat_response(response.error_code, sent, now, pause)
                });
            }
            Err(error) => {
                self.with(|membership| membership.heartbeat_failed(error, now, pause));
            }
        }
    }

    /// As [`leave`](Self::leave), but no longer than the application stays away.
    async fn leave_until_polled(&self, request: LeaveGroupRequest) {
        let woken = async {
            while self.with(|membership| membership.is_stale()) {
                self.changed.notified().await;
            }
        };
        tokio::select! {
            biased;
            () = self.leave(request) => {}
            () = woken => {}
        }
    }

    /// Tells the coordinator; its response changes nothing. On a connection of another purpose, since a join may be waiting on the usual one.
    async fn leave(&self, request: LeaveGroupRequest) {
        let build = |version| {
            let mut request = request.clone();
            match version < LeaveGroupRequest::MEMBERS_FROM {
                true => request.members.clear(),
                false => request.member_id.clear(),
            }
            Ok(request)
        };
        let deadline = self.deadline();
        let asked = self
            .cluster
            .ask(self.target(), Channel::Shared, i16::MAX, deadline, build);
        // A member whose leave request is lost is removed when its session expires.
        let _ = asked.await;
    }

    /// Learns the partition counts of the group's topics from metadata that is newer than the join, so that a topic is only left out when it
    /// does not exist.
    async fn describe_topics(&self, topics: BTreeSet<String>, with_racks: bool) {
        self.cluster.track(topics.iter().map(String::as_str));
        let metadata = self.fresh_metadata().await;
        let described = metadata
            .map(|metadata| topics_of(&metadata, topics.iter().map(String::as_str), with_racks));
        self.with(|membership| {
            membership.assign(described, Instant::now(), |attempts| self.pause(attempts))
        });
    }

    /// Metadata from after this call, within the session that has just begun.
    async fn fresh_metadata(&self) -> Result<Arc<Metadata>> {
        let patience = self.config.session_timeout / 2;
        let deadline = self.deadline().min(Instant::now() + patience);
        self.cluster.refreshed(deadline).await
    }

    /// By when a request that is sent now must be answered.
    fn deadline(&self) -> Instant {
        Instant::now() + self.config.request_timeout
    }

    async fn call<R: Request>(&self, request: &R, deadline: Instant) -> Result<R::Response> {
        let connection = self.connect(deadline).await?;
        let answer = connection.call(request, deadline).await;
        answer.inspect_err(|_| self.abandon(&connection))
    }

    /// The connection to the coordinator for what may take long there.
    async fn connect(&self, deadline: Instant) -> Result<Connection> {
        let connected = self
            .cluster
            .connection_to(self.target(), Channel::Coordinator, deadline);
        let connection = connected
            .await
            .inspect_err(|_| self.cluster.reroute(self.target()))?;
        let (node, address) = connection.broker();
        self.with(|membership| membership.set_coordinator(node, address));
        Ok(connection)
    }

    /// No response came, or none that can be read: the next request goes to whoever coordinates then, and does not wait behind this one.
    fn abandon(&self, connection: &Connection) {
        connection.retire();
        self.cluster.reroute(self.target());
    }

    fn target(&self) -> Target<'_> {
        Target::GroupCoordinator(&self.config.group_id)
    }

    /// Looks for another coordinator when this one says that it is not.
    fn note_error(&self, code: ErrorCode) {
        if matches!(
            code,
            ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE
        ) {
            self.cluster.reroute(self.target());
        }
    }

    fn pause(&self, attempts: u32) -> Duration {
        self.pause_up_to(attempts, self.cluster.config().retry_backoff_max)
    }

    fn pause_up_to(&self, attempts: u32, longest: Duration) -> Duration {
        let first = self.cluster.config().retry_backoff;
        Backoff::pause(first, longest, attempts, &mut self.random.lock())
    }
}

/// The partitions of each topic. One that does not exist has none, and is noticed once it does.
fn topics_of<'a>(
    metadata: &Metadata,
    topics: impl Iterator<Item = &'a str>,
    with_racks: bool,
) -> GroupTopics {
    let rack_of = |broker: &i32| metadata.brokers.get(broker)?.rack.clone();
    let partitions_of = |name: &str| {
        let count = count_of(metadata, name).unwrap_or(0);
        let described = metadata.topic(name).filter(|_| with_racks && count > 0);
        let described = described.into_iter().flat_map(|topic| &topic.partitions);
        Partitions {
            count: i32::try_from(count).unwrap_or(i32::MAX),
            racks: described
                .map(|partition| partition.replicas.iter().filter_map(rack_of).collect())
                .collect(),
        }
    };
    topics
        .map(|name| (name.into(), partitions_of(name)))
        .collect()
}

fn count_of(metadata: &Metadata, topic: &str) -> Option<usize> {
    if metadata.is_gone(topic) {
        return None;
    }
    Some(metadata.topic(topic)?.partitions.len())
}

fn status_of(metadata: &Metadata, topic: &str) -> TopicStatus {
    if metadata.topic(topic).is_some() {
        return TopicStatus::Known;
    }
    match metadata.topic_errors.get(topic) {
        Some(error) => TopicStatus::Missing(*error),
        None => TopicStatus::Unheard,
    }
}
