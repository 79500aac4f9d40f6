//! Who waits for the results of acknowledgements. In: how many brokers' answers are awaited, and each as it comes. Out: what became of each
//! partition.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::kafka::runtime::Mutex;
use crate::kafka::runtime::tasks::Tasks;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// What became of acknowledgements, by partition.
///
/// An error is of all that was sent of the partition at once: a broker takes all of it or nothing. Its
/// [`outcome`](crate::kafka::Error::outcome) says whether they may have been applied. Records whose acknowledgements were not are delivered again
/// when their locks time out.
pub type AcknowledgementResults = BTreeMap<TopicPartition, Result<()>>;

/// Answers that are awaited together.
#[derive(Clone, Debug)]
pub(super) struct Ticket(Arc<Mutex<Waiting>>);

#[derive(Debug)]
struct Waiting {
    awaited: usize,
    results: AcknowledgementResults,
    done: Option<oneshot::Sender<AcknowledgementResults>>,
}

/// Acknowledgements on their way. Dropping it changes nothing.
#[derive(Debug)]
#[must_use = "what became of them is what it resolves to"]
pub struct PendingAcknowledgements {
    done: oneshot::Receiver<AcknowledgementResults>,
    tasks: Tasks,
}

impl Ticket {
    /// One for which nothing is awaited yet, and what resolves.
    pub fn new(tasks: &Tasks) -> (Self, PendingAcknowledgements) {
        let (sender, done) = oneshot::channel();
        let waiting = Waiting {
            awaited: 1,
            results: BTreeMap::new(),
            done: Some(sender),
        };
        let tasks = tasks.clone();
        (
            Self(Arc::new(Mutex::new(waiting))),
            PendingAcknowledgements { done, tasks },
        )
    }

    /// One more answer is awaited.
    pub fn expect(&self) {
        self.0.lock().awaited += 1;
    }

    /// No more will be expected.
    pub fn complete(&self) {
        self.0.lock().one_less();
    }

    /// An answer came.
    pub fn answered(&self, partition: &TopicPartition, result: &Result<()>) {
        let mut waiting = self.0.lock();
        let known = waiting.results.entry(partition.clone()).or_insert(Ok(()));
        if known.is_ok() {
            known.clone_from(result);
        }
        waiting.one_less();
    }
}

impl Waiting {
    fn one_less(&mut self) {
        self.awaited -= 1;
        if self.awaited == 0
            && let Some(done) = self.done.take()
        {
            let _ = done.send(std::mem::take(&mut self.results));
        }
    }
}

/// Resolves when each broker has answered, or the request timeout has passed for it.
impl Future for PendingAcknowledgements {
    type Output = Result<AcknowledgementResults>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = Pin::new(&mut self.done).poll(context);
        answered.map(|done| {
            done.map_err(|_| {
                let closed = || Error::new(ErrorKind::Closed, "the share consumer was closed");
                self.tasks.failure().unwrap_or_else(closed)
            })
        })
    }
}
