//! One assigned partition, as the fetching side and the handling side see it: what is in flight, and whether it is still ours.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::death_watch::DeathWatch;
use super::deaths::Deaths;
use crate::events::cancellation::Cancellation;
use crate::events::failure::Chain;
use crate::kafka::consumer::commit::offset_tracker::{Commit, OffsetTracker};
use crate::kafka::runtime::Mutex;
use crate::kafka::{TopicId, TopicPartition};

/// The state of a partition, from its assignment to its release.
#[derive(Debug)]
pub(crate) struct Partition {
    pub name: TopicPartition,
    /// No other has it, not even one of the same name.
    pub id: u64,
    /// The topic that its offsets are in, once that is known: another one may get the same name.
    topic_id: OnceLock<TopicId>,
    state: Mutex<State>,
    /// How many bytes of its records are in flight.
    held: AtomicUsize,
    /// Whether the poll loop has paused it, for want of room.
    paused: AtomicBool,
    /// The end of the log as the leader said when it was asked, while nothing is fetched; -1 otherwise.
    asked_end: AtomicI64,
    /// Told when the partition is released and its last handler has ended.
    drained: Notify,
    /// Whether its first record is not due yet, and it is paused for that.
    waits: AtomicBool,
    /// Raised when it is released.
    pub gone: Cancellation,
    /// The chain of retry topics that it is of, and its place there: 0 for the origin.
    pub chain: Option<(Arc<Chain>, u8)>,
    /// Whose turn it is, where a record may have to be handled alone, or no commit says that the partition is open.
    pub watch: Option<Arc<DeathWatch>>,
    /// Whether that is so, for a look without the lock.
    is_watched: AtomicBool,
}

#[derive(Debug)]
struct State {
    tracker: OffsetTracker,
    /// When what is in flight came: the first offset of each arrival, ascending, and its timestamp.
    arrivals: VecDeque<(i64, Instant, i64)>,
    /// How many handlers are at work.
    running: usize,
    /// Whether no handler may begin any more.
    released: bool,
    /// Whether handlers at work are not waited for.
    abandoned: bool,
    /// Whether the topic is gone: what is in flight is handled, but there is nothing to commit it in.
    orphaned: bool,
    deaths: Deaths,
    opening: Opening,
    /// Whether it goes, or the consumer stops: what is committed from now on says that it is closed.
    is_closing: bool,
}

/// Whether a commit says that the partition is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// No record has come whose handler might kill the process.
    Unasked,
    /// A record has been waiting since then.
    Waits(Instant),
    Open,
}

impl Partition {
    /// A partition of the topic of this id that goes on from what `tracker` says.
    pub(crate) fn new(
        name: TopicPartition,
        topic_id: Option<TopicId>,
        tracker: OffsetTracker,
    ) -> Self {
        static CREATED: AtomicU64 = AtomicU64::new(0);
        Self {
            name,
            id: CREATED.fetch_add(1, Ordering::Relaxed),
            topic_id: topic_id.map(OnceLock::from).unwrap_or_default(),
            state: Mutex::new(State {
                tracker,
                arrivals: VecDeque::new(),
                running: 0,
                released: false,
                abandoned: false,
                orphaned: false,
                deaths: Deaths::new(0, 0, &[], Instant::now()),
                opening: Opening::Open,
                is_closing: false,
            }),
            held: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
            asked_end: AtomicI64::new(-1),
            drained: Notify::new(),
            waits: AtomicBool::new(false),
            gone: Cancellation::default(),
            chain: None,
            watch: None,
            is_watched: AtomicBool::new(false),
        }
    }

    /// The same, with what is known of deaths over its records.
    pub(super) fn watched(mut self, watch: &Arc<DeathWatch>, deaths: Deaths) -> Self {
        if deaths.counts() {
            let mut state = self.state.lock();
            (state.deaths, state.opening) = (deaths, Opening::Unasked);
            drop(state);
            self.is_watched = AtomicBool::new(true);
            self.watch = Some(watch.clone());
        }
        self
    }

    /// Who is to be asked for the turn of a record, where it may have to be handled alone.
    pub(super) fn watch(&self) -> Option<&DeathWatch> {
        match self.is_watched() {
            true => self.watch.as_deref(),
            false => None,
        }
    }

    /// Whether a record may have to be handled alone, or no commit says that the partition is open.
    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Relaxed)
    }

    /// Whether it is open. Where it is not, whoever asks waits for it from now on, and the next commit has it.
    pub(super) fn opening(&self, now: Instant) -> Opening {
        let mut state = self.lock();
        if state.opening == Opening::Unasked {
            state.opening = Opening::Waits(now);
        }
        if state.opening != Opening::Open {
            state.tracker.commit_failed();
        }
        state.opening
    }

    /// A commit says that it is open, or could not be waited for.
    pub(super) fn open(&self) {
        let mut state = self.lock();
        state.opening = Opening::Open;
        self.look_at(&state);
    }

    /// As [`Deaths::suspicious`].
    pub(super) fn suspicious(&self) -> Option<u32> {
        self.lock().deaths.suspicious()
    }

    /// As [`Deaths::is_alone`].
    pub(super) fn is_alone(&self, offset: i64, now: Instant) -> bool {
        self.lock().deaths.is_alone(offset, now)
    }

    /// As [`Deaths::begin`]. The next commit has it.
    pub(super) fn begin_alone(&self, offset: i64) -> Result<(), u32> {
        let mut state = self.lock();
        state.deaths.begin(offset)?;
        state.tracker.commit_failed();
        Ok(())
    }

    fn look_at(&self, state: &State) {
        let is_watched = state.opening != Opening::Open || state.deaths.is_watchful();
        self.is_watched.store(is_watched, Ordering::Relaxed);
    }

    /// From now on commits say that it is closed.
    pub(super) fn close(&self) {
        self.lock().is_closing = true;
    }

    /// The same, of a chain.
    pub(crate) fn of_chain(mut self, chain: Option<(Arc<Chain>, u8)>) -> Self {
        self.chain = chain;
        self
    }

    /// Its place in its chain: 0 for an origin, and where there is no chain.
    pub(crate) fn level(&self) -> u8 {
        self.chain.as_ref().map_or(0, |(_, level)| *level)
    }

    /// The topic that its offsets are in, if that is known.
    pub(crate) fn topic_id(&self) -> Option<TopicId> {
        self.topic_id.get().copied()
    }

    /// Whether its offsets are in the topic of this id. If it was not known so far which they are in, it is now. Brokers without ids cannot
    /// say otherwise.
    pub(crate) fn is_of(&self, topic_id: Option<TopicId>) -> bool {
        topic_id.is_none_or(|id| *self.topic_id.get_or_init(|| id) == id)
    }

    /// The topic is gone. What is in flight is handled; nothing of it is committed any more.
    pub(crate) fn orphan(&self) {
        self.lock().orphaned = true;
    }

    /// Whether anything is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        self.held() > 0 || self.lock().running > 0
    }

    /// As [`OffsetTracker::is_past`].
    pub(crate) fn is_past(&self, offset: i64) -> bool {
        self.lock().tracker.is_past(offset)
    }

    /// As [`OffsetTracker::advance`].
    pub(crate) fn advance(&self, position: i64) {
        self.lock().tracker.advance(position);
    }

    /// As [`OffsetTracker::finished_before`].
    pub(crate) fn finished_before(&self, offsets: Range<i64>) -> Vec<Range<i64>> {
        self.lock().tracker.finished_before(offsets)
    }

    /// Takes in records that follow each other, by their offsets; `next` is the position after them. Which of them are to be handled was
    /// [asked](Partition::finished_before) before: nothing is done here that takes long. `timestamp_ms` is that of the first; -1 when it has none.
    pub(crate) fn arrive(
        &self,
        offsets: &[i64],
        timestamp_ms: i64,
        leader_epoch: Option<i32>,
        next: i64,
    ) {
        let mut state = self.lock();
        if let Some(first) = offsets.first() {
            let arrival = (*first, Instant::now(), timestamp_ms);
            state.arrivals.push_back(arrival);
        }
        for offset in offsets {
            state.tracker.arrive(*offset, leader_epoch);
        }
        state.tracker.advance(next);
        state.forget_arrivals();
    }

    /// Records that have arrived, in this order, are not to be handled: their offsets are as good as finished.
    pub(crate) fn skip(&self, offsets: &mut Vec<i64>) {
        if !offsets.is_empty() {
            let mut state = self.lock();
            for offset in offsets.drain(..) {
                state.tracker.finish(offset);
            }
        }
    }

    /// A handler is about to begin. `false`: the partition is no longer ours, and it must not.
    pub(crate) fn begin(&self) -> bool {
        let mut state = self.lock();
        if !state.released {
            state.running += 1;
        }
        !state.released
    }

    /// The handler for `offset` has ended; `finished` when the record need not be handled again.
    pub(crate) fn end(&self, offset: i64, finished: bool) {
        let mut state = self.lock();
        state.running -= 1;
        if finished {
            state.tracker.finish(offset);
        }
        if self.is_watched() {
            state.deaths.end(offset);
            self.look_at(&state);
        }
        if state.released && state.running == 0 {
            self.drained.notify_waiters();
        }
    }

    /// From now on no handler begins.
    pub(crate) fn release(&self) {
        self.lock().released = true;
        self.gone.cancel();
    }

    /// Whether no handler may begin any more.
    pub(crate) fn is_released(&self) -> bool {
        self.lock().released
    }

    /// From now on no handler begins, and those at work have had their time: nobody waits for them any more.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        (state.released, state.abandoned) = (true, true);
        self.drained.notify_waiters();
        self.gone.cancel();
    }

    /// Waits until no handler is at work any more, after [`Partition::release`].
    pub(crate) async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            if self.is_drained() {
                return;
            }
            drained.await;
        }
    }

    fn is_drained(&self) -> bool {
        let state = self.lock();
        state.running == 0 || state.abandoned
    }

    /// As [`OffsetTracker::take_commit`], and what is to be known again of [deaths](Deaths::note).
    pub(crate) fn take_commit(&self) -> Option<(Commit, Vec<u64>)> {
        let state = &mut *self.lock();
        if state.orphaned {
            return None;
        }
        let commit = state.tracker.take_commit()?;
        let note = (state.deaths).note(commit.offset, state.is_closing, Instant::now());
        if self.is_watched() {
            self.look_at(state);
        }
        Some((commit, note))
    }

    /// As [`OffsetTracker::commit_failed`].
    pub(crate) fn commit_failed(&self) {
        self.lock().tracker.commit_failed();
    }

    /// So many bytes more are in flight.
    pub(crate) fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::SeqCst);
    }

    /// So many bytes are in flight no more. Returns how many still are.
    pub(crate) fn let_go(&self, bytes: usize) -> usize {
        self.held.fetch_sub(bytes, Ordering::SeqCst) - bytes
    }

    /// How many bytes are in flight.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Notes whether it is paused for want of room. Returns whether it was.
    pub(crate) fn set_paused(&self, paused: bool) -> bool {
        if !paused {
            self.asked_end.store(-1, Ordering::Relaxed);
        }
        self.paused.swap(paused, Ordering::Relaxed)
    }

    /// Whether it is paused for want of room.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Notes whether its first record is not due yet.
    pub(crate) fn set_waiting(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }

    /// Whether its first record is not due yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// The leader says that the log ends at `end`, while nothing is fetched.
    pub(crate) fn ends_at(&self, end: i64) {
        self.asked_end.store(end, Ordering::Relaxed);
    }

    /// How many records are not finished, if the log ends at `fetched_end` as of the last fetch, and the client stands at `position`: what
    /// was fetched and is not finished, and what was not fetched. `None` while nothing is known.
    pub(crate) fn lag(&self, fetched_end: Option<i64>, position: Option<i64>) -> Option<u64> {
        let asked = Some(self.asked_end.load(Ordering::Relaxed)).filter(|end| *end >= 0);
        self.lock().tracker.lag(asked.max(fetched_end), position)
    }

    /// The oldest record that is not finished, and when it came.
    pub(crate) fn oldest(&self) -> Option<(i64, Instant)> {
        let mut state = self.lock();
        state.forget_arrivals();
        let offset = state.tracker.first_unfinished()?;
        Some((offset, state.arrivals.front()?.1))
    }

    /// The timestamp of the oldest arrival that is not finished; -1 when it has none.
    pub(crate) fn oldest_timestamp(&self) -> Option<i64> {
        let mut state = self.lock();
        state.forget_arrivals();
        state.tracker.first_unfinished()?;
        Some(state.arrivals.front()?.2)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Leaves the arrival of the oldest record in flight in front.
    fn forget_arrivals(&mut self) {
        let oldest = self.tracker.first_unfinished().unwrap_or(i64::MAX);
        while self
            .arrivals
            .get(1)
            .is_some_and(|(first, ..)| *first <= oldest)
        {
            self.arrivals.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn partition() -> Partition {
        Partition::new(TopicPartition::new("t", 0), None, OffsetTracker::default())
    }

    #[tokio::test]
    async fn a_released_partition_is_drained_when_its_last_handler_ends() {
        let partition = partition();
        partition.arrive(&[0, 1, 2], -1, None, 3);
        assert!(partition.begin());
        assert!(partition.begin());
        partition.release();
        assert!(!partition.begin(), "no handler begins after the release");
        let ended = async {
            partition.end(0, true);
            partition.end(1, true);
        };
        tokio::join!(partition.drained(), ended);
        assert_eq!(
            partition.take_commit().map(|(commit, _)| commit.offset),
            Some(2)
        );
    }

    #[tokio::test]
    async fn handlers_of_an_abandoned_partition_are_not_waited_for() {
        let partition = partition();
        partition.arrive(&[0], -1, None, 1);
        assert!(partition.begin());
        tokio::join!(partition.drained(), async { partition.abandon() });
        assert!(!partition.begin());
    }

    #[tokio::test]
    async fn a_failed_record_is_not_passed_by_the_commit() {
        let partition = partition();
        partition.arrive(&[0, 1], -1, None, 2);
        assert!(partition.begin());
        partition.end(0, false);
        assert!(partition.begin());
        partition.end(1, true);
        assert_eq!(
            partition.take_commit().map(|(commit, _)| commit.offset),
            Some(0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_record_in_flight_is_known_with_its_age() {
        let partition = partition();
        let begun = Instant::now();
        assert_eq!(partition.oldest(), None);
        for arrival in 0..5 {
            let offsets = [2 * arrival, 2 * arrival + 1];
            partition.arrive(&offsets, 100 * arrival, None, 2 * arrival + 2);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(partition.oldest(), Some((0, begun)));
        assert_eq!(partition.oldest_timestamp(), Some(0));
        for offset in [0, 1, 2, 4, 5] {
            partition.begin();
            partition.end(offset, true);
        }
        assert_eq!(
            partition.oldest(),
            Some((3, begun + Duration::from_secs(1)))
        );
        partition.begin();
        partition.end(3, true);
        assert_eq!(
            partition.oldest(),
            Some((6, begun + Duration::from_secs(3)))
        );
        assert_eq!(partition.oldest_timestamp(), Some(300));
    }

    #[test]
    fn a_partition_is_of_one_topic_whatever_its_name() {
        let id = |byte| TopicId::from_bytes([byte; 16]);
        let partition = partition();
        assert!(partition.is_of(None));
        assert!(partition.is_of(id(1)), "now it is known");
        assert!(!partition.is_of(id(2)));
        assert!(partition.is_of(None), "said by a broker without ids");
        assert_eq!(partition.topic_id(), id(1));
        partition.arrive(&[0], -1, None, 1);
        partition.begin();
        partition.end(0, true);
        partition.orphan();
        assert_eq!(partition.take_commit(), None);
        partition.commit_failed();
        assert_eq!(partition.take_commit(), None);
    }

    #[test]
    fn lag_is_what_is_not_finished_fetched_or_not() {
        let partition = partition();
        assert_eq!(partition.lag(None, None), None);
        assert_eq!(partition.lag(Some(9), Some(7)), Some(2), "none came yet");
        partition.advance(5);
        assert_eq!(partition.lag(Some(9), Some(0)), Some(4));
        partition.arrive(&[5, 6, 7], -1, None, 8);
        assert_eq!(partition.lag(Some(9), Some(0)), Some(4), "3 fetched, 1 not");
        partition.begin();
        partition.end(6, true);
        assert_eq!(partition.lag(Some(9), Some(0)), Some(3));
        assert_eq!(
            partition.lag(None, None),
            Some(2),
            "at least those in flight"
        );
        partition.set_paused(true);
        partition.ends_at(50);
        assert_eq!(partition.lag(Some(9), Some(0)), Some(44));
        partition.set_paused(false);
        assert_eq!(partition.lag(Some(9), Some(0)), Some(3));
    }
}
