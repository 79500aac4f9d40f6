//! One broker as the producer sees it: which partitions it leads, how much waits for it, and when its sender is woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::Notify;

use crate::kafka::Error;
use crate::kafka::producer::partition::accumulator::WakeReason;
use crate::kafka::producer::partition::queue::PartitionQueue;
use crate::kafka::runtime::Mutex;

/// A broker's share of the producer.
#[derive(Debug)]
pub(crate) struct BrokerQueue {
    pub id: i32,
    /// As many waiting bytes are worth a request of their own, though others are in flight.
    enough_bytes: usize,
    /// Requests in flight.
    in_flight: AtomicUsize,
    /// Bytes that wait in all of its partitions.
    waiting: AtomicUsize,
    queues: Mutex<Arc<Vec<Arc<PartitionQueue>>>>,
    /// Why there is no connection to it.
    unreachable: Mutex<Option<Error>>,
    wakeup: Notify,
}

impl BrokerQueue {
    pub fn new(id: i32, enough_bytes: usize) -> Self {
        Self {
            id,
            enough_bytes,
            in_flight: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queues: Mutex::default(),
            unreachable: Mutex::default(),
            wakeup: Notify::new(),
        }
    }

    /// Wakes the sender if `news` is something to act on. Returns how many bytes wait, if that is enough for a request.
    ///
    /// As Nagle's algorithm has it: what comes while nothing is in flight leaves at once, and so does a full batch; the rest waits for
    /// an answer, for more records, or for the linger time, which the sender learns about with the first record.
    pub fn announce(&self, wake_reason: WakeReason) -> Option<usize> {
        let waiting = self.waiting.load(SeqCst);
        let enough = waiting >= self.enough_bytes;
        if enough || matches!(wake_reason, WakeReason::First | WakeReason::Full) {
            self.wakeup.notify_one();
        }
        enough.then_some(waiting)
    }

    /// Wakes the sender to look at everything again.
    pub fn wake(&self) {
        self.wakeup.notify_one();
    }

    /// Waits to be woken.
    pub async fn woken(&self) {
        self.wakeup.notified().await;
    }

    /// A partition's waiting bytes went from `before` to `after`.
    pub fn adjust(&self, before: usize, after: usize) {
        self.waiting.fetch_add(after.wrapping_sub(before), SeqCst);
    }

    /// Whether so many waiting bytes are enough for a request while others are under way.
    pub fn is_enough(&self, waiting: usize) -> bool {
        waiting >= self.enough_bytes
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
    pub fn queues(&self) -> Arc<Vec<Arc<PartitionQueue>>> {
        self.queues.lock().clone()
    }

    pub fn join(&self, queue: &Arc<PartitionQueue>) {
        Arc::make_mut(&mut *self.queues.lock()).push(queue.clone());
    }

    pub fn leave(&self, queue: &Arc<PartitionQueue>) {
        Arc::make_mut(&mut *self.queues.lock()).retain(|other| !Arc::ptr_eq(other, queue));
    }
}
