//! What the task of a member of the consumer protocol sends. In: the heartbeats that the membership wants sent, and the topics that it does
//! not know. Out: responses, handed to the membership; the names of topics, tracked from then on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::Uuid;
use protocol::messages::ConsumerGroupHeartbeatRequest;
use tokio::time::Instant;

use super::membership::{Action, Membership};
use super::reconciliation::KnownTopic;
use crate::kafka::cluster::Metadata;
use crate::kafka::group::find_topics::find_topics;
use crate::kafka::group::member::{Member, status_of};
use crate::kafka::group::missing_topics::MissingTopics;
use crate::kafka::group::task::{Next, Protocol};

/// The topics that are known, by id as well.
pub(crate) struct KnownTopics {
    metadata: Arc<Metadata>,
    by_id: HashMap<Uuid, KnownTopic>,
}

impl Protocol for Membership {
    type Topics = KnownTopics;
    type Action = Action;
    type Leave = ConsumerGroupHeartbeatRequest;

    fn is_stale(&self) -> bool {
        self.is_stale()
    }

    fn missing_topics(&mut self) -> &mut MissingTopics {
        self.missing_topics()
    }

    fn topics_of(metadata: &Arc<Metadata>) -> KnownTopics {
        let topics = metadata.topics.values();
        let topics = topics.filter(|topic| topic.id != Uuid::ZERO);
        KnownTopics {
            metadata: metadata.clone(),
            by_id: topics
                .map(|topic| (topic.id, (topic.name.clone(), topic.partitions.len())))
                .collect(),
        }
    }

    fn take_topics(&mut self, topics: &KnownTopics, now: Instant, pause: impl Fn(u32) -> Duration) {
        let KnownTopics { metadata, by_id } = topics;
        self.on_metadata(
            |id| by_id.get(id).cloned(),
            |topic| status_of(metadata, topic),
            now,
            pause,
        );
    }

    fn next_action(&mut self, now: Instant) -> Action {
        self.next_action(now)
    }

    fn leave_if_stale(&mut self, now: Instant) -> Option<ConsumerGroupHeartbeatRequest> {
        self.leave_if_stale(now)
    }

    fn leave(&mut self) -> Option<ConsumerGroupHeartbeatRequest> {
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

    async fn tell_of_leaving(member: &Member<Self>, leave: ConsumerGroupHeartbeatRequest) {
        member.tell(leave).await;
    }
}

impl Member<Membership> {
    async fn heartbeat(&self, request: ConsumerGroupHeartbeatRequest) {
        let deadline = self.with(|membership| membership.heartbeat_deadline(Instant::now()));
        let answer = self.beat(&request, deadline, Membership::set_coordinator);
        let answer = answer.await;
        let answer = answer.inspect(|response| self.note_error(response.error_code));
        let is_reconciling = self.with(|membership| {
            membership.on_response(answer, Instant::now(), |attempts| self.pause(attempts));
            membership.is_reconciling()
        });
        if is_reconciling {
            self.rebalance_began(Instant::now());
        }
    }
}
