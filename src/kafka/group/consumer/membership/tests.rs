//! What a member does, response by response, and a group of them under a coordinator that assigns as it likes.

use proptest::prelude::*;
use protocol::messages::consumer_group_heartbeat_response::{
    Assignment, TopicPartitions as AssignedTopic,
};

use super::*;
use crate::kafka::group::heartbeats::{JOIN_EPOCH, LEAVE_EPOCH, STATIC_LEAVE_EPOCH};

const PAUSE: Duration = Duration::from_millis(100);

fn config(instance_id: Option<&str>) -> MembershipConfig {
    MembershipConfig {
        group_id: "g".to_string(),
        instance_id: instance_id.map(str::to_string),
        rack: Some("r".to_string()),
        remote_assignor: Some("range".to_string()),
        session_timeout: Duration::from_secs(10),
        heartbeat_interval: Duration::from_secs(3),
        max_poll_interval: Duration::from_secs(300),
        request_timeout: Duration::from_secs(30),
    }
}

fn of(topics: &[&str]) -> Wanted {
    Wanted {
        topics: topics.iter().map(ToString::to_string).collect(),
        pattern: None,
    }
}

fn new(now: Instant) -> Membership {
    Membership::new(config(None), "me".to_string(), of(&["t"]), now)
}

/// A topic `t` of eight partitions, whose id is 1.
fn known(member: &mut Membership, now: Instant) {
    let topic = |id: &Uuid| (*id == Uuid::from_u128(1)).then(|| ("t".into(), 8));
    member.on_metadata(topic, |_| TopicStatus::Known, now, |_| PAUSE);
}

fn accepted(epoch: i32, partitions: Option<&[i32]>) -> Result<ConsumerGroupHeartbeatResponse> {
    let assignment = partitions.map(|partitions| Assignment {
        topic_partitions: vec![AssignedTopic {
            topic_id: Uuid::from_u128(1),
            partitions: partitions.to_vec(),
            ..Default::default()
        }],
        ..Default::default()
    });
    Ok(ConsumerGroupHeartbeatResponse {
        member_id: Some("me".to_string()),
        member_epoch: epoch,
        heartbeat_interval_ms: 5_000,
        assignment,
        ..Default::default()
    })
}

fn refused(code: ErrorCode) -> Result<ConsumerGroupHeartbeatResponse> {
    Ok(ConsumerGroupHeartbeatResponse {
        error_code: code,
        ..Default::default()
    })
}

/// What it sends now.
fn sent(member: &mut Membership, now: Instant) -> ConsumerGroupHeartbeatRequest {
    match member.next_action(now) {
        Action::Heartbeat(request) => request,
        other => panic!("{other:?}"),
    }
}

fn hear(member: &mut Membership, answer: Result<ConsumerGroupHeartbeatResponse>, now: Instant) {
    member.on_response(answer, now, |_| PAUSE);
    known(member, now);
}

/// A poll that does what it has to; what that was.
fn poll(member: &mut Membership, now: Instant) -> Vec<Duty> {
    let mut done = Vec::new();
    while let Some(duty) = member.begin_duty(Instant::now()) {
        member.duty_done(&duty, now);
        done.push(duty);
    }
    known(member, now);
    done
}

fn partitions(numbers: &[i32]) -> Vec<TopicPartition> {
    numbers
        .iter()
        .map(|it| TopicPartition::new("t", *it))
        .collect()
}

fn owned(request: &ConsumerGroupHeartbeatRequest) -> Option<Vec<i32>> {
    let topics = request.topic_partitions.as_ref()?;
    Some(topics.iter().flat_map(|it| it.partitions.clone()).collect())
}

/// In its group, with these partitions.
fn member(now: Instant, assigned: &[i32]) -> Membership {
    let mut member = new(now);
    sent(&mut member, now);
    hear(&mut member, accepted(1, Some(assigned)), now);
    poll(&mut member, now);
    sent(&mut member, now);
    hear(&mut member, accepted(1, None), now);
    member
}

#[tokio::test]
async fn a_member_joins_with_all_there_is_to_say_and_then_says_what_is_new() {
    let now = Instant::now();
    let mut member = new(now);
    let join = sent(&mut member, now);
    assert_eq!((join.member_epoch, &*join.member_id), (0, "me"));
    assert_eq!(
        (join.rack_id.as_deref(), join.server_assignor.as_deref()),
        (Some("r"), Some("range"))
    );
    assert_eq!(
        (join.rebalance_timeout_ms, owned(&join)),
        (300_000, Some(vec![]))
    );
    assert_eq!(join.subscribed_topic_names, Some(vec!["t".to_string()]));
    assert!(member.group_metadata().is_err(), "in no epoch");
    hear(&mut member, accepted(3, Some(&[0, 1])), now);
    // Before the application has them, so that nobody else gets them meanwhile.
    let news = sent(&mut member, now);
    assert_eq!((news.member_epoch, owned(&news)), (3, Some(vec![0, 1])));
    assert_eq!(
        (
            news.subscribed_topic_names.as_ref(),
            news.rebalance_timeout_ms
        ),
        (None, -1)
    );
    hear(&mut member, accepted(4, None), now);
    let wait = Action::Wait(Some(now + Duration::from_secs(5)));
    assert_eq!(member.next_action(now), wait);
    assert_eq!(poll(&mut member, now), [Duty::Assign(partitions(&[0, 1]))]);
    assert_eq!(member.next_action(now), wait, "it has said so");
    assert_eq!(member.group_metadata().expect("a member").generation, 4);
    let later = now + Duration::from_secs(5);
    assert_eq!(owned(&sent(&mut member, later)), None, "nothing is new");
    hear(&mut member, accepted(4, None), later);
    member.resubscribe(of(&["t", "u"]), later);
    let news = sent(&mut member, later);
    assert_eq!(news.subscribed_topic_names.map(|it| it.len()), Some(2));
}

#[tokio::test]
async fn a_coordinator_that_assigns_nothing_at_all_is_reported_while_the_member_goes_on_joining() {
    for (epoch, partitions) in [(0, Some(&[][..])), (3, None)] {
        let start = Instant::now();
        let mut member = new(start);
        let mut reported = Vec::new();
        for second in 0..40 {
            let now = start + Duration::from_secs(second);
            if let Action::Heartbeat(request) = member.next_action(now) {
                assert_eq!(request.member_epoch, 0, "it joins");
                hear(&mut member, accepted(epoch, partitions), now);
            }
            reported.extend(member.error(now).map(|error| (second, error)));
        }
        let (second, error) = &reported[0];
        assert!(*second >= 30 && reported.len() == 1, "{reported:?}");
        assert!(error.is_retriable() && !error.is_fatal(), "{error}");
    }
}

/// One that says of what it was assigned that it does not own it gives the coordinator leave to assign it to another, while the application is
/// about to begin with it.
#[tokio::test]
async fn what_the_application_is_about_to_own_is_never_said_to_be_free() {
    let now = Instant::now();
    let mut member = new(now);
    sent(&mut member, now);
    hear(&mut member, accepted(3, Some(&[0, 1])), now);
    sent(&mut member, now);
    let lost = Error::new(ErrorKind::Disconnected, "gone");
    hear(&mut member, Err(lost), now);
    let all = sent(&mut member, now + PAUSE);
    assert_eq!(
        (all.rebalance_timeout_ms, owned(&all)),
        (300_000, Some(vec![0, 1]))
    );
    // What is taken away before the application had it is given up at once.
    hear(&mut member, accepted(3, Some(&[0])), now + PAUSE);
    assert_eq!(owned(&sent(&mut member, now + PAUSE)), Some(vec![0]));
    assert_eq!(poll(&mut member, now), [Duty::Assign(partitions(&[0]))]);
}

#[tokio::test]
async fn what_is_revoked_is_told_of_once_it_is_given_up_and_commits_of_before_are_over() {
    let now = Instant::now();
    let mut member = member(now, &[0, 1]);
    let before = member.group_metadata().expect("a member");
    let later = now + Duration::from_secs(5);
    sent(&mut member, later);
    hear(&mut member, accepted(1, Some(&[0])), later);
    assert!(
        matches!(member.next_action(later), Action::Wait(_)),
        "the application is to poll"
    );
    let revoke = member.begin_duty(Instant::now()).expect("a duty");
    assert_eq!(revoke, Duty::Revoke(partitions(&[1])));
    assert!(
        member
            .group_metadata()
            .expect("a member")
            .continues(&before),
        "it commits what it read"
    );
    member.duty_done(&revoke, later);
    assert!(
        !member
            .group_metadata()
            .expect("a member")
            .continues(&before)
    );
    assert_eq!(owned(&sent(&mut member, later)), Some(vec![0]));
    hear(&mut member, accepted(2, None), later);
    assert_eq!(member.fetches_as(), Some(("me".to_string(), 2)));
}

#[tokio::test]
async fn a_fenced_member_loses_all_and_joins_again_under_its_id_at_once_and_then_with_pauses() {
    for code in [
        ErrorCode::FENCED_MEMBER_EPOCH,
        ErrorCode::UNKNOWN_MEMBER_ID,
        ErrorCode::GROUP_ID_NOT_FOUND,
    ] {
        let now = Instant::now();
        let mut member = member(now, &[0, 1]);
        let later = now + Duration::from_secs(5);
        sent(&mut member, later);
        hear(&mut member, refused(code), later);
        assert_eq!(
            member.next_action(later),
            Action::Wait(None),
            "all is to be given up first"
        );
        assert_eq!(poll(&mut member, later), [Duty::Lost(partitions(&[0, 1]))]);
        let join = sent(&mut member, later);
        assert_eq!(
            (join.member_epoch, &*join.member_id, owned(&join)),
            (0, "me", Some(vec![]))
        );
        hear(&mut member, refused(code), later);
        assert_eq!(member.next_action(later), Action::Wait(Some(later + PAUSE)));
        assert!(member.error(later).is_none());
        sent(&mut member, later + PAUSE);
        hear(&mut member, accepted(9, Some(&[3])), later + PAUSE);
        assert_eq!(poll(&mut member, later), [Duty::Assign(partitions(&[3]))]);
    }
}

/// It may have given to others what it had assigned: a member that has been silent for a session is none any more, and does not know.
#[tokio::test]
async fn nothing_is_taken_over_while_the_coordinator_does_not_answer() {
    let answers = [
        (accepted(1, None), vec![Duty::Assign(partitions(&[0]))]),
        (refused(ErrorCode::UNKNOWN_MEMBER_ID), Vec::new()),
    ];
    for (answer, then) in answers {
        let now = Instant::now();
        let mut member = new(now);
        sent(&mut member, now);
        // Nobody knows the topic yet.
        member.on_response(accepted(1, Some(&[0])), now, |_| PAUSE);
        sent(&mut member, now);
        let gone = Error::new(ErrorKind::Disconnected, "gone");
        hear(&mut member, Err(gone), now);
        assert_eq!(poll(&mut member, now), []);
        let later = now + PAUSE;
        sent(&mut member, later);
        hear(&mut member, answer, later);
        assert_eq!(poll(&mut member, later), then);
    }
}

/// Its place may be another's by then, who came with the same instance id, and would be put out.
#[tokio::test]
async fn who_is_put_out_while_it_leaves_does_not_come_back() {
    for code in [
        ErrorCode::FENCED_MEMBER_EPOCH,
        ErrorCode::UNKNOWN_MEMBER_ID,
        ErrorCode::GROUP_ID_NOT_FOUND,
    ] {
        let now = Instant::now();
        let mut nothing = new(now);
        sent(&mut nothing, now);
        hear(&mut nothing, accepted(1, Some(&[])), now);
        for mut member in [nothing, member(now, &[0, 1])] {
            member.will_leave();
            let later = now + Duration::from_secs(5);
            sent(&mut member, later);
            assert!(member.group_metadata().is_ok(), "it can commit until then");
            hear(&mut member, refused(code), later);
            poll(&mut member, later);
            assert_eq!(member.next_action(later), Action::End);
            assert_eq!(member.leave(), None);
        }
    }
}

/// Every code there is, once and for ever.
#[tokio::test]
async fn no_code_ends_a_member_and_what_lasts_is_an_error_in_time() {
    for code in ErrorCode::all().filter(|code| *code != ErrorCode::NONE) {
        let start = Instant::now();
        let mut member = member(start, &[0, 1]);
        let (mut now, mut requests, mut errors) = (start + Duration::from_secs(5), 0, 0);
        let until = now + Duration::from_secs(61);
        while now < until {
            poll(&mut member, now);
            member.polled(now);
            errors += usize::from(
                member
                    .error(now)
                    .inspect(|it| assert!(!it.is_fatal(), "{it}"))
                    .is_some(),
            );
            match member.next_action(now) {
                Action::Heartbeat(_) => {
                    requests += 1;
                    hear(&mut member, refused(code), now);
                }
                Action::Wait(Some(at)) => now = at.max(now + Duration::from_millis(1)),
                other => panic!("{}: {other:?}", code.name()),
            }
        }
        assert!(
            requests > 10 && requests < 700,
            "{}: {requests}",
            code.name()
        );
        assert!((1..5).contains(&errors), "{}: {errors} errors", code.name());
        poll(&mut member, now);
        let healed = now + PAUSE;
        sent(&mut member, healed);
        hear(&mut member, accepted(7, Some(&[0, 1])), healed);
        poll(&mut member, healed);
        assert_eq!(member.duties.owned().len(), 2, "{}", code.name());
    }
}

#[tokio::test]
async fn a_lost_response_makes_the_next_request_say_everything_soon() {
    let now = Instant::now();
    let mut member = member(now, &[0]);
    let later = now + Duration::from_secs(5);
    sent(&mut member, later);
    let gone = Error::new(ErrorKind::Disconnected, "gone");
    hear(&mut member, Err(gone), later);
    assert_eq!(member.next_action(later), Action::Wait(Some(later + PAUSE)));
    let all = sent(&mut member, later + PAUSE);
    assert_eq!((all.member_epoch, owned(&all)), (1, Some(vec![0])));
    assert!(all.subscribed_topic_names.is_some() && all.rebalance_timeout_ms > 0);
}

#[tokio::test]
async fn each_answer_that_cannot_be_is_named_and_changes_nothing() {
    type Change = fn(&mut ConsumerGroupHeartbeatResponse);
    let changes: [(Change, &str); 7] = [
        (|it| it.member_epoch = -1, "the member epoch -1"),
        (|it| it.member_epoch = -2, "the member epoch -2"),
        (|it| it.heartbeat_interval_ms = 0, "every 0 ms"),
        (|it| it.member_id = Some("other".into()), "another member"),
        (|it| topic(it).partitions = vec![1, 1], "twice"),
        (|it| topic(it).partitions = vec![-1], "cannot be"),
        (|it| topic(it).topic_id = Uuid::ZERO, "cannot be"),
    ];
    fn topic(response: &mut ConsumerGroupHeartbeatResponse) -> &mut AssignedTopic {
        let assignment = response.assignment.as_mut().expect("an assignment");
        &mut assignment.topic_partitions[0]
    }
    for (change, named) in changes {
        let mut now = Instant::now();
        let mut member = member(now, &[0]);
        let mut errors = Vec::new();
        for _ in 0..40 {
            now += Duration::from_secs(1);
            if let Action::Heartbeat(_) = member.next_action(now) {
                let mut response = accepted(2, Some(&[5])).expect("a response");
                change(&mut response);
                hear(&mut member, Ok(response), now);
            }
            errors.extend(member.error(now).map(|it| it.to_string()));
        }
        assert!(poll(&mut member, now).is_empty());
        assert_eq!(member.duties.owned().len(), 1);
        assert!(errors.len() == 1 && errors[0].contains(named), "{errors:?}");
    }
}

#[tokio::test]
async fn an_assignment_waits_for_topics_that_nobody_knows_asked_for_with_pauses_and_reported_once()
{
    let start = Instant::now();
    let mut member = new(start);
    sent(&mut member, start);
    let none = |member: &mut Membership, now| {
        member.on_metadata(
            |_| None,
            |_| TopicStatus::Known,
            now,
            |_| Duration::from_secs(2),
        );
    };
    member.on_response(accepted(1, Some(&[0, 1])), start, |_| PAUSE);
    let (mut asked, mut errors) = (0, 0);
    for second in 0..40 {
        let now = start + Duration::from_secs(second);
        none(&mut member, now);
        while let action @ (Action::Heartbeat(_) | Action::FindTopics(_)) = member.next_action(now)
        {
            match action {
                Action::FindTopics(ids) => {
                    assert_eq!(ids, [Uuid::from_u128(1)]);
                    asked += 1;
                }
                _ => member.on_response(accepted(1, None), now, |_| PAUSE),
            }
            none(&mut member, now);
        }
        assert!(member.begin_duty(Instant::now()).is_none());
        errors += usize::from(member.error(now).is_some());
    }
    assert!(
        (10..25).contains(&asked) && errors == 1,
        "{asked} times, {errors} errors"
    );
    known(&mut member, start + Duration::from_secs(40));
    assert_eq!(
        poll(&mut member, start),
        [Duty::Assign(partitions(&[0, 1]))],
        "whole"
    );
}

#[tokio::test]
async fn a_broker_without_the_protocol_is_told_of_with_the_setting() {
    let now = Instant::now();
    let missing = Error::new(ErrorKind::UnsupportedVersion, "the broker does not have it");
    for answer in [Err(missing), refused(ErrorCode::UNSUPPORTED_VERSION)] {
        let mut member = new(now);
        for attempt in 0..2 {
            assert!(member.error(now).is_none(), "once proves nothing");
            sent(&mut member, now + PAUSE * attempt);
            hear(&mut member, answer.clone(), now + PAUSE * attempt);
        }
        let error = member.error(now + PAUSE).expect("an error");
        assert!(
            error.to_string().contains("group.protocol") && !error.is_fatal(),
            "{error}"
        );
    }
}

#[tokio::test]
async fn who_does_not_poll_leaves_and_comes_back_and_a_static_member_leaves_for_a_while() {
    for (instance, epoch) in [(None, LEAVE_EPOCH), (Some("i"), STATIC_LEAVE_EPOCH)] {
        let now = Instant::now();
        let mut member = Membership::new(config(instance), "me".to_string(), of(&["t"]), now);
        assert_eq!(member.leave(), None, "it never joined");
        let mut member = Membership::new(config(instance), "me".to_string(), of(&["t"]), now);
        sent(&mut member, now);
        hear(&mut member, accepted(1, Some(&[0])), now);
        poll(&mut member, now);
        let late = now + Duration::from_secs(300);
        let leave = member.leave_if_stale(late).expect("a request");
        assert_eq!(
            (leave.member_epoch, leave.instance_id.as_deref()),
            (epoch, instance)
        );
        assert_eq!(member.leave_if_stale(late), None);
        assert_eq!(member.next_action(late), Action::Wait(None));
        assert!(!member.polled(late), "its partitions come first");
        assert_eq!(poll(&mut member, late), [Duty::Lost(partitions(&[0]))]);
        assert_eq!(sent(&mut member, late).member_epoch, JOIN_EPOCH);
        hear(&mut member, accepted(5, Some(&[0])), late);
        assert_eq!(member.leave().expect("a request").member_epoch, epoch);
        assert_eq!(member.next_action(late), Action::End);
    }
}

#[tokio::test]
async fn a_pattern_is_the_brokers_to_match_and_is_taken_back() {
    let now = Instant::now();
    let pattern = Wanted {
        topics: Vec::new(),
        pattern: Some("t.*".to_string()),
    };
    let mut member = Membership::new(config(None), "me".to_string(), pattern, now);
    let join = sent(&mut member, now);
    assert_eq!(join.subscribed_topic_regex.as_deref(), Some("t.*"));
    assert_eq!(join.subscribed_topic_names, Some(Vec::new()));
    hear(&mut member, accepted(1, Some(&[0])), now);
    member.resubscribe(of(&["t"]), now);
    let news = sent(&mut member, now);
    assert_eq!(
        news.subscribed_topic_regex.as_deref(),
        Some(""),
        "none any more"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Assign(BTreeSet<i32>),
    Lose,
    Fence,
    Beat,
    Poll,
}

proptest! {
    /// Between the member and a coordinator that sees only its requests: what it says that it owns is what the application owns, or is about to.
    #[test]
    fn the_application_owns_what_was_assigned_in_the_end(steps in prop::collection::vec(prop_oneof![
        prop::collection::btree_set(0..8i32, 0..5).prop_map(Step::Assign),
        Just(Step::Lose), Just(Step::Fence), Just(Step::Beat), Just(Step::Beat), Just(Step::Poll),
    ], 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut now = Instant::now();
            let mut member = new(now);
            let (mut target, mut epoch, mut joined) = (BTreeSet::from([0]), 1, false);
            let calm = [Step::Beat, Step::Poll, Step::Beat, Step::Poll, Step::Beat, Step::Poll];
            for step in steps.into_iter().chain(calm) {
                now += Duration::from_secs(6);
                match step {
                    Step::Assign(partitions) => (target, epoch) = (partitions, epoch + 1),
                    Step::Poll => drop(poll(&mut member, now)),
                    Step::Beat | Step::Lose | Step::Fence => {
                        let Action::Heartbeat(request) = member.next_action(now) else { continue };
                        let joins = request.member_epoch == 0;
                        if joins {
                            prop_assert_eq!(owned(&request), Some(vec![]), "all was given up");
                            joined = true;
                        } else if let Some(owned) = owned(&request) {
                            let claimed = member.reconciliation.claimed(&member.duties);
                            let claimed: Vec<i32> = claimed.iter().map(|it| it.1).collect();
                            prop_assert_eq!(owned, claimed);
                        }
                        let all: Vec<i32> = target.iter().copied().collect();
                        let answer = match step {
                            Step::Lose => Err(Error::new(ErrorKind::Disconnected, "gone")),
                            Step::Fence if joined => refused(ErrorCode::FENCED_MEMBER_EPOCH),
                            _ => accepted(epoch, Some(&all)),
                        };
                        hear(&mut member, answer, now);
                    }
                }
            }
            let owned: BTreeSet<i32> = member.duties.owned().iter().map(|it| it.partition).collect();
            prop_assert_eq!(owned, target);
            Ok(())
        })?;
    }
}
