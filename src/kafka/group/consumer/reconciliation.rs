//! The way from what a member owns to what the broker has assigned to it. In: assignments by topic id, the names of topics as they become known.
//! Out: duties of polls, what the member owns by topic id, and the ids whose names are to be found.
//!
//! What is assigned waits for the name of its topic and is never dropped; what is not assigned any more is given up at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::Uuid;

use crate::kafka::group::duty::Duties;
use crate::kafka::group::heartbeats::IdPartition;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{TopicId, TopicPartition};

/// A topic that is known: its name, and how many partitions it has.
pub(super) type KnownTopic = (Arc<str>, usize);

/// What was assigned, and how far the member is with it.
#[derive(Debug, Default)]
pub(super) struct Reconciliation {
    /// The broker's newest assignment.
    assigned: BTreeSet<IdPartition>,
    /// Of which topic each partition is that the application owns or is about to.
    ids: BTreeMap<TopicPartition, Uuid>,
    /// Topics of the assignment that are not known, or not with so many partitions.
    unknown: BTreeSet<Uuid>,
}

impl Reconciliation {
    /// The broker has assigned these, and no others.
    pub fn assign(&mut self, partitions: BTreeSet<IdPartition>) {
        self.assigned = partitions;
    }

    /// The member is in the group no longer: nothing is assigned.
    pub fn forget(&mut self) {
        self.assigned.clear();
        self.unknown.clear();
    }

    /// Wants of polls what brings the application nearer to what was assigned. `topic` returns the topic of an id, if it is known.
    pub fn advance(&mut self, duties: &mut Duties, topic: impl Fn(&Uuid) -> Option<KnownTopic>) {
        self.unknown.clear();
        let held = duties.held();
        self.ids.retain(|partition, _| held.contains(partition));
        let is_over = |partition: &TopicPartition| {
            let id = self.ids.get(partition);
            id.is_none_or(|id| !self.assigned.contains(&(*id, partition.partition)))
        };
        let revoking = duties.giving_up();
        if held.iter().any(|it| is_over(it) && !revoking.contains(it)) {
            duties.revoke(|partition| is_over(partition) && !revoking.contains(partition));
        }
        let mut new = BTreeMap::new();
        for (id, index) in &self.assigned {
            let known = topic(id)
                .filter(|(_, count)| usize::try_from(*index).is_ok_and(|index| index < *count));
            let Some((name, _)) = known else {
                self.unknown.insert(*id);
                continue;
            };
            let partition = TopicPartition::new(name, *index);
            // One that is being given up, or of a topic that had this name before, comes when it is gone.
            if !held.contains(&partition) {
                new.insert(partition, *id);
            }
        }
        if !new.is_empty() {
            duties.assign(new.keys().cloned().collect());
            self.ids.extend(new);
        }
    }

    /// The topic that `partition` was assigned of, where the application owns it or is about to.
    pub fn topic_of(&self, partition: &TopicPartition) -> Option<TopicId> {
        TopicId::known(*self.ids.get(partition)?)
    }

    /// What the application owns.
    pub fn owned(&self, duties: &Duties) -> BTreeSet<IdPartition> {
        let owned = duties.owned().iter();
        let owned = owned.filter_map(|it| Some((*self.ids.get(it)?, it.partition)));
        owned.collect()
    }

    /// What others must not have yet: all that was assigned, be it that the application is only about to own it, and what it has not given up.
    pub fn claimed(&self, duties: &Duties) -> BTreeSet<IdPartition> {
        let held = duties.held();
        let held = held.iter();
        #[cfg(planted_defects)]
        let held = held.filter(|it| {
            let is_early = planted::is_planted(planted::Defect::RevocationAcknowledgedEarly);
            !is_early || !duties.giving_up().contains(*it)
        });
        let held = held.filter_map(|it| Some((*self.ids.get(it)?, it.partition)));
        held.chain(self.assigned.iter().copied()).collect()
    }

    /// The topics whose names, or partitions, are to be found before all that was assigned can be read.
    pub fn unknown(&self) -> &BTreeSet<Uuid> {
        &self.unknown
    }

    /// Whether the application owns what was assigned, and nothing else.
    pub fn is_done(&self, duties: &Duties) -> bool {
        duties.first().is_none() && self.owned(duties) == self.assigned
    }

    /// What was assigned last.
    #[cfg(test)]
    pub fn assigned(&self) -> &BTreeSet<IdPartition> {
        &self.assigned
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kafka::group::duty::Duty;

    fn id(topic: u128) -> Uuid {
        Uuid::from_u128(topic)
    }

    fn of(partitions: &[(u128, i32)]) -> BTreeSet<IdPartition> {
        partitions
            .iter()
            .map(|(topic, index)| (id(*topic), *index))
            .collect()
    }

    /// Topics `t1` and `t2` of three partitions each; 3 is the topic that has the name `t1` when it is deleted and created again.
    fn names(known: &[u128]) -> impl Fn(&Uuid) -> Option<KnownTopic> {
        let names = known
            .iter()
            .map(|topic| (id(*topic), if *topic == 2 { "t2" } else { "t1" }));
        let names: BTreeMap<Uuid, &str> = names.collect();
        move |id| Some(((*names.get(id)?).into(), 3))
    }

    fn poll(duties: &mut Duties) -> Vec<Duty> {
        let mut done = Vec::new();
        while let Some(duty) = duties.begin() {
            duties.done(&duty);
            done.push(duty);
        }
        done
    }

    fn named(partitions: &[(&str, i32)]) -> Vec<TopicPartition> {
        partitions
            .iter()
            .map(|(topic, index)| TopicPartition::new(*topic, *index))
            .collect()
    }

    #[test]
    fn what_is_assigned_waits_for_its_name_while_the_rest_goes_on() {
        let (mut duties, mut reconciliation) = (Duties::default(), Reconciliation::default());
        reconciliation.assign(of(&[(1, 0), (1, 1)]));
        reconciliation.advance(&mut duties, names(&[1]));
        assert_eq!(
            poll(&mut duties),
            [Duty::Assign(named(&[("t1", 0), ("t1", 1)]))]
        );
        reconciliation.assign(of(&[(1, 0), (2, 0)]));
        reconciliation.advance(&mut duties, names(&[1]));
        assert_eq!(poll(&mut duties), [Duty::Revoke(named(&[("t1", 1)]))]);
        assert_eq!(reconciliation.unknown(), &BTreeSet::from([id(2)]));
        assert!(!reconciliation.is_done(&duties));
        reconciliation.advance(&mut duties, names(&[1, 2]));
        assert_eq!(poll(&mut duties), [Duty::Assign(named(&[("t2", 0)]))]);
        assert!(reconciliation.unknown().is_empty() && reconciliation.is_done(&duties));
        // More partitions than are known.
        reconciliation.assign(of(&[(1, 0), (2, 0), (2, 3)]));
        reconciliation.advance(&mut duties, names(&[1, 2]));
        assert_eq!(
            (poll(&mut duties), reconciliation.unknown().len()),
            (vec![], 1)
        );
    }

    #[test]
    fn a_topic_that_was_re_created_is_given_up_before_the_new_one_is_taken_over() {
        let (mut duties, mut reconciliation) = (Duties::default(), Reconciliation::default());
        reconciliation.assign(of(&[(1, 0)]));
        reconciliation.advance(&mut duties, names(&[1]));
        poll(&mut duties);
        reconciliation.assign(of(&[(3, 0)]));
        reconciliation.advance(&mut duties, names(&[3]));
        assert_eq!(poll(&mut duties), [Duty::Revoke(named(&[("t1", 0)]))]);
        assert!(reconciliation.owned(&duties).is_empty());
        reconciliation.advance(&mut duties, names(&[3]));
        assert_eq!(poll(&mut duties), [Duty::Assign(named(&[("t1", 0)]))]);
        assert_eq!(reconciliation.owned(&duties), of(&[(3, 0)]));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Assign(BTreeSet<(u128, i32)>),
        Know(BTreeSet<u128>),
        Begin,
        Done,
        Lose,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            prop::collection::btree_set((1..4u128, 0..3), 0..6).prop_map(Step::Assign),
            prop::collection::btree_set(1..4u128, 0..4).prop_map(Step::Know),
            Just(Step::Begin),
            Just(Step::Begin),
            Just(Step::Done),
            Just(Step::Done),
            Just(Step::Lose),
        ];
        prop::collection::vec(step, 1..40)
    }

    proptest! {
        #[test]
        fn the_application_ends_with_what_was_assigned_and_never_owns_two_topics_of_a_name(steps in steps()) {
            let (mut duties, mut reconciliation) = (Duties::default(), Reconciliation::default());
            let (mut known, mut begun) = (Vec::new(), None);
            for step in steps {
                match step {
                    Step::Assign(assigned) => {
                        // Never both topics that have the same name.
                        let has_new = assigned.iter().any(|(topic, _)| *topic == 3);
                        let assigned = assigned.into_iter().filter(|(topic, _)| *topic != 1 || !has_new);
                        reconciliation.assign(of(&assigned.collect::<Vec<_>>()));
                    }
                    Step::Know(topics) => {
                        let has_new = topics.contains(&3);
                        known = topics.into_iter().filter(|topic| *topic != 1 || !has_new).collect();
                    }
                    Step::Begin => begun = duties.begin(),
                    Step::Done => {
                        if let Some(duty) = begun.take() {
                            duties.done(&duty);
                        }
                    }
                    Step::Lose => {
                        duties.lose_all();
                        reconciliation.forget();
                    }
                }
                reconciliation.advance(&mut duties, names(&known));
                let owned = reconciliation.owned(&duties);
                prop_assert_eq!(owned.len(), duties.owned().len(), "each has its id");
            }
            let assigned = reconciliation.assigned().clone();
            let last: Vec<u128> = match assigned.iter().any(|(topic, _)| *topic == id(3)) {
                true => vec![2, 3],
                false => vec![1, 2],
            };
            for _ in 0..3 {
                reconciliation.advance(&mut duties, names(&last));
                poll(&mut duties);
            }
            prop_assert_eq!(reconciliation.owned(&duties), assigned);
            prop_assert!(reconciliation.is_done(&duties));
        }
    }
}
