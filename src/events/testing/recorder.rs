//! A producer that remembers what it is given. In: events. Out: the same, in their order, or the error that was asked for.

use std::fmt;
use std::sync::Arc;

use crate::kafka::runtime::Mutex;
use crate::kafka::{Delivery, Error, ErrorKind, Result};

/// Stands in for an [`EventProducer`](crate::events::EventProducer) in tests: the producer's trait of each event set is implemented for it. Nothing
/// leaves the process; each event counts as written at once, to partition 0, at the next offset. Clones share what they remember.
pub struct Recorder<S>(Arc<Mutex<Recorded<S>>>);

struct Recorded<S> {
    events: Vec<S>,
    /// What the next are refused with.
    failing: Option<Error>,
}

impl<S> Recorder<S> {
    /// What was sent so far.
    pub fn events(&self) -> Vec<S>
    where
        S: Clone,
    {
        self.0.lock().events.clone()
    }

    /// What was sent so far, which is then forgotten.
    pub fn take(&self) -> Vec<S> {
        std::mem::take(&mut self.0.lock().events)
    }

    /// Refuses everything from now on with an error of this kind; `None`: takes everything again.
    pub fn fail_with(&self, kind: Option<ErrorKind>) {
        let refusal = |kind| Error::new(kind, "the recorder was told to refuse it");
        self.0.lock().failing = kind.map(refusal);
    }

    /// For the producers' traits.
    #[doc(hidden)]
    pub fn record(&self, event: S) -> Result<Delivery> {
        let mut recorded = self.0.lock();
        if let Some(error) = &recorded.failing {
            return Err(error.clone());
        }
        recorded.events.push(event);
        let offset = recorded.events.len() as i64 - 1;
        let (delivery, outcome) = Delivery::in_memory("recorded", 0, 0);
        outcome.written(offset);
        Ok(delivery)
    }
}

impl<S> Default for Recorder<S> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Recorded {
            events: Vec::new(),
            failing: None,
        })))
    }
}

impl<S> Clone for Recorder<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> fmt::Debug for Recorder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::email::{EmailDeleted, EmailEventProducer, EmailEvents};

    #[tokio::test]
    async fn what_is_sent_is_remembered_and_what_is_refused_is_not() {
        let recorder = Recorder::<EmailEvents>::default();
        let event = |id: &str| EmailDeleted {
            email_id: id.into(),
            ..Default::default()
        };
        let other = recorder.clone();
        let written = other.send_email_deleted(&event("a")).await;
        assert_eq!(written.expect("taken").offset, Some(0));
        recorder.fail_with(Some(ErrorKind::Connect));
        let refused = recorder.enqueue_email_deleted(&event("b")).await;
        assert_eq!(refused.expect_err("down").kind(), ErrorKind::Connect);
        recorder.fail_with(None);
        let delivery = recorder.enqueue_email_deleted(&event("c")).await;
        let written = delivery.expect("taken").await.expect("written");
        assert_eq!(written.offset, Some(1));
        let expected = ["a", "c"].map(|id| EmailEvents::from(event(id)));
        assert_eq!(recorder.events(), expected);
        assert_eq!(recorder.take(), expected);
        assert_eq!(recorder.events(), []);
    }
}
