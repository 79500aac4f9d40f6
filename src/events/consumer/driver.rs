//! The loop that polls the client and gives each lane its records. Thin: which records are to be handled and what may be committed is
//! the trackers' decision, who handles what the lanes'.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::assigned::Assigned;
use super::committing::{commit, commit_regularly, passes};
use super::config::ConsumerConfig;
use super::error::ConsumerError;
use super::lanes::Lanes;
use super::load::Load;
use super::metrics::{Counters, count};
use super::offset_tracker::OffsetTracker;
use super::partition::Partition;
use crate::kafka::consumer::PartitionRecords;
use crate::kafka::{Consumer, Error, RecordView, Records, Result};

/// The longest that one poll waits.
const POLL: Duration = Duration::from_millis(500);
/// The pause after a failed poll that may be repeated.
const PAUSE: Duration = Duration::from_millis(100);
/// How long lanes may be full before the group is given a sign of life.
const FULL: Duration = Duration::from_millis(200);

pub(super) struct Driver {
    pub consumer: Consumer,
    pub lanes: Lanes,
    pub assigned: Assigned,
    pub config: ConsumerConfig,
    pub counters: Arc<Counters>,
}

impl Driver {
    /// Runs until `stop` turns true or something fails; then finishes what is at work, commits, and leaves the group.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), ConsumerError> {
        let Self {
            mut consumer,
            lanes,
            assigned,
            config,
            counters,
        } = self;
        let handle = consumer.handle();
        let worked = tokio::select! {
            biased;
            // The sender is gone when the consumer of events was dropped, which is to stop as well.
            _ = stop.wait_for(|stop| *stop) => Ok(()),
            () = lanes.failed() => Ok(()),
            error = commit_regularly(&handle, &assigned, &counters, config.commit_every()) => Err(error),
            error = work(&mut consumer, &lanes, &assigned, &counters) => Err(error),
        };
        let stopped = lanes.stop(config.shutdown_timeout).await;
        // Who is still at work has had that time: leaving the group does not wait for them again.
        assigned
            .all()
            .iter()
            .for_each(|partition| partition.abandon());
        let committed = commit(&handle, &assigned.all(), &counters).await;
        let closed = consumer.close().await;
        stopped?;
        worked?;
        committed?;
        Ok(closed?)
    }
}

/// Polls and hands out, until a poll fails for good.
async fn work(
    consumer: &mut Consumer,
    lanes: &Lanes,
    assigned: &Assigned,
    counters: &Counters,
) -> Error {
    loop {
        let loads = match poll(consumer, POLL, lanes, assigned, counters).await {
            Ok(loads) => loads,
            Err(error) => return error,
        };
        if let Err(error) = hand_out(loads, consumer, lanes, assigned, counters).await {
            return error;
        }
    }
}

/// Polls, and sorts what comes. Failures that pass are counted, and answered with nothing after a pause.
async fn poll(
    consumer: &mut Consumer,
    patience: Duration,
    lanes: &Lanes,
    assigned: &Assigned,
    counters: &Counters,
) -> Result<Vec<Load>> {
    match consumer.poll(patience).await {
        Ok(records) if records.is_empty() => Ok(Vec::new()),
        Ok(records) => Ok(sort(&records, lanes, assigned, counters)),
        Err(error) if passes(&error) => {
            counters.poll_failed(error);
            sleep(PAUSE).await;
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Gives each lane its load. While the lanes are full, goes on polling, with all partitions paused, as long as handlers finish: so slow
/// handlers with much before them hold no rebalance up, and only one that is stuck for `max_poll_interval` costs the place in the group.
async fn hand_out(
    loads: Vec<Load>,
    consumer: &mut Consumer,
    lanes: &Lanes,
    assigned: &Assigned,
    counters: &Counters,
) -> Result<()> {
    let mut waiting = VecDeque::from([loads]);
    let mut paused = false;
    while let Some(loads) = waiting.pop_front() {
        let mut handing = pin!(lanes.hand_out(loads));
        let mut ended = counters.ended();
        while timeout(FULL, handing.as_mut()).await.is_err() {
            let ended_before = std::mem::replace(&mut ended, counters.ended());
            if ended == ended_before {
                continue;
            }
            paused = true;
            // Partitions that the last of these polls brought are paused before the next.
            consumer.pause(&consumer.assignment())?;
            let more = poll(consumer, Duration::ZERO, lanes, assigned, counters).await?;
            if !more.is_empty() {
                waiting.push_back(more);
            }
        }
    }
    if paused {
        consumer.resume(&consumer.paused())?;
    }
    Ok(())
}

/// Copies `records` into one load for each lane, those left out that were finished before a restart.
fn sort(records: &Records, lanes: &Lanes, assigned: &Assigned, counters: &Counters) -> Vec<Load> {
    let mut loads = lanes.loads();
    for run in records.partitions() {
        let partition = partition_of(run, assigned);
        let finished_before = partition.arrive(
            run.iter(),
            |record| (record.offset, record.leader_epoch),
            |record| {
                let RecordView {
                    offset,
                    timestamp_ms,
                    key,
                    value,
                    ..
                } = record;
                let headers = record
                    .headers
                    .iter()
                    .map(|header| (header.key, header.value));
                loads[lanes.lane_of(&partition, key)].push(
                    &partition,
                    offset,
                    timestamp_ms,
                    key,
                    value,
                    headers,
                );
            },
        );
        partition.advance(run.next_offset());
        count(&counters.repeated, finished_before);
    }
    count(&counters.received, records.count() as u64);
    count(
        &counters.received_bytes,
        loads.iter().map(Load::bytes).sum::<usize>() as u64,
    );
    loads
}

/// The partition that `run` is of; a new one where what is known is not about these records.
fn partition_of(run: PartitionRecords<'_>, assigned: &Assigned) -> Arc<Partition> {
    let moved_back = |partition: &Partition| {
        let first = run.iter().next();
        first.is_some_and(|record| partition.is_past(record.offset))
    };
    assigned
        .find(run.partition())
        .filter(|partition| !moved_back(partition))
        .unwrap_or_else(|| assigned.put(run.partition().clone(), OffsetTracker::default()))
}
