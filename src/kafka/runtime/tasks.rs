//! The internal tasks of a client, supervised. In: a name and a future. Out: the future run in the background; when it panics, or when the
//! runtime is shut down under it, everybody who waits for what it does is told, by a fatal error that names the task. A task that ended
//! unseen would be a stall.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, MutexGuard, Weak};
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::kafka::runtime::Mutex;
use crate::kafka::{Error, ErrorKind, Result};

#[cfg(test)]
pub(crate) mod planted;
#[cfg(all(test, feature = "broker"))]
pub(crate) mod tests;

/// The tasks of a client, or of one producer, consumer or admin on it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tasks(Arc<Inner>);

/// The tasks of one consumer, which end with it.
#[derive(Default)]
pub(crate) struct OwnTasks(Mutex<Vec<AbortHandle>>);

impl OwnTasks {
    /// As [`Tasks::spawn`].
    pub fn spawn(
        &self,
        tasks: &Tasks,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let handle = tasks.spawn(name, task);
        let mut own = self.0.lock();
        own.retain(|task| !task.is_finished());
        own.push(handle);
    }

    /// Ends each of them; `tasks` is over.
    pub fn end(&self, tasks: &Tasks) {
        tasks.end();
        let own = std::mem::take(&mut *self.0.lock());
        own.iter().for_each(AbortHandle::abort);
    }
}

struct Inner {
    runtime: Handle,
    /// The tasks that these depend on: those of the client.
    parent: Option<Tasks>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The first failure: what follows it is its doing.
    failure: Option<Error>,
    /// Called once each, with the first failure.
    listeners: Vec<Listener>,
    /// Those that fail with these.
    children: Vec<Weak<Inner>>,
    /// The client is over: how tasks end is of no interest any more.
    ended: bool,
}

type Listener = Box<dyn FnOnce(&Error) + Send>;

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("failure", &self.failure())
            .finish_non_exhaustive()
    }
}

impl Tasks {
    /// Tasks on the runtime that calls this; an error where none does.
    pub fn new() -> Result<Self> {
        let runtime = Handle::try_current().map_err(|error| {
            let message = "a client needs a Tokio runtime to be created in";
            Error::new(ErrorKind::Config, message).because(error)
        })?;
        Ok(Self(Arc::new(Inner {
            runtime,
            parent: None,
            state: Mutex::default(),
        })))
    }

    /// Tasks that fail when these do, and whose own failure or end is nothing to these.
    pub fn child(&self) -> Self {
        let child = Arc::new(Inner {
            runtime: self.0.runtime.clone(),
            parent: Some(self.clone()),
            state: Mutex::default(),
        });
        let mut state = self.lock();
        state.children.retain(|child| child.strong_count() > 0);
        state.children.push(Arc::downgrade(&child));
        Self(child)
    }

    /// Runs `task` on the client's runtime, whoever calls. A panic in it, and the end of the runtime, fail the client; being aborted does
    /// too, unless the client was [ended](Self::end) before.
    pub fn spawn(
        &self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        let name = name.into();
        let alarm = Alarm {
            tasks: self.clone(),
            name: Some(name.clone()),
        };
        let tasks = self.clone();
        let supervised = async move {
            tasks.watched(name, task).await;
            alarm.disarm();
        };
        self.0.runtime.spawn(supervised).abort_handle()
    }

    /// Awaits `task`; a panic in it fails the client. For tasks that live in a set of their own, and for a part of a task that leaves
    /// something to be cleared up.
    pub async fn watched(
        &self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = ()>,
    ) {
        if let Err(error) = supervised(&name.into(), task).await {
            self.fail(error);
        }
    }

    /// The error that ended the client, if one of its tasks did not end as it should.
    pub fn failure(&self) -> Option<Error> {
        let own = self.lock().failure.clone();
        own.or_else(|| self.0.parent.as_ref()?.failure())
    }

    /// Fails once a task of the client has.
    pub fn check(&self) -> Result<()> {
        self.failure().map_or(Ok(()), Err)
    }

    /// Calls `tell` with the first failure: at once, where there was one. It must not wait for anything, and must not own the client.
    pub fn on_failure(&self, tell: impl FnOnce(&Error) + Send + 'static) {
        let mut state = self.lock();
        let before = self.0.parent.as_ref().and_then(Self::failure);
        match state.failure.clone().or(before) {
            Some(failure) => {
                drop(state);
                tell(&failure);
            }
            None => state.listeners.push(Box::new(tell)),
        }
    }

    /// The client is over: its tasks may be aborted.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let listeners = std::mem::take(&mut state.listeners);
        drop(state);
        drop(listeners);
    }

    fn fail(&self, error: Error) {
        let mut state = self.lock();
        if state.ended || state.failure.is_some() {
            return;
        }
        state.failure = Some(error.clone());
        let listeners = std::mem::take(&mut state.listeners);
        let children = std::mem::take(&mut state.children);
        drop(state);
        for child in children.iter().filter_map(Weak::upgrade) {
            Self(child).fail(error.clone());
        }
        for tell in listeners {
            tell(&error);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

/// Fails the client when a task is dropped before its end.
struct Alarm {
    tasks: Tasks,
    /// The task's name; taken at its end.
    name: Option<Cow<'static, str>>,
}

impl Alarm {
    fn disarm(mut self) {
        self.name = None;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.tasks.fail(match std::thread::panicking() {
                true => panicked(&name, "while it was dropped"),
                false => dropped(&name),
            });
        }
    }
}

/// Awaits `task`, which is called `name`; a panic in it becomes a fatal error that names it.
pub(crate) async fn supervised<F: Future>(name: &str, task: F) -> Result<F::Output> {
    #[cfg(test)]
    let task = planted::panicking(name, task);
    caught(task).await.map_err(|panic| panicked(name, &panic))
}

/// The error of a task that panicked.
fn panicked(name: &str, message: &str) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!(
            "the client's task {name:?} panicked: {message:?}; this is a defect, please report it; create a new client to go on"
        ),
    )
}

fn dropped(name: &str) -> Error {
    Error::new(
        ErrorKind::Closed,
        format!(
            "the client's task {name:?} was dropped before its end: the runtime that the client was created in has shut down; create a new client on one that lives"
        ),
    )
}

/// Awaits `future`; a panic in it becomes an error with the panic's message.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // Unwind safe: a future that has panicked is not polled again.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic_message(panic.as_ref()))),
        }
    })
    .await
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_string())
}
