//! From a poll's records to the scheduler: copies them together, and holds back the partitions that have no room for more.
//!
//! In: records. Out: work for the scheduler; how many bytes the next poll may return; partitions paused and resumed. What a poll returned is in
//! flight before anything else runs: the position never stands beyond records that no tracker knows of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::assigned::Assigned;
use super::metrics::{Counters, count};
use super::partition::Partition;
use super::scheduler::{Memory, Shared, WorkBatchBuilder};
use crate::events::TenantFilter;
use crate::events::cloudevents::TENANT_ID;
use crate::events::failure::{Chain, Envelope, FailureHandling};
use crate::events::tenants::tenant_id;
use crate::kafka::consumer::commit::offset_tracker::OffsetTracker;
use crate::kafka::consumer::{ConsumerHandle, PartitionRecords};
use crate::kafka::runtime::Mutex;
use crate::kafka::{RecordView, Records, TopicPartition};

/// The most bytes that one poll takes, before workers have their turn: what they find then still stands in the processor's cache, which is a
/// tenth of what an event costs.
const AT_ONCE: usize = 256 << 10;

/// Where records come in. One task calls it.
pub(super) struct Distributor {
    consumer: ConsumerHandle,
    assigned: Assigned,
    workers: Arc<Shared>,
    memory: Arc<Memory>,
    counters: Arc<Counters>,
    filter: TenantFilter,
    /// How many bytes the next poll may return.
    most: AtomicUsize,
    /// What is done about failures: also what is known of records that were read from retry topics.
    failing: Arc<FailureHandling>,
    /// Taken by nobody else: for sharing a future between threads only.
    state: Mutex<DistributorState>,
}

/// What is kept from poll to poll.
struct DistributorState {
    /// The partitions that have something in flight, or are paused.
    busy: BTreeMap<TopicPartition, Arc<Partition>>,
    /// What is handed out next.
    collected: WorkBatchBuilder,
}

impl Distributor {
    pub(super) fn new(
        consumer: ConsumerHandle,
        assigned: Assigned,
        workers: Arc<Shared>,
        memory: Arc<Memory>,
        counters: Arc<Counters>,
        filter: TenantFilter,
        failing: Arc<FailureHandling>,
    ) -> Self {
        let most = AtomicUsize::new(memory.room(0).unwrap_or(1).min(AT_ONCE));
        let state = Mutex::new(DistributorState {
            busy: BTreeMap::new(),
            collected: WorkBatchBuilder::new(memory.clone()),
        });
        Self {
            consumer,
            assigned,
            workers,
            memory,
            counters,
            filter,
            most,
            failing,
            state,
        }
    }

    /// How many bytes a poll may return.
    pub(super) fn most(&self) -> &AtomicUsize {
        &self.most
    }

    /// Hands out `records`, those left out that were finished before a restart, and looks for room again.
    pub(super) fn take(&self, records: &Records) {
        self.take_until(records, |run| Some(run.next_offset()));
        count(&self.counters.received, records.count() as u64);
    }

    /// As [`take`](Self::take), but of each partition what stands before the offset that `until` says; none of it if that is `None`. What is not
    /// taken will not be missed: whoever calls this sees to it that it is read again.
    pub(super) fn take_until(
        &self,
        records: &Records,
        mut until: impl FnMut(PartitionRecords<'_>) -> Option<i64>,
    ) {
        let mut state = self.state.lock();
        for run in records.partitions() {
            let Some(next) = until(run) else {
                continue;
            };
            let partition = self.partition_of(run);
            self.collect(&mut state.collected, &partition, run, next);
            state.busy.insert(partition.name.clone(), partition);
        }
        self.balance(&mut state);
    }

    /// Looks for room, and lets go on what had to wait.
    pub(super) fn look_for_room(&self) {
        self.balance(&mut self.state.lock());
    }

    /// Lets go on what waits for room because of records of a topic that is gone: another has its name now, and has not taken any.
    pub(super) fn resume_recreated(&self) {
        self.state.lock().busy.retain(|name, partition| {
            if partition.is_released() {
                return false;
            }
            let position = self.consumer.position_to_commit(name);
            let recreated = position.is_some_and(|now| !partition.is_of(now.topic_id));
            if recreated && partition.set_paused(false) {
                let _ = self.consumer.resume(std::slice::from_ref(name));
            }
            !recreated
        });
    }

    /// The partitions that wait for room.
    pub(super) fn waiting(&self) -> Vec<Arc<Partition>> {
        let state = self.state.lock();
        let waiting = state
            .busy
            .values()
            .filter(|partition| partition.is_paused());
        waiting.cloned().collect()
    }

    /// Pauses the partitions that have as much in flight as they may, resumes those that may have more, and bounds the next poll so that
    /// none takes more than it may.
    fn balance(&self, state: &mut DistributorState) {
        self.memory.want_room();
        let mut most = self.memory.room(0).unwrap_or(0).min(AT_ONCE);
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        state.busy.retain(|name, partition| {
            if partition.is_released() {
                return false;
            }
            let held = partition.held();
            match self.memory.room(held) {
                Some(room) => {
                    most = most.min(room);
                    if partition.set_paused(false) && !partition.is_waiting() {
                        resume.push(name.clone());
                    }
                    held > 0
                }
                None => {
                    if !partition.set_paused(true) {
                        pause.push(name.clone());
                    }
                    true
                }
            }
        });
        // One that is not assigned any more is in nobody's way.
        for name in pause {
            let _ = self.consumer.pause(&[name]);
        }
        for name in &resume {
            let _ = self.consumer.resume(std::slice::from_ref(name));
        }
        if most > self.most.swap(most, Ordering::Relaxed) {
            self.consumer.wake();
        }
    }

    /// Whether the record's tenant is one whose events are handled.
    fn takes(&self, record: &RecordView<'_>) -> bool {
        if self.filter.takes_all() {
            return true;
        }
        let mut headers = record.headers.raw();
        let tenant = headers.find(|(name, _)| *name == TENANT_ID.as_bytes());
        let tenant = tenant.and_then(|(_, value)| value);
        let takes = (self.filter).takes(tenant.and_then(|name| std::str::from_utf8(name).ok()));
        if !takes {
            count(&self.counters.filtered, 1);
            if let Some(name) = tenant {
                let mut counts = self.counters.tenants.lock();
                counts.received(tenant_id(tenant), || name, true);
            }
        }
        takes
    }

    /// Copies the records of `run` together, and hands them out batch by batch.
    fn collect(
        &self,
        collected: &mut WorkBatchBuilder,
        partition: &Arc<Partition>,
        run: PartitionRecords<'_>,
        next: i64,
    ) {
        let level = partition.level();
        let (mut bytes, mut repeated, mut skipped) = (0, 0, Vec::new());
        let mut leader_epoch = None;
        let first = run.iter().next().map_or(0, |record| record.offset);
        // Asked before, so that nothing below holds up the partition's handlers.
        let finished = partition.finished_before(first..next);
        let mut finished = finished.into_iter().peekable();
        for record in run.iter().take_while(|record| record.offset < next) {
            let RecordView {
                offset,
                timestamp_ms,
                key,
                value,
                ..
            } = record;
            leader_epoch = record.leader_epoch;
            while finished.next_if(|range| range.end <= offset).is_some() {}
            if finished.peek().is_some_and(|range| range.start <= offset) {
                collected.pass(offset);
                repeated += 1;
                continue;
            }
            let envelope = match level {
                0 => None,
                _ => Envelope::parse(|| record.headers.raw()).filter(|it| {
                    let chain = partition.chain.as_ref();
                    let is_of_it = chain.is_some_and(|(chain, _)| is_of(chain, it));
                    is_of_it && self.failing.is_ours(&it.letter)
                }),
            };
            // One that is in a retry topic was taken before.
            let takes = match level {
                0 => self.takes(&record),
                _ => envelope.is_some(),
            };
            if !takes {
                collected.pass(offset);
                skipped.push(offset);
                continue;
            }
            let headers = match &envelope {
                Some(envelope) => record.headers.first(envelope.own_headers),
                None => record.headers,
            };
            bytes += collected.push(partition, offset, timestamp_ms, key, value, headers);
            if let Some(envelope) = envelope {
                let failures = self.failing.failures_before(&envelope);
                collected.last_was_retried(failures, Box::new(envelope.origin()));
            }
            if collected.is_full() {
                let next = offset.saturating_add(1);
                partition.arrive(
                    collected.offsets(),
                    collected.first_ms(),
                    leader_epoch,
                    next,
                );
                partition.skip(&mut skipped);
                self.workers.hand_out(partition, collected);
            }
        }
        let first_ms = collected.first_ms();
        partition.arrive(collected.offsets(), first_ms, leader_epoch, next);
        partition.skip(&mut skipped);
        self.workers.hand_out(partition, collected);
        count(&self.counters.repeated, repeated);
        count(&self.counters.received_bytes, bytes as u64);
    }

    /// Lets records that wait for long hold on to no more memory than they need themselves, and takes over limits that were changed.
    pub(super) fn look_after(&self) {
        self.workers.leave_batches();
        self.workers.follow_limits();
    }

    /// The partition that `run` is of; a new one where what is known is not about these records.
    fn partition_of(&self, run: PartitionRecords<'_>) -> Arc<Partition> {
        let moved_back = |partition: &Partition| {
            let first = run.iter().next();
            first.is_some_and(|record| partition.is_past(record.offset))
        };
        self.assigned
            .find(run.partition())
            .filter(|partition| partition.is_of(run.topic_id()) && !moved_back(partition))
            .unwrap_or_else(|| {
                let name = run.partition().clone();
                let tracker = OffsetTracker::default();
                self.assigned.put(name, run.topic_id(), tracker)
            })
    }
}

/// Whether a record of a retry topic stood in the origin of `chain`.
pub(super) fn is_of(chain: &Chain, envelope: &Envelope) -> bool {
    envelope.letter.topic == *chain.origin.topic
        && envelope.letter.partition == chain.origin.partition
}
