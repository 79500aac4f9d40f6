//! Between callers and the driver of a connection: requests wait here until they are written. Bounded; in call order; whatever waits here
//! can still be withdrawn.

use std::collections::VecDeque;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use bytes::Bytes;
use protocol::ApiKey;
use tokio::sync::{Semaphore, TryAcquireError, oneshot};
use tokio::time::{Duration, Instant, timeout_at};

use crate::kafka::runtime::Mutex;
use crate::kafka::{Error, ErrorKind, Result, WriteOutcome};

/// The most requests that wait or are in flight on one connection.
pub(crate) const MAX_REQUESTS: usize = 256;

/// Where a request's fate is reported.
#[derive(Debug)]
pub(super) enum Answer {
    /// The response's frame, without its length.
    Response(oneshot::Sender<Result<Bytes>>, Option<OnLength>),
    /// That the bytes are out: no response comes.
    Written(oneshot::Sender<Result<()>>),
}

/// Who is told how long an answer is, before it is read, if it is long.
pub(super) struct OnLength(pub Box<dyn FnOnce(usize) + Send>);

impl std::fmt::Debug for OnLength {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnLength")
    }
}

impl Answer {
    pub fn fail(self, error: Error) {
        // A receiver that is gone has lost interest: nothing to do.
        match self {
            Self::Response(sender, _) => drop(sender.send(Err(error))),
            Self::Written(sender) => drop(sender.send(Err(error))),
        }
    }

    fn is_withdrawn(&self) -> bool {
        match self {
            Self::Response(sender, _) => sender.is_closed(),
            // Nobody has to wait for a write without a response.
            Self::Written(_) => false,
        }
    }
}

/// When a request is given up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deadline {
    /// At this moment, whatever happens.
    Fixed(Instant),
    /// At this moment, and later by what the broker asks to pause for meanwhile: what was sent before it said so, it reads after that.
    Pausing {
        at: Instant,
        /// The pauses that the broker had asked for when the request was queued.
        before: Duration,
    },
}

impl Deadline {
    /// The moment, given all the pauses that the broker has asked for.
    pub fn moment(self, paused: Duration) -> Instant {
        match self {
            Self::Fixed(at) => at,
            Self::Pausing { at, before } => at + paused.saturating_sub(before),
        }
    }
}

/// A request that was not written yet.
#[derive(Debug)]
pub(super) struct Queued {
    pub correlation_id: i32,
    pub api: ApiKey,
    pub frame: Vec<Bytes>,
    pub deadline: Deadline,
    pub answer: Answer,
}

/// The bounded queue of one connection.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// One permit for each request that may still be accepted.
    room: Semaphore,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Queued>,
    /// No later than the earliest deadline of those that wait.
    earliest: Option<Instant>,
    /// Nothing is written before this (KIP-219).
    throttled_until: Option<Instant>,
    /// How long the broker wanted nothing, all in all.
    paused: Duration,
    /// When the oldest request in flight was handed to be written.
    unanswered_since: Option<Instant>,
    driver: Option<Waker>,
    /// All handles are gone: what waits is written, then the connection ends.
    orphaned: bool,
    /// Nothing more is accepted: what waits is written and answered, then the connection ends.
    draining: bool,
    end: Option<Error>,
}

/// What the driver is to do about the queue.
#[derive(Debug)]
pub(super) enum Taken {
    /// Write this request.
    Request(Queued),
    /// Nothing can be written now. Look again at `at`, if not woken before.
    Wait {
        /// A deadline or the end of a throttle.
        at: Option<Instant>,
    },
    /// Nobody is left who could want anything.
    Orphaned,
    /// Nothing more will come, but answers are still due.
    Drained,
}

impl Queue {
    pub fn new() -> Self {
        Self {
            inner: Mutex::default(),
            room: Semaphore::new(MAX_REQUESTS),
            closed: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Takes room for one request, or fails with [`ErrorKind::BufferFull`].
    pub fn try_reserve(&self) -> Result<()> {
        match self.room.try_acquire() {
            Ok(permit) => {
                permit.forget();
                Ok(())
            }
            Err(TryAcquireError::NoPermits) => Err(Error::new(
                ErrorKind::BufferFull,
                format!("{MAX_REQUESTS} requests are waiting on this connection already"),
            )),
            Err(TryAcquireError::Closed) => Err(self.end_error()),
        }
    }

    /// Waits for room for one request.
    pub async fn reserve(&self, deadline: Instant) -> Result<()> {
        match self.try_reserve() {
            Err(error) if error.kind() == ErrorKind::BufferFull => {}
            done => return done,
        }
        match timeout_at(deadline, self.room.acquire()).await {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(())
            }
            Ok(Err(_)) => Err(self.end_error()),
            Err(_) => Err(not_written_in_time(self.throttled_for(Instant::now()))),
        }
    }

    /// Returns room for one request: it was answered, or will not be written.
    pub fn release(&self) {
        self.room.add_permits(1);
    }

    /// Puts a request, for which there is room, behind the others.
    pub fn push(&self, queued: Queued) -> Result<()> {
        let mut inner = self.lock();
        if let Some(end) = &inner.end {
            return Err(unwritten(end));
        }
        let deadline = queued.deadline.moment(inner.paused);
        inner.earliest = Some(match inner.earliest {
            Some(earliest) => earliest.min(deadline),
            None => deadline,
        });
        inner.waiting.push_back(queued);
        let driver = inner.driver.take();
        drop(inner);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(())
    }

    /// The next request to write. Leaves `waker` to be woken when there is news.
    pub fn take(&self, now: Instant, waker: &Waker) -> Taken {
        let mut inner = self.lock();
        if inner.throttled_until.is_some_and(|until| until <= now) {
            inner.throttled_until = None;
        }
        if let Some(until) = inner.throttled_until
            && !inner.waiting.is_empty()
        {
            self.expire(&mut inner, now);
            inner.listen(waker);
            let at = inner.earliest.map_or(until, |earliest| earliest.min(until));
            return Taken::Wait { at: Some(at) };
        }
        while let Some(queued) = inner.waiting.pop_front() {
            if queued.answer.is_withdrawn() {
                self.release();
            } else if queued.deadline.moment(inner.paused) <= now {
                self.release();
                queued.answer.fail(not_written_in_time(None));
            } else {
                return Taken::Request(queued);
            }
        }
        inner.earliest = None;
        if inner.orphaned {
            return Taken::Orphaned;
        }
        if inner.draining {
            inner.listen(waker);
            return Taken::Drained;
        }
        inner.listen(waker);
        Taken::Wait { at: None }
    }

    /// As [`Queue::take`] while the driver has no room for another request: only deadlines are looked at.
    pub fn wait_only(&self, now: Instant, waker: &Waker) -> Option<Instant> {
        let mut inner = self.lock();
        self.expire(&mut inner, now);
        inner.listen(waker);
        inner.earliest
    }

    /// Fails those whose deadline has passed.
    fn expire(&self, inner: &mut Inner, now: Instant) {
        if inner.earliest.is_none_or(|earliest| earliest > now) {
            return;
        }
        let waiting = std::mem::take(&mut inner.waiting);
        inner.earliest = None;
        let throttled_for = inner.throttled_until.map(|until| until - now);
        for queued in waiting {
            let deadline = queued.deadline.moment(inner.paused);
            if deadline <= now {
                self.release();
                queued.answer.fail(not_written_in_time(throttled_for));
            } else {
                inner.earliest = Some(match inner.earliest {
                    Some(earliest) => earliest.min(deadline),
                    None => deadline,
                });
                inner.waiting.push_back(queued);
            }
        }
    }

    /// How long requests are still held back, if they are.
    pub fn throttled_for(&self, now: Instant) -> Option<Duration> {
        let until = self.lock().throttled_until?;
        until
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }

    /// Since when the oldest request in flight has been unanswered.
    pub fn unanswered_since(&self) -> Option<Instant> {
        self.lock().unanswered_since
    }

    /// The oldest request in flight was sent at this time.
    pub fn set_unanswered_since(&self, since: Option<Instant>) {
        self.lock().unanswered_since = since;
    }

    /// Holds back requests until `until` (KIP-219).
    pub fn throttle(&self, until: Instant) {
        let mut inner = self.lock();
        let now = Instant::now();
        let from = inner.throttled_until.map_or(now, |before| before.max(now));
        if until > from {
            inner.paused += until - from;
            inner.throttled_until = Some(until);
        }
    }

    /// Until when requests are held back; `None` if they never were.
    pub fn throttled_until(&self) -> Option<Instant> {
        self.lock().throttled_until
    }

    /// How long the broker wanted nothing, all in all.
    pub fn paused(&self) -> Duration {
        self.lock().paused
    }

    /// The last handle is gone.
    pub fn orphan(&self) {
        let mut inner = self.lock();
        inner.orphaned = true;
        let driver = inner.driver.take();
        drop(inner);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Whether the last handle is gone.
    pub fn is_orphaned(&self) -> bool {
        self.lock().orphaned
    }

    /// Accepts nothing more; what waits already is still written.
    pub fn drain(&self, end: &Error) {
        let mut inner = self.lock();
        inner.draining = true;
        inner.end.get_or_insert_with(|| end.clone());
        drop(inner);
        self.room.close();
        self.closed.store(true, Ordering::Release);
    }

    /// Ends it: fails what waits and whatever comes later.
    pub fn close(&self, end: &Error) {
        let waiting = {
            let mut inner = self.lock();
            inner.end.get_or_insert_with(|| end.clone());
            inner.driver = None;
            std::mem::take(&mut inner.waiting)
        };
        for queued in waiting {
            queued.answer.fail(unwritten(end));
        }
        self.room.close();
        self.closed.store(true, Ordering::Release);
    }

    /// Why it ended, if it did.
    pub fn end(&self) -> Option<Error> {
        self.lock().end.clone()
    }

    fn end_error(&self) -> Error {
        let end = self.end();
        unwritten(
            &end.unwrap_or_else(|| Error::new(ErrorKind::Disconnected, "the connection ended")),
        )
    }

    pub fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Acquire)
    }
}

/// What becomes of a request that nobody has begun to write when its connection ends as `end` says. That another request's answer made no
/// sense says nothing about this one: it can go to the next connection.
pub(super) fn unwritten(end: &Error) -> Error {
    let error = end.clone().with_outcome(WriteOutcome::NotWritten);
    match end.kind() {
        ErrorKind::Protocol => error.tried_on(),
        _ => error,
    }
}

impl Inner {
    fn listen(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(driver) => driver.clone_from(waker),
            None => self.driver = Some(waker.clone()),
        }
    }
}

fn not_written_in_time(throttled_for: Option<Duration>) -> Error {
    const LATE: &str = "the deadline passed before the request could be written";
    let error = match throttled_for {
        Some(left) => Error::new(
            ErrorKind::Timeout,
            format!(
                "{LATE}: the broker asked for a pause (a quota is used up), which ends in {} ms",
                left.as_millis()
            ),
        ),
        None => Error::new(ErrorKind::Timeout, LATE),
    };
    error.with_outcome(WriteOutcome::NotWritten)
}
