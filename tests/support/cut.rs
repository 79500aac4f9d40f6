//! A call that is dropped after some polls. In: when. Out: what it returned, if it was done before.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// When a call is dropped.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// After so many polls.
    pub polls: usize,
    /// Not at once, but when it is woken the next time: what it waited for has come, and it does not look.
    pub woken: bool,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.woken { ", when woken again" } else { "" };
        write!(f, "dropped after {} polls{when}", self.polls)
    }
}

impl Cut {
    /// What `call` returns, unless it is dropped before.
    pub async fn of<F: Future>(self, call: F) -> Option<F::Output> {
        let mut call = pin!(call);
        let mut left = self.polls;
        poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= 1;
            match call.as_mut().poll(context) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if left == 0 && !self.woken => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}
