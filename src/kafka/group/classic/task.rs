//! What the task of a member of the classic protocol sends. In: the requests that the membership wants sent. Out: the coordinator's responses,
//! handed to the membership.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::Request;
use protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use tokio::time::{Instant, sleep};

use super::assignor::{GroupTopics, Partitions};
use super::membership::{Action, Membership};
use super::response_checks::is_beyond;
use crate::kafka::cluster::{Channel, CoordinatorKind, Metadata};
use crate::kafka::group::member::{Member, count_of, status_of};
use crate::kafka::group::missing_topics::MissingTopics;
use crate::kafka::group::task::{Next, Protocol};
use crate::kafka::net::Connection;
use crate::kafka::{Error, Result};

/// How much longer than the other members may take to join the response to a join is awaited.
const JOIN_GRACE: Duration = Duration::from_secs(5);

impl Protocol for Membership {
    type Topics = Arc<Metadata>;
    type Action = Action;
    type Leave = LeaveGroupRequest;

    fn is_stale(&self) -> bool {
        self.is_stale()
    }

    fn missing_topics(&mut self) -> &mut MissingTopics {
        self.missing_topics()
    }

    fn topics_of(metadata: &Arc<Metadata>) -> Arc<Metadata> {
        metadata.clone()
    }

    fn take_topics(
        &mut self,
        known: &Arc<Metadata>,
        now: Instant,
        pause: impl Fn(u32) -> Duration,
    ) {
        self.on_topics(
            |topics| {
                let with_racks = topics.values().any(|topic| !topic.racks.is_empty());
                topics_of(known, topics.keys().map(|topic| &**topic), with_racks)
            },
            now,
        );
        self.on_topic_status(|topic| status_of(known, topic), now, pause);
    }

    fn next_action(&mut self, now: Instant) -> Action {
        self.next_action(now)
    }

    fn leave_if_stale(&mut self, now: Instant) -> Option<LeaveGroupRequest> {
        self.leave_if_stale(now)
    }

    fn leave(&mut self) -> Option<LeaveGroupRequest> {
        self.leave()
    }

    async fn carry_out(member: &Member<Self>, action: Action) -> Next {
        match action {
            Action::Join(request) => member.join(request).await,
            Action::DescribeTopics { topics, with_racks } => {
                member.describe_topics(topics, with_racks).await;
            }
            Action::Sync(request) => member.sync(request).await,
            Action::Heartbeat(request) => member.heartbeat(request).await,
            Action::Wait(until) => return Next::Wait(until),
            Action::End => return Next::End,
        }
        Next::Act
    }

    /// On a connection of another purpose, since a join may be waiting on the usual one.
    async fn tell_of_leaving(member: &Member<Self>, leave: LeaveGroupRequest) {
        let build = |version| {
            let mut leave = leave.clone();
            match version < LeaveGroupRequest::MEMBERS_FROM {
                true => leave.members.clear(),
                false => leave.member_id.clear(),
            }
            Ok(leave)
        };
        let deadline = member.deadline();
        let (cluster, target) = (&member.cluster, member.target());
        let asked = cluster.ask(target, Channel::Shared, i16::MAX, deadline, build);
        let _ = asked.await;
    }
}

impl Member<Membership> {
    /// Only a join may take as long as the group's other members do; meanwhile the coordinator is asked whether it is still there.
    async fn join(&self, request: JoinGroupRequest) {
        self.rebalance_began(Instant::now());
        let connected = self.deadline();
        let answer = async {
            let connection = self.coordinator(connected).await?;
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
        let answer = self.ask(&request, self.deadline()).await;
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
        let answer = self.ask(&request, deadline).await;
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

    async fn ask<R: Request>(&self, request: &R, deadline: Instant) -> Result<R::Response> {
        let connection = self.coordinator(deadline).await?;
        self.call(&connection, request, deadline).await
    }

    async fn coordinator(&self, deadline: Instant) -> Result<Connection> {
        let connection = self.connect(deadline).await?;
        let (node, address) = connection.broker();
        self.with(|membership| membership.set_coordinator(node, address));
        Ok(connection)
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
