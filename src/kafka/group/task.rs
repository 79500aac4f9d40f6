//! The task that talks to the coordinator for a member, whichever protocol it speaks. In: what the membership wants done. Out: what came of it,
//! handed to the membership.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::find_topics::LONGEST_TOPIC_REFRESH_PAUSE;
use super::member::Member;
use super::missing_topics::MissingTopics;
use crate::kafka::cluster::Metadata;

/// What the task does after an action.
#[derive(Debug)]
pub(crate) enum Next {
    /// Asks the membership for the next one.
    Act,
    /// Waits until something changes, or until this time.
    Wait(Option<Instant>),
    End,
}

/// What a membership's protocol does by itself.
pub(crate) trait Protocol: Send + Sized {
    /// The metadata, as this protocol looks at it.
    type Topics: Send;
    /// What to do next.
    type Action: Send;
    /// The request to leave.
    type Leave: Send;

    /// Whether the application has to poll before the member rejoins.
    fn is_stale(&self) -> bool;

    /// Subscribed topics that are not there.
    fn missing_topics(&mut self) -> &mut MissingTopics;

    /// What is made of newer metadata, once.
    fn topics_of(metadata: &Arc<Metadata>) -> Self::Topics;

    /// Takes what is known of topics; `pause` says how long to wait before they are asked for the next time.
    fn take_topics(&mut self, topics: &Self::Topics, now: Instant, pause: impl Fn(u32) -> Duration);

    /// What to do now. A request that it returns counts as sent.
    fn next_action(&mut self, now: Instant) -> Self::Action;

    /// The request to leave because the application has not polled for `max.poll.interval.ms`; once until it polls.
    fn leave_if_stale(&mut self, now: Instant) -> Option<Self::Leave>;

    /// The request to leave for good; none where there is nothing to leave.
    fn leave(&mut self) -> Option<Self::Leave>;

    /// Carries out an action of this protocol for `member`, whose membership hears what came of it.
    fn carry_out(member: &Member<Self>, action: Self::Action) -> impl Future<Output = Next> + Send;

    /// Tells the coordinator; its response changes nothing. A member whose request is lost is removed when its session expires.
    fn tell_of_leaving(
        member: &Member<Self>,
        leave: Self::Leave,
    ) -> impl Future<Output = ()> + Send;
}

impl<M: Protocol> Member<M> {
    /// Does what the membership wants until it has ended.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut metadata = self.cluster.watch();
        let mut known = metadata.look().clone();
        let mut topics = M::topics_of(&known);
        loop {
            let newest = metadata.look().clone();
            if !Arc::ptr_eq(&known, &newest) {
                topics = M::topics_of(&newest);
                known = newest;
            }
            let now = Instant::now();
            let (next, next_refresh) = self.with(|membership| {
                let pause = |attempts| self.pause_up_to(attempts, LONGEST_TOPIC_REFRESH_PAUSE);
                membership.take_topics(&topics, now, pause);
                if membership.missing_topics().refresh_due(now) {
                    self.cluster.refresh();
                }
                let next = match membership.leave_if_stale(now) {
                    Some(leave) => Err(leave),
                    None => Ok(membership.next_action(now)),
                };
                (next, membership.missing_topics().next_refresh())
            });
            let action = match next {
                Ok(action) => action,
                Err(leave) => {
                    self.ready.notify_waiters();
                    self.while_stale(M::tell_of_leaving(&self, leave)).await;
                    continue;
                }
            };
            self.ready.notify_waiters();
            match M::carry_out(&self, action).await {
                Next::Act => {}
                Next::Wait(until) => {
                    let until = until.into_iter().chain(next_refresh).min();
                    self.wait(&mut metadata, until).await;
                }
                Next::End => break,
            }
        }
        self.ready.notify_waiters();
    }

    /// Leaves, but no longer than the application stays away.
    async fn while_stale(&self, leave: impl Future<Output = ()>) {
        let woken = async {
            while self.with(|membership| membership.is_stale()) {
                self.changed.notified().await;
            }
        };
        tokio::select! {
            biased;
            () = leave => {}
            () = woken => {}
        }
    }

    /// Leaves for good. A static member goes for a while, and one that never joined just ends.
    pub(crate) async fn close(&self) {
        if let Some(leave) = self.update(M::leave) {
            M::tell_of_leaving(self, leave).await;
        }
    }
}
