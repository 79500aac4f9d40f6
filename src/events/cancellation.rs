//! A flag that is raised once, for those who ask and for those who wait: how handlers hear that they are to come to an end.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Cancellation {
    cancelled: AtomicBool,
    raised: Notify,
}

impl Cancellation {
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.raised.notify_waiters();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Waits until it is.
    pub(crate) async fn cancelled(&self) {
        let raised = self.raised.notified();
        if !self.cancelled.load(Ordering::SeqCst) {
            raised.await;
        }
    }

    /// Waits until one of them is.
    pub(crate) async fn either([one, other]: [&Self; 2]) {
        tokio::select! {
            biased;
            () = one.cancelled() => {}
            () = other.cancelled() => {}
        }
    }
}
