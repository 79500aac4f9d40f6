//! Cooperative members (KIP-429): what stays is kept while the group rebalances, and nothing is owned twice.

use proptest::prelude::*;

use super::*;
use crate::kafka::group::classic::assignor::{CooperativeSticky, Sticky};

/// A coordinator with its members, which does its part at once.
struct Group {
    members: Vec<(Membership, Option<JoinGroupRequest>)>,
    topics: GroupTopics,
    generation: i32,
    named: usize,
    now: Instant,
}

impl Group {
    fn new(partitions: i32, now: Instant) -> Self {
        Self {
            members: Vec::new(),
            topics: GroupTopics::from([("t".into(), partitions.into())]),
            generation: 0,
            named: 0,
            now,
        }
    }

    fn add(&mut self) {
        let assignors: Vec<Box<dyn Assignor>> = vec![Box::new(CooperativeSticky)];
        let topics = vec!["t".to_string()];
        let mut member = Membership::new(config(None), assignors, topics, self.now);
        member.member_id = format!("m{}", self.named);
        self.named += 1;
        self.members.push((member, None));
        self.tell_others();
    }

    /// Members in a generation are told that the group rebalances.
    fn tell_others(&mut self) {
        for (member, _) in &mut self.members {
            let code = ErrorCode::REBALANCE_IN_PROGRESS;
            member.on_heartbeat_response(code, self.now, self.now, |_| PAUSE);
        }
    }

    /// A member does the first thing that it has to do.
    fn step(&mut self, index: usize) {
        let member = &mut self.members[index].0;
        match member.begin_duty(Instant::now()) {
            Some(duty) => member.duty_done(&duty, self.now),
            None => self.join(index),
        }
        self.nothing_is_owned_twice();
        self.form_generation_if_all_joined();
    }

    /// A member joins if it has to, though its application may not have polled.
    fn join(&mut self, index: usize) {
        let (member, joining) = &mut self.members[index];
        if joining.is_none()
            && let Action::Join(join) = member.next_action(self.now)
        {
            *joining = Some(join);
            self.tell_others();
        }
    }

    fn form_generation_if_all_joined(&mut self) {
        if self.members.iter().all(|(_, joining)| joining.is_some()) {
            self.form_generation();
        }
    }

    fn form_generation(&mut self) {
        self.generation += 1;
        let joined: Vec<JoinGroupResponseMember> = self
            .members
            .iter_mut()
            .filter_map(|(_, joining)| joining.take())
            .map(|join| JoinGroupResponseMember {
                member_id: join.member_id,
                metadata: join.protocols[0].metadata.clone(),
                ..Default::default()
            })
            .collect();
        let leader = joined[0].member_id.clone();
        let mut assignments = BTreeMap::new();
        for (member, _) in &mut self.members {
            let id = member.member_id.clone();
            let response = JoinGroupResponse {
                generation_id: self.generation,
                protocol_name: Some("cooperative-sticky".to_string()),
                members: match id == leader {
                    true => joined.clone(),
                    false => Vec::new(),
                },
                leader: leader.clone(),
                member_id: id,
                ..Default::default()
            };
            member.on_join_response(Ok(response), self.now, |_| PAUSE);
            if let Action::DescribeTopics { .. } = member.next_action(self.now) {
                member.assign(Ok(self.topics.clone()), self.now, |_| PAUSE);
                let Action::Sync(sync) = member.next_action(self.now) else {
                    panic!("syncs")
                };
                let all = sync.assignments.into_iter();
                assignments.extend(all.map(|it| (it.member_id, it.assignment)));
            }
        }
        for (member, _) in &mut self.members {
            let response = SyncGroupResponse {
                assignment: assignments[&member.member_id].clone(),
                ..Default::default()
            };
            member.on_sync_response(Ok(response), unknown, self.now, |_| PAUSE);
        }
        self.nothing_is_owned_twice();
    }

    fn nothing_is_owned_twice(&self) {
        let mut owned = BTreeSet::new();
        for partition in self.members.iter().flat_map(|(it, _)| it.duties.owned()) {
            assert!(owned.insert(partition), "{partition} is owned twice");
        }
    }

    fn owned(&self) -> Vec<usize> {
        let members = self.members.iter();
        members
            .map(|(member, _)| member.duties.owned().len())
            .collect()
    }

    /// Steps in turn until nobody has anything to do.
    fn settle(&mut self) {
        for _ in 0..50 {
            for index in 0..self.members.len() {
                self.step(index);
            }
        }
        let is_settled = |(member, joining): &(Membership, Option<JoinGroupRequest>)| {
            matches!(member.state, State::Stable) && joining.is_none()
        };
        assert!(
            self.members.iter().all(is_settled),
            "the group never settles"
        );
    }
}

#[tokio::test]
async fn members_keep_what_stays_theirs_while_others_join() {
    let mut group = Group::new(6, Instant::now());
    group.add();
    group.settle();
    assert_eq!(group.owned(), [6]);
    let before = group.members[0].0.duties.owned().clone();
    group.add();
    for index in [0, 1] {
        group.step(index);
        let owned = group.members[0].0.duties.owned();
        assert_eq!(
            owned, &before,
            "nothing is given up before it is known what goes"
        );
    }
    group.settle();
    assert_eq!(group.owned(), [3, 3]);
    assert!(group.members[0].0.duties.owned().is_subset(&before));
}

/// Nobody gets what is withheld from a member until it has joined once more.
#[tokio::test]
async fn what_is_withheld_before_the_application_took_it_over_goes_to_another_at_once() {
    let mut group = Group::new(4, Instant::now());
    group.add();
    group.join(0);
    group.form_generation_if_all_joined();
    assert_eq!(group.owned(), [0], "the application has not polled");
    group.add();
    group.join(0);
    group.join(1);
    group.form_generation_if_all_joined();
    group.settle();
    assert_eq!(group.owned(), [2, 2]);
}

/// Between giving up and joining again it is restarted: whoever comes back joins in its place.
#[tokio::test]
async fn a_static_member_that_comes_back_in_the_middle_of_giving_up_joins_once_more() {
    let now = Instant::now();
    let subscription = |owned: &[i32]| {
        let owned = owned.iter().map(|it| TopicPartition::new("t", *it));
        let subscription = Subscription {
            topics: vec!["t".to_string()],
            owned: owned.collect(),
            generation: 1,
            ..Subscription::default()
        };
        consumer_protocol::encode_subscription(subscription).expect("encodes")
    };
    let listed = |id: &str, instance: Option<&str>, owned: &[i32]| JoinGroupResponseMember {
        member_id: id.to_string(),
        group_instance_id: instance.map(str::to_string),
        metadata: subscription(owned),
        ..Default::default()
    };
    let joined = |id: &str, members: Vec<JoinGroupResponseMember>| JoinGroupResponse {
        generation_id: 2,
        protocol_name: Some("cooperative-sticky".to_string()),
        leader: "b".to_string(),
        member_id: id.to_string(),
        members,
        ..Default::default()
    };
    let member = |instance: Option<&str>| {
        let assignors: Vec<Box<dyn Assignor>> = vec![Box::new(CooperativeSticky)];
        let mut member = Membership::new(config(instance), assignors, vec!["t".to_string()], now);
        assert!(matches!(member.next_action(now), Action::Join(_)));
        member
    };
    let mut leader = member(None);
    let members = vec![listed("a", Some("x"), &[0, 1]), listed("b", None, &[])];
    leader.on_join_response(Ok(joined("b", members)), now, |_| PAUSE);
    leader.next_action(now);
    leader.assign(Ok(GroupTopics::from([("t".into(), 2.into())])), now, |_| {
        PAUSE
    });
    let Action::Sync(sync) = leader.next_action(now) else {
        panic!("syncs")
    };
    let of_a = sync.assignments.into_iter().find(|it| it.member_id == "a");
    let of_a = of_a.expect("it is in the group").assignment;

    let mut back = member(Some("x"));
    let again = |back: &mut Membership, at| match back.next_action(at) {
        Action::Join(join) => {
            let told = join.protocols[0].metadata.clone();
            consumer_protocol::decode_subscription(told).expect("decodes")
        }
        other => panic!("joins again: {other:?}"),
    };
    let synced = || {
        Ok(SyncGroupResponse {
            assignment: of_a.clone(),
            ..Default::default()
        })
    };
    back.on_join_response(Ok(joined("c", Vec::new())), now, |_| PAUSE);
    back.next_action(now);
    back.on_sync_response(synced(), unknown, now, |_| PAUSE);
    let told = again(&mut back, now);
    assert_eq!((told.owned.len(), told.generation), (1, 2), "{told:?}");
    // Told the same by a coordinator that is not right in the head, it does not ask on and on.
    back.on_join_response(Ok(joined("c", Vec::new())), now, |_| PAUSE);
    back.next_action(now);
    back.on_sync_response(synced(), unknown, now, |_| PAUSE);
    assert!(matches!(back.next_action(now), Action::Wait(Some(_))));
    again(&mut back, now + Duration::from_secs(3));
}

/// A rebalance does not take a member's commits away while its application gives up what it has, to leave.
#[tokio::test]
async fn a_member_that_is_about_to_leave_keeps_its_place_until_everything_is_given_up() {
    let mut group = Group::new(2, Instant::now());
    group.add();
    group.settle();
    let now = group.now;
    let member = &mut group.members[0].0;
    member.prepare_to_leave();
    member.on_heartbeat_response(ErrorCode::REBALANCE_IN_PROGRESS, now, now, |_| PAUSE);
    let later = now + Duration::from_secs(4);
    assert!(matches!(member.next_action(later), Action::Heartbeat(_)));
    assert!(member.group_metadata().is_ok(), "it can commit");
    // Its application has thought better of it.
    give_up(member, later);
    assert!(matches!(member.next_action(later), Action::Join(_)));
}

/// In no other generation can it commit what it still holds.
#[tokio::test]
async fn a_member_that_is_about_to_leave_joins_once_more_for_what_it_holds() {
    let mut group = Group::new(2, Instant::now());
    group.add();
    group.settle();
    let now = group.now;
    let member = &mut group.members[0].0;
    member.will_leave();
    member.on_heartbeat_response(ErrorCode::REBALANCE_IN_PROGRESS, now, now, |_| PAUSE);
    assert!(matches!(member.next_action(now), Action::Join(_)));
}

#[tokio::test]
async fn what_is_lost_with_the_membership_is_lost_though_the_member_is_cooperative() {
    let mut group = Group::new(2, Instant::now());
    group.add();
    group.settle();
    let member = &mut group.members[0].0;
    let now = group.now;
    member.on_heartbeat_response(ErrorCode::UNKNOWN_MEMBER_ID, now, now, |_| PAUSE);
    assert_eq!(given_up(member), Some(true));
    // The same, said to a join.
    let mut group = Group::new(2, now);
    group.add();
    group.settle();
    let member = &mut group.members[0].0;
    member.on_heartbeat_response(ErrorCode::REBALANCE_IN_PROGRESS, now, now, |_| PAUSE);
    assert!(matches!(member.next_action(now), Action::Join(_)));
    assert!(
        member.group_metadata().is_err(),
        "nothing is committed meanwhile"
    );
    member.on_join_response(refused(ErrorCode::UNKNOWN_MEMBER_ID), now, |_| PAUSE);
    assert_eq!(given_up(member), Some(true));
    give_up(member, now);
    let Action::Join(join) = member.next_action(now) else {
        panic!("joins anew")
    };
    assert_eq!(join.member_id, "");
}

#[tokio::test]
async fn a_join_that_got_no_answer_is_repeated_with_what_is_owned() {
    let mut group = Group::new(2, Instant::now());
    group.add();
    group.settle();
    let now = group.now;
    let member = &mut group.members[0].0;
    member.on_heartbeat_response(ErrorCode::REBALANCE_IN_PROGRESS, now, now, |_| PAUSE);
    assert!(matches!(member.next_action(now), Action::Join(_)));
    let gone = Error::new(ErrorKind::Disconnected, "gone");
    member.on_join_response(Err(gone), now, |_| PAUSE);
    assert_eq!(given_up(member), None);
    let Action::Join(join) = member.next_action(now + PAUSE) else {
        panic!("joins again")
    };
    let told = consumer_protocol::decode_subscription(join.protocols[0].metadata.clone());
    let told = told.expect("decodes");
    assert_eq!((told.owned.len(), told.generation), (2, 1));
}

#[tokio::test]
async fn a_member_that_also_offers_an_eager_assignor_gives_up_everything_before_it_joins() {
    let now = Instant::now();
    let assignors: Vec<Box<dyn Assignor>> = vec![Box::new(Sticky), Box::new(CooperativeSticky)];
    let mut member = Membership::new(config(None), assignors, vec!["t".to_string()], now);
    member.next_action(now);
    let joined = JoinGroupResponse {
        protocol_name: Some("cooperative-sticky".to_string()),
        ..joined_as("a", "b", 1).expect("an answer")
    };
    member.on_join_response(Ok(joined), now, |_| PAUSE);
    member.next_action(now);
    member.on_sync_response(synced_with(&[0]), unknown, now, |_| PAUSE);
    assigned(&mut member).expect("an assignment");
    member.on_heartbeat_response(ErrorCode::REBALANCE_IN_PROGRESS, now, now, |_| PAUSE);
    assert_eq!(given_up(&mut member), Some(false));
    give_up(&mut member, now);
    let Action::Join(join) = member.next_action(now) else {
        panic!("joins")
    };
    let sticky = consumer_protocol::decode_subscription(join.protocols[0].metadata.clone());
    let sticky = sticky.expect("decodes");
    assert!(
        sticky.owned.is_empty() && sticky.user_data.is_some(),
        "{sticky:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whoever_comes_and_whenever_nothing_is_owned_twice_and_everything_is_owned_in_the_end(
        partitions in 1i32..20,
        steps in prop::collection::vec((0usize..10, 0usize..8), 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let mut group = Group::new(partitions, Instant::now());
            group.add();
            for (what, which) in steps {
                let count = group.members.len();
                match what {
                    0 if count < 6 => group.add(),
                    // One leaves, or dies: it owns nothing any more once the others hear of it.
                    1 if count > 1 => {
                        group.members.remove(which % count);
                        group.tell_others();
                    }
                    2 => {
                        group.topics.insert("t".into(), (partitions + which as i32).into());
                        group.tell_others();
                    }
                    // Its application is busy: what it was assigned is not taken over.
                    3 | 4 => {
                        group.join(which % count);
                        group.form_generation_if_all_joined();
                    }
                    _ => group.step(which % count),
                }
            }
            group.settle();
            let owned = group.owned();
            assert_eq!(owned.iter().sum::<usize>(), group.topics["t"].count as usize);
            let (most, least) = (owned.iter().max(), owned.iter().min());
            assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{owned:?}");
        });
    }
}
