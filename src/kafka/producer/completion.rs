//! What is known of the records of a batch: one completion for all of them.
//!
//! [`Part`] is the duty to say what became of some records of a batch; it can be split with its batch, and one that is dropped
//! unresolved resolves as "closed, outcome unknown", so that no handle waits for ever.

use std::sync::{Arc, MutexGuard};
use std::task::{Poll, Waker};

use super::transaction::Failures;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::runtime::Mutex;
use crate::kafka::{Error, ErrorKind, Result, WriteOutcome};

/// Where a batch, or a part of one, was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// The first record's offset, where the broker told.
    pub base_offset: Option<i64>,
    /// The broker's timestamp, where the topic takes it.
    pub append_time_ms: Option<i64>,
}

impl Written {
    /// Where the records are that come `count` records later.
    fn behind(self, count: u32) -> Self {
        let base_offset = self.base_offset;
        Self {
            base_offset: base_offset.map(|base| base.saturating_add(i64::from(count))),
            ..self
        }
    }
}

/// What is known of a batch's records. Shared by their handles, by the batch itself and by whoever flushes.
#[derive(Debug)]
pub(super) struct Completion {
    pub topic: Arc<str>,
    pub partition: i32,
    /// Where failures are noted, if the batch is of a transaction.
    failures: Option<Arc<Failures>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is known, where that is one thing: as a rule it is, and of all records.
    only: Option<Segment>,
    /// What is known otherwise, in the order of the records.
    several: Vec<Segment>,
    /// Parts that have not resolved yet.
    parts: u32,
    waiting: Vec<Waker>,
    /// Counts the wake-ups: a ticket of an earlier round is void.
    round: u32,
}

#[derive(Debug)]
struct Segment {
    span: Span,
    result: Result<Written>,
}

/// Some records that follow one another.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u32,
    count: u32,
}

impl Span {
    /// Cuts off the first `count` records, or all if there are no more.
    fn split_off_front(&mut self, count: u32) -> Span {
        let front = Span {
            first: self.first,
            count: count.min(self.count),
        };
        self.first += front.count;
        self.count -= front.count;
        front
    }
}

/// A place in the list of those waiting; void once they were woken.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    round: u32,
    place: Option<u32>,
}

impl State {
    fn learn(&mut self, span: Span, result: Result<Written>) {
        if span.count == 0 {
            return;
        }
        let segment = Segment { span, result };
        if self.known().is_empty() {
            self.only = Some(segment);
            return;
        }
        self.several.extend(self.only.take());
        let place = self
            .several
            .partition_point(|known| known.span.first < span.first);
        self.several.insert(place, segment);
    }

    /// What is known, in the order of the records.
    fn known(&self) -> &[Segment] {
        match &self.only {
            Some(only) => std::slice::from_ref(only),
            None => &self.several,
        }
    }

    fn result_of(&self, index: u32) -> Option<Result<Written>> {
        let known = self.known();
        let behind = known.partition_point(|segment| segment.span.first <= index);
        let Segment { span, result } = known.get(behind.checked_sub(1)?)?;
        let place = index - span.first;
        let of_record = |written: &Written| written.behind(place);
        (place < span.count).then(|| result.as_ref().map(of_record).map_err(Error::clone))
    }

    fn wait(&mut self, ticket: &mut Ticket, waker: &Waker) {
        match ticket.place {
            Some(place) if ticket.round == self.round => {
                self.waiting[place as usize].clone_from(waker);
            }
            _ => {
                *ticket = Ticket {
                    round: self.round,
                    place: Some(self.waiting.len() as u32),
                };
                self.waiting.push(waker.clone());
            }
        }
    }
}

impl Completion {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What became of the record at `index`, if that is known: the offset is the record's own.
    pub fn result_of(&self, index: u32) -> Option<Result<Written>> {
        self.lock().result_of(index)
    }

    /// As [`result_of`](Self::result_of), and leaves `waker` to be woken when more is known.
    pub fn poll(&self, index: u32, ticket: &mut Ticket, waker: &Waker) -> Poll<Result<Written>> {
        let mut state = self.lock();
        if let Some(result) = state.result_of(index) {
            return Poll::Ready(result);
        }
        state.wait(ticket, waker);
        Poll::Pending
    }

    /// Waits until the outcome of every record is known; fails with the first failure among them.
    pub async fn resolved(self: Arc<Self>) -> Result<()> {
        let mut ticket = Ticket::default();
        std::future::poll_fn(move |context| {
            let mut state = self.lock();
            let is_open = state.parts > 0;
            #[cfg(planted_defects)]
            let is_open = is_open
                && !(planted::is_planted(planted::Defect::FlushForgetsParts)
                    && !state.known().is_empty());
            if is_open {
                state.wait(&mut ticket, context.waker());
                return Poll::Pending;
            }
            let failed = state
                .known()
                .iter()
                .find_map(|segment| segment.result.as_ref().err());
            Poll::Ready(failed.map_or(Ok(()), |error| Err(error.clone())))
        })
        .await
    }

    pub fn is_resolved(&self) -> bool {
        self.lock().parts == 0
    }

    /// Whether the batch is of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.failures.is_some()
    }
}

/// The duty to say what became of some records of a batch, which were or will be written one after the other.
#[derive(Debug)]
pub(super) struct Part {
    completion: Option<Arc<Completion>>,
    span: Span,
    /// The records behind those, if some in between were taken out.
    rest: Vec<Span>,
}

impl Part {
    /// The duty for a whole new batch of `topic`-`partition`, whose length is not known yet.
    pub fn whole(topic: Arc<str>, partition: i32) -> Self {
        Self::whole_of(topic, partition, None)
    }

    /// As [`whole`](Self::whole); where the batch is of a transaction, its failures are noted for that.
    pub fn whole_of(topic: Arc<str>, partition: i32, failures: Option<Arc<Failures>>) -> Self {
        let completion = Arc::new(Completion {
            topic,
            partition,
            failures,
            state: Mutex::new(State {
                parts: 1,
                ..State::default()
            }),
        });
        let span = Span {
            first: 0,
            count: u32::MAX,
        };
        Self {
            completion: Some(completion),
            span,
            rest: Vec::new(),
        }
    }

    /// What the records' handles share.
    pub fn completion(&self) -> &Arc<Completion> {
        match &self.completion {
            Some(completion) => completion,
            // Only `finish` takes it, and that consumes or drops the part.
            None => unreachable!("a part outlived its resolution"),
        }
    }

    /// Cuts off the first `count` records as a part of their own.
    pub fn split_off_front(&mut self, count: u32) -> Part {
        let span = self.span.split_off_front(count);
        let mut front = self.another(span);
        let mut missing = count - front.span.count;
        let mut used_up = 0;
        for span in &mut self.rest {
            if missing == 0 {
                break;
            }
            let more = span.split_off_front(missing);
            missing -= more.count;
            front.rest.push(more);
            used_up += usize::from(span.count == 0);
        }
        self.rest.drain(..used_up);
        front
    }

    /// Takes out single records, by their places among the part's records, which ascend: each is a part of its own.
    pub fn take_out(&mut self, places: &[u32]) -> Vec<Part> {
        let (mut left, mut out) = (Vec::new(), Vec::with_capacity(places.len()));
        let mut places = places.iter().copied().peekable();
        let mut passed = 0;
        for mut span in std::iter::once(self.span).chain(std::mem::take(&mut self.rest)) {
            while let Some(place) = places.next_if(|place| place - passed < span.count) {
                let before = span.split_off_front(place - passed);
                out.push(self.another(span.split_off_front(1)));
                passed = place + 1;
                left.push(before);
            }
            passed = passed.saturating_add(span.count);
            left.push(span);
        }
        left.retain(|span| span.count > 0);
        let mut left = left.into_iter();
        self.span = left.next().unwrap_or(Span {
            first: self.span.first,
            count: 0,
        });
        self.rest = left.collect();
        out
    }

    /// The duty for other records of the same batch.
    fn another(&self, span: Span) -> Part {
        let completion = self.completion().clone();
        completion.lock().parts += 1;
        Part {
            completion: Some(completion),
            span,
            rest: Vec::new(),
        }
    }

    /// Says what became of the part's records.
    pub fn resolve(mut self, result: Result<Written>) {
        self.finish(result);
    }

    fn finish(&mut self, result: Result<Written>) {
        let Some(completion) = self.completion.take() else {
            return;
        };
        if let (Some(failures), Err(error)) = (&completion.failures, &result) {
            failures.note(error);
        }
        let waiting = {
            let mut state = completion.lock();
            state.parts -= 1;
            state.round = state.round.wrapping_add(1);
            let mut passed = self.span.count;
            for span in self.rest.drain(..) {
                let behind = result.clone().map(|written| written.behind(passed));
                state.learn(span, behind);
                passed = passed.saturating_add(span.count);
            }
            state.learn(self.span, result);
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.completion.is_some() {
            let error = Error::new(
                ErrorKind::Closed,
                "the producer ended before the broker answered",
            );
            self.finish(Err(error.with_outcome(WriteOutcome::Unknown)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::producer::delivery::Delivery;

    fn written(offset: i64) -> Result<Written> {
        Ok(Written {
            base_offset: Some(offset),
            append_time_ms: None,
        })
    }

    fn offset(delivery: &Delivery) -> Option<i64> {
        delivery
            .outcome()
            .and_then(Result::ok)
            .and_then(|known| known.offset)
    }

    #[tokio::test]
    async fn one_resolution_completes_every_record_of_a_batch() {
        let part = Part::whole("t".into(), 3);
        let handles: Vec<_> = (0..3)
            .map(|n| Delivery::new(part.completion().clone(), n, 77))
            .collect();
        let waiting: Vec<_> = handles.into_iter().map(tokio::spawn).collect();
        tokio::task::yield_now().await;
        part.resolve(written(100));
        for (n, handle) in waiting.into_iter().enumerate() {
            let metadata = handle.await.unwrap().unwrap();
            assert_eq!(metadata.offset, Some(100 + n as i64));
            assert_eq!((metadata.partition, metadata.timestamp_ms), (3, 77));
        }
    }

    /// KAFKA-19479: a flush returned before the parts of a split batch were sent.
    #[tokio::test]
    async fn a_split_batch_is_resolved_only_when_all_of_its_parts_are() {
        let mut rest = Part::whole("t".into(), 0);
        let completion = rest.completion().clone();
        let handles: Vec<_> = (0..4)
            .map(|n| Delivery::new(completion.clone(), n, 0))
            .collect();
        let front = rest.split_off_front(3);
        let flush = tokio::spawn(completion.clone().resolved());
        front.resolve(written(10));
        tokio::task::yield_now().await;
        assert!(!flush.is_finished());
        assert_eq!((offset(&handles[2]), offset(&handles[3])), (Some(12), None));
        rest.resolve(written(50));
        assert!(flush.await.unwrap().is_ok());
        assert_eq!(offset(&handles[3]), Some(50));
    }

    #[test]
    fn a_batch_that_is_dropped_leaves_no_record_waiting() {
        let part = Part::whole("t".into(), 0);
        let handle = Delivery::new(part.completion().clone(), 0, 0);
        drop(part);
        let error = handle.outcome().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(error.outcome(), WriteOutcome::Unknown);
    }

    #[test]
    fn an_offset_that_no_log_has_is_no_reason_to_panic() {
        let part = Part::whole("t".into(), 0);
        let handle = Delivery::new(part.completion().clone(), 5, 0);
        part.resolve(written(i64::MAX - 1));
        assert_eq!(offset(&handle), Some(i64::MAX));
    }

    #[test]
    fn records_that_are_taken_out_have_fates_of_their_own_and_the_others_move_up() {
        for places in [
            &[0][..],
            &[3],
            &[7],
            &[0, 1],
            &[2, 3, 7],
            &[0, 2, 4, 6],
            &[0, 1, 2, 3, 4, 5, 6, 7],
        ] {
            let mut part = Part::whole("t".into(), 0);
            let completion = part.completion().clone();
            let handles: Vec<_> = (0..8)
                .map(|n| Delivery::new(completion.clone(), n, 0))
                .collect();
            for (n, out) in part.take_out(places).into_iter().enumerate() {
                out.resolve(written(1_000 + n as i64));
            }
            assert!(!completion.is_resolved());
            // Cut up after that, and once more records_removed out.
            let front = part.split_off_front(2);
            let mut left: Vec<u32> = (0..8).filter(|n| !places.contains(n)).collect();
            let more = if left.len() > 2 {
                let more = part.take_out(&[0]);
                assert_eq!(more.len(), 1);
                more
            } else {
                Vec::new()
            };
            part.resolve(written(200));
            front.resolve(written(100));
            more.into_iter().for_each(|out| out.resolve(written(500)));
            assert!(completion.is_resolved());
            let mut expected = std::collections::BTreeMap::new();
            for (n, place) in places.iter().enumerate() {
                expected.insert(*place, 1_000 + n as i64);
            }
            let rest = left.split_off(left.len().min(2));
            expected.extend(left.into_iter().zip(100..));
            let mut rest = rest.into_iter();
            expected.extend(rest.next().map(|n| (n, 500)));
            expected.extend(rest.zip(200..));
            for (n, handle) in (0..).zip(&handles) {
                assert_eq!(offset(handle), expected.get(&n).copied(), "{places:?}, {n}");
            }
        }
    }

    #[tokio::test]
    async fn polling_a_delivery_again_and_again_keeps_one_place_in_the_queue() {
        let part = Part::whole("t".into(), 0);
        let mut handle = Delivery::new(part.completion().clone(), 0, 0);
        for _ in 0..100 {
            tokio::select! {
                biased;
                _ = &mut handle => unreachable!("nothing resolved it"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(part.completion().lock().waiting.len(), 1);
    }
}
