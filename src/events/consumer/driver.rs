//! The loop that polls the client and gives each lane its records. Thin: which records are to be handled and what may be committed is
//! the trackers' decision, who handles what the lanes'.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

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
use crate::kafka::{Consumer, Error, RecordView, Records};

/// The longest that one poll waits.
const POLL: Duration = Duration::from_millis(500);
/// The pause after a failed poll that may be repeated.
const PAUSE: Duration = Duration::from_millis(100);

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
        match consumer.poll(POLL).await {
            Ok(records) if records.is_empty() => {}
            Ok(records) => {
                let loads = sort(&records, lanes, assigned, counters);
                // The memory that was fetched into goes back before anything is waited for.
                drop(records);
                lanes.hand_out(loads).await;
            }
            Err(error) if passes(&error) => sleep(PAUSE).await,
            Err(error) => return error,
        }
    }
}

/// Copies `records` into one load for each lane, those left out that were finished before a restart.
fn sort(records: &Records, lanes: &Lanes, assigned: &Assigned, counters: &Counters) -> Vec<Load> {
    let mut loads = lanes.loads();
    for run in records.partitions() {
        let partition = partition_of(run, assigned);
        let finished_before = partition.arrive(
            run.iter(),
            |record| record.offset,
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
