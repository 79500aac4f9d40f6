//! Workers: a fixed number of tasks that call the handler. Each takes a few records at once from the [`Queues`], as many as are handled in no
//! time; a handler that waits holds back its own key only: what was taken along with its record is given back first.
//!
//! In: records of a partition, collected. Out: finished offsets (in the [`Partition`]), counts, and the first failure that must stop the
//! consumer. A panicking handler is a failed one.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinSet, coop};
use tokio::time::{Instant, timeout_at};

use super::queues::{KeyId, Queues, Work};
use super::work_batch::{WorkBatchBuilder, WorkItem};
use crate::events::consumer::error::{ConsumerError, OnFailure};
use crate::events::consumer::metrics::{Counters, WorkerCounters, count};
use crate::events::consumer::partition::Partition;
use crate::events::{Context, Dispatch, Dispatched, HandlerError, RecordKind};
use crate::kafka::TopicPartition;
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
    on_failure: OnFailure,
    counters: Arc<Counters>,
    queues: Mutex<Queues<WorkItem>>,
    /// Told that something is ready. Who takes some and leaves some tells the next.
    more: Notify,
    /// Whether no handler may begin any more.
    stopping: AtomicBool,
    failure: Mutex<Option<ConsumerError>>,
    /// Told of the first failure.
    failed: Notify,
}

impl Workers {
    /// Starts one worker for each of the counters' workers.
    pub(crate) fn start<S, H>(
        handler: Arc<H>,
        codec: Arc<S::Codec>,
        on_failure: OnFailure,
        counters: Arc<Counters>,
    ) -> Self
    where
        S: Dispatch<H>,
        H: Send + Sync + 'static,
    {
        let workers = counters.workers.len();
        let shared = Arc::new(Shared {
            on_failure,
            counters,
            queues: Mutex::default(),
            more: Notify::new(),
            stopping: AtomicBool::new(false),
            failure: Mutex::new(None),
            failed: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        for number in 0..workers {
            let worker = work::<S, H>(handler.clone(), codec.clone(), shared.clone(), number);
            let alarm = shared.clone();
            tasks.spawn(async move {
                // A panic of its own, such as one out of a dropped handler: the consumer stops, instead of standing still unseen.
                if let Err(error) = supervised(&format!("worker {number}"), worker).await {
                    alarm.fail(error.into());
                }
            });
        }
        Self { shared, tasks }
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
        let mut queues = self.queues.lock();
        works.for_each(|work| queues.push(work));
        if queues.has_ready() {
            self.more.notify_one();
        }
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

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.more.notify_waiters();
        self.failed.notify_waiters();
    }

    /// Stops all workers because of `failure`. The first one is the one that is told.
    fn fail(&self, failure: ConsumerError) {
        self.failure.lock().get_or_insert(failure);
        self.stop();
    }

    /// Lets go of the keys in `done`, and takes up to `limit` records; waits for one. `false`: there is nothing to do any more.
    async fn next(
        &self,
        done: &mut Vec<KeyId>,
        limit: usize,
        taken: &mut VecDeque<Work<WorkItem>>,
    ) -> bool {
        loop {
            let mut more = pin!(self.more.notified());
            // First without: who has much to do waits for nothing.
            for waits in [false, true] {
                if waits {
                    more.as_mut().enable();
                }
                if self.is_stopping() {
                    return false;
                }
                if self.take(done, limit, taken) {
                    return true;
                }
            }
            let delay = self.queues.lock().next_delay();
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
        done.drain(..).for_each(|key| queues.finish(key));
        queues.take(Instant::now(), limit, taken);
        if queues.has_ready() {
            self.more.notify_one();
        }
        !taken.is_empty()
    }

    /// Gives back what was taken and not begun, before a handler that has `kept` waits.
    fn give_back(&self, done: &mut Vec<KeyId>, taken: &mut VecDeque<Work<WorkItem>>, kept: KeyId) {
        if done.is_empty() && taken.is_empty() {
            return;
        }
        let mut queues = self.queues.lock();
        done.drain(..).for_each(|key| queues.finish(key));
        queues.give_back(taken, kept);
        if queues.has_ready() {
            self.more.notify_one();
        }
    }

    /// Lets the key of `work` rest until `until`. Somebody looks at the time from now on.
    fn delay(&self, work: Work<WorkItem>, until: Instant) {
        self.queues.lock().delay(work, until);
        self.more.notify_one();
    }
}

async fn work<S, H>(handler: Arc<H>, codec: Arc<S::Codec>, shared: Arc<Shared>, number: usize)
where
    S: Dispatch<H>,
    H: Send + Sync + 'static,
{
    let counters = &shared.counters.workers[number];
    let (mut taken, mut done) = (VecDeque::with_capacity(MOST), Vec::with_capacity(MOST));
    let mut limit = 1;
    while shared.next(&mut done, limit, &mut taken).await {
        let started = Instant::now();
        let (mut begun, mut handled) = (started, 0);
        while let Some(mut work) = taken.pop_front() {
            let (key, item) = (work.key, &work.item);
            let partition = item.partition();
            if shared.is_stopping() || !partition.begin() {
                // As it is with all that has its key.
                done.push(key);
                continue;
            }
            let end = {
                let mut handling = pin!(handle::<S, H>(&handler, &codec, &shared, counters, item));
                let mut waits = false;
                poll_fn(|context| {
                    let polled = handling.as_mut().poll(context);
                    if polled.is_pending() && !std::mem::replace(&mut waits, true) {
                        shared.give_back(&mut done, &mut taken, key);
                    }
                    polled
                })
                .await
            };
            partition.end(item.record().offset, end == End::Finished);
            let ended = Instant::now();
            counters.handler_latency.record(ended - begun);
            begun = ended;
            handled += 1;
            if let End::Again(pause) = end {
                shared.give_back(&mut done, &mut taken, key);
                work.item.failures += 1;
                shared.delay(work, ended + pause);
            } else if taken.front().is_none_or(|next| next.key != key) {
                done.push(key);
            }
        }
        // As many as this worker would have handled in that time.
        let each = (begun - started) / handled.max(1);
        limit = (AT_ONCE.as_nanos() / each.as_nanos().max(1)).clamp(1, MOST as u128) as usize;
        // Handlers that never wait leave the thread to others now and then all the same.
        coop::consume_budget().await;
    }
}

/// What became of a call of the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The record need not be handled again.
    Finished,
    /// The consumer stops.
    Failed,
    /// The record is handled again after this time.
    Again(Duration),
}

/// Calls the handler for one record.
async fn handle<S, H>(
    handler: &H,
    codec: &S::Codec,
    shared: &Shared,
    counters: &WorkerCounters,
    item: &WorkItem,
) -> End
where
    S: Dispatch<H>,
{
    let record = item.record();
    let context = Context::new(record);
    let (kind, result) = match caught(S::dispatch(handler, codec, &context)).await {
        Ok(Dispatched { kind, result }) => (Some(kind), result),
        Err(panic) => {
            let error = HandlerError::new(format!("the handler panicked: {panic}"));
            (None, Err(error))
        }
    };
    let (pause, then) = shared.on_failure.after(item.failures);
    if let Some(pause) = pause
        && result.is_err()
    {
        count(&counters.retried, 1);
        return End::Again(pause);
    }
    match kind {
        Some(RecordKind::Event(index)) => {
            count(&counters.handled_by_type[index], u64::from(result.is_ok()))
        }
        Some(RecordKind::Unknown) => count(&counters.unknown, 1),
        Some(RecordKind::Undecodable) => count(&counters.undecodable, 1),
        None => {}
    }
    let Err(error) = result else {
        count(&counters.handled, 1);
        return End::Finished;
    };
    count(&counters.failed, 1);
    // What tells of a failure is the application's too, and may panic as well: then the record is not given up.
    if let OnFailure::Skip(tell) = then
        && catch_unwind(AssertUnwindSafe(|| tell(&context, &error))).is_ok()
    {
        return End::Finished;
    }
    shared.fail(ConsumerError::Handler {
        partition: TopicPartition::new(record.topic, record.partition),
        offset: record.offset,
        event_type: context.event_type().ok().flatten().map(str::to_string),
        error: Arc::new(error),
    });
    End::Failed
}

#[cfg(test)]
mod tests;
