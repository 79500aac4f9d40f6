//! One broker as the producer sees it: which partitions it leads, what they have for it, and when its sender is woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use super::ready::{Enough, Readiness, ReadyList};
use crate::kafka::Error;
use crate::kafka::producer::partition::queue::PartitionQueue;
use crate::kafka::runtime::Mutex;

/// How many partitions are looked at to see whether more comes.
const LOOKED_AT: usize = 16;

/// How much waits for a broker. More than before when records came in between, unless batches left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Filled {
    /// Bytes of the partitions that are ready, as far as they told.
    ready: usize,
    /// Bytes of those that were looked at, the longest waiting.
    looked_at: usize,
}

/// A broker's share of the producer.
#[derive(Debug)]
pub(crate) struct BrokerQueue {
    pub id: i32,
    /// Requests in flight.
    in_flight: AtomicUsize,
    /// Locked after a partition, never before one.
    ready: Mutex<ReadyList<Arc<PartitionQueue>>>,
    /// Why there is no connection to it.
    unreachable: Mutex<Option<Error>>,
    wakeup: Notify,
}

impl BrokerQueue {
    pub fn new(id: i32, enough: Enough) -> Self {
        Self {
            id,
            in_flight: AtomicUsize::new(0),
            ready: Mutex::new(ReadyList::new(enough)),
            unreachable: Mutex::default(),
            wakeup: Notify::new(),
        }
    }

    /// The partition at `slot` has this to send now: wakes the sender if it has to know. True when the sender has enough to do.
    ///
    /// As Nagle's algorithm has it: what comes while nothing is in flight leaves at once, and so does a full batch; the rest waits for
    /// a response, for more records, or for the linger time.
    pub fn publish(&self, slot: usize, readiness: Readiness) -> bool {
        let changed = self.ready.lock().update(slot, readiness);
        if changed.wake {
            self.wake();
        }
        changed.enough
    }

    /// Whether it is time to send: see [`ReadyList::is_due`].
    pub fn is_due(
        &self,
        now: Instant,
        linger: Duration,
        hurry: bool,
    ) -> Result<(), Option<Instant>> {
        self.ready.lock().is_due(now, linger, hurry)
    }

    /// How much waits, if it is `least` bytes or more. Partitions do not tell of each record, but a few of them are looked at.
    pub fn filled(&self, least: usize) -> Option<Filled> {
        let (ready, looked_at) = {
            let list = self.ready.lock();
            if list.bytes() < least {
                return None;
            }
            (list.bytes(), list.first_open(LOOKED_AT))
        };
        let bytes = |queue: &Arc<PartitionQueue>| queue.lock().accumulator.bytes();
        Some(Filled {
            ready,
            looked_at: looked_at.iter().map(bytes).sum(),
        })
    }

    /// Begins to drain partitions: see [`ReadyList::round`].
    pub fn round(&self) -> u64 {
        self.ready.lock().round()
    }

    /// The next partition to drain: see [`ReadyList::pop`].
    pub fn pop(&self, round: u64) -> Option<Arc<PartitionQueue>> {
        self.ready.lock().pop(round)
    }

    /// Wakes the sender to look again.
    pub fn wake(&self) {
        self.wakeup.notify_one();
    }

    /// Waits to be woken.
    pub async fn woken(&self) {
        self.wakeup.notified().await;
    }

    pub fn set_in_flight(&self, requests: usize) {
        self.in_flight.store(requests, SeqCst);
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(SeqCst)
    }

    /// Remembers why there is no connection to the broker, or that there is one.
    pub fn note(&self, unreachable: Option<Error>) {
        *self.unreachable.lock() = unreachable;
    }

    /// Why there is no connection to the broker, if the last attempt failed.
    pub fn unreachable(&self) -> Option<Error> {
        self.unreachable.lock().clone()
    }

    /// The partitions that it leads.
    pub fn queues(&self) -> Vec<Arc<PartitionQueue>> {
        self.ready.lock().queues().cloned().collect()
    }

    /// A partition that it leads from now on; returns its slot.
    pub fn join(&self, queue: Arc<PartitionQueue>) -> usize {
        self.ready.lock().join(queue)
    }

    /// It leads the partition at `slot` no more.
    pub fn leave(&self, slot: usize) {
        self.ready.lock().leave(slot);
    }
}
