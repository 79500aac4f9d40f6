//! Subscribing: how a consumer becomes a member of its group, and for which topics.

use std::sync::Arc;

use tokio::time::Instant;

use super::consumer::{closed, in_the_way};
use super::listener::AnyListener;
use super::state::Source;
use super::subscription::LeftOutTopics;
use super::{Consumer, GroupProtocol, RebalanceListener, subscription};
use crate::kafka::cluster::{Channel, Target};
use crate::kafka::group::member::{GroupMember, MembershipConfig, Wanted};
use crate::kafka::{Error, ErrorKind, Result, WriteOutcome};

impl Consumer {
    /// Joins the group (`group_id`) to read its share of these topics. Subscribing again replaces the topics.
    ///
    /// One that begins with `^` is a pattern, as in librdkafka: a regular expression for all topics whose names begin as it says; end it
    /// with `$` to match whole names, as Java's client does. What matches is looked up whenever the metadata is refreshed
    /// (`metadata.max.age.ms`): topics come and go, each time with a rebalance. Topics that are the brokers' own are left out, unless
    /// [`exclude_internal_topics`](crate::kafka::ConsumerConfig::exclude_internal_topics) is off. A topic that came later is read from its beginning.
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
    pub(super) fn follow_patterns(&mut self, now: Instant) {
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
}
