//! Commits for one partition that are under way at the same time.

use std::collections::BTreeMap;

use pat_events::kafka::GroupProtocol;

use super::Guarantees;
use crate::history::{Event, Incarnation};

/// A commit of one partition.
struct Commit {
    reader: u32,
    next: i64,
    /// The topic that had the name when it was asked for.
    incarnation: Incarnation,
    /// As which event it was asked for, and acknowledged.
    begun: usize,
    acknowledged: Option<usize>,
}

/// The commits of a history, as far as it was read.
#[derive(Default)]
pub(super) struct Commits {
    now: Incarnation,
    /// Which topic's partition each member was given last.
    given: BTreeMap<(u32, i32), Incarnation>,
    of_partitions: BTreeMap<i32, Vec<Commit>>,
}

impl Commits {
    /// Takes note of the event of this number.
    pub(super) fn take(&mut self, index: usize, event: &Event) {
        match *event {
            Event::Created { incarnation, .. } => self.now = incarnation,
            Event::Assigned { reader, partition } => {
                self.given.insert((reader, partition), self.now);
            }
            Event::Committing {
                reader,
                partition,
                next,
            } => {
                let commits = self.of_partitions.entry(partition).or_default();
                commits.push(Commit {
                    reader,
                    next,
                    incarnation: self.now,
                    begun: index,
                    acknowledged: None,
                });
            }
            Event::Committed {
                reader,
                partition,
                next,
            } => {
                let commits = self.of_partitions.entry(partition).or_default();
                // Those of one member are acknowledged in their order.
                let acknowledged = commits
                    .iter_mut()
                    .find(|it| it.reader == reader && it.next == next && it.acknowledged.is_none());
                if let Some(commit) = acknowledged {
                    commit.acknowledged = Some(index);
                }
            }
            _ => {}
        }
    }

    /// Whether the coordinator may have `has`, and not the commit that this event of the history acknowledges: because another member's came at the
    /// same time, where two have the partition.
    ///
    /// Brokers assign partitions by topic id, and members of the classic protocol know them by name. So in a group with members of both, a
    /// partition of a topic that was created anew is nobody's, and given away at once, while a member of the classic protocol that had the partition of
    /// that name reads and commits it in the new topic until it hears that it is to join again. Its generation is not over: Kafka's coordinators take
    /// what both commit, and the last counts. Nothing is lost by that, but read twice.
    pub(super) fn may_be_overtaken(
        &self,
        acknowledged: usize,
        partition: i32,
        has: i64,
        guarantees: Guarantees,
    ) -> bool {
        let commits = self.of_partitions.get(&partition);
        let commits = commits.map(Vec::as_slice).unwrap_or_default();
        let is_it = |it: &&Commit| it.acknowledged == Some(acknowledged);
        let Some(commit) = commits.iter().find(is_it) else {
            return false;
        };
        commits.iter().any(|other| {
            let at_the_same_time = other.acknowledged.is_none_or(|at| at > commit.begun);
            other.next == has
                && other.incarnation == self.now
                && at_the_same_time
                && self.have_both(partition, (commit.reader, other.reader), guarantees)
        })
    }

    /// Whether one of two members was given the partition of the topic that has the name now, and the other, by the classic protocol, that of one before.
    fn have_both(&self, partition: i32, (one, other): (u32, u32), guarantees: Guarantees) -> bool {
        let given = |reader| self.given.get(&(reader, partition)).copied();
        let (Some(of_one), Some(of_other)) = (given(one), given(other)) else {
            return false;
        };
        let (earlier, by) = if of_one < of_other {
            (of_one, one)
        } else {
            (of_other, other)
        };
        let is_classic = guarantees.protocols.of(by) == GroupProtocol::Classic;
        !guarantees.protocols.is_one()
            && is_classic
            && earlier < self.now
            && of_one.max(of_other) == self.now
    }
}
