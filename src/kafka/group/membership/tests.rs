//! What a member does, answer by answer.

use protocol::messages::join_group_response::JoinGroupResponseMember;

use super::*;
use crate::kafka::group::assignor::{Assignment, Range};

const PAUSE: Duration = Duration::from_millis(100);

fn config(instance_id: Option<&str>) -> MembershipConfig {
    MembershipConfig {
        group_id: "g".to_string(),
        instance_id: instance_id.map(str::to_string),
        session_timeout: Duration::from_secs(10),
        heartbeat_interval: Duration::from_secs(3),
        max_poll_interval: Duration::from_secs(300),
    }
}

fn new(now: Instant) -> Membership {
    Membership::new(config(None), Box::new(Range), vec!["t".to_string()], now)
}

fn refused(code: ErrorCode) -> Result<JoinGroupResponse> {
    Ok(JoinGroupResponse {
        error_code: code,
        ..Default::default()
    })
}

fn joined_as(member_id: &str, leader: &str, generation_id: i32) -> Result<JoinGroupResponse> {
    let metadata = blob::encode_subscription(&["t".to_string()]).expect("encodes");
    let members = ["a", "b"].map(|id| JoinGroupResponseMember {
        member_id: id.to_string(),
        metadata: metadata.clone(),
        ..Default::default()
    });
    Ok(JoinGroupResponse {
        generation_id,
        leader: leader.to_string(),
        member_id: member_id.to_string(),
        members: if leader == member_id {
            members.to_vec()
        } else {
            Vec::new()
        },
        ..Default::default()
    })
}

fn synced_with(partitions: &[i32]) -> Result<SyncGroupResponse> {
    let share = Assignment::from([("t".into(), partitions.to_vec())]);
    Ok(SyncGroupResponse {
        assignment: blob::encode_assignment(&share).expect("encodes"),
        ..Default::default()
    })
}

/// A member `a` of generation 1, led by somebody else, that holds partition 0 of `t`.
fn stable(now: Instant) -> Membership {
    let mut member = new(now);
    assert!(matches!(member.next(now), Action::Join(_)));
    member.joined(joined_as("a", "b", 1), now, |_| PAUSE);
    assert!(matches!(member.next(now), Action::Sync(_)));
    member.synced(synced_with(&[0]), now, |_| PAUSE);
    assert_eq!(
        member.take_assigned(),
        Some(vec![TopicPartition::new("t", 0)])
    );
    assert!(member.identity().is_ok());
    member
}

#[tokio::test]
async fn a_member_takes_the_id_that_it_is_given_and_joins_with_it() {
    let now = Instant::now();
    let mut member = new(now);
    let Action::Join(first) = member.next(now) else {
        panic!("joins")
    };
    assert_eq!(
        (&*first.member_id, first.rebalance_timeout_ms),
        ("", 300_000)
    );
    let answer = JoinGroupResponse {
        error_code: ErrorCode::MEMBER_ID_REQUIRED,
        member_id: "a".to_string(),
        ..Default::default()
    };
    member.joined(Ok(answer), now, |_| PAUSE);
    let Action::Join(second) = member.next(now) else {
        panic!("joins again")
    };
    assert_eq!(second.member_id, "a");
}

#[tokio::test]
async fn the_leader_counts_partitions_and_shares_them_out() {
    let now = Instant::now();
    let mut member = new(now);
    member.next(now);
    member.joined(joined_as("a", "a", 1), now, |_| PAUSE);
    assert_eq!(
        member.next(now),
        Action::Count(BTreeSet::from(["t".to_string()]))
    );
    let counts = PartitionCounts::from([("t".into(), 3)]);
    member.share_out(Ok(counts.clone()), now, |_| PAUSE);
    let Action::Sync(sync) = member.next(now) else {
        panic!("syncs")
    };
    let shares: Vec<_> = sync
        .assignments
        .iter()
        .map(|share| {
            blob::decode_assignment(share.assignment.clone())
                .expect("decodes")
                .len()
        })
        .collect();
    assert_eq!(shares, [2, 1]);
    member.synced(synced_with(&[0, 1]), now, |_| PAUSE);
    member.take_assigned();
    member.partitions_now(|_| counts.clone(), now);
    assert_eq!(member.must_release(), None);
    let more = PartitionCounts::from([("t".into(), 4)]);
    member.partitions_now(|_| more, now);
    assert_eq!(
        member.must_release(),
        Some(false),
        "new partitions call for another round"
    );
}

/// franz-go 1.21.6: topics that were not known when the group was formed were never consumed.
#[tokio::test]
async fn a_topic_that_comes_to_be_later_calls_for_another_round() {
    let now = Instant::now();
    let mut member = new(now);
    member.next(now);
    member.joined(joined_as("a", "a", 1), now, |_| PAUSE);
    member.share_out(Ok(PartitionCounts::from([("t".into(), 0)])), now, |_| PAUSE);
    assert!(matches!(member.next(now), Action::Sync(_)));
    member.synced(synced_with(&[]), now, |_| PAUSE);
    assert_eq!(member.take_assigned(), Some(Vec::new()));
    member.partitions_now(|_| PartitionCounts::from([("t".into(), 6)]), now);
    assert_eq!(member.must_release(), Some(false));
}

#[tokio::test]
async fn a_rebalance_waits_for_the_application_and_keeps_the_place_by_heartbeats() {
    let now = Instant::now();
    let mut member = stable(now);
    member.heartbeat_answered(ErrorCode::REBALANCE_IN_PROGRESS, now, now);
    assert_eq!(member.must_release(), Some(false));
    assert!(
        member.identity().is_ok(),
        "what was read can still be committed"
    );
    let later = now + Duration::from_secs(4);
    assert!(matches!(member.next(later), Action::Heartbeat(_)));
    member.heartbeat_answered(ErrorCode::REBALANCE_IN_PROGRESS, later, later);
    assert_eq!(member.must_release(), Some(false));
    member.released(later);
    assert_eq!(member.must_release(), None);
    let Action::Join(join) = member.next(later) else {
        panic!("joins")
    };
    assert_eq!(join.member_id, "a");
    assert_eq!(
        member.identity().expect_err("no commits now").kind(),
        ErrorKind::Rebalance
    );
}

#[tokio::test]
async fn a_member_that_was_put_out_has_lost_its_partitions() {
    let now = Instant::now();
    for (code, id) in [
        (ErrorCode::UNKNOWN_MEMBER_ID, ""),
        (ErrorCode::ILLEGAL_GENERATION, "a"),
    ] {
        let mut member = stable(now);
        member.heartbeat_answered(code, now, now);
        assert_eq!(member.must_release(), Some(true));
        assert_eq!(member.next(now), Action::Wait(None));
        member.released(now);
        let Action::Join(join) = member.next(now) else {
            panic!("joins")
        };
        assert_eq!(join.member_id, id);
    }
}

#[tokio::test]
async fn a_session_without_an_accepted_heartbeat_ends_before_others_get_the_partitions() {
    let now = Instant::now();
    let mut member = stable(now);
    let almost = now + Duration::from_millis(9_999);
    member.heartbeat_failed(Error::new(ErrorKind::Timeout, "no answer"), almost, |_| {
        PAUSE
    });
    assert!(!matches!(member.next(almost), Action::Wait(None)));
    assert_eq!(member.must_release(), None);
    member.next(now + Duration::from_secs(10));
    assert_eq!(member.must_release(), Some(true));
}

#[tokio::test]
async fn an_accepted_heartbeat_keeps_the_session_from_when_it_was_sent() {
    let now = Instant::now();
    let mut member = stable(now);
    let sent = now + Duration::from_secs(3);
    member.heartbeat_answered(ErrorCode::NONE, sent, now + Duration::from_secs(9));
    assert_eq!(member.session_end(), sent + Duration::from_secs(10));
}

#[tokio::test]
async fn a_member_whose_application_does_not_poll_leaves_once_and_comes_back() {
    let now = Instant::now();
    let mut member = stable(now);
    let late = now + Duration::from_secs(300);
    assert_eq!(
        member.leave_if_forgotten(late - Duration::from_millis(1)),
        None
    );
    let leave = member.leave_if_forgotten(late).expect("leaves");
    assert_eq!(leave.members[0].member_id, "a");
    assert_eq!(member.leave_if_forgotten(late), None);
    assert_eq!(member.next(late), Action::Wait(None));
    member.polled(late);
    assert_eq!(member.must_release(), Some(true));
    member.released(late);
    assert!(matches!(member.next(late), Action::Join(_)));
}

#[tokio::test]
async fn what_cannot_pass_ends_the_membership_with_an_error_and_the_rest_is_tried_again() {
    let now = Instant::now();
    for (code, ends) in [
        (ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, false),
        (ErrorCode::NOT_COORDINATOR, false),
        (ErrorCode::REBALANCE_IN_PROGRESS, false),
        (ErrorCode::UNKNOWN_MEMBER_ID, false),
        (ErrorCode::GROUP_AUTHORIZATION_FAILED, true),
        (ErrorCode::INCONSISTENT_GROUP_PROTOCOL, true),
        (ErrorCode::INVALID_SESSION_TIMEOUT, true),
        (ErrorCode::FENCED_INSTANCE_ID, true),
        (ErrorCode::GROUP_MAX_SIZE_REACHED, true),
    ] {
        let mut member = new(now);
        member.next(now);
        member.joined(refused(code), now, |_| PAUSE);
        let later = now + PAUSE;
        assert_eq!(
            matches!(member.next(later), Action::Join(_)),
            !ends,
            "{code}"
        );
        assert_eq!(
            member.error(later, Duration::from_secs(30)).is_some(),
            ends,
            "{code}"
        );
    }
}

#[tokio::test]
async fn trouble_that_lasts_is_reported_and_joining_goes_on() {
    let now = Instant::now();
    let mut member = new(now);
    let patience = Duration::from_secs(30);
    for second in 0..31 {
        let now = now + Duration::from_secs(second);
        assert!(
            matches!(member.next(now), Action::Join(_)),
            "second {second}"
        );
        member.joined(
            Err(Error::new(ErrorKind::Disconnected, "gone")),
            now,
            |_| PAUSE,
        );
        assert_eq!(
            member.error(now, patience).is_some(),
            second == 30,
            "second {second}"
        );
    }
}

#[tokio::test]
async fn an_assignment_that_the_application_has_not_taken_is_dropped_by_the_next_round() {
    let now = Instant::now();
    let mut member = new(now);
    member.next(now);
    member.joined(joined_as("a", "b", 1), now, |_| PAUSE);
    member.next(now);
    member.synced(synced_with(&[0]), now, |_| PAUSE);
    member.heartbeat_answered(ErrorCode::REBALANCE_IN_PROGRESS, now, now);
    assert_eq!(
        (member.must_release(), member.take_assigned()),
        (None, None)
    );
    assert!(matches!(member.next(now), Action::Join(_)));
}

#[tokio::test]
async fn a_subscription_that_changed_while_joining_is_joined_for_anew() {
    let now = Instant::now();
    let mut member = new(now);
    member.next(now);
    member.resubscribe(vec!["t".to_string(), "u".to_string()], now);
    member.joined(joined_as("a", "b", 1), now, |_| PAUSE);
    member.next(now);
    member.synced(synced_with(&[0]), now, |_| PAUSE);
    assert_eq!(member.take_assigned(), None);
    assert!(matches!(member.next(now), Action::Join(_)));
}

#[tokio::test]
async fn a_refused_commit_counts_only_against_its_own_generation() {
    let now = Instant::now();
    let mut member = stable(now);
    let old = Identity {
        generation: 0,
        ..member.identity().expect("a member")
    };
    member.commit_refused(&old, ErrorCode::ILLEGAL_GENERATION, now);
    assert_eq!(member.must_release(), None);
    let current = member.identity().expect("a member");
    member.commit_refused(&current, ErrorCode::ILLEGAL_GENERATION, now);
    assert_eq!(member.must_release(), Some(true));
}

#[tokio::test]
async fn a_static_member_keeps_its_place_when_it_closes() {
    let now = Instant::now();
    let mut member = Membership::new(
        config(Some("x")),
        Box::new(Range),
        vec!["t".to_string()],
        now,
    );
    let Action::Join(join) = member.next(now) else {
        panic!("joins")
    };
    assert_eq!(join.group_instance_id.as_deref(), Some("x"));
    member.joined(joined_as("a", "b", 1), now, |_| PAUSE);
    assert_eq!(member.leave(), None);
    assert_eq!(member.next(now), Action::End);

    let mut member = stable(now);
    assert_eq!(member.leave().expect("leaves").members[0].member_id, "a");
}

/// KIP-814: it is told not to share out, but the group's topics are still its to watch.
#[tokio::test]
async fn a_static_leader_that_came_back_shares_out_nothing_and_notices_new_partitions() {
    let now = Instant::now();
    let mut member = new(now);
    member.next(now);
    let answer = JoinGroupResponse {
        skip_assignment: true,
        ..joined_as("a", "a", 1).expect("an answer")
    };
    member.joined(Ok(answer), now, |_| PAUSE);
    assert!(matches!(member.next(now), Action::Count(_)));
    let counts = PartitionCounts::from([("t".into(), 3)]);
    member.share_out(Ok(counts.clone()), now, |_| PAUSE);
    let Action::Sync(sync) = member.next(now) else {
        panic!("syncs")
    };
    assert_eq!(sync.assignments, []);
    member.synced(synced_with(&[0, 1]), now, |_| PAUSE);
    member.take_assigned();
    member.partitions_now(|_| counts, now);
    assert_eq!(member.must_release(), None);
    member.partitions_now(|_| PartitionCounts::from([("t".into(), 4)]), now);
    assert_eq!(member.must_release(), Some(false));
}

#[tokio::test]
async fn trouble_that_nothing_came_of_is_not_reported_later() {
    let now = Instant::now();
    let mut member = stable(now);
    let error = Error::new(ErrorKind::Disconnected, "gone");
    member.heartbeat_failed(error, now, |_| PAUSE);
    let later = now + Duration::from_secs(100);
    assert!(member.error(later, Duration::from_secs(30)).is_none());
}
