//! What groups do as time passes; what they answer at once is held to Kafka's transcript in `tests/broker/parity`.

use std::sync::Arc;
use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::broker::groups::{Client, GroupSettings, Groups};
use crate::broker::random::Random;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// Groups, and a clock that moves only when told.
struct World {
    groups: Groups,
    random: Random,
    now: Instant,
}

type Waiting<T> = oneshot::Receiver<T>;

fn answered<T>(waiting: &mut Waiting<T>) -> Option<T> {
    waiting.try_recv().ok()
}

impl World {
    fn new(initial_rebalance_delay: Duration) -> Self {
        let settings = GroupSettings {
            initial_rebalance_delay,
            ..Default::default()
        };
        Self {
            groups: Groups::new(settings),
            random: Random::new(1),
            now: Instant::now(),
        }
    }

    fn join(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        version: i16,
    ) -> Waiting<JoinGroupResponse> {
        let protocol = JoinGroupRequestProtocol {
            name: "range".into(),
            ..Default::default()
        };
        let request = JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            member_id: member_id.into(),
            group_instance_id: instance.map(Into::into),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        let (reply, waiting) = oneshot::channel();
        self.groups.join(
            request,
            version,
            Client {
                id: "client",
                host: "/127.0.0.1",
            },
            reply,
            &Arc::default(),
            self.now,
            &mut self.random,
        );
        waiting
    }

    fn sync(&mut self, generation_id: i32, member_id: &str) -> Waiting<SyncGroupResponse> {
        let request = SyncGroupRequest {
            group_id: "g".into(),
            generation_id,
            member_id: member_id.into(),
            ..Default::default()
        };
        let (reply, waiting) = oneshot::channel();
        self.groups.sync(request, reply, self.now);
        waiting
    }

    fn heartbeat(&mut self, generation_id: i32, member_id: &str) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: "g".into(),
            generation_id,
            member_id: member_id.into(),
            ..Default::default()
        };
        self.groups.heartbeat(&request, self.now)
    }

    /// Lets time pass as its keeper does: from deadline to deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self
            .groups
            .next_deadline()
            .filter(|deadline| *deadline <= end)
        {
            self.now = self.now.max(deadline);
            self.groups.expire(self.now);
        }
        self.now = end;
    }

    /// A stable group of two; the first leads.
    fn pair(&mut self, instances: [Option<&str>; 2]) -> [String; 2] {
        let mut first = self.join("", instances[0], 3);
        let leader = answered(&mut first).expect("joined").member_id;
        self.sync(1, &leader);
        let mut second = self.join("", instances[1], 3);
        let mut again = self.join(&leader, instances[0], 3);
        assert_eq!(answered(&mut again).expect("joined").generation_id, 2);
        let follower = answered(&mut second).expect("joined").member_id;
        let mut synced = self.sync(2, &follower);
        self.sync(2, &leader);
        assert_eq!(
            answered(&mut synced).expect("synced").error_code,
            ErrorCode::NONE
        );
        [leader, follower]
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_is_dropped_after_its_session_and_the_others_rebalance() {
    let mut world = World::new(Duration::ZERO);
    let [leader, follower] = world.pair([None, None]);
    world.pass(SESSION / 2);
    assert_eq!(world.heartbeat(2, &leader), ErrorCode::NONE);
    world.pass(SESSION / 2);
    assert_eq!(
        world.heartbeat(2, &leader),
        ErrorCode::REBALANCE_IN_PROGRESS
    );
    assert_eq!(world.heartbeat(2, &follower), ErrorCode::UNKNOWN_MEMBER_ID);
    let mut alone = world.join(&leader, None, 3);
    let joined = answered(&mut alone).expect("joined");
    assert_eq!((joined.generation_id, joined.members.len()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_heartbeats_but_does_not_join_is_dropped_after_the_rebalance_timeout() {
    let mut world = World::new(Duration::ZERO);
    let [leader, follower] = world.pair([None, None]);
    let mut third = world.join("", None, 3);
    let mut again = world.join(&leader, None, 3);
    for _ in 0..11 {
        world.pass(REBALANCE / 12);
        assert_eq!(
            world.heartbeat(2, &follower),
            ErrorCode::REBALANCE_IN_PROGRESS
        );
        assert!(answered(&mut again).is_none());
    }
    world.pass(REBALANCE / 12);
    assert_eq!(answered(&mut again).expect("joined").members.len(), 2);
    assert_eq!(answered(&mut third).expect("joined").generation_id, 3);
    assert_eq!(world.heartbeat(3, &follower), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[tokio::test(start_paused = true)]
async fn members_that_wait_for_a_rebalance_do_not_lose_their_session() {
    let mut world = World::new(Duration::ZERO);
    let [leader, follower] = world.pair([None, None]);
    let mut third = world.join("", None, 3);
    let mut again = world.join(&leader, None, 3);
    world.pass(SESSION - Duration::from_secs(1));
    world.heartbeat(2, &follower);
    world.pass(SESSION - Duration::from_secs(1));
    let mut last = world.join(&follower, None, 3);
    for waiting in [&mut third, &mut again, &mut last] {
        assert_eq!(answered(waiting).expect("joined").generation_id, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_id_that_is_not_used_lapses_and_holds_nobody_up() {
    let mut world = World::new(Duration::ZERO);
    let [leader, follower] = world.pair([None, None]);
    let mut handed_out = world.join("", None, 4);
    let stranger = answered(&mut handed_out).expect("an id");
    assert_eq!(stranger.error_code, ErrorCode::MEMBER_ID_REQUIRED);
    let mut one = world.join(&leader, None, 4);
    let mut two = world.join(&follower, None, 4);
    assert!(answered(&mut one).is_none(), "the new one may still come");
    world.pass(SESSION);
    assert_eq!(answered(&mut one).expect("joined").members.len(), 2);
    assert_eq!(
        answered(&mut two).expect("joined").error_code,
        ErrorCode::NONE
    );
    let mut late = world.join(&stranger.member_id, None, 4);
    assert_eq!(
        answered(&mut late).expect("refused").error_code,
        ErrorCode::UNKNOWN_MEMBER_ID
    );
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_never_syncs_is_dropped_and_the_waiting_are_sent_back() {
    let mut world = World::new(Duration::ZERO);
    let [leader, follower] = world.pair([None, None]);
    let mut third = world.join("", None, 3);
    let mut joins = [world.join(&leader, None, 3), world.join(&follower, None, 3)];
    joins
        .iter_mut()
        .for_each(|waiting| assert!(answered(waiting).is_some()));
    let third = answered(&mut third).expect("joined").member_id;
    let mut synced = world.sync(3, &follower);
    for _ in 0..12 {
        world.heartbeat(3, &leader);
        world.heartbeat(3, &third);
        world.pass(REBALANCE / 12);
    }
    assert_eq!(
        answered(&mut synced).expect("answered").error_code,
        ErrorCode::REBALANCE_IN_PROGRESS
    );
    assert_eq!(world.heartbeat(3, &leader), ErrorCode::UNKNOWN_MEMBER_ID);
    let mut alone = world.join(&follower, None, 3);
    assert_eq!(answered(&mut alone).expect("joined").generation_id, 4);
}

#[tokio::test(start_paused = true)]
async fn the_initial_delay_gathers_members_into_one_generation_and_grows_with_them() {
    let delay = Duration::from_secs(3);
    let mut world = World::new(delay);
    let mut first = world.join("", None, 3);
    world.pass(Duration::from_secs(2));
    let mut second = world.join("", None, 3);
    world.pass(Duration::from_secs(2));
    assert!(
        answered(&mut first).is_none(),
        "the second one prolonged it"
    );
    world.pass(Duration::from_secs(2));
    let (first, second) = (
        answered(&mut first).expect("joined"),
        answered(&mut second).expect("joined"),
    );
    assert_eq!(
        (
            first.generation_id,
            second.generation_id,
            first.members.len()
        ),
        (1, 1, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_static_member_is_waited_for_until_its_session_ends() {
    let mut world = World::new(Duration::ZERO);
    let [leader, follower] = world.pair([Some("a"), Some("b")]);
    let mut third = world.join("", Some("c"), 5);
    let mut again = world.join(&leader, Some("a"), 5);
    world.pass(SESSION / 2);
    assert!(answered(&mut again).is_none());
    world.pass(SESSION / 2);
    assert_eq!(answered(&mut again).expect("joined").members.len(), 2);
    assert!(answered(&mut third).is_some());
    assert_eq!(world.heartbeat(3, &follower), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[tokio::test(start_paused = true)]
async fn a_move_of_the_coordinator_answers_who_waits_and_starts_sessions_anew() {
    let mut world = World::new(Duration::ZERO);
    let [leader, follower] = world.pair([None, None]);
    let mut third = world.join("", None, 3);
    world.pass(SESSION - Duration::from_secs(1));
    world.groups.coordinator_moved(|id| id == "g", world.now);
    assert_eq!(
        answered(&mut third).expect("answered").error_code,
        ErrorCode::NOT_COORDINATOR
    );
    world.pass(SESSION - Duration::from_secs(1));
    assert_eq!(
        world.heartbeat(2, &leader),
        ErrorCode::REBALANCE_IN_PROGRESS
    );
    assert_eq!(
        world.heartbeat(2, &follower),
        ErrorCode::REBALANCE_IN_PROGRESS
    );
}

#[tokio::test(start_paused = true)]
async fn the_generation_goes_on_counting_when_everybody_left() {
    let mut world = World::new(Duration::ZERO);
    let [leader, follower] = world.pair([None, None]);
    for member in [&leader, &follower] {
        assert_eq!(
            world.groups.leave("g", member, None, world.now),
            ErrorCode::NONE
        );
    }
    assert!(world.groups.next_deadline().is_none());
    let mut new = world.join("", None, 3);
    assert!(answered(&mut new).expect("joined").generation_id > 2);
}
