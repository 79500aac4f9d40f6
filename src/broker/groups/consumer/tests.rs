//! Groups of modelled members, which do what clients do: whatever happens and in which order, nobody reads what another reads, and in the end
//! everything is read. What the coordinator answers at once is held to Kafka's transcript in `tests/broker/parity`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use protocol::messages::consumer_protocol_subscription::TopicPartition as OwnedTopic;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::join_group_response::JoinGroupResponseMember;
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, ConsumerProtocolSubscription,
    HeartbeatRequest, JoinGroupRequest, SyncGroupRequest,
};
use protocol::{Encoder, ErrorCode, Message, Uuid};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::convert;
use super::group::by_topic;
use super::member::{LEAVE_EPOCH, Partitions, STATIC_LEAVE_EPOCH};
use crate::broker::groups::{
    Client, CommitterIdentity, GroupSettings, Groups, Kind, MigrationPolicy,
};
use crate::broker::random::Random;
use crate::broker::topic_index::TopicIndex;

const SESSION: Duration = Duration::from_secs(45);
const REBALANCE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_secs(1);
const CLIENT: Client<'static> = Client {
    id: "client",
    host: "/127.0.0.1",
};

/// A client in a group.
#[derive(Clone, Debug, Default)]
struct Model {
    id: String,
    instance: Option<String>,
    topics: Vec<String>,
    epoch: i32,
    /// What it reads.
    owned: Partitions,
    /// What it was told that it has, and has not carried out.
    assigned: Option<Partitions>,
    /// The next request says everything.
    is_unsure: bool,
    speaks_classic: bool,
    /// Takes no part for now, but has not left.
    is_away: bool,
    last_turn: Option<Instant>,
    /// When it heard last that it has nothing to give up: from then on it has the rebalance timeout at least.
    in_order_at: Option<Instant>,
}

struct World {
    groups: Groups,
    random: Random,
    now: Instant,
    topics: Arc<TopicIndex>,
    members: Vec<Model>,
    joined: usize,
}

fn counts(counts: &[i32]) -> Arc<TopicIndex> {
    let topics = counts.iter().zip(1..);
    Arc::new(TopicIndex::new(topics.map(|(count, id)| {
        (format!("t{id}"), Uuid::from_u128(id), *count)
    })))
}

impl World {
    fn new() -> Self {
        Self::with(GroupSettings::default())
    }

    fn with(settings: GroupSettings) -> Self {
        Self {
            groups: Groups::new(settings),
            random: Random::new(1),
            now: Instant::now(),
            topics: counts(&[4, 3]),
            members: Vec::new(),
            joined: 0,
        }
    }

    fn add(&mut self, speaks_classic: bool, is_static: bool, topics: &[&str]) {
        self.joined += 1;
        let id = format!("m{}", self.joined);
        self.members.push(Model {
            instance: is_static.then(|| format!("i{}", self.joined)),
            // A classic member is told its id.
            id: if speaks_classic { String::new() } else { id },
            topics: topics.iter().map(ToString::to_string).collect(),
            speaks_classic,
            ..Model::default()
        });
    }

    fn request(&self, member: &Model) -> ConsumerGroupHeartbeatRequest {
        let owned = by_topic(&member.owned, |topic_id, partitions| TopicPartitions {
            topic_id,
            partitions,
            ..Default::default()
        });
        let says_all = member.epoch == 0 || member.is_unsure;
        ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: member.id.clone(),
            member_epoch: member.epoch,
            instance_id: member.instance.clone(),
            rebalance_timeout_ms: if says_all { 60_000 } else { -1 },
            subscribed_topic_names: says_all.then(|| member.topics.clone()),
            topic_partitions: Some(owned),
            ..Default::default()
        }
    }

    fn send(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, ErrorCode> {
        let sent = self.groups.consumer_heartbeat(
            request,
            CLIENT,
            &self.topics,
            BTreeMap::new(),
            self.now,
            &mut self.random,
        );
        sent.map_err(|(code, _)| code)
    }

    /// One turn of a member: its request, the answer unless it is lost, and what it does about it.
    fn turn(&mut self, index: usize, is_lost: bool) {
        if self.members[index].is_away {
            return;
        }
        if self.members[index].speaks_classic {
            let member = &mut self.members[index];
            (member.last_turn, member.in_order_at) = (Some(self.now), Some(self.now));
            return self.classic_turn(index);
        }
        // It gives up what it has to before it says so, and reads what it got.
        let member = &mut self.members[index];
        if let Some(assigned) = member.assigned.take() {
            member.owned = assigned;
        }
        let request = self.request(&self.members[index]);
        let answer = self.send(&request);
        let member = &mut self.members[index];
        // One that is put out, and does not hear of it, goes on like one that is silent.
        if answer.is_ok() || !is_lost {
            member.last_turn = Some(self.now);
        }
        if is_lost {
            member.is_unsure = true;
            return self.check();
        }
        member.is_unsure = false;
        match answer {
            Ok(answer) => {
                member.epoch = answer.member_epoch;
                if let Some(assigned) = answer.assignment {
                    let topics = assigned.topic_partitions.iter();
                    let assigned = topics
                        .flat_map(|topic| topic.partitions.iter().map(|it| (topic.topic_id, *it)));
                    member.assigned = Some(assigned.collect());
                }
                let assigned = member.assigned.as_ref();
                if assigned.is_none_or(|assigned| member.owned.is_subset(assigned)) {
                    member.in_order_at = Some(self.now);
                }
            }
            // The last: it was away for so long that the group went back to the classic protocol.
            Err(
                ErrorCode::FENCED_MEMBER_EPOCH
                | ErrorCode::UNKNOWN_MEMBER_ID
                | ErrorCode::GROUP_ID_NOT_FOUND,
            ) => {
                (member.epoch, member.assigned) = (0, None);
                member.owned.clear();
            }
            Err(ErrorCode::UNRELEASED_INSTANCE_ID) => {}
            Err(error) => panic!("{error:?}"),
        }
        self.check();
    }

    /// What a member of the classic protocol does in a turn: a heartbeat, and where it has to, a join and a sync.
    fn classic_turn(&mut self, index: usize) {
        let member = self.members[index].clone();
        let beat = HeartbeatRequest {
            group_id: "g".into(),
            generation_id: member.epoch,
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            ..Default::default()
        };
        let heard = match member.id.is_empty() || member.epoch == 0 {
            true => ErrorCode::REBALANCE_IN_PROGRESS,
            false => self.groups.heartbeat(&beat, self.now),
        };
        let member = &mut self.members[index];
        match heard {
            ErrorCode::NONE => return,
            ErrorCode::REBALANCE_IN_PROGRESS => {}
            _ => {
                member.id.clear();
                member.owned.clear();
            }
        }
        let mut subscription = ConsumerProtocolSubscription {
            topics: member.topics.clone(),
            ..Default::default()
        };
        subscription.owned_partitions = by_topic(&member.owned, |id, partitions| OwnedTopic {
            topic: self.topics.name(&id).unwrap_or_default().to_owned(),
            partitions,
            ..Default::default()
        });
        let mut metadata = Encoder::with_capacity(64);
        metadata.put_i16(1);
        subscription.encode(&mut metadata, 1).expect("encodes");
        let metadata = metadata.into_bytes();
        let protocol = |name: &str| JoinGroupRequestProtocol {
            name: name.into(),
            metadata: metadata.clone(),
            ..Default::default()
        };
        let join = JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 60_000,
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol("cooperative-sticky")],
            ..Default::default()
        };
        let (reply, mut joined) = oneshot::channel();
        let (topics, now) = (self.topics.clone(), self.now);
        self.groups
            .join(join, 3, CLIENT, reply, &topics, now, &mut self.random);
        // In a classic group it would wait for others: not what is looked at here, so it is taken for one that is slow.
        let Ok(joined) = joined.try_recv() else {
            return self.check();
        };
        if joined.error_code != ErrorCode::NONE {
            return self.check();
        }
        let assignments = match joined.leader == joined.member_id {
            true => self.kept(&joined.members),
            false => Vec::new(),
        };
        let member = &mut self.members[index];
        (member.id, member.epoch) = (joined.member_id, joined.generation_id);
        let sync = SyncGroupRequest {
            assignments,
            group_id: "g".into(),
            generation_id: member.epoch,
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("cooperative-sticky".into()),
            ..Default::default()
        };
        let (reply, mut synced) = oneshot::channel();
        self.groups.sync(sync, reply, now);
        if let Ok(synced) = synced.try_recv()
            && synced.error_code == ErrorCode::NONE
        {
            let assigned = convert::assigned(synced.assignment, &self.topics);
            self.members[index].owned = assigned.expect("an assignment");
        }
        self.check();
    }

    /// What a cooperative leader assigns at least: what each member says that it owns.
    fn kept(&self, members: &[JoinGroupResponseMember]) -> Vec<SyncGroupRequestAssignment> {
        let mut assigned = Partitions::new();
        let kept = members.iter().map(|member| {
            let subscription = convert::subscription(member.metadata.clone());
            let owned = convert::owned(&subscription.expect("as it was sent"), &self.topics);
            let kept = owned
                .into_iter()
                .filter(|it| assigned.insert(*it))
                .collect();
            SyncGroupRequestAssignment {
                member_id: member.member_id.clone(),
                assignment: convert::assignment(&kept, &self.topics, 1),
                ..Default::default()
            }
        });
        kept.collect()
    }

    fn leave(&mut self, index: usize, for_a_while: bool) {
        let member = &mut self.members[index];
        if member.is_away || member.epoch == 0 {
            return;
        }
        member.owned.clear();
        member.assigned = None;
        let (id, instance) = (member.id.clone(), member.instance.clone());
        if member.speaks_classic {
            self.groups.leave("g", &id, instance.as_deref(), self.now);
        } else {
            let mut request = self.request(&self.members[index]);
            request.member_epoch = match for_a_while && instance.is_some() {
                true => STATIC_LEAVE_EPOCH,
                false => LEAVE_EPOCH,
            };
            let _ = self.send(&request);
        }
        if for_a_while && instance.is_some() && !self.members[index].speaks_classic {
            // Another process of the same instance comes.
            self.joined += 1;
            let member = &mut self.members[index];
            (member.id, member.epoch) = (format!("m{}", self.joined), 0);
        } else {
            self.members.remove(index);
        }
        self.check();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.groups.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.groups.expire(self.now);
        }
        self.now = end;
    }

    /// Nobody reads what another reads; and in the coordinator's books nobody holds what another holds.
    fn check(&self) {
        if let Some(Kind::Consumer(group)) = self.groups.groups.get("g").map(|it| &it.kind) {
            let mut held = BTreeSet::new();
            for (id, member) in &group.members {
                for partition in member.assigned.union(&member.pending_revocation) {
                    assert!(
                        held.insert(*partition),
                        "{partition:?} is held twice, by {id} too"
                    );
                }
            }
        }
        let mut read = BTreeSet::new();
        // One that was silent for its session, or had something to give up for the rebalance timeout, does not know that it is none any more.
        let is_within =
            |since: Option<Instant>, limit| since.is_some_and(|at| self.now < at + limit);
        let is_alive = |it: &&Model| {
            !it.is_away && is_within(it.last_turn, SESSION) && is_within(it.in_order_at, REBALANCE)
        };
        for member in self.members.iter().filter(is_alive) {
            for partition in &member.owned {
                assert!(
                    read.insert(*partition),
                    "{partition:?} is read twice: {:?}",
                    self.members
                );
            }
        }
    }

    /// Whoever is away is forgotten, and the others go on until nothing changes any more.
    fn settle(&mut self) {
        self.members.retain(|member| !member.is_away);
        for _ in 0..200 {
            for index in 0..self.members.len() {
                self.turn(index, false);
            }
            self.pass(TICK);
        }
    }

    fn is_classic(&self) -> bool {
        let group = self.groups.groups.get("g");
        matches!(group.map(|it| &it.kind), Some(Kind::Classic(_)))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Join {
        classic: bool,
        is_static: bool,
        both_topics: bool,
    },
    Turn {
        member: usize,
        is_lost: bool,
    },
    Leave {
        member: usize,
        for_a_while: bool,
    },
    GoAway(usize),
    Topics([i32; 2]),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(classic, is_static, both_topics)| Step::Join { classic, is_static, both_topics }),
        16 => (0..8usize, prop::bool::weighted(0.1)).prop_map(|(member, is_lost)| Step::Turn { member, is_lost }),
        1 => (0..8usize, any::<bool>()).prop_map(|(member, for_a_while)| Step::Leave { member, for_a_while }),
        1 => (0..8usize).prop_map(Step::GoAway),
        1 => [0..7i32, 1..7].prop_map(Step::Topics),
        2 => (1..20u64).prop_map(Step::Pass),
    ]
}

fn run(steps: &[Step], with_classic: bool) -> World {
    let mut world = World::new();
    world.add(false, false, &["t1", "t2"]);
    for step in steps {
        let count = world.members.len();
        let index = |member: &usize| (count > 0).then(|| member % count.max(1));
        match step {
            Step::Join {
                classic,
                is_static,
                both_topics,
            } if count < 6 => {
                let topics = if *both_topics {
                    &["t1", "t2"][..]
                } else {
                    &["t2"]
                };
                world.add(*classic && with_classic, *is_static, topics);
            }
            Step::Join { .. } => {}
            Step::Turn { member, is_lost } => {
                if let Some(index) = index(member) {
                    world.turn(index, *is_lost);
                }
            }
            Step::Leave {
                member,
                for_a_while,
            } => {
                if let Some(index) = index(member) {
                    world.leave(index, *for_a_while);
                }
            }
            Step::GoAway(member) => {
                if let Some(index) = index(member) {
                    world.members[index].is_away = true;
                }
            }
            Step::Topics(partitions) => {
                // Topics only grow, or go and come again.
                let grown = partitions.map(|it| it.max(1));
                world.topics = counts(if partitions[0] == 0 { &[] } else { &grown });
            }
            Step::Pass(seconds) => {
                // Members that take part send heartbeats meanwhile: a second at a time is enough for their sessions.
                for _ in 0..*seconds {
                    world.pass(TICK);
                }
            }
        }
    }
    world.topics = counts(&[4, 3]);
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_is_read_twice_and_everything_in_the_end(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = run(&steps, false);
        world.settle();
        let topics = |name: &str| world.members.iter().any(|it| it.topics.iter().any(|topic| topic == name));
        let wanted = 4 * usize::from(topics("t1")) + 3 * usize::from(topics("t2"));
        let read: usize = world.members.iter().map(|it| it.owned.len()).sum();
        prop_assert_eq!(read, wanted, "{:?}", &world.members);
    }

    #[test]
    fn members_of_both_protocols_never_read_the_same(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = run(&steps, true);
        world.settle();
        if !world.is_classic() {
            let topics = |name: &str| world.members.iter().any(|it| it.topics.iter().any(|topic| topic == name));
            let wanted = 4 * usize::from(topics("t1")) + 3 * usize::from(topics("t2"));
            let read: usize = world.members.iter().map(|it| it.owned.len()).sum();
            prop_assert_eq!(read, wanted, "{:?}", &world.members);
        }
    }
}

/// One that answers to its heartbeats, but is told of what it has to give up after a lost answer only, is out of time from the first on.
#[tokio::test(start_paused = true)]
async fn a_member_that_gives_nothing_up_in_time_is_taken_out_though_it_has_sent_heartbeats() {
    let mut world = pair([false, false]);
    world.members[1].is_away = true;
    for _ in 0..SESSION.as_secs() + 2 {
        world.turn(0, false);
        world.pass(TICK);
    }
    world.turn(0, false);
    world.members.truncate(1);
    world.add(false, false, &["t1", "t2"]);
    world.turn(1, false);
    world.turn(0, true);
    world.pass(REBALANCE / 2);
    world.turn(0, false);
    world.turn(1, false);
    world.pass(REBALANCE / 2);
    // The one has not carried out what it was told: the other gets everything.
    world.turn(1, false);
    world.turn(1, false);
    assert_eq!(world.members[1].owned.len(), 7);
    world.settle();
    let owned = |index: usize| world.members[index].owned.len();
    assert_eq!(owned(0) + owned(1), 7);
}

/// A group of two that has settled.
fn pair(instances: [bool; 2]) -> World {
    let mut world = World::new();
    for is_static in instances {
        world.add(false, is_static, &["t1", "t2"]);
    }
    world.settle();
    assert_eq!(
        world.members[0].owned.len() + world.members[1].owned.len(),
        7
    );
    world
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_is_taken_out_after_its_session_and_one_that_gives_nothing_up_after_its_rebalance_timeout()
 {
    let mut world = pair([false, false]);
    world.members[1].is_away = true;
    for _ in 0..SESSION.as_secs() + 2 {
        world.turn(0, false);
        world.pass(TICK);
    }
    world.turn(0, false);
    assert_eq!(world.members[0].owned.len(), 7, "the other's as well");
    world.members.truncate(1);
    // A third one joins; the first keeps alive but goes on owning what it has to give up.
    world.add(false, false, &["t1", "t2"]);
    let stubborn = world.request(&world.members[0]);
    for second in 0..REBALANCE.as_secs() + 3 {
        world.turn(1, false);
        let answer = world.send(&stubborn);
        assert_eq!(
            answer.is_ok(),
            second < REBALANCE.as_secs(),
            "after {second} s"
        );
        world.pass(TICK);
    }
}

#[tokio::test(start_paused = true)]
async fn a_static_member_that_comes_back_has_what_it_had_and_one_that_did_not_go_is_in_the_way() {
    let mut world = pair([true, true]);
    let before = world.members[0].owned.clone();
    let mut other = world.request(&world.members[0]);
    (other.member_id, other.member_epoch) = ("other".into(), 0);
    (other.rebalance_timeout_ms, other.subscribed_topic_names) = (60_000, Some(vec!["t1".into()]));
    other.topic_partitions = Some(Vec::new());
    assert_eq!(world.send(&other), Err(ErrorCode::UNRELEASED_INSTANCE_ID));
    let old = world.request(&world.members[0]);
    world.leave(0, true);
    world.turn(0, false);
    world.turn(0, false);
    assert_eq!(world.members[0].owned, before, "without a rebalance");
    assert_eq!(world.send(&old), Err(ErrorCode::FENCED_INSTANCE_ID));
}

#[tokio::test(start_paused = true)]
async fn commits_and_fetches_of_offsets_are_checked_by_the_members_epoch() {
    let mut world = pair([false, false]);
    let (id, epoch) = (world.members[0].id.clone(), world.members[0].epoch);
    let share = |member: usize| *world.members[member].owned.first().expect("its share");
    let [kept, gone] = [0, 1].map(share);
    let mut check = |member_id: &str, generation, version, partitions: &[(Uuid, i32)]| {
        let committer = CommitterIdentity {
            generation,
            member_id,
            instance_id: None,
        };
        let now = world.now;
        world
            .groups
            .check_commit("g", &committer, partitions, version, now)
            .err()
    };
    assert_eq!(check(&id, epoch, 9, &[kept, gone]), None);
    let old = Some(ErrorCode::UNSUPPORTED_VERSION);
    assert_eq!(check(&id, epoch, 8, &[kept]), old);
    let stale = Some(ErrorCode::STALE_MEMBER_EPOCH);
    assert_eq!(check(&id, epoch + 1, 9, &[kept]), stale);
    // It had both in the epoch before, and has one of them still (KIP-1251).
    assert_eq!(check(&id, epoch - 1, 9, &[kept]), None);
    assert_eq!(check(&id, epoch - 1, 9, &[gone]), stale);
    assert_eq!(check(&id, epoch - 1, 9, &[kept, gone]), stale);
    assert_eq!(check(&id, 0, 9, &[kept]), stale, "from before it had it");
    let unknown = Some(ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(check("other", epoch, 9, &[kept]), unknown);
    assert_eq!(check("", -1, 9, &[kept]), unknown);
    let fetch = |member_id, epoch| world.groups.check_fetch("g", member_id, epoch).err();
    assert_eq!((fetch(Some(&id), epoch), fetch(None, -1)), (None, None));
    assert_eq!(
        fetch(Some(&id), epoch + 1),
        Some(ErrorCode::STALE_MEMBER_EPOCH)
    );
    assert_eq!(
        fetch(Some("other"), epoch),
        Some(ErrorCode::UNKNOWN_MEMBER_ID)
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_goes_from_classic_to_consumer_and_back_while_members_keep_what_they_have() {
    let mut world = World::new();
    world.add(true, false, &["t1", "t2"]);
    world.turn(0, false);
    assert!(world.is_classic());
    // Nobody leads here: the second join is what the group waits for no longer.
    world.add(false, false, &["t1", "t2"]);
    world.settle();
    assert!(!world.is_classic());
    let shares = [0, 1].map(|member: usize| world.members[member].owned.len());
    assert!(
        shares.iter().sum::<usize>() == 7 && shares.iter().all(|it| *it >= 3),
        "{shares:?}"
    );
    world.leave(1, false);
    assert!(world.is_classic(), "only members of that kind are left");
    world.leave(0, false);
    world.add(false, false, &["t1"]);
    world.settle();
    assert!(!world.is_classic() && world.members[0].owned.len() == 4);
    world.leave(0, false);
    world.add(true, false, &["t1"]);
    world.turn(0, false);
    assert!(world.is_classic(), "an empty group becomes either");
}

#[tokio::test(start_paused = true)]
async fn groups_with_members_change_over_as_the_policy_has_it() {
    for (policy, up, down) in [
        (MigrationPolicy::Bidirectional, true, true),
        (MigrationPolicy::Upgrade, true, false),
        (MigrationPolicy::Downgrade, false, true),
        (MigrationPolicy::Disabled, false, false),
    ] {
        let settings = || GroupSettings {
            migration_policy: policy,
            ..GroupSettings::default()
        };
        let mut world = World::with(settings());
        world.add(true, false, &["t1"]);
        world.turn(0, false);
        let new = world.request(&Model {
            id: "new".into(),
            topics: vec!["t1".into()],
            ..Model::default()
        });
        let refused = (!up).then_some(ErrorCode::GROUP_ID_NOT_FOUND);
        assert_eq!(world.send(&new).err(), refused, "{policy:?}");
        assert_eq!(world.is_classic(), !up, "{policy:?}");

        let mut world = World::with(settings());
        world.add(false, false, &["t1"]);
        world.turn(0, false);
        world.add(true, false, &["t1"]);
        world.settle();
        world.leave(0, false);
        assert_eq!(world.is_classic(), down, "{policy:?}");
        if !down {
            world.settle();
            assert_eq!(world.members[0].owned.len(), 4, "{policy:?}: reads all");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_member_can_mean_is_refused() {
    let mut world = pair([false, false]);
    let honest = world.request(&Model {
        id: "new".into(),
        topics: vec!["t1".into()],
        ..Model::default()
    });
    type Change = fn(&mut ConsumerGroupHeartbeatRequest);
    let changes: [(Change, ErrorCode); 9] = [
        (|it| it.group_id.clear(), ErrorCode::INVALID_REQUEST),
        (
            |it| it.instance_id = Some(" ".into()),
            ErrorCode::INVALID_REQUEST,
        ),
        (
            |it| it.rebalance_timeout_ms = -1,
            ErrorCode::INVALID_REQUEST,
        ),
        (|it| it.topic_partitions = None, ErrorCode::INVALID_REQUEST),
        (
            |it| it.subscribed_topic_names = None,
            ErrorCode::INVALID_REQUEST,
        ),
        (|it| it.member_epoch = -3, ErrorCode::INVALID_REQUEST),
        (
            |it| it.member_epoch = STATIC_LEAVE_EPOCH,
            ErrorCode::INVALID_REQUEST,
        ),
        (
            |it| it.server_assignor = Some("fair".into()),
            ErrorCode::UNSUPPORTED_ASSIGNOR,
        ),
        (|it| it.member_epoch = 7, ErrorCode::UNKNOWN_MEMBER_ID),
    ];
    for (change, code) in changes {
        let mut request = honest.clone();
        change(&mut request);
        assert_eq!(world.send(&request).err(), Some(code), "{request:?}");
    }
    let mut nameless = honest.clone();
    nameless.member_id.clear();
    let named = world.send(&nameless).expect("joined").member_id;
    assert!(named.is_some_and(|id| !id.is_empty()));
    let unknown_group = ConsumerGroupHeartbeatRequest {
        group_id: "none".into(),
        member_epoch: 3,
        ..honest
    };
    assert_eq!(
        world.send(&unknown_group).err(),
        Some(ErrorCode::GROUP_ID_NOT_FOUND)
    );
}
