//! The part of a rebalance that runs inside polls: the duties of the group, carried out one after the other, and the listener that is told. What takes
//! its time of giving partitions up goes on beside polls, which read on what stays.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::wait::wait;
use super::{CommitSource, Consumer, StartOffset};
use crate::kafka::group::duty::Duty;
use crate::kafka::net::BoxFuture;
use crate::kafka::observe::ClientEvent;
use crate::kafka::runtime::Mutex;
use crate::kafka::{ErrorKind, Result, TopicId, TopicPartition};

/// How often who leaves in a rebalance looks whether it can commit.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// Partitions that are on their way to another member: what is at work of them is finished, and committed.
pub(super) struct Leaving {
    partitions: Vec<TopicPartition>,
    /// None once it is done.
    finishing: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Leaving {
    /// Waits until all is finished. Cancel safe: it goes on with the next call.
    pub(super) async fn finished(&mut self) {
        let finishing = self.finishing.get_mut();
        if let Some(work) = finishing {
            work.await;
            *finishing = None;
        }
    }
}

impl Consumer {
    /// Does what the group wants of this poll. A duty that a dropped poll has begun is begun again: the listener is told anew, of what is
    /// still read. What is at work of partitions that go is waited for until `until`, and goes on with the next call.
    pub(super) async fn take_part_in_rebalance(&mut self, now: Instant, until: Instant) {
        let Some(group) = self.context().group() else {
            return;
        };
        group.polled(now);
        while let Some(duty) = group.with(|membership| membership.begin_duty(Instant::now())) {
            match &duty {
                Duty::Revoke(partitions) => {
                    group.rebalance_began(Instant::now());
                    let finished = self.finish(partitions);
                    if timeout_at(until, finished).await.is_err() {
                        return;
                    }
                    self.tell_listener(partitions, false).await;
                    if self.context().config.commit_source != CommitSource::Polled {
                        // What was finished while the listener waited.
                        let deadline = Instant::now() + self.context().config.session_timeout / 2;
                        let _ = self.commit_finished(deadline).await;
                    }
                    self.give_up(partitions);
                    self.settle_commits().await;
                }
                Duty::Lost(partitions) => {
                    self.leaving = None;
                    self.tell_listener(partitions, true).await;
                    self.give_up(partitions);
                }
                Duty::Assign(partitions) => {
                    self.take_over(partitions).await;
                    if let Some(took) = group.rebalance_over(Instant::now()) {
                        self.context().counters.rebalance_latency.record(took);
                    }
                }
            }
            group.update(|membership| membership.duty_done(&duty, Instant::now()));
        }
    }

    /// Finishes and commits what is at work of these partitions, of which nothing is handed out from now on. Dropped, it goes on with the next
    /// call.
    async fn finish(&mut self, partitions: &[TopicPartition]) {
        let leaving = match self.leaving.take() {
            Some(leaving) if leaving.partitions == partitions => leaving,
            _ => self.begin_to_finish(partitions),
        };
        self.leaving.insert(leaving).finished().await;
    }

    fn begin_to_finish(&mut self, partitions: &[TopicPartition]) -> Leaving {
        self.reading
            .take_if(|reading| partitions.contains(&reading.partition));
        self.context().state().withhold(partitions);
        let (handle, listener) = (self.handle(), self.listener.clone());
        let going = partitions.to_vec();
        let finishing = async move {
            if let Some(listener) = listener {
                listener.revoking(&handle, &going).await;
            }
            handle.drain_readers(&going).await;
            let deadline = Instant::now() + handle.context.config.session_timeout / 2;
            // The error, if any, shows with the next commit: the group does not wait for this one, nor for those before it.
            let _ = handle.commit_finished(deadline).await;
            let _ = timeout_at(deadline, handle.commits.settled(&handle.context)).await;
        };
        Leaving {
            partitions: partitions.to_vec(),
            finishing: Mutex::new(Some(Box::pin(finishing))),
        }
    }

    /// Commits everything that polls have returned, as [`commit_finished`](Self::commit_finished) does. Who has joined a rebalance cannot commit
    /// until the group has its next generation, nor can its listener: takes part in it until then, as polls do, unless what this member had is
    /// lost already.
    pub(super) async fn commit_before_leaving(&mut self, deadline: Instant) -> Result<()> {
        loop {
            let committed = self.commit_finished(deadline).await;
            let is_refused =
                matches!(&committed, Err(error) if error.kind() == ErrorKind::Rebalance);
            let is_early = is_refused || committed.is_ok() && self.is_too_early_for_listener();
            if !is_early || !self.rebalance_for_a_moment(deadline).await {
                return committed;
            }
        }
    }

    /// Whether a listener could not commit now what it will be told that it is to give up.
    fn is_too_early_for_listener(&self) -> bool {
        let Some(group) = self.context().group() else {
            return false;
        };
        let can_commit = group.with(|membership| membership.group_metadata().is_ok());
        self.listener.is_some() && !can_commit && !self.assignment().is_empty()
    }

    /// Takes part in a rebalance for a moment, until `deadline` at most, so that this member can commit again. `false` when that is of no use.
    pub(crate) async fn rebalance_for_a_moment(&mut self, deadline: Instant) -> bool {
        let context = self.context().clone();
        let now = Instant::now();
        let holds =
            (context.group()).is_some_and(|group| !group.with(|membership| membership.has_lost()));
        if now >= deadline || !holds {
            return false;
        }
        let mut ready = pin!(context.ready.notified());
        ready.as_mut().enable();
        let _ = timeout_at(deadline, self.take_part_in_rebalance(now, deadline)).await;
        wait(ready, Some(deadline.min(now + LOOK_AROUND))).await;
        true
    }

    /// Tells the listener, and waits for commits under way, its own among them.
    pub(super) async fn prepare_to_leave(&self) {
        let context = self.context();
        if let Some(group) = context.group() {
            let lost = group.with(|membership| {
                let lost = membership.has_lost();
                membership.prepare_to_leave();
                lost
            });
            let all = self.assignment();
            if let Some(listener) = self.listener.as_ref().filter(|_| !lost && !all.is_empty()) {
                listener.revoking(&self.handle, &all).await;
            }
            self.tell_listener(&all, lost).await;
        }
        self.handle.commits.settled(context).await;
    }

    /// Reads these as well, from where the group has committed.
    async fn take_over(&self, partitions: &[TopicPartition]) {
        let context = self.context();
        let topics: BTreeMap<&TopicPartition, TopicId> = match context.group() {
            Some(group) => group.with(|membership| {
                let topic_of = |it| Some((it, membership.topic_of(it)?));
                partitions.iter().filter_map(topic_of).collect()
            }),
            None => BTreeMap::new(),
        };
        {
            let mut state = context.state();
            for partition in partitions {
                // One that is held is one that a dropped poll has begun with.
                if !state.positions.holds(partition) {
                    let start = StartOffset::Committed;
                    state.positions.start(partition.clone(), start);
                    if let Some(topic_id) = topics.get(partition) {
                        state.positions.bind(partition, *topic_id);
                    }
                }
            }
            state.positions.listener_first(true);
        }
        let topics = partitions.iter().map(|partition| &*partition.topic);
        context.cluster.track(topics);
        if let Some(listener) = &self.listener {
            listener.assigned(&self.handle, partitions).await;
        }
        context.counters.rebalances.fetch_add(1, Ordering::Relaxed);
        let config = &context.config;
        let (protocol, epoch) = context.membership();
        config.client.tell(|| ClientEvent::PartitionsAssigned {
            group: config.group_id.as_deref().unwrap_or_default(),
            partitions,
            protocol,
            epoch,
        });
        let mut state = context.state();
        state.positions.listener_first(false);
        if let Some(readers) = &mut state.readers {
            readers.offer(partitions, Instant::now());
        }
        drop(state);
        context.wake_all();
    }

    /// Tells the listener that these go, those that are still held.
    async fn tell_listener(&self, partitions: &[TopicPartition], lost: bool) {
        let context = self.context();
        let held: Vec<_> = {
            let positions = &context.state().positions;
            let held = partitions.iter().filter(|it| positions.holds(it));
            held.cloned().collect()
        };
        if held.is_empty() {
            return;
        }
        if let Some(listener) = &self.listener {
            listener.gone(&self.handle, &held, lost).await;
        }
        let (group, partitions) = (context.config.group_id.as_deref(), &held[..]);
        let group = group.unwrap_or_default();
        let (protocol, epoch) = context.membership();
        context.config.client.tell(|| match lost {
            true => ClientEvent::PartitionsLost {
                group,
                partitions,
                protocol,
                epoch,
            },
            false => ClientEvent::PartitionsRevoked {
                group,
                partitions,
                protocol,
                epoch,
            },
        });
    }

    /// Forgets these partitions, and what was read of them.
    fn give_up(&mut self, partitions: &[TopicPartition]) {
        self.leaving = None;
        let gone: BTreeSet<&TopicPartition> = partitions.iter().collect();
        self.reading
            .take_if(|reading| gone.contains(&reading.partition));
        self.resets.retain(|reset| !gone.contains(&reset.partition));
        self.context().state().remove(&gone);
    }

    /// Waits for commits that were handed in while the partitions were still held: they are refused once the member joins again. As above,
    /// the group does not wait for one that takes long.
    async fn settle_commits(&self) {
        let context = self.context();
        let deadline = Instant::now() + context.config.session_timeout / 2;
        let _ = timeout_at(deadline, self.handle.commits.settled(context)).await;
    }
}

#[cfg(all(test, feature = "broker"))]
mod tests;
