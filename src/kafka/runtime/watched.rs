//! A value, and those who wait for changes of it. In: changes. Out: those who wait, woken in the order in which they began to: with tokio's `watch` a
//! random number decides, which no seed of ours does, and who comes first sends first.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Notify;

/// A value as who changes it has it. Those who watch it are told when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Watched<T>(Arc<Shared<T>>);

/// One who watches a value, and which change was seen last.
#[derive(Debug)]
pub(crate) struct Watcher<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// Nobody changes the value any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

#[derive(Debug, Default)]
struct Shared<T> {
    value: RwLock<T>,
    /// How many changes there were; raised while the value is locked.
    version: AtomicU64,
    closed: AtomicBool,
    changed: Notify,
}

impl<T> Shared<T> {
    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }
}

impl<T> Watched<T> {
    /// The value as it is. Nothing is to be awaited, or changed, as long as it is held.
    pub(crate) fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.0.read()
    }

    /// One more who watches, and has seen what there was up to now.
    pub(crate) fn watch(&self) -> Watcher<T> {
        Watcher {
            seen: self.0.version(),
            shared: self.0.clone(),
        }
    }

    pub(crate) fn set(&self, value: T) {
        self.change(|known| {
            *known = value;
            true
        });
    }

    /// Tells those who wait, though nothing has changed.
    pub(crate) fn touch(&self) {
        self.change(|_| true);
    }

    /// Changes the value; those who wait are told if `change` returns true, as this does then.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let shared = &self.0;
        let mut value = shared.value.write().unwrap_or_else(PoisonError::into_inner);
        if !change(&mut value) {
            return false;
        }
        shared.version.fetch_add(1, Ordering::SeqCst);
        drop(value);
        shared.changed.notify_waiters();
        true
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl<T> Watcher<T> {
    /// The value, which counts as seen. Nothing is to be awaited, or changed, as long as it is held.
    pub(crate) fn look(&mut self) -> RwLockReadGuard<'_, T> {
        let value = self.shared.read();
        self.seen = self.shared.version();
        value
    }

    /// Whatever it is now counts as seen.
    pub(crate) fn skip(&mut self) {
        self.seen = self.shared.version();
    }

    /// Whether it was changed since it was seen.
    #[cfg(test)]
    pub(crate) fn has_changed(&self) -> bool {
        self.seen != self.shared.version()
    }

    /// Waits until it is changed after it was seen, which it counts as then. Cancel safe.
    pub(crate) async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            // It hears of what happens from here on, polled or not.
            let changed = self.shared.changed.notified();
            let version = self.shared.version();
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if self.shared.closed.load(Ordering::SeqCst) {
                return Err(Closed);
            }
            changed.await;
        }
    }

    /// Waits until it is as `wanted` says. Cancel safe.
    pub(crate) async fn until(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Result<(), Closed> {
        while !wanted(&self.look()) {
            self.changed().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_change_is_seen_once() {
        let watched = Watched::<u32>::default();
        watched.set(1);
        let mut watcher = watched.watch();
        assert!(!watcher.has_changed(), "it began after that");
        watched.set(2);
        watched.set(3);
        assert_eq!(watcher.changed().await, Ok(()));
        assert_eq!(*watcher.look(), 3);
        assert!(!watcher.has_changed());
        assert!(!watched.change(|_| false));
        assert!(!watcher.has_changed());
        watched.touch();
        assert_eq!(watcher.changed().await, Ok(()));
        watched.set(4);
        watcher.skip();
        drop(watched);
        assert_eq!(watcher.changed().await, Err(Closed));
        assert_eq!(*watcher.look(), 4);
    }

    #[tokio::test]
    async fn a_change_before_the_end_is_seen_before_the_end() {
        let watched = Watched::<u32>::default();
        let mut watcher = watched.watch();
        watched.set(1);
        drop(watched);
        assert_eq!(watcher.changed().await, Ok(()));
        assert_eq!(watcher.until(|value| *value == 2).await, Err(Closed));
        assert_eq!(watcher.until(|value| *value == 1).await, Ok(()));
    }

    /// More than are told at once by what this is made of (32).
    #[tokio::test]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_came() {
        let watched = Watched::<u32>::default();
        let woken = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for nth in 0..100 {
            let (mut watcher, woken) = (watched.watch(), woken.clone());
            tasks.spawn(async move {
                watcher.until(|value| *value > 0).await.expect("a change");
                woken.lock().expect("no holder panics").push(nth);
            });
        }
        // A runtime polls so many tasks in a turn.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        watched.set(1);
        while let Some(ended) = tasks.join_next().await {
            ended.expect("it ends");
        }
        let woken = woken.lock().expect("no holder panics").clone();
        assert_eq!(woken, (0..100).collect::<Vec<_>>());
    }
}
