//! One partition: who leads it, its log, its producers, and who waits for more.
//!
//! In: produce and fetch requests of one partition, and the cluster's decisions about leaders. Out: answers. Everything about a
//! partition changes under its one lock, so an append can't slip past a change of leaders. The nodes are in one process and share
//! the log: what is appended is replicated at once, the high watermark is the log's end, and a new leader misses nothing.

mod transactional;

use std::io;
use std::sync::{Arc, Weak};

use protocol::ErrorCode;
use protocol::records::RecordBatch;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::batch::{self, ProducedBatch};
use super::log::Log;
use super::producers::{Producers, Sequenced};
use super::storage::{LogSlice, LogStore, storage_error};
use super::transactions::{Aborted, Guard, Marker, PartitionTransactions, Verifications};
pub(crate) use transactional::MarkerOptions;

/// A partition's state; see the module.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) leader: Option<i32>,
    pub(crate) leader_epoch: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
    pub(crate) log: Log,
    pub(crate) producers: Producers,
    transactions: PartitionTransactions,
    verifications: Verifications,
    waiters: Vec<Weak<Notify>>,
    deleted: bool,
}

/// Where an appended batch went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    pub(crate) log_start_offset: i64,
    /// The largest timestamp of the batch; of one that was there already, as long as the log holds it.
    pub(crate) max_timestamp_ms: Option<i64>,
}

/// What an append has to keep to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppendOptions {
    pub(crate) min_in_sync: usize,
    pub(crate) retention_bytes: u64,
    /// What a batch that opens a transaction relies on.
    pub(crate) guard: Option<Guard>,
    pub(crate) now: Instant,
}

/// What a fetch asks of a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadRequest {
    pub(crate) node: i32,
    pub(crate) fetch_offset: i64,
    pub(crate) current_leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
    pub(crate) max_bytes: usize,
    pub(crate) at_least_one: bool,
    pub(crate) read_committed: bool,
}

/// What a fetch gets from a partition.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) high_watermark: i64,
    pub(crate) last_stable_offset: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) records: LogSlice,
    /// The end of the newest epoch that both sides know, when the reader has followed another leader's log.
    pub(crate) diverging: Option<(i32, i64)>,
    /// For a read_committed reader: what of these records is void.
    pub(crate) aborted: Option<Vec<Aborted>>,
}

impl Read {
    /// With records that are in files, which are read without the partition's lock.
    pub(crate) async fn loaded(mut self) -> io::Result<Self> {
        if self.records.is_unread() {
            self.records = self.records.loaded().await?;
            let end_offset = self.records.end_offset;
            if let Some(aborted) = &mut self.aborted {
                aborted.retain(|aborted| aborted.first_offset < end_offset);
            }
        }
        Ok(self)
    }
}

impl Partition {
    /// A new partition, led by the first of its replicas.
    pub(crate) fn new(replicas: Vec<i32>, mut log: Log) -> Self {
        log.begin_epoch(0);
        Self {
            leader: replicas.first().copied(),
            leader_epoch: 0,
            isr: replicas.clone(),
            replicas,
            log,
            producers: Producers::default(),
            transactions: PartitionTransactions::default(),
            verifications: Verifications::default(),
            waiters: Vec::new(),
            deleted: false,
        }
    }

    /// A partition whose log had batches before its broker ended, each of which [`replay`](Self::replay) is to be shown, before the log is
    /// [restored](Self::restored).
    pub(crate) fn to_be_replayed(replicas: Vec<i32>) -> Self {
        Self {
            log: Log::default(),
            ..Self::new(replicas, Log::default())
        }
    }

    /// Takes note of the next batch that the log had.
    pub(crate) fn replay(&mut self, batch: &RecordBatch, now: Instant) {
        self.log.replay(batch);
        let (offset, timestamp_ms) = (batch.base_offset(), batch.max_timestamp());
        if let Some(marker) = Marker::of(batch) {
            (self.producers).marked(&marker, offset, timestamp_ms, now);
        } else if let Some(sequenced) = Sequenced::of(batch).filter(|_| !batch.is_control()) {
            (self.producers).appended(&sequenced, offset, timestamp_ms, now);
        }
        self.transactions.appended(batch, offset);
    }

    /// Takes over the place where those batches are. The epoch is that of a new leader, after `noted` and every one of a record.
    pub(crate) fn restored(
        &mut self,
        store: Box<dyn LogStore>,
        bounds: (i64, i64),
        noted: Option<i32>,
    ) {
        self.log.restored(store, bounds);
        self.transactions.retain_from(self.log.start_offset());
        let newest = self.log.newest_epoch().max(noted).unwrap_or(0);
        self.leader_epoch = newest.saturating_add(1);
        self.log.begin_epoch(self.leader_epoch);
    }

    /// Whether `node` leads, in the epoch that the client believes in; -1 stands for any.
    pub(crate) fn check_leader(
        &self,
        node: i32,
        current_leader_epoch: i32,
    ) -> Result<(), ErrorCode> {
        if self.deleted {
            return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        if current_leader_epoch >= 0 && self.replicas.contains(&node) {
            if current_leader_epoch < self.leader_epoch {
                return Err(ErrorCode::FENCED_LEADER_EPOCH);
            }
            if current_leader_epoch > self.leader_epoch {
                return Err(ErrorCode::UNKNOWN_LEADER_EPOCH);
            }
        }
        if self.leader == Some(node) {
            Ok(())
        } else {
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)
        }
    }

    /// Whether as many replicas are in sync as a write needs: never more than there are, whatever the topic says.
    fn check_in_sync(&self, min_in_sync: usize) -> Result<(), ErrorCode> {
        match self.isr.len() < min_in_sync.min(self.replicas.len()) {
            true => Err(ErrorCode::NOT_ENOUGH_REPLICAS),
            false => Ok(()),
        }
    }

    /// Appends a batch, unless it is already there.
    pub(crate) fn append(
        &mut self,
        node: i32,
        produced: ProducedBatch,
        options: &AppendOptions,
    ) -> Result<Appended, ErrorCode> {
        self.check_leader(node, -1)?;
        self.check_in_sync(options.min_in_sync)?;
        if let Some(base_offset) = self.check_producer(&produced, options)? {
            return Ok(Appended {
                base_offset,
                log_start_offset: self.log.start_offset(),
                max_timestamp_ms: (self.log.max_timestamp_at(base_offset))
                    .map_err(storage_error)?,
            });
        }
        let max_timestamp_ms = produced.batch.max_timestamp_ms;
        let base_offset =
            (self.log.append(produced.batch, self.leader_epoch)).map_err(storage_error)?;
        if let Some(sequenced) = &produced.sequenced {
            (self.producers).appended(sequenced, base_offset, max_timestamp_ms, options.now);
            if produced.is_transactional {
                self.transactions.begin(sequenced.producer_id, base_offset);
                self.verifications.end(sequenced.producer_id);
            }
        }
        self.retain(options.retention_bytes);
        self.wake();
        Ok(Appended {
            base_offset,
            log_start_offset: self.log.start_offset(),
            max_timestamp_ms: Some(max_timestamp_ms),
        })
    }

    /// Appends whatever it is, for tests.
    pub(crate) fn append_unchecked(&mut self, batch: &RecordBatch) -> Result<(), ErrorCode> {
        let base_offset =
            (self.log.append(batch::stored(batch), self.leader_epoch)).map_err(storage_error)?;
        self.transactions.appended(batch, base_offset);
        self.wake();
        Ok(())
    }

    /// Drops the oldest batches, and what is known of them.
    pub(crate) fn retain(&mut self, max_bytes: u64) {
        self.log.retain(max_bytes);
        self.transactions.retain_from(self.log.start_offset());
    }

    /// Keeps to other bounds from now on, and drops what is beyond them.
    pub(crate) fn bound(&mut self, segment_bytes: u64, retention_bytes: u64) {
        self.log.bound(segment_bytes, retention_bytes);
        if !self.deleted {
            self.retain(retention_bytes);
        }
    }

    /// Drops what stands before `offset`, all of it if that is `None`. Returns where the log begins now.
    pub(crate) fn delete_before(&mut self, offset: Option<i64>) -> Result<i64, ErrorCode> {
        let high_watermark = self.log.end_offset();
        let offset = offset.unwrap_or(high_watermark);
        if !(0..=high_watermark).contains(&offset) {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        self.log.delete_before(offset);
        self.transactions.retain_from(self.log.start_offset());
        self.log.note(self.leader_epoch).map_err(storage_error)?;
        Ok(self.log.start_offset())
    }

    /// Cuts the log off, under a new leader epoch; what producers wrote beyond its end is forgotten.
    pub(crate) fn truncate(&mut self, offset: i64) {
        // What cannot be cut off stays: of a log in memory everything can.
        let _ = self.log.truncate(offset);
        self.transactions.truncate(self.log.end_offset());
        self.producers.truncate(self.log.end_offset());
        self.lead(self.leader);
    }

    /// Up to where read_committed readers may read.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        let stable = self.transactions.last_stable_offset(self.log.end_offset());
        // What an open transaction begins with may have been deleted.
        stable.max(self.log.start_offset())
    }

    /// Reads for a fetch.
    pub(crate) fn read(&self, request: &ReadRequest) -> Result<Read, ErrorCode> {
        self.check_leader(request.node, request.current_leader_epoch)?;
        let high_watermark = self.log.end_offset();
        let mut read = Read {
            high_watermark,
            last_stable_offset: self.last_stable_offset(),
            log_start_offset: self.log.start_offset(),
            records: LogSlice::default(),
            diverging: None,
            aborted: request.read_committed.then(Vec::new),
        };
        if request.last_fetched_epoch >= 0 {
            let end = self
                .log
                .end_of_epoch(request.last_fetched_epoch)
                .ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
            if end.0 < request.last_fetched_epoch || end.1 < request.fetch_offset {
                read.diverging = Some(end);
                return Ok(read);
            }
        }
        if !(self.log.start_offset()..=high_watermark).contains(&request.fetch_offset) {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let end = if request.read_committed {
            read.last_stable_offset
        } else {
            high_watermark
        };
        read.records = self.log.read(
            request.fetch_offset,
            request.max_bytes,
            request.at_least_one,
            end,
        );
        if request.read_committed && read.records.is_unread() {
            read.aborted = Some(self.transactions.aborted(request.fetch_offset, end));
        } else if request.read_committed && read.records.len > 0 {
            read.aborted = Some(
                self.transactions
                    .aborted(request.fetch_offset, read.records.end_offset),
            );
        }
        Ok(read)
    }

    /// Has `waiter` woken at the next change.
    pub(crate) fn wait(&mut self, waiter: &Arc<Notify>) {
        self.waiters.retain(|other| other.strong_count() > 0);
        let waiter = Arc::downgrade(waiter);
        if !self.waiters.iter().any(|other| other.ptr_eq(&waiter)) {
            self.waiters.push(waiter);
        }
    }

    /// Wakes every fetch that waits for this partition.
    pub(crate) fn wake(&mut self) {
        for waiter in self.waiters.drain(..).filter_map(|waiter| waiter.upgrade()) {
            waiter.notify_one();
        }
    }

    /// Makes `node`, or nobody, the leader, in a new epoch.
    pub(crate) fn lead(&mut self, node: Option<i32>) {
        self.leader = node;
        self.leader_epoch += 1;
        if node.is_some() {
            self.log.begin_epoch(self.leader_epoch);
        }
        // What could not be noted is known from the records that are appended; and the data directory says that it failed.
        let _ = self.log.note(self.leader_epoch);
        self.wake();
    }

    /// A node went down: it leaves the in-sync set, and another replica of it leads.
    pub(crate) fn node_stopped(&mut self, node: i32) {
        let others: Vec<_> = self
            .isr
            .iter()
            .copied()
            .filter(|other| *other != node)
            .collect();
        if self.leader == Some(node) {
            self.lead(others.first().copied());
        }
        // The last in-sync replica stays one, as only it can lead again.
        if !others.is_empty() {
            self.isr = others;
        }
    }

    /// A node came back: it catches up at once.
    pub(crate) fn node_started(&mut self, node: i32) {
        if !self.replicas.contains(&node) {
            return;
        }
        if self.leader.is_none() && self.isr.contains(&node) {
            self.lead(Some(node));
        }
        if self.leader.is_some() && !self.isr.contains(&node) {
            self.isr.push(node);
        }
    }

    /// The topic is gone: requests that still hold it find nothing.
    pub(crate) fn delete(&mut self) {
        self.deleted = true;
        self.log.delete();
        self.wake();
    }
}
