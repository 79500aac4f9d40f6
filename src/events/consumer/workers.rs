//! Workers: a fixed number of tasks that call the handler. Each takes a queue that has records, works off one batch of it, and goes on with
//! the queue that has waited longest.
//!
//! In: records of a partition, sorted into its queues. Out: finished offsets (in the [`Partition`]), memory given back, counts, and the
//! first failure that must stop the consumer. A panicking handler is a failed one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::task::{JoinSet, coop};
use tokio::time::{Instant, timeout_at};

use super::error::{ConsumerError, OnFailure};
use super::memory::Memory;
use super::metrics::{Counters, WorkerCounters, count};
use super::partition::Partition;
use super::work_batch::WorkBatch;
use crate::events::{Context, Dispatch, Dispatched, HandlerError, RawRecord, RecordKind};
use crate::kafka::TopicPartition;
use crate::kafka::runtime::tasks::{caught, supervised};

/// All workers of a consumer, as its poll loop holds them. Dropping them drops the handlers in their work.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// What workers and poll loop share.
pub(crate) struct Shared {
    on_failure: OnFailure,
    counters: Arc<Counters>,
    memory: Arc<Memory>,
    /// Queues that have records and no worker, the one that has waited longest first.
    ready: Mutex<VecDeque<(Arc<Partition>, usize)>>,
    /// Told of each of them.
    more: Notify,
    /// Whether no handler may begin any more.
    stopping: AtomicBool,
    failure: Mutex<Option<ConsumerError>>,
    /// Told of the first failure.
    failed: Notify,
    spare: Mutex<Spare>,
}

/// Batches whose buffers are pooled.
#[derive(Default)]
struct Spare {
    batches: Vec<WorkBatch>,
    bytes: usize,
}

/// The most memory that is kept for batches to come.
const SPARE_BYTES: usize = 2 << 20;

impl Workers {
    /// Starts one worker for each of the counters' workers.
    pub(crate) fn start<S, H>(
        handler: Arc<H>,
        codec: Arc<S::Codec>,
        on_failure: OnFailure,
        memory: Arc<Memory>,
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
            memory,
            ready: Mutex::default(),
            more: Notify::new(),
            stopping: AtomicBool::new(false),
            failure: Mutex::new(None),
            failed: Notify::new(),
            spare: Mutex::default(),
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
        let failure = lock(&self.shared.failure).take();
        match (failure, ended) {
            (Some(failure), _) => Err(failure),
            (None, Err(_)) => Err(ConsumerError::Unfinished),
            (None, Ok(true)) => Err(ConsumerError::Gone),
            (None, Ok(false)) => Ok(()),
        }
    }
}

impl Shared {
    /// Puts empty batches whose buffers are pooled into `batches`, until there are `count`, as far as there are some.
    pub(crate) fn spare_batches(&self, batches: &mut Vec<WorkBatch>, count: usize) {
        let mut spare = lock(&self.spare);
        while batches.len() < count
            && let Some(batch) = spare.batches.pop()
        {
            spare.bytes -= batch.capacity();
            batches.push(batch);
        }
    }

    /// Puts `batches`, each with its queue, into the queues of `partition`. What they take up counts as in flight until it is worked off.
    pub(crate) fn hand_out(
        &self,
        partition: &Arc<Partition>,
        batches: impl Iterator<Item = (usize, WorkBatch)>,
    ) {
        for (queue, batch) in batches {
            let size = batch.size();
            self.memory.take(size);
            partition.hold(size);
            if partition.queues.push(queue, batch) {
                self.schedule(partition.clone(), queue);
            }
        }
    }

    /// A worker is to take `queue`.
    fn schedule(&self, partition: Arc<Partition>, queue: usize) {
        lock(&self.ready).push_back((partition, queue));
        self.more.notify_one();
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
        lock(&self.failure).get_or_insert(failure);
        self.stop();
    }

    /// The queue that has waited longest; waits for one. `None`: there is nothing to do any more.
    async fn next_queue(&self) -> Option<(Arc<Partition>, usize)> {
        loop {
            let mut more = pin!(self.more.notified());
            more.as_mut().enable();
            if self.is_stopping() {
                return None;
            }
            if let Some(next) = lock(&self.ready).pop_front() {
                return Some(next);
            }
            more.await;
        }
    }

    /// `batch` of `partition` is worked off.
    fn worked_off(&self, partition: &Partition, mut batch: WorkBatch) {
        let size = batch.size();
        self.memory.give(size, partition.let_go(size) == 0);
        batch.clear();
        let mut spare = lock(&self.spare);
        let capacity = batch.capacity();
        if spare.bytes + capacity <= SPARE_BYTES {
            spare.bytes += capacity;
            spare.batches.push(batch);
        }
    }
}

async fn work<S, H>(handler: Arc<H>, codec: Arc<S::Codec>, shared: Arc<Shared>, number: usize)
where
    S: Dispatch<H>,
    H: Send + Sync + 'static,
{
    let counters = &shared.counters.workers[number];
    while let Some((partition, queue)) = shared.next_queue().await {
        let batch = partition.queues.pop(queue).unwrap_or_default();
        let mut begun = Instant::now();
        for record in batch.iter(&partition.name) {
            if shared.is_stopping() || !partition.begin() {
                continue;
            }
            let offset = record.offset;
            let finished = handle::<S, H>(&handler, &codec, &shared, counters, record).await;
            partition.end(offset, finished);
            let ended = Instant::now();
            counters.handler_latency.record(ended - begun);
            begun = ended;
        }
        shared.worked_off(&partition, batch);
        if partition.queues.let_go(queue) {
            // To the end of the queue: other queues have their turn first.
            shared.schedule(partition, queue);
        }
        // Handlers that never wait leave the thread to others now and then all the same.
        coop::consume_budget().await;
    }
}

/// Calls the handler for one record. `true`: the record need not be handled again.
async fn handle<S, H>(
    handler: &H,
    codec: &S::Codec,
    shared: &Shared,
    counters: &WorkerCounters,
    record: RawRecord<'_>,
) -> bool
where
    S: Dispatch<H>,
{
    let context = Context::new(record);
    let error = match caught(S::dispatch(handler, codec, &context)).await {
        Ok(Dispatched { kind, result }) => {
            match kind {
                RecordKind::Event(index) => {
                    count(&counters.handled_by_type[index], u64::from(result.is_ok()))
                }
                RecordKind::Unknown => count(&counters.unknown, 1),
                RecordKind::Undecodable => count(&counters.undecodable, 1),
            }
            match result {
                Ok(()) => {
                    count(&counters.handled, 1);
                    return true;
                }
                Err(error) => error,
            }
        }
        Err(panic) => HandlerError::new(format!("the handler panicked: {panic}")),
    };
    count(&counters.failed, 1);
    // What tells of a failure is the application's too, and may panic as well: then the record is not given up.
    if let OnFailure::Skip(tell) = &shared.on_failure
        && catch_unwind(AssertUnwindSafe(|| tell(&context, &error))).is_ok()
    {
        return true;
    }
    shared.fail(ConsumerError::Handler {
        partition: TopicPartition::new(record.topic, record.partition),
        offset: record.offset,
        event_type: context.event_type().ok().flatten().map(str::to_string),
        error: Arc::new(error),
    });
    false
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing that is done under these locks panics half way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
