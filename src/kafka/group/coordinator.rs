//! The task that speaks to the group's coordinator for one member, and the handle that polls speak to it through. In: what the membership
//! wants sent. Out: its answers, given to the membership.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::assignor::{PartitionCounts, Range};
use super::membership::{Action, Membership, MembershipConfig};
use crate::kafka::cluster::{Cluster, CoordinatorKind, Metadata, Purpose};
use crate::kafka::net::Call;
use crate::kafka::{Random, Result};

/// How much longer than the group's members may take to join the answer to a join is waited for.
const JOIN_GRACE: Duration = Duration::from_secs(5);
/// The first version of LeaveGroup that names several members.
const LEAVE_MEMBERS_FROM: i16 = 3;

/// One member of a group, shared by its task and by polls.
pub(crate) struct Group {
    config: MembershipConfig,
    cluster: Cluster,
    membership: Mutex<Membership>,
    /// Wakes the task.
    changed: Notify,
    /// Wakes polls.
    ready: Arc<Notify>,
    random: Mutex<Random>,
}

impl Group {
    /// A member that wants `topics`; [`Group::run`] makes it join.
    pub fn new(
        config: MembershipConfig,
        cluster: Cluster,
        topics: Vec<String>,
        ready: Arc<Notify>,
    ) -> Arc<Self> {
        let membership = Membership::new(config.clone(), Box::new(Range), topics, Instant::now());
        Arc::new(Self {
            random: Mutex::new(cluster.random("group")),
            membership: Mutex::new(membership),
            config,
            cluster,
            changed: Notify::new(),
            ready,
        })
    }

    /// Reads or changes the membership.
    pub fn with<R>(&self, act: impl FnOnce(&mut Membership) -> R) -> R {
        act(&mut self
            .membership
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the membership in a way that its task must know of.
    pub fn tell<R>(&self, act: impl FnOnce(&mut Membership) -> R) -> R {
        let result = self.with(act);
        self.changed.notify_one();
        result
    }

    /// The application polled.
    pub fn polled(&self, now: Instant) {
        if self.with(|membership| membership.polled(now)) {
            self.changed.notify_one();
        }
    }

    /// Does what the membership wants until it is over.
    pub async fn run(self: Arc<Self>) {
        let mut metadata = self.cluster.watch();
        loop {
            let known = metadata.borrow_and_update().clone();
            let now = Instant::now();
            let (forgotten, action) = self.with(|membership| {
                membership.partitions_now(
                    |counts| counts_of(&known, counts.keys().map(|topic| &**topic)),
                    now,
                );
                let leave = membership.leave_if_forgotten(now);
                let action = if leave.is_some() {
                    Action::Wait(Some(now))
                } else {
                    membership.next(now)
                };
                (leave, action)
            });
            if let Some(request) = forgotten {
                self.leave(request).await;
            }
            self.ready.notify_waiters();
            match action {
                Action::Join(request) => self.join(request).await,
                Action::Count(topics) => self.count(topics).await,
                Action::Sync(request) => self.sync(request).await,
                Action::Heartbeat(request) => self.heartbeat(request).await,
                Action::End => break,
                Action::Wait(until) => {
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
        if let Some(request) = self.tell(Membership::leave) {
            self.leave(request).await;
        }
    }

    async fn join(&self, request: JoinGroupRequest) {
        let patience = self.config.max_poll_interval + JOIN_GRACE;
        let answer = self
            .call(&request, Purpose::Coordinator, Instant::now() + patience)
            .await;
        let answer = answer.inspect(|response| self.note(response.error_code));
        self.with(|membership| {
            membership.joined(answer, Instant::now(), |attempts| self.pause(attempts))
        });
    }

    async fn sync(&self, request: SyncGroupRequest) {
        let patience = self.config.max_poll_interval + JOIN_GRACE;
        let answer = self
            .call(&request, Purpose::Coordinator, Instant::now() + patience)
            .await;
        let answer = answer.inspect(|response| self.note(response.error_code));
        self.with(|membership| {
            membership.synced(answer, Instant::now(), |attempts| self.pause(attempts))
        });
    }

    async fn heartbeat(&self, request: HeartbeatRequest) {
        let sent = Instant::now();
        let deadline = self.with(|membership| membership.session_end());
        let answer = self.call(&request, Purpose::Coordinator, deadline).await;
        let now = Instant::now();
        match answer {
            Ok(response) => {
                self.note(response.error_code);
                self.with(|membership| {
                    membership.heartbeat_answered(response.error_code, sent, now)
                });
            }
            Err(error) => {
                self.with(|membership| {
                    membership.heartbeat_failed(error, now, |attempts| self.pause(attempts))
                });
            }
        }
    }

    /// Tells the coordinator; its answer changes nothing. On a connection of another purpose, since a join may be waiting on the usual one.
    async fn leave(&self, mut request: LeaveGroupRequest) {
        let deadline = Instant::now() + self.config.session_timeout;
        let group = &self.config.group_id;
        let left: Result<()> = async {
            let node = self
                .cluster
                .coordinator(CoordinatorKind::Group, group, deadline)
                .await?;
            let connection = self
                .cluster
                .connection(node, Purpose::Other, deadline)
                .await?;
            let version = connection.version_of::<LeaveGroupRequest>()?;
            if version < LEAVE_MEMBERS_FROM {
                request.members.clear();
            } else {
                request.member_id.clear();
            }
            connection
                .call_at(&request, version, deadline)
                .await
                .map(drop)
        }
        .await;
        // One that cannot say goodbye is missed when its session ends.
        drop(left);
    }

    /// Learns the partition counts of the group's topics from metadata that is newer than the join, so that a topic is only left out when it
    /// does not exist.
    async fn count(&self, topics: BTreeSet<String>) {
        self.cluster.track(topics.iter().map(String::as_str));
        let deadline = Instant::now() + self.config.session_timeout.mul_f64(0.5);
        let counts = self
            .cluster
            .refreshed(deadline)
            .await
            .map(|metadata| counts_of(&metadata, topics.iter().map(String::as_str)));
        self.with(|membership| {
            membership.share_out(counts, Instant::now(), |attempts| self.pause(attempts))
        });
    }

    async fn call<R: Call>(
        &self,
        request: &R,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<R::Response> {
        let group = &self.config.group_id;
        let node = self
            .cluster
            .coordinator(CoordinatorKind::Group, group, deadline)
            .await?;
        let answer = self.cluster.call(node, purpose, request, deadline).await;
        answer.inspect_err(|_| self.cluster.coordinator_lost(CoordinatorKind::Group, group))
    }

    /// Looks for another coordinator when this one says it is none.
    fn note(&self, code: ErrorCode) {
        if matches!(
            code,
            ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE
        ) {
            self.cluster
                .coordinator_lost(CoordinatorKind::Group, &self.config.group_id);
        }
    }

    fn pause(&self, attempts: u32) -> Duration {
        let client = self.cluster.config();
        let doubled = client
            .retry_backoff
            .saturating_mul(1 << attempts.saturating_sub(1).min(16));
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.jittered(doubled.min(client.retry_backoff_max))
    }
}

/// The number of partitions of each topic. One that does not exist has none, and is noticed once it does.
fn counts_of<'a>(metadata: &Metadata, topics: impl Iterator<Item = &'a str>) -> PartitionCounts {
    let count_of = |topic: &str| {
        metadata
            .topic(topic)
            .map_or(0, |known| known.partitions.len())
    };
    topics
        .map(|topic| {
            (
                topic.into(),
                i32::try_from(count_of(topic)).unwrap_or(i32::MAX),
            )
        })
        .collect()
}
