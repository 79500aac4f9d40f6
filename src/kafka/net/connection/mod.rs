//! One pipelined connection to one broker. Requests go in, in call order; responses come out, decoded in the task of whoever asked.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `driver` | the task that holds the byte stream: writing, reading, deadlines, the end |
//! | `outbox` | frames on their way out, many to a vectored write |
//! | `queue` | bounded waiting room between callers and the driver |

mod driver;
mod outbox;
mod queue;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use protocol::{Decoder, Request, Response, frame};
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::driver::{Driver, Limits, is_expected};
pub(crate) use self::queue::MAX_REQUESTS;
use self::queue::{Answer, Deadline, OnLength, Queue, Queued};
use super::dialer::Dialer;
use super::frame_reader::FrameReader;
use super::handshake::{Established, undecodable, unencodable};
use super::versions::BrokerVersions;
use super::{Address, BoxStream, FramePool};
use crate::kafka::observe::{BrokerCounters, ClientEvent, Watch, tell};
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Error, ErrorKind, Result, WriteOutcome};

/// The longest pause that a broker is granted (KIP-219).
const LONGEST_THROTTLE: Duration = Duration::from_secs(60);

/// A handle to a connection. Cheap to clone; the connection ends with its last handle.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Handle>);

struct Handle {
    node: i32,
    address: Address,
    client_id: String,
    observer: Watch,
    counters: Arc<BrokerCounters>,
    versions: BrokerVersions,
    pool: FramePool,
    queue: Arc<Queue>,
    next_correlation_id: AtomicI32,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.orphan();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.is_open() { "open" } else { "closed" };
        write!(f, "Connection({} {}, {open})", self.0.node, self.0.address)
    }
}

impl Connection {
    /// Starts the task that drives `stream`, on which the handshake is done.
    pub(super) fn start(
        dialer: &Dialer,
        node: i32,
        address: &Address,
        stream: BoxStream,
        reader: FrameReader,
        established: Established,
        counters: &Arc<BrokerCounters>,
    ) -> Self {
        let config = dialer.config();
        let queue = Arc::new(Queue::new());
        let limits = Limits {
            stall: config.request_timeout,
            idle: config.connections_max_idle,
            expires: established.expires,
        };
        let driver = Driver::new(stream, reader, queue.clone(), counters.clone(), limits);
        let (observer, place) = (config.observer.clone(), address.clone());
        let handles = queue.clone();
        dialer
            .tasks()
            .spawn(format!("connection to {address}"), async move {
                let reason = driver.await;
                tell(&observer, || ClientEvent::Disconnected {
                    broker: node,
                    address: &place,
                    reason: &reason,
                    // Nobody wanted any more of it, whoever was first to end it.
                    expected: handles.is_orphaned() || is_expected(&reason),
                });
            });
        Self(Arc::new(Handle {
            node,
            address: address.clone(),
            client_id: config.client_id.clone(),
            observer: config.observer.clone(),
            versions: established.versions,
            counters: counters.clone(),
            pool: dialer.frames().clone(),
            queue,
            next_correlation_id: AtomicI32::new(1_000),
        }))
    }

    /// The broker's id (-1 while not known) and address.
    pub fn broker(&self) -> (i32, &Address) {
        (self.0.node, &self.0.address)
    }

    /// The newest version of `R` that both sides speak; else an error that names the API and both ranges.
    pub fn version_of<R: Request>(&self) -> Result<i16> {
        self.0
            .versions
            .choose::<R>()
            // It may have been one bad answer: whoever asks next hears again what the broker speaks.
            .inspect_err(|_| self.retire())
            .map_err(|error| error.broker(self.0.node, &self.0.address))
    }

    /// What the broker speaks.
    pub fn versions(&self) -> &BrokerVersions {
        &self.0.versions
    }

    /// Since when the oldest request in flight has been unanswered.
    pub fn unanswered_since(&self) -> Option<Instant> {
        self.0.queue.unanswered_since()
    }

    /// The pool that frames return to.
    pub fn pool(&self) -> &FramePool {
        &self.0.pool
    }

    /// Whether requests can still be sent. A connection that was closed stays closed.
    pub fn is_open(&self) -> bool {
        self.0.queue.is_open()
    }

    /// Until when the broker wants nothing more (KIP-219), as far as it said.
    pub fn throttled_until(&self) -> Option<Instant> {
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::PauseUsesUpTime) {
            return None;
        }
        self.0.queue.throttled_until()
    }

    /// Takes no more requests, so that whoever asks next dials again. What is in flight is still waited for.
    pub fn retire(&self) {
        let end = Error::new(
            ErrorKind::Disconnected,
            "the connection was given up: the broker owes an answer on it, or has another address now",
        );
        self.0.queue.close(&end);
    }

    /// Sends a request in the newest version that both sides speak, and waits for its response.
    ///
    /// One deadline covers waiting for room, writing and waiting for the answer. Cancel safe: dropped while the request waits in the queue,
    /// it is withdrawn; once the driver has taken it to be written, it is sent, and its answer thrown away.
    pub async fn call<R: Request>(&self, request: &R, deadline: Instant) -> Result<R::Response> {
        self.call_at(request, self.version_of::<R>()?, deadline)
            .await
    }

    /// As [`Connection::call`], in a version that the caller chose.
    pub async fn call_at<R: Request>(
        &self,
        request: &R,
        version: i16,
        deadline: Instant,
    ) -> Result<R::Response> {
        self.call_told(request, version, deadline, None).await
    }

    /// As [`Connection::call_at`]; `on_length` is told how many bytes of memory the answer takes, before it is read, if it is long.
    pub async fn call_sized<R: Request>(
        &self,
        request: &R,
        version: i16,
        deadline: Instant,
        on_length: impl FnOnce(usize) + Send + 'static,
    ) -> Result<R::Response> {
        let on_length = Some(OnLength(Box::new(on_length)));
        self.call_told(request, version, deadline, on_length).await
    }

    async fn call_told<R: Request>(
        &self,
        request: &R,
        version: i16,
        deadline: Instant,
        on_length: Option<OnLength>,
    ) -> Result<R::Response> {
        let reserved = self.0.queue.reserve(deadline).await;
        reserved.map_err(|error| self.explain::<R>(error))?;
        self.enqueue(request, version, Deadline::Fixed(deadline), on_length)?
            .await
    }

    /// Encodes and queues a request now, in a version that the caller chose: requests go out in the order of these calls. Its response is what [`Pending`] resolves to.
    ///
    /// Fails with [`ErrorKind::BufferFull`] when too many requests wait already. Dropping the [`Pending`] is as dropping a call. Pauses
    /// that the broker asks for meanwhile put off the deadline.
    pub fn submit_at<R: Request>(
        &self,
        request: &R,
        version: i16,
        deadline: Instant,
    ) -> Result<Pending<R>> {
        let reserved = self.0.queue.try_reserve();
        reserved.map_err(|error| self.explain::<R>(error))?;
        self.enqueue(request, version, self.pausing(deadline), None)
    }

    /// As [`Connection::submit_at`], for a request that gets no response (acks=0): resolves when its bytes are out.
    pub fn submit_without_response_at<R: Request>(
        &self,
        request: &R,
        version: i16,
        deadline: Instant,
    ) -> Result<Written<R>> {
        let reserved = self.0.queue.try_reserve();
        reserved.map_err(|error| self.explain::<R>(error))?;
        let (sender, written) = oneshot::channel();
        let deadline = self.pausing(deadline);
        self.push(request, version, deadline, Answer::Written(sender))?;
        Ok(Written {
            written,
            connection: self.clone(),
            request: PhantomData,
        })
    }

    fn pausing(&self, at: Instant) -> Deadline {
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::PauseUsesUpTime) {
            return Deadline::Fixed(at);
        }
        Deadline::Pausing {
            at,
            before: self.0.queue.paused(),
        }
    }

    /// Queues a request for which there is room.
    fn enqueue<R: Request>(
        &self,
        request: &R,
        version: i16,
        deadline: Deadline,
        on_length: Option<OnLength>,
    ) -> Result<Pending<R>> {
        let (sender, response) = oneshot::channel();
        let answer = Answer::Response(sender, on_length);
        self.push(request, version, deadline, answer)?;
        Ok(Pending {
            response,
            version,
            connection: self.clone(),
            request: PhantomData,
        })
    }

    fn push<R: Request>(
        &self,
        request: &R,
        version: i16,
        deadline: Deadline,
        answer: Answer,
    ) -> Result<()> {
        let correlation_id = self.0.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let encoded =
            frame::encode_request(version, correlation_id, Some(&self.0.client_id), request);
        let pushed = encoded.map_err(unencodable::<R>).and_then(|frame| {
            self.0.queue.push(Queued {
                correlation_id,
                api: R::KEY,
                frame,
                deadline,
                answer,
            })
        });
        pushed.map_err(|error| {
            self.0.queue.release();
            self.explain::<R>(error.with_outcome(WriteOutcome::NotWritten))
        })
    }

    fn explain<R: Request>(&self, error: Error) -> Error {
        error.api(R::KEY).broker(self.0.node, &self.0.address)
    }

    fn decode<R: Request>(&self, frame: Bytes, version: i16) -> Result<R::Response> {
        let mut input = Decoder::new(frame);
        let decoded = frame::decode_response_header(&mut input, R::KEY, version)
            .and_then(|_| frame::decode_body(&mut input, version));
        let response: R::Response =
            decoded.map_err(|error| self.explain::<R>(undecodable::<R>(error)))?;
        if let Ok(throttle_ms @ 1..) = u64::try_from(response.throttle_ms(version)) {
            // A quota's window is seconds: a longer pause is a mistake, and the broker holds us back itself if we come too early.
            let pause = Duration::from_millis(throttle_ms).min(LONGEST_THROTTLE);
            self.0.queue.throttle(Instant::now() + pause);
            self.0.counters.throttled(pause);
            tell(&self.0.observer, || ClientEvent::Throttled {
                broker: self.0.node,
                address: &self.0.address,
                api: R::KEY.name(),
                pause,
            });
        }
        Ok(response)
    }
}

/// A response to come. Resolves by the request's deadline.
#[derive(Debug)]
#[must_use = "dropping it withdraws the request, or throws away its answer"]
pub(crate) struct Pending<R> {
    response: oneshot::Receiver<Result<Bytes>>,
    version: i16,
    connection: Connection,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Future for Pending<R> {
    type Output = Result<R::Response>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let received = ready!(Pin::new(&mut self.response).poll(cx));
        Poll::Ready(match received.unwrap_or_else(|_| Err(task_gone())) {
            Ok(frame) => self.connection.decode::<R>(frame, self.version),
            Err(error) => Err(self.connection.explain::<R>(error)),
        })
    }
}

/// A write to come. Resolves by the request's deadline. Dropping it changes nothing.
#[derive(Debug)]
pub(crate) struct Written<R> {
    written: oneshot::Receiver<Result<()>>,
    connection: Connection,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Future for Written<R> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let received = ready!(Pin::new(&mut self.written).poll(cx));
        let written = received.unwrap_or_else(|_| Err(task_gone()));
        Poll::Ready(written.map_err(|error| self.connection.explain::<R>(error)))
    }
}

fn task_gone() -> Error {
    Error::new(ErrorKind::Disconnected, "the connection's task ended")
}
