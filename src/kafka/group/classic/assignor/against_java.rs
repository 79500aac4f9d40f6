//! The assignors beside Java's own: the same groups, drawn from a seed, get the same assignments. What Java made of them stands in
//! `java_assignments.txt`, as `tests/java/Assignments.java` prints it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use super::*;
use crate::kafka::group::classic::sticky_user_data;

const JAVAS: &str = include_str!("java_assignments.txt");

/// SplitMix64, as the Java program has it.
struct Draws(u64);

impl Draws {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.draw(one_in) == 0
    }
}

struct Case {
    members: Vec<Member>,
    topics: GroupTopics,
}

impl Case {
    fn of(seed: u64) -> Self {
        let mut draws = Draws(seed);
        let many = if draws.chance(8) { 40 } else { 12 };
        let member_count = 1 + draws.draw(many);
        let topic_count = 1 + draws.draw(6);
        let (alike, racks) = (draws.chance(2), draws.chance(3));
        let (owns, statics) = (draws.draw(4) != 0, draws.chance(4));
        let mut topics = GroupTopics::new();
        for topic in 0..topic_count {
            let letter = char::from(b'a' + topic as u8);
            let name: Arc<str> = format!("topic-{letter}-{}", draws.draw(1000)).into();
            let many = if draws.chance(8) { 40 } else { 9 };
            let mut partitions = Partitions {
                count: draws.draw(many) as i32,
                racks: Vec::new(),
            };
            for _ in 0..partitions.count {
                let replicas = 1 + draws.draw(2);
                let near: BTreeSet<String> = (0..replicas)
                    .map(|_| format!("rack-{}", draws.draw(4)))
                    .collect();
                if racks {
                    partitions.racks.push(near);
                }
            }
            topics.insert(name, partitions);
        }
        let mut members: Vec<Member> = (0..member_count)
            .map(|index| {
                let id = format!("member-{}-{index}", draws.draw(1_000_000));
                let instance_id = (statics && draws.chance(2))
                    .then(|| format!("instance-{}-{index}", draws.draw(1000)));
                let rack = (racks && draws.draw(4) != 0).then(|| format!("rack-{}", draws.draw(4)));
                let generation = match draws.draw(12) {
                    0 => -1,
                    1 | 2 => 4,
                    _ => 5,
                };
                let wanted = topics.keys().filter(|_| alike || draws.draw(3) != 0);
                let mut wanted: Vec<String> = wanted.map(ToString::to_string).collect();
                if wanted.is_empty() {
                    wanted.extend(topics.keys().next().map(ToString::to_string));
                }
                let subscription = Subscription {
                    topics: wanted,
                    generation,
                    rack,
                    ..Subscription::default()
                };
                Member {
                    id,
                    instance_id,
                    subscription,
                }
            })
            .collect();
        for (topic, partitions) in topics.iter().filter(|_| owns) {
            for number in 0..partitions.count {
                if draws.chance(4) {
                    continue;
                }
                let mut own = |member: u64| {
                    let owned = &mut members[member as usize].subscription.owned;
                    owned.push(TopicPartition::new(topic.clone(), number));
                };
                let owner = draws.draw(member_count);
                own(owner);
                if draws.chance(20) {
                    let other = draws.draw(member_count);
                    if other != owner {
                        own(other);
                    }
                }
            }
        }
        Self { members, topics }
    }

    /// The members as those of `sticky` join: nothing is owned, and user data says what was.
    fn by_user_data(&self) -> Vec<Member> {
        let mut members = self.members.clone();
        for Member { subscription, .. } in &mut members {
            let owned = std::mem::take(&mut subscription.owned);
            let generation = subscription.generation;
            subscription.user_data =
                (generation >= 0).then(|| sticky_user_data::encode(&owned, generation));
        }
        members
    }
}

fn written(assignments: &BTreeMap<String, Assignment>) -> String {
    let mut out = String::new();
    for (id, assignment) in assignments {
        let _ = write!(out, "{id}:");
        for (topic, numbers) in assignment {
            for number in numbers {
                let _ = write!(out, " {topic}/{number}");
            }
        }
        out.push('\n');
    }
    out
}

#[test]
fn a_thousand_groups_get_the_assignments_that_javas_assignors_give_them() {
    let assignors: [&dyn Assignor; 4] = [&Range, &RoundRobin, &Sticky, &CooperativeSticky];
    let mut differ = BTreeMap::new();
    let mut compared = 0;
    for line in JAVAS.lines() {
        let mut fields = line.split(' ');
        let seed = fields.next().and_then(|seed| seed.parse().ok());
        let case = Case::of(seed.expect("a seed"));
        for (assignor, java) in assignors.iter().zip(fields) {
            let members = match assignor.name() {
                "sticky" => case.by_user_data(),
                _ => case.members.clone(),
            };
            let assignments = assignor.assign(&members, &case.topics);
            let ours = written(&assignments);
            each_goes_to_one_who_wants_it(&case, &assignments, assignor.is_cooperative());
            // Java's own assignor throws there, or gives a member what it has not subscribed to.
            if ["failed", "wrong"].contains(&java) {
                continue;
            }
            compared += 1;
            if format!("{:08x}", crc32c::crc32c(ours.as_bytes())) != java {
                differ
                    .entry(assignor.name())
                    .or_insert_with(Vec::new)
                    .push((seed, ours));
            }
        }
    }
    assert!(compared > 3_900, "{compared} compared");
    let counts: Vec<String> = differ
        .iter()
        .map(|(name, cases)| {
            let (seed, ours) = &cases[0];
            format!(
                "{name}: {} differ, the first of seed {seed:?}:\n{ours}",
                cases.len()
            )
        })
        .collect();
    assert!(counts.is_empty(), "{}", counts.join("\n"));
}

fn each_goes_to_one_who_wants_it(
    case: &Case,
    assignments: &BTreeMap<String, Assignment>,
    may_wait: bool,
) {
    for (topic, partitions) in &case.topics {
        let wanted = case.members.iter().any(|member| member.wants(topic));
        for number in 0..partitions.count {
            let has = |member: &&Member| {
                assignments[&member.id]
                    .get(topic)
                    .is_some_and(|it| it.contains(&number))
            };
            let owners: Vec<&Member> = case.members.iter().filter(has).collect();
            assert!(owners.iter().all(|owner| owner.wants(topic)));
            let expected = if wanted { 1 } else { 0 };
            let is_right = owners.len() == expected || (may_wait && owners.is_empty());
            assert!(is_right, "{topic}/{number}: {} owners", owners.len());
        }
    }
}
