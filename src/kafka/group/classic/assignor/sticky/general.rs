//! Members have subscribed to different topics. They keep what they had of those; the rest goes to whoever has least and may have it; then
//! partitions are moved one by one from those who have more to those who have less, until nothing gets more balanced by it.

use std::collections::{BTreeMap, BTreeSet};

use super::movements::Movements;
use super::near::Near;
use super::owned::Owned;
use super::{Assigned, Group, Partition};

pub(super) fn assign(group: &Group<'_>, owned: Owned) -> Assigned {
    let mut balancing = Balancing::new(group, owned);
    let unassigned = balancing.keep();
    balancing.balance(unassigned);
    balancing.assigned
}

/// A group while it is balanced.
struct Balancing<'a> {
    group: &'a Group<'a>,
    near: Near<'a>,
    assigned: Assigned,
    owners: BTreeMap<Partition, usize>,
    before: BTreeMap<Partition, (usize, i32)>,
    /// All partitions: those that few members may have come first.
    all: Vec<Partition>,
    /// Members that may get or lose partitions, by how many they have, and by id.
    by_size: BTreeSet<(usize, usize)>,
    /// Whether members lose partitions whatever happens.
    something_goes: bool,
    movements: Movements,
    /// Whether it is balanced, unless something was moved since that was found.
    is_balanced: Option<bool>,
}

impl<'a> Balancing<'a> {
    fn new(group: &'a Group<'a>, owned: Owned) -> Self {
        let mut topics: Vec<usize> = (0..group.topics.len()).collect();
        topics.sort_by_key(|topic| group.topics[*topic].members.len());
        let of_members = owned.by_member.iter().enumerate();
        let owners =
            of_members.flat_map(|(member, owned)| owned.iter().map(move |it| (*it, member)));
        Self {
            near: Near::new(group),
            owners: owners.collect(),
            assigned: owned.by_member,
            before: owned.before,
            all: topics
                .into_iter()
                .flat_map(|topic| group.partitions_of(topic))
                .collect(),
            by_size: BTreeSet::new(),
            something_goes: false,
            movements: Movements::default(),
            is_balanced: None,
            group,
        }
    }

    fn may_have(&self, member: usize, partition: Partition) -> bool {
        self.group.topics[partition.topic].is_wanted_by(member)
    }

    fn size(&self, member: usize) -> usize {
        self.assigned[member].len()
    }

    /// Members keep what they have subscribed to and stand near. Returns what nobody has.
    fn keep(&mut self) -> Vec<Partition> {
        let mut kept = BTreeSet::new();
        for member in 0..self.assigned.len() {
            let mut owned = std::mem::take(&mut self.assigned[member]);
            let before = owned.len();
            owned.retain(|it| self.may_have(member, *it) && !self.near.is_far(member, *it));
            self.something_goes |= owned.len() < before;
            kept.extend(owned.iter().copied());
            self.by_size.insert((owned.len(), member));
            self.assigned[member] = owned;
        }
        let all = self.all.iter().copied();
        all.filter(|partition| !kept.contains(partition)).collect()
    }

    fn balance(&mut self, mut unassigned: Vec<Partition>) {
        let Some((most, _)) = self.by_size.last().copied() else {
            return;
        };
        let is_first = most == 0;
        let mut left = unassigned.clone();
        if self.near.matters {
            left.retain(|partition| !self.give(*partition, true));
        }
        for partition in left {
            self.give(partition, false);
        }
        let movable = |topic: usize| self.group.topics[topic].members.len() >= 2;
        self.all.retain(|partition| movable(partition.topic));
        unassigned.retain(|partition| movable(partition.topic));
        for member in 0..self.assigned.len() {
            if !self.takes_part(member) {
                self.by_size.remove(&(self.size(member), member));
            }
        }
        let (assigned, owners) = (self.assigned.clone(), self.owners.clone());
        if !self.something_goes {
            // What is new is moved first.
            self.reassign(&unassigned);
        }
        let all = std::mem::take(&mut self.all);
        let moved = self.reassign(&all);
        if !is_first && moved && self.score(&self.assigned) >= self.score(&assigned) {
            (self.assigned, self.owners) = (assigned, owners);
        }
    }

    /// Gives the partition to the member with least that may have it, and that is not far from it if `near`. Whether there is one.
    fn give(&mut self, partition: Partition, near: bool) -> bool {
        let suits = |(_, member): &&(usize, usize)| {
            self.may_have(*member, partition) && !(near && self.near.is_far(*member, partition))
        };
        let Some((size, member)) = self.by_size.iter().find(suits).copied() else {
            return false;
        };
        self.by_size.remove(&(size, member));
        self.by_size.insert((size + 1, member));
        self.assigned[member].push(partition);
        self.owners.insert(partition, member);
        true
    }

    /// How many partitions the member could have.
    fn could_have(&self, member: usize) -> usize {
        let topics = self.group.topics.iter();
        let topics = topics.filter(|topic| topic.is_wanted_by(member));
        let counts = topics.map(|topic| topic.partitions.count);
        counts
            .map(|count| usize::try_from(count).unwrap_or(0))
            .sum()
    }

    /// Whether the member may get more, or lose something to another.
    fn takes_part(&self, member: usize) -> bool {
        let shared = |it: &Partition| self.group.topics[it.topic].members.len() >= 2;
        self.size(member) < self.could_have(member) || self.assigned[member].iter().any(shared)
    }

    /// Moves `partitions` until that makes nothing better. Whether anything was moved.
    fn reassign(&mut self, partitions: &[Partition]) -> bool {
        let mut moved = false;
        loop {
            let mut again = false;
            for partition in partitions.iter().copied() {
                if self.is_balanced() {
                    break;
                }
                let Some(target) = self.better_for(partition) else {
                    continue;
                };
                self.move_to(partition, target);
                (moved, again) = (true, true);
            }
            if !again {
                return moved;
            }
        }
    }

    /// Who should have the partition instead of its owner: who had it before, or else whoever has least.
    fn better_for(&self, partition: Partition) -> Option<usize> {
        let owner = *self.owners.get(&partition)?;
        let has_less = |member: usize| self.size(owner) > self.size(member) + 1;
        if let Some((before, _)) = self.before.get(&partition).copied()
            && has_less(before)
            && self.may_have(before, partition)
            && self.by_size.contains(&(self.size(before), before))
        {
            return Some(before);
        }
        let others = self.group.topics[partition.topic].members.iter();
        let mut others =
            others.filter(|member| self.by_size.contains(&(self.size(**member), **member)));
        if !others.any(|member| has_less(*member)) {
            return None;
        }
        let mut by_size = self.by_size.iter();
        by_size
            .find(|(_, member)| self.may_have(*member, partition))
            .map(|(_, member)| *member)
    }

    fn move_to(&mut self, partition: Partition, target: usize) {
        let Some(owner) = self.owners.get(&partition).copied() else {
            return;
        };
        let hash = self.group.topics[partition.topic].hash;
        let moved = (self.movements).instead_of(partition, owner, target, hash);
        let Some(source) = self.owners.get(&moved).copied() else {
            return;
        };
        for member in [source, target] {
            self.by_size.remove(&(self.size(member), member));
        }
        self.movements.add(moved, source, target);
        self.assigned[source].retain(|it| *it != moved);
        self.assigned[target].push(moved);
        self.owners.insert(moved, target);
        for member in [source, target] {
            self.by_size.insert((self.size(member), member));
        }
        self.is_balanced = None;
    }

    /// Whether nobody could have a partition of someone who has at least two more.
    fn is_balanced(&mut self) -> bool {
        if let Some(known) = self.is_balanced {
            return known;
        }
        let sizes = self.by_size.iter().map(|(size, _)| *size);
        let (least, most) = (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0));
        let is_balanced = most <= least + 1 || !self.by_size.iter().any(|it| self.could_gain(*it));
        self.is_balanced = Some(is_balanced);
        is_balanced
    }

    fn could_gain(&self, (size, member): (usize, usize)) -> bool {
        if size == self.could_have(member) {
            return false;
        }
        let topics = self.group.topics.iter().enumerate();
        let mut topics = topics.filter(|(_, topic)| topic.is_wanted_by(member));
        topics.any(|(topic, _)| {
            let mut owners = self
                .group
                .partitions_of(topic)
                .filter_map(|it| self.owners.get(&it));
            owners.any(|owner| *owner != member && size + 1 < self.size(*owner))
        })
    }

    /// How far apart the members that take part are, all pairs added up.
    fn score(&self, assigned: &Assigned) -> usize {
        let members: Vec<usize> = self.by_size.iter().map(|(_, member)| *member).collect();
        let pairs = members
            .iter()
            .enumerate()
            .flat_map(|(place, one)| members[place + 1..].iter().map(move |other| (one, other)));
        pairs
            .map(|(one, other)| assigned[*one].len().abs_diff(assigned[*other].len()))
            .sum()
    }
}
