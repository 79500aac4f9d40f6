//! Groups of Kafka Streams (KIP-1071): a member that speaks raw messages, described, and what its group has committed.

use std::collections::BTreeMap;

use pat_events::kafka::admin::{FeatureUpdate, GroupFilter, GroupKind, GroupState};
use pat_events::kafka::wire::messages::StreamsGroupHeartbeatRequest;
use pat_events::kafka::wire::messages::streams_group_heartbeat_request::{
    Endpoint, KeyValue, Subtopology, Topology,
};
use pat_events::kafka::{
    Admin, Client, ClientConfig, ErrorCode, OffsetAndMetadata, Target as Whom,
};
use serde_json::Value;
use tokio::task::block_in_place;

use super::{POLL, at, code};
use crate::fleet::Target;
use crate::program;

const GROUP: &str = "admin-streams";
const MEMBER: &str = "AAAAAAAAAAAAAAAAAAAAAQ";

/// The only member of a group, whose topology has one part: it reads a topic of three partitions.
pub(super) struct Streaming {
    client: Client,
    heartbeat: StreamsGroupHeartbeatRequest,
}

impl Streaming {
    /// Joins, and has all tasks.
    pub(super) async fn join(target: &Target, admin: &Admin, group: &str, topic: &str) -> Self {
        let features = admin.describe_features(None).await.expect("described");
        if !features.finalized.contains_key("streams.version") {
            let raise = BTreeMap::from([("streams.version", FeatureUpdate::upgrade(1))]);
            let raised = admin.update_features(&raise, false).await;
            assert!(raised.expect("answered")["streams.version"].is_ok());
        }
        let config = ClientConfig::new(&target.bootstrap);
        let client = Client::connect(config).await.expect("connected");
        let heartbeat = first_heartbeat(group, topic);
        let mut joined = Self { client, heartbeat };
        while !joined.beat().await {
            tokio::time::sleep(POLL).await;
        }
        joined
    }

    /// Says that it is there; whether it is told that it has all tasks.
    async fn beat(&mut self) -> bool {
        let coordinator = Whom::GroupCoordinator(&self.heartbeat.group_id);
        let answer = self.client.request(coordinator, &self.heartbeat).await;
        let answer = answer.expect("answered");
        // A coordinator that is just becoming one.
        if matches!(
            answer.error_code,
            ErrorCode::NOT_COORDINATOR
                | ErrorCode::COORDINATOR_NOT_AVAILABLE
                | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        ) {
            return false;
        }
        assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
        let tasks = answer.active_tasks.iter().flatten();
        let has_all = tasks.map(|it| it.partitions.len()).sum::<usize>() == 3;
        let heartbeat = &mut self.heartbeat;
        heartbeat.member_epoch = answer.member_epoch;
        // Said once; tasks come when the group has waited for others.
        (heartbeat.topology, heartbeat.user_endpoint) = (None, None);
        (heartbeat.process_id, heartbeat.client_tags) = (None, None);
        heartbeat.active_tasks = None;
        (heartbeat.standby_tasks, heartbeat.warmup_tasks) = (None, None);
        has_all
    }

    pub(super) async fn leave(mut self) {
        self.heartbeat.member_epoch = -1;
        self.beat().await;
    }
}

fn first_heartbeat(group: &str, topic: &str) -> StreamsGroupHeartbeatRequest {
    let part = Subtopology {
        subtopology_id: "0".to_owned(),
        source_topics: vec![topic.to_owned()],
        ..Default::default()
    };
    let topology = Topology {
        epoch: 0,
        subtopologies: vec![part],
        ..Default::default()
    };
    let endpoint = Endpoint {
        host: "here".to_owned(),
        port: 8080,
        ..Default::default()
    };
    let tag = KeyValue {
        key: "zone".to_owned(),
        value: "a".to_owned(),
        ..Default::default()
    };
    StreamsGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: MEMBER.to_owned(),
        rebalance_timeout_ms: 60_000,
        topology: Some(topology),
        active_tasks: Some(Vec::new()),
        standby_tasks: Some(Vec::new()),
        warmup_tasks: Some(Vec::new()),
        process_id: Some("process".to_owned()),
        user_endpoint: Some(endpoint),
        client_tags: Some(vec![tag]),
        ..Default::default()
    }
}

pub(super) async fn streams_groups_are_described(target: Target) {
    let topic = target.topic("admin-streamed").await;
    let classic = target.topic("admin-streamed-classic").await;
    let admin = target.admin().await;
    let joined = Streaming::join(&target, &admin, GROUP, &topic).await;
    let other = BTreeMap::from([(at(&classic, 0), OffsetAndMetadata::new(0))]);
    let other = admin.alter_group_offsets("admin-not-streams", &other).await;
    assert!(other.expect("answered")[&at(&classic, 0)].is_ok());

    let ids = [GROUP, "admin-no-such-group", "admin-not-streams"];
    let described = admin.describe_streams_groups(&ids).await;
    let described = described.expect("answered");
    for id in &ids[1..] {
        let refused = &described[*id];
        assert_eq!(
            code(refused),
            Some(ErrorCode::GROUP_ID_NOT_FOUND),
            "{refused:?}"
        );
    }
    let group = described[GROUP].as_ref().expect("described");
    assert_eq!(group.topology_epoch, Some(0));
    assert!(group.epoch > 0 && group.assignment_epoch > 0, "{group:?}");
    let [part] = &*group.subtopologies else {
        panic!("one part: {group:?}");
    };
    assert_eq!(
        (&*part.id, &*part.source_topics),
        ("0", &[topic.clone()][..])
    );
    let [member] = &*group.members else {
        panic!("one member: {group:?}");
    };
    assert_eq!((&*member.id, &*member.process_id), (MEMBER, "process"));
    assert_eq!(member.client_tags["zone"], "a");
    let endpoint = member.user_endpoint.as_ref().expect("an endpoint");
    assert_eq!(endpoint.to_string(), "here:8080");
    for tasks in [&member.assignment, &member.target_assignment] {
        assert_eq!(tasks.active["0"], [0, 1, 2], "{member:?}");
    }
    the_program_describes_it(&target, &topic);

    let listed = admin
        .list_groups(&GroupFilter::default().kinds([GroupKind::Streams]))
        .await;
    let listed = listed.expect("listed").groups;
    assert_eq!(listed[GROUP].kind, Some(GroupKind::Streams));
    assert!(!listed.contains_key("admin-not-streams"), "{listed:?}");
    // It has a member still, which alone may commit.
    let offsets = BTreeMap::from([(at(&topic, 1), OffsetAndMetadata::new(7))]);
    let refused = admin.alter_group_offsets(GROUP, &offsets).await;
    assert!(refused.expect("answered")[&at(&topic, 1)].is_err());
    joined.leave().await;
    what_it_committed_is_altered(&admin, &topic, &offsets).await;
    let deleted = admin.delete_groups(&[GROUP, "admin-not-streams"]).await;
    let deleted = deleted.expect("answered");
    assert!(deleted.values().all(Result::is_ok), "{deleted:?}");
    let gone = admin.describe_streams_groups(&[GROUP]).await;
    let gone = gone.expect("answered");
    assert_eq!(code(&gone[GROUP]), Some(ErrorCode::GROUP_ID_NOT_FOUND));
}

/// Its tasks are shown as the partitions that they read.
fn the_program_describes_it(target: &Target, topic: &str) {
    let brokers = &*target.bootstrap;
    let command = ["groups", "describe", GROUP, "--members", "--json"];
    let arguments = [&command[..], &["-F", "none", "-b", brokers]].concat();
    let told = block_in_place(|| program::run(&arguments, None));
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(
        (&told["kind"], &told["group"]),
        (&"streams".into(), &GROUP.into())
    );
    let partitions: Vec<_> = (0..3).map(|it| at(topic, it).to_string()).collect();
    assert_eq!(told["members"][0]["assignment"], Value::from(partitions));
}

async fn what_it_committed_is_altered(
    admin: &Admin,
    topic: &str,
    offsets: &BTreeMap<pat_events::kafka::TopicPartition, OffsetAndMetadata>,
) {
    let altered = admin.alter_group_offsets(GROUP, offsets).await;
    let altered = altered.expect("answered");
    assert!(altered[&at(topic, 1)].is_ok(), "{altered:?}");
    let groups = BTreeMap::from([(GROUP, None)]);
    let listed = admin.list_group_offsets(&groups, &Default::default()).await;
    let listed = listed.expect("answered");
    let listed = listed[GROUP].as_ref().expect("listed");
    let offset = listed[&at(topic, 1)].as_ref().expect("committed");
    assert_eq!(offset.offset, 7);
    let partitions = [at(topic, 1), at(topic, 99)];
    let deleted = admin.delete_group_offsets(GROUP, &partitions).await;
    let deleted = deleted.expect("answered");
    assert!(deleted[&partitions[0]].is_ok(), "{deleted:?}");
    let described = admin.describe_streams_groups(&[GROUP]).await;
    let described = described.expect("answered");
    let group = described[GROUP].as_ref().expect("described");
    assert_eq!((&group.state, group.members.len()), (&GroupState::Empty, 0));
}
