//! The producer's maintenance: the task that follows metadata, fails what waited too long, gets producer ids, and ends the producer when it is
//! closed and nothing is left to do.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::producer_id::{self, ProducerIdAndEpoch};
use super::sender::task::is_final;
use super::state::ProducerState;
use super::transaction::Transactions;
use crate::kafka::Result;
use crate::kafka::net::BoxFuture;

/// How often deadlines are looked at, at most.
const TICK_MAX: Duration = Duration::from_millis(250);
const TICK_MIN: Duration = Duration::from_millis(5);

/// Runs until the producer is stopped.
pub(super) async fn run(shared: Arc<ProducerState>) {
    let shared = &shared;
    let mut metadata = shared.cluster.watch();
    let mut known = metadata.look().clone();
    let of_topics = shared.config.topics.values();
    let shortest = of_topics
        .filter_map(|topic| topic.delivery_timeout)
        .fold(shared.config.delivery_timeout, Duration::min);
    let tick = (shortest / 20).clamp(TICK_MIN, TICK_MAX);
    let mut next = Instant::now() + tick;
    let mut producer_id: Option<BoxFuture<'static, Result<ProducerIdAndEpoch>>> = None;
    // Between one producer id that is of no use, or an error instead of one, and the next.
    let (mut pause, mut backoff) = (Duration::ZERO, shared.cluster.retry_backoff());
    let mut random = shared.cluster.random("maintenance");
    let mut clock = pin!(shared.timestamps.forget());
    let mut short = pin!(shared.memory.bytes.becomes_short());
    while !shared.is_stopped() {
        tokio::select! {
            biased;
            () = &mut short => {
                short.set(shared.memory.bytes.becomes_short());
                // Another producer of the client waits for memory: what is here waits for no more records.
                shared.wake_senders();
                continue;
            }
            changed = metadata.changed() => {
                if changed.is_err() {
                    break;
                }
                let newest = metadata.look().clone();
                let followed = shared.follow_changes(&known, &newest);
                known = newest;
                if !followed && (shared.producer_id().is_some() || shared.transactions.is_some()) {
                    // Other topics are not looked at because one is new.
                    continue;
                }
            }
            result = renewed(&mut producer_id) => {
                producer_id = None;
                match result {
                    Ok(producer_id) => shared.set_producer_id(producer_id),
                    // What waits for another reason than time fails by its own time.
                    Err(error) if is_final(&error) => shared.refuse_all(&error),
                    Err(_) => {}
                }
            }
            () = &mut clock => {}
            () = shared.maintenance.notified() => {}
            () = sleep_until(next) => {
                next = Instant::now() + tick;
                expire(shared, tick);
                keep_interest(shared, Instant::now());
                ask_for_leaders(shared);
                shared.forget_old_limits(Instant::now());
            }
        }
        if producer_id.is_none() {
            if lacks_producer_id(shared) {
                producer_id = Some(Box::pin(renew(shared.clone(), pause)));
                pause = backoff.failed(&mut random);
            } else {
                backoff.succeeded();
                pause = Duration::ZERO;
            }
        }
        let is_ending = |it: &Arc<Transactions>| it.is_ending(Instant::now());
        if shared.is_closing()
            && !is_busy(shared)
            && !shared.transactions.as_ref().is_some_and(is_ending)
        {
            break;
        }
    }
    shared.stop(&shared.closed());
}

async fn renew(shared: Arc<ProducerState>, pause: Duration) -> Result<ProducerIdAndEpoch> {
    sleep(pause).await;
    let deadline = Instant::now() + shared.config.delivery_timeout;
    producer_id::obtain(&shared.cluster, deadline, |error| {
        shared.note_lack_of_producer_id(error.clone());
    })
    .await
}

async fn renewed(
    producer_id: &mut Option<BoxFuture<'static, Result<ProducerIdAndEpoch>>>,
) -> Result<ProducerIdAndEpoch> {
    match producer_id {
        Some(producer_id) => producer_id.await,
        None => std::future::pending().await,
    }
}

/// Hands the producer id to the partitions that want one; true if one of them has used it up, or there is none yet.
fn lacks_producer_id(shared: &ProducerState) -> bool {
    let Some(producer_id) = shared.producer_id() else {
        return shared.wants_producer_id() && !shared.queues().is_empty();
    };
    let mut lacking = false;
    for queue in shared.queues() {
        lacking |= !queue.adopt(producer_id);
    }
    lacking
}

fn is_busy(shared: &ProducerState) -> bool {
    shared.queues().iter().any(|queue| queue.lock().is_busy())
}

fn expire(shared: &ProducerState, tick: Duration) {
    let now = Instant::now();
    let no_producer_id = shared.lack_of_producer_id();
    let no_producer_id = no_producer_id.as_ref();
    let memory = &shared.memory;
    for queue in shared.queues() {
        let (linger, timeout) = (queue.settings.linger, queue.settings.delivery_timeout);
        // The records of a batch share the time of the last one: what cannot be sent must not go on taking records.
        let age = linger.max(tick).max(timeout / 50);
        let reason = |obstacle| shared.overdue(&queue, obstacle);
        let given_up = queue.expire(now, age, timeout, memory, no_producer_id, reason);
        shared.records_failed(&queue, &given_up);
    }
}

/// Tells the cluster which topics are written to: it forgets those that are idle, and asks for one that it forgot when it is used again.
fn keep_interest(shared: &ProducerState, now: Instant) {
    let topics = shared.topics.all();
    let often = shared.config.client.metadata_max_idle / 8;
    let used = topics.iter().filter(|topic| {
        let accepted = || {
            topic
                .queues()
                .map(|queue| queue.lock().accumulator.accepted())
                .sum()
        };
        topic.was_used(now, often, accepted)
    });
    shared.cluster.used(used.map(|topic| &*topic.name));
}

/// Asks for metadata while records wait for a partition without a leader. Nothing of it is sent, so nothing fails that would ask; the
/// cluster paces what is asked for.
fn ask_for_leaders(shared: &ProducerState) {
    let queues = shared.queues();
    if queues
        .iter()
        .any(|queue| queue.waiting() > 0 && !queue.has_leader())
    {
        shared.cluster.refresh();
    }
}
