//! The byte budget that all producers of one client share, if the client has one. In: bytes charged and released, by producer. Out: whether
//! there is room, or a place in the queue for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::memory::{Waiting, clamp};
use crate::kafka::ClientConfig;

/// What the producers of a client may take together.
#[derive(Debug)]
pub(crate) struct ClientBudget {
    budget: Arc<Semaphore>,
    total: usize,
    waiting: AtomicUsize,
}

/// One producer's share in it. What is still charged when it is dropped is released.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<ClientBudget>,
    charged: AtomicUsize,
    is_closed: AtomicBool,
    closed: Notify,
}

/// Bytes acquired and not yet spent; released when dropped.
#[derive(Debug)]
pub(super) struct SharedReservation {
    permit: OwnedSemaphorePermit,
    share: Arc<Share>,
}

impl ClientBudget {
    /// That of a client with this configuration; `None` when its producers have only their own.
    pub fn of(config: &ClientConfig) -> Option<Arc<Self>> {
        let total = config.producers_buffer_bytes?;
        Some(Arc::new(Self {
            budget: Arc::new(Semaphore::new(total)),
            total,
            waiting: AtomicUsize::new(0),
        }))
    }
}

impl Share {
    pub fn new(of: Arc<ClientBudget>) -> Arc<Self> {
        Arc::new(Self {
            of,
            charged: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            closed: Notify::new(),
        })
    }

    /// Charges `bytes`, unless that many are not free or others are waiting.
    pub fn try_charge(&self, bytes: usize) -> bool {
        match self.of.budget.try_acquire_many(clamp(bytes)) {
            Ok(permit) => {
                self.charge(bytes);
                permit.forget();
                true
            }
            Err(_) => false,
        }
    }

    /// Waits until `bytes` are free, in the order in which the client's producers ask; `None` once the producer is closed. Cancel safe.
    pub async fn reserve(self: Arc<Self>, bytes: usize) -> Option<SharedReservation> {
        let _waiting = Waiting::new(&self.of.waiting);
        let acquire = self.of.budget.clone().acquire_many_owned(clamp(bytes));
        let permit = {
            let mut closed = std::pin::pin!(self.closed.notified());
            closed.as_mut().enable();
            if self.is_closed.load(SeqCst) {
                return None;
            }
            tokio::select! {
                biased;
                () = closed => return None,
                permit = acquire => permit.ok()?,
            }
        };
        let share = self.clone();
        Some(SharedReservation { permit, share })
    }

    /// Releases what was charged.
    pub fn release(&self, bytes: usize) {
        self.charged.fetch_sub(bytes, SeqCst);
        self.of.budget.add_permits(bytes);
    }

    /// Whether so many bytes are not free.
    pub fn lacks(&self, bytes: usize) -> bool {
        self.of.budget.available_permits() < bytes
    }

    /// All that the client's producers may take.
    pub fn total(&self) -> usize {
        self.of.total
    }

    /// Whether a producer of the client waits for room.
    pub fn is_short(&self) -> bool {
        self.of.waiting.load(SeqCst) > 0
    }

    /// Nobody waits for this producer any more.
    pub fn close(&self) {
        self.is_closed.store(true, SeqCst);
        self.closed.notify_waiters();
    }

    fn charge(&self, bytes: usize) {
        self.charged.fetch_add(bytes, SeqCst);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.budget.add_permits(*self.charged.get_mut());
    }
}

impl SharedReservation {
    /// Spends `bytes` of it, as far as there are so many.
    pub fn spend(&mut self, bytes: usize) {
        if let Some(spent) = self.permit.split(bytes) {
            self.share.charge(bytes);
            spent.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, timeout};

    use super::*;

    fn budget(total: usize) -> Arc<ClientBudget> {
        let config = ClientConfig {
            producers_buffer_bytes: Some(total),
            ..ClientConfig::default()
        };
        ClientBudget::of(&config).expect("a budget")
    }

    async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
        timeout(Duration::from_secs(1), future).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_producer_has_the_others_have_not_until_it_is_gone() {
        let budget = budget(100);
        let [one, other] = [(); 2].map(|()| Share::new(budget.clone()));
        assert!(one.try_charge(60) && other.try_charge(40) && !other.try_charge(1));
        assert!(other.lacks(1) && at_once(other.clone().reserve(1)).await.is_none());
        one.release(10);
        let reserved = at_once(other.clone().reserve(10)).await;
        let mut reserved = reserved.expect("at once").expect("room");
        reserved.spend(4);
        assert!(!one.try_charge(1));
        drop(reserved);
        assert!(one.try_charge(6) && !one.try_charge(1));
        // Nothing was released of what it had.
        drop(one);
        assert!(other.try_charge(56) && !other.try_charge(1));
        drop(other);
        assert_eq!(budget.budget.available_permits(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_a_producer_ends_its_waiting_and_nobody_elses() {
        let budget = budget(100);
        let [one, other] = [(); 2].map(|()| Share::new(budget.clone()));
        assert!(one.try_charge(100));
        let waiting = tokio::spawn(one.clone().reserve(10));
        let others = tokio::spawn(other.clone().reserve(10));
        tokio::task::yield_now().await;
        assert!(other.is_short());
        one.close();
        assert!(waiting.await.expect("no panic").is_none());
        assert!(one.clone().reserve(1).await.is_none());
        assert!(!others.is_finished());
        one.release(10);
        let reserved = at_once(others).await.expect("at once");
        assert!(reserved.expect("no panic").is_some() && !other.is_short());
    }
}
