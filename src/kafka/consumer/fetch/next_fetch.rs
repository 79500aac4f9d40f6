//! What a fetcher does next: what it asks for, and how many bytes of the budget that may take. In: what is wanted of its broker, what is
//! buffered, and what the budget has left. Out: a fetch, or what to wait for.

use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::memory::{left_to_fetch, most_to_fetch};
use crate::kafka::TopicPartition;
use crate::kafka::consumer::positions::{Plan, Wanted};
use crate::kafka::consumer::state::{ConsumerContext, ConsumerState};
use crate::kafka::runtime::Reservation;

/// What is asked for where nothing is left: brokers answer with one batch, if it is larger.
const LEAST_FETCH: usize = 64 << 10;

/// A fetch that may be sent now.
pub(crate) struct Fetch {
    pub wanted: Vec<Wanted>,
    pub max_bytes: usize,
    /// How long the broker may wait for something to answer with.
    pub max_wait: Duration,
    /// For how long partitions that it leaves out have had enough unread.
    pub full_for: Option<Duration>,
    pub reservation: Reservation,
}

/// What a fetcher does next.
pub(crate) enum NextFetch {
    Send(Fetch),
    Wait(Option<Instant>),
    WaitForMemory,
    Retire,
}

impl ConsumerContext {
    /// Takes the nodes that need a fetcher and have none, and what wakes it; they count as having one.
    pub fn nodes_without_fetcher(&self) -> Vec<(i32, Arc<Notify>)> {
        let mut state = self.state();
        let nodes = state.positions.nodes(Instant::now()).into_iter();
        nodes
            .filter_map(|node| match state.fetchers.entry(node) {
                Entry::Vacant(new) => Some((node, new.insert(Arc::default()).clone())),
                Entry::Occupied(_) => None,
            })
            .collect()
    }

    /// What the fetcher of `node` does next. A fetch reserves memory for all that may come back.
    ///
    /// While partitions that have enough unread are left out, a broker that waited for news of the others would keep them waiting in turn once
    /// they are read: it is to answer at once, until they have been left unread for as long as it may wait. `quiet_until` says that it had
    /// nothing the last time.
    pub fn next_fetch(&self, node: i32, quiet_until: Option<Instant>) -> NextFetch {
        let mut state = self.state();
        let now = Instant::now();
        match state.positions.plan(node, now) {
            Plan::Retire => {
                state.fetchers.remove(&node);
                NextFetch::Retire
            }
            Plan::Wait(until) => NextFetch::Wait(until),
            Plan::Fetch { full_for, .. }
                if full_for.is_some() && quiet_until.is_some_and(|until| until > now) =>
            {
                NextFetch::Wait(quiet_until)
            }
            Plan::Fetch { wanted, full_for } => match self.room_for(&mut state, wanted.len()) {
                Some(max_bytes) => {
                    state.fetches_in_flight += 1;
                    let patience = self.config.fetch_max_wait;
                    NextFetch::Send(Fetch {
                        wanted,
                        max_bytes,
                        max_wait: match full_for {
                            Some(full_for) if full_for < patience => Duration::ZERO,
                            _ => patience,
                        },
                        full_for,
                        reservation: self.budget.reserve(max_bytes),
                    })
                }
                None => NextFetch::WaitForMemory,
            },
        }
    }

    /// How many bytes a fetch of so many partitions may ask for now.
    ///
    /// Half at most of what may be fetched into, so that the next fetch has room while this one is read, and as much as this one; with more than two brokers so little that those
    /// that have no news, and wait at their brokers for some, leave room for the others. Whatever is in use, one fetch may go when nothing
    /// else is on its way or waiting: memory that the application holds on to slows the consumer down but cannot stop it. It asks for little
    /// then.
    fn room_for(&self, state: &mut ConsumerState, partitions: usize) -> Option<usize> {
        let each = self.config.max_partition_fetch_bytes;
        let others = state.fetchers.len().saturating_sub(1);
        // A reader that is slow keeps a whole answer for the sake of its part.
        let parts = if state.readers.is_some() { 4 } else { 2 };
        let most = self
            .config
            .fetch_max_bytes
            .min(each.saturating_mul(partitions))
            .min(most_to_fetch(&self.budget) / parts / others.max(1));
        let least = each.min(most);
        let mut left = left_to_fetch(&self.budget);
        if left < least {
            self.drop_stalled(state);
            self.drop_paused(state);
            left = left_to_fetch(&self.budget);
        }
        let alone = state.buffers.is_empty() && state.fetches_in_flight == 0;
        match left >= least {
            true => Some(most.min(left)),
            // A batch comes whatever is asked for.
            false => alone.then_some(most.min(left.max(LEAST_FETCH))),
        }
    }

    /// Frees memory for partitions that are read: what was fetched of paused ones is fetched again when they are resumed, if it takes more
    /// than a quarter of the budget, or there is nothing else.
    fn drop_paused(&self, state: &mut ConsumerState) {
        let ConsumerState {
            positions,
            buffers,
            progress,
            ..
        } = state;
        let withheld = progress.acknowledged().map(|acks| acks.withheld());
        let paused: Vec<TopicPartition> = (positions.paused())
            .chain(withheld.into_iter().flatten())
            .cloned()
            .collect();
        let (count, bytes) = buffers.held_by(&paused);
        if count < buffers.len() && bytes <= self.budget.fair_limit() / 4 {
            return;
        }
        for partition in &paused {
            if buffers.forget(partition) {
                positions.refetch(partition);
            }
        }
    }

    /// Frees memory for partitions that are read: what was fetched of those whose readers do not ask for it is fetched again when they do.
    fn drop_stalled(&self, state: &mut ConsumerState) {
        let ConsumerState {
            positions,
            buffers,
            readers,
            ..
        } = state;
        let Some(readers) = readers else { return };
        for partition in readers.stalled(Instant::now()) {
            if buffers.forget(partition) {
                positions.set_idle(partition, true);
                positions.refetch(partition);
            }
        }
    }

    /// A fetch is over.
    pub fn fetch_over(&self) {
        let mut state = self.state();
        state.fetches_in_flight = state.fetches_in_flight.saturating_sub(1);
    }
}
