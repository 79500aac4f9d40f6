//! All members have subscribed to the same topics: everyone gets the same number of partitions, or one more. Members keep what they had, up to
//! that number; then what is left goes round, to members near it first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::near::Near;
use super::owned::Owned;
use super::{Assigned, Group, Moving, Partition};

pub(super) fn assign(group: &Group<'_>, owned: Owned) -> (Assigned, Moving) {
    let members = group.members.len();
    let all: Vec<Partition> = (0..group.topics.len())
        .flat_map(|topic| group.partitions_of(topic))
        .collect();
    if members == 0 {
        return (Assigned::new(), Moving::new());
    }
    let mut filling = Filling {
        near: Near::new(group),
        claimed_twice: owned.claimed_twice,
        given_up: BTreeMap::new(),
        least: all.len() / members,
        most: all.len().div_ceil(members),
        with_one_more: 0,
        may_have_one_more: all.len() % members,
        below: Vec::new(),
        at_least: VecDeque::new(),
        assigned: vec![Vec::new(); members],
        moving: Moving::new(),
    };
    for member in group.walk.iter().copied() {
        filling.keep(member, &owned.by_member[member]);
    }
    let kept: BTreeSet<Partition> = filling.assigned.iter().flatten().copied().collect();
    let mut left: Vec<Partition> = all.into_iter().filter(|it| !kept.contains(it)).collect();
    filling.below.sort_unstable();
    filling.at_least.make_contiguous().sort_unstable();
    filling.near.sort(&mut left);
    if filling.near.matters {
        left = filling.fill_near(left);
    }
    filling.fill(left);
    (filling.assigned, filling.moving)
}

/// Members while they are filled up.
struct Filling<'a> {
    near: Near<'a>,
    claimed_twice: BTreeSet<Partition>,
    /// What members had and do not keep; it may come back to them.
    given_up: BTreeMap<Partition, usize>,
    least: usize,
    most: usize,
    /// How many members have more than the least, and how many may.
    with_one_more: usize,
    may_have_one_more: usize,
    /// Those who have less than the least.
    below: Vec<usize>,
    /// Those who have the least, while one of them may still get one more.
    at_least: VecDeque<usize>,
    assigned: Assigned,
    moving: Moving,
}

impl Filling<'_> {
    /// A member keeps what it had: all, or as much as it may.
    fn keep(&mut self, member: usize, owned: &[Partition]) {
        let (far, mut kept): (Vec<Partition>, Vec<Partition>) =
            (owned.iter().copied()).partition(|partition| self.near.is_far(member, *partition));
        self.given_up.extend(far.into_iter().map(|it| (it, member)));
        kept.sort_by_key(|partition| (partition.number, partition.topic));
        kept.retain(|partition| !self.claimed_twice.contains(partition));
        if kept.len() < self.least {
            self.below.push(member);
        } else if kept.len() >= self.most && self.with_one_more < self.may_have_one_more {
            self.one_more();
            self.give_up(member, kept.split_off(self.most));
        } else {
            self.give_up(member, kept.split_off(self.least));
            if self.with_one_more < self.may_have_one_more {
                self.at_least.push_back(member);
            }
        }
        self.assigned[member] = kept;
    }

    fn give_up(&mut self, member: usize, partitions: Vec<Partition>) {
        let given_up = partitions.into_iter().map(|it| (it, member));
        self.given_up.extend(given_up);
    }

    /// A member has more than the least. After the last that may, nobody who has the least gets more.
    fn one_more(&mut self) {
        self.with_one_more += 1;
        if self.with_one_more == self.may_have_one_more {
            self.at_least.clear();
        }
    }

    /// Gives partitions to members near them, in turn. Returns what nobody near may have.
    fn fill_near(&mut self, partitions: Vec<Partition>) -> Vec<Partition> {
        let mut left = Vec::new();
        let mut turn = 0;
        for partition in partitions {
            if let Some(place) = self.near.next(partition, &self.below, turn) {
                let member = self.below[place];
                let count = self.assigned[member].len() + 1;
                turn = place + 1;
                if count >= self.least {
                    self.below.remove(place);
                    turn = place;
                    if count < self.most && self.with_one_more < self.may_have_one_more {
                        self.at_least.push_back(member);
                    }
                }
                turn = turn.checked_rem(self.below.len()).unwrap_or(0);
                self.give(partition, member);
                continue;
            }
            let at_least = self.at_least.make_contiguous();
            let Some(place) = self.near.next(partition, at_least, 0) else {
                left.push(partition);
                continue;
            };
            let member = at_least[place];
            if self.assigned[member].len() + 1 == self.most {
                self.at_least.remove(place);
                self.one_more();
            }
            self.give(partition, member);
        }
        left
    }

    /// Gives partitions to those below the least in turn; once nobody is, one each to those who have the least.
    fn fill(&mut self, partitions: Vec<Partition>) {
        let mut turn = 0;
        for partition in partitions {
            if turn >= self.below.len() {
                turn = 0;
            }
            let Some(member) = self.below.get(turn).copied() else {
                // There are as many as are left: everyone's number was computed beforehand.
                if let Some(member) = self.at_least.pop_front() {
                    self.give(partition, member);
                }
                continue;
            };
            self.give(partition, member);
            turn += 1;
            if self.assigned[member].len() == self.least {
                turn -= 1;
                self.below.remove(turn);
                self.at_least.push_back(member);
            }
        }
    }

    fn give(&mut self, partition: Partition, member: usize) {
        self.assigned[member].push(partition);
        let had = self.given_up.get(&partition);
        let was_anothers = had.is_some_and(|other| *other != member);
        if was_anothers || self.claimed_twice.contains(&partition) {
            self.moving.insert(partition, member);
        }
    }
}
