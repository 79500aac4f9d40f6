//! The range assignor: topic by topic, each member gets a run of consecutive partitions; the first members get one more when the division
//! leaves a rest. Members come static ones first, by instance id, then the others by member id. Where racks matter (KIP-881), members first
//! get what has replicas near them, the same numbers of all topics that have as many partitions and the same members; then the rest is
//! assigned in runs. As Java's `RangeAssignor`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Assignment, Assignor, GroupTopics, Member, Partitions, in_order, nothing_for, racks};

/// `range`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Range;

impl Assignor for Range {
    fn name(&self) -> &'static str {
        "range"
    }

    fn assign(&self, members: &[Member], topics: &GroupTopics) -> BTreeMap<String, Assignment> {
        let members = in_order(members);
        let mut runs: Vec<Runs<'_>> = topics
            .iter()
            .map(|(topic, partitions)| Runs::new(topic, partitions, &members))
            .collect();
        if runs.iter().any(|runs| runs.racks_matter) {
            assign_near(&mut runs);
        }
        let mut assignments = nothing_for(&members);
        for mut runs in runs {
            runs.assign(|_, _| true);
            for (member, mut partitions) in runs.members.iter().zip(runs.assigned) {
                if !partitions.is_empty()
                    && let Some(assignment) = assignments.get_mut(&member.id)
                {
                    partitions.sort_unstable();
                    assignment.insert(runs.topic.clone(), partitions);
                }
            }
        }
        assignments
    }
}

/// One topic while it is assigned.
struct Runs<'a> {
    topic: &'a Arc<str>,
    partitions: &'a Partitions,
    /// Those who have subscribed to it.
    members: Vec<&'a Member>,
    assigned: Vec<Vec<i32>>,
    unassigned: BTreeSet<i32>,
    /// What each member gets at least.
    least: usize,
    /// How many members may still get one more.
    one_more: usize,
    racks_matter: bool,
}

impl<'a> Runs<'a> {
    fn new(topic: &'a Arc<str>, partitions: &'a Partitions, members: &[&'a Member]) -> Self {
        let subscribed = members.iter().filter(|member| member.wants(topic));
        let members: Vec<&Member> = subscribed.copied().collect();
        let count = usize::try_from(partitions.count).unwrap_or(0);
        let near: BTreeSet<&str> = members.iter().filter_map(|member| member.rack()).collect();
        Self {
            topic,
            partitions,
            assigned: vec![Vec::new(); members.len()],
            unassigned: (0..partitions.count).collect(),
            least: count.checked_div(members.len()).unwrap_or(0),
            one_more: count.checked_rem(members.len()).unwrap_or(0),
            racks_matter: racks::matter(&near, std::iter::once(partitions)),
            members,
        }
    }

    /// Whether any member says where it runs.
    fn has_racks(&self) -> bool {
        self.members.iter().any(|member| member.rack().is_some())
    }

    /// Whether the partition has a replica near the member, or the member does not care.
    fn is_near(&self, member: usize, partition: i32) -> bool {
        let rack = self.members[member].rack();
        rack.is_none_or(|rack| self.partitions.racks_of(partition).contains(rack))
    }

    /// How many more partitions the member may get.
    fn room(&self, member: usize) -> usize {
        let most = self.least + usize::from(self.one_more > 0);
        most.saturating_sub(self.assigned[member].len())
    }

    /// Gives each member as many of its unassigned partitions as it may get, of those that `may` allow.
    fn assign(&mut self, may: impl Fn(&Self, (usize, i32)) -> bool) {
        for member in 0..self.members.len() {
            let allowed = |partition: &i32| may(self, (member, *partition));
            let run = self.unassigned.iter().copied().filter(allowed);
            let run: Vec<i32> = run.take(self.room(member)).collect();
            self.give(member, &run);
        }
    }

    fn give(&mut self, member: usize, run: &[i32]) {
        self.assigned[member].extend(run);
        if !run.is_empty() && self.assigned[member].len() > self.least {
            self.one_more = self.one_more.saturating_sub(1);
        }
        for partition in run {
            self.unassigned.remove(partition);
        }
    }
}

/// Assigns what has replicas near a member, to it.
fn assign_near(runs: &mut [Runs<'_>]) {
    let mut alike: BTreeMap<(Vec<String>, i32), Vec<&mut Runs<'_>>> = BTreeMap::new();
    for runs in runs {
        if runs.has_racks() {
            let ids = runs.members.iter().map(|member| member.id.clone());
            let key = (ids.collect(), runs.partitions.count);
            alike.entry(key).or_default().push(runs);
        }
    }
    for ((members, count), mut alike) in alike {
        match alike.as_mut_slice() {
            [runs] if runs.racks_matter => {
                runs.assign(|runs, (member, partition)| runs.is_near(member, partition));
            }
            [_] => {}
            alike => assign_together(alike, members.len(), count),
        }
    }
}

/// The same numbers of each topic go to one member, if all of them are near it.
fn assign_together(alike: &mut [&mut Runs<'_>], members: usize, count: i32) {
    let mut left: Vec<usize> = (0..members).collect();
    for partition in 0..count {
        let suits = |member: &usize| {
            let mut topics = alike.iter();
            topics.all(|runs| runs.is_near(*member, partition) && runs.room(*member) > 0)
        };
        let Some(place) = left.iter().position(suits) else {
            continue;
        };
        let member = left[place];
        for runs in &mut *alike {
            runs.give(member, &[partition]);
        }
        if alike.iter().all(|runs| runs.room(member) == 0) {
            left.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::kafka::group::classic::consumer_protocol::Subscription;

    fn subscribed_to(topics: impl Iterator<Item = String>) -> Subscription {
        Subscription {
            topics: topics.collect(),
            ..Subscription::default()
        }
    }

    fn member(id: &str, topics: &[&str]) -> Member {
        Member {
            id: id.to_string(),
            instance_id: None,
            subscription: subscribed_to(topics.iter().map(ToString::to_string)),
        }
    }

    fn counts(topics: &[(&str, i32)]) -> GroupTopics {
        let topics = topics.iter();
        topics
            .map(|(topic, count)| (Arc::from(*topic), Partitions::from(*count)))
            .collect()
    }

    /// Each member's partitions as `topic-partition`.
    fn assignments(members: &[Member], topics: &[(&str, i32)]) -> Vec<String> {
        let assignments = Range.assign(members, &counts(topics));
        assignments
            .iter()
            .map(|(id, assignment)| {
                let names: Vec<_> = assignment
                    .iter()
                    .flat_map(|(topic, partitions)| {
                        partitions
                            .iter()
                            .map(move |partition| format!("{topic}-{partition}"))
                    })
                    .collect();
                format!("{id}: {}", names.join(" "))
            })
            .collect()
    }

    // The cases of Java's RangeAssignorTest, without its racks.

    #[test]
    fn one_member_gets_everything_it_subscribed_to() {
        assert_eq!(
            assignments(&[member("c", &["t1", "t2"])], &[("t1", 1), ("t2", 2)]),
            ["c: t1-0 t2-0 t2-1"]
        );
        assert_eq!(
            assignments(&[member("c", &["t1"])], &[("t1", 3), ("t2", 3)]),
            ["c: t1-0 t1-1 t1-2"]
        );
        assert_eq!(assignments(&[member("c", &["t1"])], &[]), ["c: "]);
        assert_eq!(assignments(&[member("c", &[])], &[("t1", 3)]), ["c: "]);
    }

    #[test]
    fn members_beyond_the_partitions_get_nothing() {
        assert_eq!(
            assignments(&[member("c1", &["t"]), member("c2", &["t"])], &[("t", 1)]),
            ["c1: t-0", "c2: "]
        );
    }

    #[test]
    fn the_first_members_get_the_rest_of_each_topic() {
        let members = [member("c1", &["t1", "t2"]), member("c2", &["t1", "t2"])];
        assert_eq!(
            assignments(&members, &[("t1", 3), ("t2", 3)]),
            ["c1: t1-0 t1-1 t2-0 t2-1", "c2: t1-2 t2-2"]
        );
    }

    #[test]
    fn each_topic_is_shared_among_those_who_subscribed_to_it() {
        let members = [
            member("c1", &["t1"]),
            member("c2", &["t1", "t2"]),
            member("c3", &["t1"]),
        ];
        assert_eq!(
            assignments(&members, &[("t1", 3), ("t2", 2)]),
            ["c1: t1-0", "c2: t1-1 t2-0 t2-1", "c3: t1-2"]
        );
    }

    #[test]
    fn static_members_come_first_by_instance_id() {
        let mut members = [
            member("a", &["t"]),
            member("b", &["t"]),
            member("c", &["t"]),
        ];
        members[1].instance_id = Some("z".to_string());
        members[2].instance_id = Some("y".to_string());
        assert_eq!(
            assignments(&members, &[("t", 5)]),
            ["a: t-4", "b: t-2 t-3", "c: t-0 t-1"]
        );
    }

    proptest! {
        #[test]
        fn every_partition_goes_to_exactly_one_subscribed_member_and_assignments_differ_by_one(
            subscriptions in prop::collection::vec(prop::collection::btree_set(0usize..4, 0..4), 1..7),
            sizes in prop::collection::vec(0i32..20, 4),
        ) {
            let name = |topic: usize| format!("t{topic}");
            let members: Vec<Member> = subscriptions
                .iter()
                .enumerate()
                .map(|(index, topics)| Member {
                    id: format!("m{index}"),
                    instance_id: None,
                    subscription: subscribed_to(topics.iter().map(|topic| name(*topic))),
                })
                .collect();
            let topics: GroupTopics = sizes.iter().enumerate().map(|(topic, count)| (Arc::from(name(topic)), Partitions::from(*count))).collect();
            let assignments = Range.assign(&members, &topics);
            for (topic, count) in &topics {
                let subscribed: Vec<_> = members.iter().filter(|member| member.subscription.topics.contains(&topic.to_string())).collect();
                let given: Vec<i32> = subscribed.iter().flat_map(|member| assignments[&member.id].get(topic).cloned().unwrap_or_default()).collect();
                let all: Vec<i32> = (0..count.count).collect();
                prop_assert_eq!(&given, if subscribed.is_empty() { &[][..] } else { &all[..] });
                let sizes: Vec<usize> = subscribed.iter().map(|member| assignments[&member.id].get(topic).map_or(0, Vec::len)).collect();
                if let (Some(most), Some(least)) = (sizes.iter().max(), sizes.iter().min()) {
                    prop_assert!(most - least <= 1);
                }
            }
        }
    }
}
