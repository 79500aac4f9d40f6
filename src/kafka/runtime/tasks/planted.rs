//! A panic planted in an internal task, to prove that it reaches the caller.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;

thread_local! {
    static PLANTED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Lets the tasks of this thread whose name begins with `name` panic at their next poll; `None` takes that back.
pub(crate) fn plant(name: Option<&str>) {
    PLANTED.set(name.map(str::to_string));
}

/// Awaits `task`, and panics in it where that was planted.
pub(super) async fn panicking<F: Future>(name: &str, task: F) -> F::Output {
    let mut task = pin!(task);
    poll_fn(|context| {
        // First what is within: a part of a task that is watched by itself panics by itself.
        let polled = task.as_mut().poll(context);
        let planted = PLANTED.with_borrow(|planted| {
            planted
                .as_ref()
                .is_some_and(|planted| name.starts_with(planted.as_str()))
        });
        assert!(!planted, "a planted panic");
        polled
    })
    .await
}
