//! Defects planted on purpose, to prove that the simulation finds such defects. Built with `--cfg planted_defects` only, which nothing but
//! that proof sets.

use std::cell::Cell;

/// A defect, of a kind that clients have shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A batch that is sent again gets a new sequence number instead of its own.
    SequenceNotRestored,
    /// A consumer's position moves when records were fetched, not when they are handed out.
    PositionBeforeDelivery,
    /// A partition whose producer went on to another epoch is never sent to again.
    SilentAfterEpochBump,
    /// A group's member takes no notice of what the group has committed.
    CommittedOffsetIgnored,
}

thread_local! {
    static PLANTED: Cell<Option<Defect>> = const { Cell::new(None) };
}

/// Gives this thread's clients the defect; `None` takes it back.
pub fn plant(defect: Option<Defect>) {
    PLANTED.set(defect);
}

pub(crate) fn is_planted(defect: Defect) -> bool {
    PLANTED.get() == Some(defect)
}
