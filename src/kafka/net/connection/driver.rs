//! The task that drives one connection: it alone holds the byte stream. Requests come from the queue, responses go to whoever asked.
//!
//! One task for both directions: a request that is ready when a response arrives costs no extra wakeup, nothing needs a lock but the queue,
//! and one timer serves all deadlines. It never waits for one direction while the other could go on.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use protocol::ApiKey;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use super::outbox::Outbox;
use super::queue::{Answer, Deadline, OnLength, Queue, Queued, Taken, unwritten};
use crate::kafka::net::BoxStream;
use crate::kafka::net::frame_reader::FrameReader;
use crate::kafka::observe::BrokerCounters;
use crate::kafka::{Error, ErrorKind, Result, WriteOutcome};

/// How long a connection may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A broker that owes an answer for so long, beyond the answer's deadline, is taken to be gone.
    pub stall: Duration,
    /// A connection without traffic for so long is closed.
    pub idle: Duration,
    /// When the connection takes no more requests: the broker wants to be told anew soon who the client is (KIP-368).
    pub expires: Option<Instant>,
}

/// A connection's task. Ends when the connection does, or when nobody holds a handle any more.
pub(super) struct Driver {
    stream: BoxStream,
    reader: FrameReader,
    queue: Arc<Queue>,
    counters: Arc<BrokerCounters>,
    outbox: Outbox,
    /// Requests whose answers are due, in the order in which they come.
    in_flight: VecDeque<InFlight>,
    /// Requests that get no answer and are not wholly written yet.
    unanswered: VecDeque<Unanswered>,
    timer: Pin<Box<Sleep>>,
    limits: Limits,
    last_activity: Instant,
    /// Whether any request was answered. A listener that wants authentication closes the connection at the first one.
    has_answered: bool,
}

/// What the queue has for the outbox.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Supply {
    /// Nothing more that may be written now.
    Taken,
    /// Perhaps more, for which the outbox had no room.
    Left,
    /// Nothing ever again: nobody is left who could want anything.
    Ended,
    /// Nothing more, but answers are still due.
    Drained,
}

const EXPIRED: &str =
    "the connection was closed because its session ends; the next one authenticates anew";
const UNUSED: &str = "the connection was closed because nothing used it";

struct InFlight {
    correlation_id: i32,
    api: ApiKey,
    place: Range<u64>,
    deadline: Deadline,
    sent: Instant,
    /// The pauses that the broker had asked for by then.
    paused_before: Duration,
    /// `None` once the deadline has passed: the answer, should it come, is thrown away.
    answer: Option<oneshot::Sender<Result<Bytes>>>,
    on_length: Option<OnLength>,
}

struct Unanswered {
    place: Range<u64>,
    deadline: Deadline,
    written: oneshot::Sender<Result<()>>,
}

impl Driver {
    pub fn new(
        stream: BoxStream,
        reader: FrameReader,
        queue: Arc<Queue>,
        counters: Arc<BrokerCounters>,
        limits: Limits,
    ) -> Self {
        let now = Instant::now();
        Self {
            stream,
            reader,
            queue,
            counters,
            outbox: Outbox::default(),
            in_flight: VecDeque::new(),
            unanswered: VecDeque::new(),
            timer: Box::pin(sleep_until(
                limits
                    .expires
                    .map_or(now + limits.idle, |at| at.min(now + limits.idle)),
            )),
            limits,
            last_activity: now,
            has_answered: false,
        }
    }

    /// Goes round until nothing moves any more. Ready when the connection is over.
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        loop {
            let now = Instant::now();
            let supply = self.take_requests(now, cx);
            let written_before = self.outbox.written();
            let writing = self.outbox.poll_write(cx, &mut *self.stream);
            if self.outbox.written() > written_before {
                self.last_activity = now;
                self.report_written();
            }
            if let Err(end) = self.poll_responses(now, cx) {
                return Poll::Ready(end);
            }
            match writing {
                Poll::Ready(Err(error)) => {
                    let message = "writing to the connection failed";
                    let end = Error::new(ErrorKind::Disconnected, message).because(error);
                    return Poll::Ready(self.lost(end));
                }
                Poll::Ready(Ok(())) if supply == Supply::Ended => {
                    return Poll::Ready(Error::new(ErrorKind::Closed, "the connection was closed"));
                }
                Poll::Ready(Ok(())) if supply == Supply::Drained && self.is_idle() => {
                    return Poll::Ready(expired());
                }
                _ => {}
            }
            if supply == Supply::Left && !self.outbox.is_full() {
                // Nobody would wake us for what waits in the queue.
                continue;
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Err(end) = self.on_timer(Instant::now()) {
                return Poll::Ready(end);
            }
        }
    }

    /// Moves requests from the queue to the outbox, as long as the outbox has room.
    fn take_requests(&mut self, now: Instant, cx: &mut Context<'_>) -> Supply {
        loop {
            if self.outbox.is_full() {
                let at = self.queue.wait_only(now, cx.waker());
                self.look_again(at);
                return Supply::Left;
            }
            match self.queue.take(now, cx.waker()) {
                Taken::Request(queued) => self.admit(queued, now),
                Taken::Wait { at } => {
                    self.look_again(at);
                    return Supply::Taken;
                }
                Taken::Orphaned => return Supply::Ended,
                Taken::Drained => return Supply::Drained,
            }
        }
    }

    fn admit(&mut self, queued: Queued, now: Instant) {
        let place = self.outbox.push(queued.frame);
        let (deadline, paused) = (queued.deadline, self.queue.paused());
        match queued.answer {
            Answer::Response(answer, on_length) => {
                if self.in_flight.is_empty() {
                    self.queue.set_unanswered_since(Some(now));
                }
                self.counters.sent();
                self.in_flight.push_back(InFlight {
                    correlation_id: queued.correlation_id,
                    api: queued.api,
                    place,
                    deadline,
                    sent: now,
                    paused_before: paused,
                    answer: Some(answer),
                    on_length,
                });
            }
            Answer::Written(written) => self.unanswered.push_back(Unanswered {
                place,
                deadline,
                written,
            }),
        }
        self.look_again(Some(deadline.moment(paused)));
    }

    /// Sees to it that the timer fires no later than `at`. It is never set back: when it fires too early, it is set again.
    fn look_again(&mut self, at: Option<Instant>) {
        if let Some(at) = at
            && at < self.timer.deadline()
        {
            self.timer.as_mut().reset(at);
        }
    }

    /// Tells those who wait for no answer that their bytes are out.
    fn report_written(&mut self) {
        let written = self.outbox.written();
        while self
            .unanswered
            .front()
            .is_some_and(|first| first.place.end <= written)
        {
            if let Some(first) = self.unanswered.pop_front() {
                // First the room: whoever hears of it may want that at once.
                self.queue.release();
                // A receiver that is gone has lost interest.
                let _ = first.written.send(Ok(()));
            }
        }
    }

    fn poll_responses(&mut self, now: Instant, cx: &mut Context<'_>) -> Result<()> {
        loop {
            let in_flight = &mut self.in_flight;
            let mut announced = |len| {
                let first = in_flight.front_mut();
                if let Some(told) = first.and_then(|first| first.on_length.take()) {
                    (told.0)(len);
                }
            };
            let stream = &mut *self.stream;
            let polled = self.reader.poll_announced_frame(cx, stream, &mut announced);
            let Poll::Ready(frame) = polled else {
                return Ok(());
            };
            match frame.map_err(|error| self.lost(error))? {
                Some(frame) => self.on_response(frame, now)?,
                None => {
                    let message = "the broker closed the connection";
                    return Err(self.lost(Error::new(ErrorKind::Disconnected, message)));
                }
            }
            self.last_activity = now;
        }
    }

    /// The peer ended the connection: it says more when that was at the first request.
    fn lost(&self, error: Error) -> Error {
        let at_once = !self.has_answered && !self.in_flight.is_empty();
        match error.kind() {
            ErrorKind::Disconnected if at_once => error.closed_at_once(),
            _ => error,
        }
    }

    /// Hands a response to whoever waits for it. Responses come in the order of their requests.
    fn on_response(&mut self, frame: Bytes, now: Instant) -> Result<()> {
        let correlation_id = frame.first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
        let expected = self.in_flight.front().map(|first| first.correlation_id);
        if correlation_id.is_none() || correlation_id != expected {
            return Err(mismatch(correlation_id, expected));
        }
        if let Some(InFlight {
            api, sent, answer, ..
        }) = self.in_flight.pop_front()
        {
            self.has_answered = true;
            self.counters
                .answered(api, now.saturating_duration_since(sent));
            let next = self.in_flight.front().map(|next| next.sent);
            self.queue.set_unanswered_since(next);
            self.queue.release();
            if let Some(answer) = answer {
                // A receiver that is gone has lost interest: the answer is thrown away.
                let _ = answer.send(Ok(frame));
            }
        }
        Ok(())
    }

    /// Fails what is overdue, and says when to look again. An error ends the connection.
    fn on_timer(&mut self, now: Instant) -> Result<()> {
        if self.fail_overdue(now) {
            // The rest of the frame may never go out, and nothing else can be said before it has.
            return Err(Error::new(
                ErrorKind::Disconnected,
                "the connection was given up: a request's deadline passed while it was being written",
            ));
        }
        if let Some(first) = self.in_flight.front()
            && first.given_up_at(self.limits.stall, self.queue.paused()) <= now
        {
            return Err(Error::new(
                ErrorKind::Disconnected,
                "the broker owes an answer for too long: the connection is given up",
            ));
        }
        if self.is_idle() && self.last_activity + self.limits.idle <= now {
            return Err(Error::new(ErrorKind::Disconnected, UNUSED));
        }
        if self.limits.expires.is_some_and(|at| at <= now) {
            self.limits.expires = None;
            self.queue.drain(&expired());
        }
        let next = self.next_deadline(now);
        self.timer.as_mut().reset(next);
        Ok(())
    }

    /// Fails the requests whose deadline has passed. True when one of them is not wholly written.
    fn fail_overdue(&mut self, now: Instant) -> bool {
        let written = self.outbox.written();
        let paused = self.queue.paused();
        let is_over = |deadline: Deadline| deadline.moment(paused) <= now;
        let mut half_written = false;
        for it in self.in_flight.iter_mut().filter(|it| is_over(it.deadline)) {
            half_written |= it.place.end > written;
            if let Some(answer) = it.answer.take() {
                // A receiver that is gone has lost interest.
                let _ = answer.send(Err(fate(&overdue(), &it.place, written)));
            }
        }
        // What is left of them is not wholly written: their place in the list is given up when it is.
        let unanswered = std::mem::take(&mut self.unanswered);
        for it in unanswered {
            if is_over(it.deadline) {
                half_written = true;
                let _ = it.written.send(Err(fate(&overdue(), &it.place, written)));
            } else {
                self.unanswered.push_back(it);
            }
        }
        half_written
    }

    fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.unanswered.is_empty()
    }

    /// When to look again, as far as the driver's own requests go; the queue adds its own.
    fn next_deadline(&self, now: Instant) -> Instant {
        let paused = self.queue.paused();
        let open = self.in_flight.iter().filter(|it| it.answer.is_some());
        let stalled = self
            .in_flight
            .front()
            .map(|it| it.given_up_at(self.limits.stall, paused));
        let idle = match self.is_idle() {
            true => self.last_activity + self.limits.idle,
            false => now + self.limits.idle,
        };
        open.map(|it| it.deadline)
            .chain(self.unanswered.iter().map(|it| it.deadline))
            .map(|deadline| deadline.moment(paused))
            .chain(stalled)
            .chain(self.limits.expires)
            .fold(idle, Instant::min)
    }

    /// Fails everything that is still open. What was not begun is certainly not written; the fate of the rest is unknown.
    fn finish(&mut self, end: &Error) {
        self.queue.close(end);
        let written = self.outbox.written();
        self.counters.given_up(self.in_flight.len());
        for it in self.in_flight.drain(..) {
            if let Some(answer) = it.answer {
                let _ = answer.send(Err(fate(end, &it.place, written)));
            }
        }
        for it in self.unanswered.drain(..) {
            let _ = it.written.send(Err(fate(end, &it.place, written)));
        }
    }
}

impl InFlight {
    /// A broker that asked for a pause answers after it what it was sent before.
    fn given_up_at(&self, stall: Duration, paused: Duration) -> Instant {
        let pauses = paused.saturating_sub(self.paused_before);
        let deadline = self.deadline.moment(paused);
        deadline.max(self.sent + stall + pauses)
    }
}

fn fate(end: &Error, place: &Range<u64>, written: u64) -> Error {
    if written <= place.start {
        unwritten(end)
    } else {
        end.clone().with_outcome(WriteOutcome::Unknown)
    }
}

fn expired() -> Error {
    Error::new(ErrorKind::Disconnected, EXPIRED)
}

fn overdue() -> Error {
    let message = "the deadline passed before the broker answered";
    Error::new(ErrorKind::Timeout, message)
}

fn mismatch(correlation_id: Option<i32>, expected: Option<i32>) -> Error {
    let got = correlation_id.unwrap_or_default();
    let message = match expected {
        Some(expected) => format!(
            "the peer answered request {got}, but the answer to request {expected} was due: the connection is given up"
        ),
        None => format!("the peer answered request {got}, which nobody asked"),
    };
    Error::new(ErrorKind::Protocol, message)
}

/// Why the connection ended.
impl Future for Driver {
    type Output = Error;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Error> {
        self.poll_run(cx).map(|end| {
            self.finish(&end);
            end
        })
    }
}

/// Whether the client itself wanted no more of a connection that ended like this.
pub(super) fn is_expected(end: &Error) -> bool {
    end.kind() == ErrorKind::Closed || [UNUSED, EXPIRED].contains(&end.message())
}

/// However the task ends, also when its runtime is shut down, nobody is left waiting.
impl Drop for Driver {
    fn drop(&mut self) {
        self.counters.disconnected();
        let end = Error::new(ErrorKind::Disconnected, "the connection's task ended");
        self.finish(&end);
    }
}
