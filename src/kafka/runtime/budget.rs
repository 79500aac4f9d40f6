//! Bytes that may be in use: by one producer or consumer, one level down by a reader of a partition, one level up by all users of a client
//! together. In: bytes taken and returned. Out: whether there is room, a place in the queue for it, and a wake-up when there is again.
//!
//! Nobody starves for what others hold on to: a quarter of what is had in common is kept for those who have less than an equal part of that
//! quarter. What needs more than that, and more than is left, goes by the right to an [`Excess`], which one user has at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A byte budget.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// What its user has together with others: what is in use here is in use there as well.
    common: Option<Arc<Budget>>,
    /// How many have this one in common.
    members: AtomicUsize,
    waiting: AtomicUsize,
    /// Those who wait come in here in the order of asking, one at a time.
    turn: Semaphore,
    freed: Notify,
    /// Who may take more than is left.
    excess: Arc<Semaphore>,
    /// Tells the members of a common budget that one of them waits.
    short: Notify,
    is_closed: AtomicBool,
    closed: Notify,
}

/// Bytes of a budget; returned when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

/// The right to take more than is left, which one has at a time of all that have a budget in common. It goes with what is taken by it.
#[derive(Debug)]
pub(crate) struct Excess {
    _permit: OwnedSemaphorePermit,
}

/// Of what is had in common, one part of so many is kept for those who have little of it.
const KEPT_PART: usize = 4;

impl Budget {
    /// A budget of `limit` bytes, within what its user has in `common` with others.
    pub fn new(limit: usize, common: Option<Arc<Budget>>) -> Arc<Self> {
        if let Some(common) = &common {
            common.members.fetch_add(1, SeqCst);
        }
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            common,
            members: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            turn: Semaphore::new(1),
            freed: Notify::new(),
            excess: Arc::new(Semaphore::new(1)),
            short: Notify::new(),
            is_closed: AtomicBool::new(false),
            closed: Notify::new(),
        })
    }

    /// All there is, used or not.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The same, or an equal part of what is had in common where that is less.
    pub fn fair_limit(&self) -> usize {
        let fair = |common: &Arc<Self>| common.limit / common.members.load(SeqCst).max(1);
        self.common
            .as_ref()
            .map_or(self.limit, |common| self.limit.min(fair(common)))
    }

    /// What is in use.
    pub fn used(&self) -> usize {
        self.used.load(SeqCst)
    }

    /// What is left.
    pub fn left(&self) -> usize {
        let left = self.limit.saturating_sub(self.used());
        self.common
            .as_ref()
            .map_or(left, |common| left.min(common.left()))
    }

    /// What of it the user may have whatever the others hold on to.
    fn entitled(&self) -> usize {
        let share = |common: &Arc<Self>| common.share().min(self.limit);
        self.common.as_ref().map_or(self.limit, share)
    }

    /// What each of those who have this one in common may have, whatever the others hold on to.
    fn share(&self) -> usize {
        self.entitled() / KEPT_PART / self.members.load(SeqCst).max(1)
    }

    /// What is left for this user: not what is kept for others, but what is kept for itself in any case.
    ///
    /// Whoever takes no more than that never takes what is not there: what is beyond the shares is taken while all other shares fit beside it.
    pub fn fairly_left(&self) -> usize {
        let used = self.used();
        let own = self.limit.saturating_sub(used);
        let Some(common) = &self.common else {
            return own;
        };
        let share = common.share();
        let others = common.members.load(SeqCst).saturating_sub(1);
        let open = common.fairly_left().saturating_sub(share * others);
        own.min(open.max(share.saturating_sub(used)))
    }

    /// The right to take more than is left, unless somebody has it, or waits for it.
    pub fn try_excess(&self) -> Option<Arc<Excess>> {
        let excess = self.outermost().excess.clone();
        let permit = excess.try_acquire_owned().ok()?;
        Some(Arc::new(Excess { _permit: permit }))
    }

    /// Waits for the right to take more than is left, in the order of asking. Cancel safe: the place in the queue is given up with the future.
    /// Whoever stops polling it must drop it: the right may have come to it, and nobody else has it then.
    pub fn excess(&self) -> impl Future<Output = Arc<Excess>> + Send + use<> {
        let excess = self.outermost().excess.clone();
        async move {
            match excess.acquire_owned().await {
                Ok(permit) => Arc::new(Excess { _permit: permit }),
                // It is never closed.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// The common budget, if that is the one that has no room for `bytes`.
    pub fn short_of(&self, bytes: usize) -> Option<&Self> {
        let common = self.common.as_deref()?;
        (self.used() + bytes <= self.limit).then_some(common)
    }

    /// Charges `bytes`, unless that many are not free or others are waiting.
    pub fn try_charge(&self, bytes: usize) -> bool {
        if self.waiting.load(SeqCst) > 0 || !self.take(bytes) {
            return false;
        }
        let has_room = (self.common.as_ref()).is_none_or(|common| common.try_charge(bytes));
        if !has_room {
            self.put_back(bytes);
        }
        has_room
    }

    /// Takes `bytes`, also when they are more than what is left: who takes has looked before, or cannot choose.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Reservation {
        self.charge(bytes);
        let budget = self.clone();
        Reservation { budget, bytes }
    }

    /// Waits until `bytes` are free, in the order of asking; `None` once the budget is closed. Cancel safe: a place in the queue is given up
    /// with the future.
    pub async fn acquire(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        struct Taken<'a>(&'a Budget, usize);
        impl Drop for Taken<'_> {
            fn drop(&mut self) {
                self.0.put_back(self.1);
            }
        }
        self.queue(bytes, self).await?;
        let taken = Taken(self, bytes);
        debug_assert!(
            self.common
                .as_ref()
                .is_none_or(|common| common.common.is_none())
        );
        if let Some(common) = &self.common {
            common.queue(bytes, self).await?;
        }
        std::mem::forget(taken);
        let budget = self.clone();
        Some(Reservation { budget, bytes })
    }

    /// Waits until `bytes` of this level were taken; `None` once `user` is closed.
    async fn queue(&self, bytes: usize, user: &Self) -> Option<()> {
        let mut closed = std::pin::pin!(user.closed.notified());
        closed.as_mut().enable();
        if user.is_closed.load(SeqCst) {
            return None;
        }
        if self.waiting.load(SeqCst) == 0 && self.take(bytes) {
            return Some(());
        }
        let _waiting = Waiting::new(self);
        let taken = async {
            let _turn = self.turn.acquire().await;
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                freed.as_mut().enable();
                if self.take(bytes) {
                    return;
                }
                freed.await;
            }
        };
        tokio::select! {
            biased;
            () = closed => None,
            () = taken => Some(()),
        }
    }

    /// Returns what was charged.
    pub fn release(&self, bytes: usize) {
        self.put_back(bytes);
        if let Some(common) = &self.common {
            common.release(bytes);
        }
    }

    /// Whether someone waits for room: then nothing else should.
    pub fn is_short(&self) -> bool {
        self.waiting.load(SeqCst) > 0
            || (self.common.as_ref()).is_some_and(|common| common.is_short())
    }

    /// Resolves when someone begins to wait for what is had in common, after this call; never if nothing is.
    pub fn becomes_short(&self) -> impl Future<Output = ()> {
        let short = self.common.as_ref().map(|common| common.short.notified());
        async move {
            match short {
                Some(short) => short.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Resolves when some are freed after it was enabled, by whoever has them in common.
    pub fn freed(&self) -> Notified<'_> {
        self.outermost().freed.notified()
    }

    /// Resolves those futures though nothing was freed: something else has changed that they go by.
    pub fn look_again(&self) {
        self.outermost().freed.notify_waiters();
    }

    /// Whoever waits for room learns that there will be none.
    pub fn close(&self) {
        self.is_closed.store(true, SeqCst);
        self.closed.notify_waiters();
    }

    fn outermost(&self) -> &Self {
        self.common.as_deref().map_or(self, Self::outermost)
    }

    /// Takes `bytes` of this level, if they are free.
    fn take(&self, bytes: usize) -> bool {
        let free = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used.fetch_update(SeqCst, SeqCst, free).is_ok()
    }

    fn put_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, SeqCst);
        self.freed.notify_waiters();
    }

    fn charge(&self, bytes: usize) {
        self.used.fetch_add(bytes, SeqCst);
        if let Some(common) = &self.common {
            common.charge(bytes);
        }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        if let Some(common) = &self.common {
            common.members.fetch_sub(1, SeqCst);
            // What nobody is there to return.
            common.release(*self.used.get_mut());
        }
    }
}

impl Reservation {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Spends `bytes` of it, which stay charged; false if there are not so many.
    pub fn spend(&mut self, bytes: usize) -> bool {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.unwrap_or(self.bytes);
        left.is_some()
    }

    /// Changes what is reserved to `bytes`.
    pub fn adjust(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.charge(bytes - self.bytes);
        } else {
            self.budget.release(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.release(self.bytes);
        }
    }
}

/// Counts those who wait for room, also when they give up waiting.
struct Waiting<'a>(&'a Budget);

impl<'a> Waiting<'a> {
    fn new(budget: &'a Budget) -> Self {
        if budget.waiting.fetch_add(1, SeqCst) == 0 {
            budget.short.notify_waiters();
        }
        Self(budget)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests;
