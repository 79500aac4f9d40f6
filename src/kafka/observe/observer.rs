//! The seam to whoever watches a client. In: what happens, from wherever it happens. Out: one call of the observer; without one, a branch.

use std::fmt;
use std::sync::Arc;

use super::ClientEvent;

/// Is told what happens to clients: for logs, metrics, alarms.
///
/// Set as [`ClientConfig::observer`](crate::kafka::ClientConfig::observer); several clients may share one. With the feature `tracing` the
/// default is `observe::Tracing`.
///
/// Called by the client's own tasks, and by those that call the client, between two of their steps: an observer has to be quick and must not
/// wait for anything. A panic in it is a panic of that task, and ends the client.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Something happened. There will be more kinds of events: ignore those that are of no interest. The default ignores all.
    fn on_event(&self, event: &ClientEvent<'_>) {
        let _ = event;
    }

    /// Whether producers tell of each record that they accept, as [`ClientEvent::RecordAccepted`]: what an interceptor of Java's sees. It is
    /// told by whoever enqueues the record, before that returns, and costs what the observer makes of it. Asked once, when a producer is
    /// created. Default false: then it costs nothing.
    fn wants_records(&self) -> bool {
        false
    }
}

/// The observer of a client, if it has one.
pub(crate) type Watch = Option<Arc<dyn Observer>>;

/// Tells the observer, if there is one. What there is to tell is put together only then.
pub(crate) fn tell<'a>(watch: &Watch, event: impl FnOnce() -> ClientEvent<'a>) {
    if let Some(observer) = watch {
        observer.on_event(&event());
    }
}
