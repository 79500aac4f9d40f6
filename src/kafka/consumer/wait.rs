//! Waiting for whichever comes first: a wakeup or a time.

use std::future::Future;

use tokio::time::{Instant, sleep_until};

/// Waits for `wakeup`, or until `until`. Cancel safe where `wakeup` is.
pub(crate) async fn wait(wakeup: impl Future<Output = ()>, until: Option<Instant>) {
    match until {
        None => wakeup.await,
        Some(until) => {
            tokio::select! {
                biased;
                () = wakeup => {}
                () = sleep_until(until) => {}
            }
        }
    }
}
