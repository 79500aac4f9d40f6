//! The assignors of the broker: who is to get which partition, by the members' subscriptions and what was decided before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::Uuid;

use super::member::Partitions;

/// The assignors, the default first.
pub(crate) const ASSIGNORS: [&str; 2] = ["uniform", "range"];

/// A member, as assignors see it.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber<'a> {
    pub(crate) id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    /// Those of its topics that exist.
    pub(crate) topics: BTreeSet<Uuid>,
    /// What it was to have before.
    pub(crate) before: Option<&'a Partitions>,
}

/// Who is to get what, by the assignor of this name. `counts`: how many partitions each topic has.
pub(crate) fn assign(
    assignor: &str,
    members: &[Subscriber<'_>],
    counts: &BTreeMap<Uuid, i32>,
) -> BTreeMap<String, Partitions> {
    let assigned = match assignor {
        "range" => range(members, counts),
        _ => uniform(members, counts),
    };
    let ids = members.iter().map(|member| member.id.to_owned());
    ids.zip(assigned).collect()
}

/// Of each topic a run of consecutive partitions to each of its members, in the order of their instance ids, then of their ids.
fn range(members: &[Subscriber<'_>], counts: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let mut assigned = vec![Partitions::new(); members.len()];
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|index| {
        let member = &members[*index];
        (
            member.instance_id.is_none(),
            member.instance_id.unwrap_or(member.id),
        )
    });
    for (topic, count) in counts {
        let subscribed = order
            .iter()
            .filter(|it| members[**it].topics.contains(topic));
        let subscribed: Vec<usize> = subscribed.copied().collect();
        let Ok(number) = i32::try_from(subscribed.len()) else {
            continue;
        };
        let mut next = 0;
        for (index, position) in subscribed.into_iter().zip(0..) {
            let quota = count / number + i32::from(position < count % number);
            assigned[index].extend((next..next + quota).map(|partition| (*topic, partition)));
            next += quota;
        }
    }
    assigned
}

/// As evenly as subscriptions allow, and among such assignments one that is near to what was before.
fn uniform(members: &[Subscriber<'_>], counts: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let takes = |member: usize, (topic, _): &(Uuid, i32)| members[member].topics.contains(topic);
    let all = counts
        .iter()
        .flat_map(|(topic, count)| (0..*count).map(|it| (*topic, it)));
    let mut free: Partitions = all
        .filter(|partition| (0..members.len()).any(|member| takes(member, partition)))
        .collect();
    // What each had, as far as it is there and wanted still.
    let mut assigned: Vec<Partitions> = Vec::with_capacity(members.len());
    for (index, member) in members.iter().enumerate() {
        let before = member.before.into_iter().flatten();
        let kept = before.filter(|it| takes(index, it) && free.remove(it));
        assigned.push(kept.copied().collect());
    }
    for partition in free {
        let least = (0..members.len())
            .filter(|member| takes(*member, &partition))
            .min_by_key(|member| assigned[*member].len());
        if let Some(least) = least {
            assigned[least].insert(partition);
        }
    }
    // A path of moves from one member that has too much to one that has too little: with all subscriptions alike it has one step.
    while let Some(path) = path_to_balance(members, &assigned) {
        for (from, to, partition) in path {
            assigned[from].remove(&partition);
            assigned[to].insert(partition);
        }
    }
    assigned
}

/// A partition that goes from one member to another.
type Move = (usize, usize, (Uuid, i32));

/// Moves that take one partition from a member to one that has at least two fewer; none when there are no such.
fn path_to_balance(members: &[Subscriber<'_>], assigned: &[Partitions]) -> Option<Vec<Move>> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|member| std::cmp::Reverse(assigned[*member].len()));
    for start in order {
        let most = assigned[start].len();
        let mut came_by: Vec<Option<Move>> = vec![None; members.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(from) = queue.pop_front() {
            for to in 0..members.len() {
                if to == start || came_by[to].is_some() {
                    continue;
                }
                let mut last_first = assigned[from].iter().rev();
                let moved = last_first.find(|(topic, _)| members[to].topics.contains(topic));
                let Some(moved) = moved else { continue };
                came_by[to] = Some((from, to, *moved));
                if assigned[to].len() + 2 <= most {
                    let mut path = Vec::new();
                    let mut at = to;
                    while let Some(step) = came_by[at] {
                        path.push(step);
                        at = step.0;
                    }
                    return Some(path);
                }
                queue.push_back(to);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Topics of up to 12 partitions, and of each member the topics that it wants.
    fn groups() -> impl Strategy<Value = (Vec<i32>, Vec<Vec<bool>>, Vec<Vec<bool>>)> {
        let topics = prop::collection::vec(1..12, 1..5);
        topics.prop_flat_map(|topics| {
            let wants = prop::collection::vec(any::<bool>(), topics.len());
            let members = prop::collection::vec(wants.clone(), 1..7);
            (Just(topics), members, prop::collection::vec(wants, 1..7))
        })
    }

    fn id(topic: usize) -> Uuid {
        Uuid::from_u128(topic as u128 + 1)
    }

    /// Assigns to members that want these topics; the n-th member is the same one as the n-th before.
    fn round(
        assignor: &str,
        wanted: &[Vec<bool>],
        counts: &BTreeMap<Uuid, i32>,
        before: &BTreeMap<String, Partitions>,
    ) -> BTreeMap<String, Partitions> {
        let ids: Vec<String> = (0..wanted.len())
            .map(|member| format!("m{member}"))
            .collect();
        let members = ids.iter().zip(wanted).map(|(member, wanted)| Subscriber {
            id: member,
            instance_id: None,
            topics: (0..wanted.len()).filter(|it| wanted[*it]).map(id).collect(),
            before: before.get(member),
        });
        let members: Vec<_> = members.collect();
        let assigned = assign(assignor, &members, counts);
        let mut owners: BTreeMap<(Uuid, i32), usize> = BTreeMap::new();
        for member in &members {
            for partition in &assigned[member.id] {
                assert!(member.topics.contains(&partition.0), "not wanted");
                *owners.entry(*partition).or_default() += 1;
            }
        }
        for (topic, count) in counts {
            let wanted = members.iter().any(|member| member.topics.contains(topic));
            for partition in 0..*count {
                let owners = owners.get(&(*topic, partition)).copied();
                assert_eq!(owners, wanted.then_some(1), "{assignor}");
            }
        }
        assigned
    }

    proptest! {
        #[test]
        fn each_wanted_partition_has_one_owner_and_uniform_shares_move_no_more_than_they_must(
            (topics, first, second) in groups()
        ) {
            let counts: BTreeMap<Uuid, i32> = topics.iter().enumerate().map(|(it, count)| (id(it), *count)).collect();
            for assignor in ASSIGNORS {
                let before = round(assignor, &first, &counts, &BTreeMap::new());
                let again = round(assignor, &first, &counts, &before);
                prop_assert_eq!(&before, &again, "nothing changed");
                round(assignor, &second, &counts, &before);
            }
            // With all subscriptions alike, nobody has two more than another, and only what is over the new share moves.
            let all = |members: usize| vec![vec![true; topics.len()]; members];
            let total: usize = topics.iter().map(|it| *it as usize).sum();
            let before = round("uniform", &all(first.len()), &counts, &BTreeMap::new());
            let after = round("uniform", &all(second.len()), &counts, &before);
            let sizes = || after.values().map(BTreeSet::len);
            prop_assert!(sizes().max() <= sizes().min().map(|least| least + 1));
            let kept: usize = after.iter().map(|(member, now)| {
                before.get(member).map_or(0, |before| now.intersection(before).count())
            }).sum();
            let stay = first.len().min(second.len());
            let most: usize = (0..stay).map(|member| {
                let fair = total / second.len() + 1;
                before[&format!("m{member}")].len().min(fair)
            }).sum();
            prop_assert!(kept + stay >= most, "{kept} kept of {most}");
        }
    }
}
