//! Lanes: a fixed number of tasks that call the handler. A key always goes to the same lane, so what has one key is handled in order, and
//! different keys at once; records without a key keep the order of their partition.
//!
//! In: loads of records, bounded together by a byte budget. Out: finished offsets (in each record's [`Partition`]), counts, and the first
//! failure that must stop the consumer. A panicking handler is a failed one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::error::{ConsumerError, OnFailure};
use super::load::Load;
use super::metrics::{Counters, LaneCounters, count};
use super::partition::Partition;
use crate::events::{Arrival, Context, Dispatch, Dispatched, HandlerError, RawRecord};
use crate::kafka::TopicPartition;
use crate::kafka::tasks::{caught, panicked};

/// All lanes of a consumer, as its driver holds them. Dropping them drops the handlers in their work.
pub(crate) struct Lanes {
    shared: Arc<Shared>,
    /// Unbounded as channels, bounded by the budget: a load is sent once its bytes were admitted.
    queues: Vec<mpsc::UnboundedSender<Load>>,
    budget: Arc<Semaphore>,
    budget_bytes: usize,
    tasks: JoinSet<()>,
}

/// What lanes and driver share.
struct Shared {
    on_failure: OnFailure,
    counters: Arc<Counters>,
    /// Whether no handler may begin any more.
    stopping: AtomicBool,
    failure: Mutex<Option<ConsumerError>>,
    /// Told of the first failure.
    failed: Notify,
    /// Loads whose buffers are used again.
    spare: Mutex<Vec<Load>>,
}

impl Lanes {
    /// Starts one lane for each of the counters' lanes.
    pub(crate) fn start<S, H>(
        handler: Arc<H>,
        on_failure: OnFailure,
        budget_bytes: usize,
        counters: Arc<Counters>,
    ) -> Self
    where
        S: Dispatch<H>,
        H: Send + Sync + 'static,
    {
        let lanes = counters.lanes.len();
        let shared = Arc::new(Shared {
            on_failure,
            counters,
            stopping: AtomicBool::new(false),
            failure: Mutex::new(None),
            failed: Notify::new(),
            spare: Mutex::new(Vec::new()),
        });
        let mut tasks = JoinSet::new();
        let queues = (0..lanes)
            .map(|number| {
                let (queue, loads) = mpsc::unbounded_channel();
                let lane = run_lane::<S, H>(handler.clone(), shared.clone(), number, loads);
                let alarm = shared.clone();
                tasks.spawn(async move {
                    // A panic of its own, such as one out of a dropped handler: the consumer stops, instead of standing still unseen.
                    if let Err(panic) = caught(lane).await {
                        alarm.fail(panicked(&format!("lane {number}"), &panic).into());
                    }
                });
                queue
            })
            .collect();
        let budget_bytes = budget_bytes.clamp(1, u32::MAX as usize);
        Self {
            shared,
            queues,
            budget: Arc::new(Semaphore::new(budget_bytes)),
            budget_bytes,
            tasks,
        }
    }

    /// The lane for records of `partition` with `key`.
    pub(crate) fn lane_of(&self, partition: &Partition, key: Option<&[u8]>) -> usize {
        // The hasher's keys are fixed: a simulation sends the same records down the same lanes in every run.
        let mut hasher = DefaultHasher::new();
        (partition.salt, key).hash(&mut hasher);
        (hasher.finish() % self.queues.len() as u64) as usize
    }

    /// One empty load for each lane.
    pub(crate) fn loads(&self) -> Vec<Load> {
        let mut spare = lock(&self.shared.spare);
        self.queues
            .iter()
            .map(|_| spare.pop().unwrap_or_default())
            .collect()
    }

    /// Hands each lane its load, as soon as the budget has room for it. Ends early, with the rest not handed out, when the lanes fail.
    ///
    /// Cancel safe in that what was not handed out is dropped, and stays uncommitted.
    pub(crate) async fn hand_out(&self, loads: Vec<Load>) {
        for (queue, mut load) in self.queues.iter().zip(loads) {
            if load.is_empty() {
                self.shared.keep(load);
                continue;
            }
            // A load larger than all of the budget goes alone.
            let permits = load.size().min(self.budget_bytes) as u32;
            let admitted = tokio::select! {
                biased;
                () = self.failed() => return,
                admitted = self.budget.clone().acquire_many_owned(permits) => admitted,
            };
            load.permit = admitted.ok();
            // A lane that is gone has failed, which the driver sees.
            let _ = queue.send(load);
        }
    }

    /// Waits for the first failure that must stop the consumer.
    pub(crate) async fn failed(&self) {
        loop {
            let failed = self.shared.failed.notified();
            if self.shared.stopping.load(Ordering::Relaxed) {
                return;
            }
            failed.await;
        }
    }

    /// No handler begins any more; waits for those at work, no longer than `patience`, and answers with the first failure.
    pub(crate) async fn stop(mut self, patience: Duration) -> Result<(), ConsumerError> {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.queues.clear();
        let ended = timeout(patience, async {
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
    fn keep(&self, mut load: Load) {
        if load.clear() {
            let mut spare = lock(&self.spare);
            if spare.len() < self.counters.lanes.len() {
                spare.push(load);
            }
        }
    }

    /// Stops all lanes because of `failure`. The first one is the one that is told.
    fn fail(&self, failure: ConsumerError) {
        lock(&self.failure).get_or_insert(failure);
        self.stopping.store(true, Ordering::Relaxed);
        self.failed.notify_waiters();
    }
}

async fn run_lane<S, H>(
    handler: Arc<H>,
    shared: Arc<Shared>,
    number: usize,
    mut loads: mpsc::UnboundedReceiver<Load>,
) where
    S: Dispatch<H>,
    H: Send + Sync + 'static,
{
    let counters = &shared.counters.lanes[number];
    while let Some(load) = loads.recv().await {
        let mut begun = Instant::now();
        for (partition, record) in load.iter() {
            if shared.stopping.load(Ordering::Relaxed) || !partition.begin() {
                continue;
            }
            let finished = handle::<S, H>(&handler, &shared, counters, record).await;
            partition.end(record.offset, finished);
            let ended = Instant::now();
            counters.handler_latency.record(ended - begun);
            begun = ended;
        }
        shared.keep(load);
    }
}

/// Calls the handler for one record. `true`: the record need not be handled again.
async fn handle<S, H>(
    handler: &H,
    shared: &Shared,
    counters: &LaneCounters,
    record: RawRecord<'_>,
) -> bool
where
    S: Dispatch<H>,
{
    let context = Context::new(record);
    let error = match caught(S::dispatch(handler, &context)).await {
        Ok(Dispatched { arrival, result }) => {
            match arrival {
                Arrival::Event(index) => {
                    count(&counters.handled_by_type[index], u64::from(result.is_ok()))
                }
                Arrival::Unknown => count(&counters.unknown, 1),
                Arrival::Undecodable => count(&counters.undecodable, 1),
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
