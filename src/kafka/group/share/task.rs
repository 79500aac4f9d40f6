//! The task that talks to the coordinator for a member of a share group. In: the heartbeats that the membership wants sent, and the topics that
//! it does not know. Out: responses, handed to the membership; the names of topics, tracked from then on.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::Uuid;
use protocol::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::membership::{Action, ShareMembership};
use crate::kafka::Result;
use crate::kafka::cluster::{Channel, Cluster, Metadata};
use crate::kafka::group::find_topics::{LONGEST_TOPIC_REFRESH_PAUSE, find_topics};
use crate::kafka::group::member::{Member, MembershipConfig, member_id, status_of};

impl Member<ShareMembership> {
    /// A member that wants `topics`; [`run`](Self::run) makes it join.
    pub(crate) fn share(
        config: MembershipConfig,
        cluster: Cluster,
        topics: Vec<String>,
        ready: Arc<Notify>,
    ) -> Arc<Self> {
        let id = member_id(&cluster);
        let membership = ShareMembership::new(config.clone(), id, topics, Instant::now());
        Self::new(config, membership, cluster, ready)
    }

    /// The application polled.
    pub(crate) fn polled(&self) {
        if self.with(|membership| membership.polled(Instant::now())) {
            self.update(|_| ());
        }
    }

    /// Does what the membership wants until it has ended.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut metadata = self.cluster.watch();
        let mut known = metadata.borrow_and_update().clone();
        let mut topics = sizes_of(&known);
        loop {
            let newest = metadata.borrow_and_update().clone();
            if !Arc::ptr_eq(&known, &newest) {
                topics = sizes_of(&newest);
                known = newest;
            }
            let now = Instant::now();
            let (stale, action, next_refresh) = self.with(|membership| {
                membership.on_metadata(
                    |(id, index)| {
                        let size = topics.get(id).copied().unwrap_or_default();
                        usize::try_from(*index).is_ok_and(|index| index < size)
                    },
                    |topic| status_of(&known, topic),
                    now,
                    |attempts| self.pause_up_to(attempts, LONGEST_TOPIC_REFRESH_PAUSE),
                );
                if membership.refresh_due(now) {
                    self.cluster.refresh();
                }
                let leave = membership.leave_if_stale(now);
                let action = match &leave {
                    Some(_) => Action::Wait(Some(now)),
                    None => membership.next_action(now),
                };
                (leave, action, membership.next_refresh())
            });
            if let Some(request) = stale {
                let is_stale = |membership: &ShareMembership| membership.is_stale();
                self.while_so(is_stale, self.leave(request)).await;
            }
            self.ready.notify_waiters();
            match action {
                Action::Heartbeat(request) => self.heartbeat(request).await,
                Action::FindTopics(ids) => {
                    find_topics(&self.cluster, &ids, self.config.request_timeout).await;
                }
                Action::End => break,
                Action::Wait(until) => {
                    let until = until.into_iter().chain(next_refresh).min();
                    self.wait(&mut metadata, until).await;
                }
            }
        }
        self.ready.notify_waiters();
    }

    /// Leaves for good.
    pub(crate) async fn close(&self) {
        if let Some(request) = self.update(ShareMembership::leave) {
            self.leave(request).await;
        }
    }

    async fn heartbeat(&self, request: ShareGroupHeartbeatRequest) {
        let deadline = self.with(|membership| membership.heartbeat_deadline(Instant::now()));
        let answer: Result<ShareGroupHeartbeatResponse> = async {
            let connection = self.connect(deadline).await?;
            let (node, address) = connection.broker();
            self.with(|membership| membership.set_coordinator(node, address));
            self.call(&connection, &request, deadline).await
        }
        .await;
        let answer = answer.inspect(|response| self.note_error(response.error_code));
        self.with(|membership| {
            membership.on_response(answer, Instant::now(), |attempts| self.pause(attempts));
        });
    }

    /// Tells the coordinator, behind whatever it was told before; its response changes nothing.
    async fn leave(&self, request: ShareGroupHeartbeatRequest) {
        let build = |_| Ok(request.clone());
        let channel = Channel::Coordinator;
        let asked = (self.cluster).ask(self.target(), channel, i16::MAX, self.deadline(), build);
        // A member whose leave request is lost is removed when its session expires.
        let _ = asked.await;
    }
}

/// How many partitions each topic that is known has, by id.
fn sizes_of(metadata: &Metadata) -> HashMap<Uuid, usize> {
    let topics = metadata.topics.values();
    topics
        .map(|topic| (topic.id, topic.partitions.len()))
        .collect()
}
