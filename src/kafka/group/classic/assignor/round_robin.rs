//! The round-robin assignor: all partitions, by topic and number, go to the members in turn; a member that has not subscribed to a topic is
//! passed over. As Java's `RoundRobinAssignor`.

use std::collections::BTreeMap;

use super::{Assignment, Assignor, GroupTopics, Member, in_order, nothing_for};

/// `roundrobin`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundRobin;

impl Assignor for RoundRobin {
    fn name(&self) -> &'static str {
        "roundrobin"
    }

    fn assign(&self, members: &[Member], topics: &GroupTopics) -> BTreeMap<String, Assignment> {
        let members = in_order(members);
        let mut assignments = nothing_for(&members);
        let mut turn = 0;
        for (topic, partitions) in topics {
            if !members.iter().any(|member| member.wants(topic)) {
                continue;
            }
            for partition in 0..partitions.count {
                while !members[turn].wants(topic) {
                    turn = (turn + 1) % members.len();
                }
                if let Some(assignment) = assignments.get_mut(&members[turn].id) {
                    let of_topic = assignment.entry(topic.clone()).or_default();
                    of_topic.push(partition);
                }
                turn = (turn + 1) % members.len();
            }
        }
        assignments
    }
}
