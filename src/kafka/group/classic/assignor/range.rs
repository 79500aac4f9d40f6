//! The range assignor: topic by topic, each member gets a run of consecutive partitions; the first members get one more when the division
//! leaves a rest. Members come static ones first, by instance id, then the others by member id, as in Java's `RangeAssignor` without racks.

use std::collections::BTreeMap;

use super::{Assignment, Assignor, Member, PartitionCounts};

/// `range`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Range;

impl Assignor for Range {
    fn name(&self) -> &'static str {
        "range"
    }

    fn assign(
        &self,
        members: &[Member],
        partitions: &PartitionCounts,
    ) -> BTreeMap<String, Assignment> {
        let mut ordered: Vec<&Member> = members.iter().collect();
        ordered.sort_by_key(|member| {
            (
                member.instance_id.is_none(),
                &member.instance_id,
                &member.id,
            )
        });
        let mut assignments: BTreeMap<String, Assignment> = members
            .iter()
            .map(|member| (member.id.clone(), Assignment::new()))
            .collect();
        for (topic, count) in partitions {
            let subscribed: Vec<&Member> = ordered
                .iter()
                .copied()
                .filter(|member| {
                    member
                        .subscription
                        .topics
                        .iter()
                        .any(|name| **name == **topic)
                })
                .collect();
            let mut start = 0;
            for (index, member) in subscribed.iter().enumerate() {
                let end = start + run_length(*count, subscribed.len(), index);
                if end > start
                    && let Some(assignment) = assignments.get_mut(&member.id)
                {
                    assignment.insert(topic.clone(), (start..end).collect());
                }
                start = end;
            }
        }
        assignments
    }
}

/// How many of `count` partitions the member at `index` of `members` gets.
fn run_length(count: i32, members: usize, index: usize) -> i32 {
    let count = usize::try_from(count).unwrap_or(0);
    let run = count / members + usize::from(index < count % members);
    run as i32
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

    fn counts(topics: &[(&str, i32)]) -> PartitionCounts {
        topics
            .iter()
            .map(|(topic, count)| (Arc::from(*topic), *count))
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
            let topics: PartitionCounts = sizes.iter().enumerate().map(|(topic, count)| (Arc::from(name(topic)), *count)).collect();
            let assignments = Range.assign(&members, &topics);
            for (topic, count) in &topics {
                let subscribed: Vec<_> = members.iter().filter(|member| member.subscription.topics.contains(&topic.to_string())).collect();
                let given: Vec<i32> = subscribed.iter().flat_map(|member| assignments[&member.id].get(topic).cloned().unwrap_or_default()).collect();
                let all: Vec<i32> = (0..*count).collect();
                prop_assert_eq!(&given, if subscribed.is_empty() { &[][..] } else { &all[..] });
                let sizes: Vec<usize> = subscribed.iter().map(|member| assignments[&member.id].get(topic).map_or(0, Vec::len)).collect();
                if let (Some(most), Some(least)) = (sizes.iter().max(), sizes.iter().min()) {
                    prop_assert!(most - least <= 1);
                }
            }
        }
    }
}
