//! Whose turn it is to be handled alone, and commits that are wanted at once: what the workers and the committer of a consumer share about
//! [deaths](super::deaths).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::partition::{Opening, Partition};
use crate::events::cancellation::Cancellation;

/// How long a record rests, at the least, whose partition is not open yet. Commits that fail make it longer.
const OPENS_IN: Duration = Duration::from_millis(5);
/// How long a record rests that is to be handled alone, while another is.
const ANOTHER: Duration = Duration::from_millis(20);
/// How long the records of a partition wait until a commit says that it is open.
const PATIENCE: Duration = Duration::from_secs(5);

/// One for each start of a consumer.
#[derive(Debug)]
pub(crate) struct DeathWatch {
    /// How many deaths a record may have on its account; 0: nothing is watched.
    pub(super) limit: u32,
    /// The turn of the one record that is handled alone.
    turn: Arc<Semaphore>,
    /// How many commits were wanted at once, for whoever commits; and how many of them are done.
    wanted: AtomicU64,
    want: Notify,
    done: watch::Sender<u64>,
}

/// What becomes of a record of a partition that is watched.
pub(super) enum TurnAlone {
    /// It is handled like any other.
    Free,
    /// It is handled, and no other that is to be alone, until this is dropped.
    Alone(OwnedSemaphorePermit),
    /// It is not handled until then.
    Rests(Instant),
    /// The consumer stops, or the partition goes.
    Over,
    /// So many processes have died over it: it is not handled any more.
    GivenUp(u32),
}

impl DeathWatch {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            turn: Arc::new(Semaphore::new(1)),
            wanted: AtomicU64::new(0),
            want: Notify::new(),
            done: watch::Sender::new(0),
        }
    }

    /// Waits until a commit is wanted at once.
    pub(super) async fn want(&self) {
        self.want.notified().await;
    }

    /// How many commits were wanted so far: one that begins now is good for all of them.
    pub(super) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::SeqCst)
    }

    /// A commit has succeeded that began when so many were wanted.
    pub(super) fn done(&self, wanted: u64) {
        self.done
            .send_if_modified(|done| std::mem::replace(done, wanted.max(*done)) < wanted);
    }

    /// Wants a commit at once. Returns the number of the wish.
    pub(super) fn ask(&self) -> u64 {
        let number = self.wanted.fetch_add(1, Ordering::SeqCst) + 1;
        self.want.notify_one();
        number
    }

    /// Until when the records of `partition` rest because no commit says that it is open; `None`: it is, or was waited for for long enough.
    pub(super) fn opens(&self, partition: &Partition, now: Instant) -> Option<Instant> {
        if let Opening::Waits(since) = partition.opening(now)
            && now - since < PATIENCE
        {
            self.ask();
            return Some(now + OPENS_IN.max((now - since) / 4));
        }
        partition.open();
        None
    }

    /// The turn of the record at `offset` of `partition`, which has begun.
    pub(super) async fn turn(
        &self,
        partition: &Partition,
        offset: i64,
        given_up: [&Cancellation; 2],
    ) -> TurnAlone {
        let now = Instant::now();
        if let Some(until) = self.opens(partition, now) {
            return TurnAlone::Rests(until);
        }
        if !partition.is_alone(offset, now) {
            return TurnAlone::Free;
        }
        let Ok(permit) = self.turn.clone().try_acquire_owned() else {
            return TurnAlone::Rests(now + ANOTHER);
        };
        if let Err(deaths) = partition.begin_alone(offset) {
            return TurnAlone::GivenUp(deaths);
        }
        let number = self.ask();
        let mut done = self.done.subscribe();
        tokio::select! {
            biased;
            () = Cancellation::either(given_up) => TurnAlone::Over,
            // Its other side is here.
            _ = done.wait_for(|done| *done >= number) => TurnAlone::Alone(permit),
        }
    }
}
