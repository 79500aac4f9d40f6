//! The loop that polls the client, and the end of a consumer. Thin: which records are to be handled and what may be committed is the
//! trackers' decision, how much is in flight and who handles what the scheduler's.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};

use super::assigned::Assigned;
use super::committer::{commit_last, commit_regularly};
use super::config::ConsumerConfig;
use super::distributor::Distributor;
use super::error::ConsumerError;
use super::error_policy::{Refusals, Rereads, retry_backoff};
use super::lag::LagView;
use super::metrics::Counters;
use super::retry_reader::RetryReader;
use super::scheduler::{Memory, Workers};
use crate::events::failure::FailureHandling;
use crate::kafka::consumer::ConsumerHandle;
use crate::kafka::{Consumer, Error, ErrorKind};

/// The longest that one poll waits.
const POLL: Duration = Duration::from_millis(500);
/// How often the end of the log is asked for where nothing is fetched, and memory is looked after.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The most time that a stop keeps for the last commit and for leaving the group.
const LEAVING: Duration = Duration::from_secs(5);

pub(super) struct PollLoop {
    pub consumer: Consumer,
    pub workers: Workers,
    pub memory: Arc<Memory>,
    pub assigned: Assigned,
    pub config: ConsumerConfig,
    pub counters: Arc<Counters>,
    pub lag: LagView,
    /// Where there are retry topics.
    pub retries: Option<RetryReader>,
    pub failing: Arc<FailureHandling>,
}

impl PollLoop {
    /// Runs until `stop` turns true or something fails; then finishes what is at work, commits, and leaves the group, all of it within the
    /// shutdown timeout.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), ConsumerError> {
        let Self {
            mut consumer,
            workers,
            memory,
            assigned,
            config,
            counters,
            lag,
            mut retries,
            failing,
        } = self;
        let handle = consumer.handle();
        let shared = workers.shared();
        let distributor_of = |handle: ConsumerHandle| {
            Distributor::new(
                handle,
                assigned.clone(),
                shared.clone(),
                memory.clone(),
                counters.clone(),
                config.tenant_filter.clone(),
                failing.clone(),
            )
        };
        let distributor = distributor_of(handle.clone());
        let retried = retries
            .as_ref()
            .map(|it| distributor_of(it.consumer.handle()));
        let distributors: Vec<_> = [&distributor].into_iter().chain(&retried).collect();
        let read_retries = async {
            match (&mut retries, &retried) {
                (Some(retries), Some(distributor)) => retries.run(distributor).await,
                _ => pending().await,
            }
        };
        let worked = tokio::select! {
            biased;
            // The sender is gone when the consumer of events was dropped, which is to stop as well.
            _ = stop.wait_for(|stop| *stop) => Ok(()),
            () = shared.failed() => Ok(()),
            error = commit_regularly(&handle, &assigned, &counters, &config) => Err(error),
            never = keep_balance(&memory, &distributors) => match never {},
            never = look_after(&handle, &distributor) => match never {},
            error = work(&mut consumer, &distributor, &counters, &config) => Err(error),
            error = read_retries => Err(error),
        };
        consumer.will_close();
        let deadline = Instant::now() + config.shutdown_timeout;
        let leaving = LEAVING.min(config.shutdown_timeout / 4);
        let stopped = workers.stop(deadline - leaving).await;
        // Who is still at work has had that time: leaving the group does not wait for them again.
        assigned
            .all()
            .iter()
            .for_each(|partition| partition.abandon());
        let names: Vec<_> = assigned
            .ours()
            .iter()
            .map(|ours| ours.name.clone())
            .collect();
        let by = deadline - leaving / 2;
        let committing = async {
            loop {
                let committed = commit_last(&handle, &assigned, &names, &counters).await;
                // Who has joined a rebalance can commit in the next generation.
                let is_early =
                    matches!(&committed, Err(error) if error.kind() == ErrorKind::Rebalance);
                if !is_early || !consumer.rebalance_for_a_moment(by).await {
                    return committed;
                }
            }
        };
        let committed = timeout_at(by, committing).await;
        lag.end(&handle, &assigned);
        // Nothing is left for the rebalance listener to do.
        assigned.forget_all();
        let closed = timeout_at(deadline, consumer.close()).await;
        if let Some(retries) = retries {
            // It holds nothing that anybody waits for.
            let _ = timeout_at(deadline, retries.close()).await;
        }
        // What ended it comes before what that did to handlers at work.
        worked?;
        stopped?;
        let committed = committed.unwrap_or_else(|_| {
            Err(too_late(
                &counters,
                "what was finished last could not be committed within shutdown.timeout.ms: it is handled again after the next start",
            ))
        });
        match committed {
            // Of a topic that is gone there is nothing to commit.
            Err(error) if error.kind() == ErrorKind::UnknownTopicOrPartition => {}
            committed => committed?,
        }
        closed.unwrap_or_else(|_| {
            Err(too_late(
                &counters,
                "the group could not be left within shutdown.timeout.ms: its other members get the partitions after session.timeout.ms",
            ))
        })?;
        Ok(())
    }
}

fn too_late(counters: &Counters, message: &'static str) -> Error {
    let error = Error::new(ErrorKind::Timeout, message);
    match counters.last_error() {
        Some(cause) => error.because(cause),
        None => error,
    }
}

/// Polls and hands out, until a poll fails in a way that ends the consumer. Handlers never hold it up: what there is no room for stays with
/// the client, so that the group hears from this member whatever its handlers do.
async fn work(
    consumer: &mut Consumer,
    distributor: &Distributor,
    counters: &Counters,
    config: &ConsumerConfig,
) -> Error {
    let (mut backoff, mut random) = retry_backoff(config, "polls");
    let mut refusals = Refusals::new(config);
    let mut rereads = Rereads::default();
    loop {
        match consumer.poll_within(POLL, distributor.most()).await {
            Ok(records) => {
                backoff.succeeded();
                refusals.polled(&records, Instant::now());
                if !records.is_empty() {
                    distributor.take(&records);
                    // Lets the workers of a runtime with one thread begin.
                    yield_now().await;
                }
            }
            Err(error)
                if !refusals.ends(&error, Instant::now())
                    || rereads.once_more(consumer, &error) =>
            {
                counters.failed_to_poll(error);
                sleep(backoff.failed(&mut random)).await;
            }
            Err(error) => return error,
        }
    }
}

/// Waits for room again and again, and lets go on what had to wait.
async fn keep_balance(memory: &Memory, distributors: &[&Distributor]) -> Infallible {
    loop {
        memory.more_room().await;
        (distributors.iter()).for_each(|distributor| distributor.look_for_room());
    }
}

/// Now and then: releases memory that hardly anything holds on to, and asks where the log ends of partitions that are not fetched for want
/// of room, so that the lag stays true.
async fn look_after(consumer: &ConsumerHandle, distributor: &Distributor) -> Infallible {
    loop {
        sleep(LOOK_EVERY).await;
        distributor.look_after();
        distributor.resume_recreated();
        let waiting = distributor.waiting();
        let names: Vec<_> = waiting
            .iter()
            .map(|partition| partition.name.clone())
            .collect();
        if names.is_empty() {
            continue;
        }
        // One that does not respond is asked again; that brokers fail is reported by polls and commits.
        if let Ok(ends) = consumer.end_offsets(&names).await {
            for partition in waiting {
                if let Some(end) = ends.get(&partition.name)
                    && partition.is_paused()
                {
                    partition.ends_at(*end);
                }
            }
        }
    }
}
