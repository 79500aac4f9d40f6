//! What the parts of a share consumer share: the work behind one short lock, the byte budget, and who wakes whom.

use std::borrow::Cow;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::config::{AcknowledgementMode, ShareConsumerConfig};
use super::ledger::{ACCEPT, Place, Sent};
use super::metrics::{Counters, MeasuredShareConsumer};
use super::plan::{Plan, Work};
use super::ticket::{PendingAcknowledgements, Ticket};
use crate::kafka::cluster::Cluster;
use crate::kafka::consumer::fetch::batch_reader::BatchDecoder;
use crate::kafka::consumer::fetch::memory::left_to_fetch;
use crate::kafka::group::member::Member;
use crate::kafka::group::share::membership::ShareMembership;
use crate::kafka::observe::ClientEvent;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::runtime::tasks::OwnTasks;
use crate::kafka::runtime::{Budget, Mutex, Reservation};
use crate::kafka::{Backoff, Error, ErrorKind, Random, Result};

/// Without so much left of the budget nothing is fetched beside what is in use.
const LEAST_FETCH: usize = 1 << 20;

/// Everything but what only polls touch.
pub(super) struct ShareContext {
    pub config: ShareConsumerConfig,
    pub cluster: Cluster,
    pub budget: Arc<Budget>,
    /// Wakes polls, and the task that looks for leaders.
    pub ready: Arc<Notify>,
    work: Mutex<Work>,
    source: Mutex<Source>,
    /// What brokers said last of how long records are locked.
    lock_timeout: Mutex<Option<Duration>>,
    random: Mutex<Random>,
    tasks: OwnTasks,
    pub counters: Arc<Counters>,
}

/// Where partitions come from.
#[derive(Clone, Default)]
pub(super) enum Source {
    #[default]
    Nothing,
    Subscribed(Arc<Member<ShareMembership>>),
    Closed,
}

/// A request that may be sent now.
pub(super) enum Next {
    Fetch {
        /// What of it is to be acknowledged.
        sent: Vec<Sent>,
        max_bytes: usize,
        reservation: Reservation,
    },
    Acknowledge(Vec<Sent>),
    Close(Vec<Sent>),
    Wait(Option<Instant>),
    WaitForMemory,
    Retire,
}

impl ShareContext {
    pub fn new(config: ShareConsumerConfig, cluster: Cluster) -> Arc<Self> {
        let ready = Arc::new(Notify::new());
        let polls = ready.clone();
        cluster.tasks().on_failure(move |_| polls.notify_waiters());
        let budget = Budget::new(config.buffer_bytes, cluster.consumers_budget());
        let metrics = config.client.metrics.clone();
        let client_id = config.client.client_id.clone();
        let group = config.group_id.clone();
        let counters = Arc::<Counters>::default();
        let context = Arc::new(Self {
            budget,
            random: Mutex::new(config.client.random("share consumer")),
            config,
            cluster,
            ready,
            work: Mutex::default(),
            source: Mutex::default(),
            lock_timeout: Mutex::default(),
            tasks: OwnTasks::default(),
            counters: counters.clone(),
        });
        metrics.register(MeasuredShareConsumer {
            client_id,
            group,
            context: Arc::downgrade(&context),
            counters,
        });
        context
    }

    /// What batches are read with.
    pub fn decoder(&self) -> BatchDecoder {
        let config = &self.config;
        // As consumers of other groups have it.
        let max_batch_bytes = (config.buffer_bytes).max(config.client.max_frame_bytes);
        BatchDecoder::new(
            self.cluster.decompressors(),
            self.budget.clone(),
            max_batch_bytes,
            config.check_crcs,
        )
    }

    pub fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock()
    }

    pub fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock()
    }

    /// The member, for what needs one.
    pub fn member(&self) -> Option<Arc<Member<ShareMembership>>> {
        match &*self.source() {
            Source::Subscribed(member) => Some(member.clone()),
            _ => None,
        }
    }

    /// For how long records are locked, as the brokers said last.
    pub fn lock_timeout(&self) -> Option<Duration> {
        *self.lock_timeout.lock()
    }

    /// A broker said for how long records are locked; nothing where it says what cannot be.
    pub fn locks_for(&self, timeout_ms: i32) -> Option<Duration> {
        let timeout = u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0);
        let timeout = timeout.map(Duration::from_millis);
        if timeout.is_some() {
            *self.lock_timeout.lock() = timeout;
        }
        timeout
    }

    /// When a request that is sent now must be answered.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.config.client.request_timeout
    }

    /// The pause before the repetition that follows `attempts` failures (KIP-580).
    pub fn pause(&self, attempts: u32) -> Duration {
        self.pause_up_to(attempts, self.config.client.retry_backoff_max)
    }

    pub fn pause_up_to(&self, attempts: u32, longest: Duration) -> Duration {
        let first = self.config.client.retry_backoff;
        Backoff::pause(first, longest, attempts, &mut self.random.lock())
    }

    /// Runs `task` until it ends or the consumer does.
    pub fn spawn(
        &self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tasks.spawn(self.cluster.tasks(), name, task);
    }

    /// Ends every task.
    pub fn stop(&self) {
        self.tasks.end(self.cluster.tasks());
    }

    /// Fails once the consumer is closed, and once one of its tasks has failed.
    pub fn check_open(&self) -> Result<()> {
        self.cluster.tasks().check()?;
        match &*self.source() {
            Source::Closed => Err(Error::new(
                ErrorKind::Closed,
                "the share consumer was closed",
            )),
            _ => Ok(()),
        }
    }

    /// What to send to `node` now. What it returns to be acknowledged is under way.
    pub fn next(&self, node: i32, is_open: bool) -> Next {
        let now = Instant::now();
        let mut work = self.work();
        loop {
            return match work.plan(node, is_open, self.config.acquire_mode, now) {
                Plan::GiveUp => {
                    let error = session_over();
                    if work.ledger.give_up(node, &Err(error.clone())) > 0 {
                        self.tell_failed(&error);
                    }
                    continue;
                }
                Plan::Wait(until) => Next::Wait(until),
                Plan::Acknowledge => Next::Acknowledge(work.ledger.send(node)),
                Plan::Close => Next::Close(work.ledger.send(node)),
                Plan::Retire => {
                    work.nodes.remove(&node);
                    Next::Retire
                }
                Plan::Fetch => {
                    let Some(max_bytes) = self.room(&work) else {
                        return match is_open && work.ledger.has_to_send(node) {
                            true => Next::Acknowledge(work.ledger.send(node)),
                            false => Next::WaitForMemory,
                        };
                    };
                    let sent = match is_open {
                        true => work.ledger.send(node),
                        false => Vec::new(),
                    };
                    work.fetch_began(node, self.config.acquire_mode);
                    Next::Fetch {
                        sent,
                        max_bytes,
                        reservation: self.budget.reserve(max_bytes),
                    }
                }
            };
        }
    }

    /// How many bytes a fetch may ask for now: an equal part of half of the budget for each broker. Whatever the application holds on to, one
    /// fetch may go when nothing else is on its way or waiting.
    fn room(&self, work: &Work) -> Option<usize> {
        let brokers = work.leaders.len().max(1);
        let most = (self.config.fetch_max_bytes).min(self.budget.fair_limit() / 2 / brokers);
        let most = most.max(1);
        let least = LEAST_FETCH.min(most);
        let left = left_to_fetch(&self.budget);
        let is_alone = work.buffers.is_empty() && work.fetching == 0;
        (left >= least || is_alone).then(|| most.min(left.max(least)))
    }

    /// What became of what was sent to `node` to be acknowledged of one partition.
    pub fn answered(&self, node: i32, sent: &Sent, result: Result<()>) {
        self.counters.answered(&sent.runs, result.is_ok());
        if let Err(error) = &result {
            self.tell_failed(error);
        }
        #[cfg(planted_defects)]
        let result = match planted::is_planted(planted::Defect::RefusedCountsAsAcknowledged) {
            true => Ok(()),
            false => result,
        };
        let place: Place = (node, sent.id);
        self.work().ledger.answered(place, &result);
    }

    /// All that the application has decided is sent, in implicit mode with all that it holds. Resolves with the results.
    pub fn commit(&self) -> PendingAcknowledgements {
        let (ticket, pending) = Ticket::new(self.cluster.tasks());
        let mut work = self.work();
        self.flush(&mut work, Some(&ticket));
        ticket.complete();
        work.wake_all();
        drop(work);
        self.ready.notify_waiters();
        pending
    }

    fn flush(&self, work: &mut Work, ticket: Option<&Ticket>) {
        if self.config.acknowledgement_mode == AcknowledgementMode::Implicit {
            work.ledger.acknowledge_all(ACCEPT);
        }
        work.ledger.flush(ticket);
    }

    /// A poll begins: what was decided goes along with its fetches, or by itself if there are records at hand.
    pub fn poll_began(&self) {
        let mut work = self.work();
        work.ledger.expire(Instant::now());
        self.flush(&mut work, None);
    }

    fn tell_failed(&self, error: &Error) {
        self.config.client.tell(|| ClientEvent::CommitFailed {
            group: self.config.group_id.as_deref().unwrap_or_default(),
            error,
            retried: false,
        });
    }
}

fn session_over() -> Error {
    Error::new(
        ErrorKind::Disconnected,
        "the share session in which these records were acquired is over, so that they cannot be acknowledged: they are delivered again",
    )
    .with_outcome(crate::kafka::WriteOutcome::NotWritten)
}
