//! Workers: a fixed number of tasks that call the handler. Each takes a few records at once from the [`Queues`], as many as are handled in no
//! time; a handler that waits holds back its own key only: what was taken along with its record is given back first.
//!
//! In: records of a partition, collected. Out: finished offsets (in the [`Partition`]), counts, and the first failure that must stop the
//! consumer. A panicking handler is a failed one, and so is one that takes too long.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{JoinSet, coop};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::batches;
use super::leaving::{self, Given, Leaving, Writers};
use super::outcome::{Away, End, counted, finish, turn_of};
use super::queues::{KeyId, Queues, Work};
use super::work_batch::{WorkBatchBuilder, WorkItem};
use crate::events::cancellation::Cancellation;
use crate::events::cloudevents::TENANT_ID;
use crate::events::consumer::death_watch::TurnAlone;
use crate::events::consumer::error::ConsumerError;
use crate::events::consumer::metrics::{Counters, count};
use crate::events::consumer::partition::Partition;
use crate::events::failure::{FailureHandling, Gate};
use crate::events::handler::{Panicked, TimedOut};
use crate::events::observe::Spans;
use crate::events::tenants::{NOBODY, Tenants};
use crate::events::{
    BatchHandler, BatchPolicy, Context, Dispatch, Dispatched, EventSet, HandlerError,
};
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::runtime::Mutex;
use crate::kafka::runtime::tasks::{caught, supervised};

/// The most records that a worker takes at once.
const MOST: usize = 64;
/// How long handling what is taken at once should take.
const AT_ONCE: Duration = Duration::from_micros(100);
/// How many records are looked at under one lock for whether they were left behind.
const LOOKED_AT: usize = 256;

/// All workers of a consumer, as its poll loop holds them. Dropping them drops the handlers in their work.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// What workers and poll loop share.
pub(crate) struct Shared {
    failing: Arc<FailureHandling>,
    spans: Spans,
    tenants: Tenants,
    counters: Arc<Counters>,
    queues: Mutex<Queues<WorkItem>>,
    /// Told that something is ready. Who takes some and leaves some tells the next.
    more: Notify,
    /// The turn of the worker that collects a batch.
    pub(super) collecting: Semaphore,
    /// Raised when no handler may begin any more.
    stopping: Cancellation,
    failure: Mutex<Option<ConsumerError>>,
    /// Told of the first failure.
    failed: Notify,
}

/// Creates the tasks of workers, each by its number.
pub(crate) struct Worker(Box<Start>);

type Start = dyn Fn(Arc<Shared>, mpsc::UnboundedSender<Given>, usize) -> Task + Send;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Worker {
    /// Workers that call `handler` with one record at a time.
    pub(crate) fn single<S, H>(handler: Arc<H>, codec: Arc<S::Codec>) -> Self
    where
        S: Dispatch<H>,
        H: Send + Sync + 'static,
    {
        Self(Box::new(move |shared, dead_letters, number| {
            let (handler, codec) = (handler.clone(), codec.clone());
            Box::pin(work::<S, H>(handler, codec, shared, dead_letters, number))
        }))
    }

    /// Workers that call `handler` with several records at once.
    pub(crate) fn batches<S, B>(handler: Arc<B>, codec: Arc<S::Codec>, policy: BatchPolicy) -> Self
    where
        S: EventSet,
        B: BatchHandler<S>,
    {
        Self(Box::new(move |shared, dead_letters, number| {
            let (handler, codec) = (handler.clone(), codec.clone());
            Box::pin(batches::work::<S, B>(
                handler,
                codec,
                policy,
                shared,
                dead_letters,
                number,
            ))
        }))
    }
}

impl Workers {
    /// Starts one worker for each of the counters' workers.
    pub(crate) fn start(
        worker: &Worker,
        failing: Arc<FailureHandling>,
        tenants: Tenants,
        writers: Writers,
        spans: Spans,
        counters: Arc<Counters>,
    ) -> Self {
        let shared = Arc::new(Shared {
            failing,
            spans,
            tenants,
            counters,
            queues: Mutex::default(),
            more: Notify::new(),
            collecting: Semaphore::new(1),
            stopping: Cancellation::default(),
            failure: Mutex::new(None),
            failed: Notify::new(),
        });
        let mut workers = Self {
            shared: shared.clone(),
            tasks: JoinSet::new(),
        };
        let (give, given) = mpsc::unbounded_channel();
        for number in 0..shared.counters.workers.len() {
            let task = (worker.0)(shared.clone(), give.clone(), number);
            workers.spawn(format!("worker {number}"), task);
        }
        if !writers.is_empty() {
            let writing = leaving::run(shared, Arc::new(writers), given);
            workers.spawn("dead letters".to_string(), writing);
        }
        workers
    }

    fn spawn(&mut self, name: String, task: impl Future<Output = ()> + Send + 'static) {
        let alarm = self.shared.clone();
        self.tasks.spawn(async move {
            // A panic of its own, such as one out of a dropped handler: the consumer stops, instead of standing still unseen.
            if let Err(error) = supervised(&name, task).await {
                alarm.fail(error.into());
            }
        });
    }

    /// What is needed to hand records to them.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// No handler begins any more; waits for those at work, until `deadline` at most, and returns the first failure.
    pub(crate) async fn stop(mut self, deadline: Instant) -> Result<(), ConsumerError> {
        self.shared.stop();
        let ended = timeout_at(deadline, async {
            let mut gone = false;
            while let Some(ended) = self.tasks.join_next().await {
                gone |= ended.is_err();
            }
            gone
        })
        .await;
        let failure = self.shared.failure.lock().take();
        match (failure, ended) {
            (Some(failure), _) => Err(failure),
            (None, Err(_)) => Err(ConsumerError::Unfinished),
            (None, Ok(true)) => Err(ConsumerError::Gone),
            (None, Ok(false)) => Ok(()),
        }
    }
}

impl Shared {
    /// Hands out what `collected` holds of `partition`, which knows its offsets already. It counts as in flight until it is done with.
    pub(crate) fn hand_out(&self, partition: &Arc<Partition>, collected: &mut WorkBatchBuilder) {
        if collected.is_empty() {
            return;
        }
        let works = collected.finish(partition);
        let (mut counts, mut queues) = (self.counters.tenants.lock(), self.queues.lock());
        for work in works {
            // One that was in a retry topic was counted before.
            if work.tenant != NOBODY && !work.item.is_retried() {
                let name = || work.item.record().headers.first(TENANT_ID);
                counts.received(work.tenant, || name().unwrap_or_default(), false);
            }
            queues.push(work);
        }
        self.wake_for(&mut queues);
    }

    /// Lets records that wait for long hold on to no more memory than they need themselves.
    pub(crate) fn leave_batches(&self) {
        let mut next = Some(0);
        while let Some(from) = next {
            next = self
                .queues
                .lock()
                .look(from, LOOKED_AT, WorkItem::leave_if_left_behind);
        }
    }

    /// Takes over limits of tenants that were changed.
    pub(crate) fn follow_limits(&self) {
        let mut queues = self.queues.lock();
        queues.follow(&self.tenants, Instant::now());
        self.wake_for(&mut queues);
    }

    /// Waits for the first failure that must stop the consumer.
    pub(crate) async fn failed(&self) {
        loop {
            let failed = self.failed.notified();
            if self.is_stopping() {
                return;
            }
            failed.await;
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn failing(&self) -> &FailureHandling {
        &self.failing
    }

    pub(super) fn stopping(&self) -> &Cancellation {
        &self.stopping
    }

    pub(super) fn spans(&self) -> &Spans {
        &self.spans
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    fn stop(&self) {
        self.stopping.cancel();
        self.more.notify_waiters();
        self.failed.notify_waiters();
    }

    /// Stops all workers because of `failure`. The first one is the one that is told.
    pub(super) fn fail(&self, failure: ConsumerError) {
        self.failure.lock().get_or_insert(failure);
        self.stop();
    }

    /// Lets go of the keys in `done`, and takes up to `limit` records, or one where it is a probe; waits for one. Returns what it has taken.
    pub(super) async fn next(
        &self,
        done: &mut Vec<KeyId>,
        limit: usize,
        taken: &mut VecDeque<Work<WorkItem>>,
    ) -> Taken {
        loop {
            let mut more = pin!(self.more.notified());
            let mut opens = None;
            // First without: who has much to do waits for nothing.
            for waits in [false, true] {
                if waits {
                    more.as_mut().enable();
                }
                if self.is_stopping() {
                    return Taken::Nothing;
                }
                if !self.failing.is_restricted() {
                    if self.take(done, limit, taken) {
                        return Taken::Freely;
                    }
                    continue;
                }
                match self.failing.gate() {
                    Gate::Probe if self.take(done, 1, taken) => {
                        self.failing.probe_begun();
                        return Taken::AsProbe;
                    }
                    // Where it has just become free, too: with the next look.
                    Gate::Probe | Gate::Free => {}
                    Gate::Wait(until) => {
                        let mut queues = self.queues.lock();
                        done.drain(..).for_each(|key| queues.finish(key));
                        opens = Some(until);
                    }
                }
            }
            let delay = match opens {
                None => self.queues.lock().next_delay(),
                opens => opens,
            };
            match delay {
                Some(until) => drop(timeout_at(until, more).await),
                None => more.await,
            }
        }
    }

    fn take(
        &self,
        done: &mut Vec<KeyId>,
        limit: usize,
        taken: &mut VecDeque<Work<WorkItem>>,
    ) -> bool {
        let mut queues = self.queues.lock();
        let now = Instant::now();
        queues.follow(&self.tenants, now);
        done.drain(..).for_each(|key| queues.finish(key));
        queues.take(now, limit, taken);
        self.wake_for(&mut queues);
        !taken.is_empty()
    }

    /// Gives back what was taken and not begun, before a handler that has `kept` waits.
    pub(super) fn give_back(
        &self,
        done: &mut Vec<KeyId>,
        taken: &mut VecDeque<Work<WorkItem>>,
        kept: &[KeyId],
    ) {
        if done.is_empty() && taken.is_empty() {
            return;
        }
        let mut queues = self.queues.lock();
        done.drain(..).for_each(|key| queues.finish(key));
        queues.give_back(taken, kept);
        self.wake_for(&mut queues);
    }

    /// Takes what was taken again, and up to `limit` in all with what has come since.
    pub(super) fn take_again(&self, limit: usize, taken: &mut VecDeque<Work<WorkItem>>) {
        let mut queues = self.queues.lock();
        queues.give_back(taken, &[]);
        queues.take(Instant::now(), limit, taken);
        self.wake_for(&mut queues);
    }

    /// A batch of these `keys` is over: gives back what was not finished, lets the keys of what is `delayed` rest, and lets go of all others
    /// but for those in `kept`, which are sorted.
    pub(super) fn settle(
        &self,
        back: &mut VecDeque<Work<WorkItem>>,
        delayed: Vec<(Work<WorkItem>, Instant)>,
        keys: &[KeyId],
        kept: &[KeyId],
    ) {
        let mut queues = self.queues.lock();
        queues.give_back(back, kept);
        let is_delayed = !delayed.is_empty();
        for (work, at) in delayed {
            queues.delay(work, at);
        }
        let free = keys.iter().filter(|key| kept.binary_search(key).is_err());
        free.for_each(|key| queues.finish(*key));
        self.wake_for(&mut queues);
        if is_delayed {
            // Somebody looks at the time from now on.
            self.more.notify_one();
        }
    }

    /// A probe went well. Where that closes the circuit, whoever waits for it goes on.
    pub(super) fn probe_succeeded(&self) {
        self.failing.probe_succeeded(self.counters.handled());
        if !self.failing.is_restricted() {
            self.more.notify_waiters();
            self.more.notify_one();
        }
    }

    /// Wakes a worker where there is something for it, or will be sooner than any of them knows.
    fn wake_for(&self, queues: &mut Queues<WorkItem>) {
        if queues.has_ready() || queues.take_news() {
            self.more.notify_one();
        }
    }

    /// Lets go of `key`.
    pub(super) fn finish(&self, key: KeyId) {
        let mut queues = self.queues.lock();
        queues.finish(key);
        self.wake_for(&mut queues);
    }

    /// Lets the key of `work` rest until `until`, for its next attempt.
    pub(super) fn delay(&self, work: Work<WorkItem>, until: Instant) {
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::RestingKeyReleased) {
            let key = work.key;
            self.queues.lock().push(work);
            return self.finish(key);
        }
        self.rest(work, until);
    }

    /// Lets the key of `work` rest until `until`. Somebody looks at the time from now on.
    pub(super) fn rest(&self, work: Work<WorkItem>, until: Instant) {
        self.queues.lock().delay(work, until);
        self.more.notify_one();
    }
}

async fn work<S, H>(
    handler: Arc<H>,
    codec: Arc<S::Codec>,
    shared: Arc<Shared>,
    leaving: mpsc::UnboundedSender<Given>,
    number: usize,
) where
    S: Dispatch<H>,
    H: Send + Sync + 'static,
{
    let counters = &shared.counters.workers[number];
    let (mut taken, mut done) = (VecDeque::with_capacity(MOST), Vec::with_capacity(MOST));
    let mut tenants_ended = Vec::new();
    let mut limit = 1;
    loop {
        let is_probe = match shared.next(&mut done, limit, &mut taken).await {
            Taken::Nothing => return,
            how => how == Taken::AsProbe,
        };
        let started = Instant::now();
        let (mut begun, mut handled) = (started, 0);
        while let Some(mut work) = taken.pop_front() {
            if shared.failing.is_restricted() && !is_probe {
                taken.push_front(work);
                shared.give_back(&mut done, &mut taken, &[]);
                break;
            }
            let (key, item) = (work.key, &work.item);
            let partition = item.partition();
            if shared.is_stopping() || !partition.begin() {
                // As it is with all that has its key.
                done.push(key);
                continue;
            }
            if let Some(turn) = turn_of(item) {
                if is_probe {
                    shared.failing.probe_unused();
                }
                match shared.turn_away(turn, work) {
                    Away::Over => {
                        if taken.front().is_none_or(|next| next.key != key) {
                            done.push(key);
                        }
                    }
                    away => {
                        shared.give_back(&mut done, &mut taken, &[key]);
                        shared.send_away(away, &leaving);
                    }
                }
                continue;
            }
            let (mut alone, mut deaths) = (None, None);
            if let Some(watch) = partition.watch() {
                // It waits for a commit, perhaps.
                shared.give_back(&mut done, &mut taken, &[key]);
                let given_up = [&shared.stopping, &partition.gone];
                match watch.turn(partition, item.offset(), given_up).await {
                    TurnAlone::Free => {}
                    TurnAlone::Alone(permit) => alone = Some(permit),
                    TurnAlone::GivenUp(all) => deaths = Some(all),
                    TurnAlone::Rests(until) => {
                        partition.end(item.offset(), false);
                        if is_probe {
                            shared.failing.probe_unused();
                        }
                        shared.rest(work, until);
                        continue;
                    }
                    TurnAlone::Over => {
                        partition.end(item.offset(), false);
                        done.push(key);
                        continue;
                    }
                }
                begun = Instant::now();
            }
            let (ended, span) = {
                let attempt = item.failures.as_ref().map_or(1, |before| before.count + 1);
                let policy = &shared.failing.policy;
                let context = Context::of_call(
                    item.record(),
                    attempt,
                    policy.on_unknown,
                    [&shared.stopping, &partition.gone],
                );
                let last = item.failures.as_ref().map(|before| &before.last);
                let span = shared.spans.process(&context, last);
                let mut handling = pin!(caught(S::dispatch(&handler, &codec, &context)));
                let (mut waits, mut timer) = (false, None);
                let ended = poll_fn(|task| {
                    if deaths.is_some() {
                        return Poll::Ready(None);
                    }
                    let polled = {
                        let _current = span.enter();
                        handling.as_mut().poll(task)
                    };
                    if let Poll::Ready(called) = polled {
                        return Poll::Ready(Some(called));
                    }
                    if !std::mem::replace(&mut waits, true) {
                        shared.give_back(&mut done, &mut taken, &[key]);
                        timer = (policy.handler_timeout)
                            .map(|limit| Box::pin(sleep_until(begun + limit)));
                    }
                    match &mut timer {
                        Some(timer) => timer.as_mut().poll(task).map(|()| None),
                        None => Poll::Pending,
                    }
                })
                .await;
                (ended, span)
            };
            let went_well = matches!(&ended, Some(Ok(called)) if called.result.is_ok());
            let end = match ended {
                Some(Ok(Dispatched {
                    kind,
                    result: Ok(()),
                })) => {
                    counted(counters, kind, true);
                    count(&counters.handled, 1);
                    if is_probe {
                        shared.probe_succeeded();
                    }
                    End::Finished
                }
                Some(Ok(Dispatched {
                    kind,
                    result: Err(error),
                })) => shared.see_to(counters, &mut work.item, Some(kind), error, &span),
                Some(Err(panic)) => {
                    let class = shared.failing.policy.on_panic;
                    let error = HandlerError::of(Panicked(panic), Some(class));
                    shared.see_to(counters, &mut work.item, None, error, &span)
                }
                None if deaths.is_some() => {
                    let deaths = deaths.unwrap_or_default();
                    shared.see_to_deaths(counters, &mut work.item, deaths, &span)
                }
                None => {
                    count(&counters.timed_out, 1);
                    let limit = shared.failing.policy.handler_timeout.unwrap_or_default();
                    let error = HandlerError::transient(TimedOut(limit));
                    shared.see_to(counters, &mut work.item, None, error, &span)
                }
            };
            drop(alone);
            let ended = Instant::now();
            counters.handler_latency.record(ended - begun);
            begun = ended;
            handled += 1;
            let (offset, partition) = (work.item.offset(), work.item.partition());
            if work.tenant != NOBODY && matches!(end, End::Finished | End::Dead(_)) {
                tenants_ended.push((work.tenant, went_well));
            }
            match end {
                End::Finished => finish(&work.item),
                End::Left => partition.end(offset, false),
                End::Again(at) => {
                    let is_over = false;
                    #[cfg(planted_defects)]
                    let is_over =
                        is_over || planted::is_planted(planted::Defect::RestingIsFinished);
                    partition.end(offset, is_over);
                    shared.give_back(&mut done, &mut taken, &[key]);
                    shared.delay(work, at);
                    continue;
                }
                End::Dead(letter) => {
                    // It is at work until it is written.
                    shared.give_back(&mut done, &mut taken, &[key]);
                    // Nobody receives it when the consumer is at its end: then it is left.
                    drop(leaving.send((work, Leaving::Dead(letter))));
                    continue;
                }
                End::Retry(to) => {
                    shared.give_back(&mut done, &mut taken, &[key]);
                    drop(leaving.send((work, Leaving::ToRetry(to))));
                    continue;
                }
            }
            if taken.front().is_none_or(|next| next.key != key) {
                done.push(key);
            }
        }
        if !tenants_ended.is_empty() {
            let mut counts = shared.counters.tenants.lock();
            for (tenant, handled) in tenants_ended.drain(..) {
                counts.ended(tenant, handled);
            }
        }
        // As many as this worker would have handled in that time.
        let each = (begun - started) / handled.max(1);
        limit = (AT_ONCE.as_nanos() / each.as_nanos().max(1)).clamp(1, MOST as u128) as usize;
        // Handlers that never wait leave the thread to others now and then all the same.
        coop::consume_budget().await;
    }
}

/// What a worker has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// There is nothing to do any more.
    Nothing,
    Freely,
    /// One record, while hardly any are begun.
    AsProbe,
}

#[cfg(test)]
mod tests;
