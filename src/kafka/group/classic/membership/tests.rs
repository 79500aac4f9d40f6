//! What a member does, response by response.

use protocol::messages::join_group_response::JoinGroupResponseMember;
use protocol::messages::{JoinGroupResponse, SyncGroupResponse};

use super::*;
use crate::kafka::group::classic::assignor::{Assignment, Range};
use crate::kafka::group::classic::consumer_protocol::{self, Subscription};
use crate::kafka::{ErrorKind, TopicPartition};

const PAUSE: Duration = Duration::from_millis(100);

mod cooperative;

fn config(instance_id: Option<&str>) -> MembershipConfig {
    MembershipConfig {
        group_id: "g".to_string(),
        instance_id: instance_id.map(str::to_string),
        rack: Some("r".to_string()),
        remote_assignor: None,
        session_timeout: Duration::from_secs(10),
        heartbeat_interval: Duration::from_secs(3),
        max_poll_interval: Duration::from_secs(300),
        request_timeout: Duration::from_secs(30),
    }
}

fn new(now: Instant) -> Membership {
    Membership::new(
        config(None),
        vec![Box::new(Range)],
        vec!["t".to_string()],
        now,
    )
}

fn refused(code: ErrorCode) -> Result<JoinGroupResponse> {
    Ok(JoinGroupResponse {
        error_code: code,
        ..Default::default()
    })
}

fn joined_as(member_id: &str, leader: &str, generation_id: i32) -> Result<JoinGroupResponse> {
    let subscription = Subscription {
        topics: vec!["t".to_string()],
        ..Subscription::default()
    };
    let metadata = consumer_protocol::encode_subscription(subscription).expect("encodes");
    let members = ["a", "b"].map(|id| JoinGroupResponseMember {
        member_id: id.to_string(),
        metadata: metadata.clone(),
        ..Default::default()
    });
    Ok(JoinGroupResponse {
        generation_id,
        protocol_name: Some("range".to_string()),
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
        assignment: consumer_protocol::encode_assignment(&share, None).expect("encodes"),
        ..Default::default()
    })
}

/// Does the duty to take over an assignment.
fn assigned(member: &mut Membership) -> Option<Vec<TopicPartition>> {
    let duty = member.begin_duty(Instant::now())?;
    let Duty::Assign(partitions) = &duty else {
        panic!("{duty:?}")
    };
    member.duty_done(&duty, Instant::now());
    Some(partitions.clone())
}

/// Whether partitions are to be given up, and whether they are lost.
fn given_up(member: &mut Membership) -> Option<bool> {
    match member.begin_duty(Instant::now())? {
        Duty::Revoke(_) => Some(false),
        Duty::Lost(_) => Some(true),
        Duty::Assign(_) => None,
    }
}

/// Does the duty to give up partitions.
fn give_up(member: &mut Membership, now: Instant) {
    let duty = member.begin_duty(Instant::now()).expect("a duty");
    assert!(!matches!(duty, Duty::Assign(_)), "{duty:?}");
    member.duty_done(&duty, now);
}

/// Nobody knows how many partitions a topic has.
fn unknown(_: &str) -> Option<usize> {
    None
}

/// A member `a` of generation 1, led by somebody else, to which partition 0 of `t` is assigned, and that hears of it so much later.
fn assigned_after(wait: Duration, now: Instant) -> Membership {
    let mut member = new(now);
    assert!(matches!(member.next_action(now), Action::Join(_)));
    member.on_join_response(joined_as("a", "b", 1), now, |_| PAUSE);
    assert!(matches!(member.next_action(now), Action::Sync(_)));
    member.on_sync_response(synced_with(&[0]), unknown, now + wait, |_| PAUSE);
    member
}

/// The same, when it has taken it over.
fn stable(now: Instant) -> Membership {
    let mut member = assigned_after(Duration::ZERO, now);
    assert_eq!(
        assigned(&mut member),
        Some(vec![TopicPartition::new("t", 0)])
    );
    assert!(member.group_metadata().is_ok());
    member
}

#[tokio::test]
async fn a_member_takes_the_id_that_it_is_given_and_joins_with_it() {
    let now = Instant::now();
    let mut member = new(now);
    let Action::Join(first) = member.next_action(now) else {
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
    member.on_join_response(Ok(answer), now, |_| PAUSE);
    let Action::Join(second) = member.next_action(now) else {
        panic!("joins again")
    };
    assert_eq!(second.member_id, "a");
}

#[tokio::test]
async fn the_leader_counts_partitions_and_assigns_them() {
    let now = Instant::now();
    let mut member = new(now);
    member.next_action(now);
    member.on_join_response(joined_as("a", "a", 1), now, |_| PAUSE);
    assert_eq!(
        member.next_action(now),
        Action::DescribeTopics {
            topics: BTreeSet::from(["t".to_string()]),
            with_racks: false,
        }
    );
    let counts = GroupTopics::from([("t".into(), 3.into())]);
    member.assign(Ok(counts.clone()), now, |_| PAUSE);
    let Action::Sync(sync) = member.next_action(now) else {
        panic!("syncs")
    };
    let assignments: Vec<_> = sync
        .assignments
        .iter()
        .map(|share| {
            consumer_protocol::decode_assignment(share.assignment.clone())
                .expect("decodes")
                .len()
        })
        .collect();
    assert_eq!(assignments, [2, 1]);
    member.on_sync_response(synced_with(&[0, 1]), unknown, now, |_| PAUSE);
    assigned(&mut member).expect("an assignment");
    member.on_topics(|_| counts.clone(), now);
    assert_eq!(given_up(&mut member), None);
    let more = GroupTopics::from([("t".into(), 4.into())]);
    member.on_topics(|_| more, now);
    assert_eq!(
        given_up(&mut member),
        Some(false),
        "new partitions trigger a rebalance"
    );
}

/// franz-go 1.21.6: topics that were not known when the group was formed were never consumed.
#[tokio::test]
async fn a_topic_that_is_created_later_triggers_a_rebalance() {
    let now = Instant::now();
    let mut member = new(now);
    member.next_action(now);
    member.on_join_response(joined_as("a", "a", 1), now, |_| PAUSE);
    member.assign(Ok(GroupTopics::from([("t".into(), 0.into())])), now, |_| {
        PAUSE
    });
    assert!(matches!(member.next_action(now), Action::Sync(_)));
    member.on_sync_response(synced_with(&[]), unknown, now, |_| PAUSE);
    assert_eq!(assigned(&mut member), Some(Vec::new()));
    member.on_topics(|_| GroupTopics::from([("t".into(), 6.into())]), now);
    assert!(
        matches!(member.next_action(now), Action::Join(_)),
        "nothing to give up"
    );
}

#[tokio::test]
async fn a_rebalance_waits_for_the_application_and_keeps_the_member_by_heartbeats() {
    let now = Instant::now();
    let mut member = stable(now);
    member.on_heartbeat_response(ErrorCode::REBALANCE_IN_PROGRESS, now, now, |_| PAUSE);
    assert_eq!(given_up(&mut member), Some(false));
    assert!(
        member.group_metadata().is_ok(),
        "what was read can still be committed"
    );
    let later = now + Duration::from_secs(4);
    assert!(matches!(member.next_action(later), Action::Heartbeat(_)));
    member.on_heartbeat_response(ErrorCode::REBALANCE_IN_PROGRESS, later, later, |_| PAUSE);
    assert_eq!(given_up(&mut member), Some(false));
    give_up(&mut member, later);
    assert_eq!(given_up(&mut member), None);
    let Action::Join(join) = member.next_action(later) else {
        panic!("joins")
    };
    assert_eq!(join.member_id, "a");
    assert_eq!(
        member.group_metadata().expect_err("no commits now").kind(),
        ErrorKind::Rebalance
    );
}

#[tokio::test]
async fn a_member_that_was_removed_has_lost_its_partitions() {
    let now = Instant::now();
    for (code, id) in [
        (ErrorCode::UNKNOWN_MEMBER_ID, ""),
        (ErrorCode::ILLEGAL_GENERATION, "a"),
    ] {
        let mut member = stable(now);
        member.on_heartbeat_response(code, now, now, |_| PAUSE);
        assert_eq!(given_up(&mut member), Some(true));
        assert_eq!(member.next_action(now), Action::Wait(None));
        give_up(&mut member, now);
        let Action::Join(join) = member.next_action(now) else {
            panic!("joins")
        };
        assert_eq!(join.member_id, id);
    }
}

/// Java keeps them as well: who has lost its session hears so from the coordinator, with the next heartbeat or commit.
#[tokio::test]
async fn a_coordinator_that_is_silent_takes_no_partitions_away() {
    let start = Instant::now();
    let mut member = stable(start);
    let mut heartbeats = 0;
    for second in 0..100 {
        let now = start + Duration::from_secs(second);
        if matches!(member.next_action(now), Action::Heartbeat(_)) {
            heartbeats += 1;
            let error = Error::new(ErrorKind::Timeout, "no answer");
            member.heartbeat_failed(error, now, |_| PAUSE);
        }
        assert_eq!(given_up(&mut member), None, "second {second}");
        assert!(member.group_metadata().is_ok());
    }
    assert_eq!(heartbeats, 97, "each is repeated soon");
    member.on_heartbeat_response(ErrorCode::UNKNOWN_MEMBER_ID, start, start, |_| PAUSE);
    assert_eq!(given_up(&mut member), Some(true));
}

/// It may have given to others what it had assigned: a member that has been silent for a session is none any more, and does not know.
#[tokio::test]
async fn nothing_is_taken_over_while_the_coordinator_does_not_answer() {
    let now = Instant::now();
    let mut member = assigned_after(Duration::ZERO, now);
    let later = now + Duration::from_secs(3);
    assert!(matches!(member.next_action(later), Action::Heartbeat(_)));
    let gone = Error::new(ErrorKind::Disconnected, "gone");
    member.heartbeat_failed(gone, later, |_| PAUSE);
    assert_eq!(assigned(&mut member), None);
    member.on_heartbeat_response(ErrorCode::NONE, later, later, |_| PAUSE);
    assert_eq!(
        assigned(&mut member),
        Some(vec![TopicPartition::new("t", 0)])
    );
}

/// As long as it waits for the answer to a heartbeat it does not know either.
#[tokio::test]
async fn nothing_is_taken_over_once_the_session_may_be_over() {
    let now = Instant::now();
    let mut member = assigned_after(Duration::ZERO, now);
    let sent = member.session_end() - Duration::from_secs(1);
    assert!(matches!(member.next_action(sent), Action::Heartbeat(_)));
    let later = member.session_end();
    assert_eq!(member.begin_duty(later), None);
    member.on_heartbeat_response(ErrorCode::NONE, sent, later, |_| PAUSE);
    let assign = Duty::Assign(vec![TopicPartition::new("t", 0)]);
    assert_eq!(member.begin_duty(later), Some(assign));
}

#[tokio::test]
async fn an_assignment_that_came_late_is_taken_over_when_the_coordinator_answers() {
    let now = Instant::now();
    let late = new(now).session_end();
    let mut member = assigned_after(late - now, now);
    assert_eq!(member.begin_duty(late), None);
    assert!(matches!(member.next_action(late), Action::Heartbeat(_)));
    member.on_heartbeat_response(ErrorCode::NONE, late, late, |_| PAUSE);
    let assign = Duty::Assign(vec![TopicPartition::new("t", 0)]);
    assert_eq!(member.begin_duty(late), Some(assign));
}

/// Its place may be another's by then, who came with the same instance id, and would be put out.
#[tokio::test]
async fn who_is_put_out_while_it_leaves_does_not_come_back_as_somebody_new() {
    for code in [ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::ILLEGAL_GENERATION] {
        let now = Instant::now();
        let mut member = stable(now);
        member.will_leave();
        let later = now + Duration::from_secs(3);
        assert!(matches!(member.next_action(later), Action::Heartbeat(_)));
        assert!(member.group_metadata().is_ok(), "it can commit until then");
        member.on_heartbeat_response(code, later, later, |_| PAUSE);
        give_up(&mut member, later);
        assert_eq!(member.next_action(later), Action::End);
    }
}

#[tokio::test]
async fn an_accepted_heartbeat_keeps_the_session_from_when_it_was_sent() {
    let now = Instant::now();
    let mut member = stable(now);
    let sent = now + Duration::from_secs(3);
    member.on_heartbeat_response(ErrorCode::NONE, sent, now + Duration::from_secs(9), |_| {
        PAUSE
    });
    assert_eq!(
        member.heartbeat_deadline(sent),
        sent + Duration::from_secs(10)
    );
}

/// A rebalance may take longer than the session: Java counts the answer as a heartbeat.
#[tokio::test]
async fn a_heartbeat_answered_with_a_rebalance_renews_the_session() {
    let start = Instant::now();
    let mut member = stable(start);
    for second in (3..60).step_by(3) {
        let sent = start + Duration::from_secs(second);
        assert!(matches!(member.next_action(sent), Action::Heartbeat(_)));
        member.on_heartbeat_response(ErrorCode::REBALANCE_IN_PROGRESS, sent, sent, |_| PAUSE);
        assert_eq!(given_up(&mut member), Some(false), "second {second}");
        assert_eq!(
            member.heartbeat_deadline(sent),
            sent + Duration::from_secs(10)
        );
        assert!(
            member.group_metadata().is_ok(),
            "what was read can be committed"
        );
        assert!(member.error(sent).is_none());
    }
}

#[tokio::test]
async fn a_refused_heartbeat_is_retried_soon_and_reported_when_it_goes_on() {
    for code in every_code() {
        let start = Instant::now();
        let mut member = stable(start);
        let mut now = start + Duration::from_secs(3);
        let mut told = None;
        while told.is_none() && now < start + Duration::from_secs(60) {
            let Action::Heartbeat(_) = member.next_action(now) else {
                panic!("{code}: no heartbeat")
            };
            member.on_heartbeat_response(code, now, now, |_| PAUSE);
            if given_up(&mut member).is_some() {
                break;
            }
            match member.next_action(now) {
                Action::Wait(Some(at)) => assert_eq!(at, now + PAUSE, "{code}"),
                other => panic!("{code}: {other:?}"),
            }
            now += PAUSE;
            told = member.error(now);
        }
        let is_about_the_generation = matches!(
            code,
            ErrorCode::REBALANCE_IN_PROGRESS
                | ErrorCode::ILLEGAL_GENERATION
                | ErrorCode::UNKNOWN_MEMBER_ID
        );
        match told {
            Some(error) => {
                assert!(!error.is_fatal(), "{code}: {error}");
                assert!(error.to_string().starts_with("Heartbeat"), "{error}");
                assert!(now <= start + Duration::from_secs(34), "{code}");
            }
            None => assert!(is_about_the_generation, "{code} is never told of"),
        }
    }
}

#[tokio::test]
async fn a_member_whose_application_does_not_poll_leaves_once_and_rejoins() {
    let now = Instant::now();
    let mut member = stable(now);
    let late = now + Duration::from_secs(300);
    assert_eq!(member.leave_if_stale(late - Duration::from_millis(1)), None);
    let leave = member.leave_if_stale(late).expect("leaves");
    assert_eq!(leave.members[0].member_id, "a");
    assert_eq!(member.leave_if_stale(late), None);
    assert_eq!(member.next_action(late), Action::Wait(None));
    member.polled(late);
    assert_eq!(given_up(&mut member), Some(true));
    give_up(&mut member, late);
    let Action::Join(join) = member.next_action(late) else {
        panic!("joins")
    };
    assert_eq!(join.member_id, "", "the old one was given up");
}

/// Every code but that of success, and two that nobody knows.
fn every_code() -> Vec<ErrorCode> {
    ErrorCode::all()
        .filter(|code| *code != ErrorCode::NONE)
        .chain([ErrorCode(-7), ErrorCode(31_999)])
        .collect()
}

/// Drives a member for a minute, as its task would, with these answers. Returns the joins it sent, and what was told when.
fn driven(
    member: &mut Membership,
    start: Instant,
    join: impl Fn(&JoinGroupRequest) -> Result<JoinGroupResponse>,
    sync: impl Fn() -> Result<SyncGroupResponse>,
) -> (u32, Vec<(Duration, Error)>) {
    let (mut now, mut joins, mut told) = (start, 0, Vec::new());
    while now < start + Duration::from_secs(60) {
        match member.next_action(now) {
            Action::Join(request) => {
                joins += 1;
                member.on_join_response(join(&request), now, |_| PAUSE * 5);
            }
            Action::Sync(_) => member.on_sync_response(sync(), unknown, now, |_| PAUSE * 5),
            Action::Wait(Some(at)) => now = at,
            Action::Wait(None) | Action::End => break,
            Action::DescribeTopics { topics, .. } => {
                let counts = topics.iter().map(|topic| (topic.as_str().into(), 1.into()));
                member.assign(Ok(counts.collect()), now, |_| PAUSE * 5);
            }
            Action::Heartbeat(_) => break,
        }
        told.extend(member.error(now).map(|error| (now - start, error)));
    }
    (joins, told)
}

/// Java throws from its poll, and joins again with the next one: nothing but another instance of a static member ends a membership.
#[tokio::test]
async fn whatever_error_a_join_or_a_sync_returns_the_member_rejoins_with_pauses_and_reports_it() {
    for code in every_code() {
        for api in ["JoinGroup", "SyncGroup"] {
            let start = Instant::now();
            let mut member = new(start);
            let (joins, told) = driven(
                &mut member,
                start,
                |_| match api {
                    "JoinGroup" => refused(code),
                    _ => joined_as("a", "b", 1),
                },
                || {
                    Ok(SyncGroupResponse {
                        error_code: code,
                        ..Default::default()
                    })
                },
            );
            assert!((100..=123).contains(&joins), "{api} {code}: {joins} joins");
            let (at, error) = told.first().expect("told");
            assert!(*at <= Duration::from_secs(30), "{api} {code}: {at:?}");
            assert!(told.len() <= 3, "{api} {code}: told {} times", told.len());
            let text = error.to_string();
            assert!(text.starts_with(api), "{text}");
            assert!(text.contains(&code.0.to_string()), "{text}");
            assert!(!error.is_fatal(), "{api} {code}: {error}");
        }
    }
}

#[tokio::test]
async fn a_static_member_is_ended_by_another_of_its_name_and_by_nothing_else() {
    for code in every_code() {
        let now = Instant::now();
        let topics = vec!["t".to_string()];
        let mut member = Membership::new(config(Some("x")), vec![Box::new(Range)], topics, now);
        member.next_action(now);
        member.on_join_response(refused(code), now, |_| PAUSE);
        let is_over = member.next_action(now + PAUSE) == Action::End;
        assert_eq!(is_over, code == ErrorCode::FENCED_INSTANCE_ID, "{code}");
        let told = member.error(now);
        assert_eq!(
            told.is_some_and(|error| error.is_fatal()),
            is_over,
            "{code}"
        );
    }
}

#[tokio::test]
async fn a_coordinator_that_requires_a_member_id_for_ever_is_asked_with_pauses() {
    let start = Instant::now();
    for id in ["", "a"] {
        let (joins, told) = driven(
            &mut new(start),
            start,
            |_| {
                Ok(JoinGroupResponse {
                    error_code: ErrorCode::MEMBER_ID_REQUIRED,
                    member_id: id.to_string(),
                    ..Default::default()
                })
            },
            || panic!("never joined"),
        );
        assert!((100..=123).contains(&joins), "{joins} joins");
        assert!(told[0].1.to_string().contains("MEMBER_ID_REQUIRED"));
    }
}

#[tokio::test]
async fn a_response_that_does_not_fit_is_named_and_the_member_rejoins() {
    let start = Instant::now();
    let nothing = || Ok(SyncGroupResponse::default());
    let other_protocol = |_: &JoinGroupRequest| {
        Ok(JoinGroupResponse {
            protocol_name: Some("sticky".to_string()),
            ..joined_as("a", "b", 1).expect("an answer")
        })
    };
    let (joins, told) = driven(&mut new(start), start, other_protocol, nothing);
    assert!((100..=123).contains(&joins), "{joins} joins");
    assert!(told[0].1.to_string().contains("sticky"), "{told:?}");
    let other_topic = || {
        let share = Assignment::from([("u".into(), vec![0])]);
        Ok(SyncGroupResponse {
            assignment: consumer_protocol::encode_assignment(&share, None).expect("encodes"),
            ..Default::default()
        })
    };
    let (_, told) = driven(
        &mut new(start),
        start,
        |_| joined_as("a", "b", 1),
        other_topic,
    );
    assert!(told[0].1.to_string().contains("\"u\"-0"), "{told:?}");
    let (_, told) = driven(&mut new(start), start, |_| joined_as("a", "b", 1), nothing);
    assert!(
        told[0].1.to_string().contains("left this member out"),
        "{told:?}"
    );
    let mut member = new(start);
    member.next_action(start);
    member.on_join_response(joined_as("a", "b", 1), start, |_| PAUSE);
    member.next_action(start);
    member.on_sync_response(synced_with(&[0, 3]), |_| Some(3), start, |_| PAUSE);
    assert_eq!(
        member.begin_duty(Instant::now()),
        None,
        "there is no partition 3"
    );
}

#[tokio::test]
async fn failures_that_last_are_reported_and_joining_goes_on() {
    let start = Instant::now();
    let gone = |_: &JoinGroupRequest| Err(Error::new(ErrorKind::Disconnected, "gone"));
    let mut member = new(start);
    let (joins, told) = driven(&mut member, start, gone, || panic!("never joined"));
    assert!((118..=123).contains(&joins), "{joins} joins");
    let times: Vec<_> = told.iter().map(|(at, _)| at.as_secs()).collect();
    assert_eq!(times, [30, 60]);
    let now = start + Duration::from_secs(60);
    assert!(matches!(member.next_action(now), Action::Join(_)));
    member.on_join_response(joined_as("a", "b", 1), now, |_| PAUSE);
    assert!(matches!(member.next_action(now), Action::Sync(_)), "healed");
}

#[tokio::test]
async fn an_assignment_that_the_application_has_not_taken_is_dropped_by_the_next_rebalance() {
    let now = Instant::now();
    let mut member = assigned_after(Duration::ZERO, now);
    member.on_heartbeat_response(ErrorCode::REBALANCE_IN_PROGRESS, now, now, |_| PAUSE);
    assert_eq!(member.begin_duty(Instant::now()), None);
    assert!(matches!(member.next_action(now), Action::Join(_)));
}

#[tokio::test]
async fn a_subscription_that_changed_while_joining_is_joined_again() {
    let now = Instant::now();
    let mut member = new(now);
    member.next_action(now);
    let topics = vec!["t".to_string(), "u".to_string()];
    let wanted = Wanted {
        topics,
        pattern: None,
    };
    member.resubscribe(wanted, now);
    member.on_join_response(joined_as("a", "b", 1), now, |_| PAUSE);
    member.next_action(now);
    member.on_sync_response(synced_with(&[0]), unknown, now, |_| PAUSE);
    assert_eq!(member.begin_duty(Instant::now()), None);
    assert!(matches!(member.next_action(now), Action::Join(_)));
}

#[tokio::test]
async fn a_refused_commit_counts_only_against_its_own_generation() {
    let now = Instant::now();
    let mut member = stable(now);
    let old = GroupMetadata {
        generation: 0,
        ..member.group_metadata().expect("a member")
    };
    member.on_commit_error(&old, ErrorCode::ILLEGAL_GENERATION, now);
    assert_eq!(given_up(&mut member), None);
    let current = member.group_metadata().expect("a member");
    member.on_commit_error(&current, ErrorCode::ILLEGAL_GENERATION, now);
    assert_eq!(given_up(&mut member), Some(true));
}

#[tokio::test]
async fn a_static_member_keeps_its_place_when_it_closes() {
    let now = Instant::now();
    let mut member = Membership::new(
        config(Some("x")),
        vec![Box::new(Range)],
        vec!["t".to_string()],
        now,
    );
    let Action::Join(join) = member.next_action(now) else {
        panic!("joins")
    };
    assert_eq!(join.group_instance_id.as_deref(), Some("x"));
    member.on_join_response(joined_as("a", "b", 1), now, |_| PAUSE);
    assert_eq!(member.leave(), None);
    assert_eq!(member.next_action(now), Action::End);

    let mut member = stable(now);
    assert_eq!(member.leave().expect("leaves").members[0].member_id, "a");
}

/// KIP-814: it is told not to assign, but the group's topics are still its to watch.
#[tokio::test]
async fn a_static_leader_that_came_back_assigns_nothing_and_notices_new_partitions() {
    let now = Instant::now();
    let mut member = new(now);
    member.next_action(now);
    let answer = JoinGroupResponse {
        skip_assignment: true,
        ..joined_as("a", "a", 1).expect("an answer")
    };
    member.on_join_response(Ok(answer), now, |_| PAUSE);
    assert!(matches!(
        member.next_action(now),
        Action::DescribeTopics { .. }
    ));
    let counts = GroupTopics::from([("t".into(), 3.into())]);
    member.assign(Ok(counts.clone()), now, |_| PAUSE);
    let Action::Sync(sync) = member.next_action(now) else {
        panic!("syncs")
    };
    assert_eq!(sync.assignments, []);
    member.on_sync_response(synced_with(&[0, 1]), unknown, now, |_| PAUSE);
    assigned(&mut member).expect("an assignment");
    member.on_topics(|_| counts, now);
    assert_eq!(given_up(&mut member), None);
    member.on_topics(|_| GroupTopics::from([("t".into(), 4.into())]), now);
    assert_eq!(given_up(&mut member), Some(false));
}

/// What was added while it was away, nobody else has noticed.
#[tokio::test]
async fn a_static_leader_that_came_back_notices_partitions_that_were_added_meanwhile() {
    let now = Instant::now();
    let member = || {
        let topics = vec!["t".to_string()];
        let mut member = Membership::new(config(Some("x")), vec![Box::new(Range)], topics, now);
        assert!(matches!(member.next_action(now), Action::Join(_)));
        member
    };
    let joined = |id: &str, skip_assignment| {
        let mut answer = joined_as("a", "a", 1).expect("an answer");
        answer.members[0].group_instance_id = Some("x".to_string());
        answer.members[0].member_id = id.to_string();
        (answer.member_id, answer.leader) = (id.to_string(), id.to_string());
        Ok(JoinGroupResponse {
            skip_assignment,
            ..answer
        })
    };
    let counts = |count: i32| Ok(GroupTopics::from([("t".into(), count.into())]));
    let mut before = member();
    before.on_join_response(joined("a", false), now, |_| PAUSE);
    before.next_action(now);
    before.assign(counts(2), now, |_| PAUSE);
    let Action::Sync(sync) = before.next_action(now) else {
        panic!("syncs")
    };
    let assigned_before = sync.assignments.into_iter().find(|it| it.member_id == "a");
    let assigned_before = assigned_before.expect("it is in the group").assignment;
    for (count, joins) in [(2, false), (3, true)] {
        let mut back = member();
        back.on_join_response(joined("c", true), now, |_| PAUSE);
        back.next_action(now);
        back.assign(counts(count), now, |_| PAUSE);
        back.next_action(now);
        let synced = SyncGroupResponse {
            assignment: assigned_before.clone(),
            ..Default::default()
        };
        back.on_sync_response(Ok(synced), unknown, now, |_| PAUSE);
        let next = back.next_action(now);
        assert_eq!(matches!(next, Action::Join(_)), joins, "{next:?}");
    }
}

#[tokio::test]
async fn a_failure_that_was_not_repeated_is_not_reported_later() {
    let now = Instant::now();
    let mut member = stable(now);
    let error = Error::new(ErrorKind::Disconnected, "gone");
    member.heartbeat_failed(error, now, |_| PAUSE);
    let later = now + Duration::from_secs(100);
    assert!(member.error(later).is_none());
}

/// Assigns everything to the member whose id comes last.
struct LastTakesAll;

impl Assignor for LastTakesAll {
    fn name(&self) -> &'static str {
        "last"
    }

    fn assign(&self, members: &[Member], partitions: &GroupTopics) -> BTreeMap<String, Assignment> {
        let all = partitions
            .iter()
            .map(|(topic, partitions)| (topic.clone(), (0..partitions.count).collect()));
        let last = members.iter().map(|member| &member.id).max();
        let mut assignments: BTreeMap<_, _> = members
            .iter()
            .map(|member| (member.id.clone(), Assignment::new()))
            .collect();
        assignments.extend(last.map(|last| (last.clone(), all.collect())));
        assignments
    }
}

#[tokio::test]
async fn the_assignor_is_the_one_that_the_coordinator_picked_of_those_offered() {
    let now = Instant::now();
    let assignors: Vec<Box<dyn Assignor>> = vec![Box::new(Range), Box::new(LastTakesAll)];
    let mut member = Membership::new(config(None), assignors, vec!["t".to_string()], now);
    let Action::Join(join) = member.next_action(now) else {
        panic!("joins")
    };
    let offered: Vec<_> = join.protocols.iter().map(|it| &*it.name).collect();
    assert_eq!(offered, ["range", "last"]);
    let picked = JoinGroupResponse {
        protocol_name: Some("last".to_string()),
        ..joined_as("a", "a", 1).expect("an answer")
    };
    member.on_join_response(Ok(picked), now, |_| PAUSE);
    let counts = GroupTopics::from([("t".into(), 3.into())]);
    assert!(matches!(
        member.next_action(now),
        Action::DescribeTopics { .. }
    ));
    member.assign(Ok(counts), now, |_| PAUSE);
    let Action::Sync(sync) = member.next_action(now) else {
        panic!("syncs")
    };
    assert_eq!(sync.protocol_name.as_deref(), Some("last"));
    let counts = sync.assignments.iter().map(|it| {
        let assignment = consumer_protocol::decode_assignment(it.assignment.clone());
        assignment.expect("decodes").len()
    });
    assert_eq!(counts.collect::<Vec<_>>(), [0, 3]);
}

#[tokio::test]
async fn a_join_tells_the_leader_what_was_owned_in_which_generation_and_where_the_member_runs() {
    let now = Instant::now();
    let mut member = stable(now);
    member.on_heartbeat_response(ErrorCode::REBALANCE_IN_PROGRESS, now, now, |_| PAUSE);
    give_up(&mut member, now);
    let Action::Join(join) = member.next_action(now) else {
        panic!("joins")
    };
    let told = consumer_protocol::decode_subscription(join.protocols[0].metadata.clone());
    let expected = Subscription {
        user_data: None,
        topics: vec!["t".to_string()],
        owned: Vec::new(),
        generation: 1,
        rack: Some("r".to_string()),
    };
    assert_eq!(told.expect("decodes"), expected, "eager: nothing is owned");
}

/// Given up at once, the id would stay a member until its session ends, and hold up the next generation for as long.
#[tokio::test]
async fn a_member_that_a_sync_does_not_know_gives_up_its_id_only_when_a_join_does_not_either() {
    let now = Instant::now();
    let mut member = new(now);
    member.next_action(now);
    member.on_join_response(joined_as("a", "b", 1), now, |_| PAUSE);
    member.next_action(now);
    let refusal = SyncGroupResponse {
        error_code: ErrorCode::UNKNOWN_MEMBER_ID,
        ..Default::default()
    };
    member.on_sync_response(Ok(refusal), unknown, now, |_| PAUSE);
    let Action::Join(join) = member.next_action(now) else {
        panic!("joins at once")
    };
    assert_eq!(join.member_id, "a");
    member.on_join_response(refused(ErrorCode::UNKNOWN_MEMBER_ID), now, |_| PAUSE);
    let Action::Join(join) = member.next_action(now + PAUSE) else {
        panic!("joins again")
    };
    assert_eq!(join.member_id, "");
}
