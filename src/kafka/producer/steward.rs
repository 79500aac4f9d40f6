//! The producer's steward: the task that follows metadata, fails what waited too long, gets producer ids, and ends the producer when it is
//! closed and nothing is left to do.

use std::pin::pin;
use std::sync::Arc;

use protocol::messages::InitProducerIdRequest;
use protocol::{ApiKey, ErrorCode};
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout_at};

use super::metrics::add;
use super::sender::is_final;
use super::sequences::Identity;
use super::shared::Shared;
use crate::kafka::cluster::Cluster;
use crate::kafka::net::BoxFuture;
use crate::kafka::{Error, ErrorKind, Random, Result};

/// How often deadlines are looked at, at most.
const TICK_MAX: Duration = Duration::from_millis(250);
const TICK_MIN: Duration = Duration::from_millis(5);

/// Runs until the producer is stopped.
pub(super) async fn run(shared: Arc<Shared>) {
    let shared = &shared;
    let mut metadata = shared.cluster.watch();
    let tick = (shared.config.delivery_timeout / 20).clamp(TICK_MIN, TICK_MAX);
    let mut next = Instant::now() + tick;
    let mut identity: Option<BoxFuture<'static, Result<Identity>>> = None;
    // Between one producer id that is of no use, or an error instead of one, and the next.
    let (mut pause, mut backoff) = (Duration::ZERO, shared.cluster.retry_backoff());
    let mut random = shared.cluster.random("steward");
    let mut clock = pin!(shared.timestamps.forget());
    while !shared.is_stopped() {
        tokio::select! {
            biased;
            changed = metadata.changed() => {
                if changed.is_err() {
                    break;
                }
                shared.follow_all();
            }
            result = renewed(&mut identity) => {
                identity = None;
                match result {
                    Ok(identity) => shared.set_identity(identity),
                    // What waits for another reason than time fails by its own time.
                    Err(error) if is_final(&error) => shared.refuse_all(&error),
                    Err(_) => {}
                }
            }
            () = &mut clock => {}
            () = shared.steward.notified() => {}
            () = sleep_until(next) => {
                next = Instant::now() + tick;
                expire(shared, tick);
                keep_interest(shared, Instant::now());
                ask_for_leaders(shared);
                shared.forget_old_limits(Instant::now());
            }
        }
        if identity.is_none() {
            if lacks_identity(shared) {
                identity = Some(Box::pin(renew(shared.clone(), pause)));
                pause = backoff.failed(&mut random);
            } else {
                backoff.succeeded();
                pause = Duration::ZERO;
            }
        }
        if shared.is_closing() && !is_busy(shared) {
            break;
        }
    }
    shared.stop(&shared.closed());
}

async fn renew(shared: Arc<Shared>, pause: Duration) -> Result<Identity> {
    sleep(pause).await;
    let deadline = Instant::now() + shared.config.delivery_timeout;
    obtain(&shared.cluster, deadline, |error| {
        shared.note_lack_of_identity(error.clone());
    })
    .await
}

async fn renewed(identity: &mut Option<BoxFuture<'static, Result<Identity>>>) -> Result<Identity> {
    match identity {
        Some(identity) => identity.await,
        None => std::future::pending().await,
    }
}

/// Hands the producer id to the partitions that want one; true if one of them has used it up.
fn lacks_identity(shared: &Shared) -> bool {
    let Some(identity) = shared.identity() else {
        return false;
    };
    let mut lacking = false;
    for queue in shared.queues() {
        lacking |= !queue.adopt(identity);
    }
    lacking
}

fn is_busy(shared: &Shared) -> bool {
    shared.queues().iter().any(|queue| queue.lock().is_busy())
}

fn expire(shared: &Shared, tick: Duration) {
    let now = Instant::now();
    let timeout = shared.config.delivery_timeout;
    // The records of a batch share the time of the last one: what cannot be sent must not go on taking records.
    let age = shared.config.linger.max(tick).max(timeout / 50);
    let no_identity = shared.lack_of_identity();
    let no_identity = no_identity.as_ref();
    let buffers = &shared.buffers;
    for queue in shared.queues() {
        let reason = |obstacle| shared.overdue(&queue, obstacle);
        let lost = queue.expire(now, age, timeout, buffers, no_identity, reason);
        add(&shared.counters.records_failed, lost);
    }
}

/// Tells the cluster which topics are written to: it forgets those that are idle, and asks for one that it forgot when it is used again.
fn keep_interest(shared: &Shared, now: Instant) {
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
fn ask_for_leaders(shared: &Shared) {
    let queues = shared.queues();
    if queues
        .iter()
        .any(|queue| queue.waiting() > 0 && !queue.has_leader())
    {
        shared.cluster.refresh();
    }
}

/// A new producer id, with epoch 0. Asks again until `deadline`, whatever broker answers; `note` hears of each failure.
pub(super) async fn obtain(
    cluster: &Cluster,
    deadline: Instant,
    note: impl Fn(&Error),
) -> Result<Identity> {
    let mut random: Random = cluster.random("producer id");
    let mut backoff = cluster.retry_backoff();
    loop {
        let error = match timeout_at(deadline, ask(cluster, deadline)).await {
            Ok(Ok(identity)) => return Ok(identity),
            Ok(Err(error)) => error,
            Err(_elapsed) => Error::new(ErrorKind::Timeout, "no broker gave a producer id in time"),
        };
        note(&error);
        let pause = backoff.failed(&mut random);
        if is_final(&error) || Instant::now() + pause >= deadline {
            return Err(error.with_outcome(crate::kafka::WriteOutcome::NotWritten));
        }
        sleep(pause).await;
    }
}

async fn ask(cluster: &Cluster, deadline: Instant) -> Result<Identity> {
    // A producer id that is given twice, since the first broker asked kept silent, is one that nobody uses.
    let request = |_| InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    let until = deadline.min(Instant::now() + cluster.config().request_timeout);
    let (response, connection) = cluster.ask_any(request, until).await?;
    let (producer_id, epoch) = (response.producer_id, response.producer_epoch);
    let error = match response.error_code {
        // A negative one means "none" in a batch: it would be written without idempotence.
        ErrorCode::NONE if producer_id < 0 || epoch < 0 => Error::new(
            ErrorKind::Protocol,
            format!("the broker gave producer id {producer_id} and epoch {epoch}, which are none"),
        ),
        ErrorCode::NONE => return Ok(Identity { producer_id, epoch }),
        code => Error::server(code, None),
    };
    let (id, address) = connection.broker();
    Err(error.api(ApiKey::INIT_PRODUCER_ID).broker(id, address))
}
