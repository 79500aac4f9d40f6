//! Polling: rebalances, errors, automatic commits, and the records that were fetched.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::consumer::closed;
use super::fetch::batch_reader::Room;
use super::hand_out::{ReadOn, read_on};
use super::state::Source;
use super::{CommitSource, Consumer, Records};
use crate::kafka::observe::ClientEvent;
use crate::kafka::runtime::{Excess, after};
use crate::kafka::{Error, ErrorKind, Result};

/// How often, at least, a waiting poll looks whether something has been going wrong for too long.
const LOOK_AROUND: Duration = Duration::from_secs(1);

impl Consumer {
    /// Returns the next records, up to `max_poll_records`; waits up to `timeout` for the first one, and returns none when none comes.
    ///
    /// This is also where rebalances happen, and what keeps the member in its group: call it at least every `max_poll_interval`. Calling it
    /// says that everything it returned before is finished, which is what an automatic commit goes by.
    ///
    /// # Errors
    /// A batch that cannot be read ([`ErrorKind::CorruptBatch`]) is an error that names partition and offset, told again every
    /// `retry_backoff_max`: [`seek`](crate::kafka::ConsumerHandle::seek) to [`Error::resume_offset`] to go on without it; other partitions go on in the
    /// meantime. So is, where `auto_offset_reset` is `none`, an offset that is out of range or missing, and a topic that was re-created
    /// ([`ErrorKind::TopicRecreated`]). What has been failing for `request_timeout` is an error
    /// as well, though it is tried on. Where [`Error::is_fatal`] says so, the consumer is of no use any more; otherwise poll again.
    ///
    /// Cancel safe: a poll that is dropped has returned nothing, and skips nothing.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Records> {
        self.poll_within(timeout, &AtomicUsize::new(usize::MAX))
            .await
    }

    /// As [`poll`](Self::poll), but returns no more records than it takes to reach `max_bytes` bytes, uncompressed: none if that is 0. What
    /// counts is what it says when there are records; `ConsumerHandle::wake` is to be called when it rises.
    pub(crate) async fn poll_within(
        &mut self,
        timeout: Duration,
        max_bytes: &AtomicUsize,
    ) -> Result<Records> {
        let context = self.context().clone();
        let began = Instant::now();
        let deadline = after(timeout);
        // As long as the application was away: see `RebalanceListener::on_revoking`.
        let finish_by = began + began.saturating_duration_since(self.polled_at);
        // Each look is a sign of life for the group.
        let look_around = LOOK_AROUND
            .min(context.config.max_poll_interval / 2)
            .min(context.config.client.request_timeout / 20);
        if self.reading.is_none() {
            // Lets the fetchers of a runtime with one thread send their next request before this one's records keep the thread busy.
            tokio::task::yield_now().await;
        }
        let mut granted = None;
        loop {
            let mut ready = pin!(context.ready.notified());
            let mut freed = pin!(context.budget.freed());
            ready.as_mut().enable();
            freed.as_mut().enable();
            self.follow_patterns(Instant::now());
            self.take_part_in_rebalance(Instant::now(), finish_by).await;
            self.tell_of_resets().await;
            let now = Instant::now();
            self.polled_at = now;
            self.auto_commit(now);
            if let Err(error) = self.check_for_errors(now) {
                self.pause_before(&error, deadline).await;
                return Err(error);
            }
            let (records, no_room) =
                self.collect(max_bytes.load(Ordering::Relaxed), granted.take());
            let is_news = !records.is_empty() || records.ends().next().is_some();
            if is_news || now >= deadline {
                return Ok(records);
            }
            let look_at = deadline.min(now + look_around);
            let leaving = self.leaving.as_mut();
            let finished = async {
                match leaving {
                    Some(leaving) => leaving.finished().await,
                    None => pending().await,
                }
            };
            let woken = async {
                tokio::select! {
                    biased;
                    excess = context.budget.excess(), if no_room => Some(excess),
                    () = ready => None,
                    () = freed, if no_room => None,
                    () = finished => None,
                }
            };
            granted = timeout_at(look_at, woken).await.unwrap_or_default();
            context.counters.waited(now.elapsed());
        }
    }

    /// An error that every poll returns from now on comes with pauses: whoever polls on regardless does not keep a processor busy by it.
    async fn pause_before(&mut self, error: &Error, deadline: Instant) {
        let lasts = error.is_fatal() || error.kind() == ErrorKind::Config;
        let last = self.failed_at.filter(|_| lasts);
        if let Some(last) = last {
            let until = last + self.context().config.client.retry_backoff;
            sleep_until(deadline.min(until)).await;
        }
        self.failed_at = lasts.then(Instant::now);
    }

    /// Tells the observer which positions the client has moved by itself, and where the application falls behind.
    fn tell_observer(&mut self, now: Instant) {
        let context = &self.handle.context;
        let Some(observer) = &context.config.client.observer else {
            return;
        };
        let (resets, all) = context.state().positions.resets_after(self.resets_observed);
        self.resets_observed = all;
        for reset in &resets {
            observer.on_event(&ClientEvent::PositionReset { reset });
        }
        if self.lag_watch.is_due(now) {
            let partitions = self.handle.assignment().into_iter();
            let lags = partitions.filter_map(|partition| {
                let lag = u64::try_from(self.handle.lag(&partition)?).ok()?;
                Some((partition, lag))
            });
            for behind in self.lag_watch.look(now, lags.collect()) {
                observer.on_event(&ClientEvent::FallingBehind {
                    partition: &behind.partition,
                    lag: behind.lag,
                    growth: behind.growth,
                });
            }
        }
    }

    /// Tells the listener which positions the client has moved by itself.
    async fn tell_of_resets(&mut self) {
        self.tell_observer(Instant::now());
        let Some(listener) = &self.listener else {
            return;
        };
        self.resets
            .extend(self.handle.context.state().positions.take_resets());
        if !self.resets.is_empty() {
            listener.reset(&self.handle, &self.resets).await;
            self.resets.clear();
        }
    }

    /// Commits, now and then, what earlier polls returned. Called before anything else is handed out.
    fn auto_commit(&mut self, now: Instant) {
        if !self.context().config.enable_auto_commit || now < self.next_auto_commit {
            return;
        }
        self.next_auto_commit = now + self.context().config.auto_commit_interval;
        // One that fails is made up for by the next.
        drop(self.handle.commit_positions());
    }

    /// What this poll must report instead of records.
    fn check_for_errors(&mut self, now: Instant) -> Result<()> {
        let context = self.context();
        context.cluster.tasks().check()?;
        let patience = context.config.client.request_timeout;
        let mut state = context.state();
        let group = match &state.source {
            Source::Nothing | Source::Left => {
                let message =
                    "there is nothing to poll: subscribe to topics or assign partitions first";
                return Err(Error::new(ErrorKind::Config, message));
            }
            Source::Closed => return Err(closed()),
            Source::Assigned => None,
            Source::Subscribed(group) => Some(group.clone()),
        };
        let pause = context.config.client.retry_backoff_max;
        if let Some(error) = state.positions.next_error(now, patience, pause) {
            return Err(error);
        }
        drop(state);
        let failing = group.and_then(|group| group.with(|membership| membership.error(now)));
        match failing.or_else(|| context.cluster.overdue(patience)) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Reads what was fetched, up to `max_poll_records` and until `max_bytes` are reached, or the budget is used up. The position moves with
    /// what is handed out, not before. Also whether there is something and no room for any of it; what is `granted` is the right to more.
    fn collect(&mut self, max_bytes: usize, mut granted: Option<Arc<Excess>>) -> (Records, bool) {
        let context = self.handle.context.clone();
        let most = context.config.max_poll_records;
        let mut records = Records::default();
        let mut no_room = false;
        if context.config.commit_source == CommitSource::Acknowledged {
            context.state().release_withheld();
        }
        while records.count() < most && records.bytes() < max_bytes {
            let reading = self.reading.take();
            let Some(reader) = context.state().next_reader(reading) else {
                break;
            };
            let left = (most - records.count(), max_bytes - records.bytes());
            let decoder = &mut self.decoder;
            let mut read = read_on(&context, reader, decoder, left, Room::Left, &mut records);
            if let ReadOn::NoRoom(reader) = read {
                // There are records to go on with, or others have to go first.
                let excess = match records.is_empty() {
                    true => self.excess.take(granted.take(), &context.budget),
                    false => None,
                };
                let Some(excess) = excess else {
                    no_room = records.is_empty();
                    self.reading = Some(reader);
                    break;
                };
                let room = Room::Alone(&excess);
                read = read_on(&context, reader, decoder, left, room, &mut records);
            }
            match read {
                ReadOn::More(reader) | ReadOn::NoRoom(reader) => self.reading = Some(reader),
                ReadOn::Over => {}
            }
        }
        if context.config.enable_partition_eof && max_bytes > 0 {
            records.ended(context.state().positions.take_ends());
        }
        context.counters.read(records.count(), records.bytes());
        (records, no_room)
    }
}
