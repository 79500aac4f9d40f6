//! The task that talks to the coordinator for a member of the consumer protocol. In: the heartbeats that the membership wants sent, and the
//! topics that it does not know. Out: responses, handed to the membership; the names of topics, tracked from then on.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::Uuid;
use protocol::messages::ConsumerGroupHeartbeatRequest;
use tokio::time::Instant;

use super::membership::{Action, Membership};
use super::reconciliation::KnownTopic;
use crate::kafka::cluster::{Channel, Metadata};
use crate::kafka::group::find_topics::{LONGEST_TOPIC_REFRESH_PAUSE, find_topics};
use crate::kafka::group::member::{Member, status_of};

impl Member<Membership> {
    /// Does what the membership wants until it has ended.
    pub(in crate::kafka::group) async fn run(self: Arc<Self>) {
        let mut metadata = self.cluster.watch();
        let mut known = metadata.borrow_and_update().clone();
        let mut topics = topics_of(&known);
        loop {
            let newest = metadata.borrow_and_update().clone();
            if !Arc::ptr_eq(&known, &newest) {
                topics = topics_of(&newest);
                known = newest;
            }
            let now = Instant::now();
            let (stale, action, next_refresh) = self.with(|membership| {
                membership.on_metadata(
                    |id| topics.get(id).cloned(),
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
                self.until_polled(self.leave(request)).await;
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

    /// Leaves for good, a static member for a while.
    pub(in crate::kafka::group) async fn close(&self) {
        if let Some(request) = self.update(Membership::leave) {
            self.leave(request).await;
        }
    }

    async fn heartbeat(&self, request: ConsumerGroupHeartbeatRequest) {
        let deadline = self.with(|membership| membership.heartbeat_deadline(Instant::now()));
        let answer = async {
            let connection = self.connect(deadline).await?;
            let (node, address) = connection.broker();
            self.with(|membership| membership.set_coordinator(node, address));
            self.call(&connection, &request, deadline).await
        };
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

    /// Tells the coordinator, behind whatever it was told before; its response changes nothing.
    async fn leave(&self, request: ConsumerGroupHeartbeatRequest) {
        let build = |_| Ok(request.clone());
        let deadline = self.deadline();
        let asked = self.cluster.ask(
            self.target(),
            Channel::Coordinator,
            i16::MAX,
            deadline,
            build,
        );
        // A member whose leave request is lost is removed when its session expires.
        let _ = asked.await;
    }
}

/// The topics that are known, by id.
fn topics_of(metadata: &Metadata) -> HashMap<Uuid, KnownTopic> {
    let topics = metadata.topics.values();
    let topics = topics.filter(|topic| topic.id != Uuid::ZERO);
    topics
        .map(|topic| (topic.id, (topic.name.clone(), topic.partitions.len())))
        .collect()
}
