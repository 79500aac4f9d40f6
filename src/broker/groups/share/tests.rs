use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use protocol::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

use super::assignor::assign;
use super::{ShareGroup, check};
use crate::broker::groups::{Client, GroupSettings, Refusal};
use crate::broker::topic_index::TopicIndex;

const CLIENT: Client<'_> = Client {
    id: "c",
    host: "/h",
};

fn topics() -> Arc<TopicIndex> {
    let one = ("one".to_owned(), Uuid::from_u128(1), 1);
    let four = ("four".to_owned(), Uuid::from_u128(4), 4);
    Arc::new(TopicIndex::new([one, four]))
}

fn beat(
    group: &mut ShareGroup,
    member: &str,
    epoch: i32,
    names: Option<&[&str]>,
    now: Instant,
) -> Result<ShareGroupHeartbeatResponse, Refusal> {
    let request = ShareGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        subscribed_topic_names: names
            .map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        ..Default::default()
    };
    check(&request)?;
    group.heartbeat(&request, CLIENT, &topics(), now)
}

fn assigned(response: &ShareGroupHeartbeatResponse) -> Option<usize> {
    let topics = &response.assignment.as_ref()?.topic_partitions;
    Some(topics.iter().map(|topic| topic.partitions.len()).sum())
}

#[test]
fn members_share_one_partition_and_hear_of_changes_with_their_next_heartbeat() {
    let now = Instant::now();
    let mut group = ShareGroup::new(GroupSettings::default());
    let first = beat(&mut group, "a", 0, Some(&["one"]), now).expect("joins");
    assert_eq!((first.member_epoch, assigned(&first)), (2, Some(1)));
    let second = beat(&mut group, "b", 0, Some(&["one"]), now).expect("joins");
    assert_eq!((second.member_epoch, assigned(&second)), (3, Some(1)));
    let again = beat(&mut group, "a", 2, None, now).expect("the epoch before");
    assert_eq!((again.member_epoch, assigned(&again)), (3, None));
    let more = beat(&mut group, "a", 3, Some(&["four"]), now).expect("stays");
    assert_eq!(assigned(&more), Some(4));
    assert_eq!(group.describe("g").members.len(), 2);
}

#[test]
fn wrong_epochs_and_unknown_members_are_refused() {
    let now = Instant::now();
    let mut group = ShareGroup::new(GroupSettings::default());
    let code =
        |answer: Result<ShareGroupHeartbeatResponse, Refusal>| answer.expect_err("refused").0;
    assert_eq!(
        code(beat(&mut group, "a", 3, None, now)),
        ErrorCode::UNKNOWN_MEMBER_ID
    );
    assert_eq!(
        code(beat(&mut group, "a", -1, None, now)),
        ErrorCode::UNKNOWN_MEMBER_ID
    );
    assert_eq!(
        code(beat(&mut group, "a", 0, None, now)),
        ErrorCode::INVALID_REQUEST
    );
    assert_eq!(
        code(beat(&mut group, "", 0, Some(&["one"]), now)),
        ErrorCode::INVALID_REQUEST
    );
    assert_eq!(
        code(beat(&mut group, "a", -2, None, now)),
        ErrorCode::INVALID_REQUEST
    );
    beat(&mut group, "a", 0, Some(&["one"]), now).expect("joins");
    assert_eq!(
        code(beat(&mut group, "a", 9, None, now)),
        ErrorCode::FENCED_MEMBER_EPOCH
    );
    beat(&mut group, "a", -1, None, now).expect("leaves");
    assert_eq!(group.state(), "Empty");
}

#[test]
fn a_silent_member_is_taken_out() {
    let now = Instant::now();
    let mut group = ShareGroup::new(GroupSettings::default());
    for member in ["a", "b"] {
        beat(&mut group, member, 0, Some(&["four"]), now).expect("joins");
    }
    let later = now + Duration::from_secs(30);
    let half = beat(&mut group, "a", 2, None, later).expect("stays");
    assert_eq!(assigned(&half), Some(2));
    assert_eq!(group.next_deadline(), Some(now + Duration::from_secs(45)));
    group.expire(now + Duration::from_secs(45));
    let all = beat(&mut group, "a", 3, None, later).expect("stays");
    assert_eq!(assigned(&all), Some(4));
}

proptest! {
    #[test]
    fn every_partition_is_somebodys_and_every_member_has_one(
        subscribed in prop::collection::btree_map("[a-e]", prop::collection::btree_set(0..3u128, 0..4), 0..6),
        sizes in prop::collection::vec(1..6i32, 3),
    ) {
        let counts: BTreeMap<Uuid, i32> = (0..).zip(&sizes).map(|(id, size)| (Uuid::from_u128(id), *size)).collect();
        let topics = |ids: &BTreeSet<u128>| ids.iter().map(|id| Uuid::from_u128(*id)).collect::<BTreeSet<_>>();
        let members: BTreeMap<&String, BTreeSet<Uuid>> = subscribed.iter().map(|(id, ids)| (id, topics(ids))).collect();
        let assigned = assign(&members, &counts);
        for (member, topics) in &members {
            let of_member = &assigned[*member];
            prop_assert!(of_member.iter().all(|(topic, index)| topics.contains(topic) && *index < counts[topic]));
            prop_assert_eq!(of_member.is_empty(), topics.is_empty());
        }
        for (topic, count) in &counts {
            let is_wanted = members.values().any(|topics| topics.contains(topic));
            for index in 0..*count {
                let has = assigned.values().any(|it| it.contains(&(*topic, index)));
                prop_assert_eq!(has, is_wanted);
            }
        }
    }
}
