use protocol::messages::share_group_heartbeat_response::{Assignment, TopicPartitions};
use protocol::{ErrorCode, Uuid};

use super::*;
use crate::kafka::group::heartbeats::LEAVE_EPOCH;

const PAUSE: Duration = Duration::from_millis(100);

fn config() -> MembershipConfig {
    MembershipConfig {
        group_id: "g".to_string(),
        instance_id: None,
        rack: Some("r".to_string()),
        remote_assignor: None,
        session_timeout: Duration::ZERO,
        heartbeat_interval: Duration::ZERO,
        max_poll_interval: Duration::from_secs(60),
        request_timeout: Duration::from_secs(30),
    }
}

fn member(now: Instant) -> ShareMembership {
    ShareMembership::new(config(), "m".to_string(), vec!["t".to_string()], now)
}

fn response(member_epoch: i32, assigned: Option<&[i32]>) -> ShareGroupHeartbeatResponse {
    ShareGroupHeartbeatResponse {
        member_id: Some("m".to_string()),
        member_epoch,
        heartbeat_interval_ms: 1_000,
        assignment: assigned.map(|partitions| Assignment {
            topic_partitions: vec![TopicPartitions {
                topic_id: Uuid::from_u128(1),
                partitions: partitions.to_vec(),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn refused(code: ErrorCode) -> ShareGroupHeartbeatResponse {
    ShareGroupHeartbeatResponse {
        error_code: code,
        ..Default::default()
    }
}

fn sent(member: &mut ShareMembership, now: Instant) -> ShareGroupHeartbeatRequest {
    match member.next_action(now) {
        Action::Heartbeat(request) => request,
        other => panic!("no heartbeat: {other:?}"),
    }
}

fn answer(member: &mut ShareMembership, response: ShareGroupHeartbeatResponse, now: Instant) {
    member.on_response(Ok(response), now, |_| PAUSE);
}

fn assigned(member: &ShareMembership) -> Vec<i32> {
    member.assigned().iter().map(|(_, index)| *index).collect()
}

#[test]
fn a_member_joins_says_what_is_new_and_takes_over_what_it_is_assigned() {
    let now = Instant::now();
    let mut member = member(now);
    let request = sent(&mut member, now);
    assert_eq!(
        (request.member_epoch, request.rack_id.as_deref()),
        (0, Some("r"))
    );
    assert_eq!(request.subscribed_topic_names, Some(vec!["t".to_string()]));
    answer(&mut member, response(1, Some(&[0, 2])), now);
    assert_eq!(assigned(&member), [0, 2]);
    let due = now + Duration::from_secs(1);
    assert_eq!(member.next_action(now), Action::Wait(Some(due)));
    let request = sent(&mut member, due);
    assert_eq!(
        (request.member_epoch, request.subscribed_topic_names),
        (1, None)
    );
    answer(&mut member, response(1, None), due);
    assert_eq!(assigned(&member), [0, 2], "nothing was said of it");
    member.resubscribe(vec!["u".to_string()]);
    let request = sent(&mut member, due);
    assert_eq!(request.subscribed_topic_names, Some(vec!["u".to_string()]));
    answer(&mut member, response(2, Some(&[])), due);
    assert_eq!(assigned(&member), [0; 0]);
}

#[test]
fn a_member_that_is_put_out_joins_again_at_once_and_owns_nothing_meanwhile() {
    let now = Instant::now();
    for code in [
        ErrorCode::FENCED_MEMBER_EPOCH,
        ErrorCode::UNKNOWN_MEMBER_ID,
        ErrorCode::GROUP_ID_NOT_FOUND,
    ] {
        let mut member = member(now);
        sent(&mut member, now);
        answer(&mut member, response(3, Some(&[0])), now);
        let due = now + Duration::from_secs(1);
        sent(&mut member, due);
        answer(&mut member, refused(code), due);
        assert_eq!(assigned(&member), [0; 0]);
        assert_eq!(sent(&mut member, due).member_epoch, 0);
    }
}

#[test]
fn other_failures_keep_what_is_assigned_and_everything_is_said_again() {
    let now = Instant::now();
    let mut member = member(now);
    sent(&mut member, now);
    answer(&mut member, response(3, Some(&[0])), now);
    let mut due = now;
    for wrong in [
        refused(ErrorCode::NOT_COORDINATOR),
        response(-1, None),
        response(3, Some(&[1, 1])),
        response(3, Some(&[-1])),
    ] {
        due += Duration::from_secs(2);
        let now = due;
        sent(&mut member, now);
        answer(&mut member, wrong, now);
        assert_eq!(member.next_action(now), Action::Wait(Some(now + PAUSE)));
        assert_eq!(assigned(&member), [0]);
        let request = sent(&mut member, now + PAUSE);
        assert_eq!(request.member_epoch, 3);
        assert!(request.subscribed_topic_names.is_some());
        answer(&mut member, response(3, None), now);
    }
}

#[test]
fn a_broker_without_share_groups_is_an_error_that_names_the_feature_and_no_end() {
    let now = Instant::now();
    let mut member = member(now);
    for _ in 0..2 {
        let at = now + PAUSE * 4;
        sent(&mut member, at);
        let error = Error::new(ErrorKind::UnsupportedVersion, "the broker does not have it");
        member.on_response(Err(error), at, |_| Duration::ZERO);
    }
    let error = member.error(now + PAUSE * 4).expect("twice in a row");
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    assert!(error.to_string().contains("share.version"), "{error}");
    assert!(!error.is_fatal(), "it may be set");
}

#[test]
fn a_member_that_is_not_polled_leaves_until_it_is() {
    let now = Instant::now();
    let mut member = member(now);
    sent(&mut member, now);
    answer(&mut member, response(1, Some(&[0])), now);
    let late = now + Duration::from_secs(60);
    assert_eq!(member.leave_if_stale(late - PAUSE), None);
    let leave = member.leave_if_stale(late).expect("late");
    assert_eq!(leave.member_epoch, LEAVE_EPOCH);
    assert!(member.is_stale() && member.assigned().is_empty());
    assert_eq!(member.next_action(late), Action::Wait(None));
    assert!(member.polled(late));
    assert_eq!(sent(&mut member, late).member_epoch, 0);
    assert!(member.leave().is_some(), "it may have joined");
    assert_eq!(member.next_action(late), Action::End);
    assert!(member.leave().is_none());
}

#[test]
fn topics_of_the_assignment_that_nobody_knows_are_asked_for_with_pauses_and_reported() {
    let start = Instant::now();
    let mut member = member(start);
    sent(&mut member, start);
    answer(&mut member, response(1, Some(&[0])), start);
    let (mut asked, mut errors) = (0, Vec::new());
    for second in 0..40 {
        let now = start + Duration::from_secs(second);
        let pause = |_| Duration::from_secs(2);
        loop {
            member.on_metadata(|_| false, |_| TopicStatus::Known, now, pause);
            match member.next_action(now) {
                Action::FindTopics(ids) => {
                    assert_eq!(ids, [Uuid::from_u128(1)]);
                    asked += 1;
                    // What it is assigned is asked for again, as whoever joins asks.
                    let request = sent(&mut member, now);
                    assert_eq!(request.member_epoch, JOIN_EPOCH);
                    assert!(request.subscribed_topic_names.is_some());
                    answer(&mut member, response(1, Some(&[0])), now);
                }
                Action::Heartbeat(request) => {
                    assert_eq!(request.member_epoch, 1);
                    answer(&mut member, response(1, None), now);
                }
                _ => break,
            }
        }
        let error = member.error(now);
        errors.extend(error.map(|error| (second, error.to_string())));
    }
    assert!((10..25).contains(&asked), "{asked} times");
    let [(second, error)] = &errors[..] else {
        panic!("{errors:?}");
    };
    assert!(*second == 30 && error.contains("no broker has described"));
    assert_eq!(assigned(&member), [0], "it waits");
}

#[test]
fn an_assignment_of_a_topic_that_is_none_is_over_with_the_next_answer() {
    let now = Instant::now();
    let mut member = member(now);
    sent(&mut member, now);
    let mut wrong = response(1, Some(&[7]));
    for topic in wrong
        .assignment
        .iter_mut()
        .flat_map(|it| &mut it.topic_partitions)
    {
        topic.topic_id = Uuid::from_u128(99);
    }
    answer(&mut member, wrong, now);
    let is_known = |(id, _): &IdPartition| *id == Uuid::from_u128(1);
    let look = |member: &mut ShareMembership| {
        member.on_metadata(is_known, |_| TopicStatus::Known, now, |_| PAUSE);
        member.next_action(now)
    };
    assert!(matches!(look(&mut member), Action::FindTopics(_)));
    assert_eq!(sent(&mut member, now).member_epoch, JOIN_EPOCH);
    answer(&mut member, response(1, Some(&[0])), now);
    assert_eq!(assigned(&member), [0]);
    assert!(matches!(look(&mut member), Action::Wait(_)));
}

#[test]
fn a_coordinator_that_decides_nothing_is_reported_while_the_member_goes_on_joining() {
    for (epoch, partitions) in [(0, Some(&[][..])), (3, None)] {
        let start = Instant::now();
        let mut member = member(start);
        let mut reported = Vec::new();
        for second in 0..40 {
            let now = start + Duration::from_secs(second);
            if let Action::Heartbeat(request) = member.next_action(now) {
                assert_eq!(request.member_epoch, JOIN_EPOCH, "it joins");
                answer(&mut member, response(epoch, partitions), now);
            }
            reported.extend(member.error(now).map(|error| (second, error)));
        }
        assert!(reported.len() == 1 && reported[0].0 >= 30, "{reported:?}");
    }
}
