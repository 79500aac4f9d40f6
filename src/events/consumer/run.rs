//! From one start to the end that follows it, of a consumer of events or a queue. In: a task, and who wants it stopped. Out: how it ended, to
//! whoever waits.

use tokio::sync::watch;

use super::ConsumerError;
use crate::kafka::runtime::tasks::supervised;

/// How it ended; `None` while it runs.
type End = Option<Result<(), ConsumerError>>;

/// A run, as who started it holds it; `view` is what can be seen of it.
#[derive(Clone)]
pub(super) struct Run<V> {
    stop: watch::Sender<bool>,
    end: watch::Receiver<End>,
    pub view: V,
}

/// The other side of a run: the task that is still to be started.
pub(super) struct Begun {
    stopped: watch::Receiver<bool>,
    ended: watch::Sender<End>,
}

impl<V> Run<V> {
    pub fn new(view: V) -> (Self, Begun) {
        let (stop, stopped) = watch::channel(false);
        let (ended, end) = watch::channel(None);
        (Self { stop, end, view }, Begun { stopped, ended })
    }

    pub fn is_running(&self) -> bool {
        self.end.borrow().is_none() && self.end.has_changed().is_ok()
    }

    /// Waits until it ends.
    pub async fn ended(mut self) -> Result<(), ConsumerError> {
        match self.end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(Ok(())),
            Err(_) => Err(ConsumerError::Gone),
        }
    }

    /// Asks it to stop, and waits until it ends.
    pub async fn stop(self) -> Result<(), ConsumerError> {
        self.stop.send_replace(true);
        self.ended().await
    }
}

impl Begun {
    /// Starts the task `name`, which is told when it is to stop.
    pub fn spawn<F>(self, name: &'static str, task: impl FnOnce(watch::Receiver<bool>) -> F)
    where
        F: Future<Output = Result<(), ConsumerError>> + Send + 'static,
    {
        let Self { stopped, ended } = self;
        let task = task(stopped);
        tokio::spawn(async move {
            let result = supervised(name, task).await;
            let result = result.unwrap_or_else(|error| Err(error.into()));
            // Nobody waits any more when who started it was dropped.
            let _ = ended.send(Some(result));
        });
    }
}
