//! One member of a consumer group, and how its assignment comes to be what the group has decided for it.
//!
//! ```text
//!   Stable ──another target──> UnrevokedPartitions ──given up──> UnreleasedPartitions ──others gave up──> Stable
//! ```
//!
//! What a member has to give up is taken out of its assignment first; it stays in its epoch until it has said that it owns that no more.
//! What it is to get is added once nobody else holds it. So no partition is ever assigned twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use protocol::Uuid;
use tokio::time::Instant;

/// Partitions by topic id.
pub(crate) type Partitions = BTreeSet<(Uuid, i32)>;

/// The epoch of a static member that is away for a while.
pub(crate) const STATIC_LEAVE_EPOCH: i32 = -2;
/// The epoch that says that a member leaves.
pub(crate) const LEAVE_EPOCH: i32 = -1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    Stable,
    /// It still owns what it has to give up.
    UnrevokedPartitions,
    /// Others still hold what it is to get.
    UnreleasedPartitions,
}

/// What a member wants to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) topics: BTreeSet<String>,
    /// A regular expression for whole names of topics.
    pub(crate) pattern: Option<String>,
}

/// What the group knows of a member that speaks the classic protocol.
#[derive(Clone, Debug)]
pub(crate) struct ClassicSide {
    pub(crate) session_timeout: Duration,
    /// Assignors that the member knows, its favourite first, each with what it tells a leader.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// By when it must have joined again, or have asked for its assignment.
    pub(crate) join_deadline: Option<Instant>,
    pub(crate) sync_deadline: Option<Instant>,
}

/// One member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<String>,
    pub(crate) rack: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) subscription: Subscription,
    pub(crate) assignor: Option<String>,
    pub(crate) epoch: i32,
    pub(crate) previous_epoch: i32,
    pub(crate) state: State,
    pub(crate) assigned: Partitions,
    pub(crate) pending_revocation: Partitions,
    /// The epoch in which it was assigned each partition that it holds: offsets may be committed in it and in all later ones (KIP-1251).
    pub(crate) assigned_in: BTreeMap<(Uuid, i32), i32>,
    /// When it is taken for dead.
    pub(crate) session_end: Option<Instant>,
    /// By when it must have given up what it has to.
    pub(crate) rebalance_deadline: Option<Instant>,
    pub(crate) classic: Option<ClassicSide>,
}

impl Member {
    /// Whether this one holds the partition, be it that it has to give it up.
    pub(crate) fn holds(&self, partition: &(Uuid, i32)) -> bool {
        self.assigned.contains(partition) || self.pending_revocation.contains(partition)
    }

    /// Whether nothing is left to be done for this epoch of the target.
    pub(crate) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == State::Stable && self.epoch == target_epoch
    }

    /// Goes as far towards `target` as it can. `is_held`: whether anybody holds a partition; `owned`: what the member says that it owns, if it
    /// says so.
    pub(crate) fn reconcile(
        &mut self,
        target_epoch: i32,
        target: &Partitions,
        is_held: impl Fn(&(Uuid, i32)) -> bool,
        owned: Option<&Partitions>,
        now: Instant,
    ) {
        let owns = |revoked: &Partitions| owned.is_none_or(|owned| !owned.is_disjoint(revoked));
        let epoch = match self.state {
            State::Stable if self.epoch == target_epoch => return,
            State::Stable | State::UnreleasedPartitions => self.epoch,
            State::UnrevokedPartitions if owns(&self.pending_revocation) => return,
            State::UnrevokedPartitions => self.epoch + 1,
        };
        let kept: Partitions = self.assigned.intersection(target).copied().collect();
        let revoked: Partitions = self.assigned.difference(target).copied().collect();
        if !revoked.is_empty() && owns(&revoked) {
            self.enter(State::UnrevokedPartitions, epoch);
            (self.assigned_in).retain(|it, _| kept.contains(it) || revoked.contains(it));
            self.assigned = kept;
            self.pending_revocation = revoked;
            self.rebalance_deadline = Some(now + self.rebalance_timeout);
            return;
        }
        let (unreleased, free): (Vec<_>, Vec<_>) = target
            .difference(&kept)
            .copied()
            .partition(|it| is_held(it));
        let state = match unreleased.is_empty() {
            true => State::Stable,
            false => State::UnreleasedPartitions,
        };
        self.enter(state, target_epoch);
        self.pending_revocation.clear();
        self.assigned_in.retain(|it, _| kept.contains(it));
        (self.assigned_in).extend(free.iter().map(|it| (*it, target_epoch)));
        self.assigned = kept;
        self.assigned.extend(free);
        self.rebalance_deadline = None;
    }

    /// Whether it may commit an offset of each of these in this epoch: the one that it has, or one that is over, if it held the partition then
    /// and has it still.
    pub(crate) fn may_commit(&self, epoch: i32, partitions: &[(Uuid, i32)]) -> bool {
        let held_then = |it| {
            self.assigned_in
                .get(it)
                .is_some_and(|since| *since <= epoch)
        };
        epoch == self.epoch || epoch < self.epoch && partitions.iter().all(held_then)
    }

    fn enter(&mut self, state: State, epoch: i32) {
        self.state = state;
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }
}
