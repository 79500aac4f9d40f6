//! What the task of a member of a share group sends. In: the heartbeats that the membership wants sent, and the topics that
//! it does not know. Out: responses, handed to the membership; the names of topics, tracked from then on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::Uuid;
use protocol::messages::ShareGroupHeartbeatRequest;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::membership::{Action, ShareMembership};
use crate::kafka::cluster::{Cluster, Metadata};
use crate::kafka::group::find_topics::find_topics;
use crate::kafka::group::member::{Member, MembershipConfig, member_id, status_of};
use crate::kafka::group::missing_topics::MissingTopics;
use crate::kafka::group::task::{Next, Protocol};

/// The topics that are known, and how many partitions each has.
pub(crate) struct KnownTopics {
    metadata: Arc<Metadata>,
    sizes: HashMap<Uuid, usize>,
}

impl Protocol for ShareMembership {
    type Topics = KnownTopics;
    type Action = Action;
    type Leave = ShareGroupHeartbeatRequest;

    fn is_stale(&self) -> bool {
        self.is_stale()
    }

    fn missing_topics(&mut self) -> &mut MissingTopics {
        self.missing_topics()
    }

    fn topics_of(metadata: &Arc<Metadata>) -> KnownTopics {
        let topics = metadata.topics.values();
        KnownTopics {
            metadata: metadata.clone(),
            sizes: topics
                .map(|topic| (topic.id, topic.partitions.len()))
                .collect(),
        }
    }

    fn take_topics(&mut self, topics: &KnownTopics, now: Instant, pause: impl Fn(u32) -> Duration) {
        let KnownTopics { metadata, sizes } = topics;
        self.on_metadata(
            |(id, index)| {
                let size = sizes.get(id).copied().unwrap_or_default();
                usize::try_from(*index).is_ok_and(|index| index < size)
            },
            |topic| status_of(metadata, topic),
            now,
            pause,
        );
    }

    fn next_action(&mut self, now: Instant) -> Action {
        self.next_action(now)
    }

    fn leave_if_stale(&mut self, now: Instant) -> Option<ShareGroupHeartbeatRequest> {
        self.leave_if_stale(now)
    }

    fn leave(&mut self) -> Option<ShareGroupHeartbeatRequest> {
        self.leave()
    }

    async fn carry_out(member: &Member<Self>, action: Action) -> Next {
        match action {
            Action::Heartbeat(request) => member.heartbeat(request).await,
            Action::FindTopics(ids) => {
                find_topics(&member.cluster, &ids, member.config.request_timeout).await;
            }
            Action::Wait(until) => return Next::Wait(until),
            Action::End => return Next::End,
        }
        Next::Act
    }

    async fn tell_of_leaving(member: &Member<Self>, leave: ShareGroupHeartbeatRequest) {
        member.tell(leave).await;
    }
}

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

    async fn heartbeat(&self, request: ShareGroupHeartbeatRequest) {
        let deadline = self.with(|membership| membership.heartbeat_deadline(Instant::now()));
        let answer = self.beat(&request, deadline, ShareMembership::set_coordinator);
        let answer = answer.await;
        let answer = answer.inspect(|response| self.note_error(response.error_code));
        self.with(|membership| {
            membership.on_response(answer, Instant::now(), |attempts| self.pause(attempts));
        });
    }
}
